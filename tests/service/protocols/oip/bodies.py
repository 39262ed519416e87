"""Builds and reads infer requests and answers over REST: JSON, followed by tensors in binary form."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import httpx

INFER = "/v2/models/imdb-cnn/infer"

#: Says how many bytes of a body are JSON; the tensors follow.
HEADER = "inference-header-content-length"


class Answer(NamedTuple):
    """A successful answer: its JSON, and its binary outputs by name."""

    document: dict[str, Any]
    binary: dict[str, bytes]


def pack(*elements: str) -> bytes:
    """Encode BYTES elements in binary form."""
    return b"".join(struct.pack("<I", len(each.encode())) + each.encode() for each in elements)


def unpack(raw: bytes) -> list[str]:
    """Decode BYTES elements from their binary form."""
    elements = []
    while raw:
        (length,) = struct.unpack_from("<I", raw)
        elements.append(raw[4 : 4 + length].decode())
        raw = raw[4 + length :]
    return elements


def text_input(*texts: str, **changes: Any) -> dict[str, Any]:
    """Build the input `text`. `changes` are other fields or values."""
    return {"name": "text", "shape": [len(texts), 1], "datatype": "BYTES", "data": list(texts)} | changes


def binary_input(raw: bytes, **changes: Any) -> dict[str, Any]:
    """Build an input of one text, unless `changes` say otherwise, with the binary data `raw` after the JSON."""
    parameters = {"binary_data_size": len(raw)}
    return {"name": "text", "shape": [1, 1], "datatype": "BYTES", "parameters": parameters} | changes


def request(*inputs: Any, **fields: Any) -> bytes:
    """Build an infer request in JSON."""
    return json.dumps({"inputs": inputs} | fields).encode()


def with_binary(document: bytes, *tensors: bytes) -> dict[str, Any]:
    """Return arguments for `httpx.post`: JSON, binary tensors after it, and the header with the length of the JSON."""
    return {"content": b"".join([document, *tensors]), "headers": {HEADER: str(len(document))}}


def read(response: httpx.Response) -> Answer:
    """Read an answer with status 200, and check its form."""
    assert response.status_code == 200, response.text
    length = response.headers.get(HEADER)
    if length is None:
        assert response.headers["content-type"] == "application/json"
        document, rest = response.json(), b""
    else:
        assert response.headers["content-type"] == "application/octet-stream"
        document, rest = json.loads(response.content[: int(length)]), response.content[int(length) :]
    assert document.keys() - {"id"} == {"model_name", "model_version", "outputs"}
    binary = {}
    for output in document["outputs"]:
        if "parameters" in output:
            # Triton's C++ client takes any parameter for the size.
            assert output.keys() == {"name", "datatype", "shape", "parameters"}
            assert output["parameters"].keys() == {"binary_data_size"}
            size = output["parameters"]["binary_data_size"]
            binary[output["name"]], rest = rest[:size], rest[size:]
        else:
            assert output.keys() == {"name", "datatype", "shape", "data"}
    assert not rest
    return Answer(document, binary)


def outputs(answer: Answer) -> dict[str, list[Any]]:
    """Return the elements of the outputs by name, from JSON or binary form."""
    elements: dict[str, list[Any]] = {}
    for output in answer.document["outputs"]:
        if "data" in output:
            elements[output["name"]] = output["data"]
        elif output["datatype"] == "BYTES":
            elements[output["name"]] = unpack(answer.binary[output["name"]])
        else:
            raw = answer.binary[output["name"]]
            elements[output["name"]] = list(struct.unpack(f"<{len(raw) // 4}f", raw))
    return elements


def refusal(response: httpx.Response, statuses: Sequence[int] = (400,)) -> str:
    """Return the message of an error, and check its form: an object with one string."""
    assert response.status_code in statuses, response.text
    assert response.headers["content-type"] == "application/json"
    document = response.json()
    assert document.keys() == {"error"}
    message = document["error"]
    assert isinstance(message, str) and message
    assert "Traceback" not in message and "internal" not in message
    return message
