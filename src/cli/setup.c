/* setup.c - `catalyst setup`: the owner and the first workspace, without a browser. Through
 * DIR/control.sock when a server runs on the data folder, else on the database itself. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/backend.h"
#include "core/control.h"
#include "core/datadir.h"
#include "core/identity/identity.h"

#define ARENA_LIMIT (64u << 20)
#define PASSWORD_BYTES_MAX (16u << 10)

/* One line without its end; the whole input when it comes from a pipe. */
static enum errc read_password(bool is_piped, struct buf *out, err *e)
{
    struct termios before, quiet;
    bool is_hidden = false;
    if (!is_piped) {
        if (!isatty(STDIN_FILENO))
            return err_set(
                e, ERR_USAGE,
                "give the password on standard input with --password-stdin, or run this in a terminal");
        fputs("Password (at least 15 characters): ", stderr);
        is_hidden = tcgetattr(STDIN_FILENO, &before) == 0;
        if (is_hidden) {
            quiet = before;
            quiet.c_lflag &= ~(tcflag_t)ECHO;
            is_hidden = tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) == 0;
        }
    }
    for (;;) {
        char *at = buf_reserve(out, 1024);
        ssize_t n = at ? read(STDIN_FILENO, at, 1024) : 0;
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        buf_added(out, (size_t)n);
        if (!is_piped && str_chr(buf_str(out), '\n') >= 0) break;
    }
    if (is_hidden) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        fputc('\n', stderr);
    }
    if (buf_err(out) != ERR_NONE)
        return err_set(e, ERR_USAGE, "the password is longer than %u bytes", PASSWORD_BYTES_MAX);
    if (out->len && out->p[out->len - 1] == '\n') out->len--;
    if (out->len && out->p[out->len - 1] == '\r') out->len--;
    return ERR_NONE;
}

static enum errc ask_server(struct arena *a, const char *dir, const struct setup_request *wanted,
                            bool *is_running, struct setup_result *done, err *e)
{
    const struct json *result = NULL;
    struct buf text;
    struct json_writer w;
    buf_init(&text, 64u << 10);
    json_writer_init(&w, &text);
    json_object(&w);
    json_put_str(&w, "command", S("setup"));
    json_put_str(&w, "email", wanted->email);
    json_put_str(&w, "name", wanted->name);
    json_put_str(&w, "password", wanted->password);
    json_put_str(&w, "workspace", wanted->workspace_name);
    json_end(&w);
    enum errc rc = buf_err(&text) == ERR_NONE ? control_call(a, dir, buf_str(&text), is_running, &result, e)
                                              : err_code(e, buf_err(&text));
    if (text.p) explicit_bzero(text.p, text.len);
    buf_fini(&text);
    if (rc != ERR_NONE || !*is_running) return rc;
    const struct json *user = json_get(result, S("user_id")),
                      *workspace = json_get(result, S("workspace_id")), *key = json_get(result, S("api_key"));
    if (!user || !workspace || !key || !uuid_parse(user->text, &done->user_id) ||
        !uuid_parse(workspace->text, &done->workspace_id))
        return err_set(e, ERR_INTERNAL, "the running server gave an answer that makes no sense");
    done->api_key = key->text;
    return ERR_NONE;
}

static enum errc on_database(const struct cli_app *app, const struct cli_args *args, struct arena *a,
                             const struct setup_request *wanted, struct setup_result *done, err *e)
{
    struct config *config;
    struct backend backend = {0};
    struct identity *identity = NULL;
    int lock_fd = -1;
    enum errc rc = cli_config(app, args, a, &config, e);
    if (rc == ERR_NONE) rc = datadir_open(cli_data_dir(args), &lock_fd, e);
    if (rc == ERR_NONE) rc = backend_open(&backend, config, cli_data_dir(args), e);
    if (rc == ERR_NONE) {
        struct identity_source source = {.store = backend.store,
                                         .secrets = backend.secrets,
                                         .config = config,
                                         .public_url = config_text(config, "listen.public_url")};
        rc = identity_new(&identity, &source, e);
    }
    if (rc == ERR_NONE) rc = identity_setup(identity, a, wanted, done, e);
    identity_free(identity);
    backend_close(&backend);
    if (lock_fd >= 0) close(lock_fd);
    return rc;
}

static void show(const struct cli_args *args, const struct setup_request *wanted,
                 const struct setup_result *done, struct buf *out)
{
    char id[UUID_TEXT_LEN + 1];
    struct json_writer w;
    if (cli_flag(args, "--json")) {
        json_writer_init(&w, out);
        setup_result_write(done, &w);
        buf_add_char(out, '\n');
        return;
    }
    buf_addf(out, "%.*s owns this Catalyst now and can sign in.\n", STR(wanted->email));
    buf_addf(out, "Workspace:  %.*s\n", STR(uuid_format(&done->workspace_id, id)));
    buf_addf(out, "API key:    %.*s\n", STR(done->api_key));
    buf_add(out, S("The key is shown this once; the command line takes it from CATALYST_API_KEY.\n"));
}

static int run(const struct cli_app *app, const struct cli_args *args)
{
    struct arena a;
    struct buf password, out;
    struct setup_result done = {0};
    const char *email = cli_flag(args, "--email"), *name = cli_flag(args, "--name"),
               *workspace = cli_flag(args, "--workspace");
    bool is_running = false;
    int code;
    err e = {0};
    arena_init(&a, ARENA_LIMIT, 64u << 10);
    buf_init(&password, PASSWORD_BYTES_MAX);
    buf_init(&out, 64u << 10);
    enum errc rc = email ? read_password(cli_flag(args, "--password-stdin") != NULL, &password, &e)
                         : err_set(&e, ERR_USAGE, "--email is needed: the owner signs in with it");
    struct setup_request wanted = {str_c(email), str_c(name), buf_str(&password), str_c(workspace)};
    if (rc == ERR_NONE) rc = ask_server(&a, cli_data_dir(args), &wanted, &is_running, &done, &e);
    if (rc == ERR_NONE && !is_running) rc = on_database(app, args, &a, &wanted, &done, &e);
    if (rc == ERR_NONE) {
        show(args, &wanted, &done, &out);
        code = cli_print(&out);
    } else {
        code = cli_fail(&e);
    }
    if (password.p) explicit_bzero(password.p, password.cap);
    if (out.p) explicit_bzero(out.p, out.cap);
    buf_fini(&password);
    buf_fini(&out);
    arena_fini(&a);
    return code;
}

static const struct flag flags[] = {
    CLI_CONFIG_FLAGS,
    {"--email", "ADDRESS", NULL, "the owner's e-mail address"},
    {"--name", "NAME", NULL, "the owner's name (default: the address up to its @)"},
    {"--workspace", "NAME", NULL, "name of the first workspace (default: Default)"},
    {"--password-stdin", NULL, NULL, "read the password from standard input instead of asking for it"},
    {"--json", NULL, NULL, "print {workspace_id, user_id, api_key} as JSON"},
};

const struct command cmd_setup = {
    .name = "setup",
    .arguments = "",
    .meaning = "makes the owner and the first workspace; once",
    .flags = flags,
    .n_flags = LENGTH_OF(flags),
    .run = run,
};
