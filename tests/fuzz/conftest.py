"""Loads the shipped model in this process."""

from tests.service.conftest import artifact, classifier

__all__ = ["artifact", "classifier"]
