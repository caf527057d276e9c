"""What a soak does, from its seed alone: who buys what and pays how, and which fault strikes after which order.

Places in the schedule are counts of orders placed, not times, so a slow machine sees the same schedule as a fast one.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from random import Random
from typing import Literal

CUSTOMERS = 20  # with an account; everybody else is a guest
ORDINARY, HOT = 40, 8  # SKUs with plenty of stock, and with little
CONTEXTS = ("orders", "inventory", "payments", "users", "notifications")
LEAD = 60  # orders that may begin before a fault whose time has come has struck

TOKENS = {
    "tok_ok": 60,
    "tok_declined": 6,
    "tok_requires_action": 9,
    "tok_timeout_then_ok": 8,
    "tok_error": 3,
    "tok_capture_refused": 4,
    "tok_capture_timeout_then_ok": 10,
}

# One fault for so many orders, how many at least, and for how many seconds: down, paused, or in that mood.
FAULTS = {
    "kill": (18, 4, (0.0, 1.0)),
    "stop": (250, 1, (0.0, 0.5)),
    "pause": (200, 1, (1.0, 7.0)),
    "database": (1000, 1, (0.0, 1.0)),
    "connections": (150, 2, (0.0, 0.0)),
    "mail": (150, 2, (0.5, 3.0)),
}
# The same for the broker of the Celery engine: it forgets everything, dies and comes back empty, says nothing for a while.
BROKER_FAULTS = {
    "flush": (60, 2, (0.0, 0.0)),
    "broker-kill": (120, 2, (0.5, 5.0)),
    "broker-pause": (120, 2, (1.0, 7.0)),
}
# What happens by chance inside the processes, at the points of shop/chaos.py, for as long as there are faults.
INSIDE = {
    "provider.*.before": ("p=0.02:raise", "p=0.03:delay=0.2"),  # it never got there, or is slow
    "provider.*.after": ("p=0.04:raise", "p=0.03:delay=0.2"),  # it got there, and nobody heard
    "call.*.after": ("p=0.002:raise",),
    "relay.*.after": ("p=0.02:raise",),
    "handler.*.before": ("p=0.01:raise",),
    "handler.*.after": ("p=0.01:raise",),
    "smtp.send.after": ("p=0.02:raise",),
    "*.commit.before": ("p=0.001:drop",),
    "*.commit.after": ("p=0.002:drop",),
}
# The same between the processes of a shop in several: not asked, asked and not heard, or heard late.
BETWEEN = {
    "wire.*.before": ("p=0.005:raise", "p=0.005:delay=0.5"),
    "wire.*.after": ("p=0.01:raise", "p=0.005:delay=0.5"),
}
MOODS = ("refuses", "defers", "rejects", "hangs", "breaks off")
ENGINES = ("embedded", "celery")


@dataclass(frozen=True)
class Part:
    """One of the shop's processes: a server for customers, one for other contexts, an engine by itself; or one of Celery's."""

    kind: Literal["web", "internal", "engine", "worker", "beat", "broker"]
    which: str
    context: str = ""  # the only one that it hosts; empty: all of them
    engine: str = "embedded"

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.which}"


MODES = {
    "monolith": (Part("web", "1"), Part("web", "2"), Part("web", "3", engine="none"), Part("engine", "1")),
    "split": tuple(Part(kind, context, context) for context in CONTEXTS for kind in ("web", "internal")),
}


def parts(mode: str, engine: str) -> tuple[Part, ...]:
    """The shop's processes. With Celery the servers only ring, and each context has a worker that does what is to be done."""
    if engine == "embedded":
        return MODES[mode]
    servers = tuple(replace(part, engine=engine) for part in MODES[mode] if part.kind != "engine")
    hosted = {context: context if mode == "split" else "" for context in CONTEXTS}
    workers = tuple(Part("worker", context, hosted[context], engine) for context in CONTEXTS)
    return (Part("broker", "1"), *servers, *workers, Part("beat", "1", engine=engine))


