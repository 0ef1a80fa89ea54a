#include "gateway/snapshot/snapshot_build.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "net/url.h"

#define SNAPSHOT_LIMIT (1u << 30)
#define KNOWN_MODELS_LEN 150 /* an error message has room for so much of the list */
#define MODELS_ANSWER_MAX (16u << 20)

/* The counters of one scope, and the budgets that look at each. */
struct budget_slot {
    uint8_t key[17]; /* scope and id */
    enum budget_scope scope;
    uuid scope_id;
    struct budget_counter *counters[BUDGET_PERIODS];
    bool is_asked[BUDGET_PERIODS];             /* while building: its counter is new */
    const struct budget *hard[BUDGET_PERIODS]; /* with the lowest limit */
    int64_t cap_pico;                          /* the lowest of the hard ones; INT64_MAX without any */
};

struct builder {
    const struct snapshot_source *source;
    const struct snapshot_rows *file, *rows;
    struct snapshot *s;
    struct arena *a;
    struct map views;    /* workspace id -> struct workspace_view */
    struct map projects; /* id -> struct project_spec */
    bool is_short;       /* out of memory */
};

static const struct snapshot_rows no_rows;

bool text_is_visible(str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.p[i] <= 0x20 || (unsigned char)s.p[i] >= 0x7f)
            return false;
    return s.len > 0;
}

bool provider_name_is_good(str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];
        bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
        if (!is_word)
            return false;
    }
    return s.len > 0 && s.len <= 64;
}

uuid id_of_name(const char *what, str name)
{
    char text[400];
    uint8_t digest[SHA256_LEN];
    uuid id;
    int n = snprintf(text, sizeof text, "catalyst.yaml\n%s\n%.*s", what, STR(str_take(name, 300)));
    sha256(str_of(text, (size_t)n), digest);
    memcpy(id.b, digest, sizeof id.b);
    return id;
}

static str id_text(const uuid *id) { return str_of((const char *)id->b, sizeof id->b); }

static void put(struct builder *b, struct map *m, str key, void *value) { b->is_short |= map_put(m, key, value) != ERR_NONE; }

static str keep(struct builder *b, str s)
{
    str copy = str_dup(b->a, s);
    b->is_short |= !copy.p;
    return copy;
}

static const str *keep_texts(struct builder *b, const str *texts, unsigned n)
{
    str *copy = arena_news(b->a, str, n + 1u);
    b->is_short |= !copy;
    for (unsigned i = 0; copy && i < n; i++)
        copy[i] = keep(b, texts[i]);
    return copy;
}

static void left_out(const char *what, str name, const char *why)
{
    log_event(LOG_WARN, "gateway_entry_left_out", LOG_S("what", str_c(what)), LOG_S("name", name), LOG_S("reason", str_c(why)));
}

/* The view that an entry belongs to: the file's are the first workspace's. */
static struct workspace_view *view_of(struct builder *b, const uuid *workspace, bool is_from_file)
{
    return is_from_file ? &b->s->workspaces[0] : map_get(&b->views, id_text(workspace));
}

/* --- workspaces and providers --- */

static void make_views(struct builder *b)
{
    static const uuid none;
    struct snapshot *s = b->s;
    s->n_workspaces = b->rows->n_workspaces ? b->rows->n_workspaces : 1;
    s->workspaces = arena_news(b->a, struct workspace_view, s->n_workspaces);
    s->providers = arena_news(b->a, struct provider, b->file->n_providers + b->rows->n_providers + 1u);
    if (!s->workspaces || !s->providers) {
        s->n_workspaces = 0;
        b->is_short = true;
        return;
    }
    for (unsigned i = 0; i < s->n_workspaces; i++) {
        struct workspace_view *w = &s->workspaces[i];
        w->id = b->rows->n_workspaces ? b->rows->workspaces[i] : none;
        w->snapshot = s;
        map_init(&w->aliases);
        put(b, &b->views, id_text(&w->id), w);
    }
}

