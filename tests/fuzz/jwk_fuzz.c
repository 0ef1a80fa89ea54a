/* Sets of keys: whatever is published is read without harm; what is taken has an algorithm, and its kid finds it. */
#include <stdlib.h>

#include "core/jose.h"

#define REQUIRE(claim)                                                                                       \
    do {                                                                                                     \
        if (!(claim)) abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct jwks set;
    err e;
    arena_init(&a, 1u << 20, 0);
    if (jwks_read(&a, str_of((const char *)data, size), JOSE_RS256, &set, &e) == ERR_NONE) {
        for (unsigned i = 0; i < set.n; i++) {
            struct jws t = {.alg = set.keys[i].alg,
                            .signed_text = S("a.b"),
                            .signature =
                                S("0123456789012345678901234567890123456789012345678901234567890123")};
            REQUIRE(set.keys[i].alg > JOSE_NONE && set.keys[i].alg < JOSE_ALGS && set.keys[i].key);
            REQUIRE(!set.keys[i].kid.len || jwks_find(&set, set.keys[i].kid) == &set.keys[i]);
            REQUIRE(jws_verify(&t, &set.keys[i], &e) == ERR_UNAUTHENTICATED);
        }
        jwks_free(&set);
    }
    arena_fini(&a);
    return 0;
}
