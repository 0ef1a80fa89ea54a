/* The second step of a sign-in, and the sign-in by a passkey alone. */
#include "core/identity/factors/factors.h"

SQL(sign_in_end, DB_MAIN, SQL_INSTANCE, "uii",
    "DELETE FROM sign_ins WHERE id = $1 AND expires_us > $2 AND failures <= $3");

#define MEANING_CODE "Six digits of the authenticator app."
#define MEANING_RECOVERY_CODE "One of the recovery codes."
#define MEANING_PASSKEY                                                                                      \
    "What the passkey answered: AuthenticationResponseJSON of WebAuthn, which PublicKeyCredential.toJSON() " \
    "gives."

static const struct field options_fields[] = {
    FIELD(struct passkey_options, options, FIELD_JSON, .flags = FIELD_READONLY, .format = FORMAT_OBJECT,
          .max = 65536,
          .meaning =
              "PublicKeyCredentialRequestOptionsJSON of WebAuthn, for "
              "PublicKeyCredential.parseRequestOptionsFromJSON(); good for one answer within five minutes."),
};
const struct shape passkey_options_shape =
    SHAPE("PasskeyOptions", struct passkey_options, options_fields, "What a page asks a passkey with.");

/* The account as it is now; ERR_CREDENTIALS when nobody can sign in to it (any more). */
static enum errc account_now(struct api_request *r, const uuid *user, struct account *out, err *e)
{
    enum errc rc = account_of(identity_of(r), r->arena, user, out, e);
    if (rc != ERR_NONE || (out->exists && !out->is_disabled && out->has_factors)) return rc;
    return err_set(e, ERR_CREDENTIALS, "this sign-in has ended: begin again with your password");
}

static enum errc same_password(const struct account *account, const struct sign_in *s, err *e)
{
    uint8_t hash[SHA256_LEN];
    sha256(account->password, hash);
    return memcmp(hash, s->password_hash, sizeof hash) == 0
               ? ERR_NONE
               : err_set(e, ERR_CREDENTIALS, "the password was changed meanwhile: begin again");
}

static enum errc signed_in(struct api_request *r, struct tx *tx, const struct account *account,
                           const struct fresh_session *session, err *e)
{
    const struct val *row;
    struct signed_in *answer = arena_new(r->arena, struct signed_in);
    if (!answer) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = user_row(tx, r->arena, &account->user.id, &row, e);
    if (rc == ERR_NONE && (val_bool(&row[6]) || !str_eq(user_password(row), account->password)))
        return err_set(e, ERR_CREDENTIALS, "the account was changed meanwhile: begin again");
    if (rc == ERR_NONE) rc = session_start(r, tx, session, e);
    if (rc != ERR_NONE) return rc;
    device_cookie_set(r, &account->user.id, account->password);
    *answer = (struct signed_in){account->user, csrf_token(identity_of(r), r->arena, &session->id)};
    r->answer = answer;
    return ERR_NONE;
}

/* --- POST /api/auth/login/factor/options --- */

struct step_options {
    uuid transaction;
};
static const struct field step_options_fields[] = {
    FIELD(struct step_options, transaction, FIELD_UUID, .flags = FIELD_REQUIRED | FIELD_WRITEONLY,
          .meaning = "Of the answer to POST /api/auth/login."),
};
static const struct shape step_options_shape =
    SHAPE("SecondStepOptions", struct step_options, step_options_fields,
          "The sign-in that a passkey is asked for.");

struct options_state {
    struct challenge challenge;
    struct sign_in sign_in;
    struct token token;
};

static enum errc step_options_prepare(struct api_request *r, err *e)
{
    const struct step_options *b = r->body;
    struct options_state *s = arena_new(r->arena, struct options_state);
    struct webauthn_expected x;
    if (!s) return err_code(e, ERR_TOO_LARGE);
    r->state = s;
    enum errc rc = sign_in_find(r, &b->transaction, &s->sign_in, e);
    if (rc == ERR_NONE) rc = passkey_expected(r, &x, e);
    challenge_make(&s->challenge, CHALLENGE_SECOND,
                   str_of((const char *)b->transaction.b, sizeof b->transaction.b));
    return rc;
}

static enum errc step_options_apply(struct api_request *r, struct tx *tx, err *e)
{
    const struct options_state *s = r->state;
    struct passkey_options *answer = arena_new(r->arena, struct passkey_options);
    if (!answer) return err_code(e, ERR_TOO_LARGE);
    r->answer = answer;
    enum errc rc = challenge_insert(tx, &s->challenge, r->now_us, e);
    return rc == ERR_NONE
               ? passkey_request_options(r, tx, &s->challenge, &s->sign_in.user_id, &answer->options, e)
               : rc;
}

