/* postgres.c - PostgreSQL: units of work, statements and their values in binary form.
 *
 * Writing units run SERIALIZABLE, so that a unit reads what it decides on as if it were alone, which on SQLite it
 * is. The price is that PostgreSQL ends some of them with 40001; they run again after a random pause that grows.
 */
#include "store/postgres.h"

#include <assert.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"

#define ATTEMPTS 24u    /* 32 threads that count in one row need up to 15 */
#define CONNECTIONS_TRIED 5u /* by one unit, should they break: what ends the server itself shall not do it again and again */
#define PAUSE_FIRST_US 500
#define PAUSE_MAX_US 100000
#define PARAMS_MAX 128u
#define OPEN_US (10 * USEC_PER_S)     /* for the first connection */
#define HOLD_ASK_US (10 * USEC_PER_S) /* for the answer whether a lock was free */
#define HOLD_POLL_MS 50
#define BULK_WINDOW 512u /* rows that are sent before their answers are read */
/* And bytes: what fits into the buffers of a connection is on its way at once. While the server waits for the rest of a window
 * it does not count how long the node has been silent. */
#define BULK_WINDOW_BYTES (48u << 10)
#define BULK_ROW_BYTES 64u /* of the messages around a row's values */
#define BULK_VALUE_BYTES 6u
#define MADE_MAX 512u    /* statements of lists that a connection prepares before it begins anew */

/* --- statements --- */

struct pg_stmt {
    const struct sql *key; /* of a registered one: the address is the map's key */
    char name[16];
    char text[]; /* of one made at run time: the map's key */
};

static Oid type_of(char letter)
{
    switch (letter) {
    case 'u': return 2950;
    case 'i': return 20;
    case 'r': return 701;
    case 't': return 25;
    default: return 17;
    }
}

static enum errc stmt_new(struct pg_conn *c, const struct db *db, enum sql_kind kind, const struct sql *sql,
                          const char **name, err *e)
{
    Oid types[PARAMS_MAX];
    const char *text = sql_text(db, sql);
    size_t n = strlen(sql->params), len = kind == SQL_MADE ? strlen(text) : 0;
    if (n > PARAMS_MAX)
        return err_set(e, ERR_INTERNAL, "statement %s has more than %u parameters", sql->name, PARAMS_MAX);
    for (size_t i = 0; i < n; i++)
        types[i] = type_of(sql->params[i]);
    struct pg_stmt *s = malloc(sizeof *s + len + 1);
    if (!s) return err_code(e, ERR_NO_MEMORY);
    s->key = sql;
    memcpy(s->text, text, len);
    s->text[len] = '\0';
    snprintf(s->name, sizeof s->name, "s%u", c->n_stmts++);
    enum errc rc = PQsendPrepare(c->pg, s->name, text, (int)n, types) ? pg_finish(c, sql->name, NULL, e)
                                                                      : pg_error(c, NULL, sql->name, e);
    if (!rc) {
        str key = kind == SQL_MADE ? str_of(s->text, len) : str_of((const char *)&s->key, sizeof s->key);
        rc = map_put(&c->stmts, key, s);
        if (rc) err_code(e, rc);
    }
    if (rc) {
        free(s);
        return rc;
    }
    *name = s->name;
    return ERR_NONE;
}

static enum errc stmt_get(struct pg_conn *c, const struct db *db, enum sql_kind kind, const struct sql *sql,
                          const char **name, err *e)
{
    str key = kind == SQL_MADE ? str_c(sql_text(db, sql)) : str_of((const char *)&sql, sizeof sql);
    const struct pg_stmt *s = map_get(&c->stmts, key);
    if (s) {
        *name = s->name;
        return ERR_NONE;
    }
    return stmt_new(c, db, kind, sql, name, e);
}

/* --- parameters --- */

struct bound {
    const char *values[PARAMS_MAX];
    int lengths[PARAMS_MAX], formats[PARAMS_MAX];
    uint64_t numbers[PARAMS_MAX];
};

static void bind_all(struct bound *b, const struct val *params, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const struct val *v = &params[i];
        b->formats[i] = 1;
        b->values[i] = NULL;
        b->lengths[i] = 0;
        if (v->type == VAL_TEXT || v->type == VAL_BLOB) {
            b->values[i] = v->s.p ? v->s.p : "";
            b->lengths[i] = (int)v->s.len;
        } else if (v->type == VAL_INT || v->type == VAL_REAL) {
            uint64_t bits;
            memcpy(&bits, &v->i, sizeof bits); /* of either: both take eight bytes */
            b->numbers[i] = htobe64(bits);
            b->values[i] = (const char *)&b->numbers[i];
            b->lengths[i] = sizeof b->numbers[i];
        }
    }
}

