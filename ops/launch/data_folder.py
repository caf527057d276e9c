"""Find the data folder of `make up`, and the address of the shop that runs from it. Standard library only."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.launch.serve import LaunchError

ADDRESS_FILE_NAME, LOCK_FILE_NAME = "address", "lock"


def get_data_folder() -> Path:
    """Return the folder of DATA_DIR, by default `.data` in the working folder."""
    return Path(os.environ.get("DATA_DIR") or ".data").resolve()


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a data folder. Raises LaunchError if another launcher has it, which would stop our database."""
    with (folder / LOCK_FILE_NAME).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until this process ends, also by a kill
        except BlockingIOError:
            raise LaunchError(
                f"A shop runs with the data in {folder} already. Stop it, or choose another folder: DATA_DIR=.data2 make up"
            ) from None
        yield


def write_address(site_url: str) -> None:
    """Record the address of a shop that is ready, for commands such as `manage.py demo`."""
    (get_data_folder() / ADDRESS_FILE_NAME).write_text(f"{site_url}\n")


def read_address() -> str | None:
    """Return the recorded address; None if no shop was started from the data folder.

    After a kill of the launcher the address may be that of a shop that does not run any more.
    """
    file = get_data_folder() / ADDRESS_FILE_NAME
    return file.read_text().strip() if file.is_file() else None


def delete_address() -> None:
    (get_data_folder() / ADDRESS_FILE_NAME).unlink(missing_ok=True)
