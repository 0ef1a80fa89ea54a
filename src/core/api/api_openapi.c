/* openapi.json (OpenAPI 3.1) from the tables that the server dispatches on. */
#include <stdio.h>

#include "base/version.h"
#include "core/api/api_document.h"
#include "core/api/api_internal.h"
#include "core/shape/shape_internal.h"

static const char *const verbs[] = {"get", "head", "post", "put", "patch", "delete"};

/* --- the schemas that routes use --- */

void document_init(struct document *d, const struct api_mount *mounts, unsigned n)
{
    *d = (struct document){0};
    for (unsigned i = 0; i < n && d->n_tables < API_TABLES_MAX; i++)
        d->tables[d->n_tables++] = mounts[i].table;
    d->tables[d->n_tables++] = &api_own_table;
    for (unsigned t = 0; t < d->n_tables; t++)
        for (unsigned i = 0; i < d->tables[t]->n; i++) {
            const struct api_route *route = &d->tables[t]->routes[i];
            if (route->answer) document_use(d, route->answer, SHAPE_ANSWER, route->is_list);
            if (route->body) document_use(d, route->body, route->is_merge ? SHAPE_PATCH : SHAPE_INPUT, false);
        }
}

void document_use(struct document *d, const struct shape *s, enum shape_use use, bool as_list)
{
    unsigned i = 0;
    while (i < d->n_uses && (d->uses[i].shape != s || d->uses[i].use != use))
        i++;
    if (i < d->n_uses) {
        d->uses[i].as_list |= as_list;
        return;
    }
    for (unsigned j = 0; j < d->n_uses; j++)
        d->has_clash |= d->uses[j].shape != s && !strcmp(d->uses[j].shape->name, s->name);
    if (d->n_uses == DOCUMENT_USES_MAX) {
        d->is_full = true;
        return;
    }
    d->uses[d->n_uses++] = (struct shape_used){s, use, as_list};
    for (unsigned k = 0; k < s->n; k++)
        if (s->fields[k].shape &&
            !(s->fields[k].flags & (use == SHAPE_ANSWER ? FIELD_WRITEONLY : FIELD_READONLY)))
            document_use(d, s->fields[k].shape,
                         use == SHAPE_PATCH && s->fields[k].type == FIELD_OBJECTS ? SHAPE_INPUT : use, false);
}

/* --- pieces --- */

static void put_ref(struct json_writer *w, const char *folder, const char *name, const char *suffix)
{
    char ref[160];
    int n = snprintf(ref, sizeof ref, "#/components/%s/%s%s", folder, name, suffix);
    json_put_str(w, "$ref", str_of(ref, (size_t)n));
}

static void put_ref_object(struct json_writer *w, const char *folder, const char *name)
{
    json_object(w);
    put_ref(w, folder, name, "");
    json_end(w);
}

static void open_member(struct json_writer *w, const char *name)
{
    json_name(w, str_c(name));
    json_object(w);
}

/* "/api/projects/:id" becomes "/api/projects/{id}". */
static void put_path_name(struct json_writer *w, const char *path)
{
    struct buf text;
    buf_init(&text, 512);
    for (str rest = str_skip(str_c(path), 1); rest.len;) {
        str segment = str_cut(&rest, '/');
        if (segment.p[0] == ':')
            buf_addf(&text, "/{%.*s}", STR(str_skip(segment, 1)));
        else
            buf_addf(&text, "/%.*s", STR(segment));
    }
    json_name(w, buf_str(&text));
    buf_fini(&text);
}

static void put_path_params(struct json_writer *w, const struct api_route *route)
{
    for (str rest = str_skip(str_c(route->path), 1); rest.len;) {
        str segment = str_cut(&rest, '/');
        if (segment.p[0] != ':') continue;
        str name = str_skip(segment, 1);
        json_object(w);
        json_put_str(w, "name", name);
        json_put_str(w, "in", S("path"));
        json_put_bool(w, "required", true);
        open_member(w, "schema");
        json_put_str(w, "type", S("string"));
        if (str_ends(name, S("id"))) json_put_str(w, "format", S("uuid"));
        json_end(w);
        json_end(w);
    }
}

