/* routes.c - GET /api/jobs, GET and DELETE /api/jobs/:id. */
#include "core/events.h"
#include "core/jobs/internal.h"

static const struct field progress_fields[] = {
    FIELD(struct job_progress, done, FIELD_INT, .meaning = "Steps done."),
    FIELD(struct job_progress, total, FIELD_INT, .meaning = "Steps in all; 0 while unknown."),
    FIELD(struct job_progress, phase, FIELD_TEXT, .meaning = "What it is doing."),
};
static const struct shape progress_shape =
    SHAPE("JobProgress", struct job_progress, progress_fields, "How far a job is.");

static const struct field job_fields[] = {
    FIELD(struct job_view, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Its id."),
    FIELD(struct job_view, kind, FIELD_TEXT, .flags = FIELD_READONLY,
          .meaning = "What it does, as workspace.export."),
    FIELD(struct job_view, state, FIELD_ONE_OF, .flags = FIELD_READONLY,
          .choices = "queued|running|succeeded|failed|cancelled", .meaning = "Where it stands."),
    FIELD(struct job_view, progress, FIELD_OBJECT, .flags = FIELD_READONLY | FIELD_UNAUDITED,
          .shape = &progress_shape, .meaning = "How far it is."),
    FIELD(struct job_view, error_code, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "Why the last try failed, for programs."),
    FIELD(struct job_view, error, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "Why the last try failed, for people."),
    FIELD(struct job_view, result, FIELD_JSON, .flags = FIELD_READONLY | FIELD_NULLABLE | FIELD_UNAUDITED,
          .meaning = "What it found or made; depends on the kind."),
    FIELD(struct job_view, tries, FIELD_INT, .flags = FIELD_READONLY | FIELD_UNAUDITED,
          .meaning = "Tries so far."),
    FIELD(struct job_view, workspace_id, FIELD_UUID, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "The workspace it works for."),
    FIELD(struct job_view, project_id, FIELD_UUID, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "The project it works for."),
    FIELD(struct job_view, user_id, FIELD_UUID, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "Who started it."),
    FIELD(struct job_view, created_at, FIELD_TIME, .flags = FIELD_READONLY,
          .meaning = "When it was asked for."),
    FIELD(struct job_view, started_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "When its first try began."),
    FIELD(struct job_view, finished_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "When it ended."),
};
const struct shape job_shape =
    SHAPE("Job", struct job_view, job_fields,
          "Background work: it survives a restart, and may be tried more than once.");

struct job_query {
    str state, kind;
    bool mine;
};
static const struct field query_fields[] = {
    FIELD(struct job_query, state, FIELD_ONE_OF, .choices = "queued|running|succeeded|failed|cancelled",
          .meaning = "Only jobs in this state."),
    FIELD(struct job_query, kind, FIELD_TEXT, .max = 100, .meaning = "Only jobs of this kind."),
    FIELD(struct job_query, mine, FIELD_BOOL,
          .meaning = "Only the caller's own jobs, also for those who may see all."),
};
static const struct shape query_shape = SHAPE("JobQuery", struct job_query, query_fields, "Which jobs.");

SQL(list_jobs, DB_MAIN, 0, "u", "SELECT " JOB_VIEW_COLUMNS " FROM jobs WHERE workspace_id = $1");
SQL(list_own_jobs, DB_MAIN, 0, "uu",
    "SELECT " JOB_VIEW_COLUMNS " FROM jobs WHERE workspace_id = $1 AND user_id = $2");
SQL(cancel_queued_job, DB_MAIN, SQL_INSTANCE, "iu",
    "UPDATE jobs SET state = 'cancelled', finished_us = $1 WHERE id = $2 AND state = 'queued'");
SQL(cancel_running_job, DB_MAIN, SQL_INSTANCE, "u",
    "UPDATE jobs SET is_cancelled = 1 WHERE id = $1 AND state = 'running'");

void job_show(const struct jobs *j, const struct job_view *view)
{
    struct buf text;
    struct json_writer w;
    if (!j->live || !live_is_heard(j->live)) return;
    buf_init(&text, JOB_RESULT_MAX + 16384);
    json_writer_init(&w, &text);
    shape_encode(&job_shape, view, &w);
    if (!text.failed)
        live_publish(j->live, &view->workspace_id, &view->user_id, PERMISSION_AUDIT_READ, S("job.progress"),
                     buf_str(&text));
    buf_fini(&text);
}

static bool is_own(const struct api_request *r, const struct job_view *v)
{
    return !uuid_is_nil(&v->user_id) && memcmp(&v->user_id, &r->who.user_id, sizeof v->user_id) == 0;
}

static enum errc list_apply(struct api_request *r, struct tx *tx, err *e)
{
    const struct job_query *q = r->query;
    const struct filter filters[] = {
        {"state", FILTER_EQ, 't', v_text_or_null(q->state)},
        {"kind", FILTER_EQ, 't', v_text_or_null(q->kind)},
    };
    const struct keyset key = {"created_us", 'i', "id", 'u', true, r->cursor, r->limit};
    struct rows rows;
    bool sees_all = api_may(r, PERMISSION_AUDIT_READ) && !q->mine;
    enum errc rc = sees_all ? tx_list(tx, r->arena, &list_jobs, PARAMS(v_uuid(&r->workspace_id)), filters,
                                      LENGTH_OF(filters), &key, &rows, &r->next_cursor, e)
                            : tx_list(tx, r->arena, &list_own_jobs,
                                      PARAMS(v_uuid(&r->workspace_id), v_uuid(&r->who.user_id)), filters,
                                      LENGTH_OF(filters), &key, &rows, &r->next_cursor, e);
    if (rc != ERR_NONE) return rc;
    struct job_view *views = arena_news(r->arena, struct job_view, rows.n);
    if (!views) return err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; i < rows.n; i++)
        job_view_of_row(row_at(&rows, i), &views[i]);
    r->items = (struct objects){views, rows.n};
    return ERR_NONE;
}

