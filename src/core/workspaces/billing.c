/* What a workspace may spend, has spent, and which plan it has. */
#include "core/workspaces/internal.h"

#include "base/clock.h"

SQL(billing_get, DB_MAIN, SQL_INSTANCE, "u", "SELECT usage_limit_nanousd FROM workspaces WHERE id = $1");
SQL(spent_this_month, DB_USAGE, SQL_INSTANCE, "ui",
    "SELECT CAST(COALESCE(SUM(charged_nanousd), 0) AS BIGINT) FROM spend_days WHERE scope = 0 AND scope_id = "
    "$1 AND "
    "day >= $2");

static const struct field billing_fields[] = {
    FIELD(struct workspace_billing, plan, FIELD_TEXT, .flags = FIELD_READONLY,
          .meaning = "Its plan: a bundle of limits."),
    FIELD(struct workspace_billing, usage_limit, FIELD_MONEY, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "What its calls may cost in a calendar month (UTC); null: no limit."),
    FIELD(struct workspace_billing, current_usage, FIELD_MONEY, .flags = FIELD_READONLY | FIELD_UNAUDITED,
          .meaning = "What its calls of this calendar month cost so far."),
};
const struct shape workspace_billing_shape =
    SHAPE("WorkspaceBilling", struct workspace_billing, billing_fields, "Plan and spending of a workspace.");

struct asking {
    struct arena *a;
    const uuid *workspace;
    int64_t day, spent;
};

static enum errc spent_unit(struct tx *tx, void *ctx, err *e)
{
    struct asking *x = ctx;
    const struct val *row;
    enum errc rc =
        tx_query_row(tx, x->a, &spent_this_month, PARAMS(v_uuid(x->workspace), v_int(x->day)), &row, e);
    if (rc == ERR_NONE) x->spent = val_int(&row[0]);
    return rc;
}

enum errc workspace_spent(struct store *s, struct arena *a, const uuid *workspace, usec now_us,
                          int64_t *nanousd, err *e)
{
    int year;
    unsigned month, day;
    date_of_day(now_us / USEC_PER_DAY, &year, &month, &day);
    struct asking x = {.a = a, .workspace = workspace, .day = day_of_date(year, month, 1)};
    enum errc rc = db_read(store_db(s, DB_USAGE), spent_unit, &x, e);
    *nanousd = x.spent;
    return rc;
}

enum errc workspace_billing(struct tx *tx, struct arena *a, const uuid *workspace, int64_t spent_nanousd,
                            struct workspace_billing *out, err *e)
{
    struct plan plan;
    struct rows rows;
    enum errc rc = plan_of_workspace(tx, a, workspace, &plan, e);
    if (rc == ERR_NONE) rc = tx_query(tx, a, &billing_get, PARAMS(v_uuid(workspace)), &rows, e);
    if (rc == ERR_NONE)
        *out = (struct workspace_billing){plan.name, rows.n ? val_int(&row_at(&rows, 0)[0]) : NO_VALUE,
                                          spent_nanousd};
    return rc;
}
