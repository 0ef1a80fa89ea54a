/* pool.h - the buckets and places of this node's keys and projects, as far as other nodes share them.
 *
 * A turn collects from all counters what calls wait for, what was used and what lies idle, and settles all of it with the database in one unit (the exchange); then
 * calls that wait try again. Turns come when somebody waits or a pocket runs low, at most TURNS a second. Everything that a call needs meanwhile is in atomics of its
 * counter. What a node holds is a twentieth of a minute's worth, or what it uses in two seconds.
 * Threads: turns on one thread, which the pool has (rate_pool_start) or a test is; everything else any.
 */
#ifndef GATEWAY_RATES_POOL_H
#define GATEWAY_RATES_POOL_H

#include "gateway/rates.h"

#define RATE_MINUTE_NS INT64_C(60000000000)
#define RATE_CHUNK_NS (RATE_MINUTE_NS / 20)
#define RATE_DEBT_MAX_NS (60 * RATE_MINUTE_NS) /* nobody waits longer than an hour for one call's tokens */

/* What one bucket wants of its row. */
struct rate_move {
    const struct rate_counter *counter;
    enum rate_kind kind;
    int64_t give_ns, debt_ns; /* back to the row, and taken already */
    int64_t want_ns;          /* to lease */
    int64_t least_ns;         /* less is of no use; 0: nobody waits, it is for later */
    int64_t granted_ns, full_in_ns; /* the results; full_in below 0: it is full */
};
/* The parallel calls of one counter. */
struct rate_places {
    const struct rate_counter *counter;
    int64_t limit, held;      /* held: what the row is to have, before anything is granted or kept */
    int64_t want;             /* more than that */
    int64_t spare;            /* of what it had, free: it keeps them when nobody else looks for places */
    unsigned ahead_of;        /* nodes that could want the rest: one place in so many is taken beforehand; 0: none */
    int64_t granted;          /* the result */
};
struct rate_exchange {
    struct rate_move *moves;
    struct rate_places *places;
    unsigned n_moves, n_places;
};

/* What an exchange does to the number of a row; now_us and *full_us by the same wall clock. */
void rate_row_move(int64_t *full_us, usec now_us, struct rate_move *m);

struct rate_pool_setup {
    unsigned (*nodes)(void *ctx); /* alive, this one included */
    enum errc (*exchange)(void *ctx, struct rate_exchange *x, err *e);
    void (*answered)(void *ctx);  /* after a turn: what waits may try again; only wakes */
    void *ctx;
};
WARN_UNUSED enum errc rate_pool_new(struct rate_pool **out, const struct rate_pool_setup *setup, err *e);
WARN_UNUSED enum errc rate_pool_start(struct rate_pool *p, err *e);
/* Gives everything back. Counters may outlive it: they go by themselves then. */
void rate_pool_stop(struct rate_pool *p);
void rate_pool_free(struct rate_pool *p); /* NULL is fine; all counters must have gone */

/* One turn. */
void rate_pool_turn(struct rate_pool *p, int64_t now_ns);
/* Somebody waits. Only wakes. */
void rate_pool_wake(struct rate_pool *p);
/* Another node may look for places. Only wakes. */
void rate_pool_told(struct rate_pool *p);
/* Whether the database does not answer although it was asked a second ago. */
bool rate_pool_is_late(const struct rate_pool *p, int64_t now_ns);
unsigned rate_pool_parts(const struct rate_pool *p); /* for new counters */
/* The counter goes by itself from now on; any thread. */
void rate_pool_leave(struct rate_pool *p, struct rate_counter *c, int64_t now_ns);
void rate_pool_add(struct rate_pool *p, struct rate_counter *c);
void rate_pool_remove(struct rate_pool *p, struct rate_counter *c);

#endif
