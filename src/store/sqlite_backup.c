/* sqlite_backup.c - copies of SQLite's files, and putting them in place at once.
 *
 * A copy is one read of the whole file in one snapshot: writers go on meanwhile, their log only grows.
 * Restored files gather in DIR/db.new, which then takes the place of DIR/db in one rename.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "store/files.h"
#include "store/sqlite.h"

static enum errc copy_all(sqlite3 *from, sqlite3 *to, const char *path, err *e)
{
    sqlite3_backup *b = sqlite3_backup_init(to, "main", from, "main");
    if (!b) return sqlite_error(to, sqlite3_errcode(to), path, e);
    int rc = sqlite3_backup_step(b, -1);
    sqlite3_backup_finish(b);
    if (rc == SQLITE_DONE) return ERR_NONE;
    /* The message may be the one's or the other's. */
    return sqlite_error(sqlite3_errcode(to) != SQLITE_OK ? to : from, rc, path, e);
}

static enum errc back_up_one(struct db *db, const char *path, err *e)
{
    struct sqlite_conn from;
    sqlite3 *to = NULL;
    enum errc rc = sqlite_conn_open(&from, db, SQLITE_OPEN_READONLY, db->store->source.read_deadline_ms, e);
    if (rc) return rc;
    int result =
        sqlite3_open_v2(path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (result != SQLITE_OK) rc = sqlite_error(to, result, path, e);
    /* A new file that is thrown away when anything fails needs neither a journal nor a sync of each step. */
    if (!rc && sqlite3_exec(to, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF", NULL, NULL, NULL) !=
                   SQLITE_OK)
        rc = sqlite_error(to, sqlite3_errcode(to), path, e);
    if (!rc) rc = copy_all(from.db, to, path, e);
    sqlite3_close(to);
    sqlite_conn_close(&from);
    return rc ? rc : file_sync(path, e);
}

enum errc sqlite_backup(struct store *s, const char *const paths[DB_IDS], err *e)
{
    static const enum db_id order[] = {DB_USAGE, DB_MAIN, DB_PEOPLE};
    _Static_assert(LENGTH_OF(order) == DB_IDS, "every database is backed up");
    enum errc rc = ERR_NONE;
    for (unsigned i = 0; i < LENGTH_OF(order) && !rc; i++)
        rc = back_up_one(&s->dbs[order[i]], paths[order[i]], e);
    return rc;
}

/* --- restoring --- */

static bool has_databases(const struct store_source *source)
{
    char path[FILE_PATH_MAX];
    for (int id = 0; id < DB_IDS; id++)
        if (sqlite_path(source->data_dir, (enum db_id)id, path, NULL) == ERR_NONE && file_exists(path))
            return true;
    return false;
}

static enum errc restore_begin(const struct store_source *source, bool replaces, err *e)
{
    char path[FILE_PATH_MAX];
    if (!replaces && has_databases(source))
        return err_set(e, ERR_CONFLICT, "%s/db holds databases already", source->data_dir);
    enum errc rc = file_path(path, e, "%s/db.new", source->data_dir);
    if (!rc) rc = file_remove_tree(path, e); /* of one that was interrupted */
    return rc ? rc : file_make_folder(path, e);
}

static enum errc restore_one(const struct store_source *source, enum db_id id, const char *path, err *e)
{
    char to[FILE_PATH_MAX];
    enum errc rc = file_path(to, e, "%s/db.new/%s.db", source->data_dir, db_names[id]);
    return rc ? rc : file_copy(path, to, NULL, e);
}

static enum errc restore_end(const struct store_source *source, bool replaces, bool is_good, err *e)
{
    char new[FILE_PATH_MAX], old[FILE_PATH_MAX];
    enum errc rc = file_path(new, e, "%s/db.new", source->data_dir);
    if (!rc) rc = file_path(old, e, "%s/db", source->data_dir);
    if (!is_good) return rc ? rc : file_remove_tree(new, e);
    if (!rc) rc = file_sync(new, e);
    if (rc) return rc;
    if (replaces && file_exists(old)) {
        if (renameat2(AT_FDCWD, new, AT_FDCWD, old, RENAME_EXCHANGE) < 0)
            return err_errno(e, ERR_IO, errno, "exchanging %s and %s", new, old);
        rc = file_sync(source->data_dir, e);
        return rc ? rc : file_remove_tree(new, e);
    }
    if (rename(new, old) < 0) return err_errno(e, ERR_IO, errno, "renaming %s to %s", new, old);
    return file_sync(source->data_dir, e);
}

enum errc sqlite_restore(const struct store_source *source, const char *const paths[DB_IDS], bool replaces,
                         enum errc (*last)(void *ctx, err *e), void *ctx, err *e)
{
    err undo = {0};
    enum errc rc = restore_begin(source, replaces, e);
    if (rc) return rc;
    for (int id = 0; id < DB_IDS && !rc; id++)
        if (paths[id]) rc = restore_one(source, (enum db_id)id, paths[id], e);
    if (!rc) rc = last(ctx, e);
    if (!rc) rc = restore_end(source, replaces, true, e);
    if (rc && restore_end(source, replaces, false, &undo) != ERR_NONE)
        log_error(LOG_ERROR, "restore_not_undone", &undo);
    return rc;
}
