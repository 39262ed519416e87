"""Load tests of a service with TLS: they trust only known authorities, and measure everything as without TLS."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadtest.traffic.requests import FORMS
from tests.loadtest.test_locustfile import page_of, start
from tests.processes import ServerProcess, run
from tests.service.certificates import Authority, authority, secure

__all__ = ["authority", "secure"]


def addresses(server: ServerProcess) -> tuple[str, ...]:
    return "--url", f"https://localhost:{server.port}", "--grpc-url", f"grpcs://127.0.0.1:{server.grpc_port}"


def test_every_protocol(secure: ServerProcess, authority: Authority, tmp_path: Path) -> None:
    """With the authority's certificate, every protocol is measured in both loops, and nothing fails."""
    flags = ("--smoke", "--batch", "4", "--ca", str(authority.certificate), "--out", str(tmp_path))
    finished = run("-m", "loadtest", *addresses(secure), *flags)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    document = json.loads((tmp_path / "report.json").read_text())
    assert [step["traffic"] for step in document["protocols"]] == list(FORMS)
    assert document["left_out"] == {}
    for step in (*document["closed"], *document["open"], *document["protocols"]):
        assert step["answered"] == step["requests"] > 0, step["title"]
    assert document["workers"] == 1, "metrics are read over TLS as well"


@pytest.mark.parametrize("traffic", ["rest", "grpc"])
@pytest.mark.parametrize("trusted", ["nobody", "another"])
def test_unknown_authority(secure: ServerProcess, tmp_path: Path, traffic: str, trusted: str) -> None:
    """A certificate that is not trusted exits with status 2 and one line."""
    flags = ("--ca", str(Authority(tmp_path, "another").certificate)) if trusted == "another" else ()
    finished = run("-m", "loadtest", *addresses(secure), "--traffic", traffic, "--out", str(tmp_path), *flags)
    assert finished.returncode == 2
    address = f"localhost:{secure.port}" if traffic == "rest" else f"127.0.0.1:{secure.grpc_port}"
    reason = f"error: the certificate of {address} is not trusted (--ca): unable to get local issuer certificate\n"
    assert finished.stderr == reason


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_invalid_authority_file(secure: ServerProcess, tmp_path: Path, content: str | None) -> None:
    """A certificate file that is missing or contains no certificate exits with status 2 and one line."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    finished = run("-m", "loadtest", *addresses(secure), "--ca", str(file), "--out", str(tmp_path))
    assert finished.returncode == 2
    reason = f"cannot read certificates from {file}: No such file or directory"
    assert finished.stderr == f"error: {f'{file} contains no PEM certificates' if content else reason}\n"


@pytest.mark.parametrize("known", [True, False])
def test_locust(secure: ServerProcess, authority: Authority, known: bool) -> None:
    """Locust's users trust only the given authority, over REST and gRPC."""
    host, grpc_host = f"https://localhost:{secure.port}", f"grpcs://127.0.0.1:{secure.grpc_port}"
    with page_of(host, grpc_host, *(("--ca", str(authority.certificate)) if known else ())) as page:
        chosen = {"user_count": "2", "spawn_rate": "2"}
        found = start(page, host, chosen, {"OpenInferenceRestUser": "oip-rest", "OpenInferenceGrpcUser": "oip-grpc"})
    assert {row["num_failures"] / row["num_requests"] for row in found["stats"]} == {0.0 if known else 1.0}
    assert all("CERTIFICATE_VERIFY_FAILED" in failure["error"] for failure in found["errors"])
