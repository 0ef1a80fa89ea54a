/* sqlite_writer.c - the one writing thread of a SQLite database: a group of units, each in a savepoint, pays one
 * commit.
 *
 * While a group commits (that is, waits for the disk) the next units queue up, so groups grow with the load: one
 * thread pays a sync for each unit, 32 threads share it.
 * A statement that fails for want of space, by an I/O error or by the deadline can make SQLite roll the whole
 * transaction back. Then, as when the commit itself fails, every unit of the group but the one that failed runs
 * again by itself, so that nobody gets a neighbour's error, or an answer that was read from rows which no longer are.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "store/sqlite.h"

#define GROUP_MAX 256u /* units of one commit */
#define GROUP_US                                                                                             \
    (20 * USEC_PER_MS) /* a group that has run so long takes no more units: its first one waits */
#define WAL_PAGES 1000 /* a log of so many pages goes into the database when a group has been answered */
#define WAL_PAGES_MOST 12800 /* 50 MiB: then readers are waited for, so that the log can begin anew */
#define WAL_WAIT_MS 250
#define WAL_KEPT                                                                                             \
    "PRAGMA journal_size_limit = 67108864" /* a log that grew larger under a long read is cut to this again */

struct unit {
    tx_fn fn;
    void *ctx;
    err *e;
    bool is_schema;
    usec deadline_us;
    enum errc rc;
    struct unit *next;    /* guarded by the writer's lock while it is queued */
    bool is_taken;        /* guarded by the writer's lock */
    pthread_mutex_t lock; /* guards is_done */
    pthread_cond_t done;
    bool is_done;
};

struct sqlite_writer {
    struct sqlite_conn conn;
    struct db *db;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wanted;
    struct unit *first, **last;
    unsigned n_queued;
    bool is_stopping;
    /* Of the writer's thread: when its wait for the lock of another process ends, and whether it waits for those
     * who are queued rather than for a unit that it has taken. */
    usec busy_until_us;
    bool is_for_queue;
    int n_wal_pages,
        n_wal_tended; /* of the log now, and when it was last tended without beginning anew since */
};

/* --- running --- */

static bool is_queue_empty(struct sqlite_writer *w)
{
    pthread_mutex_lock(&w->lock);
    bool is_empty = w->first == NULL;
    pthread_mutex_unlock(&w->lock);
    return is_empty;
}

/* Another process holds the write lock. Units leave the queue by their own deadlines; without any there is
 * nothing to wait for. */
static int on_busy(void *arg, int n)
{
    struct sqlite_writer *w = arg;
    (void)n;
    if (store_mono_us() > w->busy_until_us || (w->is_for_queue && is_queue_empty(w))) return 0;
    usleep(2000);
    return 1;
}

static enum errc begin(struct sqlite_writer *w, bool is_for_queue, err *e)
{
    w->conn.deadline_us = 0;
    w->is_for_queue = is_for_queue;
    w->busy_until_us = store_mono_us() + (usec)w->db->store->source.write_deadline_ms * USEC_PER_MS;
    return sqlite_run(&w->conn, "BEGIN IMMEDIATE", e);
}

static void roll_back(struct sqlite_writer *w)
{
    w->conn.deadline_us = 0;
    err e = {0};
    if (!sqlite3_get_autocommit(w->conn.db) && sqlite_run(&w->conn, "ROLLBACK", &e) != ERR_NONE)
        log_error(LOG_ERROR, "rollback_failed", &e);
}

static bool is_rolled_back(const struct sqlite_writer *w) { return sqlite3_get_autocommit(w->conn.db) != 0; }

/* Inside the transaction: the unit's changes are there whole or not at all. */
static enum errc run_in_savepoint(struct sqlite_writer *w, tx_fn fn, void *ctx, unsigned *n_noted, err *e)
{
    struct tx tx;
    w->conn.deadline_us = 0;
    enum errc rc = sqlite_run(&w->conn, "SAVEPOINT unit", e);
    if (rc) return rc;
    w->conn.deadline_us = store_mono_us() + (usec)w->db->store->source.write_deadline_ms * USEC_PER_MS / 2;
    rc = tx_run(&tx, w->db, &w->conn, fn, ctx, e);
    w->conn.deadline_us = 0;
    if (is_rolled_back(w))
        return rc ? rc : err_set(e, ERR_INTERNAL, "a unit ended the transaction it was in");
    if (!rc && (rc = sqlite_run(&w->conn, "RELEASE unit", e)) == ERR_NONE) {
        *n_noted += tx.n_noted;
        return ERR_NONE;
    }
    if (sqlite_run(&w->conn, "ROLLBACK TO unit", NULL) || sqlite_run(&w->conn, "RELEASE unit", NULL))
        roll_back(w);
    return rc;
}

