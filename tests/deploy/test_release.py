"""Releases: the workflow, the notes, and the scripts in `.ci` that it runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.processes import PATIENCE, PROJECT, eventually, free_port
from tests.programs import find, output

WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
TEXT = (PROJECT / ".github" / "workflows" / "release.yml").read_text()
RELEASE = yaml.safe_load(TEXT)
JOBS: dict[str, dict[str, Any]] = RELEASE["jobs"]
PAGE = (PROJECT / "docs" / "releasing.md").read_text()
SCRIPTS = [".ci/run", ".ci/image", ".ci/dist", ".ci/push"]

#: The jobs that can change something outside the run, and what they can change.
WRITES = {
    "push-image": {"packages", "id-token", "attestations"},
    "push-chart": {"packages"},
    "attest": {"id-token", "attestations"},
    "upload": {"id-token"},
    "release": {"contents"},
}


@pytest.mark.parametrize("flags", [("actionlint",), ("zizmor", "--offline", "--quiet"), ("shellcheck",)], ids=" ".join)
def test_lint(flags: tuple[str, ...]) -> None:
    """actionlint and zizmor report nothing about the workflows, and shellcheck nothing about the scripts."""
    files = SCRIPTS if flags[0] == "shellcheck" else list(map(str, WORKFLOWS))
    output(*flags, *files)


def test_lint_finds_mistakes(tmp_path: Path) -> None:
    """The linters would report a job that does not exist, and an action without a hash."""
    changed = tmp_path / "release.yml"
    changed.write_text(re.sub(r"@[0-9a-f]{40}", "@v7", TEXT.replace("needs: push-image", "needs: push-images")))
    for name, message in (("actionlint", "push-images"), ("zizmor", "unpinned-uses")):
        flags = ["--offline"] if name == "zizmor" else []
        finished = subprocess.run(
            [find(name), *flags, str(changed)], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert finished.returncode != 0 and message in finished.stdout


def needed_by(job: str) -> set[str]:
    """Return the jobs that must succeed before a job starts."""
    needs = JOBS[job].get("needs", [])
    direct = {needs} if isinstance(needs, str) else set(needs)
    return direct.union(*map(needed_by, direct))


def test_permissions() -> None:
    """Only the jobs that publish can write, each only where it publishes."""
    assert RELEASE["permissions"] == {}
    granted = {
        name: {key for key, value in job["permissions"].items() if value == "write"} for name, job in JOBS.items()
    }
    assert {name: keys for name, keys in granted.items() if keys} == WRITES


def test_nothing_is_published_unless_asked() -> None:
    """Every job that writes needs a run that publishes, and waits for all tests and builds."""
    assert JOBS["push-image"]["if"] == "needs.check.outputs.publish == 'true'"
    assert needed_by("push-image") == {"check", "test", "dist", "image", "chart"}
    for name in WRITES.keys() - {"push-image"}:
        assert "push-image" in needed_by(name) and "if" not in JOBS[name]


def test_scripts() -> None:
    """Every script that the workflow names exists."""
    named = set(re.findall(r"\.ci/\w+(?:\.py)?", TEXT))
    assert named == {".ci/release_notes.py", ".ci/dist", ".ci/image", ".ci/push"}
    assert all((PROJECT / name).is_file() for name in named)


def test_names() -> None:
    """docs/releasing.md names every variable, secret and environment that the workflow needs."""
    needed = set(re.findall(r"\b(?:vars|secrets)\.(\w+)", TEXT))
    needed |= {job["environment"] for job in JOBS.values() if "environment" in job}
    assert needed == {"REGISTRY", "REGISTRY_USER", "REGISTRY_TOKEN", "package-index"}
    section = PAGE.split("## Before the first release")[1].split("\n## ")[0]
    assert [name for name in needed if f"`{name}`" not in section] == []


def test_first_container() -> None:
    """The documented `docker run` names the image that the workflow pushes, and publishes the ports that it exposes."""
    [line] = re.findall(r"^docker run (.*)$", PAGE, re.MULTILINE)
    *flags, image = shlex.split(line)
    [name] = re.findall(r"name=\$\{(REGISTRY):-.+?\}(/[\w-]+)\"", TEXT)
    assert image == f"{''.join(name)}:VERSION"
    [ports] = re.findall(r"^EXPOSE (.*)$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    assert flags == [word for port in ports.split() for word in ("--publish", f"{port}:{port}")]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder with a version and a changelog."""
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## Unreleased\n\n- Later.\n\n"
        "## 1.2.0 (2026-12-01)\n\n### Added\n\n- A [page](docs/a.md#b), a [site](https://a.example) and [this](#x).\n\n"
        "## 1.1.0 (2026-11-01)\n\n- Earlier.\n"
    )
    return tmp_path


