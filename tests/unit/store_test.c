/* Units of work and statements, the same on both engines. */
#include "base/stats.h"
#include "store_tables.h"

#include <pthread.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <time.h>

SQL(add_thing, DB_MAIN, 0, "uutirb",
    "INSERT INTO things (id, workspace_id, name, n, weight, data) VALUES ($1, $2, $3, $4, $5, $6)");
SQL(get_thing, DB_MAIN, 0, "uu",
    "SELECT name, n, weight, data, id FROM things WHERE workspace_id = $1 AND id = $2");
SQL(get_n, DB_MAIN, 0, "u", "SELECT n FROM things WHERE id = $1 /* workspace_id */");
SQL(set_n, DB_MAIN, 0, "iu", "UPDATE things SET n = $1 WHERE id = $2 /* workspace_id */");
SQL(count_things, DB_MAIN, SQL_INSTANCE, "", "SELECT COUNT(*) FROM things");
SQL(list_things, DB_MAIN, SQL_INSTANCE, "", "SELECT id FROM things ORDER BY id");
SQL(drop_things, DB_MAIN, SQL_INSTANCE, "i", "DELETE FROM things WHERE n >= $1 RETURNING n");
SQL(add_part, DB_MAIN, SQL_INSTANCE, "ui", "INSERT INTO parts (thing_id, n) VALUES ($1, $2) RETURNING id");
SQL(last_part, DB_MAIN, SQL_INSTANCE, "", "SELECT MAX(id) FROM parts");
SQL(drop_parts, DB_MAIN, SQL_INSTANCE, "", "DELETE FROM parts");
SQL(sum_n, DB_MAIN, SQL_INSTANCE, "", "SELECT CAST(SUM(n) AS BIGINT) FROM things");
SQL(sum_numeric, DB_MAIN, SQL_INSTANCE, "", "SELECT SUM(n) FROM things");
SQL(slow, DB_MAIN, SQL_INSTANCE, "",
    "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 2000000000) SELECT COUNT(*) "
    "FROM c");
SQL(types, DB_MAIN, SQL_INSTANCE, "",
    "SELECT 1 = 1, 1 = 2, 7, CAST(-5 AS BIGINT), CAST(1.5 AS DOUBLE PRECISION), 'x', NULL, CAST('y' AS "
    "VARCHAR(3))");
SQL(add_call, DB_USAGE, SQL_INSTANCE, "uiti",
    "INSERT INTO calls (node, n, model, cost) VALUES ($1, $2, $3, $4)");
SQL(add_call_once, DB_USAGE, SQL_INSTANCE, "uiti",
    "INSERT INTO calls (node, n, model, cost) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING");
SQL(sum_calls, DB_USAGE, SQL_INSTANCE, "",
    "SELECT COUNT(*), CAST(SUM(cost) AS BIGINT), CAST(MAX(n) AS BIGINT) FROM calls");
SQL_PER_ENGINE(which_engine, DB_MAIN, SQL_INSTANCE, "", "SELECT 'sqlite'", "SELECT 'postgres'");

static const uuid workspace = {{7, 7, 7}};

