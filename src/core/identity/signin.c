/* Signing in and changing one's password: every look at a password, behind the limits. */
#include "base/log.h"
#include "core/identity/factors/factors.h"

static const struct field signed_in_fields[] = {
    FIELD(struct signed_in, user, FIELD_OBJECT, .flags = FIELD_READONLY, .shape = &user_shape,
          .meaning = "Who is signed in now."),
    FIELD(struct signed_in, csrf_token, FIELD_TEXT, .flags = FIELD_READONLY,
          .meaning = "What X-CSRF-Token must be in requests that change something."),
};
const struct shape signed_in_shape = SHAPE("SignedIn", struct signed_in, signed_in_fields,
                                           "A session that has begun; its cookie comes along.");

/* --- a look at a password --- */

struct password_look {
    struct limit_try try;
    struct account account;
    str nfc;
    bool is_outdated;
};

struct failure {
    const struct api_request *r;
    const struct password_look *look;
    str type;
};

static enum errc failure_unit(struct tx *tx, void *ctx, err *e)
{
    const struct failure *f = ctx;
    struct event ev = event_of(f->r, f->type, EVENT_FAILURE);
    ev.workspace_id = (uuid){0};
    ev.resource_type = S("user");
    ev.resource_id = f->look->account.user.id;
    ev.status = S("failure");
    ev.error = str_c(errc_name(ERR_CREDENTIALS));
    return tx_event(tx, &ev, e);
}

/* Everybody takes the same time and gets the same answer: an account that does not exist, one that is
 * disabled, one without a password, a wrong password. ERR_CREDENTIALS, ERR_RATE_LIMITED, ERR_UNAVAILABLE. */
static enum errc look_at(struct api_request *r, struct password_look *l, str type, err *e)
{
    struct identity *id = identity_of(r);
    struct account *account = &l->account;
    struct failure f = {r, l, type};
    err other = {0};
    bool is_right;
    l->try.address = r->address;
    l->try.user_id = account->user.id;
    l->try.is_known_device =
        account->exists && device_is_known(id, r->device, &account->user.id, account->password, r->now_us);
    enum errc rc = limit_begin(id->db, &l->try, r->now_us, &r->retry_after_s, e);
    if (rc != ERR_NONE) return rc;
    bool may_be_right = account->exists && !account->is_disabled && !l->try.is_locked;
    rc = password_verify(&id->gate, may_be_right ? account->password : S(""), l->nfc, &is_right,
                         &l->is_outdated, e);
    if (rc != ERR_NONE) {
        if (limit_forgive(id->db, &l->try, &other) != ERR_NONE)
            log_error(LOG_WARN, "sign_in_not_forgiven", &other);
        r->retry_after_s = 1;
        return rc;
    }
    if (is_right) return ERR_NONE;
    rc = db_write(id->db, failure_unit, &f, e);
    if (rc == ERR_NONE) rc = limit_failed(id->db, &l->try, r->now_us, e);
    return rc == ERR_NONE ? err_code(e, ERR_CREDENTIALS) : rc;
}

/* --- POST /api/auth/login --- */

#define EMAIL_MAX 320

struct login {
    str email, password;
};
static const struct field login_fields[] = {
    FIELD(struct login, email, FIELD_TEXT, .min = 1, .max = EMAIL_MAX,
          .flags = FIELD_REQUIRED | FIELD_WRITEONLY, .meaning = "E-mail address of the account."),
    FIELD(struct login, password, FIELD_TEXT, .min = 1, .max = PASSWORD_MAX, .format = FORMAT_ANY,
          .flags = FIELD_REQUIRED | FIELD_WRITEONLY, .meaning = "Its password."),
};
static const struct shape login_shape =
    SHAPE("Login", struct login, login_fields, "What a person signs in with.");

struct login_answer {
    bool mfa_required;
    struct user *user;
    str csrf_token;
    uuid transaction;
    struct texts factors;
    usec expires_at;
};
static const struct field login_answer_fields[] = {
    FIELD(
        struct login_answer, mfa_required, FIELD_BOOL, .flags = FIELD_READONLY,
        .meaning =
            "The account has a second factor: nobody is signed in yet, POST /api/auth/login/factor goes on."),
    FIELD(struct login_answer, user, FIELD_OBJECT, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .shape = &user_shape, .meaning = "Who is signed in now; null when a factor is awaited."),
    FIELD(struct login_answer, csrf_token, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning =
              "What X-CSRF-Token must be in requests that change something; null when a factor is awaited."),
    FIELD(struct login_answer, transaction, FIELD_UUID, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "The sign-in that awaits a factor; of use in this browser only."),
    FIELD(struct login_answer, factors, FIELD_TEXTS, .flags = FIELD_READONLY,
          .choices = "totp|passkey|recovery_code",
          .meaning = "What the account has: totp (a code of an app), passkey, recovery_code."),
    FIELD(struct login_answer, expires_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "Until when the factor can be given."),
};
static const struct shape login_answer_shape = SHAPE("SignIn", struct login_answer, login_answer_fields,
                                                     "A session that has begun, or what is missing for it.");

