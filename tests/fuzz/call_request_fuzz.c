/* Requests from arbitrary bytes. The first byte chooses the dialect. What is accepted can be edited, and the
 * edited body reads as the same request but for what was asked. */
#include <stdint.h>
#include <stdlib.h>

#include "gateway/call/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MODEL                                                                                                \
    S("a \"new\" m\xc3\xb6"                                                                                  \
      "del\n")

static void must(bool claim)
{
    if (!claim) abort();
}

static void check_edit(struct arena *a, const struct call_request *r, str body, str model, bool asks)
{
    struct json_edit edit;
    struct call_request again;
    struct buf out;
    must(call_request_edit(r, a, body, model, asks, &edit, NULL) == ERR_NONE);
    buf_init(&out, body.len + 256);
    json_edit_write(&edit, &out);
    must(buf_err(&out) == ERR_NONE && out.len == json_edit_len(&edit));
    must(call_request_scan(a, r->dialect, buf_str(&out), &again, NULL) == ERR_NONE);
    must(str_eq(again.model_name, model.len > 0 ? model : r->model_name));
    must(again.is_streamed == r->is_streamed && again.text_bytes == r->text_bytes);
    must(again.max_output_tokens == r->max_output_tokens);
    must(str_eq(again.session, r->session) && str_eq(again.task, r->task));
    bool must_ask = asks && r->dialect == DIALECT_CHAT && r->is_streamed;
    must(again.wants_usage == (r->wants_usage || must_ask));
    if (edit.n == 0) must(str_eq(buf_str(&out), body));
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    enum dialect d = (enum dialect)((data[0] & 7u) % DIALECTS);
    str body = str_of((const char *)data + 1, size - 1);
    struct arena a;
    struct call_request r;
    err e = {0};
    arena_init(&a, 1u << 20, 0);
    enum errc code = call_request_scan(&a, d, body, &r, &e);
    must(code == e.code);
    if (code) {
        must(code == ERR_SYNTAX || code == ERR_INVALID);
        must(e.msg[0] != 0);
    } else {
        must(r.model_name.len > 0 && r.model_name.len <= REQUEST_MODEL_MAX);
        must(r.session.len <= REQUEST_LABEL_MAX && r.task.len <= REQUEST_LABEL_MAX);
        check_edit(&a, &r, body, (str){NULL, 0}, false);
        check_edit(&a, &r, body, MODEL, false);
        check_edit(&a, &r, body, (str){NULL, 0}, true);
        check_edit(&a, &r, body, MODEL, true);
    }
    arena_fini(&a);
    return 0;
}
