/* The worst case of a call: bounds of its input against what the body holds, conversations that grow, output limits in every spelling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gateway/call/worst.h"

struct state {
    struct arena a;
    struct conversations *c;
    err e;
};

static int set_up(void **state)
{
    struct state *t = calloc(1, sizeof *t);
    arena_init(&t->a, 64 << 20, 0);
    t->c = conversations_new();
    *state = t;
    return t->c ? 0 : -1;
}

static int tear_down(void **state)
{
    struct state *t = *state;
    conversations_free(t->c);
    arena_fini(&t->a);
    free(t);
    return 0;
}

static struct worst_case *scan(struct state *t, enum dialect d, str body)
{
    struct worst_case *w = arena_new(&t->a, struct worst_case);
    if (worst_case_scan(&t->a, d, body, w, &t->e) != ERR_NONE)
        fail_msg("%s", t->e.msg);
    w->seed = 42;
    return w;
}

static int64_t tokens(struct state *t, enum dialect d, const char *body, int64_t context)
{
    struct model_limits limits = {context, MODEL_OUTPUT_DEFAULT};
    return worst_input_tokens(t->c, scan(t, d, str_c(body)), S("m"), &limits);
}

static void learn(struct state *t, enum dialect d, const char *body, int64_t input)
{
    conversation_learn(t->c, scan(t, d, str_c(body)), input);
}

static void bytes_bound_the_input_and_the_context_bounds_the_bytes(void **state)
{
    struct state *t = *state;
    const char *body = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}";
    assert_in_range(tokens(t, DIALECT_CHAT, body, 0), strlen(body), strlen(body) + 1100);
    assert_int_equal(tokens(t, DIALECT_CHAT, body, 100), 100);
    assert_int_equal(tokens(t, DIALECT_EMBEDDINGS, "{\"model\":\"m\",\"input\":[\"a\",\"b\"]}", 8), 31);
    assert_int_equal(tokens(t, DIALECT_COUNT_TOKENS, body, 0), 0);
}

static void images_count_by_a_maximum_and_not_by_their_bytes(void **state)
{
    struct state *t = *state;
    char *data = malloc(400001), *body = malloc(500000);
    memset(data, 'A', 400000);
    data[400000] = '\0';
    sprintf(body, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"what is it\"},"
                  "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,%s\"}}]}]}", data);
    assert_in_range(tokens(t, DIALECT_CHAT, body, 0), 10000, 12000);
    sprintf(body, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"x\",\"content\":["
                  "{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"%s\"}}]}]}]}", data);
    assert_in_range(tokens(t, DIALECT_MESSAGES, body, 0), 5000, 7000);
    sprintf(body, "{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_image\",\"image_url\":\"%s\"}]}]}", data);
    assert_in_range(tokens(t, DIALECT_RESPONSES, body, 0), 10000, 12000);
    free(data);
    free(body);
}

static void what_is_not_in_the_body_is_bounded_by_the_context_alone(void **state)
{
    struct state *t = *state;
    static const struct {
        enum dialect d;
        const char *body;
    } open[] = {
        {DIALECT_RESPONSES, "{\"model\":\"m\",\"input\":\"x\",\"previous_response_id\":\"resp_1\"}"},
        {DIALECT_RESPONSES, "{\"model\":\"m\",\"input\":\"x\",\"conversation\":\"conv_1\"}"},
        {DIALECT_RESPONSES, "{\"model\":\"m\",\"input\":\"x\",\"tools\":[{\"type\":\"web_search\"}]}"},
        {DIALECT_RESPONSES, "{\"model\":\"m\",\"input\":[{\"type\":\"item_reference\",\"id\":\"msg_1\"}]}"},
        {DIALECT_RESPONSES, "{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_file\",\"file_id\":\"f\"}]}]}"},
        {DIALECT_MESSAGES, "{\"model\":\"m\",\"tools\":[{\"type\":\"web_search_20250305\",\"name\":\"w\"}],\"messages\":[]}"},
        {DIALECT_MESSAGES, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"document\",\"source\":"
                           "{\"type\":\"url\",\"url\":\"https://h/x.pdf\"}}]}]}"},
        {DIALECT_CHAT, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"file\",\"file\":{\"file_id\":\"f\"}}]}]}"},
    };
    for (size_t i = 0; i < LENGTH_OF(open); i++)
        assert_int_equal(tokens(t, open[i].d, open[i].body, 200000), 200000);
    static const char *const closed[] = {
        "{\"model\":\"m\",\"tools\":[{\"name\":\"f\",\"input_schema\":{}},{\"type\":\"bash_20250124\",\"name\":\"b\"}],\"messages\":[]}",
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"document\",\"source\":{\"type\":\"text\",\"data\":\"x\"}}]}]}",
    };
    for (size_t i = 0; i < LENGTH_OF(closed); i++)
        assert_in_range(tokens(t, DIALECT_MESSAGES, closed[i], 200000), 1, 2000);
}

/* --- conversations --- */

