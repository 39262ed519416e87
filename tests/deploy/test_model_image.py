"""Images that contain only a model: `make model-image` and the manifests that mount them."""

from __future__ import annotations

import json
import os
import re
import tarfile
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from sentiment_conv1d.service.settings import read_settings
from tests.deploy.test_kubernetes import IMAGE_VOLUMES, RELEASES, Manifest, environment, render
from tests.processes import MODEL_REPOSITORY, PROJECT, ServerProcess
from tests.programs import output

DOCKERFILE = PROJECT / "deploy" / "model-image" / "Dockerfile"
KSERVE = PROJECT / "deploy" / "kubernetes" / "kserve"
MODEL = "imdb-cnn"


def answers(repository: Path) -> bool:
    """Return whether the service serves the model of a repository."""
    with ServerProcess("--workers", "1", repository=repository) as server:
        answer = server.client.post("/v1/predict", json={"text": "A great film.", "model": MODEL}).json()
        return bool(answer["model"]["name"] == MODEL and answer["label"] == "positive")


def in_archive(archive: tarfile.TarFile, descriptor: dict[str, str]) -> Any:
    """Read a JSON document of an OCI archive."""
    file = archive.extractfile("blobs/" + descriptor["digest"].replace(":", "/"))
    assert file is not None
    return json.load(file)


def test_lint() -> None:
    """hadolint reports nothing."""
    assert output("hadolint", str(DOCKERFILE)) == ""


def test_layout() -> None:
    """By default an image contains the model's folder in /models and nothing else."""
    lines = DOCKERFILE.read_text().splitlines()
    assert [line for line in lines if line.startswith(("ARG", "FROM", "COPY", "ADD", "RUN"))] == [
        "ARG BASE=scratch",
        "FROM ${BASE}",
        "ARG MODEL",
        "COPY ${MODEL} /models/${MODEL}",
    ]
    assert (MODEL_REPOSITORY / MODEL / "1" / "manifest.json").exists()


def test_build(tmp_path: Path) -> None:
    """`make model-image` writes an OCI image, and the service serves the model in it."""
    if os.environ.get("CI"):
        pytest.skip("the containers of continuous integration have no buildah")
    output("buildah", "--version")
    output("make", "model-image", f"MODEL={MODEL}", f"BUILD={tmp_path}", f"REPOSITORY={MODEL_REPOSITORY}")
    with tarfile.open(tmp_path / f"{MODEL}.tar") as archive:
        index = json.load(archive.extractfile("index.json"))  # type: ignore[arg-type]
        manifest = in_archive(archive, index["manifests"][0])
        config = in_archive(archive, manifest["config"])
        assert config["config"]["Labels"]["org.opencontainers.image.title"] == MODEL
        for layer in manifest["layers"]:
            with tarfile.open(fileobj=archive.extractfile("blobs/" + layer["digest"].replace(":", "/"))) as files:
                files.extractall(tmp_path / "root", filter="data")
    original = {path.relative_to(MODEL_REPOSITORY / MODEL) for path in (MODEL_REPOSITORY / MODEL).rglob("*")}
    copied = tmp_path / "root" / "models" / MODEL
    assert {path.name for path in (tmp_path / "root").iterdir()} == {"models"}
    assert {path.relative_to(copied) for path in copied.rglob("*")} == original
    assert answers(tmp_path / "root" / "models")


def test_overlay() -> None:
    """The pods serve /models of an image, for every release of Kubernetes with image volumes."""
    deployment = render("model-image")["Deployment", "sentiment"]
    for release in (IMAGE_VOLUMES, RELEASES[-1]):
        kubernetes_validate.validate(deployment, release, strict=True)
    pod = deployment["spec"]["template"]["spec"]
    [container], [volume] = pod["containers"], pod["volumes"]
    [mount] = container["volumeMounts"]
    assert volume["image"]["reference"] == f"registry.example/{MODEL}:1"
    assert mount["name"] == volume["name"] and mount["readOnly"]
    assert str(read_settings({}, environment(container)).model_repository) == f"{mount['mountPath']}/models"


def test_kserve() -> None:
    """The runtime is a valid pod that reads its model where KServe puts it, and the service uses the runtime."""
    runtime, service = yaml.safe_load_all((KSERVE / "model-image.yaml").read_text())
    [container] = runtime["spec"]["containers"]
    pod: Manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "sentiment"}}
    kubernetes_validate.validate(pod | {"spec": {"containers": [container]}}, RELEASES[-1], strict=True)
    assert str(read_settings({}, environment(container)).model_repository) == "/mnt/models"
    model = service["spec"]["predictor"]["model"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["modelFormat"] in runtime["spec"]["supportedModelFormats"]
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]
    assert re.fullmatch(rf"oci://registry\.example/{MODEL}:1", model["storageUri"])


def test_container_of_kserve() -> None:
    """The container equals that of the InferenceService whose image contains the model, except for the repository."""
    runtime, service = yaml.safe_load_all((KSERVE / "model-image.yaml").read_text())
    [ours] = runtime["spec"]["containers"]
    whole = yaml.safe_load((KSERVE / "inferenceservice.yaml").read_text())["spec"]["predictor"]
    [theirs] = whole.pop("containers")
    ours["env"] = [each for each in ours["env"] if each["name"] != "SENTIMENT_MODEL_REPOSITORY"]
    assert ours == theirs
    predictor = service["spec"]["predictor"]
    assert {key: value for key, value in predictor.items() if key != "model"} == whole


def test_link_of_a_modelcar(tmp_path: Path) -> None:
    """The service serves a link to a repository in another process' file system, as in KServe's modelcars."""
    (tmp_path / "models").symlink_to(f"/proc/{os.getpid()}/root{MODEL_REPOSITORY}")
    assert answers(tmp_path / "models")
