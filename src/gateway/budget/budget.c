#include "gateway/budget.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/err.h"

#define RESERVE_TRIES 64 /* under contention every failed try is somebody else's success */
#define DRY_US (300 * USEC_PER_MS) /* so long what the database had not is believed not to be there */

struct budget_cell {
    usec start_us, end_us;
    _Atomic int64_t used;  /* spent and reserved */
    _Atomic int64_t spent; /* of that; for showing and alerts, decided is by used alone */
    struct budget_cell *older;
    /* of shared counters */
    _Atomic int64_t allowed; /* held by this node and charged in the database: `used` may grow up to it */
    _Atomic int64_t wanted;  /* by calls that wait */
    _Atomic int64_t leased;  /* by all nodes, as last seen; for showing */
    _Atomic usec dry_us;     /* monotonic: when the database had no more last */
    int64_t charged;         /* in the database, as far as `spent` knows of it; guarded by the drain's lock, as what follows */
    bool is_leased;
    struct budget_lease lease;
};

static const char *const scope_names[BUDGET_SCOPES] = {
    [BUDGET_WORKSPACE] = "workspace", [BUDGET_PROJECT] = "project", [BUDGET_USER] = "user", [BUDGET_KEY] = "key"};
static const char *const period_names[BUDGET_PERIODS] = {
    [BUDGET_DAILY] = "daily", [BUDGET_WEEKLY] = "weekly", [BUDGET_MONTHLY] = "monthly", [BUDGET_TOTAL] = "total"};

const char *budget_scope_name(enum budget_scope s) { return (unsigned)s < BUDGET_SCOPES ? scope_names[s] : "unknown"; }
const char *budget_period_name(enum budget_period p) { return (unsigned)p < BUDGET_PERIODS ? period_names[p] : "unknown"; }

bool budget_scope_parse(str name, enum budget_scope *out)
{
    for (unsigned i = 0; i < BUDGET_SCOPES; i++)
        if (str_eq(name, str_c(scope_names[i]))) {
            *out = (enum budget_scope)i;
            return true;
        }
    return false;
}

bool budget_period_parse(str name, enum budget_period *out)
{
    for (unsigned i = 0; i < BUDGET_PERIODS; i++)
        if (str_eq(name, str_c(period_names[i]))) {
            *out = (enum budget_period)i;
            return true;
        }
    return false;
}

/* --- periods --- */

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

int32_t budget_day(usec at) { return (int32_t)floor_div(at, USEC_PER_DAY); }

void budget_period_bounds(enum budget_period p, usec at, usec *start_us, usec *end_us)
{
    int64_t day = budget_day(at), first, last;
    switch (p) {
    case BUDGET_DAILY:
        first = day;
        last = day + 1;
        break;
    case BUDGET_WEEKLY: /* 1970-01-01 was a Thursday */
        first = floor_div(day + 3, 7) * 7 - 3;
        last = first + 7;
        break;
    case BUDGET_MONTHLY: {
        int year;
        unsigned month, day_of_month;
        date_of_day(day, &year, &month, &day_of_month);
        first = day_of_date(year, month, 1);
        last = month == 12 ? day_of_date(year + 1, 1, 1) : day_of_date(year, month + 1, 1);
        break;
    }
    case BUDGET_TOTAL:
    case BUDGET_PERIODS:
    default:
        *start_us = 0;
        *end_us = INT64_MAX;
        return;
    }
    *start_us = first * USEC_PER_DAY;
    *end_us = last * USEC_PER_DAY;
}

/* --- counters --- */

static struct budget_cell *cell_new(enum budget_period period, usec at, int64_t spent)
{
    struct budget_cell *cell = calloc(1, sizeof *cell);
    if (!cell)
        return NULL;
    budget_period_bounds(period, at, &cell->start_us, &cell->end_us);
    atomic_init(&cell->used, spent);
    atomic_init(&cell->spent, spent);
    cell->charged = spent;
    return cell;
}

struct budget_counter *budget_counter_new(enum budget_scope scope, const uuid *scope_id, enum budget_period period, bool is_shared, uint64_t birth,
                                          usec now_us, int64_t spent_nanousd)
{
    struct budget_counter *c = calloc(1, sizeof *c);
    struct budget_cell *cell = cell_new(period, now_us, spent_nanousd);
    if (!c || !cell) {
        free(c);
        free(cell);
        return NULL;
    }
    *c = (struct budget_counter){.scope = scope, .scope_id = *scope_id, .period = period, .is_shared = is_shared, .birth = birth};
    atomic_init(&c->cell, cell);
    atomic_init(&c->refs, 1);
    return c;
}

