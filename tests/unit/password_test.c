/* Passwords: what is refused, NFC, hashing, and the gate in front of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka.h needs the ones above */
#include <cmocka.h>

#include "core/identity/password.h"

static const str nobody[1] = {STR_LIT("")};

static const char *problem(const char *password, const str *words, unsigned n)
{
    const char *message = NULL, *code = password_problem(str_c(password), PASSWORD_MIN, words, n, &message);
    assert_true((code != NULL) == (message != NULL));
    return code;
}

static void length_counts_code_points_from_15_to_1024(void **state)
{
    (void)state;
    char text[PASSWORD_MAX + 2];
    assert_string_equal(problem("vozkjg#erntwd7", nobody, 0), "too_short");
    assert_null(problem("vozkjg#erntwd7q", nobody, 0));
    /* 15 code points, 30 bytes */
    assert_null(problem("\xc3\xa9\xc3\xa0\xc3\xbc\xc3\xb6\xc3\xa4\xc3\xaa\xc3\xae\xc3\xb4\xc3\xbb\xc3\xa2\xc3"
                        "\xa7\xc3\xb1\xc3\xa5\xc3\xb8\xc3\xa6",
                        nobody, 0));
    assert_string_equal(
        problem("\xc3\xa9\xc3\xa0\xc3\xbc\xc3\xb6\xc3\xa4\xc3\xaa\xc3\xae\xc3\xb4", nobody, 0), "too_short");
    for (size_t i = 0; i < sizeof text - 1; i++)
        text[i] = "kdfzg7wq2h#vx"[i * 7 % 13];
    text[sizeof text - 1] = '\0';
    assert_string_equal(problem(text, nobody, 0), "too_long");
    text[128] = '\0';
    assert_null(problem(text, nobody, 0));
}

static void what_lists_of_passwords_hold_is_refused(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "passwordpassword",         "Password1234567",      "P@ssw0rd!P@ssw0rd!",  "qwertyuiopasdfgh",
        "QwertyUiopAsdfGhjkl",      "123456789012345",      "1234567890123456789", "111111111111111",
        "aaaaaaaaaaaaaaaaaaaa",     "abcdefghijklmnop",     "1q2w3e4r5t6y7u8i",    "1qaz2wsx3edc4rfv",
        "iloveyouiloveyou",         "i love you forever",   "letmeinletmein1",     "football12345678",
        "princessprincess",         "thequickbrownfox",     "mynameisjohnsmith",   "dragon-monkey-2024",
        "welcome2024welcome",       "Summer2024Summer2024", "adminadminadmin",     "qwertzuiopasdfg",
        "123qweasdzxc123qweasdzxc", "01011990password",     "changemechangeme",    "trustno1trustno1",
        "111222333444555",          "zxcvbnmasdfghjkl",     "987654321098765",     "michael.jordan.23",
        "starwarsstarwars!",        "l3tm31n-l3tm31n",      "catalystcatalyst",
    };
    for (size_t i = 0; i < LENGTH_OF(refused); i++) {
        const char *code = problem(refused[i], nobody, 0);
        if (!code || strcmp(code, "too_common") != 0)
            fail_msg("'%s' passed: %s", refused[i], code ? code : "no problem");
    }
}

static void every_pair_of_common_words_is_refused(void **state)
{
    (void)state;
    static const char *const words[] = {
#define W(word) word,
#include "core/identity/password_words.def"
#undef W
    };
    unsigned n = 0;
    char text[128];
    for (size_t i = 0; i < LENGTH_OF(words); i++)
        for (size_t k = i % 7; k < LENGTH_OF(words); k += 149) {
            snprintf(text, sizeof text, "%s%s%04zu%s", words[i], words[k], k * 37 % 10000, words[i]);
            if (strlen(text) < PASSWORD_MIN) continue;
            n++;
            if (!problem(text, nobody, 0)) fail_msg("'%s' passed", text);
        }
    assert_true(n > 3000);
}

