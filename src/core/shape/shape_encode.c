/* Writing: JSON answers and CSV rows. */
#include <assert.h>
#include <stdio.h>

#include "base/money.h"
#include "core/shape/shape_internal.h"

#define CSV_CELL_MAX (1u << 20)

static void encode_object(const struct shape *s, const void *value, unsigned without, struct json_writer *w);

/* Another text than the field's type allows would make an answer that breaks its own schema: an absent
 * required text is empty. */
static void encode_text(const struct field *f, str s, struct json_writer *w)
{
    if (!s.p && f->flags & FIELD_NULLABLE)
        json_null(w);
    else
        json_str(w, s);
}

static void encode_time(usec t, struct json_writer *w)
{
    char text[TIME_TEXT_LEN + 1];
    if (t == NO_VALUE)
        json_null(w);
    else
        json_str(w, time_format(t, text));
}

static void encode_uuid(const uuid *u, struct json_writer *w)
{
    char text[UUID_TEXT_LEN + 1];
    if (uuid_is_nil(u))
        json_null(w);
    else
        json_str(w, uuid_format(u, text));
}

static void encode_int(int64_t i, struct json_writer *w)
{
    if (i == NO_VALUE)
        json_null(w);
    else
        json_int(w, i);
}

static void encode_texts(const struct field *f, const struct texts *list, struct json_writer *w)
{
    if (!list->items && f->flags & FIELD_NULLABLE) {
        json_null(w);
        return;
    }
    json_array(w);
    for (unsigned i = 0; i < list->n; i++)
        json_str(w, list->items[i]);
    json_end(w);
}

static void encode_objects(const struct field *f, const struct objects *list, unsigned without,
                           struct json_writer *w)
{
    if (!list->items && f->flags & FIELD_NULLABLE) {
        json_null(w);
        return;
    }
    json_array(w);
    for (unsigned i = 0; i < list->n; i++)
        encode_object(f->shape, (const char *)list->items + i * f->shape->size, without, w);
    json_end(w);
}

void field_encode(const struct field *f, const void *base, unsigned without, struct json_writer *w)
{
    switch (f->type) {
    case FIELD_TEXT:
    case FIELD_ONE_OF: encode_text(f, *AT_CONST(str, base, f), w); return;
    case FIELD_INT: encode_int(*AT_CONST(int64_t, base, f), w); return;
    case FIELD_BOOL: json_boolean(w, *AT_CONST(bool, base, f)); return;
    case FIELD_TIME: encode_time(*AT_CONST(usec, base, f), w); return;
    case FIELD_UUID: encode_uuid(AT_CONST(uuid, base, f), w); return;
    case FIELD_TEXTS: encode_texts(f, AT_CONST(struct texts, base, f), w); return;
    case FIELD_JSON: {
        str raw = *AT_CONST(str, base, f);
        if (raw.len)
            json_raw(w, raw);
        else
            json_null(w);
        return;
    }
    case FIELD_OBJECT: {
        const void *nested = field_object(f, base);
        if (nested)
            encode_object(f->shape, nested, without, w);
        else
            json_null(w);
        return;
    }
    case FIELD_OBJECTS: encode_objects(f, AT_CONST(struct objects, base, f), without, w); return;
    case FIELD_MONEY: break;
    }
    assert(false && "money has two members");
}

static void name_with(struct json_writer *w, const char *name, const char *suffix)
{
    char whole[96];
    int n = snprintf(whole, sizeof whole, "%s%s", name, suffix);
    json_name(w, str_of(whole, (size_t)n));
}

static void encode_money(const struct field *f, const void *base, struct json_writer *w)
{
    char text[MONEY_TEXT_LEN];
    int64_t nano = *AT_CONST(int64_t, base, f);
    name_with(w, f->name, "_usd");
    if (nano == NO_VALUE)
        json_null(w);
    else
        json_str(w, money_format(nano, text));
    name_with(w, f->name, "_nanousd");
    encode_int(nano, w);
}

void field_encode_member(const struct field *f, const void *base, unsigned without, struct json_writer *w)
{
    if (f->type == FIELD_MONEY) {
        encode_money(f, base, w);
        return;
    }
    json_name(w, str_c(f->name));
    field_encode(f, base, without, w);
}

static void encode_object(const struct shape *s, const void *value, unsigned without, struct json_writer *w)
{
    json_object(w);
    for (unsigned i = 0; i < s->n; i++)
        if (!(s->fields[i].flags & without)) field_encode_member(&s->fields[i], value, without, w);
    json_end(w);
}

void shape_encode(const struct shape *s, const void *value, struct json_writer *w)
{
    encode_object(s, value, FIELD_WRITEONLY, w);
}

void shape_encode_without_secrets(const struct shape *s, const void *value, struct json_writer *w)
{
    encode_object(s, value, FIELD_WRITEONLY | FIELD_SECRET, w);
}

bool shape_has_secrets(const struct shape *s)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->fields[i].flags & FIELD_SECRET ||
            (s->fields[i].shape && shape_has_secrets(s->fields[i].shape)))
            return true;
    return false;
}

/* --- CSV (RFC 4180) --- */

