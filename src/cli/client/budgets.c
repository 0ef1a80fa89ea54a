/* budgets.c - `catalyst budget …`: what may be spent, and what is left. */
#include "cli/client/client.h"

#define PATH "/api/gateway/budgets"

static const struct column columns[] = {
    {"SCOPE", "scope", COLUMN_TEXT},
    {"OF", "scope_name", COLUMN_TEXT},
    {"PERIOD", "period", COLUMN_TEXT},
    {"HARD", "is_hard", COLUMN_BOOL},
    {"LIMIT USD", "limit_usd", COLUMN_MONEY},
    {"SPENT USD", "spent_usd", COLUMN_MONEY},
    {"RESERVED USD", "reserved_usd", COLUMN_MONEY},
    {"LEFT USD", "left_usd", COLUMN_MONEY},
    {"RESETS", "resets_at", COLUMN_TIME},
    {"ID", "id", COLUMN_TEXT},
};

static int list(struct client *c) { return client_list(c, PATH, S(""), columns, LENGTH_OF(columns)); }

/* The id that --of names in its scope; the workspace needs none. */
static int scope_id(struct client *c, str scope, str *id)
{
    static const struct {
        str scope;
        const char *list, *noun;
    } scopes[] = {
        {STR_LIT("project"), "/api/projects", "project"},
        {STR_LIT("key"), "/api/gateway/keys", "key"},
    };
    const char *of = cli_flag(c->args, "--of");
    *id = (str){NULL, 0};
    if (str_eq(scope, S("workspace")))
        return of ? client_fail(ERR_USAGE, "--of is for the scopes project, user and key") : EXIT_OK;
    if (!of) return client_fail(ERR_USAGE, "--of is needed: whose budget it is, by name or id");
    for (size_t i = 0; i < LENGTH_OF(scopes); i++)
        if (str_eq(scope, scopes[i].scope)) return client_find(c, scopes[i].list, scopes[i].noun, of, id);
    *id = str_c(of); /* a user's id, or a scope that the server will name as wrong */
    return EXIT_OK;
}

struct same {
    str scope, scope_id, period, id;
};

static bool is_text(const struct json *item, const char *member, str wanted)
{
    const struct json *v = json_get(item, str_c(member));
    return v && v->type == JSON_STRING && str_eq(v->text, wanted);
}

/* The budget of the same scope and period, which is changed in place of making a second one. */
static int find_same(struct client *c, struct same *s)
{
    const struct json *answer;
    int code = client_call(c, "GET", S(PATH "?limit=200"), &answer);
    const struct json *items = !code && answer ? json_get(answer, S("items")) : NULL;
    for (const struct json *it = items ? items->child : NULL; it; it = it->next) {
        bool is_same = is_text(it, "scope", s->scope) && is_text(it, "period", s->period) &&
                       (!s->scope_id.len || is_text(it, "scope_id", s->scope_id));
        if (is_same && json_get(it, S("id"))) s->id = json_get(it, S("id"))->text;
    }
    return code;
}

static int set(struct client *c)
{
    static const struct body_flag members[] = {
        {"--limit", "limit_usd", MEMBER_MONEY},
        {"--soft", "is_hard", MEMBER_FALSE},
        {"--hard", "is_hard", MEMBER_TRUE},
    };
    const char *scope = cli_flag(c->args, "--scope"), *period = cli_flag(c->args, "--period");
    struct same s = {.scope = str_c(scope ? scope : "workspace"),
                     .period = str_c(period ? period : "monthly")};
    const struct json *answer;
    if (!cli_flag(c->args, "--limit")) return client_fail(ERR_USAGE, "--limit is needed: an amount in USD");
    if (cli_flag(c->args, "--soft") && cli_flag(c->args, "--hard"))
        return client_fail(ERR_USAGE, "give --soft or --hard, not both");
    int code = scope_id(c, s.scope, &s.scope_id);
    if (!code) code = find_same(c, &s);
    if (code) return code;
    struct json_writer *w = client_body(c);
    if (!s.id.len) {
        json_put_str(w, "scope", s.scope);
        if (s.scope_id.len) json_put_str(w, "scope_id", s.scope_id);
        json_put_str(w, "period", s.period);
        if (!cli_flag(c->args, "--soft") && !cli_flag(c->args, "--hard")) json_put_bool(w, "is_hard", true);
    }
    code = client_put_flags(c, w, members, LENGTH_OF(members));
    str path = s.id.len ? arena_printf(c->arena, PATH "/%.*s", STR(s.id)) : S(PATH);
    if (!code) code = client_call(c, s.id.len ? "PATCH" : "POST", path, &answer);
    return code ? code : client_object(c, answer, columns, LENGTH_OF(columns));
}

static int drop(struct client *c)
{
    int code = client_needs(c, 1);
    str id = client_escape(c, str_c(code ? "" : cli_positional(c->args, 0)));
    if (!code) code = client_call(c, "DELETE", arena_printf(c->arena, PATH "/%.*s", STR(id)), NULL);
    return code ? code : client_done(c, NULL, "removed the budget");
}

static const struct flag plain_flags[] = {CLI_CLIENT_FLAGS};
static const struct flag set_flags[] = {
    CLI_CLIENT_FLAGS,
    {"--limit", "USD", NULL, "what may be spent in a period (needed)"},
    {"--scope", "SCOPE", NULL, "workspace, project, user or key (default: workspace)"},
    {"--of", "NAME", NULL, "the project or key by name or id, the user by id"},
    {"--period", "PERIOD", NULL, "daily, weekly, monthly or total (default: monthly)"},
    {"--hard", NULL, NULL, "calls beyond it are refused (default)"},
    {"--soft", NULL, NULL, "calls beyond it are told, not refused"},
};

const struct command cmd_budget_list = {.name = "budget list",
                                        .arguments = "",
                                        .meaning = "lists the budgets and what is left of them",
                                        .flags = plain_flags,
                                        .n_flags = LENGTH_OF(plain_flags),
                                        .ask = list};
const struct command cmd_budget_set = {.name = "budget set",
                                       .arguments = "",
                                       .meaning =
                                           "makes a budget, or changes the one of the same scope and period",
                                       .flags = set_flags,
                                       .n_flags = LENGTH_OF(set_flags),
                                       .ask = set};
const struct command cmd_budget_remove = {.name = "budget remove",
                                          .arguments = "ID",
                                          .meaning = "removes a budget",
                                          .flags = plain_flags,
                                          .n_flags = LENGTH_OF(plain_flags),
                                          .ask = drop};
