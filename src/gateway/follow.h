/* follow.h - keeps the snapshot up to date with what the database says, whichever node changed it.
 *
 * It watches the log: whatever event can have changed providers, aliases, keys, budgets or limits wakes a thread that builds the next snapshot, which holds the log up
 * to a number. Now and then the thread looks at the log by itself. Nothing that is slow elsewhere holds it up, the draining of the journal least of all. It is also what knows when the database was last
 * heard: a node that is cut off goes on with the snapshot that it has, for `gateway.stale_max_ms` at most.
 * Threads: one of its own; the questions are for any.
 */
#ifndef GATEWAY_FOLLOW_H
#define GATEWAY_FOLLOW_H

#include "base/err.h"
#include "base/clock.h"

struct follow;
struct events;
struct store;

struct follow_setup {
    struct store *store;
    struct events *events;
    unsigned stale_max_ms; /* 0: no limit */
    /* Builds the next snapshot; *number: of the log, up to which it holds what was changed. */
    enum errc (*rebuild)(void *ctx, int64_t *number, err *e);
    void *ctx;
};
/* Before events_start. number: what the snapshot of now holds. */
WARN_UNUSED enum errc follow_new(struct follow **out, const struct follow_setup *setup, int64_t number, err *e);
WARN_UNUSED enum errc follow_start(struct follow *f, err *e);
void follow_stop(struct follow *f);
void follow_free(struct follow *f); /* NULL is fine */

/* A snapshot was made elsewhere: up to this number of the log nothing has to be done any more. */
void follow_built(struct follow *f, int64_t number);
/* Something has changed that no event tells, or that could not be built: it is built again soon. */
void follow_again(struct follow *f);

/* Of the log: up to here the snapshot lacks nothing. */
int64_t follow_number(const struct follow *f);
/* False when the database has not been heard of for some seconds, or when a snapshot could not be built; *reason is a word for /readyz. */
bool follow_is_well(const struct follow *f, const char **reason);
/* False when the snapshot may be older than stale_max_ms. */
bool follow_is_fresh(const struct follow *f);

#endif
