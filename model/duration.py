"""How long a training takes, roughly: what people need to know before it starts."""

from __future__ import annotations

from sentiment_conv1d.artifact.configuration import BaseConfiguration
from sentiment_conv1d.commands.output import counted

#: Seconds of an epoch, on two processor cores of 2026, for each text, each token that the network reads of it, and each
#: number of the filters that slide over it. Keras pads every text to the longest, and an ensemble does not.
_SECONDS = {"labels": 8e-11, "ensemble": 1e-9}

#: Seconds until the first epoch, and from the last one to the report.
_OUTSIDE = 15.0


def expected(configuration: BaseConfiguration, texts: int, tokens: float, *, stops_early: bool) -> str:
    """Return a line with the number of texts and of epochs and the minutes that they take.

    `tokens` is the mean number of tokens of a text. A training that `stops_early` takes as many epochs as its patience
    at least. On another machine, the minutes can be a third or three times as many.
    """
    is_ensemble = configuration.recipe == "ensemble"
    read = tokens if is_ensemble else configuration.max_tokens
    width = 1 if is_ensemble else configuration.embedding_width  # look-up tables contain the products
    numbers = width * sum(bank.width * bank.filters for bank in configuration.convolutions)
    rate = _SECONDS["ensemble" if is_ensemble else "labels"]
    trainings = 2 if is_ensemble and stops_early else 1  # the second one also learns the held-out texts
    most = configuration.epochs
    least = min(most, configuration.patience + 1) if stops_early and configuration.patience else most
    low, high = (
        max(1, round((_OUTSIDE + trainings * epochs * texts * read * numbers * rate) / 60)) for epochs in (least, most)
    )
    limit = "at most " * (least < most)
    minutes = counted(high, "minute") if low == high else f"{low:,} to {counted(high, 'minute')}"
    return f"{counted(texts, 'text')}, {limit}{counted(most, 'epoch')}: about {minutes} on two processor cores"
