"""The history of an order from the databases of all contexts: `manage.py chaos story`."""

import json
import uuid
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tests.engine_driver import run_until_idle
from tests.factories import create_sku
from tests.shopper import InProcessShopper


def print_history(*arguments: str) -> str:
    out = StringIO()
    call_command("chaos", "story", *arguments, stdout=out)
    return out.getvalue()


def test_the_history_of_an_order_includes_every_context(tmp_path):
    key = uuid.uuid4().hex
    order = InProcessShopper().order(create_sku(1), key=key).body
    run_until_idle()
    facts = {"request": 1, "journey": 7, "purpose": "order", "key": key}
    history = tmp_path / "history.jsonl"
    history.write_text(
        json.dumps({"at": 1.0, "event": "answered", "status": 201, "answer": "it is yours"} | facts) + "\n"
    )
    output = print_history(order["id"], "--history", str(history))
    parts = ["reservation created", "sale -1", "payment sb_", "booked capture", "orders.order_confirmed"]
    parts += ["inventory inbox", "order_confirmed by email", "it is yours", "provider:", f"order {order['number']}"]
    assert [part for part in parts if part not in output] == []
    times = [line.split()[0] for line in output.splitlines() if line[2:3] == ":"]
    assert len(times) > 15
    assert times[1:] == sorted(times[1:]), "in time order; the entry of the request log is of 1970"


def test_an_unknown_order_has_no_history():
    with pytest.raises(CommandError, match="There is no order"):
        print_history(str(uuid.uuid4()))


def test_an_unreadable_history_file_is_refused(tmp_path):
    (tmp_path / "picture").write_text("not JSON")
    with pytest.raises(CommandError, match=r"is not the history\.jsonl of a soak test"):
        print_history(str(uuid.uuid4()), "--history", str(tmp_path / "picture"))