#define OK(call)                                                                                             \
    do {                                                                                                     \
        if ((call) != ERR_NONE) fail_msg("%s: %s", #call, f->e.msg);                                         \
    } while (0)
#define FAILS(code, call) assert_int_equal((call), (code))

/* A unit given as a function of the fixture. */
static enum errc write_main(struct store_fixture *f, tx_fn fn, void *ctx)
{
    return db_write(store_db(f->store, DB_MAIN), fn, ctx, &f->e);
}
static enum errc read_main(struct store_fixture *f, tx_fn fn, void *ctx)
{
    return db_read(store_db(f->store, DB_MAIN), fn, ctx, &f->e);
}

struct thing {
    unsigned id;
    str name;
    int64_t n;
    enum errc then; /* what the unit returns in the end */
};

static enum errc insert_thing(struct tx *tx, const struct thing *t, err *e)
{
    uuid id = test_uuid(t->id);
    return tx_exec(tx, &add_thing,
                   PARAMS(v_uuid(&id), v_uuid(&workspace), v_text(t->name), v_int(t->n), v_null(), v_null()),
                   NULL, e);
}

static enum errc add_unit(struct tx *tx, void *ctx, err *e)
{
    const struct thing *t = ctx;
    enum errc rc = insert_thing(tx, t, e);
    return rc ? rc : t->then ? err_set(e, t->then, "the unit's own") : ERR_NONE;
}

struct answer {
    const struct sql *sql;
    struct arena *a;
    struct rows rows;
};

static enum errc query_unit(struct tx *tx, void *ctx, err *e)
{
    struct answer *q = ctx;
    return tx_query(tx, q->a, q->sql, NULL, 0, &q->rows, e);
}

static int64_t number_of(struct store_fixture *f, const struct sql *sql)
{
    struct answer q = {.sql = sql, .a = &f->a};
    OK(db_read(store_db(f->store, sql->db), query_unit, &q, &f->e));
    assert_int_equal(q.rows.n, 1);
    return val_int(q.rows.vals);
}

/* --- values --- */

static enum errc values_unit(struct tx *tx, void *ctx, err *e)
{
    struct store_fixture *f = ctx;
    char *big = malloc(1 << 20);
    memset(big, 0xfe, 1 << 20);
    struct {
        str name;
        int64_t n;
        struct val weight, data;
    } all[] = {
        {S("plain"), 0, v_real(0.1), v_blob(S("\0\1\377'"))},
        {S(""), -1, v_real(-1e300), v_blob((str){0})},
        {S("h\xc3\xa9llo \xf0\x9f\x8d\xb5"), INT64_MIN, v_real(0), v_null()},
        {S("'; DROP TABLE things; --"), 999999, v_null(), v_blob(str_of(big, 1 << 20))},
    };
    for (unsigned i = 0; i < LENGTH_OF(all); i++) {
        uuid id = test_uuid(i);
        const struct val *row;
        enum errc rc = tx_exec(tx, &add_thing,
                               PARAMS(v_uuid(&id), v_uuid(&workspace), v_text(all[i].name), v_int(all[i].n),
                                      all[i].weight, all[i].data),
                               NULL, e);
        if (!rc) rc = tx_query_row(tx, &f->a, &get_thing, PARAMS(v_uuid(&workspace), v_uuid(&id)), &row, e);
        if (rc) return rc;
        assert_true(str_eq(val_str(&row[0]), all[i].name));
        assert_non_null(val_str(&row[0]).p);
        assert_int_equal(val_int(&row[1]), all[i].n);
        assert_true(row[2].type == all[i].weight.type);
        assert_true(val_real(&row[2]) >= all[i].weight.r && val_real(&row[2]) <= all[i].weight.r);
        assert_true(row[3].type == all[i].data.type);
        assert_true(str_eq(val_str(&row[3]), all[i].data.s));
        uuid got = val_uuid(&row[4]);
        assert_memory_equal(&got, &id, sizeof id);
    }
    free(big);
    return ERR_NONE;
}

static void values_come_back_as_they_went_in(void **state)
{
    struct store_fixture *f = *state;
    OK(write_main(f, values_unit, f));
}

static void columns_of_expressions_are_integers_reals_and_texts(void **state)
{
    struct store_fixture *f = *state;
    struct answer q = {.sql = &types, .a = &f->a};
    OK(read_main(f, query_unit, &q));
    const struct val *v = q.rows.vals;
    assert_int_equal(q.rows.n_cols, 8);
    assert_true(val_bool(&v[0]));
    assert_false(val_bool(&v[1]));
    assert_int_equal(val_int(&v[2]), 7);
    assert_int_equal(val_int(&v[3]), -5);
    assert_true(v[4].type == VAL_REAL);
    assert_true(str_eq(val_str(&v[5]), S("x")));
    assert_int_equal(v[6].type, VAL_NULL);
    assert_true(str_eq(val_str(&v[7]), S("y")));
    assert_int_equal(val_int(&v[6]), NO_VALUE);
    assert_null(val_str(&v[6]).p);
    uuid nil = val_uuid(&v[6]);
    assert_true(uuid_is_nil(&nil));
    assert_false(val_bool(&v[6]));
    q.sql = &which_engine;
    OK(read_main(f, query_unit, &q));
    assert_true(str_eq(val_str(q.rows.vals), f->is_postgres ? S("postgres") : S("sqlite")));
}

static void a_sum_that_postgresql_makes_numeric_is_refused_by_name(void **state)
{
    struct store_fixture *f = *state;
    struct thing t = {1, S("a"), 5, ERR_NONE};
    struct answer q = {.sql = &sum_numeric, .a = &f->a};
    OK(write_main(f, add_unit, &t));
    if (!f->is_postgres) {
        OK(read_main(f, query_unit, &q));
        return;
    }
    FAILS(ERR_INTERNAL, read_main(f, query_unit, &q));
    assert_non_null(strstr(f->e.msg, "sum_numeric"));
    assert_non_null(strstr(f->e.msg, "CAST"));
}

/* --- units --- */

static void a_unit_that_returns_an_error_leaves_nothing(void **state)
{
    struct store_fixture *f = *state;
    struct thing t = {1, S("a"), 0, ERR_FORBIDDEN};
    FAILS(ERR_FORBIDDEN, write_main(f, add_unit, &t));
    assert_string_equal(f->e.msg, "the unit's own");
    assert_int_equal(number_of(f, &count_things), 0);
    t.then = ERR_NONE;
    OK(write_main(f, add_unit, &t));
    assert_int_equal(number_of(f, &count_things), 1);
}

static enum errc part_of_nothing(struct tx *tx, void *ctx, err *e)
{
    (void)ctx;
    uuid id = test_uuid(99);
    return tx_exec(tx, &add_part, PARAMS(v_uuid(&id), v_int(1)), NULL, e);
}

static enum errc thing_without_name(struct tx *tx, void *ctx, err *e)
{
    (void)ctx;
    uuid id = test_uuid(99);
    return tx_exec(tx, &add_thing,
                   PARAMS(v_uuid(&id), v_uuid(&workspace), v_null(), v_int(0), v_null(), v_null()), NULL, e);
}

static void a_broken_constraint_is_a_conflict_that_names_it(void **state)
{
    struct store_fixture *f = *state;
    struct thing t = {1, S("a"), 0, ERR_NONE};
    OK(write_main(f, add_unit, &t));
    t.id = 2;
    FAILS(ERR_CONFLICT, write_main(f, add_unit, &t));
    assert_non_null(strstr(f->e.msg, "add_thing: "));
    assert_non_null(strstr(f->e.msg, "name"));
    t = (struct thing){3, S("b"), 1000000, ERR_NONE};
    FAILS(ERR_CONFLICT, write_main(f, add_unit, &t));
    assert_non_null(strstr(f->e.msg, "n_is_small"));
    FAILS(ERR_CONFLICT, write_main(f, part_of_nothing, NULL));
    FAILS(ERR_CONFLICT, write_main(f, thing_without_name, NULL));
    assert_int_equal(number_of(f, &count_things), 1);
}

static enum errc passes_over_a_failure(struct tx *tx, void *ctx, err *e)
{
    struct store_fixture *f = ctx;
    struct rows rows;
    struct thing first = {1, S("a"), 0, ERR_NONE}, again = {2, S("a"), 0, ERR_NONE};
    enum errc rc = insert_thing(tx, &first, e);
    if (rc) return rc;
    if (insert_thing(tx, &again, e) != ERR_CONFLICT) return ERR_INTERNAL;
    if (tx_query(tx, &f->a, &count_things, NULL, 0, &rows, e) != ERR_CONFLICT) return ERR_INTERNAL;
    return ERR_NONE;
}

static void a_unit_cannot_go_on_after_a_statement_failed(void **state)
{
    struct store_fixture *f = *state;
    FAILS(ERR_CONFLICT, write_main(f, passes_over_a_failure, f));
    assert_non_null(strstr(f->e.msg, "add_thing"));
    assert_int_equal(number_of(f, &count_things), 0);
}

static enum errc wrong_parameters(struct tx *tx, void *ctx, err *e)
{
    uuid id = test_uuid(1);
    (void)ctx;
    if (tx_exec(tx, &set_n, PARAMS(v_int(1)), NULL, e) != ERR_INTERNAL || !strstr(e->msg, "set_n"))
        return ERR_IO;
    if (tx_exec(tx, &set_n, PARAMS(v_text(S("1")), v_uuid(&id)), NULL, e) != ERR_INTERNAL ||
        !strstr(e->msg, "$1"))
        return ERR_IO;
    if (tx_exec(tx, &set_n, PARAMS(v_int(1), v_blob(S("short"))), NULL, e) != ERR_INTERNAL) return ERR_IO;
    if (tx_exec(tx, &add_call, PARAMS(v_uuid(&id), v_int(1), v_text(S("m")), v_int(1)), NULL, e) !=
            ERR_INTERNAL ||
        !strstr(e->msg, "usage"))
        return ERR_IO;
    struct thing nul = {1, S("a\0b"), 0, ERR_NONE}, latin = {1, S("caf\xe9"), 0, ERR_NONE},
                 good = {1, S("fine"), 0, ERR_NONE};
    if (insert_thing(tx, &nul, e) != ERR_INVALID || insert_thing(tx, &latin, e) != ERR_INVALID) return ERR_IO;
    return insert_thing(tx, &good, e); /* nothing of this came to the database */
}

static void wrong_parameters_are_refused_before_the_database_sees_them(void **state)
{
    struct store_fixture *f = *state;
    OK(write_main(f, wrong_parameters, NULL));
    assert_int_equal(number_of(f, &count_things), 1);
}

static enum errc only_row(struct tx *tx, void *ctx, err *e)
{
    struct store_fixture *f = ctx;
    const struct val *row;
    uuid id = test_uuid(50);
    if (tx_query_row(tx, &f->a, &get_n, PARAMS(v_uuid(&id)), &row, e) != ERR_NOT_FOUND || row) return ERR_IO;
    for (unsigned i = 0; i < 2; i++) {
        char name[] = {(char)('a' + i), 0};
        struct thing t = {i, str_c(name), 0, ERR_NONE};
        enum errc rc = insert_thing(tx, &t, e);
        if (rc) return rc;
    }
    if (tx_query_row(tx, &f->a, &list_things, NULL, 0, &row, e) != ERR_INTERNAL ||
        !strstr(e->msg, "list_things"))
        return ERR_IO;
    return ERR_NONE;
}

static void the_only_row_is_found_missing_or_one_of_several(void **state)
{
    struct store_fixture *f = *state;
    OK(write_main(f, only_row, f));
}

static enum errc account(struct tx *tx, void *ctx, err *e)
{
    struct store_fixture *f = ctx;
    struct rows rows;
    int64_t changed = -1;
    uuid id = test_uuid(1);
    struct thing a = {1, S("a"), 1, ERR_NONE}, b = {2, S("b"), 2, ERR_NONE};
    assert_int_equal(tx_changed(tx), 0);
    enum errc rc = insert_thing(tx, &a, e);
    if (!rc) rc = insert_thing(tx, &b, e);
    assert_int_equal(tx_changed(tx), 2);
    if (!rc) rc = tx_exec_unaudited(tx, &set_n, PARAMS(v_int(5), v_uuid(&id)), &changed, e);
    assert_int_equal(changed, 1);
    assert_int_equal(tx_changed(tx), 2);
    if (!rc) rc = tx_query(tx, &f->a, &list_things, NULL, 0, &rows, e);
    assert_int_equal(tx_changed(tx), 2);
    if (!rc) rc = tx_query(tx, &f->a, &drop_things, PARAMS(v_int(2)), &rows, e);
    assert_int_equal(rows.n, 2);
    assert_int_equal(tx_changed(tx), 4);
    id = test_uuid(77);
    if (!rc) rc = tx_exec(tx, &set_n, PARAMS(v_int(1), v_uuid(&id)), &changed, e);
    assert_int_equal(changed, 0);
    assert_int_equal(tx_changed(tx), 4);
    assert_int_equal(tx_noted(tx), 0);
    tx_note(tx);
    tx_note(tx);
    assert_int_equal(tx_noted(tx), 2);
    assert_ptr_equal(tx_db(tx), store_db(f->store, DB_MAIN));
    return rc;
}

static void a_unit_counts_what_it_changed_and_noted(void **state)
{
    struct store_fixture *f = *state;
    OK(write_main(f, account, f));
    OK(write_main(f, account, f)); /* from zero again */
}

static enum errc writes_in_a_read(struct tx *tx, void *ctx, err *e) { return insert_thing(tx, ctx, e); }

static void a_read_cannot_write(void **state)
{
    struct store_fixture *f = *state;
    struct thing t = {1, S("a"), 0, ERR_NONE};
    FAILS(ERR_INTERNAL, read_main(f, writes_in_a_read, &t));
    assert_int_equal(number_of(f, &count_things), 0);
    OK(write_main(f, add_unit, &t));
}

static enum errc many_rows(struct tx *tx, void *ctx, err *e)
{
    struct answer *q = ctx;
    enum errc rc = ERR_NONE;
    for (unsigned i = 0; i < 3000 && !rc; i++) {
        char name[16];
        snprintf(name, sizeof name, "thing %u", i);
        rc = insert_thing(tx, &(struct thing){i, str_c(name), 0, ERR_NONE}, e);
    }
    return rc ? rc : tx_query(tx, q->a, &list_things, NULL, 0, &q->rows, e);
}

static void rows_beyond_the_arena_are_an_error(void **state)
{
    struct store_fixture *f = *state;
    struct arena small;
    struct answer q = {.sql = &list_things, .a = &small};
    arena_init(&small, 32 << 10, 0);
    FAILS(ERR_TOO_LARGE, write_main(f, many_rows, &q));
    arena_fini(&small);
    q.a = &f->a;
    OK(write_main(f, many_rows, &q));
    assert_int_equal(q.rows.n, 3000);
    uuid last = val_uuid(row_at(&q.rows, 2999)), want = test_uuid(2999);
    assert_memory_equal(&last, &want, sizeof want);
}

static enum errc part_ids(struct tx *tx, void *ctx, err *e)
{
    struct store_fixture *f = ctx;
    const struct val *row;
    uuid id = test_uuid(1);
    enum errc rc = insert_thing(tx, &(struct thing){1, S("a"), 0, ERR_NONE}, e);
    for (int64_t i = 1; i <= 3 && !rc; i++) {
        rc = tx_query_row(tx, &f->a, &add_part, PARAMS(v_uuid(&id), v_int(i)), &row, e);
        if (!rc) assert_int_equal(val_int(row), i);
    }
    if (!rc) rc = tx_exec(tx, &drop_parts, NULL, 0, NULL, e);
    if (!rc) rc = tx_query_row(tx, &f->a, &add_part, PARAMS(v_uuid(&id), v_int(1)), &row, e);
    if (!rc) assert_int_equal(val_int(row), 4);
    return rc;
}

static void an_id_column_numbers_itself_and_never_twice(void **state)
{
    struct store_fixture *f = *state;
    OK(write_main(f, part_ids, f));
    assert_int_equal(number_of(f, &last_part), 4);
}

/* --- threads --- */

#define THREADS 8
#define ROUNDS 100

struct worker {
    struct store_fixture *f;
    unsigned number;
    enum errc rc;
    err e;
};

static enum errc increment(struct tx *tx, void *ctx, err *e)
{
    (void)ctx;
    struct arena a;
    const struct val *row;
    uuid id = test_uuid(1);
    arena_init(&a, 64 << 10, 0);
    enum errc rc = tx_query_row(tx, &a, &get_n, PARAMS(v_uuid(&id)), &row, e);
    int64_t n = rc ? 0 : val_int(row);
    arena_fini(&a);
    return rc ? rc : tx_exec(tx, &set_n, PARAMS(v_int(n + 1), v_uuid(&id)), NULL, e);
}

static void *increment_often(void *arg)
{
    struct worker *w = arg;
    for (unsigned i = 0; i < ROUNDS;) {
        enum errc rc = db_write(store_db(w->f->store, DB_MAIN), increment, NULL, &w->e);
        if (rc == ERR_BUSY) continue; /* what a client would do */
        if (rc) {
            w->rc = rc;
            break;
        }
        i++;
    }
    return NULL;
}

static void run_workers(struct store_fixture *f, void *(*fn)(void *), unsigned n)
{
    pthread_t threads[64];
    struct worker workers[64] = {{0}};
    assert_true(n <= LENGTH_OF(threads));
    for (unsigned i = 0; i < n; i++) {
        workers[i] = (struct worker){.f = f, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, fn, &workers[i]), 0);
    }
    for (unsigned i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < n; i++)
        if (workers[i].rc) fail_msg("thread %u: %s", i, workers[i].e.msg);
}

