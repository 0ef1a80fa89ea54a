/* The one path that every request takes on the pool. */
#include <assert.h>
#include <stdio.h>

#include "base/log.h"
#include "core/api/api_internal.h"
#include "core/events.h"
#include "core/jobs.h"
#include "net/url.h"

#define KEY_MAX 255 /* bytes of an Idempotency-Key */

/* --- reading the head --- */

static str field(const struct api_call *k, str name)
{
    const str *v = http_field(&k->head, name);
    return v ? *v : (str){NULL, 0};
}

/* "\"7\"" and "W/\"7\"" ask for 7; "*" asks for nothing that a resource which exists does not have. */
static str if_match(const struct api_call *k)
{
    str v = str_trim(field(k, S("if-match")));
    if (str_starts(v, S("W/"))) v = str_skip(v, 2);
    if (v.len >= 2 && v.p[0] == '"' && v.p[v.len - 1] == '"') return str_of(v.p + 1, v.len - 2);
    return str_eq(v, S("*")) ? S("") : v;
}

/* Whether text/csv stands in Accept before anything that JSON answers. */
static bool wants_csv(const struct api_call *k)
{
    for (str rest = field(k, S("accept")); rest.len;) {
        str range = str_cut(&rest, ',');
        str type = str_trim(str_cut(&range, ';'));
        if (str_ieq(type, S("text/csv"))) return true;
        if (str_ieq(type, S("application/json")) || str_eq(type, S("*/*"))) return false;
    }
    return false;
}

static enum errc read_idempotency_key(struct api_call *k, err *e)
{
    const struct api_route *route = k->r.route;
    str v = str_trim(field(k, S("idempotency-key")));
    if (!v.len || route->method != HTTP_POST || route->is_idempotent_exempt) return ERR_NONE;
    if (v.len >= 2 && v.p[0] == '"' && v.p[v.len - 1] == '"') v = str_of(v.p + 1, v.len - 2);
    bool is_fine = v.len > 0 && v.len <= KEY_MAX;
    for (size_t i = 0; i < v.len; i++)
        is_fine = is_fine && v.p[i] > ' ' && v.p[i] < 0x7F;
    if (!is_fine)
        return err_set(
            e, ERR_INVALID,
            "Idempotency-Key must be 1 to %d printable ASCII characters without spaces, such as a UUID",
            KEY_MAX);
    k->idempotency_key = v;
    return ERR_NONE;
}

/* --- who, where, what --- */

static enum errc authenticate(struct api_call *k, err *e)
{
    const struct api_setup *s = &k->api->setup;
    struct api_request *r = &k->r;
    enum api_access access = r->route->access;
    bool is_open = access == ACCESS_PUBLIC || access == ACCESS_SETUP_TOKEN;
    enum errc rc = s->authenticate(s->ctx, r, &k->head, e);
    if (is_open &&
        rc == ERR_UNAUTHENTICATED) { /* an old cookie is no reason to keep somebody from signing in */
        r->who = (struct principal){.kind = PRINCIPAL_NONE};
        return ERR_NONE;
    }
    if (rc != ERR_NONE || is_open || r->who.kind != PRINCIPAL_NONE) return rc;
    return err_set(e, ERR_UNAUTHENTICATED, "sign in, or send an API key as Authorization: Bearer");
}

static int param_index(const struct endpoint *ep, const char *param)
{
    int k = 0;
    for (unsigned i = 0; i < ep->n_segments; i++) {
        if (ep->segments[i].p[0] != ':') continue;
        if (str_eq(ep->segments[i], str_c(param))) return k;
        k++;
    }
    return -1;
}

/* The id that the request names; *is_named false when it leaves it to the membership. */
static enum errc named_workspace(struct api_call *k, bool *is_named, err *e)
{
    struct api_request *r = &k->r;
    str text = (str){NULL, 0};
    *is_named = true;
    if (str_starts(str_c(r->route->path), S("/api/workspaces/:id"))) {
        r->workspace_id = r->path_id[0];
        return uuid_is_nil(&r->workspace_id) ? err_set(e, ERR_NOT_FOUND, "there is no such workspace")
                                             : ERR_NONE;
    }
    text = str_trim(field(k, S("x-catalyst-workspace")));
    const char *from = "X-Catalyst-Workspace";
    if (!text.len) {
        text = url_query_get(k->head.query, S("workspace"));
        from = "?workspace=";
    }
    if (text.len) {
        if (!uuid_parse(text, &r->workspace_id) || uuid_is_nil(&r->workspace_id))
            return err_set(e, ERR_INVALID, "%s must be the id of a workspace", from);
        return ERR_NONE;
    }
    r->workspace_id = r->who.key_workspace_id;
    *is_named = !uuid_is_nil(&r->workspace_id);
    return ERR_NONE;
}

