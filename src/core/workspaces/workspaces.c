/* Workspaces: the caller's own, made, read and changed. */
#include "core/workspaces/internal.h"

/* The owner that the row names, as long as they are one; else who has been an owner the longest. */
#define OWNER                                                                                                \
    "COALESCE((SELECT o.user_id FROM memberships o WHERE o.workspace_id = w.id AND o.user_id = w.owner_id "  \
    "AND o.role = 'owner'), (SELECT o.user_id FROM memberships o WHERE o.workspace_id = w.id AND o.role = "  \
    "'owner' ORDER BY o.created_us, o.user_id LIMIT 1))"
#define COLUMNS "w.id, w.name, w.settings, w.created_us, w.updated_us, w.version, w.purge_us, " OWNER

SQL(workspace_add, DB_MAIN, SQL_INSTANCE, "uttiiiu",
    "INSERT INTO workspaces (id, name, settings, created_us, updated_us, version, owner_id) VALUES ($1, $2, "
    "$3, $4, $5, $6, $7)");
SQL(workspace_list, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT " COLUMNS ", m.role FROM workspaces w JOIN memberships m ON m.workspace_id = w.id "
    "WHERE m.user_id = $1 AND (w.deleted_us IS NULL OR m.role = 'owner')");
SQL(workspace_get, DB_MAIN, SQL_INSTANCE, "u", "SELECT " COLUMNS " FROM workspaces w WHERE w.id = $1");
SQL(workspace_set, DB_MAIN, SQL_INSTANCE, "ttiu",
    "UPDATE workspaces SET name = $1, settings = $2, updated_us = $3, version = version + 1 WHERE id = $4");
SQL(document_members, DB_MAIN, 0, "ui",
    "SELECT user_id, role, invited_us, created_us FROM memberships WHERE workspace_id = $1 ORDER BY "
    "created_us, "
    "user_id LIMIT $2");

#define DOCUMENT_MAX 1000 /* of members, of projects; lists of their own tell all of them */

