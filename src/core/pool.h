/* pool.h - a bounded queue of work and the threads that do it.
 *
 * What blocks does not run on event loops: handlers of the API, password hashing, slow outbound calls each
 * have a pool of their own, so that none of them can starve the others. A queue has a limit and a waiting
 * time: beyond either the task is told so instead of being done, and its owner answers 503 with Retry-After.
 * Tasks run in the order they came.
 * Metrics: catalyst_pool_queued, _running (gauges), catalyst_pool_wait_seconds (histogram),
 * catalyst_pool_refused_total; label pool.
 * Threads: pool_submit from any; run on the pool's threads, or, with is_late, on whichever thread submits
 * next.
 */
#ifndef CORE_POOL_H
#define CORE_POOL_H

#include "base/clock.h"
#include "base/err.h"

struct pool;

struct pool_task {
    struct pool_task *next;   /* private */
    usec queued_mono_us;      /* private */
    /* is_late: it waited longer than the pool allows; it must only tell its owner, quickly. The task's
     * memory is its owner's again once this is called. */
    void (*run)(struct pool_task *task, bool is_late);
};

struct pool_setup {
    const char *name;         /* of its threads ("api" makes api-0, api-1, …) and metrics; at most 9 bytes, a literal */
    unsigned threads;
    unsigned queue;           /* tasks that wait at most */
    uint64_t wait_ms;         /* longest time in the queue */
};

WARN_UNUSED enum errc pool_new(struct pool **out, const struct pool_setup *setup, err *e);
/* ERR_BUSY: the queue is full; ERR_UNAVAILABLE: the pool is stopping. The task is then not taken. */
WARN_UNUSED enum errc pool_submit(struct pool *p, struct pool_task *task, err *e);
/* Takes no more tasks, does what is queued, and returns when the last one has ended. */
void pool_stop(struct pool *p);
void pool_free(struct pool *p); /* stops it first when that has not been done; NULL is fine */

#endif
