#include "gateway/call/request.h"

#include <assert.h>
#include <pthread.h>

#include "base/utf8.h"
#include "json/write.h"

/* What a match means. */
enum part {
    PART_MODEL,
    PART_STREAM,
    PART_STREAM_OPTIONS,
    PART_INCLUDE_USAGE,
    PART_MAX_TOKENS,
    PART_MAX_TOKENS_OLD, /* chat's deprecated spelling: counts when the other is absent */
    PART_SESSION,        /* of several, the one whose rule stands first counts */
    PART_USER_ID,        /* Anthropic's metadata.user_id, which holds the session of Claude Code */
    PART_TASK,
    PART_TEXT,  /* a string that the model reads */
    PART_JSON,  /* a value that the model reads as JSON */
    PART_ITEM,  /* an image, a sound, a file: REQUEST_ITEM_BYTES */
    PART_INPUT, /* an element of embeddings' input: text, a token, or a list of tokens */
    /* Anthropic's source of an image or document: its type says whether its data is text. */
    PART_SOURCE_TYPE,
    PART_SOURCE_DATA,
    PART_SOURCE,
};

struct rule {
    struct json_path path;
    enum part part;
};

#define DECIDES(name, part)                                                                                  \
    {                                                                                                        \
        {STR_LIT(name), true}, part                                                                          \
    }
#define READS(name, part)                                                                                    \
    {                                                                                                        \
        {STR_LIT(name), false}, part                                                                         \
    }

static const struct rule chat_rules[] = {
    DECIDES("model", PART_MODEL),
    DECIDES("stream", PART_STREAM),
    DECIDES("stream_options", PART_STREAM_OPTIONS),
    DECIDES("stream_options.include_usage", PART_INCLUDE_USAGE),
    DECIDES("max_completion_tokens", PART_MAX_TOKENS),
    DECIDES("max_tokens", PART_MAX_TOKENS_OLD),
    READS("prompt_cache_key", PART_SESSION),
    READS("metadata.session_id", PART_SESSION),
    READS("metadata.conversation_id", PART_SESSION),
    READS("session_id", PART_SESSION),
    READS("conversation", PART_SESSION),
    READS("conversation.id", PART_SESSION),
    READS("metadata.task_id", PART_TASK),
    READS("messages[].content", PART_TEXT),
    READS("messages[].content[].text", PART_TEXT),
    READS("messages[].content[].refusal", PART_TEXT),
    READS("messages[].content[].image_url", PART_ITEM),
    READS("messages[].content[].video_url", PART_ITEM),
    READS("messages[].content[].input_audio", PART_ITEM),
    READS("messages[].content[].file", PART_ITEM),
    READS("messages[].refusal", PART_TEXT),
    READS("messages[].reasoning_content", PART_TEXT),
    READS("messages[].tool_calls[].function.name", PART_TEXT),
    READS("messages[].tool_calls[].function.arguments", PART_TEXT),
    READS("messages[].tool_calls[].custom.input", PART_TEXT),
    READS("messages[].function_call.arguments", PART_TEXT),
    READS("tools", PART_JSON),
    READS("functions", PART_JSON),
    READS("response_format.json_schema", PART_JSON),
};

static const struct rule responses_rules[] = {
    DECIDES("model", PART_MODEL),
    DECIDES("stream", PART_STREAM),
    DECIDES("stream_options", PART_STREAM_OPTIONS),
    DECIDES("max_output_tokens", PART_MAX_TOKENS),
    READS("prompt_cache_key", PART_SESSION),
    READS("metadata.session_id", PART_SESSION),
    READS("metadata.conversation_id", PART_SESSION),
    READS("session_id", PART_SESSION),
    READS("conversation", PART_SESSION),
    READS("conversation.id", PART_SESSION),
    READS("metadata.task_id", PART_TASK),
    READS("instructions", PART_TEXT),
    READS("input", PART_TEXT),
    READS("input[].content", PART_TEXT),
    READS("input[].content[].text", PART_TEXT),
    READS("input[].content[].refusal", PART_TEXT),
    READS("input[].content[].image_url", PART_ITEM),
    READS("input[].content[].file_id", PART_ITEM),
    READS("input[].content[].file_data", PART_ITEM),
    READS("input[].content[].file_url", PART_ITEM),
    READS("input[].name", PART_TEXT),
    READS("input[].arguments", PART_TEXT),
    READS("input[].input", PART_TEXT),
    READS("input[].output", PART_TEXT),
    READS("input[].output[].text", PART_TEXT),
    READS("input[].output[].image_url", PART_ITEM),
    READS("input[].output.image_url", PART_ITEM),
    READS("input[].summary[].text", PART_TEXT),
    READS("tools", PART_JSON),
    READS("text.format", PART_JSON),
};

