"""The context map and the AsyncAPI document match the code."""

import json
import re

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from ops.topology import asyncapi, context_map
from shop.calls import services
from shop.calls.call_metrics import CallRecorder
from shop.db.database import execute
from shop.messaging import events
from tests.context_map import list_callers_first

ORDER = list_callers_first()


@pytest.fixture(scope="module")
def dependency_map():
    return context_map.build_context_map()


def test_the_page_matches_the_code():
    call_command("contexts", check=True)


def test_negative_control_an_outdated_page_is_refused(settings, tmp_path):
    settings.BASE_DIR = tmp_path
    (tmp_path / "docs").mkdir()
    for name in ("contexts", "config", "ops"):
        (tmp_path / name).symlink_to(context_map.Path(__file__).parents[3] / name)
    with pytest.raises(CommandError, match=r"Run `manage\.py contexts --write`"):
        call_command("contexts", check=True)
    call_command("contexts", write=True)
    call_command("contexts", check=True)
    page = tmp_path / "docs" / "contexts.md"
    page.write_text(page.read_text().replace("reserve", "grab"))
    with pytest.raises(CommandError):
        call_command("contexts", check=True)


def test_calls_go_down_the_map(dependency_map):
    pairs = [
        (call["caller"], call["callee"])
        for call in dependency_map["calls"]
        if call["caller"] != context_map.ADMIN_CALLER
    ]
    assert ("orders", "inventory") in pairs
    assert [pair for pair in pairs if ORDER.index(pair[0]) >= ORDER.index(pair[1])] == []


def test_every_call_names_an_existing_method(dependency_map):
    answers = {context: set(dependency_map["contexts"][context]["answers"]) for context in settings.ALL_CONTEXTS}
    assert [call for call in dependency_map["calls"] if not set(call["methods"]) <= answers[call["callee"]]] == []


def test_the_call_that_a_checkout_makes_first_is_on_the_map(dependency_map):
    [call] = [call for call in dependency_map["calls"] if (call["caller"], call["callee"]) == ("orders", "inventory")]
    assert {"quote", "reserve", "release"} <= set(call["methods"])


@pytest.mark.parametrize(
    ("option", "text"), [("json", '"calls": ['), ("mermaid", "orders -->|"), (None, "## payments")]
)
def test_the_map_is_shown(option, text, capsys):
    call_command("contexts", **({option: True} if option else {}))
    assert text in capsys.readouterr().out


@pytest.fixture
def recorded_calls():
    """Record 20 calls from orders to payments, of which 2 failed."""
    execute("orders", "DELETE FROM shop_callcount")
    services.call_log.clear()
    services.call_log.extend([("contexts.orders.checkout", "payments.authorize", 0.004, n < 2) for n in range(20)])
    CallRecorder().flush()
    yield
    execute("orders", "DELETE FROM shop_callcount")


def show(capsys, **options):
    call_command("contexts", **options)
    return capsys.readouterr().out


def test_figures_are_shown_for_each_edge(recorded_calls, capsys):
    [line] = [line for line in show(capsys).splitlines() if line.startswith("orders → payments authorize")]
    assert line.split()[5:7] == ["2", "4.0"]
    assert re.search(r"authorize \d+\.\d/min 3\.\d ms 2 failed<br>", show(capsys, mermaid=True))
    edges = json.loads(show(capsys, json=True))["traffic"]["edges"]
    [edge] = [
        edge for edge in edges if (edge["caller"], edge["callee"], edge["name"]) == ("orders", "payments", "authorize")
    ]
    assert (edge["kind"], edge["count"]) == ("call", 20)
    assert 0 < edge["per_minute"] <= 20


def test_negative_control_without_traffic_there_are_no_figures(capsys):
    assert "orders → payments authorize" not in show(capsys)
    assert "authorize<br>" in show(capsys, mermaid=True)


def test_an_unreachable_database_hides_its_own_figures_only(recorded_calls, capsys):
    execute("users", "ALTER TABLE shop_callcount RENAME TO renamed")
    try:
        text = show(capsys)
    finally:
        execute("users", "ALTER TABLE renamed RENAME TO shop_callcount")
    assert "The database of users does not respond." in text
    assert "orders → payments authorize" in text


def test_a_period_beyond_a_day_is_refused(capsys):
    with pytest.raises(CommandError, match="is not a number from 1 to 1440"):
        call_command("contexts", "--minutes", "10000")


def iter_references(node):
    """Generate every reference in a document."""
    if isinstance(node, dict):
        yield from ([node["$ref"]] if "$ref" in node else [])
        for value in node.values():
            yield from iter_references(value)
    elif isinstance(node, list):
        for value in node:
            yield from iter_references(value)


def resolve_reference(document, ref):
    """Return the target of a reference. Raises KeyError for a dangling one."""
    for part in ref.removeprefix("#/").split("/"):
        document = document[part]
    return document


def test_every_event_is_in_the_document_and_every_reference_resolves(capsys):
    call_command("asyncapi")
    document = json.loads(capsys.readouterr().out)
    assert document["components"]["messages"].keys() == events.get_declared_events().keys()
    assert all(resolve_reference(document, ref) for ref in iter_references(document))


def test_a_dangling_reference_is_found():
    with pytest.raises(KeyError):
        resolve_reference(asyncapi.build_document(), "#/components/schemas/NoSuchEvent")


def test_every_subscription_is_an_operation():
    operations = asyncapi.build_document()["operations"]
    assert sorted(operations) == sorted(
        f"{context}.{event}" for event, subscribers in settings.SUBSCRIPTIONS.items() for context in subscribers
    )
