/* secrets.h - secrets at rest: AES-256-GCM under data keys, which hang on the master key.
 *
 *   master key (core/root_key.h)
 *     → the instance's key: one row, wrapped by the master key; it wraps the data keys
 *       → data keys: one of each workspace, one of the instance; made at first use, in versions
 *         → values, each bound to table, column, row, workspace and version of the key
 * So a value that was moved to another row, column, table or workspace does not open, changing the master key rewrites one
 * row in which a few bytes lie, and with its data keys a workspace is gone for good, from every copy of the database too
 * that is newer than they are.
 * The instance's key and the data keys are in memory, unwrapped, as long as the process runs: a Vault that is away is
 * missed at the next start, and when keys change.
 * A database that an earlier release has worked on goes on with values under the master key itself (format 1) for a day after the
 * first start of this one, so that nodes can be put back; `catalyst keys rotate` ends that at once.
 * Format: version 1 byte (2), version of the key 4 bytes (big endian), nonce 12, ciphertext, tag 16. Format 1 has the first 4
 * bytes of the master key's id instead.
 * Every column that holds such values is registered with SEALED_COLUMN, which is how rotation finds them; sealing for another
 * place is ERR_INTERNAL.
 * Threads: any; what may read the database says so.
 * Source: NIST SP 800-38D and SP 800-57 part 1; HKDF, RFC 5869.
 */
#ifndef CORE_SECRETS_H
#define CORE_SECRETS_H

#include "base/random.h"
#include "core/config.h"
#include "core/root_key.h"
#include "store/store.h"

#define SECRET_OVERHEAD (1 + 4 + 28) /* bytes that a sealed value is longer than its plain text */

extern const struct option_table secrets_options;

struct secrets;
/* Finds the master key; ERR_CONFIG, ERR_CORRUPT, ERR_FORBIDDEN as root_key.h says. The configuration need not outlive it. */
WARN_UNUSED enum errc secrets_open(struct secrets **out, const struct config *config, const char *data_dir,
                                   err *e);
/* Unwraps the keys of the database, and makes those of the instance when there are none. Until then, and in a
 * database of an earlier release on its first day, values are sealed under a local master key itself. An interrupted change of a
 * master key that is a file is brought to its end.
 * ERR_CONFIG: the master key is not the one that the database is sealed under; ERR_UNREACHABLE and the like: a remote
 * master key cannot be asked. */
WARN_UNUSED enum errc secrets_attach(struct secrets *s, struct store *store, usec now_us, err *e);
/* Writes down that the database is sealed under this master key, unless it is known: after what is sealed in it has been tried. */
WARN_UNUSED enum errc secrets_claim(struct secrets *s, usec now_us, err *e);
void secrets_free(struct secrets *s); /* wipes the keys */
struct root_key *secrets_root(const struct secrets *s); /* in force */
bool secrets_has_data_keys(const struct secrets *s);

/* Seals under the instance's data key; in the arena. Before the unit of work: it may make or read a key. */
WARN_UNUSED enum errc secret_seal(const struct secrets *s, struct arena *a, const char *table,
                                  const uuid *row, const char *column, str plain, str *sealed, err *e);
/* ERR_CORRUPT when it was changed, moved, or its key is not there any more. ERR_UNAVAILABLE in a unit of work: the key was made
 * by another node and is not at hand yet; tx_secrets takes it. */
WARN_UNUSED enum errc secret_open(const struct secrets *s, struct arena *a, const char *table,
                                  const uuid *row, const char *column, str sealed, str *plain, err *e);
/* The same under the workspace's own data key. Opens values of format 1, too. */
WARN_UNUSED enum errc secret_seal_in(const struct secrets *s, struct arena *a, const uuid *workspace,
                                     const char *table, const uuid *row, const char *column, str plain,
                                     str *sealed, err *e);
WARN_UNUSED enum errc secret_open_in(const struct secrets *s, struct arena *a, const uuid *workspace,
                                     const char *table, const uuid *row, const char *column, str sealed,
                                     str *plain, err *e);
/* Takes the keys that the unit's snapshot (of DB_MAIN) has. */
WARN_UNUSED enum errc tx_secrets(struct tx *tx, const struct secrets *s, err *e);
/* A key of its own for another purpose ("csrf", "people"): 32 bytes, the same as long as the database lives. */
void secrets_derive(const struct secrets *s, const char *purpose, uint8_t out[32]);

/* The workspace's data keys are destroyed: nothing that was sealed under them opens again, wherever copies lie. With an event. For
 * the unit that purges it. */
WARN_UNUSED enum errc tx_workspace_keys_destroy(struct tx *tx, const uuid *workspace, usec now_us, err *e);

struct events;
/* Follows what other nodes do with keys. Before events_start. */
WARN_UNUSED enum errc secrets_watch(struct secrets *s, struct events *log, err *e);
void secrets_stop(struct secrets *s); /* follows no more: before the store goes; NULL and twice are fine */
/* Whether the database has keys that could not be taken yet (told in the log). No lock. */
bool secrets_is_behind(const struct secrets *s);

/* --- columns that hold sealed values --- */

struct sealed_column {
    const char *table, *column;
    enum db_id db;
    bool is_of_workspace;    /* secret_seal_in, else secret_seal */
    const struct sql *page;  /* "ui": row, workspace (or NULL), value of rows behind an id */
    const struct sql *change; /* "bub": another value where it is still the same */
    /* What else than secret_open and secret_seal makes the new value; NULL: they do. */
    enum errc (*reseal)(const struct secrets *s, struct arena *a, const uuid *row, str old, str *fresh, err *e);
};
/* At file scope, without a semicolon behind it that the formatter would add:
 *   SEALED_COLUMN(provider_keys, DB_MAIN, gateway_providers, id, workspace_id, api_key, true, NULL);
 * workspace_: the column with the workspace, or NULL for values of the instance. */
#define SEALED_COLUMN(name_, db_, table_, id_, workspace_, column_, is_of_workspace_, reseal_)                    \
    SQL(name_##_page, db_, SQL_INSTANCE, "ui",                                                                    \
        "SELECT " #id_ ", " #workspace_ ", " #column_ " FROM " #table_ " WHERE " #id_ " > $1 AND " #column_       \
        " IS NOT NULL ORDER BY " #id_ " LIMIT $2");                                                               \
    SQL(name_##_change, db_, SQL_INSTANCE, "bub",                                                                 \
        "UPDATE " #table_ " SET " #column_ " = $1 WHERE " #id_ " = $2 AND " #column_ " = $3");                    \
    static const struct sealed_column name_ = {                                                                   \
        #table_, #column_, db_, is_of_workspace_, &name_##_page, &name_##_change, reseal_};                       \
    static const struct sealed_column *const name_##_sealed                                                       \
        __attribute__((used, section("catalyst_sealed"))) = &name_
/* Values that lie inside others (of a job's input, for example) and are gone after some days at most: no rotation rewrites them, and
 * the keys that they may be under stay as long. */
#define SEALED_FOR_DAYS(name_, table_, column_)                                                                   \
    static const struct sealed_column name_ = {table_, column_, DB_MAIN, false, NULL, NULL, NULL};              \
    static const struct sealed_column *const name_##_sealed                                                       \
        __attribute__((used, section("catalyst_sealed"))) = &name_
#define SEALED_DAYS 8
const struct sealed_column *const *sealed_columns(size_t *n);

#endif
