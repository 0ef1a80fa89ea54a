#include "core/identity/identity.h"

#include <stdlib.h>

#include "base/keytext.h"
#include "base/log.h"
#include "core/identity/bearer/bearer.h"
#include "core/identity/internal.h"
#include "core/workspaces.h"
#include "net/address.h"
#include "net/url.h"

#define TOUCH_US (60LL * USEC_PER_S) /* last use is kept to the minute */
#define ARENA_LIMIT (64u << 10)

/* clang-format off */
static const struct option options[] = {
    {.key = "identity.session_idle_ms", .type = OPTION_MS, .fallback = "12h", .min = 60000, .max = 86400000,
     .meaning = "A browser's session ends after this time without a request."},
    {.key = "identity.session_max_ms", .type = OPTION_MS, .fallback = "720h", .min = 60000, .max = 2592000000,
     .meaning = "A browser's session ends after this time whatever happens."},
    {.key = "identity.argon2_memory", .type = OPTION_BYTES, .fallback = "19MiB", .min = 8192, .max = 1 << 30,
     .meaning = "Memory that the hash of a password takes (Argon2id); when it rises, hashes are made anew at sign-in."},
    {.key = "identity.argon2_passes", .type = OPTION_INT, .fallback = "2", .min = 1, .max = 100,
     .meaning = "Passes over that memory."},
};
/* clang-format on */
const struct option_table identity_options = {options, LENGTH_OF(options)};

/* Those who wait hold a thread of the API's pool each; half of the pool stays for everybody else. */
#define PASSWORDS_WAITING_MAX 16

static void read_origin(struct identity *id)
{
    str url = id->public_url, rest = url;
    id->scheme = str_cut(&rest, ':');
    str host = str_skip(rest, 2);
    ptrdiff_t slash = str_chr(host, '/');
    if (slash >= 0) host = str_take(host, (size_t)slash);
    id->origin = str_of(url.p, (size_t)(host.p + host.len - url.p));
    ptrdiff_t colon = -1;
    for (size_t i = host.len; i-- > 0 && host.p[i] != ']';)
        if (host.p[i] == ':') {
            colon = (ptrdiff_t)i;
            break;
        }
    id->port = colon < 0 ? (str){"", 0} : str_skip(host, (size_t)colon);
    str name = colon < 0 ? host : str_take(host, (size_t)colon);
    bool is_address = name.len && (name.p[0] == '[' || name.p[name.len - 1] <= '9');
    id->passkey_host = is_address ? (str){"", 0} : name;
    id->is_loopback = str_eq(name, S("localhost")) || str_eq(name, S("[::1]")) || str_starts(name, S("127."));
    if (id->is_loopback) id->passkey_host = S("localhost");
}

enum errc identity_new(struct identity **out, const struct identity_source *source, err *e)
{
    struct identity *id = calloc(1, sizeof *id);
    if (!id) return err_code(e, ERR_NO_MEMORY);
    arena_init(&id->arena, ARENA_LIMIT, 0);
    id->store = source->store;
    id->db = store_db(source->store, DB_MAIN);
    id->live = source->live;
    id->mailer = source->mailer;
    id->permissions = source->permissions;
    id->secrets = source->secrets;
    id->find_project = source->find_project;
    id->project_ids = source->project_ids;
    id->workspaces = workspace_rules_read(source->config);
    id->public_url = str_dup(&id->arena, source->public_url.len ? source->public_url : S("http://127.0.0.1"));
    id->session_idle_us = config_int(source->config, "identity.session_idle_ms") * USEC_PER_MS;
    id->session_max_us = config_int(source->config, "identity.session_max_ms") * USEC_PER_MS;
    secrets_derive(source->secrets, "csrf", id->csrf_key);
    secrets_derive(source->secrets, "device", id->device_key);
    secrets_derive(source->secrets, "refresh", id->refresh_key);
    secrets_derive(source->secrets, "user code", id->user_code_key);
    id->signing = source->signing;
    id->issuer = str_dup(&id->arena, source->issuer.len ? source->issuer : id->public_url);
    id->audience = arena_printf(&id->arena, "%.*s/api", STR(id->issuer));
    read_origin(id);
    enum errc rc = password_gate_init(&id->gate, 0, PASSWORDS_WAITING_MAX,
                                      (size_t)config_int(source->config, "identity.argon2_memory"),
                                      (unsigned)config_int(source->config, "identity.argon2_passes"), e);
    if (rc == ERR_NONE && (rc = bearer_memory_new(&id->memory, e)) != ERR_NONE) password_gate_fini(&id->gate);
    if (rc != ERR_NONE) {
        arena_fini(&id->arena);
        free(id);
        return rc;
    }
    *out = id;
    return ERR_NONE;
}

