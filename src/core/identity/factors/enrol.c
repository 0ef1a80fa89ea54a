/* Enrolling: an authenticator app by a secret and a first code, a passkey by a registration; new recovery codes. */
#include "core/identity/factors/enrolment.h"
#include "json/tree.h"

SQL(totp_forget, DB_MAIN, SQL_INSTANCE, "u",
    "DELETE FROM factors WHERE user_id = $1 AND kind = 'totp' AND is_confirmed = 0");
SQL(totp_exists, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT 1 FROM factors WHERE user_id = $1 AND kind = 'totp' AND is_confirmed = 1");
SQL(totp_add, DB_MAIN, SQL_INSTANCE, "uutib",
    "INSERT INTO factors (id, user_id, kind, name, is_confirmed, created_us, seed) "
    "VALUES ($1, $2, 'totp', $3, 0, $4, $5)");
SQL(totp_awaited, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT id, name, seed FROM factors WHERE user_id = $1 AND kind = 'totp' AND is_confirmed = 0");
SQL(totp_confirm, DB_MAIN, SQL_INSTANCE, "iiuu",
    "UPDATE factors SET is_confirmed = 1, last_step = $1, created_us = $2, last_used_us = $2 "
    "WHERE id = $3 AND user_id = $4 AND is_confirmed = 0");
SQL(passkeys_count, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT count(*) FROM factors WHERE user_id = $1 AND kind = 'passkey'");
SQL(credential_exists, DB_MAIN, SQL_INSTANCE, "b", "SELECT 1 FROM factors WHERE credential_id = $1");
SQL(passkey_add, DB_MAIN, SQL_INSTANCE, "uutibbiiib",
    "INSERT INTO factors (id, user_id, kind, name, is_confirmed, created_us, last_used_us, credential_id, "
    "public_key, "
    "sign_count, is_backup_eligible, is_backed_up, aaguid) "
    "VALUES ($1, $2, 'passkey', $3, 1, $4, $4, $5, $6, $7, $8, $9, $10)");
SQL(recovery_forget, DB_MAIN, SQL_INSTANCE, "u", "DELETE FROM recovery_codes WHERE user_id = $1");
SQL(recovery_add, DB_MAIN, SQL_INSTANCE, "bui",
    "INSERT INTO recovery_codes (code_hash, user_id, created_us) VALUES ($1, $2, $3)");
SEALED_COLUMN(totp_seeds, DB_MAIN, factors, id, NULL, seed, false, NULL);

/* --- POST /api/auth/mfa/totp --- */

struct totp_new {
    uuid id;
    str name, secret, uri;
};
static const struct field totp_wanted_fields[] = {
    FIELD(struct totp_new, name, FIELD_TEXT, .min = 1, .max = FACTOR_NAME_MAX, .format = FORMAT_LINE,
          .flags = FIELD_PERSONAL, .fallback = "\"Authenticator app\"",
          .meaning = "What the caller calls it."),
};
static const struct shape totp_wanted_shape =
    SHAPE("TotpWanted", struct totp_new, totp_wanted_fields, "An authenticator app to be enrolled.");
static const struct field totp_new_fields[] = {
    FIELD(struct totp_new, id, FIELD_UUID, .flags = FIELD_READONLY,
          .meaning = "Id of the factor that is to be."),
    FIELD(struct totp_new, secret, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_SECRET,
          .meaning = "The secret in base32, for typing: shown this once."),
    FIELD(struct totp_new, uri, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_SECRET,
          .meaning = "The same as otpauth:// URI, for a QR code."),
};
static const struct shape totp_new_shape =
    SHAPE("NewTotp", struct totp_new, totp_new_fields,
          "What an authenticator app is set up with (SHA-1, six digits, 30 seconds).");

struct totp_state {
    struct totp_new shown;
    str sealed;
};

static enum errc totp_prepare(struct api_request *r, err *e)
{
    const struct totp_new *b = r->body;
    struct totp_state *s = arena_new(r->arena, struct totp_state);
    uint8_t seed[TOTP_SEED_LEN];
    char text[BASE32_SIZE(TOTP_SEED_LEN)];
    enum errc rc = recently_authenticated(r, e);
    if (rc != ERR_NONE) return rc;
    if (!s) return err_code(e, ERR_TOO_LARGE);
    r->state = s;
    r->has_secret = true;
    random_bytes(seed, sizeof seed);
    s->shown = (struct totp_new){.id = uuid7_make(r->now_us), .name = b->name};
    s->shown.secret = str_dup(r->arena, base32_encode(seed, sizeof seed, text));
    s->shown.uri = totp_uri(r->arena, S("Catalyst"), r->who.email, s->shown.secret);
    if (!s->shown.uri.p)
        rc = err_code(e, ERR_TOO_LARGE);
    else
        rc = secret_seal(identity_of(r)->secrets, r->arena, "factors", &s->shown.id, "seed",
                         str_of((const char *)seed, sizeof seed), &s->sealed, e);
    explicit_bzero(seed, sizeof seed);
    explicit_bzero(text, sizeof text);
    return rc;
}

static enum errc no_totp_yet(struct api_request *r, struct tx *tx, err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, r->arena, &totp_exists, PARAMS(v_uuid(&r->who.user_id)), &rows, e);
    if (rc != ERR_NONE || rows.n == 0) return rc;
    return err_set(e, ERR_CONFLICT, "there is an authenticator app already: remove it first");
}

/* Nothing has changed for anybody until a code is given: no event. */
static enum errc totp_apply(struct api_request *r, struct tx *tx, err *e)
{
    struct totp_state *s = r->state;
    enum errc rc = no_totp_yet(r, tx, e);
    if (rc == ERR_NONE) rc = tx_exec_unaudited(tx, &totp_forget, PARAMS(v_uuid(&r->who.user_id)), NULL, e);
    if (rc == ERR_NONE)
        rc = tx_exec_unaudited(tx, &totp_add,
                               PARAMS(v_uuid(&s->shown.id), v_uuid(&r->who.user_id), v_text(s->shown.name),
                                      v_int(r->now_us), v_blob(s->sealed)),
                               NULL, e);
    r->answer = &s->shown;
    return rc;
}

/* --- POST /api/auth/mfa/totp/confirm --- */

struct totp_code_given {
    str code;
};
static const struct field totp_confirm_fields[] = {
    FIELD(struct totp_code_given, code, FIELD_TEXT, .min = 1, .max = 20, .format = FORMAT_ANY,
          .flags = FIELD_REQUIRED | FIELD_WRITEONLY, .meaning = "Six digits that the app shows now."),
};
static const struct shape totp_confirm_shape = SHAPE("TotpCode", struct totp_code_given, totp_confirm_fields,
                                                     "A first code, as proof that the app has the secret.");

struct confirm_state {
    struct factor factor;
    str sealed;
    int64_t step;
    bool exists;
    struct token token;
};

struct awaited {
    struct api_request *r;
    struct confirm_state *s;
};

static enum errc awaited_unit(struct tx *tx, void *ctx, err *e)
{
    struct awaited *w = ctx;
    struct rows rows;
    enum errc rc = tx_query(tx, w->r->arena, &totp_awaited, PARAMS(v_uuid(&w->r->who.user_id)), &rows, e);
    w->s->exists = rc == ERR_NONE && rows.n > 0;
    if (!w->s->exists) return rc;
    const struct val *row = row_at(&rows, 0);
    w->s->factor = (struct factor){.id = val_uuid(&row[0]), .kind = S("totp"), .name = val_str(&row[1])};
    w->s->sealed = val_str(&row[2]);
    return ERR_NONE;
}

static enum errc confirm_prepare(struct api_request *r, err *e)
{
    const struct totp_code_given *b = r->body;
    struct confirm_state *s = arena_new(r->arena, struct confirm_state);
    struct awaited w = {r, s};
    str seed;
    enum errc rc = recently_authenticated(r, e);
    if (rc != ERR_NONE) return rc;
    if (!s) return err_code(e, ERR_TOO_LARGE);
    r->state = s;
    token_make(&s->token);
    if ((rc = db_read(identity_of(r)->db, awaited_unit, &w, e)) != ERR_NONE) return rc;
    if (!s->exists)
        return err_set(e, ERR_CONFLICT, "there is nothing to confirm: POST /api/auth/mfa/totp first");
    rc =
        secret_open(identity_of(r)->secrets, r->arena, "factors", &s->factor.id, "seed", s->sealed, &seed, e);
    if (rc != ERR_NONE) return rc;
    s->step = totp_find(seed, totp_typed(r->arena, b->code), r->now_us, NO_VALUE);
    explicit_bzero((void *)(uintptr_t)seed.p, seed.len);
    s->factor.created_at = s->factor.last_used_at = r->now_us;
    s->factor.locked_until = NO_VALUE;
    return s->step != NO_VALUE ? ERR_NONE
                               : api_field_error(r, e, "code", "wrong",
                                                 "the code is wrong: is the clock of the device right?");
}

static enum errc confirm_apply(struct api_request *r, struct tx *tx, err *e)
{
    struct confirm_state *s = r->state;
    int64_t n = 0;
    enum errc rc = no_totp_yet(r, tx, e);
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &totp_confirm,
                     PARAMS(v_int(s->step), v_int(r->now_us), v_uuid(&s->factor.id), v_uuid(&r->who.user_id)),
                     &n, e);
    if (rc == ERR_NONE && n == 0)
        return err_set(e, ERR_CONFLICT, "there is nothing to confirm: POST /api/auth/mfa/totp first");
    if (rc == ERR_NONE) rc = factor_added(r, tx, &s->factor, e);
    if (rc == ERR_NONE) rc = session_raise(r, tx, &s->token, false, e);
    r->answer = &s->factor;
    return rc;
}

/* --- POST /api/auth/mfa/passkeys/options --- */

static const struct field creation_fields[] = {
    FIELD(struct passkey_options, options, FIELD_JSON, .flags = FIELD_READONLY, .format = FORMAT_OBJECT,
          .max = 65536,
          .meaning =
              "PublicKeyCredentialCreationOptionsJSON of WebAuthn, for "
              "PublicKeyCredential.parseCreationOptionsFromJSON(); good for one answer within five minutes."),
};
static const struct shape creation_shape = SHAPE("PasskeyCreationOptions", struct passkey_options,
                                                 creation_fields, "What a page makes a passkey with.");

static str own_session(const struct api_request *r)
{
    return str_of((const char *)r->who.credential_id.b, sizeof r->who.credential_id.b);
}

static enum errc creation_prepare(struct api_request *r, err *e)
{
    struct challenge *c = arena_new(r->arena, struct challenge);
    enum errc rc = recently_authenticated(r, e);
    if (rc != ERR_NONE) return rc;
    if (!c) return err_code(e, ERR_TOO_LARGE);
    r->state = c;
    challenge_make(c, CHALLENGE_REGISTER, own_session(r));
    return ERR_NONE;
}

static enum errc creation_apply(struct api_request *r, struct tx *tx, err *e)
{
    const struct challenge *c = r->state;
    struct passkey_options *answer = arena_new(r->arena, struct passkey_options);
    if (!answer) return err_code(e, ERR_TOO_LARGE);
    r->answer = answer;
    enum errc rc = challenge_insert(tx, c, r->now_us, e);
    return rc == ERR_NONE ? passkey_creation_options(r, tx, c, &answer->options, e) : rc;
}

/* --- POST /api/auth/mfa/passkeys --- */

struct passkey_new {
    str name, credential;
};
static const struct field passkey_new_fields[] = {
    FIELD(struct passkey_new, name, FIELD_TEXT, .min = 1, .max = FACTOR_NAME_MAX, .format = FORMAT_LINE,
          .flags = FIELD_PERSONAL, .fallback = "\"Passkey\"", .meaning = "What the caller calls it."),
    FIELD(struct passkey_new, credential, FIELD_JSON, .format = FORMAT_OBJECT, .max = PASSKEY_JSON_MAX,
          .flags = FIELD_REQUIRED | FIELD_WRITEONLY,
          .meaning = "What navigator.credentials.create() gave: RegistrationResponseJSON of WebAuthn, which "
                     "PublicKeyCredential.toJSON() gives."),
};
static const struct shape passkey_new_shape =
    SHAPE("PasskeyRegistration", struct passkey_new, passkey_new_fields, "A passkey to be enrolled.");

struct passkey_state {
    struct factor factor;
    struct webauthn_registered registered;
    struct token token;
};

static enum errc passkey_prepare(struct api_request *r, err *e)
{
    const struct passkey_new *b = r->body;
    struct passkey_state *s = arena_new(r->arena, struct passkey_state);
    struct passkey_registration given;
    struct webauthn_expected x;
    struct json *json;
    enum errc rc = recently_authenticated(r, e);
    if (rc != ERR_NONE) return rc;
    if (!s) return err_code(e, ERR_TOO_LARGE);
    r->state = s;
    token_make(&s->token);
    rc = passkey_expected(r, &x, e);
    if (rc == ERR_NONE) rc = json_parse(r->arena, b->credential, &json, e);
    if (rc == ERR_NONE) rc = passkey_read_registration(r->arena, json, &given, e);
    if (rc == ERR_NONE)
        rc = challenge_take(r, CHALLENGE_REGISTER, own_session(r), given.client_data, &x.challenge, e);
    if (rc == ERR_NONE)
        rc = webauthn_register(r->arena, &x, given.client_data, given.attestation_object, &s->registered, e);
    if (rc == ERR_NONE && !str_eq(given.credential_id, s->registered.credential_id))
        rc = err_set(e, ERR_INVALID, "the passkey's answer has another id than the credential in it");
    if (rc == ERR_CREDENTIALS || rc == ERR_INVALID)
        return api_field_error(r, e, "credential", "refused", "%.200s", e->msg);
    s->factor = (struct factor){
        .id = uuid7_make(r->now_us),
        .kind = S("passkey"),
        .name = b->name,
        .created_at = r->now_us,
        .last_used_at = r->now_us,
        .locked_until = NO_VALUE,
        .is_backed_up = s->registered.is_backed_up,
    };
    return rc;
}

static enum errc passkey_apply(struct api_request *r, struct tx *tx, err *e)
{
    struct passkey_state *s = r->state;
    const struct webauthn_registered *g = &s->registered;
    struct rows others;
    const struct val *count;
    enum errc rc = tx_query(tx, r->arena, &credential_exists, PARAMS(v_blob(g->credential_id)), &others, e);
    if (rc == ERR_NONE && others.n)
        return err_set(e, ERR_CONFLICT, "this passkey is registered here already");
    if (rc == ERR_NONE)
        rc = tx_query_row(tx, r->arena, &passkeys_count, PARAMS(v_uuid(&r->who.user_id)), &count, e);
    if (rc == ERR_NONE && val_int(&count[0]) >= PASSKEYS_MAX)
        return err_set(e, ERR_CONFLICT, "nobody has more than %d passkeys: remove one first", PASSKEYS_MAX);
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &passkey_add,
                     PARAMS(v_uuid(&s->factor.id), v_uuid(&r->who.user_id), v_text(s->factor.name),
                            v_int(r->now_us), v_blob(g->credential_id), v_blob(g->public_key),
                            v_int(g->sign_count), v_int(g->is_backup_eligible), v_int(g->is_backed_up),
                            v_blob(g->aaguid)),
                     NULL, e);
    if (rc == ERR_NONE) rc = factor_added(r, tx, &s->factor, e);
    if (rc == ERR_NONE) rc = session_raise(r, tx, &s->token, true, e);
    r->answer = &s->factor;
    return rc;
}

