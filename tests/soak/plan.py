"""The plan of a soak test, computed from its seed: the journeys of the buyers, and the faults between them.

A fault is scheduled by the number of orders that have begun, not by time, so that a slow machine has the same schedule as a
fast one.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from random import Random
from typing import Literal

from config.contexts import ALL_CONTEXTS

CUSTOMER_COUNT = 20  # with an account; all others are guests
ORDINARY_SKU_COUNT, HOT_SKU_COUNT = 40, 8  # SKUs with plenty of stock, and with little
MAX_ORDERS_AHEAD = 60  # how many orders may begin before a fault that is due is injected

TOKEN_WEIGHTS = {
    "tok_ok": 60,
    "tok_declined": 6,
    "tok_requires_action": 9,
    "tok_timeout_then_ok": 8,
    "tok_error": 3,
    "tok_capture_refused": 4,
    "tok_capture_timeout_then_ok": 10,
}

# By kind: orders per fault, minimum number of faults, and how long one lasts (shortest, longest), in seconds.
FAULT_RATES = {
    "kill": (18, 4, (0.0, 1.0)),
    "stop": (250, 1, (0.0, 0.5)),
    "pause": (200, 1, (1.0, 7.0)),
    "database": (1000, 1, (0.0, 1.0)),
    "connections": (150, 2, (0.0, 0.0)),
    "mail": (150, 2, (0.5, 3.0)),
}
# The same for the broker of the Celery engine: it loses all messages, is killed, or is suspended.
BROKER_FAULT_RATES = {
    "flush": (60, 2, (0.0, 0.0)),
    "broker-kill": (120, 2, (0.5, 5.0)),
    "broker-pause": (120, 2, (1.0, 7.0)),
}
# Random faults inside the processes, at the points of shop/chaos/__init__.py.
CHAOS_RULES = {
    "provider.*.before": ("p=0.02:raise", "p=0.03:delay=0.2"),  # the request is lost, or slow
    "provider.*.after": ("p=0.04:raise", "p=0.03:delay=0.2"),  # the response is lost, or slow
    "call.*.after": ("p=0.002:raise",),
    "relay.*.after": ("p=0.02:raise",),
    "handler.*.before": ("p=0.01:raise",),
    "handler.*.after": ("p=0.01:raise",),
    "smtp.send.after": ("p=0.02:raise",),
    "*.commit.before": ("p=0.001:drop",),
    "*.commit.after": ("p=0.002:drop",),
}
# The same for calls between processes: the request or the response is lost or delayed.
WIRE_CHAOS_RULES = {
    "wire.*.before": ("p=0.005:raise", "p=0.005:delay=0.5"),
    "wire.*.after": ("p=0.01:raise", "p=0.005:delay=0.5"),
}
MAIL_FAILURE_MODES = ("refuses", "defers", "rejects", "hangs", "disconnects")
ENGINES = ("embedded", "celery")


@dataclass(frozen=True)
class ProcessSpec:
    """One process of the shop: a public server, an internal server, an engine, or one of the processes of Celery."""

    kind: Literal["web", "internal", "engine", "worker", "beat", "broker"]
    which: str
    context: str = ""  # the only context that it hosts; empty: all contexts
    engine: str = "embedded"

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.which}"


PROCESSES_BY_MODE = {
    "monolith": (
        ProcessSpec("web", "1"),
        ProcessSpec("web", "2"),
        ProcessSpec("web", "3", engine="none"),
        ProcessSpec("engine", "1"),
    ),
    "split": tuple(ProcessSpec(kind, context, context) for context in ALL_CONTEXTS for kind in ("web", "internal")),
}


def list_processes(mode: str, engine: str) -> tuple[ProcessSpec, ...]:
    """List the processes of the shop. With Celery, servers only send messages, and each context has a worker."""
    if engine == "embedded":
        return PROCESSES_BY_MODE[mode]
    servers = tuple(replace(part, engine=engine) for part in PROCESSES_BY_MODE[mode] if part.kind != "engine")
    hosted = {context: context if mode == "split" else "" for context in ALL_CONTEXTS}
    workers = tuple(ProcessSpec("worker", context, hosted[context], engine) for context in ALL_CONTEXTS)
    return (ProcessSpec("broker", "1"), *servers, *workers, ProcessSpec("beat", "1", engine=engine))


@dataclass(frozen=True, kw_only=True)
class Journey:
    """The actions of one buyer."""

    number: int
    customer: int | None  # the number of the account; None for a guest
    items: tuple[tuple[str, int], ...]
    uses_cart: bool
    token: str
    decision: str  # if the payment needs approval: approve, decline, or empty for no decision
    then: str  # afterwards: cancel, refund, or empty
    is_browsing: bool
    is_sent_twice: bool  # the order request is sent twice at the same moment, as by a double click
    reuses_key: bool  # the key is used once more with another body


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault, injected when `at` orders have begun."""

    at: int
    kind: str
    target: str
    seconds: float


