/* rows.h - what the main database has for the snapshot.
 *
 * Threads: any but loops.
 */
#ifndef GATEWAY_ADMIN_ROWS_H
#define GATEWAY_ADMIN_ROWS_H

#include "core/secrets.h"
#include "gateway/snapshot/snapshot_build.h"
#include "store/store.h"

/* All workspaces' providers (those that are switched on), aliases, keys, budgets and limits, in the arena, in one read. A provider whose key cannot be opened is
 * left out and logged. */
WARN_UNUSED enum errc gateway_rows_load(struct store *s, const struct secrets *secrets, struct arena *a, struct snapshot_rows *out, err *e);
/* Types of events that can have changed any of that, as a watcher's. */
extern const char gateway_rows_types[];
/* The last number of the log, and whether an event after `after` can have changed any of that. */
WARN_UNUSED enum errc gateway_rows_changed(struct store *s, int64_t after, int64_t *head, bool *is_changed, err *e);

/* A JSON list of texts as the tables keep it; NULL and anything else gives none. */
WARN_UNUSED enum errc texts_from_json(struct arena *a, str json, const str **out, unsigned *n, err *e);
/* In the arena; p == NULL when it is exhausted. */
str texts_to_json(struct arena *a, const str *texts, unsigned n);

#endif