static void provider_models(struct builder *b, struct provider *p, const struct provider_spec *spec)
{
    str rest = p->kind->models;
    unsigned n = spec->n_models;
    if (!spec->has_models)
        for (str cut = rest; cut.len; str_cut(&cut, ' '))
            n++;
    p->has_own_models = spec->has_models;
    p->models = arena_news(b->a, str, n + 1u);
    if (!p->models) {
        b->is_short = true;
        return;
    }
    if (spec->has_models) {
        for (unsigned i = 0; i < spec->n_models; i++)
            p->models[p->n_models++] = keep(b, spec->models[i]);
    } else {
        while (rest.len)
            p->models[p->n_models++] = str_cut(&rest, ' ');
    }
}

/* "host", "host:port": without the port that the scheme says anyway. */
static str host_field(struct builder *b, const struct url *url)
{
    bool is_default_port = url->port == (url->is_tls ? 443 : 80);
    str host = url->is_ipv6 ? arena_printf(b->a, "[%.*s]", STR(url->host)) : url->host;
    return is_default_port ? host : arena_printf(b->a, "%.*s:%u", STR(host), url->port);
}

static void provider_request_parts(struct builder *b, struct provider *p, const struct url *url, str key)
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
    /* A proxy is asked for plain targets in absolute form (RFC 9112 3.2.2), with its own credentials; TLS goes through a tunnel. */
    bool is_asked_of_proxy = !url->is_tls && p->target.route->proxy_host;
    str credentials = is_asked_of_proxy ? p->target.route->proxy_authorization : S(""), host = host_field(b, url);
    for (unsigned d = 0; d < DIALECTS; d++) {
        /* OpenAI's SDKs take a base URL that ends in /v1, Anthropic's one without: both forms are understood for both. */
        bool is_anthropic = d == DIALECT_MESSAGES || d == DIALECT_COUNT_TOKENS;
        const char *version = (is_anthropic && !str_ends(path, S("/v1"))) || (!is_anthropic && !path.len) ? "/v1" : "";
        p->request_line[d] = arena_printf(b->a, "POST %s%.*s%.*s%s%s", is_asked_of_proxy ? "http://" : "",
                                          STR(is_asked_of_proxy ? host : S("")), STR(path), version, suffix[d]);
    }
    p->base_query = keep(b, url->query);
    if (!url->query.len)
        p->base_query = S("");
    p->fixed_fields = arena_printf(b->a, " HTTP/1.1\r\nHost: %.*s\r\nAccept-Encoding: identity\r\n%s%.*s%s%s%.*s%s", STR(host),
                                   key.len ? auth_field[p->kind->auth] : "", STR(key), key.len ? "\r\n" : "",
                                   credentials.len ? "Proxy-Authorization: " : "", STR(credentials), credentials.len ? "\r\n" : "");
    b->is_short |= !p->fixed_fields.p;
}

static uint64_t either(uint64_t own, uint64_t common) { return own ? own : common; }

/* Providers are an administrator's own targets: they may stand on this machine or in its network. */
static enum errc provider_target(struct builder *b, struct provider *p, const struct provider_spec *spec, const struct url *url, err *e)
{
    const struct snapshot_base *base = b->source->base;
    struct outbound_route *route = arena_new(b->a, struct outbound_route);
    enum errc rc = route ? outbound_route(base->outbound, b->a, url, true, route, e) : err_code(e, ERR_NO_MEMORY);
    if (rc != ERR_NONE)
        return rc;
    p->target = (struct client_target){
        .host = str_to_c(b->a, url->host),
        .port = url->port,
        .tls = url->is_tls ? base->tls : NULL,
        .route = route,
        .connect_timeout_ms = either(spec->times.connect_ms, base->times.connect_ms),
        .first_byte_timeout_ms = either(spec->times.first_byte_ms, base->times.first_byte_ms),
        .stall_timeout_ms = either(spec->times.stall_ms, base->times.stall_ms),
        .total_timeout_ms = either(spec->times.total_ms, base->times.total_ms),
        .idle_timeout_ms = base->idle_timeout_ms,
        .idle_connections = base->idle_connections,
    };
    b->is_short |= !p->target.host;
    return ERR_NONE;
}

static void price_problem(void *ctx, const struct json *where, const char *problem)
{
    (void)where;
    left_out("price of provider", *(const str *)ctx, problem);
}

