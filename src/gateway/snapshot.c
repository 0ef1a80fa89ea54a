#include "gateway/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/keytext.h"
#include "base/log.h"
#include "net/url.h"

#define SNAPSHOT_LIMIT (256u << 20)
#define KNOWN_MODELS_LEN 150  /* an error message has room for so much of the list */
#define API_KEY_MAX 4096

struct loader {
    struct snapshot *s;
    struct arena *a;
    const struct config *config;
    struct buf *problems;
    bool failed;
    err memory;
};

static void problem(struct loader *l, const struct json *where, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void problem(struct loader *l, const struct json *where, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    buf_addf(l->problems, "%.*s: %s\n", STR(config_where(l->config, l->a, where)), text);
    l->failed = true;
}

/* Text that can stand in a header field. */
static bool is_visible(str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.p[i] <= 0x20 || (unsigned char)s.p[i] >= 0x7f)
            return false;
    return s.len > 0;
}

/* --- providers --- */

static str read_key_file(struct loader *l, const struct json *entry, str name)
{
    const char *path = config_path(l->config, l->a, name);
    char line[API_KEY_MAX];
    FILE *f = path ? fopen(path, "re") : NULL;
    if (!f || !fgets(line, sizeof line, f)) {
        problem(l, entry, "api_key_file %s: %s", path ? path : "", f ? "the file is empty" : strerror(errno));
        line[0] = '\0';
    }
    if (f)
        fclose(f);
    str key = str_dup(l->a, str_trim(str_c(line)));
    explicit_bzero(line, sizeof line);
    return key;
}

static str provider_key(struct loader *l, const struct json *entry)
{
    str text = config_entry_text(l->config, entry, "providers[].api_key");
    str env = config_entry_text(l->config, entry, "providers[].api_key_env");
    str file = config_entry_text(l->config, entry, "providers[].api_key_file");
    if ((text.len > 0) + (env.len > 0) + (file.len > 0) > 1) {
        problem(l, entry, "give one of api_key, api_key_env and api_key_file, not several");
        return S("");
    }
    if (env.len) {
        const char *name = str_to_c(l->a, env), *value = name ? getenv(name) : NULL;
        if (!value || !*value)
            problem(l, json_get(entry, S("api_key_env")), "the environment variable %.*s is not set", STR(env));
        text = str_trim(str_c(value ? value : ""));
    } else if (file.len) {
        text = read_key_file(l, json_get(entry, S("api_key_file")), file);
    }
    if (text.len && !is_visible(text)) {
        problem(l, entry, "the API key contains spaces or control characters");
        return S("");
    }
    return text;
}

static unsigned provider_dialects(struct loader *l, const struct json *entry, unsigned fallback)
{
    const struct json *list = json_get(entry, S("dialects"));
    unsigned set = 0;
    if (!list)
        return fallback;
    for (const struct json *item = list->child; item; item = item->next) {
        enum dialect d;
        if (!dialect_parse(item->text, &d))
            problem(l, item, "'%.*s' is not a dialect; use chat, responses, messages or embeddings", STR(item->text));
        else
            set |= DIALECT_BIT(d) | (d == DIALECT_MESSAGES ? DIALECT_BIT(DIALECT_COUNT_TOKENS) : 0);
    }
    return set;
}

static void provider_models(struct loader *l, struct provider *p, const struct json *entry)
{
    const struct json *list = json_get(entry, S("models"));
    str rest = p->kind->models;
    unsigned n = list ? list->n : 0;
    if (!list)
        for (str cut = rest; cut.len; str_cut(&cut, ' '))
            n++;
    p->models = arena_news(l->a, str, n + 1u);
    if (!p->models) {
        problem(l, entry, "out of memory");
        return;
    }
    p->has_own_models = list != NULL;
    if (list) {
        for (const struct json *item = list->child; item; item = item->next)
            p->models[p->n_models++] = item->text;
    } else {
        while (rest.len)
            p->models[p->n_models++] = str_cut(&rest, ' ');
    }
}

