/* Secrets at rest: where the master key comes from, and that a sealed value opens only in its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/log.h"
#include "core/secrets.h"

#define KEY_A "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define KEY_B "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

struct state {
    char dir[40], path[80];
    struct arena a;
    struct config *config;
    struct secrets *s;
    err e;
};

SEALED_FOR_DAYS(test_providers, "providers", "api_key");
SEALED_FOR_DAYS(test_values, "t", "c");

static const uuid row = {{1, 2, 3}}, other_row = {{1, 2, 4}};

static void configure(struct state *s, const char *key, const char *value)
{
    static const struct option_table *const tables[] = {&secrets_options};
    const struct config_setting flags[] = {{str_c(key), str_c(value), S("")}};
    struct config_source source = {.flags = flags, .n_flags = key ? 1 : 0, .tables = tables, .n_tables = 1};
    struct buf problems;
    buf_init(&problems, 10000);
    assert_int_equal(config_load(&s->a, &source, &s->config, &problems, &s->e), ERR_NONE);
    buf_fini(&problems);
}

static int set_up(void **state)
{
    struct state *s = calloc(1, sizeof *s);
    snprintf(s->dir, sizeof s->dir, "/tmp/catalyst_secrets_XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    snprintf(s->path, sizeof s->path, "%s/master.key", s->dir);
    arena_init(&s->a, 1 << 20, 0);
    configure(s, NULL, NULL);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct state *s = *state;
    secrets_free(s->s);
    arena_fini(&s->a);
    unlink(s->path);
    assert_int_equal(rmdir(s->dir), 0); /* no half-made key is left behind */
    free(s);
    return 0;
}

static void write_key(struct state *s, const char *text, mode_t mode)
{
    FILE *f = fopen(s->path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(s->path, mode), 0);
}

static void reopen(struct state *s)
{
    secrets_free(s->s);
    s->s = NULL;
    assert_int_equal(secrets_open(&s->s, s->config, s->dir, &s->e), ERR_NONE);
}

static void refused(struct state *s, enum errc code)
{
    secrets_free(s->s);
    assert_int_equal(secrets_open(&s->s, s->config, s->dir, &s->e), code);
    assert_null(s->s);
}

