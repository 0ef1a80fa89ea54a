/* Keys of the instance: made once, the same for all nodes, replaced in time, and listed as long as they count. On both
 * engines. */
#include "store_fixture.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <pthread.h>

#include "core/signing.h"
#include "core/signing/p256.h"

#define START_US (1795500000LL * USEC_PER_S)
#define ROTATION_US (90 * USEC_PER_DAY)
#define HOUR_US (3600LL * USEC_PER_S)

SQL(test_signing_rows, DB_MAIN, SQL_INSTANCE, "",
    "SELECT secret, retired_us FROM signing_keys ORDER BY generation");

struct scene {
    struct store_fixture *f;
    struct secrets *secrets;
    struct events *log;
    struct arena a;
    err e;
};

static const char *const no_environment[] = {NULL};

static struct config *configure(struct scene *s, const char *algorithm)
{
    static const struct option_table *const tables[] = {&secrets_options, &signing_options};
    const struct config_setting flags[] = {{S("signing.access_algorithm"), str_c(algorithm), S("")}};
    struct config_source source = {.environ = no_environment,
                                   .flags = flags,
                                   .n_flags = 1,
                                   .tables = tables,
                                   .n_tables = LENGTH_OF(tables)};
    struct config *c = NULL;
    struct buf problems;
    buf_init(&problems, 1 << 16);
    if (config_load(&s->a, &source, &c, &problems, &s->e)) fail_msg("%s", s->e.msg);
    buf_fini(&problems);
    return c;
}

static int set_up(void **state)
{
    if (fixture_set_up(state)) return -1;
    struct scene *s = calloc(1, sizeof *s);
    uint8_t people[32];
    s->f = *state;
    *state = s;
    arena_init(&s->a, 16u << 20, 0);
    clock_freeze(START_US, START_US);
    if (secrets_open(&s->secrets, configure(s, "EdDSA"), s->f->dir, &s->e)) return -1;
    secrets_derive(s->secrets, "people", people);
    return events_new(&s->log, s->f->store, people, &s->e) ? -1 : 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    clock_unfreeze();
    events_free(s->log);
    secrets_free(s->secrets);
    arena_fini(&s->a);
    *state = s->f;
    free(s);
    return fixture_tear_down(state);
}

/* A node of its own on the database. */
static struct signing *node(struct scene *s, const char *algorithm)
{
    struct signing *node = NULL;
    if (signing_new(&node, s->f->store, s->secrets, configure(s, algorithm), &s->e)) fail_msg("%s", s->e.msg);
    return node;
}

struct signature {
    char kid[SIGNING_KID_LEN + 1];
    uint8_t sig[SIGNING_SIGNATURE_LEN];
};

static struct signature sign(struct scene *s, struct signing *node, enum signing_use use, usec now)
{
    struct signature out;
    if (signing_sign(node, use, now, S("text"), out.kid, out.sig, &s->e)) fail_msg("%s", s->e.msg);
    return out;
}

static unsigned n_public(struct scene *s, struct signing *node, enum signing_use use, usec now)
{
    struct signing_public *list;
    unsigned n;
    if (signing_publics(node, use, &s->a, now, &list, &n, &s->e)) fail_msg("%s", s->e.msg);
    return n;
}

static enum errc rows_unit(struct tx *tx, void *ctx, err *e)
{
    struct scene *s = ctx;
    struct rows rows;
    enum errc rc = tx_query(tx, &s->a, &test_signing_rows, NULL, 0, &rows, e);
    for (unsigned i = 0; rc == ERR_NONE && i < rows.n; i++) {
        const struct val *row = row_at(&rows, i);
        assert_true((val_int(&row[1]) == NO_VALUE) == (val_str(&row[0]).p != NULL));
    }
    return rc;
}

static void all_nodes_sign_with_one_key_and_know_it(void **state)
{
    struct scene *s = *state;
    struct signing *a = node(s, "EdDSA"), *b = node(s, "EdDSA");
    struct signature one = sign(s, a, SIGNING_ACCESS, START_US), two = sign(s, b, SIGNING_ACCESS, START_US),
                     log = sign(s, b, SIGNING_LOG, START_US);
    struct signing_public k;
    assert_string_equal(one.kid, two.kid);
    assert_memory_equal(one.sig, two.sig, sizeof one.sig);
    assert_string_not_equal(one.kid, log.kid);
    assert_int_equal(signing_find(b, SIGNING_ACCESS, str_c(one.kid), START_US, &k, &s->e), ERR_NONE);
    assert_int_equal(k.algorithm, SIGNING_ED25519);
    assert_true(ed25519_verify(k.key, S("text"), one.sig));
    assert_false(ed25519_verify(k.key, S("other"), one.sig));
    /* A key has one use. */
    assert_int_equal(signing_find(b, SIGNING_ACCESS, str_c(log.kid), START_US, &k, &s->e), ERR_NOT_FOUND);
    assert_int_equal(signing_find(b, SIGNING_ACCESS, S("nobody"), START_US, &k, &s->e), ERR_NOT_FOUND);
    signing_free(a);
    signing_free(b);
}

