/* copy.c - the rows of SQLite into PostgreSQL, by binary COPY.
 *
 * A batch is one transaction: its rows, and in catalyst_move.tables the rowid of the last one. Nothing waits for PostgreSQL's disk before
 * the end: what a crash of the server takes away it takes away together.
 */
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/move/internal.h"

#define BATCH_ROWS 50000
#define BATCH_BYTES (32u << 20)
#define SEND_BYTES (256u << 10)
#define TELL_ROWS 5000

static const char copy_head[] =
    "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0"; /* signature, flags, length of the extension */

struct copying {
    struct move *m;
    struct table *t;
    sqlite3_stmt *s;
    struct val *row;
    struct buf out;
    char what[128];
    int64_t n_rows, n_bytes; /* of this batch */
};

static void add_i32(struct buf *b, int32_t v)
{
    uint32_t big = htobe32((uint32_t)v);
    buf_add(b, str_of((const char *)&big, sizeof big));
}

static void add_row(struct copying *c)
{
    uint16_t n = htobe16((uint16_t)c->t->n_columns);
    size_t before = c->out.len;
    buf_add(&c->out, str_of((const char *)&n, sizeof n));
    for (unsigned i = 0; i < c->t->n_columns; i++) {
        const struct val *v = &c->row[i];
        uint64_t bits;
        switch (v->type) {
        case VAL_NULL: add_i32(&c->out, -1); break;
        case VAL_INT:
        case VAL_REAL:
            memcpy(&bits, &v->i, sizeof bits); /* of either: both take eight bytes */
            bits = htobe64(bits);
            add_i32(&c->out, sizeof bits);
            buf_add(&c->out, str_of((const char *)&bits, sizeof bits));
            break;
        default: add_i32(&c->out, (int32_t)v->s.len); buf_add(&c->out, v->s);
        }
    }
    c->n_rows++;
    c->n_bytes += (int64_t)(c->out.len - before);
}

/* Reads rows into the COPY until the batch is full or *is_end; *place is the rowid of the last one. */
static enum errc send_rows(struct copying *c, int64_t *place, bool *is_end, err *e)
{
    enum errc rc = ERR_NONE;
    unsigned most = c->m->setup->batch_rows ? c->m->setup->batch_rows : BATCH_ROWS;
    bool may_stop = c->t->has_rowid; /* without one there is no place to go on from */
    while (!rc && !(may_stop && (c->n_rows >= most || c->n_bytes >= BATCH_BYTES))) {
        int stepped = sqlite3_step(c->s);
        *is_end = stepped == SQLITE_DONE;
        if (*is_end) break;
        if (stepped != SQLITE_ROW) return sqlite_error(c->m->sources[c->t->said.db].db, stepped, c->what, e);
        rc = move_read_row(c->t, c->s, 1, c->row, e);
        if (rc) return rc;
        *place = sqlite3_column_int64(c->s, 0);
        add_row(c);
        if (buf_err(&c->out))
            return err_set(e, buf_err(&c->out), "%s: a row is larger than PostgreSQL takes", c->what);
        if (c->out.len >= SEND_BYTES) {
            rc = pg_copy_put(c->m->target, c->what, buf_str(&c->out), e);
            buf_clear(&c->out);
        }
        if ((c->t->n_there + c->n_rows) % TELL_ROWS == 0 && c->m->setup->progress)
            c->m->setup->progress(c->m->setup->ctx, MOVE_COPIES, &c->t->said, c->t->n_there + c->n_rows);
    }
    return rc;
}

