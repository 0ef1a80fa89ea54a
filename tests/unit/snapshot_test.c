/* What the gateway makes of a configuration: which provider gets a call, what is sent there, the lists of models,
 * the keys; and every problem with its file and line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/keytext.h"
#include "base/log.h"
#include "core/ops.h"
#include "gateway/gateway.h"
#include "gateway/snapshot/snapshot_build.h"
#include "net/options.h"

static const struct option_table *const tables[] = {&net_options, &core_options, &gateway_options};

struct state {
    struct arena a;
    struct buf problems;
    char dir[64], file[96], secret[96];
    struct config *config;
    struct snapshot *s;
    enum errc code;
    err e;
};

static int set_up(void **state)
{
    struct state *t = calloc(1, sizeof *t);
    arena_init(&t->a, 64 << 20, 0);
    buf_init(&t->problems, 1 << 20);
    snprintf(t->dir, sizeof t->dir, "/tmp/catalyst_snapshot_XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    snprintf(t->file, sizeof t->file, "%s/catalyst.yaml", t->dir);
    snprintf(t->secret, sizeof t->secret, "%s/secret", t->dir);
    log_set_fd(-1);
    *state = t;
    return 0;
}

static int tear_down(void **state)
{
    struct state *t = *state;
    snapshot_put(t->s);
    unlink(t->file);
    unlink(t->secret);
    rmdir(t->dir);
    buf_fini(&t->problems);
    arena_fini(&t->a);
    log_set_fd(2);
    free(t);
    return 0;
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0600), 0);
}

/* Loads the configuration, which must be good as such, and the snapshot from it. */
static void load_any(struct state *t, const char *yaml)
{
    struct config_source source = {.file = t->file, .tables = tables, .n_tables = LENGTH_OF(tables)};
    snapshot_put(t->s);
    t->s = NULL;
    write_file(t->file, yaml);
    buf_clear(&t->problems);
    enum errc rc = config_load(&t->a, &source, &t->config, &t->problems, &t->e);
    if (rc != ERR_NONE) fail_msg("%.*s", STR(buf_str(&t->problems)));
    buf_clear(&t->problems);
    t->code = snapshot_load(&t->s, t->config, &t->problems, &t->e);
}

static void load(struct state *t, const char *yaml)
{
    load_any(t, yaml);
    if (t->code != ERR_NONE) fail_msg("%s: %.*s", t->e.msg, STR(buf_str(&t->problems)));
}

static void assert_route(struct state *t, enum dialect d, const char *model, const char *provider,
                         const char *sent)
{
    struct route_choice choice;
    if (snapshot_route(&t->s->workspaces[0], d, str_c(model), &choice, &t->e) != ERR_NONE)
        fail_msg("%s: %s", model, t->e.msg);
    if (!str_eq(choice.provider->name, str_c(provider)) || !str_eq(choice.model, str_c(sent)))
        fail_msg("%s goes to %.*s as %.*s", model, STR(choice.provider->name), STR(choice.model));
}

static void assert_no_route(struct state *t, enum dialect d, const char *model, enum errc code,
                            const char *words)
{
    struct route_choice choice;
    assert_int_equal(snapshot_route(&t->s->workspaces[0], d, str_c(model), &choice, &t->e), code);
    if (!strstr(t->e.msg, words)) fail_msg("no '%s' in: %s", words, t->e.msg);
}

/* --- routing --- */

#define THREE                                                                                                \
    "providers:\n"                                                                                           \
    "  - {name: openai, kind: openai, api_key: sk-1}\n"                                                      \
    "  - {name: claude, kind: anthropic, api_key: sk-2}\n"                                                   \
    "  - {name: local, kind: ollama, models: [llama*, gpt-oss, openai/odd]}\n"

/* Nothing is guessed here: both name their models. */
#define TWO                                                                                                  \
    "providers:\n"                                                                                           \
    "  - {name: a, kind: ollama, models: [one]}\n"                                                           \
    "  - {name: b, kind: ollama, models: [two]}\n"

