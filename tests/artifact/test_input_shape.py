"""Reviews of different lengths are padded to one matrix, with as little padding as possible."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ids import pad, shape


def ids(length: int) -> npt.NDArray[np.int32]:
    return np.arange(1, length + 1, dtype=np.int32)


def windows(row: npt.NDArray[np.int32], width: int) -> set[tuple[int, ...]]:
    return {tuple(row[start : start + width].tolist()) for start in range(len(row) - width + 1)}


@given(st.lists(st.integers(0, 9), max_size=5), st.integers(9, 12))
def test_padding_before_the_text(lengths: list[int], sequence_length: int) -> None:
    """Every row ends with its own ids, after the padding."""
    matrix = pad([ids(length) for length in lengths], sequence_length)
    assert matrix.shape == (len(lengths), sequence_length)
    assert matrix.dtype == np.int32
    for row, length in zip(matrix, lengths, strict=True):
        assert row[sequence_length - length :].tolist() == ids(length).tolist()
        assert (row[: sequence_length - length] == 0).all()


@given(st.lists(st.integers(0, 9), max_size=5), st.integers(9, 12), st.integers(0, 3))
def test_reused_matrix(lengths: list[int], sequence_length: int, left: int) -> None:
    """Filling overwrites the whole matrix, and rows without a text contain only padding."""
    matrix = np.full((len(lengths) + left, sequence_length), 77, np.int32)
    rows = [ids(length) for length in lengths]
    shape(sequence_length).fill(matrix, rows)
    np.testing.assert_array_equal(
        matrix, np.vstack([pad(rows, sequence_length), np.zeros((left, sequence_length), np.int32)])
    )


def test_row_that_is_too_long() -> None:
    """A row that is too long is an error."""
    with pytest.raises(ValueError, match="broadcast"):
        pad([ids(4)], 3)


@given(st.data(), st.booleans())
def test_windows_with_minimal_padding(data: st.DataObject, behind: bool) -> None:
    """Minimal and full padding, before or after the text, have the same windows for filters up to `leading_padding`."""
    max_tokens = data.draw(st.integers(1, 20))
    tokens = data.draw(st.integers(1, max_tokens))
    leading_padding = data.draw(st.integers(1, max_tokens))
    width = data.draw(st.integers(1, leading_padding))
    padding = replace(shape(max_tokens, leading_padding), pads_behind=behind)
    short, full = padding.pad([ids(tokens)])[0], padding.pad([ids(tokens)], max_tokens)[0]
    zeros = [0] * (max_tokens - tokens)
    assert full.tolist() == ([*ids(tokens), *zeros] if behind else [*zeros, *ids(tokens)])
    assert short.tolist() == (full[: len(short)] if behind else full[max_tokens - len(short) :]).tolist()
    assert tokens <= len(short) <= len(full)
    assert windows(short, width) == windows(full, width)


@pytest.mark.parametrize("tokens", [1, 7, 10])
def test_full_padding(tokens: int) -> None:
    """A graph outside the Conv1D family reads `max_tokens` ids."""
    assert shape(10).sequence_length(tokens) == 10
