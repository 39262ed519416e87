"""`python -m benchmarks.rules`: the processor time of the rule `words:marks`, beside that of `words`.

Both tokenizers know the same words, and encode the same texts in turn, on one thread, with the native library and
without it. The ratio is the median over the rounds of the ratios of a round.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from random import Random
from unittest.mock import patch

from benchmarks import shipped
from benchmarks.markdown import circumstances, table
from benchmarks.native_code import measure
from loadtest.traffic import texts
from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.artifact.tokenizer import MarksTokenizer, VocabularyTokenizer, WordTokenizer, vocabulary
from sentiment_conv1d.artifact.tokenizer.marks import WORDS

EMOJIS = ("😀", "😍", "😡", "😂😂", "💩", "👍", "👎🏽", "❤️", "🔥", "⭐️⭐️")


def main() -> None:
    """Measure and print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--texts", default=texts.IMDB, help="imdb (generated), or a .txt, .csv, .jsonl, .parquet")
    options.add_argument("--count", type=int, default=512)
    options.add_argument("--rounds", type=int, default=15)
    chosen = options.parse_args()

    tokenizer = read_artifact(shipped("reviews")).tokenizer
    assert isinstance(tokenizer, VocabularyTokenizer)
    words = [word for word in tokenizer.words if re.fullmatch(WORDS, word)]
    reviews = texts.choose(chosen.texts, tokenizer, chosen.count)
    short = texts.shorten(reviews)
    kinds = {"whole": reviews, "20 words": short, "curly quotes": list(map(quoted, short)), "emojis": typed(short)}
    cells = []
    for library in ("native", "Python"):
        with patch.object(vocabulary, "_load", vocabulary._load if library == "native" else lambda _: None):
            pair = [rule(words, tokenizer.max_tokens).encode_batch for rule in (WordTokenizer, MarksTokenizer)]
        for kind, some in kinds.items():
            for size in (1, 32):
                groups = [some[start : start + size] for start in range(0, len(some), size)]
                cells.append([library, kind, str(size), *measure(pair, groups, len(some), chosen.rounds)])
    print(circumstances())
    print(f"Text to ids on one thread, medians of {chosen.rounds} rounds of {len(reviews)} texts.\n")
    print(table(["library", "texts", "at a time", "µs per text, words", "words:marks", "ratio"], cells))


def quoted(text: str) -> str:
    """Return a text with quotation marks and apostrophes as word processors write them."""
    return "“" + text.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}") + "”"


def typed(some: Sequence[str]) -> list[str]:
    """Return texts in which emojis replace some spaces."""
    random = Random(0)
    gaps = [*EMOJIS, *[" "] * 6 * len(EMOJIS)]
    return ["".join(word + random.choice(gaps) for word in text.split(" ")) for text in some]


if __name__ == "__main__":
    main()
