#include "core/signing/p256.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#define CURVE "P-256"
#define HALF (P256_PUBLIC_LEN / 2)

enum errc p256_generate(uint8_t secret[P256_SECRET_LEN], uint8_t public_key[P256_PUBLIC_LEN], err *e)
{
    EVP_PKEY *key = EVP_EC_gen(CURVE);
    BIGNUM *d = NULL;
    uint8_t point[1 + P256_PUBLIC_LEN];
    size_t len = 0;
    bool is_ok =
        key && EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &d) == 1 &&
        BN_bn2binpad(d, secret, P256_SECRET_LEN) == P256_SECRET_LEN &&
        EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point, &len) == 1 &&
        len == sizeof point && point[0] == POINT_CONVERSION_UNCOMPRESSED;
    if (is_ok) memcpy(public_key, point + 1, P256_PUBLIC_LEN);
    BN_clear_free(d);
    EVP_PKEY_free(key);
    return is_ok ? ERR_NONE : err_set(e, ERR_INTERNAL, "making a P-256 key failed");
}

static EVP_PKEY *read_key(const uint8_t secret[P256_SECRET_LEN], const uint8_t public_key[P256_PUBLIC_LEN])
{
    uint8_t point[1 + P256_PUBLIC_LEN] = {POINT_CONVERSION_UNCOMPRESSED};
    BIGNUM *d = BN_secure_new();
    OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
    OSSL_PARAM *params = NULL;
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    EVP_PKEY *key = NULL;
    memcpy(point + 1, public_key, P256_PUBLIC_LEN);
    if (!d || !b || !c || !BN_bin2bn(secret, P256_SECRET_LEN, d) ||
        OSSL_PARAM_BLD_push_utf8_string(b, OSSL_PKEY_PARAM_GROUP_NAME, CURVE, 0) != 1 ||
        OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_PRIV_KEY, d) != 1 ||
        OSSL_PARAM_BLD_push_octet_string(b, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point) != 1 ||
        !(params = OSSL_PARAM_BLD_to_param(b)) || EVP_PKEY_fromdata_init(c) != 1 ||
        EVP_PKEY_fromdata(c, &key, EVP_PKEY_KEYPAIR, params) != 1)
        key = NULL;
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(b);
    BN_clear_free(d);
    EVP_PKEY_CTX_free(c);
    return key;
}

enum errc p256_sign(const uint8_t secret[P256_SECRET_LEN], const uint8_t public_key[P256_PUBLIC_LEN],
                    str data, uint8_t signature[P256_SIGNATURE_LEN], err *e)
{
    EVP_PKEY *key = read_key(secret, public_key);
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    uint8_t der[80];
    size_t len = sizeof der;
    const unsigned char *at = der;
    ECDSA_SIG *pair = NULL;
    bool is_ok = key && c && EVP_DigestSignInit(c, NULL, EVP_sha256(), NULL, key) == 1 &&
                 EVP_DigestSign(c, der, &len, (const uint8_t *)(data.p ? data.p : ""), data.len) == 1 &&
                 (pair = d2i_ECDSA_SIG(NULL, &at, (long)len)) &&
                 BN_bn2binpad(ECDSA_SIG_get0_r(pair), signature, HALF) == HALF &&
                 BN_bn2binpad(ECDSA_SIG_get0_s(pair), signature + HALF, HALF) == HALF;
    ECDSA_SIG_free(pair);
    EVP_MD_CTX_free(c);
    EVP_PKEY_free(key);
    return is_ok ? ERR_NONE : err_set(e, ERR_INTERNAL, "signing with a P-256 key failed");
}
