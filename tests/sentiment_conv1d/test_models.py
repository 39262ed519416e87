"""`Model`: predictions of texts of every kind, explanations and tables."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow
import pytest

import sentiment_conv1d
from sentiment_conv1d import Model, Prediction, SentimentError
from sentiment_conv1d.tables import DataError
from tests.inference.explaining.families import OPINIONS, publish, several_widths
from tests.processes import PATIENCE, PROJECT, ServerProcess
from tests.rounding import rounded
from tests.service.artifacts import publish_table

TEXT = "A gripping, beautifully acted film."
TEXTS = ["Warm, funny and wise.", "", "Two dull hours that I will never get back."]


@pytest.fixture(scope="module")
def model() -> Model:
    """Load the shipped model."""
    return sentiment_conv1d.load("imdb-cnn")


@pytest.fixture(scope="module")
def service() -> Iterator[ServerProcess]:
    """Serve the shipped models."""
    with ServerProcess("--workers", "1", "--default-model", "imdb-cnn") as process:
        yield process


def test_answers_of_the_service(model: Model, service: ServerProcess) -> None:
    """A prediction and an explanation have the names, the values and the order of the REST answers."""
    answer = service.client.post("/v1/predict", json={"text": TEXT}).json()
    assert list(model.predict(TEXT).items()) == list(answer.items())
    explained = service.client.post("/v1/explain", json={"text": TEXT}).json()
    assert rounded(model.explain(TEXT), 6) == rounded(explained, 6)  # NumPy's sums depend on its threads


def test_sentences_of_the_service(model: Model, service: ServerProcess) -> None:
    """An explanation with sentences is the REST answer, and only one with sentences has them."""
    text = f"{TEXT} {TEXTS[2]}"
    explained = service.client.post("/v1/explain", json={"text": text, "sentences": True}).json()
    explanation = model.explain(text, sentences=True)
    assert rounded(explanation, 6) == rounded(explained, 6)
    assert [sentence.text for sentence in explanation.sentences] == [TEXT, TEXTS[2]]
    assert explanation.sentences[0].label == model.predict(TEXT).label
    assert not {"sentences", "decided_by"} & model.explain(text).keys()


def test_json(model: Model) -> None:
    """Predictions and explanations are JSON without a conversion, and so is a list of them."""
    predictions = model.predict(TEXTS)
    assert json.loads(json.dumps(predictions)) == predictions
    explanation = model.explain(TEXT)
    assert json.loads(json.dumps(model.explain(TEXT, sentences=True))) == model.explain(TEXT, sentences=True)
    assert json.loads(json.dumps(explanation)) == explanation
    assert {type(value) for value in explanation.values()} <= {Prediction, str, float, list}


def test_attributes(model: Model) -> None:
    """The keys of a prediction are attributes, which cannot be assigned, and no other attribute exists.

    Only a model that gives a text several labels has `labels`.
    """
    prediction = model.predict(TEXT)
    assert {name: getattr(prediction, name) for name in prediction} == prediction
    assert set(prediction) == {*Prediction.__annotations__} - {"labels"} <= {*dir(prediction)}
    with pytest.raises(AttributeError, match="'Prediction' object has no attribute 'lable'"):
        _ = prediction.lable  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        prediction.label = "negative"


def test_text_of_a_prediction(model: Model) -> None:
    """A prediction prints its fields."""
    assert str(model.predict(TEXT)).startswith("Prediction(label='positive', score=0.99")


def test_comparison(model: Model) -> None:
    """Predictions are equal if all their fields are, also after copying and pickling."""
    prediction = model.predict(TEXT)
    assert prediction == model.predict(TEXT) != model.predict("")
    for other in (copy.copy(prediction), copy.deepcopy(prediction), pickle.loads(pickle.dumps(prediction))):
        assert type(other) is Prediction and other == prediction


@pytest.mark.parametrize(
    "make",
    [tuple, iter, np.array, pandas.Series, polars.Series, pyarrow.array, dict.fromkeys(TEXTS).keys],
    ids=["tuple", "iterator", "array", "pandas", "polars", "arrow", "keys"],
)
def test_iterables(model: Model, make: Any) -> None:
    """Every iterable of strings gets the predictions of a list, in the same order."""
    texts: Iterable[str] = make() if make.__name__ == "keys" else make(TEXTS)
    assert model.predict(texts) == model.predict(TEXTS)


def test_generator(model: Model) -> None:
    """A generator of more texts than are classified at once gets as many predictions."""
    predictions = model.predict(TEXTS[number % 3] for number in range(2500))
    assert [each.label for each in predictions[-3:]] == [model.predict(TEXTS[n % 3]).label for n in range(2497, 2500)]
    assert len(predictions) == 2500
    assert model.predict(iter(())) == []


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (None, "texts: a string, or several strings are needed, not None"),
        (1.5, "texts: a string, or several strings are needed, not float"),
        (b"good", "texts: a string, or several strings are needed, not bytes"),
        ({"text": "good"}, "texts: a string, or several strings are needed, not dict"),
        (["good", None], "texts[1]: a string is needed, not None"),
        (["good", "bad", b"good"], "texts[2]: a string is needed, not bytes"),
        (np.array([1, 2]), "texts[0]: a string is needed, not int64"),
        (np.array("good"), "texts: an array without a dimension is no sequence of texts; pass its .item()"),
        (polars.LazyFrame({"text": ["good"]}), "texts: a LazyFrame has no texts yet; pass one column of what its"),
        (pandas.Series(["good", np.nan]), "texts[1]: a string is needed, not float"),
        (polars.Series(["good", None]), "texts[1]: a string is needed, not None"),
        (pandas.DataFrame({"text": ["good"]}), "texts: predict takes the texts of one column; score takes a whole"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_wrong_types(model: Model, texts: Any, message: str) -> None:
    """What is not a string raises `TypeError`, which names its position."""
    with pytest.raises(TypeError) as error:
        model.predict(texts)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("text", [None, b"good", ["good"]])
def test_wrong_type_to_explain(model: Model, text: Any) -> None:
    """`explain` takes one string."""
    with pytest.raises(TypeError, match="text: a string is needed, not "):
        model.explain(text)


def test_explanation(model: Model) -> None:
    """The shares of the words, the bias and the padding add up to the logit, and words have their place in the text."""
    explanation = model.explain(TEXT, filters=2)
    shares = [word.share for word in explanation.words]
    assert explanation.logit == pytest.approx(explanation.bias + explanation.padding + sum(shares), abs=1e-4)
    assert [TEXT[word.start : word.end] for word in explanation.words] == [word.text for word in explanation.words]
    assert len(explanation.filters) == 2
    assert explanation.prediction == model.predict(TEXT)
    assert "contrast" not in explanation


def test_contrast(tmp_path: Path) -> None:
    """A model with the labels negative, neutral and positive explains positive against negative, as JSON too."""
    publish(tmp_path, several_widths(), labels=OPINIONS)
    explanation = sentiment_conv1d.load(tmp_path).explain("praise question")
    contrast = explanation.contrast
    assert contrast.bias + contrast.padding + sum(contrast.shares) == pytest.approx(contrast.log_odds, abs=1e-4)
    assert json.loads(json.dumps(explanation))["contrast"] == contrast


def test_explanation_of_any_text(model: Model) -> None:
    """Texts that JSON cannot contain are explained too."""
    assert model.explain("good \ud800").words[1].text == "\ud800"
    assert model.explain("").words == []


def test_what_cannot_be_explained(model: Model, tmp_path: Path) -> None:
    """An unknown label is a `ValueError`, and a model without exact explanations a `SentimentError`."""
    with pytest.raises(ValueError, match="there is no 'neutral'; the labels are negative, positive"):
        model.explain(TEXT, "neutral")
    publish_table(tmp_path)
    table = sentiment_conv1d.load("tickets", repository=tmp_path)
    assert model.explainable and not table.explainable
    with pytest.raises(SentimentError, match="there is no exact explanation for model 'tickets'"):
        table.explain("praise")


def test_softmax(tmp_path: Path) -> None:
    """A prediction of a model with three labels has the probability of each."""
    publish_table(tmp_path)
    model = sentiment_conv1d.load("tickets", repository=tmp_path)
    prediction = model.predict("complaint")
    assert prediction.label == "complains"
    assert list(prediction.probabilities) == model.labels == ["thanks", "asks", "complains"]
    assert sum(prediction.probabilities.values()) == pytest.approx(1)


def test_score(model: Model) -> None:
    """A table gets the columns of the predictions, and its own label stays."""
    frame = pandas.DataFrame({"review": TEXTS[::2], "label": ["positive", "negative"]})
    scored = model.score(frame, "review", explain=1)
    assert scored["predicted_label"].tolist() == scored["label"].tolist()
    assert [words[0]["text"] for words in scored["top_words"]] == ["Warm", "dull"]
    with pytest.raises(DataError, match="the batch has no column 'text'; columns: 'review', 'label'"):
        model.score(frame)


def test_threads(model: Model) -> None:
    """Threads that share a model get the predictions of a single thread."""
    texts = [f"{TEXT} " * (number % 7) for number in range(200)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(model.predict, texts)) == [model.predict(text) for text in texts]


def test_pickle(model: Model) -> None:
    """Another process loads the model from its pickle."""
    content = pickle.dumps(model)
    assert len(content) < 500
    program = f"import pickle; print(pickle.loads({content!r}).predict({TEXT!r}))"
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert result.stdout == f"{model.predict(TEXT)}\n"


def test_other_files_in_the_same_folder(tmp_path: Path) -> None:
    """Loading a model again reads its files again. A model that was loaded before keeps its answers."""
    publish_table(tmp_path)
    before = sentiment_conv1d.load(tmp_path)
    shutil.rmtree(tmp_path / "tickets")
    publish_table(tmp_path, labels=("good", "fair", "poor"))
    after = sentiment_conv1d.load(tmp_path)
    assert before.folder == after.folder
    for model, label in ((before, "thanks"), (after, "good")):
        assert model.predict("praise").label == label
        assert model.score(["praise"])[0]["predicted_label"] == label
