/* jobs.c - one thread hands jobs out, keeps their leases, looks for those that were cancelled and takes those of servers that
 * are gone; workers run them.
 *
 * A lease of another server is void when its row has not changed for jobs.lease_ms by this server's monotonic clock, and at once
 * when the server is known to have stopped, to run anew or to be away (core/nodes.h): no two machines' clocks are compared. What a
 * row says about the lease's end only has to differ from one renewal to the next. */
#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "core/config.h"
#include "core/events.h"
#include "core/jobs/internal.h"
#include "core/nodes.h"

#define POLL_US                                                                                              \
    (500LL * USEC_PER_MS) /* for what nobody woke us for: other nodes, retries, a time that has come */
#define WATCH_US (1LL * USEC_PER_S) /* between looks for cancelled jobs, while any runs */
#define FORGET_US (3600LL * USEC_PER_S)
#define SHOW_US (100LL * USEC_PER_MS)      /* between frames of progress */
#define STORE_US (1LL * USEC_PER_S)        /* between rows of progress */
#define AGAIN_MOST_US (600LL * USEC_PER_S) /* between two tries */
#define LOOK_US (1LL * USEC_PER_S)         /* PostgreSQL: between looks at the leases of others */
#define SHARE_US (20LL * USEC_PER_MS)      /* what is due beyond this node's share is left to the others for so long */
#define END_AGAIN_US (200LL * USEC_PER_MS) /* between tries to store how a job ended */
#define END_TRIES 20                       /* while the server stops; else until it is stored, or the lease is lost */
#define DEFAULT_TRIES 5
#define DEFAULT_TIMEOUT_S 3600

static struct db *main_db(const struct jobs *j) { return store_db(j->store, DB_MAIN); }

const struct job_kind *job_kind_of(const struct jobs *j, str name)
{
    for (unsigned i = 0; i < j->n_kinds; i++)
        if (str_eq(str_c(j->kinds[i]->name), name)) return j->kinds[i];
    return NULL;
}

/* --- for a running job --- */

const struct job *job_of(const struct job_run *run) { return &run->job; }
struct store *job_store(const struct job_run *run) { return run->jobs->store; }
struct arena *job_arena(struct job_run *run) { return &run->arena; }
str job_checkpoint(const struct job_run *run) { return run->checkpoint; }

static enum errc check_stop(struct job_run *run, err *e)
{
    if (run->is_lost)
        return err_set(e, ERR_CANCELLED, "the job's lease was lost: it may run elsewhere by now");
    if (run->is_cancelled) return err_set(e, ERR_CANCELLED, "the job was cancelled");
    if (run->jobs->is_stopping)
        return err_set(e, ERR_CANCELLED, "the server stops: the job goes on when it starts again");
    if (clock_mono_us() > run->until_us)
        return err_set(e, ERR_TIMEOUT, "the job took longer than its %u seconds",
                       run->kind->timeout_s ? run->kind->timeout_s : DEFAULT_TIMEOUT_S);
    return ERR_NONE;
}

static enum errc touch(struct job_run *run, tx_fn unit, struct job_touch *t, err *e)
{
    enum errc rc = db_write(main_db(run->jobs), unit, t, e);
    if (rc == ERR_NONE && t->is_lost) run->is_lost = true;
    return rc != ERR_NONE ? rc : check_stop(run, e);
}

enum errc job_save(struct job_run *run, str checkpoint, err *e)
{
    struct job_touch t = {
        .run = run, .lease_us = clock_now_us() + run->jobs->lease_us, .checkpoint = checkpoint};
    enum errc rc = check_stop(run, e);
    if (rc != ERR_NONE && (run->is_lost || run->is_cancelled)) return rc;
    rc = touch(run, job_save_unit, &t, e); /* also when the server stops: the next try goes on from here */
    if (!str_eq(checkpoint, run->checkpoint)) run->stalled = 1;
    return rc;
}

enum errc job_progress(struct job_run *run, int64_t done, int64_t total, str phase, err *e)
{
    struct job_progress *p = &run->view.progress;
    usec now = clock_mono_us();
    bool is_new_phase = !str_eq(p->phase, str_take(phase, JOB_PHASE_MAX)),
         is_last = total > 0 && done >= total && p->done != done;
    p->done = done;
    p->total = total;
    if (is_new_phase) {
        size_t len = phase.len < JOB_PHASE_MAX ? phase.len : JOB_PHASE_MAX;
        memcpy(run->phase, phase.p, len);
        p->phase = str_of(run->phase, len);
    }
    if (is_new_phase || is_last || now - run->live_us >= SHOW_US) {
        run->live_us = now;
        job_show(run->jobs, &run->view);
    }
    if (now - run->row_us >= STORE_US) {
        struct job_touch t = {.run = run};
        run->row_us = now;
        return touch(run, job_progress_unit, &t, e);
    }
    return check_stop(run, e);
}

