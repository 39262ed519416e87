// The part of ONNX Runtime's C interface that the operator uses, as in onnxruntime_c_api.h (MIT license) of API version 21.
//
// ONNX Runtime only appends to these structures, so every later release has the same layout. `OrtApiBase::GetApi` returns
// null if the installed one is older. docs/decisions/native-code.md says why the whole header is not here.
#pragma once

#include <cstddef>
#include <cstdint>

constexpr uint32_t kApiVersion = 21;

enum Type : int { kFloat = 1, kUint8 = 2, kInt32 = 6 };  // ONNXTensorElementDataType
enum Arity : int { kRequired = 0, kVariadic = 2 };       // OrtCustomOpInputOutputCharacteristic
enum Memory : int { kDefaultMemory = 0 };                // OrtMemType
constexpr int kInvalidArgument = 2;                      // OrtErrorCode

struct OrtStatus;
struct OrtValue;
struct OrtSessionOptions;
struct OrtCustomOpDomain;
struct OrtKernelInfo;
struct OrtKernelContext;
struct OrtTensorTypeAndShapeInfo;
struct OrtCustomOp;
using Result = OrtStatus*;  // null: no error

struct OrtApi {
    Result (*CreateStatus)(int code, const char* message);
    void* after_0[25];
    Result (*CreateCustomOpDomain)(const char* name, OrtCustomOpDomain** domain);
    Result (*CustomOpDomain_Add)(OrtCustomOpDomain*, const OrtCustomOp*);
    Result (*AddCustomOpDomain)(OrtSessionOptions*, OrtCustomOpDomain*);
    void* after_28[22];
    Result (*GetTensorMutableData)(OrtValue*, void** data);
    void* after_51[9];
    Result (*GetDimensionsCount)(const OrtTensorTypeAndShapeInfo*, size_t* count);
    Result (*GetDimensions)(const OrtTensorTypeAndShapeInfo*, int64_t* sizes, size_t count);
    void* after_62[2];
    Result (*GetTensorTypeAndShape)(const OrtValue*, OrtTensorTypeAndShapeInfo**);
    void* after_65[20];
    Result (*KernelInfoGetAttribute_int64)(const OrtKernelInfo*, const char* name, int64_t* value);
    void* after_86[3];
    Result (*KernelContext_GetInput)(const OrtKernelContext*, size_t index, const OrtValue**);
    Result (*KernelContext_GetOutput)(OrtKernelContext*, size_t index, const int64_t* sizes, size_t count, OrtValue**);
    void* after_91[7];
    void (*ReleaseTensorTypeAndShapeInfo)(OrtTensorTypeAndShapeInfo*);
    void* after_99[130];
    Result (*KernelInfo_GetInputCount)(const OrtKernelInfo*, size_t* count);
    void* after_230[18];
    Result (*KernelInfoGetConstantInput_tensor)(const OrtKernelInfo*, size_t index, int* is_constant, const OrtValue**);
    void* after_249[24];
    Result (*KernelContext_ParallelFor)(const OrtKernelContext*, void (*run)(void*, size_t), size_t total,
                                        size_t batches, void* data);
};

static_assert(offsetof(OrtApi, AddCustomOpDomain) == 28 * sizeof(void*));
static_assert(offsetof(OrtApi, GetTensorMutableData) == 51 * sizeof(void*));
static_assert(offsetof(OrtApi, GetDimensions) == 62 * sizeof(void*));
static_assert(offsetof(OrtApi, GetTensorTypeAndShape) == 65 * sizeof(void*));
static_assert(offsetof(OrtApi, KernelInfoGetAttribute_int64) == 86 * sizeof(void*));
static_assert(offsetof(OrtApi, KernelContext_GetOutput) == 91 * sizeof(void*));
static_assert(offsetof(OrtApi, ReleaseTensorTypeAndShapeInfo) == 99 * sizeof(void*));
static_assert(offsetof(OrtApi, KernelInfo_GetInputCount) == 230 * sizeof(void*));
static_assert(offsetof(OrtApi, KernelInfoGetConstantInput_tensor) == 249 * sizeof(void*));
static_assert(offsetof(OrtApi, KernelContext_ParallelFor) == 274 * sizeof(void*));

struct OrtApiBase {
    const OrtApi* (*GetApi)(uint32_t version);
    const char* (*GetVersionString)();
};

struct OrtCustomOp {
    uint32_t version;
    void* (*CreateKernel)(const OrtCustomOp*, const OrtApi*, const OrtKernelInfo*);
    const char* (*GetName)(const OrtCustomOp*);
    const char* (*GetExecutionProviderType)(const OrtCustomOp*);
    Type (*GetInputType)(const OrtCustomOp*, size_t index);
    size_t (*GetInputTypeCount)(const OrtCustomOp*);
    Type (*GetOutputType)(const OrtCustomOp*, size_t index);
    size_t (*GetOutputTypeCount)(const OrtCustomOp*);
    void (*KernelCompute)(void* kernel, OrtKernelContext*);
    void (*KernelDestroy)(void* kernel);
    Arity (*GetInputCharacteristic)(const OrtCustomOp*, size_t index);
    Arity (*GetOutputCharacteristic)(const OrtCustomOp*, size_t index);
    Memory (*GetInputMemoryType)(const OrtCustomOp*, size_t index);
    int (*GetVariadicInputMinArity)(const OrtCustomOp*);
    int (*GetVariadicInputHomogeneity)(const OrtCustomOp*);
    int (*GetVariadicOutputMinArity)(const OrtCustomOp*);
    int (*GetVariadicOutputHomogeneity)(const OrtCustomOp*);
    Result (*CreateKernelV2)(const OrtCustomOp*, const OrtApi*, const OrtKernelInfo*, void** kernel);
    Result (*KernelComputeV2)(void* kernel, OrtKernelContext*);
    Result (*InferOutputShapeFn)(const OrtCustomOp*, void*);
    int (*GetStartVersion)(const OrtCustomOp*);
    int (*GetEndVersion)(const OrtCustomOp*);
    size_t (*GetMayInplace)(int** inputs, int** outputs);
    void (*ReleaseMayInplace)(int* inputs, int* outputs);
    size_t (*GetAliasMap)(int** inputs, int** outputs);
    void (*ReleaseAliasMap)(int* inputs, int* outputs);
};
