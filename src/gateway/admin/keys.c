/* Virtual keys: what opens the gateway, and nothing else. Their text is shown once, when they are made or rotated; the table has its hash. */
#include "base/keytext.h"
#include "gateway/admin/admin.h"
#include "projects/projects.h"

#define COLUMNS                                                                                                                                       \
    "created_us, id, name, prefix, project_id, user_id, models, providers, is_enabled, expires_us, requests_per_minute, tokens_per_minute, "         \
    "parallel_calls, updated_us, version"
#define PREFIX_LEN 12 /* "cvk_" and eight letters */
#define OVERLAP_HOURS_MAX (24 * 30)

SQL(key_find, DB_MAIN, 0, "uu", "SELECT project_id FROM gateway_keys WHERE workspace_id = $1 AND id = $2");
SQL(key_get, DB_MAIN, 0, "uu", "SELECT " COLUMNS " FROM gateway_keys WHERE workspace_id = $1 AND id = $2");
SQL(key_by_name, DB_MAIN, 0, "ut", "SELECT id FROM gateway_keys WHERE workspace_id = $1 AND name = $2");
SQL(key_list, DB_MAIN, 0, "u", "SELECT " COLUMNS " FROM gateway_keys WHERE workspace_id = $1");
SQL(key_insert, DB_MAIN, 0, "uuttuuttiiiiiuiii",
    "INSERT INTO gateway_keys (workspace_id, id, name, prefix, project_id, user_id, models, providers, is_enabled, expires_us, requests_per_minute, "
    "tokens_per_minute, parallel_calls, created_by, version, created_us, updated_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, "
    "$14, $15, $16, $17)");
SQL(key_update, DB_MAIN, 0, "ttuuttiiiiiiiuu",
    "UPDATE gateway_keys SET name = $1, prefix = $2, project_id = $3, user_id = $4, models = $5, providers = $6, is_enabled = $7, expires_us = $8, "
    "requests_per_minute = $9, tokens_per_minute = $10, parallel_calls = $11, updated_us = $12, version = $13 WHERE workspace_id = $14 AND id = $15");
SQL(key_delete, DB_MAIN, 0, "uu", "DELETE FROM gateway_keys WHERE workspace_id = $1 AND id = $2");
SQL(secret_add, DB_MAIN, 0, "buui",
    "INSERT INTO gateway_key_secrets (sha256, workspace_id, key_id, created_us) VALUES ($1, $2, $3, $4)");
SQL(secrets_end, DB_MAIN, 0, "iuu",
    "UPDATE gateway_key_secrets SET expires_us = $1 WHERE workspace_id = $2 AND key_id = $3 AND expires_us IS NULL");
SQL(secrets_drop_ended, DB_MAIN, 0, "uui", "DELETE FROM gateway_key_secrets WHERE workspace_id = $1 AND key_id = $2 AND expires_us <= $3");
SQL(secrets_drop, DB_MAIN, 0, "uu", "DELETE FROM gateway_key_secrets WHERE workspace_id = $1 AND key_id = $2");
SQL(key_project, DB_MAIN, 0, "uu", "SELECT id FROM projects WHERE workspace_id = $1 AND id = $2");
SQL(key_member, DB_MAIN, 0, "uu", "SELECT user_id FROM memberships WHERE workspace_id = $1 AND user_id = $2");

static const struct api_resource key_resource = {":id", &key_find, "virtual key"};

struct key_view {
    uuid id;
    str name, prefix;
    uuid project_id, user_id;
    struct texts allowed_models, allowed_providers;
    bool is_enabled;
    usec expires_at;
    struct limits_view limits;
    struct budget_view *budget;
    usec created_at, updated_at, last_used_at;
    str origin;
    int64_t version;
    str key; /* shown once */
};

