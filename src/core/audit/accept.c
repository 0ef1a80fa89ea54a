/* accept.c - `catalyst audit accept-restore`: the log goes on from what there is, with a signed record of what there was. */
#include <stdlib.h>

#include "core/audit/trail.h"
#include "json/write.h"

SQL(forget_tiles, DB_MAIN, SQL_INSTANCE, "", "DELETE FROM audit_tiles");
SQL(reset_trees, DB_MAIN, SQL_INSTANCE, "",
    "UPDATE audit_trees SET size = 0, head_size = 0, head_us = 0, alarm_us = NULL, alarm = NULL");
SQL(add_break, DB_MAIN, SQL_INSTANCE, "uitibibtt",
    "INSERT INTO audit_breaks (id, at_us, source, lost_size, lost_root, size, root, reason, note) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)");

static const uuid instance;

struct accepting {
    struct audit *audit;
    struct arena *arena;
    struct tile_reader *tiles;
    bool is_alarmed;
    struct audit_head last; /* of the database */
    bool has_last;
    struct head now;
    /* of one break */
    const struct audit_break *b;
    str reason;
    uuid id;
    usec now_us;
};

static enum errc look_unit(struct tx *tx, void *ctx, err *e)
{
    struct accepting *c = ctx;
    struct tree_row row;
    bool is_found;
    enum errc rc = tree_row_find(tx, c->arena, &instance, &row, &is_found, e);
    if (rc == ERR_NONE) rc = audit_head(tx, c->arena, &instance, &c->last, e);
    c->has_last = rc == ERR_NONE;
    c->is_alarmed = row.is_alarmed;
    return rc == ERR_NOT_FOUND || rc == ERR_CORRUPT ? ERR_NONE : rc;
}

static enum errc reset_unit(struct tx *tx, void *ctx, err *e)
{
    (void)ctx;
    enum errc rc = tx_exec_unaudited(tx, &forget_tiles, NULL, 0, NULL, e);
    return rc == ERR_NONE ? tx_exec_unaudited(tx, &reset_trees, NULL, 0, NULL, e) : rc;
}

static enum errc now_unit(struct tx *tx, void *ctx, err *e)
{
    struct accepting *c = ctx;
    struct tree_row row;
    bool is_found;
    enum errc rc = tree_row_find(tx, c->arena, &instance, &row, &is_found, e);
    if (rc != ERR_NONE) return rc;
    if (row.is_alarmed)
        return err_set(e, ERR_CORRUPT, "the events themselves were changed, so there is nothing to go on from: `catalyst audit verify` names the first, restore a backup");
    tile_reader_init(c->tiles, tx, &instance);
    struct tree_source source = tile_source(c->tiles);
    c->now = (struct head){.origin = str_c(c->audit->origin), .size = row.size};
    return tree_root(&source, row.size, &c->now.root, e);
}

/* The trees anew from the events, which are compared with their leaves on the way. */
static enum errc rebuild(struct accepting *c, err *e)
{
    enum errc rc = c->is_alarmed ? db_write(c->audit->db, reset_unit, c, e) : ERR_NONE;
    if (rc == ERR_NONE) rc = audit_grow_all(c->audit, e);
    return rc == ERR_NONE ? db_read(c->audit->db, now_unit, c, e) : rc;
}

static enum errc make_note(struct accepting *c, struct audit_break *b, err *e)
{
    struct buf text, note;
    char kid[SIGNING_KID_LEN + 1];
    uint8_t signature[SIGNING_SIGNATURE_LEN];
    struct signing_public public_half;
    struct note_key key = {.name = str_c(c->audit->origin)};
    buf_init(&text, NOTE_MAX);
    buf_init(&note, NOTE_MAX);
    break_text(&(struct break_note){.origin = key.name,
                                    .lost_size = b->lost.size,
                                    .lost_root = b->lost.root,
                                    .size = b->now.size,
                                    .root = b->now.root,
                                    .at_us = c->now_us},
               &text);
    enum errc rc = signing_sign(c->audit->setup.signing, SIGNING_LOG, c->now_us, buf_str(&text), kid, signature, e);
    if (rc == ERR_NONE) rc = signing_find(c->audit->setup.signing, SIGNING_LOG, str_c(kid), c->now_us, &public_half, e);
    if (rc == ERR_NONE) {
        memcpy(key.key, public_half.key, sizeof key.key);
        note_put(buf_str(&text), &key, signature, &note);
        b->note = str_dup(c->arena, buf_str(&note));
        if (text.failed || note.failed || !b->note.p) rc = err_code(e, ERR_NO_MEMORY);
    }
    buf_fini(&text);
    buf_fini(&note);
    return rc;
}

