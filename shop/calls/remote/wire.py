"""The parts of the HTTP exchange that client and server have in common."""

# The header of every response that is not a reply, and its values: the request was refused before anything was done,
# or the implementation raised an unexpected exception.
OUTCOME_HEADER = "Satsuma-Outcome"
OUTCOME_REFUSED = "refused"
OUTCOME_FAILED = "failed"


def build_path(name: str) -> str:
    """Return the URL path of a method: `inventory.reserve` is served at /inventory/reserve."""
    return "/" + name.replace(".", "/")
