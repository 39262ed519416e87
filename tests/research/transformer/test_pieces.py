"""Word pieces of a review."""

from research.transformer.pieces import WordPieces, pad, shorten


def test_the_middle_is_removed() -> None:
    """A long review keeps its first quarter and its end, and a short one keeps everything."""
    assert shorten(list(range(20)), 8) == [0, 1, 14, 15, 16, 17, 18, 19]
    assert shorten([1, 2, 3], 8) == [1, 2, 3]
    assert shorten(list(range(8)), 8) == list(range(8))


def test_encode(tokenizer: bytes) -> None:
    """A text is between [CLS] and [SEP], also if it is shortened, and HTML line breaks are spaces."""
    pieces = WordPieces(tokenizer, 8)
    assert pieces.encode(["A<br />b", ""]) == [[2, 4, 5, 3], [2, 3]]
    assert pieces.encode(["a b c d e f g h i j k l"]) == [[2, 4, 11, 12, 13, 14, 15, 3]]


def test_pad() -> None:
    """Rows are padded on the right, up to the longest or to the next multiple."""
    assert pad([[1, 2, 3], [4]]).tolist() == [[1, 2, 3], [4, 0, 0]]
    assert pad([[1, 2, 3], [4]], multiple=4).tolist() == [[1, 2, 3, 0], [4, 0, 0, 0]]
