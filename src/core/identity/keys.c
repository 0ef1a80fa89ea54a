/* API keys: made by people who have just given their password, with no more than they hold; rotated by
 * their owner, revoked by them or by whoever manages keys. */
#include "base/log.h"
#include "core/identity/internal.h"
#include "core/workspaces.h"
#include "net/address.h"

#define ADDRESSES_MAX 20

#define KEY_COLUMNS                                                                                          \
    "k.id, k.name, k.prefix, k.scopes, k.project_ids, k.expires_us, k.created_us, k.last_used_us, "          \
    "k.last_used_address, k.user_id, u.name, "                                                               \
    "k.previous_until_us, k.secret_hash, k.addresses"
SQL(key_add, DB_MAIN, 0, "uuuttbttiit",
    "INSERT INTO api_keys (id, workspace_id, user_id, name, prefix, secret_hash, scopes, project_ids, "
    "created_us, expires_us, addresses) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)");
SQL(key_list, DB_MAIN, 0, "u",
    "SELECT " KEY_COLUMNS " FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.workspace_id = $1");
SQL(key_get, DB_MAIN, 0, "uu",
    "SELECT " KEY_COLUMNS
    " FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.workspace_id = $1 AND k.id = $2");
SQL(key_find, DB_MAIN, 0, "uu", "SELECT NULL FROM api_keys WHERE workspace_id = $1 AND id = $2");
SQL(keys_of_user, DB_MAIN, 0, "uu",
    "SELECT " KEY_COLUMNS " FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.workspace_id = $1 AND "
    "k.user_id = $2 ORDER BY k.id");
SQL(key_rotate, DB_MAIN, 0, "tbbiuu",
    "UPDATE api_keys SET prefix = $1, secret_hash = $2, previous_hash = $3, previous_until_us = $4 WHERE "
    "workspace_id = $5 AND id = $6");
SQL(key_drop, DB_MAIN, 0, "uu", "DELETE FROM api_keys WHERE workspace_id = $1 AND id = $2");

