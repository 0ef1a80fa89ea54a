/* lease.h - slices of hard budgets, for nodes that share a database.
 *
 * Each node takes slices of a hard budget from the usage database and reserves locally out of them (budget.h). A row of budget_leases says what a node holds:
 * leased, and neither given back nor drained as spent. In every snapshot of the database
 *     charged in the period + what all nodes hold <= the limit
 * since a grant checks it in a serializable unit, and the unit that drains a call takes off what its node holds what it adds to what was charged.
 * A thread asks when calls wait for more, and ahead of that when a slice is half used; what lies idle goes back after some seconds but for a base, with which a
 * node that is cut off can go on. A node that finds too little says so in its row and tells the others, who give back all that is free; when nothing has come for
 * RECALL_US there is no more to be had. What a node that died holds stays held until its journal is drained: by its next start, or by `catalyst journal import`.
 * It also keeps in the counters what all nodes have charged and hold, of soft budgets too.
 * Where a period ends a slice of the next one is leased some seconds ahead. A budget whose limit is lowered below what is leased is divided anew, and what calls
 * under way leave of it goes back, until what was charged and is held fits again.
 * Threads: one of its own; leases_wake is for any.
 */
#ifndef GATEWAY_LEASE_LEASE_H
#define GATEWAY_LEASE_LEASE_H

#include "gateway/ledger/drain.h"
#include "gateway/snapshot.h"
#include "store/store.h"

struct nodes;
struct leases;

struct leases_setup {
    struct store *store;       /* PostgreSQL */
    struct drain *drain;
    struct nodes *nodes;       /* NULL: alone */
    struct snapshot *(*snapshot)(void *ctx); /* one reference to the latest */
    void (*changed)(void *ctx);              /* calls that wait may ask again */
    void *ctx;
};
/* Gives back what earlier boots of this node hold: everything that they spent is drained. */
WARN_UNUSED enum errc leases_new(struct leases **out, const struct leases_setup *setup, err *e);
/* After store_on_told's last moment: before store_listen. */
WARN_UNUSED enum errc leases_start(struct leases *l, err *e);
/* Ends the thread. NULL is fine. */
void leases_stop(struct leases *l);
/* Gives everything back: after the drain's last look, when no call is under way. */
void leases_end(struct leases *l);
void leases_free(struct leases *l);
/* One look, on the caller's thread: for tests. The thread must not run. */
void leases_look(struct leases *l);
/* A call waits for more. */
void leases_wake(struct leases *l);
/* What this node holds, for /api/nodes. */
int64_t leases_held_nanousd(const struct leases *l);
/* Units that changed what it holds, since its start. */
int64_t leases_units(const struct leases *l);

#endif
