#include "gateway/ledger/drain.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "base/map.h"

#define BATCH_CALLS 4000u           /* of one unit: 40 ms on SQLite */
#define BATCH_ARENA (64u << 20)
#define RETRY_FIRST_MS 250
#define RETRY_LAST_MS 5000
#define IMPORT_TRIES 100
#define REMOVE_AFTER_US (5 * USEC_PER_S) /* who reads beside us has so long to finish a segment */
#define FORGET_EVERY_US (3600LL * USEC_PER_S)
#define WARN_EVERY_US (60 * USEC_PER_S)

/* A call under a hard budget that has begun and not ended. */
struct open_call {
    uint64_t key[2]; /* boot, n */
    bool is_stored;
    size_t len;
    char frame[];
};

/* A segment that was read to its end and may go. */
struct finished {
    struct journal_place place;
    usec since_us;
};

struct drain {
    struct drain_setup setup;
    struct journal_reader *reader;
    uint8_t node[16];
    int64_t node_no;
    uint64_t boot;              /* of the journal that is being written; UINT64_MAX: none is */
    struct drain_import *import; /* NULL: the own folder */
    pthread_mutex_t lock;       /* drain_lock: no batch is committed and told while it is held */

    /* the drain's own, on one thread at a time */
    struct map opens;           /* boot and n -> struct open_call */
    struct arena a;             /* of the batch */
    struct usage_record *calls;
    unsigned n_calls;
    struct map spends;          /* scope, id and day -> struct ledger_spend */
    struct map uses;            /* key id -> struct ledger_use */
    struct ledger_open *opened; /* changes of `opens` that the batch writes */
    unsigned n_opened, cap_opened;
    bool is_full;
    bool is_short;              /* something of the batch found no memory */
    bool needs_resync;
    struct journal_place *stored; /* positions as the database has them */
    size_t n_stored, cap_stored;
    struct finished *finished;
    size_t n_finished, cap_finished;
    usec forgot_us, warned_us;
    unsigned retry_ms;
    uint64_t n_damaged;

    pthread_mutex_t used_lock;  /* guards used */
    struct map used;            /* key id -> struct ledger_use, for drain_key_used */

    _Atomic bool is_down;
    _Atomic uint64_t drained_bytes, drained_calls; /* of this boot */
    _Atomic usec caught_up_us;  /* what had ended then is in the database */
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t sleep;      /* guards must_stop */
    pthread_cond_t woken;
    bool must_stop;
};

/* --- reading a batch --- */

static bool same_place(const struct journal_place *a, const struct journal_place *b)
{
    return a->boot == b->boot && a->number == b->number && a->loop == b->loop;
}

static str open_key(const struct open_call *o) { return str_of((const char *)o->key, sizeof o->key); }

static void note_open(struct drain *d, uint64_t boot, uint64_t n, str frame)
{
    if (d->n_opened == d->cap_opened) {
        unsigned cap = d->cap_opened ? 2 * d->cap_opened : 64;
        struct ledger_open *more = realloc(d->opened, cap * sizeof *more);
        if (!more) {
            d->is_short = true;
            return;
        }
        d->opened = more;
        d->cap_opened = cap;
    }
    d->opened[d->n_opened++] = (struct ledger_open){boot, n, frame};
}

static void add_open(struct drain *d, uint64_t boot, uint64_t n, str frame, bool is_stored)
{
    struct open_call *o = malloc(sizeof *o + frame.len);
    if (!o) {
        d->is_short = true;
        return;
    }
    *o = (struct open_call){.key = {boot, n}, .is_stored = is_stored, .len = frame.len};
    memcpy(o->frame, frame.p, frame.len);
    free(map_del(&d->opens, open_key(o)));
    if (map_put(&d->opens, open_key(o), o) != ERR_NONE) {
        free(o);
        d->is_short = true;
    }
}

