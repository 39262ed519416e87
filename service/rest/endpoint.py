"""How a busy route is written: bytes in, bytes out, with nothing of a framework in between.

FastAPI's own request handling costs about a hundred microseconds, as much as the model. The application hands the
body of these routes straight to `respond`, and puts `describe` into its OpenAPI document.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, ClassVar, NamedTuple, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from sentiment_conv1d.model.artifact import Manifest
from sentiment_conv1d.service.errors import (
    PLAIN_HTTP_STATUS,
    DeadlineExceeded,
    Invalid,
    Malformed,
    NotFound,
    Overloaded,
    RequestError,
    RequestTimeout,
    TooLarge,
    Unavailable,
    UnsupportedEncoding,
)
from sentiment_conv1d.service.inference.dataplane import INLINE_CHARACTERS, DataPlane, Limits
from sentiment_conv1d.service.models.loaded import LoadedModels

Body = TypeVar("Body", bound=BaseModel)

#: Where an OpenAPI document has its models, each under the name of its class.
SCHEMAS = "#/components/schemas/"

#: Faults in one body up to which the first is named. Pydantic tells of all or none, and of a million takes seconds.
MAX_ERRORS = 100

#: All bytes but those that begin a list, an object, a value of a field or list, or a string.
_NO_MARKS = bytes(set(range(256)) - set(b'[{:,"'))

#: Of a fault's place, which may be a field as long as the body.
MAX_PLACE_CHARACTERS = 200

_REFUSALS: tuple[type[RequestError], ...] = (
    Malformed,
    NotFound,
    RequestTimeout,
    TooLarge,
    UnsupportedEncoding,
    Invalid,
    Overloaded,
    Unavailable,
    DeadlineExceeded,
)


class Call(NamedTuple):
    """One request of a busy route."""

    body: bytes  # decompressed
    headers: Mapping[bytes, bytes]  # by lower-case name
    parameters: Mapping[str, str]  # of the path


class Answer(NamedTuple):
    """What goes back with status 200."""

    body: bytes
    content_type: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()


class RestProtocol(NamedTuple):
    """What the routes of a protocol share: a tag in OpenAPI, and how they put errors."""

    tag: str
    error_model: type[BaseModel]
    error_body: Callable[[RequestError, str], bytes]  # takes the request id, too
    statuses: Mapping[str, HTTPStatus] = PLAIN_HTTP_STATUS  # by code


class Endpoint(ABC):
    """One POST route, at one path or several; `{name}` in a path is a parameter."""

    paths: tuple[str, ...]
    summary: ClassVar[str]
    protocol: ClassVar[RestProtocol]
    request_model: ClassVar[type[BaseModel]]
    response_model: ClassVar[type[BaseModel]]
    request_example: ClassVar[dict[str, Any]]

    def __init__(self, dataplane: DataPlane, models: LoadedModels) -> None:
        self.dataplane = dataplane
        self.models = models

    @abstractmethod
    async def respond(self, call: Call) -> Answer:
        """The answer to a call. Raises `RequestError`."""

    def describe(self, path: str) -> dict[str, Any]:
        """The operation at one of the paths in OpenAPI's terms. The models' schemas are to be found under `SCHEMAS`."""
        responses: dict[str, Any] = {"200": {"description": "The answer.", "content": _content(self.response_model)}}
        for refusal in _REFUSALS:
            description = {"description": refusal.__doc__, "content": _content(self.protocol.error_model)}
            responses.setdefault(str(self.protocol.statuses[refusal.code].value), description)
        content = _content(self.request_model)
        content["application/json"]["example"] = self.request_example
        versioned = "_version" if "{version}" in path else ""
        return {
            "summary": self.summary,
            "description": self.__doc__,
            "tags": [self.protocol.tag],
            "operationId": f"{type(self).__module__.rpartition('.')[2]}_{type(self).__name__}{versioned}",
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in ("model", "version")
                if f"{{{name}}}" in path
            ],
            "requestBody": {"required": True, "content": content},
            "responses": responses,
        }


def parse(model: type[Body], body: bytes, dataplane: DataPlane) -> Body:
    """A JSON body as a model. Raises `Malformed` if it is no JSON, `Invalid` if it has another shape or many parts."""
    if len(body) > INLINE_CHARACTERS:
        check_parts(body, dataplane.limits)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise _explain(error) from None


def to_json(document: Any) -> bytes:
    """Compact JSON. Probabilities are float32 and keep the shortest digits that read back as the same float32."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def plain_error_body(error: RequestError, request_id: str) -> bytes:
    """`{"error": "..."}`."""
    return to_json({"error": error.message})


def model_headers(manifest: Manifest) -> tuple[tuple[bytes, bytes], ...]:
    """Which version answered, for protocols whose answers have no place for it."""
    return ((b"x-model-name", manifest.name.encode()), (b"x-model-version", str(manifest.version).encode()))


def check_parts(body: bytes, limits: Limits) -> None:
    """Raise `Invalid` or `TooLarge` if there are too many parts. Each but the first value has a mark of its own."""
    marks = body.translate(None, _NO_MARKS)
    if marks.count(b'"') > 2 * limits.fields or _exceeds(marks, limits):
        # Texts may be full of marks, so strings, which lie between quotes that are not escaped, are left out.
        marks = body.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NO_MARKS)
        parts = marks.split(b'"', 2 * limits.fields + 2)
        if _exceeds(b"".join(parts[::2]), limits):
            raise Invalid(
                f"the body has more than {limits.fields} fields, lists and objects, or {limits.values} values"
            )
        if len(parts) > 2 * limits.fields + 1:
            raise TooLarge(f"the body has more than {limits.fields} strings")


def _exceeds(marks: bytes, limits: Limits) -> bool:
    values = marks.count(b",")
    return values > limits.values or len(marks) - values - marks.count(b'"') > limits.fields


def _content(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": SCHEMAS + model.__name__}}}


def _explain(error: ValidationError) -> RequestError:
    if error.error_count() > MAX_ERRORS:
        return Invalid(f"the body: {error.error_count()} unknown fields or wrong values")
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return Malformed(f"the body is not valid JSON: {first['ctx']['error']}")
    place = ".".join(str(part) for part in first["loc"])[:MAX_PLACE_CHARACTERS]
    message = "unknown field" if first["type"] == "extra_forbidden" else first["msg"]
    return Invalid(f"{place}: {message}" if place else f"the body: {message}")
