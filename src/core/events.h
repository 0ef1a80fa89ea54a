/* events.h - facts that an auditor may ask about: one sealed log that everything follows.
 *
 * An event is written in the unit of work that makes the change, as exact bytes (JSON, at most
 * EVENT_BYTES_MAX, strings and integers) and without a number. The sealer numbers it, densely for the
 * instance and for its workspace, and stores its RFC 6962 leaf hash; the stored bytes are hashed and never
 * made again. Readers and listeners see sealed events only. With SQLite the writer seals a group inside its
 * commit; with PostgreSQL the holder of an advisory lock seals what has become visible. Personal values
 * stand in the bytes as commitments (SHA-256 of salt and value); salt and value lie in a box under the key
 * of the person that the data is about, so that erasing the key erases them and keeps every proof.
 * Listeners follow the log with a durable cursor of their own: an effect and the cursor are stored in one
 * transaction, at least once, idempotent; an event that keeps failing parks its listener and raises an
 * alarm (log, metric, notification). Of several nodes one at a time feeds a listener; another takes over within some
 * seconds when it hangs or dies, and at once when it stops.
 * Threads: any but loops.
 * Source: RFC 6962 section 2.1 (leaf hash: SHA-256 of 0x00 and the bytes).
 */
#ifndef CORE_EVENTS_H
#define CORE_EVENTS_H

#include "core/shape.h"
#include "store/store.h"

#define EVENT_BYTES_MAX 8192

enum actor_kind { ACTOR_SYSTEM, ACTOR_USER, ACTOR_API_KEY };

struct api_request;

struct event {
    uuid id; /* event_of, or event_id_of something that caused it */
    usec at_us;
    str type;          /* "project.created"; additive only */
    unsigned version;  /* of the type's metadata; 0: 1 */
    uuid workspace_id; /* nil: of the instance */
    enum actor_kind actor;
    uuid actor_id;      /* user */
    str actor_email;    /* theirs at that time: boxed under the actor's key */
    uuid credential_id; /* session or API key */
    str resource_type;  /* "project" */
    uuid resource_id;
    const struct shape *shape;  /* of before and after; NULL: none */
    const void *before, *after; /* NULL: did not exist, does not exist any more */
    uuid person_id;             /* whose the personal members of the shape are; nil: the actor */
    str address, user_agent;    /* of the client: boxed under the actor's key */
    str status;                 /* "success" or "failure" */
    str error;                  /* machine name of a failure */
    str message;                /* what went wrong, for people; never with a personal value */
    str metadata;               /* JSON object or empty */
};

/* An id of the same age as cause, derived from it and n: a unit that runs again writes the same event. */
uuid event_id_of(const uuid *cause, unsigned n);
/* The event of a request: time, actor, workspace, client and a fresh id filled in. Pure, so it may stand in
 * apply; n tells the events of one request apart. */
struct event event_of(const struct api_request *r, str type, unsigned n);

/* Adds it to the log (main database only). With a shape, nothing is added when before and after do not
 * differ. ERR_TOO_LARGE: its bytes would be more than EVENT_BYTES_MAX; ERR_INTERNAL: the key of a person is
 * not at hand, see person_key_ensure. */
WARN_UNUSED enum errc tx_event(struct tx *tx, const struct event *ev, err *e);

/* What stands in the column kind: the same for all events of one type about one type of resource with one outcome. error: p NULL when
 * it succeeded. */
int64_t event_kind(str type, str resource_type, str error);
/* What stands in the column address_token: tells whether an event came from an address, to those who have the instance's key.
 * workspace nil: the instance's own events. */
WARN_UNUSED enum errc event_address_token(struct store *s, const uuid *workspace, str address, int64_t *out, err *e);

/* --- people's keys (database people) --- */

/* Makes the key of a person when there is none and keeps it at hand for tx_event for some minutes. Before
 * the unit: it writes to another database. The nil person stands for everybody who is not known (a sign-in
 * that failed); that key is always at hand. Cheap when it is at hand already. */
WARN_UNUSED enum errc person_key_ensure(struct store *s, const uuid *person, usec now_us, err *e);
/* The personal values of an event that can still be opened, as a JSON object from their place
 * ("client.address", "after.email") to the value. */