#define SYSTEM "\"system\":[{\"type\":\"text\",\"text\":\"You are an agent of many words.\"}],\"tools\":[{\"name\":\"f\",\"input_schema\":{}}]"

static void a_conversation_that_grows_is_bounded_by_what_was_reported_and_the_new_bytes(void **state)
{
    struct state *t = *state;
    char *one = malloc(300000), *two = malloc(300000), *text = malloc(200001);
    memset(text, 'x', 200000);
    text[200000] = '\0';
    sprintf(one, "{\"model\":\"m\",\"max_tokens\":64000," SYSTEM ",\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}", text);
    sprintf(two,
            "{\"model\":\"m\",\"max_tokens\":32000," SYSTEM ",\"messages\":[{\"role\":\"user\",\"content\":\"%s\"},"
            "{\"role\":\"assistant\",\"content\":\"yes\"},{\"role\":\"user\",\"content\":\"go on\"}]}",
            text);
    assert_true(tokens(t, DIALECT_MESSAGES, one, 0) > 200000);
    learn(t, DIALECT_MESSAGES, one, 50000);
    assert_in_range(tokens(t, DIALECT_MESSAGES, one, 0), 50000, 50300);
    assert_in_range(tokens(t, DIALECT_MESSAGES, two, 0), 50000, 50400);
    /* Another beginning, another model: nothing is known of it. */
    two[strlen(two) / 2] = 'y';
    assert_true(tokens(t, DIALECT_MESSAGES, two, 0) > 200000);
    two[strlen(two) / 2] = 'x';
    struct worst_case *w = scan(t, DIALECT_MESSAGES, str_c(two));
    struct model_limits limits = {0, MODEL_OUTPUT_DEFAULT};
    w->seed = 43;
    assert_true(worst_input_tokens(t->c, w, S("m"), &limits) > 200000);
    free(one);
    free(two);
    free(text);
}

static void cache_breakpoints_that_move_are_no_change(void **state)
{
    struct state *t = *state;
#define PAD "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
#define LONG PAD PAD PAD PAD PAD PAD PAD PAD PAD PAD PAD PAD PAD PAD PAD PAD PAD PAD PAD PAD
    const char *one = "{\"model\":\"m\"," SYSTEM ",\"messages\":["
                      "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"" LONG "\",\"cache_control\":{\"type\":\"ephemeral\"}}]}]}";
    const char *two = "{\"model\":\"m\"," SYSTEM ",\"messages\":[{\"role\":\"user\",\"content\":\"" LONG "\"},"
                      "{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}]},"
                      "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"t\",\"content\":\"ok\"},"
                      "{\"type\":\"text\",\"text\":\"now\", \"cache_control\" : {\"type\":\"ephemeral\"}}]}]}";
    const char *three = "{\"model\":\"m\"," SYSTEM ",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"" LONG "\"}]},"
                        "{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}]},"
                        "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"t\",\"content\":\"ok\"},"
                        "{\"type\":\"text\",\"text\":\"now\"}]},{\"role\":\"assistant\",\"content\":\"fine\"}]}";
    learn(t, DIALECT_MESSAGES, one, 500);
    assert_in_range(tokens(t, DIALECT_MESSAGES, two, 0), 500, 1000);
    learn(t, DIALECT_MESSAGES, two, 600);
    assert_in_range(tokens(t, DIALECT_MESSAGES, three, 0), 600, 900);
}

static void a_system_prompt_that_changes_counts_by_its_own_bytes(void **state)
{
    struct state *t = *state;
    const char *shape = "{\"model\":\"m\",\"system\":[{\"type\":\"text\",\"text\":\"%s\"},{\"type\":\"text\",\"text\":\"" LONG "\"}],"
                        "\"messages\":[{\"role\":\"user\",\"content\":\"" LONG LONG "\"}]}";
    char one[10000], two[10000];
    snprintf(one, sizeof one, shape, "billing 1");
    snprintf(two, sizeof two, shape, "billing 2");
    learn(t, DIALECT_MESSAGES, one, 1000);
    assert_in_range(tokens(t, DIALECT_MESSAGES, two, 0), 1000, 1400);
}

