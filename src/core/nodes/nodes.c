/* nodes.c - taking the row, the heartbeat, and what is known of the others. */
#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/version.h"
#include "core/nodes/internal.h"
#include "store/migrate.h"

#define LOOK_ARENA_MAX (4u << 20)
#define START_LOOK_US (100LL * USEC_PER_MS) /* between looks at a row that may be a live server's */
#define DOUBLED_LOG_US (60LL * USEC_PER_S)

static struct db *main_db(const struct nodes *n) { return store_db(n->store, DB_MAIN); }
static bool is_same(const uuid *a, const uuid *b) { return memcmp(a, b, sizeof *a) == 0; }
static bool is_over(str state) { return str_eq(state, S("stopped")) || str_eq(state, S("away")); }

const uuid *nodes_id(const struct nodes *n) { return &n->row.id; }
const uuid *nodes_boot(const struct nodes *n) { return &n->row.boot; }
unsigned nodes_alive(const struct nodes *n) { return n->n_alive; }
int64_t nodes_listening(const struct nodes *n) { return n->n_listening; }
bool nodes_is_doubled(const struct nodes *n) { return n->is_doubled; }
/* Also while a heartbeat hangs. */
bool nodes_is_cut_off(const struct nodes *n)
{
    return n->is_cut_off || (n->has_thread && clock_mono_us() - n->read_us > n->away_us);
}
void nodes_wake(struct nodes *n) { waker_wake(&n->waker); }
void nodes_followed(struct nodes *n, int64_t number) { n->followed = number; }

void nodes_set_state(struct nodes *n, const char *state)
{
    n->state = state;
    nodes_wake(n);
}

bool nodes_is_alive(struct nodes *n, const uuid *id)
{
    bool is_alive = is_same(id, &n->row.id);
    pthread_mutex_lock(&n->lock);
    for (unsigned i = 0; i < n->n_others && !is_alive; i++)
        is_alive = n->others[i].is_alive && is_same(&n->others[i].id, id);
    pthread_mutex_unlock(&n->lock);
    return is_alive;
}

unsigned nodes_others(struct nodes *n, struct node_peer *out, unsigned most)
{
    unsigned k = 0;
    pthread_mutex_lock(&n->lock);
    for (unsigned i = 0; i < n->n_others && k < most; i++)
        if (n->others[i].is_alive) out[k++] = (struct node_peer){n->others[i].id, n->others[i].boot};
    pthread_mutex_unlock(&n->lock);
    return k;
}

/* --- reports --- */

void nodes_report(struct nodes *n, void (*fill)(void *ctx, struct node_figures *f), void *ctx)
{
    pthread_mutex_lock(&n->lock);
    assert(n->n_reports < NODE_REPORTS_MAX);
    n->reports[n->n_reports].fill = fill;
    n->reports[n->n_reports++].ctx = ctx;
    pthread_mutex_unlock(&n->lock);
}

void nodes_report_end(struct nodes *n, void *ctx)
{
    unsigned kept = 0;
    pthread_mutex_lock(&n->lock);
    for (unsigned i = 0; i < n->n_reports; i++) {
        if (n->reports[i].ctx == ctx)
            n->reports[i].fill(ctx, &n->figures);
        else
            n->reports[kept++] = n->reports[i];
    }
    n->n_reports = kept;
    pthread_mutex_unlock(&n->lock);
}

void nodes_on_forget(struct nodes *n,
                     enum errc (*holds)(void *ctx, const uuid *node, int64_t *leased_nanousd, err *e),
                     void *ctx)
{
    n->holds = holds;
    n->holds_ctx = ctx;
}

void nodes_figures(struct nodes *n, struct node_figures *out)
{
    pthread_mutex_lock(&n->lock);
    for (unsigned i = 0; i < n->n_reports; i++)
        n->reports[i].fill(n->reports[i].ctx, &n->figures);
    *out = n->figures;
    pthread_mutex_unlock(&n->lock);
}

static void gather(struct nodes *n)
{
    nodes_figures(n, &n->row.figures);
    n->row.state = n->state;
    n->row.seen_us = clock_now_us();
    n->row.log_number = n->followed;
    if (n->row.log_head < n->row.log_number) n->row.log_head = n->row.log_number;
}

