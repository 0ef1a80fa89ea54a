/* Budgets: limits on what the workspace, a project, a user or a virtual key may spend in a period. */
#include "gateway/admin/admin.h"
#include "projects/projects.h"

#define SCOPE_CHOICES "workspace|project|user|key"
#define PERIOD_CHOICES "daily|weekly|monthly|total"
#define ALERTS_DEFAULT "[50,80,100]"
#define CAP_MAX (INT64_MAX / 1000)
#define PERCENT_MAX 200 /* an alert after the fact is one too */
#define COLUMNS                                                                                              \
    "b.created_us, b.id, b.scope, b.scope_id, b.period, b.limit_nanousd, b.is_hard, b.alerts, "              \
    "b.cap_nanousd, "                                                                                        \
    "b.version, b.updated_us, COALESCE(w.name, p.name, u.name, k.name)"
#define FROM                                                                                                 \
    " FROM gateway_budgets b LEFT JOIN workspaces w ON b.scope = 'workspace' AND w.id = b.scope_id "         \
    "LEFT JOIN projects p ON b.scope = 'project' AND p.id = b.scope_id "                                     \
    "LEFT JOIN users u ON b.scope = 'user' AND u.id = b.scope_id "                                           \
    "LEFT JOIN gateway_keys k ON b.scope = 'key' AND k.id = b.scope_id WHERE b.workspace_id = $1"

SQL(budget_find, DB_MAIN, 0, "uu",
    "SELECT CASE b.scope WHEN 'project' THEN b.scope_id WHEN 'key' THEN k.project_id END FROM "
    "gateway_budgets b "
    "LEFT JOIN gateway_keys k ON b.scope = 'key' AND k.id = b.scope_id WHERE b.workspace_id = $1 AND b.id = "
    "$2");
SQL(budget_list, DB_MAIN, 0, "u", "SELECT " COLUMNS ", k.project_id" FROM);
SQL(budget_get, DB_MAIN, 0, "uu", "SELECT " COLUMNS FROM " AND b.id = $2");
SQL(budgets_of_scope, DB_MAIN, 0, "utu",
    "SELECT " COLUMNS FROM " AND b.scope = $2 AND b.scope_id = $3 ORDER BY b.created_us, b.id");
SQL(budget_insert, DB_MAIN, 0, "uutuitiitiii",
    "INSERT INTO gateway_budgets (workspace_id, id, scope, scope_id, limit_nanousd, period, is_hard, "
    "cap_nanousd, "
    "alerts, version, created_us, updated_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)");
SQL(budget_update, DB_MAIN, 0, "tiitiiiuu",
    "UPDATE gateway_budgets SET period = $1, limit_nanousd = $2, is_hard = $3, alerts = $4, cap_nanousd = "
    "$5, "
    "version = $6, updated_us = $7 WHERE workspace_id = $8 AND id = $9");
SQL(budget_delete, DB_MAIN, 0, "uu", "DELETE FROM gateway_budgets WHERE workspace_id = $1 AND id = $2");
SQL(alerts_delete, DB_MAIN, 0, "uu",
    "DELETE FROM gateway_budget_alerts WHERE budget_id IN "
    "(SELECT id FROM gateway_budgets WHERE workspace_id = $1 AND id = $2)");
SQL(key_of_budget, DB_MAIN, 0, "uu",
    "SELECT project_id, name FROM gateway_keys WHERE workspace_id = $1 AND id = $2");
#define MONEY(member_, ...) FIELD(struct budget_entry, member_, FIELD_MONEY, __VA_ARGS__)
#define SETTINGS                                                                                             \
    FIELD(struct budget_entry, period, FIELD_ONE_OF, .choices = PERIOD_CHOICES, .fallback = "\"monthly\"",   \
          .meaning =                                                                                         \
              "What the limit is for: a day, a week from Monday, a calendar month (all UTC), or for ever."), \
        MONEY(limit, .min = 0, .max = BUDGET_AMOUNT_MAX, .flags = FIELD_REQUIRED,                            \
              .meaning = "What may be spent in a period."),                                                  \
        FIELD(struct budget_entry, is_hard, FIELD_BOOL, .fallback = "true",                                  \
              .meaning = "Whether calls beyond it are refused; a soft one only tells."),                     \
        FIELD(struct budget_entry, alerts_at, FIELD_JSON, .max = 100, .fallback = ALERTS_DEFAULT,            \
              .meaning = "Percents of the limit, up to eight from 1 to 200, at which an alert is told once " \
                         "a period."),                                                                       \
        MONEY(unknown_price_cap, .min = 0, .max = CAP_MAX, .flags = FIELD_NULLABLE,                          \
              .meaning = "Price of a million tokens that calls of a model without a known price are "        \
                         "reserved and charged "                                                             \
                         "at; null: under a hard budget they are refused.")
