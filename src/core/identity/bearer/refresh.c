/* Families of refresh tokens: POST /api/auth/token begins one, /api/auth/refresh goes on with it, /api/auth/revoke ends it. */
#include "base/random.h"
#include "core/identity/bearer/bearer.h"

#define FAMILY_BYTES 52

SQL(program_session_add, DB_MAIN, SQL_INSTANCE, "ubuiiiittiittui",
    "INSERT INTO sessions (id, token_hash, user_id, created_us, last_seen_us, expires_us, authenticated_us, "
    "address, "
    "user_agent, factor_us, is_phishing_resistant, kind, client, workspace_id, idle_us) VALUES ($1, $2, $3, "
    "$4, $5, $6, $7, $8, "
    "$9, $10, $11, $12, $13, $14, $15)");
SQL(family_add, DB_MAIN, 0, "uuuuttbiitii",
    "INSERT INTO refresh_families (id, session_id, user_id, workspace_id, client, scopes, salt, generation, "
    "rotated_us, "
    "rotated_address, created_us, expires_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)");
SQL(family_find, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT f.session_id, f.user_id, f.workspace_id, f.client, f.scopes, f.salt, f.generation, f.rotated_us, "
    "f.rotated_address, "
    "f.expires_us, s.expires_us, u.is_disabled FROM refresh_families f JOIN sessions s ON s.id = "
    "f.session_id JOIN users u ON "
    "u.id = f.user_id WHERE f.id = $1");
SQL(family_turn, DB_MAIN, SQL_INSTANCE, "iituii",
    "UPDATE refresh_families SET generation = $1, rotated_us = $2, rotated_address = $3 WHERE id = $4 AND "
    "generation = $5 AND "
    "rotated_us > $6");
SQL(family_session_seen, DB_MAIN, SQL_INSTANCE, "itu",
    "UPDATE sessions SET last_seen_us = $1, address = $2 WHERE id = $3");
SQL(family_session_end, DB_MAIN, SQL_INSTANCE, "u", "DELETE FROM sessions WHERE id = $1");
SQL(family_end, DB_MAIN, SQL_INSTANCE, "u", "DELETE FROM refresh_families WHERE session_id = $1");
SQL(member_find, DB_MAIN, 0, "uu", "SELECT 1 FROM memberships WHERE workspace_id = $1 AND user_id = $2");
SQL(families_purge, DB_MAIN, SQL_INSTANCE, "ii",
    "DELETE FROM refresh_families WHERE expires_us <= $1 OR rotated_us <= $2 OR NOT EXISTS (SELECT 1 FROM "
    "sessions s WHERE s.id = "
    "refresh_families.session_id)");
SQL(devices_purge, DB_MAIN, SQL_INSTANCE, "i", "DELETE FROM device_logins WHERE expires_us <= $1");

enum errc bearer_tidy(struct tx *tx, usec now, err *e)
{
    enum errc rc =
        tx_exec_unaudited(tx, &families_purge, PARAMS(v_int(now), v_int(now - REFRESH_IDLE_US)), NULL, e);
    return rc == ERR_NONE ? tx_exec_unaudited(tx, &devices_purge, PARAMS(v_int(now - USEC_PER_DAY)), NULL, e)
                          : rc;
}

/* --- what all of them answer --- */

static const struct field tokens_fields[] = {
    FIELD(struct tokens, access_token, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_SECRET,
          .meaning = "What Authorization: Bearer takes; a JWT that GET /.well-known/jwks.json verifies."),
    FIELD(struct tokens, token_type, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "Bearer."),
    FIELD(struct tokens, expires_in, FIELD_INT, .flags = FIELD_READONLY,
          .meaning = "Seconds that the access token is valid."),
    FIELD(struct tokens, refresh_token, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_SECRET,
          .meaning = "For POST /api/auth/refresh, once; used a second time it ends the sign-in."),
    FIELD(struct tokens, scope, FIELD_TEXT, .flags = FIELD_READONLY,
          .meaning = "Names of permissions, separated by spaces, or \"all\": whatever a program can have."),
    FIELD(struct tokens, workspace_id, FIELD_UUID, .flags = FIELD_READONLY,
          .meaning = "The workspace that the tokens reach."),
    FIELD(struct tokens, session_id, FIELD_UUID, .flags = FIELD_READONLY,
          .meaning = "The session that they belong to."),
};
const struct shape tokens_shape =
    SHAPE("ProgramTokens", struct tokens, tokens_fields, "Tokens of a program.");