@dataclass(frozen=True)
class Plan:
    """The plan of one soak test."""

    seed: int
    orders: int
    mode: str = "monolith"
    engine: str = "embedded"

    @property
    def parts(self) -> tuple[ProcessSpec, ...]:
        """The processes of the shop."""
        return list_processes(self.mode, self.engine)

    @property
    def kinds(self) -> dict[str, tuple[int, int, tuple[float, float]]]:
        """The rates of all kinds of faults."""
        return FAULT_RATES | (BROKER_FAULT_RATES if self.engine == "celery" else {})

    @property
    def fingerprint(self) -> str:
        """A hash that is the same for the same seed, number of orders and release."""
        everything = [*map(astuple, self.journeys()), *map(astuple, self.faults()), self.inside()]
        return hashlib.sha256(repr(everything).encode()).hexdigest()[:12]

    def inside(self) -> dict[str, str]:
        """Return the environment variables that arm random faults in the processes."""
        rules = [f"{point}:{rule}" for point, actions in self._list_chaos_rules() for rule in actions]
        return {"CHAOS": ",".join(rules), "CHAOS_SEED": str(self.seed)}

    def _list_chaos_rules(self) -> list[tuple[str, tuple[str, ...]]]:
        return [*CHAOS_RULES.items(), *(WIRE_CHAOS_RULES.items() if self.mode == "split" else ())]

    def stock(self) -> dict[str, int]:
        """Return the initial stock: units by SKU."""
        plenty = {f"SOAK-{n}": 10 * self.orders for n in range(ORDINARY_SKU_COUNT)}
        return plenty | {f"HOT-{n}": max(2, self.orders // 200) for n in range(HOT_SKU_COUNT)}

    def journeys(self) -> Iterator[Journey]:
        """Iterate over the journeys in the order in which they begin."""
        for number in range(self.orders):
            yield _build_journey(number, Random(f"{self.seed} journey {number}"))

    def faults(self) -> list[Fault]:
        """Return the faults in the order in which they are injected."""
        rng = Random(f"{self.seed} faults")
        return sorted(
            (fault for kind in self.kinds for fault in self._build_faults_of_kind(kind, rng)),
            key=lambda fault: fault.at,
        )

    def _build_faults_of_kind(self, kind: str, rng: Random) -> Iterator[Fault]:
        orders_per_fault, minimum, (shortest, longest) = self.kinds[kind]
        for _ in range(max(minimum, math.ceil(self.orders / orders_per_fault))):
            yield Fault(
                at=rng.randint(self.orders // 20, self.orders * 19 // 20), kind=kind, target=self._target(kind, rng),
                seconds=round(rng.uniform(shortest, longest), 3),
            )  # fmt: skip

    def _target(self, kind: str, rng: Random) -> str:
        if kind in ("kill", "pause"):
            return rng.choice([part.name for part in self.parts if part.kind != "broker"])
        if kind == "stop":
            return rng.choice([part.name for part in self.parts if part.kind not in ("engine", "broker")])
        if kind in BROKER_FAULT_RATES:
            return next(part.name for part in self.parts if part.kind == "broker")
        if kind == "connections":
            return rng.choice(("all", *ALL_CONTEXTS))
        return rng.choice(MAIL_FAILURE_MODES) if kind == "mail" else "postgres"


def _build_journey(number: int, rng: Random) -> Journey:
    token = rng.choices(list(TOKEN_WEIGHTS), list(TOKEN_WEIGHTS.values()))[0]
    return Journey(
        number=number,
        customer=rng.randrange(CUSTOMER_COUNT) if rng.random() < 0.3 else None,
        items=_choose_items(rng),
        uses_cart=rng.random() < 0.3,
        token=token,
        decision=rng.choices(("approve", "decline", ""), (6, 2, 2))[0],
        then=rng.choices(("", "cancel", "refund"), (84, 10, 6))[0],
        is_browsing=rng.random() < 0.2,
        is_sent_twice=rng.random() < 0.08,
        reuses_key=rng.random() < 0.02,
    )


def _choose_items(rng: Random) -> tuple[tuple[str, int], ...]:
    """Choose one to three items in any order, some of them with the same SKU."""
    skus = [f"SOAK-{rng.randrange(ORDINARY_SKU_COUNT)}" for _ in range(rng.choice((1, 1, 2, 3)))]
    if rng.random() < 0.12:
        skus[0] = f"HOT-{rng.randrange(HOT_SKU_COUNT)}"
    return tuple((sku, rng.randint(1, 3)) for sku in skus)
