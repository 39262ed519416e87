"""Load labelled texts from sources, and report everything that is wrong with them at once."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from sentiment_conv1d.commands.output import counted
from sentiment_conv1d.model.data.examples import Dataset, Examples, LabelledTexts
from sentiment_conv1d.model.data.faults import BadDataError, OnBadRows, hints
from sentiment_conv1d.model.data.rows import Columns, Row
from sentiment_conv1d.model.data.sources import UNLABELLED_PART, Part, Reader, Source
from sentiment_conv1d.tables import DataError, Fault, Format

#: The meanings of the integers 0 and 1 in a folder of Parquet files, and in `load_examples`.
SENTIMENTS = ("negative", "positive")

#: What to do with labels that differ only in case and white space: stop with an error, give all of them the most
#: frequent spelling, or keep them as different labels.
SimilarLabels = Literal["error", "merge", "keep"]


#: A label that is a number in a file of text.
_INTEGER = re.compile(r"-?[0-9]+")


class Reading(NamedTuple):
    """How data is read."""

    form: Format = Format()
    on_bad_rows: OnBadRows = "error"
    similar_labels: SimilarLabels = "error"
    label_map: tuple[tuple[str, str], ...] = ()  # labels in the data, and the names that they get


def load(
    path: Path | Sequence[Path],
    *,
    test_data: Sequence[Path] = (),
    text_column: str = "text",
    label_column: str = "label",
    segment_column: str | None = None,
    reading: Reading = Reading(),  # noqa: B008
    unlabelled: bool = False,
    least_examples: int = 1,
    progress: bool = True,
) -> Dataset:
    """Read the training texts, and test texts if there are any, of one or several sources.

    Texts without a label are read only if `unlabelled`. `test_data` are the sources of the test part; without them, a
    single source may have its own. Every label needs `least_examples`, one for each part that the examples are divided
    into, or one less if there is a test part already. The rows of the examples have the values of `segment_column`.

    The label names are the distinct labels as strings, sorted. The integers of a `ClassLabel` get its names. In a
    folder of Parquet files, rows with the integer label -1 are unlabelled and left out, and the integer labels 0 and 1
    are named negative and positive if nothing else names them.

    Raises `BadDataError`, which lists everything that is wrong, or `DataError` for a source that cannot be read.
    """
    paths = [path] if isinstance(path, Path) else list(path)
    first = paths[0]
    faults: list[Fault] = []
    reader = Reader(Columns(text_column, label_column, segment_column), reading.form, faults, progress, unlabelled)
    with _unreadable_is_an_error(first):
        sources = [reader.open(path) for path in paths]
        parts = [_require_train(read("train"), path) for read, path in zip(sources, paths, strict=True)]
        train = _joined(parts)
        test = _test_part(reader, sources, test_data)
        rest = [part for read in sources if (part := read(UNLABELLED_PART))] if unlabelled else []
    train = _renamed(train, reading)
    test = None if test is None else _renamed(test, reading)
    spelled = _spelling(train.rows) if reading.similar_labels == "merge" else {}
    names = _label_names(train.rows, spelled, named_integers=first.is_dir())
    examples = _examples(train.rows, names, spelled, faults)
    test_examples = None if test is None else _examples(test.rows, names, spelled, faults)
    least = least_examples if test is None else least_examples - 1
    problems = _label_problems(train.rows, names, spelled, reading.similar_labels, least)
    leaves_out = not faults or reading.on_bad_rows != "error"
    if len(names) == 1 and leaves_out:
        problems.append((f"column {label_column!r} contains only one label, {names[0]!r}: a model needs two", ""))
    if problems or not leaves_out or not names:
        found = [f"{first}: {text}" for text, _ in problems]
        raise BadDataError(faults, found, [*hints(faults), *filter(None, dict.fromkeys(hint for _, hint in problems))])
    return Dataset(
        label_names=names,
        train=examples,
        test=test_examples,
        source=_describe(train, examples),
        test_source=None if test is None or test_examples is None else _describe(test, test_examples),
        faults=tuple(faults),
        unlabelled=tuple(row.text for row in _joined(rest).rows),
    )


def load_examples(
    path: Path | Sequence[Path],
    label_names: Sequence[str],
    *,
    text_column: str = "text",
    label_column: str = "label",
    segment_column: str | None = None,
    reading: Reading = Reading(),  # noqa: B008
) -> LabelledTexts:
    """Read the examples to evaluate a trained model on: a file, or the test part of a folder or archive.

    A folder or archive without a test part is read from its training part. The rows of the examples have the values of
    `segment_column`. If the label names are negative and positive, the integer labels 0 and 1 stand for them. Raises
    `BadDataError`, which lists everything that is wrong; a label outside `label_names` is a fault.
    """
    paths = [path] if isinstance(path, Path) else list(path)
    faults: list[Fault] = []
    reader = Reader(Columns(text_column, label_column, segment_column), reading.form, faults, progress=False)
    names = tuple(label_names)
    with _unreadable_is_an_error(paths[0]):
        rows = _renamed(_joined(_parts(reader, paths)), reading).rows
    spelled = {_folded(name): name for name in names} if reading.similar_labels == "merge" else {}
    examples = _examples(rows, names, spelled, faults)
    if faults and (reading.on_bad_rows == "error" or not len(examples)):
        raise BadDataError(faults, [], [*_meanings(rows, names), *hints(faults)])
    return LabelledTexts(examples, " and ".join(path.name for path in paths), tuple(faults))


def _renamed(part: Part, reading: Reading) -> Part:
    """Give labels the names that the user states."""
    names = dict(reading.label_map)
    return Part(part.name, [row._replace(label=names.get(str(row.label).strip(), row.label)) for row in part.rows])


def _meanings(rows: Sequence[Row], names: tuple[str, ...]) -> Iterator[str]:
    """Yield a hint if the data has integers instead of the names of the labels."""
    labels = {str(row.label).strip() for row in rows}.difference(names)
    if labels and all(_INTEGER.fullmatch(label) for label in labels):
        pairs = zip(sorted(labels, key=int), names, strict=False)
        example = ",".join(f"{label}={name}" for label, name in pairs)
        yield f"state which label each integer means, for example --label-map={example}"


@contextmanager
def _unreadable_is_an_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{error.filename or path}: cannot be read ({error.strerror or error})") from error


def _test_part(reader: Reader, sources: Sequence[Source], test_data: Sequence[Path]) -> Part | None:
    if test_data:
        return _joined(_parts(reader, test_data))
    return sources[0]("test") if len(sources) == 1 else None


def _require_train(part: Part | None, path: Path) -> Part:
    if part is None:
        raise DataError(f"{path}: there is no training part, only a test part")
    return part


def _parts(reader: Reader, paths: Sequence[Path]) -> list[Part]:
    """Read the test part of each source, or its training part if it has no other."""
    parts = []
    for path in paths:
        read = reader.open(path)
        part = read("test") or read("train")
        assert part is not None  # a path with neither part cannot be opened
        parts.append(part)
    return parts


def _joined(parts: Sequence[Part]) -> Part:
    return Part(" and ".join(part.name for part in parts), [row for part in parts for row in part.rows])


def _describe(part: Part, examples: Examples) -> str:
    return f"{counted(len(examples), 'review')} of {part.name}"


def _label_names(rows: Sequence[Row], spelled: dict[str, str], named_integers: bool) -> tuple[str, ...]:
    labels = {row.label for row in rows}
    are_integers = all(type(row.label) is int for row in rows)  # a bool does not count
    if named_integers and are_integers and labels == {0, 1}:
        return SENTIMENTS
    return tuple(sorted({_respelled(str(label), spelled) for label in labels}))


def _examples(rows: Sequence[Row], names: tuple[str, ...], spelled: dict[str, str], faults: list[Fault]) -> Examples:
    """Turn rows into examples. Rows whose label is not in `names` are added to `faults`."""
    numbers = {name: number for number, name in enumerate(names)}
    usable, labels = [], []
    for row in rows:
        name = _name(row.label, names, spelled)
        if name in numbers:
            usable.append(row)
            labels.append(numbers[name])
        else:
            faults.append(row.fault(f"label {name!r} is none of the labels {', '.join(map(repr, names))}"))
    return Examples([row.text for row in usable], np.array(labels, np.int64), usable)


def _name(label: str | int, names: tuple[str, ...], spelled: dict[str, str]) -> str:
    if names == SENTIMENTS and type(label) is int and label in (0, 1):
        return SENTIMENTS[label]
    return _respelled(str(label), spelled)


def _folded(label: str) -> str:
    """Return a label without differences in case and white space, which people vary when they type."""
    return " ".join(label.casefold().split())


def _respelled(label: str, spelled: dict[str, str]) -> str:
    return spelled.get(_folded(label), label)


def _spelling(rows: Sequence[Row]) -> dict[str, str]:
    """Return the most frequent spelling of each label, stripped of white space, by its folded form."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        counts[_folded(str(row.label))][str(row.label).strip()] += 1
    return {folded: min(each, key=lambda label: (-each[label], label)) for folded, each in counts.items()}


