"""The Open Inference Protocol over gRPC, with the extensions that Triton's clients use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
from google.protobuf.json_format import ParseDict

from sentiment_conv1d.artifact.manifest import Manifest
from sentiment_conv1d.protos import inference_pb2 as pb
from sentiment_conv1d.server.grpc.status import as_refusal
from sentiment_conv1d.service.errors import Invalid
from sentiment_conv1d.service.grpc.service import Service, paths
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.protocols.oip import description
from sentiment_conv1d.service.protocols.oip.inference import (
    OUTPUTS,
    InferenceRequest,
    Input,
    Output,
    RequestedOutput,
    infer,
)
from sentiment_conv1d.service.scheduling.work import Work
from sentiment_conv1d.service.telemetry.request_context import RequestContext

_DESCRIPTOR = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]

MODEL_INFER, MODEL_STREAM_INFER = paths(_DESCRIPTOR, "ModelInfer", "ModelStreamInfer")

_MICROSECONDS = 1e-6

#: Inputs and outputs that are read. If there are more, at least one of these has an unknown or repeated name.
_INPUTS, _OUTPUTS = 3, len(OUTPUTS) + 1


@dataclass(eq=False)
class OpenInference:
    """The service `inference.GRPCInferenceService`."""

    _state: ServiceState

    async def ServerLive(self, request: pb.ServerLiveRequest) -> pb.ServerLiveResponse:
        """Return true: the process answers."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest) -> pb.ServerReadyResponse:
        """Return whether the service accepts traffic."""
        return pb.ServerReadyResponse(ready=self._state.ready)

    async def ModelReady(self, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        """Return whether a model, or one version of it, is served."""
        ready = self._state.ready and self._state.models.holds(request.name, request.version)
        return pb.ModelReadyResponse(ready=ready)

    async def ServerMetadata(self, request: pb.ServerMetadataRequest) -> pb.ServerMetadataResponse:
        """Return the server's name, version and extensions."""
        return pb.ServerMetadataResponse(**description.server_metadata())

    async def ModelMetadata(
        self, request: pb.ModelMetadataRequest, context: RequestContext
    ) -> pb.ModelMetadataResponse:
        """Return a model's inputs and outputs."""
        classifier = self._state.models.get(request.name, request.version)
        document = description.model_metadata(classifier, self._state.models.versions(classifier.manifest.name))
        return ParseDict(document, pb.ModelMetadataResponse())

    async def ModelConfig(self, request: pb.ModelConfigRequest, context: RequestContext) -> pb.ModelConfigResponse:
        """Return a model's configuration in Triton's form."""
        classifier = self._state.models.get(request.name, request.version)
        document = description.model_config(classifier, self._state.settings.max_batch_texts)
        return ParseDict({"config": document}, pb.ModelConfigResponse())

    async def ModelStatistics(
        self, request: pb.ModelStatisticsRequest, context: RequestContext
    ) -> pb.ModelStatisticsResponse:
        """Return the counts and durations of one model, or of all models."""
        chosen = self._state.models.select(request.name, request.version)
        document = {"model_stats": [description.model_statistics(each) for each in chosen]}
        return ParseDict(document, pb.ModelStatisticsResponse())

    async def RepositoryIndex(
        self, request: pb.RepositoryIndexRequest, context: RequestContext
    ) -> pb.RepositoryIndexResponse:
        """List every version in the repository, loaded or not."""
        entries = [each for each in await self._state.reconciler.index() if each.state == "READY" or not request.ready]
        return pb.RepositoryIndexResponse(
            models=[pb.RepositoryIndexResponse.ModelIndex(**asdict(each)) for each in entries]
        )

    async def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: RequestContext
    ) -> pb.RepositoryModelLoadResponse:
        """Load the versions in the model's folder that the version policy selects."""
        await self._state.reconciler.load(request.model_name)
        return pb.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: RequestContext
    ) -> pb.RepositoryModelUnloadResponse:
        """Stop serving a model."""
        await self._state.reconciler.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse()

    async def ModelStreamInfer(
        self, request: pb.ModelInferRequest, context: RequestContext
    ) -> pb.ModelStreamInferResponse:
        """Answer one request of a stream. A failed request gets an error message, and the stream continues."""
        try:
            response = await self._state.dataplane.run(self.ModelInfer(request, context))
            return pb.ModelStreamInferResponse(infer_response=response)
        except Exception as error:
            refusal = as_refusal(error, MODEL_STREAM_INFER, context.id)
            # Clients match answers to requests by id, including failed ones.
            nothing = pb.ModelInferResponse(model_name=request.model_name, id=request.id)
            return pb.ModelStreamInferResponse(error_message=refusal.message, infer_response=nothing)

    def ModelInfer(self, message: pb.ModelInferRequest, context: RequestContext) -> Work[pb.ModelInferResponse]:
        """Answer one inference request."""

        def answer(manifest: Manifest, outputs: list[Output]) -> pb.ModelInferResponse:
            return pb.ModelInferResponse(
                model_name=manifest.name,
                model_version=str(manifest.version),
                id=message.id,
                outputs=[
                    pb.ModelInferResponse.InferOutputTensor(name=each.name, datatype=each.datatype, shape=each.shape)
                    for each in outputs
                ],
                # Triton's clients read only the raw form.
                raw_output_contents=[each.raw() for each in outputs],
            )

        return infer(self._state.dataplane, self._state.models, context, _request(message), answer)


