"""The scorer of batches accepts every kind of batch, has a small pickle, and works in the documented frameworks."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from sentiment_conv1d.scoring import BatchScorer
from sentiment_conv1d.scoring.session import Session
from sentiment_conv1d.tables import DataError
from tests.processes import MODEL_REPOSITORY, PATIENCE, PROJECT
from tests.service.reviews import reviews

ARTIFACT = MODEL_REPOSITORY / "imdb-cnn" / "1"
TEXTS = reviews(20, seed=5)
SCALING = PROJECT / "docs" / "scaling.md"


def scores() -> list[float]:
    """Return the scores of `TEXTS`."""
    return [float(prediction.score) for prediction in Session(str(ARTIFACT)).classifier().predict(TEXTS)]


def as_list() -> Any:
    return TEXTS


def as_dict() -> Any:
    return {"id": np.arange(20), "text": np.array(TEXTS, object)}


def as_table() -> Any:
    return pyarrow.table({"id": list(range(20)), "text": TEXTS})


def as_record_batch() -> Any:
    return as_table().to_batches()[0]


def as_frame() -> Any:
    return pytest.importorskip("pandas").DataFrame({"text": TEXTS}, index=range(100, 120))


def as_series() -> Any:
    return as_frame()["text"]


def as_polars() -> Any:
    return pytest.importorskip("polars").DataFrame({"id": range(20), "text": TEXTS})


def as_polars_series() -> Any:
    return as_polars()["text"]


MAKERS = [as_list, as_dict, as_table, as_record_batch, as_frame, as_series, as_polars, as_polars_series]


@pytest.mark.parametrize("make", MAKERS)
def test_batches(make: Callable[[], Any]) -> None:
    """The result has the type and order of the batch, and its columns followed by the added ones."""
    batch = make()
    scored = BatchScorer(ARTIFACT)(batch)
    if isinstance(batch, list):
        found = [row["score"] for row in scored]
        assert list(scored[0]) == list(BatchScorer(ARTIFACT).columns)
    elif make is as_series:
        assert list(scored.columns) == list(BatchScorer(ARTIFACT).columns)
        assert list(scored.index) == list(batch.index)
        found = scored["score"].tolist()
    elif make is as_polars_series:
        assert scored.columns == list(BatchScorer(ARTIFACT).columns)
        found = scored["score"].to_list()
    else:
        assert type(scored) is type(batch)
        column = scored["score"]
        found = column.to_pylist() if hasattr(column, "to_pylist") else list(column)
        assert str(getattr(column, "type", getattr(column, "dtype", None))).lower() in ("float", "float32")
    assert found == pytest.approx(scores(), abs=1e-6)


@pytest.mark.parametrize("make", MAKERS)
def test_empty_batches(make: Callable[[], Any]) -> None:
    """The result of a batch without rows has no rows."""
    batch = make()
    empty = {key: values[:0] for key, values in batch.items()} if make is as_dict else batch[:0]
    scored = BatchScorer(ARTIFACT)(empty)
    assert len(scored["score"] if make is as_dict else scored) == 0


@pytest.mark.parametrize("value", [None, 1, " ", "x" * 101])
def test_bad_values(value: Any) -> None:
    """A value that is not a text is an error, or has empty columns on request."""
    with pytest.raises(DataError, match="row 1 of the batch: the column 'text'"):
        BatchScorer(ARTIFACT, max_characters=100)(["good", value])
    first, second = BatchScorer(ARTIFACT, max_characters=100, on_bad_rows="null")(["good", value])
    assert first["tokens"] == 2
    assert set(second.values()) == {None}


def with_missing(name: str) -> Any:
    """Return three texts as a kind of batch. The second is missing."""
    texts = ["good", None, "bad"]
    if name == "dict":
        return {"text": np.array(texts, object)}
    if name in ("frame", "series"):
        frame = pytest.importorskip("pandas").DataFrame({"text": texts})
        return frame if name == "frame" else frame["text"]
    if name == "polars":
        return pytest.importorskip("polars").DataFrame({"text": texts})
    table = pyarrow.table({"text": texts})
    return table if name == "table" else table.to_batches()[0]


@pytest.mark.parametrize("name", ["dict", "table", "record batch", "frame", "series", "polars"])
def test_bad_values_in_columns(name: str) -> None:
    """In every kind of batch, the added columns of a bad value are empty, and other rows are not affected."""
    scorer = BatchScorer(ARTIFACT, on_bad_rows="null")
    scored = scorer(with_missing(name))
    expected = scorer(["good", "bad"])
    for column in scorer.columns:
        values = scored[column]
        first, missing, last = values.to_pylist() if hasattr(values, "to_pylist") else list(values)
        assert missing is None or str(missing) in ("nan", "<NA>")
        assert [first, last] == [pytest.approx(row[column]) for row in expected]


def test_strongest_words_in_polars() -> None:
    """With `explain`, polars gets a list of structs, also of a batch without rows."""
    polars = pytest.importorskip("polars")
    scorer = BatchScorer(ARTIFACT, explain=2)
    scored = scorer(polars.DataFrame({"text": ["a wonderful film"]}))
    assert [word["text"] for word in scored["top_words"][0]] == [
        word["text"] for word in scorer(["a wonderful film"])[0]["top_words"]
    ]
    assert scorer(polars.Series([], dtype=polars.String)).schema == scored.drop("text").schema


def test_bad_batches() -> None:
    """A batch without the text column, with a column of an added name, or of another type is refused."""
    scorer = BatchScorer(ARTIFACT)
    with pytest.raises(DataError, match="no column 'text'; columns: 'review'"):
        scorer(pyarrow.table({"review": ["a"]}))
    with pytest.raises(DataError, match="the column 'score' has the name"):
        scorer(pyarrow.table({"text": ["a"], "score": [1]}))
    with pytest.raises(DataError, match="two columns are named 'text'"):
        scorer(pyarrow.Table.from_arrays([pyarrow.array(["a"])] * 2, ["text", "text"]))
    with pytest.raises(TypeError, match="a batch cannot be of type int"):
        scorer(1)
    for batch in (pyarrow.array(["a"]), pyarrow.table({"text": ["a"]}).to_reader()):
        with pytest.raises(TypeError, match=f"a batch cannot be of type {type(batch).__name__}"):
            scorer(batch)
    with pytest.raises(ValueError, match="on_bad_rows: 'error' or 'null' is needed, not 'skip'"):
        BatchScorer(ARTIFACT, on_bad_rows="skip")  # type: ignore[arg-type]


def test_one_text_as_an_array() -> None:
    """An array of no dimension, and a string in its place, are one text, not one for each of its letters."""
    for text in (np.array("a film"), "a film"):
        scored = BatchScorer(ARTIFACT)({"text": text})
        assert scored["tokens"].tolist() == [3]


def test_arrow_strings_that_are_not_utf8() -> None:
    """A string of an Arrow batch that is not UTF-8 is a bad value."""
    batch = pyarrow.table({"text": pyarrow.array([b"good", b"\xff"]).view(pyarrow.string())})
    with pytest.raises(DataError, match="row 1 of the batch: the column 'text' is not UTF-8"):
        BatchScorer(ARTIFACT)(batch)
    assert BatchScorer(ARTIFACT, on_bad_rows="null")(batch)["tokens"].to_pylist() == [2, None]


def test_explanations() -> None:
    """With `explain`, the result has the strongest words of each row."""
    scored = BatchScorer(ARTIFACT, explain=3)(pyarrow.table({"text": ["A gripping, beautifully acted film."]}))
    words = [word["text"] for word in scored["top_words"][0].as_py()]
    assert len(words) == 3 and "gripping" in words
    arrays = BatchScorer(ARTIFACT, explain=1)({"text": np.array(["good", "bad"], object)})
    assert [words[0]["text"] for words in arrays["top_words"]] == ["good", "bad"]


FRESH = """
import pickle, sys
scorer = pickle.loads(bytes.fromhex(sys.argv[1]))
print("onnxruntime.InferenceSession" in sys.modules, end=" ")
from sentiment_conv1d.scoring import session
print(session._open.cache_info().currsize, end=" ")
scorer(["good"]), pickle.loads(pickle.dumps(scorer))(["bad"])
print(session._open.cache_info().currsize)
"""


def test_pickles() -> None:
    """A used scorer pickles to a few hundred bytes, and another process opens its session once."""
    scorer = BatchScorer(ARTIFACT)
    scorer(["good"])
    content = pickle.dumps(scorer)
    assert len(content) < 500
    command = [sys.executable, "-c", FRESH, content.hex()]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert result.stdout == "False 0 1\n"


def example(framework: str) -> str:
    """Return the documentation's example for a framework."""
    found = re.search(rf"<!-- {framework} -->\n```python\n(.*?)```", SCALING.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("framework", "modules"),
    [
        ("pandas", ("pandas",)),
        ("dask", ("dask.dataframe",)),
        ("spark", ("pyspark.sql", "pandas")),
        ("ray", ("ray.data",)),
    ],
)
def test_documented_examples(tmp_path: Path, framework: str, modules: tuple[str, ...]) -> None:
    """Each example of docs/scaling.md, saved as a program, scores a Parquet file. It is skipped without its library."""
    for module in modules:
        pytest.importorskip(module, exc_type=ImportError)
    parquet.write_table(as_table(), tmp_path / "reviews.parquet")
    (tmp_path / "model_repository").symlink_to(MODEL_REPOSITORY)
    (tmp_path / "example.py").write_text(example(framework))
    path = os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH"))))
    environment = {"PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0", "RAY_ADDRESS": "local"}
    environment["PYSPARK_PYTHON"] = sys.executable
    result = subprocess.run(
        [sys.executable, "example.py"],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    table = parquet.read_table(tmp_path / "scored.parquet").sort_by("id")
    assert table["score"].to_pylist() == pytest.approx(scores(), abs=1e-6)