void identity_free(struct identity *id)
{
    if (!id) return;
    password_gate_fini(&id->gate);
    bearer_memory_free(id->memory);
    explicit_bzero(id->csrf_key, sizeof id->csrf_key);
    explicit_bzero(id->refresh_key, sizeof id->refresh_key);
    explicit_bzero(id->user_code_key, sizeof id->user_code_key);
    explicit_bzero(id->device_key, sizeof id->device_key);
    arena_fini(&id->arena);
    free(id);
}

struct db *identity_db(const struct identity *id) { return id->db; }

struct mailer *identity_mailer(const struct identity *id) { return id->mailer; }
str identity_public_url(const struct identity *id) { return id->public_url; }

struct live *identity_live(const struct identity *id) { return id->live; }

struct permissions *identity_permissions(const struct identity *id) { return id->permissions; }

enum errc held_in_workspace(const struct api_request *r, struct tx *tx, const uuid *workspace,
                            struct permission_set *out, err *e)
{
    struct access *a;
    enum errc rc = tx_access(identity_of(r)->permissions, tx, workspace, &r->who.user_id, r->now_us, &a, e);
    if (rc != ERR_NONE) return rc;
    *out = access_in_workspace(a);
    *out = permission_set_and(out, &r->who.key_scopes);
    access_let_go(a);
    return ERR_NONE;
}

const struct sql *identity_find_project(const struct identity *id) { return id->find_project; }

const struct sql *identity_project_ids(const struct identity *id) { return id->project_ids; }

const struct workspace_rules *identity_workspace_rules(const struct identity *id) { return &id->workspaces; }

/* --- who asks --- */

SQL(session_by_token, DB_MAIN, SQL_INSTANCE, "b",
    "SELECT s.id, s.user_id, s.last_seen_us, s.expires_us, s.authenticated_us, u.email, u.name, "
    "u.is_instance_admin, u.is_disabled, s.factor_us, s.is_phishing_resistant, u.n_factors, s.created_us, s.idle_us, s.kind "
    "FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.token_hash = $1");
SQL(key_by_secret, DB_MAIN, SQL_INSTANCE, "b",
    "SELECT k.id, k.user_id, k.workspace_id, k.scopes, k.project_ids, k.expires_us, k.secret_hash, "
    "k.previous_until_us, k.last_used_us, "
    "k.last_used_address, u.email, u.name, u.is_disabled, k.addresses "
    "FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.secret_hash = $1 OR k.previous_hash = $1");
SQL(touch_session, DB_MAIN, SQL_INSTANCE, "itu",
    "UPDATE sessions SET last_seen_us = $1, address = $2 WHERE id = $3");
SQL(touch_key, DB_MAIN, SQL_INSTANCE, "itu",
    "UPDATE api_keys SET last_used_us = $1, last_used_address = $2 WHERE id = $3");
SQL(touch_member, DB_MAIN, 0, "iuu",
    "UPDATE memberships SET last_active_us = $1 WHERE workspace_id = $2 AND user_id = $3");
SQL(touch_user, DB_MAIN, SQL_INSTANCE, "iu", "UPDATE users SET last_active_us = $1 WHERE id = $2");

