"""docs/deploy.md names the order in which the contexts are replaced: each after those that it calls."""

import ast
import re

from django.conf import settings

from tests import context_map

GUIDE = (settings.BASE_DIR / "docs" / "deploy.md").read_text()


def read_documented_order(text):
    """Return the groups of contexts in the order in which the guide replaces them."""
    [sentence] = re.findall(r"callees before callers: ([^.]*)\.", text.replace("\n", " "))
    names = "|".join(settings.ALL_CONTEXTS)
    return [found for part in sentence.split("then") if (found := re.findall(rf"\b({names})\b", part))]


def find_callees_of_every_process():
    """Return the contexts whose interface the composition root calls: every process does, whichever contexts it hosts."""
    modules = [
        node.module or ""
        for file in (settings.BASE_DIR / "config").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom)
    ]
    return {module.split(".")[1] for module in modules if re.fullmatch(r"contexts\.\w+\.interface", module)}


def find_callers_before_their_callees(order):
    """Return the pairs of a caller and a callee that is replaced together with it, or later."""
    place = {context: number for number, group in enumerate(order) for context in group}
    layers = context_map.list_layers()
    calls = {
        (caller, callee)
        for number, layer in enumerate(layers)
        for caller in layer
        for callee in (context for below in layers[number + 1 :] for context in below)
    }
    calls |= {(caller, callee) for callee in find_callees_of_every_process() for caller in settings.ALL_CONTEXTS}
    return sorted((caller, callee) for caller, callee in calls if caller != callee and place[caller] <= place[callee])


def test_every_context_is_replaced_after_those_that_it_calls():
    order = read_documented_order(GUIDE)
    assert sorted(context for group in order for context in group) == sorted(settings.ALL_CONTEXTS)
    assert find_callers_before_their_callees(order) == []


def test_a_wrong_order_is_found():
    order = read_documented_order(GUIDE)
    lowest, *_, highest = (context for group in order for context in group)
    callers_first = find_callers_before_their_callees(order[::-1])
    assert {caller for caller, _ in callers_first} == set(settings.ALL_CONTEXTS) - {lowest}
    assert {callee for _, callee in callers_first} >= {lowest}
    assert (highest, lowest) in find_callers_before_their_callees([[context for group in order for context in group]])
