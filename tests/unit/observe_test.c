/* Observers: what a transcript of each dialect costs, which of its bytes reach the client, and that neither
 * depends on how the network cut it. Transcripts are written with ' for " to stay readable. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gateway/call/observe.h"

#define TEXT_MAX (4u << 20)

/* A copy with every ' turned into ". The caller frees it. */
static char *json_of(const char *quoted)
{
    char *text = strdup(quoted);
    assert_non_null(text);
    for (char *p = text; *p; p++) {
        if (*p == '\'') *p = '"';
    }
    return text;
}

/* --- one run of a stream --- */

struct run {
    struct observer o;
    struct buf passed; /* what the client would get */
    unsigned n_dropped, n_last;
    bool passed_after_last;
};

static bool take_event(void *ctx, const struct sse_event *event)
{
    struct run *r = ctx;
    switch (observe_event(&r->o, event)) {
    case EVENT_DROP: r->n_dropped++; return true;
    case EVENT_LAST: r->n_last++; break;
    case EVENT_PASS: r->passed_after_last |= r->n_last > 0 && event->has_data; break;
    }
    buf_add(&r->passed, event->raw);
    return true;
}

static void run_init(struct run *r, enum dialect d, bool hides)
{
    memset(r, 0, sizeof(*r));
    observer_init(&r->o, d, hides);
    buf_init(&r->passed, TEXT_MAX);
}

static void feed(struct sse *s, struct run *r, str piece)
{
    /* A copy of exactly this size, so that the sanitizer sees a byte read too far. */
    char *copy = malloc(piece.len ? piece.len : 1);
    assert_non_null(copy);
    if (piece.len) memcpy(copy, piece.p, piece.len);
    assert_int_equal(sse_feed(s, str_of(copy, piece.len), take_event, r, NULL), ERR_NONE);
    free(copy);
}

static void assert_same_tokens(const struct token_usage *a, const struct token_usage *b)
{
    assert_int_equal(a->input, b->input);
    assert_int_equal(a->cache_read, b->cache_read);
    assert_int_equal(a->cache_write, b->cache_write);
    assert_int_equal(a->cache_write_1h, b->cache_write_1h);
    assert_int_equal(a->output, b->output);
    assert_int_equal(a->reasoning, b->reasoning);
}

static void assert_same_run(const struct run *a, const struct run *b)
{
    assert_true(str_eq(buf_str(&a->passed), buf_str(&b->passed)));
    assert_int_equal(a->n_dropped, b->n_dropped);
    assert_int_equal(a->n_last, b->n_last);
    assert_int_equal(a->passed_after_last, b->passed_after_last);
    assert_same_tokens(&a->o.tokens, &b->o.tokens);
    assert_int_equal(a->o.text_bytes, b->o.text_bytes);
    assert_int_equal(a->o.reported_at, b->o.reported_at);
    assert_int_equal(a->o.has_usage, b->o.has_usage);
    assert_int_equal(a->o.has_partial_usage, b->o.has_partial_usage);
    assert_int_equal(a->o.has_finish, b->o.has_finish);
    assert_int_equal(a->o.is_ended, b->o.is_ended);
    assert_int_equal(a->o.has_error, b->o.has_error);
}

/* Feeds the text whole, split in two at every byte, and byte by byte: all must give the same run, which stays
 * in *r. */
static void run_text(struct run *r, enum dialect d, bool hides, str text)
{
    struct sse s;
    run_init(r, d, hides);
    sse_init(&s, TEXT_MAX);
    feed(&s, r, text);
    sse_fini(&s);
    for (size_t at = 1; at <= text.len; at++) {
        struct run other;
        run_init(&other, d, hides);
        sse_init(&s, TEXT_MAX);
        if (at < text.len) {
            feed(&s, &other, str_take(text, at));
            feed(&s, &other, str_skip(text, at));
        } else {
            for (size_t i = 0; i < text.len; i++)
                feed(&s, &other, str_of(text.p + i, 1));
        }
        assert_same_run(r, &other);
        sse_fini(&s);
        buf_fini(&other.passed);
    }
}

static void run_stream(struct run *r, enum dialect d, bool hides, const char *quoted)
{
    char *text = json_of(quoted);
    run_text(r, d, hides, str_c(text));
    free(text);
}

static void run_fini(struct run *r) { buf_fini(&r->passed); }

static void assert_passed(const struct run *r, const char *quoted)
{
    char *text = json_of(quoted);
    assert_int_equal(r->passed.len, strlen(text));
    assert_memory_equal(r->passed.p, text, r->passed.len);
    free(text);
}

#define TOKENS(...) ((struct token_usage){__VA_ARGS__})

/* What the record would say. */
static void assert_usage(const struct observer *o, uint64_t input_text_bytes, struct token_usage want,
                         bool is_estimated)
{
    struct token_usage got;
    assert_int_equal(observer_usage(o, input_text_bytes, &got), is_estimated);
    assert_same_tokens(&got, &want);
}

static void body_of(struct observer *o, enum dialect d, const char *quoted)
{
    char *text = json_of(quoted);
    observer_init(o, d, false);
    observe_body(o, str_c(text));
    free(text);
}

/* --- chat --- */

#define CHAT_HEAD                                                                                            \
    "data: {'id':'chatcmpl-B1','object':'chat.completion.chunk','created':1763942400,"                       \
    "'model':'gpt-4o-mini-2024-07-18','service_tier':'default','system_fingerprint':'fp_560af6e559',"
#define CHAT(choices) CHAT_HEAD "'choices':[" choices "],'usage':null,'obfuscation':'x7Qp'}\n\n"
#define CHAT_DELTA(delta) CHAT("{'index':0,'delta':{" delta "},'logprobs':null,'finish_reason':null}")
#define CHAT_FINISH(why) CHAT("{'index':0,'delta':{},'logprobs':null,'finish_reason':'" why "'}")
#define CHAT_USAGE(usage) CHAT_HEAD "'choices':[],'usage':{" usage "},'obfuscation':'k'}\n\n"
#define CHAT_DONE "data: [DONE]\n\n"

