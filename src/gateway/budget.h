/* budget.h - spending limits of workspaces, projects, users and virtual keys.
 *
 * A reservation of the worst case is taken before a call goes to its provider and settled after it at what the call cost, so two calls that race for
 * the last dollar cannot both win. What counts is kept by counters, one for each scope, its id and a kind of period, whatever number of budgets
 * look at it; a budget is a limit on a counter. A counter holds what was spent and what is reserved in one number, so that one
 * compare-and-swap decides.
 * Periods are UTC: days, weeks from Monday, calendar months, or everything that the scope ever spent. A call belongs to the period that it began in: its
 * reservation is settled there even when the next period has begun.
 * With a database that several nodes share, a counter is shared: a node may use no more than it has leased of a hard budget (lease.h); what does not fit waits
 * for a larger lease.
 * Units: nano-USD (int64); prices pico-USD per token.
 * Threads: any. Counters are atomics, taken in the order workspace, project, user, key and undone on failure; nothing here waits.
 * Source: reservation and settlement as in payment authorisation.
 */
#ifndef GATEWAY_BUDGET_H
#define GATEWAY_BUDGET_H

#include "base/money.h"
#include "base/random.h"

enum budget_scope { BUDGET_WORKSPACE, BUDGET_PROJECT, BUDGET_USER, BUDGET_KEY, BUDGET_SCOPES };
enum budget_period { BUDGET_DAILY, BUDGET_WEEKLY, BUDGET_MONTHLY, BUDGET_TOTAL, BUDGET_PERIODS };

const char *budget_scope_name(enum budget_scope s); /* "workspace", "project", "user", "key" */
WARN_UNUSED bool budget_scope_parse(str name, enum budget_scope *out);
const char *budget_period_name(enum budget_period p); /* "daily", "weekly", "monthly", "total" */
WARN_UNUSED bool budget_period_parse(str name, enum budget_period *out);

/* The period that `at` lies in: start (included) and end (excluded). Total: 0 and INT64_MAX. */
void budget_period_bounds(enum budget_period p, usec at, usec *start_us, usec *end_us);
/* Days since 1970 (UTC): what roll-ups are kept by; every period begins on one. */
int32_t budget_day(usec at);

/* --- counters --- */

struct budget_cell; /* one period of a counter */

struct budget_counter {
    enum budget_scope scope;
    uuid scope_id;
    enum budget_period period;
    bool is_shared;                     /* with other nodes */
    uint64_t birth;                     /* version of the first snapshot that had it: calls of earlier ones are not in it yet */
    _Atomic(struct budget_cell *) cell; /* of the latest period; older ones hang behind it */
    _Atomic(struct budget_cell *) ahead; /* of the period after it, with a lease already; NULL: none. It stays here when it has become the latest */
    _Atomic unsigned refs;
};

/* With what was spent in the period of now so far; one reference. NULL when out of memory. */
struct budget_counter *budget_counter_new(enum budget_scope scope, const uuid *scope_id, enum budget_period period, bool is_shared, uint64_t birth,
                                          usec now_us, int64_t spent_nanousd);
struct budget_counter *budget_counter_get(struct budget_counter *c);
void budget_counter_put(struct budget_counter *c); /* NULL is fine */
/* Adds what a call that began at `at` cost to its period, when the counter has it. */
void budget_counter_add(struct budget_counter *c, usec at_us, int64_t nanousd);

struct budget_state {
    usec start_us, end_us;
    int64_t spent_nanousd, reserved_nanousd; /* reserved: by this node */
    int64_t leased_nanousd; /* by all nodes, as last seen; 0 when it is not shared */
};
struct budget_state budget_counter_state(struct budget_counter *c, usec now_us);

/* --- shared counters: what the thread of leases does with them (lease.h) --- */

/* What the thread remembers of a period from one look to the next. */
struct budget_lease {
    int64_t slice;          /* granted last */
    int64_t seen_own;       /* at the last look */
    int64_t pending;        /* wanted, and others are asked to give back */
    int64_t claimed;        /* taken out of the room for units of which nobody knows whether they were committed */
    int64_t limit;          /* of the budget, at the last look */
    int64_t excess;         /* by which what was charged and is held by all nodes is above a limit that was lowered */
    int64_t seen_wish;      /* of other nodes: answered */
    usec idle_since_us, recall_until_us, next_us; /* monotonic; 0: not so */
};
/* The present period of a shared counter. */
struct budget_share {
    struct budget_cell *cell;
    usec start_us, end_us;
    struct budget_lease *lease;
    bool is_leased;         /* false: the database has not been asked yet */
    int64_t wanted;         /* by calls that wait; taken by this look */
    int64_t room;           /* leased, and neither spent nor reserved; negative: more was spent than was leased */
    int64_t own, held;      /* own: spent and not drained, or reserved; held: leased and not drained */
};
/* takes_wanted: the thread answers to what is wanted. With the drain locked. */
struct budget_share budget_counter_share(struct budget_counter *c, usec now_us, bool takes_wanted);
/* The period after the present one, made beforehand; false: there is none. */
WARN_UNUSED bool budget_counter_ahead(struct budget_counter *c, usec now_us, struct budget_share *out);
/* Takes so much out of the room, or what is free of it, to be given back. */
WARN_UNUSED int64_t budget_share_claim(const struct budget_share *share, int64_t nanousd);
/* What the database says: charged in the period so far, and held by this node and by the others; `claimed` was given back (or could not be, then held says so).
 * With the drain locked. */
