"""Imports follow the layers, and no module is a collection of helpers."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from tests.processes import PATIENCE, PROJECT

TRAINING = {"tensorflow", "keras", "tf2onnx", "onnx", "sklearn", "matplotlib", "jinja2"}
WEB = {"grpc", "fastapi", "starlette", "uvicorn", "httptools"}
CLIENTS = {"grpc", "grpc_health", "grpc_reflection", "prometheus_client"}

#: The modules that import pyarrow, which are imported only for Parquet files and Arrow tables.
PARQUET = {
    Path("sentiment_conv1d/tables/parquet.py"),
    Path("sentiment_conv1d/scoring/batches.py"),
    Path("sentiment_conv1d/scoring/parquet.py"),
}

#: The packages of `service` that speak to clients.
CARRIERS = ("service.protocols", "service.rest", "service.grpc")

#: The modules of `service.process` that start REST or gRPC.
RUNNERS = {Path("service/process/server.py"), Path("service/process/standalone.py"), Path("service/process/worker.py")}

#: The package of the distribution, the subpackages in its folder, and those in folders beside it.
DISTRIBUTION = "sentiment_conv1d"
ROOMS = (
    "artifact",
    "cluster",
    "commands",
    "drift",
    "inference",
    "native",
    "protos",
    "scoring",
    "sharing",
    "tables",
)
FOLDERS = ("export", "model", "server", "service")


def files_in(*folders: str) -> list[Path]:
    """Return every Python file in folders of the project."""
    return sorted(path.relative_to(PROJECT) for folder in folders for path in (PROJECT / folder).rglob("*.py"))


def package_of(path: Path) -> str:
    """Return the package of a file: a subpackage, a folder of tools, or the package of the distribution."""
    return path.parts[1] if path.parts[0] == DISTRIBUTION and path.parts[1] in ROOMS else path.parts[0]


FILES = files_in(DISTRIBUTION, *FOLDERS, "loadtest", "research")


def imports(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, under its name in the rules. `from a import b` yields a and a.b."""
    return (name.removeprefix(f"{DISTRIBUTION}.") for name in full_names(path))


@cache
def full_names(path: Path) -> tuple[str, ...]:
    """Return the names of imported modules, with the distribution's package as prefix."""
    return tuple(_full_names(path))


