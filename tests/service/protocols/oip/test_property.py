"""Any Open Inference Protocol request over either transport gets a correct answer or an error.

An error has the protocol's form and the status of a client error. No request makes the server fail or hang, and the
next valid request gets its answer.
"""

from __future__ import annotations

import functools
import itertools
import json
import operator
import struct
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2 as pb

from tests.fuzz.documents import places
from tests.processes import PATIENCE, ServerProcess
from tests.service.grpc.channels import connect
from tests.service.protocols.oip.bodies import (
    HEADER,
    INFER,
    outputs,
    pack,
    read,
    refusal,
    text_input,
)
from tests.service.protocols.oip.bodies import request as body_of
from tests.service.protocols.oip.messages import elements, request, tensor, text_request

#: Statuses of a refusal: the request is at fault, or it is too large.
BLAME = {"INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED"}

OUTPUTS = ("label", "score", "probabilities")


WISHES = st.lists(st.sampled_from(OUTPUTS), unique=True)

DIMENSION = st.sampled_from([1, 1, 1, 2, 3, 0, -1, 400, 401, 2**31, 2**62, 2**63 - 1, -(2**63)])
SHAPE = st.lists(DIMENSION, max_size=3)
NAME = st.sampled_from(["text", "text", "text", "tokens", "tokens", "other", "", "text\0"]) | st.text(max_size=4)
DATATYPE = st.sampled_from(["BYTES", "BYTES", "INT32", "INT32", "INT64", "FP32", "bytes", ""])
RAW = st.one_of(
    st.binary(max_size=12),
    st.just(pack("x")),
    st.just(pack("x", "y")),
    st.just(pack("x")[:-1]),
    st.just(struct.pack("<I", 0xFFFFFFFF) + b"x"),
    st.just(struct.pack("<i", 7)),
    st.just(struct.pack("<2i", 7, -7)),
)
NUMBER = st.one_of(
    st.integers(-2, 9),
    st.sampled_from([2**31, 2**63, 2**64, -(2**63), 10**30, 10**400, -(10**400)]),
    st.floats(allow_nan=False, allow_infinity=False),
)
#: JSON, which can contain escaped lone surrogates.
JSON = st.recursive(
    st.none() | st.booleans() | NUMBER | st.text(max_size=4) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def mostly(usual: st.SearchStrategy[Any], other: st.SearchStrategy[Any] = JSON) -> st.SearchStrategy[Any]:
    """Draw usual values, and sometimes others."""
    return st.integers(0, 9).flatmap(lambda number: usual if number < 9 else other)


#: Values at any place of a request.
NEARBY = st.one_of(
    NAME, DATATYPE, SHAPE, DIMENSION, st.integers(0, 12), st.booleans(), st.builds(list), st.builds(dict)
)


@st.composite
def good_requests(draw: st.DrawFn) -> tuple[dict[str, Any], list[bytes]]:
    """Draw a valid request: its JSON and the binary tensors after it."""
    inputs, tensors = [], []
    for name in draw(st.sampled_from([["text"], ["tokens"], ["text", "tokens"]])):
        given_input: dict[str, Any] = {"name": name, "shape": [2, 1], "datatype": "BYTES", "data": ["x", "y"]}
        raw = pack("x", "y")
        if name == "tokens":
            given_input |= {"datatype": "INT32", "data": [[7], [4999]]}
            raw = struct.pack("<2i", 7, 4999)
        if draw(st.booleans()):
            del given_input["data"]
            given_input["parameters"] = {"binary_data_size": len(raw)}
            tensors.append(raw)
        inputs.append(given_input)
    document: dict[str, Any] = {"inputs": inputs, "id": "7", "parameters": {"timeout": 10**9, "priority": 1}}
    document["parameters"]["binary_data_output"] = draw(st.booleans())
    wishes = draw(WISHES)
    if wishes:
        document["outputs"] = [{"name": name, "parameters": {"binary_data": draw(st.booleans())}} for name in wishes]
        if "probabilities" in wishes and draw(st.booleans()):
            document["outputs"][wishes.index("probabilities")]["parameters"]["classification"] = 1
    return document, tensors


@st.composite
def requests(draw: st.DrawFn) -> tuple[Any, list[bytes]]:
    """Draw a valid request with up to three replaced, added, duplicated or removed parts."""
    document, tensors = draw(good_requests())
    for _ in range(draw(st.integers(0, 3))):
        *parents, key = draw(st.sampled_from(sorted(places(document), key=repr)))
        parent: Any = functools.reduce(operator.getitem, parents, document)
        match draw(st.sampled_from(["replace", "replace", "add", "twice", "take away"])):
            case "replace":
                parent[key] = draw(NEARBY | JSON)
            case "add" if isinstance(parent[key], dict):
                parent[key][draw(st.text(max_size=3))] = draw(JSON)
            case "twice" if isinstance(parent, list):
                parent.append(parent[key])
            case "take away":
                del parent[key]
        if not document:
            break
    return document, draw(mostly(st.just(tensors), st.lists(RAW, max_size=3)))


HEADERS = st.sampled_from([b"-1", b"", b"0", b"1", b"x", b"1.5", b"99999", b"9" * 30, b"9" * 5000, b"0x1", b"\xff"])


def can_pass(timeout: Any) -> bool:
    """Return whether the time limit of a request, in microseconds, is one that a slow machine can exceed."""
    return type(timeout) is int and 1 <= timeout <= 10**6


def assert_right_or_refused(response: httpx.Response, timeout: Any = None) -> None:
    """Assert that an answer to a request with a time limit is consistent, or an error."""
    if response.status_code == 504 and can_pass(timeout):
        refusal(response, [504])
        return
    if response.status_code != 200:
        refusal(response, range(400, 500))
        return
    answer = read(response)
    for output in answer.document["outputs"]:
        values = outputs(answer)[output["name"]]
        assert len(values) == np.prod(output["shape"])
        if output["name"] == "label":
            assert set(values) <= {"negative", "positive"}
        elif output["datatype"] == "FP32":
            assert all(0 <= value <= 1 for value in values)


def assert_works(server: ServerProcess) -> None:
    """Assert that the next valid request on a kept connection gets its answer."""
    read(server.client.post(INFER, content=body_of(text_input("x"))))


@settings(max_examples=400)
@given(parts=requests(), data=st.data())
def test_any_request_over_rest(server: ServerProcess, parts: tuple[Any, list[bytes]], data: st.DataObject) -> None:
    """Any JSON in any place, with any binary data and any header, gets an answer or an error."""
    head, tail = json.dumps(parts[0]).encode(), b"".join(parts[1])
    if tail or data.draw(st.booleans()):
        lie = data.draw(mostly(st.just(0), st.integers(-len(head), len(tail) + 3)))
        header = data.draw(mostly(st.just(str(len(head) + lie).encode()), HEADERS))
        response = server.client.post(INFER, content=head + tail, headers={HEADER.encode(): header})
    else:
        response = server.client.post(INFER, content=head)
    parameters = parts[0].get("parameters")
    assert_right_or_refused(response, parameters.get("timeout") if isinstance(parameters, dict) else None)
    assert_works(server)


@given(document=JSON)
def test_any_json_over_rest(server: ServerProcess, document: Any) -> None:
    """Any JSON, alone or as the inputs, gets an answer or an error."""
    for whole in (document, {"inputs": document}, {"inputs": [document]}):
        assert_right_or_refused(server.client.post(INFER, content=json.dumps(whole)))
    assert_works(server)


@given(
    content=st.binary(max_size=200), header=st.none() | HEADERS, coding=st.sampled_from(["", "gzip", "deflate", "x"])
)
def test_any_bytes_over_rest(server: ServerProcess, content: bytes, header: bytes | None, coding: str) -> None:
    """Any bytes with any headers get an answer or an error from any route that reads a body."""
    headers = {b"content-encoding": coding.encode()}
    if header is not None:
        headers[HEADER.encode()] = header
    assert_right_or_refused(server.client.post(INFER, content=content, headers=headers))
    index = server.client.post("/v2/repository/index", content=content)
    if index.status_code != 200:
        refusal(index)
    assert_works(server)


PARAMETER = st.one_of(
    st.builds(pb.InferParameter, bool_param=st.booleans()),
    st.builds(pb.InferParameter, int64_param=st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 3)),
    st.builds(pb.InferParameter, uint64_param=st.integers(0, 2**64 - 1)),
    st.builds(pb.InferParameter, string_param=st.text(max_size=4)),
    st.builds(pb.InferParameter, double_param=st.floats()),
    st.builds(pb.InferParameter),
)
PARAMETERS = st.dictionaries(st.sampled_from(["classification", "binary_data_size", "x"]), PARAMETER, max_size=2)
CONTENTS = st.fixed_dictionaries(
    {},
    optional={
        "bytes_contents": st.lists(st.binary(max_size=5) | st.just(b"x"), max_size=3),
        "int_contents": st.lists(st.integers(-1, 5000), max_size=3),
        "int64_contents": st.lists(st.integers(-1, 5000), max_size=2),
        "fp32_contents": st.lists(st.floats(width=32), max_size=2),
        "bool_contents": st.lists(st.booleans(), max_size=2),
    },
)


