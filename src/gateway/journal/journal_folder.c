#include "gateway/journal/journal_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/log.h"
#include "gateway/journal/journal_segment.h"

#define BOOT_FILE "boot"

/* Puts a whole file in place of the old one: either content survives a crash, never a mixture. */
static enum errc file_replace(int dir, const char *name, str content, err *e)
{
    char temp[64];
    snprintf(temp, sizeof temp, "%s" NEW_SUFFIX, name);
    int fd = openat(dir, temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return err_errno(e, ERR_IO, errno, "cannot create journal/%s", temp);
    int failed = segment_write(fd, content.p, content.len, 0);
    if (!failed && fsync(fd) != 0) failed = errno;
    close(fd);
    if (!failed && (renameat(dir, temp, dir, name) != 0 || fsync(dir) != 0)) failed = errno;
    if (failed) {
        unlinkat(dir, temp, 0);
        return err_errno(e, ERR_IO, failed, "cannot write journal/%s", name);
    }
    return ERR_NONE;
}

/* The content of a small text file without its end of line; *is_there is false when there is none. */
static enum errc file_load(int dir, const char *name, char *out, size_t cap, str *content, bool *is_there,
                           err *e)
{
    *is_there = false;
    *content = (str){out, 0};
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOENT) return ERR_NONE;
        return err_errno(e, ERR_IO, errno, "cannot open journal/%s", name);
    }
    ssize_t n = segment_read(fd, out, cap, 0);
    int failed = errno;
    close(fd);
    if (n < 0) return err_errno(e, ERR_IO, failed, "cannot read journal/%s", name);
    *content = str_trim((str){out, (size_t)n});
    *is_there = true;
    return ERR_NONE;
}

enum errc folder_open(const char *data_dir, int *out, err *e)
{
    int parent = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0) return err_errno(e, ERR_IO, errno, "cannot open the data folder %s", data_dir);
    enum errc rc = ERR_NONE;
    int dir = -1;
    if (mkdirat(parent, "journal", 0700) == 0) {
        if (fsync(parent) != 0) rc = err_errno(e, ERR_IO, errno, "cannot sync the data folder %s", data_dir);
    } else if (errno != EEXIST) {
        rc = err_errno(e, ERR_IO, errno, "cannot create %s/journal", data_dir);
    }
    if (!rc) {
        dir = openat(parent, "journal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0) rc = err_errno(e, ERR_IO, errno, "cannot open %s/journal", data_dir);
    }
    close(parent);
    *out = dir;
    return rc;
}

enum errc folder_node(int dir, uint8_t node[16], err *e)
{
    char text[64];
    str content;
    bool is_there;
    enum errc rc = file_load(dir, NODE_FILE, text, sizeof text, &content, &is_there, e);
    if (rc) return rc;
    if (is_there) {
        if (!hex_decode(content, node, 16))
            return err_set(e, ERR_CORRUPT, "journal/" NODE_FILE " should hold 32 hex digits");
        return ERR_NONE;
    }
    random_bytes(node, 16);
    char hex[34];
    hex_encode(node, 16, hex);
    hex[32] = '\n';
    return file_replace(dir, NODE_FILE, (str){hex, 33}, e);
}

enum errc folder_boot(int dir, uint64_t last_of_segments, uint64_t *boot, err *e)
{
    char text[32];
    str content;
    bool is_there;
    enum errc rc = file_load(dir, BOOT_FILE, text, sizeof text, &content, &is_there, e);
    if (rc) return rc;
    uint64_t last = 0;
    if (is_there && !str_to_u64(content, &last))
        return err_set(e, ERR_CORRUPT, "journal/" BOOT_FILE " should hold a number");
    *boot = (last > last_of_segments ? last : last_of_segments) + 1;
    int n = snprintf(text, sizeof text, "%" PRIu64 "\n", *boot);
    return file_replace(dir, BOOT_FILE, (str){text, (size_t)n}, e);
}

/* Where the last byte that is not zero stands, from `from` on: its offset + 1, or `from` if all are zero. */
static enum errc last_used_byte(int fd, size_t from, size_t size, uint8_t *bytes, size_t cap, size_t *out)
{
    *out = from;
    for (size_t at = from; at < size;) {
        /* Preallocated space that was never written is a hole to SEEK_DATA on most file systems: no need
         * to read it. */
        off_t data = lseek(fd, (off_t)at, SEEK_DATA);
        if (data < 0 && errno == ENXIO) return ERR_NONE;
        if (data > (off_t)at) at = (size_t)data;
        ssize_t n = segment_read(fd, bytes, cap, (off_t)at);
        if (n < 0) return ERR_IO;
        if (n == 0) return ERR_NONE;
        for (size_t i = (size_t)n; i > 0; i--) {
            if (bytes[i - 1] != 0) {
                *out = at + i;
                break;
            }
        }
        at += (size_t)n;
    }
    return ERR_NONE;
}

