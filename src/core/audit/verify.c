/* verify.c - chunks are hashed by several threads, and taken in order by one, which grows the tree and holds it to the heads. */
#include "core/audit/verify.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "core/audit/verify_internal.h"
#include "json/tree.h"
#include "json/write.h"

#define THREADS_MAX 64
#define CHUNK_ARENA (96u << 20)

const char *verify_name(enum verify_what what)
{
    static const char *const names[] = {
        [VERIFY_OK] = "ok",
        [VERIFY_EDITED] = "edited",
        [VERIFY_DELETED] = "deleted",
        [VERIFY_INSERTED] = "inserted",
        [VERIFY_REORDERED] = "reordered",
        [VERIFY_TRUNCATED] = "truncated",
        [VERIFY_REWRITTEN] = "rewritten",
        [VERIFY_ROLLED_BACK] = "rolled_back",
        [VERIFY_BODY_LOST] = "body_lost",
        [VERIFY_TILE] = "tile",
        [VERIFY_HEAD] = "head",
        [VERIFY_COMMITMENT] = "commitment",
    };
    return names[what];
}

/* --- what a chunk says --- */

struct dropped { /* stretches that retention has let go of, by the log's own word */
    int64_t first, last;
};

struct chunk {
    int64_t first;
    unsigned n; /* events of it that are right */
    struct tree_hash leaves[VERIFY_CHUNK];
    struct verify_finding finding;
    bool is_tile_in_doubt; /* the finding says that event and tile differ: a head decides which of them it is */
    struct tree_hash of_event, of_tile;
    int64_t bytes, n_dropped, n_opened;
    struct dropped *drops; /* told of in this chunk */
    unsigned n_drops;
    int64_t *gone; /* numbers of the instance whose bodies are gone */
    int64_t *gone_in_tree;
    unsigned n_gone;
    enum errc rc;
    err e;
};

struct verifying {
    const struct verify_source *s;
    const struct verify_options *o;
    int64_t n_chunks;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    int64_t next, taken; /* chunks given to a thread, taken by the main one */
    struct chunk **slots; /* chunk i in slot i % n_slots */
    unsigned n_slots;
    bool is_over;
};

static void find(struct chunk *c, enum verify_what what, int64_t number, const uuid *id, const char *fmt, ...) PRINTF_LIKE(5, 6);
static void find(struct chunk *c, enum verify_what what, int64_t number, const uuid *id, const char *fmt, ...)
{
    va_list args;
    if (c->finding.what != VERIFY_OK) return;
    c->finding = (struct verify_finding){.what = what, .number = number, .until = number, .has_id = id != NULL};
    if (id) c->finding.id = *id;
    va_start(args, fmt);
    vsnprintf(c->finding.text, sizeof c->finding.text, fmt, args);
    va_end(args);
}

/* {"id":"…","type":"…","version":1,"at":"…","workspace":"…" or null: as core/events writes every event. */
static bool says_of_itself(str bytes, const struct record *r)
{
    char id[UUID_TEXT_LEN + 1];
    str rest = bytes;
    if (!str_starts(rest, S("{\"id\":\"")) || !str_eq(str_take(str_skip(rest, 7), UUID_TEXT_LEN), uuid_format(&r->id, id))) return false;
    ptrdiff_t at = str_find(str_take(rest, 512), S(",\"workspace\":"));
    if (at < 0) return false;
    rest = str_skip(rest, (size_t)at + 13);
    if (uuid_is_nil(&r->workspace)) return str_starts(rest, S("null"));
    return str_eq(str_take(str_skip(rest, 1), UUID_TEXT_LEN), uuid_format(&r->workspace, id));
}

/* An event "audit.dropped" tells which bodies retention has let go of. */
static bool tells_of_drops(str bytes, struct dropped *out)
{
    struct arena a;
    struct json *root;
    if (str_find(str_take(bytes, 128), S("\"type\":\"audit.dropped\"")) < 0) return false;
    arena_init(&a, 256u << 10, 8192);
    bool is_told = json_parse(&a, bytes, &root, NULL) == ERR_NONE && json_i64(json_at(root, S("metadata.first")), &out->first) &&
                   json_i64(json_at(root, S("metadata.last")), &out->last);
    arena_fini(&a);
    return is_told;
}

