"""Points at which `config.faults` can kill this process, fail it, cut off its databases or slow it down.

    <context>.commit                  a transaction that wrote; a writing statement outside of one is one by itself
    call.<context>.<method>           a call through a bound name, at the callee
    wire.<context>.<method>           the same at a caller in another process: asked, and heard
    provider.<name>.<operation>       a payment provider is asked
    smtp.send                         a mail server is handed a letter
    handler.<context>.<function>      an event handler, inside its transaction where it has one
    relay.<publisher>.<subscriber>    a batch of facts is handed over
    send.<publisher>.<subscriber>     a batch of facts is sent by a broker

Each has a `.before` and an `.after`. Unless faults are armed, which only a test database allows, nothing happens there.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

reached: Callable[[str], None] | None = None  # told of each point; set by config.faults alone


def call(name: str, function: Callable, *arguments: Any, **named: Any) -> Any:
    """`function(*arguments, **named)`, between two points."""
    if reached is None:
        return function(*arguments, **named)
    reached(f"{name}.before")
    answer = function(*arguments, **named)
    reached(f"{name}.after")
    return answer


class Watched:
    """An object whose every method is called between two points."""

    def __init__(self, name: str, target: Any) -> None:
        self._name, self._target = name, target

    def __getattr__(self, method: str) -> Callable:
        return partial(call, f"{self._name}.{method}", getattr(self._target, method))


def watched(name: str, target: Any) -> Any:
    """The object itself, or, where somebody is told of points, one that tells of them."""
    return target if reached is None else Watched(name, target)
