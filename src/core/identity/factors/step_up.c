/* POST /api/auth/reauthenticate: the password, or of a person with factors one of them, once more. */
#include "core/identity/factors/factors.h"

SQL(session_password_again, DB_MAIN, SQL_INSTANCE, "iu",
    "UPDATE sessions SET authenticated_us = $1 WHERE id = $2");
SQL(session_factor_given, DB_MAIN, SQL_INSTANCE, "iibu",
    "UPDATE sessions SET authenticated_us = $1, factor_us = $1, is_phishing_resistant = $2, token_hash = $3 "
    "WHERE id = $4");

enum errc session_raise(struct api_request *r, struct tx *tx, const struct token *t, bool is_passkey, err *e)
{
    int64_t n = 0;
    enum errc rc = tx_exec(
        tx, &session_factor_given,
        PARAMS(v_int(r->now_us), v_int(is_passkey), v_hash(t->hash), v_uuid(&r->who.credential_id)), &n, e);
    if (rc == ERR_NONE && n == 0)
        return err_set(e, ERR_UNAUTHENTICATED, "the session has ended: sign in again");
    r->n_cookies = 0;
    cookie_set(r, session_cookie_name(r), str_of(t->text, TOKEN_LEN),
               identity_of(r)->session_max_us / USEC_PER_S);
    return rc;
}

struct again {
    str password, code, recovery_code, passkey;
};
static const struct field again_fields[] = {
    FIELD(struct again, password, FIELD_TEXT, .min = 1, .max = PASSWORD_MAX, .format = FORMAT_ANY,
          .flags = FIELD_WRITEONLY, .meaning = "The caller's password; of use only without a second factor."),
    FIELD(struct again, code, FIELD_TEXT, .min = 1, .max = 20, .format = FORMAT_ANY, .flags = FIELD_WRITEONLY,
          .meaning = "Six digits of the authenticator app."),
    FIELD(struct again, recovery_code, FIELD_TEXT, .min = 1, .max = 100, .format = FORMAT_ANY,
          .flags = FIELD_WRITEONLY, .meaning = "One of the recovery codes."),
    FIELD(struct again, passkey, FIELD_JSON, .format = FORMAT_OBJECT, .max = PASSKEY_JSON_MAX,
          .flags = FIELD_WRITEONLY,
          .meaning = "What the passkey answered to the options of POST /api/auth/reauthenticate/options: "
                     "AuthenticationResponseJSON of WebAuthn."),
};
static const struct shape again_shape = SHAPE("Reauthentication", struct again, again_fields,
                                              "Who is signed in proves it once more: exactly one of these.");

struct again_state {
    struct password_look *password;
    struct factor_look factor;
    struct token token;
};

static str own_session(const struct api_request *r)
{
    return str_of((const char *)r->who.credential_id.b, sizeof r->who.credential_id.b);
}

static enum errc again_prepare(struct api_request *r, err *e)
{
    const struct again *b = r->body;
    struct again_state *s = arena_new(r->arena, struct again_state);
    const struct factor_shown shown = {b->code, b->recovery_code, b->passkey};
    struct identity *id = identity_of(r);
    struct account account;
    if (!s) return err_code(e, ERR_TOO_LARGE);
    r->state = s;
    token_make(&s->token);
    if (b->password.p) {
        if (b->code.p || b->recovery_code.p || b->passkey.p)
            return api_field_error(r, e, "password", "duplicate", "exactly one of these is needed");
        if (r->who.has_factors)
            return err_set(e, ERR_REAUTHENTICATE,
                           "this account has a second factor: give a code or a passkey");
        return password_look_at_own(r, b->password, S("auth.reauthenticated"), &s->password, e);
    }
    enum errc rc = account_of(id, r->arena, &r->who.user_id, &account, e);
    if (rc != ERR_NONE) return rc;
    s->factor = (struct factor_look){
        .type = S("auth.reauthenticated"),
        .user_id = r->who.user_id,
        .purpose = CHALLENGE_STEP_UP,
        .bound_to = own_session(r),
        .is_known_device = device_is_known(id, r->device, &r->who.user_id, account.password, r->now_us),
    };
    return factor_look(r, &s->factor, &shown, e);
}

static enum errc again_apply(struct api_request *r, struct tx *tx, err *e)
{
    struct again_state *s = r->state;
    struct event ev = event_of(r, S("auth.reauthenticated"), EVENT_SIGN_IN);
    enum errc rc;
    ev.workspace_id = (uuid){0};
    ev.resource_type = S("user");
    ev.resource_id = r->who.user_id;
    ev.metadata = arena_printf(r->arena, "{\"factor\":\"%s\"}",
                               s->password ? "password" : factor_kind_name(s->factor.kind));
    if (s->password) {
        rc = password_look_use(r, tx, s->password, e);
        if (rc == ERR_NONE)
            rc = tx_exec(tx, &session_password_again, PARAMS(v_int(r->now_us), v_uuid(&r->who.credential_id)),
                         NULL, e);
    } else {
        rc = factor_use(r, tx, &s->factor, e);
        if (rc == ERR_NONE) rc = session_raise(r, tx, &s->token, s->factor.kind == FACTOR_PASSKEY, e);
    }
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

/* --- POST /api/auth/reauthenticate/options --- */

static enum errc options_prepare(struct api_request *r, err *e)
{
    struct challenge *c = arena_new(r->arena, struct challenge);
    struct webauthn_expected x;
    if (!c) return err_code(e, ERR_TOO_LARGE);
    r->state = c;
    challenge_make(c, CHALLENGE_STEP_UP, own_session(r));
    return passkey_expected(r, &x, e);
}

static enum errc options_apply(struct api_request *r, struct tx *tx, err *e)
{
    const struct challenge *c = r->state;
    struct passkey_options *answer = arena_new(r->arena, struct passkey_options);
    if (!answer) return err_code(e, ERR_TOO_LARGE);
    r->answer = answer;
    enum errc rc = challenge_insert(tx, c, r->now_us, e);
    return rc == ERR_NONE ? passkey_request_options(r, tx, c, &r->who.user_id, &answer->options, e) : rc;
}

static const struct api_route routes[] = {
    {.method = HTTP_POST,
     .path = "/api/auth/reauthenticate",
     .name = "auth_reauthenticate",
     .access = ACCESS_SESSION,
     .scope = SCOPE_SELF,
     .effect = EFFECT_STATE,
     .body = &again_shape,
     .status = 204,
     .is_idempotent_exempt = true,
     .summary = "Proves once more who is signed in, for what needs that to be recent",
     .text = "The password, or of a person with second factors a code or a passkey. After a factor the "
             "session has "
             "another cookie.",
     .prepare = again_prepare,
     .apply = again_apply},
    {.method = HTTP_POST,
     .path = "/api/auth/reauthenticate/options",
     .name = "auth_reauthenticate_options",
     .access = ACCESS_SESSION,
     .scope = SCOPE_SELF,
     .effect = EFFECT_STATE,
     .answer = &passkey_options_shape,
     .is_idempotent_exempt = true,
     .summary = "What to ask the caller's passkey with, to prove once more who is signed in",
     .prepare = options_prepare,
     .apply = options_apply},
};
const struct api_table step_up_api = {"auth", routes, LENGTH_OF(routes)};
