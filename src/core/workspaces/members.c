/* Members of a workspace: who, in which role; nobody gives more than they hold, and the last owner stays. */
#include "core/workspaces/internal.h"

#define MEMBER_COLUMNS                                                                                       \
    "m.user_id, u.email, u.name, m.role, m.created_us, m.last_active_us, m.invited_us, "                     \
    "u.service_workspace_id"
SQL(member_add, DB_MAIN, 0, "uutii",
    "INSERT INTO memberships (workspace_id, user_id, role, created_us, invited_us) VALUES ($1, $2, $3, $4, "
    "$5)");
SQL(member_list, DB_MAIN, 0, "u",
    "SELECT " MEMBER_COLUMNS
    " FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.workspace_id = $1");
SQL(member_get, DB_MAIN, 0, "uu",
    "SELECT " MEMBER_COLUMNS
    " FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.workspace_id = $1 AND "
    "m.user_id = $2");
SQL(member_find, DB_MAIN, 0, "uu", "SELECT NULL FROM memberships WHERE workspace_id = $1 AND user_id = $2");
SQL(member_set, DB_MAIN, 0, "tuu",
    "UPDATE memberships SET role = $1 WHERE workspace_id = $2 AND user_id = $3");
SQL(member_drop, DB_MAIN, 0, "uu", "DELETE FROM memberships WHERE workspace_id = $1 AND user_id = $2");
SQL(owners_count, DB_MAIN, 0, "u",
    "SELECT count(*) FROM memberships m JOIN users u ON u.id = m.user_id "
    "WHERE m.workspace_id = $1 AND m.role = 'owner' AND u.is_disabled = 0");

