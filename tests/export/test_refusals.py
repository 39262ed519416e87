"""A refused import prints two lines: the cause and a hint."""

from __future__ import annotations

import json
import pickle
import shlex
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from keras.src.ops.core import Cast  # has no public name

from sentiment_conv1d.export.__main__ import main

SEQUENCE_LENGTH, ROWS = 6, 12
WORDS = ["good", "bad", "film"]


def model(
    *tail: Any, rows: int = ROWS, sequence_length: int | None = SEQUENCE_LENGTH, dtype: str = "int32"
) -> keras.Model:
    """Build a small classifier whose last layers are `tail`."""
    chain = [layers.Embedding(rows, 4), layers.Conv1D(3, 2), layers.GlobalMaxPooling1D()]
    last = tail or (layers.Dense(1, "sigmoid", name="answer"),)
    return keras.Sequential([keras.Input((sequence_length,), dtype=dtype), *chain, *last])


def spoilt() -> keras.Model:
    """Build a model with NaN for a word that no generated ids contain."""
    broken = model(rows=5002)
    table = np.asarray(broken.layers[0].embeddings).copy()
    table[8] = np.nan
    broken.layers[0].set_weights([table])
    return broken


def cast() -> keras.Model:
    """Build a model with an operation that computes in half precision."""
    ids = keras.Input((SEQUENCE_LENGTH,))
    features = layers.GlobalMaxPooling1D()(layers.Embedding(ROWS, 4)(ids))
    return keras.Model(ids, layers.Dense(1, "sigmoid")(Cast("float16", name="rounded")(features)))


class Case(NamedTuple):
    """A refused import: the cause and the hint."""

    fault: str
    hint: str
    arguments: str = ""
    model: Callable[[], keras.Model] = model
    file: str = "model.keras"
    vocabulary: str | bytes | None = "\n".join(["", "[UNK]", *WORDS])
    labels: str | None = "no,yes"
    data: str | None = None


ALL_OF_A_LABEL = "text,label\n" + "a good film,no\na bad film,yes\n" * 8

