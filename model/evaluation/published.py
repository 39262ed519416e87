"""A published artifact: evaluate its graph with ONNX Runtime on the CPU."""

from __future__ import annotations

import onnxruntime
from tqdm import tqdm

from sentiment_conv1d.model.artifact import Artifact, ArtifactError
from sentiment_conv1d.model.data import Examples
from sentiment_conv1d.model.evaluation.batches import Answers, Ids, answers_in_batches
from sentiment_conv1d.model.evaluation.evaluation import Evaluation


def evaluate(artifact: Artifact, examples: Examples, progress: bool) -> Evaluation:
    """Run the graph on labelled texts, and evaluate its answers. The labels are indices into those of the artifact.

    Raises `ArtifactError` if ONNX Runtime cannot open the graph.
    """
    try:
        session = onnxruntime.InferenceSession(artifact.graph, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a dozen unrelated classes
        raise ArtifactError(f"{artifact.path}: ONNX Runtime cannot open the graph ({error})", "graph") from error
    rows = [encoding.ids for encoding in artifact.tokenizer.encode_batch(examples.texts)]
    with tqdm(total=len(rows), desc="evaluating", unit="text", disable=not progress) as bar:

        def predict(tokens: Ids) -> Answers:
            answers: Answers = session.run(["probabilities"], {"tokens": tokens})[0]
            bar.update(len(tokens))
            return answers

        outputs = answers_in_batches(predict, rows, artifact.input_shape)
    return Evaluation(artifact.manifest.labels, examples.labels, outputs, artifact.manifest.decision.threshold)
