/* When a change is answered it holds at every node that is alive: a budget that was just made is passed nowhere, a key that was just revoked opens nothing. */
#include <time.h>

#include "base/log.h"
#include "core/events.h"
#include "core/nodes.h"
#include "gateway/internal.h"

#define SPREAD_MOST_US (2 * USEC_PER_S) /* a node that hangs is waited for no longer */
#define LOOK_FIRST_US (4 * USEC_PER_MS)
#define LOOK_LAST_US (50 * USEC_PER_MS)

SQL(spread_last, DB_MAIN, SQL_INSTANCE, "", "SELECT CAST(COALESCE(MAX(seq), 0) AS BIGINT) FROM events");
SQL(spread_unsealed, DB_MAIN, SQL_INSTANCE, "i", "SELECT 1 FROM events WHERE number IS NULL AND seq <= $1 LIMIT 1");
SQL(spread_behind, DB_MAIN, SQL_INSTANCE, "ui",
    "SELECT COUNT(*) FROM nodes WHERE id <> $1 AND state IN ('serving', 'draining') AND snapshot_number < $2");

struct spread {
    const uuid *self;
    int64_t seq;      /* what was committed before stands up to here in the log */
    int64_t number;   /* and up to this number; 0: not all of it is sealed */
    int64_t n_behind; /* nodes that lack some of it */
};

static enum errc last_unit(struct tx *tx, void *ctx, err *e)
{
    struct spread *s = ctx;
    struct arena a;
    const struct val *row;
    arena_init(&a, 4096, 512);
    enum errc rc = tx_query_row(tx, &a, &spread_last, NULL, 0, &row, e);
    if (rc == ERR_NONE)
        s->seq = val_int(row);
    arena_fini(&a);
    return rc;
}

static enum errc look_unit(struct tx *tx, void *ctx, err *e)
{
    struct spread *s = ctx;
    struct arena a;
    struct rows rows;
    const struct val *row;
    enum errc rc = ERR_NONE;
    arena_init(&a, 8192, 1024);
    if (!s->number) {
        rc = tx_query(tx, &a, &spread_unsealed, PARAMS(v_int(s->seq)), &rows, e);
        if (rc == ERR_NONE && !rows.n)
            rc = events_head(tx, &s->number, e);
    }
    if (rc == ERR_NONE && s->number && (rc = tx_query_row(tx, &a, &spread_behind, PARAMS(v_uuid(s->self), v_int(s->number)), &row, e)) == ERR_NONE)
        s->n_behind = val_int(row);
    arena_fini(&a);
    return rc;
}

void spread_wait(struct gateway *g)
{
    struct db *db = store_db(g->backend.store, DB_MAIN);
    usec until = clock_mono_us() + SPREAD_MOST_US, pause = LOOK_FIRST_US;
    err e = {0};
    if (!g->backend.nodes || nodes_alive(g->backend.nodes) < 2)
        return;
    struct spread s = {.self = nodes_id(g->backend.nodes), .n_behind = 1};
    enum errc rc = db_read(db, last_unit, &s, &e);
    while (rc == ERR_NONE && (rc = db_read(db, look_unit, &s, &e)) == ERR_NONE && s.n_behind && clock_mono_us() < until) {
        nanosleep(&(struct timespec){.tv_nsec = pause * 1000}, NULL);
        pause = pause * 2 < LOOK_LAST_US ? pause * 2 : LOOK_LAST_US;
    }
    if (rc != ERR_NONE)
        log_error(LOG_WARN, "change_may_not_be_everywhere", &e);
    else if (s.n_behind)
        log_event(LOG_WARN, "change_not_everywhere_yet", LOG_I("nodes", s.n_behind), LOG_I("number", s.number));
}
