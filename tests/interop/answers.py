"""The expected answers: texts and REST's answers to them."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.interop.client import Document
from tests.processes import ServerProcess
from tests.service.reviews import reviews

SENTIMENT = "sentiment.v1.Sentiment"
OIP = "inference.GRPCInferenceService"
HEALTH = "grpc.health.v1.Health"

#: The fields of a gRPC prediction that only a request for sentences, or a model with several labels for a text, fills.
EMPTY = {"sentences": [], "logit": 0.0, "bias": 0.0, "padding": 0.0, "labels": []}

#: Flags of a server whose models callers can load and unload.
ADMINISTRABLE = ("--admin", "open")

TEXTS = ["", "naïve, 🎬 und ein „Zitat“", *reviews(18, seed=3)]


def rest(server: ServerProcess, path: str, body: Any = None) -> Any:
    """Return REST's answer."""
    response = server.client.get(path) if body is None else server.client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def prediction(native: Document) -> Document:
    """Convert a REST prediction of one label and without sentences to its gRPC form."""
    model = native["model"]
    probabilities = [{"label": label, "probability": value} for label, value in native["probabilities"].items()]
    converted = {"probabilities": probabilities, "model": model["name"], "version": model["version"]}
    return native | converted | EMPTY


def predictions(server: ServerProcess, texts: list[str]) -> list[Document]:
    """Return REST's predictions for texts, in their gRPC form."""
    return list(map(prediction, rest(server, "/v1/predict_batch", {"texts": texts})["predictions"]))


def measured(server: ServerProcess, name: str, **labels: str) -> float:
    """Return the sum of a metric over the series with these labels."""
    families = text_string_to_metric_families(server.metrics())
    samples = (sample for family in families for sample in family.samples if sample.name == name)
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def answered(server: ServerProcess, method: str) -> float:
    """Return the number of answered calls of a method."""
    return measured(server, "sentiment_requests_total", route=f"/{SENTIMENT}/{method}", status="OK")
