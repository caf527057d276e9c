"""Fault points, at which `shop.chaos.faults` can kill this process, raise an outage, cut database sessions or wait.

    <context>.commit                  the commit of a transaction that wrote, or of a single writing statement
    call.<context>.<method>           a call through a bound name, in the process that executes it
    wire.<context>.<method>           the same call in the calling process: request and reply
    provider.<name>.<operation>       a request to a payment provider
    smtp.send                         the handover of a message to a mail server
    handler.<context>.<function>      an event handler or its set version, inside its transaction if it has one
    relay.<publisher>.<subscriber>    the delivery of a batch of events
    send.<publisher>.<subscriber>     the same through a message broker

Each has a `.before` and an `.after`. Nothing happens there unless faults are armed, which needs test databases.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

R = TypeVar("R")
T = TypeVar("T")

on_point_reached: Callable[[str], None] | None = None  # called with each point; set by shop.chaos.faults alone


def call_with_points(name: str, function: Callable[..., R], *arguments: object, **named: object) -> R:
    """Call a function between the points `<name>.before` and `<name>.after`."""
    if on_point_reached is None:
        return function(*arguments, **named)
    on_point_reached(f"{name}.before")
    result = function(*arguments, **named)
    on_point_reached(f"{name}.after")
    return result


class _PointProxy:
    """Call each method of an object between two points."""

    def __init__(self, name: str, target: object) -> None:
        self._name, self._target = name, target

    def __getattr__(self, method: str) -> Callable[..., Any]:  # of any object, so no closer type
        return partial(call_with_points, f"{self._name}.{method}", getattr(self._target, method))


def wrap_with_points(name: str, target: T) -> T:
    """Return a proxy whose methods are called between points, or the object itself while no faults are armed."""
    return target if on_point_reached is None else _PointProxy(name, target)  # type: ignore[return-value]  # a proxy