/* --- POST /api/auth/mfa/recovery-codes --- */

struct recovery_codes {
    struct texts codes;
};
static const struct field recovery_fields[] = {
    FIELD(struct recovery_codes, codes, FIELD_TEXTS, .flags = FIELD_READONLY | FIELD_SECRET,
          .max_items = RECOVERY_CODES, .meaning = "Ten codes, each good for one sign-in: shown this once."),
};
static const struct shape recovery_shape =
    SHAPE("RecoveryCodes", struct recovery_codes, recovery_fields, "For who loses their other factors.");

struct recovery_state {
    struct recovery_codes shown;
    uint8_t hashes[RECOVERY_CODES][SHA256_LEN];
};

static enum errc recovery_prepare(struct api_request *r, err *e)
{
    struct recovery_state *s = arena_new(r->arena, struct recovery_state);
    str *codes = arena_news(r->arena, str, RECOVERY_CODES);
    enum errc rc = recently_authenticated(r, e);
    if (rc != ERR_NONE) return rc;
    if (!s || !codes) return err_code(e, ERR_TOO_LARGE);
    if (!r->who.has_factors)
        return err_set(e, ERR_CONFLICT,
                       "recovery codes stand in for other factors: enrol one of those first");
    r->state = s;
    r->has_secret = true;
    s->shown.codes = (struct texts){codes, RECOVERY_CODES};
    for (unsigned i = 0; i < RECOVERY_CODES; i++) {
        char text[RECOVERY_CODE_TEXT_LEN + 1];
        recovery_code_make(text, s->hashes[i]);
        codes[i] = str_dup(r->arena, str_of(text, RECOVERY_CODE_TEXT_LEN));
        if (!codes[i].p) return err_code(e, ERR_TOO_LARGE);
        explicit_bzero(text, sizeof text);
    }
    return ERR_NONE;
}

