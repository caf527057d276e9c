"""No container has more rights than it needs, and each image and forwarding header is where it should come from.

The rules hold for every service of the compose files, every pod and every policy of the manifests; each rule has a planted
mistake that it finds.
"""

import copy
import re
from functools import cache

import pytest
import yaml
from django.conf import settings
from django.core.management import call_command

from ops.deploy import gateway, manifests

ROOT = settings.BASE_DIR
COMPOSE = ("docker-compose.yml", "docker-compose.split.yml")
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
OWN_IMAGE = "satsuma"  # built here; an overlay names the registry and the digest
UNPRIVILEGED_IMAGES = (
    OWN_IMAGE,
    "docker.io/nginxinc/nginx-unprivileged",
)  # their Dockerfiles end with another user than root
# What a container adds to no capabilities. PostgreSQL's image begins as root and becomes the user postgres.
ADDED_CAPABILITIES = {"database": {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}}


def read_services():
    """Return the services of both compose files, by file and name. Anchors are resolved, merged ones too."""
    return {
        f"{file} {name}": service
        for file in COMPOSE
        for name, service in yaml.safe_load((ROOT / file).read_text())["services"].items()
        if "image" in service
    }


def find_faults_of_service(label, service):
    name, image = label.split()[1], service["image"]
    added = set(service.get("cap_add", []))
    rules = {
        "image without a digest": image == OWN_IMAGE or DIGEST.search(image),
        "keeps capabilities": service.get("cap_drop") == ["ALL"],
        "adds capabilities": added == ADDED_CAPABILITIES.get(name, set()),
        "may gain privileges": "no-new-privileges:true" in service.get("security_opt", []),
        "is privileged": not service.get("privileged"),
        "can write to its file system": service.get("read_only") is True,
        "runs as root": added
        or re.split("[:@]", image)[0] in UNPRIVILEGED_IMAGES
        or is_unprivileged(service.get("user", "")),
        "shares something with the host": not service.keys() & {"pid", "ipc", "userns_mode", "devices"}
        and service.get("network_mode") in (None, "none"),
        "mounts the host": not any(re.match("/|~", str(volume)) for volume in service.get("volumes", [])),
        "is published to everybody": all(port.startswith("127.0.0.1:") for port in service.get("ports", [])),
    }
    return [f"{label} {fault}" for fault, is_met in rules.items() if not is_met]


def is_unprivileged(user):
    return bool(re.fullmatch(r"[1-9]\d*:[1-9]\d*", user))


def find_faults_of_compose(services):
    return [fault for label, service in services.items() for fault in find_faults_of_service(label, service)]


def test_no_compose_service_has_more_rights_than_it_needs():
    services = read_services()
    assert {label.split()[1] for label in services} >= {
        "database",
        "mail",
        "broker",
        "shop",
        "worker",
        "beat",
        "gateway",
    }
    assert find_faults_of_compose(services) == []


MISTAKES_OF_SERVICE = {
    "image without a digest": {"image": "docker.io/valkey/valkey:8"},
    "keeps capabilities": {"cap_drop": []},
    "adds capabilities": {"cap_add": ["NET_ADMIN"]},
    "may gain privileges": {"security_opt": []},
    "is privileged": {"privileged": True},
    "can write to its file system": {"read_only": False},
    "runs as root": {"user": "0:0"},
    "shares something with the host": {"network_mode": "host"},
    "mounts the host": {"volumes": ["/var/run/docker.sock:/var/run/docker.sock"]},
    "is published to everybody": {"ports": ["8025:8025"]},
}


@pytest.mark.parametrize(("fault", "change"), MISTAKES_OF_SERVICE.items(), ids=MISTAKES_OF_SERVICE)
def test_a_planted_mistake_in_a_compose_service_is_found(fault, change):
    services = read_services()
    services["docker-compose.yml mail"] |= change
    assert f"docker-compose.yml mail {fault}" in find_faults_of_compose(services)


