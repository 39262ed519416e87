"""Applications that answer with a constant: what the server and the framework cost by themselves."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

_BODY = b'{"label":"positive","score":0.99773777,"probabilities":{"negative":0.0022622347,"positive":0.99773777}}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())]


class Review(BaseModel):
    """The request."""

    text: str


fastapi_app = FastAPI()


@fastapi_app.post("/v1/predict")
async def predict(review: Review) -> dict[str, Any]:
    """A constant."""
    return {
        "label": "positive",
        "score": 0.99773777,
        "probabilities": {"negative": 0.0022622347, "positive": 0.99773777},
    }


async def asgi_app(scope: Scope, receive: Receive, send: Send) -> None:
    """A constant, without a framework."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})
