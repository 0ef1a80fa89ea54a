/* cli.h - subcommands: one file each, one table of commands and flags that makes --help, errors and
 * configuration keys.
 *
 * Results go to standard output, everything else to standard error. Exit codes: enum exit_code.
 * Flags stand behind the command, as `--flag value` or `--flag=value`; `--` ends them; of a repeated flag the
 * last one counts (but every --set does).
 * Threads: main thread only.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/err.h"
#include "core/config.h"

struct flag {
    const char *name;    /* "--data" */
    const char *value;   /* placeholder of its value ("DIR"), NULL for a switch */
    const char *key;     /* configuration key that it sets, or NULL */
    const char *meaning;
};

/* The flags of every command that calls cli_config; they stand first in its table. --set is the generic way
 * to any configuration key, so that a key never needs a flag of its own. */
#define CLI_DATA_FLAG {"--data", "DIR", NULL, "the data folder (default: CATALYST_DATA, else ./data)"}
#define CLI_CONFIG_FLAGS                                                                          \
    CLI_DATA_FLAG,                                                                                \
        {"--config", "FILE", NULL, "the configuration file (default: DIR/catalyst.yaml)"},        \
        {"--listen", "HOST:PORT", "listen.address", "the address that is served"},                \
    {                                                                                             \
        "--set", "KEY=VALUE", NULL, "sets any configuration key; may be repeated"                 \
    }

struct cli_args;
struct client;
struct store;
struct cli_app { /* what main.c wires */
    const struct option_table *const *tables;
    unsigned n_tables;
    /* What only the gateway knows about a configuration (kinds, key formats, names that clash): one line per
     * problem into `problems` and ERR_CONFIG. May be NULL. Called by `config check` after cli_config
     * succeeded. */
    enum errc (*check)(const struct config *config, struct arena *a, struct buf *problems, err *e);
    /* The same of what the server looks at beyond the values: its listener, certificate, and way out. May be NULL. */
    enum errc (*check_server)(const struct config *config, struct arena *a, struct buf *problems, err *e);
    /* The settings of the data folder's database, secrets masked; none without a database. May be NULL. */
    enum errc (*settings)(const struct config *config, const char *data_dir, struct arena *a, struct config_setting **out, unsigned *n, err *e);
    /* The store of the data folder, to read calls that were drained into it; NULL without one. May be NULL: commands then read the journal alone. */
    enum errc (*open_store)(const struct cli_app *app, const struct cli_args *args, struct store **out, err *e);
};

struct command {
    const char *name;      /* "config show": two words for sub-subcommands */
    const char *arguments; /* "[FILE]" or "": one positional argument per word */
    const char *meaning;
    const struct flag *flags;
    unsigned n_flags;
    int (*run)(const struct cli_app *app, const struct cli_args *args);
    int (*ask)(struct client *c); /* instead: a command that asks a server (client/client.h) */
    bool is_hidden;        /* left out of the short help */
};

/* Parses and runs; returns the exit code. */
int cli_main(const struct cli_app *app, int argc, char **argv);

/* The command that runs. */
const struct command *cli_command(const struct cli_args *args);
/* Value of a flag (the last one given), NULL when absent; "" for a switch that was given. */
const char *cli_flag(const struct cli_args *args, const char *name);
unsigned cli_n_positional(const struct cli_args *args);
const char *cli_positional(const struct cli_args *args, unsigned i);
/* Loads the configuration from --config (default DIR/catalyst.yaml when it exists), the environment, --set
 * and the flags that stand for a key; prints problems and warnings to standard error, one per line. On an
 * error the caller ends with `return cli_fail(&e)`, which adds the sentence that sums them up. */
WARN_UNUSED enum errc cli_config(const struct cli_app *app, const struct cli_args *args, struct arena *a,
                                 struct config **out, err *e);
/* The layers that cli_config reads, in the arena, but for the settings of the database. */
WARN_UNUSED enum errc cli_config_source(const struct cli_app *app, const struct cli_args *args, struct arena *a,
                                        struct config_source *out, err *e);
/* The configuration file that cli_config reads, in the arena; NULL when there is none. */
const char *cli_config_file(const struct cli_args *args, struct arena *a);
/* The data folder: --data, CATALYST_DATA, else "./data". */
const char *cli_data_dir(const struct cli_args *args);
/* Prints "catalyst: MESSAGE" to standard error; returns the exit code of the error. */
int cli_fail(const err *e);
/* Writes all of it to standard output and flushes: EXIT_OK, also when the reader has gone away (`| head`);
 * EXIT_FAILED, with a message, when the text could not be made or written. */
int cli_print(const struct buf *text);

extern const struct command cmd_init, cmd_setup, cmd_serve, cmd_config_check, cmd_config_show, cmd_config_reference, cmd_key_new,
    cmd_usage, cmd_requests, cmd_migrate_status, cmd_migrate_up, cmd_migrate_rollback, cmd_migrate_to_postgres, cmd_backup, cmd_restore, cmd_openapi,
    cmd_health, cmd_version;
/* of cli/client: they ask a server */
extern const struct command cmd_provider_add, cmd_provider_list, cmd_provider_remove, cmd_provider_test;
extern const struct command cmd_key_create, cmd_key_list, cmd_key_revoke, cmd_key_rotate;
extern const struct command cmd_budget_list, cmd_budget_set, cmd_budget_remove;
extern const struct command cmd_project_create, cmd_project_list, cmd_project_show, cmd_project_remove, cmd_user_list,
    cmd_user_invite;
extern const struct command cmd_jobs_list, cmd_jobs_show, cmd_jobs_cancel;
extern const struct command cmd_nodes; /* through control.sock */
extern const struct command cmd_doctor, cmd_journal_import;
/* of cli/audit */
extern const struct command cmd_audit_verify, cmd_audit_head, cmd_audit_proof, cmd_audit_export, cmd_audit_accept;

#endif
