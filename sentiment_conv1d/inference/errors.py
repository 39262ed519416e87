"""The errors of loaded models."""

from sentiment_conv1d.artifact.errors import SentimentError


class ProviderError(SentimentError):
    """The requested execution provider does not work on this machine."""


class NotExplainable(SentimentError):
    """The decisions of this model cannot be explained exactly."""


class UnknownName(ValueError):
    """The model does not have this label or filter."""
