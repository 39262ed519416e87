"""Hypothesis profiles, collection rules, and the shipped model for all tests."""

import os
import sys
from collections import defaultdict
from collections.abc import Generator

import pytest
from hypothesis import settings

from sentiment_conv1d.artifact.artifact import Artifact, read_artifact
from sentiment_conv1d.commands.imports import uncollected
from tests import processor_time
from tests.processes import MODEL_REPOSITORY

# Without compiled files, each of the hundreds of processes that tests start would compile the project, and each process
# of a parallel run would rewrite the assertions of all tests.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Standard output of the processes that tests start is buffered, as in most shells. A shell can set this, and then they
# write other bytes at other times.
os.environ.pop("PYTHONUNBUFFERED", None)

# After a fork, the client of gRPC would start its threads again in the child, and abort it when the child closes the
# descriptors that it does not need.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"

# These tests need programs of other languages, and Ray. `make interop` and `make test-ray` select their folders.
collect_ignore = ["interop", "cluster/on_ray"]

#: Folders and files whose tests are slow as a whole: each needs a program or a server of its own kind.
_SEPARATE = (
    "attacks",
    "benchmarks",
    "deploy",
    "export/conversion/test_mlflow.py",
    "faults",
    "fuzz",
    "inference/test_provider.py",
    "loadtest/test_locustfile.py",
    "loadtest/test_tls.py",
    "model/training/test_report_in_chromium.py",
    "mutants",
    "native",
    "package",
    "research",
    "sentiment_conv1d/test_stream.py",
    "service/page",
    "service/protocols/oip/test_perf_analyzer.py",
    "service/protocols/oip/test_triton_clients.py",
    "service/rest/test_browsers.py",
    "service/rest/test_schemathesis.py",
    "service/test_memory.py",
    "service/test_remote_repository.py",
    "sharing",
    "test_clients_page.py",
    "test_make.py",
    "test_rollouts_page.py",
)

# A deadline would assert on time, and any machine can be slow.
settings.register_profile("project", deadline=None)
# For `make fuzz`: enough random examples for some minutes.
settings.register_profile("fuzz", settings.get_profile("project"), max_examples=5000, print_blob=True)
settings.load_profile("project")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without searching for garbage, and exclude what stays until the end from later searches."""
    with uncollected():
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests, and sort the files with most of their time to the front.

    A parallel run would otherwise end with one process that still works on one of them.
    """
    seconds = processor_time.slow_seconds()
    by_file: defaultdict[str, float] = defaultdict(float)
    for test, each in seconds.items():
        by_file[test.partition("::")[0]] += each
    separate = tuple(f"tests/{each}{'' if each.endswith('.py') else '/'}" for each in _SEPARATE)
    for item in items:
        uses_chromium = "browser" in getattr(item, "fixturenames", ())
        if uses_chromium or item.nodeid.startswith(separate) or item.nodeid.partition("[")[0] in seconds:
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: -by_file[item.nodeid.partition("::")[0]])


@pytest.fixture(scope="session")
def artifact() -> Artifact:
    """Return the artifact of the shipped model."""
    return read_artifact(MODEL_REPOSITORY / "imdb-cnn" / "1")
