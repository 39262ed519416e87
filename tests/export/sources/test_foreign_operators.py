"""A SavedModel that would do more than compute is refused before TensorFlow loads it; honest ones are loaded."""

from __future__ import annotations

import gc
import os
import re
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from keras import layers
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.framework import op_def_registry  # has no public name

from sentiment_conv1d.export.__main__ import main
from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.export.sources import saved_model
from sentiment_conv1d.export.sources.saved_model import inspection, open_saved_model
from sentiment_conv1d.export.sources.saved_model.allowed import ALLOWED, FILE_TABLE, SAVER

LENGTH, ROWS = 6, 12
WORDS = ["good", "bad", "film"]
INITIALIZER, SIGNATURE, SAVE = "__inference__initializer_", "__inference_answer_", "__inference__traced_save_"

#: What an attack adds to the answers, computed from the path of the file that must not be written.
Attack = Callable[[Path], Any]

#: The export of a model, with the expected status.
Export = Callable[..., str]


class Model(tf.Module):  # type: ignore[misc]
    """A classifier over ids, or over texts, that also does something else."""

    def __init__(self, attack: Attack, file: Path, dtype: Any = tf.int32, words: Path | None = None) -> None:
        super().__init__()
        self.rows = tf.Variable(np.random.default_rng(0).uniform(-1, 1, (ROWS, 1)).astype(np.float32))
        if words is not None:
            lines = tf.lookup.TextFileInitializer(
                str(words), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
            )
            self.table = tf.lookup.StaticHashTable(lines, -1)

        def answer(ids: Any) -> Any:
            known = ids if dtype == tf.int32 else tf.cast(tf.strings.length(ids), tf.int32) % ROWS
            return tf.sigmoid(tf.reduce_mean(tf.gather(self.rows, known), 1) + attack(file))

        self.answer = tf.function(answer, [tf.TensorSpec((None, LENGTH), dtype)])


def nothing(file: Path) -> Any:
    return 0.0


def then_zero(operation: Any) -> Any:
    with tf.control_dependencies([operation]):
        return tf.identity(0.0)


def write(file: Path) -> Any:
    return then_zero(tf.io.write_file(str(file), "written"))


def write_in_python(file: Path) -> float:
    file.write_text("written")
    return 0.0


def length(text: Any) -> Any:
    return tf.cast(tf.reduce_sum(tf.strings.length(text)), tf.float32)


def debug(file: Path) -> Any:
    return tf.raw_ops.DebugIdentityV2(
        input=0.0,
        tfdbg_context_id="own",
        op_name="own",
        output_slot=0,
        tensor_debug_mode=8,
        debug_urls=[f"file://{file}"],
    )


def decode_proto(file: Path) -> Any:
    decoded = tf.io.decode_proto([b""], "own.Message", ["number"], [tf.int32], descriptor_source=str(file))
    return tf.cast(tf.reduce_sum(decoded.values[0]), tf.float32)


def saved(folder: Path, attack: Attack = nothing, file: Path = Path(), **changes: Any) -> Path:
    """Write a SavedModel."""
    model = Model(attack, file, **changes)
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=True)
    tf.saved_model.save(model, str(folder), {"serving_default": model.answer}, options)
    return folder


def with_table(folder: Path, attack: Attack = nothing, file: Path = Path()) -> Path:
    """Write a SavedModel with a look-up table that is filled from a file of words."""
    words = folder.parent / "words of the table.txt"
    words.write_text("\n".join(WORDS))
    return saved(folder, attack, file, words=words)


def changed(path: Path, change: Callable[[Any], object]) -> Path:
    """Change the message in `saved_model.pb`."""
    content = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    change(content)
    (path / "saved_model.pb").write_bytes(content.SerializeToString())
    return path


def function(content: Any, name: str, graph: int = 0) -> Any:
    """Return the function whose name begins with a name."""
    [found] = [
        each for each in content.meta_graphs[graph].graph_def.library.function if each.signature.name.startswith(name)
    ]
    return found


def add_text(nodes: Any, name: str, text: Path | str) -> Any:
    """Add a constant to operators."""
    node = nodes.add(name=name, op="Const")
    node.attr["dtype"].type = tf.string.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(str(text)))
    return node


def add_write(nodes: Any, file: Path) -> None:
    """Add an operator that writes a file to operators."""
    add_text(nodes, "own_file", file)
    add_text(nodes, "own_text", "written")
    nodes.add(name="own", op="WriteFile", input=["own_file:output:0", "own_text:output:0"])


