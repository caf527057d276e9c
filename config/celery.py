"""The Celery application, for `python -m celery -A config.celery beat`."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from config.checks import refuse_wrong_configuration

refuse_wrong_configuration()

from shop.messaging.celery.app import app as app
