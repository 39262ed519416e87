"""How a busy route is written: bytes in, JSON bytes out, with nothing of a framework in between.

FastAPI's own request handling costs about a hundred microseconds, as much as the model. The application hands the
body of these routes straight to `respond`, and puts `describe` into its OpenAPI document.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from http import HTTPStatus
from typing import Any, ClassVar, Generic, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from service.errors import HTTP_STATUS, Invalid, Malformed, RequestError

Body = TypeVar("Body", bound=BaseModel)

COMPONENT = "#/components/schemas/"

#: Faults in one body up to which the first is named. Pydantic tells of all or none, and of a million takes seconds.
MAX_ERRORS = 100

#: Of a fault's place, which may be a field as long as the body.
MAX_PLACE_CHARACTERS = 200


class Endpoint(ABC, Generic[Body]):
    """One POST route with a JSON body and a JSON answer."""

    path: ClassVar[str]
    summary: ClassVar[str]
    request_model: type[Body]
    response_model: ClassVar[type[BaseModel]]
    request_example: ClassVar[dict[str, Any]]
    refusals: ClassVar[tuple[type[RequestError], ...]]
    error_model: ClassVar[type[BaseModel]]

    @abstractmethod
    async def respond(self, body: bytes) -> bytes:
        """The answer to a body. Raises `RequestError`."""

    @abstractmethod
    def refusal(self, error: RequestError, request_id: str) -> bytes:
        """An error in the form of this route's protocol."""

    def parse(self, body: bytes) -> Body:
        """The body as the request model. Raises `Malformed` if it is no JSON, `Invalid` if it has another shape."""
        try:
            return self.request_model.model_validate_json(body)
        except ValidationError as error:
            raise _explain(error) from None

    def describe(self) -> dict[str, Any]:
        """The operation in OpenAPI's terms. The models' schemas are to be found under `COMPONENT`."""
        responses: dict[str, Any] = {
            "200": {"description": "The answer.", "content": _content(self.response_model)},
        }
        for refusal in self.refusals:
            status: HTTPStatus = HTTP_STATUS[refusal.code]
            responses[str(status.value)] = {"description": refusal.__doc__, "content": _content(self.error_model)}
        content = _content(self.request_model)
        content["application/json"]["example"] = self.request_example
        return {
            "summary": self.summary,
            "description": self.__doc__,
            "operationId": type(self).__name__,
            "requestBody": {"required": True, "content": content},
            "responses": responses,
        }


def to_json(document: Any) -> bytes:
    """Compact JSON. Probabilities are float32 and keep the shortest digits that read back as the same float32."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def _content(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": COMPONENT + model.__name__}}}


def _explain(error: ValidationError) -> RequestError:
    if error.error_count() > MAX_ERRORS:
        return Invalid(f"the body: {error.error_count()} unknown fields or wrong values")
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return Malformed(f"the body is not valid JSON: {first['ctx']['error']}")
    place = ".".join(str(part) for part in first["loc"])[:MAX_PLACE_CHARACTERS]
    message = "unknown field" if first["type"] == "extra_forbidden" else first["msg"]
    return Invalid(f"{place}: {message}" if place else f"the body: {message}")
