"""The root of every error whose message is meant for the person who runs a command."""


class SentimentError(Exception):
    """Something the caller can mend. Commands print the message without a traceback and exit with status 2."""


def one_line(error: SentimentError) -> str:
    """The message without line breaks, which names of files and messages of other libraries may have."""
    return " ".join(str(error).split())