static bool grow(void **list, unsigned n, size_t size)
{
    if (n & (n - 1)) return true; /* room until the next power of two */
    void *more = realloc(*list, (n ? 2 * (size_t)n : 1) * size);
    if (more) *list = more;
    return more != NULL;
}

static void check_body(struct chunk *c, const struct record *r, int64_t number, const struct tree_hash *tile)
{
    struct tree_hash made;
    struct dropped drop;
    c->bytes += (int64_t)r->bytes.len;
    if (!r->bytes.len) {
        c->n_dropped++;
        if (!grow((void **)&c->gone, c->n_gone, sizeof *c->gone) || !grow((void **)&c->gone_in_tree, c->n_gone, sizeof *c->gone_in_tree)) {
            c->rc = err_code(&c->e, ERR_NO_MEMORY);
            return;
        }
        c->gone[c->n_gone] = r->number;
        c->gone_in_tree[c->n_gone++] = number;
        return;
    }
    tree_leaf(r->bytes, &made);
    if (!tree_hash_eq(&made, &r->leaf)) {
        bool is_leaf_wrong = tile && tree_hash_eq(&made, tile);
        find(c, VERIFY_EDITED, number, &r->id, is_leaf_wrong ? "its leaf hash was changed" : "its bytes were changed");
    } else if (!says_of_itself(r->bytes, r)) {
        find(c, VERIFY_EDITED, number, &r->id, "its id or workspace is not the one in its bytes");
    } else if (tells_of_drops(r->bytes, &drop)) {
        if (!grow((void **)&c->drops, c->n_drops, sizeof *c->drops))
            c->rc = err_code(&c->e, ERR_NO_MEMORY);
        else
            c->drops[c->n_drops++] = drop;
    }
}

/* Event `at` of the chunk is not the leaf of the tile: what happened, when the tile is right. */
static void differ(struct chunk *c, const struct record *records, unsigned n, const struct tree_hash *tiles, unsigned n_tiles, unsigned at)
{
    const struct record *r = &records[at];
    int64_t number = c->first + at;
    bool next_is_mine = at + 1 < n_tiles && tree_hash_eq(&r->leaf, &tiles[at + 1]);
    bool mine_is_next = at + 1 < n && tree_hash_eq(&records[at + 1].leaf, &tiles[at]);
    bool follows = at + 2 >= n || at + 2 >= n_tiles || tree_hash_eq(&records[at + 1].leaf, &tiles[at + 2]);
    unsigned later = at + 1;
    if (next_is_mine && mine_is_next) {
        find(c, VERIFY_REORDERED, number, &r->id, "it stands where the event after it stood");
    } else if (next_is_mine && follows) {
        find(c, VERIFY_DELETED, number, NULL, "the event that had this number is gone, and those after it were given other numbers");
    } else if (mine_is_next) {
        find(c, VERIFY_INSERTED, number, &r->id, "no such event was signed; those after it were given other numbers");
    } else {
        while (later < n_tiles && !tree_hash_eq(&r->leaf, &tiles[later]))
            later++;
        if (later < n_tiles)
            find(c, VERIFY_REORDERED, number, &r->id, "it is the event that had the number %lld", (long long)(c->first + later));
        else
            find(c, VERIFY_EDITED, number, &r->id, "it is not the event that was signed, though its own hash is right");
    }
    c->is_tile_in_doubt = true;
    c->of_event = r->leaf;
    c->of_tile = tiles[at];
}

static enum errc check_boxes(const struct verify_source *s, struct chunk *c, struct arena *a, const struct record *records, unsigned n, err *e)
{
    unsigned n_opened = 0;
    int wrong = -1;
    enum errc rc = s->boxes(s->ctx, a, records, n, &n_opened, &wrong, e);
    c->n_opened = n_opened;
    if (rc == ERR_NONE && wrong >= 0)
        find(c, VERIFY_COMMITMENT, c->first + wrong, &records[wrong].id, "a personal value that is kept with it is not the one that it commits to");
    return rc;
}