@st.composite
def inputs(draw: st.DrawFn, *, typed: bool) -> Any:
    """Draw an input with or without typed contents that usually fits the model."""
    if draw(st.booleans()):
        kind = draw(st.sampled_from([("text", [1, 1], "BYTES"), ("tokens", [1, 1], "INT32")]))
        contents: dict[str, Any] = {"bytes_contents": [b"x"]} if kind[0] == "text" else {"int_contents": [7]}
        return tensor(*kind, **(contents if typed else {}))
    message = tensor(draw(NAME), draw(SHAPE), draw(DATATYPE), **(draw(CONTENTS) if typed else {}))
    for name, value in draw(PARAMETERS).items():
        message.parameters[name].CopyFrom(value)
    return message


@st.composite
def messages(draw: st.DrawFn) -> Any:
    """Draw a message with any content."""
    raw = draw(st.booleans())
    given_inputs = draw(
        st.lists(inputs(typed=not raw or draw(mostly(st.just(False), st.just(True)))), min_size=1, max_size=2)
    )
    fit = [pack("x") if each.name == "text" else b"\7\0\0\0" for each in given_inputs]
    message = request(
        *given_inputs,
        raw=draw(mostly(st.just(fit), st.lists(RAW, max_size=3))) if raw else draw(mostly(st.just([]), st.lists(RAW))),
        model=draw(mostly(st.sampled_from(["imdb-cnn", ""]), st.text(max_size=4))),
        model_version=draw(mostly(st.sampled_from(["", "1"]), st.text(max_size=4))),
        id=draw(st.text(max_size=4)),
        outputs=[
            pb.ModelInferRequest.InferRequestedOutputTensor(name=name, parameters=parameters)
            for name, parameters in draw(
                st.just([])
                | st.lists(
                    st.tuples(mostly(st.sampled_from(OUTPUTS), NAME), mostly(st.just({}), PARAMETERS)), max_size=2
                )
            )
        ],
    )
    for name in draw(mostly(st.just([]), st.lists(st.sampled_from(["timeout", "priority", "x"]), max_size=2))):
        message.parameters[name].CopyFrom(draw(PARAMETER))
    return message


