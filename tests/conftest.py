"""Hypothesis profiles and collection rules for all tests."""

from hypothesis import settings

# These tests need programs of other languages, and Ray. `make interop` and `make test-ray` select their folders.
collect_ignore = ["interop", "cluster/on_ray"]

# A deadline would assert on time, and any machine can be slow.
settings.register_profile("project", deadline=None)
# For `make fuzz`: enough random examples for some minutes.
settings.register_profile("fuzz", settings.get_profile("project"), max_examples=5000, print_blob=True)
settings.load_profile("project")