struct lookup {
    struct api_call *k;
    bool is_named;
    bool finds_resource;
};

static enum errc find_resource(struct api_call *k, struct tx *tx, err *e)
{
    struct api_request *r = &k->r;
    const struct api_resource *what = r->route->resource;
    int i = param_index(k->endpoint, what->param);
    const struct val *row;
    assert(i >= 0 && "the resource's parameter stands in the path");
    enum errc rc = uuid_is_nil(&r->path_id[i])
                       ? ERR_NOT_FOUND
                       : tx_query_row(tx, &k->arena, what->find,
                                      PARAMS(v_uuid(&r->workspace_id), v_uuid(&r->path_id[i])), &row, e);
    bool hides_others = what->is_in_project && r->who.n_key_projects;
    r->project_id = (uuid){0};
    if (rc == ERR_NOT_FOUND && !hides_others && r->route->is_elsewhere &&
        r->route->is_elsewhere(r, &r->path_id[i]))
        return ERR_NONE;
    if (rc == ERR_NONE && (hides_others || row[0].type != VAL_NULL)) {
        r->project_id = val_uuid(&row[0]);
        if (!api_sees_project(r, &r->project_id)) rc = ERR_NOT_FOUND;
    }
    return rc == ERR_NOT_FOUND ? err_set(e, ERR_NOT_FOUND, "there is no such %s", what->noun) : rc;
}

/* One snapshot: membership, permissions, the thing itself. */
static enum errc look_up(struct tx *tx, void *ctx, err *e)
{
    struct lookup *l = ctx;
    struct api_call *k = l->k;
    struct api_request *r = &k->r;
    const struct api_setup *s = &k->api->setup;
    if (!l->is_named) {
        enum errc rc = s->only_workspace(s->ctx, r, tx, &r->workspace_id, e);
        if (rc != ERR_NONE) return rc;
    }
    enum errc rc = s->authorize(s->ctx, r, tx, e);
    if (rc != ERR_NONE) return rc == ERR_NOT_FOUND ? err_set(e, rc, "there is no such workspace") : rc;
    return l->finds_resource ? find_resource(k, tx, e) : ERR_NONE;
}

static enum errc look_up_resource(struct tx *tx, void *ctx, err *e)
{
    struct lookup *l = ctx;
    return find_resource(l->k, tx, e);
}

static enum errc find_workspace(struct api_call *k, err *e)
{
    struct api_request *r = &k->r;
    const struct api_resource *what = r->route->resource;
    struct lookup l = {.k = k, .finds_resource = what && what->find->db == DB_MAIN};
    if (r->route->scope != SCOPE_WORKSPACE)
        return what ? db_read(store_db(k->api->store, what->find->db), look_up_resource, &l, e) : ERR_NONE;
    enum errc rc = named_workspace(k, &l.is_named, e);
    if (rc != ERR_NONE) return rc;
    if (principal_is_program(&r->who) &&
        memcmp(&r->workspace_id, &r->who.key_workspace_id, sizeof(uuid)) != 0)
        return err_set(e, ERR_NOT_FOUND, "there is no such workspace");
    rc = db_read(store_db(k->api->store, DB_MAIN), look_up, &l, e);
    if (rc == ERR_NONE && what && !l.finds_resource)
        rc = db_read(store_db(k->api->store, what->find->db), look_up_resource, &l, e);
    return rc;
}

/* Where the resource is: in its project, else in the workspace. */
static bool holds_permission(const struct api_request *r)
{
    const struct api_route *route = r->route;
    if (api_may_in(r, &r->project_id, route->permission)) return true;
    return route->is_of_projects && r->access && access_has_somewhere(r->access, route->permission) &&
           permission_set_has(&r->who.key_scopes, route->permission);
}

