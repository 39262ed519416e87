"""kustomize renders valid resources from the Kubernetes manifests."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest
import yaml

from sentiment_conv1d.service.settings import Settings, read_settings
from tests.processes import PROJECT
from tests.programs import output

FOLDER = PROJECT / "deploy" / "kubernetes"
OVERLAYS = sorted(path.name for path in (FOLDER / "overlays").iterdir())

#: The oldest release with all used fields, and the newest release with schemas.
RELEASES = ("1.29", "1.37")

#: The oldest release with image volumes.
IMAGE_VOLUMES = "1.31"

Manifest = dict[str, Any]


def render(overlay: str) -> dict[tuple[str, str], Manifest]:
    """The resources of an overlay by kind and name."""
    text = output("kubectl", "kustomize", str(FOLDER / "overlays" / overlay))
    return {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(text)}


@pytest.fixture(scope="module", params=OVERLAYS)
def resources(request: pytest.FixtureRequest) -> dict[tuple[str, str], Manifest]:
    """Render each overlay."""
    return render(request.param)


def has_image_volume(resources: dict[tuple[str, str], Manifest]) -> bool:
    volumes = resources["Deployment", "sentiment"]["spec"]["template"]["spec"].get("volumes", ())
    return any("image" in volume for volume in volumes)


@pytest.fixture(scope="module")
def pod(resources: dict[tuple[str, str], Manifest]) -> Manifest:
    """The specification of the pods."""
    specification: Manifest = resources["Deployment", "sentiment"]["spec"]["template"]["spec"]
    return specification


def of_kind(resources: dict[tuple[str, str], Manifest], kind: str) -> list[Manifest]:
    return [each["spec"] for (name, _), each in resources.items() if name == kind]


def environment(container: Manifest) -> dict[str, str]:
    """Return the variables of a container. Values that Kubernetes fills in are read from the manifest."""
    limits = {f"limits.{name}": str(value) for name, value in container["resources"]["limits"].items()}
    return {
        each["name"]: each["value"] if "value" in each else limits[each["valueFrom"]["resourceFieldRef"]["resource"]]
        for each in container["env"]
    }


@pytest.mark.parametrize("release", RELEASES)
def test_schemas(resources: dict[tuple[str, str], Manifest], release: str) -> None:
    """Kubernetes' schemas, which reject unknown fields, accept every resource that they describe."""
    if release == RELEASES[0] and has_image_volume(resources):
        release = IMAGE_VOLUMES
    kinds = set()
    for (kind, _), resource in resources.items():
        try:
            kubernetes_validate.validate(resource, release, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            assert kind == "ServiceMonitor"
        kinds.add(kind)
    assert kinds == {
        *("Namespace", "ServiceAccount", "Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"),
        *("NetworkPolicy", "ServiceMonitor"),
    }


def test_schemas_are_strict(resources: dict[tuple[str, str], Manifest]) -> None:
    """The schemas detect an unknown field."""
    service = resources["Service", "sentiment"]
    typo = service | {"spec": service["spec"] | {"prots": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(typo, RELEASES[-1], strict=True)


def test_selectors(resources: dict[tuple[str, str], Manifest]) -> None:
    """Services, budget, network policy and monitor select the Deployment's pods; the autoscaler targets it."""
    deployment = resources["Deployment", "sentiment"]
    wanted = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == wanted
    assert [each["selector"] for each in of_kind(resources, "Service")] == [wanted, wanted]
    assert [each["selector"]["matchLabels"] for each in of_kind(resources, "PodDisruptionBudget")] == [wanted]
    assert [each["podSelector"]["matchLabels"] for each in of_kind(resources, "NetworkPolicy")] == [wanted]
    [monitor] = of_kind(resources, "ServiceMonitor")
    service = resources["Service", "sentiment"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    [scaler] = of_kind(resources, "HorizontalPodAutoscaler")
    assert scaler["scaleTargetRef"]["name"] == deployment["metadata"]["name"]


def test_settings(resources: dict[tuple[str, str], Manifest], pod: Manifest) -> None:
    """The variables are settings, the ports are those the service listens on, and there is time to drain."""
    [container] = pod["containers"]
    settings = read_settings({}, environment(container))
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": settings.port, "grpc": settings.grpc_port}
    assert {port["targetPort"] for port in resources["Service", "sentiment"]["spec"]["ports"]} == set(ports)
    prestop = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    needed = prestop + settings.drain_delay + settings.shutdown_timeout + 5
    assert pod["terminationGracePeriodSeconds"] > needed
    assert settings.log_format == "json"


def test_no_service_links(pod: Manifest) -> None:
    """Pods do not get SENTIMENT_PORT=tcp://… of a Service named sentiment."""
    assert pod["enableServiceLinks"] is False


def test_probes(pod: Manifest) -> None:
    """Liveness and readiness differ, so that a draining pod is not killed."""
    [container] = pod["containers"]
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert paths == {"startup": "/livez", "readiness": "/readyz", "liveness": "/livez"}


def test_least_privilege(resources: dict[tuple[str, str], Manifest], pod: Manifest) -> None:
    """Pods meet the restricted standard of their namespace, with read-only files and no token."""
    labels = resources["Namespace", "sentiment"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert pod["automountServiceAccountToken"] is False
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
    [policy] = of_kind(resources, "NetworkPolicy")
    assert policy["policyTypes"] == ["Ingress", "Egress"] and not policy["egress"]


def test_devices() -> None:
    """A pod has two workers for two processors, or one worker and a required GPU."""
    [cpu], [gpu] = (
        render(name)["Deployment", "sentiment"]["spec"]["template"]["spec"]["containers"] for name in ("cpu", "gpu")
    )
    settings = read_settings({}, environment(cpu))
    assert (settings.workers, settings.execution_provider) == (2, "auto")
    assert cpu["resources"]["limits"] == cpu["resources"]["requests"]
    settings = read_settings({}, environment(gpu))
    assert (settings.workers, settings.execution_provider) == (1, "cuda")
    assert gpu["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert gpu["image"].endswith("-cuda")


def test_autoscaling() -> None:
    """The autoscaler uses CPU and requests in flight, and on a GPU only requests in flight."""
    metrics = {
        overlay: [
            each["pods"]["metric"]["name"] if "pods" in each else each["resource"]["name"]
            for each in render(overlay)["HorizontalPodAutoscaler", "sentiment"]["spec"]["metrics"]
        ]
        for overlay in ("cpu", "gpu")
    }
    assert metrics == {"cpu": ["cpu", "sentiment_requests_in_flight"], "gpu": ["sentiment_requests_in_flight"]}
    adapter = yaml.safe_load((FOLDER / "prometheus-adapter.yaml").read_text())
    assert [rule["name"]["as"] for rule in adapter["rules"]["custom"]] == ["sentiment_requests_in_flight"]


def test_kserve() -> None:
    """The InferenceService's predictor is a valid pod with the service's ports and settings."""
    manifest = yaml.safe_load((FOLDER / "kserve" / "inferenceservice.yaml").read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    predictor = manifest["spec"]["predictor"]
    scaling = {name: predictor.pop(name) for name in ("minReplicas", "maxReplicas", "scaleMetric", "scaleTarget")}
    assert 0 <= scaling["minReplicas"] <= scaling["maxReplicas"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": manifest["metadata"], "spec": predictor}
    kubernetes_validate.validate(pod, RELEASES[-1], strict=True)
    [container] = predictor["containers"]
    settings = read_settings({}, environment(container))
    assert [port["containerPort"] for port in container["ports"]] == [settings.port]
    assert settings.workers == Settings().workers  # as many as the limit allows
    assert predictor["enableServiceLinks"] is False
