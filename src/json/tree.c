#include "json/tree.h"

#include "base/utf8.h"
#include "json/lex.h"
#include "json/names.h"

/* One open object or array. */
struct frame {
    struct json *node;
    struct json **link; /* where the next child is hung in */
    struct names names;
};

/* The decoded text of a string without quotes; p is NULL when the arena is full. */
static str decoded(struct arena *a, str s, bool has_escapes)
{
    if (!has_escapes) return s;
    char *out = arena_bytes(a, s.len);
    return (str){out, out ? lex_unescape(s, out) : 0};
}

enum errc json_parse(struct arena *a, str text, struct json **out, err *e)
{
    struct frame stack[JSON_DEPTH_MAX];
    unsigned depth = 0;
    struct lex_fault fault = {NULL, NULL};
    const char *const end = text.len ? text.p + text.len : text.p;
    const char *p = text.len ? lex_space(text.p, end) : text.p;
    struct json *root = NULL;
    str name = {NULL, 0};
    const char *name_at = NULL; /* its opening quote */

    *out = NULL;
    enum { AT_VALUE, AT_NAME, AFTER_VALUE } state = AT_VALUE;
    for (;;) {
        switch (state) {
        case AT_VALUE: {
            if (p == end) {
                lex_fail(&fault, p, "value expected");
                goto fail;
            }
            struct json *v = arena_new(a, struct json);
            if (!v) goto full;
            v->name = name;
            if (depth == 0) {
                root = v;
            } else {
                struct frame *f = &stack[depth - 1];
                if (f->node->type == JSON_OBJECT) {
                    bool is_duplicate;
                    if (names_add(&f->names, a, f->node, v, &is_duplicate)) goto full;
                    if (is_duplicate)
                        return err_set(e, ERR_INVALID, "duplicate member '%.*s' at byte %zu",
                                       STR(utf8_take(name, 100)), (size_t)(name_at - text.p));
                }
                *f->link = v;
                f->link = &v->next;
                f->node->n++;
            }
            state = AFTER_VALUE;
            switch (*p) {
            case '"': {
                bool has_escapes = false;
                const char *from = ++p;
                p = lex_string(p, end, &has_escapes, &fault);
                if (!p) goto fail;
                v->type = JSON_STRING;
                v->text = decoded(a, (str){from, (size_t)(p - from)}, has_escapes);
                if (!v->text.p) goto full;
                p++;
                continue;
            }
            case '{':
            case '[':
                if (depth == JSON_DEPTH_MAX) {
                    lex_fail(&fault, p, "nesting deeper than 128");
                    goto fail;
                }
                v->type = *p == '{' ? JSON_OBJECT : JSON_ARRAY;
                p = lex_space(p + 1, end);
                if (p != end && *p == (v->type == JSON_OBJECT ? '}' : ']')) {
                    p++;
                    continue;
                }
                stack[depth++] = (struct frame){v, &v->child, {NULL, 0}};
                name = (str){NULL, 0};
                state = v->type == JSON_OBJECT ? AT_NAME : AT_VALUE;
                continue;
            case '-':
            case '0' ... '9':
                v->type = JSON_NUMBER;
                v->text.p = p;
                p = lex_number(p, end, &fault);
                if (p) v->text.len = (size_t)(p - v->text.p);
                break;
            case 't':
                v->type = JSON_TRUE;
                p = lex_word(p, end, S("true"), &fault);
                break;
            case 'f':
                v->type = JSON_FALSE;
                p = lex_word(p, end, S("false"), &fault);
                break;
            case 'n':
                v->type = JSON_NULL;
                p = lex_word(p, end, S("null"), &fault);
                break;
            default: p = lex_no_value(p, end, &fault);
            }
            if (!p) goto fail;
            continue;
        }

        case AT_NAME: {
            if (p == end || *p != '"') {
                lex_fail(&fault, p, "member name expected");
                goto fail;
            }
            bool has_escapes = false;
            name_at = p;
            const char *from = ++p;
            p = lex_string(p, end, &has_escapes, &fault);
            if (!p) goto fail;
            name = decoded(a, (str){from, (size_t)(p - from)}, has_escapes);
            if (!name.p) goto full;
            p = lex_space(p + 1, end);
            if (p == end || *p != ':') {
                lex_fail(&fault, p, "':' expected");
                goto fail;
            }
            p = lex_space(p + 1, end);
            state = AT_VALUE;
            continue;
        }

        case AFTER_VALUE: {
            p = lex_space(p, end);
            if (depth == 0) {
                if (p == end) {
                    *out = root;
                    return ERR_NONE;
                }
                lex_fail(&fault, p, "nothing expected behind the value");
                goto fail;
            }
            const bool is_object = stack[depth - 1].node->type == JSON_OBJECT;
            if (p != end && *p == ',') {
                p = lex_space(p + 1, end);
                name = (str){NULL, 0};
                state = is_object ? AT_NAME : AT_VALUE;
            } else if (p != end && *p == (is_object ? '}' : ']')) {
                p++;
                depth--;
            } else {
                lex_fail(&fault, p, is_object ? "',' or '}' expected" : "',' or ']' expected");
                goto fail;
            }
            continue;
        }
        }
    }

fail:
    return lex_error(&fault, text.p, e);
full:
    return err_set(e, ERR_TOO_LARGE, "a JSON tree needs more than its limit of %zu bytes", a->limit);
}

const struct json *json_get(const struct json *o, str name)
{
    if (!o || o->type != JSON_OBJECT) return NULL;
    for (const struct json *m = o->child; m; m = m->next)
        if (str_eq(m->name, name)) return m;
    return NULL;
}

const struct json *json_at(const struct json *o, str dotted)
{
    if (dotted.len == 0) return o;
    for (;;) {
        const ptrdiff_t dot = str_chr(dotted, '.');
        if (dot < 0) return json_get(o, dotted);
        o = json_get(o, str_take(dotted, (size_t)dot));
        dotted = str_skip(dotted, (size_t)dot + 1);
    }
}

bool json_i64(const struct json *v, int64_t *out)
{
    return v && v->type == JSON_NUMBER && lex_to_i64(v->text, out);
}

bool json_bool(const struct json *v, bool *out)
{
    if (!v || (v->type != JSON_TRUE && v->type != JSON_FALSE)) return false;
    *out = v->type == JSON_TRUE;
    return true;
}

unsigned json_depth(const struct json *v)
{
    if (v->type != JSON_ARRAY && v->type != JSON_OBJECT) return 0;
    unsigned deepest = 0;
    for (const struct json *c = v->child; c; c = c->next) {
        const unsigned depth = json_depth(c);
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest + 1;
}

void json_tree_write(const struct json *v, struct json_writer *w)
{
    switch (v->type) {
    case JSON_NONE:
    case JSON_NULL: json_null(w); return;
    case JSON_FALSE: json_boolean(w, false); return;
    case JSON_TRUE: json_boolean(w, true); return;
    case JSON_NUMBER: json_raw(w, v->text); return;
    case JSON_STRING: json_str(w, v->text); return;
    case JSON_ARRAY: json_array(w); break;
    case JSON_OBJECT: json_object(w); break;
    }
    for (const struct json *c = v->child; c; c = c->next) {
        if (v->type == JSON_OBJECT) json_name(w, c->name);
        json_tree_write(c, w);
    }
    json_end(w);
}
