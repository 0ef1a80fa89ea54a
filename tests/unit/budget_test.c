/* Budgets: periods against the calendar, reservations that race, what is lowered and what is refused, and that everything that was reserved
 * is given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <pthread.h>

#include "base/err.h"
#include "gateway/budget.h"

#define USD INT64_C(1000000000)

static usec at(const char *text)
{
    usec t = 0;
    assert_true(time_parse(str_c(text), &t));
    return t;
}

static void bounds_are(enum budget_period p, const char *when, const char *from, const char *to)
{
    usec start, end;
    budget_period_bounds(p, at(when), &start, &end);
    assert_int_equal(start, at(from));
    assert_int_equal(end, at(to));
}

static void periods_are_those_of_the_utc_calendar(void **state)
{
    (void)state;
    bounds_are(BUDGET_DAILY, "2026-11-24T23:59:59.999999Z", "2026-11-24", "2026-11-25");
    bounds_are(BUDGET_DAILY, "2026-11-24T00:00:00Z", "2026-11-24", "2026-11-25");
    bounds_are(BUDGET_WEEKLY, "2026-11-24T12:00:00Z", "2026-11-23", "2026-11-30");
    bounds_are(BUDGET_WEEKLY, "2026-11-23T00:00:00Z", "2026-11-23", "2026-11-30");
    bounds_are(BUDGET_WEEKLY, "2026-11-22T23:59:59Z", "2026-11-16", "2026-11-23");
    bounds_are(BUDGET_WEEKLY, "1970-01-01T00:00:00Z", "1969-12-29", "1970-01-05");
    bounds_are(BUDGET_MONTHLY, "2026-12-31T23:59:59Z", "2026-12-01", "2027-01-01");
    bounds_are(BUDGET_MONTHLY, "2028-02-29T08:00:00Z", "2028-02-01", "2028-03-01");
    usec start, end;
    budget_period_bounds(BUDGET_TOTAL, at("2026-11-24"), &start, &end);
    assert_int_equal(start, 0);
    assert_true(end == INT64_MAX);
}

/* --- one gate or several --- */

struct scene {
    struct budget budgets[BUDGET_GATES_MAX];
    struct budget_gate gates[BUDGET_GATES_MAX];
    unsigned n;
};

static void add_gate(struct scene *s, enum budget_scope scope, enum budget_period period, int64_t limit, int64_t spent, usec now)
{
    uuid id = {{(uint8_t)s->n}};
    struct budget *b = &s->budgets[s->n];
    *b = (struct budget){.scope = scope, .scope_id = id, .period = period, .is_hard = limit >= 0, .limit_nanousd = limit, .cap_pico = -1};
    b->counter = budget_counter_new(scope, &id, period, false, 1, now, spent);
    assert_non_null(b->counter);
    s->gates[s->n++] = (struct budget_gate){b->counter, limit >= 0 ? b : NULL};
}

static void free_scene(struct scene *s)
{
    for (unsigned i = 0; i < s->n; i++)
        budget_counter_put(s->budgets[i].counter);
}

static int64_t spent(const struct scene *s, unsigned i, usec now) { return budget_counter_state(s->gates[i].counter, now).spent_nanousd; }
static int64_t reserved(const struct scene *s, unsigned i, usec now)
{
    return budget_counter_state(s->gates[i].counter, now).reserved_nanousd;
}

/* 3 USD and 15 USD per million tokens. */
static struct budget_ask ask(int64_t input, int64_t output)
{
    return (struct budget_ask){.input_pico = (picousd)input * 3000000, .output_pico = 15000000, .output_tokens = output, .output_least = 1024};
}

static void a_reservation_is_settled_at_what_was_spent(void **state)
{
    (void)state;
    struct scene s = {0};
    usec now = at("2026-11-24T12:00:00Z");
    struct budget_hold hold;
    struct budget_refusal why;
    int64_t granted;
    struct budget_ask a = ask(10000, 1000);
    add_gate(&s, BUDGET_WORKSPACE, BUDGET_MONTHLY, 100 * USD, 0, now);
    add_gate(&s, BUDGET_KEY, BUDGET_TOTAL, 5 * USD, USD, now);
    assert_int_equal(budget_reserve(s.gates, s.n, now, &a, &hold, &granted, &why), BUDGET_GRANTED);
    assert_int_equal(granted, 1000);
    assert_int_equal(hold.amount_nanousd, 45000000); /* 0.03 + 0.015 */
    for (unsigned i = 0; i < s.n; i++)
        assert_int_equal(reserved(&s, i, now), 45000000);
    budget_settle(&hold, 12345678);
    assert_int_equal(spent(&s, 0, now), 12345678);
    assert_int_equal(spent(&s, 1, now), USD + 12345678);
    assert_int_equal(reserved(&s, 0, now), 0);
    assert_int_equal(reserved(&s, 1, now), 0);
    budget_settle(&hold, 99); /* a second time counts nothing */
    assert_int_equal(spent(&s, 0, now), 12345678);
    free_scene(&s);
}

