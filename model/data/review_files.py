"""The Large Movie Review Dataset as its authors publish it: one text file per review, in a folder or an archive.

[aclImdb/]{train,test}/{neg,pos}/*.txt
[aclImdb/]train/unsup/*.txt    reviews without a label
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from sentiment_conv1d.model.data.rows import Row
from sentiment_conv1d.tables import DataError

FOLDER = "aclImdb"
# In alphabetical order, so that negative reviews always come first.
_LABELS = {"neg": "negative", "pos": "positive"}
#: The unlabelled split of the dataset, its folder in `train`, and the label of its rows.
UNLABELLED = "unsup"


def find_root(path: Path) -> Path | None:
    """Return the folder that contains `train` and `test`: `path`, or `aclImdb` in it; None if neither does."""
    for root in (path, path / FOLDER):
        if any((root / split / label).is_dir() for split in ("train", "test") for label in _LABELS):
            return root
    return None


def read_folder(root: Path, split: str, progress: bool) -> list[Row] | None:
    """Read the reviews of `train` or `test`, negative ones first, or of `unsup`, by file name; None if there are none.

    Raises `DataError`, which names the file.
    """
    folders = [f"train/{UNLABELLED}"] if split == UNLABELLED else [f"{split}/{label}" for label in _LABELS]
    if not (root / folders[0]).parent.is_dir():
        return None
    files = {
        f"{folder}/{file.name}": file
        for folder in folders
        if (root / folder).is_dir()
        for file in (root / folder).iterdir()
        if _is_review(file.name)
    }
    if split != UNLABELLED:
        _require_both_labels(files, split, str(root))
    elif not files:
        return None
    names = tqdm(sorted(files), f"reading {split}", unit=" reviews", disable=None if progress else True)
    return [_row(str(files[name]), name, files[name].read_bytes()) for name in names]


def read_archive(path: Path, progress: bool, unlabelled: bool) -> dict[str, list[Row]]:
    """Read the reviews of each split of a `.tar.gz`, in the order of `read_folder`, without writing to disk.

    It reads reviews without a label only if `unlabelled` is true. Raises `DataError`, which names the archive and the
    file in it.
    """
    try:
        contents = dict(_members(path, progress, unlabelled))
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: the archive is truncated or corrupt ({error})") from error
    splits: dict[str, list[Row]] = {}
    for name in sorted(contents):
        folder, label, _ = name.split("/")
        split = UNLABELLED if label == UNLABELLED else folder
        splits.setdefault(split, []).append(_row(f"{path}: {name}", name, contents[name]))
    if not splits.keys() - {UNLABELLED}:
        raise DataError(f"{path}: the archive contains no {FOLDER}/train/pos/*.txt")
    for split in splits.keys() - {UNLABELLED}:
        _require_both_labels(contents, split, str(path))
    return splits


def _members(path: Path, progress: bool, unlabelled: bool) -> Iterator[tuple[str, bytes]]:
    """Yield the name, starting with `train` or `test`, and the content of every wanted review."""
    with (
        path.open("rb") as file,
        tqdm(
            desc=f"reading {path.name}",
            total=path.stat().st_size,
            unit="B",
            unit_scale=True,
            disable=None if progress else True,
        ) as bar,
        gzip.open(file) as unpacked,
        tarfile.open(fileobj=unpacked, mode="r|") as archive,
    ):
        for member in archive:
            bar.update(file.tell() - bar.n)
            name = _review_name(member.name, unlabelled)
            if name is not None and member.isfile():
                content = archive.extractfile(member)
                assert content is not None
                yield name, content.read()
        # tarfile does not read the last bytes of an archive, which contain gzip's checksum.
        while unpacked.read(1 << 20):
            pass


def _review_name(member: str, unlabelled: bool) -> str | None:
    parts = PurePosixPath(member).parts
    if parts[:1] == (FOLDER,):
        parts = parts[1:]
    if len(parts) != 3 or not _is_review(parts[2]):
        return None
    is_labelled = parts[0] in ("train", "test") and parts[1] in _LABELS
    is_unlabelled = unlabelled and parts[:2] == ("train", UNLABELLED)
    return "/".join(parts) if is_labelled or is_unlabelled else None


def _is_review(name: str) -> bool:
    # macOS adds files whose names start with a dot.
    return name.endswith(".txt") and not name.startswith(".")


def _require_both_labels(names: dict[str, Path] | dict[str, bytes], split: str, location: str) -> None:
    for label in _LABELS:
        if not any(name.startswith(f"{split}/{label}/") for name in names):
            raise DataError(f"{location}: there are no reviews {split}/{label}/*.txt")


def _row(location: str, name: str, content: bytes) -> Row:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{location}: not UTF-8 ({error.reason})") from None
    if not text.strip():
        raise DataError(f"{location}: the review is empty")
    return Row(location, "file", 0, text, _LABELS.get(name.split("/")[1], UNLABELLED))