/* --- POST /api/auth/login/factor --- */

struct step {
    uuid transaction;
    str code, recovery_code, passkey;
};
static const struct field step_fields[] = {
    FIELD(struct step, transaction, FIELD_UUID, .flags = FIELD_REQUIRED | FIELD_WRITEONLY,
          .meaning = "Of the answer to POST /api/auth/login."),
    FIELD(struct step, code, FIELD_TEXT, .min = 1, .max = 20, .format = FORMAT_ANY, .flags = FIELD_WRITEONLY,
          .meaning = MEANING_CODE),
    FIELD(struct step, recovery_code, FIELD_TEXT, .min = 1, .max = 100, .format = FORMAT_ANY,
          .flags = FIELD_WRITEONLY, .meaning = MEANING_RECOVERY_CODE),
    FIELD(struct step, passkey, FIELD_JSON, .format = FORMAT_OBJECT, .max = PASSKEY_JSON_MAX,
          .flags = FIELD_WRITEONLY, .meaning = MEANING_PASSKEY),
};
static const struct shape step_shape = SHAPE("SecondStep", struct step, step_fields,
                                             "The second factor of a sign-in: exactly one of the three.");

struct step_state {
    struct sign_in sign_in;
    struct account account;
    struct factor_look look;
    struct fresh_session session;
};

static const char *const both_factors[] = {"password+totp", "password+passkey", "password+recovery_code"};

static enum errc step_prepare(struct api_request *r, err *e)
{
    const struct step *b = r->body;
    struct step_state *s = arena_new(r->arena, struct step_state);
    const struct factor_shown shown = {b->code, b->recovery_code, b->passkey};
    if (!s) return err_code(e, ERR_TOO_LARGE);
    r->state = s;
    enum errc rc = sign_in_find(r, &b->transaction, &s->sign_in, e);
    if (rc == ERR_NONE) rc = account_now(r, &s->sign_in.user_id, &s->account, e);
    if (rc == ERR_NONE) rc = same_password(&s->account, &s->sign_in, e);
    if (rc != ERR_NONE) return rc;
    s->look = (struct factor_look){
        .type = S("auth.signed_in"),
        .user_id = s->sign_in.user_id,
        .sign_in_id = s->sign_in.id,
        .purpose = CHALLENGE_SECOND,
        .bound_to = str_of((const char *)b->transaction.b, sizeof b->transaction.b),
        .is_known_device =
            device_is_known(identity_of(r), r->device, &s->account.user.id, s->account.password, r->now_us),
    };
    if ((rc = factor_look(r, &s->look, &shown, e)) != ERR_NONE ||
        (rc = session_prepare(r, &s->account.user, &s->session, e)) != ERR_NONE)
        return rc;
    s->session.factors = both_factors[s->look.kind];
    s->session.has_factor = true;
    s->session.is_phishing_resistant = s->look.kind == FACTOR_PASSKEY;
    return ERR_NONE;
}

static enum errc step_apply(struct api_request *r, struct tx *tx, err *e)
{
    const struct step_state *s = r->state;
    int64_t n = 0;
    r->n_cookies = 0;
    enum errc rc = tx_exec(tx, &sign_in_end,
                           PARAMS(v_uuid(&s->sign_in.id), v_int(r->now_us), v_int(FACTOR_TRIES)), &n, e);
    if (rc == ERR_NONE && n == 0)
        return err_set(e, ERR_CREDENTIALS, "this sign-in has ended: begin again with your password");
    if (rc == ERR_NONE) rc = factor_use(r, tx, &s->look, e);
    if (rc == ERR_NONE) rc = signed_in(r, tx, &s->account, &s->session, e);
    if (rc == ERR_NONE) cookie_set(r, sign_in_cookie_name(r), S(""), 0);
    return rc;
}

/* --- POST /api/auth/login/passkey/options --- */

static enum errc alone_options_prepare(struct api_request *r, err *e)
{
    struct options_state *s = arena_new(r->arena, struct options_state);
    struct webauthn_expected x;
    if (!s) return err_code(e, ERR_TOO_LARGE);
    r->state = s;
    token_make(&s->token);
    challenge_make(&s->challenge, CHALLENGE_ALONE, str_of(s->token.text, TOKEN_LEN));
    return passkey_expected(r, &x, e);
}