static enum errc copy_batch(struct copying *c, bool *is_end, err *e)
{
    struct buf text;
    struct move *m = c->m;
    int64_t place = c->t->place;
    c->n_rows = c->n_bytes = 0;
    buf_init(&text, 64u << 10);
    buf_add(&text, S("COPY "));
    buf_add(&text, str_c(c->t->full));
    buf_add(&text, S(" ("));
    move_add_columns(&text, c->t);
    buf_add(&text, S(") FROM STDIN (FORMAT binary)"));
    buf_add_char(&text, '\0');
    buf_clear(&c->out);
    buf_add(&c->out, str_of(copy_head, sizeof copy_head - 1));
    enum errc rc = buf_err(&text) ? err_code(e, buf_err(&text)) : pg_run(m->target, "BEGIN", c->what, e);
    if (!rc) rc = pg_copy_in(m->target, text.p, c->what, e);
    if (!rc) rc = send_rows(c, &place, is_end, e);
    if (!rc) buf_add(&c->out, S("\377\377"));
    if (!rc) rc = pg_copy_put(m->target, c->what, buf_str(&c->out), e);
    if (!rc) rc = pg_copy_end(m->target, c->what, e);
    if (!rc)
        rc = move_do(m, c->what, e,
                     "UPDATE catalyst_move.tables SET place = %lld, n_rows = n_rows + %lld, is_copied = %s "
                     "WHERE database = '%s' AND name = %s; COMMIT",
                     (long long)place, (long long)c->n_rows, *is_end ? "true" : "false",
                     db_names[c->t->said.db], c->t->literal);
    buf_fini(&text);
    if (rc) return rc;
    c->t->place = place;
    c->t->n_there += c->n_rows;
    m->report->n_copied += c->n_rows;
    m->report->n_bytes += c->n_bytes;
    return ERR_NONE;
}

static enum errc begin_table(struct copying *c, err *e)
{
    struct buf text;
    buf_init(&text, 64u << 10);
    buf_add(&text, c->t->has_rowid ? S("SELECT rowid, ") : S("SELECT 0, "));
    move_add_columns(&text, c->t);
    buf_add(&text, S(" FROM "));
    move_add_name(&text, c->t->said.name);
    if (c->t->has_place) buf_add(&text, S(" WHERE rowid > ?1"));
    if (c->t->has_rowid) buf_add(&text, S(" ORDER BY rowid"));
    enum errc rc = move_prepare(c->m, c->t->said.db, &text, &c->s, e);
    buf_fini(&text);
    if (!rc && c->t->has_place) sqlite3_bind_int64(c->s, 1, c->t->place);
    c->row = rc ? NULL : calloc(c->t->n_columns, sizeof *c->row);
    return rc || c->row ? rc : err_code(e, ERR_NO_MEMORY);
}

static enum errc copy_table(struct move *m, struct table *t, err *e)
{
    struct copying c = {.m = m, .t = t};
    snprintf(c.what, sizeof c.what, "copying %s.%s", db_names[t->said.db], t->said.name);
    buf_init(&c.out, ROW_MAX);
    enum errc rc = begin_table(&c, e);
    for (bool is_end = false; !rc && !is_end;)
        rc = copy_batch(&c, &is_end, e);
    sqlite3_finalize(c.s);
    free(c.row);
    buf_fini(&c.out);
    t->is_copied = !rc;
    if (!rc && m->setup->progress) m->setup->progress(m->setup->ctx, MOVE_COPIES, &t->said, t->n_there);
    return rc;
}

/* How far each table has come. */
static enum errc read_places(struct move *m, err *e)
{
    PGresult *r = NULL;
    enum errc rc =
        move_ask(m, "SELECT database, name, place, n_rows, is_copied FROM catalyst_move.tables", &r, e);
    for (int i = 0; !rc && i < PQntuples(r); i++)
        for (unsigned k = 0; k < m->n_tables; k++) {
            struct table *t = &m->tables[k];
            if (strcmp(db_names[t->said.db], PQgetvalue(r, i, 0)) != 0 ||
                strcmp(t->said.name, PQgetvalue(r, i, 1)) != 0)
                continue;
            t->has_place = !PQgetisnull(r, i, 2);
            t->place = t->has_place ? atoll(PQgetvalue(r, i, 2)) : 0;
            t->n_there = atoll(PQgetvalue(r, i, 3));
            t->is_copied = *PQgetvalue(r, i, 4) == 't';
        }
    PQclear(r);
    return rc;
}

enum errc move_copy(struct move *m, err *e)
{
    enum errc rc = read_places(m, e);
    for (unsigned i = 0; i < m->n_tables && !rc; i++)
        if (!m->tables[i].is_copied) rc = copy_table(m, &m->tables[i], e);
    return rc;
}
