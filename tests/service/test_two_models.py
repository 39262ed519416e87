"""A repository with the shipped model and another one works without flags."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.chromium import browser
from tests.processes import ServerProcess, run
from tests.service.artifacts import publish_table, shipped_copy

__all__ = ["browser"]

TEXT = "A gripping, beautifully acted film."


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a repository with the shipped model and a model of tickets."""
    folder = tmp_path_factory.mktemp("repository")
    shipped_copy(folder)
    publish_table(folder, name="tickets")
    return folder


def test_restart(repository: Path) -> None:
    """Before and after a restart, the shipped model is the default, and the other model can be named."""
    for _ in range(2):
        with ServerProcess("--workers", "1", repository=repository) as server:
            assert server.client.get("/readyz").status_code == 200
            answer = server.client.post("/v1/predict", json={"text": TEXT}).json()
            assert (answer["label"], answer["model"]["name"]) == ("positive", "imdb-cnn")
            assert server.client.post("/v1/explain", json={"text": TEXT}).json()["words"]
            answer = server.client.post("/v1/predict", json={"text": TEXT, "model": "tickets"}).json()
            assert answer["model"]["name"] == "tickets"


def test_page(repository: Path, browser: Browser) -> None:
    """The page uses the shipped model and offers both models."""
    with ServerProcess("--workers", "1", repository=repository) as server:
        page = browser.new_page()
        page.goto(server.url)
        expect(page.locator("#answered-by")).to_contain_text("imdb-cnn")
        choices = page.locator("#model-choice option").all_inner_texts()
        assert any("tickets" in choice for choice in choices)
        page.close()


def test_commands(repository: Path, tmp_path: Path) -> None:
    """`predict` and `explain` use the shipped model."""
    place = {"SENTIMENT_MODEL_REPOSITORY": str(repository)}
    (tmp_path / "reviews.txt").write_text(f"{TEXT}\n")
    scored = run("-m", "service", "predict", str(tmp_path / "reviews.txt"), **place)
    assert scored.returncode == 0, scored.stderr
    [row] = (tmp_path / "reviews.predictions.jsonl").read_text().splitlines()
    assert json.loads(row)["predicted_label"] == "positive"
    explained = run("-m", "service", "explain", TEXT, **place)
    assert explained.returncode == 0, explained.stderr
    assert "gripping" in explained.stdout


def test_load_test(repository: Path, tmp_path: Path) -> None:
    """A load test uses the shipped model."""
    short = ("--smoke", "--concurrency", "1", "--rates", "50", "--seconds", "0.5")
    flags = (*short, "--workers", "1", "--model", "imdb-cnn", "--batch", "4", "--slo", "p99<5s,errors<50%")
    finished = run("-m", "loadtest", *flags, "--out", str(tmp_path), SENTIMENT_MODEL_REPOSITORY=str(repository))
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert json.loads((tmp_path / "report.json").read_text())["closed"][0]["answered"] > 0
