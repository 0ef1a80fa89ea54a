/* Virtual keys: what opens the gateway, for whom, for which models, and how much of it. */
#include "base/keytext.h"
#include "gateway/admin/admin.h"

#define PREFIX_LEN 12  /* "cvk_" and the eight letters after it */
#define EVENT_BUDGET 1 /* of the events of a request; the key's own is 0 */
#define COLUMNS                                                                                              \
    "k.name, k.id, k.prefix, k.project_id, k.user_id, k.models, k.providers, k.is_enabled, k.expires_us, "   \
    "k.requests_per_minute, k.tokens_per_minute, k.parallel_calls, k.created_by, k.version, k.created_us, "  \
    "k.updated_us, (SELECT MAX(s.expires_us) FROM gateway_key_secrets s WHERE s.key_id = k.id)"

SQL(key_find, DB_MAIN, 0, "uu", "SELECT project_id FROM gateway_keys WHERE workspace_id = $1 AND id = $2");
SQL(key_get, DB_MAIN, 0, "uu",
    "SELECT " COLUMNS " FROM gateway_keys k WHERE k.workspace_id = $1 AND k.id = $2");
SQL(key_list, DB_MAIN, 0, "u", "SELECT " COLUMNS " FROM gateway_keys k WHERE k.workspace_id = $1");
SQL(key_insert, DB_MAIN, 0, "uuttuuttiiiiiuiii",
    "INSERT INTO gateway_keys (workspace_id, id, name, prefix, project_id, user_id, models, providers, "
    "is_enabled, expires_us, requests_per_minute, tokens_per_minute, parallel_calls, created_by, version, "
    "created_us, updated_us) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)");
SQL(key_update, DB_MAIN, 0, "ttuuttiiiiiiiuu",
    "UPDATE gateway_keys SET name = $1, prefix = $2, project_id = $3, user_id = $4, models = $5, "
    "providers = $6, is_enabled = $7, expires_us = $8, requests_per_minute = $9, tokens_per_minute = $10, "
    "parallel_calls = $11, version = $12, updated_us = $13 WHERE workspace_id = $14 AND id = $15");
SQL(key_delete, DB_MAIN, 0, "uu", "DELETE FROM gateway_keys WHERE workspace_id = $1 AND id = $2");
SQL(secret_insert, DB_MAIN, 0, "buui",
    "INSERT INTO gateway_key_secrets (sha256, workspace_id, key_id, created_us) VALUES ($1, $2, $3, $4)");
SQL(secret_retire, DB_MAIN, 0, "iuu",
    "UPDATE gateway_key_secrets SET expires_us = $1 WHERE workspace_id = $2 AND key_id = $3");
SQL(secrets_retired, DB_MAIN, 0, "uu",
    "DELETE FROM gateway_key_secrets WHERE workspace_id = $1 AND key_id = $2 AND expires_us IS NOT NULL");
SQL(secrets_delete, DB_MAIN, 0, "uu",
    "DELETE FROM gateway_key_secrets WHERE workspace_id = $1 AND key_id = $2");

struct key_entry {
    uuid id;
    str name, prefix;
    uuid project_id, user_id;
    struct texts allowed_models, allowed_providers;
    bool is_enabled;
    usec expires_at;
    struct limits_view limits;
    struct budget_entry *budget;
    int64_t budget_limit; /* of a body that makes one */
    str budget_period;
    uuid created_by;
    usec created_at, updated_at, last_used_at, rotated_until;
    str origin;
    int64_t version;
    str key; /* of a fresh one only */
};

