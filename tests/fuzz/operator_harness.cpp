// Runs the operator on random shapes, ids and attributes, and compares it with plain loops. Tests compile it with
// AddressSanitizer and UndefinedBehaviorSanitizer: every tensor is an allocation of exactly its size.
#include "folded_convolution.cpp"

#include <cassert>
#include <cmath>
#include <cstdlib>
#include <map>
#include <random>
#include <string>

struct OrtStatus {
    std::string message;
};

struct OrtTensorTypeAndShapeInfo {
    std::vector<int64_t> sizes;
};

struct OrtValue {
    OrtTensorTypeAndShapeInfo info;
    std::unique_ptr<char[]> data;
};

struct OrtKernelInfo {
    std::map<std::string, int64_t> attributes;
    std::vector<OrtValue> inputs;  // the tokens and the tables
};

struct OrtKernelContext {
    OrtKernelInfo* info;
    OrtValue out;
    size_t out_bytes;
};

struct OrtCustomOpDomain {
    std::vector<const OrtCustomOp*> operators;
} domain;

template <typename T>
void resize(OrtValue* value, std::vector<int64_t> sizes) {
    size_t count = 1;
    for (int64_t size : sizes) count *= static_cast<size_t>(size);
    value->info.sizes = sizes;
    value->data.reset(new char[count * sizeof(T)]);
}

// The part of ONNX Runtime that the operator calls.
OrtApi runtime() {
    OrtApi api{};
    api.CreateStatus = [](int, const char* message) { return new OrtStatus{message}; };
    api.CreateCustomOpDomain = [](const char*, OrtCustomOpDomain** made) -> Result { return *made = &domain, nullptr; };
    api.CustomOpDomain_Add = [](OrtCustomOpDomain* to, const OrtCustomOp* op) -> Result {
        return to->operators.push_back(op), nullptr;
    };
    api.AddCustomOpDomain = [](OrtSessionOptions*, OrtCustomOpDomain*) -> Result { return nullptr; };
    api.GetTensorMutableData = [](OrtValue* value, void** data) -> Result { return *data = value->data.get(), nullptr; };
    api.GetTensorTypeAndShape = [](const OrtValue* value, OrtTensorTypeAndShapeInfo** info) -> Result {
        return *info = new OrtTensorTypeAndShapeInfo(value->info), nullptr;
    };
    api.ReleaseTensorTypeAndShapeInfo = [](OrtTensorTypeAndShapeInfo* info) { delete info; };
    api.GetDimensionsCount = [](const OrtTensorTypeAndShapeInfo* info, size_t* count) -> Result {
        return *count = info->sizes.size(), nullptr;
    };
    api.GetDimensions = [](const OrtTensorTypeAndShapeInfo* info, int64_t* sizes, size_t count) -> Result {
        return std::copy_n(info->sizes.begin(), count, sizes), nullptr;
    };
    api.KernelInfoGetAttribute_int64 = [](const OrtKernelInfo* info, const char* name, int64_t* value) -> Result {
        return *value = info->attributes.at(name), nullptr;
    };
    api.KernelInfo_GetInputCount = [](const OrtKernelInfo* info, size_t* count) -> Result {
        return *count = info->inputs.size(), nullptr;
    };
    api.KernelInfoGetConstantInput_tensor = [](const OrtKernelInfo* info, size_t index, int* constant,
                                               const OrtValue** out) -> Result {
        return *constant = 1, *out = &info->inputs[index], nullptr;
    };
    api.KernelContext_GetInput = [](const OrtKernelContext* context, size_t index, const OrtValue** out) -> Result {
        return *out = &context->info->inputs[index], nullptr;
    };
    api.KernelContext_GetOutput = [](OrtKernelContext* context, size_t, const int64_t* sizes, size_t count,
                                     OrtValue** out) -> Result {
        context->out_bytes == 4 ? resize<float>(&context->out, {sizes, sizes + count})
                                : resize<uint8_t>(&context->out, {sizes, sizes + count});
        return *out = &context->out, nullptr;
    };
    api.KernelContext_ParallelFor = [](const OrtKernelContext*, void (*run)(void*, size_t), size_t total, size_t,
                                       void* data) -> Result {
        for (size_t n = 0; n < total; ++n) run(data, n);
        return nullptr;
    };
    return api;
}

std::mt19937 engine;
const OrtApi api = runtime();

int64_t random(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(engine); }

