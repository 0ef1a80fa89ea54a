/* Requests: what is found in a body, what is refused and how it is told, and that edits touch nothing else.
 * Bodies are written with ' for " to stay readable. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gateway/call/request.h"

static struct arena arena;
static char *kept[256];
static unsigned n_kept;

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, 1u << 20, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_fini(&arena);
    while (n_kept > 0)
        free(kept[--n_kept]);
    return 0;
}

/* A copy with every ' turned into ", of exactly its length so that the sanitizer sees a byte read too far. */
static str json_of(const char *quoted)
{
    size_t len = strlen(quoted);
    char *text = malloc(len ? len : 1);
    assert_non_null(text);
    assert_in_range(n_kept, 0, LENGTH_OF(kept) - 1);
    kept[n_kept++] = text;
    for (size_t i = 0; i < len; i++)
        text[i] = quoted[i] == '\'' ? '"' : quoted[i];
    return str_of(text, len);
}

static struct call_request accepted(enum dialect d, const char *quoted)
{
    struct call_request r;
    err e = {0};
    if (call_request_scan(&arena, d, json_of(quoted), &r, &e)) fail_msg("%s: %s", quoted, e.msg);
    return r;
}

/* The message must have all of `says`, separated by '|'. */
static void assert_refused(enum dialect d, const char *quoted, enum errc want, const char *member,
                           const char *says)
{
    struct call_request r;
    err e = {0};
    enum errc code = call_request_scan(&arena, d, json_of(quoted), &r, &e);
    if (code != want) fail_msg("%s: %s", quoted, errc_name(code));
    assert_int_equal(e.code, want);
    if (!str_eq(r.bad_member, str_c(member))) fail_msg("%s: '%.*s'", quoted, STR(r.bad_member));
    for (str rest = str_c(says); rest.len > 0;) {
        str part = str_cut(&rest, '|');
        if (str_find(str_c(e.msg), part) < 0) fail_msg("'%s' lacks '%.*s'", e.msg, STR(part));
    }
}

static void assert_str(str got, const char *want)
{
    if (!str_eq(got, str_c(want))) fail_msg("'%.*s' instead of '%s'", STR(got), want);
}

/* --- what is found --- */

static void members_that_decide_are_found(void **state)
{
    (void)state;
    struct call_request r =
        accepted(DIALECT_CHAT, "{'messages':[],'model':'gpt-4o','stream':true,'max_tokens':64,"
                               "'stream_options':{'include_usage':true},'unknown':{'model':1}}");
    assert_str(r.model_name, "gpt-4o");
    assert_true(r.is_streamed && r.wants_usage);
    assert_int_equal(r.max_output_tokens, 64);
    assert_int_equal(r.root.offset, 0);
    assert_int_equal(r.stream_options.type, JSON_OBJECT);
    r = accepted(DIALECT_CHAT, "{'mod\\u0065l':'gpt\\u002d4o','max_completion_tokens':1e2,'max_tokens':64}");
    assert_str(r.model_name, "gpt-4o");
    assert_int_equal(r.max_output_tokens, 100);
    assert_false(r.is_streamed || r.wants_usage);
    r = accepted(DIALECT_CHAT, "{'max_tokens':64,'model':'m','max_completion_tokens':null,'stream':null,"
                               "'stream_options':null}");
    assert_int_equal(r.max_output_tokens, 64);
    assert_int_equal(r.stream_options.type, JSON_NULL);
    r = accepted(DIALECT_RESPONSES, "{'model':'m','stream':true,'max_output_tokens':7,'input':'x'}");
    assert_int_equal(r.max_output_tokens, 7);
    assert_true(r.is_streamed);
    r = accepted(DIALECT_MESSAGES, "{'model':'m','stream':true,'max_tokens':7,'messages':[]}");
    assert_int_equal(r.max_output_tokens, 7);
    assert_true(r.is_streamed);
    assert_false(accepted(DIALECT_COUNT_TOKENS, "{'model':'m','stream':true}").is_streamed);
    assert_false(accepted(DIALECT_EMBEDDINGS, "{'model':'m','input':'x','stream':true}").is_streamed);
}