static void add_start(struct drain *d, const struct usage_record *r)
{
    struct buf b;
    buf_init(&b, JOURNAL_RECORD_MAX);
    usage_frame_encode(FRAME_START, r, &b);
    if (buf_err(&b) == ERR_NONE)
        add_open(d, r->boot, r->n, buf_str(&b), false);
    else
        d->is_short = true;
    buf_fini(&b);
}

static void opens_free(struct drain *d)
{
    str key;
    void *value;
    for (size_t it = 0; map_next(&d->opens, &it, &key, &value);)
        free(value);
    map_fini(&d->opens);
}

/* The call of a START frame has ended: it is forgotten, in the database too when it is there. */
static void end_open(struct drain *d, const struct usage_record *r)
{
    uint64_t key[2] = {r->boot, r->n};
    struct open_call *o = d->opens.n ? map_del(&d->opens, str_of((const char *)key, sizeof key)) : NULL;
    if (!o)
        return;
    if (o->is_stored)
        note_open(d, r->boot, r->n, S(""));
    free(o);
}

static void *kept(struct drain *d, struct map *m, str key, size_t size)
{
    void *value = map_get(m, key);
    if (value)
        return value;
    value = arena_alloc(&d->a, size);
    str copy = str_dup(&d->a, key);
    if (!value || !copy.p || map_put(m, copy, value) != ERR_NONE) {
        d->is_short = true;
        return NULL;
    }
    return value;
}

static void add_spend(struct drain *d, enum budget_scope scope, const uuid *id, const struct usage_record *r)
{
    struct {
        uuid id;
        int32_t day;
        uint32_t scope;
    } key = {*id, budget_day(r->started_us), (uint32_t)scope};
    if (uuid_is_nil(id))
        return;
    struct ledger_spend *s = kept(d, &d->spends, str_of((const char *)&key, sizeof key), sizeof *s);
    if (!s)
        return;
    s->scope = scope;
    s->scope_id = *id;
    s->day = key.day;
    if (__builtin_add_overflow(s->nanousd, r->charged_nanousd, &s->nanousd))
        s->nanousd = INT64_MAX;
    s->calls++;
}

static void add_call(struct drain *d, const struct usage_record *r)
{
    struct usage_record *c = &d->calls[d->n_calls];
    str *const texts[] = {&c->key, &c->project, &c->user, &c->task, &c->session, &c->tags, &c->provider, &c->model, &c->model_asked, &c->error, &c->trace_id};
    uuid key_id;
    size_t len = 0;
    *c = *r;
    for (size_t i = 0; i < LENGTH_OF(texts); i++)
        len += texts[i]->len;
    char *at = arena_bytes(&d->a, len + 1);
    if (!at) {
        d->is_short = true;
        return;
    }
    for (size_t i = 0; i < LENGTH_OF(texts); i++) {
        if (texts[i]->len)
            memcpy(at, texts[i]->p, texts[i]->len);
        texts[i]->p = at;
        at += texts[i]->len;
    }
    memcpy(key_id.b, r->key_id, sizeof key_id.b);
    add_spend(d, BUDGET_WORKSPACE, &r->workspace_id, r);
    add_spend(d, BUDGET_PROJECT, &r->project_id, r);
    add_spend(d, BUDGET_USER, &r->user_id, r);
    add_spend(d, BUDGET_KEY, &key_id, r);
    struct ledger_use *use = kept(d, &d->uses, str_of((const char *)key_id.b, 16), sizeof *use);
    if (use) {
        use->key_id = key_id;
        if (r->started_us > use->used_us)
            use->used_us = r->started_us;
    }
    d->n_calls++;
}

static bool on_frame(void *ctx, const struct journal_place *place, enum frame_type type, const struct usage_record *r)
{
    struct drain *d = ctx;
    (void)place;
    if (type == FRAME_START) {
        add_start(d, r);
    } else {
        end_open(d, r);
        add_call(d, r);
    }
    d->is_full = d->n_calls == BATCH_CALLS;
    return !d->is_full && !d->is_short;
}

