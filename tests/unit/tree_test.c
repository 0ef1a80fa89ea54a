#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/audit/tree.h"
#include "json/tree.h"
#include "store/files.h"

/* --- the definition, word by word: RFC 6962 section 2.1 over D[first : first + n] --- */

static void naive_root(const struct tree_hash *leaves, int64_t n, struct tree_hash *out)
{
    struct tree_hash left, right;
    int64_t k = 1;
    if (n == 0) {
        sha256((str){0}, out->b);
        return;
    }
    if (n == 1) {
        *out = leaves[0];
        return;
    }
    while (2 * k < n)
        k *= 2;
    naive_root(leaves, k, &left);
    naive_root(leaves + k, n - k, &right);
    tree_node(&left, &right, out);
}

static void naive_path(const struct tree_hash *leaves, int64_t m, int64_t n, struct tree_proof *p)
{
    int64_t k = 1;
    if (n == 1) return;
    while (2 * k < n)
        k *= 2;
    if (m < k) {
        naive_path(leaves, m, k, p);
        naive_root(leaves + k, n - k, &p->nodes[p->n++]);
    } else {
        naive_path(leaves + k, m - k, n - k, p);
        naive_root(leaves, k, &p->nodes[p->n++]);
    }
}

static void naive_subproof(const struct tree_hash *leaves, int64_t m, int64_t n, bool b, struct tree_proof *p)
{
    int64_t k = 1;
    if (m == n) {
        if (!b) naive_root(leaves, n, &p->nodes[p->n++]);
        return;
    }
    while (2 * k < n)
        k *= 2;
    if (m <= k) {
        naive_subproof(leaves, m, k, b, p);
        naive_root(leaves + k, n - k, &p->nodes[p->n++]);
    } else {
        naive_subproof(leaves + k, m - k, n - k, false, p);
        naive_root(leaves, k, &p->nodes[p->n++]);
    }
}

struct leaves {
    const struct tree_hash *hashes;
    int64_t n;
};

static enum errc node_of_leaves(void *ctx, unsigned level, int64_t index, struct tree_hash *out, err *e)
{
    struct leaves *l = ctx;
    int64_t n = (int64_t)1 << level;
    (void)e;
    assert_true((index + 1) * n <= l->n);
    naive_root(l->hashes + index * n, n, out);
    return ERR_NONE;
}

static void assert_proof(const struct tree_proof *a, const struct tree_proof *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->nodes, b->nodes, a->n * sizeof a->nodes[0]);
}

/* --- vectors --- */

static void hash_of_hex(const struct json *v, struct tree_hash *out)
{
    assert_non_null(v);
    assert_true(hex_decode(v->text, out->b, sizeof out->b));
}

static void proof_of_json(const struct json *v, struct tree_proof *p)
{
    p->n = 0;
    for (const struct json *c = json_get(v, S("proof"))->child; c; c = c->next)
        hash_of_hex(c, &p->nodes[p->n++]);
}

static int64_t number_of(const struct json *v, str name)
{
    int64_t n = 0;
    assert_true(json_i64(json_get(v, name), &n));
    return n;
}

static void the_published_vectors_hold(void **state)
{
    (void)state;
    struct arena a;
    struct json *root;
    str text;
    struct tree_hash leaves[16], roots[16];
    struct leaves l = {leaves, 0};
    struct tree_source s = {node_of_leaves, &l};
    struct tree_range range = {0};
    unsigned n = 0, n_roots = 0, n_tried = 0;
    arena_init(&a, 4u << 20, 0);
    assert_int_equal(file_read(SOURCE_DIR "/tests/unit/data/merkle_small.json", 1u << 20, &a, &text, NULL), ERR_NONE);
    assert_int_equal(json_parse(&a, text, &root, NULL), ERR_NONE);
    for (const struct json *c = json_get(root, S("roots"))->child; c; c = c->next)
        hash_of_hex(c, &roots[n_roots++]);
    const struct json *expected = json_get(root, S("leaf_hashes"))->child;
    for (const struct json *c = json_get(root, S("leaves_data"))->child; c; c = c->next, expected = expected->next) {
        uint8_t bytes[512];
        struct tree_hash want, got;
        tree_range_root(&range, &got);
        assert_true(tree_hash_eq(&got, &roots[n]));
        assert_true(hex_decode(c->text, bytes, c->text.len / 2));
        tree_leaf(str_of((const char *)bytes, c->text.len / 2), &leaves[n]);
        hash_of_hex(expected, &want);
        assert_true(tree_hash_eq(&leaves[n], &want));
        tree_range_add(&range, &leaves[n++]);
    }
    tree_range_root(&range, &leaves[15]);
    assert_true(tree_hash_eq(&leaves[15], &roots[n]));
    l.n = n;
    for (const struct json *c = json_get(root, S("inclusion"))->child; c; c = c->next, n_tried++) {
        int64_t index = number_of(c, S("index")), size = number_of(c, S("size"));
        struct tree_proof want, got;
        proof_of_json(c, &want);
        assert_int_equal(tree_inclusion(&s, index, size, &got, NULL), ERR_NONE);
        assert_proof(&got, &want);
        assert_true(tree_inclusion_holds(&leaves[index], index, size, &got, &roots[size]));
    }
    for (const struct json *c = json_get(root, S("consistency"))->child; c; c = c->next, n_tried++) {
        int64_t from = number_of(c, S("from")), to = number_of(c, S("to"));
        struct tree_proof want, got;
        proof_of_json(c, &want);
        assert_int_equal(tree_consistency(&s, from, to, &got, NULL), ERR_NONE);
        assert_proof(&got, &want);
        assert_true(tree_consistency_holds(from, &roots[from], to, &roots[to], &got));
    }
    assert_int_equal(n_tried, 90);
    arena_fini(&a);
}

