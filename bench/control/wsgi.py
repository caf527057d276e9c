"""The WSGI application of the control."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.control.settings")

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
