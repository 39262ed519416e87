"""TensorFlow is imported quietly, and its objects are not searched for garbage."""

from tests.processes import run

PROGRAM = """
import gc
from sentiment_conv1d.commands.imports import import_tensorflow
import_tensorflow()
import tensorflow
print(gc.isenabled(), gc.get_freeze_count() > len(gc.get_objects()))
"""


def test_import() -> None:
    """Nothing is logged, and the collector runs afterwards, but skips what was imported."""
    result = run("-c", PROGRAM)
    assert (result.stdout, result.stderr) == ("True True\n", "")