#define SETTINGS                                                                                             \
    FIELD(struct key_entry, name, FIELD_TEXT, .min = 1, .max = 100, .format = FORMAT_LINE,                   \
          .flags = FIELD_REQUIRED, .meaning = "What it is for, unique in the workspace."),                   \
        FIELD(struct key_entry, project_id, FIELD_UUID, .flags = FIELD_NULLABLE,                             \
              .meaning = "The project that its calls are booked on."),                                       \
        FIELD(struct key_entry, user_id, FIELD_UUID, .flags = FIELD_NULLABLE,                                \
              .meaning =                                                                                     \
                  "The member whose budgets its calls count on; it opens nothing once they are none."),      \
        FIELD(struct key_entry, allowed_models, FIELD_TEXTS, .min = 1, .max = NAME_LEN_MAX,                  \
              .format = FORMAT_LINE, .max_items = NAMES_MAX, .fallback = "[]",                               \
              .meaning = "Names and patterns (*, ?) of the only models that it may call; none: all."),       \
        FIELD(struct key_entry, allowed_providers, FIELD_TEXTS, .min = 1, .max = 64, .format = FORMAT_NAME,  \
              .max_items = NAMES_MAX, .fallback = "[]",                                                      \
              .meaning = "Names of the only providers that it may use; none: all."),                         \
        FIELD(struct key_entry, is_enabled, FIELD_BOOL, .fallback = "true",                                  \
              .meaning = "Whether calls are taken with it."),                                                \
        FIELD(struct key_entry, expires_at, FIELD_TIME, .flags = FIELD_NULLABLE,                             \
              .meaning = "When it stops being valid; null: never."),                                         \
        FIELD(struct key_entry, limits, FIELD_OBJECT, .shape = &limits_shape, .fallback = "{}",              \
              .meaning = "How fast calls may come.")
