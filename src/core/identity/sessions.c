/* Sessions: those of browsers are made at sign-in and told by a cookie, those of programs (bearer/) are listed and ended beside
 * them; known devices; GET /api/auth/me. */
#include "core/identity/internal.h"

SQL(session_insert, DB_MAIN, SQL_INSTANCE, "ubuiiiittiii",
    "INSERT INTO sessions (id, token_hash, user_id, created_us, last_seen_us, expires_us, authenticated_us, "
    "address, user_agent, factor_us, is_phishing_resistant, idle_us) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)");
SQL(session_list, DB_MAIN, SQL_INSTANCE, "uii",
    "SELECT id, created_us, last_seen_us, expires_us, address, user_agent, kind, client, workspace_id FROM sessions "
    "WHERE user_id = $1 AND expires_us > $2 AND last_seen_us + COALESCE(idle_us, $3) > $2");
SQL(session_delete, DB_MAIN, SQL_INSTANCE, "uu", "DELETE FROM sessions WHERE user_id = $1 AND id = $2");
SQL(session_delete_others, DB_MAIN, SQL_INSTANCE, "uu",
    "DELETE FROM sessions WHERE user_id = $1 AND id <> $2");
SQL(session_delete_of_member, DB_MAIN, 0, "uu",
    "DELETE FROM sessions WHERE user_id = $1 AND (workspace_id IS NULL OR workspace_id = $2)");
SQL(session_member_find, DB_MAIN, 0, "uu", "SELECT NULL FROM memberships WHERE workspace_id = $1 AND user_id = $2");
SQL(session_policies, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT w.settings FROM memberships m JOIN workspaces w ON w.id = m.workspace_id WHERE m.user_id = $1");
SQL(session_delete_old, DB_MAIN, SQL_INSTANCE, "uii",
    "DELETE FROM sessions WHERE user_id = $1 AND (expires_us <= $2 OR last_seen_us + COALESCE(idle_us, $3) <= $2)");
SQL(user_workspaces, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT w.id, w.name, m.role FROM memberships m JOIN workspaces w ON w.id = m.workspace_id WHERE "
    "m.user_id = $1 AND (w.deleted_us IS NULL OR m.role = 'owner') ORDER BY w.id LIMIT 1000");
SQL(key_name, DB_MAIN, 0, "uu", "SELECT name FROM api_keys WHERE workspace_id = $1 AND id = $2");

#define DEVICE_MAX_S (180LL * 86400)

str session_cookie_name(const struct api_request *r)
{
    return r->is_secure ? S("__Host-cat_session") : S("cat_session");
}
str device_cookie_name(const struct api_request *r)
{
    return r->is_secure ? S("__Host-cat_device") : S("cat_device");
}

str csrf_token(const struct identity *id, struct arena *a, const uuid *session)
{
    char mac[MAC_LEN + 1];
    mac_of(id->csrf_key, str_of((const char *)session->b, sizeof session->b), mac);
    return str_dup(a, str_of(mac, MAC_LEN));
}

enum errc session_prepare(struct api_request *r, const struct user *user, struct fresh_session *out, err *e)
{
    *out = (struct fresh_session){.id = uuid7_make(r->now_us), .factors = "password"};
    token_make(&out->token);
    r->who = (struct principal){
        .kind = PRINCIPAL_SESSION,
        .user_id = user->id,
        .credential_id = out->id,
        .key_scopes = permission_set_all(),
        .is_instance_admin = user->is_instance_admin,
        .authenticated_us = r->now_us,
        .email = user->email,
        .name = user->name,
    };
    return person_key_ensure(r->store, &user->id, r->now_us, e);
}

/* How long the session of somebody lasts who belongs to these workspaces: as the strictest of them wants. */
static enum errc lasts(struct api_request *r, struct tx *tx, usec *idle_us, usec *max_us, err *e)
{
    struct identity *id = identity_of(r);
    struct rows rows;
    enum errc rc = tx_query(tx, r->arena, &session_policies, PARAMS(v_uuid(&r->who.user_id)), &rows, e);
    *idle_us = id->session_idle_us;
    *max_us = id->session_max_us;
    for (unsigned i = 0; i < rows.n && rc == ERR_NONE; i++) {
        str text = val_str(&row_at(&rows, i)[0]);
        struct json *settings;
        int64_t minutes, hours;
        if (str_eq(text, S("{}"))) continue;
        if ((rc = json_parse(r->arena, text, &settings, e)) != ERR_NONE) break;
        if (json_i64(json_get(settings, S("session_idle_minutes")), &minutes) && minutes > 0 && minutes * 60 * USEC_PER_S < *idle_us)
            *idle_us = minutes * 60 * USEC_PER_S;
        if (json_i64(json_get(settings, S("session_max_hours")), &hours) && hours > 0 && hours * 3600 * USEC_PER_S < *max_us)
            *max_us = hours * 3600 * USEC_PER_S;
    }
    return rc;
}

enum errc session_start(struct api_request *r, struct tx *tx, const struct fresh_session *s, err *e)
{
    usec idle_us, max_us;
    enum errc rc = lasts(r, tx, &idle_us, &max_us, e);
    if (rc == ERR_NONE)
        rc = tx_exec_unaudited(tx, &session_delete_old,
                               PARAMS(v_uuid(&r->who.user_id), v_int(r->now_us), v_int(identity_of(r)->session_idle_us)), NULL, e);
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &session_insert,
                     PARAMS(v_uuid(&s->id), v_hash(s->token.hash), v_uuid(&r->who.user_id), v_int(r->now_us),
                            v_int(r->now_us), v_int(r->now_us + max_us), v_int(r->now_us),
                            v_text(str_of(r->address.p ? r->address.p : "", r->address.len)),
                            v_text(str_take(r->user_agent.p ? r->user_agent : S(""), USER_AGENT_MAX)),
                            v_int_or_null(s->has_factor ? r->now_us : NO_VALUE),
                            v_int(s->is_phishing_resistant), v_int(idle_us)),
                     NULL, e);
    if (rc != ERR_NONE) return rc;
    r->n_cookies = 0;
    cookie_set(r, session_cookie_name(r), str_of(s->token.text, TOKEN_LEN), max_us / USEC_PER_S);
    struct event ev = event_of(r, S("auth.signed_in"), EVENT_SIGN_IN);
    ev.workspace_id = (uuid){0};
    ev.resource_type = S("session");
    ev.resource_id = s->id;
    ev.metadata = arena_printf(r->arena, "{\"factor\":\"%s\"}", s->factors);
    return tx_event(tx, &ev, e);
}

