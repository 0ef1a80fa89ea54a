/* compare.c - reads both sides in the order of the key, and compares the SHA-256 of each pair of rows.
 *
 * A row is hashed over its values as they were read: a byte for the type, then the integer or the bits of the real (eight bytes, big endian),
 * or the length (eight bytes) and the bytes. Keys compare alike on both sides: integers as such, texts (collation C) and bytes by memcmp.
 */
#include <endian.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crypto.h"
#include "store/move/internal.h"

#define TELL_ROWS 5000
#define SHOWN_MAX 10 /* differences of one table that are told one by one */

struct side {
    struct val *row;
    bool has_row;
};

struct comparing {
    struct move *m;
    struct table *t;
    sqlite3_stmt *s;
    struct side source, target;
    char *message; /* of the COPY: target.row's texts lie in it */
    int message_len, at;
    bool is_head_read;
    struct buf bytes; /* of the row that is hashed */
    EVP_MD_CTX *all;
    char what[128];
};

/* --- the target's rows --- */

static bool take(struct comparing *c, size_t n, const char **out)
{
    if ((size_t)(c->message_len - c->at) < n) return false;
    *out = c->message + c->at;
    c->at += (int)n;
    return true;
}

static bool take_i32(struct comparing *c, int32_t *out)
{
    const char *p;
    uint32_t v;
    if (!take(c, sizeof v, &p)) return false;
    memcpy(&v, p, sizeof v);
    *out = (int32_t)be32toh(v);
    return true;
}

static bool take_head(struct comparing *c)
{
    const char *p;
    int32_t flags, extension;
    c->is_head_read = true;
    return take(c, 11, &p) && take_i32(c, &flags) && take_i32(c, &extension) && extension >= 0 &&
           take(c, (size_t)extension, &p);
}

static bool take_value(struct comparing *c, char type, struct val *out)
{
    int32_t len;
    const char *p;
    uint64_t bits;
    if (!take_i32(c, &len)) return false;
    *out = v_null();
    if (len < 0) return true;
    if (!take(c, (size_t)len, &p)) return false;
    if (type == 't') *out = v_text(str_of(p, (size_t)len));
    if (type == 'b' || type == 'u') *out = v_blob(str_of(p, (size_t)len));
    if (type != 'i' && type != 'r') return true;
    if (len != sizeof bits) return false;
    memcpy(&bits, p, sizeof bits);
    bits = be64toh(bits);
    *out = type == 'i' ? v_int((int64_t)bits) : v_real(0);
    if (type == 'r') memcpy(&out->r, &bits, sizeof bits);
    return true;
}

/* What is left of a message holds the next row, its end (-1), or nothing. */
static enum errc next_target(struct comparing *c, err *e)
{
    const char *p;
    c->target.has_row = false;
    while (c->at == c->message_len) {
        PQfreemem(c->message);
        c->at = 0;
        enum errc rc = pg_copy_next(c->m->target, c->what, &c->message, &c->message_len, e);
        if (rc || !c->message) {
            c->message_len = 0;
            return rc;
        }
        if (!c->is_head_read && !take_head(c))
            return err_set(e, ERR_INTERNAL, "%s: COPY has another form", c->what);
    }
    if (!take(c, 2, &p)) return err_set(e, ERR_INTERNAL, "%s: COPY has another form", c->what);
    if (memcmp(p, "\377\377", 2) == 0) return next_target(c, e);
    for (unsigned i = 0; i < c->t->n_columns; i++)
        if (!take_value(c, c->t->columns[i].type, &c->target.row[i]))
            return err_set(e, ERR_INTERNAL, "%s: COPY has another form", c->what);
    c->target.has_row = true;
    c->t->said.n_target++;
    return ERR_NONE;
}

static enum errc next_source(struct comparing *c, err *e)
{
    int stepped = sqlite3_step(c->s);
    c->source.has_row = stepped == SQLITE_ROW;
    if (stepped == SQLITE_ROW) return move_read_row(c->t, c->s, 0, c->source.row, e);
    return stepped == SQLITE_DONE ? ERR_NONE
                                  : sqlite_error(c->m->sources[c->t->said.db].db, stepped, c->what, e);
}

/* --- comparing --- */

