#include "core/webauthn/cose.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <sodium.h>

#include "core/webauthn/cbor.h"

/* Labels of a COSE_Key's members. */
enum label {
    LABEL_KTY = 1,
    LABEL_ALG = 3,
    LABEL_CRV = -1,
    LABEL_X = -2,
    LABEL_Y = -3,
    LABEL_N = -1,
    LABEL_E = -2,
};
enum kty { KTY_OKP = 1, KTY_EC2 = 2, KTY_RSA = 3 };
enum crv { CRV_P256 = 1, CRV_ED25519 = 6 };

#define COORDINATE_LEN 32
#define RSA_MIN_LEN 256
#define RSA_MAX_LEN 512
#define RSA_EXPONENT_MAX_LEN 4

static bool number_at(const struct cbor *map, int64_t label, int64_t wanted)
{
    struct cbor c;
    int64_t n;
    return cbor_at(map, label, &c) && cbor_i64(&c, &n) && n == wanted;
}

static bool bytes_at(const struct cbor *map, int64_t label, str *out)
{
    struct cbor c;
    if (!cbor_at(map, label, &c) || c.type != CBOR_BYTES) return false;
    *out = c.bytes;
    return true;
}

/* --- as OpenSSL has it --- */

static EVP_PKEY *from_parameters(const char *type, OSSL_PARAM_BLD *b)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(b);
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (!params || !c || EVP_PKEY_fromdata_init(c) != 1 ||
        EVP_PKEY_fromdata(c, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(c);
    OSSL_PARAM_free(params);
    return key;
}

static EVP_PKEY *es256_key(const struct cose_key *k)
{
    uint8_t point[1 + 2 * COORDINATE_LEN] = {0x04};
    memcpy(point + 1, k->x.p, COORDINATE_LEN);
    memcpy(point + 1 + COORDINATE_LEN, k->y.p, COORDINATE_LEN);
    OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
    EVP_PKEY *key = NULL;
    /* Reading the point fails when it is not of the curve. */
    if (b && OSSL_PARAM_BLD_push_utf8_string(b, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(b, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point) == 1)
        key = from_parameters("EC", b);
    OSSL_PARAM_BLD_free(b);
    return key;
}

static EVP_PKEY *rs256_key(const struct cose_key *k)
{
    BIGNUM *n = BN_bin2bn((const uint8_t *)k->n.p, (int)k->n.len, NULL);
    BIGNUM *e = BN_bin2bn((const uint8_t *)k->e.p, (int)k->e.len, NULL);
    OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
    EVP_PKEY *key = NULL;
    if (n && e && b && OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_E, e) == 1)
        key = from_parameters("RSA", b);
    OSSL_PARAM_BLD_free(b);
    BN_free(n);
    BN_free(e);
    return key;
}

static EVP_PKEY *key_of(const struct cose_key *k)
{
    switch (k->algorithm) {
    case COSE_ES256: return es256_key(k);
    case COSE_RS256: return rs256_key(k);
    case COSE_EDDSA:
        return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, (const uint8_t *)k->x.p, k->x.len);
    }
    return NULL;
}

/* --- reading --- */

static enum errc read_ec2(const struct cbor *map, struct cose_key *out, err *e)
{
    out->algorithm = COSE_ES256;
    if (map->n != 5 || !number_at(map, LABEL_ALG, COSE_ES256) || !number_at(map, LABEL_CRV, CRV_P256) ||
        !bytes_at(map, LABEL_X, &out->x) || !bytes_at(map, LABEL_Y, &out->y) ||
        out->x.len != COORDINATE_LEN || out->y.len != COORDINATE_LEN)
        return err_set(e, ERR_INVALID,
                       "a key of elliptic curves must be for ES256, on P-256, with both coordinates");
    return ERR_NONE;
}

static enum errc read_okp(const struct cbor *map, struct cose_key *out, err *e)
{
    out->algorithm = COSE_EDDSA;
    if (map->n != 4 || !number_at(map, LABEL_ALG, COSE_EDDSA) || !number_at(map, LABEL_CRV, CRV_ED25519) ||
        !bytes_at(map, LABEL_X, &out->x) || out->x.len != COORDINATE_LEN)
        return err_set(e, ERR_INVALID, "an octet key pair must be for EdDSA, on Ed25519, with its 32 bytes");
    /* A point of small order would make signatures that are right for every message. */
    if (crypto_core_ed25519_is_valid_point((const uint8_t *)out->x.p) != 1)
        return err_set(e, ERR_INVALID, "the key is no point of Ed25519's main subgroup");
    return ERR_NONE;
}

static enum errc read_rsa(const struct cbor *map, struct cose_key *out, err *e)
{
    out->algorithm = COSE_RS256;
    if (map->n != 4 || !number_at(map, LABEL_ALG, COSE_RS256) || !bytes_at(map, LABEL_N, &out->n) ||
        !bytes_at(map, LABEL_E, &out->e))
        return err_set(e, ERR_INVALID, "a key of RSA must be for RS256, with modulus and exponent");
    if (out->n.len < RSA_MIN_LEN || out->n.len > RSA_MAX_LEN || !(out->n.p[0] & 0x80) ||
        !(out->n.p[out->n.len - 1] & 1))
        return err_set(e, ERR_INVALID, "a modulus of RSA must be odd and have 2,048 to 4,096 bits");
    uint64_t exponent = 0;
    for (size_t i = 0; i < out->e.len && i <= RSA_EXPONENT_MAX_LEN; i++)
        exponent = exponent << 8 | (uint8_t)out->e.p[i];
    if (out->e.len > RSA_EXPONENT_MAX_LEN || exponent < 65537 || !(exponent & 1) || out->e.p[0] == 0)
        return err_set(e, ERR_INVALID, "an exponent of RSA must be odd, 65537 or more, in at most 4 bytes");
    return ERR_NONE;
}

enum errc cose_key_read(str text, struct cose_key *out, err *e)
{
    struct cbor map;
    enum errc rc = cbor_parse(text, &map, e);
    if (rc != ERR_NONE) return rc;
    *out = (struct cose_key){.algorithm = COSE_ES256};
    if (number_at(&map, LABEL_KTY, KTY_EC2))
        rc = read_ec2(&map, out, e);
    else if (number_at(&map, LABEL_KTY, KTY_OKP))
        rc = read_okp(&map, out, e);
    else if (number_at(&map, LABEL_KTY, KTY_RSA))
        rc = read_rsa(&map, out, e);
    else
        rc = err_set(e, ERR_INVALID, "the public key is no COSE_Key of a kind that is known here");
    if (rc != ERR_NONE) return rc;
    EVP_PKEY *key = key_of(out);
    EVP_PKEY_free(key);
    return key ? ERR_NONE
               : err_set(e, ERR_INVALID, "the public key is no point of its curve, or not sound otherwise");
}

bool cose_verify(const struct cose_key *k, str data, str signature)
{
    EVP_PKEY *key = key_of(k);
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    const EVP_MD *digest = k->algorithm == COSE_EDDSA ? NULL : EVP_sha256();
    bool is_right = key && c && signature.len && EVP_DigestVerifyInit(c, NULL, digest, NULL, key) == 1 &&
                    EVP_DigestVerify(c, (const uint8_t *)signature.p, signature.len, (const uint8_t *)data.p,
                                     data.len) == 1;
    EVP_MD_CTX_free(c);
    EVP_PKEY_free(key);
    return is_right;
}
