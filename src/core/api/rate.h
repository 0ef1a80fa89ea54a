/* rate.h - how often somebody may ask: a rate per minute for each key, in fixed memory.
 *
 * The generic cell rate algorithm: one number per key, the time when its allowance would be whole again. A
 * minute's allowance may be used at once. The table has a fixed size; when a neighbourhood is full, the key
 * that is nearest to a whole allowance makes room.
 * Threads: any; a lock per neighbourhood.
 * Source: ITU-T I.371, GCRA; draft-ietf-httpapi-ratelimit-headers for what is told to clients.
 */
#ifndef CORE_API_RATE_H
#define CORE_API_RATE_H

#include "base/clock.h"
#include "base/err.h"

struct rate_table;

struct rate_answer {
    bool is_allowed;
    unsigned left; /* requests that may come at once now */
    unsigned
        wait_s; /* until the next one, rounded up, when is_allowed is false; else until the allowance is whole */
};

/* per_minute 0: everything is allowed. */
WARN_UNUSED enum errc rate_new(struct rate_table **out, unsigned per_minute, err *e);
void rate_free(struct rate_table *t);
struct rate_answer rate_take(struct rate_table *t, str key, usec now_mono_us);
unsigned rate_per_minute(const struct rate_table *t);

#endif
