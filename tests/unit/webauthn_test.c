/* Passkeys: what is read of CBOR and of keys, and which registrations and assertions are believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "core/webauthn/cbor.h"
#include "core/webauthn/cose.h"
#include "passkey.h"

/* --- CBOR --- */

static enum errc parse(str text)
{
    struct cbor c;
    return cbor_parse(text, &c, NULL);
}

static void canonical_cbor_is_read(void **state)
{
    (void)state;
    struct cbor c, v;
    int64_t n;
    assert_int_equal(cbor_parse(S("\xa3\x01\x02\x20\x42hi\x63"
                                  "abc\x82\xf5\xf6"),
                                &c, NULL),
                     ERR_NONE);
    assert_int_equal(c.type, CBOR_MAP);
    assert_int_equal(c.n, 3);
    assert_true(cbor_at(&c, 1, &v) && cbor_i64(&v, &n) && n == 2);
    assert_true(cbor_at(&c, -1, &v) && v.type == CBOR_BYTES && str_eq(v.bytes, S("hi")));
    assert_true(cbor_named(&c, S("abc"), &v) && v.type == CBOR_ARRAY && v.n == 2);
    str rest = v.bytes;
    assert_true(cbor_next(&rest, &v) && v.type == CBOR_TRUE);
    assert_true(cbor_next(&rest, &v) && v.type == CBOR_NULL);
    assert_false(cbor_next(&rest, &v));
    assert_false(cbor_at(&c, 2, &v));
    assert_false(cbor_named(&c, S("ab"), &v));
    assert_int_equal(cbor_parse(S("\x3b\x7f\xff\xff\xff\xff\xff\xff\xff"), &c, NULL), ERR_NONE);
    assert_true(cbor_i64(&c, &n) && n == INT64_MIN);
    assert_int_equal(cbor_parse(S("\x3b\xff\xff\xff\xff\xff\xff\xff\xff"), &c, NULL), ERR_NONE);
    assert_false(cbor_i64(&c, &n));
}

static void any_other_cbor_is_refused(void **state)
{
    (void)state;
    static const str texts[] = {
        STR_LIT(""), /* nothing */
        STR_LIT("\x18\x17"),
        STR_LIT("\x19\x00\xff"), /* a shorter head would do */
        STR_LIT("\x1a\x00\x00\xff\xff"),
        STR_LIT("\x1b\x00\x00\x00\x00\xff\xff\xff\xff"),
        STR_LIT("\x58\x01z"),
        STR_LIT("\xb8\x01\x01\x01"),
        STR_LIT("\x1c"),
        STR_LIT("\x1d"),
        STR_LIT("\x1e"), /* reserved */
        STR_LIT("\x1f"),
        STR_LIT("\x5f\x41z\xff"),
        STR_LIT("\x9f\xff"),
        STR_LIT("\xbf\xff"),
        STR_LIT("\xff"), /* indefinite */
        STR_LIT("\xc0\x01"),
        STR_LIT("\xd8\x20\x61z"), /* tags */
        STR_LIT("\xf7"),
        STR_LIT("\xf8\xff"),
        STR_LIT("\xe0"),
        STR_LIT("\xf9\x3c\x00"),
        STR_LIT("\xfa\x3f\x80\x00\x00"),
        STR_LIT("\xfb\x3f\xf0\x00\x00\x00\x00\x00\x00"), /* floats, simple values */
        STR_LIT("\x61\xff"),
        STR_LIT("\x62\xc0\x80"), /* no UTF-8 */
        STR_LIT("\xa2\x02\x01\x01\x01"),
        STR_LIT("\xa2\x61z\x01\x61"
                "a\x01"),
        STR_LIT("\xa2\x62"
                "aa\x01\x61z\x01"),
        STR_LIT("\xa2\x20\x01\x01\x01"), /* out of order */
        STR_LIT("\xa2\x01\x01\x01\x02"),
        STR_LIT("\xa2\x61z\x01\x61z\x01"), /* twice */
        STR_LIT("\xa1\x41z\x01"),
        STR_LIT("\xa1\x80\x01"),
        STR_LIT("\xa1\xf5\x01"), /* keys of another type */
        STR_LIT("\x81\x81\x81\x81\x80"),
        STR_LIT("\xa1\x01\xa1\x01\xa1\x01\xa1\x01\xa0"), /* five levels */
        STR_LIT("\x01\x01"),
        STR_LIT("\xa0\x00"), /* something behind */
        STR_LIT("\x9b\xff\xff\xff\xff\xff\xff\xff\xff"),
        STR_LIT("\xbb\x7f\xff\xff\xff\xff\xff\xff\xff"),
        STR_LIT("\x5b\xff\xff\xff\xff\xff\xff\xff\xffz"), /* longer than memory */
    };
    for (size_t i = 0; i < LENGTH_OF(texts); i++)
        if (parse(texts[i]) != ERR_INVALID) fail_msg("text %zu was read", i);
    assert_int_equal(parse(S("\x81\x81\x81\x80")), ERR_NONE);
}

