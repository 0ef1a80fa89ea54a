/* Responses: typed events; the terminal ones carry the whole response with its usage. */
#include "gateway/call/observe_internal.h"

enum responses_path {
    RESPONSES_TYPE,
    RESPONSES_OBJECT,
    RESPONSES_DELTA,
    RESPONSES_ITEM_NAME,
    RESPONSES_ERROR,
    RESPONSES_ERROR_IN_LIST,
    RESPONSES_INPUT_TOKENS,
    RESPONSES_OUTPUT_TOKENS,
    RESPONSES_TOTAL_TOKENS,
    RESPONSES_CACHED_TOKENS,
    RESPONSES_CACHE_WRITE_TOKENS,
    RESPONSES_REASONING_TOKENS,
    RESPONSES_EVENT_PATHS,
    /* only in a whole body, where the text has not passed before */
    RESPONSES_OUTPUT_TEXT = RESPONSES_EVENT_PATHS,
    RESPONSES_OUTPUT_REFUSAL,
    RESPONSES_SUMMARY_TEXT,
    RESPONSES_NAME,
    RESPONSES_ARGUMENTS,
    RESPONSES_CUSTOM_INPUT,
    RESPONSES_BODY_PATHS
};

/* "delta", "item" and "type" stand outside of the response in events; in a body they are not there. */
#define RESPONSES_TABLE(response)                                                                            \
    [RESPONSES_TYPE] = {STR_LIT("type"), false}, [RESPONSES_OBJECT] = {STR_LIT("object"), false},            \
    [RESPONSES_DELTA] = {STR_LIT("delta"), false}, [RESPONSES_ITEM_NAME] = {STR_LIT("item.name"), false},    \
    [RESPONSES_ERROR] = {STR_LIT("error"), false}, [RESPONSES_ERROR_IN_LIST] = {STR_LIT("[].error"), false}, \
    [RESPONSES_INPUT_TOKENS] = {STR_LIT(response "usage.input_tokens"), false},                              \
    [RESPONSES_OUTPUT_TOKENS] = {STR_LIT(response "usage.output_tokens"), false},                            \
    [RESPONSES_TOTAL_TOKENS] = {STR_LIT(response "usage.total_tokens"), false},                              \
    [RESPONSES_CACHED_TOKENS] = {STR_LIT(response "usage.input_tokens_details.cached_tokens"), false},       \
    [RESPONSES_CACHE_WRITE_TOKENS] = {STR_LIT(response "usage.input_tokens_details.cache_write_tokens"),     \
                                      false},                                                                \
    [RESPONSES_REASONING_TOKENS] = {STR_LIT(response "usage.output_tokens_details.reasoning_tokens"), false}

static const struct json_path event_paths[RESPONSES_EVENT_PATHS] = {RESPONSES_TABLE("response.")};
static const struct json_path body_paths[RESPONSES_BODY_PATHS] = {
    RESPONSES_TABLE(""),
    [RESPONSES_OUTPUT_TEXT] = {STR_LIT("output[].content[].text"), false},
    [RESPONSES_OUTPUT_REFUSAL] = {STR_LIT("output[].content[].refusal"), false},
    [RESPONSES_SUMMARY_TEXT] = {STR_LIT("output[].summary[].text"), false},
    [RESPONSES_NAME] = {STR_LIT("output[].name"), false},
    [RESPONSES_ARGUMENTS] = {STR_LIT("output[].arguments"), false},
    [RESPONSES_CUSTOM_INPUT] = {STR_LIT("output[].input"), false},
};

/* Written once by observe_responses_init. */
static struct json_query event_query, body_query;

void observe_responses_init(void)
{
    query_compile(&event_query, event_paths, RESPONSES_EVENT_PATHS);
    query_compile(&body_query, body_paths, RESPONSES_BODY_PATHS);
}

struct responses_reading {
    str type; /* without quotes; our names need no escapes, so an escaped one is none of them */
    bool has_error;
    uint64_t text, delta, item_name;
    struct openai_usage usage;
};

static void responses_match(void *ctx, unsigned path, const struct json_value *v)
{
    struct responses_reading *r = ctx;
    switch ((enum responses_path)path) {
    case RESPONSES_TYPE:
        if (v->type == JSON_STRING) r->type = (str){v->raw.p + 1, v->raw.len - 2};
        break;
    case RESPONSES_OBJECT: r->has_error |= json_string_is(v, S("error")); break;
    case RESPONSES_DELTA: r->delta = json_string_len(v); break;
    case RESPONSES_ITEM_NAME: r->item_name = json_string_len(v); break;
    case RESPONSES_ERROR:
    case RESPONSES_ERROR_IN_LIST: r->has_error |= tells_error(v); break;
    case RESPONSES_INPUT_TOKENS: r->usage.input = token_count(v); break;
    case RESPONSES_OUTPUT_TOKENS: r->usage.output = token_count(v); break;
    case RESPONSES_TOTAL_TOKENS: r->usage.total = token_count(v); break;
    case RESPONSES_CACHED_TOKENS: r->usage.cached = token_count(v); break;
    case RESPONSES_CACHE_WRITE_TOKENS: r->usage.cache_write = token_count(v); break;
    case RESPONSES_REASONING_TOKENS: r->usage.reasoning = token_count(v); break;
    case RESPONSES_OUTPUT_TEXT:
    case RESPONSES_OUTPUT_REFUSAL:
    case RESPONSES_SUMMARY_TEXT:
    case RESPONSES_NAME:
    case RESPONSES_ARGUMENTS:
    case RESPONSES_CUSTOM_INPUT: r->text += json_string_len(v); break;
    case RESPONSES_BODY_PATHS: break;
    }
}

static bool responses_read(str text, const struct json_query *q, struct responses_reading *r)
{
    *r = (struct responses_reading){.usage = OPENAI_USAGE_NONE};
    if (json_scan(text, q, responses_match, r, NULL, NULL, NULL) != ERR_NONE) return false;
    r->has_error |= str_eq(r->type, S("error"));
    return true;
}

enum event_verdict observe_responses_event(struct observer *o, const struct sse_event *event)
{
    struct responses_reading r;
    if (!responses_read(event->data, &event_query, &r)) return EVENT_PASS;
    /* Clients go by the type inside the data; the event line is for servers that leave it out. */
    str type = r.type.len > 0 ? r.type : event->type;
    o->has_error |= r.has_error || str_eq(type, S("error"));
    if (str_ends(type, S(".delta"))) {
        if (!str_eq(type, S("response.audio.delta"))) /* base64, not text */
            o->text_bytes += r.delta;
        return EVENT_PASS;
    }
    if (str_eq(type, S("response.output_item.added"))) {
        o->text_bytes += r.item_name;
        return EVENT_PASS;
    }
    bool is_failed = str_eq(type, S("response.failed"));
    if (!is_failed && !str_eq(type, S("response.completed")) && !str_eq(type, S("response.incomplete")))
        return EVENT_PASS;
    observer_report(o, &r.usage);
    o->has_error |= is_failed;
    o->is_ended = true;
    return EVENT_LAST;
}

bool observe_responses_body(struct observer *o, str body)
{
    struct responses_reading r;
    if (!responses_read(body, &body_query, &r)) return false;
    o->text_bytes += r.text;
    o->has_error |= r.has_error;
    observer_report(o, &r.usage);
    return true;
}