struct api_key {
    uuid id;
    str name, prefix;
    struct texts scopes, project_ids, addresses;
    int64_t expires_in_days; /* of a new one */
    usec expires_at, created_at, last_used_at;
    str last_used_address;
    uuid user_id;
    str user_name;
    usec rotated_until;
    str key; /* of a fresh one only */
};
#define KEY_FIELDS                                                                                           \
    FIELD(struct api_key, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Id of the key."),             \
        FIELD(struct api_key, name, FIELD_TEXT, .min = 1, .max = 100, .format = FORMAT_LINE,                 \
              .flags = FIELD_REQUIRED, .meaning = "What it is for."),                                        \
        FIELD(struct api_key, prefix, FIELD_TEXT, .flags = FIELD_READONLY,                                   \
              .meaning = "How its text begins, to tell keys apart."),                                        \
        FIELD(struct api_key, scopes, FIELD_TEXTS, .min = 1, .max = 64, .max_items = PERMISSIONS,            \
              .flags = FIELD_REQUIRED,                                                                       \
              .meaning = "Permissions that it is given: no more than its user holds, and what the user's "   \
                         "role allows at the time of use."),                                                 \
        FIELD(struct api_key, project_ids, FIELD_TEXTS, .min = 36, .max = 36, .max_items = 50,               \
              .fallback = "[]", .meaning = "The only projects that it is for; none: all of the workspace."), \
        FIELD(struct api_key, addresses, FIELD_TEXTS, .min = 1, .max = 49, .max_items = ADDRESSES_MAX,       \
              .format = FORMAT_LINE, .fallback = "[]",                                                       \
              .meaning = "Addresses and ranges (192.0.2.0/24) that it can be used from; none: anywhere."),   \
        FIELD(struct api_key, expires_at, FIELD_TIME, .flags = FIELD_READONLY,                               \
              .meaning = "When it stops being valid."),                                                      \
        FIELD(struct api_key, created_at, FIELD_TIME, .flags = FIELD_READONLY,                               \
              .meaning = "When it was made."),                                                               \
        FIELD(struct api_key, last_used_at, FIELD_TIME,                                                      \
              .flags = FIELD_READONLY | FIELD_NULLABLE | FIELD_UNAUDITED,                                    \
              .meaning = "Its last request, to the minute."),                                                \
        FIELD(struct api_key, last_used_address, FIELD_TEXT,                                                 \
              .flags = FIELD_READONLY | FIELD_NULLABLE | FIELD_UNAUDITED,                                    \
              .meaning = "Address of its last request."),                                                    \
        FIELD(struct api_key, user_id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Whom it acts for."), \
        FIELD(struct api_key, user_name, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_UNAUDITED,              \
              .meaning = "Their name."),                                                                     \
        FIELD(struct api_key, rotated_until, FIELD_TIME, .flags = FIELD_READONLY | FIELD_NULLABLE,           \
              .meaning = "Until when the secret before the last rotation is valid too.")
static const struct field key_fields[] = {KEY_FIELDS};
static const struct shape key_shape =
    SHAPE("ApiKey", struct api_key, key_fields, "A key for programs that manage Catalyst.");
static const struct field fresh_fields[] = {
    KEY_FIELDS,
    FIELD(struct api_key, key, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_SECRET,
          .meaning = "The key itself: shown this once."),
};
static const struct shape fresh_shape =
    SHAPE("NewApiKey", struct api_key, fresh_fields, "An API key with its text.");
static const struct field wanted_fields[] = {
    FIELD(struct api_key, name, FIELD_TEXT, .min = 1, .max = 100, .format = FORMAT_LINE,
          .flags = FIELD_REQUIRED, .meaning = "What it is for."),
    FIELD(struct api_key, scopes, FIELD_TEXTS, .min = 1, .max = 64, .max_items = PERMISSIONS,
          .flags = FIELD_REQUIRED,
          .meaning = "Permissions to give it, all of which the caller holds; GET /api/permissions tells "
                     "which a key can have."),
    FIELD(struct api_key, project_ids, FIELD_TEXTS, .min = 36, .max = 36, .max_items = 50, .fallback = "[]",
          .meaning = "The only projects that it is for; none: all of the workspace."),
    FIELD(struct api_key, addresses, FIELD_TEXTS, .min = 1, .max = 49, .max_items = ADDRESSES_MAX,
          .format = FORMAT_LINE, .fallback = "[]",
          .meaning = "Addresses and ranges (192.0.2.0/24) that it can be used from; none: anywhere."),
    FIELD(struct api_key, expires_in_days, FIELD_INT, .min = 1, .max = KEY_DAYS_MAX, .flags = FIELD_NULLABLE,
          .meaning = "Days that it is valid: no more than the workspace's api_key_max_days; null: 90, or "
                     "what that allows."),
};
static const struct shape wanted_shape =
    SHAPE("ApiKeyWanted", struct api_key, wanted_fields, "An API key to be made.");

static const struct api_resource key_resource = {.param = ":id", .find = &key_find, .noun = "API key"};

static enum errc split(struct arena *a, str text, struct texts *out, err *e)
{
    str *items = arena_news(a, str, text.len / 2 + 1);
    if (!items) return err_code(e, ERR_TOO_LARGE);
    *out = (struct texts){items, 0};
    while (text.len)
        items[out->n++] = str_cut(&text, ' ');
    return ERR_NONE;
}

static enum errc read_row(struct arena *a, const struct val *row, struct api_key *k, err *e)
{
    *k = (struct api_key){
        .id = val_uuid(&row[0]),
        .name = val_str(&row[1]),
        .prefix = val_str(&row[2]),
        .expires_at = val_int(&row[5]),
        .created_at = val_int(&row[6]),
        .last_used_at = val_int(&row[7]),
        .last_used_address = val_str(&row[8]),
        .user_id = val_uuid(&row[9]),
        .user_name = val_str(&row[10]),
        .rotated_until = val_int(&row[11]),
    };
    enum errc rc = split(a, val_str(&row[3]), &k->scopes, e);
    if (rc == ERR_NONE) rc = split(a, val_str(&row[13]), &k->addresses, e);
    return rc == ERR_NONE ? split(a, val_str(&row[4]), &k->project_ids, e) : rc;
}

static struct event key_event(const struct api_request *r, str type, unsigned n, const uuid *workspace,
                              const struct api_key *before, const struct api_key *after)
{
    struct event ev = event_of(r, type, n);
    ev.workspace_id = *workspace;
    ev.resource_type = S("api_key");
    ev.resource_id = after ? after->id : before->id;
    ev.shape = &key_shape;
    ev.before = before;
    ev.after = after;
    return ev;
}

/* "cat_" and the eight letters after it. */
static str prefix_of(const char *text) { return str_of(text, 12); }

void key_make(struct new_key *k, usec now, str name, const uuid *workspace, const uuid *user,
              const struct permission_set *scopes, int64_t days)
{
    *k = (struct new_key){
        .id = uuid7_make(now),
        .workspace_id = *workspace,
        .user_id = *user,
        .name = name,
        .scopes = *scopes,
        .project_ids = S(""),
        .addresses = S(""),
        .created_us = now,
        .expires_us = now + days * USEC_PER_DAY,
    };
    token_hash(keytext_make("cat", k->text), k->hash);
}

static enum errc join(struct arena *a, const struct texts *items, str *out, err *e)
{
    size_t len = 0;
    for (unsigned i = 0; i < items->n; i++)
        len += items->items[i].len + 1;
    char *p = arena_bytes(a, len + 1);
    if (!p) return err_code(e, ERR_TOO_LARGE);
    *out = str_of(p, len ? len - 1 : 0);
    for (unsigned i = 0; i < items->n; i++) {
        memcpy(p, items->items[i].p, items->items[i].len);
        p += items->items[i].len;
        *p++ = ' ';
    }
    return ERR_NONE;
}

/* What an answer and an event show of a key that is being made. */
static enum errc view(struct arena *a, const struct new_key *n, str user_name, struct api_key *k, err *e)
{
    *k = (struct api_key){
        .id = n->id,
        .name = n->name,
        .prefix = prefix_of(n->text),
        .expires_at = n->expires_us,
        .created_at = n->created_us,
        .last_used_at = NO_VALUE,
        .user_id = n->user_id,
        .user_name = user_name,
        .rotated_until = NO_VALUE,
        .key = str_of(n->text, KEYTEXT_LEN),
    };
    enum errc rc = permission_names(a, &n->scopes, &k->scopes, e);
    if (rc == ERR_NONE) rc = split(a, n->addresses, &k->addresses, e);
    return rc == ERR_NONE ? split(a, n->project_ids, &k->project_ids, e) : rc;
}

enum errc key_insert(struct api_request *r, struct tx *tx, const struct new_key *n, err *e)
{
    struct api_key *k = arena_new(r->arena, struct api_key);
    str scopes;
    if (!k) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = view(r->arena, n, r->who.name, k, e);
    if (rc == ERR_NONE) rc = join(r->arena, &k->scopes, &scopes, e);
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &key_add,
                     PARAMS(v_uuid(&n->id), v_uuid(&n->workspace_id), v_uuid(&n->user_id), v_text(n->name),
                            v_text(k->prefix), v_hash(n->hash), v_text(scopes), v_text(n->project_ids),
                            v_int(n->created_us), v_int(n->expires_us), v_text(n->addresses)),
                     NULL, e);
    if (rc != ERR_NONE) return rc;
    struct event ev = key_event(r, S("api_key.created"), EVENT_KEY, &n->workspace_id, NULL, k);
    r->answer = k;
    return tx_event(tx, &ev, e);
}