/* Seals what was noted and commits; after a failure nothing of the group is there. */
static enum errc finish(struct sqlite_writer *w, unsigned n_noted, err *e)
{
    const struct store *s = w->db->store;
    unsigned ignored = 0;
    enum errc rc = n_noted && s->seal ? run_in_savepoint(w, s->seal, s->seal_ctx, &ignored, e) : ERR_NONE;
    if (!rc) rc = sqlite_run(&w->conn, "COMMIT", e);
    if (rc)
        roll_back(w);
    else if (n_noted && s->wake)
        s->wake(s->wake_ctx);
    return rc;
}

static void answer(struct unit *u)
{
    pthread_mutex_lock(&u->lock);
    u->is_done = true;
    pthread_cond_signal(&u->done);
    pthread_mutex_unlock(&u->lock); /* from here on the unit may be gone */
}

/* Answered by the caller. */
static void run_alone(struct sqlite_writer *w, struct unit *u)
{
    unsigned n_noted = 0;
    u->rc = begin(w, false, u->e);
    if (u->rc) return;
    u->rc = run_in_savepoint(w, u->fn, u->ctx, &n_noted, u->e);
    if (u->rc)
        roll_back(w);
    else
        u->rc = finish(w, n_noted, u->e);
}

static enum errc check_foreign_keys(struct sqlite_writer *w, err *e)
{
    sqlite3_stmt *s = NULL;
    enum errc code = ERR_NONE;
    int rc = sqlite3_prepare_v2(w->conn.db, "PRAGMA foreign_key_check", -1, &s, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_step(s);
    if (rc == SQLITE_ROW)
        code = err_set(e, ERR_CONFLICT, "a row of %s would refer to a missing row of %s",
                       (const char *)sqlite3_column_text(s, 0), (const char *)sqlite3_column_text(s, 2));
    else if (rc != SQLITE_DONE)
        code = sqlite_error(w->conn.db, rc, "checking foreign keys", e);
    sqlite3_finalize(s);
    return code;
}

/* Foreign keys are off meanwhile and checked at the end: a table that is replaced by a new one would otherwise take
 * the rows that refer to it along. */
static void run_schema(struct sqlite_writer *w, struct unit *u)
{
    struct tx tx;
    u->rc = sqlite_run(&w->conn, "PRAGMA foreign_keys = OFF", u->e);
    if (!u->rc) u->rc = begin(w, false, u->e);
    if (!u->rc) {
        u->rc = tx_run(&tx, w->db, &w->conn, u->fn, u->ctx, u->e);
        if (!u->rc) u->rc = check_foreign_keys(w, u->e);
        if (!u->rc) u->rc = sqlite_run(&w->conn, "COMMIT", u->e);
        if (u->rc) roll_back(w);
    }
    err e = {0};
    if (sqlite_run(&w->conn, "PRAGMA foreign_keys = ON", &e) != ERR_NONE) {
        log_error(LOG_ERROR, "foreign_keys_failed", &e);
        abort(); /* writing on without them would spoil data */
    }
}

/* --- the log --- */

static int on_commit(void *arg, sqlite3 *db, const char *name, int n_pages)
{
    struct sqlite_writer *w = arg;
    (void)db;
    (void)name;
    if (n_pages < w->n_wal_pages) w->n_wal_tended = 0;
    w->n_wal_pages = n_pages;
    return SQLITE_OK;
}

/* SQLite would do this inside a commit, before its units are answered; and with one reader or another always at work
 * its way never lets the log begin anew. */
static void tend_log(struct sqlite_writer *w)
{
    if (w->n_wal_pages - w->n_wal_tended < WAL_PAGES) return;
    w->n_wal_tended = w->n_wal_pages;
    bool waits = w->n_wal_pages >= WAL_PAGES_MOST;
    w->is_for_queue = false;
    w->busy_until_us = store_mono_us() + (waits ? WAL_WAIT_MS * USEC_PER_MS : 0);
    int n_left = 0, n_done = 0;
    int rc = sqlite3_wal_checkpoint_v2(
        w->conn.db, NULL, waits ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE, &n_left, &n_done);
    if (rc == SQLITE_OK || rc == SQLITE_BUSY) return; /* it is tried again a thousand pages later */
    err e = {0};
    sqlite_error(w->conn.db, rc, "checkpoint", &e);
    log_error(LOG_WARN, "checkpoint_failed", &e);
}

/* --- the queue --- */

/* The first unit, or NULL; one that changes the schema only when `alone` says that it is to run alone. */
static struct unit *take(struct sqlite_writer *w, bool alone)
{
    pthread_mutex_lock(&w->lock);
    struct unit *u = w->first;
    if (u && u->is_schema && !alone) u = NULL;
    if (u) {
        w->first = u->next;
        if (!w->first) w->last = &w->first;
        w->n_queued--;
        u->is_taken = true;
    }
    pthread_mutex_unlock(&w->lock);
    return u;
}

static void run_group(struct sqlite_writer *w)
{
    struct unit *group[GROUP_MAX], *u;
    unsigned n = 0, n_noted = 0;
    usec start_us = store_mono_us();
    struct unit *culprit = NULL; /* whose failure has undone the others */
    err e = {0};
    while (n < GROUP_MAX && !culprit && (n == 0 || store_mono_us() - start_us < GROUP_US) &&
           (u = take(w, false))) {
        group[n++] = u;
        u->rc = run_in_savepoint(w, u->fn, u->ctx, &n_noted, u->e);
        if (is_rolled_back(w)) culprit = u;
    }
    if (n == 0) {
        roll_back(w);
        return;
    }
    enum errc rc = culprit ? culprit->rc : finish(w, n_noted, &e);
    for (unsigned i = 0; i < n; i++) {
        u = group[i];
        if (rc && u != culprit && n > 1) {
            run_alone(w, u);
        } else if (rc && u != culprit) {
            u->rc = rc;
            if (u->e) *u->e = e;
        }
        if (rc) answer(u);
    }
    for (unsigned i = 0; i < n && !rc; i++)
        answer(group[i]);
}

static void fail_queue(struct sqlite_writer *w, enum errc rc, const err *e)
{
    struct unit *u;
    while ((u = take(w, true))) {
        u->rc = rc;
        if (u->e) *u->e = *e;
        answer(u);
    }
}

static bool is_schema_next(struct sqlite_writer *w)
{
    pthread_mutex_lock(&w->lock);
    bool is_next = w->first && w->first->is_schema;
    pthread_mutex_unlock(&w->lock);
    return is_next;
}

static bool wait_for_work(struct sqlite_writer *w)
{
    pthread_mutex_lock(&w->lock);
    while (!w->first && !w->is_stopping)
        pthread_cond_wait(&w->wanted, &w->lock);
    bool has_work = w->first != NULL;
    pthread_mutex_unlock(&w->lock);
    return has_work;
}

static void *writer_main(void *arg)
{
    struct sqlite_writer *w = arg;
    while (wait_for_work(w)) {
        err e = {0};
        struct unit *u;
        if (is_schema_next(w)) {
            if ((u = take(w, true))) {
                run_schema(w, u);
                answer(u);
            }
            continue;
        }
        enum errc rc = begin(w, true, &e);
        if (!rc) {
            run_group(w);
            tend_log(w);
        } else if (!is_queue_empty(w)) {
            fail_queue(w, rc, &e);
        }
    }
    return NULL;
}

static void time_of(usec mono_us, struct timespec *out)
{
    *out = (struct timespec){.tv_sec = (time_t)(mono_us / USEC_PER_S),
                             .tv_nsec = (long)(mono_us % USEC_PER_S) * 1000};
}

/* Takes the unit out of the queue unless the writer has it already. */
static bool give_up(struct sqlite_writer *w, struct unit *u)
{
    pthread_mutex_lock(&w->lock);
    bool is_given_up = !u->is_taken;
    if (is_given_up) {
        struct unit **at = &w->first;
        while (*at != u)
            at = &(*at)->next;
        *at = u->next;
        if (!u->next) w->last = at;
        w->n_queued--;
    }
    pthread_mutex_unlock(&w->lock);
    return is_given_up;
}

static bool enqueue(struct sqlite_writer *w, struct unit *u)
{
    pthread_mutex_lock(&w->lock);
    bool has_room = w->n_queued < w->db->store->source.queue;
    if (has_room) {
        *w->last = u;
        w->last = &u->next;
        w->n_queued++;
        pthread_cond_signal(&w->wanted);
    }
    pthread_mutex_unlock(&w->lock);
    return has_room;
}

/* Waits until the unit is done; false when its deadline passed in the queue. */
static bool wait_done(struct sqlite_writer *w, struct unit *u)
{
    struct timespec until;
    bool is_late = false;
    time_of(u->deadline_us, &until);
    pthread_mutex_lock(&u->lock);
    while (!u->is_done) {
        if (u->is_schema || is_late) {
            pthread_cond_wait(&u->done, &u->lock);
        } else if (pthread_cond_timedwait(&u->done, &u->lock, &until) == ETIMEDOUT && !u->is_done) {
            pthread_mutex_unlock(&u->lock);
            if (give_up(w, u)) return false;
            is_late = true; /* it runs: its own deadline ends it */
            pthread_mutex_lock(&u->lock);
        }
    }
    pthread_mutex_unlock(&u->lock);
    return true;
}

enum errc sqlite_writer_run(struct sqlite_writer *w, tx_fn fn, void *ctx, bool is_schema, err *e)
{
    const struct store_source *source = &w->db->store->source;
    struct unit u = {
        .fn = fn,
        .ctx = ctx,
        .e = e,
        .is_schema = is_schema,
        .deadline_us = store_mono_us() + (usec)source->write_deadline_ms * USEC_PER_MS,
    };
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&u.lock, NULL);
    pthread_cond_init(&u.done, &attr);
    pthread_condattr_destroy(&attr);
    if (!enqueue(w, &u))
        u.rc = err_set(e, ERR_BUSY, "%u units wait for the database %s already", source->queue,
                       db_names[w->db->id]);
    else if (!wait_done(w, &u))
        u.rc = err_set(e, ERR_BUSY, "the database %s was not free within %u ms", db_names[w->db->id],
                       source->write_deadline_ms);
    pthread_cond_destroy(&u.done);
    pthread_mutex_destroy(&u.lock);
    return u.rc;
}