#define KEY_FIELDS(struct_)                                                                                                                                   \
    FIELD(struct_, name, FIELD_TEXT, .min = 1, .max = 100, .format = FORMAT_LINE, .flags = FIELD_REQUIRED, .meaning = "Its name, unique in the workspace."),  \
        FIELD(struct_, project_id, FIELD_UUID, .flags = FIELD_NULLABLE, .meaning = "The project that its calls belong to, whatever their headers say."),      \
        FIELD(struct_, user_id, FIELD_UUID, .flags = FIELD_NULLABLE, .meaning = "The member that its calls belong to, whatever their headers say."),          \
        FIELD(struct_, allowed_models, FIELD_TEXTS, .min = 1, .max = 200, .max_items = 100, .format = FORMAT_LINE, .fallback = "[]",                          \
              .meaning = "Globs of the models that it may use; empty: all."),                                                                                \
        FIELD(struct_, allowed_providers, FIELD_TEXTS, .min = 1, .max = 64, .max_items = 100, .format = FORMAT_NAME, .fallback = "[]",                        \
              .meaning = "Names of the providers that it may use; empty: all."),                                                                             \
        FIELD(struct_, is_enabled, FIELD_BOOL, .fallback = "true", .meaning = "Whether it opens anything."),                                                  \
        FIELD(struct_, expires_at, FIELD_TIME, .flags = FIELD_NULLABLE, .meaning = "When it ends; null: never."),                                             \
        FIELD(struct_, limits, FIELD_OBJECT, .shape = &limits_shape, .fallback = "{}", .meaning = "Its rate limits.")