/* --- POST /api/keys --- */

/* Every wrong scope at once; then what the caller does not hold. */
static enum errc read_scopes(struct api_request *r, const struct texts *names, struct permission_set *out,
                             err *e)
{
    enum errc rc = ERR_NONE;
    *out = (struct permission_set){{0, 0}};
    if (names->n == 0)
        return api_field_error(r, e, "scopes", "required", "must name at least one permission");
    for (unsigned i = 0; i < names->n; i++) {
        enum permission p;
        if (!permission_parse(names->items[i], &p))
            rc = api_field_error(r, e, "scopes", "not_one_of",
                                 "'%.*s' is no permission; GET /api/permissions lists them",
                                 STR(names->items[i]));
        else if (!permission_set_has(permission_set_for_keys(), p))
            rc = api_field_error(r, e, "scopes", "not_one_of",
                                 "%s is for people only: no API key can have it", permission_name(p));
        else
            permission_set_add(out, p);
    }
    if (rc != ERR_NONE) return rc;
    for (enum permission p = PERMISSION_NONE + 1; p < PERMISSIONS; p++)
        if (permission_set_has(out, p) && !api_may(r, p))
            return err_set(e, ERR_FORBIDDEN, "a key cannot get %s, which you do not hold yourself",
                           permission_name(p));
    return ERR_NONE;
}