def writing(name: str, file: Path) -> Callable[[Any], None]:
    """Return a change that lets a function write a file."""

    def change(content: Any) -> None:
        changing = function(content, name)
        add_write(changing.node_def, file)
        changing.control_ret["own"] = "own"
        changing.signature.control_output.append("own")

    return change


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """Return the path of the file that no attack may write."""
    return tmp_path / "marker"


@pytest.fixture
def export(tmp_path: Path, marker: Path, capsys: pytest.CaptureFixture[str]) -> Export:
    """Export a model, which must end with a status without writing the marker. Return the message of the error."""
    (tmp_path / "words.txt").write_text("\n".join(["", "[UNK]", *WORDS]))

    def run(path: Path, status: int = 2) -> str:
        marker.unlink(missing_ok=True)
        capsys.readouterr()
        flags = ["--vocabulary", str(tmp_path / "words.txt"), "--labels", "no,yes", "--name", "own", "--unverified"]
        assert main([str(path), *flags, "--repository", str(tmp_path / "repository")]) == status
        assert not marker.exists()
        assert (tmp_path / "repository").exists() == (status == 0)
        lines = capsys.readouterr().err.splitlines()
        if status:
            assert [line.split(": ")[0] for line in lines[-2:]] == ["error", "hint"]
        return lines[-2] if status else ""

    return run


def runs(path: Path, marker: Path) -> bool:
    """Return whether TensorFlow itself writes the marker when it loads a SavedModel, runs it and lets it go."""
    loaded = tf.saved_model.load(str(path))
    loaded.signatures["serving_default"](tf.zeros((1, LENGTH), tf.int32))
    del loaded
    gc.collect()
    return marker.exists()


def write_checkpoint(file: Path) -> Any:
    one = {"tensor_names": ["own"], "shape_and_slices": [""]}
    return then_zero(tf.raw_ops.SaveV2(prefix=str(file), tensors=[tf.constant(0.0)], **one))


def read_checkpoint(file: Path) -> Any:
    one = {"tensor_names": ["own"], "shape_and_slices": [""]}
    return tf.raw_ops.RestoreV2(prefix=str(file), dtypes=[tf.float32], **one)[0]


def call_remotely(file: Path) -> Any:
    called = tf.function(tf.identity).get_concrete_function(tf.TensorSpec((), tf.float32))
    return tf.raw_ops.RemoteCall(target="/job:own/task:0", args=[0.0], Tout=[tf.float32], f=called)[0]


def in_python(file: Path) -> Any:
    return np.float32(write_in_python(file))


#: What is done in the signature, and the operator that is refused. TensorFlow itself writes the marker.
WRITES: dict[str, tuple[Attack, str]] = {
    "a file": (write, "WriteFile"),
    "an inner function": (lambda file: tf.function(lambda: tf.function(write)(file))(), "WriteFile"),
    "a branch": (lambda file: tf.cond(tf.constant(True), lambda: write(file), lambda: 0.0), "WriteFile"),
    "one of several branches": (
        lambda file: tf.switch_case(tf.constant(1), [lambda: tf.constant(0.0), lambda: write(file)]),
        "WriteFile",
    ),
    "a body": (
        lambda file: tf.while_loop(lambda _: True, lambda _: [write(file)], [0.0], maximum_iterations=1)[0],
        "WriteFile",
    ),
    "a condition": (lambda file: tf.while_loop(lambda _: write(file) > 0, lambda each: [each], [0.0])[0], "WriteFile"),
    "py_function": (lambda file: tf.py_function(lambda: write_in_python(file), [], tf.float32), "EagerPyFunc"),
    "numpy_function": (lambda file: tf.numpy_function(lambda: in_python(file), [], tf.float32), "PyFunc"),
    "a stateless numpy_function": (
        lambda file: tf.numpy_function(lambda: in_python(file), [], tf.float32, stateful=False),
        "PyFuncStateless",
    ),
    "a print to a file": (
        lambda file: then_zero(tf.raw_ops.PrintV2(input="written", output_stream=f"file://{file}")),
        "PrintV2",
    ),
}

#: The same, for operators that read something, or do not run on this machine.
OTHERS: dict[str, tuple[Attack, str]] = {
    "a checkpoint": (write_checkpoint, "SaveV2"),
    "a checkpoint that is read": (read_checkpoint, "RestoreV2"),
    "a debugger": (debug, "DebugIdentityV2"),
    "a file that is read": (lambda file: length(tf.io.read_file(str(file))), "ReadFile"),
    "a folder that is listed": (lambda file: length(tf.io.matching_files(f"{file.parent}/*")), "MatchingFiles"),
    "a descriptor": (decode_proto, "DecodeProtoV2"),
    "a dataset": (
        lambda file: length(tf.data.experimental.get_single_element(tf.data.TextLineDataset(str(file)))),
        r"\w*Dataset\w*",
    ),
    "a remote call": (call_remotely, "RemoteCall"),
}


