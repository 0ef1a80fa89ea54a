/* The log of several nodes on one PostgreSQL: who numbers and who listens, when the one that does hangs or dies. The other nodes are this
 * program, started again. */
#include "store_fixture.h"

#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <time.h>

#include "base/stats.h"
#include "core/events.h"

static const uuid workspace = {{0x77, 1}};
static uint8_t master[32] = {1, 2, 3};

static void pause_ms(unsigned ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000}, NULL);
}

static void die(const err *e)
{
    fprintf(stderr, "%s\n", e->msg);
    exit(1);
}

/* --- hearing --- */

/* Nothing in it stands in the way of hearing twice. */
#define HEARD_TABLE "CREATE TABLE main.heard (number BIGINT NOT NULL, node TEXT NOT NULL)"
SQL_PER_ENGINE(note_heard, DB_MAIN, SQL_INSTANCE, "it", "SELECT 1", "INSERT INTO heard (number, node) VALUES ($1, $2)");

static enum errc hear(void *ctx, struct tx *tx, const struct sealed_event *ev, err *e)
{
    return tx_exec(tx, &note_heard, PARAMS(v_int(ev->number), v_text(str_c(ctx))), NULL, e);
}

/* s: hears of the others at once; NULL: only looks. */
static void listen_as(struct events *log, struct store *s, const char *name)
{
    err e = {0};
    events_listen(log, &(struct listener){.name = "ear", .from_the_start = true, .hear = hear, .ctx = (void *)(uintptr_t)name});
    if (events_start(log, &e) || (s && store_listen(s, &e))) die(&e);
}

/* --- a node --- */

static enum errc add_unit(struct tx *tx, void *ctx, err *e) { return tx_event(tx, ctx, e); }

static enum errc add(struct store *s, const uuid *node, unsigned n, err *e)
{
    struct event ev = {
        .id = event_id_of(node, n), .at_us = n + 1, .type = S("thing.made"), .workspace_id = n % 3 ? workspace : (uuid){{0}}};
    return db_write(store_db(s, DB_MAIN), add_unit, &ev, e);
}

struct writer {
    struct store *store;
    uuid node;
    unsigned n;
};

static atomic_bool is_over;

/* Each acknowledged event is one line. */
static void *write_events(void *arg)
{
    struct writer *w = arg;
    while (!is_over) {
        err e = {0};
        char line[64];
        enum errc rc = add(w->store, &w->node, ++w->n, &e);
        if (rc == ERR_UNAVAILABLE || rc == ERR_BUSY) continue;
        if (rc) die(&e);
        int len = snprintf(line, sizeof line, "%02x %u\n", w->node.b[15], w->n);
        if (write(1, line, (size_t)len) != len) exit(2);
        pause_ms(2);
    }
    return NULL;
}

/* Adds events from three threads until standard input ends. */
static int node_main(const char *url, const char *dir, const char *name, bool listens)
{
    struct store_source source = {.data_dir = dir, .url = str_c(url), .migrates = true};
    struct store *store;
    struct events *log;
    struct writer writers[3];
    pthread_t threads[3];
    err e = {0};
    char byte;
    if (store_open(&store, &source, &e) || events_new(&log, store, master, &e)) die(&e);
    if (listens) listen_as(log, store, name);
    for (unsigned i = 0; i < LENGTH_OF(writers); i++) {
        writers[i] = (struct writer){.store = store, .node = {{(uint8_t)*name}}};
        writers[i].node.b[15] = (uint8_t)((unsigned)*name + i);
        pthread_create(&threads[i], NULL, write_events, &writers[i]);
    }
    while (read(0, &byte, 1) > 0)
        ;
    is_over = true;
    for (unsigned i = 0; i < LENGTH_OF(writers); i++)
        pthread_join(threads[i], NULL);
    store_deafen(store);
    events_free(log);
    store_close(store);
    return 0;
}

struct node {
    char dir[64], out[96];
    pid_t pid;
    int in;
};

