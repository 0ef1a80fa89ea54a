/* Custom roles: made, changed and deleted; nobody puts into one what they do not hold, and what it gave stands in the log. */
#include "core/permissions/internal.h"

#include <stdlib.h>

#define COLUMNS "id, name, description, parent, permissions, created_by, created_us, updated_us, version"
SQL(roles_all, DB_MAIN, 0, "u", "SELECT " COLUMNS " FROM roles WHERE workspace_id = $1 ORDER BY name_key, id");
SQL(role_find, DB_MAIN, 0, "uu", "SELECT NULL FROM roles WHERE workspace_id = $1 AND id = $2");
SQL(role_uses, DB_MAIN, 0, "u",
    "SELECT x.role, COUNT(*) FROM (SELECT role FROM memberships WHERE workspace_id = $1 UNION ALL SELECT role FROM assignments WHERE "
    "workspace_id = $1 UNION ALL SELECT role FROM invitations WHERE workspace_id = $1) x GROUP BY x.role");
SQL(role_insert, DB_MAIN, 0, "uutttttuiii",
    "INSERT INTO roles (workspace_id, id, name, name_key, description, parent, permissions, created_by, created_us, updated_us, version) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)");
SQL(role_update, DB_MAIN, 0, "tttttiiuu",
    "UPDATE roles SET name = $1, name_key = $2, description = $3, parent = $4, permissions = $5, updated_us = $6, version = $7 "
    "WHERE workspace_id = $8 AND id = $9");
SQL(role_delete, DB_MAIN, 0, "uu", "DELETE FROM roles WHERE workspace_id = $1 AND id = $2");

struct role_view {
    str id, name, description, parent;
    struct texts permissions, effective;
    bool is_built_in;
    int64_t n_assigned;
    uuid created_by;
    usec created_at, updated_at;
    int64_t version;
};
static const struct field role_fields[] = {
    FIELD(struct role_view, id, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "What names it elsewhere: the name of a built-in role, the id of a custom one."),
    FIELD(struct role_view, name, FIELD_TEXT, .min = 1, .max = ACCESS_NAME_MAX, .format = FORMAT_LINE, .flags = FIELD_REQUIRED,
          .meaning = "Its name, unique in the workspace."),
    FIELD(struct role_view, description, FIELD_TEXT, .max = ACCESS_TEXT_MAX, .fallback = "\"\"", .meaning = "What it is for."),
    FIELD(struct role_view, parent, FIELD_TEXT, .max = 36, .flags = FIELD_NULLABLE,
          .meaning = "The role whose permissions it has too: a built-in one but owner, or a custom one; up to five stand above one another."),
    FIELD(struct role_view, permissions, FIELD_TEXTS, .max_items = PERMISSIONS, .fallback = "[]", .meaning = "Its own permissions."),
    FIELD(struct role_view, effective, FIELD_TEXTS, .max_items = PERMISSIONS, .flags = FIELD_READONLY | FIELD_UNAUDITED,
          .meaning = "Its permissions with those that it inherits."),
    FIELD(struct role_view, is_built_in, FIELD_BOOL, .flags = FIELD_READONLY, .meaning = "It comes with the program and cannot be changed."),
    FIELD(struct role_view, n_assigned, FIELD_INT, .flags = FIELD_READONLY | FIELD_UNAUDITED,
          .meaning = "How many memberships, assignments and invitations name it."),
    FIELD(struct role_view, created_by, FIELD_UUID, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "Who made it."),
    FIELD(struct role_view, created_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "When it was made."),
    FIELD(struct role_view, updated_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_NULLABLE | FIELD_UNAUDITED,
          .meaning = "When it was changed last."),
};
static const struct shape role_shape = SHAPE("WorkspaceRole", struct role_view, role_fields, "A role of a workspace.");

/* --- the roles of the workspace --- */

struct all_roles {
    struct role_view *views;   /* the custom ones by name */
    struct access_role *roles; /* the same, for what they inherit, by id */
    unsigned n;
    struct rows uses;
};

static int by_id(const void *a, const void *b)
{
    return memcmp(&((const struct access_role *)a)->id, &((const struct access_role *)b)->id, sizeof(uuid));
}

static int64_t uses_of(const struct rows *uses, str role)
{
    for (unsigned i = 0; i < uses->n; i++)
        if (str_eq(val_str(&row_at(uses, i)[0]), role)) return val_int(&row_at(uses, i)[1]);
    return 0;
}