@pytest.mark.parametrize("name", [*WRITES, *OTHERS])
def test_signatures(name: str, tmp_path: Path, marker: Path, export: Export) -> None:
    """An operator that is reached from the signature, in whatever function, is refused by its name."""
    attack, operator = (WRITES | OTHERS)[name]
    path = saved(tmp_path / "saved", attack, marker)
    assert name in OTHERS or runs(path, marker)
    assert re.search(rf"saved: its operator {operator} in function \S+ is not one of those", export(path))


def test_a_signature_over_texts(tmp_path: Path, marker: Path, export: Export) -> None:
    """A SavedModel that reads texts is checked as one that reads ids."""
    path = saved(tmp_path / "saved", write, marker, dtype=tf.string)
    assert "its operator WriteFile" in export(path)


class Spy(layers.Layer):  # type: ignore[misc]
    """A layer that writes a file."""

    def __init__(self, file: Path) -> None:
        super().__init__(name="spy")
        self._file = file

    def call(self, values: Any) -> Any:
        return values + write(self._file)


def test_the_layer_is_named(tmp_path: Path, marker: Path, export: Export) -> None:
    """The message names the layer of Keras in which the operator is."""
    chain = [layers.Embedding(ROWS, 1), layers.GlobalMaxPooling1D(), Spy(marker), layers.Activation("sigmoid")]
    model = keras.Sequential([keras.Input((LENGTH,), dtype="int32"), *chain], name="own")
    model.export(tmp_path / "saved", verbose=False)
    assert runs(tmp_path / "saved", marker)
    assert re.search(r"operator WriteFile of layer own\w*/spy\w* in function __inference_", export(tmp_path / "saved"))


#: Functions that TensorFlow runs while it loads a SavedModel, or lets it go.
@pytest.mark.parametrize("name", [INITIALIZER, "__inference__creator_", "__inference__destroyer_"])
def test_functions_of_resources(name: str, tmp_path: Path, marker: Path, export: Export) -> None:
    """An initializer, a creator and a destroyer are checked, and the message names them."""
    path = changed(with_table(tmp_path / "saved"), writing(name, marker))
    assert runs(path, marker)
    assert f"its operator WriteFile in function {name}" in export(path)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def doubled(value: Any) -> Any:
    return 2 * value, lambda gradient: 3 * tf.math.asinh(gradient)


def test_a_gradient(tmp_path: Path, marker: Path, export: Export) -> None:
    """A gradient is checked, although only its registered name leads to it."""
    path = saved(tmp_path / "saved", lambda _: doubled(tf.constant(0.0)))
    with open_saved_model(path):
        pass

    def change(content: Any) -> None:
        [gradient] = content.meta_graphs[0].graph_def.library.registered_gradients
        writing(gradient.gradient_func, marker)(content)

    assert "its operator WriteFile in function __inference_" in export(changed(path, change))


def test_a_function_that_nothing_calls(tmp_path: Path, marker: Path, export: Export) -> None:
    """A function is checked although nothing calls it: TensorFlow imports it, and reads files to find out shapes."""
    marker.write_text("a secret")
    model = Model(nothing, marker)
    shape = tf.TensorSpec((None,), tf.float32)
    model.idle = tf.function(
        lambda value: tf.reshape(value, [tf.strings.length(tf.io.read_file(str(marker))), -1]), [shape]
    )
    tf.saved_model.save(model, str(tmp_path / "saved"), {"serving_default": model.answer})
    assert tf.saved_model.load(str(tmp_path / "saved")).idle.concrete_functions[0].outputs[0].shape[0] == 8
    assert "its operator ReadFile in function __inference_" in export(tmp_path / "saved")


def test_a_function_that_replaces_another_one(tmp_path: Path, marker: Path, export: Export) -> None:
    """A function is checked although TensorFlow runs it only instead of another one that has the same attribute."""
    scalar = [tf.TensorSpec((), tf.float32)]
    inner, other = (
        tf.function(lambda value: value * 2, scalar),
        tf.function(lambda value: write(marker) + value, scalar),
    )
    model = Model(lambda _: inner(0.0), marker)
    model.other = other
    tf.saved_model.save(model, str(tmp_path / "saved"), {"serving_default": model.answer})

    def change(content: Any) -> None:
        for each in content.meta_graphs[0].graph_def.library.function:
            if [argument.name for argument in each.signature.input_arg] == ["value"]:
                writes = any(node.op == "WriteFile" for node in each.node_def)
                each.attr["api_implements"].s = b"own"
                each.attr["api_preferred_device"].s = b"CPU" if writes else b"GPU"

    path = changed(tmp_path / "saved", change)
    assert runs(path, marker)
    assert "its operator WriteFile in function __inference_" in export(path)


