/* Chat completions, and the many servers that speak them with small differences. */
#include "gateway/call/observe_internal.h"

enum chat_path {
    CHAT_CHOICES,
    CHAT_FINISH_REASON,
    CHAT_CONTENT,
    CHAT_CONTENT_TEXT, /* Mistral: a list of typed parts */
    CHAT_CONTENT_THINKING_TEXT,
    CHAT_REFUSAL,
    CHAT_REASONING_CONTENT, /* DeepSeek, vLLM, llama.cpp */
    CHAT_REASONING,         /* OpenRouter, Ollama, Groq */
    CHAT_TOOL_NAME,
    CHAT_TOOL_ARGUMENTS,
    CHAT_CUSTOM_TOOL_INPUT,
    CHAT_FUNCTION_ARGUMENTS, /* the deprecated function_call */
    CHAT_ERROR,
    CHAT_ERROR_IN_LIST, /* Gemini answers errors as a list of one */
    CHAT_OBJECT,        /* vLLM: "object":"error" */
    CHAT_TYPE,
    CHAT_USAGE,
    CHAT_PROMPT_TOKENS,
    CHAT_COMPLETION_TOKENS,
    CHAT_TOTAL_TOKENS,
    CHAT_CACHED_TOKENS,
    CHAT_CACHE_WRITE_TOKENS, /* OpenRouter */
    CHAT_REASONING_TOKENS,
    CHAT_CACHE_HIT_TOKENS, /* DeepSeek */
    CHAT_PATHS
};

/* A chunk of a stream has what is new in "delta", a whole answer in "message"; all else is alike. */
#define CHAT_TABLE(part)                                                                                     \
    {                                                                                                        \
        [CHAT_CHOICES] = {STR_LIT("choices"), false},                                                        \
        [CHAT_FINISH_REASON] = {STR_LIT("choices[].finish_reason"), false},                                  \
        [CHAT_CONTENT] = {STR_LIT("choices[]." part ".content"), false},                                     \
        [CHAT_CONTENT_TEXT] = {STR_LIT("choices[]." part ".content[].text"), false},                         \
        [CHAT_CONTENT_THINKING_TEXT] = {STR_LIT("choices[]." part ".content[].thinking[].text"), false},     \
        [CHAT_REFUSAL] = {STR_LIT("choices[]." part ".refusal"), false},                                     \
        [CHAT_REASONING_CONTENT] = {STR_LIT("choices[]." part ".reasoning_content"), false},                 \
        [CHAT_REASONING] = {STR_LIT("choices[]." part ".reasoning"), false},                                 \
        [CHAT_TOOL_NAME] = {STR_LIT("choices[]." part ".tool_calls[].function.name"), false},                \
        [CHAT_TOOL_ARGUMENTS] = {STR_LIT("choices[]." part ".tool_calls[].function.arguments"), false},      \
        [CHAT_CUSTOM_TOOL_INPUT] = {STR_LIT("choices[]." part ".tool_calls[].custom.input"), false},         \
        [CHAT_FUNCTION_ARGUMENTS] = {STR_LIT("choices[]." part ".function_call.arguments"), false},          \
        [CHAT_ERROR] = {STR_LIT("error"), false}, [CHAT_ERROR_IN_LIST] = {STR_LIT("[].error"), false},       \
        [CHAT_OBJECT] = {STR_LIT("object"), false}, [CHAT_TYPE] = {STR_LIT("type"), false},                  \
        [CHAT_USAGE] = {STR_LIT("usage"), false},                                                            \
        [CHAT_PROMPT_TOKENS] = {STR_LIT("usage.prompt_tokens"), false},                                      \
        [CHAT_COMPLETION_TOKENS] = {STR_LIT("usage.completion_tokens"), false},                              \
        [CHAT_TOTAL_TOKENS] = {STR_LIT("usage.total_tokens"), false},                                        \
        [CHAT_CACHED_TOKENS] = {STR_LIT("usage.prompt_tokens_details.cached_tokens"), false},                \
        [CHAT_CACHE_WRITE_TOKENS] = {STR_LIT("usage.prompt_tokens_details.cache_write_tokens"), false},      \
        [CHAT_REASONING_TOKENS] = {STR_LIT("usage.completion_tokens_details.reasoning_tokens"), false},      \
        [CHAT_CACHE_HIT_TOKENS] = {STR_LIT("usage.prompt_cache_hit_tokens"), false},                         \
    }

