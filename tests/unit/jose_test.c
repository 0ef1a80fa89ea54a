/* Tokens and keys: the RFCs' own examples, and what Node's crypto has made (tests/lib/jose_vectors.mjs). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "core/jose.h"

#define NOW_S 1795500000LL
#define assert_text(s, expected)                                                                             \
    do {                                                                                                     \
        str text_ = (s);                                                                                     \
        assert_int_equal(text_.len, strlen(expected));                                                       \
        assert_memory_equal(text_.p, expected, text_.len);                                                   \
    } while (0)

static const struct jwt_rules rules = {.typ = STR_LIT("at+jwt"),
                                       .issuer = STR_LIT("https://issuer.example"),
                                       .audience = STR_LIT("https://audience.example"),
                                       .now_us = NOW_S * USEC_PER_S,
                                       .skew_s = 30};

static int set_up(void **state)
{
    struct arena *a = malloc(sizeof *a);
    arena_init(a, 16u << 20, 0);
    *state = a;
    return 0;
}

static int tear_down(void **state)
{
    arena_fini(*state);
    free(*state);
    return 0;
}

static const struct json *parse(struct arena *a, str text)
{
    struct json *v;
    err e = {0};
    if (json_parse(a, text, &v, &e)) fail_msg("%s", e.msg);
    return v;
}

/* RFC 8037, appendix A.4: the key of A.1 and the signature of "Example of Ed25519 signing". */
static void an_ed25519_signature_of_the_rfc_is_read_and_written(void **state)
{
    struct arena *a = *state;
    static const char token[] = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_"
                                "MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhi"
                                "jcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    struct jose_key key;
    struct jws t;
    err e = {0};
    uint8_t seed[BASE64_DECODED_MAX(43)], public_key[32], sig[64];
    size_t len;
    char thumb[JOSE_THUMBPRINT_LEN + 1];
    str text;
    const struct json *jwk = parse(
        a, S("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"));
    assert_int_equal(jwk_read(a, jwk, JOSE_NONE, &key, &e), ERR_NONE);
    assert_int_equal(jws_read(a, str_c(token), &t, &e), ERR_NONE);
    assert_text(t.payload, "Example of Ed25519 signing");
    assert_int_equal(jws_verify(&t, &key, &e), ERR_NONE);
    jose_key_free(&key);
    assert_true(base64url_decode(S("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"), seed, &len) && len == 32);
    ed25519_public(seed, public_key);
    /* A.3 */
    assert_text(jwk_thumbprint(JOSE_EDDSA, public_key, thumb), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    ed25519_sign(seed, t.signed_text, sig);
    assert_int_equal(jws_finish(a, t.signed_text, str_of((const char *)sig, 64), &text, &e), ERR_NONE);
    assert_text(text, token);
}

/* RFC 7515, appendices A.2 and A.3. */
static void signatures_of_the_rfc_with_rsa_and_p256_are_read(void **state)
{
    struct arena *a = *state;
#define PAYLOAD                                                                                              \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    static const struct {
        const char *jwk, *token;
    } examples[] = {
        {"{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-"
         "4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yR"
         "T-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-"
         "KXBdQOS-UTo7WTBEMa2R2CapHg665x"
         "smtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_"
         "h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\",\"e\":\"AQAB"
         "\",\"alg\":\"RS256\"}",
         "eyJhbGciOiJSUzI1NiJ9." PAYLOAD
         ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_"
         "O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYN"
         "X4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--"
         "xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOP"
         "qvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"x_"
         "FEzRu9m36HLN_tue659LNpXW6pCyStik"
         "YjKIWI5a0\"}",
         "eyJhbGciOiJFUzI1NiJ9." PAYLOAD
         ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"},
    };
    for (unsigned i = 0; i < LENGTH_OF(examples); i++) {
        struct jose_key key;
        struct jws t;
        err e = {0};
        if (jwk_read(a, parse(a, str_c(examples[i].jwk)), JOSE_NONE, &key, &e)) fail_msg("%s", e.msg);
        assert_int_equal(jws_read(a, str_c(examples[i].token), &t, &e), ERR_NONE);
        assert_int_equal(jws_verify(&t, &key, &e), ERR_NONE);
        jose_key_free(&key);
    }
}

static char *read_file(const char *path, size_t *len)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *len = (size_t)ftell(f);
    rewind(f);
    char *text = malloc(*len);
    assert_int_equal(fread(text, 1, *len, f), *len);
    fclose(f);
    return text;
}

