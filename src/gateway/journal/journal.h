/* journal.h - the usage journal: every call's record is on its way to disk before the answer's last bytes
 * go out.
 *
 * DIR/journal/ holds segments, one writer (loop) each: a header with magic, version, node id, boot and
 * loop, then frames {length u32, crc32c u32, type u8, payload}, little endian (journal_segment.h has the
 * details). A segment is preallocated by the journal's thread, which always keeps one spare per writer and
 * more when many calls are under way; a loop writes all records of one turn with one pwrite and does no
 * other file operation. kill -9 loses nothing that was written; a power cut can lose what the journal
 * thread had not yet synced (every 100 ms), nothing in strict mode. On open, torn tails are cut and
 * reported. Beside the segments stand `node` (the id of this data folder, made once) and `boot` (how often
 * a journal was opened here).
 * When the disk is full no spare can be made: journal_has_room turns false, calls under way still fit into
 * what is prepared, and the thread tries again four times a second.
 * Format is additive: unknown frame types are skipped, fields are only added at the end of a payload.
 * Threads: journal_open/close from one thread; a writer belongs to its loop; syncing runs on the journal's
 * own thread.
 */
#ifndef GATEWAY_JOURNAL_H
#define GATEWAY_JOURNAL_H

#include "base/arena.h"
#include "base/buf.h"
#include "gateway/journal/journal_segment.h"
#include "gateway/usage.h"

#define JOURNAL_RECORD_MAX 4096 /* encoded frame, header included */

struct journal;
struct journal_writer;

struct journal_options {
    bool is_strict;       /* sync before an answer ends */
    size_t segment_bytes; /* size of a segment; default (0) 16 MiB, from 64 KiB to 1 GiB */
    unsigned n_writers;   /* loops */
    unsigned sync_ms;     /* how often the thread syncs when not strict; default (0) 100 */
    /* Strict mode: called on the journal thread when something more is durable, or lost; must only wake
     * the loops (uv_async_send). */
    void (*on_synced)(void *ctx);
    void *ctx;
};

/* What opening found. */
struct journal_recovery {
    uint64_t segments, records, torn_segments, torn_bytes;
};

/* Creates DIR/journal (DIR must exist) and the node id if need be, cuts torn tails, takes the next boot
 * number, preallocates the first segments and starts the thread. The caller holds the lock of the data
 * folder. ERR_DISK_FULL, ERR_IO, ERR_CORRUPT (a segment whose header is of another format), ERR_CONFIG
 * (sizes). */
WARN_UNUSED enum errc journal_open(struct journal **out, const char *data_dir,
                                   const struct journal_options *options, struct journal_recovery *found,
                                   err *e);
/* Stops the thread, syncs, trims the unused preallocated tails; removes segments that were never used. All
 * writers must be flushed. NULL is fine. */
void journal_close(struct journal *j);
struct journal_writer *journal_writer(struct journal *j, unsigned loop);
/* The data folder's id, and the number of this opening. */
const uint8_t *journal_node(const struct journal *j);
uint64_t journal_boot(const struct journal *j);

/* Admission: whether n_open records of calls under way, and one more, are sure to fit into prepared
 * segments. False answers 503. */
bool journal_has_room(struct journal_writer *w, unsigned n_open);
/* Encodes r into the turn's batch as a START frame, which charges the reservation if the process dies before the call is recorded. Assigns r->boot and r->n,
 * which the call's record keeps. Room for it is not among what admission promised: journal_flush may fail. */
void journal_append_start(struct journal_writer *w, struct usage_record *r);
/* The record of a call that has a START frame: keeps boot and n. */
void journal_append_end(struct journal_writer *w, struct usage_record *r);
/* Encodes r into the turn's batch (assigns r->boot and r->n). Never fails for an admitted call; what does
 * not fit makes journal_flush fail. */
