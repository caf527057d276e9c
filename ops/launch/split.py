"""Start the shop of `make up` as five processes with one database each, behind a gateway: `make split`.

The processes have the same environment except for CONTEXTS, their ports, and the key of access tokens, which only the
process of users has. The gateway is the nginx on the PATH, with the routes of `manage.py gateway`.
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
    return up.launch(_serve)


def _serve(environment: dict[str, str], port: int, prepared: dict[str, str], server: PostgresServer | None) -> NoReturn:
    shared = environment | {"WEB_HOST": up.HOST, "WEB_WORKERS": "1", "TRUSTED_PROXIES": up.HOST}
    for index, context in enumerate(ALL_CONTEXTS):
        shared[f"{context.upper()}_URL"] = f"http://{up.HOST}:{port + INTERNAL_PORT_OFFSET + index}"
    supervisor = Supervisor(server)
    try:
        with up.report_step("Starting five processes and the gateway"):
            without_key = remove_signing_key(shared)
            for index, context in enumerate(ALL_CONTEXTS):
                environment = shared if context == "users" else without_key
                supervisor.start(context, partial(_start_host, context, port, index, environment))
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


def remove_signing_key(environment: dict[str, str]) -> dict[str, str]:
    """Return an environment with the public half of the key of access tokens instead of the key itself."""
    file = environment.get("JWT_SIGNING_KEY_FILE")
    signing_key = Path(file).read_text() if file else environment["JWT_SIGNING_KEY"].replace("\\n", "\n")
    others = {name: value for name, value in environment.items() if not name.startswith("JWT_SIGNING_KEY")}
    return others | {"JWT_PUBLIC_KEYS": keys.derive_public_key(signing_key).strip()}


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
