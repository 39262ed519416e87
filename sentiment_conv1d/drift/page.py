"""The report of a comparison: one HTML page with a table and a chart for each property."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from sentiment_conv1d.commands.page import page, table
from sentiment_conv1d.drift.comparison import Bin, Comparison
from sentiment_conv1d.drift.stability import reading

_WIDTH, _BAR, _GAP, _FONT = 480, 16, 10, 13  # pixels; each bin has two bars and a gap
_NAMES, _NUMBERS = 140, 60  # pixels left and right of the bars

#: What each property is.
_MEANINGS = {
    "score": "Probability of the predicted label.",
    "label": "Predicted labels.",
    "tokens": "Ids of a text before truncation.",
    "unknown words": "Share of unknown words among the ids of a text.",
}

#: What a label is if a text can have several.
_ONE_LABEL = "Texts that have the label."

_READING = (
    "PSI is the population stability index: below 0.1 the change is little, from 0.1 to 0.25 moderate, and above 0.25 "
    "significant. By chance: the PSI that two samples of this size exceed in one of twenty comparisons without drift. "
    "Ignore a PSI below it."
)


def report(title: str, facts: Sequence[tuple[str, str]], comparisons: Sequence[Comparison]) -> str:
    """Return the page. `facts` say in words what is compared."""
    described = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>\n" for name, value in facts)
    figures = "".join(map(_figure, comparisons))
    return page(
        title,
        f'<dl class="facts">\n{described}</dl>\n<section>\n<h2>Drift</h2>{table(HEAD, rows(comparisons), 5)}\n'
        f'<p class="muted"><small>{_READING}</small></p>\n</section>\n'
        f'<section>\n<h2>Distributions</h2>\n<div class="plots">{figures}</div>\n</section>',
    )


#: The names of the columns of `rows`.
HEAD = ("Property", "Reading", "PSI", "By chance", "Mean before", "Mean now")


def rows(comparisons: Sequence[Comparison]) -> list[list[str]]:
    """Return the table of the comparisons, without a head."""
    return [
        [
            each.name,
            reading(each.psi),
            f"{each.psi:.4f}",
            f"{each.chance:.4f}",
            *(("", "") if each.means is None else (f"{mean:,.3f}" for mean in each.means)),
        ]
        for each in comparisons
    ]


def _figure(comparison: Comparison) -> str:
    title = escape(comparison.name[:1].upper() + comparison.name[1:])
    return (
        f"\n<figure>{_chart(comparison)}\n<figcaption><h3>{title}</h3>"
        f"{_MEANINGS.get(comparison.name, _ONE_LABEL)} Grey: before, blue: now.</figcaption></figure>"
    )


def _chart(comparison: Comparison) -> str:
    """Return a bar chart as SVG. The page's colours apply to it."""
    bins = comparison.bins
    widest = max(max(each.expected, each.actual) for each in bins)
    scale = (_WIDTH - _NAMES - _NUMBERS) / widest
    step = 2 * _BAR + _GAP
    bars = "".join(_bars(each, number * step, scale) for number, each in enumerate(bins))
    return (
        f'\n<svg role="img" aria-label="{escape(comparison.name)}" viewBox="0 0 {_WIDTH} {len(bins) * step}" '
        f'font-size="{_FONT}" fill="var(--text)">\n{bars}</svg>'
    )


def _bars(each: Bin, top: int, scale: float) -> str:
    name = f'<text x="{_NAMES - 8}" y="{top + 1.3 * _BAR:g}" text-anchor="end">{escape(each.name)}</text>\n'
    both = ((each.expected, "var(--muted)"), (each.actual, "var(--accent)"))
    return name + "".join(
        f'<rect x="{_NAMES}" y="{top + place * _BAR}" width="{share * scale:.1f}" height="{_BAR}" fill="{colour}"/>'
        f'<text x="{_NAMES + share * scale + 6:.1f}" y="{top + (place + 0.8) * _BAR:g}">{share:.1%}</text>\n'
        for place, (share, colour) in enumerate(both)
    )
