"""`python -m benchmarks.subwords`: the time of texts to ids with the library `tokenizers`, and with our own rule.

It trains WordPiece, BPE and Unigram with 5,000 ids on the texts, and measures them on one thread with processor time.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from time import process_time
from typing import Any

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from benchmarks import ARTIFACT
from benchmarks.explaining import measure
from benchmarks.markdown import circumstances, number, table
from loadtest.traffic import texts
from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.artifact.tokenizer import LibraryTokenizer, Tokenizer
from sentiment_conv1d.artifact.tokenizer.library import completed

_SIZE = 5000


def _libraries() -> Iterator[tuple[str, tokenizers.Tokenizer, trainers.Trainer]]:
    """Yield tokenizers with their names and their trainers."""
    word_piece = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    word_piece.normalizer, word_piece.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    options: dict[str, Any] = {"vocab_size": _SIZE, "special_tokens": ["[PAD]", "[UNK]"], "show_progress": False}
    yield "WordPiece", word_piece, trainers.WordPieceTrainer(**options)
    bpe = tokenizers.Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    yield "BPE of bytes", bpe, trainers.BpeTrainer(**options, initial_alphabet=alphabet)
    unigram = tokenizers.Tokenizer(models.Unigram())
    unigram.normalizer, unigram.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
    yield "Unigram", unigram, trainers.UnigramTrainer(**options, unk_token="[UNK]")


def main() -> None:
    """Measure and print a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--texts", default=texts.IMDB, help="imdb (generated), or a .txt, .csv, .jsonl, .parquet")
    options.add_argument("--count", type=int, default=512)
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    own = read_artifact(ARTIFACT).tokenizer
    reviews = texts.choose(chosen.texts, own, chosen.count)
    measured: dict[str, Tokenizer] = {"words, by this project": own}
    for name, library, trainer in _libraries():
        library.train_from_iterator(reviews, trainer)
        document = completed(
            json.loads(library.to_str()), max_tokens=own.max_tokens, padding_id=0, keeps_first=True, pads_behind=True
        )
        measured[name] = LibraryTokenizer(document)
    work: dict[str, Callable[[str], object]] = {name: each.encode for name, each in measured.items()}
    found = measure(work, reviews, chosen.rounds, process_time)
    print(circumstances())
    print(f"Processor time for one text, medians of {chosen.rounds} rounds of {len(reviews)} texts.\n")
    print(table(["tokenizer", "µs a text"], [[name, number(each)] for name, each in found.items()]))


if __name__ == "__main__":
    main()
