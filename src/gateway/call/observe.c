#include "gateway/call/observe_internal.h"

#include <assert.h>
#include <pthread.h>

/* --- shared by the dialects --- */

int64_t token_count(const struct json_value *v)
{
    int64_t n;
    if (!json_to_i64(v, &n) || n < 0 || n > TOKENS_MAX) return -1;
    return n;
}

bool tells_error(const struct json_value *v)
{
    switch (v->type) {
    case JSON_OBJECT:
    case JSON_ARRAY:
    case JSON_TRUE:
    case JSON_NUMBER: return true;
    case JSON_STRING: return v->raw.len > 2;
    default: return false;
    }
}

static int64_t at_least_0(int64_t n) { return n > 0 ? n : 0; }

void observer_report(struct observer *o, const struct openai_usage *u)
{
    if (u->input < 0 && u->output < 0 && u->total < 0) return;
    int64_t input = at_least_0(u->input), output = at_least_0(u->output);
    /* Gemini and xAI leave reasoning out of completion_tokens and bill it as output; only total_tokens has
     * it. */
    if (u->total > input + output) {
        if (u->input < 0 && u->output >= 0)
            input = u->total - output;
        else
            output = u->total - input;
    }
    int64_t cached = at_least_0(u->cached), written = at_least_0(u->cache_write);
    /* More cached than prompt tokens: a server that passes Anthropic's numbers on, where they are apart
     * already. */
    int64_t fresh = cached + written <= input ? input - cached - written : input;
    int64_t reasoning = at_least_0(u->reasoning);
    o->tokens = (struct token_usage){
        .input = fresh,
        .cache_read = cached,
        .cache_write = written,
        .output = output,
        .reasoning = reasoning < output ? reasoning : output,
    };
    o->has_usage = true;
    o->reported_at = o->text_bytes;
}

void query_compile(struct json_query *q, const struct json_path *paths, unsigned n)
{
    enum errc code = json_query_init(q, paths, n, NULL);
    assert(code == ERR_NONE);
    (void)code;
}

/* --- embeddings and count_tokens: one small query --- */

enum plain_path {
    PLAIN_PROMPT_TOKENS,
    PLAIN_TOTAL_TOKENS,
    PLAIN_TYPE,
    PLAIN_OBJECT,
    PLAIN_ERROR,
    PLAIN_ERROR_IN_LIST,
    PLAIN_PATHS
};
static const struct json_path plain_paths[PLAIN_PATHS] = {
    [PLAIN_PROMPT_TOKENS] = {STR_LIT("usage.prompt_tokens"), false},
    [PLAIN_TOTAL_TOKENS] = {STR_LIT("usage.total_tokens"), false},
    [PLAIN_TYPE] = {STR_LIT("type"), false},
    [PLAIN_OBJECT] = {STR_LIT("object"), false},
    [PLAIN_ERROR] = {STR_LIT("error"), false},
    [PLAIN_ERROR_IN_LIST] = {STR_LIT("[].error"), false},
};

/* Queries are written under queries_once and never again. */
static pthread_once_t queries_once = PTHREAD_ONCE_INIT;
static struct json_query plain_query, tail_query;

struct plain_reading {
    int64_t prompt, total;
    bool has_error;
};

static void plain_match(void *ctx, unsigned path, const struct json_value *v)
{
    struct plain_reading *r = ctx;
    switch ((enum plain_path)path) {
    case PLAIN_PROMPT_TOKENS: r->prompt = token_count(v); break;
    case PLAIN_TOTAL_TOKENS: r->total = token_count(v); break;
    case PLAIN_TYPE:
    case PLAIN_OBJECT: r->has_error |= json_string_is(v, S("error")); break;
    case PLAIN_ERROR:
    case PLAIN_ERROR_IN_LIST: r->has_error |= tells_error(v); break;
    case PLAIN_PATHS: break;
    }
}

/* Vectors of floats run to megabytes, and a loop must not be held for milliseconds to read two numbers behind
 * them. When the text ends in `"usage":{...}}`, that object is the member of the outermost object and all
 * that is wanted: the last brace closes the outermost object, and what stands between the colon and it is a
 * whole value. Embeddings carry no text of users, and the quote before the name must not be an escaped one.
 * Returns an empty slice when it is not so. */
#define EMBEDDINGS_TAIL 512
static str embeddings_usage_tail(str body)
{
    const str none = {NULL, 0};
    body = str_trim(body);
    if (body.len < 64 * EMBEDDINGS_TAIL || body.p[body.len - 1] != '}') return none;
    str rest = str_trim(str_take(body, body.len - 1));
    str tail = str_skip(rest, rest.len > EMBEDDINGS_TAIL ? rest.len - EMBEDDINGS_TAIL : 0);
    ptrdiff_t at = str_find(tail, S("\"usage\""));
    if (at <= 0 || tail.p[at - 1] == '\\') return none;
    str value = str_trim(str_skip(tail, (size_t)at + sizeof("\"usage\"") - 1));
    if (value.len == 0 || value.p[0] != ':') return none;
    return str_trim(str_skip(value, 1));
}