#define SHOWN                                                                                                \
    FIELD(struct key_entry, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Id of the key."),           \
        FIELD(struct key_entry, prefix, FIELD_TEXT, .flags = FIELD_READONLY,                                 \
              .meaning = "How its text begins, to tell keys apart."),                                        \
        SETTINGS,                                                                                            \
        FIELD(struct key_entry, budget, FIELD_OBJECT, .shape = &budget_shape,                                \
              .flags = FIELD_READONLY | FIELD_NULLABLE | FIELD_UNAUDITED,                                    \
              .meaning = "Its own budget, the first of them; null: none."),                                  \
        FIELD(struct key_entry, created_by, FIELD_UUID, .flags = FIELD_READONLY | FIELD_NULLABLE,            \
              .meaning = "Who made it."),                                                                    \
        FIELD(struct key_entry, created_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_NULLABLE,            \
              .meaning = "When it was made; null for one of the file."),                                     \
        FIELD(struct key_entry, updated_at, FIELD_TIME,                                                      \
              .flags = FIELD_READONLY | FIELD_NULLABLE | FIELD_UNAUDITED,                                    \
              .meaning = "When it was changed last."),                                                       \
        FIELD(struct key_entry, last_used_at, FIELD_TIME,                                                    \
              .flags = FIELD_READONLY | FIELD_NULLABLE | FIELD_UNAUDITED, .meaning = "Its last call."),      \
        FIELD(struct key_entry, rotated_until, FIELD_TIME, .flags = FIELD_READONLY | FIELD_NULLABLE,         \
              .meaning = "Until when the text before the last rotation is valid too."),                      \
        FIELD(struct key_entry, origin, FIELD_ONE_OF, .choices = ORIGIN_CHOICES, .flags = FIELD_READONLY,    \
              .meaning = "Where it is kept; what is from the configuration file is changed there."),         \
        FIELD(struct key_entry, version, FIELD_INT, .flags = FIELD_READONLY,                                 \
              .meaning = "Counts its changes.")

static const struct field key_fields[] = {SHOWN};
static const struct shape key_shape = SHAPE("GatewayKey", struct key_entry, key_fields,
                                            "A virtual key: it opens the gateway and nothing else.");
static const struct field fresh_fields[] = {
    SHOWN,
    FIELD(struct key_entry, key, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_SECRET,
          .meaning = "The key itself: shown this once."),
};
static const struct shape fresh_shape =
    SHAPE("NewGatewayKey", struct key_entry, fresh_fields, "A virtual key with its text.");
static const struct field wanted_fields[] = {
    SETTINGS,
    {.name = "budget",
     .type = FIELD_MONEY,
     .offset = offsetof(struct key_entry, budget_limit),
     .min = 0,
     .max = BUDGET_AMOUNT_MAX,
     .flags = FIELD_NULLABLE,
     .meaning = "Makes a hard budget of this amount for it."},
    FIELD(struct key_entry, budget_period, FIELD_ONE_OF, .choices = "daily|weekly|monthly|total",
          .fallback = "\"total\"", .meaning = "Period of that budget."),
};
static const struct shape wanted_shape =
    SHAPE("GatewayKeyWanted", struct key_entry, wanted_fields, "A virtual key to be made.");
static const struct field change_fields[] = {SETTINGS};
static const struct shape change_shape =
    SHAPE("GatewayKeySettings", struct key_entry, change_fields, "What can be changed of a virtual key.");

/* --- the file's --- */

static unsigned file_key(const struct snapshot_rows *file, const uuid *id)
{
    for (unsigned i = 0; file && i < file->n_keys; i++)
        if (uuid_eq(&file->keys[i].id, id)) return i;
    return UINT32_MAX;
}

static bool is_of_file(const struct api_request *r, const uuid *id)
{
    struct snapshot *held;
    bool is = file_key(admin_file(r, &held), id) != UINT32_MAX;
    snapshot_put(held);
    return is;
}

static const struct api_resource key_resource = {
    .param = ":id", .find = &key_find, .noun = "virtual key", .is_in_project = true};

static enum errc read_spec(struct api_request *r, const struct snapshot_rows *file,
                           const struct key_spec *spec, struct key_entry *k, err *e)
{
    static const str nothing[1];
    *k = (struct key_entry){
        .id = spec->id,
        .name = str_dup(r->arena, spec->name),
        .prefix = S(""), /* the file may hold a hash only */
        .allowed_models = {nothing, 0},
        .allowed_providers = {nothing, 0},
        .is_enabled = true,
        .limits = {NO_VALUE, NO_VALUE, NO_VALUE},
        .expires_at = NO_VALUE,
        .created_at = NO_VALUE,
        .updated_at = NO_VALUE,
        .last_used_at = NO_VALUE,
        .rotated_until = NO_VALUE,
        .origin = S("file"),
    };
    return budget_of_file_key(r, file, &spec->id, &k->budget, e);
}

/* --- rows --- */

static enum errc read_row(struct arena *a, const struct val *row, struct key_entry *k, err *e)
{
    struct rate_limits limits = {val_int(&row[9]), val_int(&row[10]), val_int(&row[11])};
    *k = (struct key_entry){
        .name = val_str(&row[0]),
        .id = val_uuid(&row[1]),
        .prefix = val_str(&row[2]),
        .project_id = val_uuid(&row[3]),
        .user_id = val_uuid(&row[4]),
        .is_enabled = val_bool(&row[7]),
        .expires_at = val_int(&row[8]),
        .limits = limits_view_of(&limits),
        .created_by = val_uuid(&row[12]),
        .version = val_int(&row[13]),
        .created_at = val_int(&row[14]),
        .updated_at = val_int(&row[15]),
        .rotated_until = val_int(&row[16]),
        .last_used_at = NO_VALUE,
        .origin = S("database"),
    };
    enum errc rc = texts_read(a, val_str(&row[5]), &k->allowed_models, e);
    return rc == ERR_NONE ? texts_read(a, val_str(&row[6]), &k->allowed_providers, e) : rc;
}

static enum errc add_budgets(struct api_request *r, struct tx *tx, struct key_entry *keys, unsigned n, err *e)
{
    uuid *ids = arena_news(r->arena, uuid, n + 1u);
    struct budget_entry **budgets = arena_news(r->arena, struct budget_entry *, n + 1u);
    if (!ids || !budgets) return err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; i < n; i++)
        ids[i] = keys[i].id;
    enum errc rc = budgets_of_keys(r, tx, ids, n, budgets, e);
    for (unsigned i = 0; rc == ERR_NONE && i < n; i++)
        keys[i].budget = budgets[i];
    return rc;
}