static enum errc check_permission(struct api_call *k, err *e)
{
    struct api_request *r = &k->r;
    const struct api_route *route = r->route;
    if (route->access == ACCESS_PUBLIC || route->access == ACCESS_SETUP_TOKEN) return ERR_NONE;
    const char *permission = route->access == ACCESS_PERMISSION ? permission_name(route->permission) : NULL;
    if (principal_is_program(&r->who) && !k->endpoint->row->takes_keys) {
        k->permission = permission;
        return err_set(e, ERR_FORBIDDEN, "%s may not do this; sign in",
                       r->who.kind == PRINCIPAL_BEARER ? "programs" : "API keys");
    }
    if (route->access == ACCESS_INSTANCE_ADMIN && !r->who.is_instance_admin)
        return err_set(e, ERR_FORBIDDEN, "only an administrator of this instance may do this");
    if (route->access == ACCESS_PERMISSION && !holds_permission(r) && !(route->is_own && route->is_own(r))) {
        k->permission = permission;
        return err_set(e, ERR_FORBIDDEN, "this needs the permission %s", permission);
    }
    return ERR_NONE;
}

static enum errc check_rate(struct api_call *k, err *e)
{
    struct api_request *r = &k->r;
    if (r->who.kind == PRINCIPAL_NONE) return ERR_NONE;
    const uuid *who = r->who.kind == PRINCIPAL_API_KEY ? &r->who.credential_id : &r->who.user_id;
    k->rate = rate_take(k->api->by_principal, str_of((const char *)who->b, sizeof who->b), clock_mono_us());
    k->has_rate = true;
    if (k->rate.is_allowed) return ERR_NONE;
    r->retry_after_s = k->rate.wait_s;
    return err_set(e, ERR_RATE_LIMITED, "more than %u requests a minute",
                   rate_per_minute(k->api->by_principal));
}

/* --- decoding --- */

struct page_query {
    int64_t limit;
    str cursor;
};
static const struct field list_fields[] = {
    FIELD(struct page_query, limit, FIELD_INT, .min = 1, .max = API_LIST_MAX, .flags = FIELD_NULLABLE),
    FIELD(struct page_query, cursor, FIELD_TEXT, .max = 1000, .format = FORMAT_LINE, .flags = FIELD_NULLABLE),
};
static const struct shape list_shape = SHAPE("ListQuery", struct page_query, list_fields, NULL);
static const struct field csv_fields[] = {
    FIELD(struct page_query, limit, FIELD_INT, .min = 1, .max = API_CSV_MAX, .flags = FIELD_NULLABLE),
    FIELD(struct page_query, cursor, FIELD_TEXT, .max = 1000, .format = FORMAT_LINE, .flags = FIELD_NULLABLE),
};
static const struct shape csv_shape = SHAPE("CsvQuery", struct page_query, csv_fields, NULL);
static const struct shape empty_shape = {.name = "NoQuery", .size = 1};

/* What the pipeline reads of the query itself, and the rest. */
static enum errc split_query(struct api_call *k, str *own, str *rest, err *e)
{
    const struct api_route *route = k->r.route;
    struct buf texts[2];
    str *out[2] = {own, rest};
    bool is_full = false;
    for (unsigned i = 0; i < 2; i++)
        buf_init(&texts[i], k->head.query.len + 2);
    for (str all = k->head.query; all.len;) {
        str pair = str_cut(&all, '&'), value = pair;
        str name = str_cut(&value, '=');
        if (route->scope == SCOPE_WORKSPACE && str_eq(name, S("workspace"))) continue;
        struct buf *b = &texts[!(route->is_list && (str_eq(name, S("limit")) || str_eq(name, S("cursor"))))];
        if (b->len) buf_add_char(b, '&');
        buf_add(b, pair);
    }
    for (unsigned i = 0; i < 2; i++) {
        *out[i] = str_dup(&k->arena, buf_str(&texts[i]));
        is_full |= !out[i]->p || buf_err(&texts[i]) != ERR_NONE;
        buf_fini(&texts[i]);
    }
    return is_full ? err_code(e, ERR_NO_MEMORY) : ERR_NONE;
}

static enum errc decode_query(struct api_call *k, err *e)
{
    struct api_request *r = &k->r;
    const struct shape *shape = r->route->query ? r->route->query : &empty_shape;
    struct page_query page = {0};
    str own, rest;
    void *query = arena_alloc(&k->arena, shape->size);
    enum errc rc = query ? split_query(k, &own, &rest, e) : err_code(e, ERR_NO_MEMORY);
    if (rc != ERR_NONE) return rc;
    if (r->route->is_list) {
        rc =
            shape_decode_query(&k->arena, k->wants_csv ? &csv_shape : &list_shape, own, &page, &r->errors, e);
        if (rc != ERR_NONE && rc != ERR_INVALID) return rc;
        r->limit = page.limit != NO_VALUE ? (unsigned)page.limit
                   : k->wants_csv         ? API_CSV_DEFAULT
                                          : API_LIST_DEFAULT;
        r->cursor = page.cursor;
    }
    rc = shape_decode_query(&k->arena, shape, rest, query, &r->errors, e);
    r->query = query;
    return rc;
}

