"""Files of Keras 2 and models with other ends are read as the models that they are."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.keras.optimizer_v2.adam import Adam  # has no public name

from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.export.sources.keras_files import import_model, load
from tests.export.keras2 import save_as_keras_2

LENGTH, ROWS = 6, 12
_POLICY = '"module": "keras.mixed_precision", "class_name": "Policy"'
IDS = np.random.default_rng(0).integers(0, ROWS, (8, LENGTH), np.int32)


@pytest.mark.parametrize("version", ["2.2.0", "2.15.0"])
@pytest.mark.parametrize("kind", ["separable", "lstm", "gru"])
def test_arguments_that_differ(kind: str, version: str, tmp_path: Path) -> None:
    """A file of Keras 2 is read although its layers have arguments that Keras 3 refuses, or lack one."""
    body: list[Any] = {
        "separable": lambda: [layers.SeparableConv1D(5, 3), layers.SpatialDropout1D(0.2), layers.GlobalMaxPooling1D()],
        "lstm": lambda: [layers.LSTM(4)],
        "gru": lambda: [layers.GRU(4, use_bias=False, reset_after=False)],
    }[kind]()
    chain = [layers.Embedding(ROWS, 4), *body, layers.Dense(1, "sigmoid")]
    model = keras.Sequential([keras.Input((LENGTH,), dtype="int32"), *chain])
    save_as_keras_2(model, tmp_path / "model.h5", version)
    np.testing.assert_array_equal(load(tmp_path / "model.h5")(IDS), model(IDS))


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.Conv1D(3, 2, activation=layers.LeakyReLU(0.1)),
        lambda: layers.TimeDistributed(layers.Dense(3)),
        lambda: layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
        lambda: layers.RNN(layers.StackedRNNCells([layers.LSTMCell(3), layers.GRUCell(2)]), return_sequences=True),
    ],
)
def test_layers_in_layers(layer: Any, tmp_path: Path) -> None:
    """A file of Keras 2 is read with layers in layers, and with mixed precision, which it writes in another form."""
    chain = [layers.Embedding(ROWS, 4, dtype="mixed_float16"), layer(), layers.GlobalMaxPooling1D(), layers.Dense(1)]
    model = keras.Sequential([keras.Input((LENGTH,), dtype="int32"), *chain])
    model.save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        configuration = file.attrs["model_config"].replace('"module": "keras", "class_name": "DTypePolicy"', _POLICY)
        file.attrs["model_config"] = configuration.replace('"module": "keras.layers", ', "")
        file.attrs["keras_version"] = "2.4.0"
    np.testing.assert_array_equal(load(tmp_path / "model.h5")(IDS), model(IDS))


def test_inner_model(tmp_path: Path) -> None:
    """A file of Keras 2 is read although an inner model has an axis in a list, and the shape of its input."""
    inner = keras.Sequential([layers.Conv1D(3, 2), layers.BatchNormalization(axis=2), layers.GlobalMaxPooling1D()])
    chain = [layers.Embedding(ROWS, 4), inner, layers.Dense(1, "sigmoid")]
    model = keras.Sequential([keras.Input((LENGTH,), dtype="int32"), *chain])
    model.save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        configuration = file.attrs["model_config"].replace('"axis": 2', '"axis": [2]')
        configuration = configuration.replace('"filters"', '"batch_input_shape": [null, 6, 4], "filters"')
        named = '"module": "keras.layers", "registered_name": null, "class_name": '  # since 2.13
        for name in ('"BatchNormalization"', '"Conv1D"'):
            configuration = configuration.replace(f'"class_name": {name}', named + name)
        file.attrs["model_config"] = configuration
        file.attrs["keras_version"] = "2.15.0"
    np.testing.assert_array_equal(load(tmp_path / "model.h5")(IDS), model(IDS))


@pytest.mark.parametrize("length", [LENGTH, None])
@pytest.mark.parametrize(
    "ends",
    [
        lambda name, end: [end],
        lambda name, end: {name: end},
        lambda name, end: end if name == "ids" else layers.Reshape(())(end),
    ],
)
def test_other_ends(ends: Any, length: int | None, tmp_path: Path) -> None:
    """A model with ends in a list or a dictionary, or with an output [batch], is imported as one with [batch, 1]."""
    ids = keras.Input((length,), dtype="int32", name="ids")
    answer = layers.Dense(1, "sigmoid")(layers.GlobalMaxPooling1D()(layers.Embedding(ROWS, 4)(ids)))
    keras.Model(ends("ids", ids), ends("answer", answer)).save(tmp_path / "model.keras")
    imported = import_model(tmp_path / "model.keras", LENGTH)
    assert imported.max_tokens == LENGTH
    np.testing.assert_allclose(imported.model.predict_on_batch(IDS), keras.Model(ids, answer)(IDS), atol=1e-6)


@pytest.mark.parametrize("refused", [False, True])
def test_masks_that_are_merged(refused: bool, tmp_path: Path) -> None:
    """A file of Keras 2 is refused if layers with different masks are merged, which Keras 3 does differently."""
    ids = keras.Input((LENGTH,))
    words = layers.Embedding(ROWS, 4, mask_zero=True)(ids)
    other = layers.Embedding(ROWS, 4)(ids) if refused else layers.Activation("tanh")(words)
    merged = layers.Multiply(name="merged")([words, other])
    keras.Model(ids, layers.Dense(1, "sigmoid")(layers.LSTM(3)(merged))).save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        configuration = json.loads(file.attrs["model_config"])
        listed = configuration["config"]["layers"]  # Keras 3 also lists the operations that compute masks
        kept = [each for each in listed if hasattr(layers, each["class_name"])]
        for node in (node for each in kept for node in each["inbound_nodes"]):
            node["kwargs"].pop("mask", None)
        configuration["config"]["layers"] = kept
        file.attrs["model_config"] = json.dumps(configuration)
        file.attrs["keras_version"] = "2.15.0"
    with pytest.raises(ExportError, match="layer merged merges masks") if refused else nullcontext():
        load(tmp_path / "model.h5")


def test_saved_model_of_keras_2(tmp_path: Path) -> None:
    """A SavedModel is read with ids in float64, and with the optimizer that TensorFlow 2.10 and before saved."""
    module = tf.Module()
    module.weights = tf.Variable(tf.ones((LENGTH, 1)))
    module.optimizer = Adam()
    module.optimizer.add_slot(module.weights, "m")
    module.read = tf.function(
        lambda ids: tf.cast(ids, tf.float32) @ module.weights, [tf.TensorSpec((None, LENGTH), tf.float64)]
    )
    tf.saved_model.save(module, str(tmp_path), {"serving_default": module.read})
    content = SavedModel.FromString((tmp_path / "saved_model.pb").read_bytes())
    for node in content.meta_graphs[0].object_graph_def.nodes:
        if node.user_object.identifier == "tf_deprecated_optimizer":
            node.user_object.identifier = "optimizer"
    (tmp_path / "saved_model.pb").write_bytes(content.SerializeToString())
    answers = import_model(tmp_path).model.predict_on_batch(IDS)
    np.testing.assert_array_equal(answers, IDS.sum(axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("shape", "refusal"),
    [
        ((4, LENGTH), "this SavedModel reads 4 texts at a time"),
        ((None, None), "the SavedModel does not read 2 ids: "),
        (None, "the SavedModel does not read 2 ids: "),
    ],
)
def test_saved_models_that_do_not_read_the_ids(shape: Any, refusal: str, tmp_path: Path) -> None:
    """A SavedModel is refused if it reads a number of texts at a time, or cannot read the stated number of ids."""
    module = tf.Module()
    module.read = tf.function(
        lambda ids: tf.nn.conv1d(ids[..., tf.newaxis], tf.ones((3, 1, 1)), 1, "VALID")[:, 0],
        [tf.TensorSpec(shape, tf.float32)],
    )
    tf.saved_model.save(module, str(tmp_path), {"serving_default": module.read})
    with pytest.raises(ExportError, match=refusal):
        import_model(tmp_path, 2)