static void cbor_that_is_cut_anywhere_is_refused(void **state)
{
    (void)state;
    struct passkey p;
    passkey_make(&p, COSE_RS256);
    for (size_t i = 0; i < p.cose.len; i++)
        assert_int_equal(parse(str_take(buf_str(&p.cose), i)), ERR_INVALID);
    assert_int_equal(parse(buf_str(&p.cose)), ERR_NONE);
    passkey_fini(&p);
}

/* --- keys --- */

static const enum cose_algorithm all[] = {COSE_ES256, COSE_EDDSA, COSE_RS256};

static void keys_of_all_three_kinds_verify_what_they_signed_and_nothing_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH_OF(all); i++) {
        struct passkey p, other;
        struct cose_key k, k2;
        uint8_t out[1024];
        passkey_make(&p, all[i]);
        passkey_make(&other, all[i]);
        assert_int_equal(cose_key_read(buf_str(&p.cose), &k, NULL), ERR_NONE);
        assert_int_equal(cose_key_read(buf_str(&other.cose), &k2, NULL), ERR_NONE);
        assert_int_equal(k.algorithm, all[i]);
        str s = passkey_sign(&p, S("data"), out);
        assert_true(cose_verify(&k, S("data"), s));
        assert_false(cose_verify(&k, S("datb"), s));
        assert_false(cose_verify(&k2, S("data"), s));
        assert_false(cose_verify(&k, S("data"), S("")));
        assert_false(cose_verify(&k, S("data"), str_take(s, s.len - 1)));
        out[s.len] = 0;
        assert_false(cose_verify(&k, S("data"), str_of(s.p, s.len + 1)));
        for (size_t at = 0; at < s.len; at += 7) {
            out[at] ^= 0x10;
            assert_false(cose_verify(&k, S("data"), s));
            out[at] ^= 0x10;
        }
        passkey_fini(&p);
        passkey_fini(&other);
    }
}

static enum errc read_key(void (*make)(struct buf *b, const struct cose_key *good),
                          const struct cose_key *good)
{
    struct buf b;
    struct cose_key k;
    buf_init(&b, 8192);
    make(&b, good);
    enum errc rc = cose_key_read(buf_str(&b), &k, NULL);
    buf_fini(&b);
    return rc;
}

static char zeros[1024];
static void ec(struct buf *b, int64_t kty, int64_t alg, int64_t crv, str x, str y)
{
    put_head(b, 5, 5);
    put_int(b, 1), put_int(b, kty), put_int(b, 3), put_int(b, alg), put_int(b, -1), put_int(b, crv);
    put_int(b, -2), put_bytes(b, x), put_int(b, -3), put_bytes(b, y);
}
static void ec_good(struct buf *b, const struct cose_key *g) { ec(b, 2, -7, 1, g->x, g->y); }
static void ec_swapped(struct buf *b, const struct cose_key *g) { ec(b, 2, -7, 1, g->y, g->x); }
static void ec_zero(struct buf *b, const struct cose_key *g)
{
    (void)g;
    ec(b, 2, -7, 1, str_of(zeros, 32), str_of(zeros, 32));
}
static void ec_short(struct buf *b, const struct cose_key *g) { ec(b, 2, -7, 1, str_take(g->x, 31), g->y); }
static void ec_other_algorithm(struct buf *b, const struct cose_key *g) { ec(b, 2, -35, 1, g->x, g->y); }
static void ec_as_eddsa(struct buf *b, const struct cose_key *g) { ec(b, 2, -8, 1, g->x, g->y); }
static void ec_other_curve(struct buf *b, const struct cose_key *g) { ec(b, 2, -7, 2, g->x, g->y); }
static void ec_other_kind(struct buf *b, const struct cose_key *g) { ec(b, 3, -7, 1, g->x, g->y); }
static void ec_with_more(struct buf *b, const struct cose_key *g)
{
    struct buf good;
    buf_init(&good, 1024);
    ec_good(&good, g);
    put_head(b, 5, 6);
    buf_add(b, str_skip(buf_str(&good), 1));
    put_int(b, -4), put_bytes(b, g->x); /* a private half */
    buf_fini(&good);
}
static void ec_compressed(struct buf *b, const struct cose_key *g)
{
    put_head(b, 5, 5);
    put_int(b, 1), put_int(b, 2), put_int(b, 3), put_int(b, -7), put_int(b, -1), put_int(b, 1);
    put_int(b, -2), put_bytes(b, g->x), put_int(b, -3), buf_add_char(b, (char)0xf5);
}

