/* live.h - the live stream of the page: GET /api/events.
 *
 * Frames of the log have an id (the event's number): Last-Event-ID resumes without a gap. Live frames (progress of jobs, calls as they end) have none and
 * may be lost: a client that reads slowly loses live frames first and is then closed, so that it resumes. A comment every live.heartbeat_ms keeps the
 * connection open. A subscription sees its workspace only, what its role may see, and ends when its session or key does.
 * Threads: live_publish any thread; subscriptions belong to their loop.
 * Source: WHATWG HTML, server-sent events.
 */
#ifndef CORE_LIVE_H
#define CORE_LIVE_H

#include "core/api.h"
#include "core/events.h"

struct live;
WARN_UNUSED enum errc live_new(struct live **out, struct store *s, err *e);
void live_free(struct live *l);
extern const struct route_table live_routes; /* /api/events, on the loops */

/* A live frame, event name and JSON data: for the user (nil: nobody in person), and for everybody in the workspace whose role has the permission. With a
 * user, PERMISSION_NONE means nobody else; without, everybody in the workspace. workspace nil: all streams of the user. Cheap when nobody listens. */
void live_publish(struct live *l, const uuid *workspace, const uuid *user, enum permission needs, str event, str json);
/* Sealed events exist up to this number (called by events.c). */
void live_sealed(struct live *l, int64_t number);
/* A session, key or membership has ended: its streams close. Any of the ids may be nil. */
void live_revoke(struct live *l, const uuid *credential_id, const uuid *user_id, const uuid *workspace_id);

#endif
