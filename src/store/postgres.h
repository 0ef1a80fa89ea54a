/* postgres.h - connections to PostgreSQL, their pool and their prepared statements.
 *
 * Private to the engine (postgres.c) and to backup.c.
 * Threads: a connection belongs to one thread at a time; the pool is for any.
 */
#ifndef STORE_POSTGRES_H
#define STORE_POSTGRES_H

#include <libpq-fe.h>
#include <pthread.h>

#include "base/map.h"
#include "store/engine.h"

/* Any number of our own: one process at a time changes the schema. */
#define PG_SCHEMA_LOCK "SELECT pg_advisory_xact_lock(7308889914225845)"
/* Held over several units, backup included, by who migrates; shared by who looks whether it must. */
#define PG_MIGRATING_LOCK "7308889914225846"
#define PG_MOVE_LOCK "7308889914225847" /* one move at a time goes into a PostgreSQL */
#define PG_TABLE_LOCK_MS "3000" /* how long a unit that changes the schema waits for a table, and others behind it */

struct pg_conn {
    PGconn *pg;
    enum db_id db;    /* whose schema it looks into */
    struct map stmts; /* by the statement's address, or by its text when it was made at run time */
    unsigned n_stmts;
    usec deadline_us;     /* store_mono_us after which an answer is no longer waited for; 0: none */
    bool is_reading;      /* its unit must not write */
    bool is_broken;       /* must be closed: nothing is known of its state, nor of its siblings */
    bool is_worn;         /* is to be closed when its unit has ended */
    bool runs_again;      /* the failure was a conflict of transactions, or one of the connection alone */
    bool is_undone;       /* the server has said that it ended the unit because it was silent for too long */
    struct pg_conn *next; /* in the pool */
};

struct pg_pool {
    char *url;
    unsigned max, statement_timeout_ms;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t freed;
    struct pg_conn *idle; /* the last used first */
    unsigned n_open, n_waiting;
};

/* ERR_CONFIG: the URL cannot be read, or the server is too old or not in UTF-8. The password never stands in an error. */
WARN_UNUSED enum errc pg_pool_new(struct pg_pool **out, const struct store_source *source, err *e);
void pg_pool_free(struct pg_pool *p); /* NULL is fine; every connection must have been put back */
/* One that the server has ended is not handed out. deadline_us is for connecting, too. ERR_BUSY: none was free before it;
 * ERR_UNAVAILABLE: the server cannot be reached. */
WARN_UNUSED enum errc pg_conn_get(struct pg_pool *p, enum db_id db, usec deadline_us, struct pg_conn **out,
                                  err *e);
/* Closes it when it is broken, and then all idle ones too: the server has probably been restarted. NULL gives back
 * the place of one that could not be opened. */
void pg_conn_put(struct pg_pool *p, struct pg_conn *c);
/* One beside the pool, for who needs it all the time. */
WARN_UNUSED enum errc pg_conn_open(struct pg_pool *p, enum db_id db, struct pg_conn **out, err *e);
void pg_conn_close(struct pg_conn *c); /* NULL is fine */

/* What other nodes tell (postgres_listen.c). */
WARN_UNUSED enum errc pg_listen(struct store *s, err *e);
void pg_deafen(struct store *s);

/* Statements without parameters, their rows passed over. `what` is for messages. */
WARN_UNUSED enum errc pg_run(struct pg_conn *c, const char *text, const char *what, err *e);
/* Waits for the next result of what was sent; NULL with ERR_NONE at its end. */
WARN_UNUSED enum errc pg_next(struct pg_conn *c, const char *what, PGresult **out, err *e);
/* Reads to the end of what was sent and keeps its last good result in *out (may be NULL); of errors the first one. */
WARN_UNUSED enum errc pg_finish(struct pg_conn *c, const char *what, PGresult **out, err *e);
/* Sends what is waiting. */
WARN_UNUSED enum errc pg_flush(struct pg_conn *c, const char *what, err *e);
/* COPY: in begins with a statement FROM STDIN, put sends a piece as fast as the server takes it, end waits for the whole; out begins with a
 * statement TO STDOUT, next gives its pieces (PQfreemem by the caller), NULL at the end. After an error the connection is broken. */
WARN_UNUSED enum errc pg_copy_in(struct pg_conn *c, const char *text, const char *what, err *e);
WARN_UNUSED enum errc pg_copy_put(struct pg_conn *c, const char *what, str bytes, err *e);
WARN_UNUSED enum errc pg_copy_end(struct pg_conn *c, const char *what, err *e);
WARN_UNUSED enum errc pg_copy_out(struct pg_conn *c, const char *text, const char *what, err *e);
WARN_UNUSED enum errc pg_copy_next(struct pg_conn *c, const char *what, char **out, int *len, err *e);
/* The error of a result; sets is_broken and runs_again. */
enum errc pg_error(struct pg_conn *c, const PGresult *r, const char *what, err *e);

/* Backups (postgres_backup.c), by the programs pg_dump, pg_restore and psql; ERR_CONFIG without them, or when they are older than the server. */
WARN_UNUSED enum errc pg_backup(struct store *s, const char *const paths[DB_IDS], err *e);
WARN_UNUSED enum errc pg_restore(const struct store_source *source, const char *const paths[DB_IDS],
                                 bool replaces, enum errc (*last)(void *ctx, err *e), void *ctx, err *e);

#endif
