/* shape_internal.h - what the halves of shape share. Private to core/shape*.c. */
#ifndef CORE_SHAPE_INTERNAL_H
#define CORE_SHAPE_INTERNAL_H

#include "core/shape.h"

#define SHAPE_ITEMS_DEFAULT 100  /* of a list that names no max_items */
#define SHAPE_TEXT_DEFAULT 10000 /* code points of a text and bytes of a JSON value that name no max */
#define SHAPE_JSON_DEPTH 16
#define SHAPE_FIELDS_MAX 64

#define AT(type, base, field) ((type *)(void *)((char *)(base) + (field)->offset))
#define AT_CONST(type, base, field) ((const type *)(const void *)((const char *)(base) + (field)->offset))

/* The nested struct of a FIELD_OBJECT; NULL when it is none. */
static inline const void *field_object(const struct field *f, const void *base)
{
    return f->flags & FIELD_NULLABLE ? *AT_CONST(void *const, base, f) : (const char *)base + f->offset;
}
static inline unsigned field_max_items(const struct field *f)
{
    return f->max_items ? f->max_items : SHAPE_ITEMS_DEFAULT;
}
static inline int64_t field_max_len(const struct field *f) { return f->max ? f->max : SHAPE_TEXT_DEFAULT; }
/* Whether a FIELD_INT or FIELD_MONEY names limits. */
static inline bool field_has_range(const struct field *f) { return f->min || f->max; }

/* Writes the value of a field that has one member: everything but FIELD_MONEY. Only members whose flags have
 * none of `without`. */
void field_encode(const struct field *f, const void *base, unsigned without, struct json_writer *w);
/* The same with its name; FIELD_MONEY writes its two members. */
void field_encode_member(const struct field *f, const void *base, unsigned without, struct json_writer *w);
/* The JSON Schema of one value (of a parameter, for example). */
void field_schema(const struct field *f, enum shape_use use, bool with_meaning, struct json_writer *w);

#endif
