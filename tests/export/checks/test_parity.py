"""Parity: equal outputs pass, and everything else is refused with a reason."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.artifact.decision import THRESHOLD
from sentiment_conv1d.export.checks.parity import (
    Inputs,
    ParityError,
    compare,
    compare_forms,
    generated,
    session,
)
from sentiment_conv1d.export.checks.served import Served
from sentiment_conv1d.export.graphs.onnx_file import folded_graph
from sentiment_conv1d.export.graphs.reference import reference_graph
from sentiment_conv1d.export.recognition.family import recognize
from sentiment_conv1d.export.sources.trained import Trained
from sentiment_conv1d.model.evaluation.batches import Ids, Outputs, Predict
from tests import ids

REVIEWS = Inputs("three reviews", [np.array(row, np.int32) for row in ([1], [1, 5, 6], [1, 7, 8, 9])])
SEQUENCE_LENGTH = 6
SHAPE = ids.shape(SEQUENCE_LENGTH, 2)


def truth(tokens: Ids) -> Outputs:
    """Classify reviews into two labels by the sum of their ids."""
    answers: Outputs = (tokens.sum(axis=1, keepdims=True) / 100).astype(np.float32)
    return answers


def counts_padding(tokens: Ids) -> Outputs:
    """Classify like `truth`, but give short reviews and padded ones different outputs."""
    return truth(tokens) + np.float32(SEQUENCE_LENGTH - tokens.shape[1])


def off_by(difference: float) -> Predict:
    return lambda tokens: (truth(tokens) + difference).astype(np.float32)


def checked(
    served: Predict, reference: Predict = truth, keras_predict: Predict = truth, threshold: float = THRESHOLD
) -> None:
    compare(keras_predict, reference, Served(served, SHAPE, threshold), [REVIEWS])


def test_comparisons() -> None:
    """The reference graph and the served graph are compared, padded and short, one by one and in batches."""
    checks = compare(truth, off_by(2e-6), Served(truth, SHAPE, THRESHOLD), [REVIEWS, generated(SHAPE)])
    assert [(check.inputs, check.against, check.examples) for check in checks] == [
        ("three reviews, padded, batches", "Keras' ONNX graph", 3),
        ("three reviews, padded, batches", "Keras", 3),
        ("three reviews, padded, one by one", "Keras", 3),
        ("three reviews, short, one by one", "Keras", 3),
        ("three reviews, short, batches", "Keras", 3),
        ("generated ids, padded, batches", "Keras' ONNX graph", 256),
        ("generated ids, padded, batches", "Keras", 256),
        ("generated ids, padded, one by one", "Keras", 64),
        ("generated ids, short, one by one", "Keras", 256),
        ("generated ids, short, batches", "Keras", 256),
    ]
    assert checks[0].largest_difference == pytest.approx(2e-6, abs=1e-7)
    assert checks[1].largest_difference == 0


def test_comparisons_without_short_reviews() -> None:
    """A graph outside the family always reads `max_tokens` ids, so only padded reviews are compared."""
    checks = compare(truth, truth, Served(truth, ids.shape(SEQUENCE_LENGTH), THRESHOLD), [REVIEWS])
    assert [check.inputs for check in checks] == ["three reviews, padded, batches"] * 2 + [
        "three reviews, padded, one by one"
    ]


def test_a_difference_is_refused() -> None:
    """The message contains the review and both outputs."""
    with pytest.raises(
        ParityError, match=r"three reviews, padded, batches: off by 2.00e-05 from Keras, more than 1e-05"
    ):
        checked(off_by(2e-5))
    with pytest.raises(ParityError, match="from Keras' ONNX graph"):
        checked(truth, reference=off_by(2e-5))
    checked(off_by(5e-6))


@pytest.mark.parametrize(("max_tokens", "accepted"), [(100, 1e-5), (1000, 6e-5), (9999, 1e-4)])
def test_long_texts(max_tokens: int, accepted: float) -> None:
    """Sums over long texts may differ by more."""
    shape = ids.shape(max_tokens)
    compare(truth, truth, Served(off_by(accepted * 0.9), shape, THRESHOLD), [REVIEWS])
    with pytest.raises(ParityError, match="more than"):
        compare(truth, truth, Served(off_by(accepted * 1.1), shape, THRESHOLD), [REVIEWS])


def test_a_difference_in_short_reviews_alone_is_refused() -> None:
    """A graph that gives short reviews other outputs than padded ones is refused."""
    with pytest.raises(ParityError, match="three reviews, short, one by one"):
        checked(counts_padding)


def test_a_graph_is_compared_with_itself() -> None:
    """Single and short reviews are compared with padded batches, so a graph that counts padding is refused."""
    checks = compare_forms(Served(truth, SHAPE, THRESHOLD), [REVIEWS])
    assert [(check.inputs, check.against, check.largest_difference) for check in checks] == [
        ("three reviews, padded, one by one", "itself", 0),
        ("three reviews, short, one by one", "itself", 0),
        ("three reviews, short, batches", "itself", 0),
    ]
    with pytest.raises(ParityError, match=r"three reviews, short, one by one: off by .* from itself"):
        compare_forms(Served(counts_padding, SHAPE, THRESHOLD), [REVIEWS])


def test_nan_is_refused() -> None:
    """NaN in either output, or in both, is refused."""

    def nan(tokens: Ids) -> Outputs:
        return np.full((len(tokens), 1), np.nan, np.float32)

    for served, keras_predict in ((nan, truth), (truth, nan), (nan, nan)):
        with pytest.raises(ParityError, match="off by nan"):
            checked(served, reference=keras_predict, keras_predict=keras_predict)


def test_another_shape_is_refused() -> None:
    """Outputs with another number of columns are refused."""
    with pytest.raises(ParityError, match=r"\(3, 2\) answers instead of \(3, 1\)"):
        checked(lambda tokens: np.zeros((len(tokens), 2), np.float32))


@pytest.mark.parametrize(
    ("keras_row", "served_row"), [([0.5 - 1e-6], [0.5 + 1e-6]), ([0.4, 0.3 + 1e-6, 0.3], [0.4, 0.3, 0.3 + 1e-6])]
)
def test_changed_labels(keras_row: list[float], served_row: list[float]) -> None:
    """A changed label is refused however small the difference; a changed order of other labels is not."""

    def fixed(row: list[float]) -> Predict:
        return lambda tokens: np.tile(np.array(row, np.float32), (len(tokens), 1))

    def run() -> None:
        checked(fixed(served_row), reference=fixed(keras_row), keras_predict=fixed(keras_row))

    if len(keras_row) == 1:
        with pytest.raises(ParityError, match="3 different labels from Keras, the first in row 0"):
            run()
    else:
        run()


def always(answer: float) -> Predict:
    return lambda tokens: np.full((len(tokens), 1), answer, np.float32)


def test_labels_follow_the_threshold_of_the_model() -> None:
    """A step across the model's own threshold changes a label, and one across 0.5 does not."""
    below, above = always(0.9 - 1e-6), always(0.9 + 1e-6)
    checked(above, reference=below, keras_predict=below)
    with pytest.raises(ParityError, match="3 different labels from Keras, the first in row 0"):
        checked(above, reference=below, keras_predict=below, threshold=0.9)
    below, above = always(0.5 - 1e-6), always(0.5 + 1e-6)
    checked(above, reference=below, keras_predict=below, threshold=0.9)

    def by_padding(tokens: Ids) -> Outputs:
        return (below if tokens.shape[1] == SEQUENCE_LENGTH else above)(tokens)

    assert compare_forms(Served(by_padding, SHAPE, 0.9), [REVIEWS])
    with pytest.raises(ParityError, match="different labels from itself"):
        compare_forms(Served(by_padding, SHAPE, THRESHOLD), [REVIEWS])


