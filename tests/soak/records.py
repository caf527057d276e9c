"""The request log, sorted: requests and responses by purpose and by key, and mails."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ops.console.request_log import Entry
from tests.soak.client import RETRYABLE_CODES

ORDER_PURPOSES = ("order", "repeat")
FINAL_STATUSES = (201, 402, 409)


@dataclass(frozen=True)
class Exchange:
    """A response, with its request."""

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
        """Return the id of the order that the response is about."""
        body = self.body
        return body.get("id") if self.status < 300 else body.get("facts", {}).get("order_id")

    @property
    def is_final(self) -> bool:
        """Return whether this is the final response of the key."""
        return self.status in FINAL_STATUSES and not (self.status == 409 and self.body["code"] in RETRYABLE_CODES)


@dataclass
class Records:
    """The entries of the request log, sorted."""

    requests: dict[str, Entry] = field(default_factory=dict)  # by key: the first request to order
    answers_by_key: dict[str, list[Exchange]] = field(default_factory=lambda: defaultdict(list))  # of requests to order
    answers: list[Exchange] = field(default_factory=list)  # of all requests
    carts: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    abandoned: list[Entry] = field(default_factory=list)
    mails: list[Entry] = field(default_factory=list)
    refund_keys: set[str] = field(default_factory=set)

    def of(self, *purposes: str) -> list[Exchange]:
        """Return the exchanges with these purposes."""
        return [exchange for exchange in self.answers if exchange.sent["purpose"] in purposes]

    def wanted(self, key: str) -> dict[str, int]:
        """Return the requested quantity of each SKU of an order request, by its idempotency key."""
        body = self.requests[key]["body"]
        if "cart_id" in body:
            return self.carts[body["cart_id"]]
        units: dict[str, int] = {}
        for item in body["items"]:
            units[item["sku"]] = units.get(item["sku"], 0) + item["quantity"]
        return units


def sort_history(history: Iterable[Entry]) -> Records:
    """Sort the entries of a request log."""
    records, sent = Records(), {}
    for entry in history:
        match entry["event"]:
            case "sent":
                sent[entry["request"]] = entry
                _record_request(records, entry)
            case "answered":
                exchange = Exchange(sent.pop(entry["request"]), entry)
                records.answers.append(exchange)
                if exchange.sent["purpose"] in ORDER_PURPOSES:
                    records.answers_by_key[exchange.sent["key"]].append(exchange)
                elif exchange.sent["purpose"] == "fill" and exchange.status == 200:
                    _, _, cart, _, sku = exchange.sent["path"].rsplit("/", 4)
                    records.carts[cart][sku] = exchange.sent["body"]["quantity"]
            case "lost":
                del sent[entry["request"]]
            case "given_up":
                records.abandoned.append(entry)
            case "mail":
                records.mails.append(entry)
    return records


def _record_request(records: Records, entry: Entry) -> None:
    if entry["purpose"] in ORDER_PURPOSES:
        records.requests.setdefault(entry["key"], entry)
    elif entry["purpose"] == "refund":
        records.refund_keys.add(entry["key"])
