/* Signing in, giving the password again, changing it: every look at a password, behind the limits. */
#include "base/log.h"
#include "core/identity/internal.h"

static const struct field signed_in_fields[] = {
    FIELD(struct signed_in, user, FIELD_OBJECT, .flags = FIELD_READONLY, .shape = &user_shape,
          .meaning = "Who is signed in now."),
    FIELD(struct signed_in, csrf_token, FIELD_TEXT, .flags = FIELD_READONLY,
          .meaning = "What X-CSRF-Token must be in requests that change something."),
};
const struct shape signed_in_shape = SHAPE("SignedIn", struct signed_in, signed_in_fields,
                                           "A session that has begun; its cookie comes along.");

/* --- a look at a password --- */

struct look {
    struct limit_try try;
    struct account account;
    str nfc;
    bool is_outdated;
};

struct failure {
    const struct api_request *r;
    const struct look *look;
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
static enum errc look_at(struct api_request *r, struct look *l, str type, err *e)
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
    rc = password_verify(&id->gate, may_be_right ? account->password : S(""),
                         l->nfc, &is_right, &l->is_outdated, e);
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

struct login_state {
    struct look look;
    struct fresh_session session;
    char rehashed[PASSWORD_HASH_LEN]; /* empty: the stored one stays */
};

static enum errc login_prepare(struct api_request *r, err *e)
{
    struct identity *id = identity_of(r);
    const struct login *b = r->body;
    struct login_state *s = arena_new(r->arena, struct login_state);
    if (!s) return err_code(e, ERR_TOO_LARGE);
    r->state = s;
    enum errc rc = email_key(r->arena, b->email, &s->look.try.account, e);
    if (rc == ERR_NONE) rc = password_normalize(r->arena, b->password, &s->look.nfc, e);
    if (rc == ERR_NONE) rc = account_find(id, r->arena, s->look.try.account, &s->look.account, e);
    if (rc == ERR_NONE) rc = look_at(r, &s->look, S("auth.signed_in"), e);
    if (rc == ERR_NONE && s->look.is_outdated) rc = password_hash(&id->gate, s->look.nfc, s->rehashed, e);
    return rc == ERR_NONE ? session_prepare(r, &s->look.account.user, &s->session, e) : rc;
}

/* Whether the password that was looked at is still the account's. */
static enum errc still_the_same(struct api_request *r, struct tx *tx, const struct account *account, err *e)
{
    const struct val *row;
    enum errc rc = user_row(tx, r->arena, &account->user.id, &row, e);
    if (rc != ERR_NONE) return rc == ERR_NOT_FOUND ? err_code(e, ERR_CREDENTIALS) : rc;
    return str_eq(user_password(row), account->password) ? ERR_NONE : err_code(e, ERR_CREDENTIALS);
}

static enum errc login_apply(struct api_request *r, struct tx *tx, err *e)
{
    struct login_state *s = r->state;
    const struct account *account = &s->look.account;
    struct signed_in *answer = arena_new(r->arena, struct signed_in);
    if (!answer) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = still_the_same(r, tx, account, e);
    if (rc == ERR_NONE) rc = limit_succeeded(tx, &s->look.try, e);
    if (rc == ERR_NONE && s->rehashed[0])
        rc = account_set_password(tx, &account->user.id, s->rehashed,
                                  password_length(s->look.nfc) < PASSWORD_MIN, r->now_us, e);
    if (rc == ERR_NONE) rc = session_start(r, tx, &s->session, e);
    if (rc != ERR_NONE) return rc;
    device_cookie_set(r, &account->user.id, s->rehashed[0] ? str_c(s->rehashed) : account->password);
    *answer = (struct signed_in){account->user, csrf_token(identity_of(r), r->arena, &s->session.id)};
    r->answer = answer;
    return ERR_NONE;
}

/* --- POST /api/auth/reauthenticate --- */

SQL(session_reauthenticate, DB_MAIN, SQL_INSTANCE, "iu",
    "UPDATE sessions SET authenticated_us = $1 WHERE id = $2");
SQL(session_renew, DB_MAIN, SQL_INSTANCE, "ibu",
    "UPDATE sessions SET authenticated_us = $1, token_hash = $2 WHERE id = $3");

struct password_again {
    str password;
};
static const struct field password_again_fields[] = {
    FIELD(struct password_again, password, FIELD_TEXT, .min = 1, .max = PASSWORD_MAX, .format = FORMAT_ANY,
          .flags = FIELD_REQUIRED | FIELD_WRITEONLY, .meaning = "The caller's password."),
};
static const struct shape password_again_shape =
    SHAPE("Reauthentication", struct password_again, password_again_fields, "The password, once more.");

/* The caller's own password; somebody who has taken over a session is held up like anybody else. */
static enum errc look_at_own(struct api_request *r, struct look *l, str password, str type, err *e)
{
    struct identity *id = identity_of(r);
    enum errc rc = email_key(r->arena, r->who.email, &l->try.account, e);
    if (rc == ERR_NONE) rc = password_normalize(r->arena, password, &l->nfc, e);
    if (rc == ERR_NONE) rc = account_of(id, r->arena, &r->who.user_id, &l->account, e);
    return rc == ERR_NONE ? look_at(r, l, type, e) : rc;
}

static struct event own_event(const struct api_request *r, str type, enum event_number n)
{
    struct event ev = event_of(r, type, n);
    ev.workspace_id = (uuid){0};
    ev.resource_type = S("user");
    ev.resource_id = r->who.user_id;
    return ev;
}

static enum errc reauthenticate_prepare(struct api_request *r, err *e)
{
    const struct password_again *b = r->body;
    struct look *l = arena_new(r->arena, struct look);
    if (!l) return err_code(e, ERR_TOO_LARGE);
    r->state = l;
    return look_at_own(r, l, b->password, S("auth.reauthenticated"), e);
}

static enum errc reauthenticate_apply(struct api_request *r, struct tx *tx, err *e)
{
    struct look *l = r->state;
    struct event ev = own_event(r, S("auth.reauthenticated"), EVENT_SIGN_IN);
    enum errc rc = still_the_same(r, tx, &l->account, e);
    if (rc == ERR_NONE) rc = limit_succeeded(tx, &l->try, e);
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &session_reauthenticate, PARAMS(v_int(r->now_us), v_uuid(&r->who.credential_id)),
                     NULL, e);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
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
    struct look look;
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
    static const uuid none;
    struct identity *id = identity_of(r);
    if (id->live) live_revoke(id->live, &none, &r->who.user_id, &none);
}

static const struct api_route routes[] = {
    {.method = HTTP_POST,
     .path = "/api/auth/login",
     .name = "auth_login",
     .access = ACCESS_PUBLIC,
     .scope = SCOPE_INSTANCE,
     .effect = EFFECT_STATE,
     .body = &login_shape,
     .answer = &signed_in_shape,
     .is_idempotent_exempt = true,
     .summary = "Signs in",
     .text = "A wrong password, an address without an account and a disabled account get the same answer, "
             "`invalid_credentials`. After five "
             "failures each further try for an account has to wait, from 1 second to 15 minutes.",
     .prepare = login_prepare,
     .apply = login_apply},
    {.method = HTTP_POST,
     .path = "/api/auth/reauthenticate",
     .name = "auth_reauthenticate",
     .access = ACCESS_SESSION,
     .scope = SCOPE_SELF,
     .effect = EFFECT_STATE,
     .body = &password_again_shape,
     .status = 204,
     .is_idempotent_exempt = true,
     .summary = "Gives the password again, for what needs it to be recent",
     .prepare = reauthenticate_prepare,
     .apply = reauthenticate_apply},
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