struct login_state {
    struct password_look look;
    struct fresh_session session;
    struct sign_in sign_in;
    struct token token;
    char rehashed[PASSWORD_HASH_LEN]; /* empty: the stored one stays */
};

static enum errc login_prepare(struct api_request *r, err *e)
{
    struct identity *id = identity_of(r);
    const struct login *b = r->body;
    struct login_state *s = arena_new(r->arena, struct login_state);
    struct account *account;
    if (!s) return err_code(e, ERR_TOO_LARGE);
    r->state = s;
    account = &s->look.account;
    enum errc rc = email_key(r->arena, b->email, &s->look.try.account, e);
    if (rc == ERR_NONE) rc = password_normalize(r->arena, b->password, &s->look.nfc, e);
    if (rc == ERR_NONE) rc = account_find(id, r->arena, s->look.try.account, account, e);
    if (rc == ERR_NONE) rc = look_at(r, &s->look, S("auth.signed_in"), e);
    if (rc == ERR_NONE && s->look.is_outdated) rc = password_hash(&id->gate, s->look.nfc, s->rehashed, e);
    if (rc != ERR_NONE) return rc;
    if (!account->has_factors) return session_prepare(r, &account->user, &s->session, e);
    r->who = (struct principal){.kind = PRINCIPAL_NONE}; /* not yet */
    token_make(&s->token);
    s->sign_in = (struct sign_in){
        .id = uuid7_make(r->now_us), .user_id = account->user.id, .expires_us = r->now_us + SIGN_IN_US};
    sha256(s->rehashed[0] ? str_c(s->rehashed) : account->password, s->sign_in.password_hash);
    return ERR_NONE;
}

/* Whether the password that was looked at is still the account's. */
static enum errc still_the_same(struct api_request *r, struct tx *tx, const struct account *account, err *e)
{
    const struct val *row;
    enum errc rc = user_row(tx, r->arena, &account->user.id, &row, e);
    if (rc != ERR_NONE) return rc == ERR_NOT_FOUND ? err_code(e, ERR_CREDENTIALS) : rc;
    if (account->has_factors != (val_int(&row[7]) > 0))
        return err_set(e, ERR_CONFLICT, "the account's factors were changed meanwhile: begin again");
    return str_eq(user_password(row), account->password) ? ERR_NONE : err_code(e, ERR_CREDENTIALS);
}

static enum errc login_apply(struct api_request *r, struct tx *tx, err *e)
{
    struct login_state *s = r->state;
    struct account *account = &s->look.account;
    struct login_answer *answer = arena_new(r->arena, struct login_answer);
    if (!answer) return err_code(e, ERR_TOO_LARGE);
    r->answer = answer;
    r->n_cookies = 0;
    enum errc rc = still_the_same(r, tx, account, e);
    if (rc == ERR_NONE) rc = limit_succeeded(tx, &s->look.try, e);
    if (rc == ERR_NONE && s->rehashed[0])
        rc = account_set_password(tx, &account->user.id, s->rehashed,
                                  password_length(s->look.nfc) < PASSWORD_MIN, r->now_us, e);
    if (rc != ERR_NONE) return rc;
    if (account->has_factors) {
        *answer = (struct login_answer){
            .mfa_required = true, .transaction = s->sign_in.id, .expires_at = s->sign_in.expires_us};
        rc = factor_kinds(tx, r->arena, &account->user.id, &answer->factors, e);
        return rc == ERR_NONE ? sign_in_begin(r, tx, &s->sign_in, &s->token, e) : rc;
    }
    if ((rc = session_start(r, tx, &s->session, e)) != ERR_NONE) return rc;
    device_cookie_set(r, &account->user.id, s->rehashed[0] ? str_c(s->rehashed) : account->password);
    *answer = (struct login_answer){
        .user = &account->user,
        .csrf_token = csrf_token(identity_of(r), r->arena, &s->session.id),
        .expires_at = NO_VALUE,
    };
    return ERR_NONE;
}

/* --- the password of who is signed in --- */

SQL(session_renew, DB_MAIN, SQL_INSTANCE, "ibu",
    "UPDATE sessions SET authenticated_us = $1, token_hash = $2 WHERE id = $3");

/* The caller's own password; somebody who has taken over a session is held up like anybody else. */
static enum errc look_at_own(struct api_request *r, struct password_look *l, str password, str type, err *e)
{
    struct identity *id = identity_of(r);
    enum errc rc = email_key(r->arena, r->who.email, &l->try.account, e);
    if (rc == ERR_NONE) rc = password_normalize(r->arena, password, &l->nfc, e);
    if (rc == ERR_NONE) rc = account_of(id, r->arena, &r->who.user_id, &l->account, e);
    return rc == ERR_NONE ? look_at(r, l, type, e) : rc;
}

enum errc password_look_at_own(struct api_request *r, str password, str type, struct password_look **out,
                               err *e)
{
    *out = arena_new(r->arena, struct password_look);
    return *out ? look_at_own(r, *out, password, type, e) : err_code(e, ERR_TOO_LARGE);
}

