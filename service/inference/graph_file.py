"""Parses `model.onnx`, and checks that it refers to no other file."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import DecodeError, Message

from sentiment_conv1d.service.inference import onnx_subset_pb2 as onnx


class GraphFileError(Exception):
    """The file is not an ONNX model, or refers to another file."""


def parse(content: bytes) -> onnx.Model:
    """Return the part of an ONNX model that `onnx_subset.proto` describes. Raises `GraphFileError`."""
    try:
        return onnx.Model.FromString(content)
    except DecodeError as error:
        raise GraphFileError(f"it is not an ONNX model ({error})") from error


def check_self_contained(content: bytes) -> None:
    """Raise `GraphFileError` if a tensor's data are in another file, which has no digest in the manifest.

    ONNX Runtime would look for such a file in the current directory, and the answers would reveal its bytes.
    """
    for tensor in _tensors(parse(content)):
        if tensor.external_data or any(tensor.data_location):
            place = next((each.value for each in tensor.external_data if each.key == "location"), "an unknown place")
            raise GraphFileError(
                f"the data of tensor {tensor.name!r} are in {place!r}: a graph must contain all of its data"
            )


def _tensors(message: Message) -> Iterator[onnx.Tensor]:
    """Yield every tensor in a message: also those in attributes, subgraphs, functions and sparse tensors."""
    if isinstance(message, onnx.Tensor):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if field.is_repeated else [value]:
                yield from _tensors(each)
