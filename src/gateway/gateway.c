#include <stdatomic.h>
#include <stdlib.h>

#include "base/log.h"
#include "core/nodes.h"
#include "gateway/admin/rows.h"
#include "gateway/internal.h"
#include "gateway/ledger/give_back.h"

#define SCRATCH_MAX (256u << 10)
#define METRIC_ARENA_MAX (64u << 20)
#define ROWS_MAX (512u << 20)
#define LIVE_CALLS_MAX 200 /* of one batch: a page shows no more */

enum errc gateway_config_check(const struct config *config, struct arena *a, struct buf *problems, err *e)
{
    struct snapshot *s = NULL;
    enum errc rc = snapshot_load(&s, config, problems, e);
    (void)a;
    if (rc == ERR_NONE)
        snapshot_put(s);
    return rc;
}

/* --- snapshots --- */

struct snapshot *gateway_snapshot(struct gateway *g)
{
    pthread_mutex_lock(&g->swap_lock);
    struct snapshot *s = snapshot_get(g->latest);
    pthread_mutex_unlock(&g->swap_lock);
    return s;
}

/* Takes over one reference. */
static void publish(struct gateway *g, struct snapshot *s)
{
    pthread_mutex_lock(&g->swap_lock);
    struct snapshot *before = g->latest;
    g->latest = s;
    g->version = s->version;
    pthread_mutex_unlock(&g->swap_lock);
    snapshot_put(before);
    for (unsigned i = 0; i < g->n_loops; i++) {
        struct gateway_loop *gl = __atomic_load_n(&g->loops[i], __ATOMIC_ACQUIRE);
        if (gl && !atomic_exchange(&gl->is_adopt_posted, true))
            loop_post(gl->loop, &gl->adopt);
    }
}

/* What new counters begin with. Until their snapshot is published the drain must not move on: what it drained before is in the sum, what it drains
 * afterwards it adds to them. */
static enum errc ask_spent(void *ctx, struct spent_query *queries, unsigned n, err *e)
{
    struct gateway *g = ctx;
    drain_lock(g->drain);
    g->is_drain_locked = true;
    enum errc rc = ledger_spent(g->backend.store, queries, n, e);
    if (rc == ERR_NONE)
        g->max_birth = g->next_version;
    return rc;
}

/* With g->build_lock. */
static enum errc build(struct gateway *g, struct snapshot_base *base, err *e)
{
    struct snapshot *s = NULL;
    struct snapshot_rows rows;
    struct arena a;
    /* Counters that were made before there was a database know nothing of what was spent: they do not go on. */
    struct snapshot *before = g->backend.store && !g->knows_spent ? NULL : g->latest;
    struct snapshot_source source = {.base = base, .before = before, .version = ++g->next_version, .now_us = clock_now_us(), .ctx = g};
    enum errc rc = ERR_NONE;
    arena_init(&a, ROWS_MAX, 64 << 10);
    if (g->backend.store) {
        source.rows = &rows;
        source.is_shared = store_is_postgres(g->backend.store);
        source.spent = ask_spent;
        source.rates = g->rates;
        rc = gateway_rows_load(g->backend.store, g->backend.secrets, &a, &rows, e);
    }
    if (rc == ERR_NONE)
        rc = snapshot_build(&s, &source, e);
    if (rc == ERR_NONE) {
        s->log_number = source.rows ? rows.log_number : 0;
        g->log_number = s->log_number;
        publish(g, s);
        if (g->follow)
            follow_built(g->follow, g->log_number);
        g->knows_spent = g->backend.store != NULL;
    }
    if (g->is_drain_locked)
        drain_unlock(g->drain);
    g->is_drain_locked = false;
    arena_fini(&a);
    return rc;
}

static enum errc rebuild(struct gateway *g, err *e)
{
    uint64_t ticket = ++g->wanted;
    enum errc rc = ERR_NONE;
    pthread_mutex_lock(&g->build_lock);
    if (g->built < ticket) { /* else one that began after the change has been built meanwhile */
        uint64_t through = g->wanted;
        if ((rc = build(g, g->base, e)) == ERR_NONE)
            g->built = through;
    }
    pthread_mutex_unlock(&g->build_lock);
    return rc;
}

