#include "json/scan.h"

#include "json/lex.h"

#define NODE_NONE (-1)

/* One open object or array. */
struct frame {
    const char *start;
    uint32_t n;    /* members or elements whose value has begun */
    uint32_t seen; /* bit i: child i of the node was met in this object; a node has at most 32 children */
    int16_t node;  /* of the container */
    bool is_object;
};

_Static_assert(JSON_QUERY_PATHS <= 32, "frame.seen has a bit for each child of a node");

/* The child of `node` that stands for every element, or NODE_NONE. */
static int16_t element_child(const struct json_query *q, int node)
{
    if (node == NODE_NONE) return NODE_NONE;
    const struct json_query_node *at = &q->nodes[node];
    for (unsigned i = at->first_child; i < (unsigned)at->first_child + at->n_children; i++)
        if (q->nodes[i].any_element) return (int16_t)i;
    return NODE_NONE;
}

/* The child of `node` with this member name (without quotes), or NODE_NONE. */
static int16_t named_child(const struct json_query *q, int node, str name, bool has_escapes)
{
    const struct json_query_node *at = &q->nodes[node];
    for (unsigned i = at->first_child; i < (unsigned)at->first_child + at->n_children; i++) {
        const struct json_query_node *child = &q->nodes[i];
        if (!child->any_element &&
            (has_escapes ? lex_unescaped_is(name, child->name) : str_eq(name, child->name)))
            return (int16_t)i;
    }
    return NODE_NONE;
}

enum errc json_scan(str text, const struct json_query *q, json_match_fn on_match, void *ctx,
                    struct json_value *root, size_t *error_offset, err *e)
{
    struct frame stack[JSON_DEPTH_MAX];
    unsigned depth = 0;
    struct lex_fault fault = {NULL, NULL};
    const char *const end = text.len ? text.p + text.len : text.p;
    const char *p = text.len ? lex_space(text.p, end) : text.p;

    /* The value at hand. */
    const char *start = p;
    enum json_type type = JSON_NONE;
    bool has_escapes = false;
    uint32_t n = 0;
    int16_t node = q && q->n_nodes ? 0 : NODE_NONE;