struct look_up {
    struct identity *id;
    struct api_request *r;
    uint8_t hash[SHA256_LEN];
    usec last_used_us;
    str last_address;
    bool is_found;
    struct principal refused; /* of a key that exists, and why it is */
    const char *why;
};

static enum errc find_session(struct tx *tx, void *ctx, err *e)
{
    struct look_up *l = ctx;
    struct api_request *r = l->r;
    struct rows rows;
    enum errc rc = tx_query(tx, r->arena, &session_by_token, PARAMS(v_hash(l->hash)), &rows, e);
    l->is_found = false;
    if (rc != ERR_NONE || rows.n == 0) return rc;
    const struct val *row = row_at(&rows, 0);
    l->last_used_us = val_int(&row[2]);
    usec idle_us = val_int(&row[13]) == NO_VALUE ? l->id->session_idle_us : val_int(&row[13]);
    if (l->last_used_us + idle_us <= r->now_us || val_int(&row[3]) <= r->now_us || val_bool(&row[8]) ||
        !str_eq(val_str(&row[14]), S("browser")))
        return ERR_NONE;
    r->who = (struct principal){
        .kind = PRINCIPAL_SESSION,
        .user_id = val_uuid(&row[1]),
        .credential_id = val_uuid(&row[0]),
        .key_scopes = permission_set_all(),
        .is_instance_admin = val_bool(&row[7]),
        .authenticated_us = val_int(&row[4]),
        .factor_us = val_int(&row[9]) == NO_VALUE ? 0 : val_int(&row[9]),
        .is_phishing_resistant = val_bool(&row[10]),
        .has_factors = val_int(&row[11]) > 0,
        .began_us = val_int(&row[12]),
        .email = val_str(&row[5]),
        .name = val_str(&row[6]),
    };
    l->is_found = true;
    return ERR_NONE;
}

static void read_scopes(str names, struct permission_set *out)
{
    while (names.len) {
        enum permission p;
        if (permission_parse(str_cut(&names, ' '), &p)) permission_set_add(out, p);
    }
    *out = permission_set_and(out, permission_set_for_keys());
}

static enum errc read_projects(struct arena *a, str ids, struct principal *who, err *e)
{
    uuid *list = arena_news(a, uuid, ids.len / UUID_TEXT_LEN);
    if (!list) return err_code(e, ERR_TOO_LARGE);
    while (ids.len)
        if (uuid_parse(str_cut(&ids, ' '), &list[who->n_key_projects])) who->n_key_projects++;
    who->key_projects = list;
    return ERR_NONE;
}

/* Ranges separated by spaces; none: anywhere. */
static bool key_is_for_address(str ranges, str address)
{
    struct address from;
    if (!ranges.len) return true;
    if (!address_parse(address, &from)) return false;
    while (ranges.len) {
        struct address_range range;
        if (address_range_parse(str_cut(&ranges, ' '), &range) && address_in(&from, &range)) return true;
    }
    return false;
}

static enum errc find_key(struct tx *tx, void *ctx, err *e)
{
    struct look_up *l = ctx;
    struct api_request *r = l->r;
    struct rows rows;
    l->is_found = false;
    enum errc rc = tx_query(tx, r->arena, &key_by_secret, PARAMS(v_hash(l->hash)), &rows, e);
    if (rc != ERR_NONE) return rc;
    const struct val *row = rows.n ? row_at(&rows, 0) : NULL;
    bool is_current = row && secret_eq(val_str(&row[6]), str_of((const char *)l->hash, sizeof l->hash));
    /* Only wrong keys are held up: right ones from the same address are no guesses. */
    l->why = !row                                                                                 ? NULL
             : val_int(&row[5]) <= r->now_us || (!is_current && val_int(&row[7]) <= r->now_us) ? "expired"
             : val_bool(&row[12])                                                              ? "disabled"
             : !key_is_for_address(val_str(&row[13]), r->address)                              ? "address"
                                                                                               : NULL;
    if (l->why)
        l->refused = (struct principal){.kind = PRINCIPAL_API_KEY,
                                        .user_id = val_uuid(&row[1]),
                                        .credential_id = val_uuid(&row[0]),
                                        .key_workspace_id = val_uuid(&row[2])};
    if (!row || l->why) return limit_key_check(tx, r->arena, r->address, r->now_us, &r->retry_after_s, e);
    r->who = (struct principal){
        .kind = PRINCIPAL_API_KEY,
        .user_id = val_uuid(&row[1]),
        .credential_id = val_uuid(&row[0]),
        .key_workspace_id = val_uuid(&row[2]),
        .email = val_str(&row[10]),
        .name = val_str(&row[11]),
    };
    read_scopes(val_str(&row[3]), &r->who.key_scopes);
    l->last_used_us = val_int(&row[8]);
    l->last_address = val_str(&row[9]);
    l->is_found = true;
    return read_projects(r->arena, val_str(&row[4]), &r->who, e);
}