static void output_limits_that_are_no_numbers_are_the_providers_to_refuse(void **state)
{
    (void)state;
    assert_int_equal(accepted(DIALECT_CHAT, "{'model':'m'}").max_output_tokens, -1);
    assert_int_equal(accepted(DIALECT_CHAT, "{'model':'m','max_tokens':'64'}").max_output_tokens, -1);
    assert_int_equal(accepted(DIALECT_CHAT, "{'model':'m','max_tokens':-64}").max_output_tokens, -1);
    assert_int_equal(accepted(DIALECT_CHAT, "{'model':'m','max_tokens':1.5}").max_output_tokens, -1);
    assert_int_equal(
        accepted(DIALECT_CHAT, "{'model':'m','max_tokens':99999999999999999999}").max_output_tokens, -1);
}

/* --- what is refused --- */

static void bodies_that_are_no_object_are_refused_with_their_place(void **state)
{
    (void)state;
    for (enum dialect d = 0; d < DIALECTS; d++) {
        assert_refused(d, "", ERR_SYNTAX, "", "empty|JSON object");
        assert_refused(d, " \r\n", ERR_SYNTAX, "", "empty|JSON object");
        assert_refused(d, "  []", ERR_INVALID, "", "JSON object|byte 2|an array");
        assert_refused(d, "'text'", ERR_INVALID, "", "JSON object|byte 0|a string");
        assert_refused(d, "null", ERR_INVALID, "", "null");
        assert_refused(d, "{'model':'m'", ERR_SYNTAX, "", "JSON object|byte 12");
        assert_refused(d, "{'model':'m',}", ERR_SYNTAX, "", "byte 13");
        assert_refused(d, "{'model':'m'} x", ERR_SYNTAX, "", "byte 14");
        assert_refused(d, "{'model':'\xff'}", ERR_SYNTAX, "", "byte 10");
        assert_refused(d, "{'model':'\\ud800'}", ERR_SYNTAX, "", "byte");
        assert_refused(d, "model=m&stream=true", ERR_SYNTAX, "", "byte 0");
    }
}

static void the_model_must_be_named_once_and_well(void **state)
{
    (void)state;
    char text[512];
    for (enum dialect d = 0; d < DIALECTS; d++) {
        assert_refused(d, "{}", ERR_INVALID, "model", "'model' is missing");
        assert_refused(d, "{'model':4}", ERR_INVALID, "model", "byte 9|must be a string|a number");
        assert_refused(d, "{'model':null}", ERR_INVALID, "model", "must be a string|null");
        assert_refused(d, "{'model':''}", ERR_INVALID, "model", "empty");
        assert_refused(d, "{'model':'a','model':'b'}", ERR_INVALID, "", "duplicate|model|byte 13");
        assert_refused(d, "{'model':'a','mode\\u006c':'b'}", ERR_INVALID, "", "duplicate|model");
        snprintf(text, sizeof(text), "{'model':'%0257d'}", 0);
        assert_refused(d, text, ERR_INVALID, "model", "257 bytes|at most 256");
        snprintf(text, sizeof(text), "{'model':'%0256d'}", 0);
        assert_int_equal(accepted(d, text).model_name.len, 256);
    }
}

static void members_that_decide_may_stand_only_once(void **state)
{
    (void)state;
    assert_refused(DIALECT_CHAT, "{'model':'m','stream':true,'stream':false}", ERR_INVALID, "",
                   "duplicate|stream");
    assert_refused(DIALECT_CHAT, "{'model':'m','max_tokens':1,'max_tokens':1}", ERR_INVALID, "",
                   "duplicate|max_tokens");
    assert_refused(DIALECT_CHAT, "{'max_completion_tokens':1,'model':'m','max_completion_tokens':1}",
                   ERR_INVALID, "", "duplicate|max_completion_tokens");
    assert_refused(DIALECT_CHAT, "{'model':'m','stream_options':{},'stream_options':null}", ERR_INVALID, "",
                   "duplicate|stream_options");
    assert_refused(DIALECT_CHAT,
                   "{'model':'m','stream_options':{'include_usage':true,'include_usage':false}}", ERR_INVALID,
                   "", "duplicate|include_usage");
    assert_refused(DIALECT_RESPONSES, "{'model':'m','max_output_tokens':1,'max_output_tokens':1}",
                   ERR_INVALID, "", "duplicate|max_output_tokens");
    assert_refused(DIALECT_MESSAGES, "{'model':'m','max_tokens':1,'max_tokens':1}", ERR_INVALID, "",
                   "duplicate|max_tokens");
    /* what decides nothing is the provider's business */
    accepted(DIALECT_CHAT, "{'model':'m','temperature':1,'temperature':2,'messages':[],'messages':[]}");
    accepted(DIALECT_CHAT, "{'model':'m','metadata':{'task_id':'a','task_id':'b'}}");
}

