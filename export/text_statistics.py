"""Statistics of held-out texts, which the manifest contains so that drift can be measured against them."""

from __future__ import annotations

import numpy as np

from sentiment_conv1d.export.checks.parity import Predict, answers_in_batches
from sentiment_conv1d.export.checks.quantization_error import LabelledReviews
from sentiment_conv1d.export.sources.trained import Trained
from sentiment_conv1d.model.decision import decide_all
from sentiment_conv1d.model.input_shape import InputShape
from sentiment_conv1d.model.text_statistics import TextStatistics


def measure_texts(trained: Trained, served: Predict, shape: InputShape, reviews: LabelledReviews) -> TextStatistics:
    """Measure the texts of the reviews, and the predictions of the served graph for them."""
    outputs = answers_in_batches(served, reviews.rows, shape)
    decided = decide_all(outputs, trained.decision.threshold)
    probabilities = outputs if outputs.shape[1] > 1 else np.hstack([1 - outputs, outputs])
    encodings = [trained.tokenizer.encode(text) for text in reviews.texts]
    return TextStatistics.of(
        reviews.source,
        labels=[trained.labels[index] for index in decided],
        scores=probabilities[np.arange(len(decided)), decided],
        tokens=[each.tokens for each in encodings],
        unknown_tokens=[each.unknown_tokens for each in encodings],
    )
