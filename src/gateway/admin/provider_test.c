/* The live test of a provider: its list of models, asked for with its key. */
#include <stdio.h>

#include "base/utf8.h"
#include "gateway/admin/admin.h"
#include "net/fetch.h"
#include "net/url.h"

#define CONNECT_MS 5000
#define DEADLINE_MS 15000
#define ANSWER_MAX (4u << 20)
#define LISTED_MAX 1000
#define SAID_MAX 160 /* bytes of a provider's own words that are repeated */

struct provider_test {
    bool is_ok;
    int64_t status, latency_ms;
    str detail;
    struct texts models;
};
static const struct field test_fields[] = {
    FIELD(struct provider_test, is_ok, FIELD_BOOL, .flags = FIELD_READONLY,
          .meaning = "Whether it answered with a list of models."),
    FIELD(struct provider_test, status, FIELD_INT, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "HTTP status of its answer; null: there was none."),
    FIELD(struct provider_test, latency_ms, FIELD_INT, .flags = FIELD_READONLY,
          .meaning = "Time until the answer was there, connecting included."),
    FIELD(struct provider_test, detail, FIELD_TEXT, .flags = FIELD_READONLY,
          .meaning = "What went well, or exactly what went wrong."),
    FIELD(struct provider_test, models, FIELD_TEXTS, .flags = FIELD_READONLY,
          .meaning = "Models that it says it has."),
};
const struct shape provider_test_shape =
    SHAPE("ProviderTest", struct provider_test, test_fields, "How a provider answered.");

/* As calls are sent (snapshot_build.c): both forms of a base URL are understood. */
static str models_url(struct arena *a, const struct provider_target_spec *t, bool is_anthropic)
{
    str base = t->base_url, query = {NULL, 0};
    ptrdiff_t mark = str_chr(base, '?');
    if (mark >= 0) {
        query = str_skip(base, (size_t)mark + 1);
        base = str_take(base, (size_t)mark);
    }
    while (base.len && base.p[base.len - 1] == '/')
        base.len--;
    ptrdiff_t after_scheme = str_find(base, S("://"));
    bool has_path = after_scheme >= 0 && str_chr(str_skip(base, (size_t)after_scheme + 3), '/') >= 0;
    bool wants_version = is_anthropic ? !str_ends(base, S("/v1")) : !has_path;
    return arena_printf(a, "%.*s%s/models%s%.*s%s", STR(base), wants_version ? "/v1" : "",
                        query.len || is_anthropic ? "?" : "", STR(query),
                        is_anthropic ? (query.len ? "&limit=1000" : "limit=1000") : "");
}

static unsigned auth_fields(struct arena *a, const struct provider_target_spec *t, struct fetch_field out[3])
{
    unsigned n = 0;
    if (t->kind->auth == AUTH_X_API_KEY)
        out[n++] = (struct fetch_field){S("anthropic-version"), S("2023-06-01"), false};
    if (!t->api_key.len) return n;
    if (t->kind->auth == AUTH_BEARER)
        out[n++] =
            (struct fetch_field){S("Authorization"), arena_printf(a, "Bearer %.*s", STR(t->api_key)), true};
    else
        out[n++] = (struct fetch_field){t->kind->auth == AUTH_X_API_KEY ? S("x-api-key") : S("api-key"),
                                        t->api_key, true};
    return n;
}

/* --- what it said --- */

static const struct json *list_in(const struct json *tree)
{
    if (!tree || tree->type == JSON_ARRAY) return tree;
    const struct json *list = json_get(tree, S("data"));
    if (!list) list = json_get(tree, S("models"));
    return list && list->type == JSON_ARRAY ? list : NULL;
}

static str name_in(const struct json *item)
{
    const struct json *name = item->type == JSON_OBJECT ? json_get(item, S("id")) : item;
    if (!name) name = json_get(item, S("name"));
    return name && name->type == JSON_STRING ? name->text : (str){NULL, 0};
}

static enum errc take_models(struct arena *a, const struct json *list, struct texts *out, err *e)
{
    str *items = arena_news(a, str, list->n < LISTED_MAX ? list->n + 1 : LISTED_MAX);
    if (!items) return err_code(e, ERR_TOO_LARGE);
    *out = (struct texts){items, 0};
    for (const struct json *item = list->child; item && out->n < LISTED_MAX; item = item->next) {
        str name = name_in(item);
        if (name.len && name.len <= NAME_LEN_MAX) items[out->n++] = name;
    }
    return ERR_NONE;
}