enum errc password_look_use(struct api_request *r, struct tx *tx, const struct password_look *l, err *e)
{
    enum errc rc = still_the_same(r, tx, &l->account, e);
    return rc == ERR_NONE ? limit_succeeded(tx, &l->try, e) : rc;
}

static struct event own_event(const struct api_request *r, str type, enum event_number n)
{
    struct event ev = event_of(r, type, n);
    ev.workspace_id = (uuid){0};
    ev.resource_type = S("user");
    ev.resource_id = r->who.user_id;
    return ev;
}

/* --- POST /api/auth/password --- */

struct password_change {
    str current_password, new_password;
};
static const struct field password_change_fields[] = {
    FIELD(struct password_change, current_password, FIELD_TEXT, .min = 1, .max = PASSWORD_MAX,
          .format = FORMAT_ANY, .flags = FIELD_REQUIRED | FIELD_WRITEONLY,
          .meaning = "The password until now."),
    FIELD(struct password_change, new_password, FIELD_TEXT, .min = 1, .max = PASSWORD_MAX,
          .format = FORMAT_ANY, .flags = FIELD_REQUIRED | FIELD_WRITEONLY,
          .meaning = "At least 15 characters (8 beside a second factor), and none of what is guessed first."),
};
static const struct shape password_change_shape =
    SHAPE("PasswordChange", struct password_change, password_change_fields, "A new password for the caller.");

struct password_state {
    struct password_look look;
    struct token token;
    char hash[PASSWORD_HASH_LEN];
    bool is_short;
};

static enum errc password_prepare(struct api_request *r, err *e)
{
    struct identity *id = identity_of(r);
    const struct password_change *b = r->body;
    struct password_state *s = arena_new(r->arena, struct password_state);
    const str words[] = {email_local(r->who.email), r->who.email, r->who.name};
    str nfc;
    if (!s) return err_code(e, ERR_TOO_LARGE);
    r->state = s;
    enum errc rc = password_accept(r, "new_password", b->new_password, r->who.has_factors, words,
                                   LENGTH_OF(words), &nfc, e);
    if (rc == ERR_NONE) s->is_short = password_length(nfc) < PASSWORD_MIN;
    if (rc == ERR_NONE) rc = look_at_own(r, &s->look, b->current_password, S("auth.password_changed"), e);
    if (rc == ERR_NONE) rc = password_hash(&id->gate, nfc, s->hash, e);
    token_make(&s->token);
    return rc;
}

static enum errc password_apply(struct api_request *r, struct tx *tx, err *e)
{
    struct password_state *s = r->state;
    struct event ev = own_event(r, S("auth.password_changed"), EVENT_SIGN_IN);
    enum errc rc = still_the_same(r, tx, &s->look.account, e);
    if (rc == ERR_NONE) rc = limit_succeeded(tx, &s->look.try, e);
    if (rc == ERR_NONE) rc = account_set_password(tx, &r->who.user_id, s->hash, s->is_short, r->now_us, e);
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &session_renew,
                     PARAMS(v_int(r->now_us), v_hash(s->token.hash), v_uuid(&r->who.credential_id)), NULL, e);
    if (rc == ERR_NONE) rc = sessions_end_others(r, tx, e);
    if (rc != ERR_NONE) return rc;
    r->n_cookies = 0;
    cookie_set(r, session_cookie_name(r), str_of(s->token.text, TOKEN_LEN),
               identity_of(r)->session_max_us / USEC_PER_S);
    device_cookie_set(r, &r->who.user_id, str_c(s->hash));
    return tx_event(tx, &ev, e);
}

/* Streams of the sessions that have ended, and of this one, whose page opens it anew. */
static void password_after(struct api_request *r)
{
    sessions_revoke_of(identity_of(r), &r->who.user_id);
}

static const struct api_route routes[] = {
    {.method = HTTP_POST,
     .path = "/api/auth/login",
     .name = "auth_login",
     .access = ACCESS_PUBLIC,
     .scope = SCOPE_INSTANCE,
     .effect = EFFECT_STATE,
     .body = &login_shape,
     .answer = &login_answer_shape,
     .is_idempotent_exempt = true,
     .summary = "Signs in",
     .text = "A wrong password, an address without an account and a disabled account get the same answer, "
             "`invalid_credentials`. After five "
             "failures each further try for an account has to wait, from 1 second to 15 minutes. An account "
             "with a second "
             "factor is asked for it: `mfa_required`.",
     .prepare = login_prepare,
     .apply = login_apply},
    {.method = HTTP_POST,
     .path = "/api/auth/password",
     .name = "auth_password",
     .access = ACCESS_SESSION,
     .scope = SCOPE_SELF,
     .effect = EFFECT_STATE,
     .body = &password_change_shape,
     .status = 204,
     .is_idempotent_exempt = true,
     .summary = "Changes the caller's password",
     .text = "All other sessions of the caller end.",
     .prepare = password_prepare,
     .apply = password_apply,
     .after = password_after},
};
const struct api_table auth_api = {"auth", routes, LENGTH_OF(routes)};
