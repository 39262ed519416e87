// Looks up random words, and compares the ids with those of a map. Tests compile it with AddressSanitizer and
// UndefinedBehaviorSanitizer: every text and every result is an allocation of exactly its size.
#include "vocabulary.cpp"

#undef NDEBUG
#include <cassert>
#include <cctype>
#include <cstdlib>
#include <map>
#include <random>
#include <string>

std::mt19937 engine;

int64_t random(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(engine); }

// Few different bytes, so that words have common beginnings and ends.
std::string random_word() {
    static const char bytes[] = {'a', 'b', '!', '\x7f', '\xa0', '\xfe'};
    std::string word;
    const int64_t size = random(1, random(0, 3) ? 6 : 40);
    while (static_cast<int64_t>(word.size()) < size) word += bytes[random(0, 5)];
    return word;
}

void check() {
    std::map<std::string, int32_t> known;
    for (int64_t n = random(0, 60); n > 0; --n) known[random_word()] = static_cast<int32_t>(random(0, INT32_MAX));
    std::string letters;
    std::vector<int32_t> sizes, numbers;
    for (const auto& [word, number] : known) {
        letters += word;
        sizes.push_back(static_cast<int32_t>(word.size()));
        numbers.push_back(number);
    }
    const std::unique_ptr<char[]> words(new char[letters.size()]);
    std::memcpy(words.get(), letters.data(), letters.size());
    char becomes[256];
    for (int byte = 0; byte < 256; ++byte) becomes[byte] = static_cast<char>(byte);
    becomes['B'] = 'b', becomes['.'] = ' ', becomes['-'] = 0;
    const int32_t start = static_cast<int32_t>(random(-1, 3)), unknown = static_cast<int32_t>(random(-1, 3));
    Vocabulary* vocabulary = vocabulary_new(words.get(), sizes.data(), numbers.data(),
                                            static_cast<int64_t>(known.size()), becomes, start, unknown);
    assert(vocabulary);

    std::vector<int32_t> expected;
    std::vector<End> expected_ends;
    std::string texts;
    const int64_t count = random(1, 4);
    for (int64_t text = 0; text < count; ++text) {
        if (text) texts += '\xff';
        if (start >= 0) expected.push_back(start);
        End counts{};
        for (int64_t n = random(0, 80); n > 0; --n) {
            texts.append(static_cast<size_t>(random(1, random(0, 9) ? 1 : 20)), random(0, 1) ? ' ' : '.');
            const std::string word = known.empty() || random(0, 1)
                                         ? random_word()
                                         : std::next(known.begin(), random(0, static_cast<int64_t>(known.size()) - 1))->first;
            for (char byte : word) texts += byte == 'b' && random(0, 1) ? "B" : random(0, 9) ? std::string(1, byte) : byte + std::string("-");
            const auto found = known.find(word);
            counts.unknown += found == known.end();
            counts.marks += found != known.end() && word[0] == '!';
            const int32_t id = found == known.end() ? unknown : found->second;
            if (id >= 0) expected.push_back(id);
        }
        if (random(0, 1)) texts += "  ";
        counts.ids = static_cast<int32_t>(expected.size());
        expected_ends.push_back(counts);
    }
    const std::unique_ptr<char[]> exact(new char[texts.size()]);
    std::memcpy(exact.get(), texts.data(), texts.size());
    const std::unique_ptr<int32_t[]> ids(new int32_t[texts.size() + 3 * static_cast<size_t>(count)]);
    const std::unique_ptr<End[]> ends(new End[expected_ends.size()]);
    const auto size = static_cast<int64_t>(texts.size());
    assert(vocabulary_look_up(vocabulary, nullptr, exact.get(), size, ids.get(), ends.get()));
    vocabulary_delete(vocabulary);
    assert(std::memcmp(expected_ends.data(), ends.get(), expected_ends.size() * sizeof(End)) == 0);
    assert(std::equal(expected.begin(), expected.end(), ids.get()));
}

// Returns a table of characters with any kinds and lower cases.
std::unique_ptr<int32_t[]> random_table() {
    constexpr int64_t kBlocks = 0x110000 / 128, kSize = kBlocks + 4 * 128;
    std::unique_ptr<int32_t[]> table(new int32_t[kSize]);
    for (int64_t block = 0; block < kBlocks; ++block) table[block] = static_cast<int32_t>(kBlocks + 128 * random(0, 3));
    for (int64_t entry = kBlocks; entry < kSize; ++entry)
        table[entry] = static_cast<int32_t>(8 * random(0, random(0, 3) ? 0 : 0x10ffff) + random(0, 7));
    return table;
}

// Looks up texts with marks, of bytes that are UTF-8 or not, and counts their ids.
void check_marks() {
    static const std::unique_ptr<int32_t[]> table = random_table();
    char becomes[256] = {};
    for (int byte = 0; byte < 128; ++byte) becomes[byte] = std::strchr("0123456789'!?:;<", byte) ? 0 : std::isalpha(byte) ? 'a' : ' ';
    becomes[0] = ' ';
    const int32_t size_of_mark = 1, number = 7;
    Vocabulary* vocabulary = vocabulary_new("!", &size_of_mark, &number, 1, becomes, 1, 2);
    assert(vocabulary);

    static const std::string_view pieces[] = {"a", " ", "'", "5", "10", "/", ".", "!", "?", ":", ";", "<", "3", "-", ")", "D",
        "\xc3\x89", "\xc8\xba", "\xef\xb8\x8f", "\xe2\x98\x85", "\xed\xa0\x80", "\xf0\x9f\x91\x8d", "\xf4\x8f\xbf\xbf",
        "\x80", "\xc3", "\xe2\x98", "\xf0\x9f\x91", "\xf7\xbf\xbf\xbf", "\xfe", "\xff", {"", 1}};
    std::string texts;
    for (int64_t n = random(0, 40); n > 0; --n) {
        const std::string_view piece = pieces[random(0, std::size(pieces) - 1)];
        for (int64_t times = random(1, random(0, 9) ? 1 : 9); times > 0; --times) texts += piece;
    }
    const std::unique_ptr<char[]> exact(new char[texts.size()]);
    std::memcpy(exact.get(), texts.data(), texts.size());
    const size_t count = 1 + static_cast<size_t>(std::count(texts.begin(), texts.end(), '\xff'));
    const std::unique_ptr<int32_t[]> ids(new int32_t[texts.size() + 3 * count]);
    const std::unique_ptr<End[]> ends(new End[count]);
    assert(vocabulary_look_up(vocabulary, table.get(), exact.get(), static_cast<int64_t>(texts.size()), ids.get(), ends.get()));
    vocabulary_delete(vocabulary);
    int32_t marks = 0, last = 0;
    for (size_t text = 0; text < count; last = ends[text++].ids) {
        assert(ends[text].ids - last == 1 + ends[text].marks + ends[text].unknown);
        marks += ends[text].marks;
    }
    assert(std::count(ids.get(), ids.get() + last, number) == marks);
}

int main(int, char** arguments) {
    for (int n = 0; n < std::atoi(arguments[1]); ++n) {
        engine.seed(static_cast<unsigned>(n));
        check();
        check_marks();
    }
}
