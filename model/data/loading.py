"""Load labelled texts from sources, and report everything that is wrong with them at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

from sentiment_conv1d.commands.output import counted
from sentiment_conv1d.model.data.examples import Dataset, LabelledTexts
from sentiment_conv1d.model.data.faults import BadDataError, OnBadRows, hints
from sentiment_conv1d.model.data.labels import Labels, Problem, SimilarLabels
from sentiment_conv1d.model.data.rows import Columns, Row
from sentiment_conv1d.model.data.sources import UNLABELLED_SPLIT, Reader, Source, Split
from sentiment_conv1d.tables import DataError, Fault, Format

#: A label that is a number in a file of text.
_INTEGER = re.compile(r"-?[0-9]+")


class Reading(NamedTuple):
    """How data is read."""

    form: Format = Format()
    on_bad_rows: OnBadRows = "error"
    similar_labels: SimilarLabels = "error"
    label_map: tuple[tuple[str, str], ...] = ()  # labels in the data, and the names that they get
    columns: Columns = Columns()


def load(
    path: Path | Sequence[Path],
    *,
    test_data: Sequence[Path] = (),
    reading: Reading = Reading(),  # noqa: B008
    unlabelled: bool = False,
    least_examples: int = 1,
    progress: bool = True,
) -> Dataset:
    """Read the training texts, and test texts if there are any, of one or several sources.

    Texts without a label are read only if `unlabelled`. `test_data` are the sources of the test split; without them, a
    single source may have its own. Every label needs `least_examples`, one for each split that the examples are divided
    into, or one less if there is a test split already.

    The label names are the distinct labels as strings, sorted. The integers of a `ClassLabel` get its names. In a
    folder of Parquet files, rows with the integer label -1 are unlabelled and left out, and the integer labels 0 and 1
    are named negative and positive if nothing else names them.

    Raises `BadDataError`, which lists everything that is wrong, or `DataError` for a source that cannot be read.
    """
    paths = [path] if isinstance(path, Path) else list(path)
    faults: list[Fault] = []
    reader = Reader(reading.columns, reading.form, faults, progress, unlabelled)
    with _unreadable_is_an_error(paths[0]):
        sources = [reader.open(path) for path in paths]
        splits = [_require_train(read("train"), path) for read, path in zip(sources, paths, strict=True)]
        train, source = _renamed(splits, reading), _named(splits)
        tests = _test_splits(reader, test_data) if test_data else _own_test_split(sources)
        rest = [split for read in sources if (split := read(UNLABELLED_SPLIT))] if unlabelled else []
    test = _renamed(tests, reading) if tests else None
    merge = reading.similar_labels == "merge"
    columns = reading.columns
    if columns.of_labels:
        names = dict(reading.label_map)
        labels = Labels.named([names.get(name, name) for name in columns.of_labels], merge=False, several=True)
    else:
        named_integers = paths[0].is_dir()
        labels = Labels.of_rows(train, merge=merge, named_integers=named_integers, several=columns.several)
    examples = labels.examples(train, faults)
    test_examples = None if test is None else labels.examples(test, faults)
    problems = labels.problems(train, reading.similar_labels, least_examples if test is None else least_examples - 1)
    _check(paths[0], labels, problems, faults, reading)
    return Dataset(
        label_names=labels.names,
        train=examples,
        test=test_examples,
        source=f"{counted(len(examples), 'text')} of {source}",
        test_source=None if test_examples is None else f"{counted(len(test_examples), 'text')} of {_named(tests)}",
        faults=tuple(faults),
        unlabelled=tuple(row.text for split in rest for row in split.rows),
    )


def load_examples(
    path: Path | Sequence[Path],
    label_names: Sequence[str],
    *,
    reading: Reading = Reading(),  # noqa: B008
) -> LabelledTexts:
    """Read the examples to evaluate a trained model on: a file, or the test split of a folder or archive, each once.

    A folder or archive without a test split is read from its training split. If the label names are negative and
    positive, the integer labels 0 and 1 stand for them. Raises `BadDataError`, which lists everything that is wrong; a
    label outside `label_names` is a fault.
    """
    paths = [path] if isinstance(path, Path) else list(path)
    faults: list[Fault] = []
    reader = Reader(reading.columns, reading.form, faults, progress=False)
    with _unreadable_is_an_error(paths[0]):
        splits = _test_splits(reader, paths)
    rows = _renamed(splits, reading)
    merge = reading.similar_labels == "merge"
    labels = Labels.named(label_names, merge=merge, several=reading.columns.several)
    examples = labels.examples(rows, faults)
    if faults and (reading.on_bad_rows == "error" or not len(examples)):
        raise BadDataError(faults, [], [*_meanings(rows, labels.names), *hints(faults)])
    return LabelledTexts(examples, _named(splits), tuple(faults))


def _check(path: Path, labels: Labels, problems: Sequence[Problem], faults: Sequence[Fault], reading: Reading) -> None:
    """Raise `BadDataError` if the labels have problems, or rows that must not be left out have faults."""
    leaves_out = not faults or reading.on_bad_rows != "error"
    if len(labels.names) == 1 and leaves_out:
        text = f"column {reading.columns.label!r} contains only one label, {labels.names[0]!r}: a model needs two"
        problems = [*problems, Problem(text, "")]
    if not labels.names and not faults:
        problems = [*problems, Problem(f"no text has a label in column {reading.columns.label!r}", "")]
    if problems or not leaves_out or not labels.names:
        found = [f"{path}: {problem.text}" for problem in problems]
        helpful = filter(None, dict.fromkeys(problem.hint for problem in problems))
        raise BadDataError(faults, found, [*hints(faults), *helpful])


def _renamed(splits: Sequence[Split], reading: Reading) -> list[Row]:
    """Return the rows of splits with the names of labels that the user states."""
    names = dict(reading.label_map)

    def renamed(row: Row) -> Row:
        each = tuple(names.get(str(label).strip(), label) for label in row.each)
        return row._replace(label=each[0]) if row.labels is None else row._replace(labels=each)

    return [renamed(row) for split in splits for row in split.rows]


def _meanings(rows: Sequence[Row], names: tuple[str, ...]) -> Iterator[str]:
    """Yield a hint if the data has integers instead of the names of the labels."""
    labels = {str(label).strip() for row in rows for label in row.each}.difference(names)
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


def _own_test_split(sources: Sequence[Source]) -> list[Split]:
    """Return the test split of a single source; empty if it has none."""
    own = sources[0]("test") if len(sources) == 1 else None
    return [] if own is None else [own]


def _require_train(split: Split | None, path: Path) -> Split:
    if split is None:
        raise DataError(f"{path}: there is no training split, only a test split")
    return split


def _test_splits(reader: Reader, paths: Sequence[Path]) -> list[Split]:
    """Read the test split of each source once, or its training split if it has no other."""
    splits: dict[Path, Split] = {}
    for path in {path.resolve(): path for path in paths}.values():
        read = reader.open(path)
        split = read("test") or read("train")
        assert split is not None  # a path with neither split cannot be opened
        splits.setdefault(split.folder / split.name, split)
    return [*splits.values()]


def _named(splits: Sequence[Split]) -> str:
    """Name splits, with as many of their folders as tell different ones of the same name apart."""
    different = len({split.folder / split.name for split in splits})
    names = (tuple(split.with_folders(depth) for split in splits) for depth in count())
    return " and ".join(next(found for found in names if len({*found}) == different))