struct racer {
    struct scene *s;
    struct signing *node;
    pthread_barrier_t *start;
    struct signature out;
    pthread_t thread;
    err e;
    enum errc rc;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    pthread_barrier_wait(r->start);
    r->rc = signing_sign(r->node, SIGNING_ACCESS, START_US, S("text"), r->out.kid, r->out.sig, &r->e);
    return NULL;
}

static void a_key_is_made_once_whoever_needs_it_first(void **state)
{
    struct scene *s = *state;
    struct racer racers[6];
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, LENGTH_OF(racers));
    for (unsigned i = 0; i < LENGTH_OF(racers); i++) {
        racers[i] = (struct racer){.s = s, .node = node(s, "EdDSA"), .start = &start};
        pthread_create(&racers[i].thread, NULL, race, &racers[i]);
    }
    for (unsigned i = 0; i < LENGTH_OF(racers); i++) {
        pthread_join(racers[i].thread, NULL);
        if (racers[i].rc) fail_msg("%s", racers[i].e.msg);
        assert_string_equal(racers[i].out.kid, racers[0].out.kid);
    }
    assert_int_equal(n_public(s, racers[0].node, SIGNING_ACCESS, START_US), 1);
    for (unsigned i = 0; i < LENGTH_OF(racers); i++)
        signing_free(racers[i].node);
    pthread_barrier_destroy(&start);
}

static void a_key_is_replaced_in_time_and_known_until_its_tokens_have_expired(void **state)
{
    struct scene *s = *state;
    struct signing *a = node(s, "EdDSA"), *b = node(s, "EdDSA");
    struct signature first = sign(s, a, SIGNING_ACCESS, START_US), log = sign(s, a, SIGNING_LOG, START_US);
    struct signing_public k;
    usec later = START_US + ROTATION_US;
    assert_string_equal(sign(s, b, SIGNING_ACCESS, later - 1).kid, first.kid);
    clock_freeze(later, later);
    struct signature second = sign(s, b, SIGNING_ACCESS, later), log_second = sign(s, b, SIGNING_LOG, later);
    assert_string_not_equal(second.kid, first.kid);
    assert_string_not_equal(log_second.kid, log.kid);
    assert_string_equal(sign(s, a, SIGNING_ACCESS, later).kid, second.kid);
    assert_int_equal(n_public(s, a, SIGNING_ACCESS, later), 2);
    assert_int_equal(signing_find(a, SIGNING_ACCESS, str_c(first.kid), later + HOUR_US - 1, &k, &s->e),
                     ERR_NONE);
    assert_int_equal(signing_find(a, SIGNING_ACCESS, str_c(first.kid), later + HOUR_US, &k, &s->e),
                     ERR_NOT_FOUND);
    assert_int_equal(n_public(s, a, SIGNING_ACCESS, later + HOUR_US), 1);
    /* Heads of the log are verified years later. */
    assert_int_equal(signing_find(a, SIGNING_LOG, str_c(log.kid), later + 3650 * USEC_PER_DAY, &k, &s->e),
                     ERR_NONE);
    assert_true(ed25519_verify(k.key, S("text"), log.sig));
    /* A retired private half is nowhere any more. */
    assert_int_equal(db_read(store_db(s->f->store, DB_MAIN), rows_unit, s, &s->e), ERR_NONE);
    clock_freeze(later + HOUR_US, later + HOUR_US);
    assert_int_equal(db_write(store_db(s->f->store, DB_MAIN), signing_tidy, NULL, &s->e), ERR_NONE);
    assert_int_equal(n_public(s, b, SIGNING_ACCESS, later + HOUR_US), 1);
    assert_int_equal(n_public(s, b, SIGNING_LOG, later + HOUR_US), 2);
    signing_free(a);
    signing_free(b);
}

struct theft {
    struct scene *s;
    struct signing_fresh fresh;
    struct event ev;
};

static enum errc theft_unit(struct tx *tx, void *ctx, err *e)
{
    struct theft *t = ctx;
    return tx_signing_rotate(tx, &t->s->a, SIGNING_ACCESS, &t->fresh, true, &t->ev, e);
}

