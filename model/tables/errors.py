"""The error of files with data."""

from sentiment_conv1d.model.errors import SentimentError


class DataError(SentimentError):
    """A file cannot be read, used or written. The message names the file, and the row (from 1) or the column.

    In text formats, the number of a row is that of its first line.
    """
