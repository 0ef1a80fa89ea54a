/* Leases of budgets between nodes on one PostgreSQL, which are structures of this program here: their journals, drains and counters are real, and what happens comes
 * in a random order. */
#include "store_fixture.h"

#include <stdlib.h>

#include "core/ops.h"
#include "gateway/gateway.h"
#include "gateway/lease/lease.h"
#include "net/options.h"

SQL(test_charged, DB_USAGE, SQL_INSTANCE, "iui",
    "SELECT CAST(COALESCE(SUM(charged_nanousd), 0) AS BIGINT) FROM spend_days WHERE scope = $1 AND scope_id = $2 AND day >= $3");
SQL(test_held, DB_USAGE, SQL_INSTANCE, "iuii",
    "SELECT CAST(COALESCE(SUM(CASE WHEN held_nanousd > 0 THEN held_nanousd ELSE 0 END), 0) AS BIGINT), COUNT(*) FROM budget_leases "
    "WHERE scope = $1 AND scope_id = $2 AND period = $3 AND start_us = $4");

#define USD INT64_C(1000000000)
#define NODES 3
#define HOLDS 24
#define BUDGETS 3
#define NOON (INT64_C(20000) * USEC_PER_DAY + 12 * 3600 * (usec)USEC_PER_S)

static const uuid workspace = {{7}}, project = {{8}}, key = {{9}};

