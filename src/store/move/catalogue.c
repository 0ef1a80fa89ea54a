/* catalogue.c - which tables and columns there are, by the catalogues of both sides.
 *
 * PostgreSQL's says the types, for SQLite has none; SQLite's must have the same tables and columns. The history of the schema is each
 * side's own and is not among them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "store/move/internal.h"

/* One row a column; key: its place in the primary key, -1 when it is not in it. */
static const char columns_query[] =
    "SELECT n.nspname, c.relname, a.attname, a.atttypid, a.attidentity <> '', "
    "COALESCE(array_position(i.indkey::int2[], a.attnum), -1) "
    "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
    "LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisprimary "
    "WHERE n.nspname IN ('main', 'usage', 'people') AND c.relkind = 'r' AND c.relname <> 'schema_migrations' "
    "ORDER BY array_position(ARRAY['people', 'main', 'usage'], n.nspname::text), c.relname, a.attnum";

static enum db_id database_of(const char *name)
{
    int id = 0;
    while (id < DB_IDS && strcmp(db_names[id], name) != 0)
        id++;
    return (enum db_id)id;
}

static char letter_of(const char *oid)
{
    switch (atoll(oid)) {
    case 20: return 'i';
    case 701: return 'r';
    case 25: return 't';
    case 17: return 'b';
    case 2950: return 'u';
    default: return '\0';
    }
}

static enum errc name_table(struct move *m, struct table *t, err *e)
{
    struct buf b;
    buf_init(&b, 4096);
    move_add_name(&b, db_names[t->said.db]);
    buf_add_char(&b, '.');
    move_add_name(&b, t->said.name);
    t->full = buf_err(&b) ? NULL : str_to_c(m->a, buf_str(&b));
    buf_fini(&b);
    t->literal = move_literal(m->a, t->said.name);
    t->full_literal = t->full ? move_literal(m->a, t->full) : NULL;
    return t->literal && t->full_literal ? ERR_NONE : err_code(e, ERR_NO_MEMORY);
}

/* The rows [from, to) of the query are the columns of one table. */
static enum errc add_table(struct move *m, PGresult *r, int from, int to, err *e)
{
    struct table *t = &m->tables[m->n_tables++];
    const char *name = str_to_c(m->a, str_c(PQgetvalue(r, from, 1)));
    unsigned n = (unsigned)(to - from), n_key = 0, *key = arena_news(m->a, unsigned, n);
    t->said.db = database_of(PQgetvalue(r, from, 0));
    t->said.name = name;
    t->columns = arena_news(m->a, struct move_column, n);
    if (!name || !t->columns || !key) return err_code(e, ERR_NO_MEMORY);
    for (int row = from; row < to; row++) {
        struct move_column *c = &t->columns[t->n_columns++];
        c->name = str_to_c(m->a, str_c(PQgetvalue(r, row, 2)));
        c->type = letter_of(PQgetvalue(r, row, 3));
        c->is_identity = *PQgetvalue(r, row, 4) == 't';
        c->key = atoi(PQgetvalue(r, row, 5));
        c->literal = c->name ? move_literal(m->a, c->name) : NULL;
        if (!c->literal) return err_code(e, ERR_NO_MEMORY);
        if (!c->type)
            return err_set(e, ERR_CONFIG, "the column %s.%s.%s has a type that migrations do not give",
                           db_names[t->said.db], name, c->name);
        n_key += c->key >= 0;
    }
    for (unsigned i = 0; i < t->n_columns; i++) {
        unsigned place = 0; /* indkey counts from 0, but only its order is relied on */
        for (unsigned k = 0; k < t->n_columns; k++)
            place += t->columns[k].key >= 0 && t->columns[k].key < t->columns[i].key;
        if (!n_key) key[i] = i;
        if (t->columns[i].key >= 0) key[place] = i;
    }
    t->key = key;
    t->n_key = n_key ? n_key : t->n_columns;
    return name_table(m, t, e);
}

