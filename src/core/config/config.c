/* config.c - the schema of paths, and reading values of a loaded configuration. */
#include "core/config/config_internal.h"

#include <assert.h>
#include <stdio.h>

#include "base/keytext.h"

/* --- schema --- */

const struct option *schema_at(const struct schema *s, unsigned i)
{
    for (unsigned t = 0; t < s->n_tables; t++) {
        if (i < s->tables[t]->n) return &s->tables[t]->options[i];
        i -= s->tables[t]->n;
    }
    return NULL;
}

const struct option *schema_find(const struct schema *s, str path)
{
    const struct option *o;
    for (unsigned i = 0; (o = schema_at(s, i)) != NULL; i++)
        if (str_eq(str_c(o->key), path)) return o;
    return NULL;
}

bool schema_has_below(const struct schema *s, str path, const char *infix)
{
    const struct option *o;
    for (unsigned i = 0; (o = schema_at(s, i)) != NULL; i++) {
        str key = str_c(o->key);
        if (str_starts(key, path) && str_starts(str_skip(key, path.len), str_c(infix))) return true;
    }
    return false;
}

enum schema_shape schema_shape_of(const struct schema *s, str path, const struct option **leaf)
{
    *leaf = NULL;
    if (schema_has_below(s, path, "[]")) return SCHEMA_LIST;
    *leaf = schema_find(s, path);
    if (*leaf) return SCHEMA_LEAF;
    return schema_has_below(s, path, ".") ? SCHEMA_SECTION : SCHEMA_NOTHING;
}

str schema_segment(const char *key, str prefix)
{
    str rest = str_c(key);
    if (!str_starts(rest, prefix)) return (str){NULL, 0};
    rest = str_skip(rest, prefix.len);
    size_t n = 0;
    while (n < rest.len && rest.p[n] != '.' && rest.p[n] != '[')
        n++;
    return str_take(rest, n);
}

bool schema_is_first(const struct schema *s, unsigned i, str prefix, str segment)
{
    for (unsigned j = 0; j < i; j++)
        if (str_eq(schema_segment(schema_at(s, j)->key, prefix), segment)) return false;
    return true;
}

/* --- values --- */

bool config_scalar(const struct json *v, str *text)
{
    switch (v->type) {
    case JSON_STRING:
    case JSON_NUMBER: *text = v->text; return true;
    case JSON_TRUE: *text = S("true"); return true;
    case JSON_FALSE: *text = S("false"); return true;
    case JSON_NONE:
    case JSON_NULL:
    case JSON_ARRAY:
    case JSON_OBJECT: break;
    }
    return false;
}

bool config_looks_secret(str text)
{
    bool is_sound;
    if (keytext_kind(text, &is_sound) != KEYTEXT_OTHER) return true;
    /* the shapes of the providers' own keys, and credentials inside a URL */
    static const char *const prefixes[] = {"sk-", "sk_", "gsk_", "xai-", "AIza", "Bearer "};
    for (size_t i = 0; i < LENGTH_OF(prefixes); i++)
        if (text.len >= 12 && str_starts(text, str_c(prefixes[i]))) return true;
    ptrdiff_t scheme = str_find(text, S("://"));
    if (scheme < 0) return false;
    str authority = str_skip(text, (size_t)scheme + 3);
    return str_chr(str_cut(&authority, '/'), '@') >= 0;
}

struct unit {
    const char *name;
    int64_t size;
};
static const struct unit byte_units[] = {
    {"TiB", 1LL << 40}, {"GiB", 1LL << 30}, {"MiB", 1LL << 20}, {"KiB", 1LL << 10}, {"B", 1}};
static const struct unit ms_units[] = {{"h", 3600 * 1000}, {"m", 60 * 1000}, {"s", 1000}, {"ms", 1}};

static const struct unit *units_of(enum option_type type, size_t *n)
{
    *n = type == OPTION_BYTES ? LENGTH_OF(byte_units) : type == OPTION_MS ? LENGTH_OF(ms_units) : 0;
    return type == OPTION_BYTES ? byte_units : ms_units;
}

