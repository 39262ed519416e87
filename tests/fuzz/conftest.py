"""Loads the shipped model in this process."""

from tests.service.conftest import classifier

__all__ = ["classifier"]
