"""The accuracy of served versions according to feedback, and the interval of any accuracy.

A machine that serves has no TensorFlow, so neither needs it.
"""

from __future__ import annotations

import argparse
from math import sqrt
from statistics import NormalDist

from sentiment_conv1d.model.commands.counting import counted
from sentiment_conv1d.model.commands.table import table_lines
from sentiment_conv1d.model.data.feedback import read_feedback
from sentiment_conv1d.model.data.flags import print_unreadable
from sentiment_conv1d.model.errors import SentimentError

#: The number of standard deviations within which 95% of a normal distribution is.
_DEVIATIONS = NormalDist().inv_cdf(0.975)


def evaluate_served(options: argparse.Namespace) -> int:
    """Print the accuracy of each version. Raises `SentimentError`."""
    for name in ("data", "request_log", "by", "out"):
        if getattr(options, name):
            raise SentimentError(f"--{name.replace('_', '-')} needs a RUN to measure")
    if not options.feedback:
        raise SentimentError("name a RUN to measure, or --feedback")
    feedback = read_feedback(options.feedback)
    print_unreadable(feedback)
    rows = [["version", "texts", "accuracy", "95% interval"]]
    for (model, number), texts, right in feedback.by_version():
        interval = shown(accuracy_interval(right, texts))
        rows.append([f"{model} {number}", f"{texts:,}", f"{right / texts:.4f}", interval])
    print(f"feedback on {counted(len(feedback.given), 'text')}:", *table_lines(rows), sep="\n")
    return 0


def accuracy_interval(right: int, number: int) -> tuple[float, float]:
    """Return Wilson's 95% interval of an accuracy."""
    accuracy, square = right / number, _DEVIATIONS**2 / number
    middle = accuracy + square / 2
    half = sqrt(square * (accuracy * (1 - accuracy) + square / 4))
    return max(0.0, (middle - half) / (1 + square)), min(1.0, (middle + half) / (1 + square))


def shown(interval: tuple[float, float]) -> str:
    """Return an interval for a terminal."""
    return f"{interval[0]:.4f} to {interval[1]:.4f}"
