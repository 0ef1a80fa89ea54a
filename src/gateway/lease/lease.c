#include "gateway/lease/lease.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/waker.h"
#include "core/nodes.h"
#include "gateway/ledger/give_back.h"

#define LOOK_US (100 * USEC_PER_MS)      /* how often slices are looked at without being asked */
#define RECALL_US (400 * USEC_PER_MS)    /* so long others have to give back */
#define AGAIN_US (20 * USEC_PER_MS)     /* while others give back, it is looked so often whether they have */
#define AHEAD_US (50 * USEC_PER_MS)      /* slices are refilled ahead no more often than this */
#define IDLE_US (2 * USEC_PER_S)         /* an idle slice goes back after this */
#define RETRY_US (250 * USEC_PER_MS)     /* after a unit that failed */
#define OTHERS_US (1 * USEC_PER_S)       /* how often other nodes' charges and wishes are looked at */
#define ALONE_US (10 * USEC_PER_S)       /* and charges when nobody else is alive: a journal may be imported */
#define STALE_US (1 * USEC_PER_S)        /* how often rows are looked for that no budget stands behind */
#define NEXT_US (10 * USEC_PER_S)        /* so long before a period ends a slice of the next one is leased */
#define BASE_PART 256                    /* of a limit stays with each node */
#define COUNTERS_AT_ONCE 256             /* of which other nodes' charges are asked in one unit */

SQL(lease_seen, DB_USAGE, SQL_INSTANCE, "iuiii",
    "SELECT CAST(COALESCE((SELECT SUM(charged_nanousd) FROM spend_days WHERE scope = $1 AND scope_id = $2 AND day >= $3), 0) AS BIGINT), "
    "CAST(COALESCE((SELECT SUM(CASE WHEN held_nanousd > 0 THEN held_nanousd ELSE 0 END) FROM budget_leases "
    "WHERE scope = $1 AND scope_id = $2 AND period = $4 AND start_us = $5), 0) AS BIGINT)");
SQL(lease_rows, DB_USAGE, SQL_INSTANCE, "iuii",
    "SELECT node, held_nanousd FROM budget_leases WHERE scope = $1 AND scope_id = $2 AND period = $3 AND start_us = $4");
SQL(lease_put, DB_USAGE, SQL_INSTANCE, "iuiiiiii",
    "INSERT INTO budget_leases (scope, scope_id, period, start_us, node, held_nanousd, wanted_nanousd, wanted_us) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (scope, scope_id, period, start_us, node) DO UPDATE SET "
    "held_nanousd = excluded.held_nanousd, wanted_nanousd = excluded.wanted_nanousd, wanted_us = excluded.wanted_us");
SQL(lease_wishes, DB_USAGE, SQL_INSTANCE, "i",
    "SELECT scope, scope_id, period, start_us, CAST(SUM(wanted_us) AS BIGINT) FROM budget_leases WHERE wanted_nanousd > 0 AND node <> $1 "
    "GROUP BY scope, scope_id, period, start_us LIMIT 1000");
SQL(lease_own, DB_USAGE, SQL_INSTANCE, "i", "SELECT scope, scope_id, period, start_us FROM budget_leases WHERE node = $1 AND held_nanousd <> 0");
SQL(lease_drop, DB_USAGE, SQL_INSTANCE, "iuiii",
    "DELETE FROM budget_leases WHERE scope = $1 AND scope_id = $2 AND period = $3 AND start_us = $4 AND node = $5");
SQL(lease_forget, DB_USAGE, SQL_INSTANCE, "iii",
    "DELETE FROM budget_leases WHERE node = $1 AND ((period = 0 AND start_us < $2) OR (period IN (1, 2) AND start_us < $3))");

struct leases {
    struct leases_setup setup;
    int64_t node_no;
    struct waker waker;
    pthread_t thread;
    bool has_thread;
    _Atomic bool is_told;    /* by other nodes: somebody wants more, or has given back */
    _Atomic int64_t held;
    _Atomic int64_t units;   /* that were committed */
    usec others_us;          /* monotonic: when others were last looked at */
    usec charges_us;         /* monotonic: when what all have charged was last looked at */
    uint64_t stale_version;  /* of the snapshot that rows were compared with */
    usec stale_us;           /* monotonic: when */
    usec forgot_us;
    usec trouble_us;         /* monotonic: the database is left alone until then; 0: it is well */
    unsigned next_counter;   /* of soft_charges */
    bool is_soon;            /* the next look does not wait long */
    struct arena a;          /* of one look */
};

