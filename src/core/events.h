/* events.h - facts that an auditor may ask about: one sealed log that everything follows.
 *
 * An event is written in the unit of work that makes the change, as exact bytes (JSON, at most EVENT_BYTES_MAX, strings and integers) and
 * without a number. The sealer numbers it, densely for the instance and for its workspace, and stores its RFC 6962 leaf hash; the stored bytes are
 * hashed and never made again. Readers and listeners see sealed events only. With SQLite the writer seals a group inside its commit; with
 * PostgreSQL the holder of an advisory lock seals what has become visible.
 * Personal values stand in the bytes as commitments (SHA-256 of salt and value); salt and value lie in a box under the key of the person that the
 * data is about, so that erasing the key erases them and keeps every proof.
 * Listeners follow the log with a durable cursor of their own: an effect and the cursor are stored in one transaction, at least once,
 * idempotent; an event that keeps failing parks its listener and raises an alarm (log, metric, notification).
 * Threads: any but loops.
 * Source: RFC 6962 section 2.1 (leaf hash: SHA-256 of 0x00 and the bytes).
 */
#ifndef CORE_EVENTS_H
#define CORE_EVENTS_H

#include "core/shape.h"

#define EVENT_BYTES_MAX 8192

enum actor_kind { ACTOR_SYSTEM, ACTOR_USER, ACTOR_API_KEY };

struct api_request;

struct event {
    uuid id;                  /* made in prepare: event_id */
    usec at_us;
    str type;                 /* "project.created"; additive only */
    uuid workspace_id;        /* nil: of the instance */
    enum actor_kind actor;
    uuid actor_id;            /* user */
    uuid credential_id;       /* session or API key */
    str resource_type;        /* "project" */
    uuid resource_id;
    const struct shape *shape; /* of before and after; NULL: none */
    const void *before, *after; /* NULL: did not exist, does not exist any more */
    uuid person_id;           /* whose the personal members of the shape are; nil: the actor */
    str address, user_agent;  /* of the client: boxed under the actor's key */
    str status;               /* "success" or "failure" */
    str error;                /* machine name of a failure */
    str metadata;             /* JSON object or empty */
};

/* The event of a request: time, actor, workspace, client and a fresh id filled in. For prepare or the first lines of apply: it is pure (the id is
 * derived from r->request_id and n, so that a unit that runs again writes the same event). */
struct event event_of(const struct api_request *r, str type, unsigned n);

/* Adds it to the log (main database only). With a shape, nothing is added when before and after do not differ. ERR_TOO_LARGE. The person's key must exist:
 * see person_key_ensure. */
WARN_UNUSED enum errc tx_event(struct tx *tx, const struct event *ev, err *e);

/* --- people's keys (database people) --- */

/* Makes the key of a person when there is none and keeps it at hand for tx_event. Before the unit: it writes to another database. */
WARN_UNUSED enum errc person_key_ensure(struct store *s, const uuid *person, usec now_us, err *e);

/* --- the log as a whole --- */

struct events;
/* Registers the sealer with the store; on PostgreSQL starts its thread. master: 32 bytes that wrap people's keys (core/secrets.h). */
WARN_UNUSED enum errc events_new(struct events **out, struct store *s, const uint8_t *master, err *e);
void events_free(struct events *ev);

struct sealed_event {
    int64_t number;           /* 1, 2, 3 … of the instance */
    int64_t workspace_number; /* of its workspace; 0 for the instance's own */
    uuid id, workspace_id, resource_id;
    usec at_us;
    str type, resource_type;
    str bytes;                /* exactly as hashed */
    uint8_t leaf[32];
};
/* Sealed events after a number, in order; workspace nil: all. At most limit. */
WARN_UNUSED enum errc events_after(struct tx *tx, struct arena *a, int64_t number, const uuid *workspace, unsigned limit,
                                   struct sealed_event **out, unsigned *n, err *e);
/* The last number that is sealed. */
WARN_UNUSED enum errc events_head(struct tx *tx, int64_t *number, err *e);

/* A listener: called for each event in order, in a unit of work that also moves the cursor. It may add jobs and rows, never events of its own
 * about the same change. */
struct listener {
    const char *name;         /* of the cursor; never changes */
    const char *types;        /* "budget.*|project.created"; NULL: all */
    enum errc (*hear)(void *ctx, struct tx *tx, const struct sealed_event *ev, err *e);
    void *ctx;
};
/* Before events_start. */
void events_listen(struct events *ev, const struct listener *l);
/* Starts the thread that feeds listeners, and the live stream. */
WARN_UNUSED enum errc events_start(struct events *ev, err *e);
void events_stop(struct events *ev);

#endif
