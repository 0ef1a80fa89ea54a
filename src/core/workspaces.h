/* workspaces.h - the tenants: workspaces with their settings, policies and plans, their members, invitations
 * to them.
 *
 * Nobody gives more than they hold, and a workspace always has an owner. An invitation is bound to its
 * address and worth what its inviter could give on the day it is accepted.
 * Settings are one JSON object of the row, checked when it is written; who enforces one reads it by
 * workspace_policy in the snapshot that the decision is made in.
 * A plan is a named bundle of limits (plans[] of the configuration), kept as rows so that a unit that adds
 * something counts and compares in one transaction: two who want the last place do not both get it.
 * Threads: any but loops. The tables' service is the identity.
 */
#ifndef CORE_WORKSPACES_H
#define CORE_WORKSPACES_H

#include "core/api.h"
#include "core/config.h"

extern const struct option_table workspaces_options;
struct workspace_rules;
struct workspace_rules workspace_rules_read(const struct config *c);
extern const struct api_table workspaces_api, members_api, invitations_api;

/* --- settings and policies --- */

struct workspace_settings {
    bool allow_external_collaborators; /* false: only addresses of email_domains, or of the owners' domains without any */
    bool require_code_review, require_deployment_approval;
    str default_llm_provider;          /* empty: none */
    struct texts email_domains;        /* lower case */
    str mfa_required;                  /* none, all, roles (those of mfa_roles) */
    struct texts mfa_roles;            /* names of built-in roles or ids of custom ones */
    struct texts passkey_roles;        /* whose second factor must be phishing-resistant */
    int64_t session_max_hours;         /* since the password or a factor was given; 0: as the instance says */
    int64_t api_key_max_days;
    struct texts allowed_addresses;    /* ranges that requests may come from; none: anywhere */
    struct texts cors_origins;         /* "https://app.example.com" */
};
extern const struct shape workspace_settings_shape;
/* What a new workspace has; NULL when the arena is exhausted. */
struct workspace_settings *workspace_settings_usual(struct arena *a);
/* Of a row. Members that are not known (of another release) are left out; what is missing gets its default. */
WARN_UNUSED enum errc workspace_settings_read(struct arena *a, str json, struct workspace_settings *out, err *e);
/* As they are now; ERR_NOT_FOUND without such a workspace. */
WARN_UNUSED enum errc workspace_policy(struct tx *tx, struct arena *a, const uuid *workspace,
                                       struct workspace_settings *out, err *e);
/* Whether somebody with this role must have given a second factor to do anything here, and whether it must be a
 * phishing-resistant one. */
bool workspace_wants_mfa(const struct workspace_settings *s, str role, bool *needs_passkey);
/* Whether the address of a client is in one of the ranges. */
bool workspace_address_is_in(const struct texts *ranges, str address);
/* For authorize, when the role is known: whether the workspace is there for the caller (ERR_NOT_FOUND while it is being
 * deleted, but for its owners, who may only read and restore), takes requests from where this one comes (ERR_FORBIDDEN), and
 * whether the session is good enough for it (ERR_FACTOR_REQUIRED, ERR_REAUTHENTICATE). */
WARN_UNUSED enum errc workspace_admits(const struct api_request *r, struct tx *tx, err *e);

/* --- plans --- */

enum plan_limit { PLAN_MEMBERS, PLAN_PROJECTS, PLAN_SERVICE_ACCOUNTS, PLAN_API_KEYS, PLAN_RETENTION_DAYS, PLAN_LIMITS };
struct plan {
    str name;
    int64_t limits[PLAN_LIMITS]; /* 0: none */
};
/* Writes the configuration's plans into the database. */
WARN_UNUSED enum errc plans_put(struct store *s, const struct config *c, err *e);
WARN_UNUSED enum errc plan_of_workspace(struct tx *tx, struct arena *a, const uuid *workspace, struct plan *out, err *e);
/* ERR_NOT_FOUND: there is no plan of this name. */
WARN_UNUSED enum errc plan_find(struct tx *tx, struct arena *a, str name, struct plan *out, err *e);
/* In the unit that adds one: ERR_PLAN_LIMIT, naming the limit, when there is no room for it. Members: pending invitations
 * count when one is made (counts_pending), so that nobody is invited to a place that is not there. */
WARN_UNUSED enum errc plan_has_room(struct tx *tx, struct arena *a, const uuid *workspace, enum plan_limit what,
                                    bool counts_pending, err *e);

/* --- billing --- */

struct workspace_billing {
    str plan;
    int64_t usage_limit;   /* nano-USD a calendar month (UTC); NO_VALUE: none */
    int64_t current_usage; /* nano-USD, of this month */
};
extern const struct shape workspace_billing_shape;
/* What the ledger says was charged to the workspace in the calendar month of now. Not in a unit. */
WARN_UNUSED enum errc workspace_spent(struct store *s, struct arena *a, const uuid *workspace, usec now_us,
                                      int64_t *nanousd, err *e);
WARN_UNUSED enum errc workspace_billing(struct tx *tx, struct arena *a, const uuid *workspace, int64_t spent_nanousd,
                                        struct workspace_billing *out, err *e);
/* Whether the caller may give their workspace another plan. */
bool workspace_may_choose_plan(const struct api_request *r);

/* --- workspaces --- */

struct workspace {
    uuid id;
    str name;
    uuid owner_id;
    struct workspace_settings *settings; /* NULL when the caller may not see them */
    str role;                            /* the caller's */
    usec created_at, updated_at;
    usec deletes_at; /* it is being deleted; NO_VALUE: it is not */
    int64_t version;
};
extern const struct shape workspace_shape;
/* With its owner and both events. */
WARN_UNUSED enum errc workspace_insert(struct api_request *r, struct tx *tx, const struct workspace *w,
                                       const uuid *owner, err *e);

/* --- members --- */

/* invited_us NO_VALUE: they were not invited. */
WARN_UNUSED enum errc member_insert(struct api_request *r, struct tx *tx, const uuid *workspace, const uuid *user,
                                    str role, usec invited_us, err *e);
/* Whether the caller may give or take this role in a project (NULL: in the workspace): nobody gives more than they
 * hold, and owners are made and unmade only by owners who have just given their password. ERR_INVALID with r->errors
 * when there is no such role. */
WARN_UNUSED enum errc may_give_role(struct api_request *r, struct tx *tx, const uuid *project, const char *field,
                                    str role, err *e);

#endif
