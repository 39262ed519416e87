"""Compose accepts docker-compose.yml, and its services are restricted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sentiment_conv1d.service.settings import read_settings
from tests.deploy.kubernetes import IMAGE
from tests.processes import PROJECT
from tests.programs import output

TEXT = (PROJECT / "docker-compose.yml").read_text()
FILE = yaml.safe_load(TEXT)
PROFILES: list[str] = sorted({name for service in FILE["services"].values() for name in service.get("profiles", ())})


def resolved(*profiles: str) -> dict[str, Any]:
    """Return the resolved services of some profiles."""
    flags = [word for name in profiles for word in ("--profile", name)]
    services: dict[str, Any] = yaml.safe_load(output("docker-compose", *flags, "config"))["services"]
    return services


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """Return the services of all profiles."""
    return resolved(*PROFILES)


def test_default() -> None:
    """Without a profile, only the service runs."""
    assert set(resolved()) == {"sentiment"}


@pytest.mark.parametrize("profile", PROFILES)
def test_profiles(profile: str) -> None:
    """Compose accepts every profile, and each adds a service."""
    assert len(resolved(profile)) > 1


def test_documented_commands() -> None:
    """The services that a command at the top of the file starts publish no port twice."""
    commands = re.findall(r"^# docker compose (.*?)\bup\b(.*?)  ", TEXT, re.MULTILINE)
    assert len(commands) == len(PROFILES)  # all but `run`, and one without a profile
    for flags, names in commands:
        config = yaml.safe_load(output("docker-compose", *flags.split(), "config", *names.split()))
        ports = [port["published"] for each in config["services"].values() for port in each.get("ports", ())]
        assert len(ports) == len(set(ports)), names


def test_least_privilege(services: dict[str, Any]) -> None:
    """No container can write to its files, gain privileges or use the whole machine."""
    assert set(services) == set(FILE["services"])
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"]), name


def test_published_ports(services: dict[str, Any]) -> None:
    """All ports are reachable only from this machine."""
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ports and {port["host_ip"] for port in ports} == {"127.0.0.1"}


def test_published_to_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable publishes the services to other machines, and others protect them; the monitoring stays here."""
    given = {"SENTIMENT_API_KEYS": "0123456789abcdef", "SENTIMENT_OPEN_METRICS": "true"}
    for name, value in (given | {"PUBLISH_ADDRESS": "0.0.0.0"}).items():
        monkeypatch.setenv(name, value)
    services = resolved(*PROFILES)
    for name, service in services.items():
        addresses = {port["host_ip"] for port in service.get("ports", ())}
        assert addresses <= {"0.0.0.0" if name.startswith("sentiment") else "127.0.0.1"}, name
    for name in ("sentiment", "sentiment-gpu"):
        assert services[name]["ports"]
        assert services[name]["environment"].items() >= given.items()


def test_settings(services: dict[str, Any]) -> None:
    """The variables are settings, the image is built from the stage for the device, and there is time to drain."""
    for name, target in (("sentiment", "cpu"), ("sentiment-gpu", "cuda")):
        service = services[name]
        # Compose leaves out variables that are null, because this machine does not have them.
        given = {each: value for each, value in service["environment"].items() if value is not None}
        settings = read_settings({}, IMAGE | given)
        assert settings.host == "0.0.0.0"
        assert service["build"]["target"] == target
        assert service["init"]  # otherwise SIGTERM has no effect before the service handles it
        assert {port["target"] for port in service["ports"]} == {settings.port, settings.grpc_port}
        grace = int(re.fullmatch(r"(\d+)s", service["stop_grace_period"])[1])  # type: ignore[index]
        assert grace > settings.drain_delay + settings.shutdown_timeout + 5


def test_gpu(services: dict[str, Any]) -> None:
    """The GPU is reserved and required."""
    [device] = services["sentiment-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["count"], device["capabilities"]) == ("nvidia", 1, ["gpu"])
    assert services["sentiment-gpu"]["environment"]["SENTIMENT_EXECUTION_PROVIDER"] == "cuda"


def test_mounts(services: dict[str, Any]) -> None:
    """Every mounted folder and file exists."""
    mounted = [volume for each in services.values() for volume in each.get("volumes", ())]
    sources = [volume["source"] for volume in mounted if volume.get("read_only")]
    files = [Path(source) for source in sources if source.startswith("/")]
    assert files
    assert [str(file) for file in files if not file.exists()] == []
