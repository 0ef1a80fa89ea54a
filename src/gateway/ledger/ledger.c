#include "gateway/ledger/ledger.h"

#include <stdlib.h>

#define ROWS_AT_ONCE 256u /* of a batch that are bound at a time */
#define CALL_COLUMNS 40u
#define FORGET_AT_ONCE 2000

SQL(node_add, DB_USAGE, SQL_INSTANCE, "u", "INSERT INTO usage_nodes (node) VALUES ($1) ON CONFLICT (node) DO NOTHING");
SQL(node_find, DB_USAGE, SQL_INSTANCE, "u", "SELECT no FROM usage_nodes WHERE node = $1");
SQL(places_of, DB_USAGE, SQL_INSTANCE, "i", "SELECT boot, number, loop, position FROM usage_places WHERE node = $1 ORDER BY boot, number, loop");
SQL(place_move, DB_USAGE, SQL_INSTANCE, "iiiiii",
    "INSERT INTO usage_places (node, boot, number, loop, position) VALUES ($1, $2, $3, $4, $5) "
    "ON CONFLICT (node, boot, number, loop) DO UPDATE SET position = excluded.position WHERE usage_places.position = $6");
SQL(place_of, DB_USAGE, SQL_INSTANCE, "iiii", "SELECT position FROM usage_places WHERE node = $1 AND boot = $2 AND number = $3 AND loop = $4");
SQL(call_add, DB_USAGE, 0, "iiiuuiiiiiiiiiiiiiiiiiiiiiutututtttttttt",
    "INSERT INTO calls (node, boot, n, workspace_id, request_id, started_us, dialect, outcome, is_streamed, is_estimated, status, sent_us, "
    "connect_us, head_us, first_us, total_us, bytes_in, bytes_out, input, cache_read, cache_write, cache_write_1h, output, reasoning, "
    "cost_nanousd, charged_nanousd, key_id, key_name, project_id, project, user_id, user_label, task, session, tags, provider, model, model_asked, "
    "error, trace_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, "
    "$25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40) ON CONFLICT (node, boot, n) DO NOTHING");
SQL(spend_put, DB_USAGE, SQL_INSTANCE, "iuiii",
    "INSERT INTO spend_days (scope, scope_id, day, charged_nanousd, calls) VALUES ($1, $2, $3, $4, $5) "
    "ON CONFLICT (scope, scope_id, day) DO UPDATE SET charged_nanousd = spend_days.charged_nanousd + excluded.charged_nanousd, "
    "calls = spend_days.calls + excluded.calls");
SQL(use_put, DB_USAGE, SQL_INSTANCE, "ui",
    "INSERT INTO key_uses (key_id, used_us) VALUES ($1, $2) ON CONFLICT (key_id) DO UPDATE SET used_us = excluded.used_us "
    "WHERE excluded.used_us > key_uses.used_us");
SQL(uses_all, DB_USAGE, SQL_INSTANCE, "", "SELECT key_id, used_us FROM key_uses");
SQL(open_put, DB_USAGE, SQL_INSTANCE, "iiib",
    "INSERT INTO calls_open (node, boot, n, frame) VALUES ($1, $2, $3, $4) ON CONFLICT (node, boot, n) DO NOTHING");
SQL(open_del, DB_USAGE, SQL_INSTANCE, "iii", "DELETE FROM calls_open WHERE node = $1 AND boot = $2 AND n = $3");
SQL(opens_of, DB_USAGE, SQL_INSTANCE, "i", "SELECT boot, n, frame FROM calls_open WHERE node = $1 ORDER BY boot, n");
SQL(call_find, DB_USAGE, SQL_INSTANCE, "iii", "SELECT 1 FROM calls WHERE node = $1 AND boot = $2 AND n = $3");
SQL(spent_since, DB_USAGE, SQL_INSTANCE, "iui",
    "SELECT CAST(COALESCE(SUM(charged_nanousd), 0) AS BIGINT) FROM spend_days WHERE scope = $1 AND scope_id = $2 AND day >= $3");
SQL(adopt_spend, DB_USAGE, 0, "u",
    "INSERT INTO spend_days (scope, scope_id, day, charged_nanousd, calls) "
    "SELECT 0, $1, started_us / 86400000000, CAST(SUM(charged_nanousd) AS BIGINT), COUNT(*) FROM calls WHERE workspace_id IS NULL "
    "GROUP BY started_us / 86400000000 "
    "ON CONFLICT (scope, scope_id, day) DO UPDATE SET charged_nanousd = spend_days.charged_nanousd + excluded.charged_nanousd, "
    "calls = spend_days.calls + excluded.calls");
