"""docs/rollouts.md: its commands work in their order, and its gateway divides and copies traffic."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from sentiment_conv1d.__main__ import main
from sentiment_conv1d.artifact.artifact import copy
from sentiment_conv1d.service.version_labels import parse_labels
from tests.processes import CLASSIC_REPOSITORY, PATIENCE, PROJECT, ServerProcess, eventually, free_port
from tests.programs import find

PAGE = (PROJECT / "docs" / "rollouts.md").read_text()

KEY = "key-of-the-administrator"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


START, LABEL, COMPARE, RELEASES = blocks("sh")

#: Commands with what they print, which is empty if the page does not show it.
COMMANDS = [
    (command, printed.rstrip("\n"))
    for command, _, printed in (each.partition("\n") for each in "".join(blocks("console")).split("$ ")[1:])
]

#: The setting of each step.
SETTINGS = re.findall(r'^\| [^|]+ \| `--version-labels "(.+)"` \|$', PAGE, re.MULTILINE)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Create a repository with version 1 of `imdb-cnn`."""
    return Path(shutil.copytree(CLASSIC_REPOSITORY, tmp_path / "model_repository"))


def publish(repository: Path) -> None:
    """Publish version 2."""
    copy(repository / "imdb-cnn" / "1", repository / "imdb-cnn" / "2")


def flags(command: str) -> list[str]:
    """Return the flags of a `serve` command of the page, without its ports."""
    return shlex.split(re.sub(r"--(grpc-)?port \d+", "", command))[2:]


def shell(script: str) -> str:
    """Run commands of the page, and return their output."""
    environment = os.environ | {"SENTIMENT_ADMIN_KEYS": KEY}
    return subprocess.run(
        ["sh", "-c", script], env=environment, stdout=subprocess.PIPE, text=True, timeout=PATIENCE, check=True
    ).stdout


def test_roll_out(repository: Path) -> None:
    """Every command of the page works and prints the line below it, from the start to the roll-back."""
    find("curl")
    serve = START.splitlines()[-1]
    with ServerProcess(*flags(serve), repository=repository, SENTIMENT_ADMIN_KEYS=KEY) as server:

        def answering() -> str:
            return str(server.client.post("/v1/predict", json={"text": "good"}).json()["model"]["version"])

        publish(repository)
        server.wait_for_log("serving imdb-cnn version=2")
        assert answering() == "1"
        changes = 0
        for command, printed in COMMANDS:
            here = (LABEL + command).replace("localhost:8000", f"127.0.0.1:{server.port}")
            output = shell(here)
            if printed:
                assert output == printed
                assert answering() == str(json.loads(printed)["labels"]["default"])
                changes += 1
            else:
                assert json.loads(output)["model"]["version"] == "2"
        assert (changes, len(COMMANDS)) == (3, 4)


def test_compare(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's `compare` measures both versions."""
    publish(repository)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labelled.csv").write_text("text,label\n" + "a gripping film,positive\na dull film,negative\n" * 10)
    assert main(shlex.split(COMPARE)[1:]) == 0
    assert (tmp_path / "differences.jsonl").read_text() == "", "equal versions give equal labels"


def test_settings() -> None:
    """The settings of the steps have the same labels as the commands."""
    printed = [json.loads(line)["labels"] for _, line in COMMANDS if line]
    assert [parse_labels(text)["imdb-cnn"] for text in SETTINGS] == printed[:2]


@contextmanager
def gateway(stable: ServerProcess, candidate: ServerProcess, folder: Path) -> Iterator[str]:
    """Run nginx with the page's configuration in front of two releases. Returns its address."""
    [configuration] = blocks("nginx")
    port = free_port()
    for old, new in (("127.0.0.1:8000", stable.port), ("127.0.0.1:8010", candidate.port), ("listen 80;", port)):
        assert configuration.count(old) == 1
        configuration = configuration.replace(
            old, f"listen 127.0.0.1:{new};" if "listen" in old else f"127.0.0.1:{new}"
        )
    temporary = "".join(f"{name}_temp_path temp;\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        "daemon off; master_process off; pid nginx.pid; error_log stderr; events {}\n"
        f"http {{ access_log off;\n{temporary}{configuration} }}"
    )
    program = [find("nginx"), "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            eventually(lambda: process.poll() is not None or answers(url))
            if process.poll() is None:
                yield url
            else:
                assert process.stderr is not None
                pytest.fail(process.stderr.read())
        finally:
            process.terminate()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/livez", timeout=PATIENCE, trust_env=False).status_code == 200
    except httpx.ConnectError:
        return False


def logged(folder: Path) -> list[str]:
    """Return the ids of the requests in a log."""
    return [json.loads(line)["request_id"] for path in folder.glob("*") for line in path.read_text().splitlines()]


def test_nginx(repository: Path, tmp_path: Path) -> None:
    """Both releases answer a share of the requests, and the candidate also gets copies, which have the same ids."""
    publish(repository)
    logs = {version: tmp_path / version for version in ("1", "2")}
    by_version = defaultdict(set)
    stable, candidate = (
        ServerProcess(
            *flags(command),
            *("--workers", "1", "--request-log", str(logs[version]), "--request-log-sample", "1"),
            repository=repository,
        )
        for version, command in zip(logs, RELEASES.splitlines(), strict=True)
    )
    with (
        stable,
        candidate,
        gateway(stable, candidate, tmp_path) as url,
        httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False) as client,
    ):
        for _ in range(400):  # the probability of no copy, or of no answer by the candidate, is below 10^-18
            answer = client.post("/v1/predict", json={"text": "A gripping film."}).raise_for_status()
            by_version[answer.json()["model"]["version"]].add(answer.headers["x-request-id"])
    assert 0 < len(by_version["2"]) < len(by_version["1"])
    assert sorted(logged(logs["1"])) == sorted(by_version["1"])
    copies = set(logged(logs["2"])) - by_version["2"]
    assert 0 < len(copies) < len(by_version["1"]) and copies < by_version["1"]


def test_kserve() -> None:
    """The excerpt for KServe sets the field of the documented resource."""
    [excerpt] = blocks("yaml")
    assert yaml.safe_load(excerpt) == {"spec": {"predictor": {"canaryTrafficPercent": 10}}}
