/* await.c - waiting until a change holds at every node that is alive: whoever is told that it was made can rely on it anywhere. */
#include <time.h>

#include "base/log.h"
#include "core/nodes/internal.h"

#define LOOK_FIRST_US (4 * USEC_PER_MS)
#define LOOK_LAST_US (50 * USEC_PER_MS)

SQL(last_seq, DB_MAIN, SQL_INSTANCE, "", "SELECT CAST(COALESCE(MAX(seq), 0) AS BIGINT) FROM events");
SQL(unsealed_before, DB_MAIN, SQL_INSTANCE, "i",
    "SELECT 1 FROM events WHERE number IS NULL AND seq <= $1 LIMIT 1");
SQL(nodes_behind, DB_MAIN, SQL_INSTANCE, "ui",
    "SELECT COUNT(*) FROM nodes WHERE id <> $1 AND state IN ('serving', 'draining') AND snapshot_number < $2");

struct waiting {
    const uuid *self;
    int64_t seq;      /* what was committed before stands up to here in the log */
    int64_t number;   /* and up to this number; 0: not all of it is sealed */
    int64_t n_behind; /* nodes that lack some of it */
};

static enum errc last_unit(struct tx *tx, void *ctx, err *e)
{
    struct waiting *w = ctx;
    struct arena a;
    const struct val *row;
    arena_init(&a, 4096, 512);
    enum errc rc = tx_query_row(tx, &a, &last_seq, NULL, 0, &row, e);
    if (rc == ERR_NONE) w->seq = val_int(row);
    arena_fini(&a);
    return rc;
}

static enum errc look_unit(struct tx *tx, void *ctx, err *e)
{
    struct waiting *w = ctx;
    struct arena a;
    struct rows rows;
    const struct val *row;
    enum errc rc = ERR_NONE;
    arena_init(&a, 8192, 1024);
    if (!w->number) {
        rc = tx_query(tx, &a, &unsealed_before, PARAMS(v_int(w->seq)), &rows, e);
        if (rc == ERR_NONE && !rows.n) rc = events_head(tx, &w->number, e);
    }
    if (rc == ERR_NONE && w->number) {
        rc = tx_query_row(tx, &a, &nodes_behind, PARAMS(v_uuid(w->self), v_int(w->number)), &row, e);
        if (rc == ERR_NONE) w->n_behind = val_int(row);
    }
    arena_fini(&a);
    return rc;
}

void nodes_await(struct nodes *n)
{
    struct db *db = store_db(n->store, DB_MAIN);
    usec until = clock_mono_us() + NODES_AWAIT_US, pause = LOOK_FIRST_US;
    struct waiting w = {.self = nodes_id(n), .n_behind = 1};
    err e = {0};
    if (nodes_alive(n) < 2) return;
    enum errc rc = db_read(db, last_unit, &w, &e);
    while (rc == ERR_NONE && (rc = db_read(db, look_unit, &w, &e)) == ERR_NONE && w.n_behind &&
           clock_mono_us() < until) {
        nanosleep(&(struct timespec){.tv_nsec = pause * 1000}, NULL);
        pause = pause * 2 < LOOK_LAST_US ? pause * 2 : LOOK_LAST_US;
    }
    if (rc != ERR_NONE)
        log_error(LOG_WARN, "change_may_not_be_everywhere", &e);
    else if (w.n_behind)
        log_event(LOG_WARN, "change_not_everywhere_yet", LOG_I("nodes", w.n_behind), LOG_I("number", w.number));
}