static void only_points_of_the_curve_in_their_one_form_are_keys(void **state)
{
    (void)state;
    struct passkey p;
    struct cose_key good;
    passkey_make(&p, COSE_ES256);
    assert_int_equal(cose_key_read(buf_str(&p.cose), &good, NULL), ERR_NONE);
    assert_int_equal(read_key(ec_good, &good), ERR_NONE);
    void (*const wrong[])(struct buf *, const struct cose_key *) = {
        ec_swapped,     ec_zero,       ec_short,     ec_other_algorithm, ec_as_eddsa,
        ec_other_curve, ec_other_kind, ec_with_more, ec_compressed,
    };
    for (size_t i = 0; i < LENGTH_OF(wrong); i++)
        if (read_key(wrong[i], &good) != ERR_INVALID) fail_msg("key %zu was taken", i);
    passkey_fini(&p);
}

static void rsa(struct buf *b, int64_t alg, str n, str e)
{
    put_head(b, 5, 4);
    put_int(b, 1), put_int(b, 3), put_int(b, 3), put_int(b, alg);
    put_int(b, -1), put_bytes(b, n), put_int(b, -2), put_bytes(b, e);
}

static void weak_keys_of_rsa_are_refused(void **state)
{
    (void)state;
    struct passkey p;
    struct cose_key k;
    struct buf b;
    passkey_make(&p, COSE_RS256);
    assert_int_equal(cose_key_read(buf_str(&p.cose), &k, NULL), ERR_NONE);
    char n[600];
    memset(n, 0xff, sizeof n);
    str good = S("\x01\x00\x01");
    const struct {
        int64_t alg;
        str n, e;
    } wrong[] = {
        {-37, k.n, good},                 /* PSS */
        {-7, k.n, good},                  /* an algorithm of another kind */
        {-257, str_take(k.n, 255), good}, /* 2,040 bits */
        {-257, str_of(n, 128), good},     /* 1,024 bits */
        {-257, str_of(n, 600), good},     /* 4,800 bits */
        {-257, str_of(zeros, 256), good}, /* zero */
        {-257, k.n, S("\x03")},
        {-257, k.n, S("\x01")},
        {-257, k.n, S("")},
        {-257, k.n, S("\x01\x00\x02")},
        {-257, k.n, S("\x00\x01\x00\x01")},
        {-257, k.n, S("\x01\x00\x00\x00\x01")},
    };
    for (size_t i = 0; i < LENGTH_OF(wrong); i++) {
        buf_init(&b, 8192);
        rsa(&b, wrong[i].alg, wrong[i].n, wrong[i].e);
        struct cose_key out;
        if (cose_key_read(buf_str(&b), &out, NULL) != ERR_INVALID) fail_msg("key %zu was taken", i);
        buf_fini(&b);
    }
    passkey_fini(&p);
}

