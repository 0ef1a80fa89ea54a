/* sign.c - heads: only of a tree that still is what was signed of it before.
 *
 * The root that the last head names is made again from the tiles, and its note verified, before the next head is signed; the tiles agree with the
 * events as far as grow.c has compared them. The key is asked for outside of units; the unit that adds a head moves the tree's row from
 * the head before, so that of several nodes one does.
 */
#include <stdlib.h>

#include "base/log.h"
#include "core/audit/anchor.h"
#include "core/audit/trail.h"

#define SIGN_BATCH 128
#define HEAD_COLUMNS "tree_id, size, root, note, kid, signed_us"

/* head_us behind now: the clock was set back. */
SQL(trees_to_sign, DB_MAIN, SQL_INSTANCE, "iiui",
    "SELECT tree_id, origin, size, head_size FROM audit_trees WHERE size > head_size AND (head_us <= $1 OR head_us > $2) AND alarm_us IS NULL "
    "AND NOT EXISTS (SELECT 1 FROM audit_trees AS whole WHERE whole.tree_id = $3 AND whole.alarm_us IS NOT NULL) ORDER BY tree_id LIMIT $4");
SQL(head_of_size, DB_MAIN, SQL_INSTANCE, "ui",
    "SELECT " HEAD_COLUMNS " FROM audit_heads WHERE tree_id = $1 AND size = $2 ORDER BY signed_us DESC LIMIT 1");
SQL(newest_head, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT " HEAD_COLUMNS " FROM audit_heads WHERE tree_id = $1 ORDER BY signed_us DESC, size DESC LIMIT 1");
SQL(move_head, DB_MAIN, SQL_INSTANCE, "iiui",
    "UPDATE audit_trees SET head_size = $1, head_us = $2 WHERE tree_id = $3 AND head_size = $4 AND alarm_us IS NULL");
SQL(add_head, DB_MAIN, SQL_INSTANCE, "uibtti", "INSERT INTO audit_heads (" HEAD_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6)");

static const uuid instance;

static enum errc head_of_row(const struct val *v, struct audit_head *out, err *e)
{
    struct head h;
    str text;
    *out = (struct audit_head){
        .tree = val_uuid(&v[0]), .size = val_int(&v[1]), .note = val_str(&v[3]), .kid = val_str(&v[4]), .signed_us = val_int(&v[5])};
    if (val_str(&v[2]).len != sizeof out->root) return err_set(e, ERR_CORRUPT, "a head of the log is damaged");
    memcpy(out->root.b, val_str(&v[2]).p, sizeof out->root);
    enum errc rc = note_text(out->note, &text, e);
    if (rc == ERR_NONE) rc = head_parse(text, &h, e);
    if (rc == ERR_NONE && (h.size != out->size || !tree_hash_eq(&h.root, &out->root)))
        rc = err_set(e, ERR_CORRUPT, "a head of the log does not say what its row says");
    out->origin = h.origin;
    return rc;
}

enum errc audit_head(struct tx *tx, struct arena *a, const uuid *tree, struct audit_head *out, err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, a, &newest_head, PARAMS(v_uuid(tree)), &rows, e);
    if (rc == ERR_NONE && !rows.n) return err_set(e, ERR_NOT_FOUND, "no head of this log was signed yet");
    return rc == ERR_NONE ? head_of_row(row_at(&rows, 0), out, e) : rc;
}

enum errc audit_keys(struct signing *s, struct arena *a, str origin, struct note_key **out, unsigned *n, err *e)
{
    struct signing_public *publics;
    enum errc rc = signing_publics(s, SIGNING_LOG, a, clock_now_us(), &publics, n, e);
    if (rc != ERR_NONE) return rc;
    *out = arena_news(a, struct note_key, *n);
    if (!*out) return err_code(e, ERR_NO_MEMORY);
    for (unsigned i = 0; i < *n; i++) {
        (*out)[i].name = origin;
        memcpy((*out)[i].key, publics[i].key, sizeof(*out)[i].key);
    }
    return ERR_NONE;
}

/* --- one round --- */

struct to_sign {
    uuid tree;
    str origin;
    int64_t size, head_size;
    struct audit_head before; /* when head_size is not 0 */
    struct tree_hash root, root_before;
    bool has_before;
    const char *wrong;
    str note;
    char kid[SIGNING_KID_LEN + 1];
    usec now_us;
    bool is_added;
};

struct round {
    struct audit *audit;
    struct arena *arena;
    struct tile_reader *tiles;
    struct to_sign *trees;
    unsigned n;
    bool all;
    usec now_us;
};

