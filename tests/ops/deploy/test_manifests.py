"""The Kubernetes manifests are valid, and their references to each other and to the shop resolve, checked offline.

There is no renderer on PyPI, so every file is complete by itself: a kustomization only lists them.
"""

import copy
import re

import kubernetes_validate
import pytest
import yaml
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import resolve

from ops.deploy import manifests
from ops.launch.process_tree import ORPHAN_STOP_TIMEOUT_SECONDS
from ops.launch.serve import WORKER_STOP_TIMEOUT_SECONDS
from shop.connection_settings import COMMAND_CONNECTIONS
from tests.ops.deploy.test_container import all_settings_read

FOLDER = manifests.KUBERNETES_FOLDER
TOPOLOGIES = ("monolith", "split")
CELERY = {name: (name, f"{name}/celery") for name in TOPOLOGIES}  # with the workers of ENGINE=celery
CREATED_SECRETS = {
    "satsuma-keys",
    "satsuma-shared",
    "satsuma-contexts",
    "satsuma-superuser",
    "satsuma-settings",
    "satsuma-gateway",
    "satsuma-broker",
}  # by kustomize, from files
KEYS = "secrets/"  # of `python -m ops.launch.keys`, never committed


def kustomization(name):
    return yaml.safe_load((FOLDER / name / "kustomization.yaml").read_text())


def resources(*names):
    """Return the resources that `kubectl apply -k` would apply, without the generated ones."""
    found = []
    for name in names:
        for entry in [*kustomization(name)["resources"], *kustomization(name).get("components", [])]:
            if entry.endswith(".yaml"):
                found += yaml.safe_load_all((FOLDER / name / entry).read_text())
            else:
                found += resources(str((FOLDER / name / entry).resolve().relative_to(FOLDER)))
    return found


@pytest.fixture(params=[*((name,) for name in TOPOLOGIES), *CELERY.values()], ids=" ".join)
def shop(request):
    return copy.deepcopy(resources(*request.param))


def merged_settings(*names):
    """Return the settings of the pods, as kustomize merges them: those of base, of the topology and of its components."""
    lines = (FOLDER / "base" / "settings.env").read_text().splitlines()
    for name in names:
        loaded = [kustomization(name), *(kustomization("celery") for _ in kustomization(name).get("components", []))]
        for generator in (one for file in loaded for one in file.get("configMapGenerator", [])):
            assert generator["name"] != "satsuma-settings" or generator["behavior"] == "merge"
            lines += generator.get("literals", [])
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def kinds(shop, kind):
    return {one["metadata"]["name"]: one for one in shop if one["kind"] == kind}


def pods(shop):
    """Return labels and spec of all pods, by the name of their deployment or job."""
    running = kinds(shop, "Deployment") | kinds(shop, "Job")
    templates = {name: one["spec"]["template"] for name, one in running.items()}
    return {name: (template["metadata"]["labels"], template["spec"]) for name, template in templates.items()}


def containers(spec):
    return [*spec.get("initContainers", []), *spec["containers"]]


def matches(selector, labels):
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", []))


