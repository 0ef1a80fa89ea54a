/* Budgets: limits on what the workspace, a project, a user or a virtual key may spend in a period. */
#include <stdio.h>

#include "gateway/admin/admin.h"
#include "projects/projects.h"

#define COLUMNS "created_us, id, scope, scope_id, period, limit_nanousd, is_hard, alerts, cap_nanousd, updated_us, version"

SQL(budget_find, DB_MAIN, 0, "uu", "SELECT NULL FROM gateway_budgets WHERE workspace_id = $1 AND id = $2");
SQL(budget_get, DB_MAIN, 0, "uu", "SELECT " COLUMNS " FROM gateway_budgets WHERE workspace_id = $1 AND id = $2");
SQL(budget_list, DB_MAIN, 0, "u", "SELECT " COLUMNS " FROM gateway_budgets WHERE workspace_id = $1");
SQL(budget_first_of, DB_MAIN, 0, "uu",
    "SELECT " COLUMNS " FROM gateway_budgets WHERE workspace_id = $1 AND scope_id = $2 AND scope = 'key' ORDER BY created_us, id LIMIT 1");
SQL(budget_add, DB_MAIN, 0, "uututiitiiii",
    "INSERT INTO gateway_budgets (workspace_id, id, scope, scope_id, period, limit_nanousd, is_hard, alerts, cap_nanousd, version, created_us, "
    "updated_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)");
SQL(budget_change, DB_MAIN, 0, "tiitiiiuu",
    "UPDATE gateway_budgets SET period = $1, limit_nanousd = $2, is_hard = $3, alerts = $4, cap_nanousd = $5, version = $6, updated_us = $7 "
    "WHERE workspace_id = $8 AND id = $9");
SQL(budget_delete, DB_MAIN, 0, "uu", "DELETE FROM gateway_budgets WHERE workspace_id = $1 AND id = $2");
SQL(budget_delete_of, DB_MAIN, 0, "uu", "DELETE FROM gateway_budgets WHERE workspace_id = $1 AND scope_id = $2");
SQL(budget_project, DB_MAIN, 0, "uu", "SELECT id FROM projects WHERE workspace_id = $1 AND id = $2");
SQL(budget_member, DB_MAIN, 0, "uu", "SELECT user_id FROM memberships WHERE workspace_id = $1 AND user_id = $2");
SQL(budget_key, DB_MAIN, 0, "uu", "SELECT id FROM gateway_keys WHERE workspace_id = $1 AND id = $2");

static const struct api_resource budget_resource = {":id", &budget_find, "budget"};

