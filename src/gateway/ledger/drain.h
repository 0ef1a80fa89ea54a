/* drain.h - moves the usage journal into the database, in batches, each call exactly once.
 *
 * A thread reads what the loops have written since it last looked, and writes it in one unit together with the positions behind it (ledger.h). A segment that was
 * read to its end is removed some seconds after a synced commit has its position. When the database is away or full the journal goes on growing, and
 * everything is caught up on when it is back.
 * START frames of calls that do not end within their batch are kept in the database; those of earlier boots are charged when the drain opens.
 * Counters of budgets that are younger than a call learn of it here (budget.h): the caller holds drain_lock while it makes such counters, from asking the ledger what
 * was spent until their snapshot is published.
 * Threads: one of its own; everything else any but loops.
 */
#ifndef GATEWAY_LEDGER_DRAIN_H
#define GATEWAY_LEDGER_DRAIN_H

#include "gateway/ledger/ledger.h"

struct drain;

struct drain_setup {
    struct store *store;
    const char *data_dir;
    struct journal *journal;
    unsigned interval_ms;   /* how often it looks */
    unsigned keep_days;     /* of calls; 0: for ever */
    /* After each batch that was committed, with drain_lock held: its calls; in_boot tells those of this boot. On the drain's thread. */
    void (*drained)(void *ctx, const struct usage_record *calls, unsigned n, uint64_t boot);
    /* After that, without the lock, also when there was nothing: may use the database. */
    void (*idle)(void *ctx, usec now_us);
    void *ctx;
};

/* Reads and writes everything that earlier boots have left, and charges their open calls. */
WARN_UNUSED enum errc drain_open(struct drain **out, const struct drain_setup *setup, err *e);
WARN_UNUSED enum errc drain_start(struct drain *d, err *e);
/* Ends the thread; tries once to write what is there. */
void drain_stop(struct drain *d);
void drain_free(struct drain *d); /* NULL is fine */
/* One look, on the caller's thread: for tests, and for who wants to see the calls of this moment. The thread must not run. */
WARN_UNUSED enum errc drain_once(struct drain *d, err *e);

/* Another data folder, whose server does not run: writes everything that its journal has and the database has not, each call once, however often this is begun and
 * broken off, and charges the calls that never ended. Nothing is changed in the folder. */
struct drain_import {
    struct store *store;
    const char *data_dir;
    bool leaves_open;       /* the node is alive, this is a copy: its open calls are its own */
    /* what was found */
    uint8_t node[16];
    int64_t node_no;
    size_t n_segments;
    int64_t n_calls, charged_nanousd; /* that the database had not */
    int64_t n_open, open_nanousd;     /* of them that never ended: charged what was reserved, or left open */
    struct journal_place *damaged;    /* segments that could not be read beyond a position; in the arena */
    size_t n_damaged;
};
WARN_UNUSED enum errc drain_import(struct drain_import *i, struct arena *a, err *e);

/* The number of this folder in the usage database. */
int64_t drain_node_no(const struct drain *d);

void drain_lock(struct drain *d);
void drain_unlock(struct drain *d);

/* False while the database does not take what the journal has; *reason is a word for /readyz. */
bool drain_is_well(const struct drain *d, const char **reason);
/* What this boot has written and the database does not have yet. No lock. */
struct drain_backlog {
    int64_t bytes, calls;
    usec oldest_us;         /* when the oldest of them may have ended; NO_VALUE: there is none */
};
struct drain_backlog drain_backlog(const struct drain *d);
/* When a key was last used; 0: never. */
usec drain_key_used(struct drain *d, const uuid *key_id);

#endif