static enum errc load(struct api_request *r, struct tx *tx, bool may_be_of_file, struct key_entry *k, err *e)
{
    const struct val *row;
    struct snapshot *held;
    enum errc rc = tx_query_row(tx, r->arena, &key_get,
                                PARAMS(v_uuid(&r->workspace_id), v_uuid(&r->path_id[0])), &row, e);
    if (rc == ERR_NONE && (rc = read_row(r->arena, row, k, e)) == ERR_NONE)
        return add_budgets(r, tx, k, 1, e);
    if (rc != ERR_NOT_FOUND) return rc;
    const struct snapshot_rows *file = admin_file(r, &held);
    unsigned i = file_key(file, &r->path_id[0]);
    if (i != UINT32_MAX)
        rc = may_be_of_file ? read_spec(r, file, &file->keys[i], k, e)
                            : admin_is_from_file(e, "virtual key", file->keys[i].name);
    snapshot_put(held);
    return rc;
}

static struct event key_event(const struct api_request *r, str type, const struct key_entry *before,
                              const struct key_entry *after)
{
    return admin_event(r, type, 0, S("gateway_key"), after ? &after->id : &before->id, &key_shape, before,
                       after);
}

/* --- what the snapshot and the drain know: filled in when the unit is over --- */

static void fill(struct api_request *r, struct key_entry *keys, unsigned n)
{
    const struct gateway *g = gateway_of(r);
    for (unsigned i = 0; i < n; i++) {
        usec used = g->drain ? drain_key_used(g->drain, &keys[i].id) : 0;
        keys[i].last_used_at = used ? used : NO_VALUE;
        if (keys[i].budget) budget_fill(r, keys[i].budget);
    }
}

static void listed(struct api_request *r) { fill(r, r->items.items, r->items.n); }
static void shown(struct api_request *r) { fill(r, r->answer, 1); }
static void changed(struct api_request *r)
{
    admin_after(r);
    fill(r, r->answer, 1);
}

/* --- GET /api/gateway/keys --- */

/* An API key may be for some projects only. */
static bool is_visible(const struct api_request *r, const struct key_entry *k)
{
    for (unsigned i = 0; i < r->who.n_key_projects; i++)
        if (uuid_eq(&r->who.key_projects[i], &k->project_id)) return true;
    return r->who.n_key_projects == 0;
}

static enum errc list_rows(struct api_request *r, struct tx *tx, unsigned limit, str cursor,
                           struct key_entry *out, unsigned *n, err *e)
{
    struct keyset key = {.column = "k.name", .param = 't', .cursor = cursor, .limit = limit};
    struct rows rows;
    enum errc rc = tx_list(tx, r->arena, &key_list, PARAMS(v_uuid(&r->workspace_id)), NULL, 0, &key, &rows,
                           &r->next_cursor, e);
    *n = 0;
    for (unsigned i = 0; rc == ERR_NONE && i < rows.n; i++)
        if ((rc = read_row(r->arena, row_at(&rows, i), &out[*n], e)) == ERR_NONE && is_visible(r, &out[*n]))
            ++*n;
    return rc == ERR_NONE ? add_budgets(r, tx, out, *n, e) : rc;
}

