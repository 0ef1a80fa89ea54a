#include "core/audit/tile.h"

#include <assert.h>
#include <stdio.h>

SQL(find_tile, DB_MAIN, SQL_INSTANCE, "uii", "SELECT hashes FROM audit_tiles WHERE tree_id = $1 AND level = $2 AND number = $3");
SQL(put_tile, DB_MAIN, SQL_INSTANCE, "uiib",
    "INSERT INTO audit_tiles (tree_id, level, number, hashes) VALUES ($1, $2, $3, $4) "
    "ON CONFLICT (tree_id, level, number) DO UPDATE SET hashes = excluded.hashes");

/* --- reading --- */

void tile_reader_init(struct tile_reader *r, struct tx *tx, const uuid *tree)
{
    r->tx = tx;
    r->tree = *tree;
    for (unsigned i = 0; i < TILE_LEVELS; i++)
        r->last[i].number = -1;
}

static enum errc read_tile(struct tx *tx, const uuid *tree, unsigned level, int64_t number, struct tree_hash *out, unsigned *n, err *e)
{
    struct arena a;
    struct rows rows;
    arena_init(&a, 64u << 10, 16384);
    enum errc rc = tx_query(tx, &a, &find_tile, PARAMS(v_uuid(tree), v_int(level), v_int(number)), &rows, e);
    str hashes = rc == ERR_NONE && rows.n ? val_str(&row_at(&rows, 0)[0]) : (str){0};
    if (rc == ERR_NONE && (hashes.len % SHA256_LEN || hashes.len > TILE_BYTES))
        rc = err_set(e, ERR_CORRUPT, "tile %u/%lld of the log is damaged", level, (long long)number);
    *n = rc == ERR_NONE ? (unsigned)(hashes.len / SHA256_LEN) : 0;
    if (*n) memcpy(out, hashes.p, hashes.len);
    arena_fini(&a);
    return rc;
}

static enum errc tile_of(struct tile_reader *r, unsigned level, int64_t number, const struct tile **out, err *e)
{
    struct tile *t = &r->last[level];
    enum errc rc = ERR_NONE;
    if (t->number != number) {
        t->number = -1;
        rc = read_tile(r->tx, &r->tree, level, number, t->hashes, &t->n, e);
        if (rc == ERR_NONE) t->number = number;
    }
    *out = t;
    return rc;
}

static enum errc node_of_tiles(void *ctx, unsigned level, int64_t index, struct tree_hash *out, err *e)
{
    struct tile_reader *r = ctx;
    const struct tile *t;
    unsigned in_tile = level % TILE_HEIGHT;
    int64_t first = index << in_tile;
    enum errc rc = tile_of(r, level / TILE_HEIGHT, first / TILE_WIDTH, &t, e);
    if (rc != ERR_NONE) return rc;
    unsigned at = (unsigned)(first % TILE_WIDTH), n = 1u << in_tile;
    if (at + n > t->n)
        return err_set(e, ERR_CORRUPT, "tile %u/%lld of the log has %u hashes and should have %u", level / TILE_HEIGHT,
                       (long long)t->number, t->n, at + n);
    tree_subtree(t->hashes + at, n, out);
    return ERR_NONE;
}

struct tree_source tile_source(struct tile_reader *r) { return (struct tree_source){node_of_tiles, r}; }

enum errc tile_leaves(struct tile_reader *r, int64_t first, unsigned n, struct tree_hash *out, err *e)
{
    enum errc rc = ERR_NONE;
    for (unsigned done = 0; done < n && rc == ERR_NONE;) {
        const struct tile *t;
        unsigned at = (unsigned)((first + done) % TILE_WIDTH), most = TILE_WIDTH - at;
        if (most > n - done) most = n - done;
        rc = tile_of(r, 0, (first + done) / TILE_WIDTH, &t, e);
        if (rc == ERR_NONE && at + most > t->n)
            rc = err_set(e, ERR_CORRUPT, "tile 0/%lld of the log has %u hashes and should have %u", (long long)t->number, t->n, at + most);
        if (rc == ERR_NONE) memcpy(out + done, t->hashes + at, most * sizeof *out);
        done += most;
    }
    return rc;
}

str tile_path(int level, int64_t number, unsigned n, char out[TILE_PATH_MAX])
{
    int64_t groups[8];
    unsigned n_groups = 0, len;
    assert(number >= 0 && n > 0 && n <= TILE_WIDTH);
    do {
        groups[n_groups++] = number % 1000;
        number /= 1000;
    } while (number && n_groups < LENGTH_OF(groups));
    len = (unsigned)(level < 0 ? snprintf(out, TILE_PATH_MAX, "entries") : snprintf(out, TILE_PATH_MAX, "%d", level));
    while (n_groups-- > 0)
        len += (unsigned)snprintf(out + len, TILE_PATH_MAX - len, "/%s%03d", n_groups ? "x" : "", (int)groups[n_groups]);
    if (n < TILE_WIDTH) len += (unsigned)snprintf(out + len, TILE_PATH_MAX - len, ".p/%u", n);
    return str_of(out, len);
}

/* --- growing --- */

enum errc tile_edge_read(struct tile_edge *edge, struct tx *tx, const uuid *tree, int64_t size, err *e)
{
    enum errc rc = ERR_NONE;
    edge->tree = *tree;
    edge->size = size;
    for (unsigned level = 0; level < TILE_LEVELS; level++) {
        unsigned shift = TILE_HEIGHT * level, wanted = shift < 63 ? (unsigned)((size >> shift) % TILE_WIDTH) : 0, n = 0;
        edge->n[level] = wanted;
        if (!wanted) continue;
        rc = read_tile(tx, tree, level, tile_edge_number(edge, level), edge->hashes[level], &n, e);
        if (rc != ERR_NONE) return rc;
        if (n < wanted)
            return err_set(e, ERR_CORRUPT, "tile %u/%lld of the log has %u hashes and should have %u", level,
                           (long long)tile_edge_number(edge, level), n, wanted);
    }
    return rc;
}

enum errc tile_edge_add(struct tile_edge *edge, const struct tree_hash *leaf,
                        enum errc (*filled)(void *ctx, const struct tile_edge *edge, unsigned level, int64_t number,
                                            const struct tree_hash *hashes, unsigned n, err *e),
                        void *ctx, err *e)
{
    struct tree_hash hash = *leaf;
    int64_t size = edge->size + 1;
    for (unsigned level = 0; level < TILE_LEVELS; level++) {
        edge->hashes[level][edge->n[level]++] = hash;
        if (edge->n[level] < TILE_WIDTH) break;
        enum errc rc = filled(ctx, edge, level, (size >> (TILE_HEIGHT * (level + 1))) - 1, edge->hashes[level], TILE_WIDTH, e);
        if (rc != ERR_NONE) return rc;
        tree_subtree(edge->hashes[level], TILE_WIDTH, &hash);
        edge->n[level] = 0;
    }
    edge->size = size;
    return ERR_NONE;
}

enum errc tile_write(struct tx *tx, const uuid *tree, unsigned level, int64_t number, const struct tree_hash *hashes, unsigned n, err *e)
{
    return tx_exec_unaudited(tx, &put_tile,
                             PARAMS(v_uuid(tree), v_int(level), v_int(number), v_blob(str_of((const char *)hashes, n * sizeof *hashes))),
                             NULL, e);
}
