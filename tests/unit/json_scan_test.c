/* Scanning: accepts what jansson accepts, reports offsets exactly, and finds what a walk through the tree
 * finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "json_random.h"
#include "oracle.h"
#include "json/lex.h"
#include "json/scan.h"
#include "json/tree.h"

#define NO_OFFSET ((size_t)-1)

static enum errc scan_code(str text, size_t *offset)
{
    *offset = NO_OFFSET;
    return json_scan(text, NULL, NULL, NULL, NULL, offset, NULL);
}

static void assert_accepts(str text)
{
    size_t offset;
    err e = {0};
    if (json_scan(text, NULL, NULL, NULL, NULL, &offset, &e)) fail_msg("%.*s: %s", STR(text), e.msg);
}

static void assert_refuses(str text, size_t at)
{
    size_t offset;
    err e = {0};
    /* A copy of exactly this size, so that ASan sees a byte read too far. */
    char *copy = malloc(text.len ? text.len : 1);
    if (text.len) memcpy(copy, text.p, text.len);
    const enum errc code = json_scan(str_of(copy, text.len), NULL, NULL, NULL, NULL, &offset, &e);
    free(copy);
    if (code != ERR_SYNTAX || offset != at)
        fail_msg("%.*s: code %d at %zu instead of %zu", STR(text), (int)code, offset, at);
    char place[32];
    snprintf(place, sizeof place, " at byte %zu", at);
    assert_non_null(strstr(e.msg, place));
}

static void scan_accepts_every_form_of_value(void **state)
{
    (void)state;
    const char *texts[] = {
        "null",
        "true",
        "false",
        "0",
        "-0",
        "-0.0e-0",
        "12",
        "1e400",
        "-1E+99999999999999999999",
        "0.5",
        "123456789012345678901234567890",
        "\"\"",
        "\"a\"",
        "[]",
        "{}",
        " [ ] ",
        "\t\r\n{ }\n",
        "[1,2]",
        "{\"a\":1}",
        "{\"\":\"\"}",
        "{\"a\":1,\"a\":2}",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uFfFf\"",
        "\"\\ud83d\\uDE00\"",
        "\"\x7f\"",
        "\"\xC2\x80\xDF\xBF\"",
        "\"\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF\"",
        "\"\xF0\x90\x80\x80\xF4\x8F\xBF\xBF\"",
        "[[[{\"a\":[null,{}]}]], true , false]",
        "{\"a\" : \"sixteen bytes and more of plain text\" , \"b\":[ ]}",
    };
    for (size_t i = 0; i < LENGTH_OF(texts); i++)
        assert_accepts(str_c(texts[i]));
}

