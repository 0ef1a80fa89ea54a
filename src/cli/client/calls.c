/* calls.c - `catalyst requests` and `catalyst usage` of a server: what they show of a data folder, by the API. */
#include <stdio.h>

#include "base/clock.h"
#include "cli/client/client.h"
#include "cli/filter.h"

static const struct column columns[] = {
    {"TIME (UTC)", "started_at", COLUMN_TIME}, {"STATUS", "status", COLUMN_COUNT},
    {"PROVIDER", "provider", COLUMN_TEXT},     {"MODEL", "model", COLUMN_TEXT},
    {"KEY", "key_name", COLUMN_TEXT},          {"INPUT", "tokens.input", COLUMN_COUNT},
    {"OUTPUT", "tokens.output", COLUMN_COUNT}, {"COST USD", "cost_usd", COLUMN_MONEY},
    {"MS", "duration_ms", COLUMN_COUNT},       {"OUTCOME", "outcome", COLUMN_TEXT},
};
static const struct column groups[] = {
    {"GROUP", "group", COLUMN_TEXT},
    {"CALLS", "calls", COLUMN_COUNT},
    {"FAILED", "failed", COLUMN_COUNT},
    {"INPUT", "tokens.input", COLUMN_COUNT},
    {"OUTPUT", "tokens.output", COLUMN_COUNT},
    {"COST USD", "cost_usd", COLUMN_MONEY},
    {"UNPRICED", "unknown_cost_calls", COLUMN_COUNT},
};

/* The filters that the API has, as a query; told when another one is given. */
static int filter_query(struct client *c, struct buf *out)
{
    static const struct {
        const char *flag, *member;
    } texts[] = {
        {"--model", "model"}, {"--provider", "provider"}, {"--project", "project"}, {"--session", "session"}};
    static const char *const local[] = {"--user", "--task", "--tag", "--dialect", "--follow"};
    struct call_filter f;
    char time[TIME_TEXT_LEN + 1];
    err e = {0};
    for (size_t i = 0; i < LENGTH_OF(local); i++)
        if (cli_flag(c->args, local[i]))
            return client_fail(ERR_USAGE, "%s works on a data folder (--data) only, not on a server",
                               local[i]);
    if (call_filter_parse(&f, c->args, clock_now_us(), &e)) return cli_fail(&e);
    if (f.since_us != INT64_MIN) buf_addf(out, "&since=%.*s", STR(time_format(f.since_us, time)));
    if (f.until_us != INT64_MAX) buf_addf(out, "&until=%.*s", STR(time_format(f.until_us, time)));
    for (size_t i = 0; i < LENGTH_OF(texts); i++) {
        const char *value = cli_flag(c->args, texts[i].flag);
        if (value) buf_addf(out, "&%s=%.*s", texts[i].member, STR(client_escape(c, str_c(value))));
    }
    if (f.status.p) {
        uint64_t number;
        bool is_number = str_to_u64(f.status, &number);
        buf_addf(out, "&%s=%.*s", is_number ? "status" : "outcome", STR(client_escape(c, f.status)));
    }
    const char *key = cli_flag(c->args, "--key");
    if (!key) return EXIT_OK;
    str id;
    int code = client_find(c, "/api/gateway/keys", "key", key, &id);
    if (!code) buf_addf(out, "&key_id=%.*s", STR(id));
    return code;
}

int client_requests(struct client *c)
{
    struct buf query;
    buf_init(&query, 64 << 10);
    int code = filter_query(c, &query);
    if (!code)
        code = client_lines(c, "/api/gateway/requests", str_skip(buf_str(&query), 1), columns,
                            LENGTH_OF(columns));
    buf_fini(&query);
    return code;
}

int client_usage(struct client *c)
{
    struct buf query;
    const struct json *answer;
    const char *by = cli_flag(c->args, "--by");
    buf_init(&query, 64 << 10);
    int code = filter_query(c, &query);
    if (!code && by) buf_addf(&query, "&by=%.*s", STR(client_escape(c, str_c(by))));
    str path = arena_printf(c->arena, "/api/gateway/usage?%.*s", STR(str_skip(buf_str(&query), 1)));
    if (!code) code = client_call(c, "GET", path, &answer);
    buf_fini(&query);
    if (code) return code;
    const struct json *items = answer ? json_get(answer, S("items")) : NULL,
                      *total = answer ? json_get(answer, S("total")) : NULL;
    if (c->as_json) return client_object(c, answer, groups, LENGTH_OF(groups));
    if (by && items) code = client_table(c, items, groups, LENGTH_OF(groups));
    return code || !total ? code : client_object(c, total, groups + 1, LENGTH_OF(groups) - 1);
}
