"""The Open Inference Protocol over gRPC, called with the messages of Triton's client."""

from __future__ import annotations

import itertools
import queue
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import hpack
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from tests.attacks.wire import REPOSITORY_INDEX, block, data, headers, streams
from tests.processes import PATIENCE, ServerProcess
from tests.service.artifacts import publish_table
from tests.service.grpc import wire
from tests.service.grpc.channels import connect
from tests.service.grpc.raw import Caller
from tests.service.protocols.oip.bodies import pack
from tests.service.protocols.oip.forms import TEXTS
from tests.service.protocols.oip.messages import elements, refused, request, tensor, text_request


@pytest.fixture
def tickets(repository: Path) -> Iterator[Any]:
    """Return a stub for a server with that repository."""
    flags = ("--watch-interval", "0", "--admin", "open")
    with ServerProcess(*flags, repository=repository) as process, connect(process) as channel:
        yield GRPCInferenceServiceStub(channel)


def parameter(value: bool | int | str | float) -> Any:
    """Build a parameter of the type that fits the value."""
    kinds = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}
    return pb.InferParameter(**{kinds[type(value)]: value})


def test_answer(oip: Any) -> None:
    """An answer states the model, its version and the id of the request. Empty names mean the defaults."""
    for fields in ({"model": ""}, {"model_version": "1"}, {"id": "é" * 1000}):
        response = oip.ModelInfer(text_request("x", **fields))
        assert (response.model_name, response.model_version) == ("imdb-cnn", "1")
        assert response.id == fields.get("id", "")


def test_other_parameters_are_ignored(oip: Any) -> None:
    """Unknown parameters have no effect, at every place of a request."""
    message = text_request(*TEXTS)
    expected = elements(oip.ModelInfer(message))
    given: dict[str, Any] = {"triton_enable_empty_final_response": True, "sequence_id": 7, "x": "y", "z": 0.5}
    for name, value in given.items():
        message.parameters[name].CopyFrom(parameter(value))
        message.inputs[0].parameters[name].CopyFrom(parameter(value))
    assert elements(oip.ModelInfer(message)) == expected


def test_timeout(oip: Any) -> None:
    """`timeout` is in microseconds: if it passes before the end, the deadline is exceeded."""
    many = text_request(*["word " * 400] * 1024)
    many.parameters["timeout"].CopyFrom(parameter(1))
    status, message = refused(oip.ModelInfer, many)
    assert (status, message) == ("DEADLINE_EXCEEDED", "no answer within 1e-06 s")
    for value in (60_000_000, 2**63 - 1, 0):
        many.parameters["timeout"].CopyFrom(parameter(value))
        assert len(elements(oip.ModelInfer(many))["label"]) == 1024
    many.parameters["timeout"].CopyFrom(pb.InferParameter(uint64_param=2**64 - 1))
    assert len(elements(oip.ModelInfer(many))["label"]) == 1024