static void scan_names_the_offending_byte(void **state)
{
    (void)state;
    const struct {
        str text;
        size_t at;
    } cases[] = {
        {S(""), 0},
        {S("  "), 2},
        {S("\xEF\xBB\xBF{}"), 0},
        {S("\0"), 0},
        {S("{}\0"), 2},
        {S("nul"), 3},
        {S("nulx"), 3},
        {S("nullx"), 4},
        {S("True"), 0},
        {S("tru e"), 3},
        {S("NaN"), 0},
        {S("'a'"), 0},
        {S("01"), 1},
        {S("-"), 1},
        {S("-a"), 1},
        {S("+1"), 0},
        {S(".5"), 0},
        {S("1."), 2},
        {S("1.e5"), 2},
        {S("1e"), 2},
        {S("1e+"), 3},
        {S("1ex"), 2},
        {S("0x10"), 1},
        {S("-01"), 2},
        {S("1 2"), 2},
        {S("[1,]"), 3},
        {S("[,1]"), 1},
        {S("[1 2]"), 3},
        {S("[1"), 2},
        {S("["), 1},
        {S("[1}"), 2},
        {S("]"), 0},
        {S("{"), 1},
        {S("{,}"), 1},
        {S("{\"a\"}"), 4},
        {S("{\"a\":}"), 5},
        {S("{\"a\":1,}"), 7},
        {S("{\"a\" 1}"), 5},
        {S("{a:1}"), 1},
        {S("{1:1}"), 1},
        {S("{\"a\":1]"), 6},
        {S("{\"a\":1 \"b\":2}"), 7},
        {S("{}}"), 2},
        {S("[] x"), 3},
        {S("\""), 1},
        {S("\"abc"), 4},
        {S("\"a\nb\""), 2},
        {S("\"a\0b\""), 2},
        {S("\"\x1f\""), 1},
        {S("\"\\"), 2},
        {S("\"\\x\""), 2},
        {S("\"\\u12"), 5},
        {S("\"\\u12g4\""), 5},
        {S("\"\\u\""), 3},
        {S("\"\\ud800\""), 1},
        {S("\"ab\\udc00\""), 3},
        {S("\"\\ud800\\ud800\""), 1},
        {S("\"\\udc00\\udc00\""), 1},
        {S("\"\\ud800\\udbff\""), 1},
        {S("\"\\ud800\\ue000\""), 1},
        {S("\"\\ud800x\""), 1},
        {S("\"\\ud800\\n\""), 1},
        {S("\"\\ud800\\u0041\""), 1},
        {S("\"\\ud800"), 7},
        {S("\"\\ud800\\"), 8},
        {S("\"\\ud800\\u"), 9},
        {S("\"\\ud800\\uzz"), 9},
        {S("\"\x80\""), 1},
        {S("\"a\xC0\xAF\""), 2},
        {S("\"\xC1\xBF\""), 1},
        {S("\"\xC3\""), 1},
        {S("\"\xC3"), 1},
        {S("\"\xE0\x9F\xBF\""), 1},
        {S("\"\xED\xA0\x80\""), 1},
        {S("\"\xE4\xBD\""), 1},
        {S("\"\xF0\x8F\xBF\xBF\""), 1},
        {S("\"\xF4\x90\x80\x80\""), 1},
        {S("\"\xF5\x80\x80\x80\""), 1},
        {S("\"\xF0\x9F\x98\""), 1},
        {S("\"\xFF\""), 1},
        {S("\"0123456789abcdefghij\x01\""), 21},
        {S("{\"\xC3\xA9\":1,\"b\xFF\":2}"), 10},
        {S("// c"), 0},
        {S("[1,\f2]"), 3},
        {S("\xC2\xA0"
           "1"),
         0},
        {S("{\"a\":1}{\"a\":1}"), 7},
    };
    for (size_t i = 0; i < LENGTH_OF(cases); i++)
        assert_refuses(cases[i].text, cases[i].at);
    assert_refuses((str){NULL, 0}, 0);
}

static void scan_refuses_nesting_deeper_than_the_limit(void **state)
{
    (void)state;
    char text[8 * JSON_DEPTH_MAX];
    memset(text, '[', JSON_DEPTH_MAX);
    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    assert_accepts(str_of(text, 2 * JSON_DEPTH_MAX));
    memset(text, '[', sizeof text);
    assert_refuses(str_of(text, sizeof text), JSON_DEPTH_MAX);
    for (size_t i = 0; i + 5 <= sizeof text; i += 5)
        memcpy(text + i, "{\"\":[", 5);
    assert_refuses(str_of(text, 5 * JSON_DEPTH_MAX), 5 * (JSON_DEPTH_MAX / 2));
}

static void scan_fails_at_the_end_of_every_truncation(void **state)
{
    (void)state;
    const str text =
        S(" {\"a\" : [1.5e+3, -0, \"plain text of some length\\u00e9\\ud83d\\ude00\\n\", true,false,null],"
          "\"b\":{\"c\":[[],{}]}, \"d\" : \"x\"} ");
    assert_accepts(text);
    for (size_t len = 0; len < text.len - 2; len++)
        assert_refuses(str_take(text, len), len);
}

static void both_string_scanners_stop_at_the_same_byte(void **state)
{
    (void)state;
    char text[64];
    for (unsigned c = 0; c < 256; c++) {
        for (size_t at = 0; at <= 40; at++) {
            memset(text, 'x', sizeof text);
            text[at] = (char)c;
            const char *want = lex_is_plain((unsigned char)c) ? text + 41 : text + at;
            assert_ptr_equal(lex_plain_run(text, text + 41), want);
            assert_ptr_equal(lex_plain_run_portable(text, text + 41), want);
            memset(text + at, (int)c, 41 - at);
            assert_ptr_equal(lex_plain_run_portable(text, text + 41), lex_plain_run(text, text + 41));
        }
    }
}