static void batch_clear(struct drain *d)
{
    d->n_calls = d->n_opened = 0;
    d->is_full = false;
    map_fini(&d->spends);
    map_fini(&d->uses);
    arena_fini(&d->a);
}

/* --- writing it --- */

/* Positions that have moved since the database heard of them, and what they were. */
static struct journal_place *moved_places(struct drain *d, uint64_t **before, unsigned *n)
{
    struct journal_place at, *out = NULL;
    size_t count = 0;
    while (journal_reader_place(d->reader, count, &at))
        count++;
    *n = 0;
    *before = arena_news(&d->a, uint64_t, count + 1);
    if (!(out = arena_news(&d->a, struct journal_place, count + 1)) || !*before) {
        d->is_short = true;
        return NULL;
    }
    for (size_t i = 0; journal_reader_place(d->reader, i, &at); i++) {
        const struct journal_place *stored = NULL;
        for (size_t k = d->n_stored; k-- > 0 && !stored;) /* new ones stand last */
            if (same_place(&d->stored[k], &at))
                stored = &d->stored[k];
        if (at.position && (!stored || stored->position != at.position)) {
            (*before)[*n] = stored ? stored->position : 0;
            out[(*n)++] = at;
        }
    }
    return out;
}

static void remember_places(struct drain *d, const struct journal_place *places, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        size_t k = 0;
        while (k < d->n_stored && !same_place(&d->stored[k], &places[i]))
            k++;
        if (k == d->cap_stored) {
            size_t cap = d->cap_stored ? 2 * d->cap_stored : 64;
            struct journal_place *more = realloc(d->stored, cap * sizeof *more);
            if (!more)
                return; /* written again with the next batch */
            d->stored = more;
            d->cap_stored = cap;
        }
        d->stored[k] = places[i];
        if (k == d->n_stored)
            d->n_stored++;
    }
    uint64_t bytes = 0;
    for (size_t k = 0; k < d->n_stored; k++)
        if (d->stored[k].boot == d->boot && d->stored[k].position > SEGMENT_HEADER_LEN)
            bytes += d->stored[k].position - SEGMENT_HEADER_LEN;
    d->drained_bytes = bytes;
}

static enum errc as_list(struct drain *d, struct map *m, size_t size, void **out, unsigned *n)
{
    str key;
    void *value;
    char *list = arena_array(&d->a, m->n + 1, size);
    if (!list)
        return ERR_NO_MEMORY;
    *n = 0;
    for (size_t it = 0; map_next(m, &it, &key, &value);)
        memcpy(list + size * (*n)++, value, size);
    *out = list;
    return ERR_NONE;
}

static int by_scope(const void *a, const void *b)
{
    const struct ledger_spend *x = a, *y = b;
    if (x->scope != y->scope)
        return x->scope < y->scope ? -1 : 1;
    int order = memcmp(&x->scope_id, &y->scope_id, sizeof(uuid));
    return order ? order : (x->day > y->day) - (x->day < y->day);
}

static int by_key(const void *a, const void *b) { return memcmp(a, b, sizeof(uuid)); }

static void remember_uses(struct drain *d, const struct ledger_use *uses, unsigned n)
{
    pthread_mutex_lock(&d->used_lock);
    for (unsigned i = 0; i < n; i++) {
        struct ledger_use *u = map_get(&d->used, str_of((const char *)uses[i].key_id.b, 16));
        if (!u && (u = malloc(sizeof *u)) != NULL) {
            *u = uses[i];
            if (map_put(&d->used, str_of((const char *)u->key_id.b, 16), u) != ERR_NONE)
                free(u);
        } else if (u && uses[i].used_us > u->used_us) {
            u->used_us = uses[i].used_us;
        }
    }
    pthread_mutex_unlock(&d->used_lock);
}

