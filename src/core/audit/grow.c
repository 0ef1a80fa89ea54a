/* grow.c - what is sealed becomes leaves, and stays what it was.
 *
 * A batch is read and hashed outside of any writing unit; the unit that writes the tiles first moves the instance's row from the size that the batch
 * was made for. Of two nodes that do so at once one moves it, and the other writes nothing.
 */
#include <stdlib.h>

#include "base/log.h"
#include "core/audit/trail.h"
#include "json/write.h"

#define GROW_ARENA (96u << 20)
#define SCRUB_BATCH 512

SQL(find_tree, DB_MAIN, SQL_INSTANCE, "u", "SELECT origin, size, head_size, alarm_us FROM audit_trees WHERE tree_id = $1");
SQL(add_tree, DB_MAIN, SQL_INSTANCE, "ut",
    "INSERT INTO audit_trees (tree_id, origin, size, head_size, head_us) VALUES ($1, $2, 0, 0, 0) ON CONFLICT (tree_id) DO NOTHING");
SQL(move_tree, DB_MAIN, SQL_INSTANCE, "iui", "UPDATE audit_trees SET size = $1 WHERE tree_id = $2 AND size = $3");
SQL(alarm_tree, DB_MAIN, SQL_INSTANCE, "itu", "UPDATE audit_trees SET alarm_us = $1, alarm = $2 WHERE tree_id = $3 AND alarm_us IS NULL");
SQL(leaves_after, DB_MAIN, SQL_INSTANCE, "ii",
    "SELECT number, workspace_number, workspace_id, bytes, leaf FROM events WHERE number > $1 ORDER BY number LIMIT $2");

static const uuid instance;

/* --- rows of trees --- */

enum errc tree_row_find(struct tx *tx, struct arena *a, const uuid *tree, struct tree_row *out, bool *is_found, err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, a, &find_tree, PARAMS(v_uuid(tree)), &rows, e);
    *out = (struct tree_row){.tree = *tree};
    *is_found = rc == ERR_NONE && rows.n;
    if (!*is_found) return rc;
    const struct val *v = row_at(&rows, 0);
    out->origin = val_str(&v[0]);
    out->size = val_int(&v[1]);
    out->head_size = val_int(&v[2]);
    out->is_alarmed = v[3].type != VAL_NULL;
    return ERR_NONE;
}

str tree_origin(struct arena *arena, str origin_of_instance, const uuid *tree)
{
    char id[UUID_TEXT_LEN + 1];
    if (uuid_is_nil(tree)) return origin_of_instance;
    return arena_printf(arena, "%.*s/%.*s", STR(origin_of_instance), STR(uuid_format(tree, id)));
}

struct naming {
    struct audit *audit;
    char fresh[HEAD_ORIGIN_MAX + 1];
};

static enum errc name_unit(struct tx *tx, void *ctx, err *e)
{
    struct naming *n = ctx;
    struct arena a;
    struct tree_row row;
    bool is_found;
    arena_init(&a, 64u << 10, 1024);
    enum errc rc = tx_read_committed(tx, e);
    if (rc == ERR_NONE) rc = tx_exec_unaudited(tx, &add_tree, PARAMS(v_uuid(&instance), v_text(str_c(n->fresh))), NULL, e);
    if (rc == ERR_NONE) rc = tree_row_find(tx, &a, &instance, &row, &is_found, e);
    if (rc == ERR_NONE && is_found) snprintf(n->audit->origin, sizeof n->audit->origin, "%.*s", STR(row.origin));
    arena_fini(&a);
    return rc;
}

enum errc audit_name(struct audit *a, err *e)
{
    struct naming n = {.audit = a};
    char id[UUID_TEXT_LEN + 1];
    uuid fresh = uuid7_make(clock_now_us());
    if (*a->origin) return ERR_NONE;
    snprintf(n.fresh, sizeof n.fresh, "catalyst/%.*s", STR(uuid_format(&fresh, id)));
    return db_write(a->db, name_unit, &n, e);
}

/* --- a batch --- */

struct growing_tree {
    struct tile_edge edge;
    str origin;
    int64_t from;
    bool is_new;
    unsigned touched; /* bit per level whose unfinished tile has changed */
};

