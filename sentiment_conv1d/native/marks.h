// Splits a text into words, marks, emojis and ratings, as the expression in artifact/tokenizer/marks.py does.
#pragma once
#include <cstdint>
#include <cstring>
#include <string_view>

class Marks {
  public:
    // `becomes` is what ASCII characters become; 0: it depends on those around them. `table` has an entry for each other
    // character, in blocks: it begins with the place of each block. `copy` stands behind a space, and has room for three
    // times the bytes of the text, because a mark of one byte can get two spaces.
    Marks(const unsigned char* becomes, const int32_t* table, const char* text, const char* end, char* copy)
        : becomes_(becomes), table_(table), text_(text), end_(end), copy_(copy) {}

    // Copies the words of the text, as the vocabulary spells them, with spaces between them. Returns the end of the copy.
    char* read() {
        for (const char* const start = text_; text_ < end_;) {
            const unsigned char byte = *text_, become = becomes_[byte];
            if (become) {
                *copy_++ = static_cast<char>(become);
                ++text_;
            } else if (byte >= 0x80) {
                read_character();
            } else if (is_digit(byte)) {
                read_number();
            } else if (byte == '\'') {
                read_joiner(1, byte);
            } else if (byte == '!' || byte == '?') {
                read_marks();
            } else {
                read_emoticon(text_ > start && is_digit(text_[-1]));
            }
        }
        return copy_;
    }

  private:
    // The kind of a character: the lower bits of its entry. The upper ones are what to add for what it becomes.
    enum Kind : int32_t { kLetter, kSeparator, kJoiner, kEmoji, kFlag, kStar };
    static constexpr int32_t kKindBits = 3;
    static constexpr uint32_t kBlock = 128, kCharacters = 0x110000;

    struct Character {
        int64_t size;  // in bytes; 0: it is not beyond ASCII
        uint32_t code;
        Kind kind;
    };

    static bool is_digit(unsigned char byte) { return byte >= '0' && byte <= '9'; }

    static unsigned char lower(unsigned char byte) { return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte; }

    static bool is_ascii_letter(uint32_t code) { return (code >= '0' && code <= '9') || (code >= 'a' && code <= 'z'); }

    bool in_word() const { return copy_[-1] != ' '; }

    // The byte at a distance, or 0 behind the text.
    unsigned char at(int64_t place) const { return place < end_ - text_ ? static_cast<unsigned char>(text_[place]) : 0; }

    // What the character at a distance becomes.
    Character character(int64_t place) const {
        const unsigned char first = at(place);
        const int64_t size = first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
        if (!size || end_ - text_ - place < size) return {0, lower(first), kLetter};
        uint32_t code = first & (0x7fu >> size);
        for (int64_t n = 1; n < size; ++n) code = code << 6 | (at(place + n) & 0x3fu);
        if (code >= kCharacters) return {0, code, kLetter};
        const int32_t entry = table_[table_[code / kBlock] + static_cast<int32_t>(code % kBlock)];
        return {size, code + static_cast<uint32_t>(entry >> kKindBits), Kind(entry & ((1 << kKindBits) - 1))};
    }

    bool is_letter(int64_t place) const {
        const Character found = character(place);
        return found.size ? found.kind == kLetter : is_ascii_letter(found.code);
    }

    // Whether a word ends at a distance, although a joiner may follow.
    bool is_end(int64_t place) const {
        const Character found = character(place);
        const bool is_joiner = found.size ? found.kind == kJoiner : found.code == '\'';
        return !is_letter(place) && !(is_joiner && is_letter(place + (found.size ? found.size : 1)));
    }

    int64_t digits(int64_t place) const {
        int64_t end = place;
        while (is_digit(at(end))) ++end;
        return end - place;
    }

    // Ends a word, if one has begun.
    void separate() {
        *copy_ = ' ';
        copy_ += in_word();
    }

    void copy(int64_t size) {
        std::memcpy(copy_, text_, static_cast<size_t>(size));
        copy_ += size;
        text_ += size;
    }

    void copy_word(int64_t size) {
        separate();
        copy(size);
        *copy_++ = ' ';
    }

    void write(uint32_t code) {
        const int more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;  // bytes, after the first one
        const uint32_t first = more ? 0x7f80u >> more & 0xff : 0;
        *copy_++ = static_cast<char>(first | code >> 6 * more);
        for (int n = more - 1; n >= 0; --n) *copy_++ = static_cast<char>(0x80 | (code >> 6 * n & 0x3f));
    }

    void read_character() {
        const Character found = character(0);
        if (!found.size) return copy(1);  // not UTF-8
        if (found.kind == kEmoji) return copy_word(found.size);
        if (found.kind == kFlag) return read_flag(found.size);
        if (found.kind == kStar) return read_stars();
        if (found.kind == kJoiner) return read_joiner(found.size, found.code);
        if (found.kind == kSeparator) separate(); else write(found.code);
        text_ += found.size;
    }

    // Reads an apostrophe or another joiner, which stands between two letters, or separates words.
    void read_joiner(int64_t size, uint32_t code) {
        if (in_word() && is_letter(size)) write(code); else separate();
        text_ += size;
    }

    void read_flag(int64_t size) {
        const Character second = character(size);
        copy_word(size + (second.kind == kFlag ? second.size : 0));
    }

    void read_stars() {
        separate();
        for (Character next = character(0); next.kind == kStar || is_selector(next); next = character(0)) {
            if (next.kind == kStar) copy(next.size); else text_ += next.size;
        }
        *copy_++ = ' ';
    }

    static bool is_selector(const Character& found) { return found.code == 0xfe0e || found.code == 0xfe0f; }

    // Reads a rating, such as 4.5/5 or 5★, or else digits of a word.
    void read_number() {
        const int64_t whole = digits(0);
        const int64_t part = at(whole) == '.' || at(whole) == ',' ? digits(whole + 1) : 0;
        const int64_t given = part ? whole + 1 + part : whole;
        if (!in_word() && whole <= 3 && part <= 2) {
            const int64_t scale = at(given) == '/' ? digits(given + 1) : 0;
            const Character star = character(given);
            if (star.kind == kStar) return copy_word(given + star.size);
            const int64_t end = given + 1 + scale;
            if (scale >= 1 && scale <= 3 && !is_ascii_letter(character(end).code)) return copy_word(end);
        }
        copy(whole);
    }

    void read_marks() {
        int64_t size = 1;
        while (size < 3 && (at(size) == '!' || at(size) == '?')) ++size;
        copy_word(size);
    }

    // Reads an emoticon, or else a separator.
    void read_emoticon(bool after_digit) {
        separate();
        for (const std::string_view each : {":)", ":-)", ";)", ";-)", ":(", ":-(", ":d", ":-d", ":p", ":/", "<3"}) {
            const auto size = static_cast<int64_t>(each.size());
            int64_t same = 0;
            while (same < size && lower(at(same)) == each[static_cast<size_t>(same)]) ++same;
            if (same < size || (after_digit && each[0] != '<')) continue;
            if (each.back() == '/' ? at(size) == '/' : is_ascii_letter(each.back()) && !is_end(size)) continue;
            std::memcpy(copy_, each.data(), each.size());
            copy_ += size;
            *copy_++ = ' ';
            text_ += size;
            return;
        }
        ++text_;
    }

    const unsigned char* const becomes_;
    const int32_t* const table_;
    const char* text_;
    const char* const end_;
    char* copy_;
};
