/* seal.c - numbering: densely, in the order in which units that depend on each other were done.
 *
 * SQLite's writer runs the unit inside each group commit, so a number never stands for something that is
 * not there. PostgreSQL commits units side by side and in no order that a number drawn at insertion could
 * know: a reader that has seen 2 would never look for a slow 1. There one thread, holding an advisory lock,
 * numbers what has become visible. Of two units of which one built upon the other's rows, the later began
 * after the earlier had committed, so its seq is greater and it is not visible without it: the order of seq
 * among what is visible is the order of cause and effect.
 */
#include "base/log.h"
#include "core/events/internal.h"

#define SEAL_BATCH 500
#define SEAL_POLL_US (1 * USEC_PER_S) /* what another node left behind when it died */
#define SEAL_RETRY_US (200 * USEC_PER_MS)

/* The unit reads and numbers under the lock, each statement with a snapshot of its own: as SERIALIZABLE it
 * would make the very units fail that it follows. */
SQL_PER_ENGINE(seal_isolation, DB_MAIN, SQL_INSTANCE, "", "SELECT 1",
               "SET TRANSACTION ISOLATION LEVEL READ COMMITTED");
SQL_PER_ENGINE(seal_lock, DB_MAIN, SQL_INSTANCE, "", "SELECT 1",
               "SELECT CAST(pg_advisory_xact_lock(7161132049301) AS TEXT)");
SQL(unsealed, DB_MAIN, 0, "i",
    "SELECT seq, workspace_id FROM events WHERE number IS NULL ORDER BY seq LIMIT $1");
SQL(any_unsealed, DB_MAIN, SQL_INSTANCE, "", "SELECT seq FROM events WHERE number IS NULL LIMIT 1");
SQL(last_number, DB_MAIN, SQL_INSTANCE, "",
    "SELECT number FROM events WHERE number IS NOT NULL ORDER BY number DESC LIMIT 1");
SQL(last_workspace_number, DB_MAIN, 0, "u",
    "SELECT workspace_number FROM events WHERE workspace_id = $1 AND number IS NOT NULL ORDER BY number DESC "
    "LIMIT 1");
SQL(seal_event, DB_MAIN, SQL_INSTANCE, "iii",
    "UPDATE events SET number = $1, workspace_number = $2 WHERE seq = $3");

static enum errc one_number(struct tx *tx, struct arena *a, const struct sql *s, const struct val *params,
                            unsigned n, int64_t *out, err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, a, s, params, n, &rows, e);
    *out = rc == ERR_NONE && rows.n ? val_int(row_at(&rows, 0)) : 0;
    return rc;
}

/* The last number of each workspace of a batch. */
struct heads {
    struct {
        uuid workspace;
        int64_t number;
    } of[SEAL_BATCH];
    unsigned n;
};

static enum errc next_of_workspace(struct tx *tx, struct arena *a, struct heads *heads, const uuid *workspace,
                                   int64_t *number, err *e)
{
    unsigned i = 0;
    enum errc rc = ERR_NONE;
    if (uuid_is_nil(workspace)) {
        *number = 0;
        return ERR_NONE;
    }
    while (i < heads->n && memcmp(&heads->of[i].workspace, workspace, sizeof *workspace) != 0)
        i++;
    if (i == heads->n) {
        heads->of[i].workspace = *workspace;
        rc = one_number(tx, a, &last_workspace_number, PARAMS(v_uuid(workspace)), &heads->of[i].number, e);
        heads->n++;
    }
    *number = ++heads->of[i].number;
    return rc;
}

static enum errc seal_batch(struct tx *tx, struct arena *a, bool *has_more, unsigned *n, err *e)
{
    struct rows rows;
    struct heads *heads;
    int64_t number = 0;
    enum errc rc = tx_query(tx, a, &unsealed, PARAMS(v_int(SEAL_BATCH)), &rows, e);
    *has_more = rc == ERR_NONE && rows.n == SEAL_BATCH;
    if (rc != ERR_NONE || rows.n == 0) return rc;
    struct val *values = arena_news(a, struct val, 3 * rows.n);
    heads = arena_new(a, struct heads);
    if (!values || !heads) return err_code(e, ERR_NO_MEMORY);
    rc = one_number(tx, a, &last_number, NULL, 0, &number, e);
    for (unsigned i = 0; i < rows.n && rc == ERR_NONE; i++) {
        const struct val *v = row_at(&rows, i);
        uuid workspace = val_uuid(&v[1]);
        int64_t of_workspace = 0;
        rc = next_of_workspace(tx, a, heads, &workspace, &of_workspace, e);
        values[3 * i] = v_int(++number);
        values[3 * i + 1] = v_int(of_workspace);
        values[3 * i + 2] = v[0];
    }
    if (rc == ERR_NONE) rc = tx_bulk(tx, &seal_event, values, rows.n, e);
    if (rc == ERR_NONE) *n += rows.n;
    return rc;
}

enum errc events_seal_unit(struct tx *tx, void *ctx, err *e)
{
    (void)ctx;
    bool has_more = true;
    unsigned n = 0;
    enum errc rc = ERR_NONE;
    while (has_more && rc == ERR_NONE) {
        struct arena a;
        arena_init(&a, 4u << 20, 64u << 10);
        rc = seal_batch(tx, &a, &has_more, &n, e);
        arena_fini(&a);
    }
    return rc;
}

/* --- PostgreSQL's sealer --- */

static enum errc sealer_unit(struct tx *tx, void *ctx, err *e)
{
    struct seal_run *run = ctx;
    struct arena a;
    struct rows rows;
    *run = (struct seal_run){0};
    arena_init(&a, 4u << 20, 64u << 10);
    enum errc rc = tx_query(tx, &a, &seal_isolation, NULL, 0, &rows, e);
    if (rc == ERR_NONE) rc = tx_query(tx, &a, &seal_lock, NULL, 0, &rows, e);
    if (rc == ERR_NONE) rc = seal_batch(tx, &a, &run->has_more, &run->n, e);
    if (rc == ERR_NONE && run->n) rc = tx_tell(tx, TOPIC_SEALED, e);
    arena_fini(&a);
    return rc;
}

static enum errc is_any_unit(struct tx *tx, void *ctx, err *e)
{
    struct arena a;
    struct rows rows;
    arena_init(&a, 4096, 512);
    enum errc rc = tx_query(tx, &a, &any_unsealed, NULL, 0, &rows, e);
    *(bool *)ctx = rc == ERR_NONE && rows.n > 0;
    arena_fini(&a);
    return rc;
}

void *events_sealer_main(void *arg)
{
    struct events *log = arg;
    struct db *db = store_db(log->store, DB_MAIN);
    usec wait_us = 0;
    bool was_well = true;
    for (bool goes_on = true; goes_on;) {
        struct seal_run run = {0};
        bool is_any = false;
        err e = {0};
        goes_on = waker_wait(&log->seal, wait_us); /* at the end once more, for what was committed last */
        enum errc rc = db_read(db, is_any_unit, &is_any, &e);
        if (rc == ERR_NONE && is_any) rc = db_write(db, sealer_unit, &run, &e);
        if (rc != ERR_NONE && was_well) log_error(LOG_WARN, "seal_failed", &e);
        was_well = rc == ERR_NONE;
        if (run.n) waker_wake(&log->follow);
        wait_us = rc != ERR_NONE ? SEAL_RETRY_US : run.has_more ? 0 : SEAL_POLL_US;
    }
    return NULL;
}
