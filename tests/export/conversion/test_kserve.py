"""KServe's own downloader fetches what `convert --to kserve` writes. No test runs a cluster."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sentiment_conv1d.__main__ import main
from sentiment_conv1d.export.conversion.kserve import service_name
from sentiment_conv1d.model.artifact import read_artifact
from sentiment_conv1d.service.models.repository import Repository
from sentiment_conv1d.service.version_policy import VersionPolicy
from tests.processes import PATIENCE, environment
from tests.programs import needed
from tests.service.artifacts import publish_strength
from tests.stores import Bucket

PYTHON = Path(sys.prefix) / "kserve" / "bin" / "python"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Convert an artifact."""
    artifact = publish_strength(tmp_path / "source", 1, name="my_tickets.2").path
    assert main(["convert", str(artifact), "--to", "kserve", "--out", str(tmp_path / "out")]) == 0
    return tmp_path / "out"


def manifests(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the ServingRuntime and the InferenceService."""
    runtime, service = yaml.safe_load_all((folder / "inferenceservice.yaml").read_text())
    return runtime, service


def test_download(folder: Path, tmp_path: Path) -> None:
    """What `push` uploads and KServe downloads into the folder of the container is the model repository."""
    needed(PYTHON)
    target = tmp_path / "mnt" / "models"
    with Bucket() as store:
        assert store.run("push", str(folder / "models" / "my_tickets.2" / "1"), store.url).returncode == 0
        program = "import sys; from kserve_storage import Storage; Storage.download(*sys.argv[1:])"
        finished = subprocess.run(
            [str(PYTHON), "-c", program, store.url, str(target)],
            cwd=tmp_path,
            env=environment(**store.variables),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert finished.returncode == 0, finished.stderr
    repository = Repository(target, VersionPolicy(""))
    assert {name: set(versions) for name, versions in repository.scan().items()} == {"my_tickets.2": {1}}
    pushed = read_artifact(folder / "models" / "my_tickets.2" / "1")
    assert repository.read("my_tickets.2", 1).contents == pushed.contents


def test_manifests(folder: Path) -> None:
    """The model is the default one, and uses the runtime."""
    runtime, service = manifests(folder)
    assert service["metadata"]["name"] == "model-my-tickets-2"
    model = service["spec"]["predictor"]["model"]
    assert model["env"] == [{"name": "SENTIMENT_DEFAULT_MODEL", "value": "my_tickets.2"}]
    assert model["storageUri"] == "s3://BUCKET/models"
    assert model["runtime"] == runtime["metadata"]["name"]


@pytest.mark.parametrize("model", ["7", "a" * 64, "reviews", "a.b_c-d", f"{'a' * 33}-b"])
def test_names(model: str) -> None:
    """The name of the InferenceService is a label of DNS that begins with a letter."""
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", service_name(model))
    assert len(service_name(model)) <= 40
