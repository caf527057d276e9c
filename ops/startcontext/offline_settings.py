"""Settings for commands that generate files from the code: they need no database."""

from config.settings import *  # noqa: F403

DATABASES = {"default": {}}
DATABASE_ROUTERS = []
