#include "gateway/rates.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/err.h"
#include "gateway/rates/pool.h"

#define NS_PER_S INT64_C(1000000000)
#define MINUTE_NS RATE_MINUTE_NS

struct rate_counter *rate_counter_new(struct rate_pool *pool, char what, const uuid *id)
{
    struct rate_counter *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->what = what;
    c->id = *id;
    c->pool = pool;
    c->parts = pool ? rate_pool_parts(pool) : 1;
    c->requests.least_ns = c->tokens.least_ns = INT64_MAX;
    atomic_init(&c->refs, 1);
    if (pool)
        rate_pool_add(pool, c);
    return c;
}

struct rate_counter *rate_counter_get(struct rate_counter *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void rate_counter_put(struct rate_counter *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (c->pool)
        rate_pool_remove(c->pool, c);
    free(c);
}

/* The time in which so many fill up again. */
static int64_t worth_ns(int64_t n, int64_t per_minute)
{
    __int128 ns = (__int128)n * MINUTE_NS / per_minute;
    return ns < RATE_DEBT_MAX_NS ? (int64_t)ns : RATE_DEBT_MAX_NS;
}

/* A bucket that is full lets any amount through, once: a call larger than a minute's worth would never fit otherwise. */
static bool take_alone(_Atomic int64_t *full_ns, int64_t now, int64_t worth, int64_t *wait_ns)
{
    int64_t full = atomic_load_explicit(full_ns, memory_order_relaxed), next;
    do {
        int64_t from = full > now ? full : now;
        if (from > now && from - now + worth > MINUTE_NS) {
            *wait_ns = worth >= MINUTE_NS ? from - now : from - now + worth - MINUTE_NS;
            return false;
        }
        next = from + worth;
    } while (!atomic_compare_exchange_weak_explicit(full_ns, &full, next, memory_order_relaxed, memory_order_relaxed));
    return true;
}

static void ask(struct rate_bucket *b, int64_t worth)
{
    int64_t least = atomic_load_explicit(&b->least_ns, memory_order_relaxed);
    while (worth < least && !atomic_compare_exchange_weak_explicit(&b->least_ns, &least, worth, memory_order_relaxed, memory_order_relaxed))
        ;
    atomic_fetch_add_explicit(&b->asked_ns, worth > 0 ? worth : 1, memory_order_relaxed);
}

/* From what this node has leased. */
static enum rate_answer take_shared(struct rate_pool *pool, struct rate_bucket *b, int64_t now, int64_t worth, int64_t *wait_ns)
{
    int64_t have = atomic_load_explicit(&b->pocket_ns, memory_order_relaxed);
    while (have >= worth) {
        if (!atomic_compare_exchange_weak_explicit(&b->pocket_ns, &have, have - worth, memory_order_relaxed, memory_order_relaxed))
            continue;
        atomic_fetch_add_explicit(&b->used_ns, worth, memory_order_relaxed);
        if (have - worth < RATE_CHUNK_NS / 2)
            rate_pool_wake(pool);
        return RATE_TAKEN;
    }
    if (now < atomic_load_explicit(&b->dry_until_ns, memory_order_relaxed)) {
        int64_t full = atomic_load_explicit(&b->seen_ns, memory_order_relaxed) - have;
        *wait_ns = worth >= MINUTE_NS ? full - now : full - now + worth - MINUTE_NS;
        return RATE_REFUSED;
    }
    ask(b, worth);
    rate_pool_wake(pool);
    return RATE_WAIT;
}

static enum rate_answer bucket_take(struct rate_counter *c, struct rate_bucket *b, unsigned parts, int64_t now, int64_t worth, int64_t *wait_ns)
{
    if (!parts)
        return take_shared(c->pool, b, now, worth, wait_ns);
    return take_alone(&b->full_ns, now, worth * parts, wait_ns) ? RATE_TAKEN : RATE_REFUSED;
}

static enum rate_answer take_place(struct rate_counter *c, unsigned parts, int64_t limit, int64_t now)
{
    if (c->pool && atomic_load_explicit(&c->places_limit, memory_order_relaxed) != limit)
        atomic_store_explicit(&c->places_limit, limit, memory_order_relaxed);
    if (parts) {
        int64_t part = limit / parts > 0 ? limit / parts : 1;
        if (atomic_fetch_add_explicit(&c->parallel, 1, memory_order_relaxed) < part)
            return RATE_TAKEN;
        atomic_fetch_sub_explicit(&c->parallel, 1, memory_order_relaxed);
        return RATE_REFUSED;
    }
    int64_t used = atomic_load_explicit(&c->parallel, memory_order_relaxed);
    while (used < atomic_load_explicit(&c->places, memory_order_relaxed))
        if (atomic_compare_exchange_weak_explicit(&c->parallel, &used, used + 1, memory_order_relaxed, memory_order_relaxed))
            return RATE_TAKEN;
    if (now < atomic_load_explicit(&c->places_dry_until_ns, memory_order_relaxed))
        return RATE_REFUSED;
    atomic_fetch_add_explicit(&c->places_asked, 1, memory_order_relaxed);
    rate_pool_wake(c->pool);
    return RATE_WAIT;
}

static void bucket_undo(struct rate_bucket *b, unsigned parts, int64_t worth)
{
    if (parts) {
        atomic_fetch_sub_explicit(&b->full_ns, worth * parts, memory_order_relaxed);
        return;
    }
    atomic_fetch_add_explicit(&b->pocket_ns, worth, memory_order_relaxed);
    atomic_fetch_sub_explicit(&b->used_ns, worth, memory_order_relaxed);
}

static void undo(const struct rate_gate *g, int64_t tokens, bool has_requests, bool has_tokens)
{
    const struct rate_limits *l = &g->limits;
    unsigned parts = atomic_load_explicit(&g->counter->parts, memory_order_relaxed);
    if (l->parallel_calls)
        atomic_fetch_sub_explicit(&g->counter->parallel, 1, memory_order_relaxed);
    if (has_requests && l->requests_per_minute)
        bucket_undo(&g->counter->requests, parts, worth_ns(1, l->requests_per_minute));
    if (has_tokens && l->tokens_per_minute)
        bucket_undo(&g->counter->tokens, parts, worth_ns(tokens, l->tokens_per_minute));
}

static enum rate_answer gate_take(const struct rate_gate *g, int64_t now, int64_t tokens, struct rate_refusal *why)
{
    const struct rate_limits *l = &g->limits;
    struct rate_counter *c = g->counter;
    unsigned parts = atomic_load_explicit(&c->parts, memory_order_acquire);
    enum rate_answer answer;
    int64_t wait = NS_PER_S;
    if (l->parallel_calls && (answer = take_place(c, parts, l->parallel_calls, now)) != RATE_TAKEN) {
        why->kind = RATE_PARALLEL;
    } else if (l->requests_per_minute &&
               (answer = bucket_take(c, &c->requests, parts, now, worth_ns(1, l->requests_per_minute), &wait)) != RATE_TAKEN) {
        undo(g, tokens, false, false);
        why->kind = RATE_REQUESTS;
        int64_t worth = l->tokens_per_minute ? worth_ns(tokens, l->tokens_per_minute) : 0;
        if (answer == RATE_WAIT && worth && atomic_load_explicit(&c->tokens.pocket_ns, memory_order_relaxed) < worth)
            ask(&c->tokens, worth); /* with the same turn */
    } else if (l->tokens_per_minute &&
               (answer = bucket_take(c, &c->tokens, parts, now, worth_ns(tokens, l->tokens_per_minute), &wait)) != RATE_TAKEN) {
        undo(g, tokens, true, false);
        why->kind = RATE_TOKENS;
    } else {
        return RATE_TAKEN;
    }
    why->gate = g;
    why->retry_after_s = wait > NS_PER_S ? (wait + NS_PER_S - 1) / NS_PER_S : 1;
    return answer;
}

enum rate_answer rates_take(const struct rate_gate *gates, unsigned n, int64_t now_ns, int64_t tokens, struct rate_refusal *why)
{
    for (unsigned i = 0; i < n; i++) {
        struct rate_pool *pool = gates[i].counter->pool;
        enum rate_answer answer = gate_take(&gates[i], now_ns, tokens, why);
        if (answer == RATE_WAIT && rate_pool_is_late(pool, now_ns)) {
            rate_pool_leave(pool, gates[i].counter, now_ns);
            answer = gate_take(&gates[i], now_ns, tokens, why);
        }
        if (answer == RATE_TAKEN)
            continue;
        while (i-- > 0)
            undo(&gates[i], tokens, true, true);
        return answer;
    }
    return RATE_TAKEN;
}

void rates_settle(const struct rate_gate *gates, unsigned n, int64_t estimated_tokens, int64_t tokens)
{
    for (unsigned i = 0; i < n; i++) {
        const struct rate_gate *g = &gates[i];
        unsigned parts = atomic_load_explicit(&g->counter->parts, memory_order_relaxed);
        if (g->limits.parallel_calls)
            atomic_fetch_sub_explicit(&g->counter->parallel, 1, memory_order_relaxed);
        if (!g->limits.tokens_per_minute)
            continue;
        int64_t per_minute = g->limits.tokens_per_minute;
        int64_t change = worth_ns(tokens, per_minute) - worth_ns(estimated_tokens, per_minute);
        if (parts)
            atomic_fetch_add_explicit(&g->counter->tokens.full_ns, change * parts, memory_order_relaxed);
        else if (atomic_fetch_sub_explicit(&g->counter->tokens.pocket_ns, change, memory_order_relaxed) < change)
            rate_pool_wake(g->counter->pool); /* a debt: the others are to wait for it, too */
    }
}

static struct rate_state state_of(const struct rate_gate *g, enum rate_kind kind, int64_t now)
{
    struct rate_state s = {0};
    unsigned parts = atomic_load_explicit(&g->counter->parts, memory_order_relaxed);
    if (kind == RATE_PARALLEL) {
        s.limit = g->limits.parallel_calls;
        s.remaining = s.limit - atomic_load_explicit(&g->counter->parallel, memory_order_relaxed);
    } else {
        bool is_requests = kind == RATE_REQUESTS;
        struct rate_bucket *b = is_requests ? &g->counter->requests : &g->counter->tokens;
        s.limit = is_requests ? g->limits.requests_per_minute : g->limits.tokens_per_minute;
        int64_t full = atomic_load_explicit(&b->full_ns, memory_order_relaxed);
        if (!parts) { /* what all nodes have, and what is in the own pocket */
            int64_t seen = atomic_load_explicit(&b->seen_ns, memory_order_relaxed);
            full = (seen > now ? seen : now) - atomic_load_explicit(&b->pocket_ns, memory_order_relaxed);
        }
        s.full_in_ns = full > now ? full - now : 0;
        /* What is missing is rounded up, so that a remaining 1 is sure to be one. */
        int64_t missing = (int64_t)(((__int128)s.full_in_ns * s.limit + MINUTE_NS - 1) / MINUTE_NS);
        s.remaining = s.limit - missing;
    }
    if (s.remaining < 0)
        s.remaining = 0;
    return s;
}

struct rate_state rates_state(const struct rate_gate *gates, unsigned n, enum rate_kind kind, int64_t now_ns)
{
    struct rate_state least = {0};
    for (unsigned i = 0; i < n; i++) {
        struct rate_state s = state_of(&gates[i], kind, now_ns);
        if (s.limit && (!least.limit || s.remaining < least.remaining))
            least = s;
    }
    return least;
}

/* --- header fields --- */

static void openai_fields(const struct rate_state *s, const char *what, struct buf *out)
{
    int64_t ms = (s->full_in_ns + 999999) / 1000000;
    buf_addf(out, "x-ratelimit-limit-%s: %lld\r\nx-ratelimit-remaining-%s: %lld\r\n", what, (long long)s->limit, what,
             (long long)s->remaining);
    if (ms >= 1000)
        buf_addf(out, "x-ratelimit-reset-%s: %lld.%03llds\r\n", what, (long long)(ms / 1000), (long long)(ms % 1000));
    else
        buf_addf(out, "x-ratelimit-reset-%s: %lldms\r\n", what, (long long)ms);
}

static void anthropic_fields(const struct rate_state *s, const char *what, usec now_us, struct buf *out)
{
    char text[TIME_TEXT_LEN + 1];
    usec at = (now_us + s->full_in_ns / 1000 + USEC_PER_S - 1) / USEC_PER_S * USEC_PER_S;
    str time = str_take(time_format(at, text), 19);
    buf_addf(out,
             "anthropic-ratelimit-%s-limit: %lld\r\nanthropic-ratelimit-%s-remaining: %lld\r\n"
             "anthropic-ratelimit-%s-reset: %.*sZ\r\n",
             what, (long long)s->limit, what, (long long)s->remaining, what, STR(time));
}

void rates_write_fields(const struct rate_gate *gates, unsigned n, bool is_anthropic, int64_t now_ns, usec now_us, struct buf *out)
{
    static const char *const names[] = {[RATE_REQUESTS] = "requests", [RATE_TOKENS] = "tokens"};
    for (unsigned kind = RATE_REQUESTS; kind <= RATE_TOKENS; kind++) {
        struct rate_state s = rates_state(gates, n, (enum rate_kind)kind, now_ns);
        if (s.limit && is_anthropic)
            anthropic_fields(&s, names[kind], now_us, out);
        else if (s.limit)
            openai_fields(&s, names[kind], out);
    }
}

bool rates_is_field(str name)
{
    static const str prefixes[] = {STR_LIT("x-ratelimit-"), STR_LIT("anthropic-ratelimit-")};
    for (unsigned i = 0; i < LENGTH_OF(prefixes); i++)
        if (name.len > prefixes[i].len && str_ieq(str_take(name, prefixes[i].len), prefixes[i]))
            return true;
    return false;
}