static void node_start(struct node *n, struct store_fixture *f, const char *mode)
{
    int in[2];
    char *argv[] = {(char[]){"events_nodes"}, (char[]){"node"}, f->url, n->dir, (char[]){"n"},
                    (char *)(uintptr_t)mode, NULL};
    extern char **environ;
    posix_spawn_file_actions_t actions;
    fixture_dir(n->dir, sizeof n->dir);
    snprintf(n->out, sizeof n->out, "%s/out", n->dir);
    if (pipe2(in, O_CLOEXEC) < 0) abort();
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_addopen(&actions, 1, n->out, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (posix_spawn(&n->pid, "/proc/self/exe", &actions, NULL, argv, environ) != 0) abort();
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    n->in = in[1];
}

/* Lines that it has written. */
static unsigned node_count(const struct node *n)
{
    unsigned lines = 0;
    int c;
    FILE *f = fopen(n->out, "r");
    while (f && (c = fgetc(f)) != EOF)
        lines += c == '\n';
    if (f) fclose(f);
    return lines;
}

static void node_wait_for(const struct node *n, unsigned lines)
{
    usec end = clock_mono_us() + 60 * USEC_PER_S;
    while (node_count(n) < lines) {
        if (clock_mono_us() > end) fail_msg("the node has not gone on");
        pause_ms(10);
    }
}

static void node_end(struct node *n, int signal)
{
    int status = 0;
    if (signal) kill(n->pid, signal);
    close(n->in);
    waitpid(n->pid, &status, 0);
    if (!signal) assert_int_equal(status, 0);
}

/* --- the log --- */

static PGconn *asking;

static int64_t ask(struct store_fixture *f, const char *statement)
{
    if (!asking) asking = PQconnectdb(f->url);
    PGresult *r = PQexec(asking, statement);
    if (PQresultStatus(r) != PGRES_TUPLES_OK) fail_msg("%s: %s", statement, PQerrorMessage(asking));
    int64_t n = PQntuples(r) ? strtoll(PQgetvalue(r, 0, 0), NULL, 10) : 0;
    PQclear(r);
    return n;
}

static usec wait_for_zero(struct store_fixture *f, const char *statement)
{
    usec start = clock_mono_us();
    while (ask(f, statement)) {
        if (clock_mono_us() - start > 60 * USEC_PER_S) fail_msg("%s: never 0", statement);
        pause_ms(5);
    }
    return clock_mono_us() - start;
}

/* Every event has one number, without a gap, in the log and in its workspace, and in the same order. */
static void check_numbers(struct store_fixture *f)
{
    wait_for_zero(f, "SELECT count(*) FROM main.events WHERE number IS NULL");
    assert_int_equal(ask(f, "SELECT max(number) - count(DISTINCT number) FROM main.events"), 0);
    assert_int_equal(ask(f, "SELECT count(*) - count(DISTINCT number) FROM main.events"), 0);
    assert_int_equal(ask(f, "SELECT count(*) FROM (SELECT workspace_number - row_number() OVER (PARTITION BY workspace_id "
                            "ORDER BY number) AS off FROM main.events WHERE workspace_id IS NOT NULL) AS x WHERE off <> 0"),
                     0);
    assert_int_equal(ask(f, "SELECT count(*) FROM main.events WHERE workspace_id IS NULL AND workspace_number <> 0"), 0);
}

static void check_acknowledged(struct store_fixture *f, const struct node *n)
{
    char line[64], statement[160], hex[33];
    FILE *file = fopen(n->out, "r");
    PGconn *pg = PQconnectdb(f->url);
    while (file && fgets(line, sizeof line, file)) {
        unsigned last, number;
        uuid node = {{0}};
        if (sscanf(line, "%x %u", &last, &number) != 2) continue;
        node.b[0] = 'n';
        node.b[15] = (uint8_t)last;
        uuid id = event_id_of(&node, number);
        for (unsigned i = 0; i < sizeof id.b; i++)
            snprintf(hex + 2 * i, 3, "%02x", id.b[i]);
        snprintf(statement, sizeof statement, "SELECT 1 FROM main.events WHERE id = '%s'", hex);
        PGresult *r = PQexec(pg, statement);
        if (PQntuples(r) != 1) fail_msg("event %s was acknowledged and is gone", line);
        PQclear(r);
    }
    PQfinish(pg);
    if (file) fclose(file);
}

struct state {
    struct store_fixture *f;
    struct events *log;
    struct node node;
};

static int set_up(void **state)
{
    struct state *s = calloc(1, sizeof *s);
    void *fixture;
    if (fixture_set_up(&fixture)) return -1;
    s->f = fixture;
    if (events_new(&s->log, s->f->store, master, &s->f->e)) return -1;
    postgres_do(s->f->url, HEARD_TABLE);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct state *s = *state;
    void *fixture = s->f;
    PQfinish(asking);
    asking = NULL;
    fixture_remove(s->node.dir);
    events_free(s->log);
    free(s);
    return fixture_tear_down(&fixture);
}

#define LOCK_HOLDER "SELECT COALESCE((SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted LIMIT 1), 0)"

/* Stops the node while it seals. */
static void stop_it_sealing(struct state *s)
{
    for (unsigned i = 0; i < 500; i++) {
        kill(s->node.pid, SIGSTOP);
        int64_t holder = ask(s->f, LOCK_HOLDER);
        if (holder) pause_ms(100);
        if (holder && ask(s->f, LOCK_HOLDER) == holder) return;
        kill(s->node.pid, SIGCONT);
        pause_ms(3);
    }
    fail_msg("the node never held the lock");
}

static void a_sealer_that_hangs_is_replaced_within_two_seconds_and_goes_on_when_it_wakes(void **state)
{
    struct state *s = *state;
    const uuid here = {{0x88}};
    node_start(&s->node, s->f, "writes");
    node_wait_for(&s->node, 100);
    for (unsigned i = 1; i <= 3; i++) {
        stop_it_sealing(s);
        assert_int_equal(add(s->f->store, &here, i, &s->f->e), ERR_NONE);
        usec took = wait_for_zero(s->f, "SELECT count(*) FROM main.events WHERE number IS NULL");
        print_message("replaced after %lld ms\n", (long long)(took / 1000));
        assert_true(took < 2 * USEC_PER_S);
        unsigned n = node_count(&s->node);
        kill(s->node.pid, SIGCONT);
        node_wait_for(&s->node, n + 100);
    }
    node_end(&s->node, 0);
    check_numbers(s->f);
    check_acknowledged(s->f, &s->node);
}

static void what_a_killed_node_has_committed_is_numbered_by_another(void **state)
{
    struct state *s = *state;
    node_start(&s->node, s->f, "writes");
    node_wait_for(&s->node, 100);
    node_end(&s->node, SIGKILL);
    assert_true(wait_for_zero(s->f, "SELECT count(*) FROM main.events WHERE number IS NULL") < 2 * USEC_PER_S);
    check_numbers(s->f);
    check_acknowledged(s->f, &s->node);
}

#define HEARD_BY(node) "SELECT count(*) FROM main.heard WHERE node = '" node "'"

static usec wait_for_more(struct store_fixture *f, const char *statement, int64_t than)
{
    usec start = clock_mono_us();
    while (ask(f, statement) <= than) {
        if (clock_mono_us() - start > 60 * USEC_PER_S) fail_msg("%s: not more than %lld", statement, (long long)than);
        pause_ms(10);
    }
    return clock_mono_us() - start;
}

static void check_heard(struct store_fixture *f)
{
    wait_for_zero(f, "SELECT count(*) FROM main.events WHERE number IS NULL");
    wait_for_zero(f, "SELECT count(*) FROM main.events AS e WHERE NOT EXISTS (SELECT 1 FROM main.heard AS h WHERE h.number = "
                     "e.number)");
    assert_int_equal(ask(f, "SELECT count(*) - count(DISTINCT number) FROM main.heard"), 0);
}

static void one_node_feeds_a_listener_and_another_takes_over_when_it_hangs_stops_or_dies(void **state)
{
    struct state *s = *state;
    node_start(&s->node, s->f, "listens");
    wait_for_more(s->f, HEARD_BY("n"), 100);
    listen_as(s->log, s->f->store, "here");
    usec until = clock_mono_us() + 3500 * USEC_PER_MS; /* it is watched for longer than a silent one would be borne */
    while (clock_mono_us() < until)
        wait_for_more(s->f, HEARD_BY("n"), ask(s->f, HEARD_BY("n")));
    assert_int_equal(ask(s->f, HEARD_BY("here")), 0);

    kill(s->node.pid, SIGSTOP); /* it writes all the time, so it is in the middle of something */
    usec took = wait_for_more(s->f, HEARD_BY("here"), 0);
    print_message("taken over after %lld ms\n", (long long)(took / 1000));
    assert_true(took < 6 * USEC_PER_S);
    int64_t n = ask(s->f, HEARD_BY("n"));
    unsigned written = node_count(&s->node);
    kill(s->node.pid, SIGCONT);
    node_wait_for(&s->node, written + 200);
    wait_for_more(s->f, HEARD_BY("here"), ask(s->f, HEARD_BY("here")) + 100);
    assert_int_equal(ask(s->f, HEARD_BY("n")), n); /* it woke up and moved nothing */

    events_stop(s->log);
    took = wait_for_more(s->f, HEARD_BY("n"), n);
    print_message("given over after %lld ms\n", (long long)(took / 1000));
    assert_true(took < 2500 * USEC_PER_MS);
    node_end(&s->node, SIGKILL);

    store_deafen(s->f->store);
    events_free(s->log);
    assert_int_equal(events_new(&s->log, s->f->store, master, &s->f->e), ERR_NONE);
    listen_as(s->log, NULL, "again");
    check_numbers(s->f);
    check_heard(s->f);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    log_set_fd(-1);
    if (stats_init(1) != ERR_NONE) return 1;
    if (argc == 6) return node_main(argv[2], argv[3], argv[4], strcmp(argv[5], "listens") == 0);
    const struct CMUnitTest tests[] = {
        T(a_sealer_that_hangs_is_replaced_within_two_seconds_and_goes_on_when_it_wakes),
        T(what_a_killed_node_has_committed_is_numbered_by_another),
        T(one_node_feeds_a_listener_and_another_takes_over_when_it_hangs_stops_or_dies),
    };
    return RUN_ON_POSTGRES(tests);
}