static void a_key_is_made_at_the_first_start_and_kept(void **state)
{
    struct state *s = *state;
    struct stat st;
    uint8_t first[32], second[32];
    reopen(s);
    assert_int_equal(stat(s->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_size, 65);
    secrets_derive(s->s, "csrf", first);
    reopen(s);
    secrets_derive(s->s, "csrf", second);
    assert_memory_equal(first, second, 32);
    secrets_derive(s->s, "people", second);
    assert_memory_not_equal(first, second, 32);
}

static void a_damaged_or_readable_key_file_is_refused(void **state)
{
    struct state *s = *state;
    write_key(s, "0001", 0600);
    refused(s, ERR_CORRUPT);
    assert_null(strstr(s->e.msg, "0001"));
    write_key(s, KEY_A "\n", 0640);
    refused(s, ERR_FORBIDDEN);
    assert_non_null(strstr(s->e.msg, "chmod 600"));
    write_key(s, KEY_A "\n", 0600);
    reopen(s);
}

static void the_configured_key_comes_first(void **state)
{
    struct state *s = *state;
    uint8_t by_text[32], by_file[32], by_credential[32];
    configure(s, "security.master_key", KEY_A);
    reopen(s);
    secrets_derive(s->s, "x", by_text);
    write_key(s, KEY_A, 0600);
    configure(s, "security.master_key_file", s->path);
    reopen(s);
    secrets_derive(s->s, "x", by_file);
    assert_memory_equal(by_text, by_file, 32);
    unlink(s->path);
    refused(s, ERR_CONFIG);
    configure(s, "security.master_key", "12");
    refused(s, ERR_CONFIG);

    char credential[80];
    snprintf(credential, sizeof credential, "%s/catalyst_master_key", s->dir);
    write_key(s, KEY_A, 0400);
    assert_int_equal(rename(s->path, credential), 0);
    setenv("CREDENTIALS_DIRECTORY", s->dir, 1);
    configure(s, NULL, NULL);
    reopen(s);
    unsetenv("CREDENTIALS_DIRECTORY");
    unlink(credential);
    secrets_derive(s->s, "x", by_credential);
    assert_memory_equal(by_text, by_credential, 32);
    assert_int_not_equal(access(s->path, F_OK), 0); /* none was made beside it */
}

static void a_value_opens_in_its_place_only(void **state)
{
    struct state *s = *state;
    str sealed, plain, again;
    reopen(s);
    assert_int_equal(
        secret_seal(s->s, &s->a, "providers", &row, "api_key", S("sk-very-secret"), &sealed, &s->e),
        ERR_NONE);
    assert_int_equal(sealed.len, strlen("sk-very-secret") + SECRET_OVERHEAD);
    assert_true(str_find(sealed, S("secret")) < 0);
    assert_int_equal(secret_open(s->s, &s->a, "providers", &row, "api_key", sealed, &plain, &s->e), ERR_NONE);
    assert_true(str_eq(plain, S("sk-very-secret")));
    assert_int_equal(
        secret_seal(s->s, &s->a, "providers", &row, "api_key", S("sk-very-secret"), &again, &s->e), ERR_NONE);
    assert_false(str_eq(sealed, again));
    assert_int_equal(secret_open(s->s, &s->a, "providers", &other_row, "api_key", sealed, &plain, &s->e),
                     ERR_CORRUPT);
    assert_int_equal(secret_open(s->s, &s->a, "provider", &row, "sapi_key", sealed, &plain, &s->e),
                     ERR_CORRUPT);
    assert_int_equal(secret_open(s->s, &s->a, "providers", &row, "secret", sealed, &plain, &s->e),
                     ERR_CORRUPT);
    assert_int_equal(secret_seal(s->s, &s->a, "t", &row, "c", S(""), &sealed, &s->e), ERR_NONE);
    assert_int_equal(secret_open(s->s, &s->a, "t", &row, "c", sealed, &plain, &s->e), ERR_NONE);
    assert_int_equal(plain.len, 0);
}

static void every_changed_bit_and_every_cut_is_noticed(void **state)
{
    struct state *s = *state;
    str sealed, plain;
    reopen(s);
    assert_int_equal(secret_seal(s->s, &s->a, "t", &row, "c", S("abc"), &sealed, &s->e), ERR_NONE);
    char *bytes = (char *)(uintptr_t)sealed.p;
    for (size_t bit = 0; bit < sealed.len * 8; bit++) {
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        assert_int_equal(secret_open(s->s, &s->a, "t", &row, "c", sealed, &plain, &s->e), ERR_CORRUPT);
        bytes[bit / 8] ^= (char)(1 << bit % 8);
    }
    for (size_t len = 0; len < sealed.len; len++)
        assert_int_equal(secret_open(s->s, &s->a, "t", &row, "c", str_take(sealed, len), &plain, &s->e),
                         ERR_CORRUPT);
    assert_int_equal(secret_open(s->s, &s->a, "t", &row, "c", sealed, &plain, &s->e), ERR_NONE);
}

static void another_master_key_says_so(void **state)
{
    struct state *s = *state;
    str sealed, plain;
    configure(s, "security.master_key", KEY_A);
    reopen(s);
    assert_int_equal(secret_seal(s->s, &s->a, "t", &row, "c", S("abc"), &sealed, &s->e), ERR_NONE);
    configure(s, "security.master_key", KEY_B);
    reopen(s);
    assert_int_equal(secret_open(s->s, &s->a, "t", &row, "c", sealed, &plain, &s->e), ERR_CORRUPT);
    assert_non_null(strstr(s->e.msg, "another master key"));
}

/* RFC 5869, appendix A.3: SHA-256 with neither salt nor info. */
static void hkdf_gives_the_published_bytes(void **state)
{
    uint8_t key[22], out[42], wanted[42];
    (void)state;
    memset(key, 0x0b, sizeof key);
    assert_true(
        hex_decode(S("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"),
                   wanted, 42));
    hkdf_sha256(str_of((char *)key, sizeof key), S(""), out, sizeof out);
    assert_memory_equal(out, wanted, 42);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    log_set_fd(-1);
    const struct CMUnitTest tests[] = {
        T(a_key_is_made_at_the_first_start_and_kept),
        T(a_damaged_or_readable_key_file_is_refused),
        T(the_configured_key_comes_first),
        T(a_value_opens_in_its_place_only),
        T(every_changed_bit_and_every_cut_is_noticed),
        T(another_master_key_says_so),
        cmocka_unit_test(hkdf_gives_the_published_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