static void flags_and_options_have_their_types(void **state)
{
    (void)state;
    assert_refused(DIALECT_CHAT, "{'model':'m','stream':'true'}", ERR_INVALID, "stream",
                   "byte 22|true, false|a string");
    assert_refused(DIALECT_MESSAGES, "{'model':'m','stream':1}", ERR_INVALID, "stream", "a number");
    assert_refused(DIALECT_CHAT, "{'model':'m','stream_options':true}", ERR_INVALID, "stream_options",
                   "object or null");
    assert_refused(DIALECT_RESPONSES, "{'model':'m','stream_options':[]}", ERR_INVALID, "stream_options",
                   "an array");
    assert_refused(DIALECT_CHAT, "{'model':'m','stream_options':{'include_usage':'yes'}}", ERR_INVALID,
                   "stream_options.include_usage", "true, false or null|a string");
    accepted(DIALECT_CHAT, "{'model':'m','stream':false,'stream_options':{'include_usage':null}}");
}

/* --- labels --- */

static void the_session_is_the_first_of_its_names(void **state)
{
    (void)state;
    static const char *const members[] = {
        "'prompt_cache_key':'s'",
        "'metadata':{'session_id':'s'}",
        "'metadata':{'conversation_id':'s'}",
        "'session_id':'s'",
        "'conversation':'s'",
        "'conversation':{'id':'s'}",
    };
    static const enum dialect dialects[] = {DIALECT_CHAT, DIALECT_RESPONSES};
    char text[256];
    for (size_t k = 0; k < LENGTH_OF(dialects); k++) {
        for (size_t i = 0; i < LENGTH_OF(members); i++) {
            snprintf(text, sizeof(text), "{'model':'m',%s}", members[i]);
            assert_str(accepted(dialects[k], text).session, "s");
        }
        assert_str(accepted(dialects[k], "{'model':'m','conversation':'4','session_id':'3','metadata':"
                                         "{'conversation_id':'2','session_id':'1'},'prompt_cache_key':'0'}")
                       .session,
                   "0");
        assert_str(accepted(dialects[k], "{'model':'m','prompt_cache_key':'','session_id':7,'metadata':"
                                         "{'conversation_id':'a\\u00e9','task_id':'t-1'}}")
                       .session,
                   "aé");
        assert_str(accepted(dialects[k], "{'model':'m','metadata':null}").session, "");
    }
    assert_str(accepted(DIALECT_CHAT, "{'model':'m','metadata':{'task_id':'t-1'}}").task, "t-1");
}

static void claude_codes_session_is_found_in_its_user_id(void **state)
{
    (void)state;
    const char *id = "0b2f7a52-6f0e-4c39-9a58-2f5f6a3f8f11";
    char text[512];
    snprintf(text, sizeof(text),
             "{'model':'m','metadata':{'user_id':'user_9f86d081884c_account_%s_session_%s'}}", id, id);
    assert_str(accepted(DIALECT_MESSAGES, text).session, id);
    assert_str(accepted(DIALECT_COUNT_TOKENS, text).session, id);
    snprintf(text, sizeof(text),
             "{'model':'m','metadata':{'user_id':'{\\'device_id\\':\\'d\\',\\'account_uuid\\':\\'\\',"
             "\\'session_id\\':\\'%s\\'}'}}",
             id);
    assert_str(accepted(DIALECT_MESSAGES, text).session, id);
    assert_str(accepted(DIALECT_MESSAGES, "{'model':'m','metadata':{'user_id':'jane'}}").session, "jane");
    assert_str(accepted(DIALECT_MESSAGES, "{'model':'m','metadata':{'user_id':'user_session_'}}").session,
               "user_session_");
    assert_str(accepted(DIALECT_MESSAGES, "{'model':'m','metadata':{'user_id':'{broken'}}").session,
               "{broken");
    assert_str(accepted(DIALECT_MESSAGES, "{'model':'m','metadata':{'user_id':null}}").session, "");
}

