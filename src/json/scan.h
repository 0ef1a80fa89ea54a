/* scan.h - one validating pass over a JSON text (RFC 8259) that finds chosen members and keeps every byte
 * where it is.
 *
 * A query is a small set of paths compiled once ("model", "stream_options.include_usage",
 * "choices[].delta.content"); a scan validates the whole text (strict UTF-8, no lone surrogates, escapes and
 * numbers by the grammar, depth limit, nothing behind the value) and reports each place where a path matches,
 * as slices of the text. Member names are compared after unescaping, so "mod\u0065l" is "model".
 * Duplicate names inside one object are an error for paths marked as deciding, ignored for all others.
 * No allocation. Matches are reported while the scan runs, so some may come before an error.
 * Errors: ERR_SYNTAX with the byte offset in the message and in *error_offset; ERR_INVALID for a deciding
 * duplicate, with the offset of the second name.
 * Threads: a compiled query is immutable; scans run anywhere.
 */
#ifndef JSON_SCAN_H
#define JSON_SCAN_H

#include "base/err.h"

#define JSON_DEPTH_MAX 128 /* nesting deeper than this is refused */
#define JSON_QUERY_PATHS 32
#define JSON_QUERY_NODES 96

enum json_type {
    JSON_NONE,
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

/* A value inside the text. */
struct json_value {
    enum json_type type;
    bool has_escapes; /* strings only: raw contains a backslash */
    str raw;          /* the value's bytes, quotes and brackets included */
    size_t offset;    /* of raw in the text */
    uint32_t n;       /* members or elements, for objects and arrays */
};

/* One path: names joined by '.', "[]" behind a name (or alone at the start) means every element of that
 * array. */
struct json_path {
    str path;
    bool decides; /* a duplicate of this member (or of an object on the way to it) is an error */
};

struct json_query; /* opaque to callers, but a plain value: see json_query_size */
struct json_query_node {
    str name;    /* without escapes */
    int8_t path; /* index of the path that ends here, or -1 */
    bool decides, any_element;
    uint8_t first_child, n_children; /* children are adjacent */
};
struct json_query {
    struct json_query_node nodes[JSON_QUERY_NODES];
    unsigned n_nodes, n_paths;
};

/* Compiles at most JSON_QUERY_PATHS paths; the names must stay alive. ERR_INVALID for a malformed path or too
 * many nodes. */
WARN_UNUSED enum errc json_query_init(struct json_query *q, const struct json_path *paths, unsigned n,
                                      err *e);

/* Called for each match in text order, an object or array after its contents. `path` is the index given at
 * compile time. */
typedef void (*json_match_fn)(void *ctx, unsigned path, const struct json_value *value);

/* Scans text; root (may be NULL) receives the outermost value. On error *error_offset (may be NULL) is the
 * offending byte. q may be NULL. */
WARN_UNUSED enum errc json_scan(str text, const struct json_query *q, json_match_fn on_match, void *ctx,
                                struct json_value *root, size_t *error_offset, err *e);

/* The convenience for paths that occur at most once: hits[i] is the last match of path i, type JSON_NONE when
 * absent. hits has q->n_paths entries and is cleared first. */
WARN_UNUSED enum errc json_find(str text, const struct json_query *q, struct json_value *hits,
                                struct json_value *root, err *e);

/* --- reading values --- */
/* The string's text: a slice of the input when it has no escapes, else unescaped into out (at least raw.len
 * bytes). v must be a JSON_STRING that a scan found. Returns the decoded slice. */
str json_string(const struct json_value *v, char *out);
/* Whether v is a string equal to s (escapes decoded). No allocation. */
bool json_string_is(const struct json_value *v, str s);
/* Number of UTF-8 bytes of the decoded string; 0 for other types. */
size_t json_string_len(const struct json_value *v);
/* Exact integers only: "12", "-3", also "12.0" and "1e3"; false for fractions, overflow and other types. */
WARN_UNUSED bool json_to_i64(const struct json_value *v, int64_t *out);

#endif
