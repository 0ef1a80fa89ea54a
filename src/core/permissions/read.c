/* read.c - what stands in the tables, and what a node remembers of it.
 *
 * Each request reads the workspace's access_version, the caller's role and the clock in its own snapshot; only when the version is another
 * one, or something has begun or ended, is the rest read and compiled anew. */
#include <pthread.h>
#include <stdlib.h>

#include "base/map.h"
#include "core/api.h"
#include "core/permissions/model.h"

#define COMMON_LIMIT (64u << 20)
#define REMEMBERED_MAX 20000 /* people; then all are forgotten, and the workspaces too */

SQL_PER_ENGINE(access_state, DB_MAIN, 0, "iuu",
               "SELECT w.access_version, m.role, $1 FROM memberships m JOIN workspaces w ON w.id = m.workspace_id "
               "WHERE m.workspace_id = $2 AND m.user_id = $3",
               "SELECT w.access_version, m.role, COALESCE(CAST(EXTRACT(EPOCH FROM now()) * 1000000 AS BIGINT), $1) "
               "FROM memberships m JOIN workspaces w ON w.id = m.workspace_id WHERE m.workspace_id = $2 AND m.user_id = $3");
SQL(access_roles_of, DB_MAIN, 0, "u", "SELECT id, name, parent, permissions FROM roles WHERE workspace_id = $1 ORDER BY id");
SQL(access_restricted_of, DB_MAIN, 0, "u", "SELECT project_id FROM restricted_projects WHERE workspace_id = $1 ORDER BY project_id");
#define OF_TEAMS "team_id IN (SELECT t.team_id FROM team_members t WHERE t.workspace_id = $1 AND t.user_id = $2)"
#define ASSIGNED "SELECT 1, id, project_id, team_id, role, starts_us, ends_us FROM assignments WHERE workspace_id = $1 AND "
#define GRANTED "SELECT 2, id, project_id, team_id, permissions, starts_us, ends_us FROM grants WHERE workspace_id = $1 AND state = 'given' AND "
SQL(access_sources_of, DB_MAIN, 0, "uu",
    ASSIGNED "user_id = $2 UNION ALL " ASSIGNED OF_TEAMS " UNION ALL " GRANTED "user_id = $2 UNION ALL " GRANTED OF_TEAMS);
SQL(access_raise, DB_MAIN, SQL_INSTANCE, "u", "UPDATE workspaces SET access_version = access_version + 1 WHERE id = $1");
SQL(assignments_of_user_drop, DB_MAIN, 0, "uu", "DELETE FROM assignments WHERE workspace_id = $1 AND user_id = $2");
SQL(grants_of_user_drop, DB_MAIN, 0, "uu", "DELETE FROM grants WHERE workspace_id = $1 AND user_id = $2");
SQL(teams_of_user_drop, DB_MAIN, 0, "uu", "DELETE FROM team_members WHERE workspace_id = $1 AND user_id = $2");
SQL(assignments_of_project_drop, DB_MAIN, 0, "uu", "DELETE FROM assignments WHERE workspace_id = $1 AND project_id = $2");
SQL(grants_of_project_drop, DB_MAIN, 0, "uu", "DELETE FROM grants WHERE workspace_id = $1 AND project_id = $2");
SQL(restriction_drop, DB_MAIN, 0, "uu", "DELETE FROM restricted_projects WHERE workspace_id = $1 AND project_id = $2");

struct permissions {
    pthread_mutex_t lock; /* guards the maps */
    struct map people;     /* workspace and user: struct access_entry */
    struct map workspaces; /* id: struct access_common */
};

struct access_entry {
    uuid key[2];
    struct access *access;
};

/* --- what is remembered --- */

enum errc permissions_new(struct permissions **out, err *e)
{
    struct permissions *p = calloc(1, sizeof *p);
    *out = p;
    if (!p) return err_code(e, ERR_NO_MEMORY);
    pthread_mutex_init(&p->lock, NULL);
    map_init(&p->people);
    map_init(&p->workspaces);
    return ERR_NONE;
}

static void forget_all(struct permissions *p)
{
    str key;
    void *value;
    for (size_t it = 0; map_next(&p->people, &it, &key, &value);) {
        struct access_entry *entry = value;
        access_let_go(entry->access);
        free(entry);
    }
    for (size_t it = 0; map_next(&p->workspaces, &it, &key, &value);)
        access_common_let_go(value);
    map_fini(&p->people);
    map_fini(&p->workspaces);
    map_init(&p->people);
    map_init(&p->workspaces);
}

