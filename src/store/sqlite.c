/* sqlite.c - SQLite: connections, statements, and the pool of readers.
 */
#include "store/sqlite.h"
#include "store/files.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define MADE_MAX 64u /* statements of lists kept per connection */
#define CHECK_EVERY                                                                                          \
    4000 /* virtual machine steps between two looks at the deadline: well under a millisecond */
#define VALS_FIRST 64u

/* --- errors --- */

enum errc sqlite_error(sqlite3 *db, int rc, const char *what, err *e)
{
    const char *text = db ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
    switch (rc & 0xff) {
    case SQLITE_CONSTRAINT: return err_set(e, ERR_CONFLICT, "%s: %s", what, text);
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return err_set(e, ERR_BUSY, "%s: another process keeps the database locked", what);
    case SQLITE_INTERRUPT: return err_set(e, ERR_BUSY, "%s: took longer than the deadline", what);
    case SQLITE_FULL: return err_set(e, ERR_DISK_FULL, "%s: no space left on the disk", what);
    case SQLITE_NOMEM: return err_set(e, ERR_NO_MEMORY, "%s: out of memory", what);
    case SQLITE_TOOBIG: return err_set(e, ERR_TOO_LARGE, "%s: a value is too large", what);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return err_set(e, ERR_CORRUPT, "%s: %s", what, text);
    case SQLITE_IOERR: {
        int number = db ? sqlite3_system_errno(db) : 0;
        if (number == ENOSPC || number == EDQUOT || number == EFBIG)
            return err_set(e, ERR_DISK_FULL, "%s: no space left on the disk", what);
        return err_set(e, ERR_IO, "%s: %s (%d)", what, text, rc);
    }
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_PROTOCOL: return err_set(e, ERR_IO, "%s: %s", what, text);
    default: return err_set(e, ERR_INTERNAL, "%s: %s", what, text);
    }
}

/* --- connections --- */

struct sqlite_stmt {
    sqlite3_stmt *handle;
    const struct sql *key;             /* of a registered one: the address is the map's key */
    char *text;                        /* of one made at run time: a copy, the map's key */
    struct sqlite_stmt *newer, *older; /* of those made at run time */
};

/* Frees everything, so it also serves one that never came into the map. */
static void stmt_free(struct sqlite_stmt *s)
{
    sqlite3_finalize(s->handle);
    free(s->text);
    free(s);
}

enum errc sqlite_path(const char *data_dir, enum db_id id, char out[4096], err *e)
{
    int n = snprintf(out, 4096, "%s/db/%s.db", data_dir, db_names[id]);
    return n > 0 && n < 4096 ? ERR_NONE : err_set(e, ERR_CONFIG, "the data folder's path is too long");
}

static int on_progress(void *arg)
{
    const struct sqlite_conn *c = arg;
    return c->deadline_us && store_mono_us() > c->deadline_us;
}

enum errc sqlite_run(struct sqlite_conn *c, const char *text, err *e)
{
    int rc = sqlite3_exec(c->db, text, NULL, NULL, NULL);
    return rc == SQLITE_OK ? ERR_NONE : sqlite_error(c->db, rc, text, e);
}