void gateway_changed(struct gateway *g)
{
    err e;
    if (rebuild(g, &e) == ERR_NONE)
        return;
    follow_again(g->follow);
    log_error(LOG_ERROR, "gateway_keeps_its_snapshot", &e);
}

/* --- what the drain tells --- */

/* A call that began under a snapshot before a counter was made is not in it yet; shared counters learn that the others are in the database. */
static void tell_counters(const struct snapshot *s, const struct usage_record *r)
{
    uuid key_id;
    memcpy(key_id.b, r->key_id, sizeof key_id.b);
    const uuid *ids[BUDGET_SCOPES] = {uuid_is_nil(&r->workspace_id) ? &s->workspaces[0].id : &r->workspace_id, &r->project_id, &r->user_id, &key_id};
    for (unsigned scope = 0; scope < BUDGET_SCOPES; scope++)
        for (unsigned period = 0; period < BUDGET_PERIODS; period++) {
            struct budget_counter *c = snapshot_counter(s, (enum budget_scope)scope, ids[scope], (enum budget_period)period);
            if (c && c->birth > r->snapshot)
                budget_counter_add(c, r->started_us, r->charged_nanousd);
            else if (c && c->is_shared)
                budget_counter_drained(c, r->started_us, r->charged_nanousd);
        }
}

static void on_drained(void *ctx, const struct usage_record *calls, unsigned n, uint64_t boot)
{
    struct gateway *g = ctx;
    struct snapshot *s = gateway_snapshot(g);
    for (unsigned i = 0; i < n; i++) /* it began before there was a workspace */
        g->has_adopted &= !uuid_is_nil(&calls[i].workspace_id);
    for (unsigned i = 0; i < n; i++)
        if (calls[i].boot == boot && (g->leases || calls[i].snapshot < g->max_birth) && calls[i].charged_nanousd)
            tell_counters(s, &calls[i]);
    for (unsigned i = 0; g->backend.live && i < n && i < LIVE_CALLS_MAX; i++)
        requests_publish(g, s, &calls[i]);
    snapshot_put(s);
}

static void on_idle(void *ctx, usec now_us)
{
    struct gateway *g = ctx;
    err e;
    struct snapshot *s = gateway_snapshot(g);
    const uuid *first = &s->workspaces[0].id;
    if (!g->has_adopted && !uuid_is_nil(first) && drain_is_well(g->drain, &(const char *){NULL})) {
        enum errc rc = ledger_adopt(g->backend.store, first, &e);
        if (rc == ERR_NONE)
            g->has_adopted = true;
        else
            log_error(LOG_WARN, "calls_without_workspace", &e);
    }
    snapshot_put(s);
    if (g->leases)
        gateway_metrics_leases(g);
    alerts_look(g->alerts, g, now_us);
}

/* On the follower's thread. */
static enum errc follow_rebuild(void *ctx, int64_t *number, err *e)
{
    struct gateway *g = ctx;
    enum errc rc = rebuild(g, e);
    *number = g->log_number;
    if (rc == ERR_NONE && g->backend.nodes && nodes_alive(g->backend.nodes) > 1)
        nodes_wake(g->backend.nodes); /* another may wait to hear of it */
    return rc;
}

/* --- limits over nodes --- */

static unsigned count_nodes(void *ctx) { return nodes_alive(((struct gateway *)ctx)->backend.nodes); }

static enum errc exchange_rates(void *ctx, struct rate_exchange *x, err *e) { return rate_rows_exchange(((struct gateway *)ctx)->rate_rows, x, e); }

static void tell_rates(void *ctx) { rate_pool_told(ctx); }

static enum errc share_rates(struct gateway *g, err *e)
{
    const struct gateway_backend *b = &g->backend;
    struct rate_pool_setup setup = {.nodes = count_nodes, .exchange = exchange_rates, .answered = gateway_leases_changed, .ctx = g};
    if (!b->nodes || !store_is_postgres(b->store))
        return ERR_NONE;
    enum errc rc = rate_rows_new(&g->rate_rows, b->store, drain_node_no(g->drain), g->away_ms, e);
    if (rc == ERR_NONE)
        rc = rate_pool_new(&g->rates, &setup, e);
    if (rc == ERR_NONE)
        store_on_told(b->store, TOPIC_LEASES, tell_rates, g->rates);
    return rc;
}

/* --- life with a database --- */