@pytest.mark.parametrize("value", [-1, -(2**63), True, "1", 1.0])
def test_invalid_timeouts(oip: Any, value: Any) -> None:
    """A `timeout` that is negative or not an integer is refused."""
    status, message = refused(oip.ModelInfer, text_request("x", parameters={"timeout": parameter(value)}))
    assert (status, message) == ("INVALID_ARGUMENT", "parameter 'timeout' must be a whole number, not negative")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (request(raw=[b""]), "1 raw_input_contents for 0 inputs"),
        (request(tensor(), raw=[pack("x"), b""]), "2 raw_input_contents for 1 inputs"),
        (request(tensor(), tensor("tokens", [1, 1], "INT32"), raw=[pack("x")]), "1 raw_input_contents for 2 inputs"),
        (request(tensor(bytes_contents=[b"x"]), raw=[pack("x")]), "must not be mixed"),
        (
            request(tensor(), tensor("tokens", [1, 1], "INT32", int_contents=[1]), raw=[pack("x"), b"1234"]),
            "must not be mixed",
        ),
        (request(tensor(bytes_contents=[b"\xff"])), "element 0 is not UTF-8"),
        (request(tensor(int_contents=[1])), "int_contents does not go with datatype BYTES"),
        (request(tensor(bytes_contents=[b"x"], fp32_contents=[1])), "fp32_contents does not go with datatype BYTES"),
        (request(tensor("tokens", [1, 1], "INT32", int64_contents=[1])), "int64_contents does not go with"),
        (request(tensor("tokens", [1, 1], "INT64", int64_contents=[1])), "int64_contents does not go with"),
        (text_request(*["x"] * 1025), "1025 texts in one request"),
        (text_request("x" * 1_000_001), "1000001 characters"),
        (request(tensor("tokens", [10**6, 1], "INT32"), raw=[bytes(4 * 10**6)]), "1000000 texts in one request"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused(oip: Any, message: Any, reason: str) -> None:
    """An invalid infer request is INVALID_ARGUMENT with a short reason, and the next request is answered."""
    status, text = refused(oip.ModelInfer, message)
    assert (status, reason in text) == ("INVALID_ARGUMENT", True), text
    assert oip.ModelInfer(text_request("x")).outputs


def test_unknown_model(oip: Any) -> None:
    """Every method that names a model returns NOT_FOUND for a model or version that is not loaded."""
    unknown = "there is no model 'other'; loaded: accurate, imdb-cnn, imdb-cnn-8bit, reviews"
    version = "version '2' of model 'imdb-cnn' is not loaded; loaded: 1"
    for method, kind in (
        (oip.ModelMetadata, pb.ModelMetadataRequest),
        (oip.ModelConfig, pb.ModelConfigRequest),
        (oip.ModelStatistics, pb.ModelStatisticsRequest),
    ):
        assert refused(method, kind(name="other")) == ("NOT_FOUND", unknown)
        assert refused(method, kind(name="imdb-cnn", version="2")) == ("NOT_FOUND", version)
    assert refused(oip.ModelInfer, text_request("x", model="other")) == ("NOT_FOUND", unknown)
    assert refused(oip.ModelInfer, text_request("x", model_version="2")) == ("NOT_FOUND", version)
    for name in ("x" * 100_000, "😀" * 100_000, "\n\0\r"):
        assert refused(oip.ModelInfer, text_request("x", model=name))[0] == "NOT_FOUND"
    for method, kind in (
        (oip.RepositoryModelLoad, pb.RepositoryModelLoadRequest),
        (oip.RepositoryModelUnload, pb.RepositoryModelUnloadRequest),
    ):
        assert refused(method, kind(model_name="other"))[0] == "NOT_FOUND"
        assert refused(method, kind(model_name="../other"))[0] == "NOT_FOUND"


def test_unimplemented_methods(oip: Any) -> None:
    """Methods that the service does not implement are UNIMPLEMENTED."""
    for method, message in (
        (oip.SystemSharedMemoryStatus, pb.SystemSharedMemoryStatusRequest()),
        (oip.TraceSetting, pb.TraceSettingRequest()),
        (oip.LogSettings, pb.LogSettingsRequest()),
    ):
        assert refused(method, message)[0] == "UNIMPLEMENTED"


def test_health(oip: Any) -> None:
    """The server and the model are ready, and other models are not."""
    assert oip.ServerLive(pb.ServerLiveRequest()).live
    assert oip.ServerReady(pb.ServerReadyRequest()).ready
    for name, version, ready in (
        ("imdb-cnn", "", True),
        ("imdb-cnn", "1", True),
        ("", "", True),
        ("imdb-cnn", "2", False),
        ("other", "", False),
    ):
        assert oip.ModelReady(pb.ModelReadyRequest(name=name, version=version)).ready is ready


def test_metadata(server: ServerProcess, oip: Any) -> None:
    """The metadata of the server and the model equal those of REST."""
    document = server.client.get("/v2").json()
    metadata = oip.ServerMetadata(pb.ServerMetadataRequest())
    assert {"name": metadata.name, "version": metadata.version, "extensions": list(metadata.extensions)} == document
    document = server.client.get("/v2/models/imdb-cnn").json()
    model = oip.ModelMetadata(pb.ModelMetadataRequest(name="imdb-cnn", version="1"))
    assert (model.name, list(model.versions), model.platform) == ("imdb-cnn", ["1"], "onnx_onnxv1")
    for one, other in ((model.inputs, document["inputs"]), (model.outputs, document["outputs"])):
        assert [{"name": each.name, "datatype": each.datatype, "shape": list(each.shape)} for each in one] == other


def test_configuration(oip: Any) -> None:
    """The configuration has the batch size and the types and dims of the tensors, in Triton's own message."""
    config = oip.ModelConfig(pb.ModelConfigRequest(name="imdb-cnn")).config
    assert (config.name, config.platform, config.backend) == ("imdb-cnn", "onnx_onnxv1", "onnxruntime")
    assert config.max_batch_size == 1024
    inputs = [(each.name, each.data_type, list(each.dims), each.optional) for each in config.input]
    assert inputs == [("text", 13, [1], True), ("tokens", 8, [400], True)]
    outputs = [(each.name, each.data_type, list(each.dims)) for each in config.output]
    assert outputs == [("label", 13, [1]), ("score", 11, [1]), ("probabilities", 11, [2])]


def test_statistics(oip: Any) -> None:
    """Rows, runs, successes and failures are counted in every form of request."""

    def statistics(name: str = "imdb-cnn") -> Any:
        [one] = [
            each
            for each in oip.ModelStatistics(pb.ModelStatisticsRequest(name=name)).model_stats
            if each.name == "imdb-cnn"
        ]
        return one

    before = statistics()
    oip.ModelInfer(text_request(*["x"] * 100))
    list(oip.ModelStreamInfer(iter([text_request("x"), text_request("y")])))
    refused(oip.ModelInfer, text_request(*["x"] * 1025))
    after = statistics("")
    assert (after.name, int(after.version)) == ("imdb-cnn", 1)
    assert after.inference_count - before.inference_count == 102
    # The two requests of the stream share a run if both arrive before the first one is answered.
    assert after.execution_count - before.execution_count in (4 + 1, 4 + 2)
    assert after.last_inference > 1_700_000_000_000
    for stage in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        moved = getattr(after.inference_stats, stage).count - getattr(before.inference_stats, stage).count
        assert moved == 3, stage
    assert after.inference_stats.fail.count - before.inference_stats.fail.count == 1
    assert after.inference_stats.compute_infer.ns > before.inference_stats.compute_infer.ns
    assert after.inference_stats.HasField("cache_hit") and after.inference_stats.HasField("cache_miss")


def test_stream(oip: Any) -> None:
    """The requests of a stream are answered in order, each with its id."""
    texts = ["great " * (number % 7) + "awful" for number in range(100)]
    requests = (text_request(text, id=str(number)) for number, text in enumerate(texts))
    responses = list(oip.ModelStreamInfer(requests))
    assert [each.error_message for each in responses] == [""] * 100
    assert [each.infer_response.id for each in responses] == [str(number) for number in range(100)]
    for text, response in zip(texts[:14], responses[:14], strict=True):
        single = elements(oip.ModelInfer(text_request(text)))
        assert elements(response.infer_response) == single


def test_stream_after_a_refusal(oip: Any) -> None:
    """An invalid request in a stream gets its reason and its id, and later requests get their answers."""
    bad = {
        "unknown": text_request("x", model="other"),
        "double": request(tensor(), tensor(), raw=[b""] * 2),
        "mixed": request(tensor(bytes_contents=[b"x"]), raw=[pack("x")]),
        "long": request(tensor("😀" * 100_000)),
        "large": text_request(*["x"] * 1025),
        "timeout": text_request("x", parameters={"timeout": parameter("x")}),
    }
    requests = []
    for name, message in bad.items():
        message.id = name
        requests += [text_request("x", id=f"before {name}"), message]
    responses = list(oip.ModelStreamInfer(iter([*requests, text_request("x", id="last")])))
    assert [each.infer_response.id for each in responses] == [each.id for each in requests] + ["last"]
    for response in responses:
        if response.infer_response.id in bad:
            assert response.error_message and "internal" not in response.error_message
            assert not response.infer_response.outputs
        else:
            assert not response.error_message and response.infer_response.outputs


def test_stream_answers_before_it_ends(oip: Any) -> None:
    """Each request is answered while the stream is open."""
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    call = oip.ModelStreamInfer(iter(requests.get, None), timeout=PATIENCE)
    for number in range(5):
        requests.put(text_request("x", id=str(number)))
        assert next(call).infer_response.id == str(number)
    requests.put(None)
    assert list(call) == []


def test_cancelled_stream(oip: Any) -> None:
    """A caller that leaves its stream has no effect on others."""
    call = oip.ModelStreamInfer(text_request("x", id=str(number)) for number in itertools.count())
    assert next(call).infer_response.id == "0"
    call.cancel()
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    assert caught.value.code() is grpc.StatusCode.CANCELLED
    assert oip.ModelInfer(text_request("x")).outputs


def test_large_message(oip: Any) -> None:
    """A message below the limit is read, even over gRPC's own limit."""
    assert len(elements(oip.ModelInfer(text_request(*["x" * 990_000] * 8)))["label"]) == 8


def states(oip: Any, ready: bool = False) -> list[tuple[str, str, str]]:
    """Return the name, version and state of every version in the index."""
    models = oip.RepositoryIndex(pb.RepositoryIndexRequest(ready=ready)).models
    return [(each.name, each.version, each.state) for each in models]


def test_many_calls_list_the_repository(server: ServerProcess) -> None:
    """Only some calls scan the repository at the same time. The others are refused, and a later one is answered."""
    calls = (headers(each, block(REPOSITORY_INDEX)) + data(each, bytes(5), ended=True) for each in streams(100))
    statuses: Counter[str] = Counter()
    decoder = hpack.Decoder()
    with Caller(server.grpc_port) as caller:
        caller.send(b"".join(calls))
        while statuses.total() < 100:
            frame = caller.next_frame()
            assert frame is not None
            fields = dict(wire.fields(frame.payload, decoder)) if frame.kind == "HEADERS" else {}
            statuses.update({fields["grpc-status"]} if "grpc-status" in fields else ())
    assert statuses.keys() == {"0", str(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])}
    with Caller(server.grpc_port) as caller:
        assert caller.call(REPOSITORY_INDEX.decode(), b"").status == 0