static void utf8_is_judged_as_base_does_for_every_short_sequence(void **state)
{
    (void)state;
    unsigned char s[6] = {'"', 0, 0, 0, 0, '"'};
    for (unsigned a = 0x80; a < 0x100; a++) {
        for (unsigned b = 0x70; b < 0x100; b++) {
            for (unsigned c = 0; c < 4; c++) {
                s[1] = (unsigned char)a;
                s[2] = (unsigned char)b;
                s[3] = (unsigned char)"\x7f\x80\xbf\xc0"[c];
                s[4] = (unsigned char)"a\x80"[c & 1];
                const str text = {(const char *)s, sizeof s};
                const size_t good = utf8_valid_prefix((str){text.p + 1, 4});
                size_t offset;
                const enum errc code = scan_code(text, &offset);
                assert_int_equal(code, good == 4 ? ERR_NONE : ERR_SYNTAX);
                if (code) assert_int_equal(offset, good + 1);
            }
        }
    }
}

/* --- queries --- */

struct seen {
    unsigned n;
    unsigned path[256];
    struct json_value v[256];
};

static void see(void *ctx, unsigned path, const struct json_value *value)
{
    struct seen *s = ctx;
    assert_true(s->n < LENGTH_OF(s->v));
    s->path[s->n] = path;
    s->v[s->n++] = *value;
}

static void scan_reports_matches_in_text_order_with_containers_after_their_contents(void **state)
{
    (void)state;
    const struct json_path paths[] = {{STR_LIT("a"), false},     {STR_LIT("a[]"), false},
                                      {STR_LIT("a[].x"), false}, {STR_LIT("b.c.d"), false},
                                      {STR_LIT("a[][]"), false}, {STR_LIT("m\xC3\xA9"), false}};
    struct json_query q;
    assert_int_equal(json_query_init(&q, paths, LENGTH_OF(paths), NULL), ERR_NONE);
    const str text = S(" {\"a\":[{\"x\": 1},[2], "
                       "\"s\\n\"],\"b\":{\"c\":{\"\\u0064\":null,\"e\":0}},\"x\":9,\"m\\u00e9\":{ }} ");
    struct seen s = {0};
    struct json_value root;
    assert_int_equal(json_scan(text, &q, see, &s, &root, NULL, NULL), ERR_NONE);
    const struct {
        unsigned path;
        const char *raw;
        enum json_type type;
        unsigned n;
    } want[] = {
        {2, "1", JSON_NUMBER, 0},        {1, "{\"x\": 1}", JSON_OBJECT, 1},
        {4, "2", JSON_NUMBER, 0},        {1, "[2]", JSON_ARRAY, 1},
        {1, "\"s\\n\"", JSON_STRING, 0}, {0, "[{\"x\": 1},[2], \"s\\n\"]", JSON_ARRAY, 3},
        {3, "null", JSON_NULL, 0},       {5, "{ }", JSON_OBJECT, 0},
    };
    assert_int_equal(s.n, LENGTH_OF(want));
    for (unsigned i = 0; i < s.n; i++) {
        assert_int_equal(s.path[i], want[i].path);
        assert_true(str_eq(s.v[i].raw, str_c(want[i].raw)));
        assert_int_equal(s.v[i].type, want[i].type);
        assert_int_equal(s.v[i].n, want[i].n);
        assert_ptr_equal(s.v[i].raw.p, text.p + s.v[i].offset);
        assert_int_equal(s.v[i].has_escapes, i == 4);
    }
    assert_int_equal(root.type, JSON_OBJECT);
    assert_int_equal(root.n, 4);
    assert_int_equal(root.offset, 1);
    assert_int_equal(root.raw.len, text.len - 2);
}