static enum errc check_deadline(const struct pg_conn *c, const struct sql *sql, err *e)
{
    if (!c->deadline_us || store_mono_us() <= c->deadline_us) return ERR_NONE;
    return err_set(e, ERR_BUSY, "%s: the unit took longer than the deadline", sql->name);
}

static enum errc run_prepared(struct tx *tx, enum sql_kind kind, const struct sql *sql,
                              const struct val *params, unsigned n, PGresult **out, err *e)
{
    struct pg_conn *c = tx->conn;
    struct bound b;
    const char *name;
    enum errc rc = check_deadline(c, sql, e);
    if (!rc) rc = stmt_get(c, tx->db, kind, sql, &name, e);
    if (rc) return rc;
    bind_all(&b, params, n);
    if (!PQsendQueryPrepared(c->pg, name, (int)n, b.values, b.lengths, b.formats, 1))
        return pg_error(c, NULL, sql->name, e);
    return pg_finish(c, sql->name, out, e);
}

/* Rows that were changed: a SELECT counts, too, but changes none. */
static int64_t rows_changed(PGresult *r)
{
    int64_t n = 0;
    if (strncmp(PQcmdStatus(r), "SELECT", 6) == 0) return 0;
    return str_to_i64(str_c(PQcmdTuples(r)), &n) ? n : 0;
}

static enum errc exec(struct tx *tx, const struct sql *sql, const struct val *params, unsigned n,
                      int64_t *changed, err *e)
{
    PGresult *r = NULL;
    enum errc rc = run_prepared(tx, SQL_REGISTERED, sql, params, n, &r, e);
    if (!rc) *changed = rows_changed(r);
    PQclear(r);
    return rc;
}

/* --- results --- */

static uint64_t big_endian(const char *p, int len)
{
    uint64_t v = 0;
    for (int i = 0; i < len; i++)
        v = v << 8 | (uint8_t)p[i];
    return v;
}

static enum errc unreadable(const struct sql *sql, const PGresult *r, int col, err *e)
{
    if (PQftype(r, col) == 1700)
        return err_set(e, ERR_INTERNAL, "statement %s: column %d is numeric: CAST it AS BIGINT", sql->name,
                       col + 1);
    return err_set(e, ERR_INTERNAL, "statement %s: column %d has the type %u, which is not read here",
                   sql->name, col + 1, PQftype(r, col));
}

static enum errc read_field(struct arena *a, const struct sql *sql, const PGresult *r, int row, int col,
                            struct val *out, err *e)
{
    const char *p = PQgetvalue(r, row, col);
    int len = PQgetlength(r, row, col);
    uint64_t bits;
    uint32_t bits4;
    float real4;
    if (PQgetisnull(r, row, col)) {
        *out = v_null();
        return ERR_NONE;
    }
    switch (PQftype(r, col)) { /* is_readable has the same list */
    case 16: *out = v_int(p[0] != 0); return ERR_NONE;
    case 21: *out = v_int((int16_t)big_endian(p, len)); return ERR_NONE;
    case 23: *out = v_int((int32_t)big_endian(p, len)); return ERR_NONE;
    case 20: *out = v_int((int64_t)big_endian(p, len)); return ERR_NONE;
    case 700:
        bits4 = (uint32_t)big_endian(p, len);
        memcpy(&real4, &bits4, sizeof real4);
        *out = v_real((double)real4);
        return ERR_NONE;
    case 701:
        bits = big_endian(p, len);
        *out = v_real(0);
        memcpy(&out->r, &bits, sizeof out->r);
        return ERR_NONE;
    case 25:   /* text */
    case 1043: /* varchar */
    case 19: /* name */ *out = v_text(str_dup(a, str_of(p, (size_t)len))); break;
    case 17: /* bytea */
    case 2950: /* uuid */ *out = v_blob(str_dup(a, str_of(p, (size_t)len))); break;
    case 2278: *out = v_null(); return ERR_NONE; /* void */
    default: return unreadable(sql, r, col, e);
    }
    return out->s.p ? ERR_NONE
                    : err_set(e, ERR_TOO_LARGE, "%s: the rows are larger than the limit", sql->name);
}

