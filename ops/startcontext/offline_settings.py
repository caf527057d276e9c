"""Settings for commands that generate files from the code: no database is asked, so none has to exist."""

from config.settings import *  # noqa: F403

DATABASES = {"default": {}}
DATABASE_ROUTERS = []
