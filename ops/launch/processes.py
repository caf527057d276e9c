"""Facts about other processes, from /proc. Standard library only. Without /proc (not Linux) less is known."""

import os
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
TCP_LISTEN = "0A"  # the state of a listening socket in /proc/net/tcp
STATE, PROCESS_GROUP = 0, 2  # fields of /proc/<pid>/stat after the name of the program


def is_known(pid: int) -> bool:
    """Return whether there is a process with this id, even if it is a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def is_dead(pid: int) -> bool:
    """Return whether the process has exited; a zombie counts as exited."""
    return not is_known(pid) or is_zombie(pid)


def is_zombie(pid: int) -> bool:
    fields = _read_status(pid)
    return bool(fields) and fields[STATE] == "Z"


def works_in(pid: int, folder: Path) -> bool:
    """Return whether a live process has this working folder. True if that cannot be found out."""
    try:
        return Path(os.readlink(PROC / str(pid) / "cwd")) == folder.resolve() and not is_zombie(pid)
    except FileNotFoundError:
        return not PROC.joinpath("self").exists()
    except OSError:
        return True


def find_processes_in(folder: Path) -> list[int]:
    """Find the live processes whose working folder this is."""
    found = []
    for pid in _list_pids():
        with suppress(OSError):
            if Path(os.readlink(PROC / str(pid) / "cwd")) == folder.resolve() and not is_zombie(pid):
                found.append(pid)
    return found


def is_group_listening(group: int) -> bool:
    """Return whether a member of a process group accepts TCP connections, other than the leader, which started it."""
    listening = _find_listening_sockets()
    return any(
        _find_sockets(pid) & listening
        for pid in _list_pids()
        if pid != group and _read_status(pid)[PROCESS_GROUP : PROCESS_GROUP + 1] == [str(group)]
    )


def _find_listening_sockets() -> set[str]:
    found = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (PROC / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == TCP_LISTEN:
                    found.add(f"socket:[{fields[9]}]")
    return found


def _find_sockets(pid: int) -> set[str]:
    found = set()
    with suppress(OSError):
        for descriptor in (PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):
                found.add(os.readlink(descriptor))
    return found


def _list_pids() -> list[int]:
    return [int(process.name) for process in PROC.glob("[0-9]*")]


def _read_status(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat after the name of the program, or nothing if there is no such process."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
