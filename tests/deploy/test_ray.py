"""deploy/ray: KubeRay's resource is valid, and contains the same configuration as serve.yaml."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from sentiment_conv1d.service.settings import Settings
from tests.deploy.kubernetes import RELEASES
from tests.pins import pinned
from tests.processes import PROJECT
from tests.programs import output

FOLDER = PROJECT / "deploy" / "ray"
RESOURCE = yaml.safe_load((FOLDER / "rayservice.yaml").read_text())
CONFIGURATION = yaml.safe_load((FOLDER / "serve.yaml").read_text())
CLUSTER = RESOURCE["spec"]["rayClusterConfig"]

#: Version v1 of `ray.io_rayservices.yaml` in KubeRay at commit feeaf72, without descriptions. Pods are left out: their
#: schema is Kubernetes' own.
SCHEMA = json.loads((PROJECT / "tests" / "deploy" / "rayservice.schema.json").read_text())


def closed(schema: Any) -> Any:
    """Return the schema, changed to reject unknown fields, which Kubernetes would drop silently."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    return inner | {"additionalProperties": False} if "properties" in schema else inner


def pods() -> list[Any]:
    """Return the pods of the head and of the workers."""
    return [group["template"]["spec"] for group in (CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"])]


def test_schema() -> None:
    """KubeRay's schema accepts the resource, and would detect a typo."""
    validator = jsonschema.Draft202012Validator(closed(SCHEMA))
    assert list(validator.iter_errors(RESOURCE)) == []
    typo = json.loads(json.dumps(RESOURCE).replace("workerGroupSpecs", "workerGroupSpec"))
    assert list(validator.iter_errors(typo))


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("number", range(2))
def test_pods(number: int, release: str) -> None:
    """Kubernetes' schema accepts the pods."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ray"}, "spec": pods()[number]}
    kubernetes_validate.validate(pod, release, strict=True)


def test_least_privilege() -> None:
    """No container runs as root or can gain privileges, and each container has limits."""
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"]
        for container in pod["containers"]:
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert not container["securityContext"]["allowPrivilegeEscalation"]
            assert {"cpu", "memory"} <= set(container["resources"]["limits"])


def test_processors() -> None:
    """A worker has a processor more than replicas, for its proxy, and the largest cluster has room for all replicas."""
    [group] = CLUSTER["workerGroupSpecs"]
    replicas = int(group["rayStartParams"]["num-cpus"])
    [container] = group["template"]["spec"]["containers"]
    assert int(container["resources"]["limits"]["cpu"]) == replicas + 1
    [deployment] = CONFIGURATION["applications"][0]["deployments"]
    assert group["maxReplicas"] * replicas == deployment["autoscaling_config"]["max_replicas"]


def test_one_configuration() -> None:
    """The resource has the configuration of serve.yaml and the pinned version of Ray."""
    assert yaml.safe_load(RESOURCE["spec"]["serveConfigV2"]) == CONFIGURATION
    assert ("ray", CLUSTER["rayVersion"]) in pinned("ray.txt")


def test_configuration() -> None:
    """The arguments are a shipped model and settings, limits match the code, and imported names exist."""
    [application] = CONFIGURATION["applications"]
    model, *settings = application["args"]
    assert (model, settings) == ("model", ["open_metrics"])
    assert (PROJECT / application["args"]["model"].removeprefix("/srv/sentiment/")).is_dir()
    assert CONFIGURATION["http_options"] == {"host": "0.0.0.0", "port": 8000, "request_timeout_s": 30}
    assert CONFIGURATION["http_options"]["request_timeout_s"] == Settings().request_timeout
    code = (PROJECT / "sentiment_conv1d" / "cluster" / "application.py").read_text()
    [deployment] = application["deployments"]
    for name, key in (("MAX_ONGOING", "max_ongoing_requests"), ("MAX_QUEUED", "max_queued_requests")):
        assert f"{name} = {deployment[key]}\n" in code
    assert f"TARGET_ONGOING = {deployment['autoscaling_config']['target_ongoing_requests']}\n" in code
    assert application["import_path"] == "sentiment_conv1d.cluster.application:application"
    assert "\ndef application(" in code


def test_image() -> None:
    """hadolint reports nothing for Ray's image, and the image of the service does not contain Ray."""
    assert output("hadolint", str(FOLDER / "Dockerfile")) == ""
    assert "ray" not in (PROJECT / "Dockerfile").read_text().lower().replace("array", "")
