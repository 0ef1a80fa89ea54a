/* catalyst migrate status, up, rollback: the schema of the databases, without a server. */
#include <unistd.h>

#include "base/log.h"
#include "cli/data/store.h"
#include "core/datadir.h"
#include "json/write.h"

#define ARENA_LIMIT (64u << 20)
#define TEXT_MAX (1u << 20)

struct run {
    const struct cli_args *args;
    struct arena a;
    struct config *config;
    struct store_source source;
    struct buf out;
    int lock;
    err e;
};

static enum errc run_begin(struct run *r, const struct cli_app *app, const struct cli_args *args)
{
    *r = (struct run){.args = args, .lock = -1};
    log_set_level(LOG_WARN);
    arena_init(&r->a, ARENA_LIMIT, 0);
    buf_init(&r->out, TEXT_MAX);
    enum errc rc = cli_config(app, args, &r->a, &r->config, &r->e);
    if (!rc) r->source = backend_store_source(r->config, cli_data_dir(args));
    return rc;
}

static int run_end(struct run *r, enum errc rc)
{
    int exit_code = rc ? cli_fail(&r->e) : cli_print(&r->out);
    if (r->lock >= 0) close(r->lock);
    buf_fini(&r->out);
    arena_fini(&r->a);
    return exit_code;
}

/* --- status --- */

static void print_states(struct run *r, const struct migration_state *states, unsigned n)
{
    unsigned n_pending = 0;
    for (unsigned i = 0; i < n; i++) {
        char time[TIME_TEXT_LEN + 1] = "pending";
        if (states[i].applied_us) time_format(states[i].applied_us, time);
        buf_addf(&r->out, "%-32s %s%s\n", states[i].name, time,
                 states[i].is_changed ? " (applied in another form)" : "");
        n_pending += !states[i].applied_us;
    }
    buf_addf(&r->out, "%s: %u of %u applied\n", r->source.url.len ? "PostgreSQL" : "SQLite", n - n_pending,
             n);
}

static void print_states_json(struct run *r, const struct migration_state *states, unsigned n)
{
    struct json_writer w;
    char time[TIME_TEXT_LEN + 1];
    json_writer_init(&w, &r->out);
    json_object(&w);
    json_put_str(&w, "engine", r->source.url.len ? S("postgresql") : S("sqlite"));
    json_name(&w, S("migrations"));
    json_array(&w);
    for (unsigned i = 0; i < n; i++) {
        json_object(&w);
        json_put_str(&w, "name", str_c(states[i].name));
        if (states[i].applied_us)
            json_put_str(&w, "applied_at", time_format(states[i].applied_us, time));
        else
            json_put_null(&w, "applied_at");
        json_put_bool(&w, "is_changed", states[i].is_changed);
        json_end(&w);
    }
    json_end(&w);
    json_end(&w);
    buf_add_char(&r->out, '\n');
}

static int run_status(const struct cli_app *app, const struct cli_args *args)
{
    struct run r;
    struct store *s = NULL;
    struct migration_state *states;
    unsigned n = 0;
    enum errc rc = run_begin(&r, app, args);
    r.source.takes_any_schema = true;
    if (!rc) rc = cli_store_exists(&r.source, &r.e);
    if (!rc) rc = store_open(&s, &r.source, &r.e);
    if (!rc) rc = store_migrations(s, &r.a, &states, &n, &r.e);
    if (!rc && cli_flag(args, "--json"))
        print_states_json(&r, states, n);
    else if (!rc)
        print_states(&r, states, n);
    store_close(s);
    return run_end(&r, rc);
}

/* --- up --- */

static int run_up(const struct cli_app *app, const struct cli_args *args)
{
    struct run r;
    struct store *s = NULL;
    struct migration_state *states;
    unsigned n = 0;
    enum errc rc = run_begin(&r, app, args);
    r.source.migrates = true;
    r.source.skips_backup = cli_flag(args, "--no-backup") != NULL;
    /* Nodes of two releases share a PostgreSQL while they are replaced; a SQLite file has one server. */
    if (!rc)
        rc = r.source.url.len ? datadir_make(r.source.data_dir, &r.e)
                              : datadir_open(r.source.data_dir, &r.lock, &r.e);
    if (!rc) rc = store_open(&s, &r.source, &r.e);
    if (!rc) rc = store_migrations(s, &r.a, &states, &n, &r.e);
    if (!rc) print_states(&r, states, n);
    store_close(s);
    return run_end(&r, rc);
}

/* --- rollback --- */

static int run_rollback(const struct cli_app *app, const struct cli_args *args)
{
    struct run r;
    const char *from = NULL, *saved = NULL;
    enum errc rc = run_begin(&r, app, args);
    if (!rc) rc = datadir_open(r.source.data_dir, &r.lock, &r.e);
    if (!rc) rc = store_migration_backup(r.source.data_dir, &r.a, &from, &r.e);
    if (!rc && !cli_flag(args, "--yes"))
        rc = err_set(&r.e, ERR_FORBIDDEN,
                     "what was written since %s was made would leave the databases (a backup of it is made "
                     "first). Stop every "
                     "server, then say --yes",
                     from);
    if (!rc) rc = store_rollback(from, &r.source, &r.a, &saved, &r.e);
    if (!rc)
        buf_addf(&r.out,
                 "The databases are those of %s again.\nWhat was there before is in %s.\n"
                 "This release would migrate them again when it starts: start the release that was there "
                 "before.\n",
                 from, saved);
    return run_end(&r, rc);
}

static const struct flag status_flags[] = {CLI_CONFIG_FLAGS,
                                           {"--json", NULL, NULL, "prints one JSON object"}};
static const struct flag up_flags[] = {
    CLI_CONFIG_FLAGS,
    {"--no-backup", NULL, NULL, "does not make a backup in DIR/backups first"},
};
static const struct flag rollback_flags[] = {CLI_CONFIG_FLAGS, {"--yes", NULL, NULL, "really does it"}};

const struct command cmd_migrate_status = {
    .name = "migrate status",
    .arguments = "",
    .meaning = "lists the migrations of this release and when each was applied",
    .flags = status_flags,
    .n_flags = LENGTH_OF(status_flags),
    .run = run_status,
};

const struct command cmd_migrate_up = {
    .name = "migrate up",
    .arguments = "",
    .meaning = "brings the schema of the databases to this release, as a start does; makes a backup first",
    .flags = up_flags,
    .n_flags = LENGTH_OF(up_flags),
    .run = run_up,
};

const struct command cmd_migrate_rollback = {
    .name = "migrate rollback",
    .arguments = "",
    .meaning = "puts back the backup that the last migration made",
    .flags = rollback_flags,
    .n_flags = LENGTH_OF(rollback_flags),
    .run = run_rollback,
};
