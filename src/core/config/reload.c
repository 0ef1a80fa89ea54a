#include "core/reload.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/stats.h"

#define GENERATION_LIMIT (64u << 20)
#define PROBLEMS_MAX (1u << 20)

struct generation {
    atomic_uint n_held;
    struct arena arena;
    struct config *config;
};

struct reload {
    struct config_source layers;
    enum errc (*settings)(void *ctx, struct arena *a, struct config_setting **out, unsigned *n, err *e);
    void *settings_ctx;
    struct config_follower followers[FOLLOWERS_MAX];
    unsigned n_followers;
    pthread_mutex_t turn; /* one reload at a time; guards is_closed */
    bool is_closed;
    pthread_mutex_t lock;                      /* guards current */
    struct generation *seed, *first, *current; /* seed: without the database */
    struct stat_series *taken, *refused;
};

/* --- generations --- */

const struct config *generation_config(const struct generation *g) { return g->config; }

struct generation *generation_hold(struct generation *g)
{
    g->n_held++;
    return g;
}

void generation_let_go(struct generation *g)
{
    if (!g || --g->n_held > 0) return;
    arena_fini(&g->arena);
    free(g);
}

static enum errc load(struct reload *r, const struct config_setting *settings, unsigned n,
                      struct generation **out, struct buf *problems, err *e)
{
    struct config_source source = r->layers;
    struct generation *g = calloc(1, sizeof *g);
    if (!g) return err_code(e, ERR_NO_MEMORY);
    g->n_held = 1;
    arena_init(&g->arena, GENERATION_LIMIT, 64 << 10);
    source.database = settings;
    source.n_database = n;
    enum errc rc = config_load(&g->arena, &source, &g->config, problems, e);
    if (rc)
        generation_let_go(g);
    else
        *out = g;
    return rc;
}

/* With what the database says now. */
static enum errc load_all(struct reload *r, struct generation **out, struct buf *problems, err *e)
{
    struct arena scratch;
    struct config_setting *settings = NULL;
    unsigned n = 0;
    enum errc rc = ERR_NONE;
    arena_init(&scratch, GENERATION_LIMIT, 0);
    if (r->settings) rc = r->settings(r->settings_ctx, &scratch, &settings, &n, e);
    if (!rc) rc = load(r, settings, n, out, problems, e);
    arena_fini(&scratch);
    return rc;
}

enum errc reload_new(struct reload **out, const struct config_source *layers, struct buf *problems, err *e)
{
    struct reload *r = calloc(1, sizeof *r);
    if (!r) return err_code(e, ERR_NO_MEMORY);
    r->layers = *layers;
    pthread_mutex_init(&r->turn, NULL);
    pthread_mutex_init(&r->lock, NULL);
    enum errc rc = load_all(r, &r->seed, problems, e);
    if (rc) {
        reload_free(r);
        return rc;
    }
    r->first = generation_hold(r->seed);
    r->current = generation_hold(r->seed);
    *out = r;
    return ERR_NONE;
}

enum errc reload_database(struct reload *r,
                          enum errc (*settings)(void *ctx, struct arena *a, struct config_setting **out,
                                                unsigned *n, err *e),
                          void *ctx, struct buf *problems, err *e)
{
    struct generation *g = NULL;
    r->settings = settings;
    r->settings_ctx = ctx;
    enum errc rc = load_all(r, &g, problems, e);
    if (rc) return rc;
    generation_let_go(r->first);
    generation_let_go(r->current);
    r->first = g;
    r->current = generation_hold(g);
    return ERR_NONE;
}

void reload_declare(struct reload *r)
{
    static const char *const labels[] = {"result", NULL};
    struct stat *m =
        stats_declare(STAT_COUNTER, "catalyst_config_reloads_total",
                      "Configurations that were read again, by what became of them.", labels, NULL, 0, 1);
    r->taken = stats_series(m, &S("taken"));
    r->refused = stats_series(m, &S("refused"));
}

void reload_close(struct reload *r)
{
    pthread_mutex_lock(&r->turn);
    r->is_closed = true;
    pthread_mutex_unlock(&r->turn);
}

