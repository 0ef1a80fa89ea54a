/* internal.h - the parts of core/live: what any thread does (live.c), the streams of one loop (hub.c), the
 * way to other nodes (bus.c).
 *
 * A hub is one loop's. Other threads give it messages; it is woken through its loop and works them off
 * there. A frame is immutable and counted, one for all hubs.
 */
#ifndef CORE_LIVE_INTERNAL_H
#define CORE_LIVE_INTERNAL_H

#include <stdatomic.h>

#include "base/map.h"
#include "base/stats.h"
#include "core/live.h"
#include "core/nodes.h"
#include "core/pool.h"
#include "net/loop.h"

#define LIVE_LOOPS_MAX 256
#define LIVE_RING                                                                                            \
    1024 /* newest frames of the log that a hub keeps: who is further behind reads the database */
#define LIVE_PAGE 200       /* events read from the database at a time */
#define LIVE_INBOX_MAX 4096 /* messages that wait for a hub before live frames are dropped */
#define LIVE_FRAME_MAX (256u << 10)
#define LIVE_SEND_MAX (64u << 10) /* frames of the log put into one piece */

struct live_frame {
    _Atomic unsigned refs;
    int64_t number; /* of the log; 0: a live frame */
    uuid workspace, user;
    enum permission needs;
    size_t len;
    char text[]; /* as it is sent */
};
struct live_frame *live_frame_new(const uuid *workspace, const uuid *user, enum permission needs,
                                  int64_t number, str text);
struct live_frame *live_frame_ref(struct live_frame *f);
void live_frame_unref(struct live_frame *f);
/* The frame of a sealed event; NULL when out of memory. */
struct live_frame *live_frame_of_event(struct arena *a, const struct sealed_event *ev);

/* What a stream may see. */
struct live_viewer {
    uuid workspace, user, credential;
    struct permission_set may;
};
bool live_is_visible(const struct live_viewer *v, const struct live_frame *f);

struct live_stream;

enum live_kind { LIVE_LOG, LIVE_GAP, LIVE_FRAME, LIVE_PAGE_READ, LIVE_RECHECKED, LIVE_REVOKED, LIVE_STOPPED };
struct live_message {
    struct live_message *next;
    enum live_kind kind;
    struct live_frame *frame; /* LIVE_LOG, LIVE_FRAME */
    int64_t number;           /* LIVE_GAP: the log goes to here, its frames are in the database only */
    uuid credential, user, workspace; /* LIVE_REVOKED */
    struct live_stream *stream;       /* LIVE_PAGE_READ, LIVE_RECHECKED: the message is part of it */
};

struct live_hub {
    struct live *live;
    struct loop *loop;
    struct loop_task wake;
    pthread_mutex_t lock; /* guards the inbox */
    struct live_message *inbox, **inbox_last;
    unsigned n_inbox;
    bool is_woken;
    /* of the loop */
    struct live_stream *first;
    struct live_frame *ring[LIVE_RING]; /* number n at n % LIVE_RING */
    int64_t ring_first, ring_last;      /* empty when ring_last < ring_first */
    bool is_stopping;
};

struct live {
    struct live_setup setup;
    struct pool *pool;
    uint64_t heartbeat_ms, recheck_ms;
    unsigned most_per_user, most_per_workspace;
    _Atomic(struct live_hub *) hubs[LIVE_LOOPS_MAX];
    _Atomic unsigned n_streams;
    _Atomic bool is_stopping;
    int64_t told;         /* of the log's thread: hubs know of everything up to here, or need not */
    pthread_mutex_t lock; /* guards the counts and the making of hubs */
    struct map per_user, per_workspace; /* id and count: struct live_count */
    struct stat_series *streams, *sent, *dropped;
    struct live_bus *bus;     /* NULL: there can be no other nodes */
    _Atomic usec listened_us; /* monotonic: when the last stream ended */
};

/* --- between nodes --- */

WARN_UNUSED enum errc live_bus_new(struct live_bus **out, struct live *l, struct store *store,
                                   struct nodes *nodes, err *e);
void live_bus_free(struct live_bus *b);           /* what waits is written; NULL is fine */
bool live_bus_is_heard(const struct live_bus *b); /* false for NULL */
void live_bus_put(struct live_bus *b, struct live_frame *f);
void live_bus_wake(struct live_bus *b); /* there may be rows to read, or somebody to read them for */
/* Gives a frame to the hubs of this node. */
void live_tell_frame(struct live *l, struct live_frame *f);

/* The bytes of a row: begun once, then frame by frame. */
void live_frames_begin(struct buf *out);
void live_frames_add(struct buf *out, const struct live_frame *f);
/* Each frame to give, which takes a reference if it keeps it. ERR_CORRUPT: the rest is not whole. */
WARN_UNUSED enum errc live_frames_read(str row, void (*give)(void *ctx, struct live_frame *f), void *ctx);

/* Counts a stream; ERR_RATE_LIMITED at the limit. */
WARN_UNUSED enum errc live_count_up(struct live *l, const uuid *user, const uuid *workspace, err *e);
void live_count_down(struct live *l, const uuid *user, const uuid *workspace);

/* Gives the message to the hub; false (not taken) when it is a live frame and too many wait. */
bool live_give(struct live_hub *h, struct live_message *m);
WARN_UNUSED enum errc live_hub_new(struct live_hub **out, struct live *l, struct loop *loop, err *e);
void live_hub_free(struct live_hub *h);
/* Begins a stream on the hub's loop, with the position the unit found. */
void live_stream_begin(struct live_hub *h, const struct api_request *r, int64_t position, struct http_conn *c,
                       str fields);

#endif
