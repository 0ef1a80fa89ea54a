#include "net/wheel.h"

void wheel_init(struct wheel *w, uint64_t now_ms)
{
    *w = (struct wheel){.tick = now_ms / WHEEL_TICK_MS};
}

static void push(struct wheel_timer **list, struct wheel_timer *t)
{
    t->next = *list;
    if (t->next)
        t->next->link = &t->next;
    *list = t;
    t->link = list;
}

static void unlink_timer(struct wheel_timer *t)
{
    *t->link = t->next;
    if (t->next)
        t->next->link = t->link;
    t->link = NULL;
    t->next = NULL;
}

void wheel_arm(struct wheel *w, struct wheel_timer *t, uint64_t due_ms)
{
    if (t->link)
        unlink_timer(t);
    else
        w->n++;
    t->due_ms = due_ms;
    /* The tick that covers due_ms has not been handled before it is over: round up. */
    uint64_t tick = (due_ms + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS;
    if (tick <= w->tick)
        tick = w->tick + 1;
    push(&w->slots[tick % WHEEL_SLOTS], t);
}

void wheel_disarm(struct wheel *w, struct wheel_timer *t)
{
    if (!t->link)
        return;
    unlink_timer(t);
    w->n--;
}

/* Takes the slot's list aside first: a callback may arm and disarm any timer, those of the list included. */
static void run_slot(struct wheel *w, size_t slot, uint64_t now_ms)
{
    struct wheel_timer *due = w->slots[slot];
    w->slots[slot] = NULL;
    if (due)
        due->link = &due;
    while (due) {
        struct wheel_timer *t = due;
        unlink_timer(t);
        if (t->due_ms > now_ms) {
            push(&w->slots[slot], t); /* of a later round */
            continue;
        }
        w->n--;
        t->fire(t);
    }
}

void wheel_advance(struct wheel *w, uint64_t now_ms)
{
    uint64_t last = now_ms / WHEEL_TICK_MS;
    if (last > w->tick + WHEEL_SLOTS)
        w->tick = last - WHEEL_SLOTS; /* after a long pause one round sees every timer */
    while (w->tick < last) {
        w->tick++;
        run_slot(w, w->tick % WHEEL_SLOTS, now_ms);
    }
}
