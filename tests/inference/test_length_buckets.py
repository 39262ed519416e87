"""Length buckets: every text is in one run, and runs have shapes that suit the execution provider."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.inference.length_buckets import CPU_BUCKETS, LengthBuckets, cuda_buckets, native_buckets

LENGTHS = st.lists(st.integers(1, 400), max_size=100)


@given(lengths=LENGTHS)
def test_every_text_runs_once(lengths: list[int]) -> None:
    """Every text is in exactly one run with a large enough shape, for any lengths."""
    for buckets in (CPU_BUCKETS, native_buckets(400), cuda_buckets(64, 400), LengthBuckets(max_rows=1)):
        runs = list(buckets.group(lengths))
        assert sorted(text for run in runs for text in run.texts) == list(range(len(lengths)))
        for run in runs:
            assert len(run.texts) <= run.rows <= buckets.max_rows
            assert max(lengths[text] for text in run.texts) <= run.sequence_length


@given(lengths=LENGTHS)
def test_runs_on_a_processor_are_small(lengths: list[int]) -> None:
    """Texts share a run only if it fits into the caches and few positions are padding."""
    for run in CPU_BUCKETS.group(lengths):
        own = [lengths[text] for text in run.texts]
        assert (run.rows, run.sequence_length) == (len(own), max(own))
        assert len(own) == 1 or run.rows * run.sequence_length <= 1024
        assert own == sorted(own)


@pytest.mark.parametrize(
    ("lengths", "texts"),
    [
        ([], []),
        ([400], [[0]]),
        ([20, 20, 20], [[0, 1, 2]]),
        ([200, 20, 22], [[1, 2], [0]]),
        ([48, 96], [[0, 1]]),
        ([47, 96], [[0], [1]]),
        ([400, 400, 400], [[0, 1], [2]]),
        ([342, 342, 342], [[0, 1], [2]]),
        ([341, 341, 341], [[0, 1, 2]]),
        ([1] * 40, [list(range(32)), list(range(32, 40))]),
    ],
)
def test_texts_of_one_run(lengths: list[int], texts: list[list[int]]) -> None:
    """Texts of similar length run together, from the shortest to the longest."""
    assert [run.texts for run in CPU_BUCKETS.group(lengths)] == texts


@given(lengths=st.lists(st.integers(1, 5000), max_size=100))
def test_few_shapes_of_the_native_operator(lengths: list[int]) -> None:
    """Texts of any length share a run. Their lengths are powers of two, or the largest one, and a run is limited."""
    for run in native_buckets(5000).group(lengths):
        assert run.rows == len(run.texts)
        assert run.sequence_length in (32, 64, 128, 256, 512, 1024, 2048, 4096, 5000)
        assert run.rows == 1 or run.rows * run.sequence_length <= 8192
    assert len(list(native_buckets(400).group([*range(1, 401, 30), 400, 1, 1]))) == 1


@given(lengths=LENGTHS, max_rows=st.integers(1, 64), max_tokens=st.integers(1, 400))
def test_few_shapes_on_a_gpu(lengths: list[int], max_rows: int, max_tokens: int) -> None:
    """Every run has a shape that was warmed up, and only the last run has empty rows."""
    buckets = cuda_buckets(max_rows, max_tokens)
    runs = list(buckets.group([min(length, max_tokens) for length in lengths]))
    assert {(run.rows, run.sequence_length) for run in runs} <= set(buckets.shapes())
    assert all(len(run.texts) == max_rows for run in runs[:-1])


def test_shapes_on_a_gpu() -> None:
    """The numbers of rows and columns are powers of two, or the largest number."""
    buckets = cuda_buckets(max_rows=6, max_tokens=100)
    assert buckets.row_sizes == (1, 2, 4, 6)
    assert buckets.sequence_lengths == (32, 64, 100)
    assert len(buckets.shapes()) == 12
    assert CPU_BUCKETS.shapes() == []


@given(lengths=st.lists(st.integers(4, 400), min_size=1, max_size=100))
def test_no_run_is_larger_than_the_largest(lengths: list[int]) -> None:
    """The warmed-up shapes include the largest run."""
    for buckets, most in ((CPU_BUCKETS, 32), (native_buckets(400), 256)):
        largest = buckets.largest(4, 400)
        assert largest == [(32, most), (1, 400)]
        for run in buckets.group(lengths):
            assert run.rows <= max(rows for rows, _ in largest)
            assert run.sequence_length <= max(sequence_length for _, sequence_length in largest)
            assert run.rows * run.sequence_length <= max(rows * sequence_length for rows, sequence_length in largest)


def test_the_largest_runs_of_short_texts() -> None:
    """The runs of a model with a short sequence length are no longer than that."""
    assert CPU_BUCKETS.largest(4, 9) == [(32, 9), (1, 9)]
    assert LengthBuckets(max_rows=8, max_positions=24).largest(4, 9) == [(8, 4), (1, 9)]
    assert LengthBuckets(max_rows=8).largest(4, 9) == [(8, 9), (1, 9)]