static void only_the_output_is_lowered_and_not_below_the_least(void **state)
{
    (void)state;
    struct scene s = {0};
    usec now = at("2026-11-24T12:00:00Z");
    struct budget_hold hold;
    struct budget_refusal why;
    int64_t granted;
    add_gate(&s, BUDGET_KEY, BUDGET_DAILY, USD, 0, now);
    struct budget_ask a = ask(100000, 64000); /* 0.3 + 0.96 */
    assert_int_equal(budget_reserve(s.gates, s.n, now, &a, &hold, &granted, &why), BUDGET_GRANTED);
    assert_int_equal(granted, 46666); /* 0.7 / 0.000015 */
    assert_true(hold.amount_nanousd <= USD);
    budget_settle(&hold, 690000000);
    /* 0.31 is left: the input and 666 tokens. */
    assert_int_equal(budget_reserve(s.gates, s.n, now, &a, &hold, &granted, &why), BUDGET_REFUSED);
    assert_ptr_equal(why.budget, &s.budgets[0]);
    assert_int_equal(why.left_nanousd, 310000000);
    assert_int_equal(why.input_nanousd, 300000000);
    assert_int_equal(why.needed_nanousd, 315360000);
    assert_int_equal(why.resets_us, at("2026-11-25"));
    assert_int_equal(reserved(&s, 0, now), 0);
    /* Who wants less than the least gets it. */
    a = ask(100000, 600);
    assert_int_equal(budget_reserve(s.gates, s.n, now, &a, &hold, &granted, &why), BUDGET_GRANTED);
    assert_int_equal(granted, 600);
    budget_settle(&hold, 0);
    free_scene(&s);
}

static void what_costs_nothing_fits_into_an_overdrawn_budget(void **state)
{
    (void)state;
    struct scene s = {0};
    usec now = at("2026-11-24T12:00:00Z");
    struct budget_hold hold;
    struct budget_refusal why;
    int64_t granted;
    struct budget_ask local = {.output_tokens = 5000, .output_least = 1024}, paid = {.output_pico = 1, .output_tokens = 5000, .output_least = 1024};
    add_gate(&s, BUDGET_KEY, BUDGET_TOTAL, USD, USD + 5, now);
    assert_int_equal(budget_reserve(s.gates, s.n, now, &local, &hold, &granted, &why), BUDGET_GRANTED);
    assert_int_equal(granted, 5000);
    budget_settle(&hold, 0);
    assert_int_equal(budget_reserve(s.gates, s.n, now, &paid, &hold, &granted, &why), BUDGET_REFUSED);
    assert_int_equal(why.left_nanousd, 0);
    assert_int_equal(spent(&s, 0, now), USD + 5);
    free_scene(&s);
}

static void all_budgets_must_pass_and_a_failure_leaves_nothing_behind(void **state)
{
    (void)state;
    struct scene s = {0};
    usec now = at("2026-11-24T12:00:00Z");
    struct budget_hold hold;
    struct budget_refusal why;
    int64_t granted;
    struct budget_ask a = ask(1000, 100000);
    add_gate(&s, BUDGET_WORKSPACE, BUDGET_DAILY, 100 * USD, 0, now);
    add_gate(&s, BUDGET_PROJECT, BUDGET_WEEKLY, -1, 0, now);
    add_gate(&s, BUDGET_USER, BUDGET_MONTHLY, USD, USD, now);
    add_gate(&s, BUDGET_KEY, BUDGET_TOTAL, 50 * USD, 0, now);
    assert_int_equal(budget_reserve(s.gates, s.n, now, &a, &hold, &granted, &why), BUDGET_REFUSED);
    assert_ptr_equal(why.budget, &s.budgets[2]);
    assert_int_equal(why.left_nanousd, 0);
    for (unsigned i = 0; i < s.n; i++) {
        assert_int_equal(spent(&s, i, now), i == 2 ? USD : 0);
        assert_int_equal(reserved(&s, i, now), 0);
    }
    free_scene(&s);
}