struct member {
    uuid user_id;
    str email, name, role;
    usec created_at, last_active_at, invited_at;
    bool is_service_account;
};
static const struct field member_fields[] = {
    FIELD(struct member, user_id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Id of the person."),
    FIELD(struct member, email, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_PERSONAL | FIELD_UNAUDITED,
          .meaning = "E-mail address; empty of a service account."),
    FIELD(struct member, name, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_PERSONAL | FIELD_UNAUDITED,
          .meaning = "Name."),
    FIELD(struct member, role, FIELD_TEXT, .min = 1, .max = 36, .format = FORMAT_NAME,
          .flags = FIELD_REQUIRED,
          .meaning = "Role in this workspace: a built-in one's name, a custom one's id, or none for somebody "
                     "who is in "
                     "single projects only."),
    FIELD(struct member, created_at, FIELD_TIME, .flags = FIELD_READONLY, .meaning = "Member since."),
    FIELD(struct member, last_active_at, FIELD_TIME,
          .flags = FIELD_READONLY | FIELD_NULLABLE | FIELD_UNAUDITED,
          .meaning = "Last seen in this workspace, to the minute."),
    FIELD(struct member, invited_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "When they were invited; null: they were not."),
    FIELD(struct member, is_service_account, FIELD_BOOL, .flags = FIELD_READONLY,
          .meaning = "It is no person but a service account."),
};
static const struct shape member_shape =
    SHAPE("Member", struct member, member_fields, "A person in a workspace.");

static const struct api_resource member_resource = {
    .param = ":user_id", .find = &member_find, .noun = "member"};

static void read_row(const struct val *row, struct member *m)
{
    uuid service = val_uuid(&row[7]);
    *m = (struct member){val_uuid(&row[0]), val_str(&row[1]), val_str(&row[2]), val_str(&row[3]),
                         val_int(&row[4]),  val_int(&row[5]), val_int(&row[6]), !uuid_is_nil(&service)};
}

static struct event member_event(const struct api_request *r, str type, enum event_number n,
                                 const uuid *workspace, const uuid *user, const struct member *before,
                                 const struct member *after)
{
    struct event ev = event_of(r, type, n);
    ev.workspace_id = *workspace;
    ev.resource_type = S("member");
    ev.resource_id = *user;
    ev.shape = &member_shape;
    ev.before = before;
    ev.after = after;
    return ev;
}

enum errc member_insert(struct api_request *r, struct tx *tx, const uuid *workspace, const uuid *user,
                        str role, usec invited_us, err *e)
{
    struct member m = {.user_id = *user,
                       .role = role,
                       .created_at = r->now_us,
                       .last_active_at = NO_VALUE,
                       .invited_at = invited_us};
    struct event ev = member_event(r, S("member.added"), EVENT_MEMBER, workspace, user, NULL, &m);
    struct rows others;
    enum errc rc = tx_query(tx, r->arena, &member_find, PARAMS(v_uuid(workspace), v_uuid(user)), &others, e);
    if (rc == ERR_NONE && others.n)
        return err_set(e, ERR_CONFLICT, "they are a member of this workspace already");
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &member_add,
                     PARAMS(v_uuid(workspace), v_uuid(user), v_text(m.role), v_int(r->now_us),
                            v_int_or_null(invited_us)),
                     NULL, e);
    if (rc == ERR_NONE) rc = tx_access_changed(tx, workspace, e);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

enum errc member_change_role(struct api_request *r, struct tx *tx, const uuid *user, str role,
                             enum event_number n, err *e)
{
    const struct val *row;
    struct member before, after;
    enum errc rc =
        tx_query_row(tx, r->arena, &member_get, PARAMS(v_uuid(&r->workspace_id), v_uuid(user)), &row, e);
    if (rc != ERR_NONE) return rc;
    read_row(row, &before);
    after = before;
    after.role = role;
    struct event ev = member_event(r, S("member.updated"), n, &r->workspace_id, user, &before, &after);
    rc = tx_exec(tx, &member_set, PARAMS(v_text(role), v_uuid(&r->workspace_id), v_uuid(user)), NULL, e);
    if (rc == ERR_NONE) rc = tx_access_changed(tx, &r->workspace_id, e);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

/* --- the rules --- */

static bool is_owner_role(str role) { return str_eq(role, str_c(role_name(ROLE_OWNER))); }

enum errc may_give_role(struct api_request *r, struct tx *tx, const uuid *project, const char *field,
                        str role, err *e)
{
    static const uuid nowhere;
    if (str_eq(role, S(ROLE_NONE)) && !project) return ERR_NONE;
    enum errc rc = role_hand_on(r, tx, project ? project : &nowhere, role, e);
    if (rc == ERR_NOT_FOUND) {
        r->errors = (struct field_errors){0}; /* the unit may run again */
        return api_field_error(r, e, field, "not_one_of", "names no role of this workspace");
    }
    return rc == ERR_NONE && is_owner_role(role) ? recently_authenticated(r, e) : rc;
}

/* An owner is to become something else, or to go. */
static enum errc may_lose_owner(struct api_request *r, struct tx *tx, err *e)
{
    const struct val *row;
    enum errc rc = may_give_role(r, tx, NULL, "role", str_c(role_name(ROLE_OWNER)), e);
    if (rc == ERR_NONE)
        rc = tx_query_row(tx, r->arena, &owners_count, PARAMS(v_uuid(&r->workspace_id)), &row, e);
    if (rc == ERR_NONE && val_int(&row[0]) <= 1)
        return err_set(e, ERR_CONFLICT, "a workspace always has an owner: make somebody else an owner first");
    return rc;
}

static bool is_self(const struct api_request *r)
{
    return memcmp(&r->path_id[1], &r->who.user_id, sizeof r->who.user_id) == 0;
}

static enum errc load(struct api_request *r, struct tx *tx, struct member *m, err *e)
{
    const struct val *row;
    enum errc rc = tx_query_row(tx, r->arena, &member_get,
                                PARAMS(v_uuid(&r->workspace_id), v_uuid(&r->path_id[1])), &row, e);
    if (rc == ERR_NONE) read_row(row, m);
    return rc;
}

/* --- endpoints --- */

static enum errc members_list(struct api_request *r, struct tx *tx, err *e)
{
    struct keyset key = {.column = "m.user_id", .param = 'u', .cursor = r->cursor, .limit = r->limit};
    struct rows rows;
    enum errc rc = tx_list(tx, r->arena, &member_list, PARAMS(v_uuid(&r->workspace_id)), NULL, 0, &key, &rows,
                           &r->next_cursor, e);
    if (rc != ERR_NONE) return rc;
    struct member *list = arena_news(r->arena, struct member, rows.n);
    if (!list) return err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; i < rows.n; i++)
        read_row(row_at(&rows, i), &list[i]);
    r->items = (struct objects){list, rows.n};
    return ERR_NONE;
}

static enum errc members_put(struct api_request *r, struct tx *tx, err *e)
{
    const struct member *body = r->body;
    struct member before, *after = arena_new(r->arena, struct member);
    if (!after) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = load(r, tx, &before, e);
    if (rc != ERR_NONE) return rc;
    *after = before;
    after->role = body->role;
    r->answer = after;
    if (str_eq(before.role, after->role)) return ERR_NONE;
    if (before.is_service_account && is_owner_role(after->role))
        return err_set(e, ERR_FORBIDDEN, "a service account cannot own a workspace");
    if ((rc = may_give_role(r, tx, NULL, "role", after->role, e)) != ERR_NONE ||
        (is_owner_role(before.role) && (rc = may_lose_owner(r, tx, e)) != ERR_NONE))
        return rc;
    return member_change_role(r, tx, &after->user_id, after->role, EVENT_MEMBER, e);
}

enum errc member_remove(struct api_request *r, struct tx *tx, const uuid *user, err *e)
{
    const struct val *row;
    struct member before;
    enum errc rc =
        tx_query_row(tx, r->arena, &member_get, PARAMS(v_uuid(&r->workspace_id), v_uuid(user)), &row, e);
    if (rc != ERR_NONE) return rc;
    read_row(row, &before);
    if ((rc = keys_revoke_of(r, tx, &r->workspace_id, &before.user_id, e)) != ERR_NONE) return rc;
    struct event ev =
        member_event(r, S("member.removed"), EVENT_MEMBER, &r->workspace_id, &before.user_id, &before, NULL);
    rc = tx_exec(tx, &member_drop, PARAMS(v_uuid(&r->workspace_id), v_uuid(&before.user_id)), NULL, e);
    if (rc == ERR_NONE) rc = tx_access_of_user_gone(tx, &r->workspace_id, &before.user_id, e);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

static enum errc members_delete(struct api_request *r, struct tx *tx, err *e)
{
    struct member before;
    enum errc rc = load(r, tx, &before, e);
    if (rc != ERR_NONE) return rc;
    if (before.is_service_account)
        return err_set(e, ERR_CONFLICT,
                       "this is a service account: DELETE /api/workspaces/:id/service-accounts/:account_id");
    if (is_owner_role(before.role) && (rc = may_lose_owner(r, tx, e)) != ERR_NONE) return rc;
    return member_remove(r, tx, &before.user_id, e);
}

/* What they see of this workspace: all of it has to be decided anew. */
static void members_changed(struct api_request *r)
{
    static const uuid any;
    struct live *live = identity_live(identity_of(r));
    if (live) live_revoke(live, &any, &r->path_id[1], &r->workspace_id);
}

static const struct api_route routes[] = {
    {.method = HTTP_GET,
     .path = "/api/workspaces/:id/members",
     .name = "members_list",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_MEMBERS_READ,
     .scope = SCOPE_WORKSPACE,
     .answer = &member_shape,
     .is_list = true,
     .summary = "Members of a workspace",
     .apply = members_list},
    {.method = HTTP_PUT,
     .path = "/api/workspaces/:id/members/:user_id",
     .name = "members_replace",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_MEMBERS_UPDATE,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .resource = &member_resource,
     .body = &member_shape,
     .answer = &member_shape,
     .summary = "Gives a member another role",
     .text = "Only roles whose permissions the caller holds. Owners are made and unmade by owners who have "
             "just given their password; the last "
             "one stays.",
     .apply = members_put,
     .after = members_changed},
    {.method = HTTP_DELETE,
     .path = "/api/workspaces/:id/members/:user_id",
     .name = "members_delete",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_MEMBERS_REMOVE,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .resource = &member_resource,
     .is_own = is_self,
     .status = 204,
     .summary = "Takes a member out of the workspace",
     .text = "Their API keys of this workspace are revoked. Members may leave by themselves; the last owner "
             "never.",
     .apply = members_delete,
     .after = members_changed},
};
const struct api_table members_api = {"workspaces", routes, LENGTH_OF(routes)};
