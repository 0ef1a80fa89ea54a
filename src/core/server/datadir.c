#include "core/datadir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_LEN 4096

static enum errc path_in(char out[PATH_LEN], const char *dir, const char *name, err *e)
{
    int n = snprintf(out, PATH_LEN, "%s/%s", dir, name);
    return n > 0 && n < PATH_LEN ? ERR_NONE : err_set(e, ERR_CONFIG, "the data folder's path is too long");
}

enum errc datadir_make(const char *dir, err *e)
{
    char path[PATH_LEN];
    size_t len = strlen(dir);
    if (len == 0 || len >= sizeof path)
        return err_set(e, ERR_CONFIG, "'%s' is not a path for a data folder", dir);
    for (size_t i = 1; i <= len; i++) {
        if (dir[i] != '/' && dir[i] != '\0')
            continue;
        memcpy(path, dir, i);
        path[i] = '\0';
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            return err_errno(e, ERR_IO, errno, "making the data folder %s", path);
    }
    return ERR_NONE;
}

/* Writes a small file so that it is there whole or not at all. */
static enum errc write_whole(const char *dir, const char *name, const char *text, err *e)
{
    char path[PATH_LEN], temporary[PATH_LEN];
    enum errc rc = path_in(path, dir, name, e);
    if (rc != ERR_NONE || (rc = path_in(temporary, dir, "VERSION.new", e)) != ERR_NONE)
        return rc;
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t len = strlen(text);
    if (fd < 0)
        return err_errno(e, ERR_IO, errno, "writing %s", temporary);
    bool is_written = write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;
    int number = errno;
    close(fd);
    if (!is_written || rename(temporary, path) < 0) {
        number = is_written ? errno : number;
        unlink(temporary);
        return err_errno(e, ERR_IO, number, "writing %s", path);
    }
    return ERR_NONE;
}

static enum errc check_version(const char *dir, err *e)
{
    char path[PATH_LEN], text[32];
    enum errc rc = path_in(path, dir, "VERSION", e);
    if (rc != ERR_NONE)
        return rc;
    FILE *f = fopen(path, "re");
    if (!f) {
        if (errno != ENOENT)
            return err_errno(e, ERR_IO, errno, "reading %s", path);
        snprintf(text, sizeof text, "%d\n", DATADIR_VERSION);
        return write_whole(dir, "VERSION", text, e);
    }
    uint64_t version = 0;
    bool is_read = fgets(text, sizeof text, f) != NULL && str_to_u64(str_trim(str_c(text)), &version);
    fclose(f);
    if (!is_read)
        return err_set(e, ERR_CORRUPT, "%s does not hold a version number", path);
    if (version > DATADIR_VERSION)
        return err_set(e, ERR_CONFIG, "the data folder %s was written by a newer release (format %llu, this one knows %d): upgrade Catalyst",
                       dir, (unsigned long long)version, DATADIR_VERSION);
    return ERR_NONE;
}

enum errc datadir_open(const char *dir, int *lock_fd, err *e)
{
    char path[PATH_LEN];
    enum errc rc = datadir_make(dir, e);
    if (rc == ERR_NONE)
        rc = path_in(path, dir, "lock", e);
    if (rc != ERR_NONE)
        return rc;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, ERR_IO, errno, "opening %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int number = errno;
        close(fd);
        if (number == EWOULDBLOCK)
            return err_set(e, ERR_BUSY, "the data folder %s is in use by another server", dir);
        return err_errno(e, ERR_IO, number, "locking %s", path);
    }
    rc = check_version(dir, e);
    if (rc != ERR_NONE) {
        close(fd);
        return rc;
    }
    *lock_fd = fd;
    return ERR_NONE;
}
