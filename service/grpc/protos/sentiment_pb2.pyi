from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PredictRequest(_message.Message):
    __slots__ = ("text", "model", "version")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    text: str
    model: str
    version: str
    def __init__(self, text: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class PredictBatchRequest(_message.Message):
    __slots__ = ("texts", "model", "version")
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    texts: _containers.RepeatedScalarFieldContainer[str]
    model: str
    version: str
    def __init__(self, texts: _Optional[_Iterable[str]] = ..., model: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class Prediction(_message.Message):
    __slots__ = ("label", "score", "probabilities", "tokens", "unknown_tokens", "truncated", "model", "version")
    class LabelProbability(_message.Message):
        __slots__ = ("label", "probability")
        LABEL_FIELD_NUMBER: _ClassVar[int]
        PROBABILITY_FIELD_NUMBER: _ClassVar[int]
        label: str
        probability: float
        def __init__(self, label: _Optional[str] = ..., probability: _Optional[float] = ...) -> None: ...
    LABEL_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    label: str
    score: float
    probabilities: _containers.RepeatedCompositeFieldContainer[Prediction.LabelProbability]
    tokens: int
    unknown_tokens: int
    truncated: bool
    model: str
    version: str
    def __init__(self, label: _Optional[str] = ..., score: _Optional[float] = ..., probabilities: _Optional[_Iterable[_Union[Prediction.LabelProbability, _Mapping]]] = ..., tokens: _Optional[int] = ..., unknown_tokens: _Optional[int] = ..., truncated: _Optional[bool] = ..., model: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class PredictBatchResponse(_message.Message):
    __slots__ = ("predictions",)
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    predictions: _containers.RepeatedCompositeFieldContainer[Prediction]
    def __init__(self, predictions: _Optional[_Iterable[_Union[Prediction, _Mapping]]] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("text", "model", "version", "label")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    text: str
    model: str
    version: str
    label: str
    def __init__(self, text: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., label: _Optional[str] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("prediction", "label", "logit", "bias", "padding", "words", "filters")
    class Word(_message.Message):
        __slots__ = ("text", "start", "end", "id", "known", "share")
        TEXT_FIELD_NUMBER: _ClassVar[int]
        START_FIELD_NUMBER: _ClassVar[int]
        END_FIELD_NUMBER: _ClassVar[int]
        ID_FIELD_NUMBER: _ClassVar[int]
        KNOWN_FIELD_NUMBER: _ClassVar[int]
        SHARE_FIELD_NUMBER: _ClassVar[int]
        text: str
        start: int
        end: int
        id: int
        known: bool
        share: float
        def __init__(self, text: _Optional[str] = ..., start: _Optional[int] = ..., end: _Optional[int] = ..., id: _Optional[int] = ..., known: _Optional[bool] = ..., share: _Optional[float] = ...) -> None: ...
    class Filter(_message.Message):
        __slots__ = ("width", "index", "activation", "weight", "start", "end")
        WIDTH_FIELD_NUMBER: _ClassVar[int]
        INDEX_FIELD_NUMBER: _ClassVar[int]
        ACTIVATION_FIELD_NUMBER: _ClassVar[int]
        WEIGHT_FIELD_NUMBER: _ClassVar[int]
        START_FIELD_NUMBER: _ClassVar[int]
        END_FIELD_NUMBER: _ClassVar[int]
        width: int
        index: int
        activation: float
        weight: float
        start: int
        end: int
        def __init__(self, width: _Optional[int] = ..., index: _Optional[int] = ..., activation: _Optional[float] = ..., weight: _Optional[float] = ..., start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    LOGIT_FIELD_NUMBER: _ClassVar[int]
    BIAS_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    prediction: Prediction
    label: str
    logit: float
    bias: float
    padding: float
    words: _containers.RepeatedCompositeFieldContainer[Explanation.Word]
    filters: _containers.RepeatedCompositeFieldContainer[Explanation.Filter]
    def __init__(self, prediction: _Optional[_Union[Prediction, _Mapping]] = ..., label: _Optional[str] = ..., logit: _Optional[float] = ..., bias: _Optional[float] = ..., padding: _Optional[float] = ..., words: _Optional[_Iterable[_Union[Explanation.Word, _Mapping]]] = ..., filters: _Optional[_Iterable[_Union[Explanation.Filter, _Mapping]]] = ...) -> None: ...
