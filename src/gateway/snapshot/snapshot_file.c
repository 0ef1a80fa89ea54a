/* The file's part of a snapshot: providers, aliases and keys of catalyst.yaml, checked with a line for every problem. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/keytext.h"
#include "base/log.h"
#include "core/outbound_config.h"
#include "gateway/snapshot/snapshot_build.h"
#include "net/url.h"

#define BASE_LIMIT (256u << 20)
#define API_KEY_MAX 4096
#define CA_FILE_MAX (8u << 20)

struct loader {
    struct snapshot_base *b;
    struct arena *a;
    const struct config *config;
    struct buf *problems;
    bool failed;
    struct provider_spec *providers;
    struct alias_spec *aliases;
    struct key_spec *keys;
    struct budget *budgets;
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
    if (text.len && !text_is_visible(text)) {
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

static bool texts_of(struct loader *l, const struct json *list, const str **out, unsigned *n)
{
    str *texts = arena_news(l->a, str, (list ? list->n : 0) + 1u);
    *n = 0;
    *out = texts;
    if (!texts) {
        problem(l, list, "out of memory");
        return false;
    }
    for (const struct json *item = list ? list->child : NULL; item; item = item->next)
        texts[(*n)++] = item->text;
    return true;
}

static uint64_t time_limit(struct loader *l, const struct json *entry, const char *member, const char *key)
{
    return json_get(entry, str_c(member)) ? (uint64_t)config_entry_int(l->config, entry, key) : 0;
}

static void price_problem(void *ctx, const struct json *where, const char *text) { problem(ctx, where, "%s", text); }

static void load_provider(struct loader *l, const struct json *entry)
{
    struct snapshot_rows *rows = &l->b->rows;
    struct provider_spec *p = &l->providers[rows->n_providers];
    const struct json *models = json_get(entry, S("models"));
    err e = {0};
    *p = (struct provider_spec){
        .name = config_entry_text(l->config, entry, "providers[].name"),
        .kind = config_entry_text(l->config, entry, "providers[].kind"),
        .base_url = config_entry_text(l->config, entry, "providers[].base_url"),
        .prices = json_get(entry, S("prices")),
        .has_models = models != NULL,
        .is_from_file = true,
    };
    if (!provider_name_is_good(p->name)) {
        problem(l, entry, "the provider name '%.*s' must be 1 to 64 letters, digits, '-', '_' or '.'", STR(p->name));
        return;
    }
    for (unsigned i = 0; i < rows->n_providers; i++)
        if (str_eq(l->providers[i].name, p->name)) {
            problem(l, entry, "there are two providers named '%.*s'", STR(p->name));
            return;
        }
    p->id = id_of_name("provider", p->name);
    const struct provider_kind *kind = provider_kind_find(p->kind);
    if (!kind) {
        problem(l, json_get(entry, S("kind")), "'%.*s' is not a kind of provider; use one of %.*s", STR(p->kind), STR(provider_kind_names()));
        return;
    }
    if (!p->base_url.len && !kind->base_url) {
        problem(l, entry, "a provider of kind %.*s needs a base_url", STR(p->kind));
        return;
    }
    struct url url;
    if (p->base_url.len && url_parse(p->base_url, &url, &e) != ERR_NONE) {
        problem(l, json_get(entry, S("base_url")), "base_url: %s", e.msg);
        return;
    }
    p->api_key = provider_key(l, entry);
    p->has_dialects = true;
    p->dialects = provider_dialects(l, entry, kind->dialects);
    p->times = (struct provider_times){
        time_limit(l, entry, "connect_timeout_ms", "providers[].connect_timeout_ms"),
        time_limit(l, entry, "first_byte_timeout_ms", "providers[].first_byte_timeout_ms"),
        time_limit(l, entry, "stall_timeout_ms", "providers[].stall_timeout_ms"),
        time_limit(l, entry, "total_timeout_ms", "providers[].total_timeout_ms"),
    };
    if (!texts_of(l, models, &p->models, &p->n_models))
        return;
    price_book_add_tree(l->b->prices, p->name, p->prices, price_problem, l);
    p->prices = NULL; /* they are in the base's book already */
    rows->n_providers++;
}

/* --- aliases and keys --- */

static void load_alias(struct loader *l, const struct json *item)
{
    struct alias_spec *alias = &l->aliases[l->b->rows.n_aliases];
    *alias = (struct alias_spec){.name = item->name, .model = item->text, .is_from_file = true};
    if (!alias->model.len || !alias->name.len) {
        problem(l, item, "an alias needs a name and a model: NAME: MODEL or NAME: PROVIDER/MODEL");
        return;
    }
    l->b->rows.n_aliases++;
}

