/* Workspaces: the caller's own, made, read and changed. */
#include "core/identity/people.h"
#include "core/workspaces.h"

SQL(workspace_add, DB_MAIN, SQL_INSTANCE, "uttiii",
    "INSERT INTO workspaces (id, name, settings, created_us, updated_us, version) VALUES ($1, $2, $3, $4, "
    "$5, $6)");
SQL(workspace_list, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT w.id, w.name, w.settings, w.created_us, w.updated_us, w.version, m.role "
    "FROM workspaces w JOIN memberships m ON m.workspace_id = w.id WHERE m.user_id = $1");
SQL(workspace_get, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT id, name, settings, created_us, updated_us, version FROM workspaces WHERE id = $1");
SQL(workspace_set, DB_MAIN, SQL_INSTANCE, "ttiu",
    "UPDATE workspaces SET name = $1, settings = $2, updated_us = $3, version = version + 1 WHERE id = $4");

#define SETTINGS_MAX 3000 /* bytes of JSON: both states of them fit into an event */

static const struct field workspace_fields[] = {
    FIELD(struct workspace, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Id of the workspace."),
    FIELD(struct workspace, name, FIELD_TEXT, .min = 1, .max = 100, .format = FORMAT_LINE,
          .flags = FIELD_REQUIRED, .meaning = "Its name."),
    FIELD(struct workspace, settings, FIELD_JSON, .max = SETTINGS_MAX, .format = FORMAT_OBJECT,
          .fallback = "{}",
          .meaning = "Settings of the workspace; null for those who may not read them (settings.read)."),
    FIELD(struct workspace, role, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_UNAUDITED,
          .meaning = "The caller's role."),
    FIELD(struct workspace, created_at, FIELD_TIME, .flags = FIELD_READONLY, .meaning = "When it was made."),
    FIELD(struct workspace, updated_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_UNAUDITED,
          .meaning = "When it was changed last."),
};
const struct shape workspace_shape =
    SHAPE("Workspace", struct workspace, workspace_fields,
          "A workspace: everything belongs to one, and its members see nothing of others.");

/* Columns of workspace_get. */
static void read_row(const struct val *row, str role, bool shows_settings, struct workspace *w)
{
    *w = (struct workspace){
        .id = val_uuid(&row[0]),
        .name = val_str(&row[1]),
        .settings = shows_settings ? val_str(&row[2]) : (str){NULL, 0},
        .role = role,
        .created_at = val_int(&row[3]),
        .updated_at = val_int(&row[4]),
        .version = val_int(&row[5]),
    };
}

enum errc workspace_insert(struct api_request *r, struct tx *tx, const struct workspace *w, const uuid *owner,
                           err *e)
{
    struct event ev = event_of(r, S("workspace.created"), EVENT_WORKSPACE);
    enum errc rc = tx_exec(tx, &workspace_add,
                           PARAMS(v_uuid(&w->id), v_text(w->name), v_text(w->settings), v_int(w->created_at),
                                  v_int(w->updated_at), v_int(w->version)),
                           NULL, e);
    ev.workspace_id = ev.resource_id = w->id;
    ev.resource_type = S("workspace");
    ev.shape = &workspace_shape;
    ev.after = w;
    if (rc == ERR_NONE) rc = tx_event(tx, &ev, e);
    return rc == ERR_NONE ? member_insert(r, tx, &w->id, owner, ROLE_OWNER, e) : rc;
}

/* --- GET, POST /api/workspaces --- */

static enum errc workspaces_list(struct api_request *r, struct tx *tx, err *e)
{
    struct keyset key = {.column = "w.id", .param = 'u', .cursor = r->cursor, .limit = r->limit};
    struct filter only = {
        .column = "w.id", .op = FILTER_EQ, .param = 'u', .value = v_uuid_or_null(&r->who.key_workspace_id)};
    struct rows rows;
    enum errc rc = tx_list(tx, r->arena, &workspace_list, PARAMS(v_uuid(&r->who.user_id)), &only, 1, &key,
                           &rows, &r->next_cursor, e);
    if (rc != ERR_NONE) return rc;
    struct workspace *list = arena_news(r->arena, struct workspace, rows.n);
    if (!list) return err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; i < rows.n; i++) {
        const struct val *row = row_at(&rows, i);
        enum role role;
        if (!role_parse(val_str(&row[6]), &role))
            return err_set(e, ERR_CORRUPT, "a membership has the role '%.*s', which is none",
                           STR(val_str(&row[6])));
        struct permission_set may = permission_set_and(role_permissions(role), &r->who.key_scopes);
        read_row(row, str_c(role_name(role)), permission_set_has(&may, PERMISSION_SETTINGS_READ), &list[i]);
    }
    r->items = (struct objects){list, rows.n};
    return ERR_NONE;
}

static enum errc workspaces_create_prepare(struct api_request *r, err *e)
{
    struct workspace *w = r->body;
    w->id = uuid7_make(r->now_us);
    w->role = str_c(role_name(ROLE_OWNER));
    w->created_at = w->updated_at = r->now_us;
    w->version = 1;
    return person_key_ensure(r->store, &r->who.user_id, r->now_us, e);
}

static enum errc workspaces_create(struct api_request *r, struct tx *tx, err *e)
{
    const struct workspace *w = r->body;
    r->answer = r->body;
    r->location = api_location(r, "/api/workspaces/", &w->id);
    r->etag = api_etag(r, w->version);
    return workspace_insert(r, tx, w, &r->who.user_id, e);
}

/* --- GET, PUT, PATCH /api/workspaces/:id --- */

static enum errc load(struct api_request *r, struct tx *tx, bool shows_settings, struct workspace *w, err *e)
{
    const struct val *row;
    enum errc rc = tx_query_row(tx, r->arena, &workspace_get, PARAMS(v_uuid(&r->workspace_id)), &row, e);
    if (rc == ERR_NONE) read_row(row, r->role, shows_settings, w);
    return rc;
}

static enum errc workspaces_show(struct api_request *r, struct tx *tx, err *e)
{
    struct workspace *w = arena_new(r->arena, struct workspace);
    if (!w) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = load(r, tx, api_may(r, PERMISSION_SETTINGS_READ), w, e);
    r->answer = w;
    if (rc == ERR_NONE) r->etag = api_etag(r, w->version);
    return rc;
}

static enum errc workspaces_change(struct api_request *r, struct tx *tx, err *e)
{
    struct workspace before, *after = arena_new(r->arena, struct workspace);
    if (!after) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = load(r, tx, true, &before, e);
    if (rc != ERR_NONE || (rc = api_if_match(r, api_etag(r, before.version), e)) != ERR_NONE) return rc;
    *after = before;
    if (r->route->is_merge) {
        if ((rc = api_merge(r, after, e)) != ERR_NONE) return rc;
    } else {
        const struct workspace *body = r->body;
        after->name = body->name;
        after->settings = body->settings;
    }
    r->answer = after;
    if (!str_eq(before.name, after->name) || !str_eq(before.settings, after->settings)) {
        after->updated_at = r->now_us;
        after->version++;
        struct event ev = event_of(r, S("workspace.updated"), EVENT_WORKSPACE);
        ev.resource_type = S("workspace");
        ev.resource_id = after->id;
        ev.shape = &workspace_shape;
        ev.before = &before;
        ev.after = after;
        rc = tx_exec(
            tx, &workspace_set,
            PARAMS(v_text(after->name), v_text(after->settings), v_int(r->now_us), v_uuid(&after->id)), NULL,
            e);
        if (rc == ERR_NONE) rc = tx_event(tx, &ev, e);
    }
    r->etag = api_etag(r, after->version);
    return rc;
}

static const struct api_route routes[] = {
    {.method = HTTP_GET,
     .path = "/api/workspaces",
     .name = "workspaces_list",
     .access = ACCESS_SIGNED_IN,
     .scope = SCOPE_SELF,
     .answer = &workspace_shape,
     .is_list = true,
     .summary = "The caller's workspaces",
     .apply = workspaces_list},
    {.method = HTTP_POST,
     .path = "/api/workspaces",
     .name = "workspaces_create",
     .access = ACCESS_SESSION,
     .scope = SCOPE_INSTANCE,
     .effect = EFFECT_STATE,
     .body = &workspace_shape,
     .answer = &workspace_shape,
     .status = 201,
     .summary = "Makes a workspace, whose owner the caller is",
     .prepare = workspaces_create_prepare,
     .apply = workspaces_create},
    {.method = HTTP_GET,
     .path = "/api/workspaces/:id",
     .name = "workspaces_show",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_WORKSPACE_READ,
     .scope = SCOPE_WORKSPACE,
     .answer = &workspace_shape,
     .summary = "A workspace",
     .apply = workspaces_show},
    {.method = HTTP_PUT,
     .path = "/api/workspaces/:id",
     .name = "workspaces_replace",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_SETTINGS_UPDATE,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .body = &workspace_shape,
     .answer = &workspace_shape,
     .summary = "Replaces name and settings of a workspace",
     .apply = workspaces_change},
    {.method = HTTP_PATCH,
     .path = "/api/workspaces/:id",
     .name = "workspaces_change",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_SETTINGS_UPDATE,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .body = &workspace_shape,
     .is_merge = true,
     .answer = &workspace_shape,
     .summary = "Changes a workspace",
     .text = "Settings are merged member by member.",
     .apply = workspaces_change},
};
const struct api_table workspaces_api = {"workspaces", routes, LENGTH_OF(routes)};
