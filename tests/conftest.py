"""What holds for every test."""

from hypothesis import settings

# They need other languages' programs: `make interop` names their folder.
collect_ignore = ["interop"]

# A deadline would be a timing assert, and machines are slow for reasons of their own.
settings.register_profile("project", deadline=None)
# For `make fuzz`: as many examples as some minutes hold, other ones every time.
settings.register_profile("fuzz", settings.get_profile("project"), max_examples=5000, print_blob=True)
settings.load_profile("project")