static void points_of_small_order_on_ed25519_are_no_keys(void **state)
{
    (void)state;
    static const char one[32] = {1}, zero[32],
                      minus_one[32] = "\xec\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
                                      "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f";
    const char *const points[] = {one, zero, minus_one};
    for (size_t i = 0; i < LENGTH_OF(points); i++) {
        struct buf b;
        struct cose_key k;
        buf_init(&b, 100);
        put_head(&b, 5, 4);
        put_int(&b, 1), put_int(&b, 1), put_int(&b, 3), put_int(&b, -8), put_int(&b, -1), put_int(&b, 6);
        put_int(&b, -2), put_bytes(&b, str_of(points[i], 32));
        assert_int_equal(cose_key_read(buf_str(&b), &k, NULL), ERR_INVALID);
        buf_fini(&b);
    }
}

/* --- registration --- */

struct scene {
    struct arena a;
    struct passkey p, other;
    struct buf client, authenticator, object;
    err e;
};

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof *s);
    arena_init(&s->a, 1 << 20, 0);
    passkey_make(&s->p, COSE_ES256);
    passkey_make(&s->other, COSE_ES256);
    buf_init(&s->client, 1 << 16);
    buf_init(&s->authenticator, 1 << 16);
    buf_init(&s->object, 1 << 16);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    arena_fini(&s->a);
    passkey_fini(&s->p);
    passkey_fini(&s->other);
    buf_fini(&s->client);
    buf_fini(&s->authenticator);
    buf_fini(&s->object);
    free(s);
    return 0;
}

static const str origins[] = {STR_LIT("http://localhost:8080"), STR_LIT(TEST_ORIGIN)};
static const struct webauthn_expected expected = {
    .challenge = STR_LIT(TEST_CHALLENGE),
    .rp_id = STR_LIT(TEST_RP),
    .origins = origins,
    .n_origins = 2,
    .algorithms = all,
    .n_algorithms = 3,
};

enum statement {
    NONE,
    NONE_WITH_MORE,
    PACKED,
    PACKED_BY_OTHER,
    PACKED_OTHER_ALGORITHM,
    PACKED_CERTIFICATES,
    U2F
};

static void put_object(struct scene *s, enum statement statement)
{
    uint8_t out[1024];
    str signature = passkey_sign_both(statement == PACKED_BY_OTHER ? &s->other : &s->p,
                                      buf_str(&s->authenticator), buf_str(&s->client), out);
    bool is_packed = statement >= PACKED && statement <= PACKED_CERTIFICATES;
    put_head(&s->object, 5, 3);
    put_text(&s->object, S("fmt"));
    put_text(&s->object, is_packed ? S("packed") : statement == U2F ? S("fido-u2f") : S("none"));
    put_text(&s->object, S("attStmt"));
    put_head(&s->object, 5,
             is_packed ? statement == PACKED_CERTIFICATES ? 3 : 2 : statement == NONE_WITH_MORE);
    if (statement == NONE_WITH_MORE) put_text(&s->object, S("a")), put_int(&s->object, 1);
    if (is_packed) {
        put_text(&s->object, S("alg"));
        put_int(&s->object, statement == PACKED_OTHER_ALGORITHM ? -257 : (int64_t)s->p.algorithm);
        put_text(&s->object, S("sig"));
        put_bytes(&s->object, signature);
        if (statement == PACKED_CERTIFICATES) {
            put_text(&s->object, S("x5c"));
            put_head(&s->object, 4, 1);
            put_bytes(&s->object, S("certificate"));
        }
    }
    put_text(&s->object, S("authData"));
    put_bytes(&s->object, buf_str(&s->authenticator));
}

static enum errc register_with(struct scene *s, const struct ceremony *c, enum statement statement,
                               const struct webauthn_expected *x, struct webauthn_registered *out)
{
    buf_clear(&s->client);
    buf_clear(&s->authenticator);
    buf_clear(&s->object);
    put_client_data(&s->client, c, S("webauthn.create"));
    put_authenticator_data(&s->authenticator, c, &s->p);
    put_object(s, statement);
    return webauthn_register(&s->a, x, buf_str(&s->client), buf_str(&s->object), out, &s->e);
}