#define CHAT_TOOLS                                                                                           \
    CHAT_DELTA("'role':'assistant','content':null,'refusal':null")                                           \
    CHAT_DELTA("'tool_calls':[{'index':0,'id':'call_1','type':'function',"                                   \
               "'function':{'name':'get_weather','arguments':''}}]")                                         \
    CHAT_DELTA("'tool_calls':[{'index':0,'function':{'arguments':'{\\'city\\':'}}]")                         \
    CHAT_DELTA("'tool_calls':[{'index':0,'function':{'arguments':'\\'Zürich 🌦\\'}'}}]")                  \
    CHAT_DELTA("'tool_calls':[{'index':1,'id':'call_2','type':'function',"                                   \
               "'function':{'name':'get_time','arguments':''}}]")                                            \
    CHAT_DELTA("'tool_calls':[{'index':1,'function':{'arguments':'{}'}}]")                                   \
    CHAT_FINISH("tool_calls")
#define CHAT_TOOLS_USAGE                                                                                     \
    CHAT_USAGE("'prompt_tokens':1420,'completion_tokens':46,'total_tokens':1466,"                            \
               "'prompt_tokens_details':{'cached_tokens':1280,'audio_tokens':0},"                            \
               "'completion_tokens_details':{'reasoning_tokens':16,'audio_tokens':0,"                        \
               "'accepted_prediction_tokens':0,'rejected_prediction_tokens':0}")

/* get_weather, {"city":, "Zürich 🌦"}, get_time, {} */
#define CHAT_TOOLS_TEXT (11 + 8 + 15 + 8 + 2)

static void chat_drops_only_the_extra_usage_chunk(void **state)
{
    (void)state;
    struct run r;
    run_stream(&r, DIALECT_CHAT, true, CHAT_TOOLS CHAT_TOOLS_USAGE CHAT_DONE);
    assert_passed(&r, CHAT_TOOLS CHAT_DONE);
    assert_int_equal(r.n_dropped, 1);
    assert_int_equal(r.n_last, 1);
    assert_true(r.o.has_usage && r.o.is_ended && r.o.has_finish && !r.o.has_error);
    assert_int_equal(r.o.text_bytes, CHAT_TOOLS_TEXT);
    assert_usage(&r.o, 5000, TOKENS(.input = 140, .cache_read = 1280, .output = 46, .reasoning = 16), false);
    run_fini(&r);
}

static void chat_passes_the_usage_chunk_to_a_client_that_asked(void **state)
{
    (void)state;
    struct run r;
    run_stream(&r, DIALECT_CHAT, false, CHAT_TOOLS CHAT_TOOLS_USAGE CHAT_DONE);
    assert_passed(&r, CHAT_TOOLS CHAT_TOOLS_USAGE CHAT_DONE);
    assert_usage(&r.o, 5000, TOKENS(.input = 140, .cache_read = 1280, .output = 46, .reasoning = 16), false);
    run_fini(&r);
}

static void chat_keeps_usage_chunks_that_carry_choices_and_takes_the_latest(void **state)
{
    (void)state;
    const char *text = "data: {'choices':[{'index':0,'delta':{'content':'Hel'},'finish_reason':null}],"
                       "'usage':{'prompt_tokens':9,'completion_tokens':1,'total_tokens':10}}\n\n"
                       "data: {'choices':[{'index':0,'delta':{'content':'lo'},'finish_reason':'stop'}],"
                       "'usage':{'prompt_tokens':9,'completion_tokens':2,'total_tokens':11}}\n\n" CHAT_DONE;
    struct run r;
    run_stream(&r, DIALECT_CHAT, true, text);
    assert_passed(&r, text);
    assert_usage(&r.o, 100, TOKENS(.input = 9, .output = 2), false);
    run_fini(&r);
}

static void chat_passes_azures_first_chunk(void **state)
{
    (void)state;
    const char *text =
        "data: {'choices':[],'created':0,'id':'','model':'','object':'','prompt_filter_results':"
        "[{'prompt_index':0,'content_filter_results':{'hate':{'filtered':false}}}]}\n\n" CHAT_DELTA(
            "'content':'Hi'") CHAT_DONE;
    struct run r;
    run_stream(&r, DIALECT_CHAT, true, text);
    assert_passed(&r, text);
    run_fini(&r);
}

static void chat_drops_the_usage_chunk_of_servers_without_choices_in_it(void **state)
{
    (void)state;
    struct run r;
    run_stream(&r, DIALECT_CHAT, true,
               CHAT_DELTA("'content':'Hi'") "data: {'choices':null,'usage':{'prompt_tokens':3,"
                                            "'completion_tokens':1}}\n\n" CHAT_DONE);
    assert_passed(&r, CHAT_DELTA("'content':'Hi'") CHAT_DONE);
    assert_usage(&r.o, 100, TOKENS(.input = 3, .output = 1), false);
    run_fini(&r);
}

static void chat_without_usage_is_estimated_from_what_passed(void **state)
{
    (void)state;
    struct run r;
    /* 5 + 6 + 7 bytes: escapes count decoded, reasoning under two names once */
    run_stream(&r, DIALECT_CHAT, true,
               CHAT_DELTA("'role':'assistant','content':''") CHAT_DELTA("'content':'a\\n\\u00e9b'")
                   CHAT_DELTA("'reasoning':'think!','reasoning_content':'think!'")
                       CHAT_DELTA("'refusal':'Sorry, '") CHAT_FINISH("stop") CHAT_DONE);
    assert_int_equal(r.o.text_bytes, 5 + 6 + 7);
    assert_usage(&r.o, 41, TOKENS(.input = 11, .output = 5), true);
    run_fini(&r);
}