static enum errc alone_options_apply(struct api_request *r, struct tx *tx, err *e)
{
    const struct options_state *s = r->state;
    struct passkey_options *answer = arena_new(r->arena, struct passkey_options);
    if (!answer) return err_code(e, ERR_TOO_LARGE);
    r->answer = answer;
    r->n_cookies = 0;
    cookie_set(r, passkey_cookie_name(r), str_of(s->token.text, TOKEN_LEN), CHALLENGE_US / USEC_PER_S);
    enum errc rc = challenge_insert(tx, &s->challenge, r->now_us, e);
    return rc == ERR_NONE ? passkey_request_options(r, tx, &s->challenge, NULL, &answer->options, e) : rc;
}

/* --- POST /api/auth/login/passkey --- */

struct alone {
    str passkey;
};
static const struct field alone_fields[] = {
    FIELD(struct alone, passkey, FIELD_JSON, .format = FORMAT_OBJECT, .max = PASSKEY_JSON_MAX,
          .flags = FIELD_REQUIRED | FIELD_WRITEONLY, .meaning = MEANING_PASSKEY),
};
static const struct shape alone_shape = SHAPE("PasskeyLogin", struct alone, alone_fields,
                                              "A passkey that stands for account, password and factor.");

static enum errc alone_prepare(struct api_request *r, err *e)
{
    const struct alone *b = r->body;
    struct step_state *s = arena_new(r->arena, struct step_state);
    const struct factor_shown shown = {.passkey = b->passkey};
    if (!s) return err_code(e, ERR_TOO_LARGE);
    r->state = s;
    s->look = (struct factor_look){
        .type = S("auth.signed_in"),
        .purpose = CHALLENGE_ALONE,
        .bound_to = r->passkey,
        .needs_verification = true,
    };
    enum errc rc = factor_look(r, &s->look, &shown, e);
    if (rc == ERR_NONE) rc = account_now(r, &s->look.user_id, &s->account, e);
    if (rc == ERR_NONE) rc = session_prepare(r, &s->account.user, &s->session, e);
    s->session.factors = "passkey";
    s->session.has_factor = s->session.is_phishing_resistant = true;
    return rc;
}

static enum errc alone_apply(struct api_request *r, struct tx *tx, err *e)
{
    const struct step_state *s = r->state;
    enum errc rc = factor_use(r, tx, &s->look, e);
    if (rc == ERR_NONE) rc = signed_in(r, tx, &s->account, &s->session, e);
    if (rc == ERR_NONE) cookie_set(r, passkey_cookie_name(r), S(""), 0);
    return rc;
}

static const struct api_route routes[] = {
    {.method = HTTP_POST,
     .path = "/api/auth/login/factor",
     .name = "auth_login_factor",
     .access = ACCESS_PUBLIC,
     .scope = SCOPE_INSTANCE,
     .effect = EFFECT_STATE,
     .body = &step_shape,
     .answer = &signed_in_shape,
     .is_idempotent_exempt = true,
     .summary = "Gives the second factor of a sign-in",
     .text = "Within five minutes, in the browser that has given the password. A code is good for one "
             "sign-in; five "
             "wrong ones in a row end the sign-in and lock the authenticator app for 15 minutes.",
     .prepare = step_prepare,
     .apply = step_apply},
    {.method = HTTP_POST,
     .path = "/api/auth/login/factor/options",
     .name = "auth_login_factor_options",
     .access = ACCESS_PUBLIC,
     .scope = SCOPE_INSTANCE,
     .effect = EFFECT_STATE,
     .body = &step_options_shape,
     .answer = &passkey_options_shape,
     .is_idempotent_exempt = true,
     .summary = "What to ask a passkey with, as the second factor of a sign-in",
     .prepare = step_options_prepare,
     .apply = step_options_apply},
    {.method = HTTP_POST,
     .path = "/api/auth/login/passkey",
     .name = "auth_login_passkey",
     .access = ACCESS_PUBLIC,
     .scope = SCOPE_INSTANCE,
     .effect = EFFECT_STATE,
     .body = &alone_shape,
     .answer = &signed_in_shape,
     .is_idempotent_exempt = true,
     .summary = "Signs in by a passkey alone",
     .text = "The passkey names the account; the authenticator must have verified who holds it (PIN, finger, "
             "face).",
     .prepare = alone_prepare,
     .apply = alone_apply},
    {.method = HTTP_POST,
     .path = "/api/auth/login/passkey/options",
     .name = "auth_login_passkey_options",
     .access = ACCESS_PUBLIC,
     .scope = SCOPE_INSTANCE,
     .effect = EFFECT_STATE,
     .answer = &passkey_options_shape,
     .is_idempotent_exempt = true,
     .summary = "What to ask a passkey with, to sign in by it alone",
     .prepare = alone_options_prepare,
     .apply = alone_options_apply},
};
const struct api_table sign_in_steps_api = {"auth", routes, LENGTH_OF(routes)};
