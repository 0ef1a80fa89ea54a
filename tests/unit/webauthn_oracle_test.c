/* Passkeys beside libfido2, which was written by others from the same texts: the same verdict about assertions and self
 * attestations that are right, damaged anywhere, or signed though they are wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#ifndef HAVE_LIBFIDO2

#include <stdio.h>

int main(void)
{
    puts("SKIP: libfido2 is not installed");
    return 77;
}

#else

#include "passkey.h"
/* Its names for algorithms are macros of the same numbers as ours. */
#include <fido.h>
#include <fido/eddsa.h>
#include <fido/es256.h>
#include <fido/rs256.h>

static const str origins[] = {STR_LIT(TEST_ORIGIN)};
static const enum cose_algorithm all[] = {COSE_ES256, COSE_EDDSA, COSE_RS256};

struct scene {
    struct arena a;
    struct passkey p;
    struct buf client, authenticator, statement, object;
    uint8_t signature[1024];
    str signed_with;
};

static void scene_init(struct scene *s, enum cose_algorithm algorithm)
{
    arena_init(&s->a, 1 << 20, 0);
    passkey_make(&s->p, algorithm);
    struct buf *const all_bufs[] = {&s->client, &s->authenticator, &s->statement, &s->object};
    for (size_t i = 0; i < LENGTH_OF(all_bufs); i++)
        buf_init(all_bufs[i], 1 << 16);
}

static void scene_fini(struct scene *s)
{
    arena_fini(&s->a);
    passkey_fini(&s->p);
    buf_fini(&s->client);
    buf_fini(&s->authenticator);
    buf_fini(&s->statement);
    buf_fini(&s->object);
}

static void *fido_key(const struct passkey *p)
{
    void *key = p->algorithm == COSE_ES256   ? (void *)es256_pk_new()
                : p->algorithm == COSE_EDDSA ? (void *)eddsa_pk_new()
                                             : (void *)rs256_pk_new();
    int failed = p->algorithm == COSE_ES256   ? es256_pk_from_EVP_PKEY(key, p->key)
                 : p->algorithm == COSE_EDDSA ? eddsa_pk_from_EVP_PKEY(key, p->key)
                                              : rs256_pk_from_EVP_PKEY(key, p->key);
    assert_int_equal(failed, FIDO_OK);
    return key;
}

static void fido_key_free(const struct passkey *p, void *key)
{
    if (p->algorithm == COSE_ES256) es256_pk_free((es256_pk_t **)&key);
    if (p->algorithm == COSE_EDDSA) eddsa_pk_free((eddsa_pk_t **)&key);
    if (p->algorithm == COSE_RS256) rs256_pk_free((rs256_pk_t **)&key);
}

/* --- assertions --- */

static bool fido_believes(const struct scene *s, const void *key, str signature, bool needs_verification)
{
    fido_assert_t *a = fido_assert_new();
    assert_non_null(a);
    bool is_believed =
        fido_assert_set_clientdata(a, (const uint8_t *)s->client.p, s->client.len) == FIDO_OK &&
        fido_assert_set_rp(a, TEST_RP) == FIDO_OK && fido_assert_set_count(a, 1) == FIDO_OK &&
        fido_assert_set_authdata_raw(a, 0, (const uint8_t *)s->authenticator.p, s->authenticator.len) ==
            FIDO_OK &&
        fido_assert_set_up(a, FIDO_OPT_TRUE) == FIDO_OK &&
        fido_assert_set_uv(a, needs_verification ? FIDO_OPT_TRUE : FIDO_OPT_OMIT) == FIDO_OK &&
        fido_assert_set_sig(a, 0, (const uint8_t *)signature.p, signature.len) == FIDO_OK &&
        fido_assert_verify(a, 0, s->p.algorithm, key) == FIDO_OK;
    fido_assert_free(&a);
    return is_believed;
}

static bool we_believe(struct scene *s, str signature, bool needs_verification)
{
    struct webauthn_asserted out;
    const struct webauthn_expected x = {.challenge = S(TEST_CHALLENGE),
                                        .rp_id = S(TEST_RP),
                                        .origins = origins,
                                        .n_origins = 1,
                                        .needs_verification = needs_verification};
    const struct webauthn_credential credential = {.id = str_of(s->p.id, sizeof s->p.id),
                                                   .public_key = buf_str(&s->p.cose)};
    const struct webauthn_assertion as = {.credential_id = credential.id,
                                          .client_data = buf_str(&s->client),
                                          .authenticator_data = buf_str(&s->authenticator),
                                          .signature = signature};
    return webauthn_assert(&s->a, &x, &credential, false, &as, &out, NULL) == ERR_NONE;
}

static void make(struct scene *s, const struct ceremony *c)
{
    buf_clear(&s->client);
    buf_clear(&s->authenticator);
    put_client_data(&s->client, c, S("webauthn.get"));
    put_authenticator_data(&s->authenticator, c, NULL);
    s->signed_with = passkey_sign_both(&s->p, buf_str(&s->authenticator), buf_str(&s->client), s->signature);
}