static void chat_cut_in_the_middle_is_estimated(void **state)
{
    (void)state;
    struct run r;
    run_stream(&r, DIALECT_CHAT, true,
               CHAT_DELTA("'content':'Twelve bytes'") "data: {'choices':[{'index':0,'delta':{'content':'los");
    assert_false(r.o.is_ended || r.o.has_finish || r.o.has_usage);
    assert_int_equal(r.n_last, 0);
    assert_usage(&r.o, 400, TOKENS(.input = 100, .output = 3), true);
    run_fini(&r);
    /* before the first event: the input was still read */
    run_stream(&r, DIALECT_CHAT, true, ": keep-alive\n\n");
    assert_passed(&r, ": keep-alive\n\n");
    assert_usage(&r.o, 400, TOKENS(.input = 100), true);
    run_fini(&r);
}

static void chat_text_behind_the_last_report_is_added_by_estimate(void **state)
{
    (void)state;
    struct run r;
    run_stream(
        &r, DIALECT_CHAT, true,
        "data: "
        "{'choices':[],'usage':{'prompt_tokens':30,'completion_tokens':0,'total_tokens':30}}\n\n" CHAT_DELTA(
            "'content':'0123456789abcdef'"));
    assert_usage(&r.o, 400, TOKENS(.input = 30, .output = 4), true);
    run_fini(&r);
}

static void chat_without_done_has_its_finish_reason(void **state)
{
    (void)state;
    struct run r;
    run_stream(&r, DIALECT_CHAT, true, CHAT_DELTA("'content':'Hi'") CHAT_FINISH("stop") CHAT_TOOLS_USAGE);
    assert_true(r.o.has_finish && r.o.has_usage && !r.o.is_ended);
    run_fini(&r);
}

static void chat_errors_in_the_stream_are_seen(void **state)
{
    (void)state;
    const char *error =
        "data: {'error':{'message':'The server had an error','type':'server_error','param':null,"
        "'code':null}}\n\n";
    struct run r;
    run_stream(&r, DIALECT_CHAT, true, error);
    assert_passed(&r, error);
    assert_true(r.o.has_error && !r.o.is_ended);
    assert_usage(&r.o, 400, TOKENS(0), false); /* nothing was produced: it costs nothing */
    run_fini(&r);
    run_stream(&r, DIALECT_CHAT, true,
               CHAT_DELTA("'content':'Some text'") "data: {'error':'overloaded','choices':[],'usage':"
                                                   "{'prompt_tokens':0,'completion_tokens':0}}\n\n");
    assert_true(r.o.has_error);
    assert_int_equal(r.n_dropped, 0);
    assert_usage(&r.o, 400, TOKENS(.input = 100, .output = 3), true);
    run_fini(&r);
    run_stream(&r, DIALECT_CHAT, true, "data: {'choices':[],'error':null}\n\n");
    assert_false(r.o.has_error);
    run_fini(&r);
}

static void broken_events_pass_and_change_nothing(void **state)
{
    (void)state;
    const char *text = "data: {'choices':[{'delta':{'content':'Hello'}}\n\n"
                       "data: {'usage':{'prompt_tokens':5,'completion_tokens':5},}\n\n"
                       "data\n\n"
                       "data: \n\n"
                       "data: 'a string'\n\n"
                       "data: []\n\n"
                       "event: surprise\nid: 7\nretry: 100\n\n";
    for (enum dialect d = 0; d < DIALECTS; d++) {
        struct run r;
        run_stream(&r, d, true, text);
        assert_passed(&r, text);
        assert_int_equal(r.o.text_bytes, 0);
        assert_false(r.o.has_usage || r.o.has_partial_usage || r.o.is_ended || r.o.has_error);
        run_fini(&r);
    }
}

static void line_ends_and_comments_reach_the_client_as_they_were(void **state)
{
    (void)state;
    const char *text = ": OPENROUTER PROCESSING\r\n\r\n"
                       "data: {'choices':[{'delta':{'content':'Grüße, 世界'}}]}\r\n\r\n"
                       "data:[DONE]\r\n\r\n";
    struct run r;
    run_stream(&r, DIALECT_CHAT, true, text);
    assert_passed(&r, text);
    assert_true(r.o.is_ended);
    assert_int_equal(r.o.text_bytes, sizeof("Grüße, 世界") - 1);
    run_fini(&r);
}

/* The usage object alone, through a body. */
static void assert_chat_usage(const char *usage, struct token_usage want)
{
    char text[1024];
    snprintf(text, sizeof(text), "{'choices':[{'message':{'content':''}}],'usage':%s}", usage);
    struct observer o;
    body_of(&o, DIALECT_CHAT, text);
    assert_usage(&o, 0, want, false);
}

static void token_kinds_are_disjoint_and_never_negative(void **state)
{
    (void)state;
    assert_chat_usage(
        "{'prompt_tokens':100,'completion_tokens':20,'prompt_tokens_details':{'cached_tokens':60,"
        "'cache_write_tokens':30}}",
        TOKENS(.input = 10, .cache_read = 60, .cache_write = 30, .output = 20));
    assert_chat_usage("{'prompt_tokens':100,'completion_tokens':20,'prompt_cache_hit_tokens':64,"
                      "'prompt_cache_miss_tokens':36}",
                      TOKENS(.input = 36, .cache_read = 64, .output = 20));
    /* details go before DeepSeek's member */
    assert_chat_usage("{'prompt_tokens':100,'completion_tokens':20,'prompt_cache_hit_tokens':64,"
                      "'prompt_tokens_details':{'cached_tokens':0}}",
                      TOKENS(.input = 100, .output = 20));
    /* more cached than prompt: the numbers are apart already */
    assert_chat_usage(
        "{'prompt_tokens':10,'completion_tokens':20,'prompt_tokens_details':{'cached_tokens':900}}",
        TOKENS(.input = 10, .cache_read = 900, .output = 20));
    /* reasoning is of the output, never more */
    assert_chat_usage(
        "{'prompt_tokens':10,'completion_tokens':20,'completion_tokens_details':{'reasoning_tokens':25}}",
        TOKENS(.input = 10, .output = 20, .reasoning = 20));
    assert_chat_usage("{'prompt_tokens':10,'completion_tokens':20,'prompt_tokens_details':null,"
                      "'completion_tokens_details':null}",
                      TOKENS(.input = 10, .output = 20));
    assert_chat_usage(
        "{'prompt_tokens':10,'completion_tokens':-5,'prompt_tokens_details':{'cached_tokens':-1}}",
        TOKENS(.input = 10));
    assert_chat_usage("{'prompt_tokens':12.0,'completion_tokens':1e1}", TOKENS(.input = 12, .output = 10));
    assert_chat_usage("{'prompt_tokens':7,'completion_tokens':9223372036854775807}", TOKENS(.input = 7));
    assert_chat_usage("{'prompt_tokens':7,'completion_tokens':'12'}", TOKENS(.input = 7));
}

