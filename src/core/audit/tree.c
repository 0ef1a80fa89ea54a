#include "core/audit/tree.h"

#include <assert.h>

void tree_leaf(str data, struct tree_hash *out)
{
    struct buf text;
    char small[1024];
    if (data.len < sizeof small) {
        small[0] = 0; /* RFC 6962 section 2.1: leaves and nodes are told apart by their first byte */
        if (data.len) memcpy(small + 1, data.p, data.len);
        sha256(str_of(small, data.len + 1), out->b);
        return;
    }
    buf_init(&text, data.len + 1);
    buf_add_char(&text, 0);
    buf_add(&text, data);
    assert(!text.failed);
    sha256(buf_str(&text), out->b);
    buf_fini(&text);
}

void tree_node(const struct tree_hash *left, const struct tree_hash *right, struct tree_hash *out)
{
    char text[1 + 2 * SHA256_LEN];
    text[0] = 1;
    memcpy(text + 1, left->b, SHA256_LEN);
    memcpy(text + 1 + SHA256_LEN, right->b, SHA256_LEN);
    sha256(str_of(text, sizeof text), out->b);
}

/* --- growing --- */

static unsigned n_nodes(int64_t size) { return (unsigned)__builtin_popcountll((uint64_t)size); }

void tree_range_add_node(struct tree_range *r, unsigned level, const struct tree_hash *node)
{
    int64_t count = (int64_t)1 << level;
    unsigned n = n_nodes(r->size);
    struct tree_hash hash = *node;
    assert(level < TREE_LEVELS - 1 && r->size % count == 0);
    for (int64_t bit = count; r->size & bit; bit <<= 1)
        tree_node(&r->nodes[--n], &hash, &hash);
    r->nodes[n] = hash;
    r->size += count;
}

void tree_range_add(struct tree_range *r, const struct tree_hash *leaf) { tree_range_add_node(r, 0, leaf); }

void tree_range_root(const struct tree_range *r, struct tree_hash *out)
{
    unsigned n = n_nodes(r->size);
    if (n == 0) {
        sha256((str){0}, out->b);
        return;
    }
    struct tree_hash hash = r->nodes[--n];
    while (n > 0)
        tree_node(&r->nodes[--n], &hash, &hash);
    *out = hash;
}

void tree_subtree(const struct tree_hash *leaves, size_t n, struct tree_hash *out)
{
    struct tree_range r = {0};
    assert(n > 0 && (n & (n - 1)) == 0);
    for (size_t i = 0; i < n; i++)
        tree_range_add(&r, &leaves[i]);
    *out = r.nodes[0];
}

/* --- proofs --- */

/* The largest power of two below n (n > 1). */
static int64_t split(int64_t n) { return (int64_t)1 << (63 - __builtin_clzll((uint64_t)n - 1)); }

/* The hash of leaves [first, first + n): MTH of RFC 6962. Every range that proofs are made of begins at a multiple of the largest
 * subtree in it, so it consists of nodes. */
static enum errc hash_of(const struct tree_source *s, int64_t first, int64_t n, struct tree_hash *out, err *e)
{
    struct tree_range r = {0};
    for (int64_t done = 0; done < n;) {
        unsigned level = (unsigned)(63 - __builtin_clzll((uint64_t)(n - done)));
        struct tree_hash node;
        enum errc rc = s->node(s->ctx, level, (first + done) >> level, &node, e);
        if (rc != ERR_NONE) return rc;
        tree_range_add_node(&r, level, &node);
        done += (int64_t)1 << level;
    }
    tree_range_root(&r, out);
    return ERR_NONE;
}

enum errc tree_range_of(const struct tree_source *s, int64_t size, struct tree_range *out, err *e)
{
    enum errc rc = ERR_NONE;
    *out = (struct tree_range){0};
    assert(size >= 0);
    while (out->size < size && rc == ERR_NONE) {
        unsigned level = (unsigned)(63 - __builtin_clzll((uint64_t)(size - out->size)));
        struct tree_hash node;
        rc = s->node(s->ctx, level, out->size >> level, &node, e);
        if (rc == ERR_NONE) tree_range_add_node(out, level, &node);
    }
    return rc;
}

enum errc tree_root(const struct tree_source *s, int64_t size, struct tree_hash *out, err *e)
{
    struct tree_range r;
    enum errc rc = tree_range_of(s, size, &r, e);
    if (rc == ERR_NONE) tree_range_root(&r, out);
    return rc;
}

