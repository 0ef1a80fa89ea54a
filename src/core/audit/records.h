/* records.h - sealed events of a tree by their numbers in it, read in pieces. Threads: any but loops. */
#ifndef CORE_AUDIT_RECORDS_H
#define CORE_AUDIT_RECORDS_H

#include "core/audit/segment.h"
#include "store/db.h"

/* Up to n events of the tree (nil: the instance's) behind `after`, a number of the instance, in order. In the arena. */
WARN_UNUSED enum errc records_read(struct tx *tx, struct arena *a, const uuid *tree, int64_t after, unsigned n, struct record **out,
                                   unsigned *n_out, err *e);
/* What to read after, so that the event with this number in the tree comes first. */
WARN_UNUSED enum errc records_seek(struct tx *tx, const uuid *tree, int64_t number, int64_t *after, err *e);
/* Its number in that tree. */
static inline int64_t record_number(const struct record *r, const uuid *tree) { return uuid_is_nil(tree) ? r->number : r->workspace_number; }
/* Events first … last of the tree as a whole segment. ERR_CORRUPT: one of them is not there. */
WARN_UNUSED enum errc records_segment(struct db *db, const uuid *node, const uuid *tree, int64_t first, int64_t last, struct buf *out, err *e);

#endif