static enum errc read_view(struct arena *a, const struct val *row, struct role_view *v, struct access_role *role, err *e)
{
    char text[UUID_TEXT_LEN + 1];
    *role = (struct access_role){.id = val_uuid(&row[0]),
                                 .name = val_str(&row[1]),
                                 .parent = val_str(&row[3]),
                                 .own = permission_set_of_names(val_str(&row[4]))};
    *v = (struct role_view){
        .id = str_dup(a, uuid_format(&role->id, text)),
        .name = role->name,
        .description = val_str(&row[2]),
        .parent = role->parent,
        .created_by = val_uuid(&row[5]),
        .created_at = val_int(&row[6]),
        .updated_at = val_int(&row[7]),
        .version = val_int(&row[8]),
    };
    if (!v->id.p) return err_code(e, ERR_TOO_LARGE);
    return access_texts_of(a, &role->own, &v->permissions, e);
}

static enum errc read_all(struct api_request *r, struct tx *tx, struct all_roles *all, err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, r->arena, &roles_all, PARAMS(v_uuid(&r->workspace_id)), &rows, e);
    if (rc == ERR_NONE) rc = tx_query(tx, r->arena, &role_uses, PARAMS(v_uuid(&r->workspace_id)), &all->uses, e);
    if (rc != ERR_NONE) return rc;
    all->n = rows.n;
    all->views = arena_news(r->arena, struct role_view, rows.n + 1u);
    all->roles = arena_news(r->arena, struct access_role, rows.n + 1u);
    if (!all->views || !all->roles) return err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; rc == ERR_NONE && i < rows.n; i++) {
        rc = read_view(r->arena, row_at(&rows, i), &all->views[i], &all->roles[i], e);
        all->views[i].n_assigned = uses_of(&all->uses, all->views[i].id);
    }
    if (rows.n) qsort(all->roles, all->n, sizeof *all->roles, by_id);
    access_resolve_roles(all->roles, all->n);
    return rc;
}

static struct role_view *view_of(struct all_roles *all, const uuid *id)
{
    char text[UUID_TEXT_LEN + 1];
    str wanted = uuid_format(id, text);
    for (unsigned i = 0; i < all->n; i++)
        if (str_eq(all->views[i].id, wanted)) return &all->views[i];
    return NULL;
}

static struct access_role *role_of(struct all_roles *all, const uuid *id)
{
    const struct access_role *found = access_role_by_id(all->roles, all->n, id);
    return found ? &all->roles[found - all->roles] : NULL;
}

static enum errc fill_effective(struct api_request *r, struct all_roles *all, struct role_view *v, err *e)
{
    uuid id;
    const struct access_role *role = uuid_parse(v->id, &id) ? role_of(all, &id) : NULL;
    return role ? access_texts_of(r->arena, &role->all, &v->effective, e) : err_code(e, ERR_INTERNAL);
}

/* --- GET --- */

static enum errc roles_list(struct api_request *r, struct tx *tx, err *e)
{
    struct all_roles all;
    enum errc rc = read_all(r, tx, &all, e);
    if (rc != ERR_NONE) return rc;
    struct role_view *list = arena_news(r->arena, struct role_view, ROLES + all.n);
    if (!list) return err_code(e, ERR_TOO_LARGE);
    for (enum role i = 0; rc == ERR_NONE && i < ROLES; i++) {
        str name = str_c(role_name(i));
        list[i] = (struct role_view){.id = name,
                                     .name = name,
                                     .description = S(""),
                                     .is_built_in = true,
                                     .n_assigned = uses_of(&all.uses, name),
                                     .created_at = NO_VALUE,
                                     .updated_at = NO_VALUE};
        rc = access_texts_of(r->arena, role_permissions(i), &list[i].permissions, e);
        list[i].effective = list[i].permissions;
    }
    for (unsigned i = 0; rc == ERR_NONE && i < all.n; i++) {
        list[ROLES + i] = all.views[i];
        rc = fill_effective(r, &all, &list[ROLES + i], e);
    }
    r->items = (struct objects){list, ROLES + all.n};
    return rc;
}

static enum errc roles_show(struct api_request *r, struct tx *tx, err *e)
{
    struct all_roles all;
    enum errc rc = read_all(r, tx, &all, e);
    struct role_view *v = rc == ERR_NONE ? view_of(&all, &r->path_id[1]) : NULL;
    if (rc != ERR_NONE) return rc;
    if (!v) return err_set(e, ERR_NOT_FOUND, "there is no such role");
    r->answer = v;
    r->etag = api_etag(r, v->version);
    return fill_effective(r, &all, v, e);
}