static void a_call_belongs_to_the_period_that_it_began_in(void **state)
{
    (void)state;
    struct scene s = {0};
    usec evening = at("2026-11-24T23:59:00Z"), morning = at("2026-11-25T00:01:00Z");
    struct budget_hold hold;
    struct budget_refusal why;
    int64_t granted;
    struct budget_ask a = ask(0, 60000); /* 0.9 */
    add_gate(&s, BUDGET_KEY, BUDGET_DAILY, USD, 0, evening);
    assert_int_equal(budget_reserve(s.gates, s.n, evening, &a, &hold, &granted, &why), BUDGET_GRANTED);
    struct budget_hold next;
    assert_int_equal(budget_reserve(s.gates, s.n, morning, &a, &next, &granted, &why), BUDGET_GRANTED);
    assert_int_equal(granted, 60000);
    budget_settle(&hold, 500000000);
    assert_int_equal(spent(&s, 0, morning), 0);
    assert_int_equal(reserved(&s, 0, morning), 900000000);
    budget_settle(&next, 100000000);
    assert_int_equal(spent(&s, 0, morning), 100000000);
    /* A late addition for yesterday is not today's; and for a clock that goes back, or a call that had to wait, yesterday is as it was left. */
    budget_counter_add(s.gates[0].counter, evening, 7);
    budget_counter_add(s.gates[0].counter, morning, 5);
    assert_int_equal(spent(&s, 0, morning), 100000005);
    assert_int_equal(spent(&s, 0, evening), 500000007);
    assert_int_equal(budget_reserve(s.gates, s.n, evening, &a, &hold, &granted, &why), BUDGET_GRANTED);
    assert_true(hold.amount_nanousd <= 499999993); /* lowered to what yesterday has left */
    budget_settle(&hold, 0);
    /* Before anything that it knows: the latest period. */
    assert_int_equal(spent(&s, 0, at("2026-11-20T12:00:00Z")), 100000005);
    free_scene(&s);
}

static void absurd_amounts_are_refused_and_do_not_overflow(void **state)
{
    (void)state;
    struct scene s = {0};
    usec now = at("2026-11-24T12:00:00Z");
    struct budget_hold hold;
    struct budget_refusal why;
    int64_t granted;
    struct budget_ask a = {.input_pico = (picousd)INT64_MAX * 1000, .output_pico = 15000000, .output_tokens = INT64_MAX, .output_least = 1024};
    add_gate(&s, BUDGET_KEY, BUDGET_TOTAL, INT64_MAX, 0, now);
    assert_int_equal(budget_reserve(s.gates, s.n, now, &a, &hold, &granted, &why), BUDGET_REFUSED);
    a = (struct budget_ask){.output_pico = 15000000, .output_tokens = INT64_MAX, .output_least = 1024};
    assert_int_equal(budget_reserve(s.gates, s.n, now, &a, &hold, &granted, &why), BUDGET_GRANTED);
    assert_true(granted > 0);
    budget_settle(&hold, INT64_MAX);
    budget_hold_open(s.gates, s.n, now, &hold);
    budget_settle(&hold, 3);
    assert_true(spent(&s, 0, now) > 0);
    free_scene(&s);
}

/* --- races --- */

#define THREADS 4
#define ROUNDS 20000

struct racer {
    struct scene *s;
    usec now;
    unsigned seed;
    int64_t spent, refused;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct budget_hold hold;
        struct budget_refusal why;
        int64_t granted = 0;
        struct budget_ask a = ask(100, 4000); /* 0.0603 */
        if (budget_reserve(r->s->gates, r->s->n, r->now, &a, &hold, &granted, &why) != BUDGET_GRANTED) {
            r->refused++;
            continue;
        }
        r->seed = r->seed * 1103515245u + 12345u;
        int64_t cost = hold.amount_nanousd / (1 + r->seed / 65536 % 64);
        r->spent += cost;
        budget_settle(&hold, cost);
        struct budget_state b = budget_counter_state(r->s->gates[0].counter, r->now);
        if (b.spent_nanousd + b.reserved_nanousd > 20 * USD)
            abort();
    }
    return NULL;
}

static void threads_that_race_for_the_last_dollar_never_spend_more(void **state)
{
    (void)state;
    struct scene s = {0};
    usec now = at("2026-11-24T12:00:00Z");
    add_gate(&s, BUDGET_WORKSPACE, BUDGET_MONTHLY, 20 * USD, 0, now);
    add_gate(&s, BUDGET_PROJECT, BUDGET_TOTAL, -1, 0, now);
    add_gate(&s, BUDGET_KEY, BUDGET_DAILY, 15 * USD, 0, now);
    pthread_t threads[THREADS];
    struct racer racers[THREADS];
    int64_t sum = 0, refused = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        racers[i] = (struct racer){&s, now, 7 + i, 0, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        sum += racers[i].spent;
        refused += racers[i].refused;
    }
    assert_true(refused > 0);
    assert_true(sum <= 15 * USD);
    assert_true(sum > 14 * USD);
    for (unsigned i = 0; i < s.n; i++) {
        assert_int_equal(spent(&s, i, now), sum);
        assert_int_equal(reserved(&s, i, now), 0);
    }
    free_scene(&s);
}

