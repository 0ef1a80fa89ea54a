/* http1.c - what reading a message head, a chunked body and an event stream costs, in nanoseconds.
 *
 *     bench/http1 [ROUNDS]
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "net/http1.h"
#include "net/sse.h"

/* What a browser-based client behind one proxy sends: 20 fields, 720 bytes. */
static const char request[] = "POST /v1/chat/completions HTTP/1.1\r\n"
                              "Host: gateway.example.com\r\n"
                              "User-Agent: OpenAI/Python 1.99.1\r\n"
                              "Accept: application/json\r\n"
                              "Accept-Encoding: gzip, deflate, zstd\r\n"
                              "Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n"
                              "Connection: keep-alive\r\n"
                              "Content-Length: 2048\r\n"
                              "Content-Type: application/json\r\n"
                              "Authorization: Bearer cvk_0a1b2c3d_0123456789abcdef0123456789abcdef_a1b2c3\r\n"
                              "X-Stainless-Arch: x64\r\n"
                              "X-Stainless-Async: false\r\n"
                              "X-Stainless-Lang: python\r\n"
                              "X-Stainless-OS: Linux\r\n"
                              "X-Stainless-Package-Version: 1.99.1\r\n"
                              "X-Stainless-Runtime: CPython\r\n"
                              "X-Stainless-Runtime-Version: 3.12.3\r\n"
                              "X-Stainless-Retry-Count: 0\r\n"
                              "X-Stainless-Read-Timeout: 600\r\n"
                              "X-Forwarded-For: 203.0.113.7\r\n"
                              "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
                              "\r\n";

/* What a provider answers. */
static const char response[] = "HTTP/1.1 200 OK\r\n"
                               "Date: Tue, 24 Nov 2026 06:50:00 GMT\r\n"
                               "Content-Type: text/event-stream; charset=utf-8\r\n"
                               "Transfer-Encoding: chunked\r\n"
                               "Connection: keep-alive\r\n"
                               "openai-organization: example\r\n"
                               "openai-processing-ms: 312\r\n"
                               "openai-version: 2020-10-01\r\n"
                               "x-ratelimit-limit-requests: 10000\r\n"
                               "x-ratelimit-remaining-requests: 9999\r\n"
                               "x-request-id: req_0123456789abcdef0123456789abcdef\r\n"
                               "strict-transport-security: max-age=31536000; includeSubDomains; preload\r\n"
                               "\r\n";

static const char event[] =
    "data: {\"id\":\"chatcmpl-0123456789\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,"
    "\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" hello\"},"
    "\"finish_reason\":null}]}\n\n";

static const struct http_limits limits = {.head_bytes = 16384, .headers = 100};

static void read_head(str text, bool is_request)
{
    struct http_head_scan scan;
    struct http_head head;
    size_t len;
    err e;
    http_head_scan_init(&scan);
    if (http_head_find(&scan, text, &limits, &len, &e) != HTTP_DONE) abort();
    enum errc rc = is_request ? http_parse_request(str_take(text, len), &limits, &head, &e)
                              : http_parse_response(str_take(text, len), &limits, false, &head, &e);
    if (rc != ERR_NONE) abort();
    __asm__ volatile("" : : "r"(&head) : "memory"); /* the compiler may not drop the work */
}

static bool on_event(void *ctx, const struct sse_event *e)
{
    *(size_t *)ctx += e->data.len;
    return true;
}

static void show(const char *what, usec took, size_t n, size_t bytes)
{
    printf("%-28s %8.1f ns   %8.1f MB/s\n", what, (double)took * 1000 / (double)n,
           (double)bytes * (double)n / (double)(took > 0 ? took : 1));
}

int main(int argc, char **argv)
{
    uint64_t rounds = 1000000;
    if (argc > 1 && !str_to_u64(str_c(argv[1]), &rounds)) {
        fprintf(stderr, "usage: %s [ROUNDS]\n", argv[0]);
        return EXIT_USAGE;
    }
    usec start = clock_mono_us();
    for (uint64_t i = 0; i < rounds; i++)
        read_head(str_c(request), true);
    show("request head, 20 fields", clock_mono_us() - start, rounds, sizeof request - 1);

    start = clock_mono_us();
    for (uint64_t i = 0; i < rounds; i++)
        read_head(str_c(response), false);
    show("response head, 11 fields", clock_mono_us() - start, rounds, sizeof response - 1);

    char chunk[512];
    size_t chunk_len = http_chunk_head(sizeof event - 1, chunk);
    memcpy(chunk + chunk_len, event, sizeof event - 1);
    memcpy(chunk + chunk_len + sizeof event - 1, "\r\n", 2);
    chunk_len += sizeof event + 1;
    struct http_chunked chunked;
    http_chunked_init(&chunked);
    start = clock_mono_us();
    for (uint64_t i = 0; i < rounds; i++) {
        str in = str_of(chunk, chunk_len), data;
        while (in.len > 0) {
            if (http_chunked_next(&chunked, &in, &data, NULL) != HTTP_MORE) abort();
            __asm__ volatile("" : : "r"(data.p) : "memory");
        }
    }
    show("chunk of one event", clock_mono_us() - start, rounds, chunk_len);

    struct sse sse;
    size_t total = 0;
    sse_init(&sse, 1 << 20);
    start = clock_mono_us();
    for (uint64_t i = 0; i < rounds; i++) {
        if (sse_feed(&sse, str_of(event, sizeof event - 1), on_event, &total, NULL) != ERR_NONE) abort();
    }
    show("event", clock_mono_us() - start, rounds, sizeof event - 1);
    sse_fini(&sse);
    return total > 0 ? EXIT_OK : EXIT_FAILED;
}
