"""Renders an explanation for a terminal: the text with its words coloured by their shares, and the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sentiment_conv1d.artifact.explaining.reading import Word
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.inference.explaining.explainer import Contrast, Explanation
from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.inference.sentences import Sentence, deciding

#: Background colours of xterm's palette, from a small share to the largest: for negative and for positive shares.
_AGAINST = (224, 217, 216, 209, 202)
_FOR = (195, 153, 117, 75, 33)
_PALE = 0.02  # shares below this part of the largest share have no colour

#: The least share of a logit that gets the strongest colour, so that a text whose words all say little stays pale.
FULL_SHARE = 1.0

#: Number of words in the table.
_ROWS = 10

#: Stands for a token without characters of its own.
_NO_TEXT = "\N{MIDDLE DOT}"

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def render(
    text: str,
    classifier: Classifier,
    prediction: Prediction,
    explanation: Explanation,
    sentences: Sequence[Sentence] = (),
    *,
    colour: bool,
) -> Iterator[str]:
    """Yield the lines of the explanation. Without `colour`, they contain no escape sequences."""
    manifest = classifier.manifest
    shares = [word.share for word in explanation.words]
    contrast = explanation.contrast
    explained = manifest.labels[1] if manifest.outputs == 1 else explanation.label
    yield f"{prediction.label} {prediction.score:.4f}"
    if prediction.labels is not None:
        yield f"labels: {', '.join(prediction.labels) or 'none'}"
    if prediction.confident is False:
        yield "The model is not sure about this text."
    yield f"logit of {explained} {explanation.logit:+.4f} = {_parts(explanation, shares)}"
    if contrast is not None:
        versus = f"{contrast.label} against {contrast.against}"
        yield f"log-odds of {versus} {contrast.log_odds:+.4f} = {_parts(contrast, contrast.shares)}"
    yield ""
    if prediction.truncated:
        side = "first" if classifier.tokenizer.keeps_first else "last"
        words = prediction.tokens - classifier.decider.start_ids
        yield f"(read: the {side} {len(explanation.words)} of {words} words)"
    yield _coloured(text, explanation.words, shares) if colour else _printable(text)
    if colour:
        yield _legend(f"for {explained}", f"against {explained}")
    if contrast is not None and colour:
        yield ""
        yield f"{versus}:"
        yield _coloured(text, explanation.words, contrast.shares)
        yield _legend(f"for {contrast.label}", f"for {contrast.against}")
    yield ""
    if sentences:
        decided_by = deciding(sentences, manifest, explanation.label)
        yield f"  share    sentences; * adds most to {_printable(explanation.label)}"
        for index, sentence in enumerate(sentences):
            own = f"{sentence.prediction.label} {sentence.prediction.score:.4f}"
            mark = "*" if index == decided_by else " "
            yield f"{sentence.share:+9.4f} {mark}{own}  {_quoted(text, sentence.start, sentence.end)}"
        yield ""
    columns = [shares] if contrast is None else [shares, contrast.shares]
    yield f"  share    {'' if contrast is None else 'log-odds   '}word"
    strongest = sorted(range(len(shares)), key=lambda index: -max(abs(column[index]) for column in columns))
    for index in strongest[:_ROWS]:
        word = explanation.words[index]
        numbers = "  ".join(f"{column[index]:+9.4f}" for column in columns)
        yield f"{numbers}  {_printable(word.text)}{'' if word.known else '  (unknown)'}"
    yield ""
    yield "  activation x weight    filter    words"
    for each in explanation.filters:
        gain = each.activation * each.weight
        name = f"{each.width}/{each.index}"
        words_under = _quoted(text, each.start, each.end)
        yield f"{gain:+9.4f} = {each.activation:.3f} x {each.weight:+.3f}  {name:7}  {words_under}"
    yield ""
    yield f"share: what a word adds to the logit of {_printable(explained)}. filter: its width/number."


def _parts(whole: Explanation | Contrast, shares: list[float]) -> str:
    return f"bias {whole.bias:+.4f} padding {whole.padding:+.4f} words {sum(shares):+.4f}"


def _coloured(text: str, words: list[Word], shares: list[float]) -> str:
    """Colour the words by their shares. Unknown words are underlined, and the text outside the words is faint.

    Of several tokens of one character, the first shows it, and the others a dot. N-grams follow on a new line.
    """
    largest = max([FULL_SHARE, *map(abs, shares)])
    start = end = words[0].start if words else len(text)
    parts = [_faint(text[:end])]
    for word, share in zip(words, shares, strict=True):
        if word.start < start:
            parts.append("\n")
            end = word.start
        parts.append(_printable(text[end : word.start]))
        own = word.text[max(0, end - word.start) :] or _NO_TEXT
        parts.append(f"{_style(share / largest, known=word.known)}{_printable(own)}\x1b[0m")
        start, end = word.start, word.end
    behind = max((word.end for word in words), default=end)
    return "".join([*parts, _faint(text[behind:])])


def _legend(positive: str, negative: str) -> str:
    """Return a line that shows the colours and the lines of words."""
    samples = [(1.0, True, positive), (-1.0, True, negative), (0.0, False, "unknown")]
    shown = [f"{_style(share, known=known)}{_printable(name)}\x1b[0m" for share, known, name in samples]
    return f"({', '.join(shown)})"


def _faint(text: str) -> str:
    return f"\x1b[2m{_printable(text)}\x1b[0m" if text.strip() else _printable(text)


def _style(share: float, *, known: bool) -> str:
    """Return the style of a word. `share` is its part of the share that gets the strongest colour."""
    line = "" if known else "\x1b[4m"
    strength = abs(share)
    if strength < _PALE:
        return line
    scale = _FOR if share > 0 else _AGAINST
    return f"{line}\x1b[30;48;5;{scale[min(int(strength * len(scale)), len(scale) - 1)]}m"


def _quoted(text: str, start: int, end: int) -> str:
    return f'"{" ".join(_printable(text[start:end]).split())}"' if end else "(no window of words)"


def _printable(text: str) -> str:
    """Replace characters that could control the terminal."""
    return "".join(character if character.isprintable() or character in "\n\t" else _REPLACEMENT for character in text)
