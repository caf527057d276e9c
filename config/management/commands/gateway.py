"""manage.py gateway: the configuration of an nginx in front of a shop in several processes."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config import gateway


class Command(BaseCommand):
    help = "Write an nginx configuration that sends each path to the context that answers it."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("upstream", nargs="*", help="orders=host:port; without it a context is at <context>:8000")
        parser.add_argument("--listen", default="8000", help="[address:]port of the gateway")

    def handle(self, *args: Any, **options: Any) -> None:
        upstreams = {context: f"{context}:8000" for context in settings.ALL_CONTEXTS}
        for given in options["upstream"]:
            context, _, address = given.partition("=")
            if context not in upstreams or not address:
                raise CommandError(f"{given} is no <context>=<host>:<port>; there are {', '.join(upstreams)}")
            upstreams[context] = address
        self.stdout.write(gateway.nginx(upstreams, options["listen"]), ending="")
