"""`make split`: the shop of `make up` in five processes with a database each, behind a gateway. Standard library only.

Each process gets the same environment but for CONTEXTS and its ports; the gateway is an nginx from the PATH, with the
routes of `manage.py gateway`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from config import serve, up
from config.serve import Failed

CONTEXTS = ("orders", "inventory", "payments", "users", "notifications")
PUBLIC, INTERNAL = 10, 20  # what is added to the gateway's port, and a number for each context

NGINX = """\
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
        print("make split needs nginx on the PATH, as the gateway (apt install nginx, brew install nginx).", file=sys.stderr)
        return 1
    return up.launch(_serve)


def _serve(environment: dict[str, str], port: int, prepared: dict[str, str]) -> int:
    shared = environment | {
        f"{context.upper()}_URL": f"http://{up.HOST}:{port + INTERNAL + n}" for n, context in enumerate(CONTEXTS)
    } | {"WEB_HOST": up.HOST, "WEB_WORKERS": "1", "TRUSTED_PROXIES": up.HOST}  # fmt: skip
    running: list[subprocess.Popen] = []
    try:
        with up.step("Starting five processes and the gateway"):
            for n, context in enumerate(CONTEXTS):
                running.append(_host(context, port, n, shared))
            for n, host in enumerate(running):
                up.await_ready(host, port + PUBLIC + n)
            running.append(_gateway(port, shared))
            up.await_ready(running[-1], port)
        up.welcome(port, prepared)
        ended, status = os.wait()
        print(f"One of them has ended ({[one.args for one in running if one.pid == ended]}), so all do.", file=sys.stderr)
        return os.waitstatus_to_exitcode(status) or 1
    finally:
        for one in reversed(running):
            up.stop(one)


def _host(context: str, port: int, n: int, environment: dict[str, str]) -> subprocess.Popen:
    own = {"CONTEXTS": context, "PORT": str(port + PUBLIC + n), "INTERNAL_PORT": str(port + INTERNAL + n)}
    command = [sys.executable, "-m", "config.serve"]
    return subprocess.Popen(command, env=environment | own, preexec_fn=serve.in_a_group_of_its_own)


def _gateway(port: int, environment: dict[str, str]) -> subprocess.Popen:
    folder = Path(environment.get("DATA_DIR") or ".data").resolve() / "gateway"
    folder.mkdir(exist_ok=True)
    upstreams = [f"{context}={up.HOST}:{port + PUBLIC + n}" for n, context in enumerate(CONTEXTS)]
    routes = subprocess.run(
        [sys.executable, "manage.py", "gateway", "--listen", f"{up.HOST}:{port}", *upstreams],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if routes.returncode:
        raise Failed(routes.stderr.strip())
    (folder / "satsuma.conf").write_text(routes.stdout)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder))
    command = ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    return subprocess.Popen(command, env=environment, preexec_fn=serve.in_a_group_of_its_own)


if __name__ == "__main__":
    sys.exit(main())