/* The job of the path, when the caller may see it: their own, or with audit.read another's of the
 * workspace. */
static enum errc find(struct api_request *r, struct tx *tx, struct job_view **out, err *e)
{
    struct job_view *v = arena_new(r->arena, struct job_view);
    if (!v) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = tx_job_view(tx, r->arena, &r->path_id[0], v, e);
    if (rc == ERR_NOT_FOUND ||
        (rc == ERR_NONE && !(uuid_is_nil(&v->workspace_id) ||
                             memcmp(&v->workspace_id, &r->workspace_id, sizeof v->workspace_id) == 0)) ||
        (rc == ERR_NONE && !is_own(r, v) &&
         (uuid_is_nil(&v->workspace_id) || !api_may(r, PERMISSION_AUDIT_READ))))
        return err_set(e, ERR_NOT_FOUND, "there is no such job");
    *out = v;
    return rc;
}

static enum errc get_apply(struct api_request *r, struct tx *tx, err *e)
{
    struct job_view *v;
    enum errc rc = find(r, tx, &v, e);
    if (rc == ERR_NONE) r->answer = v;
    return rc;
}

static enum errc cancel_apply(struct api_request *r, struct tx *tx, err *e)
{
    const struct jobs *j = r->service;
    struct job_view *before, *after;
    int64_t changed = 0;
    enum errc rc = find(r, tx, &before, e);
    if (rc != ERR_NONE) return rc;
    const struct job_kind *kind = job_kind_of(j, before->kind);
    enum permission needs =
        kind && kind->started_by != PERMISSION_NONE ? kind->started_by : PERMISSION_AUDIT_READ;
    if (!is_own(r, before) && !api_may(r, needs))
        return err_set(e, ERR_FORBIDDEN, "cancelling another's job needs the permission %s",
                       permission_name(needs));
    rc = tx_exec(tx, &cancel_queued_job, PARAMS(v_int(r->now_us), v_uuid(&before->id)), &changed, e);
    if (rc == ERR_NONE && changed == 0)
        rc = tx_exec(tx, &cancel_running_job, PARAMS(v_uuid(&before->id)), &changed, e);
    if (rc == ERR_NONE && changed) rc = tx_tell(tx, TOPIC_JOBS, e); /* it may run elsewhere */
    if (rc == ERR_NONE && changed == 0)
        return err_set(e, ERR_CONFLICT, "the job has ended already: it is %.*s", STR(before->state));
    if (rc == ERR_NONE) rc = find(r, tx, &after, e);
    if (rc == ERR_NONE) {
        struct event ev = event_of(r, S("job.cancelled"), 0);
        ev.resource_type = S("job");
        ev.resource_id = after->id;
        ev.metadata = arena_printf(r->arena, "{\"kind\":\"%.*s\",\"was\":\"%.*s\"}", STR(before->kind),
                                   STR(before->state));
        rc = ev.metadata.p ? tx_event(tx, &ev, e) : err_code(e, ERR_TOO_LARGE);
        r->answer = after;
    }
    return rc;
}

static void cancel_after(struct api_request *r)
{
    struct jobs *j = r->service;
    const struct job_view *v = r->answer;
    job_cancel_here(j, &v->id);
    job_show(j, v);
}

static const struct api_route routes[] = {
    {.method = HTTP_GET,
     .path = "/api/jobs",
     .name = "jobs_list",
     .access = ACCESS_SIGNED_IN,
     .scope = SCOPE_WORKSPACE,
     .query = &query_shape,
     .answer = &job_shape,
     .is_list = true,
     .apply = list_apply,
     .summary = "Background jobs, newest first",
     .text = "The caller's own; with `audit.read` all of the workspace."},
    {.method = HTTP_GET,
     .path = "/api/jobs/:id",
     .name = "jobs_get",
     .access = ACCESS_SIGNED_IN,
     .scope = SCOPE_WORKSPACE,
     .answer = &job_shape,
     .apply = get_apply,
     .summary = "One job",
     .text = "Another's job needs `audit.read`; without it, it does not exist."},
    {.method = HTTP_DELETE,
     .path = "/api/jobs/:id",
     .name = "jobs_cancel",
     .access = ACCESS_SIGNED_IN,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .answer = &job_shape,
     .apply = cancel_apply,
     .after = cancel_after,
     .summary = "Cancel a job",
     .text = "One that waits is cancelled at once; one that runs is asked to stop and says `cancelled` when "
             "it has. Cancelling another's job needs the "
             "permission with which such a job is started."},
};

const struct api_table jobs_api = {"jobs", routes, LENGTH_OF(routes)};
