/* ledger.h - the usage database: calls as they were drained from journals, how far each journal has been drained, and what was charged a day.
 *
 * One unit writes all of a batch: its calls, the roll-ups that they add to, the positions behind them. So every call counts exactly once, whatever dies when; the
 * numbers of a call (node, boot, n) are unique besides.
 * Threads: any but loops.
 */
#ifndef GATEWAY_LEDGER_LEDGER_H
#define GATEWAY_LEDGER_LEDGER_H

#include "gateway/journal/journal.h"
#include "gateway/snapshot/snapshot_build.h"
#include "store/store.h"

/* The number of a data folder in this database, given when there is none. */
WARN_UNUSED enum errc ledger_node(struct store *s, const uint8_t node[16], int64_t *no, err *e);
/* How far the segments of the folder have been drained; in the arena. */
WARN_UNUSED enum errc ledger_places(struct store *s, int64_t node_no, const uint8_t node[16], struct arena *a, struct journal_place **out,
                                    size_t *n, err *e);

struct ledger_spend {
    enum budget_scope scope;
    uuid scope_id;
    int32_t day;
    int64_t nanousd, calls;
};
struct ledger_use { /* of a key */
    uuid key_id;
    usec used_us;
};
struct ledger_open { /* a call under a hard budget */
    uint64_t boot, n;
    str frame; /* its START frame; empty: it has ended */
};

struct ledger_batch {
    int64_t node_no;
    const struct usage_record *calls;
    const struct ledger_spend *spends;
    const struct ledger_use *uses;
    const struct ledger_open *opens;
    const struct journal_place *places;
    const uint64_t *places_before; /* positions that the batch begins at; 0: none was stored */
    bool claims_opens;             /* charges opens of the database: whoever deletes them does */
    unsigned n_calls, n_spends, n_uses, n_opens, n_places;
};
/* A batch with places may be written again when it is not known whether it was: it counts once. ERR_CONFLICT: somebody else has drained the folder (a copy of
 * it, or its own node that is back) beyond where the batch begins, or has charged its open calls: nothing is written, and the caller looks again at what is
 * stored. */
WARN_UNUSED enum errc ledger_write(struct store *s, const struct ledger_batch *b, err *e);
/* The START frames of the folder's calls that have not ended; in the arena. */
WARN_UNUSED enum errc ledger_open_calls(struct store *s, int64_t node_no, struct arena *a, struct ledger_open **out, unsigned *n, err *e);
/* Empties the frames of those whose calls are in the database. */
WARN_UNUSED enum errc ledger_clear_ended(struct store *s, int64_t node_no, struct ledger_open *opens, unsigned n, err *e);

/* What was charged to a scope on this day and later ones; in a unit on DB_USAGE. */
WARN_UNUSED enum errc ledger_charged(struct tx *tx, enum budget_scope scope, const uuid *scope_id, int32_t from_day, int64_t *nanousd, err *e);
/* What was charged, for new counters. */
WARN_UNUSED enum errc ledger_spent(struct store *s, struct spent_query *queries, unsigned n, err *e);
/* Calls that were made before there was any workspace become this one's. */
WARN_UNUSED enum errc ledger_adopt(struct store *s, const uuid *workspace, err *e);
/* Deletes calls that began before this time, in small units. */
WARN_UNUSED enum errc ledger_forget(struct store *s, usec before_us, int64_t *n_deleted, err *e);
/* When each key was last used; fn gets all of them. */
WARN_UNUSED enum errc ledger_uses(struct store *s, struct arena *a, struct ledger_use **out, unsigned *n, err *e);

#endif
