"""One page that says what was trained and what it is worth, whole in a single HTML file."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from sentiment_conv1d.model.configuration import Configuration
from sentiment_conv1d.model.evaluation import Evaluation

_MISSING = "&ndash;"

# Plots are shown at the size they were drawn for: a CSS inch has 96 pixels, theirs has 150 dots.
_CSS_PIXELS_PER_DOT = 96 / 150

#: Widest plot, in CSS pixels, that shares its row with another.
_COLUMN = 560

#: How to read each plot, by its name, in the order of the page.
_CAPTIONS = {
    "learning_curves": (
        "Learning curves",
        "Loss should fall and accuracy rise until both level off. Validation, where there is some, that turns away "
        "from training is the sign of learning by heart: train for fewer epochs.",
    ),
    "roc": (
        "ROC",
        "Each point of a curve is one threshold: how many of the label's examples it finds (up) for how many others it "
        "takes for them (right). The closer to the upper left corner, the better; the dotted line is a guess.",
    ),
    "calibration": (
        "Calibration",
        "Of the answers given with 80% confidence, 80% should be right. Bars below the dotted line: the model is too "
        "sure of itself; above: it knows more than it says. The lower part shows how many answers each bar stands for.",
    ),
    "confusion": (
        "Confusion matrix",
        "A row holds the examples of one true label, and its cells what the model took them for. Right answers are on "
        "the diagonal; a dark cell off it is a pair of labels that the model confuses.",
    ),
}

_STYLE = """
:root { color-scheme: light dark; --text: #1c1e21; --muted: #5f6670; --line: #dcdfe4; --page: #ffffff; --card: #f5f6f8;
  --accent: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e8eb; --muted: #a0a7b1; --line: #383d45; --page: #15181c; --card: #1f2329; --accent: #56b4e9; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 4rem; background: var(--page); color: var(--text);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .35rem; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 0 0 .35rem; }
p { margin: 0 0 .75rem; }
.muted, small, figcaption { color: var(--muted); }
small { display: block; font-size: .85rem; line-height: 1.4; }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); gap: .75rem;
  margin: 1.5rem 0; }
.numbers div { display: flex; flex-direction: column; padding: .9rem 1.1rem; background: var(--card);
  border-radius: .6rem; border-top: 3px solid var(--accent); }