#define SHOWN                                                                                                \
    MONEY(spent, .flags = FIELD_READONLY | FIELD_UNAUDITED,                                                  \
          .meaning = "What calls that began in this period cost so far."),                                   \
        MONEY(reserved, .flags = FIELD_READONLY | FIELD_UNAUDITED,                                           \
              .meaning = "The most that calls under way can cost beside that."),                             \
        MONEY(left, .flags = FIELD_READONLY | FIELD_UNAUDITED, .meaning = "What is left for others."),       \
        MONEY(leased, .flags = FIELD_READONLY | FIELD_UNAUDITED,                                             \
              .meaning = "What all nodes hold of it to spend, or have spent and not told the database yet, as "  \
                         "last seen; 0 with SQLite."),                                                       \
        FIELD(struct budget_entry, period_start, FIELD_TIME,                                                 \
              .flags = FIELD_READONLY | FIELD_NULLABLE | FIELD_UNAUDITED,                                    \
              .meaning = "When this period began; null: it has no beginning."),                              \
        FIELD(struct budget_entry, resets_at, FIELD_TIME,                                                    \
              .flags = FIELD_READONLY | FIELD_NULLABLE | FIELD_UNAUDITED,                                    \
              .meaning = "When the next one begins; null: never."),                                          \
        FIELD(struct budget_entry, origin, FIELD_ONE_OF, .choices = ORIGIN_CHOICES, .flags = FIELD_READONLY, \
              .meaning = "Where it is kept; what is from the configuration file is changed there."),         \
        FIELD(struct budget_entry, created_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_NULLABLE,         \
              .meaning = "When it was made; null for one of the file."),                                     \
        FIELD(struct budget_entry, updated_at, FIELD_TIME,                                                   \
              .flags = FIELD_READONLY | FIELD_NULLABLE | FIELD_UNAUDITED,                                    \
              .meaning = "When it was changed last."),                                                       \
        FIELD(struct budget_entry, version, FIELD_INT, .flags = FIELD_READONLY,                              \
              .meaning = "Counts its changes.")

