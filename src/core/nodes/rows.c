/* rows.c - the SQL of nodes.
 *
 * Heartbeats run READ COMMITTED and do not wait for the disk: each decides on its own row only, and one that is lost is
 * followed by the next. Taking a row runs SERIALIZABLE: of two that take one id at once, one does.
 */
#include "core/nodes/internal.h"

#include "json/write.h"

#define COLUMNS                                                                                              \
    "id, boot_id, process, name, address, version, schema_number, started_us, beats, state, seen_us, "       \
    "log_head, log_number, snapshot_version, snapshot_number, journal_bytes, journal_calls, "                \
    "journal_oldest_us, leased_nanousd, streams"
SQL(add_node, DB_MAIN, SQL_INSTANCE, "uuttttiiitiiiiiiiiii",
    "INSERT INTO nodes (" COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, "
    "$15, $16, $17, $18, $19, $20)");
SQL(drop_node, DB_MAIN, SQL_INSTANCE, "u", "DELETE FROM nodes WHERE id = $1");
SQL(find_node_row, DB_MAIN, SQL_INSTANCE, "u", "SELECT boot_id, beats, state FROM nodes WHERE id = $1");
SQL(beat_node, DB_MAIN, SQL_INSTANCE, "tiiiiiiiiiiuu",
    "UPDATE nodes SET beats = beats + 1, state = $1, seen_us = $2, log_head = $3, log_number = $4, "
    "snapshot_version = $5, snapshot_number = $6, journal_bytes = $7, journal_calls = $8, "
    "journal_oldest_us = $9, leased_nanousd = $10, streams = $11 "
    "WHERE id = $12 AND boot_id = $13 AND state <> 'away'");
SQL(node_is_back, DB_MAIN, SQL_INSTANCE, "tuu",
    "UPDATE nodes SET state = $1 WHERE id = $2 AND boot_id = $3 AND state = 'away'");
SQL(look_at_nodes, DB_MAIN, SQL_INSTANCE, "",
    "SELECT id, boot_id, beats, state, streams, process, address FROM nodes ORDER BY id");
SQL(node_is_away, DB_MAIN, SQL_INSTANCE, "uui",
    "UPDATE nodes SET state = 'away' WHERE id = $1 AND boot_id = $2 AND beats = $3 AND state <> 'away' "
    "AND state <> 'stopped'");
SQL(node_name_of, DB_MAIN, SQL_INSTANCE, "u", "SELECT name, version FROM nodes WHERE id = $1");

SQL(has_nodes, DB_MAIN, SQL_INSTANCE, "", "SELECT COUNT(*) FROM schema_migrations WHERE number = 8");
SQL(stop_all_nodes, DB_MAIN, SQL_INSTANCE, "", "UPDATE nodes SET state = 'stopped' WHERE state <> 'stopped'");

/* --- events --- */

static enum errc add_event(struct tx *tx, const char *type, const uuid *event_id, usec at_us,
                           const uuid *node, const uuid *boot, str name, str version, err *e)
{
    char text[UUID_TEXT_LEN + 1];
    struct buf metadata;
    struct json_writer w;
    buf_init(&metadata, EVENT_BYTES_MAX);
    json_writer_init(&w, &metadata);
    json_object(&w);
    json_put_str(&w, "boot", uuid_format(boot, text));
    json_put_str(&w, "name", name);
    json_put_str(&w, "release", version);
    json_end(&w);
    struct event ev = {
        .id = *event_id,
        .at_us = at_us,
        .type = str_c(type),
        .resource_type = S("node"),
        .resource_id = *node,
        .status = S("success"),
        .metadata = buf_str(&metadata),
    };
    enum errc rc = metadata.failed ? err_code(e, metadata.failed) : tx_event(tx, &ev, e);
    buf_fini(&metadata);
    return rc;
}

static enum errc add_own_event(struct tx *tx, const char *type, const uuid *event_id,
                               const struct node_row *r, err *e)
{
    return add_event(tx, type, event_id, r->seen_us, &r->id, &r->boot, r->name, r->version, e);
}

/* --- the own row --- */