static void long_labels_are_cut_between_characters(void **state)
{
    (void)state;
    char text[1024], want[256];
    snprintf(want, sizeof(want), "%0127d", 0);
    snprintf(text, sizeof(text),
             "{'model':'m','prompt_cache_key':'%s\u00e9 and more','metadata':{'task_id':'%s1\u00e9'}}", want,
             want);
    struct call_request r = accepted(DIALECT_CHAT, text);
    assert_str(r.session, want);
    assert_int_equal(r.task.len, 128);
    snprintf(text, sizeof(text), "{'model':'m','metadata':{'user_id':'%s\u00e9 and more'}}", want);
    assert_str(accepted(DIALECT_MESSAGES, text).session, want);
}

/* --- text --- */

static void assert_text(enum dialect d, const char *members, uint64_t want)
{
    char text[2048];
    snprintf(text, sizeof(text), "{'model':'not counted',%s}", members);
    struct call_request r = accepted(d, text);
    if (r.text_bytes != want) fail_msg("%s: %llu", members, (unsigned long long)r.text_bytes);
}

static void text_of_chat_is_counted_decoded(void **state)
{
    (void)state;
    assert_text(DIALECT_CHAT,
                "'messages':[{'role':'system','content':'abc'},{'role':'user','content':'\\u00e9\\n'}]", 6);
    assert_text(
        DIALECT_CHAT,
        "'messages':[{'role':'user','content':[{'type':'text','text':'abc'},"
        "{'type':'image_url','image_url':{'url':'data:image/png;base64,iVBORw0KGgo','detail':'low'}},"
        "{'type':'input_audio','input_audio':{'data':'UklGR','format':'wav'}},"
        "{'type':'file','file':{'file_data':'data:application/pdf;base64,JVBERi0','filename':'a.pdf'}}]}]",
        3 + 3 * REQUEST_ITEM_BYTES);
    assert_text(
        DIALECT_CHAT,
        "'messages':[{'role':'assistant','content':null,'tool_calls':[{'id':'call_1','type':'function',"
        "'function':{'name':'f','arguments':'{\\'a\\':1}'}}]},{'role':'tool','tool_call_id':'call_1',"
        "'content':'ok'}],'tools':[{}],'response_format':{'type':'json_schema','json_schema':{}}",
        1 + 7 + 2 + 4 + 2);
    assert_text(DIALECT_CHAT, "'messages':null,'tools':null", 0);
}

static void text_of_responses_is_counted_decoded(void **state)
{
    (void)state;
    assert_text(DIALECT_RESPONSES, "'instructions':'Be brief.','input':'abc'", 12);
    assert_text(
        DIALECT_RESPONSES,
        "'input':[{'role':'user','content':'ab'},{'role':'user','content':[{'type':'input_text','text':'c'},"
        "{'type':'input_image','image_url':'data:image/png;base64,iVBORw','file_id':null},"
        "{'type':'input_file','file_data':'JVBERi0','filename':'a.pdf'},{'type':'input_file','file_id':'file-"
        "1'}]},"
        "{'type':'function_call','name':'f','arguments':'{}','call_id':'c'},"
        "{'type':'function_call_output','call_id':'c','output':'okay'},"
        "{'type':'function_call_output','call_id':'c','output':[{'type':'input_text','text':'x'},"
        "{'type':'input_image','image_url':'data:'}]},"
        "{'type':'computer_call_output','output':{'type':'computer_screenshot','image_url':'data:'}},"
        "{'type':'custom_tool_call','name':'g','input':'xyz'},"
        "{'type':'reasoning','summary':[{'type':'summary_text','text':'hm'}],'encrypted_content':'gAAAA'}],"
        "'tools':[1]",
        2 + 1 + 3 * REQUEST_ITEM_BYTES + 3 + 4 + 1 + 2 * REQUEST_ITEM_BYTES + 4 + 2 + 3);
}