void permissions_free(struct permissions *p)
{
    if (!p) return;
    forget_all(p);
    map_fini(&p->people);
    map_fini(&p->workspaces);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static str bytes_of(const void *p, size_t len) { return str_of((const char *)p, len); }

static struct access *recall(struct permissions *p, const uuid key[2], int64_t version, str role, usec now)
{
    struct access *a = NULL;
    if (!p) return NULL;
    pthread_mutex_lock(&p->lock);
    const struct access_entry *entry = map_get(&p->people, bytes_of(key, 2 * sizeof *key));
    if (entry && access_is_current(entry->access, version, role, now)) a = access_hold(entry->access);
    pthread_mutex_unlock(&p->lock);
    return a;
}

/* Memory that is short is no reason to refuse: it is read again. */
static void remember(struct permissions *p, const uuid key[2], struct access *a)
{
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    struct access_entry *entry = map_get(&p->people, bytes_of(key, 2 * sizeof *key));
    if (entry) {
        access_let_go(entry->access);
        entry->access = access_hold(a);
    } else {
        if (p->people.n >= REMEMBERED_MAX) forget_all(p);
        entry = calloc(1, sizeof *entry);
        if (entry) {
            memcpy(entry->key, key, sizeof entry->key);
            entry->access = access_hold(a);
            if (map_put(&p->people, bytes_of(entry->key, sizeof entry->key), entry) != ERR_NONE) {
                access_let_go(entry->access);
                free(entry);
            }
        }
    }
    pthread_mutex_unlock(&p->lock);
}

static struct access_common *recall_common(struct permissions *p, const uuid *workspace, int64_t version)
{
    struct access_common *c = NULL;
    if (!p) return NULL;
    pthread_mutex_lock(&p->lock);
    struct access_common *found = map_get(&p->workspaces, bytes_of(workspace, sizeof *workspace));
    if (found && found->version == version) {
        c = found;
        c->n_held++;
    }
    pthread_mutex_unlock(&p->lock);
    return c;
}

static void remember_common(struct permissions *p, struct access_common *c)
{
    if (!p) return;
    str key = bytes_of(&c->workspace_id, sizeof c->workspace_id);
    pthread_mutex_lock(&p->lock);
    struct access_common *before = map_del(&p->workspaces, key); /* whose key it was */
    if (map_put(&p->workspaces, key, c) == ERR_NONE) c->n_held++;
    pthread_mutex_unlock(&p->lock);
    access_common_let_go(before);
}

void access_common_let_go(struct access_common *c)
{
    if (!c || --c->n_held > 0) return;
    arena_fini(&c->arena);
    free(c);
}

/* --- rows --- */

static enum errc fill_common(struct access_common *c, struct tx *tx, err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, &c->arena, &access_roles_of, PARAMS(v_uuid(&c->workspace_id)), &rows, e);
    if (rc != ERR_NONE) return rc;
    c->roles = arena_news(&c->arena, struct access_role, rows.n + 1u);
    if (!c->roles) return err_code(e, ERR_TOO_LARGE);
    c->n_roles = rows.n;
    for (unsigned i = 0; i < rows.n; i++) {
        const struct val *row = row_at(&rows, i);
        c->roles[i] = (struct access_role){.id = val_uuid(&row[0]),
                                           .name = val_str(&row[1]),
                                           .parent = val_str(&row[2]),
                                           .own = permission_set_of_names(val_str(&row[3]))};
    }
    access_resolve_roles(c->roles, c->n_roles);
    rc = tx_query(tx, &c->arena, &access_restricted_of, PARAMS(v_uuid(&c->workspace_id)), &rows, e);
    if (rc != ERR_NONE) return rc;
    c->restricted = arena_news(&c->arena, uuid, rows.n + 1u);
    if (!c->restricted) return err_code(e, ERR_TOO_LARGE);
    c->n_restricted = rows.n;
    for (unsigned i = 0; i < rows.n; i++)
        c->restricted[i] = val_uuid(&row_at(&rows, i)[0]);
    return ERR_NONE;
}

static enum errc read_common(struct permissions *p, struct tx *tx, const uuid *workspace, int64_t version, struct access_common **out, err *e)
{
    struct access_common *c = recall_common(p, workspace, version);
    *out = c;
    if (c) return ERR_NONE;
    c = calloc(1, sizeof *c);
    if (!c) return err_code(e, ERR_NO_MEMORY);
    c->n_held = 1;
    c->workspace_id = *workspace;
    c->version = version;
    arena_init(&c->arena, COMMON_LIMIT, 1024);
    enum errc rc = fill_common(c, tx, e);
    if (rc != ERR_NONE) {
        access_common_let_go(c);
        return rc;
    }
    remember_common(p, c);
    *out = c;
    return ERR_NONE;
}