static enum errc add_row(struct tx *tx, const struct node_row *r, int64_t beats, err *e)
{
    const struct node_figures *f = &r->figures;
    return tx_exec_unaudited(
        tx, &add_node,
        PARAMS(v_uuid(&r->id), v_uuid(&r->boot), v_text(str_c(r->process)), v_text(r->name),
               v_text(r->address), v_text(r->version), v_int(r->schema), v_int(r->started_us), v_int(beats),
               v_text(str_c(r->state)), v_int(r->seen_us), v_int(r->log_head), v_int(r->log_number),
               v_int(f->snapshot_version), v_int(f->snapshot_number), v_int(f->journal_bytes),
               v_int(f->journal_calls), v_int_or_null(f->journal_oldest_us), v_int(f->leased_nanousd),
               v_int(f->streams)),
        NULL, e);
}

static enum errc find_row(struct tx *tx, const uuid *id, struct node_signs *out, err *e)
{
    struct arena a;
    struct rows rows;
    *out = (struct node_signs){0};
    arena_init(&a, 4096, 512);
    enum errc rc = tx_query(tx, &a, &find_node_row, PARAMS(v_uuid(id)), &rows, e);
    if (rc == ERR_NONE && rows.n) {
        const struct val *v = row_at(&rows, 0);
        *out = (struct node_signs){true, str_eq(val_str(&v[2]), S("stopped")), val_uuid(&v[0]), val_int(&v[1])};
    }
    arena_fini(&a);
    return rc;
}

enum errc node_claim_unit(struct tx *tx, void *ctx, err *e)
{
    struct node_claim *c = ctx;
    struct node_signs old;
    enum errc rc = find_row(tx, &c->row->id, &old, e);
    if (rc != ERR_NONE) return rc;
    c->is_taken = old.is_known != c->has_old ||
                  (old.is_known &&
                   (old.beats != c->old_beats || memcmp(&old.boot, &c->old_boot, sizeof old.boot) != 0));
    if (c->is_taken) return ERR_NONE;
    rc = tx_exec_unaudited(tx, &drop_node, PARAMS(v_uuid(&c->row->id)), NULL, e);
    if (rc == ERR_NONE) rc = add_row(tx, c->row, old.beats + 1, e);
    if (rc == ERR_NONE) rc = tx_tell(tx, TOPIC_NODES, e);
    return rc != ERR_NONE ? rc : add_own_event(tx, "node.started", &c->event_id, c->row, e);
}

static enum errc beat(struct tx *tx, const struct node_row *r, int64_t *changed, err *e)
{
    const struct node_figures *f = &r->figures;
    return tx_exec_unaudited(
        tx, &beat_node,
        PARAMS(v_text(str_c(r->state)), v_int(r->seen_us), v_int(r->log_head), v_int(r->log_number),
               v_int(f->snapshot_version), v_int(f->snapshot_number), v_int(f->journal_bytes),
               v_int(f->journal_calls), v_int_or_null(f->journal_oldest_us), v_int(f->leased_nanousd),
               v_int(f->streams), v_uuid(&r->id), v_uuid(&r->boot)),
        changed, e);
}

/* The row was not as it should be: somebody gave this node up, the row is gone, or another's. */
static enum errc mend(struct tx *tx, struct node_beat *b, err *e)
{
    struct node_signs found;
    int64_t changed = 0;
    const struct node_row *r = b->row;
    enum errc rc = find_row(tx, &r->id, &found, e);
    if (rc != ERR_NONE) return rc;
    if (found.is_known && memcmp(&found.boot, &r->boot, sizeof found.boot) != 0) {
        b->is_doubled = !found.is_stopped;
        if (b->is_doubled || b->is_stop) return ERR_NONE;
        rc = tx_exec_unaudited(tx, &drop_node, PARAMS(v_uuid(&r->id)), NULL, e);
        found.is_known = false;
    }
    if (rc == ERR_NONE && !found.is_known) return add_row(tx, r, found.beats + 1, e);
    if (rc == ERR_NONE)
        rc =
            tx_exec_unaudited(tx, &node_is_back,
                              PARAMS(v_text(str_c(r->state)), v_uuid(&r->id), v_uuid(&r->boot)), &changed, e);
    if (rc == ERR_NONE && changed) {
        b->is_returned = true;
        rc = b->is_stop ? ERR_NONE : add_own_event(tx, "node.returned", &b->event_id, r, e);
    }
    return rc != ERR_NONE ? rc : beat(tx, r, NULL, e);
}