CASES = {
    "no labels": Case("model.keras: the labels of the model are unknown", "with --labels", labels=None),
    "one label": Case("--labels: ", "two labels or more", labels="yes"),
    "an empty label": Case("--labels: ", "two labels or more", labels="yes,"),
    "labels and units": Case("outputs have shape", "--labels needs one label for each unit", labels="a,b,c"),
    "no name": Case("--name: 'No Name' is not a valid model name", "lower-case letters", arguments="--name 'No Name'"),
    "no model": Case("none.keras: there is no such file", "check the path", file="none.keras"),
    "no run": Case("none: there is no such run folder", "pass a folder", file="none", vocabulary=None, labels=None),
    "no vocabulary": Case("model.keras: the model reads ids", "pass the vocabulary with --vocabulary", vocabulary=None),
    "no such vocabulary": Case(
        "nothing.txt: there is no such file",
        "check the path of --vocabulary",
        "--vocabulary nothing.txt",
        vocabulary=None,
    ),
    "a list without ids": Case("vocabulary: a list of words", "state --first-id", vocabulary="good\nbad"),
    "a word twice": Case(
        "vocabulary: a word occurs twice",
        "every word once",
        "--first-id 3 --unknown-id 2",
        vocabulary="good\nbad\ngood",
    ),
    "an id twice": Case("vocabulary: id 2 stands for two words", "--unknown-id", "--pad-id 2"),
    "ranks from 0": Case("vocabulary: a word index counts from 1", "state --first-id", vocabulary='{"good": 0}'),
    "another form": Case("vocabulary: neither a word index", "lists the forms", vocabulary="{}"),
    "too many words": Case(
        "vocabulary: its highest id is 101", "--num-words", vocabulary="\n".join(["", "[UNK]", *map(str, range(100))])
    ),
    "an input of bytes": Case(
        "model.keras: the model reads ids as uint8, which cannot represent the id 256",
        "keras.Input(..., dtype='int32')",
        model=lambda: model(rows=400, dtype="uint8"),
        vocabulary="\n".join(["", "[UNK]", *map(str, range(300))]),
    ),
    "ids in half precision": Case(
        "model.keras: the model reads ids as float16, which cannot represent the id 2,049",
        "no cast before the embedding",
        model=lambda: keras.Sequential(
            [keras.Input((SEQUENCE_LENGTH,)), layers.Reshape((-1,), dtype="mixed_float16"), *model(rows=2050).layers]
        ),
        vocabulary="\n".join(["", "[UNK]", *map(str, range(2048))]),
    ),
    "a cast to half precision": Case(
        "model.keras: rounded casts to half precision",
        "remove the cast",
        model=cast,
    ),
    "a stateful layer": Case(
        "layer remembers is stateful: the answer to a text depends on the texts before it",
        "stateful=False",
        model=lambda: keras.Sequential(
            [
                keras.Input(batch_shape=(1, SEQUENCE_LENGTH)),
                layers.Embedding(ROWS, 4),
                layers.LSTM(3, stateful=True, name="remembers"),
                layers.Dense(1, "sigmoid"),
            ]
        ),
    ),
    "a length that is not the model's": Case(
        "model.keras: the model takes 6 ids, not 7", "leave the flag", "--max-tokens 7"
    ),
    "no length": Case(
        "model.keras: the model takes any number", "--max-tokens", model=lambda: model(sequence_length=None)
    ),
    "no probabilities": Case(
        "layer answer does not return probabilities",
        "pass --from-logits if it was trained with from_logits=True",
        model=lambda: model(layers.Dense(1, bias_initializer=keras.initializers.Constant(9), name="answer")),
    ),
    "a regression with values between 0 and 1": Case(
        "layer answer does not return probabilities: the model returns logits, or is a regression",
        "a regression cannot be served, because it returns a number, and the service answers with labels",
        model=lambda: model(layers.Dense(1, kernel_initializer="zeros", bias_initializer="ones", name="answer")),
    ),
    "a threshold for a softmax": Case(
        "--threshold: the model ends in a softmax",
        "leave the flag out",
        "--threshold 0.7",
        model=lambda: model(layers.Dense(2, "softmax", name="answer")),
    ),
    "a threshold for several labels": Case(
        "--threshold: the model has a sigmoid for each label",
        "state --thresholds, one for each",
        "--threshold 0.7",
        model=lambda: model(layers.Dense(2, "sigmoid")),
    ),
    "a missing threshold": Case(
        "--thresholds: 2 numbers for the 3 labels a, b, c",
        "in the order of --labels",
        "--thresholds 0.5,0.6",
        model=lambda: model(layers.Dense(3, "sigmoid")),
        labels="a,b,c",
    ),
    "thresholds for a softmax": Case(
        "--thresholds: the model ends in a softmax, so a text has one label",
        "leave the flag out",
        "--thresholds 0.5,0.6",
        model=lambda: model(layers.Dense(2, "softmax")),
    ),
    "thresholds for a single sigmoid": Case(
        "--thresholds: the model ends in a single sigmoid, so a text has one label",
        "state --threshold",
        "--thresholds 0.5,0.6",
    ),
    "not a number": Case(
        "embeddings contains NaN or infinity",
        "train the model again",
        model=spoilt,
        vocabulary="\n".join(["", "[UNK]", *map(str, range(5000))]),
    ),
    "a normalization": Case(
        "such as the mean of a Normalization layer",
        "replace Normalization with keras.layers.Rescaling(",
        "--unverified",
        model=lambda: model(layers.Normalization(mean=1, variance=4), layers.Dense(1, "sigmoid")),
    ),
    "no 8-bit form": Case(
        "only a model of the Conv1D family has an 8-bit form: layer unit",
        "without --quantize",
        "--quantize",
        model=lambda: model(
            layers.Dense(2), layers.UnitNormalization(name="unit"), layers.Dense(1, "sigmoid", name="answer")
        ),
    ),
    "a pickled vocabulary": Case(
        "vocabulary: a pickle can run any code",
        "write `json.dump(tokenizer.word_index, ",
        vocabulary=pickle.dumps(WORDS),
    ),
    "a vocabulary in UTF-16": Case(
        "vocabulary: neither a Keras file nor UTF-8 text",
        "as UTF-8",
        "--first-id 3 --unknown-id 2",
        vocabulary="\n".join(WORDS).encode("utf-16-le"),
    ),
    "a folder as vocabulary": Case("model_2: a folder is no vocabulary", "pass a file", "--vocabulary model_2"),
    "a pickled model": Case("pickled.joblib: a pickle can run any code", "`model.save(", file="pickled.joblib"),
    "only weights": Case("own.weights.h5: the file contains weights", "`model.load_weights`", file="own.weights.h5"),
    "a .keras file of Keras 2": Case(
        "keras2.keras: Keras 2.15.0 wrote this file", "`model.save('model.h5')`", file="keras2.keras"
    ),
    "a .keras file of Keras 2 that reads text": Case(
        "text2.keras: Keras 2.15.0 wrote this file", "save the model as a SavedModel", file="text2.keras"
    ),
    "half of an .h5 file": Case("half.h5: not a Keras model that can be loaded (", "`model.save(", file="half.h5"),
    "a spoilt .keras file": Case("spoilt.keras: not a Keras model", "`model.save(", file="spoilt.keras"),
    "no such data": Case("data.csv: there is no such file", "check --data", "--data data.csv"),
    "another label": Case("label 'maybe' is none of", "--on-bad-rows skip", data="text,label\nfine,maybe\n"),
    "columns in a .txt file": Case(
        "data.txt: a .txt file has no columns (rename a table of Excel to .tsv); supported are a .csv",
        "check --data",
        "--data data.txt",
    ),
    "another column": Case("there is no column 'text'", "--text-column", data="review,label\nfine,yes\n"),
    "no better than one label": Case(
        "is no better than that of the most frequent label, 0.500, on 16 texts of data.csv",
        "--allow-poor-accuracy",
        model=lambda: model(
            layers.Dense(1, "sigmoid", bias_initializer=keras.initializers.Constant(1.5), name="answer")
        ),
        data=ALL_OF_A_LABEL,
    ),
    "a repository that is a file": Case(
        "cannot be written to", "--repository", "--unverified --repository model.keras"
    ),
    "nothing verifies the ids": Case(
        "nothing shows that texts get the ids that the model was trained with",
        "publish it with --unverified",
    ),
}


