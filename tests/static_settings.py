"""Settings for tools that import the shop but start nothing, such as mypy: they need no database and no secrets."""

import os

from ops.launch import keys

os.environ.setdefault("DATABASE_URL", "postgres://nowhere/postgres")
os.environ.setdefault("SECRET_KEY", keys.generate_secret_key())
os.environ.setdefault("JWT_SIGNING_KEY", keys.generate_signing_key())

from config.settings import *  # noqa: F403
