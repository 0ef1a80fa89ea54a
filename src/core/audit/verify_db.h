/* verify_db.h - a log in the database as something to verify: read only, also beside running servers.
 *
 * Threads: as verify.h says. Errors: ERR_NOT_FOUND: there is no such tree.
 */
#ifndef CORE_AUDIT_VERIFY_DB_H
#define CORE_AUDIT_VERIFY_DB_H

#include "core/audit/verify.h"
#include "store/store.h"

struct verify_db;
/* tree: of a workspace, nil: the instance's. opens_boxes: the log is open in this process, so that personal values can be compared too. The keys are
 * those of the database. */
WARN_UNUSED enum errc verify_db_open(struct verify_db **out, struct store *store, const uuid *tree, bool opens_boxes, err *e);
void verify_db_close(struct verify_db *v); /* NULL is fine */
/* Lives as long as v; its keys may be replaced by those that are known from elsewhere. */
struct verify_source *verify_db_source(struct verify_db *v);

#endif
