#include <stdlib.h>

#include "gateway/internal.h"

/* Buckets that tell a local model from a thinking one: 5 ms to 10 min. */
static const int64_t duration_bounds[] = {5000,    10000,   25000,    50000,    100000,   250000,    500000,    1000000,
                                          2500000, 5000000, 10000000, 30000000, 60000000, 120000000, 300000000, 600000000};

#define METRIC_SETS_MAX 4000
#define STATUS_KEPT 8

struct gateway_metrics {
    struct stat *calls, *tokens, *cost, *unknown_cost, *estimated, *duration, *first_byte, *bytes, *longest_turn;
    struct stat_series *open, *parked, *waited, *journal_failures, *stalls, *lease_units;
};

/* The series of one provider, model and dialect, kept by pointer so that a call takes one look-up and no lock. */
struct metric_set {
    struct stat_series *tokens[6], *cost, *unknown_cost, *estimated, *duration, *first_byte, *bytes_in, *bytes_out;
    struct {
        uint16_t status;
        enum call_outcome outcome;
        struct stat_series *calls;
    } by_status[STATUS_KEPT];
    unsigned n_status;
};

struct gateway_metrics *gateway_metrics_new(void)
{
    static const char *const call_labels[] = {"provider", "model", "dialect", "status", "outcome", NULL};
    static const char *const token_labels[] = {"provider", "model", "kind", NULL};
    static const char *const model_labels[] = {"provider", "model", NULL};
    static const char *const dialect_labels[] = {"provider", "dialect", NULL};
    static const char *const loop_labels[] = {"loop", NULL};
    static const char *const byte_labels[] = {"provider", "direction", NULL};
    struct gateway_metrics *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->calls = stats_declare(STAT_COUNTER, "catalyst_gateway_calls_total", "Calls by how they ended.", call_labels, NULL, 0, 1);
    m->tokens = stats_declare(STAT_COUNTER, "catalyst_gateway_tokens_total", "Tokens by kind; reasoning is part of output.",
                              token_labels, NULL, 0, 1);
    m->cost = stats_declare(STAT_COUNTER, "catalyst_gateway_cost_usd_total", "Cost of calls with a known price, in USD.",
                            model_labels, NULL, 0, 1000000000);
    m->unknown_cost = stats_declare(STAT_COUNTER, "catalyst_gateway_unknown_cost_calls_total",
                                    "Calls to models without a known price.", model_labels, NULL, 0, 1);
    m->estimated = stats_declare(STAT_COUNTER, "catalyst_gateway_estimated_calls_total",
                                 "Calls whose tokens were estimated, since the provider did not report them.", model_labels, NULL, 0, 1);
    m->duration = stats_declare(STAT_HISTOGRAM, "catalyst_gateway_call_duration_seconds", "From request head to the answer's end.",
                                dialect_labels, duration_bounds, LENGTH_OF(duration_bounds), 1);
    m->first_byte = stats_declare(STAT_HISTOGRAM, "catalyst_gateway_first_byte_seconds",
                                  "From request head to the first byte of the answer's body.", dialect_labels, duration_bounds,
                                  LENGTH_OF(duration_bounds), 1);
    m->bytes = stats_declare(STAT_COUNTER, "catalyst_gateway_body_bytes_total", "Body bytes from and to clients.", byte_labels, NULL, 0, 1);
    m->open = stats_series(stats_declare(STAT_GAUGE, "catalyst_gateway_calls_open", "Calls under way.", NULL, NULL, 0, 1), NULL);
    m->parked = stats_series(stats_declare(STAT_GAUGE, "catalyst_gateway_calls_parked",
                                           "Calls that wait to hear from the database what other nodes have left of a limit.", NULL, NULL, 0, 1), NULL);
    m->waited = stats_series(stats_declare(STAT_COUNTER, "catalyst_gateway_calls_parked_total", "Calls that had to wait so.", NULL, NULL, 0, 1), NULL);
    m->lease_units = stats_series(stats_declare(STAT_COUNTER, "catalyst_budget_lease_units_total",
                                                "Transactions in which this node leased of budgets or gave back.", NULL, NULL, 0, 1), NULL);
    m->journal_failures = stats_series(stats_declare(STAT_COUNTER, "catalyst_journal_failures_total",
                                                     "Batches of usage records that could not be written.", NULL, NULL, 0, 1), NULL);
    m->stalls = stats_series(stats_declare(STAT_COUNTER, "catalyst_loop_stalls_total",
                                           "Turns of an event loop whose callbacks ran too long.", NULL, NULL, 0, 1), NULL);
    m->longest_turn = stats_declare(STAT_GAUGE, "catalyst_loop_longest_turn_seconds", "Longest turn of each event loop since start.",
                                    loop_labels, NULL, 0, 1000000);
    return m;
}

void gateway_metrics_free(struct gateway_metrics *m) { free(m); }