static const char *verdict_of(struct arena *a, str token, const struct jwks *set)
{
    struct jws t;
    struct jwt claims;
    const struct jose_key *key;
    err e = {0};
    enum errc rc = jws_read(a, token, &t, &e);
    if (rc == ERR_INVALID) return "refused";
    assert_int_equal(rc, ERR_NONE);
    if (!(key = jwks_find(set, t.kid))) return "unknown";
    rc = jws_verify(&t, key, &e);
    if (rc == ERR_NONE) rc = jwt_read(a, &t, &rules, &claims, &e);
    assert_true(rc == ERR_NONE || rc == ERR_UNAUTHENTICATED);
    return rc == ERR_NONE ? "ok" : "wrong";
}

static void tokens_of_another_program_are_judged_as_they_should(void **state)
{
    struct arena *a = *state;
    size_t len;
    char *text = read_file(SOURCE_DIR "/tests/unit/jose_vectors.json", &len);
    const struct json *cases = json_get(parse(a, str_of(text, len)), S("cases"));
    struct jwks set;
    err e = {0};
    unsigned n_ok = 0;
    if (jwks_read(a, str_of(text, len), JOSE_NONE, &set, &e)) fail_msg("%s", e.msg);
    assert_int_equal(set.n, 5);
    for (const struct json *c = cases->child; c; c = c->next) {
        str what = json_get(c, S("what"))->text, wanted = json_get(c, S("verdict"))->text;
        struct arena_mark m = arena_mark(a);
        const char *got = verdict_of(a, json_get(c, S("token"))->text, &set);
        if (str_find(wanted, str_c(got)) < 0)
            fail_msg("%.*s: %s instead of %.*s", STR(what), got, STR(wanted));
        n_ok += str_eq(wanted, S("ok"));
        arena_reset(a, m);
    }
    assert_true(n_ok >= 10 && cases->n > 250);
    jwks_free(&set);
    free(text);
}

/* Any single byte that is another one makes another token. */
static void a_token_has_one_text(void **state)
{
    struct arena *a = *state;
    uint8_t seed[32], public_key[32], sig[64];
    struct jose_key key;
    struct jws t;
    str signed_text, token;
    err e = {0};
    ed25519_generate(seed);
    ed25519_public(seed, public_key);
    assert_int_equal(jose_key_ed25519(&key, S("k"), public_key, &e), ERR_NONE);
    assert_int_equal(jws_compose(a, JOSE_EDDSA, S("at+jwt"), S("k"), S("{\"exp\":1}"), &signed_text, &e),
                     ERR_NONE);
    ed25519_sign(seed, signed_text, sig);
    assert_int_equal(jws_finish(a, signed_text, str_of((const char *)sig, 64), &token, &e), ERR_NONE);
    assert_int_equal(jws_read(a, token, &t, &e), ERR_NONE);
    assert_int_equal(jws_verify(&t, &key, &e), ERR_NONE);
    char *bent = str_to_c(a, token);
    for (size_t i = 0; i < token.len; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            struct arena_mark m = arena_mark(a);
            bent[i] = (char)(token.p[i] ^ (1 << bit));
            assert_true(jws_read(a, str_of(bent, token.len), &t, &e) != ERR_NONE ||
                        jws_verify(&t, &key, &e) != ERR_NONE);
            arena_reset(a, m);
        }
        bent[i] = token.p[i];
        assert_true(jws_read(a, str_of(bent, i), &t, &e) != ERR_NONE || jws_verify(&t, &key, &e) != ERR_NONE);
    }
    jose_key_free(&key);
}