static void assertions_get_the_same_verdict(void **state)
{
    (void)state;
    const struct ceremony signed_ones[] = {
        {.flags = FLAG_USER_PRESENT},
        {.flags = FLAG_USER_PRESENT | FLAG_USER_VERIFIED, .count = 7},
        {.flags = FLAG_USER_VERIFIED},
        {.flags = 0},
        {.flags = 1, .rp = S("evil.example")},
        {.flags = FLAG_USER_PRESENT | FLAG_EXTENSIONS},
        {.flags = 1, .extensions = S("\xa1\x61z\xf5")},
        {.flags = 1, .extensions = S("\x80")},
    };
    for (size_t k = 0; k < LENGTH_OF(all); k++) {
        struct scene s = {0};
        scene_init(&s, all[k]);
        void *key = fido_key(&s.p);
        unsigned believed = 0;
        for (size_t i = 0; i < LENGTH_OF(signed_ones); i++)
            for (unsigned needs = 0; needs < 2; needs++) {
                make(&s, &signed_ones[i]);
                bool fido = fido_believes(&s, key, s.signed_with, needs),
                     ours = we_believe(&s, s.signed_with, needs);
                if (fido != ours)
                    fail_msg("algorithm %d, ceremony %zu, %u: fido %d, we %d", all[k], i, needs, fido, ours);
                believed += ours;
            }
        /* It does not look behind the data, where we want nothing to stand. */
        make(&s, &(const struct ceremony){.flags = 1, .behind = S("z")});
        assert_true(fido_believes(&s, key, s.signed_with, false));
        assert_false(we_believe(&s, s.signed_with, false));
        assert_true(believed >= 3);
        make(&s, &signed_ones[1]);
        struct buf *const parts[] = {&s.client, &s.authenticator};
        for (size_t p = 0; p < LENGTH_OF(parts); p++)
            for (size_t i = 0; i < parts[p]->len; i++) {
                parts[p]->p[i] ^= (char)(1 << (i % 8));
                assert_false(fido_believes(&s, key, s.signed_with, false));
                assert_false(we_believe(&s, s.signed_with, false));
                parts[p]->p[i] ^= (char)(1 << (i % 8));
            }
        for (size_t i = 0; i < s.signed_with.len; i++) {
            s.signature[i] ^= (uint8_t)(1 << (i % 8));
            assert_int_equal(fido_believes(&s, key, s.signed_with, false),
                             we_believe(&s, s.signed_with, false));
            s.signature[i] ^= (uint8_t)(1 << (i % 8));
        }
        for (size_t len = 0; len <= s.signed_with.len; len += 5) {
            str cut = str_take(s.signed_with, len);
            assert_int_equal(fido_believes(&s, key, cut, false), we_believe(&s, cut, false));
        }
        assert_true(we_believe(&s, s.signed_with, true));
        fido_key_free(&s.p, key);
        scene_fini(&s);
    }
}

/* --- self attestation --- */

static bool fido_registers(const struct scene *s)
{
    fido_cred_t *c = fido_cred_new();
    assert_non_null(c);
    bool is_believed =
        fido_cred_set_type(c, s->p.algorithm) == FIDO_OK &&
        fido_cred_set_clientdata(c, (const uint8_t *)s->client.p, s->client.len) == FIDO_OK &&
        fido_cred_set_rp(c, TEST_RP, NULL) == FIDO_OK &&
        fido_cred_set_authdata_raw(c, (const uint8_t *)s->authenticator.p, s->authenticator.len) == FIDO_OK &&
        fido_cred_set_fmt(c, "packed") == FIDO_OK &&
        fido_cred_set_attstmt(c, (const uint8_t *)s->statement.p, s->statement.len) == FIDO_OK &&
        fido_cred_verify_self(c) == FIDO_OK;
    fido_cred_free(&c);
    return is_believed;
}

static bool we_register(struct scene *s)
{
    struct webauthn_registered out;
    const struct webauthn_expected x = {.challenge = S(TEST_CHALLENGE),
                                        .rp_id = S(TEST_RP),
                                        .origins = origins,
                                        .n_origins = 1,
                                        .algorithms = &s->p.algorithm,
                                        .n_algorithms = 1};
    buf_clear(&s->object);
    put_head(&s->object, 5, 3);
    put_text(&s->object, S("fmt")), put_text(&s->object, S("packed"));
    put_text(&s->object, S("attStmt")), buf_add(&s->object, buf_str(&s->statement));
    put_text(&s->object, S("authData")), put_bytes(&s->object, buf_str(&s->authenticator));
    return webauthn_register(&s->a, &x, buf_str(&s->client), buf_str(&s->object), &out, NULL) == ERR_NONE;
}

static void self_attestations_get_the_same_verdict(void **state)
{
    (void)state;
    for (size_t k = 0; k < LENGTH_OF(all); k++) {
        struct scene s = {0};
        scene_init(&s, all[k]);
        const struct ceremony c = {.flags = FLAG_USER_PRESENT};
        put_client_data(&s.client, &c, S("webauthn.create"));
        put_authenticator_data(&s.authenticator, &c, &s.p);
        s.signed_with = passkey_sign_both(&s.p, buf_str(&s.authenticator), buf_str(&s.client), s.signature);
        put_head(&s.statement, 5, 2);
        put_text(&s.statement, S("alg")), put_int(&s.statement, s.p.algorithm);
        put_text(&s.statement, S("sig")), put_bytes(&s.statement, s.signed_with);
        assert_true(fido_registers(&s));
        assert_true(we_register(&s));
        struct buf *const parts[] = {&s.client, &s.authenticator};
        for (size_t p = 0; p < LENGTH_OF(parts); p++)
            for (size_t i = 0; i < parts[p]->len; i += 3) {
                parts[p]->p[i] ^= 1;
                assert_int_equal(fido_registers(&s), we_register(&s));
                parts[p]->p[i] ^= 1;
            }
        s.statement.p[s.statement.len - 1] ^= 1;
        assert_false(fido_registers(&s));
        assert_false(we_register(&s));
        scene_fini(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(assertions_get_the_same_verdict),
        cmocka_unit_test(self_attestations_get_the_same_verdict),
    };
    fido_init(0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
