"""The frame of a report: one HTML document that needs no other file, in the light and in the dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_STYLE = """
:root { color-scheme: light dark; --text: #1c1e21; --muted: #5b626c; --line: #d9dce1; --page: #fff; --card: #f5f6f8;
  --good: #00734f; --bad: #b3261e; --warn: #fff4d6; --warn-line: #d9a400;
  --c1: #0072b2; --c2: #56a5d8; --c3: #d55e00; --c4: #009e73; --c5: #b0609a; --c6: #8a8f98; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e8eb; --muted: #a4abb5; --line: #363b43; --page: #14171b; --card: #1e2228;
    --good: #4cc38a; --bad: #ff8a80; --warn: #33290c; --warn-line: #a87f00;
    --c1: #56b4e9; --c2: #2f7fb5; --c3: #ff8f3f; --c4: #2fc79a; --c5: #d99bc8; --c6: #838a94; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 66rem; padding: 2rem 1.25rem 4rem; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .35rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .9rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 0 0 .15rem; }
p { margin: 0 0 .75rem; max-width: 48rem; }
code { font: .875em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre { margin: 0; padding: .75rem 1rem; background: var(--card); border-radius: .5rem; white-space: pre-wrap; }
.muted { color: var(--muted); }
.good { color: var(--good); }
.bad { color: var(--bad); }
.warning { background: var(--warn); border-left: 4px solid var(--warn-line); padding: .7rem 1rem; border-radius: .3rem;
  max-width: none; }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1.5rem 0; }
.numbers div { padding: .8rem 1rem; background: var(--card); border-radius: .6rem; border-top: 3px solid var(--c1); }
.numbers .bad-card { border-top-color: var(--bad); }
.numbers dt { font-size: .875rem; color: var(--muted); }
.numbers dd { margin: 0; }
.numbers .value { font-size: 1.7rem; font-weight: 650; line-height: 1.3; font-variant-numeric: tabular-nums; }
.numbers small { display: block; color: var(--muted); font-size: .82rem; line-height: 1.35; }
.figures { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 2.25rem 2rem; }
figure { margin: 0; }
figcaption { color: var(--muted); font-size: .875rem; line-height: 1.4; margin-bottom: .5rem; }
figcaption h3 { color: var(--text); }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1rem; list-style: none; margin: 0 0 .3rem; padding: 0;
  font-size: .82rem; }
.legend i { display: inline-block; width: .8rem; height: .8rem; border-radius: .2rem; margin-right: .35rem;
  vertical-align: -.08rem; }
.plot { display: block; width: 100%; height: auto; overflow: visible; font-size: 12px;
  font-variant-numeric: tabular-nums; }
.plot text { fill: var(--muted); }
.plot .grid { stroke: var(--line); stroke-width: 1; }
.plot .axis { stroke: var(--muted); stroke-width: 1; }
.plot .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.plot .mark { stroke-width: 1.5; stroke-dasharray: 5 4; }
.plot .word { font-weight: 600; }
.plot .catch { fill: transparent; }
.plot .tip { visibility: hidden; pointer-events: none; }
.plot .at:hover .tip { visibility: visible; }
.plot .cross { stroke: var(--muted); stroke-width: 1; }
.plot .box { fill: var(--page); stroke: var(--line); }
.plot .tip text { fill: var(--text); }
COLOURS
.scroll { overflow-x: auto; margin-bottom: .75rem; }
.figures + .scroll { margin-top: 1.75rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .925rem;
  overflow-wrap: normal; }
th, td { text-align: left; padding: .4rem .9rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th:last-child, td:last-child { padding-right: 0; }
thead th { font-size: .82rem; color: var(--muted); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 500; }
th.number, td.number { text-align: right; white-space: nowrap; }
thead th.number { white-space: normal; }
tr.here th, tr.here td { background: var(--card); font-weight: 650; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.5rem; margin: 0; }
.facts dt { color: var(--muted); }
.facts dd { margin: 0; }
@media (max-width: 46rem) {
  .figures { grid-template-columns: minmax(0, 1fr); }
  .numbers { grid-template-columns: 1fr 1fr; }
  .numbers .value { font-size: 1.35rem; }
  .plot { font-size: 14px; }
}
@media (max-width: 30rem) {
  body { padding: 1.25rem 1rem 3rem; }
  .facts { grid-template-columns: 1fr; gap: 0; }
  .facts dd { margin-bottom: .5rem; }
  th, td { padding-right: .6rem; }
}
@media print {
  :root { color-scheme: light; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  figure, tr, .numbers { break-inside: avoid; }
}
"""

_COLOURS = "\n".join(
    f".plot .line.c{n}, .plot .mark.c{n} {{ stroke: var(--c{n}); }}\n"
    f".plot .dot.c{n}, .plot .bar.c{n}, .plot text.c{n}, .plot .tip text.c{n} {{ fill: var(--c{n}); }}\n"
    f".legend .c{n} {{ background: var(--c{n}); }}"
    for n in range(1, 7)
)


def page(title: str, sections: Iterable[str]) -> str:
    """The whole document. The policy is a second lock: what slipped through unescaped could load and run nothing."""
    style = _STYLE.replace("COLOURS", _COLOURS)
    body = "\n".join(sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def section(title: str, *contents: str) -> str:
    """A heading with what belongs to it; nothing where there is nothing."""
    content = "\n".join(filter(None, contents))
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}\n</section>" if content else ""


def figures(*each: str) -> str:
    """Plots side by side, where there is room."""
    shown = "\n".join(filter(None, each))
    return f'<div class="figures">\n{shown}\n</div>' if shown else ""


def figure(title: str, caption: str, plot: str) -> str:
    """A plot with how to read it; nothing where there is nothing to plot."""
    heading = f"<figcaption><h3>{escape(title)}</h3>{escape(caption)}</figcaption>"
    return f"<figure>\n{heading}\n{plot}\n</figure>" if plot else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1, here: int | None = None) -> str:
    """Cells are plain text. All columns but the first `words` are numbers; row `here` stands out."""
    kinds = [""] * words + [' class="number"'] * (len(head) - words)
    titles = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for kind, name in zip(kinds, head, strict=True))
    lines = []
    for number, (first, *others) in enumerate(rows):
        cells = "".join(f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds[1:], others, strict=True))
        mark = ' class="here"' if number == here else ""
        lines.append(f'<tr{mark}><th scope="row">{escape(first)}</th>{cells}</tr>')
    if not lines:
        return ""
    body = "\n".join(lines)
    return f'<div class="scroll"><table>\n<thead><tr>{titles}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names with what they stand for, as plain text."""
    items = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs)
    return f'<dl class="facts">\n{items}\n</dl>'


def cards(each: Iterable[tuple[str, str, str, bool]]) -> str:
    """The numbers that matter: name, value, what it means, whether it is bad."""
    items = "\n".join(
        f'<div{" class=bad-card" if bad else ""}><dt>{escape(name)}</dt><dd class="value">{escape(value)}</dd>'
        f"<dd><small>{escape(meaning)}</small></dd></div>"
        for name, value, meaning, bad in each
    )
    return f'<dl class="numbers">\n{items}\n</dl>'


def paragraph(text: str, kind: str = "") -> str:
    """Plain text."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"