static enum errc keys_list(struct api_request *r, struct tx *tx, err *e)
{
    struct snapshot *held;
    const struct snapshot_rows *file = admin_file(r, &held);
    struct key_entry *list = arena_news(r->arena, struct key_entry, r->limit + 1u);
    unsigned from = 0, to = 0, rest = 0, n = 0;
    str cursor = {NULL, 0};
    enum errc rc =
        list ? admin_page(r, file && !r->who.n_key_projects ? file->n_keys : 0, &from, &to, &rest, &cursor, e)
             : err_code(e, ERR_TOO_LARGE);
    for (unsigned i = from; rc == ERR_NONE && i < to; i++)
        rc = read_spec(r, file, &file->keys[i], &list[i - from], e);
    if (rc == ERR_NONE && rest) rc = list_rows(r, tx, rest, cursor, list + (to - from), &n, e);
    snapshot_put(held);
    if (rc == ERR_NONE) r->items = (struct objects){list, to - from + n};
    return rc;
}

/* --- POST /api/gateway/keys --- */

struct fresh {
    char text[KEYTEXT_LEN + 1];
    uint8_t sha256[SHA256_LEN];
    uuid budget_id;
};

static struct fresh *fresh_make(struct api_request *r)
{
    struct fresh *f = arena_new(r->arena, struct fresh);
    if (f) {
        sha256(keytext_make("cvk", f->text), f->sha256);
        f->budget_id = uuid7_make(r->now_us);
    }
    return f;
}

static struct val hash_of(const struct fresh *f)
{
    return v_blob(str_of((const char *)f->sha256, SHA256_LEN));
}

/* What holds by itself; what ids name is looked up in the unit. */
static enum errc check(struct api_request *r, const struct key_entry *k, err *e)
{
    unsigned before = r->errors.n;
    admin_check_names(r, "allowed_models", &k->allowed_models, e);
    admin_check_names(r, "allowed_providers", &k->allowed_providers, e);
    return r->errors.n > before ? field_errors_sum(&r->errors, e) : ERR_NONE;
}

static enum errc check_expiry(struct api_request *r, const struct key_entry *k, err *e)
{
    if (k->expires_at == NO_VALUE || k->expires_at > r->now_us) return ERR_NONE;
    return api_field_error(r, e, "expires_at", "out_of_range", "must be a time to come");
}

static enum errc either(enum errc a, enum errc b)
{
    return a != ERR_NONE && a != ERR_INVALID ? a : b != ERR_NONE ? b : a;
}

static enum errc check_ids(struct api_request *r, struct tx *tx, const struct key_entry *k, err *e)
{
    enum errc rc = admin_check_project(r, tx, "project_id", &k->project_id, e);
    if (rc != ERR_NONE && rc != ERR_INVALID) return rc;
    return either(rc, admin_check_user(r, tx, "user_id", &k->user_id, e));
}

static enum errc create_prepare(struct api_request *r, err *e)
{
    struct key_entry *k = r->body;
    struct fresh *f = fresh_make(r);
    if (!f) return err_code(e, ERR_TOO_LARGE);
    r->state = f;
    memcpy(k->id.b, f->sha256, sizeof k->id.b);
    k->prefix = str_of(f->text, PREFIX_LEN);
    k->created_by = r->who.user_id;
    k->created_at = k->updated_at = r->now_us;
    k->last_used_at = k->rotated_until = NO_VALUE;
    k->origin = S("database");
    k->version = 1;
    k->key = str_of(f->text, KEYTEXT_LEN);
    enum errc rc = check(r, k, e);
    return admin_tell_later(either(rc, check_expiry(r, k, e)));
}

static enum errc name_taken(struct api_request *r, str name, err *e)
{
    return admin_taken(r, e, "name", "there is a virtual key called '%.*s' already", STR(name));
}

