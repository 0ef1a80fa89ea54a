/* Providers: where calls go, each with a sealed key and a live test; and the kinds that there are. */
#include "gateway/admin/admin.h"
#include "net/outbound.h"
#include "net/url.h"

#define KEY_MAX 4096
#define HINT_FROM 12 /* a shorter key shows no part of itself */
#define HINT_LEN 4
#define COLUMNS                                                                                              \
    "name, id, kind, base_url, api_key, key_hint, models, dialects, prices, is_enabled, version, "           \
    "created_us, updated_us"

SQL(provider_find, DB_MAIN, 0, "uu",
    "SELECT NULL FROM gateway_providers WHERE workspace_id = $1 AND id = $2");
SQL(provider_get, DB_MAIN, 0, "uu",
    "SELECT " COLUMNS " FROM gateway_providers WHERE workspace_id = $1 AND id = $2");
SQL(provider_list, DB_MAIN, 0, "u", "SELECT " COLUMNS " FROM gateway_providers WHERE workspace_id = $1");
SQL(provider_insert, DB_MAIN, 0, "uutttbttttiiii",
    "INSERT INTO gateway_providers (workspace_id, id, name, kind, base_url, api_key, key_hint, models, "
    "dialects, prices, is_enabled, version, created_us, updated_us) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)");
SQL(provider_update, DB_MAIN, 0, "tttbttttiiiuu",
    "UPDATE gateway_providers SET name = $1, kind = $2, base_url = $3, api_key = $4, key_hint = $5, "
    "models = $6, dialects = $7, prices = $8, is_enabled = $9, version = $10, updated_us = $11 "
    "WHERE workspace_id = $12 AND id = $13");
SQL(provider_delete, DB_MAIN, 0, "uu", "DELETE FROM gateway_providers WHERE workspace_id = $1 AND id = $2");

SEALED_COLUMN(provider_keys, DB_MAIN, gateway_providers, id, workspace_id, api_key, true, NULL);

