/* Messages: input is reported by message_start, output by message_delta, and either may correct the other. */
#include "gateway/call/observe_internal.h"

/* The members of a usage object, once per place where one can stand. */
enum usage_member {
    USAGE_INPUT,
    USAGE_OUTPUT,
    USAGE_CACHE_READ,
    USAGE_CACHE_CREATION,
    USAGE_CACHE_CREATION_5M,
    USAGE_CACHE_CREATION_1H,
    USAGE_THINKING,
    USAGE_MEMBERS
};
#define USAGE_TABLE(first, at)                                                                               \
    [(int)(first) + (int)USAGE_INPUT] = {STR_LIT(at "usage.input_tokens"), false},                           \
    [(int)(first) + (int)USAGE_OUTPUT] = {STR_LIT(at "usage.output_tokens"), false},                         \
    [(int)(first) + (int)USAGE_CACHE_READ] = {STR_LIT(at "usage.cache_read_input_tokens"), false},           \
    [(int)(first) + (int)USAGE_CACHE_CREATION] = {STR_LIT(at "usage.cache_creation_input_tokens"), false},   \
    [(int)(first) + (int)USAGE_CACHE_CREATION_5M] =                                                          \
        {STR_LIT(at "usage.cache_creation.ephemeral_5m_input_tokens"), false},                               \
    [(int)(first) + (int)USAGE_CACHE_CREATION_1H] =                                                          \
        {STR_LIT(at "usage.cache_creation.ephemeral_1h_input_tokens"), false},                               \
    [(int)(first) + (int)USAGE_THINKING] = {STR_LIT(at "usage.output_tokens_details.thinking_tokens"), false}

enum event_path {
    EVENT_TYPE,
    EVENT_ERROR,
    EVENT_DELTA_TEXT,
    EVENT_DELTA_JSON,
    EVENT_DELTA_THINKING,
    EVENT_STOP_REASON,
    EVENT_BLOCK_NAME,
    EVENT_BLOCK_TEXT,
    EVENT_USAGE,                                     /* message_delta */
    EVENT_START_USAGE = EVENT_USAGE + USAGE_MEMBERS, /* message_start */
    EVENT_PATHS = EVENT_START_USAGE + USAGE_MEMBERS
};
static const struct json_path event_paths[EVENT_PATHS] = {
    [EVENT_TYPE] = {STR_LIT("type"), false},
    [EVENT_ERROR] = {STR_LIT("error"), false},
    [EVENT_DELTA_TEXT] = {STR_LIT("delta.text"), false},
    [EVENT_DELTA_JSON] = {STR_LIT("delta.partial_json"), false},
    [EVENT_DELTA_THINKING] = {STR_LIT("delta.thinking"), false},
    [EVENT_STOP_REASON] = {STR_LIT("delta.stop_reason"), false},
    [EVENT_BLOCK_NAME] = {STR_LIT("content_block.name"), false},
    [EVENT_BLOCK_TEXT] = {STR_LIT("content_block.text"), false},
    USAGE_TABLE(EVENT_USAGE, ""),
    USAGE_TABLE(EVENT_START_USAGE, "message."),
};

enum body_path {
    BODY_TYPE,
    BODY_ERROR,
    BODY_TEXT,
    BODY_THINKING,
    BODY_TOOL_NAME,
    BODY_TOOL_INPUT,
    BODY_STOP_REASON,
    BODY_USAGE,
    BODY_PATHS = BODY_USAGE + USAGE_MEMBERS
};
static const struct json_path body_paths[BODY_PATHS] = {
    [BODY_TYPE] = {STR_LIT("type"), false},
    [BODY_ERROR] = {STR_LIT("error"), false},
    [BODY_TEXT] = {STR_LIT("content[].text"), false},
    [BODY_THINKING] = {STR_LIT("content[].thinking"), false},
    [BODY_TOOL_NAME] = {STR_LIT("content[].name"), false},
    [BODY_TOOL_INPUT] = {STR_LIT("content[].input"), false},
    [BODY_STOP_REASON] = {STR_LIT("stop_reason"), false},
    USAGE_TABLE(BODY_USAGE, ""),
};

/* Written once by observe_messages_init. */
static struct json_query event_query, body_query;

void observe_messages_init(void)
{
    query_compile(&event_query, event_paths, EVENT_PATHS);
    query_compile(&body_query, body_paths, BODY_PATHS);
}

/* One usage object; -1 = not there (or null). */
struct messages_usage {
    int64_t n[USAGE_MEMBERS];
};

struct messages_reading {
    str type; /* without quotes; our names need no escapes, so an escaped one is none of them */
    bool has_error, has_finish;
    uint64_t text;
    struct messages_usage usage, start_usage;
};

static void type_read(struct messages_reading *r, const struct json_value *v)
{
    if (v->type == JSON_STRING) r->type = (str){v->raw.p + 1, v->raw.len - 2};
}

