/* audit.h - what the audit commands share: which log, in which database. Threads: main thread. */
#ifndef CLI_AUDIT_H
#define CLI_AUDIT_H

#include "cli/data/store.h"
#include "core/audit/bundle.h"

struct audit_cli {
    const struct cli_args *args;
    struct arena a;
    struct config *config;
    struct store *store;   /* read only; NULL: an export */
    struct verify_db *db;
    struct bundle *bundle;
    struct verify_source *source;
    uuid tree;
    struct buf out;
    err e;
};

#define AUDIT_WORKSPACE_FLAG {"--workspace", "ID", NULL, "the log of this workspace (default: the instance's)"}

/* Opens the log of --workspace, in the export `dir` (NULL: in the database of the data folder, whatever runs on it). The keys of DIR/audit/keys
 * or of --keys FILE take the place of those that lie beside the log. */
WARN_UNUSED enum errc audit_cli_open(struct audit_cli *c, const struct cli_app *app, const struct cli_args *args, const char *dir);
/* Prints what is in `out`, or the error, and closes; code: of what was found. */
int audit_cli_end(struct audit_cli *c, enum errc rc, int code);
/* A file with notes: heads that were given away. */
WARN_UNUSED enum errc audit_cli_notes(struct audit_cli *c, const char *path, str **out, unsigned *n);

#endif
