#include "core/api/rate.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/map.h"

#define MINUTE_US (60LL * USEC_PER_S)
#define NEIGHBOURHOODS 1024
#define NEIGHBOURS 16

struct rate_table {
    unsigned per_minute;
    int64_t cost_us; /* of one request: a minute / per_minute */
    struct {
        pthread_mutex_t lock; /* guards the rest */
        uint64_t keys[NEIGHBOURS];
        usec whole_us[NEIGHBOURS];
    } neighbourhoods[NEIGHBOURHOODS];
};

enum errc rate_new(struct rate_table **out, unsigned per_minute, err *e)
{
    struct rate_table *t = calloc(1, sizeof *t);
    *out = t;
    if (!t) return err_code(e, ERR_NO_MEMORY);
    t->per_minute = per_minute;
    t->cost_us = per_minute ? MINUTE_US / per_minute : 0;
    for (unsigned i = 0; i < NEIGHBOURHOODS; i++)
        pthread_mutex_init(&t->neighbourhoods[i].lock, NULL);
    return ERR_NONE;
}

void rate_free(struct rate_table *t)
{
    for (unsigned i = 0; t && i < NEIGHBOURHOODS; i++)
        pthread_mutex_destroy(&t->neighbourhoods[i].lock);
    free(t);
}

unsigned rate_per_minute(const struct rate_table *t) { return t->per_minute; }

static unsigned seconds_up(int64_t us)
{
    return us <= 0 ? 0 : (unsigned)((us + USEC_PER_S - 1) / USEC_PER_S);
}

struct rate_answer rate_take(struct rate_table *t, str key, usec now_mono_us)
{
    struct rate_answer answer = {.is_allowed = true, .left = t->per_minute};
    if (!t->per_minute) return answer;
    uint64_t hash = hash_bytes(key);
    unsigned at = 0;
    const int64_t allowance_us = t->cost_us * t->per_minute;
    __typeof__(t->neighbourhoods[0]) *n = &t->neighbourhoods[hash % NEIGHBOURHOODS];
    pthread_mutex_lock(&n->lock);
    for (unsigned i = 0; i < NEIGHBOURS; i++) {
        if (n->keys[i] == hash) {
            at = i;
            break;
        }
        if (n->whole_us[i] < n->whole_us[at]) at = i;
    }
    if (n->keys[at] != hash) {
        n->keys[at] = hash;
        n->whole_us[at] = 0;
    }
    usec whole = n->whole_us[at] > now_mono_us ? n->whole_us[at] : now_mono_us;
    answer.is_allowed = whole + t->cost_us - now_mono_us <= allowance_us;
    if (answer.is_allowed) n->whole_us[at] = whole += t->cost_us;
    pthread_mutex_unlock(&n->lock);
    answer.left = (unsigned)((allowance_us - (whole - now_mono_us)) / t->cost_us);
    answer.wait_s = answer.is_allowed ? seconds_up(whole - now_mono_us)
                                      : seconds_up(whole + t->cost_us - now_mono_us - allowance_us);
    return answer;
}
