"""`python -m benchmarks.transformer.process LIBRARY FOLDER` measures a model in a process of its own.

It reads texts by kind from stdin as JSON, answers them one by one on one thread, and prints JSON. It runs in the
environment of the library.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

#: The word pieces of a text that the transformer reads, as the one in `research.transformer` does.
LENGTH = 256

Answer = Callable[[str], object]


def sentiment_conv1d(folder: Path) -> Answer:
    """Open a shipped model with the Python interface of this project."""
    from sentiment_conv1d import load

    return load(folder).predict


def transformers(folder: Path) -> Answer:
    """Open a model with the pipeline of `transformers`."""
    import torch
    from transformers import logging, pipeline

    logging.disable_progress_bar()
    torch.set_num_threads(1)
    classify = pipeline("text-classification", model=str(folder), device="cpu")
    return lambda text: classify(text, truncation=True, max_length=LENGTH)


def onnxruntime(folder: Path) -> Answer:
    """Open the 8-bit graph in ONNX Runtime."""
    import numpy as np
    from onnxruntime import InferenceSession, SessionOptions
    from tokenizers import Tokenizer

    options = SessionOptions()
    options.intra_op_num_threads = 1
    session = InferenceSession(folder / "model-8bit.onnx", options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(LENGTH)

    def answer(text: str) -> object:
        ids = np.array([tokenizer.encode(text).ids])
        return session.run(["logits"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0]

    return answer


LIBRARIES = {function.__name__: function for function in (sentiment_conv1d, transformers, onnxruntime)}


def main() -> None:
    """Measure and print: when the first answer was ready, seconds of processor time per text, and memory in MB."""
    library, folder = sys.argv[1:]
    kinds: dict[str, list[str]] = json.load(sys.stdin)
    answer = LIBRARIES[library](Path(folder))
    answer("A gripping, beautifully acted film.")
    ready = time.monotonic()
    seconds = {}
    for kind, texts in kinds.items():
        for text in texts[:8]:  # allocates memory
            answer(text)
        started = time.process_time()
        for text in texts:
            answer(text)
        seconds[kind] = (time.process_time() - started) / len(texts)
    [kilobytes] = re.findall(r"^Pss: +(\d+) kB", Path("/proc/self/smaps_rollup").read_text(), re.MULTILINE)
    print(json.dumps({"ready": ready, "seconds": seconds, "memory": int(kilobytes) * 1024 / 1e6}))


if __name__ == "__main__":
    main()