void job_result(struct job_run *run, str json)
{
    buf_clear(&run->result);
    buf_add(&run->result, json);
}

/* --- the end of a try --- */

static usec backoff(const struct jobs *j, int64_t stalled)
{
    usec wait = j->retry_us;
    for (int64_t i = 1; i < stalled && wait < AGAIN_MOST_US; i++)
        wait *= 4;
    return wait < AGAIN_MOST_US ? wait : AGAIN_MOST_US;
}

static void decide(struct job_end *end, enum errc rc)
{
    struct job_run *run = end->run;
    unsigned most = run->kind->max_tries ? run->kind->max_tries : DEFAULT_TRIES;
    end->again_us = end->now_us;
    if (rc == ERR_NONE) {
        end->how = JOB_SUCCEEDED;
    } else if (run->is_cancelled) {
        end->how = JOB_CANCELLED;
        end->why = NULL;
    } else if (rc == ERR_CANCELLED && run->jobs->is_stopping) {
        end->how = JOB_RELEASED;
    } else if (errc_is_retryable(rc) && run->stalled < most) {
        end->how = JOB_AGAIN;
        end->again_us += backoff(run->jobs, run->stalled);
    } else {
        end->how = JOB_FAILED;
    }
}

static void show_end(const struct job_end *end)
{
    static const str states[] = {STR_LIT("succeeded"), STR_LIT("failed"), STR_LIT("cancelled"),
                                 STR_LIT("queued"), STR_LIT("queued")};
    struct job_view v = end->run->view;
    v.state = states[end->how];
    if (end->how <= JOB_CANCELLED) v.finished_at = end->now_us;
    if (end->how == JOB_SUCCEEDED)
        v.result = end->run->result.len ? buf_str(&end->run->result) : (str){0};
    else if (end->why) {
        v.error_code = str_c(errc_name(end->why->code));
        v.error = str_c(end->why->msg);
    }
    if (end->how == JOB_RELEASED) v.tries--;
    job_show(end->run->jobs, &v);
}

static void count_end(const struct job_end *end)
{
    struct jobs *j = end->run->jobs;
    struct stat_series *const of[] = {j->succeeded, j->failed, j->cancelled, j->retried, NULL};
    pthread_mutex_lock(&j->lock); /* workers share the slot */
    if (of[end->how]) stats_add(of[end->how], 0, 1);
    pthread_mutex_unlock(&j->lock);
}

static void finish(struct job_run *run, enum errc rc, err *why)
{
    struct jobs *j = run->jobs;
    struct job_end end = {.run = run, .why = why, .now_us = clock_now_us()};
    char id[UUID_TEXT_LEN + 1];
    err e = {0};
    if (run->result.failed && rc == ERR_NONE)
        rc = err_set(why, ERR_TOO_LARGE, "the job's result is more than %u bytes", JOB_RESULT_MAX);
    decide(&end, rc);
    end.event_id = event_id_of(&run->job.id, 0);
    run->is_ending = true;
    for (unsigned i = 1; !run->is_lost; i++) { /* while the database is away: the job must not run again for that */
        e = (err){0};
        if (db_write(main_db(j), job_end_unit, &end, &e) == ERR_NONE) break;
        if (i == 1) log_error(LOG_WARN, "job_end_not_stored", &e);
        if (j->is_stopping && i >= END_TRIES) break;
        struct timespec pause = {.tv_nsec = END_AGAIN_US * 1000};
        nanosleep(&pause, NULL);
    }
    if (end.is_lost || run->is_lost || e.code != ERR_NONE) return;
    if (end.how == JOB_FAILED || end.how == JOB_AGAIN)
        log_event(end.how == JOB_FAILED ? LOG_ERROR : LOG_WARN,
                  end.how == JOB_FAILED ? "job_failed" : "job_tries_again", LOG_S("kind", run->job.kind),
                  LOG_S("job", uuid_format(&run->job.id, id)), LOG_I("tries", run->view.tries),
                  LOG_S("error", str_c(errc_name(rc))), LOG_S("reason", str_c(why->msg)));
    count_end(&end);
    show_end(&end);
}

