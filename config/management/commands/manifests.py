"""manage.py manifests: Kubernetes manifests for a shop in one process, in five, or in any other arrangement."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config import manifests


class Command(BaseCommand):
    help = (
        "Write deploy/kubernetes/monolith and split; or, with hosts, another arrangement: "
        "`manifests --folder deploy/kubernetes/peeled shop=orders,inventory,users,notifications payments=payments`."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("host", nargs="*", help="name=context,context: together they host each context once")
        parser.add_argument("--folder", type=Path, help="where to write them, beside deploy/kubernetes/base")
        parser.add_argument("--check", action="store_true", help="whether those that are kept are up to date")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["check"]:
            if stale := manifests.stale():
                raise CommandError(f"{', '.join(stale)}: not what the templates say; run `manage.py manifests`")
        elif options["host"]:
            if not options["folder"]:
                raise CommandError("--folder says where to write them")
            manifests.write(options["folder"], _hosts(options["host"]))
        else:
            for name, hosts in manifests.TOPOLOGIES.items():
                manifests.write(manifests.FOLDER / name, hosts)


def _hosts(given: list[str]) -> dict[str, tuple[str, ...]]:
    hosts = {name: tuple(contexts.split(",")) for name, _, contexts in (one.partition("=") for one in given)}
    named = sorted(context for contexts in hosts.values() for context in contexts)
    if named != sorted(settings.ALL_CONTEXTS) or "gateway" in hosts:
        raise CommandError(f"{' '.join(given)} has to host each of {', '.join(settings.ALL_CONTEXTS)} once")
    return hosts
