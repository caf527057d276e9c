"""Start the shop of `make up` as five processes with one database each, behind a gateway: `make split`.

The processes have the same environment except for CONTEXTS, their ports, and their secrets: each has those of its context,
and only that of users the key of access tokens. The gateway is the nginx on the PATH, with the routes of `manage.py gateway`.
"""

import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import NoReturn

from config.contexts import ALL_CONTEXTS
from ops.launch import data_folder, keys, up
from ops.launch.postgres import PostgresServer
from ops.launch.process_tree import prepare_child_process
from ops.launch.serve import LaunchError
from ops.launch.supervisor import Supervisor

# The ports of the process with index i are the gateway's port plus offset plus i.
PUBLIC_PORT_OFFSET, INTERNAL_PORT_OFFSET = 10, 20

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
    offsets = [
        offset + index for offset in (PUBLIC_PORT_OFFSET, INTERNAL_PORT_OFFSET) for index in range(len(ALL_CONTEXTS))
    ]
    return up.launch(_serve, offsets)


def _serve(environment: dict[str, str], port: int, prepared: dict[str, str], server: PostgresServer | None) -> NoReturn:
    shared = environment | {"WEB_HOST": up.HOST, "WEB_WORKERS": "1", "TRUSTED_PROXIES": up.HOST}
    # Each context has a process for clients and one for calls.
    shared.setdefault("DATABASE_PROCESSES", str(2 * len(ALL_CONTEXTS)))
    for index, context in enumerate(ALL_CONTEXTS):
        shared[f"{context.upper()}_URL"] = f"http://{up.HOST}:{port + INTERNAL_PORT_OFFSET + index}"
    supervisor = Supervisor(server)
    try:
        with up.report_step("Starting five processes and the gateway"):
            for index, context in enumerate(ALL_CONTEXTS):
                own = select_secrets(shared, context)
                supervisor.start(context, partial(_start_host, context, port, index, own))
            for index, context in enumerate(ALL_CONTEXTS):
                up.await_ready(supervisor.running[context], port + PUBLIC_PORT_OFFSET + index)
            gateway_command = _prepare_gateway(port, shared)
            up.await_ready(
                supervisor.start("gateway", partial(_start, gateway_command, {"PATH": shared["PATH"]})), port
            )
        up.announce_ready(port, prepared)
        supervisor.keep_running()
    finally:
        up.stop_all(supervisor)


def select_secrets(environment: dict[str, str], context: str) -> dict[str, str]:
    """Return the environment of the host of one context, from that of a process that hosts all.

    It has the credentials of the context instead of CREDENTIAL_KEY and, unless it hosts users, the public half of the key of
    access tokens instead of the key itself.
    """
    if context != keys.SIGNING_CONTEXT:
        signing_key = _read_variable(environment, "JWT_SIGNING_KEY").replace("\\n", "\n")
        environment = _remove_variable(environment, "JWT_SIGNING_KEY")
        environment["JWT_PUBLIC_KEYS"] = keys.derive_public_key(signing_key).strip()
    if key := _read_variable(environment, "CREDENTIAL_KEY"):
        former = keys.split_keys(_read_variable(environment, "CREDENTIAL_KEY_FALLBACKS"))
        environment = _remove_variable(environment, "CREDENTIAL_KEY", "CREDENTIAL_KEY_FALLBACKS")
        environment[f"{context.upper()}_SECRETS"] = keys.format_context_secrets([key, *former], context)
    return environment


def _read_variable(environment: dict[str, str], name: str) -> str:
    file = environment.get(f"{name}_FILE")
    return Path(file).read_text().strip() if file else environment.get(name, "")


def _remove_variable(environment: dict[str, str], *names: str) -> dict[str, str]:
    removed = {*names, *(f"{name}_FILE" for name in names)}
    return {name: value for name, value in environment.items() if name not in removed}


def _start_host(context: str, port: int, index: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    own = {
        "CONTEXTS": context,
        "PORT": str(port + PUBLIC_PORT_OFFSET + index),
        "INTERNAL_PORT": str(port + INTERNAL_PORT_OFFSET + index),
    }
    return up.start_host(environment | own)


def _start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env=environment, preexec_fn=prepare_child_process)


def _prepare_gateway(port: int, environment: dict[str, str]) -> list[str]:
    """Write the configuration of nginx, and return the command that runs it. Raises LaunchError."""
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
    return ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]


if __name__ == "__main__":
    sys.exit(main())
