"""TensorFlow Serving over gRPC: `PredictionService` and `ModelService`.

The one input is `text`, DT_STRING; the outputs are those of the REST route. Source: TensorFlow Serving's .proto files.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import prod
from typing import Any

from google.protobuf.json_format import ParseDict

from sentiment_conv1d.artifact.manifest import Manifest
from sentiment_conv1d.commands.output import counted
from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.protos.descriptors import POOL, message_class
from sentiment_conv1d.service.errors import Invalid
from sentiment_conv1d.service.grpc.service import Service, paths
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.protocols.tfserving.description import (
    OUTPUTS,
    SIGNATURE,
    check_signature,
    model_status,
    signature_map,
)
from sentiment_conv1d.service.scheduling.served import ServedClassifier
from sentiment_conv1d.service.scheduling.work import Work
from sentiment_conv1d.service.telemetry.request_context import RequestContext

_PREDICTION = POOL.FindServiceByName("tensorflow.serving.PredictionService")
_MODEL = POOL.FindServiceByName("tensorflow.serving.ModelService")

PREDICT, CLASSIFY = paths(_PREDICTION, "Predict", "Classify")

PredictResponse = message_class("tensorflow.serving.PredictResponse")
ClassificationResponse = message_class("tensorflow.serving.ClassificationResponse")
GetModelMetadataResponse = message_class("tensorflow.serving.GetModelMetadataResponse")
GetModelStatusResponse = message_class("tensorflow.serving.GetModelStatusResponse")
SignatureDefMap = message_class("tensorflow.serving.SignatureDefMap")

_TYPES = POOL.FindEnumTypeByName("tensorflow.DataType").values_by_name
_STRING, _FLOAT = _TYPES["DT_STRING"].number, _TYPES["DT_FLOAT"].number

#: The one input, the one feature of an example, and the one kind of metadata.
_TEXT = "text"
_SIGNATURE_DEF = "signature_def"


class TfServing:
    """`tensorflow.serving.PredictionService` and `tensorflow.serving.ModelService`."""

    def __init__(self, state: ServiceState) -> None:
        self._dataplane, self._models = state.dataplane, state.models

    def Predict(self, request: Any, context: RequestContext) -> Work[Any]:
        """Predict a tensor of texts, and return the outputs of `output_filter`, by default all of them."""
        outputs = _chosen(request.output_filter)
        _check_only("inputs", request.inputs, _TEXT)
        texts = _texts(request.inputs[_TEXT])
        classifier = self._classifier(request.model_spec)

        def answer(predictions: list[Prediction]) -> Any:
            response = PredictResponse()
            _specify(response.model_spec, classifier.manifest)
            for name in outputs:
                _fill(response.outputs[name], name, predictions)
            return response

        return self._dataplane.read_texts(context, classifier, texts, answer)

    def Classify(self, request: Any, context: RequestContext) -> Work[Any]:
        """Classify examples with the feature `text`, and return the probability of every label."""
        texts = _example_texts(request.input)
        classifier = self._classifier(request.model_spec)

        def answer(predictions: list[Prediction]) -> Any:
            response = ClassificationResponse()
            _specify(response.model_spec, classifier.manifest)
            for prediction in predictions:
                classes = response.result.classifications.add().classes
                for label, probability in zip(classifier.labels, prediction.probabilities, strict=True):
                    classes.add(label=label, score=float(probability))
            return response

        return self._dataplane.read_texts(context, classifier, texts, answer)

    async def GetModelMetadata(self, request: Any, context: RequestContext) -> Any:
        """Return the signature of a model."""
        manifest = self._classifier(request.model_spec).manifest
        _check_only("metadata_field", request.metadata_field, _SIGNATURE_DEF)
        response = GetModelMetadataResponse()
        _specify(response.model_spec, manifest, signature="")
        response.metadata[_SIGNATURE_DEF].Pack(ParseDict(signature_map(manifest), SignatureDefMap()))
        return response

    async def GetModelStatus(self, request: Any, context: RequestContext) -> Any:
        """Return the states of one version, or of all versions of a model."""
        spec = request.model_spec
        return ParseDict(model_status(self._models, spec.name, _version(spec)), GetModelStatusResponse())

    def _classifier(self, spec: Any) -> ServedClassifier:
        """Return the classifier that a request names. Raises `NotFound` or `Invalid`."""
        check_signature(spec.signature_name)
        return self._models.get(spec.name, _version(spec))


SERVICES = (Service(_PREDICTION, TfServing, models=(PREDICT, CLASSIFY)), Service(_MODEL, TfServing))


def _version(spec: Any) -> str:
    """Return the version or the label of a `ModelSpec`, or an empty string."""
    label: str = spec.version_label
    return str(spec.version.value) if spec.HasField("version") else label


def _chosen(output_filter: Sequence[str]) -> Sequence[str]:
    if len(output_filter) > len(set(output_filter)):
        raise Invalid("output_filter: an output is named twice")
    for name in output_filter:
        if name not in OUTPUTS:
            raise Invalid(f"output_filter: there is no output {name!r}; there are: {', '.join(OUTPUTS)}")
    return output_filter or OUTPUTS


def _check_only(field: str, names: Collection[str], name: str) -> None:
    """Raise `Invalid` unless a field has just this name."""
    if len(names) != 1 or name not in names:
        raise Invalid(f"{field}: {name} is needed, and nothing else")


def _texts(tensor: Any) -> list[str]:
    """Return the texts of a tensor of shape [], [batch] or [batch, 1]. Raises `Invalid`."""
    if tensor.dtype != _STRING:
        raise Invalid(f"inputs.{_TEXT}: the dtype is DT_STRING")
    shape = [each.size for each in tensor.tensor_shape.dim]
    values = tensor.string_val
    if len(shape) > 2 or shape[1:] not in ([], [1]) or prod(shape) != len(values):
        raise Invalid(
            f"inputs.{_TEXT}: {counted(len(values), 'text')} in string_val, and the shape is not [batch] or [batch, 1]"
        )
    return [_decoded(value, number) for number, value in enumerate(values)]


def _example_texts(given: Any) -> list[str]:
    """Return the text of every example. Raises `Invalid`.

    The context is not read, because one large text in it would stand for each of a thousand empty examples.
    """
    kind = given.WhichOneof("kind")
    if kind is None:
        raise Invalid("input: an example_list is needed")
    return [_example_text(each.features.feature, number) for number, each in enumerate(getattr(given, kind).examples)]


def _example_text(features: Mapping[str, Any], number: int) -> str:
    values: Sequence[bytes] = features[_TEXT].bytes_list.value if _TEXT in features else ()
    if len(values) != 1:
        raise Invalid(f"example {number}: the feature {_TEXT} needs one value in its bytes_list")
    return _decoded(values[0], number)


def _decoded(value: bytes, number: int) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Invalid(f"text {number}: not UTF-8") from None


def _specify(spec: Any, manifest: Manifest, signature: str = SIGNATURE) -> None:
    """Name the model that answers."""
    spec.name = manifest.name
    spec.version.value = manifest.version
    spec.signature_name = signature


def _fill(tensor: Any, name: str, predictions: Sequence[Prediction]) -> None:
    """Set a tensor to one output: label or score [batch], or probabilities [batch, labels]."""
    tensor.tensor_shape.dim.add(size=len(predictions))
    match name:
        case "label":
            tensor.dtype = _STRING
            tensor.string_val.extend(each.label.encode() for each in predictions)
        case "score":
            tensor.dtype = _FLOAT
            tensor.float_val.extend(float(each.score) for each in predictions)
        case _:
            tensor.dtype = _FLOAT
            tensor.tensor_shape.dim.add(size=len(predictions[0].probabilities))
            tensor.float_val.extend(float(value) for each in predictions for value in each.probabilities)
