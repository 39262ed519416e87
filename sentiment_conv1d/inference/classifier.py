"""A loaded model: texts in, predictions out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.artifact import Artifact, ArtifactError
from sentiment_conv1d.artifact.manifest import GRAPH_FILE
from sentiment_conv1d.artifact.tokenizer import Encoding
from sentiment_conv1d.inference.engine import Engine, GraphError
from sentiment_conv1d.inference.explaining.explainer import FILTERS, Explainer, Explanation
from sentiment_conv1d.inference.length_buckets import CPU_BUCKETS, cuda_buckets, native_buckets
from sentiment_conv1d.inference.options import BATCH_ROWS, ProviderChoice
from sentiment_conv1d.inference.prediction import Decider, Prediction, PredictionColumns
from sentiment_conv1d.inference.provider import CPU, choose
from sentiment_conv1d.inference.sentences import Sentence, attribute, split
from sentiment_conv1d.native.compilation import LIBRARY

#: The tolerance of the golden answer: processors differ in the order of additions.
GOLDEN_TOLERANCE = 1e-4


class Classifier:
    """An artifact with its tokenizer and an ONNX Runtime session.

    `batch_rows` is the number of texts per run on a GPU. Without `native`, no native operator is used.

    Raises `ArtifactError` if the graph does not match the manifest or does not give the golden answer, so every
    classifier that exists can be served.
    """

    def __init__(
        self,
        artifact: Artifact,
        *,
        provider: ProviderChoice = "cpu",
        threads: int = 1,
        device: int = 0,
        batch_rows: int = BATCH_ROWS,
        native: bool = True,
    ) -> None:
        self.manifest = artifact.manifest
        self.labels = artifact.manifest.labels
        self.input_shape = artifact.input_shape
        self.tokenizer = artifact.tokenizer
        self.decider = Decider.of(artifact.manifest, artifact.tokenizer)
        self.explainer = Explainer(artifact)
        #: The chosen execution provider, and why. That of the engine can be another.
        self.choice = choose(provider, artifact, device)
        if provider == "auto" and self.choice.provider == CPU:
            provider = "cpu"
        try:
            library = LIBRARY if native else None
            self.engine = Engine(
                artifact.graph, self.input_shape, provider=provider, threads=threads, device=device, library=library
            )
            self.buckets = CPU_BUCKETS
            if self.engine.pads_freely:
                self.buckets = native_buckets(self.input_shape.max_tokens)
            if self.engine.device == "cuda":
                self.buckets = cuda_buckets(batch_rows, self.input_shape.max_tokens)
            self._warm_up(artifact)
        except GraphError as error:
            raise ArtifactError(f"{artifact.path / GRAPH_FILE}: {error}", "graph") from error

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Return predictions in the order of the texts."""
        predictions, _ = self.classify(self.encode(texts))
        return predictions

    def answers(self, text: str) -> bool:
        """Return whether the model has an answer to a text: see `Manifest.needs_words`."""
        return not (self.manifest.needs_words and self.tokenizer.is_blank(self.tokenizer.encode(text).ids))

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Convert texts to ids. Raises `TypeError` for one text, whose characters would be taken for the texts."""
        if isinstance(texts, str):
            raise TypeError("texts: several strings are needed, not one: put it into a list")
        return self.tokenizer.encode_batch(texts)

    def encode_ids(self, rows: Sequence[npt.NDArray[np.int32]]) -> list[Encoding]:
        """Wrap ids from a client, which `input_shape` has checked, in encodings."""
        return [self.tokenizer.encoding(row) for row in rows]

    def classify(self, encodings: Sequence[Encoding]) -> tuple[list[Prediction], int]:
        """Return predictions in the order of the encodings, and the number of runs of the graph.

        The ids must be in the vocabulary.
        """
        predictions: dict[int, Prediction] = {}
        runs = 0
        for some in self.runs(encodings):
            predictions.update(some)
            runs += 1
        return [predictions[text] for text in range(len(encodings))], runs

    def runs(self, encodings: Sequence[Encoding]) -> Iterator[dict[int, Prediction]]:
        """Like `classify`, but yield after each run of the graph: predictions by the index of the encoding."""
        for texts, outputs in self._runs(encodings):
            yield {
                text: Prediction.of(self.decider, encodings[text], output)
                for text, output in zip(texts, outputs, strict=True)
            }

    def explain(
        self, text: str, label: str | None = None, filters: int = FILTERS, *, sentences: bool = False
    ) -> tuple[Prediction, Explanation, list[Sentence]]:
        """Return the prediction for a text, its explanation, and its sentences if they are asked for.

        `label` is the label to explain; by default, the predicted one. Raises the errors of `Explainer.explain`.
        """
        spans = list(split(text)) if sentences else []
        encodings = self.encode([text, *(text[start:end] for start, end in spans)])
        [prediction, *others], _ = self.classify(encodings)
        explanation = self.explainer.explain(text, encodings[0], label or prediction.label, filters)
        return prediction, explanation, attribute(spans, others, explanation.words)

    def columns(self, encodings: Sequence[Encoding]) -> PredictionColumns:
        """Like `classify`, but return a column for each field of a prediction."""
        outputs = np.empty((len(encodings), self.manifest.outputs), np.float32)
        for texts, some in self._runs(encodings):
            outputs[texts] = some
        return PredictionColumns.of(self.decider, encodings, outputs)

    def _runs(self, encodings: Sequence[Encoding]) -> Iterator[tuple[list[int], npt.NDArray[np.float32]]]:
        """Run the graph on groups of texts: yield their indices and outputs."""
        sequence_length = self.input_shape.sequence_length
        for run in self.buckets.group([sequence_length(len(encoding.ids)) for encoding in encodings]):
            outputs = self.engine.run([encodings[text].ids for text in run.texts], run.sequence_length, run.rows)
            yield run.texts, outputs[: len(run.texts)]  # without padding rows

    def _warm_up(self, artifact: Artifact) -> None:
        """Check the golden answer, then run the largest shapes and ids, so that requests do not allocate or fail."""
        golden = artifact.manifest.golden
        encoding = self.tokenizer.encode(golden.text)
        sequence_length = self.input_shape.sequence_length(len(encoding.ids))
        if self.engine.sequence_length not in (None, sequence_length):
            raise GraphError(f"takes {self.engine.sequence_length} tokens, not {sequence_length}")
        answer = self.engine.run([encoding.ids], sequence_length)[0]
        expected = np.array(golden.probabilities)
        if answer.shape != expected.shape or not np.allclose(answer, expected, rtol=0, atol=GOLDEN_TOLERANCE):
            raise GraphError(f"answers the golden text with {answer.tolist()} instead of {expected.tolist()}")
        largest_id = artifact.manifest.vocabulary_size - 1
        shortest = self.input_shape.sequence_length(len(self.tokenizer.encode("").ids))
        shapes = self.buckets.shapes() or self.buckets.largest(shortest, self.input_shape.max_tokens)
        for shape in shapes:
            self.engine.run(np.full(shape, largest_id, np.int32), shape[1])
