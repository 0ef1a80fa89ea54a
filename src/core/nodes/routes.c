/* routes.c - GET /api/nodes, DELETE /api/nodes/:id. */
#include "base/money.h"
#include "core/api.h"
#include "core/nodes/internal.h"

struct node_journal {
    int64_t bytes, calls;
    usec oldest_at;
};
static const struct field journal_fields[] = {
    FIELD(struct node_journal, bytes, FIELD_INT, .flags = FIELD_READONLY,
          .meaning = "Bytes of the journal that are not drained yet."),
    FIELD(struct node_journal, calls, FIELD_INT, .flags = FIELD_READONLY,
          .meaning = "Calls in the journal that are not in the database yet."),
    FIELD(struct node_journal, oldest_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "When the oldest of them ended, by the node's clock."),
};
static const struct shape journal_shape =
    SHAPE("NodeJournal", struct node_journal, journal_fields, "What waits in a node's journal.");

struct node_view {
    uuid id, boot_id;
    str name, address, version, state;
    int64_t schema;
    usec started_at, last_seen_at;
    int64_t log_lag, snapshot_version, snapshot_lag, streams, leased;
    struct node_journal journal;
    bool is_self;
};
static const struct field node_fields[] = {
    FIELD(struct node_view, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Of its data folder."),
    FIELD(struct node_view, boot_id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Of this start of it."),
    FIELD(struct node_view, name, FIELD_TEXT, .flags = FIELD_READONLY,
          .meaning = "node.name, or the name of its host."),
    FIELD(struct node_view, address, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "Where it listens."),
    FIELD(struct node_view, version, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "Its release."),
    FIELD(struct node_view, schema, FIELD_INT, .flags = FIELD_READONLY,
          .meaning = "The last migration of the database that its release knows."),
    FIELD(struct node_view, state, FIELD_ONE_OF, .flags = FIELD_READONLY,
          .choices = "starting|serving|draining|stopped|away",
          .meaning = "draining: it takes nothing new; stopped: it has ended in order; away: nothing has been "
                     "heard of it "
                     "for node.away_ms."),
    FIELD(struct node_view, started_at, FIELD_TIME, .flags = FIELD_READONLY,
          .meaning = "When it started, by its clock."),
    FIELD(struct node_view, last_seen_at, FIELD_TIME, .flags = FIELD_READONLY,
          .meaning = "Its last heartbeat, by its clock."),
    FIELD(struct node_view, log_lag, FIELD_INT, .flags = FIELD_READONLY,
          .meaning = "Events of the log that it has not followed yet."),
    FIELD(struct node_view, snapshot_version, FIELD_INT, .flags = FIELD_READONLY,
          .meaning = "How often it has made its snapshot of providers, keys and budgets anew."),
    FIELD(struct node_view, snapshot_lag, FIELD_INT, .flags = FIELD_READONLY,
          .meaning = "Events of the log that its snapshot does not know of yet."),
    FIELD(struct node_view, leased, FIELD_MONEY, .flags = FIELD_READONLY,
          .meaning = "What it holds of hard budgets, neither spent nor given back."),
    FIELD(struct node_view, journal, FIELD_OBJECT, .flags = FIELD_READONLY, .shape = &journal_shape,
          .meaning = "What waits in its journal."),
    FIELD(struct node_view, streams, FIELD_INT, .flags = FIELD_READONLY,
          .meaning = "Open event streams, about."),
    FIELD(struct node_view, is_self, FIELD_BOOL, .flags = FIELD_READONLY,
          .meaning = "Whether it gave this answer."),
};
static const struct shape node_shape =
    SHAPE("Node", struct node_view, node_fields,
          "A server that works, or worked, on this database. Figures are those of its last heartbeat.");

struct forget_query {
    bool lost;
};
static const struct field forget_fields[] = {
    FIELD(struct forget_query, lost, FIELD_BOOL,
          .meaning = "Its data folder is gone: calls that are in its journal only are lost, and what it "
                     "holds of budgets "
                     "counts as spent until their period ends."),
};
static const struct shape forget_shape =
    SHAPE("NodeForget", struct forget_query, forget_fields, "How to forget it.");

#define VIEW_COLUMNS                                                                                         \
    "name, id, boot_id, address, version, schema_number, state, started_us, seen_us, log_head, log_number, " \
    "snapshot_version, snapshot_number, leased_nanousd, journal_bytes, journal_calls, journal_oldest_us, "   \
    "streams"
SQL(list_nodes, DB_MAIN, SQL_INSTANCE, "", "SELECT " VIEW_COLUMNS " FROM nodes WHERE beats >= 0");
SQL(find_node, DB_MAIN, SQL_INSTANCE, "u", "SELECT " VIEW_COLUMNS " FROM nodes WHERE id = $1");
SQL(forget_node, DB_MAIN, SQL_INSTANCE, "u", "DELETE FROM nodes WHERE id = $1");
SQL(forget_frames, DB_MAIN, SQL_INSTANCE, "u", "DELETE FROM live_frames WHERE node_id = $1");

static int64_t behind(int64_t head, int64_t number) { return number < head ? head - number : 0; }

static void view_of(struct nodes *n, const struct val *v, int64_t head, usec now_us, struct node_view *out)
{
    struct node_figures f = {
        .snapshot_version = val_int(&v[11]),
        .snapshot_number = val_int(&v[12]),
        .leased_nanousd = val_int(&v[13]),
        .journal_bytes = val_int(&v[14]),
        .journal_calls = val_int(&v[15]),
        .journal_oldest_us = val_int(&v[16]),
        .streams = val_int(&v[17]),
    };
    int64_t number = val_int(&v[10]);
    *out = (struct node_view){
        .name = val_str(&v[0]),
        .id = val_uuid(&v[1]),
        .boot_id = val_uuid(&v[2]),
        .address = val_str(&v[3]),
        .version = val_str(&v[4]),
        .schema = val_int(&v[5]),
        .state = val_str(&v[6]),
        .started_at = val_int(&v[7]),
        .last_seen_at = val_int(&v[8]),
    };
    bool is_stopped = str_eq(out->state, S("stopped"));
    out->is_self = memcmp(&out->boot_id, nodes_boot(n), sizeof(uuid)) == 0;
    if (out->is_self) {
        nodes_figures(n, &f);
        number = n->followed;
        out->state = str_c(n->state);
        out->last_seen_at = now_us;
    } else if (nodes_is_alive(n, &out->id)) {
        head = val_int(&v[9]); /* as it was when it said how far it is */
    } else if (!is_stopped) {
        out->state = S("away");
    }
    out->log_lag = is_stopped ? 0 : behind(head, number);
    out->snapshot_version = f.snapshot_version;
    out->snapshot_lag = is_stopped ? 0 : behind(head, f.snapshot_number);
    out->leased = f.leased_nanousd;
    out->journal = (struct node_journal){f.journal_bytes, f.journal_calls, f.journal_oldest_us};
    out->streams = is_stopped ? 0 : f.streams;
}

static enum errc list_apply(struct api_request *r, struct tx *tx, err *e)
{
    const struct keyset key = {"name", 't', "id", 'u', false, r->cursor, r->limit};
    struct rows rows;
    int64_t head = 0;
    enum errc rc = events_head(tx, &head, e);
    if (rc == ERR_NONE)
        rc = tx_list(tx, r->arena, &list_nodes, NULL, 0, NULL, 0, &key, &rows, &r->next_cursor, e);
    if (rc != ERR_NONE) return rc;
    struct node_view *views = arena_news(r->arena, struct node_view, rows.n);
    if (!views) return err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; i < rows.n; i++)
        view_of(r->service, row_at(&rows, i), head, r->now_us, &views[i]);
    r->items = (struct objects){views, rows.n};
    return ERR_NONE;
}

/* --- DIR/control.sock --- */

SQL(all_nodes, DB_MAIN, SQL_INSTANCE, "", "SELECT " VIEW_COLUMNS " FROM nodes ORDER BY name, id");

struct node_listing {
    struct arena *arena;
    struct rows rows;
    int64_t head;
};

static enum errc all_unit(struct tx *tx, void *ctx, err *e)
{
    struct node_listing *l = ctx;
    enum errc rc = events_head(tx, &l->head, e);
    return rc == ERR_NONE ? tx_query(tx, l->arena, &all_nodes, NULL, 0, &l->rows, e) : rc;
}

enum errc nodes_command(void *nodes, struct arena *a, const struct json *request, struct json_writer *result,
                        err *e)
{
    struct nodes *n = nodes;
    struct node_listing l = {.arena = a};
    (void)request;
    enum errc rc = db_read(store_db(n->store, DB_MAIN), all_unit, &l, e);
    if (rc != ERR_NONE) return rc;
    json_array(result);
    for (unsigned i = 0; i < l.rows.n; i++) {
        struct node_view v;
        view_of(n, row_at(&l.rows, i), l.head, clock_now_us(), &v);
        shape_encode(&node_shape, &v, result);
    }
    json_end(result);
    return ERR_NONE;
}

/* --- forgetting --- */

/* Asks who knows what the node still holds, which is in another database than its row. */
static enum errc forget_prepare(struct api_request *r, err *e)
{
    struct nodes *n = r->service;
    int64_t *leased = arena_new(r->arena, int64_t);
    if (!leased) return err_code(e, ERR_TOO_LARGE);
    r->state = leased;
    return n->holds ? n->holds(n->holds_ctx, &r->path_id[0], leased, e) : ERR_NONE;
}

static enum errc forget_apply(struct api_request *r, struct tx *tx, err *e)
{
    const struct forget_query *q = r->query;
    const int64_t *leased = r->state;
    const struct val *row;
    struct node_view v;
    char money[MONEY_TEXT_LEN];
    enum errc rc = tx_query_row(tx, r->arena, &find_node, PARAMS(v_uuid(&r->path_id[0])), &row, e);
    if (rc == ERR_NOT_FOUND) return err_set(e, ERR_NOT_FOUND, "there is no such node");
    if (rc != ERR_NONE) return rc;
    view_of(r->service, row, 0, r->now_us, &v);
    if (!str_eq(v.state, S("stopped")) && !str_eq(v.state, S("away")))
        return err_set(e, ERR_CONFLICT, "the node is %.*s: stop it first", STR(v.state));
    if (v.journal.calls && !q->lost)
        return err_set(
            e, ERR_CONFLICT,
            "its journal has %lld calls that are not in the database: start it again, or import it",
            (long long)v.journal.calls);
    if (*leased > 0 && !q->lost)
        return err_set(e, ERR_CONFLICT, "it holds %.*s USD of budgets: start it again, or import its journal",
                       STR(money_format(*leased, money)));
    if ((rc = tx_exec(tx, &forget_node, PARAMS(v_uuid(&v.id)), NULL, e)) != ERR_NONE ||
        (rc = tx_exec(tx, &forget_frames, PARAMS(v_uuid(&v.id)), NULL, e)) != ERR_NONE)
        return rc;
    struct buf metadata;
    struct json_writer w;
    buf_init(&metadata, EVENT_BYTES_MAX);
    json_writer_init(&w, &metadata);
    json_object(&w);
    json_put_str(&w, "name", v.name);
    json_put_str(&w, "state", v.state);
    json_put_bool(&w, "lost", q->lost);
    json_put_int(&w, "journal_calls", v.journal.calls);
    json_put_int(&w, "leased_nanousd", *leased);
    json_end(&w);
    struct event ev = event_of(r, S("node.forgotten"), 0);
    ev.resource_type = S("node");
    ev.resource_id = v.id;
    ev.metadata = buf_str(&metadata);
    rc = metadata.failed ? err_code(e, metadata.failed) : tx_event(tx, &ev, e);
    buf_fini(&metadata);
    return rc;
}

static void forget_after(struct api_request *r) { nodes_wake(r->service); }

static const struct api_route routes[] = {
    {.method = HTTP_GET,
     .path = "/api/nodes",
     .name = "nodes_list",
     .access = ACCESS_INSTANCE_ADMIN,
     .scope = SCOPE_INSTANCE,
     .answer = &node_shape,
     .is_list = true,
     .apply = list_apply,
     .summary = "The servers on this database",
     .text = "Each with its state, its release and what waits there. With SQLite it is this one alone."},
    {.method = HTTP_DELETE,
     .path = "/api/nodes/:id",
     .name = "nodes_forget",
     .access = ACCESS_INSTANCE_ADMIN,
     .scope = SCOPE_INSTANCE,
     .effect = EFFECT_STATE,
     .query = &forget_shape,
     .prepare = forget_prepare,
     .apply = forget_apply,
     .after = forget_after,
     .summary = "Forget a node that is gone for good",
     .text =
         "409 while it is alive, while its journal has calls that are not in the database, and while it "
         "holds of "
         "budgets: start it once more, or `catalyst journal import` its folder. Where the folder is lost, "
         "`lost=true` forgets it nevertheless. A node that starts again is back."},
};

const struct api_table nodes_api = {"nodes", routes, LENGTH_OF(routes)};