static const struct field fields[] = {
    FIELD(struct budget_view, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Id of the budget."),
    FIELD(struct budget_view, scope, FIELD_ONE_OF, .choices = "workspace|project|user|key", .flags = FIELD_REQUIRED,
          .meaning = "What it is on; users and projects by the keys that are bound to them. Set when it is made."),
    FIELD(struct budget_view, scope_id, FIELD_UUID, .flags = FIELD_NULLABLE, .meaning = "Which project, user or key; of the workspace it may be left out."),
    FIELD(struct budget_view, scope_name, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_UNAUDITED | FIELD_NULLABLE, .meaning = "What that is called."),
    FIELD(struct budget_view, period, FIELD_ONE_OF, .choices = "daily|weekly|monthly|total", .flags = FIELD_REQUIRED,
          .meaning = "A day, a week from Monday, a calendar month (all UTC), or everything that was ever spent."),
    FIELD(struct budget_view, limit, FIELD_MONEY, .min = 0, .max = INT64_MAX / 8, .flags = FIELD_REQUIRED, .meaning = "The most that may be spent in a period."),
    FIELD(struct budget_view, is_hard, FIELD_BOOL, .fallback = "true", .meaning = "Whether calls that could cost more are refused; else it only alerts."),
    FIELD(struct budget_view, alerts_at, FIELD_JSON, .max = 60, .fallback = "[50,80,100]", .meaning = "Percents of the limit at which an event tells, once a period."),
    FIELD(struct budget_view, unknown_price_cap, FIELD_MONEY, .min = 0, .max = INT64_C(1000000000000), .flags = FIELD_NULLABLE,
          .meaning = "USD per million tokens that models of unknown price count with; null: a hard budget refuses them."),
    FIELD(struct budget_view, spent, FIELD_MONEY, .flags = FIELD_READONLY | FIELD_UNAUDITED, .meaning = "What was spent in this period."),
    FIELD(struct budget_view, reserved, FIELD_MONEY, .flags = FIELD_READONLY | FIELD_UNAUDITED, .meaning = "What calls under way could still cost."),
    FIELD(struct budget_view, left, FIELD_MONEY, .flags = FIELD_READONLY | FIELD_UNAUDITED, .meaning = "The limit without both."),
    FIELD(struct budget_view, period_start, FIELD_TIME, .flags = FIELD_READONLY | FIELD_UNAUDITED | FIELD_NULLABLE, .meaning = "When this period began; null: there is only one."),
    FIELD(struct budget_view, resets_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_UNAUDITED | FIELD_NULLABLE, .meaning = "When the next one begins; null: never."),
    FIELD(struct budget_view, origin, FIELD_ONE_OF, .choices = "database|file", .flags = FIELD_READONLY | FIELD_UNAUDITED, .meaning = "Where it is defined."),
    FIELD(struct budget_view, created_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "When it was made."),
    FIELD(struct budget_view, updated_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_UNAUDITED | FIELD_NULLABLE, .meaning = "When it was changed last."),
    FIELD(struct budget_view, version, FIELD_INT, .flags = FIELD_READONLY | FIELD_UNAUDITED, .meaning = "Counts its changes."),
};
const struct shape budget_shape = SHAPE("Budget", struct budget_view, fields, "A limit on spending.");

/* --- rows --- */

/* "50,80,100" as the table has it, and "[50,80,100]". */
static str alerts_json(struct arena *a, str stored) { return arena_printf(a, "[%.*s]", STR(stored)); }

static enum errc alerts_stored(struct api_request *r, str json, str *out, err *e)
{
    struct json *list;
    struct buf text;
    int64_t last = 0;
    enum errc rc = json_parse(r->arena, json, &list, e);
    if (rc != ERR_NONE)
        return rc;
    bool is_fine = list->type == JSON_ARRAY && list->n <= BUDGET_ALERTS_MAX;
    buf_init(&text, 100);
    for (const struct json *item = is_fine ? list->child : NULL; item && is_fine; item = item->next) {
        int64_t percent = 0;
        is_fine = json_i64(item, &percent) && percent > last && percent <= 200;
        if (text.len)
            buf_add_char(&text, ',');
        buf_add_i64(&text, percent);
        last = percent;
    }
    *out = str_dup(r->arena, buf_str(&text));
    buf_fini(&text);
    return is_fine ? ERR_NONE
                   : api_field_error(r, e, "alerts_at", "bad_format", "must be at most %d whole percents from 1 to 200, ascending", BUDGET_ALERTS_MAX);
}

static void read_row(struct arena *a, const struct val *row, struct budget_view *v)
{
    *v = (struct budget_view){
        .created_at = val_int(&row[0]),
        .id = val_uuid(&row[1]),
        .scope = val_str(&row[2]),
        .scope_id = val_uuid(&row[3]),
        .period = val_str(&row[4]),
        .limit = val_int(&row[5]),
        .is_hard = val_bool(&row[6]),
        .alerts_at = alerts_json(a, val_str(&row[7])),
        .unknown_price_cap = val_int(&row[8]),
        .updated_at = val_int(&row[9]),
        .version = val_int(&row[10]),
        .origin = S("database"),
    };
}

static void fill_state(struct budget_view *v, enum budget_period period, struct budget_counter *c, usec now_us)
{
    struct budget_state state = {0};
    budget_period_bounds(period, now_us, &state.start_us, &state.end_us);
    if (c)
        state = budget_counter_state(c, now_us);
    v->spent = state.spent_nanousd;
    v->reserved = state.reserved_nanousd;
    v->left = v->limit - v->spent - v->reserved;
    if (v->left < 0)
        v->left = 0;
    v->period_start = period == BUDGET_TOTAL ? NO_VALUE : state.start_us;
    v->resets_at = period == BUDGET_TOTAL ? NO_VALUE : state.end_us;
}

void budget_view_fill(const struct snapshot *s, struct budget_view *v, usec now_us)
{
    enum budget_scope scope = BUDGET_KEY;
    enum budget_period period = BUDGET_TOTAL;
    (void)!budget_scope_parse(v->scope, &scope);
    (void)!budget_period_parse(v->period, &period);
    fill_state(v, period, snapshot_counter(s, scope, &v->scope_id, period), now_us);
}

static void from_file(struct arena *a, const struct budget *b, struct budget_view *v, usec now_us)
{
    *v = (struct budget_view){.id = b->id, .scope = str_c(budget_scope_name(b->scope)), .scope_id = b->scope_id, .scope_name = str_dup(a, b->scope_name),
                              .period = str_c(budget_period_name(b->period)), .limit = b->limit_nanousd, .is_hard = b->is_hard, .alerts_at = S("[50,80,100]"),
                              .unknown_price_cap = NO_VALUE, .origin = S("file"), .created_at = NO_VALUE, .updated_at = NO_VALUE, .version = 1};
    fill_state(v, b->period, b->counter, now_us);
}

struct budget_view *budget_of_file_key(struct arena *a, const struct snapshot *s, const struct virtual_key *key)
{
    for (unsigned i = 0; i < s->n_budgets; i++) {
        const struct budget *b = &s->budgets[i];
        if (!b->is_from_file || memcmp(&b->scope_id, &key->id, sizeof key->id) != 0)
            continue;
        struct budget_view *v = arena_new(a, struct budget_view);
        if (v)
            from_file(a, b, v, clock_now_us());
        return v;
    }
    return NULL;
}

enum errc budget_of_key(struct tx *tx, struct arena *a, const uuid *workspace, const uuid *key, struct budget_view **out, err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, a, &budget_first_of, PARAMS(v_uuid(workspace), v_uuid(key)), &rows, e);
    *out = NULL;
    if (rc != ERR_NONE || !rows.n)
        return rc;
    if (!(*out = arena_new(a, struct budget_view)))
        return err_code(e, ERR_TOO_LARGE);
    read_row(a, row_at(&rows, 0), *out);
    return ERR_NONE;
}