static void check_chunk(const struct verify_source *s, struct chunk *c)
{
    struct arena a;
    struct record *records = NULL;
    struct tree_hash *tiles = malloc((VERIFY_CHUNK + 1) * sizeof *tiles);
    unsigned n = 0, n_tiles = 0, wanted = VERIFY_CHUNK;
    if (s->size - c->first + 1 < VERIFY_CHUNK) wanted = (unsigned)(s->size - c->first + 1);
    arena_init(&a, CHUNK_ARENA, 1u << 20);
    c->rc = tiles ? s->leaves(s->ctx, c->first, tiles, &n_tiles, &c->e) : err_code(&c->e, ERR_NO_MEMORY);
    if (c->rc == ERR_NONE && c->first + VERIFY_CHUNK - 1 < s->since) { /* bodies of older ones were not exported */
        if (n_tiles < wanted) find(c, VERIFY_TRUNCATED, c->first + n_tiles, NULL, "the tiles end before this event");
        c->n = n_tiles < wanted ? n_tiles : wanted;
        memcpy(c->leaves, tiles, c->n * sizeof *tiles);
        goto out;
    }
    if (c->rc == ERR_NONE) c->rc = s->records(s->ctx, &a, c->first, &records, &n, &c->e);
    for (unsigned i = 0; c->rc == ERR_NONE && c->finding.what == VERIFY_OK && i < wanted; i++) {
        int64_t number = c->first + i, of_tree = i < n ? record_number(&records[i], &s->tree) : 0;
        const struct tree_hash *tile = i < n_tiles ? &tiles[i] : NULL;
        if (i >= n && c->first + VERIFY_CHUNK <= s->size)
            find(c, VERIFY_DELETED, number, NULL, "there is no event with this number");
        else if (i >= n)
            find(c, VERIFY_TRUNCATED, number, NULL, "the log ends before this event");
        else if (records[i].is_damaged)
            find(c, VERIFY_EDITED, number, NULL, "its frame in the segment is damaged");
        else if (of_tree > number)
            find(c, VERIFY_DELETED, number, NULL, "there is no event with this number");
        else if (of_tree < number)
            find(c, VERIFY_INSERTED, number, &records[i].id, "another event has the same number");
        else
            check_body(c, &records[i], number, tile);
        if (c->finding.what != VERIFY_OK || c->rc != ERR_NONE) break;
        if (!tile)
            find(c, VERIFY_TILE, number, &records[i].id, "the tile that holds its leaf is gone or cut off");
        else if (!tree_hash_eq(&records[i].leaf, tile))
            differ(c, records, n, tiles, n_tiles, i);
        if (c->finding.what == VERIFY_OK) c->leaves[c->n++] = records[i].leaf;
    }
    if (c->rc == ERR_NONE && c->finding.what == VERIFY_OK && s->boxes) c->rc = check_boxes(s, c, &a, records, c->n, &c->e);
out:
    arena_fini(&a);
    free(tiles);
}

/* --- threads --- */

static void chunk_free(struct chunk *c)
{
    if (!c) return;
    free(c->drops);
    free(c->gone);
    free(c->gone_in_tree);
    free(c);
}

static void *hashing_main(void *arg)
{
    struct verifying *v = arg;
    for (;;) {
        pthread_mutex_lock(&v->lock);
        while (!v->is_over && v->next < v->n_chunks && v->next - v->taken >= v->n_slots)
            pthread_cond_wait(&v->changed, &v->lock);
        int64_t i = v->next;
        bool is_over = v->is_over || i >= v->n_chunks;
        if (!is_over) v->next++;
        pthread_mutex_unlock(&v->lock);
        if (is_over) return NULL;
        struct chunk *c = calloc(1, sizeof *c);
        if (c) {
            c->first = i * VERIFY_CHUNK + 1;
            check_chunk(v->s, c);
        }
        pthread_mutex_lock(&v->lock);
        v->slots[i % v->n_slots] = c;
        if (!c) v->is_over = true;
        pthread_cond_broadcast(&v->changed);
        pthread_mutex_unlock(&v->lock);
    }
}

