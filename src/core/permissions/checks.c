/* What the endpoints of access check alike: names, whom something is for, where, and for how long. */
#include "core/permissions/internal.h"

SQL(member_name, DB_MAIN, 0, "uu",
    "SELECT u.name FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.workspace_id = $1 AND m.user_id = $2");
SQL(team_name, DB_MAIN, 0, "uu", "SELECT name FROM teams WHERE workspace_id = $1 AND id = $2");
SQL(project_is_there, DB_MAIN, 0, "uu", "SELECT id FROM projects WHERE workspace_id = $1 AND id = $2");

enum errc access_name_key(struct arena *a, str name, str *out, err *e)
{
    char *p = arena_bytes(a, name.len + 1);
    if (!p) return err_code(e, ERR_TOO_LARGE);
    for (size_t i = 0; i < name.len; i++)
        p[i] = name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] | 0x20) : name.p[i];
    *out = str_of(p, name.len);
    return ERR_NONE;
}

struct event access_event_of(const struct api_request *r, str type, str resource_type, const uuid *resource, const struct shape *shape,
                             const void *before, const void *after)
{
    struct event ev = event_of(r, type, EVENT_ACCESS);
    ev.resource_type = resource_type;
    ev.resource_id = *resource;
    ev.shape = shape;
    ev.before = before;
    ev.after = after;
    return ev;
}

enum errc access_read_permissions(struct api_request *r, const char *field, const struct texts *names, struct permission_set *out, err *e)
{
    enum errc rc = ERR_NONE;
    *out = (struct permission_set){{0, 0}};
    for (unsigned i = 0; i < names->n; i++) {
        enum permission p;
        if (permission_parse(names->items[i], &p))
            permission_set_add(out, p);
        else
            rc = api_field_error(r, e, field, "not_one_of", "'%.*s' is no permission: GET /api/permissions lists them",
                                 STR(str_take(names->items[i], 60)));
    }
    return rc;
}

enum errc access_texts_of(struct arena *a, const struct permission_set *set, struct texts *out, err *e)
{
    str *items = arena_news(a, str, PERMISSIONS);
    *out = (struct texts){items, 0};
    if (!items) return err_code(e, ERR_TOO_LARGE);
    for (enum permission p = PERMISSION_NONE + 1; p < PERMISSIONS; p++)
        if (permission_set_has(set, p)) items[out->n++] = str_c(permission_name(p));
    return ERR_NONE;
}

enum errc access_check_subject(struct api_request *r, struct tx *tx, const uuid *user, const uuid *team, str *name, err *e)
{
    const struct val *row;
    bool is_team = !uuid_is_nil(team);
    if (is_team != uuid_is_nil(user))
        return api_field_error(r, e, "user_id", "required", "name either a user_id or a team_id");
    enum errc rc =
        tx_query_row(tx, r->arena, is_team ? &team_name : &member_name, PARAMS(v_uuid(&r->workspace_id), v_uuid(is_team ? team : user)), &row, e);
    if (rc == ERR_NOT_FOUND)
        return api_field_error(r, e, is_team ? "team_id" : "user_id", "not_found", "names no %s of this workspace", is_team ? "team" : "member");
    if (rc == ERR_NONE && name) *name = val_str(&row[0]);
    return rc;
}

enum errc access_check_project(struct api_request *r, struct tx *tx, const char *field, const uuid *project, err *e)
{
    const struct val *row;
    if (uuid_is_nil(project)) return ERR_NONE;
    enum errc rc = tx_query_row(tx, r->arena, &project_is_there, PARAMS(v_uuid(&r->workspace_id), v_uuid(project)), &row, e);
    if (rc == ERR_NOT_FOUND || (rc == ERR_NONE && !api_sees_project(r, project)))
        return api_field_error(r, e, field, "not_found", "names no project of this workspace");
    return rc;
}

enum errc access_check_times(struct api_request *r, usec starts, usec ends, err *e)
{
    enum errc rc = ERR_NONE;
    if (ends != NO_VALUE && ends <= r->now_us) rc = api_field_error(r, e, "ends_at", "out_of_range", "must be a time to come");
    if (ends != NO_VALUE && starts != NO_VALUE && ends <= starts)
        rc = api_field_error(r, e, "ends_at", "out_of_range", "must be later than starts_at");
    return rc;
}
