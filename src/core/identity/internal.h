/* internal.h - what the files of core/identity share; nobody else includes it. */
#ifndef CORE_IDENTITY_INTERNAL_H
#define CORE_IDENTITY_INTERNAL_H

#include "base/keytext.h"
#include "core/identity/limits.h"
#include "core/identity/people.h"

#define MAC_LEN 64 /* hex of HMAC-SHA256 */
#define USER_AGENT_MAX 256
#define REAUTHENTICATION_US (600LL * USEC_PER_S)

struct bearer_memory;
struct identity {
    struct store *store;
    struct db *db;
    struct live *live;
    struct mailer *mailer;
    struct permissions *permissions;
    const struct sql *find_project, *project_ids;
    struct workspace_rules workspaces;
    str public_url, origin; /* scheme://host[:port] of public_url */
    bool is_loopback;       /* the origin is: its other names are as good */
    str port;               /* of a loopback origin: ":8080" or empty */
    str scheme;             /* "http" */
    str passkey_host;       /* whose passkeys are: "catalyst.example.com", "localhost"; empty: an address alone */
    const struct secrets *secrets;
    uint8_t csrf_key[32], device_key[32], refresh_key[32], user_code_key[32];
    struct signing *signing; /* NULL: no access tokens */
    str issuer, audience;    /* of access tokens */
    struct bearer_memory *memory;
    struct password_gate gate;
    usec session_idle_us, session_max_us;
    struct arena arena;
};

/* --- programs' sign-ins (bearer/) --- */

WARN_UNUSED enum errc bearer_memory_new(struct bearer_memory **out, err *e);
void bearer_memory_free(struct bearer_memory *m); /* NULL is fine */
/* Something has ended: every session is looked at anew. */
void bearer_forget(struct bearer_memory *m); /* NULL is fine */
/* That r->who was here, to the minute. */
void identity_touch(struct identity *id, struct api_request *r, const struct http_head *h, usec last_us);

/* --- texts and tokens (tokens.c) --- */

/* The part before the @. */
str email_local(str email);

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

str user_password(const struct val *row); /* PHC */

/* A password in its normal form, checked: ERR_INVALID with r->errors under `field`. has_factors: of its person, for
 * whom a shorter one will do. */
WARN_UNUSED enum errc password_accept(struct api_request *r, const char *field, str given, bool has_factors,
                                      const str *words, unsigned n_words, str *nfc, err *e);

struct account { /* what signing in needs to know of a user */
    struct user user;
    str password; /* PHC, empty without */
    bool is_disabled, exists;
    bool has_factors;
};
/* By the form of its address. exists false: there is none. */
WARN_UNUSED enum errc account_find(struct identity *id, struct arena *a, str key, struct account *out,
                                   err *e);
WARN_UNUSED enum errc account_of(struct identity *id, struct arena *a, const uuid *user, struct account *out,
                                 err *e);
/* is_short: of less than PASSWORD_MIN, so that the last factor cannot go before it is changed. */
WARN_UNUSED enum errc account_set_password(struct tx *tx, const uuid *user, const char *phc, bool is_short,
                                           usec now, err *e);

/* --- sessions (sessions.c) --- */

str session_cookie_name(const struct api_request *r);
str device_cookie_name(const struct api_request *r);
bool device_is_known(const struct identity *id, str cookie, const uuid *user, str phc, usec now);
/* Every session of the caller but this one; with an event if there was any. */
WARN_UNUSED enum errc sessions_end_others(struct api_request *r, struct tx *tx, err *e);

/* --- factors (factors/) --- */

/* Of a sign-in that is half done, and of a passkey that was asked for before anybody was named. */
str sign_in_cookie_name(const struct api_request *r);
str passkey_cookie_name(const struct api_request *r);
/* What lives in the database for minutes only. */
WARN_UNUSED enum errc factors_tidy(struct tx *tx, usec now, err *e);

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
    str addresses;   /* ranges, likewise; empty: anywhere */
    usec created_us, expires_us;
};
/* For prepare. */
void key_make(struct new_key *k, usec now, str name, const uuid *workspace, const uuid *user,
              const struct permission_set *scopes, int64_t days);
/* With its event. */
WARN_UNUSED enum errc key_insert(struct api_request *r, struct tx *tx, const struct new_key *k, err *e);
/* Says in the log that a key which exists was refused: "expired", "address", "disabled"; at most once a minute for a key. */
void key_use_refused(struct identity *id, const struct api_request *r, const struct principal *who, const char *why);
/* The names of a set, in the arena. */
WARN_UNUSED enum errc permission_names(struct arena *a, const struct permission_set *set, struct texts *out,
                                       err *e);

#endif