def notes(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROJECT / ".ci" / "release_notes.py"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_notes(project: Path) -> None:
    """The notes are the entry of the version, with links that work outside the repository."""
    printed = notes(project, "v1.2.0", "--files", "https://host.example/blob/1/")
    assert printed.stdout == (
        "### Added\n\n"
        "- A [page](https://host.example/blob/1/docs/a.md#b), a [site](https://a.example) and [this](#x).\n"
    )
    assert notes(project, "--version").stdout == "1.2.0\n"


@pytest.mark.parametrize(
    ("tag", "changelog", "message"),
    [
        ("v1.2.1", None, "the tag v1.2.1 is not v1.2.0, the version in pyproject.toml"),
        ("1.2.0", None, "the tag 1.2.0 is not v1.2.0"),
        ("v1.2.0", "## Unreleased\n\n- New.\n", "CHANGELOG.md has no entry such as '## 1.2.0 "),
        ("v1.2.0", "## 1.2.0\n\n- No date.\n", "CHANGELOG.md has no entry"),
        ("v1.2.0", "## 1.2.0 (2026-12-01)\n\n## 1.1.0 (2026-11-01)\n\n- Earlier.\n", "CHANGELOG.md has no entry"),
    ],
)
def test_wrong_release(project: Path, tag: str, changelog: str | None, message: str) -> None:
    """A tag that is not the version, or a version without an entry in the changelog, is an error of one line."""
    if changelog is not None:
        (project / "CHANGELOG.md").write_text(changelog)
    finished = notes(project, tag)
    assert (finished.returncode, finished.stdout) == (1, "")
    [line] = finished.stderr.splitlines()
    assert line.startswith(f"error: {message}")


@pytest.mark.parametrize("flags", [(), ("--version",)], ids=["notes", "version"])
def test_outside_the_project(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """In another folder, one line says where to run it."""
    finished = notes(tmp_path, *flags)
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr == (
        "error: pyproject.toml cannot be read (No such file or directory): run this in the folder of the project\n"
    )


def test_changelog() -> None:
    """The changelog has an entry for the next release, from which the notes are made when it gets a date."""
    assert "\n## Unreleased\n" in (PROJECT / "CHANGELOG.md").read_text()


def test_chart(tmp_path: Path) -> None:
    """`make chart` writes a chart that installs the image of the release."""
    arguments = [
        f"BIN={Path(find('helm')).parent}",
        f"BUILD={tmp_path}",
        "IMAGE=registry.example/team/sentiment-conv1d",
    ]
    output("make", "--assume-old", find("helm"), "chart", *arguments)
    [packaged] = (tmp_path / "chart").glob("*.tgz")
    version = notes(PROJECT, "--version").stdout.strip()
    assert packaged.name == f"sentiment-conv1d-{version}.tgz"
    rendered = output("helm", "template", str(packaged))
    assert f'image: "registry.example/team/sentiment-conv1d:{version}"' in rendered


def answers(url: str) -> bool:
    """Return whether a server answers."""
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """Start a registry and return its address."""
    address = f"127.0.0.1:{free_port()}"
    configuration = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "registry")}},
        "http": {"addr": address},
    }
    (tmp_path / "registry.yml").write_text(json.dumps(configuration))
    command = [find("docker-registry"), "serve", str(tmp_path / "registry.yml")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: answers(f"http://{address}/v2/"))
            yield address
        finally:
            process.terminate()


def image_archive(folder: Path, architecture: str) -> Path:
    """Write an image for a processor as `docker save` does."""
    (folder / architecture).mkdir()
    (folder / architecture / "Dockerfile").write_text(
        f'FROM scratch\nLABEL of="{architecture}"\nHEALTHCHECK CMD ["probe"]\n'
    )
    name, archive = f"localhost/release-test-{architecture}", folder / f"{architecture}.tar"
    output(
        "buildah",
        "build",
        "--quiet",
        "--format",
        "docker",
        "--arch",
        architecture,
        "--tag",
        name,
        str(folder / architecture),
    )
    output("buildah", "push", "--quiet", name, f"docker-archive:{archive}")
    output("buildah", "rmi", name)
    return archive


def test_push(registry: str, tmp_path: Path) -> None:
    """`.ci/push` pushes the images of both processors under one name, and prints the digest that the registry has.

    The images keep their health checks.
    """
    if os.environ.get("CI") and shutil.which("buildah") is None:
        pytest.skip("the containers of continuous integration have no buildah")
    archives = [str(image_archive(tmp_path, architecture)) for architecture in ("amd64", "arm64")]
    finished = subprocess.run(
        ["bash", ".ci/push", f"{registry}/team/sentiment-conv1d:1.2.0", *archives],
        cwd=PROJECT,
        env=os.environ | {"FLAGS": "--tls-verify=false"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    kinds = [f"application/vnd.docker.distribution.manifest.{kind}+json" for kind in ("list.v2", "v2")]
    with httpx.Client(base_url=f"http://{registry}/v2/team/sentiment-conv1d", timeout=PATIENCE) as client:
        index = client.get("/manifests/1.2.0", headers={"accept": kinds[0]})
        assert index.headers["docker-content-digest"] == finished.stdout
        listed = index.json()["manifests"]
        assert {each["platform"]["architecture"] for each in listed} == {"amd64", "arm64"}
        manifest = client.get(f"/manifests/{listed[0]['digest']}", headers={"accept": kinds[1]}).json()
        configuration = client.get(f"/blobs/{manifest['config']['digest']}").json()["config"]
    assert configuration["Healthcheck"]["Test"] == ["CMD", "probe"]


def test_push_without_an_image() -> None:
    """`.ci/push` fails if no archive is named, because the release would have no image."""
    finished = subprocess.run(
        ["bash", ".ci/push", "registry.example/none:1.2.0"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.endswith("usage: .ci/push NAME:TAG ARCHIVE...\n")