#define WORKSPACE_FIELDS                                                                                     \
    FIELD(struct workspace, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Id of the workspace."),     \
        FIELD(struct workspace, name, FIELD_TEXT, .min = 1, .max = 100, .format = FORMAT_LINE,               \
              .flags = FIELD_REQUIRED, .meaning = "Its name."),                                              \
        FIELD(struct workspace, owner_id, FIELD_UUID, .flags = FIELD_READONLY,                               \
              .meaning = "Whose it is: of several owners the one that it was made by or handed over to."),   \
        FIELD(struct workspace, settings, FIELD_OBJECT, .shape = &workspace_settings_shape,                  \
              .flags = FIELD_NULLABLE, .fallback = "{}",                                                     \
              .meaning =                                                                                     \
                  "Settings of the workspace; null for those who may not read them (settings.read)."),       \
        FIELD(struct workspace, role, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_UNAUDITED,                 \
              .meaning = "The caller's role."),                                                              \
        FIELD(struct workspace, created_at, FIELD_TIME, .flags = FIELD_READONLY,                             \
              .meaning = "When it was made."),                                                               \
        FIELD(struct workspace, updated_at, FIELD_TIME, .flags = FIELD_READONLY,                             \
              .meaning = "When it was changed last."),                                                       \
        FIELD(struct workspace, deletes_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_NULLABLE,            \
              .meaning =                                                                                     \
                  "It is deleted, and goes for good then unless an owner restores it; null: it is not.")
static const struct field workspace_fields[] = {WORKSPACE_FIELDS};
const struct shape workspace_shape =
    SHAPE("Workspace", struct workspace, workspace_fields,
          "A workspace: everything belongs to one, and its members see nothing of others.");

struct document_member {
    uuid user_id;
    str role;
    usec invited_at, joined_at;
};
static const struct field document_member_fields[] = {
    FIELD(struct document_member, user_id, FIELD_UUID, .flags = FIELD_READONLY,
          .meaning = "Id of the person."),
    FIELD(struct document_member, role, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "Their role."),
    FIELD(struct document_member, invited_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "When they were invited; null: they were not."),
    FIELD(struct document_member, joined_at, FIELD_TIME, .flags = FIELD_READONLY, .meaning = "Member since."),
};
static const struct shape document_member_shape =
    SHAPE("WorkspaceMember", struct document_member, document_member_fields, "A member, in short.");

struct document {
    struct workspace w; /* first: its fields are the document's */
    struct objects members;
    struct texts projects;
    struct workspace_billing *billing;
};
static const struct field document_fields[] = {
    WORKSPACE_FIELDS,
    FIELD(struct document, members, FIELD_OBJECTS, .shape = &document_member_shape, .flags = FIELD_READONLY,
          .max_items = DOCUMENT_MAX, .meaning = "Its members, those first who have been it the longest."),
    FIELD(struct document, projects, FIELD_TEXTS, .flags = FIELD_READONLY, .max_items = DOCUMENT_MAX,
          .meaning = "Ids of its projects that the caller sees."),
    FIELD(struct document, billing, FIELD_OBJECT, .shape = &workspace_billing_shape,
          .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "Its plan and what it spends; null for those who may not read it (billing.read)."),
};
static const struct shape document_shape =
    SHAPE("WorkspaceDocument", struct document, document_fields, "A workspace with what is in it.");

/* Columns of workspace_get. */
static enum errc read_row(struct arena *a, const struct val *row, str role, bool shows_settings,
                          struct workspace *w, err *e)
{
    *w = (struct workspace){
        .id = val_uuid(&row[0]),
        .name = val_str(&row[1]),
        .role = role,
        .created_at = val_int(&row[3]),
        .updated_at = val_int(&row[4]),
        .version = val_int(&row[5]),
        .deletes_at = val_int(&row[6]),
        .owner_id = val_uuid(&row[7]),
    };
    if (!shows_settings) return ERR_NONE;
    w->settings = arena_new(a, struct workspace_settings);
    return w->settings ? workspace_settings_read(a, val_str(&row[2]), w->settings, e)
                       : err_code(e, ERR_TOO_LARGE);
}

enum errc workspace_insert(struct api_request *r, struct tx *tx, const struct workspace *w, const uuid *owner,
                           err *e)
{
    struct event ev = event_of(r, S("workspace.created"), EVENT_WORKSPACE);
    str settings = S("{}");
    enum errc rc = w->settings ? policy_write(r->arena, w->settings, &settings, e) : ERR_NONE;
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &workspace_add,
                     PARAMS(v_uuid(&w->id), v_text(w->name), v_text(settings), v_int(w->created_at),
                            v_int(w->updated_at), v_int(w->version), v_uuid(owner)),
                     NULL, e);
    ev.workspace_id = ev.resource_id = w->id;
    ev.resource_type = S("workspace");
    ev.shape = &workspace_shape;
    ev.after = w;
    if (rc == ERR_NONE) rc = tx_event(tx, &ev, e);
    return rc == ERR_NONE ? member_insert(r, tx, &w->id, owner, str_c(role_name(ROLE_OWNER)), NO_VALUE, e)
                          : rc;
}

/* --- the document --- */

static enum errc fill_members(struct api_request *r, struct tx *tx, struct document *d, err *e)
{
    struct rows rows;
    enum errc rc =
        tx_query(tx, r->arena, &document_members, PARAMS(v_uuid(&d->w.id), v_int(DOCUMENT_MAX)), &rows, e);
    if (rc != ERR_NONE) return rc;
    struct document_member *list = arena_news(r->arena, struct document_member, rows.n + 1u);
    if (!list) return err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; i < rows.n; i++) {
        const struct val *row = row_at(&rows, i);
        list[i] =
            (struct document_member){val_uuid(&row[0]), val_str(&row[1]), val_int(&row[2]), val_int(&row[3])};
    }
    d->members = (struct objects){list, rows.n};
    return ERR_NONE;
}

