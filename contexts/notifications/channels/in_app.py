"""In the app: a short text, fixed when it is written."""

from typing import Any

_TEXTS = {
    "order_confirmed": "Order {number} is confirmed. The total is {total}. Thank you!",
    "order_rejected": "Order {number} could not be completed.{why} You pay nothing for it.",
    "order_cancelled": "Order {number} was cancelled. What you have paid goes back to you.",
    "order_put_on_hold": "Order {number} is on hold: we could not collect your payment. We keep your goods for you.",
    "welcome": "Welcome to Satsuma! Here you find what happens to your orders.",
}
_WHY = {  # the last word of the code that ended the order
    "out_of_stock": " Not everything was in stock any more.",
    "declined": " The payment was declined.",
    "expired": " The payment was not completed in time.",
}


def text(template: str, *, reason: str = "", **facts: Any) -> str:
    """What the person reads. `reason` is a code; one without words of its own is left out."""
    return _TEXTS[template].format(why=_WHY.get(reason.rpartition(".")[2], ""), **facts)
