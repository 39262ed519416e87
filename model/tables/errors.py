"""The error of files with data."""

from sentiment_conv1d.model.errors import SentimentError


class DataError(SentimentError):
    """A file that cannot be read, used or written; the message names the file, and the row (from 1) or the column.

    In text formats the row is given by the number of its first line.
    """
