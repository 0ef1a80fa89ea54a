#include "gateway/snapshot.h"

#include <stdio.h>
#include <stdlib.h>

#include "gateway/snapshot/snapshot_build.h"

/* --- references --- */

struct snapshot *snapshot_get(struct snapshot *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

/* --- keys --- */

const struct key_secret *snapshot_secret_by_hash(const struct snapshot *s, const uint8_t digest[SHA256_LEN])
{
    str text = str_of((const char *)digest, SHA256_LEN);
    const struct key_secret *secret = map_get(&s->secrets, text);
    /* The map compares hashes of the secret, which tell nothing useful about it; the last word is in constant time all the same. */
    return secret && secret_eq(str_of((const char *)secret->sha256, SHA256_LEN), text) ? secret : NULL;
}

const struct key_secret *snapshot_secret(const struct snapshot *s, str text)
{
    uint8_t digest[SHA256_LEN];
    if (!text.len)
        return NULL;
    sha256(text, digest);
    return snapshot_secret_by_hash(s, digest);
}

const struct virtual_key *snapshot_key_by_id(const struct snapshot *s, const uuid *id)
{
    return map_get(&s->keys_by_id, str_of((const char *)id->b, sizeof id->b));
}

enum errc key_secret_check(const struct key_secret *secret, usec now_us, err *e)
{
    const struct virtual_key *key = secret->key;
    if (!key->is_enabled)
        return err_set(e, ERR_UNAUTHENTICATED, "the API key '%.*s' is switched off", STR(key->name));
    if (key->is_left_behind)
        return err_set(e, ERR_UNAUTHENTICATED, "the API key '%.*s' is bound to somebody who is no member of the workspace any more", STR(key->name));
    if (now_us >= key->expires_us)
        return err_set(e, ERR_UNAUTHENTICATED, "the API key '%.*s' has expired", STR(key->name));
    if (now_us >= secret->expires_us)
        return err_set(e, ERR_UNAUTHENTICATED, "the API key '%.*s' was rotated, and the time for its old text is over", STR(key->name));
    return ERR_NONE;
}

static void list_texts(const str *texts, unsigned n, char *out, size_t cap)
{
    size_t len = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < n && len < cap; i++) {
        int k = snprintf(out + len, cap - len, "%s%.*s", i ? ", " : "", STR(texts[i]));
        len += k > 0 ? (size_t)k : 0;
    }
}

static bool any_glob(const str *globs, unsigned n, str name)
{
    for (unsigned i = 0; i < n; i++)
        if (str_glob(globs[i], name))
            return true;
    return false;
}

enum errc virtual_key_allows(const struct virtual_key *key, str asked, const struct route_choice *choice, err *e)
{
    char list[120];
    if (key->n_models && !any_glob(key->models, key->n_models, asked) && !any_glob(key->models, key->n_models, choice->model)) {
        list_texts(key->models, key->n_models, list, sizeof list);
        return err_set(e, ERR_FORBIDDEN, "the API key '%.*s' may not use the model '%.*s'; it may use: %s", STR(str_take(key->name, 40)),
                       STR(str_take(asked, 60)), list);
    }
    for (unsigned i = 0; i < key->n_providers; i++)
        if (str_eq(key->providers[i], choice->provider->name))
            return ERR_NONE;
    if (!key->n_providers)
        return ERR_NONE;
    list_texts(key->providers, key->n_providers, list, sizeof list);
    return err_set(e, ERR_FORBIDDEN, "the API key '%.*s' may not use the provider '%.*s' of this model; it may use: %s",
                   STR(str_take(key->name, 40)), STR(choice->provider->name), list);
}

const struct workspace_view *snapshot_workspace(const struct snapshot *s, const uuid *id)
{
    for (unsigned i = 0; i < s->n_workspaces; i++)
        if (memcmp(&s->workspaces[i].id, id, sizeof *id) == 0)
            return &s->workspaces[i];
    return NULL;
}

/* --- routing --- */

static const struct provider *provider_named(const struct workspace_view *w, str name)
{
    for (unsigned i = 0; i < w->n_providers; i++)
        if (str_eq(w->providers[i]->name, name))
            return w->providers[i];
    return NULL;
}