/* --- one counter in the database --- */

struct lease_job {
    const struct leases *l;
    const struct budget *budget; /* the hard one of the lowest limit */
    const struct budget_share *share;
    int64_t ask;             /* so much more is wanted, if it can be had */
    int64_t give;            /* so much goes back */
    unsigned n_nodes;
    bool is_last;            /* others have had their time */
    usec now_us;
    /* out */
    int64_t charged, held, others, missing;
};

static void put_key(const struct lease_job *j, struct val v[4])
{
    const struct budget *b = j->budget;
    v[0] = v_int((int64_t)b->scope);
    v[1] = v_uuid(&b->scope_id);
    v[2] = v_int((int64_t)b->period);
    v[3] = v_int(j->share->start_us);
}

/* What of `free` is granted: what is asked, or a slice that saves asking again soon. */
static int64_t grant(const struct lease_job *j, int64_t free, int64_t held)
{
    int64_t part = j->n_nodes == 1 && !j->others ? 2 : 4 * (int64_t)j->n_nodes;
    int64_t most = held < 0 ? free - held : free; /* what was spent beyond the lease has been charged already */
    int64_t wanted = j->ask > free / part ? j->ask : free / part;
    return wanted < most ? wanted : most;
}

static enum errc lease_unit(struct tx *tx, void *ctx, err *e)
{
    struct lease_job *j = ctx;
    struct val v[8];
    struct arena a;
    struct rows rows;
    int64_t own = 0, others = 0, wanted = 0;
    put_key(j, v);
    j->missing = j->ask;
    arena_init(&a, 1 << 20, 4096);
    enum errc rc = ledger_charged(tx, j->budget->scope, &j->budget->scope_id, budget_day(j->share->start_us), &j->charged, e);
    if (rc == ERR_NONE)
        rc = tx_query(tx, &a, &lease_rows, v, 4, &rows, e);
    for (unsigned i = 0; rc == ERR_NONE && i < rows.n; i++) {
        int64_t held = val_int(&row_at(&rows, i)[1]);
        if (val_int(&row_at(&rows, i)[0]) == j->l->node_no)
            own = held;
        else if (held > 0)
            others += held;
    }
    if (rc == ERR_NONE) {
        own = j->share->is_leased ? own - j->give : 0; /* an earlier counter's is void */
        j->others = others;
        int64_t free = j->budget->limit_nanousd - j->charged - others - (own > 0 ? own : 0);
        if (j->ask > 0 && free > 0) {
            int64_t more = grant(j, free, own);
            own += more;
            j->missing = j->ask - more;
        }
        if (j->missing > 0 && j->others && !j->is_last)
            wanted = j->missing;
        j->held = own;
        v[4] = v_int(j->l->node_no);
        v[5] = v_int(own);
        v[6] = v_int(wanted);
        v[7] = v_int(wanted ? j->now_us : 0);
        rc = tx_exec(tx, &lease_put, v, 8, NULL, e);
    }
    if (rc == ERR_NONE && (wanted || j->give))
        rc = tx_tell(tx, TOPIC_LEASES, e);
    arena_fini(&a);
    return rc;
}

static void in_trouble(struct leases *l, const err *e)
{
    if (!l->trouble_us)
        log_error(LOG_WARN, "budget_leases_wait_for_the_database", e);
    l->trouble_us = clock_mono_us() + RETRY_US;
}

/* Runs it, and lets the counter learn what the database says. */
static enum errc sync_share(struct leases *l, struct lease_job *j, err *e)
{
    struct budget_lease *lease = j->share->lease;
    j->l = l;
    j->now_us = clock_now_us();
    j->n_nodes = l->setup.nodes ? nodes_alive(l->setup.nodes) : 1;
    enum errc rc = db_write(store_db(l->setup.store, DB_USAGE), lease_unit, j, e);
    if (rc == ERR_NONE) {
        budget_share_learn(j->share, j->charged, j->held, j->others, j->give + lease->claimed);
        lease->claimed = 0;
        lease->excess = j->charged + j->others + (j->held > 0 ? j->held : 0) - j->budget->limit_nanousd;
        atomic_fetch_add(&l->units, 1);
        if (l->trouble_us)
            log_event(LOG_INFO, "budget_leases_go_on", LOG_I("node", l->node_no));
        l->trouble_us = 0;
    } else { /* whether it was committed may not be known: what was claimed stays so until the row can be read again */
        lease->claimed += j->give;
        in_trouble(l, e);
    }
    return rc;
}

