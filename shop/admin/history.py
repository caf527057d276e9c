"""The details of an audit entry in words, for the history of an object in the admin."""

from collections.abc import Collection, Iterator, Mapping

from shop.money import Money

NOTHING = "–"


def describe_detail(detail: Mapping[str, object], *, amounts: Collection[str], currency: str) -> list[str]:
    """Return a line for each detail of a change, as in "price: 98.00 EUR → 79.00 EUR".

    amounts: the details in minor units. currency: theirs, where the entry does not say it.
    """
    currency = str(detail.get("currency") or currency)
    shown = {*amounts, "amount"} if currency else ()

    def describe(name: str, value: object) -> str:
        return str(Money(value, currency)) if name in shown and isinstance(value, int) else _to_text(value)

    return [
        f"{name.replace('_', ' ')}: {' → '.join(describe(name, value) for value in values)}"
        for name, values in _pair_values(detail)
        if not (name == "currency" and shown)
    ]


def _pair_values(detail: Mapping[str, object]) -> Iterator[tuple[str, list[object]]]:
    """Yield each name with its value, or with the values before and after the change."""
    before, after = detail.get("before"), detail.get("after")
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        yield from ((name, [before.get(name), value]) for name, value in after.items())
    elif "before" in detail:
        yield "change", [before, after]
    yield from ((name, [value]) for name, value in detail.items() if name not in ("before", "after"))


def _to_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(str(each) for each in value) or NOTHING
    return NOTHING if value is None or value == "" else str(value)