struct full_tile {
    uuid tree;
    unsigned level;
    int64_t number;
    struct tree_hash hashes[TILE_WIDTH];
};

struct growing {
    struct audit *audit;
    struct arena *arena;
    struct growing_tree *trees[GROW_BATCH + 1]; /* the instance's first */
    unsigned n_trees;
    struct full_tile *full[3 * GROW_BATCH];
    unsigned n_full;
    unsigned n_events;
    bool is_moved_by_another;
    /* what is wrong with the log */
    const char *wrong;
    int64_t wrong_number;
};

static enum errc wrong(struct growing *g, int64_t number, const char *what)
{
    g->wrong = what;
    g->wrong_number = number;
    return ERR_NONE;
}

static enum errc keep_full(void *ctx, const struct tile_edge *edge, unsigned level, int64_t number, const struct tree_hash *hashes, unsigned n,
                           err *e)
{
    struct growing *g = ctx;
    struct full_tile *t = g->n_full < LENGTH_OF(g->full) ? arena_alloc(g->arena, sizeof *t) : NULL;
    if (!t) return err_set(e, ERR_TOO_LARGE, "the tiles of a batch of events do not fit into memory");
    t->tree = edge->tree;
    t->level = level;
    t->number = number;
    memcpy(t->hashes, hashes, n * sizeof *hashes);
    g->full[g->n_full++] = t;
    return ERR_NONE;
}

static enum errc tree_of(struct growing *g, struct tx *tx, const uuid *id, struct growing_tree **out, err *e)
{
    struct tree_row row;
    bool is_found;
    for (unsigned i = 0; i < g->n_trees; i++)
        if (uuid_eq(&g->trees[i]->edge.tree, id)) {
            *out = g->trees[i];
            return ERR_NONE;
        }
    struct growing_tree *t = arena_alloc(g->arena, sizeof *t);
    if (!t) return err_set(e, ERR_TOO_LARGE, "the trees of a batch of events do not fit into memory");
    enum errc rc = tree_row_find(tx, g->arena, id, &row, &is_found, e);
    if (rc == ERR_NONE) rc = tile_edge_read(&t->edge, tx, id, row.size, e);
    t->origin = is_found ? row.origin : tree_origin(g->arena, str_c(g->audit->origin), id);
    t->is_new = !is_found;
    t->from = row.size;
    if (rc == ERR_NONE) g->trees[g->n_trees++] = t;
    *out = t;
    return rc;
}

static enum errc add_leaf(struct growing *g, struct growing_tree *t, const struct tree_hash *leaf, err *e)
{
    enum errc rc = tile_edge_add(&t->edge, leaf, keep_full, g, e);
    for (unsigned level = 0; level < TILE_LEVELS; level++) {
        t->touched |= 1u << level;
        if (t->edge.n[level]) break; /* the levels above are as they were */
    }
    return rc;
}

static enum errc read_unit(struct tx *tx, void *ctx, err *e)
{
    struct growing *g = ctx;
    struct growing_tree *all;
    struct rows rows;
    g->n_trees = g->n_full = g->n_events = 0;
    g->wrong = NULL;
    enum errc rc = tree_of(g, tx, &instance, &all, e);
    if (rc == ERR_NONE) rc = tx_query(tx, g->arena, &leaves_after, PARAMS(v_int(all->from), v_int(GROW_BATCH)), &rows, e);
    for (unsigned i = 0; rc == ERR_NONE && !g->wrong && i < rows.n; i++) {
        const struct val *v = row_at(&rows, i);
        int64_t number = val_int(&v[0]), of_workspace = val_int(&v[1]);
        uuid workspace = val_uuid(&v[2]);
        str bytes = val_str(&v[3]), leaf_text = val_str(&v[4]);
        struct tree_hash leaf, made;
        struct growing_tree *own = NULL;
        if (number != all->edge.size + 1) return wrong(g, all->edge.size + 1, "an event is missing");
        if (leaf_text.len != sizeof leaf) return wrong(g, number, "an event has no leaf hash");
        memcpy(&leaf, leaf_text.p, sizeof leaf);
        tree_leaf(bytes, &made);
        if (bytes.len && !tree_hash_eq(&leaf, &made)) return wrong(g, number, "the bytes of an event are not those of its leaf");
        if (!uuid_is_nil(&workspace)) rc = tree_of(g, tx, &workspace, &own, e);
        if (rc == ERR_NONE && own && own->edge.size + 1 != of_workspace)
            return wrong(g, number, "an event of a workspace is missing before it");
        if (rc == ERR_NONE) rc = add_leaf(g, all, &leaf, e);
        if (rc == ERR_NONE && own) rc = add_leaf(g, own, &leaf, e);
        g->n_events++;
    }
    return rc;
}

