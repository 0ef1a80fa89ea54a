/* rows.c - the SQL of jobs. */
#include <stdlib.h>

#include "core/events.h"
#include "core/jobs/internal.h"

SQL(add_job, DB_MAIN, 0, "uuuuttiit",
    "INSERT INTO jobs (id, workspace_id, project_id, user_id, kind, state, input, done, total, phase, tries, "
    "stalled, run_at_us, created_us, unique_key, is_cancelled) "
    "VALUES ($1, $2, $3, $4, $5, 'queued', $6, 0, 0, '', 0, 0, $7, $8, $9, 0) ON CONFLICT DO NOTHING");
SQL(find_job, DB_MAIN, SQL_INSTANCE, "u", "SELECT " JOB_VIEW_COLUMNS " FROM jobs WHERE id = $1");

#define DUE "state = 'queued' AND run_at_us <= $1"
SQL_PER_ENGINE(job_due, DB_MAIN, SQL_INSTANCE, "iti",
               "SELECT id FROM jobs WHERE " DUE " AND instr($2, ',' || kind || ',') > 0 LIMIT $3",
               "SELECT id FROM jobs WHERE " DUE " AND strpos($2, ',' || kind || ',') > 0 LIMIT $3");
#define CLAIM_COLUMNS JOB_VIEW_COLUMNS ", input, checkpoint, is_cancelled, stalled"
SQL_PER_ENGINE(jobs_due, DB_MAIN, SQL_INSTANCE, "iti",
               "SELECT " CLAIM_COLUMNS " FROM jobs WHERE " DUE
               " AND instr($2, ',' || kind || ',') > 0 ORDER BY run_at_us, id LIMIT $3",
               "SELECT " CLAIM_COLUMNS " FROM jobs WHERE " DUE
               " AND strpos($2, ',' || kind || ',') > 0 ORDER BY run_at_us, id LIMIT $3 "
               "FOR UPDATE SKIP LOCKED");
SQL(claim_job, DB_MAIN, SQL_INSTANCE, "uuiiu",
    "UPDATE jobs SET state = 'running', node_id = $1, boot_id = $2, lease_us = $3, tries = tries + 1, "
    "stalled = stalled + 1, started_us = COALESCE(started_us, $4) "
    "WHERE id = $5 AND state = 'queued'");

/* A run owns its row while the boot and the number of tries are its own: a server that hung may claim again what was taken from
 * it, while its first run still goes on. */
SQL(save_job, DB_MAIN, SQL_INSTANCE, "tiuui",
    "UPDATE jobs SET stalled = CASE WHEN checkpoint = $1 THEN stalled ELSE 1 END, checkpoint = $1, lease_us "
    "= $2 WHERE id = $3 AND boot_id = $4 AND tries = $5 AND state = 'running'");
SQL(progress_job, DB_MAIN, SQL_INSTANCE, "iituui",
    "UPDATE jobs SET done = $1, total = $2, phase = $3 WHERE id = $4 AND boot_id = $5 AND tries = $6 AND "
    "state = 'running'");
SQL(job_is_held, DB_MAIN, SQL_INSTANCE, "uui",
    "SELECT id FROM jobs WHERE id = $1 AND boot_id = $2 AND tries = $3 AND state = 'running'");
SQL(lease_jobs, DB_MAIN, SQL_INSTANCE, "iu",
    "UPDATE jobs SET lease_us = $1 WHERE boot_id = $2 AND state = 'running'");
