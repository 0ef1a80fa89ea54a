/* enrolment.h - factors as rows and as what the API and the log show of them; for the files of this folder. */
#ifndef CORE_IDENTITY_FACTORS_ENROLMENT_H
#define CORE_IDENTITY_FACTORS_ENROLMENT_H

#include "core/identity/factors/factors.h"

struct factor {
    uuid id;
    str kind, name;
    usec created_at, last_used_at, locked_until;
    bool is_backed_up;
};
extern const struct shape factor_shape;
struct event factor_event(const struct api_request *r, str type, unsigned n, const uuid *user,
                          const struct factor *before, const struct factor *after);
/* Confirmed ones, the oldest first. */
WARN_UNUSED enum errc factors_load(struct tx *tx, struct arena *a, const uuid *user, struct factor **out,
                                   unsigned *n, err *e);
/* The person has one confirmed factor more: for apply, with its event. */
WARN_UNUSED enum errc factor_added(struct api_request *r, struct tx *tx, const struct factor *f, err *e);
/* All of a person's factors and recovery codes are gone, with an event for each factor. */
WARN_UNUSED enum errc factors_drop(struct api_request *r, struct tx *tx, const uuid *user, unsigned *n,
                                   err *e);

#endif
