/* Access tokens: making them, and who holds one. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/map.h"
#include "core/identity/bearer/bearer.h"

#define CLAIMS_MAX 4096
#define SKEW_S 30

/* --- scopes --- */

struct permission_set grant_scopes(str scopes)
{
    if (str_eq(scopes, S(SCOPES_ALL))) return *permission_set_for_keys();
    struct permission_set named = permission_set_of_names(scopes);
    return permission_set_and(&named, permission_set_for_keys());
}

enum errc grant_read_scopes(struct api_request *r, const struct texts *names, str *out, err *e)
{
    struct permission_set set = {{0, 0}};
    enum errc rc = ERR_NONE;
    if (!names->n || (names->n == 1 && str_eq(names->items[0], S(SCOPES_ALL)))) {
        *out = S(SCOPES_ALL);
        return ERR_NONE;
    }
    for (unsigned i = 0; i < names->n; i++) {
        enum permission p;
        if (!permission_parse(names->items[i], &p))
            rc = api_field_error(r, e, "scopes", "not_one_of",
                                 "'%.*s' is no permission; GET /api/permissions lists them",
                                 STR(names->items[i]));
        else if (!permission_set_has(permission_set_for_keys(), p))
            rc = api_field_error(r, e, "scopes", "not_one_of",
                                 "%s is for people only: no program can have it", permission_name(p));
        else
            permission_set_add(&set, p);
    }
    if (rc != ERR_NONE) return rc;
    *out = permission_set_names(r->arena, &set);
    return out->p ? ERR_NONE : err_code(e, ERR_TOO_LARGE);
}

/* --- making --- */

static enum errc write_claims(const struct identity *id, struct arena *a, const struct grant *g, usec now,
                              str *out, err *e)
{
    char text[UUID_TEXT_LEN + 1];
    struct buf b;
    struct json_writer w;
    int64_t now_s = now / USEC_PER_S;
    uuid jti = uuid7_make(now);
    buf_init(&b, CLAIMS_MAX);
    json_writer_init(&w, &b);
    json_object(&w);
    json_put_str(&w, "iss", id->issuer);
    json_put_str(&w, "aud", id->audience);
    json_put_str(&w, "sub", uuid_format(&g->user_id, text));
    json_put_str(&w, "client_id", g->client);
    json_put_str(&w, "sid", uuid_format(&g->session_id, text));
    json_put_str(&w, "wid", uuid_format(&g->workspace_id, text));
    json_put_str(&w, "scope", g->scopes);
    json_put_str(&w, "jti", uuid_format(&jti, text));
    json_put_int(&w, "iat", now_s);
    json_put_int(&w, "nbf", now_s);
    json_put_int(&w, "exp", now_s + ACCESS_S);
    json_end(&w);
    *out = str_dup(a, buf_str(&b));
    bool is_whole = buf_err(&b) == ERR_NONE && out->p;
    buf_fini(&b);
    return is_whole ? ERR_NONE : err_set(e, ERR_TOO_LARGE, "the scopes do not fit into a token");
}

static enum errc sign(struct identity *id, struct arena *a, str claims, usec now, str *token, err *e)
{
    char kid[SIGNING_KID_LEN + 1], used[SIGNING_KID_LEN + 1];
    uint8_t sig[SIGNING_SIGNATURE_LEN];
    enum signing_algorithm algorithm;
    str text;
    for (unsigned tries = 0; tries < 3; tries++) {
        enum errc rc = signing_current(id->signing, SIGNING_ACCESS, now, kid, &algorithm, e);
        if (rc == ERR_NONE)
            rc = jws_compose(a, algorithm == SIGNING_P256 ? JOSE_ES256 : JOSE_EDDSA, S(ACCESS_TYP),
                             str_c(kid), claims, &text, e);
        if (rc == ERR_NONE) rc = signing_sign(id->signing, SIGNING_ACCESS, now, text, used, sig, e);
        if (rc != ERR_NONE) return rc;
        if (strcmp(kid, used) == 0)
            return jws_finish(a, text, str_of((const char *)sig, sizeof sig), token, e);
    } /* the key was replaced between the two */
    return err_set(e, ERR_UNAVAILABLE, "the key that signs tokens is being replaced");
}