/* --- what others want --- */

struct query_job {
    const struct sql *sql;
    struct arena *a;
    int64_t node_no;
    struct rows rows;
};

static enum errc query_unit(struct tx *tx, void *ctx, err *e)
{
    struct query_job *j = ctx;
    return tx_query(tx, j->a, j->sql, PARAMS(v_int(j->node_no)), &j->rows, e);
}

static bool is_of_counter(const struct val *row, const struct budget *b, usec start_us)
{
    uuid id = val_uuid(&row[1]);
    return val_int(&row[0]) == (int64_t)b->scope && val_int(&row[2]) == (int64_t)b->period && val_int(&row[3]) == start_us && memcmp(&id, &b->scope_id, sizeof id) == 0;
}

/* What others want of it, as a number that changes when somebody asks anew; 0: nobody does. Who died while he wanted something asks no more. */
static int64_t wish_of(const struct rows *wishes, const struct budget *b, usec start_us)
{
    for (unsigned i = 0; i < wishes->n; i++)
        if (is_of_counter(row_at(wishes, i), b, start_us))
            return val_int(&row_at(wishes, i)[4]);
    return 0;
}

/* --- one look at a counter --- */

static enum errc give(struct leases *l, const struct budget *b, const struct budget_share *share, int64_t amount, err *e)
{
    struct lease_job j = {.budget = b, .share = share, .give = amount > 0 ? budget_share_claim(share, amount) : 0};
    if (!j.give)
        return ERR_NONE;
    share->lease->slice = 0;
    return sync_share(l, &j, e);
}

/* Asks for what calls wait for. *is_told: they may ask again. */
static enum errc ask(struct leases *l, const struct budget *b, const struct budget_share *share, int64_t wanted, bool *is_told, err *e)
{
    struct budget_lease *lease = share->lease;
    usec now = clock_mono_us();
    struct lease_job j = {.budget = b, .share = share, .ask = wanted - share->room, .is_last = lease->recall_until_us && now >= lease->recall_until_us};
    if (j.ask <= 0) {
        lease->pending = 0;
        lease->recall_until_us = 0;
        *is_told = true;
        return ERR_NONE;
    }
    if (lease->pending && now < lease->next_us) {
        lease->pending = wanted;
        l->is_soon = true;
        return ERR_NONE;
    }
    enum errc rc = sync_share(l, &j, e);
    if (rc != ERR_NONE) {
        lease->pending = wanted;
        return rc;
    }
    lease->slice = j.ask - j.missing;
    bool is_over = j.missing <= 0 || !j.others || j.is_last;
    *is_told |= is_over || j.missing < j.ask;
    if (j.missing > 0 && is_over)
        budget_share_is_dry(share, clock_mono_us());
    lease->pending = is_over ? 0 : wanted;
    if (is_over)
        lease->recall_until_us = 0;
    else if (!lease->recall_until_us)
        lease->recall_until_us = now + RECALL_US;
    lease->next_us = now + AGAIN_US;
    l->is_soon |= !is_over;
    return ERR_NONE;
}

/* A slice of the next period, shortly before it begins: its first calls need not wait, and it can begin while the database is away. */
static enum errc look_ahead(struct leases *l, const struct budget *b, const struct budget_share *share, err *e)
{
    struct budget_share next;
    usec now = clock_now_us();
    if (share->end_us == INT64_MAX || share->end_us - now > NEXT_US || !budget_counter_ahead(b->counter, now, &next) || next.is_leased)
        return ERR_NONE;
    struct lease_job j = {.budget = b, .share = &next, .ask = 1, .is_last = true};
    enum errc rc = sync_share(l, &j, e);
    if (rc == ERR_NONE)
        next.lease->slice = j.held;
    next.lease->limit = b->limit_nanousd;
    return rc;
}

