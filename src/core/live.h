/* live.h - the live stream of the page: GET /api/events.
 *
 * Frames of the log have an id (the event's number): Last-Event-ID resumes without a gap. Live frames
 * (progress of jobs, calls as they end) have none and may be lost: a client that reads slowly gets none
 * until it has caught up, while frames of the log wait in the log. A comment every live.heartbeat_ms keeps
 * the connection open. A stream sees its workspace only, what its role may see, and ends when its session
 * or key does.
 *
 *   id: 41                      where the stream stands, when it begins
 *   event: ready
 *   data: {"number":41}
 *
 *   id: 42                      a frame of the log
 *   event: project.created
 *   data: {"number":42,"id":"…","at":"…","type":"project.created","status":"success",
 *          "actor":{"kind":"user","id":"…"},"resource":{"type":"project","id":"…"}}     (in one line)
 *
 *   event: job.progress         a live frame
 *   data: {…}
 *
 * Between nodes live frames travel through rows of PostgreSQL, in batches, while somebody listens there: they reach every
 * node's clients within a fraction of a second, and some may be lost under load. A stream goes on at any node.
 * Threads: live_publish, live_sealed, live_revoke, live_stop any; a stream belongs to the loop of its
 * connection; what blocks runs on a small pool.
 * Source: WHATWG HTML, server-sent events.
 */
#ifndef CORE_LIVE_H
#define CORE_LIVE_H

#include "core/api.h"
#include "core/events.h"

extern const struct option_table live_options;

struct live;
struct nodes;
struct live_setup {
    struct store *store;
    const struct config *config;
    struct nodes *nodes; /* may be NULL: this is the only one */
    /* Whether r->who is still signed in and still a member of r->workspace_id: sets r->role and r->may.
     * ERR_UNAUTHENTICATED, ERR_NOT_FOUND end the stream. Unlike a request it does not count as use. tx is
     * on DB_MAIN. */
    enum errc (*recheck)(void *ctx, struct api_request *r, struct tx *tx, err *e);
    void *ctx;
};
WARN_UNUSED enum errc live_new(struct live **out, const struct live_setup *setup, err *e);
void live_stop(struct live *l);         /* ends all streams and takes no more: the server stops */
void live_free(struct live *l);         /* after the loops have ended and before loop_fini; NULL is fine */
extern const struct api_table live_api; /* service: struct live * */

/* A live frame, event name and JSON data: for the user (nil: nobody in person), and for everybody in the
 * workspace whose role has the permission. With a user, PERMISSION_NONE means nobody else; without,
 * everybody in the workspace. workspace nil: all streams of the user. NULL is nil. Cheap when nobody
 * listens. */
void live_publish(struct live *l, const uuid *workspace, const uuid *user, enum permission needs, str event,
                  str json);
/* Whether anybody listens, here or on another node: for those to whom making a frame costs something. No lock. */
bool live_is_heard(const struct live *l);
/* Sealed events exist up to this number. On the log's thread (events_on_sealed). */
void live_sealed(void *live, int64_t number);
/* A session, key or membership has ended, or a role has changed: the streams that match all given ids
 * close, and come back with what they then may. Any but one of the ids may be nil. */
void live_revoke(struct live *l, const uuid *credential_id, const uuid *user_id, const uuid *workspace_id);

#endif