static struct chunk *take_chunk(struct verifying *v, int64_t i)
{
    pthread_mutex_lock(&v->lock);
    while (!v->slots[i % v->n_slots] && !v->is_over)
        pthread_cond_wait(&v->changed, &v->lock);
    struct chunk *c = v->slots[i % v->n_slots];
    v->slots[i % v->n_slots] = NULL;
    v->taken = i + 1;
    pthread_cond_broadcast(&v->changed);
    pthread_mutex_unlock(&v->lock);
    return c;
}

/* --- in order --- */

struct state {
    const struct verify_source *s;
    struct verify_report *r;
    struct head_claim *claims; /* by size, then time */
    unsigned n_claims, at; /* those before `at` were met */
    struct tree_range range;
    int64_t last_good;         /* size of the last head that came out */
    struct dropped *drops;
    unsigned n_drops;
    int64_t *gone, *gone_in_tree;
    unsigned n_gone;
};

static void conclude(struct verify_report *r, enum verify_what what, int64_t number, int64_t until, const char *fmt, ...) PRINTF_LIKE(5, 6);
static void conclude(struct verify_report *r, enum verify_what what, int64_t number, int64_t until, const char *fmt, ...)
{
    va_list args;
    if (r->first.what != VERIFY_OK) return;
    r->first = (struct verify_finding){.what = what, .number = number, .until = until};
    va_start(args, fmt);
    vsnprintf(r->first.text, sizeof r->first.text, fmt, args);
    va_end(args);
}

/* Heads whose size has been reached. */
static void meet_heads(struct state *st)
{
    struct tree_hash root;
    bool has_root = false;
    for (; st->at < st->n_claims && st->claims[st->at].head.size == st->range.size; st->at++) {
        struct head_claim *c = &st->claims[st->at];
        if (!has_root) tree_range_root(&st->range, &root);
        has_root = true;
        if (tree_hash_eq(&root, &c->head.root)) {
            if (c->is_exported) continue;
            st->r->n_heads++;
            st->last_good = st->r->signed_size = c->head.size;
        } else if (c->is_given_up) {
            st->r->n_heads_given_up++;
        } else if (c->is_exported) {
            conclude(st->r, VERIFY_ROLLED_BACK, st->last_good + 1, c->head.size,
                     "a head over %lld events was given away, and the first %lld of this log are not those: it was rolled back or rewritten",
                     (long long)c->head.size, (long long)c->head.size);
        } else {
            conclude(st->r, VERIFY_REWRITTEN, st->last_good + 1, c->head.size,
                     "a head over %lld events was signed, and the first %lld of this log are not those, though all hashes agree with each other",
                     (long long)c->head.size, (long long)c->head.size);
        }
    }
}

/* The next head that counts behind an event. */
static const struct head_claim *next_claim(const struct state *st, int64_t number)
{
    for (unsigned i = st->at; i < st->n_claims; i++)
        if (st->claims[i].head.size >= number && !st->claims[i].is_given_up && !st->claims[i].is_exported) return &st->claims[i];
    return NULL;
}

static enum errc node_of_source(void *ctx, unsigned level, int64_t index, struct tree_hash *out, err *e)
{
    const struct verify_source *s = ctx;
    struct tree_hash hashes[TILE_WIDTH];
    unsigned in_tile = level % TILE_HEIGHT, n = 0;
    int64_t first = index << in_tile;
    enum errc rc = s->tile(s->ctx, level / TILE_HEIGHT, first / TILE_WIDTH, hashes, &n, e);
    unsigned at = (unsigned)(first % TILE_WIDTH), wanted = 1u << in_tile;
    if (rc == ERR_NONE && at + wanted > n) rc = err_set(e, ERR_CORRUPT, "a tile is too short");
    if (rc == ERR_NONE) tree_subtree(hashes + at, wanted, out);
    return rc;
}