static struct metric_set *set_of(struct gateway_loop *gl, const struct usage_record *r)
{
    static const str kinds[6] = {STR_LIT("input"), STR_LIT("cache_read"), STR_LIT("cache_write"),
                                 STR_LIT("cache_write_1h"), STR_LIT("output"), STR_LIT("reasoning")};
    const struct gateway_metrics *m = gl->gateway->metrics;
    char key_bytes[2 * USAGE_TEXT_MAX + 2];
    str provider = str_take(r->provider, USAGE_TEXT_MAX), model = str_take(r->model, USAGE_TEXT_MAX);
    /* Names that were never routed come from clients: they must not make series of their own. */
    if (!provider.len)
        provider = model = S("none");
    if (gl->metric_sets.n >= METRIC_SETS_MAX)
        model = S("other");
    size_t len = 0;
    key_bytes[len++] = (char)('a' + (int)r->dialect);
    memcpy(key_bytes + len, provider.p, provider.len);
    len += provider.len;
    key_bytes[len++] = '\0';
    if (model.len)
        memcpy(key_bytes + len, model.p, model.len);
    len += model.len;
    struct metric_set *set = map_get(&gl->metric_sets, str_of(key_bytes, len));
    if (set)
        return set;
    set = arena_new(&gl->metric_arena, struct metric_set);
    str key = str_dup(&gl->metric_arena, str_of(key_bytes, len));
    if (!set || !key.p || map_put(&gl->metric_sets, key, set) != ERR_NONE)
        return NULL;
    str dialect = str_c(dialect_name(r->dialect));
    for (unsigned k = 0; k < LENGTH_OF(kinds); k++)
        set->tokens[k] = stats_series(m->tokens, (str[]){provider, model, kinds[k]});
    set->cost = stats_series(m->cost, (str[]){provider, model});
    set->unknown_cost = stats_series(m->unknown_cost, (str[]){provider, model});
    set->estimated = stats_series(m->estimated, (str[]){provider, model});
    set->duration = stats_series(m->duration, (str[]){provider, dialect});
    set->first_byte = stats_series(m->first_byte, (str[]){provider, dialect});
    set->bytes_in = stats_series(m->bytes, (str[]){provider, S("in")});
    set->bytes_out = stats_series(m->bytes, (str[]){provider, S("out")});
    return set;
}

static struct stat_series *calls_series(struct gateway_loop *gl, struct metric_set *set, const struct usage_record *r)
{
    for (unsigned i = 0; i < set->n_status; i++)
        if (set->by_status[i].status == r->status && set->by_status[i].outcome == r->outcome)
            return set->by_status[i].calls;
    char number[8];
    int n = snprintf(number, sizeof number, "%u", r->status);
    str provider = r->provider.len ? r->provider : S("none"), model = r->provider.len ? r->model : S("none");
    struct stat_series *s = stats_series(gl->gateway->metrics->calls,
                                         (str[]){provider, model, str_c(dialect_name(r->dialect)), str_of(number, (size_t)n),
                                                 str_c(outcome_name(r->outcome))});
    if (set->n_status < STATUS_KEPT) {
        set->by_status[set->n_status].status = r->status;
        set->by_status[set->n_status].outcome = r->outcome;
        set->by_status[set->n_status++].calls = s;
    }
    return s;
}

void gateway_metrics_started(struct gateway_loop *gl) { stats_add(gl->gateway->metrics->open, gl->loop->index, 1); }

void gateway_metrics_record(struct gateway_loop *gl, const struct usage_record *r)
{
    unsigned slot = gl->loop->index;
    struct metric_set *set = set_of(gl, r);
    stats_add(gl->gateway->metrics->open, slot, -1);
    if (!set)
        return;
    const int64_t tokens[6] = {r->tokens.input, r->tokens.cache_read, r->tokens.cache_write,
                               r->tokens.cache_write_1h, r->tokens.output, r->tokens.reasoning};
    stats_add(calls_series(gl, set, r), slot, 1);
    for (unsigned k = 0; k < 6; k++)
        if (tokens[k])
            stats_add(set->tokens[k], slot, tokens[k]);
    if (r->cost_nanousd == COST_UNKNOWN)
        stats_add(set->unknown_cost, slot, 1);
    else
        stats_add(set->cost, slot, r->cost_nanousd);
    if (r->is_estimated)
        stats_add(set->estimated, slot, 1);
    stats_observe(set->duration, slot, r->total_us);
    if (r->first_us >= 0)
        stats_observe(set->first_byte, slot, r->first_us);
    stats_add(set->bytes_in, slot, (int64_t)r->bytes_in);
    stats_add(set->bytes_out, slot, (int64_t)r->bytes_out);
}

void gateway_metrics_loop(struct gateway_loop *gl)
{
    stats_set(gl->gateway->metrics->stalls, gl->loop->index, (int64_t)gl->loop->stalls);
    if (!gl->longest_turn) {
        char index[12];
        int n = snprintf(index, sizeof index, "%u", gl->loop->index);
        gl->longest_turn = stats_series(gl->gateway->metrics->longest_turn, (str[]){str_of(index, (size_t)n)});
    }
    stats_set(gl->longest_turn, gl->loop->index, gl->loop->longest_turn_us);
}

void gateway_metrics_parked(struct gateway_loop *gl, bool is_first)
{
    stats_add(gl->gateway->metrics->parked, gl->loop->index, 1);
    if (is_first)
        stats_add(gl->gateway->metrics->waited, gl->loop->index, 1);
}

void gateway_metrics_unparked(struct gateway_loop *gl) { stats_add(gl->gateway->metrics->parked, gl->loop->index, -1); }

void gateway_metrics_leases(struct gateway *g)
{
    stats_set(g->metrics->lease_units, 0, leases_units(g->leases));
}

void gateway_metrics_journal_failed(struct gateway_loop *gl) { stats_add(gl->gateway->metrics->journal_failures, gl->loop->index, 1); }