static void reasoning_that_only_the_total_has_is_output(void **state)
{
    (void)state;
    /* xAI: completion_tokens without reasoning; Gemini: the same, and without details */
    assert_chat_usage("{'prompt_tokens':32,'completion_tokens':9,'total_tokens':135,"
                      "'completion_tokens_details':{'reasoning_tokens':94}}",
                      TOKENS(.input = 32, .output = 103, .reasoning = 94));
    assert_chat_usage("{'prompt_tokens':20,'completion_tokens':198,'total_tokens':623}",
                      TOKENS(.input = 20, .output = 603));
    assert_chat_usage("{'completion_tokens':3,'total_tokens':10}", TOKENS(.input = 7, .output = 3));
    assert_chat_usage("{'prompt_tokens':8,'completion_tokens':4,'total_tokens':1}",
                      TOKENS(.input = 8, .output = 4));
}

static void chat_bodies_are_read(void **state)
{
    (void)state;
    struct observer o;
    body_of(
        &o, DIALECT_CHAT,
        "{'id':'chatcmpl-1','object':'chat.completion','model':'gpt-4o','choices':[{'index':0,'message':"
        "{'role':'assistant','content':'Hello','refusal':null,'annotations':[],'tool_calls':[{'id':'call_1',"
        "'type':'function','function':{'name':'f','arguments':'{}'}},{'id':'call_2','type':'custom','custom':"
        "{'name':'g','input':'abc'}}]},'logprobs':null,'finish_reason':'tool_calls'}],'usage':"
        "{'prompt_tokens':21,'completion_tokens':15,'total_tokens':36,'prompt_tokens_details':"
        "{'cached_tokens':0},'completion_tokens_details':{'reasoning_tokens':0}},'service_tier':'default'}");
    assert_true(o.has_usage && o.is_ended && o.has_finish && !o.has_error);
    assert_int_equal(o.text_bytes, 5 + 1 + 2 + 3);
    assert_usage(&o, 80, TOKENS(.input = 21, .output = 15), false);
    /* Mistral's typed parts, no usage */
    body_of(
        &o, DIALECT_CHAT,
        "{'choices':[{'message':{'content':[{'type':'thinking','thinking':[{'type':'text','text':'Hm. '}]},"
        "{'type':'text','text':'Yes.'}]}}]}");
    assert_usage(&o, 80, TOKENS(.input = 20, .output = 2), true);
    /* all zero is no report */
    body_of(
        &o, DIALECT_CHAT,
        "{'choices':[{'message':{'content':'12345'}}],'usage':{'prompt_tokens':0,'completion_tokens':0}}");
    assert_usage(&o, 80, TOKENS(.input = 20, .output = 2), true);
}

static void error_bodies_of_every_shape_cost_nothing(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{'error':{'message':'Slow down','type':'requests','param':null,'code':'rate_limit_exceeded'}}",
        "{'error':'model not found'}",
        "[{'error':{'code':400,'message':'API key not valid','status':'INVALID_ARGUMENT'}}]",
        "{'object':'error','message':'too long','type':'BadRequestError','code':400}",
        "{'type':'error','error':{'type':'overloaded_error','message':'Overloaded'},'request_id':'req_1'}",
    };
    for (size_t i = 0; i < LENGTH_OF(bodies); i++) {
        for (enum dialect d = 0; d < DIALECTS; d++) {
            struct observer o;
            body_of(&o, d, bodies[i]);
            bool is_anthropic = d == DIALECT_MESSAGES;
            if (is_anthropic && (i == 2 || i == 3)) continue; /* shapes of OpenAI-compatible servers only */
            assert_true(o.has_error && o.is_ended);
            assert_usage(&o, 400, TOKENS(0), false);
        }
    }
}

static void bodies_that_are_no_json_are_estimated(void **state)
{
    (void)state;
    struct observer o;
    body_of(&o, DIALECT_CHAT, "<html><body>502 Bad Gateway</body></html>");
    assert_int_equal(o.text_bytes, 0);
    assert_false(o.is_ended);
    body_of(&o, DIALECT_CHAT, "{'choices':[{'message':{'content':'broken o");
    assert_usage(&o, 4, TOKENS(.input = 1, .output = 11), true);
    body_of(&o, DIALECT_MESSAGES, "");
    assert_usage(&o, 4, TOKENS(.input = 1), true);
}

/* --- responses --- */

#define EVENT(type, rest) "event: " type "\ndata: {'type':'" type "','sequence_number':1," rest "}\n\n"
#define RESPONSE(status, error, usage)                                                                       \
    "'response':{'id':'resp_1','object':'response','created_at':1763942400,'status':'" status                \
    "','error':" error ",'incomplete_details':null,'model':'gpt-5-mini','output':[{'type':'message',"        \
    "'content':[{'type':'output_text','text':'not counted twice'}]}],'tools':[],'usage':" usage              \
    ",'metadata':{}}"
#define RESPONSE_USAGE                                                                                       \
    "{'input_tokens':500,'input_tokens_details':{'cached_tokens':384,'cache_write_tokens':100},"             \
    "'output_tokens':90,'output_tokens_details':{'reasoning_tokens':64},'total_tokens':590}"
