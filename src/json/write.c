#include "json/write.h"

#include <assert.h>

#include "json/lex.h"
#include "json/tree.h"

void json_writer_init(struct json_writer *w, struct buf *out)
{
    memset(w, 0, sizeof *w);
    w->out = out;
}

/* Called before every value: checks that one may stand here and separates it from the one before. */
static void before_value(struct json_writer *w)
{
    if (w->after_name) {
        w->after_name = false;
        w->needs_comma = true;
        return;
    }
    assert(w->depth == 0 ? !w->needs_comma : w->closers[w->depth - 1] == ']');
    if (w->needs_comma) buf_add_char(w->out, ',');
    w->needs_comma = true;
}

static void open_container(struct json_writer *w, char opener, char closer)
{
    before_value(w);
    assert(w->depth < JSON_WRITE_DEPTH);
    w->closers[w->depth++] = closer;
    w->needs_comma = false;
    buf_add_char(w->out, opener);
}

void json_object(struct json_writer *w) { open_container(w, '{', '}'); }
void json_array(struct json_writer *w) { open_container(w, '[', ']'); }

void json_end(struct json_writer *w)
{
    assert(w->depth > 0 && !w->after_name);
    buf_add_char(w->out, w->closers[--w->depth]);
    w->needs_comma = true;
}

static void add_quoted(struct buf *out, str s)
{
    buf_add_char(out, '"');
    json_escape(out, s);
    buf_add_char(out, '"');
}

void json_name(struct json_writer *w, str name)
{
    assert(w->depth > 0 && w->closers[w->depth - 1] == '}' && !w->after_name);
    if (w->needs_comma) buf_add_char(w->out, ',');
    add_quoted(w->out, name);
    buf_add_char(w->out, ':');
    w->after_name = true;
}

void json_str(struct json_writer *w, str s)
{
    before_value(w);
    add_quoted(w->out, s);
}

void json_int(struct json_writer *w, int64_t v)
{
    before_value(w);
    buf_add_i64(w->out, v);
}

void json_uint(struct json_writer *w, uint64_t v)
{
    before_value(w);
    buf_add_u64(w->out, v);
}

void json_boolean(struct json_writer *w, bool v)
{
    before_value(w);
    buf_add(w->out, v ? S("true") : S("false"));
}

void json_null(struct json_writer *w)
{
    before_value(w);
    buf_add(w->out, S("null"));
}

void json_raw(struct json_writer *w, str raw)
{
    before_value(w);
    buf_add(w->out, raw);
}

void json_put_str(struct json_writer *w, const char *name, str s)
{
    json_name(w, str_c(name));
    json_str(w, s);
}

void json_put_int(struct json_writer *w, const char *name, int64_t v)
{
    json_name(w, str_c(name));
    json_int(w, v);
}

void json_put_bool(struct json_writer *w, const char *name, bool v)
{
    json_name(w, str_c(name));
    json_boolean(w, v);
}

void json_put_null(struct json_writer *w, const char *name)
{
    json_name(w, str_c(name));
    json_null(w);
}

/* The escape of an ASCII byte that may not stand for itself. */
static void add_escape(struct buf *out, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char text[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    size_t len = 2;
    switch (c) {
    case '"':
    case '\\': text[1] = (char)c; break;
    case '\b': text[1] = 'b'; break;
    case '\f': text[1] = 'f'; break;
    case '\n': text[1] = 'n'; break;
    case '\r': text[1] = 'r'; break;
    case '\t': text[1] = 't'; break;
    default: len = 6;
    }
    buf_add(out, (str){text, len});
}

void json_escape(struct buf *out, str s)
{
    if (s.len == 0) return;
    const char *p = s.p, *end = s.p + s.len, *clean = p; /* [clean, p) waits to be copied as it is */
    while (p != end) {
        p = lex_plain_run(p, end);
        if (p == end) break;
        const unsigned char c = (unsigned char)*p;
        const char *next = c < 0x80 ? NULL : lex_utf8(p, end);
        const bool is_separator =
            next && next - p == 3 && memcmp(p, "\xE2\x80", 2) == 0 && (p[2] & 0x7E) == 0x28;
        if (next && !is_separator) {
            p = next;
            continue;
        }
        buf_add(out, (str){clean, (size_t)(p - clean)});
        if (c < 0x80)
            add_escape(out, c);
        else if (is_separator)
            buf_add(out, (p[2] & 1) ? S("\\u2029") : S("\\u2028"));
        else
            buf_add(out, S("\xEF\xBF\xBD"));
        p = clean = next ? next : p + 1;
    }
    buf_add(out, (str){clean, (size_t)(p - clean)});
}

void json_put_tree(struct json_writer *w, const struct json *v)
{
    switch (v->type) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        if (w->depth >= JSON_WRITE_DEPTH - 1) {
            w->out->failed = ERR_TOO_LARGE;
            json_null(w);
            return;
        }
        if (v->type == JSON_OBJECT)
            json_object(w);
        else
            json_array(w);
        for (const struct json *it = v->child; it; it = it->next) {
            if (v->type == JSON_OBJECT) json_name(w, it->name);
            json_put_tree(w, it);
        }
        json_end(w);
        break;
    case JSON_STRING: json_str(w, v->text); break;
    case JSON_NUMBER: json_raw(w, v->text); break;
    case JSON_TRUE:
    case JSON_FALSE: json_boolean(w, v->type == JSON_TRUE); break;
    case JSON_NONE:
    case JSON_NULL: json_null(w); break;
    }
}
