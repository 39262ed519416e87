// Turns texts into the ids of their words: a hash table with open addressing, whose keys are the first 16 bytes of a word.
//
// Words are not empty, and contain neither a space nor a zero byte. Shorter words end with zero bytes in their key, so no
// other word has the same one. The few longer words are in a sorted list.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>
#include <utility>
#include <vector>

#include "marks.h"

namespace {

constexpr size_t kKeyBytes = 16;

// Spaces behind a text, which is read in steps of 64 bytes.
constexpr size_t kBehind = 128;

// The byte between two texts, which does not occur in UTF-8.
constexpr int kBetween = 0xff;

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first byte of a key is its lowest one");

struct Key {
    uint64_t first, second;

    bool operator==(const Key& other) const { return first == other.first && second == other.second; }
    bool empty() const { return first == 0; }

    // The upper bits of the product depend on all bits of the key.
    uint64_t hash() const { return (first ^ second * 0x9e3779b97f4a7c15) * 0xd6e8feb86659fd93; }
};

struct Slot {
    Key key;
    int32_t id;
};

struct Vocabulary {
    unsigned char becomes[256];  // what each byte of a text becomes; 0: it is removed
    int32_t start, unknown;      // ids; negative: none
    std::vector<Slot> slots;     // a power of two, of which at most half are used
    int shift;                   // from a hash to a slot
    std::vector<char> letters;   // of the longer words
    std::vector<std::pair<std::string_view, int32_t>> longer;

    size_t slot_of(const Key& key) const {
        size_t slot = key.hash() >> shift;
        while (!slots[slot].key.empty() && !(slots[slot].key == key)) slot = (slot + 1) & (slots.size() - 1);
        return slot;
    }