struct provider_entry {
    uuid id;
    str name, kind;
    str base_url;                  /* without a pointer: the kind's */
    str api_key;                   /* of a body: the key itself */
    struct texts models, dialects; /* empty: the kind's */
    str prices;
    bool has_key;
    str key_hint;
    bool is_enabled;
    str origin;
    usec created_at, updated_at;
    int64_t version;
    str sealed; /* as in the database */
};
static const struct field provider_fields[] = {
    FIELD(struct provider_entry, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Id of the provider."),
    FIELD(struct provider_entry, name, FIELD_TEXT, .min = 1, .max = 64, .format = FORMAT_NAME,
          .flags = FIELD_REQUIRED,
          .meaning = "Its name, unique in the workspace; PROVIDER/MODEL asks for a model of this one."),
    FIELD(struct provider_entry, kind, FIELD_ONE_OF, .choices = PROVIDER_KIND_CHOICES,
          .flags = FIELD_REQUIRED, .meaning = "What it is: GET /api/gateway/kinds."),
    FIELD(struct provider_entry, base_url, FIELD_TEXT, .min = 1, .max = 300, .format = FORMAT_URL,
          .flags = FIELD_NULLABLE, .meaning = "Where it is; null in a body: its kind's public address."),
    FIELD(struct provider_entry, api_key, FIELD_TEXT, .min = 1, .max = KEY_MAX, .format = FORMAT_LINE,
          .flags = FIELD_NULLABLE | FIELD_WRITEONLY,
          .meaning = "The key that calls are sent with; sealed, never shown. Absent: as it was; null: none."),
    FIELD(struct provider_entry, models, FIELD_TEXTS, .min = 1, .max = NAME_LEN_MAX, .format = FORMAT_LINE,
          .max_items = NAMES_MAX, .fallback = "[]",
          .meaning = "Names and patterns (*, ?) of the models that it serves; empty in a body: what its kind "
                     "is known to serve."),
    FIELD(struct provider_entry, dialects, FIELD_TEXTS, .choices = "chat|responses|messages|embeddings",
          .min = 1, .max = 20, .max_items = 4, .fallback = "[]",
          .meaning = "What it speaks; empty in a body: what its kind speaks."),
    FIELD(struct provider_entry, prices, FIELD_JSON, .max = 1400, .format = FORMAT_OBJECT, .fallback = "{}",
          .meaning = "Prices of its own, before the list: {MODEL: {input, output, cache_read, cache_write, "
                     "cache_write_1h}} in USD per million tokens, context and max_output in tokens."),
    FIELD(struct provider_entry, has_key, FIELD_BOOL, .flags = FIELD_READONLY,
          .meaning = "Whether there is a key."),
    FIELD(struct provider_entry, key_hint, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "The last four characters of the key."),
    FIELD(struct provider_entry, is_enabled, FIELD_BOOL, .fallback = "true",
          .meaning = "Whether calls may go to it."),
    FIELD(struct provider_entry, origin, FIELD_ONE_OF, .choices = ORIGIN_CHOICES, .flags = FIELD_READONLY,
          .meaning = "Where it is kept; what is from the configuration file is changed there."),
    FIELD(struct provider_entry, created_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "When it was made; null for one of the file."),
    FIELD(struct provider_entry, updated_at, FIELD_TIME,
          .flags = FIELD_READONLY | FIELD_NULLABLE | FIELD_UNAUDITED, .meaning = "When it was changed last."),
    FIELD(struct provider_entry, version, FIELD_INT, .flags = FIELD_READONLY,
          .meaning = "Counts its changes."),
};
static const struct shape provider_shape =
    SHAPE("Provider", struct provider_entry, provider_fields, "A provider of models.");
#define FIELD_API_KEY 4 /* its place above: the bit of body_has */

/* --- the file's --- */

static unsigned file_provider(const struct snapshot_rows *file, const uuid *id)
{
    for (unsigned i = 0; file && i < file->n_providers; i++)
        if (uuid_eq(&file->providers[i].id, id)) return i;
    return UINT32_MAX;
}

static bool is_of_file(const struct api_request *r, const uuid *id)
{
    struct snapshot *held;
    bool is = file_provider(admin_file(r, &held), id) != UINT32_MAX;
    snapshot_put(held);
    return is;
}

static const struct api_resource provider_resource = {
    .param = ":id", .find = &provider_find, .noun = "provider"};

static str hint_of(str key)
{
    return key.len >= HINT_FROM ? str_skip(key, key.len - HINT_LEN) : (str){NULL, 0};
}

static enum errc copy_texts(struct arena *a, const str *from, unsigned n, struct texts *out, err *e)
{
    str *items = arena_news(a, str, n + 1u);
    if (!items) return err_code(e, ERR_TOO_LARGE);
    *out = (struct texts){items, n};
    for (unsigned i = 0; i < n; i++)
        if (!(items[i] = str_dup(a, from[i])).p) return err_code(e, ERR_TOO_LARGE);
    return ERR_NONE;
}

static enum errc read_spec(struct arena *a, const struct provider_spec *spec, struct provider_entry *p,
                           err *e)
{
    str hint = hint_of(spec->api_key);
    *p = (struct provider_entry){
        .id = spec->id,
        .name = str_dup(a, spec->name),
        .kind = str_dup(a, spec->kind),
        .base_url = spec->base_url.len ? str_dup(a, spec->base_url) : (str){NULL, 0},
        .prices = S("{}"),
        .has_key = spec->api_key.len > 0,
        .key_hint = hint.p ? str_dup(a, hint) : hint,
        .is_enabled = true,
        .origin = S("file"),
        .created_at = NO_VALUE,
        .updated_at = NO_VALUE,
    };
    enum errc rc = copy_texts(a, spec->models, spec->n_models, &p->models, e);
    return rc == ERR_NONE ? texts_of_dialects(a, spec->has_dialects ? spec->dialects : 0, &p->dialects, e)
                          : rc;
}

/* --- rows --- */

static enum errc read_row(struct arena *a, const struct val *row, struct provider_entry *p, err *e)
{
    str prices = val_str(&row[8]);
    *p = (struct provider_entry){
        .name = val_str(&row[0]),
        .id = val_uuid(&row[1]),
        .kind = val_str(&row[2]),
        .base_url = val_str(&row[3]),
        .sealed = val_str(&row[4]),
        .has_key = row[4].type != VAL_NULL,
        .key_hint = val_str(&row[5]),
        .prices = prices.len ? prices : S("{}"),
        .is_enabled = val_bool(&row[9]),
        .version = val_int(&row[10]),
        .created_at = val_int(&row[11]),
        .updated_at = val_int(&row[12]),
        .origin = S("database"),
    };
    enum errc rc = texts_read(a, val_str(&row[6]), &p->models, e);
    return rc == ERR_NONE ? texts_read(a, val_str(&row[7]), &p->dialects, e) : rc;
}

/* What answers and events show: the kind's where nothing is said. */
static enum errc fill(struct arena *a, struct provider_entry *p, err *e)
{
    const struct provider_kind *kind = provider_kind_find(p->kind);
    enum errc rc = ERR_NONE;
    if (!kind) return ERR_NONE; /* of a release that knew it */
    if (!p->base_url.p && kind->base_url) p->base_url = str_c(kind->base_url);
    if (!p->models.n) rc = texts_of_words(a, kind->models, &p->models, e);
    if (rc == ERR_NONE && !p->dialects.n) rc = texts_of_dialects(a, kind->dialects, &p->dialects, e);
    return rc;
}

static bool texts_eq(const struct texts *a, const struct texts *b)
{
    bool is = a->n == b->n;
    for (unsigned i = 0; is && i < a->n; i++)
        is = str_eq(a->items[i], b->items[i]);
    return is;
}

static unsigned dialect_set(const struct texts *names)
{
    unsigned set = 0;
    for (unsigned i = 0; i < names->n; i++) {
        enum dialect d;
        if (dialect_parse(names->items[i], &d)) set |= DIALECT_BIT(d);
    }
    return set;
}

/* What is said anyway is not kept, so that it follows the kind. */
static enum errc normalise(struct arena *a, struct provider_entry *p, err *e)
{
    const struct provider_kind *kind = provider_kind_find(p->kind);
    struct texts models;
    enum errc rc = texts_of_words(a, kind->models, &models, e);
    if (rc != ERR_NONE) return rc;
    if (kind->base_url && str_eq(p->base_url, str_c(kind->base_url))) p->base_url = (str){NULL, 0};
    if (texts_eq(&p->models, &models)) p->models.n = 0;
    if (dialect_set(&p->dialects) == (kind->dialects & ~DIALECT_BIT(DIALECT_COUNT_TOKENS))) p->dialects.n = 0;
    return ERR_NONE;
}

/* --- checks --- */

struct price_check {
    struct api_request *r;
    err *e;
};

static void price_problem(void *ctx, const struct json *where, const char *problem)
{
    struct price_check *c = ctx;
    (void)api_field_error(c->r, c->e, "prices", "bad_format", "%.*s%s%s", STR(where->name),
                          where->name.len ? ": " : "", problem);
}

static void check_base_url(struct api_request *r, const struct provider_entry *p, err *e)
{
    const struct provider_kind *kind = provider_kind_find(p->kind);
    struct outbound_route way;
    struct url url;
    err why = {0};
    if (!p->base_url.p) {
        if (!kind->base_url)
            (void)api_field_error(r, e, "base_url", "required", "must be given for a provider of kind %.*s",
                                  STR(p->kind));
        return;
    }
    enum errc rc = url_parse(p->base_url, &url, &why);
    if (rc ==
        ERR_NONE) { /* an administrator's own target: it may stand in this network, but not everywhere */
        struct snapshot *held = gateway_snapshot(gateway_of(r));
        rc = outbound_route(held->base->outbound, r->arena, &url, true, &way, &why);
        snapshot_put(held);
    }
    if (rc != ERR_NONE) (void)api_field_error(r, e, "base_url", "bad_format", "cannot be used: %s", why.msg);
}

/* What the field table cannot say, all of it at once. */
static enum errc check(struct api_request *r, const struct provider_entry *p, err *e)
{
    struct price_check prices = {r, e};
    struct json *tree;
    unsigned before = r->errors.n;
    check_base_url(r, p, e);
    if (p->api_key.p && !text_is_visible(p->api_key))
        (void)api_field_error(r, e, "api_key", "bad_format", "must hold no spaces and only ASCII");
    admin_check_names(r, "models", &p->models, e);
    enum errc rc = json_parse(r->arena, p->prices, &tree, e);
    if (rc != ERR_NONE) return rc;
    price_book_add_tree(NULL, p->name, tree, price_problem, &prices);
    return r->errors.n > before ? field_errors_sum(&r->errors, e) : ERR_NONE;
}

static enum errc check_name(struct api_request *r, str name, err *e)
{
    struct snapshot *held;
    const struct snapshot_rows *file = admin_file(r, &held);
    bool is_taken = false;
    for (unsigned i = 0; file && i < file->n_providers; i++)
        is_taken |= str_eq(file->providers[i].name, name);
    snapshot_put(held);
    return is_taken
               ? admin_taken(r, e, "name", "the configuration file has a provider called '%.*s'", STR(name))
               : ERR_NONE;
}

static enum errc name_taken(struct api_request *r, str name, err *e)
{
    return admin_taken(r, e, "name", "there is a provider called '%.*s' already", STR(name));
}

static enum errc seal(struct api_request *r, const uuid *id, str key, str *sealed, err *e)
{
    return secret_seal_in(gateway_of(r)->backend.secrets, r->arena, &r->workspace_id, "gateway_providers", id,
                          "api_key", key, sealed, e);
}

static enum errc set_key(struct provider_entry *p, str key, str sealed)
{
    p->sealed = sealed;
    p->has_key = sealed.p != NULL;
    p->key_hint = hint_of(key);
    return ERR_NONE;
}

static struct event provider_event(const struct api_request *r, str type, const struct provider_entry *before,
                                   const struct provider_entry *after)
{
    return admin_event(r, type, 0, S("provider"), after ? &after->id : &before->id, &provider_shape, before,
                       after);
}

/* --- GET /api/gateway/providers --- */

static enum errc list_file(struct api_request *r, const struct snapshot_rows *file, unsigned from, unsigned n,
                           struct provider_entry *out, err *e)
{
    enum errc rc = ERR_NONE;
    for (unsigned i = 0; i < n && rc == ERR_NONE; i++)
        if ((rc = read_spec(r->arena, &file->providers[from + i], &out[i], e)) == ERR_NONE)
            rc = fill(r->arena, &out[i], e);
    return rc;
}

static enum errc list_rows(struct api_request *r, struct tx *tx, unsigned limit, str cursor,
                           struct provider_entry *out, unsigned *n, err *e)
{
    struct keyset key = {.column = "name", .param = 't', .cursor = cursor, .limit = limit};
    struct rows rows;
    enum errc rc = tx_list(tx, r->arena, &provider_list, PARAMS(v_uuid(&r->workspace_id)), NULL, 0, &key,
                           &rows, &r->next_cursor, e);
    for (unsigned i = 0; rc == ERR_NONE && i < rows.n; i++)
        if ((rc = read_row(r->arena, row_at(&rows, i), &out[i], e)) == ERR_NONE)
            rc = fill(r->arena, &out[i], e);
    *n = rc == ERR_NONE ? rows.n : 0;
    return rc;
}

static enum errc providers_list(struct api_request *r, struct tx *tx, err *e)
{
    struct snapshot *held;
    const struct snapshot_rows *file = admin_file(r, &held);
    struct provider_entry *list = arena_news(r->arena, struct provider_entry, r->limit);
    unsigned from = 0, to = 0, rest = 0, n = 0;
    str cursor = {NULL, 0};
    enum errc rc = list ? admin_page(r, file ? file->n_providers : 0, &from, &to, &rest, &cursor, e)
                        : err_code(e, ERR_TOO_LARGE);
    if (rc == ERR_NONE) rc = list_file(r, file, from, to - from, list, e);
    if (rc == ERR_NONE && rest) rc = list_rows(r, tx, rest, cursor, list + (to - from), &n, e);
    snapshot_put(held);
    if (rc == ERR_NONE) r->items = (struct objects){list, to - from + n};
    return rc;
}

/* --- POST /api/gateway/providers --- */

static enum errc create_prepare(struct api_request *r, err *e)
{
    struct provider_entry *p = r->body;
    p->id = uuid7_make(r->now_us);
    p->origin = S("database");
    p->created_at = p->updated_at = r->now_us;
    p->version = 1;
    enum errc rc = check(r, p, e);
    str sealed = {NULL, 0};
    if (rc == ERR_NONE) rc = check_name(r, p->name, e);
    if (rc == ERR_NONE && p->api_key.p) rc = seal(r, &p->id, p->api_key, &sealed, e);
    if (rc == ERR_NONE) rc = set_key(p, p->api_key, sealed);
    return rc == ERR_NONE ? normalise(r->arena, p, e) : rc;
}

static enum errc lists_of(struct api_request *r, const struct provider_entry *p, struct val *models,
                          struct val *dialects, err *e)
{
    str text;
    *models = *dialects = v_null();
    enum errc rc = p->models.n ? texts_write(r->arena, &p->models, &text, e) : ERR_NONE;
    if (rc == ERR_NONE && p->models.n) *models = v_text(text);
    if (rc == ERR_NONE && p->dialects.n && (rc = texts_write(r->arena, &p->dialects, &text, e)) == ERR_NONE)
        *dialects = v_text(text);
    return rc;
}

static struct val prices_of(const struct provider_entry *p)
{
    return str_eq(p->prices, S("{}")) ? v_null() : v_text(p->prices);
}

static struct val sealed_of(const struct provider_entry *p)
{
    return p->sealed.p ? v_blob(p->sealed) : v_null();
}

static enum errc create(struct api_request *r, struct tx *tx, err *e)
{
    struct provider_entry *p = arena_new(r->arena, struct provider_entry);
    struct val models, dialects;
    if (!p) return err_code(e, ERR_TOO_LARGE);
    *p = *(const struct provider_entry *)r->body;
    r->answer = p;
    r->location = api_location(r, "/api/gateway/providers/", &p->id);
    r->etag = api_etag(r, p->version);
    enum errc rc = lists_of(r, p, &models, &dialects, e);
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &provider_insert,
                     PARAMS(v_uuid(&r->workspace_id), v_uuid(&p->id), v_text(p->name), v_text(p->kind),
                            v_text_or_null(p->base_url), sealed_of(p), v_text_or_null(p->key_hint), models,
                            dialects, prices_of(p), v_int(p->is_enabled), v_int(p->version),
                            v_int(p->created_at), v_int(p->updated_at)),
                     NULL, e);
    if (rc == ERR_CONFLICT) return name_taken(r, p->name, e);
    if (rc == ERR_NONE) rc = fill(r->arena, p, e);
    struct event ev = provider_event(r, S("provider.created"), NULL, p);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

/* --- GET, PUT, PATCH, DELETE /api/gateway/providers/:id --- */

/* As it is kept; ERR_CONFLICT for one of the file unless may_be_of_file. */
static enum errc load(struct api_request *r, struct tx *tx, bool may_be_of_file, struct provider_entry *p,
                      err *e)
{
    const struct val *row;
    struct snapshot *held;
    enum errc rc = tx_query_row(tx, r->arena, &provider_get,
                                PARAMS(v_uuid(&r->workspace_id), v_uuid(&r->path_id[0])), &row, e);
    if (rc == ERR_NONE) return read_row(r->arena, row, p, e);
    if (rc != ERR_NOT_FOUND) return rc;
    const struct snapshot_rows *file = admin_file(r, &held);
    unsigned i = file_provider(file, &r->path_id[0]);
    if (i != UINT32_MAX)
        rc = may_be_of_file ? read_spec(r->arena, &file->providers[i], p, e)
                            : admin_is_from_file(e, "provider", file->providers[i].name);
    snapshot_put(held);
    return rc;
}

static enum errc show(struct api_request *r, struct tx *tx, err *e)
{
    struct provider_entry *p = arena_new(r->arena, struct provider_entry);
    if (!p) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = load(r, tx, true, p, e);
    if (rc == ERR_NONE) rc = fill(r->arena, p, e);
    r->answer = p;
    r->etag = api_etag(r, p->version);
    return rc;
}

/* A new key is sealed before the unit. */
static enum errc change_prepare(struct api_request *r, err *e)
{
    const struct json *key = json_get(r->body_json, S("api_key")), *name = json_get(r->body_json, S("name"));
    str *sealed = arena_new(r->arena, str);
    if (!sealed) return err_code(e, ERR_TOO_LARGE);
    r->state = sealed;
    enum errc rc = r->route->is_merge ? ERR_NONE : check(r, r->body, e);
    if (rc == ERR_NONE && name && name->type == JSON_STRING) rc = check_name(r, name->text, e);
    if (rc == ERR_NONE && key && key->type == JSON_STRING && text_is_visible(key->text))
        rc = seal(r, &r->path_id[0], key->text, sealed, e);
    return rc;
}

/* PUT has the whole body (but for the key, which nobody can read back), PATCH what is to change. */
static enum errc merge(struct api_request *r, struct provider_entry *after, err *e)
{
    const struct provider_entry *body = r->body;
    enum errc rc = ERR_NONE;
    if (r->route->is_merge) {
        rc = api_merge(r, after, e);
        return rc == ERR_NONE ? check(r, after, e) : rc;
    }
    after->name = body->name;
    after->kind = body->kind;
    after->base_url = body->base_url;
    after->models = body->models;
    after->dialects = body->dialects;
    after->prices = body->prices;
    after->is_enabled = body->is_enabled;
    after->api_key = body->api_key;
    return ERR_NONE;
}

static enum errc update(struct api_request *r, struct tx *tx, const struct provider_entry *p, err *e)
{
    struct val models, dialects;
    enum errc rc = lists_of(r, p, &models, &dialects, e);
    if (rc == ERR_NONE)
        rc =
            tx_exec(tx, &provider_update,
                    PARAMS(v_text(p->name), v_text(p->kind), v_text_or_null(p->base_url), sealed_of(p),
                           v_text_or_null(p->key_hint), models, dialects, prices_of(p), v_int(p->is_enabled),
                           v_int(p->version), v_int(p->updated_at), v_uuid(&r->workspace_id), v_uuid(&p->id)),
                    NULL, e);
    return rc == ERR_CONFLICT ? name_taken(r, p->name, e) : rc;
}

static enum errc change(struct api_request *r, struct tx *tx, err *e)
{
    struct provider_entry before, *after = arena_new(r->arena, struct provider_entry);
    const str *sealed = r->state;
    if (!after) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = load(r, tx, false, &before, e);
    if (rc != ERR_NONE || (rc = api_if_match(r, api_etag(r, before.version), e)) != ERR_NONE) return rc;
    *after = before;
    if ((rc = merge(r, after, e)) != ERR_NONE || (rc = normalise(r->arena, after, e)) != ERR_NONE) return rc;
    bool has_new_key = r->body_has & (1u << FIELD_API_KEY) && (sealed->p || before.has_key);
    if (has_new_key) rc = set_key(after, after->api_key, *sealed);
    struct provider_entry kept = *after;
    if (rc == ERR_NONE && (rc = fill(r->arena, &before, e)) == ERR_NONE) rc = fill(r->arena, after, e);
    r->answer = after;
    if (rc == ERR_NONE && (has_new_key || admin_differs(&provider_shape, &before, after))) {
        after->updated_at = kept.updated_at = r->now_us;
        after->version = ++kept.version;
        struct event ev = provider_event(r, S("provider.updated"), &before, after);
        if ((rc = update(r, tx, &kept, e)) == ERR_NONE) rc = tx_event(tx, &ev, e);
    }
    r->etag = api_etag(r, after->version);
    return rc;
}

static enum errc remove_provider(struct api_request *r, struct tx *tx, err *e)
{
    struct provider_entry before;
    enum errc rc = load(r, tx, false, &before, e);
    if (rc == ERR_NONE) rc = api_if_match(r, api_etag(r, before.version), e);
    if (rc == ERR_NONE) rc = fill(r->arena, &before, e);
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &provider_delete, PARAMS(v_uuid(&r->workspace_id), v_uuid(&before.id)), NULL, e);
    if (rc != ERR_NONE) return rc;
    struct event ev = provider_event(r, S("provider.deleted"), &before, NULL);
    return tx_event(tx, &ev, e);
}