/* Which of the two a signed head knows: the leaf of the tile, or that of the event. */
static void settle(struct state *st, struct chunk *c)
{
    const struct head_claim *claim = next_claim(st, c->finding.number);
    struct tree_source source = {node_of_source, (void *)(uintptr_t)st->s};
    struct tree_proof proof;
    if (!claim) return; /* not signed yet: the tile is believed */
    int64_t index = c->finding.number - 1;
    if (tree_inclusion(&source, index, claim->head.size, &proof, NULL) != ERR_NONE ||
        tree_inclusion_holds(&c->of_tile, index, claim->head.size, &proof, &claim->head.root))
        return;
    if (tree_inclusion_holds(&c->of_event, index, claim->head.size, &proof, &claim->head.root)) {
        c->finding.what = VERIFY_TILE;
        snprintf(c->finding.text, sizeof c->finding.text, "the event is the one that was signed, but its tile holds another leaf");
        return;
    }
    c->finding.what = VERIFY_REWRITTEN;
    c->finding.until = claim->head.size;
    snprintf(c->finding.text, sizeof c->finding.text, "neither the event nor its tile is what a head over %lld events was signed of",
             (long long)claim->head.size);
}

static enum errc keep_drops(struct state *st, const struct chunk *c, err *e)
{
    for (unsigned i = 0; i < c->n_drops; i++) {
        if (!grow((void **)&st->drops, st->n_drops, sizeof *st->drops)) return err_code(e, ERR_NO_MEMORY);
        st->drops[st->n_drops++] = c->drops[i];
    }
    for (unsigned i = 0; i < c->n_gone; i++) {
        if (!grow((void **)&st->gone, st->n_gone, sizeof *st->gone) || !grow((void **)&st->gone_in_tree, st->n_gone, sizeof *st->gone_in_tree))
            return err_code(e, ERR_NO_MEMORY);
        st->gone[st->n_gone] = c->gone[i];
        st->gone_in_tree[st->n_gone++] = c->gone_in_tree[i];
    }
    return ERR_NONE;
}

static enum errc take(struct state *st, struct chunk *c, err *e)
{
    struct verify_report *r = st->r;
    if (c->rc != ERR_NONE) {
        if (e) *e = c->e;
        return c->rc;
    }
    for (unsigned i = 0; i < c->n && r->first.what == VERIFY_OK; i++) {
        tree_range_add(&st->range, &c->leaves[i]);
        if (st->at < st->n_claims && st->claims[st->at].head.size == st->range.size) meet_heads(st);
    }
    r->events += c->n;
    r->bytes += c->bytes;
    r->n_dropped += c->n_dropped;
    r->n_opened += c->n_opened;
    if (r->first.what == VERIFY_OK && c->finding.what != VERIFY_OK) {
        if (c->is_tile_in_doubt) settle(st, c);
        r->first = c->finding;
    }
    return keep_drops(st, c, e);
}

static void check_gone(struct state *st)
{
    for (unsigned i = 0; i < st->n_gone && st->r->first.what == VERIFY_OK; i++) {
        bool is_told = false;
        for (unsigned k = 0; k < st->n_drops && !is_told; k++)
            is_told = st->gone[i] >= st->drops[k].first && st->gone[i] <= st->drops[k].last;
        if (!is_told)
            conclude(st->r, VERIFY_BODY_LOST, st->gone_in_tree[i], st->gone_in_tree[i],
                     "its bytes are gone, and no event says that retention has dropped them");
    }
}

/* Every tile above the leaves is what its leaves make; level 0 was compared already. */
static enum errc check_tiles(struct state *st, err *e)
{
    struct tree_source source = {node_of_source, (void *)(uintptr_t)st->s};
    struct tree_hash root, made;
    enum errc rc = tree_root(&source, st->range.size, &root, e);
    if (rc != ERR_NONE && rc != ERR_CORRUPT) return rc;
    tree_range_root(&st->range, &made);
    if (rc == ERR_CORRUPT || !tree_hash_eq(&root, &made))
        conclude(st->r, VERIFY_TILE, 0, 0, "the events are the ones that were signed, but the upper tiles do not add up to them");
    return ERR_NONE;
}