void journal_append(struct journal_writer *w, struct usage_record *r);
/* Whether there is anything to flush. */
bool journal_is_dirty(const struct journal_writer *w);
/* One pwrite of the batch (two when it crosses segments). On ERR_IO/ERR_DISK_FULL nothing of the batch
 * counts as written and the answers must be aborted; the batch is dropped, and the next one begins in
 * another segment. *ticket identifies the batch for journal_is_synced. */
WARN_UNUSED enum errc journal_flush(struct journal_writer *w, uint64_t *ticket, err *e);
/* Strict mode: whether the batch of this ticket is durable. Always true when not strict. */
bool journal_is_synced(const struct journal_writer *w, uint64_t ticket);
/* Strict mode: whether the disk refused to make the batch of this ticket durable. It never will be: the
 * answers that wait for it must be aborted. */
bool journal_is_lost(const struct journal_writer *w, uint64_t ticket);

/* What all loops have written since it was opened: bytes of frames, and records of calls. Any thread. */
struct journal_written {
    uint64_t bytes, calls;
};
struct journal_written journal_written(const struct journal *j);

/* --- reading, also beside a running server --- */
typedef bool (*journal_record_fn)(void *ctx, const uint8_t node[16],
                                  const struct usage_record *r); /* false stops */

struct journal_reader; /* keeps its place, for following */
/* ERR_NOT_FOUND when there is no journal in the folder. Opening and reading change nothing on disk. */
WARN_UNUSED enum errc journal_reader_open(struct journal_reader **out, const char *data_dir, err *e);
/* Gives every record that is new since the last call, in order of segments (roughly of time). Slices in r
 * are valid during the call. A damaged frame ends that segment for now: *n_damaged (may be NULL) counts
 * segments that end in damage rather than in unused space, or that hold a record which cannot be decoded
 * (it is skipped). */
WARN_UNUSED enum errc journal_read(struct journal_reader *rd, journal_record_fn on_record, void *ctx,
                                   uint64_t *n_damaged, err *e);
/* The same with every frame of calls, and where it ends. */
struct journal_place {
    uint8_t node[16];
    uint64_t boot, number; /* the segment: see its name */
    uint32_t loop;
    uint64_t position;     /* what stands before it has been read */
    bool is_done;          /* read to its seal, or gone */
    bool is_damaged;       /* at this position, when it was last looked at */
};
typedef bool (*journal_frame_fn)(void *ctx, const struct journal_place *place, enum frame_type type,
                                 const struct usage_record *r); /* false stops behind this frame */
WARN_UNUSED enum errc journal_read_frames(struct journal_reader *rd, journal_frame_fn on_frame, void *ctx, uint64_t *n_damaged, err *e);
/* The id of the data folder; false when it has none yet. */
WARN_UNUSED bool journal_reader_node(const struct journal_reader *rd, uint8_t node[16]);
/* What stands before these positions was read elsewhere; also of segments that are held. */
WARN_UNUSED enum errc journal_reader_begin_at(struct journal_reader *rd, const struct journal_place *places, size_t n, err *e);
/* Forgets every position, and begins at these. */
WARN_UNUSED enum errc journal_reader_rewind(struct journal_reader *rd, const struct journal_place *places, size_t n, err *e);
/* Opens every segment that is there now: one that is removed afterwards can still be read. */
WARN_UNUSED enum errc journal_reader_hold(struct journal_reader *rd, err *e);
/* The segments that are known, in order of making; i from 0 on. */
WARN_UNUSED bool journal_reader_place(const struct journal_reader *rd, size_t i, struct journal_place *out);
/* Removes a segment that has been read, and forgets it. */
WARN_UNUSED enum errc journal_reader_remove(struct journal_reader *rd, const struct journal_place *place, err *e);
void journal_reader_free(struct journal_reader *rd);

/* The codec, for tests and fuzzing: appends a frame / decodes a payload (what follows the frame's type). */
void usage_record_encode(const struct usage_record *r, struct buf *out);
void usage_frame_encode(enum frame_type type, const struct usage_record *r, struct buf *out);
/* ERR_CORRUPT. The texts of *out are slices of the payload. */
WARN_UNUSED enum errc usage_record_decode(str payload, struct usage_record *out, err *e);

#endif
