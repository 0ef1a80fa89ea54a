/* p256.h - ECDSA over P-256 with SHA-256, as JWS wants it: keys as 32 bytes and as x and y, signatures as r and s.
 *
 * Threads: any.
 * Source: FIPS 186-5; RFC 7518 section 3.4.
 */
#ifndef CORE_SIGNING_P256_H
#define CORE_SIGNING_P256_H

#include "base/err.h"

#define P256_SECRET_LEN 32
#define P256_PUBLIC_LEN 64
#define P256_SIGNATURE_LEN 64

WARN_UNUSED enum errc p256_generate(uint8_t secret[P256_SECRET_LEN], uint8_t public_key[P256_PUBLIC_LEN],
                                    err *e);
WARN_UNUSED enum errc p256_sign(const uint8_t secret[P256_SECRET_LEN],
                                const uint8_t public_key[P256_PUBLIC_LEN], str data,
                                uint8_t signature[P256_SIGNATURE_LEN], err *e);

#endif