#define RESPONSES_START                                                                                      \
    EVENT("response.created", RESPONSE("in_progress", "null", "null"))                                       \
    EVENT("response.in_progress", RESPONSE("in_progress", "null", "null"))
/* thinking(8) shell(5) {"cmd":"ls"}(12) *** patch(9) Hello 世界(12) no(2) */
#define RESPONSES_DELTAS                                                                                     \
    EVENT("response.output_item.added",                                                                      \
          "'output_index':0,'item':{'id':'rs_1','type':'reasoning','summary':[]}")                           \
    EVENT("response.reasoning_summary_text.delta", "'item_id':'rs_1','summary_index':0,'delta':'thinking'")  \
    EVENT("response.reasoning_summary_text.done", "'item_id':'rs_1','text':'thinking'")                      \
    EVENT("response.output_item.added", "'output_index':1,'item':{'id':'fc_1','type':'function_call',"       \
                                        "'name':'shell','arguments':'','call_id':'call_1'}")                 \
    EVENT("response.function_call_arguments.delta",                                                          \
          "'item_id':'fc_1','output_index':1,'delta':'{\\'cmd\\':'")                                         \
    EVENT("response.function_call_arguments.delta", "'item_id':'fc_1','output_index':1,'delta':'\\'ls\\'}'") \
    EVENT("response.function_call_arguments.done", "'item_id':'fc_1','arguments':'{\\'cmd\\':\\'ls\\'}'")    \
    EVENT("response.output_item.done", "'output_index':1,'item':{'type':'function_call','name':'shell'}")    \
    EVENT("response.custom_tool_call_input.delta", "'item_id':'ct_1','delta':'*** patch'")                   \
    EVENT("response.output_text.delta", "'item_id':'msg_1','content_index':0,'delta':'Hello 世',"           \
                                        "'logprobs':[],'obfuscation':'p3'")                                  \
    EVENT("response.output_text.delta", "'item_id':'msg_1','content_index':0,'delta':'界'")                  \
    EVENT("response.refusal.delta", "'item_id':'msg_1','delta':'no'")                                        \
    EVENT("response.audio.delta", "'delta':'UklGRiQAAABXQVZF'")
#define RESPONSES_TEXT (8 + 5 + 12 + 9 + 12 + 2)

static void responses_report_usage_in_the_completed_event(void **state)
{
    (void)state;
    const char *text = RESPONSES_START RESPONSES_DELTAS EVENT("response.completed",
                                                              RESPONSE("completed", "null", RESPONSE_USAGE));
    struct run r;
    run_stream(&r, DIALECT_RESPONSES, false, text);
    assert_passed(&r, text);
    assert_int_equal(r.n_last, 1);
    assert_true(r.o.has_usage && r.o.is_ended && !r.o.has_error);
    assert_int_equal(r.o.text_bytes, RESPONSES_TEXT);
    assert_usage(&r.o, 9000,
                 TOKENS(.input = 16, .cache_read = 384, .cache_write = 100, .output = 90, .reasoning = 64),
                 false);
    run_fini(&r);
}

static void responses_end_incomplete_or_failed(void **state)
{
    (void)state;
    struct run r;
    run_stream(&r, DIALECT_RESPONSES, false,
               RESPONSES_START EVENT("response.incomplete", RESPONSE("incomplete", "null", RESPONSE_USAGE)));
    assert_true(r.o.is_ended && !r.o.has_error && r.n_last == 1);
    assert_usage(&r.o, 9000,
                 TOKENS(.input = 16, .cache_read = 384, .cache_write = 100, .output = 90, .reasoning = 64),
                 false);
    run_fini(&r);

    const char *failed =
        EVENT("response.failed", RESPONSE("failed", "{'code':'server_error','message':'x'}", "null"));
    char text[16384];
    snprintf(text, sizeof(text), "%s%s", RESPONSES_START RESPONSES_DELTAS, failed);
    run_stream(&r, DIALECT_RESPONSES, false, text);
    assert_true(r.o.is_ended && r.o.has_error && r.n_last == 1);
    assert_usage(&r.o, 40, TOKENS(.input = 10, .output = (RESPONSES_TEXT + 3) / 4), true);
    run_fini(&r);

    run_stream(&r, DIALECT_RESPONSES, false, failed);
    assert_usage(&r.o, 40, TOKENS(0), false);
    run_fini(&r);
}

static void responses_errors_are_seen_in_both_shapes(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "event: error\ndata: "
        "{'type':'error','code':'server_error','message':'x','param':null,'sequence_number':3}\n\n",
        "event: error\ndata: "
        "{'type':'error','sequence_number':3,'error':{'type':'server_error','message':'x'}}\n\n",
        "data: {'error':{'message':'x'}}\n\n",
        "event: error\ndata: {'message':'x'}\n\n",
    };
    for (size_t i = 0; i < LENGTH_OF(texts); i++) {
        struct run r;
        run_stream(&r, DIALECT_RESPONSES, false, texts[i]);
        assert_passed(&r, texts[i]);
        assert_true(r.o.has_error && !r.o.is_ended && r.n_last == 0);
        run_fini(&r);
    }
}

static void responses_cut_are_estimated(void **state)
{
    (void)state;
    struct run r;
    run_stream(&r, DIALECT_RESPONSES, false, RESPONSES_START RESPONSES_DELTAS);
    assert_false(r.o.is_ended);
    assert_usage(&r.o, 40, TOKENS(.input = 10, .output = (RESPONSES_TEXT + 3) / 4), true);
    run_fini(&r);
}

static void responses_go_by_the_event_line_when_the_data_has_no_type(void **state)
{
    (void)state;
    struct run r;
    run_stream(
        &r, DIALECT_RESPONSES, false,
        "event: response.output_text.delta\ndata: {'delta':'four'}\n\n"
        "event: response.completed\ndata: {'response':{'usage':{'input_tokens':4,'output_tokens':1}}}\n\n");
    assert_int_equal(r.o.text_bytes, 4);
    assert_int_equal(r.n_last, 1);
    assert_usage(&r.o, 40, TOKENS(.input = 4, .output = 1), false);
    run_fini(&r);
}