/* The workspace that the request names, as far as it can be told before anybody has looked whether they belong to it; nil: none. */
static uuid named_workspace(const struct api_request *r, const struct http_head *h)
{
    uuid id = {0};
    if (!uuid_is_nil(&r->who.key_workspace_id)) return r->who.key_workspace_id;
    if (r->route && str_starts(str_c(r->route->path), S("/api/workspaces/:id"))) return r->path_id[0];
    return uuid_parse(str_trim(header_get(h, S("x-catalyst-workspace"))), &id) ? id : (uuid){0};
}

struct touching {
    const struct api_request *r;
    uuid workspace_id;
};

static enum errc touch_unit(struct tx *tx, void *ctx, err *e)
{
    const struct touching *t = ctx;
    const struct api_request *r = t->r;
    const struct sql *which = r->who.kind == PRINCIPAL_API_KEY ? &touch_key : &touch_session;
    enum errc rc = tx_exec_unaudited(
        tx, which, PARAMS(v_int(r->now_us), v_text(r->address), v_uuid(&r->who.credential_id)), NULL, e);
    if (rc == ERR_NONE && !uuid_is_nil(&t->workspace_id))
        rc = tx_exec_unaudited(tx, &touch_member,
                               PARAMS(v_int(r->now_us), v_uuid(&t->workspace_id), v_uuid(&r->who.user_id)), NULL, e);
    return rc != ERR_NONE ? rc
                          : tx_exec_unaudited(tx, &touch_user,
                                              PARAMS(v_int(r->now_us), v_uuid(&r->who.user_id)), NULL, e);
}

/* That somebody was here is worth a line in the log when it cannot be kept, and no more. */
void identity_touch(struct identity *id, struct api_request *r, const struct http_head *h, usec last_us)
{
    err e = {0};
    struct touching t = {.r = r, .workspace_id = named_workspace(r, h)};
    if (last_us != NO_VALUE && last_us + TOUCH_US > r->now_us) return;
    if (db_write(id->db, touch_unit, &t, &e) != ERR_NONE) log_error(LOG_WARN, "last_use_not_kept", &e);
}

static bool is_unsafe(enum http_method m) { return m != HTTP_GET && m != HTTP_HEAD && m != HTTP_OPTIONS; }

static bool needs_nobody(const struct api_request *r)
{
    return r->route && (r->route->access == ACCESS_PUBLIC || r->route->access == ACCESS_SETUP_TOKEN);
}

static enum errc authenticate_key(struct identity *id, struct api_request *r, const struct http_head *h, str text, err *e)
{
    struct look_up l = {.id = id, .r = r};
    err ignored = {0};
    bool is_sound;
    if (keytext_kind(text, &is_sound) != KEYTEXT_MANAGEMENT)
        return err_set(
            e, ERR_UNAUTHENTICATED,
            "Authorization must be \"Bearer cat_…\", an API key, or an access token; a virtual key (cvk_…) works on /v1 only");
    if (!is_sound)
        return err_set(e, ERR_UNAUTHENTICATED,
                       "this is no API key: its checksum is wrong, so it was mistyped or cut");
    token_hash(text, l.hash);
    enum errc rc = db_read(id->db, find_key, &l, e);
    if (rc != ERR_NONE) return rc;
    if (!l.is_found) {
        if (limit_key_failed(id->db, r->address, r->now_us, &ignored) != ERR_NONE)
            log_error(LOG_WARN, "key_failure_not_counted", &ignored);
        if (l.why) key_use_refused(id, r, &l.refused, l.why);
        return err_set(e, ERR_UNAUTHENTICATED, "this API key does not exist, has expired or was revoked");
    }
    identity_touch(id, r, h, str_eq(l.last_address, r->address) ? l.last_used_us : NO_VALUE);
    return ERR_NONE;
}