static void a_registration_gives_the_credential(void **state)
{
    struct scene *s = *state;
    struct webauthn_registered r;
    const struct ceremony c = {.flags = FLAG_USER_PRESENT | FLAG_USER_VERIFIED | FLAG_BACKUP_ELIGIBLE,
                               .count = 7};
    assert_int_equal(register_with(s, &c, NONE, &expected, &r), ERR_NONE);
    assert_true(str_eq(r.credential_id, str_of(s->p.id, sizeof s->p.id)));
    assert_true(str_eq(r.public_key, buf_str(&s->p.cose)));
    assert_true(str_eq(r.aaguid, S("aaguid-aaguid-aa")));
    assert_int_equal(r.algorithm, COSE_ES256);
    assert_int_equal(r.sign_count, 7);
    assert_true(r.is_verified && r.is_backup_eligible && !r.is_backed_up);
    assert_int_equal(register_with(s, &c, PACKED, &expected, &r), ERR_NONE);
    const struct ceremony with_extensions = {.flags = FLAG_USER_PRESENT, .extensions = S("\xa1\x61z\xf5")};
    assert_int_equal(register_with(s, &with_extensions, NONE, &expected, &r), ERR_NONE);
    assert_false(r.is_verified);
    const struct ceremony plain_origin = {.flags = FLAG_USER_PRESENT,
                                          .origin = S("http://localhost:8080"),
                                          .more = S(",\"crossOrigin\":false,\"other\":[1]")};
    assert_int_equal(register_with(s, &plain_origin, NONE, &expected, &r), ERR_NONE);
}

static void a_registration_that_is_not_what_was_asked_for_is_refused(void **state)
{
    struct scene *s = *state;
    struct webauthn_registered r;
    const struct ceremony wrong[] = {
        {.flags = 1, .type = S("webauthn.get")},
        {.flags = 1, .type = S("")},
        {.flags = 1, .challenge = S("0123456789abcdef0123456789abcdeF")},
        {.flags = 1, .challenge = S("0123456789abcdef")},
        {.flags = 1, .challenge = S("")},
        {.flags = 1, .origin = S("https://evil.example")},
        {.flags = 1, .origin = S("https://catalyst.example.com:443")},
        {.flags = 1, .origin = S("https://catalyst.example.com/")},
        {.flags = 1, .origin = S("https://catalyst.example.com.evil.example")},
        {.flags = 1, .origin = S("https://sub.catalyst.example.com")},
        {.flags = 1, .origin = S("http://catalyst.example.com")},
        {.flags = 1, .origin = S("HTTPS://catalyst.example.com")},
        {.flags = 1, .origin = S("null")},
        {.flags = 1, .more = S(",\"crossOrigin\":true")},
        {.flags = 1, .more = S(",\"crossOrigin\":\"false\"")},
        {.flags = 1, .more = S(",\"topOrigin\":\"https://evil.example\"")},
        {.flags = 1, .more = S(",\"origin\":\"https://evil.example\"")}, /* twice */
        {.flags = 1, .more = S(",\"x\":1}")},
        {.flags = 1, .rp = S("evil.example")},
        {.flags = 1, .rp = S("example.com")},
        {.flags = 0},
        {.flags = FLAG_USER_VERIFIED},
        {.flags = FLAG_USER_PRESENT | FLAG_BACKED_UP},
        {.flags = 1, .behind = S("z")},
        {.flags = 1, .behind = S("\xa0")},
        {.flags = 1, .extensions = S("\x80")},
        {.flags = 1, .extensions = S("")},
    };
    for (size_t i = 0; i < LENGTH_OF(wrong); i++)
        if (register_with(s, &wrong[i], NONE, &expected, &r) != ERR_INVALID)
            fail_msg("ceremony %zu passed", i);
    const struct ceremony good = {.flags = FLAG_USER_PRESENT};
    struct webauthn_expected x = expected;
    x.needs_verification = true;
    assert_int_equal(register_with(s, &good, NONE, &x, &r), ERR_INVALID);
    x = expected;
    x.algorithms = all + 1;
    x.n_algorithms = 2;
    assert_int_equal(register_with(s, &good, NONE, &x, &r), ERR_INVALID);
    for (enum statement t = NONE; t <= U2F; t++)
        assert_int_equal(register_with(s, &good, t, &expected, &r),
                         t == NONE || t == PACKED ? ERR_NONE : ERR_INVALID);
}

