#include "CLinux.h"

// The block's loop has no branches and sums that fit into octets, so that the compiler turns it into vectors.
enum { block = 128 };

size_t CLinux_scan_octets(const void *octets, size_t count, uint8_t before, struct CLinux_octets *sums) {
    const uint8_t *at = octets;
    size_t index = 0;
    while (index < count) {
        if (index > 0) {
            while (index + block < count) {
                const uint8_t *here = at + index;
                uint8_t feeds = 0, returns = 0, pairs = 0, bits = 0, nul = 0, found = 0;
                for (size_t j = 0; j < block; j++) {
                    uint8_t octet = here[j];
                    uint8_t feed = octet == '\n';
                    feeds += feed;
                    returns += octet == '\r';
                    pairs += feed & (here[(long)j - 1] == '\r');
                    found |= feed & (here[j + 1] == '-');
                    bits |= octet;
                    nul |= octet == 0;
                }
                if (found) break;
                sums->line_feeds += feeds;
                sums->returns += returns;
                sums->pairs += pairs;
                sums->bits |= bits;
                sums->nul |= nul;
                index += block;
            }
            before = at[index - 1];
        }
        // Up to a delimiter, the end, or the next block.
        size_t end = count - index > block ? index + block : count;
        for (; index < end; index++) {
            uint8_t octet = at[index];
            sums->returns += octet == '\r';
            sums->bits |= octet;
            sums->nul |= octet == 0;
            if (octet == '\n') {
                sums->line_feeds++;
                sums->pairs += before == '\r';
                if (index + 1 < count && at[index + 1] == '-') return index + 1;
            }
            before = octet;
        }
    }
    return count;
}
