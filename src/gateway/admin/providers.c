/* Providers: what there are in the workspace, with a sealed key each, and a live test that asks for the list of models. */
#include <stdio.h>

#include "gateway/admin/admin.h"
#include "gateway/kinds.h"
#include "net/fetch.h"

#define COLUMNS "name, id, kind, base_url, api_key, key_hint, models, dialects, prices, is_enabled, created_us, updated_us, version"
#define TEST_DEADLINE_MS 15000
#define TEST_ANSWER_MAX (4u << 20)
#define TEST_MODELS_MAX 500

SQL(provider_find, DB_MAIN, 0, "uu", "SELECT NULL FROM gateway_providers WHERE workspace_id = $1 AND id = $2");
SQL(provider_get, DB_MAIN, 0, "uu", "SELECT " COLUMNS " FROM gateway_providers WHERE workspace_id = $1 AND id = $2");
SQL(provider_by_name, DB_MAIN, 0, "ut", "SELECT id FROM gateway_providers WHERE workspace_id = $1 AND name = $2");
SQL(provider_list, DB_MAIN, 0, "u", "SELECT " COLUMNS " FROM gateway_providers WHERE workspace_id = $1");
SQL(provider_insert, DB_MAIN, 0, "uutttbttttiiii",
    "INSERT INTO gateway_providers (workspace_id, id, name, kind, base_url, api_key, key_hint, models, dialects, prices, is_enabled, created_us, "
    "updated_us, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)");
SQL(provider_update, DB_MAIN, 0, "tttbttttiiiuu",
    "UPDATE gateway_providers SET name = $1, kind = $2, base_url = $3, api_key = $4, key_hint = $5, models = $6, dialects = $7, prices = $8, "
    "is_enabled = $9, updated_us = $10, version = $11 WHERE workspace_id = $12 AND id = $13");
SQL(provider_delete, DB_MAIN, 0, "uu", "DELETE FROM gateway_providers WHERE workspace_id = $1 AND id = $2");

static const struct api_resource provider_resource = {":id", &provider_find, "provider"};

struct provider_view {
    uuid id;
    str name, kind, base_url;
    str api_key;                /* as given; never read back */
    struct texts models, dialects;
    str prices;
    bool has_key, is_enabled;
    str key_hint, origin;
    usec created_at, updated_at;
    int64_t version;
    /* not shown */
    str sealed;
};

