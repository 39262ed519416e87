"""The operators that a SavedModel may contain, in groups that say why they are harmless.

They are those of text classifiers of Keras 2 and 3. None reads or writes a file, connects to another machine, or runs
code that TensorFlow does not contain. Any other operator is refused, because what TensorFlow states about an operator,
such as `is_stateful`, does not tell whether it reads a file.
"""

from __future__ import annotations

#: Return a constant or their inputs, or end the computation.
_VALUES = """
    Assert Const EnsureShape Identity IdentityN NoOp Placeholder PlaceholderWithDefault PreventGradient Snapshot
    StopGradient
"""

#: Run functions of the same SavedModel, whose operators are checked as well.
_CALLS = """
    Case If PartitionedCall StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile While
"""

#: Use the variables of the model, which are in memory.
_VARIABLES = """
    AssignAddVariableOp AssignSubVariableOp AssignVariableOp DisableCopyOnRead ReadVariableOp ResourceGather
    ResourceGatherNd ResourceScatterAdd ResourceScatterUpdate VarHandleOp VarIsInitializedOp VariableShape
"""

#: Use look-up tables, which are in memory. The one that fills a table from a file is `FILE_TABLE`.
_TABLES = """
    AnonymousHashTable AnonymousMutableHashTable HashTableV2 InitializeTableV2 LookupTableExportV2 LookupTableFindV2
    LookupTableImportV2 LookupTableInsertV2 LookupTableRemoveV2 LookupTableSizeV2 MutableDenseHashTableV2
    MutableHashTableV2
"""

#: Keep tensors from step to step, as an LSTM does.
_LISTS = """
    EmptyTensorList OptionalFromValue OptionalGetValue OptionalHasValue OptionalNone TensorListConcatV2
    TensorListElementShape TensorListFromTensor TensorListGather TensorListGetItem TensorListLength
    TensorListPopBack TensorListPushBack TensorListReserve TensorListResize TensorListScatterIntoExistingList
    TensorListScatterV2 TensorListSetItem TensorListSplit TensorListStack
"""

#: Compute strings from strings.
_TEXTS = """
    AsString ReduceJoin RegexFullMatch RegexReplace StaticRegexFullMatch StaticRegexReplace StringJoin StringLength
    StringLower StringNGrams StringSplit StringSplitV2 StringStrip StringToHashBucket StringToHashBucketFast
    StringToHashBucketStrong StringToNumber StringUpper Substr UnicodeDecode UnicodeDecodeWithOffsets UnicodeEncode
    UnicodeScript UnicodeTranscode UnsortedSegmentJoin
"""

#: Change shapes, and choose, order and count elements.
_SHAPES = """
    ArgMax ArgMin BatchToSpaceND Bincount Bitcast BroadcastArgs BroadcastTo Cast ConcatOffset ConcatV2 Cumprod
    Cumsum DenseBincount DynamicPartition DynamicStitch ExpandDims Fill GatherNd GatherV2 InTopKV2 InvertPermutation
    LinSpace LowerBound MatrixBandPart MatrixDiagPartV3 MatrixDiagV3 MatrixSetDiagV3 MirrorPad OneHot OnesLike Pack
    Pad PadV2 ParallelDynamicStitch RaggedBincount RaggedGather RaggedRange RaggedTensorFromVariant
    RaggedTensorToSparse RaggedTensorToTensor RaggedTensorToVariant Range Rank Reshape ReverseSequence ReverseV2
    Roll ScatterNd SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum Select SelectV2 Shape ShapeN Size Slice
    SpaceToBatchND SparseBincount SparseFillEmptyRows SparseReorder SparseReshape SparseSegmentMean
    SparseSegmentSqrtN SparseSegmentSum SparseTensorDenseMatMul SparseToDense Split SplitV Squeeze StridedSlice
    TensorScatterAdd TensorScatterUpdate Tile TopKV2 Transpose Unique UniqueV2 UniqueWithCounts UniqueWithCountsV2
    Unpack UnravelIndex UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum UpperBound
    Where ZerosLike
"""

