/* waker.h - how a thread of our own sleeps: until it is woken, for so long at most, or until it is told to
 * end.
 *
 * Time is the real monotonic clock, also when a test has frozen base/clock.
 * Threads: one waits, any wake.
 */
#ifndef BASE_WAKER_H
#define BASE_WAKER_H

#include <pthread.h>

#include "base/clock.h"
#include "base/err.h"

struct waker {
    pthread_mutex_t lock; /* guards the flags */
    pthread_cond_t changed;
    bool is_woken, is_stopping;
};
WARN_UNUSED enum errc waker_init(struct waker *w, err *e);
void waker_fini(struct waker *w);
void waker_wake(struct waker *w);
void waker_stop(struct waker *w);
bool waker_is_stopping(struct waker *w);
/* Sleeps until it is woken, or so many microseconds (-1: no limit). False when the thread is to end. */
bool waker_wait(struct waker *w, usec most_us);

#endif
