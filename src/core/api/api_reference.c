/* docs/api.md: the same tables for people. */
#include <stdio.h>

#include "core/api/api_document.h"
#include "core/api/api_internal.h"
#include "core/shape/shape_internal.h"

static const char *const verbs[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};

/* A '|' would end the cell. */
static void put_cell(struct buf *out, const char *text)
{
    for (const char *p = text ? text : ""; *p; p++) {
        if (*p == '|') buf_add_char(out, '\\');
        buf_add_char(out, *p == '\n' ? ' ' : *p);
    }
}

/* Where a heading is on the page, as GitHub makes anchors. */
static void put_anchor(struct buf *out, const char *name, const char *suffix)
{
    for (unsigned part = 0; part < 2; part++)
        for (const char *p = part ? suffix : name; *p; p++)
            buf_add_char(out, (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p));
}

static void put_shape_link(struct buf *out, const struct shape *s, enum shape_use use)
{
    buf_addf(out, "[%s%s](#", s->name, shape_use_suffix(use));
    put_anchor(out, s->name, shape_use_suffix(use));
    buf_add(out, S(")"));
}

static void put_type(struct buf *out, const struct field *f, enum shape_use use)
{
    static const char *const words[] = {
        [FIELD_TEXT] = "text",        [FIELD_ONE_OF] = "one of",
        [FIELD_INT] = "integer",      [FIELD_BOOL] = "true or false",
        [FIELD_MONEY] = "money",      [FIELD_TIME] = "time",
        [FIELD_UUID] = "id",          [FIELD_TEXTS] = "list of texts",
        [FIELD_JSON] = "JSON",        [FIELD_OBJECT] = "",
        [FIELD_OBJECTS] = "list of ",
    };
    buf_addf(out, "%s", f->type == FIELD_JSON && f->format == FORMAT_OBJECT ? "JSON object" : words[f->type]);
    if (f->choices) {
        buf_add(out, f->type == FIELD_TEXTS ? S(", each ") : S(" "));
        for (str rest = str_c(f->choices); rest.len;) {
            str one = str_cut(&rest, '|');
            buf_addf(out, "`%.*s`%s", STR(one), rest.len ? ", " : "");
        }
    } else if ((f->type == FIELD_INT || f->type == FIELD_TEXT) && field_has_range(f)) {
        if (f->max == INT64_MAX)
            buf_addf(out, ", at least %lld", (long long)f->min);
        else
            buf_addf(out, ", %lld to %lld%s", (long long)f->min, (long long)f->max,
                     f->type == FIELD_TEXT ? " characters" : "");
    }
    if (f->shape)
        put_shape_link(out, f->shape, use == SHAPE_PATCH && f->type == FIELD_OBJECTS ? SHAPE_INPUT : use);
    if (f->flags & FIELD_NULLABLE) buf_add(out, S(" or null"));
}

static void put_fields(struct buf *out, const struct shape *s, enum shape_use use, const char *heading)
{
    buf_addf(out, "| %s | Type |  | Meaning |\n|---|---|---|---|\n", heading);
    for (unsigned i = 0; i < s->n; i++) {
        const struct field *f = &s->fields[i];
        if (f->flags & (use == SHAPE_ANSWER ? FIELD_WRITEONLY : FIELD_READONLY)) continue;
        if (f->type == FIELD_MONEY)
            buf_addf(out, "| `%s_usd`, `%s_nanousd` | ", f->name, f->name);
        else
            buf_addf(out, "| `%s` | ", f->name);
        put_type(out, f, use);
        buf_add(out, S(" | "));
        if (use == SHAPE_INPUT && f->flags & FIELD_REQUIRED)
            buf_add(out, S("required"));
        else if (use == SHAPE_INPUT && f->fallback) {
            buf_add(out, S("else `"));
            put_cell(out, f->fallback);
            buf_add(out, S("`"));
        } else if (f->flags & FIELD_SECRET)
            buf_add(out, S("shown once"));
        buf_add(out, S(" | "));
        put_cell(out, f->meaning);
        buf_add(out, S(" |\n"));
    }
    buf_add(out, S("\n"));
}