static void add_provider(struct builder *b, const struct provider_spec *spec)
{
    struct snapshot *s = b->s;
    struct workspace_view *w = view_of(b, &spec->workspace_id, spec->is_from_file);
    struct provider *p = &s->providers[s->n_providers];
    struct url url;
    err e = {0};
    if (!w)
        return;
    for (unsigned i = 0; i < s->n_providers; i++)
        if (s->providers[i].workspace == w && str_eq(s->providers[i].name, spec->name)) {
            left_out("provider", spec->name, "the configuration file has one of the same name");
            return;
        }
    *p = (struct provider){.id = spec->id, .name = keep(b, spec->name), .index = s->n_providers, .workspace = w,
                           .kind = provider_kind_find(spec->kind), .is_from_file = spec->is_from_file};
    if (!p->kind || (!spec->base_url.len && !p->kind->base_url)) {
        left_out("provider", spec->name, p->kind ? "it has no base_url" : "its kind is not known");
        return;
    }
    str base = keep(b, spec->base_url.len ? spec->base_url : str_c(p->kind->base_url));
    if (!base.p || url_parse(base, &url, &e) != ERR_NONE) {
        left_out("provider", spec->name, e.msg);
        return;
    }
    p->base_url = base;
    p->has_api_key = spec->api_key.len > 0;
    p->dialects = spec->has_dialects ? spec->dialects : p->kind->dialects;
    p->price_name = p->name;
    if (!spec->is_from_file) { /* names are unique in a workspace only; '#' stands in none */
        char text[UUID_TEXT_LEN + 1];
        p->price_name = arena_printf(b->a, "#%.*s", STR(uuid_format(&spec->id, text)));
        price_book_add_tree(s->prices, p->price_name, spec->prices, price_problem, &p->name);
    }
    provider_models(b, p, spec);
    if (provider_target(b, p, spec, &url, &e) != ERR_NONE) {
        left_out("provider", spec->name, e.msg);
        return;
    }
    provider_request_parts(b, p, &url, spec->api_key);
    s->n_providers++;
    w->n_providers++;
}

static void list_providers(struct builder *b)
{
    struct snapshot *s = b->s;
    for (unsigned i = 0; i < s->n_workspaces; i++) {
        struct workspace_view *w = &s->workspaces[i];
        w->providers = arena_news(b->a, struct provider *, w->n_providers + 1u);
        b->is_short |= !w->providers;
        w->n_providers = 0;
    }
    for (unsigned i = 0; i < s->n_providers && !b->is_short; i++) {
        struct workspace_view *w = view_of(b, &s->providers[i].workspace->id, s->providers[i].is_from_file);
        w->providers[w->n_providers++] = &s->providers[i];
    }
}

/* --- aliases --- */

static void add_alias(struct builder *b, const struct alias_spec *spec)
{
    struct workspace_view *w = view_of(b, &spec->workspace_id, spec->is_from_file);
    struct alias *alias = arena_new(b->a, struct alias);
    if (!w || !alias) {
        b->is_short |= !alias;
        return;
    }
    if (map_get(&w->aliases, spec->name)) {
        left_out("alias", spec->name, "the configuration file has one of the same name");
        return;
    }
    *alias = (struct alias){.name = keep(b, spec->name), .model = keep(b, spec->model), .is_from_file = spec->is_from_file};
    /* "provider/model" with a configured provider's name in front. */
    ptrdiff_t slash = str_chr(alias->model, '/');
    for (unsigned i = 0; slash > 0 && i < w->n_providers; i++)
        if (str_eq(w->providers[i]->name, str_take(alias->model, (size_t)slash))) {
            alias->provider = w->providers[i];
            alias->model = str_skip(alias->model, (size_t)slash + 1);
            break;
        }
    put(b, &w->aliases, alias->name, alias);
}

/* --- budgets --- */

static struct budget_slot *slot_find(const struct snapshot *s, enum budget_scope scope, const uuid *scope_id)
{
    uint8_t key[17] = {(uint8_t)scope};
    memcpy(key + 1, scope_id->b, 16);
    return map_get(&s->budget_slots, str_of((const char *)key, sizeof key));
}

