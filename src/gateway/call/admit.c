/* What may refuse a call that has found its provider: rates and budgets; and how their reservations are settled. */
#include <stdio.h>

#include "gateway/call/call_internal.h"

#define OUTPUT_LEAST 1024 /* a hard budget lowers the output limit to no less */

static int64_t mono_ns(void) { return clock_mono_us() * 1000; }

static bool is_anthropic(const struct call *k) { return k->r.dialect == DIALECT_MESSAGES || k->r.dialect == DIALECT_COUNT_TOKENS; }

/* "1.25", "0.000417": dollars without the zeros that nobody reads, but cents always. */
static str usd(int64_t nanousd, char out[MONEY_TEXT_LEN])
{
    str text = money_format(nanousd, out);
    size_t point = (size_t)str_chr(text, '.');
    while (text.len > point + 3 && text.p[text.len - 1] == '0')
        text.len--;
    return text;
}

static str when(usec at, char out[TIME_TEXT_LEN + 1])
{
    str text = str_take(time_format(at, out), 19);
    out[19] = 'Z';
    return str_of(text.p, 20);
}

/* --- rates --- */

void call_write_limit_fields(const struct call *k, struct buf *out)
{
    const struct virtual_key *key = k->secret->key;
    if (key->n_rates)
        rates_write_fields(key->rates, key->n_rates, is_anthropic(k), mono_ns(), clock_now_us(), out);
    if (k->lowered_to)
        buf_addf(out, "x-catalyst-max-tokens: %lld\r\n", (long long)k->lowered_to);
}

static enum errc refuse_rate(struct call *k, const struct rate_refusal *why, err *e)
{
    static const char *const names[] = {[RATE_REQUESTS] = "requests per minute", [RATE_TOKENS] = "tokens per minute",
                                        [RATE_PARALLEL] = "parallel calls"};
    const struct rate_limits *l = &why->gate->limits;
    int64_t limit = why->kind == RATE_REQUESTS ? l->requests_per_minute : why->kind == RATE_TOKENS ? l->tokens_per_minute : l->parallel_calls;
    struct buf fields;
    buf_init(&fields, 1000);
    buf_addf(&fields, "Retry-After: %lld\r\n", (long long)why->retry_after_s);
    call_write_limit_fields(k, &fields);
    k->error_fields = str_dup(&k->arena, buf_err(&fields) == ERR_NONE ? buf_str(&fields) : S(""));
    buf_fini(&fields);
    str name = why->gate->is_project ? k->secret->key->project : k->secret->key->name;
    return err_set(e, ERR_RATE_LIMITED, "the %s '%.*s' has reached its limit of %lld %s; try again in %lld s",
                   why->gate->is_project ? "project" : "API key", STR(str_take(name, 60)), (long long)limit, names[why->kind],
                   (long long)why->retry_after_s);
}

static enum errc take_rates(struct call *k, bool *waits, err *e)
{
    const struct virtual_key *key = k->secret->key;
    struct rate_refusal why;
    k->estimated_tokens = (int64_t)(k->request.text_bytes / ESTIMATE_BYTES_PER_TOKEN);
    switch (rates_take(key->rates, key->n_rates, mono_ns(), k->estimated_tokens, &why)) {
    case RATE_TAKEN:
        break;
    case RATE_WAIT:
        *waits = true;
        return ERR_NONE;
    case RATE_REFUSED:
    default:
        return refuse_rate(k, &why, e);
    }
    k->has_rates = true;
    k->waits_since_us = 0; /* for its limits, if at all: what it may wait for its budgets begins now */
    return ERR_NONE;
}

/* --- budgets --- */

static void write_details(struct call *k, const struct budget_refusal *why, int64_t input_tokens)
{
    const struct budget *b = why->budget;
    char text[MONEY_TEXT_LEN], id[UUID_TEXT_LEN + 1], time[TIME_TEXT_LEN + 1];
    struct buf out;
    struct json_writer w;
    buf_init(&out, 2000);
    json_writer_init(&w, &out);
    json_object(&w);
    json_put_str(&w, "id", uuid_format(&b->id, id));
    json_put_str(&w, "scope", str_c(budget_scope_name(b->scope)));
    json_put_str(&w, "name", b->scope_name);
    json_put_str(&w, "period", str_c(budget_period_name(b->period)));
    json_put_str(&w, "limit_usd", money_format(b->limit_nanousd, text));
    json_put_str(&w, "left_usd", money_format(why->left_nanousd, text));
    json_put_str(&w, "needed_usd", money_format(why->needed_nanousd, text));
    json_put_str(&w, "input_usd", money_format(why->input_nanousd, text));
    json_put_int(&w, "input_tokens_at_most", input_tokens);
    if (why->resets_us == INT64_MAX)
        json_put_null(&w, "resets_at");
    else
        json_put_str(&w, "resets_at", when(why->resets_us, time));
    json_end(&w);
    k->error_details = str_dup(&k->arena, buf_err(&out) == ERR_NONE ? buf_str(&out) : S(""));
    buf_fini(&out);
}