static void put_query_param(struct json_writer *w, const struct field *f, const char *suffix)
{
    struct field shown = *f;
    char name[96];
    int n = snprintf(name, sizeof name, "%s%s", f->name, suffix);
    shown.flags &= (uint16_t)~FIELD_NULLABLE; /* a parameter that is not wanted is left out */
    if (f->type == FIELD_MONEY) shown = (struct field){.name = f->name, .type = FIELD_TEXT, .max = 32};
    json_object(w);
    json_put_str(w, "name", str_of(name, (size_t)n));
    json_put_str(w, "in", S("query"));
    if (f->flags & FIELD_REQUIRED) json_put_bool(w, "required", true);
    if (f->meaning) json_put_str(w, "description", str_c(f->meaning));
    if (f->type == FIELD_TEXTS) json_put_bool(w, "explode", false);
    json_name(w, S("schema"));
    field_schema(&shown, SHAPE_INPUT, false, w);
    json_end(w);
}

static bool has_params(const struct api_route *route)
{
    return str_chr(str_c(route->path), ':') >= 0 || route->query || route->is_list ||
           route->scope == SCOPE_WORKSPACE || api_takes_key(route) || route->method == HTTP_PUT ||
           route->method == HTTP_PATCH;
}

bool api_takes_key(const struct api_route *route)
{
    return route->method == HTTP_POST && !route->is_idempotent_exempt && route->effect != EFFECT_NONE &&
           route->db == DB_MAIN && route->access != ACCESS_PUBLIC && route->access != ACCESS_SETUP_TOKEN;
}

static bool names_workspace(const struct api_route *route)
{
    return route->scope == SCOPE_WORKSPACE && !str_starts(str_c(route->path), S("/api/workspaces/:id"));
}

static void put_params(struct json_writer *w, const struct api_route *route)
{
    if (!has_params(route)) return;
    json_name(w, S("parameters"));
    json_array(w);
    put_path_params(w, route);
    for (unsigned i = 0; route->query && i < route->query->n; i++)
        put_query_param(w, &route->query->fields[i],
                        route->query->fields[i].type == FIELD_MONEY ? "_usd" : "");
    if (route->is_list) {
        put_ref_object(w, "parameters", "Limit");
        put_ref_object(w, "parameters", "Cursor");
    }
    if (names_workspace(route)) put_ref_object(w, "parameters", "Workspace");
    if (route->method == HTTP_PUT || route->method == HTTP_PATCH) put_ref_object(w, "parameters", "IfMatch");
    if (api_takes_key(route)) put_ref_object(w, "parameters", "IdempotencyKey");
    json_end(w);
}

static void put_json_content(struct json_writer *w, const char *media_type, const char *name,
                             const char *suffix)
{
    open_member(w, media_type);
    open_member(w, "schema");
    put_ref(w, "schemas", name, suffix);
    json_end(w);
    json_end(w);
}

static bool needs_body(const struct shape *s)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->fields[i].flags & FIELD_REQUIRED && !(s->fields[i].flags & FIELD_READONLY)) return true;
    return false;
}

static void put_body(struct json_writer *w, const struct api_route *route)
{
    if (!route->body) return;
    open_member(w, "requestBody");
    json_put_bool(w, "required", route->is_merge || needs_body(route->body));
    open_member(w, "content");
    put_json_content(w, route->is_merge ? "application/merge-patch+json" : "application/json",
                     route->body->name, shape_use_suffix(route->is_merge ? SHAPE_PATCH : SHAPE_INPUT));
    json_end(w);
    json_end(w);
}

static void put_header_ref(struct json_writer *w, const char *name, const char *component)
{
    open_member(w, name);
    put_ref(w, "headers", component, "");
    json_end(w);
}

int api_documented_status(const struct api_route *route)
{
    if (route->status) return route->status;
    if (route->is_delayed) return 202;
    return route->answer || route->stream ? 200 : 204;
}

