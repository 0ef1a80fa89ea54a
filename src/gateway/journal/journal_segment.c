#include "gateway/journal/journal_segment.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/crypto.h"

#define MAGIC "catjrnl\n"
#define SCAN_BYTES (128u << 10)

void segment_name_format(uint64_t boot, uint64_t number, uint32_t loop, char out[SEGMENT_NAME_LEN + 1])
{
    snprintf(out, SEGMENT_NAME_LEN + 1, "%016" PRIx64 "-%08" PRIx64 "-%04" PRIx32 ".seg", boot,
             number & SEGMENT_NUMBER_MAX, loop & 0xffffu);
}

static bool take_hex(str *s, unsigned n_digits, char terminator, uint64_t *out)
{
    if (s->len < n_digits + 1u || s->p[n_digits] != terminator) return false;
    uint64_t v = 0;
    for (unsigned i = 0; i < n_digits; i++) {
        char c = s->p[i];
        if (c >= '0' && c <= '9')
            v = v << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            v = v << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *out = v;
    *s = str_skip(*s, n_digits + 1u);
    return true;
}

bool segment_name_parse(str name, uint64_t *boot, uint64_t *number, uint32_t *loop)
{
    uint64_t l;
    if (name.len != SEGMENT_NAME_LEN || !take_hex(&name, 16, '-', boot) || !take_hex(&name, 8, '-', number) ||
        !take_hex(&name, 4, '.', &l) || !str_eq(name, S("seg")))
        return false;
    *loop = (uint32_t)l;
    return true;
}

void segment_header_write(const struct segment_header *h, uint8_t out[SEGMENT_HEADER_LEN])
{
    memcpy(out, MAGIC, 8);
    put_u32(out + 8, SEGMENT_VERSION);
    put_u32(out + 12, SEGMENT_HEADER_LEN);
    memcpy(out + 16, h->node, 16);
    put_u64(out + 32, h->boot);
    put_u64(out + 40, h->number);
    put_u64(out + 48, (uint64_t)h->created_us);
    put_u32(out + 56, h->loop);
    put_u32(out + 60, crc32c(0, out, 60));
}

enum errc segment_header_parse(str bytes, struct segment_header *out, err *e)
{
    const uint8_t *p = (const uint8_t *)bytes.p;
    if (bytes.len < SEGMENT_HEADER_LEN || memcmp(p, MAGIC, 8) != 0)
        return err_set(e, ERR_CORRUPT, "no journal segment: it does not begin with a segment header");
    uint32_t version = get_u32(p + 8);
    if (version != SEGMENT_VERSION)
        return err_set(e, ERR_CORRUPT, "journal format %" PRIu32 "; this program knows format %d", version,
                       SEGMENT_VERSION);
    if (get_u32(p + 60) != crc32c(0, p, 60))
        return err_set(e, ERR_CORRUPT, "the segment header is damaged: its checksum does not hold");
    *out = (struct segment_header){
        .boot = get_u64(p + 32),
        .number = get_u64(p + 40),
        .created_us = (usec)get_u64(p + 48),
        .loop = get_u32(p + 56),
        .header_len = get_u32(p + 12),
    };
    memcpy(out->node, p + 16, 16);
    if (out->header_len < SEGMENT_HEADER_LEN || out->header_len > FRAME_LEN_MAX)
        return err_set(e, ERR_CORRUPT, "the segment header claims %" PRIu32 " bytes", out->header_len);
    return ERR_NONE;
}

static uint32_t frame_checksum(const uint8_t *frame, size_t len)
{
    return crc32c(crc32c(0, frame, 4), frame + 8, len - 8);
}

enum frame_state frame_parse(str bytes, struct frame *out)
{
    const uint8_t *p = (const uint8_t *)bytes.p;
    if (bytes.len == 0) return FRAME_UNUSED;
    if (bytes.len < 4) return FRAME_PARTIAL;
    uint32_t body = get_u32(p);
    if (body == 0) return FRAME_UNUSED;
    if (body > FRAME_LEN_MAX - 8) return FRAME_DAMAGED;
    size_t len = 8 + (size_t)body;
    if (bytes.len < len) return FRAME_PARTIAL;
    if (get_u32(p + 4) != frame_checksum(p, len)) return FRAME_DAMAGED;
    *out = (struct frame){
        .type = p[8],
        .payload = {bytes.p + FRAME_HEADER_LEN, len - FRAME_HEADER_LEN},
        .len = len,
    };
    return FRAME_WHOLE;
}

void frame_finish(uint8_t *frame, size_t len)
{
    put_u32(frame, (uint32_t)(len - 8));
    put_u32(frame + 4, frame_checksum(frame, len));
}

void seal_write(uint64_t n_records, uint64_t offset, uint8_t out[SEAL_LEN])
{
    out[8] = FRAME_SEAL;
    put_u64(out + FRAME_HEADER_LEN, n_records);
    put_u64(out + FRAME_HEADER_LEN + 8, offset);
    frame_finish(out, SEAL_LEN);
}

bool seal_parse(const struct frame *f, uint64_t offset, uint64_t *n_records)
{
    /* The offset inside tells a seal from bytes of a longer frame that only look like one. */
    const uint8_t *p = (const uint8_t *)f->payload.p;
    if (f->type != FRAME_SEAL || f->len != SEAL_LEN || get_u64(p + 8) != offset) return false;
    *n_records = get_u64(p);
    return true;
}

enum errc segment_scan_init(struct segment_scan *s, err *e)
{
    *s = (struct segment_scan){.fd = -1, .cap = SCAN_BYTES};
    s->bytes = malloc(s->cap);
    return s->bytes ? ERR_NONE : err_code(e, ERR_NO_MEMORY);
}

void segment_scan_fini(struct segment_scan *s)
{
    free(s->bytes);
    s->bytes = NULL;
}

void segment_scan_start(struct segment_scan *s, int fd, uint64_t offset)
{
    s->fd = fd;
    s->offset = offset;
    s->at = s->have = 0;
    s->failed = 0;
}

enum frame_state segment_scan_next(struct segment_scan *s, struct frame *out)
{
    for (;;) {
        str rest = {(const char *)s->bytes + s->at, s->have - s->at};
        enum frame_state state = frame_parse(rest, out);
        if (state == FRAME_WHOLE) {
            s->at += out->len;
            s->offset += out->len;
            return state;
        }
        if (state != FRAME_PARTIAL && rest.len > 0) return state;
        /* A frame is shorter than the buffer, so there is room for more once the rest has moved down. */
        memmove(s->bytes, s->bytes + s->at, rest.len);
        s->at = 0;
        s->have = rest.len;
        ssize_t n;
        do
            n = pread(s->fd, s->bytes + s->have, s->cap - s->have, (off_t)(s->offset + s->have));
        while (n < 0 && errno == EINTR);
        if (n < 0) {
            s->failed = errno;
            return FRAME_UNUSED;
        }
        if (n == 0) return state;
        s->have += (size_t)n;
    }
}

int segment_write(int fd, const void *data, size_t len, size_t offset)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n = pwrite(fd, p, len, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n < 0 ? errno : EIO;
        p += n;
        len -= (size_t)n;
        offset += (size_t)n;
    }
    return 0;
}

ssize_t segment_read(int fd, void *out, size_t len, off_t offset)
{
    size_t have = 0;
    while (have < len) {
        ssize_t n = pread(fd, (char *)out + have, len - have, offset + (off_t)have);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        if (n == 0) break;
        have += (size_t)n;
    }
    return (ssize_t)have;
}

int segment_seal(int fd, size_t keep, uint64_t n_records)
{
    if (ftruncate(fd, (off_t)keep) != 0 || fdatasync(fd) != 0) return errno;
    uint8_t seal[SEAL_LEN];
    seal_write(n_records, keep, seal);
    if (segment_write(fd, seal, sizeof seal, keep) != 0 && ftruncate(fd, (off_t)keep) != 0) return errno;
    return 0;
}
