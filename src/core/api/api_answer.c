/* What goes back: status, header fields, body, or the problem (RFC 9457). */
#include <stdio.h>

#include "base/log.h"
#include "core/api/api_document.h"
#include "core/api/api_internal.h"

const char *api_code(enum errc code)
{
    switch (code) {
    case ERR_UNAUTHENTICATED:
        return "unauthenticated"; /* the gateway speaks of API keys, and of permissions in its dialects' words */
    case ERR_FORBIDDEN: return "forbidden";
    default: return errc_name(code);
    }
}

void api_security_fields(struct buf *fields, bool is_secure, unsigned public_for_s)
{
    if (public_for_s)
        buf_addf(fields, "Cache-Control: public, max-age=%u\r\n", public_for_s);
    else
        buf_add(fields, S("Cache-Control: no-store\r\n"));
    buf_add(fields, S("Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
                      "X-Content-Type-Options: nosniff\r\n"
                      "Referrer-Policy: no-referrer\r\n"
                      "Cross-Origin-Resource-Policy: same-origin\r\n"));
    if (is_secure) buf_add(fields, S("Strict-Transport-Security: max-age=63072000; includeSubDomains\r\n"));
}

void api_problem(struct buf *out, int status, const char *code, str detail, str instance, str request_id,
                 const char *permission, const struct field_errors *errors)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_object(&w);
    json_put_str(&w, "type", S("about:blank"));
    json_put_str(&w, "title", str_c(http_reason(status)));
    json_put_int(&w, "status", status);
    json_put_str(&w, "detail", detail);
    if (instance.len) json_put_str(&w, "instance", instance);
    json_put_str(&w, "code", str_c(code));
    if (permission) json_put_str(&w, "permission", str_c(permission));
    if (errors && errors->first) {
        json_name(&w, S("errors"));
        json_array(&w);
        for (const struct field_error *x = errors->first; x; x = x->next) {
            json_object(&w);
            json_put_str(&w, "field", x->field);
            json_put_str(&w, "code", str_c(x->code));
            json_put_str(&w, "message", x->message);
            json_end(&w);
        }
        json_end(&w);
    }
    json_put_str(&w, "request_id", request_id);
    json_end(&w);
}

static void put_field(struct buf *fields, const char *name, str value)
{
    buf_addf(fields, "%s: ", name);
    for (size_t i = 0; i < value.len; i++) /* nothing may end the line, whatever a handler was given */
        buf_add_char(fields, value.p[i] == '\r' || value.p[i] == '\n' ? ' ' : value.p[i]);
    buf_add(fields, S("\r\n"));
}

static void put_rate(struct api_call *k)
{
    if (!k->has_rate || !rate_per_minute(k->api->by_principal)) return;
    buf_addf(&k->fields,
             "RateLimit-Policy: \"principal\";q=%u;w=60\r\nRateLimit: \"principal\";r=%u;t=%u\r\n",
             rate_per_minute(k->api->by_principal), k->rate.left, k->rate.wait_s);
}

static void begin_fields(struct api_call *k, unsigned public_for_s)
{
    char id[UUID_TEXT_LEN + 1];
    buf_clear(&k->fields);
    buf_clear(&k->out);
    api_security_fields(&k->fields, k->r.is_secure, public_for_s);
    put_field(&k->fields, "X-Request-Id", uuid_format(&k->r.request_id, id));
    put_rate(k);
}

/* What went wrong inside is for the log; the client gets the request's id to ask about it. */
static bool is_inner(enum errc code)
{
    return code == ERR_INTERNAL || code == ERR_IO || code == ERR_CORRUPT || code == ERR_CONFIG ||
           code == ERR_USAGE || code == ERR_NO_MEMORY;
}

static unsigned retry_after(const struct api_call *k, enum errc code)
{
    if (k->r.retry_after_s) return k->r.retry_after_s;
    return code == ERR_BUSY || code == ERR_UNAVAILABLE || code == ERR_NO_MEMORY || code == ERR_RATE_LIMITED
               ? 1
               : 0;
}

str api_instance(str pattern, str path)
{
    return str_find(pattern, S(":token")) >= 0 ? pattern : path;
}

void api_answer_problem(struct api_call *k, const err *e)
{
    char id_text[UUID_TEXT_LEN + 1];
    enum errc code = e->code == ERR_NONE ? ERR_INTERNAL : e->code;
    str id = uuid_format(&k->r.request_id, id_text);
    begin_fields(k, 0);
    k->status = errc_http_status(code);
    k->media_type = S("application/problem+json");
    if (is_inner(code))
        log_event(LOG_ERROR, "api_failed", LOG_S("request_id", id), LOG_S("route", str_c(k->r.route->name)),
                  LOG_S("error", str_c(errc_name(code))), LOG_S("reason", str_c(e->msg)),
                  LOG_S("file", str_c(e->file ? e->file : "")), LOG_I("line", e->line));
    unsigned wait_s = retry_after(k, code);
    if (wait_s) buf_addf(&k->fields, "Retry-After: %u\r\n", wait_s);
    if (k->status == 401) buf_add(&k->fields, S("WWW-Authenticate: Bearer\r\n"));
    api_problem(&k->out, k->status, api_code(code), is_inner(code) ? str_c(errc_text(code)) : str_c(e->msg),
                api_instance(str_c(k->r.route->path), k->head.path), id, code == ERR_FORBIDDEN ? k->permission : NULL, &k->r.errors);
}