enum errc oauth_refuse(struct api_request *r, const char *error, str text, err *e)
{
    struct buf b;
    struct json_writer w;
    buf_init(&b, 2048);
    json_writer_init(&w, &b);
    json_object(&w);
    json_put_str(&w, "error", str_c(error));
    json_put_str(&w, "error_description", text);
    json_end(&w);
    r->status = 400;
    r->raw = str_dup(r->arena, buf_str(&b));
    r->raw_type = S("application/json");
    buf_fini(&b);
    return r->raw.p ? ERR_NONE : err_code(e, ERR_TOO_LARGE);
}

/* --- beginning --- */

void grant_begin(struct grant *g, usec now)
{
    g->session_id = uuid7_make(now);
    g->family_id = uuid7_make(now);
    g->generation = 1;
    random_bytes(g->salt, sizeof g->salt);
}

enum errc grant_start(struct api_request *r, struct tx *tx, const struct grant *g, str kind,
                      const struct voucher *v, err *e)
{
    uint8_t nobody
        [SHA256_LEN]; /* of no cookie: the hash of an id that is random in 74 bits, under the instance's key */
    str address = r->address.p ? r->address : S("");
    struct event ev = event_of(r, S("auth.signed_in"), EVENT_SIGN_IN);
    hmac_sha256(str_of((const char *)identity_of(r)->refresh_key, 32),
                str_of((const char *)g->session_id.b, 16), nobody);
    enum errc rc = tx_exec(
        tx, &program_session_add,
        PARAMS(v_uuid(&g->session_id), v_hash(nobody), v_uuid(&g->user_id), v_int(r->now_us),
               v_int(r->now_us), v_int(r->now_us + REFRESH_MAX_US), v_int(v->authenticated_us),
               v_text(address), v_text(str_take(r->user_agent.p ? r->user_agent : S(""), USER_AGENT_MAX)),
               v_int_or_null(v->factor_us ? v->factor_us : NO_VALUE), v_int(v->is_phishing_resistant),
               v_text(kind), v_text(g->client), v_uuid(&g->workspace_id), v_int(REFRESH_IDLE_US)),
        NULL, e);
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &family_add,
                     PARAMS(v_uuid(&g->family_id), v_uuid(&g->session_id), v_uuid(&g->user_id),
                            v_uuid(&g->workspace_id), v_text(g->client), v_text(g->scopes),
                            v_blob(str_of((const char *)g->salt, sizeof g->salt)), v_int(g->generation),
                            v_int(r->now_us), v_text(limit_address(r->arena, address)), v_int(r->now_us),
                            v_int(r->now_us + REFRESH_MAX_US)),
                     NULL, e);
    if (rc != ERR_NONE) return rc;
    ev.workspace_id = g->workspace_id;
    ev.resource_type = S("session");
    ev.resource_id = g->session_id;
    ev.metadata = arena_printf(r->arena, "{\"factor\":\"%.*s\"}", STR(kind));
    return ev.metadata.p ? tx_event(tx, &ev, e) : err_code(e, ERR_TOO_LARGE);
}

struct token_wanted {
    uuid workspace_id;
    struct texts scopes;
    str client;
};
static const struct field token_wanted_fields[] = {
    FIELD(struct token_wanted, workspace_id, FIELD_UUID, .flags = FIELD_REQUIRED | FIELD_WRITEONLY,
          .meaning = "The workspace that the tokens are to reach."),
    FIELD(struct token_wanted, scopes, FIELD_TEXTS, .min = 1, .max = 64, .max_items = PERMISSIONS,
          .fallback = "[]", .flags = FIELD_WRITEONLY,
          .meaning = "Permissions that the tokens are limited to; none: whatever a program can have."),
    FIELD(struct token_wanted, client, FIELD_TEXT, .min = 1, .max = CLIENT_MAX, .format = FORMAT_LINE,
          .fallback = "\"program\"", .flags = FIELD_WRITEONLY,
          .meaning = "What the program is called, for the list of sessions."),
};
static const struct shape token_wanted_shape =
    SHAPE("TokenWanted", struct token_wanted, token_wanted_fields, "What tokens are to be for.");

struct token_state {
    struct grant grant;
    struct tokens tokens;
};

