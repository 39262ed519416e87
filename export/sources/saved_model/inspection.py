"""What a SavedModel would run, found in its file before TensorFlow loads it.

TensorFlow runs the initializers of a SavedModel while it loads it. It also imports every function and computes what
does not depend on an input, so a function that nothing calls can read files. The attribute `api_implements` replaces
a function by another one that no operator names. So the operators of all functions are checked, not only those that
the signature calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.export.sources.saved_model.allowed import ALLOWED, FILE_TABLE, SAVER
from sentiment_conv1d.export.sources.saved_model.private_copy import ASSETS, GRAPHS

_HINT = "docs/own-models.md says what a SavedModel may contain; save the model as .keras if Keras has all of its layers"

#: The attribute with which TensorFlow replaces a function by another one that has the same value.
_REPLACEABLE = "api_implements"

#: The names of operators that a function must not have, because TensorFlow would call it for the operator.
_OPERATORS = ALLOWED | SAVER | {FILE_TABLE}

#: Operators that call a function with their own inputs, in this order.
_PLAIN_CALLS = ("PartitionedCall", "StatefulPartitionedCall")


def check_operators(path: Path, copy: Path) -> None:
    """Raise `ExportError` if the SavedModel in the folder `copy` contains an operator that is not allowed.

    `path` is its name in messages.
    """
    try:
        content = SavedModel.FromString((copy / GRAPHS).read_bytes())
    except DecodeError as error:
        raise ExportError(f"{path}: not a SavedModel ({error})", "write it with `model.export(folder)`") from error
    graphs = content.meta_graphs
    if not all(graph.HasField("object_graph_def") for graph in graphs):
        raise ExportError(
            f"{path}: TensorFlow 1 wrote this SavedModel, and loading it runs its operators",
            "build the model in Keras, load its weights and save it as .keras",
        )
    for graph in graphs:
        _MetaGraph(path, graph, copy / ASSETS).check()
    if len(graphs) != 1:
        raise ExportError(
            f"{path}: this SavedModel has {len(graphs)} meta graphs instead of one",
            "write it with `model.export(folder)`",
        )


class _MetaGraph:
    """A meta graph: functions, and objects that TensorFlow creates with them."""

    def __init__(self, path: Path, graph: Any, assets: Path) -> None:
        self._path, self._graph, self._assets = path, graph, assets
        self._objects = graph.object_graph_def
        self._library = graph.graph_def.library.function
        self._functions = {each.signature.name: each for each in self._library}
        self._is_of_keras = any(map(_is_model, self._objects.nodes[:1]))
        self._loaded = set(self._object_functions())
        called = set(_functions_of(graph.graph_def.node))
        self._savers = called - self._loaded - set(self._called_by_functions())

    def check(self) -> None:
        """Raise `ExportError` for a file, a function or an operator that is not allowed."""
        for asset in self._graph.asset_file_def:
            if not self._is_file(asset.filename):
                raise ExportError(f"{self._path}: {asset.filename!r} is no file in its folder {ASSETS}", _HINT)
        if len(self._functions) != len(self._library) or not _OPERATORS.isdisjoint(self._functions):
            raise ExportError(
                f"{self._path}: a function of this SavedModel has the name of another one, or of an operator", _HINT
            )
        self._check_nodes(self._graph.graph_def.node, "")
        for name, function in self._functions.items():
            self._check_nodes(function.node_def, name)

    def _is_file(self, name: str) -> bool:
        """Return whether a name leads to a file in the folder of assets, which contains no links."""
        asset = PurePosixPath(name)
        return not asset.is_absolute() and ".." not in asset.parts and (self._assets / asset).is_file()

    def _check_nodes(self, nodes: Any, function: str) -> None:
        """Check the operators of a function, or those outside of functions, which TensorFlow does not run."""
        allowed = ALLOWED if function and function not in self._savers else ALLOWED | SAVER
        for node in nodes:
            where = f"{self._path}: its operator {node.op}{self._place(node, function)}"
            if node.op == FILE_TABLE and function:
                if not self._reads_asset(function, "".join(node.input[1:2])):
                    raise ExportError(f"{where} reads a file that is no asset of this SavedModel", _HINT)
            elif node.op not in allowed:
                raise ExportError(f"{where} is not one of those that only compute, so it is not loaded", _HINT)
            for called in _functions(node.attr):
                if called not in self._functions:
                    raise ExportError(f"{where} calls {called}, which is not one of its functions", _HINT)

    def _place(self, node: Any, function: str) -> str:
        """Return where an operator is. Keras begins the name of an operator with those of the model and the layer."""
        scope = node.name.split("/")[:-1]
        layer = f" of layer {'/'.join(scope[:2])}" if self._is_of_keras and len(scope) > 1 else ""
        return f"{layer} in function {function}" if function else layer

    def _object_functions(self) -> Iterator[str]:
        """Yield the functions that TensorFlow gives to objects, or registers as gradients."""
        yield from self._objects.concrete_functions
        for each in self._objects.nodes:
            yield from each.function.concrete_functions
            yield each.bare_concrete_function.concrete_function_name
            yield each.captured_tensor.concrete_function
        library = self._graph.graph_def.library
        for gradient in (*library.gradient, *library.registered_gradients):
            yield gradient.gradient_func

    def _called_by_functions(self) -> Iterator[str]:
        """Yield the functions that others call or replace."""
        for function in self._library:
            yield from _functions(function.attr)
            yield from _functions_of(function.node_def)
            if _REPLACEABLE in function.attr:
                yield function.signature.name

    def _reads_asset(self, function: str, tensor: str) -> bool:
        """Return whether a tensor of a function is always the name of an asset, whoever calls the function."""
        waiting, seen = [(function, tensor)], set[tuple[str, str]]()
        while waiting:
            each = waiting.pop()
            if each in seen:
                continue
            seen.add(each)
            sources = self._sources(*each)
            if sources is None:
                return False
            waiting += sources
        return True

    def _sources(self, name: str, tensor: str) -> list[tuple[str, str]] | None:
        """Return the tensors from which another one is copied: none if it is an asset, None if it may be anything."""
        function, producer = self._functions[name], tensor.partition(":")[0]
        for node in function.node_def:
            if node.name == producer:
                return [(name, node.input[0])] if node.op == "Identity" and node.input else None
        arguments = function.signature.input_arg
        names = [each.name for each in arguments]
        has_lists = any(each.number_attr or each.type_list_attr for each in arguments)
        if producer not in names or has_lists or _REPLACEABLE in function.attr:
            return None
        index, found = names.index(producer), []
        if name in self._loaded:
            bound = self._objects.concrete_functions[name].bound_inputs  # the objects that are its last inputs
            number = index - len(names) + len(bound)
            if number < 0 or not self._is_asset(bound[number]):
                return None
        for caller in self._library:
            for node in caller.node_def:
                called = list(_functions(node.attr))
                if name not in called:
                    continue
                if node.op not in _PLAIN_CALLS or called != [name] or index >= len(node.input):
                    return None
                found.append((caller.signature.name, node.input[index]))
        return found

    def _is_asset(self, number: int) -> bool:
        """Return whether an object is an asset. TensorFlow creates one with a registered name differently."""
        each = self._objects.nodes[number] if 0 <= number < len(self._objects.nodes) else None
        return each is not None and each.WhichOneof("kind") == "asset" and not each.registered_name


def _is_model(node: Any) -> bool:
    """Return whether an object is a model of Keras 2, or what `model.export` of Keras 3 writes."""
    children = {child.local_name for child in node.children}
    return node.user_object.identifier.startswith("_tf_keras") or "_misc_assets" in children


def _functions_of(nodes: Iterable[Any]) -> Iterator[str]:
    """Yield the names of the functions that operators call."""
    for node in nodes:
        yield from _functions(node.attr)


def _functions(attributes: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the functions in attributes, which can have attributes with functions themselves."""
    for value in attributes.values():
        for function in (value.func, *value.list.func):
            if function.name:
                yield function.name
            yield from _functions(function.attr)