static void a_model_goes_to_the_first_provider_whose_globs_name_it(void **state)
{
    struct state *t = *state;
    load(t, THREE);
    assert_route(t, DIALECT_CHAT, "gpt-4o-mini", "openai", "gpt-4o-mini");
    assert_route(t, DIALECT_RESPONSES, "o3", "openai", "o3");
    assert_route(t, DIALECT_EMBEDDINGS, "text-embedding-3-small", "openai", "text-embedding-3-small");
    assert_route(t, DIALECT_MESSAGES, "claude-opus-4-5", "claude", "claude-opus-4-5");
    assert_route(t, DIALECT_COUNT_TOKENS, "claude-opus-4-5", "claude", "claude-opus-4-5");
    assert_route(t, DIALECT_CHAT, "llama3.2", "local", "llama3.2");
    assert_route(t, DIALECT_CHAT, "gpt-oss", "openai", "gpt-oss"); /* gpt-* stands first */
}

static void a_provider_that_speaks_the_dialect_is_preferred_among_those_that_serve_the_model(void **state)
{
    struct state *t = *state;
    load(t,
         "providers:\n"
         "  - {name: messages, kind: compatible, base_url: 'http://h', models: [m*], dialects: [messages]}\n"
         "  - {name: chat, kind: compatible, base_url: 'http://h', models: ['?x', m1], dialects: [chat]}\n");
    assert_route(t, DIALECT_CHAT, "m1", "chat", "m1");
    assert_route(t, DIALECT_MESSAGES, "m1", "messages", "m1");
    assert_route(t, DIALECT_CHAT, "ax", "chat", "ax");
}

static void a_provider_in_front_of_the_model_chooses_it(void **state)
{
    struct state *t = *state;
    load(t, THREE);
    assert_route(t, DIALECT_CHAT, "local/gpt-4o", "local", "gpt-4o");
    assert_route(t, DIALECT_CHAT, "openai/anything-new", "openai", "anything-new");
    assert_route(t, DIALECT_CHAT, "local/org/model", "local", "org/model");
    /* a provider's own name for a model counts before the prefix */
    assert_route(t, DIALECT_CHAT, "openai/odd", "local", "openai/odd");
    load(t, TWO);
    assert_route(t, DIALECT_CHAT, "a/three", "a", "three");
    assert_no_route(t, DIALECT_CHAT, "nobody/one", ERR_MODEL_NOT_FOUND, "'nobody/one'");
    assert_no_route(t, DIALECT_CHAT, "a/", ERR_MODEL_NOT_FOUND, "'a/'");
    assert_no_route(t, DIALECT_CHAT, "/one", ERR_MODEL_NOT_FOUND, "'/one'");
}

static void aliases_stand_for_models_with_or_without_a_provider(void **state)
{
    struct state *t = *state;
    load(t, THREE "aliases: {fast: gpt-4o-mini, smart: claude/claude-opus-4-5, gpt-4: local/llama3}\n");
    assert_route(t, DIALECT_CHAT, "fast", "openai", "gpt-4o-mini");
    assert_route(t, DIALECT_MESSAGES, "smart", "claude", "claude-opus-4-5");
    assert_route(t, DIALECT_CHAT, "gpt-4", "local", "llama3"); /* before every glob */
    assert_no_route(t, DIALECT_CHAT, "smart", ERR_INVALID, "use POST /v1/messages");
    struct route_choice choice;
    assert_true(snapshot_names(&t->s->workspaces[0], S("smart"), &choice));
    assert_true(str_eq(choice.provider->name, S("claude")));
    assert_true(snapshot_names(&t->s->workspaces[0], S("gpt-4o"), &choice));
    assert_false(snapshot_names(&t->s->workspaces[0], S("unheard-of"), &choice));
    load(t, TWO "aliases: {lost: none/none, one: two}\n");
    assert_no_route(t, DIALECT_CHAT, "lost", ERR_MODEL_NOT_FOUND, "no provider serves the model 'lost'");
    assert_route(t, DIALECT_CHAT, "one", "b", "two");
}