void reload_free(struct reload *r)
{
    if (!r) return;
    generation_let_go(r->current);
    generation_let_go(r->first);
    generation_let_go(r->seed);
    pthread_mutex_destroy(&r->turn);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

void reload_follow(struct reload *r, const struct config_follower *f)
{
    assert(r->n_followers < FOLLOWERS_MAX);
    r->followers[r->n_followers++] = *f;
}

struct generation *reload_current(struct reload *r)
{
    pthread_mutex_lock(&r->lock);
    struct generation *g = generation_hold(r->current);
    pthread_mutex_unlock(&r->lock);
    return g;
}

/* --- reloading --- */

static enum errc prepare_all(struct reload *r, struct generation *next, void **prepared, struct buf *problems,
                             err *e)
{
    for (unsigned i = 0; i < r->n_followers; i++) {
        const struct config_follower *f = &r->followers[i];
        enum errc rc = f->prepare(f->ctx, next, &prepared[i], problems, e);
        if (!rc) continue;
        while (i-- > 0)
            r->followers[i].discard(r->followers[i].ctx, prepared[i]);
        return rc;
    }
    return ERR_NONE;
}

struct changes {
    struct buf now, at_start;
};

static void note_change(void *ctx, str key, enum option_change change)
{
    struct changes *c = ctx;
    struct buf *to = change == OPTION_AT_START ? &c->at_start : &c->now;
    if (to->len) buf_add(to, S(", "));
    buf_add(to, key);
}

static void log_changes(const struct reload *r, const struct generation *old, const struct generation *next,
                        str why)
{
    struct changes c;
    buf_init(&c.now, 4096);
    buf_init(&c.at_start, 4096);
    config_diff(old->config, next->config, note_change, &c);
    log_event(LOG_INFO, "config_reloaded", LOG_S("why", why), LOG_S("changed", buf_str(&c.now)));
    /* against what runs, which for these keys is the first generation */
    buf_clear(&c.at_start);
    config_diff(r->first->config, next->config, note_change, &c);
    if (c.at_start.len)
        log_event(LOG_WARN, "config_needs_restart", LOG_S("keys", buf_str(&c.at_start)),
                  LOG_S("reason", S("these keys take effect only when the server is started again")));
    buf_fini(&c.now);
    buf_fini(&c.at_start);
}

static void log_refused(const struct buf *problems, str why, const err *e)
{
    str all = buf_str(problems);
    str first = str_cut(&all, '\n');
    log_event(LOG_ERROR, "config_refused", LOG_S("why", why), LOG_S("reason", str_c(e->msg)),
              LOG_S("first_problem", first), LOG_S("more", str_take(all, 4000)));
}

enum errc reload_now(struct reload *r, str why, err *e)
{
    struct generation *next = NULL;
    void *prepared[FOLLOWERS_MAX] = {NULL};
    struct buf problems;
    err own = {0};
    if (!e) e = &own;
    buf_init(&problems, PROBLEMS_MAX);
    pthread_mutex_lock(&r->turn);
    enum errc rc = r->is_closed ? err_set(e, ERR_UNAVAILABLE, "the server is stopping") : ERR_NONE;
    if (!rc) rc = load_all(r, &next, &problems, e);
    if (!rc) rc = prepare_all(r, next, prepared, &problems, e);
    if (!rc) {
        for (unsigned i = 0; i < r->n_followers; i++)
            r->followers[i].commit(r->followers[i].ctx, prepared[i]);
        pthread_mutex_lock(&r->lock);
        struct generation *old = r->current;
        r->current = next;
        pthread_mutex_unlock(&r->lock);
        /* Told last: who reads the line finds the new generation wherever they look. */
        log_changes(r, old, next, why);
        generation_let_go(old);
        if (r->taken) stats_add(r->taken, 0, 1);
    } else {
        generation_let_go(next);
        log_refused(&problems, why, e);
        if (r->refused) stats_add(r->refused, 0, 1);
    }
    pthread_mutex_unlock(&r->turn);
    buf_fini(&problems);
    return rc;
}

enum errc reload_try(struct reload *r, const struct config_setting *settings, unsigned n, err *e)
{
    struct generation *next = NULL;
    void *prepared[FOLLOWERS_MAX] = {NULL};
    struct buf problems;
    buf_init(&problems, PROBLEMS_MAX);
    pthread_mutex_lock(&r->turn);
    enum errc rc = load(r, settings, n, &next, &problems, e);
    buf_clear(&problems);
    if (!rc) rc = prepare_all(r, next, prepared, &problems, e);
    for (unsigned i = 0; !rc && i < r->n_followers; i++)
        r->followers[i].discard(r->followers[i].ctx, prepared[i]);
    pthread_mutex_unlock(&r->turn);
    generation_let_go(next);
    str text = buf_str(&problems), first = str_cut(&text, '\n');
    if (rc == ERR_CONFIG && first.len)
        rc = err_set(e, ERR_INVALID, "%.*s", STR(first));
    else if (rc == ERR_CONFIG)
        rc = e ? (e->code = ERR_INVALID) : ERR_INVALID;
    buf_fini(&problems);
    return rc;
}
