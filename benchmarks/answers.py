"""The answers of a server, which are checked before it is measured."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from benchmarks import ARTIFACT
from benchmarks.rest import Form
from loadtest.errors import LoadTestError
from loadtest.processes import Server
from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.inference.classifier import Classifier

#: Tolerance of the answers, because batches add up in another order.
_TOLERANCE = 1e-4
_PATIENCE = 60.0


def expected(texts: Iterable[str]) -> dict[str, float]:
    """Return the probability of `positive` for each text, from the classifier of this service."""
    classifier = Classifier(read_artifact(ARTIFACT))
    return {text: float(classifier.predict([text])[0].probabilities[1]) for text in texts}


def scored(answer: Any) -> float:
    """Return the probability of `positive` in an answer with `label` and `score`."""
    score: float = answer["score"]
    return score if answer["label"] == "positive" else 1 - score


def check(server: Server, form: Form, truth: Mapping[str, float], probability: Callable[[Any], float] = scored) -> None:
    """Wait for the answer to the first text, and compare the probabilities of all texts.

    Raises `LoadTestError`.
    """
    for text, right in truth.items():
        answer = _answer(server, form, text)
        if abs(probability(answer) - right) > _TOLERANCE:
            raise LoadTestError(f"{server.name} answers {answer} instead of {right} for {text!r}")


def _answer(server: Server, form: Form, text: str) -> Any:
    url = f"http://127.0.0.1:{server.port}{form.path}"
    body = json.dumps(form.body([text])).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE) as response:
                return json.load(response)
        except OSError as error:
            if time.monotonic() > deadline:
                raise LoadTestError(f"{server.name} does not answer: {error}\n{server.log()}") from error
            time.sleep(0.05)