static void provider_request_parts(struct loader *l, struct provider *p, const struct url *url, str key)
{
    static const char *const suffix[DIALECTS] = {
        [DIALECT_CHAT] = "/chat/completions",      [DIALECT_RESPONSES] = "/responses",
        [DIALECT_EMBEDDINGS] = "/embeddings",      [DIALECT_MESSAGES] = "/messages",
        [DIALECT_COUNT_TOKENS] = "/messages/count_tokens",
    };
    static const char *const auth_field[] = {
        [AUTH_BEARER] = "Authorization: Bearer ", [AUTH_X_API_KEY] = "x-api-key: ", [AUTH_API_KEY] = "api-key: "};
    str path = url->path;
    while (path.len && path.p[path.len - 1] == '/')
        path.len--;
    for (unsigned d = 0; d < DIALECTS; d++) {
        /* OpenAI's SDKs take a base URL that ends in /v1, Anthropic's one without: both forms are understood for both. */
        bool is_anthropic = d == DIALECT_MESSAGES || d == DIALECT_COUNT_TOKENS;
        const char *version = (is_anthropic && !str_ends(path, S("/v1"))) || (!is_anthropic && !path.len) ? "/v1" : "";
        p->request_line[d] = arena_printf(l->a, "POST %.*s%s%s", STR(path), version, suffix[d]);
    }
    p->base_query = url->query;
    bool is_default_port = url->port == (url->is_tls ? 443 : 80);
    str host = url->is_ipv6 ? arena_printf(l->a, "[%.*s]", STR(url->host)) : url->host;
    if (!is_default_port)
        host = arena_printf(l->a, "%.*s:%u", STR(host), url->port);
    p->fixed_fields = arena_printf(l->a, " HTTP/1.1\r\nHost: %.*s\r\nAccept-Encoding: identity\r\n%s%.*s%s", STR(host),
                                   key.len ? auth_field[p->kind->auth] : "", STR(key), key.len ? "\r\n" : "");
}

static uint64_t time_limit(struct loader *l, const struct json *entry, const char *member, const char *own, const char *common)
{
    int64_t ms = json_get(entry, str_c(member)) ? config_entry_int(l->config, entry, own) : config_int(l->config, common);
    return (uint64_t)ms;
}

static void provider_target(struct loader *l, struct provider *p, const struct json *entry, const struct url *url)
{
    p->target = (struct client_target){
        .host = str_to_c(l->a, url->host),
        .port = url->port,
        .tls = url->is_tls ? l->s->tls : NULL,
        .connect_timeout_ms = time_limit(l, entry, "connect_timeout_ms", "providers[].connect_timeout_ms", "upstream.connect_timeout_ms"),
        .first_byte_timeout_ms =
            time_limit(l, entry, "first_byte_timeout_ms", "providers[].first_byte_timeout_ms", "upstream.first_byte_timeout_ms"),
        .stall_timeout_ms = time_limit(l, entry, "stall_timeout_ms", "providers[].stall_timeout_ms", "upstream.stall_timeout_ms"),
        .total_timeout_ms = time_limit(l, entry, "total_timeout_ms", "providers[].total_timeout_ms", "upstream.total_timeout_ms"),
        .idle_timeout_ms = (uint64_t)config_int(l->config, "upstream.idle_timeout_ms"),
        .idle_connections = (unsigned)config_int(l->config, "upstream.idle_connections"),
    };
}

static void provider_prices(struct loader *l, const struct provider *p, const struct json *entry)
{
    static const struct {
        str name;
        enum price_unit unit;
    } units[] = {{STR_LIT("input"), PRICE_INPUT},
                 {STR_LIT("output"), PRICE_OUTPUT},
                 {STR_LIT("cache_read"), PRICE_CACHE_READ},
                 {STR_LIT("cache_write"), PRICE_CACHE_WRITE},
                 {STR_LIT("cache_write_1h"), PRICE_CACHE_WRITE_1H}};
    const struct json *models = json_get(entry, S("prices"));
    if (models && models->type != JSON_OBJECT) {
        problem(l, models, "prices must be MODEL: {input: …, output: …}");
        return;
    }
    for (const struct json *model = models ? models->child : NULL; model; model = model->next) {
        if (model->type != JSON_OBJECT) {
            problem(l, model, "the prices of '%.*s' must be {input: …, output: …}", STR(model->name));
            continue;
        }
        for (const struct json *price = model->child; price; price = price->next) {
            unsigned u = 0;
            int64_t pico;
            err e = {0};
            while (u < LENGTH_OF(units) && !str_eq(units[u].name, price->name))
                u++;
            if (u == LENGTH_OF(units))
                problem(l, price, "'%.*s' is not a price; use input, output, cache_read, cache_write or cache_write_1h", STR(price->name));
            else if ((price->type != JSON_STRING && price->type != JSON_NUMBER) || !money_parse(price->text, 6, &pico) || pico < 0)
                problem(l, price, "the price '%.*s' must be USD per million tokens with at most six decimal places", STR(price->text));
            else if (price_book_add(l->s->prices, p->name, model->name, 0, units[u].unit, pico, &e) != ERR_NONE)
                problem(l, price, "%s", e.msg);
        }
    }
}