    enum { AT_VALUE, AT_NAME, AFTER_VALUE } state = AT_VALUE;
    for (;;) {
        switch (state) {
        case AT_VALUE:
            start = p;
            has_escapes = false;
            n = 0;
            if (p == end) {
                lex_fail(&fault, p, "value expected");
                goto fail;
            }
            switch (*p) {
            case '"':
                type = JSON_STRING;
                p = lex_string(p + 1, end, &has_escapes, &fault);
                if (!p) goto fail;
                p++;
                break;
            case '{':
            case '[': {
                const bool is_object = *p == '{';
                if (depth == JSON_DEPTH_MAX) {
                    lex_fail(&fault, p, "nesting deeper than 128");
                    goto fail;
                }
                p = lex_space(p + 1, end);
                if (p != end && *p == (is_object ? '}' : ']')) {
                    type = is_object ? JSON_OBJECT : JSON_ARRAY;
                    p++;
                    break;
                }
                stack[depth++] = (struct frame){start, 1, 0, node, is_object};
                /* An array's elements all have one node, which is at hand again after each of them. */
                if (is_object)
                    state = AT_NAME;
                else
                    node = element_child(q, node);
                continue;
            }
            case '-':
            case '0' ... '9':
                type = JSON_NUMBER;
                p = lex_number(p, end, &fault);
                break;
            case 't':
                type = JSON_TRUE;
                p = lex_word(p, end, S("true"), &fault);
                break;
            case 'f':
                type = JSON_FALSE;
                p = lex_word(p, end, S("false"), &fault);
                break;
            case 'n':
                type = JSON_NULL;
                p = lex_word(p, end, S("null"), &fault);
                break;
            default: p = lex_no_value(p, end, &fault);
            }
            if (!p) goto fail;
            state = AFTER_VALUE;
            continue;

        case AT_NAME: {
            struct frame *f = &stack[depth - 1];
            if (p == end || *p != '"') {
                lex_fail(&fault, p, "member name expected");
                goto fail;
            }
            const char *name = p + 1;
            bool name_escapes = false;
            p = lex_string(name, end, &name_escapes, &fault);
            if (!p) goto fail;
            node = NODE_NONE;
            if (f->node != NODE_NONE) {
                node = named_child(q, f->node, (str){name, (size_t)(p - name)}, name_escapes);
                if (node != NODE_NONE) {
                    const uint32_t bit = 1u << (node - q->nodes[f->node].first_child);
                    if ((f->seen & bit) && q->nodes[node].decides) {
                        lex_fail(&fault, name - 1, NULL);
                        goto fail_duplicate;
                    }
                    f->seen |= bit;
                }
            }
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
            if (node != NODE_NONE && q->nodes[node].path >= 0) {
                const struct json_value v = {
                    type, has_escapes, {start, (size_t)(p - start)}, (size_t)(start - text.p), n};
                on_match(ctx, (unsigned)q->nodes[node].path, &v);
            }
            if (depth == 0) {
                if (root)
                    *root = (struct json_value){
                        type, has_escapes, {start, (size_t)(p - start)}, (size_t)(start - text.p), n};
                p = lex_space(p, end);
                if (p == end) return ERR_NONE;
                lex_fail(&fault, p, "nothing expected behind the value");
                goto fail;
            }
            struct frame *f = &stack[depth - 1];
            p = lex_space(p, end);
            if (p != end && *p == ',') {
                f->n += f->n != UINT32_MAX;
                p = lex_space(p + 1, end);
                state = f->is_object ? AT_NAME : AT_VALUE;
                continue;
            }
            if (p == end || *p != (f->is_object ? '}' : ']')) {
                lex_fail(&fault, p, f->is_object ? "',' or '}' expected" : "',' or ']' expected");
                goto fail;
            }
            p++;
            start = f->start;
            type = f->is_object ? JSON_OBJECT : JSON_ARRAY;
            has_escapes = false;
            n = f->n;
            node = f->node;
            depth--;
            continue;
        }
        }
    }

fail:
    if (error_offset) *error_offset = text.len ? (size_t)(fault.at - text.p) : 0;
    return lex_error(&fault, text.p, e);
fail_duplicate:
    if (error_offset) *error_offset = (size_t)(fault.at - text.p);
    return err_set(e, ERR_INVALID, "duplicate member '%.*s' at byte %zu", STR(q->nodes[node].name),
                   (size_t)(fault.at - text.p));
}

static void keep_hit(void *ctx, unsigned path, const struct json_value *value)
{
    struct json_value *hits = ctx;
    hits[path] = *value;
}

enum errc json_find(str text, const struct json_query *q, struct json_value *hits, struct json_value *root,
                    err *e)
{
    memset(hits, 0, q->n_paths * sizeof *hits);
    const enum errc code = json_scan(text, q, keep_hit, hits, root, NULL, e);
    if (code) memset(hits, 0, q->n_paths * sizeof *hits);
    return code;
}

/* What stands between the quotes. */
static str contents(const struct json_value *v) { return (str){v->raw.p + 1, v->raw.len - 2}; }

str json_string(const struct json_value *v, char *out)
{
    const str s = contents(v);
    return v->has_escapes ? (str){out, lex_unescape(s, out)} : s;
}

bool json_string_is(const struct json_value *v, str s)
{
    if (v->type != JSON_STRING) return false;
    return v->has_escapes ? lex_unescaped_is(contents(v), s) : str_eq(contents(v), s);
}

size_t json_string_len(const struct json_value *v)
{
    if (v->type != JSON_STRING) return 0;
    str rest = contents(v);
    if (!v->has_escapes) return rest.len;
    char tmp[4];
    str piece;
    size_t len = 0;
    while (lex_piece(&rest, tmp, &piece))
        len += piece.len;
    return len;
}

bool json_to_i64(const struct json_value *v, int64_t *out)
{
    return v->type == JSON_NUMBER && lex_to_i64(v->raw, out);
}