static void an_unknown_model_goes_to_the_only_provider_that_could_have_it(void **state)
{
    struct state *t = *state;
    /* one without any globs, beside others */
    load(t, "providers:\n"
            "  - {name: openai, kind: openai}\n"
            "  - {name: any, kind: openrouter}\n");
    assert_route(t, DIALECT_CHAT, "unheard-of", "any", "unheard-of");
    /* two without globs: nobody is guessed */
    load(t, "providers:\n"
            "  - {name: a, kind: openrouter}\n"
            "  - {name: b, kind: ollama}\n");
    assert_no_route(t, DIALECT_CHAT, "unheard-of", ERR_MODEL_NOT_FOUND, "unheard-of");
    assert_route(t, DIALECT_EMBEDDINGS, "unheard-of", "b", "unheard-of"); /* the one that speaks it */
    /* a lone one with its kind's globs: perhaps the model is newer than this release */
    load(t, "providers: [{name: openai, kind: openai}]\n");
    assert_route(t, DIALECT_CHAT, "unheard-of", "openai", "unheard-of");
    assert_no_route(t, DIALECT_MESSAGES, "unheard-of", ERR_INVALID, "does not speak messages");
    /* but not one whose models the configuration names */
    load(t, "providers: [{name: openai, kind: openai, models: [gpt-4o]}]\n");
    assert_no_route(t, DIALECT_CHAT, "unheard-of", ERR_MODEL_NOT_FOUND, "known: gpt-4o");
}

static void the_wrong_dialect_names_the_right_endpoint(void **state)
{
    struct state *t = *state;
    load(t, THREE);
    assert_no_route(t, DIALECT_MESSAGES, "gpt-4o", ERR_INVALID,
                    "provider 'openai', which does not speak messages: use POST /v1/chat/completions or POST "
                    "/v1/responses");
    assert_no_route(t, DIALECT_CHAT, "claude-opus-4-5", ERR_INVALID,
                    "does not speak chat: use POST /v1/messages");
    load(t, "providers: [{name: mute, kind: ollama, dialects: []}]\n");
    assert_no_route(t, DIALECT_CHAT, "x", ERR_INVALID, "(it has no dialects)");
}

static void an_unknown_model_is_told_what_is_known(void **state)
{
    struct state *t = *state;
    load(t, "loops: 1\n");
    assert_no_route(t, DIALECT_CHAT, "gpt-4o", ERR_MODEL_NOT_FOUND,
                    "no provider is configured: add one");
    load(t, "providers:\n"
            "  - {name: a, kind: ollama, models: [one, two]}\n"
            "  - {name: b, kind: ollama, models: [three*]}\n"
            "aliases: {short: one}\n");
    assert_no_route(t, DIALECT_CHAT, "four", ERR_MODEL_NOT_FOUND, "'four'; known: short, one, two, three*");
    load(t, "providers:\n"
            "  - {name: a, kind: ollama, models: [a-model-with-a-long-name-01, a-model-with-a-long-name-02,\n"
            "     a-model-with-a-long-name-03, a-model-with-a-long-name-04, a-model-with-a-long-name-05,\n"
            "     a-model-with-a-long-name-06]}\n"
            "  - {name: b, kind: ollama, models: [x]}\n");
    assert_no_route(t, DIALECT_CHAT, "four", ERR_MODEL_NOT_FOUND, "GET /v1/models lists all");
}

/* --- what is sent --- */

static const struct provider *only(struct state *t, const char *yaml)
{
    load(t, yaml);
    assert_int_equal(t->s->n_providers, 1);
    return &t->s->providers[0];
}

static void assert_text(str got, const char *wanted)
{
    if (!str_eq(got, str_c(wanted))) fail_msg("'%.*s' is not '%s'", STR(got), wanted);
}

