/* crypto.h - hashing, authenticated encryption, signatures and text codings, on OpenSSL.
 *
 * Sources: FIPS 180-4 (SHA-256), RFC 2104 (HMAC), RFC 5869 (HKDF), NIST SP 800-38D (AES-256-GCM), RFC 8032 (Ed25519), RFC 3720 (CRC-32C),
 * RFC 4648 (base64, hex).
 * Threads: any.
 */
#ifndef BASE_CRYPTO_H
#define BASE_CRYPTO_H

#include "base/buf.h"

#define SHA256_LEN 32
#define AEAD_KEY_LEN 32
#define AEAD_NONCE_LEN 12
#define AEAD_TAG_LEN 16
#define AEAD_OVERHEAD (AEAD_NONCE_LEN + AEAD_TAG_LEN)

void sha256(str data, uint8_t out[SHA256_LEN]);
void hmac_sha256(str key, str text, uint8_t out[SHA256_LEN]);
/* HKDF-SHA-256 without a salt: a key of its own for the purpose that info names; out_len at most 255 * 32. */
void hkdf_sha256(str key, str info, uint8_t *out, size_t out_len);
/* Castagnoli; crc is the value so far (0 at first). Uses the CPU's instruction where there is one. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
/* ISO-HDLC (zlib's); the checksum inside API keys. */
uint32_t crc32_ieee(str data);

/* nonce || ciphertext || tag into out (plain.len + AEAD_OVERHEAD bytes), with a fresh random nonce; `bound` is authenticated with it. */
WARN_UNUSED enum errc aead_seal(const uint8_t key[AEAD_KEY_LEN], str bound, str plain, uint8_t *out, err *e);
/* The reverse into out (sealed.len - AEAD_OVERHEAD bytes); ERR_CORRUPT when anything was changed, nothing is written then. */
WARN_UNUSED enum errc aead_open(const uint8_t key[AEAD_KEY_LEN], str bound, str sealed, uint8_t *out, err *e);

#define ED25519_SEED_LEN 32 /* the private key */
#define ED25519_PUBLIC_LEN 32
#define ED25519_SIGNATURE_LEN 64

void ed25519_generate(uint8_t seed[ED25519_SEED_LEN]);
void ed25519_public(const uint8_t seed[ED25519_SEED_LEN], uint8_t public_key[ED25519_PUBLIC_LEN]);
void ed25519_sign(const uint8_t seed[ED25519_SEED_LEN], str data, uint8_t signature[ED25519_SIGNATURE_LEN]);
/* False also for a key that is no point of the curve. */
WARN_UNUSED bool ed25519_verify(const uint8_t public_key[ED25519_PUBLIC_LEN], str data, const uint8_t signature[ED25519_SIGNATURE_LEN]);

/* Constant time in the content; lengths may leak. */
bool secret_eq(str a, str b);

/* Lower-case hex of n bytes: 2n characters and a NUL. */
str hex_encode(const void *data, size_t n, char *out);
/* Exactly n bytes from 2n hex digits of either case. */
WARN_UNUSED bool hex_decode(str s, uint8_t *out, size_t n);

/* Bytes of the text, its NUL included, that n bytes become. */
#define BASE64_SIZE(n) (((n) + 2) / 3 * 4 + 1)
/* The standard alphabet with padding; the URL alphabet without. Both write a NUL behind the text. */
str base64_encode(const void *data, size_t n, char *out);
str base64url_encode(const void *data, size_t n, char *out);
/* Bytes that a text of len characters can become at most. */
#define BASE64_DECODED_MAX(len) ((len) / 4 * 3 + 2)
/* Only what the encoders above write is read: no other alphabet, no missing or extra padding, no white space, no bits that are not used
 * but set. One text stands for one value. */
WARN_UNUSED bool base64_decode(str s, uint8_t *out, size_t *len);
WARN_UNUSED bool base64url_decode(str s, uint8_t *out, size_t *len);

#endif
