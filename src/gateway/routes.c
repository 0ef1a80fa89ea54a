#include "base/keytext.h"
#include "gateway/internal.h"
#include "json/write.h"
#include "net/url.h"

enum { TAG_MODELS = DIALECTS, TAG_MODEL };

/* The dialect of an error on a path that no call was made on. */
static enum dialect dialect_of(const struct route *route, const struct http_head *h)
{
    if (route && route->tag < DIALECTS)
        return (enum dialect)route->tag;
    bool is_anthropic = h && (str_starts(h->path, S("/v1/messages")) || http_field(h, S("anthropic-version")));
    return is_anthropic ? DIALECT_MESSAGES : DIALECT_CHAT;
}

static void refuse(void *service, struct http_conn *c, const struct route *route, const struct http_head *h, const err *e)
{
    char id_text[UUID_TEXT_LEN + 1];
    uuid id = uuid7_make(clock_now_us());
    str message = str_c(e->msg);
    (void)service;
    char text[sizeof e->msg + 200];
    if (e->code == ERR_NOT_FOUND || e->code == ERR_METHOD) {
        int n = snprintf(text, sizeof text,
                         "%s; this gateway serves POST /v1/chat/completions, /v1/responses, /v1/embeddings, /v1/messages, "
                         "/v1/messages/count_tokens and GET /v1/models",
                         e->msg);
        message = str_of(text, n > 0 && (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
    }
    struct dialect_error x = {.status = errc_http_status(e->code), .code = errc_name(e->code), .message = message, .request_id = uuid_format(&id, id_text)};
    gateway_refuse(c, dialect_of(route, h), &x);
}

static str bearer(const struct http_head *h)
{
    const str *value = http_field(h, S("authorization"));
    if (!value || value->len < 7 || !str_ieq(str_take(*value, 7), S("Bearer ")))
        return S("");
    return str_trim(str_skip(*value, 7));
}

static enum errc explain_bad_key(str text, err *e)
{
    bool is_sound;
    switch (keytext_kind(text, &is_sound)) {
    case KEYTEXT_MANAGEMENT:
        return err_set(e, ERR_UNAUTHENTICATED, "this is a management key (cat_…); calls to models need a virtual key (cvk_…)");
    case KEYTEXT_VIRTUAL:
        if (!is_sound)
            return err_set(e, ERR_UNAUTHENTICATED, "the API key is mistyped or cut off: its checksum does not match");
        break;
    case KEYTEXT_OTHER:
        break;
    }
    return err_set(e, ERR_UNAUTHENTICATED, "the API key is not known here: it was never made, or revoked");
}

static const struct key_secret *secret_of(const struct snapshot *s, const struct http_head *h, err *e)
{
    const str *x_api_key = http_field(h, S("x-api-key"));
    str texts[2] = {bearer(h), x_api_key ? *x_api_key : S("")};
    const struct key_secret *secrets[2] = {snapshot_secret(s, texts[0]), snapshot_secret(s, texts[1])};
    if (secrets[0] && secrets[1] && secrets[0] != secrets[1]) {
        err_set(e, ERR_INVALID, "Authorization and x-api-key hold two different keys; send one");
        return NULL;
    }
    const struct key_secret *found = secrets[0] ? secrets[0] : secrets[1];
    if (found)
        return key_secret_check(found, clock_now_us(), e) == ERR_NONE ? found : NULL;
    if (!texts[0].len && !texts[1].len)
        err_set(e, ERR_UNAUTHENTICATED, "no API key: send a virtual key (cvk_…) as 'Authorization: Bearer KEY' or 'x-api-key: KEY'");
    else
        explain_bad_key(texts[0].len ? texts[0] : texts[1], e);
    return NULL;
}

static enum errc admit(void *service, struct http_conn *c, const struct http_head *h, err *e)
{
    struct gateway_loop *gl = service;
    const struct snapshot *s = gateway_current(gl);
    if (!gateway_is_fresh(gl->gateway))
        return err_set(e, ERR_UNAVAILABLE, "the database has been away for longer than gateway.stale_max_ms: this node does not know which keys still hold");
    c->principal = secret_of(s, h, e);
    c->principal_version = s->version;
    return c->principal ? ERR_NONE : e->code;
}

/* The key that was admitted; looked up again when the snapshot has changed while the body came. NULL: it is not good any more, and that was answered. */
static const struct key_secret *admitted(struct gateway_loop *gl, struct http_conn *c, const struct route *route, const struct http_request *r)
{
    const struct snapshot *s = gateway_current(gl);
    err e = {0};
    if (c->principal_version == s->version)
        return c->principal;
    const struct key_secret *secret = secret_of(s, r->head, &e);
    if (!secret)
        refuse(gl, c, route, r->head, &e);
    return secret;
}

static void handle_call(void *service, struct http_conn *c, const struct route *route, const struct http_request *r)
{
    const struct key_secret *secret = admitted(service, c, route, r);
    if (secret)
        call_start(service, c, secret, (enum dialect)route->tag, r);
}

static void handle_models(void *service, struct http_conn *c, const struct route *route, const struct http_request *r)
{
    const struct key_secret *secret = admitted(service, c, route, r);
    if (!secret)
        return;
    const struct workspace_view *w = secret->key->workspace;
    bool is_anthropic = http_field(r->head, S("anthropic-version")) != NULL;
    http_reply(c, 200, S("application/json"), S(""), is_anthropic ? w->models_anthropic : w->models_openai);
}

static void handle_model(void *service, struct http_conn *c, const struct route *route, const struct http_request *r)
{
    const struct key_secret *secret = admitted(service, c, route, r);
    if (!secret)
        return;
    bool is_anthropic = http_field(r->head, S("anthropic-version")) != NULL;
    struct route_choice choice;
    char name_bytes[REQUEST_MODEL_MAX];
    size_t len = 0;
    err e = {0};
    str rest = route_rest(route, r->head->path);
    if (rest.len > sizeof name_bytes || !url_decode(rest, name_bytes, &len)) {
        err_set(&e, ERR_INVALID, "the model's name is too long or not well percent-encoded");
        refuse(service, c, route, r->head, &e);
        return;
    }
    str name = str_of(name_bytes, len);
    if (!snapshot_names(secret->key->workspace, name, &choice)) {
        err_set(&e, ERR_MODEL_NOT_FOUND, "no provider serves the model '%.*s'; known: %.*s", STR(str_take(name, 60)),
                STR(secret->key->workspace->known_models));
        refuse(service, c, route, r->head, &e);
        return;
    }
    struct buf body;
    struct json_writer w;
    buf_init(&body, 4096);
    json_writer_init(&w, &body);
    snapshot_write_model(&w, name, choice.provider, is_anthropic);
    http_reply(c, 200, S("application/json"), S(""), buf_str(&body));
    buf_fini(&body);
}

static const struct route routes[] = {
    {HTTP_POST, STR_LIT("/v1/chat/completions"), ROUTE_GATEWAY_BODY, DIALECT_CHAT, admit, handle_call},
    {HTTP_POST, STR_LIT("/v1/responses"), ROUTE_GATEWAY_BODY, DIALECT_RESPONSES, admit, handle_call},
    {HTTP_POST, STR_LIT("/v1/messages"), ROUTE_GATEWAY_BODY, DIALECT_MESSAGES, admit, handle_call},
    {HTTP_POST, STR_LIT("/v1/messages/count_tokens"), ROUTE_GATEWAY_BODY, DIALECT_COUNT_TOKENS, admit, handle_call},
    {HTTP_POST, STR_LIT("/v1/embeddings"), ROUTE_GATEWAY_BODY, DIALECT_EMBEDDINGS, admit, handle_call},
    {HTTP_GET, STR_LIT("/v1/models"), ROUTE_NO_BODY, TAG_MODELS, admit, handle_models},
    {HTTP_GET, STR_LIT("/v1/models/:rest"), ROUTE_NO_BODY, TAG_MODEL, admit, handle_model},
};

const struct route_table gateway_routes = {STR_LIT("/v1"), routes, LENGTH_OF(routes), refuse};