static bool is_name(str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];
        bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
        if (!is_word)
            return false;
    }
    return s.len > 0 && s.len <= 64;
}

static void load_provider(struct loader *l, const struct json *entry)
{
    struct snapshot *s = l->s;
    struct provider *p = &s->providers[s->n_providers];
    str kind = config_entry_text(l->config, entry, "providers[].kind");
    err e = {0};
    *p = (struct provider){.name = config_entry_text(l->config, entry, "providers[].name"), .index = s->n_providers};
    if (!is_name(p->name)) {
        problem(l, entry, "the provider name '%.*s' must be 1 to 64 letters, digits, '-', '_' or '.'", STR(p->name));
        return;
    }
    for (unsigned i = 0; i < s->n_providers; i++)
        if (str_eq(s->providers[i].name, p->name)) {
            problem(l, entry, "there are two providers named '%.*s'", STR(p->name));
            return;
        }
    p->kind = provider_kind_find(kind);
    if (!p->kind) {
        problem(l, json_get(entry, S("kind")), "'%.*s' is not a kind of provider; use one of %.*s", STR(kind), STR(provider_kind_names()));
        return;
    }
    str base = config_entry_text(l->config, entry, "providers[].base_url");
    if (!base.len && !p->kind->base_url) {
        problem(l, entry, "a provider of kind %.*s needs a base_url", STR(kind));
        return;
    }
    if (!base.len)
        base = str_c(p->kind->base_url);
    struct url url;
    if (url_parse(base, &url, &e) != ERR_NONE) {
        problem(l, json_get(entry, S("base_url")), "base_url: %s", e.msg);
        return;
    }
    str key = provider_key(l, entry);
    p->dialects = provider_dialects(l, entry, p->kind->dialects);
    provider_models(l, p, entry);
    provider_target(l, p, entry, &url);
    provider_request_parts(l, p, &url, key);
    provider_prices(l, p, entry);
    s->n_providers++;
}

/* --- aliases and keys --- */

static const struct provider *provider_named(const struct snapshot *s, str name)
{
    for (unsigned i = 0; i < s->n_providers; i++)
        if (str_eq(s->providers[i].name, name))
            return &s->providers[i];
    return NULL;
}

/* "provider/model" with a configured provider's name in front. */
static const struct provider *split_provider(const struct snapshot *s, str *model)
{
    ptrdiff_t slash = str_chr(*model, '/');
    const struct provider *p = slash > 0 ? provider_named(s, str_take(*model, (size_t)slash)) : NULL;
    if (p)
        *model = str_skip(*model, (size_t)slash + 1);
    return p;
}

static void load_aliases(struct loader *l)
{
    const struct json *map = config_tree(l->config, "aliases");
    for (const struct json *item = map ? map->child : NULL; item; item = item->next) {
        struct alias *alias = arena_new(l->a, struct alias);
        if (!alias) {
            problem(l, item, "out of memory");
            return;
        }
        alias->name = item->name;
        alias->model = item->text;
        alias->provider = split_provider(l->s, &alias->model);
        if (!alias->model.len || !alias->name.len)
            problem(l, item, "an alias needs a name and a model: NAME: MODEL or NAME: PROVIDER/MODEL");
        else if (map_put(&l->s->aliases, alias->name, alias) != ERR_NONE)
            problem(l, item, "out of memory");
    }
}

