/* internal.h - what the parts of the log share: writing (events.c), people (people.c), numbering (seal.c),
 * listeners (follow.c), opening boxes (open.c). Private to core/events.
 */
#ifndef CORE_EVENTS_INTERNAL_H
#define CORE_EVENTS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/crypto.h"
#include "base/map.h"
#include "base/stats.h"
#include "base/waker.h"
#include "core/events.h"

struct follower {
    struct listener listener;
    struct stat_series *parked, *behind;
    int64_t stored; /* the cursor in the database */
    int64_t
        scanned; /* nothing up to here concerns the listener beyond what it has heard; not before `stored` */
    unsigned tries; /* failed ones of the event behind `scanned` */
    usec retry_us;  /* monotonic; 0: at once */
    bool is_loaded, is_parked, is_waiting /* for the database; told once */;
    bool is_held; /* by this node: it feeds the listener */
    struct {      /* its row, as it was last seen */
        uuid holder;
        int64_t held_us, number;
        usec since_us; /* monotonic: for how long it has been so at least */
    } seen;
};

struct people {
    struct store *store;
    uint8_t wrap[AEAD_KEY_LEN];
    pthread_mutex_t lock; /* guards known */
    struct map known;     /* bytes of the id -> struct person */
};

struct events {
    struct store *store;
    struct people people;
    struct waker seal, follow;
    atomic_bool is_shut;
    bool seals_itself; /* the sealer is a thread of ours: PostgreSQL */
    bool has_sealer, has_follower;
    pthread_t sealer, feeder;
    struct follower followers[EVENT_LISTENERS_MAX];
    unsigned n_followers;
    struct watcher watchers[EVENT_WATCHERS_MAX];
    unsigned n_watchers;
    void (*sealed)(void *ctx, int64_t number);
    void *sealed_ctx;
    int64_t head;    /* the feeder's: what `sealed` was told last */
    int64_t watched; /* what the watchers have seen */

    uuid holder;     /* of cursors: this log */
    int64_t held_us; /* grows with each renewal */
    usec looked_us;  /* at who holds what; 0: not yet */
    bool is_cut_off; /* then */
    bool is_blind;   /* the log could not be read the last time; told once */
};

/* --- people --- */

WARN_UNUSED enum errc people_init(struct people *p, struct store *s, const uint8_t *wrap, err *e);
void people_fini(struct people *p);
WARN_UNUSED enum errc people_ensure(struct people *p, const uuid *person, usec now_us, err *e);
/* The key when it is at hand. No I/O. */
WARN_UNUSED bool people_find(struct people *p, const uuid *person, uint8_t key[AEAD_KEY_LEN]);

/* The key as it is stored; *is_known false when there is none, or none any more. */
WARN_UNUSED enum errc people_stored_key(struct people *p, const uuid *person, uint8_t key[AEAD_KEY_LEN],
                                        bool *is_known, err *e);

#define SALT_LEN 16
#define BOX_MAX (64u << 10)

/* The personal values of one event about one person: struct boxes for shape_diff, and put by hand for the
 * client's. */
struct person_box {
    struct boxes boxes;
    uint8_t key[AEAD_KEY_LEN];
    uuid event_id, person_id;
    struct buf text; /* {"after.email":{"salt":"hex","json":"\"a@b.example\""},…} */
    struct json_writer w;
    bool is_empty;
};
/* ERR_INTERNAL: the person's key is not at hand. */
WARN_UNUSED enum errc person_box_init(struct person_box *b, struct people *p, const uuid *event_id,
                                      const uuid *person_id, err *e);
void person_box_fini(struct person_box *b);
/* place: "client.address"; value: its JSON. */
void person_box_put(struct person_box *b, str place, str value, struct json_writer *out);
/* What a box is bound to: its event and its person. */
str box_bound(const uuid *event_id, const uuid *person_id, char out[35]);
/* Writes the row, when it holds anything. */
WARN_UNUSED enum errc person_box_store(struct person_box *b, struct tx *tx, err *e);

/* --- numbering --- */

/* SQLite: the unit that numbers what is not numbered. */
WARN_UNUSED enum errc events_seal_unit(struct tx *tx, void *ctx, err *e);
void *events_sealer_main(void *arg); /* PostgreSQL: struct events * */

/* --- listeners --- */

void *events_feeder_main(void *arg);
WARN_UNUSED enum errc followers_load(struct events *log, err *e);
void followers_release(struct events *log); /* the thread has ended */
WARN_UNUSED enum errc watchers_load(struct events *log, err *e);

#endif