/* --- POST /api/gateway/providers/:id/test --- */

struct test {
    struct api_request *r;
    struct provider_entry entry;
};

static enum errc load_tested(struct tx *tx, void *ctx, err *e)
{
    struct test *t = ctx;
    return load(t->r, tx, true, &t->entry, e);
}

static enum errc test_prepare(struct api_request *r, err *e)
{
    struct test t = {.r = r};
    struct snapshot *held;
    str key = S("");
    enum errc rc = db_read(store_db(r->store, DB_MAIN), load_tested, &t, e);
    if (rc == ERR_NONE) rc = fill(r->arena, &t.entry, e);
    if (rc != ERR_NONE) return rc;
    if (t.entry.sealed.p) {
        rc = secret_open_in(gateway_of(r)->backend.secrets, r->arena, &r->workspace_id, "gateway_providers",
                            &t.entry.id, "api_key", t.entry.sealed, &key, e);
    } else if (t.entry.has_key) {
        const struct snapshot_rows *file = admin_file(r, &held);
        unsigned i = file_provider(file, &t.entry.id);
        key = i != UINT32_MAX ? str_dup(r->arena, file->providers[i].api_key) : S("");
        snapshot_put(held);
    }
    struct provider_target_spec target = {provider_kind_find(t.entry.kind), t.entry.base_url, key};
    return rc == ERR_NONE ? provider_try(r, &target, e) : rc;
}