static enum errc read_target(struct move *m, err *e)
{
    PGresult *r = NULL;
    enum errc rc = move_ask(m, columns_query, &r, e);
    int n = rc ? 0 : PQntuples(r);
    m->tables = arena_news(m->a, struct table, (size_t)n + 1);
    if (!rc && !m->tables) rc = err_code(e, ERR_NO_MEMORY);
    for (int from = 0, to; from < n && !rc; from = to) {
        for (to = from + 1; to < n; to++)
            if (strcmp(PQgetvalue(r, from, 0), PQgetvalue(r, to, 0)) != 0 ||
                strcmp(PQgetvalue(r, from, 1), PQgetvalue(r, to, 1)) != 0)
                break;
        rc = add_table(m, r, from, to, e);
    }
    PQclear(r);
    return rc;
}

static struct table *find_table(struct move *m, enum db_id db, const char *name)
{
    for (unsigned i = 0; i < m->n_tables; i++)
        if (m->tables[i].said.db == db && strcmp(m->tables[i].said.name, name) == 0) return &m->tables[i];
    return NULL;
}

static bool has_column(const struct table *t, const char *name)
{
    for (unsigned i = 0; i < t->n_columns; i++)
        if (strcmp(t->columns[i].name, name) == 0) return true;
    return false;
}

/* Ends the run of a statement; its error, if it had one. */
static enum errc end_statement(struct move *m, enum db_id db, sqlite3_stmt *s, int stepped, enum errc rc,
                               err *e)
{
    if (!rc && stepped != SQLITE_DONE) rc = sqlite_error(m->sources[db].db, stepped, "reading SQLite", e);
    sqlite3_finalize(s);
    return rc;
}

/* Every column of SQLite must be in the target; n_seen counts them, so that one that only the target has is found, too. */
static enum errc match_source(struct move *m, enum db_id db, unsigned *n_seen, err *e)
{
    struct buf text;
    sqlite3_stmt *s = NULL;
    int stepped = SQLITE_DONE;
    buf_init(&text, 1024);
    buf_add(
        &text,
        S("SELECT t.name, c.name, l.wr FROM sqlite_master t, pragma_table_xinfo(t.name) c, "
          "pragma_table_list(t.name) l "
          "WHERE t.type = 'table' AND c.hidden = 0 AND l.schema = 'main' AND t.name <> 'schema_migrations' "
          "AND substr(t.name, 1, 7) <> 'sqlite_'"));
    enum errc rc = move_prepare(m, db, &text, &s, e);
    while (!rc && (stepped = sqlite3_step(s)) == SQLITE_ROW) {
        const char *table = (const char *)sqlite3_column_text(s, 0),
                   *column = (const char *)sqlite3_column_text(s, 1);
        struct table *t = find_table(m, db, table ? table : "");
        if (!t || !column || !has_column(t, column)) {
            rc = err_set(e, ERR_CONFIG, "PostgreSQL has no %s.%s.%s, which SQLite has", db_names[db], table,
                         column);
            break;
        }
        t->has_rowid = sqlite3_column_int(s, 2) == 0;
        ++*n_seen;
    }
    rc = end_statement(m, db, s, stepped, rc, e);
    buf_fini(&text);
    return rc;
}

static enum errc count_rows(struct move *m, struct table *t, err *e)
{
    struct buf text;
    sqlite3_stmt *s = NULL;
    int stepped = SQLITE_DONE;
    buf_init(&text, 1024);
    buf_add(&text, S("SELECT COUNT(*) FROM "));
    move_add_name(&text, t->said.name);
    enum errc rc = move_prepare(m, t->said.db, &text, &s, e);
    while (!rc && (stepped = sqlite3_step(s)) == SQLITE_ROW)
        t->said.n_rows = sqlite3_column_int64(s, 0);
    rc = end_statement(m, t->said.db, s, stepped, rc, e);
    buf_fini(&text);
    return rc;
}

enum errc move_catalogue(struct move *m, err *e)
{
    unsigned n_seen = 0, n_columns = 0;
    enum errc rc = read_target(m, e);
    for (int db = 0; db < DB_IDS && !rc; db++)
        rc = match_source(m, (enum db_id)db, &n_seen, e);
    for (unsigned i = 0; i < m->n_tables; i++)
        n_columns += m->tables[i].n_columns;
    if (!rc && n_seen != n_columns)
        rc = err_set(e, ERR_CONFIG, "PostgreSQL has %u columns, SQLite %u: they are not of the same schema",
                     n_columns, n_seen);
    for (unsigned i = 0; i < m->n_tables && !rc; i++)
        rc = count_rows(m, &m->tables[i], e);
    return rc;
}