static enum errc look_at(struct round *r, struct tx *tx, struct to_sign *t, err *e)
{
    struct rows rows;
    enum errc rc = ERR_NONE;
    if (t->head_size) {
        rc = tx_query(tx, r->arena, &head_of_size, PARAMS(v_uuid(&t->tree), v_int(t->head_size)), &rows, e);
        if (rc != ERR_NONE) return rc;
        t->has_before = rows.n > 0;
        if (!rows.n) {
            t->wrong = "the last head is missing";
            return ERR_NONE;
        }
        if (head_of_row(row_at(&rows, 0), &t->before, e) != ERR_NONE) {
            t->wrong = "the last head was changed";
            return ERR_NONE;
        }
    }
    tile_reader_init(r->tiles, tx, &t->tree);
    struct tree_source source = tile_source(r->tiles);
    if (t->has_before) rc = tree_root(&source, t->head_size, &t->root_before, e);
    if (rc == ERR_NONE) rc = tree_root(&source, t->size, &t->root, e);
    if (rc == ERR_CORRUPT) {
        t->wrong = "a tile is missing or cut off";
        return ERR_NONE;
    }
    if (rc == ERR_NONE && t->has_before && !tree_hash_eq(&t->root_before, &t->before.root))
        t->wrong = "what the last head was signed of is not what is there now";
    return rc;
}

static enum errc round_unit(struct tx *tx, void *ctx, err *e)
{
    struct round *r = ctx;
    struct rows rows;
    r->n = 0;
    enum errc rc = tx_query(tx, r->arena, &trees_to_sign, PARAMS(v_int(r->all ? INT64_MAX : r->now_us - r->audit->head_interval_us), v_int(r->now_us + r->audit->head_interval_us),
                                v_uuid(&instance), v_int(SIGN_BATCH)),
                         &rows, e);
    if (rc != ERR_NONE || !rows.n) return rc;
    r->trees = arena_news(r->arena, struct to_sign, rows.n);
    if (!r->trees) return err_code(e, ERR_NO_MEMORY);
    for (unsigned i = 0; rc == ERR_NONE && i < rows.n; i++) {
        const struct val *v = row_at(&rows, i);
        struct to_sign *t = &r->trees[r->n++];
        *t = (struct to_sign){.tree = val_uuid(&v[0]), .origin = val_str(&v[1]), .size = val_int(&v[2]), .head_size = val_int(&v[3])};
        rc = look_at(r, tx, t, e);
    }
    return rc;
}

static enum errc add_unit(struct tx *tx, void *ctx, err *e)
{
    struct to_sign *t = ctx;
    int64_t changed = 0;
    enum errc rc = tx_read_committed(tx, e);
    if (rc == ERR_NONE) rc = tx_exec_unaudited(tx, &move_head, PARAMS(v_int(t->size), v_int(t->now_us), v_uuid(&t->tree), v_int(t->head_size)), &changed, e);
    t->is_added = changed > 0;
    if (rc == ERR_NONE && changed)
        rc = tx_exec_unaudited(tx, &add_head,
                               PARAMS(v_uuid(&t->tree), v_int(t->size), v_blob(str_of((const char *)t->root.b, sizeof t->root)),
                                      v_text(t->note), v_text(str_c(t->kid)), v_int(t->now_us)),
                               NULL, e);
    return rc;
}

/* The note, by the key in force. */
static enum errc make_note(struct round *r, struct to_sign *t, err *e)
{
    struct buf text, note;
    struct note_key *keys;
    unsigned n;
    uint8_t signature[SIGNING_SIGNATURE_LEN];
    struct signing_public public_half;
    buf_init(&text, NOTE_MAX);
    buf_init(&note, NOTE_MAX);
    head_text(&(struct head){t->origin, t->size, t->root}, &text);
    enum errc rc = ERR_NONE;
    if (t->has_before) {
        str signed_text;
        rc = audit_keys(r->audit->setup.signing, r->arena, t->origin, &keys, &n, e);
        if (rc == ERR_NONE && note_open_any(t->before.note, keys, n, &signed_text, NULL, NULL) != ERR_NONE)
            t->wrong = "the signature of the last head does not hold";
    }
    if (rc == ERR_NONE && !t->wrong) rc = signing_sign(r->audit->setup.signing, SIGNING_LOG, r->now_us, buf_str(&text), t->kid, signature, e);
    if (rc == ERR_NONE && !t->wrong) rc = signing_find(r->audit->setup.signing, SIGNING_LOG, str_c(t->kid), r->now_us, &public_half, e);
    if (rc == ERR_NONE && !t->wrong) {
        struct note_key key = {.name = t->origin};
        memcpy(key.key, public_half.key, sizeof key.key);
        note_put(buf_str(&text), &key, signature, &note);
        t->note = str_dup(r->arena, buf_str(&note));
        t->now_us = r->now_us;
        if (note.failed || !t->note.p) rc = err_code(e, ERR_NO_MEMORY);
    }
    buf_fini(&text);
    buf_fini(&note);
    return rc;
}