WARN_UNUSED enum errc event_personal(struct store *s, struct arena *a, const uuid *event_id, str *json,
                                     err *e);
/* The same for some events at once, value by value. */
struct event_value {
    str place, json;
    char commitment[64 + 1]; /* made from what was in the box: not what stands in the event when somebody exchanged it */
};
struct event_values {
    struct event_value *values;
    unsigned n;
    bool is_altered; /* a box of it does not open although its key is there */
};
/* out: an entry for each id. Everything in the arena. */
WARN_UNUSED enum errc events_open(struct store *s, struct arena *a, const uuid *ids, unsigned n,
                                  struct event_values *out, err *e);

/* --- the log as a whole --- */

struct events;
/* Registers the sealer with the store; on PostgreSQL starts its thread. master: 32 bytes that wrap people's
 * keys (core/secrets.h). */
WARN_UNUSED enum errc events_new(struct events **out, struct store *s, const uint8_t *master, err *e);
/* While it is shut tx_event fails with ERR_UNAVAILABLE: the database is an older copy of a log that was given away (core/audit.h). */
void events_shut(struct events *log, bool is_shut);
void events_free(struct events *log); /* before store_close, when no unit runs any more; NULL is fine */

struct sealed_event {
    int64_t number;           /* 1, 2, 3 … of the instance */
    int64_t workspace_number; /* of its workspace; 0 for the instance's own */
    uuid id, workspace_id, resource_id;
    usec at_us;
    str type, resource_type;
    str bytes; /* exactly as hashed */
    uint8_t leaf[32];
};
/* Sealed events after a number, in order; workspace nil: all. At most limit. */
WARN_UNUSED enum errc events_after(struct tx *tx, struct arena *a, int64_t number, const uuid *workspace,
                                   unsigned limit, struct sealed_event **out, unsigned *n, err *e);
/* The last number that is sealed. */
WARN_UNUSED enum errc events_head(struct tx *tx, int64_t *number, err *e);

/* A listener: called for each event in order, in a unit of work that also moves the cursor: nothing but the
 * database, and it may run again. It may add jobs and rows, never events of its own about the same change.
 * An event that fails EVENT_TRIES times parks the listener: it is then tried every EVENT_PARKED_RETRY_S,
 * and an event "listener.parked" of the instance tells. An unreachable or full database never parks one. */
#define EVENT_TRIES 8
#define EVENT_PARKED_RETRY_S 600
struct listener {
    const char *name;    /* of the cursor; never changes */
    const char *types;   /* "budget.*|project.created"; NULL: all */
    bool from_the_start; /* of the log, when it is new; else it begins with what comes next */
    enum errc (*hear)(void *ctx, struct tx *tx, const struct sealed_event *ev, err *e);
    /* It is committed now: wakes and live frames; at most once; may be NULL. */
    void (*heard)(void *ctx, const struct sealed_event *ev);
    void *ctx;
};
#define EVENT_LISTENERS_MAX 32
/* Before events_start. */
void events_listen(struct events *log, const struct listener *l);
/* Whether a type is one of "budget.*|project.created"; NULL: all are. */
bool event_is_of(const char *types, str type);

/* A watcher: called on the log's thread of every node with each sealed event of its types, in order, whichever node made it.
 * Nothing is stored: it begins with what is sealed after events_start, and goes on where it stood when the database was away. For
 * what a node keeps in memory; what takes time is for another thread, which it wakes. */
struct watcher {
    const char *types; /* as a listener's */
    void (*see)(void *ctx, const struct sealed_event *ev);
    void *ctx;
};
#define EVENT_WATCHERS_MAX 16
void events_watch(struct events *log, const struct watcher *w); /* before events_start */
/* Called on the log's thread with the number up to which events are sealed, whenever it has grown: the live
 * stream. Before events_start. */
void events_on_sealed(struct events *log, void (*sealed)(void *ctx, int64_t number), void *ctx);
/* Starts the thread that feeds listeners. */
WARN_UNUSED enum errc events_start(struct events *log, err *e);
void events_stop(struct events *log); /* also before events_start; an event being heard is heard to its end */

#endif
