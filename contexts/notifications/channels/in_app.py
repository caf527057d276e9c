"""The in-app channel: a short text, stored when the message is written."""

from contexts.notifications.interface import MessageTemplate

_TEXTS = {
    MessageTemplate.ORDER_CONFIRMED: "Order {number} is confirmed. The total is {total}. Thank you!",
    MessageTemplate.ORDER_REJECTED: "Order {number} could not be completed.{why} You pay nothing for it.",
    MessageTemplate.ORDER_CANCELLED: "Order {number} was cancelled. Any payment will be refunded.",
    MessageTemplate.ORDER_PUT_ON_HOLD: (
        "Order {number} is on hold: we could not collect your payment. We keep your goods for you."
    ),
    MessageTemplate.ORDER_REFUNDED: "{amount} of order {number} was refunded.",
    MessageTemplate.WELCOME: "Welcome to Satsuma! You will find updates about your orders here.",
}
_REASON_TEXTS = {  # by the last part of the code for which the order was rejected
    "out_of_stock": " Not everything was in stock any more.",
    "declined": " The payment was declined.",
    "expired": " The payment was not completed in time.",
}


def render(template: MessageTemplate, *, reason: str = "", **values: object) -> str:
    """Return the text of a message.

    reason: an error code; one without a text is omitted.
    """
    return _TEXTS[template].format(why=_REASON_TEXTS.get(reason.rpartition(".")[2], ""), **values)