static void read_source(const struct val *row, struct access_source *s)
{
    *s = (struct access_source){
        .kind = (enum access_source_kind)val_int(&row[0]),
        .id = val_uuid(&row[1]),
        .project_id = val_uuid(&row[2]),
        .team_id = val_uuid(&row[3]),
        .starts_us = val_int(&row[5]),
        .ends_us = val_int(&row[6]),
    };
    if (s->kind == ACCESS_GRANT)
        s->set = permission_set_of_names(val_str(&row[4]));
    else
        s->role = val_str(&row[4]);
}

static enum errc read_sources(struct tx *tx, struct arena *a, str role, struct access_model *m, err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, a, &access_sources_of, PARAMS(v_uuid(&m->workspace_id), v_uuid(&m->user_id)), &rows, e);
    if (rc != ERR_NONE) return rc;
    struct access_source *sources = arena_news(a, struct access_source, rows.n + 1u);
    if (!sources) return err_code(e, ERR_TOO_LARGE);
    sources[0] = (struct access_source){.kind = ACCESS_MEMBERSHIP, .role = role, .starts_us = NO_VALUE, .ends_us = NO_VALUE};
    for (unsigned i = 0; i < rows.n; i++)
        read_source(row_at(&rows, i), &sources[i + 1]);
    m->sources = sources;
    m->n_sources = rows.n + 1;
    return ERR_NONE;
}

/* The version, the role and the clock, as of the unit's snapshot. */
static enum errc read_state(struct tx *tx, struct arena *a, const uuid *workspace, const uuid *user, usec *now, int64_t *version, str *role,
                            err *e)
{
    const struct val *row;
    enum errc rc = tx_query_row(tx, a, &access_state, PARAMS(v_int(*now), v_uuid(workspace), v_uuid(user)), &row, e);
    if (rc != ERR_NONE) return rc;
    *version = val_int(&row[0]);
    *role = val_str(&row[1]);
    *now = val_int(&row[2]);
    return ERR_NONE;
}

static enum errc read_rest(struct permissions *p, struct tx *tx, struct arena *a, str role, struct access_model *out,
                           struct access_common **common, err *e)
{
    enum errc rc = read_common(p, tx, &out->workspace_id, out->version, common, e);
    if (rc != ERR_NONE) return rc;
    out->roles = (*common)->roles;
    out->n_roles = (*common)->n_roles;
    out->restricted = (*common)->restricted;
    out->n_restricted = (*common)->n_restricted;
    rc = read_sources(tx, a, role, out, e);
    if (rc != ERR_NONE) access_common_let_go(*common);
    return rc;
}

enum errc access_read(struct permissions *p, struct tx *tx, struct arena *a, const uuid *workspace, const uuid *user, usec *now,
                      struct access_model *out, struct access_common **common, err *e)
{
    str role;
    *out = (struct access_model){.workspace_id = *workspace, .user_id = *user};
    enum errc rc = read_state(tx, a, workspace, user, now, &out->version, &role, e);
    return rc == ERR_NONE ? read_rest(p, tx, a, role, out, common, e) : rc;
}

enum errc tx_access(struct permissions *p, struct tx *tx, const uuid *workspace, const uuid *user, usec now, struct access **out, err *e)
{
    const uuid key[2] = {*workspace, *user};
    struct access_model m = {.workspace_id = *workspace, .user_id = *user};
    struct access_common *common = NULL;
    struct arena a;
    str role;
    *out = NULL;
    arena_init(&a, COMMON_LIMIT, 1024);
    enum errc rc = read_state(tx, &a, workspace, user, &now, &m.version, &role, e);
    if (rc == ERR_NONE) *out = recall(p, key, m.version, role, now);
    if (rc != ERR_NONE || *out) goto out;
    if ((rc = read_rest(p, tx, &a, role, &m, &common, e)) != ERR_NONE) goto out;
    *out = access_compile(&m, now);
    if (*out) {
        access_keep_common(*out, common);
        remember(p, key, *out);
    } else {
        rc = err_code(e, ERR_NO_MEMORY);
    }
    access_common_let_go(common);
out:
    arena_fini(&a);
    return rc;
}

enum errc tx_access_changed(struct tx *tx, const uuid *workspace, err *e)
{
    return tx_exec_unaudited(tx, &access_raise, PARAMS(v_uuid(workspace)), NULL, e);
}

