/* api.h - the control plane's endpoints as data, and the one path that every request under /api takes.
 *
 *   loop     head → route, media type, size
 *   pool     who asks (401) → which workspace, which resource (404) → may they (403) → limits (429)
 *            → decode path, query, body (400, all wrong fields at once) → prepare (no transaction: ids, hashing, files)
 *            → apply in one unit of work, with its event and its Idempotency-Key → after (caches, wake-ups) → encode
 *   loop     answer
 *
 * A service exports a const table of struct api_route; main.c collects the tables. The router, the permission check, validation,
 * openapi.json, the TypeScript types, docs/api.md and the test of every endpoint in every role are made from them. A route without a row in
 * rbac.json, or with another permission than its row, does not start.
 * A route with EFFECT_STATE whose unit changed rows without adding an event is not committed (ERR_INTERNAL, logged).
 * Threads: handlers run on the API pool (api.threads), never on a loop; a request belongs to one thread.
 */
#ifndef CORE_API_H
#define CORE_API_H

#include "core/permissions.h"
#include "core/router.h"
#include "core/shape.h"
#include "store/store.h"

extern const struct option_table api_options; /* api.threads, api.queue, api.deadline_ms, api.rate_per_minute, … */

enum api_effect { EFFECT_NONE, EFFECT_TELEMETRY, EFFECT_STATE };

/* What stands in the permission column of rbac.json instead of a permission. */
enum api_access {
    ACCESS_PERMISSION,      /* route.permission */
    ACCESS_SIGNED_IN,       /* any session, API key or access token */
    ACCESS_SESSION,         /* the same without programs (403): a row of rbac.json whose "keys" is false */
    ACCESS_PUBLIC,
    ACCESS_SETUP_TOKEN,     /* the handler checks the token itself */
    ACCESS_INSTANCE_ADMIN,
};

/* Where the workspace of a request comes from. */
enum api_scope {
    SCOPE_INSTANCE,         /* none */
    SCOPE_SELF,             /* none: the caller's own things, over all workspaces */
    SCOPE_WORKSPACE,        /* X-Catalyst-Workspace, ?workspace=, the key's own, the only membership; or the path's :id of /api/workspaces/:id */
};

enum principal_kind { PRINCIPAL_NONE, PRINCIPAL_SESSION, PRINCIPAL_API_KEY, PRINCIPAL_BEARER, PRINCIPAL_SYSTEM };

struct principal {
    enum principal_kind kind;
    uuid user_id;
    uuid credential_id;       /* session or API key; of an access token its session */
    uuid key_workspace_id;    /* API keys and access tokens: theirs */
    struct permission_set key_scopes; /* API keys and access tokens: what they were given; all for sessions */
    const uuid *key_projects; /* API keys: the only projects they are for; none: all */
    unsigned n_key_projects;
    bool is_instance_admin;   /* never for programs */
    usec authenticated_us;    /* sessions: when the password or a factor was last given */
    usec factor_us;           /* sessions: when a second factor was last given; 0: never */
    bool is_phishing_resistant; /* sessions: that factor was a passkey */
    bool has_factors;         /* the user has enrolled some */
    usec began_us;            /* sessions and access tokens: when the session began */
    str email, name;          /* of the user */
};

/* An API key or an access token: it reaches one workspace, has scopes, and can do nothing that is for people only. */
static inline bool principal_is_program(const struct principal *who)
{
    return who->kind == PRINCIPAL_API_KEY || who->kind == PRINCIPAL_BEARER;
}

#define API_PATH_PARAMS 4

