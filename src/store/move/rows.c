/* rows.c - statements that are made from a catalogue, and the values of rows. */
#include <stdio.h>

#include "base/utf8.h"
#include "store/move/internal.h"

static void add_quoted(struct buf *out, const char *text, char quote)
{
    buf_add_char(out, quote);
    for (const char *p = text; *p; p++) {
        if (*p == quote) buf_add_char(out, quote);
        buf_add_char(out, *p);
    }
    buf_add_char(out, quote);
}

void move_add_name(struct buf *out, const char *name) { add_quoted(out, name, '"'); }

const char *move_literal(struct arena *a, const char *text)
{
    struct buf b;
    const char *out = NULL;
    buf_init(&b, 4096);
    add_quoted(&b, text, '\'');
    if (!buf_err(&b)) out = str_to_c(a, buf_str(&b));
    buf_fini(&b);
    return out;
}

void move_add_columns(struct buf *out, const struct table *t)
{
    for (unsigned i = 0; i < t->n_columns; i++) {
        if (i) buf_add(out, S(", "));
        move_add_name(out, t->columns[i].name);
    }
}

enum errc move_prepare(struct move *m, enum db_id db, const struct buf *text, sqlite3_stmt **out, err *e)
{
    struct sqlite_conn *c = &m->sources[db];
    *out = NULL;
    if (buf_err(text)) return err_code(e, buf_err(text));
    int rc = sqlite3_prepare_v2(c->db, text->p, (int)text->len, out, NULL);
    return rc == SQLITE_OK ? ERR_NONE : sqlite_error(c->db, rc, "reading SQLite", e);
}

/* --- values --- */

static size_t add_value(char *out, size_t size, const struct val *v)
{
    size_t n = 0;
    int wrote = 0;
    switch (v->type) {
    case VAL_NULL: wrote = snprintf(out, size, "NULL"); break;
    case VAL_INT: wrote = snprintf(out, size, "%lld", (long long)v->i); break;
    case VAL_REAL: wrote = snprintf(out, size, "%.17g", v->r); break;
    case VAL_TEXT: wrote = snprintf(out, size, "'%.*s'", STR(utf8_take(v->s, 40))); break;
    case VAL_BLOB:
        for (size_t i = 0; i < v->s.len && i < 16 && n + 3 < size; i++)
            n += (size_t)snprintf(out + n, size - n, "%02x", (uint8_t)v->s.p[i]);
        return n;
    }
    return wrote < 0 ? 0 : (size_t)wrote < size ? (size_t)wrote : size - 1;
}

void move_key_text(const struct table *t, const struct val *row, char *out, size_t size)
{
    size_t n = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < t->n_key && n + 8 < size; i++) {
        int wrote = snprintf(out + n, size - n, "%s%s = ", i ? ", " : "", t->columns[t->key[i]].name);
        if (wrote < 0 || (size_t)wrote >= size - n) return;
        n += (size_t)wrote;
        n += add_value(out + n, size - n, &row[t->key[i]]);
    }
}

static bool is_held_by(char type, const struct val *v)
{
    switch (type) {
    case 'i': return v->type == VAL_INT;
    case 'r': return v->type == VAL_REAL;
    case 't': return v->type == VAL_TEXT && !memchr(v->s.p, 0, v->s.len) && utf8_is_valid(v->s);
    case 'u': return v->type == VAL_BLOB && v->s.len == sizeof(uuid);
    default: return v->type == VAL_BLOB;
    }
}

static void read_value(sqlite3_stmt *s, int at, struct val *v)
{
    const char *p;
    switch (sqlite3_column_type(s, at)) {
    case SQLITE_INTEGER: *v = v_int(sqlite3_column_int64(s, at)); return;
    case SQLITE_FLOAT: *v = v_real(sqlite3_column_double(s, at)); return;
    case SQLITE_TEXT:
        p = (const char *)sqlite3_column_text(s, at);
        *v = v_text(str_of(p ? p : "", (size_t)sqlite3_column_bytes(s, at)));
        return;
    case SQLITE_BLOB:
        p = sqlite3_column_blob(s, at);
        *v = v_blob(str_of(p ? p : "", (size_t)sqlite3_column_bytes(s, at)));
        return;
    default: *v = v_null();
    }
}

enum errc move_read_row(const struct table *t, sqlite3_stmt *s, int first, struct val *out, err *e)
{
    char key[96];
    unsigned wrong = t->n_columns;
    for (unsigned i = 0; i < t->n_columns; i++) {
        read_value(s, first + (int)i, &out[i]);
        if (out[i].type != VAL_NULL && wrong == t->n_columns && !is_held_by(t->columns[i].type, &out[i]))
            wrong = i;
    }
    if (wrong == t->n_columns) return ERR_NONE;
    move_key_text(t, out, key, sizeof key);
    return err_set(e, ERR_CORRUPT,
                   "the table %s.%s holds in %s, in the row with %s, what PostgreSQL's column cannot",
                   db_names[t->said.db], t->said.name, t->columns[wrong].name, key);
}

/* --- the target --- */

enum errc move_do(struct move *m, const char *what, err *e, const char *fmt, ...)
{
    char text[4096];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof text)
        return err_set(e, ERR_TOO_LARGE, "%s: the statement is too long", what);
    return pg_run(m->target, text, what, e);
}

enum errc move_ask(struct move *m, const char *text, PGresult **out, err *e)
{
    *out = NULL;
    m->target->runs_again = false;
    if (!PQsendQuery(m->target->pg, text)) return pg_error(m->target, NULL, "asking PostgreSQL", e);
    return pg_finish(m->target, "asking PostgreSQL", out, e);
}
