/* Rate limits: a minute's worth at once and then evenly, debts of long answers, parallel calls, several gates, and the fields that tell of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "base/err.h"
#include "gateway/rates.h"

#define S_NS INT64_C(1000000000)
#define NOW (1000 * S_NS)

static struct rate_gate gate(int64_t requests, int64_t tokens, int64_t parallel)
{
    uuid id = {{1}};
    struct rate_gate g = {rate_counter_new(NULL, 'k', &id), {requests, tokens, parallel}, false};
    assert_non_null(g.counter);
    return g;
}

static void a_minutes_worth_of_requests_then_evenly(void **state)
{
    (void)state;
    struct rate_gate g = gate(60, 0, 0);
    struct rate_refusal why;
    for (unsigned i = 0; i < 60; i++)
        assert_true(rates_take(&g, 1, NOW, 0, &why));
    assert_false(rates_take(&g, 1, NOW, 0, &why));
    assert_int_equal(why.kind, RATE_REQUESTS);
    assert_int_equal(why.retry_after_s, 1);
    assert_int_equal(rates_state(&g, 1, RATE_REQUESTS, NOW).remaining, 0);
    assert_true(rates_take(&g, 1, NOW + S_NS, 0, &why));
    assert_false(rates_take(&g, 1, NOW + S_NS, 0, &why));
    assert_int_equal(rates_state(&g, 1, RATE_REQUESTS, NOW + 31 * S_NS).remaining, 30);
    assert_int_equal(rates_state(&g, 1, RATE_REQUESTS, NOW + 500 * S_NS).remaining, 60);
    rate_counter_put(g.counter);
}

static void the_tokens_of_an_answer_are_a_debt_that_later_calls_wait_for(void **state)
{
    (void)state;
    struct rate_gate g = gate(0, 6000, 0);
    struct rate_refusal why;
    assert_true(rates_take(&g, 1, NOW, 1000, &why));
    rates_settle(&g, 1, 1000, 9000);
    assert_int_equal(rates_state(&g, 1, RATE_TOKENS, NOW).remaining, 0);
    assert_false(rates_take(&g, 1, NOW, 1000, &why));
    assert_int_equal(why.kind, RATE_TOKENS);
    assert_int_equal(why.retry_after_s, 40); /* 90 s of debt and the 10 s that it needs itself, in a bucket of 60 s */
    assert_false(rates_take(&g, 1, NOW + 39 * S_NS, 1000, &why));
    assert_true(rates_take(&g, 1, NOW + 40 * S_NS, 1000, &why));
    rates_settle(&g, 1, 1000, 1000);
    rate_counter_put(g.counter);
}

static void a_call_larger_than_the_limit_passes_when_nothing_else_does(void **state)
{
    (void)state;
    struct rate_gate g = gate(0, 1000, 0);
    struct rate_refusal why;
    assert_true(rates_take(&g, 1, NOW, 5000, &why));
    assert_false(rates_take(&g, 1, NOW + 100 * S_NS, 5000, &why));
    assert_int_equal(why.retry_after_s, 200);
    assert_true(rates_take(&g, 1, NOW + 300 * S_NS, 5000, &why));
    rate_counter_put(g.counter);
}

static void parallel_calls_are_counted_and_given_back(void **state)
{
    (void)state;
    struct rate_gate g = gate(0, 0, 2);
    struct rate_refusal why;
    assert_true(rates_take(&g, 1, NOW, 0, &why));
    assert_true(rates_take(&g, 1, NOW, 0, &why));
    assert_false(rates_take(&g, 1, NOW, 0, &why));
    assert_int_equal(why.kind, RATE_PARALLEL);
    rates_settle(&g, 1, 0, 10);
    assert_true(rates_take(&g, 1, NOW, 0, &why));
    rates_settle(&g, 1, 0, 0);
    rates_settle(&g, 1, 0, 0);
    assert_int_equal(atomic_load(&g.counter->parallel), 0);
    rate_counter_put(g.counter);
}

