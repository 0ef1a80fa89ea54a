/* bench_upstream.c - a fast model provider for benchmarks: HTTP/1.1 on loopback, one thread, keep-alive.
 *
 * The model name of a request says what the answer is (no other state, so every run is alike):
 *   bench-Nk            a chat.completion of exactly N KiB
 *   bench-stream-I      with "stream":true: as many chat.completion.chunk events of about 200 bytes as
 *                       "max_tokens" says, one write each, I microseconds apart (0: one per loop turn), then the
 *                       usage event if "include_usage" was asked for, and [DONE]
 *   bench-idle          with "stream":true: the head and the first event, then nothing
 * Members that decide ("model", "stream", "max_tokens", "include_usage") are looked for in the first and last
 * 1,024 bytes of the body: the double shall cost as little as possible next to the proxy under test.
 *
 * Events of one stream never share a write, and a stream whose client does not read falls behind instead of
 * sending two at once.
 * Usage: bench_upstream [--port N]      prints {"event":"ready","port":N}; ends on SIGTERM.
 */
#include "gateway/common.h"

#include <fcntl.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

#define ENDS_BYTES 1024 /* how far into both ends of a body the double looks */
#define REQUEST_MAX (4 << 20)
#define READ_BYTES (256 << 10)
#define SIZES_MAX 1024 /* KiB of the largest plain answer */
#define EVENTS_MAX 999999
#define EVENT_VARIANTS 64
#define TURN_EVENTS 256

struct conn {
    int fd;
    bool is_waiting_to_write;
    char *in; /* an incomplete request, NULL when there is none */
    size_t in_len, in_cap;
    const char *out; /* what the socket has not taken yet: points into a template */
    size_t out_len;
    bool is_streaming;
    bool wants_usage;
    long events_left;
    int64_t interval_ns;
    int64_t due_ns;
    int heap_at; /* index + 1 in the timer heap, 0 when not in it */
    unsigned variant;
};

static int poll_fd;
static struct text answers[SIZES_MAX + 1]; /* plain answers with their heads, made when first asked for */
static struct text stream_head, event_first, events[EVENT_VARIANTS], event_last, end_usage, end_plain;

static struct conn **heap; /* streams by due_ns, the earliest first */
static int heap_len, heap_cap;

static void heap_put(int at, struct conn *c)
{
    heap[at] = c;
    c->heap_at = at + 1;
}