bool config_number_parse(enum option_type type, str s, int64_t *out)
{
    s = str_trim(s);
    if (str_to_i64(s, out)) return true;
    size_t digits = 0;
    while (digits < s.len && s.p[digits] >= '0' && s.p[digits] <= '9')
        digits++;
    str unit = str_trim(str_skip(s, digits));
    int64_t v;
    if (digits == 0 || !str_to_i64(str_take(s, digits), &v)) return false;
    size_t n;
    const struct unit *units = units_of(type, &n);
    for (size_t i = 0; i < n; i++)
        if (str_eq(unit, str_c(units[i].name))) return !__builtin_mul_overflow(v, units[i].size, out);
    return false;
}

str config_number_format(enum option_type type, int64_t v, char out[CONFIG_NUMBER_LEN])
{
    size_t n;
    const struct unit *units = units_of(type, &n);
    const char *name = "";
    for (size_t i = 0; i < n && v != 0; i++)
        if (v % units[i].size == 0) {
            v /= units[i].size;
            name = units[i].size == 1 && type == OPTION_BYTES ? "" : units[i].name;
            break;
        }
    int len = snprintf(out, CONFIG_NUMBER_LEN, "%lld%s", (long long)v, name);
    return str_of(out, (size_t)len);
}

const struct config_given *config_given_of(const struct config *c, const struct json *node)
{
    const struct config_given *g = c->given;
    while (g && g->node != node)
        g = g->next;
    return g;
}

const struct json *config_list_default(const struct config *c, const struct option *o)
{
    const struct config_list_default *d = c->list_defaults;
    while (d && d->option != o)
        d = d->next;
    return d ? d->list : NULL;
}

static const struct json *not_null(const struct json *v) { return v && v->type != JSON_NULL ? v : NULL; }

const struct json *config_node(const struct config *c, const char *key)
{
    return not_null(json_at(c->root, str_c(key)));
}

/* Asking for a key that no table has is a mistake in the program, not in the file. */
static const struct option *option_of(const struct config *c, const char *key)
{
    const struct option *o = schema_find(&c->schema, str_c(key));
    assert(o != NULL && "the key must be in an option table");
    return o;
}

static str text_of(const struct option *o, const struct json *node)
{
    str text = {NULL, 0};
    if (node && config_scalar(node, &text)) return text;
    return str_c(o->fallback);
}

static int64_t int_of(const struct option *o, const struct json *node)
{
    str text = text_of(o, node);
    int64_t v = 0;
    if (text.len == 0) return 0;
    bool is_number = config_number_parse(o->type, text, &v);
    assert(is_number && "only number options, which loading has checked, are read as numbers");
    return v;
}

static bool bool_of(const struct option *o, const struct json *node)
{
    assert(o->type == OPTION_BOOL);
    return str_eq(text_of(o, node), S("true"));
}

str config_text(const struct config *c, const char *key)
{
    return text_of(option_of(c, key), config_node(c, key));
}

int64_t config_int(const struct config *c, const char *key)
{
    return int_of(option_of(c, key), config_node(c, key));
}

bool config_bool(const struct config *c, const char *key)
{
    return bool_of(option_of(c, key), config_node(c, key));
}

const struct json *config_tree(const struct config *c, const char *key)
{
    const struct option *leaf;
    enum schema_shape shape = schema_shape_of(&c->schema, str_c(key), &leaf);
    assert(shape != SCHEMA_NOTHING && "the key must be in an option table");
    (void)shape;
    const struct json *node = config_node(c, key);
    return node || !leaf ? node : config_list_default(c, leaf);
}

static const struct json *entry_node(const struct json *entry, const char *key)
{
    /* the member stands behind the last "[]." of the key */
    str path = str_c(key);
    for (ptrdiff_t at; (at = str_find(path, S("[]."))) >= 0;)
        path = str_skip(path, (size_t)at + 3);
    return not_null(json_at(entry, path));
}

str config_entry_text(const struct config *c, const struct json *entry, const char *key)
{
    return text_of(option_of(c, key), entry_node(entry, key));
}