enum errc recently_authenticated(const struct api_request *r, err *e)
{
    if (r->who.kind != PRINCIPAL_SESSION)
        return err_set(e, ERR_FORBIDDEN, "only a person who is signed in can do this, no API key and no access token");
    usec given_us = r->who.has_factors ? r->who.factor_us : r->who.authenticated_us;
    if (given_us + REAUTHENTICATION_US > r->now_us) return ERR_NONE;
    return err_set(e, ERR_REAUTHENTICATE,
                   "this needs %s given within the last 10 minutes: POST /api/auth/reauthenticate",
                   r->who.has_factors ? "a code or a passkey" : "your password");
}

/* --- known devices --- */

/* The account and the day, under a key that its password is a part of: a new password forgets all devices. */
static void device_mac(const struct identity *id, const uuid *user, int64_t day, str phc,
                       char out[MAC_LEN + 1])
{
    uint8_t hash[SHA256_LEN], data[sizeof user->b + sizeof day + SHA256_LEN];
    sha256(phc, hash);
    memcpy(data, user->b, sizeof user->b);
    memcpy(data + sizeof user->b, &day, sizeof day);
    memcpy(data + sizeof user->b + sizeof day, hash, sizeof hash);
    mac_of(id->device_key, str_of((const char *)data, sizeof data), out);
}

void device_cookie_set(struct api_request *r, const uuid *user, str phc)
{
    char mac[MAC_LEN + 1];
    int64_t day = r->now_us / USEC_PER_DAY;
    device_mac(identity_of(r), user, day, phc, mac);
    cookie_set(r, device_cookie_name(r), arena_printf(r->arena, "%lld.%s", (long long)day, mac),
               DEVICE_MAX_S);
}