static enum errc recovery_apply(struct api_request *r, struct tx *tx, err *e)
{
    struct recovery_state *s = r->state;
    struct event ev = event_of(r, S("recovery_codes.made"), EVENT_MORE);
    ev.workspace_id = (uuid){0};
    ev.resource_type = S("user");
    ev.resource_id = r->who.user_id;
    enum errc rc = tx_exec(tx, &recovery_forget, PARAMS(v_uuid(&r->who.user_id)), NULL, e);
    for (unsigned i = 0; i < RECOVERY_CODES && rc == ERR_NONE; i++)
        rc = tx_exec(tx, &recovery_add,
                     PARAMS(v_hash(s->hashes[i]), v_uuid(&r->who.user_id), v_int(r->now_us)), NULL, e);
    r->answer = &s->shown;
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

static const struct api_route routes[] = {
    {.method = HTTP_POST,
     .path = "/api/auth/mfa/totp",
     .name = "auth_mfa_totp",
     .access = ACCESS_SESSION,
     .scope = SCOPE_SELF,
     .effect = EFFECT_STATE,
     .body = &totp_wanted_shape,
     .answer = &totp_new_shape,
     .status = 201,
     .is_idempotent_exempt = true,
     .summary = "Begins to enrol an authenticator app",
     .text = "It counts for nothing until a code of it confirms it; beginning again makes another secret.",
     .prepare = totp_prepare,
     .apply = totp_apply},
    {.method = HTTP_POST,
     .path = "/api/auth/mfa/totp/confirm",
     .name = "auth_mfa_totp_confirm",
     .access = ACCESS_SESSION,
     .scope = SCOPE_SELF,
     .effect = EFFECT_STATE,
     .body = &totp_confirm_shape,
     .answer = &factor_shape,
     .status = 201,
     .is_idempotent_exempt = true,
     .summary = "Enrols the authenticator app, by a first code",
     .text = "From now on every sign-in asks for a second factor. The session gets another cookie.",
     .prepare = confirm_prepare,
     .apply = confirm_apply},
    {.method = HTTP_POST,
     .path = "/api/auth/mfa/passkeys/options",
     .name = "auth_mfa_passkeys_options",
     .access = ACCESS_SESSION,
     .scope = SCOPE_SELF,
     .effect = EFFECT_STATE,
     .answer = &creation_shape,
     .is_idempotent_exempt = true,
     .summary = "What to make a passkey with",
     .prepare = creation_prepare,
     .apply = creation_apply},
    {.method = HTTP_POST,
     .path = "/api/auth/mfa/passkeys",
     .name = "auth_mfa_passkeys_create",
     .access = ACCESS_SESSION,
     .scope = SCOPE_SELF,
     .effect = EFFECT_STATE,
     .body = &passkey_new_shape,
     .answer = &factor_shape,
     .status = 201,
     .is_idempotent_exempt = true,
     .summary = "Enrols a passkey",
     .text = "From now on every sign-in asks for a second factor, or for this passkey alone. The session "
             "gets another "
             "cookie.",
     .prepare = passkey_prepare,
     .apply = passkey_apply},
    {.method = HTTP_POST,
     .path = "/api/auth/mfa/recovery-codes",
     .name = "auth_mfa_recovery_codes",
     .access = ACCESS_SESSION,
     .scope = SCOPE_SELF,
     .effect = EFFECT_STATE,
     .answer = &recovery_shape,
     .status = 201,
     .is_idempotent_exempt = true,
     .summary = "Makes new recovery codes",
     .text = "Those before are void.",
     .prepare = recovery_prepare,
     .apply = recovery_apply},
};
const struct api_table enrolment_api = {"auth", routes, LENGTH_OF(routes)};
