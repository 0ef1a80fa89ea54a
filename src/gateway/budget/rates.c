#include "gateway/rates.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/err.h"

#define NS_PER_S INT64_C(1000000000)
#define MINUTE_NS (60 * NS_PER_S)
#define DEBT_MAX_NS (60 * MINUTE_NS) /* nobody waits longer than an hour for one call's tokens */

struct rate_counter *rate_counter_new(const uuid *id)
{
    struct rate_counter *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->id = *id;
    atomic_init(&c->refs, 1);
    return c;
}

struct rate_counter *rate_counter_get(struct rate_counter *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void rate_counter_put(struct rate_counter *c)
{
    if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
        free(c);
}

/* The time in which so many fill up again. */
static int64_t worth_ns(int64_t n, int64_t per_minute)
{
    __int128 ns = (__int128)n * MINUTE_NS / per_minute;
    return ns < DEBT_MAX_NS ? (int64_t)ns : DEBT_MAX_NS;
}

/* A bucket that is full lets any amount through, once: a call larger than a minute's worth would never fit otherwise. */
static bool bucket_take(_Atomic int64_t *full_ns, int64_t now, int64_t worth, int64_t *wait_ns)
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

static void undo(const struct rate_gate *g, int64_t tokens, bool has_requests, bool has_tokens)
{
    if (g->limits.parallel_calls)
        atomic_fetch_sub_explicit(&g->counter->parallel, 1, memory_order_relaxed);
    if (has_requests && g->limits.requests_per_minute)
        atomic_fetch_sub_explicit(&g->counter->requests_full_ns, worth_ns(1, g->limits.requests_per_minute), memory_order_relaxed);
    if (has_tokens && g->limits.tokens_per_minute)
        atomic_fetch_sub_explicit(&g->counter->tokens_full_ns, worth_ns(tokens, g->limits.tokens_per_minute), memory_order_relaxed);
}

static bool gate_take(const struct rate_gate *g, int64_t now, int64_t tokens, struct rate_refusal *why)
{
    const struct rate_limits *l = &g->limits;
    int64_t wait = NS_PER_S;
    if (l->parallel_calls && atomic_fetch_add_explicit(&g->counter->parallel, 1, memory_order_relaxed) >= l->parallel_calls) {
        undo(g, tokens, false, false);
        why->kind = RATE_PARALLEL;
    } else if (l->requests_per_minute &&
               !bucket_take(&g->counter->requests_full_ns, now, worth_ns(1, l->requests_per_minute), &wait)) {
        undo(g, tokens, false, false);
        why->kind = RATE_REQUESTS;
    } else if (l->tokens_per_minute &&
               !bucket_take(&g->counter->tokens_full_ns, now, worth_ns(tokens, l->tokens_per_minute), &wait)) {
        undo(g, tokens, true, false);
        why->kind = RATE_TOKENS;
    } else {
        return true;
    }
    why->gate = g;
    why->retry_after_s = wait > NS_PER_S ? (wait + NS_PER_S - 1) / NS_PER_S : 1;
    return false;
}

bool rates_take(const struct rate_gate *gates, unsigned n, int64_t now_ns, int64_t tokens, struct rate_refusal *why)
{
    for (unsigned i = 0; i < n; i++)
        if (!gate_take(&gates[i], now_ns, tokens, why)) {
            while (i-- > 0)
                undo(&gates[i], tokens, true, true);
            return false;
        }
    return true;
}

void rates_settle(const struct rate_gate *gates, unsigned n, int64_t estimated_tokens, int64_t tokens)
{
    for (unsigned i = 0; i < n; i++) {
        const struct rate_gate *g = &gates[i];
        if (g->limits.parallel_calls)
            atomic_fetch_sub_explicit(&g->counter->parallel, 1, memory_order_relaxed);
        if (g->limits.tokens_per_minute) {
            int64_t per_minute = g->limits.tokens_per_minute;
            int64_t change = worth_ns(tokens, per_minute) - worth_ns(estimated_tokens, per_minute);
            atomic_fetch_add_explicit(&g->counter->tokens_full_ns, change, memory_order_relaxed);
        }
    }
}

static struct rate_state state_of(const struct rate_gate *g, enum rate_kind kind, int64_t now)
{
    struct rate_state s = {0};
    if (kind == RATE_PARALLEL) {
        s.limit = g->limits.parallel_calls;
        s.remaining = s.limit - atomic_load_explicit(&g->counter->parallel, memory_order_relaxed);
    } else {
        bool is_requests = kind == RATE_REQUESTS;
        s.limit = is_requests ? g->limits.requests_per_minute : g->limits.tokens_per_minute;
        int64_t full = atomic_load_explicit(is_requests ? &g->counter->requests_full_ns : &g->counter->tokens_full_ns,
                                            memory_order_relaxed);
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