SERVICE = Service(
    _DESCRIPTOR,
    OpenInference,
    models=(MODEL_INFER, MODEL_STREAM_INFER),
    polled=paths(_DESCRIPTOR, "ServerLive", "ServerReady", "ModelReady", "ServerMetadata"),
    health=paths(_DESCRIPTOR, "ServerLive", "ServerReady"),
    administration=paths(_DESCRIPTOR, "RepositoryModelLoad", "RepositoryModelUnload"),
)


def _request(message: pb.ModelInferRequest) -> InferenceRequest:
    return InferenceRequest(
        model=message.model_name,
        version=message.model_version,
        inputs=_inputs(message),
        outputs=[
            RequestedOutput(each.name, _whole_number(each.parameters, "classification"))
            for each in message.outputs[:_OUTPUTS]
        ],
        timeout=_whole_number(message.parameters, "timeout") * _MICROSECONDS or None,
    )


def _inputs(message: pb.ModelInferRequest) -> list[Input]:
    raw_contents = message.raw_input_contents
    inputs = message.inputs[:_INPUTS]
    if not raw_contents:
        return list(map(_with_contents, inputs))
    if any(each.HasField("contents") for each in inputs):
        raise Invalid("raw_input_contents and contents must not be mixed")
    if len(raw_contents) != len(message.inputs):
        raise Invalid(f"{len(raw_contents)} raw_input_contents for {len(message.inputs)} inputs")
    return [
        Input(each.name, each.datatype, each.shape, raw=content)
        for each, content in zip(inputs, raw_contents, strict=False)
    ]


def _with_contents(tensor: pb.ModelInferRequest.InferInputTensor) -> Input:
    """Return an input with the field that matches its datatype. Raises `Invalid` if another field is set."""
    fields = {"BYTES": "bytes_contents", "INT32": "int_contents"}
    filled = [descriptor.name for descriptor, _ in tensor.contents.ListFields()]
    expected = fields.get(tensor.datatype)
    if strange := [name for name in filled if name != expected]:
        raise Invalid(f"input '{tensor.name}': {strange[0]} does not go with datatype {tensor.datatype}")
    given = Input(tensor.name, tensor.datatype, tensor.shape, data=list(tensor.contents.bytes_contents))
    if expected == "int_contents":  # there can be a million, and NumPy's form takes a third of the time
        return replace(given, raw=np.fromiter(tensor.contents.int_contents, "<i4").tobytes())
    return given


def _whole_number(parameters: Mapping[str, pb.InferParameter], name: str) -> int:
    """Return an integer parameter, or 0 if it is absent. Raises `Invalid` if it is not an integer or is negative."""
    if name not in parameters:
        return 0
    parameter = parameters[name]
    choice = parameter.WhichOneof("parameter_choice")
    value: int = getattr(parameter, choice) if choice in ("int64_param", "uint64_param") else -1
    if value < 0:
        raise Invalid(f"parameter '{name}' must be a whole number, not negative")
    return value