static enum errc look_at(struct leases *l, const struct budget *b, const struct rows *wishes, int64_t *held, bool *is_told, err *e)
{
    struct budget_share share = budget_counter_share(b->counter, clock_now_us(), true);
    struct budget_lease *lease = share.lease;
    usec now = clock_mono_us();
    int64_t wanted = share.wanted > lease->pending ? share.wanted : lease->pending;
    bool is_used = share.own != lease->seen_own, is_lowered = share.is_leased && b->limit_nanousd < lease->limit;
    int64_t wish = wishes ? wish_of(wishes, b, share.start_us) : 0;
    bool has_new_wish = wish && wish != lease->seen_wish;
    lease->seen_own = share.own;
    *held += share.held > 0 ? share.held : 0;
    if (wanted)
        return ask(l, b, &share, wanted, is_told, e);
    if (!share.is_leased)
        return ERR_NONE;
    if (lease->claimed || is_lowered) { /* what there is is divided anew */
        struct lease_job j = {.budget = b, .share = &share, .give = is_lowered && share.room > 0 ? budget_share_claim(&share, share.room) : 0};
        enum errc rc = sync_share(l, &j, e);
        if (rc == ERR_NONE)
            lease->limit = b->limit_nanousd;
        return rc;
    }
    lease->limit = b->limit_nanousd;
    if (has_new_wish) {
        lease->seen_wish = wish;
        return give(l, b, &share, share.room, e);
    }
    if (lease->excess > 0 && share.room > 0) /* calls under way have left some of what is too much */
        return give(l, b, &share, share.room < lease->excess ? share.room : lease->excess, e);
    if (is_used) {
        lease->idle_since_us = 0;
        enum errc rc_ahead = look_ahead(l, b, &share, e);
        if (rc_ahead != ERR_NONE)
            return rc_ahead;
        if (lease->slice > 0 && share.room < lease->slice / 2 && now >= lease->next_us) {
            struct lease_job j = {.budget = b, .share = &share, .ask = lease->slice - share.room, .is_last = true};
            enum errc rc = sync_share(l, &j, e);
            if (rc == ERR_NONE)
                lease->slice = j.ask - j.missing;
            lease->next_us = now + AHEAD_US;
            return rc;
        }
        return ERR_NONE;
    }
    if (!lease->idle_since_us) {
        lease->idle_since_us = now;
    } else if (now - lease->idle_since_us >= IDLE_US) {
        lease->idle_since_us = now;
        return give(l, b, &share, share.room - b->limit_nanousd / BASE_PART, e);
    }
    return ERR_NONE;
}

/* --- all of them --- */

struct seen {
    const struct budget *budget;
    struct budget_share share;
    int64_t charged, leased;
};
struct seen_job {
    struct seen *seen;
    unsigned n;
};

static enum errc seen_unit(struct tx *tx, void *ctx, err *e)
{
    struct seen_job *j = ctx;
    struct arena a;
    enum errc rc = ERR_NONE;
    arena_init(&a, 1 << 20, 0);
    for (unsigned i = 0; i < j->n && rc == ERR_NONE; i++) {
        struct seen *x = &j->seen[i];
        const struct budget *b = x->budget;
        struct arena_mark mark = arena_mark(&a);
        const struct val *row;
        rc = tx_query_row(tx, &a, &lease_seen,
                          PARAMS(v_int((int64_t)b->scope), v_uuid(&b->scope_id), v_int(budget_day(x->share.start_us)), v_int((int64_t)b->period),
                                 v_int(x->share.start_us)),
                          &row, e);
        if (rc == ERR_NONE) {
            x->charged = val_int(&row[0]);
            x->leased = val_int(&row[1]);
        }
        arena_reset(&a, mark);
    }
    arena_fini(&a);
    return rc;
}

/* What all nodes have charged and hold: for showing, alerts, and limits that bind before a lease does. Some counters at a time. */
static enum errc learn_charges(struct leases *l, const struct snapshot *s, err *e)
{
    struct seen_job j = {.seen = arena_news(&l->a, struct seen, COUNTERS_AT_ONCE)};
    unsigned looked = 0;
    if (!j.seen)
        return err_code(e, ERR_NO_MEMORY);
    for (; looked < s->n_budgets && j.n < COUNTERS_AT_ONCE; looked++) {
        const struct budget *b = &s->budgets[(l->next_counter + looked) % s->n_budgets];
        if (b->counter->is_shared)
            j.seen[j.n++] = (struct seen){.budget = b, .share = budget_counter_share(b->counter, clock_now_us(), false)};
    }
    l->next_counter = s->n_budgets ? (l->next_counter + looked) % s->n_budgets : 0;
    enum errc rc = j.n ? db_read(store_db(l->setup.store, DB_USAGE), seen_unit, &j, e) : ERR_NONE;
    for (unsigned i = 0; i < j.n && rc == ERR_NONE; i++)
        budget_share_charged(&j.seen[i].share, j.seen[i].charged, j.seen[i].leased);
    return rc;
}