/* budget_usd and budget_period: a hard budget of the key. */
static void load_key_budget(struct loader *l, const struct json *entry, const struct key_spec *key)
{
    str amount = config_entry_text(l->config, entry, "keys[].budget_usd");
    str period = config_entry_text(l->config, entry, "keys[].budget_period");
    struct budget *b = &l->budgets[l->b->rows.n_budgets];
    if (!amount.len) {
        if (json_get(entry, S("budget_period")))
            problem(l, json_get(entry, S("budget_period")), "budget_period belongs to budget_usd, which is missing");
        return;
    }
    *b = (struct budget){.id = id_of_name("budget", key->name), .scope = BUDGET_KEY, .scope_id = key->id, .is_hard = true,
                         .is_from_file = true, .cap_pico = -1, .alerts = {50, 80, 100}, .n_alerts = 3, .scope_name = key->name};
    if (!money_parse(amount, 9, &b->limit_nanousd) || b->limit_nanousd < 0)
        problem(l, json_get(entry, S("budget_usd")), "budget_usd must be an amount in USD with at most nine decimal places, not '%.*s'",
                STR(str_take(amount, 40)));
    else if (!budget_period_parse(period, &b->period))
        problem(l, json_get(entry, S("budget_period")), "budget_period must be daily, weekly, monthly or total, not '%.*s'",
                STR(str_take(period, 40)));
    else
        l->b->rows.n_budgets++;
}

static void load_key(struct loader *l, const struct json *entry)
{
    struct key_spec *key = &l->keys[l->b->rows.n_keys];
    str text = config_entry_text(l->config, entry, "keys[].key");
    str hash = config_entry_text(l->config, entry, "keys[].key_sha256");
    bool is_sound;
    *key = (struct key_spec){
        .name = config_entry_text(l->config, entry, "keys[].name"),
        .project = config_entry_text(l->config, entry, "keys[].project"),
        .n_secrets = 1,
        .secrets[0].expires_us = INT64_MAX,
        .expires_us = INT64_MAX,
        .is_enabled = true,
        .is_from_file = true,
    };
    uint8_t *sha = key->secrets[0].sha256;
    if ((text.len > 0) == (hash.len > 0)) {
        problem(l, entry, "key '%.*s' needs either key or key_sha256; `catalyst key new` makes one", STR(key->name));
        return;
    }
    if (hash.len && !hex_decode(hash, sha, SHA256_LEN)) {
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
        if (!text_is_visible(text)) {
            problem(l, json_get(entry, S("key")), "key '%.*s' contains spaces or control characters", STR(key->name));
            return;
        }
        if (!is_sound)
            log_event(LOG_WARN, "weak_key", LOG_S("key", key->name),
                      LOG_S("reason", S("not in the form that `catalyst key new` makes: it may be easy to guess, and typos cannot be told")));
        sha256(text, sha);
    }
    memcpy(key->id.b, sha, sizeof key->id.b);
    for (unsigned i = 0; i < l->b->rows.n_keys; i++)
        if (memcmp(l->keys[i].secrets[0].sha256, sha, SHA256_LEN) == 0) {
            problem(l, entry, "key '%.*s' is the same as another one", STR(key->name));
            return;
        }
    load_key_budget(l, entry, key);
    l->b->rows.n_keys++;
}

/* --- the base --- */

static void add_file(struct buf *bytes, const char *path)
{
    char piece[16384];
    buf_add(bytes, str_c(path ? path : ""));
    buf_add_char(bytes, '\0');
    FILE *f = path ? fopen(path, "re") : NULL;
    for (size_t n; f && (n = fread(piece, 1, sizeof piece, f)) > 0;)
        buf_add(bytes, str_of(piece, n));
    if (f)
        fclose(f);
}

/* What decides which authorities are trusted: the same files, with the same content. */
static void hash_of_ca_files(const char *common, const char *own, uint8_t out[SHA256_LEN])
{
    struct buf bytes;
    buf_init(&bytes, CA_FILE_MAX);
    add_file(&bytes, common);
    add_file(&bytes, own);
    sha256(buf_str(&bytes), out);
    buf_fini(&bytes);
}

static enum errc make_tls(struct loader *l, const struct snapshot_base *before, err *e)
{
    const char *common = config_path(l->config, l->a, config_text(l->config, "outbound.ca_file"));
    const char *own = config_path(l->config, l->a, config_text(l->config, "upstream.ca_file"));
    hash_of_ca_files(common, own, l->b->tls_hash);
    if (before && memcmp(before->tls_hash, l->b->tls_hash, SHA256_LEN) == 0) {
        SSL_CTX_up_ref(before->tls);
        l->b->tls = before->tls;
        return ERR_NONE;
    }
    enum errc rc = tls_client_new(&l->b->tls, common, e);
    if (rc == ERR_NONE && own)
        rc = tls_trust(l->b->tls, own, e);
    return rc;
}