static enum errc decode_body(struct api_call *k, err *e)
{
    struct api_request *r = &k->r;
    const struct shape *shape = r->route->body ? r->route->body : &empty_shape;
    str text = str_trim(buf_str(&k->body));
    struct json *json;
    if (!text.len) {
        if (!r->route->body) return ERR_NONE;
        text = S("{}");
    }
    enum errc rc = json_parse(&k->arena, text, &json, e);
    if (rc == ERR_SYNTAX) err_prefix(e, "the body is not JSON");
    if (rc != ERR_NONE) return rc;
    r->body_json = json;
    void *body = arena_alloc(&k->arena, shape->size);
    if (!body) return err_code(e, ERR_NO_MEMORY);
    if (r->route->is_merge) {
        r->body = NULL;
        if (json->type == JSON_OBJECT)
            return ERR_NONE; /* its members are read into the resource, once that is known: api_merge */
    }
    rc = shape_decode(&k->arena, shape, json, SHAPE_NEW, body, &r->body_has, &r->errors, e);
    r->body = r->route->body && !r->route->is_merge ? body : NULL;
    return rc;
}

/* Query and body, so that everything that is wrong is told at once. */
static enum errc decode(struct api_call *k, err *e)
{
    enum errc rc = decode_query(k, e);
    if (rc != ERR_NONE && rc != ERR_INVALID) return rc;
    enum errc rc_body = decode_body(k, e);
    if (rc_body != ERR_NONE && rc_body != ERR_INVALID) return rc_body;
    if (k->r.errors.n) return field_errors_sum(&k->r.errors, e);
    return rc_body;
}

/* --- the unit of work --- */

struct unit {
    struct api_call *k;
    struct api_request before; /* as prepare left it: what a unit that runs again starts from */
    struct arena_mark mark;
};

static enum errc load_job(struct api_call *k, struct tx *tx, err *e)
{
    struct api_request *r = &k->r;
    struct job_view *view = arena_new(&k->arena, struct job_view);
    if (!view) return err_code(e, ERR_NO_MEMORY);
    r->answer = view;
    r->location = api_location(r, "/api/jobs/", &r->job_id);
    return tx_job_view(tx, &k->arena, &r->job_id, view, e);
}

/* Whether what was decided before still holds in the snapshot of the unit that changes something: nobody acts on rights that were taken
 * from them between the look and the deed. */
static enum errc decide_again(struct unit *u, struct tx *tx, err *e)
{
    struct api_call *k = u->k;
    struct api_request *r = &k->r;
    const struct access *before = r->access;
    struct lookup l = {.k = k, .is_named = true, .finds_resource = false};
    enum errc rc = look_up(tx, &l, e);
    u->before.access = r->access; /* the hold has changed hands */
    u->before.role = r->role;
    u->before.may = r->may;
    if (rc != ERR_NONE || r->access == before) return rc;
    if (r->route->resource && r->route->resource->find->db == DB_MAIN) rc = find_resource(k, tx, e);
    return rc == ERR_NONE ? check_permission(k, e) : rc;
}

static enum errc unit_run(struct tx *tx, void *ctx, err *e)
{
    struct unit *u = ctx;
    struct api_call *k = u->k;
    struct api_request *r = &k->r;
    enum errc rc;
    arena_reset(&k->arena, u->mark);
    *r = u->before;
    k->is_replay = false;
    if (r->route->effect == EFFECT_STATE && r->route->scope == SCOPE_WORKSPACE && r->route->db == DB_MAIN &&
        (rc = decide_again(u, tx, e)) != ERR_NONE)
        return rc;
    if (k->idempotency_key.len) {
        bool is_found;
        rc = api_idempotency_find(k, tx, &is_found, e);
        if (rc != ERR_NONE || is_found) return rc;
    }
    rc = r->route->apply(r, tx, e);
    if (rc != ERR_NONE) return rc;
    if (r->route->effect == EFFECT_STATE && tx_changed(tx) > 0 && !tx_noted(tx))
        return err_set(e, ERR_INTERNAL, "%s changed %lld rows and added no event: nothing is committed",
                       r->route->name, (long long)tx_changed(tx));
    if (r->route->is_delayed && !uuid_is_nil(&r->job_id) && (rc = load_job(k, tx, e)) != ERR_NONE) return rc;
    return k->idempotency_key.len ? api_idempotency_keep(k, tx, e) : ERR_NONE;
}