static void responses_bodies_are_read(void **state)
{
    (void)state;
    struct observer o;
    const char *format = "{'id':'resp_1','object':'response','status':'completed','error':null,'instructions'"
                         ":'Be brief.','output':["
                         "{'type':'reasoning','summary':[{'type':'summary_text','text':'abc'}]},"
                         "{'type':'function_call','name':'f','arguments':'{\\'a\\':1}','call_id':'c'},"
                         "{'type':'custom_tool_call','name':'g','input':'xy'},"
                         "{'type':'message','role':'assistant','content':[{'type':'output_text','text':'"
                         "Hello','annotations':[]},"
                         "{'type':'refusal','refusal':'no'}]}],'usage':%s}";
    char text[2048];
    snprintf(text, sizeof(text), format, RESPONSE_USAGE);
    body_of(&o, DIALECT_RESPONSES, text);
    assert_true(o.has_usage && o.is_ended && !o.has_error);
    assert_int_equal(o.text_bytes, 3 + 1 + 7 + 1 + 2 + 5 + 2);
    assert_usage(&o, 40,
                 TOKENS(.input = 16, .cache_read = 384, .cache_write = 100, .output = 90, .reasoning = 64),
                 false);
    snprintf(text, sizeof(text), format, "null");
    body_of(&o, DIALECT_RESPONSES, text);
    assert_usage(&o, 40, TOKENS(.input = 10, .output = 6), true);
}

/* --- messages --- */

#define M(type, rest) "event: " type "\ndata: {'type':'" type "'" rest "}\n\n"
#define M_START(usage)                                                                                       \
    M("message_start",                                                                                       \
      ",'message':{'model':'claude-sonnet-4-5-20250929','id':'msg_1','type':'message',"                      \
      "'role':'assistant','content':[],'stop_reason':null,'stop_sequence':null,'usage':{" usage "}}")
#define M_PING M("ping", "")
#define M_BLOCK(i, block) M("content_block_start", ",'index':" i ",'content_block':{" block "}")
#define M_DELTA(i, delta) M("content_block_delta", ",'index':" i ",'delta':{" delta "}")
#define M_END(i) M("content_block_stop", ",'index':" i)
#define M_FINISH(usage)                                                                                      \
    M("message_delta", ",'delta':{'stop_reason':'tool_use','stop_sequence':null},'usage':{" usage "}")
#define M_STOP M("message_stop", "")

/* Let me see.(11) Both:(5) get_weather(11) {"city":"Zürich"}(18) get_time(8) {}(2) */
#define MESSAGES_BLOCKS                                                                                      \
    M_BLOCK("0", "'type':'thinking','thinking':'','signature':''")                                           \
    M_PING                                                                                                   \
    M_DELTA("0", "'type':'thinking_delta','thinking':'Let me '")                                             \
    M_DELTA("0", "'type':'thinking_delta','thinking':'see.'")                                                \
    M_DELTA("0", "'type':'signature_delta','signature':'EqQBCgIYAhIM1gbcDa9GJwZA2b3h'")                      \
    M_END("0")                                                                                               \
    M_BLOCK("1", "'type':'text','text':''")                                                                  \
    M_DELTA("1", "'type':'text_delta','text':'Both:'")                                                       \
    M_END("1")                                                                                               \
    M_BLOCK("2", "'type':'tool_use','id':'toolu_1','name':'get_weather','input':{}")                         \
    M_DELTA("2", "'type':'input_json_delta','partial_json':''")                                              \
    M_DELTA("2", "'type':'input_json_delta','partial_json':'{\\'city\\':'")                                  \
    M_DELTA("2", "'type':'input_json_delta','partial_json':'\\'Zürich\\'}'")                                 \
    M_END("2")                                                                                               \
    M_BLOCK("3", "'type':'tool_use','id':'toolu_2','name':'get_time','input':{}")                            \
    M_DELTA("3", "'type':'input_json_delta','partial_json':'{}'")                                            \
    M_END("3")
#define MESSAGES_TEXT (11 + 5 + 11 + 18 + 8 + 2)
#define MESSAGES_START                                                                                       \
    M_START("'input_tokens':25,'cache_creation_input_tokens':1500,'cache_read_input_tokens':9000,"           \
            "'cache_creation':{'ephemeral_5m_input_tokens':500,'ephemeral_1h_input_tokens':1000},"           \
            "'output_tokens':2,'service_tier':'standard'")

static void messages_split_their_usage_over_two_events(void **state)
{
    (void)state;
    const char *text = MESSAGES_START MESSAGES_BLOCKS M_FINISH("'output_tokens':89") M_STOP;
    struct run r;
    run_stream(&r, DIALECT_MESSAGES, false, text);
    assert_passed(&r, text);
    assert_int_equal(r.n_last, 1);
    assert_true(r.o.has_usage && r.o.has_partial_usage && r.o.has_finish && r.o.is_ended && !r.o.has_error);
    assert_int_equal(r.o.text_bytes, MESSAGES_TEXT);
    assert_usage(
        &r.o, 9999,
        TOKENS(.input = 25, .cache_read = 9000, .cache_write = 500, .cache_write_1h = 1000, .output = 89),
        false);
    run_fini(&r);
}

