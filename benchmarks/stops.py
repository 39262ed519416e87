"""`python -m benchmarks.stops`: the longest time for which reading a long text stops all other threads.

A call of `re`, `str` or C code keeps the interpreter lock until it returns. While one thread splits a hostile text into
sentences or into ids and their places, another one runs as often as it can. The table shows the most processor time
that the process takes between two of its turns. Unlike the time of a clock, it does not contain what other programs do.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from time import process_time

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from benchmarks.markdown import circumstances, number, table
from sentiment_conv1d.artifact.tokenizer import LibraryTokenizer, Tokenizer, WordLevelTokenizer, WordTokenizer
from sentiment_conv1d.artifact.tokenizer.characters import UNICODE_SPACES
from sentiment_conv1d.artifact.tokenizer.library import completed
from sentiment_conv1d.artifact.tokenizer.unicode_text import UnicodeTokenizer
from sentiment_conv1d.artifact.tokenizer.words import KERAS_RULE
from sentiment_conv1d.inference.sentences import split

#: The first characters of a hostile text, and what it repeats behind them.
HOSTILE = {
    "letters": ("", "a"),
    "words": ("", "a "),
    "letters beyond ASCII": ("", "\u00e9"),
    "words beyond ASCII": ("", "\u00e9\u00e8 "),
    "quotation marks": ("", '"'),
    "dots": ("", "."),
    "a dot and joiners": (".", "\u200d"),
    "a dot and emoji": (".", "\U0001f600"),
    "a dot and quotation marks": (".", '"'),
    "a dot and spaces": (".", " "),
    "a dot, spaces and emoji": (".", "  \U0001f600"),
    "lines": ("", "\n"),
    "tags": ("", "<br />"),
    "sentences": ("", "A. "),
}

_WORDS, _MOST = ["a", "good"], 400
_IDS = {"a": 2, "good": 3}

#: Seconds after which a thread that runs Python hands over the lock.
_SWITCH_SECONDS = 0.0001


def hostile_texts(characters: int = 1_000_000) -> dict[str, str]:
    """Return hostile texts of so many characters."""
    return {kind: (first + repeated * characters)[:characters] for kind, (first, repeated) in HOSTILE.items()}


def longest_stop(work: Callable[[], object]) -> float:
    """Return the most seconds of processor time for which this thread does not run while another one does `work`."""
    ended = threading.Event()

    def run() -> None:
        work()
        ended.set()

    other = threading.Thread(target=run)
    longest, last = 0.0, process_time()
    other.start()
    while not ended.is_set():
        time.sleep(0)  # hands over the lock
        now = process_time()
        longest, last = max(longest, now - last), now
    other.join()
    return longest


def _tokenizers() -> dict[str, Tokenizer]:
    rule = replace(KERAS_RULE, start_id=None, unknown_id=1, max_tokens=_MOST)
    rules = {
        "replaced strings": replace(rule, replaced=("<br />", "ab")),
        "kept characters": replace(rule, kept="\u00e9"),
        "marks": replace(rule, separators=UNICODE_SPACES, isolates_marks=True),
        "characters": replace(rule, splits_characters=True),
        "n-grams of words": replace(rule, n_grams=(1, 2)),
    }
    library = tokenizers.Tokenizer(models.WordPiece({"[PAD]": 0, "[UNK]": 1, "a": 2, "##a": 3}, unk_token="[UNK]"))
    library.normalizer, library.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    document = completed(
        json.loads(library.to_str()), max_tokens=_MOST, padding_id=0, keeps_first=True, pads_behind=True
    )
    return {
        "words": WordTokenizer(_WORDS, _MOST),
        **{name: WordLevelTokenizer(_IDS, each) for name, each in rules.items()},
        "words of any script": UnicodeTokenizer(_WORDS, _MOST, cuts=False),
        "n-grams of characters": UnicodeTokenizer(_WORDS, _MOST, cuts=True),
        "subwords": LibraryTokenizer(document),
    }


def _read(tokenizer: Tokenizer, text: str) -> None:
    tokenizer.encode(text)
    deque(tokenizer.spans(text), maxlen=_MOST)


def main() -> None:
    """Measure and print a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--characters", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    sys.setswitchinterval(_SWITCH_SECONDS)
    works: dict[str, Callable[[str], object]] = {"sentences": lambda text: deque(split(text), maxlen=0)}
    for name, tokenizer in _tokenizers().items():
        works[name] = lambda text, tokenizer=tokenizer: _read(tokenizer, text)  # type: ignore[misc]
    rows = []
    for kind, text in hostile_texts(chosen.characters).items():
        stops = [min(longest_stop(lambda: work(text)) for _ in range(chosen.rounds)) for work in works.values()]  # noqa: B023
        rows.append([kind, *(number(1000 * each) for each in stops)])
    print(circumstances())
    print(f"The least of {chosen.rounds} rounds, in milliseconds, for {chosen.characters:,} characters.\n")
    print(table(["repeated", *works], rows))


if __name__ == "__main__":
    main()