static enum errc refuse_budget(struct call *k, const struct budget_refusal *why, int64_t input_tokens, err *e)
{
    char left[MONEY_TEXT_LEN], limit[MONEY_TEXT_LEN], needed[MONEY_TEXT_LEN], input[MONEY_TEXT_LEN], time[TIME_TEXT_LEN + 1], resets[48] = "";
    const struct budget *b = why->budget;
    k->error_fields = S("x-should-retry: false\r\n");
    if (!b)
        return err_set(e, ERR_BUDGET_EXCEEDED, "what this call could cost cannot be reckoned with: its limits are absurdly high");
    write_details(k, why, input_tokens);
    if (why->resets_us != INT64_MAX)
        snprintf(resets, sizeof resets, "; it resets at %.*s", STR(when(why->resets_us, time)));
    return err_set(e, ERR_BUDGET_EXCEEDED,
                   "the %s budget of %s '%.*s' has %.*s of %.*s USD left; this call needs up to %.*s USD (input alone %.*s)%s",
                   budget_period_name(b->period), budget_scope_name(b->scope), STR(str_take(b->scope_name, 40)),
                   STR(usd(why->left_nanousd, left)), STR(usd(b->limit_nanousd, limit)), STR(usd(why->needed_nanousd, needed)),
                   STR(usd(why->input_nanousd, input)), resets);
}

/* Puts the START frame of the call into the journal: from here on the process may die, and the reservation is charged. */
static enum errc write_start(struct call *k, err *e)
{
    struct gateway_loop *gl = k->gl;
    struct usage_record r = k->r;
    uint64_t ticket;
    if (!journal_has_room(gl->writer, gl->n_open + 1))
        return err_set(e, ERR_DISK_FULL, "the usage journal has no room: the disk that holds the data folder is full; nothing was sent to the provider");
    r.outcome = CALL_CUT;
    r.error = S("crashed");
    r.is_estimated = true;
    r.tokens = (struct token_usage){.input = k->most_input, .output = k->most_output};
    r.cost_nanousd = r.charged_nanousd = k->hold.amount_nanousd;
    r.total_us = 0;
    journal_append_start(gl->writer, &r);
    k->r.boot = r.boot;
    k->r.n = r.n;
    k->has_start = true;
    return call_flush_journal(gl, &ticket, e);
}

static enum errc reserve(struct call *k, str body, const struct route_choice *choice, struct json_edit *edit, bool *waits, str *param, err *e)
{
    const struct virtual_key *key = k->secret->key;
    const struct provider *provider = choice->provider;
    struct worst_case *w = k->worst;
    struct price price;
    int64_t input_pico, output_pico, granted;
    struct budget_refusal why;
    if (!w) {
        if (!(w = k->worst = arena_new(&k->arena, struct worst_case)))
            return err_code(e, ERR_NO_MEMORY);
        enum errc rc = worst_case_scan(&k->arena, k->r.dialect, body, w, e);
        if (rc != ERR_NONE) {
            *param = w->bad_member;
            return rc;
        }
    }
    w->seed = conversation_seed(key->id.b, provider->name, choice->model);
    (void)!price_find(k->use->snapshot->prices, provider->price_name, provider->kind->price_source, choice->model, k->r.started_us, &price);
    if (!worst_prices(w, &price, &input_pico, &output_pico)) {
        if (provider->kind->is_local) {
            input_pico = output_pico = 0;
        } else if (key->cap_pico >= 0) {
            input_pico = output_pico = key->cap_pico;
        } else {
            k->error_fields = S("x-should-retry: false\r\n");
            *param = S("model");
            return err_set(e, ERR_BUDGET_EXCEEDED,
                           "the price of '%.*s' is not known, so no hard budget can hold: give the provider a price for it, or the budget a cap for unknown prices",
                           STR(str_take(choice->model, 80)));
        }
    }
    struct model_limits limits = price_model_limits(&price, choice->model);
    int64_t input = worst_input_tokens(k->gl->gateway->conversations, w, choice->model, &limits);
    int64_t wanted = w->output_asked >= 0 ? w->output_asked : limits.max_output;
    struct budget_ask ask = {
        .input_pico = (picousd)input * input_pico,
        .output_pico = (picousd)output_pico * w->choices,
        .output_tokens = wanted,
        .output_least = w->thinking_tokens >= OUTPUT_LEAST ? w->thinking_tokens + 1 : OUTPUT_LEAST,
        .mono_us = clock_mono_us(),
        .since_us = k->waits_since_us,
    };
    switch (budget_reserve(key->budgets, key->n_budgets, k->r.started_us, &ask, &k->hold, &granted, &why)) {
    case BUDGET_GRANTED:
        break;
    case BUDGET_WAITS:
        *waits = true;
        return ERR_NONE;
    case BUDGET_REFUSED:
    default:
        return refuse_budget(k, &why, input, e);
    }
    if (wanted > 0 && (granted < wanted || w->output_asked < 0)) {
        enum errc rc = worst_case_limit(w, edit, &k->arena, granted, str_eq(provider->kind->name, S("openai")) || str_eq(provider->kind->name, S("azure")), e);
        if (rc != ERR_NONE)
            return rc;
        if (granted < wanted)
            k->lowered_to = granted;
    }
    k->most_input = input;
    if (__builtin_mul_overflow(granted, w->choices, &k->most_output))
        k->most_output = INT64_MAX;
    return k->hold.amount_nanousd ? write_start(k, e) : ERR_NONE;
}

