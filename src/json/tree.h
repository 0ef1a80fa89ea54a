/* tree.h - a JSON (or YAML) document as a tree in an arena.
 *
 * Same strictness as scan.h; duplicate member names are an error (ERR_INVALID). Big integers stay exact: a
 * number keeps its text. Strings without escapes are slices of the input, which must outlive the tree.
 * Threads: a finished tree is immutable.
 */
#ifndef JSON_TREE_H
#define JSON_TREE_H

#include "base/arena.h"
#include "json/scan.h"
#include "json/write.h"

struct json {
    enum json_type type;
    uint32_t n;    /* members or elements */
    uint32_t line; /* 1-based line in the source; 0 when unknown (JSON) */
    str text;      /* strings: decoded; numbers: as written */
    str name;      /* decoded member name when the parent is an object */
    struct json *child, *next;
};

/* Parses a whole text. ERR_SYNTAX (offset in the message), ERR_INVALID (duplicate name), ERR_TOO_LARGE
 * (arena). */
WARN_UNUSED enum errc json_parse(struct arena *a, str text, struct json **out, err *e);

/* NULL when o is no object or has no such member. */
const struct json *json_get(const struct json *o, str name);
/* "a.b.c" through objects. */
const struct json *json_at(const struct json *o, str dotted);
WARN_UNUSED bool json_i64(const struct json *v, int64_t *out); /* exact integers only, as json_to_i64 */
WARN_UNUSED bool json_bool(const struct json *v, bool *out);
/* Levels of nesting: 0 for a plain value, 1 for {} or []. */
unsigned json_depth(const struct json *v);
/* As compact JSON, names and numbers as they stand. At most JSON_WRITE_DEPTH levels together with what w has open. */
void json_tree_write(const struct json *v, struct json_writer *w);

#endif