static void put_route(struct buf *out, const struct api_route *route)
{
    buf_addf(out, "### %s %s\n\n%s.%s%s\n\n", verbs[route->method], route->path,
             route->summary ? route->summary : route->name, route->text ? " " : "",
             route->text ? route->text : "");
    buf_addf(out, "Asks for `%s`; API keys: %s.", api_asks_for(route),
             api_lets_keys_in(route) ? "yes" : "no");
    if (route->body) {
        buf_add(out, S(" Takes "));
        put_shape_link(out, route->body, route->is_merge ? SHAPE_PATCH : SHAPE_INPUT);
        if (route->body_max) buf_addf(out, " of at most %zu bytes", route->body_max);
        buf_add(out, S("."));
    }
    buf_addf(out, " Answers %d", api_documented_status(route));
    if (route->answer) {
        buf_add(out, route->is_list      ? S(" with a list of ")
                     : route->is_delayed ? S(" with the job: ")
                                         : S(" with "));
        put_shape_link(out, route->answer, SHAPE_ANSWER);
        if (route->is_csv) buf_add(out, S(", or as CSV"));
    }
    if (route->stream) buf_add(out, S(" with `text/event-stream`"));
    buf_add(out, S(".\n\n"));
    if (route->query && route->query->n) put_fields(out, route->query, SHAPE_INPUT, "Parameter");
}

static bool is_first_of_tag(const struct document *d, unsigned table)
{
    for (unsigned t = 0; t < table; t++)
        if (!strcmp(d->tables[t]->tag, d->tables[table]->tag)) return false;
    return true;
}

/* Several tables may have one tag. */
static void put_tag(struct buf *out, const struct document *d, unsigned first)
{
    buf_addf(out, "## %s\n\n", d->tables[first]->tag);
    for (unsigned t = first; t < d->n_tables; t++)
        for (unsigned i = 0; !strcmp(d->tables[t]->tag, d->tables[first]->tag) && i < d->tables[t]->n; i++)
            put_route(out, &d->tables[t]->routes[i]);
}

void api_reference(const struct api_mount *mounts, unsigned n, struct buf *out)
{
    struct document d;
    document_init(&d, mounts, n);
    buf_add(
        out,
        S("# The API\n\n"
          "Made by `catalyst openapi --markdown` from the tables that the server dispatches on; `GET "
          "/api/openapi.json` is the same for programs.\n\n"
          "- JSON with `snake_case` names. Ids are UUIDv7, times RFC 3339 in UTC, money a decimal text "
          "(`_usd`) beside an integer of billionths "
          "(`_nanousd`); either is read.\n"
          "- Errors are `application/problem+json` (RFC 9457) with a stable `code`, every wrong field in "
          "`errors`, and the `request_id` that every answer "
          "has as X-Request-Id. An unknown field is an error.\n"
          "- Lists take `limit` (1 to 200, 50 without) and `cursor`, and answer `{\"items\": […], "
          "\"next_cursor\": …}`. Where CSV is said, `Accept: "
          "text/csv` gives it, with `Link: <…>; rel=\"next\"`.\n"
          "- `Idempotency-Key` makes a POST that is sent again within 24 hours answer as the first time "
          "(`Idempotency-Replayed: true`); secrets that were "
          "shown once are not shown again. With another body the same key is refused: 422.\n"
          "- `ETag` and `If-Match`: 412 when the resource has changed since it was read. PATCH is a merge "
          "patch (RFC 7396).\n"
          "- A workspace is named by X-Catalyst-Workspace or `?workspace=`; without it the API key's own, or "
          "the only one that the user is in.\n"
          "- Signed in by cookie, changes need X-CSRF-Token. Programs send `Authorization: Bearer cat_…`.\n"
          "- Rates: `RateLimit` and `RateLimit-Policy` say how much is left; beyond it 429 with "
          "Retry-After.\n\n"));
    for (unsigned t = 0; t < d.n_tables; t++)
        if (is_first_of_tag(&d, t)) put_tag(out, &d, t);
    buf_add(out, S("## Shapes\n\n"));
    for (unsigned i = 0; i < d.n_uses; i++) {
        buf_addf(out, "### %s%s\n\n", d.uses[i].shape->name, shape_use_suffix(d.uses[i].use));
        if (d.uses[i].shape->meaning) buf_addf(out, "%s\n\n", d.uses[i].shape->meaning);
        put_fields(out, d.uses[i].shape, d.uses[i].use, "Member");
    }
    if (d.has_clash || d.is_full) out->failed = ERR_INTERNAL;
}
