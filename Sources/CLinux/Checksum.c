#include "CLinux.h"

#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

// The polynomial of Castagnoli, bits reversed (RFC 3720 §12.1, appendix B.4).
#define POLYNOMIAL 0x82f63b78u

static uint32_t by_bits(uint32_t crc, const uint8_t *octets, size_t count) {
    while (count--) {
        crc ^= *octets++;
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_hardware(uint32_t crc, const uint8_t *octets, size_t count) {
    uint64_t wide = crc;
    for (; count >= 8; count -= 8, octets += 8) {
        uint64_t word;
        memcpy(&word, octets, 8);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = (uint32_t)wide;
    while (count--) crc = _mm_crc32_u8(crc, *octets++);
    return crc;
}
#elif defined(__ARM_FEATURE_CRC32)
static uint32_t by_hardware(uint32_t crc, const uint8_t *octets, size_t count) {
    for (; count >= 8; count -= 8, octets += 8) {
        uint64_t word;
        memcpy(&word, octets, 8);
        crc = __crc32cd(crc, word);
    }
    while (count--) crc = __crc32cb(crc, *octets++);
    return crc;
}
#endif

uint32_t CLinux_crc32c(uint32_t before, const void *octets, size_t count) {
    uint32_t crc = ~before;
#if defined(__x86_64__)
    crc = __builtin_cpu_supports("sse4.2") ? by_hardware(crc, octets, count) : by_bits(crc, octets, count);
#elif defined(__ARM_FEATURE_CRC32)
    crc = by_hardware(crc, octets, count);
#else
    crc = by_bits(crc, octets, count);
#endif
    return ~crc;
}
