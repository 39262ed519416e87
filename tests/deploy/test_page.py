"""docs/deployment.md: its paths exist and its commands work."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
import yaml

from sentiment_conv1d.service.settings import Settings
from tests.deploy.prometheus import MONITORING
from tests.processes import PROJECT

PAGE = (PROJECT / "docs" / "deployment.md").read_text()
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.replace("\\\n", "").splitlines()
    if line.startswith(("docker ", "kubectl "))
]


def commands(*beginning: str) -> list[list[str]]:
    """Return the arguments of every command of the page with this beginning. There must be at least one."""
    found = [words[len(beginning) :] for words in COMMANDS if tuple(words[: len(beginning)]) == beginning]
    assert found
    return found


def test_files_exist() -> None:
    """Every path in the page exists in the project."""
    paths = set(re.findall(r"\bdeploy/[\w./-]*\w", PAGE))
    assert len(paths) > 5
    assert [path for path in paths if not (PROJECT / path).exists()] == []
    named = re.findall(r"^\| `([\w./]+)` \| ", PAGE.split("## Monitoring")[1], re.MULTILINE)
    assert [name for name in named if not (MONITORING / name).exists()] == []


def test_images() -> None:
    """Every built image is a stage of the Dockerfile, which declares the build arguments."""
    dockerfile = (PROJECT / "Dockerfile").read_text()
    for words in commands("docker", "build"):
        if "--target" in words:
            assert f" AS {words[words.index('--target') + 1]}\n" in dockerfile
    for argument in ("PYTHON_IMAGE", "VERSION", "REVISION"):
        assert f"ARG {argument}=" in dockerfile and argument in PAGE


def test_time_to_stop() -> None:
    """The stop timeout of a container is longer than the service's shutdown."""
    [words] = commands("docker", "run")
    settings = Settings()
    assert int(words[words.index("--stop-timeout") + 1]) > settings.drain_delay + settings.shutdown_timeout + 5
    assert f"({settings.shutdown_timeout} s)" in PAGE


def test_compose() -> None:
    """docker-compose.yml defines every profile and service."""
    services = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]
    profiles = {profile for service in services.values() for profile in service.get("profiles", ())}
    for words in commands("docker", "compose"):
        assert {words[place + 1] for place, word in enumerate(words) if word == "--profile"} <= profiles
        assert set(words[words.index("up") + 1 :] if "up" in words else words[1:2]) <= set(services)


@pytest.mark.parametrize("form", ["recording", "alerts"])
def test_rules_for_the_operator(form: str) -> None:
    """The page pipes exactly the rules to kubectl."""
    [script] = re.findall(r"^```sh\n(for rules in .*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    finished = subprocess.run(
        ["sh", "-c", script.replace("| kubectl apply --namespace sentiment -f -", "")],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    objects = {each["metadata"]["name"]: each for each in yaml.safe_load_all(finished.stdout) if each}
    rules = yaml.safe_load((MONITORING / "rules" / f"{form}.yml").read_text())
    assert objects[f"sentiment-{form}"]["kind"] == "PrometheusRule"
    assert objects[f"sentiment-{form}"]["spec"] == rules