enum errc refresh_token_of(const struct identity *id, struct arena *a, const struct grant *g, str *out,
                           err *e)
{
    uint8_t bytes[16 + 4 + SHA256_LEN], data[16 + 4 + sizeof g->salt];
    char text[BASE64_SIZE(sizeof bytes)];
    memcpy(bytes, g->family_id.b, 16);
    for (unsigned i = 0; i < 4; i++)
        bytes[16 + i] = (uint8_t)(g->generation >> (24 - 8 * i));
    memcpy(data, bytes, 20);
    memcpy(data + 20, g->salt, sizeof g->salt);
    hmac_sha256(str_of((const char *)id->refresh_key, sizeof id->refresh_key),
                str_of((const char *)data, sizeof data), bytes + 20);
    *out = arena_printf(a, "crt_%.*s", STR(base64url_encode(bytes, sizeof bytes, text)));
    explicit_bzero(bytes, sizeof bytes);
    explicit_bzero(text, sizeof text);
    return out->p ? ERR_NONE : err_code(e, ERR_TOO_LARGE);
}

enum errc tokens_make(struct identity *id, struct arena *a, const struct grant *g, usec now,
                      struct tokens *out, err *e)
{
    str claims;
    *out = (struct tokens){.token_type = S("Bearer"),
                           .expires_in = ACCESS_S,
                           .scope = g->scopes,
                           .workspace_id = g->workspace_id,
                           .session_id = g->session_id};
    if (!id->signing) return err_set(e, ERR_UNAVAILABLE, "this process signs no tokens");
    enum errc rc = write_claims(id, a, g, now, &claims, e);
    if (rc == ERR_NONE) rc = sign(id, a, claims, now, &out->access_token, e);
    return rc == ERR_NONE ? refresh_token_of(id, a, g, &out->refresh_token, e) : rc;
}

/* --- that the session stands --- */

SQL(session_of_token, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT s.user_id, s.last_seen_us, s.expires_us, s.authenticated_us, s.factor_us, "
    "s.is_phishing_resistant, s.idle_us, "
    "u.email, u.name, u.is_disabled, u.n_factors, s.workspace_id, s.kind, s.created_us FROM sessions s JOIN "
    "users u ON u.id = s.user_id WHERE "
    "s.id = $1");

#define EMAIL_ROOM 330
#define NAME_ROOM 410

/* What is remembered of a session. */
struct standing {
    uuid session_id, user_id, workspace_id;
    uint64_t epoch;    /* when anything ends everywhere the epoch does, and nothing of it counts any more */
    usec read_mono_us; /* 0: empty */
    usec expires_us, last_seen_us, idle_us;
    usec authenticated_us, factor_us, began_us;
    bool is_phishing_resistant, has_factors, stands;
    uint16_t email_len, name_len;
    char email[EMAIL_ROOM], name[NAME_ROOM];
};

#define STANDINGS 4096
#define WAYS 4

struct bearer_memory {
    pthread_mutex_t lock; /* guards the slots */
    _Atomic uint64_t epoch;
    struct standing slots[STANDINGS];
};

enum errc bearer_memory_new(struct bearer_memory **out, err *e)
{
    *out = calloc(1, sizeof **out);
    if (!*out) return err_code(e, ERR_NO_MEMORY);
    (*out)->epoch = 1;
    pthread_mutex_init(&(*out)->lock, NULL);
    return ERR_NONE;
}

void bearer_memory_free(struct bearer_memory *m)
{
    if (!m) return;
    pthread_mutex_destroy(&m->lock);
    free(m);
}

void bearer_forget(struct bearer_memory *m)
{
    if (m) atomic_fetch_add(&m->epoch, 1);
}

/* The places that a session can be remembered in. */
static struct standing *set_of(struct bearer_memory *m, const uuid *session)
{
    return &m->slots[hash_bytes(str_of((const char *)session->b, sizeof session->b)) % (STANDINGS / WAYS) *
                     WAYS];
}

