/* Limits over nodes: what two pools on the same rows let through, against the model of one bucket; debts, what idles, nodes that come, go and are cut off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdlib.h>

#include "base/err.h"
#include "gateway/rates/pool.h"

#define MS INT64_C(1000000)
#define S_NS INT64_C(1000000000)
#define NODES 2
#define WALL_US INT64_C(1700000000000000)

/* What the database has of one key. */
struct world {
    int64_t now_ns;
    int64_t full_us[2];
    int64_t held[NODES], wanted[NODES];
    unsigned alive;
    bool is_away[NODES]; /* the database, for this node */
    struct node {
        struct world *w;
        unsigned i;
        struct rate_pool *pool;
        struct rate_gate gate;
        unsigned n_waiting, n_exchanges;
    } nodes[NODES];
    uint64_t random;
};

static uint32_t draw(struct world *w)
{
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(w->random >> 33);
}

static unsigned alive(void *ctx) { return ((struct node *)ctx)->w->alive; }

static enum errc exchange(void *ctx, struct rate_exchange *x, err *e)
{
    struct node *n = ctx;
    struct world *w = n->w;
    usec wall = WALL_US + w->now_ns / 1000;
    if (w->is_away[n->i])
        return err_set(e, ERR_UNAVAILABLE, "away");
    n->n_exchanges++;
    for (unsigned i = 0; i < x->n_moves; i++)
        rate_row_move(&w->full_us[x->moves[i].kind], wall, &x->moves[i]);
    for (unsigned i = 0; i < x->n_places; i++) {
        struct rate_places *p = &x->places[i];
        int64_t left = p->limit - w->held[!n->i] - p->held;
        int64_t want = p->want + (w->wanted[!n->i] > 0 ? 0 : p->spare);
        p->granted = left > 0 ? left < want ? left : want : 0;
        w->held[n->i] = p->held + p->granted;
        w->wanted[n->i] = p->want > p->granted ? p->want - p->granted : 0;
    }
    return ERR_NONE;
}

static void open_world(struct world *w, struct rate_limits limits, unsigned n_alive)
{
    *w = (struct world){.now_ns = 1000 * S_NS, .alive = n_alive, .random = 42};
    w->full_us[0] = w->full_us[1] = WALL_US;
    for (unsigned i = 0; i < NODES; i++) {
        struct node *n = &w->nodes[i];
        struct rate_pool_setup setup = {.nodes = alive, .exchange = exchange, .ctx = n};
        uuid id = {{7}};
        err e;
        n->w = w;
        n->i = i;
        assert_int_equal(rate_pool_new(&n->pool, &setup, &e), ERR_NONE);
        n->gate = (struct rate_gate){rate_counter_new(n->pool, 'k', &id), limits, false};
        assert_non_null(n->gate.counter);
        rate_pool_turn(n->pool, w->now_ns);
    }
}

static void close_world(struct world *w)
{
    for (unsigned i = 0; i < NODES; i++) {
        rate_counter_put(w->nodes[i].gate.counter);
        rate_pool_free(w->nodes[i].pool);
    }
}

static enum rate_answer take(struct node *n, int64_t tokens)
{
    struct rate_refusal why;
    return rates_take(&n->gate, 1, n->w->now_ns, tokens, &why);
}

/* Calls come, those that wait come again after each turn; returns how many were taken. */
static unsigned offer(struct node *n, unsigned calls, int64_t tokens)
{
    unsigned taken = 0;
    calls += n->n_waiting;
    n->n_waiting = 0;
    for (unsigned i = 0; i < calls; i++) {
        enum rate_answer answer = take(n, tokens);
        taken += answer == RATE_TAKEN;
        n->n_waiting += answer == RATE_WAIT;
    }
    return taken;
}

#define STEP (100 * MS)
#define STEPS 3000

