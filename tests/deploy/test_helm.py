"""The Helm chart renders valid resources, in which the service drains, scales and has no more rights than it needs."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tomllib
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from deploy.values_schema import updated
from sentiment_conv1d.service.settings import read_settings
from tests.deploy.kubernetes import IMAGE_VOLUMES, RELEASES, Manifest, environment
from tests.processes import PATIENCE, PROJECT
from tests.programs import find, output

CHART = PROJECT / "deploy" / "helm"
DESCRIPTION = yaml.safe_load((CHART / "Chart.yaml").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
PAGE = (PROJECT / "docs" / "deployment.md").read_text()

GPU: Manifest = yaml.safe_load((CHART / "values-gpu.yaml").read_text())

#: The examples of rules for outgoing connections.
EGRESS: Manifest = yaml.safe_load((CHART / "values-egress.yaml").read_text())

#: Values that enable every optional part.
EVERYTHING = {
    "imagePullSecrets": [{"name": "registry"}],
    "env": [{"name": "SENTIMENT_API_KEYS", "valueFrom": {"secretKeyRef": {"name": "sentiment", "key": "api-keys"}}}],
    "settings": {"tls_certificate": "/tls/tls.crt", "tls_key": "/tls/tls.key"},
    "modelVolume": {"persistentVolumeClaim": {"claimName": "models"}},
    "volumes": [{"name": "tls", "secret": {"secretName": "tls"}}],
    "volumeMounts": [{"name": "tls", "mountPath": "/tls", "readOnly": True}],
    "service": {"type": "LoadBalancer", "annotations": {"example": "yes"}},
    "serviceAccount": {"annotations": {"example": "yes"}},
    "networkPolicy": {"monitoringNamespace": "1", "from": [{"namespaceSelector": {}}], **EGRESS["networkPolicy"]},
    "serviceMonitor": {"enabled": True},
    "podAnnotations": {"example": "yes"},
    "priorityClassName": "high",
    "nodeSelector": {"kubernetes.io/arch": "arm64"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
}


def helm(values: Manifest, release: str = "sentiment") -> subprocess.CompletedProcess[str]:
    """Render the chart with values in addition to the defaults."""
    command = [find("helm"), "template", release, str(CHART), "--namespace", release, "--values", "-"]
    return subprocess.run(
        command, input=json.dumps(values), capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def rendered(values: Manifest, release: str = "sentiment") -> dict[tuple[str, str], Manifest]:
    """The resources by kind and name."""
    finished = helm(values, release)
    assert finished.returncode == 0, finished.stderr
    return {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(finished.stdout) if each}


def merged(values: Any, others: Any) -> Any:
    """Merge values as Helm does."""
    if not isinstance(values, dict) or not isinstance(others, dict):
        return others
    return values | {key: merged(values.get(key), value) for key, value in others.items()}


def pod_of(resources: dict[tuple[str, str], Manifest]) -> Manifest:
    specification: Manifest = resources["Deployment", "sentiment"]["spec"]["template"]["spec"]
    return specification


@pytest.mark.parametrize("values", [{}, GPU, EVERYTHING], ids=["cpu", "gpu", "everything"])
def test_schema_of_values(values: Manifest) -> None:
    """The schema accepts the default values and every optional value."""
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert list(jsonschema.Draft7Validator(SCHEMA).iter_errors(merged(VALUES, values))) == []


def test_schema_is_complete() -> None:
    """The schema contains exactly the values that have a default."""
    assert {*SCHEMA["properties"]} - {"global"} == set(VALUES)
    for name, schema in SCHEMA["properties"].items():
        if "properties" in schema and name != "settings":
            assert set(schema["properties"]) == set(VALUES[name]), name


def test_versions() -> None:
    """The chart installs this project's version, on every release of Kubernetes that the manifests support."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert DESCRIPTION["version"] == DESCRIPTION["appVersion"] == project["version"]
    assert GPU["image"]["tag"] == f"{project['version']}-cuda"
    assert DESCRIPTION["kubeVersion"] == f">={RELEASES[0]}.0-0"


@pytest.mark.parametrize("flags", [(), ("--values", str(CHART / "values-gpu.yaml"))], ids=["cpu", "gpu"])
def test_lint(flags: tuple[str, ...]) -> None:
    """Helm's linter has no warnings."""
    assert "0 chart(s) failed" in output("helm", "lint", "--strict", str(CHART), *flags)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("values", [{}, GPU, EVERYTHING], ids=["cpu", "gpu", "everything"])
