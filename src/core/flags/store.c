/* store.c - the rows of feature flags, and the snapshot that flag_bool reads. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/map.h"
#include "core/events.h"
#include "core/flags/internal.h"
#include "net/loop.h"

#define SNAPSHOT_LIMIT (256u << 20)
#define DEFINITION_MAX 8192

#define COLUMNS "name, id, definition, created_us, updated_us, version"
SQL(flags_of_workspace, DB_MAIN, 0, "u",
    "SELECT " COLUMNS " FROM flags WHERE workspace_id = $1 ORDER BY name");
SQL(flags_get, DB_MAIN, 0, "ut", "SELECT " COLUMNS " FROM flags WHERE workspace_id = $1 AND name = $2");
SQL(flags_insert, DB_MAIN, 0, "ututiii",
    "INSERT INTO flags (workspace_id, name, id, definition, created_us, updated_us, version) VALUES ($1, $2, "
    "$3, $4, $5, $6, $7)");
SQL(flags_update, DB_MAIN, 0, "tiiut",
    "UPDATE flags SET definition = $1, updated_us = $2, version = $3 WHERE workspace_id = $4 AND name = $5");
SQL(flags_delete, DB_MAIN, 0, "ut", "DELETE FROM flags WHERE workspace_id = $1 AND name = $2");
SQL(flags_everywhere, DB_MAIN, SQL_INSTANCE, "",
    "SELECT workspace_id, name, definition FROM flags ORDER BY workspace_id, name");

/* --- rows --- */

static enum errc read_row(struct arena *a, const struct val *row, struct flag_row *out, err *e)
{
    *out = (struct flag_row){.name = val_str(&row[0]),
                             .id = val_uuid(&row[1]),
                             .created_at = val_int(&row[3]),
                             .updated_at = val_int(&row[4]),
                             .version = val_int(&row[5])};
    return flag_read_definition(a, val_str(&row[2]), out, e);
}

enum errc flag_rows(struct tx *tx, struct arena *a, const uuid *workspace, struct flag_row **out, unsigned *n,
                    err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, a, &flags_of_workspace, PARAMS(v_uuid(workspace)), &rows, e);
    if (rc) return rc;
    *out = arena_news(a, struct flag_row, rows.n);
    if (!*out) return err_code(e, ERR_TOO_LARGE);
    *n = rows.n;
    for (unsigned i = 0; i < rows.n && !rc; i++)
        rc = read_row(a, row_at(&rows, i), &(*out)[i], e);
    return rc;
}

enum errc flag_row_get(struct tx *tx, struct arena *a, const uuid *workspace, str name, struct flag_row *out,
                       err *e)
{
    const struct val *row;
    enum errc rc = tx_query_row(tx, a, &flags_get, PARAMS(v_uuid(workspace), v_text(name)), &row, e);
    if (rc == ERR_NOT_FOUND)
        return err_set(e, rc, "there is no flag '%.*s'", STR(str_take(name, FLAG_NAME_MAX)));
    return rc ? rc : read_row(a, row, out, e);
}

enum errc flag_row_put(struct tx *tx, const uuid *workspace, const struct flag_row *row, bool is_new, err *e)
{
    struct buf text;
    struct json_writer w;
    buf_init(&text, DEFINITION_MAX);
    json_writer_init(&w, &text);
    flag_write_definition(row, &w);
    enum errc rc = buf_err(&text) ? err_code(e, buf_err(&text)) : ERR_NONE;
    if (!rc && is_new)
        rc = tx_exec(tx, &flags_insert,
                     PARAMS(v_uuid(workspace), v_text(row->name), v_uuid(&row->id), v_text(buf_str(&text)),
                            v_int(row->created_at), v_int(row->updated_at), v_int(row->version)),
                     NULL, e);
    else if (!rc)
        rc = tx_exec(tx, &flags_update,
                     PARAMS(v_text(buf_str(&text)), v_int(row->updated_at), v_int(row->version),
                            v_uuid(workspace), v_text(row->name)),
                     NULL, e);
    buf_fini(&text);
    return rc;
}

enum errc flag_row_delete(struct tx *tx, const uuid *workspace, str name, err *e)
{
    return tx_exec(tx, &flags_delete, PARAMS(v_uuid(workspace), v_text(name)), NULL, e);
}

/* --- the snapshot --- */

struct workspace_flags {
    uuid id;
    struct feature_flag *flags; /* by name */
    unsigned n;
};

struct snapshot {
    atomic_uint n_held;
    struct arena arena;
    struct map workspaces; /* id -> struct workspace_flags */
    usec read_us;          /* monotonic */
};

struct flags {
    struct store *store;
    pthread_mutex_t lock;    /* guards current */
    pthread_mutex_t reading; /* one thread reads the database at a time */
    struct snapshot *current;
};

static void let_go(struct snapshot *s)
{
    if (!s || --s->n_held > 0) return;
    map_fini(&s->workspaces);
    arena_fini(&s->arena);
    free(s);
}

static struct snapshot *held(struct flags *f)
{
    pthread_mutex_lock(&f->lock);
    struct snapshot *s = f->current;
    if (s) s->n_held++;
    pthread_mutex_unlock(&f->lock);
    return s;
}

struct reading {
    struct arena *arena;
    struct rows rows;
};

static enum errc read_everything(struct tx *tx, void *ctx, err *e)
{
    struct reading *r = ctx;
    return tx_query(tx, r->arena, &flags_everywhere, NULL, 0, &r->rows, e);
}

