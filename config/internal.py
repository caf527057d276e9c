"""The server of a process's internal address: it answers other contexts' processes, and has an engine of its own.

So what comes in wakes the handlers at once. Never bind it to a public address: `python -m config.serve` starts it where
INTERNAL_PORT says.
"""

from config.wsgi import application as public  # noqa: F401  sets up Django and starts the engine
from shop import inbox, remote, services
from shop.database import hosted

services.bind_all()
application = remote.application(services.served(hosted()) | inbox.served(hosted()))
