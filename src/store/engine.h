/* engine.h - what the two engines give, and what db.c, migrate.c and backup.c need of them.
 *
 * Private to the room. db.c checks parameters, keeps the unit's account and its first failure; the engines only
 * speak to their database.
 * Threads: as db.h says.
 */
#ifndef STORE_ENGINE_H
#define STORE_ENGINE_H

#include <pthread.h>

#include "base/stats.h"
#include "store/store.h"

/* How a statement is known to a connection's cache: a registered one by its address, a list's by its text. */
enum sql_kind { SQL_REGISTERED, SQL_MADE };

#define DB_UNKNOWN                                                                                           \
    "the connection to PostgreSQL broke while a unit was committed: whether it was is not known"

struct schema_hold;
#define HOLD_SCHEMA_S 600

struct engine {
    WARN_UNUSED enum errc (*open)(struct db *db, err *e);
    void (*close)(struct db *db);
    WARN_UNUSED enum errc (*write)(struct db *db, tx_fn fn, void *ctx, err *e);
    WARN_UNUSED enum errc (*read)(struct db *db, tx_fn fn, void *ctx, err *e);
    /* A unit that changes the schema: alone, without a deadline, and with foreign keys checked at its end. */
    WARN_UNUSED enum errc (*write_schema)(struct db *db, tx_fn fn, void *ctx, err *e);
    /* Waits until no other process changes the schema (changes: nor has it held), and keeps it so; NULL: the lock of the data folder
     * does. ERR_BUSY: one still does after HOLD_SCHEMA_S. */
    WARN_UNUSED enum errc (*hold_schema)(struct store *s, bool changes, struct schema_hold **out, err *e);
    void (*release_schema)(struct schema_hold *h);
    /* *changed: rows inserted, changed or deleted; 0 for what only reads. */
    WARN_UNUSED enum errc (*exec)(struct tx *tx, const struct sql *s, const struct val *params, unsigned n,
                                  int64_t *changed, err *e);
    WARN_UNUSED enum errc (*query)(struct tx *tx, struct arena *a, enum sql_kind kind, const struct sql *s,
                                   const struct val *params, unsigned n, struct rows *out, int64_t *changed,
                                   err *e);
    WARN_UNUSED enum errc (*bulk)(struct tx *tx, const struct sql *s, const struct val *rows, unsigned n,
                                  size_t n_rows, int64_t *changed, err *e);
    /* Several statements without parameters, in the unit. */
    WARN_UNUSED enum errc (*script)(struct tx *tx, const char *text, err *e);
    unsigned (*n_waiting)(struct db *db);
    /* NULL: every commit is synced. */
    WARN_UNUSED enum errc (*sync)(struct db *db, err *e);
    /* The thread that hears what other nodes tell; NULL: there are none. */
    WARN_UNUSED enum errc (*listen)(struct store *s, err *e);
    void (*deafen)(struct store *s);
    /* Only parses; for the test of the registry. */
    WARN_UNUSED enum errc (*prepare)(struct tx *tx, const struct sql *s, err *e);

    /* Backups (backup.c). A file of this ending for each database (paths by enum db_id), made beside writers and synced, the people
     * last: no row refers to a key that is not there. PostgreSQL: all of one snapshot. */
    const char *ending;
    WARN_UNUSED enum errc (*backup)(struct store *s, const char *const paths[DB_IDS], err *e);
    /* Puts files in (NULL: not in the backup), all at once: whoever looks meanwhile sees what was there before. `last` runs when everything
     * but that is done, and its failure undoes it. ERR_CONFLICT: there are databases and replaces is false, or servers use them. */
    WARN_UNUSED enum errc (*restore)(const struct store_source *source, const char *const paths[DB_IDS],
                                     bool replaces, enum errc (*last)(void *ctx, err *e), void *ctx, err *e);
};
extern const struct engine sqlite_engine, postgres_engine;

/* The engine of a source. */
static inline const struct engine *engine_of(const struct store_source *source)
{
    return source->url.len ? &postgres_engine : &sqlite_engine;
}

/* Metrics of one database. */
struct db_stats {
    pthread_mutex_t lock; /* guards the slots of the series, which are written by all threads */
    struct stat_series *reads, *writes, *failed;
};

struct db {
    struct store *store;
    enum db_id id;
    void *state;                    /* the engine's; NULL: not open */
    struct db_stats *_Atomic stats; /* NULL: not measured */
};

#define STORE_EARS_MAX 16

struct listening; /* the engine's thread */

struct store {
    const struct engine *engine;
    struct store_source source; /* data_dir and url are the store's own copies */
    struct db dbs[DB_IDS];
    tx_fn seal;
    void *seal_ctx;
    void (*wake)(void *ctx);
    void *wake_ctx;
    struct store_ear { /* of store_on_told */
        enum store_topic topic;
        void (*wake)(void *ctx);
        void *ctx;
    } ears[STORE_EARS_MAX];
    unsigned n_ears;
    struct listening *listening;
};

extern const char *const store_topics[STORE_TOPICS];
/* Calls everybody who wants to hear of the topic; of all topics with STORE_TOPICS. */
void store_told(struct store *s, enum store_topic t);

struct tx {
    struct db *db;
    void *conn; /* the engine's connection */
    int64_t n_changed;
    unsigned n_noted;
    err failure; /* of the first statement that failed: the unit cannot go on, as PostgreSQL has it */
};

/* Runs fn with a fresh account; a statement's failure that fn passed over is the unit's result all the same. */
WARN_UNUSED enum errc tx_run(struct tx *tx, struct db *db, void *conn, tx_fn fn, void *ctx, err *e);

static inline const char *sql_text(const struct db *db, const struct sql *s)
{
    return s->postgres && db->store->engine != &sqlite_engine ? s->postgres : s->text;
}
/* The registered statement with another text and more parameters, as tx_query. */
WARN_UNUSED enum errc tx_query_made(struct tx *tx, struct arena *a, const struct sql *made,
                                    const struct val *params, unsigned n, struct rows *out, err *e);

/* Backs up into DIR/backups/TIME-WHY; the path in the arena. */
WARN_UNUSED enum errc store_backup_here(struct store *s, const char *why, struct arena *a, const char **out,
                                        err *e);

/* Deadlines are real even when a test has frozen base/clock: they guard against other processes and the disk. */
usec store_mono_us(void);

#endif