unsigned sqlite_writer_n_queued(struct sqlite_writer *w)
{
    pthread_mutex_lock(&w->lock);
    unsigned n = w->n_queued;
    pthread_mutex_unlock(&w->lock);
    return n;
}

/* --- opening --- */

static enum errc configure(struct sqlite_writer *w, err *e)
{
    static const char *const all[] = {
        "PRAGMA journal_mode = WAL",
        "PRAGMA foreign_keys = ON",
        "PRAGMA temp_store = MEMORY",
        "PRAGMA cache_size = -16384",
        WAL_KEPT,
    };
    /* A person's key that was destroyed must not stay in a free page; elsewhere Debian's default of overwriting all
     * that is deleted only costs. */
    static const char *const own[DB_IDS][2] = {
        [DB_MAIN] = {"PRAGMA synchronous = FULL", "PRAGMA secure_delete = FAST"},
        [DB_USAGE] = {"PRAGMA synchronous = NORMAL", "PRAGMA secure_delete = FAST"},
        [DB_PEOPLE] = {"PRAGMA synchronous = FULL", "PRAGMA secure_delete = ON"},
    };
    enum errc rc = ERR_NONE;
    for (unsigned i = 0; i < LENGTH_OF(all) && !rc; i++)
        rc = sqlite_run(&w->conn, all[i], e);
    for (unsigned i = 0; i < LENGTH_OF(own[0]) && !rc; i++)
        rc = sqlite_run(&w->conn, own[w->db->id][i], e);
    return rc;
}