def test_changed_weight(trained: Trained) -> None:
    """A graph in which one word's embedding is off by a hundredth is refused."""
    family, _ = recognize(trained.model)
    assert family is not None
    shape = replace(trained.input_shape, leading_padding=3)
    reference = session(reference_graph(trained.model, shape.max_tokens).SerializeToString())
    sets = [generated(shape)]
    good = session(folded_graph(family).SerializeToString())
    assert compare(trained.predict, reference, Served(good, shape, THRESHOLD), sets)

    embedding = family.embedding.copy()
    embedding[3] += 0.01
    nudged = session(folded_graph(replace(family, embedding=embedding)).SerializeToString())
    with pytest.raises(ParityError, match="off by"):
        compare(trained.predict, reference, Served(nudged, shape, THRESHOLD), sets)


@given(st.integers(1, 10_000), st.integers(1, 50), st.integers(0, 5))
def test_generated_ids_reach_every_edge(vocabulary_size: int, max_tokens: int, seed: int) -> None:
    """Generated ids have lengths from one to `max_tokens` and include the highest id."""
    rows = generated(ids.shape(max_tokens, vocabulary_size=vocabulary_size), seed).rows
    lengths = {len(row) for row in rows}
    assert len(rows) == 256
    assert {1, max_tokens} <= lengths <= set(range(1, max_tokens + 1))
    together = np.concatenate(rows)
    assert together.dtype == np.int32
    assert int(together.min()) >= 0 and int(together.max()) == vocabulary_size - 1


def test_a_graph_that_cannot_be_opened_or_run_is_refused(recurrent: keras.Model, trained: Trained) -> None:
    """The message contains the error of ONNX Runtime."""
    with pytest.raises(ParityError, match="ONNX Runtime cannot open the graph"):
        session(b"no graph")
    graph = session(reference_graph(recurrent, trained.tokenizer.max_tokens).SerializeToString())
    with pytest.raises(ParityError, match="ONNX Runtime cannot run the graph"):
        graph(np.zeros((1, trained.tokenizer.max_tokens + 1), np.int32))