@cache
def read_manifests():
    files = [file for file in manifests.KUBERNETES_FOLDER.rglob("*.yaml") if file.name != "kustomization.yaml"]
    return [one for file in sorted(files) for one in yaml.safe_load_all(file.read_text())]


def find_pods(resource):
    """Return the spec of the pod that a resource of any kind starts."""
    spec = resource.get("spec", {})
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    return [spec["template"]["spec"]] if "containers" in spec.get("template", {}).get("spec", {}) else []


def find_faults_of_pod(pod):
    context = pod.get("securityContext", {})
    if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
        yield "runs as root"
    if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "may use any system call"
    if pod.get("automountServiceAccountToken") is not False:
        yield "has a token of the cluster"
    if pod.keys() & {"hostNetwork", "hostPID", "hostIPC"} or any("hostPath" in one for one in pod.get("volumes", [])):
        yield "shares something with the node"
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        yield from find_faults_of_container(container)


def find_faults_of_container(container):
    context = container.get("securityContext", {})
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield "keeps capabilities"
    if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
        yield "may gain privileges"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "can write to its file system"
    if container["image"] != OWN_IMAGE and not DIGEST.search(container["image"]):
        yield "image without a digest"
    if "memory" not in container.get("resources", {}).get("limits", {}):
        yield "may use all memory"


def find_faults_of_policy(policy):
    if "Ingress" in policy["policyTypes"]:
        for rule in policy.get("ingress", []):
            if not rule.get("from") or {} in rule["from"] or {"namespaceSelector": {}} in rule["from"]:
                yield "is reachable from everywhere"
            if not rule.get("ports"):
                yield "is reachable at every port"


def find_faults_of_manifests(resources):
    for one in resources:
        label = f"{one['kind']} {one['metadata']['name']}"
        faults = [fault for pod in find_pods(one) for fault in find_faults_of_pod(pod)]
        faults += find_faults_of_policy(one["spec"]) if one["kind"] == "NetworkPolicy" else []
        yield from (f"{label} {fault}" for fault in faults)


def test_no_pod_has_more_rights_than_it_needs_and_every_policy_names_who_may_connect():
    resources = read_manifests()
    assert sum(bool(find_pods(one)) for one in resources) >= 8  # prepare, gateway, the shop and each context
    assert list(find_faults_of_manifests(resources)) == []


OTHERS = ",".join(context for context in settings.ALL_CONTEXTS if context != "payments")


@pytest.mark.parametrize("hosts", [[f"all=payments,{OTHERS}"], [f"shop={OTHERS}", "payments=payments"]])
def test_the_same_holds_for_any_arrangement(tmp_path, hosts):
    call_command("manifests", *hosts, folder=tmp_path)
    files = [file for file in tmp_path.glob("*.yaml") if file.name != "kustomization.yaml"]
    found = [one for file in files for one in yaml.safe_load_all(file.read_text())]
    assert list(find_faults_of_manifests(found)) == []


def at(*path, **values):
    """Return a function that changes a member of a resource."""

    def change(resource):
        for part in path:
            resource = resource[part]
        resource.update(values)

    return change


POD = ("spec", "template", "spec")
CONTAINER = (*POD, "containers", 0)
MISTAKES_OF_MANIFESTS = [
    (
        "Deployment",
        "gateway",
        at(*CONTAINER, image="docker.io/nginxinc/nginx-unprivileged:1.29-alpine"),
        "image without a digest",
    ),
    (
        "Deployment",
        "gateway",
        at(*CONTAINER, "securityContext", capabilities={"drop": ["NET_RAW"]}),
        "keeps capabilities",
    ),
    ("Deployment", "gateway", at(*CONTAINER, "securityContext", allowPrivilegeEscalation=True), "may gain privileges"),
    (
        "Deployment",
        "gateway",
        at(*CONTAINER, "securityContext", readOnlyRootFilesystem=False),
        "can write to its file system",
    ),
    ("Deployment", "gateway", at(*CONTAINER, "resources", limits={}), "may use all memory"),
    ("Deployment", "gateway", at(*POD, "securityContext", runAsUser=0), "runs as root"),
    ("Deployment", "gateway", at(*POD, "securityContext", seccompProfile=None), "may use any system call"),
    ("Deployment", "gateway", at(*POD, automountServiceAccountToken=True), "has a token of the cluster"),
    ("Deployment", "gateway", at(*POD, hostNetwork=True), "shares something with the node"),
    ("NetworkPolicy", "gateway", lambda one: one["spec"]["ingress"][0].pop("from"), "is reachable from everywhere"),
    (
        "NetworkPolicy",
        "gateway",
        at("spec", "ingress", 0, **{"from": [{"namespaceSelector": {}}]}),
        "is reachable from everywhere",
    ),
    ("NetworkPolicy", "gateway", lambda one: one["spec"]["ingress"][0].pop("ports"), "is reachable at every port"),
]