def write_other_files() -> None:
    """Write files that are no models of Keras 3."""
    Path("pickled.joblib").write_bytes(pickle.dumps(WORDS))
    model().save_weights("own.weights.h5")
    weights, whole = (Path(name).read_bytes() for name in ("own.weights.h5", "model.keras"))
    Path("half.h5").write_bytes(weights[: len(weights) // 2])
    Path("spoilt.keras").write_bytes(whole.replace(b'"module"', b'"modulo"'))
    Path("data.txt").write_text("text\tlabel\nfine\tyes\n", encoding="utf-16")
    Path("model_2").mkdir()
    for name, first in (("keras2", "Embedding"), ("text2", "TextVectorization")):
        configuration = {"name": "own", "layers": [{"class_name": first, "config": {"name": "first"}}]}
        with zipfile.ZipFile(f"{name}.keras", "w") as archive:
            archive.writestr("metadata.json", json.dumps({"keras_version": "2.15.0"}))
            archive.writestr("config.json", json.dumps({"class_name": "Sequential", "config": configuration}))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_refusals(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first line names the cause, the second says what to do, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    case.model().save("model.keras")
    write_other_files()
    arguments = [case.file, "--name", "own"]
    for flag, content in (("vocabulary", case.vocabulary), ("data", case.data)):
        if content is not None:
            file = Path("data.csv" if flag == "data" else flag)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
            arguments += [f"--{flag}", str(file)]
    if case.labels is not None:
        arguments += ["--labels", case.labels]
    capsys.readouterr()
    assert main([*arguments, *shlex.split(case.arguments)]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ") and case.fault in error, error
    assert hint.startswith("hint: ") and case.hint in hint, hint
    assert max(len(error), len(hint)) < 400
    assert not Path("model_repository").exists()


def test_model_that_onnx_cannot_express(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Keras' error is shown on one line."""
    network = model(layers.Dense(2), layers.Dense(1, "sigmoid", name="answer"))
    ids = keras.Input((SEQUENCE_LENGTH,), dtype="int32")
    hashed = layers.Hashing(ROWS, output_mode="int", name="hash")(ids)
    keras.Model(ids, network(hashed)).save(tmp_path / "model.keras")
    (tmp_path / "words.txt").write_text("\n".join(["", "[UNK]", *WORDS]))
    arguments = ["--vocabulary", str(tmp_path / "words.txt"), "--labels", "no,yes", "--name", "own", "--unverified"]
    assert main([str(tmp_path / "model.keras"), *arguments, "--repository", str(tmp_path / "repository")]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ") and hint.startswith("hint: ")
    assert max(len(error), len(hint)) < 400
    assert not (tmp_path / "repository").exists()


def test_file_of_keras_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of Keras 1 is refused, because Keras 3 cannot read its layer names and weight shapes."""
    convolution = {"class_name": "Convolution1D", "config": {"name": "filters", "nb_filter": 3, "filter_length": 2}}
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file.attrs["keras_version"] = b"1.2.2"
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": [convolution]}).encode()
        file.create_group("model_weights")
    assert main([str(tmp_path / "model.h5"), "--labels", "no,yes", "--name", "own"]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error.endswith("model.h5: Keras 1.2.2 wrote this file")
    assert hint == "hint: load it with Keras 2.2, save it again and export the new file"
