/* store.h - the store of the data folder, for commands that need no server. Threads: main thread. */
#ifndef CLI_STORE_H
#define CLI_STORE_H

#include "cli/cli.h"
#include "core/backend.h"

/* ERR_NOT_FOUND when there are no SQLite databases in the folder yet, ERR_CONFIG when they were moved; PostgreSQL tells itself. */
WARN_UNUSED enum errc cli_store_exists(const struct store_source *source, err *e);
/* ERR_NOT_FOUND when there are no SQLite databases in the folder, moved or not. */
WARN_UNUSED enum errc cli_sqlite_exists(const struct store_source *source, err *e);
/* For cli_app: what administrators have set in the database, secrets masked. */
WARN_UNUSED enum errc cli_settings(const struct config *c, const char *data_dir, struct arena *a, struct config_setting **out, unsigned *n,
                                   err *e);
/* For cli_app.open_store: any schema, beside a running server too. */
WARN_UNUSED enum errc cli_open_store(const struct cli_app *app, const struct cli_args *args, struct store **out, err *e);
/* `more` of store_backup: the usage journal, ctx is the data folder's path. */
WARN_UNUSED enum errc cli_backup_journal(void *ctx, const char *to, err *e);

#endif
