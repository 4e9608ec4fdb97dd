"""Every overlay is valid by Kubernetes' own schemas, locked up, wired up, and says what code and compose files say."""

import ast
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml

from adavae.service.cluster.replica import on_a_cluster
from adavae.service.http.access import OPEN_PATHS
from adavae.service.metrics import Metrics
from adavae.service.settings import PREFIX, Settings, load_settings
from tests.compose_file import FORMS as COMPOSE_FORMS
from tests.compose_file import num_bytes, read_compose, seconds
from tests.dockerfile import read_stages
from tests.kustomization import (
    FORMS,
    KUBERNETES,
    REPOSITORY,
    Resource,
    built,
    containers,
    identity,
    pod_specs,
    seen_by_a_container,
)
from tests.unit.deployment.test_monitoring import alerts

_OTHERS = {"RayService", "ServiceMonitor", "PodMonitor"}
"""Kinds that Kubernetes itself does not have."""

_SIZES = {"Ki": 1024, "Mi": 1024**2, "Gi": 1024**3}
_REDIS = ("cache", "queue")
_SECRETS, _OF_COMPOSE = "/etc/adavae/secrets", "/run/secrets"
"""Where secrets are: in containers, and in those of compose, where that is not for us to choose."""

over_forms = pytest.mark.parametrize("form", FORMS)


def resources(form: str) -> list[Resource]:
    return built(KUBERNETES / form)


def of_kind(form: str, kind: str) -> dict[str, Resource]:
    return {each["metadata"]["name"]: each for each in resources(form) if each["kind"] == kind}


def pods(form: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [pod for each in resources(form) for pod in pod_specs(each)]


def pod_of(form: str, component: str) -> dict[str, Any]:
    specs = [spec for labels, spec in pods(form) if labels["app.kubernetes.io/component"] == component]
    return specs[0]


def container_of(form: str, component: str) -> dict[str, Any]:
    (container,) = pod_of(form, component)["containers"]
    return dict(container)


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container.get("env", [])}


def size(quantity: str) -> int:
    return int(quantity[:-2]) * _SIZES[quantity[-2:]]


@pytest.mark.parametrize("form", [*FORMS, "monitoring"])
def test_kubernetes_takes_it(form: str) -> None:
    for resource in resources(form):
        if resource["kind"] not in _OTHERS:
            kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)
            continue
        for labels, spec in pod_specs(resource):
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": labels}, "spec": spec}
            kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)


