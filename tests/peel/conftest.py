"""The shop of these tests has processes of its own: the binding of the suite's process says nothing here, so once is enough."""

from django.conf import settings

collect_ignore = ["test_tutorial.py" if settings.TRANSPORT == "local" else "test_move.py"]
