"""The errors of this service: of requests for predictions, and of its start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sentiment_conv1d.artifact.errors import SentimentError
from sentiment_conv1d.inference import errors
from sentiment_conv1d.server.errors import RequestError


class StartupError(SentimentError):
    """The service cannot start with these settings."""


class Invalid(RequestError, code="invalid", http=422, grpc="INVALID_ARGUMENT"):
    """The request is well-formed, but does not have the shape that the route expects."""


class NotExplainable(RequestError, code="not_explainable", http=422, grpc="FAILED_PRECONDITION"):
    """The decisions of this model cannot be explained exactly."""


@contextmanager
def explaining() -> Iterator[None]:
    """Raise the errors of an explainer as errors of the request."""
    try:
        yield
    except errors.NotExplainable as error:
        raise NotExplainable(str(error)) from None
    except errors.UnknownName as error:
        raise Invalid(str(error)) from None


class Forbidden(RequestError, code="forbidden", http=403, grpc="PERMISSION_DENIED"):
    """The caller lacks a client certificate or an administration key, or the request comes from another site."""


class NotFound(RequestError, code="not_found", http=404, grpc="NOT_FOUND"):
    """The route, model or version does not exist."""
