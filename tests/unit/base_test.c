/* The small things that everything stands on: slices, buffers, arenas, maps, time, ids, money, codings, keys. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/keytext.h"
#include "base/log.h"
#include "base/map.h"
#include "base/money.h"
#include "base/random.h"
#include "base/stats.h"
#include "base/utf8.h"
#include "net/wheel.h"

#define assert_text(s, expected)                                                                                      \
    do {                                                                                                              \
        str text_ = (s);                                                                                              \
        assert_int_equal(text_.len, strlen(expected));                                                                \
        assert_memory_equal(text_.p, expected, text_.len);                                                            \
    } while (0)

static void numbers_are_read_whole_or_not_at_all(void **state)
{
    (void)state;
    uint64_t u;
    int64_t i;
    assert_true(str_to_u64(S("18446744073709551615"), &u) && u == UINT64_MAX);
    assert_true(str_to_i64(S("-9223372036854775808"), &i) && i == INT64_MIN);
    assert_true(str_to_i64(S("9223372036854775807"), &i) && i == INT64_MAX);
    static const char *const wrong[] = {"", "-", "+1", " 1", "1 ", "1x", "0x1", "18446744073709551616"};
    for (unsigned n = 0; n < LENGTH_OF(wrong); n++)
        assert_false(str_to_u64(str_c(wrong[n]), &u));
    assert_false(str_to_i64(S("9223372036854775808"), &i));
    assert_false(str_to_i64(S("-9223372036854775809"), &i));
}

static void slices_are_cut_searched_and_compared(void **state)
{
    (void)state;
    str s = S("a,b,,c");
    assert_text(str_cut(&s, ','), "a");
    assert_text(str_cut(&s, ','), "b");
    assert_text(str_cut(&s, ','), "");
    assert_text(str_cut(&s, ','), "c");
    assert_int_equal(s.len, 0);
    assert_text(str_trim(S(" \t\r\n x y \n")), "x y");
    assert_int_equal(str_find(S("haystack"), S("stack")), 3);
    assert_int_equal(str_find(S("haystack"), S("needle")), -1);
    assert_true(str_ieq(S("Content-Type"), S("content-TYPE")));
    assert_false(str_ieq(S("a["), S("A{")));
    assert_true(str_cmp(S("ab"), S("abc")) < 0 && str_cmp(S("b"), S("abc")) > 0 && str_cmp(S("x"), S("x")) == 0);
}

static void globs_match_whole_names(void **state)
{
    (void)state;
    assert_true(str_glob(S("gpt-*"), S("gpt-4o")));
    assert_true(str_glob(S("*"), S("")));
    assert_true(str_glob(S("a*b*c"), S("aXbYbZc")));
    assert_true(str_glob(S("o?"), S("o3")));
    assert_false(str_glob(S("gpt-*"), S("xgpt-4o")));
    assert_false(str_glob(S("a*b*c"), S("aXbYbZcd")));
    assert_false(str_glob(S("[ab]"), S("a")));
}

static void distance_counts_edits(void **state)
{
    (void)state;
    assert_int_equal(str_distance(S("kitten"), S("sitting")), 3);
    assert_int_equal(str_distance(S(""), S("abc")), 3);
    assert_int_equal(str_distance(S("same"), S("same")), 0);
}

static void every_error_has_a_name_and_messages_end_in_whole_characters(void **state)
{
    (void)state;
    err e = {0};
    for (unsigned code = 0; code < ERR_CODES; code++) {
        assert_true(errc_name((enum errc)code)[0] && errc_text((enum errc)code)[0]);
        assert_in_range(errc_http_status((enum errc)code), 200, 599);
    }
    char longer[600];
    for (unsigned i = 0; i + 2 < sizeof longer; i += 2)
        memcpy(longer + i, "\xC3\xA9", 2);
    longer[598] = '\0';
    assert_int_equal(err_set(&e, ERR_INVALID, "x%s", longer), ERR_INVALID);
    assert_true(utf8_is_valid(str_c(e.msg)));
    assert_true(str_ends(str_c(e.msg), S("...")));
    assert_int_equal(err_errno(&e, ERR_IO, ENOSPC, "writing %s", "f"), ERR_DISK_FULL);
    assert_true(str_starts(str_c(e.msg), S("writing f: ")));
    err_prefix(&e, "journal");
    assert_true(str_starts(str_c(e.msg), S("journal: writing f: ")));
    assert_int_equal(err_set(NULL, ERR_BUSY, "nobody reads this"), ERR_BUSY);
}

static void an_arena_keeps_to_its_limit_and_gives_scratch_space_back(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 4096, 0);
    struct arena_mark empty = arena_mark(&a);
    char *p = arena_alloc(&a, 100);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % 16, 0);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(p[i], 0);
    assert_text(str_dup(&a, S("kept")), "kept");
    assert_text(arena_printf(&a, "%d-%s", 7, "x"), "7-x");
    assert_string_equal(str_to_c(&a, S("c")), "c");
    struct arena_mark m = arena_mark(&a);
    size_t used = a.used;
    assert_non_null(arena_alloc(&a, 2000));
    arena_reset(&a, m);
    assert_int_equal(a.used, used);
    assert_null(arena_alloc(&a, 5000));
    assert_null(arena_array(&a, SIZE_MAX / 2, 3));
    assert_non_null(str_dup(&a, S("")).p);
    arena_reset(&a, empty);
    assert_int_equal(a.used, 0);
    arena_fini(&a);
}

static void a_buffer_never_passes_its_maximum_and_remembers_that_it_wanted_to(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    buf_add(&b, S("12345"));
    buf_addf(&b, "%d", 67890);
    assert_text(buf_str(&b), "1234567890");
    assert_int_equal(buf_err(&b), ERR_NONE);
    buf_add_char(&b, 'x');
    assert_int_equal(buf_err(&b), ERR_TOO_LARGE);
    buf_clear(&b);
    buf_add_i64(&b, -42);
    buf_add_u64(&b, 0);
    assert_text(buf_str(&b), "-420");
    buf_consume(&b, 1);
    assert_text(buf_str(&b), "420");
    buf_consume(&b, 99);
    assert_int_equal(b.len, 0);
    buf_fini(&b);
}

static void a_map_finds_what_was_put_and_not_what_was_deleted(void **state)
{
    (void)state;
    enum { N = 2000 };
    static char keys[N][8];
    struct map m;
    map_init(&m);
    assert_null(map_get(&m, S("x")));
    for (unsigned i = 0; i < N; i++) {
        snprintf(keys[i], sizeof keys[i], "k%u", i);
        assert_int_equal(map_put(&m, str_c(keys[i]), keys[i]), ERR_NONE);
    }
    assert_int_equal(m.n, N);
    for (unsigned i = 0; i < N; i += 2)
        assert_ptr_equal(map_del(&m, str_c(keys[i])), keys[i]);
    for (unsigned i = 0; i < N; i++)
        assert_ptr_equal(map_get(&m, str_c(keys[i])), i % 2 ? keys[i] : NULL);
    size_t it = 0, n = 0;
    str key;
    void *value;
    while (map_next(&m, &it, &key, &value))
        n++;
    assert_int_equal(n, N / 2);
    assert_null(map_del(&m, S("k0")));
    map_fini(&m);
}

static void times_are_written_and_read_back(void **state)
{
    (void)state;
    char text[TIME_TEXT_LEN + 1], date[11];
    usec t;
    assert_true(time_parse(S("2026-11-24T06:50:00.123456Z"), &t));
    assert_text(time_format(t, text), "2026-11-24T06:50:00.123456Z");
    assert_text(date_format(t, date), "2026-11-24");
    usec same;
    assert_true(time_parse(S("2026-11-24T08:50:00.123456+02:00"), &same) && same == t);
    assert_true(time_parse(S("2024-02-29"), &t));
    assert_text(time_format(-1, text), "1969-12-31T23:59:59.999999Z");
    static const char *const wrong[] = {"", "2026", "2025-02-29", "2026-13-01", "2026-11-24T24:00:00Z", "2026-11-24T06:50:00",
                                        "2026-11-24T06:50:00.Z", "2026-11-24T06:50:00Zx", "2026-11-24T06:50:00+2:00"};
    for (unsigned i = 0; i < LENGTH_OF(wrong); i++)
        assert_false(time_parse(str_c(wrong[i]), &t));
    clock_freeze(5, 7);
    assert_int_equal(clock_now_us(), 5);
    assert_int_equal(clock_mono_us(), 7);
    clock_unfreeze();
    assert_true(clock_now_us() > 1000000);
}

static void ids_are_version_7_in_order_of_time_and_survive_text(void **state)
{
    (void)state;
    uuid a = uuid7_make(1000 * USEC_PER_MS), b = uuid7_make(1001 * USEC_PER_MS), back;
    char text[UUID_TEXT_LEN + 1];
    assert_true(memcmp(a.b, b.b, 6) < 0);
    assert_int_equal(a.b[6] >> 4, 7);
    assert_int_equal(a.b[8] >> 6, 2);
    assert_true(uuid_parse(uuid_format(&a, text), &back));
    assert_memory_equal(a.b, back.b, 16);
    assert_false(uuid_parse(S("01a20cd2-b51f-7e2e-a32f-8e1650703c1"), &back));
    assert_false(uuid_parse(S("01a20cd2xb51f-7e2e-a32f-8e1650703c16"), &back));
}

static void only_valid_utf8_is_valid(void **state)
{
    (void)state;
    assert_true(utf8_is_valid(S("plain, \xC3\xA9, \xE2\x82\xAC, \xF0\x9F\x98\x80")));
    static const char *const wrong[] = {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
                                        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xC3", "\xE2\x82", "12345678\xFF"};
    for (unsigned i = 0; i < LENGTH_OF(wrong); i++)
        assert_false(utf8_is_valid(str_c(wrong[i])));
    assert_int_equal(utf8_valid_prefix(S("ab\xFFz")), 2);
    assert_text(utf8_take(S("a\xE2\x82\xACz"), 3), "a");
    char out[4];
    assert_int_equal(utf8_encode(0x20AC, out), 3);
    assert_memory_equal(out, "\xE2\x82\xAC", 3);
    assert_int_equal(utf8_encode(0xD800, out), 0);
    assert_int_equal(utf8_encode(0x110000, out), 0);
    assert_int_equal(utf8_encode(0x1F600, out), 4);
}

static void hashes_and_checksums_have_their_published_values(void **state)
{
    (void)state;
    uint8_t digest[SHA256_LEN];
    char hex[2 * SHA256_LEN + 1];
    sha256(S("abc"), digest);
    assert_text(hex_encode(digest, sizeof digest, hex), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_true(hex_decode(S("00fF7a"), digest, 3) && digest[1] == 0xff);
    assert_false(hex_decode(S("00fg7a"), digest, 3));
    assert_false(hex_decode(S("00ff"), digest, 3));
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
    assert_int_equal(crc32c(crc32c(0, "12345", 5), "6789", 4), 0xe3069283u);
    assert_int_equal(crc32_ieee(S("123456789")), 0xcbf43926u);
    assert_true(secret_eq(S("same"), S("same")));
    assert_false(secret_eq(S("same"), S("sama")));
    assert_false(secret_eq(S("same"), S("sam")));
}

static void a_sealed_value_opens_only_unchanged_and_in_its_place(void **state)
{
    (void)state;
    uint8_t key[AEAD_KEY_LEN] = {1}, sealed[5 + AEAD_OVERHEAD], open[5];
    err e;
    assert_int_equal(aead_seal(key, S("table/row"), S("plain"), sealed, &e), ERR_NONE);
    str whole = str_of((const char *)sealed, sizeof sealed);
    assert_int_equal(aead_open(key, S("table/row"), whole, open, &e), ERR_NONE);
    assert_memory_equal(open, "plain", 5);
    assert_int_equal(aead_open(key, S("table/other"), whole, open, &e), ERR_CORRUPT);
    for (unsigned i = 0; i < sizeof sealed; i++) {
        sealed[i] ^= 1;
        assert_int_equal(aead_open(key, S("table/row"), whole, open, &e), ERR_CORRUPT);
        sealed[i] ^= 1;
    }
    assert_int_equal(aead_open(key, S("table/row"), str_take(whole, 10), open, &e), ERR_CORRUPT);
}

static void signatures_have_their_published_values(void **state)
{
    (void)state;
    /* RFC 8032 section 7.1, test 2. */
    uint8_t seed[32], key[32], expected[64], sig[64];
    char hex[129];
    assert_true(hex_decode(S("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"), seed, 32));
    assert_true(hex_decode(S("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
                             "387b2eaeb4302aeeb00d291612bb0c00"),
                           expected, 64));
    ed25519_public(seed, key);
    assert_text(hex_encode(key, 32, hex), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    ed25519_sign(seed, S("r"), sig);
    assert_memory_equal(sig, expected, 64);
    assert_true(ed25519_verify(key, S("r"), sig));
    assert_false(ed25519_verify(key, S("s"), sig));
    assert_false(ed25519_verify(key, S(""), sig));
    for (unsigned i = 0; i < 64; i += 7) {
        sig[i] ^= 1;
        assert_false(ed25519_verify(key, S("r"), sig));
        sig[i] ^= 1;
    }
    /* s + L is the same scalar and another text: not taken (section 5.1.7). */
    static const uint8_t order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
                                      0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10};
    for (unsigned i = 0, carry = 0; i < 32; i++) {
        carry += sig[32 + i] + order[i];
        sig[32 + i] = (uint8_t)carry;
        carry >>= 8;
    }
    assert_false(ed25519_verify(key, S("r"), sig));
    memset(key, 0xff, 32);
    assert_false(ed25519_verify(key, S("r"), expected));
}