static void requests_go_where_the_base_url_says_in_the_form_that_the_kind_wants(void **state)
{
    struct state *t = *state;
    const struct provider *p = only(t, "providers: [{name: p, kind: openai, api_key: sk-1}]\n");
    assert_text(p->request_line[DIALECT_CHAT], "POST /v1/chat/completions");
    assert_text(p->request_line[DIALECT_EMBEDDINGS], "POST /v1/embeddings");
    assert_text(
        p->fixed_fields,
        " HTTP/1.1\r\nHost: api.openai.com\r\nAccept-Encoding: identity\r\nAuthorization: Bearer sk-1\r\n");
    assert_string_equal(p->target.host, "api.openai.com");
    assert_int_equal(p->target.port, 443);
    assert_non_null(p->target.tls);
    p = only(t, "providers: [{name: p, kind: anthropic, api_key: sk-2}]\n");
    assert_text(p->request_line[DIALECT_MESSAGES], "POST /v1/messages");
    assert_text(p->request_line[DIALECT_COUNT_TOKENS], "POST /v1/messages/count_tokens");
    assert_non_null(strstr(p->fixed_fields.p, "\r\nx-api-key: sk-2\r\n"));
    p = only(t, "providers: [{name: p, kind: anthropic, base_url: 'https://h:8443/proxy/v1/'}]\n");
    assert_text(p->request_line[DIALECT_MESSAGES], "POST /proxy/v1/messages");
    assert_text(p->fixed_fields, " HTTP/1.1\r\nHost: h:8443\r\nAccept-Encoding: identity\r\n");
    p = only(t, "providers: [{name: p, kind: azure, api_key: k, base_url: "
                "'https://x.example/openai/v1?api-version=1'}]\n");
    assert_text(p->request_line[DIALECT_RESPONSES], "POST /openai/v1/responses");
    assert_text(p->base_query, "api-version=1");
    assert_non_null(strstr(p->fixed_fields.p, "\r\napi-key: k\r\n"));
    p = only(t, "providers: [{name: p, kind: compatible, base_url: 'http://[::1]:9'}]\n");
    assert_text(p->request_line[DIALECT_CHAT], "POST /v1/chat/completions");
    assert_text(p->fixed_fields, " HTTP/1.1\r\nHost: [::1]:9\r\nAccept-Encoding: identity\r\n");
    assert_string_equal(p->target.host, "::1");
    assert_null(p->target.tls);
}

static void limits_of_time_are_the_common_ones_unless_the_provider_has_its_own(void **state)
{
    struct state *t = *state;
    const struct provider *p =
        only(t, "upstream: {connect_timeout_ms: 1s, first_byte_timeout_ms: 2s, stall_timeout_ms: 3s,\n"
                "  total_timeout_ms: 4s, idle_timeout_ms: 5s, idle_connections: 6}\n"
                "providers: [{name: p, kind: ollama, first_byte_timeout_ms: 20s, total_timeout_ms: 40s}]\n");
    assert_int_equal(p->target.connect_timeout_ms, 1000);
    assert_int_equal(p->target.first_byte_timeout_ms, 20000);
    assert_int_equal(p->target.stall_timeout_ms, 3000);
    assert_int_equal(p->target.total_timeout_ms, 40000);
    assert_int_equal(p->target.idle_timeout_ms, 5000);
    assert_int_equal(p->target.idle_connections, 6);
}

static void a_providers_key_may_stand_in_a_variable_or_a_file(void **state)
{
    struct state *t = *state;
    setenv("CATALYST_TEST_SNAPSHOT_KEY", " from-variable\n", 1);
    const struct provider *p =
        only(t, "providers: [{name: p, kind: openai, api_key_env: CATALYST_TEST_SNAPSHOT_KEY}]\n");
    assert_non_null(strstr(p->fixed_fields.p, "Bearer from-variable\r\n"));
    unsetenv("CATALYST_TEST_SNAPSHOT_KEY");
    write_file(t->secret, "from-file\nsecond line\n");
    p = only(t, "providers: [{name: p, kind: openai, api_key_file: secret}]\n");
    assert_non_null(strstr(p->fixed_fields.p, "Bearer from-file\r\n"));
}

static void prices_of_the_configuration_count_for_its_provider(void **state)
{
    struct state *t = *state;
    struct price price;
    const struct provider *p =
        only(t, "providers: [{name: p, kind: ollama, prices: {m: {input: '2.50', output: 10,\n"
                "  cache_read: 0.25, cache_write: 3, cache_write_1h: 5}}}]\n");
    assert_true(price_find(t->s->prices, p->name, p->kind->price_source, S("m"), 0, &price));
    assert_int_equal(price.pico[PRICE_INPUT], 2500000);
    assert_int_equal(price.pico[PRICE_OUTPUT], 10000000);
    assert_int_equal(price.pico[PRICE_CACHE_READ], 250000);
    assert_int_equal(price.pico[PRICE_CACHE_WRITE_1H], 5000000);
}