/* --- the others --- */

static const struct node_other *find_other(const struct node_other *others, unsigned n_others, const uuid *id)
{
    for (unsigned i = 0; i < n_others; i++)
        if (is_same(&others[i].id, id)) return &others[i];
    return NULL;
}

static void see(const struct nodes *n, const struct val *v, usec now, bool was_blind, struct node_other *o)
{
    const struct node_other *before;
    *o = (struct node_other){
        .id = val_uuid(&v[0]), .boot = val_uuid(&v[1]), .beats = val_int(&v[2]), .streams = val_int(&v[4])};
    str state = str_take(val_str(&v[3]), sizeof o->state - 1);
    memcpy(o->state, state.p, state.len);
    before = find_other(n->others, n->n_others, &o->id);
    bool has_changed = !before || before->beats != o->beats || !is_same(&before->boot, &o->boot);
    o->changed_us = has_changed || was_blind ? now : before->changed_us;
    o->is_alive = !is_over(state) && now - o->changed_us < n->away_us;
}

/* Writes down that it is away, once for all observers. */
static void give_up(struct nodes *n, const struct node_other *o)
{
    struct node_away away = {.id = o->id, .boot = o->boot, .beats = o->beats, .now_us = clock_now_us()};
    char id[UUID_TEXT_LEN + 1];
    err e = {0};
    away.event_id = uuid7_make(away.now_us);
    if (db_write(main_db(n), node_away_unit, &away, &e) != ERR_NONE)
        log_error(LOG_WARN, "node_away_not_stored", &e);
    else if (away.is_first)
        log_event(LOG_WARN, "node_away", LOG_S("node", uuid_format(&o->id, id)));
}

static void count(struct nodes *n)
{
    struct {
        struct stat_series *series;
        str state;
        int64_t n;
    } all[] = {{n->stats.starting, S("starting"), 0},
               {n->stats.serving, S("serving"), 0},
               {n->stats.draining, S("draining"), 0},
               {n->stats.away, S("away"), 0},
               {n->stats.stopped, S("stopped"), 0}};
    for (unsigned k = 0; k < LENGTH_OF(all); k++) {
        all[k].n = str_eq(str_c(n->state), all[k].state);
        for (unsigned i = 0; i < n->n_others; i++) {
            str state = str_c(n->others[i].state);
            bool is_away = !n->others[i].is_alive && !str_eq(state, S("stopped"));
            all[k].n += str_eq(is_away ? S("away") : state, all[k].state);
        }
        stats_set(all[k].series, 0, all[k].n);
    }
}

/* Reads who is there. While it could not, nobody's clock ran. */
static enum errc look(struct nodes *n, err *e)
{
    struct arena a;
    struct node_look l = {.arena = &a};
    arena_init(&a, LOOK_ARENA_MAX, 4096);
    enum errc rc = db_read(main_db(n), node_look_unit, &l, e);
    struct node_other *others = rc == ERR_NONE ? calloc(l.rows.n + 1, sizeof *others) : NULL;
    if (rc == ERR_NONE && !others) rc = err_code(e, ERR_NO_MEMORY);
    if (rc == ERR_NONE) {
        usec now = clock_mono_us();
        bool was_blind = now - n->read_us > n->away_us / 2;
        unsigned n_others = 0, n_alive = 1;
        int64_t listening = 0;
        n->read_us = now;
        n->row.log_head = l.head;
        for (unsigned i = 0; i < l.rows.n; i++) {
            struct node_other *o = &others[n_others];
            see(n, row_at(&l.rows, i), now, was_blind, o);
            if (is_same(&o->id, &n->row.id)) continue;
            n_others++;
            n_alive += o->is_alive;
            if (o->is_alive) listening += o->streams;
        }
        pthread_mutex_lock(&n->lock);
        struct node_other *old = n->others;
        n->others = others;
        n->n_others = n_others;
        pthread_mutex_unlock(&n->lock);
        free(old);
        count(n);
        n->n_alive = n_alive;
        n->n_listening = listening;
        for (unsigned i = 0; i < n_others; i++)
            if (!others[i].is_alive && !is_over(str_c(others[i].state))) give_up(n, &others[i]);
    }
    arena_fini(&a);
    return rc;
}

