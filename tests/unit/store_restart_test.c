/* A server that ends connections, is restarted under load, or does not answer. */
#include "store_tables.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

SQL(add_thing, DB_MAIN, 0, "uu",
    "INSERT INTO things (id, workspace_id, name) VALUES ($1, $2, CAST($1 AS TEXT)) /* a name of its own */");
SQL(count_up, DB_MAIN, SQL_INSTANCE, "u", "UPDATE things SET n = n + 1 WHERE id = $1");
SQL(add_part, DB_MAIN, SQL_INSTANCE, "ui", "INSERT INTO parts (thing_id, n) VALUES ($1, $2)");
SQL(get_one, DB_MAIN, SQL_INSTANCE, "", "SELECT 1");

static const uuid workspace = {{7, 7, 7}};

static int64_t ask(struct store_fixture *f, const char *statement)
{
    PGconn *pg = PQconnectdb(f->url);
    PGresult *r = PQexec(pg, statement);
    if (PQresultStatus(r) != PGRES_TUPLES_OK) fail_msg("%s: %s", statement, PQerrorMessage(pg));
    int64_t n = PQntuples(r) ? strtoll(PQgetvalue(r, 0, 0), NULL, 10) : 0;
    PQclear(r);
    PQfinish(pg);
    return n;
}

#define OTHERS "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"

#define END_ITSELF                                                                                                     \
    "CREATE FUNCTION main.end_itself() RETURNS trigger LANGUAGE plpgsql AS "                                           \
    "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(5); RETURN NULL; END $$; "              \
    "CREATE TRIGGER a AFTER INSERT ON main.parts FOR EACH ROW EXECUTE FUNCTION main.end_itself()"

struct unit {
    uuid id;
    atomic_uint *n_runs;
};

static enum errc add_unit(struct tx *tx, void *ctx, err *e)
{
    struct unit *u = ctx;
    ++*u->n_runs;
    return tx_exec(tx, &add_thing, PARAMS(v_uuid(&u->id), v_uuid(&workspace)), NULL, e);
}

static enum errc count_unit(struct tx *tx, void *ctx, err *e)
{
    struct unit *u = ctx;
    ++*u->n_runs;
    enum errc rc = tx_exec(tx, &count_up, PARAMS(v_uuid(&u->id)), NULL, e);
    return rc ? rc : tx_exec(tx, &add_part, PARAMS(v_uuid(&u->id), v_int(1)), NULL, e);
}

static enum errc read_unit(struct tx *tx, void *ctx, err *e)
{
    struct arena a;
    struct rows rows;
    ++*(atomic_uint *)ctx;
    arena_init(&a, 4096, 512);
    enum errc rc = tx_query(tx, &a, &get_one, NULL, 0, &rows, e);
    arena_fini(&a);
    return rc;
}

static enum errc write_main(struct store_fixture *f, tx_fn fn, void *ctx)
{
    return db_write(store_db(f->store, DB_MAIN), fn, ctx, &f->e);
}

static void add_first(struct store_fixture *f, struct unit *u)
{
    u->id = test_uuid(1);
    if (write_main(f, add_unit, u)) fail_msg("%s", f->e.msg);
    *u->n_runs = 0;
}

/* --- connections that break --- */

#define N_THREADS 8

struct worker {
    struct store_fixture *f;
    atomic_uint *n_runs;
    bool is_done;
};

static void a_unit_that_ends_the_server_does_not_do_it_again_and_again(void **state)
{
    struct store_fixture *f = *state;
    atomic_uint n_runs = 0;
    struct unit u = {.n_runs = &n_runs};
    add_first(f, &u);
    postgres_do(f->url, END_ITSELF);
    assert_int_equal(write_main(f, count_unit, &u), ERR_UNAVAILABLE);
    assert_int_equal(n_runs, 5);
    postgres_do(f->url, "DROP TRIGGER a ON main.parts");
    assert_int_equal(write_main(f, count_unit, &u), ERR_NONE);
}

static void *read_once(void *arg)
{
    struct worker *w = arg;
    err e = {0};
    w->is_done = db_read(store_db(w->f->store, DB_MAIN), read_unit, w->n_runs, &e) == ERR_NONE;
    return NULL;
}

static void read_together(struct store_fixture *f, atomic_uint *n_runs)
{
    struct worker workers[N_THREADS];
    pthread_t threads[N_THREADS];
    for (unsigned i = 0; i < N_THREADS; i++) {
        workers[i] = (struct worker){.f = f, .n_runs = n_runs};
        pthread_create(&threads[i], NULL, read_once, &workers[i]);
    }
    for (unsigned i = 0; i < N_THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_true(workers[i].is_done);
    }
}

static void idle_connections_that_have_ended_are_not_handed_out(void **state)
{
    struct store_fixture *f = *state;
    static const char *const how[] = {"stop fast", "stop immediate"};
    for (unsigned i = 0; i < LENGTH_OF(how); i++) {
        atomic_uint n_runs = 0;
        read_together(f, &n_runs);
        postgres_command(how[i]);
        postgres_command("start");
        n_runs = 0;
        read_together(f, &n_runs);
        assert_int_equal(n_runs, N_THREADS); /* none was run twice */
    }
}

/* --- a restart under load --- */

struct load {
    struct store_fixture *f;
    unsigned first, n_acknowledged;
    atomic_uint n_since; /* acknowledged since it was set to 0 */
    atomic_bool *is_over, *is_away;
    char bad[112]; /* what went wrong that must not */
    atomic_uint n_runs;
};

