/* Units on PostgreSQL when everything gets in their way: conflicts at random in statements and at COMMIT, connections
 * that are ended at every place, a server that is started again, a node that is silent for too long. Triggers raise what
 * is wanted; sequences count, for what they count stays when a unit is undone. */
#include "store_tables.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define THREADS 6u

SQL(get_n, DB_MAIN, 0, "u", "SELECT n FROM things WHERE id = $1 /* workspace_id */");
SQL(set_n, DB_MAIN, 0, "iu", "UPDATE things SET n = $1 WHERE id = $2 /* workspace_id */");
SQL(add_thing, DB_MAIN, 0, "uut", "INSERT INTO things (id, workspace_id, name) VALUES ($1, $2, $3)");
SQL(add_part, DB_MAIN, SQL_INSTANCE, "ui", "INSERT INTO parts (thing_id, n) VALUES ($1, $2)");

static void pause_ms(unsigned ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000}, NULL);
}

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

/* Runs `does` (statements of PL/pgSQL) when a thing is changed, or at the COMMIT of a unit that added a part. */
static void when_changed(struct store_fixture *f, const char *does)
{
    char text[1024];
    snprintf(text, sizeof text,
             "CREATE SEQUENCE main.changes; CREATE FUNCTION main.on_change() RETURNS trigger LANGUAGE plpgsql AS "
             "$$ BEGIN %s RETURN NEW; END $$; CREATE TRIGGER on_change BEFORE UPDATE ON main.things FOR EACH ROW "
             "EXECUTE FUNCTION main.on_change()",
             does);
    postgres_do(f->url, text);
}

static void when_committed(struct store_fixture *f, const char *does)
{
    char text[1024];
    snprintf(text, sizeof text,
             "CREATE SEQUENCE main.commits; CREATE FUNCTION main.on_commit() RETURNS trigger LANGUAGE plpgsql AS "
             "$$ BEGIN %s RETURN NULL; END $$; CREATE CONSTRAINT TRIGGER on_commit AFTER INSERT ON main.parts "
             "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION main.on_commit()",
             does);
    postgres_do(f->url, text);
}

#define AT_RANDOM                                                                                                      \
    "IF random() < 0.2 THEN RAISE EXCEPTION SQLSTATE '40001'; END IF; "                                                \
    "IF random() < 0.2 THEN RAISE EXCEPTION SQLSTATE '40P01'; END IF;"
#define END_OURSELVES "PERFORM pg_terminate_backend(pg_backend_pid());"

/* --- a unit: one thing counts, and a part is added with its number --- */

struct counting {
    struct store_fixture *f;
    struct db *db;
    uuid id;
    int64_t n; /* what the unit found and added one to */
    unsigned n_runs, n_wanted, n_unknown;
    unsigned silent_ms; /* in the first run, at its end */
    unsigned ends_at;   /* all connections are ended in the first run before this step: 1 to 4; 0: never */
    pthread_barrier_t *together; /* NULL: none */
};

#define OTHERS "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"

static void end_all(struct store_fixture *f)
{
    postgres_do(f->url, "SELECT pg_terminate_backend(pid) " OTHERS);
    while (ask(f, "SELECT count(*) " OTHERS))
        pause_ms(2);
}

static enum errc count_unit(struct tx *tx, void *ctx, err *e)
{
    struct counting *c = ctx;
    struct arena a;
    const struct val *row;
    bool is_first = c->n_runs++ == 0;
    if (c->together) pthread_barrier_wait(c->together);
    c->together = NULL;
    if (is_first && c->ends_at == 1) end_all(c->f);
    arena_init(&a, 4096, 512);
    enum errc rc = tx_query_row(tx, &a, &get_n, PARAMS(v_uuid(&c->id)), &row, e);
    if (rc == ERR_NONE) c->n = val_int(row) + 1;
    arena_fini(&a);
    if (is_first && c->ends_at == 2) end_all(c->f);
    if (rc == ERR_NONE) rc = tx_exec(tx, &set_n, PARAMS(v_int(c->n), v_uuid(&c->id)), NULL, e);
    if (is_first && c->ends_at == 3) end_all(c->f);
    if (rc == ERR_NONE) rc = tx_exec(tx, &add_part, PARAMS(v_uuid(&c->id), v_int(c->n)), NULL, e);
    if (is_first && c->ends_at == 4) end_all(c->f);
    if (is_first && c->silent_ms) pause_ms(c->silent_ms);
    return rc;
}

static enum errc add_things_unit(struct tx *tx, void *ctx, err *e)
{
    enum errc rc = ERR_NONE;
    (void)ctx;
    for (unsigned i = 0; i < THREADS && rc == ERR_NONE; i++) {
        uuid id = test_uuid(i);
        char name[16];
        snprintf(name, sizeof name, "%u", i);
        rc = tx_exec(tx, &add_thing, PARAMS(v_uuid(&id), v_uuid(&id), v_text(str_c(name))), NULL, e);
    }
    return rc;
}