/* The START frames that are still open at the end of the batch go into the database with it. */
static void note_opens(struct drain *d)
{
    str key;
    void *value;
    for (size_t it = 0; map_next(&d->opens, &it, &key, &value);) {
        struct open_call *o = value;
        if (!o->is_stored)
            note_open(d, o->key[0], o->key[1], str_of(o->frame, o->len));
    }
}

static void opens_are_stored(struct drain *d)
{
    str key;
    void *value;
    for (size_t it = 0; map_next(&d->opens, &it, &key, &value);)
        ((struct open_call *)value)->is_stored = true;
}

static void tell_trouble(struct drain *d, const err *e)
{
    usec now = clock_mono_us();
    if (!d->is_down || now - d->warned_us > WARN_EVERY_US) {
        log_error(LOG_ERROR, "usage_database_takes_nothing", e);
        d->warned_us = now;
    }
    d->is_down = true;
    d->retry_ms = d->retry_ms ? d->retry_ms * 2 : RETRY_FIRST_MS;
    if (d->retry_ms > RETRY_LAST_MS)
        d->retry_ms = RETRY_LAST_MS;
}

/* Writes the batch that was read. On an error it is kept, to be written again. */
static enum errc batch_write(struct drain *d, err *e)
{
    struct ledger_batch b = {.node_no = d->node_no, .calls = d->calls, .n_calls = d->n_calls};
    void *spends, *uses;
    enum errc rc = as_list(d, &d->spends, sizeof(struct ledger_spend), &spends, &b.n_spends);
    if (rc == ERR_NONE)
        rc = as_list(d, &d->uses, sizeof(struct ledger_use), &uses, &b.n_uses);
    uint64_t *before;
    b.places = moved_places(d, &before, &b.n_places);
    b.places_before = before;
    if (rc != ERR_NONE || !b.places)
        return err_code(e, ERR_NO_MEMORY);
    if (!b.n_places)
        return ERR_NONE; /* nothing was read */
    qsort(spends, b.n_spends, sizeof(struct ledger_spend), by_scope);
    qsort(uses, b.n_uses, sizeof(struct ledger_use), by_key);
    b.spends = spends;
    b.uses = uses;
    b.opens = d->opened;
    b.n_opens = d->n_opened;
    drain_lock(d);
    rc = ledger_write(d->setup.store, &b, e);
    if (rc == ERR_NONE && d->setup.drained)
        d->setup.drained(d->setup.ctx, d->calls, d->n_calls, d->boot);
    drain_unlock(d);
    if (rc != ERR_NONE)
        return rc;
    if (d->is_down)
        log_event(LOG_INFO, "usage_database_is_back", LOG_I("calls", d->n_calls));
    d->is_down = false;
    d->retry_ms = 0;
    opens_are_stored(d);
    for (unsigned i = 0; i < d->n_calls; i++)
        d->drained_calls += d->calls[i].boot == d->boot;
    for (unsigned i = 0; d->import && i < d->n_calls; i++)
        d->import->charged_nanousd += d->calls[i].charged_nanousd;
    if (d->import)
        d->import->n_calls += d->n_calls;
    remember_places(d, b.places, b.n_places);
    remember_uses(d, uses, b.n_uses);
    return ERR_NONE;
}

/* Begins where the database says that it has come to. */
static enum errc resync(struct drain *d, err *e)
{
    struct arena a;
    struct journal_place *places;
    struct ledger_open *opens;
    size_t n;
    unsigned n_opens;
    arena_init(&a, BATCH_ARENA, 0);
    enum errc rc = ledger_places(d->setup.store, d->node_no, d->node, &a, &places, &n, e);
    if (rc == ERR_NONE)
        rc = journal_reader_rewind(d->reader, places, n, e);
    if (rc == ERR_NONE)
        rc = ledger_open_calls(d->setup.store, d->node_no, &a, &opens, &n_opens, e);
    if (rc == ERR_NONE) {
        batch_clear(d);
        d->is_short = false;
        d->n_stored = d->n_finished = 0;
        remember_places(d, places, (unsigned)n);
        opens_free(d);
        for (unsigned i = 0; i < n_opens; i++)
            add_open(d, opens[i].boot, opens[i].n, opens[i].frame, true);
        d->needs_resync = d->is_short;
    }
    arena_fini(&a);
    return rc;
}