static enum errc sign_one(struct round *r, struct to_sign *t, err *e)
{
    enum errc rc = ERR_NONE;
    if (!t->wrong) rc = make_note(r, t, e);
    if (rc == ERR_NONE && t->wrong) return audit_alarm(r->audit, &t->tree, t->head_size, t->wrong, e);
    if (rc == ERR_NONE) rc = db_write(r->audit->db, add_unit, t, e);
    if (rc == ERR_NONE && t->is_added && uuid_is_nil(&t->tree)) {
        rc = outside_write(r->audit, t->note, e);
        anchors_wake(r->audit->anchors);
    }
    return rc;
}

enum errc audit_sign(struct audit *a, bool all, err *e)
{
    struct arena arena;
    struct round r = {.audit = a, .arena = &arena, .all = all, .now_us = clock_now_us()};
    enum errc rc = ERR_NONE;
    bool has_signed = true;
    if (a->is_shut) return ERR_NONE;
    r.tiles = malloc(sizeof *r.tiles);
    if (!r.tiles) return err_code(e, ERR_NO_MEMORY);
    while (rc == ERR_NONE && has_signed) { /* the next trees */
        arena_init(&arena, 32u << 20, 64u << 10);
        has_signed = false;
        rc = db_read(a->db, round_unit, &r, e);
        for (unsigned i = 0; rc == ERR_NONE && i < r.n; i++) {
            rc = sign_one(&r, &r.trees[i], e);
            has_signed = has_signed || (r.n == SIGN_BATCH && r.trees[i].is_added);
        }
        arena_fini(&arena);
    }
    free(r.tiles);
    return rc;
}

/* --- proofs --- */

SQL(tree_size, DB_MAIN, SQL_INSTANCE, "u", "SELECT size FROM audit_trees WHERE tree_id = $1");

static enum errc size_of(struct tx *tx, const uuid *tree, int64_t *size, err *e)
{
    struct arena a;
    struct rows rows;
    arena_init(&a, 8192, 512);
    enum errc rc = tx_query(tx, &a, &tree_size, PARAMS(v_uuid(tree)), &rows, e);
    *size = rc == ERR_NONE && rows.n ? val_int(&row_at(&rows, 0)[0]) : 0;
    arena_fini(&a);
    return rc;
}

enum errc audit_inclusion(struct tx *tx, const uuid *tree, int64_t number, int64_t size, struct audit_proof *out, err *e)
{
    int64_t grown;
    struct tile_reader *tiles = malloc(sizeof *tiles);
    if (!tiles) return err_code(e, ERR_NO_MEMORY);
    *out = (struct audit_proof){.from = number - 1, .to = size};
    enum errc rc = size_of(tx, tree, &grown, e);
    if (rc == ERR_NONE && (number < 1 || number > size || size > grown))
        rc = err_set(e, ERR_NOT_FOUND, "event %lld is not among the first %lld of the %lld that are in the tree so far", (long long)number,
                     (long long)size, (long long)grown);
    tile_reader_init(tiles, tx, tree);
    struct tree_source source = tile_source(tiles);
    if (rc == ERR_NONE) rc = source.node(source.ctx, 0, number - 1, &out->leaf, e);
    if (rc == ERR_NONE) rc = tree_inclusion(&source, number - 1, size, &out->proof, e);
    if (rc == ERR_NONE) rc = tree_root(&source, size, &out->root, e);
    free(tiles);
    return rc;
}

enum errc audit_consistency(struct tx *tx, const uuid *tree, int64_t from, int64_t to, struct audit_proof *out, err *e)
{
    int64_t grown;
    struct tile_reader *tiles = malloc(sizeof *tiles);
    if (!tiles) return err_code(e, ERR_NO_MEMORY);
    *out = (struct audit_proof){.from = from, .to = to};
    enum errc rc = size_of(tx, tree, &grown, e);
    if (rc == ERR_NONE && (from < 1 || from > to || to > grown))
        rc = err_set(e, ERR_NOT_FOUND, "there is no proof from %lld to %lld: the tree has %lld leaves so far", (long long)from, (long long)to,
                     (long long)grown);
    tile_reader_init(tiles, tx, tree);
    struct tree_source source = tile_source(tiles);
    if (rc == ERR_NONE) rc = tree_consistency(&source, from, to, &out->proof, e);
    if (rc == ERR_NONE) rc = tree_root(&source, from, &out->from_root, e);
    if (rc == ERR_NONE) rc = tree_root(&source, to, &out->root, e);
    free(tiles);
    return rc;
}