static void names_and_addresses_of_the_person_and_the_workspace_are_refused(void **state)
{
    (void)state;
    const str words[] = {S("Wilhelmina Xanthopoulos"), S("w.xanthopoulos@zyxware.example"),
                         S("Zyxware Works")};
    assert_null(problem("WilhelminaXanthopoulos", nobody, 0));
    assert_string_equal(problem("WilhelminaXanthopoulos", words, LENGTH_OF(words)), "too_common");
    assert_string_equal(problem("xanthopoulos-1987", words, LENGTH_OF(words)), "too_common");
    assert_string_equal(problem("ZYXWARE-zyxware-99", words, LENGTH_OF(words)), "too_common");
    assert_string_equal(problem("xanth0p0ul0sCatalyst!", words, LENGTH_OF(words)), "too_common");
    assert_null(problem("xanthopoulos likes kumquat marmalade", words, LENGTH_OF(words)));
}

static void phrases_and_random_texts_pass(void **state)
{
    (void)state;
    static const char japanese[] =
        "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe3\x81\xae\xe3\x83\x91\xe3\x82\xb9\xe3\x83\xaf\xe3\x83\xbc\xe3"
        "\x83\x89\xe3\x81\xaf\xe9\x95\xb7\xe3\x81\x84\xe3\x81\xa7\xe3\x81\x99\xe3\x81\xad";
    const char *const fine[] = {
        "correct horse battery staple",
        "hollow turnip engraves cobalt",
        "vK8#pLq2!zRt9Wmx",
        "seven yawning plumbers",
        "Die Gurke tanzt um Mitternacht",
        japanese,
        "                kjvgwpzq",
        "letter boxes rarely apologise",
        "83920174650192837",
        "monkey dragon coffee river pumpkin unicorn",
    };
    for (size_t i = 0; i < LENGTH_OF(fine); i++) {
        const char *code = problem(fine[i], nobody, 0);
        if (code) fail_msg("'%s' is refused: %s", fine[i], code);
    }
}

static void composed_and_decomposed_letters_are_the_same_password(void **state)
{
    (void)state;
    struct arena a;
    str composed, decomposed, with_nul;
    err e = {0};
    arena_init(&a, 1 << 20, 0);
    assert_int_equal(password_normalize(&a, S("caf\xc3\xa9"), &composed, &e), ERR_NONE);
    assert_int_equal(password_normalize(&a, S("cafe\xcc\x81"), &decomposed, &e), ERR_NONE);
    assert_true(str_eq(composed, decomposed));
    assert_true(str_eq(composed, S("caf\xc3\xa9")));
    /* ligatures and wide letters stay what they are: NFC, not NFKC */
    assert_int_equal(password_normalize(&a, S("\xef\xac\x81"), &composed, &e), ERR_NONE);
    assert_true(str_eq(composed, S("\xef\xac\x81")));
    assert_int_equal(password_normalize(&a, str_of("a\0b", 3), &with_nul, &e), ERR_NONE);
    assert_int_equal(with_nul.len, 3);
    assert_int_equal(password_normalize(&a, S("\xff"), &composed, &e), ERR_INVALID);
    arena_fini(&a);
}

#define LITTLE_MEMORY 65536 /* the tests need the ways, not the time */

static void a_hash_knows_its_password_and_no_other(void **state)
{
    (void)state;
    struct password_gate g;
    char phc[PASSWORD_HASH_LEN], again[PASSWORD_HASH_LEN];
    bool is_right, is_outdated;
    err e = {0};
    assert_int_equal(password_gate_init(&g, 1, 1, LITTLE_MEMORY, 2, &e), ERR_NONE);
    assert_int_equal(password_hash(&g, str_of("abc\0def", 7), phc, &e), ERR_NONE);
    assert_true(str_starts(str_c(phc), S("$argon2id$v=19$m=64,t=2,p=1$")));
    assert_int_equal(password_hash(&g, str_of("abc\0def", 7), again, &e), ERR_NONE);
    assert_string_not_equal(phc, again);
    assert_int_equal(password_verify(&g, str_c(phc), str_of("abc\0def", 7), &is_right, &is_outdated, &e),
                     ERR_NONE);
    assert_true(is_right);
    assert_false(is_outdated);
    assert_int_equal(password_verify(&g, str_c(phc), str_of("abc\0deg", 7), &is_right, &is_outdated, &e),
                     ERR_NONE);
    assert_false(is_right);
    assert_int_equal(password_verify(&g, str_c(phc), S("abc"), &is_right, &is_outdated, &e), ERR_NONE);
    assert_false(is_right);
    assert_int_equal(password_verify(&g, S(""), S(""), &is_right, &is_outdated, &e), ERR_NONE);
    assert_false(is_right);
    assert_int_equal(password_verify(&g, S("no hash at all"), S("abc"), &is_right, &is_outdated, &e),
                     ERR_NONE);
    assert_false(is_right);
    password_gate_fini(&g);
}