static bool is_sealed(int fd, size_t size, uint64_t *n_records)
{
    uint8_t bytes[SEAL_LEN];
    struct frame f;
    if (size < SEGMENT_HEADER_LEN + SEAL_LEN ||
        segment_read(fd, bytes, sizeof bytes, (off_t)(size - SEAL_LEN)) != SEAL_LEN)
        return false;
    return frame_parse((str){(const char *)bytes, sizeof bytes}, &f) == FRAME_WHOLE &&
           seal_parse(&f, size - SEAL_LEN, n_records);
}

static enum errc segment_recover(int dir, const char *name, struct segment_scan *scan,
                                 struct journal_recovery *found, err *e)
{
    int fd = openat(dir, name, O_RDWR | O_CLOEXEC);
    if (fd < 0) return err_errno(e, ERR_IO, errno, "cannot open journal/%s", name);
    enum errc rc = ERR_NONE;
    struct stat st;
    uint8_t header[SEGMENT_HEADER_LEN] = {0};
    ssize_t n = -1;
    if (fstat(fd, &st) == 0) n = segment_read(fd, header, sizeof header, 0);
    if (n < 0) {
        rc = err_errno(e, ERR_IO, errno, "cannot read journal/%s", name);
        goto out;
    }
    size_t size = (size_t)st.st_size, good = 0, used = 0;
    uint64_t n_records = 0;
    static const uint8_t zeros[SEGMENT_HEADER_LEN];
    if (n == SEGMENT_HEADER_LEN && memcmp(header, zeros, sizeof zeros) != 0) {
        struct segment_header h;
        rc = segment_header_parse((str){(const char *)header, sizeof header}, &h, e);
        if (rc) {
            err_prefix(e, "journal/%s", name);
            goto out;
        }
        if (is_sealed(fd, size, &n_records)) {
            found->segments++;
            found->records += n_records;
            goto out;
        }
        struct frame f;
        segment_scan_start(scan, fd, h.header_len);
        while (segment_scan_next(scan, &f) == FRAME_WHOLE && f.type != FRAME_SEAL) {
            good = (size_t)scan->offset;
            n_records += f.type == FRAME_CALL;
        }
        if (scan->failed) {
            rc = err_errno(e, ERR_IO, scan->failed, "cannot read journal/%s", name);
            goto out;
        }
        if (good == 0) used = h.header_len;
    }
    size_t begin = good ? good : used;
    if (last_used_byte(fd, begin, size, scan->bytes, scan->cap, &used)) {
        rc = err_errno(e, ERR_IO, errno, "cannot read journal/%s", name);
        goto out;
    }
    if (used > begin) {
        found->torn_segments++;
        found->torn_bytes += used - begin;
        log_event(LOG_WARN, "journal_tail_cut", LOG_S("file", str_c(name)), LOG_I("kept_records", n_records),
                  LOG_I("cut_bytes", used - begin));
    }
    int failed = 0;
    if (good > 0) {
        found->segments++;
        found->records += n_records;
        failed = segment_seal(fd, good, n_records);
    } else if (unlinkat(dir, name, 0) != 0) {
        failed = errno;
    }
    if (failed) rc = err_errno(e, ERR_IO, failed, "cannot cut journal/%s", name);
out:
    close(fd);
    return rc;
}

enum errc folder_recover(int dir, struct journal_recovery *found, uint64_t *last_boot, err *e)
{
    struct segment_scan scan;
    enum errc rc = segment_scan_init(&scan, e);
    if (rc) return rc;
    int list_fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = list_fd < 0 ? NULL : fdopendir(list_fd);
    if (!list) {
        rc = err_errno(e, ERR_IO, errno, "cannot list the journal");
        if (list_fd >= 0) close(list_fd);
        goto out;
    }
    for (const struct dirent *entry; !rc && (entry = readdir(list)) != NULL;) {
        str name = str_c(entry->d_name);
        uint64_t boot, number;
        uint32_t loop;
        if (str_ends(name, S(NEW_SUFFIX))) {
            unlinkat(dir, entry->d_name, 0); /* was being made when the process died */
        } else if (segment_name_parse(name, &boot, &number, &loop)) {
            if (boot > *last_boot) *last_boot = boot;
            rc = segment_recover(dir, entry->d_name, &scan, found, e);
        }
    }
    closedir(list);
out:
    segment_scan_fini(&scan);
    return rc;
}
