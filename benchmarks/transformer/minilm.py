"""`python -m benchmarks.transformer.minilm FOLDER` writes a transformer with the shape of MiniLM-L6 and random weights.

Speed, memory and start do not depend on the weights, so nothing is downloaded. The folder contains what
`from_pretrained` of `transformers` reads, and an ONNX graph with 8-bit weights. The vocabulary has as many word pieces
as BERT's: the words of the shipped model `reviews`, and all letters and digits, so that unknown words have many pieces.
"""

from __future__ import annotations

import json
import string
import sys
from pathlib import Path

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import BertProcessing
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast, logging

from benchmarks import shipped

QUANTIZED = "model-8bit.onnx"

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_SHAPE = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, num_labels=2)


def vocabulary() -> dict[str, int]:
    """Return the ids of all word pieces."""
    words = json.loads((shipped("reviews") / "tokenizer.json").read_bytes())["model"]["vocab"]
    characters = string.ascii_lowercase + string.digits + string.punctuation
    pieces = dict.fromkeys([*_SPECIAL, *characters, *(f"##{character}" for character in characters), *words])
    unused = (f"[unused{number}]" for number in range(_SHAPE.vocab_size - len(pieces)))
    return {piece: number for number, piece in enumerate([*pieces, *unused])}


def tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer with the rules of BERT."""
    ids = vocabulary()
    pieces = Tokenizer(WordPiece(ids, unk_token="[UNK]"))
    pieces.normalizer = BertNormalizer(lowercase=True)
    pieces.pre_tokenizer = BertPreTokenizer()
    pieces.post_processor = BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    return PreTrainedTokenizerFast(tokenizer_object=pieces, unk_token="[UNK]", pad_token="[PAD]")


def main() -> None:
    """Write the files."""
    folder = Path(sys.argv[1])
    logging.disable_progress_bar()
    torch.manual_seed(0)
    model = BertForSequenceClassification(_SHAPE).eval()
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)

    model.set_attn_implementation("eager")  # the exporter supports it for every length
    inputs, ids = ("input_ids", "attention_mask"), torch.ones(1, 8, dtype=torch.long)
    graph = folder / "model.onnx"
    torch.onnx.export(
        model,
        (ids, torch.ones_like(ids)),
        str(graph),
        input_names=list(inputs),
        output_names=["logits"],
        dynamic_axes={name: {0: "batch", 1: "time"} for name in inputs},
        opset_version=17,
        dynamo=False,
    )
    quantize_dynamic(graph, folder / QUANTIZED, weight_type=QuantType.QInt8, per_channel=True)
    graph.unlink()


if __name__ == "__main__":
    main()
