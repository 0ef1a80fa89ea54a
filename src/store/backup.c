/* backup.c - folders with a copy of everything and a manifest that proves it. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/version.h"
#include "store/engine.h"
#include "store/files.h"
#include "store/move.h"
#include "json/tree.h"

#define FORMAT 1
#define MANIFEST "manifest.json"
#define MANIFEST_MAX (64u << 20)
#define ARENA_MAX (512u << 20) /* of a manifest of that size as a tree */
#define PEOPLE "people"

SQL(get_schema, DB_MAIN, SQL_INSTANCE, "", "SELECT MAX(number) FROM schema_migrations");

static const char *folder_of(enum db_id id) { return id == DB_PEOPLE ? PEOPLE : "db"; }

/* --- the manifest --- */

struct manifest {
    const char *dir;
    bool is_of_people;
    struct json_writer w;
};

static bool is_of_people(const char *inside) { return strncmp(inside, PEOPLE "/", sizeof PEOPLE) == 0; }

static enum errc add_file(void *ctx, const char *inside, err *e)
{
    struct manifest *m = ctx;
    char path[FILE_PATH_MAX], hex[2 * SHA256_LEN + 1];
    uint8_t hash[SHA256_LEN];
    uint64_t size;
    if (!m->is_of_people && is_of_people(inside)) return ERR_NONE;
    enum errc rc = file_path(path, e, "%s/%s", m->dir, inside);
    if (!rc) rc = file_hash(path, hash, &size, e);
    if (rc) return rc;
    json_object(&m->w);
    json_put_str(&m->w, "path", str_c(inside));
    json_put_int(&m->w, "size", (int64_t)size);
    json_put_str(&m->w, "sha256", hex_encode(hash, sizeof hash, hex));
    json_end(&m->w);
    return ERR_NONE;
}

static enum errc schema_unit(struct tx *tx, void *ctx, err *e)
{
    struct arena a;
    const struct val *row;
    arena_init(&a, 64u << 10, 0);
    enum errc rc = tx_query_row(tx, &a, &get_schema, NULL, 0, &row, e);
    if (!rc) *(int64_t *)ctx = val_int(row);
    arena_fini(&a);
    return rc;
}

static enum errc write_manifest(struct store *s, const char *dir, const struct backup_more *more,
                                bool of_people, err *e)
{
    char path[FILE_PATH_MAX], time[TIME_TEXT_LEN + 1];
    struct buf text;
    struct manifest m = {.dir = dir, .is_of_people = of_people};
    int64_t schema = 0;
    enum errc rc = db_read(store_db(s, DB_MAIN), schema_unit, &schema, e);
    if (rc) return rc;
    buf_init(&text, MANIFEST_MAX);
    json_writer_init(&m.w, &text);
    json_object(&m.w);
    json_put_int(&m.w, "format", FORMAT);
    json_put_str(&m.w, "release", S(CATALYST_VERSION));
    json_put_str(&m.w, "made_at", time_format(clock_now_us(), time));
    json_put_str(&m.w, "engine", store_is_postgres(s) ? S("postgresql") : S("sqlite"));
    json_put_int(&m.w, "schema", schema);
    if (more && more->tell) rc = more->tell(more->ctx, &m.w, e);
    json_name(&m.w, S("files"));
    json_array(&m.w);
    if (!rc) rc = file_walk(dir, add_file, &m, e);
    json_end(&m.w);
    json_end(&m.w);
    buf_add_char(&text, '\n');
    if (!rc) rc = file_path(path, e, "%s/" MANIFEST, dir);
    if (!rc && buf_err(&text)) rc = err_code(e, buf_err(&text));
    if (!rc) rc = file_write(path, buf_str(&text), e);
    buf_fini(&text);
    return rc ? rc : file_sync(dir, e);
}

/* --- making one --- */

