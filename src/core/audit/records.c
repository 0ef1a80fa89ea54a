#include "core/audit/records.h"

#define RECORDS_AT_ONCE 1024
#define RECORD_COLUMNS "number, workspace_number, id, workspace_id, leaf, bytes"

SQL(records_of_instance, DB_MAIN, SQL_INSTANCE, "ii", "SELECT " RECORD_COLUMNS " FROM events WHERE number > $1 ORDER BY number LIMIT $2");
SQL(records_of_workspace, DB_MAIN, 0, "uii",
    "SELECT " RECORD_COLUMNS " FROM events WHERE workspace_id = $1 AND number > $2 ORDER BY number LIMIT $3");
SQL(record_from, DB_MAIN, 0, "ui",
    "SELECT number, workspace_number FROM events WHERE workspace_id = $1 AND number > $2 ORDER BY number LIMIT 1");
SQL(records_end, DB_MAIN, SQL_INSTANCE, "", "SELECT number FROM events WHERE number IS NOT NULL ORDER BY number DESC LIMIT 1");

enum errc records_read(struct tx *tx, struct arena *a, const uuid *tree, int64_t after, unsigned n, struct record **out, unsigned *n_out, err *e)
{
    struct rows rows;
    *n_out = 0;
    enum errc rc = uuid_is_nil(tree) ? tx_query(tx, a, &records_of_instance, PARAMS(v_int(after), v_int(n)), &rows, e)
                                     : tx_query(tx, a, &records_of_workspace, PARAMS(v_uuid(tree), v_int(after), v_int(n)), &rows, e);
    if (rc != ERR_NONE) return rc;
    *out = arena_news(a, struct record, rows.n);
    if (!*out) return err_set(e, ERR_TOO_LARGE, "%u events do not fit into memory", rows.n);
    for (unsigned i = 0; i < rows.n; i++) {
        const struct val *v = row_at(&rows, i);
        struct record *r = &(*out)[i];
        *r = (struct record){.number = val_int(&v[0]),
                             .workspace_number = val_int(&v[1]),
                             .id = val_uuid(&v[2]),
                             .workspace = val_uuid(&v[3]),
                             .bytes = val_str(&v[5])};
        r->is_dropped = r->bytes.len == 0;
        if (val_str(&v[4]).len == sizeof r->leaf) memcpy(r->leaf.b, val_str(&v[4]).p, sizeof r->leaf);
    }
    *n_out = rows.n;
    return ERR_NONE;
}

/* Both numberings have one order, and there is an index for one of them: halves until the two ends meet. */
enum errc records_seek(struct tx *tx, const uuid *tree, int64_t number, int64_t *after, err *e)
{
    struct arena a;
    struct rows rows;
    *after = number - 1;
    if (uuid_is_nil(tree)) return ERR_NONE;
    arena_init(&a, 64u << 10, 1024);
    enum errc rc = tx_query(tx, &a, &records_end, NULL, 0, &rows, e);
    int64_t low = 0, high = rc == ERR_NONE && rows.n ? val_int(&row_at(&rows, 0)[0]) : 0; /* low: what comes next is not behind it */
    while (rc == ERR_NONE && low < high) {
        int64_t middle = low + (high - low) / 2;
        struct arena_mark mark = arena_mark(&a);
        rc = tx_query(tx, &a, &record_from, PARAMS(v_uuid(tree), v_int(middle)), &rows, e);
        if (rc == ERR_NONE && rows.n && val_int(&row_at(&rows, 0)[1]) < number)
            low = val_int(&row_at(&rows, 0)[0]);
        else
            high = middle;
        arena_reset(&a, mark);
    }
    *after = low;
    arena_fini(&a);
    return rc;
}

struct reading {
    const uuid *tree;
    int64_t first; /* its number in the tree */
    struct arena *arena;
    unsigned wanted, n;
    struct record *records;
};

static enum errc reading_unit(struct tx *tx, void *ctx, err *e)
{
    struct reading *r = ctx;
    int64_t after = 0;
    enum errc rc = records_seek(tx, r->tree, r->first, &after, e);
    return rc == ERR_NONE ? records_read(tx, r->arena, r->tree, after, r->wanted, &r->records, &r->n, e) : rc;
}

enum errc records_segment(struct db *db, const uuid *node, const uuid *tree, int64_t first, int64_t last, struct buf *out, err *e)
{
    enum errc rc = ERR_NONE;
    segment_begin(&(struct segment_header){*node, *tree, first}, out);
    for (int64_t at = first; at <= last && rc == ERR_NONE;) {
        struct arena arena;
        int64_t left = last - at + 1;
        arena_init(&arena, 64u << 20, 64u << 10);
        struct reading r = {.tree = tree, .first = at, .arena = &arena, .wanted = left < RECORDS_AT_ONCE ? (unsigned)left : RECORDS_AT_ONCE};
        rc = db_read(db, reading_unit, &r, e);
        for (unsigned i = 0; rc == ERR_NONE && i < r.n; i++, at++) {
            if (record_number(&r.records[i], tree) != at)
                rc = err_set(e, ERR_CORRUPT, "event %lld of the log is not there", (long long)at);
            else
                segment_put(&r.records[i], out);
        }
        if (rc == ERR_NONE && r.n == 0) rc = err_set(e, ERR_CORRUPT, "event %lld of the log is not there", (long long)at);
        arena_fini(&arena);
    }
    segment_end(last - first + 1, out);
    if (rc == ERR_NONE && out->failed) rc = err_set(e, out->failed, "a segment of the log is larger than %zu bytes", out->max);
    return rc;
}