static void put_success(struct json_writer *w, const struct api_route *route)
{
    char status[12];
    int code = api_documented_status(route);
    int n = snprintf(status, sizeof status, "%d", code);
    json_name(w, str_of(status, (size_t)n));
    json_object(w);
    json_put_str(w, "description", str_c(http_reason(code)));
    open_member(w, "headers");
    put_header_ref(w, "X-Request-Id", "RequestId");
    if (code == 201 || code == 202) put_header_ref(w, "Location", "Location");
    json_end(w);
    if (route->answer) {
        open_member(w, "content");
        if (route->is_delayed) {
            open_member(w, "application/json");
            open_member(w, "schema");
            json_put_str(w, "type", S("object"));
            open_member(w, "properties");
            open_member(w, "job");
            put_ref(w, "schemas", route->answer->name, "");
            json_end(w);
            json_end(w);
            json_name(w, S("required"));
            json_array(w);
            json_str(w, S("job"));
            json_end(w);
            json_end(w);
            json_end(w);
        } else {
            put_json_content(w, "application/json", route->answer->name, route->is_list ? "List" : "");
        }
        if (route->is_csv) {
            open_member(w, "text/csv");
            open_member(w, "schema");
            json_put_str(w, "type", S("string"));
            json_end(w);
            json_end(w);
        }
        json_end(w);
    } else if (route->stream) {
        open_member(w, "content");
        open_member(w, "text/event-stream");
        open_member(w, "schema");
        json_put_str(w, "type", S("string"));
        json_end(w);
        json_end(w);
        json_end(w);
    }
    json_end(w);
}

static void put_responses(struct json_writer *w, const struct api_route *route)
{
    open_member(w, "responses");
    put_success(w, route);
    open_member(w, "default");
    put_ref(w, "responses", "Problem", "");
    json_end(w);
    json_end(w);
}

const char *api_asks_for(const struct api_route *route)
{
    switch (route->access) {
    case ACCESS_PERMISSION: return permission_name(route->permission);
    case ACCESS_SIGNED_IN: return "(any signed-in user)";
    case ACCESS_SESSION: return "(session)";
    case ACCESS_PUBLIC: return "(public)";
    case ACCESS_SETUP_TOKEN: return "(set-up token)";
    case ACCESS_INSTANCE_ADMIN: return "(instance admin)";
    }
    return "";
}

bool api_lets_keys_in(const struct api_route *route)
{
    static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};
    const struct rbac_row *row = rbac_find(names[route->method], route->path);
    return row && row->takes_keys && route->access != ACCESS_SESSION &&
           route->access != ACCESS_INSTANCE_ADMIN;
}

static void put_security(struct json_writer *w, const struct api_route *route)
{
    bool is_unsafe = route->method != HTTP_GET;
    json_name(w, S("security"));
    json_array(w);
    if (route->access != ACCESS_PUBLIC && route->access != ACCESS_SETUP_TOKEN) {
        json_object(w);
        json_name(w, S("session"));
        json_array(w);
        json_end(w);
        if (is_unsafe) {
            json_name(w, S("csrf"));
            json_array(w);
            json_end(w);
        }
        json_end(w);
        if (api_lets_keys_in(route)) {
            json_object(w);
            json_name(w, S("apiKey"));
            json_array(w);
            json_end(w);
            json_end(w);
        }
    }
    json_end(w);
}

static void put_operation(struct json_writer *w, const struct api_table *t, const struct api_route *route)
{
    open_member(w, verbs[route->method]);
    json_put_str(w, "operationId", str_c(route->name));
    json_name(w, S("tags"));
    json_array(w);
    json_str(w, str_c(t->tag));
    json_end(w);
    json_put_str(w, "summary", str_c(route->summary ? route->summary : route->name));
    if (route->text) json_put_str(w, "description", str_c(route->text));
    put_params(w, route);
    put_body(w, route);
    put_responses(w, route);
    put_security(w, route);
    json_put_str(w, "x-permission", str_c(api_asks_for(route)));
    json_end(w);
}

static bool is_first_of_path(const struct document *d, unsigned table, unsigned index)
{
    const char *path = d->tables[table]->routes[index].path;
    for (unsigned t = 0; t <= table; t++)
        for (unsigned i = 0; i < (t == table ? index : d->tables[t]->n); i++)
            if (!strcmp(d->tables[t]->routes[i].path, path)) return false;
    return true;
}

static void put_paths(struct json_writer *w, const struct document *d)
{
    open_member(w, "paths");
    for (unsigned t = 0; t < d->n_tables; t++)
        for (unsigned i = 0; i < d->tables[t]->n; i++) {
            const char *path = d->tables[t]->routes[i].path;
            if (!is_first_of_path(d, t, i)) continue;
            put_path_name(w, path);
            json_object(w);
            for (unsigned u = t; u < d->n_tables; u++)
                for (unsigned j = 0; j < d->tables[u]->n; j++)
                    if (!strcmp(d->tables[u]->routes[j].path, path))
                        put_operation(w, d->tables[u], &d->tables[u]->routes[j]);
            json_end(w);
        }
    json_end(w);
}