static void hash_row(struct comparing *c, const struct val *row, uint8_t out[SHA256_LEN])
{
    struct buf *b = &c->bytes;
    buf_clear(b);
    for (unsigned i = 0; i < c->t->n_columns; i++) {
        const struct val *v = &row[i];
        bool has_bytes = v->type == VAL_TEXT || v->type == VAL_BLOB;
        uint64_t bits = 0;
        if (has_bytes)
            bits = v->s.len;
        else if (v->type != VAL_NULL)
            memcpy(&bits, &v->i, sizeof bits);
        bits = htobe64(bits);
        buf_add_char(b, (char)v->type);
        buf_add(b, str_of((const char *)&bits, sizeof bits));
        if (has_bytes) buf_add(b, v->s);
    }
    sha256(buf_str(b), out);
}

static int compare_values(const struct val *a, const struct val *b)
{
    if (a->type == VAL_NULL || b->type == VAL_NULL) return (a->type != VAL_NULL) - (b->type != VAL_NULL);
    if (a->type == VAL_INT) return (a->i > b->i) - (a->i < b->i);
    if (a->type == VAL_REAL) return (a->r > b->r) - (a->r < b->r);
    size_t n = a->s.len < b->s.len ? a->s.len : b->s.len;
    int by_bytes = n ? memcmp(a->s.p, b->s.p, n) : 0;
    return by_bytes ? by_bytes : (a->s.len > b->s.len) - (a->s.len < b->s.len);
}

/* Below 0: the source's row comes first, so the target lacks it. */
static int compare_keys(const struct comparing *c)
{
    if (!c->source.has_row || !c->target.has_row) return c->target.has_row - c->source.has_row;
    for (unsigned i = 0; i < c->t->n_key; i++) {
        int order = compare_values(&c->source.row[c->t->key[i]], &c->target.row[c->t->key[i]]);
        if (order) return order;
    }
    return 0;
}

static void tell(struct comparing *c, const struct val *row, const char *how)
{
    char text[768], key[256];
    unsigned n_columns = 0;
    if (c->t->said.n_differences++ >= SHOWN_MAX || !c->m->setup->differs) return;
    move_key_text(c->t, row, key, sizeof key);
    int n = snprintf(text, sizeof text, "%s.%s: the row with %s %s", db_names[c->t->said.db], c->t->said.name,
                     key, how);
    for (unsigned i = 0; i < c->t->n_columns && !*how && n > 0 && (size_t)n < sizeof text; i++)
        if (c->source.row[i].type != c->target.row[i].type ||
            compare_values(&c->source.row[i], &c->target.row[i]) != 0)
            n += snprintf(text + n, sizeof text - (size_t)n, "%s%s", n_columns++ ? ", " : "differs in ",
                          c->t->columns[i].name);
    c->m->setup->differs(c->m->setup->ctx, str_c(text));
}

static enum errc compare_pair(struct comparing *c, int order, err *e)
{
    uint8_t of_source[SHA256_LEN], of_target[SHA256_LEN];
    enum errc rc = ERR_NONE;
    if (order <= 0) {
        hash_row(c, c->source.row, of_source);
        if (!EVP_DigestUpdate(c->all, of_source, sizeof of_source)) return err_code(e, ERR_INTERNAL);
    }
    if (order == 0) {
        hash_row(c, c->target.row, of_target);
        if (memcmp(of_source, of_target, sizeof of_source) != 0) tell(c, c->source.row, "");
    } else {
        tell(c, order < 0 ? c->source.row : c->target.row,
             order < 0 ? "is not in PostgreSQL" : "is only in PostgreSQL");
    }
    if (buf_err(&c->bytes)) return err_code(e, buf_err(&c->bytes));
    if (order <= 0) rc = next_source(c, e);
    if (!rc && order >= 0) rc = next_target(c, e);
    return rc;
}

static void add_order(struct buf *text, const struct table *t, bool is_postgres)
{
    buf_add(text, S(" ORDER BY "));
    for (unsigned i = 0; i < t->n_key; i++) {
        if (i) buf_add(text, S(", "));
        move_add_name(text, t->columns[t->key[i]].name);
        if (is_postgres && t->columns[t->key[i]].key < 0) buf_add(text, S(" NULLS FIRST"));
    }
}

