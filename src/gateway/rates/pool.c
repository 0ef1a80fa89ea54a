#include "gateway/rates/pool.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "base/waker.h"

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)
#define TURN_GAP_MS 100
#define LOOK_EVERY_MS 1000
#define KEPT_NS (RATE_MINUTE_NS / 4)  /* most that a pocket is filled up to beforehand */
#define IDLE_NS (2 * NS_PER_S)
#define LATE_NS NS_PER_S
#define DRY_LEAST_NS (100 * NS_PER_MS)
#define SHORT_NS (500 * NS_PER_MS)    /* so long a call waits for places that other nodes give back */

/* What a bucket or counter of a turn had, to be put back or into effect. */
struct planned {
    struct rate_counter *counter;
    struct rate_bucket *bucket; /* NULL: places */
    int64_t missing;            /* what calls wait for */
};

struct rate_pool {
    struct rate_pool_setup setup;
    pthread_mutex_t lock;       /* guards the list, and the change of a counter between shared and by itself */
    struct rate_counter *first;
    unsigned n;
    _Atomic unsigned parts;     /* of counters that are new */
    _Atomic int64_t since_ns;   /* when the exchange began that is under way; 0: none is */
    _Atomic bool is_woken, is_told;
    _Atomic bool has_ended;
    /* the turn's own */
    unsigned nodes;             /* as last known */
    bool has_failed;
    int64_t turned_ns, looked_ns;
    struct rate_counter **counters;
    struct planned *of_moves, *of_places;
    struct rate_exchange x;
    size_t cap;
    struct waker waker;
    pthread_t thread;
    bool has_thread;
};

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* --- the row --- */

void rate_row_move(int64_t *full_us, usec now_us, struct rate_move *m)
{
    int64_t ahead = most(*full_us - now_us, 0);
    int64_t full = ahead > RATE_DEBT_MAX_NS / 1000 ? RATE_DEBT_MAX_NS : ahead * 1000;
    full = most(least(full + m->debt_ns, RATE_DEBT_MAX_NS) - m->give_ns, 0);
    int64_t left = RATE_MINUTE_NS - full;
    m->granted_ns = 0;
    if (m->want_ns > 0 && m->least_ns > RATE_MINUTE_NS)
        m->granted_ns = full == 0 ? m->least_ns : 0; /* a call larger than a minute's worth, when nothing else is */
    else if (m->want_ns > 0 && m->least_ns > 0)
        m->granted_ns = left >= m->least_ns ? least(left, m->want_ns) : 0;
    else if (m->want_ns > 0 && left > 0)
        m->granted_ns = least(left / 4, m->want_ns); /* beforehand, nobody takes all that there is */
    m->full_in_ns = full + m->granted_ns;
    if (m->granted_ns || m->give_ns || m->debt_ns)
        *full_us = now_us + (m->full_in_ns + 999) / 1000;
}

/* --- by itself, and back (with the lock) --- */

static void bucket_leave(struct rate_bucket *b, unsigned parts, int64_t now)
{
    int64_t base = most(atomic_load(&b->seen_ns), now), pocket = atomic_exchange(&b->pocket_ns, 0);
    b->base_ns = base;
    atomic_store(&b->full_ns, most(base - pocket * parts, now));
}

static void leave(struct rate_counter *c, unsigned parts, int64_t now)
{
    unsigned before = atomic_load(&c->parts);
    if (before == parts)
        return;
    if (before) { /* by itself already, but with another part of the limits */
        struct rate_bucket *const both[] = {&c->requests, &c->tokens};
        for (unsigned i = 0; i < LENGTH_OF(both); i++) {
            int64_t base = most(both[i]->base_ns, now), own = most(atomic_load(&both[i]->full_ns) - base, 0) / before;
            atomic_store(&both[i]->full_ns, base + own * parts);
        }
    } else {
        bucket_leave(&c->requests, parts, now);
        bucket_leave(&c->tokens, parts, now);
    }
    atomic_store_explicit(&c->parts, parts, memory_order_release);
}