static void a_registration_that_is_cut_or_changed_anywhere_is_refused_or_means_the_same(void **state)
{
    struct scene *s = *state;
    struct webauthn_registered r;
    const struct ceremony c = {.flags = FLAG_USER_PRESENT};
    assert_int_equal(register_with(s, &c, PACKED, &expected, &r), ERR_NONE);
    for (size_t i = 0; i < s->object.len; i++)
        assert_int_equal(webauthn_register(&s->a, &expected, buf_str(&s->client),
                                           str_take(buf_str(&s->object), i), &r, &s->e),
                         ERR_INVALID);
    for (size_t i = 0; i < s->client.len; i++)
        assert_int_equal(webauthn_register(&s->a, &expected, str_take(buf_str(&s->client), i),
                                           buf_str(&s->object), &r, &s->e),
                         ERR_INVALID);
    /* All of it is under the signature of a self attestation. */
    for (size_t i = 0; i < s->object.len; i++) {
        s->object.p[i] ^= 1;
        assert_int_equal(
            webauthn_register(&s->a, &expected, buf_str(&s->client), buf_str(&s->object), &r, &s->e),
            ERR_INVALID);
        s->object.p[i] ^= 1;
    }
}

static void the_id_of_a_credential_has_16_to_1023_bytes(void **state)
{
    struct scene *s = *state;
    const size_t lens[] = {0, 15, 16, 1023, 1024, 65535};
    char id[1024] = {0};
    for (size_t i = 0; i < LENGTH_OF(lens); i++) {
        struct authenticator_data d;
        size_t len = lens[i];
        buf_clear(&s->authenticator);
        buf_add(&s->authenticator, str_of(zeros, 32));
        buf_add_char(&s->authenticator, FLAG_USER_PRESENT | FLAG_ATTESTED);
        buf_add(&s->authenticator, str_of(zeros, 4 + 16));
        buf_add_char(&s->authenticator, (char)(len >> 8));
        buf_add_char(&s->authenticator, (char)len);
        buf_add(&s->authenticator, str_of(id, len < sizeof id ? len : sizeof id));
        buf_add(&s->authenticator, buf_str(&s->p.cose));
        enum errc rc = authenticator_data_read(buf_str(&s->authenticator), &d, NULL);
        assert_int_equal(rc, len >= 16 && len <= 1023 ? ERR_NONE : ERR_INVALID);
    }
}

/* --- assertion --- */

static enum errc assert_with(struct scene *s, const struct ceremony *c,
                             const struct webauthn_credential *credential, bool needs_user_handle,
                             str user_handle, struct webauthn_asserted *out)
{
    uint8_t signature[1024];
    buf_clear(&s->client);
    buf_clear(&s->authenticator);
    put_client_data(&s->client, c, S("webauthn.get"));
    put_authenticator_data(&s->authenticator, c, NULL);
    const struct webauthn_assertion as = {
        .credential_id = str_of(s->p.id, sizeof s->p.id),
        .client_data = buf_str(&s->client),
        .authenticator_data = buf_str(&s->authenticator),
        .signature = passkey_sign_both(&s->p, buf_str(&s->authenticator), buf_str(&s->client), signature),
        .user_handle = user_handle,
    };
    return webauthn_assert(&s->a, &expected, credential, needs_user_handle, &as, out, &s->e);
}

static struct webauthn_credential credential_of(const struct passkey *p)
{
    return (struct webauthn_credential){
        .id = str_of(p->id, sizeof p->id), .public_key = buf_str(&p->cose), .user_handle = S("ada")};
}

static void an_assertion_by_each_kind_of_key_is_believed(void **state)
{
    struct scene *s = *state;
    for (size_t i = 0; i < LENGTH_OF(all); i++) {
        struct webauthn_asserted out;
        passkey_fini(&s->p);
        passkey_make(&s->p, all[i]);
        struct webauthn_credential credential = credential_of(&s->p);
        const struct ceremony c = {.flags = FLAG_USER_PRESENT | FLAG_USER_VERIFIED, .count = 1};
        assert_int_equal(assert_with(s, &c, &credential, false, S(""), &out), ERR_NONE);
        assert_int_equal(assert_with(s, &c, &credential, true, S("ada"), &out), ERR_NONE);
        assert_true(out.is_verified && !out.is_backed_up && !out.is_counter_behind);
        assert_int_equal(out.sign_count, 1);
    }
}

