"""manage.py manifests: write the Kubernetes manifests of a shop in one process, in five, or in another topology."""

from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops.deploy import manifests


class Command(BaseCommand):
    help = (
        "Write deploy/kubernetes/monolith and split, and deploy/compose; or, with hosts, another topology: "
        "`manifests --folder deploy/kubernetes/peeled shop=orders,users,… payments=payments`."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("host", nargs="*", help="name=context,context; together the hosts have each context once")
        parser.add_argument(
            "--folder", type=Path, help="output folder for the given hosts, beside deploy/kubernetes/base"
        )
        parser.add_argument("--check", action="store_true", help="fail if the committed files are out of date")

    def handle(self, *, host: list[str], folder: Path | None, check: bool, **_: object) -> None:
        if check:
            if stale := manifests.find_stale_files():
                raise CommandError(f"Out of date: {', '.join(stale)}. Run `manage.py manifests`.")
        elif host:
            if not folder:
                raise CommandError("Name the output folder with --folder.")
            manifests.write_files(folder, _parse_hosts(host))
        else:
            for name, hosts in manifests.TOPOLOGIES.items():
                manifests.write_files(manifests.KUBERNETES_FOLDER / name, hosts)
            manifests.COMPOSE_GATEWAY_FILE.parent.mkdir(exist_ok=True)
            manifests.COMPOSE_GATEWAY_FILE.write_text(manifests.render_compose_gateway())


def _parse_hosts(arguments: list[str]) -> manifests.Hosts:
    hosts = {name: tuple(contexts.split(",")) for name, _, contexts in (one.partition("=") for one in arguments)}
    named = sorted(context for contexts in hosts.values() for context in contexts)
    if named != sorted(settings.ALL_CONTEXTS) or "gateway" in hosts:
        raise CommandError(
            f"{' '.join(arguments)} must host each of {', '.join(settings.ALL_CONTEXTS)} once, and no host may be "
            "called gateway."
        )
    return hosts