/* messages and count_tokens: the latter has the same body without an output limit. */
static const struct rule messages_rules[] = {
    DECIDES("model", PART_MODEL),
    DECIDES("stream", PART_STREAM),
    DECIDES("max_tokens", PART_MAX_TOKENS),
    READS("metadata.user_id", PART_USER_ID),
    READS("metadata.task_id", PART_TASK),
    READS("system", PART_TEXT),
    READS("system[].text", PART_TEXT),
    READS("tools", PART_JSON),
    READS("messages[].content", PART_TEXT),
    READS("messages[].content[].text", PART_TEXT),
    READS("messages[].content[].thinking", PART_TEXT),
    READS("messages[].content[].name", PART_TEXT),
    READS("messages[].content[].input", PART_JSON),
    READS("messages[].content[].source.type", PART_SOURCE_TYPE),
    READS("messages[].content[].source.data", PART_SOURCE_DATA),
    READS("messages[].content[].source.content", PART_TEXT),
    READS("messages[].content[].source.content[].text", PART_TEXT),
    READS("messages[].content[].source", PART_SOURCE),
    READS("messages[].content[].content", PART_TEXT),
    READS("messages[].content[].content[].text", PART_TEXT),
    READS("messages[].content[].content[].source.type", PART_SOURCE_TYPE),
    READS("messages[].content[].content[].source.data", PART_SOURCE_DATA),
    READS("messages[].content[].content[].source", PART_SOURCE),
};

static const struct rule embeddings_rules[] = {
    DECIDES("model", PART_MODEL),
    DECIDES("stream", PART_STREAM),
    READS("metadata.session_id", PART_SESSION),
    READS("metadata.task_id", PART_TASK),
    READS("input", PART_TEXT),
    READS("input[]", PART_INPUT),
};

struct rule_set {
    const struct rule *rules;
    unsigned n;
};
static const struct rule_set rule_sets[DIALECTS] = {
    [DIALECT_CHAT] = {chat_rules, LENGTH_OF(chat_rules)},
    [DIALECT_RESPONSES] = {responses_rules, LENGTH_OF(responses_rules)},
    [DIALECT_MESSAGES] = {messages_rules, LENGTH_OF(messages_rules)},
    [DIALECT_EMBEDDINGS] = {embeddings_rules, LENGTH_OF(embeddings_rules)},
    [DIALECT_COUNT_TOKENS] = {messages_rules, LENGTH_OF(messages_rules)},
};

/* Written under queries_once and never again. */
static pthread_once_t queries_once = PTHREAD_ONCE_INIT;
static struct json_query queries[DIALECTS];
static struct json_query session_query;

static void query_compile(struct json_query *q, const struct rule *rules, unsigned n)
{
    struct json_path paths[JSON_QUERY_PATHS];
    assert(n <= JSON_QUERY_PATHS);
    for (unsigned i = 0; i < n; i++)
        paths[i] = rules[i].path;
    enum errc code = json_query_init(q, paths, n, NULL);
    assert(code == ERR_NONE);
    (void)code;
}

static void queries_init(void)
{
    static const struct rule session_rule = READS("session_id", PART_SESSION);
    for (unsigned d = 0; d < DIALECTS; d++)
        query_compile(&queries[d], rule_sets[d].rules, rule_sets[d].n);
    query_compile(&session_query, &session_rule, 1);
}

struct reading {
    struct call_request *out;
    const struct rule *rules;
    unsigned session_rank; /* rule of the session kept so far */
    struct json_value session, user_id, task, max_tokens_old;
    /* of the source that is being read */
    bool is_text_source, is_content_source;
    uint64_t source_data;
};

static bool is_filled(const struct json_value *v) { return v->type == JSON_STRING && v->raw.len > 2; }