/* Reads one batch, unless there is one that could not be written, and writes it. *is_more: it was full. */
static enum errc batch(struct drain *d, bool *is_more, err *e)
{
    enum errc rc = d->needs_resync ? resync(d, e) : ERR_NONE;
    bool is_old = d->n_calls || d->n_opened;
    *is_more = false;
    if (rc == ERR_NONE && !is_old) {
        uint64_t n_damaged = 0;
        arena_init(&d->a, BATCH_ARENA, 256 << 10);
        rc = journal_read_frames(d->reader, on_frame, d, &n_damaged, e);
        if (n_damaged > d->n_damaged)
            log_event(LOG_WARN, "journal_segments_damaged", LOG_I("segments", n_damaged));
        d->n_damaged = n_damaged;
        note_opens(d);
    }
    bool was_full = d->is_full;
    if (rc == ERR_NONE)
        rc = d->is_short ? err_code(e, ERR_NO_MEMORY) : batch_write(d, e);
    /* What was read and could not be kept is read again, from where the database is. */
    d->needs_resync |= d->is_short || rc == ERR_CONFLICT;
    if (rc != ERR_NONE) {
        tell_trouble(d, e);
        return rc;
    }
    batch_clear(d);
    *is_more = was_full || is_old;
    return ERR_NONE;
}

/* --- segments that may go --- */

static void note_finished(struct drain *d)
{
    struct journal_place at;
    usec now = clock_mono_us();
    for (size_t i = 0; journal_reader_place(d->reader, i, &at); i++) {
        /* Nothing is ever added to a segment of an earlier boot, sealed or not. */
        if (at.is_damaged || (!at.is_done && at.boot >= d->boot))
            continue;
        size_t k = 0;
        while (k < d->n_finished && !same_place(&d->finished[k].place, &at))
            k++;
        if (k < d->n_finished)
            continue;
        if (k == d->cap_finished) {
            size_t cap = d->cap_finished ? 2 * d->cap_finished : 64;
            struct finished *more = realloc(d->finished, cap * sizeof *more);
            if (!more)
                return;
            d->finished = more;
            d->cap_finished = cap;
        }
        d->finished[d->n_finished++] = (struct finished){at, now};
    }
}

static void remove_finished(struct drain *d)
{
    usec now = clock_mono_us();
    err e;
    bool is_synced = false;
    for (size_t i = 0; i < d->n_finished;) {
        if (now - d->finished[i].since_us < REMOVE_AFTER_US) {
            i++;
            continue;
        }
        if (!is_synced && db_sync(store_db(d->setup.store, DB_USAGE), &e) != ERR_NONE) {
            log_error(LOG_WARN, "usage_database_not_synced", &e);
            return;
        }
        is_synced = true;
        if (journal_reader_remove(d->reader, &d->finished[i].place, &e) != ERR_NONE) {
            log_error(LOG_WARN, "journal_segment_not_removed", &e);
            i++;
            continue;
        }
        d->finished[i] = d->finished[--d->n_finished];
    }
}

static void forget(struct drain *d)
{
    usec now = clock_mono_us();
    int64_t n;
    err e;
    if (!d->setup.keep_days || (d->forgot_us && now - d->forgot_us < FORGET_EVERY_US))
        return;
    d->forgot_us = now;
    if (ledger_forget(d->setup.store, clock_now_us() - (int64_t)d->setup.keep_days * USEC_PER_DAY, &n, &e) != ERR_NONE)
        log_error(LOG_WARN, "usage_not_forgotten", &e);
    else if (n)
        log_event(LOG_INFO, "usage_forgotten", LOG_I("calls", n), LOG_I("keep_days", d->setup.keep_days));
}

/* --- life --- */