def call_saver(content: Any) -> None:
    node = function(content, SIGNATURE).node_def.add(name="own", op="StatefulPartitionedCall")
    node.attr["f"].func.name = function(content, SAVE).signature.name


def nest_saver(content: Any) -> None:
    node = function(content, SIGNATURE).node_def.add(name="own", op="StatefulPartitionedCall")
    node.attr["f"].func.name = function(content, SIGNATURE).signature.name
    node.attr["f"].func.attr["own"].list.func.add(name=function(content, SAVE).signature.name)


def name_in_attribute(content: Any) -> None:
    function(content, SIGNATURE).attr["own"].func.name = function(content, SAVE).signature.name


def call_from_object(content: Any) -> None:
    node = content.meta_graphs[0].object_graph_def.nodes.add()
    node.function.concrete_functions.append(function(content, SAVE).signature.name)


def be_object(content: Any) -> None:
    node = content.meta_graphs[0].object_graph_def.nodes.add()
    node.bare_concrete_function.concrete_function_name = function(content, SAVE).signature.name


def capture_from_saver(content: Any) -> None:
    node = content.meta_graphs[0].object_graph_def.nodes.add()
    node.captured_tensor.concrete_function = function(content, SAVE).signature.name


def bind_saver(content: Any) -> None:
    name = function(content, SAVE).signature.name
    content.meta_graphs[0].object_graph_def.concrete_functions[name].bound_inputs.append(0)


def replace_with_saver(content: Any) -> None:
    function(content, SAVE).attr["api_implements"].s = b"own"


def differentiate_with_saver(content: Any) -> None:
    gradient = content.meta_graphs[0].graph_def.library.registered_gradients.add(registered_op_type="own")
    gradient.gradient_func = function(content, SAVE).signature.name


@pytest.mark.parametrize(
    "change",
    [
        call_saver,
        nest_saver,
        name_in_attribute,
        call_from_object,
        be_object,
        capture_from_saver,
        bind_saver,
        replace_with_saver,
        differentiate_with_saver,
    ],
)
def test_the_saver_is_called(change: Callable[[Any], None], tmp_path: Path, export: Export) -> None:
    """The operators that write checkpoints are allowed only in functions that nothing else can call."""
    message = export(changed(saved(tmp_path / "saved"), change))
    assert re.search(rf"its operator (ShardedFilename|MergeV2Checkpoints|SaveV2) in function {SAVE}", message)


def test_the_saver_writes_another_file(tmp_path: Path, marker: Path, export: Export) -> None:
    """The functions that write checkpoints contain no other operator that writes."""
    path = changed(saved(tmp_path / "saved"), writing(SAVE, marker))
    assert f"its operator WriteFile in function {SAVE}" in export(path)


def name_an_operator(content: Any) -> None:
    """Call the saver by the name of an operator."""
    saver = function(content, SAVE)
    for node in content.meta_graphs[0].graph_def.node:
        if node.attr["f"].func.name == saver.signature.name:
            node.attr["f"].func.name = "Identity"
    saver.signature.name = "Identity"


def name_twice(content: Any) -> None:
    content.meta_graphs[0].graph_def.library.function.append(function(content, SAVE))


def call_an_operator(content: Any) -> None:
    node = function(content, SIGNATURE).node_def.add(name="own", op="PartitionedCall")
    node.attr["f"].func.name = "WriteFile"


def call_in_a_list(content: Any) -> None:
    node = function(content, SIGNATURE).node_def.add(name="own", op="Case")
    node.attr["branches"].list.func.add(name="WriteFile")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (name_an_operator, "a function of this SavedModel has the name of another one, or of an operator"),
        (name_twice, "a function of this SavedModel has the name of another one, or of an operator"),
        (call_an_operator, "PartitionedCall in function .* calls WriteFile, which is not one of its functions"),
        (call_in_a_list, "Case in function .* calls WriteFile, which is not one of its functions"),
    ],
)
def test_names_of_functions(change: Callable[[Any], None], message: str, tmp_path: Path, export: Export) -> None:
    """The name of a function leads to one function of the SavedModel, and never to an operator."""
    assert re.search(message, export(changed(saved(tmp_path / "saved"), change)))