def timeout_of(message: Any) -> int | None:
    """Return the time limit of a message, if it is a whole number."""
    if "timeout" not in message.parameters:
        return None
    parameter = message.parameters["timeout"]
    choice = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, choice) if choice in ("int64_param", "uint64_param") else None


@settings(max_examples=400)
@given(message=messages())
def test_any_message_over_grpc(oip: Any, message: Any) -> None:
    """Any message gets an answer, or a status of a client error."""
    try:
        response = oip.ModelInfer(message, timeout=PATIENCE)
    except grpc.RpcError as error:
        late = ["DEADLINE_EXCEEDED"] if can_pass(timeout_of(message)) else []
        assert error.code().name in BLAME.union(late) and error.details(), error
    else:
        assert response.id == message.id
        assert set(elements(response).get("label", [])) <= {"negative", "positive"}
    assert oip.ModelInfer(text_request("x"), timeout=PATIENCE).outputs


@settings(max_examples=50)
@given(sent=st.lists(messages(), min_size=1, max_size=8))
def test_any_messages_in_a_stream(oip: Any, sent: list[Any]) -> None:
    """Each message of a stream gets the answer that it would get alone, and the stream continues."""
    responses = list(oip.ModelStreamInfer(itertools.chain(sent, [text_request("x", id="last")]), timeout=PATIENCE))
    assert [each.infer_response.id for each in responses] == [*(each.id for each in sent), "last"]
    assert not responses[-1].error_message
    for message, response in zip(sent, responses, strict=False):
        assert bool(response.error_message) != bool(response.infer_response.outputs)
        assert response.error_message != "internal error"
        try:
            alone = oip.ModelInfer(message, timeout=PATIENCE)
        except grpc.RpcError as error:
            assert error.details() == response.error_message
        else:
            assert alone == response.infer_response


@given(message=st.binary(max_size=60))
def test_any_bytes_over_grpc(server: ServerProcess, oip: Any, message: bytes) -> None:
    """Bytes that are not a message end their call or stream, and affect nothing else."""
    with connect(server) as channel:
        single: Any = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as caught:
            single(message, timeout=PATIENCE)
        assert caught.value.code().name in BLAME
        stream: Any = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
        try:
            list(stream(iter([message]), timeout=PATIENCE))
        except grpc.RpcError as error:
            assert error.code().name == "INVALID_ARGUMENT"
    assert oip.ModelInfer(text_request("x"), timeout=PATIENCE).outputs
