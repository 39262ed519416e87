// Looks up random words, and compares the ids with those of a map. Tests compile it with AddressSanitizer and
// UndefinedBehaviorSanitizer: every text and every result is an allocation of exactly its size.
#include "vocabulary.cpp"

#undef NDEBUG
#include <cassert>
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

    std::vector<int32_t> expected, expected_ends;
    std::string texts;
    const int64_t count = random(1, 4);
    for (int64_t text = 0; text < count; ++text) {
        if (text) texts += '\xff';
        if (start >= 0) expected.push_back(start);
        int32_t unknown_words = 0;
        for (int64_t n = random(0, 80); n > 0; --n) {
            texts.append(static_cast<size_t>(random(1, random(0, 9) ? 1 : 20)), random(0, 1) ? ' ' : '.');
            const std::string word = known.empty() || random(0, 1)
                                         ? random_word()
                                         : std::next(known.begin(), random(0, static_cast<int64_t>(known.size()) - 1))->first;
            for (char byte : word) texts += byte == 'b' && random(0, 1) ? "B" : random(0, 9) ? std::string(1, byte) : byte + std::string("-");
            const auto found = known.find(word);
            unknown_words += found == known.end();
            const int32_t id = found == known.end() ? unknown : found->second;
            if (id >= 0) expected.push_back(id);
        }
        if (random(0, 1)) texts += "  ";
        expected_ends.push_back(static_cast<int32_t>(expected.size()));
        expected_ends.push_back(unknown_words);
    }
    const std::unique_ptr<char[]> exact(new char[texts.size()]);
    std::memcpy(exact.get(), texts.data(), texts.size());
    const std::unique_ptr<int32_t[]> ids(new int32_t[texts.size() / 2 + 3 * static_cast<size_t>(count)]);
    const std::unique_ptr<int32_t[]> ends(new int32_t[expected_ends.size()]);
    assert(vocabulary_encode(vocabulary, exact.get(), static_cast<int64_t>(texts.size()), ids.get(), ends.get()));
    vocabulary_delete(vocabulary);
    assert(std::equal(expected_ends.begin(), expected_ends.end(), ends.get()));
    assert(std::equal(expected.begin(), expected.end(), ids.get()));
}

int main(int, char** arguments) {
    for (int n = 0; n < std::atoi(arguments[1]); ++n) {
        engine.seed(static_cast<unsigned>(n));
        check();
    }
}
