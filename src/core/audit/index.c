/* index.c - what finding needs beside the events: spans of time, and columns that a release before left out. */
#include "base/log.h"
#include "core/audit/log_internal.h"
#include "core/events.h"
#include "json/tree.h"

#define TICK_US (5LL * USEC_PER_S)
#define BATCH 200
#define SPANS_AT_ONCE 8
#define REST_MOST (16 * LOG_SPAN)

/* --- spans --- */

SQL(next_span, DB_MAIN, SQL_INSTANCE, "", "SELECT COALESCE(MAX(first_number) + 1024, 1) FROM event_spans");
SQL(times_of_numbers, DB_MAIN, SQL_INSTANCE, "ii",
    "SELECT COUNT(*), MIN(at_us), MAX(at_us) FROM events WHERE number >= $1 AND number < $2");
SQL(add_span, DB_MAIN, SQL_INSTANCE, "iii",
    "INSERT INTO event_spans (first_number, from_us, until_us) VALUES ($1, $2, $3) ON CONFLICT (first_number) DO NOTHING");
SQL(spans_of_time, DB_MAIN, SQL_INSTANCE, "ii",
    "SELECT MIN(first_number), MAX(first_number), (SELECT MAX(first_number) + 1024 FROM event_spans) FROM event_spans "
    "WHERE until_us >= $1 AND from_us < $2");

static enum errc times_of(struct tx *tx, struct arena *a, int64_t first, int64_t behind, int64_t *n, usec *from_us, usec *until_us,
                          err *e)
{
    const struct val *v;
    enum errc rc = tx_query_row(tx, a, &times_of_numbers, PARAMS(v_int(first), v_int(behind)), &v, e);
    if (rc != ERR_NONE) return rc;
    *n = val_int(&v[0]);
    *from_us = val_int(&v[1]);
    *until_us = val_int(&v[2]);
    return ERR_NONE;
}

/* Whether events behind the last span can be of that time. */
static enum errc is_in_rest(struct tx *tx, struct arena *a, int64_t first, usec from_us, usec until_us, bool *is, err *e)
{
    int64_t head, n = 0;
    usec earliest = 0, latest = 0;
    enum errc rc = events_head(tx, &head, e);
    *is = true;
    if (rc != ERR_NONE || head - first > REST_MOST) return rc; /* spans are being made: it would take longer than to look */
    rc = times_of(tx, a, first, INT64_MAX, &n, &earliest, &latest, e);
    *is = n && latest >= from_us && earliest < until_us;
    return rc;
}

enum errc log_numbers_of_time(struct tx *tx, usec from_us, usec until_us, int64_t *above, int64_t *below, err *e)
{
    struct arena a;
    const struct val *v;
    bool is_rest = true;
    usec from = from_us == NO_VALUE ? INT64_MIN : from_us, until = until_us == NO_VALUE ? INT64_MAX : until_us;
    *above = 0;
    *below = INT64_MAX;
    if (from_us == NO_VALUE && until_us == NO_VALUE) return ERR_NONE;
    arena_init(&a, 64u << 10, 1024);
    enum errc rc = tx_query_row(tx, &a, &spans_of_time, PARAMS(v_int(from), v_int(until)), &v, e);
    if (rc == ERR_NONE) {
        int64_t first = val_int(&v[0]), last = val_int(&v[1]), rest = v[2].type == VAL_NULL ? 1 : val_int(&v[2]);
        rc = is_in_rest(tx, &a, rest, from, until, &is_rest, e);
        *above = (first == NO_VALUE ? rest : first) - 1;
        *below = is_rest ? INT64_MAX : last == NO_VALUE ? rest : last + LOG_SPAN;
    }
    arena_fini(&a);
    return rc;
}

struct stepping {
    bool has_more;
};

static enum errc spans_unit(struct tx *tx, void *ctx, err *e)
{
    struct stepping *s = ctx;
    struct arena a;
    const struct val *v;
    arena_init(&a, 64u << 10, 1024);
    enum errc rc = tx_read_committed(tx, e);
    if (rc == ERR_NONE) rc = tx_query_row(tx, &a, &next_span, NULL, 0, &v, e);
    int64_t first = rc == ERR_NONE ? val_int(&v[0]) : 0, n = LOG_SPAN;
    s->has_more = true;
    for (unsigned i = 0; i < SPANS_AT_ONCE && rc == ERR_NONE && s->has_more; i++, first += LOG_SPAN) {
        usec from_us = 0, until_us = 0;
        rc = times_of(tx, &a, first, first + LOG_SPAN, &n, &from_us, &until_us, e);
        s->has_more = rc == ERR_NONE && n == LOG_SPAN;
        if (s->has_more)
            rc = tx_exec_unaudited(tx, &add_span, PARAMS(v_int(first), v_int(from_us), v_int(until_us)), NULL, e);
    }
    arena_fini(&a);
    return rc;
}

