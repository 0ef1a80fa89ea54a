/* keys.c - `catalyst key …`: virtual keys, for the gateway. */
#include <stdio.h>

#include "base/clock.h"
#include "cli/client/client.h"

#define KEYS "/api/gateway/keys"

static const struct column columns[] = {
    {"NAME", "name", COLUMN_TEXT},
    {"PREFIX", "prefix", COLUMN_TEXT},
    {"ON", "is_enabled", COLUMN_BOOL},
    {"BUDGET USD", "budget.limit_usd", COLUMN_MONEY},
    {"PERIOD", "budget.period", COLUMN_TEXT},
    {"LEFT USD", "budget.left_usd", COLUMN_MONEY},
    {"LAST USED", "last_used_at", COLUMN_TIME},
    {"EXPIRES", "expires_at", COLUMN_TIME},
    {"FROM", "origin", COLUMN_TEXT},
    {"ID", "id", COLUMN_TEXT},
};
static const struct column shown_once[] = {
    {"id", "id", COLUMN_TEXT},
    {"name", "name", COLUMN_TEXT},
    {"key", "key", COLUMN_TEXT},
};

/* The key itself alone on a line, so that it can be copied; what else there is to know on standard error. */
static int show_once(struct client *c, const struct json *answer)
{
    int code = client_object(c, answer, shown_once, LENGTH_OF(shown_once));
    if (!code && !c->as_json) fputs("This is the only time the key is shown.\n", stderr);
    return code;
}

static int put_expiry(struct client *c, struct json_writer *w)
{
    const char *text = cli_flag(c->args, "--expires-in-days");
    char time[TIME_TEXT_LEN + 1];
    uint64_t days;
    if (!text) return EXIT_OK;
    if (!str_to_u64(str_c(text), &days) || days == 0 || days > 36500)
        return client_fail(ERR_USAGE, "--expires-in-days takes a number of days from 1 to 36500");
    json_put_str(w, "expires_at", time_format(clock_now_us() + (usec)days * USEC_PER_DAY, time));
    return EXIT_OK;
}

static int create(struct client *c)
{
    static const struct body_flag members[] = {
        {"--name", "name", MEMBER_TEXT},
        {"--budget", "budget_usd", MEMBER_MONEY},
        {"--period", "budget_period", MEMBER_TEXT},
        {"--models", "allowed_models", MEMBER_TEXTS},
        {"--providers", "allowed_providers", MEMBER_TEXTS},
    };
    static const struct body_flag limits[] = {
        {"--requests-per-minute", "requests_per_minute", MEMBER_INT},
        {"--tokens-per-minute", "tokens_per_minute", MEMBER_INT},
        {"--parallel-calls", "parallel_calls", MEMBER_INT},
    };
    str project = {NULL, 0};
    const struct json *answer;
    int code = cli_flag(c->args, "--name") ? EXIT_OK : client_fail(ERR_USAGE, "--name is needed");
    const char *of = cli_flag(c->args, "--project");
    if (!code && of) code = client_find(c, "/api/projects", "project", of, &project);
    if (code) return code;
    struct json_writer *w = client_body(c);
    code = client_put_flags(c, w, members, LENGTH_OF(members));
    if (!code) code = put_expiry(c, w);
    if (code) return code;
    if (project.len) json_put_str(w, "project_id", project);
    bool has_limits = false;
    for (size_t i = 0; i < LENGTH_OF(limits); i++)
        has_limits = has_limits || cli_flag(c->args, limits[i].flag);
    if (has_limits) {
        json_name(w, S("limits"));
        json_object(w);
        code = client_put_flags(c, w, limits, LENGTH_OF(limits));
        json_end(w);
    }
    if (!code) code = client_call(c, "POST", S(KEYS), &answer);
    return code ? code : show_once(c, answer);
}

static int list(struct client *c) { return client_list(c, KEYS, S(""), columns, LENGTH_OF(columns)); }

static int revoke(struct client *c)
{
    str id;
    int code = client_needs(c, 1);
    if (!code) code = client_find(c, KEYS, "key", cli_positional(c->args, 0), &id);
    if (!code) code = client_call(c, "DELETE", arena_printf(c->arena, KEYS "/%.*s", STR(id)), NULL);
    return code ? code : client_done(c, NULL, "revoked the key '%s'", cli_positional(c->args, 0));
}

static int rotate(struct client *c)
{
    static const struct body_flag members[] = {{"--overlap-hours", "overlap_hours", MEMBER_INT}};
    str id;
    const struct json *answer;
    int code = client_needs(c, 1);
    if (!code) code = client_find(c, KEYS, "key", cli_positional(c->args, 0), &id);
    if (code) return code;
    code = client_put_flags(c, client_body(c), members, LENGTH_OF(members));
    if (!code) code = client_call(c, "POST", arena_printf(c->arena, KEYS "/%.*s/rotate", STR(id)), &answer);
    return code ? code : show_once(c, answer);
}

static const struct flag plain_flags[] = {CLI_CLIENT_FLAGS};
static const struct flag create_flags[] = {
    CLI_CLIENT_FLAGS,
    {"--name", "NAME", NULL, "the key's name in records and reports (needed)"},
    {"--budget", "USD", NULL, "what may be spent with it; calls beyond are refused"},
    {"--period", "PERIOD", NULL, "of the budget: daily, weekly, monthly or total (default: total)"},
    {"--project", "PROJECT", NULL, "the project that its calls are booked on, by name or id"},
    {"--models", "A,B", NULL, "the only models that it may call: names or globs"},
    {"--providers", "A,B", NULL, "the only providers that it may call"},
    {"--requests-per-minute", "N", NULL, "most calls a minute"},
    {"--tokens-per-minute", "N", NULL, "most tokens a minute"},
    {"--parallel-calls", "N", NULL, "most calls at a time"},
    {"--expires-in-days", "N", NULL, "when it ends to be good (default: never)"},
};
static const struct flag rotate_flags[] = {
    CLI_CLIENT_FLAGS,
    {"--overlap-hours", "N", NULL, "how long the old one stays good (default: not at all)"},
};

const struct command cmd_key_create = {.name = "key create",
                                       .arguments = "",
                                       .meaning = "makes a virtual key for the gateway",
                                       .flags = create_flags,
                                       .n_flags = LENGTH_OF(create_flags),
                                       .ask = create};
const struct command cmd_key_list = {.name = "key list",
                                     .arguments = "",
                                     .meaning = "lists the virtual keys",
                                     .flags = plain_flags,
                                     .n_flags = LENGTH_OF(plain_flags),
                                     .ask = list};
const struct command cmd_key_revoke = {.name = "key revoke",
                                       .arguments = "NAME",
                                       .meaning = "ends a virtual key at once, by name or id",
                                       .flags = plain_flags,
                                       .n_flags = LENGTH_OF(plain_flags),
                                       .ask = revoke};
const struct command cmd_key_rotate = {.name = "key rotate",
                                       .arguments = "NAME",
                                       .meaning = "gives a virtual key another secret",
                                       .flags = rotate_flags,
                                       .n_flags = LENGTH_OF(rotate_flags),
                                       .ask = rotate};