static void execute(struct job_run *run)
{
    unsigned most = run->kind->max_tries ? run->kind->max_tries : DEFAULT_TRIES;
    unsigned seconds = run->kind->timeout_s ? run->kind->timeout_s : DEFAULT_TIMEOUT_S;
    err e = {0};
    enum errc rc;
    run->until_us = clock_mono_us() + (usec)seconds * USEC_PER_S;
    if (run->is_cancelled || run->jobs->is_stopping) {
        rc = err_code(&e, ERR_CANCELLED);
    } else if (run->stalled > most) { /* the tries before ended with their server, and got nowhere */
        rc = err_set(&e, ERR_CANCELLED, "the server ended %u times while this job ran", most);
    } else {
        job_show(run->jobs, &run->view);
        rc = run->kind->run(run->kind->ctx, run, &e);
        if (rc != ERR_NONE && e.code == ERR_NONE) err_code(&e, rc);
    }
    finish(run, rc, &e);
}

static void run_free(struct job_run *run)
{
    buf_fini(&run->result);
    arena_fini(&run->arena);
    free(run);
}

/* --- workers --- */

static void *worker_main(void *arg)
{
    struct jobs *j = arg;
    pthread_mutex_lock(&j->lock);
    for (;;) {
        while (!j->waiting && !j->is_stopping)
            pthread_cond_wait(&j->has_work, &j->lock);
        struct job_run *run = j->waiting;
        if (!run) break;
        j->waiting = run->next;
        if (!j->waiting) j->waiting_last = &j->waiting;
        run->next = j->running;
        j->running = run;
        stats_add(j->running_now, 0, 1);
        pthread_mutex_unlock(&j->lock);
        execute(run);
        pthread_mutex_lock(&j->lock);
        struct job_run **at = &j->running;
        while (*at != run)
            at = &(*at)->next;
        *at = run->next;
        j->n_free++;
        stats_add(j->running_now, 0, -1);
        pthread_mutex_unlock(&j->lock);
        run_free(run);
        waker_wake(&j->waker);
        pthread_mutex_lock(&j->lock);
    }
    pthread_mutex_unlock(&j->lock);
    return NULL;
}

/* --- the dispatcher --- */

unsigned job_free_workers(struct jobs *j)
{
    pthread_mutex_lock(&j->lock);
    unsigned n = j->n_free;
    pthread_mutex_unlock(&j->lock);
    return n;
}

static bool has_runs(struct jobs *j)
{
    pthread_mutex_lock(&j->lock);
    bool has = j->running || j->waiting;
    pthread_mutex_unlock(&j->lock);
    return has;
}

static void hand_over(struct jobs *j, struct job_run *run)
{
    pthread_mutex_lock(&j->lock);
    run->next = NULL;
    *j->waiting_last = run;
    j->waiting_last = &run->next;
    j->n_free--;
    pthread_cond_signal(&j->has_work);
    pthread_mutex_unlock(&j->lock);
}

static void warn_once(bool *was_well, enum errc rc, const err *e)
{
    if (rc != ERR_NONE && *was_well) log_error(LOG_WARN, "jobs_wait_for_the_database", e);
    *was_well = rc == ERR_NONE;
}

/* Claims what is due, as many as there are free workers, and of several nodes each its share. *has_more: it left some to the
 * others for now. */
static enum errc claim(struct jobs *j, bool *has_more, err *e)
{
    unsigned n_free = job_free_workers(j), n_nodes = j->nodes ? nodes_alive(j->nodes) : 1;
    struct job_due due = {.jobs = j, .now_us = clock_now_us(), .most = n_free * n_nodes};
    struct arena a;
    struct job_claim c = {.jobs = j, .arena = &a, .now_us = due.now_us};
    *has_more = false;
    if (n_free == 0) return ERR_NONE;
    enum errc rc = db_read(main_db(j), job_due_unit, &due, e);
    if (rc != ERR_NONE || due.n == 0) return rc;
    c.most = (due.n + n_nodes - 1) / n_nodes;
    *has_more = c.most < due.n && c.most < n_free;
    arena_init(&a, JOB_ARENA_MAX, 4096);
    rc = db_write(main_db(j), job_claim_unit, &c, e);
    for (unsigned i = 0; rc == ERR_NONE && i < c.rows.n; i++) {
        struct job_run *run = job_run_of_row(j, row_at(&c.rows, i), c.now_us);
        if (run) hand_over(j, run); /* else it is found without a run */
    }
    arena_fini(&a);
    return rc;
}