int api_success_status(const struct api_request *r)
{
    if (r->status) return r->status;
    return r->raw.p && !r->route->status ? 200 : api_documented_status(r->route);
}

static void encode_one(const struct api_request *r, const void *value, bool without_secrets,
                       struct json_writer *w)
{
    if (without_secrets)
        shape_encode_without_secrets(r->route->answer, value, w);
    else
        shape_encode(r->route->answer, value, w);
}

static void encode_csv(const struct api_request *r, struct buf *out)
{
    shape_csv_header(r->route->answer, out);
    for (unsigned i = 0; i < r->items.n; i++)
        shape_csv_row(r->route->answer, (const char *)r->items.items + i * r->route->answer->size, out);
}

void api_encode(const struct api_call *k, bool without_secrets, struct buf *out)
{
    const struct api_request *r = &k->r;
    struct json_writer w;
    if (r->raw.p) {
        buf_add(out, r->raw);
        return;
    }
    if (r->route->is_list && k->wants_csv) {
        encode_csv(r, out);
        return;
    }
    json_writer_init(&w, out);
    if (r->route->is_list) {
        json_object(&w);
        json_name(&w, S("items"));
        json_array(&w);
        for (unsigned i = 0; i < r->items.n; i++)
            encode_one(r, (const char *)r->items.items + i * r->route->answer->size, without_secrets, &w);
        json_end(&w);
        if (r->next_cursor.len)
            json_put_str(&w, "next_cursor", r->next_cursor);
        else
            json_put_null(&w, "next_cursor");
        json_end(&w);
    } else if (r->answer && r->route->is_delayed) {
        json_object(&w);
        json_name(&w, S("job"));
        encode_one(r, r->answer, without_secrets, &w);
        json_end(&w);
    } else if (r->answer) {
        encode_one(r, r->answer, without_secrets, &w);
    }
}

/* RFC 8288: where a list goes on that is given as CSV. */
static void put_next_link(struct api_call *k)
{
    static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    buf_addf(&k->fields, "Link: <%.*s?cursor=", STR(k->head.path));
    for (size_t i = 0; i < k->r.next_cursor.len; i++) {
        char c = k->r.next_cursor.p[i];
        if (c && strchr(unreserved, c))
            buf_add_char(&k->fields, c);
        else
            buf_addf(&k->fields, "%%%02X", (unsigned char)c);
    }
    for (str rest = k->head.query; rest.len;) {
        str pair = str_cut(&rest, '&');
        if (pair.len && !str_starts(pair, S("cursor="))) buf_addf(&k->fields, "&%.*s", STR(pair));
    }
    buf_add(&k->fields, S(">; rel=\"next\"\r\n"));
}

static bool is_not_modified(const struct api_call *k)
{
    const str *seen = http_field(&k->head, S("if-none-match"));
    if (!seen || !k->r.etag.len || k->r.method != HTTP_GET) return false;
    for (str rest = *seen; rest.len;) {
        str tag = str_trim(str_cut(&rest, ','));
        if (str_starts(tag, S("W/"))) tag = str_skip(tag, 2);
        if (tag.len == k->r.etag.len + 2 && str_eq(str_take(str_skip(tag, 1), k->r.etag.len), k->r.etag))
            return true;
    }
    return false;
}

void api_answer_stream(struct api_call *k)
{
    begin_fields(k, 0);
    k->status = 200;
    k->is_stream = true;
}

void api_answer(struct api_call *k)
{
    struct api_request *r = &k->r;
    bool is_csv = r->route->is_list && k->wants_csv;
    begin_fields(k, r->public_for_s);
    k->status = api_success_status(r);
    k->media_type = r->raw.p ? (r->raw_type.len ? r->raw_type : S("application/json"))
                    : is_csv ? S("text/csv; charset=utf-8")
                             : S("application/json");
    for (unsigned i = 0; i < r->n_cookies; i++)
        put_field(&k->fields, "Set-Cookie", r->cookies[i]);
    if (r->location.p) put_field(&k->fields, "Location", r->location);
    if (r->etag.len) buf_addf(&k->fields, "ETag: \"%.*s\"\r\n", STR(r->etag));
    if (r->route->is_csv) buf_add(&k->fields, S("Vary: Accept\r\n"));
    if (is_csv && r->next_cursor.len) put_next_link(k);
    if (k->is_replay) buf_add(&k->fields, S("Idempotency-Replayed: true\r\n"));
    if (is_not_modified(k)) {
        k->status = 304;
        k->media_type = S("");
        return;
    }
    api_encode(k, false, &k->out);
    if (!k->out.len) k->media_type = S("");
    if (!k->out.len && k->status == 200) k->status = 204;
}
