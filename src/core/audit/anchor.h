/* anchor.h - places outside the database that heads of the instance's tree go to, and on request the sealed events too.
 *
 * What lies there cannot be taken back by whoever holds the database. Each anchor is of a kind (one file each); a thread gives every anchor
 * the newest head, and the segments up to it, as far as its row says that it has not got them. Both are said again when it is not known
 * whether they arrived, so a kind must bear that. An anchor that fails is tried again with growing pauses and told of: in its row, in the log, by a metric.
 * Threads: those functions that take struct anchors any but loops; a kind's run on one thread at a time.
 */
#ifndef CORE_AUDIT_ANCHOR_H
#define CORE_AUDIT_ANCHOR_H

#include <stdatomic.h>

#include "core/audit.h"

struct anchor;
struct anchor_kind {
    const char *name;
    /* Reads its configuration; ERR_CONFIG says what is missing. Nothing is reached yet. */
    enum errc (*open)(struct anchor *a, const struct config *c, const struct json *entry, err *e);
    void (*close)(struct anchor *a);
    enum errc (*put_head)(struct anchor *a, struct arena *arena, const struct audit_head *h, err *e);
    /* name: "00000000000000000001-00000000000000000512.seg"; NULL: this kind takes none. */
    enum errc (*put_segment)(struct anchor *a, struct arena *arena, str name, str bytes, err *e);
    /* The newest head that is there, in the arena; ERR_NOT_FOUND: none. NULL: nothing can be read there. */
    enum errc (*newest)(struct anchor *a, struct arena *arena, str *note, err *e);
};
extern const struct anchor_kind anchor_file, anchor_s3, anchor_syslog, anchor_webhook;

struct anchor {
    const struct anchor_kind *kind;
    char *name;
    bool has_segments;
    struct outbound *outbound;
    const atomic_bool *is_stopping;
    void *state; /* the kind's */
    /* the thread's */
    usec retry_us, pause_us; /* monotonic */
    bool is_failing;         /* told once */
};
/* Of one entry of audit.anchors. */
WARN_UNUSED enum errc anchor_new(struct anchor **out, const struct config *c, const struct json *entry, struct outbound *outbound,
                                 const atomic_bool *is_stopping, err *e);
void anchor_free(struct anchor *a); /* NULL is fine */

struct anchors;
struct audit;
WARN_UNUSED enum errc anchors_new(struct anchors **out, struct audit *audit, err *e);
void anchors_free(struct anchors *a);
WARN_UNUSED enum errc anchors_start(struct anchors *a, err *e);
void anchors_stop(struct anchors *a); /* gives the last head away, for some seconds at most */
void anchors_wake(struct anchors *a);
unsigned anchors_n(const struct anchors *a);
struct anchor *anchors_at(const struct anchors *a, unsigned i);

/* A row of audit_anchors. */
struct anchor_view {
    str name, kind;
    bool is_configured, has_segments; /* is_configured false: it was once */
    int64_t head_size, behind;        /* events that are not under a head there */
    usec head_at;
    int64_t segment_number;
    usec tried_at, failing_since;     /* NO_VALUE: not */
    str error;
};
WARN_UNUSED enum errc anchors_view(struct tx *tx, struct arena *arena, const struct anchors *a, struct anchor_view **out, unsigned *n, err *e);

#endif
