/* Nodes: who is there, who is away, and that no id is used twice. On both engines; what concerns others on PostgreSQL. */
#include "store_fixture.h"

#include <assert.h>

#include "base/stats.h"
#include "core/nodes/internal.h"
#include "json/tree.h"

SQL(test_events, DB_MAIN, SQL_INSTANCE, "t", "SELECT COUNT(*) FROM events WHERE type = $1");
SQL(test_node, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT state, beats, journal_bytes, leased_nanousd, streams, schema_number FROM nodes WHERE id = $1");
SQL(test_own_by_other, DB_MAIN, SQL_INSTANCE, "uu",
    "UPDATE nodes SET boot_id = $1, state = 'serving', beats = beats + 1 WHERE id = $2");
SQL(test_process, DB_MAIN, SQL_INSTANCE, "tu",
    "UPDATE nodes SET process = $1, state = 'serving' WHERE id = $2");

SQL(test_forget, DB_MAIN, SQL_INSTANCE, "u", "DELETE FROM nodes WHERE id = $1");

static const uuid first = {{1}}, second = {{2}}, stranger = {{9}};

struct state {
    struct store_fixture *f;
    struct events *log;
    struct config *config;
    struct nodes *a, *b;
    struct arena arena;
    err e;
};

static void configure(struct state *s)
{
    static const struct option_table *const tables[] = {&nodes_options};
    const struct config_setting flags[] = {{S("node.heartbeat_ms"), S("50ms"), S("")},
                                           {S("node.away_ms"), S("500ms"), S("")},
                                           {S("node.name"), S("unit"), S("")}};
    struct config_source source = {
        .flags = flags, .n_flags = LENGTH_OF(flags), .tables = tables, .n_tables = 1};
    struct buf problems;
    buf_init(&problems, 10000);
    assert_int_equal(config_load(&s->arena, &source, &s->config, &problems, &s->e), ERR_NONE);
    buf_fini(&problems);
}

static int set_up(void **state)
{
    static const uint8_t master[32] = {1};
    struct state *s = calloc(1, sizeof *s);
    void *fixture;
    if (fixture_set_up(&fixture) != 0) return -1;
    s->f = fixture;
    log_set_level(LOG_OFF);
    arena_init(&s->arena, 16u << 20, 0);
    configure(s);
    assert_int_equal(events_new(&s->log, s->f->store, master, &s->e), ERR_NONE);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct state *s = *state;
    void *fixture = s->f;
    nodes_free(s->a);
    nodes_free(s->b);
    events_free(s->log);
    arena_fini(&s->arena);
    free(s);
    return fixture_tear_down(&fixture);
}

static struct nodes *make(struct state *s, const uuid *id)
{
    struct nodes *n;
    assert_int_equal(nodes_new(&n, s->f->store, s->config, id, S("127.0.0.1:1"), &s->e), ERR_NONE);
    return n;
}

static struct nodes *start(struct state *s, const uuid *id)
{
    struct nodes *n = make(s, id);
    if (nodes_start(n, &s->e) != ERR_NONE) fail_msg("%s", s->e.msg);
    return n;
}

struct ask {
    const struct sql *sql;
    struct val param;
    struct arena *arena;
    struct rows rows;
};

static enum errc ask_unit(struct tx *tx, void *ctx, err *e)
{
    struct ask *q = ctx;
    return tx_query(tx, q->arena, q->sql, &q->param, 1, &q->rows, e);
}

static const struct val *ask(struct state *s, const struct sql *sql, struct val param)
{
    struct ask q = {.sql = sql, .param = param, .arena = &s->arena};
    assert_int_equal(db_read(store_db(s->f->store, DB_MAIN), ask_unit, &q, &s->e), ERR_NONE);
    assert_int_equal(q.rows.n, 1);
    return row_at(&q.rows, 0);
}

static int64_t n_events(struct state *s, const char *type)
{
    return val_int(&ask(s, &test_events, v_text(str_c(type)))[0]);
}
static bool is_state(struct state *s, const uuid *id, const char *state)
{
    return str_eq(val_str(&ask(s, &test_node, v_uuid(id))[0]), str_c(state));
}

struct change {
    const struct sql *sql;
    const struct val *params;
    unsigned n;
};

static enum errc change_unit(struct tx *tx, void *ctx, err *e)
{
    struct change *c = ctx;
    return tx_exec(tx, c->sql, c->params, c->n, NULL, e);
}

static void change(struct state *s, const struct sql *sql, const struct val *params, unsigned n)
{
    struct change c = {sql, params, n};
    assert_int_equal(db_write(store_db(s->f->store, DB_MAIN), change_unit, &c, &s->e), ERR_NONE);
}

#define UNTIL(condition)                                                                                     \
    for (int tries_ = 0; !(condition); tries_++) {                                                           \
        if (tries_ > 5000) fail_msg("never: %s", #condition);                                                \
        usleep(2000);                                                                                        \
    }

static void fill(void *ctx, struct node_figures *f)
{
    f->journal_bytes = *(int64_t *)ctx;
    f->leased_nanousd = 7;
}

static void a_node_says_how_it_is(void **state)
{
    struct state *s = *state;
    int64_t bytes = 100;
    s->a = start(s, &first);
    assert_int_equal(nodes_alive(s->a), 1);
    assert_true(is_state(s, &first, "starting"));
    nodes_report(s->a, fill, &bytes);
    nodes_set_state(s->a, "serving");
    UNTIL(is_state(s, &first, "serving"));
    UNTIL(val_int(&ask(s, &test_node, v_uuid(&first))[2]) == 100);
    assert_int_equal(val_int(&ask(s, &test_node, v_uuid(&first))[5]), migrations_embedded_n);
    bytes = 5;
    nodes_report_end(s->a, &bytes);
    bytes = 6;
    nodes_stop(s->a);
    assert_true(is_state(s, &first, "stopped"));
    assert_int_equal(val_int(&ask(s, &test_node, v_uuid(&first))[2]), 5);
    assert_int_equal(val_int(&ask(s, &test_node, v_uuid(&first))[3]), 7);
    assert_int_equal(n_events(s, "node.started"), 1);
    assert_int_equal(n_events(s, "node.stopped"), 1);
}

static void a_stopped_node_starts_again_at_once(void **state)
{
    struct state *s = *state;
    for (int i = 0; i < 3; i++)
        nodes_free(start(s, &first));
    assert_true(is_state(s, &first, "stopped"));
    assert_int_equal(n_events(s, "node.started"), 3);
}

static void two_nodes_know_each_other(void **state)
{
    struct state *s = *state;
    struct node_peer others[4];
    if (!s->f->is_postgres) return;
    s->a = start(s, &first);
    s->b = start(s, &second);
    assert_int_equal(nodes_alive(s->b), 2);
    UNTIL(nodes_alive(s->a) == 2);
    assert_int_equal(nodes_others(s->a, others, 4), 1);
    assert_memory_equal(&others[0].id, &second, sizeof second);
    assert_memory_equal(&others[0].boot, nodes_boot(s->b), sizeof second);
    assert_true(nodes_is_alive(s->a, &second));
    assert_false(nodes_is_alive(s->a, &stranger));
    nodes_stop(s->b);
    UNTIL(nodes_alive(s->a) == 1);
    assert_false(nodes_is_alive(s->a, &second));
    assert_int_equal(n_events(s, "node.away"), 0);
}

/* What a server leaves behind that ends without a word. */
static void leave_row(struct state *s, const uuid *id, const char *process)
{
    nodes_free(start(s, id));
    change(s, &test_process, PARAMS(v_text(str_c(process)), v_uuid(id)));
}

static void a_node_that_says_nothing_is_away_and_one_observer_writes_it_down(void **state)
{
    struct state *s = *state;
    static const uuid third = {{3}};
    if (!s->f->is_postgres) return;
    leave_row(s, &third, "elsewhere/1/2/3");
    s->a = start(s, &first);
    s->b = start(s, &second);
    assert_int_equal(nodes_alive(s->b), 3); /* nobody is judged at first sight */
    UNTIL(nodes_alive(s->a) == 2 && nodes_alive(s->b) == 2);
    UNTIL(is_state(s, &third, "away"));
    assert_int_equal(n_events(s, "node.away"), 1);
}

static void a_node_that_was_given_up_returns(void **state)
{
    struct state *s = *state;
    if (!s->f->is_postgres) return;
    struct node_away away = {.id = first, .event_id = uuid7_make(clock_now_us())};
    s->a = start(s, &first);
    away.boot = *nodes_boot(s->a);
    do { /* as an observer does, at the right moment */
        away.beats = val_int(&ask(s, &test_node, v_uuid(&first))[1]);
        assert_int_equal(db_write(store_db(s->f->store, DB_MAIN), node_away_unit, &away, &s->e), ERR_NONE);
    } while (!away.is_first);
    UNTIL(is_state(s, &first, "starting"));
    assert_int_equal(n_events(s, "node.away"), 1);
    assert_int_equal(n_events(s, "node.returned"), 1);
}

static void the_id_of_a_living_node_is_refused(void **state)
{
    struct state *s = *state;
    if (!s->f->is_postgres) return;
    s->a = start(s, &first);
    s->b = make(s, &first); /* the process in the row is this one, and it lives */
    assert_int_equal(nodes_start(s->b, &s->e), ERR_CONFLICT);
    assert_non_null(strstr(s->e.msg, "copied data folder"));
    change(s, &test_process, PARAMS(v_text(S("elsewhere/1/2/3")), v_uuid(&first)));
    nodes_free(s->b);
    s->b = make(s, &first); /* not to be told by the process: but the row changes */
    assert_int_equal(nodes_start(s->b, &s->e), ERR_CONFLICT);
    assert_int_equal(n_events(s, "node.started"), 1);
    assert_false(nodes_is_doubled(s->a));
}

static void the_id_of_a_dead_process_is_free(void **state)
{
    struct state *s = *state;
    char name[NODE_PROCESS_MAX];
    if (!s->f->is_postgres) return;
    process_name(name);
    assert_int_equal(process_state_of(str_c(name)), PROCESS_ALIVE);
    name[strlen(name) - 1] = name[strlen(name) - 1] == '1' ? '2' : '1'; /* it was started at another time */
    assert_int_equal(process_state_of(str_c(name)), PROCESS_DEAD);
    leave_row(s, &first, name);
    usec before = clock_mono_us();
    s->a = start(s, &first);
    assert_true(clock_mono_us() - before < 400 * USEC_PER_MS);
    leave_row(s, &second, "elsewhere/1/2/3");
    s->b = start(s, &second); /* when nothing is heard of it for long enough */
    assert_true(clock_mono_us() - before >= 500 * USEC_PER_MS);
}

static void a_running_node_notices_another_with_its_id(void **state)
{
    struct state *s = *state;
    if (!s->f->is_postgres) return;
    s->a = start(s, &first);
    change(s, &test_own_by_other, PARAMS(v_uuid(&stranger), v_uuid(&first)));
    UNTIL(nodes_is_doubled(s->a));
    nodes_stop(s->a); /* it leaves the other's row alone */
    assert_true(is_state(s, &first, "serving"));
}

static void a_row_that_vanished_is_written_again(void **state)
{
    struct state *s = *state;
    if (!s->f->is_postgres) return;
    s->a = start(s, &first);
    change(s, &test_forget, PARAMS(v_uuid(&first)));
    nodes_set_state(s->a, "serving");
    nodes_stop(s->a);
    assert_true(is_state(s, &first, "stopped"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define NODES_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        NODES_TEST(a_node_says_how_it_is),
        NODES_TEST(a_stopped_node_starts_again_at_once),
        NODES_TEST(two_nodes_know_each_other),
        NODES_TEST(a_node_that_says_nothing_is_away_and_one_observer_writes_it_down),
        NODES_TEST(a_node_that_was_given_up_returns),
        NODES_TEST(the_id_of_a_living_node_is_refused),
        NODES_TEST(the_id_of_a_dead_process_is_free),
        NODES_TEST(a_running_node_notices_another_with_its_id),
        NODES_TEST(a_row_that_vanished_is_written_again),
    };
    assert(stats_init(1) == ERR_NONE);
    return RUN_ON_BOTH(tests);
}
