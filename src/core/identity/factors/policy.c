/* Whether a session is good enough for what a workspace asks of factors. */
#include "core/identity/internal.h"

enum errc factor_enough(const struct api_request *r, enum factor_policy policy, err *e)
{
    const struct principal *who = &r->who;
    if (policy == FACTOR_OPTIONAL || (who->kind != PRINCIPAL_SESSION && who->kind != PRINCIPAL_BEARER)) return ERR_NONE;
    if (!who->has_factors)
        return err_set(e, ERR_FACTOR_REQUIRED, "this workspace asks for a second factor: enrol %s first",
                       policy == FACTOR_PHISHING_RESISTANT ? "a passkey"
                                                           : "an authenticator app or a passkey");
    if (who->factor_us + FACTOR_MAX_US <= r->now_us)
        return err_set(e, ERR_REAUTHENTICATE,
                       "this workspace asks for a second factor once a day: POST /api/auth/reauthenticate");
    if (policy == FACTOR_PHISHING_RESISTANT && !who->is_phishing_resistant)
        return err_set(e, ERR_REAUTHENTICATE,
                       "this workspace asks for a passkey: POST /api/auth/reauthenticate");
    return ERR_NONE;
}
