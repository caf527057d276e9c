"""manage.py retention: list how long the rows of each table are kept, and what is left to delete; delete it now."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from shop import purging
from shop.db.database import hosted_contexts
from shop.db.retention import (
    DeletedAfter,
    DeletedWith,
    DeletedWithLast,
    Kept,
    Retention,
    get_retention,
    list_models,
    list_rules,
)
from shop.text import format_count


class Command(BaseCommand):
    help = (
        "List how long the rows of each table are kept, and the old rows that are not deleted yet. "
        "Exit status: 0 all is well, 1 a purge fails or has been behind for a day."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--context", action="append", choices=hosted_contexts(), help="only this context")
        parser.add_argument(
            "--run", action="store_true", help="first delete all rows that are older than their retention"
        )
        parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON document")

    def handle(self, *, context: list[str] | None, run: bool, as_json: bool, **_: object) -> None:
        chosen = tuple(context or hosted_contexts())
        if run:
            for name in chosen:
                deleted = purging.purge_now(name)
                self.stderr.write(f"{name}: {format_count(deleted, 'row')} deleted")
        entries = [entry for name in chosen for entry in _list_entries(name)]
        self.stdout.write(_render_json(entries) if as_json else "\n".join(map(_render_entry, entries)))
        if late := [f"{entry['context']} {entry['rule']}" for entry in entries if entry.get("problem")]:
            raise CommandError(f"{len(late)} purges fail or are late: {', '.join(late)}", returncode=1)


def _list_entries(context: str) -> list[dict[str, object]]:
    return _list_kept(context) + _list_purged(context)


def _list_kept(context: str) -> list[dict[str, object]]:
    return [
        {"context": context, "rule": model._meta.db_table, "kept": _describe(retention)}
        for model in list_models(context)
        for retention in get_retention(model)
        if not isinstance(retention, DeletedAfter)
    ]


def _describe(retention: Retention) -> str:
    if isinstance(retention, Kept):
        return f"for ever. {retention.because}"
    if isinstance(retention, DeletedWith):
        return f"as long as its row in {retention.table}"
    if isinstance(retention, DeletedWithLast):
        return f"as long as the last row of {retention.table} that refers to it"
    chosen = f", only {retention.only}" if retention.only else ""
    return f"{retention.get_period()} after {retention.since}{chosen}"


def _list_purged(context: str) -> list[dict[str, object]]:
    problems = purging.find_problems(context)
    entries: list[dict[str, object]] = []
    for rule in list_rules(context):
        result = purging.get_result(context, rule)
        is_problem = rule.name in (*problems.failing, *problems.behind)
        entries.append(
            {
                "context": context,
                "rule": rule.name,
                "kept": _describe(rule.policy),
                "setting": rule.policy.setting,
                "waiting": purging.count_expired(context, rule),
                "deleted": result.deleted,
                "finished_at": result.finished_at and timezone.localtime(result.finished_at).isoformat(),
                "failures": result.failures,
                "error": result.error,
                "behind_since": result.behind_since and result.behind_since.isoformat(),
                "problem": is_problem,
            }
        )
    return entries


def _render_entry(entry: dict[str, Any]) -> str:
    text = f"{entry['context']} {entry['rule']}: kept {entry['kept']}"
    if "waiting" not in entry:
        return text
    setting = f" ({entry['setting']})" if entry["setting"] else ""
    last = entry["finished_at"] or "never"
    text += f"{setting}; {format_count(entry['waiting'], 'row')} to delete, {entry['deleted']} deleted, last run {last}"
    if entry["failures"]:
        text += f"; FAILED {entry['failures']} times: {entry['error']}"
    return text + (f"; BEHIND since {entry['behind_since']}" if entry["behind_since"] else "")


def _render_json(entries: list[dict[str, object]]) -> str:
    return json.dumps(entries, indent=1)