enum errc drain_once(struct drain *d, err *e)
{
    bool is_more = true;
    enum errc rc = ERR_NONE;
    usec start = 0;
    while (rc == ERR_NONE && is_more) {
        start = clock_now_us();
        rc = batch(d, &is_more, e);
    }
    if (rc == ERR_NONE) {
        d->caught_up_us = start;
        note_finished(d);
        remove_finished(d);
        forget(d);
    }
    if (d->setup.idle)
        d->setup.idle(d->setup.ctx, clock_now_us());
    return rc;
}

/* Calls of earlier boots that never ended: nobody knows what they cost, so they cost what was reserved for them. */
static enum errc charge_open(struct drain *d, err *e)
{
    enum errc rc = ERR_NONE;
    unsigned n_charged = 0;
    for (bool is_more = true; is_more && rc == ERR_NONE;) {
        str key;
        void *value;
        is_more = false;
        arena_init(&d->a, BATCH_ARENA, 64 << 10);
        for (size_t it = 0; map_next(&d->opens, &it, &key, &value);) {
            const struct open_call *o = value;
            if (o->key[0] >= d->boot)
                continue;
            if (d->n_opened == BATCH_CALLS) {
                is_more = true;
                break;
            }
            note_open(d, o->key[0], o->key[1], str_of(o->frame, o->len));
        }
        /* A segment can be read to its end just before a START frame comes, and the next one when the call's end is there already: then the START was
         * seen last. */
        rc = d->is_short ? ERR_NONE : ledger_clear_ended(d->setup.store, d->node_no, d->opened, d->n_opened, e);
        for (unsigned i = 0; i < d->n_opened && rc == ERR_NONE; i++) {
            struct frame f;
            struct usage_record r;
            if (frame_parse(d->opened[i].frame, &f) == FRAME_WHOLE && usage_record_decode(f.payload, &r, NULL) == ERR_NONE)
                add_call(d, &r);
            d->opened[i].frame = S("");
        }
        struct ledger_batch b = {.node_no = d->node_no, .calls = d->calls, .n_calls = d->n_calls, .opens = d->opened, .n_opens = d->n_opened,
                                 .claims_opens = true};
        void *spends, *uses;
        if (rc == ERR_NONE && (d->is_short || as_list(d, &d->spends, sizeof(struct ledger_spend), &spends, &b.n_spends) != ERR_NONE ||
                               as_list(d, &d->uses, sizeof(struct ledger_use), &uses, &b.n_uses) != ERR_NONE))
            rc = err_code(e, ERR_NO_MEMORY);
        b.spends = rc == ERR_NONE ? spends : NULL;
        b.uses = rc == ERR_NONE ? uses : NULL;
        if (rc == ERR_NONE && b.n_opens)
            rc = ledger_write(d->setup.store, &b, e);
        for (unsigned i = 0; i < d->n_opened && rc == ERR_NONE; i++) {
            uint64_t ended[2] = {d->opened[i].boot, d->opened[i].n};
            free(map_del(&d->opens, str_of((const char *)ended, sizeof ended)));
        }
        n_charged += d->n_calls;
        for (unsigned i = 0; d->import && rc == ERR_NONE && i < d->n_calls; i++)
            d->import->open_nanousd += d->calls[i].charged_nanousd;
        batch_clear(d);
    }
    if (d->import)
        d->import->n_open = n_charged;
    if (rc == ERR_NONE && n_charged && !d->import)
        log_event(LOG_WARN, "calls_charged_after_crash", LOG_I("calls", n_charged),
                  LOG_S("reason", S("their process ended before they did: they are charged what was reserved for them")));
    return rc;
}

