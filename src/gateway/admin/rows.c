#include "gateway/admin/rows.h"

#include "base/log.h"
#include "core/events.h"
#include "core/workspaces.h"
#include "json/write.h"

#define EVENTS_AT_ONCE 200

SQL(all_workspaces, DB_MAIN, SQL_INSTANCE, "", "SELECT id, settings FROM workspaces ORDER BY created_us, id");
SQL(all_projects, DB_MAIN, SQL_INSTANCE, "",
    "SELECT p.id, p.workspace_id, p.name, l.requests_per_minute, l.tokens_per_minute, l.parallel_calls FROM projects p "
    "LEFT JOIN gateway_project_limits l ON l.project_id = p.id");
SQL(all_providers, DB_MAIN, SQL_INSTANCE, "",
    "SELECT id, workspace_id, name, kind, base_url, api_key, models, dialects, prices FROM gateway_providers WHERE is_enabled = 1 "
    "ORDER BY created_us, id");
SQL(all_aliases, DB_MAIN, SQL_INSTANCE, "", "SELECT workspace_id, name, model FROM gateway_aliases ORDER BY name");
SQL(all_keys, DB_MAIN, SQL_INSTANCE, "",
    "SELECT id, workspace_id, name, project_id, user_id, models, providers, is_enabled, expires_us, requests_per_minute, tokens_per_minute, "
    "parallel_calls, CAST(CASE WHEN user_id IS NULL OR EXISTS (SELECT 1 FROM memberships m WHERE m.workspace_id = gateway_keys.workspace_id AND "
    "m.user_id = gateway_keys.user_id) THEN 0 ELSE 1 END AS BIGINT) FROM gateway_keys ORDER BY id");
SQL(all_secrets, DB_MAIN, SQL_INSTANCE, "", "SELECT key_id, sha256, expires_us FROM gateway_key_secrets ORDER BY key_id, created_us DESC");
SQL(all_budgets, DB_MAIN, SQL_INSTANCE, "",
    "SELECT b.id, b.workspace_id, b.scope, b.scope_id, b.period, b.limit_nanousd, b.is_hard, b.alerts, b.cap_nanousd, "
    "COALESCE(k.name, p.name, u.name, w.name, '') FROM gateway_budgets b LEFT JOIN gateway_keys k ON k.id = b.scope_id "
    "LEFT JOIN projects p ON p.id = b.scope_id LEFT JOIN users u ON u.id = b.scope_id LEFT JOIN workspaces w ON w.id = b.scope_id "
    "ORDER BY b.created_us, b.id");
SQL(usage_limits, DB_MAIN, SQL_INSTANCE, "", "SELECT id, usage_limit_nanousd, name FROM workspaces WHERE usage_limit_nanousd IS NOT NULL ORDER BY id");

/* --- lists of texts --- */

enum errc texts_from_json(struct arena *a, str text, const str **out, unsigned *n, err *e)
{
    struct json *list;
    *out = NULL;
    *n = 0;
    if (!text.len)
        return ERR_NONE;
    enum errc rc = json_parse(a, text, &list, e);
    if (rc != ERR_NONE)
        return rc;
    str *texts = arena_news(a, str, list->n + 1u);
    if (!texts)
        return err_code(e, ERR_NO_MEMORY);
    for (const struct json *item = list->type == JSON_ARRAY ? list->child : NULL; item; item = item->next)
        texts[(*n)++] = item->text;
    *out = texts;
    return ERR_NONE;
}

str texts_to_json(struct arena *a, const str *texts, unsigned n)
{
    struct buf out;
    struct json_writer w;
    buf_init(&out, 256 << 10);
    json_writer_init(&w, &out);
    json_array(&w);
    for (unsigned i = 0; i < n; i++)
        json_str(&w, texts[i]);
    json_end(&w);
    str json = buf_err(&out) == ERR_NONE ? str_dup(a, buf_str(&out)) : (str){NULL, 0};
    buf_fini(&out);
    return json;
}

/* --- rows --- */

struct load {
    const struct secrets *secrets;
    struct arena *a;
    struct snapshot_rows *out;
    str *first; /* of each workspace: name of the provider that it wants to be asked first, or empty */
};

static bool dialects_of(struct arena *a, str text, unsigned *out)
{
    const str *names;
    unsigned n;
    *out = 0;
    if (texts_from_json(a, text, &names, &n, NULL) != ERR_NONE)
        return false;
    for (unsigned i = 0; i < n; i++) {
        enum dialect d;
        if (dialect_parse(names[i], &d))
            *out |= DIALECT_BIT(d) | (d == DIALECT_MESSAGES ? DIALECT_BIT(DIALECT_COUNT_TOKENS) : 0);
    }
    return true;
}