static enum errc token_prepare(struct api_request *r, err *e)
{
    const struct token_wanted *b = r->body;
    struct token_state *s = arena_new(r->arena, struct token_state);
    if (!s) return err_code(e, ERR_TOO_LARGE);
    r->state = s;
    enum errc rc = recently_authenticated(r, e);
    if (rc == ERR_NONE) rc = grant_read_scopes(r, &b->scopes, &s->grant.scopes, e);
    if (rc != ERR_NONE) return rc;
    grant_begin(&s->grant, r->now_us);
    s->grant.user_id = r->who.user_id;
    s->grant.workspace_id = b->workspace_id;
    s->grant.client = b->client;
    return tokens_make(identity_of(r), r->arena, &s->grant, r->now_us, &s->tokens, e);
}

static enum errc token_apply(struct api_request *r, struct tx *tx, err *e)
{
    struct token_state *s = r->state;
    const struct voucher v = {r->who.authenticated_us, r->who.factor_us, r->who.is_phishing_resistant};
    struct rows rows;
    enum errc rc = tx_query(tx, r->arena, &member_find,
                            PARAMS(v_uuid(&s->grant.workspace_id), v_uuid(&r->who.user_id)), &rows, e);
    if (rc == ERR_NONE && rows.n == 0) return err_set(e, ERR_NOT_FOUND, "there is no such workspace");
    if (rc == ERR_NONE) rc = grant_start(r, tx, &s->grant, S("program"), &v, e);
    r->answer = &s->tokens;
    r->has_secret = true;
    return rc;
}

/* --- going on --- */

struct refresh_wanted {
    str refresh_token, grant_type;
};
static const struct field refresh_fields[] = {
    FIELD(struct refresh_wanted, refresh_token, FIELD_TEXT, .min = 1, .max = 200,
          .flags = FIELD_REQUIRED | FIELD_WRITEONLY, .meaning = "The refresh token that came last."),
    FIELD(struct refresh_wanted, grant_type, FIELD_ONE_OF, .choices = "refresh_token",
          .fallback = "\"refresh_token\"", .flags = FIELD_WRITEONLY, .meaning = "As OAuth has it."),
};
static const struct shape refresh_shape =
    SHAPE("Refresh", struct refresh_wanted, refresh_fields, "A refresh token to be exchanged.");
static const struct field revoke_fields[] = {
    FIELD(struct refresh_wanted, refresh_token, FIELD_TEXT, .min = 1, .max = 200,
          .flags = FIELD_REQUIRED | FIELD_WRITEONLY,
          .meaning = "A refresh token of the sign-in that is to end."),
};
static const struct shape revoke_shape =
    SHAPE("Revocation", struct refresh_wanted, revoke_fields, "A sign-in of a program to be ended.");

struct refresh_state {
    struct grant given;      /* as the token says; its family as the database has it */
    bool is_ours, has_ended; /* the token is of the family; that is over */
    struct grant next;
    struct tokens tokens;
    bool is_reuse; /* apply */
};

static enum errc find_family(struct tx *tx, void *ctx, err *e)
{
    struct api_request *r = ctx;
    struct refresh_state *s = r->state;
    struct grant *g = &s->given;
    struct rows rows;
    enum errc rc = tx_query(tx, r->arena, &family_find, PARAMS(v_uuid(&g->family_id)), &rows, e);
    s->is_ours = rc == ERR_NONE && rows.n > 0;
    if (!s->is_ours) return rc;
    const struct val *row = row_at(&rows, 0);
    g->session_id = val_uuid(&row[0]);
    g->user_id = val_uuid(&row[1]);
    g->workspace_id = val_uuid(&row[2]);
    g->client = val_str(&row[3]);
    g->scopes = val_str(&row[4]);
    s->next = *g;
    s->next.generation = val_int(&row[6]);
    s->is_ours = val_str(&row[5]).len == sizeof g->salt;
    if (s->is_ours) memcpy(g->salt, val_str(&row[5]).p, sizeof g->salt);
    memcpy(s->next.salt, g->salt, sizeof g->salt);
    s->has_ended = val_int(&row[7]) + REFRESH_IDLE_US <= r->now_us || val_int(&row[9]) <= r->now_us ||
                   val_int(&row[10]) <= r->now_us || val_bool(&row[11]);
    return ERR_NONE;
}

