/* files.h - files of backups: copied durably, hashed, listed, removed.
 *
 * Paths are NUL-terminated and shorter than FILE_PATH_MAX (ERR_CONFIG when they would not be).
 * Errors: ERR_IO, ERR_DISK_FULL; they name the path.
 * Threads: any.
 */
#ifndef STORE_FILES_H
#define STORE_FILES_H

#include "base/arena.h"
#include "base/crypto.h"

#define FILE_PATH_MAX 4096

WARN_UNUSED enum errc file_path(char out[FILE_PATH_MAX], err *e, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Makes a folder (0700); one that is there already is fine. */
WARN_UNUSED enum errc file_make_folder(const char *path, err *e);
/* The folders above DIR/inside. */
WARN_UNUSED enum errc file_make_parents(const char *dir, const char *inside, err *e);
/* A new file (0600) with the same bytes, synced; ERR_CONFLICT when `to` is there. *is_gone (may be NULL): there was nothing to
 * copy, and that is no error. */
WARN_UNUSED enum errc file_copy(const char *from, const char *to, bool *is_gone, err *e);
/* A new file with this text, synced, there whole or not at all. */
WARN_UNUSED enum errc file_write(const char *path, str text, err *e);
/* The whole text with a NUL behind it, in the arena. ERR_NOT_FOUND. */
WARN_UNUSED enum errc file_read(const char *path, size_t max, struct arena *a, str *out, err *e);
WARN_UNUSED enum errc file_hash(const char *path, uint8_t hash[SHA256_LEN], uint64_t *size, err *e);
/* Syncs a file or a folder that was written by others. */
WARN_UNUSED enum errc file_sync(const char *path, err *e);
bool file_exists(const char *path);

/* Every regular file below dir, its path without dir, in no order. A result other than ERR_NONE ends the walk. */
typedef enum errc (*file_fn)(void *ctx, const char *inside, err *e);
WARN_UNUSED enum errc file_walk(const char *dir, file_fn fn, void *ctx, err *e);
/* The folder and all in it; nothing there is fine. */
WARN_UNUSED enum errc file_remove_tree(const char *dir, err *e);

#endif