/* What every document has. JSON as it stands. */
#define PROBLEM_SCHEMA                                                                                       \
    "{\"type\":\"object\",\"description\":\"What went wrong (RFC 9457).\",\"properties\":{"                  \
    "\"type\":{\"type\":\"string\"},\"title\":{\"type\":\"string\"},\"status\":{\"type\":\"integer\"},"      \
    "\"detail\":{\"type\":\"string\",\"description\":\"What was wrong, and what would be right.\"},"         \
    "\"instance\":{\"type\":\"string\",\"description\":\"The path that was asked for.\"},"                   \
    "\"code\":{\"type\":\"string\",\"description\":\"For programs; never changes.\"},"                       \
    "\"permission\":{\"type\":\"string\",\"description\":\"With 403: the one that was missing.\"},"          \
    "\"errors\":{\"type\":\"array\",\"description\":\"Every wrong field of a request.\","                    \
    "\"items\":{\"$ref\":\"#/components/schemas/FieldError\"}},"                                             \
    "\"request_id\":{\"type\":\"string\",\"format\":\"uuid\"}},"                                             \
    "\"required\":[\"type\",\"title\",\"status\",\"detail\",\"code\",\"request_id\"]}"
#define FIELD_ERROR_SCHEMA                                                                                   \
    "{\"type\":\"object\",\"properties\":{\"field\":{\"type\":\"string\",\"description\":\"budget.limit_"    \
    "usd, tags[2]\"},"                                                                                       \
    "\"code\":{\"type\":\"string\",\"enum\":[\"required\",\"unknown_field\",\"wrong_type\",\"too_short\","   \
    "\"too_long\",\"out_of_range\","                                                                         \
    "\"not_one_of\",\"bad_format\",\"read_only\",\"duplicate\"]},\"message\":{\"type\":\"string\"}},"        \
    "\"required\":[\"field\",\"code\",\"message\"]}"
#define PARAMETERS                                                                                           \
    "{\"Limit\":{\"name\":\"limit\",\"in\":\"query\",\"description\":\"Items at most.\","                    \
    "\"schema\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":200,\"default\":50}},"                       \
    "\"Cursor\":{\"name\":\"cursor\",\"in\":\"query\",\"description\":\"next_cursor of the answer "          \
    "before.\",\"schema\":{\"type\":\"string\"}},"                                                           \
    "\"Workspace\":{\"name\":\"X-Catalyst-Workspace\",\"in\":\"header\","                                    \
    "\"description\":\"The workspace; without it the API key's own, or the only one that the user is in.\"," \
    "\"schema\":{\"type\":\"string\",\"format\":\"uuid\"}},"                                                 \
    "\"IfMatch\":{\"name\":\"If-Match\",\"in\":\"header\",\"description\":\"The ETag that was read; 412 "    \
    "when the resource has changed since.\","                                                                \
    "\"schema\":{\"type\":\"string\"}},"                                                                     \
    "\"IdempotencyKey\":{\"name\":\"Idempotency-Key\",\"in\":\"header\","                                    \
    "\"description\":\"Sent again with the same key within 24 hours, the request is answered as the first "  \
    "time and done once.\","                                                                                 \
    "\"schema\":{\"type\":\"string\",\"maxLength\":255}}}"
#define HEADERS                                                                                              \
    "{\"RequestId\":{\"description\":\"Names the request in the "                                            \
    "log.\",\"schema\":{\"type\":\"string\",\"format\":\"uuid\"}},"                                          \
    "\"Location\":{\"description\":\"Where the new resource, or the job, "                                   \
    "is.\",\"schema\":{\"type\":\"string\"}}}"
#define RESPONSES                                                                                            \
    "{\"Problem\":{\"description\":\"Refused or failed\",\"content\":{\"application/problem+json\":"         \
    "{\"schema\":{\"$ref\":\"#/components/schemas/Problem\"}}}}}"
