/* segment.h - sealed events as bytes that leave the database: segment files.
 *
 *   header  magic "CATAUDIT", version u32, header length u32, node[16], tree[16], first number i64, CRC-32C of all that u32
 *   frames  length u32, CRC-32C u32, then so many bytes: kind u8, …
 *     event (kind 1)  flags u8 (1: the body was dropped), 6 zero bytes, number i64 (of the instance), workspace_number i64,
 *                     id[16], workspace[16], leaf[32], then the event's exact bytes
 *     end (kind 2)    7 zero bytes, number of events i64: without it the file was cut off
 * Integers are little-endian. Unknown kinds are skipped. The numbers in the tree are first, first + 1, …
 * Threads: pure. Errors: ERR_CORRUPT names what is wrong.
 */
#ifndef CORE_AUDIT_SEGMENT_H
#define CORE_AUDIT_SEGMENT_H

#include "base/random.h"
#include "core/audit/tree.h"

#define SEGMENT_VERSION 1
#define SEGMENT_HEADER 60
#define SEGMENT_FRAME_MAX (64u << 10)

struct record { /* one event of the log */
    int64_t number, workspace_number;
    uuid id, workspace;
    struct tree_hash leaf;
    bool is_dropped; /* the bytes are gone, by retention */
    bool is_damaged; /* its frame's checksum is wrong */
    str bytes;
};

struct segment_header {
    uuid node, tree;
    int64_t first;
};

void segment_begin(const struct segment_header *h, struct buf *out);
void segment_put(const struct record *r, struct buf *out);
void segment_end(int64_t n, struct buf *out);

struct segment_reader {
    str rest;
    struct segment_header header;
    int64_t n; /* events so far */
    bool has_ended;
};
WARN_UNUSED enum errc segment_open(str bytes, struct segment_reader *out, err *e);
/* *has_one false: the end was reached. Slices of the file. A frame with a wrong checksum is given as it stands, and says so. */
WARN_UNUSED enum errc segment_next(struct segment_reader *s, struct record *out, bool *has_one, err *e);

#endif
