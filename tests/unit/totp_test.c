/* Codes by time and recovery codes: RFC 6238's vectors, the window, one use, base32. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/identity/factors/factors.h"

static const str seed = STR_LIT("12345678901234567890");
#define STEP_US (TOTP_STEP_S * USEC_PER_S)

static void the_vectors_of_rfc_6238_come_out(void **state)
{
    (void)state;
    const struct {
        int64_t time_s;
        const char *code; /* the last six of the eight digits of appendix B */
    } rows[] = {{59, "287082"},         {1111111109, "081804"}, {1111111111, "050471"},
                {1234567890, "005924"}, {2000000000, "279037"}, {20000000000, "353130"}};
    for (size_t i = 0; i < LENGTH_OF(rows); i++) {
        char code[TOTP_DIGITS + 1];
        totp_code(seed, rows[i].time_s / TOTP_STEP_S, code);
        assert_string_equal(code, rows[i].code);
        assert_int_equal(totp_find(seed, str_c(code), rows[i].time_s * USEC_PER_S, NO_VALUE),
                         rows[i].time_s / TOTP_STEP_S);
    }
}

static void a_code_is_good_from_one_step_before_to_one_after(void **state)
{
    (void)state;
    char code[TOTP_DIGITS + 1];
    int64_t step = 41152263;
    totp_code(seed, step, code);
    const struct {
        usec now;
        bool is_good;
    } rows[] = {{(step - 1) * STEP_US - 1, false},
                {(step - 1) * STEP_US, true},
                {step * STEP_US, true},
                {(step + 2) * STEP_US - 1, true},
                {(step + 2) * STEP_US, false}};
    for (size_t i = 0; i < LENGTH_OF(rows); i++)
        assert_int_equal(totp_find(seed, str_c(code), rows[i].now, NO_VALUE),
                         rows[i].is_good ? step : NO_VALUE);
}

static void a_code_of_a_step_that_was_used_or_passed_is_no_code(void **state)
{
    (void)state;
    char code[TOTP_DIGITS + 1];
    int64_t step = 41152263;
    totp_code(seed, step, code);
    assert_int_equal(totp_find(seed, str_c(code), step * STEP_US, step - 1), step);
    assert_int_equal(totp_find(seed, str_c(code), step * STEP_US, step), NO_VALUE);
    assert_int_equal(totp_find(seed, str_c(code), step * STEP_US, step + 1), NO_VALUE);
}

static void what_is_no_code_is_wrong(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 10000, 0);
    const str wrong[] = {S(""),         S("287083"), S("28708"),       S("2870822"),
                         S("94287082"), S("28708x"), S("\0\0\0\0\0\0")};
    for (size_t i = 0; i < LENGTH_OF(wrong); i++)
        assert_int_equal(totp_find(seed, totp_typed(&a, wrong[i]), 59 * USEC_PER_S, NO_VALUE), NO_VALUE);
    assert_int_equal(totp_find(seed, totp_typed(&a, S(" 287 082 ")), 59 * USEC_PER_S, NO_VALUE), 1);
    assert_int_equal(totp_find(S("another seed, as long"), S("287082"), 59 * USEC_PER_S, NO_VALUE), NO_VALUE);
    arena_fini(&a);
}

static void base32_is_that_of_rfc_4648(void **state)
{
    (void)state;
    const struct {
        const char *plain, *coded;
    } rows[] = {{"", ""},
                {"f", "MY"},
                {"fo", "MZXQ"},
                {"foo", "MZXW6"},
                {"foob", "MZXW6YQ"},
                {"fooba", "MZXW6YTB"},
                {"foobar", "MZXW6YTBOI"},
                {"12345678901234567890", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"}};
    for (size_t i = 0; i < LENGTH_OF(rows); i++) {
        char out[BASE32_SIZE(20)];
        base32_encode(rows[i].plain, strlen(rows[i].plain), out);
        assert_string_equal(out, rows[i].coded);
    }
}

static void the_uri_names_account_and_issuer(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 10000, 0);
    str uri = totp_uri(&a, S("Catalyst"), S("ada&eve@example.com"), S("MZXW6"));
    assert_true(str_eq(uri, S("otpauth://totp/Catalyst:ada%26eve%40example.com?secret=MZXW6&issuer=Catalyst&"
                              "algorithm=SHA1&digits=6&period=30")));
    arena_fini(&a);
}

static void a_recovery_code_is_the_same_however_it_is_typed(void **state)
{
    (void)state;
    char code[RECOVERY_CODE_TEXT_LEN + 1], other[RECOVERY_CODE_TEXT_LEN + 1], typed[64] = " ";
    uint8_t hash[SHA256_LEN], again[SHA256_LEN];
    recovery_code_make(code, hash);
    recovery_code_make(other, again);
    assert_string_not_equal(code, other);
    assert_int_equal(strlen(code), 29);
    for (size_t i = 0; i <= strlen(code); i++)
        typed[1 + i] = code[i] == '-'                     ? ' '
                       : code[i] >= 'A' && code[i] <= 'Z' ? (char)(code[i] + 32)
                                                          : code[i];
    recovery_code_hash(str_c(typed), again);
    assert_memory_equal(hash, again, sizeof hash);
    recovery_code_hash(str_take(str_c(code), 28), again);
    assert_memory_not_equal(hash, again, sizeof hash);
    code[28] = code[28] == 'A' ? 'B' : 'A';
    recovery_code_hash(str_c(code), again);
    assert_memory_not_equal(hash, again, sizeof hash);
    recovery_code_hash(S("a text that is much longer than any recovery code is, and goes on and on"), again);
    assert_memory_not_equal(hash, again, sizeof hash);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_rfc_6238_come_out),
        cmocka_unit_test(a_code_is_good_from_one_step_before_to_one_after),
        cmocka_unit_test(a_code_of_a_step_that_was_used_or_passed_is_no_code),
        cmocka_unit_test(what_is_no_code_is_wrong),
        cmocka_unit_test(base32_is_that_of_rfc_4648),
        cmocka_unit_test(the_uri_names_account_and_issuer),
        cmocka_unit_test(a_recovery_code_is_the_same_however_it_is_typed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
