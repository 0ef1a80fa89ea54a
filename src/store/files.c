#include "store/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE (256u << 10)
#define DEPTH_MAX 16u /* of folders below the one that is walked */

enum errc file_path(char out[FILE_PATH_MAX], err *e, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(out, FILE_PATH_MAX, fmt, args);
    va_end(args);
    return n > 0 && n < FILE_PATH_MAX ? ERR_NONE : err_set(e, ERR_CONFIG, "a path is too long");
}

bool file_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

enum errc file_make_folder(const char *path, err *e)
{
    return mkdir(path, 0700) == 0 || errno == EEXIST
               ? ERR_NONE
               : err_errno(e, ERR_IO, errno, "making the folder %s", path);
}

enum errc file_make_parents(const char *dir, const char *inside, err *e)
{
    char path[FILE_PATH_MAX];
    enum errc rc = ERR_NONE;
    for (const char *slash = strchr(inside, '/'); slash && !rc; slash = strchr(slash + 1, '/')) {
        rc = file_path(path, e, "%s/%.*s", dir, (int)(slash - inside), inside);
        if (!rc) rc = file_make_folder(path, e);
    }
    return rc;
}

enum errc file_sync(const char *path, err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return err_errno(e, ERR_IO, errno, "opening %s", path);
    int rc = fsync(fd), number = errno;
    close(fd);
    return rc == 0 ? ERR_NONE : err_errno(e, ERR_IO, number, "syncing %s", path);
}

static bool write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return false;
        p += done;
        n -= (size_t)done;
    }
    return true;
}

static enum errc copy_bytes(int from, int to, const char *from_path, const char *to_path, err *e)
{
    char *piece = malloc(PIECE);
    enum errc rc = piece ? ERR_NONE : err_code(e, ERR_NO_MEMORY);
    while (!rc) {
        ssize_t n = read(from, piece, PIECE);
        if (n == 0) break;
        if (n < 0 && errno != EINTR) rc = err_errno(e, ERR_IO, errno, "reading %s", from_path);
        if (n > 0 && !write_all(to, piece, (size_t)n))
            rc = err_errno(e, ERR_IO, errno, "writing %s", to_path);
    }
    if (!rc && fsync(to) < 0) rc = err_errno(e, ERR_IO, errno, "syncing %s", to_path);
    free(piece);
    return rc;
}

enum errc file_copy(const char *from, const char *to, bool *is_gone, err *e)
{
    int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (is_gone) *is_gone = in < 0 && errno == ENOENT;
    if (in < 0) return is_gone && *is_gone ? ERR_NONE : err_errno(e, ERR_IO, errno, "opening %s", from);
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    enum errc rc;
    if (out < 0 && errno == EEXIST)
        rc = err_set(e, ERR_CONFLICT, "%s is there already", to);
    else if (out < 0)
        rc = err_errno(e, ERR_IO, errno, "making %s", to);
    else
        rc = copy_bytes(in, out, from, to, e);
    close(in);
    if (out >= 0) {
        close(out);
        if (rc) unlink(to);
    }
    return rc;
}

enum errc file_write(const char *path, str text, err *e)
{
    char temporary[FILE_PATH_MAX];
    enum errc rc = file_path(temporary, e, "%s.new", path);
    if (rc) return rc;
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return err_errno(e, ERR_IO, errno, "writing %s", temporary);
    bool is_written = write_all(fd, text.p, text.len) && fsync(fd) == 0;
    int number = errno;
    close(fd);
    if (is_written && rename(temporary, path) == 0) return ERR_NONE;
    if (is_written) number = errno;
    unlink(temporary);
    return err_errno(e, ERR_IO, number, "writing %s", path);
}

