"""The descriptors of all services, and the message classes of services that other projects define.

They have a separate descriptor pool. protobuf's default pool accepts each name from one file only, and a process that
also loads grpcio-health-checking, grpcio-reflection or TensorFlow has these names in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import any_pb2, text_format, wrappers_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from sentiment_conv1d.protos import inference_pb2, sentiment_pb2

#: The descriptors of gRPC's health and reflection services and of TensorFlow Serving, compiled by `make stubs`.
COMPILED = Path(__file__).with_name("external.binpb")


def _pool() -> DescriptorPool:
    pool = DescriptorPool()
    for imported in (any_pb2, wrappers_pb2):
        pool.AddSerializedFile(imported.DESCRIPTOR.serialized_pb)
    for file in FileDescriptorSet.FromString(COMPILED.read_bytes()).file:
        pool.AddSerializedFile(file.SerializeToString())
        if file.package == "grpc.reflection.v1":  # older tools ask for v1alpha, which differs only in its names
            older = text_format.Parse(str(file).replace("v1", "v1alpha"), FileDescriptorProto())
            pool.AddSerializedFile(older.SerializeToString())
    for stubs in (inference_pb2, sentiment_pb2):
        pool.AddSerializedFile(stubs.DESCRIPTOR.serialized_pb)
    return pool


POOL = _pool()


def message_class(name: str) -> Any:
    """Return the class of a message by its full name. Raises `KeyError` if there is none."""
    return GetMessageClass(POOL.FindMessageTypeByName(name))
