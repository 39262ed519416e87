"""Builds messages of the Open Inference Protocol, as Triton's client declares them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from tritonclient.grpc import service_pb2 as pb

from tests.processes import PATIENCE
from tests.service.grpc import channels


def tensor(name: str = "text", shape: Sequence[int] = (1, 1), datatype: str = "BYTES", **contents: Any) -> Any:
    """Build an input with typed `contents`."""
    message = pb.ModelInferRequest.InferInputTensor(name=name, shape=shape, datatype=datatype)
    if contents:
        message.contents.CopyFrom(pb.InferTensorContents(**contents))
    return message


def output(name: str, **parameters: int) -> Any:
    """Build a requested output."""
    wishes = {key: pb.InferParameter(int64_param=value) for key, value in parameters.items()}
    return pb.ModelInferRequest.InferRequestedOutputTensor(name=name, parameters=wishes)


def request(*inputs: Any, raw: Sequence[bytes] = (), model: str = "imdb-cnn", **fields: Any) -> Any:
    """Build an infer request. `raw` is binary data, one item per input."""
    return pb.ModelInferRequest(model_name=model, inputs=inputs, raw_input_contents=raw, **fields)


def text_request(*texts: str, **fields: Any) -> Any:
    """Build an infer request of texts in typed contents."""
    contents = [text.encode() for text in texts]
    return request(tensor(shape=[len(texts), 1], bytes_contents=contents), **fields)


def elements(response: Any) -> dict[str, list[Any]]:
    """Return the elements of the outputs by name, and check the form of the answer."""
    assert len(response.outputs) == len(response.raw_output_contents)
    found: dict[str, list[Any]] = {}
    for described, raw in zip(response.outputs, response.raw_output_contents, strict=True):
        assert not described.HasField("contents") and not described.parameters
        if described.datatype == "FP32":
            found[described.name] = list(struct.unpack(f"<{len(raw) // 4}f", raw))
        else:
            found[described.name] = []
            while raw:
                (length,) = struct.unpack_from("<I", raw)
                found[described.name].append(raw[4 : 4 + length].decode())
                raw = raw[4 + length :]
    return found


def refused(call: Callable[..., Any], message: Any, **options: Any) -> tuple[str, str]:
    """Return the name of the status and the message that end a call."""
    refusal = channels.refused(lambda: call(message, timeout=PATIENCE, **options))
    return refusal.code.name, refusal.message
