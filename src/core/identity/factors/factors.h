/* factors.h - second factors: TOTP, passkeys, recovery codes; what the files of this folder share with the sign-in.
 *
 * A look at what somebody shows is counted before it is taken, in a unit of its own: tries side by side cannot outrun
 * the count. What was found right is used up inside the very unit that it allows, so that one code, one recovery code,
 * one challenge is good for one sign-in, also when two arrive at once.
 * TOTP: FACTOR_TRIES wrong codes in a row lock it for FACTOR_LOCK_US and end the sign-in; limits.h has the rest.
 * A challenge for passkeys is of 32 random bytes, lives five minutes, is bound to its purpose and to the session or the
 * browser that asked, and is gone with the first answer to it.
 * Threads: any but loops. Source: RFC 6238; NIST SP 800-63B-4 section 3.1.4, 3.2.2; OWASP ASVS 5.0 V6.5; webauthn.h.
 */
#ifndef CORE_IDENTITY_FACTORS_FACTORS_H
#define CORE_IDENTITY_FACTORS_FACTORS_H

#include "core/identity/internal.h"
#include "core/webauthn.h"

#define FACTOR_TRIES 5
#define FACTOR_LOCK_US (900LL * USEC_PER_S)
#define FACTOR_NAME_MAX 100
#define PASSKEYS_MAX 20
#define CHALLENGE_US (300LL * USEC_PER_S)
#define PASSKEY_JSON_MAX 20000

/* --- base32 (RFC 4648, without padding) --- */

#define BASE32_SIZE(n) (((n)*8 + 4) / 5 + 1)
str base32_encode(const void *data, size_t n, char *out); /* writes a NUL behind it */

/* --- TOTP (pure) --- */

#define TOTP_SEED_LEN 20
#define TOTP_DIGITS 6
#define TOTP_STEP_S 30
void totp_code(str seed, int64_t step, char out[TOTP_DIGITS + 1]);
/* The step from one before now's to one after it that the code is of, if it is later than last_step (NO_VALUE: any is);
 * NO_VALUE when there is none. Takes the same time for all codes of a length. */
int64_t totp_find(str seed, str code, usec now, int64_t last_step);
/* A code as it was typed, without spaces ("123 456"); in the arena. */
str totp_typed(struct arena *a, str typed);
/* What authenticator apps read from a QR code. In the arena. */
str totp_uri(struct arena *a, str issuer, str account, str secret);

/* --- recovery codes (pure) --- */

#define RECOVERY_CODES 10
#define RECOVERY_CODE_LEN 15            /* bytes: 120 bit */
#define RECOVERY_CODE_TEXT_LEN (24 + 5) /* in groups of four, with a dash between them */
void recovery_code_make(char out[RECOVERY_CODE_TEXT_LEN + 1], uint8_t hash[SHA256_LEN]);
/* Of a code as somebody has typed it: letters of either case, spaces and dashes anywhere. */
void recovery_code_hash(str typed, uint8_t hash[SHA256_LEN]);

/* --- challenges --- */

enum challenge_purpose { CHALLENGE_REGISTER, CHALLENGE_STEP_UP, CHALLENGE_SECOND, CHALLENGE_ALONE };
struct challenge {
    uint8_t bytes[WEBAUTHN_CHALLENGE_LEN], hash[SHA256_LEN], bound_to[SHA256_LEN];
};
/* For prepare. bound_to: the session, the sign-in or the browser's cookie. */
void challenge_make(struct challenge *c, enum challenge_purpose purpose, str bound_to);
WARN_UNUSED enum errc challenge_insert(struct tx *tx, const struct challenge *c, usec now, err *e);
/* The challenge that client data names, taken away; in the arena. ERR_CREDENTIALS: it was not given out for this, has
 * been answered, or is too old. In a unit of its own. */
WARN_UNUSED enum errc challenge_take(struct api_request *r, enum challenge_purpose purpose, str bound_to,
                                     str client_data, str *challenge, err *e);

/* --- passkeys --- */

/* Where passkeys of this instance belong: the host of its public URL. ERR_CONFLICT when that is no name. */
WARN_UNUSED enum errc passkey_expected(struct api_request *r, struct webauthn_expected *out, err *e);
/* PublicKeyCredentialRequestOptionsJSON. user: whose passkeys; NULL: anybody's that the authenticator knows. */
WARN_UNUSED enum errc passkey_request_options(struct api_request *r, struct tx *tx, const struct challenge *c,
                                              const uuid *user, str *json, err *e);