struct drop_job {
    const struct leases *l;
    const struct val **rows;
    unsigned n;
};

static enum errc drop_unit(struct tx *tx, void *ctx, err *e)
{
    const struct drop_job *j = ctx;
    enum errc rc = ERR_NONE;
    for (unsigned i = 0; i < j->n && rc == ERR_NONE; i++) {
        const struct val *v = j->rows[i];
        rc = tx_exec(tx, &lease_drop, PARAMS(v[0], v[1], v[2], v[3], v_int(j->l->node_no)), NULL, e);
    }
    return rc == ERR_NONE ? tx_tell(tx, TOPIC_LEASES, e) : rc;
}

/* A budget that was deleted, or is not hard any more, leaves a row behind, which would be missing should it be made again: it goes. Rows of older periods stay for
 * calls that are drained late. */
static enum errc drop_stale(struct leases *l, const struct snapshot *s, err *e)
{
    struct query_job own = {.sql = &lease_own, .a = &l->a, .node_no = l->node_no};
    struct drop_job j = {.l = l};
    enum errc rc = db_read(store_db(l->setup.store, DB_USAGE), query_unit, &own, e);
    if (rc != ERR_NONE)
        return rc;
    if (!(j.rows = arena_news(&l->a, const struct val *, own.rows.n + 1u)))
        return err_code(e, ERR_NO_MEMORY);
    drain_lock(l->setup.drain);
    for (unsigned i = 0; i < own.rows.n; i++) {
        const struct val *row = row_at(&own.rows, i);
        struct budget key = {.scope = (enum budget_scope)val_int(&row[0]), .scope_id = val_uuid(&row[1]), .period = (enum budget_period)val_int(&row[2])};
        const struct budget *b = snapshot_hard_budget(s, &key);
        usec now = clock_now_us(), start, end;
        budget_period_bounds(key.period, now, &start, &end);
        if (val_int(&row[3]) != start || (b && budget_counter_share(b->counter, now, false).is_leased))
            continue;
        struct budget_counter *soft = b ? NULL : snapshot_counter(s, key.scope, &key.scope_id, key.period);
        struct budget_share share = soft ? budget_counter_share(soft, now, false) : (struct budget_share){0};
        if (share.is_leased)
            budget_share_forget(&share);
        j.rows[j.n++] = row;
    }
    drain_unlock(l->setup.drain);
    return j.n ? db_write(store_db(l->setup.store, DB_USAGE), drop_unit, &j, e) : ERR_NONE;
}

void leases_look(struct leases *l)
{
    struct snapshot *s = l->setup.snapshot(l->setup.ctx);
    struct query_job wishes = {.sql = &lease_wishes, .a = &l->a, .node_no = l->node_no};
    usec now = clock_mono_us();
    int64_t held = 0;
    err e = {0};
    enum errc rc = ERR_NONE;
    bool is_told = false, was_told = atomic_exchange(&l->is_told, false), looks_at_others = was_told || now - l->others_us >= OTHERS_US;
    l->is_soon = false;
    arena_init(&l->a, 16 << 20, 64 << 10);
    if (looks_at_others) {
        l->others_us = now;
        if (db_read(store_db(l->setup.store, DB_USAGE), query_unit, &wishes, &e) != ERR_NONE) {
            in_trouble(l, &e);
            wishes.rows.n = 0;
        }
    }
    /* Nothing is drained during a unit, so that what the database says and what a counter knows is of the same moment. */
    for (unsigned i = 0; i < s->n_budgets && rc == ERR_NONE; i++) {
        const struct budget *b = &s->budgets[i];
        if (!b->is_hard || !b->counter->is_shared || snapshot_hard_budget(s, b) != b)
            continue;
        drain_lock(l->setup.drain);
        rc = look_at(l, b, looks_at_others ? &wishes.rows : NULL, &held, &is_told, &e);
        drain_unlock(l->setup.drain);
    }
    l->held = held;
    if (rc == ERR_NONE && now - l->charges_us >= (l->setup.nodes && nodes_alive(l->setup.nodes) > 1 ? OTHERS_US : ALONE_US)) {
        l->charges_us = now;
        drain_lock(l->setup.drain);
        if ((rc = learn_charges(l, s, &e)) != ERR_NONE)
            in_trouble(l, &e);
        drain_unlock(l->setup.drain);
    }
    if (rc == ERR_NONE && s->version != l->stale_version && now - l->stale_us >= STALE_US) {
        l->stale_us = now;
        if ((rc = drop_stale(l, s, &e)) == ERR_NONE)
            l->stale_version = s->version;
        else
            in_trouble(l, &e);
    }
    if (is_told)
        l->setup.changed(l->setup.ctx);
    arena_fini(&l->a);
    snapshot_put(s);
}

