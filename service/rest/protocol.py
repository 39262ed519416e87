"""A REST protocol: its routes, and the form of its errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from fastapi import APIRouter
from pydantic import BaseModel

from sentiment_conv1d.service.errors import Invalid, RequestError
from sentiment_conv1d.service.rest.endpoint import Endpoint, to_json


class PlainError(BaseModel):
    """An error of the protocol's routes."""

    error: str


def plain_error_body(error: RequestError, request_id: str) -> bytes:
    """`{"error": "..."}`."""
    return to_json({"error": error.message})


@dataclass(frozen=True)
class RestProtocol:
    """A group of routes that share an OpenAPI tag and a form of errors.

    An endpoint decodes the body of a POST request and encodes the answer. `{name}` in its path is a parameter. The
    routers contain the routes that FastAPI handles.
    """

    tag: str
    endpoints: Mapping[str, type[Endpoint]] = field(default_factory=dict)  # by path
    routers: tuple[APIRouter, ...] = ()
    health: tuple[str, ...] = ()  # the paths of the health probes
    prefix: str | None = None  # of all paths whose errors have this form, including paths without a route
    error_model: type[BaseModel] = PlainError
    error_body: Callable[[RequestError, str], bytes] = plain_error_body  # with the request id
    invalid_status: HTTPStatus = HTTPStatus.BAD_REQUEST  # of `Invalid`; most protocols have no status 422

    def status(self, error: RequestError | type[RequestError]) -> HTTPStatus:
        """Return the status of an error."""
        return self.invalid_status if error.code == Invalid.code else error.http_status