@pytest.mark.parametrize(("kind", "name", "change", "fault"), MISTAKES_OF_MANIFESTS)
def test_a_planted_mistake_in_a_manifest_is_found(kind, name, change, fault):
    resources = copy.deepcopy(read_manifests())
    [one] = [one for one in resources if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    change(one)
    assert list(find_faults_of_manifests(resources)) == [f"{kind} {name} {fault}"]


def find_images():
    """Return every image of others that a file of the repository names."""
    texts = [(ROOT / name).read_text() for name in (*COMPOSE, "Dockerfile")]
    texts += [file.read_text() for file in manifests.DEPLOY_FOLDER.rglob("*.yaml")]
    texts += [file.read_text() for file in manifests.TEMPLATE_FOLDER.glob("*.yaml")]
    return [
        image for text in texts for image in re.findall(r"^(?:FROM| *(?:- )?image:) +(\S+/\S+)", text, re.MULTILINE)
    ]


def test_every_image_is_named_by_its_digest():
    images = find_images()
    assert {re.split("[:@]", image)[0].rpartition("/")[2] for image in images} == {
        "python", "postgres", "mailpit", "valkey", "nginx-unprivileged",
    }  # fmt: skip
    assert [image for image in images if not DIGEST.search(image)] == []


def test_one_tag_has_one_digest_in_all_files():
    images = set(find_images())
    assert len(images) == len({image.partition("@")[0] for image in images})


GATEWAYS = {
    "compose": manifests.render_compose_gateway,
    "Kubernetes": lambda: manifests.render_files(manifests.TOPOLOGIES["split"])["gateway.conf"],
    "make split": lambda: gateway.render_nginx(
        {context: "127.0.0.1:8100" for context in settings.ALL_CONTEXTS}, "8000"
    ),
}


def find_passed_headers(configuration):
    """Return the headers of a client that a configuration of the gateway passes on although they name an address or host."""
    sent = dict(re.findall(r"^    proxy_set_header (\S+) (.*);$", configuration, re.MULTILINE))
    own = {"X-Forwarded-For": "$forwarded_for", "X-Forwarded-Proto": "$forwarded_scheme"}
    expected = dict.fromkeys(gateway.DROPPED_HEADERS, '""') | own
    nested = re.findall(r"location .*proxy_set_header", configuration)  # would replace those of the server
    return [name for name, value in expected.items() if sent.get(name) != value] + nested


@pytest.mark.parametrize("render", GATEWAYS.values(), ids=GATEWAYS)
def test_every_gateway_drops_the_forwarding_headers_of_clients(render):
    configuration = render()
    assert find_passed_headers(configuration) == []
    assert "underscores_in_headers" not in configuration
    for name in ("Forwarded", "X-Real-IP"):
        assert find_passed_headers(configuration.replace(f'proxy_set_header {name} "";', "")) == [name]
    assert find_passed_headers(configuration.replace("$forwarded_for;", "$proxy_add_x_forwarded_for;", 1)) != []


def test_a_gateway_without_a_proxy_in_front_trusts_no_client():
    assert "geo $is_trusted_proxy { default 0; }" in GATEWAYS["make split"]()
