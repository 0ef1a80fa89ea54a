/* catalyst openapi: the contract of the API, as the server gives it at GET /api/openapi.json. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/serve/serve.h"

#define TEXT_MAX (32u << 20)
#define INDENT 1

/* One member a line, so that a change shows as itself. The input is compact JSON of ours. */
static void put_pretty(str json, struct buf *out)
{
    unsigned depth = 0;
    bool is_string = false;
    for (size_t i = 0; i < json.len; i++) {
        char c = json.p[i], next = i + 1 < json.len ? json.p[i + 1] : '\0';
        if (is_string) {
            buf_add_char(out, c);
            if (c == '\\' && next) {
                buf_add_char(out, next);
                i++;
            }
            is_string = c != '"';
            continue;
        }
        if (c == '}' || c == ']') buf_addf(out, "\n%*s", (int)(--depth * INDENT), "");
        buf_add_char(out, c);
        is_string = c == '"';
        if ((c == '{' || c == '[') && (next == '}' || next == ']')) {
            buf_add_char(out, next);
            i++;
        } else if (c == '{' || c == '[') {
            buf_addf(out, "\n%*s", (int)(++depth * INDENT), "");
        } else if (c == ',') {
            buf_addf(out, "\n%*s", (int)(depth * INDENT), "");
        } else if (c == ':') {
            buf_add_char(out, ' ');
        }
    }
    buf_add_char(out, '\n');
}

static int openapi(const struct cli_app *app, const struct cli_args *args)
{
    struct api_mount mounts[API_TABLES_MAX];
    unsigned n = services_mounts(NULL, mounts);
    struct buf compact, text;
    (void)app;
    buf_init(&compact, TEXT_MAX);
    buf_init(&text, TEXT_MAX);
    if (cli_flag(args, "--markdown")) {
        api_reference(mounts, n, &text);
    } else {
        api_openapi(mounts, n, &compact);
        put_pretty(buf_str(&compact), &text);
        text.failed = text.failed ? text.failed : compact.failed;
    }
    int code = cli_print(&text);
    buf_fini(&compact);
    buf_fini(&text);
    return code;
}

static const struct flag flags[] = {
    {"--markdown", NULL, NULL, "the reference for people instead, as docs/api.md holds it"},
};

const struct command cmd_openapi = {
    .name = "openapi",
    .arguments = "",
    .meaning = "prints the contract of the API (OpenAPI 3.1)",
    .flags = flags,
    .n_flags = LENGTH_OF(flags),
    .run = openapi,
};