struct api_route;
struct api_request {
    struct arena *arena;
    const struct api_route *route;
    struct store *store;
    void *service;            /* of the table */
    usec now_us;              /* when the request arrived: the time of everything it writes */
    uuid request_id;
    enum http_method method;
    str path_text[API_PATH_PARAMS]; /* decoded values of :params in order */
    uuid path_id[API_PATH_PARAMS];  /* the same read as ids (nil when it is not one) */
    const void *query;        /* struct of route->query */
    unsigned limit;           /* lists: ?limit= and ?cursor=, which no query shape names */
    str cursor;
    void *body;               /* struct of route->body; for a merge after the resource has been loaded see api_merge */
    uint64_t body_has;        /* bit per field of route->body that was sent */
    const struct json *body_json;
    str last_event_id;        /* of the field Last-Event-ID */
    str if_match;             /* the ETag asked for, empty without */
    struct principal who;
    uuid workspace_id;
    str role;                 /* the caller's in that workspace ("owner"); empty without one */
    struct permission_set may; /* effective permissions in that workspace */
    struct access *access;    /* all that they follow from; NULL without a workspace. The request's own hold */
    uuid project_id;          /* of the resource that the path names; nil: the workspace's, or none */
    str address, user_agent;  /* of the client */
    str device;               /* the known-device cookie that came along: core/identity */
    str sign_in, passkey;     /* likewise those of a sign-in that is half done, and of a passkey that was asked for */
    struct field_errors errors;
    bool is_secure;           /* the client's connection is TLS, or a trusted proxy says so */
    unsigned retry_after_s;   /* of a refusal with 429 or 503; 0: the default */

    /* the answer, set by prepare or apply (apply may run again: it must set all of it each time) */
    int status;               /* 0: the route's */
    void *answer;             /* struct of route->answer */
    struct objects items;     /* lists: structs of route->answer */
    str next_cursor;
    str location;             /* of what was created */
    str etag;                 /* without quotes; empty: none */
    str raw, raw_type;        /* instead of all that: a body as it is */
    unsigned public_for_s;    /* the answer is the same for everybody and may be cached this long; 0: no-store */
    bool has_secret;          /* the answer shows a secret once: never stored for Idempotency-Key */
    str cookies[4];           /* Set-Cookie values */
    unsigned n_cookies;
    uuid job_id;              /* 202: the job that does the rest */
    void *state;              /* the handler's own, from prepare to apply to after */
};

struct api_resource { /* what an id in the path names; looked up before the permission is checked */
    const char *param;        /* ":id" */
    const struct sql *find;   /* "uu": workspace, id; one row when it exists there; first column: its project id or NULL. A project that the
                                 API key is not for does not exist for it either */
    const char *noun;         /* "project", for messages */
    bool is_in_project;       /* it is a project's, or the whole workspace's (NULL) and then nothing for such a key */
};

struct api_route {
    enum http_method method;
    const char *path;         /* "/api/projects/:id" */
    const char *name;         /* operationId: "projects_get" */
    enum api_access access;
    enum permission permission;
    enum api_scope scope;
    enum api_effect effect;
    const struct api_resource *resource;
    bool (*is_elsewhere)(const struct api_request *r, const uuid *id); /* the resource may also be of the configuration; may be NULL */
    bool (*is_own)(const struct api_request *r); /* the caller's own thing: being a member is enough; may be NULL */
    const struct shape *query, *body, *answer;
    bool is_of_projects;      /* the permission in any project is enough: the handler shows what belongs to those only */
    bool is_list, is_merge;   /* items and next_cursor; PATCH */
    bool is_csv;              /* Accept: text/csv gives the list as CSV */
    bool is_delayed;          /* answers 202 with a job */
    bool is_idempotent_exempt;/* sign-in and the like: Idempotency-Key is not looked at */
    int status;               /* of success: 0 = 200, 202 when is_delayed, 204 without an answer; what creates says 201 and sets r->location */
    size_t body_max;          /* bytes; 0: limits.api_body_bytes */
    const char *reads;        /* what it shows is sensitive: the type of the event that says that it was read ("audit.read"); NULL: it is not */
    const char *summary;      /* one line */
    const char *text;         /* the rest, Markdown; may be NULL */
    enum errc (*prepare)(struct api_request *r, err *e);               /* may be NULL */
    enum errc (*apply)(struct api_request *r, struct tx *tx, err *e);  /* may be NULL; db_write for EFFECT_STATE and _TELEMETRY, else db_read */
    void (*after)(struct api_request *r);                              /* committed; may be NULL. Must not fail */
    /* Instead of an answer: takes the connection over, on its loop, and sends the head with these fields (complete lines). r ends with the call. */
    void (*stream)(struct api_request *r, struct http_conn *c, str fields);
    enum db_id db;            /* of apply; DB_MAIN */
};