/* Its own words about an error, unless they repeat the key. */
static str said(const struct json *tree, str key)
{
    const struct json *error = json_get(tree, S("error")), *text = json_get(error, S("message"));
    if (!text) text = error ? error : json_get(tree, S("message"));
    if (!text) text = json_get(tree, S("detail"));
    if (!text || text->type != JSON_STRING || (key.len && str_find(text->text, key) >= 0))
        return (str){NULL, 0};
    str line = str_trim(utf8_take(text->text, SAID_MAX));
    for (size_t i = 0; i < line.len; i++)
        if ((unsigned char)line.p[i] < 0x20) return str_take(line, i);
    return line;
}

static const char *meaning_of(int status, bool has_key)
{
    if (status == 401 || status == 403)
        return has_key ? "it does not take the key" : "it wants a key, and none is set";
    if (status == 404 || status == 405) return "it has no list of models there: is the base URL right?";
    if (status == 429) return "it takes no more requests for now";
    if (status >= 500) return "it has an error of its own";
    if (status >= 300 && status < 400) return "it leads to another address: set the base URL to that";
    return "it refuses the request";
}

static enum errc judge(struct api_request *r, const struct provider_target_spec *target, str url,
                       const struct fetch_answer *answer, struct provider_test *t, err *e)
{
    struct json *tree = NULL;
    err ignored = {0};
    if (json_parse(r->arena, answer->body, &tree, &ignored) != ERR_NONE) tree = NULL;
    const struct json *list = list_in(tree);
    t->status = answer->status;
    if (answer->status < 200 || answer->status > 299) {
        str words = said(tree, target->api_key);
        t->detail = arena_printf(r->arena, "%.*s answered %d: %s%s%.*s", STR(url), answer->status,
                                 meaning_of(answer->status, target->api_key.len > 0),
                                 words.len ? ". It says: " : "", STR(words));
    } else if (!list) {
        str type = fetch_answer_field(answer, S("content-type"));
        t->detail =
            arena_printf(r->arena,
                         "%.*s answered %d with something that is no list of models (%.*s): is this the "
                         "address of an API?",
                         STR(url), answer->status, STR(type.len ? utf8_take(type, 60) : S("no type")));
    } else {
        enum errc rc = take_models(r->arena, list, &t->models, e);
        if (rc != ERR_NONE) return rc;
        t->is_ok = true;
        t->detail = arena_printf(r->arena, "%.*s lists %u model%s", STR(url), t->models.n,
                                 t->models.n == 1 ? "" : "s");
    }
    return t->detail.p ? ERR_NONE : err_code(e, ERR_TOO_LARGE);
}

enum errc provider_try(struct api_request *r, const struct provider_target_spec *target, err *e)
{
    static const str nothing[1];
    struct provider_test *t = arena_new(r->arena, struct provider_test);
    struct fetch_field fields[3];
    struct fetch_answer answer = {0};
    err why = {0};
    if (!t) return err_code(e, ERR_TOO_LARGE);
    *t = (struct provider_test){.status = NO_VALUE, .models = {nothing, 0}};
    r->state = t;
    if (!target->kind || !target->base_url.len) {
        t->detail = S("its kind is not known to this release, or it has no base URL");
        return ERR_NONE;
    }
    str url = models_url(r->arena, target, target->kind->auth == AUTH_X_API_KEY);
    struct fetch_request request = {
        .url = url,
        .fields = fields,
        .n_fields = auth_fields(r->arena, target, fields),
        .answer_max = ANSWER_MAX,
        .connect_timeout_ms = CONNECT_MS,
        .deadline_ms = DEADLINE_MS,
        .allows_local = true, /* as calls: an administrator's own target */
    };
    struct snapshot *held = gateway_snapshot(gateway_of(r));
    usec begin = clock_mono_us();
    enum errc rc = fetch(held->base->outbound, r->arena, &request, &answer, &why);
    t->latency_ms = (clock_mono_us() - begin) / USEC_PER_MS;
    snapshot_put(held);
    if (rc == ERR_NONE) return judge(r, target, url, &answer, t, e);
    t->detail = arena_printf(r->arena, "%s", why.msg);
    return t->detail.p ? ERR_NONE : err_code(e, ERR_TOO_LARGE);
}

str provider_test_metadata(struct api_request *r)
{
    const struct provider_test *t = r->state;
    return t->status == NO_VALUE
               ? arena_printf(r->arena, "{\"is_ok\":%s,\"status\":null}", t->is_ok ? "true" : "false")
               : arena_printf(r->arena, "{\"is_ok\":%s,\"status\":%lld}", t->is_ok ? "true" : "false",
                              (long long)t->status);
}