static void load_key(struct loader *l, const struct json *entry)
{
    struct virtual_key *key = arena_new(l->a, struct virtual_key);
    str text = config_entry_text(l->config, entry, "keys[].key");
    str hash = config_entry_text(l->config, entry, "keys[].key_sha256");
    bool is_sound;
    if (!key) {
        problem(l, entry, "out of memory");
        return;
    }
    key->name = config_entry_text(l->config, entry, "keys[].name");
    key->project = config_entry_text(l->config, entry, "keys[].project");
    if ((text.len > 0) == (hash.len > 0)) {
        problem(l, entry, "key '%.*s' needs either key or key_sha256; `catalyst key new` makes one", STR(key->name));
        return;
    }
    if (hash.len && !hex_decode(hash, key->sha256, SHA256_LEN)) {
        problem(l, json_get(entry, S("key_sha256")), "key_sha256 must be 64 hex digits");
        return;
    }
    if (text.len) {
        enum keytext_kind kind = keytext_kind(text, &is_sound);
        if (kind == KEYTEXT_MANAGEMENT) {
            problem(l, json_get(entry, S("key")), "key '%.*s' is a management key (cat_…); the gateway takes virtual keys (cvk_…)",
                    STR(key->name));
            return;
        }
        if (!is_visible(text)) {
            problem(l, json_get(entry, S("key")), "key '%.*s' contains spaces or control characters", STR(key->name));
            return;
        }
        if (!is_sound)
            log_event(LOG_WARN, "weak_key", LOG_S("key", key->name),
                      LOG_S("reason", S("not in the form that `catalyst key new` makes: it may be easy to guess, and typos cannot be told")));
        sha256(text, key->sha256);
    }
    memcpy(key->id, key->sha256, sizeof key->id);
    str digest = str_of((const char *)key->sha256, SHA256_LEN);
    if (map_get(&l->s->keys, digest))
        problem(l, entry, "key '%.*s' is the same as another one", STR(key->name));
    else if (map_put(&l->s->keys, digest, key) != ERR_NONE)
        problem(l, entry, "out of memory");
}

const struct virtual_key *snapshot_key(const struct snapshot *s, str text)
{
    uint8_t digest[SHA256_LEN];
    if (!text.len)
        return NULL;
    sha256(text, digest);
    const struct virtual_key *key = map_get(&s->keys, str_of((const char *)digest, SHA256_LEN));
    /* The map compares hashes of the secret, which tell nothing useful about it; the last word is in constant time all the same. */
    return key && secret_eq(str_of((const char *)key->sha256, SHA256_LEN), str_of((const char *)digest, SHA256_LEN)) ? key : NULL;
}

/* --- routing --- */

const char *dialect_endpoint(enum dialect d)
{
    static const char *const endpoints[DIALECTS] = {
        [DIALECT_CHAT] = "POST /v1/chat/completions",
        [DIALECT_RESPONSES] = "POST /v1/responses",
        [DIALECT_EMBEDDINGS] = "POST /v1/embeddings",
        [DIALECT_MESSAGES] = "POST /v1/messages",
        [DIALECT_COUNT_TOKENS] = "POST /v1/messages/count_tokens",
    };
    return endpoints[d];
}

static bool serves(const struct provider *p, str model)
{
    for (unsigned i = 0; i < p->n_models; i++)
        if (str_glob(p->models[i], model))
            return true;
    return false;
}

static bool speaks(const struct provider *p, enum dialect d) { return p->dialects & DIALECT_BIT(d); }

/* The provider of a model: the first that names it and speaks the dialect; else the first that names it. */
static const struct provider *named_by_rule(const struct snapshot *s, enum dialect d, str model)
{
    const struct provider *silent = NULL;
    for (unsigned i = 0; i < s->n_providers; i++) {
        const struct provider *p = &s->providers[i];
        if (!serves(p, model))
            continue;
        if (speaks(p, d))
            return p;
        if (!silent)
            silent = p;
    }
    return silent;
}

/* A name that no rule names goes to the only provider that could serve it: one without rules at all; failing that, one whose rules are
 * only its kind's defaults. */
static const struct provider *only_candidate(const struct snapshot *s, enum dialect d)
{
    for (int defaults_too = 0; defaults_too < 2; defaults_too++) {
        const struct provider *found = NULL;
        unsigned n = 0;
        for (unsigned i = 0; i < s->n_providers; i++) {
            const struct provider *p = &s->providers[i];
            if (speaks(p, d) && !p->has_own_models && (defaults_too || p->n_models == 0)) {
                found = p;
                n++;
            }
        }
        if (n)
            return n == 1 ? found : NULL;
    }
    return NULL;
}