    // Returns the id of a longer word, or -1.
    int32_t find_longer(std::string_view word) const {
        const auto found = std::lower_bound(longer.begin(), longer.end(), std::pair(word, int32_t{0}));
        return found != longer.end() && found->first == word ? found->second : -1;
    }
};

// A bit for each of 64 bytes: whether it is not a space.
uint64_t letters(const char* text) {
    constexpr uint64_t kOnes = 0x0101010101010101;
    uint64_t mask = 0;
    for (int n = 0; n < 8; ++n) {
        uint64_t bytes;
        std::memcpy(&bytes, text + 8 * n, sizeof(bytes));
        bytes ^= ' ' * kOnes;
        const uint64_t found = (((bytes & 0x7f * kOnes) + 0x7f * kOnes) | bytes) >> 7 & kOnes;
        mask |= (found * 0x0102040810204080 >> 56) << 8 * n;
    }
    return mask;
}

// Copies the bytes of a text as what they become. Returns the end of the copy.
char* respell(const Vocabulary& vocabulary, const char* text, const char* end, char* copy) {
    for (; text < end; ++text) {
        const unsigned char byte = vocabulary.becomes[static_cast<unsigned char>(*text)];
        *copy = static_cast<char>(byte);
        copy += byte != 0;
    }
    return copy;
}

// Returns the id of a word, or -1. At least 16 bytes can be read.
int32_t find(const Vocabulary& vocabulary, const char* word, size_t length) {
    if (length > kKeyBytes) return vocabulary.find_longer({word, length});
    // The first `length` bytes are 0xff.
    static const unsigned char kMasks[] = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    Key key, mask;
    std::memcpy(&key, word, kKeyBytes);
    std::memcpy(&mask, kMasks + kKeyBytes - length, kKeyBytes);
    const Slot& slot = vocabulary.slots[vocabulary.slot_of({key.first & mask.first, key.second & mask.second})];
    return slot.key.empty() ? -1 : slot.id;
}

// What is written for each text.
struct End {
    int32_t ids, unknown, marks;  // the number of ids up to its end, and of its unknown words and its known marks
};

// Writes the ids of the words of a text with `kBehind` spaces behind it, and counts them. Returns the end of the ids.
int32_t* look_up(const Vocabulary& vocabulary, const char* text, const char* end, int32_t* ids, End* counts) {
    const char* word = nullptr;  // the beginning of the word that has no end yet
    uint64_t last = 0;           // whether the byte before these 64 is in a word
    for (; text <= end; text += 64) {
        const uint64_t found = letters(text);
        for (uint64_t changes = found ^ (found << 1 | last); changes; changes &= changes - 1) {
            const char* place = text + __builtin_ctzll(changes);
            if (!word) {
                word = place;
                continue;
            }
            int32_t id = find(vocabulary, word, static_cast<size_t>(place - word));
            counts->marks += id >= 0 && (*word == '!' || *word == '?');
            counts->unknown += id < 0;
            word = nullptr;
            if (id < 0) id = vocabulary.unknown;
            *ids = id;
            ids += id >= 0;
        }
        last = found >> 63;
    }
    return ids;
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

// Makes a vocabulary of `count` words, which stand one after the other. `becomes`, `start` and `unknown` are those of
// `Vocabulary`; words consist of what bytes become. Returns null if there is no memory.
EXPORT Vocabulary* vocabulary_new(const char* words, const int32_t* sizes, const int32_t* ids, int64_t count,
                                  const char* becomes, int32_t start, int32_t unknown) try {
    auto made = std::make_unique<Vocabulary>();
    std::memcpy(made->becomes, becomes, sizeof(made->becomes));
    made->start = start, made->unknown = unknown;
    int bits = 4;
    while (int64_t{1} << bits < 2 * count) ++bits;
    made->slots.resize(size_t{1} << bits);
    made->shift = 64 - bits;
    size_t letters = 0;
    const auto is_longer = [sizes](int64_t n) { return static_cast<size_t>(sizes[n]) > kKeyBytes; };
    for (int64_t n = 0; n < count; ++n) letters += is_longer(n) ? static_cast<size_t>(sizes[n]) : 0;
    made->letters.reserve(letters);  // so that views of it stay valid
    for (int64_t n = 0; n < count; words += sizes[n++]) {
        const auto size = static_cast<size_t>(sizes[n]);
        if (is_longer(n)) {
            made->letters.insert(made->letters.end(), words, words + size);
            const char* word = made->letters.data() + made->letters.size() - size;
            made->longer.emplace_back(std::string_view(word, size), ids[n]);
        } else {
            Key key{};
            std::memcpy(&key, words, size);
            made->slots[made->slot_of(key)] = {key, ids[n]};
        }
    }
    std::sort(made->longer.begin(), made->longer.end());
    return made.release();
} catch (const std::bad_alloc&) {
    return nullptr;
}

EXPORT void vocabulary_delete(Vocabulary* vocabulary) { delete vocabulary; }

// Writes the ids of the words of texts in UTF-8, between which are bytes 0xff: for each text, the start id, and an id for
// every word, or for every known one if unknown words have none. `marks` is the table of `Marks`, or null if a text has
// only words. `ids` needs room for as many ids as bytes, and for three for each text. Returns whether there was enough
// memory.
EXPORT bool vocabulary_look_up(const Vocabulary* vocabulary, const int32_t* marks, const char* texts, int64_t size,
                               int32_t* ids, End* ends) {
    const size_t room = static_cast<size_t>(size) * (marks ? 3 : 1);
    const std::unique_ptr<char[]> buffer(new (std::nothrow) char[1 + room + kBehind]);
    if (!buffer) return false;
    buffer[0] = ' ';
    char* const copy = buffer.get() + 1;
    const char* const last = texts + size;
    int32_t* next = ids;
    for (const char* text = texts; text <= last; ++text) {
        const void* between = std::memchr(text, kBetween, static_cast<size_t>(last - text));
        const char* end = between ? static_cast<const char*>(between) : last;
        char* behind = marks ? Marks(vocabulary->becomes, marks, text, end, copy).read()
                             : respell(*vocabulary, text, end, copy);
        std::memset(behind, ' ', kBehind);
        if (vocabulary->start >= 0) *next++ = vocabulary->start;
        End counts{};
        next = look_up(*vocabulary, copy, behind, next, &counts);
        counts.ids = static_cast<int32_t>(next - ids);
        *ends++ = counts;
        text = end;
    }
    return true;
}
