"""Fixtures of the service, with which the server is tested as users run it."""

from tests.service.conftest import channel, classifier, repository, server, several, stub

__all__ = ["channel", "classifier", "repository", "server", "several", "stub"]
