#include "gateway/ledger/calls.h"

#define PAGE 500

SQL(calls_nodes, DB_USAGE, SQL_INSTANCE, "", "SELECT no, node FROM usage_nodes");
SQL(calls_workspaces, DB_USAGE, SQL_INSTANCE, "", "SELECT DISTINCT workspace_id FROM calls");
SQL(calls_last, DB_USAGE, SQL_INSTANCE, "", "SELECT CAST(COALESCE(MAX(id), 0) AS BIGINT) FROM calls");
SQL(calls_page, DB_USAGE, 0, "uuui",
    "SELECT " CALL_COLUMNS " FROM calls WHERE workspace_id = $1 AND request_id >= $2 AND request_id < $3 AND id <= $4 ORDER BY request_id DESC LIMIT 500");
SQL(calls_page_of_nobody, DB_USAGE, 0, "uui",
    "SELECT " CALL_COLUMNS " FROM calls WHERE workspace_id IS NULL AND request_id >= $1 AND request_id < $2 AND id <= $3 ORDER BY request_id DESC LIMIT 500");

void call_from_row(const struct val *v, struct usage_record *r)
{
    uuid key_id = val_uuid(&v[25]);
    *r = (struct usage_record){
        .request_id = val_uuid(&v[0]),
        .boot = (uint64_t)val_int(&v[1]),
        .n = (uint64_t)val_int(&v[2]),
        .workspace_id = val_uuid(&v[3]),
        .started_us = val_int(&v[4]),
        .dialect = (enum dialect)val_int(&v[5]),
        .outcome = (enum call_outcome)val_int(&v[6]),
        .is_streamed = val_bool(&v[7]),
        .is_estimated = val_bool(&v[8]),
        .status = (uint16_t)val_int(&v[9]),
        .sent_us = val_int(&v[10]),
        .connect_us = val_int(&v[11]),
        .head_us = val_int(&v[12]),
        .first_us = val_int(&v[13]),
        .total_us = val_int(&v[14]),
        .bytes_in = (uint64_t)val_int(&v[15]),
        .bytes_out = (uint64_t)val_int(&v[16]),
        .tokens = {val_int(&v[17]), val_int(&v[18]), val_int(&v[19]), val_int(&v[20]), val_int(&v[21]), val_int(&v[22])},
        .cost_nanousd = val_int(&v[23]), /* NULL is NO_VALUE is COST_UNKNOWN */
        .charged_nanousd = val_int(&v[24]),
        .key = val_str(&v[26]),
        .project_id = val_uuid(&v[27]),
        .project = val_str(&v[28]),
        .user_id = val_uuid(&v[29]),
        .user = val_str(&v[30]),
        .task = val_str(&v[31]),
        .session = val_str(&v[32]),
        .tags = val_str(&v[33]),
        .provider = val_str(&v[34]),
        .model = val_str(&v[35]),
        .model_asked = val_str(&v[36]),
        .error = val_str(&v[37]),
        .trace_id = val_str(&v[38]),
    };
    memcpy(r->key_id, key_id.b, sizeof r->key_id);
}

uuid request_id_from(usec at_us)
{
    uuid id = {{0}};
    int64_t ms = at_us > 0 ? at_us / USEC_PER_MS : 0;
    if (ms >= INT64_C(1) << 48)
        ms = (INT64_C(1) << 48) - 1;
    for (unsigned i = 0; i < 6; i++)
        id.b[5 - i] = (uint8_t)(ms >> 8 * i);
    return id;
}

/* --- walking --- */

struct walk {
    struct store *s;
    usec since_us, until_us;
    call_fn fn;
    void *ctx;
    enum call_verdict verdict;
    struct arena a;
    /* of the database, in one snapshot with the positions of the journal */
    int64_t last; /* the newest row: those that come later are in the journal's part */
    struct rows nodes, workspaces, places;
    const uint8_t *node; /* of the journal; NULL: none */
    /* of the workspace that is walked */
    uuid workspace, before;
    unsigned n; /* rows of the page */
};

SQL(calls_places, DB_USAGE, SQL_INSTANCE, "u",
    "SELECT p.boot, p.number, p.loop, p.position FROM usage_places p JOIN usage_nodes n ON n.no = p.node WHERE n.node = $1");

static enum errc begin_unit(struct tx *tx, void *ctx, err *e)
{
    struct walk *w = ctx;
    struct rows last;
    enum errc rc = tx_query(tx, &w->a, &calls_last, NULL, 0, &last, e);
    if (rc == ERR_NONE)
        w->last = val_int(&row_at(&last, 0)[0]);
    if (rc == ERR_NONE && (rc = tx_query(tx, &w->a, &calls_nodes, NULL, 0, &w->nodes, e)) == ERR_NONE)
        rc = tx_query(tx, &w->a, &calls_workspaces, NULL, 0, &w->workspaces, e);
    if (rc == ERR_NONE && w->node)
        rc = tx_query(tx, &w->a, &calls_places, PARAMS(v_blob(str_of((const char *)w->node, 16))), &w->places, e);
    return rc;
}

