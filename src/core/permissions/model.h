/* model.h - the decision as a pure function: what stands in the tables of access, and what follows from it.
 *
 * access_compile goes over everything that gives or takes, once, and weighs each source against the clock (access_weigh); the answer
 * to every question is read from its result. Who explains a decision lists the same sources with what the same function said of each.
 * Private to src/core/permissions and its tests.
 * Threads: pure; an access is immutable and counted.
 */
#ifndef CORE_PERMISSIONS_MODEL_H
#define CORE_PERMISSIONS_MODEL_H

#include <stdatomic.h>

#include "core/permissions.h"

struct access_role { /* a custom role */
    uuid id;
    str name, parent; /* parent: as stored; empty: none */
    struct permission_set own, all; /* all: filled in by access_resolve_roles */
};

enum access_source_kind { ACCESS_MEMBERSHIP, ACCESS_ASSIGNMENT, ACCESS_GRANT };
struct access_source {
    enum access_source_kind kind;
    uuid id;         /* of the assignment or grant */
    uuid project_id; /* nil: in the workspace */
    uuid team_id;    /* nil: theirs in person */
    str role;        /* of a membership or an assignment */
    struct permission_set set; /* of a grant */
    usec starts_us, ends_us;   /* NO_VALUE: always, never */
};

struct access_model {
    uuid workspace_id, user_id;
    int64_t version;
    struct access_role *roles; /* by id */
    unsigned n_roles;
    const uuid *restricted; /* projects, ascending */
    unsigned n_restricted;
    const struct access_source *sources; /* the membership first */
    unsigned n_sources;
};

/* Fills in `all` of each role. What is inherited from a role that is not there, or from further up than ROLE_DEPTH_MAX, is nothing. */
void access_resolve_roles(struct access_role *roles, unsigned n);
const struct access_role *access_role_by_id(const struct access_role *roles, unsigned n, const uuid *id);
/* What a role holds, built-in or custom; false when there is none by this text. */
bool access_role_set(const struct access_model *m, str role, struct permission_set *out);

/* What a source does by now. */
enum access_weight {
    ACCESS_GIVES,   /* *set */
    ACCESS_TAKES,   /* the project */
    ACCESS_NOT_YET, /* begins later */
    ACCESS_OVER,    /* has ended */
    ACCESS_VOID     /* names a role that is not there */
};
enum access_weight access_weigh(const struct access_model *m, const struct access_source *s, usec now, struct permission_set *set);

/* NULL when out of memory. Counted: access_let_go. */
struct access *access_compile(const struct access_model *m, usec now);
bool access_is_restricted(const struct access *a, const uuid *project);

/* What is the same for everybody in a workspace, read at one version of it. Counted. */
struct access_common {
    _Atomic unsigned n_held;
    struct arena arena;
    uuid workspace_id;
    int64_t version;
    struct access_role *roles;
    unsigned n_roles;
    uuid *restricted;
    unsigned n_restricted;
};

/* The model of a person, in the arena; *common is held for the caller. ERR_NOT_FOUND: not a member. */
WARN_UNUSED enum errc access_read(struct permissions *p, struct tx *tx, struct arena *a, const uuid *workspace, const uuid *user, usec *now,
                                  struct access_model *out, struct access_common **common, err *e);
void access_common_let_go(struct access_common *c);
/* For an access that refers to common's restricted projects as long as it lives. */
void access_keep_common(struct access *a, struct access_common *c);
bool access_is_current(const struct access *a, int64_t version, str role, usec now);

#endif
