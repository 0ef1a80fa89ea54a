/* pools.h - the kept connections of one loop to the providers, over changes of the snapshot.
 *
 * A pool belongs to a target (host, port, authorities, time limits), not to a snapshot: the providers of a new snapshot find the warm connections of
 * those before them. A snapshot is held for a loop by one snapshot_use, which the loop's calls count on without atomics.
 * Threads: one loop.
 */
#ifndef GATEWAY_POOLS_H
#define GATEWAY_POOLS_H

#include "gateway/snapshot.h"

struct pool;

/* A snapshot as a loop holds it. */
struct snapshot_use {
    struct snapshot *snapshot;
    unsigned n_calls;     /* of this loop */
    bool is_current;
    struct pool **pools;  /* by provider->index */
};

struct pools {
    struct loop *loop;
    struct pool *first;
};

void pools_init(struct pools *p, struct loop *l);
/* Takes over one reference of the snapshot; NULL when out of memory (the reference is given back). */
struct snapshot_use *snapshot_use_new(struct pools *p, struct snapshot *s);
/* It is not the current one any more: ends with its last call. */
void snapshot_use_retire(struct pools *p, struct snapshot_use *u);
static inline struct snapshot_use *snapshot_use_begin(struct snapshot_use *u)
{
    u->n_calls++;
    return u;
}
void snapshot_use_end(struct pools *p, struct snapshot_use *u);
struct client_pool *snapshot_use_pool(const struct snapshot_use *u, const struct provider *p);

/* On the loop's thread, when it has no more calls: closes all connections. */
void pools_close(struct pools *p);
/* After the loop has ended. */
void pools_fini(struct pools *p);

#endif
