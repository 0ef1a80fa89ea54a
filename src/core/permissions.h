/* permissions.h - who may do what: the catalogue of permissions, built-in and custom roles, and the one decision.
 *
 * The one source of catalogue, built-in roles and endpoints is src/core/rbac.json, from which the build (tools/rbac.cmake) makes
 * core/permissions.def, an X-macro of names, and core/rbac.def, the role sets and one row per endpoint.
 *
 * What a person may is compiled to bit sets: struct access, of a member of a workspace. It is the union of
 *   - the role of the membership and of each live assignment in the workspace, their own or of a team of theirs,
 *   - in a project also of the live assignments there,
 *   - the live temporary grants, in the workspace and there;
 * an assignment "none" in a project takes the project away, and a restricted project is seen by owners and by those with an
 * assignment there only: for everybody else it does not exist. Owners are stopped by neither. Nothing else gives anything.
 * An access holds for the access_version of the workspace that it was read at, and until something in it begins or ends; both are
 * looked at in the snapshot of each request, so no decision is made from old data. With PostgreSQL the database's clock counts.
 * Nobody hands on what they do not hold themselves at that scope, nor what they hold for a time only (permission_hand_on).
 * Threads: any but loops for what takes a tx; the rest any.
 * Source: the product's rules of access control; docs/permissions.md is made from the same file.
 */
#ifndef CORE_PERMISSIONS_H
#define CORE_PERMISSIONS_H

#include "store/db.h"

enum permission {
    PERMISSION_NONE,
#define X(id, name, meaning) id,
#include "core/permissions.def"
#undef X
    PERMISSIONS
};

struct permission_set {
    uint64_t bits[2];
};
_Static_assert(PERMISSIONS <= 128, "permission_set has 128 bits");

static inline bool permission_set_has(const struct permission_set *s, enum permission p)
{
    return p != PERMISSION_NONE && (s->bits[p / 64] >> (p % 64) & 1);
}
static inline void permission_set_add(struct permission_set *s, enum permission p) { s->bits[p / 64] |= 1ull << (p % 64); }
static inline struct permission_set permission_set_and(const struct permission_set *a, const struct permission_set *b)
{
    return (struct permission_set){{a->bits[0] & b->bits[0], a->bits[1] & b->bits[1]}};
}
static inline struct permission_set permission_set_or(const struct permission_set *a, const struct permission_set *b)
{
    return (struct permission_set){{a->bits[0] | b->bits[0], a->bits[1] | b->bits[1]}};
}
static inline struct permission_set permission_set_without(const struct permission_set *a, const struct permission_set *b)
{
    return (struct permission_set){{a->bits[0] & ~b->bits[0], a->bits[1] & ~b->bits[1]}};
}
static inline bool permission_set_is_empty(const struct permission_set *s) { return !s->bits[0] && !s->bits[1]; }
static inline bool permission_set_holds_all(const struct permission_set *s, const struct permission_set *wanted)
{
    return !(wanted->bits[0] & ~s->bits[0]) && !(wanted->bits[1] & ~s->bits[1]);
}
struct permission_set permission_set_all(void);
/* What an API key can be given at all: never API keys, roles, sign-on, billing, sessions. */
const struct permission_set *permission_set_for_keys(void);

const char *permission_name(enum permission p);    /* "projects.read" */
const char *permission_meaning(enum permission p);
WARN_UNUSED bool permission_parse(str name, enum permission *out);
/* "projects.read tasks.run", as tables keep sets; what is no permission (any more) is left out. */
struct permission_set permission_set_of_names(str names);
/* In the arena; p == NULL when it is exhausted. */
str permission_set_names(struct arena *a, const struct permission_set *set);

/* --- roles --- */

/* A role is named by text wherever it is kept: a built-in one by its name, a custom one by its id. */
enum role { ROLE_OWNER, ROLE_ADMIN, ROLE_DEVELOPER, ROLE_REVIEWER, ROLE_VIEWER, ROLES };
const char *role_name(enum role r);
WARN_UNUSED bool role_parse(str name, enum role *out);
const struct permission_set *role_permissions(enum role r);

