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
        parser.add_argument(
            "--resolver",
            default="",
            help="name server, to resolve host names again when addresses change (compose: 127.0.0.11)",
        )
        parser.add_argument(
            "--trusted-proxy", action="append", default=[], metavar="NETWORK",
            help="address or network of a TLS proxy in front of the gateway, whose forwarding headers are passed on",
        )  # fmt: skip
        parser.add_argument("--listen", default="8000", help="[address:]port of the gateway (default: %(default)s)")

    def handle(self, *, upstream: list[str], listen: str, resolver: str, trusted_proxy: list[str], **_: object) -> None:
        upstreams = {context: f"{context}:8000" for context in settings.ALL_CONTEXTS}
        for argument in upstream:
            context, _equals, address = argument.partition("=")
            if context not in upstreams or not address:
                raise CommandError(
                    f"{argument} is not valid: use <context>=<host>:<port> with one of {', '.join(upstreams)}"
                )
            upstreams[context] = address
        rendered = gateway.render_nginx(upstreams, listen, resolver=resolver, trusted_proxies=trusted_proxy)
        self.stdout.write(rendered, ending="")
