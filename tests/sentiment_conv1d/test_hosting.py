"""`asgi`: stock uvicorn and other applications serve a model."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from fastapi import FastAPI

import sentiment_conv1d
from tests.processes import PATIENCE, PROJECT
from tests.rounding import rounded
from tests.sentiment_conv1d.test_page import PAGE

#: The application and the command of the page.
[(APPLICATION, COMMAND)] = re.findall(
    r"^```python\n# app\.py\n(.*?)^```\n\n```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL
)

KEY = "a-key-of-the-tests"

TEXT = "A gripping, beautifully acted film."


@contextmanager
def uvicorn(command: str, folder: Path) -> Iterator[httpx.Client]:
    """Run a command of stock uvicorn in a folder, on a free port, and yield a client for it."""
    program, *arguments = command.replace("--port 8000", "--port 0").split()
    assert program == "uvicorn"
    process = subprocess.Popen(
        [sys.executable, "-m", program, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    log: list[str] = []
    try:
        for line in process.stderr:
            log.append(line)
            if (match := re.search(r"Uvicorn running on (\S+)", line)) is not None:
                break
        else:
            pytest.fail("".join(log))
        with httpx.Client(base_url=match[1], timeout=PATIENCE, trust_env=False) as client:
            yield client
        process.terminate()
        log += process.stderr
        assert process.wait(PATIENCE) in (0, -15), "".join(log)  # uvicorn ends by the signal that it got
        assert "Application shutdown complete" in "".join(log)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_uvicorn(tmp_path: Path) -> None:
    """Stock uvicorn serves the application of the page, with the answers of `predict` and the limit of the page."""
    (tmp_path / "app.py").write_text(APPLICATION)
    with uvicorn(COMMAND, tmp_path) as client:
        model = sentiment_conv1d.load("imdb-cnn")
        assert client.post("/v1/predict", json={"text": TEXT}).json() == model.predict(TEXT)
        # NumPy's linear algebra adds in an order that depends on its threads.
        assert rounded(client.post("/v1/explain", json={"text": TEXT}).json(), 6) == rounded(model.explain(TEXT), 6)
        long = client.post("/v1/predict_batch", json={"texts": [f"{TEXT} " * 400] * 64})
        assert len(long.json()["predictions"]) == 64
        assert client.post("/v1/predict_batch", json={"texts": [TEXT] * 65}).status_code == 413
        assert client.get("/readyz").status_code == 200
        assert client.get("/v1/models").json()["models"][0]["name"] == "imdb-cnn"
        assert client.post("/v2/repository/index", json={}).json()[0]["state"] == "READY"
        assert client.post("/v2/repository/models/imdb-cnn/unload").status_code == 403
        assert "<html" in client.get("/").text
        counted = r'^sentiment_requests_total{[^}]*route="/v1/predict",model="imdb-cnn",version="1",status="200"} 1.0$'
        assert re.search(counted, client.get("/metrics").text, re.MULTILINE)


def ask(application: Any, path: str, **headers: str) -> httpx.Response:
    """Send a review to an ASGI application in this process, without a lifespan."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            if path.endswith(".json"):
                return await client.get(path, headers=headers)
            return await client.post(path, json={"text": TEXT}, headers=headers)

    return asyncio.run(send())


def test_mounted() -> None:
    """Another application serves the model below one of its paths, which the OpenAPI document says."""
    model = sentiment_conv1d.load("imdb-cnn")
    application = FastAPI()
    application.mount("/sentiment", sentiment_conv1d.asgi(model))
    assert ask(application, "/sentiment/v1/predict").json() == model.predict(TEXT)
    assert ask(application, "/v1/predict").status_code == 404
    answer = ask(application, "/sentiment/openapi.json")
    [server] = answer.json()["servers"]
    assert urljoin(str(answer.url), server["url"]) == "http://test/sentiment/"


def test_settings() -> None:
    """Settings that limit requests apply."""
    application = sentiment_conv1d.asgi(sentiment_conv1d.load("imdb-cnn"), api_keys=KEY, max_text_characters=10)
    assert ask(application, "/v1/predict").status_code == 401
    assert ask(application, "/v1/predict", authorization=f"Bearer {KEY}").status_code == 413


def test_wrong_settings() -> None:
    """A setting that does not apply is a `TypeError`, a bad value a `ValueError`, a bad key a `SentimentError`."""
    model = sentiment_conv1d.load("imdb-cnn")
    with pytest.raises(TypeError, match=r"^port, workers: not a setting of an ASGI application; there are: "):
        sentiment_conv1d.asgi(model, workers=2, port=1)
    with pytest.raises(ValueError, match=r"^max_batch_texts: Input should be greater than or equal to 1$"):
        sentiment_conv1d.asgi(model, max_batch_texts=0)
    with pytest.raises(sentiment_conv1d.SentimentError, match="--api-keys: key 1 must be at least 16"):
        sentiment_conv1d.asgi(model, api_keys="short")
