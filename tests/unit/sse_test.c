/* Event streams. Every stream is fed whole, in pieces of every size and cut in two at every place; what a
 * reader would see must be the same, and the raw bytes must add up to the input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "net/sse.h"

struct reader {
    struct buf seen; /* "type|data;" of each event with data or a type */
    struct buf raw;
    unsigned n_events, stop_after;
};

static bool on_event(void *ctx, const struct sse_event *event)
{
    struct reader *r = ctx;
    assert_true(event->raw.len > 0);
    assert_true(event->has_data || event->data.len == 0);
    if (event->has_data || event->type.len > 0) {
        buf_add(&r->seen, event->type);
        buf_add(&r->seen, event->has_data ? S("|") : S("-"));
        buf_add(&r->seen, event->data);
        buf_add(&r->seen, S(";"));
    }
    buf_add(&r->raw, event->raw);
    return ++r->n_events != r->stop_after;
}

static void reader_init(struct reader *r, unsigned stop_after)
{
    *r = (struct reader){.stop_after = stop_after};
    buf_init(&r->seen, 1 << 20);
    buf_init(&r->raw, 1 << 20);
}

static void reader_fini(struct reader *r)
{
    buf_fini(&r->seen);
    buf_fini(&r->raw);
}

/* The piece as an allocation of its own, so that a read outside it is seen. */
static enum errc feed_copy(struct sse *s, str piece, struct reader *r)
{
    err e = {0};
    char *copy = malloc(piece.len > 0 ? piece.len : 1);
    assert_non_null(copy);
    if (piece.len > 0) memcpy(copy, piece.p, piece.len);
    enum errc rc = sse_feed(s, str_of(copy, piece.len), on_event, r, &e);
    assert_int_equal(rc, e.code);
    free(copy);
    return rc;
}

static enum errc feed_pieces(struct sse *s, str text, size_t piece, struct reader *r)
{
    enum errc rc = ERR_NONE;
    for (size_t i = 0; i < text.len && rc == ERR_NONE; i += piece)
        rc = feed_copy(s, str_take(str_skip(text, i), piece), r);
    return rc;
}

static void check(const char *name, struct sse *s, struct reader *r, str text, const char *seen,
                  size_t unfinished)
{
    str rest = sse_unfinished(s);
    if (!str_eq(buf_str(&r->seen), str_c(seen)) || rest.len != unfinished) {
        print_error("%s: saw '%.*s' and left %zu bytes\n", name, STR(buf_str(&r->seen)), rest.len);
        fail();
    }
    buf_add(&r->raw, rest);
    assert_true(str_eq(buf_str(&r->raw), text));
    sse_fini(s);
    reader_fini(r);
}

static void stream(const char *name, str text, const char *seen, size_t unfinished)
{
    struct sse s;
    struct reader r;
    for (size_t piece = 1; piece <= text.len; piece++) {
        sse_init(&s, 1 << 16);
        reader_init(&r, 0);
        assert_int_equal(feed_pieces(&s, text, piece, &r), ERR_NONE);
        check(name, &s, &r, text, seen, unfinished);
    }
    for (size_t cut = 0; cut <= text.len; cut++) {
        sse_init(&s, 1 << 16);
        reader_init(&r, 0);
        assert_int_equal(feed_copy(&s, str_take(text, cut), &r), ERR_NONE);
        assert_int_equal(feed_copy(&s, str_skip(text, cut), &r), ERR_NONE);
        check(name, &s, &r, text, seen, unfinished);
    }
}