struct budget_counter *budget_counter_get(struct budget_counter *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void budget_counter_put(struct budget_counter *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct budget_cell *ahead = atomic_load(&c->ahead);
    bool is_ahead_used = false;
    for (struct budget_cell *cell = atomic_load(&c->cell), *older; cell; cell = older) {
        older = cell->older;
        is_ahead_used |= cell == ahead;
        free(cell);
    }
    if (!is_ahead_used)
        free(ahead);
    free(c);
}

/* The cell of the period of `at`, when there is one. */
static struct budget_cell *cell_of(const struct budget_counter *c, usec at_us)
{
    struct budget_cell *cell = atomic_load_explicit(&c->cell, memory_order_acquire);
    while (cell && at_us < cell->start_us)
        cell = cell->older;
    return cell && at_us < cell->end_us ? cell : NULL;
}

/* The cell of the period of `now`: the latest one, or an older one for a call that began before it and had to wait. A clock that has gone back behind all of
 * them stays in the latest one, and so does a process without memory: neither gives money away. */
static struct budget_cell *cell_at(struct budget_counter *c, usec now_us)
{
    struct budget_cell *cell = atomic_load_explicit(&c->cell, memory_order_acquire);
    while (now_us >= cell->end_us) {
        struct budget_cell *ahead = atomic_load_explicit(&c->ahead, memory_order_acquire);
        bool is_ahead = ahead && ahead->older == cell && now_us < ahead->end_us;
        struct budget_cell *fresh = is_ahead ? ahead : cell_new(c->period, now_us, 0);
        if (!fresh)
            break;
        if (!is_ahead)
            fresh->older = cell;
        if (atomic_compare_exchange_strong_explicit(&c->cell, &cell, fresh, memory_order_acq_rel, memory_order_acquire))
            return fresh;
        if (!is_ahead)
            free(fresh);
    }
    if (now_us >= cell->start_us)
        return cell;
    struct budget_cell *older = cell_of(c, now_us);
    return older ? older : cell;
}

static int64_t clamp(int64_t nanousd) { return nanousd < BUDGET_AMOUNT_MAX ? nanousd : BUDGET_AMOUNT_MAX; }

void budget_counter_add(struct budget_counter *c, usec at_us, int64_t nanousd)
{
    struct budget_cell *cell = cell_of(c, at_us);
    if (!cell)
        return;
    atomic_fetch_add_explicit(&cell->used, clamp(nanousd), memory_order_relaxed);
    atomic_fetch_add_explicit(&cell->spent, clamp(nanousd), memory_order_relaxed);
    cell->charged += clamp(nanousd); /* and what is held fell by as much: `allowed` stays */
}

struct budget_state budget_counter_state(struct budget_counter *c, usec now_us)
{
    struct budget_cell *cell = cell_at(c, now_us);
    int64_t used = atomic_load_explicit(&cell->used, memory_order_relaxed);
    int64_t spent = atomic_load_explicit(&cell->spent, memory_order_relaxed);
    /* Read while others settle, the difference can be of another moment; what was spent never is. */
    return (struct budget_state){cell->start_us, cell->end_us, spent, used > spent ? used - spent : 0, atomic_load_explicit(&cell->leased, memory_order_relaxed)};
}

/* --- shared counters --- */

static struct budget_share share_of(struct budget_cell *cell, bool takes_wanted)
{
    int64_t used = atomic_load(&cell->used), allowed = atomic_load(&cell->allowed);
    return (struct budget_share){
        .cell = cell,
        .start_us = cell->start_us,
        .end_us = cell->end_us,
        .lease = &cell->lease,
        .is_leased = cell->is_leased,
        .wanted = takes_wanted ? atomic_exchange(&cell->wanted, 0) : 0,
        .room = (cell->is_leased ? allowed : cell->charged) - used,
        .own = used - cell->charged,
        .held = cell->is_leased ? allowed - cell->charged : 0,
    };
}

struct budget_share budget_counter_share(struct budget_counter *c, usec now_us, bool takes_wanted)
{
    return share_of(cell_at(c, now_us), takes_wanted);
}

bool budget_counter_ahead(struct budget_counter *c, usec now_us, struct budget_share *out)
{
    struct budget_cell *cell = cell_at(c, now_us), *ahead = atomic_load(&c->ahead);
    if (cell != atomic_load(&c->cell) || cell->end_us == INT64_MAX)
        return false;
    if (!ahead || ahead == cell) { /* what is in the chain already may be forgotten here */
        if (!(ahead = cell_new(c->period, cell->end_us, 0)))
            return false;
        ahead->older = cell;
        atomic_store_explicit(&c->ahead, ahead, memory_order_release);
    }
    if (ahead->older != cell)
        return false;
    *out = share_of(ahead, false);
    return true;
}

int64_t budget_share_claim(const struct budget_share *share, int64_t nanousd)
{
    struct budget_cell *cell = share->cell;
    int64_t used = atomic_load(&cell->used), free;
    do {
        free = atomic_load(&cell->allowed) - used;
        if (free > nanousd)
            free = nanousd;
        if (free <= 0)
            return 0;
    } while (!atomic_compare_exchange_weak(&cell->used, &used, used + free));
    return free;
}

void budget_share_charged(const struct budget_share *share, int64_t charged_nanousd, int64_t leased_nanousd)
{
    struct budget_cell *cell = share->cell;
    int64_t more = charged_nanousd - cell->charged; /* by others */
    /* In this order: in between there is less room, not more. */
    atomic_fetch_add(&cell->used, more);
    atomic_fetch_add(&cell->spent, more);
    atomic_fetch_add(&cell->allowed, more);
    cell->charged = charged_nanousd;
    atomic_store(&cell->leased, leased_nanousd);
}

void budget_share_learn(const struct budget_share *share, int64_t charged_nanousd, int64_t held_nanousd, int64_t others_nanousd, int64_t claimed_nanousd)
{
    struct budget_cell *cell = share->cell;
    budget_share_charged(share, charged_nanousd, others_nanousd + (held_nanousd > 0 ? held_nanousd : 0));
    cell->is_leased = true;
    atomic_store(&cell->allowed, charged_nanousd + held_nanousd);
    atomic_fetch_sub(&cell->used, claimed_nanousd);
}

void budget_share_forget(const struct budget_share *share)
{
    share->cell->is_leased = false;
    share->cell->lease = (struct budget_lease){0};
    atomic_store(&share->cell->allowed, 0);
}

void budget_share_is_dry(const struct budget_share *share, usec mono_us) { atomic_store(&share->cell->dry_us, mono_us); }

void budget_counter_drained(struct budget_counter *c, usec at_us, int64_t nanousd)
{
    struct budget_cell *cell = cell_of(c, at_us);
    if (cell)
        cell->charged += clamp(nanousd);
}

/* --- reserving and settling --- */

int64_t budget_amount(picousd pico)
{
    if (pico <= 0)
        return 0;
    picousd nano = (pico + 999) / 1000;
    return nano < BUDGET_AMOUNT_MAX ? (int64_t)nano : BUDGET_AMOUNT_MAX;
}

/* Up to where `used` may grow. Of a shared counter also what was leased before the limit was lowered ends there. */
static int64_t limit_of(const struct budget_gate *gate, const struct budget_cell *cell)
{
    int64_t limit = gate->hard->limit_nanousd;
    if (!gate->counter->is_shared)
        return limit;
    int64_t allowed = atomic_load_explicit(&cell->allowed, memory_order_relaxed);
    return allowed < limit ? allowed : limit;
}

static int64_t left_of(const struct budget_gate *gate, const struct budget_cell *cell)
{
    return limit_of(gate, cell) - atomic_load_explicit(&cell->used, memory_order_relaxed);
}

/* Whether the database was asked for more just now, or since the call waits, and had none. */
static bool is_dry(const struct budget_cell *cell, const struct budget_ask *ask)
{
    usec dry = atomic_load_explicit(&cell->dry_us, memory_order_acquire);
    return dry && ((ask->since_us && dry >= ask->since_us) || ask->mono_us - dry < DRY_US);
}

/* Notes the amount on every shared counter that has no room for it and may have more; whether there is one. */
static bool want_more(const struct budget_gate *gates, unsigned n, const struct budget_hold *hold, const struct budget_ask *ask, int64_t amount)
{
    bool wants = false;
    for (unsigned i = 0; i < n; i++)
        if (gates[i].hard && gates[i].counter->is_shared && amount > left_of(&gates[i], hold->cells[i]) && !is_dry(hold->cells[i], ask)) {
            atomic_fetch_add_explicit(&hold->cells[i]->wanted, amount < BUDGET_AMOUNT_MAX / 1000 ? amount : BUDGET_AMOUNT_MAX / 1000, memory_order_relaxed);
            wants = true;
        }
    return wants;
}

static void give_back(struct budget_hold *hold, unsigned n, int64_t amount)
{
    while (n-- > 0)
        atomic_fetch_sub_explicit(&hold->cells[n]->used, amount, memory_order_relaxed);
}

/* Takes the amount on every cell or on none. */
static bool take_all(const struct budget_gate *gates, unsigned n, struct budget_hold *hold, int64_t amount)
{
    for (unsigned i = 0; i < n; i++) {
        struct budget_cell *cell = hold->cells[i];
        if (!gates[i].hard || !amount) { /* what costs nothing fits into an overdrawn budget, too */
            atomic_fetch_add_explicit(&cell->used, amount, memory_order_relaxed);
            continue;
        }
        int64_t used = atomic_load_explicit(&cell->used, memory_order_relaxed);
        do {
            if (amount > limit_of(&gates[i], cell) - used) {
                give_back(hold, i, amount);
                return false;
            }
        } while (!atomic_compare_exchange_weak_explicit(&cell->used, &used, used + amount, memory_order_relaxed, memory_order_relaxed));
    }
    return true;
}

void budget_hold_open(const struct budget_gate *gates, unsigned n, usec now_us, struct budget_hold *hold)
{
    hold->n = n;
    hold->amount_nanousd = 0;
    for (unsigned i = 0; i < n; i++)
        hold->cells[i] = cell_at(gates[i].counter, now_us);
}

enum budget_verdict budget_reserve(const struct budget_gate *gates, unsigned n, usec now_us, const struct budget_ask *ask, struct budget_hold *hold,
                                   int64_t *granted, struct budget_refusal *why)
{
    int64_t least = ask->output_least < ask->output_tokens ? ask->output_least : ask->output_tokens;
    int64_t input = budget_amount(ask->input_pico), needed = budget_amount(ask->input_pico + ask->output_pico * least);
    *why = (struct budget_refusal){.needed_nanousd = needed, .input_nanousd = input, .resets_us = INT64_MAX};
    budget_hold_open(gates, n, now_us, hold);
    for (unsigned tries = 0; tries < RESERVE_TRIES; tries++) {
        int64_t left = INT64_MAX;
        for (unsigned i = 0; i < n; i++)
            if (gates[i].hard && left_of(&gates[i], hold->cells[i]) < left) {
                left = left_of(&gates[i], hold->cells[i]);
                why->budget = gates[i].hard;
                why->left_nanousd = left > 0 ? left : 0;
                why->resets_us = hold->cells[i]->end_us;
            }
        int64_t tokens = ask->output_tokens;
        int64_t amount = budget_amount(ask->input_pico + ask->output_pico * tokens);
        if ((amount > left && amount) || amount == BUDGET_AMOUNT_MAX) {
            if (amount != BUDGET_AMOUNT_MAX && want_more(gates, n, hold, ask, amount)) {
                *hold = (struct budget_hold){0};
                return BUDGET_WAITS;
            }
            if (needed > left || needed == BUDGET_AMOUNT_MAX)
                break;
            /* left covers the input and the least output, so the division is by a price above 0 and gives at least the least. */
            picousd room = (picousd)left * 1000 - ask->input_pico;
            tokens = (int64_t)(room / ask->output_pico);
            if (tokens > ask->output_tokens)
                tokens = ask->output_tokens;
            amount = budget_amount(ask->input_pico + ask->output_pico * tokens);
        }
        if (take_all(gates, n, hold, amount)) {
            hold->amount_nanousd = amount;
            *granted = tokens;
            return BUDGET_GRANTED;
        }
    }
    *hold = (struct budget_hold){0};
    *granted = 0;
    return BUDGET_REFUSED;
}

void budget_settle(struct budget_hold *hold, int64_t nanousd)
{
    int64_t change = clamp(nanousd) - hold->amount_nanousd;
    for (unsigned i = 0; i < hold->n; i++) {
        atomic_fetch_add_explicit(&hold->cells[i]->used, change, memory_order_relaxed);
        atomic_fetch_add_explicit(&hold->cells[i]->spent, clamp(nanousd), memory_order_relaxed);
    }
    *hold = (struct budget_hold){0};
}
