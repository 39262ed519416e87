"""The evaluation of a run through look-up tables."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from sentiment_conv1d.artifact.explaining.network import from_keras
from sentiment_conv1d.model.data import load
from sentiment_conv1d.model.evaluation import trained
from sentiment_conv1d.model.run import read_run


@pytest.mark.parametrize("name", ["run_path", "run_of_three_labels"])
def test_answers(name: str, reviews: Path, request: pytest.FixtureRequest) -> None:
    """The tables give the answers of Keras to texts of any length, and the evaluation uses them."""
    run = read_run(request.getfixturevalue(name))
    model, texts = trained.load(run), [*load(reviews).train.texts, "", "word " * 100, "zzz"]
    read = from_keras(model, run.configuration)
    expected = np.asarray(model.predict_on_batch(trained.encode(run.tokenizer, texts)))
    assert trained.agrees(read, model, run.tokenizer, texts)
    assert trained.predict_with_tables(read, run.tokenizer, texts) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("change", ["pooling", "names"])
def test_another_network(run_path: Path, reviews: Path, tmp_path: Path, change: str) -> None:
    """If the file has another network than the training built, Keras answers."""
    shutil.copytree(run_path, tmp_path / "run")
    run = read_run(tmp_path / "run")

    def changed(layer: keras.Layer) -> keras.Layer:
        if change == "pooling" and isinstance(layer, keras.layers.GlobalMaxPooling1D):
            return keras.layers.GlobalAveragePooling1D(name=layer.name)
        if change == "names" and layer.name == "probabilities":
            return keras.layers.Dense(**{**layer.get_config(), "name": "answers"})
        return layer.__class__.from_config(layer.get_config())

    old = trained.load(run)
    model = keras.models.clone_model(old, clone_function=changed)
    model.set_weights(old.get_weights())
    model.save(run.weights_file)
    examples = load(reviews).train
    found = trained.evaluate_run(run, examples, False)
    assert np.array_equal(found.outputs, trained.predict(model, run.tokenizer, examples.texts))
