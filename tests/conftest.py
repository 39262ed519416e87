"""What holds for every test."""

from hypothesis import settings

# A deadline would be a timing assert, and machines are slow for reasons of their own.
settings.register_profile("project", deadline=None)
settings.load_profile("project")