static void heap_up(int at, struct conn *c)
{
    while (at > 0 && heap[(at - 1) / 2]->due_ns > c->due_ns) {
        heap_put(at, heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_put(at, c);
}

static void heap_down(int at, struct conn *c)
{
    for (;;) {
        int child = 2 * at + 1;
        if (child >= heap_len) break;
        if (child + 1 < heap_len && heap[child + 1]->due_ns < heap[child]->due_ns) child++;
        if (heap[child]->due_ns >= c->due_ns) break;
        heap_put(at, heap[child]);
        at = child;
    }
    heap_put(at, c);
}

static void heap_add(struct conn *c)
{
    if (heap_len == heap_cap) {
        heap_cap = heap_cap ? heap_cap * 2 : 256;
        heap = checked(realloc(heap, (size_t)heap_cap * sizeof *heap));
    }
    heap_up(heap_len++, c);
}

static void heap_remove(struct conn *c)
{
    if (!c->heap_at) return;
    int at = c->heap_at - 1;
    struct conn *last = heap[--heap_len];
    c->heap_at = 0;
    if (last == c) return;
    if (at > 0 && heap[(at - 1) / 2]->due_ns > last->due_ns)
        heap_up(at, last);
    else
        heap_down(at, last);
}

/* ---- the wire texts ---- */

#define COMMON_FIELDS                                                                                        \
    "date: Mon, 01 Jun 2026 00:00:00 GMT\r\nserver: bench\r\nx-request-id: "                                 \
    "req_8f14e45fceea167a5a36dedd4bea2543\r\n"                                                               \
    "openai-version: 2020-10-01\r\nopenai-processing-ms: 12\r\nx-ratelimit-limit-requests: 10000\r\n"        \
    "x-ratelimit-remaining-requests: 9999\r\n"
#define USAGE                                                                                                \
    "\"usage\":{\"prompt_tokens\":2048,\"completion_tokens\":256,\"total_tokens\":2304,\"prompt_tokens_"     \
    "details\":"                                                                                             \
    "{\"cached_tokens\":1024,\"audio_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":0,"     \
    "\"audio_tokens\":0,\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}}"

static const struct text *plain_answer(long kib)
{
    struct text *t = &answers[kib];
    if (t->len) return t;
    struct text body = {0};
    unsigned seed = 7;
    static const char tail[] =
        "\",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"stop\"}]," USAGE
        ",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_50cad350e4\"}";
    text_printf(
        &body,
        "{\"id\":\"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT\",\"object\":\"chat.completion\",\"created\":"
        "1780272000,"
        "\"model\":\"bench\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"");
    text_prose(&body, (size_t)kib * 1024 - body.len - (sizeof tail - 1), &seed);
    text_add(&body, tail, sizeof tail - 1);
    text_printf(t,
                "HTTP/1.1 200 OK\r\n" COMMON_FIELDS
                "content-type: application/json\r\ncontent-length: %zu\r\n\r\n",
                body.len);
    text_add(t, body.p, body.len);
    free(body.p);
    return t;
}

/* One SSE event as one chunk of the transfer coding, as providers send them. */
static void text_event(struct text *t, const char *data)
{
    text_printf(t, "%zx\r\ndata: %s\n\n\r\n", strlen(data) + 8, data);
}

static void texts_init(void)
{
#define CHUNK_HEAD                                                                                           \
    "{\"id\":\"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG\",\"object\":\"chat.completion.chunk\",\"created\":"   \
    "1780272000,"                                                                                            \
    "\"model\":\"bench\",\"system_fingerprint\":\"fp_50cad350e4\","
    static const char *const tokens[] = {" the",          " return",  "()", "\\n   ", " \\\"",
                                         " na\xc3\xafve", " gateway", ",",  " is",    " counted"};
    text_printf(&stream_head, "HTTP/1.1 200 OK\r\n" COMMON_FIELDS
                              "content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
                              "transfer-encoding: chunked\r\n\r\n");
    text_add(&event_first, stream_head.p, stream_head.len);
    text_event(&event_first,
               CHUNK_HEAD "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
                          "\"logprobs\":null,\"finish_reason\":null}]}");
    for (unsigned i = 0; i < EVENT_VARIANTS; i++) {
        char data[512];
        snprintf(data, sizeof data,
                 CHUNK_HEAD "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%s\"},\"logprobs\":null,"
                            "\"finish_reason\":null}]}",
                 tokens[i % (sizeof tokens / sizeof *tokens)]);
        text_event(&events[i], data);
    }
    text_event(&event_last, CHUNK_HEAD
               "\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}");
    text_event(&end_plain, "[DONE]");
    text_add(&end_plain, "0\r\n\r\n", 5);
    text_event(&end_usage, CHUNK_HEAD "\"choices\":[]," USAGE "}");
    text_add(&end_usage, end_plain.p, end_plain.len);
}

/* ---- connections ---- */

static void conn_free(struct conn *c)
{
    heap_remove(c);
    close(c->fd);
    free(c->in);
    free(c);
}

static void conn_watch(struct conn *c, bool wants_write)
{
    if (c->is_waiting_to_write == wants_write) return;
    c->is_waiting_to_write = wants_write;
    struct epoll_event e = {.events = EPOLLIN | (wants_write ? EPOLLOUT : 0u), .data.ptr = c};
    if (epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &e) != 0) die("epoll_ctl: %s", strerror(errno));
}

/* Sends what c->out holds. False when the connection is dead (the caller frees it). */
static bool conn_flush(struct conn *c)
{
    while (c->out_len) {
        ssize_t n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN) return false;
            conn_watch(c, true);
            return true;
        }
        c->out += n;
        c->out_len -= (size_t)n;
    }
    conn_watch(c, false);
    return true;
}

static bool conn_send(struct conn *c, const struct text *t)
{
    c->out = t->p;
    c->out_len = t->len;
    return conn_flush(c);
}