static void paths_may_start_with_the_elements_of_the_root(void **state)
{
    (void)state;
    const struct json_path paths[] = {{STR_LIT("[].a"), true}, {STR_LIT("[][]"), false}};
    struct json_query q;
    assert_int_equal(json_query_init(&q, paths, 2, NULL), ERR_NONE);
    struct seen s = {0};
    assert_int_equal(json_scan(S("[{\"a\":1},{\"a\":2},[3,4]]"), &q, see, &s, NULL, NULL, NULL), ERR_NONE);
    assert_int_equal(s.n, 4);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(s.v[i].raw.p[0], '1' + (int)i);
    s.n = 0;
    assert_int_equal(json_scan(S("{\"a\":1}"), &q, see, &s, NULL, NULL, NULL), ERR_NONE);
    assert_int_equal(s.n, 0);
}

static void malformed_queries_are_refused(void **state)
{
    (void)state;
    const char *bad[] = {"", ".", "a.", ".a", "a..b", "a[", "a[]b", "a]", "[", "[]a", "a[0]", "a[].", "a.[]"};
    struct json_query q;
    for (size_t i = 0; i < LENGTH_OF(bad); i++) {
        const struct json_path path = {str_c(bad[i]), false};
        assert_int_equal(json_query_init(&q, &path, 1, NULL), ERR_INVALID);
    }
    const struct json_path twice[] = {{STR_LIT("a.b"), false}, {STR_LIT("a.b"), false}};
    assert_int_equal(json_query_init(&q, twice, 2, NULL), ERR_INVALID);
    struct json_path many[JSON_QUERY_PATHS + 1];
    char names[JSON_QUERY_PATHS + 1][16];
    for (unsigned i = 0; i <= JSON_QUERY_PATHS; i++) {
        snprintf(names[i], sizeof names[i], "n%u", i);
        many[i] = (struct json_path){str_c(names[i]), true};
    }
    assert_int_equal(json_query_init(&q, many, JSON_QUERY_PATHS, NULL), ERR_NONE);
    assert_int_equal(json_query_init(&q, many, JSON_QUERY_PATHS + 1, NULL), ERR_INVALID);
    for (unsigned i = 0; i < JSON_QUERY_PATHS; i++) {
        snprintf(names[i], sizeof names[i], "n%u.a.b.c", i);
        many[i].path = str_c(names[i]);
    }
    assert_int_equal(json_query_init(&q, many, JSON_QUERY_PATHS, NULL), ERR_INVALID); /* too many nodes */
}

static void all_32_paths_of_one_object_are_told_apart(void **state)
{
    (void)state;
    struct json_path paths[JSON_QUERY_PATHS];
    char names[JSON_QUERY_PATHS][8];
    struct buf b;
    buf_init(&b, 4096);
    for (unsigned i = 0; i < JSON_QUERY_PATHS; i++) {
        snprintf(names[i], sizeof names[i], "n%u", i);
        paths[i] = (struct json_path){str_c(names[i]), true};
        buf_addf(&b, "%s\"n%u\":%u", i ? "," : "{", i, i);
    }
    struct json_query q;
    struct json_value hits[JSON_QUERY_PATHS];
    assert_int_equal(json_query_init(&q, paths, JSON_QUERY_PATHS, NULL), ERR_NONE);
    buf_add(&b, S(",\"n31\":0}"));
    assert_int_equal(json_find(buf_str(&b), &q, hits, NULL, NULL), ERR_INVALID);
    b.len -= strlen(",\"n31\":0}");
    buf_add_char(&b, '}');
    assert_int_equal(json_find(buf_str(&b), &q, hits, NULL, NULL), ERR_NONE);
    for (unsigned i = 0; i < JSON_QUERY_PATHS; i++) {
        int64_t v;
        assert_true(json_to_i64(&hits[i], &v));
        assert_int_equal(v, i);
    }
    buf_fini(&b);
}