/* The workspace's key may have been made by another node a moment ago. */
static enum errc open_key(struct load *l, struct tx *tx, struct provider_spec *p, str sealed, err *e)
{
    enum errc rc = ERR_NONE;
    for (unsigned tries = 0; tries < 2; tries++) {
        rc = secret_open_in(l->secrets, l->a, &p->workspace_id, "gateway_providers", &p->id, "api_key", sealed, &p->api_key, e);
        if (rc != ERR_UNAVAILABLE || tries || tx_secrets(tx, l->secrets, e) != ERR_NONE)
            break;
    }
    return rc;
}

static bool is_first(const struct load *l, const struct provider_spec *p)
{
    for (unsigned i = 0; i < l->out->n_workspaces; i++)
        if (memcmp(&l->out->workspaces[i], &p->workspace_id, sizeof(uuid)) == 0)
            return l->first[i].len && str_eq(l->first[i], p->name);
    return false;
}

/* Providers are asked in the order of the list: those that their workspaces name (default_llm_provider) come first. */
static enum errc put_first(struct load *l, struct provider_spec *list, err *e)
{
    unsigned n = l->out->n_providers, at = 0;
    struct provider_spec *sorted = arena_news(l->a, struct provider_spec, n + 1u);
    if (!sorted)
        return err_code(e, ERR_NO_MEMORY);
    for (int pass = 0; pass < 2; pass++)
        for (unsigned i = 0; i < n; i++)
            if (is_first(l, &list[i]) == (pass == 0))
                sorted[at++] = list[i];
    l->out->providers = sorted;
    return ERR_NONE;
}

static enum errc load_providers(struct load *l, struct tx *tx, err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, l->a, &all_providers, NULL, 0, &rows, e);
    struct provider_spec *list = rc == ERR_NONE ? arena_news(l->a, struct provider_spec, rows.n + 1u) : NULL;
    if (rc != ERR_NONE || !list)
        return rc != ERR_NONE ? rc : err_code(e, ERR_NO_MEMORY);
    l->out->providers = list;
    l->out->n_providers = 0;
    for (unsigned i = 0; i < rows.n; i++) {
        const struct val *row = row_at(&rows, i);
        struct provider_spec *p = &list[l->out->n_providers];
        str sealed = val_str(&row[5]), models = val_str(&row[6]), dialects = val_str(&row[7]), prices = val_str(&row[8]);
        struct json *tree = NULL;
        err why = {0};
        *p = (struct provider_spec){.id = val_uuid(&row[0]), .workspace_id = val_uuid(&row[1]), .name = val_str(&row[2]), .kind = val_str(&row[3]),
                                    .base_url = val_str(&row[4]), .has_models = models.p != NULL, .has_dialects = dialects.p != NULL};
        enum errc bad = texts_from_json(l->a, models, &p->models, &p->n_models, &why);
        if (bad == ERR_NONE && prices.len)
            bad = json_parse(l->a, prices, &tree, &why);
        if (bad == ERR_NONE && p->has_dialects && !dialects_of(l->a, dialects, &p->dialects))
            bad = err_set(&why, ERR_CORRUPT, "its dialects cannot be read");
        if (bad == ERR_NONE && sealed.len)
            bad = open_key(l, tx, p, sealed, &why);
        if (bad != ERR_NONE) {
            log_event(LOG_ERROR, "provider_left_out", LOG_S("provider", p->name), LOG_S("reason", str_c(why.msg)));
            continue;
        }
        p->prices = tree;
        l->out->n_providers++;
    }
    return put_first(l, list, e);
}

static enum errc load_aliases(struct load *l, struct tx *tx, err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, l->a, &all_aliases, NULL, 0, &rows, e);
    struct alias_spec *list = rc == ERR_NONE ? arena_news(l->a, struct alias_spec, rows.n + 1u) : NULL;
    if (rc != ERR_NONE || !list)
        return rc != ERR_NONE ? rc : err_code(e, ERR_NO_MEMORY);
    for (unsigned i = 0; i < rows.n; i++) {
        const struct val *row = row_at(&rows, i);
        list[i] = (struct alias_spec){.workspace_id = val_uuid(&row[0]), .name = val_str(&row[1]), .model = val_str(&row[2])};
    }
    l->out->aliases = list;
    l->out->n_aliases = rows.n;
    return ERR_NONE;
}

