"""The page and the tables of reports."""

from sentiment_conv1d.commands.page import page, table


def test_page() -> None:
    """A page escapes its title, contains its body and style unchanged, and allows no scripts or other files."""
    document = page("a < $b", "<p>$body</p>", "p { color: red; }")
    assert document.startswith("<!DOCTYPE html>")
    assert "<title>a &lt; $b</title>" in document and "<h1>a &lt; $b</h1>" in document
    assert "<p>$body</p>" in document and "p { color: red; }</style>" in document
    assert "default-src 'none'" in document


def test_table() -> None:
    """Cells and notes are escaped, the last columns are aligned right, and one row can be highlighted."""
    content = table(("<a>", "b"), [("<x>", ("1 & 2", "<note>")), ("y", "3")], 1, 1)
    assert '<th scope="col" class="words">&lt;a&gt;</th><th scope="col" class="number">b</th>' in content
    assert '<th scope="row" class="words">&lt;x&gt;</th>' in content
    assert '<td class="number">1 &amp; 2<small>&lt;note&gt;</small></td>' in content
    assert '<tr class="here"><th scope="row" class="words">y</th>' in content and content.count("here") == 1