SQL(adopt_calls, DB_USAGE, 0, "u", "UPDATE calls SET workspace_id = $1 WHERE workspace_id IS NULL");
SQL(orphans, DB_USAGE, 0, "", "SELECT 1 FROM calls WHERE workspace_id IS NULL LIMIT 1");
SQL(oldest_calls, DB_USAGE, SQL_INSTANCE, "i", "SELECT id, started_us FROM calls ORDER BY id LIMIT $1");
SQL(calls_del, DB_USAGE, SQL_INSTANCE, "i", "DELETE FROM calls WHERE id <= $1");

/* What was drained as spent the node does not hold any more (lease.h). */
SQL(lease_spent, DB_USAGE, SQL_INSTANCE, "iiuiiii",
    "UPDATE budget_leases SET held_nanousd = held_nanousd - $1 WHERE scope = $2 AND scope_id = $3 AND node = $4 AND "
    "((period = 0 AND start_us = $5) OR (period = 1 AND start_us = $6) OR (period = 2 AND start_us = $7) OR period = 3)");

/* --- nodes and places --- */

struct node_job {
    const uint8_t *node;
    int64_t no;
};

static enum errc node_unit(struct tx *tx, void *ctx, err *e)
{
    struct node_job *j = ctx;
    struct arena a;
    const struct val *row;
    struct val node = v_blob(str_of((const char *)j->node, 16));
    arena_init(&a, 64 << 10, 0);
    enum errc rc = tx_exec(tx, &node_add, &node, 1, NULL, e);
    if (rc == ERR_NONE && (rc = tx_query_row(tx, &a, &node_find, &node, 1, &row, e)) == ERR_NONE)
        j->no = val_int(&row[0]);
    arena_fini(&a);
    return rc;
}

enum errc ledger_node(struct store *s, const uint8_t node[16], int64_t *no, err *e)
{
    struct node_job j = {.node = node};
    enum errc rc = db_write(store_db(s, DB_USAGE), node_unit, &j, e);
    *no = j.no;
    return rc;
}

struct query_job {
    const struct sql *sql;
    const struct val *params;
    unsigned n;
    struct arena *a;
    struct rows rows;
};

static enum errc query_unit(struct tx *tx, void *ctx, err *e)
{
    struct query_job *j = ctx;
    return tx_query(tx, j->a, j->sql, j->params, j->n, &j->rows, e);
}

enum errc ledger_places(struct store *s, int64_t node_no, const uint8_t node[16], struct arena *a, struct journal_place **out, size_t *n, err *e)
{
    struct val no = v_int(node_no);
    struct query_job j = {.sql = &places_of, .params = &no, .n = 1, .a = a};
    enum errc rc = db_read(store_db(s, DB_USAGE), query_unit, &j, e);
    if (rc != ERR_NONE)
        return rc;
    *out = arena_news(a, struct journal_place, j.rows.n + 1u);
    *n = j.rows.n;
    if (!*out)
        return err_code(e, ERR_NO_MEMORY);
    for (unsigned i = 0; i < j.rows.n; i++) {
        const struct val *row = row_at(&j.rows, i);
        (*out)[i] = (struct journal_place){.boot = (uint64_t)val_int(&row[0]), .number = (uint64_t)val_int(&row[1]),
                                           .loop = (uint32_t)val_int(&row[2]), .position = (uint64_t)val_int(&row[3])};
        memcpy((*out)[i].node, node, 16);
    }
    return ERR_NONE;
}

/* --- a batch --- */

