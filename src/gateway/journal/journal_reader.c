#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/crypto.h"
#include "gateway/journal/journal_folder.h"

#define LOOK_AGAIN 5 /* times that a frame which seems damaged is read again: its write may be under way */

/* One file of the journal and how far it was read. */
struct place {
    struct journal_place at; /* position 0: its header was not read yet */
    bool has_skipped;        /* a sound frame could not be decoded */
    int fd;                  /* when it is held open; -1 */
};

struct journal_reader {
    int dir;
    struct segment_scan scan;
    struct place *places; /* in the order of making */
    size_t n, cap;
};

enum errc journal_reader_open(struct journal_reader **out, const char *data_dir, err *e)
{
    *out = NULL;
    struct journal_reader *rd = calloc(1, sizeof *rd);
    if (!rd) return err_code(e, ERR_NO_MEMORY);
    enum errc rc = ERR_NONE;
    int data = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rd->dir = data < 0 ? -1 : openat(data, "journal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int failed = errno;
    if (data >= 0) close(data);
    if (rd->dir < 0 && failed == ENOENT)
        rc = err_set(e, ERR_NOT_FOUND, "there is no usage journal in %s", data_dir);
    else if (rd->dir < 0)
        rc = err_errno(e, ERR_IO, failed, "cannot open the usage journal in %s", data_dir);
    else
        rc = segment_scan_init(&rd->scan, e);
    if (rc) {
        journal_reader_free(rd);
        return rc;
    }
    *out = rd;
    return ERR_NONE;
}

void journal_reader_free(struct journal_reader *rd)
{
    if (!rd) return;
    if (rd->dir >= 0) close(rd->dir);
    for (size_t i = 0; i < rd->n; i++)
        if (rd->places[i].fd >= 0) close(rd->places[i].fd);
    segment_scan_fini(&rd->scan);
    free(rd->places);
    free(rd);
}

static int place_order(const void *a, const void *b)
{
    const struct journal_place *x = &((const struct place *)a)->at, *y = &((const struct place *)b)->at;
    if (x->boot != y->boot) return x->boot < y->boot ? -1 : 1;
    if (x->number != y->number) return x->number < y->number ? -1 : 1;
    return x->loop < y->loop ? -1 : x->loop > y->loop;
}

static enum errc add_place(struct journal_reader *rd, const struct journal_place *at, err *e)
{
    if (rd->n == rd->cap) {
        size_t cap = rd->cap ? 2 * rd->cap : 64;
        struct place *more = realloc(rd->places, cap * sizeof *more);
        if (!more) return err_code(e, ERR_NO_MEMORY);
        rd->places = more;
        rd->cap = cap;
    }
    rd->places[rd->n++] = (struct place){.at = *at, .fd = -1};
    return ERR_NONE;
}

enum errc journal_reader_begin_at(struct journal_reader *rd, const struct journal_place *places, size_t n, err *e)
{
    enum errc rc = ERR_NONE;
    size_t n_known = rd->n;
    for (size_t i = 0; i < n && !rc; i++) {
        struct place wanted = {.at = places[i]};
        struct place *known = n_known ? bsearch(&wanted, rd->places, n_known, sizeof wanted, place_order) : NULL;
        if (known)
            known->at = places[i];
        else
            rc = add_place(rd, &places[i], e);
    }
    if (rd->n > 1) qsort(rd->places, rd->n, sizeof *rd->places, place_order);
    return rc;
}

bool journal_reader_node(const struct journal_reader *rd, uint8_t node[16])
{
    char text[64];
    int fd = openat(rd->dir, NODE_FILE, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n = segment_read(fd, text, sizeof text, 0);
    close(fd);
    return n > 0 && hex_decode(str_trim(str_of(text, (size_t)n)), node, 16);
}

enum errc journal_reader_rewind(struct journal_reader *rd, const struct journal_place *places, size_t n, err *e)
{
    for (size_t i = 0; i < rd->n; i++)
        if (rd->places[i].fd >= 0) close(rd->places[i].fd);
    rd->n = 0;
    return journal_reader_begin_at(rd, places, n, e);
}

bool journal_reader_place(const struct journal_reader *rd, size_t i, struct journal_place *out)
{
    if (i >= rd->n) return false;
    *out = rd->places[i].at;
    return true;
}

/* Takes note of segments that are new. Those that are gone keep their place: it is small, and forgetting
 * one because a listing missed it would give its records twice. */
static enum errc list_segments(struct journal_reader *rd, err *e)
{
    int fd = openat(rd->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    if (!list) {
        enum errc rc = err_errno(e, ERR_IO, errno, "cannot list the usage journal");
        if (fd >= 0) close(fd);
        return rc;
    }
    enum errc rc = ERR_NONE;
    size_t n_known = rd->n;
    for (const struct dirent *entry; (entry = readdir(list)) != NULL;) {
        struct place p = {0};
        if (!segment_name_parse(str_c(entry->d_name), &p.at.boot, &p.at.number, &p.at.loop)) continue;
        if (n_known && bsearch(&p, rd->places, n_known, sizeof p, place_order)) continue;
        if ((rc = add_place(rd, &p.at, e))) break;
    }
    closedir(list);
    if (rd->n > 1) qsort(rd->places, rd->n, sizeof *rd->places, place_order);
    return rc;
}

/* The header of a segment that is read for the first time. False when there is none yet; *is_damaged when
 * there never will be. */
static bool read_header(struct place *p, int fd, bool *is_damaged, int *failed)
{
    uint8_t bytes[SEGMENT_HEADER_LEN];
    ssize_t n;
    do
        n = pread(fd, bytes, sizeof bytes, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        *failed = errno;
        return false;
    }
    static const uint8_t zeros[SEGMENT_HEADER_LEN];
    if (n < SEGMENT_HEADER_LEN || memcmp(bytes, zeros, sizeof zeros) == 0) return false;
    struct segment_header h;
    if (segment_header_parse((str){(const char *)bytes, sizeof bytes}, &h, NULL)) {
        *is_damaged = true;
        return false;
    }
    memcpy(p->at.node, h.node, sizeof p->at.node);
    p->at.position = h.header_len;
    return true;
}

/* Gives what is new in one open segment; false when on_frame wants no more. */
static bool read_segment(struct segment_scan *scan, struct place *p, int fd, journal_frame_fn on_frame,
                         void *ctx, bool *is_damaged)
{
    segment_scan_start(scan, fd, p->at.position);
    unsigned looks = 0;
    for (;;) {
        struct frame f;
        uint64_t at = p->at.position;
        enum frame_state state = segment_scan_next(scan, &f);
        if (state == FRAME_UNUSED) return true;
        if (state != FRAME_WHOLE) {
            if (++looks > LOOK_AGAIN) {
                *is_damaged = true;
                return true;
            }
            nanosleep(&(struct timespec){.tv_nsec = 200 * 1000}, NULL);
            segment_scan_start(scan, fd, p->at.position);
            continue;
        }
        looks = 0;
        p->at.position = scan->offset;
        uint64_t n_records;
        if (seal_parse(&f, at, &n_records)) {
            p->at.is_done = true;
            return true;
        }
        if (f.type != FRAME_CALL && f.type != FRAME_START) continue;
        struct usage_record r;
        if (usage_record_decode(f.payload, &r, NULL))
            p->has_skipped = true;
        else if (!on_frame(ctx, &p->at, (enum frame_type)f.type, &r))
            return false;
    }
}

/* The open file of a place; -1 when it is gone (is_done then), or with *rc. */
static int place_open(struct journal_reader *rd, struct place *p, enum errc *rc, err *e)
{
    char name[SEGMENT_NAME_LEN + 1];
    if (p->fd >= 0) return p->fd;
    segment_name_format(p->at.boot, p->at.number, p->at.loop, name);
    int fd = openat(rd->dir, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        p->at.is_done = true; /* removed since it was listed */
    else if (fd < 0)
        *rc = err_errno(e, ERR_IO, errno, "cannot open journal/%s", name);
    return fd;
}

enum errc journal_reader_hold(struct journal_reader *rd, err *e)
{
    enum errc rc = list_segments(rd, e);
    for (size_t i = 0; i < rd->n && !rc; i++)
        rd->places[i].fd = place_open(rd, &rd->places[i], &rc, e);
    return rc;
}

enum errc journal_read_frames(struct journal_reader *rd, journal_frame_fn on_frame, void *ctx, uint64_t *n_damaged, err *e)
{
    uint64_t damaged = 0;
    enum errc rc = list_segments(rd, e);
    bool goes_on = true;
    for (size_t i = 0; !rc && goes_on && i < rd->n; i++) {
        struct place *p = &rd->places[i];
        bool is_damaged = false;
        int failed = 0, fd = p->at.is_done ? -1 : place_open(rd, p, &rc, e);
        if (fd >= 0) {
            if (p->at.position > 0 || read_header(p, fd, &is_damaged, &failed)) {
                goes_on = read_segment(&rd->scan, p, fd, on_frame, ctx, &is_damaged);
                failed = rd->scan.failed;
            }
            if (failed) rc = err_errno(e, ERR_IO, failed, "cannot read segment %llu of the usage journal", (unsigned long long)p->at.number);
            if (p->fd < 0) close(fd);
        }
        if (!p->at.is_done) p->at.is_damaged = is_damaged;
        damaged += is_damaged || p->has_skipped;
    }
    if (n_damaged) *n_damaged = damaged;
    return rc;
}

struct record_reading {
    journal_record_fn on_record;
    void *ctx;
};

static bool give_record(void *ctx, const struct journal_place *place, enum frame_type type, const struct usage_record *r)
{
    const struct record_reading *x = ctx;
    return type != FRAME_CALL || x->on_record(x->ctx, place->node, r);
}

enum errc journal_read(struct journal_reader *rd, journal_record_fn on_record, void *ctx, uint64_t *n_damaged, err *e)
{
    struct record_reading x = {on_record, ctx};
    return journal_read_frames(rd, give_record, &x, n_damaged, e);
}

enum errc journal_reader_remove(struct journal_reader *rd, const struct journal_place *place, err *e)
{
    char name[SEGMENT_NAME_LEN + 1];
    segment_name_format(place->boot, place->number, place->loop, name);
    if (unlinkat(rd->dir, name, 0) != 0 && errno != ENOENT)
        return err_errno(e, ERR_IO, errno, "cannot remove journal/%s", name);
    for (size_t i = 0; i < rd->n; i++) {
        const struct journal_place *at = &rd->places[i].at;
        if (at->boot != place->boot || at->number != place->number || at->loop != place->loop) continue;
        if (rd->places[i].fd >= 0) close(rd->places[i].fd);
        memmove(&rd->places[i], &rd->places[i + 1], (rd->n - i - 1) * sizeof *rd->places);
        rd->n--;
        break;
    }
    return ERR_NONE;
}