/* In no window more than one bucket lets through, and a tenth. */
static void assert_model(const unsigned *taken, unsigned n, int64_t per_minute)
{
    for (unsigned from = 0; from < n; from += 10) {
        int64_t sum = 0;
        for (unsigned to = from; to < n; to++) {
            sum += taken[to];
            int64_t allowed = per_minute + per_minute * (to - from + 1) * STEP / RATE_MINUTE_NS + per_minute / 10 + 1;
            if (sum > allowed)
                fail_msg("%lld were taken from step %u to %u, allowed are %lld", (long long)sum, from, to, (long long)allowed);
        }
    }
}

static void two_nodes_get_what_one_would_whatever_comes(void **state)
{
    static const int64_t limits[] = {30, 60, 600, 6000};
    (void)state;
    for (unsigned k = 0; k < LENGTH_OF(limits); k++) {
        struct world w;
        unsigned *taken = calloc(STEPS, sizeof *taken);
        assert_non_null(taken);
        open_world(&w, (struct rate_limits){limits[k], 0, 0}, 2);
        w.random = k + 1;
        unsigned most = (unsigned)(limits[k] / 100) + 3, burst = 0;
        for (unsigned i = 0; i < STEPS; i++) {
            if (draw(&w) % 50 == 0)
                burst = draw(&w) % 4; /* one node, the other, both, none */
            for (unsigned n = 0; n < NODES; n++)
                taken[i] += offer(&w.nodes[n], burst & (1u << n) ? draw(&w) % most : draw(&w) % 60 == 0, 0);
            w.now_ns += STEP;
            for (unsigned n = 0; n < NODES; n++)
                if (draw(&w) % 4)
                    rate_pool_turn(w.nodes[n].pool, w.now_ns);
        }
        assert_model(taken, STEPS, limits[k]);
        free(taken);
        close_world(&w);
    }
}

static void one_busy_node_gets_nine_tenths_of_the_limit_and_two_no_more_than_all(void **state)
{
    static const int64_t limits[] = {60, 600, 6000};
    (void)state;
    for (unsigned k = 0; k < LENGTH_OF(limits); k++)
        for (unsigned busy = 1; busy <= NODES; busy++) {
            struct world w;
            int64_t sum = 0, steps = 1800;
            open_world(&w, (struct rate_limits){limits[k], 0, 0}, 2);
            for (unsigned i = 0; i < steps; i++) {
                for (unsigned n = 0; n < busy; n++)
                    sum += offer(&w.nodes[n], (unsigned)(limits[k] / 300) + 1, 0);
                w.now_ns += STEP;
                for (unsigned n = 0; n < NODES; n++)
                    rate_pool_turn(w.nodes[n].pool, w.now_ns);
            }
            int64_t model = limits[k] + limits[k] * steps * STEP / RATE_MINUTE_NS;
            assert_in_range(sum, model * 9 / 10, model * 101 / 100 + 1);
            close_world(&w);
        }
}

static void a_call_now_and_then_waits_for_one_turn_whatever_limits_it_has(void **state)
{
    struct world w;
    (void)state;
    open_world(&w, (struct rate_limits){100, 100000, 0}, 2);
    for (unsigned i = 0; i < 300; i++) {
        struct node *n = &w.nodes[i % 2];
        unsigned taken = offer(n, 1, 30);
        w.now_ns += STEP;
        rate_pool_turn(n->pool, w.now_ns);
        taken += offer(n, 0, 30);
        assert_int_equal(taken, 1);
        w.now_ns += (1 + draw(&w) % 30) * STEP;
        rate_pool_turn(n->pool, w.now_ns);
    }
    close_world(&w);
}