static void base64_has_one_text_for_each_value(void **state)
{
    (void)state;
    /* RFC 4648 section 10. */
    static const char *const texts[][3] = {{"", "", ""},           {"f", "Zg==", "Zg"},     {"fo", "Zm8=", "Zm8"},
                                           {"foo", "Zm9v", "Zm9v"}, {"foobar", "Zm9vYmFy", "Zm9vYmFy"}, {"\xff\xfe\xfb", "//77", "__77"}};
    char out[BASE64_SIZE(16)];
    uint8_t plain[16];
    size_t len;
    for (unsigned i = 0; i < LENGTH_OF(texts); i++) {
        str text = str_c(texts[i][0]);
        assert_text(base64_encode(text.p, text.len, out), texts[i][1]);
        assert_true(base64_decode(str_c(texts[i][1]), plain, &len) && str_eq(text, str_of((const char *)plain, len)));
        assert_text(base64url_encode(text.p, text.len, out), texts[i][2]);
        assert_true(base64url_decode(str_c(texts[i][2]), plain, &len) && str_eq(text, str_of((const char *)plain, len)));
    }
    static const char *const wrong[] = {"Z", "Zh", "Zm9", "Zg==", "Zm8=", "Zm 8", "Zm8\n", "//77", "Zm9vY", "Zm\xc3\xa4"};
    for (unsigned i = 0; i < LENGTH_OF(wrong); i++)
        assert_false(base64url_decode(str_c(wrong[i]), plain, &len));
    static const char *const wrong_too[] = {"Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "__77", "Z===", "====", "Zg==Zg==", "Z=g=", "Zm9v\n"};
    for (unsigned i = 0; i < LENGTH_OF(wrong_too); i++)
        assert_false(base64_decode(str_c(wrong_too[i]), plain, &len));
    /* Every digit and no other byte. */
    unsigned digits = 0;
    for (unsigned c = 0; c < 256; c++) {
        char text[4] = {'A', 'A', 'A', (char)c};
        digits += base64url_decode(str_of(text, 4), plain, &len);
    }
    assert_int_equal(digits, 64);
}

static void keys_tell_typos_by_their_checksum(void **state)
{
    (void)state;
    char key[KEYTEXT_LEN + 1], other[KEYTEXT_LEN + 1];
    bool is_sound;
    str s = keytext_make("cvk", key);
    assert_int_equal(keytext_kind(s, &is_sound), KEYTEXT_VIRTUAL);
    assert_true(is_sound);
    keytext_make("cat", other);
    assert_int_equal(keytext_kind(str_c(other), &is_sound), KEYTEXT_MANAGEMENT);
    assert_true(is_sound);
    for (unsigned i = 4; i < KEYTEXT_LEN; i++) {
        char was = key[i];
        key[i] = was == 'a' ? 'b' : 'a';
        keytext_kind(s, &is_sound);
        assert_false(is_sound);
        key[i] = was;
    }
    assert_int_equal(keytext_kind(S("sk-something"), &is_sound), KEYTEXT_OTHER);
    assert_int_equal(keytext_kind(S("cvk_short"), &is_sound), KEYTEXT_VIRTUAL);
    assert_false(is_sound);
}

static void money_is_exact(void **state)
{
    (void)state;
    char text[MONEY_TEXT_LEN];
    int64_t v;
    assert_text(money_format(4210000, text), "0.004210000");
    assert_text(money_format(-1, text), "-0.000000001");
    assert_text(money_format(INT64_MAX, text), "9223372036.854775807");
    assert_int_equal(money_pico_to_nano(499), 0);
    assert_int_equal(money_pico_to_nano(500), 1);
    assert_int_equal(money_pico_to_nano(-500), -1);
    assert_int_equal(money_pico_to_nano((picousd)INT64_MAX * 5000), INT64_MAX);
    assert_true(money_parse(S("0.075"), 6, &v) && v == 75000);
    assert_true(money_parse(S("1e-06"), 12, &v) && v == 1000000);
    assert_true(money_parse(S("3"), 6, &v) && v == 3000000);
    assert_true(money_parse(S("1.5E+2"), 0, &v) && v == 150);
    static const char *const wrong[] = {"", ".", "1.2.3", "abc", "1e", "1e99", "0.0000001", "99999999999999999999", "1e+-3"};
    for (unsigned i = 0; i < LENGTH_OF(wrong); i++)
        assert_false(money_parse(str_c(wrong[i]), 6, &v));
}

static void a_log_line_is_json_whatever_it_holds(void **state)
{
    (void)state;
    int ends[2];
    char line[16384], big[9000];
    enum log_level level;
    assert_int_equal(pipe(ends), 0);
    log_set_fd(ends[1]);
    clock_freeze(0, 0);
    log_event(LOG_INFO, "test", LOG_S("text", S("a\"b\\c\n\xFF")), LOG_I("n", -5), LOG_B("ok", true));
    ssize_t n = read(ends[0], line, sizeof line);
    assert_text(str_of(line, (size_t)n), "{\"time\":\"1970-01-01T00:00:00.000000Z\",\"level\":\"info\",\"event\":\"test\","
                                         "\"text\":\"a\\\"b\\\\c\\u000a\xEF\xBF\xBD\",\"n\":-5,\"ok\":true}\n");
    memset(big, 'x', sizeof big);
    log_event(LOG_INFO, "big", LOG_I("first", 1), LOG_S("text", str_of(big, sizeof big)), LOG_I("last", 2));
    n = read(ends[0], line, sizeof line);
    assert_true(str_ends(str_of(line, (size_t)n), S("\"first\":1,\"truncated\":true}\n")));
    log_set_level(LOG_ERROR);
    assert_false(log_enabled(LOG_WARN));
    assert_true(log_level_parse(S("warn"), &level) && level == LOG_WARN);
    assert_false(log_level_parse(S("loud"), &level));
    log_set_level(LOG_INFO);
    log_set_fd(2);
    clock_unfreeze();
    close(ends[0]);
    close(ends[1]);
}

static void metrics_are_summed_over_slots_and_written_for_prometheus(void **state)
{
    (void)state;
    static const char *const labels[] = {"model", NULL};
    static const int64_t bounds[] = {1000, 2500000};
    struct buf out;
    assert_int_equal(stats_init(2), ERR_NONE);
    struct stat *c = stats_declare(STAT_COUNTER, "cost_usd_total", "Cost.", labels, NULL, 0, 1000000000);
    struct stat *h = stats_declare(STAT_HISTOGRAM, "took_seconds", "Time.", NULL, bounds, LENGTH_OF(bounds), 1);
    struct stat_series *s = stats_series(c, (str[]){S("a\"b")});
    assert_ptr_equal(s, stats_series(c, (str[]){S("a\"b")}));
    stats_add(s, 0, 1500000000);
    stats_add(s, 1, 1);
    assert_int_equal(stats_sum(s), 1500000001);
    struct stat_series *t = stats_series(h, NULL);
    stats_observe(t, 0, 1000);
    stats_observe(t, 1, 3000000);
    buf_init(&out, 1 << 20);
    stats_write(&out);
    assert_text(buf_str(&out), "# HELP cost_usd_total Cost.\n# TYPE cost_usd_total counter\ncost_usd_total{model=\"a\\\"b\"} 1.500000001\n"
                               "# HELP took_seconds Time.\n# TYPE took_seconds histogram\ntook_seconds_bucket{le=\"0.001\"} 1\n"
                               "took_seconds_bucket{le=\"2.5\"} 1\ntook_seconds_bucket{le=\"+Inf\"} 2\ntook_seconds_sum 3.001\n"
                               "took_seconds_count 2\n");
    buf_fini(&out);
    for (unsigned i = 0; i < STAT_SERIES_MAX + 10; i++) {
        char name[16];
        int n = snprintf(name, sizeof name, "m%u", i);
        stats_add(stats_series(c, (str[]){str_of(name, (size_t)n)}), 0, 1);
    }
    assert_int_equal(stats_sum(stats_series(c, (str[]){S("never seen")})), stats_sum(stats_series(c, (str[]){S("nor this")})));
    stats_fini();
}

struct fired {
    struct wheel_timer timer;
    struct wheel *wheel;
    unsigned n;
    uint64_t again_ms;
};

static void fire(struct wheel_timer *t)
{
    struct fired *f = (struct fired *)t;
    f->n++;
    if (f->again_ms)
        wheel_arm(f->wheel, t, f->again_ms);
}

static void timers_fire_once_never_early_and_can_be_moved_and_disarmed(void **state)
{
    (void)state;
    struct wheel w;
    struct fired soon = {.timer.fire = fire, .wheel = &w}, later = soon, far = soon, gone = soon;
    wheel_init(&w, 1000);
    wheel_arm(&w, &soon.timer, 1100);
    wheel_arm(&w, &later.timer, 1100);
    wheel_arm(&w, &later.timer, 2000);
    wheel_arm(&w, &far.timer, 1000 + 3 * WHEEL_SLOTS * WHEEL_TICK_MS);
    wheel_arm(&w, &gone.timer, 1200);
    wheel_disarm(&w, &gone.timer);
    for (uint64_t now = 1000; now <= 1000 + 3 * WHEEL_SLOTS * WHEEL_TICK_MS - 1; now += 10) {
        wheel_advance(&w, now);
        assert_int_equal(soon.n, now >= 1100);
        assert_true(later.n == 0 || now >= 2000);
        assert_int_equal(far.n, 0);
    }
    assert_int_equal(later.n, 1);
    assert_int_equal(gone.n, 0);
    soon.again_ms = 2000000;
    wheel_advance(&w, 1000000); /* a long pause: nothing is lost */
    assert_int_equal(far.n, 1);
    assert_int_equal(w.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_read_whole_or_not_at_all),
        cmocka_unit_test(slices_are_cut_searched_and_compared),
        cmocka_unit_test(globs_match_whole_names),
        cmocka_unit_test(distance_counts_edits),
        cmocka_unit_test(every_error_has_a_name_and_messages_end_in_whole_characters),
        cmocka_unit_test(an_arena_keeps_to_its_limit_and_gives_scratch_space_back),
        cmocka_unit_test(a_buffer_never_passes_its_maximum_and_remembers_that_it_wanted_to),
        cmocka_unit_test(a_map_finds_what_was_put_and_not_what_was_deleted),
        cmocka_unit_test(times_are_written_and_read_back),
        cmocka_unit_test(ids_are_version_7_in_order_of_time_and_survive_text),
        cmocka_unit_test(only_valid_utf8_is_valid),
        cmocka_unit_test(hashes_and_checksums_have_their_published_values),
        cmocka_unit_test(a_sealed_value_opens_only_unchanged_and_in_its_place),
        cmocka_unit_test(signatures_have_their_published_values),
        cmocka_unit_test(base64_has_one_text_for_each_value),
        cmocka_unit_test(keys_tell_typos_by_their_checksum),
        cmocka_unit_test(money_is_exact),
        cmocka_unit_test(a_log_line_is_json_whatever_it_holds),
        cmocka_unit_test(metrics_are_summed_over_slots_and_written_for_prometheus),
        cmocka_unit_test(timers_fire_once_never_early_and_can_be_moved_and_disarmed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
