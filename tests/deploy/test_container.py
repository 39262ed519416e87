"""The Dockerfile builds two images with only what the service needs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pins import pinned
from tests.processes import MODEL_REPOSITORY, PATIENCE, PROJECT, ServerProcess
from tests.programs import output

DOCKERFILE = (PROJECT / "Dockerfile").read_text().replace("\\\n", " ")

#: The instructions of every stage, by name.
STAGES: dict[str, list[str]] = {
    name: body.splitlines()
    for name, body in re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
}


def instruction(stage: str, name: str) -> str:
    """Return the argument of a stage's only instruction of that name."""
    [line] = [line for line in STAGES[stage] if line.startswith(f"{name} ")]
    return line.removeprefix(f"{name} ")


def test_lint() -> None:
    """hadolint reports nothing."""
    assert output("hadolint", "Dockerfile") == ""


def test_targets() -> None:
    """The last stage, which is built by default, is the one for the processor; both begin with the same runtime."""
    assert list(STAGES)[-1] == "cpu"
    assert {"cpu", "cuda"} <= set(re.findall(r"^FROM runtime AS (\w+)$", DOCKERFILE, re.MULTILINE))
    assert "ARG PYTHON_IMAGE=python:3.13-slim" in DOCKERFILE


def test_signals_reach_the_service() -> None:
    """The service gets SIGTERM without a shell in between, and starts with `serve` or without arguments."""
    assert json.loads(instruction("runtime", "ENTRYPOINT")) == ["python", "-m", "service"]
    assert json.loads(instruction("runtime", "CMD")) == ["serve"]
    assert re.search(r'CMD \["python", "-m", "service.process.probe"\]$', instruction("runtime", "HEALTHCHECK"))


def test_callers_outside_the_container() -> None:
    """The service listens on all addresses of its container, however it is started."""
    assert "SENTIMENT_HOST=0.0.0.0" in instruction("runtime", "ENV").split()


def test_user() -> None:
    """The user is a fixed number other than root."""
    assert instruction("runtime", "USER") == "10001:10001"


@pytest.mark.parametrize("stage", ["runtime", "cuda", "cpu"])
def test_images_only_copy(stage: str) -> None:
    """The images only copy what other stages made."""
    assert not [line for line in STAGES[stage] if line.startswith(("RUN", "ADD"))]


@pytest.mark.parametrize(
    ("stage", "pins"),
    [("cpu-packages", "runtime.txt"), ("cuda-packages", "cuda.txt"), ("loadtest-packages", "loadtest.txt")],
)
def test_packages_are_pinned(stage: str, pins: str) -> None:
    """Packages are installed with their hashes checked, and nothing is compiled."""
    assert instruction(stage, "COPY") == f"requirements/{pins} /tmp/"
    assert f"install --requirement /tmp/{pins} " in instruction(stage, "RUN")
    assert {"PIP_REQUIRE_HASHES=1", "PIP_ONLY_BINARY=:all:"} <= set(instruction("environment", "ENV").split())


@pytest.mark.parametrize("pins", ["runtime.txt", "cuda.txt"])
def test_no_other_packages(pins: str) -> None:
    """No image contains packages that only training, tests or clients need."""
    others = r"^(?:tensorflow|keras|pytest|grpcio|prometheus-client|locust)\b.*"
    assert not re.findall(others, (PROJECT / "requirements" / pins).read_text(), re.M)


@pytest.mark.parametrize("pins", ["runtime.txt", "cuda.txt"])
def test_tracing(pins: str) -> None:
    """The images contain the packages that tracing needs."""
    assert {"opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"} <= dict(pinned(pins)).keys()


def test_packages_of_the_load_test() -> None:
    """The image of the load test has the packages of the service, in the same versions, and Locust."""
    loadtest = pinned("loadtest.txt")
    assert {"grpcio", "jinja2", "locust", "prometheus-client", "psutil"} <= {name for name, _ in loadtest}
    assert pinned("runtime.txt") < loadtest < pinned("dev.txt")


