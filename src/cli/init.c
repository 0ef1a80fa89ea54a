/* init.c - `catalyst init`: a commented configuration with one fresh key where there is none, and what to do next. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/keytext.h"
#include "base/random.h"
#include "cli/cli.h"
#include "core/datadir.h"

#define PATH_LEN 4096
#define TEXT_MAX (64u << 10)

static const char before_key[] =
    "# Catalyst's configuration. `catalyst config check` tests it, `catalyst config show --origin` shows what is in force,\n"
    "# docs/configuration.md lists every key. After a change, restart the server.\n"
    "\n"
    "# Where Catalyst listens. Anything but the loopback needs tls: {cert: FILE, key: FILE}.\n"
    "listen:\n"
    "  address: 127.0.0.1:8080\n"
    "\n"
    "# Model providers: take the \"# \" away from the lines of one, or write your own. A key is better kept in a variable\n"
    "# (api_key_env) or a file (api_key_file) than in api_key.\n"
    "#providers:\n"
    "#  - {name: openai, kind: openai, api_key_env: OPENAI_API_KEY}\n"
    "#  - {name: anthropic, kind: anthropic, api_key_env: ANTHROPIC_API_KEY}\n"
    "#  - {name: ollama, kind: ollama, base_url: \"http://127.0.0.1:11434/v1\"}\n"
    "#  - {name: other, kind: compatible, base_url: \"https://models.example.com/v1\", models: [\"my-*\"]}\n"
    "\n"
    "# Other names for models: NAME: MODEL or NAME: PROVIDER/MODEL.\n"
    "#aliases:\n"
    "#  fast: gpt-4o-mini\n"
    "#  smart: anthropic/claude-opus-4-5\n"
    "\n"
    "# Keys that clients call Catalyst with; `catalyst key new --name NAME` makes more.\n"
    "keys:\n"
    "  - name: first\n"
    "    key: ";

static const char after_key[] =
    "\n"
    "    project: default\n"
    "\n"
    "# Limits and time-outs have sound defaults; two that are often changed:\n"
    "#limits:\n"
    "#  gateway_body_bytes: 32MiB\n"
    "#upstream:\n"
    "#  first_byte_timeout_ms: 10m\n"
    "\n"
    "# strict: true syncs every call's record to disk before its answer ends (safe against power cuts, slower).\n"
    "#journal:\n"
    "#  strict: true\n";

/* Writes the file whole or not at all, readable only by its owner. */
static enum errc write_file(const char *path, const struct buf *text, err *e)
{
    char temporary[PATH_LEN + 4];
    snprintf(temporary, sizeof temporary, "%s.new", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(e, ERR_IO, errno, "writing %s", temporary);
    errno = ENOSPC; /* what a short write means */
    bool is_written = write(fd, text->p, text->len) == (ssize_t)text->len && fsync(fd) == 0;
    int number = errno;
    close(fd);
    /* link, unlike rename, never replaces a file that appeared meanwhile */
    if (is_written && link(temporary, path) < 0) {
        is_written = false;
        number = errno;
    }
    unlink(temporary);
    return is_written ? ERR_NONE : err_errno(e, ERR_IO, number, "writing %s", path);
}

static enum errc write_configuration(const char *path, err *e)
{
    struct buf text;
    char key[KEYTEXT_LEN + 1];
    buf_init(&text, TEXT_MAX);
    buf_add(&text, str_c(before_key));
    buf_add(&text, keytext_make("cvk", key));
    buf_add(&text, str_c(after_key));
    enum errc rc = buf_err(&text) == ERR_NONE ? write_file(path, &text, e) : err_code(e, buf_err(&text));
    explicit_bzero(key, sizeof key);
    if (text.p)
        explicit_bzero(text.p, text.cap);
    buf_fini(&text);
    return rc;
}

/* The first literal key of the file's keys:, for the hints; empty when they are given as hashes. */
static str first_key(const struct config *c)
{
    const struct json *keys = config_tree(c, "keys");
    const struct json *key = keys && keys->child ? json_get(keys->child, S("key")) : NULL;
    return key ? key->text : S("");
}

static void write_hints(struct buf *out, const char *path, const struct config *c)
{
    str address = config_text(c, "listen.address"), key = first_key(c);
    const struct json *providers = config_tree(c, "providers");
    bool has_tls = config_text(c, "tls.cert").len > 0;
    const char *scheme = has_tls ? "https" : "http";
    if (!key.len)
        key = S("KEY");
    buf_addf(out, "\nWhat to do next:\n");
    if (!providers || !providers->n)
        buf_addf(out,
                 "1. Add a provider to %s and restart; a cloud one by its key, or a local one without:\n"
                 "     providers:\n"
                 "       - {name: openai, kind: openai, api_key_env: OPENAI_API_KEY}\n"
                 "       - {name: ollama, kind: ollama}\n"
                 "2. Call it:\n",
                 path);
    else
        buf_addf(out, "Call it:\n");
    buf_addf(out,
             "   curl          curl %s://%.*s/v1/chat/completions -H 'Authorization: Bearer %.*s' -H 'Content-Type: application/json' "
             "-d '{\"model\":\"gpt-4o-mini\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'\n",
             scheme, STR(address), STR(key));
    buf_addf(out, "   OpenAI SDK    OPENAI_BASE_URL=%s://%.*s/v1 OPENAI_API_KEY=%.*s\n", scheme, STR(address), STR(key));
    buf_addf(out, "   Claude Code   ANTHROPIC_BASE_URL=%s://%.*s ANTHROPIC_AUTH_TOKEN=%.*s claude\n", scheme, STR(address), STR(key));
    buf_addf(out,
             "   Codex         CATALYST_KEY=%.*s codex -c model_provider=catalyst -c 'model_providers.catalyst={name=\"Catalyst\","
             "base_url=\"%s://%.*s/v1\",env_key=\"CATALYST_KEY\",wire_api=\"responses\"}'\n",
             STR(key), scheme, STR(address));
    buf_addf(out, "   See it        catalyst requests --follow; catalyst usage --by model\n\n");
}

static int run(const struct cli_app *app, const struct cli_args *args)
{
    const char *dir = cli_data_dir(args);
    char path[PATH_LEN];
    struct arena a;
    struct config *config = NULL;
    struct buf out;
    err e = {0};
    int n = snprintf(path, sizeof path, "%s/catalyst.yaml", dir), code;
    arena_init(&a, 64u << 20, 64u << 10);
    buf_init(&out, TEXT_MAX);
    if (n < 0 || (size_t)n >= sizeof path) {
        err_set(&e, ERR_USAGE, "the data folder's path is too long");
    } else if (access(path, F_OK) == 0) {
        buf_addf(&out, "Using the configuration %s\n", path);
    } else if (datadir_make(dir, &e) == ERR_NONE && write_configuration(path, &e) == ERR_NONE) {
        buf_addf(&out, "Wrote %s with one fresh key and no provider yet\n", path);
    }
    if (e.code == ERR_NONE && cli_config(app, args, &a, &config, &e) == ERR_NONE)
        write_hints(&out, path, config);
    code = e.code == ERR_NONE ? cli_print(&out) : cli_fail(&e);
    if (out.p)
        explicit_bzero(out.p, out.cap);
    buf_fini(&out);
    arena_fini(&a);
    return code;
}

static const struct flag flags[] = {CLI_CONFIG_FLAGS};

const struct command cmd_init = {
    .name = "init",
    .arguments = "",
    .meaning = "writes a commented configuration with a fresh key where there is none, and says what to do next",
    .flags = flags,
    .n_flags = LENGTH_OF(flags),
    .run = run,
};
