/* init.c - `catalyst init`: a commented configuration with one fresh key where there is none, and what to do
 * next. An existing file is never changed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/keytext.h"
#include "cli/cli.h"
#include "core/datadir.h"
#include "net/url.h"

#define PATH_LEN 4096
#define TEXT_MAX (64u << 10)
#define CONFIG_ARENA_LIMIT (64u << 20)
#define DEFAULT_ADDRESS "127.0.0.1:8080"

/* An example line is "#" before what would stand there, indentation included; prose is "# ". tests/http/init
 * takes the "#" away from every example and checks the result. */
static const char before_address[] =
    "# Catalyst's configuration. docs/configuration.md explains every key; `catalyst config check` tells "
    "what is\n"
    "# wrong with this file, `catalyst config show --origin` what is in force. It is read when the server "
    "starts,\n"
    "# and again on SIGHUP.\n"
    "#\n"
    "# Where no single space follows the # it is an example that is off: to use it take away the # and "
    "nothing else,\n"
    "# for the spaces behind it are its indentation.\n"
    "\n"
    "# Where Catalyst listens. Any address but the loopback needs tls, or a proxy in front that does the "
    "TLS.\n"
    "listen:\n"
    "  address: \"";

static const char before_key[] =
    "\"\n"
    "#  behind_tls_proxy: true\n"
    "\n"
    "# The certificate that clients are shown (PEM). Paths are relative to the folder of this file.\n"
    "#tls:\n"
    "#  cert: server.pem\n"
    "#  key: server.key\n"
    "\n"
    "# Model providers. The kind knows the address, the dialects, the usual model names and the price list; "
    "all of\n"
    "# them can be given. A key stands in a variable (api_key_env), a file (api_key_file) or here "
    "(api_key).\n"
    "# Kinds: openai anthropic azure gemini openrouter ollama vllm llamacpp xai mistral groq deepseek "
    "together\n"
    "# fireworks cerebras moonshot deepinfra, and compatible for any other server that speaks OpenAI's "
    "dialect.\n"
    "#providers:\n"
    "#  - {name: openai, kind: openai, api_key_env: OPENAI_API_KEY}\n"
    "#  - {name: anthropic, kind: anthropic, api_key_env: ANTHROPIC_API_KEY}\n"
    "#  - {name: ollama, kind: ollama}\n"
    "#  - name: other\n"
    "#    kind: compatible\n"
    "#    base_url: https://models.example.com/v1\n"
    "#    api_key_env: OTHER_API_KEY\n"
    "#    models: [\"my-*\"]\n"
    "#    prices: {my-model: {input: \"0.50\", output: \"1.50\"}}\n"
    "\n"
    "# Other names for models: NAME: MODEL, or NAME: PROVIDER/MODEL.\n"
    "#aliases:\n"
    "#  fast: gpt-4o-mini\n"
    "#  smart: anthropic/claude-sonnet-4-5\n"
    "\n"
    "# The keys that clients call Catalyst with. `catalyst key new --name NAME` makes more; with key_sha256 "
    "instead\n"
    "# of key the file holds nothing that could be used. The project is what their calls are booked on.\n"
    "keys:\n"
    "  - name: first\n"
    "    project: default\n"
    "    key: ";

static const char after_key[] = "\n"
                                "\n"
                                "# What a client may send and how slow it may be.\n"
                                "#limits:\n"
                                "#  gateway_body_bytes: 32MiB\n"
                                "#  connections: 20000\n"
                                "\n"
                                "# How long a provider may take.\n"
                                "#upstream:\n"
                                "#  connect_timeout_ms: 10s\n"
                                "#  first_byte_timeout_ms: 10m\n"
                                "\n"
                                "# The usage journal. strict waits for the disk before an answer ends: a "
                                "power cut then loses no call either.\n"
                                "#journal:\n"
                                "#  strict: true\n"
                                "\n"
                                "# /metrics is open to clients on this machine; others need this token.\n"
                                "#metrics:\n"
                                "#  token: choose-a-long-random-text\n"
                                "\n"
                                "# The log, JSON lines on standard error: debug, info, warn, error or off.\n"
                                "#log:\n"
                                "#  level: info\n"
                                "\n"
                                "# Event loops; 0 is one for each core.\n"
                                "#loops: 0\n";

