/* rates.h - requests and tokens per minute, and parallel calls, of a virtual key and of its project.
 *
 * Each rate is a bucket that holds a minute's worth and fills evenly, kept as one number: the time at which it will be full again (the generic
 * cell rate algorithm). A request is taken at admission, together with the estimated tokens of its input; the tokens that a call
 * really had are corrected when it has ended, so its answer may put the bucket into debt, which later calls wait for.
 * Several nodes on one database share each bucket: its number stands in a row, and a node leases pieces by moving it on, uses them up by itself, and gives back
 * what it does not need (rates/pool.h). A node that is alone, and any with SQLite, has nothing to do with that. One that is cut off from the database goes by
 * itself, with its part of the limits by the number of nodes that it knew of.
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

struct rate_pool;

/* One limit a minute. Amounts are the time in which they fill up again. */
struct rate_bucket {
    _Atomic int64_t full_ns;      /* when it is full again; in the past: it is full */
    int64_t base_ns;              /* the pool's: the same, of what was taken by all nodes before this one was left to itself */
    /* shared with other nodes */
    _Atomic int64_t pocket_ns;    /* leased and not used; below 0: used and not leased */
    _Atomic int64_t asked_ns;     /* by calls that wait, since the last turn */
    _Atomic int64_t least_ns;     /* the smallest of them; INT64_MAX: none */
    _Atomic int64_t used_ns;      /* since the last turn */
    _Atomic int64_t dry_until_ns; /* there is nothing before: calls are refused without asking */
    _Atomic int64_t seen_ns;      /* when the bucket of all nodes is full again, as last seen */
    /* the pool's: used in a second of late; when it was last used; since when there is more in the pocket than it needs */
    int64_t pace_ns, busy_at_ns, much_since_ns;
};

struct rate_counter {
    struct rate_bucket requests, tokens;
    _Atomic int64_t parallel;     /* calls under way on this node */
    _Atomic int64_t places;       /* shared: calls that may be */
    _Atomic int64_t places_asked; /* by calls that wait, since the last turn */
    _Atomic int64_t places_dry_until_ns;
    _Atomic int64_t places_limit; /* of all nodes */
    int64_t places_held, short_since_ns, places_idle_ns; /* the pool's: as the database has it; since when it finds too few, holds too many */
    /* 0: shared. n: this node goes by itself, with one n-th of the limits (1: it is alone). */
    _Atomic unsigned parts;
    _Atomic unsigned refs;
    char what;                    /* 'k' key, 'p' project */
    uuid id;
    struct rate_pool *pool;       /* NULL: nobody to share with, ever */
    struct rate_counter *next, **link; /* of the pool, guarded by its lock */
};

/* One reference; NULL when out of memory. */
struct rate_counter *rate_counter_new(struct rate_pool *pool, char what, const uuid *id);
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

enum rate_answer {
    RATE_REFUSED, /* with *why */
    RATE_TAKEN,
    RATE_WAIT,    /* the pool asks the database and tells (rate_pool_setup.answered): the call tries again then */
};
/* Takes one request, `tokens` estimated tokens and a place among the parallel calls on all gates, or nothing at all. */
WARN_UNUSED enum rate_answer rates_take(const struct rate_gate *gates, unsigned n, int64_t now_ns, int64_t tokens, struct rate_refusal *why);
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