static enum errc forget_unit(struct tx *tx, void *ctx, err *e)
{
    const struct leases *l = ctx;
    return tx_exec(tx, &lease_forget, PARAMS(v_int(l->node_no), v_int(l->forgot_us - 3 * USEC_PER_DAY), v_int(l->forgot_us - 63 * USEC_PER_DAY)), NULL, e);
}

/* Rows of periods that are long over. */
static void forget(struct leases *l)
{
    usec now = clock_now_us();
    err e = {0};
    if (now - l->forgot_us < USEC_PER_DAY)
        return;
    l->forgot_us = now;
    if (db_write(store_db(l->setup.store, DB_USAGE), forget_unit, l, &e) != ERR_NONE)
        log_error(LOG_WARN, "old_leases_not_forgotten", &e);
}

static void *leases_main(void *arg)
{
    struct leases *l = arg;
    while (waker_wait(&l->waker, l->is_soon ? AGAIN_US : LOOK_US)) {
        if (l->trouble_us && clock_mono_us() < l->trouble_us)
            continue;
        leases_look(l);
        forget(l);
    }
    return NULL;
}

/* --- life --- */

static void on_told(void *ctx)
{
    struct leases *l = ctx;
    l->is_told = true;
    waker_wake(&l->waker);
}

enum errc leases_new(struct leases **out, const struct leases_setup *setup, err *e)
{
    struct leases *l = calloc(1, sizeof *l);
    struct given_back back;
    *out = NULL;
    if (!l)
        return err_code(e, ERR_NO_MEMORY);
    l->setup = *setup;
    l->node_no = drain_node_no(setup->drain);
    enum errc rc = waker_init(&l->waker, e);
    if (rc != ERR_NONE) {
        free(l);
        return rc;
    }
    if ((rc = leases_give_back(setup->store, l->node_no, &back, e)) != ERR_NONE) {
        leases_free(l);
        return rc;
    }
    if (back.leased_nanousd)
        log_event(LOG_INFO, "budget_leases_given_back", LOG_I("nanousd", back.leased_nanousd));
    *out = l;
    return ERR_NONE;
}

enum errc leases_start(struct leases *l, err *e)
{
    sigset_t all, before;
    store_on_told(l->setup.store, TOPIC_LEASES, on_told, l);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&l->thread, NULL, leases_main, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return err_errno(e, ERR_INTERNAL, failed, "starting the thread of budget leases");
    l->has_thread = true;
    return ERR_NONE;
}

void leases_stop(struct leases *l)
{
    if (!l || !l->has_thread)
        return;
    waker_stop(&l->waker);
    pthread_join(l->thread, NULL);
    l->has_thread = false;
}

void leases_end(struct leases *l)
{
    struct given_back back;
    err e = {0};
    if (l && leases_give_back(l->setup.store, l->node_no, &back, &e) != ERR_NONE)
        log_error(LOG_WARN, "budget_leases_not_given_back", &e);
    else if (l)
        l->held = 0;
}

void leases_free(struct leases *l)
{
    if (!l)
        return;
    leases_stop(l);
    waker_fini(&l->waker);
    free(l);
}

void leases_wake(struct leases *l) { waker_wake(&l->waker); }

int64_t leases_held_nanousd(const struct leases *l) { return l->held; }

int64_t leases_units(const struct leases *l) { return l->units; }
