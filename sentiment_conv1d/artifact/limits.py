"""The limits of artifacts. Anybody can have written one, and workers parse it while they answer requests."""

from __future__ import annotations

import json
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, StringConstraints

#: The most bytes of `manifest.json`: a confusion matrix of 350 labels, or 100,000 numbers of a larger one. Whatever it
#: contains, parsing it takes 0.8 s of processor time at most, and holds the interpreter lock for 0.7 s.
MAX_MANIFEST_BYTES = 4 << 20

#: The most bytes of `tokenizer.json`: 750,000 words. Reading them takes 4 s of processor time, and holds the
#: interpreter lock for 1 s. A worker is replaced after ten seconds without a heartbeat.
MAX_TOKENIZER_BYTES = 16 << 20

#: The most bytes of a graph. A file of ONNX, which is one message of protobuf, has less than 2 GiB.
MAX_GRAPH_BYTES = 2_000_000_000

#: The most versions that a service serves at once.
MAX_MODELS = 64

#: The most labels of a model, and the most items of every other list and map in a manifest.
MAX_ITEMS = 10_000

#: The most characters of a text that describes something, and of the golden text.
MAX_DESCRIPTION = 10_000

#: The most characters of a label, of the name of a measure or a library, and of a version or a time.
MAX_KEY = 200

#: The most characters of the configuration of a training, as JSON.
MAX_CONFIGURATION = 1 << 20

_Value = TypeVar("_Value")

Description = Annotated[str, StringConstraints(max_length=MAX_DESCRIPTION)]
Key = Annotated[str, StringConstraints(max_length=MAX_KEY)]
Items = Annotated[tuple[_Value, ...], Field(max_length=MAX_ITEMS)]
Map = Annotated[dict[Key, _Value], Field(max_length=MAX_ITEMS)]


def _is_short(configuration: dict[str, Any]) -> dict[str, Any]:
    if (size := len(json.dumps(configuration, ensure_ascii=False))) > MAX_CONFIGURATION:
        raise ValueError(f"has {size:,} characters as JSON, and at most {MAX_CONFIGURATION:,} are allowed")
    return configuration


Configured = Annotated[dict[str, Any], AfterValidator(_is_short)]
