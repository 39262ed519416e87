"""Pads and truncates ids as `artifact.input_shape` does."""

from __future__ import annotations

import numpy as np

from sentiment_conv1d.artifact.graphs.text.writer import INT32, INT64, NO_ID, Writer
from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.artifact.tokenizer import Tokenizer

_ONE, _COLUMNS = np.int64(1), np.array([1])


def write_ids(writer: Writer, ids: str, tokenizer: Tokenizer, shape: InputShape) -> str:
    """Return the name of the ids int32 [batch, sequence_length] that the model reads.

    `ids` is int64 [batch, pieces], with `NO_ID` anywhere. Every id gets a column by its rank among those of its text.
    What the model does not read gets one column more, which is cut off.
    """
    if tokenizer.start_id is not None:
        ids = writer.node("Pad", [ids, np.array([0, 1, 0, 0]), np.int64(tokenizer.start_id)], "ids_with_start")
    exists = writer.node("Greater", [ids, np.int64(NO_ID)], "exists")
    counted = writer.node("Cast", [exists], "exists_number", to=INT64)
    tokens = writer.node("ReduceSum", [counted, _COLUMNS], "tokens", keepdims=1)
    rank = writer.node("CumSum", [counted, _ONE], "rank", exclusive=1)
    length = _write_length(writer, tokens, shape)
    column = writer.node("Add", [rank, _write_shift(writer, tokens, length, tokenizer)], "shifted")
    if tokenizer.keeps_first:
        column = writer.node("Min", [column, length], "up_to_last")
    else:
        early = writer.node("Less", [column, np.int64(0)], "early")
        column = writer.node("Where", [early, length, column], "from_first")
    column = writer.node("Where", [exists, column, length], "columns")
    matrix = _write_padding(writer, tokens, length, shape)
    matrix = writer.node("ScatterElements", [matrix, column, ids], "scattered", axis=1)
    matrix = writer.node("Slice", [matrix, np.array([0]), length, _COLUMNS], "read")
    return writer.node("Cast", [matrix], "model_tokens", to=INT32)


def _write_length(writer: Writer, tokens: str, shape: InputShape) -> str:
    """Return the name of the sequence length of the batch: int64 [1]."""
    most = np.array([shape.max_tokens])
    if shape.leading_padding is None:
        return writer.node("Identity", [most], "length")
    # A text without ids has one pad id, and the batch may have no text.
    counts = writer.node("Reshape", [tokens, np.array([-1])], "counts")
    counts = writer.node("Concat", [counts, np.array([1])], "counts_from_one", axis=0)
    longest = writer.node("ReduceMax", [counts], "longest", keepdims=0)
    padded = writer.node("Add", [longest, np.array([shape.leading_padding])], "padded_length")
    return writer.node("Min", [padded, most], "length")


def _write_shift(writer: Writer, tokens: str, length: str, tokenizer: Tokenizer) -> str:
    """Return the name of the number that leads from the rank of an id to its column: int64 [batch, 1]."""
    end, begin = length, tokens
    if tokenizer.pads_behind or tokenizer.keeps_first:
        kept = writer.node("Min", [tokens, np.int64(tokenizer.max_tokens)], "kept")
        end = kept if tokenizer.pads_behind else end
        begin = kept if tokenizer.keeps_first else begin
    return writer.node("Sub", [end, begin], "shift")


def _write_padding(writer: Writer, tokens: str, length: str, shape: InputShape) -> str:
    """Return the name of pad ids int64 [batch, sequence_length + 1]."""
    batch = writer.node("Shape", [tokens], "texts", end=1)
    width = writer.node("Add", [length, _ONE], "width_with_rest")
    dimensions = writer.node("Concat", [batch, width], "matrix_shape", axis=0)
    return writer.node("Expand", [np.int64(shape.padding_id), dimensions], "pad_ids")
