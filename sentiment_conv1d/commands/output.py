"""What commands print: numbers of things, and tables."""

from collections.abc import Iterator, Sequence


def counted(number: int, noun: str) -> str:
    """Return a number and its noun: `1 text`, `12,500 texts`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def table_lines(rows: Sequence[Sequence[str]], words: Sequence[int] = (0,)) -> Iterator[str]:
    """Yield the rows of a table with aligned columns: `words` to the left, all others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if place in words else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield f"  {'  '.join(cells)}".rstrip()
