"""Infer requests over REST: tensors in JSON or, after it, in binary form.

Sources: the protocol's open_inference_rest.yaml; Triton's docs/protocol/extension_{binary_data,classification}.md.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, FailFast, Field

from sentiment_conv1d.artifact.manifest import Manifest
from sentiment_conv1d.commands.output import counted
from sentiment_conv1d.server.errors import Malformed
from sentiment_conv1d.server.http.compression import choose_encoding, compress
from sentiment_conv1d.server.http.request import Answer
from sentiment_conv1d.service.errors import Invalid
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.protocols.oip import inference
from sentiment_conv1d.service.protocols.oip.inference import Input, Output, RequestedOutput
from sentiment_conv1d.service.protocols.oip.tensors import pack_bytes
from sentiment_conv1d.service.rest.endpoint import EXAMPLE, EndpointRequest, LenientBody, WorkOrAnswer, parse, to_json
from sentiment_conv1d.service.rest.protocol import PlainProtocol
from sentiment_conv1d.service.scheduling.dataplane import STEPPED_CHARACTERS, DataPlane
from sentiment_conv1d.service.scheduling.work import Work

HEADER_LENGTH = b"inference-header-content-length"
_BINARY = b"application/octet-stream"
_MICROSECONDS = 1e-6
_DIGITS = re.compile(rb"[0-9]{1,19}")
_MAX_WHOLE_NUMBER = 2**64 - 1  # a UINT64, as in gRPC


class InferInput(LenientBody):
    """An input tensor. Its `data` can be nested or flat, or follow the JSON in binary form."""

    name: str
    shape: Annotated[list[int], FailFast()]
    datatype: str
    parameters: dict[str, Any] | None = None
    data: Any = None


class InferRequestedOutput(LenientBody):
    """A requested output."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(LenientBody):
    """An infer request: a batch of texts, or of ids."""

    id: str | None = None
    parameters: dict[str, Any] | None = None
    inputs: Annotated[list[InferInput], FailFast()]
    outputs: Annotated[list[InferRequestedOutput], FailFast()] = Field([])


class InferOutput(BaseModel):
    """One output tensor, flat in row-major order."""

    name: str
    datatype: str
    shape: list[int]
    data: list[str] | list[float]