static const struct field fields[] = {
    FIELD(struct key_view, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Id of the key."),
    KEY_FIELDS(struct key_view),
    FIELD(struct key_view, prefix, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "How its text begins."),
    FIELD(struct key_view, budget, FIELD_OBJECT, .shape = &budget_shape, .flags = FIELD_READONLY | FIELD_UNAUDITED | FIELD_NULLABLE,
          .meaning = "Its own budget (the oldest one), which /api/gateway/budgets changes."),
    FIELD(struct key_view, created_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "When it was made."),
    FIELD(struct key_view, updated_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_UNAUDITED | FIELD_NULLABLE, .meaning = "When it was changed last."),
    FIELD(struct key_view, last_used_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_UNAUDITED | FIELD_NULLABLE, .meaning = "When a call was made with it last."),
    FIELD(struct key_view, origin, FIELD_ONE_OF, .choices = "database|file", .flags = FIELD_READONLY | FIELD_UNAUDITED,
          .meaning = "Where it is defined; one of the file is changed there."),
    FIELD(struct key_view, version, FIELD_INT, .flags = FIELD_READONLY | FIELD_UNAUDITED, .meaning = "Counts its changes."),
};
static const struct shape key_shape = SHAPE("GatewayKey", struct key_view, fields, "A virtual key: it opens the gateway, and nothing else.");

static const struct field secret_fields[] = {
    FIELD(struct key_view, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Id of the key."),
    KEY_FIELDS(struct key_view),
    FIELD(struct key_view, prefix, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "How its text begins."),
    FIELD(struct key_view, budget, FIELD_OBJECT, .shape = &budget_shape, .flags = FIELD_READONLY | FIELD_UNAUDITED | FIELD_NULLABLE, .meaning = "Its own budget."),
    FIELD(struct key_view, created_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "When it was made."),
    FIELD(struct key_view, updated_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_UNAUDITED | FIELD_NULLABLE, .meaning = "When it was changed last."),
    FIELD(struct key_view, last_used_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_UNAUDITED | FIELD_NULLABLE, .meaning = "When a call was made with it last."),
    FIELD(struct key_view, origin, FIELD_ONE_OF, .choices = "database|file", .flags = FIELD_READONLY | FIELD_UNAUDITED, .meaning = "Where it is defined."),
    FIELD(struct key_view, version, FIELD_INT, .flags = FIELD_READONLY | FIELD_UNAUDITED, .meaning = "Counts its changes."),
    FIELD(struct key_view, key, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_SECRET, .meaning = "Its text: shown this once."),
};
static const struct shape secret_shape = SHAPE("GatewayKeySecret", struct key_view, secret_fields, "A virtual key with its text.");

struct key_new {
    str name;
    uuid project_id, user_id;
    struct texts allowed_models, allowed_providers;
    bool is_enabled;
    usec expires_at;
    struct limits_view limits;
    int64_t budget;
    str budget_period;
    struct key_view *view;
    struct budget_view *own;
    uint8_t sha256[SHA256_LEN];
};
static const struct field new_fields[] = {
    KEY_FIELDS(struct key_new),
    FIELD(struct key_new, budget, FIELD_MONEY, .min = 0, .max = INT64_MAX / 8, .flags = FIELD_NULLABLE, .meaning = "Makes a hard budget of the key, too."),
    FIELD(struct key_new, budget_period, FIELD_ONE_OF, .choices = "daily|weekly|monthly|total", .fallback = "\"total\"", .meaning = "Of that budget."),
};
static const struct shape new_shape = SHAPE("GatewayKeyNew", struct key_new, new_fields, "A virtual key that is to be made.");

struct rotation {
    int64_t overlap_hours;
    /* made in prepare */
    struct key_view *view;
    uint8_t sha256[SHA256_LEN];
};
static const struct field rotation_fields[] = {
    FIELD(struct rotation, overlap_hours, FIELD_INT, .min = 0, .max = OVERLAP_HOURS_MAX, .fallback = "0", .meaning = "How long the old text goes on working."),
};
static const struct shape rotation_shape = SHAPE("GatewayKeyRotation", struct rotation, rotation_fields, "How a key is rotated.");

/* --- rows --- */

static enum errc read_row(struct arena *a, const struct val *row, struct key_view *k, err *e)
{
    struct rate_limits limits = {val_int(&row[10]), val_int(&row[11]), val_int(&row[12])};
    *k = (struct key_view){
        .created_at = val_int(&row[0]),
        .id = val_uuid(&row[1]),
        .name = val_str(&row[2]),
        .prefix = val_str(&row[3]),
        .project_id = val_uuid(&row[4]),
        .user_id = val_uuid(&row[5]),
        .is_enabled = val_bool(&row[8]),
        .expires_at = val_int(&row[9]),
        .limits = limits_view_of(&limits),
        .updated_at = val_int(&row[13]),
        .version = val_int(&row[14]),
        .last_used_at = NO_VALUE,
        .origin = S("database"),
    };
    enum errc rc = admin_texts(a, val_str(&row[6]), &k->allowed_models, e);
    return rc == ERR_NONE ? admin_texts(a, val_str(&row[7]), &k->allowed_providers, e) : rc;
}

static enum errc get(struct api_request *r, struct tx *tx, struct key_view *out, err *e)
{
    const struct val *row;
    enum errc rc = tx_query_row(tx, r->arena, &key_get, PARAMS(v_uuid(&r->workspace_id), v_uuid(&r->path_id[0])), &row, e);
    if (rc == ERR_NONE)
        rc = read_row(r->arena, row, out, e);
    return rc == ERR_NONE ? budget_of_key(tx, r->arena, &r->workspace_id, &out->id, &out->budget, e) : rc;
}

/* What the snapshot and the drain know: spending, last use. */
static void fill(struct api_request *r, struct key_view *keys, unsigned n)
{
    struct gateway *g = r->service;
    struct snapshot *s = gateway_snapshot(g);
    for (unsigned i = 0; i < n; i++) {
        usec used = g->drain ? drain_key_used(g->drain, &keys[i].id) : 0;
        keys[i].last_used_at = used ? used : NO_VALUE;
        if (keys[i].budget && str_eq(keys[i].budget->origin, S("database"))) {
            budget_view_fill(s, keys[i].budget, r->now_us);
            keys[i].budget->scope_name = keys[i].name;
        }
    }
    snapshot_put(s);
}

static void fill_answer(struct api_request *r) { fill(r, r->answer, r->answer ? 1 : 0); }
static void fill_items(struct api_request *r) { fill(r, r->items.items, r->items.n); }
static void changed(struct api_request *r)
{
    admin_after(r);
    fill_answer(r);
}

/* --- checks --- */

static enum errc name_is_free(struct api_request *r, struct tx *tx, str name, const uuid *id, err *e)
{
    struct rows rows;
    struct snapshot *s;
    const struct workspace_view *w = admin_view(r, &s);
    bool is_of_file = false;
    for (unsigned i = 0; w && i < s->n_keys; i++)
        is_of_file |= s->keys[i].is_from_file && s->keys[i].workspace == w && str_eq(s->keys[i].name, name);
    snapshot_put(s);
    if (is_of_file)
        return err_set(e, ERR_CONFLICT, "there is a key called '%.*s' in the configuration file", STR(name));
    enum errc rc = tx_query(tx, r->arena, &key_by_name, PARAMS(v_uuid(&r->workspace_id), v_text(name)), &rows, e);
    if (rc != ERR_NONE || !rows.n)
        return rc;
    uuid found = val_uuid(&row_at(&rows, 0)[0]);
    return memcmp(&found, id, sizeof found) == 0 ? ERR_NONE : err_set(e, ERR_CONFLICT, "there is a key called '%.*s' already", STR(name));
}

static bool is_for_project(const struct api_request *r, const uuid *project)
{
    for (unsigned i = 0; i < r->who.n_key_projects; i++)
        if (memcmp(&r->who.key_projects[i], project, sizeof *project) == 0)
            return true;
    return r->who.n_key_projects == 0;
}

/* What the key is bound to must be of this workspace; an API key that is for some projects makes keys of those only. */
static enum errc bindings_exist(struct api_request *r, struct tx *tx, const uuid *project, const uuid *user, err *e)
{
    struct rows rows;
    enum errc rc = ERR_NONE;
    if (!is_for_project(r, project))
        return api_field_error(r, e, "project_id", "not_one_of", "must be one of the projects that this API key is for");
    if (!uuid_is_nil(project)) {
        rc = tx_query(tx, r->arena, &key_project, PARAMS(v_uuid(&r->workspace_id), v_uuid(project)), &rows, e);
        if (rc == ERR_NONE && !rows.n)
            return api_field_error(r, e, "project_id", "bad_format", "there is no such project in this workspace");
    }
    if (rc == ERR_NONE && !uuid_is_nil(user)) {
        rc = tx_query(tx, r->arena, &key_member, PARAMS(v_uuid(&r->workspace_id), v_uuid(user)), &rows, e);
        if (rc == ERR_NONE && !rows.n)
            return api_field_error(r, e, "user_id", "bad_format", "there is no such member in this workspace");
    }
    return rc;
}

/* --- list and show --- */

static void from_file(struct api_request *r, const struct snapshot *s, const struct virtual_key *key, struct key_view *v)
{
    struct rate_limits none = {0};
    *v = (struct key_view){.id = key->id, .name = str_dup(r->arena, key->name), .prefix = S(""), .project_id = key->project_id, .is_enabled = true,
                           .expires_at = NO_VALUE, .limits = limits_view_of(&none), .created_at = NO_VALUE, .updated_at = NO_VALUE,
                           .last_used_at = NO_VALUE, .origin = S("file"), .version = 1};
    v->allowed_models.items = v->allowed_providers.items = arena_news(r->arena, str, 1);
    v->budget = budget_of_file_key(r->arena, s, key);
}

static enum errc list(struct api_request *r, struct tx *tx, err *e)
{
    struct keyset by = {.column = "created_us", .param = 'i', .id_column = "id", .id_param = 'u', .is_descending = true, .cursor = r->cursor, .limit = r->limit};
    struct rows rows;
    struct snapshot *s;
    unsigned n = 0, n_file = 0;
    enum errc rc = tx_list(tx, r->arena, &key_list, PARAMS(v_uuid(&r->workspace_id)), NULL, 0, &by, &rows, &r->next_cursor, e);
    if (rc != ERR_NONE)
        return rc;
    const struct workspace_view *w = admin_view(r, &s);
    for (unsigned i = 0; admin_has_file(w) && !r->cursor.len && !r->who.n_key_projects && i < s->n_keys; i++)
        n_file += s->keys[i].is_from_file;
    struct key_view *all = arena_news(r->arena, struct key_view, rows.n + n_file + 1u);
    for (unsigned i = 0; all && n_file && i < s->n_keys; i++)
        if (s->keys[i].is_from_file)
            from_file(r, s, &s->keys[i], &all[n++]);
    snapshot_put(s);
    if (!all)
        return err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; i < rows.n && rc == ERR_NONE; i++) {
        struct key_view *k = &all[n];
        rc = read_row(r->arena, row_at(&rows, i), k, e);
        if (rc == ERR_NONE && is_for_project(r, &k->project_id)) {
            rc = budget_of_key(tx, r->arena, &r->workspace_id, &k->id, &k->budget, e);
            n++;
        }
    }
    r->items = (struct objects){all, n};
    return rc;
}

static enum errc show(struct api_request *r, struct tx *tx, err *e)
{
    struct key_view *k = arena_new(r->arena, struct key_view);
    if (!k)
        return err_code(e, ERR_TOO_LARGE);
    enum errc rc = get(r, tx, k, e);
    r->answer = rc == ERR_NONE ? k : NULL;
    if (rc == ERR_NONE)
        r->etag = api_etag(r, k->version);
    return rc;
}

/* --- changes --- */

/* A fresh text, its hash and what it begins with. */
static enum errc make_text(struct api_request *r, struct key_view *k, uint8_t sha[SHA256_LEN], err *e)
{
    char text[KEYTEXT_LEN + 1];
    k->key = str_dup(r->arena, keytext_make("cvk", text));
    explicit_bzero(text, sizeof text);
    if (!k->key.p)
        return err_code(e, ERR_TOO_LARGE);
    k->prefix = str_take(k->key, PREFIX_LEN);
    sha256(k->key, sha);
    return ERR_NONE;
}

static enum errc create_prepare(struct api_request *r, err *e)
{
    struct key_new *b = r->body;
    struct key_view *k = arena_new(r->arena, struct key_view);
    if (!k)
        return err_code(e, ERR_TOO_LARGE);
    if (b->expires_at != NO_VALUE && b->expires_at <= r->now_us)
        return api_field_error(r, e, "expires_at", "out_of_range", "must lie in the future");
    *k = (struct key_view){.name = b->name, .project_id = b->project_id, .user_id = b->user_id, .allowed_models = b->allowed_models,
                           .allowed_providers = b->allowed_providers, .is_enabled = b->is_enabled, .expires_at = b->expires_at, .limits = b->limits,
                           .created_at = r->now_us, .updated_at = r->now_us, .last_used_at = NO_VALUE, .origin = S("database"), .version = 1};
    enum errc rc = make_text(r, k, b->sha256, e);
    if (rc != ERR_NONE)
        return rc;
    memcpy(k->id.b, b->sha256, sizeof k->id.b);
    b->view = k;
    if (b->budget == NO_VALUE)
        return ERR_NONE;
    if (!(b->own = arena_new(r->arena, struct budget_view)))
        return err_code(e, ERR_TOO_LARGE);
    *b->own = (struct budget_view){.id = uuid7_make(r->now_us), .scope = S("key"), .scope_id = k->id, .scope_name = k->name, .period = b->budget_period,
                                   .limit = b->budget, .is_hard = true, .alerts_at = S("[50,80,100]"), .unknown_price_cap = NO_VALUE,
                                   .origin = S("database"), .created_at = r->now_us, .updated_at = r->now_us, .version = 1};
    return ERR_NONE;
}

static enum errc insert(struct api_request *r, struct tx *tx, const struct key_view *k, const uint8_t sha[SHA256_LEN], err *e)
{
    struct rate_limits l = rate_limits_of(&k->limits);
    enum errc rc = tx_exec(tx, &key_insert,
                           PARAMS(v_uuid(&r->workspace_id), v_uuid(&k->id), v_text(k->name), v_text(k->prefix), v_uuid_or_null(&k->project_id),
                                  v_uuid_or_null(&k->user_id), v_text(texts_to_json(r->arena, k->allowed_models.items, k->allowed_models.n)),
                                  v_text(texts_to_json(r->arena, k->allowed_providers.items, k->allowed_providers.n)), v_int(k->is_enabled),
                                  v_int_or_null(k->expires_at), v_int(l.requests_per_minute), v_int(l.tokens_per_minute), v_int(l.parallel_calls),
                                  v_uuid_or_null(&r->who.user_id), v_int(k->version), v_int(k->created_at), v_int(k->updated_at)),
                           NULL, e);
    if (rc != ERR_NONE)
        return rc;
    return tx_exec(tx, &secret_add, PARAMS(v_blob(str_of((const char *)sha, SHA256_LEN)), v_uuid(&r->workspace_id), v_uuid(&k->id), v_int(r->now_us)), NULL, e);
}

static enum errc create(struct api_request *r, struct tx *tx, err *e)
{
    const struct key_new *b = r->body;
    struct key_view *k = b->view;
    struct event ev = admin_event(r, S("gateway_key.created"), S("gateway_key"), &k->id, &key_shape, NULL, k);
    k->budget = b->own;
    r->answer = k;
    r->has_secret = true;
    r->location = api_location(r, "/api/gateway/keys/", &k->id);
    r->etag = api_etag(r, k->version);
    enum errc rc = name_is_free(r, tx, k->name, &k->id, e);
    if (rc == ERR_NONE)
        rc = bindings_exist(r, tx, &k->project_id, &k->user_id, e);
    if (rc == ERR_NONE)
        rc = insert(r, tx, k, b->sha256, e);
    if (rc == ERR_NONE)
        rc = tx_event(tx, &ev, e);
    if (rc == ERR_NONE && b->own) {
        struct event made = event_of(r, S("budget.created"), 1);
        made.resource_type = S("budget");
        made.resource_id = b->own->id;
        made.shape = &budget_shape;
        made.after = b->own;
        rc = budget_insert(tx, &r->workspace_id, b->own, e);
        if (rc == ERR_NONE)
            rc = tx_event(tx, &made, e);
    }
    return rc;
}

static enum errc update(struct api_request *r, struct tx *tx, const struct key_view *k, err *e)
{
    struct rate_limits l = rate_limits_of(&k->limits);
    return tx_exec(tx, &key_update,
                   PARAMS(v_text(k->name), v_text(k->prefix), v_uuid_or_null(&k->project_id), v_uuid_or_null(&k->user_id),
                          v_text(texts_to_json(r->arena, k->allowed_models.items, k->allowed_models.n)),
                          v_text(texts_to_json(r->arena, k->allowed_providers.items, k->allowed_providers.n)), v_int(k->is_enabled),
                          v_int_or_null(k->expires_at), v_int(l.requests_per_minute), v_int(l.tokens_per_minute), v_int(l.parallel_calls),
                          v_int(k->updated_at), v_int(k->version), v_uuid(&r->workspace_id), v_uuid(&k->id)),
                   NULL, e);
}

static bool same_texts(const struct texts *a, const struct texts *b)
{
    bool is_same = a->n == b->n;
    for (unsigned i = 0; is_same && i < a->n; i++)
        is_same = str_eq(a->items[i], b->items[i]);
    return is_same;
}

static bool differs(const struct key_view *a, const struct key_view *b)
{
    return !str_eq(a->name, b->name) || memcmp(&a->project_id, &b->project_id, sizeof(uuid)) != 0 || memcmp(&a->user_id, &b->user_id, sizeof(uuid)) != 0 ||
           !same_texts(&a->allowed_models, &b->allowed_models) || !same_texts(&a->allowed_providers, &b->allowed_providers) ||
           a->is_enabled != b->is_enabled || a->expires_at != b->expires_at || memcmp(&a->limits, &b->limits, sizeof a->limits) != 0;
}

static enum errc change(struct api_request *r, struct tx *tx, err *e)
{
    struct key_view before, *after = arena_new(r->arena, struct key_view);
    if (!after)
        return err_code(e, ERR_TOO_LARGE);
    enum errc rc = get(r, tx, &before, e);
    if (rc != ERR_NONE || (rc = api_if_match(r, api_etag(r, before.version), e)) != ERR_NONE)
        return rc;
    *after = before;
    if ((rc = api_merge(r, after, e)) != ERR_NONE)
        return rc;
    r->answer = after;
    if (differs(&before, after)) {
        after->updated_at = r->now_us;
        after->version++;
        struct event ev = admin_event(r, S("gateway_key.updated"), S("gateway_key"), &after->id, &key_shape, &before, after);
        if ((rc = name_is_free(r, tx, after->name, &after->id, e)) == ERR_NONE &&
            (rc = bindings_exist(r, tx, &after->project_id, &after->user_id, e)) == ERR_NONE && (rc = update(r, tx, after, e)) == ERR_NONE)
            rc = tx_event(tx, &ev, e);
    }
    r->etag = api_etag(r, after->version);
    return rc;
}

static enum errc rotate_prepare(struct api_request *r, err *e)
{
    struct rotation *b = r->body;
    if (!(b->view = arena_new(r->arena, struct key_view)))
        return err_code(e, ERR_TOO_LARGE);
    return make_text(r, b->view, b->sha256, e);
}

static enum errc rotate(struct api_request *r, struct tx *tx, err *e)
{
    const struct rotation *b = r->body;
    struct key_view before, *after = arena_new(r->arena, struct key_view);
    if (!after)
        return err_code(e, ERR_TOO_LARGE);
    enum errc rc = get(r, tx, &before, e);
    if (rc != ERR_NONE)
        return rc;
    usec until = r->now_us + b->overlap_hours * 3600 * USEC_PER_S;
    *after = before;
    after->key = b->view->key;
    after->prefix = b->view->prefix;
    after->updated_at = r->now_us;
    after->version++;
    struct event ev = admin_event(r, S("gateway_key.rotated"), S("gateway_key"), &after->id, &key_shape, &before, after);
    r->answer = after;
    r->has_secret = true;
    r->etag = api_etag(r, after->version);
    /* The text before the last one ends now, whatever was said then: there are never more than two. */
    if ((rc = tx_exec(tx, &secrets_drop_ended, PARAMS(v_uuid(&r->workspace_id), v_uuid(&after->id), v_int(INT64_MAX)), NULL, e)) == ERR_NONE &&
        (rc = tx_exec(tx, &secrets_end, PARAMS(v_int(until), v_uuid(&r->workspace_id), v_uuid(&after->id)), NULL, e)) == ERR_NONE &&
        (rc = tx_exec(tx, &secrets_drop_ended, PARAMS(v_uuid(&r->workspace_id), v_uuid(&after->id), v_int(r->now_us)), NULL, e)) == ERR_NONE &&
        (rc = tx_exec(tx, &secret_add, PARAMS(v_blob(str_of((const char *)b->sha256, SHA256_LEN)), v_uuid(&r->workspace_id), v_uuid(&after->id), v_int(r->now_us)),
                      NULL, e)) == ERR_NONE &&
        (rc = update(r, tx, after, e)) == ERR_NONE)
        rc = tx_event(tx, &ev, e);
    return rc;
}

static enum errc remove_key(struct api_request *r, struct tx *tx, err *e)
{
    struct key_view before;
    enum errc rc = get(r, tx, &before, e);
    if (rc != ERR_NONE || (rc = api_if_match(r, api_etag(r, before.version), e)) != ERR_NONE)
        return rc;
    struct event ev = admin_event(r, S("gateway_key.deleted"), S("gateway_key"), &before.id, &key_shape, &before, NULL);
    if ((rc = tx_exec(tx, &secrets_drop, PARAMS(v_uuid(&r->workspace_id), v_uuid(&before.id)), NULL, e)) == ERR_NONE &&
        (rc = budgets_delete_of(tx, &r->workspace_id, &before.id, e)) == ERR_NONE &&
        (rc = tx_exec(tx, &key_delete, PARAMS(v_uuid(&r->workspace_id), v_uuid(&before.id)), NULL, e)) == ERR_NONE)
        rc = tx_event(tx, &ev, e);
    return rc;
}

#define KEY_ROUTE(method_, path_, name_) \
    .method = method_, .path = path_, .name = name_, .access = ACCESS_PERMISSION, .permission = PERMISSION_GATEWAY_KEYS, .scope = SCOPE_WORKSPACE
static const struct api_route routes[] = {
    {KEY_ROUTE(HTTP_GET, "/api/gateway/keys", "gateway_keys_list"), .answer = &key_shape, .is_list = true, .summary = "Virtual keys, newest first",
     .text = "Those of the configuration file come first.", .apply = list, .after = fill_items},
    {KEY_ROUTE(HTTP_POST, "/api/gateway/keys", "gateway_keys_create"), .effect = EFFECT_STATE, .body = &new_shape, .answer = &secret_shape, .status = 201,
     .summary = "Makes a virtual key", .text = "Its text is in this answer and nowhere else. It works at once.", .prepare = create_prepare, .apply = create,
     .after = changed},
    {KEY_ROUTE(HTTP_GET, "/api/gateway/keys/:id", "gateway_keys_show"), .resource = &key_resource, .answer = &key_shape, .summary = "A virtual key",
     .apply = show, .after = fill_answer},
    {KEY_ROUTE(HTTP_PATCH, "/api/gateway/keys/:id", "gateway_keys_change"), .effect = EFFECT_STATE, .resource = &key_resource, .body = &key_shape,
     .is_merge = true, .answer = &key_shape, .summary = "Changes a virtual key", .text = "Switched off, it opens nothing from the next call on, and its streams end.",
     .apply = change, .after = changed},
    {KEY_ROUTE(HTTP_DELETE, "/api/gateway/keys/:id", "gateway_keys_delete"), .effect = EFFECT_STATE, .resource = &key_resource, .status = 204,
     .summary = "Revokes a virtual key", .text = "It is dead with the answer, and its streams are cut. Its budgets go with it.", .apply = remove_key,
     .after = admin_after},
    {KEY_ROUTE(HTTP_POST, "/api/gateway/keys/:id/rotate", "gateway_keys_rotate"), .effect = EFFECT_STATE, .resource = &key_resource,
     .body = &rotation_shape, .answer = &secret_shape, .status = 201, .summary = "Gives a virtual key another text",
     .text = "The old one goes on working for overlap_hours. Id, budgets and limits stay.", .prepare = rotate_prepare, .apply = rotate, .after = changed},
};
const struct api_table gateway_keys_api = {"gateway", routes, LENGTH_OF(routes)};
