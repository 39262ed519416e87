"""The page follows the ids, padding, truncation, convolutions and pooling of other Keras models."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from playwright.sync_api import expect

from sentiment_conv1d.artifact.tokenizer import LibraryTokenizer, MarksTokenizer, Rule, Tokenizer, WordLevelTokenizer
from sentiment_conv1d.artifact.tokenizer.library import completed
from sentiment_conv1d.export.exporter import export
from sentiment_conv1d.export.sources.trained import Trained
from tests.processes import ServerProcess
from tests.service.page.conftest import Open
from tests.service.page.test_page import curve, show_reading, type_text

RULE = Rule(8, "ascii", "'!", "\n", 0, None, 1, keeps_first=True, pads_behind=True)


def tokenizer(rule: Rule = RULE) -> WordLevelTokenizer:
    return WordLevelTokenizer({"film": 2, "good": 3, "dont": 4}, rule)


def model(pooled: Callable[[Any], Any]) -> keras.Model:
    """Build a small model. `pooled` computes features from the embedded text."""
    keras.utils.set_random_seed(3)
    ids = keras.Input((8,), dtype="int32")
    embedded = layers.Embedding(8, 4, embeddings_initializer=keras.initializers.RandomUniform(-1, 1))(ids)
    return keras.Model(ids, layers.Dense(1, activation="sigmoid")(pooled(embedded)))


def plain(embedded: Any) -> Any:
    return layers.GlobalMaxPooling1D()(layers.Conv1D(6, 3, activation="relu")(embedded))


def serve(
    folder: Path, network: keras.Model, reading: Tokenizer, labels: tuple[str, str] = ("no", "yes")
) -> ServerProcess:
    export(Trained(network, reading, labels), "own", folder)
    return ServerProcess("--workers", "1", "--default-model", "own", repository=folder)


def test_padding_after_the_words(open_page: Open, tmp_path: Path) -> None:
    """The ids, the padding and the answer are those of Keras."""
    network = model(plain)
    right = float(network.predict(np.array([[4, 1, 3, 0, 0, 0, 0, 0]]), verbose=0)[0, 0])
    with serve(tmp_path, network, tokenizer()) as server:
        page = open_page(server).page
        type_text(page, "DON'T watch, good!")
        expect(page.locator("#counts")).to_have_text("3 words \u00b7 1 unknown")
        expect(page.locator("#sum")).not_to_contain_text("start")
        show_reading(page)
        expect(page.locator("#chips .chip")).to_have_text(["don't4", "watch,1", "good3", "pad \u00d7 50"])
        expect(page.locator("#ids-text")).to_contain_text("5 pad ids are added after it")
        answer = server.client.post("/v1/predict", json={"text": "DON'T watch, good!"}).json()
        assert abs(answer["probabilities"]["yes"] - right) < 1e-5
        expect(page.locator("#label")).to_have_text("yes" if right > 0.5 else "no")
        type_text(page, "")
        expect(page.locator("#words")).to_have_text("The text has no words. The model reads only padding.")


def test_the_first_words_of_a_long_text(open_page: Open, tmp_path: Path) -> None:
    """The text that the model did not read is shown after the words."""
    with serve(tmp_path, model(plain), tokenizer()) as server:
        page = open_page(server).page
        type_text(page, "good " * 8 + "film dull film")
        expect(page.locator("#counts")).to_contain_text("11 words")
        expect(page.locator("#counts")).to_contain_text("the model reads only the beginning")
        expect(page.locator("#words .word")).to_have_text(["good"] * 8)
        expect(page.locator("#words .unread")).to_have_text("film dull film")
        expect(page.locator("#words")).to_contain_text("Not read, 3 words:")


def test_subwords(open_page: Open, tmp_path: Path) -> None:
    """Tokens that share a character show it once, and none of them is counted as unknown."""
    ids = {each: number for number, each in enumerate(["[PAD]", "[UNK]", "f", "##i", "##lm", "good", "##!"])}
    word_piece = {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": ids,
    }
    steps = {"normalizer": {"type": "NFKC"}, "pre_tokenizer": {"type": "WhitespaceSplit"}}
    document: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": [],
        "post_processor": None,
        "decoder": None,
        "model": word_piece,
    }
    whole = completed(document | steps, max_tokens=8, padding_id=0, keeps_first=True, pads_behind=True)
    with serve(tmp_path, model(plain), LibraryTokenizer(whole)) as server:
        page = open_page(server).page
        type_text(page, "\ufb01lm good!")
        expect(page.locator("#counts")).to_have_text("5 tokens")
        expect(page.locator("#words .word")).to_have_text(["\ufb01", "\u00b7", "lm", "good", "!"])


def test_emojis(open_page: Open, tmp_path: Path) -> None:
    """An emoji is one word with what modifies it, at its place in UTF-16, also if it is glued to other words."""
    reading = MarksTokenizer(["film", "great", "\U0001f44d", "\u2764", "8/10"], 8)
    england = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
    with serve(tmp_path, model(plain), reading) as server:
        page = open_page(server).page
        type_text(page, f"Great\U0001f44d\U0001f3fd film\u2764\ufe0f 8/10{england}great")
        words = ["Great", "\U0001f44d\U0001f3fd", "film", "\u2764\ufe0f", "8/10", england, "great"]
        expect(page.locator("#words .word")).to_have_text(words)
        expect(page.locator("#words .word.unknown")).to_have_text([england])


def test_n_grams(open_page: Open, tmp_path: Path) -> None:
    """N-grams follow the words on a new line, and show the words that those before them do not show."""
    ids = {"film": 2, "good": 3, "good film": 4, "film good": 5}
    with serve(tmp_path, model(plain), WordLevelTokenizer(ids, replace(RULE, n_grams=(1, 2)))) as server:
        page = open_page(server).page
        type_text(page, "Good film, good film")
        expect(page.locator("#words .word")).to_have_text(
            ["Good", "film,", "good", "film", "Good film,", " good", " film"]
        )
        expect(page.locator("#words br")).to_have_count(1)
        expect(page.locator("#words")).to_contain_text("Good film, good film")


def test_start_id(open_page: Open, tmp_path: Path) -> None:
    """The start id is named for any number, and a word with the id 1 is not the start id."""
    rule = Rule(8, "ascii", "", "\n", 0, 6, 5, keeps_first=False, pads_behind=False)
    reading = WordLevelTokenizer({"film": 1, "good": 3}, rule)
    with serve(tmp_path, model(plain), reading) as server:
        page = open_page(server).page
        type_text(page, "good film")
        expect(page.locator("#counts")).to_have_text("2 words")
        show_reading(page)
        expect(page.locator("#chips .chip")).to_have_text(["pad \u00d7 50", "start6", "good3", "film1"])


@pytest.mark.parametrize(("padding", "dilation", "before"), [("same", 1, 1), ("causal", 1, 2), ("same", 3, 3)])
def test_a_convolution_that_pads_or_skips(
    padding: str, dilation: int, before: int, open_page: Open, tmp_path: Path
) -> None:
    """The filter is drawn at the words that it multiplies, with leading zeros and skipped words."""

    def pooled(embedded: Any) -> Any:
        convolved = layers.Conv1D(6, 3, padding=padding, dilation_rate=dilation, activation="relu")(embedded)
        return layers.GlobalMaxPooling1D()(convolved)

    text = "good film don't good film good"
    with serve(tmp_path, model(pooled), tokenizer()) as server:
        page = open_page(server).page
        type_text(page, text)
        show_reading(page)
        shown = server.client.post("/v1/inspect", json={"text": text}).json()
        assert shown["banks"][0]["padding"][0] == before
        points = curve(page)
        assert len(points) == len(shown["filter"]["curve"]) == 8
        span = 2 * dilation + 1
        assert [x for x, _ in points] == [place - before + span / 2 for place in range(8)]
        words = ["good", "film", "don't", "good", "film", "good", "pad", "pad"]
        page.get_by_label("hide the padding").uncheck()
        for place, value in enumerate(shown["filter"]["curve"]):
            page.locator("#scrub").fill(str(place))
            under = [place - before + tap * dilation for tap in range(3)]
            names = [words[position] if 0 <= position < 8 else "zeros" for position in under]
            expect(page.locator("#taps .name")).to_have_text(names)
            number = page.locator("#dot").inner_text().replace("\u2212", "-")
            assert float(number) == pytest.approx(value, abs=1e-4)
            rows = zip(under, shown["filter"]["kernel"], strict=True)
            products = [np.dot(shown["embedding"][at], tap) for at, tap in rows if 0 <= at < 8]
            assert sum(products) == pytest.approx(value, abs=1e-4)


def test_maximum_and_average_of_one_convolution(open_page: Open, tmp_path: Path) -> None:
    """Filters of one width have consecutive indices, and the page names the pooling."""

    def pooled(embedded: Any) -> Any:
        convolved = layers.Conv1D(6, 3, activation="tanh")(embedded)
        both = [layers.GlobalMaxPooling1D()(convolved), layers.GlobalAveragePooling1D()(convolved)]
        return layers.Concatenate()(both)

    with serve(tmp_path, model(pooled), tokenizer()) as server:
        page = open_page(server).page
        type_text(page, "good film don't")
        show_reading(page)
        for index, title in ((2, "Only the highest value"), (8, "The average of each filter")):
            page.locator("#filter-number").fill(str(index))
            page.locator("#filter-number").press("Enter")
            expect(page.locator("#pool-title")).to_contain_text(title)
            body = {"text": "good film don't", "filter": {"width": 3, "index": index}}
            shown = server.client.post("/v1/inspect", json=body).json()
            assert (shown["filter"]["bank"], shown["filter"]["index"]) == (index // 6, index)
            expect(page.locator("#kept")).to_have_text(re.compile(f"{abs(shown['filter']['activation']):.4f}$"))


def test_name_of_a_shipped_model(open_page: Open, tmp_path: Path) -> None:
    """A model with the name and the labels of a shipped one has neither its card nor its sample texts."""
    export(Trained(model(plain), tokenizer(), ("negative", "positive")), "imdb-cnn", tmp_path)
    with ServerProcess("--workers", "1", repository=tmp_path) as server:
        page = open_page(server).page
        expect(page.locator("#samples button")).to_have_count(0)
        purpose = page.locator(".purpose")
        expect(purpose).to_contain_text("Its manifest does not say. It gives each text one of the labels negative and")
        expect(purpose).to_contain_text("Nothing is known.")


def test_labels_that_are_numbers(open_page: Open, tmp_path: Path) -> None:
    """The second label of a sigmoid is the one that the model names second, also if it is the smaller number."""
    with serve(tmp_path, model(plain), tokenizer(), ("10", "9")) as server:
        page = open_page(server).page
        type_text(page, "good film")
        expect(page.locator("#sum")).to_contain_text("logit of 9")
        for threshold in ("0.01", "0.99"):
            page.get_by_label("Threshold for 9").fill(threshold)
            body = {"text": "good film", "threshold": float(threshold)}
            expect(page.locator("#label")).to_have_text(server.client.post("/v1/predict", json=body).json()["label"])
