"""The history, sorted: what was asked and told of each order, of cancels, refunds and mails."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from config.soak.client import TRY_AGAIN
from config.soak.history import Entry

ORDERING = ("order", "repeat")
FINAL = (201, 402, 409)


@dataclass(frozen=True)
class Told:
    """An answer, with the request that it is for."""

    sent: Entry
    answered: Entry

    @property
    def status(self) -> int:
        return self.answered["status"]

    @property
    def body(self) -> Any:
        return json.loads(self.answered["answer"]) if self.answered["answer"] else None

    @property
    def order_id(self) -> str | None:
        """The order that the answer speaks of."""
        body = self.body
        return body.get("id") if self.status < 300 else body.get("facts", {}).get("order_id")

    @property
    def is_final(self) -> bool:
        """Whether this is the answer that the key keeps for ever."""
        return self.status in FINAL and not (self.status == 409 and self.body["code"] in TRY_AGAIN)


@dataclass
class Records:
    """The history by what it is about."""

    requests: dict[str, Entry] = field(default_factory=dict)  # by key: the first request to order
    told: dict[str, list[Told]] = field(default_factory=lambda: defaultdict(list))  # by key: answers to it
    answers: list[Told] = field(default_factory=list)  # all of them
    carts: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    given_up: list[Entry] = field(default_factory=list)
    letters: list[Entry] = field(default_factory=list)
    refund_keys: set[str] = field(default_factory=set)

    def of(self, *purposes: str) -> list[Told]:
        """The answers to requests of these purposes."""
        return [told for told in self.answers if told.sent["purpose"] in purposes]

    def wanted(self, key: str) -> dict[str, int]:
        """What a request to order asked for: units of each SKU."""
        body = self.requests[key]["body"]
        if "cart_id" in body:
            return self.carts[body["cart_id"]]
        units: dict[str, int] = {}
        for item in body["items"]:
            units[item["sku"]] = units.get(item["sku"], 0) + item["quantity"]
        return units


def sort(history: Iterable[Entry]) -> Records:
    """A history's records."""
    records, sent = Records(), {}
    for entry in history:
        match entry["event"]:
            case "sent":
                sent[entry["request"]] = entry
                _note_request(records, entry)
            case "answered":
                told = Told(sent.pop(entry["request"]), entry)
                records.answers.append(told)
                if told.sent["purpose"] in ORDERING:
                    records.told[told.sent["key"]].append(told)
            case "lost":
                del sent[entry["request"]]
            case "given_up":
                records.given_up.append(entry)
            case "mail":
                records.letters.append(entry)
    return records


def _note_request(records: Records, entry: Entry) -> None:
    if entry["purpose"] in ORDERING:
        records.requests.setdefault(entry["key"], entry)
    elif entry["purpose"] == "fill":
        _, _, cart, _, sku = entry["path"].rsplit("/", 4)
        records.carts[cart][sku] = entry["body"]["quantity"]
    elif entry["purpose"] == "refund":
        records.refund_keys.add(entry["key"])