#define SECURITY_SCHEMES                                                                                     \
    "{\"session\":{\"type\":\"apiKey\",\"in\":\"cookie\",\"name\":\"__Host-cat_session\","                   \
    "\"description\":\"The cookie of a sign-in; cat_session over plain HTTP on loopback.\"},"                \
    "\"csrf\":{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"X-CSRF-Token\",\"description\":\"csrf_"      \
    "token of GET /api/auth/me.\"},"                                                                         \
    "\"apiKey\":{\"type\":\"http\",\"scheme\":\"bearer\",\"description\":\"An API key: cat_\\u2026\"}}"

static void put_raw(struct json_writer *w, const char *name, str json)
{
    json_name(w, str_c(name));
    json_raw(w, json);
}

static void put_list_schema(struct json_writer *w, const struct shape *s)
{
    char name[96];
    int n = snprintf(name, sizeof name, "%sList", s->name);
    json_name(w, str_of(name, (size_t)n));
    json_object(w);
    json_put_str(w, "type", S("object"));
    open_member(w, "properties");
    open_member(w, "items");
    json_put_str(w, "type", S("array"));
    open_member(w, "items");
    put_ref(w, "schemas", s->name, "");
    json_end(w);
    json_end(w);
    open_member(w, "next_cursor");
    json_name(w, S("type"));
    json_array(w);
    json_str(w, S("string"));
    json_str(w, S("null"));
    json_end(w);
    json_end(w);
    json_end(w);
    json_name(w, S("required"));
    json_array(w);
    json_str(w, S("items"));
    json_str(w, S("next_cursor"));
    json_end(w);
    json_end(w);
}

static void put_schemas(struct json_writer *w, const struct document *d)
{
    open_member(w, "schemas");
    put_raw(w, "Problem", S(PROBLEM_SCHEMA));
    put_raw(w, "FieldError", S(FIELD_ERROR_SCHEMA));
    for (unsigned i = 0; i < d->n_uses; i++) {
        char name[96];
        int n = snprintf(name, sizeof name, "%s%s", d->uses[i].shape->name, shape_use_suffix(d->uses[i].use));
        json_name(w, str_of(name, (size_t)n));
        shape_schema(d->uses[i].shape, d->uses[i].use, w);
        if (d->uses[i].as_list) put_list_schema(w, d->uses[i].shape);
    }
    json_end(w);
}

void api_openapi(const struct api_mount *mounts, unsigned n, struct buf *out)
{
    struct document d;
    struct json_writer w;
    document_init(&d, mounts, n);
    json_writer_init(&w, out);
    json_object(&w);
    json_put_str(&w, "openapi", S("3.1.0"));
    open_member(&w, "info");
    json_put_str(&w, "title", S("Catalyst"));
    json_put_str(&w, "version", S(CATALYST_VERSION));
    json_put_str(
        &w, "description",
        S("The control plane of Catalyst. Money is a decimal text (NAME_usd) beside an integer of billionths "
          "(NAME_nanousd); times are "
          "RFC 3339 in UTC. An unknown field is an error; every wrong field of a request is told at once."));
    json_end(&w);
    json_name(&w, S("servers"));
    json_array(&w);
    json_object(&w);
    json_put_str(&w, "url", S("/"));
    json_end(&w);
    json_end(&w);
    put_paths(&w, &d);
    open_member(&w, "components");
    put_schemas(&w, &d);
    put_raw(&w, "parameters", S(PARAMETERS));
    put_raw(&w, "headers", S(HEADERS));
    put_raw(&w, "responses", S(RESPONSES));
    put_raw(&w, "securitySchemes", S(SECURITY_SCHEMES));
    json_end(&w);
    json_end(&w);
    if (d.has_clash || d.is_full) /* two shapes of one name, or more shapes than a document holds */
        out->failed = ERR_INTERNAL;
}

/* --- GET /api/openapi.json --- */

static enum errc serve_openapi(struct api_request *r, err *e)
{
    const struct api *a = r->service;
    (void)e;
    r->raw = buf_str(&a->openapi);
    return ERR_NONE;
}

static const struct api_route own_routes[] = {
    {
        .method = HTTP_GET,
        .path = "/api/openapi.json",
        .name = "openapi",
        .access = ACCESS_PUBLIC,
        .scope = SCOPE_INSTANCE,
        .status = 200,
        .summary = "This document",
        .prepare = serve_openapi,
    },
};
const struct api_table api_own_table = {"api", own_routes, LENGTH_OF(own_routes)};
