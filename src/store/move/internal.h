/* internal.h - what the parts of a move share: both sides' connections and the tables as both have them.
 *
 * Threads: one.
 */
#ifndef STORE_MOVE_INTERNAL_H
#define STORE_MOVE_INTERNAL_H

#include "store/migrate.h"
#include "store/move.h"
#include "store/postgres.h"
#include "store/sqlite.h"

#define ROW_MAX (1u << 30) /* bytes of one row in COPY's form: PostgreSQL takes no larger one */

struct move_column {
    const char *name, *literal;
    char type; /* the letter of db.h: i r t b u */
    bool is_identity;
    int key; /* place in the primary key; -1: not in it */
};

struct table {
    struct move_table said; /* what the report says of it */
    const char *full;       /* "main"."events", as a statement has it */
    const char *literal;    /* 'events' */
    const char *full_literal;
    struct move_column *columns;
    unsigned n_columns;
    const unsigned *key; /* columns that rows are ordered by: the primary key, or all of them */
    unsigned n_key;
    bool has_rowid;
    bool has_place;
    int64_t place; /* rowid up to which rows are in the target */
    int64_t n_there;
    bool is_copied;
};

struct move {
    const struct move_setup *setup;
    const struct migration *list;
    unsigned n_list;
    struct arena *a;
    struct store sqlite; /* only what connections need of one: it is not open */
    struct sqlite_conn sources[DB_IDS];
    struct pg_pool *pool;
    struct pg_conn *target;
    uuid id;
    struct table *tables;
    unsigned n_tables;
    struct move_report *report;
};

/* catalogue.c: reads the tables of both sides into m->tables; ERR_CONFIG when they are not the same. */
WARN_UNUSED enum errc move_catalogue(struct move *m, err *e);

/* copy.c: the rows that are missing, table by table; what stands in catalyst_move.tables is where they begin. */
WARN_UNUSED enum errc move_copy(struct move *m, err *e);

/* compare.c: fills hashes and differences. ERR_CORRUPT when there are any. */
WARN_UNUSED enum errc move_compare(struct move *m, err *e);

/* rows.c */
/* A name or a text in quotes, quotes in it doubled, into text that becomes a statement. */
void move_add_name(struct buf *out, const char *name);
/* 'text' in the arena; NULL when it is exhausted. */
const char *move_literal(struct arena *a, const char *text);
void move_add_columns(struct buf *out, const struct table *t);
/* One statement on SQLite; the text must be all of `text`. */
WARN_UNUSED enum errc move_prepare(struct move *m, enum db_id db, const struct buf *text, sqlite3_stmt **out,
                                   err *e);
/* The values of the row that the statement stands on, from its column `first` on, valid until its next step. ERR_CORRUPT: a value that
 * PostgreSQL's column cannot hold; the message names table, key and column. */
WARN_UNUSED enum errc move_read_row(const struct table *t, sqlite3_stmt *s, int first, struct val *out,
                                    err *e);
/* "id = 7, person_id = 01a2…": the row's key, cut to fit. */
void move_key_text(const struct table *t, const struct val *row, char *out, size_t size);
/* Statements without rows, the target's search_path is empty. */
WARN_UNUSED enum errc move_do(struct move *m, const char *what, err *e, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* A query's rows as texts; PQclear by the caller. */
WARN_UNUSED enum errc move_ask(struct move *m, const char *text, PGresult **out, err *e);

/* marker.c */
WARN_UNUSED enum errc moved_write(const char *data_dir, const struct moved *m,
                                  const struct move_report *report, err *e);
WARN_UNUSED enum errc moved_remove(const char *data_dir, err *e);

#endif
