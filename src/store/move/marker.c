/* marker.c - DIR/MOVED, by which no start goes on with SQLite files that were moved. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "store/files.h"
#include "store/move/internal.h"
#include "json/tree.h"

#define FILE_NAME "MOVED"
#define FORMAT 1
#define TEXT_MAX (1u << 20)

static enum errc read_text(const char *path, str text, struct arena *a, struct moved *out, err *e)
{
    struct json *root = NULL;
    if (json_parse(a, text, &root, NULL) != ERR_NONE || root->type != JSON_OBJECT)
        return err_set(e, ERR_CORRUPT, "%s is not what a move wrote", path);
    const struct json *id = json_get(root, S("move")), *state = json_get(root, S("state")),
                      *target = json_get(root, S("target")), *at = json_get(root, S("at"));
    if (!id || !uuid_parse(id->text, &out->id) || !state || !target || !at ||
        !time_parse(at->text, &out->at_us))
        return err_set(e, ERR_CORRUPT, "%s is not what a move wrote", path);
    out->is_done = str_eq(state->text, S("moved"));
    snprintf(out->target, sizeof out->target, "%.*s", STR(target->text));
    return ERR_NONE;
}

enum errc moved_read(const char *data_dir, struct moved *out, err *e)
{
    struct arena a;
    str text;
    char path[FILE_PATH_MAX];
    *out = (struct moved){0};
    arena_init(&a, 8 * TEXT_MAX, 0);
    enum errc rc = file_path(path, e, "%s/" FILE_NAME, data_dir);
    out->is_there = !rc && file_exists(path);
    if (out->is_there) rc = file_read(path, TEXT_MAX, &a, &text, e);
    if (!rc && out->is_there) rc = read_text(path, text, &a, out, e);
    arena_fini(&a);
    return rc;
}

enum errc moved_refuse(const char *data_dir, err *e)
{
    struct moved m;
    enum errc rc = moved_read(data_dir, &m, e);
    if (rc || !m.is_there) return rc;
    if (m.is_done)
        return err_set(e, ERR_CONFIG,
                       "the databases of %s were moved to %s: set database.url. (To go back to SQLite as it "
                       "was then, remove %s/" FILE_NAME ")",
                       data_dir, m.target, data_dir);
    return err_set(e, ERR_CONFIG,
                   "the databases of %s are being moved to PostgreSQL: run `catalyst migrate to-postgres` "
                   "again. (To stay with SQLite, remove "
                   "%s/" FILE_NAME ")",
                   data_dir, data_dir);
}

static void put_table(struct json_writer *w, const struct move_table *t)
{
    char hex[65];
    json_object(w);
    json_put_str(w, "database", str_c(db_names[t->db]));
    json_put_str(w, "table", str_c(t->name));
    json_put_int(w, "rows", t->n_rows);
    json_put_str(w, "sha256", hex_encode(t->hash, sizeof t->hash, hex));
    json_end(w);
}

enum errc moved_write(const char *data_dir, const struct moved *m, const struct move_report *report, err *e)
{
    struct buf text;
    struct json_writer w;
    char path[FILE_PATH_MAX], id[UUID_TEXT_LEN + 1], at[TIME_TEXT_LEN + 1];
    enum errc rc = file_path(path, e, "%s/" FILE_NAME, data_dir);
    if (rc) return rc;
    buf_init(&text, TEXT_MAX);
    json_writer_init(&w, &text);
    json_object(&w);
    json_put_int(&w, "format", FORMAT);
    json_put_str(&w, "move", uuid_format(&m->id, id));
    json_put_str(&w, "state", m->is_done ? S("moved") : S("moving"));
    json_put_str(&w, "target", str_c(m->target));
    json_put_str(&w, "at", time_format(m->at_us, at));
    if (report) {
        json_name(&w, S("tables"));
        json_array(&w);
        for (unsigned i = 0; i < report->n_tables; i++)
            put_table(&w, &report->tables[i]);
        json_end(&w);
    }
    json_end(&w);
    buf_add_char(&text, '\n');
    rc = buf_err(&text) ? err_code(e, buf_err(&text)) : file_write(path, buf_str(&text), e);
    buf_fini(&text);
    return rc ? rc : file_sync(data_dir, e);
}

enum errc moved_remove(const char *data_dir, err *e)
{
    char path[FILE_PATH_MAX];
    enum errc rc = file_path(path, e, "%s/" FILE_NAME, data_dir);
    if (rc) return rc;
    if (unlink(path) < 0 && errno != ENOENT) return err_errno(e, ERR_IO, errno, "removing %s", path);
    return file_sync(data_dir, e);
}
