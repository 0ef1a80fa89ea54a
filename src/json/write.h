/* write.h - JSON text into a buffer: commas and escaping done here, errors sticky in the buffer.
 *
 * Strings must be valid UTF-8; invalid bytes are written as U+FFFD so that the output is always JSON. Control
 * characters, '"' and '\\' are escaped, '/' is not, U+2028/2029 are (safe inside scripts).
 * Wrong nesting is a programming error and asserts. Threads: one owner.
 */
#ifndef JSON_WRITE_H
#define JSON_WRITE_H

#include "base/buf.h"

#define JSON_WRITE_DEPTH 32

struct json_writer {
    struct buf *out;
    uint8_t depth;
    bool needs_comma, after_name;
    char closers[JSON_WRITE_DEPTH];
};

void json_writer_init(struct json_writer *w, struct buf *out);
void json_object(struct json_writer *w);
void json_array(struct json_writer *w);
void json_end(struct json_writer *w); /* closes the innermost object or array */
void json_name(struct json_writer *w, str name);
void json_str(struct json_writer *w, str s);
void json_int(struct json_writer *w, int64_t v);
void json_uint(struct json_writer *w, uint64_t v);
void json_boolean(struct json_writer *w, bool v);
void json_null(struct json_writer *w);
void json_raw(struct json_writer *w, str raw); /* a value that is JSON already */
/* name and value at once */
void json_put_str(struct json_writer *w, const char *name, str s);
void json_put_int(struct json_writer *w, const char *name, int64_t v);
void json_put_bool(struct json_writer *w, const char *name, bool v);
void json_put_null(struct json_writer *w, const char *name);

/* A tree as it was parsed. ERR_TOO_LARGE in the buffer when it is nested deeper than a writer can be. */
struct json;
void json_put_tree(struct json_writer *w, const struct json *v);

/* Only the escaped contents, without quotes. */
void json_escape(struct buf *out, str s);

#endif