static void deciding_duplicates_are_refused_and_others_are_not(void **state)
{
    (void)state;
    const struct json_path paths[] = {
        {STR_LIT("model"), true}, {STR_LIT("o.x"), true}, {STR_LIT("user"), false}, {STR_LIT("l[].k"), true}};
    struct json_query q;
    assert_int_equal(json_query_init(&q, paths, LENGTH_OF(paths), NULL), ERR_NONE);
    const struct {
        str text;
        size_t at; /* NO_OFFSET: accepted */
    } cases[] = {
        {S("{\"model\":1,\"model\":1}"), 11},
        {S("{\"model\":1,\"mod\\u0065l\":1}"), 11},
        {S("{\"\\u006dodel\":1,\"x\":{\"model\":2},\"model\":1}"), 32},
        {S("{\"x\":{\"model\":1,\"model\":2},\"model\":3}"), NO_OFFSET},
        {S("{\"o\":{\"x\":1},\"o\":{}}"), 13},
        {S("{\"o\":{\"x\":1,\"x\":2}}"), 12},
        {S("{\"o\":{\"y\":1,\"y\":2}}"), NO_OFFSET},
        {S("{\"user\":1,\"user\":2}"), NO_OFFSET},
        {S("{\"l\":[{\"k\":1},{\"k\":1}]}"), NO_OFFSET},
        {S("{\"l\":[{\"k\":1},{\"k\":1,\"k\":2}]}"), 21},
        {S("{\"l\":[],\"l\":[]}"), 8},
        {S("{\"zz\":1,\"zz\":2}"), NO_OFFSET},
    };
    for (size_t i = 0; i < LENGTH_OF(cases); i++) {
        struct seen s = {0};
        size_t offset = NO_OFFSET;
        err e = {0};
        const enum errc code = json_scan(cases[i].text, &q, see, &s, NULL, &offset, &e);
        assert_int_equal(code, cases[i].at == NO_OFFSET ? ERR_NONE : ERR_INVALID);
        assert_int_equal(offset, cases[i].at);
        if (code) assert_non_null(strstr(e.msg, "duplicate"));
    }
}

static void find_keeps_the_last_match_and_clears_on_error(void **state)
{
    (void)state;
    const struct json_path paths[] = {{STR_LIT("a"), false}, {STR_LIT("b"), false}};
    struct json_query q;
    assert_int_equal(json_query_init(&q, paths, 2, NULL), ERR_NONE);
    struct json_value hits[2];
    assert_int_equal(json_find(S("{\"a\":1,\"a\":2}"), &q, hits, NULL, NULL), ERR_NONE);
    assert_int_equal(hits[0].raw.p[0], '2');
    assert_int_equal(hits[1].type, JSON_NONE);
    assert_int_equal(json_find(S("{\"a\":1,\"b\":2"), &q, hits, NULL, NULL), ERR_SYNTAX);
    assert_int_equal(hits[0].type, JSON_NONE);
    assert_int_equal(hits[1].type, JSON_NONE);
}

static struct json_value only_value(str text)
{
    struct json_value v;
    assert_int_equal(json_scan(text, NULL, NULL, NULL, &v, NULL, NULL), ERR_NONE);
    return v;
}

static void strings_are_decoded_without_allocation(void **state)
{
    (void)state;
    const struct {
        str text, want;
    } cases[] = {
        {S("\"\""), S("")},
        {S("\"plain\""), S("plain")},
        {S("\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\""), S("a\"\\/\b\f\n\r\t")},
        {S("\"\\u0000\\u0041\\u00e9\\u4F60\\ud83d\\ude00z\""), S("\0A\xC3\xA9\xE4\xBD\xA0\xF0\x9F\x98\x80z")},
        {S("\"\\uD800\\uDC00\\udbff\\udfff\""), S("\xF0\x90\x80\x80\xF4\x8F\xBF\xBF")},
    };
    for (size_t i = 0; i < LENGTH_OF(cases); i++) {
        const struct json_value v = only_value(cases[i].text);
        char out[128];
        const str got = json_string(&v, out);
        assert_true(str_eq(got, cases[i].want));
        assert_int_equal(json_string_len(&v), cases[i].want.len);
        assert_true(json_string_is(&v, cases[i].want));
        for (size_t cut = 0; cut < cases[i].want.len; cut++)
            assert_false(json_string_is(&v, str_take(cases[i].want, cut)));
        char more[64];
        memcpy(more, cases[i].want.p, cases[i].want.len);
        more[cases[i].want.len] = 'x';
        assert_false(json_string_is(&v, str_of(more, cases[i].want.len + 1)));
    }
    const struct json_value number = only_value(S("12"));
    assert_false(json_string_is(&number, S("12")));
    assert_int_equal(json_string_len(&number), 0);
}