/* --- the list of models --- */

static void the_list_holds_aliases_plain_names_and_what_the_price_list_knows_of_a_pattern(void **state)
{
    struct state *t = *state;
    struct json *list;
    load(t, THREE "aliases: {fast: gpt-4o-mini, smart: claude/claude-opus-4-5}\n");
    str text = t->s->workspaces[0].models_openai;
    assert_true(str_starts(text, S("{\"object\":\"list\",\"data\":[{\"id\":\"")));
    assert_int_equal(json_parse(&t->a, text, &list, &t->e), ERR_NONE);
    assert_true(json_get(list, S("data"))->n > 10);
    assert_true(
        str_find(text, S("{\"id\":\"fast\",\"object\":\"model\",\"created\":0,\"owned_by\":\"openai\"}")) >
        0);
    assert_true(
        str_find(text, S("{\"id\":\"gpt-4o\",\"object\":\"model\",\"created\":0,\"owned_by\":\"openai\"}")) >
        0);
    assert_true(
        str_find(text, S("{\"id\":\"gpt-oss\",\"object\":\"model\",\"created\":0,\"owned_by\":\"local\"}")) >
        0);
    assert_int_equal(str_find(text, S("*")), -1);
    text = t->s->workspaces[0].models_anthropic;
    assert_int_equal(json_parse(&t->a, text, &list, &t->e), ERR_NONE);
    assert_true(
        str_starts(text, S("{\"data\":[{\"id\":\"smart\",\"type\":\"model\",\"display_name\":\"smart\"")));
    assert_int_equal(str_find(text, S("\"gpt-")), -1);
    assert_text(json_get(list, S("first_id"))->text, "smart");
    assert_true(str_starts(json_get(list, S("last_id"))->text, S("claude-")));
    load(t, "loops: 1\n");
    assert_text(t->s->workspaces[0].models_openai, "{\"object\":\"list\",\"data\":[]}");
    assert_text(t->s->workspaces[0].models_anthropic,
                "{\"data\":[],\"has_more\":false,\"first_id\":null,\"last_id\":null}");
}

static void a_model_of_two_providers_is_listed_once(void **state)
{
    struct state *t = *state;
    load(t, "providers:\n"
            "  - {name: a, kind: ollama, models: [one]}\n"
            "  - {name: b, kind: ollama, models: [one, two]}\n");
    assert_text(t->s->workspaces[0].models_openai,
                "{\"object\":\"list\",\"data\":["
                "{\"id\":\"one\",\"object\":\"model\",\"created\":0,\"owned_by\":\"a\"},"
                "{\"id\":\"two\",\"object\":\"model\",\"created\":0,\"owned_by\":\"b\"}]}");
}

/* --- keys --- */

static void keys_are_found_by_their_text_whether_it_or_its_hash_is_configured(void **state)
{
    struct state *t = *state;
    char yaml[600], key[KEYTEXT_LEN + 1], hashed[KEYTEXT_LEN + 1], hex[2 * SHA256_LEN + 1];
    uint8_t digest[SHA256_LEN];
    keytext_make("cvk", key);
    sha256(keytext_make("cvk", hashed), digest);
    hex_encode(digest, sizeof digest, hex);
    snprintf(yaml, sizeof yaml,
             "keys:\n  - {name: alice, key: %s, project: demo}\n  - {name: bob, key_sha256: %s}\n"
             "  - {name: weak, key: letmein}\n",
             key, hex);
    load(t, yaml);
    const struct key_secret *secret = snapshot_secret(t->s, str_c(key));
    assert_non_null(secret);
    const struct virtual_key *k = secret->key;
    assert_text(k->name, "alice");
    assert_text(k->project, "demo");
    sha256(str_c(key), digest);
    assert_memory_equal(secret->sha256, digest, sizeof digest);
    assert_memory_equal(k->id.b, digest, sizeof k->id);
    assert_ptr_equal(snapshot_key_by_id(t->s, &k->id), k);
    assert_text(snapshot_secret(t->s, str_c(hashed))->key->name, "bob");
    assert_int_equal(snapshot_secret(t->s, str_c(hashed))->key->project.len, 0);
    assert_text(snapshot_secret(t->s, S("letmein"))->key->name, "weak"); /* warned of, but taken */
    key[10] = key[10] == 'a' ? 'b' : 'a';
    assert_null(snapshot_secret(t->s, str_c(key)));
    assert_null(snapshot_secret(t->s, str_c(hex)));
    assert_null(snapshot_secret(t->s, S("")));
}

