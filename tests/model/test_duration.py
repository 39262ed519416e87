"""What `train` says of its duration before it starts."""

import pytest

from sentiment_conv1d.model.__main__ import main
from sentiment_conv1d.model.configuration import PRESETS
from sentiment_conv1d.model.duration import expected
from tests.processes import PROJECT


def test_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    """The texts, the epochs and the minutes are known before anything large is installed or trained."""
    assert main(["train", "--data", str(PROJECT / "docs" / "tickets.csv"), "--out", "runs/none", "--dry-run"]) == 0
    assert "  48 texts, at most 40 epochs: about 1 minute on two processor cores\n" in capsys.readouterr().out


def test_minutes() -> None:
    """The minutes grow with the texts, the tokens that are read and the epochs."""
    cnn, ensemble = PRESETS["text-cnn"], PRESETS["text-ensemble"]
    assert expected(cnn, 25_000, 230, stops_early=True).endswith(
        "at most 50 epochs: about 2 to 25 minutes on two processor cores"
    )
    assert expected(cnn, 25_000, 20, stops_early=False).endswith(
        "25,000 texts, 50 epochs: about 25 minutes on two processor cores"
    )
    assert expected(ensemble, 200_000, 20, stops_early=True).endswith("about 1 to 4 minutes on two processor cores")
    assert expected(ensemble, 200_000, 400, stops_early=False).endswith("about 41 minutes on two processor cores")