static void integers_are_exact_or_refused(void **state)
{
    (void)state;
    const struct {
        const char *text;
        bool is_integer;
        int64_t v;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"12", true, 12},
        {"-3", true, -3},
        {"12.0", true, 12},
        {"1e3", true, 1000},
        {"1E+3", true, 1000},
        {"1.5e1", true, 15},
        {"100e-2", true, 1},
        {"0.000", true, 0},
        {"0e999999999999999999", true, 0},
        {"0.0e-99999999999999999999999", true, 0},
        {"-1.20e1", true, -12},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"9.223372036854775807e18", true, INT64_MAX},
        {"92233720368547758070e-1", true, INT64_MAX},
        {"1.5", false, 0},
        {"1e-1", false, 0},
        {"1e19", false, 0},
        {"1e400", false, 0},
        {"1e99999999999999999999", false, 0},
        {"1e-99999999999999999999", false, 0},
        {"10e-2", false, 0},
        {"505874924095815681", true, 505874924095815681},
        {"1000000000000000000000e-3", true, 1000000000000000000},
        {"true", false, 0},
        {"\"1\"", false, 0},
        {"0.1", false, 0},
        {"1e18", true, 1000000000000000000},
    };
    for (size_t i = 0; i < LENGTH_OF(cases); i++) {
        const struct json_value v = only_value(str_c(cases[i].text));
        int64_t out = 77;
        if (json_to_i64(&v, &out) != cases[i].is_integer || (cases[i].is_integer && out != cases[i].v))
            fail_msg("%s", cases[i].text);
    }
}

/* --- comparison with jansson and with the tree --- */

static void scan_accepts_what_jansson_accepts(void **state)
{
    (void)state;
    struct rng r = {20240229};
    struct buf made, changed;
    buf_init(&made, 1 << 20);
    buf_init(&changed, 1 << 20);
    unsigned n_good = 0, n_bad = 0;
    for (int i = 0; i < 4000; i++) {
        const str text = random_document(&r, &made, false);
        assert_accepts(text);
        for (int k = 0; k < 8; k++) {
            const str mutant = random_mutation(&r, &changed, text);
            size_t offset, again;
            bool is_undecided;
            const enum errc code = scan_code(mutant, &offset);
            json_t *doc = oracle_load(mutant, 0, &is_undecided);
            const bool accepts = doc != NULL;
            json_decref(doc);
            if (!is_undecided && accepts != (code == ERR_NONE))
                fail_msg("jansson %s: %.*s", accepts ? "accepts" : "refuses", STR(mutant));
            n_good += code == ERR_NONE;
            n_bad += code != ERR_NONE;
            if (!code) continue;
            /* Everything before the offset is a good beginning: cut there, it either stands or lacks only
             * more. */
            assert_true(offset <= mutant.len);
            if (scan_code(str_take(mutant, offset), &again)) assert_int_equal(again, offset);
        }
    }
    assert_true(n_good > 1000 && n_bad > 1000);
    buf_fini(&made);
    buf_fini(&changed);
}

static bool trees_equal(const struct json *a, const struct json *b)
{
    if (a->type != b->type || a->n != b->n || !str_eq(a->text, b->text)) return false;
    const struct json *x = a->child, *y = b->child;
    for (; x && y; x = x->next, y = y->next)
        if (!str_eq(x->name, y->name) || !trees_equal(x, y)) return false;
    return !x && !y;
}

/* All nodes at the end of a path, in text order, found by walking the tree. */
static void walk(const struct json *v, str path, const struct json **found, unsigned *n)
{
    if (path.len == 0) {
        assert_true(*n < 256);
        found[(*n)++] = v;
        return;
    }
    if (str_starts(path, S("[]"))) {
        if (v->type == JSON_ARRAY)
            for (const struct json *c = v->child; c; c = c->next)
                walk(c, str_skip(path, 2), found, n);
        return;
    }
    if (path.p[0] == '.') path = str_skip(path, 1);
    size_t len = 0;
    while (len < path.len && path.p[len] != '.' && path.p[len] != '[')
        len++;
    const struct json *member = json_get(v, str_take(path, len));
    if (member) walk(member, str_skip(path, len), found, n);
}