/* Adds things; one whose outcome is not known it adds again, which says whether it is there. */
static void *add_often(void *arg)
{
    struct load *l = arg;
    for (unsigned n = l->first; !*l->is_over; n++) {
        struct unit u = {test_uuid(n), &l->n_runs};
        for (bool is_done = false, was_unsure = false; !is_done;) {
            err e = {0};
            bool was_away = *l->is_away;
            enum errc rc = db_write(store_db(l->f->store, DB_MAIN), add_unit, &u, &e);
            is_done = rc == ERR_NONE || (rc == ERR_CONFLICT && was_unsure);
            was_unsure = was_unsure || strstr(e.msg, "not known");
            bool is_fair = is_done || (rc == ERR_UNAVAILABLE && (was_away || *l->is_away));
            if (!is_fair) snprintf(l->bad, sizeof l->bad, "%.100s", e.msg);
            if (*l->is_over && !is_done) return NULL;
        }
        l->n_acknowledged++;
        l->n_since++;
    }
    return NULL;
}

static void a_server_that_is_restarted_under_load_loses_nothing_and_is_used_at_once(void **state)
{
    struct store_fixture *f = *state;
    static const char *const how[] = {"stop fast", "stop immediate"};
    struct load loads[N_THREADS];
    pthread_t threads[N_THREADS];
    atomic_bool is_over = false, is_away = false;
    unsigned n = 0;
    for (unsigned i = 0; i < N_THREADS; i++) {
        loads[i] = (struct load){.f = f, .first = (i + 1) * 1000000, .is_over = &is_over, .is_away = &is_away};
        pthread_create(&threads[i], NULL, add_often, &loads[i]);
    }
    for (unsigned k = 0; k < LENGTH_OF(how); k++) {
        for (unsigned i = 0; i < N_THREADS; i++)
            while (loads[i].n_since < 20)
                sched_yield();
        is_away = true;
        postgres_command(how[k]);
        postgres_command("start");
        is_away = false;
        usec start_us = clock_mono_us();
        for (unsigned i = 0; i < N_THREADS; i++) {
            loads[i].n_since = 0;
            while (!loads[i].n_since)
                if (clock_mono_us() - start_us > 5 * USEC_PER_S) fail_msg("the connections have not recovered");
        }
        print_message("all threads wrote %lld ms after the restart\n", (long long)((clock_mono_us() - start_us) / 1000));
    }
    is_over = true;
    for (unsigned i = 0; i < N_THREADS; i++) {
        pthread_join(threads[i], NULL);
        n += loads[i].n_acknowledged;
        if (*loads[i].bad) fail_msg("%s", loads[i].bad);
    }
    assert_int_equal(ask(f, "SELECT count(*) FROM main.things"), n);
}

/* --- a server that does not answer --- */

static int set_up_impatient(void **state)
{
    if (fixture_set_up_closed(state)) return -1;
    struct store_fixture *f = *state;
    f->source.read_deadline_ms = f->source.write_deadline_ms = 1000;
    return store_open_with(&f->store, &f->source, fixture_list, fixture_list_n, &f->e) ? -1 : 0;
}

static void a_server_that_does_not_answer_holds_nobody_beyond_the_deadline(void **state)
{
    struct store_fixture *f = *state;
    atomic_uint n_runs = 0;
    struct unit u = {.n_runs = &n_runs};
    add_first(f, &u);
    /* a connection that stalls */
    pid_t backend = (pid_t)ask(f, "SELECT pid " OTHERS " ORDER BY state_change DESC LIMIT 1");
    kill(backend, SIGSTOP);
    usec start_us = clock_mono_us();
    assert_int_equal(write_main(f, count_unit, &u), ERR_BUSY);
    assert_true(clock_mono_us() - start_us < 2 * USEC_PER_S);
    kill(backend, SIGCONT);
    assert_int_equal(write_main(f, count_unit, &u), ERR_NONE);
    /* a server that takes no new ones */
    postgres_do(f->url, "SELECT pg_terminate_backend(pid) " OTHERS);
    pid_t server = postgres_pid();
    kill(server, SIGSTOP);
    start_us = clock_mono_us();
    assert_int_equal(write_main(f, count_unit, &u), ERR_UNAVAILABLE);
    assert_int_equal(db_read(store_db(f->store, DB_MAIN), read_unit, &n_runs, &f->e), ERR_UNAVAILABLE);
    assert_true(clock_mono_us() - start_us < 3 * USEC_PER_S);
    kill(server, SIGCONT);
    assert_int_equal(write_main(f, count_unit, &u), ERR_NONE);
    assert_int_equal(ask(f, "SELECT n FROM main.things"), 2);
}

int main(void)
{
    use_tables();
    const struct CMUnitTest tests[] = {
        ON_STORE(a_unit_that_ends_the_server_does_not_do_it_again_and_again),
        ON_STORE(idle_connections_that_have_ended_are_not_handed_out),
        ON_STORE(a_server_that_is_restarted_under_load_loses_nothing_and_is_used_at_once),
        cmocka_unit_test_setup_teardown(a_server_that_does_not_answer_holds_nobody_beyond_the_deadline, set_up_impatient,
                                        fixture_tear_down),
    };
    return RUN_ON_POSTGRES(tests);
}
