// Looks up the words of a text: a hash table with open addressing, whose keys are the first 16 bytes of a word.
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

namespace {

constexpr int64_t kKeyBytes = 16;

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
    std::vector<Slot> slots;    // a power of two, of which at most half are used
    int shift;                  // from a hash to a slot
    std::vector<char> letters;  // of the longer words
    std::vector<std::pair<std::string_view, int32_t>> longer;

    size_t slot_of(const Key& key) const {
        size_t slot = key.hash() >> shift;
        while (!slots[slot].key.empty() && !(slots[slot].key == key)) slot = (slot + 1) & (slots.size() - 1);
        return slot;
    }
};

// The lowest bit that is set is in the first byte that is a space: Hacker's Delight, section 6-1. 0 if there is none.
uint64_t spaces(uint64_t bytes) {
    const uint64_t zeros = bytes ^ 0x2020202020202020;
    return (zeros - 0x0101010101010101) & ~zeros & 0x8080808080808080;
}

// The bytes before the first space, of which `found` is the result of `spaces`.
uint64_t before(uint64_t bytes, uint64_t found) { return bytes & (((found & -found) >> 7) - 1); }

// Reads the key of the word at the beginning of a text. Returns the length of the word, or more than 16 bytes.
int64_t read_key(const char* text, int64_t size, Key* key) {
    *key = Key{};
    std::memcpy(key, text, static_cast<size_t>(size < kKeyBytes ? size : kKeyBytes));
    if (const uint64_t found = spaces(key->first)) {
        *key = {before(key->first, found), 0};
        return __builtin_ctzll(found) / 8;
    }
    if (const uint64_t found = spaces(key->second)) {
        key->second = before(key->second, found);
        return 8 + __builtin_ctzll(found) / 8;
    }
    return size <= kKeyBytes ? size : kKeyBytes + (text[kKeyBytes] != ' ');
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

// Makes a vocabulary of `count` words, which stand one after the other. Returns null if there is no memory.
EXPORT Vocabulary* vocabulary_new(const char* words, const int32_t* sizes, const int32_t* ids, int64_t count) try {
    auto made = std::make_unique<Vocabulary>();
    int bits = 4;
    while (int64_t{1} << bits < 2 * count) ++bits;
    made->slots.resize(size_t{1} << bits);
    made->shift = 64 - bits;
    size_t letters = 0;
    for (int64_t n = 0; n < count; ++n) letters += sizes[n] > kKeyBytes ? static_cast<size_t>(sizes[n]) : 0;
    made->letters.reserve(letters);  // so that views of it stay valid
    for (int64_t n = 0; n < count; words += sizes[n++]) {
        if (sizes[n] > kKeyBytes) {
            made->letters.insert(made->letters.end(), words, words + sizes[n]);
            const char* word = made->letters.data() + made->letters.size() - sizes[n];
            made->longer.emplace_back(std::string_view(word, static_cast<size_t>(sizes[n])), ids[n]);
        } else {
            Key key;
            read_key(words, sizes[n], &key);
            made->slots[made->slot_of(key)] = {key, ids[n]};
        }
    }
    std::sort(made->longer.begin(), made->longer.end());
    return made.release();
} catch (const std::bad_alloc&) {
    return nullptr;
}

EXPORT void vocabulary_delete(Vocabulary* vocabulary) { delete vocabulary; }

// Writes the ids of the words of a text, which spaces separate. Unknown words have the id `unknown`, or are left out if
// that is negative. Returns the number of ids, times 2^32, plus that of unknown words. `ids` needs room for an id for every
// second byte of the text.
EXPORT int64_t vocabulary_look_up(const Vocabulary* vocabulary, const char* text, int64_t size, int32_t unknown,
                                  int32_t* ids) {
    const char* const end = text + size;
    int64_t unknown_words = 0;
    int32_t* next = ids;
    while (text < end) {
        Key key;
        int64_t length = read_key(text, end - text, &key);
        int32_t id = -1;
        if (length == 0) {
            ++text;
            continue;
        }
        if (length <= kKeyBytes) {
            const Slot& slot = vocabulary->slots[vocabulary->slot_of(key)];
            if (!slot.key.empty()) id = slot.id;
        } else {
            const void* space = std::memchr(text, ' ', static_cast<size_t>(end - text));
            length = (space ? static_cast<const char*>(space) : end) - text;
            const std::pair word(std::string_view(text, static_cast<size_t>(length)), int32_t{0});
            const auto found = std::lower_bound(vocabulary->longer.begin(), vocabulary->longer.end(), word);
            if (found != vocabulary->longer.end() && found->first == word.first) id = found->second;
        }
        text += length + 1;  // the space behind the word too
        if (id < 0) {
            ++unknown_words;
            id = unknown;
        }
        if (id >= 0) *next++ = id;
    }
    return (next - ids) << 32 | unknown_words;
}