static void a_hash_of_lower_parameters_is_outdated(void **state)
{
    (void)state;
    struct password_gate low, high;
    char phc[PASSWORD_HASH_LEN];
    bool is_right, is_outdated;
    err e = {0};
    assert_int_equal(password_gate_init(&low, 1, 1, LITTLE_MEMORY, 1, &e), ERR_NONE);
    assert_int_equal(password_gate_init(&high, 1, 1, 2 * LITTLE_MEMORY, 2, &e), ERR_NONE);
    assert_int_equal(password_hash(&low, S("hollow turnip"), phc, &e), ERR_NONE);
    assert_int_equal(password_verify(&high, str_c(phc), S("hollow turnip"), &is_right, &is_outdated, &e),
                     ERR_NONE);
    assert_true(is_right);
    assert_true(is_outdated);
    password_gate_fini(&low);
    password_gate_fini(&high);
}

static void a_full_gate_refuses(void **state)
{
    (void)state;
    struct password_gate g;
    char phc[PASSWORD_HASH_LEN];
    err e = {0};
    assert_int_equal(password_gate_init(&g, 1, 0, LITTLE_MEMORY, 1, &e), ERR_NONE);
    g.running = 1; /* somebody else is hashing, and nobody may wait */
    assert_int_equal(password_hash(&g, S("x"), phc, &e), ERR_UNAVAILABLE);
    g.running = 0;
    assert_int_equal(password_hash(&g, S("x"), phc, &e), ERR_NONE);
    password_gate_fini(&g);
}

struct racer {
    struct password_gate *gate;
    enum errc rc;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    char phc[PASSWORD_HASH_LEN];
    r->rc = password_hash(r->gate, S("x"), phc, NULL);
    return NULL;
}

static void those_who_wait_get_in_one_after_the_other(void **state)
{
    (void)state;
    struct password_gate g;
    struct racer racers[8];
    pthread_t threads[LENGTH_OF(racers)];
    err e = {0};
    assert_int_equal(password_gate_init(&g, 1, LENGTH_OF(racers), LITTLE_MEMORY, 1, &e), ERR_NONE);
    for (size_t i = 0; i < LENGTH_OF(racers); i++) {
        racers[i] = (struct racer){&g, ERR_INTERNAL};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (size_t i = 0; i < LENGTH_OF(racers); i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(racers[i].rc, ERR_NONE);
    }
    assert_int_equal(g.running, 0);
    assert_int_equal(g.waiting, 0);
    password_gate_fini(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(length_counts_code_points_from_15_to_1024),
        cmocka_unit_test(what_lists_of_passwords_hold_is_refused),
        cmocka_unit_test(every_pair_of_common_words_is_refused),
        cmocka_unit_test(names_and_addresses_of_the_person_and_the_workspace_are_refused),
        cmocka_unit_test(phrases_and_random_texts_pass),
        cmocka_unit_test(composed_and_decomposed_letters_are_the_same_password),
        cmocka_unit_test(a_hash_knows_its_password_and_no_other),
        cmocka_unit_test(a_hash_of_lower_parameters_is_outdated),
        cmocka_unit_test(a_full_gate_refuses),
        cmocka_unit_test(those_who_wait_get_in_one_after_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
