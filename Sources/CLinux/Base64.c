#include "CLinux.h"

#include <string.h>

// Sixteen characters at a time, in the compiler's own vectors: SSE2, NEON and whatever else it is built for. Only the last
// step of decoding, which draws the octets together, is worth an instruction that not every x86 has.
typedef uint8_t octets16 __attribute__((vector_size(16)));
typedef uint32_t words4 __attribute__((vector_size(16)));

static const uint8_t invalid = 0xff;

static uint8_t value(uint8_t character) {
    if (character >= 'A' && character <= 'Z') return character - 'A';
    if (character >= 'a' && character <= 'z') return character - 'a' + 26;
    if (character >= '0' && character <= '9') return character - '0' + 52;
    return character == '+' ? 62 : character == '/' ? 63 : invalid;
}

// How many of the sixteen characters, from the first on, are of the alphabet; their values.
static inline __attribute__((always_inline)) size_t values(const uint8_t *at, octets16 *found) {
    octets16 text;
    memcpy(&text, at, 16);
    octets16 upper = (octets16)(text >= 'A') & (octets16)(text <= 'Z');
    octets16 lower = (octets16)(text >= 'a') & (octets16)(text <= 'z');
    octets16 digit = (octets16)(text >= '0') & (octets16)(text <= '9');
    octets16 plus = (octets16)(text == '+'), slash = (octets16)(text == '/');
    *found = (upper & (text - 'A')) | (lower & (text - ('a' - 26))) | (digit & (text + (52 - '0'))) | (plus & 62) |
             (slash & 63);
    octets16 other = ~(upper | lower | digit | plus | slash);
    uint64_t halves[2];
    memcpy(halves, &other, 16);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    halves[0] = __builtin_bswap64(halves[0]), halves[1] = __builtin_bswap64(halves[1]);
#endif
    if (halves[0]) return (size_t)__builtin_ctzll(halves[0]) / 8;
    return halves[1] ? 8 + (size_t)__builtin_ctzll(halves[1]) / 8 : 16;
}

// Of each four values the three octets, in the low ones of a word.
static inline __attribute__((always_inline)) words4 octets(octets16 values) {
    words4 word;
    memcpy(&word, &values, 16);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = (word << 24) | (word << 8 & 0xff0000) | (word >> 8 & 0xff00) | word >> 24;
#endif
    words4 a = word & 63, b = word >> 8 & 63, c = word >> 16 & 63, d = word >> 24;
    return a << 2 | b >> 4 | (b & 15) << 12 | (c >> 2) << 8 | (c & 3) << 22 | d << 16;
}

static inline __attribute__((always_inline)) void put(uint8_t *out, words4 words) {
    for (int i = 0; i < 4; i++) {
        out[3 * i] = (uint8_t)words[i];
        out[3 * i + 1] = (uint8_t)(words[i] >> 8);
        out[3 * i + 2] = (uint8_t)(words[i] >> 16);
    }
}

static inline __attribute__((always_inline)) size_t
decode(const uint8_t *in, size_t count, uint8_t *out, size_t room, size_t *written, int shuffles) {
    size_t from = 0, to = 0;
    for (;;) {
        size_t start = from;
        while (from + 16 <= count && to + 16 <= room) {
            octets16 found;
            size_t groups = values(in + from, &found) / 4;
            if (groups == 0) break;
            words4 words = octets(found);
            if (shuffles) {
                octets16 spread;
                memcpy(&spread, &words, 16);
                spread = __builtin_shufflevector(spread, spread, 0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 3, 3, 3);
                memcpy(out + to, &spread, 16);
            } else {
                put(out + to, words);
            }
            from += 4 * groups;
            to += 3 * groups;
            if (groups < 4) break;
        }
        // What the input has left.
        for (int i = 0; i < 4 && (from + 16 > count || to + 16 > room) && from + 4 <= count && to + 3 <= room; i++) {
            uint8_t a = value(in[from]), b = value(in[from + 1]), c = value(in[from + 2]), d = value(in[from + 3]);
            if ((a | b | c | d) == invalid) break;
            out[to] = (uint8_t)(a << 2 | b >> 4);
            out[to + 1] = (uint8_t)(b << 4 | c >> 2);
            out[to + 2] = (uint8_t)(c << 6 | d);
            from += 4;
            to += 3;
        }
        while (from < count && (in[from] == '\r' || in[from] == '\n')) from++;
        if (from == start) break;
    }
    *written = to;
    return from;
}

#if defined(__x86_64__)
__attribute__((target("ssse3"))) static size_t
decode_shuffling(const uint8_t *in, size_t count, uint8_t *out, size_t room, size_t *written) {
    return decode(in, count, out, room, written, 1);
}
#endif

size_t CLinux_base64_decode(const uint8_t *in, size_t count, uint8_t *out, size_t room, size_t *written) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("ssse3")) return decode_shuffling(in, count, out, room, written);
    return decode(in, count, out, room, written, 0);
#else
    return decode(in, count, out, room, written, 1);
#endif
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void CLinux_base64_encode(const uint8_t *in, size_t groups, uint8_t *out) {
    size_t done = 0;
    for (; done + 4 <= groups; done += 4, in += 12, out += 16) {
        words4 word;
        for (int i = 0; i < 4; i++) word[i] = (uint32_t)in[3 * i] << 16 | (uint32_t)in[3 * i + 1] << 8 | in[3 * i + 2];
        words4 spread = word >> 18 | (word >> 12 & 63) << 8 | (word >> 6 & 63) << 16 | (word & 63) << 24;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        spread = (spread << 24) | (spread << 8 & 0xff0000) | (spread >> 8 & 0xff00) | spread >> 24;
#endif
        octets16 value;
        memcpy(&value, &spread, 16);
        octets16 upper = (octets16)(value < 26), lower = (octets16)(value >= 26) & (octets16)(value < 52);
        octets16 digit = (octets16)(value >= 52) & (octets16)(value < 62);
        octets16 text = (upper & (value + 'A')) | (lower & (value + ('a' - 26))) | (digit & (value - (52 - '0'))) |
                        ((octets16)(value == 62) & '+') | ((octets16)(value == 63) & '/');
        memcpy(out, &text, 16);
    }
    for (; done < groups; done++, in += 3, out += 4) {
        uint32_t word = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
        for (int i = 0; i < 4; i++) out[i] = (uint8_t)alphabet[word >> (18 - 6 * i) & 63];
    }
}
