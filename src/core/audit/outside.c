/* outside.c - the heads that lie outside the database, and whether it bears them out.
 *
 * DIR/audit/head is the newest head that this node has seen, DIR/audit/keys the keys that heads are verified with.
 */
#include <stdlib.h>

#include "base/log.h"
#include "core/audit/anchor.h"
#include "core/audit/trail.h"

SQL(break_of_head, DB_MAIN, SQL_INSTANCE, "ib", "SELECT 1 FROM audit_breaks WHERE lost_size = $1 AND lost_root = $2");

static const uuid instance;

static enum errc path_of(const struct audit *a, const char *name, char out[FILE_PATH_MAX], err *e)
{
    return file_path(out, e, "%s/audit/%s", a->data_dir, name);
}

static enum errc read_head(struct audit *a, struct arena *arena, struct outside_head *out, err *e)
{
    char path[FILE_PATH_MAX];
    str text;
    enum errc rc = path_of(a, "head", path, e);
    if (rc == ERR_NONE) rc = file_read(path, NOTE_MAX, arena, &out->note, e);
    if (rc == ERR_NONE) rc = note_text(out->note, &text, e);
    if (rc == ERR_NONE) rc = head_parse(text, &out->head, e);
    str source = arena_printf(arena, "the file %s", path);
    out->source = source.p ? source.p : "the data folder";
    return rc == ERR_CORRUPT ? err_prefix(e, "%s", path) : rc;
}

enum errc outside_heads(struct audit *a, struct arena *arena, struct outside_head **out, unsigned *n, err *e)
{
    unsigned most = 1 + anchors_n(a->anchors);
    *n = 0;
    *out = arena_news(arena, struct outside_head, most);
    if (!*out) return err_code(e, ERR_NO_MEMORY);
    enum errc rc = read_head(a, arena, &(*out)[0], e);
    if (rc == ERR_NONE) ++*n;
    if (rc != ERR_NONE && rc != ERR_NOT_FOUND) return rc;
    for (unsigned i = 0; i + 1 < most; i++) {
        struct anchor *anchor = anchors_at(a->anchors, i);
        struct outside_head *h = &(*out)[*n];
        err why = {0};
        str text;
        if (!anchor->kind->newest) continue;
        rc = anchor->kind->newest(anchor, arena, &h->note, &why);
        if (rc == ERR_NONE) rc = note_text(h->note, &text, &why);
        if (rc == ERR_NONE) rc = head_parse(text, &h->head, &why);
        str source = arena_printf(arena, "the anchor %s", anchor->name);
        h->source = source.p ? source.p : "an anchor";
        if (rc == ERR_NONE)
            ++*n;
        else if (rc != ERR_NOT_FOUND)
            log_event(LOG_WARN, "audit_anchor_not_read", LOG_S("anchor", str_c(anchor->name)), LOG_S("reason", str_c(why.msg)));
    }
    return ERR_NONE;
}

/* --- judging --- */

struct judging {
    const struct head *head;
    const char *origin;
    struct arena *arena;
    struct tile_reader *tiles;
    struct outside_view *out;
};

static enum errc judge_unit(struct tx *tx, void *ctx, err *e)
{
    struct judging *j = ctx;
    const struct head *h = j->head;
    struct outside_view *v = j->out;
    struct tree_row row;
    struct tree_hash root;
    struct rows rows;
    bool is_found;
    *v = (struct outside_view){0};
    enum errc rc = tree_row_find(tx, j->arena, &instance, &row, &is_found, e);
    if (rc != ERR_NONE) return rc;
    if (!str_eq(h->origin, str_c(j->origin))) {
        snprintf(v->why, sizeof v->why, "the log in the database is not the one that a head was given away of");
    } else if (h->size > row.size) {
        snprintf(v->why, sizeof v->why, "the log in the database ends at event %lld, and a head over %lld events was given away",
                 (long long)row.size, (long long)h->size);
    } else {
        tile_reader_init(j->tiles, tx, &instance);
        struct tree_source source = tile_source(j->tiles);
        rc = tree_root(&source, h->size, &root, e);
        if (rc != ERR_NONE && rc != ERR_CORRUPT) return rc;
        v->holds = rc == ERR_NONE && tree_hash_eq(&root, &h->root);
        if (!v->holds)
            snprintf(v->why, sizeof v->why, "the first %lld events of the log are not those that a head was given away of", (long long)h->size);
    }
    if (v->holds) return ERR_NONE;
    rc = tx_query(tx, j->arena, &break_of_head, PARAMS(v_int(h->size), v_blob(str_of((const char *)h->root.b, sizeof h->root))), &rows, e);
    v->holds = v->is_given_up = rc == ERR_NONE && rows.n > 0;
    return rc;
}

