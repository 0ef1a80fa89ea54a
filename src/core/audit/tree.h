/* tree.h - the Merkle tree of RFC 6962: roots, proofs and their checks, as pure functions.
 *
 * The tree of n leaves splits them at the largest power of two below n. What it is made of are therefore complete subtrees: the one of
 * 2^level leaves that begins at leaf index * 2^level is the node (level, index). A range holds the few complete subtrees that the first
 * n leaves consist of, grows leaf by leaf, and gives the root of every prefix on its way; proofs are put together from nodes that a source
 * hands out, so nothing here cares where they are kept.
 * Sizes and indexes are int64 and never negative (asserted). Threads: pure.
 * Errors: whatever the source returns; ERR_INVALID when what is asked for does not lie in the tree.
 * Source: RFC 6962 section 2.1; RFC 9162 sections 2.1.3 and 2.1.4 (the same tree, and how proofs are checked).
 */
#ifndef CORE_AUDIT_TREE_H
#define CORE_AUDIT_TREE_H

#include "base/crypto.h"

struct tree_hash {
    uint8_t b[SHA256_LEN];
};

static inline bool tree_hash_eq(const struct tree_hash *a, const struct tree_hash *b)
{
    return memcmp(a->b, b->b, sizeof a->b) == 0; /* hashes of a tree are public */
}

void tree_leaf(str data, struct tree_hash *out);
/* out may be one of the two. */
void tree_node(const struct tree_hash *left, const struct tree_hash *right, struct tree_hash *out);

/* --- growing --- */

#define TREE_LEVELS 63

struct tree_range {
    int64_t size;
    struct tree_hash nodes[TREE_LEVELS]; /* one for each bit of size that is set, the largest subtree first */
};

/* Zeroed, it is the empty tree. */
void tree_range_add(struct tree_range *r, const struct tree_hash *leaf);
/* 2^level leaves at once; size must be a multiple of that. */
void tree_range_add_node(struct tree_range *r, unsigned level, const struct tree_hash *node);
void tree_range_root(const struct tree_range *r, struct tree_hash *out);
/* The root of the complete subtree over n = 2^level leaves. */
void tree_subtree(const struct tree_hash *leaves, size_t n, struct tree_hash *out);

/* --- proofs --- */

struct tree_source {
    enum errc (*node)(void *ctx, unsigned level, int64_t index, struct tree_hash *out, err *e);
    void *ctx;
};

struct tree_proof {
    unsigned n;
    struct tree_hash nodes[2 * TREE_LEVELS];
};

WARN_UNUSED enum errc tree_range_of(const struct tree_source *s, int64_t size, struct tree_range *out, err *e);
WARN_UNUSED enum errc tree_root(const struct tree_source *s, int64_t size, struct tree_hash *out, err *e);
/* That leaf `index` (from 0) is in the tree of `size` leaves. */
WARN_UNUSED enum errc tree_inclusion(const struct tree_source *s, int64_t index, int64_t size, struct tree_proof *out, err *e);
/* That the first `from` leaves of the tree of `to` leaves are the tree of `from` leaves; from is at least 1. */
WARN_UNUSED enum errc tree_consistency(const struct tree_source *s, int64_t from, int64_t to, struct tree_proof *out, err *e);

WARN_UNUSED bool tree_inclusion_holds(const struct tree_hash *leaf, int64_t index, int64_t size, const struct tree_proof *p,
                                      const struct tree_hash *root);
WARN_UNUSED bool tree_consistency_holds(int64_t from, const struct tree_hash *from_root, int64_t to, const struct tree_hash *to_root,
                                        const struct tree_proof *p);

#endif