static const struct json_path chunk_paths[CHAT_PATHS] = CHAT_TABLE("delta");
static const struct json_path body_paths[CHAT_PATHS] = CHAT_TABLE("message");

/* Written once by observe_chat_init. */
static struct json_query chunk_query, body_query;

void observe_chat_init(void)
{
    query_compile(&chunk_query, chunk_paths, CHAT_PATHS);
    query_compile(&body_query, body_paths, CHAT_PATHS);
}

struct chat_reading {
    bool has_choices, has_finish, has_error, has_usage;
    uint64_t text, reasoning, reasoning_content;
    int64_t cache_hit;
    struct openai_usage usage;
};

static void chat_match(void *ctx, unsigned path, const struct json_value *v)
{
    struct chat_reading *r = ctx;
    switch ((enum chat_path)path) {
    case CHAT_CHOICES: r->has_choices = v->type == JSON_ARRAY ? v->n > 0 : v->type != JSON_NULL; break;
    case CHAT_FINISH_REASON: r->has_finish |= v->type == JSON_STRING; break;
    case CHAT_CONTENT:
    case CHAT_CONTENT_TEXT:
    case CHAT_CONTENT_THINKING_TEXT:
    case CHAT_REFUSAL:
    case CHAT_TOOL_NAME:
    case CHAT_TOOL_ARGUMENTS:
    case CHAT_CUSTOM_TOOL_INPUT:
    case CHAT_FUNCTION_ARGUMENTS: r->text += json_string_len(v); break;
    case CHAT_REASONING_CONTENT: r->reasoning_content += json_string_len(v); break;
    case CHAT_REASONING: r->reasoning += json_string_len(v); break;
    case CHAT_ERROR:
    case CHAT_ERROR_IN_LIST: r->has_error |= tells_error(v); break;
    case CHAT_OBJECT:
    case CHAT_TYPE: r->has_error |= json_string_is(v, S("error")); break;
    case CHAT_USAGE: r->has_usage = v->type == JSON_OBJECT; break;
    case CHAT_PROMPT_TOKENS: r->usage.input = token_count(v); break;
    case CHAT_COMPLETION_TOKENS: r->usage.output = token_count(v); break;
    case CHAT_TOTAL_TOKENS: r->usage.total = token_count(v); break;
    case CHAT_CACHED_TOKENS: r->usage.cached = token_count(v); break;
    case CHAT_CACHE_WRITE_TOKENS: r->usage.cache_write = token_count(v); break;
    case CHAT_REASONING_TOKENS: r->usage.reasoning = token_count(v); break;
    case CHAT_CACHE_HIT_TOKENS: r->cache_hit = token_count(v); break;
    case CHAT_PATHS: break;
    }
}

static bool chat_read(struct observer *o, str text, const struct json_query *q, struct chat_reading *r)
{
    *r = (struct chat_reading){.cache_hit = -1, .usage = OPENAI_USAGE_NONE};
    if (json_scan(text, q, chat_match, r, NULL, NULL, NULL) != ERR_NONE) return false;
    /* Servers in transition send the same reasoning under both names. */
    o->text_bytes += r->text + (r->reasoning > r->reasoning_content ? r->reasoning : r->reasoning_content);
    o->has_finish |= r->has_finish;
    o->has_error |= r->has_error;
    if (r->usage.cached < 0) r->usage.cached = r->cache_hit;
    /* On more than one chunk the numbers are running totals: the latest stands. */
    observer_report(o, &r->usage);
    return true;
}

enum event_verdict observe_chat_event(struct observer *o, const struct sse_event *event)
{
    if (str_starts(event->data, S("[DONE]"))) {
        o->is_ended = true;
        return EVENT_LAST;
    }
    struct chat_reading r;
    if (!chat_read(o, event->data, &chunk_query, &r)) return EVENT_PASS;
    if (o->hides_usage_chunk && r.has_usage && !r.has_choices && !r.has_error) return EVENT_DROP;
    return EVENT_PASS;
}

bool observe_chat_body(struct observer *o, str body)
{
    struct chat_reading r;
    return chat_read(o, body, &body_query, &r);
}
