"""TensorFlow Serving's REST form, which KServe v1 and Vertex AI send as well.

Sources: TensorFlow Serving's api_rest.md, KServe's v1 protocol, Vertex AI's custom container requirements.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from fastapi import Request
from pydantic import BaseModel

from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.server.http.request import Answer
from sentiment_conv1d.service.errors import Invalid
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.protocols.tfserving.description import (
    OUTPUTS,
    check_signature,
    model_status,
    signature_map,
)
from sentiment_conv1d.service.rest.endpoint import EXAMPLE, EndpointRequest, LenientBody, model_headers, parse, to_json
from sentiment_conv1d.service.rest.protocol import PlainProtocol, state_of
from sentiment_conv1d.service.scheduling.work import Work
from sentiment_conv1d.service.telemetry.request_context import RequestContext


class TfServingRequest(LenientBody):
    """Texts as rows (`instances`) or as a column (`inputs`)."""

    signature_name: str | None = None
    instances: list[Any] | None = None
    inputs: Any = None


class RowPrediction(BaseModel):
    """The answer for one row."""

    label: str
    score: float
    probabilities: list[float]


class TfServingResponse(BaseModel):
    """`predictions` for rows, `outputs` for a column."""

    predictions: list[RowPrediction] | None = None
    outputs: dict[str, list[Any]] | None = None


class TfServingExamples(LenientBody):
    """Examples with the feature `text`. Their `context` is not read, as over gRPC."""

    signature_name: str | None = None
    examples: list[Any]


class TfServingResult(BaseModel):
    """For each example, every label with its probability, in the order of the labels."""

    result: list[list[list[str | float]]]


PROTOCOL = PlainProtocol("TensorFlow Serving")

#: The description of `predict` in the OpenAPI document, without the summary.
SHAPES = (TfServingRequest, TfServingResponse, {"instances": [EXAMPLE]})

_CLASSIFICATION = (TfServingExamples, TfServingResult, {"examples": [{"text": EXAMPLE}]})

_SUMMARY = "TensorFlow Serving, KServe v1 and Vertex AI: predict"
_CLASSIFY = "TensorFlow Serving: classify"


@PROTOCOL.endpoint("/v1/models/{model}:predict", _SUMMARY, *SHAPES)
@PROTOCOL.endpoint("/v1/models/{model}/versions/{version}:predict", _SUMMARY, *SHAPES)
@PROTOCOL.endpoint("/v1/models/{model}/labels/{version}:predict", _SUMMARY, *SHAPES)
def predict(state: ServiceState, request: EndpointRequest) -> Work[Answer]:
    """Rows or a column of texts; a text is a string, `{"text": …}` or `{"b64": …}`."""
    return predict_texts(
        state, request.context, parse(TfServingRequest, request.body, state.dataplane), **request.parameters
    )


@PROTOCOL.endpoint("/v1/models/{model}:classify", _CLASSIFY, *_CLASSIFICATION)
@PROTOCOL.endpoint("/v1/models/{model}/versions/{version}:classify", _CLASSIFY, *_CLASSIFICATION)
@PROTOCOL.endpoint("/v1/models/{model}/labels/{version}:classify", _CLASSIFY, *_CLASSIFICATION)
def classify(state: ServiceState, request: EndpointRequest) -> Work[Answer]:
    """Examples with the feature `text`, which has the forms of a text of `:predict`."""
    body = parse(TfServingExamples, request.body, state.dataplane)
    check_signature(body.signature_name)
    texts = _texts(state, "examples", body.examples)
    classifier = state.models.get(request.parameters["model"], request.parameters.get("version", ""))

    def answer(predictions: list[Prediction]) -> Answer:
        classes = [list(zip(classifier.labels, each.probabilities, strict=True)) for each in predictions]
        return Answer(to_json({"result": classes}), headers=model_headers(classifier.manifest))

    return state.dataplane.read_texts(request.context, classifier, texts, answer)


@PROTOCOL.post("/v1/models/{model}:regress", include_in_schema=False)
@PROTOCOL.post("/v1/models/{model}/versions/{version}:regress", include_in_schema=False)
@PROTOCOL.post("/v1/models/{model}/labels/{version}:regress", include_in_schema=False)
async def regress(model: str, version: str = "") -> None:
    """Refuse a regression, as TensorFlow Serving does for a model without such a signature."""
    raise Invalid("the models have no signature for regression: use :predict or :classify")


@PROTOCOL.get("/v1/models/{model}/metadata", summary="TensorFlow Serving: signatures")
@PROTOCOL.get("/v1/models/{model}/versions/{version}/metadata", include_in_schema=False)
@PROTOCOL.get("/v1/models/{model}/labels/{version}/metadata", include_in_schema=False)
async def metadata(request: Request, model: str, version: str = "") -> dict[str, Any]:
    """Return the signature of the model in the form of TensorFlow Serving."""
    manifest = state_of(request).models.get(model, version).manifest
    return {
        "model_spec": {"name": manifest.name, "signature_name": "", "version": str(manifest.version)},
        "metadata": {"signature_def": signature_map(manifest)},
    }


@PROTOCOL.get("/v1/models/{model}/versions/{version}", summary="TensorFlow Serving: status of a version")
@PROTOCOL.get("/v1/models/{model}/labels/{version}", include_in_schema=False)
async def version_status(request: Request, model: str, version: str) -> dict[str, Any]:
    """Return the state of a version."""
    return model_status(state_of(request).models, model, version)


def predict_texts(
    state: ServiceState, context: RequestContext, body: TfServingRequest, model: str = "", version: str = ""
) -> Work[Answer]:
    """Return the work of a `:predict` body. Raises `RequestError`."""
    rows = body.instances is not None
    if rows == (body.inputs is not None):
        raise Invalid("exactly one of instances and inputs is needed")
    check_signature(body.signature_name)
    place, elements = ("inputs", _column(body.inputs)) if body.instances is None else ("instances", body.instances)
    texts = _texts(state, place, elements)
    classifier = state.models.get(model, version)

    def answer(predictions: list[Prediction]) -> Answer:
        document: dict[str, Any]
        if rows:
            document = {"predictions": [{name: getattr(each, name) for name in OUTPUTS} for each in predictions]}
        else:
            document = {"outputs": {name: [getattr(each, name) for each in predictions] for name in OUTPUTS}}
        return Answer(to_json(document), headers=model_headers(classifier.manifest))

    return state.dataplane.read_texts(context, classifier, texts, answer)


def _column(inputs: Any) -> list[Any]:
    if isinstance(inputs, dict) and set(inputs) != {"b64"}:
        if set(inputs) != {"text"}:
            raise Invalid(f"inputs: the one input is text, not {', '.join(map(repr, inputs)) or 'none'}")
        inputs = inputs["text"]
    return inputs if isinstance(inputs, list) else [inputs]


def _texts(state: ServiceState, place: str, elements: list[Any]) -> list[str]:
    state.dataplane.check_count(len(elements))
    return [_text(place, each, number) for number, each in enumerate(elements)]


def _text(place: str, element: Any, number: int) -> str:
    if isinstance(element, list) and len(element) == 1:
        element = element[0]
    if isinstance(element, dict) and set(element) == {"text"}:
        element = element["text"]
    if isinstance(element, list) and len(element) == 1:
        element = element[0]
    if isinstance(element, dict) and set(element) == {"b64"} and isinstance(element["b64"], str):
        try:
            return base64.b64decode(element["b64"], validate=True).decode()
        except (binascii.Error, ValueError):
            raise Invalid(f"{place}.{number}: b64 is not base64 of UTF-8") from None
    if not isinstance(element, str):
        raise Invalid(f'{place}.{number}: a row is a string or {{"text": string}}')
    return element
