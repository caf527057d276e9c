"""Start the shop of `make up` as five processes with one database each, behind a gateway: `make split`.

Standard library only. The processes have the same environment except for CONTEXTS and their ports. The gateway is the nginx
on the PATH, with the routes of `manage.py gateway`.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from config.contexts import ALL_CONTEXTS
from ops.launch import data_folder, serve, up
from ops.launch.serve import LaunchError

# The ports of the process with index i are the gateway's port plus offset plus i.
PUBLIC_PORT_OFFSET, INTERNAL_PORT_OFFSET = 10, 20
FIRST_RESTART_DELAY_SECONDS, MAX_RESTART_DELAY_SECONDS = 1.0, 30.0  # of a process that keeps exiting
POLL_INTERVAL_SECONDS = 0.1

Starter = Callable[[], "subprocess.Popen[bytes]"]

NGINX_TEMPLATE = """\
pid {folder}/nginx.pid;
daemon off;
error_log stderr warn;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/satsuma.conf;
}}
"""


def main() -> int:
    if not shutil.which("nginx"):
        print(
            "make split needs nginx on the PATH as its gateway. Install it: apt install nginx, or brew install nginx.",
            file=sys.stderr,
        )
        return 1
    return up.launch(_serve)


def _serve(environment: dict[str, str], port: int, prepared: dict[str, str]) -> int:
    shared = environment | {"WEB_HOST": up.HOST, "WEB_WORKERS": "1", "TRUSTED_PROXIES": up.HOST}
    for index, context in enumerate(ALL_CONTEXTS):
        shared[f"{context.upper()}_URL"] = f"http://{up.HOST}:{port + INTERNAL_PORT_OFFSET + index}"
    starters: dict[str, Starter] = {
        context: partial(_start_host, context, port, index, shared) for index, context in enumerate(ALL_CONTEXTS)
    }
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        with up.report_step("Starting five processes and the gateway"):
            running |= {context: start() for context, start in starters.items()}
            for index, context in enumerate(ALL_CONTEXTS):
                up.await_ready(running[context], port + PUBLIC_PORT_OFFSET + index)
            starters["gateway"] = partial(_start_gateway, port, shared)
            running["gateway"] = starters["gateway"]()
            up.await_ready(running["gateway"], port)
        up.announce_ready(port, prepared)
        _keep_running(running, starters)
    finally:
        for process in reversed(running.values()):
            up.stop(process)


def _keep_running(running: dict[str, subprocess.Popen[bytes]], starters: dict[str, Starter]) -> NoReturn:
    """Start each process again that exits, until a signal stops this one. The others continue to serve meanwhile.

    The first restart is immediate. A process that keeps failing is started after ever longer delays.
    """
    delays = dict.fromkeys(starters, 0.0)
    started_at = dict.fromkeys(starters, time.monotonic())
    due_at: dict[str, float] = {}
    while True:
        now = time.monotonic()
        for name in [name for name, process in running.items() if process.poll() is not None and name not in due_at]:
            is_stable = now - started_at[name] > MAX_RESTART_DELAY_SECONDS
            due_at[name] = now + (0.0 if is_stable else delays[name])
            delays[name] = FIRST_RESTART_DELAY_SECONDS if is_stable else _double(delays[name])
            print(
                f"{name} exited with status {running[name].returncode}, and is started again",
                file=sys.stderr,
                flush=True,
            )
        for name in [name for name, due in due_at.items() if due <= now]:
            del due_at[name]
            running[name], started_at[name] = starters[name](), now
        time.sleep(POLL_INTERVAL_SECONDS)


def _double(delay: float) -> float:
    return min(max(2 * delay, FIRST_RESTART_DELAY_SECONDS), MAX_RESTART_DELAY_SECONDS)


def _start_host(context: str, port: int, index: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    own = {
        "CONTEXTS": context,
        "PORT": str(port + PUBLIC_PORT_OFFSET + index),
        "INTERNAL_PORT": str(port + INTERNAL_PORT_OFFSET + index),
    }
    command = [sys.executable, "-m", "ops.launch.serve"]
    return subprocess.Popen(command, env=environment | own, preexec_fn=serve.prepare_child_process)


def _start_gateway(port: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    folder = data_folder.get_data_folder() / "gateway"
    folder.mkdir(exist_ok=True)
    upstreams = [
        f"{context}={up.HOST}:{port + PUBLIC_PORT_OFFSET + index}" for index, context in enumerate(ALL_CONTEXTS)
    ]
    command = [sys.executable, "manage.py", "gateway", "--listen", f"{up.HOST}:{port}", *upstreams]
    routes = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if routes.returncode:
        raise LaunchError(routes.stderr.strip())
    (folder / "satsuma.conf").write_text(routes.stdout)
    (folder / "nginx.conf").write_text(NGINX_TEMPLATE.format(folder=folder))
    command = ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    return subprocess.Popen(command, env=environment, preexec_fn=serve.prepare_child_process)


if __name__ == "__main__":
    sys.exit(main())
