#include "json/yaml.h"

#include <yaml.h>

#include "base/utf8.h"
#include "json/lex.h"
#include "json/names.h"

#define YAML_DEPTH_MAX 32

/* One open mapping or sequence. */
struct frame {
    struct json *node;
    struct json **link; /* where the next child is hung in */
    struct json *key;   /* mappings: the member whose name was read and whose value comes next */
    struct names names;
};

struct reader {
    struct arena *a;
    err *e;
    struct json *root;
    struct frame stack[YAML_DEPTH_MAX];
    unsigned depth;
};

static enum errc fail_at(err *e, enum errc code, const yaml_mark_t *mark, const char *what)
{
    return err_set(e, code, "line %zu, column %zu: %s", mark->line + 1, mark->column + 1, what);
}

static enum errc fail_full(const struct reader *r)
{
    return err_set(r->e, ERR_TOO_LARGE, "a YAML tree needs more than its limit of %zu bytes", r->a->limit);
}

/* What libyaml found wrong. The reader (bad UTF-8, control characters) knows only a byte offset. */
static enum errc parser_error(const yaml_parser_t *parser, str text, err *e)
{
    if (parser->error == YAML_MEMORY_ERROR) return err_code(e, ERR_NO_MEMORY);
    const char *what = parser->problem ? parser->problem : "not well-formed";
    yaml_mark_t mark = parser->problem_mark;
    if (parser->error == YAML_READER_ERROR) {
        mark.line = mark.column = 0;
        for (size_t i = 0; i < parser->problem_offset && i < text.len; i++) {
            mark.column++;
            if (text.p[i] == '\n') {
                mark.line++;
                mark.column = 0;
            }
        }
    }
    return fail_at(e, ERR_SYNTAX, &mark, what);
}

/* Plain scalars by the JSON-like core rules; nothing at all is null. */
static enum json_type plain_type(str s)
{
    if (s.len == 0 || str_eq(s, S("~")) || str_eq(s, S("null"))) return JSON_NULL;
    if (str_eq(s, S("true"))) return JSON_TRUE;
    if (str_eq(s, S("false"))) return JSON_FALSE;
    struct lex_fault none;
    if ((s.p[0] == '-' || (s.p[0] >= '0' && s.p[0] <= '9')) &&
        lex_number(s.p, s.p + s.len, &none) == s.p + s.len)
        return JSON_NUMBER;
    return JSON_STRING;
}

/* Hangs a new value into the innermost container, or makes it the root. */
static enum errc place(struct reader *r, const yaml_mark_t *mark, struct json **out)
{
    struct frame *f = r->depth ? &r->stack[r->depth - 1] : NULL;
    struct json *v = f ? f->key : NULL;
    if (!v) {
        v = arena_new(r->a, struct json);
        if (!v) return fail_full(r);
        v->line = (uint32_t)mark->line + 1;
    }
    if (!f) {
        r->root = v;
    } else {
        f->key = NULL;
        *f->link = v;
        f->link = &v->next;
        f->node->n++;
    }
    *out = v;
    return ERR_NONE;
}

/* A scalar where a mapping wants its next key. */
static enum errc on_key(struct reader *r, struct frame *f, const yaml_event_t *event, str text)
{
    const bool is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (is_plain && str_eq(text, S("<<")))
        return fail_at(r->e, ERR_INVALID, &event->start_mark, "merge keys are not supported");
    struct json *member = arena_new(r->a, struct json);
    if (!member) return fail_full(r);
    member->line = (uint32_t)event->start_mark.line + 1;
    member->name = (str){str_dup(r->a, text).p, text.len};
    bool is_duplicate;
    if (!member->name.p || names_add(&f->names, r->a, f->node, member, &is_duplicate)) return fail_full(r);
    if (is_duplicate)
        return err_set(r->e, ERR_INVALID, "line %zu, column %zu: duplicate key '%.*s'",
                       event->start_mark.line + 1, event->start_mark.column + 1, STR(utf8_take(text, 100)));
    f->key = member;
    return ERR_NONE;
}

