/* observe.c - what observing costs: nanoseconds of CPU per streamed event of each dialect, and GB/s of
 * call_request_scan on the files given as arguments.
 *
 *     build/release/bench/observe [FILE...]
 *
 * Each number is the best of several rounds, so that other work on the machine does not count.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "gateway/call/observe.h"
#include "gateway/call/request.h"

#define ROUNDS 15
#define ROUND_EVENTS 200000
#define ROUND_BYTES (32u << 20)

/* Events as the providers send them for each piece of text, and the rarer tool arguments. */
static const struct sample {
    const char *name;
    enum dialect dialect;
    str type, data;
} samples[] = {
    {"chat, text", DIALECT_CHAT, STR_LIT(""),
     STR_LIT("{\"id\":\"chatcmpl-CfQ1mZ9sR5vT2xW8yB3nK7pL\",\"object\":\"chat.completion.chunk\",\"created\":"
             "1763942400,"
             "\"model\":\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_"
             "560af6e559\","
             "\"choices\":[{\"index\":0,\"delta\":{\"content\":\" "
             "gateway\"},\"logprobs\":null,\"finish_reason\":null}],"
             "\"usage\":null,\"obfuscation\":\"x7QpLm\"}")},
    {"chat, short text (vLLM)", DIALECT_CHAT, STR_LIT(""),
     STR_LIT("{\"id\":\"chatcmpl-58f1e\",\"object\":\"chat.completion.chunk\",\"created\":1763942400,"
             "\"model\":\"qwen3-8b\","
             "\"choices\":[{\"index\":0,\"delta\":{\"content\":\" "
             "gateway\"},\"logprobs\":null,\"finish_reason\":null}]}")},
    {"chat, tool arguments", DIALECT_CHAT, STR_LIT(""),
     STR_LIT("{\"id\":\"chatcmpl-CfQ1m\",\"object\":\"chat.completion.chunk\",\"created\":1763942400,"
             "\"model\":\"gpt-4o\","
             "\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":"
             "\"{\\\"city\"}}]},"
             "\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}")},
    {"responses, text", DIALECT_RESPONSES, STR_LIT("response.output_text.delta"),
     STR_LIT("{\"type\":\"response.output_text.delta\",\"sequence_number\":11,\"item_id\":\"msg_"
             "68a1f0c3a9b481908d2e\","
             "\"output_index\":0,\"content_index\":0,\"delta\":\" "
             "gateway\",\"logprobs\":[],\"obfuscation\":\"x7QpLm\"}")},
    {"messages, text", DIALECT_MESSAGES, STR_LIT("content_block_delta"),
     STR_LIT("{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" "
             "gateway, that is,"
             " a program which stands between\"}}")},
    {"messages, tool arguments", DIALECT_MESSAGES, STR_LIT("content_block_delta"),
     STR_LIT("{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\","
             "\"partial_json\":"
             "\"{\\\"command\\\": \\\"ls\"}}")},
    {"messages, ping", DIALECT_MESSAGES, STR_LIT("ping"), STR_LIT("{\"type\":\"ping\"}")},
};

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void bench_events(const struct sample *x)
{
    struct sse_event event = {.type = x->type, .data = x->data, .has_data = true, .raw = x->data};
    struct observer o;
    double best = 1e9;
    observer_init(&o, x->dialect, true);
    for (unsigned round = 0; round < ROUNDS; round++) {
        double start = cpu_seconds();
        for (unsigned i = 0; i < ROUND_EVENTS; i++)
            (void)observe_event(&o, &event);
        double took = cpu_seconds() - start;
        if (took < best) best = took;
    }
    printf("%-26s %4zu bytes %7.0f ns   (%llu bytes of text)\n", x->name, x->data.len,
           best / ROUND_EVENTS * 1e9, (unsigned long long)o.text_bytes);
}

static bool bench_request(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) return false;
    static char text[8u << 20];
    str body = str_of(text, fread(text, 1, sizeof(text), f));
    fclose(f);
    struct arena a;
    struct call_request r;
    err e = {0};
    double best = 1e9;
    unsigned n = (unsigned)(ROUND_BYTES / (body.len + 1)) + 1;
    arena_init(&a, ARENA_REQUEST_LIMIT, 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        double start = cpu_seconds();
        for (unsigned i = 0; i < n; i++) {
            struct arena_mark mark = arena_mark(&a);
            if (call_request_scan(&a, DIALECT_CHAT, body, &r, &e)) {
                fprintf(stderr, "%s: %s\n", path, e.msg);
                arena_fini(&a);
                return false;
            }
            arena_reset(&a, mark);
        }
        double took = cpu_seconds() - start;
        if (took < best) best = took;
    }
    printf("%-26s %7zu bytes %9.2f us %6.2f GB/s   (%llu bytes of text)\n", "call_request_scan", body.len,
           best / n * 1e6, (double)body.len * n / best * 1e-9, (unsigned long long)r.text_bytes);
    arena_fini(&a);
    return true;
}

int main(int argc, char **argv)
{
    for (size_t i = 0; i < LENGTH_OF(samples); i++)
        bench_events(&samples[i]);
    for (int i = 1; i < argc; i++) {
        if (!bench_request(argv[i])) {
            fprintf(stderr, "%s: not readable as a chat request\n", argv[i]);
            return EXIT_FAILURE;
        }
    }
    return EXIT_SUCCESS;
}