static void queries_find_what_a_walk_through_the_tree_finds(void **state)
{
    (void)state;
    struct rng r = {77};
    struct buf made;
    buf_init(&made, 1 << 20);
    struct arena a;
    arena_init(&a, 64u << 20, 0);
    unsigned n_matches = 0;
    for (int i = 0; i < 6000; i++) {
        const struct arena_mark mark = arena_mark(&a);
        const str text = random_document(&r, &made, true);
        char names[12][32];
        struct json_path paths[12];
        unsigned n_paths = 0;
        while (n_paths < 12) {
            size_t len = 0;
            for (unsigned steps = 1 + rng_below(&r, 4); steps > 0; steps--) {
                if (rng_one_in(&r, 3)) {
                    names[n_paths][len++] = '[';
                    names[n_paths][len++] = ']';
                } else {
                    if (len) names[n_paths][len++] = '.';
                    names[n_paths][len++] = (char)('a' + rng_below(&r, 4));
                }
            }
            const str path = {names[n_paths], len};
            bool is_new = true;
            for (unsigned k = 0; k < n_paths; k++)
                is_new &= !str_eq(paths[k].path, path);
            if (is_new) paths[n_paths++] = (struct json_path){path, true};
        }
        struct json_query q;
        assert_int_equal(json_query_init(&q, paths, n_paths, NULL), ERR_NONE);
        struct seen *s = arena_new(&a, struct seen);
        struct json *tree, *part;
        assert_non_null(s);
        assert_int_equal(json_scan(text, &q, see, s, NULL, NULL, NULL), ERR_NONE);
        assert_int_equal(json_parse(&a, text, &tree, NULL), ERR_NONE);
        for (unsigned k = 1; k < s->n; k++)
            assert_true(s->v[k - 1].offset + s->v[k - 1].raw.len < s->v[k].offset + s->v[k].raw.len);
        for (unsigned p = 0; p < n_paths; p++) {
            const struct json *found[256];
            unsigned n = 0, at = 0;
            walk(tree, paths[p].path, found, &n);
            for (unsigned k = 0; k < s->n; k++) {
                if (s->path[k] != p) continue;
                assert_true(at < n);
                assert_int_equal(json_parse(&a, s->v[k].raw, &part, NULL), ERR_NONE);
                assert_true(trees_equal(part, found[at]));
                assert_int_equal(s->v[k].n, found[at]->n);
                assert_int_equal(s->v[k].type, found[at]->type);
                at++;
            }
            assert_int_equal(at, n);
            n_matches += n;
        }
        arena_reset(&a, mark);
    }
    assert_true(n_matches > 2000);
    arena_fini(&a);
    buf_fini(&made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scan_accepts_every_form_of_value),
        cmocka_unit_test(scan_names_the_offending_byte),
        cmocka_unit_test(scan_refuses_nesting_deeper_than_the_limit),
        cmocka_unit_test(scan_fails_at_the_end_of_every_truncation),
        cmocka_unit_test(both_string_scanners_stop_at_the_same_byte),
        cmocka_unit_test(utf8_is_judged_as_base_does_for_every_short_sequence),
        cmocka_unit_test(scan_reports_matches_in_text_order_with_containers_after_their_contents),
        cmocka_unit_test(paths_may_start_with_the_elements_of_the_root),
        cmocka_unit_test(malformed_queries_are_refused),
        cmocka_unit_test(all_32_paths_of_one_object_are_told_apart),
        cmocka_unit_test(deciding_duplicates_are_refused_and_others_are_not),
        cmocka_unit_test(find_keeps_the_last_match_and_clears_on_error),
        cmocka_unit_test(strings_are_decoded_without_allocation),
        cmocka_unit_test(integers_are_exact_or_refused),
        cmocka_unit_test(scan_accepts_what_jansson_accepts),
        cmocka_unit_test(queries_find_what_a_walk_through_the_tree_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