static void counters_that_threads_read_and_write_lose_nothing(void **state)
{
    struct store_fixture *f = *state;
    struct thing t = {1, S("counter"), 0, ERR_NONE};
    OK(write_main(f, add_unit, &t));
    run_workers(f, increment_often, THREADS);
    assert_int_equal(number_of(f, &sum_n), THREADS * ROUNDS);
}

/* Each adds a thing only while the sum of all is below a limit: under snapshot isolation alone two would see the
 * same sum. */
static enum errc add_below_limit(struct tx *tx, void *ctx, err *e)
{
    const struct thing *t = ctx;
    struct arena a;
    struct rows rows;
    arena_init(&a, 64 << 10, 0);
    enum errc rc = tx_query(tx, &a, &sum_n, NULL, 0, &rows, e);
    int64_t sum = rc || rows.vals->type == VAL_NULL ? 0 : val_int(rows.vals);
    arena_fini(&a);
    if (rc || sum >= 50) return rc;
    return insert_thing(tx, t, e);
}

static void *spend(void *arg)
{
    struct worker *w = arg;
    for (unsigned i = 0; i < 30;) {
        char name[32];
        snprintf(name, sizeof name, "%u/%u", w->number, i);
        struct thing t = {w->number * 1000 + i, str_c(name), 1, ERR_NONE};
        enum errc rc = db_write(store_db(w->f->store, DB_MAIN), add_below_limit, &t, &w->e);
        if (rc == ERR_BUSY) continue;
        if (rc) {
            w->rc = rc;
            break;
        }
        i++;
    }
    return NULL;
}

