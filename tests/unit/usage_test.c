/* The codec of usage records: what goes in comes out, whatever the bytes are the decoder survives them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/utf8.h"
#include "gateway/journal/journal.h"
#include "gateway/journal/journal_segment.h"

static struct usage_record sample(void)
{
    struct usage_record r = {
        .boot = 7,
        .n = (uint64_t)3 << 48 | 99,
        .started_us = 1790000000123456,
        .dialect = DIALECT_MESSAGES,
        .outcome = CALL_CANCELLED,
        .is_streamed = true,
        .is_estimated = true,
        .status = 200,
        .sent_us = 130,
        .connect_us = 0,
        .head_us = 250000,
        .first_us = -1,
        .total_us = 1234567,
        .bytes_in = 4096,
        .bytes_out = 1u << 20,
        .tokens = {.input = 1200,
                   .cache_read = 80000,
                   .cache_write = 3,
                   .cache_write_1h = 4,
                   .output = 512,
                   .reasoning = 100},
        .cost_nanousd = 4210000,
        .charged_nanousd = 9,
        .snapshot = 5,
        .workspace_id = {{1, 2}},
        .project_id = {{3}},
        .user_id = {{[15] = 4}},
        .key = S("alice"),
        .project = S("demo"),
        .user = S("u1"),
        .task = S("task-9"),
        .session = S("7d3cbe6e-0c56-4b9e-a0d1-6a4a1d1a1c55"),
        .tags = S("ci,nightly"),
        .provider = S("anthropic"),
        .model = S("claude-sonnet-4-5-20250929"),
        .model_asked = S("smart"),
        .error = S("upstream_timeout"),
        .trace_id = S("4bf92f3577b34da6a3ce929d0e0e4736"),
    };
    for (uint8_t i = 0; i < 16; i++) {
        r.request_id.b[i] = i;
        r.key_id[i] = (uint8_t)(0xf0 + i);
    }
    return r;
}

static void assert_str(str got, str want) { assert_true(str_eq(got, want)); }

static void assert_same(const struct usage_record *a, const struct usage_record *b)
{
    assert_true(a->boot == b->boot && a->n == b->n);
    assert_memory_equal(a->request_id.b, b->request_id.b, 16);
    assert_memory_equal(a->key_id, b->key_id, 16);
    assert_int_equal(a->started_us, b->started_us);
    assert_int_equal(a->dialect, b->dialect);
    assert_int_equal(a->outcome, b->outcome);
    assert_int_equal(a->is_streamed, b->is_streamed);
    assert_int_equal(a->is_estimated, b->is_estimated);
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->sent_us, b->sent_us);
    assert_int_equal(a->connect_us, b->connect_us);
    assert_int_equal(a->head_us, b->head_us);
    assert_int_equal(a->first_us, b->first_us);
    assert_int_equal(a->total_us, b->total_us);
    assert_true(a->bytes_in == b->bytes_in && a->bytes_out == b->bytes_out);
    assert_memory_equal(&a->tokens, &b->tokens, sizeof a->tokens);
    assert_true(a->cost_nanousd == b->cost_nanousd);
    assert_true(a->charged_nanousd == b->charged_nanousd);
    assert_true(a->snapshot == b->snapshot);
    assert_memory_equal(a->workspace_id.b, b->workspace_id.b, 16);
    assert_memory_equal(a->project_id.b, b->project_id.b, 16);
    assert_memory_equal(a->user_id.b, b->user_id.b, 16);
    assert_str(a->key, b->key);
    assert_str(a->project, b->project);
    assert_str(a->user, b->user);
    assert_str(a->task, b->task);
    assert_str(a->session, b->session);
    assert_str(a->tags, b->tags);
    assert_str(a->provider, b->provider);
    assert_str(a->model, b->model);
    assert_str(a->model_asked, b->model_asked);
    assert_str(a->error, b->error);
    assert_str(a->trace_id, b->trace_id);
}

/* Encodes, and checks the frame around the payload. */
static str encode(const struct usage_record *r, struct buf *out)
{
    buf_init(out, JOURNAL_RECORD_MAX * 2);
    usage_record_encode(r, out);
    assert_int_equal(buf_err(out), ERR_NONE);
    struct frame f;
    assert_int_equal(frame_parse(buf_str(out), &f), FRAME_WHOLE);
    assert_int_equal(f.type, FRAME_CALL);
    assert_int_equal(f.len, out->len);
    return f.payload;
}

