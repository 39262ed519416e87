"""`python -m benchmarks.accuracy.neutral MODEL ...`: models with the label `neutral` on many kinds of texts.

`MODEL` is the name of a shipped model, or a path of a folder NAME/VERSION. Each is measured on `test.parquet` of two
folders, as in `benchmarks.accuracy.domains`, and on `neutral_test.parquet`, where people labelled texts without an
opinion (`neutral`) and with two (`mixed`). The hard texts are those of `research/contrast/held_out.csv`. A model with
two labels never answers `neutral`.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from sklearn.metrics import roc_auc_score

import sentiment_conv1d
from benchmarks.accuracy import domains
from benchmarks.accuracy.domains import IMDB
from benchmarks.markdown import circumstances, table
from loadtest.processes import PROJECT

LABELS = ("negative", "neutral", "positive")
NEGATIVE, NEUTRAL, POSITIVE = range(3)

#: A domain is named if more of its opinions are answered with `neutral`.
_MANY = 0.12

_HARD = PROJECT / "research" / "contrast" / "held_out.csv"


class Answers(NamedTuple):
    """What a model says of some texts."""

    probabilities: npt.NDArray[np.float64]  # [texts, labels]
    confident: npt.NDArray[np.bool_] | None = None  # [texts]; None: the model does not say

    @property
    def said(self) -> npt.NDArray[np.int64]:
        """The label of each text."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def positive(self) -> npt.NDArray[np.bool_]:
        """Whether each text is rather positive than negative."""
        return self.probabilities[:, POSITIVE] > self.probabilities[:, NEGATIVE]


#: Returns the answers to texts.
Answer = Callable[[Sequence[str]], Answers]


class Texts(NamedTuple):
    """Texts, their labels by name, and their domains or families."""

    texts: list[str]
    labels: npt.NDArray[np.str_]
    domains: npt.NDArray[np.str_]


class Basis(NamedTuple):
    """What a model is measured on."""

    opinions: domains.Rows
    trained: set[str]  # domains
    neutral: Texts
    hard: Texts


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["reviews"], metavar="MODEL")
    parser.add_argument("--imdb", type=Path, default=Path("imdb"), metavar="FOLDER")
    parser.add_argument("--reviews", type=Path, default=Path("reviews"), metavar="FOLDER")
    parser.add_argument("--smoke", action="store_true", help="a few generated texts; the numbers mean nothing")
    options = parser.parse_args()
    basis = _generated() if options.smoke else read(options.imdb, options.reviews)
    print(circumstances(), "", report({name: model(name) for name in options.models}, basis), sep="\n")


def read(imdb: Path, reviews: Path) -> Basis:
    """Read what is measured on."""
    folders = {IMDB: imdb, "": reviews}
    trained = pq.read_table(reviews / "train.parquet", columns=["domain"])["domain"].unique().to_pylist()
    content = pq.read_table(reviews / "neutral_test.parquet")
    neutral = _texts(*(content[column].to_pylist() for column in ("text", "label", "domain")))
    with _HARD.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    hard = _texts(*([row[column] for row in rows] for column in ("text", "label", "family")))
    return Basis(domains.read(folders, "test"), {*trained}, neutral, hard)


def report(models: dict[str, Answer], basis: Basis) -> str:
    """Measure models, and return a table with a column for each."""
    return report_of({name: dict(measure(answer, basis)) for name, answer in models.items()})


def report_of(columns: dict[str, dict[str, str]]) -> str:
    """Return a table with a column of measures for each model."""
    names = dict.fromkeys(name for column in columns.values() for name in column)
    rows = [[name, *(column.get(name, "") for column in columns.values())] for name in names]
    return table(["", *columns], rows)


def model(name: str) -> Answer:
    """Return the answers of a shipped model, or of one in a folder NAME/VERSION."""
    loaded = sentiment_conv1d.load(name)

    def answer(texts: Sequence[str]) -> Answers:
        found = loaded.predict(list(texts))
        probabilities = [[each.probabilities.get(label, 0.0) for label in LABELS] for each in found]
        flags = [each.confident for each in found]
        return Answers(np.array(probabilities), None if None in flags else np.array(flags))

    return answer


def measure(answer: Answer, basis: Basis) -> Iterator[tuple[str, str]]:
    """Yield measures by name."""
    yield from _opinions(answer(basis.opinions.texts), basis)
    yield from _neutral(answer(basis.neutral.texts), basis.neutral)
    yield from _hard(answer(basis.hard.texts), basis.hard)


