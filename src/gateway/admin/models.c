/* The models that the workspace can ask for, with what is known of their prices and sizes. */
#include "gateway/admin/admin.h"

struct model_view {
    str model, provider, kind;
    int64_t input_price, output_price, cache_read_price, cache_write_price;
    int64_t context, max_output;
    struct texts dialects;
};
#define PRICE_FIELD(member_, meaning_) \
    FIELD(struct model_view, member_, FIELD_MONEY, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = meaning_ " a million tokens; null: not known.")
static const struct field fields[] = {
    FIELD(struct model_view, model, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "What clients ask for."),
    FIELD(struct model_view, provider, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "Who serves it; null: nobody, an alias that leads nowhere."),
    FIELD(struct model_view, kind, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "What kind of provider that is."),
    PRICE_FIELD(input_price, "Price of input,"),
    PRICE_FIELD(output_price, "Price of output,"),
    PRICE_FIELD(cache_read_price, "Price of input that is read from the provider's cache,"),
    PRICE_FIELD(cache_write_price, "Price of input that is written to it,"),
    FIELD(struct model_view, context, FIELD_INT, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "Tokens that it takes at most; null: not known."),
    FIELD(struct model_view, max_output, FIELD_INT, .flags = FIELD_READONLY, .meaning = "Tokens of its longest answer."),
    FIELD(struct model_view, dialects, FIELD_TEXTS, .max_items = 5, .flags = FIELD_READONLY, .meaning = "In which dialects it can be asked."),
};
static const struct shape model_shape = SHAPE("Model", struct model_view, fields, "A model that calls can name.");

struct model_query {
    str text;
};
static const struct field query_fields[] = {
    FIELD(struct model_query, text, FIELD_TEXT, .max = 100, .flags = FIELD_NULLABLE, .meaning = "Only models whose name contains this, whatever its case."),
};
static const struct shape query_shape = SHAPE("ModelQuery", struct model_query, query_fields, "Which models to list.");

struct listing {
    struct api_request *r;
    struct model_view *views;
    uint64_t skip;    /* of earlier pages */
    unsigned n, cap;  /* cap: of this page, and one more */
    const struct price_book *prices;
    str text;
    bool is_short;
};

static int64_t per_million(int64_t pico) { return pico >= 0 ? pico * 1000 : NO_VALUE; }

static bool contains(str s, str part)
{
    for (size_t i = 0; part.len && i + part.len <= s.len; i++)
        if (str_ieq(str_of(s.p + i, part.len), part))
            return true;
    return part.len == 0;
}

static void add(void *ctx, str model, const struct provider *p)
{
    struct listing *l = ctx;
    struct arena *a = l->r->arena;
    if (!contains(model, l->text))
        return;
    if (l->skip) {
        l->skip--;
        return;
    }
    if (l->n == l->cap)
        return;
    struct model_view *v = &l->views[l->n++];
    struct price price;
    struct route_choice choice = {p, model};
    /* An alias has the prices of what it leads to. */
    if (p && snapshot_names(p->workspace, model, &choice) && !choice.provider)
        choice.provider = p;
    if (!p || !price_find(l->prices, p->price_name, p->kind->price_source, choice.model, l->r->now_us, &price))
        for (unsigned u = 0; u < PRICE_UNITS; u++)
            price.pico[u] = p && p->kind->is_local && u < PRICE_CONTEXT ? 0 : -1;
    struct model_limits limits = price_model_limits(&price, choice.model);
    str *dialects = arena_news(a, str, DIALECTS);
    unsigned n = 0;
    for (unsigned d = 0; p && dialects && d < DIALECTS; d++)
        if (p->dialects & DIALECT_BIT(d) && d != DIALECT_COUNT_TOKENS)
            dialects[n++] = str_c(dialect_name((enum dialect)d));
    *v = (struct model_view){
        .model = str_dup(a, model),
        .provider = p ? str_dup(a, p->name) : (str){NULL, 0},
        .kind = p ? p->kind->name : (str){NULL, 0},
        .input_price = per_million(price.pico[PRICE_INPUT]),
        .output_price = per_million(price.pico[PRICE_OUTPUT]),
        .cache_read_price = per_million(price.pico[PRICE_CACHE_READ]),
        .cache_write_price = per_million(price.pico[PRICE_CACHE_WRITE]),
        .context = limits.context ? limits.context : NO_VALUE,
        .max_output = limits.max_output,
        .dialects = {dialects, n},
    };
    l->is_short |= !v->model.p || !dialects;
}

/* From the snapshot alone: what a cursor says is how many were shown. */
static enum errc list(struct api_request *r, err *e)
{
    const struct model_query *q = r->query;
    struct snapshot *s;
    struct listing l = {.r = r, .cap = r->limit + 1, .text = q->text};
    if (r->cursor.len && !str_to_u64(r->cursor, &l.skip))
        return err_set(e, ERR_INVALID, "the cursor is not of this list");
    uint64_t shown = l.skip;
    const struct workspace_view *w = admin_view(r, &s);
    l.views = arena_news(r->arena, struct model_view, l.cap);
    l.is_short = !l.views;
    if (w && l.views) {
        l.prices = s->prices;
        l.is_short |= snapshot_models(w, DIALECT_CHAT, add, &l) != ERR_NONE;
    }
    snapshot_put(s);
    if (l.is_short)
        return err_code(e, ERR_TOO_LARGE);
    bool is_more = l.n > r->limit;
    r->items = (struct objects){l.views, is_more ? r->limit : l.n};
    r->next_cursor = is_more ? arena_printf(r->arena, "%llu", (unsigned long long)(shown + r->limit)) : (str){NULL, 0};
    return ERR_NONE;
}

static const struct api_route routes[] = {
    {.method = HTTP_GET, .path = "/api/gateway/models", .name = "gateway_models_list", .access = ACCESS_PERMISSION,
     .permission = PERMISSION_OPTIMIZER_READ, .scope = SCOPE_WORKSPACE, .query = &query_shape, .answer = &model_shape, .is_list = true, .is_csv = true,
     .summary = "Models that can be asked for, with their prices", .prepare = list},
};
const struct api_table gateway_models_api = {"gateway", routes, LENGTH_OF(routes)};