static void turn_around(struct tree_proof *p)
{
    for (unsigned i = 0; i < p->n / 2; i++) {
        struct tree_hash other = p->nodes[i];
        p->nodes[i] = p->nodes[p->n - 1 - i];
        p->nodes[p->n - 1 - i] = other;
    }
}

/* PATH(m, D[n]) of RFC 6962 section 2.1.1, from the root down, then turned around. */
enum errc tree_inclusion(const struct tree_source *s, int64_t index, int64_t size, struct tree_proof *out, err *e)
{
    int64_t first = 0, n = size;
    enum errc rc = ERR_NONE;
    out->n = 0;
    if (index < 0 || index >= size)
        return err_set(e, ERR_INVALID, "leaf %lld is not in a tree of %lld", (long long)index, (long long)size);
    while (n > 1 && rc == ERR_NONE) {
        int64_t k = split(n);
        if (index - first < k) {
            rc = hash_of(s, first + k, n - k, &out->nodes[out->n++], e);
            n = k;
        } else {
            rc = hash_of(s, first, k, &out->nodes[out->n++], e);
            first += k;
            n -= k;
        }
    }
    turn_around(out);
    return rc;
}

/* SUBPROOF(m, D[n], b) of RFC 6962 section 2.1.2. */
enum errc tree_consistency(const struct tree_source *s, int64_t from, int64_t to, struct tree_proof *out, err *e)
{
    int64_t first = 0, m = from, n = to;
    bool is_whole = true; /* b: the subtree is the one that the verifier knows the root of */
    enum errc rc = ERR_NONE;
    out->n = 0;
    if (from < 1 || from > to)
        return err_set(e, ERR_INVALID, "a tree of %lld leaves does not grow out of one of %lld", (long long)to, (long long)from);
    while (m < n && rc == ERR_NONE) {
        int64_t k = split(n);
        if (m <= k) {
            rc = hash_of(s, first + k, n - k, &out->nodes[out->n++], e);
            n = k;
        } else {
            rc = hash_of(s, first, k, &out->nodes[out->n++], e);
            first += k;
            m -= k;
            n -= k;
            is_whole = false;
        }
    }
    if (rc == ERR_NONE && !is_whole) rc = hash_of(s, first, n, &out->nodes[out->n++], e);
    turn_around(out);
    return rc;
}

/* RFC 9162 section 2.1.3.2 */
bool tree_inclusion_holds(const struct tree_hash *leaf, int64_t index, int64_t size, const struct tree_proof *p,
                          const struct tree_hash *root)
{
    if (index < 0 || index >= size) return false;
    uint64_t fn = (uint64_t)index, sn = (uint64_t)size - 1;
    struct tree_hash r = *leaf;
    for (unsigned i = 0; i < p->n; i++) {
        if (sn == 0) return false;
        if ((fn & 1) || fn == sn) {
            tree_node(&p->nodes[i], &r, &r);
            while (!(fn & 1) && fn)
                fn >>= 1, sn >>= 1;
        } else {
            tree_node(&r, &p->nodes[i], &r);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && tree_hash_eq(&r, root);
}

/* RFC 9162 section 2.1.4.2 */
bool tree_consistency_holds(int64_t from, const struct tree_hash *from_root, int64_t to, const struct tree_hash *to_root,
                            const struct tree_proof *p)
{
    if (from < 1 || from > to) return false;
    if (from == to) return p->n == 0 && tree_hash_eq(from_root, to_root);
    unsigned at = 0;
    uint64_t fn = (uint64_t)from - 1, sn = (uint64_t)to - 1;
    struct tree_hash fr, sr;
    if ((from & (from - 1)) == 0)
        fr = *from_root;
    else if (p->n > 0)
        fr = p->nodes[at++];
    else
        return false;
    sr = fr;
    while (fn & 1)
        fn >>= 1, sn >>= 1;
    for (; at < p->n; at++) {
        const struct tree_hash *c = &p->nodes[at];
        if (sn == 0) return false;
        if ((fn & 1) || fn == sn) {
            tree_node(c, &fr, &fr);
            tree_node(c, &sr, &sr);
            while (!(fn & 1) && fn)
                fn >>= 1, sn >>= 1;
        } else {
            tree_node(&sr, c, &sr);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && tree_hash_eq(&fr, from_root) && tree_hash_eq(&sr, to_root);
}