def test_operators_outside_of_functions(tmp_path: Path, marker: Path, export: Export) -> None:
    """An operator of the graph around the functions, such as a main operator, is checked."""

    def change(content: Any) -> None:
        graph = content.meta_graphs[0]
        add_write(graph.graph_def.node, marker)
        graph.collection_def["saved_model_main_op"].node_list.value[:] = ["own"]
        graph.collection_def["legacy_init_op"].node_list.value[:] = ["own"]

    assert "its operator WriteFile is not one of those" in export(changed(saved(tmp_path / "saved"), change))


@pytest.mark.parametrize(("operator", "refused"), [("SaveV2", False), (FILE_TABLE, True)])
def test_savers_outside_of_functions(operator: str, refused: bool, tmp_path: Path) -> None:
    """Operators that write checkpoints are allowed outside of functions, where TensorFlow does not run them."""

    def change(content: Any) -> None:
        content.meta_graphs[0].graph_def.node.add(name="own", op=operator)

    path = changed(saved(tmp_path / "saved"), change)
    refusal = pytest.raises(ExportError, match=f"its operator {operator} is not") if refused else nullcontext()
    with refusal, open_saved_model(path):
        pass


def test_other_meta_graphs(tmp_path: Path, marker: Path, export: Export) -> None:
    """All meta graphs are checked, and a SavedModel with two, which TensorFlow 2 loads as one of 1, is refused."""

    def copy(content: Any) -> None:
        content.meta_graphs.append(content.meta_graphs[0])

    def write_in_copy(content: Any) -> None:
        add_write(function(content, SIGNATURE, 1).node_def, marker)

    path = changed(saved(tmp_path / "saved"), copy)
    assert "this SavedModel has 2 meta graphs instead of one" in export(path)
    assert "its operator WriteFile in function" in export(changed(path, write_in_copy))


