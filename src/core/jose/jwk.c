/* Public keys: raw, as a JWK, as a set of them. */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <stdio.h>

#include "core/jose.h"

#define SET_DEPTH 8
#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192
#define NUMBER_TEXT_MAX (RSA_BITS_MAX / 8 / 3 * 4 + 4)
#define COORDINATE_MAX 48

/* --- from bytes --- */

static EVP_PKEY *from_params(const char *type, OSSL_PARAM *params)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *key = NULL;
    if (!c || EVP_PKEY_fromdata_init(c) != 1 || EVP_PKEY_fromdata(c, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(c);
    return key;
}

/* OpenSSL refuses what is no point of the curve. */
static EVP_PKEY *ec_key(char *curve, const uint8_t *x, const uint8_t *y, size_t len)
{
    uint8_t point[1 + 2 * COORDINATE_MAX] = {POINT_CONVERSION_UNCOMPRESSED};
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, curve, 0),
                           OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * len),
                           OSSL_PARAM_construct_end()};
    memcpy(point + 1, x, len);
    memcpy(point + 1 + len, y, len);
    return from_params("EC", params);
}

static enum errc made(struct jose_key *out, enum jose_alg alg, str kid, EVP_PKEY *key, err *e)
{
    *out = (struct jose_key){.alg = key ? alg : JOSE_NONE, .kid = kid, .key = key};
    return key ? ERR_NONE : err_set(e, ERR_INVALID, "this is no key for %.*s", STR(jose_alg_name(alg)));
}

enum errc jose_key_ed25519(struct jose_key *out, str kid, const uint8_t public_key[32], err *e)
{
    return made(out, JOSE_EDDSA, kid, EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, 32), e);
}

enum errc jose_key_p256(struct jose_key *out, str kid, const uint8_t public_key[64], err *e)
{
    char curve[] = "P-256";
    return made(out, JOSE_ES256, kid, ec_key(curve, public_key, public_key + 32, 32), e);
}

void jose_key_free(struct jose_key *k)
{
    EVP_PKEY_free(k->key);
    *k = (struct jose_key){.alg = JOSE_NONE};
}

/* --- from JSON --- */

static str member(const struct json *o, const char *name)
{
    const struct json *v = json_get(o, str_c(name));
    return v && v->type == JSON_STRING ? v->text : (str){NULL, 0};
}

static bool is_for_signatures(const struct json *jwk)
{
    const struct json *ops = json_get(jwk, S("key_ops"));
    str use = member(jwk, "use");
    if (json_get(jwk, S("use")) && !str_eq(use, S("sig"))) return false;
    if (!ops) return true;
    for (const struct json *op = ops->type == JSON_ARRAY ? ops->child : NULL; op; op = op->next)
        if (op->type == JSON_STRING && str_eq(op->text, S("verify"))) return true;
    return false;
}

/* Exactly len bytes. */
static bool coordinate(const struct json *jwk, const char *name, uint8_t out[BASE64_DECODED_MAX(64)],
                       size_t len)
{
    str text = member(jwk, name);
    size_t got = 0;
    return text.len && text.len <= 64 && base64url_decode(text, out, &got) && got == len;
}

/* A positive number without leading zeros, or NULL. */
static BIGNUM *number(const struct json *jwk, const char *name, size_t max)
{
    uint8_t bytes[BASE64_DECODED_MAX(NUMBER_TEXT_MAX)];
    str text = member(jwk, name);
    size_t len = 0;
    if (!text.len || text.len > NUMBER_TEXT_MAX || !base64url_decode(text, bytes, &len) || len == 0 ||
        len > max || bytes[0] == 0)
        return NULL;
    return BN_bin2bn(bytes, (int)len, NULL);
}

static EVP_PKEY *rsa_key(const struct json *jwk)
{
    BIGNUM *n = number(jwk, "n", RSA_BITS_MAX / 8), *exponent = number(jwk, "e", 4);
    OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
    OSSL_PARAM *params = NULL;
    EVP_PKEY *key = NULL;
    if (n && exponent && b && BN_num_bits(n) >= RSA_BITS_MIN && BN_is_odd(n) && BN_is_odd(exponent) &&
        !BN_is_one(exponent) && OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_E, exponent) == 1 &&
        (params = OSSL_PARAM_BLD_to_param(b)))
        key = from_params("RSA", params);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(b);
    BN_free(n);
    BN_free(exponent);
    return key;
}