static struct counting counting_of(struct store_fixture *f, unsigned i)
{
    return (struct counting){.f = f, .db = store_db(f->store, DB_MAIN), .id = test_uuid(i)};
}

/* Until so many have been counted. One of which it is not known whether it was is looked at. */
static void *count_often(void *arg)
{
    struct counting *c = arg;
    for (int64_t is = 0; is < c->n_wanted;) {
        err e = {0};
        enum errc rc = db_write(c->db, count_unit, c, &e);
        if (rc == ERR_UNAVAILABLE && strstr(e.msg, "not known")) {
            char statement[128];
            c->n_unknown++;
            snprintf(statement, sizeof statement, "SELECT n FROM main.things WHERE name = '%u'", c->id.b[15]);
            is = ask(c->f, statement);
            continue;
        }
        if (rc != ERR_NONE) {
            fprintf(stderr, "%s\n", e.msg);
            abort();
        }
        if (c->n != ++is) {
            fprintf(stderr, "counted %lld, not %lld\n", (long long)c->n, (long long)is);
            abort();
        }
    }
    return NULL;
}

/* Each part once, none missing, in every thing. */
static void check_counts(struct store_fixture *f, int64_t each)
{
    char statement[256];
    snprintf(statement, sizeof statement, "SELECT count(*) FROM main.things WHERE n <> %lld", (long long)each);
    assert_int_equal(ask(f, statement), 0);
    assert_int_equal(ask(f, "SELECT count(*) FROM main.parts"), (int64_t)THREADS * each);
    assert_int_equal(ask(f, "SELECT count(*) FROM (SELECT DISTINCT thing_id, n FROM main.parts) AS x"),
                     (int64_t)THREADS * each);
}

static int set_up(void **state)
{
    if (fixture_set_up(state)) return -1;
    struct store_fixture *f = *state;
    if (db_write(store_db(f->store, DB_MAIN), add_things_unit, NULL, &f->e) == ERR_NONE) return 0;
    fprintf(stderr, "%s\n", f->e.msg);
    return -1;
}

/* --- conflicts --- */

static void units_that_conflict_at_random_have_their_effect_once(void **state)
{
    struct store_fixture *f = *state;
    struct counting c[THREADS];
    pthread_t threads[THREADS];
    when_changed(f, AT_RANDOM);
    when_committed(f, AT_RANDOM);
    for (unsigned i = 0; i < THREADS; i++) {
        c[i] = counting_of(f, i);
        c[i].n_wanted = 25;
        pthread_create(&threads[i], NULL, count_often, &c[i]);
    }
    unsigned n_runs = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        n_runs += c[i].n_runs;
        assert_int_equal(c[i].n_unknown, 0);
    }
    assert_true(n_runs > 25 * THREADS * 3 / 2);
    check_counts(f, 25);
}

/* `what` counts runs by a sequence. */
static void fails_in_the_end(struct store_fixture *f, const char *sequence)
{
    struct counting c = counting_of(f, 0);
    assert_int_equal(db_write(c.db, count_unit, &c, &f->e), ERR_BUSY);
    assert_non_null(strstr(f->e.msg, "other units kept changing the same rows"));
    assert_non_null(strstr(f->e.msg, "after 24 attempts"));
    assert_int_equal(c.n_runs, 24);
    assert_int_equal(ask(f, sequence), c.n_runs);
    assert_int_equal(ask(f, "SELECT count(*) FROM main.parts"), 0);
    assert_int_equal(ask(f, "SELECT sum(n) FROM main.things"), 0);
}

static void a_statement_that_always_conflicts_is_told_after_some_attempts(void **state)
{
    struct store_fixture *f = *state;
    when_changed(f, "PERFORM nextval('main.changes'); RAISE EXCEPTION SQLSTATE '40001';");
    fails_in_the_end(f, "SELECT last_value FROM main.changes");
}

static void a_commit_that_always_conflicts_is_told_after_some_attempts(void **state)
{
    struct store_fixture *f = *state;
    when_committed(f, "PERFORM nextval('main.commits'); RAISE EXCEPTION SQLSTATE '40P01';");
    fails_in_the_end(f, "SELECT last_value FROM main.commits");
}

/* --- connections --- */

static void a_unit_whose_connection_is_ended_between_its_statements_runs_again(void **state)
{
    struct store_fixture *f = *state;
    for (unsigned at = 1; at <= 3; at++) {
        struct counting c = counting_of(f, 0);
        c.ends_at = at;
        if (db_write(c.db, count_unit, &c, &f->e)) fail_msg("before step %u: %s", at, f->e.msg);
        assert_int_equal(c.n_runs, 2);
        assert_int_equal(c.n, at);
    }
    /* the COMMIT itself: nobody can know */
    struct counting c = counting_of(f, 0);
    c.ends_at = 4;
    assert_int_equal(db_write(c.db, count_unit, &c, &f->e), ERR_UNAVAILABLE);
    assert_non_null(strstr(f->e.msg, "not known"));
    assert_int_equal(c.n_runs, 1);
    assert_int_equal(ask(f, "SELECT count(*) FROM main.parts"), 3);
}