static enum errc fill_projects(struct api_request *r, struct tx *tx, struct document *d, err *e)
{
    const struct sql *ids = identity_project_ids(identity_of(r));
    struct rows rows = {0};
    enum errc rc =
        ids ? tx_query(tx, r->arena, ids, PARAMS(v_uuid(&d->w.id), v_int(DOCUMENT_MAX)), &rows, e) : ERR_NONE;
    str *list = rc == ERR_NONE ? arena_news(r->arena, str, rows.n + 1u) : NULL;
    if (!list) return rc != ERR_NONE ? rc : err_code(e, ERR_TOO_LARGE);
    d->projects.items = list;
    for (unsigned i = 0; i < rows.n; i++) {
        uuid id = val_uuid(&row_at(&rows, i)[0]);
        char *text = arena_bytes(r->arena, UUID_TEXT_LEN + 1);
        if (!text) return err_code(e, ERR_TOO_LARGE);
        if (!api_sees_project(r, &id)) continue;
        uuid_format(&id, text);
        list[d->projects.n++] = str_of(text, UUID_TEXT_LEN);
    }
    return ERR_NONE;
}

/* What prepare has asked the other databases. */
struct document_state {
    int64_t spent;
};

static enum errc document_prepare(struct api_request *r, err *e)
{
    struct document_state *s = arena_new(r->arena, struct document_state);
    if (!s) return err_code(e, ERR_TOO_LARGE);
    r->state = s;
    return api_may(r, PERMISSION_BILLING_READ) && !uuid_is_nil(&r->workspace_id)
               ? workspace_spent(r->store, r->arena, &r->workspace_id, r->now_us, &s->spent, e)
               : ERR_NONE;
}

/* may: what the caller holds in it. */
static enum errc document_of(struct api_request *r, struct tx *tx, const struct workspace *w,
                             const struct permission_set *may, err *e)
{
    const struct document_state *s = r->state;
    struct document *d = arena_new(r->arena, struct document);
    if (!d) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = ERR_NONE;
    d->w = *w;
    if (permission_set_has(may, PERMISSION_MEMBERS_READ)) rc = fill_members(r, tx, d, e);
    if (rc == ERR_NONE && permission_set_has(may, PERMISSION_PROJECTS_READ)) rc = fill_projects(r, tx, d, e);
    if (rc == ERR_NONE && permission_set_has(may, PERMISSION_BILLING_READ)) {
        d->billing = arena_new(r->arena, struct workspace_billing);
        rc = d->billing ? workspace_billing(tx, r->arena, &w->id, s ? s->spent : 0, d->billing, e)
                        : err_code(e, ERR_TOO_LARGE);
    }
    r->answer = d;
    r->etag = api_etag(r, w->version);
    return rc;
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
    for (unsigned i = 0; i < rows.n && rc == ERR_NONE; i++) {
        const struct val *row = row_at(&rows, i);
        struct permission_set may;
        uuid id = val_uuid(&row[0]);
        if ((rc = held_in_workspace(r, tx, &id, &may, e)) == ERR_NONE)
            rc = read_row(r->arena, row, val_str(&row[8]), permission_set_has(&may, PERMISSION_SETTINGS_READ),
                          &list[i], e);
    }
    r->items = (struct objects){list, rows.n};
    return rc;
}

static enum errc workspaces_create_prepare(struct api_request *r, err *e)
{
    struct workspace *w = r->body;
    if (identity_workspace_rules(identity_of(r))->admins_make && !r->who.is_instance_admin)
        return err_set(e, ERR_FORBIDDEN, "workspaces are made by administrators of this instance");
    w->id = uuid7_make(r->now_us);
    w->owner_id = r->who.user_id;
    w->role = str_c(role_name(ROLE_OWNER));
    w->created_at = w->updated_at = r->now_us;
    w->deletes_at = NO_VALUE;
    w->version = 1;
    enum errc rc = w->settings ? policy_check(r, w->settings, e) : ERR_NONE;
    return rc == ERR_NONE ? person_key_ensure(r->store, &r->who.user_id, r->now_us, e) : rc;
}