def _opinions(answers: Answers, basis: Basis) -> Iterator[tuple[str, str]]:
    rows = basis.opinions
    right, lost = answers.positive == (rows.labels == 1), answers.said == NEUTRAL
    named = answers.said == np.where(rows.labels == 1, POSITIVE, NEGATIVE)
    names = [str(name) for name in np.unique(rows.domains) if name != IMDB]
    shares = {name: float(lost[rows.domains == name].mean()) for name in names}

    def mean(some: Sequence[str]) -> str:
        return f"{np.mean([right[rows.domains == name].mean() for name in some]):.3f}" if some else ""

    yield "positive against negative, mean of the domains", mean(names)
    yield "trained", mean([name for name in names if name in basis.trained])
    yield "never trained", mean([name for name in names if name not in basis.trained])
    yield "IMDB", mean([IMDB])
    of_domains = rows.domains != IMDB
    yield f"opinions right with three labels ({of_domains.sum()})", f"{named[of_domains].mean():.3f}"
    if answers.confident is not None:
        yield from _by_confidence("opinions", named[of_domains], answers.confident[of_domains])
    yield "opinions answered neutral, mean of the domains", f"{np.mean(list(shares.values())):.3f}"
    yield "IMDB, answered neutral", f"{lost[rows.domains == IMDB].mean():.3f}"
    yield "sentences of films, answered neutral", f"{shares.get('movie-sentences', 0):.3f}"
    many = {name: share for name, share in shares.items() if share > _MANY}
    yield f"domains above {_MANY:.0%}", ", ".join(f"{name} {share:.2f}" for name, share in many.items())


def _neutral(answers: Answers, texts: Texts) -> Iterator[tuple[str, str]]:
    groups = np.array([name.split("-")[0] if name.startswith("absa-") else name for name in texts.domains.tolist()])
    said_neutral = answers.said == NEUTRAL
    for label in ("neutral", "mixed"):
        for name in np.unique(groups[texts.labels == label]):
            chosen = (groups == name) & (texts.labels == label)
            yield f"{label} texts answered neutral, {name} ({chosen.sum()})", f"{said_neutral[chosen].mean():.3f}"
    truth = np.array([LABELS.index(label) if label in LABELS else -1 for label in texts.labels.tolist()])
    opinions = np.isin(truth, (NEGATIVE, POSITIVE))
    for name in np.unique(groups[opinions]):
        own = groups == name
        right = (answers.said == truth)[own & opinions].mean()
        yield f"opinions right with three labels, {name} ({(own & opinions).sum()})", f"{right:.3f}"
        known = own & (truth >= 0)
        area = roc_auc_score(truth[known] == NEUTRAL, answers.probabilities[known, NEUTRAL])
        yield f"area under the curve of neutral, {name}", f"{area:.3f}"


def _hard(answers: Answers, texts: Texts) -> Iterator[tuple[str, str]]:
    right = np.array(LABELS)[answers.said] == texts.labels
    yield f"hard texts right ({len(right)})", f"{right.mean():.3f}"
    for label in np.unique(texts.labels):
        own = texts.labels == label
        yield f"hard texts right, {label} ({own.sum()})", f"{right[own].mean():.3f}"
    if answers.confident is not None:
        yield from _by_confidence("hard texts", right, answers.confident)


def _by_confidence(name: str, right: npt.NDArray[np.bool_], sure: npt.NDArray[np.bool_]) -> Iterator[tuple[str, str]]:
    yield f"{name}, share confident", f"{sure.mean():.3f}"
    for others, own in (("them", sure), ("the others", ~sure)):
        yield f"{name}, right among {others}", f"{right[own].mean():.3f}" if own.any() else ""


def _texts(texts: Sequence[str], labels: Sequence[str], names: Sequence[str]) -> Texts:
    return Texts(list(texts), np.array(labels), np.array(names))


def _generated() -> Basis:
    words = {"negative": "awful", "neutral": "blue", "mixed": "fine", "positive": "lovely"}
    labels = [*words] * 10
    texts = [f"it was {words[label]} number {number}" for number, label in enumerate(labels)]
    return Basis(
        domains.generated("hotels", "phones"),
        {"hotels"},
        _texts(texts, labels, ["absa-food"] * len(texts)),
        _texts(texts, ["neutral" if label == "mixed" else label for label in labels], ["idiom"] * len(texts)),
    )


if __name__ == "__main__":
    main()
