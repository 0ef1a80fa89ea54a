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

/* A flag that is a filter of the data folder only is told, not passed over. */
static int refuse_local(struct client *c, const char *const *flags, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (cli_flag(c->args, flags[i]))
            return client_fail(ERR_USAGE, "%s works on a data folder (--data) only, not on a server",
                               flags[i]);
    return EXIT_OK;
}

static int put_times(struct client *c, struct call_filter *f, struct buf *out)
{
    char time[TIME_TEXT_LEN + 1];
    err e = {0};
    if (call_filter_parse(f, c->args, clock_now_us(), &e)) return cli_fail(&e);
    if (f->since_us != INT64_MIN) buf_addf(out, "&since=%.*s", STR(time_format(f->since_us, time)));
    if (f->until_us != INT64_MAX) buf_addf(out, "&until=%.*s", STR(time_format(f->until_us, time)));
    return EXIT_OK;
}

static void put_text(struct client *c, const char *flag, const char *member, struct buf *out)
{
    const char *value = cli_flag(c->args, flag);
    str text = client_escape(c, str_c(value));
    if (value) buf_addf(out, "&%s=%.*s", member, STR(text));
}

/* The filters that the API has, as a query. */
static int filter_query(struct client *c, struct buf *out)
{
    static const char *const local[] = {"--user", "--task", "--tag", "--dialect", "--follow"};
    struct call_filter f;
    int code = refuse_local(c, local, LENGTH_OF(local));
    if (!code) code = put_times(c, &f, out);
    if (code) return code;
    put_text(c, "--model", "model", out);
    put_text(c, "--provider", "provider", out);
    put_text(c, "--project", "project", out);
    put_text(c, "--session", "session", out);
    uint64_t number;
    if (f.status.p) put_text(c, "--status", str_to_u64(f.status, &number) ? "status" : "outcome", out);
    const char *key = cli_flag(c->args, "--key");
    str id;
    if (key) code = client_find(c, "/api/gateway/keys", "key", key, &id);
    if (key && !code) buf_addf(out, "&key_id=%.*s", STR(id));
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
    static const char *const local[] = {"--user",     "--task", "--tag",     "--dialect", "--model",
                                        "--provider", "--key",  "--session", "--status"};
    struct call_filter f;
    buf_init(&query, 64 << 10);
    int code = refuse_local(c, local, LENGTH_OF(local));
    if (!code) code = put_times(c, &f, &query);
    put_text(c, "--project", "project", &query);
    put_text(c, "--by", "by", &query);
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
