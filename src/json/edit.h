/* edit.h - changes to a scanned JSON text as splices: every other byte stays as it was.
 *
 * Edits are collected against offsets that json_scan reported, kept sorted, and must not overlap. The result
 * is given as slices (for writev) or appended to a buffer. Inserted text must stay alive until then; helper
 * edits take it from the arena.
 * Threads: one owner.
 */
#ifndef JSON_EDIT_H
#define JSON_EDIT_H

#include "base/arena.h"
#include "base/buf.h"
#include "json/scan.h"

#define JSON_EDITS_MAX 12

struct json_splice {
    size_t at, remove;
    str insert;
};
struct json_edit {
    str text;
    struct json_splice s[JSON_EDITS_MAX];
    unsigned n;
};

void json_edit_init(struct json_edit *ed, str text);
/* Replaces value (found in the same text) by raw JSON. ERR_INVALID on overlap, ERR_TOO_LARGE when there are
 * too many edits. */
WARN_UNUSED enum errc json_edit_replace(struct json_edit *ed, const struct json_value *value, str raw,
                                        err *e);
/* Adds "name":raw as the first member of object. */
WARN_UNUSED enum errc json_edit_add(struct json_edit *ed, struct arena *a, const struct json_value *object,
                                    str name, str raw, err *e);
/* Removes the member whose value is given, with its name and one comma. object is the object that holds
 * it. */
WARN_UNUSED enum errc json_edit_remove(struct json_edit *ed, const struct json_value *object,
                                       const struct json_value *value, err *e);
/* Length of the result. */
size_t json_edit_len(const struct json_edit *ed);
/* The result as at most 2 * JSON_EDITS_MAX + 1 slices; returns their number. */
unsigned json_edit_slices(const struct json_edit *ed, str out[2 * JSON_EDITS_MAX + 1]);
void json_edit_write(const struct json_edit *ed, struct buf *out);

#endif