enum errc outside_judge(struct audit *a, const struct head *h, struct outside_view *out, err *e)
{
    struct arena arena;
    struct judging j = {.head = h, .origin = a->origin, .arena = &arena, .tiles = malloc(sizeof *j.tiles), .out = out};
    if (!j.tiles) return err_code(e, ERR_NO_MEMORY);
    arena_init(&arena, 64u << 10, 1024);
    enum errc rc = db_read(a->db, judge_unit, &j, e);
    arena_fini(&arena);
    free(j.tiles);
    return rc;
}

/* --- the file --- */

enum errc outside_write(struct audit *a, str note, err *e)
{
    char path[FILE_PATH_MAX];
    struct arena arena;
    struct buf keys;
    struct note_key *list;
    unsigned n = 0;
    arena_init(&arena, 256u << 10, 2048);
    buf_init(&keys, 256u << 10);
    enum errc rc = file_path(path, e, "%s/audit", a->data_dir);
    if (rc == ERR_NONE) rc = file_make_folder(path, e);
    if (rc == ERR_NONE) rc = audit_keys(a->setup.signing, &arena, str_c(a->origin), &list, &n, e);
    for (unsigned i = 0; i < n; i++) {
        vkey_put(&list[i], &keys);
        buf_add_char(&keys, '\n');
    }
    if (rc == ERR_NONE && keys.failed) rc = err_code(e, keys.failed);
    if (rc == ERR_NONE) rc = path_of(a, "keys", path, e);
    if (rc == ERR_NONE) rc = file_write(path, buf_str(&keys), e);
    if (rc == ERR_NONE) rc = path_of(a, "head", path, e);
    if (rc == ERR_NONE) rc = file_write(path, note, e);
    buf_fini(&keys);
    arena_fini(&arena);
    return rc;
}

struct following {
    struct arena *arena;
    struct audit_head head;
    bool has_head;
};

static enum errc newest_unit(struct tx *tx, void *ctx, err *e)
{
    struct following *f = ctx;
    enum errc rc = audit_head(tx, f->arena, &instance, &f->head, e);
    f->has_head = rc == ERR_NONE;
    return rc == ERR_NOT_FOUND || rc == ERR_CORRUPT ? ERR_NONE : rc; /* a damaged one is what sign.c tells of */
}

static void shut(struct audit *a, bool is_shut, const char *why)
{
    if (is_shut == a->is_shut) return;
    a->is_shut = is_shut;
    events_shut(a->setup.events, is_shut);
    if (a->alarm) stats_set(a->alarm, 0, is_shut);
    if (is_shut)
        log_event(LOG_ERROR, "audit_log_rolled_back", LOG_S("reason", str_c(why)));
    else
        log_event(LOG_WARN, "audit_log_accepted", LOG_S("by", S("accept-restore")));
}

enum errc outside_follow(struct audit *a, err *e)
{
    struct arena arena;
    struct outside_head file;
    struct outside_view view = {.holds = true};
    arena_init(&arena, 256u << 10, 2048);
    struct following f = {.arena = &arena};
    enum errc rc = db_read(a->db, newest_unit, &f, e);
    enum errc has_file = rc == ERR_NONE ? read_head(a, &arena, &file, e) : ERR_NOT_FOUND;
    if (rc == ERR_NONE && has_file != ERR_NONE && has_file != ERR_NOT_FOUND) rc = has_file;
    if (rc == ERR_NONE && has_file == ERR_NONE) rc = outside_judge(a, &file.head, &view, e);
    if (rc == ERR_NONE) shut(a, !view.holds, view.why);
    if (rc == ERR_NONE && view.holds && f.has_head &&
        (has_file != ERR_NONE || view.is_given_up || f.head.size > file.head.size || !str_eq(file.head.origin, f.head.origin)))
        rc = outside_write(a, f.head.note, e);
    arena_fini(&arena);
    return rc;
}