static enum errc read_rows(struct arena *a, const struct sql *sql, const PGresult *r, struct rows *out,
                           err *e)
{
    int n = PQntuples(r), n_cols = PQnfields(r);
    *out = (struct rows){.n = (unsigned)n, .n_cols = (unsigned)n_cols};
    if (n == 0) return ERR_NONE;
    struct val *vals = arena_news(a, struct val, (size_t)n * (size_t)n_cols);
    if (!vals) return err_set(e, ERR_TOO_LARGE, "%s: the rows are larger than the limit", sql->name);
    enum errc rc = ERR_NONE;
    for (int row = 0; row < n && !rc; row++)
        for (int col = 0; col < n_cols && !rc; col++)
            rc = read_field(a, sql, r, row, col, &vals[(size_t)row * (size_t)n_cols + (size_t)col], e);
    out->vals = vals;
    return rc;
}

static enum errc query(struct tx *tx, struct arena *a, enum sql_kind kind, const struct sql *sql,
                       const struct val *params, unsigned n, struct rows *out, int64_t *changed, err *e)
{
    PGresult *r = NULL;
    enum errc rc = run_prepared(tx, kind, sql, params, n, &r, e);
    if (!rc) *changed = rows_changed(r);
    if (!rc) rc = read_rows(a, sql, r, out, e);
    PQclear(r);
    return rc;
}

/* --- many rows --- */

/* Reads the answers of one window; of errors the first one. */
static enum errc read_window(struct pg_conn *c, const struct sql *sql, int64_t *changed, err *e)
{
    enum errc first = ERR_NONE;
    for (bool is_synced = false; !is_synced;) {
        PGresult *r;
        enum errc rc = pg_next(c, sql->name, &r, first ? NULL : e);
        if (rc) return first ? first : rc;
        switch (r ? PQresultStatus(r) : PGRES_EMPTY_QUERY) {
        case PGRES_PIPELINE_SYNC: is_synced = true; break;
        case PGRES_COMMAND_OK:
        case PGRES_TUPLES_OK: *changed += rows_changed(r); break;
        case PGRES_EMPTY_QUERY: /* the end of one row's results */
        case PGRES_PIPELINE_ABORTED: /* a row after the one that failed */ break;
        default:
            rc = pg_error(c, r, sql->name, first ? NULL : e);
            if (!first) first = rc;
            is_synced = c->is_broken;
        }
        PQclear(r);
    }
    return first;
}

static enum errc bulk(struct tx *tx, const struct sql *sql, const struct val *rows, unsigned n, size_t n_rows,
                      int64_t *changed, err *e)
{
    struct pg_conn *c = tx->conn;
    struct bound b;
    const char *name;
    enum errc rc = stmt_get(c, tx->db, SQL_REGISTERED, sql, &name, e);
    if (rc) return rc;
    if (!PQenterPipelineMode(c->pg)) return pg_error(c, NULL, sql->name, e);
    for (size_t i = 0; i < n_rows && !rc;) {
        rc = check_deadline(c, sql, e);
        size_t bytes = 0;
        for (size_t end = i + BULK_WINDOW; i < n_rows && i < end && bytes < BULK_WINDOW_BYTES && !rc; i++) {
            bind_all(&b, rows + i * n, n);
            bytes += BULK_ROW_BYTES + BULK_VALUE_BYTES * n;
            for (unsigned k = 0; k < n; k++)
                bytes += (size_t)b.lengths[k];
            if (!PQsendQueryPrepared(c->pg, name, (int)n, b.values, b.lengths, b.formats, 1))
                rc = pg_error(c, NULL, sql->name, e);
        }
        if (!rc && !PQpipelineSync(c->pg)) rc = pg_error(c, NULL, sql->name, e);
        if (!rc) rc = read_window(c, sql, changed, e);
    }
    if (!PQexitPipelineMode(c->pg)) c->is_broken = true;
    return rc;
}

static enum errc script(struct tx *tx, const char *text, err *e)
{
    return pg_run(tx->conn, text, "the script", e);
}

static bool is_readable(Oid type)
{
    static const Oid types[] = {16, 17, 19, 20, 21, 23, 25, 700, 701, 1043, 2278, 2950};
    for (size_t i = 0; i < LENGTH_OF(types); i++)
        if (types[i] == type) return true;
    return false;
}