/* --- the heartbeat --- */

static void tell_doubled(struct nodes *n, bool is_doubled)
{
    usec now = clock_mono_us();
    char id[UUID_TEXT_LEN + 1];
    if (is_doubled && (!n->is_doubled || now - n->doubled_log_us > DOUBLED_LOG_US)) {
        n->doubled_log_us = now;
        log_event(
            LOG_ERROR, "node_id_in_use", LOG_S("node", uuid_format(&n->row.id, id)),
            LOG_S("reason",
                  S("another server runs with the id of this data folder: is it a copy? Stop one of them")));
    }
    if (!is_doubled && n->is_doubled)
        log_event(LOG_WARN, "node_id_free_again", LOG_S("node", uuid_format(&n->row.id, id)));
    n->is_doubled = is_doubled;
}

static enum errc write_row(struct nodes *n, bool is_stop, err *e)
{
    struct node_beat b = {.row = &n->row, .event_id = uuid7_make(n->row.seen_us), .is_stop = is_stop};
    bool listens = n->row.figures.streams > 0;
    b.is_told = n->row.state != n->written_state || listens != n->written_listens;
    enum errc rc = db_write(main_db(n), node_beat_unit, &b, e);
    if (rc != ERR_NONE) return rc;
    n->written_state = n->row.state;
    n->written_listens = listens;
    tell_doubled(n, b.is_doubled);
    if (b.is_returned) log_event(LOG_WARN, "node_returned", LOG_S("reason", S("others had given it up")));
    return ERR_NONE;
}

static void show(struct nodes *n)
{
    const struct node_row *r = &n->row;
    const struct node_figures *f = &r->figures;
    stats_set(n->stats.log_lag, 0, r->log_head - r->log_number);
    stats_set(n->stats.snapshot_lag, 0,
              r->log_head > f->snapshot_number ? r->log_head - f->snapshot_number : 0);
    stats_set(n->stats.journal_bytes, 0, f->journal_bytes);
    stats_set(n->stats.journal_calls, 0, f->journal_calls);
    stats_set(n->stats.leased, 0, f->leased_nanousd);
    stats_set(n->stats.doubled, 0, n->is_doubled);
}

static void *heartbeat_main(void *arg)
{
    struct nodes *n = arg;
    do {
        err e = {0};
        gather(n);
        enum errc rc = ERR_NONE;
        /* with SQLite nobody else reads the row: no commit a second for it */
        if (store_is_postgres(n->store) || n->row.state != n->written_state) rc = write_row(n, false, &e);
        if (rc == ERR_NONE) rc = look(n, &e);
        show(n);
        stats_add(rc == ERR_NONE ? n->stats.beats : n->stats.failed, 0, 1);
        if (rc != ERR_NONE && !n->is_cut_off) log_error(LOG_WARN, "node_cut_off", &e);
        if (rc == ERR_NONE && n->is_cut_off)
            log_event(LOG_INFO, "node_connected_again", LOG_I("nodes", n->n_alive));
        n->is_cut_off = rc != ERR_NONE;
    } while (waker_wait(&n->waker, n->heartbeat_us));
    return NULL;
}

static void on_told(void *ctx) { nodes_wake(ctx); }

/* --- life --- */

/* The row of this id as it is now. */
struct old_row {
    bool is_there, has_ended;
    uuid boot;
    int64_t beats;
    char process[NODE_PROCESS_MAX], address[64];
};

static enum errc look_back(struct nodes *n, struct old_row *old, err *e)
{
    struct arena a;
    struct node_look l = {.arena = &a};
    arena_init(&a, LOOK_ARENA_MAX, 4096);
    *old = (struct old_row){0};
    enum errc rc = db_read(main_db(n), node_look_unit, &l, e);
    n->followed = l.head;
    n->row.log_head = n->row.log_number = l.head;
    for (unsigned i = 0; rc == ERR_NONE && i < l.rows.n; i++) {
        const struct val *v = row_at(&l.rows, i);
        uuid id = val_uuid(&v[0]);
        if (!is_same(&id, &n->row.id)) continue;
        str process = str_take(val_str(&v[5]), sizeof old->process - 1),
            address = str_take(val_str(&v[6]), sizeof old->address - 1);
        old->is_there = true;
        old->boot = val_uuid(&v[1]);
        old->beats = val_int(&v[2]);
        old->has_ended = is_over(val_str(&v[3]));
        memcpy(old->process, process.p, process.len);
        memcpy(old->address, address.p, address.len);
    }
    arena_fini(&a);
    return rc;
}

