"""A replica in this process, without Ray."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sentiment_conv1d.artifact.errors import SentimentError
from sentiment_conv1d.cluster.replica import Replica, with_replica
from sentiment_conv1d.server.errors import Unavailable
from tests.processes import MODEL_REPOSITORY

#: As `serve run` passes them: text.
ARGUMENTS = {"model": "imdb-cnn:1", "repository": str(MODEL_REPOSITORY), "threads": "1", "max_batch_texts": "2"}


def ask(replica: Replica, *paths: str) -> list[httpx.Response]:
    """Send requests for paths to a replica, with an id that its proxy has chosen."""

    async def get_all() -> list[httpx.Response]:
        transport = httpx.ASGITransport(replica)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return [await client.get(path, headers={"x-request-id": "mine"}) for path in paths]

    return asyncio.run(get_all())


def test_metrics_by_replica() -> None:
    """Every sample of a replica has its name, besides its other labels."""
    _, response = ask(Replica("a", ARGUMENTS), "/livez", "/metrics")
    samples = [each for family in text_string_to_metric_families(response.text) for each in family.samples]
    assert len(samples) > 50
    assert {sample.labels["replica"] for sample in samples} == {"a"}
    plain = 'a_total{path="/{x} 1"} 1.0\nb 2\n'
    assert with_replica(f"# TYPE b gauge\n{plain}", "r") == (
        '# TYPE b gauge\na_total{path="/{x} 1",replica="r"} 1.0\nb{replica="r"} 2\n'
    )


def test_request_ids() -> None:
    """The id of the proxy is that of the request. The proxy adds it to the response, so the replica does not."""
    [refusal] = ask(Replica("a", ARGUMENTS), "/v1/models/other")
    assert refusal.json()["error"]["request_id"] == "mine"
    assert "x-request-id" not in refusal.headers


def test_health(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that does not answer the golden text as the model did is not healthy."""
    replica = Replica("a", ARGUMENTS)
    replica.check()
    wrong = replica._model.classifier.predict(["A dull film."])
    monkeypatch.setattr(replica._model.classifier, "predict", lambda texts: wrong)
    with pytest.raises(Unavailable, match="the golden text gets"):
        replica.check()


def test_wrong_arguments() -> None:
    """A model that does not exist and a setting of another server are errors of the deployment."""
    with pytest.raises(SentimentError, match="there is no model 'other'"):
        Replica("a", ARGUMENTS | {"model": "other"})
    with pytest.raises(TypeError, match="workers: not a setting"):
        Replica("a", ARGUMENTS | {"workers": "2"})
