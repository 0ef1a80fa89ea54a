/* loop.h - one event loop per core: libuv, a timer wheel, shared read buffer, and work at the end of each turn.
 *
 * A connection never leaves its loop. What happens in one turn (all events of one poll) may share a system call: hooks registered with loop_at_turn_end
 * run after the events of a turn and before the loop sleeps again.
 * Threads: everything but loop_post belongs to the loop's own thread once it runs.
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <pthread.h>
#include <uv.h>

#include "base/clock.h"
#include "base/err.h"
#include "net/http1.h"
#include "net/wheel.h"

#define LOOP_READ_BYTES (128u << 10) /* one read takes at most so much; holds the usual request or answer whole */
#define LOOP_HOOKS_MAX 4
#define LOOP_STALL_US 1000 /* a turn's callbacks should not run longer; longer ones are counted */

struct loop_task {
    struct loop_task *next;
    void (*run)(struct loop_task *task);
};

struct loop {
    uv_loop_t uv;
    unsigned index;
    struct wheel wheel;
    char *read_bytes;          /* LOOP_READ_BYTES; what was read is valid until the callback returns */
    struct http_head head;     /* scratch of whoever parses a head; valid until the next head is parsed */
    struct {
        void (*run)(void *ctx);
        void *ctx;
    } at_turn_end[LOOP_HOOKS_MAX];
    unsigned n_hooks;
    uint64_t stalls;           /* turns over LOOP_STALL_US */
    int64_t longest_turn_us;
    /* private */
    uv_timer_t tick;
    uv_prepare_t before_poll;
    uv_check_t after_poll;
    uv_async_t wake;
    pthread_t thread;
    bool is_threaded, is_ticking;
    usec turn_began_us;
    pthread_mutex_t inbox_lock; /* guards inbox */
    struct loop_task *inbox, **inbox_last;
};

WARN_UNUSED enum errc loop_init(struct loop *l, unsigned index, err *e);
/* Runs until loop_finish; loop_start does so on a thread of its own. */
void loop_run(struct loop *l);
WARN_UNUSED enum errc loop_start(struct loop *l, err *e);
/* On the loop's thread: closes the loop's own handles; loop_run returns when all others are closed too. */
void loop_finish(struct loop *l);
void loop_join(struct loop *l);
/* After loop_run has returned. */
void loop_fini(struct loop *l);

void loop_at_turn_end(struct loop *l, void (*run)(void *ctx), void *ctx);
/* Any thread: runs the task on the loop's thread. The task's memory belongs to the caller until it runs. */
void loop_post(struct loop *l, struct loop_task *task);

static inline uint64_t loop_now_ms(const struct loop *l) { return uv_now(&l->uv); }
void loop_arm(struct loop *l, struct wheel_timer *t, uint64_t delay_ms);
/* Whether this thread runs a loop right now: what blocks asserts that it does not. */
bool loop_is_here(void);
static inline void loop_disarm(struct loop *l, struct wheel_timer *t) { wheel_disarm(&l->wheel, t); }

#endif
