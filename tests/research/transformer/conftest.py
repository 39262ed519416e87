"""A BERT that is small enough to train in a test."""

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from research.transformer.network import Size
from research.transformer.weights import Tensors

SIZE = Size(vocabulary=40, positions=16, blocks=2, width=8, inner=12, heads=2)


@pytest.fixture
def tensors() -> Tensors:
    """Return random weights, with the names and shapes of a BERT in PyTorch."""
    random = np.random.default_rng(0)
    norm = {"LayerNorm.weight": (SIZE.width,), "LayerNorm.bias": (SIZE.width,)}
    square = {"weight": (SIZE.width, SIZE.width), "bias": (SIZE.width,)}
    block = {
        **{
            f"attention.self.{part}.{name}": shape
            for part in ("query", "key", "value")
            for name, shape in square.items()
        },
        **{f"attention.output.dense.{name}": shape for name, shape in square.items()},
        **{f"attention.output.{name}": shape for name, shape in norm.items()},
        "intermediate.dense.weight": (SIZE.inner, SIZE.width),
        "intermediate.dense.bias": (SIZE.inner,),
        "output.dense.weight": (SIZE.width, SIZE.inner),
        "output.dense.bias": (SIZE.width,),
        **{f"output.{name}": shape for name, shape in norm.items()},
    }
    shapes = {
        "embeddings.word_embeddings.weight": (SIZE.vocabulary, SIZE.width),
        "embeddings.position_embeddings.weight": (SIZE.positions, SIZE.width),
        "embeddings.token_type_embeddings.weight": (2, SIZE.width),
        **{f"embeddings.{name}": shape for name, shape in norm.items()},
        **{f"encoder.layer.{n}.{name}": shape for n in range(SIZE.blocks) for name, shape in block.items()},
    }
    return {name: random.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def tokenizer() -> bytes:
    """Return a `tokenizer.json` that knows single letters."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz"]
    ids = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    return tokenizer.to_str().encode()