enum tail_path { TAIL_PROMPT_TOKENS, TAIL_TOTAL_TOKENS, TAIL_PATHS };
static const struct json_path tail_paths[TAIL_PATHS] = {
    [TAIL_PROMPT_TOKENS] = {STR_LIT("prompt_tokens"), false},
    [TAIL_TOTAL_TOKENS] = {STR_LIT("total_tokens"), false},
};

static bool plain_body(struct observer *o, str body)
{
    struct plain_reading r = {.prompt = -1, .total = -1};
    struct json_value hits[TAIL_PATHS], root;
    str tail = o->dialect == DIALECT_EMBEDDINGS ? embeddings_usage_tail(body) : (str){NULL, 0};
    if (tail.len > 0 && json_find(tail, &tail_query, hits, &root, NULL) == ERR_NONE &&
        root.type == JSON_OBJECT) {
        r.prompt = token_count(&hits[TAIL_PROMPT_TOKENS]);
        r.total = token_count(&hits[TAIL_TOTAL_TOKENS]);
    } else if (json_scan(body, &plain_query, plain_match, &r, NULL, NULL, NULL) != ERR_NONE) {
        return false;
    }
    o->has_error |= r.has_error;
    if (o->dialect == DIALECT_EMBEDDINGS && (r.prompt >= 0 || r.total >= 0)) {
        o->tokens = (struct token_usage){.input = r.prompt >= 0 ? r.prompt : r.total};
        o->has_usage = true;
    }
    return true;
}

static void queries_init(void)
{
    query_compile(&plain_query, plain_paths, PLAIN_PATHS);
    query_compile(&tail_query, tail_paths, TAIL_PATHS);
    observe_chat_init();
    observe_responses_init();
    observe_messages_init();
}

/* --- the interface --- */

void observer_init(struct observer *o, enum dialect d, bool hides_usage_chunk)
{
    pthread_once(&queries_once, queries_init);
    *o = (struct observer){
        .dialect = d,
        .hides_usage_chunk = hides_usage_chunk,
        .cache_creation = -1,
        .cache_creation_5m = -1,
        .cache_creation_1h = -1,
    };
}

enum event_verdict observe_event(struct observer *o, const struct sse_event *event)
{
    if (!event->has_data) return EVENT_PASS;
    switch (o->dialect) {
    case DIALECT_CHAT: return observe_chat_event(o, event);
    case DIALECT_RESPONSES: return observe_responses_event(o, event);
    case DIALECT_MESSAGES: return observe_messages_event(o, event);
    case DIALECT_EMBEDDINGS:
    case DIALECT_COUNT_TOKENS: /* neither is ever streamed */
    case DIALECTS: break;
    }
    return EVENT_PASS;
}

static bool body_observe(struct observer *o, str body)
{
    switch (o->dialect) {
    case DIALECT_CHAT: return observe_chat_body(o, body);
    case DIALECT_RESPONSES: return observe_responses_body(o, body);
    case DIALECT_MESSAGES: return observe_messages_body(o, body);
    case DIALECT_EMBEDDINGS:
    case DIALECT_COUNT_TOKENS:
    case DIALECTS: break;
    }
    return plain_body(o, body);
}

void observe_body(struct observer *o, str body)
{
    if (body_observe(o, body)) {
        o->is_ended = true;
        return;
    }
    /* A page of HTML generated nothing; an object that breaks off did, and its length is the best there is to
     * know. */
    str text = str_trim(body);
    if (text.len > 0 && text.p[0] == '{') o->text_bytes += text.len;
}

static int64_t estimate(uint64_t bytes)
{
    uint64_t tokens = bytes / ESTIMATE_BYTES_PER_TOKEN + (bytes % ESTIMATE_BYTES_PER_TOKEN != 0);
    return tokens > (uint64_t)TOKENS_MAX ? TOKENS_MAX : (int64_t)tokens;
}

bool observer_usage(const struct observer *o, uint64_t input_text_bytes, struct token_usage *out)
{
    *out = (struct token_usage){0};
    if (o->dialect == DIALECT_COUNT_TOKENS) return false;
    const struct token_usage *t = &o->tokens;
    bool has_input = t->input > 0 || t->cache_read > 0 || t->cache_write > 0 || t->cache_write_1h > 0;
    if (o->has_error && !has_input && t->output == 0 && o->text_bytes == 0) return false;
    *out = *t;
    bool is_estimated = !o->has_usage;
    bool is_input_reported = has_input || (o->has_usage && t->output > 0);
    if (!is_input_reported && input_text_bytes > 0) {
        out->input = estimate(input_text_bytes);
        is_estimated = true;
    }
    if (o->dialect == DIALECT_EMBEDDINGS) return is_estimated;
    bool is_behind = !o->has_usage || o->text_bytes > o->reported_at || t->output == 0;
    int64_t passed = estimate(o->text_bytes);
    if (is_behind && passed > out->output) {
        out->output = passed;
        is_estimated = true;
    }
    return is_estimated;
}