static void what_a_unit_decides_on_holds_when_it_commits(void **state)
{
    struct store_fixture *f = *state;
    run_workers(f, spend, THREADS);
    assert_int_equal(number_of(f, &sum_n), 50);
}

static void *read_often(void *arg)
{
    struct worker *w = arg;
    struct arena a;
    arena_init(&a, 1 << 20, 0);
    for (unsigned i = 0; i < 50 && !w->rc; i++) {
        struct answer q = {.sql = &count_things, .a = &a};
        w->rc = db_read(store_db(w->f->store, DB_MAIN), query_unit, &q, &w->e);
    }
    arena_fini(&a);
    return NULL;
}

static void more_threads_than_connections_take_turns(void **state)
{
    struct store_fixture *f = *state;
    store_close(f->store);
    f->source.connections = 2;
    OK(store_open_with(&f->store, &f->source, fixture_list, fixture_list_n, &f->e));
    run_workers(f, read_often, 24);
}

/* --- snapshots and deadlines --- */

struct peek {
    struct store_fixture *f;
    struct thing other;
};

static void *add_other(void *arg)
{
    struct peek *p = arg;
    if (write_main(p->f, add_unit, &p->other)) abort();
    return NULL;
}

static enum errc look_twice(struct tx *tx, void *ctx, err *e)
{
    struct peek *p = ctx;
    struct rows rows;
    pthread_t thread;
    enum errc rc = tx_query(tx, &p->f->a, &count_things, NULL, 0, &rows, e);
    if (rc || val_int(rows.vals) != 0) return ERR_IO;
    pthread_create(&thread, NULL, add_other, p);
    pthread_join(thread, NULL);
    rc = tx_query(tx, &p->f->a, &count_things, NULL, 0, &rows, e);
    return rc || val_int(rows.vals) != 0 ? ERR_IO : ERR_NONE;
}

