"""Plan a run: what it measures, with how much data, for how long."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.operations import OPERATIONS
from bench.processes import Failed
from bench.systems import ROOT, Layout

COMPARED = ("list", "detail", "orders")  # operations that the control has too
READ_BY_ASYNCPG = ("list", "detail")  # operations that the second control has too
SCALED_AT = 8  # number of clients at which the small shop is compared with the large one
OVERLOAD_CLIENTS = (32, 128)  # with more of them than the first number, orders of Satsuma are measured alone
EXTRA = ("calls", "mail", "scale", "split", "celery", "overload")
MAX_ORDERS = 1_000_000

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Plan:
    """The options of a run. Sizes are numbers of rows, times are in seconds."""

    operations: tuple[str, ...]
    calls: bool
    mail: bool
    scale: bool
    split: bool
    celery: bool
    overload: bool
    profile: bool
    clients: tuple[int, ...]
    seconds: float
    rounds: int
    products: int
    orders: int
    small: int
    layout: Layout
    out: Path | None
    check: bool
    changes: float
    before: str | None = None  # a git revision that is measured too

    @property
    def compared(self) -> tuple[str, ...]:
        """Return the operations that are measured on the control too."""
        return tuple(name for name in self.operations if name in COMPARED)

    @property
    def compares(self) -> bool:
        return bool(self.compared) and not self.profile

    @property
    def compares_reads(self) -> bool:
        """Return whether the second control is measured, if it is installed."""
        return self.compares and any(name in READ_BY_ASYNCPG for name in self.operations)

    def list_clients(self, operation: str) -> list[int]:
        """List the numbers of clients with which an operation is measured."""
        return sorted({*self.clients, *(OVERLOAD_CLIENTS if self.overload and operation == "orders" else ())})

    def title(self) -> str:
        """Describe the run in one line."""
        return (
            f"{self.layout.workers} workers of {self.layout.threads} threads, engine {self.layout.engine}; "
            f"{self.products:,} products and {self.orders:,} orders; {self.seconds:g} s in {self.rounds} rounds"
            f"; {self.changes:g} stock changes per second"
        )


def make_plan(given: argparse.Namespace) -> Plan:
    """Make the plan for command line arguments. Raises Failed for invalid ones."""
    named = [*given.only, *filter(None, given.chosen.split(","))]
    profiled = named[:1] == ["profile"]
    wanted = tuple(named[profiled:]) or (("orders",) if profiled else (*OPERATIONS, *EXTRA))
    if unknown := [name for name in wanted if name not in OPERATIONS and name not in EXTRA]:
        raise Failed(f"{unknown[0]!r} cannot be measured; choose from {', '.join((*OPERATIONS, *EXTRA))}.")
    full = not named and not given.quick
    scale = "scale" in wanted and not profiled
    operations = tuple(name for name in OPERATIONS if name in wanted)
    if scale and not operations:
        operations = tuple(OPERATIONS)
    split, celery, overload = (name in wanted and not profiled for name in ("split", "celery", "overload"))
    if (split or celery or overload) and "orders" not in operations:
        operations = (*operations, "orders")
    plan = Plan(
        operations=operations, calls="calls" in wanted, mail="mail" in wanted, scale=scale, split=split, celery=celery,
        overload=overload, profile=profiled,
        clients=_clients(given.clients, (1, 8, 32) if full else (SCALED_AT,)),
        seconds=_given_or_default(given.seconds, 9.0 if full else 3.0 if given.quick else 5.0),
        rounds=_given_or_default(given.rounds, 3 if full else 2),
        products=_given_or_default(given.products, 10_000 if full or (scale and not given.quick) else 1_000),
        orders=_given_or_default(given.orders, 100_000 if full or (scale and not given.quick) else 10_000 if scale else 0),
        small=100, layout=Layout(given.workers, given.threads, given.engine),
        out=given.out or (ROOT / "bench" if full else None), check=given.check,
        changes=given.changes, before=given.before,
    )  # fmt: skip
    return _validated(plan)


def _given_or_default(given: Number | None, default: Number) -> Number:
    return default if given is None else given


def _clients(given: str | None, default: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in given.split(",")) if given else default
    except ValueError:
        raise Failed(f"--clients is {given!r}; it must be numbers, separated by commas.") from None


def _validated(plan: Plan) -> Plan:
    minimums = {"clients": (min(plan.clients), 1), "seconds": (plan.seconds, 0.1), "rounds": (plan.rounds, 1),
                "products": (plan.products, 100), "orders": (plan.orders, 0), "workers": (plan.layout.workers, 1),
                "threads": (plan.layout.threads, 1), "changes": (plan.changes, 0)}  # fmt: skip
    for name, (value, minimum) in minimums.items():
        if value < minimum:
            raise Failed(f"--{name} is {value}; it must be {minimum} or more.")
    if plan.orders > MAX_ORDERS:
        raise Failed(f"--orders is {plan.orders}; it must be {MAX_ORDERS} or less.")
    if plan.scale and SCALED_AT not in plan.clients:
        raise Failed(f"scale is measured with {SCALED_AT} clients; add {SCALED_AT} to --clients.")
    return plan
