/* pages.c - parts of exports as rows: with PostgreSQL, where the node that is asked for a part, or goes on with an export, need
 * not be the one that wrote it. */
#include "core/export/internal.h"

SQL(export_page_add, DB_MAIN, SQL_INSTANCE, "uiib",
    "INSERT INTO export_pages (job_id, part, at_byte, lines) VALUES ($1, $2, $3, $4)");
SQL(export_pages_cut, DB_MAIN, SQL_INSTANCE, "uii",
    "DELETE FROM export_pages WHERE job_id = $1 AND (part > $2 OR part = $2 AND at_byte >= $3)");
SQL(export_bytes_before, DB_MAIN, SQL_INSTANCE, "uii",
    "SELECT CAST(COALESCE(SUM(LENGTH(lines)), 0) AS BIGINT) FROM export_pages WHERE job_id = $1 AND (part < $2 OR part = $2 AND "
    "at_byte < $3)");
SQL(export_part_pages, DB_MAIN, SQL_INSTANCE, "ui",
    "SELECT lines FROM export_pages WHERE job_id = $1 AND part = $2 ORDER BY at_byte");
SQL(export_pages_forget, DB_MAIN, SQL_INSTANCE, "",
    "DELETE FROM export_pages WHERE job_id NOT IN (SELECT id FROM jobs)");

struct work {
    const struct job_run *run;
    unsigned part;
    int64_t bytes, size;
    str lines;
};

static enum errc size_unit(struct tx *tx, void *ctx, err *e)
{
    struct work *w = ctx;
    struct arena a;
    const struct val *row;
    arena_init(&a, 4096, 512);
    enum errc rc = tx_query_row(tx, &a, &export_bytes_before,
                                PARAMS(v_uuid(&job_of(w->run)->id), v_int(w->part), v_int(w->bytes)), &row, e);
    if (rc == ERR_NONE) w->size = val_int(row);
    arena_fini(&a);
    return rc;
}

enum errc export_pages_size(const struct job_run *run, unsigned part, int64_t bytes, int64_t *size, err *e)
{
    struct work w = {.run = run, .part = part, .bytes = bytes};
    enum errc rc = db_read(store_db(job_store(run), DB_MAIN), size_unit, &w, e);
    *size = w.size;
    return rc;
}

static enum errc cut_unit(struct tx *tx, void *ctx, err *e)
{
    const struct work *w = ctx;
    enum errc rc = tx_job_holds(tx, w->run, e);
    if (rc == ERR_NONE) rc = tx_exec_unaudited(tx, &export_pages_forget, NULL, 0, NULL, e);
    return rc != ERR_NONE
               ? rc
               : tx_exec_unaudited(tx, &export_pages_cut,
                                   PARAMS(v_uuid(&job_of(w->run)->id), v_int(w->part), v_int(w->bytes)), NULL, e);
}

enum errc export_pages_begin(const struct job_run *run, unsigned part, int64_t bytes, err *e)
{
    struct work w = {.run = run, .part = part, .bytes = bytes};
    return db_write(store_db(job_store(run), DB_MAIN), cut_unit, &w, e);
}

static enum errc add_unit(struct tx *tx, void *ctx, err *e)
{
    const struct work *w = ctx;
    enum errc rc = tx_job_holds(tx, w->run, e);
    return rc != ERR_NONE ? rc
                          : tx_exec_unaudited(tx, &export_page_add,
                                              PARAMS(v_uuid(&job_of(w->run)->id), v_int(w->part), v_int(w->bytes),
                                                     v_blob(w->lines)),
                                              NULL, e);
}

enum errc export_pages_put(const struct job_run *run, unsigned part, int64_t bytes, str lines, err *e)
{
    struct work w = {.run = run, .part = part, .bytes = bytes, .lines = lines};
    return db_write(store_db(job_store(run), DB_MAIN), add_unit, &w, e);
}

struct reading {
    struct arena *a;
    const uuid *job;
    unsigned part;
    struct rows rows;
};

static enum errc read_unit(struct tx *tx, void *ctx, err *e)
{
    struct reading *r = ctx;
    return tx_query(tx, r->a, &export_part_pages, PARAMS(v_uuid(r->job), v_int(r->part)), &r->rows, e);
}

enum errc export_pages_read(const struct export *x, struct arena *a, const uuid *job, unsigned part, str *out, err *e)
{
    struct arena rows;
    struct reading r = {.a = &rows, .job = job, .part = part};
    size_t len = 0;
    *out = (str){0};
    arena_init(&rows, EXPORT_PAGE_ARENA, 64u << 10);
    enum errc rc = db_read(store_db(x->setup.store, DB_MAIN), read_unit, &r, e);
    for (unsigned i = 0; rc == ERR_NONE && i < r.rows.n; i++)
        len += val_str(row_at(&r.rows, i)).len;
    char *all = rc == ERR_NONE && r.rows.n ? arena_bytes(a, len) : NULL, *to = all;
    if (rc == ERR_NONE && r.rows.n && !all) rc = err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; all && i < r.rows.n; i++) {
        str lines = val_str(row_at(&r.rows, i));
        memcpy(to, lines.p, lines.len);
        to += lines.len;
    }
    if (all) *out = str_of(all, len);
    arena_fini(&rows);
    return rc;
}