enum errc budget_insert(struct tx *tx, const uuid *workspace, const struct budget_view *b, err *e)
{
    str alerts = b->alerts_at; /* stored form: without the brackets */
    if (alerts.len >= 2 && alerts.p[0] == '[')
        alerts = str_of(alerts.p + 1, alerts.len - 2);
    return tx_exec(tx, &budget_add,
                   PARAMS(v_uuid(workspace), v_uuid(&b->id), v_text(b->scope), v_uuid(&b->scope_id), v_text(b->period), v_int(b->limit), v_int(b->is_hard),
                          v_text(alerts), v_int_or_null(b->unknown_price_cap), v_int(b->version), v_int(b->created_at), v_int(b->updated_at)),
                   NULL, e);
}

enum errc budgets_delete_of(struct tx *tx, const uuid *workspace, const uuid *scope_id, err *e)
{
    return tx_exec(tx, &budget_delete_of, PARAMS(v_uuid(workspace), v_uuid(scope_id)), NULL, e);
}

/* What was spent, and the names: from the snapshot, when everything is committed. */
static void fill(struct api_request *r, struct budget_view *v, unsigned n)
{
    struct snapshot *s = gateway_snapshot(r->service);
    for (unsigned i = 0; i < n; i++) {
        if (str_eq(v[i].origin, S("file")))
            continue;
        budget_view_fill(s, &v[i], r->now_us);
        for (unsigned k = 0; k < s->n_budgets && !v[i].scope_name.p; k++)
            if (memcmp(&s->budgets[k].id, &v[i].id, sizeof(uuid)) == 0)
                v[i].scope_name = str_dup(r->arena, s->budgets[k].scope_name);
    }
    snapshot_put(s);
}

static void fill_answer(struct api_request *r) { fill(r, r->answer, r->answer ? 1 : 0); }
static void fill_items(struct api_request *r) { fill(r, r->items.items, r->items.n); }

static void changed(struct api_request *r)
{
    admin_after(r);
    fill_answer(r);
}

/* --- list and show --- */