static void report(void *ctx, struct node_figures *f)
{
    struct gateway *g = ctx;
    struct drain_backlog b = drain_backlog(g->drain);
    f->snapshot_version = (int64_t)g->version;
    f->snapshot_number = follow_number(g->follow);
    f->journal_bytes = b.bytes;
    f->journal_calls = b.calls;
    f->journal_oldest_us = b.oldest_us;
    f->leased_nanousd = g->leases ? leases_held_nanousd(g->leases) : 0;
}

static enum errc node_holds(void *ctx, const uuid *node, int64_t *leased_nanousd, err *e)
{
    struct gateway *g = ctx;
    return leases_held(g->backend.store, node, leased_nanousd, e);
}

static struct snapshot *latest(void *ctx) { return gateway_snapshot(ctx); }

enum errc gateway_attach(struct gateway *g, const struct gateway_backend *backend, err *e)
{
    struct drain_setup setup = {
        .store = backend->store,
        .data_dir = g->data_dir,
        .journal = g->journal,
        .interval_ms = g->drain_ms,
        .keep_days = g->keep_days,
        .drained = on_drained,
        .idle = on_idle,
        .ctx = g,
    };
    if (!(g->alerts = alerts_new()))
        return err_code(e, ERR_NO_MEMORY);
    enum errc rc = drain_open(&g->drain, &setup, e);
    if (rc != ERR_NONE)
        return rc;
    g->backend = *backend;
    struct leases_setup leases = {.store = backend->store, .drain = g->drain, .nodes = backend->nodes, .snapshot = latest, .changed = gateway_leases_changed,
                                  .ctx = g};
    if (store_is_postgres(backend->store) && (rc = leases_new(&g->leases, &leases, e)) != ERR_NONE)
        return rc;
    if ((rc = share_rates(g, e)) != ERR_NONE || (rc = rebuild(g, e)) != ERR_NONE)
        return rc;
    struct follow_setup follow = {.store = backend->store, .events = backend->events, .stale_max_ms = g->stale_max_ms, .rebuild = follow_rebuild, .ctx = g};
    if ((rc = follow_new(&g->follow, &follow, g->log_number, e)) == ERR_NONE && backend->nodes)
        nodes_report(backend->nodes, report, g);
    if (rc == ERR_NONE && backend->nodes)
        nodes_on_forget(backend->nodes, node_holds, g);
    return rc;
}

enum errc gateway_start(struct gateway *g, err *e)
{
    enum errc rc = follow_start(g->follow, e);
    if (rc == ERR_NONE)
        rc = drain_start(g->drain, e);
    if (rc == ERR_NONE && g->rates)
        rc = rate_pool_start(g->rates, e);
    return rc == ERR_NONE && g->leases ? leases_start(g->leases, e) : rc;
}

void gateway_stop(struct gateway *g)
{
    if (g && g->follow)
        follow_stop(g->follow);
    if (g)
        leases_stop(g->leases);
    if (g && g->rates)
        rate_pool_stop(g->rates);
    if (g && g->drain)
        drain_stop(g->drain);
}

enum errc gateway_reload(struct gateway *g, const struct config *config, struct buf *problems, err *e)
{
    struct snapshot_base *base = NULL;
    pthread_mutex_lock(&g->build_lock);
    enum errc rc = snapshot_base_load(&base, config, g->base, problems, e);
    if (rc == ERR_NONE)
        rc = build(g, base, e);
    if (rc == ERR_NONE) {
        snapshot_base_put(g->base);
        g->base = base;
    } else {
        snapshot_base_put(base);
    }
    pthread_mutex_unlock(&g->build_lock);
    return rc;
}

const struct snapshot *gateway_current(struct gateway_loop *gl)
{
    struct gateway *g = gl->gateway;
    if (atomic_load_explicit(&g->version, memory_order_acquire) != gl->use->snapshot->version) {
        struct snapshot_use *use = snapshot_use_new(&gl->pools, gateway_snapshot(g));
        if (use) { /* else the old one holds until there is memory */
            snapshot_use_retire(&gl->pools, gl->use);
            gl->use = use;
        }
    }
    return gl->use->snapshot;
}

void gateway_leases_changed(void *gateway)
{
    struct gateway *g = gateway;
    for (unsigned i = 0; i < g->n_loops; i++) {
        struct gateway_loop *gl = __atomic_load_n(&g->loops[i], __ATOMIC_ACQUIRE);
        if (gl && !atomic_exchange(&gl->is_leased_posted, true))
            loop_post(gl->loop, &gl->leased);
    }
}

