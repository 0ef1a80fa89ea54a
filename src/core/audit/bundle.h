/* bundle.h - a log as files that need no database: written by `catalyst audit export`, verified by anybody.
 *
 *   manifest.json              what this is: format, origin, tree, size, since, node, when
 *   checkpoint                 the newest head (C2SP)
 *   heads, heads.json          every head, one behind the other, an empty line between two; when each was signed
 *   keys                       keys that heads are verified with, a vkey a line
 *   breaks                     signed records of accepted restores
 *   tile/LEVEL/N[.p/W]         tiles of height 8 (C2SP tlog-tiles)
 *   tile/entries/N[.p/W]       the events' bytes in bundles of 256; one of no bytes stands for a body that retention has dropped
 *   segments/FIRST.seg         the same events with their numbers and ids, 4,096 a file (segment.h)
 *
 * An export that was interrupted goes on where it stood, and one that is older is brought up to date: what is full is not written again. With `since`
 * older bodies are left out, the tiles are always whole.
 * Threads: writing one; as a source, as verify.h says. Errors: ERR_CONFLICT: the folder holds another log; ERR_CORRUPT.
 */
#ifndef CORE_AUDIT_BUNDLE_H
#define CORE_AUDIT_BUNDLE_H

#include "core/audit/verify_db.h"

struct bundle_order {
    uuid node;
    const char *dir;
    int64_t since; /* 1: everything */
    usec now_us;
};
struct bundle_result {
    int64_t size;
    unsigned n_written, n_kept; /* files */
};
/* What is under the newest head of the source. ERR_NOT_FOUND: no head was signed yet. */
WARN_UNUSED enum errc bundle_write(const struct verify_source *s, const struct bundle_order *o, struct bundle_result *out, err *e);

struct bundle;
WARN_UNUSED enum errc bundle_open(struct bundle **out, const char *dir, err *e);
void bundle_close(struct bundle *b); /* NULL is fine */
struct verify_source *bundle_source(struct bundle *b);

#endif