#: Compute numbers from numbers.
_NUMBERS = """
    Abs Acos Acosh Add AddN AddV2 All Any ApproximateEqual Asin Asinh Atan Atan2 Atanh BatchMatMul BatchMatMulV2
    BatchMatMulV3 BitwiseAnd BitwiseOr BitwiseXor Ceil ClipByValue Cos Cosh Cross Digamma Div DivNoNan Einsum Equal
    Erf Erfc Erfinv EuclideanNorm Exp Expm1 Floor FloorDiv FloorMod Greater GreaterEqual Inv Invert IsFinite IsInf
    IsNan L2Loss LeftShift Less LessEqual Lgamma Log Log1p LogicalAnd LogicalNot LogicalOr MatMul Max Maximum Mean
    Min Minimum Mod Mul MulNoNan Neg NextAfter NotEqual Pow Prod RealDiv Reciprocal RightShift Rint Round Rsqrt
    Sigmoid Sign Sin Sinh Sqrt Square SquaredDifference Sub Sum Tan Tanh TruncateDiv TruncateMod Xdivy Xlog1py Xlogy
"""

#: Compute the layers of networks: activations, convolutions, pooling, normalization, recurrent layers and losses.
_LAYERS = """
    AvgPool BiasAdd BiasAddV1 Conv2D Conv2DBackpropInput Conv3D CudnnRNN CudnnRNNCanonicalToParamsV2
    CudnnRNNParamsSize CudnnRNNV2 CudnnRNNV3 DepthwiseConv2dNative Dilation2D Elu FusedBatchNorm FusedBatchNormV2
    FusedBatchNormV3 LeakyRelu LogSoftmax MaxPool MaxPoolV2 Relu Relu6 ResizeNearestNeighbor Selu Softmax
    SoftmaxCrossEntropyWithLogits Softplus Softsign SparseSoftmaxCrossEntropyWithLogits
"""

#: Draw random numbers, for dropout and noise while a model is trained.
_RANDOM = """
    RandomShuffle RandomStandardNormal RandomUniform RandomUniformInt StatelessRandomGetAlg
    StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal StatelessRandomNormalV2
    StatelessRandomUniform StatelessRandomUniformFullIntV2 StatelessRandomUniformInt StatelessRandomUniformIntV2
    StatelessRandomUniformV2 StatelessTruncatedNormal StatelessTruncatedNormalV2 TruncatedNormal
"""

#: Compute gradients. Keras 2 stores the functions with which it trained LSTM and GRU layers.
_GRADIENTS = """
    AvgPoolGrad BiasAddGrad BroadcastGradientArgs Conv2DBackpropFilter CudnnRNNBackprop CudnnRNNBackpropV2
    CudnnRNNBackpropV3 DepthwiseConv2dNativeBackpropFilter DepthwiseConv2dNativeBackpropInput EluGrad
    FusedBatchNormGradV3 InvGrad LeakyReluGrad MaxPoolGrad MirrorPadGrad ReciprocalGrad Relu6Grad ReluGrad
    ResizeNearestNeighborGrad RsqrtGrad SeluGrad SigmoidGrad SoftplusGrad SoftsignGrad SqrtGrad StridedSliceGrad
    TanhGrad
"""

#: Reads the next element of a dataset that the caller passes. `adapt` of Keras 2 has it, and no operator here makes a
#: dataset.
_DATASETS = "IteratorGetNext"

_GROUPS = (
    _VALUES, _CALLS, _VARIABLES, _TABLES, _LISTS, _TEXTS, _SHAPES, _NUMBERS, _LAYERS, _RANDOM, _GRADIENTS, _DATASETS,
)  # fmt: skip

#: The operators that are allowed everywhere.
ALLOWED = frozenset(name for group in _GROUPS for name in group.split())

#: Fills a look-up table from a file. Allowed if the file is an asset of the SavedModel.
FILE_TABLE = "InitializeTableFromTextFileV2"

#: Write and read checkpoints. Allowed in the functions with which every SavedModel is saved, if nothing calls them.
SAVER = frozenset(("MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename"))
