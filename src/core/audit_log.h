/* audit_log.h - the log as people ask for it: search, exports, how long it is kept, and what is held.
 *
 * Events are core/events.h's; here they are found by the columns beside their bytes, opened for whoever may read them, and, when
 * their time is over, let go of: then the bytes and the boxes are gone, while number, time and leaf hash stay, so that every
 * proof holds. A workspace sees its own events only; an administrator of the instance sees the instance's own, and no tenant's.
 * A page is found in a bounded number of looks whatever the filters are: where much has to be passed over it may hold fewer events than
 * were asked for, or none, and say where it goes on.
 * Threads: any but loops.
 */
#ifndef CORE_AUDIT_LOG_H
#define CORE_AUDIT_LOG_H

#include "core/api.h"
#include "core/jobs.h"

/* --- search --- */

struct log_filter {
    uuid workspace_id;      /* nil: the instance's own events */
    usec from_us, until_us; /* NO_VALUE: open; the second is the first moment that is too late */
    str action;             /* "project.created", or all that begin so: "project.*"; empty: any */
    uuid actor_id;          /* nil: anybody */
    str resource_type;      /* empty: any */
    uuid resource_id;       /* nil: any */
    str status;             /* "success", "failure"; empty: both */
    bool has_address;
    int64_t address_token;  /* event_address_token */
    str text;               /* stands in the action, type of resource or error, whatever the case; empty: any */
    bool is_oldest_first;
};

struct log_row {
    int64_t number, workspace_number;
    uuid id, workspace_id, resource_id, actor_id, credential_id;
    usec at_us, dropped_us; /* the second NO_VALUE: its bytes are there */
    str type, resource_type;
    str error;              /* p NULL: it succeeded */
    str bytes, leaf;
};

/* Events behind a number (0: from the beginning), at most limit. *next: behind which it goes on; 0: there is no more. In the arena.
 * ERR_TOO_LARGE: they do not fit into it. */
WARN_UNUSED enum errc log_search(struct tx *tx, struct arena *a, const struct log_filter *f, int64_t behind, unsigned limit,
                                 struct log_row **out, unsigned *n, int64_t *next, err *e);

/* --- entries: an event as it is shown --- */

struct log_changes {
    str before, after; /* JSON; p NULL: null */
};
struct log_entry {
    uuid id;
    int64_t number, workspace_number;
    usec timestamp;
    str actor;         /* "user", "api_key", "system"; empty when the bytes were let go of */
    uuid user_id, credential_id;
    str user_email;
    str action, resource_type;
    uuid resource_id;
    str ip_address, user_agent;
    struct log_changes changes;
    str status, error, error_message, metadata, leaf;
    bool is_dropped;
};
extern const struct shape log_entry_shape;
/* What stands for a personal value whose key was destroyed, and for one that is not what the event says. */
#define LOG_ERASED "[erased]"
#define LOG_ALTERED "[altered]"

/* Opens the boxes of these rows; reads databases, so not in a unit. */
WARN_UNUSED enum errc log_entries(struct store *s, struct arena *a, const struct log_row *rows, unsigned n, struct log_entry **out,
                                  err *e);

/* --- the service --- */

struct audit_log;
struct audit_log_setup {
    struct store *store;
};
WARN_UNUSED enum errc audit_log_new(struct audit_log **out, const struct audit_log_setup *setup, err *e);
/* Starts the thread that keeps what finding needs: spans of time, and columns that a release before left out. */
WARN_UNUSED enum errc audit_log_start(struct audit_log *l, err *e);
void audit_log_stop(struct audit_log *l); /* NULL and twice are fine */
void audit_log_free(struct audit_log *l);
extern const struct api_table audit_log_api; /* service: struct audit_log * */

#endif