static enum errc insert(struct api_request *r, struct tx *tx, const struct key_entry *k, err *e)
{
    struct rate_limits limits = rate_limits_of(&k->limits);
    str models, providers;
    enum errc rc = texts_write(r->arena, &k->allowed_models, &models, e);
    if (rc == ERR_NONE) rc = texts_write(r->arena, &k->allowed_providers, &providers, e);
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &key_insert,
                     PARAMS(v_uuid(&r->workspace_id), v_uuid(&k->id), v_text(k->name), v_text(k->prefix),
                            v_uuid_or_null(&k->project_id), v_uuid_or_null(&k->user_id), v_text(models),
                            v_text(providers), v_int(k->is_enabled), v_int_or_null(k->expires_at),
                            v_int(limits.requests_per_minute), v_int(limits.tokens_per_minute),
                            v_int(limits.parallel_calls), v_uuid(&k->created_by), v_int(k->version),
                            v_int(k->created_at), v_int(k->updated_at)),
                     NULL, e);
    return rc == ERR_CONFLICT ? name_taken(r, k->name, e) : rc;
}

static enum errc create(struct api_request *r, struct tx *tx, err *e)
{
    const struct fresh *f = r->state;
    struct key_entry *k = arena_new(r->arena, struct key_entry);
    struct budget_entry *b = arena_new(r->arena, struct budget_entry);
    if (!k || !b) return err_code(e, ERR_TOO_LARGE);
    *k = *(const struct key_entry *)r->body;
    admin_only_prepared(r);
    enum errc rc = check_ids(r, tx, k, e);
    if (rc == ERR_NONE && r->errors.n) rc = field_errors_sum(&r->errors, e);
    if (rc == ERR_NONE) rc = insert(r, tx, k, e);
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &secret_insert,
                     PARAMS(hash_of(f), v_uuid(&r->workspace_id), v_uuid(&k->id), v_int(r->now_us)), NULL, e);
    if (rc != ERR_NONE) return rc;
    struct event ev = key_event(r, S("gateway_key.created"), NULL, k);
    if ((rc = tx_event(tx, &ev, e)) == ERR_NONE && k->budget_limit != NO_VALUE) {
        *b = (struct budget_entry){.id = f->budget_id,
                                   .scope_id = k->id,
                                   .scope_name = k->name,
                                   .period = k->budget_period,
                                   .limit = k->budget_limit};
        k->budget = b;
        rc = budget_of_new_key(r, tx, EVENT_BUDGET, b, e);
    }
    r->answer = k;
    r->has_secret = true;
    r->location = api_location(r, "/api/gateway/keys/", &k->id);
    r->etag = api_etag(r, k->version);
    return rc;
}

/* --- GET, PATCH, DELETE /api/gateway/keys/:id, POST …/rotate --- */

static enum errc show(struct api_request *r, struct tx *tx, err *e)
{
    struct key_entry *k = arena_new(r->arena, struct key_entry);
    if (!k) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = load(r, tx, true, k, e);
    r->answer = k;
    r->etag = api_etag(r, k->version);
    return rc;
}

static enum errc update(struct api_request *r, struct tx *tx, const struct key_entry *k, err *e)
{
    struct rate_limits limits = rate_limits_of(&k->limits);
    str models, providers;
    enum errc rc = texts_write(r->arena, &k->allowed_models, &models, e);
    if (rc == ERR_NONE) rc = texts_write(r->arena, &k->allowed_providers, &providers, e);
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &key_update,
                     PARAMS(v_text(k->name), v_text(k->prefix), v_uuid_or_null(&k->project_id),
                            v_uuid_or_null(&k->user_id), v_text(models), v_text(providers),
                            v_int(k->is_enabled), v_int_or_null(k->expires_at),
                            v_int(limits.requests_per_minute), v_int(limits.tokens_per_minute),
                            v_int(limits.parallel_calls), v_int(k->version), v_int(k->updated_at),
                            v_uuid(&r->workspace_id), v_uuid(&k->id)),
                     NULL, e);
    return rc == ERR_CONFLICT ? name_taken(r, k->name, e) : rc;
}

