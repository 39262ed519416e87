"""Writes `text.onnx`, after proving that it answers as the artifact does."""

from __future__ import annotations

from pathlib import Path

from sentiment_conv1d.artifact.artifact import Artifact
from sentiment_conv1d.artifact.graphs.text.file import text_graph
from sentiment_conv1d.artifact.manifest import ParityCheck
from sentiment_conv1d.commands.output import counted
from sentiment_conv1d.export.checks.text_graph import odd_texts, prove
from sentiment_conv1d.export.conversion.output import staged


def write_text_onnx(artifact: Artifact, out: Path) -> list[str]:
    """Write the file and return lines about it.

    Raises `TextGraphError` if ONNX cannot express the tokenizer, `ParityError` if an answer differs, and
    `ArtifactError` if the file cannot be written.
    """
    content = text_graph(artifact)
    check = prove(artifact, content, odd_texts(artifact))
    with staged(out) as file:
        file.write_bytes(content)
    labels = len(artifact.manifest.labels)
    outputs = f"label: string [batch], and probabilities: float32 [batch, {labels}]"
    if artifact.manifest.multilabel:
        outputs += f", and has_label: bool [batch, {labels}]"
    return [
        f"input text: string [batch]; outputs {outputs}",
        described(check),
        f"wrote {out}: {len(content):,} bytes",
    ]


def described(check: ParityCheck) -> str:
    """Describe a proof in words."""
    return (
        f"answers {counted(check.examples, 'text')} as the artifact does: no label differs, and no probability by more "
        f"than {check.largest_difference:.1e}"
    )