/* The next write of a stream whose time has come. */
static bool stream_step(struct conn *c, int64_t now)
{
    const struct text *t;
    if (c->events_left > 1)
        t = &events[c->variant++ % EVENT_VARIANTS];
    else if (c->events_left == 1)
        t = &event_last;
    else
        t = c->wants_usage ? &end_usage : &end_plain;
    if (c->events_left-- == 0) c->is_streaming = false;
    if (!conn_send(c, t)) return false;
    if (c->is_streaming && !c->out_len) {
        c->due_ns += c->interval_ns;
        /* After a stall the stream is slower instead of catching up: a burst would arrive as one read. */
        if (c->due_ns < now + c->interval_ns / 2) c->due_ns = now + c->interval_ns;
        heap_add(c);
    }
    return true;
}

static bool has_word(const char *body, size_t len, const char *word)
{
    size_t n = strlen(word);
    if (memmem(body, len < ENDS_BYTES ? len : ENDS_BYTES, word, n)) return true;
    return len > ENDS_BYTES && memmem(body + len - ENDS_BYTES, ENDS_BYTES, word, n);
}

/* The text after `"name":` with spaces skipped, or NULL. A quoted name cannot stand inside a JSON string. */
static const char *member(const char *body, size_t len, const char *name)
{
    size_t n = strlen(name), look = len < ENDS_BYTES ? len : ENDS_BYTES;
    const char *ends[2] = {body, body + len - look};
    for (int i = 0; i < 2; i++) {
        const char *p = memmem(ends[i], look, name, n);
        if (!p) continue;
        for (p += n; p < ends[i] + look && (*p == ' ' || *p == ':'); p++)
            ;
        return p;
    }
    return NULL;
}

static bool conn_answer(struct conn *c, const char *body, size_t len)
{
    static const struct text bad = {.p = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", .len = 47};
    char spec[48] = "";
    const char *model = member(body, len, "\"model\"");
    const char *stream = member(body, len, "\"stream\"");
    size_t left = model ? (size_t)(body + len - model) : 0;
    for (size_t i = 1; i < left && i < sizeof spec && model[i] != '"'; i++)
        spec[i - 1] = model[i];
    long n, interval_us;
    if (stream && (size_t)(body + len - stream) > 4 && memcmp(stream, "true", 4) == 0) {
        c->is_streaming = true;
        c->due_ns = 0;
        if (strcmp(spec, "bench-idle") == 0) return conn_send(c, &event_first);
        const char *max_tokens = member(body, len, "\"max_tokens\"");
        n = max_tokens ? strtol(max_tokens, NULL, 10) : 0;
        if (n < 1 || n > EVENTS_MAX) n = 100;
        if (sscanf(spec, "bench-stream-%ld", &interval_us) != 1 || interval_us < 0) interval_us = 10000;
        c->wants_usage = has_word(body, len, "\"include_usage\"");
        c->events_left = n - 1; /* the first goes out now */
        c->interval_ns = interval_us * NS_PER_US;
        c->due_ns = now_ns() + c->interval_ns;
        if (!conn_send(c, &event_first)) return false;
        if (!c->out_len) heap_add(c);
        return true;
    }
    if (sscanf(spec, "bench-%ldk", &n) != 1 || n < 1 || n > SIZES_MAX) return conn_send(c, &bad);
    return conn_send(c, plain_answer(n));
}

/* Handles a complete request at the front of p. Returns its length, 0 when more bytes are needed, -1 when the
 * connection is to end. */
static ssize_t conn_request(struct conn *c, const char *p, size_t len)
{
    const char *end = memmem(p, len, "\r\n\r\n", 4);
    if (!end) return len > 65536 ? -1 : 0;
    size_t head = (size_t)(end - p) + 4;
    unsigned long body = 0;
    for (const char *line = p; line && line < end; line = memchr(line, '\n', (size_t)(end - line))) {
        if (*line == '\n') line++;
        if (strncasecmp(line, "content-length:", 15) == 0)
            body = strtoul(line + 15, NULL, 10);
        else if (strncasecmp(line, "transfer-encoding:", 18) == 0)
            return -1; /* no proxy under test sends a chunked request for a body of known length */
    }
    if (body > REQUEST_MAX) return -1;
    if (len < head + body) return 0;
    if (!conn_answer(c, p + head, body)) return -1;
    return (ssize_t)(head + body);
}

/* Reads once. False when the connection is dead. */
static bool conn_readable(struct conn *c)
{
    static char scratch[READ_BYTES];
    char *to = scratch;
    size_t room = sizeof scratch;
    if (c->in) {
        if (c->in_cap - c->in_len < READ_BYTES / 4) {
            c->in_cap += READ_BYTES;
            c->in = checked(realloc(c->in, c->in_cap));
        }
        to = c->in + c->in_len;
        room = c->in_cap - c->in_len;
    }
    ssize_t n = recv(c->fd, to, room, MSG_DONTWAIT);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0) return false;
    const char *p = c->in ? c->in : scratch;
    size_t len = c->in ? c->in_len + (size_t)n : (size_t)n;
    ssize_t used = conn_request(c, p, len);
    if (used < 0) return false;
    if (used > 0 && (size_t)used != len) return false; /* a proxy does not pipeline to its upstream */
    if (used > 0) {
        free(c->in);
        c->in = NULL;
        c->in_len = c->in_cap = 0;
    } else {
        if (!c->in) {
            c->in_cap = READ_BYTES;
            c->in = checked(malloc(c->in_cap));
            memcpy(c->in, scratch, len);
        }
        c->in_len = len;
    }
    return true;
}

