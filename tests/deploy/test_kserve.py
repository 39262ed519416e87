"""The InferenceService for KServe. No test runs a cluster."""

from __future__ import annotations

import kubernetes_validate
import yaml

from sentiment_conv1d.service.settings import Settings, read_settings
from tests.deploy.kubernetes import RELEASES, environment
from tests.processes import PROJECT


def test_inference_service() -> None:
    """The predictor is a valid pod with the rights and resources of the chart, and with the port of the service."""
    manifest = yaml.safe_load((PROJECT / "deploy" / "kserve" / "inferenceservice.yaml").read_text())
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
    assert settings.drain_delay > 0
    assert settings.host == "0.0.0.0"
    assert predictor["enableServiceLinks"] is False
    chart = yaml.safe_load((PROJECT / "deploy" / "helm" / "values.yaml").read_text())
    assert container["resources"] == chart["resources"]
    assert container["securityContext"] == chart["podSecurityContext"] | {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