/* --- problems --- */

static void every_problem_is_told_with_its_file_and_line(void **state)
{
    static const struct {
        unsigned line;
        const char *yaml, *problem;
    } cases[] = {
        {2, "providers:\n  - {name: 'a b', kind: openai}\n",
         "the provider name 'a b' must be 1 to 64 letters, digits, '-', '_' or '.'"},
        {3, "providers:\n  - {name: a, kind: openai}\n  - {name: a, kind: ollama}\n",
         "there are two providers named 'a'"},
        {3, "providers:\n  - name: a\n    kind: opnai\n",
         "'opnai' is not a kind of provider; use one of openai, anthropic,"},
        {2, "providers:\n  - {name: a, kind: compatible}\n",
         "a provider of kind compatible needs a base_url"},
        {2, "providers:\n  - {name: a, kind: azure}\n", "a provider of kind azure needs a base_url"},
        {4, "providers:\n  - name: a\n    kind: openai\n    base_url: ftp://x\n", "base_url: "},
        {2, "providers:\n  - {name: a, kind: openai, api_key: x, api_key_env: PATH}\n",
         "give one of api_key, api_key_env and api_key_file, not several"},
        {4, "providers:\n  - name: a\n    kind: openai\n    api_key_env: CATALYST_TEST_NOT_SET\n",
         "the environment variable CATALYST_TEST_NOT_SET is not set"},
        {4, "providers:\n  - name: a\n    kind: openai\n    api_key_file: none\n",
         "/none: No such file or directory"},
        {4, "providers:\n  - name: a\n    kind: openai\n    api_key_file: secret\n",
         "/secret: the file is empty"},
        {2, "providers:\n  - {name: a, kind: openai, api_key: \"two words\"}\n",
         "the API key contains spaces or control characters"},
        {5, "providers:\n  - name: a\n    kind: openai\n    dialects:\n      - chats\n",
         "'chats' is not a dialect; use chat, responses, messages or embeddings"},
        {4, "providers:\n  - name: a\n    kind: openai\n    prices: 5\n",
         "prices must be MODEL: {input: …, output: …}"},
        {5, "providers:\n  - name: a\n    kind: openai\n    prices:\n      m: 5\n",
         "the prices of 'm' must be {input: …, output: …}"},
        {6, "providers:\n  - name: a\n    kind: openai\n    prices:\n      m:\n        inputs: 5\n",
         "'inputs' is not a price; use input, output, cache_read, cache_write, cache_write_1h, context or max_output"},
        {6, "providers:\n  - name: a\n    kind: openai\n    prices:\n      m:\n        input: 1.0000001\n",
         "the price '1.0000001' must be USD per million tokens with at most six decimal places"},
        {6, "providers:\n  - name: a\n    kind: openai\n    prices:\n      m:\n        input: -1\n",
         "the price '-1' must be"},
        {6, "providers:\n  - name: a\n    kind: openai\n    prices:\n      m:\n        input: [1]\n",
         "the price '' must be"},
        {2, "aliases:\n  a: ''\n", "an alias needs a name and a model: NAME: MODEL or NAME: PROVIDER/MODEL"},
        {2, "keys:\n  - {name: a}\n", "key 'a' needs either key or key_sha256; `catalyst key new` makes one"},
        {4, "keys:\n  - name: a\n\n    key_sha256: abc\n", "key_sha256 must be 64 hex digits"},
        {3, "keys:\n  - name: a\n    key: cat_x\n",
         "key 'a' is a management key (cat_…); the gateway takes virtual keys (cvk_…)"},
        {3, "keys:\n  - name: a\n    key: my key\n", "key 'a' contains spaces or control characters"},
        {3, "keys:\n  - {name: a, key: same}\n  - {name: b, key: same}\n",
         "key 'b' is the same as another one"},
    };
    struct state *t = *state;
    write_file(t->secret, "");
    for (unsigned i = 0; i < LENGTH_OF(cases); i++) {
        char place[140];
        load_any(t, cases[i].yaml);
        str got = buf_str(&t->problems);
        snprintf(place, sizeof place, "%s:%u: ", t->file, cases[i].line);
        if (t->code != ERR_CONFIG || !str_starts(got, str_c(place)) ||
            str_find(got, str_c(cases[i].problem)) < 0 || str_chr(got, '\n') != (ptrdiff_t)got.len - 1)
            fail_msg("case %u: not just %s%s\nbut: %.*s", i, place, cases[i].problem, STR(got));
        assert_null(t->s);
    }
}

