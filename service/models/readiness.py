"""Readiness of a worker."""

from __future__ import annotations

from sentiment_conv1d.server.errors import RequestError, Unavailable
from sentiment_conv1d.service.models.loaded import LoadedModels


class Readiness:
    """A worker is ready if the default model can answer, every split is complete, and the worker is not draining."""

    def __init__(self, models: LoadedModels) -> None:
        self._models = models
        self.draining = False  # shutting down: requests are still answered

    @property
    def ready(self) -> bool:
        """Whether the worker is ready for traffic."""
        try:
            self.check()
        except Unavailable:
            return False
        return True

    def check(self) -> None:
        """Raise `Unavailable` with the reason if the worker is not ready."""
        self.check_draining()
        self._models.check_routing()
        try:
            self._models.get()
        except RequestError as error:
            raise Unavailable(error.message) from None

    def check_draining(self) -> None:
        """Raise `Unavailable` if the worker is shutting down."""
        if self.draining:
            raise Unavailable("shutting down")