static enum errc tested(struct api_request *r, struct tx *tx, err *e)
{
    struct event ev =
        admin_event(r, S("provider.tested"), 0, S("provider"), &r->path_id[0], NULL, NULL, NULL);
    r->answer = r->state;
    ev.metadata = provider_test_metadata(r);
    return ev.metadata.p ? tx_event(tx, &ev, e) : err_code(e, ERR_TOO_LARGE);
}

/* --- GET /api/gateway/kinds --- */

struct kind_entry {
    str name, base_url;
    bool needs_key, is_local;
    struct texts models, dialects;
};
static const struct field kind_fields[] = {
    FIELD(struct kind_entry, name, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "Name of the kind."),
    FIELD(struct kind_entry, base_url, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "Its usual address; null: it must be given."),
    FIELD(struct kind_entry, needs_key, FIELD_BOOL, .flags = FIELD_READONLY,
          .meaning = "Whether it answers nobody without a key."),
    FIELD(struct kind_entry, is_local, FIELD_BOOL, .flags = FIELD_READONLY,
          .meaning = "Runs on a machine of one's own: its calls cost 0."),
    FIELD(struct kind_entry, models, FIELD_TEXTS, .flags = FIELD_READONLY,
          .meaning = "Models that it is known to serve; empty: any."),
    FIELD(struct kind_entry, dialects, FIELD_TEXTS, .flags = FIELD_READONLY, .meaning = "What it speaks."),
};
static const struct shape kind_shape =
    SHAPE("ProviderKind", struct kind_entry, kind_fields, "A kind of provider.");

