/* list.c - statements of lists: a base, the filters that are set, the place where the last page ended.
 *
 * A cursor is hexadecimal: a checksum of the list it belongs to, then the values of the key's columns in the last
 * row. It says nothing that the client has not seen, and grants nothing: the base's own conditions stay.
 */
#include <stdlib.h>

#include "base/crypto.h"
#include "base/utf8.h"
#include "store/engine.h"

#define TEXT_MAX (64u << 10)
#define PARAMS_MAX 64u
#define CURSOR_MAX 4096u /* bytes before they become hexadecimal */
#define KEY_MAX 2u

struct list {
    struct arena *a;
    struct buf text, types;
    struct val params[PARAMS_MAX];
    unsigned n;
};

/* Adds a parameter; its number goes to the text. False when there are too many. */
static void add_param(struct list *l, char type, struct val v)
{
    if (l->n == PARAMS_MAX) {
        l->text.failed = ERR_TOO_LARGE;
        return;
    }
    l->params[l->n++] = v;
    buf_add_char(&l->types, type);
    buf_addf(&l->text, "$%u", l->n);
}

/* --- filters --- */

/* %text% in small letters, with what LIKE would take for a pattern escaped. */
static enum errc like_pattern(struct arena *a, str s, struct val *out)
{
    char *p = arena_bytes(a, s.len * 2 + 2);
    size_t n = 0;
    if (!p) return ERR_TOO_LARGE;
    p[n++] = '%';
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];
        if (c == '%' || c == '_' || c == '\\') p[n++] = '\\';
        p[n++] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
    }
    p[n++] = '%';
    *out = v_text(str_of(p, n));
    return ERR_NONE;
}

/* The smallest text greater than all that start with s: its last character that can be increased is, and what
 * follows is dropped. Empty when there is none. */
static enum errc prefix_end(struct arena *a, str s, str *out)
{
    *out = (str){0};
    while (s.len) {
        size_t at = s.len - 1;
        while (at && ((uint8_t)s.p[at] & 0xc0) == 0x80)
            at--;
        uint32_t cp = (uint8_t)s.p[at];
        if (cp >= 0x80) cp &= cp >= 0xf0 ? 0x07u : cp >= 0xe0 ? 0x0fu : 0x1fu;
        for (size_t i = at + 1; i < s.len; i++)
            cp = cp << 6 | ((uint8_t)s.p[i] & 0x3f);
        cp = cp == 0xd7ff ? 0xe000 : cp + 1;
        char next[4];
        unsigned len = utf8_encode(cp, next);
        if (len) {
            char *p = arena_bytes(a, at + len);
            if (!p) return ERR_TOO_LARGE;
            memcpy(p, s.p, at);
            memcpy(p + at, next, len);
            *out = str_of(p, at + len);
            return ERR_NONE;
        }
        s.len = at;
    }
    return ERR_NONE;
}

static enum errc add_prefix(struct list *l, const struct filter *f, err *e)
{
    str prefix = f->value.s, end;
    if (!utf8_is_valid(prefix)) return err_set(e, ERR_INVALID, "the filter of %s is not UTF-8", f->column);
    if (!prefix.len) return ERR_NONE;
    if (prefix_end(l->a, prefix, &end)) return err_code(e, ERR_TOO_LARGE);
    buf_addf(&l->text, " AND %s >= ", f->column);
    add_param(l, f->param, f->value);
    if (end.len) {
        buf_addf(&l->text, " AND %s < ", f->column);
        add_param(l, f->param, v_text(end));
    }
    return ERR_NONE;
}

