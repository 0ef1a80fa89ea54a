#include "base/waker.h"

#include <time.h>

enum errc waker_init(struct waker *w, err *e)
{
    pthread_condattr_t attr;
    *w = (struct waker){0};
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    int number = pthread_mutex_init(&w->lock, NULL);
    if (number == 0) number = pthread_cond_init(&w->changed, &attr);
    pthread_condattr_destroy(&attr);
    return number == 0 ? ERR_NONE : err_errno(e, ERR_INTERNAL, number, "making a lock");
}

void waker_fini(struct waker *w)
{
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
}

void waker_wake(struct waker *w)
{
    pthread_mutex_lock(&w->lock);
    w->is_woken = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

void waker_stop(struct waker *w)
{
    pthread_mutex_lock(&w->lock);
    w->is_stopping = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

bool waker_is_stopping(struct waker *w)
{
    pthread_mutex_lock(&w->lock);
    bool is = w->is_stopping;
    pthread_mutex_unlock(&w->lock);
    return is;
}

bool waker_wait(struct waker *w, usec most_us)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    if (most_us > 0) {
        until.tv_sec += most_us / USEC_PER_S;
        until.tv_nsec += most_us % USEC_PER_S * 1000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
    }
    pthread_mutex_lock(&w->lock);
    while (!w->is_woken && !w->is_stopping && most_us != 0) {
        if (most_us < 0)
            pthread_cond_wait(&w->changed, &w->lock);
        else if (pthread_cond_timedwait(&w->changed, &w->lock, &until) != 0)
            break;
    }
    w->is_woken = false;
    bool goes_on = !w->is_stopping;
    pthread_mutex_unlock(&w->lock);
    return goes_on;
}
