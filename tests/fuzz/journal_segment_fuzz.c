/* Any bytes as a segment file, read twice: as one piece of memory, and in pieces from a file. Both must find the same
 * frames. When the first byte is odd, checksums are put right first, so that mutations reach what lies behind them. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/crypto.h"
#include "gateway/journal/journal.h"
#include "gateway/journal/journal_segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void mend(uint8_t *bytes, size_t len)
{
    if (len < SEGMENT_HEADER_LEN)
        return;
    put_u32(bytes + 60, crc32c(0, bytes, 60));
    size_t at = get_u32(bytes + 12);
    while (at < len && len - at >= FRAME_HEADER_LEN) {
        uint32_t body = get_u32(bytes + at);
        if (body == 0 || body > len - at - 8)
            return;
        frame_finish(bytes + at, 8 + (size_t)body);
        at += 8 + (size_t)body;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    size_t len = size - 1;
    uint8_t *bytes = malloc(len ? len : 1);
    must(bytes != NULL);
    memcpy(bytes, data + 1, len);
    if (data[0] & 1)
        mend(bytes, len);
    str rest = {(const char *)bytes, len};
    struct segment_header h;
    err e = {0};
    if (segment_header_parse(rest, &h, &e)) {
        must(e.code == ERR_CORRUPT);
        free(bytes);
        return 0;
    }
    static int fd = -1;
    static struct segment_scan scan;
    if (fd < 0) {
        fd = memfd_create("segment", MFD_CLOEXEC);
        must(fd >= 0 && segment_scan_init(&scan, NULL) == ERR_NONE);
    }
    must(ftruncate(fd, 0) == 0 && segment_write(fd, bytes, len, 0) == 0);
    segment_scan_start(&scan, fd, h.header_len);

    uint64_t offset = h.header_len;
    rest = str_skip(rest, h.header_len);
    for (;;) {
        struct frame f, same;
        enum frame_state state = frame_parse(rest, &f);
        must(segment_scan_next(&scan, &same) == state && !scan.failed);
        if (state != FRAME_WHOLE)
            break;
        must(f.len >= FRAME_HEADER_LEN && f.len <= rest.len && f.len == same.len && f.type == same.type &&
             str_eq(f.payload, same.payload));
        uint64_t n_records;
        struct usage_record r;
        if (!seal_parse(&f, offset, &n_records) && f.type == FRAME_CALL &&
            usage_record_decode(f.payload, &r, NULL) == ERR_NONE)
            must(r.model.len <= USAGE_TEXT_MAX);
        offset += f.len;
        must(scan.offset == offset);
        rest = str_skip(rest, f.len);
    }
    free(bytes);
    return 0;
}
