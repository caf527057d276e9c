"""manage.py gateway: print the configuration of an nginx in front of a shop in several processes."""

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops.deploy import gateway


class Command(BaseCommand):
    help = "Print an nginx configuration that routes each path to the host of its context."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "upstream", nargs="*", help="address of a host, as in orders=10.0.0.7:8000 (default: <context>:8000)"
        )
        parser.add_argument("--listen", default="8000", help="[address:]port of the gateway (default: %(default)s)")

    def handle(self, *, upstream: list[str], listen: str, **_: object) -> None:
        upstreams = {context: f"{context}:8000" for context in settings.ALL_CONTEXTS}
        for argument in upstream:
            context, _equals, address = argument.partition("=")
            if context not in upstreams or not address:
                raise CommandError(
                    f"{argument} is not valid: use <context>=<host>:<port> with one of {', '.join(upstreams)}"
                )
            upstreams[context] = address
        self.stdout.write(gateway.render_nginx(upstreams, listen), ending="")
