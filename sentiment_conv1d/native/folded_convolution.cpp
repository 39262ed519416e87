// com.sentiment_conv1d.FoldedConvolution: a convolution as table look-ups, with its pooling, as an operator of ONNX Runtime.
//
//   tokens int32 [batch, time], table float32 or uint8 [1, ids, filters] for each tap  ->  pooled [batch, filters]
//
// At position p, the sum is  table_0[id[p]] + table_1[id[p + dilation]] + …, added in this order, as the general graph does.
// `before` and `behind` are the numbers of ids `outside` that surround a text. The tables are constants of the graph, and
// the kernel reads them where ONNX Runtime keeps them. Every id is checked before a table is read.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "onnxruntime_abi.h"

namespace {

// Limits an attribute and the number of ids, so that no product of sizes overflows.
constexpr int64_t kLargest = 1 << 24;

enum Pooling : int64_t {
    kMaximum,         // of the sums
    kNegatedMaximum,  // of the negated sums: the negated minimum
    kTotal,           // of the sums
    kReluTotal,       // of the sums above zero
    kMap,             // no pooling: [1, batch, positions, filters]
    kPoolings,
};

template <typename T>
struct Convolution {
    const OrtApi* api;
    std::vector<const T*> tables;
    int64_t ids, filters, dilation, before, behind, outside, pooling;