static enum errc break_unit(struct tx *tx, void *ctx, err *e)
{
    const struct accepting *c = ctx;
    const struct audit_break *b = c->b;
    struct buf text;
    struct json_writer w;
    char hex[2 * SHA256_LEN + 1];
    enum errc rc = tx_exec_unaudited(
        tx, &add_break,
        PARAMS(v_uuid(&c->id), v_int(c->now_us), v_text(b->source), v_int(b->lost.size),
               v_blob(str_of((const char *)b->lost.root.b, SHA256_LEN)), v_int(b->now.size),
               v_blob(str_of((const char *)b->now.root.b, SHA256_LEN)), v_text(c->reason), v_text(b->note)),
        NULL, e);
    if (rc != ERR_NONE) return rc;
    buf_init(&text, EVENT_BYTES_MAX);
    json_writer_init(&w, &text);
    json_object(&w);
    json_put_int(&w, "lost_size", b->lost.size);
    json_put_str(&w, "lost_root", hex_encode(b->lost.root.b, SHA256_LEN, hex));
    json_put_int(&w, "size", b->now.size);
    json_put_str(&w, "root", hex_encode(b->now.root.b, SHA256_LEN, hex));
    json_put_str(&w, "source", b->source);
    json_put_str(&w, "reason", c->reason);
    json_end(&w);
    rc = text.failed ? err_code(e, text.failed)
                     : tx_event(tx,
                                &(struct event){.id = c->id,
                                                .at_us = c->now_us,
                                                .type = S("audit.restore_accepted"),
                                                .resource_type = S("audit_break"),
                                                .resource_id = c->id,
                                                .status = S("success"),
                                                .metadata = buf_str(&text)},
                                e);
    buf_fini(&text);
    return rc;
}

enum errc audit_accept(struct audit *a, str reason, struct arena *arena, struct audit_break **out, unsigned *n, err *e)
{
    struct accepting c = {.audit = a, .arena = arena, .tiles = malloc(sizeof *c.tiles), .reason = reason, .now_us = clock_now_us()};
    struct outside_head *heads = NULL;
    unsigned n_heads = 0;
    *n = 0;
    if (!c.tiles) return err_code(e, ERR_NO_MEMORY);
    enum errc rc = audit_name(a, e);
    if (rc == ERR_NONE) rc = audit_grow_all(a, e);
    if (rc == ERR_NONE) rc = db_read(a->db, look_unit, &c, e);
    if (rc == ERR_NONE) rc = outside_heads(a, arena, &heads, &n_heads, e);
    *out = rc == ERR_NONE ? arena_news(arena, struct audit_break, n_heads + 1) : NULL;
    if (rc == ERR_NONE && !*out) rc = err_code(e, ERR_NO_MEMORY);
    for (unsigned i = 0; rc == ERR_NONE && i < n_heads; i++) {
        struct outside_view view;
        rc = outside_judge(a, &heads[i].head, &view, e);
        bool is_known = false;
        for (unsigned k = 0; k < *n; k++)
            is_known = is_known || ((*out)[k].lost.size == heads[i].head.size && tree_hash_eq(&(*out)[k].lost.root, &heads[i].head.root));
        if (rc == ERR_NONE && !view.holds && !is_known)
            (*out)[(*n)++] = (struct audit_break){.source = str_c(heads[i].source), .lost = heads[i].head};
    }
    if (rc == ERR_NONE && c.is_alarmed && !*n && c.has_last)
        (*out)[(*n)++] = (struct audit_break){.source = S("the heads in the database"), .lost = {c.last.origin, c.last.size, c.last.root}};
    if (rc == ERR_NONE && *n) rc = rebuild(&c, e);
    for (unsigned i = 0; rc == ERR_NONE && i < *n; i++) {
        struct audit_break *b = &(*out)[i];
        b->now = c.now;
        c.b = b;
        c.id = uuid7_make(c.now_us);
        rc = make_note(&c, b, e);
        if (rc == ERR_NONE) rc = db_write(a->db, break_unit, &c, e);
    }
    if (rc == ERR_NONE && *n) rc = audit_grow_all(a, e);
    if (rc == ERR_NONE && *n) rc = audit_sign(a, true, e);
    free(c.tiles);
    return rc;
}