/* What a spreadsheet takes for a formula (OWASP, CSV injection). */
static bool is_formula(str s) { return s.len && memchr("=+-@\t\r", s.p[0], 6); }

static void csv_cell(struct buf *out, str s, bool is_text)
{
    bool is_quoted = is_text && s.len &&
                     (memchr(s.p, '"', s.len) || memchr(s.p, ',', s.len) || memchr(s.p, '\n', s.len) ||
                      memchr(s.p, '\r', s.len));
    if (!is_quoted) {
        if (is_text && is_formula(s)) buf_add_char(out, '\'');
        buf_add(out, s);
        return;
    }
    buf_add_char(out, '"');
    if (is_formula(s)) buf_add_char(out, '\'');
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '"') buf_add_char(out, '"');
        buf_add_char(out, s.p[i]);
    }
    buf_add_char(out, '"');
}

static void csv_separator(struct buf *out, unsigned *n)
{
    if ((*n)++) buf_add_char(out, ',');
}

static void csv_names(const struct shape *s, const char *prefix, unsigned *n, struct buf *out)
{
    for (unsigned i = 0; i < s->n; i++) {
        const struct field *f = &s->fields[i];
        char name[128];
        snprintf(name, sizeof name, "%s%s%s", prefix, prefix[0] ? "." : "", f->name);
        if (f->flags & (FIELD_WRITEONLY | FIELD_SECRET)) continue;
        if (f->type == FIELD_OBJECT) {
            csv_names(f->shape, name, n, out);
            continue;
        }
        csv_separator(out, n);
        if (f->type == FIELD_MONEY)
            buf_addf(out, "%s_usd,%s_nanousd", name, name);
        else
            buf_addf(out, "%s", name);
    }
}

/* Lists and JSON values stand in one cell: texts separated by "; ", everything else as JSON. */
static void csv_composite(const struct field *f, const void *base, struct buf *out)
{
    struct buf cell;
    struct json_writer w;
    buf_init(&cell, CSV_CELL_MAX);
    if (f->type == FIELD_TEXTS) {
        const struct texts *list = AT_CONST(struct texts, base, f);
        for (unsigned i = 0; i < list->n; i++) {
            buf_add(&cell, i ? S("; ") : S(""));
            buf_add(&cell, list->items[i]);
        }
    } else {
        json_writer_init(&w, &cell);
        field_encode(f, base, FIELD_WRITEONLY | FIELD_SECRET, &w);
    }
    csv_cell(out, buf_str(&cell), true);
    if (buf_err(&cell) != ERR_NONE) out->failed = buf_err(&cell);
    buf_fini(&cell);
}

static void csv_values(const struct shape *s, const void *value, unsigned *n, struct buf *out);

static void csv_value(const struct field *f, const void *base, struct buf *out)
{
    char text[TIME_TEXT_LEN + UUID_TEXT_LEN + MONEY_TEXT_LEN];
    int64_t i;
    switch (f->type) {
    case FIELD_TEXT:
    case FIELD_ONE_OF:
        if (base) csv_cell(out, *AT_CONST(str, base, f), true);
        return;
    case FIELD_BOOL:
        if (base) buf_add(out, *AT_CONST(bool, base, f) ? S("true") : S("false"));
        return;
    case FIELD_UUID:
        if (base && !uuid_is_nil(AT_CONST(uuid, base, f)))
            buf_add(out, uuid_format(AT_CONST(uuid, base, f), text));
        return;
    case FIELD_INT:
    case FIELD_TIME:
        i = base ? *AT_CONST(int64_t, base, f) : NO_VALUE;
        if (i != NO_VALUE && f->type == FIELD_TIME)
            buf_add(out, time_format(i, text));
        else if (i != NO_VALUE)
            buf_add_i64(out, i);
        return;
    case FIELD_MONEY:
        i = base ? *AT_CONST(int64_t, base, f) : NO_VALUE;
        if (i != NO_VALUE) buf_add(out, money_format(i, text));
        buf_add_char(out, ',');
        if (i != NO_VALUE) buf_add_i64(out, i);
        return;
    case FIELD_TEXTS:
    case FIELD_JSON:
    case FIELD_OBJECTS:
        if (base) csv_composite(f, base, out);
        return;
    case FIELD_OBJECT: return;
    }
}

static void csv_values(const struct shape *s, const void *value, unsigned *n, struct buf *out)
{
    for (unsigned i = 0; i < s->n; i++) {
        const struct field *f = &s->fields[i];
        if (f->flags & (FIELD_WRITEONLY | FIELD_SECRET)) continue;
        if (f->type == FIELD_OBJECT) { /* an object that is none leaves its columns empty */
            csv_values(f->shape, value ? field_object(f, value) : NULL, n, out);
            continue;
        }
        csv_separator(out, n);
        csv_value(f, value, out);
    }
}

void shape_csv_header(const struct shape *s, struct buf *out)
{
    unsigned n = 0;
    csv_names(s, "", &n, out);
    buf_add(out, S("\r\n"));
}

void shape_csv_row(const struct shape *s, const void *value, struct buf *out)
{
    unsigned n = 0;
    csv_values(s, value, &n, out);
    buf_add(out, S("\r\n"));
}