def load(oip: Any, name: str = "tickets") -> None:
    oip.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=name))


def test_load_and_unload(tickets: Any, repository: Path) -> None:
    """A version is served after it is loaded. An unloaded model is NOT_FOUND, and the server is not ready."""
    publish_table(repository)
    assert states(tickets) == [("tickets", "1", "READY"), ("tickets", "2", "UNAVAILABLE")]
    assert tickets.ModelInfer(text_request("praise", model="tickets")).model_version == "1"
    load(tickets)
    assert states(tickets, ready=True) == [("tickets", "2", "READY")]
    response = tickets.ModelInfer(text_request("praise", model="tickets"))
    assert (response.model_version, elements(response)["label"]) == ("2", ["thanks"])
    assert not tickets.ModelReady(pb.ModelReadyRequest(name="tickets", version="1")).ready
    unload = pb.RepositoryModelUnloadRequest(model_name="tickets")
    tickets.RepositoryModelUnload(unload)
    assert refused(tickets.ModelInfer, text_request("praise", model="tickets"))[0] == "NOT_FOUND"
    assert refused(tickets.ModelInfer, text_request("praise", model=""))[0] == "NOT_FOUND"
    assert refused(tickets.RepositoryModelUnload, unload)[0] == "NOT_FOUND"
    assert not tickets.ServerReady(pb.ServerReadyRequest()).ready
    assert not tickets.ModelReady(pb.ModelReadyRequest(name="tickets")).ready
    assert tickets.ServerLive(pb.ServerLiveRequest()).live
    assert not tickets.ModelStatistics(pb.ModelStatisticsRequest()).model_stats
    load(tickets)
    assert tickets.ServerReady(pb.ServerReadyRequest()).ready


def test_load_of_a_broken_version(tickets: Any, repository: Path) -> None:
    """A load of a broken version is refused and names the file, and the old version stays, also in open streams."""
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stream = tickets.ModelStreamInfer(iter(requests.get, None), timeout=PATIENCE)
    broken = publish_table(repository).path
    (broken / "model.onnx").unlink()
    status, message = refused(tickets.RepositoryModelLoad, pb.RepositoryModelLoadRequest(model_name="tickets"))
    assert status == "INVALID_ARGUMENT" and str(broken / "model.onnx") in message
    requests.put(text_request("praise", model="tickets"))
    assert next(stream).infer_response.model_version == "1"
    shutil.rmtree(broken)
    publish_table(repository)
    load(tickets)
    requests.put(text_request("praise", model="tickets"))
    assert next(stream).infer_response.model_version == "2"
    requests.put(None)
    assert list(stream) == []