static enum errc write_unit(struct tx *tx, void *ctx, err *e)
{
    struct growing *g = ctx;
    enum errc rc = tx_read_committed(tx, e);
    g->is_moved_by_another = false;
    for (unsigned i = 0; i < g->n_trees && rc == ERR_NONE; i++) {
        struct growing_tree *t = g->trees[i];
        int64_t changed = 0;
        if (t->edge.size == t->from) continue;
        if (t->is_new) rc = tx_exec_unaudited(tx, &add_tree, PARAMS(v_uuid(&t->edge.tree), v_text(t->origin)), NULL, e);
        if (rc == ERR_NONE)
            rc = tx_exec_unaudited(tx, &move_tree, PARAMS(v_int(t->edge.size), v_uuid(&t->edge.tree), v_int(t->from)), &changed, e);
        if (rc == ERR_NONE && !changed && i > 0) rc = err_set(e, ERR_CORRUPT, "the tree of a workspace is not as long as it was");
        g->is_moved_by_another = g->is_moved_by_another || !changed;
        if (rc != ERR_NONE || g->is_moved_by_another) return rc;
        for (unsigned level = 0; level < TILE_LEVELS && rc == ERR_NONE; level++)
            if ((t->touched & 1u << level) && t->edge.n[level])
                rc = tile_write(tx, &t->edge.tree, level, tile_edge_number(&t->edge, level), t->edge.hashes[level], t->edge.n[level], e);
    }
    for (unsigned i = 0; i < g->n_full && rc == ERR_NONE; i++)
        rc = tile_write(tx, &g->full[i]->tree, g->full[i]->level, g->full[i]->number, g->full[i]->hashes, TILE_WIDTH, e);
    return rc;
}

enum errc audit_grow(struct audit *a, bool *has_more, err *e)
{
    struct arena arena;
    struct growing *g = calloc(1, sizeof *g);
    *has_more = false;
    if (!g) return err_code(e, ERR_NO_MEMORY);
    arena_init(&arena, GROW_ARENA, 256u << 10);
    g->audit = a;
    g->arena = &arena;
    enum errc rc = db_read(a->db, read_unit, g, e);
    if (rc == ERR_NONE && g->n_events) rc = db_write(a->db, write_unit, g, e);
    if (rc == ERR_NONE) {
        a->is_behind_others = g->n_events && g->is_moved_by_another;
        *has_more = g->n_events == GROW_BATCH && !a->is_behind_others && !g->wrong;
        if (g->wrong) rc = audit_alarm(a, &instance, g->wrong_number, g->wrong, e);
    }
    arena_fini(&arena);
    free(g);
    return rc;
}

enum errc audit_grow_all(struct audit *a, err *e)
{
    bool has_more = true;
    enum errc rc = ERR_NONE;
    while (rc == ERR_NONE && has_more)
        rc = audit_grow(a, &has_more, e);
    return rc;
}

/* --- what was added stays --- */

struct scrub {
    struct arena *arena;
    struct tile_reader *tiles;
    int64_t from, to, size, wrong_number;
    const char *wrong;
};