enum errc sqlite_conn_open(struct sqlite_conn *c, struct db *owner, int flags, unsigned busy_ms, err *e)
{
    char path[4096];
    *c = (struct sqlite_conn){.owner = owner};
    map_init(&c->stmts);
    enum errc rc = sqlite_path(owner->store->source.data_dir, owner->id, path, e);
    if (rc) return rc;
    int result = sqlite3_open_v2(path, &c->db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (result != SQLITE_OK) {
        rc = sqlite_error(c->db, result, path, e);
        sqlite_conn_close(c);
        return rc;
    }
    sqlite3_busy_timeout(c->db, (int)busy_ms);
    sqlite3_progress_handler(c->db, CHECK_EVERY, on_progress, c);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    return ERR_NONE;
}

void sqlite_conn_close(struct sqlite_conn *c)
{
    str key;
    void *value;
    for (size_t it = 0; map_next(&c->stmts, &it, &key, &value);)
        stmt_free(value);
    map_fini(&c->stmts);
    free(c->vals);
    sqlite3_close(c->db);
    *c = (struct sqlite_conn){0};
}

/* --- statements --- */

static void made_unlink(struct sqlite_conn *c, struct sqlite_stmt *s)
{
    if (s->newer)
        s->newer->older = s->older;
    else
        c->made = s->older;
    if (s->older) s->older->newer = s->newer;
    s->newer = s->older = NULL;
}

static void made_push(struct sqlite_conn *c, struct sqlite_stmt *s)
{
    s->older = c->made;
    if (c->made) c->made->newer = s;
    c->made = s;
}

static void made_evict(struct sqlite_conn *c)
{
    struct sqlite_stmt *last = c->made;
    while (last->older)
        last = last->older;
    made_unlink(c, last);
    map_del(&c->stmts, str_c(last->text));
    stmt_free(last);
    c->n_made--;
}

static enum errc stmt_new(struct sqlite_conn *c, enum sql_kind kind, const struct sql *sql,
                          struct sqlite_stmt **out, err *e)
{
    const char *text = sql_text(c->owner, sql), *rest = "";
    struct sqlite_stmt *s = calloc(1, sizeof *s);
    if (!s) return err_code(e, ERR_NO_MEMORY);
    int rc = sqlite3_prepare_v3(c->db, text, -1, SQLITE_PREPARE_PERSISTENT, &s->handle, &rest);
    enum errc code = ERR_NONE;
    if (rc != SQLITE_OK)
        code = sqlite_error(c->db, rc, sql->name, e);
    else if (!s->handle || *rest)
        code = err_set(e, ERR_INTERNAL, "%s is not one statement", sql->name);
    else if ((size_t)sqlite3_bind_parameter_count(s->handle) != strlen(sql->params))
        code = err_set(e, ERR_INTERNAL, "%s has %d parameters, its types are '%s'", sql->name,
                       sqlite3_bind_parameter_count(s->handle), sql->params);
    if (!code && kind == SQL_MADE && !(s->text = strdup(text))) code = err_code(e, ERR_NO_MEMORY);
    s->key = sql;
    if (!code) {
        str key = kind == SQL_MADE ? str_c(s->text) : str_of((const char *)&s->key, sizeof s->key);
        code = map_put(&c->stmts, key, s);
        if (code) err_code(e, code);
    }
    if (code) {
        stmt_free(s);
        return code;
    }
    *out = s;
    return ERR_NONE;
}

static enum errc stmt_get(struct sqlite_conn *c, enum sql_kind kind, const struct sql *sql,
                          sqlite3_stmt **out, err *e)
{
    str key = kind == SQL_MADE ? str_c(sql_text(c->owner, sql)) : str_of((const char *)&sql, sizeof sql);
    struct sqlite_stmt *s = map_get(&c->stmts, key);
    if (!s) {
        enum errc rc = stmt_new(c, kind, sql, &s, e);
        if (rc) return rc;
        if (kind == SQL_MADE) {
            made_push(c, s);
            if (++c->n_made > MADE_MAX) made_evict(c);
        }
    } else if (kind == SQL_MADE) {
        made_unlink(c, s);
        made_push(c, s);
    }
    *out = s->handle;
    return ERR_NONE;
}

/* The values outlive the statement's run: everything is reset before tx_* returns. */
static int bind_all(sqlite3_stmt *s, const struct val *params, unsigned n)
{
    int rc = SQLITE_OK;
    for (unsigned i = 0; i < n && rc == SQLITE_OK; i++) {
        const struct val *v = &params[i];
        const char *p = v->type == VAL_TEXT || v->type == VAL_BLOB ? v->s.p : NULL;
        int at = (int)i + 1;
        switch (v->type) {
        case VAL_NULL: rc = sqlite3_bind_null(s, at); break;
        case VAL_INT: rc = sqlite3_bind_int64(s, at, v->i); break;
        case VAL_REAL: rc = sqlite3_bind_double(s, at, v->r); break;
        case VAL_TEXT:
            rc = sqlite3_bind_text64(s, at, p ? p : "", v->s.len, SQLITE_STATIC, SQLITE_UTF8);
            break;
        case VAL_BLOB: rc = sqlite3_bind_blob64(s, at, p ? p : "", v->s.len, SQLITE_STATIC); break;
        }
    }
    return rc;
}

/* A unit of many short statements must meet its deadline too. */
static enum errc check_deadline(const struct sqlite_conn *c, const struct sql *sql, err *e)
{
    if (!c->deadline_us || store_mono_us() <= c->deadline_us) return ERR_NONE;
    return err_set(e, ERR_BUSY, "%s: the unit took longer than the deadline", sql->name);
}

/* Runs to the end; rows that a RETURNING gives are passed over. */
static enum errc step_all(struct sqlite_conn *c, sqlite3_stmt *s, const struct sql *sql,
                          const struct val *params, unsigned n, int64_t *changed, err *e)
{
    int rc = bind_all(s, params, n);
    if (rc == SQLITE_OK)
        while ((rc = sqlite3_step(s)) == SQLITE_ROW)
            ;
    enum errc code = rc == SQLITE_DONE ? ERR_NONE : sqlite_error(c->db, rc, sql->name, e);
    if (!code && !sqlite3_stmt_readonly(s)) *changed += sqlite3_changes64(c->db);
    sqlite3_reset(s);
    return code;
}

static enum errc exec(struct tx *tx, const struct sql *sql, const struct val *params, unsigned n,
                      int64_t *changed, err *e)
{
    sqlite3_stmt *s;
    struct sqlite_conn *c = tx->conn;
    enum errc rc = check_deadline(c, sql, e);
    if (!rc) rc = stmt_get(c, SQL_REGISTERED, sql, &s, e);
    if (rc) return rc;
    rc = step_all(c, s, sql, params, n, changed, e);
    sqlite3_clear_bindings(s);
    return rc;
}

static enum errc bulk(struct tx *tx, const struct sql *sql, const struct val *rows, unsigned n, size_t n_rows,
                      int64_t *changed, err *e)
{
    sqlite3_stmt *s;
    struct sqlite_conn *c = tx->conn;
    enum errc rc = stmt_get(c, SQL_REGISTERED, sql, &s, e);
    if (rc) return rc;
    for (size_t i = 0; i < n_rows && !rc; i++) {
        if (i % 256 == 0) rc = check_deadline(c, sql, e);
        if (!rc) rc = step_all(c, s, sql, rows + i * n, n, changed, e);
    }
    sqlite3_clear_bindings(s);
    return rc;
}

static enum errc copy_bytes(struct arena *a, const void *p, int len, str *out)
{
    *out = str_dup(a, str_of(p, (size_t)len));
    return out->p ? ERR_NONE : ERR_TOO_LARGE;
}

static enum errc read_column(struct arena *a, sqlite3_stmt *s, int i, struct val *v)
{
    switch (sqlite3_column_type(s, i)) {
    case SQLITE_INTEGER: *v = v_int(sqlite3_column_int64(s, i)); return ERR_NONE;
    case SQLITE_FLOAT: *v = v_real(sqlite3_column_double(s, i)); return ERR_NONE;
    case SQLITE_TEXT:
        *v = v_text((str){0});
        return copy_bytes(a, sqlite3_column_text(s, i), sqlite3_column_bytes(s, i), &v->s);
    case SQLITE_BLOB:
        *v = v_blob((str){0});
        return copy_bytes(a, sqlite3_column_blob(s, i), sqlite3_column_bytes(s, i), &v->s);
    default: *v = v_null(); return ERR_NONE;
    }
}

static enum errc read_row(struct sqlite_conn *c, struct arena *a, sqlite3_stmt *s, struct rows *out)
{
    size_t used = (size_t)out->n * out->n_cols, wanted = used + out->n_cols;
    if (wanted * sizeof *c->vals > a->limit) return ERR_TOO_LARGE;
    if (wanted > c->cap) {
        size_t cap = wanted < VALS_FIRST ? VALS_FIRST : wanted * 2;
        struct val *more = realloc(c->vals, cap * sizeof *more);
        if (!more) return ERR_NO_MEMORY;
        c->vals = more;
        c->cap = cap;
    }
    for (unsigned i = 0; i < out->n_cols; i++) {
        enum errc rc = read_column(a, s, (int)i, &c->vals[used + i]);
        if (rc) return rc;
    }
    out->n++;
    return ERR_NONE;
}

static enum errc query(struct tx *tx, struct arena *a, enum sql_kind kind, const struct sql *sql,
                       const struct val *params, unsigned n, struct rows *out, int64_t *changed, err *e)
{
    sqlite3_stmt *s;
    struct sqlite_conn *c = tx->conn;
    enum errc code = check_deadline(c, sql, e);
    if (!code) code = stmt_get(c, kind, sql, &s, e);
    if (code) return code;
    *out = (struct rows){.n_cols = (unsigned)sqlite3_column_count(s)};
    int rc = bind_all(s, params, n);
    if (rc == SQLITE_OK)
        while ((rc = sqlite3_step(s)) == SQLITE_ROW && !code)
            code = read_row(c, a, s, out);
    if (code)
        err_set(e, code, "%s: the rows are larger than the limit", sql->name);
    else if (rc != SQLITE_DONE)
        code = sqlite_error(c->db, rc, sql->name, e);
    else if (!sqlite3_stmt_readonly(s))
        *changed = sqlite3_changes64(c->db);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    size_t bytes = (size_t)out->n * out->n_cols * sizeof *out->vals;
    if (!code && bytes) {
        str copy = str_of(arena_alloc(a, bytes), bytes);
        if (!copy.p) return err_set(e, ERR_TOO_LARGE, "%s: the rows are larger than the limit", sql->name);
        memcpy((char *)copy.p, c->vals, bytes);
        out->vals = (const struct val *)copy.p;
    }
    return code;
}

static enum errc script(struct tx *tx, const char *text, err *e)
{
    struct sqlite_conn *c = tx->conn;
    char *message = NULL;
    int rc = sqlite3_exec(c->db, text, NULL, NULL, &message);
    enum errc code = rc == SQLITE_OK ? ERR_NONE : sqlite_error(c->db, rc, "the script", e);
    sqlite3_free(message);
    return code;
}

static enum errc prepare(struct tx *tx, const struct sql *sql, err *e)
{
    sqlite3_stmt *s;
    return stmt_get(tx->conn, SQL_REGISTERED, sql, &s, e);
}

/* --- readers --- */

struct sqlite_state {
    struct sqlite_writer *writer;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t freed;
    struct sqlite_conn *idle;
    unsigned n_readers;
};

static void time_of(usec mono_us, struct timespec *out)
{
    *out = (struct timespec){.tv_sec = (time_t)(mono_us / USEC_PER_S),
                             .tv_nsec = (long)(mono_us % USEC_PER_S) * 1000};
}

/* An idle reader, or leave to open one (*out NULL). */
static enum errc reader_wait(struct db *db, usec deadline_us, struct sqlite_conn **out, err *e)
{
    struct sqlite_state *st = db->state;
    struct timespec until;
    enum errc rc = ERR_NONE;
    time_of(deadline_us, &until);
    pthread_mutex_lock(&st->lock);
    while (!st->idle && st->n_readers >= db->store->source.connections && !rc)
        if (pthread_cond_timedwait(&st->freed, &st->lock, &until) == ETIMEDOUT) rc = ERR_BUSY;
    *out = st->idle;
    if (st->idle) {
        st->idle = st->idle->next;
        rc = ERR_NONE;
    } else if (!rc) {
        st->n_readers++;
    }
    pthread_mutex_unlock(&st->lock);
    return rc ? err_set(e, rc, "all %u readers of the database %s are busy", db->store->source.connections,
                        db_names[db->id])
              : ERR_NONE;
}

static void reader_put(struct sqlite_state *st, struct sqlite_conn *c)
{
    pthread_mutex_lock(&st->lock);
    if (c) {
        c->next = st->idle;
        st->idle = c;
    } else {
        st->n_readers--;
    }
    pthread_cond_signal(&st->freed);
    pthread_mutex_unlock(&st->lock);
}

static enum errc reader_get(struct db *db, usec deadline_us, struct sqlite_conn **out, err *e)
{
    struct sqlite_state *st = db->state;
    enum errc rc = reader_wait(db, deadline_us, out, e);
    if (rc || *out) return rc;
    struct sqlite_conn *c = malloc(sizeof *c);
    rc = c ? sqlite_conn_open(c, db, SQLITE_OPEN_READONLY, db->store->source.read_deadline_ms, e)
           : err_code(e, ERR_NO_MEMORY);
    if (!rc) {
        *out = c;
        return ERR_NONE;
    }
    free(c);
    reader_put(st, NULL);
    return rc;
}

static enum errc read_unit(struct db *db, tx_fn fn, void *ctx, err *e)
{
    struct sqlite_conn *c;
    struct tx tx;
    usec deadline_us = store_mono_us() + (usec)db->store->source.read_deadline_ms * USEC_PER_MS;
    enum errc rc = reader_get(db, deadline_us, &c, e);
    if (rc) return rc;
    c->deadline_us = deadline_us;
    rc = sqlite_run(c, "BEGIN", e);
    if (!rc) {
        rc = tx_run(&tx, db, c, fn, ctx, e);
        c->deadline_us = 0;
        /* There is nothing to commit, and a failure to end the snapshot must not hide the unit's own result. */
        if (sqlite_run(c, "ROLLBACK", NULL)) sqlite3_exec(c->db, "END", NULL, NULL, NULL);
    }
    reader_put(db->state, c);
    return rc;
}

/* --- opening --- */

static void configure_once(void)
{
    /* The statistics take one lock for every allocation of every thread; nobody reads them. */
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static enum errc make_folder(const char *data_dir, err *e)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/db", data_dir);
    if (n < 0 || (size_t)n >= sizeof path)
        return err_set(e, ERR_CONFIG, "the data folder's path is too long");
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_errno(e, ERR_IO, errno, "making the folder %s", path);
    return ERR_NONE;
}

static void close_db(struct db *db)
{
    struct sqlite_state *st = db->state;
    if (!st) return;
    while (st->idle) {
        struct sqlite_conn *c = st->idle;
        st->idle = c->next;
        sqlite_conn_close(c);
        free(c);
        st->n_readers--;
    }
    assert(st->n_readers == 0);
    /* Last, so that closing it checkpoints and removes the log. */
    sqlite_writer_free(st->writer);
    pthread_cond_destroy(&st->freed);
    pthread_mutex_destroy(&st->lock);
    free(st);
    db->state = NULL;
}

static enum errc open_db(struct db *db, err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, configure_once);
    enum errc rc = make_folder(db->store->source.data_dir, e);
    if (rc) return rc;
    struct sqlite_state *st = calloc(1, sizeof *st);
    if (!st) return err_code(e, ERR_NO_MEMORY);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&st->lock, NULL);
    pthread_cond_init(&st->freed, &attr);
    pthread_condattr_destroy(&attr);
    db->state = st;
    rc = sqlite_writer_new(&st->writer, db, e);
    if (rc) close_db(db);
    return rc;
}

