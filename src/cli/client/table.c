/* table.c - answers of the API for people: columns as wide as what stands in them, numbers to the right. */
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "cli/client/client.h"
#include "cli/filter.h"

#define COLUMNS_MAX 16
#define CELL_MAX 60 /* columns of the screen */
#define OUT_MAX (256u << 20)

static int print_json(const struct json *v)
{
    struct buf out;
    struct json_writer w;
    buf_init(&out, OUT_MAX);
    json_writer_init(&w, &out);
    json_put_tree(&w, v);
    buf_add_char(&out, '\n');
    int code = cli_print(&out);
    if (out.p) explicit_bzero(out.p, out.cap); /* it may hold a key that is shown once */
    buf_fini(&out);
    return code;
}

/* --- cells --- */

static str scalar(const struct json *v)
{
    switch (v->type) {
    case JSON_STRING:
    case JSON_NUMBER: return v->text;
    case JSON_TRUE: return S("yes");
    case JSON_FALSE: return S("no");
    case JSON_ARRAY:
    case JSON_OBJECT: return S("...");
    case JSON_NONE:
    case JSON_NULL: break;
    }
    return S("-");
}

/* "12.340000000" -> "12.34": two places at least. */
static str shorter_money(str s)
{
    ptrdiff_t dot = str_chr(s, '.');
    if (dot < 0) return s;
    while (s.len > (size_t)dot + 3 && s.p[s.len - 1] == '0')
        s.len--;
    return s;
}

static str cell(struct arena *a, const struct json *item, const struct column *column)
{
    const struct json *v = json_at(item, str_c(column->member));
    struct buf text;
    str out;
    if (!v || v->type == JSON_NULL) return S("-");
    switch (column->type) {
    case COLUMN_TEXT:
    case COLUMN_COUNT:
    case COLUMN_BOOL: return scalar(v);
    case COLUMN_MONEY: return shorter_money(scalar(v));
    case COLUMN_TIME: /* 2026-11-24T06:50:00.123456Z -> 2026-11-24 06:50:00 */
        out = scalar(v);
        return out.len < 19 ? out
                            : arena_printf(a, "%.*s %.*s", STR(str_take(out, 10)),
                                           STR(str_take(str_skip(out, 11), 8)));
    case COLUMN_TEXTS:
    case COLUMN_PROGRESS: break;
    }
    buf_init(&text, 4096);
    if (column->type == COLUMN_PROGRESS) {
        const struct json *done = json_get(v, S("done")), *total = json_get(v, S("total")),
                          *phase = json_get(v, S("phase"));
        buf_addf(&text, "%.*s", STR(done ? scalar(done) : S("0")));
        if (total && !str_eq(scalar(total), S("0"))) buf_addf(&text, "/%.*s", STR(scalar(total)));
        if (phase && phase->type == JSON_STRING && phase->text.len)
            buf_addf(&text, " %.*s", STR(phase->text));
    }
    for (const struct json *it = column->type == COLUMN_TEXTS ? v->child : NULL; it; it = it->next)
        buf_addf(&text, "%s%.*s", text.len ? "," : "", STR(scalar(it)));
    out = text.len ? str_dup(a, buf_str(&text)) : S("-");
    buf_fini(&text);
    return out;
}

static size_t width_of(str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.p[i] & 0xC0) != 0x80; /* code points */
    return n;
}

static bool is_to_the_right(const struct column *c)
{
    return c->type == COLUMN_COUNT || c->type == COLUMN_MONEY;
}

static void put_cell(struct buf *out, const struct column *c, str text, size_t width, bool is_last)
{
    size_t own = width_of(text), pad = width > own ? width - own : 0;
    if (is_to_the_right(c))
        for (size_t i = 0; i < pad; i++)
            buf_add_char(out, ' ');
    add_plain(out, text, 0);
    if (!is_last && !is_to_the_right(c))
        for (size_t i = 0; i < pad; i++)
            buf_add_char(out, ' ');
    buf_add(out, is_last ? S("\n") : S("  "));
}

static str cut(str s)
{
    size_t i = 0;
    for (size_t n = 0; i < s.len; i++) {
        n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
        if (n > CELL_MAX) break;
    }
    return str_take(s, i);
}

int client_table(struct client *c, const struct json *items, const struct column *columns, unsigned n)
{
    size_t widths[COLUMNS_MAX] = {0};
    struct buf out;
    if (c->as_json) return print_json(items);
    str *cells = arena_news(c->arena, str, (size_t)items->n * n + 1);
    if (!cells) return client_fail(ERR_NO_MEMORY, "out of memory");
    for (unsigned k = 0; k < n; k++)
        widths[k] = strlen(columns[k].title);
    unsigned row = 0;
    for (const struct json *it = items->child; it; it = it->next, row++)
        for (unsigned k = 0; k < n; k++) {
            str *at = &cells[(size_t)row * n + k];
            *at = cut(cell(c->arena, it, &columns[k]));
            size_t width = width_of(*at);
            if (width > widths[k]) widths[k] = width;
        }
    buf_init(&out, OUT_MAX);
    for (unsigned k = 0; k < n; k++)
        put_cell(&out, &columns[k], str_c(columns[k].title), widths[k], k + 1 == n);
    for (unsigned i = 0; i < row; i++)
        for (unsigned k = 0; k < n; k++)
            put_cell(&out, &columns[k], cells[(size_t)i * n + k], widths[k], k + 1 == n);
    int code = cli_print(&out);
    buf_fini(&out);
    return code;
}

int client_object(struct client *c, const struct json *object, const struct column *columns, unsigned n)
{
    struct buf out;
    size_t width = 0;
    if (!object) return client_fail(ERR_UPSTREAM, "the server's answer is empty");
    if (c->as_json) return print_json(object);
    for (unsigned k = 0; k < n; k++)
        if (strlen(columns[k].title) > width) width = strlen(columns[k].title);
    buf_init(&out, OUT_MAX);
    for (unsigned k = 0; k < n; k++) {
        buf_addf(&out, "%-*s  ", (int)width, columns[k].title);
        add_plain(&out, cell(c->arena, object, &columns[k]), 0);
        buf_add_char(&out, '\n');
    }
    int code = cli_print(&out);
    if (out.p) explicit_bzero(out.p, out.cap);
    buf_fini(&out);
    return code;
}

int client_done(struct client *c, const struct json *answer, const char *fmt, ...)
{
    static const struct json empty = {.type = JSON_OBJECT};
    struct buf out;
    va_list args;
    char text[512];
    if (c->as_json) return print_json(answer ? answer : &empty);
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    buf_init(&out, 4096);
    add_plain(&out, str_c(text), 0);
    buf_add_char(&out, '\n');
    int code = cli_print(&out);
    buf_fini(&out);
    return code;
}
