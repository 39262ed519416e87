"""The frame of every report: an HTML document that needs no other file and runs no script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template

#: A cell of a table: a text, or a text with a note.
Cell = str | tuple[str, str]


def page(title: str, body: str, style: str = "") -> str:
    """Return a document with this title, which is escaped, and this HTML below it. `style` is additional CSS.

    The policy of the document is a second lock: if text is ever left unescaped, it can load and run nothing.
    """
    frame = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    return frame.substitute(title=escape(title), body=body, style=style)


def table(head: Sequence[str], rows: Iterable[Sequence[Cell]], numbers: int = 0, highlighted: int | None = None) -> str:
    """Return an HTML table. The last `numbers` columns are flush right, and one row can have the class `here`.

    Text is escaped.
    """
    kinds = ["number" if place >= len(head) - numbers else "words" for place in range(len(head))]
    names = "".join(
        f'<th scope="col" class="{kind}">{escape(name)}</th>' for kind, name in zip(kinds, head, strict=True)
    )
    marks = {highlighted: ' class="here"'}
    lines = "".join(f"<tr{marks.get(place, '')}>{_row(row, kinds)}</tr>\n" for place, row in enumerate(rows))
    return f'\n<div class="scroll"><table>\n<thead><tr>{names}</tr></thead>\n<tbody>\n{lines}</tbody>\n</table></div>'


def _row(row: Sequence[Cell], kinds: Sequence[str]) -> str:
    first, *others = (f'class="{kind}">{_content(cell)}' for kind, cell in zip(kinds, row, strict=True))
    return f'<th scope="row" {first}</th>' + "".join(f"<td {other}</td>" for other in others)


def _content(cell: Cell) -> str:
    if isinstance(cell, str):
        return escape(cell)
    text, note = cell
    return f"{escape(text)}<small>{escape(note)}</small>"
