/* internal.h - what the files of the gateway share: its state, the calls of a loop, their metrics. Private to src/gateway.
 */
#ifndef GATEWAY_INTERNAL_H
#define GATEWAY_INTERNAL_H

#include "base/arena.h"
#include "gateway/gateway.h"
#include "gateway/journal/journal.h"
#include "gateway/call/observe.h"
#include "gateway/call/request.h"
#include "gateway/call/worst.h"
#include "gateway/follow.h"
#include "gateway/lease/lease.h"
#include "gateway/ledger/drain.h"
#include "gateway/pools.h"
#include "gateway/rates/rows.h"
#include "gateway/snapshot/snapshot_build.h"
#include "store/store.h"

#define OUT_SLICES_MAX 56

struct gateway {
    _Atomic uint64_t version;   /* of latest: loops look at it before each call */
    pthread_mutex_t swap_lock;  /* guards latest */
    struct snapshot *latest;
    pthread_mutex_t build_lock; /* one builder at a time; guards base and next_version */
    struct snapshot_base *base;
    uint64_t next_version;
    struct journal *journal;
    struct conversations *conversations;
    struct gateway_backend backend; /* store NULL: not attached */
    struct drain *drain;
    struct leases *leases;      /* NULL: no other node can be there */
    unsigned lease_wait_ms;
    bool is_drain_locked;       /* by the builder: new counters have asked what was spent */
    bool knows_spent;           /* the counters of latest began with what the database has; guarded by build_lock */
    uint64_t max_birth;         /* of all counters; guarded by drain_lock */
    _Atomic uint64_t wanted;    /* rebuilds asked for */
    uint64_t built;             /* and done; guarded by build_lock */
    _Atomic int64_t log_number; /* of latest */
    struct follow *follow;      /* NULL: not attached */
    struct rate_pool *rates;    /* limits that other nodes share; NULL: none can */
    struct rate_rows *rate_rows;
    /* the drain thread's own */
    bool has_adopted;
    struct alerts *alerts;
    char *data_dir;
    unsigned drain_ms, keep_days, stale_max_ms, away_ms;
    bool is_strict;
    size_t event_max;       /* limits.stream_event_bytes */
    size_t answer_max;      /* limits.answer_bytes */
    unsigned n_loops;
    struct gateway_loop **loops;
    struct gateway_metrics *metrics;
};

struct call;

/* Answers whose last bytes wait for their record to be written. */
struct call_list {
    struct call *first, **last;
};
static inline void call_list_init(struct call_list *l) { *l = (struct call_list){NULL, &l->first}; }

struct gateway_loop {
    struct gateway *gateway;
    struct loop *loop;
    struct journal_writer *writer;
    struct pools pools;
    struct snapshot_use *use;   /* the current snapshot */
    struct call *open;          /* all calls that are not recorded yet */
    struct call_list ending;    /* their records are in the batch of this turn */
    struct call_list releasing; /* written, being let go */
    struct call_list syncing;   /* strict: written, not yet synced */
    struct call_list parked;    /* not decided yet: another thread has to ask the database */
    struct wheel_timer parked_timer;
    struct loop_task leased;    /* posted when they may ask again */
    _Atomic bool is_leased_posted;
    struct call *spare;         /* freed calls, kept for the next */
    unsigned n_spare;
    unsigned n_open;            /* calls admitted and not yet recorded */
    bool has_failed_flush;      /* a batch was lost: every answer that waits in `ending` must break off */
    struct loop_task synced;    /* posted by the journal thread */
    _Atomic bool is_synced_posted;
    struct loop_task adopt;     /* posted when there is a new snapshot */
    _Atomic bool is_adopt_posted;
    /* scratch of the read in progress: what goes to the client */
    struct buf head;            /* an answer's head */
    str body[OUT_SLICES_MAX];
    unsigned n_body;
    size_t body_len;
    struct buf request_head;    /* scratch for the head of a request to a provider */
    struct map metric_sets;     /* labels -> struct metric_set */
    struct arena metric_arena;
    struct stat_series *longest_turn; /* of this loop */
};

/* --- gateway.c --- */
/* One reference to the latest snapshot. */
struct snapshot *gateway_snapshot(struct gateway *g);
/* Something in the database has changed: builds the next snapshot and returns when it holds for every call that begins. Callers at the same time share
 * one. Without an err, for `after`: a failure is logged, and it is tried again. */
void gateway_changed(struct gateway *g);
/* False when the database has been away for longer than gateway.stale_max_ms: nobody knows which keys still hold. */
bool gateway_is_fresh(const struct gateway *g);
/* Any thread: calls that were parked may ask again. */
void gateway_leases_changed(void *gateway);
/* The loop's snapshot, brought up to date. */
const struct snapshot *gateway_current(struct gateway_loop *gl);

/* --- alerts.c --- */
struct alerts *alerts_new(void); /* NULL when out of memory */
void alerts_free(struct alerts *a);
/* On the drain's thread: tells of budgets that have passed a mark, once a period, and live streams of what was spent. */
void alerts_look(struct alerts *a, struct gateway *g, usec now_us);

/* --- admin/requests.c --- */
/* A live frame for a call that has ended. */
void requests_publish(struct gateway *g, const struct snapshot *s, const struct usage_record *r);

/* --- metrics.c --- */
struct metric_set;
struct gateway_metrics *gateway_metrics_new(void);
void gateway_metrics_free(struct gateway_metrics *m);
void gateway_metrics_started(struct gateway_loop *gl);
void gateway_metrics_record(struct gateway_loop *gl, const struct usage_record *r);
/* Once a turn: what the loop itself measured. */
void gateway_metrics_loop(struct gateway_loop *gl);
void gateway_metrics_journal_failed(struct gateway_loop *gl);
void gateway_metrics_parked(struct gateway_loop *gl, bool is_first);
void gateway_metrics_unparked(struct gateway_loop *gl);
/* On the drain's thread, now and then. */
void gateway_metrics_leases(struct gateway *g);

/* --- call.c --- */
/* secret is of the loop's current snapshot. */
void call_start(struct gateway_loop *gl, struct http_conn *c, const struct key_secret *secret, enum dialect d, const struct http_request *r);
/* At the end of a turn: writes the records of the turn and lets the ends of their answers go. */
void calls_end_turn(struct gateway_loop *gl);
/* Strict mode: lets go what has been synced. */
void calls_release_synced(struct gateway_loop *gl);
void calls_free_spare(struct gateway_loop *gl);
/* Calls that were parked are admitted again; those that have waited too long are refused. */
void calls_unpark(struct gateway_loop *gl);
/* A new snapshot holds: calls whose key is not in it any more are cut. */
void calls_revoke(struct gateway_loop *gl);

/* An error in a dialect's shape, with its fields. */
void gateway_refuse(struct http_conn *c, enum dialect d, const struct dialect_error *x);

#endif
