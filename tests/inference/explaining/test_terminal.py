"""`python -m service explain`: the coloured text, the numbers of the explanation, and errors."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from sentiment_conv1d.artifact.artifact import publish as publish_artifact
from sentiment_conv1d.artifact.tokenizer import WordLevelTokenizer
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.inference.explaining.terminal import render
from sentiment_conv1d.service.__main__ import main
from tests.artifact.tokenizer.test_word_level import RULE
from tests.inference.explaining.families import OPINIONS, publish, several_widths
from tests.processes import PATIENCE, PROJECT, environment, run
from tests.service import artifacts

TEXT = "A gripping, beautifully acted film, qwertz."
_CODES = re.compile("\x1b\\[[0-9;]*m")


class Explain(Protocol):
    def __call__(self, *arguments: str) -> tuple[int, str, str]: ...


@pytest.fixture
def explain(capsys: pytest.CaptureFixture[str]) -> Explain:
    """Run the command in this process. Returns its exit status and its output."""

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["explain", *arguments])
        written = capsys.readouterr()
        return status, written.out, written.err

    return run


def test_numbers(classifier: Classifier) -> None:
    """The output has the label, the sum, the text, and the largest shares and filters."""
    finished = run("-m", "service", "explain", TEXT, SENTIMENT_DEFAULT_MODEL="imdb-cnn")
    assert (finished.returncode, finished.stderr) == (0, "")
    [encoding] = classifier.encode((TEXT,))
    explanation = classifier.explainer.explain(TEXT, encoding, "positive")
    lines = finished.stdout.splitlines()
    assert lines[0] == f"positive {classifier.predict((TEXT,))[0].score:.4f}"
    assert f"logit of positive {explanation.logit:+.4f} = bias {explanation.bias:+.4f}" in lines[1]
    assert TEXT in lines
    for word in explanation.words:
        assert any(line.split()[:2] == [f"{word.share:+.4f}", word.text] for line in lines), word
    for each in explanation.filters:
        assert f"{each.activation:.3f} x {each.weight:+.3f}  {each.width}/{each.index}" in finished.stdout
    assert "qwertz  (unknown)" in finished.stdout
    assert lines[-1] == "share: what a word adds to the logit of positive. filter: its width/number."
    assert "\x1b" not in finished.stdout


def test_sentences(explain: Explain, classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--sentences` lists the sentences with their shares and labels, and marks the one that adds most to the label."""
    monkeypatch.setenv("SENTIMENT_DEFAULT_MODEL", "imdb-cnn")
    text = "A wonderful, beautiful film.\nDull\x1b and awful, a waste of time! It is a film."
    _, _, sentences = classifier.explain(text, sentences=True)
    for label, decided_by in (("positive", 0), ("negative", 1)):
        _, output, _ = explain(text, "--sentences", "--label", label, "--colour", "never")
        _, lines = output.split(f"  share    sentences; * adds most to {label}\n")
        for index, (line, each) in enumerate(zip(lines.splitlines(), sentences, strict=False)):
            share, own, score, quoted = line.split(maxsplit=3)
            assert (share, score) == (f"{each.share:+.4f}", f"{each.prediction.score:.4f}")
            assert own == f"{'*' if index == decided_by else ''}{each.prediction.label}"
            assert quoted.replace("\N{REPLACEMENT CHARACTER}", "\x1b") == f'"{text[each.start : each.end]}"'
    assert "sentences" not in explain(text, "--colour", "never")[1]


def test_colours() -> None:
    """In a terminal, words for and against the label have different colours, and the text is complete."""
    reader, terminal = pty.openpty()
    command = [sys.executable, "-m", "service", "explain", "gripping waste"]
    process = subprocess.Popen(command, cwd=PROJECT, env=environment(NO_COLOR=""), stdout=terminal)
    os.close(terminal)
    output = b""
    try:
        while chunk := os.read(reader, 65536):
            output += chunk
    except OSError:  # how Linux says that the other end is closed
        pass
    assert process.wait(PATIENCE) == 0
    os.close(reader)
    shown = output.decode()
    # The label, then positive against negative.
    lines = [line for line in shown.splitlines() if _CODES.sub("", line) == "gripping waste"]
    assert len(lines) == 2
    for line in lines:
        backgrounds = re.findall(r"48;5;(\d+)m(\w+)", line)
        assert [word for _, word in backgrounds] == ["gripping", "waste"]
        assert backgrounds[0][0] != backgrounds[1][0]
    [legend, of_contrast] = [line for line in shown.splitlines() if _CODES.sub("", line).startswith("(for ")]
    assert re.fullmatch(r"\(for (\w+), against \1, unknown\)", _CODES.sub("", legend))
    assert _CODES.sub("", of_contrast) == "(for positive, for negative, unknown)"
    assert "\x1b[4munknown" in legend


