/* hash.c - MurmurHash3_x86_32 with seed 0 (Austin Appleby, public domain), as flagd distributes by. */
#include "core/flags/rule.h"

static uint32_t rotated(uint32_t x, int n) { return x << n | x >> (32 - n); }

static uint32_t scrambled(uint32_t k)
{
    k *= 0xcc9e2d51u;
    return rotated(k, 15) * 0x1b873593u;
}

uint32_t murmur3_32(str data)
{
    const uint8_t *p = (const uint8_t *)data.p;
    uint32_t h = 0;
    size_t n = data.len;
    for (; n >= 4; n -= 4, p += 4) {
        uint32_t k = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        h = rotated(h ^ scrambled(k), 13) * 5 + 0xe6546b64u;
    }
    uint32_t k = 0;
    for (size_t i = n; i-- > 0;)
        k = k << 8 | p[i];
    h ^= scrambled(k);
    h ^= (uint32_t)data.len;
    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    return h ^ h >> 16;
}