static struct budget_slot *slot_make(struct builder *b, const struct budget *budget)
{
    struct budget_slot *slot = slot_find(b->s, budget->scope, &budget->scope_id);
    if (slot)
        return slot;
    slot = arena_new(b->a, struct budget_slot);
    if (!slot) {
        b->is_short = true;
        return NULL;
    }
    slot->key[0] = (uint8_t)budget->scope;
    memcpy(slot->key + 1, budget->scope_id.b, 16);
    slot->scope = budget->scope;
    slot->scope_id = budget->scope_id;
    slot->cap_pico = INT64_MAX;
    put(b, &b->s->budget_slots, str_of((const char *)slot->key, sizeof slot->key), slot);
    return slot;
}

static void add_budget(struct builder *b, const struct budget *spec)
{
    struct snapshot *s = b->s;
    struct workspace_view *w = view_of(b, &spec->workspace_id, spec->is_from_file);
    struct budget *budget = &s->budgets[s->n_budgets];
    if (!w)
        return;
    *budget = *spec;
    budget->workspace_id = w->id;
    budget->scope_name = keep(b, spec->scope_name);
    budget->counter = NULL;
    struct budget_slot *slot = slot_make(b, budget);
    s->n_budgets++;
    if (!slot || !budget->is_hard)
        return;
    const struct budget **hard = &slot->hard[budget->period];
    if (!*hard || budget->limit_nanousd < (*hard)->limit_nanousd)
        *hard = budget;
    if (budget->cap_pico < slot->cap_pico)
        slot->cap_pico = budget->cap_pico;
}

/* Gives every budget its counter: the one of the snapshot before, or a new one that begins with what was spent. */
static enum errc take_counters(struct builder *b, err *e)
{
    struct snapshot *s = b->s;
    const struct snapshot_source *source = b->source;
    struct spent_query *queries = arena_news(b->a, struct spent_query, s->n_budgets + 1u);
    const struct budget **fresh = arena_news(b->a, const struct budget *, s->n_budgets + 1u);
    unsigned n = 0;
    if (!queries || !fresh)
        return err_code(e, ERR_NO_MEMORY);
    for (unsigned i = 0; i < s->n_budgets; i++) {
        const struct budget *budget = &s->budgets[i];
        struct budget_slot *slot = slot_find(s, budget->scope, &budget->scope_id);
        const struct budget_slot *old = source->before ? slot_find(source->before, budget->scope, &budget->scope_id) : NULL;
        if (slot->counters[budget->period] || slot->is_asked[budget->period])
            continue;
        if (old && old->counters[budget->period]) {
            slot->counters[budget->period] = budget_counter_get(old->counters[budget->period]);
            continue;
        }
        usec start, end;
        slot->is_asked[budget->period] = true;
        budget_period_bounds(budget->period, source->now_us, &start, &end);
        queries[n] = (struct spent_query){.scope = budget->scope, .scope_id = budget->scope_id, .from_day = budget_day(start)};
        fresh[n++] = budget;
    }
    if (n && source->spent) {
        enum errc rc = source->spent(source->ctx, queries, n, e);
        if (rc != ERR_NONE)
            return rc;
    }
    for (unsigned k = 0; k < n; k++) {
        struct budget_slot *slot = slot_find(s, fresh[k]->scope, &fresh[k]->scope_id);
        struct budget_counter *c = budget_counter_new(fresh[k]->scope, &fresh[k]->scope_id, fresh[k]->period, source->is_shared, source->version,
                                                      source->now_us, queries[k].nanousd);
        if (!c)
            return err_code(e, ERR_NO_MEMORY);
        slot->counters[fresh[k]->period] = c;
    }
    for (unsigned i = 0; i < s->n_budgets; i++)
        s->budgets[i].counter = slot_find(s, s->budgets[i].scope, &s->budgets[i].scope_id)->counters[s->budgets[i].period];
    return ERR_NONE;
}

struct budget_counter *snapshot_counter(const struct snapshot *s, enum budget_scope scope, const uuid *scope_id, enum budget_period period)
{
    const struct budget_slot *slot = slot_find(s, scope, scope_id);
    return slot ? slot->counters[period] : NULL;
}

const struct budget *snapshot_hard_budget(const struct snapshot *s, const struct budget *b)
{
    const struct budget_slot *slot = slot_find(s, b->scope, &b->scope_id);
    return slot ? slot->hard[b->period] : NULL;
}