static enum errc begin(struct comparing *c, err *e)
{
    struct buf text;
    buf_init(&text, 64u << 10);
    buf_add(&text, S("SELECT "));
    move_add_columns(&text, c->t);
    buf_add(&text, S(" FROM "));
    move_add_name(&text, c->t->said.name);
    add_order(&text, c->t, false);
    enum errc rc = move_prepare(c->m, c->t->said.db, &text, &c->s, e);
    buf_clear(&text);
    buf_add(&text, S("COPY (SELECT "));
    move_add_columns(&text, c->t);
    buf_add(&text, S(" FROM "));
    buf_add(&text, str_c(c->t->full));
    add_order(&text, c->t, true);
    buf_add(&text, S(") TO STDOUT (FORMAT binary)"));
    buf_add_char(&text, '\0');
    if (!rc && buf_err(&text)) rc = err_code(e, buf_err(&text));
    if (!rc) rc = pg_copy_out(c->m->target, text.p, c->what, e);
    buf_fini(&text);
    c->source.row = calloc(c->t->n_columns, sizeof *c->source.row);
    c->target.row = calloc(c->t->n_columns, sizeof *c->target.row);
    c->all = EVP_MD_CTX_new();
    if (!rc &&
        (!c->source.row || !c->target.row || !c->all || !EVP_DigestInit_ex(c->all, EVP_sha256(), NULL)))
        rc = err_code(e, ERR_NO_MEMORY);
    return rc;
}

static enum errc compare_table(struct move *m, struct table *t, err *e)
{
    struct comparing c = {.m = m, .t = t};
    int64_t n = 0;
    t->said.n_target = t->said.n_differences = 0;
    snprintf(c.what, sizeof c.what, "comparing %s.%s", db_names[t->said.db], t->said.name);
    buf_init(&c.bytes, ROW_MAX);
    enum errc rc = begin(&c, e);
    if (!rc) rc = next_source(&c, e);
    if (!rc) rc = next_target(&c, e);
    while (!rc && (c.source.has_row || c.target.has_row)) {
        rc = compare_pair(&c, compare_keys(&c), e);
        if (++n % TELL_ROWS == 0 && m->setup->progress)
            m->setup->progress(m->setup->ctx, MOVE_COMPARES, &t->said, n);
    }
    if (!rc && !EVP_DigestFinal_ex(c.all, t->said.hash, NULL)) rc = err_code(e, ERR_INTERNAL);
    if (!rc && m->setup->progress) m->setup->progress(m->setup->ctx, MOVE_COMPARES, &t->said, n);
    EVP_MD_CTX_free(c.all);
    sqlite3_finalize(c.s);
    PQfreemem(c.message);
    free(c.source.row);
    free(c.target.row);
    buf_fini(&c.bytes);
    return rc;
}

/* --- what identities will give next --- */

static enum errc compare_identity(struct move *m, struct table *t, const struct move_column *column, err *e)
{
    struct buf text;
    sqlite3_stmt *s = NULL;
    PGresult *r = NULL;
    int64_t given = 0;
    char said[256];
    buf_init(&text, 4096);
    buf_addf(&text, "SELECT seq FROM sqlite_sequence WHERE name = %s", t->literal);
    enum errc rc = move_prepare(m, t->said.db, &text, &s, e);
    if (!rc && sqlite3_step(s) == SQLITE_ROW) given = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    buf_clear(&text);
    buf_addf(&text, "SELECT COALESCE(pg_sequence_last_value(pg_get_serial_sequence(%s, %s)), 0)",
             t->full_literal, column->literal);
    buf_add_char(&text, '\0');
    if (!rc) rc = move_ask(m, text.p, &r, e);
    if (!rc && atoll(PQgetvalue(r, 0, 0)) < given) {
        t->said.n_differences++;
        snprintf(said, sizeof said,
                 "%s.%s: PostgreSQL would give %s numbers that SQLite has given already (up to %lld)",
                 db_names[t->said.db], t->said.name, column->name, (long long)given);
        if (m->setup->differs) m->setup->differs(m->setup->ctx, str_c(said));
    }
    PQclear(r);
    buf_fini(&text);
    return rc;
}

enum errc move_compare(struct move *m, err *e)
{
    enum errc rc = pg_run(m->target, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "comparing", e);
    m->report->n_differences = 0;
    for (unsigned i = 0; i < m->n_tables && !rc; i++) {
        struct table *t = &m->tables[i];
        rc = compare_table(m, t, e);
        for (unsigned k = 0; k < t->n_columns && !rc; k++)
            if (t->columns[k].is_identity) rc = compare_identity(m, t, &t->columns[k], e);
        m->report->n_differences += t->said.n_differences;
    }
    if (!rc) rc = pg_run(m->target, "COMMIT", "comparing", e);
    if (rc || !m->report->n_differences) return rc;
    return err_set(e, ERR_CORRUPT, "SQLite and PostgreSQL differ in %lld rows",
                   (long long)m->report->n_differences);
}