/* "provider/model" with a configured provider's name in front. */
static const struct provider *split_provider(const struct workspace_view *w, str *model)
{
    ptrdiff_t slash = str_chr(*model, '/');
    const struct provider *p = slash > 0 ? provider_named(w, str_take(*model, (size_t)slash)) : NULL;
    if (p)
        *model = str_skip(*model, (size_t)slash + 1);
    return p;
}

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
static const struct provider *named_by_rule(const struct workspace_view *w, enum dialect d, str model)
{
    const struct provider *silent = NULL;
    for (unsigned i = 0; i < w->n_providers; i++) {
        const struct provider *p = w->providers[i];
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
static const struct provider *only_candidate(const struct workspace_view *w, enum dialect d)
{
    for (int defaults_too = 0; defaults_too < 2; defaults_too++) {
        const struct provider *found = NULL;
        unsigned n = 0;
        for (unsigned i = 0; i < w->n_providers; i++) {
            const struct provider *p = w->providers[i];
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
static const struct provider *route_by_rule(const struct workspace_view *w, enum dialect d, str *name)
{
    str model = *name;
    const struct provider *p = NULL;
    const struct alias *alias = map_get(&w->aliases, model);
    if (alias) {
        model = alias->model;
        p = alias->provider;
    }
    if (!p)
        p = named_by_rule(w, d, model);
    if (!p || !speaks(p, d)) {
        str rest = model;
        const struct provider *prefixed = alias && alias->provider ? NULL : split_provider(w, &rest);
        if (prefixed && rest.len) {
            p = prefixed;
            model = rest;
        }
    }
    *name = model;
    return p;
}

bool snapshot_names(const struct workspace_view *w, str model, struct route_choice *out)
{
    out->model = model;
    out->provider = route_by_rule(w, DIALECT_CHAT, &out->model);
    return out->provider != NULL;
}

enum errc snapshot_route(const struct workspace_view *w, enum dialect d, str model, struct route_choice *out, err *e)
{
    str asked = model;
    const struct provider *p = route_by_rule(w, d, &model);
    if (!p)
        p = only_candidate(w, d);
    if (!p && w->n_providers == 1 && !w->providers[0]->has_own_models)
        p = w->providers[0]; /* it would be the one, in another dialect */
    if (!p) {
        if (!w->n_providers)
            return err_set(e, ERR_MODEL_NOT_FOUND, "no provider is configured: add one under Providers, with `catalyst provider add`, or under providers: in catalyst.yaml");
        return err_set(e, ERR_MODEL_NOT_FOUND, "no provider serves the model '%.*s'; known: %.*s", STR(str_take(asked, 60)),
                       STR(w->known_models));
    }
    if (!speaks(p, d))
        return wrong_dialect(p, d, asked, e);
    *out = (struct route_choice){p, model};
    return ERR_NONE;
}

/* --- lists of models --- */

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

struct model_walk {
    struct map seen;
    snapshot_model_fn fn;
    void *ctx;
    const struct provider *provider;
    bool is_short;
};

static void walk_model(void *ctx, str model)
{
    struct model_walk *m = ctx;
    if (map_get(&m->seen, model))
        return;
    if (map_put(&m->seen, model, m) != ERR_NONE)
        m->is_short = true;
    else
        m->fn(m->ctx, model, m->provider);
}

enum errc snapshot_models(const struct workspace_view *w, enum dialect d, snapshot_model_fn fn, void *ctx)
{
    struct model_walk m = {.fn = fn, .ctx = ctx};
    map_init(&m.seen);
    str name;
    void *alias;
    for (size_t it = 0; map_next(&w->aliases, &it, &name, &alias);) {
        struct route_choice choice;
        bool is_served = snapshot_route(w, d, name, &choice, NULL) == ERR_NONE;
        m.provider = is_served ? choice.provider : NULL;
        if (is_served || d != DIALECT_MESSAGES)
            walk_model(&m, name);
    }
    for (unsigned i = 0; i < w->n_providers; i++) {
        m.provider = w->providers[i];
        if (d == DIALECT_MESSAGES && !speaks(m.provider, DIALECT_MESSAGES))
            continue;
        for (unsigned k = 0; k < m.provider->n_models; k++) {
            str glob = m.provider->models[k];
            bool is_pattern = str_chr(glob, '*') >= 0 || str_chr(glob, '?') >= 0;
            if (is_pattern)
                price_book_models(w->snapshot->prices, m.provider->kind->price_source, glob, walk_model, &m);
            else
                walk_model(&m, glob);
        }
    }
    map_fini(&m.seen);
    return m.is_short ? ERR_NO_MEMORY : ERR_NONE;
}