static void assert_round_trip(const struct usage_record *r)
{
    struct buf b;
    str payload = encode(r, &b);
    struct usage_record back;
    err e = {0};
    assert_int_equal(usage_record_decode(payload, &back, &e), ERR_NONE);
    assert_same(r, &back);
    buf_fini(&b);
}

static void a_record_comes_back_as_it_was(void **state)
{
    (void)state;
    struct usage_record r = sample();
    assert_round_trip(&r);
}

static void an_empty_record_comes_back_with_its_cost_unknown(void **state)
{
    (void)state;
    struct usage_record r = {.cost_nanousd = COST_UNKNOWN, .sent_us = -1, .connect_us = -1, .head_us = -1};
    assert_round_trip(&r);
    r.cost_nanousd = 0; /* free is another thing than unknown */
    assert_round_trip(&r);
}

static void extreme_numbers_come_back(void **state)
{
    (void)state;
    struct usage_record r = sample();
    r.boot = r.n = r.bytes_in = r.bytes_out = UINT64_MAX;
    r.started_us = INT64_MIN;
    r.sent_us = INT64_MAX;
    r.total_us = INT64_MIN;
    r.status = UINT16_MAX;
    r.tokens = (struct token_usage){INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX};
    r.cost_nanousd = INT64_MAX;
    assert_round_trip(&r);
    r.cost_nanousd = INT64_MIN + 1;
    assert_round_trip(&r);
}

static void the_longest_record_fits_into_the_admitted_room_and_texts_are_cut_between_characters(void **state)
{
    (void)state;
    char text[600];
    for (size_t i = 0; i < sizeof text; i += 3)
        memcpy(text + i, "\xe2\x82\xac", 3); /* 256 is no multiple of 3 */
    struct usage_record r = sample();
    r.boot = r.n = r.bytes_in = r.bytes_out = UINT64_MAX;
    r.started_us = r.sent_us = r.connect_us = r.head_us = r.first_us = r.total_us = INT64_MIN;
    r.tokens = (struct token_usage){INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX};
    r.cost_nanousd = INT64_MAX;
    r.key = r.project = r.user = r.task = r.session = r.tags = r.provider = r.model = r.model_asked =
        r.error = r.trace_id = (str){text, sizeof text};
    struct buf b;
    str payload = encode(&r, &b);
    assert_true(b.len <= JOURNAL_RECORD_MAX);
    struct usage_record back;
    assert_int_equal(usage_record_decode(payload, &back, NULL), ERR_NONE);
    assert_int_equal(back.tags.len, 255);
    assert_true(utf8_is_valid(back.tags));
    assert_int_equal(back.trace_id.len, 255);
    buf_fini(&b);
}

static void negative_token_counts_are_written_as_none(void **state)
{
    (void)state;
    struct usage_record r = sample(), back;
    r.tokens.input = -5;
    struct buf b;
    assert_int_equal(usage_record_decode(encode(&r, &b), &back, NULL), ERR_NONE);
    assert_int_equal(back.tokens.input, 0);
    buf_fini(&b);
}