static enum errc make_way(struct loader *l, err *e)
{
    struct outbound_settings settings;
    enum errc rc = outbound_settings_of(l->config, l->a, &settings, e);
    return rc == ERR_NONE ? outbound_new(&l->b->outbound, &settings, e) : rc;
}

static unsigned count(const struct json *list) { return list ? list->n : 0; }

/* Texts of the configuration live as long as that does; the base may live longer. */
static void copy_texts(struct loader *l)
{
    struct arena *a = l->a;
    struct snapshot_rows *rows = &l->b->rows;
    for (unsigned i = 0; i < rows->n_providers; i++) {
        struct provider_spec *p = &l->providers[i];
        str *models = (str *)(void *)(uintptr_t)p->models;
        p->name = str_dup(a, p->name);
        p->kind = str_dup(a, p->kind);
        p->base_url = str_dup(a, p->base_url);
        p->api_key = str_dup(a, p->api_key);
        for (unsigned k = 0; k < p->n_models; k++)
            models[k] = str_dup(a, models[k]);
    }
    for (unsigned i = 0; i < rows->n_aliases; i++) {
        l->aliases[i].name = str_dup(a, l->aliases[i].name);
        l->aliases[i].model = str_dup(a, l->aliases[i].model);
    }
    for (unsigned i = 0; i < rows->n_keys; i++) {
        l->keys[i].name = str_dup(a, l->keys[i].name);
        l->keys[i].project = str_dup(a, l->keys[i].project);
    }
    for (unsigned i = 0; i < rows->n_budgets; i++)
        l->budgets[i].scope_name = str_dup(a, l->budgets[i].scope_name);
}

enum errc snapshot_base_load(struct snapshot_base **out, const struct config *config, const struct snapshot_base *before,
                             struct buf *problems, err *e)
{
    struct snapshot_base *b = calloc(1, sizeof *b);
    if (!b)
        return err_code(e, ERR_NO_MEMORY);
    arena_init(&b->arena, BASE_LIMIT, 64 << 10);
    atomic_init(&b->refs, 1);
    struct loader l = {.b = b, .a = &b->arena, .config = config, .problems = problems};
    const struct json *providers = config_tree(config, "providers"), *aliases = config_tree(config, "aliases"),
                      *keys = config_tree(config, "keys");
    b->times = (struct provider_times){
        (uint64_t)config_int(config, "upstream.connect_timeout_ms"),
        (uint64_t)config_int(config, "upstream.first_byte_timeout_ms"),
        (uint64_t)config_int(config, "upstream.stall_timeout_ms"),
        (uint64_t)config_int(config, "upstream.total_timeout_ms"),
    };
    b->idle_timeout_ms = (uint64_t)config_int(config, "upstream.idle_timeout_ms");
    b->idle_connections = (unsigned)config_int(config, "upstream.idle_connections");
    enum errc rc = make_tls(&l, before, e);
    if (rc == ERR_NONE)
        rc = make_way(&l, e);
    if (rc == ERR_NONE)
        rc = price_book_load(l.a, config_path(config, l.a, config_text(config, "prices_file")), &b->prices, e);
    if (rc != ERR_NONE)
        goto out;
    l.providers = arena_news(l.a, struct provider_spec, count(providers) + 1u);
    l.aliases = arena_news(l.a, struct alias_spec, count(aliases) + 1u);
    l.keys = arena_news(l.a, struct key_spec, count(keys) + 1u);
    l.budgets = arena_news(l.a, struct budget, count(keys) + 1u);
    if (!l.providers || !l.aliases || !l.keys || !l.budgets) {
        rc = err_code(e, ERR_NO_MEMORY);
        goto out;
    }
    b->rows.providers = l.providers;
    b->rows.aliases = l.aliases;
    b->rows.keys = l.keys;
    b->rows.budgets = l.budgets;
    for (const struct json *entry = providers ? providers->child : NULL; entry; entry = entry->next)
        load_provider(&l, entry);
    for (const struct json *item = aliases ? aliases->child : NULL; item; item = item->next)
        load_alias(&l, item);
    for (const struct json *entry = keys ? keys->child : NULL; entry; entry = entry->next)
        load_key(&l, entry);
    copy_texts(&l);
    if (l.failed)
        rc = err_set(e, ERR_CONFIG, "the configuration is not valid");
out:
    if (rc != ERR_NONE)
        snapshot_base_put(b);
    else
        *out = b;
    return rc;
}

struct snapshot_base *snapshot_base_get(struct snapshot_base *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void snapshot_base_put(struct snapshot_base *b)
{
    if (!b || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(b->tls);
    outbound_free(b->outbound);
    arena_fini(&b->arena);
    free(b);
}