static enum errc refuse(const struct nodes *n, const struct old_row *old, err *e)
{
    char id[UUID_TEXT_LEN + 1];
    return err_set(e, ERR_CONFLICT,
                   "another server (%s) runs as node %.8s: a copied data folder? Start with an empty one",
                   old->address, uuid_format(&n->row.id, id).p);
}

/* Waits until it is plain whether the server that used the id last is still there. */
static enum errc wait_for_old(struct nodes *n, struct old_row *old, err *e)
{
    struct old_row now;
    usec deadline = clock_mono_us() + n->away_us;
    if (!store_is_postgres(n->store)) return ERR_NONE; /* the database is in the folder, and that is locked */
    while (old->is_there && !old->has_ended) {
        enum process_state state = process_state_of(str_c(old->process));
        if (state == PROCESS_ALIVE) return refuse(n, old, e);
        if (state == PROCESS_DEAD || clock_mono_us() > deadline) return ERR_NONE;
        if (!waker_wait(&n->waker, START_LOOK_US)) return err_code(e, ERR_CANCELLED);
        enum errc rc = look_back(n, &now, e);
        if (rc != ERR_NONE) return rc;
        if (now.is_there && !now.has_ended && (now.beats != old->beats || !is_same(&now.boot, &old->boot)))
            return refuse(n, &now, e);
        *old = now;
    }
    return ERR_NONE;
}

enum errc nodes_start(struct nodes *n, err *e)
{
    struct old_row old;
    enum errc rc = look_back(n, &old, e);
    if (rc == ERR_NONE) rc = wait_for_old(n, &old, e);
    if (rc != ERR_NONE) return rc;
    gather(n);
    struct node_claim claim = {.row = &n->row,
                               .has_old = old.is_there,
                               .old_boot = old.boot,
                               .old_beats = old.beats,
                               .event_id = uuid7_make(n->row.seen_us)};
    if ((rc = db_write(main_db(n), node_claim_unit, &claim, e)) != ERR_NONE) return rc;
    if (claim.is_taken) return refuse(n, &old, e);
    n->has_row = true;
    n->written_state = n->row.state;
    if ((rc = look(n, e)) != ERR_NONE) return rc;
    int number = pthread_create(&n->thread, NULL, heartbeat_main, n);
    if (number != 0) return err_errno(e, ERR_INTERNAL, number, "starting the heartbeat");
    n->has_thread = true;
    return ERR_NONE;
}

void nodes_stop(struct nodes *n)
{
    if (!n) return;
    waker_stop(&n->waker);
    if (n->has_thread) pthread_join(n->thread, NULL);
    n->has_thread = false;
    if (!n->has_row) return;
    n->has_row = false;
    n->state = "stopped";
    gather(n);
    err e = {0};
    if (n->is_cut_off || write_row(n, true, &e) != ERR_NONE)
        log_event(LOG_WARN, "node_end_not_stored",
                  LOG_S("reason", e.code ? str_c(e.msg) : S("the database is out of reach")));
}