/* Reads the token and looks whether it is one of its family. */
static enum errc look_at(struct api_request *r, err *e)
{
    const struct refresh_wanted *b = r->body;
    struct identity *id = identity_of(r);
    struct refresh_state *s = arena_new(r->arena, struct refresh_state);
    uint8_t bytes[BASE64_DECODED_MAX(REFRESH_TOKEN_LEN)];
    size_t len = 0;
    str expected;
    if (!s) return err_code(e, ERR_TOO_LARGE);
    r->state = s;
    bool is_form = b->refresh_token.len == REFRESH_TOKEN_LEN && str_starts(b->refresh_token, S("crt_")) &&
                   base64url_decode(str_skip(b->refresh_token, 4), bytes, &len) && len == FAMILY_BYTES;
    if (is_form) {
        memcpy(s->given.family_id.b, bytes, 16);
        for (unsigned i = 16; i < 20; i++)
            s->given.generation = s->given.generation << 8 | bytes[i];
        enum errc rc = db_read(id->db, find_family, r, e);
        if (rc == ERR_NONE) rc = refresh_token_of(id, r->arena, &s->given, &expected, e);
        if (rc != ERR_NONE) return rc;
        s->is_ours = secret_eq(expected, b->refresh_token) && s->is_ours;
    }
    explicit_bzero(bytes, sizeof bytes);
    if (s->is_ours) return ERR_NONE;
    /* Only wrong tokens are held up: 256 bits are not guessed, but whoever tries is told to stop. */
    struct limit_try t = {.kind = LIMIT_REFRESH, .address = r->address};
    return limit_begin(id->db, &t, r->now_us, &r->retry_after_s, e);
}

static enum errc refuse(struct api_request *r, err *e)
{
    return oauth_refuse(r, "invalid_grant",
                        S("this refresh token is not valid, was used, or has expired: sign in again"), e);
}

static enum errc refresh_prepare(struct api_request *r, err *e)
{
    enum errc rc = look_at(r, e);
    struct refresh_state *s = r->state;
    if (rc != ERR_NONE) return rc;
    if (!s->is_ours || s->has_ended) return refuse(r, e);
    s->next.generation = s->given.generation + 1;
    rc = tokens_make(identity_of(r), r->arena, &s->next, r->now_us, &s->tokens, e);
    return rc == ERR_NONE ? person_key_ensure(r->store, &s->given.user_id, r->now_us, e) : rc;
}

static enum errc end_sign_in(struct api_request *r, struct tx *tx, const struct grant *g, str type, err *e)
{
    struct event ev = event_of(r, type, EVENT_SIGN_IN);
    enum errc rc = tx_exec(tx, &family_session_end, PARAMS(v_uuid(&g->session_id)), NULL, e);
    if (rc == ERR_NONE) rc = tx_exec(tx, &family_end, PARAMS(v_uuid(&g->session_id)), NULL, e);
    if (rc != ERR_NONE) return rc;
    ev.workspace_id = g->workspace_id;
    ev.resource_type = S("session");
    ev.resource_id = g->session_id;
    return tx_event(tx, &ev, e);
}

/* The token was used before, and not a moment ago from here: one of the two that hold it has stolen it. */
static enum errc reused(struct api_request *r, struct tx *tx, err *e)
{
    struct refresh_state *s = r->state;
    struct event ev = event_of(r, S("auth.refresh_token_reused"), EVENT_FAILURE);
    enum errc rc = end_sign_in(r, tx, &s->given, S("auth.session_ended"), e);
    if (rc != ERR_NONE) return rc;
    s->is_reuse = true;
    ev.workspace_id = s->given.workspace_id;
    ev.resource_type = S("user");
    ev.resource_id = ev.person_id = s->given.user_id;
    ev.status = S("failure");
    ev.error = S("refresh_token_reused");
    rc = tx_event(tx, &ev, e);
    return rc == ERR_NONE ? refuse(r, e) : rc;
}

