/* workspaces.h - the tenants: workspaces, their members, invitations to them.
 *
 * Nobody gives more than they hold, and a workspace always has an owner. An invitation is bound to its
 * address and worth what its inviter could give on the day it is accepted.
 * Threads: any but loops. The tables' service is the identity.
 */
#ifndef CORE_WORKSPACES_H
#define CORE_WORKSPACES_H

#include "core/api.h"

extern const struct api_table workspaces_api, members_api, invitations_api;

/* --- workspaces --- */

struct workspace {
    uuid id;
    str name;
    str settings; /* JSON object; without a pointer when the caller may not see it */
    str role;     /* the caller's */
    usec created_at, updated_at;
    int64_t version;
};
extern const struct shape workspace_shape;
/* With its owner and both events. */
WARN_UNUSED enum errc workspace_insert(struct api_request *r, struct tx *tx, const struct workspace *w,
                                       const uuid *owner, err *e);

/* --- members --- */

WARN_UNUSED enum errc member_insert(struct api_request *r, struct tx *tx, const uuid *workspace,
                                    const uuid *user, enum role role, err *e);
/* *is_member false: they are not. */
WARN_UNUSED enum errc member_role(struct tx *tx, struct arena *a, const uuid *workspace, const uuid *user,
                                  bool *is_member, enum role *out, err *e);
/* Whether the caller may give or take this role: nobody gives more than they hold, and owners are made and
 * unmade only by owners who have just given their password. API keys count as holding what no key can
 * hold, if their user does. */
WARN_UNUSED enum errc may_give_role(const struct api_request *r, enum role role, err *e);

#endif