static void a_read_sees_one_snapshot_and_does_not_block_a_write(void **state)
{
    struct store_fixture *f = *state;
    struct peek p = {f, {1, S("a"), 0, ERR_NONE}};
    OK(read_main(f, look_twice, &p));
    assert_int_equal(number_of(f, &count_things), 1);
}

static usec now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (usec)t.tv_sec * USEC_PER_S + t.tv_nsec / 1000;
}

static void a_slow_unit_ends_at_its_deadline_and_harms_no_other(void **state)
{
    struct store_fixture *f = *state;
    struct answer q = {.sql = &slow, .a = &f->a};
    store_close(f->store);
    f->source.read_deadline_ms = f->source.write_deadline_ms = 200;
    OK(store_open_with(&f->store, &f->source, fixture_list, fixture_list_n, &f->e));
    usec start_us = now_us();
    FAILS(ERR_BUSY, read_main(f, query_unit, &q));
    FAILS(ERR_BUSY, write_main(f, query_unit, &q));
    assert_true(now_us() - start_us < 8 * USEC_PER_S);
    struct thing t = {1, S("a"), 0, ERR_NONE};
    OK(write_main(f, add_unit, &t));
    assert_int_equal(number_of(f, &count_things), 1);
}

static enum errc do_nothing(struct tx *tx, void *ctx, err *e)
{
    (void)tx;
    (void)ctx;
    (void)e;
    return ERR_NONE;
}

static enum errc unit_in_unit(struct tx *tx, void *ctx, err *e)
{
    (void)ctx;
    return db_read(tx_db(tx), do_nothing, NULL, e);
}

/* In a child, whose words about it go nowhere. */
static bool aborts(struct store_fixture *f, tx_fn fn, bool on_loop)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(null, 2);
        signal(SIGABRT, SIG_DFL);
        if (on_loop) store_this_is_a_loop();
        (void)!db_read(store_db(f->store, DB_MAIN), fn, NULL, &f->e);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void a_unit_on_a_loop_or_within_another_unit_is_an_assertion(void **state)
{
    struct store_fixture *f = *state;
    assert_true(aborts(f, do_nothing, true));
    assert_true(aborts(f, unit_in_unit, false));
}

