/* config_cmd.c - `catalyst config check`, `config show` and `config reference`. */
#include <stdio.h>

#include "cli/cli.h"

#define CONFIG_ARENA_LIMIT (64u << 20)

static int check(const struct cli_app *app, const struct cli_args *args)
{
    struct arena a;
    arena_init(&a, CONFIG_ARENA_LIMIT, 0);
    struct buf problems;
    buf_init(&problems, 1 << 20);
    err e = {0};
    struct config *config = NULL;
    int exit_code = EXIT_OK;
    enum errc code = cli_config(app, args, &a, &config, &e);
    if (!code) {
        enum errc of_server = app->check_server ? app->check_server(config, &a, &problems, &e) : ERR_NONE;
        if (app->check) code = app->check(config, &a, &problems, &e);
        if (!code) code = of_server;
        if (problems.len) fprintf(stderr, "%.*s", STR(buf_str(&problems)));
    }
    if (code) {
        exit_code = cli_fail(&e);
    } else {
        const char *file = cli_config_file(args, &a);
        buf_clear(&problems);
        if (file)
            buf_addf(&problems, "%s: ok\n", file);
        else
            buf_addf(&problems, "%s/catalyst.yaml: not there; the defaults are ok\n", cli_data_dir(args));
        exit_code = cli_print(&problems);
    }
    buf_fini(&problems);
    arena_fini(&a);
    return exit_code;
}

/* With the layer of the database. What is wrong with that is no reason not to show the rest. */
static enum errc with_database(const struct cli_app *app, const struct cli_args *args, struct arena *a,
                               struct config **config, err *e)
{
    struct config_source source;
    struct config_setting *settings = NULL;
    struct buf problems;
    unsigned n = 0;
    enum errc code = cli_config(app, args, a, config, e);
    if (code) return code;
    if (app->settings && app->settings(*config, cli_data_dir(args), a, &settings, &n, e)) {
        fprintf(stderr, "catalyst: the settings of the database are not shown: %s\n", e->msg);
        n = 0;
    }
    if (n == 0) return ERR_NONE;
    code = cli_config_source(app, args, a, &source, e);
    if (code) return code;
    source.database = settings;
    source.n_database = n;
    buf_init(&problems, 1 << 20);
    code = config_load(a, &source, config, &problems, e); /* what is said of the other layers has been said */
    buf_fini(&problems);
    return code;
}

static int show(const struct cli_app *app, const struct cli_args *args)
{
    struct arena a;
    arena_init(&a, CONFIG_ARENA_LIMIT, 0);
    struct buf out;
    buf_init(&out, 16 << 20);
    err e = {0};
    struct config *config = NULL;
    int exit_code;
    if (with_database(app, args, &a, &config, &e)) {
        exit_code = cli_fail(&e);
    } else {
        config_show(config, cli_flag(args, "--origin") != NULL, cli_flag(args, "--json") != NULL, &out);
        exit_code = cli_print(&out);
    }
    buf_fini(&out);
    arena_fini(&a);
    return exit_code;
}

static int reference(const struct cli_app *app, const struct cli_args *args)
{
    (void)args;
    struct buf out;
    buf_init(&out, 1 << 20);
    config_reference(app->tables, app->n_tables, &out);
    int exit_code = cli_print(&out);
    buf_fini(&out);
    return exit_code;
}

static const struct flag check_flags[] = {CLI_CONFIG_FLAGS};
static const struct flag show_flags[] = {
    CLI_CONFIG_FLAGS,
    {"--origin", NULL, NULL, "adds where each value came from"},
    {"--json", NULL, NULL, "prints JSON instead of YAML"},
};

const struct command cmd_config_check = {
    .name = "config check",
    .arguments = "",
    .meaning = "reports everything that is wrong with the configuration",
    .flags = check_flags,
    .n_flags = LENGTH_OF(check_flags),
    .run = check,
};

const struct command cmd_config_show = {
    .name = "config show",
    .arguments = "",
    .meaning = "prints the configuration in force, secrets masked",
    .flags = show_flags,
    .n_flags = LENGTH_OF(show_flags),
    .run = show,
};

const struct command cmd_config_reference = {
    .name = "config reference",
    .arguments = "",
    .meaning = "prints the reference of all keys as Markdown",
    .run = reference,
    .is_hidden = true,
};
