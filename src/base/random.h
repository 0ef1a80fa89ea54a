/* random.h - cryptographic randomness and UUIDv7 (RFC 9562).
 *
 * Threads: any. The system's generator is never short after boot; a failure aborts the process, since no caller could go on safely.
 */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include "base/clock.h"

void random_bytes(void *out, size_t n);

typedef struct {
    uint8_t b[16];
} uuid;

#define UUID_TEXT_LEN 36
/* 48 bits of milliseconds of now_us, then 74 random bits. Fills from a per-thread pool of random bytes. */
uuid uuid7_make(usec now_us);
/* Lower-case text with dashes; writes UUID_TEXT_LEN bytes and a NUL. */
str uuid_format(const uuid *u, char out[UUID_TEXT_LEN + 1]);
WARN_UNUSED bool uuid_parse(str s, uuid *out);

#endif