/* What a key's calls are counted on. */
static void take_budgets(struct builder *b, struct virtual_key *key)
{
    struct budget_gate gates[BUDGET_GATES_MAX];
    const uuid *ids[BUDGET_SCOPES] = {&key->workspace->id, &key->project_id, &key->user_id, &key->id};
    unsigned n = 0;
    key->cap_pico = INT64_MAX;
    for (unsigned scope = 0; scope < BUDGET_SCOPES; scope++) {
        const struct budget_slot *slot = slot_find(b->s, (enum budget_scope)scope, ids[scope]);
        for (unsigned period = 0; slot && period < BUDGET_PERIODS; period++) {
            if (!slot->counters[period])
                continue;
            gates[n++] = (struct budget_gate){slot->counters[period], slot->hard[period]};
            key->has_hard_budget |= slot->hard[period] != NULL;
        }
        if (slot && slot->cap_pico < key->cap_pico)
            key->cap_pico = slot->cap_pico;
    }
    if (!key->has_hard_budget)
        key->cap_pico = -1;
    if (!n)
        return;
    struct budget_gate *kept = arena_news(b->a, struct budget_gate, n);
    b->is_short |= !kept;
    if (kept) {
        memcpy(kept, gates, n * sizeof *kept);
        key->budgets = kept;
        key->n_budgets = n;
    }
}

/* --- rates --- */

static struct rate_counter *take_rate_counter(struct builder *b, char what, const uuid *id)
{
    struct snapshot *s = b->s;
    char *name = arena_bytes(b->a, 17);
    if (!name) {
        b->is_short = true;
        return NULL;
    }
    name[0] = what;
    memcpy(name + 1, id->b, 16);
    str key = str_of(name, 17);
    struct rate_counter *c = map_get(&s->rate_counters, key);
    if (c)
        return c;
    c = b->source->before ? map_get(&b->source->before->rate_counters, key) : NULL;
    c = c ? rate_counter_get(c) : rate_counter_new(b->source->rates, what, id);
    if (!c || map_put(&s->rate_counters, key, c) != ERR_NONE) {
        rate_counter_put(c);
        b->is_short = true;
        return NULL;
    }
    return c;
}

static void take_rates(struct builder *b, struct virtual_key *key, const struct rate_limits *own, const struct project_spec *project)
{
    struct rate_gate gates[RATE_GATES_MAX];
    unsigned n = 0;
    if (rate_limits_any(own))
        gates[n++] = (struct rate_gate){take_rate_counter(b, 'k', &key->id), *own, false};
    if (project && rate_limits_any(&project->limits))
        gates[n++] = (struct rate_gate){take_rate_counter(b, 'p', &project->id), project->limits, true};
    struct rate_gate *kept = n ? arena_news(b->a, struct rate_gate, n) : NULL;
    b->is_short |= n && !kept;
    if (kept) {
        memcpy(kept, gates, n * sizeof *kept);
        key->rates = kept;
        key->n_rates = n;
    }
}

/* --- keys --- */

/* The project that a key is bound to: by id, or, for one of the file, by its name in the first workspace. */
static const struct project_spec *project_of(struct builder *b, const struct key_spec *spec)
{
    if (!spec->is_from_file)
        return map_get(&b->projects, id_text(&spec->project_id));
    for (unsigned i = 0; spec->project.len && i < b->rows->n_projects; i++) {
        const struct project_spec *p = &b->rows->projects[i];
        if (memcmp(&p->workspace_id, &b->s->workspaces[0].id, sizeof(uuid)) == 0 && str_eq(p->name, spec->project))
            return p;
    }
    return NULL;
}