static void items_of_a_conversation_with_responses_are_its_turns(void **state)
{
    struct state *t = *state;
    const char *one = "{\"model\":\"m\",\"instructions\":\"" LONG "\",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"" LONG
                      "\"}]}],\"tools\":[{\"type\":\"function\",\"name\":\"f\"}]}";
    const char *two = "{\"model\":\"m\",\"instructions\":\"" LONG "\",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"" LONG
                      "\"}]},{\"type\":\"function_call\",\"name\":\"f\",\"call_id\":\"c\",\"arguments\":\"{}\"},"
                      "{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":\"42\"}],\"tools\":[{\"type\":\"function\",\"name\":\"f\"}]}";
    learn(t, DIALECT_RESPONSES, one, 900);
    assert_in_range(tokens(t, DIALECT_RESPONSES, two, 0), 900, 1250);
}

static void many_conversations_push_the_oldest_out(void **state)
{
    struct state *t = *state;
    char body[5000];
    for (unsigned i = 0; i < 20000; i++) {
        struct arena_mark mark = arena_mark(&t->a);
        snprintf(body, sizeof body, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"%u " LONG "\"}]}", i);
        learn(t, DIALECT_CHAT, body, 7);
        arena_reset(&t->a, mark);
    }
    assert_in_range(tokens(t, DIALECT_CHAT, body, 0), 7, 200);
}

/* --- output --- */

static str edited(struct state *t, enum dialect d, const char *body, int64_t limit, bool is_openai)
{
    struct json_edit edit;
    struct buf out;
    json_edit_init(&edit, str_c(body));
    struct worst_case *w = scan(t, d, str_c(body));
    assert_int_equal(worst_case_limit(w, &edit, &t->a, limit, is_openai, &t->e), ERR_NONE);
    buf_init(&out, 10000);
    json_edit_write(&edit, &out);
    str text = str_dup(&t->a, buf_str(&out));
    buf_fini(&out);
    return text;
}

static void assert_edit(struct state *t, enum dialect d, const char *body, bool is_openai, const char *wanted)
{
    str got = edited(t, d, body, 2000, is_openai);
    if (!str_eq(got, str_c(wanted)))
        fail_msg("%.*s instead of %s", STR(got), wanted);
}

static void output_limits_are_lowered_in_every_spelling_and_put_in_where_there_is_none(void **state)
{
    struct state *t = *state;
    assert_edit(t, DIALECT_CHAT, "{\"max_tokens\":64000}", true, "{\"max_tokens\":2000}");
    assert_edit(t, DIALECT_CHAT, "{\"max_completion_tokens\":64000,\"max_tokens\":5000}", true, "{\"max_completion_tokens\":2000,\"max_tokens\":2000}");
    assert_edit(t, DIALECT_CHAT, "{\"max_completion_tokens\":64000,\"max_tokens\":500}", true, "{\"max_completion_tokens\":2000,\"max_tokens\":500}");
    assert_edit(t, DIALECT_CHAT, "{\"model\":\"m\"}", true, "{\"max_completion_tokens\":2000,\"model\":\"m\"}");
    assert_edit(t, DIALECT_CHAT, "{\"model\":\"m\"}", false, "{\"max_tokens\":2000,\"model\":\"m\"}");
    assert_edit(t, DIALECT_CHAT, "{\"max_tokens\":null}", false, "{\"max_tokens\":2000}");
    assert_edit(t, DIALECT_RESPONSES, "{}", true, "{\"max_output_tokens\":2000}");
    assert_edit(t, DIALECT_RESPONSES, "{\"max_output_tokens\":2001}", true, "{\"max_output_tokens\":2000}");
    assert_edit(t, DIALECT_MESSAGES, "{\"max_tokens\":1.0e4}", false, "{\"max_tokens\":2000}");
}

static void choices_and_thinking_are_read(void **state)
{
    struct state *t = *state;
    struct worst_case *w = scan(t, DIALECT_CHAT, S("{\"n\":3,\"max_tokens\":10,\"max_completion_tokens\":20}"));
    assert_int_equal(w->choices, 3);
    assert_int_equal(w->output_asked, 20);
    w = scan(t, DIALECT_MESSAGES, S("{\"max_tokens\":9000,\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":8000}}"));
    assert_int_equal(w->thinking_tokens, 8000);
    w = scan(t, DIALECT_CHAT, S("{}"));
    assert_int_equal(w->choices, 1);
    assert_int_equal(w->output_asked, -1);
}