static enum errc load_keys(struct load *l, struct tx *tx, err *e)
{
    struct rows keys, secrets;
    enum errc rc = tx_query(tx, l->a, &all_keys, NULL, 0, &keys, e);
    if (rc == ERR_NONE)
        rc = tx_query(tx, l->a, &all_secrets, NULL, 0, &secrets, e);
    struct key_spec *list = rc == ERR_NONE ? arena_news(l->a, struct key_spec, keys.n + 1u) : NULL;
    if (rc != ERR_NONE || !list)
        return rc != ERR_NONE ? rc : err_code(e, ERR_NO_MEMORY);
    unsigned at = 0; /* both are in the order of the key's id */
    for (unsigned i = 0; i < keys.n && rc == ERR_NONE; i++) {
        const struct val *row = row_at(&keys, i);
        struct key_spec *k = &list[i];
        int64_t expires = val_int(&row[8]);
        *k = (struct key_spec){.id = val_uuid(&row[0]), .workspace_id = val_uuid(&row[1]), .name = val_str(&row[2]), .project_id = val_uuid(&row[3]),
                               .user_id = val_uuid(&row[4]), .is_enabled = val_bool(&row[7]), .is_left_behind = val_bool(&row[12]), .expires_us = expires == NO_VALUE ? INT64_MAX : expires,
                               .limits = {val_int(&row[9]), val_int(&row[10]), val_int(&row[11])}};
        if ((rc = texts_from_json(l->a, val_str(&row[5]), &k->models, &k->n_models, e)) == ERR_NONE)
            rc = texts_from_json(l->a, val_str(&row[6]), &k->providers, &k->n_providers, e);
        for (; at < secrets.n; at++) {
            const struct val *secret = row_at(&secrets, at);
            uuid owner = val_uuid(&secret[0]);
            str hash = val_str(&secret[1]);
            int order = memcmp(&owner, &k->id, sizeof owner);
            if (order > 0)
                break;
            if (order < 0 || k->n_secrets == KEY_SECRETS_MAX || hash.len != SHA256_LEN)
                continue;
            memcpy(k->secrets[k->n_secrets].sha256, hash.p, SHA256_LEN);
            int64_t until = val_int(&secret[2]);
            k->secrets[k->n_secrets++].expires_us = until == NO_VALUE ? INT64_MAX : until;
        }
    }
    l->out->keys = list;
    l->out->n_keys = keys.n;
    return rc;
}

static void read_alerts(str text, struct budget *b)
{
    while (text.len && b->n_alerts < BUDGET_ALERTS_MAX) {
        uint64_t percent;
        if (str_to_u64(str_cut(&text, ','), &percent) && percent > 0 && percent <= 200)
            b->alerts[b->n_alerts++] = (uint8_t)percent;
    }
}

static enum errc load_budgets(struct load *l, struct tx *tx, err *e)
{
    struct rows rows, limits;
    enum errc rc = tx_query(tx, l->a, &all_budgets, NULL, 0, &rows, e);
    if (rc == ERR_NONE)
        rc = tx_query(tx, l->a, &usage_limits, NULL, 0, &limits, e);
    struct budget *list = rc == ERR_NONE ? arena_news(l->a, struct budget, rows.n + limits.n + 1u) : NULL;
    if (rc != ERR_NONE || !list)
        return rc != ERR_NONE ? rc : err_code(e, ERR_NO_MEMORY);
    l->out->budgets = list;
    l->out->n_budgets = 0;
    for (unsigned i = 0; i < rows.n; i++) {
        const struct val *row = row_at(&rows, i);
        struct budget *b = &list[l->out->n_budgets];
        int64_t cap = val_int(&row[8]);
        *b = (struct budget){.id = val_uuid(&row[0]), .workspace_id = val_uuid(&row[1]), .scope_id = val_uuid(&row[3]), .limit_nanousd = val_int(&row[5]),
                             .is_hard = val_bool(&row[6]), .cap_pico = cap == NO_VALUE ? -1 : cap / 1000, .scope_name = val_str(&row[9])};
        if (!budget_scope_parse(val_str(&row[2]), &b->scope) || !budget_period_parse(val_str(&row[4]), &b->period))
            continue; /* of a later release */
        read_alerts(val_str(&row[7]), b);
        l->out->n_budgets++;
    }
    for (unsigned i = 0; i < limits.n; i++) { /* of a workspace, by its own id */
        const struct val *row = row_at(&limits, i);
        list[l->out->n_budgets++] = (struct budget){.id = val_uuid(&row[0]), .workspace_id = val_uuid(&row[0]), .scope = BUDGET_WORKSPACE,
                                                    .scope_id = val_uuid(&row[0]), .period = BUDGET_MONTHLY, .is_hard = true,
                                                    .limit_nanousd = val_int(&row[1]), .cap_pico = -1, .alerts = {80, 100}, .n_alerts = 2,
                                                    .scope_name = val_str(&row[2])};
    }
    return ERR_NONE;
}

