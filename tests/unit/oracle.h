/* oracle.h - jansson next to our own JSON, which uses some of the same names.
 *
 * jansson's enumerators and functions of those names are renamed while its header is read, and what a test
 * needs of its type macros is here as functions. The renamed functions must not be called: they exist under
 * our names only. (jansson's own calls are bound inside its library.)
 */
#ifndef TESTS_ORACLE_H
#define TESTS_ORACLE_H

#define JSON_NULL JANSSON_NULL
#define JSON_FALSE JANSSON_FALSE
#define JSON_TRUE JANSSON_TRUE
#define JSON_STRING JANSSON_STRING
#define JSON_ARRAY JANSSON_ARRAY
#define JSON_OBJECT JANSSON_OBJECT
#define json_object jansson_not_to_be_called_object
#define json_array jansson_not_to_be_called_array
#define json_string jansson_not_to_be_called_string
#define json_null jansson_not_to_be_called_null

#include <jansson.h>

static inline json_type oracle_type(const json_t *v) { return json_typeof(v); }
static inline bool oracle_is_number(const json_t *v) { return json_is_number(v); }

#undef JSON_NULL
#undef JSON_FALSE
#undef JSON_TRUE
#undef JSON_STRING
#undef JSON_ARRAY
#undef JSON_OBJECT
#undef json_object
#undef json_array
#undef json_string
#undef json_null
#undef json_boolean

#include "json/tree.h"

/* A text under our rules; NULL when jansson refuses it. *is_undecided (may be NULL) when it is no judge: it
 * refuses numbers that overflow int64 or double and a NUL in a name, and takes a NUL byte behind a number or
 * word as nothing. */
static inline json_t *oracle_load(str text, size_t flags, bool *is_undecided)
{
    json_error_t je;
    json_t *doc = json_loadb(text.p ? text.p : "", text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL | flags, &je);
    if (is_undecided)
        *is_undecided =
            str_chr(text, 0) >= 0 || (!doc && (json_error_code(&je) == json_error_numeric_overflow ||
                                               json_error_code(&je) == json_error_null_byte_in_key));
    return doc;
}

/* Whether our tree says the same as jansson's. */
static inline bool oracle_equals(const struct json *ours, const json_t *theirs)
{
    static const enum json_type types[] = {
        [JANSSON_OBJECT] = JSON_OBJECT, [JANSSON_ARRAY] = JSON_ARRAY, [JANSSON_STRING] = JSON_STRING,
        [JSON_INTEGER] = JSON_NUMBER,   [JSON_REAL] = JSON_NUMBER,    [JANSSON_TRUE] = JSON_TRUE,
        [JANSSON_FALSE] = JSON_FALSE,   [JANSSON_NULL] = JSON_NULL,
    };
    if (types[oracle_type(theirs)] != ours->type) return false;
    char number[512];
    int64_t integer;
    size_t i = 0;
    switch (ours->type) {
    case JSON_STRING:
        return str_eq(ours->text, str_of(json_string_value(theirs), json_string_length(theirs)));
    case JSON_NUMBER:
        if (oracle_type(theirs) == JSON_INTEGER)
            return json_i64(ours, &integer) && integer == json_integer_value(theirs);
        if (ours->text.len >= sizeof number) return true;
        memcpy(number, ours->text.p, ours->text.len);
        number[ours->text.len] = 0;
        return !(strtod(number, NULL) < json_real_value(theirs)) &&
               !(strtod(number, NULL) > json_real_value(theirs));
    case JSON_ARRAY:
        for (const struct json *c = ours->child; c; c = c->next, i++)
            if (i >= json_array_size(theirs) || !oracle_equals(c, json_array_get(theirs, i))) return false;
        return i == ours->n && i == json_array_size(theirs);
    case JSON_OBJECT:
        for (const struct json *c = ours->child; c; c = c->next, i++) {
            char *name = strndup(c->name.p, c->name.len);
            const json_t *other = name ? json_object_get(theirs, name) : NULL;
            free(name);
            if (!other || !oracle_equals(c, other)) return false;
        }
        return i == ours->n && i == json_object_size(theirs);
    default: return true;
    }
}

#endif