struct key_state {
    struct new_key key;
    uuid *projects;
    unsigned n_projects;
    int64_t days; /* asked for; NO_VALUE: as usual */
};

static enum errc keys_create_prepare(struct api_request *r, err *e)
{
    const struct api_key *body = r->body;
    struct key_state *s = arena_new(r->arena, struct key_state);
    struct permission_set scopes;
    enum errc rc = recently_authenticated(r, e);
    if (rc != ERR_NONE) return rc;
    if (!s || !(s->projects = arena_news(r->arena, uuid, body->project_ids.n)))
        return err_code(e, ERR_TOO_LARGE);
    r->state = s;
    rc = read_scopes(r, &body->scopes, &scopes, e);
    for (unsigned i = 0; i < body->project_ids.n && (rc == ERR_NONE || rc == ERR_INVALID); i++)
        if (!uuid_parse(body->project_ids.items[i], &s->projects[s->n_projects++]))
            rc = api_field_error(r, e, "project_ids", "bad_format", "'%.*s' is no id",
                                 STR(body->project_ids.items[i]));
    if (rc != ERR_NONE) return rc;
    for (unsigned i = 0; i < body->addresses.n; i++) {
        struct address_range range;
        if (!address_range_parse(body->addresses.items[i], &range))
            rc = api_field_error(r, e, "addresses", "bad_format",
                                 "'%.*s' is no address and no range such as 192.0.2.0/24",
                                 STR(body->addresses.items[i]));
    }
    if (rc != ERR_NONE) return rc;
    s->days = body->expires_in_days;
    key_make(&s->key, r->now_us, body->name, &r->workspace_id, &r->who.user_id, &scopes,
             s->days == NO_VALUE ? KEY_DAYS_DEFAULT : s->days);
    rc = join(r->arena, &body->addresses, &s->key.addresses, e);
    return rc == ERR_NONE ? join(r->arena, &body->project_ids, &s->key.project_ids, e) : rc;
}

/* What the workspace's policy and plan say of a new key. */
static enum errc policy_allows(struct api_request *r, struct tx *tx, int64_t days, struct new_key *key,
                               err *e)
{
    struct workspace_settings policy;
    enum errc rc = workspace_policy(tx, r->arena, &r->workspace_id, &policy, e);
    if (rc != ERR_NONE) return rc;
    if (days != NO_VALUE && days > policy.api_key_max_days)
        return api_field_error(r, e, "expires_in_days", "out_of_range",
                               "must be at most %lld in this workspace", (long long)policy.api_key_max_days);
    if (days == NO_VALUE && policy.api_key_max_days < KEY_DAYS_DEFAULT)
        key->expires_us = key->created_us + policy.api_key_max_days * USEC_PER_DAY;
    return plan_has_room(tx, r->arena, &r->workspace_id, PLAN_API_KEYS, false, e);
}

static enum errc keys_create(struct api_request *r, struct tx *tx, err *e)
{
    struct key_state *s = r->state;
    struct rows rows;
    for (unsigned i = 0; i < s->n_projects; i++) {
        enum errc rc = tx_query(tx, r->arena, identity_of(r)->find_project,
                                PARAMS(v_uuid(&r->workspace_id), v_uuid(&s->projects[i])), &rows, e);
        if (rc != ERR_NONE) return rc;
        if (rows.n == 0) return err_set(e, ERR_NOT_FOUND, "there is no project with one of these ids");
    }
    enum errc allowed = policy_allows(r, tx, s->days, &s->key, e);
    if (allowed != ERR_NONE) return allowed;
    r->has_secret = true;
    r->location = api_location(r, "/api/keys/", &s->key.id);
    return key_insert(r, tx, &s->key, e);
}

/* --- GET /api/keys --- */