static enum errc check_change(struct api_request *r, struct tx *tx, const struct key_entry *before,
                              const struct key_entry *after, err *e)
{
    enum errc rc = check(r, after, e);
    if (after->expires_at != before->expires_at) rc = either(rc, check_expiry(r, after, e));
    if (rc != ERR_NONE && rc != ERR_INVALID) return rc;
    /* What the ids name may have gone since; only new ones are looked up. */
    if (!uuid_eq(&before->project_id, &after->project_id))
        rc = either(rc, admin_check_project(r, tx, "project_id", &after->project_id, e));
    if (!uuid_eq(&before->user_id, &after->user_id))
        rc = either(rc, admin_check_user(r, tx, "user_id", &after->user_id, e));
    return rc;
}

static enum errc change(struct api_request *r, struct tx *tx, err *e)
{
    struct key_entry before, *after = arena_new(r->arena, struct key_entry);
    if (!after) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = load(r, tx, false, &before, e);
    if (rc != ERR_NONE || (rc = api_if_match(r, api_etag(r, before.version), e)) != ERR_NONE) return rc;
    *after = before;
    if ((rc = api_merge(r, after, e)) != ERR_NONE ||
        (rc = check_change(r, tx, &before, after, e)) != ERR_NONE)
        return rc;
    r->answer = after;
    if (admin_differs(&key_shape, &before, after)) {
        after->updated_at = r->now_us;
        after->version++;
        struct event ev = key_event(r, S("gateway_key.updated"), &before, after);
        if ((rc = update(r, tx, after, e)) == ERR_NONE) rc = tx_event(tx, &ev, e);
    }
    r->etag = api_etag(r, after->version);
    return rc;
}

static enum errc remove_key(struct api_request *r, struct tx *tx, err *e)
{
    struct key_entry before;
    enum errc rc = load(r, tx, false, &before, e);
    if (rc != ERR_NONE || (rc = api_if_match(r, api_etag(r, before.version), e)) != ERR_NONE) return rc;
    struct event ev = key_event(r, S("gateway_key.deleted"), &before, NULL);
    rc = tx_exec(tx, &secrets_delete, PARAMS(v_uuid(&r->workspace_id), v_uuid(&before.id)), NULL, e);
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &key_delete, PARAMS(v_uuid(&r->workspace_id), v_uuid(&before.id)), NULL, e);
    if (rc == ERR_NONE) rc = tx_event(tx, &ev, e);
    return rc == ERR_NONE ? budgets_drop_of_key(r, tx, &before.id, EVENT_BUDGET, e) : rc;
}

struct rotation {
    int64_t overlap_hours;
};
static const struct field rotation_fields[] = {
    FIELD(struct rotation, overlap_hours, FIELD_INT, .min = 0, .max = 168, .fallback = "0",
          .meaning = "Hours that the text until now stays valid beside the new one."),
};
static const struct shape rotation_shape =
    SHAPE("GatewayKeyRotation", struct rotation, rotation_fields, "How a virtual key is rotated.");

static enum errc rotate_prepare(struct api_request *r, err *e)
{
    r->state = fresh_make(r);
    return r->state ? ERR_NONE : err_code(e, ERR_TOO_LARGE);
}

/* The text until now goes on for the overlap; one that was on its way out already ends at once. */
static enum errc replace_secret(struct api_request *r, struct tx *tx, const uuid *key, usec until, err *e)
{
    const struct fresh *f = r->state;
    enum errc rc = tx_exec(tx, &secrets_retired, PARAMS(v_uuid(&r->workspace_id), v_uuid(key)), NULL, e);
    if (rc == ERR_NONE)
        rc =
            tx_exec(tx, &secret_retire, PARAMS(v_int(until), v_uuid(&r->workspace_id), v_uuid(key)), NULL, e);
    return rc != ERR_NONE
               ? rc
               : tx_exec(tx, &secret_insert,
                         PARAMS(hash_of(f), v_uuid(&r->workspace_id), v_uuid(key), v_int(r->now_us)), NULL,
                         e);
}