def test_saved_models_of_tensorflow_1(tmp_path: Path, marker: Path, export: Export) -> None:
    """A SavedModel without an object graph, whose main operator and saver TensorFlow runs, is refused."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        ids = tf.compat.v1.placeholder(tf.int32, (None, LENGTH))
        answer = tf.sigmoid(tf.reduce_mean(tf.cast(ids, tf.float32), 1, keepdims=True))
        signature = tf.compat.v1.saved_model.predict_signature_def({"ids": ids}, {"answer": answer})
        builder = tf.compat.v1.saved_model.Builder(str(tmp_path / "saved"))
        main_op = tf.io.write_file(str(marker), "written")
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature}, main_op=main_op)
        builder.save()
    tf.saved_model.load(str(tmp_path / "saved"))
    assert marker.exists()
    assert "TensorFlow 1 wrote this SavedModel, and loading it runs its operators" in export(tmp_path / "saved")


def other_file(path: Path) -> Path:
    """Write a file of words that is no asset."""
    words = path.parent / "secret.txt"
    words.write_text("secret")
    return words


def rename_asset(name: Callable[[Path], str]) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        new = name(path)
        changed(path, lambda content: setattr(content.meta_graphs[0].asset_file_def[0], "filename", new))

    return change


def link_asset(path: Path) -> None:
    [asset] = (path / "assets").iterdir()
    asset.unlink()
    asset.symlink_to(other_file(path))


def link_folder(path: Path) -> None:
    (path / "assets").rename(path.parent / "elsewhere")
    (path / "assets").symlink_to(path.parent / "elsewhere")


def read_constant(path: Path) -> None:
    """Fill the table from a file that a constant of the initializer names."""

    def change(content: Any) -> None:
        nodes = function(content, INITIALIZER).node_def
        [fill] = [each for each in nodes if each.op == FILE_TABLE]
        add_text(nodes, "own", other_file(path))
        nodes.add(name="same", op="Identity", input=["own:output:0"]).attr["T"].type = tf.string.as_datatype_enum
        fill.input[1] = "same:output:0"

    changed(path, change)


def bind_constant(path: Path, *, disguised: bool = False) -> None:
    """Fill the table from a file that a constant object names. Disguised, it looks like an asset."""

    def change(content: Any) -> None:
        graph = content.meta_graphs[0]
        name = "" if disguised else "own_file"
        add_text(graph.graph_def.node, name, other_file(path))
        objects = graph.object_graph_def
        bound = objects.concrete_functions[function(content, INITIALIZER).signature.name].bound_inputs
        [number] = [each for each, node in enumerate(objects.nodes) if node.WhichOneof("kind") == "asset"]
        node = objects.nodes[number] if disguised else objects.nodes.add()
        if not disguised:
            node.constant.operation = name
            bound[list(bound).index(number)] = len(objects.nodes) - 1
        node.registered_name = "tf.TrackableConstant" if disguised else ""

    changed(path, change)


def call_initializer(path: Path) -> None:
    """Call the initializer with the name of another file."""

    def change(content: Any) -> None:
        initializer, signature = function(content, INITIALIZER), function(content, SIGNATURE)
        add_text(signature.node_def, "own", other_file(path))
        call = signature.node_def.add(name="call", op="StatefulPartitionedCall", input=["own:output:0", "own:output:0"])
        call.attr["f"].func.name = initializer.signature.name

    changed(path, change)


def in_initializer(change: Callable[[Any, Any], object]) -> Callable[[Path], None]:
    """Return a change of the initializer, and of the graph around it."""

    def run(path: Path) -> None:
        changed(path, lambda content: change(function(content, INITIALIZER), content.meta_graphs[0]))

    return run


def call_in_case(path: Path) -> None:
    """Call the initializer from an operator with several functions."""

    def change(content: Any) -> None:
        node = function(content, SIGNATURE).node_def.add(name="call", op="Case", input=["ids", "ids"])
        node.attr["branches"].list.func.add(name=function(content, INITIALIZER).signature.name)

    changed(path, change)


def call_without_inputs(path: Path) -> None:
    def change(content: Any) -> None:
        node = function(content, SIGNATURE).node_def.add(name="call", op="StatefulPartitionedCall")
        node.attr["f"].func.name = function(content, INITIALIZER).signature.name

    changed(path, change)


def save_again(path: Path) -> Path:
    """Load a SavedModel and save it, which wraps its initializer in functions that call it."""
    again = path.parent / "again"
    loaded = tf.saved_model.load(str(path))
    tf.saved_model.save(loaded, str(again), {"serving_default": loaded.signatures["serving_default"]})
    shutil.rmtree(path)
    return again.rename(path)


def change_wrapper(change: Callable[[Any], object]) -> Callable[[Path], None]:
    """Return a change of the operator that calls the initializer."""

    def change_call(content: Any) -> None:
        functions = content.meta_graphs[0].graph_def.library.function
        [name] = [each.signature.name for each in functions if any(node.op == FILE_TABLE for node in each.node_def)]
        [call] = [node for each in functions for node in each.node_def if node.attr["f"].func.name == name]
        change(call)

    def run(path: Path) -> None:
        changed(save_again(path), change_call)

    return run


def call_one_of_several(call: Any) -> None:
    call.op = "Case"
    call.attr["branches"].list.func.append(call.attr.pop("f").func)


def call_another_function(call: Any) -> None:
    call.attr["own"].func.name = call.attr["f"].func.name


def compute_name(path: Path) -> None:
    """Fill the table from a file whose name is computed from that of an asset."""

    def change(content: Any) -> None:
        nodes = function(content, INITIALIZER).node_def
        [fill] = [each for each in nodes if each.op == FILE_TABLE]
        node = nodes.add(name="own", op="StaticRegexReplace", input=[fill.input[1]])
        node.attr["pattern"].s, node.attr["rewrite"].s = b"^.*$", os.fsencode(other_file(path))
        node.attr["replace_global"].b = False
        fill.input[1] = "own:output:0"

    changed(path, change)


def read_in_a_circle(initializer: Any, graph: Any) -> None:
    for name, source in (("one", "two"), ("two", "one")):
        node = initializer.node_def.add(name=name, op="Identity", input=[f"{source}:output:0"])
        node.attr["T"].type = tf.string.as_datatype_enum
    [fill] = [each for each in initializer.node_def if each.op == FILE_TABLE]
    fill.input[1] = "one:output:0"


def replace_initializer(path: Path) -> None:
    """Let TensorFlow run the initializer instead of other functions."""

    def change(content: Any) -> None:
        function(content, INITIALIZER).attr["api_implements"].s = b"own"

    changed(path, change)


NO_FILE, FILLED = "is no file in its folder assets", f"its operator {FILE_TABLE} in function {INITIALIZER}"

#: Changes of a SavedModel with a table, and what the message says.
TABLES: dict[str, tuple[Callable[[Path], None], str]] = {
    "an asset in another folder": (rename_asset(lambda path: f"../../{other_file(path).name}"), NO_FILE),
    "an absolute asset": (rename_asset(lambda path: str(other_file(path))), NO_FILE),
    "an asset by a detour": (rename_asset(lambda path: "../assets/words of the table.txt"), NO_FILE),
    "an asset that is missing": (rename_asset(lambda path: "none.txt"), NO_FILE),
    "an asset with a null character": (rename_asset(lambda path: "\0"), NO_FILE),
    "a linked asset": (link_asset, "assets/words of the table.txt is a link"),
    "a linked folder": (link_folder, "assets is a link"),
    "a constant": (read_constant, FILLED),
    "a bound constant": (bind_constant, FILLED),
    "a disguised constant": (lambda path: bind_constant(path, disguised=True), FILLED),
    "a call with another file": (call_initializer, FILLED),
    "an initializer that replaces others": (replace_initializer, FILLED),
    "a computed name": (compute_name, FILLED),
    "a call by another operator": (call_in_case, FILLED),
    "a call by another operator with an asset": (change_wrapper(call_one_of_several), FILLED),
    "a call with two functions": (change_wrapper(call_another_function), FILLED),
    "a call without inputs": (call_without_inputs, FILLED),
    "an input of the caller": (
        in_initializer(
            lambda each, graph: graph.object_graph_def.concrete_functions[each.signature.name].bound_inputs.pop()
        ),
        FILLED,
    ),
    "no inputs": (
        in_initializer(lambda each, graph: graph.object_graph_def.concrete_functions.pop(each.signature.name)),
        FILLED,
    ),
    "an object that does not exist": (
        in_initializer(
            lambda each, graph: graph.object_graph_def.concrete_functions[each.signature.name].bound_inputs.__setitem__(
                0, 999
            )
        ),
        FILLED,
    ),
    "an input that is a list": (
        in_initializer(lambda each, graph: setattr(each.signature.input_arg[1], "number_attr", "N")),
        FILLED,
    ),
    "a circle": (in_initializer(read_in_a_circle), "not a SavedModel"),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(name: str, tmp_path: Path, export: Export) -> None:
    """A look-up table is filled from a file only if this is an asset of the SavedModel, in its own folder."""
    change, message = TABLES[name]
    path = with_table(tmp_path / "saved")
    change(path)
    if (tmp_path / "secret.txt").exists() and name != "a call with another file":
        handle = tf.saved_model.load(str(path)).table.resource_handle
        words, _ = tf.raw_ops.LookupTableExportV2(table_handle=handle, Tkeys=tf.string, Tvalues=tf.int64)
        assert words.numpy().tolist() == [b"secret"]
    assert message in export(path)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_tables_of_honest_models(times: int, tmp_path: Path) -> None:
    """A table is filled from an asset, also if the model was loaded and saved again, which nests its initializer."""
    path = with_table(tmp_path / "saved")
    for _ in range(times - 1):
        save_again(path)
    with open_saved_model(path) as opened:
        assert opened.loaded.table._initializer is not None


def link_graphs(path: Path) -> str:
    (path / "saved_model.pb").rename(path.parent / "elsewhere")
    (path / "saved_model.pb").symlink_to(path.parent / "elsewhere")
    return "saved_model.pb is a link"


def link_variables(path: Path) -> str:
    (path / "variables").rename(path.parent / "elsewhere")
    (path / "variables").symlink_to(path.parent / "elsewhere")
    return "variables is a link"


def link_variable(path: Path) -> str:
    (path / "variables" / "variables.index").rename(path.parent / "elsewhere")
    (path / "variables" / "variables.index").symlink_to(path.parent / "elsewhere")
    return "variables/variables.index is a link"


def add_pipe(path: Path) -> str:
    os.mkfifo(path / "variables" / "pipe")
    return "variables/pipe is a link or another special file"


def cut(path: Path) -> str:
    content = (path / "saved_model.pb").read_bytes()
    (path / "saved_model.pb").write_bytes(content[: len(content) // 2])
    return "not a SavedModel"


def enlarge(path: Path) -> str:
    os.truncate(path / "saved_model.pb", 2**31)
    return "saved_model.pb has more than 2 GiB"


def empty(path: Path) -> str:
    (path / "saved_model.pb").write_bytes(b"")
    return "this SavedModel has 0 meta graphs"


def nest(path: Path) -> str:
    """Nest attributes deeper than protobuf reads."""

    def change(content: Any) -> None:
        value = function(content, SIGNATURE).node_def[0].attr["own"]
        for _ in range(90):
            value = value.func.attr["own"]

    changed(path, change)
    return "not a SavedModel"


@pytest.mark.parametrize("change", [link_graphs, link_variables, link_variable, add_pipe, cut, enlarge, empty, nest])
def test_files(change: Callable[[Path], str], tmp_path: Path, export: Export) -> None:
    """A SavedModel with links or special files, or with a malformed file, is refused."""
    path = saved(tmp_path / "saved")
    message = change(path)
    assert message in export(path)


def test_a_link_that_replaces_a_file(tmp_path: Path, export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that becomes a link after it was looked at is not copied."""
    path = saved(tmp_path / "saved")
    link_variable(path)
    monkeypatch.setattr(Path, "lstat", Path.stat)
    assert "variables.index" in export(path)