static void event_match(void *ctx, unsigned path, const struct json_value *v)
{
    struct messages_reading *r = ctx;
    if (path >= EVENT_START_USAGE) {
        r->start_usage.n[path - EVENT_START_USAGE] = token_count(v);
        return;
    }
    if (path >= EVENT_USAGE) {
        r->usage.n[path - EVENT_USAGE] = token_count(v);
        return;
    }
    switch ((enum event_path)path) {
    case EVENT_TYPE: type_read(r, v); break;
    case EVENT_ERROR: r->has_error |= tells_error(v); break;
    case EVENT_STOP_REASON: r->has_finish |= v->type == JSON_STRING; break;
    default: /* EVENT_DELTA_*, EVENT_BLOCK_* */ r->text += json_string_len(v); break;
    }
}

static void body_match(void *ctx, unsigned path, const struct json_value *v)
{
    struct messages_reading *r = ctx;
    if (path >= BODY_USAGE) {
        r->usage.n[path - BODY_USAGE] = token_count(v);
        return;
    }
    switch ((enum body_path)path) {
    case BODY_TYPE: type_read(r, v); break;
    case BODY_ERROR: r->has_error |= tells_error(v); break;
    case BODY_STOP_REASON: r->has_finish |= v->type == JSON_STRING; break;
    case BODY_TOOL_INPUT: /* the model wrote it as JSON */ r->text += v->raw.len; break;
    default: /* BODY_TEXT, BODY_THINKING, BODY_TOOL_NAME */ r->text += json_string_len(v); break;
    }
}

static bool messages_read(struct observer *o, str text, const struct json_query *q, json_match_fn match,
                          struct messages_reading *r)
{
    memset(r, 0, sizeof(*r));
    for (unsigned i = 0; i < USAGE_MEMBERS; i++)
        r->usage.n[i] = r->start_usage.n[i] = -1;
    if (json_scan(text, q, match, r, NULL, NULL, NULL) != ERR_NONE) return false;
    o->text_bytes += r->text;
    o->has_finish |= r->has_finish;
    o->has_error |= r->has_error || str_eq(r->type, S("error"));
    return true;
}

/* Takes over what is there; what is null or missing keeps its last value, as the SDKs accumulate it. Returns
 * whether output was among it. */
static bool usage_apply(struct observer *o, const struct messages_usage *u)
{
    const int64_t *n = u->n;
    struct token_usage *t = &o->tokens;
    if (n[USAGE_INPUT] >= 0) t->input = n[USAGE_INPUT];
    if (n[USAGE_CACHE_READ] >= 0) t->cache_read = n[USAGE_CACHE_READ];
    if (n[USAGE_CACHE_CREATION] >= 0) o->cache_creation = n[USAGE_CACHE_CREATION];
    if (n[USAGE_CACHE_CREATION_5M] >= 0) o->cache_creation_5m = n[USAGE_CACHE_CREATION_5M];
    if (n[USAGE_CACHE_CREATION_1H] >= 0) o->cache_creation_1h = n[USAGE_CACHE_CREATION_1H];
    /* The sum is repeated by message_delta, its parts are not: the sum is right, and what has no known life
     * has the short one. */
    int64_t of_5m = o->cache_creation_5m > 0 ? o->cache_creation_5m : 0;
    int64_t of_1h = o->cache_creation_1h > 0 ? o->cache_creation_1h : 0;
    int64_t sum = o->cache_creation >= 0 ? o->cache_creation : of_5m + of_1h;
    t->cache_write_1h = of_1h < sum ? of_1h : sum;
    t->cache_write = sum - t->cache_write_1h;
    if (n[USAGE_OUTPUT] >= 0) t->output = n[USAGE_OUTPUT];
    if (n[USAGE_THINKING] >= 0) t->reasoning = n[USAGE_THINKING];
    if (t->reasoning > t->output) t->reasoning = t->output;
    return n[USAGE_OUTPUT] >= 0;
}

static bool usage_is_there(const struct messages_usage *u)
{
    for (unsigned i = 0; i < USAGE_MEMBERS; i++) {
        if (u->n[i] >= 0) return true;
    }
    return false;
}

enum event_verdict observe_messages_event(struct observer *o, const struct sse_event *event)
{
    struct messages_reading r;
    if (!messages_read(o, event->data, &event_query, event_match, &r)) return EVENT_PASS;
    str type = r.type.len > 0 ? r.type : event->type;
    if (str_eq(type, S("message_stop"))) {
        o->is_ended = true;
        return EVENT_LAST;
    }
    if (str_eq(type, S("error"))) o->has_error = true;
    /* message_start's one or two output tokens are those of the first step, not a result. */
    if (usage_is_there(&r.start_usage)) {
        (void)usage_apply(o, &r.start_usage);
        o->has_partial_usage = true;
    }
    if (usage_is_there(&r.usage) && usage_apply(o, &r.usage)) {
        o->has_usage = true;
        o->reported_at = o->text_bytes;
    }
    return EVENT_PASS;
}

bool observe_messages_body(struct observer *o, str body)
{
    struct messages_reading r;
    if (!messages_read(o, body, &body_query, body_match, &r)) return false;
    if (usage_is_there(&r.usage) && usage_apply(o, &r.usage)) {
        o->has_usage = true;
        o->reported_at = o->text_bytes;
    }
    return true;
}