static void *reserve_and_give_back(void *arg)
{
    struct racer *r = arg;
    for (unsigned i = 0; i < 10 * ROUNDS; i++) {
        struct budget_hold hold;
        struct budget_refusal why;
        int64_t granted;
        struct budget_ask a = ask(100, 4000);
        if (r->seed % 2 && budget_reserve(r->s->gates, r->s->n, r->now, &a, &hold, &granted, &why) == BUDGET_GRANTED)
            budget_settle(&hold, 0);
        r->spent += budget_counter_state(r->s->gates[i % r->s->n].counter, r->now).spent_nanousd;
    }
    return NULL;
}

static void what_is_only_reserved_never_looks_spent(void **state)
{
    (void)state;
    struct scene s = {0};
    usec now = at("2026-11-24T12:00:00Z");
    add_gate(&s, BUDGET_WORKSPACE, BUDGET_MONTHLY, 20 * USD, 0, now);
    add_gate(&s, BUDGET_PROJECT, BUDGET_TOTAL, -1, 0, now);
    add_gate(&s, BUDGET_KEY, BUDGET_DAILY, 15 * USD, 0, now);
    pthread_t threads[THREADS];
    struct racer racers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        racers[i] = (struct racer){&s, now, i, 0, 0}; /* every second one only looks */
        assert_int_equal(pthread_create(&threads[i], NULL, reserve_and_give_back, &racers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(racers[i].spent, 0);
    }
    free_scene(&s);
}

static void *cross_midnight(void *arg)
{
    struct racer *r = arg;
    for (unsigned i = 0; i < 200; i++) {
        struct budget_hold hold;
        usec now = r->now + (int64_t)(i / 10) * USEC_PER_DAY;
        budget_hold_open(r->s->gates, r->s->n, now, &hold);
        budget_settle(&hold, 1);
    }
    return NULL;
}

static void periods_that_begin_under_several_threads_begin_once(void **state)
{
    (void)state;
    struct scene s = {0};
    usec now = at("2026-11-24T12:00:00Z");
    add_gate(&s, BUDGET_KEY, BUDGET_DAILY, -1, 0, now);
    add_gate(&s, BUDGET_KEY, BUDGET_TOTAL, -1, 0, now);
    pthread_t threads[THREADS];
    struct racer racer = {&s, now, 0, 0, 0};
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, cross_midnight, &racer), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(spent(&s, 1, now), THREADS * 200);
    usec last = now + 19 * USEC_PER_DAY;
    assert_true(spent(&s, 0, last) >= THREADS * 10);
    free_scene(&s);
}

static void names_are_read_as_they_are_written(void **state)
{
    (void)state;
    for (unsigned i = 0; i < BUDGET_SCOPES; i++) {
        enum budget_scope scope;
        assert_true(budget_scope_parse(str_c(budget_scope_name((enum budget_scope)i)), &scope));
        assert_int_equal(scope, i);
    }
    for (unsigned i = 0; i < BUDGET_PERIODS; i++) {
        enum budget_period period;
        assert_true(budget_period_parse(str_c(budget_period_name((enum budget_period)i)), &period));
        assert_int_equal(period, i);
    }
    enum budget_scope scope;
    assert_false(budget_scope_parse(S("team"), &scope));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(periods_are_those_of_the_utc_calendar),
        cmocka_unit_test(a_reservation_is_settled_at_what_was_spent),
        cmocka_unit_test(only_the_output_is_lowered_and_not_below_the_least),
        cmocka_unit_test(what_costs_nothing_fits_into_an_overdrawn_budget),
        cmocka_unit_test(all_budgets_must_pass_and_a_failure_leaves_nothing_behind),
        cmocka_unit_test(a_call_belongs_to_the_period_that_it_began_in),
        cmocka_unit_test(absurd_amounts_are_refused_and_do_not_overflow),
        cmocka_unit_test(threads_that_race_for_the_last_dollar_never_spend_more),
        cmocka_unit_test(what_is_only_reserved_never_looks_spent),
        cmocka_unit_test(periods_that_begin_under_several_threads_begin_once),
        cmocka_unit_test(names_are_read_as_they_are_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
