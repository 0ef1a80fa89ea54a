/* rates.h - requests and tokens per minute, and parallel calls, of a virtual key and of its project.
 *
 * Each rate is a bucket that holds a minute's worth and fills evenly, kept as one number: the time at which it will be full again (the generic
 * cell rate algorithm). A request is taken at admission, together with the estimated tokens of its input; the tokens that a call
 * really had are corrected when it has ended, so its answer may put the bucket into debt, which later calls wait for.
 * Units: monotonic nanoseconds.
 * Threads: any; atomics shared by all loops. Taken in the order key, project, and given back on failure.
 * Source: ITU-T I.371 (GCRA); RFC 6585 section 4 (429); the limit fields that the providers' API references list.
 */
#ifndef GATEWAY_RATES_H
#define GATEWAY_RATES_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/random.h"

struct rate_limits {
    int64_t requests_per_minute, tokens_per_minute, parallel_calls; /* 0: no limit */
};
static inline bool rate_limits_any(const struct rate_limits *l)
{
    return l->requests_per_minute || l->tokens_per_minute || l->parallel_calls;
}

struct rate_counter {
    _Atomic int64_t requests_full_ns, tokens_full_ns; /* when the bucket is full again; in the past: it is full */
    _Atomic int64_t parallel;
    _Atomic unsigned refs;
    uuid id; /* of the key or the project */
};

struct rate_counter *rate_counter_new(const uuid *id); /* one reference; NULL when out of memory */
struct rate_counter *rate_counter_get(struct rate_counter *c);
void rate_counter_put(struct rate_counter *c); /* NULL is fine */

struct rate_gate {
    struct rate_counter *counter;
    struct rate_limits limits;
    bool is_project; /* for messages */
};
#define RATE_GATES_MAX 2

enum rate_kind { RATE_REQUESTS, RATE_TOKENS, RATE_PARALLEL };
struct rate_refusal {
    const struct rate_gate *gate;
    enum rate_kind kind;
    int64_t retry_after_s; /* 1 or more */
};

/* Takes one request, `tokens` estimated tokens and a place among the parallel calls on all gates, or nothing at all (false, with *why). */
WARN_UNUSED bool rates_take(const struct rate_gate *gates, unsigned n, int64_t now_ns, int64_t tokens, struct rate_refusal *why);
/* The call has ended: its place is free, and its tokens are corrected from the estimate to what they were. */
void rates_settle(const struct rate_gate *gates, unsigned n, int64_t estimated_tokens, int64_t tokens);

/* What is left, of the gate that has least of it. */
struct rate_state {
    int64_t limit, remaining; /* limit 0: there is no such limit */
    int64_t full_in_ns;
};
struct rate_state rates_state(const struct rate_gate *gates, unsigned n, enum rate_kind kind, int64_t now_ns);

/* Header fields, complete lines, in the words of OpenAI (x-ratelimit-limit-requests, …) or of Anthropic
 * (anthropic-ratelimit-requests-limit, …). Nothing for limits that there are not. */
void rates_write_fields(const struct rate_gate *gates, unsigned n, bool is_anthropic, int64_t now_ns, usec now_us, struct buf *out);
/* Whether the name is of a field that rates_write_fields writes in either words: a provider's own would contradict. */
bool rates_is_field(str name);

#endif
