/* Plans: named bundles of limits. The configuration says them, rows keep them for the units that compare. */
#include <stdio.h>

#include "core/workspaces/internal.h"

#define UNLIMITED 1000000000

/* clang-format off */
static const struct option options[] = {
    {.key = "workspaces.plan", .type = OPTION_TEXT, .fallback = "enterprise",
     .meaning = "The plan of workspaces that were given none."},
    {.key = "workspaces.plan_chosen_by", .type = OPTION_ONE_OF, .choices = "owners|administrators", .fallback = "owners",
     .meaning = "Who gives a workspace another plan: its owners, or only administrators of the instance."},
    {.key = "workspaces.made_by", .type = OPTION_ONE_OF, .choices = "everybody|administrators", .fallback = "everybody",
     .meaning = "Who makes workspaces: everybody with an account, or only administrators of the instance."},
    {.key = "plans[].name", .type = OPTION_TEXT, .is_required = true,
     .meaning = "Name of a plan; free, pro and enterprise are there unless one of the same name says otherwise."},
    {.key = "plans[].members", .type = OPTION_INT, .min = 0, .max = UNLIMITED, .meaning = "The most people in a workspace; 0: no limit."},
    {.key = "plans[].projects", .type = OPTION_INT, .min = 0, .max = UNLIMITED, .meaning = "The most projects; 0: no limit."},
    {.key = "plans[].service_accounts", .type = OPTION_INT, .min = 0, .max = UNLIMITED,
     .meaning = "The most service accounts; 0: no limit."},
    {.key = "plans[].api_keys", .type = OPTION_INT, .min = 0, .max = UNLIMITED, .meaning = "The most API keys; 0: no limit."},
    {.key = "plans[].retention_days", .type = OPTION_INT, .min = 0, .max = UNLIMITED,
     .meaning = "The most days that what the log says can be kept; 0: no limit."},
};
/* clang-format on */
const struct option_table workspaces_options = {options, LENGTH_OF(options)};

struct workspace_rules workspace_rules_read(const struct config *c)
{
    return (struct workspace_rules){
        .admins_make = str_eq(config_text(c, "workspaces.made_by"), S("administrators")),
        .admins_choose_plan = str_eq(config_text(c, "workspaces.plan_chosen_by"), S("administrators")),
    };
}

bool workspace_may_choose_plan(const struct api_request *r)
{
    return r->who.is_instance_admin || !identity_workspace_rules(identity_of(r))->admins_choose_plan;
}

#define PLANS_MAX 50
static const struct plan built_in[] = {
    {S("free"), {5, 3, 1, 10, 30}},
    {S("pro"), {50, 100, 20, 500, 365}},
    {S("enterprise"), {0, 0, 0, 0, 0}},
};
static const char *const limit_names[PLAN_LIMITS] = {[PLAN_MEMBERS] = "members",
                                                     [PLAN_PROJECTS] = "projects",
                                                     [PLAN_SERVICE_ACCOUNTS] = "service_accounts",
                                                     [PLAN_API_KEYS] = "api_keys",
                                                     [PLAN_RETENTION_DAYS] = "retention_days"};
static const char *const limit_nouns[PLAN_LIMITS] = {[PLAN_MEMBERS] = "members",
                                                     [PLAN_PROJECTS] = "projects",
                                                     [PLAN_SERVICE_ACCOUNTS] = "service accounts",
                                                     [PLAN_API_KEYS] = "API keys",
                                                     [PLAN_RETENTION_DAYS] = "days of retention"};

#define PLAN_COLUMNS "name, members, projects, service_accounts, api_keys, retention_days"
SQL(plans_clear, DB_MAIN, SQL_INSTANCE, "", "DELETE FROM plans");
SQL(plan_add, DB_MAIN, SQL_INSTANCE, "tiiiiii",
    "INSERT INTO plans (" PLAN_COLUMNS ", place) VALUES ($1, $2, $3, $4, $5, $6, $7)");
SQL(plan_by_name, DB_MAIN, SQL_INSTANCE, "t", "SELECT " PLAN_COLUMNS " FROM plans WHERE name = $1");
SQL(plan_in_force, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT " PLAN_COLUMNS
    " FROM plans WHERE place = 0 OR name = (SELECT plan FROM workspaces WHERE id = $1) ORDER BY "
    "CASE WHEN name = (SELECT plan FROM workspaces WHERE id = $1) THEN 0 ELSE 1 END LIMIT 1");

/* --- from the configuration --- */

struct plan_list {
    struct plan plans[PLANS_MAX];
    unsigned n;
};

static struct plan *named(struct plan_list *l, str name)
{
    for (unsigned i = 0; i < l->n; i++)
        if (str_eq(l->plans[i].name, name)) return &l->plans[i];
    return NULL;
}