bool device_is_known(const struct identity *id, str cookie, const uuid *user, str phc, usec now)
{
    char mac[MAC_LEN + 1];
    uint64_t day;
    str rest = cookie, number = str_cut(&rest, '.');
    if (!str_to_u64(number, &day) || day > (uint64_t)(now / USEC_PER_DAY) ||
        (int64_t)day * 86400 + DEVICE_MAX_S < now / USEC_PER_S)
        return false;
    device_mac(id, user, (int64_t)day, phc, mac);
    return secret_eq(rest, str_of(mac, MAC_LEN));
}

/* --- GET /api/auth/me --- */

struct my_workspace {
    uuid id;
    str name, role;
    struct texts permissions;
};
static const struct field my_workspace_fields[] = {
    FIELD(struct my_workspace, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Id of the workspace."),
    FIELD(struct my_workspace, name, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "Its name."),
    FIELD(struct my_workspace, role, FIELD_TEXT, .flags = FIELD_READONLY,
          .meaning = "The caller's role in it."),
    FIELD(struct my_workspace, permissions, FIELD_TEXTS, .flags = FIELD_READONLY, .max_items = PERMISSIONS,
          .meaning = "What the caller may do in it: of the role, and for an API key also one of its scopes."),
};
static const struct shape my_workspace_shape =
    SHAPE("MyWorkspace", struct my_workspace, my_workspace_fields, "A workspace of the caller.");

struct my_key {
    uuid id;
    str name;
    struct texts scopes;
};
static const struct field my_key_fields[] = {
    FIELD(struct my_key, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Id of the API key."),
    FIELD(struct my_key, name, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "Its name."),
    FIELD(struct my_key, scopes, FIELD_TEXTS, .flags = FIELD_READONLY, .max_items = PERMISSIONS,
          .meaning = "What it was given."),
};
static const struct shape my_key_shape =
    SHAPE("MyKey", struct my_key, my_key_fields, "The API key of this request.");

struct my_token {
    uuid session_id, workspace_id;
    struct texts scopes;
};
static const struct field my_token_fields[] = {
    FIELD(struct my_token, session_id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "The session that it belongs to."),
    FIELD(struct my_token, workspace_id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "The workspace that it reaches."),
    FIELD(struct my_token, scopes, FIELD_TEXTS, .flags = FIELD_READONLY, .max_items = PERMISSIONS,
          .meaning = "What it is limited to."),
};
static const struct shape my_token_shape =
    SHAPE("MyToken", struct my_token, my_token_fields, "The access token of this request.");

struct me {
    struct user user;
    str csrf_token;
    struct objects workspaces;
    usec authenticated_at;
    struct my_key *key;
    struct my_token *token;
};
static const struct field me_fields[] = {
    FIELD(struct me, user, FIELD_OBJECT, .flags = FIELD_READONLY, .shape = &user_shape,
          .meaning = "Who asks."),
    FIELD(struct me, csrf_token, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "What X-CSRF-Token must be in requests that change something; null for programs, which "
                     "need none."),
    FIELD(struct me, workspaces, FIELD_OBJECTS, .flags = FIELD_READONLY, .shape = &my_workspace_shape,
          .max_items = 1000, .meaning = "The caller's workspaces; for an API key its own."),
    FIELD(struct me, authenticated_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "When the password was last given; null for API keys."),
    FIELD(struct me, key, FIELD_OBJECT, .flags = FIELD_READONLY | FIELD_NULLABLE, .shape = &my_key_shape,
          .meaning = "The API key of this request; null for a session."),
    FIELD(struct me, token, FIELD_OBJECT, .flags = FIELD_READONLY | FIELD_NULLABLE, .shape = &my_token_shape,
          .meaning = "The access token of this request; null for a session and an API key."),
};
static const struct shape me_shape = SHAPE("Me", struct me, me_fields, "Who asks, and what they may do.");

static enum errc me_key(struct api_request *r, struct tx *tx, struct me *me, err *e)
{
    const struct val *row;
    enum errc rc =
        tx_query_row(tx, r->arena, &key_name,
                     PARAMS(v_uuid(&r->who.key_workspace_id), v_uuid(&r->who.credential_id)), &row, e);
    if (rc != ERR_NONE) return rc;
    me->key = arena_new(r->arena, struct my_key);
    if (!me->key) return err_code(e, ERR_TOO_LARGE);
    me->key->id = r->who.credential_id;
    me->key->name = val_str(&row[0]);
    return permission_names(r->arena, &r->who.key_scopes, &me->key->scopes, e);
}

static enum errc me_token(struct api_request *r, struct me *me, err *e)
{
    me->token = arena_new(r->arena, struct my_token);
    if (!me->token) return err_code(e, ERR_TOO_LARGE);
    me->token->session_id = r->who.credential_id;
    me->token->workspace_id = r->who.key_workspace_id;
    return permission_names(r->arena, &r->who.key_scopes, &me->token->scopes, e);
}

static enum errc me_show(struct api_request *r, struct tx *tx, err *e)
{
    struct rows rows;
    const struct val *row;
    struct me *me = arena_new(r->arena, struct me);
    bool is_program = principal_is_program(&r->who);
    enum errc rc = tx_query(tx, r->arena, &user_workspaces, PARAMS(v_uuid(&r->who.user_id)), &rows, e);
    if (rc == ERR_NONE) rc = user_row(tx, r->arena, &r->who.user_id, &row, e);
    if (rc != ERR_NONE) return rc;
    struct my_workspace *list = arena_news(r->arena, struct my_workspace, rows.n);
    if (!me || !list) return err_code(e, ERR_TOO_LARGE);
    user_read(row, &me->user);
    me->workspaces = (struct objects){list, 0};
    for (unsigned i = 0; i < rows.n; i++) {
        const struct val *w = row_at(&rows, i);
        struct my_workspace *mine = &list[me->workspaces.n];
        *mine = (struct my_workspace){.id = val_uuid(&w[0]), .name = val_str(&w[1]), .role = val_str(&w[2])};
        if (is_program && memcmp(&mine->id, &r->who.key_workspace_id, sizeof mine->id) != 0) continue;
        struct permission_set may;
        if ((rc = held_in_workspace(r, tx, &mine->id, &may, e)) != ERR_NONE ||
            (rc = permission_names(r->arena, &may, &mine->permissions, e)) != ERR_NONE) return rc;
        me->workspaces.n++;
    }
    me->authenticated_at = NO_VALUE;
    r->answer = me;
    if (r->who.kind == PRINCIPAL_API_KEY) return me_key(r, tx, me, e);
    if (r->who.kind == PRINCIPAL_BEARER) return me_token(r, me, e);
    me->csrf_token = csrf_token(identity_of(r), r->arena, &r->who.credential_id);
    me->authenticated_at = r->who.authenticated_us;
    return ERR_NONE;
}

/* --- GET and DELETE /api/auth/sessions, DELETE /api/auth/sessions/:id, POST /api/auth/logout --- */

struct session {
    uuid id;
    usec created_at, last_seen_at, expires_at;
    str address, user_agent;
    bool is_current;
    str kind, client;
    uuid workspace_id;
};
static const struct field session_fields[] = {
    FIELD(struct session, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Id of the session."),
    FIELD(struct session, created_at, FIELD_TIME, .flags = FIELD_READONLY, .meaning = "When it began."),
    FIELD(struct session, last_seen_at, FIELD_TIME, .flags = FIELD_READONLY,
          .meaning = "Its last request, to the minute."),
    FIELD(struct session, expires_at, FIELD_TIME, .flags = FIELD_READONLY,
          .meaning = "When it ends at the latest."),
    FIELD(struct session, address, FIELD_TEXT, .flags = FIELD_READONLY,
          .meaning = "Address that it was last used from."),
    FIELD(struct session, user_agent, FIELD_TEXT, .flags = FIELD_READONLY,
          .meaning = "Browser or program that it was made by."),
    FIELD(struct session, is_current, FIELD_BOOL, .flags = FIELD_READONLY,
          .meaning = "It is the one of this request."),
    FIELD(struct session, kind, FIELD_ONE_OF, .choices = "browser|device|program", .flags = FIELD_READONLY,
          .meaning = "browser: somebody signed in; device: a device that somebody let in by its code (catalyst login); program: "
                     "tokens that somebody made for a program."),
    FIELD(struct session, client, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "What the device or program calls itself; null for browsers."),
    FIELD(struct session, workspace_id, FIELD_UUID, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "The only workspace that the device or program reaches; null for browsers."),
};
static const struct shape session_shape =
    SHAPE("Session", struct session, session_fields, "A browser, device or program that is signed in.");

static enum errc sessions_list(struct api_request *r, struct tx *tx, err *e)
{
    struct keyset key = {
        .column = "id", .param = 'u', .is_descending = true, .cursor = r->cursor, .limit = r->limit};
    struct rows rows;
    enum errc rc = tx_list(
        tx, r->arena, &session_list,
        PARAMS(v_uuid(&r->who.user_id), v_int(r->now_us), v_int(identity_of(r)->session_idle_us)),
        NULL, 0, &key, &rows, &r->next_cursor, e);
    if (rc != ERR_NONE) return rc;
    struct session *list = arena_news(r->arena, struct session, rows.n);
    if (!list) return err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; i < rows.n; i++) {
        const struct val *row = row_at(&rows, i);
        list[i] = (struct session){val_uuid(&row[0]),
                                   val_int(&row[1]),
                                   val_int(&row[2]),
                                   val_int(&row[3]),
                                   val_str(&row[4]),
                                   val_str(&row[5]),
                                   false,
                                   val_str(&row[6]),
                                   val_str(&row[7]),
                                   val_uuid(&row[8])};
        list[i].is_current = memcmp(&list[i].id, &r->who.credential_id, sizeof(uuid)) == 0;
    }
    r->items = (struct objects){list, rows.n};
    return ERR_NONE;
}

static enum errc end_session(struct api_request *r, struct tx *tx, const uuid *session, str type, err *e)
{
    int64_t n = 0;
    enum errc rc = tx_exec(tx, &session_delete, PARAMS(v_uuid(&r->who.user_id), v_uuid(session)), &n, e);
    if (rc != ERR_NONE) return rc;
    if (n == 0) return err_code(e, ERR_NOT_FOUND);
    struct event ev = event_of(r, type, EVENT_SIGN_IN);
    ev.workspace_id = (uuid){0};
    ev.resource_type = S("session");
    ev.resource_id = *session;
    return tx_event(tx, &ev, e);
}

static enum errc sessions_delete(struct api_request *r, struct tx *tx, err *e)
{
    return end_session(r, tx, &r->path_id[0], S("auth.session_ended"), e);
}

static void sessions_deleted(struct api_request *r) { session_revoke(identity_of(r), &r->path_id[0]); }

static enum errc logout(struct api_request *r, struct tx *tx, err *e)
{
    r->n_cookies = 0;
    cookie_set(r, session_cookie_name(r), S(""), 0);
    return end_session(r, tx, &r->who.credential_id, S("auth.signed_out"), e);
}

static void logged_out(struct api_request *r) { session_revoke(identity_of(r), &r->who.credential_id); }

void session_revoke(const struct identity *id, const uuid *session)
{
    static const uuid nobody;
    bearer_forget(id->memory);
    if (id->live) live_revoke(id->live, session, &nobody, &nobody);
}

void sessions_revoke_of(const struct identity *id, const uuid *user)
{
    static const uuid none;
    bearer_forget(id->memory);
    if (id->live) live_revoke(id->live, &none, user, &none);
}

enum errc sessions_end_others(struct api_request *r, struct tx *tx, err *e)
{
    int64_t n = 0;
    enum errc rc = tx_exec(tx, &session_delete_others,
                           PARAMS(v_uuid(&r->who.user_id), v_uuid(&r->who.credential_id)), &n, e);
    if (rc != ERR_NONE || n == 0) return rc;
    struct event ev = event_of(r, S("auth.sessions_ended"), EVENT_REPLACED);
    ev.workspace_id = (uuid){0};
    ev.resource_type = S("user");
    ev.resource_id = r->who.user_id;
    ev.metadata = arena_printf(r->arena, "{\"sessions\":%lld}", (long long)n);
    return tx_event(tx, &ev, e);
}

static enum errc end_others(struct api_request *r, struct tx *tx, err *e) { return sessions_end_others(r, tx, e); }

static void ended_others(struct api_request *r) { sessions_revoke_of(identity_of(r), &r->who.user_id); }

/* --- DELETE /api/workspaces/:id/members/:user_id/sessions --- */

static const struct api_resource member_resource = {.param = ":user_id", .find = &session_member_find, .noun = "member"};

/* Their browsers, and the programs that reach this workspace; what they let into others is not this workspace's. */
static enum errc end_of_member(struct api_request *r, struct tx *tx, err *e)
{
    int64_t n = 0;
    enum errc rc = tx_exec(tx, &session_delete_of_member, PARAMS(v_uuid(&r->path_id[1]), v_uuid(&r->workspace_id)), &n, e);
    if (rc != ERR_NONE) return rc;
    struct event ev = event_of(r, S("auth.sessions_ended"), EVENT_REPLACED);
    ev.resource_type = S("user");
    ev.resource_id = r->path_id[1];
    ev.metadata = arena_printf(r->arena, "{\"sessions\":%lld}", (long long)n);
    return ev.metadata.p ? tx_event(tx, &ev, e) : err_code(e, ERR_TOO_LARGE);
}

static void ended_of_member(struct api_request *r) { sessions_revoke_of(identity_of(r), &r->path_id[1]); }

static const struct api_route routes[] = {
    {.method = HTTP_GET,
     .path = "/api/auth/me",
     .name = "auth_me",
     .access = ACCESS_SIGNED_IN,
     .scope = SCOPE_SELF,
     .answer = &me_shape,
     .summary = "Who asks, and what they may do",
     .apply = me_show},
    {.method = HTTP_GET,
     .path = "/api/auth/sessions",
     .name = "auth_sessions_list",
     .access = ACCESS_SESSION,
     .scope = SCOPE_SELF,
     .answer = &session_shape,
     .is_list = true,
     .summary = "The caller's sessions, the newest first",
     .apply = sessions_list},
    {.method = HTTP_DELETE,
     .path = "/api/auth/sessions",
     .name = "auth_sessions_end_others",
     .access = ACCESS_SESSION,
     .scope = SCOPE_SELF,
     .effect = EFFECT_STATE,
     .status = 204,
     .summary = "Ends all of the caller's sessions but this one",
     .text = "Devices and programs are signed out too; API keys stay.",
     .apply = end_others,
     .after = ended_others},
    {.method = HTTP_DELETE,
     .path = "/api/workspaces/:id/members/:user_id/sessions",
     .name = "members_sessions_end",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_SESSIONS_MANAGE,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .resource = &member_resource,
     .status = 204,
     .summary = "Signs a member out everywhere",
     .text = "Their browsers, and the devices and programs that they let into this workspace.",
     .apply = end_of_member,
     .after = ended_of_member},
    {.method = HTTP_DELETE,
     .path = "/api/auth/sessions/:id",
     .name = "auth_sessions_delete",
     .access = ACCESS_SESSION,
     .scope = SCOPE_SELF,
     .effect = EFFECT_STATE,
     .status = 204,
     .summary = "Ends one of the caller's sessions",
     .apply = sessions_delete,
     .after = sessions_deleted},
    {.method = HTTP_POST,
     .path = "/api/auth/logout",
     .name = "auth_logout",
     .access = ACCESS_SESSION,
     .scope = SCOPE_SELF,
     .effect = EFFECT_STATE,
     .status = 204,
     .is_idempotent_exempt = true,
     .summary = "Signs out",
     .apply = logout,
     .after = logged_out},
};
const struct api_table sessions_api = {"auth", routes, LENGTH_OF(routes)};
