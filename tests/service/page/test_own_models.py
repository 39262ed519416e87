"""The page of a model with padding behind the text and no start id."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from playwright.sync_api import expect

from sentiment_conv1d.export.exporter import Trained, export
from sentiment_conv1d.model.tokenizer import Rule, WordLevelTokenizer
from tests.processes import ServerProcess
from tests.service.page.conftest import Open
from tests.service.page.test_page import show_reading, type_text

RULE = Rule(8, "ascii", "'!", "\n", 0, None, 1, keeps_first=True, pads_behind=True)


def test_padding_stands_behind_the_words(open_page: Open, tmp_path: Path) -> None:
    """The ids, their padding and the answer are those that Keras reads and gives."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((8,), dtype="int32"),
            keras.layers.Embedding(6, 4, embeddings_initializer=keras.initializers.RandomUniform(-1, 1)),
            keras.layers.Conv1D(6, 3, activation="relu"),
            keras.layers.GlobalMaxPooling1D(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    tokenizer = WordLevelTokenizer({"film": 2, "good": 3, "dont": 4}, RULE)
    export(Trained(model, tokenizer, ("no", "yes")), "own", tmp_path)
    right = float(model.predict(np.array([[4, 1, 3, 0, 0, 0, 0, 0]]), verbose=0)[0, 0])
    with ServerProcess("--workers", "1", "--default-model", "own", repository=tmp_path) as server:
        page = open_page(server).page
        type_text(page, "DON'T watch, good!")
        show_reading(page)
        expect(page.locator("#chips .chip")).to_have_text(["don't4", "watch,1", "good3", "pad \u00d7 50"])
        expect(page.locator("#ids-text")).to_contain_text("5 pads stand behind")
        answer = server.client.post("/v1/predict", json={"text": "DON'T watch, good!"}).json()
        assert abs(answer["probabilities"]["yes"] - right) < 1e-5
        expect(page.locator("#label")).to_have_text("yes" if right > 0.5 else "no")