static void tokens_of_an_answer_are_a_debt_at_the_other_node_too(void **state)
{
    struct world w;
    (void)state;
    open_world(&w, (struct rate_limits){0, 6000, 0}, 2);
    assert_int_equal(offer(&w.nodes[0], 1, 1000), 0);
    rate_pool_turn(w.nodes[0].pool, w.now_ns);
    assert_int_equal(offer(&w.nodes[0], 0, 1000), 1);
    rates_settle(&w.nodes[0].gate, 1, 1000, 9000);
    rate_pool_turn(w.nodes[0].pool, w.now_ns);
    assert_int_equal(offer(&w.nodes[1], 1, 100), 0);
    rate_pool_turn(w.nodes[1].pool, w.now_ns);
    assert_int_equal(offer(&w.nodes[1], 0, 100), 0);
    assert_int_equal(take(&w.nodes[1], 100), RATE_REFUSED);
    struct rate_state shown = rates_state(&w.nodes[1].gate, 1, RATE_TOKENS, w.now_ns);
    assert_int_equal(shown.remaining, 0);
    assert_in_range(shown.full_in_ns, 80 * S_NS, 95 * S_NS);
    w.now_ns += 40 * S_NS;
    (void)offer(&w.nodes[1], 1, 100);
    rate_pool_turn(w.nodes[1].pool, w.now_ns);
    assert_int_equal(offer(&w.nodes[1], 0, 100), 1);
    close_world(&w);
}

static void what_idles_goes_back_and_a_call_larger_than_the_limit_passes_once(void **state)
{
    struct world w;
    (void)state;
    open_world(&w, (struct rate_limits){0, 1000, 0}, 2);
    (void)offer(&w.nodes[0], 1, 100);
    rate_pool_turn(w.nodes[0].pool, w.now_ns);
    assert_int_equal(offer(&w.nodes[0], 0, 100), 1);
    assert_true(atomic_load(&w.nodes[0].gate.counter->tokens.pocket_ns) > 0);
    for (unsigned i = 0; i < 40; i++) {
        w.now_ns += STEP;
        rate_pool_turn(w.nodes[0].pool, w.now_ns);
    }
    assert_int_equal(atomic_load(&w.nodes[0].gate.counter->tokens.pocket_ns), 0);
    assert_in_range(w.full_us[RATE_TOKENS], WALL_US, WALL_US + 1010 * 1000000); /* 6 s, of which 4 have passed */
    w.now_ns += 60 * S_NS;
    (void)offer(&w.nodes[1], 1, 5000);
    rate_pool_turn(w.nodes[1].pool, w.now_ns);
    assert_int_equal(offer(&w.nodes[1], 0, 5000), 1);
    (void)offer(&w.nodes[0], 1, 10);
    rate_pool_turn(w.nodes[0].pool, w.now_ns);
    assert_int_equal(offer(&w.nodes[0], 0, 10), 0);
    unsigned before = w.nodes[0].n_exchanges;
    for (unsigned i = 0; i < 100; i++) {
        w.now_ns += STEP;
        rate_pool_turn(w.nodes[0].pool, w.now_ns);
    }
    assert_in_range(w.nodes[0].n_exchanges, before, before + 25); /* nobody asks: after two seconds nothing is exchanged */
    close_world(&w);
}

static void parallel_calls_are_places_that_move_between_nodes(void **state)
{
    struct world w;
    (void)state;
    open_world(&w, (struct rate_limits){0, 0, 10}, 2);
    (void)offer(&w.nodes[0], 10, 0);
    rate_pool_turn(w.nodes[0].pool, w.now_ns);
    assert_int_equal(offer(&w.nodes[0], 0, 0), 10);
    (void)offer(&w.nodes[1], 1, 0);
    for (unsigned i = 0; i < 8 && w.nodes[1].n_waiting; i++) {
        w.now_ns += STEP;
        rate_pool_turn(w.nodes[1].pool, w.now_ns);
        assert_int_equal(offer(&w.nodes[1], 0, 0), 0);
    }
    assert_int_equal(w.nodes[1].n_waiting, 0);
    assert_int_equal(take(&w.nodes[1], 0), RATE_REFUSED);
    for (unsigned i = 0; i < 6; i++)
        rates_settle(&w.nodes[0].gate, 1, 0, 0);
    w.now_ns += S_NS;
    unsigned taken = offer(&w.nodes[1], 6, 0);
    for (unsigned i = 0; i < 8; i++) {
        w.now_ns += STEP;
        for (unsigned n = NODES; n-- > 0;)
            rate_pool_turn(w.nodes[n].pool, w.now_ns);
        taken += offer(&w.nodes[1], 0, 0);
    }
    assert_int_equal(taken, 6);
    assert_true(w.held[0] + w.held[1] <= 10);
    assert_int_equal(atomic_load(&w.nodes[0].gate.counter->parallel), 4);
    close_world(&w);
}