static enum errc plans_read(const struct config *c, struct plan_list *l, err *e)
{
    const struct json *list = config_tree(c, "plans");
    *l = (struct plan_list){0};
    for (size_t i = 0; i < LENGTH_OF(built_in); i++)
        l->plans[l->n++] = built_in[i];
    for (const struct json *entry = list ? list->child : NULL; entry; entry = entry->next) {
        str name = config_entry_text(c, entry, "plans[].name");
        struct plan *p = named(l, name);
        if (!p) {
            if (l->n == PLANS_MAX) return err_set(e, ERR_CONFIG, "there are more than %d plans", PLANS_MAX);
            p = &l->plans[l->n++];
        }
        p->name = name;
        for (unsigned k = 0; k < PLAN_LIMITS; k++) {
            char key[40];
            snprintf(key, sizeof key, "plans[].%s", limit_names[k]);
            p->limits[k] = config_entry_int(c, entry, key);
        }
    }
    str usual = config_text(c, "workspaces.plan");
    if (!named(l, usual))
        return err_set(e, ERR_CONFIG, "workspaces.plan is '%.*s', and there is no such plan", STR(usual));
    struct plan first = *named(l, usual);
    *named(l, usual) = l->plans[0];
    l->plans[0] = first;
    return ERR_NONE;
}

static enum errc put_unit(struct tx *tx, void *ctx, err *e)
{
    const struct plan_list *l = ctx;
    enum errc rc = tx_exec_unaudited(tx, &plans_clear, NULL, 0, NULL, e);
    for (unsigned i = 0; i < l->n && rc == ERR_NONE; i++) {
        const struct plan *p = &l->plans[i];
        rc =
            tx_exec_unaudited(tx, &plan_add,
                              PARAMS(v_text(p->name), v_int(p->limits[0]), v_int(p->limits[1]),
                                     v_int(p->limits[2]), v_int(p->limits[3]), v_int(p->limits[4]), v_int(i)),
                              NULL, e);
    }
    return rc;
}

enum errc plans_put(struct store *s, const struct config *c, err *e)
{
    struct plan_list list;
    enum errc rc = plans_read(c, &list, e);
    return rc == ERR_NONE ? db_write(store_db(s, DB_MAIN), put_unit, &list, e) : rc;
}

/* --- in force --- */

static void read_row(const struct val *row, struct plan *p)
{
    p->name = val_str(&row[0]);
    for (unsigned i = 0; i < PLAN_LIMITS; i++)
        p->limits[i] = val_int(&row[1 + i]);
}

enum errc plan_find(struct tx *tx, struct arena *a, str name, struct plan *out, err *e)
{
    const struct val *row;
    enum errc rc = tx_query_row(tx, a, &plan_by_name, PARAMS(v_text(name)), &row, e);
    if (rc == ERR_NONE) read_row(row, out);
    return rc;
}

enum errc plan_of_workspace(struct tx *tx, struct arena *a, const uuid *workspace, struct plan *out, err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, a, &plan_in_force, PARAMS(v_uuid(workspace)), &rows, e);
    *out = built_in[LENGTH_OF(built_in) - 1]; /* before a server has started on the database */
    if (rc == ERR_NONE && rows.n) read_row(row_at(&rows, 0), out);
    return rc;
}

SQL(members_count, DB_MAIN, 0, "u",
    "SELECT count(*) FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.workspace_id = $1 AND "
    "u.service_workspace_id IS NULL");
SQL(invited_count, DB_MAIN, 0, "u", "SELECT count(*) FROM invitations WHERE workspace_id = $1");
SQL(projects_count, DB_MAIN, 0, "u", "SELECT count(*) FROM projects WHERE workspace_id = $1");
SQL(services_count, DB_MAIN, SQL_INSTANCE, "u", "SELECT count(*) FROM users WHERE service_workspace_id = $1");
SQL(keys_count, DB_MAIN, 0, "u", "SELECT count(*) FROM api_keys WHERE workspace_id = $1");

enum errc plan_has_room(struct tx *tx, struct arena *a, const uuid *workspace, enum plan_limit what,
                        bool counts_pending, err *e)
{
    static const struct sql *const counts[PLAN_LIMITS] = {[PLAN_MEMBERS] = &members_count,
                                                          [PLAN_PROJECTS] = &projects_count,
                                                          [PLAN_SERVICE_ACCOUNTS] = &services_count,
                                                          [PLAN_API_KEYS] = &keys_count};
    struct plan plan;
    const struct val *row;
    enum errc rc = plan_of_workspace(tx, a, workspace, &plan, e);
    int64_t limit = plan.limits[what], n = 0;
    if (rc != ERR_NONE || limit == 0) return rc;
    if ((rc = tx_query_row(tx, a, counts[what], PARAMS(v_uuid(workspace)), &row, e)) != ERR_NONE) return rc;
    n = val_int(&row[0]);
    if (what == PLAN_MEMBERS && counts_pending) {
        if ((rc = tx_query_row(tx, a, &invited_count, PARAMS(v_uuid(workspace)), &row, e)) != ERR_NONE)
            return rc;
        n += val_int(&row[0]);
    }
    if (n < limit) return ERR_NONE;
    return err_set(e, ERR_PLAN_LIMIT,
                   "the plan '%.*s' of this workspace covers %lld %s (limit %s), and there are %lld%s",
                   STR(plan.name), (long long)limit, limit_nouns[what], limit_names[what], (long long)n,
                   what == PLAN_MEMBERS && counts_pending ? ", invited ones counted" : "");
}
