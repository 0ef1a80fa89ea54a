/* providers.c - `catalyst provider …`: the model providers of a workspace. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/client/client.h"

#define PATH "/api/gateway/providers"
#define KEY_MAX 8192

static const struct column columns[] = {
    {"NAME", "name", COLUMN_TEXT},         {"KIND", "kind", COLUMN_TEXT},
    {"BASE URL", "base_url", COLUMN_TEXT}, {"KEY", "key_hint", COLUMN_TEXT},
    {"ON", "is_enabled", COLUMN_BOOL},     {"FROM", "origin", COLUMN_TEXT},
    {"MODELS", "models", COLUMN_TEXTS},
};
static const struct column tested[] = {
    {"ok", "is_ok", COLUMN_BOOL},
    {"status", "status", COLUMN_TEXT},
    {"milliseconds", "latency_ms", COLUMN_TEXT},
    {"detail", "detail", COLUMN_TEXT},
    {"models", "models", COLUMN_TEXTS},
};

/* The key's text from the variable, file or standard input that a flag names. */
static int read_key(struct client *c, str *key)
{
    const char *variable = cli_flag(c->args, "--key-env"), *file = cli_flag(c->args, "--key-file");
    bool is_stdin = cli_flag(c->args, "--key-stdin") != NULL;
    if ((variable != NULL) + (file != NULL) + is_stdin > 1)
        return client_fail(ERR_USAGE, "give one of --key-env, --key-file and --key-stdin, not several");
    *key = (str){NULL, 0};
    if (variable) {
        const char *value = getenv(variable);
        if (!value || !*value)
            return client_fail(ERR_USAGE, "the variable %.60s that --key-env names is not set", variable);
        *key = str_trim(str_c(value));
    } else if (file || is_stdin) {
        char line[KEY_MAX];
        FILE *f = is_stdin ? stdin : fopen(file, "re");
        if (!f) return client_fail(ERR_IO, "--key-file %s: %s", file, strerror(errno));
        bool has_line = fgets(line, sizeof line, f) != NULL;
        if (!is_stdin) fclose(f);
        if (has_line) *key = str_trim(str_dup(c->arena, str_c(line)));
        explicit_bzero(line, sizeof line);
        if (!key->len) return client_fail(ERR_USAGE, "%s holds no key", is_stdin ? "standard input" : file);
    }
    return EXIT_OK;
}

static int add(struct client *c)
{
    static const struct body_flag members[] = {
        {"--kind", "kind", MEMBER_TEXT},
        {"--base-url", "base_url", MEMBER_TEXT},
        {"--models", "models", MEMBER_TEXTS},
    };
    str key;
    const struct json *answer;
    int code = client_needs(c, 1);
    if (!code && !cli_flag(c->args, "--kind"))
        code = client_fail(ERR_USAGE, "--kind is needed: openai, anthropic, ollama, compatible, ...");
    if (!code) code = read_key(c, &key);
    if (code) return code;
    struct json_writer *w = client_body(c);
    json_put_str(w, "name", str_c(cli_positional(c->args, 0)));
    code = client_put_flags(c, w, members, LENGTH_OF(members));
    if (code) return code;
    if (key.len) json_put_str(w, "api_key", key);
    code = client_call(c, "POST", S(PATH), &answer);
    return code ? code : client_done(c, answer, "added the provider '%s'", cli_positional(c->args, 0));
}

static int list(struct client *c) { return client_list(c, PATH, S(""), columns, LENGTH_OF(columns)); }

static int with_id(struct client *c, str *path, const char *more)
{
    str id;
    int code = client_needs(c, 1);
    if (!code) code = client_find(c, PATH, "provider", cli_positional(c->args, 0), &id);
    if (!code) *path = arena_printf(c->arena, PATH "/%.*s%s", STR(id), more);
    return code;
}

static int drop(struct client *c)
{
    str path;
    int code = with_id(c, &path, "");
    if (!code) code = client_call(c, "DELETE", path, NULL);
    return code ? code : client_done(c, NULL, "removed the provider '%s'", cli_positional(c->args, 0));
}

static int test(struct client *c)
{
    str path;
    bool is_ok = false;
    const struct json *answer;
    int code = with_id(c, &path, "/test");
    if (!code) code = client_call(c, "POST", path, &answer);
    if (code) return code;
    code = client_object(c, answer, tested, LENGTH_OF(tested));
    if (code) return code;
    return json_bool(json_get(answer, S("is_ok")), &is_ok) && is_ok ? EXIT_OK : EXIT_FAILED;
}

static const struct flag plain_flags[] = {CLI_CLIENT_FLAGS};
static const struct flag add_flags[] = {
    CLI_CLIENT_FLAGS,
    {"--kind", "KIND", NULL, "openai, anthropic, ollama, vllm, openrouter, compatible, ... (needed)"},
    {"--base-url", "URL", NULL, "where it is; the kind's public address by default"},
    {"--models", "A,B", NULL, "names or globs that it serves; what its kind is known for by default"},
    {"--key-env", "VAR", NULL, "sends the key that this variable of your environment holds"},
    {"--key-file", "FILE", NULL, "sends the key on the file's first line"},
    {"--key-stdin", NULL, NULL, "sends the key on the first line of standard input"},
};

const struct command cmd_provider_add = {.name = "provider add",
                                         .arguments = "NAME",
                                         .meaning = "adds a model provider",
                                         .flags = add_flags,
                                         .n_flags = LENGTH_OF(add_flags),
                                         .ask = add};
const struct command cmd_provider_list = {.name = "provider list",
                                          .arguments = "",
                                          .meaning = "lists the model providers",
                                          .flags = plain_flags,
                                          .n_flags = LENGTH_OF(plain_flags),
                                          .ask = list};
const struct command cmd_provider_remove = {.name = "provider remove",
                                            .arguments = "NAME",
                                            .meaning = "removes a model provider",
                                            .flags = plain_flags,
                                            .n_flags = LENGTH_OF(plain_flags),
                                            .ask = drop};
const struct command cmd_provider_test = {.name = "provider test",
                                          .arguments = "NAME",
                                          .meaning = "asks a provider for its models: costs no tokens",
                                          .flags = plain_flags,
                                          .n_flags = LENGTH_OF(plain_flags),
                                          .ask = test};
