"""The flags of `python -m export` for what the file of an imported model does not contain."""

from __future__ import annotations

import argparse
import string
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sentiment_conv1d.artifact.decision import DecisionRule
from sentiment_conv1d.commands.parser import at_least, local_path, number
from sentiment_conv1d.export.errors import ExportError

if TYPE_CHECKING:
    from sentiment_conv1d.export.sources.vocabularies import Statements

as_id = at_least(0)
_THRESHOLD = number(float, "a number between 0 and 1", lambda value: 0 < value < 1)

#: The value of `--thresholds` that chooses them on the data.
_BEST_F1 = "f1"

#: The default of options that accept None as a value.
_UNSTATED = object()


def add_foreign_flags(foreign: argparse._ArgumentGroup) -> None:
    """Add the flags for what the file of an imported model does not contain."""
    foreign.add_argument(
        "--vocabulary",
        "--tokenizer",
        type=local_path,
        metavar="FILE",
        help="the vocabulary: a word index, a Tokenizer or TextVectorization of Keras, a tokenizer.json, or a list of "
        "words",
    )
    foreign.add_argument(
        "--from-logits",
        action="store_true",
        help="the model ends in a linear layer and was trained with from_logits=True: add the sigmoid of one unit, "
        "the softmax of several, or with --thresholds a sigmoid for each",
    )
    foreign.add_argument(
        "--unverified",
        action="store_true",
        help="publish the model although neither --expected, --data nor its own TextVectorization layer shows that "
        "texts get the ids that it was trained with; the descriptions of the model say so",
    )
    foreign.add_argument(
        "--threshold",
        type=_THRESHOLD,
        help="the lowest output of a sigmoid that decides for the second label (default: 0.5)",
    )
    foreign.add_argument(
        "--thresholds",
        type=_thresholds,
        metavar="A,B",
        help="for a model with a sigmoid for each label: the lowest probability of each label at which a text has it, "
        "in the order of --labels, or f1 for those with the highest F1 on --data (default: 0.5 for each)",
    )
    foreign.add_argument(
        "--max-tokens", type=at_least(1), metavar="N", help="sequence length, for a model that takes any"
    )
    foreign.add_argument(
        "--index-from",
        type=int,
        metavar="ID",
        help="what is added to the ranks of a word index: 3 for `keras.datasets.imdb`, 0 for the word_index of a "
        "Tokenizer (default: 3 for the index of keras.datasets.imdb, and no default for others)",
    )
    foreign.add_argument(
        "--num-words", type=at_least(1), metavar="ID", help="words with this id or a higher id are unknown"
    )
    foreign.add_argument("--first-id", type=as_id, metavar="ID", help="id of the first word in a list of words")
    for name, meaning in (("pad", "padding"), ("start", "the start of a text"), ("unknown", "unknown words")):
        kind = as_id if name == "pad" else _id_or_none
        none = "" if name == "pad" else ", or none"
        foreign.add_argument(f"--{name}-id", type=kind, default=_UNSTATED, metavar="ID", help=f"id of {meaning}{none}")
    foreign.add_argument(
        "--lowercase", choices=("unicode", "ascii", "none"), help="which letters the tokenizer lower-cases"
    )
    foreign.add_argument(
        "--removed",
        metavar="CHARACTERS",
        help="characters that the tokenizer removes from a text, or the word punctuation for string.punctuation",
    )
    foreign.add_argument(
        "--replaced",
        action="append",
        metavar="STRING",
        help="a string that a space replaces, after lower-casing; repeat the flag for several",
    )
    foreign.add_argument(
        "--regex-replace",
        nargs=2,
        action="append",
        metavar=("PATTERN", "REWRITE"),
        help="a regular expression and what replaces its matches, as in `tf.strings.regex_replace`, after lower-casing "
        "and before a TextVectorization layer splits a text; repeat the flag for several, in order",
    )
    foreign.add_argument("--separators", metavar="CHARACTERS", help="characters that separate words, besides the space")
    foreign.add_argument("--padding-side", choices=("left", "right"), help="the side where short texts are padded")
    foreign.add_argument("--truncation-side", choices=("left", "right"), help="the side where long texts are truncated")


def _thresholds(text: str) -> list[float]:
    """Return the numbers, or an empty list for the word f1."""
    return [] if text == _BEST_F1 else [_THRESHOLD(each.strip()) for each in text.split(",")]


def _id_or_none(text: str) -> int | None:
    return None if text == "none" else as_id(text)


def statements(options: argparse.Namespace) -> Statements:
    """Return what the flags state about the vocabulary."""
    from sentiment_conv1d.export.sources.vocabularies import Statements

    changes = {
        "padding_id": options.pad_id,
        "start_id": options.start_id,
        "unknown_id": options.unknown_id,
        "lowercase": _UNSTATED if options.lowercase is None else options.lowercase,
        "removed": _UNSTATED if options.removed is None else _removed(options.removed),
        "replaced": _UNSTATED if options.replaced is None else tuple(options.replaced),
        "separators": _UNSTATED if options.separators is None else options.separators.replace(" ", ""),
        "pads_behind": _UNSTATED if options.padding_side is None else options.padding_side == "right",
        "keeps_first": _UNSTATED if options.truncation_side is None else options.truncation_side == "right",
    }
    return Statements(
        max_tokens=options.max_tokens,
        index_from=options.index_from,
        num_words=options.num_words,
        first_id=options.first_id,
        changes={name: value for name, value in changes.items() if value is not _UNSTATED},
        expressions=tuple((pattern, rewrite) for pattern, rewrite in options.regex_replace or ()),
    )


def stated(options: argparse.Namespace) -> list[str]:
    """Return the names of the options for models from elsewhere that are stated."""
    parser = argparse.ArgumentParser()
    add_foreign_flags(parser.add_argument_group())
    return [name for name, default in vars(parser.parse_args([])).items() if getattr(options, name) is not default]


def decision(options: argparse.Namespace, labels: Sequence[str]) -> DecisionRule:
    """Return the decision rule with the threshold, or the thresholds of these labels, that flags state.

    Raises `ExportError` unless there is a threshold for each label.
    """
    stated = {name: value for name in ("threshold", "thresholds") if (value := getattr(options, name)) is not None}
    if thresholds := stated.pop("thresholds", None):
        if len(thresholds) != len(labels):
            raise ExportError(
                f"--thresholds: {len(thresholds)} numbers for the {len(labels)} labels {', '.join(labels)}",
                "state one number for each label, in the order of --labels",
            )
        stated["thresholds"] = dict(zip(labels, thresholds, strict=True))
    return DecisionRule(**stated)


def _removed(characters: str) -> str:
    return string.punctuation if characters == "punctuation" else characters