enum errc node_beat_unit(struct tx *tx, void *ctx, err *e)
{
    struct node_beat *b = ctx;
    int64_t changed = 0;
    b->is_returned = b->is_doubled = false;
    enum errc rc = tx_read_committed(tx, e);
    if (rc == ERR_NONE && !b->is_stop) rc = tx_without_sync(tx, e);
    if (rc == ERR_NONE) rc = beat(tx, b->row, &changed, e);
    if (rc == ERR_NONE && changed == 0) rc = mend(tx, b, e);
    if (rc == ERR_NONE && b->is_told) rc = tx_tell(tx, TOPIC_NODES, e);
    if (rc == ERR_NONE && b->is_stop && !b->is_doubled)
        rc = add_own_event(tx, "node.stopped", &b->event_id, b->row, e);
    return rc;
}

/* --- the others --- */

enum errc node_look_unit(struct tx *tx, void *ctx, err *e)
{
    struct node_look *l = ctx;
    enum errc rc = events_head(tx, &l->head, e);
    return rc != ERR_NONE ? rc : tx_query(tx, l->arena, &look_at_nodes, NULL, 0, &l->rows, e);
}

enum errc node_away_unit(struct tx *tx, void *ctx, err *e)
{
    struct node_away *w = ctx;
    struct arena a;
    const struct val *row;
    int64_t changed = 0;
    w->is_first = false;
    arena_init(&a, 8192, 512);
    enum errc rc = tx_read_committed(tx, e);
    if (rc == ERR_NONE)
        rc = tx_exec_unaudited(tx, &node_is_away, PARAMS(v_uuid(&w->id), v_uuid(&w->boot), v_int(w->beats)),
                               &changed, e);
    if (rc == ERR_NONE && changed) {
        w->is_first = true;
        rc = tx_query_row(tx, &a, &node_name_of, PARAMS(v_uuid(&w->id)), &row, e);
        if (rc == ERR_NONE)
            rc = add_event(tx, "node.away", &w->event_id, w->now_us, &w->id, &w->boot, val_str(&row[0]),
                           val_str(&row[1]), e);
    }
    arena_fini(&a);
    return rc;
}

/* --- after a restore --- */

static enum errc stop_all_unit(struct tx *tx, void *ctx, err *e)
{
    struct arena a;
    const struct val *row;
    (void)ctx;
    arena_init(&a, 4096, 512);
    enum errc rc = tx_query_row(tx, &a, &has_nodes, NULL, 0, &row, e);
    if (rc == ERR_NONE && val_int(row)) rc = tx_exec_unaudited(tx, &stop_all_nodes, NULL, 0, NULL, e);
    arena_fini(&a);
    return rc;
}

enum errc nodes_have_stopped(struct store *store, err *e)
{
    return db_write(store_db(store, DB_MAIN), stop_all_unit, NULL, e);
}

SQL(take_over_node, DB_MAIN, SQL_INSTANCE, "u",
    "UPDATE nodes SET state = 'stopped', journal_bytes = 0, journal_calls = 0, journal_oldest_us = NULL, "
    "leased_nanousd = 0, streams = 0 WHERE id = $1");

static enum errc take_over_unit(struct tx *tx, void *ctx, err *e)
{
    return tx_exec_unaudited(tx, &take_over_node, PARAMS(v_uuid(ctx)), NULL, e);
}

enum errc nodes_taken_over(struct store *store, const uuid *id, err *e)
{
    uuid node = *id;
    return db_write(store_db(store, DB_MAIN), take_over_unit, &node, e);
}

struct signs_job {
    const uuid *id;
    struct node_signs *out;
};

static enum errc signs_unit(struct tx *tx, void *ctx, err *e)
{
    const struct signs_job *j = ctx;
    return find_row(tx, j->id, j->out, e);
}

enum errc nodes_signs(struct store *store, const uuid *id, struct node_signs *out, err *e)
{
    struct signs_job j = {id, out};
    return db_read(store_db(store, DB_MAIN), signs_unit, &j, e);
}
