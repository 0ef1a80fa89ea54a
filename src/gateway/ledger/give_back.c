#include "gateway/ledger/give_back.h"

SQL(leases_held_by, DB_USAGE, SQL_INSTANCE, "i",
    "SELECT CAST(COALESCE(SUM(CASE WHEN held_nanousd > 0 THEN held_nanousd ELSE 0 END), 0) AS BIGINT) FROM budget_leases WHERE node = $1");
SQL(leases_held_by_id, DB_USAGE, SQL_INSTANCE, "u",
    "SELECT CAST(COALESCE(SUM(CASE WHEN l.held_nanousd > 0 THEN l.held_nanousd ELSE 0 END), 0) AS BIGINT) FROM budget_leases l "
    "JOIN usage_nodes n ON n.no = l.node WHERE n.node = $1");
SQL(leases_drop, DB_USAGE, SQL_INSTANCE, "i", "DELETE FROM budget_leases WHERE node = $1");
SQL(parallel_held_by, DB_USAGE, SQL_INSTANCE, "i", "SELECT CAST(COALESCE(SUM(held), 0) AS BIGINT) FROM parallel_leases WHERE node = $1");
SQL(parallel_drop, DB_USAGE, SQL_INSTANCE, "i", "DELETE FROM parallel_leases WHERE node = $1");

struct give_back_job {
    int64_t node_no;
    struct given_back *out;
};

static enum errc give_back_unit(struct tx *tx, void *ctx, err *e)
{
    struct give_back_job *j = ctx;
    struct val no = v_int(j->node_no);
    struct arena a;
    const struct val *row;
    *j->out = (struct given_back){0};
    arena_init(&a, 64 << 10, 0);
    enum errc rc = tx_query_row(tx, &a, &leases_held_by, &no, 1, &row, e);
    if (rc == ERR_NONE) {
        j->out->leased_nanousd = val_int(&row[0]);
        rc = tx_query_row(tx, &a, &parallel_held_by, &no, 1, &row, e);
    }
    if (rc == ERR_NONE) {
        j->out->parallel = val_int(&row[0]);
        rc = tx_exec(tx, &leases_drop, &no, 1, NULL, e);
    }
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &parallel_drop, &no, 1, NULL, e);
    arena_fini(&a);
    return rc;
}

enum errc leases_give_back(struct store *s, int64_t node_no, struct given_back *out, err *e)
{
    struct give_back_job j = {node_no, out};
    return db_write(store_db(s, DB_USAGE), give_back_unit, &j, e);
}

struct held_job {
    const uuid *node;
    int64_t *leased_nanousd;
};

static enum errc held_unit(struct tx *tx, void *ctx, err *e)
{
    struct held_job *j = ctx;
    struct arena a;
    const struct val *row;
    arena_init(&a, 64 << 10, 0);
    enum errc rc = tx_query_row(tx, &a, &leases_held_by_id, PARAMS(v_uuid(j->node)), &row, e);
    if (rc == ERR_NONE)
        *j->leased_nanousd = val_int(&row[0]);
    arena_fini(&a);
    return rc;
}

enum errc leases_held(struct store *s, const uuid *node, int64_t *leased_nanousd, err *e)
{
    struct held_job j = {node, leased_nanousd};
    return db_read(store_db(s, DB_USAGE), held_unit, &j, e);
}