    int64_t span() const { return static_cast<int64_t>(tables.size() - 1) * dilation + 1; }
};

template <typename T>
struct Batch {
    const Convolution<T>* convolution;
    const int32_t* ids;  // [rows, time], with the padding
    int64_t time, positions;
    T* out;  // [rows, filters], or [rows, positions, filters]
};

// One text of a batch. The windows `first` to `last` contain the same ids, those of the padding, so only one is computed.
template <typename T>
struct Text {
    const int32_t* ids;
    int64_t first, last;
    T* out;
};

// The number of equal ids from `ids` on, or before it if `step` is -1, of at most `count`.
inline int64_t equal(const int32_t* ids, int64_t count, int64_t step) {
    int64_t same = 1;
    while (same < count && ids[same * step] == *ids) ++same;
    return std::min(same, count);
}

template <typename T>
Text<T> read_text(const Batch<T>& batch, int64_t number) {
    const auto& convolution = *batch.convolution;
    const int64_t span = convolution.span(), size = batch.positions + span - 1;
    const int64_t rows = convolution.pooling == kMap ? batch.positions : 1;
    Text<T> text{batch.ids + number * batch.time, 0, 0, batch.out + number * rows * convolution.filters};
    int64_t begin = convolution.before, end = size - convolution.behind;
    const int64_t before = equal(text.ids + begin, end - begin, 1), behind = equal(text.ids + end - 1, end - begin, -1);
    if (before > behind) end = begin + before; else begin = end - behind;
    if (end - begin > span) text.first = begin, text.last = end - span;
    return text;
}

#define INLINE inline __attribute__((always_inline))

// The unit of the arithmetic: as many numbers as fit into a register, or a single number for the remaining filters.
template <typename T, int BYTES>
struct Vector {
    typedef T type __attribute__((vector_size(BYTES)));
};

template <typename T>
struct Vector<T, 0> {
    typedef T type;
};

// The number of positions between a look-up and the prefetch of its rows. Few rows are in the cache of a core, and the
// processor does not guess the next ones.
constexpr int64_t kAhead = 8;
constexpr size_t kLineBytes = 64;

// Pools a block of neighboring filters, COUNT vectors, over all positions of one text. The sums stay in registers.
template <int64_t POOLING, int BYTES, int COUNT, typename T>
INLINE void pool(const Batch<T>& batch, const Text<T>& text, int64_t first) {
    typedef typename Vector<T, BYTES>::type V;
    constexpr int64_t kLanes = sizeof(V) / sizeof(T);
    const auto& convolution = *batch.convolution;
    const int64_t filters = convolution.filters, dilation = convolution.dilation;
    const T* const* tables = convolution.tables.data();
    const size_t width = convolution.tables.size();
    const int32_t* ids = text.ids;
    constexpr bool kOfMaxima = POOLING == kMaximum || POOLING == kNegatedMaximum;
    const V zero{};
    V pooled[COUNT];
    for (V& each : pooled) each = zero + (kOfMaxima ? std::numeric_limits<T>::lowest() : T{});
    for (int64_t position = 0; position < batch.positions;) {
        if (position + kAhead < batch.positions) {
            for (size_t tap = 0; tap < width; ++tap) {
                const int32_t id = ids[position + kAhead + static_cast<int64_t>(tap) * dilation];
                const char* next = reinterpret_cast<const char*>(tables[tap] + id * filters + first);
                for (size_t line = 0; line < sizeof(pooled); line += kLineBytes) __builtin_prefetch(next + line);
            }
        }
        V sums[COUNT];
        const T* row = tables[0] + ids[position] * filters + first;
        for (int n = 0; n < COUNT; ++n) std::memcpy(&sums[n], row + n * kLanes, sizeof(V));
        for (size_t tap = 1; tap < width; ++tap) {
            row = tables[tap] + ids[position + static_cast<int64_t>(tap) * dilation] * filters + first;
            for (int n = 0; n < COUNT; ++n) {
                V part;
                std::memcpy(&part, row + n * kLanes, sizeof(V));
                sums[n] = sums[n] + part;
            }
        }
        // Windows with the same sums count in an average, but not in a maximum.
        const int64_t last = position == text.first ? text.last : position;
        position = kOfMaxima ? last : position;
        for (; position <= last; ++position) {
            for (int n = 0; n < COUNT; ++n) {
                if (POOLING == kMap) std::memcpy(text.out + position * filters + first + n * kLanes, &sums[n], sizeof(V));
                if (POOLING == kTotal) pooled[n] = pooled[n] + sums[n];
                if (POOLING == kReluTotal) pooled[n] = pooled[n] + (sums[n] > zero ? sums[n] : zero);
                if (POOLING == kMaximum) pooled[n] = sums[n] > pooled[n] ? sums[n] : pooled[n];
                if (POOLING == kNegatedMaximum) pooled[n] = -sums[n] > pooled[n] ? -sums[n] : pooled[n];
            }
        }
    }
    if (POOLING != kMap) std::memcpy(text.out + first, pooled, sizeof(pooled));
}

// Pools the filters from `first` on. The last block overlaps the one before it, which computes some filters twice, unless
// that is more than half of the block: then smaller blocks pool the rest. Returns the first filter that is left.
template <int64_t POOLING, int BYTES, int COUNT, typename T>
INLINE int64_t blocks(const Batch<T>& batch, const Text<T>& text, int64_t first) {
    constexpr int64_t kFilters = COUNT * (BYTES ? BYTES / static_cast<int64_t>(sizeof(T)) : 1);
    const int64_t filters = batch.convolution->filters;
    if (filters < kFilters) return first;
    for (; first < filters && (COUNT == 1 || 2 * (filters - first) > kFilters); first += kFilters) {
        const int64_t start = first + kFilters <= filters ? first : filters - kFilters;
        pool<POOLING, BYTES, COUNT>(batch, text, start);
    }
    return std::min(first, filters);
}

template <int64_t POOLING, int BYTES, typename T>
INLINE void pool_text(const Batch<T>& batch, int64_t number) {
    const Text<T> text = read_text(batch, number);
    int64_t first = 0;
    if constexpr (BYTES == 64) first = blocks<POOLING, BYTES, 8>(batch, text, first);  // AVX-512 has 32 registers
    first = blocks<POOLING, BYTES, 4>(batch, text, first);
    first = blocks<POOLING, BYTES, 2>(batch, text, first);
    first = blocks<POOLING, BYTES, 1>(batch, text, first);
    blocks<POOLING, 0, 1>(batch, text, first);
}

template <int BYTES>
INLINE void run(const Batch<float>& batch, int64_t text) {
    switch (batch.convolution->pooling) {
        case kMaximum: return pool_text<kMaximum, BYTES>(batch, text);
        case kNegatedMaximum: return pool_text<kNegatedMaximum, BYTES>(batch, text);
        case kTotal: return pool_text<kTotal, BYTES>(batch, text);
        case kReluTotal: return pool_text<kReluTotal, BYTES>(batch, text);
        default: return pool_text<kMap, BYTES>(batch, text);
    }
}

template <int BYTES>
INLINE void run(const Batch<uint8_t>& batch, int64_t text) {
    pool_text<kMaximum, BYTES>(batch, text);
}

// One function for each form of the processor. NEON has vectors of 16 bytes, like SSE2.
#if defined(__x86_64__)
template <typename T>
__attribute__((target("avx512bw"))) void run_avx512(void* batch, size_t text) {
    run<64>(*static_cast<Batch<T>*>(batch), text);
}

template <typename T>
__attribute__((target("avx2"))) void run_avx2(void* batch, size_t text) {
    run<32>(*static_cast<Batch<T>*>(batch), text);
}
#endif

template <typename T>
void run_plain(void* batch, size_t text) {
    run<16>(*static_cast<Batch<T>*>(batch), text);
}

#ifndef FORM  // tests compile each form alone
#define FORM 2
#endif

template <typename T>
auto choose() {
#if defined(__x86_64__)
    if (FORM >= 2 && __builtin_cpu_supports("avx512bw")) return run_avx512<T>;
    if (FORM >= 1 && __builtin_cpu_supports("avx2")) return run_avx2<T>;
#endif
    return run_plain<T>;
}

template <typename... Values>
Result error(const OrtApi* api, const char* format, Values... values) {
    char message[200];
    std::snprintf(message, sizeof(message), format, values...);
    return api->CreateStatus(kInvalidArgument, message);
}

#define CHECK(call) \
    if (Result failed = (call)) return failed

template <size_t RANK>
Result read_sizes(const OrtApi* api, const OrtValue* value, int64_t (&sizes)[RANK]) {
    OrtTensorTypeAndShapeInfo* info = nullptr;
    CHECK(api->GetTensorTypeAndShape(value, &info));
    size_t rank = 0;
    Result failed = api->GetDimensionsCount(info, &rank);
    if (!failed && rank != RANK) failed = error(api, "an input has %zu dimensions instead of %zu", rank, RANK);
    if (!failed) failed = api->GetDimensions(info, sizes, RANK);
    api->ReleaseTensorTypeAndShapeInfo(info);
    return failed;
}

template <typename T>
Result read(const OrtApi* api, const OrtKernelInfo* info, Convolution<T>* made) {
    const std::pair<const char*, int64_t*> attributes[] = {
        {"dilation", &made->dilation}, {"before", &made->before},   {"behind", &made->behind},
        {"outside", &made->outside},   {"pooling", &made->pooling},
    };
    for (const auto& [name, value] : attributes) {
        CHECK(api->KernelInfoGetAttribute_int64(info, name, value));
        if (*value < 0 || *value > kLargest) return error(api, "attribute %s is out of range", name);
    }
    size_t inputs = 0;
    CHECK(api->KernelInfo_GetInputCount(info, &inputs));
    for (size_t index = 1; index < inputs; ++index) {
        int constant = 0;
        const OrtValue* table = nullptr;
        CHECK(api->KernelInfoGetConstantInput_tensor(info, index, &constant, &table));
        if (!constant) return error(api, "table %zu is not a constant", index - 1);
        int64_t sizes[3];
        CHECK(read_sizes(api, table, sizes));
        if (index == 1) made->ids = sizes[1], made->filters = sizes[2];
        if (sizes[0] != 1 || sizes[1] != made->ids || sizes[2] != made->filters || sizes[1] > kLargest)
            return error(api, "table %zu has another shape", index - 1);
        void* data = nullptr;
        CHECK(api->GetTensorMutableData(const_cast<OrtValue*>(table), &data));
        made->tables.push_back(static_cast<const T*>(data));
    }
    if (made->tables.empty() || made->dilation < 1 || made->outside >= made->ids || made->pooling >= kPoolings ||
        (sizeof(T) == 1 && made->pooling != kMaximum))
        return error(api, "the attributes and the tables do not fit together");
    return nullptr;
}

template <typename T>
Result create(const OrtCustomOp*, const OrtApi* api, const OrtKernelInfo* info, void** kernel) try {
    auto made = std::make_unique<Convolution<T>>();
    made->api = api;
    CHECK(read(api, info, made.get()));
    *kernel = made.release();
    return nullptr;
} catch (const std::bad_alloc&) {
    return error(api, "no memory");
}

template <typename T>
void destroy(void* kernel) {
    delete static_cast<Convolution<T>*>(kernel);
}

template <typename T>
Result compute(void* kernel, OrtKernelContext* context) {
    const auto& convolution = *static_cast<Convolution<T>*>(kernel);
    const OrtApi* api = convolution.api;
    const OrtValue* tokens = nullptr;
    CHECK(api->KernelContext_GetInput(context, 0, &tokens));
    int64_t sizes[2];
    CHECK(read_sizes(api, tokens, sizes));
    const auto [rows, time] = sizes;
    void* data = nullptr;
    CHECK(api->GetTensorMutableData(const_cast<OrtValue*>(tokens), &data));
    const int32_t* ids = static_cast<const int32_t*>(data);

    uint32_t largest = 0;  // a negative id is a large one
    for (int64_t n = 0; n < rows * time; ++n) largest = std::max(largest, static_cast<uint32_t>(ids[n]));
    if (largest >= convolution.ids && rows * time > 0)
        return error(api, "id %d is not below %d, the number of words", largest, static_cast<int>(convolution.ids));

    Batch<T> batch{&convolution, ids, time + convolution.before + convolution.behind, 0, nullptr};
    batch.positions = batch.time - convolution.span() + 1;
    if (batch.positions < 1) return error(api, "%d ids are fewer than the %d under a filter", static_cast<int>(time), static_cast<int>(convolution.span()));
    std::unique_ptr<int32_t[]> padded;
    if (batch.time > time) {
        padded.reset(new (std::nothrow) int32_t[rows * batch.time]);
        if (!padded) return error(api, "no memory for the padding");
        std::fill_n(padded.get(), rows * batch.time, static_cast<int32_t>(convolution.outside));
        for (int64_t row = 0; row < rows; ++row)
            std::copy_n(ids + row * time, time, padded.get() + row * batch.time + convolution.before);
        batch.ids = padded.get();
    }

    const bool map = convolution.pooling == kMap;
    const int64_t pooled[] = {rows, convolution.filters}, all[] = {1, rows, batch.positions, convolution.filters};
    OrtValue* out = nullptr;
    CHECK(api->KernelContext_GetOutput(context, 0, map ? all : pooled, map ? 4 : 2, &out));
    CHECK(api->GetTensorMutableData(out, &data));
    batch.out = static_cast<T*>(data);
    static const auto run = choose<T>();
    if (rows > 1) return api->KernelContext_ParallelFor(context, run, static_cast<size_t>(rows), 0, &batch);
    if (rows == 1) run(&batch, 0);
    return nullptr;
}

template <typename T, Type TABLE>
OrtCustomOp describe() {
    OrtCustomOp op{};
    op.version = kApiVersion;
    op.GetName = [](const OrtCustomOp*) { return "FoldedConvolution"; };
    op.GetExecutionProviderType = [](const OrtCustomOp*) { return "CPUExecutionProvider"; };
    op.GetInputType = [](const OrtCustomOp*, size_t index) { return index ? TABLE : kInt32; };
    op.GetInputTypeCount = [](const OrtCustomOp*) { return size_t{2}; };
    op.GetOutputType = [](const OrtCustomOp*, size_t) { return TABLE; };
    op.GetOutputTypeCount = [](const OrtCustomOp*) { return size_t{1}; };
    op.GetInputCharacteristic = [](const OrtCustomOp*, size_t index) { return index ? kVariadic : kRequired; };
    op.GetOutputCharacteristic = [](const OrtCustomOp*, size_t) { return kRequired; };
    op.GetInputMemoryType = [](const OrtCustomOp*, size_t) { return kDefaultMemory; };
    op.GetVariadicInputMinArity = [](const OrtCustomOp*) { return 1; };
    op.GetVariadicInputHomogeneity = [](const OrtCustomOp*) { return 1; };
    op.GetVariadicOutputMinArity = [](const OrtCustomOp*) { return 0; };
    op.GetVariadicOutputHomogeneity = [](const OrtCustomOp*) { return 1; };
    op.GetStartVersion = [](const OrtCustomOp*) { return 1; };
    op.GetEndVersion = [](const OrtCustomOp*) { return std::numeric_limits<int>::max(); };
    op.GetMayInplace = [](int**, int**) { return size_t{0}; };
    op.GetAliasMap = [](int**, int**) { return size_t{0}; };
    op.CreateKernelV2 = create<T>;
    op.KernelComputeV2 = compute<T>;
    op.KernelDestroy = destroy<T>;
    return op;
}

}  // namespace

// ONNX Runtime calls this for each session that loads the library.
extern "C" __attribute__((visibility("default"))) Result RegisterCustomOps(OrtSessionOptions* options,
                                                                           const OrtApiBase* base) {
    static const OrtCustomOp operators[] = {describe<float, kFloat>(), describe<uint8_t, kUint8>()};
    static OrtCustomOpDomain* domain = nullptr;
    const OrtApi* api = base->GetApi(kApiVersion);
    if (!api) return base->GetApi(1)->CreateStatus(kInvalidArgument, "this ONNX Runtime is too old for the operator");
    if (!domain) {
        CHECK(api->CreateCustomOpDomain("com.sentiment_conv1d", &domain));
        for (const OrtCustomOp& each : operators) CHECK(api->CustomOpDomain_Add(domain, &each));
    }
    return api->AddCustomOpDomain(options, domain);
}