static enum errc keys_list(struct api_request *r, struct tx *tx, err *e)
{
    struct keyset key = {
        .column = "k.id", .param = 'u', .is_descending = true, .cursor = r->cursor, .limit = r->limit};
    bool sees_all = api_may(r, PERMISSION_APIKEYS_MANAGE);
    struct filter own = {.column = "k.user_id",
                         .op = FILTER_EQ,
                         .param = 'u',
                         .value = sees_all ? v_null() : v_uuid(&r->who.user_id)};
    struct rows rows;
    enum errc rc = tx_list(tx, r->arena, &key_list, PARAMS(v_uuid(&r->workspace_id)), &own, 1, &key, &rows,
                           &r->next_cursor, e);
    if (rc != ERR_NONE) return rc;
    struct api_key *list = arena_news(r->arena, struct api_key, rows.n);
    if (!list) return err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; i < rows.n && rc == ERR_NONE; i++)
        rc = read_row(r->arena, row_at(&rows, i), &list[i], e);
    r->items = (struct objects){list, rows.n};
    return rc;
}

/* --- POST /api/keys/:id/rotate --- */

struct rotation {
    int64_t overlap_hours;
};
static const struct field rotation_fields[] = {
    FIELD(struct rotation, overlap_hours, FIELD_INT, .min = 0, .max = 168, .fallback = "24",
          .meaning = "Hours that the secret until now stays valid beside the new one."),
};
static const struct shape rotation_shape =
    SHAPE("ApiKeyRotation", struct rotation, rotation_fields, "How a key is rotated.");

static enum errc load(struct api_request *r, struct tx *tx, struct api_key *k, str *secret_hash, err *e)
{
    const struct val *row;
    enum errc rc = tx_query_row(tx, r->arena, &key_get,
                                PARAMS(v_uuid(&r->workspace_id), v_uuid(&r->path_id[0])), &row, e);
    if (rc != ERR_NONE) return rc;
    *secret_hash = val_str(&row[12]);
    return read_row(r->arena, row, k, e);
}

static bool is_mine(const struct api_request *r, const struct api_key *k)
{
    return memcmp(&k->user_id, &r->who.user_id, sizeof k->user_id) == 0;
}

static enum errc keys_rotate_prepare(struct api_request *r, err *e)
{
    static const struct permission_set none;
    struct key_state *s = arena_new(r->arena, struct key_state);
    if (!s) return err_code(e, ERR_TOO_LARGE);
    r->state = s;
    key_make(&s->key, r->now_us, S(""), &r->workspace_id, &r->who.user_id, &none, 1);
    return recently_authenticated(r, e);
}