static enum errc make_empty_folder(const char *path, err *e)
{
    enum errc rc = file_make_folder(path, e);
    DIR *d = rc ? NULL : opendir(path);
    if (!rc && !d) return err_errno(e, ERR_IO, errno, "opening the folder %s", path);
    for (struct dirent *entry; d && !rc && (entry = readdir(d));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = err_set(e, ERR_CONFLICT, "the folder %s is not empty", path);
    if (d) closedir(d);
    return rc;
}

static enum errc back_up_databases(struct store *s, const char *to, err *e)
{
    char texts[DB_IDS][FILE_PATH_MAX], folder[FILE_PATH_MAX];
    const char *paths[DB_IDS];
    enum errc rc = ERR_NONE;
    for (int id = 0; id < DB_IDS && !rc; id++) {
        paths[id] = texts[id];
        rc = file_path(folder, e, "%s/%s", to, folder_of((enum db_id)id));
        if (!rc) rc = file_make_folder(folder, e);
        if (!rc) rc = file_path(texts[id], e, "%s/%s.%s", folder, db_names[id], s->engine->ending);
    }
    if (!rc) rc = s->engine->backup(s, paths, e);
    for (int id = 0; id < DB_IDS && !rc; id++) {
        rc = file_path(folder, e, "%s/%s", to, folder_of((enum db_id)id));
        if (!rc) rc = file_sync(folder, e);
    }
    return rc;
}

enum errc store_backup(struct store *s, const char *to, const struct backup_more *more, err *e)
{
    char people[FILE_PATH_MAX];
    enum errc rc = make_empty_folder(to, e);
    if (!rc && more) rc = more->copy(more->ctx, to, e);
    if (!rc) rc = back_up_databases(s, to, e);
    if (!rc) rc = file_path(people, e, "%s/" PEOPLE, to);
    if (!rc) rc = write_manifest(s, people, NULL, true, e);
    return rc ? rc : write_manifest(s, to, more, false, e);
}

enum errc store_backup_here(struct store *s, const char *why, struct arena *a, const char **out, err *e)
{
    char time[TIME_TEXT_LEN + 1], compact[20], path[FILE_PATH_MAX];
    size_t n = 0;
    time_format(clock_now_us(), time);
    for (const char *p = time; *p && *p != '.'; p++) /* 20261124T221500 */
        if (*p != '-' && *p != ':') compact[n++] = *p;
    compact[n] = '\0';
    enum errc rc = file_path(path, e, "%s/backups", s->source.data_dir);
    if (!rc) rc = file_make_folder(path, e);
    for (unsigned i = 0; !rc; i++) { /* two within a second */
        char suffix[16] = "";
        if (i) snprintf(suffix, sizeof suffix, "-%u", i + 1);
        rc = file_path(path, e, "%s/backups/%sZ-%s%s", s->source.data_dir, compact, why, suffix);
        if (!file_exists(path)) break;
    }
    if (!rc && (rc = store_backup(s, path, NULL, e)) != ERR_NONE && file_remove_tree(path, NULL) != ERR_NONE)
        log_event(LOG_WARN, "half_backup_left", LOG_S("path", str_c(path)));
    *out = rc ? NULL : str_to_c(a, str_c(path));
    return rc || *out ? rc : err_code(e, ERR_NO_MEMORY);
}

/* --- reading one --- */

/* Relative, without a way out of the folder. */
static bool is_safe(str path)
{
    if (!path.len || memchr(path.p, 0, path.len)) return false;
    while (path.p && path.len) {
        str part = str_cut(&path, '/');
        if (!part.len || str_eq(part, S(".")) || str_eq(part, S(".."))) return false;
    }
    return true;
}

static enum errc check_file(const char *dir, const struct json *file, struct arena *a, const char **inside,
                            err *e)
{
    const struct json *path = json_get(file, S("path")), *size = json_get(file, S("size")),
                      *hash = json_get(file, S("sha256"));
    uint8_t want[SHA256_LEN], have[SHA256_LEN];
    int64_t want_size;
    uint64_t have_size;
    char full[FILE_PATH_MAX];
    if (!path || path->type != JSON_STRING || !is_safe(path->text) || !json_i64(size, &want_size) || !hash ||
        !hex_decode(hash->text, want, sizeof want))
        return err_set(e, ERR_CORRUPT, "%s/" MANIFEST " is not a manifest", dir);
    *inside = str_to_c(a, path->text);
    if (!*inside) return err_code(e, ERR_NO_MEMORY);
    enum errc rc = file_path(full, e, "%s/%s", dir, *inside);
    if (!rc && !file_exists(full))
        return err_set(e, ERR_CORRUPT, "%s is missing, which the manifest names", full);
    if (!rc) rc = file_hash(full, have, &have_size, e);
    if (rc) return rc;
    if (have_size != (uint64_t)want_size || memcmp(want, have, sizeof want) != 0)
        return err_set(e, ERR_CORRUPT,
                       "%s is not the file that the manifest names: its size or SHA-256 differs", full);
    return ERR_NONE;
}

struct backup {
    struct arena a;
    const char *dir;
    const char **files; /* inside dir */
    unsigned n;
    bool has_people;
};

/* Reads a manifest and checks its files; their paths are appended with `prefix`. */
static enum errc read_manifest(struct backup *b, const char *dir, const char *prefix, bool is_postgres,
                               err *e)
{
    char path[FILE_PATH_MAX];
    str text;
    struct json *root = NULL;
    int64_t format = 0;
    enum errc rc = file_path(path, e, "%s/" MANIFEST, dir);
    if (!rc) rc = file_read(path, MANIFEST_MAX, &b->a, &text, e);
    if (rc == ERR_NOT_FOUND) return err_set(e, ERR_NOT_FOUND, "%s is not a backup: it has no " MANIFEST, dir);
    if (!rc && json_parse(&b->a, text, &root, NULL) != ERR_NONE)
        rc = err_set(e, ERR_CORRUPT, "%s is not JSON", path);
    if (rc) return rc;
    const struct json *engine = json_get(root, S("engine")), *files = json_get(root, S("files"));
    if (!json_i64(json_get(root, S("format")), &format) || !engine || !files || files->type != JSON_ARRAY)
        return err_set(e, ERR_CORRUPT, "%s is not a manifest", path);
    if (format > FORMAT)
        return err_set(e, ERR_CONFIG,
                       "the backup was made by a newer release (format %lld): upgrade Catalyst",
                       (long long)format);
    if (str_eq(engine->text, S("postgresql")) != is_postgres)
        return err_set(e, ERR_CONFIG, "the backup is of %.*s, the configuration names %s", STR(engine->text),
                       is_postgres ? "PostgreSQL" : "SQLite");
    const char **all = arena_news(&b->a, const char *, b->n + files->n);
    if (!all) return err_code(e, ERR_TOO_LARGE);
    if (b->n) memcpy(all, b->files, b->n * sizeof *all);
    b->files = all;
    for (const struct json *file = files->child; file && !rc; file = file->next) {
        const char *inside = "";
        rc = check_file(dir, file, &b->a, &inside, e);
        str full = rc ? (str){0} : arena_printf(&b->a, "%s%s", prefix, inside);
        if (!rc && !full.p) rc = err_code(e, ERR_TOO_LARGE);
        if (!rc) b->files[b->n++] = full.p;
    }
    return rc;
}

static enum errc read_backup(struct backup *b, const char *from, bool is_postgres, err *e)
{
    char people[FILE_PATH_MAX];
    b->dir = from;
    enum errc rc = read_manifest(b, from, "", is_postgres, e);
    if (!rc) rc = file_path(people, e, "%s/" PEOPLE, from);
    b->has_people = !rc && file_exists(people);
    return rc || !b->has_people ? rc : read_manifest(b, people, PEOPLE "/", is_postgres, e);
}

/* --- putting one in --- */

/* Which database the file is; DB_IDS: none. */
static enum db_id database_of(const char *inside, const struct engine *engine)
{
    char name[64];
    for (int id = 0; id < DB_IDS; id++) {
        snprintf(name, sizeof name, "%s/%s.%s", folder_of((enum db_id)id), db_names[id], engine->ending);
        if (strcmp(inside, name) == 0) return (enum db_id)id;
    }
    return DB_IDS;
}

static enum errc put_other(const struct backup *b, const struct store_source *source, unsigned i, err *e)
{
    char from[FILE_PATH_MAX], to[FILE_PATH_MAX];
    if (database_of(b->files[i], engine_of(source)) != DB_IDS || is_of_people(b->files[i])) return ERR_NONE;
    enum errc rc = file_path(from, e, "%s/%s", b->dir, b->files[i]);
    if (!rc) rc = file_path(to, e, "%s/%s", source->data_dir, b->files[i]);
    if (!rc) rc = file_make_parents(source->data_dir, b->files[i], e);
    return rc ? rc : file_copy(from, to, NULL, e);
}

static void take_others_away(const struct backup *b, const struct store_source *source, unsigned n)
{
    char path[FILE_PATH_MAX];
    for (unsigned i = 0; i < n; i++)
        if (database_of(b->files[i], engine_of(source)) == DB_IDS && !is_of_people(b->files[i]) &&
            file_path(path, NULL, "%s/%s", source->data_dir, b->files[i]) == ERR_NONE)
            remove(path);
}

struct putting {
    const struct backup *b;
    const struct store_source *source;
    bool replaces;
    unsigned n_others; /* files that were looked at */
};

static enum errc put_others(void *ctx, err *e)
{
    struct putting *p = ctx;
    enum errc rc = ERR_NONE;
    for (; p->n_others < p->b->n && !rc && !p->replaces; p->n_others++)
        if ((rc = put_other(p->b, p->source, p->n_others, e)) != ERR_NONE) break;
    return rc;
}

static enum errc put_all(struct backup *b, const struct store_source *source, bool replaces, err *e)
{
    const struct engine *engine = engine_of(source);
    const char *paths[DB_IDS] = {NULL};
    struct putting p = {.b = b, .source = source, .replaces = replaces};
    for (unsigned i = 0; i < b->n; i++) {
        enum db_id id = database_of(b->files[i], engine);
        if (id == DB_IDS) continue;
        paths[id] = arena_printf(&b->a, "%s/%s", b->dir, b->files[i]).p;
        if (!paths[id]) return err_code(e, ERR_NO_MEMORY);
    }
    enum errc rc = engine->restore(source, paths, replaces, put_others, &p, e);
    if (rc) take_others_away(b, source, p.n_others);
    return rc;
}

static enum errc restore(const char *from, const struct store_source *source, bool replaces, err *e)
{
    struct backup b = {0};
    struct store_source own = *source;
    arena_init(&b.a, ARENA_MAX, 0);
    own.url = str_c(source->url.len ? str_to_c(&b.a, source->url) : NULL); /* libpq wants its NUL */
    enum errc rc = own.url.len == source->url.len ? ERR_NONE : err_code(e, ERR_NO_MEMORY);
    if (!rc && !own.url.len) rc = moved_refuse(source->data_dir, e);
    if (!rc) rc = read_backup(&b, from, own.url.len > 0, e);
    if (!rc && !b.has_people) log_event(LOG_WARN, "backup_without_people", LOG_S("path", str_c(from)));
    if (!rc) rc = put_all(&b, &own, replaces, e);
    if (own.url.len) explicit_bzero((char *)own.url.p, own.url.len);
    arena_fini(&b.a);
    return rc;
}

enum errc store_restore(const char *from, const struct store_source *source, err *e)
{
    return restore(from, source, false, e);
}

/* --- undoing migrations --- */

/* 20261124T221500Z-before-0003_identity */
static bool is_migration_backup(str name)
{
    ptrdiff_t at = str_find(name, S("Z-before-"));
    str rest = at < 0 ? (str){0} : str_skip(name, (size_t)at + 9);
    uint64_t number;
    return rest.len > 5 && str_to_u64(str_take(rest, 4), &number) && rest.p[4] == '_';
}

enum errc store_migration_backup(const char *data_dir, struct arena *a, const char **out, err *e)
{
    char path[FILE_PATH_MAX], last[256] = "";
    enum errc rc = file_path(path, e, "%s/backups", data_dir);
    if (rc) return rc;
    DIR *d = opendir(path);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        char manifest[FILE_PATH_MAX];
        if (is_migration_backup(str_c(entry->d_name)) && strcmp(entry->d_name, last) > 0 &&
            file_path(manifest, NULL, "%s/%s/" MANIFEST, path, entry->d_name) == ERR_NONE &&
            file_exists(manifest))
            snprintf(last, sizeof last, "%s", entry->d_name);
    }
    if (d) closedir(d);
    if (!*last) return err_set(e, ERR_NOT_FOUND, "no migration has made a backup in %s", path);
    *out = arena_printf(a, "%s/%s", path, last).p;
    return *out ? ERR_NONE : err_code(e, ERR_NO_MEMORY);
}

enum errc store_rollback(const char *from, const struct store_source *source, struct arena *a,
                         const char **saved, err *e)
{
    struct store_source as_it_is = *source;
    struct store *s;
    as_it_is.takes_any_schema = true;
    enum errc rc = store_open(&s, &as_it_is, e);
    if (rc) return rc;
    rc = store_backup_here(s, "before-rollback", a, saved, e);
    store_close(s);
    return rc ? rc : restore(from, source, true, e);
}