static enum errc wrong_dialect(const struct provider *p, enum dialect d, str model, err *e)
{
    char list[160] = "";
    size_t len = 0;
    for (unsigned k = 0; k < DIALECTS; k++) {
        bool is_aside = k == DIALECT_COUNT_TOKENS || (k == DIALECT_EMBEDDINGS && p->dialects != DIALECT_BIT(k));
        if (is_aside || !speaks(p, (enum dialect)k))
            continue;
        int n = snprintf(list + len, sizeof list - len, "%s%s", len ? " or " : "", dialect_endpoint((enum dialect)k));
        len += n > 0 && (size_t)n < sizeof list - len ? (size_t)n : 0;
    }
    return err_set(e, ERR_INVALID, "model '%.*s' is served by provider '%.*s', which does not speak %s: use %s", STR(str_take(model, 60)),
                   STR(p->name), dialect_name(d), len ? list : "another provider (it has no dialects)");
}

/* By alias, by a provider's models, by "provider/model"; NULL when no rule names it. May be a provider that does not speak d. */
static const struct provider *route_by_rule(const struct snapshot *s, enum dialect d, str *name)
{
    str model = *name;
    const struct provider *p = NULL;
    const struct alias *alias = map_get(&s->aliases, model);
    if (alias) {
        model = alias->model;
        p = alias->provider;
    }
    if (!p)
        p = named_by_rule(s, d, model);
    if (!p || !speaks(p, d)) {
        str rest = model;
        const struct provider *prefixed = alias && alias->provider ? NULL : split_provider(s, &rest);
        if (prefixed && rest.len) {
            p = prefixed;
            model = rest;
        }
    }
    *name = model;
    return p;
}

bool snapshot_names(const struct snapshot *s, str model, struct route_choice *out)
{
    out->model = model;
    out->provider = route_by_rule(s, DIALECT_CHAT, &out->model);
    return out->provider != NULL;
}

enum errc snapshot_route(const struct snapshot *s, enum dialect d, str model, struct route_choice *out, err *e)
{
    str asked = model;
    const struct provider *p = route_by_rule(s, d, &model);
    if (!p)
        p = only_candidate(s, d);
    if (!p && s->n_providers == 1 && !s->providers[0].has_own_models)
        p = &s->providers[0]; /* it would be the one, in another dialect */
    if (!p) {
        if (!s->n_providers)
            return err_set(e, ERR_MODEL_NOT_FOUND, "no provider is configured: add one under providers: in catalyst.yaml");
        return err_set(e, ERR_MODEL_NOT_FOUND, "no provider serves the model '%.*s'; known: %.*s", STR(str_take(asked, 60)),
                       STR(s->known_models));
    }
    if (!speaks(p, d))
        return wrong_dialect(p, d, asked, e);
    *out = (struct route_choice){p, model};
    return ERR_NONE;
}

/* --- the list of models --- */

struct model_list {
    struct json_writer w;
    struct map seen;
    const struct provider *provider;
    bool is_anthropic;
    str first, last;
};

void snapshot_write_model(struct json_writer *w, str model, const struct provider *provider, bool is_anthropic)
{
    json_object(w);
    json_put_str(w, "id", model);
    if (is_anthropic) {
        json_put_str(w, "type", S("model"));
        json_put_str(w, "display_name", model);
        json_put_str(w, "created_at", S("1970-01-01T00:00:00Z"));
    } else {
        json_put_str(w, "object", S("model"));
        json_put_int(w, "created", 0);
        json_put_str(w, "owned_by", provider ? provider->name : S("alias"));
    }
    json_end(w);
}

static void list_model(void *ctx, str model)
{
    struct model_list *m = ctx;
    if (map_get(&m->seen, model) || map_put(&m->seen, model, m) != ERR_NONE)
        return;
    if (!m->first.p)
        m->first = model;
    m->last = model;
    snapshot_write_model(&m->w, model, m->provider, m->is_anthropic);
}

