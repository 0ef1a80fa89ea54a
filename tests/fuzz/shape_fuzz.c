/* Any bytes as a body, a merge patch behind a line "%%", and a query string behind another: what is read can
 * be written, and what was written is read as the same again; what is refused names its fields. */
#include <stdlib.h>

#include "core/shape.h"

#define CHECK(claim) ((claim) ? (void)0 : abort())

struct inner {
    str name;
    int64_t n;
};
struct outer {
    str text, kind, mail, site, line, any, value;
    int64_t n, price, at_us;
    bool is_on;
    uuid id;
    struct texts tags;
    struct inner in;
    struct inner *maybe;
    struct objects list;
};
static const struct field inner_fields[] = {
    FIELD(struct inner, name, FIELD_TEXT, .format = FORMAT_NAME, .max = 20,
          .flags = FIELD_REQUIRED | FIELD_PERSONAL),
    FIELD(struct inner, n, FIELD_INT, .min = -5, .max = 5, .fallback = "1"),
};
static const struct shape inner_shape = SHAPE("Inner", struct inner, inner_fields, NULL);
static const struct field outer_fields[] = {
    FIELD(struct outer, text, FIELD_TEXT, .flags = FIELD_NULLABLE),
    FIELD(struct outer, kind, FIELD_ONE_OF, .choices = "a|bb|ccc", .fallback = "\"bb\""),
    FIELD(struct outer, mail, FIELD_TEXT, .format = FORMAT_EMAIL, .flags = FIELD_NULLABLE | FIELD_PERSONAL),
    FIELD(struct outer, site, FIELD_TEXT, .format = FORMAT_URL, .flags = FIELD_NULLABLE),
    FIELD(struct outer, line, FIELD_TEXT, .format = FORMAT_LINE, .flags = FIELD_NULLABLE),
    FIELD(struct outer, any, FIELD_TEXT, .format = FORMAT_ANY, .flags = FIELD_NULLABLE),
    FIELD(struct outer, value, FIELD_JSON, .flags = FIELD_NULLABLE),
    FIELD(struct outer, n, FIELD_INT, .flags = FIELD_NULLABLE),
    FIELD(struct outer, price, FIELD_MONEY, .flags = FIELD_NULLABLE),
    FIELD(struct outer, at_us, FIELD_TIME, .flags = FIELD_NULLABLE),
    FIELD(struct outer, is_on, FIELD_BOOL),
    FIELD(struct outer, id, FIELD_UUID, .flags = FIELD_NULLABLE),
    FIELD(struct outer, tags, FIELD_TEXTS, .min = 1, .max = 8, .max_items = 4),
    FIELD(struct outer, in, FIELD_OBJECT, .shape = &inner_shape, .fallback = "{\"name\":\"x\"}"),
    FIELD(struct outer, maybe, FIELD_OBJECT, .shape = &inner_shape, .flags = FIELD_NULLABLE),
    FIELD(struct outer, list, FIELD_OBJECTS, .shape = &inner_shape, .max_items = 3),
};
static const struct shape outer_shape = SHAPE("Outer", struct outer, outer_fields, NULL);

static void put(struct boxes *b, bool is_after, str member, str value, struct json_writer *w)
{
    (void)b;
    (void)is_after;
    CHECK(member.len && value.len);
    json_str(w, S("boxed"));
}

static void check_errors(enum errc code, const struct field_errors *errors, const err *e)
{
    if (code == ERR_INVALID)
        CHECK(errors->n == 0 || errors->first);
    else
        CHECK(code == ERR_TOO_LARGE);
    CHECK(e->code == code && e->msg[0]);
    for (const struct field_error *x = errors->first; x; x = x->next)
        CHECK(x->field.p && x->code && x->message.len);
}

static bool read_text(struct arena *a, str text, enum shape_mode mode, struct outer *out)
{
    struct json *v;
    struct field_errors errors = {0};
    err e = {0};
    if (json_parse(a, text, &v, NULL) != ERR_NONE) return false;
    enum errc code = shape_decode(a, &outer_shape, v, mode, out, NULL, &errors, &e);
    if (code != ERR_NONE) check_errors(code, &errors, &e);
    return code == ERR_NONE;
}

static void write_text(const struct outer *v, struct buf *out)
{
    struct json_writer w;
    buf_init(out, 16 << 20);
    json_writer_init(&w, out);
    shape_encode(&outer_shape, v, &w);
    CHECK(buf_err(out) == ERR_NONE);
}

static void check_same(struct arena *a, const struct outer *v)
{
    struct buf first, second, csv;
    struct outer again = {0};
    write_text(v, &first);
    CHECK(read_text(a, buf_str(&first), SHAPE_NEW, &again));
    write_text(&again, &second);
    CHECK(str_eq(buf_str(&first), buf_str(&second)));
    buf_init(&csv, 16 << 20);
    shape_csv_row(&outer_shape, v, &csv);
    CHECK(buf_err(&csv) == ERR_NONE && str_ends(buf_str(&csv), S("\r\n")));
    buf_fini(&first);
    buf_fini(&second);
    buf_fini(&csv);
}

static void check_diff(struct arena *a, const struct outer *x, const struct outer *y)
{
    struct buf before, after;
    struct json_writer w[2];
    struct json *v;
    struct boxes boxes = {put};
    buf_init(&before, 16 << 20);
    buf_init(&after, 16 << 20);
    json_writer_init(&w[0], &before);
    json_writer_init(&w[1], &after);
    bool differs = shape_diff(&outer_shape, x, y, &boxes, &w[0], &w[1]);
    CHECK(differs == (before.len > 2 || after.len > 2));
    CHECK(json_parse(a, buf_str(&before), &v, NULL) == ERR_NONE &&
          json_parse(a, buf_str(&after), &v, NULL) == ERR_NONE);
    buf_fini(&before);
    buf_fini(&after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    str parts[3] = {{(const char *)data, size}};
    for (unsigned i = 0; i < 2; i++) {
        ptrdiff_t at = str_find(parts[i], S("\n%%\n"));
        if (at < 0) break;
        parts[i + 1] = str_skip(parts[i], (size_t)at + 4);
        parts[i] = str_take(parts[i], (size_t)at);
    }
    struct arena a;
    struct outer v = {0}, q = {0};
    struct field_errors errors = {0};
    err e = {0};
    arena_init(&a, 32u << 20, 0);
    if (read_text(&a, parts[0], SHAPE_NEW, &v)) {
        struct outer merged = v;
        check_same(&a, &v);
        if (read_text(&a, parts[1], SHAPE_MERGE, &merged)) {
            check_same(&a, &merged);
            check_diff(&a, &v, &merged);
            check_diff(&a, NULL, &merged);
        }
    }
    enum errc code = shape_decode_query(&a, &outer_shape, parts[2], &q, &errors, &e);
    if (code != ERR_NONE) check_errors(code, &errors, &e);
    arena_fini(&a);
    return 0;
}
