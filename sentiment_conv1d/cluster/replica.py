"""The REST application in a replica, behind one of Ray's proxies."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sentiment_conv1d.hosting import asgi
from sentiment_conv1d.inference.classifier import GOLDEN_TOLERANCE
from sentiment_conv1d.loading import load
from sentiment_conv1d.server.errors import Unavailable
from sentiment_conv1d.server.request_ids import HEADER

#: The arguments that choose the model and how it runs. The others are settings of `asgi`.
_OF_LOAD = ("model", "repository", "cache", "execution_provider", "threads", "device")

#: The name and the labels of a sample in Prometheus' text format.
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? ", re.MULTILINE)


class Replica:
    """An ASGI application that serves one model.

    The samples of `/metrics` have the label `replica`, because each request for them reaches another replica.
    """

    def __init__(self, name: str, arguments: dict[str, Any]) -> None:
        """Load the model. `arguments` are those of `load` and `asgi`, whose errors it raises."""
        chosen = {key: arguments[key] for key in _OF_LOAD if key in arguments}
        for number in ("threads", "device"):  # `serve run` passes text
            if number in chosen:
                chosen[number] = int(chosen[number])
        self._name = name
        self._model = load(**chosen)
        self._application: ASGIApp = asgi(
            self._model, **{key: value for key, value in arguments.items() if key not in _OF_LOAD}
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        exposition: bytearray | None = None  # of `/metrics`, which comes in pieces
        if scope["type"] == "http" and scope["path"] == "/metrics":  # not compressed, to add the label
            scope = {**scope, "headers": [field for field in scope["headers"] if field[0] != b"accept-encoding"]}

        async def send_on(message: Message) -> None:
            nonlocal exposition
            if message["type"] == "http.response.start":
                dropped = {HEADER}  # the proxy adds the id to the response
                if scope["path"] == "/metrics" and message["status"] == 200:
                    exposition = bytearray()
                    dropped.add(b"content-length")
                message["headers"] = [field for field in message["headers"] if field[0] not in dropped]
            elif exposition is not None:
                exposition += message["body"]
                if message.get("more_body"):
                    return
                message["body"] = with_replica(exposition.decode(), self._name).encode()
            await send(message)

        await self._application(scope, receive, send_on)

    def check(self) -> None:
        """Classify the golden text. Raises `Unavailable` if the answer is wrong."""
        golden = self._model.classifier.manifest.golden
        [prediction] = self._model.classifier.predict((golden.text,))
        found = prediction.probabilities[-len(golden.probabilities) :]  # a sigmoid has one output for two labels
        if not np.allclose(found, golden.probabilities, rtol=0, atol=GOLDEN_TOLERANCE):
            raise Unavailable(f"the golden text gets {found} instead of {golden.probabilities}")


def with_replica(exposition: str, replica: str) -> str:
    """Return metrics in Prometheus' text format with the label `replica` in every sample."""

    def labelled(sample: re.Match[str]) -> str:
        others = f"{sample[2]}," if sample[2] else ""
        return f'{sample[1]}{{{others}replica="{replica}"}} '

    return _SAMPLE.sub(labelled, exposition)
