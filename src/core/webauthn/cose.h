/* cose.h - public keys of passkeys: COSE_Key (RFC 9052 section 7, RFC 9053) with exactly the members of its kind.
 *
 * Accepted: EC2 on P-256 for ES256 with 32-byte coordinates of a point of the curve; OKP on Ed25519 for EdDSA with a
 * point of the main subgroup; RSA for RS256, 2,048 to 4,096 bits, an odd exponent of 65537 or more.
 * Threads: pure.
 */
#ifndef CORE_WEBAUTHN_COSE_H
#define CORE_WEBAUTHN_COSE_H

#include "core/webauthn.h"

struct cose_key {
    enum cose_algorithm algorithm;
    str x, y; /* ES256; EdDSA: x */
    str n, e; /* RS256 */
};
/* Slices of the text. ERR_INVALID. */
WARN_UNUSED enum errc cose_key_read(str text, struct cose_key *out, err *e);
/* ES256: a DER signature, as authenticators make them; EdDSA: 64 bytes; RS256: PKCS #1 v1.5. */
WARN_UNUSED bool cose_verify(const struct cose_key *key, str data, str signature);

#endif