static enum errc list(struct api_request *r, struct tx *tx, err *e)
{
    struct keyset key = {.column = "created_us", .param = 'i', .id_column = "id", .id_param = 'u', .cursor = r->cursor, .limit = r->limit};
    struct rows rows;
    struct snapshot *s;
    enum errc rc = tx_list(tx, r->arena, &budget_list, PARAMS(v_uuid(&r->workspace_id)), NULL, 0, &key, &rows, &r->next_cursor, e);
    if (rc != ERR_NONE)
        return rc;
    const struct workspace_view *w = admin_view(r, &s);
    unsigned n_file = 0, n = 0;
    for (unsigned i = 0; admin_has_file(w) && !r->cursor.len && i < s->n_budgets; i++)
        n_file += s->budgets[i].is_from_file;
    struct budget_view *all = arena_news(r->arena, struct budget_view, rows.n + n_file + 1u);
    for (unsigned i = 0; all && n_file && i < s->n_budgets; i++)
        if (s->budgets[i].is_from_file)
            from_file(r->arena, &s->budgets[i], &all[n++], r->now_us);
    snapshot_put(s);
    if (!all)
        return err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; i < rows.n; i++)
        read_row(r->arena, row_at(&rows, i), &all[n++]);
    r->items = (struct objects){all, n};
    return ERR_NONE;
}

static enum errc get(struct api_request *r, struct tx *tx, struct budget_view *out, err *e)
{
    const struct val *row;
    enum errc rc = tx_query_row(tx, r->arena, &budget_get, PARAMS(v_uuid(&r->workspace_id), v_uuid(&r->path_id[0])), &row, e);
    if (rc == ERR_NONE)
        read_row(r->arena, row, out);
    return rc;
}

static enum errc show(struct api_request *r, struct tx *tx, err *e)
{
    struct budget_view *v = arena_new(r->arena, struct budget_view);
    if (!v)
        return err_code(e, ERR_TOO_LARGE);
    enum errc rc = get(r, tx, v, e);
    r->answer = rc == ERR_NONE ? v : NULL;
    if (rc == ERR_NONE)
        r->etag = api_etag(r, v->version);
    return rc;
}

/* --- changes --- */

static enum errc create_prepare(struct api_request *r, err *e)
{
    struct budget_view *b = r->body;
    str stored;
    enum errc rc = alerts_stored(r, b->alerts_at, &stored, e);
    if (rc != ERR_NONE)
        return rc;
    bool is_workspace = str_eq(b->scope, S("workspace"));
    if (is_workspace && uuid_is_nil(&b->scope_id))
        b->scope_id = r->workspace_id;
    if (uuid_is_nil(&b->scope_id))
        return api_field_error(r, e, "scope_id", "required", "must be the id of a %.*s", STR(b->scope));
    if (is_workspace && memcmp(&b->scope_id, &r->workspace_id, sizeof(uuid)) != 0)
        return api_field_error(r, e, "scope_id", "bad_format", "must be the workspace itself");
    b->alerts_at = alerts_json(r->arena, stored);
    b->id = uuid7_make(r->now_us);
    b->created_at = b->updated_at = r->now_us;
    b->version = 1;
    b->origin = S("database");
    return ERR_NONE;
}

/* What the budget is on must be of this workspace. */
static enum errc scope_exists(struct api_request *r, struct tx *tx, const struct budget_view *b, err *e)
{
    const struct sql *find = str_eq(b->scope, S("project")) ? &budget_project : str_eq(b->scope, S("user")) ? &budget_member : &budget_key;
    struct rows rows;
    if (str_eq(b->scope, S("workspace")))
        return ERR_NONE;
    enum errc rc = tx_query(tx, r->arena, find, PARAMS(v_uuid(&r->workspace_id), v_uuid(&b->scope_id)), &rows, e);
    if (rc != ERR_NONE || rows.n)
        return rc;
    if (str_eq(b->scope, S("key"))) { /* a key of the file has none in the table */
        struct snapshot *s;
        const struct workspace_view *w = admin_view(r, &s);
        const struct virtual_key *key = w ? snapshot_key_by_id(s, &b->scope_id) : NULL;
        bool is_there = key && key->workspace == w;
        snapshot_put(s);
        if (is_there)
            return ERR_NONE;
    }
    return api_field_error(r, e, "scope_id", "bad_format", "there is no such %.*s in this workspace", STR(b->scope));
}