def _label_problems(
    rows: Sequence[Row], names: tuple[str, ...], spelled: dict[str, str], similar: SimilarLabels, least: int
) -> list[tuple[str, str]]:
    """Return the problems with the labels, each with a hint."""
    counts = Counter(_name(row.label, names, spelled) for row in rows)
    first = _first_places(rows, names, spelled)
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[_folded(name)].append(name)
    alike = [group for group in groups.values() if len(group) > 1]
    problems = []
    if similar == "error":
        hint = "--similar-labels merge makes one label of each group; keep treats them as different labels"
        for group in alike:
            listed = ", ".join(f"{name!r} ({counts[name]:,}, first in {first[name]})" for name in group)
            problems.append((f"labels that differ only in case or white space: {listed}", hint))
    for name in names:
        if counts[name] < least:
            number = "a single example" if counts[name] == 1 else f"{counts[name]} examples"
            text = f"label {name!r} has {number} ({first[name]}), but needs {least}, one for each part of the data"
            problems.append((text, "add examples of a rare label, or remove it from the data"))
    return problems


def _first_places(rows: Sequence[Row], names: tuple[str, ...], spelled: dict[str, str]) -> dict[str, str]:
    """Return the place of the first row of every label, with its file if there are several."""
    several = len({row.file for row in rows}) > 1
    places: dict[str, str] = {}
    for row in rows:
        place = row.place if several or not row.number else f"{row.unit} {row.number}"
        places.setdefault(_name(row.label, names, spelled), place)
    return places