static void run_leased(struct loop_task *task)
{
    struct gateway_loop *gl = (struct gateway_loop *)((char *)task - offsetof(struct gateway_loop, leased));
    gl->is_leased_posted = false;
    calls_unpark(gl);
}

static void parked_too_long(struct wheel_timer *t) { calls_unpark((struct gateway_loop *)((char *)t - offsetof(struct gateway_loop, parked_timer))); }

static void run_adopt(struct loop_task *task)
{
    struct gateway_loop *gl = (struct gateway_loop *)((char *)task - offsetof(struct gateway_loop, adopt));
    gl->is_adopt_posted = false;
    gateway_current(gl);
    calls_revoke(gl);
}

/* --- life --- */

/* On the journal thread: something more is durable, the loops may have answers that waited for it. */
static void on_synced(void *ctx)
{
    struct gateway *g = ctx;
    for (unsigned i = 0; i < g->n_loops; i++) {
        struct gateway_loop *gl = __atomic_load_n(&g->loops[i], __ATOMIC_ACQUIRE);
        if (gl && !atomic_exchange(&gl->is_synced_posted, true))
            loop_post(gl->loop, &gl->synced);
    }
}

static void run_synced(struct loop_task *task)
{
    struct gateway_loop *gl = (struct gateway_loop *)((char *)task - offsetof(struct gateway_loop, synced));
    gl->is_synced_posted = false;
    calls_release_synced(gl);
}

enum errc gateway_new(struct gateway **out, const struct gateway_setup *setup, struct buf *problems, err *e)
{
    const struct config *config = setup->config;
    struct gateway *g = calloc(1, sizeof *g);
    struct journal_recovery found = {0};
    if (!g || !(g->loops = calloc(setup->n_loops, sizeof(struct gateway_loop *)))) {
        free(g);
        return err_code(e, ERR_NO_MEMORY);
    }
    pthread_mutex_init(&g->swap_lock, NULL);
    pthread_mutex_init(&g->build_lock, NULL);
    g->n_loops = setup->n_loops;
    g->data_dir = strdup(setup->data_dir);
    g->drain_ms = (unsigned)config_int(config, "usage.drain_ms");
    g->keep_days = (unsigned)config_int(config, "usage.keep_days");
    g->lease_wait_ms = (unsigned)config_int(config, "budgets.lease_wait_ms");
    g->away_ms = (unsigned)config_int(config, "node.away_ms");
    g->stale_max_ms = (unsigned)config_int(config, "gateway.stale_max_ms");
    g->is_strict = config_bool(config, "journal.strict");
    g->event_max = (size_t)config_int(config, "limits.stream_event_bytes");
    g->answer_max = (size_t)config_int(config, "limits.answer_bytes");
    struct journal_options options = {
        .is_strict = g->is_strict,
        .segment_bytes = (size_t)config_int(config, "journal.segment_bytes"),
        .n_writers = setup->n_loops,
        .sync_ms = (unsigned)config_int(config, "journal.sync_ms"),
        .on_synced = on_synced,
        .ctx = g,
    };
    enum errc rc = snapshot_base_load(&g->base, config, NULL, problems, e);
    if (rc == ERR_NONE)
        rc = journal_open(&g->journal, setup->data_dir, &options, &found, e);
    if (rc == ERR_NONE)
        rc = build(g, g->base, e);
    if (rc == ERR_NONE && !(g->conversations = conversations_new()))
        rc = err_code(e, ERR_NO_MEMORY);
    if (rc == ERR_NONE && !(g->metrics = gateway_metrics_new()))
        rc = err_code(e, ERR_NO_MEMORY);
    if (rc != ERR_NONE) {
        gateway_free(g);
        return rc;
    }
    if (found.torn_segments)
        log_event(LOG_WARN, "journal_torn", LOG_I("segments", found.torn_segments), LOG_I("bytes_cut", found.torn_bytes),
                  LOG_S("reason", S("the last write before a crash was incomplete; no answer had ended with it")));
    *out = g;
    return ERR_NONE;
}