static enum errc take_all(struct verifying *v, struct state *st, err *e)
{
    enum errc rc = ERR_NONE;
    for (int64_t i = 0; rc == ERR_NONE && i < v->n_chunks && st->r->first.what == VERIFY_OK; i++) {
        struct chunk *c = take_chunk(v, i);
        rc = c ? take(st, c, e) : err_code(e, ERR_NO_MEMORY);
        chunk_free(c);
        if (v->o->progress) v->o->progress(v->o->ctx, st->r->events, v->s->size);
        if (rc == ERR_NONE && v->o->is_cancelled && *v->o->is_cancelled) rc = err_code(e, ERR_CANCELLED);
    }
    return rc;
}

static enum errc run_threads(struct verifying *v, struct state *st, err *e)
{
    pthread_t threads[THREADS_MAX];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned n = v->o->threads ? v->o->threads : cores > 0 ? (unsigned)cores : 1, started = 0;
    if (n > THREADS_MAX) n = THREADS_MAX;
    if ((int64_t)n > v->n_chunks) n = (unsigned)v->n_chunks;
    v->n_slots = 2 * n + 1;
    v->slots = calloc(v->n_slots, sizeof(struct chunk *));
    if (!v->slots) return err_code(e, ERR_NO_MEMORY);
    pthread_mutex_init(&v->lock, NULL);
    pthread_cond_init(&v->changed, NULL);
    while (started < n && pthread_create(&threads[started], NULL, hashing_main, v) == 0)
        started++;
    enum errc rc = started || !v->n_chunks ? take_all(v, st, e) : err_set(e, ERR_INTERNAL, "no thread could be started");
    pthread_mutex_lock(&v->lock);
    v->is_over = true;
    pthread_cond_broadcast(&v->changed);
    pthread_mutex_unlock(&v->lock);
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < v->n_slots; i++)
        chunk_free(v->slots[i]);
    free(v->slots);
    pthread_mutex_destroy(&v->lock);
    pthread_cond_destroy(&v->changed);
    return rc;
}

enum errc verify_run(const struct verify_source *s, const struct verify_options *o, struct verify_report *out, err *e)
{
    struct verifying v = {.s = s, .o = o, .n_chunks = (s->size + VERIFY_CHUNK - 1) / VERIFY_CHUNK};
    struct arena a;
    usec began = clock_mono_us();
    *out = (struct verify_report){0};
    struct state st = {.s = s, .r = out};
    arena_init(&a, 256u << 20, 64u << 10);
    struct verify_finding of_heads = {0};
    enum errc rc = claims_read(&a, s, o, out, &of_heads, &st.claims, &st.n_claims, e);
    if (rc == ERR_NONE) rc = run_threads(&v, &st, e);
    for (; rc == ERR_NONE && st.at < st.n_claims; st.at++) { /* of more events than there are */
        const struct head_claim *c = &st.claims[st.at];
        if (c->is_given_up)
            out->n_heads_given_up++;
        else if (c->is_exported)
            conclude(out, VERIFY_ROLLED_BACK, out->events + 1, c->head.size,
                     "a head over %lld events was given away, and this log ends at %lld: it is an older copy", (long long)c->head.size,
                     (long long)out->events);
        else
            conclude(out, VERIFY_TRUNCATED, out->events + 1, c->head.size, "a head over %lld events was signed, and this log ends at %lld",
                     (long long)c->head.size, (long long)out->events);
    }
    if (rc == ERR_NONE) check_gone(&st);
    if (rc == ERR_NONE && out->first.what == VERIFY_OK && st.range.size) rc = check_tiles(&st, e);
    if (out->first.what == VERIFY_OK) out->first = of_heads;
    tree_range_root(&st.range, &out->root);
    out->took_us = clock_mono_us() - began;
    free(st.drops);
    free(st.gone);
    free(st.gone_in_tree);
    arena_fini(&a);
    return rc;
}
