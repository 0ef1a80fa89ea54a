/* Alerts of budgets: an event when what was spent has passed a mark (50, 80, 100 percent), once for each budget, period and mark; and live frames of what was
 * spent. Looked at by the drain after its batches, never on a loop. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "core/events.h"
#include "core/live.h"
#include "gateway/internal.h"

#define FRAMES_MAX 50 /* live frames at a time */

SQL(alert_tell, DB_MAIN, SQL_INSTANCE, "uiii",
    "INSERT INTO gateway_budget_alerts (budget_id, period_start_us, percent, told_us) VALUES ($1, $2, $3, $4) "
    "ON CONFLICT (budget_id, period_start_us, percent) DO NOTHING");

/* What is known of a budget since this process began. */
struct known {
    uuid id;
    usec period_start_us;
    unsigned told; /* the highest mark of the period that was told, by whomever */
    int64_t spent_nanousd;
};

struct alerts {
    struct map known; /* by budget id */
};

struct alerts *alerts_new(void)
{
    struct alerts *a = calloc(1, sizeof *a);
    if (a)
        map_init(&a->known);
    return a;
}

void alerts_free(struct alerts *a)
{
    str key;
    void *value;
    if (!a)
        return;
    for (size_t it = 0; map_next(&a->known, &it, &key, &value);)
        free(value);
    map_fini(&a->known);
    free(a);
}

static struct known *known_of(struct alerts *a, const struct budget *b)
{
    struct known *k = map_get(&a->known, str_of((const char *)b->id.b, sizeof b->id.b));
    if (k)
        return k;
    if (!(k = calloc(1, sizeof *k)))
        return NULL;
    k->id = b->id;
    k->period_start_us = -1;
    if (map_put(&a->known, str_of((const char *)k->id.b, sizeof k->id.b), k) != ERR_NONE) {
        free(k);
        return NULL;
    }
    return k;
}

struct alert {
    const struct budget *budget;
    struct budget_state state;
    unsigned percent;
    usec now_us;
    struct event ev;
};

static enum errc tell_unit(struct tx *tx, void *ctx, err *e)
{
    const struct alert *x = ctx;
    int64_t changed = 0;
    enum errc rc = tx_exec(tx, &alert_tell, PARAMS(v_uuid(&x->budget->id), v_int(x->state.start_us), v_int(x->percent), v_int(x->now_us)), &changed, e);
    return rc == ERR_NONE && changed ? tx_event(tx, &x->ev, e) : rc;
}

static enum errc tell(struct gateway *g, const struct budget *b, const struct budget_state *state, unsigned percent, usec now_us, err *e)
{
    char metadata[300], spent[MONEY_TEXT_LEN], limit[MONEY_TEXT_LEN];
    int n = snprintf(metadata, sizeof metadata, "{\"percent\":%u,\"spent_usd\":\"%s\",\"limit_usd\":\"%s\",\"scope\":\"%s\",\"period\":\"%s\",\"is_hard\":%s}",
                     percent, money_format(state->spent_nanousd, spent).p, money_format(b->limit_nanousd, limit).p, budget_scope_name(b->scope),
                     budget_period_name(b->period), b->is_hard ? "\"true\"" : "\"false\"");
    struct alert x = {
        .budget = b,
        .state = *state,
        .percent = percent,
        .now_us = now_us,
        .ev = {.id = uuid7_make(now_us), .at_us = now_us, .type = S("budget.threshold"), .workspace_id = b->workspace_id, .actor = ACTOR_SYSTEM,
               .resource_type = S("budget"), .resource_id = b->id, .status = S("success"), .metadata = str_of(metadata, (size_t)n)},
    };
    return db_write(store_db(g->backend.store, DB_MAIN), tell_unit, &x, e);
}

/* The highest mark that is passed; 0: none. */
static unsigned passed(const struct budget *b, int64_t spent)
{
    unsigned found = 0;
    for (unsigned i = 0; i < b->n_alerts; i++)
        if ((__int128)spent * 100 >= (__int128)b->limit_nanousd * b->alerts[i] && spent > 0)
            found = b->alerts[i];
    return found;
}

static void publish_spent(struct gateway *g, const struct budget *b, const struct budget_state *state)
{
    static const uuid nobody;
    char json[300], id[UUID_TEXT_LEN + 1], spent[MONEY_TEXT_LEN], reserved[MONEY_TEXT_LEN];
    int n = snprintf(json, sizeof json, "{\"id\":\"%s\",\"spent_usd\":\"%s\",\"spent_nanousd\":%lld,\"reserved_usd\":\"%s\",\"reserved_nanousd\":%lld}",
                     uuid_format(&b->id, id).p, money_format(state->spent_nanousd, spent).p, (long long)state->spent_nanousd,
                     money_format(state->reserved_nanousd, reserved).p, (long long)state->reserved_nanousd);
    live_publish(g->backend.live, &b->workspace_id, &nobody, PERMISSION_OPTIMIZER_READ, S("budget.spent"), str_of(json, (size_t)n));
}

void alerts_look(struct alerts *a, struct gateway *g, usec now_us)
{
    struct snapshot *s = gateway_snapshot(g);
    unsigned n_frames = 0;
    for (unsigned i = 0; i < s->n_budgets; i++) {
        const struct budget *b = &s->budgets[i];
        struct budget_state state = budget_counter_state(b->counter, now_us);
        struct known *k = known_of(a, b);
        err e;
        if (!k || uuid_is_nil(&b->workspace_id))
            continue;
        if (k->period_start_us != state.start_us) {
            k->period_start_us = state.start_us;
            k->told = 0;
        }
        if (k->spent_nanousd != state.spent_nanousd && g->backend.live && n_frames++ < FRAMES_MAX)
            publish_spent(g, b, &state);
        k->spent_nanousd = state.spent_nanousd;
        /* Marks that are passed together are told one by one, each with an event of its own. */
        unsigned mark = passed(b, state.spent_nanousd);
        for (unsigned m = 0; m < b->n_alerts && mark > k->told; m++) {
            if (b->alerts[m] <= k->told || b->alerts[m] > mark)
                continue;
            if (tell(g, b, &state, b->alerts[m], now_us, &e) != ERR_NONE) {
                log_error(LOG_WARN, "budget_alert_not_told", &e);
                break;
            }
            k->told = b->alerts[m];
        }
    }
    snapshot_put(s);
}
