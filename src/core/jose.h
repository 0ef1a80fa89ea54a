/* jose.h - JSON Web Signatures and Tokens, read strictly; JSON Web Keys.
 *
 * Only the compact form is read. A key is made for one algorithm, and that algorithm verifies: what a token's head
 * says must agree, and chooses nothing. Refused are: "none" and every algorithm that is not of the list, also all that
 * work with a shared secret; jku, jwk, x5u, x5c (keys that a token brings along), crit, zip, b64, enc; a member that
 * stands twice; base64url that is not the one text of its bytes; more than JOSE_TOKEN_MAX bytes; signatures that are
 * not exactly as long as the algorithm's. Claims are looked at when the signature has been verified, not before.
 * What a token is (its typ) is checked too, so that a token of one kind cannot stand in for another.
 * Errors: ERR_INVALID: it is malformed, or of a form that is refused; ERR_UNAUTHENTICATED: well-formed, but the
 * signature or a claim is wrong; ERR_TOO_LARGE: the arena is full.
 * Threads: pure functions; a key may be used by several threads at once.
 * Source: RFC 7515 (JWS), 7517 (JWK), 7518 (JWA), 7519 (JWT), 7638 (thumbprint), 8037 (Ed25519), 8725 (best current
 * practices), 9068 (access tokens).
 */
#ifndef CORE_JOSE_H
#define CORE_JOSE_H

#include "base/clock.h"
#include "base/crypto.h"
#include "json/tree.h"

#define JOSE_TOKEN_MAX 8192
#define JOSE_SKEW_MAX_S 30
#define JOSE_THUMBPRINT_LEN 43
#define JWKS_KEYS_MAX 64

enum jose_alg { JOSE_NONE, JOSE_EDDSA, JOSE_ES256, JOSE_ES384, JOSE_RS256, JOSE_PS256, JOSE_ALGS };
/* "EdDSA" */
str jose_alg_name(enum jose_alg alg);
/* JOSE_NONE when it is none of those above: "none" and "HS256" are not. */
enum jose_alg jose_alg_of(str name);

/* --- keys --- */

/* A public key and the only algorithm that it verifies with. */
struct jose_key {
    enum jose_alg alg;
    str kid;   /* empty: it has none */
    void *key; /* OpenSSL's */
};
/* Raw keys: 32 bytes; x and y. The kid must outlive the key. */
WARN_UNUSED enum errc jose_key_ed25519(struct jose_key *out, str kid, const uint8_t public_key[32], err *e);
WARN_UNUSED enum errc jose_key_p256(struct jose_key *out, str kid, const uint8_t public_key[64], err *e);
void jose_key_free(struct jose_key *k); /* a zeroed one is fine */

/* One key of a set. rsa: what an RSA key without "alg" is for (JOSE_RS256, JOSE_PS256); JOSE_NONE: such a key is
 * refused. Refused are also keys with a private half, for encryption, of a curve or size that is not allowed (RSA
 * below 2048 or above 8192 bits), points that are not on their curve, and numbers with leading zeros. */
WARN_UNUSED enum errc jwk_read(struct arena *a, const struct json *jwk, enum jose_alg rsa,
                               struct jose_key *out, err *e);

struct jwks {
    struct jose_key *keys;
    unsigned n;
    unsigned n_skipped; /* not for signatures, of a type that is not known here, or refused */
};
/* A set as it is published. Keys that cannot be used are skipped; two keys with one kid, or more than JWKS_KEYS_MAX,
 * make the set ERR_INVALID. Free with jwks_free. */
WARN_UNUSED enum errc jwks_read(struct arena *a, str text, enum jose_alg rsa, struct jwks *out, err *e);
void jwks_free(struct jwks *s);
/* The key with this kid; with an empty kid the only one of the set. NULL: there is none. */
const struct jose_key *jwks_find(const struct jwks *s, str kid);

/* {"kty":…,"crv":…,"alg":…,"use":"sig","kid":…}: raw keys as above; JOSE_EDDSA or JOSE_ES256. */
void jwk_write(struct json_writer *w, enum jose_alg alg, str kid, const uint8_t *public_key);
/* Of the same raw keys. */
str jwk_thumbprint(enum jose_alg alg, const uint8_t *public_key, char out[JOSE_THUMBPRINT_LEN + 1]);

/* --- signatures --- */

/* A token taken apart; slices of the token and the arena. */
struct jws {
    enum jose_alg alg; /* what the head says */
    str kid, typ, cty; /* empty: not there */
    str signed_text;   /* head.payload as they stand */
    str payload;       /* decoded */
    str signature;     /* decoded */
};
/* Everything that can be checked without a key. */
WARN_UNUSED enum errc jws_read(struct arena *a, str token, struct jws *out, err *e);
/* ERR_UNAUTHENTICATED: another algorithm than the key's, or the signature is not right. */
WARN_UNUSED enum errc jws_verify(const struct jws *t, const struct jose_key *key, err *e);

/* head.payload of a new token, to be signed. */
WARN_UNUSED enum errc jws_compose(struct arena *a, enum jose_alg alg, str typ, str kid, str payload,
                                  str *signed_text, err *e);
/* The token. */
WARN_UNUSED enum errc jws_finish(struct arena *a, str signed_text, str signature, str *token, err *e);

/* --- tokens --- */

struct jwt_rules {
    str typ; /* "at+jwt"; empty: an ID token, whose typ is "JWT" or missing */
    str issuer, audience;
    usec now_us;
    unsigned skew_s;   /* at most JOSE_SKEW_MAX_S */
    int64_t age_max_s; /* iat is required and not older than this; 0: any */
};
struct jwt {
    const struct json *claims;
    str sub, jti;                /* empty: not there */
    int64_t exp_s, iat_s, nbf_s; /* iat, nbf: NO_TIME when not there */
    unsigned n_audiences;
};
#define JWT_NO_TIME INT64_MIN
/* Looks at the claims of a token that jws_verify has let through: typ, iss, aud, exp (required), nbf, iat. */
WARN_UNUSED enum errc jwt_read(struct arena *a, const struct jws *t, const struct jwt_rules *rules,
                               struct jwt *out, err *e);
/* A claim that is a text; empty when it is missing or something else. */
str jwt_text(const struct jwt *t, str name);

#endif