static const struct field budget_fields[] = {
    FIELD(struct budget_entry, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Id of the budget."),
    FIELD(struct budget_entry, scope, FIELD_ONE_OF, .choices = SCOPE_CHOICES, .flags = FIELD_REQUIRED,
          .meaning = "Whose calls count."),
    FIELD(struct budget_entry, scope_id, FIELD_UUID, .flags = FIELD_NULLABLE,
          .meaning = "Id of that project, user or virtual key; of the workspace, which need not be said."),
    FIELD(struct budget_entry, scope_name, FIELD_TEXT,
          .flags = FIELD_READONLY | FIELD_NULLABLE | FIELD_UNAUDITED,
          .meaning = "Its name; null: it is gone."),
    SETTINGS,
    SHOWN,
};
const struct shape budget_shape =
    SHAPE("Budget", struct budget_entry, budget_fields, "A spending limit, and what is left of it.");
static const struct field change_fields[] = {SETTINGS};
static const struct shape change_shape =
    SHAPE("BudgetSettings", struct budget_entry, change_fields, "What can be changed of a budget.");

/* --- what is spent --- */

void budget_fill(struct api_request *r, struct budget_entry *b)
{
    enum budget_scope scope;
    enum budget_period period;
    if (!budget_scope_parse(b->scope, &scope) || !budget_period_parse(b->period, &period)) return;
    struct budget_state state = {0};
    struct snapshot *held = gateway_snapshot(gateway_of(r));
    struct budget_counter *counter = snapshot_counter(held, scope, &b->scope_id, period);
    if (counter)
        state = budget_counter_state(counter, clock_now_us());
    else
        budget_period_bounds(period, clock_now_us(), &state.start_us, &state.end_us);
    snapshot_put(held);
    b->spent = state.spent_nanousd;
    b->reserved = state.reserved_nanousd;
    b->leased = state.leased_nanousd;
    int64_t left = b->limit - b->spent;
    b->left = left <= b->reserved ? 0 : left - b->reserved;
    b->period_start = period == BUDGET_TOTAL ? NO_VALUE : state.start_us;
    b->resets_at = state.end_us == INT64_MAX ? NO_VALUE : state.end_us;
}

/* --- the file's: each of a key of the file --- */

static enum errc alerts_text(struct arena *a, const uint8_t *alerts, unsigned n, str *out)
{
    struct buf text;
    buf_init(&text, 200);
    for (unsigned i = 0; i < n; i++)
        buf_addf(&text, "%s%u", i ? "," : "[", alerts[i]);
    buf_add(&text, n ? S("]") : S("[]"));
    *out = str_dup(a, buf_str(&text));
    buf_fini(&text);
    return out->p ? ERR_NONE : ERR_TOO_LARGE;
}

static enum errc read_spec(struct api_request *r, const struct budget *spec, struct budget_entry *b, err *e)
{
    *b = (struct budget_entry){
        .id = spec->id,
        .scope = str_c(budget_scope_name(spec->scope)),
        .scope_id = spec->scope_id,
        .scope_name = str_dup(r->arena, spec->scope_name),
        .period = str_c(budget_period_name(spec->period)),
        .limit = spec->limit_nanousd,
        .is_hard = spec->is_hard,
        .unknown_price_cap = NO_VALUE,
        .origin = S("file"),
        .created_at = NO_VALUE,
        .updated_at = NO_VALUE,
    };
    budget_fill(r, b);
    return alerts_text(r->arena, spec->alerts, spec->n_alerts, &b->alerts_at) == ERR_NONE
               ? ERR_NONE
               : err_code(e, ERR_TOO_LARGE);
}

static unsigned file_budget(const struct snapshot_rows *file, const uuid *id)
{
    for (unsigned i = 0; file && i < file->n_budgets; i++)
        if (uuid_eq(&file->budgets[i].id, id)) return i;
    return UINT32_MAX;
}

static bool is_of_file(const struct api_request *r, const uuid *id)
{
    struct snapshot *held;
    bool is = file_budget(admin_file(r, &held), id) != UINT32_MAX;
    snapshot_put(held);
    return is;
}

static const struct api_resource budget_resource = {
    .param = ":id", .find = &budget_find, .noun = "budget", .is_in_project = true};

enum errc budget_of_file_key(struct api_request *r, const struct snapshot_rows *file, const uuid *key,
                             struct budget_entry **out, err *e)
{
    *out = NULL;
    for (unsigned i = 0; i < file->n_budgets; i++) {
        if (!uuid_eq(&file->budgets[i].scope_id, key)) continue;
        *out = arena_new(r->arena, struct budget_entry);
        return *out ? read_spec(r, &file->budgets[i], *out, e) : err_code(e, ERR_TOO_LARGE);
    }
    return ERR_NONE;
}

/* --- rows --- */

static enum errc read_row(struct api_request *r, const struct val *row, struct budget_entry *b, err *e)
{
    *b = (struct budget_entry){
        .created_at = val_int(&row[0]),
        .id = val_uuid(&row[1]),
        .scope = val_str(&row[2]),
        .scope_id = val_uuid(&row[3]),
        .period = val_str(&row[4]),
        .limit = val_int(&row[5]),
        .is_hard = val_bool(&row[6]),
        .alerts_at = arena_printf(r->arena, "[%.*s]", STR(val_str(&row[7]))),
        .unknown_price_cap = val_int(&row[8]),
        .version = val_int(&row[9]),
        .updated_at = val_int(&row[10]),
        .scope_name = val_str(&row[11]),
        .origin = S("database"),
        .period_start = NO_VALUE,
        .resets_at = NO_VALUE,
    };
    return b->alerts_at.p ? ERR_NONE : err_code(e, ERR_TOO_LARGE);
}

/* "[50,80,100]" to "50,80,100". */
static str alerts_row(const struct budget_entry *b)
{
    return str_take(str_skip(b->alerts_at, 1), b->alerts_at.len - 2);
}

static struct event budget_event(const struct api_request *r, str type, unsigned n,
                                 const struct budget_entry *before, const struct budget_entry *after)
{
    return admin_event(r, type, n, S("budget"), after ? &after->id : &before->id, &budget_shape, before,
                       after);
}

static enum errc insert(struct api_request *r, struct tx *tx, unsigned n, struct budget_entry *b, err *e)
{
    b->origin = S("database");
    b->created_at = b->updated_at = r->now_us;
    b->version = 1;
    b->left = b->limit;
    b->period_start = b->resets_at = NO_VALUE;
    struct event ev = budget_event(r, S("budget.created"), n, NULL, b);
    enum errc rc = tx_exec(tx, &budget_insert,
                           PARAMS(v_uuid(&r->workspace_id), v_uuid(&b->id), v_text(b->scope),
                                  v_uuid(&b->scope_id), v_int(b->limit), v_text(b->period), v_int(b->is_hard),
                                  v_int_or_null(b->unknown_price_cap), v_text(alerts_row(b)),
                                  v_int(b->version), v_int(b->created_at), v_int(b->updated_at)),
                           NULL, e);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

static enum errc drop(struct api_request *r, struct tx *tx, unsigned n, const struct budget_entry *b, err *e)
{
    struct event ev = budget_event(r, S("budget.deleted"), n, b, NULL);
    enum errc rc = tx_exec(tx, &alerts_delete, PARAMS(v_uuid(&r->workspace_id), v_uuid(&b->id)), NULL, e);
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &budget_delete, PARAMS(v_uuid(&r->workspace_id), v_uuid(&b->id)), NULL, e);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

/* --- of keys --- */

enum errc budget_of_new_key(struct api_request *r, struct tx *tx, unsigned n, struct budget_entry *b, err *e)
{
    b->scope = S("key");
    b->is_hard = true;
    b->alerts_at = S(ALERTS_DEFAULT);
    b->unknown_price_cap = NO_VALUE;
    return insert(r, tx, n, b, e);
}

static enum errc of_scope(struct api_request *r, struct tx *tx, const char *scope, const uuid *id,
                          struct rows *rows, err *e)
{
    return tx_query(tx, r->arena, &budgets_of_scope,
                    PARAMS(v_uuid(&r->workspace_id), v_text(str_c(scope)), v_uuid(id)), rows, e);
}

enum errc budgets_of_keys(struct api_request *r, struct tx *tx, const uuid *keys, unsigned n,
                          struct budget_entry **out, err *e)
{
    for (unsigned i = 0; i < n; i++) {
        struct rows rows;
        enum errc rc = of_scope(r, tx, "key", &keys[i], &rows, e);
        out[i] = NULL;
        if (rc == ERR_NONE && rows.n) {
            out[i] = arena_new(r->arena, struct budget_entry);
            rc = out[i] ? read_row(r, row_at(&rows, 0), out[i], e) : err_code(e, ERR_TOO_LARGE);
        }
        if (rc != ERR_NONE) return rc;
    }
    return ERR_NONE;
}

enum errc budgets_drop_of_key(struct api_request *r, struct tx *tx, const uuid *key, unsigned n, err *e)
{
    struct rows rows;
    enum errc rc = of_scope(r, tx, "key", key, &rows, e);
    for (unsigned i = 0; rc == ERR_NONE && i < rows.n; i++) {
        struct budget_entry b;
        if ((rc = read_row(r, row_at(&rows, i), &b, e)) == ERR_NONE) rc = drop(r, tx, n + i, &b, e);
    }
    return rc;
}

/* --- checks --- */

/* Ascending percents, each once. */
static enum errc check_alerts(struct api_request *r, struct budget_entry *b, err *e)
{
    struct json *tree;
    uint8_t percents[BUDGET_ALERTS_MAX];
    unsigned n = 0;
    enum errc rc = json_parse(r->arena, b->alerts_at, &tree, e);
    if (rc != ERR_NONE) return rc;
    bool is_fine = tree->type == JSON_ARRAY && tree->n <= BUDGET_ALERTS_MAX;
    for (const struct json *item = is_fine ? tree->child : NULL; item; item = item->next) {
        int64_t percent;
        unsigned at = n;
        is_fine = is_fine && json_i64(item, &percent) && percent >= 1 && percent <= PERCENT_MAX;
        if (!is_fine) break;
        while (at > 0 && percents[at - 1] > percent)
            at--;
        if (at > 0 && percents[at - 1] == percent) continue;
        memmove(&percents[at + 1], &percents[at], n - at);
        percents[at] = (uint8_t)percent;
        n++;
    }
    if (!is_fine)
        return api_field_error(r, e, "alerts_at", "bad_format",
                               "must be a list of up to %d percents from 1 to %d", BUDGET_ALERTS_MAX,
                               PERCENT_MAX);
    return alerts_text(r->arena, percents, n, &b->alerts_at) == ERR_NONE ? ERR_NONE
                                                                         : err_code(e, ERR_TOO_LARGE);
}

static enum errc name_of_key(struct api_request *r, struct tx *tx, struct budget_entry *b, err *e)
{
    const struct val *row;
    enum errc rc = tx_query_row(tx, r->arena, &key_of_budget,
                                PARAMS(v_uuid(&r->workspace_id), v_uuid(&b->scope_id)), &row, e);
    if (rc == ERR_NOT_FOUND)
        return api_field_error(r, e, "scope_id", "not_found", "names no virtual key of this workspace");
    if (rc != ERR_NONE) return rc;
    uuid project = val_uuid(&row[0]);
    return r->who.n_key_projects ? admin_check_project(r, tx, "scope_id", &project, e) : ERR_NONE;
}

/* Whether what the budget is on is there, and the caller's API key is for it. */
static enum errc check_scope(struct api_request *r, struct tx *tx, struct budget_entry *b, err *e)
{
    if (str_eq(b->scope, S("workspace"))) {
        if (uuid_is_nil(&b->scope_id)) b->scope_id = r->workspace_id;
        if (!uuid_eq(&b->scope_id, &r->workspace_id))
            return api_field_error(r, e, "scope_id", "not_found", "must be this workspace, or be left out");
    } else if (uuid_is_nil(&b->scope_id)) {
        return api_field_error(r, e, "scope_id", "required", "must name the %.*s", STR(b->scope));
    }
    if (str_eq(b->scope, S("project"))) return admin_check_project(r, tx, "scope_id", &b->scope_id, e);
    if (str_eq(b->scope, S("key"))) return name_of_key(r, tx, b, e);
    if (r->who.n_key_projects) return err_set(e, ERR_FORBIDDEN, "this API key is for some projects only");
    return str_eq(b->scope, S("user")) ? admin_check_user(r, tx, "scope_id", &b->scope_id, e) : ERR_NONE;
}

/* --- GET /api/gateway/budgets --- */

struct budget_query {
    str scope;
    uuid scope_id;
};
static const struct field query_fields[] = {
    FIELD(struct budget_query, scope, FIELD_ONE_OF, .choices = SCOPE_CHOICES, .flags = FIELD_NULLABLE,
          .meaning = "Only budgets of this scope."),
    FIELD(struct budget_query, scope_id, FIELD_UUID, .flags = FIELD_NULLABLE,
          .meaning = "Only budgets on this."),
};
static const struct shape query_shape =
    SHAPE("BudgetQuery", struct budget_query, query_fields, "Which budgets to list.");

static bool is_visible(const struct api_request *r, const struct budget_entry *b,
                       const struct val *key_project)
{
    uuid project = str_eq(b->scope, S("project")) ? b->scope_id : val_uuid(key_project);
    for (unsigned i = 0; i < r->who.n_key_projects; i++)
        if (uuid_eq(&r->who.key_projects[i], &project)) return true;
    return r->who.n_key_projects == 0;
}

static enum errc list_rows(struct api_request *r, struct tx *tx, unsigned limit, str cursor,
                           struct budget_entry *out, unsigned *n, err *e)
{
    const struct budget_query *q = r->query;
    struct keyset key = {.column = "b.created_us",
                         .param = 'i',
                         .id_column = "b.id",
                         .id_param = 'u',
                         .cursor = cursor,
                         .limit = limit};
    struct filter filters[] = {
        {.column = "b.scope",
         .op = FILTER_EQ,
         .param = 't',
         .value = q->scope.len ? v_text(q->scope) : v_null()},
        {.column = "b.scope_id", .op = FILTER_EQ, .param = 'u', .value = v_uuid_or_null(&q->scope_id)},
    };
    struct rows rows;
    enum errc rc = tx_list(tx, r->arena, &budget_list, PARAMS(v_uuid(&r->workspace_id)), filters,
                           LENGTH_OF(filters), &key, &rows, &r->next_cursor, e);
    *n = 0;
    for (unsigned i = 0; rc == ERR_NONE && i < rows.n; i++)
        if ((rc = read_row(r, row_at(&rows, i), &out[*n], e)) == ERR_NONE &&
            is_visible(r, &out[*n], &row_at(&rows, i)[12]))
            ++*n;
    return rc;
}

static enum errc budgets_list(struct api_request *r, struct tx *tx, err *e)
{
    const struct budget_query *q = r->query;
    struct snapshot *held;
    const struct snapshot_rows *file = admin_file(r, &held);
    bool shows_file = file && !r->who.n_key_projects && !q->scope.len && uuid_is_nil(&q->scope_id);
    struct budget_entry *list = arena_news(r->arena, struct budget_entry, r->limit + 1u);
    unsigned from = 0, to = 0, rest = 0, n = 0;
    str cursor = {NULL, 0};
    enum errc rc = list ? admin_page(r, shows_file ? file->n_budgets : 0, &from, &to, &rest, &cursor, e)
                        : err_code(e, ERR_TOO_LARGE);
    for (unsigned i = from; rc == ERR_NONE && i < to; i++)
        rc = read_spec(r, &file->budgets[i], &list[i - from], e);
    if (rc == ERR_NONE && rest) rc = list_rows(r, tx, rest, cursor, list + (to - from), &n, e);
    snapshot_put(held);
    if (rc == ERR_NONE) r->items = (struct objects){list, to - from + n};
    return rc;
}

static void listed(struct api_request *r)
{
    struct budget_entry *list = r->items.items;
    for (unsigned i = 0; i < r->items.n; i++)
        budget_fill(r, &list[i]);
}

static void shown(struct api_request *r) { budget_fill(r, r->answer); }
static void changed(struct api_request *r)
{
    admin_after(r);
    budget_fill(r, r->answer);
}

/* --- POST, GET, PATCH, DELETE --- */

static enum errc create_prepare(struct api_request *r, err *e)
{
    struct budget_entry *b = r->body;
    b->id = uuid7_make(r->now_us);
    return admin_tell_later(check_alerts(r, b, e));
}

static enum errc load(struct api_request *r, struct tx *tx, const uuid *id, bool may_be_of_file,
                      struct budget_entry *b, err *e)
{
    const struct val *row;
    struct snapshot *held;
    enum errc rc =
        tx_query_row(tx, r->arena, &budget_get, PARAMS(v_uuid(&r->workspace_id), v_uuid(id)), &row, e);
    if (rc == ERR_NONE) return read_row(r, row, b, e);
    if (rc != ERR_NOT_FOUND) return rc;
    const struct snapshot_rows *file = admin_file(r, &held);
    unsigned i = file_budget(file, id);
    if (i != UINT32_MAX)
        rc = may_be_of_file ? read_spec(r, &file->budgets[i], b, e)
                            : admin_is_from_file(e, "budget of key", file->budgets[i].scope_name);
    snapshot_put(held);
    return rc;
}

static enum errc create(struct api_request *r, struct tx *tx, err *e)
{
    struct budget_entry made = *(const struct budget_entry *)r->body,
                        *b = arena_new(r->arena, struct budget_entry);
    if (!b) return err_code(e, ERR_TOO_LARGE);
    admin_only_prepared(r);
    enum errc rc = check_scope(r, tx, &made, e);
    if (rc == ERR_NONE && r->errors.n) rc = field_errors_sum(&r->errors, e);
    if (rc == ERR_NONE) rc = insert(r, tx, 0, &made, e);
    if (rc == ERR_NONE) rc = load(r, tx, &made.id, false, b, e);
    b->left = b->limit;
    r->answer = b;
    r->location = api_location(r, "/api/gateway/budgets/", &b->id);
    r->etag = api_etag(r, b->version);
    return rc;
}

static enum errc show(struct api_request *r, struct tx *tx, err *e)
{
    struct budget_entry *b = arena_new(r->arena, struct budget_entry);
    if (!b) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = load(r, tx, &r->path_id[0], true, b, e);
    r->answer = b;
    r->etag = api_etag(r, b->version);
    return rc;
}

/* Writes *after over *before, when they differ. */
static enum errc update(struct api_request *r, struct tx *tx, const struct budget_entry *before,
                        struct budget_entry *after, err *e)
{
    r->answer = after;
    enum errc rc = ERR_NONE;
    if (admin_differs(&budget_shape, before, after)) {
        after->updated_at = r->now_us;
        after->version++;
        struct event ev = budget_event(r, S("budget.updated"), 0, before, after);
        rc = tx_exec(tx, &budget_update,
                     PARAMS(v_text(after->period), v_int(after->limit), v_int(after->is_hard),
                            v_text(alerts_row(after)), v_int_or_null(after->unknown_price_cap),
                            v_int(after->version), v_int(after->updated_at), v_uuid(&r->workspace_id),
                            v_uuid(&after->id)),
                     NULL, e);
        if (rc == ERR_NONE) rc = tx_event(tx, &ev, e);
    }
    r->etag = api_etag(r, after->version);
    return rc;
}

static enum errc change(struct api_request *r, struct tx *tx, err *e)
{
    struct budget_entry before, *after = arena_new(r->arena, struct budget_entry);
    if (!after) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = load(r, tx, &r->path_id[0], false, &before, e);
    if (rc != ERR_NONE || (rc = api_if_match(r, api_etag(r, before.version), e)) != ERR_NONE) return rc;
    *after = before;
    if ((rc = api_merge(r, after, e)) == ERR_NONE) rc = check_alerts(r, after, e);
    return rc == ERR_NONE ? update(r, tx, &before, after, e) : rc;
}

static enum errc remove_budget(struct api_request *r, struct tx *tx, err *e)
{
    struct budget_entry before;
    enum errc rc = load(r, tx, &r->path_id[0], false, &before, e);
    if (rc == ERR_NONE) rc = api_if_match(r, api_etag(r, before.version), e);
    return rc == ERR_NONE ? drop(r, tx, 0, &before, e) : rc;
}

/* --- /api/optimizer/budget/:project_id --- */

static enum errc project_list(struct api_request *r, struct tx *tx, err *e)
{
    struct rows rows;
    enum errc rc = of_scope(r, tx, "project", &r->path_id[0], &rows, e);
    struct budget_entry *list = arena_news(r->arena, struct budget_entry, rc == ERR_NONE ? rows.n + 1u : 1u);
    if (rc == ERR_NONE && !list) rc = err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; rc == ERR_NONE && i < rows.n; i++)
        rc = read_row(r, row_at(&rows, i), &list[i], e);
    return rc == ERR_NONE ? admin_slice(r, list, rows.n, sizeof *list, e) : rc;
}

/* One budget of each period: it is made, or set anew. */
static enum errc project_set(struct api_request *r, struct tx *tx, err *e)
{
    struct budget_entry made = *(const struct budget_entry *)r->body, before,
                        *b = arena_new(r->arena, struct budget_entry);
    struct rows rows;
    if (!b) return err_code(e, ERR_TOO_LARGE);
    if (r->errors.n) return field_errors_sum(&r->errors, e);
    enum errc rc = of_scope(r, tx, "project", &r->path_id[0], &rows, e);
    for (unsigned i = 0; rc == ERR_NONE && i < rows.n; i++) {
        if ((rc = read_row(r, row_at(&rows, i), &before, e)) != ERR_NONE ||
            !str_eq(before.period, made.period))
            continue;
        *b = before;
        b->limit = made.limit;
        b->is_hard = made.is_hard;
        b->alerts_at = made.alerts_at;
        b->unknown_price_cap = made.unknown_price_cap;
        return update(r, tx, &before, b, e);
    }
    if (rc != ERR_NONE) return rc;
    made.scope = S("project");
    made.scope_id = r->path_id[0];
    if ((rc = insert(r, tx, 0, &made, e)) == ERR_NONE) rc = load(r, tx, &made.id, false, b, e);
    b->left = b->limit;
    r->status = 201;
    r->answer = b;
    r->location = api_location(r, "/api/gateway/budgets/", &b->id);
    r->etag = api_etag(r, b->version);
    return rc;
}

#define MANAGED .access = ACCESS_PERMISSION, .permission = PERMISSION_BUDGETS_MANAGE, .scope = SCOPE_WORKSPACE
#define READ .access = ACCESS_PERMISSION, .permission = PERMISSION_OPTIMIZER_READ, .scope = SCOPE_WORKSPACE

static const struct api_route routes[] = {
    {.method = HTTP_GET,
     .path = "/api/gateway/budgets",
     .name = "gateway_budgets_list",
     READ,
     .query = &query_shape,
     .answer = &budget_shape,
     .is_list = true,
     .is_csv = true,
     .summary = "Budgets, the oldest first",
     .text = "With what is spent, reserved and left by now. Budgets of keys of the configuration file come "
             "first.",
     .apply = budgets_list,
     .after = listed},
    {.method = HTTP_POST,
     .path = "/api/gateway/budgets",
     .name = "gateway_budgets_create",
     MANAGED,
     .effect = EFFECT_STATE,
     .body = &budget_shape,
     .answer = &budget_shape,
     .status = 201,
     .summary = "Makes a budget",
     .text = "All budgets that a call counts on must have room for it. What was spent before in the period "
             "counts.",
     .prepare = create_prepare,
     .apply = create,
     .after = changed},
    {.method = HTTP_GET,
     .path = "/api/gateway/budgets/:id",
     .name = "gateway_budgets_show",
     READ,
     .resource = &budget_resource,
     .is_elsewhere = is_of_file,
     .answer = &budget_shape,
     .summary = "A budget",
     .apply = show,
     .after = shown},
    {.method = HTTP_PATCH,
     .path = "/api/gateway/budgets/:id",
     .name = "gateway_budgets_change",
     MANAGED,
     .effect = EFFECT_STATE,
     .resource = &budget_resource,
     .is_elsewhere = is_of_file,
     .body = &change_shape,
     .is_merge = true,
     .answer = &budget_shape,
     .summary = "Changes a budget",
     .text = "It holds for the next call. Whose it is cannot be changed.",
     .apply = change,
     .after = changed},
    {.method = HTTP_DELETE,
     .path = "/api/gateway/budgets/:id",
     .name = "gateway_budgets_delete",
     MANAGED,
     .effect = EFFECT_STATE,
     .resource = &budget_resource,
     .is_elsewhere = is_of_file,
     .status = 204,
     .summary = "Removes a budget",
     .text = "What was spent stays known.",
     .apply = remove_budget,
     .after = admin_after},
    {.method = HTTP_GET,
     .path = "/api/optimizer/budget/:project_id",
     .name = "optimizer_budget_show",
     READ,
     .resource = &project_id_resource,
     .answer = &budget_shape,
     .is_list = true,
     .summary = "Budgets of a project",
     .text = "With what is spent, reserved and left by now.",
     .apply = project_list,
     .after = listed},
    {.method = HTTP_POST,
     .path = "/api/optimizer/budget/:project_id",
     .name = "optimizer_budget_set",
     MANAGED,
     .effect = EFFECT_STATE,
     .resource = &project_id_resource,
     .body = &change_shape,
     .answer = &budget_shape,
     .summary = "Sets the budget of a project",
     .text = "It has one of each period: 201 when it is new, else 200.",
     .prepare = create_prepare,
     .apply = project_set,
     .after = changed},
};
const struct api_table gateway_budgets_api = {"gateway", routes, LENGTH_OF(routes)};