static void a_payload_cut_anywhere_is_an_error_and_longer_ones_are_read(void **state)
{
    (void)state;
    struct usage_record r = sample(), back;
    struct buf b;
    str payload = encode(&r, &b);
    size_t old = payload.len - 48 - 1 - 1; /* records of 0.1 end before the ids; the two numbers of the sample take a byte each */
    for (size_t len = 0; len < payload.len; len++) {
        if (len == old) continue;
        /* a copy of exactly this size, so that a read behind it is seen */
        char *copy = malloc(len ? len : 1);
        memcpy(copy, payload.p, len);
        err e = {0};
        assert_int_equal(usage_record_decode((str){copy, len}, &back, &e), ERR_CORRUPT);
        assert_int_equal(e.code, ERR_CORRUPT);
        free(copy);
    }
    assert_int_equal(usage_record_decode((str){payload.p, old}, &back, NULL), ERR_NONE);
    assert_true(back.charged_nanousd == r.cost_nanousd && back.snapshot == 0 && back.workspace_id.b[0] == 0);
    /* a newer version adds fields at the end */
    char longer[JOURNAL_RECORD_MAX];
    memcpy(longer, payload.p, payload.len);
    memset(longer + payload.len, 0xff, 20);
    assert_int_equal(usage_record_decode((str){longer, payload.len + 20}, &back, NULL), ERR_NONE);
    assert_same(&r, &back);
    buf_fini(&b);
}

static void unknown_dialects_and_overlong_numbers_are_refused(void **state)
{
    (void)state;
    struct usage_record r = sample(), back;
    struct buf b;
    str payload = encode(&r, &b);
    char copy[JOURNAL_RECORD_MAX];
    memcpy(copy, payload.p, payload.len);
    size_t started_at = 40 + 1, dialect_at = started_at + 8; /* boot takes one byte, the time eight */
    assert_int_equal(copy[dialect_at], DIALECT_MESSAGES);
    copy[dialect_at] = DIALECTS;
    err e = {0};
    assert_int_equal(usage_record_decode((str){copy, payload.len}, &back, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "dialect"));
    memset(copy + 40, 0xff, 11); /* more than 64 bits */
    assert_int_equal(usage_record_decode((str){copy, payload.len}, &back, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "boot"));
    buf_fini(&b);
}

static void a_buffer_that_is_too_small_fails_and_stays_empty(void **state)
{
    (void)state;
    struct usage_record r = sample();
    struct buf b;
    buf_init(&b, 64);
    usage_record_encode(&r, &b);
    assert_int_equal(buf_err(&b), ERR_TOO_LARGE);
    assert_int_equal(b.len, 0);
    buf_fini(&b);
}

static void names_go_both_ways(void **state)
{
    (void)state;
    for (unsigned i = 0; i < DIALECTS; i++) {
        enum dialect d;
        assert_true(dialect_parse(str_c(dialect_name((enum dialect)i)), &d));
        assert_int_equal(d, i);
    }
    enum dialect d;
    assert_false(dialect_parse(S("Chat"), &d));
    assert_false(dialect_parse(S(""), &d));
    assert_string_equal(dialect_name(DIALECT_COUNT_TOKENS), "count_tokens");
    assert_string_equal(outcome_name(CALL_COMPLETED), "completed");
    assert_string_equal(outcome_name(CALL_UPSTREAM_FAILED), "upstream_failed");
    assert_string_equal(outcome_name((enum call_outcome)200), "unknown");
    assert_string_equal(dialect_name((enum dialect)200), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_comes_back_as_it_was),
        cmocka_unit_test(an_empty_record_comes_back_with_its_cost_unknown),
        cmocka_unit_test(extreme_numbers_come_back),
        cmocka_unit_test(the_longest_record_fits_into_the_admitted_room_and_texts_are_cut_between_characters),
        cmocka_unit_test(negative_token_counts_are_written_as_none),
        cmocka_unit_test(a_payload_cut_anywhere_is_an_error_and_longer_ones_are_read),
        cmocka_unit_test(unknown_dialects_and_overlong_numbers_are_refused),
        cmocka_unit_test(a_buffer_that_is_too_small_fails_and_stays_empty),
        cmocka_unit_test(names_go_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