/* --- POST, PUT --- */

struct role_state {
    uuid id;
    str name_key;
    struct permission_set own;
};

/* What holds by itself. */
static enum errc check_prepare(struct api_request *r, err *e)
{
    const struct role_view *body = r->body;
    struct role_state *s = arena_new(r->arena, struct role_state);
    enum role built_in;
    uuid id;
    if (!s) return err_code(e, ERR_TOO_LARGE);
    r->state = s;
    s->id = uuid7_make(r->now_us);
    enum errc rc = access_name_key(r->arena, body->name, &s->name_key, e);
    if (rc != ERR_NONE) return rc;
    if (role_parse(s->name_key, &built_in) || str_eq(s->name_key, S(ROLE_NONE)) || uuid_parse(body->name, &id))
        (void)api_field_error(r, e, "name", "duplicate", "is the name of a built-in role, or stands for something else");
    if (access_read_permissions(r, "permissions", &body->permissions, &s->own, e) == ERR_TOO_LARGE) return ERR_TOO_LARGE;
    return r->errors.n ? field_errors_sum(&r->errors, e) : ERR_NONE;
}

/* Parents above a role; more than ROLE_DEPTH_MAX when they are too many, or come back to where they began. */
static unsigned depth_of(struct all_roles *all, const struct access_role *role)
{
    unsigned depth = 0;
    for (str parent = role->parent; parent.len && depth <= ROLE_DEPTH_MAX; depth++) {
        uuid id;
        const struct access_role *above = uuid_parse(parent, &id) ? role_of(all, &id) : NULL;
        parent = above ? above->parent : (str){NULL, 0};
    }
    return depth;
}

/* What depends on the others; all has the role as it is to be. */
static enum errc check_parents(struct api_request *r, struct all_roles *all, const struct access_role *role, err *e)
{
    enum role built_in;
    uuid id;
    if (!role->parent.len) return ERR_NONE;
    if (role_parse(role->parent, &built_in)) {
        if (built_in == ROLE_OWNER)
            return api_field_error(r, e, "parent", "not_one_of", "must not be owner: what an owner may, an owner has to be");
    } else if (!uuid_parse(role->parent, &id) || !role_of(all, &id)) {
        return api_field_error(r, e, "parent", "not_found", "names no role of this workspace");
    }
    for (unsigned i = 0; i < all->n; i++)
        if (depth_of(all, &all->roles[i]) > ROLE_DEPTH_MAX)
            return api_field_error(r, e, "parent", "out_of_range", "would make a circle, or more than %d roles above one another", ROLE_DEPTH_MAX);
    return ERR_NONE;
}

static enum errc check_name(struct api_request *r, struct all_roles *all, const struct role_state *s, const uuid *self, err *e)
{
    for (unsigned i = 0; i < all->n; i++) {
        str key;
        if (self && uuid_same(&all->roles[i].id, self)) continue;
        enum errc rc = access_name_key(r->arena, all->roles[i].name, &key, e);
        if (rc != ERR_NONE) return rc;
        if (str_eq(key, s->name_key)) {
            field_error_add(r->arena, &r->errors, S("name"), "duplicate", "there is a role of this name already");
            return err_set(e, ERR_CONFLICT, "there is a role of this name already");
        }
    }
    return ERR_NONE;
}

static enum errc hand_on(struct api_request *r, const struct access_role *role, err *e)
{
    static const uuid workspace;
    str what = arena_printf(r->arena, "the role %.*s", STR(role->name));
    return what.p ? permission_hand_on(r, &workspace, &role->all, what, e) : err_code(e, ERR_TOO_LARGE);
}

static struct event role_event(const struct api_request *r, str type, const uuid *id, const struct role_view *before, const struct role_view *after)
{
    return access_event_of(r, type, S("role"), id, &role_shape, before, after);
}

