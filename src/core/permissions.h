/* permissions.h - who may do what: the catalogue of permissions, the five built-in roles, one decision.
 *
 * The one source is src/core/rbac.json, from which the build (tools/rbac.cmake) makes core/permissions.def, an X-macro of names, and
 * core/rbac.def, the role sets and one row per endpoint.
 * Threads: constants and pure functions.
 * Source: shared tables of the product's access control (docs/permissions.md is made from the same file).
 */
#ifndef CORE_PERMISSIONS_H
#define CORE_PERMISSIONS_H

#include "base/err.h"

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

enum role { ROLE_OWNER, ROLE_ADMIN, ROLE_DEVELOPER, ROLE_REVIEWER, ROLE_VIEWER, ROLES };
const char *role_name(enum role r);
WARN_UNUSED bool role_parse(str name, enum role *out);
const struct permission_set *role_permissions(enum role r);

/* The rows of the endpoint table: what a route must agree with. */
struct rbac_row {
    const char *method, *path, *permission; /* "(public)" and the like as they stand */
    const char *scope;      /* "workspace", "project", "self", "instance" */
    bool takes_keys;        /* false: only sessions; an API key gets 403 whatever its scopes */
};
/* NULL when there is no such row. */
const struct rbac_row *rbac_find(const char *method, const char *path);

#endif
