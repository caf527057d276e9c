"""JSON Pointers (RFC 6901): the place of a value in a request body."""

MAX_NAME_LENGTH = 100  # of a client's member name in an error


def join(pointer: str, name: str | int) -> str:
    """Return the pointer of a member or an item of the value at `pointer`."""
    return f"{pointer}/{shorten(str(name)).replace('~', '~0').replace('/', '~1')}"


def quote_name(name: str) -> str:
    """Return a client's member name as it appears in an error."""
    return f"`{shorten(name)}`"


def shorten(name: str) -> str:
    """Shorten a name that is too long to be quoted, and replace surrogates, which are not characters."""
    printable = name.encode("utf-8", "replace").decode()
    return printable if len(printable) <= MAX_NAME_LENGTH else f"{printable[:MAX_NAME_LENGTH]}…"