static enum errc prepare(struct tx *tx, const struct sql *sql, err *e)
{
    struct pg_conn *c = tx->conn;
    const char *name;
    PGresult *r = NULL;
    enum errc rc = stmt_get(c, tx->db, SQL_REGISTERED, sql, &name, e);
    if (rc) return rc;
    rc = PQsendDescribePrepared(c->pg, name) ? pg_finish(c, sql->name, &r, e)
                                             : pg_error(c, NULL, sql->name, e);
    if (!rc && (size_t)PQnparams(r) != strlen(sql->params))
        rc = err_set(e, ERR_INTERNAL, "%s has %d parameters, its types are '%s'", sql->name, PQnparams(r),
                     sql->params);
    for (int i = 0; i < PQnfields(r) && !rc; i++)
        if (!is_readable(PQftype(r, i))) rc = unreadable(sql, r, i, e);
    PQclear(r);
    return rc;
}

/* --- units --- */

static struct pg_pool *pool_of(const struct db *db) { return db->state; }

struct how {
    const char *begin;
    const char *then; /* NULL: nothing */
    bool commits;
};

/* One attempt. *is_committing: what was lost was lost while it committed. */
static enum errc attempt(struct db *db, struct pg_conn *c, const struct how *how, tx_fn fn, void *ctx,
                         struct tx *tx, bool *is_committing, err *e)
{
    *is_committing = false;
    enum errc rc = pg_run(c, how->begin, "beginning a unit", e);
    if (!rc && how->then) rc = pg_run(c, how->then, "beginning a unit", e);
    if (!rc) rc = tx_run(tx, db, c, fn, ctx, e);
    if (!rc && how->commits) {
        *is_committing = true;
        return pg_run(c, "COMMIT", "committing a unit", e);
    }
    bool runs_again = c->runs_again;
    if (!c->is_broken && pg_run(c, "ROLLBACK", "ending a unit", NULL) != ERR_NONE) c->is_broken = true;
    c->runs_again = rc && runs_again;
    return rc;
}

static void pause_before(unsigned n)
{
    uint32_t random;
    int64_t most = (int64_t)PAUSE_FIRST_US << n;
    random_bytes(&random, sizeof random);
    if (most > PAUSE_MAX_US) most = PAUSE_MAX_US;
    struct timespec t = {.tv_nsec = (long)(random % (uint32_t)most) * 1000};
    nanosleep(&t, NULL);
}

static enum errc run_unit(struct db *db, const struct how *how, unsigned deadline_ms, tx_fn fn, void *ctx,
                          err *e)
{
    struct pg_pool *p = pool_of(db);
    usec deadline_us = deadline_ms ? store_mono_us() + (usec)deadline_ms * USEC_PER_MS : 0;
    usec wait_us =
        deadline_us ? deadline_us : store_mono_us() + (usec)db->store->source.write_deadline_ms * USEC_PER_MS;
    for (unsigned n = 0, n_lost = 0;; n++) {
        struct pg_conn *c;
        struct tx tx = {0};
        bool is_committing;
        enum errc rc = pg_conn_get(p, db->id, wait_us, &c, e);
        if (rc) return rc;
        c->deadline_us = deadline_us;
        c->is_reading = !how->commits;
        rc = attempt(db, c, how, fn, ctx, &tx, &is_committing, e);
        bool is_unknown = rc && is_committing && c->is_broken && !c->is_undone,
             runs_again = rc && c->runs_again && !is_unknown;
        if (rc && c->is_broken) n_lost++;
        c->is_worn = c->n_stmts > MADE_MAX; /* it has prepared too many different lists: begin anew */
        pg_conn_put(p, c);
        if (is_unknown) return err_set(e, ERR_UNAVAILABLE, DB_UNKNOWN);
        if (!rc && tx.n_noted && db->store->wake) db->store->wake(db->store->wake_ctx);
        if (!runs_again || n_lost == CONNECTIONS_TRIED || (deadline_us && store_mono_us() > deadline_us)) return rc;
        if (n + 1 == ATTEMPTS) {
            err_prefix(e, "after %u attempts", ATTEMPTS);
            return rc;
        }
        pause_before(n);
    }
}

static enum errc write_unit(struct db *db, tx_fn fn, void *ctx, err *e)
{
    static const struct how how = {.begin = "BEGIN ISOLATION LEVEL SERIALIZABLE", .commits = true};
    return run_unit(db, &how, db->store->source.write_deadline_ms, fn, ctx, e);
}

static enum errc read_unit(struct db *db, tx_fn fn, void *ctx, err *e)
{
    char begin[128];
    unsigned ms = db->store->source.read_deadline_ms;
    snprintf(begin, sizeof begin,
             "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = %u", ms);
    struct how how = {.begin = begin};
    return run_unit(db, &how, ms, fn, ctx, e);
}