static void a_stolen_key_counts_no_more_at_once(void **state)
{
    struct scene *s = *state;
    struct signing *a = node(s, "EdDSA");
    struct signature first = sign(s, a, SIGNING_ACCESS, START_US);
    struct signing_public k;
    assert_int_equal(signing_rotate(a, SIGNING_ACCESS, START_US + 1, &s->e), ERR_NONE);
    struct signature second = sign(s, a, SIGNING_ACCESS, START_US + 2);
    struct theft t = {.s = s};
    t.ev = (struct event){
        .id = uuid7_make(START_US), .at_us = START_US + 3, .actor = ACTOR_SYSTEM, .status = S("success")};
    assert_int_equal(signing_prepare(a, &s->a, SIGNING_ACCESS, START_US + 3, &t.fresh, &s->e), ERR_NONE);
    assert_int_equal(db_write(store_db(s->f->store, DB_MAIN), theft_unit, &t, &s->e), ERR_NONE);
    signing_changed(a);
    assert_int_equal(signing_find(a, SIGNING_ACCESS, str_c(first.kid), START_US + 4, &k, &s->e),
                     ERR_NOT_FOUND);
    assert_int_equal(signing_find(a, SIGNING_ACCESS, str_c(second.kid), START_US + 4, &k, &s->e),
                     ERR_NOT_FOUND);
    assert_string_equal(sign(s, a, SIGNING_ACCESS, START_US + 4).kid, t.fresh.public_half.kid);
    assert_int_equal(n_public(s, a, SIGNING_ACCESS, START_US + 4), 1);
    signing_free(a);
}

/* By OpenSSL's own reader of DER, from r and s. */
static bool p256_verifies(const struct signing_public *k, str text, const uint8_t sig[64])
{
    uint8_t point[65] = {4}, *der = NULL;
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char[]){"P-256"}, 0),
                           OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point),
                           OSSL_PARAM_construct_end()};
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    EVP_PKEY *key = NULL;
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    ECDSA_SIG *pair = ECDSA_SIG_new();
    memcpy(point + 1, k->key, 64);
    ECDSA_SIG_set0(pair, BN_bin2bn(sig, 32, NULL), BN_bin2bn(sig + 32, 32, NULL));
    int len = i2d_ECDSA_SIG(pair, &der);
    bool is_right = EVP_PKEY_fromdata_init(c) == 1 &&
                    EVP_PKEY_fromdata(c, &key, EVP_PKEY_PUBLIC_KEY, params) == 1 &&
                    EVP_DigestVerifyInit(digest, NULL, EVP_sha256(), NULL, key) == 1 &&
                    EVP_DigestVerify(digest, der, (size_t)len, (const uint8_t *)text.p, text.len) == 1;
    OPENSSL_free(der);
    ECDSA_SIG_free(pair);
    EVP_MD_CTX_free(digest);
    EVP_PKEY_free(key);
    EVP_PKEY_CTX_free(c);
    return is_right;
}

static void the_next_key_can_be_of_another_algorithm(void **state)
{
    struct scene *s = *state;
    struct signing *a = node(s, "EdDSA"), *b = node(s, "ES256");
    struct signature first = sign(s, a, SIGNING_ACCESS, START_US);
    struct signing_public k;
    assert_string_equal(sign(s, b, SIGNING_ACCESS, START_US).kid, first.kid);
    assert_int_equal(signing_rotate(b, SIGNING_ACCESS, START_US + 1, &s->e), ERR_NONE);
    struct signature second = sign(s, b, SIGNING_ACCESS, START_US + 2);
    assert_int_equal(signing_find(a, SIGNING_ACCESS, str_c(second.kid), START_US + 2, &k, &s->e), ERR_NONE);
    assert_int_equal(k.algorithm, SIGNING_P256);
    assert_true(p256_verifies(&k, S("text"), second.sig));
    assert_false(p256_verifies(&k, S("other"), second.sig));
    assert_int_equal(
        signing_find(b, SIGNING_LOG, str_c(sign(s, b, SIGNING_LOG, START_US).kid), START_US, &k, &s->e),
        ERR_NONE);
    assert_int_equal(k.algorithm, SIGNING_ED25519); /* the log's are always of the same */
    signing_free(a);
    signing_free(b);
}

int main(void)
{
#define ON_SCENE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        ON_SCENE(all_nodes_sign_with_one_key_and_know_it),
        ON_SCENE(a_key_is_made_once_whoever_needs_it_first),
        ON_SCENE(a_key_is_replaced_in_time_and_known_until_its_tokens_have_expired),
        ON_SCENE(a_stolen_key_counts_no_more_at_once),
        ON_SCENE(the_next_key_can_be_of_another_algorithm),
    };
    return RUN_ON_BOTH(tests);
}