static void match(void *ctx, unsigned path, const struct json_value *v)
{
    struct reading *r = ctx;
    struct call_request *out = r->out;
    switch (r->rules[path].part) {
    case PART_MODEL: out->model = *v; break;
    case PART_STREAM: out->stream = *v; break;
    case PART_STREAM_OPTIONS: out->stream_options = *v; break;
    case PART_INCLUDE_USAGE: out->include_usage = *v; break;
    case PART_MAX_TOKENS: out->max_tokens = *v; break;
    case PART_MAX_TOKENS_OLD: r->max_tokens_old = *v; break;
    case PART_SESSION:
        if (path < r->session_rank && is_filled(v)) {
            r->session_rank = path;
            r->session = *v;
        }
        break;
    case PART_USER_ID: r->user_id = *v; break;
    case PART_TASK: r->task = *v; break;
    case PART_TEXT: out->text_bytes += json_string_len(v); break;
    case PART_JSON:
        if (v->type != JSON_NULL) out->text_bytes += v->raw.len;
        break;
    case PART_ITEM:
        if (v->type == JSON_OBJECT || v->type == JSON_STRING) out->text_bytes += REQUEST_ITEM_BYTES;
        break;
    case PART_INPUT:
        if (v->type == JSON_NUMBER)
            out->text_bytes += REQUEST_TOKEN_BYTES;
        else if (v->type == JSON_ARRAY)
            out->text_bytes += (uint64_t)v->n * REQUEST_TOKEN_BYTES;
        else
            out->text_bytes += json_string_len(v);
        break;
    case PART_SOURCE_TYPE:
        r->is_text_source = json_string_is(v, S("text"));
        r->is_content_source = json_string_is(v, S("content"));
        break;
    case PART_SOURCE_DATA: r->source_data = json_string_len(v); break;
    case PART_SOURCE: /* after its members */
        if (v->type == JSON_OBJECT && !r->is_content_source)
            out->text_bytes += r->is_text_source ? r->source_data : REQUEST_ITEM_BYTES;
        r->is_text_source = r->is_content_source = false;
        r->source_data = 0;
        break;
    }
}

static const char *type_name(enum json_type t)
{
    switch (t) {
    case JSON_NONE: return "nothing";
    case JSON_NULL: return "null";
    case JSON_FALSE: return "false";
    case JSON_TRUE: return "true";
    case JSON_NUMBER: return "a number";
    case JSON_STRING: return "a string";
    case JSON_ARRAY: return "an array";
    case JSON_OBJECT: return "an object";
    }
    return "something else";
}

/* The decoded text of a string value; ERR_TOO_LARGE when the arena is full. */
static enum errc text_of(struct arena *a, const struct json_value *v, str *out, err *e)
{
    char *space = NULL;
    if (v->has_escapes && !(space = arena_bytes(a, v->raw.len)))
        return err_set(e, ERR_TOO_LARGE, "the request needs more memory than one request may use");
    *out = json_string(v, space);
    return ERR_NONE;
}

static enum errc label_of(struct arena *a, const struct json_value *v, str *out, err *e)
{
    *out = (str){NULL, 0};
    if (!is_filled(v)) return ERR_NONE;
    enum errc code = text_of(a, v, out, e);
    *out = utf8_take(*out, REQUEST_LABEL_MAX);
    return code;
}

/* Claude Code writes the session into metadata.user_id: as
 * {"device_id":…,"account_uuid":…,"session_id":"UUID"}, earlier as user_HASH_account_UUID_session_UUID.
 * Anybody else's user_id stands for itself. */
static enum errc session_of_user_id(struct arena *a, const struct json_value *v, str *out, err *e)
{
    if (!is_filled(v)) return ERR_NONE;
    str id;
    enum errc code = text_of(a, v, &id, e);
    if (code) return code;
    struct json_value hit;
    if (id.p[0] == '{' && json_find(id, &session_query, &hit, NULL, NULL) == ERR_NONE && is_filled(&hit))
        return label_of(a, &hit, out, e);
    ptrdiff_t at = str_find(id, S("_session_"));
    if (at >= 0 && (size_t)at + sizeof("_session_") - 1 < id.len)
        id = str_skip(id, (size_t)at + sizeof("_session_") - 1);
    *out = utf8_take(id, REQUEST_LABEL_MAX);
    return ERR_NONE;
}

static enum errc model_check(struct arena *a, struct call_request *out, err *e)
{
    const struct json_value *v = &out->model;
    out->bad_member = S("model");
    if (v->type == JSON_NONE)
        return err_set(e, ERR_INVALID, "member 'model' is missing: it must be a string that names a model");
    if (v->type != JSON_STRING)
        return err_set(e, ERR_INVALID,
                       "member 'model' at byte %zu must be a string that names a model, not %s", v->offset,
                       type_name(v->type));
    size_t len = json_string_len(v);
    if (len == 0)
        return err_set(e, ERR_INVALID, "member 'model' at byte %zu must name a model, it is empty",
                       v->offset);
    if (len > REQUEST_MODEL_MAX)
        return err_set(e, ERR_INVALID, "member 'model' at byte %zu is %zu bytes long; at most %d are allowed",
                       v->offset, len, REQUEST_MODEL_MAX);
    out->bad_member = (str){NULL, 0};
    return text_of(a, v, &out->model_name, e);
}

