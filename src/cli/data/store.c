#include "cli/data/store.h"

#include "core/settings.h"
#include "base/log.h"
#include "store/files.h"
#include "store/move.h"

#define CONFIG_ARENA_LIMIT (64u << 20)

enum errc cli_store_exists(const struct store_source *source, err *e)
{
    if (source->url.len) return ERR_NONE;
    enum errc rc = moved_refuse(source->data_dir, e);
    return rc ? rc : cli_sqlite_exists(source, e);
}

enum errc cli_sqlite_exists(const struct store_source *source, err *e)
{
    char path[FILE_PATH_MAX];
    enum errc rc = file_path(path, e, "%s/db/main.db", source->data_dir);
    if (rc || file_exists(path)) return rc;
    return err_set(e, ERR_NOT_FOUND,
                   "there are no databases in %s yet: the server makes them when it first starts",
                   source->data_dir);
}

enum errc cli_settings(const struct config *c, const char *data_dir, struct arena *a,
                       struct config_setting **out, unsigned *n, err *e)
{
    struct store_source source = backend_store_source(c, data_dir);
    struct store *store = NULL;
    *n = 0;
    source.migrates = false;
    if (cli_store_exists(&source, e)) return ERR_NONE;
    enum errc rc = store_open(&store, &source, e);
    if (!rc) rc = settings_read(store, NULL, a, out, n, NULL, e);
    store_close(store);
    return rc;
}

enum errc cli_open_store(const struct cli_app *app, const struct cli_args *args, struct store **out, err *e)
{
    struct arena a;
    struct config *config;
    *out = NULL;
    arena_init(&a, CONFIG_ARENA_LIMIT, 0);
    log_set_level(LOG_WARN);
    enum errc rc = cli_config(app, args, &a, &config, e);
    if (!rc) {
        struct store_source source = backend_store_source(config, cli_data_dir(args));
        source.migrates = false;
        source.takes_any_schema = true;
        if (cli_store_exists(&source, NULL) == ERR_NONE) rc = store_open(out, &source, e);
    }
    arena_fini(&a);
    return rc;
}

struct copying {
    const char *from, *to;
};

/* Segments in use are copied as they are: whatever opens them cuts a torn end, as after a crash. One that has been
 * drained and removed meanwhile is in the database, which is copied after this. */
static enum errc copy_segment(void *ctx, const char *inside, err *e)
{
    const struct copying *c = ctx;
    char from[FILE_PATH_MAX], to[FILE_PATH_MAX];
    bool is_gone;
    if (str_ends(str_c(inside), S(".new"))) return ERR_NONE;
    enum errc rc = file_path(from, e, "%s/%s", c->from, inside);
    if (!rc) rc = file_path(to, e, "%s/%s", c->to, inside);
    if (!rc) rc = file_make_parents(c->to, inside, e);
    return rc ? rc : file_copy(from, to, &is_gone, e);
}

enum errc cli_backup_journal(void *ctx, const char *to, err *e)
{
    char from[FILE_PATH_MAX], folder[FILE_PATH_MAX];
    enum errc rc = file_path(from, e, "%s/journal", (const char *)ctx);
    if (!rc) rc = file_path(folder, e, "%s/journal", to);
    if (rc || !file_exists(from)) return rc;
    struct copying c = {from, folder};
    rc = file_make_folder(folder, e);
    if (!rc) rc = file_walk(from, copy_segment, &c, e);
    return rc ? rc : file_sync(folder, e);
}