static void units_are_measured(void **state)
{
    struct store_fixture *f = *state;
    struct buf text;
    struct thing t = {1, S("a"), 0, ERR_NONE};
    assert_int_equal(stats_init(1), ERR_NONE);
    OK(store_measure(f->store, &f->e));
    OK(write_main(f, add_unit, &t));
    assert_int_equal(number_of(f, &count_things), 1);
    assert_int_equal(number_of(f, &count_things), 1);
    buf_init(&text, 1 << 20);
    stats_write(&text);
    buf_add_char(&text, '\0');
    assert_non_null(
        strstr(text.p, "catalyst_store_unit_seconds_count{database=\"main\",kind=\"write\"} 1\n"));
    assert_non_null(strstr(text.p, "catalyst_store_unit_seconds_count{database=\"main\",kind=\"read\"} 2\n"));
    assert_non_null(strstr(text.p, "catalyst_store_failed_total{database=\"main\"} 0\n"));
    buf_fini(&text);
    store_close(f->store);
    f->store = NULL;
    stats_fini();
}

/* --- bulk --- */

static void many_rows_go_in_at_once_or_not_at_all(void **state)
{
    enum { N = 5000 };
    struct store_fixture *f = *state;
    struct db *db = store_db(f->store, DB_USAGE);
    static uuid node = {{9}};
    struct val *rows = calloc((size_t)N * 4, sizeof *rows);
    for (unsigned i = 0; i < N; i++) {
        rows[i * 4] = v_uuid(&node);
        rows[i * 4 + 1] = v_int(i);
        rows[i * 4 + 2] = v_text(S("gpt-4o-mini"));
        rows[i * 4 + 3] = v_int(2);
    }
    rows[3000 * 4 + 1] = v_int(5); /* a second number 5 */
    FAILS(ERR_CONFLICT, db_bulk(db, &add_call, rows, N, &f->e));
    assert_non_null(strstr(f->e.msg, "add_call"));
    assert_int_equal(number_of(f, &sum_calls), 0);
    OK(db_bulk(db, &add_call_once, rows, N, &f->e));
    assert_int_equal(number_of(f, &sum_calls), N - 1);
    OK(db_bulk(db, &add_call_once, rows, N, &f->e));
    assert_int_equal(number_of(f, &sum_calls), N - 1);
    rows[4999 * 4 + 3] = v_text(S("no number"));
    FAILS(ERR_INTERNAL, db_bulk(db, &add_call_once, rows, N, &f->e));
    OK(db_bulk(db, &add_call_once, NULL, 0, &f->e));
    free(rows);
}

/* --- what is noted --- */

struct sealer {
    unsigned n_sealed, n_woken;
    enum errc fails;
};

static enum errc seal_unit(struct tx *tx, void *ctx, err *e)
{
    struct sealer *s = ctx;
    s->n_sealed++;
    (void)tx;
    return s->fails ? err_set(e, s->fails, "the sealer's own") : ERR_NONE;
}

static void wake(void *ctx)
{
    struct sealer *s = ctx;
    s->n_woken++;
}

static enum errc noting_unit(struct tx *tx, void *ctx, err *e)
{
    tx_note(tx);
    return add_unit(tx, ctx, e);
}

static void what_was_noted_is_sealed_in_its_commit_and_wakes_after_it(void **state)
{
    struct store_fixture *f = *state;
    struct sealer s = {0};
    store_on_noted(f->store, seal_unit, &s);
    store_on_committed(f->store, wake, &s);
    struct thing t = {1, S("a"), 0, ERR_NONE};
    OK(write_main(f, add_unit, &t));
    assert_int_equal(s.n_sealed + s.n_woken, 0);
    t = (struct thing){2, S("b"), 0, ERR_NONE};
    OK(write_main(f, noting_unit, &t));
    assert_int_equal(s.n_sealed, f->is_postgres ? 0 : 1);
    assert_int_equal(s.n_woken, 1);
    t = (struct thing){3, S("c"), 0, ERR_FORBIDDEN};
    FAILS(ERR_FORBIDDEN, write_main(f, noting_unit, &t));
    assert_int_equal(s.n_woken, 1);
    if (f->is_postgres) return;
    s.fails = ERR_IO;
    t = (struct thing){4, S("d"), 0, ERR_NONE};
    FAILS(ERR_IO, write_main(f, noting_unit, &t));
    assert_string_equal(f->e.msg, "the sealer's own");
    assert_int_equal(s.n_woken, 1);
    assert_int_equal(number_of(f, &count_things), 2);
}

/* --- SQLite: the queue of the writer --- */

struct gate {
    struct store_fixture *f;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_entered, is_open;
};

static enum errc wait_at_gate(struct tx *tx, void *ctx, err *e)
{
    struct gate *g = ctx;
    (void)tx;
    (void)e;
    pthread_mutex_lock(&g->lock);
    g->is_entered = true;
    pthread_cond_broadcast(&g->changed);
    while (!g->is_open)
        pthread_cond_wait(&g->changed, &g->lock);
    pthread_mutex_unlock(&g->lock);
    return ERR_NONE;
}

static void *go_to_gate(void *arg)
{
    struct gate *g = arg;
    if (write_main(g->f, wait_at_gate, g)) abort();
    return NULL;
}

