"""Labelled texts from files: tables (CSV, TSV, JSON lines, Parquet) and the Large Movie Review Dataset."""

from sentiment_conv1d.model.data.examples import Dataset, Examples, split
from sentiment_conv1d.model.data.sources import load, load_examples
from sentiment_conv1d.model.data.training_texts import TrainingTexts, measurable
from sentiment_conv1d.model.tables import DataError

__all__ = ["DataError", "Dataset", "Examples", "TrainingTexts", "load", "load_examples", "measurable", "split"]
