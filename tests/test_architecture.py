"""Imports point one way, and no module is a drawer for odds and ends."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.processes import PATIENCE, PROJECT

LIGHT = {"errors", "configuration", "tokenizer", "vocabulary", "artifact", "padding"}
TRAINING = {"tensorflow", "keras", "tf2onnx", "onnx", "sklearn", "matplotlib"}
PROTOS = "service.grpc.protos."
WEB = {"grpc", "fastapi", "starlette", "uvicorn", "httptools"}
CLIENTS = {"grpc", "grpc_health", "grpc_reflection", "prometheus_client"}

FILES = sorted(
    path.relative_to(PROJECT)
    for room in ("model", "export", "service", "loadtest")
    for path in (PROJECT / room).rglob("*.py")
)


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it, by its full name; of `from a import b`, a and a.b."""
    for node in ast.walk(ast.parse((PROJECT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(module: str) -> str:
    return module.split(".")[0]


def is_heavy(module: str) -> bool:
    """Whether a module belongs to the training half of `model`."""
    parts = module.split(".")
    return parts[0] == "model" and len(parts) > 1 and parts[1] not in LIGHT


def is_client(module: str) -> bool:
    """Whether a module is one of the stubs that gRPC's clients for Python use."""
    return module.endswith("_pb2_grpc")


def is_core(path: Path) -> bool:
    """Whether a file of `service` belongs to the core, which knows no protocol."""
    return path.parts[1] not in {"rest", "grpc", "process", "__main__.py"}


#: What a file must not import.
RULES: dict[str, tuple[Callable[[Path], bool], Callable[[str], bool]]] = {
    "service never trains or exports": (
        lambda path: room_of(path) == "service",
        lambda module: room(module) in TRAINING | {"export"} or is_heavy(module),
    ),
    "the core of service knows no protocol": (
        lambda path: room_of(path) == "service" and is_core(path),
        lambda module: (
            room(module) in WEB or module.startswith(("service.rest", "service.grpc", "service.process.server"))
        ),
    ),
    "service needs no library that is for its clients": (
        lambda path: room_of(path) == "service",
        lambda module: room(module) in CLIENTS or is_client(module),
    ),
    "model knows neither export nor service": (
        lambda path: room_of(path) == "model",
        lambda module: room(module) in {"export", "service"},
    ),
    "the light half of model stays light": (
        lambda path: room_of(path) == "model" and path.stem in LIGHT,
        lambda module: room(module) in TRAINING | {"tqdm", "pyarrow"} or is_heavy(module),
    ),
    "export does not know service": (
        lambda path: room_of(path) == "export",
        lambda module: room(module) == "service",
    ),
    "loadtest knows of the service only its messages": (
        lambda path: room_of(path) == "loadtest",
        lambda module: (
            (room(module) == "service" and not f"{module}.".startswith(PROTOS))
            or room(module) in TRAINING | {"export", "benchmarks"}
            or is_heavy(module)
        ),
    ),
    "nothing that is tested knows its tests": (
        lambda path: room_of(path) != "loadtest",
        lambda module: room(module) in {"loadtest", "benchmarks"},
    ),
    "only the scenarios need Locust": (
        lambda path: path != Path("loadtest/locustfile.py"),
        lambda module: room(module) in {"locust", "gevent"},
    ),
    "nothing imports the tests": (lambda path: True, lambda module: room(module) == "tests"),
}


def room_of(path: Path) -> str:
    return path.parts[0]


@pytest.mark.parametrize("rule", RULES)
def test_imports(rule: str) -> None:
    """No file imports what its room must not know."""
    applies, forbids = RULES[rule]
    files = [path for path in FILES if applies(path)]
    assert files
    assert [f"{path}: {module}" for path in files for module in imports(path) if forbids(module)] == []


def test_rules_see_the_imports() -> None:
    """The rules would see a wrong import, whichever way it is written."""
    assert "uvicorn" in set(imports(Path("service/process/worker.py")))
    assert "service.scoring" in set(imports(Path("service/__main__.py")))
    assert any(is_heavy(module) for path in FILES for module in imports(path) if room_of(path) == "export")
    assert is_heavy("model.network") and not is_heavy("model.artifact.publish")


def test_service_runs_without_what_is_for_its_clients() -> None:
    """A process that serves has none of their libraries loaded, by whatever way."""
    program = "import sys, service.grpc.server, service.process.server, service.process.worker; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    loaded = {room(module) for module in result.stdout.split()}
    assert {"service", "uvicorn", "google"} <= loaded
    assert not loaded & CLIENTS


@pytest.mark.parametrize("path", FILES, ids=str)
def test_names(path: Path) -> None:
    """A module is named after what it holds, not after being useful."""
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc"}
    assert not {"utils", "helpers", "common"} & set(path.parts)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_docstrings(path: Path) -> None:
    """Every module says in its first line what it is."""
    assert ast.get_docstring(ast.parse((PROJECT / path).read_text()))
