#include "base/stats.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/map.h"

/* Cells of one writer slot; slots start on their own cache lines so that loops do not share one. */
struct stat_series {
    struct stat *metric;
    struct stat_series *next;
    str *values;              /* label values */
    size_t slot_cells;        /* cells per slot, rounded up to a cache line */
    _Atomic int64_t *cells;   /* counter, gauge: [value]; histogram: [bucket 0..n_bounds, sum] */
};

struct stat {
    enum stat_kind kind;
    const char *name, *help;
    const char *const *labels;
    unsigned n_labels;
    const int64_t *bounds_us;
    unsigned n_bounds;
    int64_t unit_scale;
    struct stat *next;
    struct stat_series *first, **last;
    struct map by_labels;
    unsigned n_series;
};

#define CACHE_LINE 64
#define CELLS_PER_LINE (CACHE_LINE / sizeof(int64_t))

static struct {
    unsigned n_slots;
    struct arena arena;
    pthread_mutex_t lock; /* guards: arena, lists of metrics and series, maps */
    struct stat *first, **last;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

#define REGISTRY_LIMIT (256u << 20)

static void *must(void *p)
{
    if (!p) {
        fprintf(stderr, "catalyst: out of memory for metrics\n");
        abort();
    }
    return p;
}

enum errc stats_init(unsigned n_slots)
{
    registry.n_slots = n_slots ? n_slots : 1;
    registry.first = NULL;
    registry.last = &registry.first;
    arena_init(&registry.arena, REGISTRY_LIMIT, 16384);
    return ERR_NONE;
}

void stats_fini(void)
{
    for (struct stat *m = registry.first; m; m = m->next) {
        map_fini(&m->by_labels);
        for (struct stat_series *s = m->first; s; s = s->next)
            free((void *)s->cells);
    }
    arena_fini(&registry.arena);
    registry.first = NULL;
    registry.last = &registry.first;
}

struct stat *stats_declare(enum stat_kind kind, const char *name, const char *help, const char *const *labels,
                           const int64_t *bounds_us, unsigned n_bounds, int64_t unit_scale)
{
    pthread_mutex_lock(&registry.lock);
    for (struct stat *known = registry.first; known; known = known->next)
        if (!strcmp(known->name, name)) {
            pthread_mutex_unlock(&registry.lock);
            return known;
        }
    struct stat *m = must(arena_new(&registry.arena, struct stat));
    *m = (struct stat){.kind = kind, .name = name, .help = help, .labels = labels, .bounds_us = bounds_us,
                       .n_bounds = n_bounds, .unit_scale = unit_scale ? unit_scale : 1};
    while (labels && labels[m->n_labels])
        m->n_labels++;
    m->last = &m->first;
    map_init(&m->by_labels);
    *registry.last = m;
    registry.last = &m->next;
    pthread_mutex_unlock(&registry.lock);
    return m;
}

static str joined(struct arena *a, const str *values, unsigned n)
{
    size_t len = 0;
    for (unsigned i = 0; i < n; i++)
        len += values[i].len + 1;
    char *p = must(arena_bytes(a, len ? len : 1)), *at = p;
    for (unsigned i = 0; i < n; i++) {
        if (values[i].len)
            memcpy(at, values[i].p, values[i].len);
        at += values[i].len;
        *at++ = '\0';
    }
    return str_of(p, len);
}

struct stat_series *stats_series(struct stat *m, const str *values)
{
    static const str others[STAT_LABELS_MAX] = {STR_LIT("other"), STR_LIT("other"), STR_LIT("other"),
                                                STR_LIT("other"), STR_LIT("other"), STR_LIT("other")};
    pthread_mutex_lock(&registry.lock);
    struct arena_mark before = arena_mark(&registry.arena);
    str key = joined(&registry.arena, values, m->n_labels);
    struct stat_series *s = map_get(&m->by_labels, key);
    if (!s && m->n_series >= STAT_SERIES_MAX) {
        arena_reset(&registry.arena, before);
        values = others;
        key = joined(&registry.arena, values, m->n_labels);
        s = map_get(&m->by_labels, key);
    }
    if (s) {
        arena_reset(&registry.arena, before);
        pthread_mutex_unlock(&registry.lock);
        return s;
    }
    s = must(arena_new(&registry.arena, struct stat_series));
    s->metric = m;
    s->values = must(arena_news(&registry.arena, str, m->n_labels + 1));
    str rest = key;
    for (unsigned i = 0; i < m->n_labels; i++)
        s->values[i] = str_cut(&rest, '\0');
    size_t cells = m->kind == STAT_HISTOGRAM ? m->n_bounds + 2 : 1;
    s->slot_cells = (cells + CELLS_PER_LINE - 1) / CELLS_PER_LINE * CELLS_PER_LINE;
    size_t bytes = s->slot_cells * registry.n_slots * sizeof(int64_t);
    s->cells = must(aligned_alloc(CACHE_LINE, bytes));
    memset((void *)s->cells, 0, bytes);
    if (map_put(&m->by_labels, key, s) != ERR_NONE)
        must(NULL);
    *m->last = s;
    m->last = &s->next;
    m->n_series++;
    pthread_mutex_unlock(&registry.lock);
    return s;
}

/* Only the slot's own thread writes, so a load and a store do; the reader sees each cell whole. */
static void bump(_Atomic int64_t *cell, int64_t v)
{
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + v, memory_order_relaxed);
}

