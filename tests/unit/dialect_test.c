/* Errors in the shape of each dialect, checked by a JSON library of others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <jansson.h>

#include "gateway/call/observe.h"

#define MESSAGE "no provider serves \"gpt-9\"\nüse another"

static const char *text_at(const json_t *o, const char *name)
{
    const json_t *v = json_object_get(o, name);
    return json_is_string(v) ? json_string_value(v) : json_is_null(v) ? "null" : "absent";
}

static json_t *body_of(enum dialect d, const struct dialect_error *x)
{
    struct buf out;
    buf_init(&out, 4096);
    dialect_error_body(d, x, &out);
    assert_int_equal(buf_err(&out), ERR_NONE);
    json_t *root = json_loadb(out.p, out.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    buf_fini(&out);
    return root;
}

static void assert_type(enum dialect d, int status, const char *want)
{
    const struct dialect_error x = {.status = status, .code = "code", .message = S(MESSAGE), .param = {NULL, 0}, .request_id = S("req_1")};
    json_t *root = body_of(d, &x);
    assert_string_equal(text_at(json_object_get(root, "error"), "type"), want);
    json_decref(root);
}

static void openai_bodies_have_message_type_param_and_code(void **state)
{
    (void)state;
    static const enum dialect dialects[] = {DIALECT_CHAT, DIALECT_RESPONSES, DIALECT_EMBEDDINGS};
    for (size_t i = 0; i < LENGTH_OF(dialects); i++) {
        struct dialect_error x = {.status = 404, .code = "model_not_found", .message = S(MESSAGE), .param = S("model"), .request_id = S("req_1")};
        json_t *root = body_of(dialects[i], &x), *error = json_object_get(root, "error");
        assert_int_equal(json_object_size(root), 1);
        assert_int_equal(json_object_size(error), 4);
        assert_string_equal(text_at(error, "message"), MESSAGE);
        assert_string_equal(text_at(error, "type"), "invalid_request_error");
        assert_string_equal(text_at(error, "param"), "model");
        assert_string_equal(text_at(error, "code"), "model_not_found");
        json_decref(root);
        x.param = (str){NULL, 0};
        root = body_of(dialects[i], &x);
        assert_string_equal(text_at(json_object_get(root, "error"), "param"), "null");
        json_decref(root);
    }
}

static void anthropic_bodies_have_type_message_and_request_id(void **state)
{
    (void)state;
    static const enum dialect dialects[] = {DIALECT_MESSAGES, DIALECT_COUNT_TOKENS};
    for (size_t i = 0; i < LENGTH_OF(dialects); i++) {
        struct dialect_error x = {.status = 404, .code = "model_not_found", .message = S(MESSAGE), .param = S("model"), .request_id = S("req_1")};
        json_t *root = body_of(dialects[i], &x), *error = json_object_get(root, "error");
        assert_string_equal(text_at(root, "type"), "error");
        assert_string_equal(text_at(root, "request_id"), "req_1");
        assert_int_equal(json_object_size(error), 2);
        assert_string_equal(text_at(error, "type"), "not_found_error");
        assert_string_equal(text_at(error, "message"), MESSAGE);
        json_decref(root);
        x.request_id = (str){NULL, 0};
        root = body_of(dialects[i], &x);
        assert_string_equal(text_at(root, "request_id"), "null");
        json_decref(root);
    }
}

static void types_follow_the_status(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *openai, *anthropic;
    } rows[] = {
        {400, "invalid_request_error", "invalid_request_error"},
        {401, "invalid_request_error", "authentication_error"},
        {402, "insufficient_quota", "billing_error"},
        {403, "permission_denied", "permission_error"},
        {404, "invalid_request_error", "not_found_error"},
        {405, "invalid_request_error", "invalid_request_error"},
        {408, "invalid_request_error", "invalid_request_error"},
        {409, "invalid_request_error", "conflict_error"},
        {413, "invalid_request_error", "request_too_large"},
        {415, "invalid_request_error", "invalid_request_error"},
        {422, "invalid_request_error", "invalid_request_error"},
        {429, "rate_limit_error", "rate_limit_error"},
        {500, "server_error", "api_error"},
        {502, "server_error", "api_error"},
        {503, "server_error", "overloaded_error"},
        {504, "server_error", "timeout_error"},
        {507, "server_error", "api_error"},
        {529, "server_error", "overloaded_error"},
    };
    for (size_t i = 0; i < LENGTH_OF(rows); i++) {
        assert_type(DIALECT_CHAT, rows[i].status, rows[i].openai);
        assert_type(DIALECT_MESSAGES, rows[i].status, rows[i].anthropic);
    }
}

struct seen {
    unsigned n;
    char type[64];
    json_t *data;
};

static bool keep(void *ctx, const struct sse_event *event)
{
    struct seen *s = ctx;
    s->n++;
    snprintf(s->type, sizeof(s->type), "%.*s", STR(event->type));
    s->data = json_loadb(event->data.p, event->data.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(s->data);
    return true;
}

/* Writes the event, splits it, and lets our own observer look at it too. */
static struct seen event_of(enum dialect d, const struct dialect_error *x)
{
    struct seen seen = {0};
    struct buf out;
    struct sse s;
    buf_init(&out, 4096);
    dialect_error_event(d, x, &out);
    assert_int_equal(buf_err(&out), ERR_NONE);
    sse_init(&s, 4096);
    assert_int_equal(sse_feed(&s, buf_str(&out), keep, &seen, NULL), ERR_NONE);
    assert_int_equal(seen.n, 1);
    assert_int_equal(sse_unfinished(&s).len, 0);
    sse_fini(&s);
    buf_fini(&out);
    return seen;
}

