"""The measures of a trained network on the test texts, beside those of its baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from sentiment_conv1d.artifact.decision import DecisionRule
from sentiment_conv1d.artifact.manifest import Metrics
from sentiment_conv1d.model.data import Plan
from sentiment_conv1d.model.evaluation.baseline import Baseline, measure_baseline
from sentiment_conv1d.model.evaluation.comparison import Comparison
from sentiment_conv1d.model.evaluation.confidence import confidence_lines, confident_values
from sentiment_conv1d.model.evaluation.evaluation import Evaluation
from sentiment_conv1d.model.evaluation.multilabel import Measured, MultilabelEvaluation
from sentiment_conv1d.model.evaluation.segments import Segments, by_segment
from sentiment_conv1d.model.evaluation.terminal import several_label_lines, value_lines
from sentiment_conv1d.model.training.recipes import Trained


class Results(NamedTuple):
    """A trained network and its baseline on the test texts; None without test texts, or if there is no baseline."""

    network: Measured | None
    baseline: Baseline | None
    decision: DecisionRule
    segments: Segments | None = None  # of the test texts, if their column is known
    advice: Sequence[str] = ()  # what may help if the baseline is more accurate
    compared: Mapping[str, Measured] = MappingProxyType({})  # shipped models and all trainings, by what they are
    kept: str = ""  # the training whose network this is, if there were two
    unchanged: str = ""  # the artifact that the training continues, if no epoch was better by more than chance

    def lines(self, test_source: str | None) -> Iterator[str]:
        """Yield the measures as lines for a terminal. `test_source` describes the test texts."""
        if self.decision.calibration is not None:
            yield f"calibration: {self.decision.calibration.describe()}"
        if self.network is None:
            return
        yield from self.compared_lines()
        yield f"measured on {test_source}:"
        yield from value_lines(self.network.values())
        if isinstance(self.network, MultilabelEvaluation):
            yield from several_label_lines(self.network)
            return
        yield from confidence_lines(self.network, self.decision)
        if self.segments is not None:
            yield from self.segments.lines()
        if self.baseline is not None:
            name, measured = self.baseline
            yield f"{name} on the same texts:"
            yield from value_lines({"accuracy": measured.accuracy, "log_loss": measured.log_loss})
            yield self.verdict
            if self.network.accuracy < measured.accuracy:
                yield f"warning: {name} is right more often than this network: try {' or '.join(self.advice)}"

    @property
    def verdict(self) -> str:
        """Whether the network is more accurate than its baseline, in words; empty if one of them is missing.

        One is called more accurate than the other only if the 95% interval of their difference does not contain 0.
        """
        if self.baseline is None or not isinstance(self.network, Evaluation):
            return ""
        name, measured = self.baseline
        compared = Comparison((name, "the network"), measured, self.network)
        low, high = compared.accuracy_interval
        found = "is more" if low > 0 else "is less" if high < 0 else "is not significantly more or less"
        difference = f"{compared.accuracy_difference:+.4f}, 95% interval {low:+.4f} to {high:+.4f}"
        return f"The network {found} accurate than {name}: {difference}"

    def compared_lines(self) -> Iterator[str]:
        """Yield the accuracies of shipped models and of the trainings, and which training was kept."""
        if self.compared:
            yield "accuracy: " + "; ".join(f"{name}: {each.accuracy:.3f}" for name, each in self.compared.items())
            yield "warning: the texts may have been in the training of a shipped model: its card names its sources"
        if self.kept:
            yield f"kept: {self.kept}, whose log loss on held-out texts is lower"
        if self.unchanged:
            yield (
                f"it answers as {self.unchanged} does, and has learned none of the texts: no epoch lowered its "
                "held-out log loss by more than chance"
            )

    def metrics(self, test_source: str | None) -> Metrics | None:
        """Return the measures for `metrics.json`; None without test texts. `test_source` describes the test texts."""
        if self.network is None:
            return None
        assert test_source is not None
        if isinstance(self.network, MultilabelEvaluation):
            return self.network.metrics(test_source)
        others = confident_values(self.network, self.decision)
        if self.baseline is not None:
            measured = self.baseline.evaluation
            others |= {"baseline_accuracy": measured.accuracy, "baseline_log_loss": measured.log_loss}
        return self.network.metrics(test_source, others)


def measure(
    work: Plan, trained: Trained, segment_column: str | None, shipped: Mapping[str, Evaluation] = MappingProxyType({})
) -> Results:
    """Measure the baseline and the segments of `segment_column` on the test texts, if there are any.

    `shipped` are the evaluations of shipped models on these texts, by name.
    """
    baseline = segments = None
    if work.test is not None and isinstance(trained.evaluation, Evaluation):
        characters = trained.tokenizer.cuts_characters
        learned = trained.use.given if trained.baseline_texts is None else trained.baseline_texts
        baseline = measure_baseline(work.label_names, learned, work.test, characters=characters)
        if segment_column is not None:
            segments = by_segment(trained.evaluation, segment_column, [row.segment for row in work.test.rows])
    compared: dict[str, Measured] = {f"{name}, as shipped": each for name, each in shipped.items()}
    trainings = [trained] if trained.rejected is None else [trained, trained.rejected]
    if shipped or trained.rejected is not None:
        trainings.sort(key=lambda each: each.start is not None)
        compared |= {each.title: each.evaluation for each in trainings if each.evaluation is not None}
    kept = "" if trained.rejected is None else trained.title
    unchanged = trained.start.title if trained.start is not None and trained.use.keeps_start else ""
    return Results(
        trained.evaluation, baseline, trained.decision, segments, _advice(trained), compared, kept, unchanged
    )


def _advice(trained: Trained) -> list[str]:
    """Return what may make the network more accurate and is not what the training just did."""
    configuration, advice = trained.configuration, []
    if configuration.recipe == "labels":
        advice.append("--preset text-ensemble" + (" without --embeddings" if trained.vectors else ""))
    if len(trained.history["epochs"]) == configuration.epochs:
        advice.append("more --epochs")
    return advice or ["more texts"]
