"""What MLflow loads from a model that `convert --to mlflow` wrote: it classifies the column `text` of data frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment_conv1d.loading import load
from sentiment_conv1d.models import Model

if TYPE_CHECKING:
    import pandas


class TextClassifier:
    """A model with the method that MLflow calls."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def predict(self, texts: pandas.DataFrame, params: dict[str, Any] | None = None) -> pandas.DataFrame:
        """Return the columns `label`, `score` and `probabilities`, an object by label, for the column `text`."""
        import pandas

        predictions = self._model.predict(texts["text"])
        columns = {name: [getattr(each, name) for each in predictions] for name in ("label", "score", "probabilities")}
        return pandas.DataFrame(columns, index=texts.index)


def _load_pyfunc(path: str) -> TextClassifier:
    """Load the artifact in a folder. MLflow calls this function by its name."""
    return TextClassifier(load(Path(path)))