static enum errc make(struct drain **out, const struct drain_setup *setup, const uint8_t node[16], uint64_t boot, err *e)
{
    struct drain *d = calloc(1, sizeof *d);
    if (!d || !(d->calls = calloc(BATCH_CALLS, sizeof *d->calls))) {
        free(d);
        return err_code(e, ERR_NO_MEMORY);
    }
    d->setup = *setup;
    memcpy(d->node, node, sizeof d->node);
    d->boot = boot;
    d->caught_up_us = clock_now_us();
    d->needs_resync = true;
    pthread_mutex_init(&d->lock, NULL);
    pthread_mutex_init(&d->used_lock, NULL);
    pthread_mutex_init(&d->sleep, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&d->woken, &attr);
    pthread_condattr_destroy(&attr);
    enum errc rc = journal_reader_open(&d->reader, setup->data_dir, e);
    if (rc == ERR_NONE)
        rc = ledger_node(setup->store, node, &d->node_no, e);
    if (rc != ERR_NONE)
        drain_free(d);
    else
        *out = d;
    return rc;
}

static enum errc all_batches(struct drain *d, err *e)
{
    bool is_more = true;
    enum errc rc = ERR_NONE;
    while (rc == ERR_NONE && is_more)
        rc = batch(d, &is_more, e);
    return rc;
}

enum errc drain_open(struct drain **out, const struct drain_setup *setup, err *e)
{
    struct drain *d;
    struct arena a;
    struct ledger_use *uses;
    unsigned n_uses;
    enum errc rc = make(&d, setup, journal_node(setup->journal), journal_boot(setup->journal), e);
    if (rc != ERR_NONE)
        return rc;
    arena_init(&a, 256 << 20, 0);
    if ((rc = ledger_uses(setup->store, &a, &uses, &n_uses, e)) == ERR_NONE) {
        remember_uses(d, uses, n_uses);
        rc = all_batches(d, e);
    }
    if (rc == ERR_NONE)
        rc = charge_open(d, e);
    arena_fini(&a);
    if (rc != ERR_NONE)
        drain_free(d);
    else
        *out = d;
    return rc;
}

/* --- another folder --- */

static void count_open(struct drain *d)
{
    str key;
    void *value;
    for (size_t it = 0; map_next(&d->opens, &it, &key, &value);) {
        const struct open_call *o = value;
        struct frame f;
        struct usage_record r;
        if (frame_parse(str_of(o->frame, o->len), &f) != FRAME_WHOLE || usage_record_decode(f.payload, &r, NULL) != ERR_NONE)
            continue;
        d->import->n_open++;
        d->import->open_nanousd += r.charged_nanousd;
    }
}

static enum errc note_damaged(struct drain *d, struct arena *a, err *e)
{
    struct drain_import *i = d->import;
    struct journal_place at;
    size_t n = 0;
    while (journal_reader_place(d->reader, i->n_segments, &at)) {
        i->n_segments++;
        n += at.is_damaged;
    }
    if (!(i->damaged = arena_news(a, struct journal_place, n + 1)))
        return err_code(e, ERR_NO_MEMORY);
    for (size_t k = 0; journal_reader_place(d->reader, k, &at); k++)
        if (at.is_damaged)
            i->damaged[i->n_damaged++] = at;
    return ERR_NONE;
}

enum errc drain_import(struct drain_import *i, struct arena *a, err *e)
{
    struct drain_setup setup = {.store = i->store, .data_dir = i->data_dir};
    struct journal_reader *reader;
    struct drain *d;
    enum errc rc = journal_reader_open(&reader, i->data_dir, e);
    if (rc != ERR_NONE)
        return rc;
    if (!journal_reader_node(reader, i->node))
        rc = err_set(e, ERR_NOT_FOUND, "%s/journal/node does not say whose journal this is", i->data_dir);
    journal_reader_free(reader);
    if (rc != ERR_NONE || (rc = make(&d, &setup, i->node, UINT64_MAX, e)) != ERR_NONE)
        return rc;
    d->import = i;
    i->node_no = d->node_no;
    /* Somebody else may be at it, at another copy: whoever finds himself overtaken begins where the other has come to. */
    for (unsigned tries = 0; tries < IMPORT_TRIES; tries++)
        if ((rc = all_batches(d, e)) != ERR_CONFLICT)
            break;
    if (rc == ERR_NONE && i->leaves_open)
        count_open(d);
    for (unsigned tries = 0; rc == ERR_NONE && !i->leaves_open && tries < IMPORT_TRIES; tries++) {
        if ((rc = charge_open(d, e)) != ERR_CONFLICT)
            break;
        d->needs_resync = true;
        rc = all_batches(d, e);
    }
    if (rc == ERR_NONE)
        rc = note_damaged(d, a, e);
    drain_free(d);
    return rc;
}

