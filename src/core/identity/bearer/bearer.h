/* bearer.h - sign-ins of programs: access tokens, what refreshes them, and how a device without a browser gets them.
 *
 * A program's sign-in is a session of its own kind (device, program): it has no cookie, reaches one workspace, is listed
 * beside browsers and ends like them. Its access tokens are JWTs of ACCESS_S seconds (RFC 9068: typ at+jwt; iss, aud,
 * sub, client_id, sid, wid, scope, jti, iat, nbf, exp), signed by the instance (core/signing.h), verified by core/jose.h.
 * Their holder acts for its person like an API key: with the scopes, and what the person may at that moment.
 * That the session still stands is remembered per node for REMEMBERED_US and asked anew after that, and at once when
 * anything has ended here or was heard to have ended elsewhere: a node that hears nothing is late by that time, and one
 * that cannot reach the database lets nobody in.
 *
 * A refresh token is used once and gives the next one of its family; refresh.c. The token is a family's id, a generation
 * and HMAC-SHA-256 of both and the family's salt under a key derived from the instance's: nothing of a token is in the
 * database, and whoever repeats the last refresh within REFRESH_GRACE_US from the same place, because the answer was
 * lost, gets the same successor and not a second one. Any older token means that two hold the family: all of it ends.
 * Source: RFC 9068, RFC 6749 section 6, RFC 9700 section 4.14.2, RFC 8628.
 */
#ifndef CORE_IDENTITY_BEARER_H
#define CORE_IDENTITY_BEARER_H

#include "core/identity/internal.h"
#include "core/jose.h"
#include "core/signing.h"

#define ACCESS_S 600
#define ACCESS_TYP "at+jwt"
#define REMEMBERED_US (900LL * USEC_PER_MS)
#define REFRESH_IDLE_US (7 * USEC_PER_DAY)
#define REFRESH_MAX_US (30 * USEC_PER_DAY)
#define REFRESH_GRACE_US (10LL * USEC_PER_S)
#define REFRESH_TOKEN_LEN 74 /* "crt_" and 52 bytes */
#define SCOPES_ALL "all"     /* whatever a program can have */
#define CLIENT_MAX 100

/* Whether this could be an access token at all, and no API key. */
bool bearer_is_token(str text);
/* Sets r->who; ERR_UNAUTHENTICATED, ERR_RATE_LIMITED after too many that were forged. */
WARN_UNUSED enum errc bearer_authenticate(struct identity *id, struct api_request *r, const struct http_head *h, str token, err *e);
/* For streams: whether the session still stands, in the unit's snapshot. */
WARN_UNUSED enum errc bearer_stands(const struct identity *id, struct api_request *r, struct tx *tx, usec now,
                                    bool *stands, err *e);

/* What a program was let in for. */
struct grant {
    uuid session_id, family_id, user_id, workspace_id;
    str client, scopes;
    uint8_t salt[16];
    int64_t generation;
};
struct permission_set grant_scopes(str scopes);
/* Scopes as a person or a program gives them: empty is everything. ERR_INVALID with r->errors under "scopes". */
WARN_UNUSED enum errc grant_read_scopes(struct api_request *r, const struct texts *names, str *out, err *e);

struct tokens {
    str access_token, token_type;
    int64_t expires_in; /* seconds */
    str refresh_token, scope;
    uuid workspace_id, session_id;
};
extern const struct shape tokens_shape;
/* For prepare: the access token of a grant, and the refresh token of its generation; in the arena. */
WARN_UNUSED enum errc tokens_make(struct identity *id, struct arena *a, const struct grant *g, usec now,
                                  struct tokens *out, err *e);

/* The refresh token of a grant's generation. */
WARN_UNUSED enum errc refresh_token_of(const struct identity *id, struct arena *a, const struct grant *g,
                                       str *out, err *e);

/* How somebody who lets a program in had signed in themselves. */
struct voucher {
    usec authenticated_us, factor_us; /* 0: no factor */
    bool is_phishing_resistant;
};
/* For prepare: fresh ids. */
void grant_begin(struct grant *g, usec now);
/* For apply: the session of the kind (device, program) and the family, with an event auth.signed_in. r->who must be the person. */
WARN_UNUSED enum errc grant_start(struct api_request *r, struct tx *tx, const struct grant *g, str kind,
                                  const struct voucher *v, err *e);
/* The answer of OAuth to what it cannot give: {"error":…} with 400. For prepare and apply. */
WARN_UNUSED enum errc oauth_refuse(struct api_request *r, const char *error, str text, err *e);

WARN_UNUSED enum errc bearer_tidy(struct tx *tx, usec now, err *e);

#endif