static void bind_call(int64_t node_no, const struct usage_record *r, struct val *v)
{
    unsigned n = 0;
    v[n++] = v_int(node_no);
    v[n++] = v_int((int64_t)r->boot);
    v[n++] = v_int((int64_t)r->n);
    v[n++] = v_uuid_or_null(&r->workspace_id);
    v[n++] = v_uuid(&r->request_id);
    v[n++] = v_int(r->started_us);
    v[n++] = v_int((int64_t)r->dialect);
    v[n++] = v_int((int64_t)r->outcome);
    v[n++] = v_int(r->is_streamed);
    v[n++] = v_int(r->is_estimated);
    v[n++] = v_int(r->status);
    v[n++] = v_int(r->sent_us);
    v[n++] = v_int(r->connect_us);
    v[n++] = v_int(r->head_us);
    v[n++] = v_int(r->first_us);
    v[n++] = v_int(r->total_us);
    v[n++] = v_int((int64_t)r->bytes_in);
    v[n++] = v_int((int64_t)r->bytes_out);
    v[n++] = v_int(r->tokens.input);
    v[n++] = v_int(r->tokens.cache_read);
    v[n++] = v_int(r->tokens.cache_write);
    v[n++] = v_int(r->tokens.cache_write_1h);
    v[n++] = v_int(r->tokens.output);
    v[n++] = v_int(r->tokens.reasoning);
    v[n++] = v_int_or_null(r->cost_nanousd); /* COST_UNKNOWN is NO_VALUE */
    v[n++] = v_int(r->charged_nanousd);
    v[n++] = v_blob(str_of((const char *)r->key_id, sizeof r->key_id));
    v[n++] = v_text(r->key);
    v[n++] = v_uuid_or_null(&r->project_id);
    v[n++] = v_text(r->project);
    v[n++] = v_uuid_or_null(&r->user_id);
    v[n++] = v_text(r->user);
    v[n++] = v_text(r->task);
    v[n++] = v_text(r->session);
    v[n++] = v_text(r->tags);
    v[n++] = v_text(r->provider);
    v[n++] = v_text(r->model);
    v[n++] = v_text(r->model_asked);
    v[n++] = v_text(r->error);
    v[n++] = v_text(r->trace_id);
}
_Static_assert(COST_UNKNOWN == NO_VALUE, "an unknown cost is NULL");

struct write_job {
    const struct ledger_batch *b;
    struct val *scratch; /* ROWS_AT_ONCE rows of CALL_COLUMNS */
    bool is_shared;      /* the database: other nodes may be there */
};

static enum errc write_calls(struct tx *tx, const struct write_job *j, err *e)
{
    const struct ledger_batch *b = j->b;
    for (unsigned i = 0; i < b->n_calls;) {
        unsigned n = 0;
        for (; n < ROWS_AT_ONCE && i < b->n_calls; i++)
            bind_call(b->node_no, &b->calls[i], j->scratch + (size_t)n++ * CALL_COLUMNS);
        enum errc rc = tx_bulk(tx, &call_add, j->scratch, n, e);
        if (rc != ERR_NONE)
            return rc;
    }
    return ERR_NONE;
}

static enum errc taken_by_another(err *e) { return err_set(e, ERR_CONFLICT, "this usage journal was drained by another process meanwhile"); }

static enum errc write_opens(struct tx *tx, const struct ledger_batch *b, err *e)
{
    enum errc rc = ERR_NONE;
    for (unsigned i = 0; i < b->n_opens && rc == ERR_NONE; i++) {
        const struct ledger_open *o = &b->opens[i];
        struct val v[4] = {v_int(b->node_no), v_int((int64_t)o->boot), v_int((int64_t)o->n), v_blob(o->frame)};
        int64_t changed;
        rc = o->frame.len ? tx_exec(tx, &open_put, v, 4, &changed, e) : tx_exec(tx, &open_del, v, 3, &changed, e);
        if (rc == ERR_NONE && b->claims_opens && changed != 1)
            rc = taken_by_another(e);
    }
    return rc;
}

/* First in the unit: of two that drain one folder, the second waits here for the first, and finds itself overtaken. */
static enum errc move_places(struct tx *tx, const struct ledger_batch *b, err *e)
{
    enum errc rc = ERR_NONE;
    for (unsigned i = 0; i < b->n_places && rc == ERR_NONE; i++) {
        const struct journal_place *p = &b->places[i];
        int64_t changed;
        rc = tx_exec(tx, &place_move,
                     PARAMS(v_int(b->node_no), v_int((int64_t)p->boot), v_int((int64_t)p->number), v_int(p->loop), v_int((int64_t)p->position),
                            v_int((int64_t)b->places_before[i])),
                     &changed, e);
        if (rc == ERR_NONE && changed != 1)
            rc = taken_by_another(e);
    }
    return rc;
}

/* Whether the batch is in the database already: its first attempt was committed, and only the answer was lost. */
static enum errc is_written(struct tx *tx, const struct ledger_batch *b, bool *out, err *e)
{
    struct arena a;
    struct rows rows;
    *out = false;
    if (!b->n_places)
        return ERR_NONE;
    const struct journal_place *p = &b->places[0];
    arena_init(&a, 64 << 10, 0);
    enum errc rc = tx_query(tx, &a, &place_of, PARAMS(v_int(b->node_no), v_int((int64_t)p->boot), v_int((int64_t)p->number), v_int(p->loop)), &rows, e);
    if (rc == ERR_NONE && rows.n)
        *out = val_int(&row_at(&rows, 0)[0]) == (int64_t)p->position;
    arena_fini(&a);
    return rc;
}

