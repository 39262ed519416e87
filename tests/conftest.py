"""Hypothesis profiles, collection rules, and the shipped model for all tests."""

import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

from sentiment_conv1d.model.artifact import Artifact, read_artifact
from sentiment_conv1d.model.commands.imports import uncollected
from tests.processes import MODEL_REPOSITORY

# Without compiled files, each of the hundreds of processes that tests start would compile the project, and each process
# of a parallel run would rewrite the assertions of all tests.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# These tests need programs of other languages, and Ray. `make interop` and `make test-ray` select their folders.
collect_ignore = ["interop", "cluster/on_ray"]

#: Files that take longest, the longest first. They start first, because a parallel run would otherwise end with one
#: process that still works on one of them.
_LONGEST = (
    "faults/test_scenarios.py",
    "export/test_own_models.py",
    "service/test_memory.py",
    "service/rest/test_schemathesis.py",
    "model/training/test_trainer.py",
    "sharing/test_push.py",
    "service/test_remote_repository.py",
    "service/models/test_reconciler.py",
    "server/process/test_heap.py",
    "service/test_perf_analyzer.py",
    "service/test_oip_property.py",
    "loadtest/test_accuracy.py",
    "service/page/test_own_models.py",
    "loadtest/test_locustfile.py",
    "service/process/test_supervisor.py",
    "service/test_concurrency.py",
    "loadtest/test_tls.py",
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
    """Sort the longest files to the front."""
    ranks = {str(Path(__file__).parent / path): rank for rank, path in enumerate(_LONGEST)}
    items.sort(key=lambda item: ranks.get(str(item.path), len(ranks)))


@pytest.fixture(scope="session")
def artifact() -> Artifact:
    """Return the artifact of the shipped model."""
    return read_artifact(MODEL_REPOSITORY / "imdb-cnn" / "1")