static bool recall(struct bearer_memory *m, const uuid *session, struct standing *out)
{
    usec now = clock_mono_us();
    bool is_known = false;
    pthread_mutex_lock(&m->lock);
    const struct standing *set = set_of(m, session);
    for (unsigned i = 0; i < WAYS && !is_known; i++) {
        is_known = set[i].read_mono_us && memcmp(&set[i].session_id, session, sizeof *session) == 0 &&
                   set[i].epoch == atomic_load(&m->epoch) && now - set[i].read_mono_us < REMEMBERED_US;
        if (is_known) *out = set[i];
    }
    pthread_mutex_unlock(&m->lock);
    return is_known;
}

/* In its own place, or that of the one that was read first. Nothing that was read before something ended. */
static void remember(struct bearer_memory *m, const struct standing *s)
{
    pthread_mutex_lock(&m->lock);
    struct standing *set = set_of(m, &s->session_id), *place = set;
    for (unsigned i = 0; i < WAYS; i++) {
        if (memcmp(&set[i].session_id, &s->session_id, sizeof s->session_id) == 0) {
            place = &set[i];
            break;
        }
        if (set[i].read_mono_us < place->read_mono_us) place = &set[i];
    }
    if (s->epoch == atomic_load(&m->epoch)) *place = *s;
    pthread_mutex_unlock(&m->lock);
}

static uint16_t keep(char *room, size_t size, str text)
{
    size_t n = text.len < size ? text.len : 0; /* one that is longer is left out */
    if (n) memcpy(room, text.p, n);
    return (uint16_t)n;
}

static enum errc read_standing(const struct identity *id, struct tx *tx, struct arena *a, struct standing *s,
                               err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, a, &session_of_token, PARAMS(v_uuid(&s->session_id)), &rows, e);
    s->stands = false;
    if (rc != ERR_NONE || rows.n == 0) return rc;
    const struct val *row = row_at(&rows, 0);
    s->user_id = val_uuid(&row[0]);
    s->last_seen_us = val_int(&row[1]);
    s->expires_us = val_int(&row[2]);
    s->authenticated_us = val_int(&row[3]);
    s->factor_us = val_int(&row[4]) == NO_VALUE ? 0 : val_int(&row[4]);
    s->is_phishing_resistant = val_bool(&row[5]);
    s->idle_us = val_int(&row[6]) == NO_VALUE ? id->session_idle_us : val_int(&row[6]);
    s->email_len = keep(s->email, sizeof s->email, val_str(&row[7]));
    s->name_len = keep(s->name, sizeof s->name, val_str(&row[8]));
    s->has_factors = val_int(&row[10]) > 0;
    s->workspace_id = val_uuid(&row[11]);
    s->began_us = val_int(&row[13]);
    s->stands = !val_bool(&row[9]) && !str_eq(val_str(&row[12]), S("browser"));
    return ERR_NONE;
}

static bool is_over(const struct standing *s, usec now)
{
    return !s->stands || s->expires_us <= now || s->last_seen_us + s->idle_us <= now;
}

struct standing_read {
    const struct identity *id;
    struct arena *a;
    struct standing *s;
};

static enum errc standing_unit(struct tx *tx, void *ctx, err *e)
{
    struct standing_read *r = ctx;
    return read_standing(r->id, tx, r->a, r->s, e);
}

static enum errc standing_of(struct identity *id, struct arena *a, const uuid *session, struct standing *s,
                             bool *is_new, err *e)
{
    struct standing_read r = {id, a, s};
    *is_new = !recall(id->memory, session, s);
    if (!*is_new) return ERR_NONE;
    *s = (struct standing){
        .session_id = *session, .epoch = atomic_load(&id->memory->epoch), .read_mono_us = clock_mono_us()};
    enum errc rc = db_read(id->db, standing_unit, &r, e);
    if (rc == ERR_NONE) remember(id->memory, s);
    return rc;
}

enum errc bearer_stands(const struct identity *id, struct api_request *r, struct tx *tx, usec now,
                        bool *stands, err *e)
{
    struct standing s = {.session_id = r->who.credential_id};
    enum errc rc = read_standing(id, tx, r->arena, &s, e);
    *stands = rc == ERR_NONE && !is_over(&s, now) && memcmp(&s.user_id, &r->who.user_id, sizeof(uuid)) == 0;
    return rc;
}