static const uint8_t *node_of(const struct walk *w, int64_t no)
{
    static const uint8_t unknown[16];
    for (unsigned i = 0; i < w->nodes.n; i++)
        if (val_int(&row_at(&w->nodes, i)[0]) == no)
            return (const uint8_t *)val_str(&row_at(&w->nodes, i)[1]).p;
    return unknown;
}

static bool is_wanted(const struct walk *w, const struct usage_record *r) { return r->started_us >= w->since_us && r->started_us < w->until_us; }

struct page {
    struct walk *w;
    struct arena a;
    struct rows rows;
    uuid from;
};

static enum errc page_unit(struct tx *tx, void *ctx, err *e)
{
    struct page *p = ctx;
    const struct walk *w = p->w;
    const struct val params[4] = {v_uuid(&w->workspace), v_uuid(&p->from), v_uuid(&w->before), v_int(w->last)};
    bool is_nobody = uuid_is_nil(&w->workspace);
    return tx_query(tx, &p->a, is_nobody ? &calls_page_of_nobody : &calls_page, is_nobody ? params + 1 : params, is_nobody ? 3 : 4, &p->rows, e);
}

static enum errc one_page(struct walk *w, err *e)
{
    struct page p = {.w = w, .from = request_id_from(w->since_us)};
    arena_init(&p.a, 16 << 20, 0);
    enum errc rc = db_read(store_db(w->s, DB_USAGE), page_unit, &p, e);
    w->n = rc == ERR_NONE ? p.rows.n : 0;
    for (unsigned i = 0; i < w->n && w->verdict == CALLS_GO_ON; i++) {
        const struct val *row = row_at(&p.rows, i);
        struct usage_record r;
        call_from_row(row, &r);
        w->before = r.request_id;
        if (is_wanted(w, &r))
            w->verdict = w->fn(w->ctx, node_of(w, val_int(&row[CALL_NODE_COLUMN])), &r);
    }
    arena_fini(&p.a);
    return rc;
}

static enum errc walk_workspace(struct walk *w, err *e)
{
    enum errc rc = ERR_NONE;
    bool has_end = w->until_us < INT64_MAX - USEC_PER_S;
    w->before = request_id_from(has_end ? w->until_us + USEC_PER_MS : INT64_MAX);
    if (!has_end)
        memset(w->before.b, 0xff, sizeof w->before.b);
    w->verdict = CALLS_GO_ON;
    do
        rc = one_page(w, e);
    while (rc == ERR_NONE && w->verdict == CALLS_GO_ON && w->n == PAGE);
    return rc;
}

/* --- with the journal --- */

static bool on_record(void *ctx, const uint8_t node[16], const struct usage_record *r)
{
    struct walk *w = ctx;
    if (is_wanted(w, r) && w->fn(w->ctx, node, r) == CALLS_STOP)
        w->verdict = CALLS_STOP;
    return w->verdict != CALLS_STOP;
}

/* The journal's files are held open before the database is asked how far it has come with them: what is drained and removed after that is still read here, and its
 * rows are younger than the snapshot. */
static enum errc begin(struct walk *w, struct journal_reader *rd, err *e)
{
    uint8_t node[16];
    enum errc rc = rd ? journal_reader_hold(rd, e) : ERR_NONE;
    if (rc != ERR_NONE || !w->s)
        return rc;
    if (rd && journal_reader_node(rd, node))
        w->node = node;
    rc = db_read(store_db(w->s, DB_USAGE), begin_unit, w, e);
    w->node = NULL;
    struct journal_place *places = rc == ERR_NONE ? arena_news(&w->a, struct journal_place, w->places.n + 1u) : NULL;
    if (rc != ERR_NONE || !places || !rd)
        return rc != ERR_NONE || !rd ? rc : err_code(e, ERR_NO_MEMORY);
    for (unsigned i = 0; i < w->places.n; i++) {
        const struct val *row = row_at(&w->places, i);
        places[i] = (struct journal_place){.boot = (uint64_t)val_int(&row[0]), .number = (uint64_t)val_int(&row[1]), .loop = (uint32_t)val_int(&row[2]),
                                           .position = (uint64_t)val_int(&row[3])};
        memcpy(places[i].node, node, sizeof node);
    }
    return journal_reader_begin_at(rd, places, w->places.n, e);
}

enum errc calls_all(struct store *s, struct journal_reader *rd, usec since_us, usec until_us, call_fn fn, void *ctx, uint64_t *n_damaged, err *e)
{
    struct walk w = {.s = s, .since_us = since_us, .until_us = until_us, .fn = fn, .ctx = ctx};
    arena_init(&w.a, 64 << 20, 0);
    enum errc rc = begin(&w, rd, e);
    if (rc == ERR_NONE && rd)
        rc = journal_read(rd, on_record, &w, n_damaged, e);
    for (unsigned i = 0; rc == ERR_NONE && s && i < w.workspaces.n && w.verdict != CALLS_STOP; i++) {
        w.workspace = val_uuid(&row_at(&w.workspaces, i)[0]);
        rc = walk_workspace(&w, e);
    }
    arena_fini(&w.a);
    return rc;
}
