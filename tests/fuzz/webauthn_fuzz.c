/* What browsers send of passkeys. The first byte says which: client data, authenticator data, an attestation object, an
 * assertion (lengths in two bytes, then client data, authenticator data, signature). Nothing but a sentence about what is
 * wrong comes of it; what is accepted lies inside the input; and no assertion is believed, since nobody has the key. */
#include <stdlib.h>

#include "core/webauthn/internal.h"

#define REQUIRE(claim)                                                                                       \
    do {                                                                                                     \
        if (!(claim)) abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const enum cose_algorithm algorithms[] = {COSE_ES256, COSE_EDDSA, COSE_RS256};
static const str origins[] = {STR_LIT("http://localhost:8080")};
static const struct webauthn_expected expected = {
    .challenge = STR_LIT("0123456789abcdef0123456789abcdef"),
    .rp_id = STR_LIT("localhost"),
    .origins = origins,
    .n_origins = 1,
    .algorithms = algorithms,
    .n_algorithms = 3,
};
/* As a browser would write it for that challenge. */
static const str created =
    STR_LIT("{\"type\":\"webauthn.create\",\"challenge\":\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\","
            "\"origin\":\"http://localhost:8080\",\"crossOrigin\":false}");
/* The base point of P-256: a key that is sound, of which nobody here has the other half. */
static const char public_key[] = "\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20"
                                 "\x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2"
                                 "\x77\x03\x7d\x81\x2d\xeb\x33\xa0\xf4\xa1\x39\x45\xd8\x98\xc2\x96"
                                 "\x22\x58\x20"
                                 "\x4f\xe3\x42\xe2\xfe\x1a\x7f\x9b\x8e\xe7\xeb\x4a\x7c\x0f\x9e\x16"
                                 "\x2b\xce\x33\x57\x6b\x31\x5e\xce\xcb\xb6\x40\x68\x37\xbf\x51\xf5";

static void inside(str text, str part)
{
    REQUIRE(part.len == 0 || (part.p >= text.p && part.p + part.len <= text.p + text.len));
}

static void check_authenticator_data(str text)
{
    struct authenticator_data d;
    if (authenticator_data_read(text, &d, NULL) != ERR_NONE) return;
    inside(text, d.rp_id_hash);
    inside(text, d.credential_id);
    inside(text, d.public_key);
    REQUIRE(d.rp_id_hash.len == 32 && d.credential_id.len <= WEBAUTHN_CREDENTIAL_ID_MAX);
    REQUIRE(!(d.flags & FLAG_BACKED_UP) || d.flags & FLAG_BACKUP_ELIGIBLE);
}

static str cut(str *text, size_t len)
{
    str part = str_take(*text, len);
    *text = str_skip(*text, len);
    return part;
}

static void check_assertion(struct arena *a, str text)
{
    struct webauthn_asserted out;
    struct webauthn_credential credential = {.id = S("credential of nobody"),
                                             .public_key = str_of(public_key, sizeof public_key - 1),
                                             .user_handle = S("user")};
    size_t lens[2] = {0, 0};
    for (unsigned i = 0; i < 2 && text.len >= 2; i++) {
        str len = cut(&text, 2);
        lens[i] = (size_t)((uint8_t)len.p[0] << 8 | (uint8_t)len.p[1]);
    }
    struct webauthn_assertion as = {.credential_id = credential.id, .user_handle = S("user")};
    as.client_data = cut(&text, lens[0]);
    as.authenticator_data = cut(&text, lens[1]);
    as.signature = text;
    REQUIRE(webauthn_assert(a, &expected, &credential, true, &as, &out, NULL) != ERR_NONE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    if (!size) return 0;
    char *copy = malloc(size);
    REQUIRE(copy != NULL);
    memcpy(copy, data, size);
    str text = str_of(copy + 1, size - 1);
    arena_init(&a, 1 << 20, 0);
    struct client_data client;
    struct webauthn_registered registered;
    err e = {0};
    enum errc rc = ERR_NONE;
    switch (data[0] & 3) {
    case 0:
        rc = client_data_read(&a, text, &client, &e);
        REQUIRE(rc == e.code && (rc == ERR_NONE || rc == ERR_INVALID || rc == ERR_TOO_LARGE));
        break;
    case 1: check_authenticator_data(text); break;
    case 2:
        if (webauthn_register(&a, &expected, created, text, &registered, &e) == ERR_NONE) {
            inside(text, registered.credential_id);
            inside(text, registered.public_key);
            REQUIRE(registered.credential_id.len >= WEBAUTHN_CREDENTIAL_ID_MIN);
        }
        break;
    default: check_assertion(&a, text); break;
    }
    arena_fini(&a);
    free(copy);
    return 0;
}
