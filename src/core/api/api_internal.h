/* api_internal.h - what the files of core/api share. Private to src/core/api.
 *
 * A request is a struct api_call: made on its loop, run on the pool, answered on its loop, freed there. The
 * loop touches only `conn` of it while the pool has it.
 */
#ifndef CORE_API_INTERNAL_H
#define CORE_API_INTERNAL_H

#include <pthread.h>

#include "core/api.h"
#include "core/api/rate.h"
#include "core/pool.h"

#define API_SEGMENTS_MAX 12
#define API_PROBLEM_MAX (64u << 10)
#define API_ANSWER_MAX (32u << 20)
#define API_FIELDS_MAX (16u << 10)    /* header fields of an answer */
#define API_LIST_DEFAULT 50
#define API_LIST_MAX 200
#define API_CSV_DEFAULT 1000
#define API_CSV_MAX 1000

/* A route as it is served. */
struct endpoint {
    struct route route;               /* what the router sees */
    const struct api_route *api;
    const struct rbac_row *row;
    void *service;
    const char *tag;
    unsigned n_segments, n_params;
    str segments[API_SEGMENTS_MAX];   /* ":id" for a parameter */
    str allow;                        /* "GET, HEAD, PATCH": the methods of its path */
    size_t body_max;
    struct stat_series *seconds;
};

struct api_call;
struct refusals;

struct api {
    struct store *store;
    struct api_setup setup;
    struct api_mount mounts[API_TABLES_MAX];
    unsigned n_mounts;
    struct arena arena;               /* of the endpoints */
    struct endpoint *endpoints;       /* the endpoints of one path are adjacent; more exact paths come first */
    unsigned n_endpoints;
    struct pool *pool;
    struct rate_table *by_principal, *by_address;
    struct refusals *refusals;
    struct stat *requests;            /* counter by route and status */
    bool is_behind_proxy;
    size_t body_max;
    struct buf openapi;
    pthread_mutex_t lock;             /* guards calls */
    struct api_call *calls;           /* not yet freed */
    pthread_mutex_t tidy_lock;        /* guards is_stopping, for the condition */
    pthread_cond_t tidy_wake;
    pthread_t tidy;
    bool is_tidying, is_stopping;
};

struct api_call {
    struct pool_task task;
    struct loop_task answer;
    struct api *api;
    const struct endpoint *endpoint;
    struct loop *loop;
    struct http_conn *conn;           /* of the loop: NULL when the client is gone */
    struct api_call *next, **link;    /* in api->calls */
    struct arena arena;
    struct http_head head;            /* a copy in the arena */
    struct buf body;
    usec arrived_mono_us;
    bool wants_csv;
    str query;                        /* without what the pipeline itself reads of it */
    str idempotency_key;
    bool is_replay;
    bool is_stream;                   /* route->stream takes the connection over */
    struct rate_answer rate;
    bool has_rate;
    const char *permission;           /* the one that was missing, or NULL */
    struct api_request r;
    /* what goes out */
    int status;
    str media_type;
    struct buf fields, out;
};

/* --- api_paths.c --- */
WARN_UNUSED enum errc api_compile(struct api *a, err *e);
const struct endpoint *api_find(const struct api *a, enum http_method m, str path, str *allow);
/* Reads r->path_text and path_id; false when a part of the path is not well-formed. */
WARN_UNUSED bool api_path_params(struct arena *a, const struct endpoint *ep, str path, struct api_request *r);

/* --- api_loop.c --- */
enum errc api_admit(void *service, struct http_conn *c, const struct http_head *h, err *e);
void api_handle(void *service, struct http_conn *c, const struct route *route, const struct http_request *request);
struct api_call *api_call_new(struct api *a, const struct endpoint *ep); /* NULL when out of memory */
void api_call_free(struct api_call *k);
void api_calls_free(struct api *a); /* after the loops */

/* --- api_run.c: on the pool --- */
void api_run(struct api_call *k);

/* --- api_answer.c --- */
/* Fills k->status, media_type, fields and out. */
void api_answer(struct api_call *k);
void api_answer_stream(struct api_call *k);
void api_answer_problem(struct api_call *k, const err *e);
/* What a problem says it happened to: the path, or its pattern where that holds a secret. */
str api_instance(str pattern, str path);
/* A problem that never was a call: k is NULL. */
void api_problem(struct buf *out, int status, const char *code, str detail, str instance, str request_id, const char *permission,
                 const struct field_errors *errors);
/* Machine name and status of an error in the API's words. */
const char *api_code(enum errc code);
/* public_for_s: seconds that the answer may be cached for everybody; 0: not at all. */
void api_security_fields(struct buf *fields, bool is_secure, unsigned public_for_s);
/* The body of a successful answer; without_secrets: the copy for Idempotency-Key. */
void api_encode(const struct api_call *k, bool without_secrets, struct buf *out);
int api_success_status(const struct api_request *r);

/* --- api_idempotency.c --- */
/* In the unit: finds the answer of an earlier request with the key (*found: r holds it), or ERR_CONFLICT
 * when the earlier one asked for something else. */
WARN_UNUSED enum errc api_idempotency_find(struct api_call *k, struct tx *tx, bool *found, err *e);
WARN_UNUSED enum errc api_idempotency_keep(struct api_call *k, struct tx *tx, err *e);
/* Deletes what is older than a day. */
void api_idempotency_tidy(struct store *s, usec now_us);

/* --- api_refusals.c --- */
WARN_UNUSED enum errc refusals_new(struct refusals **out, struct store *s, err *e);
void refusals_free(struct refusals *f);
/* Writes the event, unless ten of the same kind have been written this minute: those are counted. */
void refusals_add(struct refusals *f, const struct api_request *r, const char *permission, enum errc code, str message);
/* The same for what r->route reads; when it cannot be written, nothing is answered. */
WARN_UNUSED enum errc reads_add(struct refusals *f, const struct api_request *r, err *e);
/* Writes what was counted in minutes that are over (all: in this one too). */
void refusals_tidy(struct refusals *f, usec now_us, bool all);

extern const struct api_table api_own_table; /* GET /api/openapi.json; service: struct api * */

#endif
