"""Tables in text formats."""

from pathlib import Path

import pytest

from sentiment_conv1d.tables import open_table


@pytest.mark.parametrize(
    ("name", "header", "columns"),
    [
        ("reviews.csv", "text,label\tstars", ("text", "label\tstars")),
        ("reviews.tsv", "text,label\tstars", ("text,label", "stars")),
        ("reviews.csv", "text;label\tstars", ("text", "label\tstars")),
        ("reviews.tsv", "text;label|stars", ("text", "label|stars")),
        ("reviews.csv", "text,a\tlabel\tstars", ("text,a", "label", "stars")),
        ("reviews.tsv", "text,label,stars\tyear", ("text", "label", "stars\tyear")),
        ("reviews.csv", "text", ("text",)),
        ("reviews.csv", '"text";"label, as given"', ("text", "label, as given")),
    ],
)
def test_delimiters(tmp_path: Path, name: str, header: str, columns: tuple[str, ...]) -> None:
    """The delimiter of most columns is found; of several, the one that the extension of the file stands for."""
    path = tmp_path / name
    path.write_text(f"{header}\n")
    with open_table(path) as table:
        assert table.columns == columns