static enum errc roles_create(struct api_request *r, struct tx *tx, err *e)
{
    const struct role_view *body = r->body;
    const struct role_state *s = r->state;
    struct role_view *v = arena_new(r->arena, struct role_view);
    struct all_roles all;
    char text[UUID_TEXT_LEN + 1];
    r->errors = (struct field_errors){0};
    enum errc rc = v ? read_all(r, tx, &all, e) : err_code(e, ERR_TOO_LARGE);
    if (rc != ERR_NONE) return rc;
    if (all.n >= ROLES_CUSTOM_MAX) return err_set(e, ERR_CONFLICT, "a workspace has %d roles of its own at most", ROLES_CUSTOM_MAX);
    if ((rc = check_name(r, &all, s, NULL, e)) != ERR_NONE) return rc;
    all.roles[all.n++] = (struct access_role){.id = s->id, .name = body->name, .parent = body->parent, .own = s->own};
    qsort(all.roles, all.n, sizeof *all.roles, by_id);
    access_resolve_roles(all.roles, all.n);
    const struct access_role *role = role_of(&all, &s->id);
    if ((rc = check_parents(r, &all, role, e)) != ERR_NONE || (rc = hand_on(r, role, e)) != ERR_NONE) return rc;
    *v = *body;
    v->id = str_dup(r->arena, uuid_format(&s->id, text));
    v->created_by = r->who.user_id;
    v->created_at = v->updated_at = r->now_us;
    v->version = 1;
    str names = permission_set_names(r->arena, &s->own);
    if (!v->id.p || !names.p) return err_code(e, ERR_TOO_LARGE);
    rc = access_texts_of(r->arena, &s->own, &v->permissions, e);
    if (rc == ERR_NONE) rc = access_texts_of(r->arena, &role->all, &v->effective, e);
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &role_insert,
                     PARAMS(v_uuid(&r->workspace_id), v_uuid(&s->id), v_text(v->name), v_text(s->name_key), v_text(v->description),
                            v_text_or_null(v->parent), v_text(names), v_uuid(&v->created_by), v_int(v->created_at), v_int(v->updated_at),
                            v_int(v->version)),
                     NULL, e);
    if (rc == ERR_NONE) rc = tx_access_changed(tx, &r->workspace_id, e);
    struct event ev = role_event(r, S("role.created"), &s->id, NULL, v);
    r->answer = v;
    r->location = arena_printf(r->arena, "%.*s/roles/%.*s", STR(api_location(r, "/api/workspaces/", &r->workspace_id)), STR(v->id));
    r->etag = api_etag(r, v->version);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

static enum errc roles_replace(struct api_request *r, struct tx *tx, err *e)
{
    const struct role_view *body = r->body;
    const struct role_state *s = r->state;
    struct all_roles all;
    r->errors = (struct field_errors){0};
    enum errc rc = read_all(r, tx, &all, e);
    if (rc != ERR_NONE) return rc;
    struct role_view *before = view_of(&all, &r->path_id[1]), *after = arena_new(r->arena, struct role_view);
    struct access_role *role = role_of(&all, &r->path_id[1]);
    if (!before || !role) return err_set(e, ERR_NOT_FOUND, "there is no such role");
    if (!after) return err_code(e, ERR_TOO_LARGE);
    if ((rc = api_if_match(r, api_etag(r, before->version), e)) != ERR_NONE || (rc = check_name(r, &all, s, &role->id, e)) != ERR_NONE ||
        (rc = hand_on(r, role, e)) != ERR_NONE) /* nor does anybody touch a role that holds more than they do */
        return rc;
    struct permission_set own_before = role->own;
    role->name = body->name;
    role->parent = body->parent;
    role->own = s->own;
    access_resolve_roles(all.roles, all.n);
    if ((rc = check_parents(r, &all, role, e)) != ERR_NONE || (rc = hand_on(r, role, e)) != ERR_NONE) return rc;
    *after = *before;
    after->name = body->name;
    after->description = body->description;
    after->parent = body->parent;
    after->updated_at = r->now_us;
    after->version++;
    str names = permission_set_names(r->arena, &s->own), names_before = permission_set_names(r->arena, &own_before);
    if (!names.p || !names_before.p) return err_code(e, ERR_TOO_LARGE);
    rc = access_texts_of(r->arena, &s->own, &after->permissions, e);
    if (rc == ERR_NONE) rc = access_texts_of(r->arena, &role->all, &after->effective, e);
    bool differs = !str_eq(before->name, after->name) || !str_eq(before->description, after->description) ||
                   !str_eq(before->parent, after->parent) || !str_eq(names, names_before);
    if (!differs) {
        after->updated_at = before->updated_at;
        after->version = before->version;
        r->answer = after;
        r->etag = api_etag(r, after->version);
        return rc;
    }
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &role_update,
                     PARAMS(v_text(after->name), v_text(s->name_key), v_text(after->description), v_text_or_null(after->parent), v_text(names),
                            v_int(after->updated_at), v_int(after->version), v_uuid(&r->workspace_id), v_uuid(&role->id)),
                     NULL, e);
    if (rc == ERR_NONE) rc = tx_access_changed(tx, &r->workspace_id, e);
    struct event ev = role_event(r, S("role.updated"), &role->id, before, after);
    if (rc == ERR_NONE) rc = tx_event(tx, &ev, e);
    r->answer = after;
    r->etag = api_etag(r, after->version);
    return rc;
}

