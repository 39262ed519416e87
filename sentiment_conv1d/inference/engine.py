"""Runs a graph with ONNX Runtime, on the chosen execution provider."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime

from sentiment_conv1d.artifact.graphs import onnx_subset_pb2 as onnx
from sentiment_conv1d.artifact.input_shape import InputShape, Rows
from sentiment_conv1d.inference.errors import ProviderError
from sentiment_conv1d.inference.graph_file import GraphFileError, parse_self_contained
from sentiment_conv1d.inference.options import ProviderChoice
from sentiment_conv1d.inference.provider import CPU, CUDA, missing_gpu
from sentiment_conv1d.inference.rewriting import pads_freely, rewrite
from sentiment_conv1d.native.compilation import LIBRARY

logger = logging.getLogger(__name__)

#: TF32 would round factors to 10 bits, and the answers would differ from those of the CPU in the third digit. The arena
#: option limits the memory to what the shapes need. The heuristic search of algorithms shortens the start.
_CUDA_OPTIONS = {
    "use_tf32": "0",
    "arena_extend_strategy": "kSameAsRequested",
    "cudnn_conv_algo_search": "HEURISTIC",
}

_FATAL_ONLY = 4

#: The value of `Engine.operator` if it is used.
NATIVE = "native"

#: Shapes with preallocated memory, 2 to 4 kB each. 30,000 reviews in batches of 32 have 1,250 shapes. With the native
#: operator they have at most 32 kB each, but there are few.
_MOST_SHAPES = 2048

_RUN_OPTIONS = onnxruntime.RunOptions()


class GraphError(Exception):
    """ONNX Runtime cannot open or run the graph, or the graph has the wrong inputs or outputs."""


class Engine:
    """A graph and its session.

    Several threads can call `run` at once. On the CPU, a folded graph uses the native operator of `library`, if that
    exists. Raises `GraphError` if the graph cannot be opened, and `ProviderError` if the requested execution provider
    does not work on this machine.
    """

    def __init__(
        self,
        graph: bytes,
        shape: InputShape,
        *,
        provider: ProviderChoice = "cpu",
        threads: int = 1,
        device: int = 0,
        library: Path | None = LIBRARY,
    ) -> None:
        self._fill = shape.fill
        self._device_number = device
        self._slots: dict[tuple[int, int], list[_Slot | _DeviceSlot]] = {}
        opened = _choose(graph, provider, threads, device, library)
        self.provider, self._session = opened.provider, opened.session
        #: `native`, or why the native operator is not used.
        self.operator = opened.operator
        #: Whether padding takes next to no time: see `rewriting.pads_freely`.
        self.pads_freely = opened.pads_freely
        #: The device of the session: cpu or cuda.
        self.device = "cuda" if self.provider == CUDA else "cpu"

    @property
    def sequence_length(self) -> int | None:
        """The sequence length if the graph fixes it, otherwise None."""
        columns = self._session.get_inputs()[0].shape[1]
        return columns if isinstance(columns, int) else None

    def run(self, rows: Rows, sequence_length: int, height: int = 0) -> npt.NDArray[np.float32]:
        """Return the probabilities, float32 [rows, 1] or [rows, labels], of rows of at most `sequence_length` ids.

        The graph gets them as int32 [rows, sequence_length], padded, with at least `height` rows. Raises `GraphError`.
        """
        shape = max(len(rows), height), sequence_length
        try:
            slot = self._take_slot(shape)
            self._fill(slot.tokens, rows)
            probabilities = slot.run()
        except Exception as error:
            # ONNX Runtime raises a dozen unrelated classes, including RuntimeError.
            raise GraphError(f"ONNX Runtime cannot run the graph: {error}") from error
        self._slots.setdefault(shape, []).append(slot)
        return probabilities

    def _take_slot(self, shape: tuple[int, int]) -> _Slot | _DeviceSlot:
        """Take memory that no other thread uses, so that threads do not wait for each other."""
        try:
            return self._slots[shape].pop()
        except LookupError:
            pass
        if len(self._slots) >= _MOST_SHAPES:
            self._slots.clear()
        if self.provider == CUDA:
            return _DeviceSlot(self._session, shape, self._device_number)
        return _Slot(self._session, shape)


class _Slot:
    """Memory for the ids and the probabilities of one shape, bound to the session.

    A run with bound memory allocates nothing, which takes 8 us less for a short text than `InferenceSession.run`.
    """

    def __init__(self, session: Any, shape: tuple[int, int]) -> None:
        self.tokens: npt.NDArray[np.int32] = np.zeros(shape, np.int32)
        self._probabilities = np.zeros((shape[0], session.get_outputs()[0].shape[1]), np.float32)
        # On the CPU, an OrtValue created from an array shares the memory of the array.
        self._values = [onnxruntime.OrtValue.ortvalue_from_numpy(each) for each in (self.tokens, self._probabilities)]
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input("tokens", self._values[0])
        self._binding.bind_ortvalue_output("probabilities", self._values[1])
        # This bypasses the argument checks of `run_with_iobinding`, which always pass here.
        self._run = partial(session._sess.run_with_iobinding, self._binding._iobinding, _RUN_OPTIONS)

    def run(self) -> npt.NDArray[np.float32]:
        """Return the probabilities for `tokens`."""
        self._run()
        return self._probabilities.copy()


class _DeviceSlot:
    """Memory for one shape on a GPU. A run copies the ids to the GPU and the probabilities back."""

    def __init__(self, session: Any, shape: tuple[int, int], device: int) -> None:
        self.tokens: npt.NDArray[np.int32] = np.zeros(shape, np.int32)
        self._on_device = onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, np.int32, "cuda", device)
        self._session = session
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input("tokens", self._on_device)
        self._binding.bind_output("probabilities", "cuda", device)

    def run(self) -> npt.NDArray[np.float32]:
        """Return the probabilities for `tokens`."""
        self._on_device.update_inplace(self.tokens)
        self._session.run_with_iobinding(self._binding)
        probabilities: npt.NDArray[np.float32] = self._binding.get_outputs()[0].numpy()
        return probabilities


class _Opened(NamedTuple):
    """A session, and the values of the attributes of `Engine`."""

    provider: str
    session: Any
    operator: str
    pads_freely: bool = False


def _choose(graph: bytes, provider: ProviderChoice, threads: int, device: int, library: Path | None) -> _Opened:
    """Open a session on the requested execution provider. `auto` falls back to the CPU if CUDA does not work."""
    if provider != "cpu":
        try:
            return _Opened(CUDA, _open_on_cuda(graph, threads, device), "it does not run on a GPU")
        except GraphError as problem:
            if provider == "cuda":
                raise ProviderError(
                    f"the CUDA execution provider was requested but does not work here: {problem}"
                ) from problem
            report(str(problem))
    return _open_on_cpu(graph, threads, library)


@cache
def report(problem: str) -> None:
    """Log once per process why the service runs on the CPU."""
    logger.info("running on the CPU: %s", problem)


def _load(graph: bytes, options: Any, providers: list[Any]) -> Any:
    """Return a session of a graph, from a file in memory if the system has these.

    ONNX Runtime parses a file in a third of the time that it takes for bytes, and its Python class keeps the bytes.
    """
    if not hasattr(os, "memfd_create"):
        return onnxruntime.InferenceSession(graph, options, providers=providers)
    with open(os.memfd_create("graph"), "wb") as file:  # noqa: PTH123 - it has no path
        file.write(graph)
        file.flush()
        return onnxruntime.InferenceSession(f"/proc/self/fd/{file.fileno()}", options, providers=providers)


def _open_on_cpu(graph: bytes, threads: int, library: Path | None) -> _Opened:
    """Open a session with the native operator, or else of the graph as it is. Raises `GraphError`."""
    model = _parse(graph)
    if library is None:
        reason = "it is turned off"
    elif not library.exists():
        reason = "this installation does not contain it"
    elif not rewrite(model):
        reason = "the graph is not folded"
    else:
        try:
            session = _open(model.SerializeToString(), [CPU], threads, library)
        except GraphError as error:
            reason = str(error)
        else:
            return _Opened(CPU, session, NATIVE, pads_freely(model))
    return _Opened(CPU, _open(graph, [CPU], threads), reason)


def _parse(graph: bytes) -> onnx.Model:
    try:
        return parse_self_contained(graph)
    except GraphFileError as error:
        raise GraphError(str(error)) from error


def _open(graph: bytes, providers: list[Any], threads: int, library: Path | None = None) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # By default, ONNX Runtime also opens its own format, whose references to other files nothing here checks.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        if library is not None:
            options.register_custom_ops_library(str(library))
        session = _load(graph, options, providers)
    except Exception as error:
        raise GraphError(f"ONNX Runtime cannot open the graph: {error}") from error
    names = ([each.name for each in session.get_inputs()], [each.name for each in session.get_outputs()])
    if names != (["tokens"], ["probabilities"]):
        raise GraphError(f"the graph must map tokens to probabilities, not {names[0]} to {names[1]}")
    tokens = session.get_inputs()[0]
    if tokens.type != "tensor(int32)" or len(tokens.shape) != 2:
        raise GraphError(f"the graph must take int32 [batch, sequence_length], not {tokens.type} {tokens.shape}")
    probabilities = session.get_outputs()[0]
    if probabilities.type != "tensor(float)" or [type(size) for size in probabilities.shape[1:]] != [int]:
        answers = f"{probabilities.type} {probabilities.shape}"
        raise GraphError(f"the graph must return float32 [batch, outputs] with a fixed output count, not {answers}")
    return session


def _open_on_cuda(graph: bytes, threads: int, device: int) -> Any:
    """Open a session on the GPU. Raises `GraphError` with the reason if it does not work."""
    if CUDA not in onnxruntime.get_available_providers():
        raise GraphError("this onnxruntime was built without CUDA; install onnxruntime-gpu instead")
    _parse(graph)
    _preload_cuda()
    # If CUDA cannot be loaded, the session logs a long error and falls back to the CPU, so the code checks which
    # execution provider the session uses.
    onnxruntime.set_default_logger_severity(_FATAL_ONLY)
    try:
        session = _open(graph, [(CUDA, {"device_id": str(device), **_CUDA_OPTIONS}), CPU], threads)
    finally:
        onnxruntime.set_default_logger_severity(2)
    if session.get_providers()[0] == CUDA:
        return session
    libraries = "onnxruntime-gpu is installed, but the CUDA or cuDNN libraries it needs could not be loaded"
    raise GraphError(missing_gpu(device) or libraries)


def _preload_cuda() -> None:
    """Load the CUDA libraries of pip packages, which the dynamic loader does not find, or those of the system."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        onnxruntime.preload_dlls()
    for line in printed.getvalue().splitlines():
        logger.debug("%s", line)