static void text_of_messages_is_counted_decoded(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        enum dialect d = k ? DIALECT_COUNT_TOKENS : DIALECT_MESSAGES;
        assert_text(d, "'system':'abc','messages':[{'role':'user','content':'de'}]", 5);
        assert_text(
            d,
            "'system':[{'type':'text','text':'abc','cache_control':{'type':'ephemeral'}}],"
            "'messages':[{'role':'user','content':[{'type':'text','text':'d'},"
            "{'type':'image','source':{'type':'base64','media_type':'image/png','data':'iVBORw0KGgo='}},"
            "{'type':'image','source':{'type':'url','url':'https://x/y.png'}},"
            "{'type':'document','source':{'data':'plain text','media_type':'text/plain','type':'text'}},"
            "{'type':'document','source':{'type':'content','content':[{'type':'text','text':'1234'}]}},"
            "{'type':'document','source':{'type':'base64','media_type':'application/pdf','data':'JVBER'}}]}]",
            3 + 1 + 2 * REQUEST_ITEM_BYTES + 10 + 4 + REQUEST_ITEM_BYTES);
        assert_text(
            d,
            "'messages':[{'role':'assistant','content':[{'type':'thinking','thinking':'hm','signature':'Eq'},"
            "{'type':'redacted_thinking','data':'EmwK'},{'type':'tool_use','id':'t','name':'f','input':{'a':"
            "1}}]},"
            "{'role':'user','content':[{'type':'tool_result','tool_use_id':'t','content':'okay'},"
            "{'type':'tool_result','tool_use_id':'t','content':[{'type':'text','text':'xyz'},"
            "{'type':'image','source':{'type':'base64','data':'iVBORw'}}]}]}],'tools':[{'name':'f'}]",
            2 + 1 + 7 + 4 + 3 + REQUEST_ITEM_BYTES + 14);
    }
}

static void text_of_embeddings_is_counted_decoded(void **state)
{
    (void)state;
    assert_text(DIALECT_EMBEDDINGS, "'input':'abc'", 3);
    assert_text(DIALECT_EMBEDDINGS, "'input':['abc','d']", 4);
    assert_text(DIALECT_EMBEDDINGS, "'input':[1,2,3]", 3 * REQUEST_TOKEN_BYTES);
    assert_text(DIALECT_EMBEDDINGS, "'input':[[1,2,3],[4]]", 4 * REQUEST_TOKEN_BYTES);
}

/* --- edits --- */

static void assert_edited(enum dialect d, const char *quoted, const char *model, bool asks, const char *want)
{
    struct call_request r;
    struct json_edit edit;
    struct buf out;
    err e = {0};
    str body = json_of(quoted);
    assert_int_equal(call_request_scan(&arena, d, body, &r, &e), ERR_NONE);
    assert_int_equal(call_request_edit(&r, &arena, body, str_c(model), asks, &edit, &e), ERR_NONE);
    buf_init(&out, 65536);
    json_edit_write(&edit, &out);
    str expected = json_of(want);
    if (!str_eq(buf_str(&out), expected)) fail_msg("%.*s", STR(buf_str(&out)));
    assert_int_equal(json_edit_len(&edit), expected.len);
    assert_int_equal(edit.n == 0, str_eq(body, expected));
    /* What was edited is what was meant. */
    assert_int_equal(call_request_scan(&arena, d, buf_str(&out), &r, &e), ERR_NONE);
    if (*model) assert_str(r.model_name, model);
    if (asks && d == DIALECT_CHAT) assert_int_equal(r.wants_usage, r.is_streamed);
    buf_fini(&out);
}

static void the_model_is_replaced_in_place(void **state)
{
    (void)state;
    for (enum dialect d = 0; d < DIALECTS; d++) {
        assert_edited(d, "{ 'x' : 1.0 , 'model' : 'fast' , 'y':'\\u00e9' }", "gpt-4o", false,
                      "{ 'x' : 1.0 , 'model' : 'gpt-4o' , 'y':'\\u00e9' }");
        assert_edited(d, "{'model':'fast'}", "", false, "{'model':'fast'}");
        assert_edited(d, "{'model':'f\\u0061st'}", "fast", false, "{'model':'f\\u0061st'}");
        assert_edited(d, "{'model':'fast'}", "a\\b\n", false, "{'model':'a\\\\b\\n'}");
    }
}

