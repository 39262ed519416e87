"""The model card of an artifact: a `README.md` in the format of Hugging Face's Hub, written from the manifest.

No program reads it, so it has no digest and may be edited. The format is described at
https://huggingface.co/docs/hub/model-cards: metadata in YAML between two lines of dashes, then Markdown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from sentiment_conv1d.artifact.manifest import NO_ANSWER, Manifest, Metrics

if TYPE_CHECKING:
    from sentiment_conv1d.artifact.decision import DecisionRule

CARD_FILE = "README.md"


def model_card(manifest: Manifest) -> str:
    """Return the model card of an artifact."""
    return "\n".join([*_metadata(manifest), "", *_body(manifest)]) + "\n"


def _metadata(manifest: Manifest) -> Iterator[str]:
    yield from ("---", "library_name: onnx", "pipeline_tag: text-classification")
    if manifest.license is not None:
        yield f"license: {manifest.license}"
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
    labels = ", ".join(map(_code, manifest.labels))
    kind = "A Conv1D text classifier" if manifest.convolution_widths else "A text classifier"
    yield from (f"# {manifest.name}, version {manifest.version}", "", f"{kind} with the labels {labels}.", "")
    if manifest.notes:
        yield from (manifest.notes, "")
    yield from _use(manifest)
    yield from ("", "## Decisions", "", *_decisions(manifest))
    yield from ("", "## Intended use and limits", "", *_limits(manifest))
    yield from ("", "## Evaluation", "")
    yield from ["The model was not evaluated."] if manifest.metrics is None else _scores(manifest.metrics)
    yield from ("", f"Text to ids: {manifest.text_parity}.", "", "## Training data and licence", "", *_data(manifest))
    if manifest.configuration is not None:
        yield from ("", "## Training", "", *_table(("setting", "value"), manifest.configuration.items()))
    yield from _publishing(manifest)
    yield from ("", "## Versions", "", f"Created on {manifest.created} with", "")
    yield from (f"- {name} {version}" for name, version in manifest.libraries.items())


def _use(manifest: Manifest) -> Iterator[str]:
    yield from ("## Use", "", "```sh", f"sentiment-conv1d serve --default-model {manifest.name}")
    yield from (f"sentiment-conv1d explain --default-model {manifest.name} 'Your text.'", "```", "")
    yield (
        "`model.onnx` takes the ids of texts, `tokens` int32 [batch, sequence_length], and returns `probabilities` "
        f"float32 [batch, {manifest.outputs}]. `tokenizer.json` has the format of Hugging Face's `tokenizers`."
    )


def _decisions(manifest: Manifest) -> Iterator[str]:
    if manifest.multilabel:
        yield (
            "The output is the probability of each label. A text can have several labels, or none: it has those whose "
            "probability is at least their threshold"
            + (f", chosen on {_text(manifest.decision.chosen_on)}:" if manifest.decision.chosen_on else ":")
        )
        yield ""
        thresholds = [(_text(label), _score(manifest.decision.thresholds[label])) for label in manifest.labels]
        yield from _table(("label", "threshold"), thresholds)
    elif manifest.activation == "sigmoid":
        yield (
            f"The output is the probability of {_code(manifest.labels[1])}. The model answers with this label if the "
            f"probability is at least {manifest.decision.threshold:.4g}."
        )
    else:
        yield "The output is the probability of each label. The model answers with the most probable label."
    if manifest.decision.temperature != 1:
        yield (
            f"The logits are divided by {manifest.decision.temperature:.4g}, a temperature chosen on "
            f"{_text(manifest.decision.chosen_on or '')}."
        )
    yield ""
    yield from _confidence(manifest.decision)


def _confidence(decision: DecisionRule) -> Iterator[str]:
    if not decision.confident_from:
        yield "The model has no limits for its answers, so `confident` is null."
        return
    chosen = ""
    if decision.min_precision is not None:
        chosen = (
            f", chosen on {_text(decision.chosen_on or '')} so that at least {100 * decision.min_precision:.4g}% of "
            "the predictions of each label are right"
        )
    yield from (f"The model is confident of an answer from this probability on{chosen}:", "")
    limits = decision.confident_from.items()
    yield from _table(("label", "probability"), [(_text(label), _score(limit)) for label, limit in limits])


def _limits(manifest: Manifest) -> Iterator[str]:
    yield (
        "The model is for texts like those that it was trained and measured on. For texts of another kind, measure it "
        f"first: `sentiment-conv1d evaluate model_repository/{manifest.name}/{manifest.version} --data FILE`."
    )
    yield ""
    if manifest.needs_words:
        yield f"- It has no answer to a text without words: {NO_ANSWER}."
    if manifest.multilabel:
        yield "- It knows no language: texts in another one than that of its training get probabilities too."
    else:
        which = "every other text" if manifest.needs_words else "every text"
        yield f"- It answers {which} with one of its labels, also texts that none of them fits, or in another language."
    yield (
        f"- It reads at most {manifest.max_tokens:,} tokens of a text, and knows {manifest.vocabulary_size:,} ids. "
        "Other words have no influence of their own."
    )
    if manifest.metrics is not None:
        found = [each for each in manifest.metrics.per_label if each.recall is not None]
        if found:
            worst = min(found, key=lambda each: each.recall or 0)
            label = _code(worst.label)
            yield f"- It finds {worst.recall:.1%} of the texts with the label {label}, the least of all labels."
        error = manifest.metrics.values.get("expected_calibration_error")
        if error is not None:
            yield f"- On average, its probabilities differ from the share of right answers by {error:.3f}."
    yield "- It repeats the prejudices of its training texts. People should review decisions that affect people."


def _scores(metrics: Metrics) -> Iterator[str]:
    texts = "1 text" if metrics.examples == 1 else f"{metrics.examples:,} texts"
    yield from (f"Measured on {_text(metrics.measured_on)} ({texts}):", "")
    yield from _table(("metric", "value"), [(name, f"{value:.4f}") for name, value in metrics.values.items()])
    if metrics.per_label:
        rows = [
            (_text(each.label), *map(_score, (each.precision, each.recall, each.f1)), f"{each.support:,}")
            for each in metrics.per_label
        ]
        yield from ("", *_table(("label", "precision", "recall", "F1", "texts"), rows))


def _data(manifest: Manifest) -> Iterator[str]:
    data = manifest.training_data
    if data is None:
        yield "The artifact does not state what the model was trained on."
    else:
        start = "" if data.started_from is None else f", starting with the weights of {_text(data.started_from)}"
        yield from (f"Trained on {_text(data.source)}{start}:", "")
        yield from _table(("label", "texts"), [(_text(label), f"{number:,}") for label, number in data.labels.items()])
    yield ""
    if manifest.license is None:
        yield "The artifact states no licence. `export --license` does."
    else:
        yield f"The licence of the model is {manifest.license}."
    yield "Its training texts can have other terms" + (
        ": see above." if manifest.notes else ", which it does not state."
    )


def _publishing(manifest: Manifest) -> Iterator[str]:
    """Yield how to upload the artifact, in the layout that the service reads."""
    yield from ("", "## Upload", "", "To publish the model on the Hugging Face Hub and to serve it from there:", "")
    yield "```sh"
    artifact = f"model_repository/{manifest.name}/{manifest.version}"
    yield f"sentiment-conv1d push {artifact} hf://ORGANIZATION/{manifest.name}/models"
    yield f"sentiment-conv1d serve --model-repository hf://ORGANIZATION/{manifest.name}/models"
    yield "```"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(map(_cell, row))} |"


def _text(text: str) -> str:
    """Return a text of the user in which nothing is Markdown or HTML."""
    return re.sub(r"[\\`*_\[\]<&~]", r"\\\g<0>", " ".join(text.split()))


def _code(text: str) -> str:
    """Return a text of the user as code."""
    line = " ".join(text.split())
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{fence} {line} {fence}" if "`" in line else f"{fence}{line}{fence}"


def _score(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else f"{value:.4f}"


def _cell(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.replace("|", "\\|").replace("\n", " ")
