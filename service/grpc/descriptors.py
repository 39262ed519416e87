"""The descriptors of every service, and the messages of those that are gRPC's own.

They are in a pool of their own: protobuf's default pool takes each name from one file only, and whoever has gRPC's
packages for health and reflection loaded has their names there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from sentiment_conv1d.service.grpc.protos import inference_pb2, sentiment_pb2

#: Health and reflection, as `make stubs` compiles them.
COMPILED = Path(__file__).with_name("protos") / "grpc.binpb"


def _pool() -> DescriptorPool:
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(COMPILED.read_bytes()).file:
        pool.AddSerializedFile(file.SerializeToString())
        if file.package == "grpc.reflection.v1":  # older tools know v1alpha, which differs in its names alone
            older = text_format.Parse(str(file).replace("v1", "v1alpha"), FileDescriptorProto())
            pool.AddSerializedFile(older.SerializeToString())
    for stubs in (inference_pb2, sentiment_pb2):
        pool.AddSerializedFile(stubs.DESCRIPTOR.serialized_pb)
    return pool


POOL = _pool()


def message_class(name: str) -> Any:
    """The class of a message by its full name. Raises `KeyError` where there is none."""
    return GetMessageClass(POOL.FindMessageTypeByName(name))