static void message_delta_may_correct_the_input(void **state)
{
    (void)state;
    struct run r;
    /* null keeps, a number replaces; the sum is repeated without its parts */
    run_stream(&r, DIALECT_MESSAGES, false,
               MESSAGES_START MESSAGES_BLOCKS M_FINISH(
                   "'input_tokens':30,'cache_creation_input_tokens':1600,'cache_read_input_tokens':null,"
                   "'output_tokens':89,'output_tokens_details':{'thinking_tokens':40}") M_STOP);
    assert_usage(&r.o, 9999,
                 TOKENS(.input = 30, .cache_read = 9000, .cache_write = 600, .cache_write_1h = 1000,
                        .output = 89, .reasoning = 40),
                 false);
    run_fini(&r);
    run_stream(&r, DIALECT_MESSAGES, false,
               MESSAGES_START M_FINISH("'output_tokens':5") M_FINISH("'input_tokens':26,'output_tokens':7")
                   M_STOP);
    assert_usage(
        &r.o, 9999,
        TOKENS(.input = 26, .cache_read = 9000, .cache_write = 500, .cache_write_1h = 1000, .output = 7),
        false);
    run_fini(&r);
    /* a server that knows the input only at the end */
    run_stream(&r, DIALECT_MESSAGES, false,
               M_START("'input_tokens':0,'output_tokens':0") M_FINISH(
                   "'input_tokens':77,'cache_creation':{'ephemeral_1h_input_tokens':3},'output_tokens':7")
                   M_STOP);
    assert_usage(&r.o, 9999, TOKENS(.input = 77, .cache_write_1h = 3, .output = 7), false);
    run_fini(&r);
}

static void messages_cut_after_the_start_report_input_and_estimate_output(void **state)
{
    (void)state;
    struct run r;
    run_stream(&r, DIALECT_MESSAGES, false, MESSAGES_START MESSAGES_BLOCKS);
    assert_true(r.o.has_partial_usage && !r.o.has_usage && !r.o.is_ended);
    struct token_usage want = {.input = 25, .cache_read = 9000, .cache_write = 500, .cache_write_1h = 1000};
    want.output = (MESSAGES_TEXT + 3) / 4;
    assert_usage(&r.o, 9999, want, true);
    run_fini(&r);
    run_stream(&r, DIALECT_MESSAGES, false, MESSAGES_START M_PING);
    want.output = 2;
    assert_usage(&r.o, 9999, want, true);
    run_fini(&r);
}

static void messages_errors_in_the_stream_are_seen(void **state)
{
    (void)state;
    const char *error =
        "event: error\ndata: {'type':'error','error':{'type':'overloaded_error','message':'Overloaded'},"
        "'request_id':'req_1'}\n\n";
    struct run r;
    run_stream(&r, DIALECT_MESSAGES, false, error);
    assert_passed(&r, error);
    assert_true(r.o.has_error && !r.o.is_ended && r.n_last == 0);
    assert_usage(&r.o, 400, TOKENS(0), false);
    run_fini(&r);
    char text[4096];
    snprintf(text, sizeof(text), "%s%s",
             M_START("'input_tokens':25,'output_tokens':1") M_DELTA("0", "'text':'12345'"), error);
    run_stream(&r, DIALECT_MESSAGES, false, text);
    assert_usage(&r.o, 400, TOKENS(.input = 25, .output = 2), true);
    run_fini(&r);
}

static void messages_without_usage_are_estimated(void **state)
{
    (void)state;
    struct run r;
    run_stream(&r, DIALECT_MESSAGES, false, M_START("") MESSAGES_BLOCKS M_FINISH("") M_STOP);
    assert_false(r.o.has_usage || r.o.has_partial_usage);
    assert_usage(&r.o, 402, TOKENS(.input = 101, .output = (MESSAGES_TEXT + 3) / 4), true);
    run_fini(&r);
}

static void messages_bodies_are_read(void **state)
{
    (void)state;
    struct observer o;
    body_of(&o, DIALECT_MESSAGES,
            "{'id':'msg_1','type':'message','role':'assistant','model':'claude-opus-4-5','content':["
            "{'type':'thinking','thinking':'Hm.','signature':'Eq'},{'type':'text','text':'Hi\\u00fc'},"
            "{'type':'tool_use','id':'t','name':'f','input':{'a':1}}],'stop_reason':'tool_use','stop_"
            "sequence':null,"
            "'usage':{'input_tokens':12,'cache_creation_input_tokens':4,'cache_read_input_tokens':5,"
            "'output_tokens':20,'output_tokens_details':{'thinking_tokens':6}}}");
    assert_true(o.has_usage && o.has_finish && o.is_ended && !o.has_error);
    assert_int_equal(o.text_bytes, 3 + 4 + 1 + 7);
    assert_usage(&o, 40, TOKENS(.input = 12, .cache_read = 5, .cache_write = 4, .output = 20, .reasoning = 6),
                 false);
    body_of(&o, DIALECT_MESSAGES, "{'type':'message','content':[{'type':'text','text':'12345'}]}");
    assert_usage(&o, 40, TOKENS(.input = 10, .output = 2), true);
}

/* --- embeddings, count_tokens --- */

static void embeddings_report_their_prompt(void **state)
{
    (void)state;
    struct observer o;
    body_of(&o, DIALECT_EMBEDDINGS,
            "{'object':'list','data':[{'object':'embedding','index':0,'embedding':[0.1,-0.2]}],"
            "'model':'text-embedding-3-small','usage':{'prompt_tokens':8,'total_tokens':8}}");
    assert_usage(&o, 400, TOKENS(.input = 8), false);
    body_of(&o, DIALECT_EMBEDDINGS, "{'data':[],'usage':{'total_tokens':9}}");
    assert_usage(&o, 400, TOKENS(.input = 9), false);
    body_of(&o, DIALECT_EMBEDDINGS, "{'data':[{'embedding':'AAAA'}]}");
    assert_usage(&o, 400, TOKENS(.input = 100), true);
}

/* A body too long to be read on a loop, with this behind the vectors. */
static void long_embeddings(struct observer *o, const char *tail)
{
    size_t len = 200000 + strlen(tail);
    char *quoted = malloc(len + 64);
    assert_non_null(quoted);
    size_t n = (size_t)sprintf(quoted, "{'object':'list','data':[{'embedding':[0");
    while (n < 200000)
        n += (size_t)sprintf(quoted + n, ",-0.0123456789");
    sprintf(quoted + n, "]}]%s", tail);
    body_of(o, DIALECT_EMBEDDINGS, quoted);
    free(quoted);
}