static enum errc authenticate_session(struct identity *id, struct api_request *r, const struct http_head *h,
                                      str cookie, err *e)
{
    struct look_up l = {.id = id, .r = r};
    token_hash(cookie, l.hash);
    enum errc rc = db_read(id->db, find_session, &l, e);
    if (rc != ERR_NONE) return rc;
    if (!l.is_found) /* an old cookie is no reason to refuse what everybody may have */
        return needs_nobody(r) ? ERR_NONE
                               : err_set(e, ERR_UNAUTHENTICATED, "the session has ended: sign in again");
    if (is_unsafe(r->method)) {
        str expected = csrf_token(id, r->arena, &r->who.credential_id);
        bool is_cross = origin_check(id, h, true, e) != ERR_NONE;
        if (!is_cross && !secret_eq(header_get(h, S("x-csrf-token")), expected)) {
            (void)err_set(e, ERR_FORBIDDEN,
                          "X-CSRF-Token is missing or not this session's; GET /api/auth/me tells it");
            is_cross = true;
        }
        if (is_cross && !needs_nobody(r)) return ERR_FORBIDDEN;
        if (is_cross) { /* signing in has its own check, and a stranger's cookie gives nothing here */
            r->who = (struct principal){.kind = PRINCIPAL_NONE};
            return ERR_NONE;
        }
    }
    identity_touch(id, r, h, l.last_used_us);
    return ERR_NONE;
}

enum errc identity_authenticate(void *ctx, struct api_request *r, const struct http_head *h, err *e)
{
    struct identity *id = ctx;
    str authorization = header_get(h, S("authorization")), cookie = cookie_get(h, session_cookie_name(r));
    enum errc rc = ERR_NONE;
    r->who = (struct principal){.kind = PRINCIPAL_NONE};
    if (authorization.p) {
        if (needs_nobody(r)) return ERR_NONE;
        str scheme = str_cut(&authorization, ' ');
        if (!str_ieq(scheme, S("bearer")))
            return err_set(e, ERR_UNAUTHENTICATED, "Authorization must be \"Bearer cat_…\", an API key, or an access token");
        str text = str_trim(authorization);
        return bearer_is_token(text) ? bearer_authenticate(id, r, h, text, e) : authenticate_key(id, r, h, text, e);
    }
    if (is_unsafe(r->method) && needs_nobody(r) && (rc = origin_check(id, h, false, e)) != ERR_NONE)
        return rc;
    r->device = cookie_get(h, device_cookie_name(r));
    r->sign_in = cookie_get(h, sign_in_cookie_name(r));
    r->passkey = cookie_get(h, passkey_cookie_name(r));
    return cookie.len == TOKEN_LEN ? authenticate_session(id, r, h, cookie, e) : ERR_NONE;
}

/* --- what they may --- */

SQL(memberships_of, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT m.workspace_id FROM memberships m JOIN workspaces w ON w.id = m.workspace_id WHERE m.user_id = $1 AND "
    "w.deleted_us IS NULL LIMIT 2");

enum errc identity_authorize(void *ctx, struct api_request *r, struct tx *tx, err *e)
{
    const struct identity *id = ctx;
    if (principal_is_program(&r->who) &&
        memcmp(&r->who.key_workspace_id, &r->workspace_id, sizeof r->workspace_id) != 0)
        return err_code(e, ERR_NOT_FOUND);
    enum errc rc = permissions_authorize(id->permissions, r, tx, e);
    return rc == ERR_NONE ? workspace_admits(r, tx, e) : rc;
}

