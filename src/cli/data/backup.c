/* catalyst backup, catalyst restore: a copy of the databases and the journal in a folder, and back. */
#include <unistd.h>

#include "base/log.h"
#include "cli/data/store.h"
#include "core/datadir.h"

#define CONFIG_ARENA_LIMIT (64u << 20)
#define TEXT_MAX (64u << 10)

static enum errc folder_given(const struct cli_args *args, const char **out, err *e)
{
    *out = cli_positional(args, 0);
    return *out ? ERR_NONE
                : err_set(e, ERR_USAGE, "name the folder: catalyst backup DIR, catalyst restore DIR");
}

static enum errc make_backup(const struct store_source *source, const char *to, err *e)
{
    struct store *s;
    enum errc rc = cli_store_exists(source, e);
    if (!rc) rc = store_open(&s, source, e);
    if (rc) return rc;
    rc = store_backup(s, to, cli_backup_journal, (void *)source->data_dir, e);
    store_close(s);
    return rc;
}

static int run_backup(const struct cli_app *app, const struct cli_args *args)
{
    struct arena a;
    struct config *config;
    struct buf out;
    const char *to;
    err e = {0};
    log_set_level(LOG_WARN);
    arena_init(&a, CONFIG_ARENA_LIMIT, 0);
    buf_init(&out, TEXT_MAX);
    enum errc rc = folder_given(args, &to, &e);
    if (!rc) rc = cli_config(app, args, &a, &config, &e);
    if (!rc) {
        struct store_source source = backend_store_source(config, cli_data_dir(args));
        source.takes_any_schema = true;
        rc = make_backup(&source, to, &e);
    }
    if (!rc)
        buf_addf(&out,
                 "Backed up to %s; `catalyst restore %s` checks it and puts it back.\n"
                 "Not in it: the configuration, and the master key, without which nobody can read what was "
                 "sealed with it. "
                 "Keep both elsewhere.\n",
                 to, to);
    int exit_code = rc ? cli_fail(&e) : cli_print(&out);
    buf_fini(&out);
    arena_fini(&a);
    return exit_code;
}

static int run_restore(const struct cli_app *app, const struct cli_args *args)
{
    struct arena a;
    struct config *config;
    struct buf out;
    const char *from;
    int lock = -1;
    err e = {0};
    log_set_level(LOG_WARN);
    arena_init(&a, CONFIG_ARENA_LIMIT, 0);
    buf_init(&out, TEXT_MAX);
    enum errc rc = folder_given(args, &from, &e);
    if (!rc) rc = cli_config(app, args, &a, &config, &e);
    if (!rc) rc = datadir_open(cli_data_dir(args), &lock, &e);
    if (!rc) {
        struct store_source source = backend_store_source(config, cli_data_dir(args));
        rc = store_restore(from, &source, &e);
    }
    if (!rc)
        buf_addf(&out, "Restored %s into %s. The next start brings its schema up if need be.\n", from,
                 cli_data_dir(args));
    int exit_code = rc ? cli_fail(&e) : cli_print(&out);
    if (lock >= 0) close(lock);
    buf_fini(&out);
    arena_fini(&a);
    return exit_code;
}

static const struct flag flags[] = {CLI_CONFIG_FLAGS};

const struct command cmd_backup = {
    .name = "backup",
    .arguments = "DIR",
    .meaning = "copies the databases and the journal into a new folder, also beside a running server",
    .flags = flags,
    .n_flags = LENGTH_OF(flags),
    .run = run_backup,
};

const struct command cmd_restore = {
    .name = "restore",
    .arguments = "DIR",
    .meaning = "checks a backup and puts it into a data folder that holds no databases",
    .flags = flags,
    .n_flags = LENGTH_OF(flags),
    .run = run_restore,
};
