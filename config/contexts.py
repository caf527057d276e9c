"""The map of the contexts as it is: who calls whom, who hears what, who owns which tables. Read off the code."""

import ast
import inspect
from collections import defaultdict
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import Error

from shop import events, services, traffic
from shop.database import hosted

ADMIN = "admin"  # the composition root asks users who signs in to the admin
PAGE = """\
# The contexts as they are

Written by `manage.py contexts --write`; a test fails where it is not what the code says. A solid arrow is a call and goes
down the map, a dotted one an event.

```mermaid
{mermaid}
```
{contexts}
"""


def found() -> dict[str, Any]:
    """The whole map, as plain values."""
    return {
        "contexts": {context: _context(context) for context in settings.ALL_CONTEXTS},
        "calls": [
            {"caller": caller, "callee": callee, "methods": sorted(methods)}
            for (caller, callee), methods in sorted(_calls().items())
        ],
        "events": [
            {"event": name, "from": events.declared()[name].context(), "to": to} for name, to in events.subscriptions().items()
        ],
    }


def _context(context: str) -> dict[str, Any]:
    interface = services.interfaces().get(context, [])
    handlers = sorted(events.handlers(context), key=lambda handler: (handler.event.name, handler.name))
    return {
        "owns": inspect.getdoc(import_module(f"contexts.{context}")),
        "tables": sorted(model._meta.db_table for model in apps.get_app_config(context).get_models()),
        "answers": {method.name.partition(".")[2]: method.repeat for method in interface},
        "announces": sorted(name for name, event in events.declared().items() if event.context() == context),
        "hears": [{"event": one.event.name, "handler": one.name.partition(".")[2]} for one in handlers],
        "timers": {timer.name.partition(".")[2]: timer.every for timer in events.timers((context,))},
    }


def _calls() -> dict[tuple[str, str], set[str]]:
    """(caller, callee): the methods that its code names."""
    calls: dict[tuple[str, str], set[str]] = defaultdict(set)
    for caller in settings.ALL_CONTEXTS:
        for file in sorted((settings.BASE_DIR / "contexts" / caller).rglob("*.py")):
            for callee, method in _named(file):
                if callee != caller:
                    calls[caller, callee].add(method)
    for callee, method in _named(settings.BASE_DIR / "config" / "admin.py"):
        calls[ADMIN, callee].add(method)
    return dict(calls)


def _named(file: Path) -> Iterator[tuple[str, str]]:
    """The methods of interfaces that a file calls by their bound names."""
    tree = ast.parse(file.read_text())
    bound = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and str(node.module).endswith(".interface")
        for alias in node.names if alias.name in settings.ALL_CONTEXTS
    }  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in bound:
            yield bound[node.value.id], node.attr


def measured(minutes: int = traffic.WINDOW) -> tuple[list[traffic.Edge], list[str]]:
    """What went over each edge whose caller or publisher this process hosts; and whose database did not answer."""
    edges, silent = [], []
    for context in hosted():
        try:
            edges += traffic.edges(context, minutes)
        except Error:
            silent.append(context)
    return edges, silent


def mermaid(what: dict[str, Any], edges: Sequence[traffic.Edge] = ()) -> str:
    """The map as a diagram: one arrow for each pair, with what crosses."""
    seen = {(edge.caller, edge.callee, edge.name): edge for edge in edges}
    lines = ["flowchart TD"]
    for call in what["calls"]:
        a, b = call["caller"], call["callee"]
        lines.append(f'    {a} -->|"{"<br>".join(_label(name, seen.get((a, b, name))) for name in call["methods"])}"| {b}')
    heard: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in what["events"]:
        for listener in one["to"]:
            edge = seen.get((one["from"], listener, one["event"]))
            heard[one["from"], listener].append(_label(one["event"].partition(".")[2], edge))
    lines += [f'    {a} -.->|"{"<br>".join(names)}"| {b}' for (a, b), names in sorted(heard.items()) if a != b]
    return "\n".join(lines)


def _label(name: str, edge: traffic.Edge | None) -> str:
    failed = f" {edge.failed} failed" if edge and edge.kind == "call" and edge.failed else ""
    return f"{name} {edge.per_minute:.1f}/min {edge.p50:.1f} ms{failed}" if edge else name


LINE = "{:<58} {:>8} {:>8} {:>8} {:>8} {:>8}"


def figures(edges: list[traffic.Edge], silent: list[str], minutes: int) -> str:
    """What went over the edges, as two tables."""
    lines = [f"\n## Traffic of the last {minutes} minutes, times in ms"]
    for kind, arrow, failed in (("call", "→", "failed"), ("event", "⇢", "on way")):
        lines.append("\n" + LINE.format(f"{kind}s", "per min", failed, "mean", "p50", "p95"))
        for edge in (one for one in edges if one.kind == kind):
            name = f"{edge.caller} {arrow} {edge.callee} {edge.name}"
            times = (f"{time:.1f}" for time in (edge.mean, edge.p50, edge.p95))
            lines.append(LINE.format(name, f"{edge.per_minute:.1f}", edge.failed, *times))
    lines += [f"\nThe database of {context} does not answer." for context in silent]
    return "\n".join(lines)


def text(what: dict[str, Any]) -> str:
    """The map as paragraphs."""
    heard = {one["event"]: one["to"] for one in what["events"]}
    return "\n".join(_paragraph(name, context, what["calls"], heard) for name, context in what["contexts"].items())


def _paragraph(name: str, context: dict[str, Any], calls: list[dict], heard: dict[str, list[str]]) -> str:
    mine = [call for call in calls if call["caller"] == name]
    lines = [
        f"\n## {name}\n\n{context['owns']}\n",
        *_list("Answers", [f"`{method}` ({repeat})" for method, repeat in context["answers"].items()]),
        *_list("Calls", [f"{call['callee']}: {_code(call['methods'])}" for call in mine]),
        *_list("Announces", [f"`{event}` → {', '.join(heard[event]) or 'nobody'}" for event in context["announces"]]),
        *_list("Hears", [f"`{one['event']}` → `{one['handler']}`" for one in context["hears"]]),
        *_list("Timers", [f"`{timer}`, every {every:g} s" for timer, every in context["timers"].items()]),
        *_list("Owns", [_code(context["tables"])]),
    ]
    return "\n".join(lines)


def _list(title: str, items: list[str]) -> list[str]:
    return [f"- {title}: {'; '.join(items)}"] if items else []


def _code(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def page(what: dict[str, Any]) -> str:
    """docs/contexts.md."""
    return PAGE.format(mermaid=mermaid(what), contexts=text(what))
