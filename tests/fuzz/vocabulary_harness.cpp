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
    static const char bytes[] = {'a', 'b', '!', '\x7f', '\xa0', '\xff'};
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
    Vocabulary* vocabulary =
        vocabulary_new(words.get(), sizes.data(), numbers.data(), static_cast<int64_t>(known.size()));
    assert(vocabulary);

    const int32_t unknown = static_cast<int32_t>(random(-1, 3));
    std::vector<int32_t> expected;
    int64_t unknown_words = 0;
    std::string text;
    for (int64_t n = random(0, 80); n > 0; --n) {
        text.append(static_cast<size_t>(random(1, random(0, 9) ? 1 : 20)), ' ');
        const std::string word = known.empty() || random(0, 1)
                                     ? random_word()
                                     : std::next(known.begin(), random(0, static_cast<int64_t>(known.size()) - 1))->first;
        text += word;
        const auto found = known.find(word);
        unknown_words += found == known.end();
        const int32_t id = found == known.end() ? unknown : found->second;
        if (id >= 0) expected.push_back(id);
    }
    if (random(0, 1)) text += "  ";
    const std::unique_ptr<char[]> exact(new char[text.size()]);
    std::memcpy(exact.get(), text.data(), text.size());
    const std::unique_ptr<int32_t[]> ids(new int32_t[text.size() / 2]);
    const int64_t counts =
        vocabulary_look_up(vocabulary, exact.get(), static_cast<int64_t>(text.size()), unknown, ids.get());
    vocabulary_delete(vocabulary);
    assert(counts >> 32 == static_cast<int64_t>(expected.size()) && (counts & 0xffffffff) == unknown_words);
    assert(std::equal(expected.begin(), expected.end(), ids.get()));
}

int main(int, char** arguments) {
    for (int n = 0; n < std::atoi(arguments[1]); ++n) {
        engine.seed(static_cast<unsigned>(n));
        check();
    }
}
