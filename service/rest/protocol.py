"""A REST protocol: its routes, and the form of its errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from http import HTTPStatus
from inspect import getdoc
from typing import Any, NamedTuple

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Receive, Scope, Send

from sentiment_conv1d.server.errors import RequestError, Unavailable
from sentiment_conv1d.server.http import refusal
from sentiment_conv1d.server.http.asgi import send_body
from sentiment_conv1d.server.http.compression import choose_encoding, compress
from sentiment_conv1d.server.http.request import Answer
from sentiment_conv1d.service.errors import Invalid
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.rest.endpoint import Endpoint, Respond, to_json

#: A header of documents and pages over TLS.
STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")

#: Compares the headers of requests and responses. It has no folder.
_FILES = StaticFiles(check_dir=False)


class ErrorDetail(BaseModel):
    """The code and the message of an error, and the id of the request."""

    code: str
    message: str
    request_id: str


class ErrorResponse(BaseModel):
    """An error of a native route."""

    error: ErrorDetail


class PlainError(BaseModel):
    """An error of the protocol's routes."""

    error: str


class Document(NamedTuple):
    """An answer to GET requests that exists already, or that takes no longer than finding it: a file, or health.

    `answer` returns it, or raises `RequestError`. `route` is the declared path of the FastAPI route that returns the
    same to requests that do not take the fast path. A `compressed` one has an encoding that the client accepts.
    """

    route: str
    answer: Callable[[ServiceState], Answer]
    compressed: bool = False

    def read(self, state: ServiceState, headers: Mapping[bytes, bytes]) -> Answer:
        """Return the answer to a request with these headers, by lower-case name. Raises `RequestError`."""
        answer = self.answer(state)
        return encoded(answer, choose_encoding(headers.get(b"accept-encoding", b""))) if self.compressed else answer


@lru_cache(maxsize=4)
def encoded(answer: Answer, encoding: bytes) -> Answer:
    """Return an answer in an encoding. The same answer to several requests is compressed once."""
    fields = (*answer.headers, (b"vary", b"accept-encoding"))
    if encoding:
        fields += ((b"content-encoding", encoding),)
    return Answer(compress(answer.body, encoding), answer.content_type, fields)


class RestProtocol(APIRouter):
    """The routes that share an OpenAPI tag and a form of errors.

    `endpoint` declares an endpoint, `document` a route of GET requests, and `probe` one for health checks. FastAPI
    handles the other routes, which are declared as in every router. Errors have the native form; subclasses have other
    forms.
    """

    error_model: type[BaseModel] = ErrorResponse
    invalid_status = Invalid.http_status

    def __init__(self, tag: str, *, prefix: str = "", **options: Any) -> None:
        """Create a protocol without routes.

        Errors of all paths that begin with the prefix have the form of the protocol, including paths without a route.
        """
        super().__init__(prefix=prefix, tags=[tag], **options)
        self.health: set[str] = set()  # paths of health probes
        self.endpoints: list[Endpoint] = []
        self.documents: dict[str, Document] = {}  # by path

    # Routers are compared by their routes, which have no hash. `openapi.write` caches the document of its protocols.

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def endpoint(
        self,
        path: str,
        summary: str,
        request_model: type[BaseModel],
        response_model: type[BaseModel],
        example: dict[str, Any],
        *,
        takes_text: bool = False,
    ) -> Callable[[Respond], Respond]:
        """Declare an endpoint, which the decorated function answers. The other values describe it in OpenAPI."""

        def declare(respond: Respond) -> Respond:
            self.endpoints.append(Endpoint(path, respond, summary, request_model, response_model, example, takes_text))
            return respond

        return declare

    def document(
        self, path: str, summary: str, *, compressed: bool = False, **options: Any
    ) -> Callable[[Callable[[ServiceState], Answer]], Callable[[ServiceState], Answer]]:
        """Declare the route of a document, which the decorated function returns. `options` are those of FastAPI."""

        def declare(answer: Callable[[ServiceState], Answer]) -> Callable[[ServiceState], Answer]:
            document = self.documents[self.prefix + path] = Document(self.prefix + path, answer, compressed)

            async def respond(request: Request) -> Response:
                return to_response(document.read(state_of(request), dict(request.scope["headers"])))

            described = {"description": getdoc(answer), "name": answer.__name__} | options
            self.add_api_route(path, respond, summary=summary, **described)
            return answer

        return declare

    def probe(
        self, path: str, summary: str, body: bytes = b"", model: Any = None, *, readiness: bool = True, **options: Any
    ) -> None:
        """Declare a health probe, of readiness or of liveness, which is answered with this body of this model."""
        answer = Answer(body)

        def live(state: ServiceState) -> Answer:
            """Return 200 if the process can answer."""
            return answer

        def ready(state: ServiceState) -> Answer:
            """Return 200 while the default model and every version with the label `default` are loaded.

            Otherwise, and during shutdown, return 503.
            """
            state.check_ready()
            return answer

        self.health.add(self.prefix + path)
        options["responses"] = self.errors(Unavailable) if readiness else {}
        options["response_class"], options["response_model"] = JSONResponse if model else Response, model
        self.document(path, summary, **options)(ready if readiness else live)

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Declare a route. One for GET answers HEAD too, which the OpenAPI document does not describe."""
        if "GET" in (options.get("methods") or ["GET"]):
            both = options | {"methods": ["GET", "HEAD"], "include_in_schema": False}
            super().add_api_route(path, endpoint, **both)
        super().add_api_route(path, endpoint, **options)

    def error_body(self, error: RequestError, request_id: str) -> bytes:
        """Return the body of an error, which has the form of `error_model`."""
        return refusal.error_body(error, request_id)

    def status(self, error: RequestError | type[RequestError]) -> HTTPStatus:
        """Return the status of an error."""
        return self.invalid_status if error.code == Invalid.code else error.http_status

    def errors(self, *errors: type[RequestError]) -> dict[int | str, dict[str, Any]]:
        """Return the OpenAPI responses for errors of a route."""
        return {self.status(error).value: {"model": self.error_model} for error in errors}


class PlainProtocol(RestProtocol):
    """A protocol whose errors are `{"error": "..."}`, without the status 422."""

    error_model: type[BaseModel] = PlainError
    invalid_status = HTTPStatus.BAD_REQUEST

    def error_body(self, error: RequestError, request_id: str) -> bytes:
        return to_json({"error": error.message})


def state_of(request: Request) -> ServiceState:
    """Return the parts of the worker that handles a request."""
    state: ServiceState = request.app.service_state
    return state


class InPieces(Response):
    """A response whose body is sent without copying it, as its reader reads it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send_body(send, bytes(self.body))


def to_response(answer: Answer, status: int = 200) -> Response:
    """Return a response of FastAPI with an answer."""
    fields = {name.decode(): value.decode() for name, value in answer.headers}
    return InPieces(answer.body, status, headers={"content-type": answer.content_type.decode(), **fields})


def revalidated(request: Request, response: Response) -> Response:
    """Return a response, or that it has not changed since the client received it."""
    if _FILES.is_not_modified(response.headers, request.headers):
        return NotModifiedResponse(response.headers)
    return response