template <typename T>
T pool(int64_t pooling, T pooled, T sum) {
    if (pooling == kNegatedMaximum) sum = static_cast<T>(-sum);
    if (pooling == kTotal) return static_cast<T>(pooled + sum);
    if (pooling == kReluTotal) return static_cast<T>(pooled + std::max(sum, T{}));
    return std::max(pooled, sum);
}

template <typename T>
void check(const OrtCustomOp* op) {
    const int64_t width = random(1, 5), filters = random(1, random(0, 3) ? 150 : 600), words = random(1, 30), rows = random(0, 4);
    const int64_t time = random(0, 30), dilation = random(1, 3), before = random(0, 3), behind = random(0, 3);
    const int64_t pooling = sizeof(T) == 1 ? kMaximum : random(0, kPoolings - 1), outside = random(0, words - 1);
    OrtKernelInfo info{{{"dilation", dilation}, {"before", before}, {"behind", behind}, {"outside", outside},
                        {"pooling", pooling}}, {}};
    info.inputs.resize(static_cast<size_t>(width + 1));
    resize<int32_t>(&info.inputs[0], {rows, time});
    std::vector<const T*> tables;
    for (int64_t tap = 0; tap < width; ++tap) {
        OrtValue& table = info.inputs[static_cast<size_t>(tap + 1)];
        resize<T>(&table, {1, words, filters});
        T* entries = reinterpret_cast<T*>(table.data.get());
        for (int64_t n = 0; n < words * filters; ++n)
            entries[n] = sizeof(T) == 1 ? static_cast<T>(random(0, 50)) : static_cast<T>(random(-1000, 1000)) / T{7};
        tables.push_back(entries);
    }
    int32_t* ids = reinterpret_cast<int32_t*>(info.inputs[0].data.get());
    bool wrong = false;
    const int64_t padding = random(0, words - 1), padded = random(0, 1) ? random(0, time) : 0;
    const bool in_front = random(0, 1);
    for (int64_t n = 0; n < rows * time; ++n) {
        if (in_front ? n % time < padded : n % time >= time - padded) {
            ids[n] = static_cast<int32_t>(padding);
            continue;
        }
        const bool bad = random(0, 200) == 0;
        ids[n] = static_cast<int32_t>(bad ? (random(0, 1) ? random(words, INT32_MAX) : random(INT32_MIN, -1))
                                          : random(0, words - 1));
        wrong |= bad;
    }

    void* kernel = nullptr;
    assert(!op->CreateKernelV2(op, &api, &info, &kernel));
    OrtKernelContext context{&info, {}, sizeof(T)};
    const std::unique_ptr<OrtStatus> failed(op->KernelComputeV2(kernel, &context));
    op->KernelDestroy(kernel);
    const int64_t positions = before + time + behind - (width - 1) * dilation;
    assert(!failed == !(wrong || positions < 1));
    if (failed) return;

    const T* out = reinterpret_cast<const T*>(context.out.data.get());
    for (int64_t row = 0; row < rows; ++row)
        for (int64_t filter = 0; filter < filters; ++filter) {
            const bool adds = pooling == kTotal || pooling == kReluTotal;
            T pooled = adds ? T{} : std::numeric_limits<T>::lowest();
            for (int64_t position = 0; position < positions; ++position) {
                T sum{};
                for (int64_t tap = 0; tap < width; ++tap) {
                    const int64_t place = position + tap * dilation - before;
                    const int64_t id = place < 0 || place >= time ? outside : ids[row * time + place];
                    const T part = tables[static_cast<size_t>(tap)][id * filters + filter];
                    sum = tap ? static_cast<T>(sum + part) : part;
                }
                if (pooling == kMap) assert(out[(row * positions + position) * filters + filter] == sum);
                pooled = pool(pooling, pooled, sum);
            }
            if (pooling != kMap) assert(out[row * filters + filter] == pooled);
        }
}

int main(int, char** arguments) {
    const OrtApiBase base{[](uint32_t) { return &api; }, nullptr};
    assert(!RegisterCustomOps(nullptr, &base) && !RegisterCustomOps(nullptr, &base));
    assert(domain.operators.size() == 2);
    for (int n = 0; n < std::atoi(arguments[1]); ++n) {
        engine.seed(static_cast<unsigned>(n));
        check<float>(domain.operators[0]);
        check<uint8_t>(domain.operators[1]);
    }
}
