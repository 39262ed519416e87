"""Routes that cloud platforms require of a container: SageMaker's two, and those that Vertex AI sets by variables.

Sources: SageMaker's "your own inference code", Vertex AI's "custom container requirements".
"""

from __future__ import annotations

from collections.abc import Iterable

from fastapi.routing import APIRoute
from pydantic import RootModel

from sentiment_conv1d.server.errors import Malformed
from sentiment_conv1d.server.http.request import Answer
from sentiment_conv1d.service.errors import Invalid, StartupError
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.protocols.huggingface import rest as huggingface
from sentiment_conv1d.service.protocols.tfserving import rest as tfserving
from sentiment_conv1d.service.rest import page
from sentiment_conv1d.service.rest.endpoint import EXAMPLE, EndpointRequest, Texts, parse
from sentiment_conv1d.service.rest.protocol import PlainProtocol, RestProtocol
from sentiment_conv1d.service.scheduling.dataplane import DataPlane
from sentiment_conv1d.service.scheduling.work import Work
from sentiment_conv1d.service.settings import Settings, named

#: Hugging Face's route, which is also what most users of Vertex AI choose. No other route can be replaced.
REPLACED_ROUTE = "/predict"


class InvocationRequest(tfserving.TfServingRequest):
    """Texts in `inputs`, as for Hugging Face's containers, or in `instances`, as for TensorFlow's."""

    inputs: Texts = None
    parameters: huggingface.ClassificationParameters | None = None


class InvocationResponse(
    RootModel[list[huggingface.Scored] | list[list[huggingface.Scored]] | tfserving.TfServingResponse]
):
    """For `inputs` and plain text, the labels of each text. For `instances`, `predictions`."""


SAGEMAKER = PlainProtocol("Clouds")
SAGEMAKER.probe("/ping", "SageMaker: readiness")


@SAGEMAKER.endpoint(
    "/invocations",
    "SageMaker: invocations",
    InvocationRequest,
    InvocationResponse,
    {"instances": [EXAMPLE]},
    takes_text=True,
)
def invocations(state: ServiceState, request: EndpointRequest) -> Work[Answer]:
    """Classify a text or several in `inputs`, rows in `instances`, or a body of type `text/plain`."""
    body = _read(request, state.dataplane)
    if body.instances is not None:
        return tfserving.predict_texts(state, request.context, body)
    if body.inputs is None:
        raise Invalid("the body: inputs or instances is needed")
    return huggingface.classify(state, request.context, body.inputs, body.parameters, flat=True)


def _check_routes(settings: Settings, others: Iterable[RestProtocol]) -> None:
    """Raise `StartupError` if a route that Vertex AI sets would replace one of the service's own routes."""
    paths = {page.OPENAPI}
    health: set[str] = set()
    for protocol in others:
        paths |= {route.path for route in protocol.routes if isinstance(route, APIRoute)}
        paths |= {endpoint.path for endpoint in protocol.endpoints}
        health |= protocol.health
    for name, taken in (("predict_route", paths - {REPLACED_ROUTE}), ("health_route", paths - health)):
        if (route := getattr(settings, name)) in taken:
            raise StartupError(f"{named(name)} must not be {route}, which is a route of the service")


def vertex_ai(settings: Settings, others: Iterable[RestProtocol] = ()) -> RestProtocol:
    """Return the routes that Vertex AI sets. They precede all other routes, because they may match the same paths.

    Raises `StartupError` if one of them is a route of the other protocols.
    """
    _check_routes(settings, others)
    protocol = PlainProtocol("Clouds")
    if settings.health_route:
        protocol.probe(settings.health_route, "Vertex AI: readiness")
    if settings.predict_route:
        protocol.endpoint(settings.predict_route, "Vertex AI: predict", *tfserving.SHAPES)(tfserving.predict)
    return protocol


def _read(request: EndpointRequest, dataplane: DataPlane) -> InvocationRequest:
    media_type = request.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type != b"text/plain":
        return parse(InvocationRequest, request.body, dataplane)
    try:
        return InvocationRequest(inputs=request.body.decode())
    except UnicodeDecodeError:
        raise Malformed("the body is not UTF-8") from None
