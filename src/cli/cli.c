/* cli.c - the table of commands: parsing, help, errors, and loading the configuration for those that need it.
 */
#include "cli/client/client.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct command *const commands[] = {
    &cmd_init,    &cmd_setup,   &cmd_serve,    &cmd_config_check,   &cmd_config_show, &cmd_config_reference,
    &cmd_key_new, &cmd_usage,   &cmd_requests, &cmd_migrate_status, &cmd_migrate_up,  &cmd_migrate_rollback,
    &cmd_migrate_to_postgres,
    &cmd_backup,  &cmd_restore, &cmd_openapi,  &cmd_health, &cmd_doctor,         &cmd_version,
    &cmd_journal_import,
    &cmd_audit_verify, &cmd_audit_head, &cmd_audit_proof, &cmd_audit_export, &cmd_audit_accept,
    &cmd_provider_add, &cmd_provider_list, &cmd_provider_remove, &cmd_provider_test,
    &cmd_key_create, &cmd_key_list, &cmd_key_revoke, &cmd_key_rotate,
    &cmd_budget_list, &cmd_budget_set, &cmd_budget_remove,
    &cmd_project_create, &cmd_project_list, &cmd_project_show, &cmd_project_remove,
    &cmd_user_list, &cmd_user_invite,
    &cmd_jobs_list, &cmd_jobs_show, &cmd_jobs_cancel, &cmd_nodes,
};

struct given_flag {
    const struct flag *flag;
    const char *value;
};

struct cli_args {
    const struct command *command;
    struct given_flag *flags; /* in the order of the command line */
    unsigned n_flags;
    const char **positional;
    unsigned n_positional;
};

/* --- what commands ask for --- */

const char *cli_flag(const struct cli_args *args, const char *name)
{
    for (unsigned i = args->n_flags; i-- > 0;)
        if (strcmp(args->flags[i].flag->name, name) == 0) return args->flags[i].value;
    return NULL;
}

const struct command *cli_command(const struct cli_args *args) { return args->command; }

unsigned cli_n_positional(const struct cli_args *args) { return args->n_positional; }

const char *cli_positional(const struct cli_args *args, unsigned i)
{
    return i < args->n_positional ? args->positional[i] : NULL;
}

const char *cli_data_dir(const struct cli_args *args)
{
    const char *dir = cli_flag(args, "--data");
    if (!dir) dir = getenv("CATALYST_DATA");
    return dir && *dir ? dir : "./data";
}

const char *cli_config_file(const struct cli_args *args, struct arena *a)
{
    const char *file = cli_flag(args, "--config");
    if (file) return file;
    str path = arena_printf(a, "%s/catalyst.yaml", cli_data_dir(args));
    /* Only "there is none" means defaults; a file that may not be read must be an error, not be passed over.
     */
    return path.p && (access(path.p, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR)) ? path.p : NULL;
}

enum errc cli_config_source(const struct cli_app *app, const struct cli_args *args, struct arena *a,
                            struct config_source *out, err *e)
{
    struct config_setting *settings = arena_news(a, struct config_setting, args->n_flags);
    unsigned n = 0;
    if (!settings) return err_code(e, ERR_NO_MEMORY);
    for (unsigned i = 0; i < args->n_flags; i++) {
        const struct given_flag *given = &args->flags[i];
        str value = str_c(given->value);
        if (given->flag->key) {
            settings[n++] = (struct config_setting){str_c(given->flag->key), value, str_c(given->flag->name)};
        } else if (strcmp(given->flag->name, "--set") == 0) {
            /* The text is not repeated: it may be a secret that lacks its key. */
            if (str_chr(value, '=') <= 0)
                return err_set(e, ERR_USAGE,
                               "--set needs KEY=VALUE, for example --set limits.head_bytes=32KiB");
            str key = str_cut(&value, '=');
            settings[n++] = (struct config_setting){.key = key, .value = value};
        }
    }
    *out = (struct config_source){
        .file = cli_config_file(args, a),
        .environ = (const char *const *)environ,
        .flags = settings,
        .n_flags = n,
        .tables = app->tables,
        .n_tables = app->n_tables,
    };
    return ERR_NONE;
}