static void only_keys_that_are_safe_and_public_are_taken(void **state)
{
    struct arena *a = *state;
#define X "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\""
#define Y "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\""
#define P256 "\"kty\":\"EC\",\"crv\":\"P-256\"," X "," Y
    static const char *const wrong[] = {
        "[]",
        "{}",
        "{" P256 ",\"d\":\"AA\"}",
        "{" P256 ",\"use\":\"enc\"}",
        "{" P256 ",\"use\":1}",
        "{" P256 ",\"key_ops\":[\"sign\"]}",
        "{" P256 ",\"alg\":\"RS256\"}",
        "{" P256 ",\"alg\":\"ES384\"}",
        "{" P256 ",\"alg\":\"ECDH-ES\"}",
        "{" P256 ",\"alg\":1}",
        "{" P256 ",\"kid\":1}",
        "{" P256 ",\"kid\":\"\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-384\"," X "," Y "}",
        "{\"kty\":\"EC\",\"crv\":\"secp256k1\"," X "," Y "}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\"," X "}",
        /* No point of the curve. */
        "{\"kty\":\"EC\",\"crv\":\"P-256\"," X ",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a1\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\"," X ",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5aw\"}",
        "{\"kty\":\"oct\",\"k\":\"c2VjcmV0\",\"alg\":\"HS256\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed448\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHUQ\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"}",
        /* RSA: too short, an exponent of 1, an even one, no algorithm. */
        "{\"kty\":\"RSA\",\"alg\":\"RS256\",\"n\":\"wwwwwwwwwwwwwwwwwwwwww\",\"e\":\"AQAB\"}",
    };
    for (unsigned i = 0; i < LENGTH_OF(wrong); i++) {
        struct jose_key key;
        err e = {0};
        if (jwk_read(a, parse(a, str_c(wrong[i])), JOSE_RS256, &key, &e) != ERR_INVALID)
            fail_msg("taken: %s", wrong[i]);
    }
    char *n = malloc(343);
    memset(n, 'w', 342);
    n[341] = 'Q'; /* odd, 2048 bits */
    n[342] = 0;
    static const struct {
        const char *rest, *zeros;
        enum jose_alg rsa;
        enum errc expected;
    } rsa[] = {
        {"\"e\":\"AQAB\",\"alg\":\"RS256\"", "", JOSE_NONE, ERR_NONE},
        {"\"e\":\"AQAB\"", "", JOSE_PS256, ERR_NONE},
        {"\"e\":\"AQAB\"", "", JOSE_NONE, ERR_INVALID},
        {"\"e\":\"AQ\"", "", JOSE_RS256, ERR_INVALID},
        {"\"e\":\"AQAA\"", "", JOSE_RS256, ERR_INVALID},
        {"\"e\":\"AAEAAQ\"", "", JOSE_RS256, ERR_INVALID},
        {"\"e\":\"\"", "", JOSE_RS256, ERR_INVALID},
        {"\"e\":\"AQAB\"", "AAAA", JOSE_RS256, ERR_INVALID},
        {"\"e\":\"AQAB\",\"alg\":\"RS512\"", "", JOSE_RS256, ERR_INVALID},
    };
    for (unsigned i = 0; i < LENGTH_OF(rsa); i++) {
        struct jose_key key;
        err e = {0};
        str text = arena_printf(a, "{\"kty\":\"RSA\",\"n\":\"%s%s\",%s}", rsa[i].zeros, n, rsa[i].rest);
        if (jwk_read(a, parse(a, text), rsa[i].rsa, &key, &e) != rsa[i].expected)
            fail_msg("%s: %s", rsa[i].rest, e.msg);
        if (rsa[i].expected == ERR_NONE) jose_key_free(&key);
    }
    free(n);
}

static void a_set_skips_what_it_cannot_use_and_refuses_two_of_one_name(void **state)
{
    struct arena *a = *state;
    struct jwks set;
    err e = {0};
    assert_int_equal(jwks_read(a,
                               S("{\"keys\":[{" P256 ",\"kid\":\"a\"},{\"kty\":\"oct\",\"k\":\"AA\"},{" P256
                                 ",\"kid\":\"b\",\"use\":\"enc\"},7]}"),
                               JOSE_NONE, &set, &e),
                     ERR_NONE);
    assert_int_equal(set.n, 1);
    assert_int_equal(set.n_skipped, 3);
    assert_non_null(jwks_find(&set, S("a")));
    assert_non_null(jwks_find(&set, S("")));
    assert_null(jwks_find(&set, S("b")));
    jwks_free(&set);
    static const char *const wrong[] = {"{\"keys\":[{" P256 ",\"kid\":\"a\"},{" P256 ",\"kid\":\"a\"}]}",
                                        "[]",
                                        "{}",
                                        "{\"keys\":{}}",
                                        "{\"keys\":[],\"keys\":[]}",
                                        "",
                                        "{\"keys\":[[[[[[[[1]]]]]]]]}"};
    for (unsigned i = 0; i < LENGTH_OF(wrong); i++)
        assert_int_equal(jwks_read(a, str_c(wrong[i]), JOSE_NONE, &set, &e), ERR_INVALID);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(an_ed25519_signature_of_the_rfc_is_read_and_written),
        CASE(signatures_of_the_rfc_with_rsa_and_p256_are_read),
        CASE(tokens_of_another_program_are_judged_as_they_should),
        CASE(a_token_has_one_text),
        CASE(only_keys_that_are_safe_and_public_are_taken),
        CASE(a_set_skips_what_it_cannot_use_and_refuses_two_of_one_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
