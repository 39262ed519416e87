"""The model card of an artifact: a `README.md` in the format of Hugging Face's Hub, written from the manifest.

No program reads it, so it has no digest and may be edited. The format is described at
https://huggingface.co/docs/hub/model-cards: metadata in YAML between two lines of dashes, then Markdown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sentiment_conv1d.model.commands.counting import counted

if TYPE_CHECKING:
    from sentiment_conv1d.model.manifest import Manifest, Metrics

CARD_FILE = "README.md"


def model_card(manifest: Manifest) -> str:
    """Return the model card of an artifact."""
    return "\n".join([*_metadata(manifest), "", *_body(manifest)]) + "\n"


def _metadata(manifest: Manifest) -> Iterator[str]:
    yield from ("---", "library_name: onnx", "pipeline_tag: text-classification")
    yield from ("tags:", "- onnx", "- text-classification", "- sentiment-conv1d")
    if manifest.metrics is not None:
        # JSON strings are YAML strings.
        yield from ("model-index:", f"- name: {json.dumps(manifest.name)}", "  results:", "  - task:")
        yield from ("      type: text-classification", "    dataset:")
        source = json.dumps(manifest.metrics.measured_on, ensure_ascii=False)
        yield from (f"      name: {source}", f"      type: {source}", "    metrics:")
        for name, value in manifest.metrics.values.items():
            yield from (f"    - type: {name}", f"      value: {value:.6f}")
    yield "---"


def _body(manifest: Manifest) -> Iterator[str]:
    labels = ", ".join(f"`{label}`" for label in manifest.labels)
    kind = "A Conv1D text classifier" if manifest.convolution_widths else "A text classifier"
    yield from (f"# {manifest.name}, version {manifest.version}", "", f"{kind} with the labels {labels}.", "")
    yield from ("## Use", "", "```sh", f"sentiment-conv1d serve --default-model {manifest.name}")
    yield from (f"sentiment-conv1d explain --default-model {manifest.name} 'Your text.'", "```", "")
    yield (
        "`model.onnx` takes the ids of texts, `tokens` int32 [batch, sequence_length], and returns `probabilities` "
        f"float32 [batch, {manifest.outputs}]. `tokenizer.json` has the format of Hugging Face's `tokenizers`. "
        f"The model reads at most {manifest.max_tokens:,} tokens of a text."
    )
    yield from ("", "## Decisions", "")
    if manifest.activation == "sigmoid":
        yield (
            f"The output is the probability of `{manifest.labels[1]}`. The model answers with this label if the "
            f"probability is at least {manifest.decision.threshold:.4g}."
        )
    else:
        yield "The output is the probability of each label. The model answers with the most probable label."
    if manifest.decision.temperature != 1:
        yield (
            f"The logits are divided by {manifest.decision.temperature:.4g}, a temperature chosen on "
            f"{manifest.decision.chosen_on}."
        )
    yield from ("", "## Evaluation", "")
    yield from ["The model was not evaluated."] if manifest.metrics is None else _scores(manifest.metrics)
    yield from ("", f"Text to ids: {manifest.text_parity}.")
    if manifest.configuration is not None:
        yield from ("", "## Training", "", "| setting | value |", "|---|---|")
        for name, value in manifest.configuration.model_dump(mode="json").items():
            yield f"| {name} | {_cell(value)} |"
    yield from ("", "## Versions", "", f"Created on {manifest.created} with", "")
    yield from (f"- {name} {version}" for name, version in manifest.libraries.items())


def _scores(metrics: Metrics) -> Iterator[str]:
    yield from (
        f"Measured on {metrics.measured_on} ({counted(metrics.examples, 'text')}):",
        "",
        "| metric | value |",
        "|---|---|",
    )
    yield from (f"| {name} | {value:.4f} |" for name, value in metrics.values.items())


def _cell(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.replace("|", "\\|").replace("\n", " ")
