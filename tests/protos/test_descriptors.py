"""Messages, descriptors and methods match the .proto files and gRPC's own packages."""

import asyncio
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from google.protobuf.descriptor import Descriptor, FileDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2

from sentiment_conv1d.protos.descriptors import COMPILED, POOL
from sentiment_conv1d.server.network.buffers import Buffers
from sentiment_conv1d.server.network.turns import Turns
from sentiment_conv1d.service.grpc import health, reflection
from sentiment_conv1d.service.grpc.server import GrpcServer
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.protocols import GRPC_SERVICES
from sentiment_conv1d.service.scheduling.dataplane import DataPlane
from sentiment_conv1d.service.security.api_keys import Access
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.telemetry.metrics import Metrics
from tests.processes import PATIENCE, PROJECT

PROTOS = Path("sentiment_conv1d/protos")
MESSAGES = (PROTOS, Path("sentiment_conv1d/artifact/graphs"))

OURS = ("sentiment_conv1d.service.protocols", "sentiment_conv1d.stubs")
THEIRS = (
    "grpc_health.v1.health_pb2",
    "grpc_reflection.v1alpha.reflection_pb2",
    "tensorflow_serving.apis.prediction_service_pb2",
    "tritonclient.grpc",
)


def protoc(*arguments: str) -> None:
    """Compile the .proto files."""
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], cwd=PROJECT, check=True)


@pytest.mark.parametrize("folder", MESSAGES, ids=lambda folder: folder.name)
def test_messages_are_not_stale(folder: Path, tmp_path: Path) -> None:
    """`make stubs` does not change the generated messages."""
    protos = sorted(path.relative_to(PROJECT) for path in (PROJECT / folder).glob("*.proto"))
    protoc("--proto_path=.", f"--python_out={tmp_path}", *map(str, protos))
    for proto in protos:
        path = proto.with_name(f"{proto.stem}_pb2.py")
        generated = (tmp_path / path).read_text().replace("pool.Default()", "pool.DescriptorPool()")
        assert (PROJECT / path).read_text() == generated, f"{path.name}: run `make stubs`"


def test_descriptors_are_not_stale(tmp_path: Path) -> None:
    """`make stubs` does not change the descriptors of services that other projects define."""
    folders = (PROJECT / PROTOS / "grpc", PROJECT / PROTOS / "tensorflow")
    files = [str(path.relative_to(PROJECT)) for folder in folders for path in sorted(folder.rglob("*.proto"))]
    out = tmp_path / COMPILED.name
    protoc(f"--proto_path={PROTOS}", f"--descriptor_set_out={out}", *files)
    assert COMPILED.read_bytes() == out.read_bytes(), f"{out.name}: run `make stubs`"


def fields(message: Descriptor) -> set[tuple[Any, ...]]:
    """Return the properties of fields that decide how a message is encoded."""
    return {
        (
            *(field.number, field.name, field.type, field.is_repeated),
            field.message_type and field.message_type.full_name,
            field.containing_oneof and field.containing_oneof.name,
            field.enum_type and tuple((value.name, value.number) for value in field.enum_type.values),
        )
        for field in message.fields
    }


def methods(services: Iterable[ServiceDescriptor]) -> dict[str, tuple[bool, bool]]:
    """Return every method by its path, and whether its requests and answers are streams."""
    return {
        f"/{service.full_name}/{method.name}": (method.client_streaming, method.server_streaming)
        for service in services
        for method in service.methods
    }


@pytest.mark.parametrize("theirs", [health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR], ids=lambda file: file.package)
def test_same_as_the_grpc_packages(theirs: FileDescriptor) -> None:
    """Messages and methods are the same as in gRPC's Python packages."""
    for message in theirs.message_types_by_name.values():
        assert fields(POOL.FindMessageTypeByName(message.full_name)) == fields(message)
    services = theirs.services_by_name.values()
    ours = methods(POOL.FindServiceByName(service.full_name) for service in services)
    assert methods(services).items() <= ours.items()


@pytest.mark.parametrize(
    ("name", "file"),
    [("PredictionService", prediction_service_pb2.DESCRIPTOR), ("ModelService", model_service_pb2.DESCRIPTOR)],
)
def test_same_as_the_tensorflow_serving_stubs(name: str, file: FileDescriptor) -> None:
    """Every field and method that is declared here is the same in TensorFlow Serving's own stubs."""
    ours, original = POOL.FindServiceByName(f"tensorflow.serving.{name}"), file.services_by_name[name]
    assert methods([ours]).items() <= methods([original]).items()
    for method in ours.methods:
        for kind in ("input_type", "output_type"):
            compare(getattr(method, kind), getattr(original.methods_by_name[method.name], kind))


def compare(ours: Descriptor | None, theirs: Descriptor | None) -> None:
    """Assert that our message and its nested messages are encoded like theirs, as far as ours declares them."""
    assert ours is not None and theirs is not None
    assert ours.full_name == theirs.full_name
    for field in ours.fields:
        other = theirs.fields_by_name[field.name]
        assert (field.number, field.type, field.is_repeated) == (other.number, other.type, other.is_repeated)
        if field.message_type is not None:
            compare(field.message_type, other.message_type)
        if field.enum_type is not None and other.enum_type is not None:
            numbers = {value.name: value.number for value in other.enum_type.values}
            assert {value.name: value.number for value in field.enum_type.values}.items() <= numbers.items()


def test_versions_of_reflection() -> None:
    """The versions of reflection differ only in their names."""
    new, old = (
        str(FileDescriptorProto.FromString(POOL.FindFileContainingSymbol(service).serialized_pb))
        for service in reflection.SERVICES
    )
    assert old.replace("v1alpha", "v1") == new != old


def test_no_extensions() -> None:
    """No message has extensions, so reflection finds none."""
    services = [*(each.descriptor for each in GRPC_SERVICES), health.SERVICE]
    files = {POOL.FindFileContainingSymbol(service.full_name) for service in services}
    files |= {POOL.FindFileContainingSymbol(service) for service in reflection.SERVICES}
    for file in files:
        for each in (file, *file.dependencies):
            assert not each.extensions_by_name
            assert not [message.full_name for message in each.message_types_by_name.values() if message.is_extendable]


@pytest.mark.parametrize("modules", [(*OURS, *THEIRS), (*THEIRS, *OURS)], ids=["ours first", "theirs first"])
def test_grpc_packages_in_one_process(modules: tuple[str, ...]) -> None:
    """A process can load gRPC's packages and clients beside the service and its stubs, in either order."""
    program = f"import {', '.join(modules)}"
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True, timeout=PATIENCE)


def test_every_method_is_answered() -> None:
    """The methods of the .proto files are served, with the same streams."""
    models = LoadedModels()
    state = ServiceState(
        Settings(), cast(DataPlane, SimpleNamespace(expect=None)), models, Access(Settings()), Metrics({})
    )

    async def answered() -> dict[str, tuple[bool, bool]]:
        turns = Turns(asyncio.get_running_loop())
        served = GrpcServer(state, GRPC_SERVICES, buffers=Buffers(0), turns=turns)._methods
        return {path.decode(): (each.streaming, each.streaming or each.watching) for path, each in served.items()}

    services = [
        *(each.descriptor for each in GRPC_SERVICES),
        *(health.SERVICE, *map(POOL.FindServiceByName, reflection.SERVICES)),
    ]
    assert asyncio.run(answered()) == methods(services)
