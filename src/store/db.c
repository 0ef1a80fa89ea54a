/* db.c - the part of db.h that both engines share: the checks of parameters, the account of a unit, the values.
 */
#include "store/db.h"

#include <assert.h>
#include <time.h>

#include "base/utf8.h"
#include "store/engine.h"

const char *const db_names[DB_IDS] = {[DB_MAIN] = "main", [DB_USAGE] = "usage", [DB_PEOPLE] = "people"};

/* The linker gathers the section and makes these two names for it. */
extern const struct sql *const __start_catalyst_sql[] __attribute__((weak, visibility("hidden")));
extern const struct sql *const __stop_catalyst_sql[] __attribute__((weak, visibility("hidden")));

const struct sql *const *sql_registry(size_t *n)
{
    *n = (size_t)(__stop_catalyst_sql - __start_catalyst_sql);
    return __start_catalyst_sql;
}

/* --- who may call --- */

static _Thread_local bool is_on_loop;
static _Thread_local bool is_in_unit;

bool db_is_in_unit(void) { return is_in_unit; }

void store_this_is_a_loop(void) { is_on_loop = true; }

usec store_mono_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (usec)t.tv_sec * USEC_PER_S + t.tv_nsec / 1000;
}

/* What the database is to blame for, not the unit. */
static bool is_failure(enum errc rc)
{
    return rc == ERR_BUSY || rc == ERR_DISK_FULL || rc == ERR_IO || rc == ERR_CORRUPT ||
           rc == ERR_UNAVAILABLE;
}

static void measure(struct db_stats *stats, struct stat_series *units, usec took_us, enum errc rc)
{
    pthread_mutex_lock(&stats->lock);
    stats_observe(units, 0, took_us);
    if (is_failure(rc)) stats_add(stats->failed, 0, 1);
    pthread_mutex_unlock(&stats->lock);
}

/* What an attempt before the one that succeeded failed of is no error. */
static enum errc settled(enum errc rc, err *e)
{
    if (rc == ERR_NONE && e) *e = (err){0};
    return rc;
}

enum errc db_write(struct db *db, tx_fn fn, void *ctx, err *e)
{
    assert(!is_on_loop && !is_in_unit);
    struct db_stats *stats = db->stats;
    usec start_us = stats ? store_mono_us() : 0;
    enum errc rc = db->store->engine->write(db, fn, ctx, e);
    if (stats) measure(stats, stats->writes, store_mono_us() - start_us, rc);
    return settled(rc, e);
}

enum errc db_read(struct db *db, tx_fn fn, void *ctx, err *e)
{
    assert(!is_on_loop && !is_in_unit);
    struct db_stats *stats = db->stats;
    usec start_us = stats ? store_mono_us() : 0;
    enum errc rc = db->store->engine->read(db, fn, ctx, e);
    if (stats) measure(stats, stats->reads, store_mono_us() - start_us, rc);
    return settled(rc, e);
}

bool db_is_unknown(const err *e) { return e->code == ERR_UNAVAILABLE && strcmp(e->msg, DB_UNKNOWN) == 0; }

enum errc db_sync(struct db *db, err *e)
{
    assert(!is_on_loop && !is_in_unit);
    return db->store->engine->sync ? db->store->engine->sync(db, e) : ERR_NONE;
}

struct bulk {
    const struct sql *s;
    const struct val *rows;
    size_t n;
};

static enum errc bulk_unit(struct tx *tx, void *ctx, err *e)
{
    const struct bulk *b = ctx;
    return tx_bulk(tx, b->s, b->rows, b->n, e);
}

enum errc db_bulk(struct db *db, const struct sql *s, const struct val *rows, size_t n, err *e)
{
    struct bulk b = {s, rows, n};
    return db_write(db, bulk_unit, &b, e);
}

enum errc tx_run(struct tx *tx, struct db *db, void *conn, tx_fn fn, void *ctx, err *e)
{
    *tx = (struct tx){.db = db, .conn = conn};
    is_in_unit = true;
    enum errc rc = fn(tx, ctx, e);
    is_in_unit = false;
    if (!tx->failure.code) return rc;
    if (e) *e = tx->failure;
    return tx->failure.code;
}

/* --- statements --- */

static bool is_fit(char letter, const struct val *v)
{
    if (v->type == VAL_NULL) return true;
    switch (letter) {
    case 'u': return v->type == VAL_BLOB && v->s.len == sizeof(uuid);
    case 'i': return v->type == VAL_INT;
    case 'r': return v->type == VAL_REAL;
    case 't': return v->type == VAL_TEXT;
    case 'b': return v->type == VAL_BLOB;
    default: return false;
    }
}

static enum errc check_params(const struct sql *s, const struct val *params, unsigned n, err *e)
{
    for (unsigned i = 0; i < n; i++) {
        const struct val *v = &params[i];
        if (!is_fit(s->params[i], v))
            return err_set(e, ERR_INTERNAL, "statement %s: the value of $%u is not of its type '%c'", s->name,
                           i + 1, s->params[i]);
        /* PostgreSQL refuses both, so SQLite must not take them. */
        if (v->type == VAL_TEXT && v->s.len && (memchr(v->s.p, 0, v->s.len) || !utf8_is_valid(v->s)))
            return err_set(e, ERR_INVALID, "a text holds a NUL character or is not UTF-8 (statement %s, $%u)",
                           s->name, i + 1);
    }
    return ERR_NONE;
}