static enum errc drop_all(struct tx *tx, const struct sql *const *which, const uuid *workspace, const uuid *id, err *e)
{
    enum errc rc = tx_access_changed(tx, workspace, e);
    for (; *which && rc == ERR_NONE; which++)
        rc = tx_exec(tx, *which, PARAMS(v_uuid(workspace), v_uuid(id)), NULL, e);
    return rc;
}

enum errc tx_access_of_user_gone(struct tx *tx, const uuid *workspace, const uuid *user, err *e)
{
    static const struct sql *const all[] = {&assignments_of_user_drop, &grants_of_user_drop, &teams_of_user_drop, NULL};
    return drop_all(tx, all, workspace, user, e);
}

enum errc tx_access_of_project_gone(struct tx *tx, const uuid *workspace, const uuid *project, err *e)
{
    static const struct sql *const all[] = {&assignments_of_project_drop, &grants_of_project_drop, &restriction_drop, NULL};
    return drop_all(tx, all, workspace, project, e);
}

enum errc tx_role(struct tx *tx, struct arena *a, const uuid *workspace, str role, struct permission_set *out, str *name, err *e)
{
    struct access_common *common;
    enum role built_in;
    uuid id;
    *out = (struct permission_set){{0, 0}};
    if (role_parse(role, &built_in)) {
        *out = *role_permissions(built_in);
        if (name) *name = str_c(role_name(built_in));
        return ERR_NONE;
    }
    if (!uuid_parse(role, &id)) return err_set(e, ERR_NOT_FOUND, "there is no such role");
    enum errc rc = read_common(NULL, tx, workspace, 0, &common, e);
    if (rc != ERR_NONE) return rc;
    const struct access_role *found = access_role_by_id(common->roles, common->n_roles, &id);
    if (found) *out = found->all;
    if (found && name && !(*name = str_dup(a, found->name)).p) rc = err_code(e, ERR_TOO_LARGE);
    access_common_let_go(common);
    return found ? rc : err_set(e, ERR_NOT_FOUND, "there is no such role");
}

/* --- for requests --- */

enum errc permissions_authorize(struct permissions *p, struct api_request *r, struct tx *tx, err *e)
{
    struct access *a;
    enum errc rc = tx_access(p, tx, &r->workspace_id, &r->who.user_id, r->now_us, &a, e);
    if (rc != ERR_NONE) return rc;
    access_let_go(r->access); /* of a unit that ran before */
    r->access = a;
    r->role = access_role(a);
    struct permission_set all = access_in_workspace(a);
    r->may = permission_set_and(&all, &r->who.key_scopes);
    return ERR_NONE;
}

static struct permission_set handed_on(const struct api_request *r, const uuid *project)
{
    struct permission_set lasting, scoped = *permission_set_for_keys();
    if (!r->access || !access_lasting_in(r->access, project, &lasting)) return (struct permission_set){{0, 0}};
    if (r->who.kind == PRINCIPAL_SESSION) return lasting;
    scoped = permission_set_without(&scoped, &r->who.key_scopes); /* what a key could have, and this one has not */
    return permission_set_without(&lasting, &scoped);
}

enum errc permission_hand_on(const struct api_request *r, const uuid *project, const struct permission_set *set, str what, err *e)
{
    struct permission_set own = handed_on(r, project), missing = permission_set_without(set, &own);
    for (enum permission p = PERMISSION_NONE + 1; p < PERMISSIONS; p++)
        if (permission_set_has(&missing, p))
            return err_set(e, ERR_FORBIDDEN, "%.*s holds %s, which you do not hold yourself%s", STR(str_take(what, 60)), permission_name(p),
                           r->access && access_has_somewhere(r->access, p) ? " here, or only for a time" : "");
    return ERR_NONE;
}

enum errc role_hand_on(const struct api_request *r, struct tx *tx, const uuid *project, str role, err *e)
{
    struct permission_set set;
    str name;
    if (str_eq(role, str_c(role_name(ROLE_OWNER))) && (!r->access || !access_is_owner(r->access)))
        return err_set(e, ERR_FORBIDDEN, "only an owner makes or unmakes an owner");
    enum errc rc = tx_role(tx, r->arena, &r->workspace_id, role, &set, &name, e);
    if (rc != ERR_NONE) return rc;
    str what = arena_printf(r->arena, "the role %.*s", STR(name));
    return what.p ? permission_hand_on(r, project, &set, what, e) : err_code(e, ERR_TOO_LARGE);
}