static enum errc keys_rotate(struct api_request *r, struct tx *tx, err *e)
{
    const struct key_state *s = r->state;
    const struct rotation *body = r->body;
    struct api_key before, *after = arena_new(r->arena, struct api_key);
    str old_hash;
    if (!after) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = load(r, tx, &before, &old_hash, e);
    if (rc != ERR_NONE) return rc;
    if (!is_mine(r, &before))
        return err_set(
            e, ERR_FORBIDDEN,
            "only its own user rotates a key, since the new secret is shown; others can revoke it");
    *after = before;
    after->prefix = prefix_of(s->key.text);
    after->rotated_until = r->now_us + body->overlap_hours * 3600 * USEC_PER_S;
    after->key = str_of(s->key.text, KEYTEXT_LEN);
    struct event ev = key_event(r, S("api_key.rotated"), EVENT_KEY, &r->workspace_id, &before, after);
    rc = tx_exec(tx, &key_rotate,
                 PARAMS(v_text(after->prefix), v_hash(s->key.hash), v_blob(old_hash),
                        v_int(after->rotated_until), v_uuid(&r->workspace_id), v_uuid(&before.id)),
                 NULL, e);
    r->answer = after;
    r->has_secret = true;
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

/* --- DELETE /api/keys/:id --- */

static enum errc revoke_key(struct api_request *r, struct tx *tx, const uuid *workspace,
                            const struct api_key *k, unsigned n, err *e)
{
    struct event ev = key_event(r, S("api_key.revoked"), n, workspace, k, NULL);
    enum errc rc = tx_exec(tx, &key_drop, PARAMS(v_uuid(workspace), v_uuid(&k->id)), NULL, e);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

static enum errc keys_delete(struct api_request *r, struct tx *tx, err *e)
{
    struct api_key k;
    str ignored;
    enum errc rc = load(r, tx, &k, &ignored, e);
    if (rc != ERR_NONE) return rc;
    if (!is_mine(r, &k) && !api_may(r, PERMISSION_APIKEYS_MANAGE))
        return err_set(e, ERR_FORBIDDEN, "this is another person's key: revoking it needs apikeys.manage");
    return revoke_key(r, tx, &r->workspace_id, &k, EVENT_KEY, e);
}

static void keys_deleted(struct api_request *r) { session_revoke(identity_of(r), &r->path_id[0]); }

enum errc keys_revoke_of(struct api_request *r, struct tx *tx, const uuid *workspace, const uuid *user,
                         err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, r->arena, &keys_of_user, PARAMS(v_uuid(workspace), v_uuid(user)), &rows, e);
    for (unsigned i = 0; i < rows.n && rc == ERR_NONE; i++) {
        struct api_key k;
        if ((rc = read_row(r->arena, row_at(&rows, i), &k, e)) == ERR_NONE)
            rc = revoke_key(r, tx, workspace, &k, EVENT_MORE + i, e);
    }
    return rc;
}

static const struct api_route routes[] = {
    {.method = HTTP_GET,
     .path = "/api/keys",
     .name = "keys_list",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_APIKEYS_OWN,
     .scope = SCOPE_WORKSPACE,
     .answer = &key_shape,
     .is_list = true,
     .summary = "API keys, the newest first",
     .text = "The caller's own; with apikeys.manage everybody's in the workspace. Never the secret.",
     .apply = keys_list},
    {.method = HTTP_POST,
     .path = "/api/keys",
     .name = "keys_create",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_APIKEYS_OWN,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .body = &wanted_shape,
     .answer = &fresh_shape,
     .status = 201,
     .summary = "Makes an API key",
     .text = "The password must have been given within the last 10 minutes.",
     .prepare = keys_create_prepare,
     .apply = keys_create},
    {.method = HTTP_POST,
     .path = "/api/keys/:id/rotate",
     .name = "keys_rotate",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_APIKEYS_OWN,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .resource = &key_resource,
     .body = &rotation_shape,
     .answer = &fresh_shape,
     .status = 201,
     .summary = "Gives an API key a new secret",
     .text = "The password must have been given within the last 10 minutes.",
     .prepare = keys_rotate_prepare,
     .apply = keys_rotate},
    {.method = HTTP_DELETE,
     .path = "/api/keys/:id",
     .name = "keys_delete",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_APIKEYS_OWN,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .resource = &key_resource,
     .status = 204,
     .summary = "Revokes an API key",
     .text = "At once. Another person's key: with apikeys.manage.",
     .apply = keys_delete,
     .after = keys_deleted},
};
const struct api_table api_keys_api = {"keys", routes, LENGTH_OF(routes)};

/* --- a use that is refused --- */

SQL(key_refused, DB_MAIN, SQL_INSTANCE, "iui",
    "UPDATE api_keys SET refused_us = $1 WHERE id = $2 AND (refused_us IS NULL OR refused_us <= $3)");

struct refusal {
    const struct api_request *r;
    const struct principal *who;
    const char *why;
};

static enum errc refused_unit(struct tx *tx, void *ctx, err *e)
{
    const struct refusal *x = ctx;
    const struct api_request *r = x->r;
    int64_t changed = 0;
    enum errc rc = tx_exec_unaudited(
        tx, &key_refused,
        PARAMS(v_int(r->now_us), v_uuid(&x->who->credential_id), v_int(r->now_us - 60 * USEC_PER_S)),
        &changed, e);
    if (rc != ERR_NONE || !changed) return rc;
    struct event ev = event_of(r, S("api_key.use_refused"), EVENT_FAILURE);
    ev.workspace_id = x->who->key_workspace_id;
    ev.actor = ACTOR_API_KEY;
    ev.actor_id = x->who->user_id;
    ev.credential_id = x->who->credential_id;
    ev.resource_type = S("api_key");
    ev.resource_id = x->who->credential_id;
    ev.status = S("failure");
    ev.error = str_c(x->why);
    return tx_event(tx, &ev, e);
}

void key_use_refused(struct identity *id, const struct api_request *r, const struct principal *who,
                     const char *why)
{
    struct refusal x = {r, who, why};
    err e = {0};
    if (person_key_ensure(id->store, &who->user_id, r->now_us, &e) != ERR_NONE ||
        db_write(id->db, refused_unit, &x, &e) != ERR_NONE)
        log_error(LOG_WARN, "key_refusal_not_kept", &e);
}