enum errc jwk_read(struct arena *a, const struct json *jwk, enum jose_alg rsa, struct jose_key *out, err *e)
{
    static const char *const private_members[] = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"};
    uint8_t x[BASE64_DECODED_MAX(64)], y[BASE64_DECODED_MAX(64)];
    char p256[] = "P-256", p384[] = "P-384";
    str kty = member(jwk, "kty"), curve = member(jwk, "crv"), kid = member(jwk, "kid");
    bool has_alg = json_get(jwk, S("alg")) != NULL;
    enum jose_alg alg = jose_alg_of(member(jwk, "alg")), own = JOSE_NONE;
    EVP_PKEY *key = NULL;
    *out = (struct jose_key){.alg = JOSE_NONE};
    if (jwk->type != JSON_OBJECT || !is_for_signatures(jwk) || (has_alg && !alg) ||
        (json_get(jwk, S("kid")) && !kid.len))
        return err_set(e, ERR_INVALID, "this is no key for signatures that are taken");
    for (size_t i = 0; i < LENGTH_OF(private_members); i++)
        if (json_get(jwk, str_c(private_members[i])))
            return err_set(e, ERR_INVALID, "this key shows its private half");
    if (str_eq(kty, S("OKP")) && str_eq(curve, S("Ed25519")) && coordinate(jwk, "x", x, 32)) {
        own = JOSE_EDDSA;
        key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, 32);
    } else if (str_eq(kty, S("EC")) && str_eq(curve, S("P-256")) && coordinate(jwk, "x", x, 32) &&
               coordinate(jwk, "y", y, 32)) {
        own = JOSE_ES256;
        key = ec_key(p256, x, y, 32);
    } else if (str_eq(kty, S("EC")) && str_eq(curve, S("P-384")) && coordinate(jwk, "x", x, 48) &&
               coordinate(jwk, "y", y, 48)) {
        own = JOSE_ES384;
        key = ec_key(p384, x, y, 48);
    } else if (str_eq(kty, S("RSA"))) {
        own = alg == JOSE_RS256 || alg == JOSE_PS256 ? alg : has_alg ? JOSE_NONE : rsa;
        key = own ? rsa_key(jwk) : NULL;
    }
    if (kid.len && !(kid = str_dup(a, kid)).p) {
        EVP_PKEY_free(key);
        return err_code(e, ERR_TOO_LARGE);
    }
    if (key && has_alg && alg != own) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    return key ? made(out, own, kid, key, e)
               : err_set(e, ERR_INVALID, "this is no key of a type, curve and size that is taken");
}

enum errc jwks_read(struct arena *a, str text, enum jose_alg rsa, struct jwks *out, err *e)
{
    struct json *set;
    *out = (struct jwks){NULL, 0, 0};
    enum errc rc = json_parse(a, text, &set, e);
    if (rc != ERR_NONE)
        return rc == ERR_TOO_LARGE
                   ? rc
                   : err_set(e, ERR_INVALID, "a set of keys is no JSON whose members stand once");
    const struct json *keys = json_get(set, S("keys"));
    if (!keys || keys->type != JSON_ARRAY || json_depth(set) > SET_DEPTH)
        return err_set(e, ERR_INVALID, "a set of keys is an object with a list of \"keys\"");
    if (keys->n > JWKS_KEYS_MAX) return err_set(e, ERR_INVALID, "a set has at most %d keys", JWKS_KEYS_MAX);
    out->keys = arena_news(a, struct jose_key, keys->n);
    if (!out->keys) return err_code(e, ERR_TOO_LARGE);
    for (const struct json *jwk = keys->child; jwk; jwk = jwk->next) {
        struct jose_key k;
        if ((rc = jwk_read(a, jwk, rsa, &k, e)) == ERR_TOO_LARGE) break;
        if (rc != ERR_NONE) {
            rc = ERR_NONE;
            out->n_skipped++;
            continue;
        }
        bool is_double = k.kid.len && jwks_find(out, k.kid);
        out->keys[out->n++] = k;
        if (is_double) {
            rc = err_set(e, ERR_INVALID, "two keys of the set have one kid");
            break;
        }
    }
    if (rc != ERR_NONE) jwks_free(out);
    return rc;
}

void jwks_free(struct jwks *s)
{
    for (unsigned i = 0; i < s->n; i++)
        jose_key_free(&s->keys[i]);
    *s = (struct jwks){NULL, 0, 0};
}

const struct jose_key *jwks_find(const struct jwks *s, str kid)
{
    if (!kid.len) return s->n == 1 ? &s->keys[0] : NULL;
    for (unsigned i = 0; i < s->n; i++)
        if (str_eq(s->keys[i].kid, kid)) return &s->keys[i];
    return NULL;
}

/* --- to JSON --- */

void jwk_write(struct json_writer *w, enum jose_alg alg, str kid, const uint8_t *public_key)
{
    char text[BASE64_SIZE(32)];
    json_object(w);
    json_put_str(w, "kty", alg == JOSE_EDDSA ? S("OKP") : S("EC"));
    json_put_str(w, "crv", alg == JOSE_EDDSA ? S("Ed25519") : S("P-256"));
    json_put_str(w, "x", base64url_encode(public_key, 32, text));
    if (alg == JOSE_ES256) json_put_str(w, "y", base64url_encode(public_key + 32, 32, text));
    json_put_str(w, "alg", jose_alg_name(alg));
    json_put_str(w, "use", S("sig"));
    json_put_str(w, "kid", kid);
    json_end(w);
}

/* RFC 7638: the SHA-256 of the key as JSON, its required members in order and nothing else. */
str jwk_thumbprint(enum jose_alg alg, const uint8_t *public_key, char out[JOSE_THUMBPRINT_LEN + 1])
{
    char x[BASE64_SIZE(32)], y[BASE64_SIZE(32)], text[160];
    uint8_t hash[SHA256_LEN];
    int n;
    base64url_encode(public_key, 32, x);
    if (alg == JOSE_ES256) {
        base64url_encode(public_key + 32, 32, y);
        n = snprintf(text, sizeof text, "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}", x, y);
    } else {
        n = snprintf(text, sizeof text, "{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"%s\"}", x);
    }
    sha256(str_of(text, (size_t)n), hash);
    return base64url_encode(hash, sizeof hash, out);
}
