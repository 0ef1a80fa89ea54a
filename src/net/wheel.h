/* wheel.h - time-outs of many connections: a hashed timer wheel, arming and disarming in O(1).
 *
 * Coarse on purpose: a timer fires up to one tick (WHEEL_TICK_MS) late, never early. Owners embed a struct wheel_timer.
 * Threads: one loop.
 * Source: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987), scheme 6.
 */
#ifndef NET_WHEEL_H
#define NET_WHEEL_H

#include "base/str.h"

#define WHEEL_TICK_MS 50
#define WHEEL_SLOTS 256

struct wheel_timer {
    struct wheel_timer *next, **link; /* link == NULL: not armed */
    uint64_t due_ms;
    void (*fire)(struct wheel_timer *t); /* disarmed before the call; may arm again */
};

struct wheel {
    struct wheel_timer *slots[WHEEL_SLOTS];
    uint64_t tick; /* the last one handled */
    size_t n;      /* armed timers */
};

void wheel_init(struct wheel *w, uint64_t now_ms);
/* Arms, or moves an armed timer. */
void wheel_arm(struct wheel *w, struct wheel_timer *t, uint64_t due_ms);
void wheel_disarm(struct wheel *w, struct wheel_timer *t);
static inline bool wheel_is_armed(const struct wheel_timer *t) { return t->link != NULL; }
/* Fires everything that is due. */
void wheel_advance(struct wheel *w, uint64_t now_ms);

#endif