static void declare_stats(struct nodes *n)
{
    static const char *const labels[] = {"state", NULL};
    static const char *const results[] = {"result", NULL};
    struct stat *nodes = stats_declare(STAT_GAUGE, "catalyst_nodes",
                                       "Nodes on this database, as this node sees them.", labels, NULL, 0, 1);
    struct stat *beats =
        stats_declare(STAT_COUNTER, "catalyst_node_heartbeats_total",
                      "Heartbeats of this node; failed: the database was out of reach.", results, NULL, 0, 1);
    n->stats.starting = stats_series(nodes, (const str[]){S("starting")});
    n->stats.serving = stats_series(nodes, (const str[]){S("serving")});
    n->stats.draining = stats_series(nodes, (const str[]){S("draining")});
    n->stats.away = stats_series(nodes, (const str[]){S("away")});
    n->stats.stopped = stats_series(nodes, (const str[]){S("stopped")});
    n->stats.beats = stats_series(beats, (const str[]){S("ok")});
    n->stats.failed = stats_series(beats, (const str[]){S("failed")});
#define GAUGE(name, meaning, scale)                                                                          \
    stats_series(stats_declare(STAT_GAUGE, name, meaning, NULL, NULL, 0, scale), NULL)
    n->stats.log_lag =
        GAUGE("catalyst_node_log_lag", "Events of the log that this node has not followed yet.", 1);
    n->stats.snapshot_lag = GAUGE("catalyst_node_snapshot_lag",
                                  "Events of the log behind the snapshot that calls are decided by.", 1);
    n->stats.journal_bytes =
        GAUGE("catalyst_node_journal_bytes", "Bytes of this node's journal that are not drained yet.", 1);
    n->stats.journal_calls =
        GAUGE("catalyst_node_journal_calls", "Calls in this node's journal that are not drained yet.", 1);
    n->stats.leased =
        GAUGE("catalyst_node_leased_usd",
              "What this node holds of hard budgets, not spent and not given back.", 1000000000);
    n->stats.doubled =
        GAUGE("catalyst_node_id_in_use", "1: another server runs with the id of this node's data folder.", 1);
#undef GAUGE
}

enum errc nodes_new(struct nodes **out, struct store *store, const struct config *config, const uuid *id,
                    str address, err *e)
{
    struct nodes *n = calloc(1, sizeof *n);
    str name = config_text(config, "node.name");
    *out = NULL;
    if (!n) return err_code(e, ERR_NO_MEMORY);
    if (waker_init(&n->waker, e) != ERR_NONE) {
        free(n);
        return e->code;
    }
    pthread_mutex_init(&n->lock, NULL);
    if (name.len)
        memcpy(n->name, name.p, name.len < NODE_NAME_MAX ? name.len : NODE_NAME_MAX);
    else if (gethostname(n->name, NODE_NAME_MAX) != 0 || !n->name[0])
        memcpy(n->name, "node", 5);
    address = str_take(address, sizeof n->address - 1);
    memcpy(n->address, address.p, address.len);
    usec now = clock_now_us();
    n->store = store;
    n->heartbeat_us = config_int(config, "node.heartbeat_ms") * USEC_PER_MS;
    n->away_us = config_int(config, "node.away_ms") * USEC_PER_MS;
    n->n_alive = 1;
    n->state = "starting";
    n->figures.journal_oldest_us = NO_VALUE;
    n->row = (struct node_row){
        .id = *id,
        .boot = uuid7_make(now),
        .name = str_c(n->name),
        .address = str_c(n->address),
        .version = S(CATALYST_VERSION),
        .schema = migration_number(&migrations_embedded[migrations_embedded_n - 1]),
        .started_us = now,
    };
    process_name(n->row.process);
    declare_stats(n);
    store_on_told(store, TOPIC_NODES, on_told, n);
    *out = n;
    return ERR_NONE;
}

void nodes_free(struct nodes *n)
{
    if (!n) return;
    nodes_stop(n);
    waker_fini(&n->waker);
    pthread_mutex_destroy(&n->lock);
    free(n->others);
    free(n);
}

static const struct option options[] = {
    {.key = "node.name",
     .type = OPTION_TEXT,
     .meaning = "What people call this node; without it the name of the host."},
    {.key = "node.heartbeat_ms",
     .type = OPTION_MS,
     .fallback = "1s",
     .min = 50,
     .max = 60000,
     .meaning = "Time between this node's heartbeats in PostgreSQL."},
    {.key = "node.away_ms",
     .type = OPTION_MS,
     .fallback = "5s",
     .min = 200,
     .max = 600000,
     .meaning = "A node from which no heartbeat was seen for so long counts as away. Several times "
                "node.heartbeat_ms, "
                "and the same on all nodes."},
};

const struct option_table nodes_options = {options, LENGTH_OF(options)};
