"""Create the next release: a copy of the tree with compatible changes of interfaces and events."""

import shutil
from pathlib import Path

from django.conf import settings

INTERFACE, SERVICE = "contexts/inventory/interface.py", "contexts/inventory/service/__init__.py"
HANDLERS, ORDERS = "contexts/inventory/handlers.py", "contexts/orders/events.py"

# New fields of a result and of an error, a new optional argument, a new method, a new error.
METHOD = '''
    @read
    def units(self, *, skus: tuple[str, ...]) -> int:
        """Count the available units of these SKUs."""


inventory: Inventory ='''
TOO_MANY = '''    available: int
    more_in_days: int = 0


class TooMany(Conflict):
    """At most {most} of one SKU."""

    most: int


class Inventory'''
RESERVE = """hold: timedelta, wrapping: str = "") -> Reservation:
        if max(line.quantity for line in lines) > 50:
            raise TooMany(most=50)
        return msgspec.structs.replace(reservations.reserve(order_id, lines, hold), wrapping=wrapping)

    def units(self, *, skus):
        return sum(offer.available for offer in catalogue.quote(skus))"""

# A new version of an event, and a handler that uses its new field.
ORDER_CONFIRMED_V2 = """    paid: Money
    channel: str

    @classmethod
    def upcast(cls, version, facts):
        return facts | {"paid": facts["total"], "channel": "the web"} if version < 2 else facts


class OrderRejected"""
HANDLER_BODY = """    reservations.commit(event.order_id)
    audit("inventory", actor="release 2", action=event.channel, object_type="order", object_id=event.order_id)"""
SET_BODY = """    reservations.commit_many({event.order_id: trace for event, trace in received})
    for event, _ in received:
        audit("inventory", actor="release 2", action=event.channel, object_type="order", object_id=event.order_id)"""

REPLACEMENTS = [  # file, text that occurs in it once, text of the next release
    (
        INTERFACE,
        "    lines: tuple[Line, ...]\n\n\nclass",
        '    lines: tuple[Line, ...]\n    wrapping: str = ""\n\n\nclass',
    ),
    (INTERFACE, "    available: int\n\n\nclass Inventory", TOO_MANY),
    (INTERFACE, "hold: timedelta) -> Reservation:", 'hold: timedelta, wrapping: str = "") -> Reservation:'),
    (INTERFACE, "\n\ninventory: Inventory =", METHOD),
    (
        SERVICE,
        "from contexts.inventory.interface import",
        "import msgspec\nfrom contexts.inventory.interface import TooMany,",
    ),
    (SERVICE, "hold: timedelta) -> Reservation:\n        return reservations.reserve(order_id, lines, hold)", RESERVE),
    (ORDERS, 'name="orders.order_confirmed", version=1', 'name="orders.order_confirmed", version=2'),
    (ORDERS, "    total: Money\n\n\nclass OrderRejected", ORDER_CONFIRMED_V2),
    (HANDLERS, "from shop.messaging.events import", "from shop.audit import audit\nfrom shop.messaging.events import"),
    (HANDLERS, "    reservations.commit(event.order_id)", HANDLER_BODY),
    (HANDLERS, "    reservations.commit_many({event.order_id: trace for event, trace in received})", SET_BODY),
]


def create_next_release(folder: Path) -> Path:
    """Write the next release into a folder."""
    for name in ("shop", "config", "contexts", "ops"):
        shutil.copytree(settings.BASE_DIR / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(settings.BASE_DIR / "manage.py", folder)
    for file, before, after in REPLACEMENTS:
        text = (folder / file).read_text()
        assert text.count(before) == 1, f"{before!r} occurs {text.count(before)} times in {file}"
        (folder / file).write_text(text.replace(before, after))
    return folder
