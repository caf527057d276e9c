"""The client that the running code serves: its address, its program and its account, for the security log and the audit trail.

The request middleware sets it. A call to another process carries it with the trace; an event does not.
"""

from contextvars import ContextVar

import msgspec


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """A client. Empty members are not known.

    address: its IP address, behind trusted proxies. user_agent: printable ASCII. account: the id of the authenticated user.
    """

    address: str = ""
    user_agent: str = ""
    account: str = ""


NO_CLIENT = Client()  # of work without a request

current: ContextVar[Client] = ContextVar("client", default=NO_CLIENT)


def set_account(account: object) -> None:
    """Record which account the present client has proved to be. It lasts until the request ends."""
    current.set(msgspec.structs.replace(current.get(), account=str(account)))
