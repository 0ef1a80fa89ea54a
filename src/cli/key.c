/* key.c - `catalyst key new`: a virtual key, and the entry that lets it in. */
#include "base/crypto.h"
#include "base/keytext.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include "json/write.h"

static int run(const struct cli_app *app, const struct cli_args *args)
{
    (void)app;
    const char *name = cli_flag(args, "--name");
    const char *project = cli_flag(args, "--project");
    if (!name || !*name) name = "default";
    if (!utf8_is_valid(str_c(name)) || (project && !utf8_is_valid(str_c(project)))) {
        err e = {0};
        err_set(&e, ERR_USAGE, "--name and --project must be valid UTF-8");
        return cli_fail(&e);
    }
    char key[KEYTEXT_LEN + 1], hex[2 * SHA256_LEN + 1];
    uint8_t hash[SHA256_LEN];
    str text = keytext_make("cvk", key);
    sha256(text, hash);
    str hash_text = hex_encode(hash, sizeof hash, hex);

    struct buf out;
    buf_init(&out, 64 << 10);
    struct json_writer w;
    json_writer_init(&w, &out);
    if (cli_flag(args, "--json")) {
        json_object(&w);
        json_put_str(&w, "key", text);
        json_put_str(&w, "name", str_c(name));
        if (project)
            json_put_str(&w, "project", str_c(project));
        else
            json_put_null(&w, "project");
        json_put_str(&w, "key_sha256", hash_text);
        json_end(&w);
        buf_add_char(&out, '\n');
    } else {
        buf_add(&out, text);
        buf_add(
            &out,
            S("\n\n# This is the only time the key is shown. The entry for catalyst.yaml holds its hash:\n"
              "keys:\n  - name: \""));
        json_escape(&out, str_c(name)); /* text in JSON's quotes means the same in YAML */
        buf_add(&out, S("\"\n    key_sha256: \""));
        buf_add(&out, hash_text);
        buf_add(&out, S("\"\n"));
        if (project && *project) {
            buf_add(&out, S("    project: \""));
            json_escape(&out, str_c(project));
            buf_add(&out, S("\"\n"));
        }
    }
    int exit_code = cli_print(&out);
    if (out.p) explicit_bzero(out.p, out.cap);
    explicit_bzero(key, sizeof key);
    buf_fini(&out);
    return exit_code;
}

static const struct flag flags[] = {
    {"--name", "NAME", NULL, "the key's name in records and reports (default: default)"},
    {"--project", "PROJECT", NULL, "the project that its calls are booked on"},
    {"--json", NULL, NULL, "prints one JSON object"},
};

const struct command cmd_key_new = {
    .name = "key new",
    .arguments = "",
    .meaning = "makes a virtual key for the configuration file (key create: for a server)",
    .flags = flags,
    .n_flags = LENGTH_OF(flags),
    .run = run,
};