static void all_problems_are_told_at_once_and_no_secret_is(void **state)
{
    struct state *t = *state;
    load_any(t, "providers:\n"
                "  - {name: a, kind: openai, api_key: \"hush hush\"}\n"
                "  - {name: b, kind: nothing}\n"
                "keys:\n"
                "  - {name: k, key: \"hush again\"}\n");
    assert_int_equal(t->code, ERR_CONFIG);
    assert_non_null(strstr(t->problems.p, "catalyst.yaml:2: "));
    assert_non_null(strstr(t->problems.p, "catalyst.yaml:3: "));
    assert_non_null(strstr(t->problems.p, "catalyst.yaml:5: "));
    assert_int_equal(str_find(buf_str(&t->problems), S("hush")), -1);
    buf_clear(&t->problems);
    assert_int_equal(gateway_config_check(t->config, &t->a, &t->problems, &t->e), ERR_CONFIG);
    assert_non_null(strstr(t->problems.p, "catalyst.yaml:3: "));
    load(t, THREE);
    buf_clear(&t->problems);
    assert_int_equal(gateway_config_check(t->config, &t->a, &t->problems, &t->e), ERR_NONE);
    assert_int_equal(t->problems.len, 0);
}

static void files_that_are_named_must_be_there(void **state)
{
    struct state *t = *state;
    load_any(t, "upstream: {ca_file: none.pem}\n");
    assert_int_equal(t->code, ERR_CONFIG);
    if (!strstr(t->e.msg, "/none.pem")) fail_msg("%s", t->e.msg);
    load_any(t, "prices_file: none.tsv\n");
    assert_int_not_equal(t->code, ERR_NONE);
    assert_non_null(strstr(t->e.msg, "none.tsv"));
}

/* --- kinds --- */

static void every_kind_that_is_named_is_known(void **state)
{
    (void)state;
    str names = provider_kind_names();
    unsigned n = 0;
    while (names.len) {
        str name = str_trim(str_cut(&names, ','));
        const struct provider_kind *k = provider_kind_find(name);
        assert_non_null(k);
        assert_true(k->dialects != 0);
        assert_true(str_eq(k->name, name));
        n++;
    }
    assert_true(n >= 14);
    assert_null(provider_kind_find(S("")));
    assert_null(provider_kind_find(S("OpenAI")));
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_model_goes_to_the_first_provider_whose_globs_name_it),
        T(a_provider_that_speaks_the_dialect_is_preferred_among_those_that_serve_the_model),
        T(a_provider_in_front_of_the_model_chooses_it),
        T(aliases_stand_for_models_with_or_without_a_provider),
        T(an_unknown_model_goes_to_the_only_provider_that_could_have_it),
        T(the_wrong_dialect_names_the_right_endpoint),
        T(an_unknown_model_is_told_what_is_known),
        T(requests_go_where_the_base_url_says_in_the_form_that_the_kind_wants),
        T(limits_of_time_are_the_common_ones_unless_the_provider_has_its_own),
        T(a_providers_key_may_stand_in_a_variable_or_a_file),
        T(prices_of_the_configuration_count_for_its_provider),
        T(the_list_holds_aliases_plain_names_and_what_the_price_list_knows_of_a_pattern),
        T(a_model_of_two_providers_is_listed_once),
        T(keys_are_found_by_their_text_whether_it_or_its_hash_is_configured),
        T(every_problem_is_told_with_its_file_and_line),
        T(all_problems_are_told_at_once_and_no_secret_is),
        T(files_that_are_named_must_be_there),
        T(every_kind_that_is_named_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