/* --- verifying --- */

bool bearer_is_token(str text) { return str_starts(text, S("ey")) && str_chr(text, '.') > 0; }

static enum errc check_fill(struct tx *tx, void *ctx, err *e)
{
    struct api_request *r = ctx;
    return limit_key_check(tx, r->arena, r->address, r->now_us, &r->retry_after_s, e);
}

/* One that nobody here has signed is a guess, like a wrong API key. */
static enum errc forged(struct identity *id, struct api_request *r, err *e)
{
    err ignored = {0};
    enum errc rc = db_read(id->db, check_fill, r, e);
    if (rc != ERR_NONE) return rc;
    if (limit_key_failed(id->db, r->address, r->now_us, &ignored) != ERR_NONE)
        log_error(LOG_WARN, "key_failure_not_counted", &ignored);
    return err_set(e, ERR_UNAUTHENTICATED, "this is no access token of this Catalyst");
}

static enum errc verify(struct identity *id, struct arena *a, str token, usec now, struct jwt *claims, err *e)
{
    struct jws t;
    struct signing_public half;
    struct jose_key key;
    const struct jwt_rules rules = {.typ = S(ACCESS_TYP),
                                    .issuer = id->issuer,
                                    .audience = id->audience,
                                    .now_us = now,
                                    .skew_s = SKEW_S};
    enum errc rc = jws_read(a, token, &t, e);
    if (rc == ERR_NONE) rc = signing_find(id->signing, SIGNING_ACCESS, t.kid, now, &half, e);
    if (rc == ERR_NONE)
        rc = half.algorithm == SIGNING_P256 ? jose_key_p256(&key, t.kid, half.key, e)
                                            : jose_key_ed25519(&key, t.kid, half.key, e);
    if (rc != ERR_NONE) return rc;
    rc = jws_verify(&t, &key, e);
    jose_key_free(&key);
    if (rc != ERR_NONE) return ERR_INVALID;
    return jwt_read(a, &t, &rules, claims, e);
}

enum errc bearer_authenticate(struct identity *id, struct api_request *r, const struct http_head *h, str token, err *e)
{
    struct jwt claims;
    struct standing s;
    uuid user, session, workspace;
    bool is_new;
    if (!id->signing) return err_set(e, ERR_UNAVAILABLE, "this process takes no tokens");
    enum errc rc = verify(id, r->arena, token, r->now_us, &claims, e);
    if (rc == ERR_INVALID || rc == ERR_NOT_FOUND) return forged(id, r, e);
    if (rc != ERR_NONE) return rc;
    if (!uuid_parse(claims.sub, &user) || !uuid_parse(jwt_text(&claims, S("sid")), &session) ||
        !uuid_parse(jwt_text(&claims, S("wid")), &workspace))
        return err_set(e, ERR_UNAUTHENTICATED, "the token names no person, session and workspace");
    if ((rc = standing_of(id, r->arena, &session, &s, &is_new, e)) != ERR_NONE) return rc;
    if (is_over(&s, r->now_us) || memcmp(&s.user_id, &user, sizeof user) != 0 ||
        memcmp(&s.workspace_id, &workspace, sizeof workspace) != 0)
        return err_set(e, ERR_UNAUTHENTICATED, "the sign-in that this token belongs to has ended");
    r->who = (struct principal){
        .kind = PRINCIPAL_BEARER,
        .user_id = user,
        .credential_id = session,
        .key_workspace_id = workspace,
        .key_scopes = grant_scopes(jwt_text(&claims, S("scope"))),
        .authenticated_us = s.authenticated_us,
        .factor_us = s.factor_us,
        .is_phishing_resistant = s.is_phishing_resistant,
        .has_factors = s.has_factors,
        .began_us = s.began_us,
        .email = str_dup(r->arena, str_of(s.email, s.email_len)),
        .name = str_dup(r->arena, str_of(s.name, s.name_len)),
    };
    if (!r->who.email.p || !r->who.name.p) return err_code(e, ERR_TOO_LARGE);
    if (is_new) identity_touch(id, r, h, s.last_seen_us);
    return ERR_NONE;
}