static enum errc roles_delete(struct api_request *r, struct tx *tx, err *e)
{
    struct all_roles all;
    enum errc rc = read_all(r, tx, &all, e);
    if (rc != ERR_NONE) return rc;
    struct role_view *before = view_of(&all, &r->path_id[1]);
    const struct access_role *role = role_of(&all, &r->path_id[1]);
    if (!before || !role) return err_set(e, ERR_NOT_FOUND, "there is no such role");
    if ((rc = api_if_match(r, api_etag(r, before->version), e)) != ERR_NONE || (rc = hand_on(r, role, e)) != ERR_NONE) return rc;
    if (before->n_assigned)
        return err_set(e, ERR_CONFLICT, "the role is in use: %lld memberships, assignments or invitations name it", (long long)before->n_assigned);
    for (unsigned i = 0; i < all.n; i++)
        if (str_eq(all.roles[i].parent, before->id))
            return err_set(e, ERR_CONFLICT, "the role '%.*s' inherits from it", STR(str_take(all.roles[i].name, 60)));
    rc = tx_exec(tx, &role_delete, PARAMS(v_uuid(&r->workspace_id), v_uuid(&role->id)), NULL, e);
    if (rc == ERR_NONE) rc = tx_access_changed(tx, &r->workspace_id, e);
    struct event ev = role_event(r, S("role.deleted"), &role->id, before, NULL);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

/* A built-in role is there, and says that it cannot be changed. */
static bool is_built_in(const struct api_request *r, const uuid *id)
{
    enum role built_in;
    (void)id;
    return role_parse(r->path_text[1], &built_in);
}

static enum errc only_custom(struct api_request *r, err *e)
{
    return is_built_in(r, NULL) ? err_set(e, ERR_CONFLICT, "built-in roles are read-only") : ERR_NONE;
}

static enum errc replace_prepare(struct api_request *r, err *e)
{
    enum errc rc = only_custom(r, e);
    return rc == ERR_NONE ? check_prepare(r, e) : rc;
}

static const struct api_resource role_resource = {.param = ":role_id", .find = &role_find, .noun = "role"};

#define ROUTE(method_, path_, name_, permission_)                                                                                          \
    .method = HTTP_##method_, .path = "/api/workspaces/:id/roles" path_, .name = "roles_" name_, .access = ACCESS_PERMISSION,              \
    .permission = PERMISSION_ROLES_##permission_, .scope = SCOPE_WORKSPACE
static const struct api_route routes[] = {
    {ROUTE(GET, "", "list", READ),
     .answer = &role_shape,
     .is_list = true,
     .summary = "The roles of a workspace: the built-in ones, then its own",
     .apply = roles_list},
    {ROUTE(POST, "", "create", MANAGE),
     .effect = EFFECT_STATE,
     .body = &role_shape,
     .answer = &role_shape,
     .status = 201,
     .summary = "Makes a role",
     .text = "Only of permissions that the caller holds in the workspace, and not only for a time. At most 100 in a workspace.",
     .prepare = check_prepare,
     .apply = roles_create},
    {ROUTE(GET, "/:role_id", "show", READ), .resource = &role_resource, .answer = &role_shape, .summary = "A role of a workspace's own", .apply = roles_show},
    {ROUTE(PUT, "/:role_id", "replace", MANAGE),
     .effect = EFFECT_STATE,
     .resource = &role_resource,
     .is_elsewhere = is_built_in,
     .body = &role_shape,
     .answer = &role_shape,
     .summary = "Changes a role",
     .text = "The caller holds what it held and what it is to hold: nobody raises others, or themselves, above what they are. What inherits from it "
             "changes too. Built-in roles are read-only.",
     .prepare = replace_prepare,
     .apply = roles_replace},
    {ROUTE(DELETE, "/:role_id", "delete", MANAGE),
     .effect = EFFECT_STATE,
     .resource = &role_resource,
     .is_elsewhere = is_built_in,
     .status = 204,
     .summary = "Deletes a role",
     .text = "Not while a membership, an assignment, an invitation or another role names it.",
     .prepare = only_custom,
     .apply = roles_delete},
};
const struct api_table roles_api = {"access", routes, LENGTH_OF(routes)};
