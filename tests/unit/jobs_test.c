/* Jobs: claimed, run, retried, cancelled, resumed. On both engines. */
#include "store_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/stats.h"
#include "core/config.h"
#include "core/events.h"
#include "core/jobs/internal.h"
#include "json/tree.h"

SQL(test_job, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT state, tries, result, error_code, checkpoint, done, run_at_us FROM jobs WHERE id = $1");
SQL(test_leave, DB_MAIN, SQL_INSTANCE, "uuiitu",
    "UPDATE jobs SET state = 'running', node_id = $1, boot_id = $2, lease_us = $3, tries = $4, stalled = $4, "
    "checkpoint = $5 WHERE id = $6");
SQL(test_cancel, DB_MAIN, SQL_INSTANCE, "u", "UPDATE jobs SET is_cancelled = 1 WHERE id = $1");
SQL(test_requeue, DB_MAIN, SQL_INSTANCE, "u",
    "UPDATE jobs SET state = 'queued', node_id = NULL, boot_id = NULL, lease_us = NULL WHERE id = $1");
SQL(test_failures, DB_MAIN, SQL_INSTANCE, "",
    "SELECT bytes FROM events WHERE type = 'job.failed' ORDER BY seq");
SQL(test_count_jobs, DB_MAIN, SQL_INSTANCE, "", "SELECT COUNT(*) FROM jobs");

static const uuid node = {{1}}, other_node = {{2}}, old_boot = {{3}}, user = {{4}}, workspace = {{5}};

/* What the test's own kind of job does next, set from outside. */
struct script {
    atomic_uint n_runs, n_reached;
    _Atomic bool goes_on;    /* a job that waits ends when this is set */
    _Atomic enum errc fails; /* with this */
    _Atomic unsigned fails_times;
    unsigned seen[512]; /* how often the job with this number ran */
    pthread_mutex_t lock;
};

struct state {
    struct store_fixture *f;
    struct store *store;
    struct events *log;
    struct config *config;
    struct jobs *jobs;
    struct script script;
    struct job_kind kinds[4];
    struct arena a;
    err e;
    unsigned n_ids;
};

static void wait_a_little(void) { usleep(2000); }

/* --- kinds --- */

/* Fails so often as it is told, then gives its input back. */
static enum errc run_echo(void *ctx, struct job_run *j, err *e)
{
    struct script *s = ctx;
    s->n_runs++;
    if (s->fails_times) {
        s->fails_times--;
        return err_set(e, s->fails, "told to fail");
    }
    job_result(j, job_of(j)->input);
    return job_progress(j, 1, 1, S("done"), e);
}

/* Saves where it is, then waits until it may go on or must stop. */
static enum errc run_wait(void *ctx, struct job_run *j, err *e)
{
    struct script *s = ctx;
    s->n_runs++;
    enum errc rc = job_checkpoint(j).len ? ERR_NONE : job_save(j, S("{\"at\":7}"), e);
    s->n_reached++;
    while (rc == ERR_NONE && !s->goes_on) {
        wait_a_little();
        rc = job_progress(j, 7, 10, S("waiting"), e);
    }
    if (rc == ERR_NONE) job_result(j, job_checkpoint(j).len ? job_checkpoint(j) : S("\"fresh\""));
    return rc;
}

static enum errc run_count(void *ctx, struct job_run *j, err *e)
{
    struct script *s = ctx;
    uint64_t n = 0;
    if (!str_to_u64(job_of(j)->input, &n) || n >= LENGTH_OF(s->seen))
        return err_set(e, ERR_INVALID, "no number");
    pthread_mutex_lock(&s->lock);
    s->seen[n]++;
    pthread_mutex_unlock(&s->lock);
    s->n_runs++;
    return ERR_NONE;
}

/* --- set-up --- */

static void configure(struct state *s)
{
    static const struct option_table *const tables[] = {&jobs_options};
    const struct config_setting flags[] = {{S("jobs.retry_ms"), S("20ms"), S("")},
                                           {S("jobs.lease_ms"), S("1s"), S("")}};
    struct config_source source = {
        .flags = flags, .n_flags = LENGTH_OF(flags), .tables = tables, .n_tables = 1};
    struct buf problems;
    buf_init(&problems, 10000);
    assert_int_equal(config_load(&s->a, &source, &s->config, &problems, &s->e), ERR_NONE);
    buf_fini(&problems);
}

static struct jobs *start(struct state *s, const uuid *on)
{
    struct jobs *j;
    uuid boot = uuid7_make(clock_now_us());
    assert_int_equal(jobs_new(&j, s->store, NULL, s->config, on, &boot, &s->e), ERR_NONE);
    for (unsigned i = 0; s->kinds[i].name; i++)
        jobs_add_kind(j, &s->kinds[i]);
    assert_int_equal(jobs_start(j, &s->e), ERR_NONE);
    return j;
}

static int set_up(void **state)
{
    static const uint8_t master[32] = {1};
    struct state *s = calloc(1, sizeof *s);
    void *fixture;
    if (fixture_set_up(&fixture) != 0) return -1;
    s->f = fixture;
    s->store = s->f->store;
    arena_init(&s->a, 16u << 20, 0);
    pthread_mutex_init(&s->script.lock, NULL);
    s->kinds[0] = (struct job_kind){.name = "test.echo", .max_tries = 3, .run = run_echo, .ctx = &s->script};
    s->kinds[1] = (struct job_kind){.name = "test.wait", .timeout_s = 60, .run = run_wait, .ctx = &s->script};
    s->kinds[2] = (struct job_kind){.name = "test.count", .run = run_count, .ctx = &s->script};
    configure(s);
    assert_int_equal(events_new(&s->log, s->store, master, &s->e), ERR_NONE);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct state *s = *state;
    void *fixture = s->f;
    s->script.goes_on = true;
    jobs_free(s->jobs);
    events_free(s->log);
    arena_fini(&s->a);
    pthread_mutex_destroy(&s->script.lock);
    free(s);
    return fixture_tear_down(&fixture);
}

static enum errc add_unit(struct tx *tx, void *ctx, err *e) { return tx_job(tx, ctx, e); }

static struct job make_job(struct state *s, const char *kind, const char *input)
{
    return (struct job){
        .id = event_id_of(&user, ++s->n_ids),
        .kind = str_c(kind),
        .user_id = user,
        .workspace_id = workspace,
        .input = str_c(input),
        .now_us = clock_now_us(),
    };
}

static uuid add(struct state *s, const char *kind, const char *input)
{
    struct job job = make_job(s, kind, input);
    assert_int_equal(db_write(store_db(s->store, DB_MAIN), add_unit, &job, &s->e), ERR_NONE);
    if (s->jobs) jobs_wake(s->jobs);
    return job.id;
}

struct look {
    struct arena *a;
    const struct sql *sql;
    const uuid *id;
    struct rows rows;
};

static enum errc look_unit(struct tx *tx, void *ctx, err *e)
{
    struct look *l = ctx;
    return l->id ? tx_query(tx, l->a, l->sql, PARAMS(v_uuid(l->id)), &l->rows, e)
                 : tx_query(tx, l->a, l->sql, NULL, 0, &l->rows, e);
}

static const struct val *row_of(struct state *s, const uuid *id)
{
    struct look l = {.a = &s->a, .sql = &test_job, .id = id};
    assert_int_equal(db_read(store_db(s->store, DB_MAIN), look_unit, &l, &s->e), ERR_NONE);
    assert_int_equal(l.rows.n, 1);
    return row_at(&l.rows, 0);
}

/* Waits until the job is in this state; its row. */
static const struct val *until(struct state *s, const uuid *id, const char *wanted)
{
    for (usec end = clock_mono_us() + 20 * USEC_PER_S;; wait_a_little()) {
        const struct val *row = row_of(s, id);
        if (str_eq(val_str(&row[0]), str_c(wanted))) return row;
        if (clock_mono_us() > end) fail_msg("the job is %.*s, not %s", STR(val_str(&row[0])), wanted);
    }
}

static void until_reached(struct state *s, unsigned n)
{
    for (usec end = clock_mono_us() + 20 * USEC_PER_S; s->script.n_reached < n; wait_a_little())
        assert_true(clock_mono_us() < end);
}

/* What a server that was killed leaves behind. */
struct left {
    const uuid *id, *node, *boot;
    usec lease_us;
    int64_t tries;
};

static enum errc leave_unit(struct tx *tx, void *ctx, err *e)
{
    const struct left *l = ctx;
    return tx_exec(tx, &test_leave,
                   PARAMS(v_uuid(l->node), v_uuid(l->boot), v_int(l->lease_us), v_int(l->tries),
                          v_text(S("{\"at\":5}")), v_uuid(l->id)),
                   NULL, e);
}

static void leave_running(struct state *s, const uuid *id, const uuid *on, usec lease_us, int64_t tries)
{
    struct left l = {id, on, &old_boot, lease_us, tries};
    assert_int_equal(db_write(store_db(s->store, DB_MAIN), leave_unit, &l, &s->e), ERR_NONE);
}

static enum errc requeue_unit(struct tx *tx, void *ctx, err *e)
{
    return tx_exec(tx, &test_requeue, PARAMS(v_uuid(ctx)), NULL, e);
}

/* --- tests --- */

static void a_job_runs_once_and_keeps_its_result(void **state)
{
    struct state *s = *state;
    s->jobs = start(s, &node);
    uuid id = add(s, "test.echo", "{\"a\":1}");
    const struct val *row = until(s, &id, "succeeded");
    assert_int_equal(val_int(&row[1]), 1);
    assert_true(str_eq(val_str(&row[2]), S("{\"a\":1}")));
    assert_true(row[3].type == VAL_NULL);
    assert_int_equal(val_int(&row[5]), 1);
    assert_int_equal(s->script.n_runs, 1);
}

static void a_failed_try_is_repeated_until_the_last(void **state)
{
    struct state *s = *state;
    s->jobs = start(s, &node);
    s->script.fails = ERR_IO;
    s->script.fails_times = 2;
    uuid id = add(s, "test.echo", "{}");
    const struct val *row = until(s, &id, "succeeded");
    assert_int_equal(val_int(&row[1]), 3);
    s->script.fails_times = 3;
    id = add(s, "test.echo", "{}");
    row = until(s, &id, "failed");
    assert_int_equal(val_int(&row[1]), 3);
    assert_true(str_eq(val_str(&row[3]), S("io_error")));
    struct look l = {.a = &s->a, .sql = &test_failures};
    assert_int_equal(db_read(store_db(s->store, DB_MAIN), look_unit, &l, &s->e), ERR_NONE);
    assert_int_equal(l.rows.n, 1);
    str bytes = val_str(row_at(&l.rows, 0));
    assert_true(str_find(bytes, S("\"kind\":\"test.echo\"")) > 0);
    assert_true(str_find(bytes, S("\"tries\":3")) > 0);
    assert_true(str_find(bytes, S("\"error\":\"io_error\"")) > 0);
}

static void what_trying_again_cannot_help_fails_at_once(void **state)
{
    struct state *s = *state;
    s->jobs = start(s, &node);
    s->script.fails = ERR_INVALID;
    s->script.fails_times = 1;
    uuid id = add(s, "test.echo", "{}");
    assert_int_equal(val_int(&until(s, &id, "failed")[1]), 1);
}

static void a_job_of_an_unknown_kind_waits_for_a_node_that_knows_it(void **state)
{
    struct state *s = *state;
    s->jobs = start(s, &node);
    uuid stranger = add(s, "test.ech", "{}"), id = add(s, "test.echo", "{}");
    until(s, &id, "succeeded");
    assert_true(str_eq(val_str(&row_of(s, &stranger)[0]), S("queued")));
}

static void a_job_waits_for_its_time(void **state)
{
    struct state *s = *state;
    struct job job = make_job(s, "test.echo", "{}");
    s->jobs = start(s, &node);
    job.run_at_us = job.now_us + 300 * USEC_PER_MS;
    assert_int_equal(db_write(store_db(s->store, DB_MAIN), add_unit, &job, &s->e), ERR_NONE);
    jobs_wake(s->jobs);
    until(s, &job.id, "succeeded");
    assert_true(clock_now_us() >= job.run_at_us);
}

static void a_unique_job_is_under_way_only_once(void **state)
{
    struct state *s = *state;
    struct job first = make_job(s, "test.wait", "{}"), second = make_job(s, "test.wait", "{}");
    struct db *db = store_db(s->store, DB_MAIN);
    first.unique_key = second.unique_key = S("only one");
    assert_int_equal(db_write(db, add_unit, &first, &s->e), ERR_NONE);
    assert_int_equal(db_write(db, add_unit, &second, &s->e), ERR_CONFLICT);
    s->jobs = start(s, &node);
    until_reached(s, 1);
    assert_int_equal(db_write(db, add_unit, &second, &s->e), ERR_CONFLICT);
    s->script.goes_on = true;
    until(s, &first.id, "succeeded");
    assert_int_equal(db_write(db, add_unit, &second, &s->e), ERR_NONE);
}

static enum errc cancel_unit(struct tx *tx, void *ctx, err *e)
{
    return tx_exec(tx, &test_cancel, PARAMS(v_uuid(ctx)), NULL, e);
}

static void a_running_job_stops_when_it_is_cancelled(void **state)
{
    struct state *s = *state;
    s->jobs = start(s, &node);
    uuid here = add(s, "test.wait", "{}"), elsewhere = add(s, "test.wait", "{}");
    until_reached(s, 2);
    job_cancel_here(s->jobs, &here);
    until(s, &here, "cancelled");
    /* by another node: found in the row */
    assert_int_equal(db_write(store_db(s->store, DB_MAIN), cancel_unit, &elsewhere, &s->e), ERR_NONE);
    until(s, &elsewhere, "cancelled");
}

static void a_stop_lets_jobs_go_and_they_go_on_from_their_checkpoint(void **state)
{
    struct state *s = *state;
    s->jobs = start(s, &node);
    uuid id = add(s, "test.wait", "{}");
    until_reached(s, 1);
    jobs_free(s->jobs);
    const struct val *row = row_of(s, &id);
    assert_true(str_eq(val_str(&row[0]), S("queued")));
    assert_int_equal(val_int(&row[1]), 0); /* the try does not count */
    assert_true(str_eq(val_str(&row[4]), S("{\"at\":7}")));
    s->script.goes_on = true;
    s->jobs = start(s, &node);
    row = until(s, &id, "succeeded");
    assert_true(str_eq(val_str(&row[2]), S("{\"at\":7}")));
    assert_int_equal(s->script.n_runs, 2);
}

static void jobs_of_a_killed_server_go_on_at_once_when_it_starts_again(void **state)
{
    struct state *s = *state;
    usec far = clock_now_us() + 3600LL * USEC_PER_S;
    uuid mine = add(s, "test.wait", "{}");
    leave_running(s, &mine, &node, far, 1);
    s->script.goes_on = true;
    s->jobs = start(s, &node);
    const struct val *row = until(s, &mine, "succeeded");
    assert_int_equal(val_int(&row[1]), 2);
    assert_true(str_eq(val_str(&row[2]), S("{\"at\":5}"))); /* from the checkpoint it had */
}

static void a_lease_is_void_when_it_was_not_renewed_whatever_the_clocks_say(void **state)
{
    struct state *s = *state;
    usec hour = 3600LL * USEC_PER_S, now = clock_now_us();
    uuid theirs = add(s, "test.wait", "{}"), ahead = add(s, "test.wait", "{}"), behind = add(s, "test.wait", "{}");
    leave_running(s, &ahead, &other_node, now + hour, 1); /* of a machine whose clock is an hour ahead, and that is gone */
    leave_running(s, &behind, &other_node, now - hour, 1);
    leave_running(s, &theirs, &other_node, now - 2 * hour, 1);
    s->script.goes_on = true;
    s->jobs = start(s, &node);
    /* a node whose clock is two hours behind renews its lease all the while */
    for (usec end = clock_mono_us() + 20 * USEC_PER_S, i = 1;; i++, wait_a_little()) {
        leave_running(s, &theirs, &other_node, now - 2 * hour + i, 1);
        bool is_done = true;
        for (unsigned k = 0; k < 2; k++)
            is_done = is_done && str_eq(val_str(&row_of(s, k ? &ahead : &behind)[0]), S("succeeded"));
        if (is_done) break;
        assert_true(clock_mono_us() < end);
    }
    assert_true(str_eq(val_str(&row_of(s, &theirs)[0]), S("running")));
    assert_int_equal(val_int(&row_of(s, &theirs)[1]), 1);
}

static void a_server_that_claims_again_what_it_lost_ends_the_run_that_lost_it(void **state)
{
    struct state *s = *state;
    s->jobs = start(s, &node);
    uuid id = add(s, "test.wait", "{}");
    until_reached(s, 1);
    assert_int_equal(db_write(store_db(s->store, DB_MAIN), requeue_unit, &id, &s->e), ERR_NONE); /* as others would */
    until_reached(s, 2);
    for (usec end = clock_mono_us() + 20 * USEC_PER_S; job_free_workers(s->jobs) + 1 < s->jobs->n_threads;
         wait_a_little())
        assert_true(clock_mono_us() < end);
    s->script.goes_on = true;
    const struct val *row = until(s, &id, "succeeded");
    assert_int_equal(val_int(&row[1]), 2);
    assert_true(str_eq(val_str(&row[2]), S("{\"at\":7}"))); /* of the second run, which began at the checkpoint */
}

static void a_job_that_takes_its_server_along_is_given_up(void **state)
{
    struct state *s = *state;
    uuid id = add(s, "test.echo", "{}");
    leave_running(s, &id, &node, 0, 3);
    s->jobs = start(s, &node);
    const struct val *row = until(s, &id, "failed");
    assert_int_equal(s->script.n_runs, 0);
    assert_true(row[3].type == VAL_TEXT);
}

static void a_lost_lease_stops_the_job_and_its_end_is_not_stored(void **state)
{
    struct state *s = *state;
    s->jobs = start(s, &node);
    uuid id = add(s, "test.wait", "{}");
    until_reached(s, 1);
    leave_running(s, &id, &other_node, clock_now_us() + 3600LL * USEC_PER_S,
                  1); /* another node has taken it over */
    for (usec end = clock_mono_us() + 20 * USEC_PER_S; job_free_workers(s->jobs) < s->jobs->n_threads;
         wait_a_little())
        assert_true(clock_mono_us() < end);
    assert_true(str_eq(val_str(&row_of(s, &id)[0]), S("running")));
}

static void two_nodes_share_the_work_and_no_job_runs_twice(void **state)
{
    struct state *s = *state;
    char input[8];
    const unsigned n = 200;
    uuid last = {0};
    for (unsigned i = 0; i < n; i++) {
        snprintf(input, sizeof input, "%u", i);
        last = add(s, "test.count", input);
    }
    s->jobs = start(s, &node);
    struct jobs *other = start(s, &other_node);
    for (usec end = clock_mono_us() + 60 * USEC_PER_S; s->script.n_runs < n; wait_a_little())
        assert_true(clock_mono_us() < end);
    until(s, &last, "succeeded");
    jobs_free(other);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(s->script.seen[i], 1);
}

static void ended_jobs_are_forgotten_after_their_days(void **state)
{
    struct state *s = *state;
    struct look l = {.a = &s->a, .sql = &test_count_jobs};
    s->jobs = start(s, &node);
    uuid id = add(s, "test.echo", "{}");
    until(s, &id, "succeeded");
    struct job_sweep sweep = {.jobs = s->jobs, .now_us = clock_now_us() + 29 * USEC_PER_DAY};
    assert_int_equal(db_write(store_db(s->store, DB_MAIN), job_forget_unit, &sweep, &s->e), ERR_NONE);
    assert_int_equal(db_read(store_db(s->store, DB_MAIN), look_unit, &l, &s->e), ERR_NONE);
    assert_int_equal(val_int(row_at(&l.rows, 0)), 1);
    sweep.now_us += 2 * USEC_PER_DAY;
    assert_int_equal(db_write(store_db(s->store, DB_MAIN), job_forget_unit, &sweep, &s->e), ERR_NONE);
    assert_int_equal(db_read(store_db(s->store, DB_MAIN), look_unit, &l, &s->e), ERR_NONE);
    assert_int_equal(val_int(row_at(&l.rows, 0)), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    log_set_fd(-1);
    if (stats_init(1) != ERR_NONE) return 1;
    const struct CMUnitTest tests[] = {
        T(a_job_runs_once_and_keeps_its_result),
        T(a_failed_try_is_repeated_until_the_last),
        T(what_trying_again_cannot_help_fails_at_once),
        T(a_job_of_an_unknown_kind_waits_for_a_node_that_knows_it),
        T(a_job_waits_for_its_time),
        T(a_unique_job_is_under_way_only_once),
        T(a_running_job_stops_when_it_is_cancelled),
        T(a_stop_lets_jobs_go_and_they_go_on_from_their_checkpoint),
        T(jobs_of_a_killed_server_go_on_at_once_when_it_starts_again),
        T(a_lease_is_void_when_it_was_not_renewed_whatever_the_clocks_say),
        T(a_server_that_claims_again_what_it_lost_ends_the_run_that_lost_it),
        T(a_job_that_takes_its_server_along_is_given_up),
        T(a_lost_lease_stops_the_job_and_its_end_is_not_stored),
        T(two_nodes_share_the_work_and_no_job_runs_twice),
        T(ended_jobs_are_forgotten_after_their_days),
    };
    return RUN_ON_BOTH(tests);
}