static enum errc admit(struct call *k, str body, const struct route_choice *choice, struct json_edit *edit, bool *waits, str *param, err *e)
{
    const struct virtual_key *key = k->secret->key;
    enum errc rc = key->n_rates && !k->has_rates ? take_rates(k, waits, e) : ERR_NONE;
    if (rc != ERR_NONE || *waits || !key->n_budgets || k->r.dialect == DIALECT_COUNT_TOKENS)
        return rc;
    if (key->has_hard_budget)
        return reserve(k, body, choice, edit, waits, param, e);
    budget_hold_open(key->budgets, key->n_budgets, k->r.started_us, &k->hold);
    return ERR_NONE;
}

enum admission call_admit(struct call *k, str body, const struct route_choice *choice, struct json_edit *edit, str *param, err *e)
{
    bool waits = false;
    if (admit(k, body, choice, edit, &waits, param, e) != ERR_NONE)
        return ADMISSION_REFUSED;
    if (!waits)
        return ADMISSION_GRANTED;
    if (!k->secret->key->n_rates || k->has_rates) /* else it is the pool of the limits that is asked, and awake */
        leases_wake(k->gl->gateway->leases);
    return ADMISSION_WAITS;
}

/* --- settling --- */

/* What was reserved is the most that the call can have had: an estimate above it only says that its tokens were longer than most. */
static void bound_estimate(const struct call *k, struct token_usage *t)
{
    const struct token_usage *told = &k->observer.tokens;
    if (t->input > k->most_input)
        t->input = told->input > k->most_input ? told->input : k->most_input;
    if (t->output > k->most_output)
        t->output = told->output > k->most_output ? told->output : k->most_output;
}

static int64_t tokens_in(const struct token_usage *t) { return t->input + t->cache_read + t->cache_write + t->cache_write_1h; }

void call_settle_money(struct call *k)
{
    struct usage_record *r = &k->r;
    const struct virtual_key *key = k->secret->key;
    const struct token_usage *t = &r->tokens;
    struct price p;
    if (r->is_estimated && k->hold.amount_nanousd)
        bound_estimate(k, &r->tokens);
    bool has_tokens = t->input | t->cache_read | t->cache_write | t->cache_write_1h | t->output;
    r->cost_nanousd = COST_UNKNOWN;
    if (!k->provider || !has_tokens)
        r->cost_nanousd = 0;
    else if (price_find(k->use->snapshot->prices, k->provider->price_name, k->provider->kind->price_source, r->model, r->started_us, &p))
        r->cost_nanousd = price_cost_nanousd(&p, t);
    if (r->cost_nanousd == COST_UNKNOWN && k->provider->kind->is_local)
        r->cost_nanousd = 0;
    r->charged_nanousd = r->cost_nanousd;
    if (r->cost_nanousd == COST_UNKNOWN)
        r->charged_nanousd = key->cap_pico > 0 ? money_pico_to_nano((picousd)(tokens_in(t) + t->output) * key->cap_pico) : 0;
    if (k->hold.n)
        budget_settle(&k->hold, r->charged_nanousd);
    if (k->has_rates)
        rates_settle(key->rates, key->n_rates, k->estimated_tokens, tokens_in(t) + t->output);
    if (k->worst && (k->observer.has_usage || k->observer.has_partial_usage))
        conversation_learn(k->gl->gateway->conversations, k->worst, tokens_in(&k->observer.tokens));
}
