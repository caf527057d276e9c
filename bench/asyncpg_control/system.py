"""Run the second control behind the same server program as the others."""

from collections.abc import Iterable
from importlib.util import find_spec

from bench.systems import Satsuma, System

PACKAGES = ("fastapi", "asyncpg")  # of the dependency group `bench`


def list_missing_packages(names: Iterable[str] = PACKAGES) -> list[str]:
    """Return the packages that are not installed, without which the control cannot run."""
    return [name for name in names if find_spec(name) is None]


class AsyncpgControl(System):
    """FastAPI with asyncpg. It reads the tables of a Satsuma that is prepared before, also while that one is frozen."""

    application = "bench.asyncpg_control.application:application"

    def read_tables_of(self, satsuma: Satsuma) -> None:
        """Use the catalogue of Satsuma, with its role."""
        [name] = self.databases = (satsuma.name_database("inventory"),)
        self.environment["DATABASE_URL"] = self.postgres.url(name, name)
        self.restock = satsuma.restock  # type: ignore[method-assign]

    def _build_interface_options(self) -> list[str]:
        return ["--interface", "asgi", "--loop", "asyncio"]

    def prepare(self) -> None:
        """Do nothing: Satsuma makes the tables."""

    def orders(self) -> int:
        """Return 0: it takes no orders."""
        return 0
