#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crypto.h"
#include "base/random.h"

/* OpenSSL 3.0 has Ed25519, and none of this depends on what comes from outside. */
static void must(bool is_ok)
{
    if (is_ok) return;
    fprintf(stderr, "catalyst: Ed25519 is not available in this OpenSSL\n");
    abort();
}

void ed25519_generate(uint8_t seed[ED25519_SEED_LEN]) { random_bytes(seed, ED25519_SEED_LEN); }

void ed25519_public(const uint8_t seed[ED25519_SEED_LEN], uint8_t public_key[ED25519_PUBLIC_LEN])
{
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, ED25519_SEED_LEN);
    size_t len = ED25519_PUBLIC_LEN;
    must(key && EVP_PKEY_get_raw_public_key(key, public_key, &len) == 1 && len == ED25519_PUBLIC_LEN);
    EVP_PKEY_free(key);
}

void ed25519_sign(const uint8_t seed[ED25519_SEED_LEN], str data, uint8_t signature[ED25519_SIGNATURE_LEN])
{
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, ED25519_SEED_LEN);
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    size_t len = ED25519_SIGNATURE_LEN;
    must(key && c && EVP_DigestSignInit(c, NULL, NULL, NULL, key) == 1 &&
         EVP_DigestSign(c, signature, &len, (const uint8_t *)(data.p ? data.p : ""), data.len) == 1 &&
         len == ED25519_SIGNATURE_LEN);
    EVP_MD_CTX_free(c);
    EVP_PKEY_free(key);
}

bool ed25519_verify(const uint8_t public_key[ED25519_PUBLIC_LEN], str data,
                    const uint8_t signature[ED25519_SIGNATURE_LEN])
{
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, ED25519_PUBLIC_LEN);
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool is_right = key && c && EVP_DigestVerifyInit(c, NULL, NULL, NULL, key) == 1 &&
                    EVP_DigestVerify(c, signature, ED25519_SIGNATURE_LEN,
                                     (const uint8_t *)(data.p ? data.p : ""), data.len) == 1;
    EVP_MD_CTX_free(c);
    EVP_PKEY_free(key);
    return is_right;
}
