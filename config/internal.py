"""The WSGI application for the processes of other contexts. It has its own engine, so that received events run at once.

Never bind it to a public address: `python -m ops.launch.serve` starts it on INTERNAL_PORT.
"""

from config.wsgi import application as public  # noqa: F401  sets up Django and starts the engine
from shop.calls import services
from shop.calls.remote.server import create_application
from shop.db.database import hosted_contexts
from shop.messaging import inbox

services.bind_all()
application = create_application(
    services.get_served_methods(hosted_contexts()) | inbox.get_served_methods(hosted_contexts())
)