static bool is_same(const uuid *a, const uuid *b) { return memcmp(a, b, sizeof *a) == 0; }

/* The run of a row of job_watch_unit; NULL: none here. Locked. */
static struct job_run *run_of(struct job_run *list, const struct val *row)
{
    uuid id = val_uuid(&row[0]);
    for (; list; list = list->next)
        if (is_same(&list->job.id, &id) && list->view.tries == val_int(&row[4])) return list;
    return NULL;
}

static bool has_row(const struct rows *rows, const struct job_run *run)
{
    for (unsigned i = 0; i < rows->n; i++) {
        uuid id = val_uuid(&row_at(rows, i)[0]);
        if (is_same(&run->job.id, &id) && run->view.tries == val_int(&row_at(rows, i)[4])) return true;
    }
    return false;
}

static struct job_lease lease_of(const struct val *row)
{
    return (struct job_lease){.id = val_uuid(&row[0]), .boot = val_uuid(&row[1]), .lease_us = val_int(&row[2])};
}

static enum errc void_leases(struct jobs *j, bool is_start, const struct job_lease *leases, unsigned n, err *e)
{
    struct job_void v = {.jobs = j, .now_us = clock_now_us(), .is_start = is_start, .leases = leases, .n = n};
    if (!is_start && n == 0) return ERR_NONE;
    enum errc rc = db_write(main_db(j), job_void_unit, &v, e);
    if (rc == ERR_NONE && v.n_voided) log_event(LOG_WARN, "jobs_resume", LOG_I("jobs", v.n_voided));
    return rc;
}

/* Runs whose row is not theirs any more, or says that they shall stop; and rows of ours that nothing runs for. */
static enum errc watch(struct jobs *j, err *e)
{
    struct arena a;
    struct job_watch w = {.jobs = j, .arena = &a};
    unsigned n_orphans = 0;
    arena_init(&a, 4u << 20, 4096);
    enum errc rc = db_read(main_db(j), job_watch_unit, &w, e);
    struct job_lease *orphans = arena_news(&a, struct job_lease, w.rows.n);
    if (rc == ERR_NONE && !orphans) rc = err_code(e, ERR_NO_MEMORY);
    pthread_mutex_lock(&j->lock);
    for (unsigned i = 0; rc == ERR_NONE && i < w.rows.n; i++) {
        const struct val *row = row_at(&w.rows, i);
        struct job_run *run = run_of(j->running, row);
        if (run && val_bool(&row[3])) run->is_cancelled = true;
        if (!run && !run_of(j->waiting, row)) orphans[n_orphans++] = lease_of(row);
    }
    for (struct job_run *run = rc == ERR_NONE ? j->running : NULL; run; run = run->next)
        if (!run->is_ending && !has_row(&w.rows, run)) run->is_lost = true;
    pthread_mutex_unlock(&j->lock);
    if (rc == ERR_NONE) rc = void_leases(j, false, orphans, n_orphans, e);
    arena_fini(&a);
    return rc;
}

/* Looks at the leases of others, and takes those that hold no longer. */
static enum errc judge(struct jobs *j, err *e)
{
    struct arena a;
    struct job_watch w = {.jobs = j, .arena = &a};
    usec now = clock_mono_us();
    unsigned n_lost = 0;
    arena_init(&a, 4u << 20, 4096);
    enum errc rc = db_read(main_db(j), job_leases_unit, &w, e);
    struct job_lease *seen = rc == ERR_NONE ? calloc(w.rows.n + 1, sizeof *seen) : NULL;
    struct job_lease *lost = arena_news(&a, struct job_lease, w.rows.n);
    if (rc == ERR_NONE && (!seen || !lost)) rc = err_code(e, ERR_NO_MEMORY);
    bool was_blind = !j->looked_us || now - j->looked_us > j->lease_us; /* and so perhaps were they: nobody's time ran */
    for (unsigned i = 0; rc == ERR_NONE && i < w.rows.n; i++) {
        const struct val *row = row_at(&w.rows, i);
        struct job_lease *l = &seen[i];
        *l = lease_of(row);
        l->changed_us = now;
        for (unsigned k = 0; k < j->n_leases && !was_blind; k++)
            if (is_same(&j->leases[k].id, &l->id) && is_same(&j->leases[k].boot, &l->boot) &&
                j->leases[k].lease_us == l->lease_us)
                l->changed_us = j->leases[k].changed_us;
        if (val_bool(&row[3]) || now - l->changed_us >= j->lease_us) lost[n_lost++] = *l;
    }
    if (rc == ERR_NONE) {
        free(j->leases);
        j->leases = seen;
        j->n_leases = w.rows.n;
        j->looked_us = now;
        rc = void_leases(j, false, lost, n_lost, e);
    } else {
        free(seen);
    }
    arena_fini(&a);
    return rc;
}

