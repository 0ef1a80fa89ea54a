/* sqlite.h - connections to one SQLite file and their prepared statements.
 *
 * Private to the engine (sqlite.c, sqlite_writer.c) and to backup.c.
 * Threads: a connection belongs to one thread at a time.
 */
#ifndef STORE_SQLITE_H
#define STORE_SQLITE_H

#include <pthread.h>
#include <sqlite3.h>

#include "base/map.h"
#include "store/engine.h"

struct sqlite_stmt;

struct sqlite_conn {
    sqlite3 *db;
    struct db *owner;
    struct map stmts;         /* by the statement's address, or by its text when it was made at run time */
    struct sqlite_stmt *made; /* those made at run time, the last used first */
    unsigned n_made;
    struct val *vals; /* scratch for the rows of one query */
    size_t cap;
    usec deadline_us;         /* store_mono_us after which statements are interrupted; 0: none */
    struct sqlite_conn *next; /* in the pool */
};

/* DIR/db/NAME.db in the arena of the caller's stack: out holds PATH_MAX bytes. */
WARN_UNUSED enum errc sqlite_path(const char *data_dir, enum db_id id, char out[4096], err *e);
/* flags of sqlite3_open_v2. Waits at most busy_ms for locks of other processes. */
WARN_UNUSED enum errc sqlite_conn_open(struct sqlite_conn *c, struct db *owner, int flags, unsigned busy_ms,
                                       err *e);
void sqlite_conn_close(struct sqlite_conn *c);
/* One statement without parameters or rows. */
WARN_UNUSED enum errc sqlite_run(struct sqlite_conn *c, const char *text, err *e);
/* The error of a result code, "what: message". */
enum errc sqlite_error(sqlite3 *db, int rc, const char *what, err *e);

/* Backups (sqlite_backup.c). */
WARN_UNUSED enum errc sqlite_backup(struct store *s, const char *const paths[DB_IDS], err *e);
WARN_UNUSED enum errc sqlite_restore(const struct store_source *source, const char *const paths[DB_IDS],
                                     bool replaces, enum errc (*last)(void *ctx, err *e), void *ctx, err *e);

/* The writer thread of one database. */
struct sqlite_writer;
WARN_UNUSED enum errc sqlite_writer_new(struct sqlite_writer **out, struct db *db, err *e);
void sqlite_writer_free(struct sqlite_writer *w); /* NULL is fine */
WARN_UNUSED enum errc sqlite_writer_run(struct sqlite_writer *w, tx_fn fn, void *ctx, bool is_schema, err *e);
unsigned sqlite_writer_n_queued(struct sqlite_writer *w);

#endif
