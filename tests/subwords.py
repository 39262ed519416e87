"""Tokenizers of subwords, trained on texts of a test."""

from __future__ import annotations

from collections.abc import Sequence

import tokenizers
from tokenizers import models, pre_tokenizers, processors, trainers


def byte_level(texts: Sequence[str], size: int) -> tokenizers.Tokenizer:
    """Return the tokenizer of GPT-2, with all bytes, and a vocabulary of `size` ids."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=alphabet, special_tokens=["<pad>"], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