static void wait_until_entered(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    while (!g->is_entered)
        pthread_cond_wait(&g->changed, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static void open_gate(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->is_open = true;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

static void *try_to_add(void *arg)
{
    struct worker *w = arg;
    char name[16];
    snprintf(name, sizeof name, "%u", w->number);
    struct thing t = {w->number, str_c(name), 0, ERR_NONE};
    w->rc = db_write(store_db(w->f->store, DB_MAIN), add_unit, &t, &w->e);
    return NULL;
}

static void a_queue_is_bounded_in_length_and_in_time(void **state)
{
    enum { N = 6 };
    struct store_fixture *f = *state;
    store_close(f->store);
    f->source.queue = N - 2;
    f->source.write_deadline_ms = 300;
    OK(store_open_with(&f->store, &f->source, fixture_list, fixture_list_n, &f->e));
    struct gate g = {.f = f, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    pthread_t gate, threads[N];
    struct worker workers[N];
    pthread_create(&gate, NULL, go_to_gate, &g);
    wait_until_entered(&g);
    for (unsigned i = 0; i < N; i++) {
        workers[i] = (struct worker){.f = f, .number = i};
        pthread_create(&threads[i], NULL, try_to_add, &workers[i]);
    }
    unsigned n_full = 0, n_late = 0;
    for (unsigned i = 0; i < N; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].rc, ERR_BUSY);
        n_full += strstr(workers[i].e.msg, "units wait") != NULL;
        n_late += strstr(workers[i].e.msg, "was not free") != NULL;
    }
    assert_int_equal(n_full, 2);
    assert_int_equal(n_late, N - 2);
    open_gate(&g);
    pthread_join(gate, NULL);
    assert_int_equal(number_of(f, &count_things), 0);
    run_workers(f, try_to_add, 2);
    assert_int_equal(number_of(f, &count_things), 2);
}

static void wait_for_queue(struct store_fixture *f, unsigned n)
{
    usec end_us = now_us() + 20 * USEC_PER_S;
    while (store_n_waiting(f->store, DB_MAIN) < n) {
        assert_true(now_us() < end_us);
        sched_yield();
    }
}

static void *be_interrupted(void *arg)
{
    struct worker *w = arg;
    struct arena a;
    struct answer q = {.sql = &slow, .a = &a};
    arena_init(&a, 1 << 20, 0);
    w->rc =
        db_write(store_db(w->f->store, DB_MAIN), query_unit, &q, &w->e) == ERR_BUSY ? ERR_NONE : ERR_INTERNAL;
    arena_fini(&a);
    return NULL;
}

/* The interrupt makes SQLite roll back the whole group. */
static void the_neighbours_of_an_interrupted_unit_are_written_all_the_same(void **state)
{
    enum { N = 5 };
    struct store_fixture *f = *state;
    store_close(f->store);
    f->source.write_deadline_ms = 4000;
    OK(store_open_with(&f->store, &f->source, fixture_list, fixture_list_n, &f->e));
    struct gate g = {.f = f, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    pthread_t gate, threads[N];
    struct worker workers[N];
    pthread_create(&gate, NULL, go_to_gate, &g);
    wait_until_entered(&g);
    for (unsigned i = 0; i < N; i++) {
        workers[i] = (struct worker){.f = f, .number = i};
        pthread_create(&threads[i], NULL, i == 3 ? be_interrupted : try_to_add, &workers[i]);
        wait_for_queue(f, i + 1); /* those before it share its group */
    }
    open_gate(&g);
    pthread_join(gate, NULL);
    for (unsigned i = 0; i < N; i++) {
        pthread_join(threads[i], NULL);
        if (workers[i].rc) fail_msg("thread %u: %s", i, workers[i].e.msg);
    }
    assert_int_equal(number_of(f, &count_things), N - 1);
}

static void another_process_that_writes_is_waited_for_and_then_busy(void **state)
{
    struct store_fixture *f = *state;
    char path[128];
    sqlite3 *other;
    store_close(f->store);
    f->source.write_deadline_ms = 200;
    OK(store_open_with(&f->store, &f->source, fixture_list, fixture_list_n, &f->e));
    snprintf(path, sizeof path, "%s/db/main.db", f->dir);
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    struct thing t = {1, S("a"), 0, ERR_NONE};
    FAILS(ERR_BUSY, write_main(f, add_unit, &t));
    assert_int_equal(number_of(f, &count_things), 0); /* reading goes on */
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    OK(write_main(f, add_unit, &t));
    sqlite3_close(other);
}

struct overlap {
    struct store_fixture *f;
    atomic_bool is_over;
    atomic_uint n_reads;
};

/* Holds its snapshot until another reader has begun one, so that there is always one. */
static enum errc hold_snapshot(struct tx *tx, void *ctx, err *e)
{
    struct overlap *o = ctx;
    struct arena a;
    struct rows rows;
    arena_init(&a, 64 << 10, 0);
    enum errc rc = tx_query(tx, &a, &count_things, NULL, 0, &rows, e);
    arena_fini(&a);
    unsigned mine = ++o->n_reads;
    while (!rc && o->n_reads == mine && !o->is_over)
        sched_yield();
    return rc;
}

static void *read_without_a_gap(void *arg)
{
    struct overlap *o = arg;
    err e;
    while (!o->is_over) {
        enum errc rc = db_read(store_db(o->f->store, DB_MAIN), hold_snapshot, o, &e);
        if (rc && rc != ERR_BUSY) abort();
    }
    return NULL;
}

static enum errc add_large(struct tx *tx, void *ctx, err *e)
{
    static char bytes[1 << 20];
    unsigned *n = ctx;
    char name[16];
    uuid id = test_uuid(*n);
    snprintf(name, sizeof name, "%u", *n);
    return tx_exec(tx, &add_thing,
                   PARAMS(v_uuid(&id), v_uuid(&workspace), v_text(str_c(name)), v_int(0), v_null(),
                          v_blob(str_of(bytes, sizeof bytes))),
                   NULL, e);
}

static void the_log_of_writes_stays_bounded_while_there_is_always_a_reader(void **state)
{
    struct store_fixture *f = *state;
    struct overlap o = {.f = f};
    pthread_t readers[3];
    char path[128];
    struct stat st;
    off_t largest = 0;
    snprintf(path, sizeof path, "%s/db/main.db-wal", f->dir);
    for (unsigned i = 0; i < LENGTH_OF(readers); i++)
        pthread_create(&readers[i], NULL, read_without_a_gap, &o);
    for (unsigned n = 0; n < 200; n++) {
        OK(write_main(f, add_large, &n));
        assert_int_equal(stat(path, &st), 0);
        if (st.st_size > largest) largest = st.st_size;
    }
    o.is_over = true;
    for (unsigned i = 0; i < LENGTH_OF(readers); i++)
        pthread_join(readers[i], NULL);
    if (largest > 100 << 20) fail_msg("the log grew to %lld bytes", (long long)largest);
}

/* --- PostgreSQL: connections --- */

static void connections_that_the_server_ended_are_replaced(void **state)
{
    struct store_fixture *f = *state;
    run_workers(f, read_often, 4);
    postgres_do(f->url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND pid <> pg_backend_pid()");
    struct thing t = {1, S("a"), 0, ERR_NONE};
    OK(write_main(f, add_unit, &t));
    assert_int_equal(number_of(f, &count_things), 1);
}

struct cut {
    struct store_fixture *f;
    unsigned n_runs;
};

static enum errc cut_in_the_middle(struct tx *tx, void *ctx, err *e)
{
    struct cut *c = ctx;
    if (c->n_runs++ == 0)
        postgres_do(c->f->url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                               "WHERE datname = current_database() AND pid <> pg_backend_pid()");
    return insert_thing(tx, &(struct thing){1, S("a"), 0, ERR_NONE}, e);
}

static void a_unit_whose_connection_breaks_before_it_commits_runs_again(void **state)
{
    struct store_fixture *f = *state;
    struct cut c = {.f = f};
    OK(write_main(f, cut_in_the_middle, &c));
    assert_int_equal(c.n_runs, 2);
    assert_int_equal(number_of(f, &count_things), 1);
}

static void a_server_that_cannot_be_reached_is_told_without_the_password(void **state)
{
    struct store_fixture *f = *state;
    struct store *s = NULL;
    struct store_source source = {.data_dir = f->dir,
                                  .url = S("postgresql://me:hunter2@/x?host=/nowhere/at/all")};
    FAILS(ERR_UNAVAILABLE, store_open(&s, &source, &f->e));
    assert_null(strstr(f->e.msg, "hunter2"));
    source.url = S("postgresql://me:hunter2@[x");
    FAILS(ERR_CONFIG, store_open(&s, &source, &f->e));
    assert_null(strstr(f->e.msg, "hunter2"));
    assert_null(s);
}

int main(void)
{
    use_tables();
    const struct CMUnitTest tests[] = {
        ON_STORE(values_come_back_as_they_went_in),
        ON_STORE(columns_of_expressions_are_integers_reals_and_texts),
        ON_STORE(a_sum_that_postgresql_makes_numeric_is_refused_by_name),
        ON_STORE(a_unit_that_returns_an_error_leaves_nothing),
        ON_STORE(a_broken_constraint_is_a_conflict_that_names_it),
        ON_STORE(a_unit_cannot_go_on_after_a_statement_failed),
        ON_STORE(wrong_parameters_are_refused_before_the_database_sees_them),
        ON_STORE(the_only_row_is_found_missing_or_one_of_several),
        ON_STORE(a_unit_counts_what_it_changed_and_noted),
        ON_STORE(a_read_cannot_write),
        ON_STORE(rows_beyond_the_arena_are_an_error),
        ON_STORE(an_id_column_numbers_itself_and_never_twice),
        ON_STORE(counters_that_threads_read_and_write_lose_nothing),
        ON_STORE(what_a_unit_decides_on_holds_when_it_commits),
        ON_STORE(more_threads_than_connections_take_turns),
        ON_STORE(a_read_sees_one_snapshot_and_does_not_block_a_write),
        ON_STORE(a_slow_unit_ends_at_its_deadline_and_harms_no_other),
        ON_STORE(many_rows_go_in_at_once_or_not_at_all),
        ON_STORE(units_are_measured),
        ON_STORE(what_was_noted_is_sealed_in_its_commit_and_wakes_after_it),
    };
    const struct CMUnitTest of_sqlite[] = {
        ON_STORE(a_unit_on_a_loop_or_within_another_unit_is_an_assertion),
        ON_STORE(a_queue_is_bounded_in_length_and_in_time),
        ON_STORE(the_neighbours_of_an_interrupted_unit_are_written_all_the_same),
        ON_STORE(another_process_that_writes_is_waited_for_and_then_busy),
        ON_STORE(the_log_of_writes_stays_bounded_while_there_is_always_a_reader),
    };
    const struct CMUnitTest of_postgres[] = {
        ON_STORE(connections_that_the_server_ended_are_replaced),
        ON_STORE(a_unit_whose_connection_breaks_before_it_commits_runs_again),
        ON_STORE(a_server_that_cannot_be_reached_is_told_without_the_password),
    };
    return RUN_ON_BOTH(tests) + RUN_ON_SQLITE(of_sqlite) + RUN_ON_POSTGRES(of_postgres);
}