def test_schemas(values: Manifest, release: str) -> None:
    """Kubernetes' schemas accept every rendered resource, without unknown fields."""
    resources = rendered(values)
    for (kind, _), resource in resources.items():
        try:
            kubernetes_validate.validate(resource, release, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            assert kind == "ServiceMonitor"
    assert {kind for kind, _ in resources} - {"ServiceMonitor"} == {
        *("ServiceAccount", "Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy")
    }


def test_schemas_are_strict() -> None:
    """The schemas detect an unknown field."""
    service = rendered({})["Service", "sentiment"]
    typo = service | {"spec": service["spec"] | {"prots": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(typo, RELEASES[-1], strict=True)


def test_selectors() -> None:
    """Every selector matches the pods of its own release only, and every release has the job that alerts expect."""
    resources = rendered({"serviceMonitor": {"enabled": True}}, "other")
    deployment = resources["Deployment", "other"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert labels == {"app.kubernetes.io/name": "sentiment", "app.kubernetes.io/instance": "other"}
    assert deployment["selector"]["matchLabels"] == labels
    assert resources["Service", "other"]["spec"]["selector"] == labels
    assert resources["Service", "other-pods"]["spec"]["selector"] == labels
    assert resources["PodDisruptionBudget", "other"]["spec"]["selector"]["matchLabels"] == labels
    assert resources["NetworkPolicy", "other"]["spec"]["podSelector"]["matchLabels"] == labels
    assert resources["HorizontalPodAutoscaler", "other"]["spec"]["scaleTargetRef"]["name"] == "other"
    monitor = resources["ServiceMonitor", "other"]["spec"]
    service = resources["Service", "other"]["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"].items() <= service.items()
    assert service[monitor["jobLabel"]] == "sentiment"
    ports = {port["name"] for port in resources["Service", "other"]["spec"]["ports"]}
    assert monitor["endpoints"][0]["port"] in ports


def test_settings() -> None:
    """Settings of every type reach the service, and the grace period leaves time to drain and to finish requests."""
    changed = {"drain_delay": 2.5, "shutdown_timeout": 60, "max_body_bytes": 8388608, "tracing": True, "workers": 3}
    resources = rendered({"settings": changed, "preStopSeconds": 8})
    pod = pod_of(resources)
    [container] = pod["containers"]
    settings = read_settings({}, environment(container))
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": settings.port, "grpc": settings.grpc_port}
    assert {port["targetPort"] for port in resources["Service", "sentiment"]["spec"]["ports"]} == set(ports)
    assert settings.host == "0.0.0.0"
    assert settings.model_dump().items() >= (changed | {"log_format": "json"}).items()
    assert container["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "8"]
    assert pod["terminationGracePeriodSeconds"] > 8 + settings.drain_delay + settings.shutdown_timeout + 5


def test_probes() -> None:
    """Liveness and readiness differ, so that a draining pod is not killed."""
    [container] = pod_of(rendered({}))["containers"]
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert paths == {"startup": "/livez", "readiness": "/readyz", "liveness": "/livez"}


@pytest.mark.parametrize("values", [{}, GPU], ids=["cpu", "gpu"])
def test_least_privilege(values: Manifest) -> None:
    """Pods meet the restricted pod security standard, with read-only files, no token and no outgoing connections."""
    resources = rendered(values)
    pod = pod_of(resources)
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False  # SENTIMENT_PORT=tcp://… of a Service named sentiment
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    [container] = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    policy = resources["NetworkPolicy", "sentiment"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"] and not policy["egress"]


def test_devices() -> None:
    """A pod has two workers for two processors, or one worker and a required GPU."""
    [cpu], [gpu] = (pod_of(rendered(values))["containers"] for values in ({}, GPU))
    settings = read_settings({}, environment(cpu))
    assert (settings.workers, settings.execution_provider) == (2, "auto")
    assert cpu["resources"]["limits"] == cpu["resources"]["requests"]
    settings = read_settings({}, environment(gpu))
    assert (settings.workers, settings.execution_provider) == (1, "cuda")
    assert gpu["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert gpu["image"].endswith("-cuda")


def test_autoscaling() -> None:
    """The autoscaler uses CPU and requests in flight, and on a GPU only requests in flight."""
    cpu, gpu = (
        [
            each["pods"]["metric"]["name"] if "pods" in each else each["resource"]["name"]
            for each in rendered(values)["HorizontalPodAutoscaler", "sentiment"]["spec"]["metrics"]
        ]
        for values in ({}, GPU)
    )
    assert cpu == ["cpu", "sentiment_requests_in_flight"]
    assert gpu == ["sentiment_requests_in_flight"]


def test_removed_settings() -> None:
    """A setting of the chart that is null has the service's default."""
    pod = pod_of(rendered({"settings": {"drain_delay": None, "log_format": None}}))
    assert read_settings({}, environment(pod["containers"][0])).log_format == "console"
    assert pod["terminationGracePeriodSeconds"] == 40


@pytest.mark.parametrize(("certificate", "scheme"), [("/tls/tls.crt", "https"), ("", "http")])
def test_tls(certificate: str, scheme: str) -> None:
    """With a certificate, probes and Prometheus use HTTPS. An empty setting is none, as in the service."""
    resources = rendered(merged(EVERYTHING, {"settings": {"tls_certificate": certificate, "tls_key": certificate}}))
    [container] = pod_of(resources)["containers"]
    schemes = {container[f"{name}Probe"]["httpGet"]["scheme"] for name in ("startup", "readiness", "liveness")}
    assert schemes == {scheme.upper()}
    assert resources["ServiceMonitor", "sentiment"]["spec"]["endpoints"][0]["scheme"] == scheme
    assert resources["Service", "sentiment"]["spec"]["ports"][0]["appProtocol"] == scheme


def test_model_volume() -> None:
    """The models of a volume replace those of the image."""
    volume = {"persistentVolumeClaim": {"claimName": "models"}}
    pod = pod_of(rendered({"modelVolume": volume}))
    [container] = pod["containers"]
    [mount] = container["volumeMounts"]
    assert pod["volumes"] == [{"name": mount["name"]} | volume] and mount["readOnly"]
    assert {"name": "SENTIMENT_MODEL_REPOSITORY", "value": mount["mountPath"]} in container["env"]


def test_model_in_an_image() -> None:
    """A volume can be an image, whose folder of models is served, on every release of Kubernetes with image volumes."""
    volume = {"image": {"reference": "registry.example/imdb-cnn:1", "pullPolicy": "IfNotPresent"}}
    resources = rendered({"modelVolume": volume, "modelPath": "models"})
    for release in (IMAGE_VOLUMES, RELEASES[-1]):
        kubernetes_validate.validate(resources["Deployment", "sentiment"], release, strict=True)
    [container] = pod_of(resources)["containers"]
    [mount] = container["volumeMounts"]
    assert str(read_settings({}, environment(container)).model_repository) == f"{mount['mountPath']}/models"


def test_parts_can_be_turned_off() -> None:
    """Without the autoscaler the number of pods is fixed; the network policy is optional too."""
    off: Manifest = {"autoscaling": {"enabled": False}, "networkPolicy": {"enabled": False}, "replicas": 3}
    resources = rendered(off)
    assert resources["Deployment", "sentiment"]["spec"]["replicas"] == 3
    kinds = {kind for kind, _ in resources}
    assert not kinds & {"HorizontalPodAutoscaler", "NetworkPolicy", "ServiceMonitor"}


def test_page() -> None:
    """Helm accepts the command of docs/deployment.md and its example values."""
    [section] = re.findall(r"^## Kubernetes\n(.+?)^## ", PAGE, re.MULTILINE | re.DOTALL)
    scripts = [
        block.replace("\\\n", "") for block in re.findall(r"^```sh\n(.+?)^```", section, re.MULTILINE | re.DOTALL)
    ]
    [install] = re.findall(r"^helm install (.+)", "\n".join(scripts), re.MULTILINE)
    assert "kind: ServiceMonitor" in output("helm", "template", *shlex.split(install))
    [values] = re.findall(r"^```yaml\n(settings:.*?)^```", section, re.MULTILINE | re.DOTALL)
    pod = pod_of(rendered(yaml.safe_load(values)))
    assert pod["terminationGracePeriodSeconds"] == 80


def test_settings_in_the_schema() -> None:
    """The schema has the current settings: otherwise run `make values-schema`."""
    text = (CHART / "values.schema.json").read_text("utf-8")
    assert text == updated(text)


@pytest.mark.parametrize(
    ("mistake", "path"),
    [
        ({"setings": {}}, "at '': additional properties 'setings' not allowed"),
        ({"image": {"repositry": ""}}, "at '/image': additional properties 'repositry' not allowed"),
        ({"settings": {"nosuch": 1}}, "at '/settings': additional properties 'nosuch' not allowed"),
        ({"settings": {"port": 9000}}, "at '/settings': additional properties 'port' not allowed"),
        ({"settings": {"max_batch_texts": "abc"}}, "at '/settings/max_batch_texts': got string, want integer"),
        ({"settings": {"grpc_max_streams": 129}}, "at '/settings/grpc_max_streams': maximum: got 129, want 128"),
        ({"settings": {"admin": False}}, "at '/settings/admin': value must be one of 'off', 'key', 'open'"),
        ({"resources": {"limits": {"memory": "1GB"}}}, "at '/resources/limits/memory': '1GB' does not match"),
        (
            {"disruptionBudget": {"maxUnavailable": "1.5"}},
            "at '/disruptionBudget/maxUnavailable': '1.5' does not match",
        ),
    ],
    ids=str,
)
def test_refused_values(mistake: Manifest, path: str) -> None:
    """Helm refuses unknown and wrong values, and settings that the chart sets itself, and names the path."""
    finished = helm(mistake)
    assert finished.returncode != 0
    [problem] = re.findall(r"^- (.+)", finished.stderr, re.MULTILINE)
    assert problem.startswith(path)


KEYS = [{"name": "SENTIMENT_ADMIN_KEYS", "value": "secret"}]


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ({"settings": {"admin": "key"}}, "settings.admin: key needs"),
        ({"settings": {"admin": "key", "admin_key_file": ""}}, "settings.admin: key needs"),
        ({"settings": {"admin": "open"}, "env": KEYS}, "settings.admin: must be key"),
        ({"settings": {"admin_key_file": "/keys"}}, "settings.admin: must be key"),
        ({"settings": {"tls_certificate": "/crt"}}, "settings.tls_certificate: needs settings.tls_key"),
        ({"settings": {"tls_key": "/key"}}, "settings.tls_key: needs settings.tls_certificate"),
        ({"settings": {"tls_client_ca": "/ca"}}, "settings.tls_client_ca: needs settings.tls_certificate"),
        (
            {"modelVolume": {"emptyDir": {}}, "settings": {"model_repository": "/models"}},
            "modelVolume: contains the models, so settings.model_repository must not be set",
        ),
        ({"autoscaling": {"minReplicas": 11}}, "autoscaling.minReplicas: 11 is above autoscaling.maxReplicas, 10"),
        ({"autoscaling": {"cpu": None, "requestsInFlight": None}}, "autoscaling: cpu and requestsInFlight are null"),
        ({"resources": {"limits": {"cpu": 1}}}, "resources.limits.cpu: 1 is below resources.requests.cpu, 2"),
        ({"resources": {"limits": {"memory": "1G"}}}, "resources.limits.memory: 1G is below resources.requests.memory"),
        (
            {"resources": {"requests": {"cpu": "2001m"}}},
            "resources.limits.cpu: 2 is below resources.requests.cpu, 2001m",
        ),
    ],
    ids=str,
)
def test_contradictions(mistake: Manifest, message: str) -> None:
    """Helm refuses values that contradict each other, and names the path."""
    finished = helm(mistake)
    assert finished.returncode != 0
    assert f"): {message}" in finished.stderr


@pytest.mark.parametrize(
    "values",
    [
        {"settings": {"admin": "key"}, "env": KEYS},
        {"settings": {"admin": "key", "admin_key_file": "/keys"}},
        {"env": [*KEYS, {"name": "SENTIMENT_ADMIN", "value": "key"}]},
        {"autoscaling": {"enabled": False, "minReplicas": 11, "cpu": None, "requestsInFlight": None}},
        {"resources": {"limits": {"cpu": "2000m", "memory": 1073741824}}},
        {"resources": {"limits": {"cpu": 2.5, "memory": "1.1e9"}, "requests": {"cpu": "2500000u"}}},
    ],
    ids=str,
)
def test_values_that_fit_together(values: Manifest) -> None:
    """Keys can be in `env`, a limit can be written in another unit, and an autoscaler that is off is not checked."""
    assert rendered(values)
