"""Bring the files that are generated from the code up to date: `python -m ops.startcontext.update_generated NAME`.

It runs in a process of its own, which has found the new context, and needs no database.
"""

import os
import sys
from importlib import import_module

import django
from django.core.management import call_command


def main(context: str) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "ops.startcontext.offline_settings"
    django.setup()
    call_command("subscriptions")
    call_command("makemigrations", context, verbosity=0)
    call_command("contexts", write=True)
    call_command("openapi", write=True)
    call_command("manifests")
    schemas = import_module(
        "tests.architecture.schemas"
    )  # only a checkout has tests, and only there a context is written
    schemas.update_files(schemas.current_files())


if __name__ == "__main__":
    main(sys.argv[1])