void budget_share_learn(const struct budget_share *share, int64_t charged_nanousd, int64_t held_nanousd, int64_t others_nanousd, int64_t claimed_nanousd);
/* What all nodes have charged and hold, without asking for anything. With the drain locked. */
void budget_share_charged(const struct budget_share *share, int64_t charged_nanousd, int64_t leased_nanousd);
/* No hard budget stands behind the counter any more, and its row goes: should one come again, it leases anew. With the drain locked. */
void budget_share_forget(const struct budget_share *share);
/* There is no more to be had now. */
void budget_share_is_dry(const struct budget_share *share, usec mono_us);
/* A call that was counted here is in the database now, and taken off what this node holds. With the drain locked. */
void budget_counter_drained(struct budget_counter *c, usec at_us, int64_t nanousd);

/* --- budgets --- */

#define BUDGET_ALERTS_MAX 8

struct budget {
    uuid id, workspace_id;
    enum budget_scope scope;
    uuid scope_id;
    enum budget_period period;
    bool is_hard, is_from_file;
    int64_t limit_nanousd;
    int64_t cap_pico;                   /* per token, for models of unknown price; -1: such calls are refused */
    uint8_t alerts[BUDGET_ALERTS_MAX];  /* percent, ascending */
    unsigned n_alerts;
    str scope_name;                     /* for messages */
    struct budget_counter *counter;
};

/* One counter that a key's calls are counted on, with the hard budget of the lowest limit on it (NULL: none). */
struct budget_gate {
    struct budget_counter *counter;
    const struct budget *hard;
};
#define BUDGET_GATES_MAX ((unsigned)BUDGET_SCOPES * (unsigned)BUDGET_PERIODS)

/* --- reserving and settling --- */

struct budget_ask {
    picousd input_pico;   /* the most that the input can cost */
    picousd output_pico;  /* one output token of every choice */
    int64_t output_tokens;
    int64_t output_least; /* fewer are not worth a call */
    usec mono_us;         /* now; for shared counters */
    usec since_us;        /* since when it has waited for a lease; 0: it has not */
};

/* What a call holds until it is settled. */
struct budget_hold {
    struct budget_cell *cells[BUDGET_GATES_MAX];
    unsigned n;
    int64_t amount_nanousd;
};

struct budget_refusal {
    const struct budget *budget;
    int64_t left_nanousd;   /* of the limit: neither spent nor reserved */
    int64_t needed_nanousd; /* for the input and the least output */
    int64_t input_nanousd;
    usec resets_us;         /* INT64_MAX: never */
};

enum budget_verdict {
    BUDGET_GRANTED,
    BUDGET_REFUSED,
    BUDGET_WAITS /* a shared counter may have more for it: the thread of leases is to be woken, and the call asks again when it has looked */
};
/* Reserves on all gates the cost of the whole ask, or, when only the output does not fit, of as many output tokens as fit (*granted). BUDGET_REFUSED: not even
 * the least fits; *why says what the tightest budget has left. Nothing is reserved unless it is granted. */
WARN_UNUSED enum budget_verdict budget_reserve(const struct budget_gate *gates, unsigned n, usec now_us, const struct budget_ask *ask,
                                struct budget_hold *hold, int64_t *granted, struct budget_refusal *why);
/* Counts a call without reserving: for keys without a hard budget. */
void budget_hold_open(const struct budget_gate *gates, unsigned n, usec now_us, struct budget_hold *hold);
/* Replaces the reservation by what the call cost. Once; a hold of zeros is fine. */
void budget_settle(struct budget_hold *hold, int64_t nanousd);

/* The cost in nano-USD, rounded up; saturates at BUDGET_AMOUNT_MAX. */
#define BUDGET_AMOUNT_MAX (INT64_MAX / 8)
int64_t budget_amount(picousd pico);

#endif
