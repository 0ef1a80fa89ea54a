/* cli.h - subcommands: one file each, one table of commands and flags that makes --help, errors and configuration keys.
 *
 * Results go to standard output, everything else to standard error. Exit codes: enum exit_code.
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

struct cli_args;
struct cli_app { /* what main.c wires */
    const struct option_table *const *tables;
    unsigned n_tables;
    int (*serve)(const struct cli_app *app, const struct cli_args *args);
};

struct command {
    const char *name;      /* "config show": two words for sub-subcommands */
    const char *arguments; /* "[FILE]" or "" */
    const char *meaning;
    const struct flag *flags;
    unsigned n_flags;
    int (*run)(const struct cli_app *app, const struct cli_args *args);
};

/* Parses and runs; returns the exit code. */
int cli_main(const struct cli_app *app, int argc, char **argv);

/* Value of a flag (the last one given), NULL when absent; "" for a switch that was given. */
const char *cli_flag(const struct cli_args *args, const char *name);
unsigned cli_n_positional(const struct cli_args *args);
const char *cli_positional(const struct cli_args *args, unsigned i);
/* Loads the configuration from --config (default DIR/catalyst.yaml when it exists), the environment and the flags; prints problems to standard error. */
WARN_UNUSED enum errc cli_config(const struct cli_app *app, const struct cli_args *args, struct arena *a, struct config **out, err *e);
/* The data folder: --data, CATALYST_DATA, else "./data". */
const char *cli_data_dir(const struct cli_args *args);
/* Prints "catalyst: MESSAGE" to standard error; returns the exit code of the error. */
int cli_fail(const err *e);

extern const struct command cmd_serve, cmd_config_check, cmd_config_show, cmd_config_keys, cmd_key_new, cmd_usage, cmd_requests, cmd_health, cmd_version;

#endif
