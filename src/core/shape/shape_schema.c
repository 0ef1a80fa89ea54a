/* JSON Schema 2020-12 of a shape, as OpenAPI 3.1 takes it. */
#include <stdio.h>

#include "core/shape/shape_internal.h"

#define NANO_PATTERN "^-?[0-9]+(\\.[0-9]{1,9})?$"

/* "string", or ["string","null"]. */
static void put_type(struct json_writer *w, const char *type, bool is_nullable)
{
    if (!is_nullable) {
        json_put_str(w, "type", str_c(type));
        return;
    }
    json_name(w, S("type"));
    json_array(w);
    json_str(w, str_c(type));
    json_str(w, S("null"));
    json_end(w);
}

static void put_choices(struct json_writer *w, const char *choices, bool is_nullable)
{
    json_name(w, S("enum"));
    json_array(w);
    for (str rest = str_c(choices); rest.len;)
        json_str(w, str_cut(&rest, '|'));
    if (is_nullable) json_null(w);
    json_end(w);
}

static void put_text(const struct field *f, bool is_nullable, struct json_writer *w)
{
    put_type(w, "string", is_nullable);
    if (f->choices) {
        put_choices(w, f->choices, is_nullable);
        return;
    }
    if (f->min) json_put_int(w, "minLength", f->min);
    json_put_int(w, "maxLength", field_max_len(f));
    switch (f->format) {
    case FORMAT_NAME: json_put_str(w, "pattern", S("^[A-Za-z0-9][A-Za-z0-9._-]*$")); break;
    case FORMAT_EMAIL: json_put_str(w, "format", S("email")); break;
    case FORMAT_URL: json_put_str(w, "format", S("uri")); break;
    default: break;
    }
}

static void put_integer(const struct field *f, bool is_nullable, struct json_writer *w)
{
    put_type(w, "integer", is_nullable);
    json_put_str(w, "format", S("int64"));
    if (field_has_range(f)) {
        json_put_int(w, "minimum", f->min);
        if (f->max != INT64_MAX) json_put_int(w, "maximum", f->max);
    }
}

const char *shape_use_suffix(enum shape_use use)
{
    static const char *const suffixes[SHAPE_USES] = {
        [SHAPE_ANSWER] = "", [SHAPE_INPUT] = "Input", [SHAPE_PATCH] = "Patch"};
    return suffixes[use];
}

static void put_ref(const struct shape *s, enum shape_use use, struct json_writer *w)
{
    char ref[128];
    int n = snprintf(ref, sizeof ref, "#/components/schemas/%s%s", s->name, shape_use_suffix(use));
    json_put_str(w, "$ref", str_of(ref, (size_t)n));
}

static void put_body(const struct field *f, enum shape_use use, struct json_writer *w)
{
    bool is_nullable = f->flags & FIELD_NULLABLE;
    switch (f->type) {
    case FIELD_TEXT:
    case FIELD_ONE_OF: put_text(f, is_nullable, w); return;
    case FIELD_INT:
    case FIELD_MONEY: put_integer(f, is_nullable, w); return;
    case FIELD_BOOL: put_type(w, "boolean", false); return;
    case FIELD_TIME:
        put_type(w, "string", is_nullable);
        json_put_str(w, "format", S("date-time"));
        return;
    case FIELD_UUID:
        put_type(w, "string", is_nullable);
        json_put_str(w, "format", S("uuid"));
        return;
    case FIELD_JSON:
        if (f->format == FORMAT_OBJECT) {
            put_type(w, "object", is_nullable);
            json_put_bool(w, "additionalProperties", true);
        }
        return;
    case FIELD_TEXTS:
        put_type(w, "array", is_nullable);
        json_put_int(w, "maxItems", field_max_items(f));
        json_name(w, S("items"));
        json_object(w);
        put_text(f, false, w);
        json_end(w);
        return;
    case FIELD_OBJECTS:
        put_type(w, "array", is_nullable);
        json_put_int(w, "maxItems", field_max_items(f));
        json_name(w, S("items"));
        json_object(w);
        put_ref(f->shape, use == SHAPE_PATCH ? SHAPE_INPUT : use, w); /* a list is replaced as a whole */
        json_end(w);
        return;
    case FIELD_OBJECT:
        if (!is_nullable) {
            put_ref(f->shape, use, w);
            return;
        }
        json_name(w, S("anyOf"));
        json_array(w);
        json_object(w);
        put_ref(f->shape, use, w);
        json_end(w);
        json_object(w);
        put_type(w, "null", false);
        json_end(w);
        json_end(w);
        return;
    }
}