static str write_models(struct loader *l, bool is_anthropic)
{
    struct snapshot *s = l->s;
    struct buf out;
    struct model_list m = {.is_anthropic = is_anthropic};
    buf_init(&out, 16u << 20);
    map_init(&m.seen);
    json_writer_init(&m.w, &out);
    json_object(&m.w);
    if (!is_anthropic)
        json_put_str(&m.w, "object", S("list"));
    json_name(&m.w, S("data"));
    json_array(&m.w);
    str name;
    void *alias;
    for (size_t it = 0; map_next(&s->aliases, &it, &name, &alias);) {
        struct route_choice choice;
        enum dialect d = is_anthropic ? DIALECT_MESSAGES : DIALECT_CHAT;
        bool is_served = snapshot_route(s, d, name, &choice, NULL) == ERR_NONE;
        m.provider = is_served ? choice.provider : NULL;
        if (is_served || !is_anthropic)
            list_model(&m, name);
    }
    for (unsigned i = 0; i < s->n_providers; i++) {
        m.provider = &s->providers[i];
        if (is_anthropic && !speaks(m.provider, DIALECT_MESSAGES))
            continue;
        for (unsigned k = 0; k < m.provider->n_models; k++) {
            str glob = m.provider->models[k];
            bool is_pattern = str_chr(glob, '*') >= 0 || str_chr(glob, '?') >= 0;
            if (is_pattern)
                price_book_models(s->prices, m.provider->kind->price_source, glob, list_model, &m);
            else
                list_model(&m, glob);
        }
    }
    json_end(&m.w);
    if (is_anthropic) {
        json_put_bool(&m.w, "has_more", false);
        json_name(&m.w, S("first_id"));
        m.first.p ? json_str(&m.w, m.first) : json_null(&m.w);
        json_name(&m.w, S("last_id"));
        m.first.p ? json_str(&m.w, m.last) : json_null(&m.w);
    }
    json_end(&m.w);
    map_fini(&m.seen);
    str text = buf_err(&out) == ERR_NONE ? str_dup(l->a, buf_str(&out)) : (str){NULL, 0};
    buf_fini(&out);
    if (!text.p)
        problem(l, NULL, "out of memory for the list of models");
    return text;
}

static void write_known(struct loader *l)
{
    struct snapshot *s = l->s;
    struct buf out;
    str name;
    void *alias;
    buf_init(&out, 1u << 20);
    for (size_t it = 0; map_next(&s->aliases, &it, &name, &alias);)
        buf_addf(&out, "%s%.*s", out.len ? ", " : "", STR(name));
    for (unsigned i = 0; i < s->n_providers; i++) {
        const struct provider *p = &s->providers[i];
        for (unsigned k = 0; k < p->n_models; k++)
            buf_addf(&out, "%s%.*s", out.len ? ", " : "", STR(p->models[k]));
    }
    str text = buf_str(&out);
    s->known_models = text.len <= KNOWN_MODELS_LEN
                          ? str_dup(l->a, text)
                          : arena_printf(l->a, "%.*s, … (GET /v1/models lists all)", (int)KNOWN_MODELS_LEN, text.p);
    buf_fini(&out);
}

/* --- life --- */

enum errc snapshot_load(struct snapshot **out, const struct config *config, struct buf *problems, err *e)
{
    struct snapshot *s = calloc(1, sizeof *s);
    if (!s)
        return err_code(e, ERR_NO_MEMORY);
    arena_init(&s->arena, SNAPSHOT_LIMIT, 64 << 10);
    map_init(&s->aliases);
    map_init(&s->keys);
    struct loader l = {.s = s, .a = &s->arena, .config = config, .problems = problems};
    str ca_file = config_text(config, "upstream.ca_file"), prices_file = config_text(config, "prices_file");
    enum errc rc = tls_client_new(&s->tls, config_path(config, l.a, ca_file), e);
    if (rc == ERR_NONE)
        rc = price_book_load(l.a, config_path(config, l.a, prices_file), &s->prices, e);
    if (rc != ERR_NONE) {
        snapshot_free(s);
        return rc;
    }
    const struct json *providers = config_tree(config, "providers"), *keys = config_tree(config, "keys");
    s->providers = arena_news(l.a, struct provider, (providers ? providers->n : 0) + 1u);
    if (!s->providers) {
        snapshot_free(s);
        return err_code(e, ERR_NO_MEMORY);
    }
    for (const struct json *entry = providers ? providers->child : NULL; entry; entry = entry->next)
        load_provider(&l, entry);
    load_aliases(&l);
    for (const struct json *entry = keys ? keys->child : NULL; entry; entry = entry->next)
        load_key(&l, entry);
    write_known(&l);
    s->models_openai = write_models(&l, false);
    s->models_anthropic = write_models(&l, true);
    if (l.failed) {
        snapshot_free(s);
        return err_set(e, ERR_CONFIG, "the configuration is not valid");
    }
    *out = s;
    return ERR_NONE;
}

void snapshot_free(struct snapshot *s)
{
    if (!s)
        return;
    SSL_CTX_free(s->tls);
    map_fini(&s->aliases);
    map_fini(&s->keys);
    arena_fini(&s->arena);
    free(s);
}