static void an_assertion_that_is_not_what_was_asked_for_is_refused(void **state)
{
    struct scene *s = *state;
    struct webauthn_asserted out;
    struct webauthn_credential credential = credential_of(&s->p), other = credential_of(&s->other);
    const struct ceremony good = {.flags = FLAG_USER_PRESENT};
    const struct ceremony wrong[] = {
        {.flags = 1, .type = S("webauthn.create")},
        {.flags = 1, .type = S("payment.get")},
        {.flags = 1, .challenge = S("0123456789abcdef0123456789abcdeF")},
        {.flags = 1, .origin = S("https://evil.example")},
        {.flags = 1, .more = S(",\"crossOrigin\":true")},
        {.flags = 1, .rp = S("evil.example")},
        {.flags = 0},
        {.flags = FLAG_USER_PRESENT | FLAG_BACKED_UP},
        {.flags = FLAG_USER_PRESENT | FLAG_BACKUP_ELIGIBLE}, /* it was not, when it was registered */
        {.flags = 1, .behind = S("z")},
    };
    assert_int_equal(assert_with(s, &good, &credential, false, S("ada"), &out), ERR_NONE);
    for (size_t i = 0; i < LENGTH_OF(wrong); i++)
        if (assert_with(s, &wrong[i], &credential, false, S("ada"), &out) != ERR_INVALID)
            fail_msg("ceremony %zu passed", i);
    assert_int_equal(assert_with(s, &good, &other, false, S("ada"), &out), ERR_INVALID); /* another's key */
    assert_int_equal(assert_with(s, &good, &credential, false, S("eve"), &out),
                     ERR_INVALID); /* another's handle */
    assert_int_equal(assert_with(s, &good, &credential, true, S(""), &out), ERR_INVALID); /* nobody's */
    credential.id = S("another id, of as many bytes....");
    assert_int_equal(assert_with(s, &good, &credential, false, S("ada"), &out), ERR_INVALID);
    /* With a credential inside, as at a registration. */
    credential = credential_of(&s->p);
    buf_clear(&s->authenticator);
    uint8_t signature[1024];
    put_authenticator_data(&s->authenticator, &good, &s->p);
    const struct webauthn_assertion as = {
        credential.id, buf_str(&s->client), buf_str(&s->authenticator),
        passkey_sign_both(&s->p, buf_str(&s->authenticator), buf_str(&s->client), signature), S("ada")};
    assert_int_equal(webauthn_assert(&s->a, &expected, &credential, false, &as, &out, &s->e), ERR_INVALID);
}

static void a_counter_that_does_not_rise_is_told(void **state)
{
    struct scene *s = *state;
    const struct {
        uint32_t stored, given;
        bool is_behind;
    } rows[] = {{0, 0, false},
                {0, 1, false},
                {5, 6, false},
                {5, 5, true},
                {5, 4, true},
                {5, 0, true},
                {0xffffffff, 0xffffffff, true},
                {1, 0xffffffff, false}};
    for (size_t i = 0; i < LENGTH_OF(rows); i++) {
        struct webauthn_asserted out;
        struct webauthn_credential credential = credential_of(&s->p);
        credential.sign_count = rows[i].stored;
        const struct ceremony c = {.flags = FLAG_USER_PRESENT, .count = rows[i].given};
        assert_int_equal(assert_with(s, &c, &credential, false, S(""), &out), ERR_NONE);
        assert_int_equal(out.is_counter_behind, rows[i].is_behind);
        assert_int_equal(out.sign_count, rows[i].given);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical_cbor_is_read),
        cmocka_unit_test(any_other_cbor_is_refused),
        cmocka_unit_test(cbor_that_is_cut_anywhere_is_refused),
        cmocka_unit_test(keys_of_all_three_kinds_verify_what_they_signed_and_nothing_else),
        cmocka_unit_test(only_points_of_the_curve_in_their_one_form_are_keys),
        cmocka_unit_test(weak_keys_of_rsa_are_refused),
        cmocka_unit_test(points_of_small_order_on_ed25519_are_no_keys),
        cmocka_unit_test_setup_teardown(a_registration_gives_the_credential, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_registration_that_is_not_what_was_asked_for_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_registration_that_is_cut_or_changed_anywhere_is_refused_or_means_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_id_of_a_credential_has_16_to_1023_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_assertion_by_each_kind_of_key_is_believed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_assertion_that_is_not_what_was_asked_for_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_counter_that_does_not_rise_is_told, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