static const struct field fields[] = {
    FIELD(struct provider_view, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Id of the provider."),
    FIELD(struct provider_view, name, FIELD_TEXT, .min = 1, .max = 64, .format = FORMAT_NAME, .flags = FIELD_REQUIRED,
          .meaning = "Its name, unique in the workspace; PROVIDER/MODEL asks for it."),
    FIELD(struct provider_view, kind, FIELD_TEXT, .min = 1, .max = 32, .format = FORMAT_NAME, .flags = FIELD_REQUIRED,
          .meaning = "What it is: openai, anthropic, … or compatible; GET /api/gateway/kinds lists all."),
    FIELD(struct provider_view, base_url, FIELD_TEXT, .min = 1, .max = 500, .format = FORMAT_URL, .flags = FIELD_NULLABLE,
          .meaning = "Where it is, as its SDKs take it; null: the kind's own address."),
    FIELD(struct provider_view, api_key, FIELD_TEXT, .min = 1, .max = 4000, .format = FORMAT_LINE, .flags = FIELD_WRITEONLY | FIELD_NULLABLE,
          .meaning = "The key that it gave; kept sealed and never shown. Absent: it stays; null: none."),
    FIELD(struct provider_view, models, FIELD_TEXTS, .min = 1, .max = 200, .max_items = 200, .format = FORMAT_LINE, .fallback = "[]",
          .meaning = "Names or globs of the models it serves; empty: what its kind is known to serve."),
    FIELD(struct provider_view, dialects, FIELD_TEXTS, .max_items = 5, .choices = "chat|responses|messages|embeddings", .fallback = "[]",
          .meaning = "What it speaks; empty: what its kind speaks."),
    FIELD(struct provider_view, prices, FIELD_JSON, .max = 60000, .format = FORMAT_OBJECT, .flags = FIELD_NULLABLE,
          .meaning = "Prices of its own: MODEL: {input, output, cache_read, cache_write, cache_write_1h} in USD per million tokens, context and max_output in tokens."),
    FIELD(struct provider_view, has_key, FIELD_BOOL, .flags = FIELD_READONLY, .meaning = "Whether there is a key."),
    FIELD(struct provider_view, key_hint, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "The last four characters of the key."),
    FIELD(struct provider_view, is_enabled, FIELD_BOOL, .fallback = "true", .meaning = "Whether calls go to it."),
    FIELD(struct provider_view, origin, FIELD_ONE_OF, .choices = "database|file", .flags = FIELD_READONLY | FIELD_UNAUDITED,
          .meaning = "Where it is defined; one of the file is changed there."),
    FIELD(struct provider_view, created_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "When it was made."),
    FIELD(struct provider_view, updated_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_UNAUDITED | FIELD_NULLABLE, .meaning = "When it was changed last."),
    FIELD(struct provider_view, version, FIELD_INT, .flags = FIELD_READONLY | FIELD_UNAUDITED, .meaning = "Counts its changes."),
};
static const struct shape provider_shape = SHAPE("Provider", struct provider_view, fields, "A model provider that calls go to.");

/* --- rows --- */

static str json_or_none(struct arena *a, const struct texts *t) { return t->n ? texts_to_json(a, t->items, t->n) : (str){NULL, 0}; }

/* A list without members is a list all the same; NULL would be shown as none. */
static const str no_texts[1];
static void never_null(struct texts *t)
{
    if (!t->items)
        t->items = no_texts;
}

static enum errc read_row(struct arena *a, const struct val *row, struct provider_view *p, err *e)
{
    *p = (struct provider_view){
        .name = val_str(&row[0]),
        .id = val_uuid(&row[1]),
        .kind = val_str(&row[2]),
        .base_url = val_str(&row[3]),
        .sealed = val_str(&row[4]),
        .key_hint = val_str(&row[5]),
        .prices = val_str(&row[8]),
        .is_enabled = val_bool(&row[9]),
        .created_at = val_int(&row[10]),
        .updated_at = val_int(&row[11]),
        .version = val_int(&row[12]),
        .origin = S("database"),
    };
    p->has_key = p->sealed.len > 0;
    enum errc rc = admin_texts(a, val_str(&row[6]), &p->models, e);
    if (rc == ERR_NONE)
        rc = admin_texts(a, val_str(&row[7]), &p->dialects, e);
    never_null(&p->models);
    never_null(&p->dialects);
    return rc;
}

static enum errc get(struct api_request *r, struct tx *tx, struct provider_view *out, err *e)
{
    const struct val *row;
    enum errc rc = tx_query_row(tx, r->arena, &provider_get, PARAMS(v_uuid(&r->workspace_id), v_uuid(&r->path_id[0])), &row, e);
    return rc == ERR_NONE ? read_row(r->arena, row, out, e) : rc;
}

/* --- checks --- */

static void price_told(void *ctx, const struct json *where, const char *problem)
{
    struct api_request *r = ctx;
    (void)where;
    field_error_add(r->arena, &r->errors, S("prices"), "bad_format", "%s", problem);
}

/* What the field table cannot say. */
static enum errc check(struct api_request *r, const struct provider_view *p, err *e)
{
    const struct provider_kind *kind = provider_kind_find(p->kind);
    unsigned before = r->errors.n;
    struct json *prices;
    if (!kind)
        field_error_add(r->arena, &r->errors, S("kind"), "not_one_of", "must be one of %.*s", STR(provider_kind_names()));
    else if (!kind->base_url && !p->base_url.len)
        field_error_add(r->arena, &r->errors, S("base_url"), "required", "a provider of kind %.*s has no address of its own", STR(p->kind));
    if (p->api_key.len && !text_is_visible(p->api_key))
        field_error_add(r->arena, &r->errors, S("api_key"), "bad_format", "must have no spaces and only ASCII characters");
    if (p->prices.len) {
        enum errc rc = json_parse(r->arena, p->prices, &prices, e);
        if (rc != ERR_NONE)
            return rc;
        price_book_add_tree(NULL, p->name, prices, price_told, r);
    }
    return r->errors.n > before ? field_errors_sum(&r->errors, e) : ERR_NONE;
}

/* A name of the file is taken: it would win. */
static enum errc name_is_free(struct api_request *r, struct tx *tx, const struct provider_view *p, err *e)
{
    struct rows rows;
    struct snapshot *s;
    const struct workspace_view *w = admin_view(r, &s);
    bool is_of_file = false;
    for (unsigned i = 0; w && i < w->n_providers; i++)
        is_of_file |= w->providers[i]->is_from_file && str_eq(w->providers[i]->name, p->name);
    snapshot_put(s);
    if (is_of_file)
        return err_set(e, ERR_CONFLICT, "there is a provider called '%.*s' in the configuration file", STR(p->name));
    enum errc rc = tx_query(tx, r->arena, &provider_by_name, PARAMS(v_uuid(&r->workspace_id), v_text(p->name)), &rows, e);
    if (rc != ERR_NONE || !rows.n)
        return rc;
    uuid found = val_uuid(&row_at(&rows, 0)[0]);
    return memcmp(&found, &p->id, sizeof found) == 0 ? ERR_NONE
                                                     : err_set(e, ERR_CONFLICT, "there is a provider called '%.*s' already", STR(p->name));
}

static str hint_of(str key) { return key.len >= 12 ? str_skip(key, key.len - 4) : (str){NULL, 0}; }

static enum errc seal(struct api_request *r, const uuid *id, struct provider_view *p, err *e)
{
    const struct gateway *g = r->service;
    p->key_hint = hint_of(p->api_key);
    p->has_key = p->api_key.len > 0;
    p->sealed = (str){NULL, 0};
    return p->has_key ? secret_seal(g->backend.secrets, r->arena, "gateway_providers", id, "api_key", p->api_key, &p->sealed, e) : ERR_NONE;
}

/* --- list and show --- */

/* One of the file, as the snapshot has it. Its key cannot be read there. */
static void from_file(const struct provider *p, struct provider_view *v)
{
    bool has_own = p->has_own_models;
    *v = (struct provider_view){.id = p->id, .name = p->name, .kind = p->kind->name, .is_enabled = true, .origin = S("file"), .created_at = NO_VALUE,
                                .updated_at = NO_VALUE, .version = 1};
    v->models = (struct texts){has_own ? p->models : NULL, has_own ? p->n_models : 0};
    v->base_url = p->base_url;
    v->has_key = p->has_api_key;
}

static enum errc add_file(struct api_request *r, struct provider_view *out, unsigned *n, err *e)
{
    struct snapshot *s;
    const struct workspace_view *w = admin_view(r, &s);
    enum errc rc = ERR_NONE;
    for (unsigned i = 0; w && i < w->n_providers; i++) {
        if (!w->providers[i]->is_from_file)
            continue;
        struct provider_view *v = &out[(*n)++];
        from_file(w->providers[i], v);
        /* The snapshot may be gone before the answer is written. */
        str *models = v->models.items ? arena_news(r->arena, str, v->models.n + 1u) : NULL;
        for (unsigned k = 0; models && k < v->models.n; k++)
            models[k] = str_dup(r->arena, v->models.items[k]);
        v->models.items = models;
        never_null(&v->models);
        never_null(&v->dialects);
        v->name = str_dup(r->arena, v->name);
        v->base_url = str_dup(r->arena, v->base_url);
        if (!v->name.p || !v->base_url.p)
            rc = err_code(e, ERR_TOO_LARGE);
    }
    snapshot_put(s);
    return rc;
}

static unsigned n_of_file(struct api_request *r)
{
    struct snapshot *s;
    const struct workspace_view *w = admin_view(r, &s);
    unsigned n = 0;
    for (unsigned i = 0; w && i < w->n_providers; i++)
        n += w->providers[i]->is_from_file;
    snapshot_put(s);
    return n;
}

static enum errc list(struct api_request *r, struct tx *tx, err *e)
{
    struct keyset key = {.column = "name", .param = 't', .id_column = "id", .id_param = 'u', .cursor = r->cursor, .limit = r->limit};
    struct rows rows;
    unsigned n = 0, n_file = r->cursor.len ? 0 : n_of_file(r);
    enum errc rc = tx_list(tx, r->arena, &provider_list, PARAMS(v_uuid(&r->workspace_id)), NULL, 0, &key, &rows, &r->next_cursor, e);
    struct provider_view *all = rc == ERR_NONE ? arena_news(r->arena, struct provider_view, rows.n + n_file + 1u) : NULL;
    if (rc != ERR_NONE || !all)
        return rc != ERR_NONE ? rc : err_code(e, ERR_TOO_LARGE);
    if (n_file && (rc = add_file(r, all, &n, e)) != ERR_NONE)
        return rc;
    for (unsigned i = 0; i < rows.n && rc == ERR_NONE; i++)
        rc = read_row(r->arena, row_at(&rows, i), &all[n++], e);
    r->items = (struct objects){all, n};
    return rc;
}

static enum errc show(struct api_request *r, struct tx *tx, err *e)
{
    struct provider_view *p = arena_new(r->arena, struct provider_view);
    if (!p)
        return err_code(e, ERR_TOO_LARGE);
    enum errc rc = get(r, tx, p, e);
    r->answer = p;
    if (rc == ERR_NONE)
        r->etag = api_etag(r, p->version);
    return rc;
}

/* --- changes --- */

static enum errc create_prepare(struct api_request *r, err *e)
{
    struct provider_view *p = r->body;
    enum errc rc = check(r, p, e);
    if (rc != ERR_NONE)
        return rc;
    p->id = uuid7_make(r->now_us);
    p->created_at = p->updated_at = r->now_us;
    p->version = 1;
    p->origin = S("database");
    return seal(r, &p->id, p, e);
}

static enum errc create(struct api_request *r, struct tx *tx, err *e)
{
    const struct provider_view *p = r->body;
    struct event ev = admin_event(r, S("provider.created"), S("provider"), &p->id, &provider_shape, NULL, p);
    r->answer = r->body;
    r->location = api_location(r, "/api/gateway/providers/", &p->id);
    r->etag = api_etag(r, p->version);
    enum errc rc = name_is_free(r, tx, p, e);
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &provider_insert,
                     PARAMS(v_uuid(&r->workspace_id), v_uuid(&p->id), v_text(p->name), v_text(p->kind), v_text_or_null(p->base_url),
                            p->sealed.len ? v_blob(p->sealed) : v_null(), v_text_or_null(p->key_hint), v_text_or_null(json_or_none(r->arena, &p->models)),
                            v_text_or_null(json_or_none(r->arena, &p->dialects)), v_text_or_null(p->prices), v_int(p->is_enabled), v_int(p->created_at),
                            v_int(p->updated_at), v_int(p->version)),
                     NULL, e);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

/* The key is sealed before the unit, where randomness is allowed; its id is in the path. */
static enum errc change_prepare(struct api_request *r, err *e)
{
    struct provider_view *given = arena_new(r->arena, struct provider_view);
    const struct json *key = json_get(r->body_json, S("api_key"));
    if (!given)
        return err_code(e, ERR_TOO_LARGE);
    r->state = given;
    given->api_key = key && key->type == JSON_STRING ? key->text : (str){NULL, 0};
    return seal(r, &r->path_id[0], given, e);
}

static bool same_texts(const struct texts *a, const struct texts *b)
{
    bool is_same = a->n == b->n;
    for (unsigned i = 0; is_same && i < a->n; i++)
        is_same = str_eq(a->items[i], b->items[i]);
    return is_same;
}

static enum errc change(struct api_request *r, struct tx *tx, err *e)
{
    struct provider_view before, *after = arena_new(r->arena, struct provider_view);
    const struct provider_view *given = r->state;
    bool gives_key = json_get(r->body_json, S("api_key")) != NULL;
    if (!after)
        return err_code(e, ERR_TOO_LARGE);
    enum errc rc = get(r, tx, &before, e);
    if (rc != ERR_NONE || (rc = api_if_match(r, api_etag(r, before.version), e)) != ERR_NONE)
        return rc;
    *after = before;
    if (r->route->is_merge) {
        rc = api_merge(r, after, e);
    } else {
        const struct provider_view *body = r->body;
        after->name = body->name;
        after->kind = body->kind;
        after->base_url = body->base_url;
        after->models = body->models;
        after->dialects = body->dialects;
        after->prices = body->prices;
        after->is_enabled = body->is_enabled;
        after->api_key = body->api_key;
    }
    if (rc == ERR_NONE)
        rc = check(r, after, e);
    if (rc == ERR_NONE)
        rc = name_is_free(r, tx, after, e);
    if (rc != ERR_NONE)
        return rc;
    if (gives_key) {
        after->sealed = given->sealed;
        after->key_hint = given->key_hint;
        after->has_key = given->has_key;
    }
    r->answer = after;
    bool differs = gives_key || !str_eq(before.name, after->name) || !str_eq(before.kind, after->kind) || !str_eq(before.base_url, after->base_url) ||
                   !str_eq(before.prices, after->prices) || before.is_enabled != after->is_enabled || !same_texts(&before.models, &after->models) ||
                   !same_texts(&before.dialects, &after->dialects);
    if (differs) {
        after->updated_at = r->now_us;
        after->version++;
        struct event ev = admin_event(r, S("provider.updated"), S("provider"), &after->id, &provider_shape, &before, after);
        if (gives_key)
            ev.metadata = S("{\"api_key\":\"replaced\"}"); /* the hint may be the same, and is all that the members show */
        rc = tx_exec(tx, &provider_update,
                     PARAMS(v_text(after->name), v_text(after->kind), v_text_or_null(after->base_url), after->sealed.len ? v_blob(after->sealed) : v_null(),
                            v_text_or_null(after->key_hint), v_text_or_null(json_or_none(r->arena, &after->models)),
                            v_text_or_null(json_or_none(r->arena, &after->dialects)), v_text_or_null(after->prices), v_int(after->is_enabled),
                            v_int(after->updated_at), v_int(after->version), v_uuid(&r->workspace_id), v_uuid(&after->id)),
                     NULL, e);
        if (rc == ERR_NONE && gives_key && str_eq(before.key_hint, after->key_hint) && before.has_key == after->has_key)
            ev.shape = NULL; /* no member differs, and the fact is told all the same */
        if (rc == ERR_NONE)
            rc = tx_event(tx, &ev, e);
    }
    r->etag = api_etag(r, after->version);
    return rc;
}

static enum errc remove_provider(struct api_request *r, struct tx *tx, err *e)
{
    struct provider_view before;
    enum errc rc = get(r, tx, &before, e);
    if (rc != ERR_NONE || (rc = api_if_match(r, api_etag(r, before.version), e)) != ERR_NONE)
        return rc;
    struct event ev = admin_event(r, S("provider.deleted"), S("provider"), &before.id, &provider_shape, &before, NULL);
    rc = tx_exec(tx, &provider_delete, PARAMS(v_uuid(&r->workspace_id), v_uuid(&before.id)), NULL, e);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

/* --- POST …/:id/test --- */

struct provider_test {
    bool is_ok;
    int64_t status;
    int64_t latency_ms;
    str detail;
    struct texts models;
};
static const struct field test_fields[] = {
    FIELD(struct provider_test, is_ok, FIELD_BOOL, .flags = FIELD_READONLY, .meaning = "Whether it gave the list of its models."),
    FIELD(struct provider_test, status, FIELD_INT, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "HTTP status of its answer; null: there was none."),
    FIELD(struct provider_test, latency_ms, FIELD_INT, .flags = FIELD_READONLY, .meaning = "How long it took."),
    FIELD(struct provider_test, detail, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "What came of it, for people."),
    FIELD(struct provider_test, models, FIELD_TEXTS, .max_items = TEST_MODELS_MAX, .flags = FIELD_READONLY, .meaning = "The models that it lists."),
};
static const struct shape test_shape = SHAPE("ProviderTest", struct provider_test, test_fields, "What came of a live test.");

struct provider_row {
    struct api_request *r;
    struct provider_view view;
};

static enum errc load_unit(struct tx *tx, void *ctx, err *e)
{
    struct provider_row *x = ctx;
    return get(x->r, tx, &x->view, e);
}

/* The names in {"data": [{"id": …}]}, which both dialects' lists have. */
static void read_models(struct arena *a, str body, struct texts *out)
{
    struct json *root;
    if (json_parse(a, body, &root, NULL) != ERR_NONE)
        return;
    const struct json *list = json_get(root, S("data"));
    str *names = list && list->type == JSON_ARRAY ? arena_news(a, str, list->n + 1u) : NULL;
    for (const struct json *item = names ? list->child : NULL; item && out->n < TEST_MODELS_MAX; item = item->next) {
        const struct json *id = json_get(item, S("id"));
        if (id && id->type == JSON_STRING)
            names[out->n++] = id->text;
    }
    out->items = names;
}

/* What a provider says of an error, without repeating much of a foreign text. */
static str error_of(struct arena *a, str body)
{
    struct json *root;
    if (json_parse(a, body, &root, NULL) != ERR_NONE)
        return S("");
    const struct json *message = json_at(root, S("error.message"));
    return message && message->type == JSON_STRING ? str_take(message->text, 300) : S("");
}

static enum errc test_prepare(struct api_request *r, err *e)
{
    struct gateway *g = r->service;
    struct provider_row x = {.r = r};
    struct provider_test *t = arena_new(r->arena, struct provider_test);
    str key = S("");
    if (!t)
        return err_code(e, ERR_TOO_LARGE);
    enum errc rc = db_read(store_db(r->store, DB_MAIN), load_unit, &x, e);
    if (rc == ERR_NONE && x.view.sealed.len)
        rc = secret_open(g->backend.secrets, r->arena, "gateway_providers", &x.view.id, "api_key", x.view.sealed, &key, e);
    const struct provider_kind *kind = rc == ERR_NONE ? provider_kind_find(x.view.kind) : NULL;
    if (rc != ERR_NONE || !kind)
        return rc != ERR_NONE ? rc : err_set(e, ERR_INVALID, "the kind of this provider is not known");
    str base = x.view.base_url.len ? x.view.base_url : str_c(kind->base_url);
    while (base.len && base.p[base.len - 1] == '/')
        base.len--;
    bool is_anthropic = kind->auth == AUTH_X_API_KEY;
    bool needs_version = is_anthropic && !str_ends(base, S("/v1"));
    struct fetch_field fields_of[3];
    struct fetch_request request = {
        .url = arena_printf(r->arena, "%.*s%s/models", STR(base), needs_version ? "/v1" : ""),
        .fields = fields_of,
        .answer_max = TEST_ANSWER_MAX,
        .deadline_ms = TEST_DEADLINE_MS,
        .allows_local = true, /* a provider is an administrator's own target */
    };
    if (key.len && kind->auth == AUTH_BEARER)
        fields_of[request.n_fields++] = (struct fetch_field){S("Authorization"), arena_printf(r->arena, "Bearer %.*s", STR(key)), true};
    else if (key.len)
        fields_of[request.n_fields++] = (struct fetch_field){is_anthropic ? S("x-api-key") : S("api-key"), key, true};
    if (is_anthropic)
        fields_of[request.n_fields++] = (struct fetch_field){S("anthropic-version"), S("2023-06-01"), false};
    struct snapshot *s = gateway_snapshot(g);
    struct fetch_answer answer = {0};
    err why = {0};
    usec begin = clock_mono_us();
    enum errc came = fetch(s->base->outbound, r->arena, &request, &answer, &why);
    snapshot_put(s);
    t->latency_ms = (clock_mono_us() - begin) / USEC_PER_MS;
    t->status = came == ERR_NONE ? answer.status : NO_VALUE;
    t->models.items = arena_news(r->arena, str, 1);
    if (came != ERR_NONE) {
        t->detail = str_dup(r->arena, str_c(why.msg));
    } else if (answer.status == 200) {
        t->is_ok = true;
        read_models(r->arena, answer.body, &t->models);
        t->detail = arena_printf(r->arena, "it answers, and lists %u models", t->models.n);
    } else {
        str said = error_of(r->arena, answer.body);
        const char *meaning = answer.status == 401 || answer.status == 403 ? "it does not take the key" : answer.status == 404 ? "there is no list of models at this address" : "it answers with an error";
        t->detail = arena_printf(r->arena, "%s (%d)%s%.*s", meaning, answer.status, said.len ? ": " : "", STR(said));
    }
    r->answer = t;
    return ERR_NONE;
}

static enum errc test_apply(struct api_request *r, struct tx *tx, err *e)
{
    const struct provider_test *t = r->answer;
    struct event ev = admin_event(r, S("provider.tested"), S("provider"), &r->path_id[0], NULL, NULL, NULL);
    if (!t->is_ok)
        ev.status = S("failure");
    return tx_event(tx, &ev, e);
}

/* --- kinds --- */

struct kind_view {
    str name, base_url;
    bool needs_key, is_local;
    struct texts dialects;
};
static const struct field kind_fields[] = {
    FIELD(struct kind_view, name, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "Its name."),
    FIELD(struct kind_view, base_url, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "Where it is; null: it must be given."),
    FIELD(struct kind_view, needs_key, FIELD_BOOL, .flags = FIELD_READONLY, .meaning = "Whether it takes no calls without a key."),
    FIELD(struct kind_view, is_local, FIELD_BOOL, .flags = FIELD_READONLY, .meaning = "Whether it runs on one's own machine, where calls cost nothing."),
    FIELD(struct kind_view, dialects, FIELD_TEXTS, .max_items = 5, .flags = FIELD_READONLY, .meaning = "What it speaks."),
};
static const struct shape kind_shape = SHAPE("ProviderKind", struct kind_view, kind_fields, "A kind of provider that is known.");

static enum errc kinds_list(struct api_request *r, struct tx *tx, err *e)
{
    unsigned n = 0;
    const struct provider_kind *kinds = provider_kinds(&n);
    struct kind_view *views = arena_news(r->arena, struct kind_view, n);
    (void)tx;
    for (unsigned i = 0; views && i < n; i++) {
        str *dialects = arena_news(r->arena, str, DIALECTS);
        unsigned k = 0;
        for (unsigned d = 0; dialects && d < DIALECTS; d++)
            if (kinds[i].dialects & DIALECT_BIT(d) && d != DIALECT_COUNT_TOKENS)
                dialects[k++] = str_c(dialect_name((enum dialect)d));
        views[i] = (struct kind_view){.name = kinds[i].name, .base_url = str_c(kinds[i].base_url), .needs_key = !kinds[i].is_local && !str_eq(kinds[i].name, S("compatible")),
                                      .is_local = kinds[i].is_local, .dialects = {dialects, k}};
    }
    r->items = (struct objects){views, n};
    return views ? ERR_NONE : err_code(e, ERR_TOO_LARGE);
}

#define PROVIDER_ROUTE(method_, path_, name_) \
    .method = method_, .path = path_, .name = name_, .access = ACCESS_PERMISSION, .permission = PERMISSION_LLM_PROVIDERS, .scope = SCOPE_WORKSPACE
static const struct api_route routes[] = {
    {PROVIDER_ROUTE(HTTP_GET, "/api/gateway/providers", "gateway_providers_list"), .answer = &provider_shape, .is_list = true,
     .summary = "Providers by name", .text = "Those of the configuration file come first.", .apply = list},
    {PROVIDER_ROUTE(HTTP_POST, "/api/gateway/providers", "gateway_providers_create"), .effect = EFFECT_STATE, .body = &provider_shape,
     .answer = &provider_shape, .status = 201, .body_max = 128 << 10, .summary = "Adds a provider", .prepare = create_prepare, .apply = create,
     .after = admin_after},
    {PROVIDER_ROUTE(HTTP_GET, "/api/gateway/providers/:id", "gateway_providers_show"), .resource = &provider_resource, .answer = &provider_shape,
     .summary = "A provider", .text = "Its key is never shown.", .apply = show},
    {PROVIDER_ROUTE(HTTP_PUT, "/api/gateway/providers/:id", "gateway_providers_replace"), .effect = EFFECT_STATE, .resource = &provider_resource,
     .body = &provider_shape, .answer = &provider_shape, .body_max = 128 << 10, .summary = "Replaces a provider",
     .text = "Without api_key the key that it has stays.", .prepare = change_prepare, .apply = change, .after = admin_after},
    {PROVIDER_ROUTE(HTTP_PATCH, "/api/gateway/providers/:id", "gateway_providers_change"), .effect = EFFECT_STATE, .resource = &provider_resource,
     .body = &provider_shape, .is_merge = true, .answer = &provider_shape, .body_max = 128 << 10, .summary = "Changes a provider",
     .text = "Without api_key the key that it has stays; null takes it away.", .prepare = change_prepare, .apply = change, .after = admin_after},
    {PROVIDER_ROUTE(HTTP_DELETE, "/api/gateway/providers/:id", "gateway_providers_delete"), .effect = EFFECT_STATE, .resource = &provider_resource,
     .status = 204, .summary = "Deletes a provider", .text = "Calls under way end in their time.", .apply = remove_provider, .after = admin_after},
    {PROVIDER_ROUTE(HTTP_POST, "/api/gateway/providers/:id/test", "gateway_providers_test"), .effect = EFFECT_STATE, .resource = &provider_resource,
     .answer = &test_shape, .is_idempotent_exempt = true, .summary = "Asks a provider for its models",
     .text = "Shows whether it can be reached and takes the key; it costs no tokens.", .prepare = test_prepare, .apply = test_apply},
    {.method = HTTP_GET, .path = "/api/gateway/kinds", .name = "gateway_kinds_list", .access = ACCESS_PERMISSION,
     .permission = PERMISSION_OPTIMIZER_READ, .scope = SCOPE_WORKSPACE, .answer = &kind_shape, .is_list = true,
     .summary = "Kinds of providers that are known", .apply = kinds_list},
};
const struct api_table gateway_providers_api = {"gateway", routes, LENGTH_OF(routes)};