/* Writes the file whole or not at all, readable only by its owner. */
static enum errc write_file(const char *path, str text, err *e)
{
    char temporary[PATH_LEN + 8];
    snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    int fd = mkostemp(temporary, O_CLOEXEC); /* 0600 */
    if (fd < 0) return err_errno(e, ERR_IO, errno, "writing %s", path);
    errno = ENOSPC; /* what a short write means */
    bool is_written = write(fd, text.p, text.len) == (ssize_t)text.len && fsync(fd) == 0;
    /* link, unlike rename, never replaces a file that appeared meanwhile. */
    is_written = is_written && link(temporary, path) == 0;
    int number = errno;
    close(fd);
    unlink(temporary);
    return is_written ? ERR_NONE : err_errno(e, ERR_IO, number, "writing %s", path);
}

static enum errc write_configuration(const char *path, const char *address, const char *key, err *e)
{
    struct buf text;
    buf_init(&text, TEXT_MAX);
    buf_add(&text, str_c(before_address));
    buf_add(&text, str_c(address));
    buf_add(&text, str_c(before_key));
    buf_add(&text, str_c(key));
    buf_add(&text, str_c(after_key));
    enum errc code = buf_err(&text) ? err_code(e, buf_err(&text)) : write_file(path, buf_str(&text), e);
    if (text.p) explicit_bzero(text.p, text.cap);
    buf_fini(&text);
    return code;
}

/* "http://127.0.0.1:8080" as a client on this machine reaches the server. */
static void write_origin(struct buf *out, const struct config *c)
{
    str host, address = config_text(c, "listen.address");
    uint16_t port;
    buf_addf(out, "%s://", config_text(c, "tls.cert").len ? "https" : "http");
    bool is_any = url_parse_listen(address, &host, &port, NULL) == ERR_NONE &&
                  (!host.len || str_eq(host, S("0.0.0.0")) || str_eq(host, S("::")));
    if (is_any)
        buf_addf(out, "127.0.0.1:%u", port);
    else
        buf_add(out, address);
}

/* key is the fresh key's text, or "KEY" to be filled in: an existing file's secrets are not printed. */
static void write_hints(struct buf *out, const struct cli_args *args, const char *path,
                        const struct config *c, const char *key)
{
    const struct json *providers = config_tree(c, "providers");
    bool has_provider = providers && providers->n > 0;
    const char *program = program_invocation_name, *data = cli_data_dir(args);
    struct buf origin;
    buf_init(&origin, PATH_LEN);
    write_origin(&origin, c);
    str at = buf_str(&origin);
    bool is_default = strcmp(data, "./data") == 0 && !getenv("CATALYST_DATA");
    const char *flag = is_default ? "" : " --data ", *dir = is_default ? "" : data;
    buf_addf(out,
             "\nStart it with `%s serve%s%s` and open %.*s in a browser: the first start prints a link\n"
             "by which you become its owner.\n",
             program, flag, dir, STR(at));
    if (!has_provider)
        buf_addf(out,
                 "\nAdd a provider there, with `%s provider add`, or in %s\n"
                 "(kill -HUP makes a running server read it again); a cloud one by its key,\n"
                 "    providers:\n"
                 "      - {name: openai, kind: openai, api_key_env: OPENAI_API_KEY}\n"
                 "or a local one without:\n"
                 "    providers:\n"
                 "      - {name: ollama, kind: ollama}\n",
                 program, path);
    buf_addf(out, "\n%s\n", has_provider ? "Call it:" : "Then call it:");
    buf_addf(out,
             "  curl         curl %.*s/v1/chat/completions -H 'Authorization: Bearer %s' --json "
             "'{\"model\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'\n",
             STR(at), key, has_provider ? "MODEL" : "gpt-4o-mini");
    buf_addf(out, "  OpenAI SDK   OPENAI_BASE_URL=%.*s/v1 OPENAI_API_KEY=%s\n", STR(at), key);
    buf_addf(out, "  Claude Code  ANTHROPIC_BASE_URL=%.*s ANTHROPIC_AUTH_TOKEN=%s claude\n", STR(at), key);
    buf_addf(out,
             "  Codex        CATALYST_KEY=%s codex -c model_provider=catalyst -c 'model_providers.catalyst={"
             "name=\"Catalyst\",base_url=\"%.*s/v1\",env_key=\"CATALYST_KEY\",wire_api=\"responses\"}'\n",
             key, STR(at));
    buf_addf(out, "\nSee every call:        %s requests --follow%s%s\n", program, flag, dir);
    buf_addf(out, "Sum tokens and cost:   %s usage --by model%s%s\n\n", program, flag, dir);
    buf_fini(&origin);
}