static void limits_that_are_no_numbers_are_refused(void **state)
{
    struct state *t = *state;
    static const char *const bad[] = {"{\"max_tokens\":\"64000\"}", "{\"max_tokens\":-1}", "{\"max_tokens\":0}", "{\"max_tokens\":1.5}",
                                      "{\"n\":\"8\"}",              "{\"n\":0}",           "{\"max_completion_tokens\":1e300}"};
    for (size_t i = 0; i < LENGTH_OF(bad); i++) {
        struct worst_case w;
        assert_int_equal(worst_case_scan(&t->a, DIALECT_CHAT, str_c(bad[i]), &w, &t->e), ERR_INVALID);
        assert_true(w.bad_member.len > 0);
    }
}

static void prices_are_the_dearest_that_can_come(void **state)
{
    struct state *t = *state;
    struct price p = {{3, 15, 1, 4, 6, -1, -1}};
    int64_t in, out;
    assert_true(worst_prices(scan(t, DIALECT_MESSAGES, S("{}")), &p, &in, &out));
    assert_int_equal(in, 3);
    assert_int_equal(out, 15);
    assert_true(worst_prices(scan(t, DIALECT_MESSAGES, S("{\"system\":[{\"cache_control\":{}}]}")), &p, &in, &out));
    assert_int_equal(in, 4);
    assert_true(worst_prices(scan(t, DIALECT_MESSAGES, S("{\"system\":[{\"cache_control\":{\"ttl\":\"1h\"}}]}")), &p, &in, &out));
    assert_int_equal(in, 6);
    /* A name that is spelled by escapes is the same name; escapes that encoders write mean nothing. */
    assert_true(worst_prices(scan(t, DIALECT_MESSAGES, S("{\"system\":[{\"cache\\u005fcontrol\":{\"ttl\":\"\\u0031h\"}}]}")), &p, &in, &out));
    assert_int_equal(in, 6);
    assert_true(worst_prices(scan(t, DIALECT_MESSAGES, S("{\"system\":\"\\u001b\\u003c\\u0026\\u00e9\\u2028\"}")), &p, &in, &out));
    assert_int_equal(in, 3);
    p.pico[PRICE_OUTPUT] = -1;
    assert_false(worst_prices(scan(t, DIALECT_CHAT, S("{}")), &p, &in, &out));
    assert_true(worst_prices(scan(t, DIALECT_EMBEDDINGS, S("{}")), &p, &in, &out));
    assert_int_equal(out, 0);
    p.pico[PRICE_INPUT] = -1;
    assert_false(worst_prices(scan(t, DIALECT_EMBEDDINGS, S("{}")), &p, &in, &out));
}

static void models_are_known_by_name_and_rows_override_the_table(void **state)
{
    (void)state;
    struct price none = {{-1, -1, -1, -1, -1, -1, -1}}, own = {{-1, -1, -1, -1, -1, 4096, 512}};
    assert_int_equal(price_model_limits(&none, S("gpt-4o-mini")).context, 128000);
    assert_int_equal(price_model_limits(&none, S("openai/gpt-4o-mini")).max_output, 16384);
    assert_int_equal(price_model_limits(&none, S("unheard-of")).context, 0);
    assert_int_equal(price_model_limits(&none, S("unheard-of")).max_output, 32000);
    assert_int_equal(price_model_limits(&own, S("gpt-4o")).context, 4096);
    assert_int_equal(price_model_limits(&own, S("gpt-4o")).max_output, 512);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(bytes_bound_the_input_and_the_context_bounds_the_bytes),
        T(images_count_by_a_maximum_and_not_by_their_bytes),
        T(what_is_not_in_the_body_is_bounded_by_the_context_alone),
        T(a_conversation_that_grows_is_bounded_by_what_was_reported_and_the_new_bytes),
        T(cache_breakpoints_that_move_are_no_change),
        T(a_system_prompt_that_changes_counts_by_its_own_bytes),
        T(items_of_a_conversation_with_responses_are_its_turns),
        T(many_conversations_push_the_oldest_out),
        T(output_limits_are_lowered_in_every_spelling_and_put_in_where_there_is_none),
        T(choices_and_thinking_are_read),
        T(limits_that_are_no_numbers_are_refused),
        T(prices_are_the_dearest_that_can_come),
        T(models_are_known_by_name_and_rows_override_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
