/* What changed, for the log of events. */
#include <stdio.h>

#include "core/shape/shape_internal.h"

#define NOT_COMPARED (FIELD_WRITEONLY | FIELD_SECRET | FIELD_UNAUDITED)
#define VALUE_MAX (256u << 10)

static bool objects_equal(const struct shape *s, const void *a, const void *b);

static bool texts_equal(const struct texts *a, const struct texts *b)
{
    if (a->n != b->n || !a->items != !b->items) return false;
    for (unsigned i = 0; i < a->n; i++)
        if (!str_eq(a->items[i], b->items[i])) return false;
    return true;
}

static bool lists_equal(const struct shape *s, const struct objects *a, const struct objects *b)
{
    if (a->n != b->n || !a->items != !b->items) return false;
    for (unsigned i = 0; i < a->n; i++)
        if (!objects_equal(s, (const char *)a->items + i * s->size, (const char *)b->items + i * s->size))
            return false;
    return true;
}

/* None differs from the empty text only where it is written differently. */
static bool text_equal(const struct field *f, str a, str b)
{
    return str_eq(a, b) && (!(f->flags & FIELD_NULLABLE) || !a.p == !b.p);
}

static bool field_equal(const struct field *f, const void *a, const void *b)
{
    switch (f->type) {
    case FIELD_TEXT:
    case FIELD_ONE_OF: return text_equal(f, *AT_CONST(str, a, f), *AT_CONST(str, b, f));
    case FIELD_JSON: return str_eq(*AT_CONST(str, a, f), *AT_CONST(str, b, f));
    case FIELD_INT:
    case FIELD_MONEY:
    case FIELD_TIME: return *AT_CONST(int64_t, a, f) == *AT_CONST(int64_t, b, f);
    case FIELD_BOOL: return *AT_CONST(bool, a, f) == *AT_CONST(bool, b, f);
    case FIELD_UUID: return memcmp(AT_CONST(uuid, a, f), AT_CONST(uuid, b, f), sizeof(uuid)) == 0;
    case FIELD_TEXTS: return texts_equal(AT_CONST(struct texts, a, f), AT_CONST(struct texts, b, f));
    case FIELD_OBJECTS:
        return lists_equal(f->shape, AT_CONST(struct objects, a, f), AT_CONST(struct objects, b, f));
    case FIELD_OBJECT: break;
    }
    const void *x = field_object(f, a), *y = field_object(f, b);
    return x && y ? objects_equal(f->shape, x, y) : x == y;
}

static bool objects_equal(const struct shape *s, const void *a, const void *b)
{
    for (unsigned i = 0; i < s->n; i++)
        if (!(s->fields[i].flags & NOT_COMPARED) && !field_equal(&s->fields[i], a, b)) return false;
    return true;
}

static bool is_none(const struct field *f, const void *base)
{
    switch (f->type) {
    case FIELD_TEXT:
    case FIELD_ONE_OF:
    case FIELD_JSON: return !AT_CONST(str, base, f)->p;
    case FIELD_INT:
    case FIELD_MONEY:
    case FIELD_TIME: return *AT_CONST(int64_t, base, f) == NO_VALUE;
    case FIELD_UUID: return uuid_is_nil(AT_CONST(uuid, base, f));
    case FIELD_TEXTS: return !AT_CONST(struct texts, base, f)->items;
    case FIELD_OBJECTS: return !AT_CONST(struct objects, base, f)->items;
    case FIELD_OBJECT: return !field_object(f, base);
    case FIELD_BOOL: break;
    }
    return false;
}

/* One side of an event. */
struct side {
    struct boxes *box;
    bool is_after;
    struct json_writer *w;
};

static void write_object(struct side *side, const struct shape *s, const void *value, uint64_t which,
                         const char *up);

/* The value of a personal field never reaches the event. */
static void write_personal(struct side *side, const struct field *f, const void *value, const char *path)
{
    struct buf text;
    struct json_writer inner;
    json_name(side->w, str_c(f->name));
    if (is_none(f, value)) {
        json_null(side->w);
        return;
    }
    buf_init(&text, VALUE_MAX);
    json_writer_init(&inner, &text);
    if (f->type == FIELD_MONEY)
        json_int(&inner, *AT_CONST(int64_t, value, f));
    else
        field_encode(f, value, NOT_COMPARED, &inner);
    if (buf_err(&text) != ERR_NONE) side->w->out->failed = buf_err(&text);
    side->box->put(side->box, side->is_after, str_c(path), buf_str(&text), side->w);
    buf_fini(&text);
}

static void write_field(struct side *side, const struct field *f, const void *value, const char *up)
{
    char path[160];
    snprintf(path, sizeof path, "%s%s%s", up, up[0] ? "." : "", f->name);
    if (f->flags & FIELD_PERSONAL) {
        write_personal(side, f, value, path);
    } else if (f->type == FIELD_OBJECT && field_object(f, value)) {
        json_name(side->w, str_c(f->name));
        write_object(side, f->shape, field_object(f, value), UINT64_MAX, path);
    } else if (f->type == FIELD_OBJECTS && AT_CONST(struct objects, value, f)->items) {
        const struct objects *list = AT_CONST(struct objects, value, f);
        json_name(side->w, str_c(f->name));
        json_array(side->w);
        for (unsigned i = 0; i < list->n; i++) {
            char element[184];
            snprintf(element, sizeof element, "%s[%u]", path, i);
            write_object(side, f->shape, (const char *)list->items + i * f->shape->size, UINT64_MAX, element);
        }
        json_end(side->w);
    } else {
        field_encode_member(f, value, NOT_COMPARED, side->w);
    }
}

static void write_object(struct side *side, const struct shape *s, const void *value, uint64_t which,
                         const char *up)
{
    json_object(side->w);
    for (unsigned i = 0; i < s->n; i++)
        if (which >> i & 1 && !(s->fields[i].flags & NOT_COMPARED))
            write_field(side, &s->fields[i], value, up);
    json_end(side->w);
}

bool shape_diff(const struct shape *s, const void *before, const void *after, struct boxes *box,
                struct json_writer *before_out, struct json_writer *after_out)
{
    struct side sides[2] = {{box, false, before_out}, {box, true, after_out}};
    const void *const values[2] = {before, after};
    uint64_t which = 0;
    for (unsigned i = 0; i < s->n; i++)
        if (!(s->fields[i].flags & NOT_COMPARED) &&
            (!before || !after || !field_equal(&s->fields[i], before, after)))
            which |= 1ull << i;
    for (unsigned i = 0; i < 2; i++)
        if (values[i])
            write_object(&sides[i], s, values[i], which, "");
        else
            json_null(sides[i].w);
    return which && (before || after);
}
