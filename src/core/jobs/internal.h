/* internal.h - what the parts of core/jobs share: rows (rows.c), claiming and running (jobs.c), endpoints
 * (routes.c). */
#ifndef CORE_JOBS_INTERNAL_H
#define CORE_JOBS_INTERNAL_H

#include <stdatomic.h>

#include "base/stats.h"
#include "base/waker.h"
#include "core/jobs.h"
#include "core/live.h"

#define JOB_KINDS_MAX 64
#define JOB_CHORES_MAX 16
#define JOB_RESULT_MAX (64u << 10)
#define JOB_PHASE_MAX 120
#define JOB_ARENA_MAX (64u << 20)

struct job_run {
    struct jobs *jobs;
    const struct job_kind *kind;
    struct arena arena;
    struct job job;
    struct job_view view; /* as the row was claimed; progress as it goes on */
    str checkpoint;
    int64_t stalled; /* tries since the checkpoint last moved, this one included */
    struct buf result;
    char phase[JOB_PHASE_MAX];
    usec until_us;             /* monotonic: its time is over */
    usec row_us, live_us;      /* monotonic: when progress was last stored and shown */
    _Atomic bool is_cancelled; /* somebody asked for it to stop */
    _Atomic bool is_lost;      /* the lease is somebody else's */
    _Atomic bool is_ending;    /* its end is being stored */
    struct job_run *next;
};

/* A lease of another boot, as it was seen. */
struct job_lease {
    uuid id, boot;
    usec lease_us;
    usec changed_us; /* monotonic: since when it has been as it is */
};

struct jobs {
    struct store *store;
    struct live *live;
    const struct nodes *nodes; /* NULL: nobody else is there */
    uuid node, boot;
    const struct job_kind *kinds[JOB_KINDS_MAX];
    struct {
        tx_fn unit;
        void *ctx;
    } chores[JOB_CHORES_MAX];
    unsigned n_kinds, n_chores, n_threads, n_started;
    struct buf names; /* ",a,b,c," */
    usec lease_us, retry_us, keep_us;
    struct waker waker; /* the dispatcher's */
    pthread_t dispatcher, *workers;
    bool has_dispatcher;
    struct job_lease *leases; /* the dispatcher's: of others, by id */
    unsigned n_leases;
    usec looked_us;             /* monotonic: when they were last seen; 0: not since the database was away */
    _Atomic bool has_been_told; /* another node has added or cancelled something */
    _Atomic bool is_stopping;
    pthread_mutex_t lock; /* guards what follows, and the list of runs */
    pthread_cond_t has_work;
    struct job_run *waiting, **waiting_last, *running;
    unsigned n_free; /* workers without a job, less the runs that wait for one */
    struct stat_series *running_now, *succeeded, *failed, *retried, *cancelled;
};

/* --- rows --- */

struct job_claim {
    const struct jobs *jobs;
    struct arena *arena; /* of the rows */
    unsigned most;
    usec now_us;
    struct rows rows; /* see job_run_of_row */
};
WARN_UNUSED enum errc job_claim_unit(struct tx *tx, void *claim, err *e);
/* A run of a claimed row, everything copied. NULL when out of memory. */
struct job_run *job_run_of_row(struct jobs *j, const struct val *row, usec now_us);

/* How a try ended. */
struct job_end {
    struct job_run *run;
    enum { JOB_SUCCEEDED, JOB_FAILED, JOB_CANCELLED, JOB_AGAIN, JOB_RELEASED } how;
    const err *why;
    usec now_us, again_us;
    uuid event_id;
    bool is_lost; /* out: the lease was not ours any more */
};
WARN_UNUSED enum errc job_end_unit(struct tx *tx, void *end, err *e);

struct job_touch { /* of one run, or of all of this boot */
    const struct job_run *run;
    const struct jobs *jobs;
    usec lease_us; /* until when */
    str checkpoint;
    bool is_lost; /* out */
};
WARN_UNUSED enum errc job_save_unit(struct tx *tx, void *touch, err *e);
WARN_UNUSED enum errc job_progress_unit(struct tx *tx, void *touch, err *e);
WARN_UNUSED enum errc job_lease_all_unit(struct tx *tx, void *touch, err *e);

struct job_watch {
    const struct jobs *jobs;
    struct arena *arena;
    struct rows rows;
};
/* This boot's leases: id, boot, lease, is_cancelled, tries. */
WARN_UNUSED enum errc job_watch_unit(struct tx *tx, void *watch, err *e);

/* Those of others, by id: id, boot, lease, whether their server is known to be gone. */
WARN_UNUSED enum errc job_leases_unit(struct tx *tx, void *watch, err *e);

/* Leases that hold no longer: their jobs are queued again. */
struct job_void {
    const struct jobs *jobs;
    usec now_us;
    bool is_start; /* all of this node's earlier boots */
    const struct job_lease *leases;
    unsigned n;
    int64_t n_voided; /* out */
};
WARN_UNUSED enum errc job_void_unit(struct tx *tx, void *sweep, err *e);

struct job_sweep {
    const struct jobs *jobs;
    usec now_us;
};
WARN_UNUSED enum errc job_forget_unit(struct tx *tx, void *sweep, err *e);

struct job_due {
    const struct jobs *jobs;
    usec now_us;
    unsigned most;
    unsigned n; /* out */
};
WARN_UNUSED enum errc job_due_unit(struct tx *tx, void *due, err *e);

#define JOB_VIEW_COLUMNS                                                                                     \
    "created_us, id, workspace_id, project_id, user_id, kind, state, done, total, phase, error_code, "       \
    "error, result, tries, started_us, finished_us"
void job_view_of_row(const struct val *row, struct job_view *out);

/* --- running --- */

const struct job_kind *job_kind_of(const struct jobs *j, str name);
/* Tells the live stream. */
void job_show(const struct jobs *j, const struct job_view *view);
unsigned job_free_workers(struct jobs *j);
/* A job that may run here is asked to stop. */
void job_cancel_here(struct jobs *j, const uuid *id);

#endif