static void long_embeddings_are_read_from_their_end(void **state)
{
    (void)state;
    struct observer o;
    long_embeddings(&o, ",'model':'m','usage':{'prompt_tokens':8,'total_tokens':8}}");
    assert_usage(&o, 400, TOKENS(.input = 8), false);
    long_embeddings(&o, ",'usage' : { 'prompt_tokens' : 8 }\r\n } \n");
    assert_usage(&o, 400, TOKENS(.input = 8), false);
    /* usage elsewhere: the whole is read */
    long_embeddings(&o, ",'usage':{'prompt_tokens':8},'model':'m'}");
    assert_usage(&o, 400, TOKENS(.input = 8), false);
    /* what only looks like it */
    long_embeddings(&o, ",'usage':{'prompt_tokens':8},'x':{'usage':{'prompt_tokens':9}}}");
    assert_usage(&o, 400, TOKENS(.input = 8), false);
    long_embeddings(&o, ",'usage':{'prompt_tokens':8},'x\\'usage':{'prompt_tokens':9}}");
    assert_usage(&o, 400, TOKENS(.input = 8), false);
    long_embeddings(&o, ",'usage':{'prompt_tokens':8},'x':'\\'usage\\':{\\'prompt_tokens\\':9}'}");
    assert_usage(&o, 400, TOKENS(.input = 8), false);
}

static void count_tokens_costs_nothing(void **state)
{
    (void)state;
    struct observer o;
    body_of(&o, DIALECT_COUNT_TOKENS, "{'input_tokens':2095}");
    assert_false(o.has_error);
    assert_usage(&o, 8000, TOKENS(0), false);
}

static void nothing_seen_is_an_estimate_of_the_input(void **state)
{
    (void)state;
    for (enum dialect d = 0; d < DIALECTS; d++) {
        struct observer o;
        observer_init(&o, d, false);
        bool costs = d != DIALECT_COUNT_TOKENS;
        assert_usage(&o, 9, TOKENS(.input = costs ? 3 : 0), costs);
    }
}

/* The transcripts that the provider doubles replay. */
static void transcripts_of_the_doubles_read_alike_however_they_are_cut(void **state)
{
    (void)state;
    static const struct {
        const char *prefix;
        enum dialect dialect;
    } kinds[] = {{"chat-", DIALECT_CHAT}, {"responses-", DIALECT_RESPONSES}, {"messages-", DIALECT_MESSAGES}};
    DIR *folder = opendir(SOURCE_DIR "/tests/doubles/transcripts");
    assert_non_null(folder);
    unsigned n = 0;
    for (const struct dirent *it; (it = readdir(folder));) {
        if (!str_ends(str_c(it->d_name), S(".sse"))) continue;
        char path[512], text[32768];
        snprintf(path, sizeof(path), SOURCE_DIR "/tests/doubles/transcripts/%s", it->d_name);
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        size_t len = fread(text, 1, sizeof(text), f);
        fclose(f);
        assert_in_range(len, 1, sizeof(text) - 1);
        for (size_t k = 0; k < LENGTH_OF(kinds); k++) {
            if (!str_starts(str_c(it->d_name), str_c(kinds[k].prefix))) continue;
            struct run r;
            run_text(&r, kinds[k].dialect, false, str_of(text, len));
            assert_true(str_eq(buf_str(&r.passed), str_of(text, len)));
            assert_true(r.o.has_error || (r.o.is_ended && r.n_last == 1 && !r.passed_after_last));
            run_fini(&r);
            n++;
        }
    }
    closedir(folder);
    assert_true(n > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chat_drops_only_the_extra_usage_chunk),
        cmocka_unit_test(chat_passes_the_usage_chunk_to_a_client_that_asked),
        cmocka_unit_test(chat_keeps_usage_chunks_that_carry_choices_and_takes_the_latest),
        cmocka_unit_test(chat_passes_azures_first_chunk),
        cmocka_unit_test(chat_drops_the_usage_chunk_of_servers_without_choices_in_it),
        cmocka_unit_test(chat_without_usage_is_estimated_from_what_passed),
        cmocka_unit_test(chat_cut_in_the_middle_is_estimated),
        cmocka_unit_test(chat_text_behind_the_last_report_is_added_by_estimate),
        cmocka_unit_test(chat_without_done_has_its_finish_reason),
        cmocka_unit_test(chat_errors_in_the_stream_are_seen),
        cmocka_unit_test(broken_events_pass_and_change_nothing),
        cmocka_unit_test(line_ends_and_comments_reach_the_client_as_they_were),
        cmocka_unit_test(token_kinds_are_disjoint_and_never_negative),
        cmocka_unit_test(reasoning_that_only_the_total_has_is_output),
        cmocka_unit_test(chat_bodies_are_read),
        cmocka_unit_test(error_bodies_of_every_shape_cost_nothing),
        cmocka_unit_test(bodies_that_are_no_json_are_estimated),
        cmocka_unit_test(responses_report_usage_in_the_completed_event),
        cmocka_unit_test(responses_end_incomplete_or_failed),
        cmocka_unit_test(responses_errors_are_seen_in_both_shapes),
        cmocka_unit_test(responses_cut_are_estimated),
        cmocka_unit_test(responses_go_by_the_event_line_when_the_data_has_no_type),
        cmocka_unit_test(responses_bodies_are_read),
        cmocka_unit_test(messages_split_their_usage_over_two_events),
        cmocka_unit_test(message_delta_may_correct_the_input),
        cmocka_unit_test(messages_cut_after_the_start_report_input_and_estimate_output),
        cmocka_unit_test(messages_errors_in_the_stream_are_seen),
        cmocka_unit_test(messages_without_usage_are_estimated),
        cmocka_unit_test(messages_bodies_are_read),
        cmocka_unit_test(embeddings_report_their_prompt),
        cmocka_unit_test(long_embeddings_are_read_from_their_end),
        cmocka_unit_test(count_tokens_costs_nothing),
        cmocka_unit_test(nothing_seen_is_an_estimate_of_the_input),
        cmocka_unit_test(transcripts_of_the_doubles_read_alike_however_they_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
