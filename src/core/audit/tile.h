/* tile.h - the inner nodes of a tree as rows: tiles of 256 hashes, which grow at their right edge.
 *
 * Tile (level, number) holds the roots of the complete subtrees of 256^level leaves from number * 256 on, 32 bytes each. Only the last one
 * of a level may have fewer. Every node of the tree is in a tile or made from up to 128 hashes of one, so a root of any prefix and any proof
 * takes a few rows.
 * A tree is named by the id of its workspace; the nil id is the instance's.
 * Threads: those of the unit. Errors: ERR_CORRUPT when a tile is not there or too short.
 * Source: C2SP tlog-tiles, height 8.
 */
#ifndef CORE_AUDIT_TILE_H
#define CORE_AUDIT_TILE_H

#include "core/audit/tree.h"
#include "store/db.h"

#define TILE_HEIGHT 8
#define TILE_WIDTH 256
#define TILE_LEVELS 8 /* 2^64 leaves */
#define TILE_BYTES (TILE_WIDTH * SHA256_LEN)

/* --- reading --- */

struct tile {
    int64_t number; /* -1: none */
    unsigned n;
    struct tree_hash hashes[TILE_WIDTH];
};

/* Nodes of one tree, out of the tiles; remembers the last tile of each level. */
struct tile_reader {
    struct tx *tx;
    uuid tree;
    struct tile last[TILE_LEVELS];
};
void tile_reader_init(struct tile_reader *r, struct tx *tx, const uuid *tree);
struct tree_source tile_source(struct tile_reader *r);
/* Leaf hashes first … first + n of the tree. */
WARN_UNUSED enum errc tile_leaves(struct tile_reader *r, int64_t first, unsigned n, struct tree_hash *out, err *e);
/* C2SP's path of a tile with n hashes below tile/: "0/x001/067", "1/000.p/5". level < 0: of a bundle of entries. NUL-terminated. */
#define TILE_PATH_MAX 64
str tile_path(int level, int64_t number, unsigned n, char out[TILE_PATH_MAX]);

/* --- growing --- */

/* The right edge of a tree: the unfinished tile of each level. */
struct tile_edge {
    uuid tree;
    int64_t size;
    unsigned n[TILE_LEVELS];
    struct tree_hash hashes[TILE_LEVELS][TILE_WIDTH];
};
WARN_UNUSED enum errc tile_edge_read(struct tile_edge *edge, struct tx *tx, const uuid *tree, int64_t size, err *e);
/* Adds a leaf. A tile that it fills is given to `filled` at once. */
WARN_UNUSED enum errc tile_edge_add(struct tile_edge *edge, const struct tree_hash *leaf,
                                    enum errc (*filled)(void *ctx, const struct tile_edge *edge, unsigned level, int64_t number,
                                                        const struct tree_hash *hashes, unsigned n, err *e),
                                    void *ctx, err *e);
/* The number of the unfinished tile of a level, of which edge->n[level] hashes are there. */
static inline int64_t tile_edge_number(const struct tile_edge *edge, unsigned level) { return edge->size >> (TILE_HEIGHT * (level + 1)); }
WARN_UNUSED enum errc tile_write(struct tx *tx, const uuid *tree, unsigned level, int64_t number, const struct tree_hash *hashes, unsigned n,
                                 err *e);

#endif
