/* internal.h - what the endpoints of roles, assignments, teams and grants share. Private to src/core/permissions.
 *
 * Each endpoint that gives something asks permission_hand_on or role_hand_on in the unit that gives it, so that two who race cannot
 * both be right; each calls tx_access_changed in it. The unit is decided in its own snapshot by core/api before it begins.
 */
#ifndef CORE_PERMISSIONS_INTERNAL_H
#define CORE_PERMISSIONS_INTERNAL_H

#include "core/api.h"
#include "core/events.h"
#include "core/permissions/model.h"

#define ACCESS_NAME_MAX 100
#define ACCESS_TEXT_MAX 500 /* of a description or reason: an event holds two of them */

/* Events and jobs of one request are told apart by number. */
enum { EVENT_ACCESS = 1, EVENT_ACCESS_END = 30, EVENT_ACCESS_REMINDER };

static inline bool uuid_same(const uuid *a, const uuid *b) { return memcmp(a, b, sizeof *a) == 0; }

/* Lower case (ASCII), in the arena: what names are unique by. */
WARN_UNUSED enum errc access_name_key(struct arena *a, str name, str *out, err *e);
/* An event about one thing, with what it was and is. */
struct event access_event_of(const struct api_request *r, str type, str resource_type, const uuid *resource, const struct shape *shape,
                             const void *before, const void *after);
/* Reads names of permissions; a problem of the field for each that is none. */
WARN_UNUSED enum errc access_read_permissions(struct api_request *r, const char *field, const struct texts *names, struct permission_set *out,
                                              err *e);
/* The names of a set, in the arena. */
WARN_UNUSED enum errc access_texts_of(struct arena *a, const struct permission_set *set, struct texts *out, err *e);

/* Whom something is given to: exactly one of both, a member or a team of the workspace. A problem of the field otherwise. name (may be NULL): as
 * people know it. */
WARN_UNUSED enum errc access_check_subject(struct api_request *r, struct tx *tx, const uuid *user, const uuid *team, str *name, err *e);
/* Where: a project that is there and exists for the caller, or nil. */
WARN_UNUSED enum errc access_check_project(struct api_request *r, struct tx *tx, const char *field, const uuid *project, err *e);
/* From when to when: ends after it begins and after now. Problems of starts_at and ends_at. */
WARN_UNUSED enum errc access_check_times(struct api_request *r, usec starts, usec ends, err *e);

#endif
