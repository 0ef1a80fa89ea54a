#include "gateway/follow.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/waker.h"
#include "core/events.h"
#include "gateway/admin/rows.h"

#define LOOK_EVERY_US USEC_PER_S
#define RETRY_FIRST_US (USEC_PER_S / 8)
#define RETRY_LAST_US (2 * USEC_PER_S)
#define SILENT_AFTER_US (3 * USEC_PER_S) /* a look takes a millisecond */
#define WARN_EVERY_US (60 * USEC_PER_S)
#define REST_FACTOR 3                    /* building takes a quarter of a core at most, however fast changes come */

struct follow {
    struct follow_setup setup;
    _Atomic int64_t holds;       /* number of the log that the snapshot holds */
    _Atomic bool is_stale;       /* it could not be built, or nobody knows whether it has to be */
    _Atomic usec heard_mono_us;  /* when the database last answered */
    _Atomic bool is_wanted;      /* an event was seen that is not in the snapshot */
    _Atomic int64_t looked;      /* number of the log, up to which nothing has to be built; written by the thread */
    /* the thread's own */
    usec warned_us;
    bool has_failed;
    struct waker waker;
    pthread_t thread;
    bool has_thread;
};

static void heard(struct follow *f)
{
    usec now = clock_mono_us();
    if (now - f->heard_mono_us > SILENT_AFTER_US)
        log_event(LOG_INFO, "database_heard_again", LOG_I("silent_ms", (now - f->heard_mono_us) / 1000));
    f->heard_mono_us = now;
}

static void tell(struct follow *f, const char *what, const err *e)
{
    usec now = clock_mono_us();
    if (!f->has_failed || now - f->warned_us > WARN_EVERY_US) {
        log_error(LOG_ERROR, what, e);
        f->warned_us = now;
    }
    f->has_failed = true;
}

/* One look, and a new snapshot when there is something new; *rest_us: how long nothing is to be built afterwards. */
static enum errc look(struct follow *f, usec *rest_us)
{
    int64_t head, holds = f->holds;
    bool is_changed;
    err e;
    *rest_us = 0;
    if (f->looked < holds)
        f->looked = holds;
    enum errc rc = gateway_rows_changed(f->setup.store, f->looked, &head, &is_changed, &e);
    if (rc != ERR_NONE) {
        tell(f, "log_not_read", &e);
        return rc;
    }
    heard(f);
    if (is_changed || f->is_stale) {
        usec start = clock_mono_us();
        f->is_stale = false;
        if ((rc = f->setup.rebuild(f->setup.ctx, &head, &e)) != ERR_NONE) {
            f->is_stale = true;
            tell(f, "gateway_keeps_its_snapshot", &e);
            return rc;
        }
        *rest_us = REST_FACTOR * (clock_mono_us() - start);
    }
    if (f->has_failed)
        log_event(LOG_INFO, "gateway_follows_again", LOG_I("number", head));
    f->has_failed = false;
    f->looked = head;
    return ERR_NONE;
}

static void *thread_main(void *arg)
{
    struct follow *f = arg;
    usec retry_us = RETRY_FIRST_US, rest_us;
    for (;;) {
        f->is_wanted = false;
        bool is_well = look(f, &rest_us) == ERR_NONE;
        if (is_well)
            retry_us = RETRY_FIRST_US;
        else if ((retry_us *= 2) > RETRY_LAST_US)
            retry_us = RETRY_LAST_US;
        if (rest_us > 1000 && !waker_is_stopping(&f->waker))
            (void)!waker_wait(&f->waker, rest_us < USEC_PER_S / 4 ? rest_us : USEC_PER_S / 4);
        if (is_well && f->is_wanted && !waker_is_stopping(&f->waker))
            continue; /* the rest has swallowed what woke it */
        if (!waker_wait(&f->waker, is_well ? LOOK_EVERY_US : retry_us))
            return NULL;
    }
}

static void see(void *ctx, const struct sealed_event *ev)
{
    struct follow *f = ctx;
    if (ev->number <= f->holds)
        return;
    f->is_wanted = true;
    waker_wake(&f->waker);
}

/* --- life --- */

enum errc follow_new(struct follow **out, const struct follow_setup *setup, int64_t number, err *e)
{
    struct follow *f = calloc(1, sizeof *f);
    if (!f)
        return err_code(e, ERR_NO_MEMORY);
    enum errc rc = waker_init(&f->waker, e);
    if (rc != ERR_NONE) {
        free(f);
        return rc;
    }
    f->setup = *setup;
    f->holds = f->looked = number;
    f->heard_mono_us = clock_mono_us();
    events_watch(setup->events, &(struct watcher){gateway_rows_types, see, f});
    *out = f;
    return ERR_NONE;
}

enum errc follow_start(struct follow *f, err *e)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&f->thread, NULL, thread_main, f);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return err_errno(e, ERR_INTERNAL, failed, "cannot start the thread that follows the log for the gateway");
    f->has_thread = true;
    return ERR_NONE;
}

void follow_stop(struct follow *f)
{
    if (!f->has_thread)
        return;
    waker_stop(&f->waker);
    pthread_join(f->thread, NULL);
    f->has_thread = false;
}

void follow_free(struct follow *f)
{
    if (!f)
        return;
    follow_stop(f);
    waker_fini(&f->waker);
    free(f);
}

void follow_built(struct follow *f, int64_t number)
{
    int64_t before = f->holds;
    while (number > before && !atomic_compare_exchange_weak(&f->holds, &before, number))
        ;
    heard(f);
}

void follow_again(struct follow *f)
{
    f->is_stale = f->is_wanted = true;
    waker_wake(&f->waker);
}

static usec silent_us(const struct follow *f)
{
    usec since = clock_mono_us() - f->heard_mono_us;
    return f->has_thread ? since : 0;
}

bool follow_is_well(const struct follow *f, const char **reason)
{
    if (silent_us(f) > SILENT_AFTER_US)
        *reason = "database_unavailable";
    else if (f->is_stale)
        *reason = "snapshot_stale";
    else
        return true;
    return false;
}

bool follow_is_fresh(const struct follow *f) { return !f->setup.stale_max_ms || silent_us(f) < (usec)f->setup.stale_max_ms * 1000; }

int64_t follow_number(const struct follow *f)
{
    int64_t holds = f->holds, looked = f->looked;
    return holds > looked ? holds : looked;
}
