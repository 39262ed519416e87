"""`python -m benchmarks.serving.text_onnx`: the processor time of `text.onnx` for a text, compared with the classifier.

Both read one text after the other on one thread, in rounds over all texts in which they alternate. The classifier is
that of the service, in process; it uses the native operator if this installation contains it, and `text.onnx` never
does.
"""

from __future__ import annotations

import argparse
import re
import string
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import process_time

from benchmarks import shipped
from benchmarks.explaining import measure
from benchmarks.markdown import circumstances, number, table
from loadtest.traffic import texts
from sentiment_conv1d.artifact.artifact import Artifact, read_artifact
from sentiment_conv1d.artifact.graphs.text.file import text_graph
from sentiment_conv1d.artifact.manifest import Golden
from sentiment_conv1d.artifact.tokenizer import MarksTokenizer, VocabularyTokenizer, WordLevelTokenizer
from sentiment_conv1d.artifact.tokenizer.marks import WORDS
from sentiment_conv1d.artifact.tokenizer.words import KERAS_RULE
from sentiment_conv1d.export.checks.text_graph import open_text_graph
from sentiment_conv1d.inference.classifier import Classifier

_NAMES = ("imdb-cnn", "imdb-cnn-8bit", "accurate", "reviews")


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--count", type=int, default=256, help="texts (default: 256)")
    options = parser.parse_args()
    rows = []
    for name in _NAMES:
        artifact = read_artifact(shipped(name))
        whole = texts.generate(artifact.tokenizer, options.count)
        variants = {name: artifact}
        if name == _NAMES[0]:
            variants["its words in a `TextVectorization` layer"] = _vectorized(artifact)
        if name == _NAMES[-1]:
            variants["its words, read by `words:marks`"] = _marked(artifact)
        for title, each in variants.items():
            rows.append([title, *_cells(each, [whole, texts.shorten(whole)], options.rounds)])
    print(circumstances())
    print(f"Processor time, medians of {options.rounds} rounds of {options.count} texts.\n")
    head = [f"{what}, {kind}" for kind in ("whole", "20 words") for what in ("service, µs", "`text.onnx`, µs", "ratio")]
    print(table(["model", *head], rows))


def _vectorized(artifact: Artifact) -> Artifact:
    """Return an artifact that removes punctuation, as Keras does by default, so that its words have to be joined."""
    tokenizer = artifact.tokenizer
    assert isinstance(tokenizer, VocabularyTokenizer)
    known = {word: number for word, number in tokenizer.known_ids.items() if not set(word) & set(string.punctuation)}
    rule = replace(
        KERAS_RULE,
        max_tokens=tokenizer.max_tokens,
        lowercase="ascii",
        removed=string.punctuation,
        separators="\t\n\v\f\r",
    )
    return _with(artifact, WordLevelTokenizer(known, rule))


def _marked(artifact: Artifact) -> Artifact:
    """Return an artifact for which marks, emojis and ratings are words."""
    tokenizer = artifact.tokenizer
    assert isinstance(tokenizer, VocabularyTokenizer)
    words = [word for word in tokenizer.words if re.fullmatch(WORDS, word)]
    return _with(artifact, MarksTokenizer(words, tokenizer.max_tokens))


def _with(artifact: Artifact, tokenizer: VocabularyTokenizer) -> Artifact:
    changed = replace(artifact, tokenizer=tokenizer)
    text = artifact.manifest.golden.text
    _, [probabilities] = open_text_graph(text_graph(changed))((text,))
    stored = probabilities[1:] if len(probabilities) == 2 else probabilities  # of a sigmoid, the second one
    golden = Golden(text=text, probabilities=tuple(stored.tolist()))
    return replace(changed, manifest=artifact.manifest.model_copy(update={"golden": golden}))


def _cells(artifact: Artifact, kinds: Sequence[Sequence[str]], rounds: int) -> list[str]:
    classifier = Classifier(artifact)
    answer = open_text_graph(text_graph(artifact))
    works: dict[str, Callable[[str], object]] = {
        "service": lambda text: classifier.predict((text,)),
        "text.onnx": lambda text: answer((text,)),
    }
    cells = []
    for each in kinds:
        measure(works, each, 1, process_time)  # allocates memory
        medians = measure(works, each, rounds, process_time)
        ratio = medians["text.onnx"] / medians["service"]
        cells += [number(medians["service"]), number(medians["text.onnx"]), f"{ratio:.2f}"]
    return cells


if __name__ == "__main__":
    main()
