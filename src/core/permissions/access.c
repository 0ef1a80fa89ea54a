/* access.c - the one decision: from sources to bit sets, and what is read from them. */
#include <stdlib.h>

#include "core/permissions/model.h"

/* Where something is different from the workspace. */
struct access_project {
    uuid id;
    struct permission_set set, lasting; /* beside what is held in the workspace */
    bool is_assigned, is_taken;
};

struct access {
    _Atomic unsigned n_held;
    struct arena arena;
    struct access_common *common; /* holds restricted; NULL: the caller of access_compile keeps it */
    uuid workspace_id, user_id;
    int64_t version;
    usec now_us, from_us, until_us; /* right for [from, until) */
    bool is_owner;
    struct permission_set set, lasting;
    const uuid *restricted;
    unsigned n_restricted;
    struct access_project *projects; /* by id */
    unsigned n_projects;
    str *roles; /* the membership's first */
    unsigned n_roles;
};

/* --- roles --- */

const struct access_role *access_role_by_id(const struct access_role *roles, unsigned n, const uuid *id)
{
    unsigned low = 0, high = n;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        int order = memcmp(&roles[middle].id, id, sizeof *id);
        if (order == 0) return &roles[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

void access_resolve_roles(struct access_role *roles, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        str parent = roles[i].parent;
        roles[i].all = roles[i].own;
        for (unsigned depth = 0; parent.len && depth < ROLE_DEPTH_MAX; depth++) {
            enum role built_in;
            uuid id;
            if (role_parse(parent, &built_in)) {
                roles[i].all = permission_set_or(&roles[i].all, role_permissions(built_in));
                break;
            }
            const struct access_role *above = uuid_parse(parent, &id) ? access_role_by_id(roles, n, &id) : NULL;
            if (!above) break;
            roles[i].all = permission_set_or(&roles[i].all, &above->own);
            parent = above->parent;
        }
    }
}

bool access_role_set(const struct access_model *m, str role, struct permission_set *out)
{
    enum role built_in;
    uuid id;
    if (role_parse(role, &built_in)) {
        *out = *role_permissions(built_in);
        return true;
    }
    const struct access_role *custom = uuid_parse(role, &id) ? access_role_by_id(m->roles, m->n_roles, &id) : NULL;
    if (custom) *out = custom->all;
    return custom != NULL;
}

/* --- compiling --- */

enum access_weight access_weigh(const struct access_model *m, const struct access_source *s, usec now, struct permission_set *set)
{
    *set = (struct permission_set){{0, 0}};
    if (s->ends_us != NO_VALUE && s->ends_us <= now) return ACCESS_OVER;
    if (s->starts_us != NO_VALUE && s->starts_us > now) return ACCESS_NOT_YET;
    if (s->kind == ACCESS_GRANT) {
        *set = s->set;
        return ACCESS_GIVES;
    }
    if (s->kind == ACCESS_ASSIGNMENT && !uuid_is_nil(&s->project_id) && str_eq(s->role, S(ROLE_NONE))) return ACCESS_TAKES;
    return access_role_set(m, s->role, set) ? ACCESS_GIVES : ACCESS_VOID;
}

static int by_id(const void *a, const void *b) { return memcmp(a, b, sizeof(uuid)); }

static struct access_project *project_of(const struct access *a, const uuid *id)
{
    return a->n_projects ? bsearch(id, a->projects, a->n_projects, sizeof *a->projects, by_id) : NULL;
}

/* A place for each project that a source names. */
static bool make_places(struct access *a, const struct access_model *m)
{
    uuid *ids = arena_news(&a->arena, uuid, m->n_sources + 1u);
    unsigned n = 0, kept = 0;
    if (!ids) return false;
    for (unsigned i = 0; i < m->n_sources; i++)
        if (!uuid_is_nil(&m->sources[i].project_id)) ids[n++] = m->sources[i].project_id;
    qsort(ids, n, sizeof *ids, by_id);
    for (unsigned i = 0; i < n; i++)
        if (i == 0 || memcmp(&ids[i], &ids[i - 1], sizeof *ids) != 0) ids[kept++] = ids[i];
    a->projects = arena_news(&a->arena, struct access_project, kept + 1u);
    if (!a->projects) return false;
    for (unsigned i = 0; i < kept; i++)
        a->projects[i].id = ids[i];
    a->n_projects = kept;
    return true;
}

/* From when to when nothing of this source changes. */
static void narrow(struct access *a, const struct access_source *s)
{
    const usec edges[] = {s->starts_us, s->ends_us};
    for (size_t i = 0; i < LENGTH_OF(edges); i++) {
        if (edges[i] == NO_VALUE) continue;
        if (edges[i] <= a->now_us && edges[i] > a->from_us) a->from_us = edges[i];
        if (edges[i] > a->now_us && edges[i] < a->until_us) a->until_us = edges[i];
    }
}

static void add(struct access *a, const struct access_source *s, enum access_weight weight, const struct permission_set *set)
{
    struct access_project *p = uuid_is_nil(&s->project_id) ? NULL : project_of(a, &s->project_id);
    bool lasts = s->kind != ACCESS_GRANT && s->ends_us == NO_VALUE;
    if (weight == ACCESS_TAKES) p->is_taken = true;
    if (weight != ACCESS_GIVES) return;
    struct permission_set *to = p ? &p->set : &a->set, *to_lasting = p ? &p->lasting : &a->lasting;
    *to = permission_set_or(to, set);
    if (lasts) *to_lasting = permission_set_or(to_lasting, set);
    if (p && s->kind == ACCESS_ASSIGNMENT) p->is_assigned = true;
    if (!p && s->kind == ACCESS_ASSIGNMENT) {
        str copy = str_dup(&a->arena, s->role);
        if (copy.p) a->roles[a->n_roles++] = copy;
    }
}

struct access *access_compile(const struct access_model *m, usec now)
{
    struct access *a = calloc(1, sizeof *a);
    if (!a) return NULL;
    arena_init(&a->arena, 64u << 20, 512);
    a->n_held = 1;
    a->workspace_id = m->workspace_id;
    a->user_id = m->user_id;
    a->version = m->version;
    a->now_us = now;
    a->from_us = INT64_MIN;
    a->until_us = INT64_MAX;
    a->restricted = m->restricted;
    a->n_restricted = m->n_restricted;
    a->roles = arena_news(&a->arena, str, m->n_sources + 1u);
    if (a->roles) a->roles[a->n_roles++] = str_dup(&a->arena, m->sources[0].role);
    if (!a->roles || !a->roles[0].p || !make_places(a, m)) {
        access_let_go(a);
        return NULL;
    }
    for (unsigned i = 0; i < m->n_sources; i++) {
        const struct access_source *s = &m->sources[i];
        struct permission_set set;
        enum access_weight weight = access_weigh(m, s, now, &set);
        if (s->kind == ACCESS_MEMBERSHIP) a->is_owner = str_eq(s->role, str_c(role_name(ROLE_OWNER)));
        narrow(a, s);
        add(a, s, weight, &set);
    }
    return a;
}

struct access *access_hold(struct access *a)
{
    if (a) a->n_held++;
    return a;
}

void access_let_go(struct access *a)
{
    if (!a || --a->n_held > 0) return;
    access_common_let_go(a->common);
    arena_fini(&a->arena);
    free(a);
}

void access_keep_common(struct access *a, struct access_common *c)
{
    c->n_held++;
    a->common = c;
}

bool access_is_current(const struct access *a, int64_t version, str role, usec now)
{
    return a->version == version && str_eq(a->roles[0], role) && now >= a->from_us && now < a->until_us;
}

/* --- asking --- */

bool access_is_restricted(const struct access *a, const uuid *project)
{
    return a->n_restricted && bsearch(project, a->restricted, a->n_restricted, sizeof *project, by_id);
}

static bool is_seen(const struct access *a, const uuid *project, const struct access_project *p)
{
    if (a->is_owner) return true;
    if (p && p->is_taken) return false;
    return (p && p->is_assigned) || !access_is_restricted(a, project);
}

bool access_in(const struct access *a, const uuid *project, struct permission_set *out)
{
    *out = a->set;
    if (uuid_is_nil(project)) return true;
    const struct access_project *p = project_of(a, project);
    if (!is_seen(a, project, p)) {
        *out = (struct permission_set){{0, 0}};
        return false;
    }
    if (p) *out = permission_set_or(&a->set, &p->set);
    return true;
}

bool access_lasting_in(const struct access *a, const uuid *project, struct permission_set *out)
{
    struct permission_set all;
    bool exists = access_in(a, project, &all);
    *out = exists ? a->lasting : all;
    const struct access_project *p = exists && !uuid_is_nil(project) ? project_of(a, project) : NULL;
    if (p) *out = permission_set_or(&a->lasting, &p->lasting);
    return exists;
}

struct permission_set access_in_workspace(const struct access *a) { return a->set; }

bool access_has_somewhere(const struct access *a, enum permission p)
{
    if (permission_set_has(&a->set, p)) return true;
    for (unsigned i = 0; i < a->n_projects; i++)
        if (permission_set_has(&a->projects[i].set, p) && is_seen(a, &a->projects[i].id, &a->projects[i])) return true;
    return false;
}

enum errc access_hidden(const struct access *a, struct arena *arena, uuid **out, unsigned *n, err *e)
{
    *n = 0;
    *out = arena_news(arena, uuid, (size_t)a->n_restricted + a->n_projects + 1);
    if (!*out) return err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; i < a->n_restricted; i++)
        if (!is_seen(a, &a->restricted[i], project_of(a, &a->restricted[i]))) (*out)[(*n)++] = a->restricted[i];
    for (unsigned i = 0; i < a->n_projects; i++)
        if (!access_is_restricted(a, &a->projects[i].id) && !is_seen(a, &a->projects[i].id, &a->projects[i]))
            (*out)[(*n)++] = a->projects[i].id;
    return ERR_NONE;
}

bool access_is_owner(const struct access *a) { return a->is_owner; }
str access_role(const struct access *a) { return a->roles[0]; }
usec access_until(const struct access *a) { return a->until_us; }

const str *access_roles(const struct access *a, unsigned *n)
{
    *n = a->n_roles;
    return a->roles;
}
