/* migrate.h - the schema's history: numbered SQL files, embedded, each applied once to each database.
 *
 * src/store/migrations/NNNN_name.sql is for both engines; NNNN_name.postgres.sql, where there is one, takes its place
 * on PostgreSQL. A line "-- database: main" (usage, people) says where the statements below it belong; a file may
 * have parts for several. Column types are tokens: {id} an int64 key that numbers itself and is never used again,
 * {int} {real} {text} {blob} {uuid}. Texts compare by their bytes on both engines.
 * What was applied stands in the table schema_migrations of each database, with the SHA-256 of the file.
 * A file whose first line is "-- compatible: expand" says that releases before it go on working on the schema that it
 * makes: it only adds tables, and columns that are nullable or have a default. The history keeps that, so that a release
 * which finds newer migrations, all of them of this kind, starts (with a warning in the log) and leaves the schema
 * alone: two releases run side by side, and the older one can be put back. Any other newer migration it refuses. (v0.1.0 does
 * not look for the line: it refuses to start on any newer schema, but goes on when it is running already.)
 * Of several nodes that start on one PostgreSQL one backs up and migrates; the others wait until it has (HOLD_SCHEMA_S).
 */
#ifndef STORE_MIGRATE_H
#define STORE_MIGRATE_H

#include "store/engine.h"

struct migration {
    const char *name; /* "0001_spine" */
    const char *text, *text_end;
    const char *postgres, *postgres_end; /* NULL: as text */
};
/* Of this release, by number. */
extern const struct migration migrations_embedded[];
extern const unsigned migrations_embedded_n;

/* The statements for one database with the engine's types, in the arena, NUL-terminated; empty when there are none.
 * ERR_INVALID: statements above the first "-- database:" line, or an unknown database or token. */
WARN_UNUSED enum errc migration_expand(const struct migration *m, bool is_postgres, enum db_id id,
                                       struct arena *a, str *out, err *e);
unsigned migration_number(const struct migration *m);

/* A row of main.schema_migrations in a PostgreSQL that is being moved into (store/move.h): no release knows it, so none uses the database. */
#define MIGRATION_OF_MOVE 2147483647
#define MIGRATION_OF_MOVE_NAME "a move from SQLite that has not ended"

/* ERR_CONFIG unless the list, and nothing else, was applied to the unit's database. */
WARN_UNUSED enum errc migrate_is_current(struct tx *tx, const struct migration *list, unsigned n, err *e);

/* Compares what was applied with the list, and applies what is missing when the source migrates. */
WARN_UNUSED enum errc migrate(struct store *s, const struct migration *list, unsigned n, err *e);

/* As store_open with another list. */
WARN_UNUSED enum errc store_open_with(struct store **out, const struct store_source *source,
                                      const struct migration *list, unsigned n, err *e);

#endif