/* What was taken meanwhile is a debt towards the others. */
static void bucket_join(struct rate_bucket *b, unsigned parts, int64_t now)
{
    int64_t base = most(b->base_ns, now), own = most(atomic_load(&b->full_ns) - base, 0) / parts;
    atomic_store(&b->pocket_ns, -own);
    atomic_store(&b->seen_ns, base + own);
    atomic_store(&b->asked_ns, 0);
    atomic_store(&b->least_ns, INT64_MAX);
    atomic_store(&b->used_ns, 0);
    atomic_store(&b->dry_until_ns, 0);
    b->pace_ns = b->busy_at_ns = b->much_since_ns = 0;
}

static void join(struct rate_counter *c, int64_t now)
{
    unsigned parts = atomic_load(&c->parts);
    if (!parts)
        return;
    bucket_join(&c->requests, parts, now);
    bucket_join(&c->tokens, parts, now);
    atomic_store(&c->places, atomic_load(&c->parallel));
    atomic_store(&c->places_asked, 0);
    atomic_store(&c->places_dry_until_ns, 0);
    c->short_since_ns = c->places_idle_ns = 0;
    atomic_store_explicit(&c->parts, 0, memory_order_release);
}

void rate_pool_leave(struct rate_pool *p, struct rate_counter *c, int64_t now_ns)
{
    pthread_mutex_lock(&p->lock);
    if (!atomic_load(&c->parts))
        leave(c, p->nodes, now_ns);
    pthread_mutex_unlock(&p->lock);
}

/* --- a turn --- */

static bool plan_bucket(struct rate_pool *p, struct rate_counter *c, enum rate_kind kind, int64_t now, bool looks, struct rate_move *m, int64_t *missing)
{
    struct rate_bucket *b = kind == RATE_REQUESTS ? &c->requests : &c->tokens;
    int64_t asked = atomic_exchange(&b->asked_ns, 0), smallest = atomic_exchange(&b->least_ns, INT64_MAX), used = atomic_exchange(&b->used_ns, 0);
    int64_t pocket = atomic_load(&b->pocket_ns), target, since = most(now - p->turned_ns, NS_PER_MS);
    if (p->has_ended)
        asked = 0;
    b->pace_ns -= (int64_t)((__int128)b->pace_ns * least(since, IDLE_NS) / IDLE_NS);
    b->pace_ns = most(b->pace_ns, (int64_t)((__int128)used * NS_PER_S / since));
    if (used > 0 || asked > 0)
        b->busy_at_ns = now;
    bool is_idle = p->has_ended || !b->busy_at_ns || now - b->busy_at_ns >= IDLE_NS;
    if (is_idle)
        b->pace_ns = 0;
    target = is_idle ? 0 : least(most(2 * b->pace_ns, RATE_CHUNK_NS), KEPT_NS);
    if (pocket <= 2 * target)
        b->much_since_ns = 0;
    else if (!b->much_since_ns)
        b->much_since_ns = now;
    *m = (struct rate_move){.counter = c, .kind = kind};
    if (pocket < 0) {
        m->debt_ns = -pocket;
        atomic_fetch_add(&b->pocket_ns, -pocket);
        pocket = 0;
    }
    *missing = 0;
    if (asked > 0) {
        *missing = most(asked - pocket, 1);
        m->want_ns = *missing + target;
        m->least_ns = most(smallest - pocket, 1);
    } else if (pocket < target / 2) {
        m->want_ns = target - pocket;
    } else if (b->much_since_ns && (is_idle || now - b->much_since_ns >= IDLE_NS / 2) && pocket > target &&
               atomic_compare_exchange_strong(&b->pocket_ns, &pocket, target)) {
        m->give_ns = pocket - target;
    }
    /* Also to see what others have used, as long as calls are told what is left. */
    return m->debt_ns || m->give_ns || m->want_ns || (looks && !is_idle);
}