enum errc cli_config(const struct cli_app *app, const struct cli_args *args, struct arena *a,
                     struct config **out, err *e)
{
    struct config_source source;
    struct buf problems;
    enum errc code = cli_config_source(app, args, a, &source, e);
    if (code) return code;
    buf_init(&problems, 1 << 20);
    code = config_load(a, &source, out, &problems, e);
    if (problems.len) fprintf(stderr, "%.*s", STR(buf_str(&problems)));
    buf_fini(&problems);
    return code;
}

int cli_fail(const err *e)
{
    fprintf(stderr, "catalyst: %s\n", e->msg);
    return (int)errc_exit_code(e->code);
}

int cli_print(const struct buf *text)
{
    err e = {0};
    if (buf_err(text)) {
        err_set(&e, buf_err(text), "the output is larger than %zu bytes", text->max);
        return cli_fail(&e);
    }
    errno = 0;
    if (fwrite(text->p ? text->p : "", 1, text->len, stdout) != text->len || fflush(stdout) != 0) {
        clearerr(stdout);
        if (errno == EPIPE) return EXIT_OK;
        err_errno(&e, ERR_IO, errno, "cannot write to standard output");
        return cli_fail(&e);
    }
    return EXIT_OK;
}

/* --- help --- */

static int print(struct buf *text)
{
    int code = cli_print(text);
    buf_fini(text);
    return code;
}

static void help_program(struct buf *out)
{
    buf_add(out, S("Catalyst: the self-hosted control plane for teams who build software with AI agents.\n\nUsage: catalyst COMMAND [FLAGS]\n\n"
                   "Commands:\n"));
    for (size_t i = 0; i < LENGTH_OF(commands); i++)
        if (!commands[i]->is_hidden) buf_addf(out, "  %-16s %s\n", commands[i]->name, commands[i]->meaning);
    buf_add(out,
            S("\n`catalyst COMMAND --help` tells more about one of them.\n"
              "Exit codes: 0 ok, 1 failed, 2 usage or configuration, 3 cannot reach a service, 4 refused,\n"
              "5 a limit was reached, 75 try again, 130 interrupted.\n"));
}

static bool has_flag(const struct command *c, const char *name)
{
    for (unsigned i = 0; i < c->n_flags; i++)
        if (strcmp(c->flags[i].name, name) == 0) return true;
    return false;
}

static void help_command(const struct cli_app *app, const struct command *c, struct buf *out)
{
    buf_addf(out, "catalyst %s: %s\n\nUsage: catalyst %s%s%s%s\n\nFlags:\n", c->name, c->meaning, c->name,
             c->n_flags ? " [FLAGS]" : "", *c->arguments ? " " : "", c->arguments);
    for (unsigned i = 0; i < c->n_flags; i++) {
        const struct flag *f = &c->flags[i];
        int width = 24 - (int)strlen(f->name) - 1;
        buf_addf(out, "  %s %-*s %s\n", f->name, width > 1 ? width : 1, f->value ? f->value : "", f->meaning);
    }
    buf_addf(out, "  %-24s %s\n", "--help", "prints this");
    if (!has_flag(c, "--set")) return;
    buf_add(
        out,
        S("\nConfiguration keys, for --set, for the file, and as CATALYST_SECTION__KEY for the environment\n"
          "(entries of lists, written [], for the file only; docs/configuration.md has the details):\n"));
    config_help(app->tables, app->n_tables, out);
}

/* --- finding the command --- */