/* Boolean or null, when it is there. */
static enum errc flag_check(struct call_request *out, const struct json_value *v, str name, bool *is_true,
                            err *e)
{
    *is_true = v->type == JSON_TRUE;
    if (v->type == JSON_NONE || v->type == JSON_NULL || v->type == JSON_FALSE || v->type == JSON_TRUE)
        return ERR_NONE;
    out->bad_member = name;
    return err_set(e, ERR_INVALID, "member '%.*s' at byte %zu must be true, false or null, not %s", STR(name),
                   v->offset, type_name(v->type));
}

enum errc call_request_scan(struct arena *a, enum dialect d, str body, struct call_request *out, err *e)
{
    pthread_once(&queries_once, queries_init);
    assert((unsigned)d < DIALECTS);
    *out = (struct call_request){.dialect = d, .max_output_tokens = -1};
    struct reading r = {.out = out, .rules = rule_sets[d].rules, .session_rank = JSON_QUERY_PATHS};

    if (str_trim(body).len == 0)
        return err_set(e, ERR_SYNTAX, "the request body is empty: it must be a JSON object");
    enum errc code = json_scan(body, &queries[d], match, &r, &out->root, NULL, e);
    if (code) {
        err_prefix(e, "the request body must be one JSON object");
        return code;
    }
    if (out->root.type != JSON_OBJECT)
        return err_set(e, ERR_INVALID, "the request body must be a JSON object, but at byte %zu stands %s",
                       out->root.offset, type_name(out->root.type));

    if ((code = model_check(a, out, e))) return code;
    bool is_streamed;
    if ((code = flag_check(out, &out->stream, S("stream"), &is_streamed, e))) return code;
    const struct json_value *options = &out->stream_options;
    if (options->type != JSON_NONE && options->type != JSON_NULL && options->type != JSON_OBJECT) {
        out->bad_member = S("stream_options");
        return err_set(e, ERR_INVALID,
                       "member 'stream_options' at byte %zu must be an object or null, not %s",
                       options->offset, type_name(options->type));
    }
    code = flag_check(out, &out->include_usage, S("stream_options.include_usage"), &out->wants_usage, e);
    if (code) return code;
    out->is_streamed = is_streamed && d != DIALECT_EMBEDDINGS && d != DIALECT_COUNT_TOKENS;

    if (out->max_tokens.type == JSON_NONE || out->max_tokens.type == JSON_NULL) {
        if (r.max_tokens_old.type != JSON_NONE) out->max_tokens = r.max_tokens_old;
    }
    if (!json_to_i64(&out->max_tokens, &out->max_output_tokens) || out->max_output_tokens < 0)
        out->max_output_tokens = -1; /* the provider will say what is wrong with it */

    if ((code = label_of(a, &r.session, &out->session, e))) return code;
    if (out->session.len == 0 && (code = session_of_user_id(a, &r.user_id, &out->session, e))) return code;
    return label_of(a, &r.task, &out->task, e);
}

/* The name as a JSON string in the arena. */
static enum errc quoted(struct arena *a, str name, str *out, err *e)
{
    struct buf b;
    buf_init(&b, 6 * name.len + 2); /* \u00XX is the longest escape of a byte */
    buf_add_char(&b, '"');
    json_escape(&b, name);
    buf_add_char(&b, '"');
    enum errc code = buf_err(&b);
    *out = code ? (str){NULL, 0} : str_dup(a, buf_str(&b));
    buf_fini(&b);
    if (code) return err_code(e, code);
    if (!out->p) return err_set(e, ERR_TOO_LARGE, "the request needs more memory than one request may use");
    return ERR_NONE;
}

enum errc call_request_edit(const struct call_request *r, struct arena *a, str body, str model,
                            bool ask_usage, struct json_edit *edit, err *e)
{
    json_edit_init(edit, body);
    if (model.len > 0 && !str_eq(model, r->model_name)) {
        str raw;
        enum errc code = quoted(a, model, &raw, e);
        if (!code) code = json_edit_replace(edit, &r->model, raw, e);
        if (code) return code;
    }
    if (!ask_usage || r->dialect != DIALECT_CHAT || !r->is_streamed || r->wants_usage) return ERR_NONE;
    switch (r->stream_options.type) {
    case JSON_OBJECT:
        if (r->include_usage.type != JSON_NONE)
            return json_edit_replace(edit, &r->include_usage, S("true"), e);
        return json_edit_add(edit, a, &r->stream_options, S("include_usage"), S("true"), e);
    case JSON_NULL: return json_edit_replace(edit, &r->stream_options, S("{\"include_usage\":true}"), e);
    default: return json_edit_add(edit, a, &r->root, S("stream_options"), S("{\"include_usage\":true}"), e);
    }
}