static enum errc scrub_unit(struct tx *tx, void *ctx, err *e)
{
    struct scrub *s = ctx;
    struct rows rows;
    struct tree_row row;
    struct tree_hash leaves[SCRUB_BATCH];
    bool is_found;
    enum errc rc = tree_row_find(tx, s->arena, &instance, &row, &is_found, e);
    s->size = row.size;
    s->wrong = NULL;
    s->to = s->from + SCRUB_BATCH < s->size ? s->from + SCRUB_BATCH : s->size;
    unsigned n = s->to > s->from ? (unsigned)(s->to - s->from) : 0;
    if (rc != ERR_NONE || !n) return rc;
    tile_reader_init(s->tiles, tx, &instance);
    rc = tile_leaves(s->tiles, s->from, n, leaves, e);
    if (rc == ERR_CORRUPT) {
        s->wrong = "a tile of the log is missing or cut off";
        s->wrong_number = s->from + 1;
        return ERR_NONE;
    }
    if (rc == ERR_NONE) rc = tx_query(tx, s->arena, &leaves_after, PARAMS(v_int(s->from), v_int(n)), &rows, e);
    for (unsigned i = 0; rc == ERR_NONE && !s->wrong && i < n; i++) {
        const struct val *v = i < rows.n ? row_at(&rows, i) : NULL;
        struct tree_hash made;
        s->wrong_number = s->from + 1 + i;
        if (!v || val_int(&v[0]) != s->wrong_number) {
            s->wrong = "an event is missing";
        } else if (!str_eq(val_str(&v[4]), str_of((const char *)leaves[i].b, sizeof leaves[i].b))) {
            s->wrong = "an event is not the one that was signed";
        } else if (val_str(&v[3]).len) {
            tree_leaf(val_str(&v[3]), &made);
            if (!tree_hash_eq(&made, &leaves[i])) s->wrong = "the bytes of an event are not those of its leaf";
        }
    }
    return rc;
}

enum errc audit_scrub(struct audit *a, err *e)
{
    struct arena arena;
    struct tile_reader *tiles = malloc(sizeof *tiles);
    struct scrub s = {.arena = &arena, .tiles = tiles, .from = a->scrubbed};
    if (!tiles) return err_code(e, ERR_NO_MEMORY);
    arena_init(&arena, 16u << 20, 64u << 10);
    enum errc rc = db_read(a->db, scrub_unit, &s, e);
    arena_fini(&arena);
    free(tiles);
    if (rc != ERR_NONE) return rc;
    a->scrubbed = s.to >= s.size ? 0 : s.to;
    return s.wrong ? audit_alarm(a, &instance, s.wrong_number, s.wrong, e) : ERR_NONE;
}

/* --- alarms --- */

struct alarm {
    const uuid *tree;
    int64_t number;
    const char *what;
    uuid event_id;
    usec now_us;
    bool is_new;
};

static enum errc alarm_unit(struct tx *tx, void *ctx, err *e)
{
    struct alarm *al = ctx;
    struct buf text;
    struct json_writer w;
    int64_t changed = 0;
    char said[ALARM_MAX];
    snprintf(said, sizeof said, "%s (number %lld)", al->what, (long long)al->number);
    enum errc rc = tx_exec_unaudited(tx, &alarm_tree, PARAMS(v_int(al->now_us), v_text(str_c(said)), v_uuid(al->tree)), &changed, e);
    al->is_new = changed > 0;
    if (rc != ERR_NONE || !changed) return rc;
    buf_init(&text, EVENT_BYTES_MAX);
    json_writer_init(&w, &text);
    json_object(&w);
    json_put_str(&w, "tree", uuid_is_nil(al->tree) ? S("instance") : S("workspace"));
    json_put_int(&w, "number", al->number);
    json_put_str(&w, "reason", str_c(al->what));
    json_end(&w);
    rc = text.failed ? err_code(e, text.failed)
                     : tx_event(tx,
                                &(struct event){.id = al->event_id,
                                                .at_us = al->now_us,
                                                .type = S("audit.rewritten"),
                                                .resource_type = S("audit_tree"),
                                                .resource_id = *al->tree,
                                                .status = S("failure"),
                                                .error = S("rewritten"),
                                                .metadata = buf_str(&text)},
                                e);
    buf_fini(&text);
    return rc;
}

enum errc audit_alarm(struct audit *a, const uuid *tree, int64_t number, const char *what, err *e)
{
    struct alarm al = {.tree = tree, .number = number, .what = what, .now_us = clock_now_us()};
    al.event_id = uuid7_make(al.now_us);
    if (a->alarm) stats_set(a->alarm, 0, 1);
    enum errc rc = db_write(a->db, alarm_unit, &al, e);
    if (al.is_new || rc != ERR_NONE)
        log_event(LOG_ERROR, "audit_log_rewritten", LOG_S("tree", uuid_is_nil(tree) ? S("instance") : S("workspace")), LOG_I("number", number),
                  LOG_S("reason", str_c(what)));
    return rc;
}