static enum errc fill(struct snapshot *s, const struct rows *rows, err *e)
{
    struct feature_flag *flags = arena_news(&s->arena, struct feature_flag, rows->n + 1);
    struct workspace_flags *w = NULL;
    if (!flags) return err_code(e, ERR_NO_MEMORY);
    for (unsigned i = 0; i < rows->n; i++) {
        const struct val *row = row_at(rows, i);
        uuid id = val_uuid(&row[0]);
        struct json *definition = NULL;
        if (!w || memcmp(&w->id, &id, sizeof id) != 0) {
            w = arena_new(&s->arena, struct workspace_flags);
            if (!w) return err_code(e, ERR_NO_MEMORY);
            *w = (struct workspace_flags){.id = id, .flags = &flags[i]};
            if (map_put(&s->workspaces, str_of((const char *)w->id.b, sizeof w->id.b), w))
                return err_code(e, ERR_NO_MEMORY);
        }
        err why = {0};
        struct feature_flag *flag = &w->flags[w->n];
        if (json_parse(&s->arena, val_str(&row[2]), &definition, &why) ||
            flag_parse(val_str(&row[1]), definition, flag, &why))
            *flag = (struct feature_flag){
                .name = val_str(&row[1])}; /* disabled: a rule of a newer release, perhaps */
        w->n++;
    }
    return ERR_NONE;
}

enum errc flags_refresh(struct flags *f, err *e)
{
    struct snapshot *s = calloc(1, sizeof *s);
    if (!s) return err_code(e, ERR_NO_MEMORY);
    s->n_held = 1;
    s->read_us = clock_mono_us();
    arena_init(&s->arena, SNAPSHOT_LIMIT, 4096);
    map_init(&s->workspaces);
    struct reading r = {.arena = &s->arena};
    enum errc rc = db_read(store_db(f->store, DB_MAIN), read_everything, &r, e);
    if (!rc) rc = fill(s, &r.rows, e);
    if (rc) {
        let_go(s);
        return rc;
    }
    pthread_mutex_lock(&f->lock);
    struct snapshot *old = f->current;
    f->current = s;
    pthread_mutex_unlock(&f->lock);
    let_go(old);
    return ERR_NONE;
}

static void see(void *ctx, const struct sealed_event *ev)
{
    err e = {0};
    (void)ev;
    if (flags_refresh(ctx, &e) != ERR_NONE) log_error(LOG_WARN, "flags_not_read", &e); /* soon by age */
}

void flags_watch(struct flags *f, struct events *log)
{
    events_watch(log, &(struct watcher){.types = "flag.*", .see = see, .ctx = f});
}

enum errc flags_new(struct flags **out, struct store *store, err *e)
{
    struct flags *f = calloc(1, sizeof *f);
    if (!f) return err_code(e, ERR_NO_MEMORY);
    f->store = store;
    pthread_mutex_init(&f->lock, NULL);
    pthread_mutex_init(&f->reading, NULL);
    enum errc rc = flags_refresh(f, e);
    if (rc)
        flags_free(f);
    else
        *out = f;
    return rc;
}

void flags_free(struct flags *f)
{
    if (!f) return;
    let_go(f->current);
    pthread_mutex_destroy(&f->lock);
    pthread_mutex_destroy(&f->reading);
    free(f);
}

/* Whoever finds the snapshot old reads it anew, one thread at a time; the others go on with what there is. */
static struct snapshot *recent(struct flags *f)
{
    struct snapshot *s = held(f);
    bool is_old = !s || clock_mono_us() - s->read_us > FLAGS_AGE_S * (usec)USEC_PER_S;
    if (!is_old || loop_is_here() || pthread_mutex_trylock(&f->reading) != 0) return s;
    err e = {0};
    if (flags_refresh(f, &e) != ERR_NONE) log_error(LOG_WARN, "flags_not_read", &e);
    pthread_mutex_unlock(&f->reading);
    let_go(s);
    return held(f);
}

static const struct workspace_flags *flags_of(const struct snapshot *s, const uuid *workspace)
{
    return s ? map_get(&s->workspaces, str_of((const char *)workspace->b, sizeof workspace->b)) : NULL;
}

bool flag_bool(struct flags *f, const char *name, const struct flag_context *c, bool fallback)
{
    struct snapshot *s = recent(f);
    const struct workspace_flags *w = flags_of(s, &c->workspace_id);
    bool value = fallback;
    for (unsigned i = 0; w && i < w->n; i++) {
        if (!str_eq(w->flags[i].name, str_c(name))) continue;
        struct arena a;
        arena_init(&a, 1 << 20, 1024);
        struct flag_result r = flag_evaluate(&a, &w->flags[i], c);
        if (!r.value || !json_bool(r.value, &value)) value = fallback;
        arena_fini(&a);
    }
    let_go(s);
    return value;
}

void flags_write_values(struct flags *f, struct arena *a, const struct flag_context *c, struct json_writer *w)
{
    struct snapshot *s = recent(f);
    const struct workspace_flags *all = flags_of(s, &c->workspace_id);
    json_object(w);
    for (unsigned i = 0; all && i < all->n; i++) {
        struct flag_result r = flag_evaluate(a, &all->flags[i], c);
        json_name(w, all->flags[i].name);
        if (r.value)
            json_put_tree(w, r.value);
        else
            json_null(w);
    }
    json_end(w);
    let_go(s);
}
