/* journal_segment.h - the bytes of a journal segment: its name, its header, its frames and its seal.
 *
 * All numbers are little endian. A segment file is
 *
 *   header   magic[8], version u32, header length u32, node[16], boot u64, number u64, created_us i64,
 *            loop u32, crc32c u32 of everything before it
 *   frames   length u32 (of what follows the checksum, never 0), crc32c u32 (of the length and of what
 *            follows the checksum), type u8, payload
 *   seal     a frame of type FRAME_SEAL, the last bytes of a segment that was finished in order; a segment
 *            that is sealed needs no scan when the journal is opened
 *   or       zeros: preallocated and not used yet
 *
 * A frame counts only when its checksum holds. Frames of a type that the reader does not know are skipped.
 * Threads: pure functions, but for struct segment_scan, which has one owner.
 */
#ifndef GATEWAY_JOURNAL_SEGMENT_H
#define GATEWAY_JOURNAL_SEGMENT_H

#include <sys/types.h>

#include "base/clock.h"
#include "base/err.h"

#define SEGMENT_VERSION 1
#define SEGMENT_HEADER_LEN 64
#define SEGMENT_NAME_LEN 34           /* boot-number-loop.seg in hex: sorts by the order of making */
#define SEGMENT_NUMBER_MAX UINT32_MAX /* of one boot */
#define FRAME_HEADER_LEN 9            /* length, checksum, type */
#define FRAME_LEN_MAX (32u << 10)     /* of a whole frame that a reader accepts; writers stay far below */
#define SEAL_LEN (FRAME_HEADER_LEN + 16)

enum frame_type {
    FRAME_CALL = 1, /* a usage record */
    FRAME_SEAL = 2, /* records u64, offset of the seal u64 */
    FRAME_START = 3, /* a call under a hard budget is about to go upstream: a usage record of what it would be if nothing more were heard of it */
};

struct segment_header {
    uint8_t node[16];
    uint64_t boot;
    uint64_t number; /* counts the segments of one boot, over all loops */
    usec created_us;
    uint32_t loop;
    uint32_t header_len; /* where the frames begin */
};

/* Writes SEGMENT_NAME_LEN bytes and a NUL. */
void segment_name_format(uint64_t boot, uint64_t number, uint32_t loop, char out[SEGMENT_NAME_LEN + 1]);
WARN_UNUSED bool segment_name_parse(str name, uint64_t *boot, uint64_t *number, uint32_t *loop);

void segment_header_write(const struct segment_header *h, uint8_t out[SEGMENT_HEADER_LEN]);
/* ERR_CORRUPT when the bytes are no header of a version that this program knows. */
WARN_UNUSED enum errc segment_header_parse(str bytes, struct segment_header *out, err *e);

struct frame {
    uint8_t type;
    str payload; /* slice of the input */
    size_t len;  /* of the whole frame */
};

enum frame_state {
    FRAME_WHOLE,
    FRAME_UNUSED,  /* no bytes, or a length of zero: nothing was written here yet */
    FRAME_PARTIAL, /* the bytes end before the frame does */
    FRAME_DAMAGED,
};

/* The frame at the start of the bytes. */
enum frame_state frame_parse(str bytes, struct frame *out);
/* Fills in length and checksum of a frame whose type and payload stand at frame + 8. len counts all of it. */
void frame_finish(uint8_t *frame, size_t len);

void seal_write(uint64_t n_records, uint64_t offset, uint8_t out[SEAL_LEN]);
/* Whether the frame is the seal that belongs at this offset. */
WARN_UNUSED bool seal_parse(const struct frame *f, uint64_t offset, uint64_t *n_records);

/* Walks the frames of an open file in pieces. */
struct segment_scan {
    int fd;
    uint64_t offset; /* of the frame that segment_scan_next gives next */
    uint8_t *bytes;  /* file content from `offset - at` on */
    size_t at, have, cap;
    int failed; /* errno of a failed read */
};

WARN_UNUSED enum errc segment_scan_init(struct segment_scan *s, err *e);
void segment_scan_fini(struct segment_scan *s);
/* Begins at the offset, with nothing read yet. */
void segment_scan_start(struct segment_scan *s, int fd, uint64_t offset);
/* FRAME_WHOLE moves on behind the frame, whose payload is valid until the next call; every other state
 * stays. A failed read looks like FRAME_UNUSED with `failed` set. */
enum frame_state segment_scan_next(struct segment_scan *s, struct frame *out);

/* Writes or reads all of it, whatever signals come: 0 or errno; the bytes read (fewer at the end of the
 * file) or -1. */
WARN_UNUSED int segment_write(int fd, const void *data, size_t len, size_t offset);
WARN_UNUSED ssize_t segment_read(int fd, void *out, size_t len, off_t offset);
/* Cuts the file after `keep` bytes that hold, syncs it and seals it; 0 or errno. A seal that cannot be
 * written is no loss: the next opening scans the segment instead. */
WARN_UNUSED int segment_seal(int fd, size_t keep, uint64_t n_records);

static inline void put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}
static inline void put_u64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}
static inline uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t get_u64(const uint8_t *p)
{
    return (uint64_t)get_u32(p) | (uint64_t)get_u32(p + 4) << 32;
}

#endif
