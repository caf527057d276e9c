"""All invariants, by their numbers."""

from config.verify import events, money, orders, people, stock, together

INVARIANTS = tuple(
    sorted(
        (one for module in (stock, money, orders, events, people, together) for one in module.INVARIANTS),
        key=lambda one: one.number,
    )
)
