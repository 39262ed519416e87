"""Labelled texts from files: tables (CSV, TSV, JSON lines, Parquet) and the Large Movie Review Dataset."""

from model.data.examples import DataError, Dataset, Examples, split
from model.data.sources import load, load_examples

__all__ = ["DataError", "Dataset", "Examples", "load", "load_examples", "split"]