static enum errc take_off_leases(struct tx *tx, int64_t node_no, const struct ledger_spend *x, err *e)
{
    usec at = (usec)x->day * USEC_PER_DAY, day, week, month, end;
    budget_period_bounds(BUDGET_DAILY, at, &day, &end);
    budget_period_bounds(BUDGET_WEEKLY, at, &week, &end);
    budget_period_bounds(BUDGET_MONTHLY, at, &month, &end);
    return tx_exec(tx, &lease_spent,
                   PARAMS(v_int(x->nanousd), v_int((int64_t)x->scope), v_uuid(&x->scope_id), v_int(node_no), v_int(day), v_int(week), v_int(month)),
                   NULL, e);
}

/* Nodes drain side by side: what they share is only added to, in one order, and a unit that waited for another goes on with what that one left. */
static enum errc write_unit(struct tx *tx, void *ctx, err *e)
{
    const struct write_job *j = ctx;
    const struct ledger_batch *b = j->b;
    bool is_done;
    enum errc rc = tx_read_committed(tx, e);
    if (rc == ERR_NONE)
        rc = is_written(tx, b, &is_done, e);
    if (rc != ERR_NONE || is_done)
        return rc;
    if ((rc = move_places(tx, b, e)) == ERR_NONE)
        rc = write_opens(tx, b, e);
    if (rc == ERR_NONE)
        rc = write_calls(tx, j, e);
    for (unsigned i = 0; i < b->n_spends && rc == ERR_NONE; i++) {
        const struct ledger_spend *x = &b->spends[i];
        rc = tx_exec(tx, &spend_put, PARAMS(v_int((int64_t)x->scope), v_uuid(&x->scope_id), v_int(x->day), v_int(x->nanousd), v_int(x->calls)), NULL, e);
        if (rc == ERR_NONE && j->is_shared && x->nanousd)
            rc = take_off_leases(tx, b->node_no, x, e);
    }
    for (unsigned i = 0; i < b->n_uses && rc == ERR_NONE; i++)
        rc = tx_exec(tx, &use_put, PARAMS(v_uuid(&b->uses[i].key_id), v_int(b->uses[i].used_us)), NULL, e);
    return rc;
}

enum errc ledger_write(struct store *s, const struct ledger_batch *b, err *e)
{
    struct write_job j = {b, calloc(ROWS_AT_ONCE, CALL_COLUMNS * sizeof(struct val)), store_is_postgres(s)};
    if (!j.scratch)
        return err_code(e, ERR_NO_MEMORY);
    enum errc rc = db_write(store_db(s, DB_USAGE), write_unit, &j, e);
    free(j.scratch);
    return rc;
}

enum errc ledger_open_calls(struct store *s, int64_t node_no, struct arena *a, struct ledger_open **out, unsigned *n, err *e)
{
    struct val no = v_int(node_no);
    struct query_job j = {.sql = &opens_of, .params = &no, .n = 1, .a = a};
    enum errc rc = db_read(store_db(s, DB_USAGE), query_unit, &j, e);
    if (rc != ERR_NONE)
        return rc;
    *out = arena_news(a, struct ledger_open, j.rows.n + 1u);
    *n = j.rows.n;
    if (!*out)
        return err_code(e, ERR_NO_MEMORY);
    for (unsigned i = 0; i < j.rows.n; i++) {
        const struct val *row = row_at(&j.rows, i);
        (*out)[i] = (struct ledger_open){(uint64_t)val_int(&row[0]), (uint64_t)val_int(&row[1]), val_str(&row[2])};
    }
    return ERR_NONE;
}

struct ended_job {
    int64_t node_no;
    struct ledger_open *opens;
    unsigned n;
};

static enum errc ended_unit(struct tx *tx, void *ctx, err *e)
{
    struct ended_job *j = ctx;
    struct arena a;
    enum errc rc = ERR_NONE;
    arena_init(&a, 64 << 10, 0);
    for (unsigned i = 0; i < j->n && rc == ERR_NONE; i++) {
        struct ledger_open *o = &j->opens[i];
        struct arena_mark mark = arena_mark(&a);
        struct rows rows;
        rc = tx_query(tx, &a, &call_find, PARAMS(v_int(j->node_no), v_int((int64_t)o->boot), v_int((int64_t)o->n)), &rows, e);
        if (rc == ERR_NONE && rows.n)
            o->frame = S("");
        arena_reset(&a, mark);
    }
    arena_fini(&a);
    return rc;
}

enum errc ledger_clear_ended(struct store *s, int64_t node_no, struct ledger_open *opens, unsigned n, err *e)
{
    struct ended_job j = {.node_no = node_no, .opens = opens, .n = n};
    return db_read(store_db(s, DB_USAGE), ended_unit, &j, e);
}

