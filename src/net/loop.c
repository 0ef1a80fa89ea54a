#include "net/loop.h"

#include <assert.h>
#include <stdlib.h>

static void run_hooks(struct loop *l)
{
    for (unsigned i = 0; i < l->n_hooks; i++)
        l->at_turn_end[i].run(l->at_turn_end[i].ctx);
}

/* Timers and posted tasks run before the poll: what they left to do must not wait for the next event. */
static void on_before_poll(uv_prepare_t *h)
{
    struct loop *l = h->data;
    run_hooks(l);
}

static void on_after_poll(uv_check_t *h)
{
    struct loop *l = h->data;
    run_hooks(l);
    /* uv_now was taken when the poll returned; a second clock reading a turn tells how long its callbacks ran */
    int64_t ran_us = (int64_t)(uv_hrtime() / 1000) - (int64_t)uv_now(&l->uv) * USEC_PER_MS;
    if (ran_us > l->longest_turn_us)
        l->longest_turn_us = ran_us;
    if (ran_us > LOOP_STALL_US + USEC_PER_MS) /* uv_now is cut to whole milliseconds */
        l->stalls++;
}

static void on_tick(uv_timer_t *h)
{
    struct loop *l = h->data;
    wheel_advance(&l->wheel, uv_now(&l->uv));
    if (l->wheel.n == 0) {
        uv_timer_stop(h);
        l->is_ticking = false;
    }
}

static void on_wake(uv_async_t *h)
{
    struct loop *l = h->data;
    pthread_mutex_lock(&l->inbox_lock);
    struct loop_task *task = l->inbox;
    l->inbox = NULL;
    l->inbox_last = &l->inbox;
    pthread_mutex_unlock(&l->inbox_lock);
    while (task) {
        struct loop_task *next = task->next;
        task->run(task);
        task = next;
    }
}

enum errc loop_init(struct loop *l, unsigned index, err *e)
{
    *l = (struct loop){.index = index};
    l->read_bytes = malloc(LOOP_READ_BYTES);
    if (!l->read_bytes)
        return err_code(e, ERR_NO_MEMORY);
    int rc = uv_loop_init(&l->uv);
    if (rc < 0) {
        free(l->read_bytes);
        return err_set(e, ERR_INTERNAL, "making an event loop: %s", uv_strerror(rc));
    }
    pthread_mutex_init(&l->inbox_lock, NULL);
    l->inbox_last = &l->inbox;
    wheel_init(&l->wheel, uv_now(&l->uv));
    l->tick.data = l->before_poll.data = l->after_poll.data = l->wake.data = l;
    uv_timer_init(&l->uv, &l->tick);
    uv_prepare_init(&l->uv, &l->before_poll);
    uv_prepare_start(&l->before_poll, on_before_poll);
    uv_check_init(&l->uv, &l->after_poll);
    uv_check_start(&l->after_poll, on_after_poll);
    rc = uv_async_init(&l->uv, &l->wake, on_wake);
    if (rc < 0)
        return err_set(e, ERR_INTERNAL, "making an event loop's wake-up: %s", uv_strerror(rc));
    return ERR_NONE;
}

static _Thread_local bool is_here;

bool loop_is_here(void) { return is_here; }

void loop_run(struct loop *l)
{
    is_here = true;
    uv_run(&l->uv, UV_RUN_DEFAULT);
    is_here = false;
}

static void *thread_main(void *arg)
{
    loop_run(arg);
    return NULL;
}

enum errc loop_start(struct loop *l, err *e)
{
    int rc = pthread_create(&l->thread, NULL, thread_main, l);
    if (rc != 0)
        return err_errno(e, ERR_INTERNAL, rc, "starting loop %u", l->index);
    l->is_threaded = true;
    return ERR_NONE;
}

void loop_finish(struct loop *l)
{
    uv_close((uv_handle_t *)&l->tick, NULL);
    uv_close((uv_handle_t *)&l->before_poll, NULL);
    uv_close((uv_handle_t *)&l->after_poll, NULL);
    uv_close((uv_handle_t *)&l->wake, NULL);
}

void loop_join(struct loop *l)
{
    if (l->is_threaded)
        pthread_join(l->thread, NULL);
    l->is_threaded = false;
}

void loop_fini(struct loop *l)
{
    int rc = uv_loop_close(&l->uv);
    assert(rc == 0 && "every handle of a finished loop is closed");
    (void)rc;
    pthread_mutex_destroy(&l->inbox_lock);
    free(l->read_bytes);
}

void loop_at_turn_end(struct loop *l, void (*run)(void *ctx), void *ctx)
{
    assert(l->n_hooks < LOOP_HOOKS_MAX);
    l->at_turn_end[l->n_hooks].run = run;
    l->at_turn_end[l->n_hooks++].ctx = ctx;
}

void loop_post(struct loop *l, struct loop_task *task)
{
    task->next = NULL;
    pthread_mutex_lock(&l->inbox_lock);
    *l->inbox_last = task;
    l->inbox_last = &task->next;
    pthread_mutex_unlock(&l->inbox_lock);
    uv_async_send(&l->wake);
}

void loop_arm(struct loop *l, struct wheel_timer *t, uint64_t delay_ms)
{
    wheel_arm(&l->wheel, t, uv_now(&l->uv) + delay_ms);
    if (!l->is_ticking) {
        uv_timer_start(&l->tick, on_tick, WHEEL_TICK_MS, WHEEL_TICK_MS);
        l->is_ticking = true;
    }
}