static bool wants_key(const struct reader *r)
{
    return r->depth && r->stack[r->depth - 1].node->type == JSON_OBJECT && !r->stack[r->depth - 1].key;
}

static enum errc on_scalar(struct reader *r, const yaml_event_t *event)
{
    const str text = {(const char *)event->data.scalar.value, event->data.scalar.length};
    if (wants_key(r)) return on_key(r, &r->stack[r->depth - 1], event, text);
    struct json *v;
    const enum errc code = place(r, &event->start_mark, &v);
    if (code) return code;
    v->type = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE ? plain_type(text) : JSON_STRING;
    if (v->type == JSON_STRING || v->type == JSON_NUMBER) {
        v->text = (str){str_dup(r->a, text).p, text.len};
        if (!v->text.p) return fail_full(r);
    }
    return ERR_NONE;
}

static enum errc on_open(struct reader *r, const yaml_event_t *event, enum json_type type)
{
    if (wants_key(r)) return fail_at(r->e, ERR_INVALID, &event->start_mark, "a key must be a scalar");
    if (r->depth == YAML_DEPTH_MAX)
        return fail_at(r->e, ERR_INVALID, &event->start_mark, "nesting deeper than 32");
    struct json *v;
    const enum errc code = place(r, &event->start_mark, &v);
    if (code) return code;
    v->type = type;
    r->stack[r->depth++] = (struct frame){.node = v, .link = &v->child};
    return ERR_NONE;
}

/* Anchors are refused even when no alias uses them, and tags even when they say what the value is anyway. */
static enum errc refuse_extras(struct reader *r, const yaml_event_t *event, const yaml_char_t *anchor,
                               const yaml_char_t *tag)
{
    if (anchor) return fail_at(r->e, ERR_INVALID, &event->start_mark, "anchors are not supported");
    if (tag) return fail_at(r->e, ERR_INVALID, &event->start_mark, "tags are not supported");
    return ERR_NONE;
}

static enum errc on_event(struct reader *r, const yaml_event_t *event)
{
    enum errc code;
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        code = refuse_extras(r, event, event->data.scalar.anchor, event->data.scalar.tag);
        return code ? code : on_scalar(r, event);
    case YAML_MAPPING_START_EVENT:
        code = refuse_extras(r, event, event->data.mapping_start.anchor, event->data.mapping_start.tag);
        return code ? code : on_open(r, event, JSON_OBJECT);
    case YAML_SEQUENCE_START_EVENT:
        code = refuse_extras(r, event, event->data.sequence_start.anchor, event->data.sequence_start.tag);
        return code ? code : on_open(r, event, JSON_ARRAY);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT: r->depth--; return ERR_NONE;
    case YAML_ALIAS_EVENT: return fail_at(r->e, ERR_INVALID, &event->start_mark, "aliases are not supported");
    case YAML_DOCUMENT_START_EVENT:
        return r->root ? fail_at(r->e, ERR_INVALID, &event->start_mark, "more than one document") : ERR_NONE;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT: return ERR_NONE;
    }
    return err_code(r->e, ERR_INTERNAL);
}

enum errc yaml_parse(struct arena *a, str text, struct json **out, err *e)
{
    *out = NULL;
    if (text.len > YAML_TEXT_MAX)
        return err_set(e, ERR_TOO_LARGE, "a YAML text has at most %u bytes, not %zu", YAML_TEXT_MAX,
                       text.len);

    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) return err_code(e, ERR_NO_MEMORY);
    yaml_parser_set_input_string(&parser, (const unsigned char *)(text.p ? text.p : ""), text.len);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING); /* no guessing of UTF-16 */

    struct reader r = {.a = a, .e = e};
    enum errc code = ERR_NONE;
    bool is_done = false;
    while (!code && !is_done) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            code = parser_error(&parser, text, e);
            break;
        }
        code = on_event(&r, &event);
        is_done = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (code) return code;
    if (!r.root) { /* nothing but space and comments */
        r.root = arena_new(a, struct json);
        if (!r.root) return fail_full(&r);
        r.root->type = JSON_NULL;
        r.root->line = 1;
    }
    *out = r.root;
    return ERR_NONE;
}