static enum errc kinds_list(struct api_request *r, err *e)
{
    unsigned n;
    const struct provider_kind *kinds = provider_kinds(&n);
    struct kind_entry *list = arena_news(r->arena, struct kind_entry, n);
    enum errc rc = list ? ERR_NONE : err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; rc == ERR_NONE && i < n; i++) {
        struct kind_entry *x = &list[i];
        *x = (struct kind_entry){
            .name = kinds[i].name,
            .base_url = str_c(kinds[i].base_url),
            .needs_key = !kinds[i].is_local && kinds[i].price_source.len,
            .is_local = kinds[i].is_local,
        };
        if ((rc = texts_of_words(r->arena, kinds[i].models, &x->models, e)) == ERR_NONE)
            rc = texts_of_dialects(r->arena, kinds[i].dialects, &x->dialects, e);
    }
    return rc == ERR_NONE ? admin_slice(r, list, n, sizeof *list, e) : rc;
}

#define MANAGED .access = ACCESS_PERMISSION, .permission = PERMISSION_LLM_PROVIDERS, .scope = SCOPE_WORKSPACE
#define READ .access = ACCESS_PERMISSION, .permission = PERMISSION_OPTIMIZER_READ, .scope = SCOPE_WORKSPACE

static const struct api_route routes[] = {
    {.method = HTTP_GET,
     .path = "/api/gateway/kinds",
     .name = "gateway_kinds_list",
     READ,
     .answer = &kind_shape,
     .is_list = true,
     .summary = "Kinds of providers",
     .prepare = kinds_list},
    {.method = HTTP_GET,
     .path = "/api/gateway/providers",
     .name = "gateway_providers_list",
     MANAGED,
     .answer = &provider_shape,
     .is_list = true,
     .summary = "Providers by name",
     .text = "Those of the configuration file come first, with origin file: they are changed there.",
     .apply = providers_list},
    {.method = HTTP_POST,
     .path = "/api/gateway/providers",
     .name = "gateway_providers_create",
     MANAGED,
     .effect = EFFECT_STATE,
     .body = &provider_shape,
     .answer = &provider_shape,
     .status = 201,
     .summary = "Adds a provider",
     .prepare = create_prepare,
     .apply = create,
     .after = admin_after},
    {.method = HTTP_GET,
     .path = "/api/gateway/providers/:id",
     .name = "gateway_providers_show",
     MANAGED,
     .resource = &provider_resource,
     .is_elsewhere = is_of_file,
     .answer = &provider_shape,
     .summary = "A provider",
     .apply = show},
    {.method = HTTP_PUT,
     .path = "/api/gateway/providers/:id",
     .name = "gateway_providers_replace",
     MANAGED,
     .effect = EFFECT_STATE,
     .resource = &provider_resource,
     .is_elsewhere = is_of_file,
     .body = &provider_shape,
     .answer = &provider_shape,
     .summary = "Replaces a provider",
     .text = "The key stays when the body has none; null removes it.",
     .prepare = change_prepare,
     .apply = change,
     .after = admin_after},
    {.method = HTTP_PATCH,
     .path = "/api/gateway/providers/:id",
     .name = "gateway_providers_change",
     MANAGED,
     .effect = EFFECT_STATE,
     .resource = &provider_resource,
     .is_elsewhere = is_of_file,
     .body = &provider_shape,
     .is_merge = true,
     .answer = &provider_shape,
     .summary = "Changes a provider",
     .prepare = change_prepare,
     .apply = change,
     .after = admin_after},
    {.method = HTTP_DELETE,
     .path = "/api/gateway/providers/:id",
     .name = "gateway_providers_delete",
     MANAGED,
     .effect = EFFECT_STATE,
     .resource = &provider_resource,
     .is_elsewhere = is_of_file,
     .status = 204,
     .summary = "Removes a provider",
     .text = "Calls under way end; their records and costs stay.",
     .apply = remove_provider,
     .after = admin_after},
    {.method = HTTP_POST,
     .path = "/api/gateway/providers/:id/test",
     .name = "gateway_providers_test",
     MANAGED,
     .effect = EFFECT_STATE,
     .resource = &provider_resource,
     .is_elsewhere = is_of_file,
     .answer = &provider_test_shape,
     .summary = "Tries a provider: asks for the list of its models with its key, which costs no tokens",
     .prepare = test_prepare,
     .apply = tested},
};
const struct api_table gateway_providers_api = {"gateway", routes, LENGTH_OF(routes)};
