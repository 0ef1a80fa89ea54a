/* admin.h - the gateway's endpoints under /api: a file for each noun, with its SQL. Their service is the struct
 * gateway. Private to src/gateway/admin.
 *
 * A change is in force when its answer goes out: `after` builds the next snapshot. What stands in the
 * configuration file is shown in front of lists (origin "file", always of the first workspace) and is changed
 * nowhere else. The key of a provider is sealed and never shown again; of a virtual key only the SHA-256 is
 * kept, and its text is shown once.
 * Threads: the API pool.
 */
#ifndef GATEWAY_ADMIN_ADMIN_H
#define GATEWAY_ADMIN_ADMIN_H

#include "core/api.h"
#include "core/events.h"
#include "gateway/admin/rows.h"
#include "gateway/internal.h"

#define NAMES_MAX 100       /* of models or providers in a list */
#define NAME_LEN_MAX 200    /* of a model or a pattern */
#define LIST_BYTES_MAX 1400 /* of a list of names together: an event holds two of them before and after */
#define ORIGIN_CHOICES "database|file"

static inline struct gateway *gateway_of(const struct api_request *r) { return r->service; }
static inline bool uuid_eq(const uuid *a, const uuid *b) { return memcmp(a, b, sizeof *a) == 0; }

/* --- common.c --- */

/* JSON lists of texts, as the tables keep them (rows.h). An empty one is {items, 0}, never without a pointer. */
WARN_UNUSED enum errc texts_read(struct arena *a, str json, struct texts *out, err *e);
WARN_UNUSED enum errc texts_write(struct arena *a, const struct texts *texts, str *json, err *e);
/* Words separated by spaces. */
WARN_UNUSED enum errc texts_of_words(struct arena *a, str words, struct texts *out, err *e);
/* Names of a bit set of dialects. */
WARN_UNUSED enum errc texts_of_dialects(struct arena *a, unsigned set, struct texts *out, err *e);

/* Whether the two differ in anything that an event would tell. */
bool admin_differs(const struct shape *s, const void *before, const void *after);
struct event admin_event(const struct api_request *r, str type, unsigned n, str resource, const uuid *id,
                         const struct shape *shape, const void *before, const void *after);
/* ERR_CONFLICT, with "duplicate" at the field. */
enum errc admin_taken(struct api_request *r, err *e, const char *field, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* ERR_CONFLICT: an entry of the configuration file cannot be changed here. */
enum errc admin_is_from_file(err *e, const char *noun, str name);

/* The workspace's view in the latest snapshot, which the caller gives back with snapshot_put; NULL (and nothing to
 * give back) when there is none. */
const struct workspace_view *admin_view(const struct api_request *r, struct snapshot **held);
/* What the configuration file has for this workspace: rows that live as long as *held, which the caller
 * gives back with snapshot_put. NULL when the file's entries are another workspace's. */
const struct snapshot_rows *admin_file(const struct api_request *r, struct snapshot **held);

/* A list of the file's n entries followed by the database's rows. What of the page is the file's goes into
 * *from and *to; *rest is how many rows of the database have room in it (0: none, and r->next_cursor is
 * set), *cursor what their list goes on from. ERR_INVALID for a cursor that is none. */
WARN_UNUSED enum errc admin_page(struct api_request *r, unsigned n, unsigned *from, unsigned *to,
                                 unsigned *rest, str *cursor, err *e);
/* The part of a list held in memory that a request asks for. */
WARN_UNUSED enum errc admin_slice(struct api_request *r, void *items, unsigned n, size_t size, err *e);

/* What a list of names must be beyond its field: visible, and together no longer than an event can tell. */
void admin_check_names(struct api_request *r, const char *field, const struct texts *names, err *e);

/* For a prepare whose problems the unit is to tell together with its own: what check returned, but ERR_INVALID. */
static inline enum errc admin_tell_later(enum errc rc) { return rc == ERR_INVALID ? ERR_NONE : rc; }
/* At the beginning of that unit, which may run again: only what prepare has found is wrong so far. */
static inline void admin_only_prepared(struct api_request *r)
{
    if (r->errors.last)
        *r->errors.last = NULL;
}

/* `after` of a change: the next snapshot. */
void admin_after(struct api_request *r);

/* A problem of the field when the workspace has no such project or member; nil is fine. A project that the
 * caller's API key is not for does not exist. */
WARN_UNUSED enum errc admin_check_project(struct api_request *r, struct tx *tx, const char *field,
                                          const uuid *id, err *e);
WARN_UNUSED enum errc admin_check_user(struct api_request *r, struct tx *tx, const char *field,
                                       const uuid *id, err *e);

/* --- limits.c --- */

struct limits_view {
    int64_t requests_per_minute, tokens_per_minute, parallel_calls; /* NO_VALUE: none */
};
extern const struct shape limits_shape;
struct limits_view limits_view_of(const struct rate_limits *l);
struct rate_limits rate_limits_of(const struct limits_view *v);

/* --- budgets.c --- */

struct budget_entry {
    uuid id;
    str scope;
    uuid scope_id;
    str scope_name; /* without a pointer: what it was on is gone */
    str period;
    int64_t limit;
    bool is_hard;
    str alerts_at; /* JSON list of percents */
    int64_t unknown_price_cap;
    int64_t spent, reserved, left, leased;
    usec period_start, resets_at;
    str origin;
    usec created_at, updated_at;
    int64_t version;
};
extern const struct shape budget_shape;

/* A hard budget of a key that is being made, with its event (n tells it from others of the request). */
WARN_UNUSED enum errc budget_of_new_key(struct api_request *r, struct tx *tx, unsigned n,
                                        struct budget_entry *b, err *e);
/* The first budget of each key, in the order of the ids; *out has n entries, NULL without one. */
WARN_UNUSED enum errc budgets_of_keys(struct api_request *r, struct tx *tx, const uuid *keys, unsigned n,
                                      struct budget_entry **out, err *e);
/* The budget that the file gives to a key of the file; NULL without one. */
WARN_UNUSED enum errc budget_of_file_key(struct api_request *r, const struct snapshot_rows *file,
                                         const uuid *key, struct budget_entry **out, err *e);
/* Deletes the budgets of a key that goes, each with its event from n on. */
WARN_UNUSED enum errc budgets_drop_of_key(struct api_request *r, struct tx *tx, const uuid *key, unsigned n,
                                          err *e);
/* What is spent, reserved and left by now. */
void budget_fill(struct api_request *r, struct budget_entry *b);

/* --- provider_test.c --- */

extern const struct shape provider_test_shape;
struct provider_target_spec {
    const struct provider_kind *kind;
    str base_url, api_key;
};
/* Asks the provider for its models: costs nothing. The answer says how it went, whatever happened. */
WARN_UNUSED enum errc provider_try(struct api_request *r, const struct provider_target_spec *target, err *e);
/* {"is_ok":…,"status":…} of the answer. */
str provider_test_metadata(struct api_request *r);

#endif
