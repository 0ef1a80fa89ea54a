/* internal.h - what the files of the flags share: rows, and the snapshot. Private to src/core/flags. */
#ifndef CORE_FLAGS_INTERNAL_H
#define CORE_FLAGS_INTERNAL_H

#include "core/flags.h"

#define FLAG_NAME_MAX 100
#define FLAGS_MAX 500 /* of a workspace */

/* A flag as the API has it; the members have flagd's names on the wire. */
struct flag_row {
    uuid id;
    str name, state, variants, default_variant, targeting;
    usec created_at, updated_at;
    int64_t version;
};
/* The definition as JSON: what is stored and what flagd reads. */
void flag_write_definition(const struct flag_row *row, struct json_writer *w);
/* ERR_CORRUPT when what is stored is no definition. */
WARN_UNUSED enum errc flag_read_definition(struct arena *a, str definition, struct flag_row *row, err *e);

WARN_UNUSED enum errc flag_rows(struct tx *tx, struct arena *a, const uuid *workspace, struct flag_row **out,
                                unsigned *n, err *e);
/* ERR_NOT_FOUND. */
WARN_UNUSED enum errc flag_row_get(struct tx *tx, struct arena *a, const uuid *workspace, str name,
                                   struct flag_row *out, err *e);
WARN_UNUSED enum errc flag_row_put(struct tx *tx, const uuid *workspace, const struct flag_row *row,
                                   bool is_new, err *e);
WARN_UNUSED enum errc flag_row_delete(struct tx *tx, const uuid *workspace, str name, err *e);

#endif
