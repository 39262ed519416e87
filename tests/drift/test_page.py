"""The page that reports a comparison."""

import re

from sentiment_conv1d.drift.comparison import Bin, Comparison
from sentiment_conv1d.drift.page import HEAD, report, rows

TOKENS = Comparison("tokens", 0.1235, 0.04321, [Bin("<9", 0.5, 0.25), Bin("more", 0.5, 0.75)], (1234.5, 99.5))
LABEL = Comparison("label calm", 0.0, 0.5, [Bin("with it", 1.0, 1.0)], None)


def test_rows() -> None:
    """A row has the reading, the index and that of chance, and the means before and now if there are any."""
    assert [dict(zip(HEAD, row, strict=True)) for row in rows([TOKENS, LABEL])] == [
        {
            "Property": "tokens",
            "Reading": "moderate change",
            "PSI": "0.1235",
            "By chance": "0.0432",
            "Mean before": "1,234.500",
            "Mean now": "99.500",
        },
        {
            "Property": "label calm",
            "Reading": "little change",
            "PSI": "0.0000",
            "By chance": "0.5000",
            "Mean before": "",
            "Mean now": "",
        },
    ]


def test_bars() -> None:
    """Each bin has a grey bar for before and a blue one for now, and the longest bar fills the chart."""
    page = report("Drift", [], [TOKENS])
    bars = re.findall(r'<rect x="(\d+)" y="(\d+)" width="([\d.]+)" height="(\d+)" fill="([^"]+)"/>', page)
    grey, blue = "var(--muted)", "var(--accent)"
    assert bars == [
        ("140", "0", "186.7", "16", grey),
        ("140", "16", "93.3", "16", blue),
        ("140", "42", "186.7", "16", grey),
        ("140", "58", "280.0", "16", blue),
    ]
    assert 'viewBox="0 0 480 84"' in page
    labels = re.findall(r'<text x="([\d.]+)" y="([\d.]+)"(?: text-anchor="end")?>([^<]+)</text>', page)
    assert labels == [
        ("132", "20.8", "&lt;9"),
        ("332.7", "12.8", "50.0%"),
        ("239.3", "28.8", "25.0%"),
        ("132", "62.8", "more"),
        ("332.7", "54.8", "50.0%"),
        ("426.0", "70.8", "75.0%"),
    ]


def test_captions() -> None:
    """A chart is named as its property and says what that is, and the facts stand above all charts."""
    page = report("Drift of a & b", [("Before", "4 texts of <a>")], [TOKENS, LABEL])
    assert "<h3>Tokens</h3>Ids of a text before truncation. Grey: before, blue: now." in page
    assert "<h3>Label calm</h3>Texts that have the label. Grey: before, blue: now." in page
    assert "<dt>Before</dt><dd>4 texts of &lt;a&gt;</dd>" in page and "<h1>Drift of a &amp; b</h1>" in page