static enum errc refresh_apply(struct api_request *r, struct tx *tx, err *e)
{
    struct refresh_state *s = r->state;
    struct rows rows;
    int64_t n = 0;
    if (r->raw.p) return ERR_NONE;
    s->is_reuse = false;
    str address = limit_address(r->arena, r->address);
    enum errc rc = tx_exec_unaudited(tx, &family_turn,
                                     PARAMS(v_int(s->next.generation), v_int(r->now_us), v_text(address),
                                            v_uuid(&s->given.family_id), v_int(s->given.generation),
                                            v_int(r->now_us - REFRESH_IDLE_US)),
                                     &n, e);
    if (rc == ERR_NONE && n == 1)
        rc = tx_exec_unaudited(tx, &family_session_seen,
                               PARAMS(v_int(r->now_us), v_text(r->address), v_uuid(&s->given.session_id)),
                               NULL, e);
    r->answer = &s->tokens;
    r->has_secret = true;
    if (rc != ERR_NONE || n == 1) return rc;
    rc = tx_query(tx, r->arena, &family_find, PARAMS(v_uuid(&s->given.family_id)), &rows, e);
    if (rc != ERR_NONE) return rc;
    r->answer = NULL;
    if (rows.n == 0) return refuse(r, e); /* it has ended since it was looked at */
    const struct val *row = row_at(&rows, 0);
    bool is_retry = val_int(&row[6]) == s->next.generation &&
                    val_int(&row[7]) + REFRESH_GRACE_US > r->now_us && str_eq(val_str(&row[8]), address);
    if (!is_retry) return reused(r, tx, e);
    r->answer = &s->tokens;
    return ERR_NONE;
}

static void refresh_after(struct api_request *r)
{
    const struct refresh_state *s = r->state;
    if (s && s->is_reuse) session_revoke(identity_of(r), &s->given.session_id);
}

/* --- ending --- */

static enum errc revoke_prepare(struct api_request *r, err *e)
{
    enum errc rc = look_at(r, e);
    const struct refresh_state *s = r->state;
    return rc == ERR_NONE && s->is_ours ? person_key_ensure(r->store, &s->given.user_id, r->now_us, e) : rc;
}

/* Of a token that is none it says nothing (RFC 7009 section 2.2). An old one ends its sign-in too: nothing is safer. */
static enum errc revoke_apply(struct api_request *r, struct tx *tx, err *e)
{
    struct refresh_state *s = r->state;
    return s->is_ours ? end_sign_in(r, tx, &s->given, S("auth.signed_out"), e) : ERR_NONE;
}

static void revoke_after(struct api_request *r)
{
    const struct refresh_state *s = r->state;
    if (s->is_ours) session_revoke(identity_of(r), &s->given.session_id);
}

static const struct api_route routes[] = {
    {.method = HTTP_POST,
     .path = "/api/auth/token",
     .name = "auth_token",
     .access = ACCESS_SESSION,
     .scope = SCOPE_SELF,
     .effect = EFFECT_STATE,
     .body = &token_wanted_shape,
     .answer = &tokens_shape,
     .status = 201,
     .is_idempotent_exempt = true,
     .summary = "Lets a program in: an access token and a refresh token",
     .text = "The program gets a session of its own, for one workspace, which is listed with the others and "
             "ends when it is ended "
             "there, after seven days without use, or after 30 days. The password or a factor must have been "
             "given within the last "
             "10 minutes.",
     .prepare = token_prepare,
     .apply = token_apply},
    {.method = HTTP_POST,
     .path = "/api/auth/refresh",
     .name = "auth_refresh",
     .access = ACCESS_PUBLIC,
     .scope = SCOPE_INSTANCE,
     .effect = EFFECT_TELEMETRY,
     .body = &refresh_shape,
     .answer = &tokens_shape,
     .is_idempotent_exempt = true,
     .summary = "Exchanges a refresh token for fresh tokens",
     .text = "Each refresh token works once. Within ten seconds the same request from the same address gets "
             "the same successor, "
             "in case the answer was lost; after that a token that comes a second time ends the sign-in. "
             "What is refused gets OAuth's "
             "answer, 400 with `{\"error\": \"invalid_grant\"}`.",
     .prepare = refresh_prepare,
     .apply = refresh_apply,
     .after = refresh_after},
    {.method = HTTP_POST,
     .path = "/api/auth/revoke",
     .name = "auth_revoke",
     .access = ACCESS_PUBLIC,
     .scope = SCOPE_INSTANCE,
     .effect = EFFECT_STATE,
     .body = &revoke_shape,
     .status = 204,
     .is_idempotent_exempt = true,
     .summary = "Signs a program out by its refresh token",
     .text = "A token that is none gets the same answer (RFC 7009).",
     .prepare = revoke_prepare,
     .apply = revoke_apply,
     .after = revoke_after},
};
const struct api_table tokens_api = {"auth", routes, LENGTH_OF(routes)};