static enum errc apply(struct api_call *k, err *e)
{
    struct api_request *r = &k->r;
    const struct api_route *route = r->route;
    struct unit u = {.k = k, .before = *r, .mark = arena_mark(&k->arena)};
    struct db *db = store_db(k->api->store, route->db);
    if (route->effect == EFFECT_NONE) return db_read(db, unit_run, &u, e);
    enum errc rc = person_key_ensure(k->api->store, &r->who.user_id, r->now_us,
                                     e); /* the unit's event may be the first about them */
    if (rc == ERR_NONE) rc = db_write(db, unit_run, &u, e);
    /* Two requests with one key at the same time, on PostgreSQL: the later one finds the row that the first
     * has written meanwhile. */
    if (rc == ERR_CONFLICT && k->idempotency_key.len) rc = db_write(db, unit_run, &u, e);
    /* Nobody knows whether it was done: the key's row does. */
    if (rc == ERR_UNAVAILABLE && k->idempotency_key.len && db_is_unknown(e)) rc = db_write(db, unit_run, &u, e);
    return rc;
}

static enum errc pipeline(struct api_call *k, err *e)
{
    struct api_request *r = &k->r;
    const struct api_route *route = r->route;
    enum errc rc;
    r->if_match = if_match(k);
    r->last_event_id = str_trim(field(k, S("last-event-id")));
    k->wants_csv = route->is_csv && wants_csv(k);
    if (!api_path_params(&k->arena, k->endpoint, k->head.path, r))
        return err_set(e, ERR_NOT_FOUND, "the path is not well-formed");
    if ((rc = authenticate(k, e)) != ERR_NONE || (rc = find_workspace(k, e)) != ERR_NONE ||
        (rc = check_permission(k, e)) != ERR_NONE || (rc = check_rate(k, e)) != ERR_NONE ||
        (rc = read_idempotency_key(k, e)) != ERR_NONE || (rc = decode(k, e)) != ERR_NONE)
        return rc;
    if (r->who.kind == PRINCIPAL_NONE || route->db != DB_MAIN || route->effect == EFFECT_NONE)
        k->idempotency_key = (str){NULL, 0};
    if (route->prepare && (rc = route->prepare(r, e)) != ERR_NONE) return rc;
    if (route->apply && (rc = apply(k, e)) != ERR_NONE) return rc;
    if (k->is_replay) return ERR_NONE;
    if (route->reads && (rc = reads_add(k->api->refusals, r, e)) != ERR_NONE) return rc;
    if (k->api->setup.jobs && !uuid_is_nil(&r->job_id)) jobs_wake(k->api->setup.jobs);
    if (route->after) route->after(r);
    return ERR_NONE;
}

/* Whether an auditor may ask about it: what somebody may not do or see, credentials that are none, sign-ins that are held up. */
static bool is_denial(const struct api_call *k, enum errc rc)
{
    bool is_sign_in = k->r.route->access == ACCESS_PUBLIC || k->r.route->access == ACCESS_SETUP_TOKEN;
    return rc == ERR_FORBIDDEN || rc == ERR_NOT_FOUND || rc == ERR_REAUTHENTICATE ||
           (rc == ERR_RATE_LIMITED && is_sign_in) ||
           (rc == ERR_UNAUTHENTICATED && (field(k, S("authorization")).len || field(k, S("cookie")).len));
}

void api_run(struct api_call *k)
{
    err e = {0};
    enum errc rc = pipeline(k, &e);
    if (rc == ERR_NONE && k->r.route->stream) {
        api_answer_stream(k);
        return;
    }
    if (rc == ERR_NONE) {
        api_answer(k);
        return;
    }
    if (e.code != rc) /* a handler that named no reason */
        err_code(&e, rc);
    if (is_denial(k, rc)) refusals_add(k->api->refusals, &k->r, k->permission, rc, str_c(e.msg));
    api_answer_problem(k, &e);
}