def test_no_colour(explain: Explain, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flag overrides NO_COLOR, and NO_COLOR overrides the terminal."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert "\x1b" in explain(TEXT)[1]
    assert "\x1b" not in explain(TEXT, "--colour", "never")[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in explain(TEXT)[1]
    assert "\x1b" in explain(TEXT, "--colour", "always")[1]


def test_closed_streams(explain: Explain, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ends as usual if standard output and standard error are closed."""
    with monkeypatch.context() as closed:
        closed.setattr("sys.stdout", None)
        closed.setattr("sys.stderr", None)
        assert explain(TEXT)[0] == 0
        sys.stderr.close()


def test_text_cannot_command_the_terminal(explain: Explain) -> None:
    """Escape sequences in a text are replaced."""
    _, output, _ = explain("great \x1b]0;title\x07 \x1b[31mred", "--colour", "never")
    assert "\x1b" not in output and "\x07" not in output
    assert "\N{REPLACEMENT CHARACTER}[31mred" in output


def test_standard_input() -> None:
    """`-` reads the text from standard input, and bytes that are not UTF-8 are replaced."""
    finished = subprocess.run(
        [sys.executable, "-m", "service", "explain", "-"],
        cwd=PROJECT,
        env=environment(SENTIMENT_DEFAULT_MODEL="imdb-cnn"),
        input=b"wonderful \xff" + b" great" * 400,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith(b"positive ")
    assert b"(read: the last 400 of 402 words)" in finished.stdout


def test_first_words(explain: Explain, tmp_path: Path) -> None:
    """Without a start id, all tokens are words, and if the model reads the first ones, the others are faint."""
    original = publish(tmp_path, several_widths())
    ids = {"begin": 1, "praise": 3, "question": 4, "complaint": 5}
    rule = replace(RULE, max_tokens=original.manifest.max_tokens, unknown_id=2, pads_behind=False)
    manifest = original.manifest.model_dump(exclude={"version", "files"})
    manifest["golden"]["text"] = "begin praise"
    publish_artifact(tmp_path, manifest, original.graph, WordLevelTokenizer(ids, rule))
    text = "praise " * 9 + "question."
    _, output, _ = explain(text, "--colour", "always", "--model-repository", str(tmp_path))
    assert "(read: the first 8 of 10 words)" in output
    assert "\x1b[2m praise question.\x1b[0m\n" in output


def test_n_grams(explain: Explain, tmp_path: Path) -> None:
    """N-grams follow the words on a new line, and the text behind them is faint once."""
    original = publish(tmp_path, several_widths())
    ids = {"begin": 1, "praise": 3, "question": 4, "praise question": 5}
    rule = replace(RULE, max_tokens=original.manifest.max_tokens, unknown_id=None, pads_behind=False, n_grams=(1, 2))
    manifest = original.manifest.model_dump(exclude={"version", "files"})
    manifest["golden"]["text"] = "begin praise"
    publish_artifact(tmp_path, manifest, original.graph, WordLevelTokenizer(ids, rule))
    _, output, _ = explain("praise question praise!", "--colour", "always", "--model-repository", str(tmp_path))
    coloured = next(iter(re.findall("(?:^.*praise.*\n)+", output, re.MULTILINE)))
    assert _CODES.sub("", coloured) == "praise question praise\npraise question!\n"
    assert coloured.endswith("\x1b[2m!\x1b[0m\n")


def test_several_labels(explain: Explain, tmp_path: Path) -> None:
    """`--label` chooses the explained label, and an unknown label is refused."""
    publish(tmp_path, several_widths())
    _, output, _ = explain("praise question", "--label", "complains", "--model-repository", str(tmp_path))
    assert "logit of complains " in output
    status, _, error = explain("praise", "--label", "other", "--model-repository", str(tmp_path))
    assert (status, error) == (2, "error: label: there is no 'other'; the labels are thanks, asks, complains\n")


def test_contrast(explain: Explain, tmp_path: Path) -> None:
    """A model with the labels negative, neutral and positive shows the words for positive against negative too."""
    classifier = Classifier(publish(tmp_path, several_widths(), labels=OPINIONS))
    text = "praise question nothing"
    [encoding] = classifier.encode((text,))
    explanation = classifier.explainer.explain(text, encoding, "neutral")
    contrast = explanation.contrast
    assert contrast is not None
    arguments = (text, "--label", "neutral", "--model-repository", str(tmp_path), "--colour")
    lines = explain(*arguments, "never")[1].splitlines()
    assert any(line.startswith(f"logit of neutral {explanation.logit:+.4f} = ") for line in lines)
    assert any(line.startswith(f"log-odds of positive against negative {contrast.log_odds:+.4f} = ") for line in lines)
    for word, share in zip(explanation.words, contrast.shares, strict=True):
        assert any(line.split()[:3] == [f"{word.share:+.4f}", f"{share:+.4f}", word.text] for line in lines), word
    assert lines.count(text) == 1
    lines = explain(*arguments, "always")[1].splitlines()
    assert [_CODES.sub("", line) for line in lines].count(text) == 2


@pytest.mark.parametrize(("share", "colours"), [(-0.17, "224 224"), (-0.5, "216 224"), (-4.0, "202 217")])
def test_small_shares_are_pale(classifier: Classifier, share: float, colours: str) -> None:
    """The strongest share gets the strongest colour from 1 on, and a text whose words all say less is pale."""
    text = "film star"
    [prediction] = classifier.predict((text,))
    [encoding] = classifier.encode((text,))
    explanation = classifier.explainer.explain(text, encoding, "positive")
    for word, each in zip(explanation.words, (share, share / 4), strict=True):
        word.share = each
    lines = render(text, classifier, prediction, explanation, colour=True)
    [line] = [line for line in lines if _CODES.sub("", line) == text]
    assert re.findall(r"48;5;(\d+)m", line) == colours.split()


def test_no_exact_explanation(explain: Explain, tmp_path: Path) -> None:
    """A model outside the family is refused with one line."""
    artifacts.publish_table(tmp_path)
    status, output, error = explain("praise", "--model-repository", str(tmp_path))
    assert (status, output, error.count("\n")) == (2, "", 1)
    assert error.startswith("error: there is no exact explanation for model 'tickets'")


@pytest.mark.parametrize("text", ["", " , ", "qqq"])
def test_text_without_shares(explain: Explain, text: str) -> None:
    """A text without words, or whose words have no share, is explained."""
    assert explain(text, "--colour", "always")[0] == 0
