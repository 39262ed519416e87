"""The base class of all errors whose message is meant for the person who runs a command."""


class SentimentError(Exception):
    """An error that the caller can fix. Commands print its message without a traceback, and exit with status 2.

    The commands of the service exit with another status if the cause can pass by itself.
    """


class TransientError(SentimentError):
    """A command cannot succeed now, but the same command can succeed later."""


def one_line(error: SentimentError) -> str:
    """Return the message without line breaks, which file names and messages of other libraries may contain."""
    return " ".join(str(error).split())