/* --- against the definition --- */

#define MOST 300
static struct tree_hash some[MOST], roots_of[MOST + 1];

static int make_leaves(void **state)
{
    (void)state;
    struct tree_range r = {0};
    for (int i = 0; i < MOST; i++) {
        char text[32];
        snprintf(text, sizeof text, "leaf %d", i);
        tree_leaf(str_c(text), &some[i]);
        tree_range_root(&r, &roots_of[i]);
        tree_range_add(&r, &some[i]);
    }
    tree_range_root(&r, &roots_of[MOST]);
    return 0;
}

static void the_root_of_every_prefix_is_the_definitions(void **state)
{
    (void)state;
    struct leaves l = {some, MOST};
    struct tree_source s = {node_of_leaves, &l};
    for (int64_t n = 0; n <= MOST; n++) {
        struct tree_hash want, got;
        naive_root(some, n, &want);
        assert_true(tree_hash_eq(&roots_of[n], &want));
        if (n % 7 == 0) {
            assert_int_equal(tree_root(&s, n, &got, NULL), ERR_NONE);
            assert_true(tree_hash_eq(&got, &want));
        }
    }
}

static void a_range_takes_whole_subtrees(void **state)
{
    (void)state;
    struct tree_range r = {0};
    struct tree_hash got, node;
    tree_subtree(some, 256, &node);
    tree_range_add_node(&r, 8, &node);
    tree_subtree(some + 256, 32, &node);
    tree_range_add_node(&r, 5, &node);
    tree_range_add(&r, &some[288]);
    tree_range_root(&r, &got);
    assert_true(tree_hash_eq(&got, &roots_of[289]));
}

static void proofs_are_the_definitions_and_hold_for_nothing_else(void **state)
{
    (void)state;
    struct leaves l = {some, MOST};
    struct tree_source s = {node_of_leaves, &l};
    srand(7);
    for (int round = 0; round < 400; round++) {
        int64_t to = 1 + rand() % MOST, from = 1 + rand() % to, index = rand() % to;
        struct tree_proof want = {0}, got;
        naive_path(some, index, to, &want);
        assert_int_equal(tree_inclusion(&s, index, to, &got, NULL), ERR_NONE);
        assert_proof(&got, &want);
        assert_true(tree_inclusion_holds(&some[index], index, to, &got, &roots_of[to]));
        assert_false(tree_inclusion_holds(&some[index], (index + 1) % to, to, &got, &roots_of[to]) && to > 1);
        assert_false(tree_inclusion_holds(&some[(index + 1) % MOST], index, to, &got, &roots_of[to]));
        assert_false(tree_inclusion_holds(&some[index], index, to, &got, &roots_of[to - 1]));
        assert_false(tree_inclusion_holds(&some[index], to, to, &got, &roots_of[to]));
        got.nodes[got.n] = some[0];
        got.n++;
        assert_false(tree_inclusion_holds(&some[index], index, to, &got, &roots_of[to]));
        got.n--;
        if (got.n) {
            got.nodes[(unsigned)rand() % got.n].b[rand() % 32] ^= 1;
            assert_false(tree_inclusion_holds(&some[index], index, to, &got, &roots_of[to]));
            got.n--;
            assert_false(tree_inclusion_holds(&some[index], index, to, &got, &roots_of[to]));
        }

        want.n = 0;
        naive_subproof(some, from, to, true, &want);
        assert_int_equal(tree_consistency(&s, from, to, &got, NULL), ERR_NONE);
        assert_proof(&got, &want);
        assert_true(tree_consistency_holds(from, &roots_of[from], to, &roots_of[to], &got));
        assert_false(tree_consistency_holds(from, &roots_of[from - 1], to, &roots_of[to], &got));
        assert_false(tree_consistency_holds(from, &roots_of[from], to, &roots_of[to - 1], &got));
        if (got.n) {
            got.nodes[(unsigned)rand() % got.n].b[rand() % 32] ^= 1;
            assert_false(tree_consistency_holds(from, &roots_of[from], to, &roots_of[to], &got));
            got.n--;
            assert_false(tree_consistency_holds(from, &roots_of[from], to, &roots_of[to], &got));
        }
    }
}

static void what_does_not_lie_in_the_tree_is_refused(void **state)
{
    (void)state;
    struct leaves l = {some, MOST};
    struct tree_source s = {node_of_leaves, &l};
    struct tree_proof p;
    assert_int_equal(tree_inclusion(&s, 0, 0, &p, NULL), ERR_INVALID);
    assert_int_equal(tree_inclusion(&s, 5, 5, &p, NULL), ERR_INVALID);
    assert_int_equal(tree_inclusion(&s, -1, 5, &p, NULL), ERR_INVALID);
    assert_int_equal(tree_consistency(&s, 0, 5, &p, NULL), ERR_INVALID);
    assert_int_equal(tree_consistency(&s, 6, 5, &p, NULL), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_vectors_hold),
        cmocka_unit_test_setup(the_root_of_every_prefix_is_the_definitions, make_leaves),
        cmocka_unit_test(a_range_takes_whole_subtrees),
        cmocka_unit_test(proofs_are_the_definitions_and_hold_for_nothing_else),
        cmocka_unit_test(what_does_not_lie_in_the_tree_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