def invalid(shop):
    found = []
    for one in shop:
        try:
            kubernetes_validate.validate(one, "1.37", strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{one['kind']} {one['metadata']['name']}: {error.message}")
    return found


def problems(shop):
    """Find references to missing resources."""
    found = []
    running = pods(shop)
    for name, service in kinds(shop, "Service").items():
        behind = [spec for labels, spec in running.values() if service["spec"]["selector"].items() <= labels.items()]
        ports = {port["name"] for spec in behind for one in spec["containers"] for port in one.get("ports", [])}
        wanted = {port["targetPort"] for port in service["spec"]["ports"]}
        found += [f"service {name} leads to {len(behind)} deployments"] if len(behind) != 1 else []
        found += [f"service {name} leads to port {port}" for port in wanted - ports]
    for kind in ("PodDisruptionBudget", "NetworkPolicy"):
        for name, one in kinds(shop, kind).items():
            selector = one["spec"].get("selector") or one["spec"]["podSelector"]
            found += (
                []
                if any(matches(selector, labels) for labels, _ in running.values())
                else [f"{kind} {name} selects no pod"]
            )
    for name, one in kinds(shop, "HorizontalPodAutoscaler").items():
        found += [] if one["spec"]["scaleTargetRef"]["name"] in kinds(shop, "Deployment") else [f"{name} has no target"]
    return found + [problem for name, (_, spec) in running.items() for problem in _problems_of_a_pod(name, spec)]


def _problems_of_a_pod(name, spec):
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    for volume in volumes.values():
        source = volume.get("secret", {}).get("secretName") or volume.get("configMap", {}).get("name")
        projected = [one["secret"]["name"] for one in volume.get("projected", {}).get("sources", [])]
        yield from (f"{name} mounts {one}" for one in [source, *projected] if one and one not in CREATED_SECRETS)
    for one in containers(spec):
        sources = [source.get("secretRef") or source["configMapRef"] for source in one.get("envFrom", [])]
        yield from (f"{name} reads {source['name']}" for source in sources if source["name"] not in CREATED_SECRETS)
        mounts = {mount["name"]: mount["mountPath"] for mount in one["volumeMounts"]}
        yield from (f"{name} mounts {volume}" for volume in mounts.keys() - volumes.keys())
        files = {entry["name"]: entry["value"] for entry in one.get("env", []) if entry["name"].endswith("_FILE")}
        yield from (f"{name} reads {file}" for file in files.values() if file.rpartition("/")[0] not in mounts.values())
        ports = {port["name"] for port in one.get("ports", [])}
        probes = [one[probe] for probe in ("startupProbe", "livenessProbe", "readinessProbe") if probe in one]
        targets = [probe.get("httpGet") or probe["tcpSocket"] for probe in probes]
        yield from (f"{name} is probed at {target['port']}" for target in targets if target["port"] not in ports)


def test_every_manifest_is_valid(shop):
    assert invalid(shop) == []


def test_every_reference_resolves(shop):
    assert problems(shop) == []


def plant(shop, kind, change):
    planted = copy.deepcopy(shop)
    change(next(iter(kinds(planted, kind).values())))
    return planted


MISTAKES = {
    "a misspelt key": ("Deployment", lambda one: one["spec"].update(replica=2), invalid),
    "a wrong type": ("PodDisruptionBudget", lambda one: one["spec"].update(maxUnavailable=[1]), invalid),
    "another selector": ("Service", lambda one: one["spec"]["selector"].update({"satsuma/host": "unknown"}), problems),
    "another port": ("Service", lambda one: one["spec"]["ports"][0].update(targetPort="pubic"), problems),
    "another secret": (
        "Deployment",
        lambda one: one["spec"]["template"]["spec"]["volumes"][0]["projected"]["sources"][0]["secret"].update(name="keys"),
        problems,
    ),
    "another address of the broker": (
        "Deployment",
        lambda one: one["spec"]["template"]["spec"]["containers"][0]["envFrom"][1]["secretRef"].update(name="broker"),
        problems,
    ),
    "a budget without pods": (
        "PodDisruptionBudget", lambda one: one["spec"]["selector"]["matchLabels"].update({"satsuma/host": "x"}), problems,
    ),
    "a scaler without a target": (
        "HorizontalPodAutoscaler", lambda one: one["spec"]["scaleTargetRef"].update(name="x"), problems,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "change", "check"), MISTAKES.values(), ids=MISTAKES)
def test_a_planted_mistake_in_the_manifests_is_found(kind, change, check):
    shop = resources("monolith")
    assert check(plant(shop, kind, change)) != []


def test_the_committed_files_match_the_command():
    call_command("manifests", check=True)


def test_negative_control_another_template_is_noticed(monkeypatch):
    monkeypatch.setattr(manifests, "INGRESS_FROM_PROXY", "    - ports: [{port: 8000}]")
    with pytest.raises(CommandError, match=r"^Out of date: monolith/shop\.yaml\. Run"):
        call_command("manifests", check=True)


@pytest.mark.parametrize("name", ["base", *TOPOLOGIES, "celery", *(f"{name}/celery" for name in TOPOLOGIES), "example"])
def test_every_kustomization_entry_exists(name):
    entries = kustomization(name)
    generators = entries.get("configMapGenerator", []) + entries.get("secretGenerator", [])
    named = [
        *entries["resources"],
        *entries.get("components", []),
        *(file for one in generators for file in one.get("files", []) + one.get("envs", [])),
    ]
    missing = [entry for entry in named if not entry.startswith(KEYS) and not (FOLDER / name / entry).exists()]
    assert (missing, {one["name"] for one in generators} - CREATED_SECRETS) == ([], set())


def test_the_secrets_are_created_by_our_command_and_not_committed(tmp_path):
    from ops.launch.keys import write_missing_secrets

    write_missing_secrets(tmp_path, "database:5432")
    generators = kustomization("base")["secretGenerator"]
    named = [file for one in generators for file in one.get("files", []) + one.get("envs", [])]
    assert [file for file in named if not (tmp_path / file.removeprefix(KEYS)).is_file()] == []
    ignored = (settings.BASE_DIR / ".gitignore").read_text().splitlines()
    assert {"/deploy/kubernetes/base/secrets/", "/deploy/kubernetes/celery/secrets/"} <= set(ignored)


def test_the_example_patches_apply():
    shop = resources("split")
    for patch in kustomization("example")["patches"]:
        one = kinds(shop, patch["target"]["kind"])[patch["target"]["name"]]
        for operation in yaml.safe_load(patch["patch"]):
            for part in operation["path"].split("/")[1:]:
                one = one[int(part) if part.isdecimal() else part]


def test_every_setting_in_the_manifests_is_read(shop):
    given = re.findall("^([A-Z_]+)=", (FOLDER / "base" / "settings.env").read_text(), re.MULTILINE)
    given += [*merged_settings("monolith"), *merged_settings("split", "split/celery")]
    given += [
        entry["name"] for _, spec in pods(shop).values() for one in containers(spec) for entry in one.get("env", [])
    ]
    assert {name.removesuffix("_FILE") for name in given} <= all_settings_read()


def test_no_setting_is_a_secret():
    assert not re.search("KEY|PASSWORD|//.*:.*@", (FOLDER / "base" / "settings.env").read_text())


def test_each_context_is_hosted_once_and_all_pods_have_its_address(shop):
    hosts = {
        name: spec for name, (labels, spec) in pods(shop).items() if labels["app.kubernetes.io/component"] == "host"
    }
    environments = {
        name: {one["name"]: one.get("value") for one in spec["containers"][0]["env"]} for name, spec in hosts.items()
    }
    host_of = {context: name for name, env in environments.items() for context in env["CONTEXTS"].split(",")}
    assert sorted(host_of) == sorted(settings.ALL_CONTEXTS)
    assert sum(len(env["CONTEXTS"].split(",")) for env in environments.values()) == len(settings.ALL_CONTEXTS)
    services = kinds(shop, "Service")
    for env in environments.values() if len(hosts) > 1 else []:
        for context, host in host_of.items():
            name, port = env[f"{context.upper()}_URL"].removeprefix("http://").split(":")
            assert services[name]["spec"]["selector"]["satsuma/host"] == host
            assert int(port) == services[name]["spec"]["ports"][0]["port"] == int(env["INTERNAL_PORT"])


def test_probes_are_answered_behind_https(shop, settings):
    settings.SECURE_SSL_REDIRECT, settings.ALLOWED_HOSTS = True, ["shop.example", "localhost"]
    probes = [one[probe]["httpGet"] for _, spec in pods(shop).values() for one in spec["containers"]
              for probe in ("startupProbe", "livenessProbe", "readinessProbe") if "httpGet" in one.get(probe, {})]  # fmt: skip
    assert {probe["path"] for probe in probes} == {"/health", "/ready"}
    for probe in probes:
        [host] = probe["httpHeaders"]
        assert resolve(probe["path"])
        assert Client().get(probe["path"], headers={"host": host["value"]}).status_code == 200


def test_a_pod_has_time_to_drain_and_stop(shop):
    for labels, spec in pods(shop).values():
        if labels["app.kubernetes.io/component"] == "host":
            drain = {one["name"]: one.get("value") for one in spec["containers"][0]["env"]}["DRAIN_SECONDS"]
            ready = spec["containers"][0]["readinessProbe"]
            assert (
                int(drain) + max(WORKER_STOP_TIMEOUT_SECONDS, ORPHAN_STOP_TIMEOUT_SECONDS) + 5
                <= spec["terminationGracePeriodSeconds"]
            )
            assert ready["periodSeconds"] * ready["failureThreshold"] < int(drain)


def test_every_container_runs_unprivileged_and_read_only(shop):
    user = re.search(r"^USER (\d+):(\d+)$", (settings.BASE_DIR / "Dockerfile").read_text(), re.MULTILINE)
    for _, spec in pods(shop).values():
        assert spec["securityContext"]["runAsNonRoot"]
        assert not spec["automountServiceAccountToken"]
        for one in containers(spec):
            assert one["securityContext"]["readOnlyRootFilesystem"]
            assert not one["securityContext"]["allowPrivilegeEscalation"]
            assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            if one["image"] == "satsuma":
                assert spec["securityContext"]["runAsUser"] == int(user[1])
                assert spec["securityContext"]["fsGroup"] == int(user[2])


def reached(shop, port):
    """Return the peers that may connect to a port of a host: selectors, or "everybody"."""
    policies = [one["spec"] for one in kinds(shop, "NetworkPolicy").values() if "Ingress" in one["spec"]["policyTypes"]]
    rules = [rule for policy in policies for rule in policy.get("ingress", []) if {"port": port} in rule["ports"]]
    return [rule.get("from", "everybody") for rule in rules]


def test_internal_addresses_are_reachable_from_context_hosts_only():
    own_hosts = {"app.kubernetes.io/name": "satsuma", "app.kubernetes.io/component": "host"}
    own_workers = own_hosts | {"app.kubernetes.io/component": "worker"}
    peers = [{"podSelector": {"matchLabels": labels}} for labels in (own_hosts, own_workers)]
    assert reached(resources("split"), "internal") == [peers] * len(settings.ALL_CONTEXTS)
    assert reached(resources("monolith"), "internal") == []


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_the_public_address_is_reachable_from_the_proxy_or_the_gateway_only(name):
    proxy = [{"namespaceSelector": {"matchLabels": {"satsuma/proxy": "true"}}}]
    assert reached(resources(name), "public").count(proxy) == 1
    assert "everybody" not in reached(resources(name), "public")


def egress_ports(shop, labels):
    """Return the ports that a pod with these labels may connect to."""
    policies = [one["spec"] for one in kinds(shop, "NetworkPolicy").values() if "Egress" in one["spec"]["policyTypes"]]
    rules = [rule for policy in policies if matches(policy["podSelector"], labels) for rule in policy.get("egress", [])]
    return {port["port"] for rule in rules for port in rule["ports"]}


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_each_context_has_a_worker_and_a_beat_that_reach_what_they_need(topology):
    shop = resources(*CELERY[topology])
    commands = {"worker": "python -m ops.launch.worker", "beat": "python -m celery -A config.celery beat"}
    needed = {
        "host": {53, 5432, 6379, 5672, 587, 443},
        "worker": {53, 5432, 6379, 5672, 587, 443},
        "beat": {53, 6379, 5672},
    }
    served = {component: [] for component in needed}
    for labels, spec in pods(shop).values():
        component = labels["app.kubernetes.io/component"]
        if component not in needed:
            continue
        [container] = spec["containers"]
        environment = {one["name"]: one.get("value") for one in container["env"]}
        served[component] += environment["CONTEXTS"].split(",")
        assert " ".join(container.get("command", [])) == commands.get(component, "")
        assert {"name": "satsuma-broker"}.items() <= container["envFrom"][1]["secretRef"].items()
        assert egress_ports(shop, labels) >= needed[component]
    assert [sorted(contexts) for contexts in served.values()] == [sorted(settings.ALL_CONTEXTS)] * 3
    assert merged_settings(*CELERY[topology])["ENGINE"] == "celery"


def test_control_a_worker_or_beat_that_no_policy_admits_is_noticed():
    shop = [one for one in resources(*CELERY["split"]) if one["metadata"]["name"] != "satsuma-broker"]
    for labels, _ in pods(shop).values():
        assert 6379 not in egress_ports(shop, labels)
    assert reached(shop, "internal") == reached(resources("split"), "internal")


def test_a_worker_has_the_secrets_and_addresses_of_its_host():
    deployments = kinds(resources(*CELERY["split"]), "Deployment")
    for context in settings.ALL_CONTEXTS:
        for other in ("worker", "beat"):
            assert list_mounted_secrets(deployments[f"{context}-{other}"]) == list_mounted_secrets(deployments[context])
        environments = [
            {
                one["name"]: one["value"]
                for one in deployments[name]["spec"]["template"]["spec"]["containers"][0]["env"]
                if one["name"].endswith(("_URL", "_FILE"))
            }
            for name in (context, f"{context}-worker", f"{context}-beat")
        ]
        assert environments[0] == environments[1] == environments[2]


def test_without_the_component_no_pod_reaches_a_broker():
    for topology in TOPOLOGIES:
        shop = resources(topology)
        assert not any(egress_ports(shop, labels) & {6379, 5672} for labels, _ in pods(shop).values())
        assert "ENGINE" not in merged_settings(topology)


@pytest.mark.parametrize("names", [*((name,) for name in TOPOLOGIES), *CELERY.values()], ids=" ".join)
def test_the_budget_of_the_manifests_counts_every_pod_of_a_rolling_update(names):
    shop, values = resources(*names), merged_settings(*names)
    processes = 0
    for name, scaler in kinds(shop, "HorizontalPodAutoscaler").items():
        if name not in ("gateway",):
            [container] = kinds(shop, "Deployment")[name]["spec"]["template"]["spec"]["containers"]
            has_internal = any(one["name"] == "INTERNAL_PORT" for one in container["env"])
            processes += (scaler["spec"]["maxReplicas"] + 1) * (int(values["WEB_WORKERS"]) + has_internal)
    for name, one in kinds(shop, "Deployment").items():
        processes += one["spec"]["replicas"] + 1 if name.endswith("-worker") else 0
    assert int(values["DATABASE_PROCESSES"]) == processes
    needed = processes * int(values["DATABASE_CONNECTIONS"]) + COMMAND_CONNECTIONS
    assert f"| `{names[-1]}` | {needed} |" in (settings.BASE_DIR / "docs" / "deploy.md").read_text()


def test_network_policies_deny_everything_else(shop):
    default_policy = kinds(shop, "NetworkPolicy")["satsuma"]["spec"]
    assert default_policy["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in default_policy
    assert all(matches(default_policy["podSelector"], labels) for labels, _ in pods(shop).values())


def test_only_the_job_has_the_superuser(shop):
    mounted = {name for name, (_, spec) in pods(shop).items() if "satsuma-superuser" in str(spec["volumes"])}
    assert mounted == {"prepare"}


def test_manifests_can_be_written_for_any_arrangement(tmp_path):
    others = ",".join(context for context in settings.ALL_CONTEXTS if context != "payments")
    call_command("manifests", f"shop={others}", "payments=payments", folder=tmp_path)
    texts = [(tmp_path / f"{name}.yaml").read_text() for name in ("shop", "payments", "gateway")]
    found = [one for text in texts for one in yaml.safe_load_all(text)]
    assert (invalid(found), problems(found)) == ([], [])
    assert "upstream users { server shop:8000" in (tmp_path / "gateway.conf").read_text()


@pytest.mark.parametrize("given", [["shop=orders"], [f"a={','.join(settings.ALL_CONTEXTS)}", "b=users"]])
def test_an_arrangement_hosts_each_context_once(given, tmp_path):
    with pytest.raises(CommandError, match="once"):
        call_command("manifests", *given, folder=tmp_path)


def list_mounted_secrets(deployment) -> set[tuple[str, str]]:
    """Return the entries of Secrets that the containers of a host can read."""
    [volume] = deployment["spec"]["template"]["spec"]["volumes"]
    sources = [one["secret"] for one in volume["projected"]["sources"]]
    return {(source["name"], item["key"]) for source in sources for item in source["items"]}


def test_a_host_mounts_the_secrets_of_its_contexts_only():
    deployments = kinds(resources("split"), "Deployment")
    for context in settings.ALL_CONTEXTS:
        assert list_mounted_secrets(deployments[context]) == {
            ("satsuma-shared", "SECRET_KEY"),
            ("satsuma-shared", "JWT_PUBLIC_KEYS"),
            ("satsuma-contexts", f"{context.upper()}_SECRETS"),
            *([("satsuma-keys", "JWT_SIGNING_KEY")] if context == "users" else ()),
        }


def test_a_host_of_some_contexts_mounts_the_secrets_of_each(tmp_path):
    others = ",".join(context for context in settings.ALL_CONTEXTS if context not in ("orders", "users"))
    call_command("manifests", "front=orders,users", f"rest={others}", folder=tmp_path)
    [front] = kinds(yaml.safe_load_all((tmp_path / "front.yaml").read_text()), "Deployment").values()
    assert list_mounted_secrets(front) >= {
        ("satsuma-contexts", "ORDERS_SECRETS"),
        ("satsuma-contexts", "USERS_SECRETS"),
    }
    names = {one["name"] for one in front["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert names >= {"ORDERS_SECRETS_FILE", "USERS_SECRETS_FILE", "JWT_SIGNING_KEY_FILE"}
    assert "CREDENTIAL_KEY_FILE" not in names


def test_the_guide_creates_the_namespace_of_the_example_before_it_is_used():
    lines = (settings.BASE_DIR / "docs" / "deploy.md").read_text().splitlines()
    namespace = kustomization("example")["namespace"]
    [created, *used] = [line.split("#")[0].split() for line in lines if line.startswith("kubectl ")]
    assert created == ["kubectl", "create", "namespace", namespace]
    assert ["kubectl", "apply", "-k", "deploy/kubernetes/ours"] in used
    assert all(line[1:3] == ["-n", namespace] for line in used if line[1] != "apply")
