"""Read the addresses of --to and --from. A command line is visible to others, so the passwords are elsewhere."""

from django.core.exceptions import ImproperlyConfigured

from ops.peel.directory import ServerSettings
from shop.db.postgres.urls import parse_postgres_url
from shop.settings import env

SECRET_OPTIONS = {"sslpassword"}  # of libpq, besides the password


def read_server(option: str, url: str) -> ServerSettings:
    """Return the server at an address of the command line, with the password from the environment, if it is there.

    Without one, libpq looks for it in its password file. Raises ImproperlyConfigured, and ValueError for an unreadable file.
    """
    server = parse_postgres_url(option, url)
    variable = f"PEEL_{option.removeprefix('--').upper()}_PASSWORD"
    if server["PASSWORD"] or SECRET_OPTIONS & set(server["OPTIONS"]):
        raise ImproperlyConfigured(
            f"{option} contains a password, which other users can read in the process list and in the history of the shell. "
            f"Leave it out of the address, and set {variable}, or {variable}_FILE with the path of a file, or use the password "
            "file of PostgreSQL (PGPASSFILE). Consider the password exposed: change it."
        )
    if "service" in server["OPTIONS"]:
        raise ImproperlyConfigured(
            f"{option} names a service: name the host, since processes and servers on other machines use the same address"
        )
    return {**server, "PASSWORD": env.str(variable, default="")}
