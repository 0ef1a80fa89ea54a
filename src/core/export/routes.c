/* routes.c - POST /api/workspaces/:id/export, GET /api/workspaces/:id/exports/:job_id/:part. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/events.h"
#include "core/export/internal.h"

SQL(find_export, DB_MAIN, 0, "uu",
    "SELECT project_id FROM jobs WHERE workspace_id = $1 AND id = $2 AND kind = '" EXPORT_KIND
    "' AND state = 'succeeded'");
static const struct api_resource export_resource = {
    .param = ":job_id", .find = &find_export, .noun = "finished export"};

static enum errc start_apply(struct api_request *r, struct tx *tx, err *e)
{
    char id[UUID_TEXT_LEN + 1];
    struct event ev = event_of(r, S("workspace.export_started"), 0);
    struct job job = {
        .id = event_id_of(&r->request_id, 1),
        .kind = S(EXPORT_KIND),
        .workspace_id = r->workspace_id,
        .user_id = r->who.user_id,
        .now_us = r->now_us,
        .unique_key = arena_printf(r->arena, EXPORT_KIND ":%.*s", STR(uuid_format(&r->workspace_id, id))),
    };
    ev.resource_type = S("workspace");
    ev.resource_id = r->workspace_id;
    ev.metadata = arena_printf(r->arena, "{\"job\":\"%.*s\"}", STR(uuid_format(&job.id, id)));
    if (!job.unique_key.p || !ev.metadata.p) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = tx_job(tx, &job, e);
    r->job_id = job.id;
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

static enum errc read_file(const struct export *x, struct arena *a, const uuid *job, unsigned part, str *out, err *e)
{
    char path[EXPORT_PATH_MAX];
    struct stat st;
    size_t len = 0;
    export_path(x, job, part, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? err_set(e, ERR_NOT_FOUND, "there is no such part")
                               : err_errno(e, ERR_IO, errno, "opening an export");
    if (fstat(fd, &st) < 0 || st.st_size < 0) {
        close(fd);
        return err_errno(e, ERR_IO, errno, "reading an export");
    }
    char *bytes = arena_bytes(a, (size_t)st.st_size + 1);
    for (ssize_t n = 1; bytes && n > 0 && len<(size_t)st.st_size; len += n> 0 ? (size_t)n : 0)
        n = read(fd, bytes + len, (size_t)st.st_size - len);
    close(fd);
    if (!bytes) return err_code(e, ERR_TOO_LARGE);
    if (len != (size_t)st.st_size) return err_set(e, ERR_IO, "reading an export: it ends before its length");
    *out = str_of(bytes, len);
    return ERR_NONE;
}

static enum errc read_prepare(struct api_request *r, err *e)
{
    const struct export *x = r->service;
    uint64_t part = 0;
    enum errc rc = ERR_NONE;
    if (!str_to_u64(r->path_text[2], &part) || part == 0 || part > UINT32_MAX)
        return err_set(e, ERR_NOT_FOUND, "there is no such part: they are numbered from 1");
    r->raw = (str){0};
    if (store_is_postgres(x->setup.store)) rc = export_pages_read(x, r->arena, &r->path_id[1], (unsigned)part, &r->raw, e);
    if (rc == ERR_NONE && !r->raw.p) rc = read_file(x, r->arena, &r->path_id[1], (unsigned)part, &r->raw, e);
    r->raw_type = S("application/x-ndjson");
    return rc;
}

static const struct api_route routes[] = {
    {.method = HTTP_POST,
     .path = "/api/workspaces/:id/export",
     .name = "workspaces_export",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_AUDIT_EXPORT,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .answer = &job_shape,
     .is_delayed = true,
     .apply = start_apply,
     .summary = "Export everything that a workspace holds",
     .text = "A job that writes lines of JSON: members, keys without their secrets, projects, jobs, the log "
             "with its exact bytes, and what other services store. Its "
             "result says how many `parts` there are. 409 while one is under way."},
    {.method = HTTP_GET,
     .path = "/api/workspaces/:id/exports/:job_id/:part",
     .name = "workspaces_export_part",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_AUDIT_EXPORT,
     .scope = SCOPE_WORKSPACE,
     .resource = &export_resource,
     .body_max = 4u << 20,
     .reads = "workspace.export_read",
     .prepare = read_prepare,
     .summary = "One file of a finished export",
     .text = "`application/x-ndjson`; parts are numbered from 1."},
};

const struct api_table export_api = {"workspaces", routes, LENGTH_OF(routes)};
