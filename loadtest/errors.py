"""What can go wrong before a load test says anything."""

from sentiment_conv1d.artifact.errors import SentimentError


class LoadTestError(SentimentError):
    """Something that the user can mend; the message says what."""

    @property
    def report(self) -> str:
        """The error as a terminal shows it, with the log of a server that did not start."""
        return f"error: {self}"
