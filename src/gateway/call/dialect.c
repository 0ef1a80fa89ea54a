/* Errors of Catalyst in the shapes that clients of each dialect parse. Types are those that the providers'
 * references and SDKs list per status; the machine name travels as "code" where the dialect has one. */
#include "gateway/call/observe.h"
#include "json/write.h"

static bool is_anthropic(enum dialect d) { return d == DIALECT_MESSAGES || d == DIALECT_COUNT_TOKENS; }

/* OpenAI tells a wrong key from a wrong request by "code":"invalid_api_key", the type is the same. */
static str openai_type(int status)
{
    switch (status) {
    case 402: return S("insufficient_quota");
    case 403: return S("permission_denied");
    case 429: return S("rate_limit_error");
    default: return status >= 500 ? S("server_error") : S("invalid_request_error");
    }
}

static str anthropic_type(int status)
{
    switch (status) {
    case 401: return S("authentication_error");
    case 402: return S("billing_error");
    case 403: return S("permission_error");
    case 404: return S("not_found_error");
    case 409: return S("conflict_error");
    case 413: return S("request_too_large");
    case 429: return S("rate_limit_error");
    case 503: /* Catalyst's 503 says what Anthropic's own 529 says: try again later */
    case 529: return S("overloaded_error");
    case 504: return S("timeout_error");
    default: return status >= 500 ? S("api_error") : S("invalid_request_error");
    }
}

static void put_details(struct json_writer *w, str details)
{
    if (!details.len) return;
    json_name(w, S("budget"));
    json_raw(w, details);
}

static void put_or_null(struct json_writer *w, const char *name, str s)
{
    if (s.len > 0)
        json_put_str(w, name, s);
    else
        json_put_null(w, name);
}

/* "error":{...} in OpenAI's shape. */
static void openai_error(struct json_writer *w, const struct dialect_error *x)
{
    json_name(w, S("error"));
    json_object(w);
    json_put_str(w, "message", x->message);
    json_put_str(w, "type", openai_type(x->status));
    put_or_null(w, "param", x->param);
    put_or_null(w, "code", str_c(x->code));
    put_details(w, x->details);
    json_end(w);
}

void dialect_error_body(enum dialect d, const struct dialect_error *x, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_object(&w);
    if (is_anthropic(d)) {
        json_put_str(&w, "type", S("error"));
        json_name(&w, S("error"));
        json_object(&w);
        json_put_str(&w, "type", anthropic_type(x->status));
        json_put_str(&w, "message", x->message);
        put_details(&w, x->details);
        json_end(&w);
        put_or_null(&w, "request_id", x->request_id);
    } else {
        openai_error(&w, x);
    }
    json_end(&w);
}

void dialect_error_event(enum dialect d, const struct dialect_error *x, struct buf *out)
{
    if (d != DIALECT_CHAT && d != DIALECT_EMBEDDINGS) buf_add(out, S("event: error\n"));
    buf_add(out, S("data: "));
    if (d == DIALECT_RESPONSES) {
        /* The reference has the members at the top; SDKs before 7 raise an APIError only for a member "error",
         * which the service itself sends too. */
        struct json_writer w;
        json_writer_init(&w, out);
        json_object(&w);
        json_put_str(&w, "type", S("error"));
        put_or_null(&w, "code", str_c(x->code));
        json_put_str(&w, "message", x->message);
        put_or_null(&w, "param", x->param);
        json_put_int(&w, "sequence_number", 0);
        openai_error(&w, x);
        json_end(&w);
    } else {
        dialect_error_body(d, x, out);
    }
    buf_add(out, S("\n\n"));
}
