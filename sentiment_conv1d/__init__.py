"""Classify text with a Conv1D network, in Python: `load` a model, then call its methods.

    >>> import sentiment_conv1d
    >>> model = sentiment_conv1d.load("imdb-cnn")
    >>> model.predict("A gripping, beautifully acted film.").label
    'positive'

docs/python.md describes every function.
"""

import os

# ONNX Runtime sends telemetry to its vendor unless this is set before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

_FOLDER = os.path.dirname(__file__)  # noqa: PTH120 - importing `pathlib` takes milliseconds
if not os.path.isdir(os.path.join(_FOLDER, "service")):  # noqa: PTH112, PTH118
    # An installed package contains `service`, `server`, `model` and `export`. In a checkout and in an image, they are
    # folders beside this one.
    __path__.append(os.path.dirname(_FOLDER))  # noqa: PTH120

TYPE_CHECKING = False  # a constant that type checkers know, because importing `typing` takes milliseconds
if TYPE_CHECKING:
    from sentiment_conv1d.artifact.errors import SentimentError
    from sentiment_conv1d.hosting import asgi
    from sentiment_conv1d.loading import load
    from sentiment_conv1d.models import Model
    from sentiment_conv1d.records import Contrast, Explanation, Filter, Prediction, Word

    __version__: str

__all__ = [
    "Contrast",
    "Explanation",
    "Filter",
    "Model",
    "Prediction",
    "SentimentError",
    "Word",
    "__version__",
    "asgi",
    "load",
]

#: The module of each name. It is imported when the name is first used, so that `import sentiment_conv1d` stays cheap.
_MODULES = {
    "Contrast": "records",
    "Explanation": "records",
    "Filter": "records",
    "Model": "models",
    "Prediction": "records",
    "SentimentError": "artifact.errors",
    "Word": "records",
    "asgi": "hosting",
    "load": "loading",
}


if not TYPE_CHECKING:  # type checkers would accept any name

    def __getattr__(name):
        if name == "__version__":
            from sentiment_conv1d.service.version import package_version

            value = package_version()
        elif name in _MODULES:
            from importlib import import_module

            value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
