#include "core/pool.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/stats.h"

struct pool_thread {
    struct pool *pool;
    pthread_t id;
    char name[16];
};

struct pool {
    struct pool_setup setup;
    pthread_mutex_t lock; /* guards everything below, and is what makes one slot of the metrics enough */
    pthread_cond_t has_task;
    struct pool_task *first, **last;
    unsigned n_queued, n_running, n_threads;
    bool is_stopping;
    struct stat_series *queued, *running, *wait, *refused;
    struct pool_thread threads[];
};

static const int64_t wait_bounds_us[] = {100, 1000, 5000, 25000, 100000, 500000, 1000000, 5000000, 10000000};

static void declare_metrics(struct pool *p)
{
    static const char *const labels[] = {"pool", NULL};
    str name[] = {str_c(p->setup.name)};
    p->queued = stats_series(stats_declare(STAT_GAUGE, "catalyst_pool_queued",
                                           "Tasks that wait for a thread.", labels, NULL, 0, 1),
                             name);
    p->running = stats_series(
        stats_declare(STAT_GAUGE, "catalyst_pool_running", "Tasks being done.", labels, NULL, 0, 1), name);
    p->wait = stats_series(stats_declare(STAT_HISTOGRAM, "catalyst_pool_wait_seconds",
                                         "Time from being queued to being begun.", labels, wait_bounds_us,
                                         LENGTH_OF(wait_bounds_us), 1000000),
                           name);
    p->refused =
        stats_series(stats_declare(STAT_COUNTER, "catalyst_pool_refused_total",
                                   "Tasks that found the queue full or waited too long.", labels, NULL, 0, 1),
                     name);
}

/* All under the lock. */
static struct pool_task *take(struct pool *p)
{
    struct pool_task *task = p->first;
    p->first = task->next;
    if (!p->first) p->last = &p->first;
    stats_set(p->queued, 0, --p->n_queued);
    return task;
}

static bool is_late(const struct pool *p, const struct pool_task *task, usec now)
{
    return now - task->queued_mono_us > (usec)p->setup.wait_ms * USEC_PER_MS;
}

static void *thread_main(void *arg)
{
    struct pool_thread *self = arg;
    struct pool *p = self->pool;
    pthread_setname_np(pthread_self(), self->name);
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->first && !p->is_stopping)
            pthread_cond_wait(&p->has_task, &p->lock);
        if (!p->first) break;
        struct pool_task *task = take(p);
        usec now = clock_mono_us();
        bool late = is_late(p, task, now);
        if (late) stats_add(p->refused, 0, 1);
        stats_observe(p->wait, 0, now - task->queued_mono_us);
        stats_set(p->running, 0, ++p->n_running);
        pthread_mutex_unlock(&p->lock);
        task->run(task, late);
        pthread_mutex_lock(&p->lock);
        stats_set(p->running, 0, --p->n_running);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

enum errc pool_new(struct pool **out, const struct pool_setup *setup, err *e)
{
    struct pool *p = calloc(1, sizeof *p + setup->threads * sizeof p->threads[0]);
    *out = NULL;
    if (!p) return err_code(e, ERR_NO_MEMORY);
    p->setup = *setup;
    p->last = &p->first;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->has_task, NULL);
    declare_metrics(p);
    for (; p->n_threads < setup->threads; p->n_threads++) {
        struct pool_thread *t = &p->threads[p->n_threads];
        t->pool = p;
        snprintf(t->name, sizeof t->name, "%.9s-%u", setup->name, p->n_threads % 100000);
        int rc = pthread_create(&t->id, NULL, thread_main, t);
        if (rc != 0) {
            err_errno(e, ERR_INTERNAL, rc, "starting thread %s", t->name);
            pool_free(p);
            return ERR_INTERNAL;
        }
    }
    *out = p;
    return ERR_NONE;
}

enum errc pool_submit(struct pool *p, struct pool_task *task, err *e)
{
    struct pool_task *late = NULL, **last_late = &late;
    enum errc rc = ERR_NONE;
    task->next = NULL;
    task->queued_mono_us = clock_mono_us();
    pthread_mutex_lock(&p->lock);
    /* When every thread is held up, nobody else tells those that wait. */
    while (p->first && is_late(p, p->first, task->queued_mono_us)) {
        *last_late = take(p);
        last_late = &(*last_late)->next;
        stats_add(p->refused, 0, 1);
    }
    *last_late = NULL;
    if (p->is_stopping) {
        rc = err_set(e, ERR_UNAVAILABLE, "the server is stopping");
    } else if (p->n_queued >= p->setup.queue) {
        rc = err_set(e, ERR_BUSY, "the server is busy: %u requests wait already", p->n_queued);
        stats_add(p->refused, 0, 1);
    } else {
        *p->last = task;
        p->last = &task->next;
        stats_set(p->queued, 0, ++p->n_queued);
        pthread_cond_signal(&p->has_task);
    }
    pthread_mutex_unlock(&p->lock);
    while (late) {
        struct pool_task *next = late->next;
        late->run(late, true);
        late = next;
    }
    return rc;
}

void pool_stop(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    p->is_stopping = true;
    pthread_cond_broadcast(&p->has_task);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->n_threads; i++)
        pthread_join(p->threads[i].id, NULL);
    p->n_threads = 0;
}

void pool_free(struct pool *p)
{
    if (!p) return;
    pool_stop(p);
    pthread_cond_destroy(&p->has_task);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