static void add_key(struct builder *b, const struct key_spec *spec)
{
    struct snapshot *s = b->s;
    struct workspace_view *w = view_of(b, &spec->workspace_id, spec->is_from_file);
    struct virtual_key *key = &s->keys[s->n_keys];
    if (!w)
        return;
    for (unsigned i = 0; !spec->is_from_file && i < b->file->n_keys && w == &s->workspaces[0]; i++)
        if (str_eq(b->file->keys[i].name, spec->name)) {
            left_out("key", spec->name, "the configuration file has one of the same name");
            return;
        }
    const struct project_spec *project = project_of(b, spec);
    *key = (struct virtual_key){
        .id = spec->id,
        .name = keep(b, spec->name),
        .project = keep(b, project ? project->name : spec->project),
        .project_id = project ? project->id : spec->project_id,
        .user_id = spec->user_id,
        .workspace = w,
        .models = keep_texts(b, spec->models, spec->n_models),
        .n_models = spec->n_models,
        .providers = keep_texts(b, spec->providers, spec->n_providers),
        .n_providers = spec->n_providers,
        .expires_us = spec->expires_us,
        .is_enabled = spec->is_enabled,
        .is_left_behind = spec->is_left_behind,
        .is_from_file = spec->is_from_file,
    };
    take_budgets(b, key);
    take_rates(b, key, &spec->limits, project);
    s->n_keys++;
    put(b, &s->keys_by_id, id_text(&key->id), key);
    for (unsigned i = 0; i < spec->n_secrets; i++) {
        struct key_secret *secret = arena_new(b->a, struct key_secret);
        if (!secret) {
            b->is_short = true;
            return;
        }
        memcpy(secret->sha256, spec->secrets[i].sha256, SHA256_LEN);
        secret->expires_us = spec->secrets[i].expires_us;
        secret->key = key;
        str digest = str_of((const char *)secret->sha256, SHA256_LEN);
        if (!map_get(&s->secrets, digest))
            put(b, &s->secrets, digest, secret);
    }
}

/* --- the answers of /v1/models --- */

struct model_list {
    struct json_writer w;
    bool is_anthropic;
    str first, last;
};

static void list_model(void *ctx, str model, const struct provider *provider)
{
    struct model_list *m = ctx;
    if (!m->first.p)
        m->first = model;
    m->last = model;
    snapshot_write_model(&m->w, model, provider, m->is_anthropic);
}

static void put_or_null(struct json_writer *w, const char *name, str s)
{
    if (s.p)
        json_put_str(w, name, s);
    else
        json_put_null(w, name);
}

static str write_models(struct builder *b, const struct workspace_view *view, bool is_anthropic)
{
    struct buf out;
    struct model_list m = {.is_anthropic = is_anthropic};
    buf_init(&out, MODELS_ANSWER_MAX);
    json_writer_init(&m.w, &out);
    json_object(&m.w);
    if (!is_anthropic)
        json_put_str(&m.w, "object", S("list"));
    json_name(&m.w, S("data"));
    json_array(&m.w);
    b->is_short |= snapshot_models(view, is_anthropic ? DIALECT_MESSAGES : DIALECT_CHAT, list_model, &m) != ERR_NONE;
    json_end(&m.w);
    if (is_anthropic) {
        json_put_bool(&m.w, "has_more", false);
        put_or_null(&m.w, "first_id", m.first);
        put_or_null(&m.w, "last_id", m.last);
    }
    json_end(&m.w);
    str text = buf_err(&out) == ERR_NONE ? keep(b, buf_str(&out)) : S("");
    b->is_short |= buf_err(&out) != ERR_NONE;
    buf_fini(&out);
    return text;
}

static str write_known(struct builder *b, const struct workspace_view *w)
{
    struct buf out;
    str name;
    void *alias;
    buf_init(&out, 1u << 20);
    for (size_t it = 0; map_next(&w->aliases, &it, &name, &alias);)
        buf_addf(&out, "%s%.*s", out.len ? ", " : "", STR(name));
    for (unsigned i = 0; i < w->n_providers; i++)
        for (unsigned k = 0; k < w->providers[i]->n_models; k++)
            buf_addf(&out, "%s%.*s", out.len ? ", " : "", STR(w->providers[i]->models[k]));
    str text = buf_str(&out);
    text = text.len <= KNOWN_MODELS_LEN
               ? keep(b, text)
               : arena_printf(b->a, "%.*s, … (GET /v1/models lists all)", (int)KNOWN_MODELS_LEN, text.p);
    buf_fini(&out);
    return text;
}

/* --- all of it --- */

static bool make_arrays(struct builder *b)
{
    struct snapshot *s = b->s;
    s->keys = arena_news(b->a, struct virtual_key, b->file->n_keys + b->rows->n_keys + 1u);
    s->budgets = arena_news(b->a, struct budget, b->file->n_budgets + b->rows->n_budgets + 1u);
    make_views(b);
    for (unsigned i = 0; i < b->rows->n_projects; i++)
        put(b, &b->projects, id_text(&b->rows->projects[i].id), (void *)(uintptr_t)&b->rows->projects[i]);
    return s->keys && s->budgets && !b->is_short;
}