static enum errc check(struct tx *tx, const struct sql *s, const struct val *params, unsigned n, err *e)
{
    if (tx->failure.code) {
        if (e) *e = tx->failure;
        return tx->failure.code;
    }
    size_t wanted = strlen(s->params);
    if (s->db != tx->db->id && !(s->flags & SQL_ANYWHERE))
        return err_set(e, ERR_INTERNAL, "statement %s is of the database %s, not %s", s->name,
                       db_names[s->db], db_names[tx->db->id]);
    if (n != wanted)
        return err_set(e, ERR_INTERNAL, "statement %s takes %zu values, not %u", s->name, wanted, n);
    return check_params(s, params, n, e);
}

/* A failure of the engine ends the unit; parameters that were refused never came to the database. */
static enum errc failed(struct tx *tx, enum errc rc, const err *own, err *e)
{
    if (!rc) return ERR_NONE;
    tx->failure = *own;
    if (e) *e = *own;
    return rc;
}

static enum errc exec(struct tx *tx, const struct sql *s, const struct val *params, unsigned n,
                      int64_t *changed, err *e)
{
    err own = {0};
    int64_t rows = 0;
    enum errc rc = check(tx, s, params, n, e);
    if (rc) return rc;
    rc = tx->db->store->engine->exec(tx, s, params, n, &rows, &own);
    if (changed) *changed = rows;
    return failed(tx, rc, &own, e);
}

enum errc tx_exec(struct tx *tx, const struct sql *s, const struct val *params, unsigned n, int64_t *changed,
                  err *e)
{
    int64_t rows = 0;
    enum errc rc = exec(tx, s, params, n, &rows, e);
    tx->n_changed += rows;
    if (changed) *changed = rows;
    return rc;
}

enum errc tx_exec_unaudited(struct tx *tx, const struct sql *s, const struct val *params, unsigned n,
                            int64_t *changed, err *e)
{
    return exec(tx, s, params, n, changed, e);
}

static enum errc query(struct tx *tx, struct arena *a, enum sql_kind kind, const struct sql *s,
                       const struct val *params, unsigned n, struct rows *out, err *e)
{
    err own = {0};
    int64_t rows = 0;
    *out = (struct rows){0};
    enum errc rc = check(tx, s, params, n, e);
    if (rc) return rc;
    rc = tx->db->store->engine->query(tx, a, kind, s, params, n, out, &rows, &own);
    tx->n_changed += rows;
    return failed(tx, rc, &own, e);
}

enum errc tx_query(struct tx *tx, struct arena *a, const struct sql *s, const struct val *params, unsigned n,
                   struct rows *out, err *e)
{
    return query(tx, a, SQL_REGISTERED, s, params, n, out, e);
}

enum errc tx_query_made(struct tx *tx, struct arena *a, const struct sql *made, const struct val *params,
                        unsigned n, struct rows *out, err *e)
{
    return query(tx, a, SQL_MADE, made, params, n, out, e);
}

enum errc tx_query_row(struct tx *tx, struct arena *a, const struct sql *s, const struct val *params,
                       unsigned n, const struct val **row, err *e)
{
    struct rows rows;
    *row = NULL;
    enum errc rc = tx_query(tx, a, s, params, n, &rows, e);
    if (rc) return rc;
    if (rows.n == 0) return err_code(e, ERR_NOT_FOUND);
    if (rows.n > 1) return err_set(e, ERR_INTERNAL, "statement %s gave %u rows, not one", s->name, rows.n);
    *row = rows.vals;
    return ERR_NONE;
}

enum errc tx_bulk(struct tx *tx, const struct sql *s, const struct val *rows, size_t n_rows, err *e)
{
    err own = {0};
    int64_t changed = 0;
    unsigned n = (unsigned)strlen(s->params);
    if (n_rows == 0) return ERR_NONE;
    enum errc rc = check(tx, s, rows, n, e);
    for (size_t i = 1; i < n_rows && !rc; i++)
        rc = check_params(s, rows + i * n, n, e);
    if (rc) return rc;
    rc = tx->db->store->engine->bulk(tx, s, rows, n, n_rows, &changed, &own);
    tx->n_changed += changed;
    return failed(tx, rc, &own, e);
}

int64_t tx_changed(const struct tx *tx) { return tx->n_changed; }
void tx_note(struct tx *tx) { tx->n_noted++; }
unsigned tx_noted(const struct tx *tx) { return tx->n_noted; }
struct db *tx_db(struct tx *tx) { return tx->db; }

/* --- values --- */

int64_t val_int(const struct val *v)
{
    assert(v->type == VAL_INT || v->type == VAL_NULL);
    return v->type == VAL_INT ? v->i : NO_VALUE;
}

double val_real(const struct val *v)
{
    assert(v->type != VAL_TEXT && v->type != VAL_BLOB);
    return v->type == VAL_REAL ? v->r : v->type == VAL_INT ? (double)v->i : 0;
}

str val_str(const struct val *v)
{
    assert(v->type == VAL_TEXT || v->type == VAL_BLOB || v->type == VAL_NULL);
    return v->type == VAL_NULL ? (str){0} : v->s;
}

bool val_bool(const struct val *v)
{
    assert(v->type == VAL_INT || v->type == VAL_NULL);
    return v->type == VAL_INT && v->i != 0;
}

uuid val_uuid(const struct val *v)
{
    uuid u = {0};
    assert(v->type == VAL_NULL || (v->type == VAL_BLOB && v->s.len == sizeof u.b));
    if (v->type == VAL_BLOB) memcpy(u.b, v->s.p, sizeof u.b);
    return u;
}