static enum errc write_unit(struct db *db, tx_fn fn, void *ctx, err *e)
{
    const struct sqlite_state *st = db->state;
    return sqlite_writer_run(st->writer, fn, ctx, false, e);
}

static enum errc write_schema(struct db *db, tx_fn fn, void *ctx, err *e)
{
    const struct sqlite_state *st = db->state;
    return sqlite_writer_run(st->writer, fn, ctx, true, e);
}

/* The write-ahead log holds what is not in the file yet. (The file itself must not be opened here: closing it would drop SQLite's locks on it, for POSIX gives
 * them to the process.) */
static enum errc sync_log(struct db *db, err *e)
{
    char path[FILE_PATH_MAX], log[FILE_PATH_MAX];
    enum errc rc = sqlite_path(db->store->source.data_dir, db->id, path, e);
    if (!rc) rc = file_path(log, e, "%s-wal", path);
    return rc || !file_exists(log) ? rc : file_sync(log, e);
}

static unsigned n_waiting(struct db *db)
{
    const struct sqlite_state *st = db->state;
    return sqlite_writer_n_queued(st->writer);
}

const struct engine sqlite_engine = {
    .open = open_db,
    .close = close_db,
    .write = write_unit,
    .read = read_unit,
    .write_schema = write_schema,
    .exec = exec,
    .query = query,
    .bulk = bulk,
    .script = script,
    .n_waiting = n_waiting,
    .sync = sync_log,
    .prepare = prepare,
    .ending = "db",
    .backup = sqlite_backup,
    .restore = sqlite_restore,
};
