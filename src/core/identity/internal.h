/* internal.h - what the files of core/identity share; nobody else includes it. */
#ifndef CORE_IDENTITY_INTERNAL_H
#define CORE_IDENTITY_INTERNAL_H

#include "base/crypto.h"
#include "base/keytext.h"
#include "core/events.h"
#include "core/identity/identity.h"
#include "core/identity/limits.h"
#include "core/identity/password.h"
#include "core/live.h"

#define TOKEN_LEN 64 /* hex of 256 random bits */
#define MAC_LEN 64   /* hex of HMAC-SHA256 */
#define USER_AGENT_MAX 256
#define REAUTHENTICATION_US (600LL * USEC_PER_S)
#define INVITATION_US (7 * USEC_PER_DAY)

struct identity {
    struct store *store;
    struct db *db;
    struct live *live;
    const struct sql *find_project;
    str public_url, origin; /* scheme://host[:port] of public_url */
    bool is_loopback;       /* the origin is: its other names are as good */
    str port;               /* of a loopback origin: ":8080" or empty */
    str scheme;             /* "http" */
    uint8_t csrf_key[32], device_key[32];
    struct password_gate gate;
    usec session_idle_us, session_max_us;
    struct arena arena;
};
static inline struct identity *identity_of(const struct api_request *r) { return r->service; }

/* Events of one request are told apart by number, the same each time its unit runs. */
enum event_number {
    EVENT_SIGN_IN = 1,
    EVENT_USER,
    EVENT_WORKSPACE,
    EVENT_MEMBER,
    EVENT_INVITATION,
    EVENT_REPLACED,
    EVENT_KEY,
    EVENT_MORE = 16,    /* and on: one for each of many */
    EVENT_FAILURE = 900 /* in a unit of its own */
};

/* --- texts and tokens (tokens.c) --- */

/* The form under which an e-mail address is unique: NFC, case folded. */
WARN_UNUSED enum errc email_key(struct arena *a, str email, str *out, err *e);
/* The part before the @. */
str email_local(str email);

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
/* HMAC-SHA256 in hex. */
void mac_of(const uint8_t key[32], str data, char out[MAC_LEN + 1]);
/* The value of a cookie; empty when it is not there. */
str cookie_get(const struct http_head *h, str name);
/* Adds a cookie to the answer; max_age_s 0 takes it away. */
void cookie_set(struct api_request *r, str name, str value, int64_t max_age_s);
str header_get(const struct http_head *h, str name);
/* ERR_FORBIDDEN when a browser says that the request was made by another site. needs_proof: saying nothing
 * is not enough. */
WARN_UNUSED enum errc origin_check(const struct identity *id, const struct http_head *h, bool needs_proof,
                                   err *e);

/* --- people (users.c) --- */

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
str user_password(const struct val *row); /* PHC */

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
/* A password in its normal form, checked: ERR_INVALID with r->errors under `field`. */
WARN_UNUSED enum errc password_accept(struct api_request *r, const char *field, str given, const str *words,
                                      unsigned n_words, str *nfc, err *e);

struct account { /* what signing in needs to know of a user */
    struct user user;
    str password; /* PHC, empty without */
    bool is_disabled, exists;
};
/* By the form of its address. exists false: there is none. */
WARN_UNUSED enum errc account_find(struct identity *id, struct arena *a, str key, struct account *out,
                                   err *e);
WARN_UNUSED enum errc account_of(struct identity *id, struct arena *a, const uuid *user, struct account *out,
                                 err *e);
WARN_UNUSED enum errc account_set_password(struct tx *tx, const uuid *user, const char *phc, usec now,
                                           err *e);

/* --- sessions (sessions.c) --- */

struct fresh_session {
    uuid id;
    struct token token;
};
str session_cookie_name(const struct api_request *r);
str device_cookie_name(const struct api_request *r);
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
bool device_is_known(const struct identity *id, str cookie, const uuid *user, str phc, usec now);
/* Closes the live streams of a session or API key that has ended. */
void session_revoke(const struct identity *id, const uuid *session);
/* Every session of the caller but this one; with an event if there was any. */
WARN_UNUSED enum errc sessions_end_others(struct api_request *r, struct tx *tx, err *e);
/* The password was given in the last ten minutes. ERR_REAUTHENTICATE, ERR_FORBIDDEN for API keys. */
WARN_UNUSED enum errc recently_authenticated(const struct api_request *r, err *e);

struct signed_in {
    struct user user;
    str csrf_token;
};
extern const struct shape signed_in_shape;

/* --- workspaces (workspaces.c, members.c) --- */

struct workspace {
    uuid id;
    str name;
    str settings; /* JSON object; without a pointer when the caller may not see it */
    str role;     /* the caller's */
    usec created_at, updated_at;
    int64_t version;
};
extern const struct shape workspace_shape;
/* With its owner and both events. */
WARN_UNUSED enum errc workspace_insert(struct api_request *r, struct tx *tx, const struct workspace *w,
                                       const uuid *owner, err *e);

WARN_UNUSED enum errc member_insert(struct api_request *r, struct tx *tx, const uuid *workspace,
                                    const uuid *user, enum role role, err *e);
/* *is_member false: they are not. */
WARN_UNUSED enum errc member_role(struct tx *tx, struct arena *a, const uuid *workspace, const uuid *user,
                                  bool *is_member, enum role *out, err *e);
/* Whether the caller may give or take this role: nobody gives more than they hold, and owners are made and
 * unmade only by owners who have just given their password. API keys count as holding what no key can
 * hold, if their user does. */
WARN_UNUSED enum errc may_give_role(const struct api_request *r, enum role role, err *e);
/* --- API keys (keys.c) --- */

#define KEY_DAYS_DEFAULT 90
#define KEY_DAYS_MAX 365

struct new_key {
    uuid id, workspace_id, user_id;
    str name;
    char text[KEYTEXT_LEN + 1];
    uint8_t hash[SHA256_LEN];
    struct permission_set scopes;
    str project_ids; /* separated by spaces; empty: all */
    usec created_us, expires_us;
};
/* For prepare. */
void key_make(struct new_key *k, usec now, str name, const uuid *workspace, const uuid *user,
              const struct permission_set *scopes, int64_t days);
/* With its event. */
WARN_UNUSED enum errc key_insert(struct api_request *r, struct tx *tx, const struct new_key *k, err *e);
/* All API keys of a member, with an event each. */
WARN_UNUSED enum errc keys_revoke_of(struct api_request *r, struct tx *tx, const uuid *workspace,
                                     const uuid *user, err *e);
/* The names of a set, in the arena. */
WARN_UNUSED enum errc permission_names(struct arena *a, const struct permission_set *set, struct texts *out,
                                       err *e);

#endif
