"""Kubernetes manifests for a shop in any topology: which processes host which contexts.

What all of them share lies in deploy/kubernetes/base. Each host is one file, complete by itself, from one template; the
kustomization names them. A gateway is there where there is more than one host.
"""

from pathlib import Path
from string import Template

from django.conf import settings

from config import gateway

FOLDER = settings.BASE_DIR / "deploy" / "kubernetes"
TEMPLATES = Path(__file__).with_name("kubernetes")
TOPOLOGIES = {
    "monolith": {"shop": settings.ALL_CONTEXTS},
    "split": {context: (context,) for context in settings.ALL_CONTEXTS},
}

INTERNAL_PORT = "            - {name: internal, containerPort: 8001}"
INTERNAL_SERVICE = """\
---
apiVersion: v1
kind: Service
metadata:
  name: $name-internal
  labels: {app.kubernetes.io/name: satsuma, satsuma/host: $name}
spec:
  selector: {app.kubernetes.io/name: satsuma, satsuma/host: $name}
  ports:
    - {name: internal, port: 8001, targetPort: internal}"""
FROM_ANYBODY = "    - ports: [{port: public}]  # from whatever ends TLS"
FROM_OURS = """\
    - ports: [{port: public}]
      from: [{podSelector: {matchLabels: {app.kubernetes.io/name: satsuma, app.kubernetes.io/component: gateway}}}]
    - ports: [{port: internal}]
      from: [{podSelector: {matchLabels: {app.kubernetes.io/name: satsuma, app.kubernetes.io/component: host}}}]"""
ADDRESS = "            - {{name: {name}, value: {value}}}"
POD_IP = "            - {name: INTERNAL_HOST, valueFrom: {fieldRef: {fieldPath: status.podIP}}}"

KUSTOMIZATION = """\
# Written by `manage.py manifests`. Change it from an overlay of your own, as ../example does.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
{resources}
"""
GATEWAY = """\
configMapGenerator:
  - name: satsuma-gateway
    files: [gateway.conf]
"""


def files(hosts: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """The files of a topology: for each host, the contexts that it hosts."""
    where = {context: host for host, contexts in hosts.items() for context in contexts}
    found = {f"{host}.yaml": _host(host, contexts, where, alone=len(hosts) == 1) for host, contexts in hosts.items()}
    resources, generated = ["../base", *found], ""
    if len(hosts) > 1:
        found["gateway.yaml"] = (TEMPLATES / "gateway.yaml").read_text()
        found["gateway.conf"] = gateway.nginx({context: f"{host}:8000" for context, host in where.items()}, "8080")
        resources, generated = [*resources, "gateway.yaml"], GATEWAY
    lines = "\n".join(f"  - {one}" for one in resources)
    return found | {"kustomization.yaml": KUSTOMIZATION.format(resources=lines) + generated}


def _host(name: str, contexts: tuple[str, ...], where: dict[str, str], *, alone: bool) -> str:
    others = {f"{c.upper()}_URL": f"http://{host}-internal:8001" for c, host in where.items()}
    addresses = [ADDRESS.format(name=key, value=value) for key, value in ({} if alone else others).items()]
    internal = [] if alone else [ADDRESS.format(name="INTERNAL_PORT", value='"8001"'), POD_IP]
    text = Template((TEMPLATES / "host.yaml").read_text()).substitute(
        name=name, contexts=",".join(contexts), addresses="\n".join([*internal, *addresses]),
        internal_port="" if alone else INTERNAL_PORT, ingress=FROM_ANYBODY if alone else FROM_OURS,
        internal_service="" if alone else Template(INTERNAL_SERVICE).substitute(name=name),
    )  # fmt: skip
    return "\n".join(line for line in text.splitlines() if line) + "\n"


def write(folder: Path, hosts: dict[str, tuple[str, ...]]) -> None:
    """Write a topology's files; the folder has to lie beside `base`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files(hosts).items():
        (folder / name).write_text(text)


def stale() -> list[str]:
    """Kept files that are not what the templates and the URL patterns say."""
    return [
        f"{topology}/{name}"
        for topology, hosts in TOPOLOGIES.items()
        for name, text in files(hosts).items()
        if not (FOLDER / topology / name).is_file() or (FOLDER / topology / name).read_text() != text
    ]
