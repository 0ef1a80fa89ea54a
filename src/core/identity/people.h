/* people.h - what other nouns of the core ask of identity: who somebody is, tokens that are shown once, new
 * accounts, the session of somebody who has just come in, step-up.
 *
 * The service of a request's table is the identity (identity_of). Threads: any but loops.
 */
#ifndef CORE_IDENTITY_PEOPLE_H
#define CORE_IDENTITY_PEOPLE_H

#include "base/crypto.h"
#include "core/events.h"
#include "core/identity/identity.h"
#include "core/identity/password.h"
#include "core/live.h"

#define TOKEN_LEN 64 /* hex of 256 random bits */

static inline struct identity *identity_of(const struct api_request *r) { return r->service; }
struct db *identity_db(const struct identity *id);
/* How links begin: of the configuration, never of a request. */
str identity_public_url(const struct identity *id);
struct live *identity_live(const struct identity *id); /* may be NULL */
struct mailer *identity_mailer(const struct identity *id);
/* As identity_source has them; may be NULL. */
const struct sql *identity_find_project(const struct identity *id);
const struct sql *identity_project_ids(const struct identity *id);
/* What the configuration says of workspaces. */
struct workspace_rules {
    bool admins_make, admins_choose_plan; /* only administrators of the instance */
};
const struct workspace_rules *identity_workspace_rules(const struct identity *id);

struct permissions *identity_permissions(const struct identity *id); /* may be NULL */
/* What the caller, with their key's scopes, holds in a workspace that they are a member of. */
WARN_UNUSED enum errc held_in_workspace(const struct api_request *r, struct tx *tx, const uuid *workspace,
                                        struct permission_set *out, err *e);

/* Events of one request are told apart by number, the same each time its unit runs. */
enum event_number {
    EVENT_SIGN_IN = 1,
    EVENT_USER,
    EVENT_WORKSPACE,
    EVENT_MEMBER,
    EVENT_INVITATION,
    EVENT_REPLACED,
    EVENT_KEY,
    EVENT_SERVICE_ACCOUNT,
    EVENT_REQUEST,
    EVENT_FORMER, /* member */
    EVENT_MORE = 16,    /* and on: one for each of many */
    EVENT_FAILURE = 900 /* in a unit of its own */
};

/* --- texts and tokens --- */

/* The form under which an e-mail address is unique: NFC, case folded. */
WARN_UNUSED enum errc email_key(struct arena *a, str email, str *out, err *e);
struct token {
    char text[TOKEN_LEN + 1];
    uint8_t hash[SHA256_LEN];
};
void token_make(struct token *t);
void token_hash(str text, uint8_t hash[SHA256_LEN]);
static inline struct val v_hash(const uint8_t hash[SHA256_LEN])
{
    return v_blob(str_of((const char *)hash, SHA256_LEN));
}

/* --- people --- */

struct user {
    uuid id;
    str email, name;
    bool is_instance_admin;
    usec created_at;
};
extern const struct shape user_shape;
/* The row of a person, for user_read; ERR_NOT_FOUND. */
WARN_UNUSED enum errc user_row(struct tx *tx, struct arena *a, const uuid *user, const struct val **row,
                               err *e);
void user_read(const struct val *row, struct user *out);

/* A person about to be made: everything that needs time or randomness. */
struct new_user {
    struct user user;
    str email_key;
    char password[PASSWORD_HASH_LEN];
};
/* For prepare: the policy, the hash, the person's key. ERR_INVALID with r->errors. words: what the
 * password must not be made of either. */
WARN_UNUSED enum errc new_user_prepare(struct identity *id, struct api_request *r, str email, str name,
                                       str password, const str *words, unsigned n_words, struct new_user *out,
                                       err *e);
/* With its event. ERR_CONFLICT when the address is taken. */
WARN_UNUSED enum errc new_user_insert(struct api_request *r, struct tx *tx, const struct new_user *u, err *e);

/* --- sessions --- */

struct fresh_session {
    uuid id;
    struct token token;
    const char *factors;        /* what was given, for the log: "password", "password+totp", "passkey" */
    bool has_factor;            /* a second factor, or a passkey in place of both */
    bool is_phishing_resistant; /* a passkey */
};
str csrf_token(const struct identity *id, struct arena *a, const uuid *session);
/* For prepare: makes r->who this user in a new session, so that the events name them; ensures the person's
 * key. */
WARN_UNUSED enum errc session_prepare(struct api_request *r, const struct user *user,
                                      struct fresh_session *out, err *e);
/* For apply: the row, the event and the cookie. */
WARN_UNUSED enum errc session_start(struct api_request *r, struct tx *tx, const struct fresh_session *s,
                                    err *e);
/* Makes the browser known to the account, as long as its password stays the same. */
void device_cookie_set(struct api_request *r, const uuid *user, str phc);
/* Closes the live streams of a session or API key that has ended. */
void session_revoke(const struct identity *id, const uuid *session);
/* The same of every session of a person; those that still stand come back. */
void sessions_revoke_of(const struct identity *id, const uuid *user);
/* Step-up: the password was given in the last ten minutes, or, of a person who has enrolled factors, one of them.
 * ERR_REAUTHENTICATE, ERR_FORBIDDEN for API keys. */
WARN_UNUSED enum errc recently_authenticated(const struct api_request *r, err *e);

/* What a workspace can ask of how its people signed in. */
enum factor_policy { FACTOR_OPTIONAL, FACTOR_REQUIRED, FACTOR_PHISHING_RESISTANT };
#define FACTOR_MAX_US USEC_PER_DAY /* how long a factor counts for a workspace that requires one */
/* Whether the caller's session satisfies it; API keys were made by who did. ERR_FACTOR_REQUIRED: none that would do is
 * enrolled; ERR_REAUTHENTICATE: it was given too long ago, or another one was. */
WARN_UNUSED enum errc factor_enough(const struct api_request *r, enum factor_policy policy, err *e);

struct signed_in {
    struct user user;
    str csrf_token;
};
extern const struct shape signed_in_shape;

/* --- API keys --- */

/* All API keys of a member, with an event each. */
WARN_UNUSED enum errc keys_revoke_of(struct api_request *r, struct tx *tx, const uuid *workspace,
                                     const uuid *user, err *e);

#endif