static enum errc add_filter(struct list *l, const struct filter *f, err *e)
{
    static const char *const ops[] = {[FILTER_EQ] = "=", [FILTER_GE] = ">=", [FILTER_LT] = "<"};
    struct val pattern;
    if (f->value.type == VAL_NULL) return ERR_NONE;
    switch (f->op) {
    case FILTER_LIKE:
        if (like_pattern(l->a, f->value.s, &pattern)) return err_code(e, ERR_TOO_LARGE);
        buf_addf(&l->text, " AND LOWER(%s) LIKE ", f->column);
        add_param(l, 't', pattern);
        buf_add(&l->text, S(" ESCAPE '\\'"));
        return ERR_NONE;
    case FILTER_PREFIX: return add_prefix(l, f, e);
    default:
        buf_addf(&l->text, " AND %s %s ", f->column, ops[f->op]);
        add_param(l, f->param, f->value);
        return ERR_NONE;
    }
}

/* --- cursors --- */

static unsigned key_columns(const struct keyset *key) { return key->id_column ? 2 : 1; }

static void list_tag(const struct sql *base, const struct keyset *key, uint8_t out[4])
{
    uint32_t crc = crc32c(0, base->name, strlen(base->name) + 1);
    crc = crc32c(crc, key->column, strlen(key->column) + 1);
    if (key->id_column) crc = crc32c(crc, key->id_column, strlen(key->id_column) + 1);
    crc = crc32c(crc, key->is_descending ? "d" : "a", 1);
    for (unsigned i = 0; i < 4; i++)
        out[i] = (uint8_t)(crc >> 8 * i);
}

static enum errc make_cursor(struct arena *a, const struct sql *base, const struct keyset *key,
                             const struct val *row, str *out, err *e)
{
    uint8_t bytes[CURSOR_MAX], tag[4];
    size_t n = sizeof tag;
    list_tag(base, key, tag);
    memcpy(bytes, tag, sizeof tag);
    for (unsigned i = 0; i < key_columns(key); i++) {
        const struct val *v = &row[i];
        str s = v->type == VAL_TEXT || v->type == VAL_BLOB ? v->s : str_of((const char *)&v->i, sizeof v->i);
        if (v->type == VAL_NULL)
            return err_set(e, ERR_INTERNAL, "list %s: a column of its key is NULL", base->name);
        if (s.len > 0xffff || n + 2 + s.len > sizeof bytes)
            return err_set(e, ERR_INTERNAL, "list %s: a value of its key is too long", base->name);
        bytes[n++] = (uint8_t)(s.len & 0xff);
        bytes[n++] = (uint8_t)(s.len >> 8);
        memcpy(bytes + n, s.p ? s.p : "", s.len);
        n += s.len;
    }
    char *text = arena_bytes(a, 2 * n + 1);
    if (!text) return err_code(e, ERR_TOO_LARGE);
    *out = hex_encode(bytes, n, text);
    return ERR_NONE;
}

static bool read_key(char type, str s, struct val *out)
{
    switch (type) {
    case 'i':
        *out = v_int(0);
        if (s.len != sizeof out->i) return false;
        memcpy(&out->i, s.p, sizeof out->i);
        return true;
    case 'r':
        *out = v_real(0);
        if (s.len != sizeof out->r) return false;
        memcpy(&out->r, s.p, sizeof out->r);
        return true;
    case 't': *out = v_text(s); return utf8_is_valid(s) && !(s.len && memchr(s.p, 0, s.len));
    case 'u': *out = v_blob(s); return s.len == sizeof(uuid);
    case 'b': *out = v_blob(s); return true;
    default: return false;
    }
}

static enum errc read_cursor(struct arena *a, const struct sql *base, const struct keyset *key,
                             struct val out[KEY_MAX], err *e)
{
    size_t n = key->cursor.len / 2;
    uint8_t tag[4], *bytes = arena_alloc(a, n);
    const char types[KEY_MAX] = {key->param, key->id_param};
    list_tag(base, key, tag);
    if (!bytes) return err_code(e, ERR_TOO_LARGE);
    bool is_good = n <= CURSOR_MAX && n >= sizeof tag && hex_decode(key->cursor, bytes, n) &&
                   memcmp(bytes, tag, sizeof tag) == 0;
    str rest = str_of((const char *)bytes + sizeof tag, is_good ? n - sizeof tag : 0);
    for (unsigned i = 0; i < key_columns(key) && is_good; i++) {
        size_t len = rest.len >= 2 ? (uint8_t)rest.p[0] | (size_t)(uint8_t)rest.p[1] << 8 : SIZE_MAX;
        is_good = len <= rest.len - 2 && rest.len >= 2 &&
                  read_key(types[i], str_take(str_skip(rest, 2), len), &out[i]);
        if (is_good) rest = str_skip(rest, 2 + len);
    }
    return is_good && rest.len == 0 ? ERR_NONE
                                    : err_set(e, ERR_INVALID, "the cursor is not one of this list");
}