static void a_node_that_was_alone_brings_what_it_used_and_one_that_is_left_goes_on_with_it(void **state)
{
    struct world w;
    (void)state;
    open_world(&w, (struct rate_limits){60, 0, 0}, 1);
    assert_int_equal(offer(&w.nodes[0], 50, 0), 50);
    assert_int_equal(w.nodes[0].n_exchanges, 0); /* a node that is alone asks nobody */
    w.alive = 2;
    for (unsigned n = 0; n < NODES; n++)
        rate_pool_turn(w.nodes[n].pool, w.now_ns);
    unsigned taken = offer(&w.nodes[1], 30, 0);
    rate_pool_turn(w.nodes[1].pool, w.now_ns);
    taken += offer(&w.nodes[1], 0, 0);
    assert_in_range(taken, 9, 11);
    w.alive = 1;
    rate_pool_turn(w.nodes[0].pool, w.now_ns);
    rate_pool_turn(w.nodes[0].pool, w.now_ns);
    assert_in_range(offer(&w.nodes[0], 30, 0), 0, 11);
    w.now_ns += 30 * S_NS;
    assert_in_range(offer(&w.nodes[0], 60, 0), 29, 41);
    close_world(&w);
}

static void a_node_without_the_database_goes_on_with_its_part(void **state)
{
    struct world w;
    (void)state;
    open_world(&w, (struct rate_limits){60, 0, 10}, 2);
    w.is_away[0] = w.is_away[1] = true;
    unsigned taken[NODES] = {0};
    for (unsigned n = 0; n < NODES; n++) {
        taken[n] += offer(&w.nodes[n], 5, 0);
        rate_pool_turn(w.nodes[n].pool, w.now_ns);
        taken[n] += offer(&w.nodes[n], 100, 0);
        assert_int_equal(taken[n], 5); /* its part of the places */
        for (unsigned i = 0; i < 5; i++)
            rates_settle(&w.nodes[n].gate, 1, 0, 0);
        for (unsigned i = 0; i < 50; i++)
            if (take(&w.nodes[n], 0) == RATE_TAKEN) {
                taken[n]++;
                rates_settle(&w.nodes[n].gate, 1, 0, 0);
            }
        assert_int_equal(taken[n], 30);
    }
    w.is_away[0] = w.is_away[1] = false;
    for (unsigned i = 0; i < 3; i++)
        for (unsigned n = 0; n < NODES; n++)
            rate_pool_turn(w.nodes[n].pool, w.now_ns);
    /* Both together have used all that there is. */
    for (unsigned n = 0; n < NODES; n++) {
        unsigned more = offer(&w.nodes[n], 5, 0);
        rate_pool_turn(w.nodes[n].pool, w.now_ns);
        more += offer(&w.nodes[n], 0, 0);
        assert_in_range(more, 0, 1);
    }
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_nodes_get_what_one_would_whatever_comes),
        cmocka_unit_test(one_busy_node_gets_nine_tenths_of_the_limit_and_two_no_more_than_all),
        cmocka_unit_test(a_call_now_and_then_waits_for_one_turn_whatever_limits_it_has),
        cmocka_unit_test(tokens_of_an_answer_are_a_debt_at_the_other_node_too),
        cmocka_unit_test(what_idles_goes_back_and_a_call_larger_than_the_limit_passes_once),
        cmocka_unit_test(parallel_calls_are_places_that_move_between_nodes),
        cmocka_unit_test(a_node_that_was_alone_brings_what_it_used_and_one_that_is_left_goes_on_with_it),
        cmocka_unit_test(a_node_without_the_database_goes_on_with_its_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