def _full_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse((PROJECT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def package(module: str) -> str:
    return module.split(".")[0]


def is_client(module: str) -> bool:
    """Whether a module is one of the stubs of Python gRPC clients."""
    return module.endswith("_pb2_grpc")


def is_core(path: Path) -> bool:
    """Whether a file of `service` belongs to the core, which is independent of protocols."""
    return path.parts[1] not in {"protocols", "rest", "grpc", "__main__.py"} and path not in RUNNERS


def side_of(path: Path) -> str:
    """Return to which side of a client protocol a file belongs: `rest`, `grpc`, `shared`, or none of them."""
    if path.parts[:2] != ("service", "protocols") or len(path.parts) < 4 or path.name == "__init__.py":
        return ""
    side = path.parts[3].removesuffix(".py")
    return side if side in {"rest", "grpc"} else "shared"


def is_of(side: str, module: str) -> bool:
    """Whether a module of the service belongs to REST or gRPC, or to this side of a protocol."""
    parts = module.split(".")
    return parts[0] == "service" and side in (parts[1:2] if parts[1:2] != ["protocols"] else parts[3:4])


#: The packages that a package imports besides itself.
IMPORTED: dict[str, set[str]] = {
    "native": set(),
    "protos": set(),
    "commands": {"artifact"},
    "server": set(),
    "artifact": {"native"},
    "tables": {"artifact", "commands"},
    "inference": {"artifact", "native"},
    "drift": {"artifact", "tables", "commands"},
    "sharing": {"artifact", "commands"},
    "model": {"artifact", "tables", "commands", "inference"},
    "export": {"artifact", "tables", "commands", "model"},
    "research": {"artifact", "tables", "commands", "model", "inference", "loadtest"},
}

#: What a file must not import.
RULES: dict[str, tuple[Callable[[Path], bool], Callable[[str], bool]]] = {
    "server knows no framework of applications": (
        lambda path: package_of(path) == "server",
        lambda module: package(module) in {"fastapi", "pydantic", "onnxruntime"},
    ),
    "service never trains or exports": (
        lambda path: package_of(path) == "service",
        lambda module: package(module) in TRAINING | {"export", "model"},
    ),
    "the core of service knows no protocol": (
        lambda path: package_of(path) == "service" and is_core(path),
        lambda module: package(module) in WEB or module.startswith((*CARRIERS, "service.process.server")),
    ),
    "the REST side of a protocol knows no gRPC": (
        lambda path: side_of(path) == "rest",
        lambda module: is_of("grpc", module),
    ),
    "the gRPC side of a protocol knows no REST": (
        lambda path: side_of(path) == "grpc",
        lambda module: is_of("rest", module),
    ),
    "what both sides of a protocol share knows neither": (
        lambda path: side_of(path) == "shared",
        lambda module: package(module) in WEB or is_of("rest", module) or is_of("grpc", module),
    ),
    "only the stubs import a library of clients": (
        lambda path: path != Path("sentiment_conv1d/stubs.py") and package_of(path) not in {"loadtest", "research"},
        lambda module: package(module) in CLIENTS or is_client(module),
    ),
    "inference and sharing know neither a protocol nor training": (
        lambda path: package_of(path) in {"inference", "sharing"},
        lambda module: package(module) in WEB | CLIENTS | TRAINING,
    ),
    "what the service reads of a model needs no library for training": (
        lambda path: package_of(path) in {"artifact", "tables", "commands"},
        lambda module: package(module) in TRAINING | {"tqdm"},
    ),
    "only the command line of model and the recipes train": (
        lambda path: (
            path.parts[:2] != ("model", "training")
            and path != Path("model/__main__.py")
            and package_of(path) != "research"
        ),
        lambda module: module.startswith("model.training"),
    ),
    "pyarrow is loaded only to read or write Parquet": (
        lambda path: path not in PARQUET and package_of(path) not in {"loadtest", "research"},
        lambda module: package(module) == "pyarrow",
    ),
    "scoring knows neither a protocol nor training": (
        lambda path: package_of(path) == "scoring",
        lambda module: (
            package(module) in WEB | CLIENTS | TRAINING | {"export", "model"}
            or module.startswith((*CARRIERS, "service.process.server"))
        ),
    ),
    "only the command line of service runs offline commands": (
        lambda path: package_of(path) == "service" and path != Path("service/__main__.py"),
        lambda module: package(module) in {"scoring", "drift"} or module.startswith(("sharing.pull", "sharing.push")),
    ),
    "Ray is loaded only by what runs on it": (
        lambda path: path != Path("sentiment_conv1d/cluster/application.py"),
        lambda module: package(module) == "ray",
    ),
    "only the cluster imports the Python interface": (
        lambda path: package_of(path) not in {DISTRIBUTION, "cluster", "loadtest"},
        lambda module: package(module) in {"hosting", "loading", "models", "pyfunc", "records", "stubs"},
    ),
    "the Python interface never trains or exports": (
        lambda path: package_of(path) == DISTRIBUTION and path.stem != "__main__",
        lambda module: package(module) in TRAINING | {"cluster", "export", "model"},
    ),
    "nothing imports the cluster": (
        lambda path: package_of(path) != "cluster",
        lambda module: package(module) == "cluster",
    ),
    "the cluster never trains or exports": (
        lambda path: package_of(path) == "cluster",
        lambda module: package(module) in TRAINING | {"export", "model", "scoring"},
    ),
    "loadtest does not know the service": (
        lambda path: package_of(path) == "loadtest",
        lambda module: (
            package(module) in TRAINING - {"jinja2", "matplotlib"} | {"service", "export", "model", "benchmarks"}
        ),
    ),
    "drift knows neither a protocol nor training": (
        lambda path: package_of(path) == "drift",
        lambda module: package(module) in WEB | CLIENTS | TRAINING,
    ),
    "nothing imports the recipes": (
        lambda path: package_of(path) != "research",
        lambda module: package(module) == "research",
    ),
    "nothing that is tested knows its tests": (
        lambda path: package_of(path) not in {"loadtest", "research"},
        lambda module: package(module) in {"loadtest", "benchmarks"},
    ),
    "only the scenarios need Locust": (
        lambda path: path != Path("loadtest/locustfile.py"),
        lambda module: package(module) in {"locust", "gevent"},
    ),
    "nothing imports the tests": (lambda path: True, lambda module: package(module) == "tests"),
}


@pytest.mark.parametrize("rule", RULES)
def test_imports(rule: str) -> None:
    """No file imports a module that its package must not import."""
    applies, forbids = RULES[rule]
    files = [path for path in FILES if applies(path)]
    assert files
    assert [f"{path}: {module}" for path in files for module in imports(path) if forbids(module)] == []


@pytest.mark.parametrize("name", IMPORTED)
def test_imported_packages(name: str) -> None:
    """A package imports exactly these other packages."""
    imported = {package(module) for path in FILES if package_of(path) == name for module in imports(path)}
    assert imported & {*ROOMS, *FOLDERS, "loadtest"} - {name} == IMPORTED[name]


def test_rules_see_the_imports() -> None:
    """The rules detect a wrong import in every syntax."""
    assert f"{DISTRIBUTION}.service.settings" in set(full_names(Path("service/__main__.py")))
    assert "uvicorn" in set(imports(Path("server/process/worker.py")))
    assert "scoring.command" in set(imports(Path("service/__main__.py")))
    assert package_of(Path("sentiment_conv1d/artifact/graphs/text/file.py")) == "artifact"
    assert package_of(Path("sentiment_conv1d/models.py")) == DISTRIBUTION


def test_libraries_of_clients() -> None:
    """A serving process does not load the libraries of clients, or a top-level package such as `model`."""
    served = ", ".join(f"{DISTRIBUTION}.service.{each}" for each in ("grpc.server", "process.server", "process.worker"))
    program = f"import sys, {served}; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    loaded = {package(module) for module in result.stdout.split()}
    assert {DISTRIBUTION, "uvicorn", "google"} <= loaded
    assert not loaded & (CLIENTS | set(FOLDERS))


def test_full_names() -> None:
    """No file imports a subpackage from the top level, where an installed package does not have it."""
    files = files_in(DISTRIBUTION, *FOLDERS, "loadtest", "benchmarks", "research", "tests")
    assert [f"{path}: {name}" for path in files for name in full_names(path) if package(name) in FOLDERS] == []


def test_no_links() -> None:
    """The project contains no symbolic links, which ZIP archives and Windows turn into small text files."""
    if not (PROJECT / ".git").exists():
        pytest.skip("this is not a checkout of Git")
    listed = subprocess.run(["git", "ls-files", "--stage"], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert [line for line in listed.stdout.splitlines() if line.startswith("120000")] == []


def test_folders_are_in_the_package() -> None:
    """Every folder with code, except the development tools, is a subpackage, under its full name only."""
    code = {path.parent.name for path in PROJECT.glob("*/__init__.py")}
    assert set(FOLDERS) == code - {DISTRIBUTION, "benchmarks", "loadtest", "research", "tests"}
    assert set(ROOMS) == {path.parent.name for path in (PROJECT / DISTRIBUTION).glob("*/__init__.py")}
    for folder in FOLDERS:
        assert import_module(f"{DISTRIBUTION}.{folder}").__file__ == str(PROJECT / folder / "__init__.py")


#: Packages and modules of `server` and `service` in layers, from the bottom. A module imports from its own package and
#: from lower layers. Modules of the lowest layer, which has no packages, can import each other.
SERVER_LAYERS = (("errors", "log_limit", "request_ids"), ("network",), ("http", "grpc"), ("process",))
SERVICE_LAYERS = (
    (
        "errors",
        "version",
        "version_policy",
        "version_labels",
        "fingerprint",
        "settings",
    ),
    ("telemetry",),
    ("security",),
    ("scheduling",),
    ("models",),
    ("rest", "grpc"),
    ("protocols",),
    ("process",),
    ("flags",),
    ("__main__",),
)

LAYERS = {"server": SERVER_LAYERS, "service": SERVICE_LAYERS}

Edges = set[tuple[str, str]]


def module_of(path: Path) -> str:
    """Return the name of a module of a folder, without that of the folder. A package has the name of its own folder."""
    return ".".join(path.with_suffix("").parts[1:]).removesuffix("__init__").removesuffix(".")


def within(name: str, package: str) -> bool:
    return f"{name}.".startswith(f"{package}.")


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def edges(folder: str, sources: Mapping[str, str], *, for_types: bool) -> Edges:
    """Return the imports between modules of a folder, either those for annotations only or all others."""
    found = set()
    for name, source in sources.items():
        tree = ast.parse(source.replace(f"{DISTRIBUTION}.", ""))
        typed = {each for node in ast.walk(tree) if is_for_types(node) for each in ast.walk(node)}
        for node in ast.walk(tree):
            if (node in typed) != for_types:
                continue
            imported: list[str] = []
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                # `from a import b` imports a.b if that is a module, and otherwise a.
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                modules = {each for each in inner if each.removeprefix(f"{folder}.") in sources}
                imported = [*modules, *([f"{node.module}"] if inner - modules else [])]
            own = {each.removeprefix(f"{folder}.") for each in imported if each.startswith(f"{folder}.")}
            found |= {(name, each) for each in own & sources.keys()}
    return found


def layer_of(folder: str, module: str) -> tuple[int, str]:
    """Return the number of a module's layer, and its package in this layer."""
    layers = enumerate(LAYERS[folder])
    found = [(number, each) for number, layer in layers for each in layer if within(module, each)]
    assert found, f"{folder}.{module} is in no layer"
    return max(found, key=lambda entry: len(entry[1]))


def upward(folder: str, imported: Edges) -> Edges:
    """Return the imports from a higher layer, or from another package of the same layer."""
    found = set()
    for importer, module in imported:
        (own, package), (other, where) = layer_of(folder, importer), layer_of(folder, module)
        if other > own or (other == own > 0 and package != where):
            found.add((importer, module))
    return found


def circles(imported: Edges) -> set[frozenset[str]]:
    """Return the largest sets of modules that import each other, directly or through other modules."""
    reached: dict[str, set[str]] = {}
    for start in {importer for importer, _ in imported}:
        reached[start], left = set(), [start]
        while left:
            name = left.pop()
            new = {module for importer, module in imported if importer == name} - reached[start]
            reached[start] |= new
            left += new
    return {
        frozenset(other for other in those if start in reached.get(other, ()))
        for start, those in reached.items()
        if start in those
    }


def sources_of(folder: str) -> dict[str, str]:
    files = {module_of(path): path for path in FILES if package_of(path) == folder}
    return {name: (PROJECT / path).read_text() for name, path in files.items() if name}


@pytest.mark.parametrize("folder", LAYERS)
def test_layers(folder: str) -> None:
    """A module imports only from its own package and from lower layers, also for annotations."""
    sources = sources_of(folder)
    for for_types in (False, True):
        assert upward(folder, edges(folder, sources, for_types=for_types)) == set()


@pytest.mark.parametrize("folder", LAYERS)
def test_circles(folder: str) -> None:
    """No modules import each other, not even in functions or for annotations."""
    sources = sources_of(folder)
    assert circles(edges(folder, sources, for_types=False) | edges(folder, sources, for_types=True)) == set()


def test_detected_imports() -> None:
    """The rules detect an import in a function, an import for annotations, and a circle of three modules."""
    sources = {
        "telemetry.logs": "def f():\n    from service.scheduling import dataplane",
        "scheduling.dataplane": "if TYPE_CHECKING:\n    import service.rest.app",
        "rest.app": "from service.telemetry.logs import configure\nfrom service.grpc import status",
        "grpc.status": "import os",
    }
    runs, annotates = (edges("service", sources, for_types=each) for each in (False, True))
    assert upward("service", runs) == {("telemetry.logs", "scheduling.dataplane"), ("rest.app", "grpc.status")}
    assert upward("service", annotates) == {("scheduling.dataplane", "rest.app")}
    assert circles(runs) == set()
    assert circles(runs | annotates) == {frozenset({"telemetry.logs", "scheduling.dataplane", "rest.app"})}


def test_names() -> None:
    """No module has a name like `utils`."""
    collections = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert [path for path in FILES if path.stem in collections or collections & set(path.parts)] == []


def test_docstrings() -> None:
    """Every module has a docstring."""
    assert [path for path in FILES if not ast.get_docstring(ast.parse((PROJECT / path).read_text()))] == []
