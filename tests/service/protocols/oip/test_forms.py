"""A request gets the same answer or error in every form of the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.processes import ServerProcess
from tests.service.protocols.oip.bodies import text_input
from tests.service.protocols.oip.forms import TEXTS, Answer, Form, Item, native_outputs, rest, rpc


@pytest.fixture(params=["JSON", "binary", "typed", "raw"])
def form(request: pytest.FixtureRequest, server: ServerProcess, oip: Any) -> Form:
    """Return each form."""
    if request.param in ("JSON", "binary"):
        return rest(server, binary=request.param == "binary")
    return rpc(oip, raw=request.param == "raw")


@pytest.fixture(scope="module")
def expected(server: ServerProcess) -> dict[str, list[Any]]:
    """Return the elements of every output for `TEXTS`, from the native route."""
    return native_outputs(server, *TEXTS)


def infer(form: Form, *inputs: Item, outputs: Sequence[Item] = ()) -> Answer:
    """Send a request that must be answered."""
    answer = form(*inputs, outputs=outputs)
    assert isinstance(answer, Answer), answer
    return answer


def tokens(shape: list[int], ids: list[int], **changes: Any) -> Item:
    """Build the input `tokens`. `changes` are other fields or values."""
    return {"name": "tokens", "shape": shape, "datatype": "INT32", "data": ids} | changes


def test_all_outputs(form: Form, expected: dict[str, list[Any]]) -> None:
    """An answer has every output, for texts of shape [batch, 1] and of shape [batch]."""
    answer = infer(form, text_input(*TEXTS))
    assert answer.shapes == [("label", "BYTES", [3, 1]), ("score", "FP32", [3, 1]), ("probabilities", "FP32", [3, 2])]
    assert answer.elements == expected
    flat = infer(form, text_input(*TEXTS, shape=[3]))
    assert [shape for *_, shape in flat.shapes] == [[3], [3], [3, 2]]
    assert flat.elements == expected


def test_tokens(form: Form, server: ServerProcess) -> None:
    """Ids have the same answer in every form."""
    given = tokens([2, 3], [1, 17, 4, 4999, 0, 2])
    elements = infer(form, given).elements
    assert len(elements["label"]) == 2
    assert elements == {
        name: pytest.approx(values, abs=1e-6) if name != "label" else values
        for name, values in infer(rest(server, binary=False), given).elements.items()
    }


def test_outputs(form: Form, expected: dict[str, list[Any]]) -> None:
    """The answer has exactly the requested outputs, in the requested order."""
    wished = ["score", "probabilities", "label"]
    answer = infer(form, text_input(*TEXTS), outputs=[{"name": name} for name in wished])
    assert list(answer.elements) == wished
    assert answer.elements == expected


def test_classification(form: Form, expected: dict[str, list[Any]]) -> None:
    """An output can be requested as classes."""
    wish = {"name": "probabilities", "parameters": {"classification": 1}}
    answer = infer(form, text_input(*TEXTS), outputs=[wish])
    assert answer.shapes == [("probabilities", "BYTES", [3, 1])]
    assert [each.split(":")[2] for each in answer.elements["probabilities"]] == expected["label"]


@pytest.mark.parametrize(
    ("inputs", "outputs", "reason"),
    [
        ([], [], "one of the inputs text and tokens is needed"),
        ([text_input("x", name="😀" * 100_000)], [], "there is no input '😀"),
        ([text_input("x"), tokens([1, 1], [1]), text_input("x", name="other")], [], "there is no input 'other'"),
        ([text_input("x", datatype="FP32")], [], "has datatype BYTES, not FP32"),
        ([text_input("x", shape=[1] * 100_000)], [], "has shape [batch, 1] or [batch], not [1, 1"),
        ([tokens([1, 401], [0] * 401)], [], "401 ids per text"),
        ([text_input("x")], [{"name": name} for name in ("label", "score", "probabilities", "logits")], "no output"),
        ([text_input("x")], [{"name": "probabilities", "parameters": {"classification": -1}}], "a whole number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused(form: Form, inputs: list[Item], outputs: list[Item], reason: str) -> None:
    """An invalid request is refused with a short reason, and the next request is answered."""
    message = form(*inputs, outputs=outputs)
    assert isinstance(message, str) and reason in message and len(message) <= 500
    assert infer(form, text_input("x")).elements