static bool plan_places(struct rate_pool *p, struct rate_counter *c, int64_t now, bool looks, struct rate_places *x, int64_t *missing)
{
    int64_t asked = atomic_exchange(&c->places_asked, 0), limit = atomic_load(&c->places_limit);
    int64_t used = atomic_load(&c->parallel), places = atomic_load(&c->places);
    if (!limit)
        return false;
    *x = (struct rate_places){.counter = c, .limit = limit};
    *missing = 0;
    if (asked > 0) {
        *missing = x->want = most(asked - (places - used), 1);
        x->ahead_of = 2 * p->nodes;
    }
    if (places <= used || asked > 0)
        c->places_idle_ns = 0;
    else if (!c->places_idle_ns)
        c->places_idle_ns = now;
    if (p->has_ended || (c->places_idle_ns && now - c->places_idle_ns >= IDLE_NS)) {
        atomic_store(&c->places, used);
        c->places_idle_ns = 0;
    }
    if (looks && atomic_load(&c->places) > used) {
        x->spare = atomic_load(&c->places) - used;
        atomic_store(&c->places, used);
    }
    /* A call that took a place just before it went keeps it. */
    x->held = most(atomic_load(&c->places), atomic_load(&c->parallel));
    x->spare = most(x->spare - (x->held - used), 0);
    atomic_store(&c->places, x->held);
    return x->want || x->spare || x->held != c->places_held || (looks && x->held > 0);
}

static void done_bucket(const struct planned *d, const struct rate_move *m, int64_t now)
{
    struct rate_bucket *b = d->bucket;
    if (atomic_load(&d->counter->parts))
        return; /* it went by itself meanwhile: what was granted counts as used */
    atomic_fetch_add(&b->pocket_ns, m->granted_ns);
    atomic_store(&b->seen_ns, now + m->full_in_ns);
    int64_t dry = 0;
    if (d->missing > m->granted_ns)
        dry = now + least(most(m->full_in_ns + least(m->least_ns, RATE_MINUTE_NS) - RATE_MINUTE_NS, DRY_LEAST_NS), NS_PER_S);
    atomic_store(&b->dry_until_ns, dry);
}

static void done_places(const struct planned *d, const struct rate_places *x, int64_t now)
{
    struct rate_counter *c = d->counter;
    c->places_held = x->held + x->granted;
    if (atomic_load(&c->parts))
        return;
    atomic_fetch_add(&c->places, x->granted);
    if (d->missing <= x->granted) {
        c->short_since_ns = 0;
    } else if (!c->short_since_ns) {
        c->short_since_ns = now;
    } else if (now - c->short_since_ns >= SHORT_NS) {
        c->short_since_ns = 0;
        atomic_store(&c->places_dry_until_ns, now + SHORT_NS);
    }
}

static int by_counter(const void *a, const void *b)
{
    const struct rate_counter *x = *(struct rate_counter *const *)a, *y = *(struct rate_counter *const *)b;
    int order = memcmp(&x->id, &y->id, sizeof x->id);
    return order ? order : x->what - y->what;
}

/* References to all counters, in the order in which every node locks their rows. */
static unsigned collect(struct rate_pool *p)
{
    unsigned n = 0;
    if (p->n > p->cap) {
        size_t cap = 2 * (size_t)p->n + 64;
        free(p->counters);
        free(p->of_moves);
        free(p->of_places);
        free(p->x.moves);
        free(p->x.places);
        p->counters = calloc(cap, sizeof *p->counters);
        p->of_moves = calloc(2 * cap, sizeof *p->of_moves);
        p->of_places = calloc(cap, sizeof *p->of_places);
        p->x.moves = calloc(2 * cap, sizeof *p->x.moves);
        p->x.places = calloc(cap, sizeof *p->x.places);
        bool is_whole = p->counters && p->of_moves && p->of_places && p->x.moves && p->x.places;
        p->cap = is_whole ? cap : 0;
    }
    for (struct rate_counter *c = p->first; c && n < p->cap; c = c->next) {
        unsigned refs = atomic_load(&c->refs);
        while (refs && !atomic_compare_exchange_weak(&c->refs, &refs, refs + 1))
            ;
        if (refs) /* else it is going */
            p->counters[n++] = c;
    }
    if (n > 1)
        qsort(p->counters, n, sizeof *p->counters, by_counter);
    return n;
}