def test_threads_of_the_load_test() -> None:
    """OpenBLAS starts no threads: on a host with many processors, they would exceed the 64 that Compose allows."""
    assert "OPENBLAS_NUM_THREADS=1" in instruction("loadtest", "ENV").split()


def test_contents(tmp_path: Path) -> None:
    """The service runs with only the files of the images, which contain no code for training."""
    copied = re.findall(r"^COPY (?!--from)(\S+) ", "\n".join(STAGES["code"]), re.MULTILINE)
    for name in copied:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path)
    prefix = f"env --chdir={tmp_path} PYTHONDONTWRITEBYTECODE=1"
    with ServerProcess("--workers", "1", repository=tmp_path / MODEL_REPOSITORY.name, prefix=prefix) as server:
        body = {"text": "A gripping, beautifully acted film.", "model": "imdb-cnn"}
        assert server.client.post("/v1/predict", json=body).json()["label"] == "positive"
    train = [
        "env",
        f"--chdir={tmp_path}",
        "PYTHONDONTWRITEBYTECODE=1",
        sys.executable,
        "-m",
        "sentiment_conv1d",
        "train",
    ]
    finished = subprocess.run(train, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr == "sentiment-conv1d: this image does not contain `train`: run it in a checkout\n"
    assert not list(tmp_path.rglob("__pycache__"))


def test_build_context() -> None:
    """The build context contains exactly what the stages copy."""
    dockerfiles = DOCKERFILE + (PROJECT / "deploy" / "ray" / "Dockerfile").read_text()
    sources = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfiles, re.MULTILINE)
    copied = [f"{source}/" for each in sources for source in each.split()]
    allowed = [f"{each}/" for each in re.findall(r"^!(.*)$", (PROJECT / ".dockerignore").read_text(), re.MULTILINE)]
    assert all(source.startswith(tuple(allowed)) for source in copied)
    assert all(any(source.startswith(each) for source in copied) for each in allowed)


@pytest.mark.parametrize("name", ["Dockerfile", "deploy/ray/Dockerfile"])
def test_terms_of_the_models(name: str) -> None:
    """A label of each image states the terms of the training texts, and names NOTICE, which the image contains."""
    dockerfile = (PROJECT / name).read_text()
    [terms] = re.findall(r'training-texts="([^"]+)"', dockerfile)
    assert all(each in terms for each in ("reviews", "accurate", "research", "commercial", "NOTICE"))
    assert re.search(r"^COPY .*\bNOTICE\b", dockerfile, re.MULTILINE)


def test_pinned_images(tmp_path: Path) -> None:
    """`make pin-images` adds the digests of all images of others, replaces older ones, and stops if Docker fails."""
    files = ("Makefile", "Dockerfile", "deploy/ray/Dockerfile", "docker-compose.yml")
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, tmp_path / name)
    docker = tmp_path / "docker"
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def pin(script: str) -> str:
        docker.write_text(f"#!/bin/sh\n{script}\n")
        docker.chmod(0o755)
        subprocess.run(["make", "pin-images"], cwd=tmp_path, env=environment, capture_output=True, check=True)
        return "".join((tmp_path / name).read_text() for name in files[1:])

    pin("echo sha256:old")
    lines = re.findall(
        r"^(?:ARG PYTHON_IMAGE=| +image: )(.*)", pin('echo "sha256:$(printf %s "$6" | wc -c)"'), re.MULTILINE
    )
    theirs = [line for line in lines if not line.startswith("sentiment-conv1d")]
    assert len(theirs) == 5 and theirs[:2] == ["python:3.13-slim@sha256:16"] * 2
    assert all(re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:\d+", line) for line in theirs)
    assert not any("@" in line for line in set(lines) - set(theirs))
    with pytest.raises(subprocess.CalledProcessError):
        pin("exit 1")