static void events_are_what_the_sdks_raise(void **state)
{
    (void)state;
    const struct dialect_error x = {.status = 504, .code = "upstream_timeout", .message = S(MESSAGE), .param = {NULL, 0}, .request_id = S("req_1")};

    struct seen s = event_of(DIALECT_CHAT, &x);
    assert_string_equal(s.type, "");
    json_t *error = json_object_get(s.data, "error");
    assert_string_equal(text_at(error, "type"), "server_error");
    assert_string_equal(text_at(error, "code"), "upstream_timeout");
    json_decref(s.data);

    s = event_of(DIALECT_RESPONSES, &x);
    assert_string_equal(s.type, "error");
    assert_string_equal(text_at(s.data, "type"), "error");
    assert_string_equal(text_at(s.data, "code"), "upstream_timeout");
    assert_string_equal(text_at(s.data, "message"), MESSAGE);
    assert_string_equal(text_at(s.data, "param"), "null");
    assert_true(json_is_integer(json_object_get(s.data, "sequence_number")));
    error = json_object_get(s.data, "error");
    assert_string_equal(text_at(error, "message"), MESSAGE);
    assert_string_equal(text_at(error, "code"), "upstream_timeout");
    json_decref(s.data);

    s = event_of(DIALECT_MESSAGES, &x);
    assert_string_equal(s.type, "error");
    assert_string_equal(text_at(s.data, "type"), "error");
    error = json_object_get(s.data, "error");
    assert_string_equal(text_at(error, "type"), "timeout_error");
    assert_string_equal(text_at(error, "message"), MESSAGE);
    json_decref(s.data);
}

static void our_errors_are_errors_to_our_observers(void **state)
{
    (void)state;
    const struct dialect_error x = {.status = 502, .code = "upstream_error", .message = S(MESSAGE), .param = {NULL, 0}, .request_id = {NULL, 0}};
    for (enum dialect d = 0; d < DIALECTS; d++) {
        struct observer o;
        struct buf out;
        buf_init(&out, 4096);
        dialect_error_body(d, &x, &out);
        observer_init(&o, d, false);
        observe_body(&o, buf_str(&out));
        assert_true(o.has_error);
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(openai_bodies_have_message_type_param_and_code),
        cmocka_unit_test(anthropic_bodies_have_type_message_and_request_id),
        cmocka_unit_test(types_follow_the_status),
        cmocka_unit_test(events_are_what_the_sdks_raise),
        cmocka_unit_test(our_errors_are_errors_to_our_observers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