static enum errc keep_leases(struct jobs *j, err *e)
{
    struct job_touch t = {.jobs = j, .lease_us = clock_now_us() + j->lease_us};
    return db_write(main_db(j), job_lease_all_unit, &t, e);
}

static enum errc forget(struct jobs *j, err *e)
{
    struct job_sweep sweep = {.jobs = j, .now_us = clock_now_us()};
    enum errc rc = db_write(main_db(j), job_forget_unit, &sweep, e);
    for (unsigned i = 0; i < j->n_chores && rc == ERR_NONE; i++)
        rc = db_write(main_db(j), j->chores[i].unit, j->chores[i].ctx, e);
    return rc;
}

static void *dispatcher_main(void *arg)
{
    struct jobs *j = arg;
    usec lease_at = 0, watch_at = 0, look_at = 0, forget_at = 0, look_us = j->lease_us / 4;
    bool was_well = true, is_start = true, has_more = false;
    if (store_is_postgres(j->store) && look_us > LOOK_US) look_us = LOOK_US;
    do {
        usec now = clock_mono_us();
        err e = {0};
        enum errc rc = ERR_NONE;
        if (is_start && (rc = void_leases(j, true, NULL, 0, &e)) == ERR_NONE) is_start = false;
        if (rc == ERR_NONE && has_runs(j) && now >= lease_at) {
            rc = keep_leases(j, &e);
            lease_at = now + j->lease_us / 3;
        }
        if (j->has_been_told) {
            j->has_been_told = false;
            watch_at = 0;
        }
        if (rc == ERR_NONE && has_runs(j) && now >= watch_at) {
            rc = watch(j, &e);
            watch_at = now + WATCH_US;
        }
        if (rc == ERR_NONE && now >= look_at) {
            rc = judge(j, &e);
            look_at = now + look_us;
        }
        if (rc == ERR_NONE && now >= forget_at) {
            rc = forget(j, &e);
            forget_at = now + FORGET_US;
        }
        if (rc == ERR_NONE) rc = claim(j, &has_more, &e);
        warn_once(&was_well, rc, &e);
        if (rc == ERR_UNAVAILABLE || rc == ERR_BUSY) j->looked_us = 0;
    } while (waker_wait(&j->waker, has_more ? SHARE_US : POLL_US));
    return NULL;
}

/* --- life --- */

static void declare_stats(struct jobs *j)
{
    static const char *const labels[] = {"outcome", NULL};
    struct stat *ended =
        stats_declare(STAT_COUNTER, "catalyst_jobs_ended_total",
                      "Tries of background jobs that ended, by outcome.", labels, NULL, 0, 1);
    j->running_now = stats_series(stats_declare(STAT_GAUGE, "catalyst_jobs_running",
                                                "Background jobs that run on this node.", NULL, NULL, 0, 1),
                                  NULL);
    const str succeeded[] = {S("succeeded")}, failed[] = {S("failed")}, retried[] = {S("retried")},
              cancelled[] = {S("cancelled")};
    j->succeeded = stats_series(ended, succeeded);
    j->failed = stats_series(ended, failed);
    j->retried = stats_series(ended, retried);
    j->cancelled = stats_series(ended, cancelled);
}

enum errc jobs_new(struct jobs **out, struct store *s, struct live *live, const struct config *config,
                   const uuid *node, const uuid *boot, err *e)
{
    struct jobs *j = calloc(1, sizeof *j);
    *out = NULL;
    if (!j) return err_code(e, ERR_NO_MEMORY);
    j->store = s;
    j->live = live;
    j->node = *node;
    j->boot = *boot;
    j->n_threads = (unsigned)config_int(config, "jobs.threads");
    j->lease_us = config_int(config, "jobs.lease_ms") * USEC_PER_MS;
    j->retry_us = config_int(config, "jobs.retry_ms") * USEC_PER_MS;
    j->keep_us = config_int(config, "jobs.keep_days") * USEC_PER_DAY;
    j->waiting_last = &j->waiting;
    buf_init(&j->names, 64u << 10);
    buf_add_char(&j->names, ',');
    j->workers = calloc(j->n_threads, sizeof *j->workers);
    enum errc rc = waker_init(&j->waker, e);
    if (rc == ERR_NONE && !j->workers) rc = err_code(e, ERR_NO_MEMORY);
    if (pthread_mutex_init(&j->lock, NULL) != 0 || pthread_cond_init(&j->has_work, NULL) != 0)
        rc = err_code(e, ERR_NO_MEMORY);
    declare_stats(j);
    if (rc != ERR_NONE) {
        jobs_free(j);
        return rc;
    }
    *out = j;
    return ERR_NONE;
}