static void plan(struct rate_pool *p, unsigned n, int64_t now, bool looks)
{
    struct rate_exchange *x = &p->x;
    x->n_moves = x->n_places = 0;
    for (unsigned i = 0; i < n; i++) {
        struct rate_counter *c = p->counters[i];
        int64_t missing;
        if (atomic_load(&c->parts))
            continue;
        for (unsigned kind = RATE_REQUESTS; kind <= RATE_TOKENS; kind++)
            if (plan_bucket(p, c, (enum rate_kind)kind, now, looks, &x->moves[x->n_moves], &missing))
                p->of_moves[x->n_moves++] = (struct planned){c, kind == RATE_REQUESTS ? &c->requests : &c->tokens, missing};
        if (plan_places(p, c, now, looks, &x->places[x->n_places], &missing))
            p->of_places[x->n_places++] = (struct planned){c, NULL, missing};
    }
}

/* The exchange failed: as if it had never been planned. */
static void unplan(struct rate_pool *p)
{
    for (unsigned i = 0; i < p->x.n_moves; i++) {
        const struct rate_move *m = &p->x.moves[i];
        if (!atomic_load(&p->of_moves[i].counter->parts))
            atomic_fetch_add(&p->of_moves[i].bucket->pocket_ns, m->give_ns - m->debt_ns);
        else /* it went by itself meanwhile, without this */
            atomic_fetch_add(&p->of_moves[i].bucket->full_ns, m->debt_ns * atomic_load(&p->of_moves[i].counter->parts));
    }
    for (unsigned i = 0; i < p->x.n_places; i++)
        if (!atomic_load(&p->of_places[i].counter->parts))
            atomic_fetch_add(&p->of_places[i].counter->places, p->x.places[i].spare);
}

void rate_pool_turn(struct rate_pool *p, int64_t now)
{
    err e;
    unsigned nodes = p->has_ended ? p->nodes : p->setup.nodes(p->setup.ctx);
    bool is_shared = p->has_ended || nodes > 1;
    p->is_woken = false;
    pthread_mutex_lock(&p->lock);
    p->nodes = nodes;
    unsigned n = collect(p);
    bool is_apart = p->has_failed;
    p->parts = is_apart ? nodes : is_shared ? 0 : 1;
    for (unsigned i = 0; i < n; i++) {
        if (p->parts)
            leave(p->counters[i], p->parts, now);
        else
            join(p->counters[i], now);
    }
    bool looks = atomic_exchange(&p->is_told, false) || now - p->looked_ns >= LOOK_EVERY_MS * NS_PER_MS;
    if (looks)
        p->looked_ns = now;
    plan(p, n, now, looks);
    p->turned_ns = now;
    pthread_mutex_unlock(&p->lock);
    if (p->x.n_moves || p->x.n_places || is_apart) {
        p->since_ns = now;
        enum errc rc = p->setup.exchange(p->setup.ctx, &p->x, &e);
        p->since_ns = 0;
        pthread_mutex_lock(&p->lock);
        if (rc == ERR_NONE) {
            if (p->has_failed)
                log_event(LOG_INFO, "limits_are_shared_again", LOG_I("nodes", nodes));
            p->has_failed = false;
            for (unsigned i = 0; i < p->x.n_moves; i++)
                done_bucket(&p->of_moves[i], &p->x.moves[i], now);
            for (unsigned i = 0; i < p->x.n_places; i++)
                done_places(&p->of_places[i], &p->x.places[i], now);
        } else {
            if (!p->has_failed)
                log_error(LOG_WARN, "limits_are_not_shared", &e);
            p->has_failed = true;
            unplan(p);
            for (unsigned i = 0; i < n; i++)
                leave(p->counters[i], nodes, now);
        }
        p->parts = p->has_failed ? nodes : is_shared ? 0 : 1;
        pthread_mutex_unlock(&p->lock);
        if (p->setup.answered)
            p->setup.answered(p->setup.ctx);
    }
    for (unsigned i = 0; i < n; i++)
        rate_counter_put(p->counters[i]);
}