static void a_unit_whose_connection_is_ended_in_a_statement_runs_again(void **state)
{
    struct store_fixture *f = *state;
    struct counting c = counting_of(f, 0);
    when_changed(f, "IF nextval('main.changes') < 4 THEN " END_OURSELVES " END IF;");
    if (db_write(c.db, count_unit, &c, &f->e)) fail_msg("%s", f->e.msg);
    assert_int_equal(c.n_runs, 4);
    assert_int_equal(c.n, 1);
    assert_int_equal(ask(f, "SELECT count(*) FROM main.parts"), 1);
}

static void a_commit_in_which_the_connection_is_ended_is_told_as_not_known(void **state)
{
    struct store_fixture *f = *state;
    struct counting c = counting_of(f, 0);
    when_committed(f, "IF nextval('main.commits') = 1 THEN " END_OURSELVES " END IF;");
    assert_int_equal(db_write(c.db, count_unit, &c, &f->e), ERR_UNAVAILABLE);
    assert_non_null(strstr(f->e.msg, "not known"));
    if (db_write(c.db, count_unit, &c, &f->e)) fail_msg("%s", f->e.msg);
    assert_int_equal(c.n, 1);
}

/* As many connections as there are threads, all idle in the end. */
static void use_all(struct store_fixture *f)
{
    struct counting c[THREADS];
    pthread_t threads[THREADS];
    pthread_barrier_t together;
    pthread_barrier_init(&together, NULL, THREADS);
    for (unsigned i = 0; i < THREADS; i++) {
        c[i] = counting_of(f, i);
        c[i].n_wanted = 1;
        c[i].together = &together;
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, count_often, &c[i]);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&together);
}

static void a_unit_that_begins_on_connections_that_are_all_stale_runs(void **state)
{
    struct store_fixture *f = *state;
    use_all(f);
    end_all(f);
    struct counting c = counting_of(f, 0);
    if (db_write(c.db, count_unit, &c, &f->e)) fail_msg("%s", f->e.msg);
    assert_int_equal(c.n_runs, 1); /* BEGIN failed, not the unit */
    assert_int_equal(c.n, 2);
}

static void units_go_on_when_the_server_was_started_again(void **state)
{
    static const char *const ways[] = {"stop fast", "stop immediate"};
    struct store_fixture *f = *state;
    use_all(f);
    for (unsigned i = 0; i < LENGTH_OF(ways); i++) {
        struct counting c = counting_of(f, 0);
        postgres_command(ways[i]);
        assert_int_equal(db_write(c.db, count_unit, &c, &f->e), ERR_UNAVAILABLE);
        postgres_command("start");
        if (db_write(c.db, count_unit, &c, &f->e)) fail_msg("%s: %s", ways[i], f->e.msg);
        assert_int_equal(c.n, 2 + i);
    }
}

static void units_under_load_lose_and_double_nothing_while_their_connections_are_ended_at_random(void **state)
{
    struct store_fixture *f = *state;
    struct counting c[THREADS];
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        c[i] = counting_of(f, i);
        c[i].n_wanted = 150;
        pthread_create(&threads[i], NULL, count_often, &c[i]);
    }
    while (ask(f, "SELECT min(n) FROM main.things") < 150) {
        postgres_do(f->url, "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity WHERE datname = "
                            "current_database() AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1) AS x");
        pause_ms(15);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    check_counts(f, 150);
}

/* As after SIGSTOP: the server has ended it, and said so, before COMMIT came. */
static void a_unit_that_is_silent_for_too_long_is_ended_by_the_server_and_runs_again(void **state)
{
    struct store_fixture *f = *state;
    struct counting c = counting_of(f, 0), other = counting_of(f, 0);
    c.silent_ms = 4500;
    if (db_write(c.db, count_unit, &c, &f->e)) fail_msg("%s", f->e.msg);
    assert_int_equal(c.n_runs, 2);
    assert_int_equal(c.n, 1);
    if (db_write(other.db, count_unit, &other, &f->e)) fail_msg("%s", f->e.msg);
    assert_int_equal(other.n, 2);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, fixture_tear_down)

int main(void)
{
    use_tables();
    const struct CMUnitTest tests[] = {
        T(units_that_conflict_at_random_have_their_effect_once),
        T(a_statement_that_always_conflicts_is_told_after_some_attempts),
        T(a_commit_that_always_conflicts_is_told_after_some_attempts),
        T(a_unit_whose_connection_is_ended_between_its_statements_runs_again),
        T(a_unit_whose_connection_is_ended_in_a_statement_runs_again),
        T(a_commit_in_which_the_connection_is_ended_is_told_as_not_known),
        T(a_unit_that_begins_on_connections_that_are_all_stale_runs),
        T(units_go_on_when_the_server_was_started_again),
        T(units_under_load_lose_and_double_nothing_while_their_connections_are_ended_at_random),
        T(a_unit_that_is_silent_for_too_long_is_ended_by_the_server_and_runs_again),
    };
    return RUN_ON_POSTGRES(tests);
}
