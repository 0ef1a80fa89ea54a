/* The endpoints of projects: decode → check → store, with the event of each change. */
#include "core/events.h"
#include "core/workspaces.h"
#include "projects/internal.h"

static const struct field project_fields[] = {
    FIELD(struct project, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Id of the project."),
    FIELD(struct project, name, FIELD_TEXT, .min = 1, .max = 100, .format = FORMAT_LINE,
          .flags = FIELD_REQUIRED, .meaning = "Its name, unique in the workspace."),
    FIELD(struct project, description, FIELD_TEXT, .max = 1000, .fallback = "\"\"",
          .meaning = "What it is about."),
    FIELD(struct project, repository, FIELD_TEXT, .min = 1, .max = 1000, .format = FORMAT_LINE,
          .flags = FIELD_NULLABLE,
          .meaning = "Where its code is: a URL that git understands, git@host:path, or an absolute path on "
                     "the server."),
    FIELD(struct project, settings, FIELD_JSON, .max = 2000, .format = FORMAT_OBJECT, .fallback = "{}",
          .meaning = "Settings of the project."),
    FIELD(struct project, created_by, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Who made it."),
    FIELD(struct project, created_at, FIELD_TIME, .flags = FIELD_READONLY, .meaning = "When it was made."),
    FIELD(struct project, updated_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_UNAUDITED,
          .meaning = "When it was changed last."),
    FIELD(struct project, version, FIELD_INT, .flags = FIELD_READONLY | FIELD_UNAUDITED,
          .meaning = "Counts its changes."),
};
const struct shape project_shape =
    SHAPE("Project", struct project, project_fields, "Something that a workspace works on.");

struct project_query {
    str name;
};
static const struct field query_fields[] = {
    FIELD(struct project_query, name, FIELD_TEXT, .max = 100, .flags = FIELD_NULLABLE,
          .meaning = "Only projects whose name contains this, whatever its case."),
};
static const struct shape query_shape =
    SHAPE("ProjectQuery", struct project_query, query_fields, "Which projects to list.");

static struct event project_event(const struct api_request *r, str type, const struct project *before,
                                  const struct project *after)
{
    struct event ev = event_of(r, type, 0);
    ev.resource_type = S("project");
    ev.resource_id = after ? after->id : before->id;
    ev.shape = &project_shape;
    ev.before = before;
    ev.after = after;
    return ev;
}

/* What the field table cannot say. */
static enum errc check(struct api_request *r, const struct project *p, err *e)
{
    const char *problem = p->repository.p ? repository_problem(p->repository) : NULL;
    return problem ? api_field_error(r, e, "repository", "bad_format", "%s", problem) : ERR_NONE;
}

/* --- GET /api/projects --- */

static enum errc projects_list(struct api_request *r, struct tx *tx, err *e)
{
    const struct project_query *q = r->query;
    struct project *list;
    unsigned n, kept = 0;
    enum errc rc = project_list(tx, r->arena, &r->workspace_id, q->name, r->cursor, r->limit, &list, &n,
                                &r->next_cursor, e);
    if (rc != ERR_NONE) return rc;
    for (unsigned i = 0; i < n; i++)
        if (api_may_in(r, &list[i].id, PERMISSION_PROJECTS_READ)) list[kept++] = list[i];
    r->items = (struct objects){list, kept};
    return ERR_NONE;
}

/* --- POST /api/projects --- */

static enum errc create_prepare(struct api_request *r, err *e)
{
    struct project *p = r->body;
    if (r->who.n_key_projects)
        return err_set(e, ERR_FORBIDDEN, "this API key is for some projects only and makes no others");
    p->id = uuid7_make(r->now_us);
    p->created_by = r->who.user_id;
    p->created_at = p->updated_at = r->now_us;
    p->version = 1;
    return check(r, p, e);
}

static enum errc create(struct api_request *r, struct tx *tx, err *e)
{
    const struct project *p = r->body;
    struct event ev = project_event(r, S("project.created"), NULL, p);
    r->answer = r->body;
    r->location = api_location(r, "/api/projects/", &p->id);
    r->etag = api_etag(r, p->version);
    enum errc rc = plan_has_room(tx, r->arena, &r->workspace_id, PLAN_PROJECTS, false, e);
    if (rc == ERR_NONE) rc = project_insert(tx, r->arena, &r->workspace_id, p, e);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

/* --- GET, PUT, PATCH, DELETE /api/projects/:id --- */

static enum errc show(struct api_request *r, struct tx *tx, err *e)
{
    struct project *p = arena_new(r->arena, struct project);
    if (!p) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = projects_get(tx, r->arena, &r->workspace_id, &r->path_id[0], p, e);
    if (rc != ERR_NONE) return rc;
    r->answer = p;
    r->etag = api_etag(r, p->version);
    return ERR_NONE;
}

static bool differs(const struct project *a, const struct project *b)
{
    return !str_eq(a->name, b->name) || !str_eq(a->description, b->description) ||
           !str_eq(a->repository, b->repository) || !str_eq(a->settings, b->settings);
}

static enum errc replace_prepare(struct api_request *r, err *e) { return check(r, r->body, e); }

/* PUT has the whole body, PATCH what is to change. */
static enum errc change(struct api_request *r, struct tx *tx, err *e)
{
    struct project before, *after = arena_new(r->arena, struct project);
    if (!after) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = projects_get(tx, r->arena, &r->workspace_id, &r->path_id[0], &before, e);
    if (rc != ERR_NONE || (rc = api_if_match(r, api_etag(r, before.version), e)) != ERR_NONE) return rc;
    *after = before;
    if (r->route->is_merge) {
        if ((rc = api_merge(r, after, e)) == ERR_NONE) rc = check(r, after, e);
    } else {
        const struct project *body = r->body;
        after->name = body->name;
        after->description = body->description;
        after->repository = body->repository;
        after->settings = body->settings;
    }
    if (rc != ERR_NONE) return rc;
    r->answer = after;
    if (differs(&before, after)) {
        after->updated_at = r->now_us;
        after->version++;
        struct event ev = project_event(r, S("project.updated"), &before, after);
        if ((rc = project_update(tx, r->arena, &r->workspace_id, after, e)) == ERR_NONE)
            rc = tx_event(tx, &ev, e);
    }
    r->etag = api_etag(r, after->version);
    return rc;
}

static enum errc remove_project(struct api_request *r, struct tx *tx, err *e)
{
    struct project before;
    enum errc rc = projects_get(tx, r->arena, &r->workspace_id, &r->path_id[0], &before, e);
    if (rc != ERR_NONE || (rc = api_if_match(r, api_etag(r, before.version), e)) != ERR_NONE) return rc;
    struct event ev = project_event(r, S("project.deleted"), &before, NULL);
    rc = project_delete(tx, &r->workspace_id, &before.id, e);
    if (rc == ERR_NONE) rc = tx_access_of_project_gone(tx, &r->workspace_id, &before.id, e);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

static const struct api_route routes[] = {
    {.method = HTTP_GET,
     .path = "/api/projects",
     .name = "projects_list",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_PROJECTS_READ,
     .scope = SCOPE_WORKSPACE,
     .query = &query_shape,
     .answer = &project_shape,
     .is_list = true,
     .is_of_projects = true,
     .is_csv = true,
     .summary = "Projects by name",
     .apply = projects_list},
    {.method = HTTP_POST,
     .path = "/api/projects",
     .name = "projects_create",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_PROJECTS_CREATE,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .body = &project_shape,
     .answer = &project_shape,
     .status = 201,
     .summary = "Makes a project",
     .prepare = create_prepare,
     .apply = create},
    {.method = HTTP_GET,
     .path = "/api/projects/:id",
     .name = "projects_show",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_PROJECTS_READ,
     .scope = SCOPE_WORKSPACE,
     .resource = &project_resource,
     .answer = &project_shape,
     .summary = "A project",
     .apply = show},
    {.method = HTTP_PUT,
     .path = "/api/projects/:id",
     .name = "projects_replace",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_PROJECTS_UPDATE,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .resource = &project_resource,
     .body = &project_shape,
     .answer = &project_shape,
     .summary = "Replaces a project",
     .prepare = replace_prepare,
     .apply = change},
    {.method = HTTP_PATCH,
     .path = "/api/projects/:id",
     .name = "projects_change",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_PROJECTS_UPDATE,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .resource = &project_resource,
     .body = &project_shape,
     .is_merge = true,
     .answer = &project_shape,
     .summary = "Changes a project",
     .text = "Settings are merged member by member.",
     .apply = change},
    {.method = HTTP_DELETE,
     .path = "/api/projects/:id",
     .name = "projects_delete",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_PROJECTS_DELETE,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .resource = &project_resource,
     .status = 204,
     .summary = "Deletes a project",
     .apply = remove_project},
};
const struct api_table projects_api = {"projects", routes, LENGTH_OF(routes)};
