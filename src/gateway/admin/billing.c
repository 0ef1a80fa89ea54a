/* What a workspace may spend: its plan, and its usage limit, which is a hard monthly budget of the workspace (rows.c). */
#include "core/workspaces.h"
#include "gateway/admin/admin.h"

SQL(billing_set, DB_MAIN, SQL_INSTANCE, "tiiu",
    "UPDATE workspaces SET plan = $1, usage_limit_nanousd = $2, updated_us = $3, version = version + 1 WHERE "
    "id = $4");

struct billing_body {
    str plan;
    int64_t usage_limit;
};
static const struct field body_fields[] = {
    FIELD(struct billing_body, plan, FIELD_TEXT, .min = 1, .max = 64, .format = FORMAT_NAME,
          .flags = FIELD_REQUIRED, .meaning = "Name of a plan of this instance."),
    FIELD(struct billing_body, usage_limit, FIELD_MONEY, .min = 0, .max = BUDGET_AMOUNT_MAX,
          .flags = FIELD_NULLABLE,
          .meaning = "What calls may cost in a calendar month (UTC); null: no limit."),
};
static const struct shape body_shape =
    SHAPE("WorkspaceBillingChange", struct billing_body, body_fields, "Plan and usage limit to be set.");

struct billing_state {
    int64_t spent;
};

static enum errc prepare(struct api_request *r, err *e)
{
    struct billing_state *s = arena_new(r->arena, struct billing_state);
    if (!s) return err_code(e, ERR_TOO_LARGE);
    r->state = s;
    return workspace_spent(r->store, r->arena, &r->workspace_id, r->now_us, &s->spent, e);
}

static enum errc show(struct api_request *r, struct tx *tx, err *e)
{
    const struct billing_state *s = r->state;
    struct workspace_billing *b = arena_new(r->arena, struct workspace_billing);
    if (!b) return err_code(e, ERR_TOO_LARGE);
    r->answer = b;
    return workspace_billing(tx, r->arena, &r->workspace_id, s->spent, b, e);
}

static enum errc replace(struct api_request *r, struct tx *tx, err *e)
{
    const struct billing_state *s = r->state;
    const struct billing_body *body = r->body;
    struct workspace_billing before, *after = arena_new(r->arena, struct workspace_billing);
    struct plan plan;
    if (!after) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = workspace_billing(tx, r->arena, &r->workspace_id, s->spent, &before, e);
    if (rc != ERR_NONE) return rc;
    *after = before;
    after->plan = body->plan;
    after->usage_limit = body->usage_limit;
    r->answer = after;
    if (!str_eq(before.plan, after->plan)) {
        if (!workspace_may_choose_plan(r))
            return err_set(e, ERR_FORBIDDEN,
                           "only an administrator of this instance gives a workspace another plan");
        rc = plan_find(tx, r->arena, after->plan, &plan, e);
        if (rc == ERR_NOT_FOUND)
            return api_field_error(r, e, "plan", "not_one_of", "'%.*s' is no plan of this instance",
                                   STR(after->plan));
        if (rc != ERR_NONE) return rc;
    }
    if (!admin_differs(&workspace_billing_shape, &before, after)) return ERR_NONE;
    struct event ev = admin_event(r, S("workspace.billing_changed"), 0, S("workspace"), &r->workspace_id,
                                  &workspace_billing_shape, &before, after);
    rc = tx_exec(tx, &billing_set,
                 PARAMS(v_text(after->plan), v_int_or_null(after->usage_limit), v_int(r->now_us),
                        v_uuid(&r->workspace_id)),
                 NULL, e);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

static const struct api_route routes[] = {
    {.method = HTTP_GET,
     .path = "/api/workspaces/:id/billing",
     .name = "workspaces_billing",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_BILLING_READ,
     .scope = SCOPE_WORKSPACE,
     .answer = &workspace_billing_shape,
     .summary = "Plan, usage limit and what this month's calls cost",
     .prepare = prepare,
     .apply = show},
    {.method = HTTP_PUT,
     .path = "/api/workspaces/:id/billing",
     .name = "workspaces_billing_replace",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_BILLING_MANAGE,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .body = &body_shape,
     .answer = &workspace_billing_shape,
     .summary = "Gives a workspace a plan and a usage limit",
     .text = "The limit holds at every node when this is answered: calls that could cost more are refused "
             "with 402. A smaller plan "
             "takes nothing away that is there; nothing is added beyond it.",
     .prepare = prepare,
     .apply = replace,
     .after = admin_after},
};
const struct api_table gateway_billing_api = {"workspaces", routes, LENGTH_OF(routes)};