static void what_a_second_gate_refuses_is_given_back_to_the_first(void **state)
{
    (void)state;
    struct rate_gate gates[2] = {gate(10, 1000, 5), gate(1, 0, 0)};
    struct rate_refusal why;
    gates[1].is_project = true;
    assert_true(rates_take(gates, 2, NOW, 10, &why));
    for (unsigned i = 0; i < 20; i++) {
        assert_false(rates_take(gates, 2, NOW, 10, &why));
        assert_ptr_equal(why.gate, &gates[1]);
        assert_int_equal(why.retry_after_s, 60);
    }
    assert_int_equal(rates_state(gates, 1, RATE_REQUESTS, NOW).remaining, 9);
    assert_int_equal(rates_state(gates, 1, RATE_TOKENS, NOW).remaining, 990);
    assert_int_equal(rates_state(gates, 2, RATE_REQUESTS, NOW).remaining, 0);
    assert_int_equal(rates_state(gates, 1, RATE_PARALLEL, NOW).remaining, 4);
    rate_counter_put(gates[0].counter);
    rate_counter_put(gates[1].counter);
}

static void fields_are_in_the_words_of_the_dialect(void **state)
{
    (void)state;
    struct rate_gate g = gate(60, 60000, 0);
    struct rate_refusal why;
    struct buf out;
    usec now = 0;
    assert_true(time_parse(S("2026-11-24T12:00:00.25Z"), &now));
    assert_true(rates_take(&g, 1, NOW, 30000, &why));
    buf_init(&out, 4096);
    rates_write_fields(&g, 1, false, NOW, now, &out);
    assert_true(str_eq(buf_str(&out), S("x-ratelimit-limit-requests: 60\r\nx-ratelimit-remaining-requests: 59\r\n"
                                        "x-ratelimit-reset-requests: 1.000s\r\n"
                                        "x-ratelimit-limit-tokens: 60000\r\nx-ratelimit-remaining-tokens: 30000\r\n"
                                        "x-ratelimit-reset-tokens: 30.000s\r\n")));
    buf_clear(&out);
    rates_write_fields(&g, 1, true, NOW, now, &out);
    assert_true(str_starts(buf_str(&out), S("anthropic-ratelimit-requests-limit: 60\r\nanthropic-ratelimit-requests-remaining: 59\r\n"
                                            "anthropic-ratelimit-requests-reset: 2026-11-24T12:00:02Z\r\n")));
    assert_true(rates_is_field(S("X-RateLimit-Limit-Requests")));
    assert_true(rates_is_field(S("anthropic-ratelimit-tokens-reset")));
    assert_false(rates_is_field(S("x-request-id")));
    buf_fini(&out);
    rate_counter_put(g.counter);
}

static atomic_uint n_taken;
static void *take_many(void *arg)
{
    struct rate_gate *g = arg;
    struct rate_refusal why;
    for (unsigned i = 0; i < 5000; i++)
        if (rates_take(g, 1, NOW, 1, &why)) {
            n_taken++;
            rates_settle(g, 1, 1, 1);
        }
    return NULL;
}

static void threads_together_get_a_minutes_worth(void **state)
{
    (void)state;
    struct rate_gate g = gate(1000, 1000000, 100);
    pthread_t threads[4];
    n_taken = 0;
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_many, &g), 0);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(n_taken, 1000);
    assert_int_equal(rates_state(&g, 1, RATE_TOKENS, NOW).remaining, 999000);
    assert_int_equal(atomic_load(&g.counter->parallel), 0);
    rate_counter_put(g.counter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_minutes_worth_of_requests_then_evenly),
        cmocka_unit_test(the_tokens_of_an_answer_are_a_debt_that_later_calls_wait_for),
        cmocka_unit_test(a_call_larger_than_the_limit_passes_when_nothing_else_does),
        cmocka_unit_test(parallel_calls_are_counted_and_given_back),
        cmocka_unit_test(what_a_second_gate_refuses_is_given_back_to_the_first),
        cmocka_unit_test(fields_are_in_the_words_of_the_dialect),
        cmocka_unit_test(threads_together_get_a_minutes_worth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