def test_what_kubernetes_does_not_take_would_be_found() -> None:
    (service,) = (each for each in resources("cpu") if identity(each) == ("Deployment", "service"))
    service["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("form", [*FORMS, "monitoring"])
def test_kubectl_reads_the_overlays_as_these_tests_do(form: str) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("not installed: kubectl")
    done = subprocess.run(
        ["kubectl", "kustomize", str(KUBERNETES / form)], capture_output=True, text=True, check=True, timeout=60
    )
    theirs = {identity(each): _ordered(each) for each in yaml.safe_load_all(done.stdout)}
    assert theirs == {identity(each): _ordered(each) for each in resources(form)}


def _ordered(value: Any) -> Any:
    """Lists of what has a name in the order of names."""
    if isinstance(value, dict):
        return {key: _ordered(each) for key, each in value.items()}
    if isinstance(value, list) and all(isinstance(each, dict) and "name" in each for each in value):
        return sorted((_ordered(each) for each in value), key=lambda each: str(each["name"]))
    return [_ordered(each) for each in value] if isinstance(value, list) else value


@over_forms
def test_every_setting_exists_and_takes_its_value(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for resource in resources(form):
        for container in containers(resource):
            ours = {name: value for name, value in environment(container).items() if name.startswith(PREFIX)}
            unknown = [name for name in ours if name.removeprefix(PREFIX).lower() not in Settings.model_fields]
            assert not unknown, f"{container['name']}: {unknown}"
            with monkeypatch.context() as patch:
                for name, value in ours.items():
                    assert isinstance(value, str), f"{name}: YAML reads {value!r} as no string"
                    patch.setenv(name, value)
                Settings()


@over_forms
def test_every_container_is_locked_up(form: str) -> None:
    for _, spec in pods(form):
        assert spec["automountServiceAccountToken"] is False and spec["serviceAccountName"] == "adavae"
        assert spec["enableServiceLinks"] is False, "ADAVAE_PORT would be Kubernetes' own"
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True and context["runAsUser"] > 0 and context["fsGroup"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "readOnlyRootFilesystem": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }
            assert size(container["resources"]["requests"]["memory"]) <= size(
                container["resources"]["limits"]["memory"]
            )
            assert container["resources"]["requests"]["cpu"]
    assert of_kind(form, "Namespace")["adavae"]["metadata"]["labels"] == {
        "pod-security.kubernetes.io/enforce": "restricted"
    }
    assert of_kind(form, "ServiceAccount")["adavae"]["automountServiceAccountToken"] is False


@over_forms
def test_users_are_those_of_the_images(form: str) -> None:
    for labels, spec in pods(form):
        user = spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsGroup"]
        is_redis = labels["app.kubernetes.io/component"] in _REDIS
        assert user == ((999, 1000) if is_redis else (10001, 10001))
    assert re.search(r"^USER 10001:10001$", (REPOSITORY / "docker" / "Dockerfile").read_text(encoding="utf-8"), re.M)


@over_forms
def test_what_is_mounted_exists_and_what_is_read_is_mounted(form: str) -> None:
    claims = set(of_kind(form, "PersistentVolumeClaim"))
    for resource in resources(form):
        made = {each["metadata"]["name"] for each in resource.get("spec", {}).get("volumeClaimTemplates", [])}
        for _, spec in pod_specs(resource):
            volumes = {each["name"]: each for each in spec["volumes"]}
            named = {
                each["persistentVolumeClaim"]["claimName"]
                for each in volumes.values()
                if "persistentVolumeClaim" in each
            }
            assert named <= claims
            for container in spec["containers"]:
                mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
                assert set(mounts.values()) == volumes.keys() | made
                files = [item["path"] for item in volumes["secrets"]["secret"]["items"]]
                held = [value for name, value in environment(container).items() if name.endswith("_FILE")]
                assert set(held) <= {f"{_SECRETS}/{file}" for file in files}
                assert volumes["secrets"]["secret"]["defaultMode"] == 0o440, (
                    "others could read it, which stops the start"
                )


@over_forms
def test_secrets_are_named_and_never_there(form: str) -> None:
    assert not of_kind(form, "Secret")
    names = {
        volume["secret"]["secretName"] for _, spec in pods(form) for volume in spec["volumes"] if "secret" in volume
    }
    assert names == {"adavae"}
    readme = (REPOSITORY / "docker" / "README.md").read_text(encoding="utf-8")
    assert "kubectl -n adavae create secret generic adavae" in readme


@over_forms
def test_nobody_has_a_secret_that_he_does_not_need(form: str) -> None:
    for labels, spec in pods(form):
        (items,) = [each["secret"]["items"] for each in spec["volumes"] if "secret" in each]
        answers = labels["app.kubernetes.io/component"] in ("service", "ray")
        assert {each["key"] for each in items} == {"redis_password", *(["api_keys"] if answers else [])}


@pytest.mark.parametrize("form", ["cpu", "gpu"])
@pytest.mark.parametrize("name", ["service", "worker"])
def test_containers_do_what_they_do_in_the_compose_files(form: str, name: str) -> None:
    """Those are started as processes by tests/e2e."""
    theirs, ours = read_compose(COMPOSE_FORMS[form])["services"][name], container_of(form, name)
    assert ours["command"] == theirs["command"] == read_stages()[name].command
    assert ours["image"].split(":")[0] == theirs["image"].split(":")[0]
    here = {key: as_in_compose(value) for key, value in environment(ours).items()}
    assert {key: here.get(key) for key in theirs["environment"]} == theirs["environment"]
    assert set(here) - set(theirs["environment"]) <= {"ADAVAE_SHUTDOWN_S", "ADAVAE_THREADS", "ADAVAE_TRAINING_THREADS"}
    assert size(ours["resources"]["limits"]["memory"]) == num_bytes(theirs["deploy"]["resources"]["limits"]["memory"])
    assert pod_of(form, name)["terminationGracePeriodSeconds"] >= seconds(theirs["stop_grace_period"])


@over_forms
@pytest.mark.parametrize("name", _REDIS)
def test_both_redis_are_those_of_the_compose_files(form: str, name: str) -> None:
    theirs, ours = read_compose(COMPOSE_FORMS["cpu"])["services"][name], container_of(form, name)
    assert [as_in_compose(seen_by_a_container(part)) for part in ours["command"]] == theirs["command"]
    for probe in ("readinessProbe", "livenessProbe"):
        asked = [as_in_compose(part) for part in ours[probe]["exec"]["command"]]
        assert asked == ["sh", "-c", theirs["healthcheck"]["test"][1]]
    assert ours["image"] == theirs["image"]
    assert size(ours["resources"]["limits"]["memory"]) == num_bytes(theirs["deploy"]["resources"]["limits"]["memory"])
    assert of_kind(form, "StatefulSet")[name]["spec"]["replicas"] == 1


def as_in_compose(text: str) -> str:
    return text.replace(_SECRETS, _OF_COMPOSE)


@over_forms
def test_nothing_is_mounted_where_clouds_put_the_tokens_of_pods(form: str) -> None:
    """In Debian's images /var/run is /run: below a mount that is read-only no token could be put."""
    for _, spec in pods(form):
        for container in spec["containers"]:
            for mount in container["volumeMounts"]:
                assert not mount["mountPath"].startswith(("/run", "/var/run"))


@over_forms
def test_addresses_are_those_of_services_whose_pods_listen_there(form: str) -> None:
    services = of_kind(form, "Service")
    for resource in resources(form):
        for container in containers(resource):
            for name, value in environment(container).items():
                if name.endswith("_REDIS_URL"):
                    url = urlsplit(value)
                    (port,) = services[str(url.hostname)]["spec"]["ports"]
                    assert port["port"] == url.port
    for service in services.values():
        selected = [spec for labels, spec in pods(form) if service["spec"]["selector"].items() <= labels.items()]
        (spec,) = selected
        named = {each["name"] for container in spec["containers"] for each in container["ports"]}
        assert {each["targetPort"] for each in service["spec"]["ports"]} <= named


@over_forms
def test_what_selects_pods_selects_some(form: str) -> None:
    labels = [labels for labels, _ in pods(form)]
    for resource in resources(form):
        spec = resource.get("spec", {})
        wanted = [spec.get("selector"), spec.get("podSelector")]
        for selector in (each for each in wanted if each):
            assert any(selects(selector, each) for each in labels), identity(resource)


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """A Service's selector, or one of labels and expressions."""
    expressions = selector.get("matchExpressions", [])
    assert all(each["operator"] == "In" for each in expressions)
    wanted = selector.get("matchLabels", {} if expressions else selector)
    return wanted.items() <= labels.items() and all(labels.get(each["key"]) in each["values"] for each in expressions)


@pytest.mark.parametrize("form", ["cpu", "gpu"])
def test_probes_ask_what_is_open_to_all_and_the_worker_has_no_keys(form: str) -> None:
    service, worker = container_of(form, "service"), container_of(form, "worker")
    paths = {name: service[name]["httpGet"]["path"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert paths == {"startupProbe": "/healthz", "readinessProbe": "/readyz", "livenessProbe": "/healthz"}
    assert set(paths.values()) <= OPEN_PATHS
    for container in (service, worker):
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["port"] in ports
            assert container[probe]["timeoutSeconds"] >= 3  # an encode by the default set, beside others
        start = container["startupProbe"]
        assert start["failureThreshold"] * start["periodSeconds"] >= 60
    assert environment(service)["ADAVAE_PORT"] == str(ports_of(service)["http"])
    assert worker["command"][-1] == str(ports_of(worker)["metrics"])


def ports_of(container: dict[str, Any]) -> dict[str, int]:
    return {each["name"]: each["containerPort"] for each in container["ports"]}


@pytest.mark.parametrize("form", ["cpu", "gpu"])
def test_the_grace_period_outlasts_the_pause_and_the_end_of_requests(form: str) -> None:
    pod, container = pod_of(form, "service"), container_of(form, "service")
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command[0] == "sleep"
    shutdown_s = float(environment(container)["ADAVAE_SHUTDOWN_S"])
    assert pod["terminationGracePeriodSeconds"] >= float(command[1]) + shutdown_s + 5


@pytest.mark.parametrize("form", ["cpu", "gpu"])
def test_replicas_are_the_autoscalers_alone_and_never_all_away(form: str) -> None:
    deployment = of_kind(form, "Deployment")["service"]
    (scaler,), (budget,) = (
        of_kind(form, "HorizontalPodAutoscaler").values(),
        of_kind(form, "PodDisruptionBudget").values(),
    )
    assert "replicas" not in deployment["spec"]
    assert scaler["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "service"}
    assert budget["spec"]["maxUnavailable"] < scaler["spec"]["minReplicas"]
    spread = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert all(each["labelSelector"]["matchLabels"].items() <= labels.items() for each in spread)


def test_the_autoscaler_asks_for_a_metric_that_there_is() -> None:
    (scaler,) = of_kind("cpu", "HorizontalPodAutoscaler").values()
    metric = scaler["spec"]["metrics"][0]["pods"]
    samples = {sample.name for family in Metrics().registry.collect() for sample in family.samples}
    assert metric["metric"]["name"] in samples
    assert int(metric["target"]["averageValue"]) == Settings.model_fields["decode_rows"].default


@over_forms
def test_a_gpu_is_there_where_the_settings_ask_for_one(form: str) -> None:
    for _, spec in pods(form):
        for container in spec["containers"]:
            has_gpu = container["resources"]["limits"].get("nvidia.com/gpu") == "1"
            assert has_gpu == (environment(container).get("ADAVAE_DEVICE") == "cuda") == bool(spec.get("tolerations"))
            assert not has_gpu or "cu130" in container["image"]


def test_a_bucket_takes_the_place_of_the_volume() -> None:
    assert not of_kind("s3", "PersistentVolumeClaim")
    for name in ("service", "worker"):
        pod, container = pod_of("s3", name), container_of("s3", name)
        here = environment(container)
        assert urlsplit(here["ADAVAE_DATA"]).scheme == "s3"
        mounted = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
        (cache,) = [each for each in pod["volumes"] if each["name"] == mounted[here["ADAVAE_STORE_CACHE"]]]
        assert size(cache["emptyDir"]["sizeLimit"]) > 2 * int(here["ADAVAE_STORE_CACHE_BYTES"])
        assert container["envFrom"] == [{"secretRef": {"name": "adavae-store"}}]
    policy = of_kind("s3", "NetworkPolicy")["store"]["spec"]
    assert policy["egress"] == [{"ports": [{"protocol": "TCP", "port": 443}]}]


@over_forms
def test_nothing_is_reached_that_nobody_named(form: str) -> None:
    """Whoever may go somewhere is let in there, both Redis have only those who use them, the rest is shut."""
    policies = of_kind(form, "NetworkPolicy")
    assert policies["nothing"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    let_in = {
        name: {
            source["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
            for rule in policies[name]["spec"]["ingress"]
            for source in rule["from"]
        }
        for name in _REDIS
    }
    front = "ray" if form == "ray" else "service"
    assert let_in == {"cache": {front}, "queue": {front, "worker"}}
    for name in (front, "worker"):
        (rule,) = [each for each in policies[name]["spec"]["egress"] if each.get("ports")]
        goes_to = {each["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for each in rule["to"]}
        assert goes_to == {redis for redis in _REDIS if name in let_in[redis]}
        assert rule["ports"] == [{"protocol": "TCP", "port": 6379}]


@over_forms
def test_names_are_found_by_way_of_the_cluster_or_of_a_cache_on_the_node(form: str) -> None:
    (rule,) = of_kind(form, "NetworkPolicy")["names"]["spec"]["egress"]
    assert {"ipBlock": {"cidr": "169.254.20.10/32"}} in rule["to"] and len(rule["to"]) == 2
    assert {(each["protocol"], each["port"]) for each in rule["ports"]} == {("UDP", 53), ("TCP", 53)}


def test_monitors_find_services_and_call_their_jobs_as_the_alerts_do() -> None:
    services = of_kind("cpu", "Service")
    jobs = set()
    for name, monitor in of_kind("monitoring", "ServiceMonitor").items():
        spec, service = monitor["spec"], services[name]
        assert spec["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        (endpoint,) = spec["endpoints"]
        assert endpoint["port"] in {each["name"] for each in service["spec"]["ports"]}
        assert monitor["metadata"]["namespace"] == "adavae"
        jobs.add(service["metadata"]["labels"][spec["jobLabel"]])
    asked_for = {job for rule in alerts() for job in re.findall(r'job=~"([^"]+)"', rule["expr"])}
    assert asked_for
    assert all(re.fullmatch(pattern, job) for pattern in asked_for for job in jobs)


def test_rays_pods_are_scraped_and_called_as_the_alerts_do() -> None:
    """The Service that the other monitor looks for is not there on Ray, and the port was shut."""
    (monitor,) = of_kind("monitoring", "PodMonitor").values()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    asked_for = {job for rule in alerts() for job in re.findall(r'job=~"([^"]+)"', rule["expr"])}
    for labels, spec in pod_specs_of_ray():
        assert selects(monitor["spec"]["selector"], labels)
        assert all(re.fullmatch(pattern, labels[monitor["spec"]["jobLabel"]]) for pattern in asked_for)
        (container,) = spec["containers"]
        assert ports_of(container)[endpoint["port"]] == 8080
    cluster = ray_service()["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert group["rayStartParams"]["metrics-export-port"] == "8080"
    rules = of_kind("ray", "NetworkPolicy")["ray"]["spec"]["ingress"]
    (rule,) = [each for each in rules if {"protocol": "TCP", "port": 8080} in each.get("ports", [])]
    (source,) = rule["from"]
    assert source["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}


def ray_service() -> dict[str, Any]:
    (service,) = of_kind("ray", "RayService").values()
    return dict(service["spec"])


def test_the_ray_service_has_no_field_that_kuberay_does_not_know() -> None:
    """By hand, those of ray.io/v1 that are used; by the operator's own schema in ``test_kuberay_schema``."""
    spec = ray_service()
    assert set(spec) == {"upgradeStrategy", "serveConfigV2", "rayClusterConfig"}
    cluster = spec["rayClusterConfig"]
    assert set(cluster) == {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
    assert set(cluster["headGroupSpec"]) == {"rayStartParams", "template"}
    (group,) = cluster["workerGroupSpecs"]
    assert set(group) == {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for each in (cluster["headGroupSpec"], group):
        assert all(isinstance(value, str) for value in each["rayStartParams"].values())
    pinned = dict(re.findall(r"^(ray)==(\S+)$", (REPOSITORY / "docker" / "constraints.txt").read_text("utf-8"), re.M))
    assert pinned.get("ray", cluster["rayVersion"]) == cluster["rayVersion"]


def test_ray_serves_the_application_with_settings_that_exist_and_keys() -> None:
    config = yaml.safe_load(ray_service()["serveConfigV2"])
    (application,) = config["applications"]
    assert application["args"]["requires_keys"] is True
    assert set(application["args"]["settings"]) <= set(Settings.model_fields)
    ports = {
        port["containerPort"] for _, spec in pod_specs_of_ray() for each in spec["containers"] for port in each["ports"]
    }
    assert config["http_options"]["port"] in ports
    module, _, function = application["import_path"].partition(":")
    path = Path(REPOSITORY, *module.removeprefix("adavae.").split(".")).with_suffix(".py")
    if not path.exists():
        pytest.skip(f"{path.name} is not part of this checkout")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_pod_of_ray_has_a_replica_that_uses_its_cores() -> None:
    """A pod without one has no proxy, and is never ready; and nobody adds pods where no autoscaler is turned on."""
    (application,) = yaml.safe_load(ray_service()["serveConfigV2"])["applications"]
    settings = load_settings(application["args"]["settings"])
    (group,) = ray_service()["rayClusterConfig"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    assert settings.replica_cpus == float(container["resources"]["requests"]["cpu"])
    assert on_a_cluster(settings).threads == settings.replica_cpus
    assert group["replicas"] == group["minReplicas"] == settings.min_replicas
    assert group["maxReplicas"] == max(settings.min_replicas, settings.max_replicas)
    assert "enableInTreeAutoscaling" not in ray_service()["rayClusterConfig"]


def test_kuberays_own_labels_are_left_to_it() -> None:
    """A name of ours took the place of KubeRay's, by which the Service of the head finds its pod: it found none."""
    for labels, _ in pod_specs_of_ray():
        assert "app.kubernetes.io/name" not in labels and "app.kubernetes.io/created-by" not in labels
        assert not any(label.startswith("ray.io/") for label in labels)
    for resource in resources("ray"):
        if resource["kind"] in ("NetworkPolicy", "PodDisruptionBudget"):
            spec = resource["spec"]
            selector = spec.get("podSelector") or spec.get("selector") or {}
            of_ray = selector.get("matchLabels", {}).get("app.kubernetes.io/component") == "ray"
            assert not of_ray or set(selector["matchLabels"]) == {"app.kubernetes.io/component"}


def test_rays_logs_stay_within_their_volume() -> None:
    """By default one log may take 3 GiB."""
    for _, spec in pod_specs_of_ray():
        (container,) = spec["containers"]
        here = environment(container)
        a_log = int(here["RAY_ROTATION_MAX_BYTES"]) * (1 + int(here["RAY_ROTATION_BACKUP_COUNT"]))
        (tmp,) = [each for each in spec["volumes"] if each["name"] == "tmp"]
        assert here["HOME"] == "/tmp" and 40 * a_log <= size(tmp["emptyDir"]["sizeLimit"])


def test_rays_pods_do_not_all_go_at_once() -> None:
    """The budget said maxUnavailable, which needs to know how many pods there should be: a RayCluster has no scale that
    tells, so none was ever allowed to go, and a drain waited for ever.
    """
    (budget,) = of_kind("ray", "PodDisruptionBudget").values()
    (service,) = of_kind("ray", "RayService").values()
    groups = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    num_pods = 1 + sum(group["replicas"] for group in groups)  # the head, too
    assert "maxUnavailable" not in budget["spec"]
    assert budget["spec"]["minAvailable"] == num_pods - 1
    assert all(selects(budget["spec"]["selector"], labels) for labels, _ in pod_specs_of_ray())


def pod_specs_of_ray() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [pod for each in resources("ray") if each["kind"] == "RayService" for pod in pod_specs(each)]


def test_ray_pods_outlast_the_longest_request_and_need_no_program_for_their_probes() -> None:
    (_, head), (_, replica) = pod_specs_of_ray()
    for spec in (head, replica):
        (container,) = spec["containers"]
        grace_s, here = spec["terminationGracePeriodSeconds"], environment(container)
        assert grace_s >= float(here["ADAVAE_DEADLINE_S"]) + 10
        assert float(here["ADAVAE_DEADLINE_S"]) < float(here["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"]) <= grace_s - 10
        assert container["resources"]["limits"]["cpu"] == container["resources"]["requests"]["cpu"]
    assert replica["containers"][0]["readinessProbe"]["httpGet"] == {"path": "/-/healthz", "port": "serve"}
    major, minor = map(int, ray_service()["rayClusterConfig"]["rayVersion"].split(".")[:2])
    assert (major, minor) >= (2, 53)
