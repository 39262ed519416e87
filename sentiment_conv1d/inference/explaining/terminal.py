"""Renders an explanation for a terminal: the text with its words coloured by their shares, and the numbers."""

from __future__ import annotations

from collections.abc import Iterator

from sentiment_conv1d.artifact.explaining.reading import Word
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.inference.explaining.explainer import Explanation
from sentiment_conv1d.inference.prediction import Prediction

#: Background colours of xterm's palette, from a small share to the largest: for negative and for positive shares.
_AGAINST = (224, 217, 216, 209, 202)
_FOR = (195, 153, 117, 75, 33)
_PALE = 0.02  # shares below this part of the largest share have no colour

#: Number of words in the table.
_ROWS = 10

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def render(
    text: str, classifier: Classifier, prediction: Prediction, explanation: Explanation, *, colour: bool
) -> Iterator[str]:
    """Yield the lines of the explanation. Without `colour`, they contain no escape sequences."""
    manifest = classifier.manifest
    shares = sum(word.share for word in explanation.words)
    explained = manifest.labels[1] if manifest.activation == "sigmoid" else explanation.label
    yield f"{prediction.label} {prediction.score:.4f}"
    if not prediction.confident:
        yield "The model is not sure about this text."
    yield (
        f"logit of {explained} {explanation.logit:+.4f} = bias {explanation.bias:+.4f} "
        f"padding {explanation.padding:+.4f} words {shares:+.4f}"
    )
    yield ""
    if prediction.truncated:
        side = "first" if classifier.tokenizer.keeps_first else "last"
        words = prediction.tokens - classifier.decider.start_ids
        yield f"(read: the {side} {len(explanation.words)} of {words} words)"
    yield _coloured(text, explanation.words) if colour else _printable(text)
    yield ""
    yield "  share    word"
    for word in sorted(explanation.words, key=lambda word: -abs(word.share))[:_ROWS]:
        yield f"{word.share:+9.4f}  {_printable(word.text)}{'' if word.known else '  (unknown)'}"
    yield ""
    yield "  activation x weight    filter    words"
    for each in explanation.filters:
        gain = each.activation * each.weight
        name = f"{each.width}/{each.index}"
        words_under = _quoted(text, each.start, each.end)
        yield f"{gain:+9.4f} = {each.activation:.3f} x {each.weight:+.3f}  {name:7}  {words_under}"


def _coloured(text: str, words: list[Word]) -> str:
    """Colour the text. Unknown words are underlined, and what is before the first and after the last word is faint."""
    largest = max((abs(word.share) for word in words), default=0.0)
    end = words[0].start if words else len(text)
    parts = [_faint(text[:end])]
    for word in words:
        parts.append(_printable(text[end : word.start]))
        parts.append(f"{_style(word, largest)}{_printable(word.text)}\x1b[0m")
        end = word.end
    return "".join([*parts, _faint(text[end:])])


def _faint(text: str) -> str:
    return f"\x1b[2m{_printable(text)}\x1b[0m" if text.strip() else _printable(text)


def _style(word: Word, largest: float) -> str:
    line = "" if word.known else "\x1b[4m"
    strength = abs(word.share) / largest if largest else 0.0
    if strength < _PALE:
        return line
    scale = _FOR if word.share > 0 else _AGAINST
    return f"{line}\x1b[30;48;5;{scale[min(int(strength * len(scale)), len(scale) - 1)]}m"


def _quoted(text: str, start: int, end: int) -> str:
    return f'"{" ".join(_printable(text[start:end]).split())}"' if end else "(before the words)"


def _printable(text: str) -> str:
    """Replace characters that could control the terminal."""
    return "".join(character if character.isprintable() or character in "\n\t" else _REPLACEMENT for character in text)
