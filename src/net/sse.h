/* sse.h - splits a server-sent event stream (WHATWG HTML, "Server-sent events") into events, keeping their
 * exact bytes.
 *
 * Line ends LF, CRLF and CR; fields event, data (several lines joined by LF), others ignored; a BOM at the
 * start is skipped. Complete events inside a fed piece are reported as slices of it; only an event that is
 * split between pieces is copied into `tail`.
 * An event is reported with the byte that ends it. When that was a CR at the end of a piece and the next
 * piece begins with its LF, the LF comes as an event of its own: no type, no data, raw "\n", exactly as an
 * empty line between events does. The raw bytes of all events and sse_unfinished are always the whole input.
 * Threads: one owner.
 */
#ifndef NET_SSE_H
#define NET_SSE_H

#include "base/buf.h"

struct sse_event {
    str type;      /* empty when there is no event field */
    str data;      /* lines joined by LF (in the splitter's scratch buffer when several); valid during the call */
    bool has_data; /* false: nothing that a reader of the stream would see */
    str raw;       /* all bytes, with comments, unknown fields and the empty line that ends it */
};

struct sse {
    struct buf tail;    /* the event in progress, when it began in an earlier piece */
    struct buf scratch; /* joined data lines */
    size_t max_event;   /* bytes */
    bool at_start;      /* no event was complete yet: the one in progress may begin with a BOM */
    bool ended_in_cr;   /* the last byte was the CR that ended an event: a following LF belongs to it */
};

/* max_event: a longer event is ERR_TOO_LARGE. No allocation happens before an event needs it. */
void sse_init(struct sse *s, size_t max_event);
void sse_fini(struct sse *s);

/* Return false to stop feeding (sse_feed then returns at once, ERR_NONE; the rest of the piece is
 * dropped). */
typedef bool (*sse_event_fn)(void *ctx, const struct sse_event *event);
/* ERR_TOO_LARGE, ERR_NO_MEMORY; after an error the splitter is of no more use. */
WARN_UNUSED enum errc sse_feed(struct sse *s, str piece, sse_event_fn on_event, void *ctx, err *e);
/* Bytes of an unfinished event (not reported; by the standard they are dropped at the end of the stream). */
str sse_unfinished(const struct sse *s);

#endif