static enum errc build(struct builder *b, err *e)
{
    const struct snapshot_rows *both[] = {b->file, b->rows};
    enum errc rc = price_book_over(b->a, b->source->base->prices, &b->s->prices, e);
    if (rc != ERR_NONE)
        return rc;
    if (!make_arrays(b))
        return err_code(e, ERR_NO_MEMORY);
    for (unsigned k = 0; k < 2; k++)
        for (unsigned i = 0; i < both[k]->n_providers; i++)
            add_provider(b, &both[k]->providers[i]);
    list_providers(b);
    if (b->is_short)
        return err_code(e, ERR_NO_MEMORY);
    for (unsigned k = 0; k < 2; k++) {
        for (unsigned i = 0; i < both[k]->n_aliases; i++)
            add_alias(b, &both[k]->aliases[i]);
        for (unsigned i = 0; i < both[k]->n_budgets; i++)
            add_budget(b, &both[k]->budgets[i]);
    }
    if (b->is_short)
        return err_code(e, ERR_NO_MEMORY);
    if ((rc = take_counters(b, e)) != ERR_NONE)
        return rc;
    for (unsigned k = 0; k < 2; k++)
        for (unsigned i = 0; i < both[k]->n_keys; i++)
            add_key(b, &both[k]->keys[i]);
    for (unsigned i = 0; i < b->s->n_workspaces; i++) {
        struct workspace_view *w = &b->s->workspaces[i];
        w->known_models = write_known(b, w);
        w->models_openai = write_models(b, w, false);
        w->models_anthropic = write_models(b, w, true);
    }
    return b->is_short ? err_code(e, ERR_NO_MEMORY) : ERR_NONE;
}

enum errc snapshot_build(struct snapshot **out, const struct snapshot_source *source, err *e)
{
    struct snapshot *s = calloc(1, sizeof *s);
    if (!s)
        return err_code(e, ERR_NO_MEMORY);
    arena_init(&s->arena, SNAPSHOT_LIMIT, 64 << 10);
    atomic_init(&s->refs, 1);
    s->version = source->version;
    s->base = snapshot_base_get(source->base);
    map_init(&s->secrets);
    map_init(&s->keys_by_id);
    map_init(&s->budget_slots);
    map_init(&s->rate_counters);
    struct builder b = {.source = source, .file = &source->base->rows, .rows = source->rows ? source->rows : &no_rows, .s = s, .a = &s->arena};
    map_init(&b.views);
    map_init(&b.projects);
    enum errc rc = build(&b, e);
    map_fini(&b.views);
    map_fini(&b.projects);
    if (rc != ERR_NONE)
        snapshot_put(s);
    else
        *out = s;
    return rc;
}

void snapshot_put(struct snapshot *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    str key;
    void *value;
    for (size_t it = 0; map_next(&s->budget_slots, &it, &key, &value);)
        for (unsigned i = 0; i < BUDGET_PERIODS; i++)
            budget_counter_put(((struct budget_slot *)value)->counters[i]);
    for (size_t it = 0; map_next(&s->rate_counters, &it, &key, &value);)
        rate_counter_put(value);
    for (unsigned i = 0; i < s->n_workspaces; i++)
        map_fini(&s->workspaces[i].aliases);
    map_fini(&s->secrets);
    map_fini(&s->keys_by_id);
    map_fini(&s->budget_slots);
    map_fini(&s->rate_counters);
    snapshot_base_put(s->base);
    arena_fini(&s->arena);
    free(s);
}

enum errc snapshot_load(struct snapshot **out, const struct config *config, struct buf *problems, err *e)
{
    struct snapshot_base *base = NULL;
    enum errc rc = snapshot_base_load(&base, config, NULL, problems, e);
    if (rc != ERR_NONE)
        return rc;
    struct snapshot_source source = {.base = base, .version = 1, .now_us = clock_now_us()};
    rc = snapshot_build(out, &source, e);
    snapshot_base_put(base);
    return rc;
}