int64_t config_entry_int(const struct config *c, const struct json *entry, const char *key)
{
    return int_of(option_of(c, key), entry_node(entry, key));
}

bool config_entry_bool(const struct config *c, const struct json *entry, const char *key)
{
    return bool_of(option_of(c, key), entry_node(entry, key));
}

bool config_entry_has(const struct config *c, const struct json *entry, const char *key)
{
    option_of(c, key);
    return entry_node(entry, key) != NULL;
}

/* --- places --- */

str config_where(const struct config *c, struct arena *a, const struct json *value)
{
    const struct config_given *given = config_given_of(c, value);
    if (given) return str_dup(a, given->where);
    if (value->line == 0) return str_dup(a, c->file.len ? c->file : S("the configuration"));
    return arena_printf(a, "%.*s:%u", STR(c->file), value->line);
}

str config_where_key(const struct config *c, struct arena *a, const char *key)
{
    option_of(c, key);
    const struct json *node = config_node(c, key);
    return node ? config_where(c, a, node) : S("default");
}

enum config_origin config_origin_of(const struct config *c, const char *key)
{
    option_of(c, key);
    const struct json *node = config_node(c, key);
    const struct config_given *given = node ? config_given_of(c, node) : NULL;
    return given ? given->origin : node ? CONFIG_FILE : CONFIG_DEFAULT;
}

str config_dir(const struct config *c) { return c->dir; }

const char *config_path(const struct config *c, struct arena *a, str path)
{
    if (path.len == 0) return NULL;
    if (path.p[0] == '/') return str_to_c(a, path);
    return arena_printf(a, "%.*s/%.*s", STR(c->dir), STR(path)).p;
}

/* --- differences --- */

static bool is_same(const struct json *a, const struct json *b)
{
    if (!a || !b) return a == b;
    if (a->type != b->type || a->n != b->n || !str_eq(a->text, b->text)) return false;
    const struct json *x = a->child, *y = b->child;
    for (; x && y; x = x->next, y = y->next)
        if (!str_eq(x->name, y->name) || !is_same(x, y)) return false;
    return x == y;
}

static bool is_same_value(const struct option *o, const struct json *a, const struct json *b)
{
    str x = {NULL, 0}, y = {NULL, 0};
    bool has_both = a && b;
    if (o->type == OPTION_TREE || o->type == OPTION_TEXT_LIST) return is_same(a, b);
    if (a) (void)config_scalar(a, &x);
    if (b) (void)config_scalar(b, &y);
    if (!a) x = str_c(o->fallback);
    if (!b) y = str_c(o->fallback);
    int64_t i, k;
    bool is_number = o->type == OPTION_INT || o->type == OPTION_BYTES || o->type == OPTION_MS;
    if (is_number && config_number_parse(o->type, x, &i) && config_number_parse(o->type, y, &k)) return i == k;
    return str_eq(x, y) && (has_both || x.len || (!a && !b));
}

void config_diff(const struct config *a, const struct config *b,
                 void (*differs)(void *ctx, str key, enum option_change change), void *ctx)
{
    const struct option *o;
    for (unsigned i = 0; (o = schema_at(&a->schema, i)) != NULL; i++) {
        str key = str_c(o->key);
        size_t n = 0;
        while (n < key.len && key.p[n] != '[' && key.p[n] != '*')
            n++;
        if (n == key.len) {
            if (!is_same_value(o, config_node(a, o->key), config_node(b, o->key))) differs(ctx, key, o->change);
            continue;
        }
        /* of a list or map once, with its first option */
        str whole = str_take(key, key.p[n] == '*' ? n - 1 : n);
        bool is_first = true;
        for (unsigned k = 0; k < i && is_first; k++)
            is_first = !str_starts(str_c(schema_at(&a->schema, k)->key), str_take(key, n + 1));
        if (is_first && !is_same(not_null(json_at(a->root, whole)), not_null(json_at(b->root, whole))))
            differs(ctx, whole, o->change);
    }
}