/* Writes "; did you mean 'X'?" when a name is near. */
static const char *did_you_mean(const char *typed, const char *const *names, size_t n, char *out, size_t size)
{
    unsigned best = 255;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned distance = str_distance(str_c(typed), str_c(names[i]));
        if (distance < best) {
            best = distance;
            at = i;
        }
    }
    out[0] = '\0';
    if (best <= 2 && best < strlen(typed)) snprintf(out, size, "; did you mean '%s'?", names[at]);
    return out;
}

static bool is_group(const char *word)
{
    for (size_t i = 0; i < LENGTH_OF(commands); i++) {
        str rest = str_c(commands[i]->name);
        if (str_eq(str_cut(&rest, ' '), str_c(word)) && rest.len) return true;
    }
    return false;
}

/* The command that starts argv, and how many words its name has. */
static const struct command *find_command(int argc, char **argv, int *n_words)
{
    for (size_t i = 0; i < LENGTH_OF(commands); i++) {
        str rest = str_c(commands[i]->name);
        str first = str_cut(&rest, ' ');
        if (argc < 1 || !str_eq(first, str_c(argv[0]))) continue;
        *n_words = rest.len ? 2 : 1;
        if (rest.len == 0 || (argc > 1 && str_eq(rest, str_c(argv[1])))) return commands[i];
    }
    return NULL;
}

static int unknown_command(int argc, char **argv)
{
    char typed[128], hint[128];
    const char *names[LENGTH_OF(commands)];
    err e = {0};
    for (size_t i = 0; i < LENGTH_OF(commands); i++)
        names[i] = commands[i]->name;
    if (is_group(argv[0])) {
        char list[256] = "";
        size_t n = 0;
        str group = str_c(argv[0]);
        for (size_t i = 0; i < LENGTH_OF(commands); i++) {
            str rest = str_c(names[i]);
            if (str_eq(str_cut(&rest, ' '), group) && !commands[i]->is_hidden && n < sizeof list)
                n += (size_t)snprintf(list + n, sizeof list - n, "%s%.*s", n ? ", " : "", STR(rest));
        }
        bool has_word = argc > 1 && argv[1][0] != '-';
        snprintf(typed, sizeof typed, "%s %s", argv[0], has_word ? argv[1] : "");
        if (has_word)
            err_set(&e, ERR_USAGE, "unknown command '%s'%s (%s has: %s)", typed,
                    did_you_mean(typed, names, LENGTH_OF(names), hint, sizeof hint), argv[0], list);
        else
            err_set(&e, ERR_USAGE, "'%s' needs one of: %s", argv[0], list);
        return cli_fail(&e);
    }
    snprintf(typed, sizeof typed, "%s", argv[0]);
    if (typed[0] == '-')
        err_set(&e, ERR_USAGE, "flags stand behind the command: catalyst COMMAND %s", typed);
    else
        err_set(&e, ERR_USAGE, "unknown command '%s'%s", typed,
                did_you_mean(typed, names, LENGTH_OF(names), hint, sizeof hint));
    int code = cli_fail(&e);
    fputs("`catalyst --help` lists the commands.\n", stderr);
    return code;
}

/* --- flags --- */

static const struct flag *find_flag(const struct command *c, str name)
{
    for (unsigned i = 0; i < c->n_flags; i++)
        if (str_eq(str_c(c->flags[i].name), name)) return &c->flags[i];
    return NULL;
}

static enum errc unknown_flag(const struct command *c, str name, err *e)
{
    char typed[64], hint[128];
    const char *names[64] = {"--help"};
    size_t n = 1;
    assert(c->n_flags < LENGTH_OF(names));
    for (unsigned i = 0; i < c->n_flags; i++)
        names[n++] = c->flags[i].name;
    snprintf(typed, sizeof typed, "%.*s", STR(name));
    return err_set(e, ERR_USAGE, "%s has no flag '%s'%s", c->name, typed,
                   did_you_mean(typed, names, n, hint, sizeof hint));
}

static unsigned max_positional(const struct command *c)
{
    unsigned n = 0;
    for (str rest = str_c(c->arguments); rest.len; n++)
        str_cut(&rest, ' ');
    return n;
}