static void put_meaning(const struct field *f, struct json_writer *w)
{
    if (f->meaning) json_put_str(w, "description", str_c(f->meaning));
}

void field_schema(const struct field *f, enum shape_use use, bool with_meaning, struct json_writer *w)
{
    json_object(w);
    put_body(f, use, w);
    if (with_meaning) put_meaning(f, w);
    if (f->fallback && use == SHAPE_INPUT) {
        json_name(w, S("default"));
        json_raw(w, str_c(f->fallback));
    }
    json_end(w);
}

static void put_money(const struct field *f, enum shape_use use, struct json_writer *w)
{
    char name[96];
    int n = snprintf(name, sizeof name, "%s_usd", f->name);
    json_name(w, str_of(name, (size_t)n));
    json_object(w);
    put_type(w, "string", f->flags & FIELD_NULLABLE);
    json_put_str(w, "pattern", S(NANO_PATTERN));
    put_meaning(f, w);
    if (f->fallback && use == SHAPE_INPUT) {
        json_name(w, S("default"));
        json_raw(w, str_c(f->fallback));
    }
    json_end(w);
    n = snprintf(name, sizeof name, "%s_nanousd", f->name);
    json_name(w, str_of(name, (size_t)n));
    json_object(w);
    put_body(f, use, w);
    json_put_str(w, "description", S("The same in billionths of a US dollar."));
    json_end(w);
}

/* A member that an answer always has, a body that creates must have, a merge patch never has to. */
static bool is_required(const struct field *f, enum shape_use use)
{
    if (use == SHAPE_ANSWER) return !(f->flags & FIELD_SECRET);
    return use == SHAPE_INPUT && f->flags & FIELD_REQUIRED && f->type != FIELD_MONEY;
}

static bool is_shown(const struct field *f, enum shape_use use)
{
    return !(f->flags & (use == SHAPE_ANSWER ? FIELD_WRITEONLY : FIELD_READONLY));
}

void shape_schema(const struct shape *s, enum shape_use use, struct json_writer *w)
{
    bool has_required = false;
    json_object(w);
    json_put_str(w, "type", S("object"));
    if (s->meaning) json_put_str(w, "description", str_c(s->meaning));
    json_name(w, S("properties"));
    json_object(w);
    for (unsigned i = 0; i < s->n; i++) {
        const struct field *f = &s->fields[i];
        if (!is_shown(f, use)) continue;
        if (f->type == FIELD_MONEY) {
            put_money(f, use, w);
        } else {
            json_name(w, str_c(f->name));
            field_schema(f, use, true, w);
        }
        has_required |= is_required(f, use);
    }
    json_end(w);
    if (has_required) {
        json_name(w, S("required"));
        json_array(w);
        for (unsigned i = 0; i < s->n; i++) {
            const struct field *f = &s->fields[i];
            if (!is_shown(f, use) || !is_required(f, use)) continue;
            if (f->type == FIELD_MONEY) {
                char name[96];
                int n = snprintf(name, sizeof name, "%s_usd", f->name);
                json_str(w, str_of(name, (size_t)n));
                n = snprintf(name, sizeof name, "%s_nanousd", f->name);
                json_str(w, str_of(name, (size_t)n));
            } else {
                json_str(w, str_c(f->name));
            }
        }
        json_end(w);
    }
    if (use != SHAPE_ANSWER) json_put_bool(w, "additionalProperties", false);
    json_end(w);
}
