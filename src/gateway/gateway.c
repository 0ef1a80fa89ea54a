#include <stdatomic.h>
#include <stdlib.h>

#include "base/log.h"
#include "gateway/internal.h"

#define SCRATCH_MAX (256u << 10)
#define METRIC_ARENA_MAX (64u << 20)

enum errc gateway_config_check(const struct config *config, struct arena *a, struct buf *problems, err *e)
{
    struct snapshot *s = NULL;
    enum errc rc = snapshot_load(&s, config, problems, e);
    (void)a;
    snapshot_free(s);
    return rc;
}

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

enum errc gateway_new(struct gateway **out, const struct config *config, const char *data_dir, unsigned n_loops,
                      struct buf *problems, err *e)
{
    struct gateway *g = calloc(1, sizeof *g);
    struct journal_recovery found = {0};
    if (!g || !(g->loops = calloc(n_loops, sizeof(struct gateway_loop *)))) {
        free(g);
        return err_code(e, ERR_NO_MEMORY);
    }
    g->n_loops = n_loops;
    g->is_strict = config_bool(config, "journal.strict");
    g->event_max = (size_t)config_int(config, "limits.stream_event_bytes");
    g->answer_max = (size_t)config_int(config, "limits.answer_bytes");
    struct journal_options options = {
        .is_strict = g->is_strict,
        .segment_bytes = (size_t)config_int(config, "journal.segment_bytes"),
        .n_writers = n_loops,
        .sync_ms = (unsigned)config_int(config, "journal.sync_ms"),
        .on_synced = on_synced,
        .ctx = g,
    };
    enum errc rc = snapshot_load(&g->snapshot, config, problems, e);
    if (rc == ERR_NONE)
        rc = journal_open(&g->journal, data_dir, &options, &found, e);
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
    if (g->journal)
        journal_close(g->journal);
    for (unsigned i = 0; i < g->n_loops; i++)
        gateway_loop_free(g->loops[i]);
    snapshot_free(g->snapshot);
    gateway_metrics_free(g->metrics);
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
    const struct snapshot *s = g->snapshot;
    if (!gl || !(gl->pools = calloc(s->n_providers + 1u, sizeof *gl->pools))) {
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
    buf_init(&gl->head, SCRATCH_MAX);
    buf_init(&gl->request_head, SCRATCH_MAX);
    map_init(&gl->metric_sets);
    arena_init(&gl->metric_arena, METRIC_ARENA_MAX, 4096);
    for (unsigned i = 0; i < s->n_providers; i++)
        client_pool_init(&gl->pools[i], l, &s->providers[i].target);
    loop_at_turn_end(l, on_turn_end, gl);
    __atomic_store_n(&g->loops[l->index], gl, __ATOMIC_RELEASE);
    *out = gl;
    return ERR_NONE;
}

void gateway_loop_close(struct gateway_loop *gl)
{
    calls_end_turn(gl);
    for (unsigned i = 0; i < gl->gateway->snapshot->n_providers; i++)
        client_pool_close(&gl->pools[i]);
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
    free(gl->pools);
    free(gl);
}

bool gateway_can_serve(void *gateway_loop, const char **reason)
{
    struct gateway_loop *gl = gateway_loop;
    *reason = "disk_full";
    return journal_has_room(gl->writer, gl->n_open);
}

unsigned gateway_n_providers(const struct gateway *g) { return g->snapshot->n_providers; }
unsigned gateway_n_keys(const struct gateway *g) { return (unsigned)g->snapshot->keys.n; }
