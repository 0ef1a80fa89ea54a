/* sse.h - splits a server-sent event stream (WHATWG HTML, "Server-sent events") into events, keeping their exact bytes.
 *
 * Line ends LF, CRLF and CR; fields event, data (several lines joined by LF), others ignored; a BOM at the start is skipped.
 * Complete events inside a fed piece are reported as slices of it; only an event that is split between pieces is copied into `tail`.
 * Threads: one owner.
 */
#ifndef NET_SSE_H
#define NET_SSE_H

#include "base/buf.h"

struct sse_event {
    str type;   /* empty when there is no event field */
    str data;   /* several data lines are joined by LF (in a scratch buffer of the splitter); valid during the call */
    bool has_data;
    str raw;    /* all bytes of the event with the empty line that ends it; comments and unknown fields included */
};

struct sse {
    struct buf tail;    /* the event in progress, when it began in an earlier piece */
    struct buf scratch; /* joined data lines */
    size_t scanned;     /* bytes of tail already searched for its end */
    bool at_start;
    bool ended_in_cr;   /* the last byte was the CR that ended an event: a following LF belongs to it */
};

/* max_event: a longer event is ERR_TOO_LARGE. */
void sse_init(struct sse *s, size_t max_event);
void sse_fini(struct sse *s);

/* Return false to stop feeding (sse_feed then returns at once; the rest of the piece is dropped). */
typedef bool (*sse_event_fn)(void *ctx, const struct sse_event *event);
WARN_UNUSED enum errc sse_feed(struct sse *s, str piece, sse_event_fn on_event, void *ctx, err *e);
/* Bytes of an unfinished event (not reported; by the standard they are dropped at the end of the stream). */
str sse_unfinished(const struct sse *s);

#endif