static enum errc workspaces_create(struct api_request *r, struct tx *tx, err *e)
{
    const struct workspace *w = r->body;
    enum errc rc = workspace_insert(r, tx, w, &r->who.user_id, e);
    if (rc == ERR_NONE) rc = document_of(r, tx, w, role_permissions(ROLE_OWNER), e);
    r->location = api_location(r, "/api/workspaces/", &w->id);
    return rc;
}

/* --- GET, PUT, PATCH /api/workspaces/:id --- */

static enum errc load(struct api_request *r, struct tx *tx, bool shows_settings, struct workspace *w, err *e)
{
    const struct val *row;
    enum errc rc = tx_query_row(tx, r->arena, &workspace_get, PARAMS(v_uuid(&r->workspace_id)), &row, e);
    return rc == ERR_NONE ? read_row(r->arena, row, r->role, shows_settings, w, e) : rc;
}

static enum errc workspaces_show(struct api_request *r, struct tx *tx, err *e)
{
    struct workspace w;
    enum errc rc = load(r, tx, api_may(r, PERMISSION_SETTINGS_READ), &w, e);
    return rc == ERR_NONE ? document_of(r, tx, &w, &r->may, e) : rc;
}

static enum errc workspaces_change(struct api_request *r, struct tx *tx, err *e)
{
    struct workspace before, after;
    str old, new;
    enum errc rc = load(r, tx, true, &before, e);
    if (rc != ERR_NONE || (rc = api_if_match(r, api_etag(r, before.version), e)) != ERR_NONE) return rc;
    after = before;
    if (r->route->is_merge) {
        if ((rc = api_merge(r, &after, e)) != ERR_NONE) return rc;
    } else {
        const struct workspace *body = r->body;
        after.name = body->name;
        after.settings = body->settings;
    }
    if (!after.settings) { /* null: as they are at first */
        after.settings = workspace_settings_usual(r->arena);
        if (!after.settings) return err_code(e, ERR_TOO_LARGE);
    }
    struct workspace_settings *settings = arena_new(r->arena, struct workspace_settings);
    if (!settings) return err_code(e, ERR_TOO_LARGE);
    *settings = *after.settings;
    after.settings = settings;
    if ((rc = policy_check(r, settings, e)) != ERR_NONE ||
        (rc = policy_may_change(r, before.settings, settings, e)) != ERR_NONE ||
        (rc = policy_write(r->arena, before.settings, &old, e)) != ERR_NONE ||
        (rc = policy_write(r->arena, settings, &new, e)) != ERR_NONE)
        return rc;
    if (!str_eq(before.name, after.name) || !str_eq(old, new)) {
        after.updated_at = r->now_us;
        after.version++;
        struct event ev = event_of(r, S("workspace.updated"), EVENT_WORKSPACE);
        ev.resource_type = S("workspace");
        ev.resource_id = after.id;
        ev.shape = &workspace_shape;
        ev.before = &before;
        ev.after = &after;
        rc = tx_exec(tx, &workspace_set,
                     PARAMS(v_text(after.name), v_text(new), v_int(r->now_us), v_uuid(&after.id)), NULL, e);
        if (rc == ERR_NONE) rc = tx_event(tx, &ev, e);
    }
    return rc == ERR_NONE ? document_of(r, tx, &after, &r->may, e) : rc;
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
     .answer = &document_shape,
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
     .answer = &document_shape,
     .summary = "A workspace",
     .prepare = document_prepare,
     .apply = workspaces_show},
    {.method = HTTP_PUT,
     .path = "/api/workspaces/:id",
     .name = "workspaces_replace",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_SETTINGS_UPDATE,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .body = &workspace_shape,
     .answer = &document_shape,
     .summary = "Replaces name and settings of a workspace",
     .prepare = document_prepare,
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
     .answer = &document_shape,
     .summary = "Changes a workspace",
     .text = "Settings are merged member by member.",
     .prepare = document_prepare,
     .apply = workspaces_change},
};
const struct api_table workspaces_api = {"workspaces", routes, LENGTH_OF(routes)};
