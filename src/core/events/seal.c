/* seal.c - numbering: densely, in the order in which units that depend on each other were done.
 *
 * SQLite's writer runs the unit inside each group commit, so a number never stands for something that is
 * not there. PostgreSQL commits units side by side and in no order that a number drawn at insertion could
 * know: a reader that has seen 2 would never look for a slow 1. There one node's thread at a time, the one that
 * gets an advisory lock for the length of its unit, numbers what has become visible. Of two units of which one built upon the other's rows, the later began
 * after the earlier had committed, so its seq is greater and it is not visible without it: the order of seq
 * among what is visible is the order of cause and effect.
 *
 * A holder that hangs or is cut off: the server ends its unit, and with it the lock, when it has said nothing for
 * HOLD_MS. For that no statement may be under way while the holder is silent, so the batch is numbered by one
 * statement, and not by many that are sent one after the other. Who does not get the lock gives its connection back
 * and asks again soon.
 */
#include <time.h>

#include "base/log.h"
#include "core/events/internal.h"

#define SEAL_BATCH 500
#define SEAL_POLL_US (500 * USEC_PER_MS) /* what another node left behind when it died */
#define SEAL_RETRY_US (200 * USEC_PER_MS)
#define SEAL_HELD_US (20 * USEC_PER_MS) /* another node is sealing */
#define SEAL_GATHER_US (5 * USEC_PER_MS) /* so that many changes a second do not make as many batches */
#define HOLD_MS "1000"
#define SEAL_LAST_TRIES 10u             /* at the end, when another one is sealing: it does the rest */

/* Whatever the statistics say, the batch goes by the indexes. */
SQL_PER_ENGINE(seal_lock, DB_MAIN, SQL_INSTANCE, "", "SELECT 1",
               "SELECT pg_try_advisory_xact_lock(7161132049301), "
               "set_config('idle_in_transaction_session_timeout', '" HOLD_MS "', true), "
               "set_config('lock_timeout', '" HOLD_MS "', true), "
               "set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), "
               "set_config('enable_mergejoin', 'off', true)");
/* As seal_batch does it with SQLite. */
SQL_PER_ENGINE(
    seal_many, DB_MAIN, SQL_INSTANCE, "", "SELECT 1",
    "WITH batch AS MATERIALIZED ("
    "SELECT seq, workspace_id, row_number() OVER (ORDER BY seq) AS n, "
    "row_number() OVER (PARTITION BY workspace_id ORDER BY seq) AS of_workspace FROM "
    "(SELECT seq, workspace_id FROM events WHERE number IS NULL ORDER BY seq LIMIT 500) AS unsealed), "
    "heads AS MATERIALIZED ("
    "SELECT w.workspace_id, (SELECT e.workspace_number FROM events AS e WHERE e.workspace_id = w.workspace_id "
    "AND e.number IS NOT NULL ORDER BY e.number DESC LIMIT 1) AS number "
    "FROM (SELECT DISTINCT workspace_id FROM batch) AS w), "
    "head AS MATERIALIZED ("
    "SELECT COALESCE((SELECT number FROM events WHERE number IS NOT NULL ORDER BY number DESC LIMIT 1), 0) AS number) "
    "UPDATE events SET number = head.number + batch.n, workspace_number = "
    "CASE WHEN batch.workspace_id IS NULL THEN 0 ELSE COALESCE(heads.number, 0) + batch.of_workspace END "
    "FROM batch CROSS JOIN head LEFT JOIN heads ON heads.workspace_id = batch.workspace_id WHERE events.seq = batch.seq");
SQL(unsealed, DB_MAIN, 0, "i",
    "SELECT seq, workspace_id FROM events WHERE number IS NULL ORDER BY seq LIMIT $1");
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

static enum errc seal_batch(struct tx *tx, struct arena *a, bool *has_more, err *e)
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
    return rc == ERR_NONE ? tx_bulk(tx, &seal_event, values, rows.n, e) : rc;
}

enum errc events_seal_unit(struct tx *tx, void *ctx, err *e)
{
    (void)ctx;
    bool has_more = true;
    enum errc rc = ERR_NONE;
    while (has_more && rc == ERR_NONE) {
        struct arena a;
        arena_init(&a, 4u << 20, 64u << 10);
        rc = seal_batch(tx, &a, &has_more, e);
        arena_fini(&a);
    }
    return rc;
}

/* --- PostgreSQL's sealer --- */

struct seal_run {
    bool is_held; /* by another node */
    int64_t n;
};

/* As SERIALIZABLE it would number what it saw
 * before it had the lock, and make the very units fail that it follows. */
static enum errc sealer_unit(struct tx *tx, void *ctx, err *e)
{
    struct seal_run *run = ctx;
    struct arena a;
    const struct val *lock;
    *run = (struct seal_run){0};
    arena_init(&a, 64u << 10, 1024);
    enum errc rc = tx_read_committed(tx, e);
    if (rc == ERR_NONE) rc = tx_query_row(tx, &a, &seal_lock, NULL, 0, &lock, e);
    if (rc == ERR_NONE) run->is_held = !val_bool(&lock[0]);
    if (rc == ERR_NONE && !run->is_held) rc = tx_exec_unaudited(tx, &seal_many, NULL, 0, &run->n, e);
    if (rc == ERR_NONE && run->n) rc = tx_tell(tx, TOPIC_SEALED, e);
    arena_fini(&a);
    return rc;
}

/* Not ended by what is committed meanwhile. */
static void pause_of(usec us)
{
    struct timespec t = {.tv_sec = us / USEC_PER_S, .tv_nsec = us % USEC_PER_S * 1000};
    nanosleep(&t, NULL);
}

void *events_sealer_main(void *arg)
{
    struct events *log = arg;
    struct db *db = store_db(log->store, DB_MAIN);
    usec wait_us = 0;
    unsigned last_tries = 0;
    bool was_well = true, is_last = false;
    do {
        struct seal_run run = {0};
        err e = {0};
        is_last = !waker_wait(&log->seal, wait_us); /* then once more, for what was committed last */
        enum errc rc = db_write(db, sealer_unit, &run, &e);
        if (rc != ERR_NONE && was_well) log_error(LOG_WARN, "seal_failed", &e);
        was_well = rc == ERR_NONE;
        if (run.n) waker_wake(&log->follow);
        if (run.is_held) {
            waker_wake(&log->seal);
            pause_of(SEAL_HELD_US);
        } else if (run.n && run.n < SEAL_BATCH && !is_last) {
            pause_of(SEAL_GATHER_US);
        }
        wait_us = rc != ERR_NONE ? SEAL_RETRY_US : run.n == SEAL_BATCH ? 0 : SEAL_POLL_US;
        if (is_last && rc == ERR_NONE && (run.is_held || run.n == SEAL_BATCH)) is_last = ++last_tries > SEAL_LAST_TRIES;
    } while (!is_last);
    return NULL;
}