enum errc identity_only_workspace(void *ctx, struct api_request *r, struct tx *tx, uuid *out, err *e)
{
    (void)ctx;
    struct rows rows;
    if (principal_is_program(&r->who)) {
        *out = r->who.key_workspace_id;
        return ERR_NONE;
    }
    enum errc rc = tx_query(tx, r->arena, &memberships_of, PARAMS(v_uuid(&r->who.user_id)), &rows, e);
    if (rc != ERR_NONE) return rc;
    if (rows.n == 0) return err_set(e, ERR_NOT_FOUND, "you are not a member of any workspace");
    if (rows.n > 1)
        return err_set(e, ERR_INVALID,
                       "you are a member of several workspaces: say which with X-Catalyst-Workspace");
    *out = val_uuid(&row_at(&rows, 0)[0]);
    return ERR_NONE;
}

/* --- what goes on without a request --- */

SQL(session_is_live, DB_MAIN, SQL_INSTANCE, "uuiii",
    "SELECT 1 FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = $1 AND s.user_id = $2 AND "
    "s.expires_us > $3 "
    "AND s.last_seen_us + COALESCE(s.idle_us, $4) > $3 AND u.is_disabled = $5");
SQL(key_is_live, DB_MAIN, SQL_INSTANCE, "uuii",
    "SELECT 1 FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.id = $1 AND k.user_id = $2 AND "
    "k.expires_us > $3 "
    "AND u.is_disabled = $4");
SQL(sessions_purge, DB_MAIN, SQL_INSTANCE, "ii",
    "DELETE FROM sessions WHERE expires_us <= $1 OR last_seen_us + COALESCE(idle_us, $2) <= $1");
SQL(invitations_purge, DB_MAIN, SQL_INSTANCE, "i", "DELETE FROM invitations WHERE expires_us <= $1");

enum errc identity_recheck(void *ctx, struct api_request *r, struct tx *tx, err *e)
{
    const struct identity *id = ctx;
    const struct principal *who = &r->who;
    usec now = clock_now_us();
    struct rows rows;
    if (who->kind == PRINCIPAL_BEARER) {
        bool stands;
        enum errc rc = bearer_stands(id, r, tx, now, &stands, e);
        if (rc != ERR_NONE) return rc;
        return stands ? identity_authorize(ctx, r, tx, e) : err_set(e, ERR_UNAUTHENTICATED, "the sign-in has ended");
    }
    enum errc rc =
        who->kind == PRINCIPAL_SESSION
            ? tx_query(tx, r->arena, &session_is_live,
                       PARAMS(v_uuid(&who->credential_id), v_uuid(&who->user_id), v_int(now),
                              v_int(id->session_idle_us), v_int(0)),
                       &rows, e)
            : tx_query(tx, r->arena, &key_is_live,
                       PARAMS(v_uuid(&who->credential_id), v_uuid(&who->user_id), v_int(now), v_int(0)),
                       &rows, e);
    if (rc != ERR_NONE) return rc;
    return rows.n ? identity_authorize(ctx, r, tx, e)
                  : err_set(e, ERR_UNAUTHENTICATED, "the session or API key has ended");
}

enum errc identity_tidy(struct tx *tx, void *ctx, err *e)
{
    const struct identity *id = ctx;
    usec now = clock_now_us(); /* a unit that runs again forgets no less */
    enum errc rc = limit_purge(tx, now, e);
    if (rc == ERR_NONE) rc = factors_tidy(tx, now, e);
    if (rc == ERR_NONE)
        rc = tx_exec_unaudited(tx, &sessions_purge, PARAMS(v_int(now), v_int(id->session_idle_us)),
                               NULL, e);
    if (rc == ERR_NONE) rc = bearer_tidy(tx, now, e);
    return rc == ERR_NONE ? tx_exec_unaudited(tx, &invitations_purge, PARAMS(v_int(now)), NULL, e) : rc;
}