/* Makes the file when there is none. */
static enum errc make(const struct cli_args *args, const char *path, const char *key, bool *is_made, err *e)
{
    const char *address = cli_flag(args, "--listen");
    str host;
    uint16_t port;
    *is_made = false;
    if (address && url_parse_listen(str_c(address), &host, &port, e) != ERR_NONE) {
        err_prefix(e, "--listen");
        return e->code = ERR_USAGE;
    }
    if (access(path, F_OK) == 0) return ERR_NONE;
    if (errno != ENOENT) return err_errno(e, ERR_IO, errno, "looking for %s", path);
    enum errc code = cli_flag(args, "--config") ? ERR_NONE : datadir_make(cli_data_dir(args), e);
    if (!code) code = write_configuration(path, address ? address : DEFAULT_ADDRESS, key, e);
    *is_made = !code;
    return code;
}

static int run(const struct cli_app *app, const struct cli_args *args)
{
    const char *given = cli_flag(args, "--config");
    char path[PATH_LEN], key[KEYTEXT_LEN + 1];
    struct arena a;
    struct config *config = NULL;
    struct buf out;
    err e = {0};
    bool is_made = false;
    int n = given ? snprintf(path, sizeof path, "%s", given)
                  : snprintf(path, sizeof path, "%s/catalyst.yaml", cli_data_dir(args));
    arena_init(&a, CONFIG_ARENA_LIMIT, 0);
    buf_init(&out, TEXT_MAX);
    keytext_make("cvk", key);
    enum errc code = n < 0 || (size_t)n >= sizeof path ? err_set(&e, ERR_USAGE, "the path is too long")
                                                       : make(args, path, key, &is_made, &e);
    if (!code) code = cli_config(app, args, &a, &config, &e);
    if (!code && is_made)
        buf_addf(&out, "Wrote %s, readable only by you, with one fresh key and no provider yet.\n", path);
    else if (!code)
        buf_addf(&out, "Using %s. KEY stands for one of its keys, MODEL for a model of a provider.\n", path);
    if (!code) write_hints(&out, args, path, config, is_made ? key : "KEY");
    int exit_code = code ? cli_fail(&e) : cli_print(&out);
    explicit_bzero(key, sizeof key);
    if (out.p) explicit_bzero(out.p, out.cap);
    buf_fini(&out);
    arena_fini(&a);
    return exit_code;
}

static const struct flag flags[] = {
    CLI_DATA_FLAG,
    {"--config", "FILE", NULL, "the file to write (default: DIR/catalyst.yaml)"},
    {"--listen", "HOST:PORT", "listen.address", "the address that it says (default: 127.0.0.1:8080)"},
};

const struct command cmd_init = {
    .name = "init",
    .arguments = "",
    .meaning = "writes a commented configuration where there is none, and says what to do next",
    .flags = flags,
    .n_flags = LENGTH_OF(flags),
    .run = run,
};
