/* jobs.c - `catalyst jobs …`: background work, its progress, and stopping it. */
#include "cli/client/client.h"

#define PATH "/api/jobs"

static const struct column columns[] = {
    {"KIND", "kind", COLUMN_TEXT},
    {"STATE", "state", COLUMN_TEXT},
    {"PROGRESS", "progress", COLUMN_PROGRESS},
    {"TRIES", "tries", COLUMN_COUNT},
    {"CREATED", "created_at", COLUMN_TIME},
    {"FINISHED", "finished_at", COLUMN_TIME},
    {"ID", "id", COLUMN_TEXT},
};
static const struct column details[] = {
    {"kind", "kind", COLUMN_TEXT},
    {"state", "state", COLUMN_TEXT},
    {"progress", "progress", COLUMN_PROGRESS},
    {"error", "error", COLUMN_TEXT},
    {"tries", "tries", COLUMN_TEXT},
    {"created", "created_at", COLUMN_TIME},
    {"started", "started_at", COLUMN_TIME},
    {"finished", "finished_at", COLUMN_TIME},
    {"id", "id", COLUMN_TEXT},
};

static int list(struct client *c)
{
    const char *state = cli_flag(c->args, "--state"), *kind = cli_flag(c->args, "--kind");
    str query =
        arena_printf(c->arena, "%s%.*s%s%s%.*s", state ? "state=" : "", STR(client_escape(c, str_c(state))),
                     state && kind ? "&" : "", kind ? "kind=" : "", STR(client_escape(c, str_c(kind))));
    return client_list(c, PATH, query, columns, LENGTH_OF(columns));
}

static int ask(struct client *c, const char *method)
{
    const struct json *answer;
    int code = client_needs(c, 1);
    if (code) return code;
    str id = client_escape(c, str_c(cli_positional(c->args, 0)));
    code = client_call(c, method, arena_printf(c->arena, PATH "/%.*s", STR(id)), &answer);
    if (code) return code;
    return answer ? client_object(c, answer, details, LENGTH_OF(details))
                  : client_done(c, NULL, "cancelled the job");
}

static int show(struct client *c) { return ask(c, "GET"); }
static int cancel(struct client *c) { return ask(c, "DELETE"); }

static const struct flag plain_flags[] = {CLI_CLIENT_FLAGS};
static const struct flag list_flags[] = {
    CLI_CLIENT_FLAGS,
    {"--state", "STATE", NULL, "queued, running, succeeded, failed or cancelled"},
    {"--kind", "KIND", NULL, "jobs of this kind"},
    {"--limit", "N", NULL, "how many at most"},
};

const struct command cmd_jobs_list = {.name = "jobs list",
                                      .arguments = "",
                                      .meaning = "lists background jobs",
                                      .flags = list_flags,
                                      .n_flags = LENGTH_OF(list_flags),
                                      .ask = list};
const struct command cmd_jobs_show = {.name = "jobs show",
                                      .arguments = "ID",
                                      .meaning = "shows a background job",
                                      .flags = plain_flags,
                                      .n_flags = LENGTH_OF(plain_flags),
                                      .ask = show};
const struct command cmd_jobs_cancel = {.name = "jobs cancel",
                                        .arguments = "ID",
                                        .meaning = "stops a background job",
                                        .flags = plain_flags,
                                        .n_flags = LENGTH_OF(plain_flags),
                                        .ask = cancel};