void jobs_add_kind(struct jobs *j, const struct job_kind *kind)
{
    assert(j->n_kinds < JOB_KINDS_MAX && !j->has_dispatcher && !job_kind_of(j, str_c(kind->name)));
    j->kinds[j->n_kinds++] = kind;
    buf_add(&j->names, str_c(kind->name));
    buf_add_char(&j->names, ',');
}

void jobs_add_chore(struct jobs *j, tx_fn unit, void *ctx)
{
    assert(j->n_chores < JOB_CHORES_MAX && !j->has_dispatcher);
    j->chores[j->n_chores].unit = unit;
    j->chores[j->n_chores++].ctx = ctx;
}

enum errc jobs_start(struct jobs *j, err *e)
{
    if (j->names.failed) return err_code(e, j->names.failed);
    for (; j->n_started < j->n_threads; j->n_started++) {
        int number = pthread_create(&j->workers[j->n_started], NULL, worker_main, j);
        if (number != 0) return err_errno(e, ERR_INTERNAL, number, "starting job worker %u", j->n_started);
    }
    j->n_free = j->n_started;
    int number = pthread_create(&j->dispatcher, NULL, dispatcher_main, j);
    if (number != 0) return err_errno(e, ERR_INTERNAL, number, "starting the dispatcher of jobs");
    j->has_dispatcher = true;
    return ERR_NONE;
}

void jobs_wake(struct jobs *j) { waker_wake(&j->waker); }

static void on_told(void *ctx)
{
    struct jobs *j = ctx;
    j->has_been_told = true;
    waker_wake(&j->waker);
}

void jobs_join(struct jobs *j, const struct nodes *nodes)
{
    j->nodes = nodes;
    store_on_told(j->store, TOPIC_JOBS, on_told, j);
}

void job_cancel_here(struct jobs *j, const uuid *id)
{
    pthread_mutex_lock(&j->lock);
    for (struct job_run *run = j->running; run; run = run->next)
        if (memcmp(&run->job.id, id, sizeof *id) == 0) run->is_cancelled = true;
    pthread_mutex_unlock(&j->lock);
}

void jobs_stop(struct jobs *j)
{
    if (!j) return;
    waker_stop(&j->waker);
    if (j->has_dispatcher) pthread_join(j->dispatcher, NULL);
    j->has_dispatcher = false;
    pthread_mutex_lock(&j->lock);
    j->is_stopping = true;
    pthread_cond_broadcast(&j->has_work);
    pthread_mutex_unlock(&j->lock);
    for (; j->n_started; j->n_started--)
        pthread_join(j->workers[j->n_started - 1], NULL);
}

void jobs_free(struct jobs *j)
{
    if (!j) return;
    jobs_stop(j);
    waker_fini(&j->waker);
    pthread_cond_destroy(&j->has_work);
    pthread_mutex_destroy(&j->lock);
    buf_fini(&j->names);
    free(j->leases);
    free(j->workers);
    free(j);
}

static const struct option options[] = {
    {.key = "jobs.threads",
     .type = OPTION_INT,
     .fallback = "4",
     .min = 1,
     .max = 64,
     .meaning = "Background jobs that run at a time on this node."},
    {.key = "jobs.lease_ms",
     .type = OPTION_MS,
     .fallback = "30s",
     .min = 1000,
     .max = 600000,
     .meaning = "A job whose node has not been heard of for so long is run by another."},
    {.key = "jobs.retry_ms",
     .type = OPTION_MS,
     .fallback = "5s",
     .min = 1,
     .max = 600000,
     .meaning =
         "Wait before a failed job's second try; four times as long before each later one, at most 10m."},
    {.key = "jobs.keep_days",
     .type = OPTION_INT,
     .fallback = "30",
     .min = 1,
     .max = 3650,
     .meaning = "Days that ended jobs are kept."},
};

const struct option_table jobs_options = {options, LENGTH_OF(options)};
