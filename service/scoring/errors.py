"""The one error of offline scoring."""

from sentiment_conv1d.model.errors import SentimentError


class ScoringError(SentimentError):
    """A file that cannot be scored or written; the message names the file, and the row (from 1) or the column.

    In text formats the row is given by the number of its first line.
    """
