"""A model name is never used as a path, so no name leads out of the model repository."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.protos import inference_pb2 as pb
from sentiment_conv1d.stubs import GRPCInferenceServiceStub
from tests.processes import ServerProcess
from tests.service.artifacts import publish_table
from tests.service.grpc.channels import connect, refused
from tests.service.rest.raw import Connection, request


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a valid model in a folder beside the repository."""
    folder = tmp_path_factory.mktemp("outside")
    publish_table(folder, name="secret")
    return folder


@pytest.fixture(scope="module")
def server_beside(outside: Path) -> Iterator[ServerProcess]:
    """Serve a repository in the same folder."""
    publish_table(outside / "repository")
    with ServerProcess("--workers", "1", "--admin", "open", repository=outside / "repository") as server:
        yield server


def names(outside: Path) -> list[str]:
    """Return names that would lead to the outside model as paths."""
    secret = outside / "secret"
    return [
        "../secret",
        "..\\secret",
        "./../secret",
        "tickets/../../secret",
        "tickets/1/../../../secret",
        str(secret),
        f"//{secret}",
        f"file://{secret}",
        "../secret/1",
        "..",
        ".",
        "../secret\x00",
        "..%2fsecret",
        "%2e%2e/secret",
        "~/secret",
    ]


@pytest.mark.usefixtures("server_beside")
def test_paths_lead_outside(outside: Path) -> None:
    """The first name leads to a model if it is used as a path, so the tests would notice."""
    assert (outside / "repository" / names(outside)[0] / "1" / "manifest.json").is_file()


def test_rest(server_beside: ServerProcess, outside: Path) -> None:
    """No name over REST, with any quoting, loads or shows a model outside the repository."""
    for name in names(outside):
        for quoted in (name, urllib.parse.quote(name, safe=""), urllib.parse.quote(urllib.parse.quote(name, safe=""))):
            for method, path in (
                ("POST", f"/v2/repository/models/{quoted}/load"),
                ("POST", f"/v2/repository/models/{quoted}/unload"),
                ("POST", f"/v2/repository/models/{quoted}/routing"),
                ("GET", f"/v2/models/{quoted}"),
                ("GET", f"/v1/models/{quoted}"),
                ("GET", f"/v2/models/tickets/versions/{quoted}"),
                ("POST", f"/v1/models/{quoted}:predict"),
            ):
                with Connection(server_beside.port) as connection:
                    connection.send(request(path, "Content-Length: 2", method=method).replace(b"\x00", b"%00") + b"{}")
                    answer = connection.answer()
                assert answer.status in (400, 404, 405, 422), (method, path, answer)
                assert b"manifest" not in answer.body
    assert {each["name"] for each in server_beside.client.get("/v1/models").json()["models"]} == {"tickets"}


def test_grpc(server_beside: ServerProcess, outside: Path) -> None:
    """No name over gRPC loads or shows a model outside the repository."""
    with connect(server_beside) as channel:
        stub: Any = GRPCInferenceServiceStub(channel)
        for name in names(outside):
            for call in (
                lambda name=name: stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=name)),
                lambda name=name: stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name=name)),
                lambda name=name: stub.ModelMetadata(pb.ModelMetadataRequest(name=name)),
                lambda name=name: stub.ModelMetadata(pb.ModelMetadataRequest(name="tickets", version=name)),
                lambda name=name: stub.ModelInfer(pb.ModelInferRequest(model_name=name)),
            ):
                assert refused(call).code is grpc.StatusCode.NOT_FOUND
        assert [each.name for each in stub.RepositoryIndex(pb.RepositoryIndexRequest()).models] == ["tickets"]


@given(st.text(alphabet=st.sampled_from("./\\~%2ef:secret\x00 "), min_size=1, max_size=30))
def test_any_name(server_beside: ServerProcess, name: str) -> None:
    """No arbitrary name loads or shows a model outside the repository."""
    path = urllib.parse.quote(name, safe="")
    assert server_beside.client.post(f"/v2/repository/models/{path}/load").status_code in (400, 404, 405)
