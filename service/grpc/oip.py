"""The Open Inference Protocol over gRPC, as Triton's clients speak it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from google.protobuf.json_format import ParseDict

from service.dataplane import DataPlane
from service.errors import Invalid
from service.grpc.call import Caller, Context, as_refusal
from service.grpc.protos import inference_pb2 as pb
from service.grpc.protos.inference_pb2_grpc import GRPCInferenceServiceServicer
from service.keeper import Keeper
from service.oip import description
from service.oip.inference import Input, Request, RequestedOutput, infer
from service.version import package_version

SERVICE = "inference.GRPCInferenceService"
(
    MODEL_INFER,
    MODEL_STREAM_INFER,
    MODEL_METADATA,
    MODEL_CONFIG,
    MODEL_STATISTICS,
    REPOSITORY_INDEX,
    REPOSITORY_MODEL_LOAD,
    REPOSITORY_MODEL_UNLOAD,
) = ROUTES = tuple(
    f"/{SERVICE}/{method}"
    for method in (
        "ModelInfer",
        "ModelStreamInfer",
        "ModelMetadata",
        "ModelConfig",
        "ModelStatistics",
        "RepositoryIndex",
        "RepositoryModelLoad",
        "RepositoryModelUnload",
    )
)

#: Those that ask a model.
MODEL_ROUTES = (MODEL_INFER, MODEL_STREAM_INFER)

_MICROSECONDS = 1e-6


class OpenInference(GRPCInferenceServiceServicer):
    """`inference.GRPCInferenceService`."""

    def __init__(self, dataplane: DataPlane, keeper: Keeper, caller: Caller) -> None:
        self._dataplane = dataplane
        self._keeper = keeper
        self._repository = dataplane.repository
        self._caller = caller

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Context) -> pb.ServerLiveResponse:
        """Always, as long as the process answers."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Context) -> pb.ServerReadyResponse:
        """Until the service shuts down."""
        return pb.ServerReadyResponse(ready=self._dataplane.ready)

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Context) -> pb.ModelReadyResponse:
        """Whether that model answers."""
        ready = self._dataplane.ready and self._repository.holds(request.name, request.version)
        return pb.ModelReadyResponse(ready=ready)

    async def ServerMetadata(self, request: pb.ServerMetadataRequest, context: Context) -> pb.ServerMetadataResponse:
        """Name, version and extensions."""
        return pb.ServerMetadataResponse(**description.server_metadata(package_version()))

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: Context) -> pb.ModelMetadataResponse:
        """Inputs and outputs."""

        async def answer() -> pb.ModelMetadataResponse:
            classifier = self._repository.get(request.name, request.version)
            document = description.model_metadata(classifier, self._repository.versions(classifier.manifest.name))
            return ParseDict(document, pb.ModelMetadataResponse())

        return await self._caller.unary(MODEL_METADATA, context, answer)

    async def ModelConfig(self, request: pb.ModelConfigRequest, context: Context) -> pb.ModelConfigResponse:
        """Triton's configuration of a model."""

        async def answer() -> pb.ModelConfigResponse:
            classifier = self._repository.get(request.name, request.version)
            document = description.model_config(classifier, self._dataplane.settings.max_batch_texts)
            return ParseDict({"config": document}, pb.ModelConfigResponse())

        return await self._caller.unary(MODEL_CONFIG, context, answer)

    async def ModelStatistics(self, request: pb.ModelStatisticsRequest, context: Context) -> pb.ModelStatisticsResponse:
        """Counts and durations of one model, or of all."""

        async def answer() -> pb.ModelStatisticsResponse:
            chosen = self._repository.select(request.name, request.version)
            document = {"model_stats": [description.model_statistics(each) for each in chosen]}
            return ParseDict(document, pb.ModelStatisticsResponse())

        return await self._caller.unary(MODEL_STATISTICS, context, answer)

    async def RepositoryIndex(self, request: pb.RepositoryIndexRequest, context: Context) -> pb.RepositoryIndexResponse:
        """Every version in the repository, loaded or not."""

        async def answer() -> pb.RepositoryIndexResponse:
            entries = [each for each in await self._keeper.index() if each.state == "READY" or not request.ready]
            return pb.RepositoryIndexResponse(
                models=[pb.RepositoryIndexResponse.ModelIndex(**each._asdict()) for each in entries]
            )

        return await self._caller.unary(REPOSITORY_INDEX, context, answer)

    async def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: Context
    ) -> pb.RepositoryModelLoadResponse:
        """Serve what is to be served of a model as it lies in its folder now."""

        async def answer() -> pb.RepositoryModelLoadResponse:
            await self._keeper.load(request.model_name)
            return pb.RepositoryModelLoadResponse()

        return await self._caller.unary(REPOSITORY_MODEL_LOAD, context, answer)

    async def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: Context
    ) -> pb.RepositoryModelUnloadResponse:
        """Stop to serve a model."""

        async def answer() -> pb.RepositoryModelUnloadResponse:
            await self._keeper.unload(request.model_name)
            return pb.RepositoryModelUnloadResponse()

        return await self._caller.unary(REPOSITORY_MODEL_UNLOAD, context, answer)

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:
        """One infer request."""
        return await self._caller.unary(MODEL_INFER, context, lambda: self._infer(request, context))

    async def ModelStreamInfer(
        self, request_iterator: AsyncIterator[pb.ModelInferRequest], context: Context
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        """Infer requests answered in order. One that fails is answered with its message, and the stream goes on."""

        async def answers() -> AsyncIterator[pb.ModelStreamInferResponse]:
            async for request in self._caller.messages(request_iterator):
                yield await self._stream_answer(request, context)

        async for answer in self._caller.stream(MODEL_STREAM_INFER, context, answers()):
            yield answer

    async def _stream_answer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelStreamInferResponse:
        try:
            return pb.ModelStreamInferResponse(infer_response=await self._infer(request, context))
        except Exception as error:
            refusal = as_refusal(error, MODEL_STREAM_INFER)
            # Clients match answers to requests by this id, also where there is nothing else in the answer.
            nothing = pb.ModelInferResponse(model_name=request.model_name, id=request.id)
            return pb.ModelStreamInferResponse(error_message=refusal.message, infer_response=nothing)

    async def _infer(self, message: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:
        classifier, outputs = await infer(self._dataplane, _request(message, context.time_remaining()))
        manifest = classifier.manifest
        return pb.ModelInferResponse(
            model_name=manifest.name,
            model_version=str(manifest.version),
            id=message.id,
            outputs=[
                pb.ModelInferResponse.InferOutputTensor(name=each.name, datatype=each.datatype, shape=each.shape)
                for each in outputs
            ],
            # Triton's clients read nothing but the raw form.
            raw_output_contents=[each.raw() for each in outputs],
        )


def _request(message: pb.ModelInferRequest, remaining: float | None) -> Request:
    timeout = _whole_number(message.parameters, "timeout")
    limits = [remaining, timeout * _MICROSECONDS if timeout else None]
    return Request(
        model=message.model_name,
        version=message.model_version,
        inputs=_inputs(message),
        outputs=[
            RequestedOutput(each.name, binary=True, classification=_whole_number(each.parameters, "classification"))
            for each in message.outputs
        ],
        timeout=min((limit for limit in limits if limit is not None), default=None),
    )


def _inputs(message: pb.ModelInferRequest) -> list[Input]:
    raw_contents = message.raw_input_contents
    if not raw_contents:
        return [Input(each.name, each.datatype, each.shape, data=_contents(each)) for each in message.inputs]
    if any(each.HasField("contents") for each in message.inputs):
        raise Invalid("raw_input_contents and contents must not be mixed")
    if len(raw_contents) != len(message.inputs):
        raise Invalid(f"{len(raw_contents)} raw_input_contents for {len(message.inputs)} inputs")
    return [
        Input(each.name, each.datatype, each.shape, raw=content)
        for each, content in zip(message.inputs, raw_contents, strict=True)
    ]


def _contents(tensor: pb.ModelInferRequest.InferInputTensor) -> list[Any]:
    """The typed elements of the field that goes with the datatype; one in another field is a mistake."""
    fields = {"BYTES": "bytes_contents", "INT32": "int_contents"}
    filled = [descriptor.name for descriptor, _ in tensor.contents.ListFields()]
    expected = fields.get(tensor.datatype)
    if strange := [name for name in filled if name != expected]:
        raise Invalid(f"input '{tensor.name}': {strange[0]} does not go with datatype {tensor.datatype}")
    return list(getattr(tensor.contents, expected)) if expected else []


def _whole_number(parameters: Mapping[str, pb.InferParameter], name: str) -> int:
    """A parameter, 0 where it is absent. Raises `Invalid` for one of another kind or below 0."""
    if name not in parameters:
        return 0
    parameter = parameters[name]
    choice = parameter.WhichOneof("parameter_choice")
    value: int = getattr(parameter, choice) if choice in ("int64_param", "uint64_param") else -1
    if value < 0:
        raise Invalid(f"parameter '{name}' must be a whole number, not negative")
    return value