static void streamed_chat_asks_for_usage(void **state)
{
    (void)state;
    const enum dialect d = DIALECT_CHAT;
    assert_edited(d, "{'model':'m','stream':true}", "", true,
                  "{'stream_options':{'include_usage':true},'model':'m','stream':true}");
    assert_edited(d, "{'model':'m','stream':true,'stream_options':null}", "", true,
                  "{'model':'m','stream':true,'stream_options':{'include_usage':true}}");
    assert_edited(d, "{'model':'m','stream':true,'stream_options':{}}", "", true,
                  "{'model':'m','stream':true,'stream_options':{'include_usage':true}}");
    assert_edited(
        d, "{'stream_options':{'include_obfuscation':false},'model':'m','stream':true}", "n", true,
        "{'stream_options':{'include_usage':true,'include_obfuscation':false},'model':'n','stream':true}");
    assert_edited(d, "{'model':'m','stream':true,'stream_options':{'include_usage':false}}", "n", true,
                  "{'model':'n','stream':true,'stream_options':{'include_usage':true}}");
    assert_edited(d, "{'model':'m','stream':true,'stream_options':{'include_usage':null}}", "", true,
                  "{'model':'m','stream':true,'stream_options':{'include_usage':true}}");
    assert_edited(d, "{'model':'m','stream':true,'stream_options':{'include_usage':true}}", "", true,
                  "{'model':'m','stream':true,'stream_options':{'include_usage':true}}");
    /* not asked, not streamed, not chat: left alone */
    assert_edited(d, "{'model':'m','stream':true}", "", false, "{'model':'m','stream':true}");
    assert_edited(d, "{'model':'m','stream':false}", "", true, "{'model':'m','stream':false}");
    assert_edited(DIALECT_RESPONSES, "{'model':'m','stream':true}", "", true, "{'model':'m','stream':true}");
    assert_edited(DIALECT_MESSAGES, "{'model':'m','stream':true}", "", true, "{'model':'m','stream':true}");
}

static void a_full_arena_is_an_error(void **state)
{
    (void)state;
    struct arena small;
    struct call_request r;
    struct json_edit edit;
    err e = {0};
    arena_init(&small, 1024, 0);
    char text[4096];
    snprintf(text, sizeof(text), "{'model':'m','prompt_cache_key':'\\n%02000d'}", 0);
    assert_int_equal(call_request_scan(&small, DIALECT_CHAT, json_of(text), &r, &e), ERR_TOO_LARGE);
    arena_fini(&small);
    arena_init(&small, 1024, 0);
    str body = json_of("{'model':'m'}");
    assert_int_equal(call_request_scan(&small, DIALECT_CHAT, body, &r, &e), ERR_NONE);
    snprintf(text, sizeof(text), "%02000d", 0);
    assert_int_equal(call_request_edit(&r, &small, body, str_c(text), false, &edit, &e), ERR_TOO_LARGE);
    arena_fini(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(members_that_decide_are_found),
        TEST(output_limits_that_are_no_numbers_are_the_providers_to_refuse),
        TEST(bodies_that_are_no_object_are_refused_with_their_place),
        TEST(the_model_must_be_named_once_and_well),
        TEST(members_that_decide_may_stand_only_once),
        TEST(flags_and_options_have_their_types),
        TEST(the_session_is_the_first_of_its_names),
        TEST(claude_codes_session_is_found_in_its_user_id),
        TEST(long_labels_are_cut_between_characters),
        TEST(text_of_chat_is_counted_decoded),
        TEST(text_of_responses_is_counted_decoded),
        TEST(text_of_messages_is_counted_decoded),
        TEST(text_of_embeddings_is_counted_decoded),
        TEST(the_model_is_replaced_in_place),
        TEST(streamed_chat_asks_for_usage),
        TEST(a_full_arena_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
