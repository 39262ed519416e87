"""Labelled texts from files: tables, datasets of Hugging Face and the Large Movie Review Dataset.

`load` reads the texts to train a model on, and `load_examples` those to measure it on.
"""

from sentiment_conv1d.model.data.examples import Dataset, Examples, LabelledTexts, joined, parts, split
from sentiment_conv1d.model.data.faults import BadDataError, summary, write_faults
from sentiment_conv1d.model.data.loading import Reading, load, load_examples
from sentiment_conv1d.model.data.plan import Plan, plan
from sentiment_conv1d.model.data.profile import Profile, fitting_length, profile
from sentiment_conv1d.model.data.rows import Columns
from sentiment_conv1d.model.data.training_texts import TrainingTexts, measurable
from sentiment_conv1d.model.data.use import Use, use_of
from sentiment_conv1d.tables import DataError, Fault, Format

__all__ = [
    "BadDataError",
    "Columns",
    "DataError",
    "Dataset",
    "Examples",
    "Fault",
    "Format",
    "LabelledTexts",
    "Plan",
    "Profile",
    "Reading",
    "TrainingTexts",
    "Use",
    "fitting_length",
    "joined",
    "load",
    "load_examples",
    "measurable",
    "parts",
    "plan",
    "profile",
    "split",
    "summary",
    "use_of",
    "write_faults",
]