class InferResponse(BaseModel):
    """The requested outputs, or all outputs."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[InferOutput]


PROTOCOL = PlainProtocol("Open Inference Protocol")

_INFER = (
    "Open Inference Protocol: infer",
    InferRequest,
    InferResponse,
    {"id": "1", "inputs": [{"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [EXAMPLE]}]},
)


@PROTOCOL.endpoint("/v2/models/{model}/infer", *_INFER)
@PROTOCOL.endpoint("/v2/models/{model}/versions/{version}/infer", *_INFER)
def infer(state: ServiceState, request: EndpointRequest) -> WorkOrAnswer:
    """Return the probabilities for a batch of texts (`text`), or for ids from the client's tokenizer (`tokens`).

    Requests and responses can use JSON or the binary tensor extension, with gzip or deflate. `classification` is
    supported for `probabilities`.
    """
    body, inputs, binary = _read(request, state.dataplane)
    parameters = body.parameters or {}
    binary_outputs = {each.name: _flag(each.parameters or {}, "binary_data", binary) for each in body.outputs}
    inference_request = inference.InferenceRequest(
        model=request.parameters["model"],
        version=request.parameters.get("version", ""),
        inputs=inputs,
        outputs=[
            RequestedOutput(each.name, _whole_number(each.parameters or {}, "classification")) for each in body.outputs
        ],
        timeout=_whole_number(parameters, "timeout") * _MICROSECONDS or None,
    )

    def answer(manifest: Manifest, outputs: list[Output]) -> Answer:
        head: dict[str, Any] = {"model_name": manifest.name, "model_version": str(manifest.version)}
        if body.id is not None:
            head["id"] = body.id
        return _compressed(_answer(head, outputs, binary_outputs, binary), request)

    read = partial(inference.infer, state.dataplane, state.models, request.context, inference_request, answer)
    return read() if len(request.body) <= STEPPED_CHARACTERS else _run_large(state.dataplane, read)


async def _run_large(dataplane: DataPlane, read: Callable[[], Work[Answer]]) -> Answer:
    """Read the tensors in the next turn of the event loop: for a million ids, this takes as long as parsing them."""
    await asyncio.sleep(0)
    return await dataplane.run(read())


def _read(request: EndpointRequest, dataplane: DataPlane) -> tuple[InferRequest, list[Input], bool]:
    """Return the JSON, the inputs, and whether outputs are binary by default."""
    size = len(request.body)
    header = request.headers.get(HEADER_LENGTH, b"%d" % size)
    if not _DIGITS.fullmatch(header):
        raise Malformed("Inference-Header-Content-Length is not a number of bytes")
    length = int(header)
    if length > size:
        raise Malformed(f"Inference-Header-Content-Length is {length}, and the body has {counted(size, 'byte')}")
    if length == 0 and HEADER_LENGTH in request.headers:
        # A raw binary request: the body is one text, without the length of a BYTES element.
        text = Input(inference.TEXT, "BYTES", [1], raw=pack_bytes((request.body,)))
        return InferRequest(inputs=[]), [text], True
    body = parse(InferRequest, request.body[:length], dataplane)
    binary = _flag(body.parameters or {}, "binary_data_output", False)
    return body, _inputs(body, request.body[length:]), binary


def _inputs(body: InferRequest, binary: bytes) -> list[Input]:
    inputs = []
    position = 0
    for each in body.inputs:
        size = (each.parameters or {}).get("binary_data_size")
        if size is None:
            inputs.append(Input(each.name, each.datatype, each.shape, data=each.data))
            continue
        if type(size) is not int or size < 0:
            raise Invalid(f"input '{each.name}': binary_data_size must be a whole number, not negative")
        if each.data is not None:
            raise Invalid(f"input '{each.name}' has both data and binary_data_size")
        if position + size > len(binary):
            left = counted(len(binary) - position, "byte")
            raise Malformed(f"input '{each.name}': binary_data_size is {size:,}, more than the remaining {left}")
        inputs.append(Input(each.name, each.datatype, each.shape, raw=binary[position : position + size]))
        position += size
    if position != len(binary):
        raise Malformed(f"no input declares the last {counted(len(binary) - position, 'byte')} of binary data")
    return inputs


def _flag(parameters: dict[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise Invalid(f"parameter '{name}' must be true or false")
    return value


def _whole_number(parameters: dict[str, Any], name: str) -> int:
    value = parameters.get(name, 0)
    if type(value) is not int or not 0 <= value <= _MAX_WHOLE_NUMBER:
        raise Invalid(f"parameter '{name}' must be a whole number of 64 bits, not negative")
    return value


def _answer(head: dict[str, Any], outputs: list[Output], binary_outputs: dict[str, bool], binary: bool) -> Answer:
    described: list[dict[str, Any]] = []
    tail: list[bytes] = []
    for output in outputs:
        tensor: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
        if binary_outputs.get(output.name, binary):
            tail.append(output.raw())
            # Only a binary tensor may have parameters: Triton's C++ client takes any for the size.
            tensor["parameters"] = {"binary_data_size": len(tail[-1])}
        elif isinstance(output.data, np.ndarray):
            tensor["data"] = output.data.ravel()
        else:
            tensor["data"] = [element.decode() for element in output.data]
        described.append(tensor)
    document = to_json(head | {"outputs": described})
    if not tail:
        return Answer(document)
    return Answer(b"".join([document, *tail]), _BINARY, ((HEADER_LENGTH, str(len(document)).encode()),))


def _compressed(answer: Answer, request: EndpointRequest) -> Answer:
    encoding = choose_encoding(request.headers.get(b"accept-encoding", b""))
    if not encoding:
        return answer
    fields = (*answer.headers, (b"content-encoding", encoding))
    return Answer(compress(answer.body, encoding), answer.content_type, fields)