def test_other_files_are_not_read(tmp_path: Path, marker: Path, export: Export) -> None:
    """Only `saved_model.pb` is loaded, whatever other files are in its folder."""
    path, attack = saved(tmp_path / "saved"), saved(tmp_path / "attack", write, marker)
    content = (attack / "saved_model.pb").read_bytes()
    (path / "saved_model.pbtxt").write_text(text_format.MessageToString(SavedModel.FromString(content)))
    for name in ("saved_model.cpb", "fingerprint.pb", "keras_metadata.pb"):
        (path / name).write_bytes(content)
    export(path, 0)


def test_a_model_in_text_alone(tmp_path: Path, marker: Path, export: Export) -> None:
    """A folder with `saved_model.pbtxt` alone, which TensorFlow would load, is no SavedModel."""
    path = saved(tmp_path / "saved", write, marker)
    content = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    (path / "saved_model.pbtxt").write_text(text_format.MessageToString(content))
    (path / "saved_model.pb").unlink()
    assert runs(path, marker)
    assert "saved" in export(path)


def test_a_file_that_changes(tmp_path: Path, marker: Path, export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both loads read the file that was checked, although it changes in the meantime."""
    path, attack = saved(tmp_path / "saved"), saved(tmp_path / "attack", write, marker)
    check = inspection.check_operators

    def check_and_change(*arguments: Any) -> None:
        check(*arguments)
        (attack / "saved_model.pb").rename(path / "saved_model.pb")

    monkeypatch.setattr(saved_model, check.__name__, check_and_change)
    export(path, 0)
    assert runs(path, marker)


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_a_saved_model_in_a_keras_file(name: str, tmp_path: Path, marker: Path, export: Export) -> None:
    """A Keras file with a layer that loads a SavedModel is refused."""
    attack = saved(tmp_path / "attack", write, marker)
    layer = layers.TFSMLayer(str(attack), call_endpoint="serving_default", name="foreign")
    inputs = keras.Input((LENGTH,), dtype="int32")
    keras.Model(inputs, next(iter(layer(inputs).values()))).save(tmp_path / name)
    assert runs(attack, marker)
    assert "TFSMLayer" in export(tmp_path / name)


@pytest.mark.parametrize(
    "body",
    [
        lambda: layers.Bidirectional(layers.GRU(3)),
        lambda: layers.Bidirectional(layers.LSTM(3, dropout=0.2, recurrent_dropout=0.2)),
        lambda: layers.SimpleRNN(3),
    ],
)
def test_recurrent_layers(body: Callable[[], Any], tmp_path: Path) -> None:
    """Recurrent layers over texts, with masks and a table from a file, are loaded."""
    (tmp_path / "words.txt").write_text("\n".join(WORDS))
    texts = layers.TextVectorization(output_sequence_length=LENGTH, vocabulary=str(tmp_path / "words.txt"))
    chain = [texts, layers.Embedding(ROWS, 4, mask_zero=True), body(), layers.Dense(1, "sigmoid")]
    model = keras.Sequential([keras.Input((1,), dtype="string"), *chain])
    model.export(tmp_path / "saved", verbose=False)
    with open_saved_model(tmp_path / "saved") as opened:
        [answers] = opened.signature(tf.constant([["a good film"]])).values()
    np.testing.assert_allclose(answers, model(tf.constant([["a good film"]])), atol=1e-6)


def test_attention(tmp_path: Path) -> None:
    """A transformer block is loaded."""
    ids = keras.Input((LENGTH,), dtype="int32")
    words = layers.Embedding(ROWS, 4, mask_zero=True)(ids)
    block = layers.LayerNormalization()(layers.Add()([words, layers.MultiHeadAttention(2, 2)(words, words)]))
    answer = layers.Dense(1, "sigmoid")(layers.GlobalAveragePooling1D()(layers.Dense(4, "gelu")(block)))
    keras.Model(ids, answer).export(tmp_path / "saved", verbose=False)
    with open_saved_model(tmp_path / "saved"):
        pass


def test_allowed_operators() -> None:
    """Every operator of the lists is one of TensorFlow's, and is listed for one purpose."""
    assert not ALLOWED & SAVER
    assert FILE_TABLE not in ALLOWED
    for name in (*ALLOWED, *SAVER, FILE_TABLE):
        assert op_def_registry.get(name) is not None, name
