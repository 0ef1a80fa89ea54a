/* identity.h - people and how they prove who they are: set-up, sign-in, sessions, API keys.
 *
 * Cookies: __Host-cat_session over TLS, cat_session on plain loopback; 256 random bits of which the database
 * holds the SHA-256. A session ends after identity.session_idle_ms without a request, at the latest after
 * identity.session_max_ms. An unsafe method with a cookie needs Sec-Fetch-Site: same-origin (or an Origin
 * that is ours) and X-CSRF-Token, which is HMAC-SHA256(session, key).
 * API keys: "Authorization: Bearer cat_…"; base/keytext.h. They act for their user, with their scopes and
 * what the user's role allows today, in one workspace. Both are looked up on every request, so what is
 * revoked, ended, disabled or removed stops at the next one.
 * Passwords: password.h. Failures: limits.h.
 * Threads: any but loops.
 * Source: OWASP ASVS 5.0 V6, V7; NIST SP 800-63B-4; Fetch Metadata (Sec-Fetch-Site).
 */
#ifndef CORE_IDENTITY_IDENTITY_H
#define CORE_IDENTITY_IDENTITY_H

#include "core/api.h"
#include "core/secrets.h"

extern const struct option_table identity_options;

struct live;
struct mailer;
struct identity;
struct identity_source {
    struct store *store;
    const struct secrets *secrets;
    const struct config *config;
    /* "https://catalyst.example.com", without a slash at its end: the origin of browsers, and how links begin.
     * Empty where nobody needs it. */
    str public_url;
    struct permissions *permissions; /* what is remembered of people's access; may be NULL */
    /* "iss" of access tokens: the same at all nodes; empty: public_url. */
    str issuer;
    struct signing *signing; /* signs access tokens; NULL: none are given and taken */
    struct live *live; /* streams of what has ended are closed; may be NULL */
    struct mailer *mailer; /* NULL where nobody asks the API */
    /* "uu": workspace, project; one row when it exists: the projects that an API key can be limited to. */
    const struct sql *find_project;
    /* "ui": workspace, at most so many; the ids of its projects. */
    const struct sql *project_ids;
};
WARN_UNUSED enum errc identity_new(struct identity **out, const struct identity_source *source, err *e);
void identity_free(struct identity *id); /* NULL is fine */
struct events;
/* Closes streams here when another node has ended a session, revoked a key or changed a membership. Before events_start. */
void identity_watch(struct identity *id, struct events *log);

/* For struct api_setup, with the identity as ctx. */
WARN_UNUSED enum errc identity_authenticate(void *ctx, struct api_request *r, const struct http_head *h,
                                            err *e);
WARN_UNUSED enum errc identity_authorize(void *ctx, struct api_request *r, struct tx *tx, err *e);
WARN_UNUSED enum errc identity_only_workspace(void *ctx, struct api_request *r, struct tx *tx, uuid *out,
                                              err *e);

/* For struct live_setup: whether r->who is still who they were, and what they may; no use is noted. */
WARN_UNUSED enum errc identity_recheck(void *ctx, struct api_request *r, struct tx *tx, err *e);
/* A chore for jobs_add_chore: forgets sessions that have ended, invitations that nobody accepted, old
 * counters. */
WARN_UNUSED enum errc identity_tidy(struct tx *tx, void *ctx, err *e);

/* Their service is the identity. */
extern const struct api_table setup_api, auth_api, sessions_api, users_api, api_keys_api, sign_in_steps_api, step_up_api,
    enrolment_api, factors_api, tokens_api, device_api, signing_api;

/* --- the first start --- */

/* While nobody owns the instance: a fresh one-time link, valid for an hour, in place of the one before.
 * Empty once there is an owner. In the arena. */
WARN_UNUSED enum errc identity_setup_link(struct identity *id, struct arena *a, str *link, err *e);

struct setup_request {
    str email, name, password; /* an empty name is the address up to its @ */
    str workspace_name;        /* empty: "Default" */
};
struct setup_result {
    uuid user_id, workspace_id;
    str api_key; /* every permission that a key can hold */
};
/* Owner, first workspace and an API key in one go, by somebody who may write to the data folder.
 * ERR_CONFLICT when there is an owner already; ERR_INVALID with what is wrong. */
WARN_UNUSED enum errc identity_setup(struct identity *id, struct arena *a,
                                     const struct setup_request *request, struct setup_result *out, err *e);
/* The same as a command of the control socket: "setup" with email, name, password, workspace; writes
 * {workspace_id, user_id, api_key}. */
WARN_UNUSED enum errc identity_setup_command(void *id, struct arena *a, const struct json *request,
                                             struct json_writer *result, err *e);
void setup_result_write(const struct setup_result *result, struct json_writer *w);

#endif