.numbers dt { font-size: .9rem; }
.numbers dd { margin: 0; }
.numbers .value { font-size: 1.9rem; font-weight: 650; line-height: 1.3; font-variant-numeric: tabular-nums; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .45rem 1.5rem; margin: 0; }
.facts dt { color: var(--muted); }
.facts dd { margin: 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { text-align: left; vertical-align: top; padding: .45rem .75rem .45rem 0; border-bottom: 1px solid var(--line); }
th:last-child, td:last-child { padding-right: 0; }
thead th { font-size: .85rem; color: var(--muted); font-weight: 600; overflow-wrap: normal; }
tbody th { font-weight: 500; }
.number { text-align: right; }
td.number { white-space: nowrap; }
tbody .words { overflow-wrap: anywhere; }
.words { min-width: 6rem; }
.wrong { color: var(--muted); font-style: italic; }
.plots { display: flex; flex-wrap: wrap; gap: 2rem 1.5rem; }
figure { margin: 0; flex: 1 1 24rem; min-width: 0; }
figure.wide { flex-basis: 100%; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 0 .6rem; background: #fff;
  border: 1px solid var(--line); border-radius: .6rem; }
figcaption { font-size: .95rem; max-width: 46rem; }
@media (max-width: 30rem) {
  body { padding: 1.25rem 1rem 3rem; }
  .numbers { grid-template-columns: 1fr 1fr; }
  .numbers div { padding: .7rem .8rem; }
  .numbers .value { font-size: 1.5rem; }
  table { font-size: .875rem; }
  th, td { padding-right: .5rem; }
  thead th { font-size: .8rem; }
  .words { min-width: 3rem; }
  td.words { min-width: 4.5rem; }
  figure { flex-basis: 100%; }
}
@media print {
  :root { color-scheme: light; --text: #000; --muted: #444; --line: #bbb; --page: #fff; --card: #fff; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  .numbers div { border: 1px solid var(--line); }
  .scroll { overflow: visible; }
  h2 { break-after: avoid; }
  figure, tr, .numbers { break-inside: avoid; }
  .numbers { grid-template-columns: repeat(4, 1fr); }
  th, td { padding-top: .2rem; padding-bottom: .2rem; }
  figure { flex-basis: 40%; }
  figure img { width: auto; max-height: 12cm; }
}
"""


def report_html(
    *,
    title: str,
    configuration: Configuration,
    data: str,
    test_data: str | None,
    evaluation: Evaluation | None,
    history: Mapping[str, Any],
    libraries: Mapping[str, str],
    parameters: int,
    seconds: float,
    plots: Mapping[str, bytes],
    examples: Sequence[tuple[str, str, float, str]] = (),
    vocabulary_size: int | None = None,
) -> str:
    """The report of one training, an HTML document that needs no other file and runs no script.

    `data` and `test_data` say in words what was trained and measured on; `history` is what `model.plots` draws its
    learning curves from; `plots` are PNG files by name; `parameters` are the network's, `seconds` the whole training's.
    `examples` are texts with the predicted label, its probability and the true label. `vocabulary_size` is the
    tokenizer's, where that is smaller than the configuration's. `evaluation` is None where nothing was measured.
    """
    sections = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="muted">{_summary(configuration, parameters, seconds)}</p>',
        _headline(evaluation, test_data),
        _section("Data", _data(configuration, data, test_data, evaluation)),
        _section("Network", _layers(configuration, vocabulary_size or configuration.vocabulary_size, parameters)),
        _section("Training", _epochs(history["epochs"])),
    ]
    if evaluation is not None:
        sections.append(_section("Labels", _labels(evaluation)))
    if plots:
        figures = "\n".join(_figure(name, plots[name]) for name in _ordered(plots))
        sections.append(_section("Plots", f'<div class="plots">\n{figures}\n</div>'))
    if examples:
        sections.append(_section("Examples", _examples(examples)))
    sections.append(_section("Configuration", _settings(configuration)))
    sections.append(_section("Versions", _versions(libraries)))
    return _page(title, "\n".join(sections))


def _page(title: str, body: str) -> str:
    # The policy is a second lock: should a name ever slip through unescaped, it can still load and run nothing.
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def _section(title: str, content: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}\n</section>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0) -> str:
    """A table of cells that are HTML already; the last `numbers` columns are set flush right."""
    kinds = ["words"] * (len(head) - numbers) + ["number"] * numbers
    titles = "".join(f'<th scope="col" class="{kind}">{name}</th>' for kind, name in zip(kinds, head, strict=True))
    lines = []
    for first, *others in rows:
        cells = "".join(f'<td class="{kind}">{cell}</td>' for kind, cell in zip(kinds[1:], others, strict=True))
        lines.append(f'<tr><th scope="row" class="{kinds[0]}">{first}</th>{cells}</tr>')
    body = "\n".join(lines)
    return f'<div class="scroll"><table>\n<thead><tr>{titles}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def _summary(configuration: Configuration, parameters: int, seconds: float) -> str:
    labels = len(configuration.labels)
    return f"A Conv1D classifier of {labels} labels with {parameters:,} parameters. The run took {_duration(seconds)}."


def _headline(evaluation: Evaluation | None, test_data: str | None) -> str:
    if evaluation is None:
        return "<p>Nothing was held out to measure on, so this report cannot say how good the model is.</p>"
    area = evaluation.roc_auc
    binary = len(evaluation.label_names) == 2
    cards = (
        ("Accuracy", f"{evaluation.accuracy:.2%}", "share of right answers"),
        (
            "ROC AUC",
            _MISSING if area is None else f"{area:.4f}",
            "undefined: the test texts lack a label"
            if area is None
            else f"{'' if binary else 'mean over the labels; '}0.5 is a guess, 1 is perfect",
        ),
        ("Log loss", f"{evaluation.log_loss:.4f}", "of the true label; 0 is perfect"),
        (
            "Calibration error",
            f"{evaluation.expected_calibration_error:.4f}",
            "mean distance of confidence from accuracy",
        ),
    )
    numbers = "\n".join(
        f'<div><dt>{name}</dt><dd class="value">{value}</dd><dd><small>{meaning}</small></dd></div>'
        for name, value, meaning in cards
    )
    measured_on = f"{len(evaluation.labels):,} texts" if test_data is None else escape(test_data)
    return (
        f'<dl class="numbers">\n{numbers}\n</dl>\n'
        f'<p class="muted">Measured on {measured_on}, which was held out of training. '
        f"Macro F1 {evaluation.macro_f1:.4f}, Brier score {evaluation.brier:.4f}.</p>"
    )


def _data(configuration: Configuration, data: str, test_data: str | None, evaluation: Evaluation | None) -> str:
    count = "" if evaluation is None else f"<small>{len(evaluation.labels):,} texts</small>"
    rows = [
        ("Trained on", escape(data)),
        ("Measured on", ("nothing" if test_data is None else escape(test_data)) + count),
        ("Labels", escape(", ".join(configuration.labels))),
    ]
    items = "\n".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows)
    return f'<dl class="facts">\n{items}\n</dl>'


def _layers(configuration: Configuration, vocabulary_size: int, parameters: int) -> str:
    rows = _layer_rows(configuration, vocabulary_size)
    return (
        _table(("Layer", "Weights", "Output"), rows, numbers=2)
        + f'\n<p class="muted"><small>{parameters:,} parameters in all. Outputs are those for one text.</small></p>'
    )


def _layer_rows(configuration: Configuration, vocabulary_size: int) -> list[tuple[str, str, str]]:
    tokens, width, hidden = configuration.max_tokens, configuration.embedding_width, configuration.hidden_width
    features = sum(convolution.filters for convolution in configuration.convolutions)
    embedding = f"Embedding{_notes(_dropout(configuration.embedding_dropout))}"
    rows = [
        ("Tokens", "", _shape(tokens)),
        (embedding, _shape(vocabulary_size, width), _shape(tokens, width)),
    ]
    for convolution in configuration.convolutions:
        filters, positions = convolution.filters, tokens - convolution.width + 1
        rows.append((f"Conv1D{_notes('relu')}", _shape(filters, convolution.width, width), _shape(positions, filters)))
        rows.append(("GlobalMaxPooling", "", _shape(filters)))
    if len(configuration.convolutions) > 1:
        rows.append(("Concatenate", "", _shape(features)))
    dense = f"Dense{_notes(_dropout(configuration.hidden_dropout), 'relu')}"
    output = f"Dense{_notes(configuration.activation)}"
    rows.append((dense, _shape(features, hidden), _shape(hidden)))
    rows.append((output, _shape(hidden, configuration.outputs), _shape(configuration.outputs)))
    return rows


def _shape(*sizes: int) -> str:
    return " &times; ".join(f"{size:,}" for size in sizes)


def _notes(*notes: str) -> str:
    text = ", ".join(note for note in notes if note)
    return f"<small>{text}</small>" if text else ""


def _dropout(share: float) -> str:
    return f"dropout {share:g}" if share else ""


def _epochs(epochs: Sequence[Mapping[str, Any]]) -> str:
    columns = {
        "loss": "Loss",
        "accuracy": "Accuracy",
        "validation_loss": "Validation loss",
        "validation_accuracy": "Validation accuracy",
        "seconds": "Seconds",
    }
    present = {name: title for name, title in columns.items() if any(name in epoch for epoch in epochs)}
    rows = [
        [str(epoch["epoch"])] + [_epoch_value(name, epoch[name]) if name in epoch else _MISSING for name in present]
        for epoch in epochs
    ]
    return _table(("Epoch", *present.values()), rows, numbers=len(present))


def _epoch_value(name: str, value: float) -> str:
    if name == "seconds":
        return f"{value:,.1f}"
    return f"{value:.2%}" if name.endswith("accuracy") else f"{value:.4f}"


def _labels(evaluation: Evaluation) -> str:
    rows = [
        (
            escape(scores.label),
            _score(scores.precision),
            _score(scores.recall),
            _score(scores.f1),
            f"{scores.support:,}",
        )
        for scores in evaluation.per_label()
    ]
    return (
        _table(("Label", "Precision", "Recall", "F1", "Texts"), rows, numbers=4)
        + '\n<p class="muted"><small>Precision: of the texts that the model gives this label, the share that has it. '
        "Recall: of the texts that have this label, the share that the model finds. F1: the harmonic mean of the two."
        "</small></p>"
    )


def _score(value: float | None) -> str:
    return _MISSING if value is None else f"{value:.4f}"


def _ordered(plots: Mapping[str, bytes]) -> list[str]:
    return [name for name in _CAPTIONS if name in plots] + [name for name in plots if name not in _CAPTIONS]


def _figure(name: str, png: bytes) -> str:
    title, caption = _CAPTIONS.get(name, (name.replace("_", " ").capitalize(), ""))
    # A PNG file states its size in pixels right after its signature and the head of its first chunk.
    width, height = (round(pixels * _CSS_PIXELS_PER_DOT) for pixels in struct.unpack(">II", png[16:24]))
    wide = ' class="wide"' if width > _COLUMN else ""
    image = base64.b64encode(png).decode()
    return (
        f"<figure{wide}>\n"
        f'<img alt="{escape(title)}" width="{width}" height="{height}" src="data:image/png;base64,{image}">\n'
        f"<figcaption><h3>{escape(title)}</h3>{escape(caption)}</figcaption>\n</figure>"
    )


def _examples(examples: Sequence[tuple[str, str, float, str]]) -> str:
    rows = []
    for text, predicted, probability, truth in examples:
        mark = "" if predicted == truth else ' class="wrong"'
        rows.append((escape(text), f"<span{mark}>{escape(predicted)}</span>", escape(truth), f"{probability:.1%}"))
    return _table(("Text", "Predicted", "True", "Probability"), rows, numbers=1)


def _settings(configuration: Configuration) -> str:
    rows = [
        (f"{name}<small>{escape(field.description or '')}</small>", escape(_setting(configuration, name)))
        for name, field in Configuration.model_fields.items()
    ]
    return _table(("Setting", "Value"), rows)


def _setting(configuration: Configuration, name: str) -> str:
    if name == "convolutions":
        return ", ".join(f"{bank.filters:,} of width {bank.width}" for bank in configuration.convolutions)
    value = getattr(configuration, name)
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _versions(libraries: Mapping[str, str]) -> str:
    return _table(("Library", "Version"), [(escape(name), escape(version)) for name, version in libraries.items()])


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