#define ROLE_NONE "none"    /* of an assignment in a project: takes all access to it */
#define ROLES_CUSTOM_MAX 100 /* of a workspace */
#define ROLE_DEPTH_MAX 5    /* parents above a role */

/* What a role of a workspace holds, with what it inherits; ERR_NOT_FOUND when there is none by this text. name (may be NULL): as people know
 * it, in the arena. */
WARN_UNUSED enum errc tx_role(struct tx *tx, struct arena *a, const uuid *workspace, str role, struct permission_set *out, str *name, err *e);

/* --- what a person may --- */

struct access;
/* Everywhere in the workspace where nothing else is said; with temporary grants. */
struct permission_set access_in_workspace(const struct access *a);
/* In a project (nil: in the workspace); false when it does not exist for them, and then *out is empty. */
bool access_in(const struct access *a, const uuid *project, struct permission_set *out);
/* The same without what is held for a time only: what may be handed on. */
bool access_lasting_in(const struct access *a, const uuid *project, struct permission_set *out);
/* Held in the workspace or in some project. */
bool access_has_somewhere(const struct access *a, enum permission p);
bool access_is_owner(const struct access *a);
str access_role(const struct access *a); /* of the membership */
/* That, and those of the live assignments in the workspace; live as long as a. */
const str *access_roles(const struct access *a, unsigned *n);
/* Something in it begins or ends then, and it is to be asked anew; INT64_MAX: never. */
usec access_until(const struct access *a);
/* The projects that do not exist for them, of those that anybody has restricted or taken from them; in the arena. */
WARN_UNUSED enum errc access_hidden(const struct access *a, struct arena *arena, uuid **out, unsigned *n, err *e);
struct access *access_hold(struct access *a);
void access_let_go(struct access *a); /* NULL is fine */

/* What a node remembers of people's access. */
struct permissions;
WARN_UNUSED enum errc permissions_new(struct permissions **out, err *e);
void permissions_free(struct permissions *p); /* NULL is fine */

/* Of a member, as of the unit's snapshot; ERR_NOT_FOUND when they are none. p (may be NULL) remembers. now: the node's clock. The caller lets
 * go of *out. On DB_MAIN. */
WARN_UNUSED enum errc tx_access(struct permissions *p, struct tx *tx, const uuid *workspace, const uuid *user, usec now, struct access **out,
                                err *e);
/* To be called by every unit that changes anything that an access is made of. */
WARN_UNUSED enum errc tx_access_changed(struct tx *tx, const uuid *workspace, err *e);
/* In the unit that takes somebody out of a workspace, or deletes a project: what was given to them or there goes too. */
WARN_UNUSED enum errc tx_access_of_user_gone(struct tx *tx, const uuid *workspace, const uuid *user, err *e);
WARN_UNUSED enum errc tx_access_of_project_gone(struct tx *tx, const uuid *workspace, const uuid *project, err *e);

struct api_request;
/* For identity: r->role, r->may and r->access of r->who in r->workspace_id; ERR_NOT_FOUND when not a member. */
WARN_UNUSED enum errc permissions_authorize(struct permissions *p, struct api_request *r, struct tx *tx, err *e);
/* Whether the caller may hand these permissions on in a project (nil: in the workspace): they hold each of them there themselves, and not
 * only for a time. A key counts as holding what no key can, if its user does. ERR_FORBIDDEN names one that is missing; what: "the role x". */
WARN_UNUSED enum errc permission_hand_on(const struct api_request *r, const uuid *project, const struct permission_set *set, str what, err *e);
/* The same of a role; "owner" is handed on by owners only, who have to have signed in just now, which the caller of this sees to. */
WARN_UNUSED enum errc role_hand_on(const struct api_request *r, struct tx *tx, const uuid *project, str role, err *e);

struct api_table;
extern const struct api_table roles_api; /* their service: struct permissions * */

/* The rows of the endpoint table: what a route must agree with. */
struct rbac_row {
    const char *method, *path, *permission; /* "(public)" and the like as they stand */
    const char *scope;      /* "workspace", "project", "self", "instance" */
    bool takes_keys;        /* false: only sessions; an API key gets 403 whatever its scopes */
};
/* NULL when there is no such row. */
const struct rbac_row *rbac_find(const char *method, const char *path);

#endif
