/* A pool does what it took, refuses what it cannot take, and tells what waited too long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/stats.h"
#include "core/pool.h"

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_open;
    int n_inside;
};
static struct gate gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static atomic_int n_done, n_late;

static void count(struct pool_task *task, bool is_late)
{
    (void)task;
    if (is_late)
        n_late++;
    else
        n_done++;
}

static void wait_at_gate(struct pool_task *task, bool is_late)
{
    pthread_mutex_lock(&gate.lock);
    gate.n_inside++;
    pthread_cond_broadcast(&gate.changed);
    while (!gate.is_open)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
    count(task, is_late);
}

static void wait_until_inside(int n)
{
    pthread_mutex_lock(&gate.lock);
    while (gate.n_inside < n)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

static void open_gate(void)
{
    pthread_mutex_lock(&gate.lock);
    gate.is_open = true;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

static int setup(void **state)
{
    (void)state;
    n_done = n_late = 0;
    gate.is_open = false;
    gate.n_inside = 0;
    return stats_init(1) != ERR_NONE;
}

static int teardown(void **state)
{
    (void)state;
    clock_unfreeze();
    stats_fini();
    return 0;
}

static void everything_that_was_taken_is_done_before_the_stop_returns(void **state)
{
    (void)state;
    struct pool *p;
    static struct pool_task tasks[1000];
    assert_int_equal(pool_new(&p, &(struct pool_setup){"test", 4, 1000, 60000}, NULL), ERR_NONE);
    for (size_t i = 0; i < LENGTH_OF(tasks); i++) {
        tasks[i].run = count;
        assert_int_equal(pool_submit(p, &tasks[i], NULL), ERR_NONE);
    }
    pool_stop(p);
    assert_int_equal(n_done, 1000);
    assert_int_equal(pool_submit(p, &tasks[0], NULL), ERR_UNAVAILABLE);
    pool_free(p);
}

static void a_full_queue_refuses(void **state)
{
    (void)state;
    struct pool *p;
    struct pool_task tasks[5] = {
        {.run = wait_at_gate}, {.run = wait_at_gate}, {.run = count}, {.run = count}, {.run = count}};
    err e = {0};
    assert_int_equal(pool_new(&p, &(struct pool_setup){"test", 2, 2, 60000}, NULL), ERR_NONE);
    assert_int_equal(pool_submit(p, &tasks[0], NULL), ERR_NONE);
    assert_int_equal(pool_submit(p, &tasks[1], NULL), ERR_NONE);
    wait_until_inside(2);
    assert_int_equal(pool_submit(p, &tasks[2], NULL), ERR_NONE);
    assert_int_equal(pool_submit(p, &tasks[3], NULL), ERR_NONE);
    assert_int_equal(pool_submit(p, &tasks[4], &e), ERR_BUSY);
    assert_string_equal(e.msg, "the server is busy: 2 requests wait already");
    open_gate();
    pool_free(p);
    assert_int_equal(n_done, 4);
}

static void what_waited_too_long_is_told_by_the_next_that_comes(void **state)
{
    (void)state;
    struct pool *p;
    struct pool_task tasks[3] = {{.run = wait_at_gate}, {.run = count}, {.run = count}};
    clock_freeze(0, 1000000);
    assert_int_equal(pool_new(&p, &(struct pool_setup){"test", 1, 8, 100}, NULL), ERR_NONE);
    assert_int_equal(pool_submit(p, &tasks[0], NULL), ERR_NONE);
    wait_until_inside(1);
    assert_int_equal(pool_submit(p, &tasks[1], NULL), ERR_NONE);
    clock_freeze(0, 1000000 + 100001);
    assert_int_equal(pool_submit(p, &tasks[2], NULL), ERR_NONE);
    assert_int_equal(n_late, 1);
    open_gate();
    pool_free(p);
    assert_int_equal(n_done, 2);
    assert_int_equal(n_late, 1);
}

static void what_waited_too_long_is_told_by_the_thread_that_takes_it(void **state)
{
    (void)state;
    struct pool *p;
    struct buf metrics;
    struct pool_task tasks[2] = {{.run = wait_at_gate}, {.run = count}};
    clock_freeze(0, 1000000);
    assert_int_equal(pool_new(&p, &(struct pool_setup){"test", 1, 8, 100}, NULL), ERR_NONE);
    assert_int_equal(pool_submit(p, &tasks[0], NULL), ERR_NONE);
    wait_until_inside(1);
    assert_int_equal(pool_submit(p, &tasks[1], NULL), ERR_NONE);
    clock_freeze(0, 2000000);
    open_gate();
    pool_free(p);
    assert_int_equal(n_done, 1);
    assert_int_equal(n_late, 1);
    buf_init(&metrics, 1 << 20);
    stats_write(&metrics);
    assert_true(str_find(buf_str(&metrics), S("catalyst_pool_refused_total{pool=\"test\"} 1\n")) >= 0);
    assert_true(str_find(buf_str(&metrics), S("catalyst_pool_queued{pool=\"test\"} 0\n")) >= 0);
    assert_true(str_find(buf_str(&metrics), S("catalyst_pool_wait_seconds_count{pool=\"test\"} 2\n")) >= 0);
    buf_fini(&metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everything_that_was_taken_is_done_before_the_stop_returns, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_full_queue_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(what_waited_too_long_is_told_by_the_next_that_comes, setup, teardown),
        cmocka_unit_test_setup_teardown(what_waited_too_long_is_told_by_the_thread_that_takes_it, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