static void streams_are_split_the_same_in_any_pieces(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        str text;
        const char *seen;
        size_t unfinished;
    } rows[] = {
        {"one event", STR_LIT("data: a\n\n"), "|a;", 0},
        {"a type", STR_LIT("event: ping\ndata: a\n\n"), "ping|a;", 0},
        {"a type behind the data", STR_LIT("data: a\nevent: ping\n\n"), "ping|a;", 0},
        {"the last type counts", STR_LIT("event: a\nevent: b\ndata:\n\n"), "b|;", 0},
        {"a type alone", STR_LIT("event: a\n\n"), "a-;", 0},
        {"CR LF", STR_LIT("event: e\r\ndata: a\r\n\r\ndata: b\r\n\r\n"), "e|a;|b;", 0},
        {"CR", STR_LIT("event: e\rdata: a\r\rdata: b\r\r"), "e|a;|b;", 0},
        {"mixed line ends", STR_LIT("data: a\n\r\ndata: b\r\n\rdata: c\r\ndata: d\r\n\n"), "|a;|b;|c\nd;", 0},
        {"a lone LF behind CR CR", STR_LIT("data: a\r\r\n\ndata: b\n\n"), "|a;|b;", 0},
        {"one space is removed", STR_LIT("data:a\n\ndata: a\n\ndata:  a\n\ndata:\ta\n\n"), "|a;|a;| a;|\ta;",
         0},
        {"empty data", STR_LIT("data\n\ndata:\n\ndata: \n\n"), "|;|;|;", 0},
        {"lines are joined by LF", STR_LIT("data: a\ndata:\ndata: c\n\ndata: d\n\n"), "|a\n\nc;|d;", 0},
        {"two empty lines of data", STR_LIT("data\ndata\n\n"), "|\n;", 0},
        {"three empty lines of data", STR_LIT("data\ndata\ndata\n\n"), "|\n\n;", 0},
        {"joined in CR LF", STR_LIT("data: a\r\ndata: b\r\n\r\n"), "|a\nb;", 0},
        {"comments", STR_LIT(": hi\n\n:\ndata: a\n: x\n\n"), "|a;", 0},
        {"other fields", STR_LIT("id: 1\nretry: 5\ndata: a\nx\nDATA: b\ndatax: c\n data: d\n\n"), "|a;", 0},
        {"an event without data is no event", STR_LIT("id: 1\n\ndata: a\n\n"), "|a;", 0},
        {"empty lines between events", STR_LIT("\n\r\n\rdata: a\n\n\n\ndata: b\n\n\n"), "|a;|b;", 0},
        {"a BOM",
         STR_LIT("\xef\xbb\xbf"
                 "data: a\n\n"),
         "|a;", 0},
        {"a BOM before an empty line", STR_LIT("\xef\xbb\xbf\r\ndata: a\n\n"), "|a;", 0},
        {"a BOM that is not at the start",
         STR_LIT("data: a\n\n\xef\xbb\xbf"
                 "data: b\n\n"),
         "|a;", 0},
        {"two BOMs",
         STR_LIT("\xef\xbb\xbf\xef\xbb\xbf"
                 "data: a\ndata: b\n\n"),
         "|b;", 0},
        {"a BOM alone", STR_LIT("\xef\xbb\xbf"), "", 3},
        {"half a BOM", STR_LIT("\xef\xbb\n\ndata: a\n\n"), "|a;", 0},
        {"colons and CR in the data of JSON", STR_LIT("data: {\"a\":\"b: c\\r\"}\n\n"),
         "|{\"a\":\"b: c\\r\"};", 0},
        {"UTF-8", STR_LIT("data: \xf0\x9f\x98\x80\xc3\xa9\n\n"), "|\xf0\x9f\x98\x80\xc3\xa9;", 0},
        {"bytes that are no UTF-8", STR_LIT("data: \xff\xc3\x01\n\n"), "|\xff\xc3\x01;", 0},
        {"unfinished line", STR_LIT("data: a\n\ndata: b"), "|a;", 7},
        {"unfinished event", STR_LIT("data: a\n\ndata: b\r\n"), "|a;", 9},
        {"unfinished after CR", STR_LIT("data: b\r"), "", 8},
        {"nothing", STR_LIT(""), "", 0},
        {"lines longer than a vector",
         STR_LIT("event: content_block_delta\ndata: 0123456789abcdef0123456789abcdef0123456789abcdef\n\n"),
         "content_block_delta|0123456789abcdef0123456789abcdef0123456789abcdef;", 0},
    };
    for (size_t i = 0; i < LENGTH_OF(rows); i++)
        stream(rows[i].name, rows[i].text, rows[i].seen, rows[i].unfinished);
}

static void a_nul_is_a_byte_like_others(void **state)
{
    (void)state;
    struct sse s;
    struct reader r;
    sse_init(&s, 100);
    reader_init(&r, 0);
    assert_int_equal(feed_copy(&s, S("data: a\0b\n\n"), &r), ERR_NONE);
    assert_true(str_eq(buf_str(&r.seen), S("|a\0b;")));
    sse_fini(&s);
    reader_fini(&r);
}