SQL(watch_jobs, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT id, boot_id, lease_us, is_cancelled, tries FROM jobs WHERE state = 'running' AND boot_id = $1");
SQL(end_job, DB_MAIN, SQL_INSTANCE, "tttiiituui",
    "UPDATE jobs SET state = $1, error_code = $2, error = $3, done = $4, total = $5, finished_us = $6, "
    "result = $7, node_id = NULL, boot_id = NULL, "
    "lease_us = NULL WHERE id = $8 AND boot_id = $9 AND tries = $10 AND state = 'running'");
SQL(release_job, DB_MAIN, SQL_INSTANCE, "ittiiuui",
    "UPDATE jobs SET state = 'queued', run_at_us = $1, error_code = $2, error = $3, tries = tries - $4, "
    "stalled = stalled - $5, node_id = NULL, boot_id = NULL, lease_us = NULL "
    "WHERE id = $6 AND boot_id = $7 AND tries = $8 AND state = 'running'");

#define VOID                                                                                                 \
    "UPDATE jobs SET state = 'queued', run_at_us = $1, node_id = NULL, boot_id = NULL, lease_us = NULL "
SQL(void_lost, DB_MAIN, SQL_INSTANCE, "iuui",
    VOID "WHERE id = $2 AND boot_id = $3 AND lease_us = $4 AND state = 'running'");
SQL(list_leases, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT j.id, j.boot_id, j.lease_us, CASE WHEN n.boot_id <> j.boot_id OR n.state IN ('away', 'stopped') THEN 1 ELSE 0 END "
    "FROM jobs j LEFT JOIN nodes n ON n.id = j.node_id WHERE j.state = 'running' AND j.boot_id <> $1 ORDER BY j.id");
SQL(void_of_node, DB_MAIN, SQL_INSTANCE, "iuu",
    VOID "WHERE state = 'running' AND node_id = $2 AND boot_id <> $3");
SQL(forget_jobs, DB_MAIN, SQL_INSTANCE, "i",
    "DELETE FROM jobs WHERE finished_us IS NOT NULL AND finished_us < $1");

enum errc tx_job(struct tx *tx, const struct job *job, err *e)
{
    int64_t added = 0;
    enum errc rc = tx_exec(tx, &add_job,
                           PARAMS(v_uuid(&job->id), v_uuid_or_null(&job->workspace_id),
                                  v_uuid_or_null(&job->project_id), v_uuid_or_null(&job->user_id),
                                  v_text(job->kind), v_text(job->input.len ? job->input : S("{}")),
                                  v_int(job->run_at_us ? job->run_at_us : job->now_us), v_int(job->now_us),
                                  job->unique_key.len ? v_text(job->unique_key) : v_null()),
                           &added, e);
    if (rc == ERR_NONE && added == 0)
        return err_set(e, ERR_CONFLICT, "such a job (%.*s) is under way already", STR(job->kind));
    return rc == ERR_NONE ? tx_tell(tx, TOPIC_JOBS, e) : rc;
}

void job_view_of_row(const struct val *v, struct job_view *out)
{
    *out = (struct job_view){
        .created_at = val_int(&v[0]),
        .id = val_uuid(&v[1]),
        .workspace_id = val_uuid(&v[2]),
        .project_id = val_uuid(&v[3]),
        .user_id = val_uuid(&v[4]),
        .kind = val_str(&v[5]),
        .state = val_str(&v[6]),
        .progress = {val_int(&v[7]), val_int(&v[8]), val_str(&v[9])},
        .error_code = val_str(&v[10]),
        .error = val_str(&v[11]),
        .result = val_str(&v[12]),
        .tries = val_int(&v[13]),
        .started_at = val_int(&v[14]),
        .finished_at = val_int(&v[15]),
    };
}

enum errc tx_job_view(struct tx *tx, struct arena *a, const uuid *id, struct job_view *out, err *e)
{
    const struct val *row;
    enum errc rc = tx_query_row(tx, a, &find_job, PARAMS(v_uuid(id)), &row, e);
    if (rc == ERR_NONE) job_view_of_row(row, out);
    return rc;
}

/* --- claiming --- */

enum errc job_due_unit(struct tx *tx, void *ctx, err *e)
{
    struct job_due *d = ctx;
    struct arena a;
    struct rows rows;
    arena_init(&a, 64u << 10, 512);
    enum errc rc = tx_query(tx, &a, &job_due,
                            PARAMS(v_int(d->now_us), v_text(buf_str(&d->jobs->names)), v_int(d->most)), &rows, e);
    d->n = rc == ERR_NONE ? rows.n : 0;
    arena_fini(&a);
    return rc;
}

enum errc job_claim_unit(struct tx *tx, void *ctx, err *e)
{
    struct job_claim *c = ctx;
    enum errc rc =
        tx_query(tx, c->arena, &jobs_due,
                 PARAMS(v_int(c->now_us), v_text(buf_str(&c->jobs->names)), v_int(c->most)), &c->rows, e);
    for (unsigned i = 0; i < c->rows.n && rc == ERR_NONE; i++)
        rc = tx_exec_unaudited(tx, &claim_job,
                               PARAMS(v_uuid(&c->jobs->node), v_uuid(&c->jobs->boot),
                                      v_int(c->now_us + c->jobs->lease_us), v_int(c->now_us),
                                      row_at(&c->rows, i)[1]),
                               NULL, e);
    return rc;
}

static str copy(struct arena *a, str s, bool *is_full)
{
    if (!s.p) return s;
    str out = str_dup(a, s);
    *is_full |= !out.p;
    return out;
}

struct job_run *job_run_of_row(struct jobs *j, const struct val *row, usec now_us)
{
    struct job_run *run = calloc(1, sizeof *run);
    bool is_full = false;
    if (!run) return NULL;
    arena_init(&run->arena, JOB_ARENA_MAX, 0);
    buf_init(&run->result, JOB_RESULT_MAX);
    run->jobs = j;
    struct job_view *v = &run->view;
    job_view_of_row(row, v);
    v->kind = copy(&run->arena, v->kind, &is_full);
    v->state = S("running");
    v->progress.phase = S("");
    v->error_code = v->error = v->result = (str){0};
    v->tries++;
    if (v->started_at == NO_VALUE) v->started_at = now_us;
    run->kind = job_kind_of(j, v->kind);
    run->checkpoint = copy(&run->arena, val_str(&row[17]), &is_full);
    run->is_cancelled = val_bool(&row[18]);
    run->stalled = val_int(&row[19]) + 1;
    run->job = (struct job){
        .id = v->id,
        .kind = v->kind,
        .workspace_id = v->workspace_id,
        .project_id = v->project_id,
        .user_id = v->user_id,
        .input = copy(&run->arena, val_str(&row[16]), &is_full),
        .now_us = now_us,
    };
    if (!is_full) return run;
    arena_fini(&run->arena);
    free(run);
    return NULL;
}

/* --- the end of a try --- */

static enum errc add_failed_event(struct tx *tx, const struct job_end *end, err *e)
{
    const struct job_view *v = &end->run->view;
    char user[UUID_TEXT_LEN + 1];
    struct buf text;
    struct json_writer w;
    buf_init(&text, EVENT_BYTES_MAX);
    json_writer_init(&w, &text);
    json_object(&w);
    json_put_str(&w, "kind", v->kind);
    if (uuid_is_nil(&v->user_id))
        json_put_null(&w, "user");
    else
        json_put_str(&w, "user", uuid_format(&v->user_id, user));
    json_put_int(&w, "tries", v->tries);
    json_put_str(&w, "reason", str_c(end->why->msg));
    json_end(&w);
    enum errc rc = text.failed ? err_code(e, text.failed)
                               : tx_event(tx,
                                          &(struct event){
                                              .id = end->event_id,
                                              .at_us = end->now_us,
                                              .type = S("job.failed"),
                                              .workspace_id = v->workspace_id,
                                              .resource_type = S("job"),
                                              .resource_id = v->id,
                                              .status = S("failure"),
                                              .error = str_c(errc_name(end->why->code)),
                                              .metadata = buf_str(&text),
                                          },
                                          e);
    buf_fini(&text);
    return rc;
}

enum errc job_end_unit(struct tx *tx, void *ctx, err *e)
{
    static const char *const states[] = {
        [JOB_SUCCEEDED] = "succeeded", [JOB_FAILED] = "failed", [JOB_CANCELLED] = "cancelled"};
    struct job_end *end = ctx;
    const struct job_run *run = end->run;
    const struct job_view *v = &run->view;
    struct val code = v_null(), why = v_null();
    int64_t changed = 0;
    enum errc rc;
    if (end->why && end->why->code && end->how != JOB_SUCCEEDED && end->how != JOB_RELEASED) {
        code = v_text(str_c(errc_name(end->why->code)));
        why = v_text(str_c(end->why->msg));
    }
    if (end->how == JOB_AGAIN || end->how == JOB_RELEASED)
        rc = tx_exec_unaudited(tx, &release_job,
                               PARAMS(v_int(end->again_us), code, why, v_int(end->how == JOB_RELEASED),
                                      v_int(end->how == JOB_RELEASED), v_uuid(&v->id),
                                      v_uuid(&run->jobs->boot), v_int(v->tries)),
                               &changed, e);
    else
        rc = tx_exec_unaudited(
            tx, &end_job,
            PARAMS(v_text(str_c(states[end->how])), code, why, v_int(v->progress.done),
                   v_int(v->progress.total), v_int(end->now_us),
                   end->how == JOB_SUCCEEDED && run->result.len ? v_text(buf_str(&run->result)) : v_null(),
                   v_uuid(&v->id), v_uuid(&run->jobs->boot), v_int(v->tries)),
            &changed, e);
    end->is_lost = rc == ERR_NONE && changed == 0;
    if (rc == ERR_NONE && end->how == JOB_FAILED && !end->is_lost) rc = add_failed_event(tx, end, e);
    return rc;
}

/* --- while it runs --- */

enum errc job_save_unit(struct tx *tx, void *ctx, err *e)
{
    struct job_touch *t = ctx;
    int64_t changed = 0;
    enum errc rc = tx_exec_unaudited(tx, &save_job,
                                     PARAMS(v_text(t->checkpoint), v_int(t->lease_us),
                                            v_uuid(&t->run->view.id), v_uuid(&t->run->jobs->boot),
                                            v_int(t->run->view.tries)),
                                     &changed, e);
    t->is_lost = rc == ERR_NONE && changed == 0;
    return rc;
}

enum errc job_progress_unit(struct tx *tx, void *ctx, err *e)
{
    struct job_touch *t = ctx;
    const struct job_progress *p = &t->run->view.progress;
    int64_t changed = 0;
    enum errc rc = tx_exec_unaudited(tx, &progress_job,
                                     PARAMS(v_int(p->done), v_int(p->total), v_text(p->phase),
                                            v_uuid(&t->run->view.id), v_uuid(&t->run->jobs->boot),
                                            v_int(t->run->view.tries)),
                                     &changed, e);
    t->is_lost = rc == ERR_NONE && changed == 0;
    return rc;
}

enum errc tx_job_holds(struct tx *tx, const struct job_run *run, err *e)
{
    struct arena a;
    struct rows rows;
    arena_init(&a, 4096, 512);
    enum errc rc = tx_query(tx, &a, &job_is_held,
                            PARAMS(v_uuid(&run->view.id), v_uuid(&run->jobs->boot), v_int(run->view.tries)), &rows, e);
    if (rc == ERR_NONE && rows.n == 0) rc = err_set(e, ERR_CANCELLED, "the job's lease was lost: it may run elsewhere by now");
    arena_fini(&a);
    return rc;
}

enum errc job_lease_all_unit(struct tx *tx, void *ctx, err *e)
{
    struct job_touch *t = ctx;
    return tx_exec_unaudited(tx, &lease_jobs, PARAMS(v_int(t->lease_us), v_uuid(&t->jobs->boot)), NULL, e);
}

enum errc job_watch_unit(struct tx *tx, void *ctx, err *e)
{
    struct job_watch *w = ctx;
    return tx_query(tx, w->arena, &watch_jobs, PARAMS(v_uuid(&w->jobs->boot)), &w->rows, e);
}

enum errc job_leases_unit(struct tx *tx, void *ctx, err *e)
{
    struct job_watch *w = ctx;
    return tx_query(tx, w->arena, &list_leases, PARAMS(v_uuid(&w->jobs->boot)), &w->rows, e);
}

enum errc job_void_unit(struct tx *tx, void *ctx, err *e)
{
    struct job_void *v = ctx;
    enum errc rc = ERR_NONE;
    v->n_voided = 0;
    if (v->is_start)
        rc = tx_exec_unaudited(tx, &void_of_node,
                               PARAMS(v_int(v->now_us), v_uuid(&v->jobs->node), v_uuid(&v->jobs->boot)),
                               &v->n_voided, e);
    for (unsigned i = 0; i < v->n && rc == ERR_NONE; i++) {
        int64_t changed = 0;
        const struct job_lease *l = &v->leases[i];
        rc = tx_exec_unaudited(tx, &void_lost,
                               PARAMS(v_int(v->now_us), v_uuid(&l->id), v_uuid(&l->boot), v_int(l->lease_us)),
                               &changed, e);
        v->n_voided += changed;
    }
    return rc;
}

enum errc job_forget_unit(struct tx *tx, void *ctx, err *e)
{
    struct job_sweep *s = ctx;
    return tx_exec_unaudited(tx, &forget_jobs, PARAMS(v_int(s->now_us - s->jobs->keep_us)), NULL, e);
}