/* argv stands behind the command's name. The arrays of args have room for argc entries. */
static enum errc parse(struct cli_args *args, int argc, char **argv, bool *wants_help, err *e)
{
    bool flags_ended = false;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (flags_ended || word[0] != '-' || word[1] == '\0') {
            if (args->n_positional == max_positional(args->command))
                return err_set(e, ERR_USAGE, "%s takes %s argument%s%s", args->command->name,
                               args->n_positional ? "no more than the" : "no",
                               *args->command->arguments ? " " : "", args->command->arguments);
            args->positional[args->n_positional++] = word;
            continue;
        }
        if (strcmp(word, "--") == 0) {
            flags_ended = true;
            continue;
        }
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            *wants_help = true;
            continue;
        }
        str value = str_c(word);
        str name = str_cut(&value, '=');
        bool has_value = strchr(word, '=') != NULL;
        const struct flag *flag = find_flag(args->command, name);
        if (!flag) return unknown_flag(args->command, name, e);
        const char *text = has_value ? value.p : "";
        if (!flag->value && has_value) return err_set(e, ERR_USAGE, "%s takes no value", flag->name);
        if (flag->value && !has_value) {
            if (i + 1 >= argc || strncmp(argv[i + 1], "--", 2) == 0)
                return err_set(e, ERR_USAGE, "%s needs a value: %s %s", flag->name, flag->name, flag->value);
            text = argv[++i];
        }
        args->flags[args->n_flags++] = (struct given_flag){flag, text};
    }
    return ERR_NONE;
}

static int run(const struct cli_app *app, const struct command *command, int argc, char **argv)
{
    err e = {0};
    bool wants_help = false;
    struct cli_args args = {.command = command};
    args.flags = calloc((size_t)argc + 1, sizeof *args.flags);
    args.positional = calloc((size_t)argc + 1, sizeof *args.positional);
    int exit_code;
    if (!args.flags || !args.positional) {
        err_code(&e, ERR_NO_MEMORY);
        exit_code = cli_fail(&e);
    } else if (parse(&args, argc, argv, &wants_help, &e)) {
        exit_code = cli_fail(&e);
        fprintf(stderr, "`catalyst %s --help` tells how it is used.\n", command->name);
    } else if (wants_help) {
        struct buf out;
        buf_init(&out, 1 << 20);
        help_command(app, command, &out);
        exit_code = print(&out);
    } else {
        exit_code = command->ask ? client_run(&args, command->ask) : command->run(app, &args);
    }
    free(args.flags);
    free(args.positional);
    return exit_code;
}

int cli_main(const struct cli_app *app, int argc, char **argv)
{
    signal(SIGPIPE,
           SIG_IGN); /* a reader that went away is an error of write(2), which every command checks */
    umask(077);      /* whatever is written is for its owner only, also what libraries write */
    argc--;
    argv++;
    bool is_help_word = argc > 0 && strcmp(argv[0], "help") == 0;
    if (is_help_word) {
        argc--;
        argv++;
    }
    struct buf out;
    buf_init(&out, 64 << 10);
    if (argc <= 0 || strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
        help_program(&out);
        if (argc > 0 || is_help_word) return print(&out);
        fprintf(stderr, "%.*s", STR(buf_str(&out)));
        buf_fini(&out);
        return EXIT_USAGE;
    }
    if (strcmp(argv[0], "--version") == 0) return run(app, &cmd_version, argc - 1, argv + 1);
    int n_words = 0;
    const struct command *command = find_command(argc, argv, &n_words);
    if (!command) {
        bool asks_for_group =
            is_group(argv[0]) &&
            (is_help_word || (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)));
        if (!asks_for_group) return unknown_command(argc, argv);
        help_program(&out);
        return print(&out);
    }
    if (is_help_word) {
        help_command(app, command, &out);
        return print(&out);
    }
    return run(app, command, argc - n_words, argv + n_words);
}
