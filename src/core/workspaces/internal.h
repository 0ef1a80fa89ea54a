/* internal.h - what the files of core/workspaces share; nobody else includes it. */
#ifndef CORE_WORKSPACES_INTERNAL_H
#define CORE_WORKSPACES_INTERNAL_H

#include "core/identity/people.h"
#include "core/workspaces.h"

#define SETTINGS_MAX 3000 /* bytes of JSON: both states of them fit into an event */

/* --- settings.c --- */

WARN_UNUSED enum errc policy_write(struct arena *a, const struct workspace_settings *s, str *json, err *e);
/* What a field table cannot say: ERR_INVALID with r->errors. Brings texts into their normal form. */
WARN_UNUSED enum errc policy_check(struct api_request *r, struct workspace_settings *s, err *e);
/* Whether the caller may change one into the other: a policy needs somebody who has just given their password, what is
 * about second factors and domains also sso.manage; and nobody locks themselves out. */
WARN_UNUSED enum errc policy_may_change(const struct api_request *r, const struct workspace_settings *before,
                                          const struct workspace_settings *after, err *e);

/* Words separated by spaces, as rows keep lists. An empty list is {items, 0}, never without a pointer. */
WARN_UNUSED enum errc words_read(struct arena *a, str words, struct texts *out, err *e);
WARN_UNUSED enum errc words_write(struct arena *a, const struct texts *list, str *out, err *e);

/* --- members.c --- */

/* Of somebody who is one, with its event. */
WARN_UNUSED enum errc member_change_role(struct api_request *r, struct tx *tx, const uuid *user, str role,
                                         enum event_number n, err *e);
/* With keys and assignments; whether they may go is the caller's to ask. */
WARN_UNUSED enum errc member_remove(struct api_request *r, struct tx *tx, const uuid *user, err *e);

#endif
