/* version.c - `catalyst version`. */
#include "base/version.h"
#include "cli/cli.h"
#include "json/write.h"

static int run(const struct cli_app *app, const struct cli_args *args)
{
    (void)app;
    struct buf out;
    buf_init(&out, 4096);
    if (cli_flag(args, "--json")) {
        struct json_writer w;
        json_writer_init(&w, &out);
        json_object(&w);
        json_put_str(&w, "version", S(CATALYST_VERSION));
        json_put_str(&w, "commit", S(CATALYST_COMMIT));
        json_end(&w);
        buf_add_char(&out, '\n');
    } else {
        buf_addf(&out, "catalyst %s (%s)\n", CATALYST_VERSION, CATALYST_COMMIT);
    }
    int code = cli_print(&out);
    buf_fini(&out);
    return code;
}

static const struct flag flags[] = {{"--json", NULL, NULL, "prints one JSON object"}};

const struct command cmd_version = {
    .name = "version",
    .arguments = "",
    .meaning = "prints the version",
    .flags = flags,
    .n_flags = LENGTH_OF(flags),
    .run = run,
};