#define OK(call)                                                       \
    do {                                                               \
        if ((call) != ERR_NONE) fail_msg("%s: %s", #call, f->e.msg);   \
    } while (0)

struct node {
    struct scene *scene;
    char dir[96];
    struct journal *journal;
    struct drain *drain;
    struct leases *leases;
    struct snapshot *snapshot;
    uint64_t version;
    struct budget_gate gates[BUDGETS];
    unsigned n_gates;
    unsigned n_changed; /* how often calls that wait were told to ask again */
    struct held {
        struct budget_hold hold;
        struct usage_record r;
    } held[HOLDS];
    unsigned n_held;
    usec waits_since;
};

struct scene {
    struct store_fixture *f;
    struct snapshot_base *base;
    struct budget budgets[BUDGETS];
    unsigned n_budgets;
    struct node nodes[NODES];
    uint64_t seed;
    usec now, mono;
    int64_t provider; /* what calls cost, or may have cost when their node died */
};

static uint64_t random_of(struct scene *s, uint64_t n)
{
    s->seed ^= s->seed << 13;
    s->seed ^= s->seed >> 7;
    s->seed ^= s->seed << 17;
    return s->seed % n;
}

static void pass(struct scene *s, usec us)
{
    s->now += us;
    s->mono += us;
    clock_freeze(s->now, s->mono);
}

/* --- nodes --- */

static void on_drained(void *ctx, const struct usage_record *calls, unsigned n, uint64_t boot)
{
    struct node *node = ctx;
    for (unsigned i = 0; i < n; i++)
        for (unsigned k = 0; k < node->n_gates && calls[i].boot == boot; k++)
            budget_counter_drained(node->gates[k].counter, calls[i].started_us, calls[i].charged_nanousd);
}

static struct snapshot *latest(void *ctx) { return snapshot_get(((struct node *)ctx)->snapshot); }
static void changed(void *ctx) { ((struct node *)ctx)->n_changed++; }

static enum errc ask_spent(void *ctx, struct spent_query *queries, unsigned n, err *e)
{
    struct node *node = ctx;
    return ledger_spent(node->scene->f->store, queries, n, e);
}

/* The budgets of the scene as they are now hold at this node. */
static void take_budgets(struct node *node)
{
    struct scene *s = node->scene;
    struct store_fixture *f = s->f;
    struct snapshot *before = node->snapshot;
    struct snapshot_rows rows = {.workspaces = &workspace, .n_workspaces = 1, .budgets = s->budgets, .n_budgets = s->n_budgets};
    struct snapshot_source source = {.base = s->base, .rows = &rows, .before = before, .version = ++node->version, .now_us = s->now, .is_shared = true,
                                     .spent = ask_spent, .ctx = node};
    OK(snapshot_build(&node->snapshot, &source, &f->e));
    snapshot_put(before);
    node->n_gates = 0;
    for (unsigned i = 0; i < node->snapshot->n_budgets; i++)
        node->gates[node->n_gates++] = (struct budget_gate){node->snapshot->budgets[i].counter, &node->snapshot->budgets[i]};
}

static void start(struct node *node)
{
    struct store_fixture *f = node->scene->f;
    struct journal_options o = {.segment_bytes = 64 << 10, .n_writers = 1};
    struct journal_recovery found;
    OK(journal_open(&node->journal, node->dir, &o, &found, &f->e));
    struct drain_setup drain = {.store = f->store, .data_dir = node->dir, .journal = node->journal, .interval_ms = 5, .drained = on_drained, .ctx = node};
    OK(drain_open(&node->drain, &drain, &f->e));
    struct leases_setup leases = {.store = f->store, .drain = node->drain, .snapshot = latest, .changed = changed, .ctx = node};
    OK(leases_new(&node->leases, &leases, &f->e));
    take_budgets(node);
}

/* Its memory is gone: the calls under way are charged what was reserved when it starts again, or its journal is imported. */
static void die(struct node *node)
{
    for (unsigned i = 0; i < node->n_held; i++)
        node->scene->provider += node->held[i].hold.amount_nanousd;
    node->n_held = 0;
    node->waits_since = 0;
    leases_free(node->leases);
    drain_free(node->drain);
    journal_close(node->journal);
    snapshot_put(node->snapshot);
    node->snapshot = NULL;
    node->journal = NULL;
}

static void flush(struct node *node)
{
    struct store_fixture *f = node->scene->f;
    uint64_t ticket;
    OK(journal_flush(journal_writer(node->journal, 0), &ticket, &f->e));
}

static enum budget_verdict reserve(struct node *node, int64_t amount)
{
    struct scene *s = node->scene;
    struct held *h = &node->held[node->n_held];
    struct budget_ask ask = {.input_pico = (picousd)amount * 1000, .mono_us = s->mono, .since_us = node->waits_since};
    struct budget_refusal why;
    int64_t granted;
    if (node->n_held == HOLDS)
        return BUDGET_REFUSED;
    while (!journal_has_room(journal_writer(node->journal, 0), 2 * HOLDS))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    enum budget_verdict v = budget_reserve(node->gates, node->n_gates, s->now, &ask, &h->hold, &granted, &why);
    if (v == BUDGET_WAITS && !node->waits_since)
        node->waits_since = s->mono;
    if (v == BUDGET_WAITS)
        return v;
    node->waits_since = 0;
    if (v == BUDGET_REFUSED)
        return v;
    h->r = (struct usage_record){.request_id = uuid7_make(s->now), .started_us = s->now, .status = 200, .cost_nanousd = amount, .charged_nanousd = amount,
                                 .workspace_id = workspace, .project_id = project, .snapshot = node->version};
    memcpy(h->r.key_id, key.b, sizeof h->r.key_id);
    journal_append_start(journal_writer(node->journal, 0), &h->r);
    flush(node);
    node->n_held++;
    return v;
}

static void settle(struct node *node, unsigned i, int64_t cost)
{
    struct held *h = &node->held[i];
    h->r.cost_nanousd = h->r.charged_nanousd = cost;
    budget_settle(&h->hold, cost);
    journal_append_end(journal_writer(node->journal, 0), &h->r);
    flush(node);
    node->scene->provider += cost;
    *h = node->held[--node->n_held];
}

static void drain(struct node *node)
{
    struct store_fixture *f = node->scene->f;
    OK(drain_once(node->drain, &f->e));
}

/* --- what must hold --- */

struct query {
    struct store_fixture *f;
    const struct budget *b;
    int64_t charged, held, rows;
};
static enum errc query_unit(struct tx *tx, void *ctx, err *e)
{
    struct query *q = ctx;
    const struct val *row;
    usec from, to;
    budget_period_bounds(q->b->period, clock_now_us(), &from, &to);
    struct val v[4] = {v_int((int64_t)q->b->scope), v_uuid(&q->b->scope_id), v_int((int64_t)q->b->period), v_int(from)};
    enum errc rc = tx_query_row(tx, &q->f->a, &test_charged, PARAMS(v[0], v[1], v_int(budget_day(from))), &row, e);
    if (rc == ERR_NONE) {
        q->charged = val_int(&row[0]);
        rc = tx_query_row(tx, &q->f->a, &test_held, v, 4, &row, e);
    }
    if (rc == ERR_NONE) {
        q->held = val_int(&row[0]);
        q->rows = val_int(&row[1]);
    }
    return rc;
}
static struct query look_up(struct scene *s, unsigned i)
{
    struct store_fixture *f = s->f;
    struct query q = {.f = f, .b = &s->budgets[i]};
    struct arena_mark mark = arena_mark(&f->a);
    OK(db_read(store_db(f->store, DB_USAGE), query_unit, &q, &f->e));
    arena_reset(&f->a, mark);
    return q;
}

static void assert_never_over(struct scene *s)
{
    int64_t reserved = 0;
    for (unsigned i = 0; i < NODES; i++)
        for (unsigned k = 0; k < s->nodes[i].n_held; k++)
            reserved += s->nodes[i].held[k].hold.amount_nanousd;
    for (unsigned i = 0; i < s->n_budgets; i++) {
        struct query q = look_up(s, i);
        int64_t limit = s->budgets[i].limit_nanousd;
        if (q.charged + q.held > limit)
            fail_msg("budget %u: %lld charged and %lld held of %lld", i, (long long)q.charged, (long long)q.held, (long long)limit);
        if (s->provider + reserved > limit)
            fail_msg("budget %u: %lld spent and %lld under way of %lld", i, (long long)s->provider, (long long)reserved, (long long)limit);
    }
}

/* --- scenes --- */

static void open_scene(struct scene *s, struct store_fixture *f, unsigned n_nodes, unsigned n_budgets)
{
    static const struct option_table *const tables[] = {&net_options, &core_options, &gateway_options};
    const struct budget all[BUDGETS] = {
        {.id = {{1}}, .scope = BUDGET_KEY, .scope_id = key, .period = BUDGET_TOTAL, .limit_nanousd = USD},
        {.id = {{2}}, .scope = BUDGET_WORKSPACE, .scope_id = workspace, .period = BUDGET_DAILY, .limit_nanousd = USD + USD / 100},
        {.id = {{3}}, .scope = BUDGET_PROJECT, .scope_id = project, .period = BUDGET_MONTHLY, .limit_nanousd = USD + USD / 50},
    };
    struct config_source source = {.tables = tables, .n_tables = LENGTH_OF(tables)};
    struct config *config;
    struct buf problems;
    *s = (struct scene){.f = f, .seed = 88172645463325252u, .now = NOON, .mono = 1000 * (usec)USEC_PER_S, .n_budgets = n_budgets};
    pass(s, 0);
    buf_init(&problems, 1 << 20);
    if (config_load(&f->a, &source, &config, &problems, &f->e) != ERR_NONE || snapshot_base_load(&s->base, config, NULL, &problems, &f->e) != ERR_NONE)
        fail_msg("%s: %.*s", f->e.msg, STR(buf_str(&problems)));
    buf_fini(&problems);
    for (unsigned i = 0; i < n_budgets; i++) {
        s->budgets[i] = all[i];
        s->budgets[i].workspace_id = workspace;
        s->budgets[i].is_hard = true;
        s->budgets[i].cap_pico = -1;
        s->budgets[i].scope_name = S("it");
    }
    for (unsigned i = 0; i < n_nodes; i++) {
        struct node *node = &s->nodes[i];
        node->scene = s;
        snprintf(node->dir, sizeof node->dir, "%s/node%u", f->dir, i);
        assert_int_equal(mkdir(node->dir, 0700), 0);
        start(node);
    }
}

static void close_scene(struct scene *s)
{
    for (unsigned i = 0; i < NODES; i++)
        if (s->nodes[i].journal)
            die(&s->nodes[i]);
    snapshot_base_put(s->base);
    clock_unfreeze();
}

/* The call asks until it is told; what others have to give back they give back. */
static enum budget_verdict reserve_patiently(struct scene *s, struct node *node, int64_t amount)
{
    for (unsigned tries = 0; tries < 60; tries++) {
        enum budget_verdict v = reserve(node, amount);
        if (v != BUDGET_WAITS)
            return v;
        leases_look(node->leases);
        pass(s, 50 * USEC_PER_MS);
        for (unsigned i = 0; i < NODES; i++)
            if (s->nodes[i].journal && &s->nodes[i] != node) {
                pass(s, USEC_PER_S); /* also without being told */
                leases_look(s->nodes[i].leases);
                s->mono -= USEC_PER_S;
                s->now -= USEC_PER_S;
                pass(s, 0);
            }
    }
    fail_msg("a call waits for ever");
    return BUDGET_WAITS;
}

static void a_limit_holds_whatever_happens_to_the_nodes_and_nearly_all_of_it_can_be_spent(void **state)
{
    struct store_fixture *f = *state;
    struct scene s;
    unsigned n_granted = 0, n_died = 0;
    open_scene(&s, f, NODES, BUDGETS);
    for (unsigned step = 0; step < 1500; step++) {
        struct node *node = &s.nodes[random_of(&s, NODES)];
        uint64_t what = random_of(&s, 100);
        pass(&s, (usec)random_of(&s, 30) * USEC_PER_MS);
        if (!node->journal) {
            if (what < 20)
                start(node);
        } else if (what < 45) {
            n_granted += reserve(node, 1 + (int64_t)random_of(&s, USD / 250)) == BUDGET_GRANTED;
        } else if (what < 70) {
            if (node->n_held) {
                unsigned i = (unsigned)random_of(&s, node->n_held);
                settle(node, i, (int64_t)random_of(&s, (uint64_t)node->held[i].hold.amount_nanousd + 1));
            }
        } else if (what < 82) {
            drain(node);
        } else if (what < 98) {
            leases_look(node->leases);
        } else if (what == 98) {
            n_died++;
            die(node);
        } else { /* in order */
            while (node->n_held)
                settle(node, 0, node->held[0].hold.amount_nanousd / 2);
            drain(node);
            leases_end(node->leases);
            die(node);
        }
        if (step % 10 == 0)
            assert_never_over(&s);
    }
    assert_true(n_granted > 50 && n_died > 0);
    for (unsigned i = 0; i < NODES; i++)
        if (!s.nodes[i].journal)
            start(&s.nodes[i]);
    for (int64_t amount = USD / 100; amount >= USD / 10000; amount /= 10)
        for (unsigned i = 0; i < NODES; i++)
            while (reserve_patiently(&s, &s.nodes[i], amount) == BUDGET_GRANTED) {
                settle(&s.nodes[i], s.nodes[i].n_held - 1, amount);
                if (s.nodes[i].n_held)
                    settle(&s.nodes[i], 0, 1);
                drain(&s.nodes[i]);
                assert_never_over(&s);
            }
    for (unsigned i = 0; i < NODES; i++) {
        while (s.nodes[i].n_held)
            settle(&s.nodes[i], 0, 0);
        drain(&s.nodes[i]);
    }
    for (unsigned i = 0; i < NODES; i++)
        while (reserve_patiently(&s, &s.nodes[i], USD / 10000) == BUDGET_GRANTED) {
            settle(&s.nodes[i], 0, USD / 10000);
            drain(&s.nodes[i]);
        }
    assert_never_over(&s);
    struct query q = look_up(&s, 0);
    assert_int_equal(q.charged, s.provider);
    if (q.charged < USD - USD / 100)
        fail_msg("only %lld of %lld could be spent", (long long)q.charged, (long long)USD);
    close_scene(&s);
}

static void what_a_dead_node_wanted_does_not_strip_the_others(void **state)
{
    struct store_fixture *f = *state;
    struct scene s;
    open_scene(&s, f, 2, 1);
    struct node *a = &s.nodes[0], *b = &s.nodes[1];
    assert_int_equal(reserve_patiently(&s, a, USD / 10), BUDGET_GRANTED);
    assert_int_equal(reserve(b, USD - USD / 20), BUDGET_WAITS);
    leases_look(b->leases); /* writes what it wants, and dies */
    die(b);
    pass(&s, 2 * USEC_PER_S);
    leases_look(a->leases); /* answered */
    settle(a, 0, 1);
    assert_int_equal(reserve_patiently(&s, a, USD / 1000), BUDGET_GRANTED);
    for (unsigned i = 0; i < 5; i++) {
        int64_t before = leases_units(a->leases);
        pass(&s, 1100 * USEC_PER_MS);
        assert_int_equal(reserve(a, 1), BUDGET_GRANTED); /* what it leased is still there */
        leases_look(a->leases);
        assert_int_equal(leases_units(a->leases), before);
    }
    assert_never_over(&s);
    close_scene(&s);
}

static void a_limit_that_is_lowered_is_claimed_back_as_calls_end(void **state)
{
    struct store_fixture *f = *state;
    struct scene s;
    open_scene(&s, f, 2, 1);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(reserve_patiently(&s, &s.nodes[i], USD / 3), BUDGET_GRANTED);
    s.budgets[0].limit_nanousd = USD / 5;
    for (unsigned i = 0; i < 2; i++) {
        take_budgets(&s.nodes[i]);
        leases_look(s.nodes[i].leases);
    }
    assert_int_equal(look_up(&s, 0).held, 2 * (USD / 3)); /* all that is free, but calls under way keep theirs */
    for (unsigned i = 0; i < 2; i++) {
        settle(&s.nodes[i], 0, USD / 100);
        leases_look(s.nodes[i].leases);
        pass(&s, 2 * USEC_PER_S);
    }
    for (unsigned i = 0; i < 2; i++) {
        drain(&s.nodes[i]);
        leases_look(s.nodes[i].leases);
    }
    assert_never_over(&s);
    assert_int_equal(reserve_patiently(&s, &s.nodes[0], USD / 5), BUDGET_REFUSED);
    assert_int_equal(reserve_patiently(&s, &s.nodes[0], USD / 6), BUDGET_GRANTED);
    assert_never_over(&s);
    close_scene(&s);
}

static void a_budget_that_is_deleted_leaves_nothing_behind_that_others_miss(void **state)
{
    struct store_fixture *f = *state;
    struct scene s;
    open_scene(&s, f, 2, 1);
    assert_int_equal(reserve_patiently(&s, &s.nodes[0], USD / 10), BUDGET_GRANTED);
    settle(&s.nodes[0], 0, 0);
    assert_true(look_up(&s, 0).held > 0);
    s.n_budgets = 0;
    for (unsigned i = 0; i < 2; i++) {
        take_budgets(&s.nodes[i]);
        pass(&s, 2 * USEC_PER_S);
        leases_look(s.nodes[i].leases);
    }
    assert_int_equal(look_up(&s, 0).rows, 0);
    s.n_budgets = 1;
    for (unsigned i = 0; i < 2; i++)
        take_budgets(&s.nodes[i]);
    assert_int_equal(reserve(&s.nodes[1], USD), BUDGET_WAITS);
    leases_look(s.nodes[1].leases);
    assert_int_equal(reserve(&s.nodes[1], USD), BUDGET_GRANTED);
    assert_never_over(&s);
    close_scene(&s);
}

static void a_budget_that_was_soft_for_a_while_is_leased_anew(void **state)
{
    struct store_fixture *f = *state;
    struct scene s;
    open_scene(&s, f, 2, 1);
    struct node *a = &s.nodes[0], *b = &s.nodes[1];
    assert_int_equal(reserve_patiently(&s, a, USD / 10), BUDGET_GRANTED);
    settle(a, 0, 0);
    s.budgets[0].is_hard = false;
    for (unsigned i = 0; i < 2; i++) {
        take_budgets(&s.nodes[i]);
        pass(&s, 2 * USEC_PER_S);
        leases_look(s.nodes[i].leases);
    }
    assert_int_equal(look_up(&s, 0).rows, 0);
    s.budgets[0].is_hard = true;
    for (unsigned i = 0; i < 2; i++)
        take_budgets(&s.nodes[i]);
    assert_int_equal(reserve_patiently(&s, b, USD), BUDGET_GRANTED);
    assert_int_equal(reserve(a, 1), BUDGET_WAITS); /* nothing is left of what it once had */
    assert_never_over(&s);
    close_scene(&s);
}

static void the_next_period_is_leased_before_it_begins(void **state)
{
    struct store_fixture *f = *state;
    struct scene s;
    open_scene(&s, f, 1, 2);
    struct node *a = &s.nodes[0];
    pass(&s, 12 * 3600 * (usec)USEC_PER_S - 5 * USEC_PER_S);
    assert_int_equal(reserve_patiently(&s, a, USD / 10), BUDGET_GRANTED);
    leases_look(a->leases);
    assert_int_equal(reserve(a, 1), BUDGET_GRANTED);
    leases_look(a->leases);
    settle(a, 0, USD / 10);
    usec evening = s.now;
    pass(&s, 6 * USEC_PER_S);
    assert_int_equal(reserve(a, USD / 100), BUDGET_GRANTED); /* at once */
    struct budget_state state_now = budget_counter_state(a->gates[1].counter, s.now);
    assert_int_equal(state_now.spent_nanousd, 0);
    assert_int_equal(state_now.reserved_nanousd, USD / 100);
    /* A call of the evening that had to wait belongs to the evening. */
    state_now = budget_counter_state(a->gates[1].counter, evening);
    assert_int_equal(state_now.spent_nanousd, USD / 10);
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_STORE(a_limit_holds_whatever_happens_to_the_nodes_and_nearly_all_of_it_can_be_spent),
        ON_STORE(what_a_dead_node_wanted_does_not_strip_the_others),
        ON_STORE(a_limit_that_is_lowered_is_claimed_back_as_calls_end),
        ON_STORE(a_budget_that_is_deleted_leaves_nothing_behind_that_others_miss),
        ON_STORE(a_budget_that_was_soft_for_a_while_is_leased_anew),
        ON_STORE(the_next_period_is_leased_before_it_begins),
    };
    return RUN_ON_POSTGRES(tests);
}
