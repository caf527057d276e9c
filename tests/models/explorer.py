"""Explore every state that a model can reach, and show the shortest way to a state that is wrong.

A model is a small description of a protocol: a first state, the steps that are possible from a state (crashes, lost
messages and late replies among them), and the states that must never be reached. Breadth-first search visits all of them.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Generic, TypeVar

State = TypeVar("State", bound=Hashable)
Guards = TypeVar("Guards")

DEAD_END = "dead end: no settled state can be reached any more"


@dataclass(frozen=True)
class Model(Generic[State, Guards]):
    """A protocol, small enough to be explored to the end."""

    name: str
    start: State
    guards: Guards  # a dataclass of booleans, all of them True
    steps: Callable[[State, Guards], Iterable[tuple[str, State]]]
    violation: Callable[[State], str]  # empty for a state that is allowed
    is_settled: Callable[[State], bool]  # nothing is left to do, and all is well

    def guard_names(self) -> list[str]:
        """Return the names of the guards that can be switched off."""
        return [field.name for field in fields(self.guards)]  # type: ignore[arg-type]

    def guards_without(self, name: str) -> Guards:
        """Return all guards switched on, except one."""
        return replace(self.guards, **{name: False})  # type: ignore[type-var]


@dataclass(frozen=True)
class Exploration(Generic[State]):
    """The states that were found, and the first violation among them with the steps that lead there."""

    states: Sequence[State]
    violation: str = ""
    trace: tuple[str, ...] = ()


class _Graph(Generic[State]):
    """Numbered states, with the step by which each was found first and all steps into it."""

    def __init__(self, start: State) -> None:
        self.states = [start]
        self.numbers = {start: 0}
        self.found_by: list[tuple[int, str]] = [(0, "")]
        self.predecessors: list[list[int]] = [[]]

    def add(self, number: int, label: str, after: State) -> None:
        """Add a step from a numbered state."""
        target = self.numbers.setdefault(after, len(self.states))
        if target == len(self.states):
            self.states.append(after)
            self.found_by.append((number, label))
            self.predecessors.append([])
        self.predecessors[target].append(number)

    def trace_to(self, number: int) -> tuple[str, ...]:
        """Return the labels of the shortest way from the first state."""
        labels: list[str] = []
        while number:
            number, label = self.found_by[number]
            labels.append(label)
        return tuple(reversed(labels))

    def dead_ends(self, settled: list[int]) -> list[int]:
        """Return the states from which none of the settled ones can be reached, the nearest first."""
        can_settle = set(settled)
        unvisited = list(settled)
        while unvisited:
            for number in self.predecessors[unvisited.pop()]:
                if number not in can_settle:
                    can_settle.add(number)
                    unvisited.append(number)
        return [number for number in range(len(self.states)) if number not in can_settle]


def explore(model: Model[State, Guards], guards: Guards) -> Exploration[State]:
    """Visit every reachable state; stop at the first violation. Without one, look for dead ends."""
    graph = _Graph(model.start)
    settled: list[int] = []
    for number, state in enumerate(graph.states):  # the list grows meanwhile
        if violation := model.violation(state):
            return Exploration(graph.states, violation, graph.trace_to(number))
        if model.is_settled(state):
            settled.append(number)
        for label, after in model.steps(state, guards):
            graph.add(number, label, after)
    for number in graph.dead_ends(settled):
        return Exploration(graph.states, DEAD_END, graph.trace_to(number))
    return Exploration(graph.states)
