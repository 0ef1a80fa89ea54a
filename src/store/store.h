/* store.h - the databases of one data folder: opening, migrating, backing up.
 *
 * Threads: opening and closing from one thread; the handles are for any.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/buf.h"
#include "base/options.h"
#include "store/db.h"

extern const struct option_table store_options;

struct store_source {
    const char *data_dir;
    str url; /* postgresql://…; empty: SQLite in DIR/db */
    bool
        migrates; /* bring the schema up (a backup first when there is data); else an older one is ERR_CONFIG */
    bool skips_backup;     /* migrate without it */
    bool takes_any_schema; /* for tools: whatever is there, older or newer */
    bool is_moved_into;    /* for store/move.h alone: also a PostgreSQL that nobody else may use yet */
    /* 0 means the default of the option of the same name. */
    unsigned connections; /* PostgreSQL: most at once; SQLite: most readers of each database */
    unsigned read_deadline_ms, write_deadline_ms;
    unsigned queue; /* SQLite: units that may wait for a database's writer */
};

/* ERR_CONFIG: the schema is of a newer release that does not say that this one goes on working on it, or a migration that was applied has another checksum now; SQLite's databases were moved to PostgreSQL, or
 * are being moved (store/move.h). */
WARN_UNUSED enum errc store_open(struct store **out, const struct store_source *source, err *e);
void store_close(struct store *s); /* all units must have ended; NULL is fine */
struct db *store_db(struct store *s, enum db_id id);
bool store_is_postgres(const struct store *s);
/* From now on units are measured (base/stats, which must have been started): catalyst_store_unit_seconds,
 * catalyst_store_failed_total. */
WARN_UNUSED enum errc store_measure(struct store *s, err *e);
/* Units that wait now: for the writer of this database (SQLite), for a connection (PostgreSQL, all databases). */
unsigned store_n_waiting(struct store *s, enum db_id id);

/* Called on the writer (SQLite: once per group commit, before it; PostgreSQL: in a unit of its own that the
 * hook's owner runs) when a unit of DB_MAIN has noted something: the sealer of core/events. May run again. */
void store_on_noted(struct store *s, tx_fn seal, void *ctx);
/* The context given to store_on_noted of the store that a handle belongs to; NULL: none yet. */
void *db_noted_ctx(const struct db *db);
/* Called after a commit that noted something, on the thread that committed; must only wake. */
void store_on_committed(struct store *s, void (*wake)(void *ctx), void *ctx);

/* --- other nodes --- */

/* Hints between the nodes that share a PostgreSQL (NOTIFY; SQLite: nothing). They only wake: whoever listens also looks by itself
 * now and then. When the connection was lost and is back every topic is told, since something may have been missed. */
enum store_topic { TOPIC_SEALED, TOPIC_LIVE, TOPIC_LEASES, TOPIC_JOBS, TOPIC_NODES, STORE_TOPICS };
/* Before store_listen; several for a topic. wake runs on the listening thread and must only wake. */
void store_on_told(struct store *s, enum store_topic t, void (*wake)(void *ctx), void *ctx);
/* Starts the listening thread, which keeps a connection of its own. */
WARN_UNUSED enum errc store_listen(struct store *s, err *e);
void store_deafen(struct store *s); /* ends it; also without store_listen, and twice */
/* Tells all nodes, this one included, when the unit commits. */
WARN_UNUSED enum errc tx_tell(struct tx *tx, enum store_topic t, err *e);

/* --- migrations --- */

struct migration_state {
    unsigned number;
    const char *name;
    usec applied_us; /* 0: not yet */
    bool is_changed; /* its checksum is not the applied one's */
};
/* One entry per known migration, in the arena. */
WARN_UNUSED enum errc store_migrations(struct store *s, struct arena *a, struct migration_state **out,
                                       unsigned *n, err *e);

/* --- backup --- */

struct json_writer;
struct backup_more {
    /* Copies into the folder what other rooms keep in the data folder (the journal); runs first, so that nothing that is drained into a database
     * meanwhile is missed. */
    enum errc (*copy)(void *ctx, const char *to, err *e);
    /* Adds members to the manifest's object; runs last. May be NULL. */
    enum errc (*tell)(void *ctx, struct json_writer *w, err *e);
    void *ctx;
};
/* A copy of every database in a new or empty folder, also beside running servers:
 *   manifest.json         release, time, engine, schema; path, size and SHA-256 of every file but those of people
 *   db/main.db, usage.db  with PostgreSQL .dump (pg_dump's custom format)
 *   people/people.db      persons' keys, with a manifest of their own: whoever deletes this folder keeps a backup that can be
 *                         restored, in which what stood under those keys stays unreadable
 * SQLite: each file is one snapshot, the people's last, so that no row refers to a key that is not there. PostgreSQL: one snapshot of all, of a
 * moment at which the units of work could have run one after the other.
 * more may be NULL. ERR_CONFLICT: the folder is not empty. When it fails the folder is left without a manifest. */
WARN_UNUSED enum errc store_backup(struct store *s, const char *to, const struct backup_more *more, err *e);
/* Checks every size and hash of the manifests, then puts the databases, and what else was in the backup, into data_dir or
 * PostgreSQL, which must hold none and be used by no server; the caller has locked data_dir. All or nothing: with PostgreSQL in one transaction.
 * ERR_CORRUPT: a file is not what the manifest says. */
WARN_UNUSED enum errc store_restore(const char *from, const struct store_source *source, err *e);

/* The newest backup that a migration made (DIR/backups/TIME-before-NNNN_name); ERR_NOT_FOUND. In the arena. */
WARN_UNUSED enum errc store_migration_backup(const char *data_dir, struct arena *a, const char **out, err *e);
/* Undoes migrations: backs up what is there now (*saved, in the arena), then puts the databases of `from` in its place. No
 * server may run; the caller has locked data_dir. */
WARN_UNUSED enum errc store_rollback(const char *from, const struct store_source *source, struct arena *a,
                                     const char **saved, err *e);

/* Asserts that are made on event loops: db_* must not be called there. */
void store_this_is_a_loop(void);

#endif