struct api_table {
    const char *tag;          /* "projects": groups in the documentation */
    const struct api_route *routes;
    unsigned n;
};

#define API_TABLES_MAX 64
struct api_mount {
    const struct api_table *table;
    void *service;
};

struct api;
struct jobs;
struct api_setup {
    struct store *store;
    const struct config *config;
    const struct api_mount *mounts;
    unsigned n_mounts;
    struct jobs *jobs;        /* woken when a request has added one; may be NULL */
    /* Who a request comes from, by its head: core/identity. Leaves who->kind PRINCIPAL_NONE without credentials; ERR_UNAUTHENTICATED for bad ones where
     * the route needs any, ERR_FORBIDDEN when the CSRF token is missing or the request comes from another site. Runs on the pool. */
    enum errc (*authenticate)(void *ctx, struct api_request *r, const struct http_head *h, err *e);
    /* Role and permissions of r->who in r->workspace_id; ERR_NOT_FOUND when not a member. tx is on DB_MAIN. */
    enum errc (*authorize)(void *ctx, struct api_request *r, struct tx *tx, err *e);
    /* The only membership of a user; ERR_INVALID when there are several, ERR_NOT_FOUND when none. */
    enum errc (*only_workspace)(void *ctx, struct api_request *r, struct tx *tx, uuid *out, err *e);
    void *ctx;
};
/* Checks the tables against rbac.json; starts the pool. */
WARN_UNUSED enum errc api_new(struct api **out, const struct api_setup *setup, err *e);
void api_free(struct api *a); /* after the loops; finishes what runs */
void api_mount_on(struct api *a, struct router *r); /* at /api, for each loop */

/* --- for handlers --- */

/* Applies a merge patch to *current (the resource as loaded): ERR_INVALID with r->errors. */
WARN_UNUSED enum errc api_merge(struct api_request *r, void *current, err *e);
/* ERR_PRECONDITION when the client sent If-Match and the resource has another tag by now. */
WARN_UNUSED enum errc api_if_match(const struct api_request *r, str etag, err *e);
/* The tag of a row by its version counter. */
str api_etag(struct api_request *r, int64_t version);
/* Adds a problem of a field and returns ERR_INVALID with the sentence that sums them up. */
enum errc api_field_error(struct api_request *r, err *e, const char *field, const char *code, const char *fmt, ...) PRINTF_LIKE(5, 6);
/* Whether the caller's effective permissions in the workspace hold it. */
static inline bool api_may(const struct api_request *r, enum permission p) { return permission_set_has(&r->may, p); }
/* The same in a project (nil: in the workspace): of what is given there too, and nothing where it does not exist for the caller. */
bool api_may_in(const struct api_request *r, const uuid *project, enum permission p);
/* Whether this project exists for the caller: it may be restricted, or taken from them, and API keys can be for some projects only (for these,
 * what belongs to no project (nil) does not exist either). What does not exist is 404, and absent from lists, exports, events and jobs. */
bool api_sees_project(const struct api_request *r, const uuid *project);
/* For ids in bodies: ERR_NOT_FOUND when it does not exist for the caller, ERR_FORBIDDEN when they may not there. */
WARN_UNUSED enum errc api_need_in(const struct api_request *r, const uuid *project, enum permission p, err *e);
/* The projects of the workspace that do not exist for the caller, as text for a statement: ids in hex joined by commas, empty when there are none. An
 * API key's own list of projects is not in it. */
WARN_UNUSED enum errc api_hidden_projects(const struct api_request *r, str *out, err *e);
/* "/api/projects/<id>" */
str api_location(struct api_request *r, const char *prefix, const uuid *id);

/* openapi.json (3.1) of these tables. */
void api_openapi(const struct api_mount *mounts, unsigned n, struct buf *out);
/* docs/api.md */
void api_reference(const struct api_mount *mounts, unsigned n, struct buf *out);

#endif