static enum errc load_unit(struct tx *tx, void *ctx, err *e)
{
    struct load *l = ctx;
    struct rows rows;
    enum errc rc = events_head(tx, &l->out->log_number, e);
    if (rc == ERR_NONE)
        rc = tx_query(tx, l->a, &all_workspaces, NULL, 0, &rows, e);
    uuid *ids = rc == ERR_NONE ? arena_news(l->a, uuid, rows.n + 1u) : NULL;
    l->first = ids ? arena_news(l->a, str, rows.n + 1u) : NULL;
    if (rc != ERR_NONE || !l->first)
        return rc != ERR_NONE ? rc : err_code(e, ERR_NO_MEMORY);
    for (unsigned i = 0; i < rows.n; i++) {
        struct workspace_settings settings;
        ids[i] = val_uuid(row_at(&rows, i));
        if ((rc = workspace_settings_read(l->a, val_str(&row_at(&rows, i)[1]), &settings, e)) != ERR_NONE)
            return rc;
        l->first[i] = settings.default_llm_provider;
    }
    l->out->workspaces = ids;
    l->out->n_workspaces = rows.n;
    if ((rc = tx_query(tx, l->a, &all_projects, NULL, 0, &rows, e)) != ERR_NONE)
        return rc;
    struct project_spec *projects = arena_news(l->a, struct project_spec, rows.n + 1u);
    if (!projects)
        return err_code(e, ERR_NO_MEMORY);
    for (unsigned i = 0; i < rows.n; i++) {
        const struct val *row = row_at(&rows, i);
        projects[i] = (struct project_spec){.id = val_uuid(&row[0]), .workspace_id = val_uuid(&row[1]), .name = val_str(&row[2])};
        if (val_int(&row[3]) != NO_VALUE)
            projects[i].limits = (struct rate_limits){val_int(&row[3]), val_int(&row[4]), val_int(&row[5])};
    }
    l->out->projects = projects;
    l->out->n_projects = rows.n;
    if ((rc = load_providers(l, tx, e)) == ERR_NONE && (rc = load_aliases(l, tx, e)) == ERR_NONE && (rc = load_keys(l, tx, e)) == ERR_NONE)
        rc = load_budgets(l, tx, e);
    return rc;
}

enum errc gateway_rows_load(struct store *s, const struct secrets *secrets, struct arena *a, struct snapshot_rows *out, err *e)
{
    struct load l = {.secrets = secrets, .a = a, .out = out};
    *out = (struct snapshot_rows){0};
    return db_read(store_db(s, DB_MAIN), load_unit, &l, e);
}

/* --- what has changed --- */

const char gateway_rows_types[] = "workspace.*|project.*|provider.*|alias.*|gateway_key.*|budget.*|limits.*|user.*|member.*";

struct changes {
    int64_t after, head;
    bool is_changed;
};

static enum errc changes_unit(struct tx *tx, void *ctx, err *e)
{
    static const uuid everywhere;
    struct changes *c = ctx;
    struct arena a;
    struct sealed_event *list;
    unsigned n;
    c->is_changed = false;
    arena_init(&a, 16 << 20, 0);
    enum errc rc = events_head(tx, &c->head, e);
    if (rc == ERR_NONE && c->head - c->after > EVENTS_AT_ONCE)
        c->is_changed = true;
    else if (rc == ERR_NONE && c->head > c->after && (rc = events_after(tx, &a, c->after, &everywhere, EVENTS_AT_ONCE, &list, &n, e)) == ERR_NONE)
        for (unsigned i = 0; i < n && !c->is_changed; i++)
            c->is_changed = event_is_of(gateway_rows_types, list[i].type);
    arena_fini(&a);
    return rc;
}

enum errc gateway_rows_changed(struct store *s, int64_t after, int64_t *head, bool *is_changed, err *e)
{
    struct changes c = {.after = after};
    enum errc rc = db_read(store_db(s, DB_MAIN), changes_unit, &c, e);
    *head = c.head;
    *is_changed = c.is_changed;
    return rc;
}