void gateway_free(struct gateway *g)
{
    if (!g)
        return;
    gateway_stop(g);
    if (g->leases && drain_is_well(g->drain, &(const char *){NULL}))
        leases_end(g->leases);
    if (g->backend.nodes)
        nodes_report_end(g->backend.nodes, g);
    leases_free(g->leases);
    follow_free(g->follow);
    drain_free(g->drain);
    alerts_free(g->alerts);
    if (g->journal)
        journal_close(g->journal);
    for (unsigned i = 0; i < g->n_loops; i++)
        gateway_loop_free(g->loops[i]);
    snapshot_put(g->latest);
    rate_pool_free(g->rates);
    rate_rows_free(g->rate_rows);
    snapshot_base_put(g->base);
    gateway_metrics_free(g->metrics);
    conversations_free(g->conversations);
    pthread_mutex_destroy(&g->swap_lock);
    pthread_mutex_destroy(&g->build_lock);
    free(g->data_dir);
    free(g->loops);
    free(g);
}

static void on_turn_end(void *ctx)
{
    struct gateway_loop *gl = ctx;
    if (gl->ending.first || journal_is_dirty(gl->writer)) {
        calls_end_turn(gl);
        gateway_metrics_loop(gl);
    }
}

enum errc gateway_loop_new(struct gateway_loop **out, struct gateway *g, struct loop *l, err *e)
{
    struct gateway_loop *gl = calloc(1, sizeof *gl);
    if (!gl)
        return err_code(e, ERR_NO_MEMORY);
    pools_init(&gl->pools, l);
    gl->use = snapshot_use_new(&gl->pools, gateway_snapshot(g));
    if (!gl->use) {
        free(gl);
        return err_code(e, ERR_NO_MEMORY);
    }
    gl->gateway = g;
    gl->loop = l;
    gl->writer = journal_writer(g->journal, l->index);
    call_list_init(&gl->ending);
    call_list_init(&gl->releasing);
    call_list_init(&gl->syncing);
    gl->synced.run = run_synced;
    gl->adopt.run = run_adopt;
    call_list_init(&gl->parked);
    gl->leased.run = run_leased;
    gl->parked_timer.fire = parked_too_long;
    buf_init(&gl->head, SCRATCH_MAX);
    buf_init(&gl->request_head, SCRATCH_MAX);
    map_init(&gl->metric_sets);
    arena_init(&gl->metric_arena, METRIC_ARENA_MAX, 4096);
    loop_at_turn_end(l, on_turn_end, gl);
    __atomic_store_n(&g->loops[l->index], gl, __ATOMIC_RELEASE);
    *out = gl;
    return ERR_NONE;
}

void gateway_loop_close(struct gateway_loop *gl)
{
    calls_end_turn(gl);
    pools_close(&gl->pools);
}

void gateway_loop_free(struct gateway_loop *gl)
{
    if (!gl)
        return;
    calls_free_spare(gl);
    buf_fini(&gl->head);
    buf_fini(&gl->request_head);
    map_fini(&gl->metric_sets);
    arena_fini(&gl->metric_arena);
    snapshot_use_retire(&gl->pools, gl->use);
    pools_fini(&gl->pools);
    free(gl);
}

bool gateway_is_fresh(const struct gateway *g) { return !g->follow || follow_is_fresh(g->follow); }

bool gateway_can_serve(void *gateway_loop, const char **reason)
{
    struct gateway_loop *gl = gateway_loop;
    if (!journal_has_room(gl->writer, gl->n_open)) {
        *reason = "disk_full";
        return false;
    }
    const struct gateway *g = gl->gateway;
    if (!gateway_is_fresh(g)) {
        *reason = "snapshot_too_old";
        return false;
    }
    /* Calls go on without the database: they wait for it in the journal. */
    if (g->follow && follow_is_well(g->follow, reason) && g->drain)
        (void)drain_is_well(g->drain, reason);
    return true;
}

uuid gateway_node(const struct gateway *g)
{
    uuid node;
    memcpy(node.b, journal_node(g->journal), sizeof node.b);
    return node;
}

unsigned gateway_n_providers(struct gateway *g)
{
    struct snapshot *s = gateway_snapshot(g);
    unsigned n = s->n_providers;
    snapshot_put(s);
    return n;
}

unsigned gateway_n_keys(struct gateway *g)
{
    struct snapshot *s = gateway_snapshot(g);
    unsigned n = s->n_keys;
    snapshot_put(s);
    return n;
}