/* --- money, and the rest --- */

struct spent_job {
    struct spent_query *queries;
    unsigned n;
};

enum errc ledger_charged(struct tx *tx, enum budget_scope scope, const uuid *scope_id, int32_t from_day, int64_t *nanousd, err *e)
{
    struct arena a;
    const struct val *row;
    arena_init(&a, 8192, 1024);
    enum errc rc = tx_query_row(tx, &a, &spent_since, PARAMS(v_int((int64_t)scope), v_uuid(scope_id), v_int(from_day)), &row, e);
    if (rc == ERR_NONE)
        *nanousd = val_int(&row[0]);
    arena_fini(&a);
    return rc;
}

static enum errc spent_unit(struct tx *tx, void *ctx, err *e)
{
    struct spent_job *j = ctx;
    enum errc rc = ERR_NONE;
    for (unsigned i = 0; i < j->n && rc == ERR_NONE; i++) {
        struct spent_query *q = &j->queries[i];
        rc = ledger_charged(tx, q->scope, &q->scope_id, q->from_day, &q->nanousd, e);
    }
    return rc;
}

enum errc ledger_spent(struct store *s, struct spent_query *queries, unsigned n, err *e)
{
    struct spent_job j = {queries, n};
    return db_read(store_db(s, DB_USAGE), spent_unit, &j, e);
}

static enum errc adopt_unit(struct tx *tx, void *ctx, err *e)
{
    struct val workspace = v_uuid(ctx);
    enum errc rc = tx_exec(tx, &adopt_spend, &workspace, 1, NULL, e);
    return rc == ERR_NONE ? tx_exec(tx, &adopt_calls, &workspace, 1, NULL, e) : rc;
}

enum errc ledger_adopt(struct store *s, const uuid *workspace, err *e)
{
    struct arena a;
    uuid id = *workspace;
    arena_init(&a, 64 << 10, 0);
    struct query_job j = {.sql = &orphans, .a = &a};
    enum errc rc = db_read(store_db(s, DB_USAGE), query_unit, &j, e);
    if (rc == ERR_NONE && j.rows.n)
        rc = db_write(store_db(s, DB_USAGE), adopt_unit, &id, e);
    arena_fini(&a);
    return rc;
}

struct forget_job {
    usec before_us;
    int64_t n_deleted;
};

/* Calls are in the database in the order in which they ended, nearly: one that is younger ends this unit, and with it the whole. */
static enum errc forget_unit(struct tx *tx, void *ctx, err *e)
{
    struct forget_job *j = ctx;
    struct arena a;
    struct rows rows;
    int64_t last = -1;
    j->n_deleted = 0;
    arena_init(&a, 4 << 20, 0);
    enum errc rc = tx_query(tx, &a, &oldest_calls, PARAMS(v_int(FORGET_AT_ONCE)), &rows, e);
    for (unsigned i = 0; rc == ERR_NONE && i < rows.n; i++) {
        const struct val *row = row_at(&rows, i);
        if (val_int(&row[1]) >= j->before_us)
            break;
        last = val_int(&row[0]);
    }
    if (rc == ERR_NONE && last >= 0)
        rc = tx_exec(tx, &calls_del, PARAMS(v_int(last)), &j->n_deleted, e);
    arena_fini(&a);
    return rc;
}

enum errc ledger_forget(struct store *s, usec before_us, int64_t *n_deleted, err *e)
{
    struct forget_job j = {.before_us = before_us};
    *n_deleted = 0;
    for (;;) {
        enum errc rc = db_write(store_db(s, DB_USAGE), forget_unit, &j, e);
        if (rc != ERR_NONE)
            return rc;
        *n_deleted += j.n_deleted;
        if (j.n_deleted < FORGET_AT_ONCE)
            return ERR_NONE;
    }
}

enum errc ledger_uses(struct store *s, struct arena *a, struct ledger_use **out, unsigned *n, err *e)
{
    struct query_job j = {.sql = &uses_all, .a = a};
    enum errc rc = db_read(store_db(s, DB_USAGE), query_unit, &j, e);
    if (rc != ERR_NONE)
        return rc;
    *out = arena_news(a, struct ledger_use, j.rows.n + 1u);
    *n = j.rows.n;
    if (!*out)
        return err_code(e, ERR_NO_MEMORY);
    for (unsigned i = 0; i < j.rows.n; i++) {
        const struct val *row = row_at(&j.rows, i);
        (*out)[i] = (struct ledger_use){val_uuid(&row[0]), val_int(&row[1])};
    }
    return ERR_NONE;
}
