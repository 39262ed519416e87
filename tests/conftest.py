"""Hypothesis profiles and collection rules for all tests."""

from pathlib import Path

import pytest
from hypothesis import settings

# These tests need programs of other languages, and Ray. `make interop` and `make test-ray` select their folders.
collect_ignore = ["interop", "cluster/on_ray"]

#: Tests whose coverage is not measured: other tests run the same lines of the measured packages, and the tracer would
#: double the time that these tests spend in Keras, Hypothesis and Playwright.
_UNMEASURED = (
    "benchmarks",
    "export/test_classic_examples.py",
    "fuzz",
    "model/evaluation/test_report_in_chromium.py",
    "service/page",
    "service/test_oip_property.py",
)

# A deadline would assert on time, and any machine can be slow.
settings.register_profile("project", deadline=None)
# For `make fuzz`: enough random examples for some minutes.
settings.register_profile("fuzz", settings.get_profile("project"), max_examples=5000, print_blob=True)
settings.load_profile("project")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Exclude tests from the coverage."""
    for item in items:
        path = item.path.relative_to(Path(__file__).parent)
        if any(path.is_relative_to(each) for each in _UNMEASURED):
            item.add_marker("no_cover")
