"""manage.py settings: write the reference of all settings, docs/settings.md and .env.example."""

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops.deploy import settings_reference


class Command(BaseCommand):
    help = "Print the reference of all settings. --write and --check are for docs/settings.md and .env.example."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        output = parser.add_mutually_exclusive_group()
        output.add_argument("--write", action="store_true", help="write docs/settings.md and .env.example")
        output.add_argument(
            "--check", action="store_true", help="fail if a file is out of date or a description is missing"
        )

    def handle(self, *, write: bool, check: bool, **_: object) -> None:
        if write:
            settings_reference.write_files()
        elif check:
            if undescribed := settings_reference.find_undescribed_names():
                raise CommandError(f"Not described: {', '.join(undescribed)}. Write a comment above each declaration.")
            if stale := settings_reference.find_stale_files():
                raise CommandError(f"Out of date: {', '.join(stale)}. Run `manage.py settings --write`.")
        else:
            self.stdout.write(settings_reference.render_reference())
