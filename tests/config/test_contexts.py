"""The map and the documents that are read off the code."""

import json

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from config import asyncapi, contexts
from shop import events

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