enum errc file_read(const char *path, size_t max, struct arena *a, str *out, err *e)
{
    FILE *f = fopen(path, "re");
    struct stat st;
    *out = (str){0};
    if (!f && errno == ENOENT) return err_set(e, ERR_NOT_FOUND, "there is no %s", path);
    if (!f) return err_errno(e, ERR_IO, errno, "opening %s", path);
    enum errc rc = ERR_NONE;
    char *p = NULL;
    if (fstat(fileno(f), &st) < 0 || !S_ISREG(st.st_mode))
        rc = err_set(e, ERR_IO, "%s is no file", path);
    else if ((uint64_t)st.st_size > max || !(p = arena_bytes(a, (size_t)st.st_size + 1)))
        rc = err_set(e, ERR_TOO_LARGE, "%s is larger than %zu bytes", path, max);
    else if (fread(p, 1, (size_t)st.st_size, f) != (size_t)st.st_size)
        rc = err_errno(e, ERR_IO, errno, "reading %s", path);
    fclose(f);
    if (rc) return rc;
    p[st.st_size] = '\0';
    *out = str_of(p, (size_t)st.st_size);
    return ERR_NONE;
}

enum errc file_hash(const char *path, uint8_t hash[SHA256_LEN], uint64_t *size, err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return err_errno(e, ERR_IO, errno, "opening %s", path);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    char *piece = malloc(PIECE);
    enum errc rc =
        md && piece && EVP_DigestInit_ex(md, EVP_sha256(), NULL) ? ERR_NONE : err_code(e, ERR_NO_MEMORY);
    *size = 0;
    while (!rc) {
        ssize_t n = read(fd, piece, PIECE);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) rc = err_errno(e, ERR_IO, errno, "reading %s", path);
        if (n <= 0) break;
        *size += (uint64_t)n;
        if (!EVP_DigestUpdate(md, piece, (size_t)n)) rc = err_code(e, ERR_INTERNAL);
    }
    if (!rc && !EVP_DigestFinal_ex(md, hash, NULL)) rc = err_code(e, ERR_INTERNAL);
    free(piece);
    EVP_MD_CTX_free(md);
    close(fd);
    return rc;
}

/* --- folders --- */

static enum errc walk(const char *dir, const char *inside, unsigned depth, file_fn fn, void *ctx, err *e);

static enum errc walk_entry(const char *dir, const char *inside, unsigned depth, file_fn fn, void *ctx,
                            err *e)
{
    char path[FILE_PATH_MAX];
    struct stat st;
    enum errc rc = file_path(path, e, "%s/%s", dir, inside);
    if (rc) return rc;
    if (lstat(path, &st) < 0) return err_errno(e, ERR_IO, errno, "looking at %s", path);
    if (S_ISREG(st.st_mode)) return fn(ctx, inside, e);
    if (S_ISDIR(st.st_mode)) return walk(dir, inside, depth + 1, fn, ctx, e);
    return err_set(e, ERR_INVALID, "%s is neither a file nor a folder", path);
}

static enum errc walk(const char *dir, const char *inside, unsigned depth, file_fn fn, void *ctx, err *e)
{
    char path[FILE_PATH_MAX];
    enum errc rc = file_path(path, e, "%s/%s", dir, inside);
    if (rc) return rc;
    if (depth > DEPTH_MAX) return err_set(e, ERR_TOO_LARGE, "the folders below %s are too deep", dir);
    DIR *d = opendir(path);
    if (!d) return err_errno(e, ERR_IO, errno, "opening the folder %s", path);
    for (struct dirent *entry; !rc && (entry = readdir(d));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        rc = file_path(path, e, "%s%s%s", inside, *inside ? "/" : "", entry->d_name);
        if (!rc) rc = walk_entry(dir, path, depth, fn, ctx, e);
    }
    closedir(d);
    return rc;
}

enum errc file_walk(const char *dir, file_fn fn, void *ctx, err *e) { return walk(dir, "", 0, fn, ctx, e); }

enum errc file_remove_tree(const char *dir, err *e)
{
    DIR *d = opendir(dir);
    enum errc rc = ERR_NONE;
    char path[FILE_PATH_MAX];
    struct stat st;
    if (!d) return errno == ENOENT ? ERR_NONE : err_errno(e, ERR_IO, errno, "opening the folder %s", dir);
    for (struct dirent *entry; !rc && (entry = readdir(d));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        rc = file_path(path, e, "%s/%s", dir, entry->d_name);
        if (rc) break;
        if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
            rc = file_remove_tree(path, e);
        else if (unlink(path) < 0)
            rc = err_errno(e, ERR_IO, errno, "removing %s", path);
    }
    closedir(d);
    if (!rc && rmdir(dir) < 0) rc = err_errno(e, ERR_IO, errno, "removing %s", dir);
    return rc;
}