/* --- life --- */

static int64_t real_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

static void *thread_main(void *arg)
{
    struct rate_pool *p = arg;
    for (;;) {
        int64_t start = real_ns();
        rate_pool_turn(p, clock_mono_us() * 1000);
        /* Not more often, whoever wakes; what woke it meanwhile is still noted. */
        int64_t rest = TURN_GAP_MS - (real_ns() - start) / NS_PER_MS;
        if (rest > 0 && !waker_is_stopping(&p->waker))
            nanosleep(&(struct timespec){.tv_nsec = rest * NS_PER_MS}, NULL);
        if (!waker_wait(&p->waker, p->is_woken ? 0 : LOOK_EVERY_MS * 1000))
            return NULL;
    }
}

enum errc rate_pool_new(struct rate_pool **out, const struct rate_pool_setup *setup, err *e)
{
    struct rate_pool *p = calloc(1, sizeof *p);
    if (!p)
        return err_code(e, ERR_NO_MEMORY);
    enum errc rc = waker_init(&p->waker, e);
    if (rc != ERR_NONE) {
        free(p);
        return rc;
    }
    pthread_mutex_init(&p->lock, NULL);
    p->setup = *setup;
    p->nodes = setup->nodes(setup->ctx);
    p->parts = p->nodes > 1 ? 0 : 1;
    *out = p;
    return ERR_NONE;
}

enum errc rate_pool_start(struct rate_pool *p, err *e)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&p->thread, NULL, thread_main, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return err_errno(e, ERR_INTERNAL, failed, "cannot start the thread of the limits");
    p->has_thread = true;
    return ERR_NONE;
}

void rate_pool_stop(struct rate_pool *p)
{
    if (!p->has_thread)
        return;
    waker_stop(&p->waker);
    pthread_join(p->thread, NULL);
    p->has_thread = false;
    p->has_ended = true;
    if (!p->parts)
        rate_pool_turn(p, clock_mono_us() * 1000);
}

void rate_pool_free(struct rate_pool *p)
{
    if (!p)
        return;
    rate_pool_stop(p);
    free(p->counters);
    free(p->of_moves);
    free(p->of_places);
    free(p->x.moves);
    free(p->x.places);
    waker_fini(&p->waker);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

void rate_pool_wake(struct rate_pool *p)
{
    if (!atomic_load_explicit(&p->is_woken, memory_order_relaxed) && !atomic_exchange(&p->is_woken, true))
        waker_wake(&p->waker);
}

void rate_pool_told(struct rate_pool *p)
{
    p->is_told = true;
    rate_pool_wake(p);
}

bool rate_pool_is_late(const struct rate_pool *p, int64_t now_ns)
{
    int64_t since = p->since_ns;
    return p->has_ended || (since && now_ns - since > LATE_NS);
}

/* Another node that has come since the last turn counts at once. */
unsigned rate_pool_parts(const struct rate_pool *p) { return p->parts == 1 && p->setup.nodes(p->setup.ctx) > 1 ? 0 : p->parts; }

void rate_pool_add(struct rate_pool *p, struct rate_counter *c)
{
    pthread_mutex_lock(&p->lock);
    c->next = p->first;
    c->link = &p->first;
    if (c->next)
        c->next->link = &c->next;
    p->first = c;
    p->n++;
    pthread_mutex_unlock(&p->lock);
}

void rate_pool_remove(struct rate_pool *p, struct rate_counter *c)
{
    pthread_mutex_lock(&p->lock);
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    p->n--;
    pthread_mutex_unlock(&p->lock);
}