/* READ COMMITTED: whoever had the lock before has changed what this one will see. A node that hangs within it is ended by
 * the server, and its locks with it. */
static enum errc write_schema(struct db *db, tx_fn fn, void *ctx, err *e)
{
    char then[192];
    snprintf(then, sizeof then,
             PG_SCHEMA_LOCK "; SET LOCAL lock_timeout = " PG_TABLE_LOCK_MS "; CREATE SCHEMA IF NOT EXISTS %s",
             db_names[db->id]);
    struct how how = {
        .begin = "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 30000",
        .then = then,
        .commits = true,
    };
    return run_unit(db, &how, 0, fn, ctx, e);
}

struct schema_hold {
    struct pg_conn *c;
};

static enum errc try_hold(struct pg_conn *c, bool changes, bool *is_held, err *e)
{
    PGresult *r = NULL;
    c->deadline_us = store_mono_us() + HOLD_ASK_US;
    const char *text = changes ? "SELECT pg_try_advisory_lock(" PG_MIGRATING_LOCK ")"
                               : "SELECT pg_try_advisory_lock_shared(" PG_MIGRATING_LOCK ")";
    enum errc rc = PQsendQuery(c->pg, text) ? pg_finish(c, "waiting for a migration", &r, e)
                                            : pg_error(c, NULL, "waiting for a migration", e);
    *is_held = !rc && *PQgetvalue(r, 0, 0) == 't';
    PQclear(r);
    return rc;
}

static void release_schema(struct schema_hold *h)
{
    pg_conn_close(h->c); /* the lock ends with it */
    free(h);
}

static enum errc hold_schema(struct store *s, bool changes, struct schema_hold **out, err *e)
{
    usec start_us = store_mono_us();
    bool is_held = false, is_told = false;
    struct schema_hold *h = calloc(1, sizeof *h);
    if (!h) return err_code(e, ERR_NO_MEMORY);
    enum errc rc = pg_conn_open(s->dbs[0].state, DB_MAIN, &h->c, e);
    while (!rc && !is_held) {
        rc = try_hold(h->c, changes, &is_held, e);
        usec waited_us = store_mono_us() - start_us;
        if (rc || is_held) break;
        if (waited_us > HOLD_SCHEMA_S * USEC_PER_S)
            rc = err_set(e, ERR_BUSY, "another node has been migrating the schema for %d minutes", HOLD_SCHEMA_S / 60);
        if (!is_told && waited_us > USEC_PER_S) {
            is_told = true;
            log_event(LOG_INFO, "waiting_for_migration", LOG_S("of", S("another node")));
        }
        nanosleep(&(struct timespec){.tv_nsec = HOLD_POLL_MS * 1000000}, NULL);
    }
    if (rc) {
        release_schema(h);
        return rc;
    }
    *out = h;
    return ERR_NONE;
}

static unsigned n_waiting(struct db *db)
{
    struct pg_pool *p = pool_of(db);
    pthread_mutex_lock(&p->lock);
    unsigned n = p->n_waiting;
    pthread_mutex_unlock(&p->lock);
    return n;
}

/* --- opening --- */

/* The databases share one pool: the first one makes it, the last one frees it. */
static enum errc open_db(struct db *db, err *e)
{
    struct pg_pool *p = NULL;
    struct pg_conn *c;
    if (db->id != 0) {
        db->state = db->store->dbs[0].state;
        return ERR_NONE;
    }
    enum errc rc = pg_pool_new(&p, &db->store->source, e);
    db->state = p;
    if (rc) return rc;
    /* A wrong address or password is told at the start. */
    rc = pg_conn_get(p, db->id, store_mono_us() + OPEN_US, &c, e);
    if (!rc) pg_conn_put(p, c);
    return rc;
}

static void close_db(struct db *db)
{
    if (db->id == DB_IDS - 1) pg_pool_free(db->store->dbs[0].state);
    if (db->id == DB_IDS - 1) db->store->dbs[0].state = NULL;
    if (db->id != 0) db->state = NULL;
}

const struct engine postgres_engine = {
    .open = open_db,
    .close = close_db,
    .write = write_unit,
    .read = read_unit,
    .write_schema = write_schema,
    .hold_schema = hold_schema,
    .release_schema = release_schema,
    .exec = exec,
    .query = query,
    .bulk = bulk,
    .script = script,
    .n_waiting = n_waiting,
    .listen = pg_listen,
    .deafen = pg_deafen,
    .prepare = prepare,
    .ending = "dump",
    .backup = pg_backup,
    .restore = pg_restore,
};
