"""manage.py openapi: print the OpenAPI document of the API, or bring docs/openapi.json up to date."""

import json

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops.topology import openapi


class Command(BaseCommand):
    help = (
        "Print the OpenAPI document. --write and --check are for docs/openapi.json, which clients are generated from. "
        "--write refuses a change that breaks clients."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        output = parser.add_mutually_exclusive_group()
        output.add_argument("--write", action="store_true", help="write docs/openapi.json")
        output.add_argument("--check", action="store_true", help="fail if docs/openapi.json is out of date")
        parser.add_argument("--allow-breaking", action="store_true", help="write a change that breaks clients, too")

    def handle(self, *, write: bool, check: bool, allow_breaking: bool, **_: object) -> None:
        document = openapi.build_document()
        text, path = openapi.render_document(document), openapi.DOCUMENT_PATH
        if not write and not check:
            self.stdout.write(text)
            return
        committed = path.read_text() if path.exists() else "{}"
        broken = openapi.find_breaking_changes({"paths": {}} | json.loads(committed), document)
        if broken and not (write and allow_breaking):
            raise CommandError("This breaks clients of docs/openapi.json:\n  " + "\n  ".join(broken))
        if write:
            path.write_text(text)
        elif committed != text:
            raise CommandError("docs/openapi.json is out of date. Run `manage.py openapi --write`.")
