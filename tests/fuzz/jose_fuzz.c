/* Tokens: what is read can be put together again byte for byte, nothing verifies that was not signed, and claims are read
 * without harm whoever wrote them. The first byte chooses how claims are looked at. */
#include <stdlib.h>

#include "base/clock.h"
#include "core/jose.h"

#define REQUIRE(claim)                                                                                       \
    do {                                                                                                     \
        if (!(claim)) abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void text_is_canonical(str part, str decoded)
{
    char *again = malloc(BASE64_SIZE(decoded.len));
    REQUIRE(str_eq(base64url_encode(decoded.p, decoded.len, again), part));
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t public_key[32] = {0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe,
                                           0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6,
                                           0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a};
    struct arena a;
    struct jose_key key;
    struct jws t;
    struct jwt claims;
    err e;
    if (!size) return 0;
    struct jwt_rules rules = {.typ = data[0] & 1 ? S("at+jwt") : S(""),
                              .issuer = S("i"),
                              .audience = S("a"),
                              .now_us = 1795500000LL * USEC_PER_S,
                              .skew_s = data[0],
                              .age_max_s = data[0] & 2 ? 600 : 0};
    arena_init(&a, 1u << 20, 0);
    if (jws_read(&a, str_of((const char *)data + 1, size - 1), &t, &e) == ERR_NONE) {
        str rest = str_of((const char *)data + 1, size - 1);
        str_cut(&rest, '.');
        text_is_canonical(str_cut(&rest, '.'), t.payload);
        text_is_canonical(rest, t.signature);
        REQUIRE(t.alg > JOSE_NONE && t.alg < JOSE_ALGS);
        REQUIRE(jose_key_ed25519(&key, S(""), public_key, &e) == ERR_NONE);
        REQUIRE(t.alg == JOSE_EDDSA || jws_verify(&t, &key, &e) == ERR_UNAUTHENTICATED);
        /* The one token that this key has signed is that of RFC 8037. */
        if (jws_verify(&t, &key, &e) == ERR_NONE) REQUIRE(str_eq(t.payload, S("Example of Ed25519 signing")));
        jose_key_free(&key);
        if (jwt_read(&a, &t, &rules, &claims, &e) == ERR_NONE) {
            REQUIRE(claims.n_audiences > 0 && str_eq(jwt_text(&claims, S("iss")), S("i")));
            REQUIRE(claims.exp_s + JOSE_SKEW_MAX_S > rules.now_us / USEC_PER_S);
        }
    }
    /* The payload by itself, as if it had been signed. */
    t = (struct jws){
        .alg = JOSE_EDDSA, .typ = S("at+jwt"), .payload = str_of((const char *)data + 1, size - 1)};
    rules.typ = S("at+jwt");
    if (jwt_read(&a, &t, &rules, &claims, &e) == ERR_NONE)
        REQUIRE(claims.exp_s + JOSE_SKEW_MAX_S > rules.now_us / USEC_PER_S);
    arena_fini(&a);
    return 0;
}