/* --- rows of a release before --- */

SQL(rows_without_kind, DB_MAIN, 0, "i",
    "SELECT number, workspace_id, type, resource_type, bytes FROM events WHERE number IS NOT NULL AND kind IS NULL ORDER BY number "
    "LIMIT $1");
SQL(set_kind, DB_MAIN, SQL_INSTANCE, "itui",
    "UPDATE events SET kind = $1, error = $2, credential_id = $3 WHERE number = $4");

struct filling {
    struct arena *a;
    struct rows rows;
    struct val *values; /* four for each row */
};

static enum errc rows_unit(struct tx *tx, void *ctx, err *e)
{
    struct filling *f = ctx;
    return tx_query(tx, f->a, &rows_without_kind, PARAMS(v_int(BATCH)), &f->rows, e);
}

static enum errc fill_unit(struct tx *tx, void *ctx, err *e)
{
    struct filling *f = ctx;
    enum errc rc = tx_read_committed(tx, e);
    for (unsigned i = 0; i < f->rows.n && rc == ERR_NONE; i++)
        rc = tx_exec_unaudited(tx, &set_kind, &f->values[4 * i], 4, NULL, e);
    return rc;
}

/* What its columns are, by its bytes; what is damaged is found as a success without a credential. */
static enum errc columns_of(struct arena *a, const struct val *row, struct val out[4], err *e)
{
    struct json *root = NULL;
    str error = {0};
    uuid *credential = arena_new(a, uuid);
    if (!credential) return err_code(e, ERR_TOO_LARGE);
    if (json_parse(a, val_str(&row[4]), &root, NULL) == ERR_NONE) {
        const struct json *status = json_get(root, S("status")), *name = json_get(root, S("error")),
                          *id = json_at(root, S("actor.credential"));
        if (status && str_eq(status->text, S("failure"))) error = name && name->type == JSON_STRING ? name->text : S("");
        if (!id || id->type != JSON_STRING || !uuid_parse(id->text, credential)) *credential = (uuid){0};
    }
    out[0] = v_int(event_kind(val_str(&row[2]), val_str(&row[3]), error));
    out[1] = v_text_or_null(error);
    out[2] = v_uuid_or_null(credential);
    out[3] = row[0];
    return ERR_NONE;
}

static enum errc fill_step(struct store *s, bool *has_more, err *e)
{
    struct arena a;
    struct filling f = {.a = &a};
    arena_init(&a, 64u << 20, 64u << 10);
    enum errc rc = db_read(store_db(s, DB_MAIN), rows_unit, &f, e);
    if (rc == ERR_NONE && f.rows.n) {
        f.values = arena_news(&a, struct val, 4 * f.rows.n);
        if (!f.values) rc = err_code(e, ERR_TOO_LARGE);
        for (unsigned i = 0; i < f.rows.n && rc == ERR_NONE; i++)
            rc = columns_of(&a, row_at(&f.rows, i), &f.values[4 * i], e);
        if (rc == ERR_NONE) rc = db_write(store_db(s, DB_MAIN), fill_unit, &f, e);
    }
    *has_more = rc == ERR_NONE && f.rows.n == BATCH;
    arena_fini(&a);
    return rc;
}

enum errc log_index_step(struct store *s, bool *has_more, err *e)
{
    struct stepping stepping = {0};
    bool has_more_rows = false;
    enum errc rc = db_write(store_db(s, DB_MAIN), spans_unit, &stepping, e);
    if (rc == ERR_NONE) rc = fill_step(s, &has_more_rows, e);
    *has_more = rc == ERR_NONE && (stepping.has_more || has_more_rows);
    return rc;
}

/* --- the thread --- */

static void *index_main(void *arg)
{
    struct audit_log *l = arg;
    usec wait_us = 0;
    bool was_well = true;
    while (waker_wait(&l->wake, wait_us)) {
        err e = {0};
        bool has_more = false;
        enum errc rc = log_index_step(l->setup.store, &has_more, &e);
        if (rc != ERR_NONE && was_well) log_error(LOG_WARN, "log_not_indexed", &e);
        was_well = rc == ERR_NONE;
        wait_us = has_more ? 0 : TICK_US;
    }
    return NULL;
}

enum errc audit_log_start(struct audit_log *l, err *e)
{
    int number = pthread_create(&l->thread, NULL, index_main, l);
    if (number != 0) return err_errno(e, ERR_INTERNAL, number, "starting the thread of the log's index");
    l->is_running = true;
    return ERR_NONE;
}

void audit_log_stop(struct audit_log *l)
{
    if (!l || !l->is_running) return;
    waker_stop(&l->wake);
    pthread_join(l->thread, NULL);
    l->is_running = false;
}
