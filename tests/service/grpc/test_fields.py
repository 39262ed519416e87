"""The fields of a message are counted before the message is parsed."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from sentiment_conv1d.protos import inference_pb2 as pb
from sentiment_conv1d.protos.sentiment_pb2 import PredictBatchRequest
from sentiment_conv1d.server.errors import TooLarge
from sentiment_conv1d.service.grpc.fields import check
from sentiment_conv1d.service.scheduling.dataplane import ParseLimits

LIMITS = ParseLimits(16_384, 425_984)

NAMES = st.text(max_size=200)
CONTENTS = st.builds(
    pb.InferTensorContents,
    int_contents=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=9),
    bytes_contents=st.lists(st.binary(max_size=200), max_size=9),
)
INPUTS = st.builds(
    pb.ModelInferRequest.InferInputTensor,
    name=NAMES,
    shape=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=9),
    contents=st.none() | CONTENTS,
)
MESSAGES = st.builds(
    pb.ModelInferRequest,
    model_name=NAMES,
    inputs=st.lists(INPUTS, max_size=4),
    outputs=st.lists(st.builds(pb.ModelInferRequest.InferRequestedOutputTensor, name=NAMES), max_size=4),
    raw_input_contents=st.lists(st.binary(max_size=200), max_size=4),
)


def count(message: Any) -> tuple[int, int]:
    """Count the fields, and the numbers in packed fields."""
    fields = numbers = 0
    for descriptor, value in message.ListFields():
        elements = list(value) if descriptor.is_repeated else [value]
        if descriptor.is_packed:
            fields, numbers = fields + 1, numbers + len(elements)
            continue
        fields += len(elements)
        if descriptor.message_type is not None:
            for inner in map(count, elements):
                fields, numbers = fields + inner[0], numbers + inner[1]
    return fields, numbers


@given(message=MESSAGES)
def test_exact(message: pb.ModelInferRequest) -> None:
    """A message is refused if and only if it has more fields or numbers than the limits."""
    content = message.SerializeToString()
    fields, numbers = count(message)
    check(content, pb.ModelInferRequest, ParseLimits(fields, numbers))
    if fields:
        with pytest.raises(TooLarge, match=f"more than {fields - 1} fields"):
            check(content, pb.ModelInferRequest, ParseLimits(fields - 1, numbers))
    if numbers:
        with pytest.raises(TooLarge, match=f"or {numbers - 1} numbers"):
            check(content, pb.ModelInferRequest, ParseLimits(fields, numbers - 1))


@given(content=st.binary(max_size=300))
@example(content=b"\xff" * 300)
@example(content=b"\x2a\xff\xff\xff\xff\x7f\x2a\xff\xff\xff\xff\x7f")
def test_any_bytes(content: bytes) -> None:
    """Bytes that are not a message are left to the parser."""
    check(content, pb.ModelInferRequest, LIMITS)
    try:
        pb.ModelInferRequest.FromString(content)
    except DecodeError:
        return


def test_lengths_beyond_the_end() -> None:
    """A field that claims to be longer than its message is not read beyond the end of the message."""
    lying = b"\x2a\x06\x1a\xff\xff\xff\xff\x0f"  # an input with a shape of 4 GB
    check(lying * 2000 + b"\x3a\x80\x80\x80\x04" + b"\1" * 8_000_000, pb.ModelInferRequest, LIMITS)


@pytest.mark.parametrize("repeated", [b"\x2a\0", b"\x32\0", b"\x3a\0", b"\x22\0", b"\x0b\x0c", b"\xa2\x06\0"])
def test_very_many_fields(repeated: bytes) -> None:
    """Millions of empty inputs, outputs, parameters, groups and unknown fields are refused, with the limit."""
    with pytest.raises(TooLarge, match=f"more than {LIMITS.fields} fields"):
        check(repeated * 1_000_000, pb.ModelInferRequest, LIMITS)


def test_very_many_numbers() -> None:
    """Millions of numbers in one field are refused."""
    contents = pb.InferTensorContents(int_contents=[1] * 1_000_000)
    tensor = pb.ModelInferRequest.InferInputTensor(contents=contents)
    with pytest.raises(TooLarge, match=f"or {LIMITS.values} numbers"):
        check(pb.ModelInferRequest(inputs=[tensor]).SerializeToString(), pb.ModelInferRequest, LIMITS)


def test_whole_batches() -> None:
    """The largest legal batches are within the limits."""
    check(PredictBatchRequest(texts=["a" * 8000] * 1024).SerializeToString(), PredictBatchRequest, LIMITS)
    tensor = pb.ModelInferRequest.InferInputTensor
    text = tensor(name="text", shape=[1024, 1], contents=pb.InferTensorContents(bytes_contents=[b"a"] * 1024))
    tokens = tensor(name="tokens", shape=[1024, 400], contents=pb.InferTensorContents(int_contents=[4999] * 409_600))
    check(pb.ModelInferRequest(inputs=[text, tokens]).SerializeToString(), pb.ModelInferRequest, LIMITS)
