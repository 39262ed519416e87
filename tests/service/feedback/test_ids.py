"""Feedback ids say what was predicted, and only those who know the secret can make them."""

from __future__ import annotations

import base64
import random

import numpy as np
import pytest

from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.model.manifest import Manifest
from sentiment_conv1d.service.feedback.ids import FeedbackIds
from tests.processes import MODEL_REPOSITORY

IDS = FeedbackIds(b"secret")


def manifest(labels: int = 2) -> Manifest:
    """Return the manifest of the classic model with so many labels."""
    content = (MODEL_REPOSITORY / "imdb-cnn" / "1" / "manifest.json").read_bytes()
    names = tuple(f"label{number}" for number in range(labels))
    return Manifest.model_validate_json(content).model_copy(update={"labels": names})


def predictions(*labels: str) -> list[Prediction]:
    return [Prediction(label, np.float32(1), (), 1, 0, False, True) for label in labels]


@pytest.mark.parametrize(("texts", "labels"), [(1, 2), (1, 3), (1024, 2), (1024, 16), (40, 1000)])
def test_round_trip(texts: int, labels: int) -> None:
    """An id has the request, the version, and the label of every text, in a header of less than 2 kB."""
    made = manifest(labels)
    chosen = random.Random(texts).choices(made.labels, k=texts)
    given = IDS.make("caller/42", made, predictions(*chosen), 1_793_611_800_125)
    answered = FeedbackIds(b"secret").read(given.decode())
    assert len(given) < 2000 and answered is not None
    assert answered[:4] == ("caller/42", 1_793_611_800_125, "imdb-cnn", 1) and answered.texts == texts
    assert [answered.label(index, made.labels) for index in range(texts)] == chosen
    assert answered.is_by(made) and not answered.is_by(made.model_copy(update={"manifest_sha256": "0" * 64}))


def test_too_many_texts() -> None:
    """A request whose id would be longer than proxies allow gets none."""
    assert IDS.make("one", manifest(), predictions(*["label0"] * 4096), 0)
    assert not IDS.make("one", manifest(), predictions(*["label0"] * 4097), 0)


def test_forged_ids() -> None:
    """An id that was changed, or made with another secret, is not read; nor is anything else."""
    given = IDS.make("one", manifest(), predictions("label1"), 0).decode()
    signed = bytearray(base64.urlsafe_b64decode(given + "=="))
    for place in range(len(signed)):
        changed = bytes(signed[:place]) + bytes([signed[place] ^ 1]) + bytes(signed[place + 1 :])
        assert IDS.read(base64.urlsafe_b64encode(changed).decode()) is None
    assert FeedbackIds(b"another").read(given) is None
    for text in ("", "5f1c2d9a0000002a", "naïve", "\ud800", given[:-1], given + "A" * 8, "A" * 100_000):
        assert IDS.read(text) is None
