"""The map and the documents that are read off the code."""

import json
import re

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from config import asyncapi, contexts
from shop import events, services
from shop.database import changed
from shop.traffic import Recorder

ORDER = ["notifications", "orders", "inventory", "payments", "users"]  # from the top of the context map to its bottom


@pytest.fixture(scope="module")
def found():
    return contexts.found()


def test_the_page_is_what_the_code_says():
    call_command("contexts", check=True)


def test_negative_control_a_page_of_yesterday_is_refused(settings, tmp_path):
    settings.BASE_DIR = tmp_path
    (tmp_path / "docs").mkdir()
    for name in ("contexts", "config"):
        (tmp_path / name).symlink_to(contexts.Path(__file__).parents[2] / name)
    with pytest.raises(CommandError, match=r"run `manage\.py contexts --write`"):
        call_command("contexts", check=True)
    call_command("contexts", write=True)
    call_command("contexts", check=True)
    page = tmp_path / "docs" / "contexts.md"
    page.write_text(page.read_text().replace("reserve", "grab"))
    with pytest.raises(CommandError):
        call_command("contexts", check=True)


def test_calls_go_down_the_map(found):
    pairs = [(call["caller"], call["callee"]) for call in found["calls"] if call["caller"] != contexts.ADMIN]
    assert ("orders", "inventory") in pairs
    assert [pair for pair in pairs if ORDER.index(pair[0]) >= ORDER.index(pair[1])] == []


def test_a_call_is_of_a_method_that_there_is(found):
    answers = {context: set(found["contexts"][context]["answers"]) for context in settings.ALL_CONTEXTS}
    assert [call for call in found["calls"] if not set(call["methods"]) <= answers[call["callee"]]] == []


def test_the_call_that_a_checkout_makes_first_is_on_the_map(found):
    [call] = [call for call in found["calls"] if (call["caller"], call["callee"]) == ("orders", "inventory")]
    assert {"quote", "reserve", "release"} <= set(call["methods"])


@pytest.mark.parametrize(("option", "said"), [("json", '"calls": ['), ("mermaid", "orders -->|"), (None, "## payments")])
def test_the_map_is_shown(option, said, capsys):
    call_command("contexts", **({option: True} if option else {}))
    assert said in capsys.readouterr().out


@pytest.fixture
def asked():
    """What orders asked payments, 20 times, of which 2 got no answer."""
    changed("orders", "DELETE FROM shop_callcount")
    services.seen.clear()
    services.seen.extend([("contexts.orders.saga", "payments.authorize", 0.004, n < 2) for n in range(20)])
    Recorder().write()
    yield
    changed("orders", "DELETE FROM shop_callcount")


def shown(capsys, **options):
    call_command("contexts", **options)
    return capsys.readouterr().out


def test_figures_stand_beside_each_edge(asked, capsys):
    [line] = [line for line in shown(capsys).splitlines() if line.startswith("orders → payments authorize")]
    assert line.split()[5:7] == ["2", "4.0"]
    assert re.search(r"authorize \d+\.\d/min 3\.\d ms 2 failed<br>", shown(capsys, mermaid=True))
    edges = json.loads(shown(capsys, json=True))["traffic"]["edges"]
    [edge] = [edge for edge in edges if (edge["caller"], edge["callee"], edge["name"]) == ("orders", "payments", "authorize")]
    assert (edge["kind"], edge["count"]) == ("call", 20)
    assert 0 < edge["per_minute"] <= 20


def test_negative_control_without_traffic_there_are_no_figures(capsys):
    assert "orders → payments authorize" not in shown(capsys)
    assert "authorize<br>" in shown(capsys, mermaid=True)


def test_a_database_that_does_not_answer_costs_its_own_figures_only(asked, capsys):
    changed("users", "ALTER TABLE shop_callcount RENAME TO away")
    try:
        said = shown(capsys)
    finally:
        changed("users", "ALTER TABLE away RENAME TO shop_callcount")
    assert "The database of users does not answer." in said
    assert "orders → payments authorize" in said


def test_minutes_of_a_week_ago_are_not_kept(capsys):
    with pytest.raises(CommandError, match="is no number from 1 to 1440"):
        call_command("contexts", "--minutes", "10000")


def refs(what):
    """Every reference in a document."""
    if isinstance(what, dict):
        yield from ([what["$ref"]] if "$ref" in what else [])
        for value in what.values():
            yield from refs(value)
    elif isinstance(what, list):
        for value in what:
            yield from refs(value)


def at(document, ref):
    """What a reference points to. KeyError for what points nowhere."""
    for part in ref.removeprefix("#/").split("/"):
        document = document[part]
    return document


def test_every_event_is_in_the_document_and_every_reference_leads_somewhere(capsys):
    call_command("asyncapi")
    document = json.loads(capsys.readouterr().out)
    assert document["components"]["messages"].keys() == events.declared().keys()
    assert all(at(document, ref) for ref in refs(document))


def test_a_reference_that_leads_nowhere_is_noticed():
    with pytest.raises(KeyError):
        at(asyncapi.document(), "#/components/schemas/NoSuchEvent")


def test_every_subscription_is_an_operation():
    operations = asyncapi.document()["operations"]
    assert sorted(operations) == sorted(
        f"{context}.{event}" for event, listeners in settings.SUBSCRIPTIONS.items() for context in listeners
    )
