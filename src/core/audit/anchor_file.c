/* anchor_file.c - a folder on another disk or machine (NFS, a mounted bucket): "head" is the newest head, "heads" all of them one behind the
 * other, segments/ the events. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/audit/anchor.h"
#include "store/files.h"

static enum errc open_folder(struct anchor *a, const struct config *c, const struct json *entry, err *e)
{
    struct arena arena;
    arena_init(&arena, 16384, 1024);
    const char *path = config_path(c, &arena, config_entry_text(c, entry, "audit.anchors[].path"));
    a->state = path ? strdup(path) : NULL;
    arena_fini(&arena);
    return a->state ? ERR_NONE : err_set(e, ERR_CONFIG, "a file anchor needs a path");
}

static void close_folder(struct anchor *a) { free(a->state); }

static enum errc append(const char *path, str text, err *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) return err_errno(e, ERR_IO, errno, "opening %s", path);
    enum errc rc = ERR_NONE;
    while (rc == ERR_NONE && text.len) {
        ssize_t n = write(fd, text.p, text.len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            rc = err_errno(e, ERR_IO, errno, "writing %s", path);
        else
            text = str_skip(text, (size_t)n);
    }
    if (rc == ERR_NONE && fsync(fd) < 0) rc = err_errno(e, ERR_IO, errno, "writing %s", path);
    close(fd);
    return rc;
}

static enum errc put_head(struct anchor *a, struct arena *arena, const struct audit_head *h, err *e)
{
    char path[FILE_PATH_MAX];
    str line = arena_printf(arena, "%.*s\n", STR(h->note));
    enum errc rc = line.p ? file_make_folder(a->state, e) : err_code(e, ERR_NO_MEMORY);
    if (rc == ERR_NONE) rc = file_path(path, e, "%s/heads", (const char *)a->state);
    if (rc == ERR_NONE) rc = append(path, line, e);
    if (rc == ERR_NONE) rc = file_path(path, e, "%s/head", (const char *)a->state);
    return rc == ERR_NONE ? file_write(path, h->note, e) : rc;
}

static enum errc put_segment(struct anchor *a, struct arena *arena, str name, str bytes, err *e)
{
    char path[FILE_PATH_MAX];
    (void)arena;
    enum errc rc = file_make_folder(a->state, e);
    if (rc == ERR_NONE) rc = file_path(path, e, "%s/segments", (const char *)a->state);
    if (rc == ERR_NONE) rc = file_make_folder(path, e);
    if (rc == ERR_NONE) rc = file_path(path, e, "%s/segments/%.*s", (const char *)a->state, STR(name));
    return rc == ERR_NONE ? file_write(path, bytes, e) : rc;
}

static enum errc newest(struct anchor *a, struct arena *arena, str *note, err *e)
{
    char path[FILE_PATH_MAX];
    enum errc rc = file_path(path, e, "%s/head", (const char *)a->state);
    return rc == ERR_NONE ? file_read(path, NOTE_MAX, arena, note, e) : rc;
}

const struct anchor_kind anchor_file = {"file", open_folder, close_folder, put_head, put_segment, newest};
