"""Measure how many e-mails one process sends, to a mail server nearby and to one that is far away."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import IO, Any, cast

from bench import order_history
from bench.mail_sink import Sink, sink
from bench.plan import Plan
from bench.postgres import Postgres
from bench.processes import Failed
from bench.systems import ROOT, Satsuma, extract_revision

NEAR_MS, FAR_MS = 0, 60  # the latencies of the mail servers
MAILS = 1_000  # in a round
WARMUP_MAILS = 100

LINE = "{:<8} {:>8} {:>8}   {:>6} {:>6}   {:>5} {:>6}"
HEADINGS = "\n" + LINE.format("mails", "latency", "per s", "CPU ms", "+ PG", "SQL", "fsyncs")

_MAKE_DUE = """
UPDATE notifications_message SET status = 'waiting', due_at = now(), sent_at = NULL
WHERE id IN (SELECT id FROM notifications_message WHERE channel = 'email' ORDER BY id LIMIT %s)"""


@dataclass(frozen=True)
class MailFigures:
    """The result of one round. CPU is in milliseconds per e-mail, as are statements and fsyncs."""

    per_second: float
    app_cpu: float
    database_cpu: float
    statements: float
    fsyncs: float


@dataclass(frozen=True)
class MailRow:
    """The median figures of one system and latency."""

    system: str
    latency_ms: int
    figures: MailFigures


class Sender:
    """A process that sends the e-mails of a shop whose servers do not run."""

    def __init__(self, shop: Satsuma, port: int) -> None:
        self.shop = shop
        environment = shop.environment | {"EMAIL_PORT": str(port), "ENGINE": "none"}
        self.child = subprocess.Popen(
            [sys.executable, "-P", str(ROOT / "bench" / "mail_sender.py")],
            env=environment, cwd=shop.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=shop.output, text=True,
        )  # fmt: skip

    def send(self, mails: int) -> dict[str, Any]:
        """Send this number of e-mails, and return what the process printed."""
        database = self.shop.connections[self.shop.name_database("notifications")]
        if database.execute(_MAKE_DUE, [mails]).rowcount != mails:
            raise Failed(f"{self.shop.name} has fewer than {mails} e-mails")
        commands, output = cast(IO[str], self.child.stdin), cast(IO[str], self.child.stdout)
        commands.write("\n")
        commands.flush()
        if not (line := output.readline()):
            raise Failed(f"{self.shop.name} sent no e-mails: {self.shop.read_log_end()}")
        figures: dict[str, Any] = json.loads(line)
        return figures

    def measure(self) -> MailFigures:
        postgres = self.shop.postgres
        database, disk_use = postgres.cpu(), postgres.disk_use()
        postgres.forget()
        sent = self.send(MAILS)
        return MailFigures(
            per_second=MAILS / sent["seconds"],
            app_cpu=1000 * sent["cpu"] / MAILS,
            database_cpu=1000 * (postgres.cpu() - database) / MAILS,
            statements=sum(one.calls for one in postgres.statements()) / MAILS,
            fsyncs=(postgres.disk_use().fsyncs - disk_use.fsyncs) / MAILS,
        )

    def stop(self) -> None:
        self.child.kill()
        self.child.communicate()


def measure(plan: Plan, folder: Path) -> Iterator[MailRow]:
    """Measure this tree, and the revision to compare it with. Yields the medians of the rounds."""
    with ExitStack() as stack:
        shops = _prepare(plan, folder, stack)
        for latency in (NEAR_MS, FAR_MS):
            for shop, figures in zip(shops, _measure_at(latency, shops, plan.rounds), strict=True):
                yield MailRow(shop.name, latency, _median(figures))


def _prepare(plan: Plan, folder: Path, stack: ExitStack) -> list[Satsuma]:
    """Prepare shops with sent e-mails about MAILS orders each, and stop their servers."""
    folder.mkdir()
    postgres = Postgres(folder)
    stack.callback(postgres.stop)
    postgres.start()
    roots = {"satsuma": ROOT} | ({"before": extract_revision(plan.before, folder / "tree")} if plan.before else {})
    shops = []
    with sink() as port:
        for name, root in roots.items():
            shop = Satsuma(name, postgres, plan.layout, folder, plan.products, mail_port=port, root=root)
            shop.prepare()
            stack.callback(shop.stop)
            shop.start()
            order_history.create_past_orders(shop, MAILS)
            for process in shop.processes:
                process.stop()
            shops.append(shop)
    return shops


def _measure_at(latency: int, shops: list[Satsuma], rounds: int) -> list[list[MailFigures]]:
    """Measure the shops in turn. Raises Failed if the mail server accepted more or fewer messages than were sent."""
    server = Sink(latency)
    senders = [Sender(shop, server.port) for shop in shops]
    try:
        for sender in senders:
            sender.send(WARMUP_MAILS)
        found = [[sender.measure() for sender in senders] for _ in range(rounds)]
    finally:
        for sender in senders:
            sender.stop()
        accepted = server.stop()
    if accepted != (expected := len(senders) * (WARMUP_MAILS + rounds * MAILS)):
        raise Failed(f"The mail server accepted {accepted} messages of {expected}.")
    return [list(figures) for figures in zip(*found, strict=True)]


def _median(found: list[MailFigures]) -> MailFigures:
    return MailFigures(**{name: median(getattr(one, name) for one in found) for name in vars(found[0])})


def line(row: MailRow) -> str:
    """Render the figures of a system."""
    f = row.figures
    return LINE.format(
        row.system, f"{row.latency_ms} ms", f"{f.per_second:.1f}", f"{f.app_cpu:.2f}", f"{f.database_cpu:.2f}",
        f"{f.statements:.1f}", f"{f.fsyncs:.2f}",
    )  # fmt: skip
