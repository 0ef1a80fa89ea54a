#include "core/audit/verify_db.h"

#include <stdlib.h>

#include "core/events.h"

SQL(verify_tree, DB_MAIN, SQL_INSTANCE, "u", "SELECT origin, size FROM audit_trees WHERE tree_id = $1");
SQL(verify_heads, DB_MAIN, SQL_INSTANCE, "u", "SELECT note, signed_us, size FROM audit_heads WHERE tree_id = $1 ORDER BY size, signed_us");
SQL(verify_breaks, DB_MAIN, SQL_INSTANCE, "", "SELECT note FROM audit_breaks ORDER BY at_us");
SQL(verify_keys, DB_MAIN, SQL_INSTANCE, "", "SELECT public_key FROM signing_keys WHERE purpose = 'log' ORDER BY generation");
SQL(verify_tile, DB_MAIN, SQL_INSTANCE, "uii", "SELECT hashes FROM audit_tiles WHERE tree_id = $1 AND level = $2 AND number = $3");

struct verify_db {
    struct arena arena;
    struct store *store;
    struct db *db;
    uuid tree;
    struct verify_source source;
};

/* --- pieces --- */

struct piece {
    struct verify_db *v;
    struct arena *arena;
    int64_t first;
    struct record **records;
    unsigned *n;
    struct tree_hash *hashes;
    unsigned level;
    int64_t number;
};

static enum errc records_unit(struct tx *tx, void *ctx, err *e)
{
    struct piece *p = ctx;
    int64_t after = 0;
    enum errc rc = records_seek(tx, &p->v->tree, p->first, &after, e);
    return rc == ERR_NONE ? records_read(tx, p->arena, &p->v->tree, after, VERIFY_CHUNK + 1, p->records, p->n, e) : rc;
}

static enum errc records_of(void *ctx, struct arena *a, int64_t first, struct record **out, unsigned *n, err *e)
{
    struct verify_db *v = ctx;
    struct piece p = {.v = v, .arena = a, .first = first, .records = out, .n = n};
    return db_read(v->db, records_unit, &p, e);
}

static enum errc one_tile(struct tx *tx, const uuid *tree, unsigned level, int64_t number, struct tree_hash *out, unsigned *n, err *e)
{
    struct arena a;
    struct rows rows;
    arena_init(&a, 64u << 10, 16384);
    enum errc rc = tx_query(tx, &a, &verify_tile, PARAMS(v_uuid(tree), v_int(level), v_int(number)), &rows, e);
    str hashes = rc == ERR_NONE && rows.n ? val_str(&row_at(&rows, 0)[0]) : (str){0};
    *n = hashes.len > TILE_BYTES ? TILE_WIDTH : (unsigned)(hashes.len / sizeof *out);
    if (*n) memcpy(out, hashes.p, *n * sizeof *out);
    arena_fini(&a);
    return rc;
}

static enum errc leaves_unit(struct tx *tx, void *ctx, err *e)
{
    struct piece *p = ctx;
    enum errc rc = ERR_NONE;
    *p->n = 0;
    for (int64_t tile = (p->first - 1) / TILE_WIDTH; rc == ERR_NONE && *p->n <= VERIFY_CHUNK; tile++) {
        struct tree_hash hashes[TILE_WIDTH];
        unsigned n = 0, room = VERIFY_CHUNK + 1 - *p->n;
        rc = one_tile(tx, &p->v->tree, 0, tile, hashes, &n, e);
        unsigned taken = n < room ? n : room;
        memcpy(p->hashes + *p->n, hashes, taken * sizeof *hashes);
        *p->n += taken;
        if (n < TILE_WIDTH) break;
    }
    return rc;
}

static enum errc leaves_of(void *ctx, int64_t first, struct tree_hash out[VERIFY_CHUNK + 1], unsigned *n, err *e)
{
    struct verify_db *v = ctx;
    struct piece p = {.v = v, .first = first, .hashes = out, .n = n};
    return db_read(v->db, leaves_unit, &p, e);
}

static enum errc tile_unit(struct tx *tx, void *ctx, err *e)
{
    struct piece *p = ctx;
    return one_tile(tx, &p->v->tree, p->level, p->number, p->hashes, p->n, e);
}

static enum errc tile_of(void *ctx, unsigned level, int64_t number, struct tree_hash out[TILE_WIDTH], unsigned *n, err *e)
{
    struct verify_db *v = ctx;
    struct piece p = {.v = v, .level = level, .number = number, .hashes = out, .n = n};
    return db_read(v->db, tile_unit, &p, e);
}

