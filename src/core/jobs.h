/* jobs.h - background work: rows that are claimed by lease, retried, cancelled, and resumed after a crash.
 *
 * tx_job is the only way to cause an effect outside the database: the job exists when the unit that wanted
 * it commits. A job runs at least once and is idempotent by design; it may store a checkpoint and find it
 * again when it resumes. After kill -9 the lease of the old boot id is void at once on the same node, and on others as soon as
 * they know the node to be away or have seen no renewal for jobs.lease_ms; a run that has lost its lease is told to stop, and its
 * end is not stored.
 * Progress goes to the row now and then and to the live stream at once.
 * States: queued → running → succeeded | failed | cancelled; a failed try goes back to queued with backoff
 * until max_tries.
 * Threads: kinds run on the job threads (jobs.threads).
 */
#ifndef CORE_JOBS_H
#define CORE_JOBS_H

#include "core/api.h"

extern const struct option_table jobs_options;

struct jobs;
struct job_run;

struct job_kind {
    const char *name;           /* "workspace.purge"; never changes */
    unsigned max_tries;         /* without a new checkpoint; 0: 5 */
    unsigned timeout_s;         /* 0: 3600 */
    enum permission started_by; /* permission that may cancel another's job; PERMISSION_NONE: audit.read */
    enum errc (*run)(void *ctx, struct job_run *j, err *e);
    void *ctx;
};

struct job {
    uuid id; /* event_id_of the request or event that wants it: a unit that runs again adds the same one */
    str kind;
    uuid workspace_id, project_id, user_id; /* nil: none */
    str input;                              /* JSON */
    usec now_us, run_at_us;                 /* run_at_us 0: at once */
    str unique_key; /* while a job with this key is queued or running, another is not added; empty: none */
};
/* ERR_CONFLICT: a job with the unique key is under way already. */
WARN_UNUSED enum errc tx_job(struct tx *tx, const struct job *job, err *e);

/* A job as people see it (job_shape). */
struct job_progress {
    int64_t done, total; /* total 0: unknown */
    str phase;
};
struct job_view {
    uuid id, workspace_id, project_id, user_id;
    str kind, state;
    struct job_progress progress;
    str error_code, error; /* of the last failed try */
    str result;            /* JSON */
    int64_t tries;
    usec created_at, started_at, finished_at;
};
/* ERR_NOT_FOUND. For answers with 202 in the unit that added it, too. */
WARN_UNUSED enum errc tx_job_view(struct tx *tx, struct arena *a, const uuid *id, struct job_view *out,
                                  err *e);

/* --- for a running job --- */
const struct job *job_of(const struct job_run *j);
struct store *job_store(const struct job_run *j);
struct arena *job_arena(struct job_run *j);
str job_checkpoint(const struct job_run *j); /* JSON of the last job_save, empty at first */
/* Stores the checkpoint and extends the lease. ERR_CANCELLED: stop, somebody cancelled it (or the lease is
 * lost). */
WARN_UNUSED enum errc job_save(struct job_run *j, str checkpoint, err *e);
/* done of total (0: unknown), and a phase for people. Also tells whether to stop. */
WARN_UNUSED enum errc job_progress(struct job_run *j, int64_t done, int64_t total, str phase, err *e);
void job_result(struct job_run *j, str json); /* shown with the job */

/* In a unit that stores what the job does: ERR_CANCELLED when the job is not this run's any more, so that a run which lost its
 * lease changes nothing. */
WARN_UNUSED enum errc tx_job_holds(struct tx *tx, const struct job_run *j, err *e);

struct live;
struct nodes;
/* node: of the data folder; boot: of this start of it. live may be NULL. */
WARN_UNUSED enum errc jobs_new(struct jobs **out, struct store *s, struct live *live,
                               const struct config *config, const uuid *node, const uuid *boot, err *e);
/* Work is shared with the nodes that are alive, and what they add or cancel is seen at once. Before jobs_start and
 * store_listen. */
void jobs_join(struct jobs *j, const struct nodes *nodes);
void jobs_add_kind(struct jobs *j, const struct job_kind *kind); /* before jobs_start */
/* A unit of DB_MAIN that is run now and then, about every hour, on every node: forgetting what is old.
 * Before jobs_start. */
void jobs_add_chore(struct jobs *j, tx_fn unit, void *ctx);
WARN_UNUSED enum errc jobs_start(struct jobs *j, err *e);
void jobs_wake(struct jobs *j); /* after a commit that added one; else it is found within a second */
void jobs_stop(struct jobs *j); /* running jobs are asked to save and give up their lease */
void jobs_free(struct jobs *j);
extern const struct api_table jobs_api; /* GET /api/jobs, GET and DELETE /api/jobs/:id */
extern const struct shape job_shape;    /* also embedded in 202 answers */

#endif