static bool conn_writable(struct conn *c)
{
    if (!conn_flush(c)) return false;
    /* A stream that had to wait goes on one interval after its socket took the late event. */
    if (!c->out_len && c->is_streaming && !c->heap_at && c->due_ns) {
        c->due_ns = now_ns() + c->interval_ns;
        heap_add(c);
    }
    return true;
}

static int listen_on(long port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in a = loopback(port);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 4096) != 0)
        die("cannot listen on 127.0.0.1:%ld: %s", port, strerror(errno));
    socklen_t len = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &len) != 0) die("getsockname: %s", strerror(errno));
    printf("{\"event\":\"ready\",\"port\":%u}\n", ntohs(a.sin_port));
    fflush(stdout);
    return fd;
}

static void accept_all(int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        set_nodelay(fd);
        struct conn *c = checked(calloc(1, sizeof *c));
        c->fd = fd;
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &e) != 0) die("epoll_ctl: %s", strerror(errno));
    }
    if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) die("accept: %s", strerror(errno));
}

int main(int argc, char **argv)
{
    long port = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--port") == 0 && i + 1 < argc)
            port = parse_number("--port", argv[++i], 65535);
        else
            die("usage: bench_upstream [--port N]");
    }
    raise_open_files();
    texts_init();
    /* The default slack of 50 us would gather the events of several streams into bursts. */
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_on(port);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    if (poll_fd < 0 || epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &e) != 0)
        die("epoll: %s", strerror(errno));
    for (;;) {
        struct epoll_event got[TURN_EVENTS];
        struct timespec wait, *timeout = NULL;
        if (heap_len) {
            int64_t left = heap[0]->due_ns - now_ns();
            if (left < 0) left = 0;
            wait.tv_sec = left / NS_PER_S;
            wait.tv_nsec = left % NS_PER_S;
            timeout = &wait;
        }
        int n = epoll_pwait2(poll_fd, got, TURN_EVENTS, timeout, NULL);
        if (n < 0 && errno != EINTR) die("epoll_pwait2: %s", strerror(errno));
        for (int i = 0; i < n; i++) {
            struct conn *c = got[i].data.ptr;
            if (!c) {
                accept_all(listener);
                continue;
            }
            bool is_alive = true;
            if (got[i].events & EPOLLOUT) is_alive = conn_writable(c);
            if (is_alive && (got[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) is_alive = conn_readable(c);
            if (!is_alive) conn_free(c);
        }
        /* What becomes due during this pass waits for the next: with an interval of 0, one event per turn. */
        int64_t now = heap_len ? now_ns() : 0;
        int due = heap_len;
        while (due-- > 0 && heap_len && heap[0]->due_ns <= now) {
            struct conn *c = heap[0];
            heap_remove(c);
            if (!stream_step(c, now)) conn_free(c);
        }
    }
}