static _Atomic int64_t *slot_cells(struct stat_series *s, unsigned slot) { return s->cells + slot * s->slot_cells; }

void stats_add(struct stat_series *s, unsigned slot, int64_t v) { bump(slot_cells(s, slot), v); }

void stats_set(struct stat_series *s, unsigned slot, int64_t v)
{
    atomic_store_explicit(slot_cells(s, slot), v, memory_order_relaxed);
}

void stats_observe(struct stat_series *s, unsigned slot, int64_t us)
{
    const struct stat *m = s->metric;
    unsigned i = 0;
    while (i < m->n_bounds && us > m->bounds_us[i])
        i++;
    bump(slot_cells(s, slot) + i, 1);
    bump(slot_cells(s, slot) + m->n_bounds + 1, us);
}

static int64_t sum_cell(const struct stat_series *s, size_t cell)
{
    int64_t sum = 0;
    for (unsigned slot = 0; slot < registry.n_slots; slot++)
        sum += atomic_load_explicit(&s->cells[slot * s->slot_cells + cell], memory_order_relaxed);
    return sum;
}

int64_t stats_sum(const struct stat_series *s) { return sum_cell(s, 0); }

/* Exact decimal of v / scale, scale a power of ten. */
static void write_scaled(struct buf *out, int64_t v, int64_t scale)
{
    uint64_t magnitude = v < 0 ? 0 - (uint64_t)v : (uint64_t)v, unit = (uint64_t)scale;
    if (v < 0)
        buf_add_char(out, '-');
    buf_add_u64(out, magnitude / unit);
    uint64_t rest = magnitude % unit;
    if (!rest)
        return;
    buf_add_char(out, '.');
    for (unit /= 10; rest; unit /= 10) {
        buf_add_char(out, (char)('0' + rest / unit));
        rest %= unit;
    }
}

static void write_labels(struct buf *out, const struct stat_series *s, const char *le)
{
    const struct stat *m = s->metric;
    if (!m->n_labels && !le)
        return;
    buf_add_char(out, '{');
    for (unsigned i = 0; i < m->n_labels; i++) {
        buf_addf(out, "%s%s=\"", i ? "," : "", m->labels[i]);
        for (size_t k = 0; k < s->values[i].len; k++) {
            char c = s->values[i].p[k];
            if (c == '"' || c == '\\')
                buf_add_char(out, '\\');
            if (c == '\n')
                buf_add(out, S("\\n"));
            else
                buf_add_char(out, c);
        }
        buf_add_char(out, '"');
    }
    if (le)
        buf_addf(out, "%sle=\"%s\"", m->n_labels ? "," : "", le);
    buf_add_char(out, '}');
}

static void write_series(struct buf *out, const struct stat_series *s)
{
    const struct stat *m = s->metric;
    if (m->kind != STAT_HISTOGRAM) {
        buf_add(out, str_c(m->name));
        write_labels(out, s, NULL);
        buf_add_char(out, ' ');
        write_scaled(out, sum_cell(s, 0), m->unit_scale);
        buf_add_char(out, '\n');
        return;
    }
    int64_t cumulative = 0;
    for (unsigned i = 0; i <= m->n_bounds; i++) {
        struct buf le;
        buf_init(&le, 64);
        if (i == m->n_bounds)
            buf_add(&le, S("+Inf"));
        else
            write_scaled(&le, m->bounds_us[i], 1000000);
        buf_add_char(&le, '\0');
        cumulative += sum_cell(s, i);
        buf_addf(out, "%s_bucket", m->name);
        write_labels(out, s, le.p);
        buf_addf(out, " %lld\n", (long long)cumulative);
        buf_fini(&le);
    }
    buf_addf(out, "%s_sum", m->name);
    write_labels(out, s, NULL);
    buf_add_char(out, ' ');
    write_scaled(out, sum_cell(s, m->n_bounds + 1), 1000000);
    buf_addf(out, "\n%s_count", m->name);
    write_labels(out, s, NULL);
    buf_addf(out, " %lld\n", (long long)cumulative);
}

void stats_write(struct buf *out)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    pthread_mutex_lock(&registry.lock);
    for (const struct stat *m = registry.first; m; m = m->next) {
        if (!m->first)
            continue;
        buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name, kinds[m->kind]);
        for (const struct stat_series *s = m->first; s; s = s->next)
            write_series(out, s);
    }
    pthread_mutex_unlock(&registry.lock);
}
