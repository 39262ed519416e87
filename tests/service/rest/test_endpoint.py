"""The parts of a JSON body are counted exactly before it is parsed."""

from __future__ import annotations

import json
import tracemalloc
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.server.errors import Malformed, TooLarge
from sentiment_conv1d.service.errors import Invalid
from sentiment_conv1d.service.protocols.oip.rest.inference import InferRequest
from sentiment_conv1d.service.rest.endpoint import check_parts, parse
from sentiment_conv1d.service.scheduling.dataplane import ParseLimits

TEXTS = st.text(st.sampled_from('[]{}:,"\\\\n é')) | st.text()
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)


def parts(document: Any) -> tuple[int, int, int]:
    """Return the numbers of fields, lists and objects, of values after commas, and of strings."""
    if isinstance(document, str):
        return 0, 0, 1
    if not isinstance(document, list | dict):
        return 0, 0, 0
    inner = list(document.values()) if isinstance(document, dict) else document
    counts = [parts(each) for each in inner]
    fields, values, strings = (sum(column) for column in zip((0, 0, 0), *counts, strict=True))
    names = len(document) if isinstance(document, dict) else 0
    return 1 + names + fields, max(len(inner) - 1, 0) + values, names + strings


@given(document=JSON, ascii_only=st.booleans())
def test_exact(document: Any, ascii_only: bool) -> None:
    """A body is refused if and only if it has more parts than the limits, for any texts."""
    body = json.dumps(document, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    fields, values, strings = parts(document)
    most = max(fields, strings)
    check_parts(body, ParseLimits(most, values))
    if most:
        with pytest.raises((Invalid, TooLarge), match=f"more than {most - 1} (fields|strings)"):
            check_parts(body, ParseLimits(most - 1, values))
    if values:
        with pytest.raises(Invalid, match=f"or {values - 1} values"):
            check_parts(body, ParseLimits(most, values - 1))


@pytest.mark.parametrize("text", ["," * 1_000_000, "{[" * 500_000, '\\"' * 300_000, '",' * 300_000, "\\" * 500_000])
def test_texts_full_of_marks(text: str) -> None:
    """The content of a text does not count."""
    check_parts(json.dumps({"texts": [text, text]}).encode(), ParseLimits(10, 10))


@pytest.mark.parametrize("repeated", [b"{},", b"[],", b'"",', b"1,", b'"a":0,', b"[[],[]],", b"true,"])
def test_very_many(repeated: bytes) -> None:
    """Millions of small values are refused, and the message states the limit."""
    limits = ParseLimits(16_384, 425_984)
    with pytest.raises((Invalid, TooLarge), match=f"more than {limits.fields} "):
        check_parts(b'{"texts":[' + repeated * 1_000_000, limits)


def test_whole_batches() -> None:
    """The largest legal batches are within the limits, in their most verbose forms."""
    limits = ParseLimits(16_384, 425_984)
    check_parts(json.dumps({"instances": [{"text": {"b64": "YQ=="}}] * 1024}).encode(), limits)
    tokens = {"name": "tokens", "shape": [1024, 400], "datatype": "INT32", "data": [[4999] * 400] * 1024}
    text = {"name": "text", "shape": [1024, 1], "datatype": "BYTES", "data": [["a"]] * 1024}
    check_parts(json.dumps({"id": "1", "inputs": [text, tokens]}).encode(), limits)


def test_errors_of_large_bodies() -> None:
    """A large body is parsed once, however many errors it has, and what is not JSON is malformed."""
    dataplane: Any = SimpleNamespace(limits=ParseLimits(100, 1_000_000))
    numbers = b",".join([b"12345678901234567890"] * 100_000)
    tracemalloc.start()
    with pytest.raises(Invalid, match=r"^inputs\.0\.name: Field required$"):
        parse(InferRequest, b'{"inputs": [{"data": [%b]}]}' % numbers, dataplane)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000  # three fields are missing, and each error would have a copy
    with pytest.raises(Malformed, match=r"^the body is not valid JSON: "):
        parse(InferRequest, b'{"inputs": [%b}' % numbers, dataplane)


def test_parts_of_large_bodies() -> None:
    """A large body is refused for its parts before it is parsed."""
    dataplane: Any = SimpleNamespace(limits=ParseLimits(100, 1_000_000))
    with pytest.raises(Invalid, match="more than 100 fields"):
        parse(InferRequest, b'{"inputs": [' + b"{}," * 10_000, dataplane)  # which is not JSON either


@pytest.mark.parametrize(
    "document", [{"inputs": {}}, {"inputs": [[]]}, {"inputs": [], "parameters": []}, [], {"inputs": [], "id": 1}]
)
def test_messages_about_large_bodies(document: Any) -> None:
    """A large body is refused with the same message as a small one."""
    dataplane: Any = SimpleNamespace(limits=ParseLimits(100, 100))
    small = json.dumps(document).encode()
    messages = []
    for body in (small, small + b" " * 16_384):
        with pytest.raises(Invalid) as caught:
            parse(InferRequest, body, dataplane)
        messages.append(caught.value.message)
    assert messages[0] == messages[1]