/* --- its thread --- */

/* Until the time has come or it must stop; true then. Real time: a test that freezes the clock does not stop the drain. */
static bool nap(struct drain *d, unsigned ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&d->sleep);
    while (!d->must_stop && pthread_cond_timedwait(&d->woken, &d->sleep, &until) != ETIMEDOUT)
        ;
    bool must_stop = d->must_stop;
    pthread_mutex_unlock(&d->sleep);
    return must_stop;
}

static void *thread_main(void *arg)
{
    struct drain *d = arg;
    do {
        err e;
        (void)!drain_once(d, &e); /* told already; tried again */
    } while (!nap(d, d->retry_ms ? d->retry_ms : d->setup.interval_ms));
    return NULL;
}

enum errc drain_start(struct drain *d, err *e)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&d->thread, NULL, thread_main, d);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return err_errno(e, ERR_INTERNAL, failed, "cannot start the thread that drains the journal");
    d->has_thread = true;
    return ERR_NONE;
}

void drain_stop(struct drain *d)
{
    err e;
    if (!d->has_thread)
        return;
    pthread_mutex_lock(&d->sleep);
    d->must_stop = true;
    pthread_cond_signal(&d->woken);
    pthread_mutex_unlock(&d->sleep);
    pthread_join(d->thread, NULL);
    d->has_thread = false;
    if (!d->is_down)
        (void)!drain_once(d, &e);
}

void drain_free(struct drain *d)
{
    str key;
    void *value;
    if (!d)
        return;
    drain_stop(d);
    batch_clear(d);
    opens_free(d);
    for (size_t it = 0; map_next(&d->used, &it, &key, &value);)
        free(value);
    map_fini(&d->used);
    journal_reader_free(d->reader);
    free(d->opened);
    free(d->stored);
    free(d->finished);
    free(d->calls);
    pthread_mutex_destroy(&d->lock);
    pthread_mutex_destroy(&d->used_lock);
    pthread_mutex_destroy(&d->sleep);
    pthread_cond_destroy(&d->woken);
    free(d);
}

int64_t drain_node_no(const struct drain *d) { return d->node_no; }

void drain_lock(struct drain *d) { pthread_mutex_lock(&d->lock); }
void drain_unlock(struct drain *d) { pthread_mutex_unlock(&d->lock); }

bool drain_is_well(const struct drain *d, const char **reason)
{
    if (!d->is_down)
        return true;
    *reason = "usage_database_unavailable";
    return false;
}

struct drain_backlog drain_backlog(const struct drain *d)
{
    /* What is drained first: it never seems to be more than what was written. */
    int64_t bytes = (int64_t)d->drained_bytes, calls = (int64_t)d->drained_calls;
    struct journal_written w = journal_written(d->setup.journal);
    struct drain_backlog b = {(int64_t)w.bytes - bytes, (int64_t)w.calls - calls, NO_VALUE};
    if (b.bytes < 0)
        b.bytes = 0;
    if (b.calls < 0)
        b.calls = 0;
    if (b.calls)
        b.oldest_us = d->caught_up_us;
    return b;
}

usec drain_key_used(struct drain *d, const uuid *key_id)
{
    pthread_mutex_lock(&d->used_lock);
    const struct ledger_use *u = map_get(&d->used, str_of((const char *)key_id->b, 16));
    usec used = u ? u->used_us : 0;
    pthread_mutex_unlock(&d->used_lock);
    return used;
}