@dataclass(frozen=True, kw_only=True)
class Journey:
    """What one buyer does."""

    number: int
    customer: int | None  # which of those with an account; None for a guest
    items: tuple[tuple[str, int], ...]
    by_cart: bool
    token: str
    decision: str  # of who is asked to approve: approve, decline, or empty: just leaves
    then: str  # cancel, refund, or empty
    browses: bool
    twice: bool  # the order is sent two times at once, as by a double click
    reuses: bool  # the key is sent once more with another body


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that breaks once so many orders have been begun."""

    at: int
    kind: str
    target: str
    seconds: float


@dataclass(frozen=True)
class Plan:
    """A whole soak."""

    seed: int
    orders: int
    mode: str = "monolith"
    engine: str = "embedded"

    @property
    def parts(self) -> tuple[Part, ...]:
        """The shop's processes."""
        return parts(self.mode, self.engine)

    @property
    def kinds(self) -> dict[str, tuple[int, int, tuple[float, float]]]:
        """What may break."""
        return FAULTS | (BROKER_FAULTS if self.engine == "celery" else {})

    @property
    def fingerprint(self) -> str:
        """The same for the same seed and number of orders, and the same release."""
        everything = [*map(astuple, self.journeys()), *map(astuple, self.faults()), self.inside()]
        return hashlib.sha256(repr(everything).encode()).hexdigest()[:12]

    def inside(self) -> dict[str, str]:
        """The environment of processes that have faults inside."""
        rules = [f"{point}:{rule}" for point, actions in self._points() for rule in actions]
        return {"CHAOS": ",".join(rules), "CHAOS_SEED": str(self.seed)}

    def _points(self) -> list[tuple[str, tuple[str, ...]]]:
        return [*INSIDE.items(), *(BETWEEN.items() if self.mode == "split" else ())]

    def stock(self) -> dict[str, int]:
        """Units of each SKU on the shelf at the beginning."""
        plenty = {f"SOAK-{n}": 10 * self.orders for n in range(ORDINARY)}
        return plenty | {f"HOT-{n}": max(2, self.orders // 200) for n in range(HOT)}

    def journeys(self) -> Iterator[Journey]:
        """What the buyers do, in the order in which they begin."""
        for number in range(self.orders):
            yield _journey(number, Random(f"{self.seed} journey {number}"))

    def faults(self) -> list[Fault]:
        """What breaks, in order."""
        chance = Random(f"{self.seed} faults")
        return sorted((fault for kind in self.kinds for fault in self._of_kind(kind, chance)), key=lambda fault: fault.at)

    def _of_kind(self, kind: str, chance: Random) -> Iterator[Fault]:
        per, least, (shortest, longest) = self.kinds[kind]
        for _ in range(max(least, math.ceil(self.orders / per))):
            yield Fault(
                at=chance.randint(self.orders // 20, self.orders * 19 // 20), kind=kind, target=self._target(kind, chance),
                seconds=round(chance.uniform(shortest, longest), 3),
            )  # fmt: skip

    def _target(self, kind: str, chance: Random) -> str:
        if kind in ("kill", "pause"):
            return chance.choice([part.name for part in self.parts if part.kind != "broker"])
        if kind == "stop":
            return chance.choice([part.name for part in self.parts if part.kind not in ("engine", "broker")])
        if kind in BROKER_FAULTS:
            return next(part.name for part in self.parts if part.kind == "broker")
        if kind == "connections":
            return chance.choice(("all", *CONTEXTS))
        return chance.choice(MOODS) if kind == "mail" else "postgres"


def _journey(number: int, chance: Random) -> Journey:
    token = chance.choices(list(TOKENS), list(TOKENS.values()))[0]
    return Journey(
        number=number,
        customer=chance.randrange(CUSTOMERS) if chance.random() < 0.3 else None,
        items=_items(chance),
        by_cart=chance.random() < 0.3,
        token=token,
        decision=chance.choices(("approve", "decline", ""), (6, 2, 2))[0],
        then=chance.choices(("", "cancel", "refund"), (84, 10, 6))[0],
        browses=chance.random() < 0.2,
        twice=chance.random() < 0.08,
        reuses=chance.random() < 0.02,
    )


def _items(chance: Random) -> tuple[tuple[str, int], ...]:
    """One to three SKUs, not always in the same order, and now and then the same one in two lines."""
    skus = [f"SOAK-{chance.randrange(ORDINARY)}" for _ in range(chance.choice((1, 1, 2, 3)))]
    if chance.random() < 0.12:
        skus[0] = f"HOT-{chance.randrange(HOT)}"
    return tuple((sku, chance.randint(1, 3)) for sku in skus)
