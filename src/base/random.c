#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

void random_bytes(void *out, size_t n)
{
    unsigned char *at = out;
    while (n) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0) {
            perror("catalyst: getrandom");
            abort();
        }
        at += got;
        n -= (size_t)got;
    }
}

/* One system call serves many ids; ids are not secrets, so what is left in the pool needs no wiping. */
#define POOL_LEN 640
static _Thread_local struct {
    uint8_t bytes[POOL_LEN];
    unsigned left;
} pool;

uuid uuid7_make(usec now_us)
{
    uuid u;
    if (pool.left < 10) {
        random_bytes(pool.bytes, POOL_LEN);
        pool.left = POOL_LEN;
    }
    pool.left -= 10;
    memcpy(u.b + 6, pool.bytes + pool.left, 10);
    uint64_t ms = (uint64_t)(now_us / USEC_PER_MS);
    for (int i = 0; i < 6; i++)
        u.b[i] = (uint8_t)(ms >> (40 - 8 * i));
    u.b[6] = (uint8_t)(0x70 | (u.b[6] & 0x0f)); /* version 7 */
    u.b[8] = (uint8_t)(0x80 | (u.b[8] & 0x3f)); /* variant of RFC 9562 */
    return u;
}

static bool has_dash_before(unsigned byte) { return byte == 4 || byte == 6 || byte == 8 || byte == 10; }

str uuid_format(const uuid *u, char out[UUID_TEXT_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";
    char *at = out;
    for (unsigned i = 0; i < 16; i++) {
        if (has_dash_before(i))
            *at++ = '-';
        *at++ = digits[u->b[i] >> 4];
        *at++ = digits[u->b[i] & 15];
    }
    *at = '\0';
    return str_of(out, UUID_TEXT_LEN);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool uuid_parse(str s, uuid *out)
{
    if (s.len != UUID_TEXT_LEN)
        return false;
    const char *at = s.p;
    for (unsigned i = 0; i < 16; i++) {
        if (has_dash_before(i) && *at++ != '-')
            return false;
        int high = hex_digit(at[0]), low = hex_digit(at[1]);
        if (high < 0 || low < 0)
            return false;
        out->b[i] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    return true;
}