enum errc sqlite_writer_new(struct sqlite_writer **out, struct db *db, err *e)
{
    struct sqlite_writer *w = calloc(1, sizeof *w);
    if (!w) return err_code(e, ERR_NO_MEMORY);
    w->db = db;
    w->last = &w->first;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wanted, NULL);
    enum errc rc = sqlite_conn_open(&w->conn, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                                    db->store->source.write_deadline_ms, e);
    if (!rc) rc = configure(w, e);
    if (!rc) {
        sqlite3_busy_handler(w->conn.db, on_busy, w);
        sqlite3_wal_hook(w->conn.db, on_commit, w);
        int number = pthread_create(&w->thread, NULL, writer_main, w);
        if (number)
            rc = err_errno(e, ERR_INTERNAL, number, "starting the writer of the database %s",
                           db_names[db->id]);
        w->has_thread = number == 0;
    }
    *out = w;
    if (rc) {
        sqlite_writer_free(w);
        *out = NULL;
    }
    return rc;
}

void sqlite_writer_free(struct sqlite_writer *w)
{
    if (!w) return;
    if (w->has_thread) {
        pthread_mutex_lock(&w->lock);
        assert(!w->first);
        w->is_stopping = true;
        pthread_cond_signal(&w->wanted);
        pthread_mutex_unlock(&w->lock);
        pthread_join(w->thread, NULL);
    }
    sqlite_conn_close(&w->conn);
    pthread_cond_destroy(&w->wanted);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
