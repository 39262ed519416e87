"""Hypothesis profiles and collection rules for all tests."""

from hypothesis import settings

# These tests need programs of other languages. `make interop` selects their folder.
collect_ignore = ["interop"]

# A deadline would assert on time, and any machine can be slow.
settings.register_profile("project", deadline=None)
# For `make fuzz`: enough random examples for some minutes.
settings.register_profile("fuzz", settings.get_profile("project"), max_examples=5000, print_blob=True)
settings.load_profile("project")