/* What each box holds must be what the bytes commit to; a box whose key was destroyed cannot be opened. */
static enum errc boxes_of(void *ctx, struct arena *a, const struct record *records, unsigned n, unsigned *n_opened, int *wrong, err *e)
{
    struct verify_db *v = ctx;
    enum errc rc = ERR_NONE;
    for (unsigned first = 0; rc == ERR_NONE && first < n && *wrong < 0; first += 256) {
        unsigned count = n - first < 256 ? n - first : 256;
        struct arena_mark mark = arena_mark(a);
        uuid *ids = arena_news(a, uuid, count);
        struct event_values *values = arena_news(a, struct event_values, count);
        if (!ids || !values) return err_code(e, ERR_TOO_LARGE);
        for (unsigned i = 0; i < count; i++)
            ids[i] = records[first + i].id;
        rc = events_open(v->store, a, ids, count, values, e);
        for (unsigned i = 0; rc == ERR_NONE && i < count && *wrong < 0; i++)
            for (unsigned k = 0; k < values[i].n && records[first + i].bytes.len; k++) {
                if (str_find(records[first + i].bytes, str_c(values[i].values[k].commitment)) < 0) *wrong = (int)(first + i);
                ++*n_opened;
            }
        for (unsigned i = 0; rc == ERR_CORRUPT && i < count && *wrong < 0; i++) /* one of them was exchanged or damaged: which? */
            if (events_open(v->store, a, &ids[i], 1, values, NULL) == ERR_CORRUPT) *wrong = (int)(first + i);
        if (rc == ERR_CORRUPT && *wrong >= 0) rc = ERR_NONE;
        arena_reset(a, mark);
    }
    return rc;
}

/* --- as a whole --- */

static enum errc open_unit(struct tx *tx, void *ctx, err *e)
{
    struct verify_db *v = ctx;
    struct arena *a = &v->arena;
    struct verify_source *s = &v->source;
    struct rows rows, heads, breaks, keys;
    enum errc rc = tx_query(tx, a, &verify_tree, PARAMS(v_uuid(&v->tree)), &rows, e);
    if (rc == ERR_NONE && !rows.n) return err_set(e, ERR_NOT_FOUND, "there is no tree over such a log yet");
    if (rc == ERR_NONE) rc = tx_query(tx, a, &verify_heads, PARAMS(v_uuid(&v->tree)), &heads, e);
    if (rc == ERR_NONE) rc = tx_query(tx, a, &verify_breaks, NULL, 0, &breaks, e);
    if (rc == ERR_NONE) rc = tx_query(tx, a, &verify_keys, NULL, 0, &keys, e);
    if (rc != ERR_NONE) return rc;
    struct verify_head *list = arena_news(a, struct verify_head, heads.n);
    str *notes = arena_news(a, str, breaks.n);
    struct note_key *public_keys = arena_news(a, struct note_key, keys.n);
    if (!list || !notes || !public_keys) return err_set(e, ERR_TOO_LARGE, "the heads of the log do not fit into memory");
    s->origin = val_str(&row_at(&rows, 0)[0]);
    s->size = val_int(&row_at(&rows, 0)[1]);
    /* What was sealed a moment ago and is not in the tree yet comes next time; what was cut off is missed by the tree. */
    for (unsigned i = 0; i < heads.n; i++)
        list[i] = (struct verify_head){val_str(&row_at(&heads, i)[0]), val_int(&row_at(&heads, i)[1])};
    for (unsigned i = 0; i < breaks.n; i++)
        notes[i] = val_str(&row_at(&breaks, i)[0]);
    s->n_keys = 0;
    for (unsigned i = 0; i < keys.n; i++) {
        str key = val_str(&row_at(&keys, i)[0]);
        if (key.len != sizeof public_keys->key) continue;
        memcpy(public_keys[s->n_keys++].key, key.p, key.len);
    }
    s->heads = list;
    s->n_heads = heads.n;
    s->breaks = notes;
    s->n_breaks = breaks.n;
    s->keys = public_keys;
    return ERR_NONE;
}

enum errc verify_db_open(struct verify_db **out, struct store *store, const uuid *tree, bool opens_boxes, err *e)
{
    struct verify_db *v = calloc(1, sizeof *v);
    *out = NULL;
    if (!v) return err_code(e, ERR_NO_MEMORY);
    arena_init(&v->arena, 1u << 30, 64u << 10);
    v->store = store;
    v->db = store_db(store, DB_MAIN);
    v->tree = *tree;
    v->source = (struct verify_source){.ctx = v, .tree = *tree, .since = 1, .records = records_of, .leaves = leaves_of, .tile = tile_of};
    if (opens_boxes) v->source.boxes = boxes_of;
    enum errc rc = db_read(v->db, open_unit, v, e);
    if (rc != ERR_NONE)
        verify_db_close(v);
    else
        *out = v;
    return rc;
}

void verify_db_close(struct verify_db *v)
{
    if (!v) return;
    arena_fini(&v->arena);
    free(v);
}

struct verify_source *verify_db_source(struct verify_db *v) { return &v->source; }