/* --- the list --- */

static enum errc add_place(struct list *l, const struct sql *base, const struct keyset *key, err *e)
{
    struct val at[KEY_MAX];
    const char *op = key->is_descending ? "<" : ">";
    if (!key->cursor.len) return ERR_NONE;
    enum errc rc = read_cursor(l->a, base, key, at, e);
    if (rc) return rc;
    if (!key->id_column) {
        buf_addf(&l->text, " AND %s %s ", key->column, op);
        add_param(l, key->param, at[0]);
        return ERR_NONE;
    }
    buf_addf(&l->text, " AND (%s, %s) %s (", key->column, key->id_column, op);
    add_param(l, key->param, at[0]);
    buf_add(&l->text, S(", "));
    add_param(l, key->id_param, at[1]);
    buf_add_char(&l->text, ')');
    return ERR_NONE;
}

static enum errc compose(struct list *l, struct tx *tx, const struct sql *base, const struct val *params,
                         unsigned n, const struct filter *filters, unsigned n_filters,
                         const struct keyset *key, err *e)
{
    const char *direction = key->is_descending ? " DESC" : "";
    if (n > PARAMS_MAX || n != strlen(base->params))
        return err_set(e, ERR_INTERNAL, "list %s takes %zu values, not %u", base->name, strlen(base->params),
                       n);
    buf_add(&l->text, str_c(sql_text(tx->db, base)));
    buf_add(&l->types, str_c(base->params));
    if (n) memcpy(l->params, params, n * sizeof *params);
    l->n = n;
    enum errc rc = ERR_NONE;
    for (unsigned i = 0; i < n_filters && !rc; i++)
        rc = add_filter(l, &filters[i], e);
    if (!rc) rc = add_place(l, base, key, e);
    if (rc) return rc;
    buf_addf(&l->text, " ORDER BY %s%s", key->column, direction);
    if (key->id_column) buf_addf(&l->text, ", %s%s", key->id_column, direction);
    buf_add(&l->text, S(" LIMIT "));
    add_param(l, 'i', v_int((int64_t)key->limit + 1));
    buf_add_char(&l->text, '\0');
    buf_add_char(&l->types, '\0');
    rc = buf_err(&l->text) ? buf_err(&l->text) : buf_err(&l->types);
    return rc ? err_set(e, rc, "list %s: too many filters", base->name) : ERR_NONE;
}

enum errc tx_list(struct tx *tx, struct arena *a, const struct sql *base, const struct val *params,
                  unsigned n, const struct filter *filters, unsigned n_filters, const struct keyset *key,
                  struct rows *out, str *next_cursor, err *e)
{
    struct list l = {.a = a};
    buf_init(&l.text, TEXT_MAX);
    buf_init(&l.types, PARAMS_MAX + 1);
    str cursor = {0}; /* next_cursor may be the key's own */
    *out = (struct rows){0};
    enum errc rc = compose(&l, tx, base, params, n, filters, n_filters, key, e);
    if (!rc) {
        struct sql made = *base;
        made.text = l.text.p;
        made.postgres = NULL;
        made.params = l.types.p;
        rc = tx_query_made(tx, a, &made, l.params, l.n, out, e);
    }
    if (!rc && out->n > key->limit) {
        out->n = key->limit;
        if (out->n) rc = make_cursor(a, base, key, row_at(out, out->n - 1), &cursor, e);
    }
    *next_cursor = cursor;
    buf_fini(&l.text);
    buf_fini(&l.types);
    return rc;
}