static enum errc create(struct api_request *r, struct tx *tx, err *e)
{
    const struct budget_view *b = r->body;
    struct event ev = admin_event(r, S("budget.created"), S("budget"), &b->id, &budget_shape, NULL, b);
    r->answer = r->body;
    r->location = api_location(r, "/api/gateway/budgets/", &b->id);
    r->etag = api_etag(r, b->version);
    enum errc rc = scope_exists(r, tx, b, e);
    if (rc == ERR_NONE)
        rc = budget_insert(tx, &r->workspace_id, b, e);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

static enum errc change(struct api_request *r, struct tx *tx, err *e)
{
    struct budget_view before, *after = arena_new(r->arena, struct budget_view);
    str stored;
    if (!after)
        return err_code(e, ERR_TOO_LARGE);
    enum errc rc = get(r, tx, &before, e);
    if (rc != ERR_NONE || (rc = api_if_match(r, api_etag(r, before.version), e)) != ERR_NONE)
        return rc;
    *after = before;
    if ((rc = api_merge(r, after, e)) != ERR_NONE || (rc = alerts_stored(r, after->alerts_at, &stored, e)) != ERR_NONE)
        return rc;
    after->alerts_at = alerts_json(r->arena, stored);
    if (!str_eq(before.scope, after->scope) || memcmp(&before.scope_id, &after->scope_id, sizeof(uuid)) != 0)
        return api_field_error(r, e, "scope", "read_only", "is set when the budget is made: make another one");
    r->answer = after;
    if (!str_eq(before.period, after->period) || before.limit != after->limit || before.is_hard != after->is_hard ||
        !str_eq(before.alerts_at, after->alerts_at) || before.unknown_price_cap != after->unknown_price_cap) {
        after->updated_at = r->now_us;
        after->version++;
        struct event ev = admin_event(r, S("budget.updated"), S("budget"), &after->id, &budget_shape, &before, after);
        rc = tx_exec(tx, &budget_change,
                     PARAMS(v_text(after->period), v_int(after->limit), v_int(after->is_hard), v_text(stored), v_int_or_null(after->unknown_price_cap),
                            v_int(after->version), v_int(after->updated_at), v_uuid(&r->workspace_id), v_uuid(&after->id)),
                     NULL, e);
        if (rc == ERR_NONE)
            rc = tx_event(tx, &ev, e);
    }
    r->etag = api_etag(r, after->version);
    return rc;
}

static enum errc remove_budget(struct api_request *r, struct tx *tx, err *e)
{
    struct budget_view before;
    enum errc rc = get(r, tx, &before, e);
    if (rc != ERR_NONE || (rc = api_if_match(r, api_etag(r, before.version), e)) != ERR_NONE)
        return rc;
    struct event ev = admin_event(r, S("budget.deleted"), S("budget"), &before.id, &budget_shape, &before, NULL);
    rc = tx_exec(tx, &budget_delete, PARAMS(v_uuid(&r->workspace_id), v_uuid(&before.id)), NULL, e);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

/* --- GET and POST /api/optimizer/budget/:project_id: a project's budgets --- */

SQL(budgets_of_project, DB_MAIN, 0, "uu",
    "SELECT " COLUMNS " FROM gateway_budgets WHERE workspace_id = $1 AND scope_id = $2 AND scope = 'project' ORDER BY created_us, id LIMIT 200");

struct project_budget {
    str period;
    int64_t limit;
    bool is_hard;
    str alerts_at;
};
static const struct field project_fields[] = {
    FIELD(struct project_budget, period, FIELD_ONE_OF, .choices = "daily|weekly|monthly|total", .fallback = "\"monthly\"",
          .meaning = "A day, a week from Monday, a calendar month (all UTC), or everything that was ever spent."),
    FIELD(struct project_budget, limit, FIELD_MONEY, .min = 0, .max = INT64_MAX / 8, .flags = FIELD_REQUIRED, .meaning = "The most that may be spent in a period."),
    FIELD(struct project_budget, is_hard, FIELD_BOOL, .fallback = "true", .meaning = "Whether calls that could cost more are refused; else it only alerts."),
    FIELD(struct project_budget, alerts_at, FIELD_JSON, .max = 60, .fallback = "[50,80,100]", .meaning = "Percents of the limit at which an event tells, once a period."),
};
static const struct shape project_budget_shape = SHAPE("ProjectBudget", struct project_budget, project_fields, "A limit on what a project may spend.");

static enum errc project_list(struct api_request *r, struct tx *tx, err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, r->arena, &budgets_of_project, PARAMS(v_uuid(&r->workspace_id), v_uuid(&r->path_id[0])), &rows, e);
    struct budget_view *all = rc == ERR_NONE ? arena_news(r->arena, struct budget_view, rows.n + 1u) : NULL;
    if (rc != ERR_NONE || !all)
        return rc != ERR_NONE ? rc : err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; i < rows.n; i++)
        read_row(r->arena, row_at(&rows, i), &all[i]);
    r->items = (struct objects){all, rows.n};
    return ERR_NONE;
}

