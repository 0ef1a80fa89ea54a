/* verify_internal.h - what the parts of verifying share: the work (verify.c), what was signed (verify_claims.c). Private to core/audit. */
#ifndef CORE_AUDIT_VERIFY_INTERNAL_H
#define CORE_AUDIT_VERIFY_INTERNAL_H

#include "core/audit/verify.h"

/* A head that the log must bear out. */
struct head_claim {
    struct head head;
    usec signed_us;
    bool is_exported; /* given by who verifies */
    bool is_given_up; /* by a break: it need not come out */
};
/* Opens notes and breaks. A head that is damaged, or not signed by the log, is the finding. By size, in the arena. */
WARN_UNUSED enum errc claims_read(struct arena *a, const struct verify_source *s, const struct verify_options *o, struct verify_report *r,
                                  struct verify_finding *finding, struct head_claim **out, unsigned *n, err *e);

#endif
