"""Endpoints: POST routes that bypass FastAPI.

FastAPI's request handling costs about a hundred microseconds, as much as the model. The application passes the bytes of
a body directly to the function of its endpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Annotated, Any, ClassVar, NamedTuple, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, WithJsonSchema
from pydantic_core import from_json

from sentiment_conv1d.artifact.manifest import Manifest
from sentiment_conv1d.server.errors import Malformed, RequestError, TooLarge
from sentiment_conv1d.server.http.request import Answer
from sentiment_conv1d.server.network.buffers import Charge
from sentiment_conv1d.service.errors import Invalid
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.scheduling.dataplane import INLINE_CHARACTERS, DataPlane, ParseLimits
from sentiment_conv1d.service.scheduling.work import Work
from sentiment_conv1d.service.telemetry.request_context import RequestContext

Body = TypeVar("Body", bound=BaseModel)

#: The text of the example requests in the OpenAPI document.
EXAMPLE = "A gripping, beautifully acted film."

#: The most errors in one body of which the first is named. Pydantic reports all or none, and a million take seconds.
MAX_ERRORS = 100

#: All bytes except those that begin a list, an object, a string, or a value of a field or list.
_NO_MARKS = bytes(set(range(256)) - set(b'[{:,"'))

#: Characters of the path of an error: a field name can be as long as the body.
MAX_PLACE_CHARACTERS = 200

#: Checked by `texts_of` up to the first fault: pydantic would report all faults, and a million take seconds.
Texts = Annotated[Any, WithJsonSchema(TypeAdapter(str | list[str]).json_schema())]


class EndpointRequest(NamedTuple):
    """One request for an endpoint."""

    context: RequestContext
    body: bytes  # decompressed
    headers: Mapping[bytes, bytes]  # by lower-case name
    parameters: Mapping[str, str]  # of the path
    charge: Charge  # the memory that the request holds


class StrictBody(BaseModel):
    """A JSON body without conversions and without unknown fields.

    `hints` say what to do instead of some unknown fields, by their names.
    """

    hints: ClassVar[Mapping[str, str]] = {}
    model_config = ConfigDict(strict=True, extra="forbid")


class LenientBody(BaseModel):
    """A JSON body without conversions, in which unknown fields are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore")


#: The work of a request, its answer, or a coroutine that returns the answer.
WorkOrAnswer = Work[Answer] | Answer | Coroutine[Any, Any, Answer]

#: Reads a request. Raises `RequestError`.
Respond = Callable[[ServiceState, EndpointRequest], WorkOrAnswer]


class Endpoint(NamedTuple):
    """A POST route, and its description in the OpenAPI document."""

    path: str
    respond: Respond
    summary: str
    request_model: type[BaseModel]
    response_model: type[BaseModel]
    example: dict[str, Any]  # a request
    takes_text: bool  # whether it also accepts text/plain


def parse(model: type[Body], body: bytes, dataplane: DataPlane) -> Body:
    """Parse a JSON body. Raises `Malformed` if it is not JSON, `Invalid` or `TooLarge` if it has the wrong shape."""
    try:
        if len(body) <= INLINE_CHARACTERS:
            return model.model_validate_json(body)
        check_parts(body, dataplane.limits)
        return model.model_validate(from_json(body))  # otherwise each error would hold a copy of what it is about
    except ValidationError as error:
        raise _explain(error, model.hints if issubclass(model, StrictBody) else {}) from None
    except ValueError as error:
        raise Malformed(f"the body is not valid JSON: {error}") from None


def texts_of(place: str, given: Any, reason: str = "a text is needed") -> list[str]:
    """Return a text or a list of texts as a list. Raises `Invalid` with the place of the first fault."""
    texts = given if isinstance(given, list) else [given]
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise Invalid(f"{place}.{number}: {reason}" if isinstance(given, list) else f"{place}: {reason}")
    return texts


def to_json(document: Any) -> bytes:
    """Return compact JSON. Float32 values have the shortest digits that parse to the same float32."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def model_headers(manifest: Manifest) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers that name the model, for protocols whose answers do not name it."""
    return ((b"x-model-name", manifest.name.encode()), (b"x-model-version", str(manifest.version).encode()))


def check_parts(body: bytes, limits: ParseLimits) -> None:
    """Raise `Invalid` or `TooLarge` if a JSON body has too many parts, by counting the characters that begin them."""
    marks = body.translate(None, _NO_MARKS)
    if marks.count(b'"') > 2 * limits.fields or _exceeds(marks, limits):
        # Texts can contain any of these characters, so the content of strings is skipped.
        marks = body.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NO_MARKS)
        parts = marks.split(b'"', 2 * limits.fields + 2)
        if _exceeds(b"".join(parts[::2]), limits):
            raise Invalid(
                f"the body has more than {limits.fields} fields, lists and objects, or {limits.values} values"
            )
        if len(parts) > 2 * limits.fields + 1:
            raise TooLarge(f"the body has more than {limits.fields} strings")


def _exceeds(marks: bytes, limits: ParseLimits) -> bool:
    values = marks.count(b",")
    return values > limits.values or len(marks) - values - marks.count(b'"') > limits.fields


#: What pydantic says of JSON that it has parsed itself. Of other documents it says "dictionary or instance of a class".
_OBJECT = "Input should be an object"
_MESSAGES = {
    "extra_forbidden": "unknown field",
    "model_type": _OBJECT,
    "dict_type": _OBJECT,
    "list_type": "Input should be a valid array",
}


def _explain(error: ValidationError, hints: Mapping[str, str]) -> RequestError:
    if error.error_count() > MAX_ERRORS:
        return Invalid(f"the body: {error.error_count()} unknown fields or wrong values")
    errors = error.errors(include_url=False, include_input=False)
    for each in errors:
        if each["type"] == "extra_forbidden" and (hint := hints.get(str(each["loc"][0]))) is not None:
            return Invalid(f"{each['loc'][0]}: unknown field; {hint}")
    first = errors[0]
    if first["type"] == "json_invalid":
        return Malformed(f"the body is not valid JSON: {first['ctx']['error']}")
    place = ".".join(str(part) for part in first["loc"])[:MAX_PLACE_CHARACTERS]
    message = _MESSAGES.get(first["type"], first["msg"])
    return Invalid(f"{place}: {message}" if place else f"the body: {message}")