static enum errc project_prepare(struct api_request *r, err *e)
{
    const struct project_budget *given = r->body;
    struct budget_view *b = arena_new(r->arena, struct budget_view);
    if (!b)
        return err_code(e, ERR_TOO_LARGE);
    *b = (struct budget_view){.scope = S("project"), .scope_id = r->path_id[0], .period = given->period, .limit = given->limit, .is_hard = given->is_hard,
                              .alerts_at = given->alerts_at, .unknown_price_cap = NO_VALUE};
    r->body = b; /* from here on as the other endpoint has it */
    return create_prepare(r, e);
}

#define BUDGET_ROUTE(method_, path_, name_, permission_) \
    .method = method_, .path = path_, .name = name_, .access = ACCESS_PERMISSION, .permission = permission_, .scope = SCOPE_WORKSPACE
static const struct api_route routes[] = {
    {BUDGET_ROUTE(HTTP_GET, "/api/gateway/budgets", "gateway_budgets_list", PERMISSION_OPTIMIZER_READ), .answer = &budget_shape, .is_list = true,
     .summary = "Budgets, oldest first", .text = "Those of the configuration file come first.", .apply = list, .after = fill_items},
    {BUDGET_ROUTE(HTTP_POST, "/api/gateway/budgets", "gateway_budgets_create", PERMISSION_BUDGETS_MANAGE), .effect = EFFECT_STATE,
     .body = &budget_shape, .answer = &budget_shape, .status = 201, .summary = "Makes a budget",
     .text = "All budgets that a call falls under must cover it. What was spent in the period before counts.", .prepare = create_prepare, .apply = create,
     .after = changed},
    {BUDGET_ROUTE(HTTP_GET, "/api/gateway/budgets/:id", "gateway_budgets_show", PERMISSION_OPTIMIZER_READ), .resource = &budget_resource,
     .answer = &budget_shape, .summary = "A budget", .apply = show, .after = fill_answer},
    {BUDGET_ROUTE(HTTP_PATCH, "/api/gateway/budgets/:id", "gateway_budgets_change", PERMISSION_BUDGETS_MANAGE), .effect = EFFECT_STATE,
     .resource = &budget_resource, .body = &budget_shape, .is_merge = true, .answer = &budget_shape, .summary = "Changes a budget", .apply = change,
     .after = changed},
    {BUDGET_ROUTE(HTTP_DELETE, "/api/gateway/budgets/:id", "gateway_budgets_delete", PERMISSION_BUDGETS_MANAGE), .effect = EFFECT_STATE,
     .resource = &budget_resource, .status = 204, .summary = "Deletes a budget", .apply = remove_budget, .after = admin_after},
    {BUDGET_ROUTE(HTTP_GET, "/api/optimizer/budget/:project_id", "optimizer_budget_show", PERMISSION_OPTIMIZER_READ), .resource = &project_id_resource,
     .answer = &budget_shape, .is_list = true, .summary = "The budgets of a project", .apply = project_list, .after = fill_items},
    {BUDGET_ROUTE(HTTP_POST, "/api/optimizer/budget/:project_id", "optimizer_budget_create", PERMISSION_BUDGETS_MANAGE), .effect = EFFECT_STATE,
     .resource = &project_id_resource, .body = &project_budget_shape, .answer = &budget_shape, .status = 201, .summary = "Makes a budget of a project",
     .prepare = project_prepare, .apply = create, .after = changed},
};
const struct api_table gateway_budgets_api = {"gateway", routes, LENGTH_OF(routes)};