/* PublicKeyCredentialCreationOptionsJSON for the caller. */
WARN_UNUSED enum errc passkey_creation_options(struct api_request *r, struct tx *tx,
                                               const struct challenge *c, str *json, err *e);
struct passkey_registration {
    str credential_id, client_data, attestation_object;
};
/* RegistrationResponseJSON, as PublicKeyCredential.toJSON() gives it. In the arena. ERR_INVALID. */
WARN_UNUSED enum errc passkey_read_registration(struct arena *a, const struct json *json,
                                                struct passkey_registration *out, err *e);
/* AuthenticationResponseJSON, as PublicKeyCredential.toJSON() gives it. In the arena. ERR_INVALID. */
WARN_UNUSED enum errc passkey_read_assertion(struct arena *a, const struct json *json,
                                             struct webauthn_assertion *out, err *e);
struct passkey {
    uuid id, user_id;
    struct webauthn_credential credential;
};
/* By the credential's id; *exists false: none is registered. */
WARN_UNUSED enum errc passkey_find(struct tx *tx, struct arena *a, str credential_id, struct passkey *out,
                                   bool *exists, err *e);

/* --- one look at a factor --- */

enum factor_kind { FACTOR_TOTP, FACTOR_PASSKEY, FACTOR_RECOVERY_CODE };
const char *factor_kind_name(enum factor_kind k); /* "totp", "passkey", "recovery_code" */

struct factor_shown { /* exactly one has a pointer */
    str code, recovery_code;
    str passkey; /* JSON */
};
struct factor_look {
    /* to be filled in */
    str type;        /* of the event: "auth.signed_in" */
    uuid user_id;    /* whose factors; nil: the passkey says */
    uuid sign_in_id; /* a sign-in in which tries are counted too; nil: none */
    enum challenge_purpose purpose;
    str bound_to;
    bool needs_verification;
    bool is_known_device;
    /* what was found */
    enum factor_kind kind;
    uuid factor_id;
    struct limit_try try;
    int64_t step;
    uint8_t code_hash[SHA256_LEN];
    struct webauthn_asserted asserted;
    uint32_t counted; /* the counter that it was compared with */
};
/* For prepare. ERR_CREDENTIALS: it is wrong; ERR_RATE_LIMITED; ERR_REAUTHENTICATE: a passkey whose counter went back,
 * another factor is needed; ERR_INVALID: none or several are shown. Every refusal has its event. */
WARN_UNUSED enum errc factor_look(struct api_request *r, struct factor_look *l,
                                  const struct factor_shown *shown, err *e);
/* For apply: uses it up. ERR_CREDENTIALS: somebody else was faster. */
WARN_UNUSED enum errc factor_use(struct api_request *r, struct tx *tx, const struct factor_look *l, err *e);

/* --- a look at the caller's own password (signin.c) --- */

struct password_look;
/* For prepare; *out in the arena. ERR_CREDENTIALS, ERR_RATE_LIMITED, ERR_UNAVAILABLE. */
WARN_UNUSED enum errc password_look_at_own(struct api_request *r, str password, str type,
                                           struct password_look **out, err *e);
/* For apply: it was right, and still is. */
WARN_UNUSED enum errc password_look_use(struct api_request *r, struct tx *tx, const struct password_look *l,
                                        err *e);

/* --- sessions --- */

/* A factor was just given in the caller's session: the session gets another cookie. */
WARN_UNUSED enum errc session_raise(struct api_request *r, struct tx *tx, const struct token *t,
                                    bool is_passkey, err *e);

/* --- sign-ins that are half done --- */

#define SIGN_IN_US (300LL * USEC_PER_S)
struct sign_in {
    uuid id, user_id;
    uint8_t password_hash[SHA256_LEN];
    usec expires_us;
};
/* The password was right: for apply, with its event and the cookie that t is the value of. */
WARN_UNUSED enum errc sign_in_begin(struct api_request *r, struct tx *tx, const struct sign_in *s,
                                    const struct token *t, err *e);
/* The one that this browser has begun. ERR_CREDENTIALS: there is none, or it has ended. */
WARN_UNUSED enum errc sign_in_find(struct api_request *r, const uuid *id, struct sign_in *out, err *e);
/* "totp", "passkey", "recovery_code": what this person can show. */
WARN_UNUSED enum errc factor_kinds(struct tx *tx, struct arena *a, const uuid *user, struct texts *out,
                                   err *e);

extern const struct shape passkey_options_shape;
struct passkey_options {
    str options;
};

#endif