static void an_event_is_reported_with_the_byte_that_ends_it(void **state)
{
    (void)state;
    static const str streams[] = {STR_LIT("data: a\n\n"), STR_LIT("data: a\r\r"), STR_LIT("data: a\r\n\r")};
    for (size_t i = 0; i < LENGTH_OF(streams); i++) {
        struct sse s;
        struct reader r;
        sse_init(&s, 100);
        reader_init(&r, 0);
        assert_int_equal(feed_pieces(&s, str_take(streams[i], streams[i].len - 1), 1, &r), ERR_NONE);
        assert_int_equal(r.n_events, 0);
        assert_int_equal(feed_copy(&s, str_skip(streams[i], streams[i].len - 1), &r), ERR_NONE);
        assert_int_equal(r.n_events, 1);
        assert_int_equal(sse_unfinished(&s).len, 0);
        sse_fini(&s);
        reader_fini(&r);
    }
}

static void whole_events_are_slices_of_the_piece_and_nothing_is_allocated(void **state)
{
    (void)state;
    struct sse s;
    struct reader r;
    sse_init(&s, 100);
    reader_init(&r, 0);
    assert_int_equal(feed_copy(&s, S("event: a\ndata: b\n\ndata: c\n\n"), &r), ERR_NONE);
    assert_int_equal(r.n_events, 2);
    assert_null(s.tail.p);
    assert_null(s.scratch.p);
    sse_fini(&s);
    reader_fini(&r);
}

static void the_size_limit_is_exact_and_the_same_in_any_pieces(void **state)
{
    (void)state;
    /* The LF of a final CR LF does not count: it may come when the event is already reported. */
    static const struct {
        str text;
        size_t size;
    } rows[] = {{STR_LIT("data: abcdef\n\n"), 14},
                {STR_LIT("data: abcdef\r\r"), 14},
                {STR_LIT("data: abcdef\r\n\r\n"), 15}};
    for (size_t i = 0; i < LENGTH_OF(rows); i++) {
        for (size_t max = rows[i].size - 2; max <= rows[i].size + 2; max++) {
            for (size_t piece = 1; piece <= rows[i].text.len; piece++) {
                struct sse s;
                struct reader r;
                sse_init(&s, max);
                reader_init(&r, 0);
                enum errc rc = feed_pieces(&s, rows[i].text, piece, &r);
                assert_int_equal(rc, max < rows[i].size ? ERR_TOO_LARGE : ERR_NONE);
                if (rc != ERR_NONE) assert_int_equal(r.n_events, 0);
                sse_fini(&s);
                reader_fini(&r);
            }
        }
    }
}

static void an_unfinished_event_over_the_limit_is_refused_before_it_ends(void **state)
{
    (void)state;
    for (size_t piece = 1; piece <= 21; piece++) {
        struct sse s;
        struct reader r;
        sse_init(&s, 20);
        reader_init(&r, 0);
        assert_int_equal(feed_pieces(&s, S("data: 01234567890123"), piece, &r), ERR_NONE);
        assert_int_equal(feed_copy(&s, S("4"), &r), ERR_TOO_LARGE);
        sse_fini(&s);
        reader_fini(&r);
    }
}

static void a_callback_that_says_no_ends_the_feeding(void **state)
{
    (void)state;
    str text = S("data: a\n\ndata: b\n\ndata: c\n\n");
    for (size_t cut = 0; cut <= 17; cut++) {
        struct sse s;
        struct reader r;
        sse_init(&s, 100);
        reader_init(&r, 2);
        assert_int_equal(feed_copy(&s, str_take(text, cut), &r), ERR_NONE);
        assert_int_equal(feed_copy(&s, str_skip(text, cut), &r), ERR_NONE);
        assert_int_equal(r.n_events, 2);
        assert_true(str_eq(buf_str(&r.seen), S("|a;|b;")));
        assert_int_equal(sse_unfinished(&s).len, 0);
        sse_fini(&s);
        reader_fini(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_are_split_the_same_in_any_pieces),
        cmocka_unit_test(a_nul_is_a_byte_like_others),
        cmocka_unit_test(an_event_is_reported_with_the_byte_that_ends_it),
        cmocka_unit_test(whole_events_are_slices_of_the_piece_and_nothing_is_allocated),
        cmocka_unit_test(the_size_limit_is_exact_and_the_same_in_any_pieces),
        cmocka_unit_test(an_unfinished_event_over_the_limit_is_refused_before_it_ends),
        cmocka_unit_test(a_callback_that_says_no_ends_the_feeding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
