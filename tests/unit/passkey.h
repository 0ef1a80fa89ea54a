/* passkey.h - an authenticator for tests, made of OpenSSL's keys: what a browser and its authenticator would send, and
 * every wrong form of it that a test asks for. */
#ifndef TESTS_PASSKEY_H
#define TESTS_PASSKEY_H

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "base/crypto.h"
#include "core/webauthn/internal.h"

#define TEST_RP "catalyst.example.com"
#define TEST_ORIGIN "https://catalyst.example.com"
#define TEST_CHALLENGE "0123456789abcdef0123456789abcdef"

/* --- CBOR --- */

static inline void put_head(struct buf *b, unsigned major, uint64_t n)
{
    unsigned more = n < 24 ? 0 : n < 0x100 ? 1 : n < 0x10000 ? 2 : n < 0x100000000 ? 4 : 8;
    unsigned code = more == 0 ? (unsigned)n : more == 1 ? 24 : more == 2 ? 25 : more == 4 ? 26 : 27;
    buf_add_char(b, (char)(major << 5 | code));
    while (more--)
        buf_add_char(b, (char)(n >> (8 * more)));
}
static inline void put_int(struct buf *b, int64_t n)
{
    n < 0 ? put_head(b, 1, (uint64_t)(-1 - n)) : put_head(b, 0, (uint64_t)n);
}
static inline void put_bytes(struct buf *b, str s)
{
    put_head(b, 2, s.len);
    buf_add(b, s);
}
static inline void put_text(struct buf *b, str s)
{
    put_head(b, 3, s.len);
    buf_add(b, s);
}

/* --- keys --- */

struct passkey {
    enum cose_algorithm algorithm;
    EVP_PKEY *key;
    char id[32];
    struct buf cose; /* COSE_Key */
};

static inline str number_of(EVP_PKEY *key, const char *name, size_t len, uint8_t *out)
{
    BIGNUM *n = NULL;
    assert_int_equal(EVP_PKEY_get_bn_param(key, name, &n), 1);
    if (!len) len = (size_t)BN_num_bytes(n);
    assert_int_equal(BN_bn2binpad(n, out, (int)len), (int)len);
    BN_free(n);
    return str_of((char *)out, len);
}

static inline void put_public(struct buf *b, enum cose_algorithm algorithm, EVP_PKEY *key)
{
    uint8_t one[1024], two[1024];
    size_t len = sizeof one;
    switch (algorithm) {
    case COSE_ES256:
        put_head(b, 5, 5);
        put_int(b, 1), put_int(b, 2), put_int(b, 3), put_int(b, -7), put_int(b, -1), put_int(b, 1);
        put_int(b, -2), put_bytes(b, number_of(key, OSSL_PKEY_PARAM_EC_PUB_X, 32, one));
        put_int(b, -3), put_bytes(b, number_of(key, OSSL_PKEY_PARAM_EC_PUB_Y, 32, two));
        break;
    case COSE_EDDSA:
        assert_int_equal(EVP_PKEY_get_raw_public_key(key, one, &len), 1);
        put_head(b, 5, 4);
        put_int(b, 1), put_int(b, 1), put_int(b, 3), put_int(b, -8), put_int(b, -1), put_int(b, 6);
        put_int(b, -2), put_bytes(b, str_of((char *)one, len));
        break;
    case COSE_RS256:
        put_head(b, 5, 4);
        put_int(b, 1), put_int(b, 3), put_int(b, 3), put_int(b, -257);
        put_int(b, -1), put_bytes(b, number_of(key, OSSL_PKEY_PARAM_RSA_N, 0, one));
        put_int(b, -2), put_bytes(b, number_of(key, OSSL_PKEY_PARAM_RSA_E, 0, two));
        break;
    }
}

static inline void passkey_make(struct passkey *p, enum cose_algorithm algorithm)
{
    p->algorithm = algorithm;
    p->key = algorithm == COSE_ES256   ? EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256")
             : algorithm == COSE_EDDSA ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")
                                       : EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    assert_non_null(p->key);
    memset(p->id, 'k', sizeof p->id);
    buf_init(&p->cose, 4096);
    put_public(&p->cose, algorithm, p->key);
}

static inline void passkey_fini(struct passkey *p)
{
    EVP_PKEY_free(p->key);
    buf_fini(&p->cose);
}

static inline str passkey_sign(const struct passkey *p, str data, uint8_t out[1024])
{
    size_t len = 1024;
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    const EVP_MD *digest = p->algorithm == COSE_EDDSA ? NULL : EVP_sha256();
    assert_int_equal(EVP_DigestSignInit(c, NULL, digest, NULL, p->key), 1);
    assert_int_equal(EVP_DigestSign(c, out, &len, (const uint8_t *)data.p, data.len), 1);
    EVP_MD_CTX_free(c);
    return str_of((char *)out, len);
}

/* --- what is sent --- */

struct ceremony { /* what a test can make wrong; the zero value of a text stands for what is right */
    str type, challenge, origin, rp, more; /* more: further members of the client data, ",\"a\":1" */
    uint8_t flags;
    uint32_t count;
    str extensions, behind; /* CBOR of a map; bytes behind the authenticator data */
};

static inline void put_client_data(struct buf *b, const struct ceremony *c, str type)
{
    char text[BASE64_SIZE(64)];
    str challenge = c->challenge.p ? c->challenge : S(TEST_CHALLENGE);
    buf_addf(b, "{\"type\":\"%.*s\",\"challenge\":\"%s\",\"origin\":\"%.*s\"%.*s}",
             STR(c->type.p ? c->type : type), base64url_encode(challenge.p, challenge.len, text).p,
             STR(c->origin.p ? c->origin : S(TEST_ORIGIN)), STR(c->more));
}

static inline void put_authenticator_data(struct buf *b, const struct ceremony *c,
                                          const struct passkey *attested)
{
    uint8_t hash[SHA256_LEN];
    sha256(c->rp.p ? c->rp : S(TEST_RP), hash);
    buf_add(b, str_of((char *)hash, sizeof hash));
    buf_add_char(b,
                 (char)(c->flags | (attested ? FLAG_ATTESTED : 0) | (c->extensions.p ? FLAG_EXTENSIONS : 0)));
    for (int i = 24; i >= 0; i -= 8)
        buf_add_char(b, (char)(c->count >> i));
    if (attested) {
        buf_add(b, S("aaguid-aaguid-aa"));
        buf_add_char(b, 0);
        buf_add_char(b, (char)sizeof attested->id);
        buf_add(b, str_of(attested->id, sizeof attested->id));
        buf_add(b, buf_str(&attested->cose));
    }
    buf_add(b, c->extensions);
    buf_add(b, c->behind);
}

static inline str passkey_sign_both(const struct passkey *p, str authenticator, str client, uint8_t out[1024])
{
    struct buf b;
    uint8_t hash[SHA256_LEN];
    buf_init(&b, 1 << 16);
    sha256(client, hash);
    buf_add(&b, authenticator);
    buf_add(&b, str_of((char *)hash, sizeof hash));
    str signature = passkey_sign(p, buf_str(&b), out);
    buf_fini(&b);
    return signature;
}

#endif