static enum errc rotate(struct api_request *r, struct tx *tx, err *e)
{
    const struct fresh *f = r->state;
    const struct rotation *body = r->body;
    struct key_entry before, *after = arena_new(r->arena, struct key_entry);
    if (!after) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = load(r, tx, false, &before, e);
    if (rc != ERR_NONE || (rc = api_if_match(r, api_etag(r, before.version), e)) != ERR_NONE) return rc;
    *after = before;
    after->prefix = str_of(f->text, PREFIX_LEN);
    after->key = str_of(f->text, KEYTEXT_LEN);
    after->rotated_until = r->now_us + body->overlap_hours * 3600 * USEC_PER_S;
    after->updated_at = r->now_us;
    after->version++;
    struct event ev = key_event(r, S("gateway_key.rotated"), &before, after);
    if ((rc = replace_secret(r, tx, &before.id, after->rotated_until, e)) == ERR_NONE)
        rc = update(r, tx, after, e);
    r->answer = after;
    r->has_secret = true;
    r->etag = api_etag(r, after->version);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

#define MANAGED .access = ACCESS_PERMISSION, .permission = PERMISSION_GATEWAY_KEYS, .scope = SCOPE_WORKSPACE

static const struct api_route routes[] = {
    {.method = HTTP_GET,
     .path = "/api/gateway/keys",
     .name = "gateway_keys_list",
     MANAGED,
     .answer = &key_shape,
     .is_list = true,
     .summary = "Virtual keys by name",
     .text = "Never their texts. Keys of the configuration file come first, with origin file.",
     .apply = keys_list,
     .after = listed},
    {.method = HTTP_POST,
     .path = "/api/gateway/keys",
     .name = "gateway_keys_create",
     MANAGED,
     .effect = EFFECT_STATE,
     .body = &wanted_shape,
     .answer = &fresh_shape,
     .status = 201,
     .summary = "Makes a virtual key",
     .text = "Its text is shown this once.",
     .prepare = create_prepare,
     .apply = create,
     .after = changed},
    {.method = HTTP_GET,
     .path = "/api/gateway/keys/:id",
     .name = "gateway_keys_show",
     MANAGED,
     .resource = &key_resource,
     .is_elsewhere = is_of_file,
     .answer = &key_shape,
     .summary = "A virtual key",
     .apply = show,
     .after = shown},
    {.method = HTTP_PATCH,
     .path = "/api/gateway/keys/:id",
     .name = "gateway_keys_change",
     MANAGED,
     .effect = EFFECT_STATE,
     .resource = &key_resource,
     .is_elsewhere = is_of_file,
     .body = &change_shape,
     .is_merge = true,
     .answer = &key_shape,
     .summary = "Changes a virtual key",
     .text = "It holds for the next call; calls under way end as they began.",
     .apply = change,
     .after = changed},
    {.method = HTTP_DELETE,
     .path = "/api/gateway/keys/:id",
     .name = "gateway_keys_delete",
     MANAGED,
     .effect = EFFECT_STATE,
     .resource = &key_resource,
     .is_elsewhere = is_of_file,
     .status = 204,
     .summary = "Revokes a virtual key",
     .text = "At once: its calls under way are cut, its budgets go with it. Records and costs stay.",
     .apply = remove_key,
     .after = admin_after},
    {.method = HTTP_POST,
     .path = "/api/gateway/keys/:id/rotate",
     .name = "gateway_keys_rotate",
     MANAGED,
     .effect = EFFECT_STATE,
     .resource = &key_resource,
     .is_elsewhere = is_of_file,
     .body = &rotation_shape,
     .answer = &fresh_shape,
     .status = 201,
     .summary = "Gives a virtual key a new text",
     .text = "Id, settings and what was spent stay. The text is shown this once.",
     .prepare = rotate_prepare,
     .apply = rotate,
     .after = changed},
};
const struct api_table gateway_keys_api = {"gateway", routes, LENGTH_OF(routes)};
