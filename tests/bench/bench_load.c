/* bench_load.c - closed-loop HTTP/1.1 load for the gateway benchmark: one thread, every answer checked.
 *
 * Each of C connections sends a chat request, reads the whole answer, and sends the next. An answer counts when
 * its status is 200, its length is the expected one and it ended as it should; a stream when all its events and
 * [DONE] came, no more and no fewer. Anything else is an error, and errors make the exit status 1.
 *
 * CPU of the measured server is read here, at the same moment as the counters: /proc/PID/task/.../schedstat
 * (nanoseconds, all threads), and its split into user and system from /proc/PID/stat (ticks).
 *
 * Usage: bench_load --port N [options]       prints one JSON object
 *   --connections C (1)          --body KIB  request body (1)       --answer KIB  expected answer (1)
 *   --stream N --interval US     streams of N events instead of plain answers
 *   --idle                       C streams that stay open after their first event; prints {"event":"idle"}
 *                                once all stand, and waits for the end of standard input
 *   --seconds S (1.0)            --warmup S (0.2)                   --requests N (no limit)
 *   --key SECRET                 --pids P,P  servers whose CPU counts
 */
#include "gateway/common.h"

#include <dirent.h>
#include <strings.h>
#include <sys/epoll.h>

#define READ_BYTES (256 << 10)
#define HEAD_MAX 8192
#define PIDS_MAX 64
#define TURN_EVENTS 256
#define STARVED_NS (10 * NS_PER_S)
#define CONNECTING_MAX 64 /* connections opened but not answered yet, so that no listen queue overflows */
#define DONE_TEXT "data: [DONE]\n\n"
#define TAIL_BYTES (sizeof DONE_TEXT - 1)

/* Times in a logarithmic histogram with 64 steps per power of two: an error below 1.6 %. */
#define STEPS 64
#define BUCKETS (STEPS * 44)
struct histogram {
    uint64_t counts[BUCKETS];
    uint64_t n;
};

enum reading { READ_HEAD, READ_LENGTH, READ_CHUNK_SIZE, READ_CHUNK, READ_CHUNK_END, READ_TRAILER };

struct conn {
    int fd; /* -1: not open */
    bool is_waiting_to_write, is_busy, has_first_event;
    size_t sent;
    long events_wanted; /* of the stream in progress */
    int64_t start_ns;
    enum reading reading;
    size_t left;     /* of the body or chunk */
    size_t body_len; /* decoded bytes so far */
    size_t line_len; /* of a chunk size or trailer line in progress */
    long events;
    char last; /* the decoded byte before */
    char tail[TAIL_BYTES];
    size_t tail_len;
    char *head; /* an incomplete head */
    size_t head_len;
};

static struct {
    long port, connections, body_kib, answer_kib, stream_events, interval_us, requests;
    int64_t seconds_ns, warmup_ns;
    bool is_idle;
    const char *key;
    int pids[PIDS_MAX];
    int n_pids;
} opt = {.connections = 1,
         .body_kib = 1,
         .answer_kib = 1,
         .seconds_ns = NS_PER_S,
         .warmup_ns = NS_PER_S / 5,
         .key = "none"};

static int poll_fd;
static struct conn *conns;
static struct text request;
static size_t digits_at; /* of max_tokens, which asks for that many events */
static long n_requests, n_events, n_reads, n_errors, n_reconnects, n_standing;
static uint64_t n_bytes;
static struct histogram latency, first_byte;
static bool is_counting;
static char first_error[256];

static void histogram_add(struct histogram *h, int64_t ns)
{
    uint64_t v = ns > 0 ? (uint64_t)ns : 1;
    unsigned log = 63u - (unsigned)__builtin_clzll(v), i;
    if (log < 6)
        i = (unsigned)v;
    else
        i = (log - 5) * STEPS + (unsigned)((v >> (log - 6)) - STEPS);
    h->counts[i < BUCKETS ? i : BUCKETS - 1]++;
    h->n++;
}

/* The middle of the bucket that holds the given share, in microseconds. */
static double histogram_us(const struct histogram *h, double share)
{
    uint64_t want = (uint64_t)((double)h->n * share), seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += h->counts[i];
        if (seen > want) {
            if (i < STEPS) return (double)i / 1000;
            unsigned shift = i / STEPS - 1;
            return ((double)(STEPS + i % STEPS) + 0.5) * (double)(1ULL << shift) / 1000;
        }
    }
    return 0;
}

/* ---- the server's CPU ---- */

struct cpu {
    double total_ns, user_ticks, system_ticks;
};

static struct cpu cpu_read(void)
{
    struct cpu cpu = {0};
    for (int i = 0; i < opt.n_pids; i++) {
        char path[320], line[1024];
        snprintf(path, sizeof path, "/proc/%d/task", opt.pids[i]);
        DIR *d = opendir(path);
        if (!d) die("process %d is gone", opt.pids[i]);
        for (struct dirent *t; (t = readdir(d));) {
            if (t->d_name[0] == '.') continue;
            snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", opt.pids[i], t->d_name);
            FILE *f = fopen(path, "r");
            unsigned long long ns;
            if (f && fscanf(f, "%llu", &ns) == 1) cpu.total_ns += (double)ns;
            if (f) fclose(f);
        }
        closedir(d);
        snprintf(path, sizeof path, "/proc/%d/stat", opt.pids[i]);
        FILE *f = fopen(path, "r");
        if (!f || !fgets(line, sizeof line, f)) die("cannot read %s", path);
        fclose(f);
        unsigned long user, system;
        const char *after_name = strrchr(line, ')');
        if (!after_name || sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                                  &user, &system) != 2)
            die("cannot understand %s", path);
        cpu.user_ticks += (double)user;
        cpu.system_ticks += (double)system;
    }
    return cpu;
}

/* ---- the request ---- */

static void request_init(void)
{
    struct text body = {0};
    unsigned seed = 11;
    if (opt.is_idle)
        text_printf(&body, "{\"model\":\"bench-idle\",\"stream\":true,");
    else if (opt.stream_events)
        text_printf(&body, "{\"model\":\"bench-stream-%ld\",\"stream\":true,", opt.interval_us);
    else
        text_printf(&body, "{\"model\":\"bench-%ldk\",\"stream\":false,", opt.answer_kib);
    text_printf(&body, "\"max_tokens\":");
    digits_at = body.len;
    text_printf(&body, "%6d,\"temperature\":0.2,\"messages\":[{\"role\":\"system\",\"content\":\"", 1024);
    text_prose(&body, 160, &seed);
    static const char tools[] = "\"}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"read_file\","
                                "\"description\":\"Returns the text of a file.\","
                                "\"parameters\":{\"type\":\"object\",\"properties\":{\"path\":{\"type\":"
                                "\"string\"},\"offset\":{\"type\":\"integer\"}},"
                                "\"required\":[\"path\"],\"additionalProperties\":false},\"strict\":true}}],"
                                "\"tool_choice\":\"auto\"}";
    size_t size = (size_t)opt.body_kib * 1024, end = sizeof tools - 1, part = size > 4096 ? 1500 : 200;
    /* Messages of an agent's usual length, and a last one that makes the body exactly as long as asked. */
    for (unsigned i = 0; size - body.len > 2 * part + end; i++) {
        text_printf(&body, "\"},{\"role\":\"%s\",\"content\":\"", i % 2 ? "assistant" : "user");
        text_prose(&body, part, &seed);
    }
    text_prose(&body, size - end - body.len, &seed);
    text_add(&body, tools, end);
    text_printf(
        &request,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%ld\r\nAccept: application/json\r\n"
        "Content-Type: application/json\r\nUser-Agent: OpenAI/JS 5.8.2\r\nX-Stainless-Lang: js\r\n"
        "X-Stainless-Package-Version: 5.8.2\r\nX-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\n"
        "X-Stainless-Runtime: node\r\nX-Stainless-Runtime-Version: v22.16.0\r\nX-Stainless-Retry-Count: 0\r\n"
        "Accept-Language: *\r\nSec-Fetch-Mode: cors\r\nAccept-Encoding: gzip, deflate\r\n"
        "Authorization: Bearer %s\r\nContent-Length: %zu\r\nConnection: keep-alive\r\n\r\n",
        opt.port, opt.key, body.len);
    digits_at += request.len;
    text_add(&request, body.p, body.len);
    free(body.p);
}

/* ---- connections ---- */

static void conn_watch(struct conn *c, bool wants_write)
{
    if (c->is_waiting_to_write == wants_write) return;
    c->is_waiting_to_write = wants_write;
    struct epoll_event e = {.events = EPOLLIN | (wants_write ? EPOLLOUT : 0u), .data.ptr = c};
    if (epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &e) != 0) die("epoll_ctl: %s", strerror(errno));
}

static void conn_open(struct conn *c)
{
    struct sockaddr_in a = loopback(opt.port);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof a) != 0)
        die("cannot connect to 127.0.0.1:%ld: %s", opt.port, strerror(errno));
    set_nodelay(c->fd);
    c->is_waiting_to_write = false;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &e) != 0) die("epoll_ctl: %s", strerror(errno));
}

static void conn_close(struct conn *c)
{
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    free(c->head);
    c->head = NULL;
    c->head_len = 0;
}

static void conn_write(struct conn *c)
{
    while (c->sent < request.len) {
        if (c->sent == 0 && opt.stream_events) {
            char digits[8];
            snprintf(digits, sizeof digits, "%6ld", c->events_wanted);
            memcpy(request.p + digits_at, digits, 6);
        }
        ssize_t n = send(c->fd, request.p + c->sent, request.len - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            if (errno == EINTR) continue;
            if (errno == EAGAIN) conn_watch(c, true);
            return; /* any other failure shows when reading */
        }
        c->sent += (size_t)n;
    }
    conn_watch(c, false);
}

static void conn_start(struct conn *c)
{
    if (c->fd < 0) conn_open(c);
    c->sent = 0;
    c->is_busy = true;
    c->has_first_event = false;
    c->reading = READ_HEAD;
    c->left = c->body_len = c->line_len = c->tail_len = 0;
    c->events = 0;
    c->last = 0;
    c->start_ns = now_ns();
    conn_write(c);
}

static void conn_fail(struct conn *c, const char *why)
{
    n_errors++;
    if (!first_error[0]) snprintf(first_error, sizeof first_error, "%s", why);
    if (opt.is_idle && c->has_first_event) n_standing--;
    conn_close(c);
    if (n_errors > 1000) die("more than 1,000 errors; the first: %s", first_error);
    if (!opt.is_idle)
        conn_start(c);
    else
        c->is_busy = false;
}

static void conn_done(struct conn *c)
{
    int64_t took = now_ns() - c->start_ns;
    if (opt.stream_events) {
        if (c->events != c->events_wanted + 1 || c->tail_len != TAIL_BYTES ||
            memcmp(c->tail, DONE_TEXT, TAIL_BYTES) != 0) {
            conn_fail(c, "a stream ended without [DONE] or with too many or too few events");
            return;
        }
    } else if (c->body_len != (size_t)opt.answer_kib * 1024 || c->last != '}') {
        conn_fail(c, "an answer has not the expected length or end");
        return;
    }
    if (is_counting) {
        n_requests++;
        histogram_add(&latency, took);
    }
    c->is_busy = false;
    c->events_wanted = opt.stream_events;
    conn_start(c);
}

/* Decoded bytes of the body. */
static void conn_body(struct conn *c, const char *p, size_t len)
{
    if (!len) return;
    c->body_len += len;
    if (opt.stream_events || opt.is_idle) {
        long events = 0;
        for (const char *q = p; (q = memchr(q, '\n', (size_t)(p + len - q))); q++)
            events += (q > p ? q[-1] : c->last) == '\n';
        c->events += events;
        if (is_counting) n_events += events;
        if (events && !c->has_first_event) {
            c->has_first_event = true;
            n_standing++;
            if (is_counting) histogram_add(&first_byte, now_ns() - c->start_ns);
        }
        if (len >= TAIL_BYTES) {
            memcpy(c->tail, p + len - TAIL_BYTES, TAIL_BYTES);
            c->tail_len = TAIL_BYTES;
        } else {
            size_t keep = c->tail_len + len > TAIL_BYTES ? TAIL_BYTES - len : c->tail_len;
            memmove(c->tail, c->tail + c->tail_len - keep, keep);
            memcpy(c->tail + keep, p, len);
            c->tail_len = keep + len;
        }
    }
    c->last = p[len - 1];
}

/* A complete head of head_len bytes. NULL, or what is wrong with it. */
static const char *conn_head(struct conn *c, const char *p, size_t head_len)
{
    static char why[128];
    if (head_len < 12 || memcmp(p, "HTTP/1.1 200", 12) != 0) {
        const char *cr = memchr(p, '\r', head_len);
        size_t n = cr ? (size_t)(cr - p) : 0;
        snprintf(why, sizeof why, "the answer is '%.*s'", (int)(n < 60 ? n : 60), p);
        return why;
    }
    bool has_length = false, is_chunked = false;
    for (const char *line = p, *end = p + head_len; line; line = memchr(line, '\n', (size_t)(end - line))) {
        if (*line == '\n') line++;
        if (end - line > 15 && strncasecmp(line, "content-length:", 15) == 0) {
            has_length = true;
            c->left = strtoul(line + 15, NULL, 10);
        } else if (end - line > 18 && strncasecmp(line, "transfer-encoding:", 18) == 0) {
            is_chunked = true;
        }
    }
    if (has_length == is_chunked) return "an answer without a length, or with two";
    c->reading = is_chunked ? READ_CHUNK_SIZE : READ_LENGTH;
    return NULL;
}

static int hex_value(char ch)
{
    if (ch >= '0' && ch <= '9') return ch - '0';
    ch |= 0x20;
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* Takes bytes of an answer after its head. NULL, or what is wrong; *is_done when it ended with the last one. */
static const char *conn_decode(struct conn *c, const char *p, size_t len, bool *is_done)
{
    *is_done = false;
    if (c->reading == READ_LENGTH && !c->left && !len) {
        *is_done = true;
        return NULL;
    }
    while (len) {
        size_t n = len < c->left ? len : c->left;
        switch (c->reading) {
        case READ_HEAD: return "not reached";
        case READ_LENGTH:
            conn_body(c, p, n);
            c->left -= n;
            if (!c->left && n != len) return "bytes after the answer";
            *is_done = !c->left;
            break;
        case READ_CHUNK:
            conn_body(c, p, n);
            c->left -= n;
            if (!c->left) c->reading = READ_CHUNK_END;
            break;
        case READ_CHUNK_END:
            n = 1;
            if (*p == '\n')
                c->reading = READ_CHUNK_SIZE;
            else if (*p != '\r')
                return "a chunk is longer than its size";
            break;
        case READ_CHUNK_SIZE:
            n = 1;
            if (*p == '\n') {
                if (!c->line_len) return "an empty chunk size";
                c->line_len = 0;
                c->reading = c->left ? READ_CHUNK : READ_TRAILER;
            } else if (*p != '\r') {
                if (hex_value(*p) < 0) return "a chunk size is not a number";
                c->left = c->left * 16 + (size_t)hex_value(*p);
                c->line_len++;
            }
            break;
        case READ_TRAILER:
            n = 1;
            if (*p == '\n') {
                if (!c->line_len) {
                    if (len != 1) return "bytes after the last chunk";
                    *is_done = true;
                }
                c->line_len = 0;
            } else if (*p != '\r') {
                c->line_len++;
            }
            break;
        }
        p += n;
        len -= n;
    }
    return NULL;
}

static void conn_readable(struct conn *c)
{
    static char scratch[READ_BYTES];
    ssize_t got = recv(c->fd, scratch, sizeof scratch, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        bool was_fresh = c->reading == READ_HEAD && !c->head_len && n_requests > 0 && !opt.is_idle;
        if (was_fresh) { /* the server ended a kept connection while our request was on its way */
            n_reconnects++;
            conn_close(c);
            conn_start(c);
        } else {
            conn_fail(c, got ? strerror(errno) : "the connection ended within an answer");
        }
        return;
    }
    if (is_counting) {
        n_reads++;
        n_bytes += (uint64_t)got;
    }
    const char *p = scratch, *wrong = NULL;
    size_t len = (size_t)got;
    bool is_done;
    if (c->reading == READ_HEAD) {
        if (c->head_len) { /* the rare head in pieces */
            if (c->head_len + len > HEAD_MAX + sizeof scratch) die("a head without end");
            c->head = checked(realloc(c->head, c->head_len + len));
            memcpy(c->head + c->head_len, p, len);
            len += c->head_len;
            p = c->head;
        }
        const char *end = memmem(p, len, "\r\n\r\n", 4);
        if (!end) {
            if (!c->head_len) {
                c->head = checked(malloc(len));
                memcpy(c->head, p, len);
            }
            c->head_len = len;
            return;
        }
        size_t head_len = (size_t)(end - p) + 4;
        wrong = conn_head(c, p, head_len);
        p += head_len;
        len -= head_len;
    }
    if (!wrong) wrong = conn_decode(c, p, len, &is_done);
    if (c->head) {
        free(c->head);
        c->head = NULL;
        c->head_len = 0;
    }
    if (wrong)
        conn_fail(c, wrong);
    else if (is_done && opt.is_idle)
        conn_fail(c, "an idle stream ended");
    else if (is_done)
        conn_done(c);
}

/* One turn of the loop; watches standard input when asked to. False at its end. */
static bool turn(int timeout_ms)
{
    struct epoll_event got[TURN_EVENTS];
    bool goes_on = true;
    int n = epoll_wait(poll_fd, got, TURN_EVENTS, timeout_ms);
    if (n < 0 && errno != EINTR) die("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < n; i++) {
        struct conn *c = got[i].data.ptr;
        if (!c) {
            char line[64];
            goes_on = read(STDIN_FILENO, line, sizeof line) > 0;
            continue;
        }
        if (c->fd >= 0 && (got[i].events & EPOLLOUT)) conn_write(c);
        if (c->fd >= 0 && (got[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) conn_readable(c);
    }
    return goes_on;
}

static int run_idle(void)
{
    int64_t begin = now_ns();
    for (long opened = 0; n_standing + n_errors < opt.connections;) {
        while (opened < opt.connections && opened - n_standing - n_errors < CONNECTING_MAX)
            conn_start(&conns[opened++]);
        if (now_ns() - begin > 120 * NS_PER_S)
            die("only %ld of %ld streams began within two minutes", n_standing, opt.connections);
        turn(100);
    }
    printf("{\"event\":\"idle\",\"streams\":%ld,\"errors\":%ld,\"first_error\":\"%s\",\"seconds\":%.3f}\n",
           n_standing, n_errors, first_error, (double)(now_ns() - begin) / NS_PER_S);
    fflush(stdout);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &e) != 0)
        die("standard input must be a pipe: %s", strerror(errno));
    while (turn(-1))
        ;
    printf("{\"event\":\"end\",\"streams\":%ld,\"errors\":%ld}\n", n_standing, n_errors);
    return n_errors ? 1 : 0;
}

static int run_load(void)
{
    for (long i = 0; i < opt.connections; i++) {
        /* First streams of different lengths: else all would end, and begin again, in the same moment. */
        conns[i].events_wanted = opt.stream_events * (i + 1) / opt.connections;
        if (opt.stream_events && conns[i].events_wanted < 1) conns[i].events_wanted = 1;
        conn_start(&conns[i]);
        if (i % CONNECTING_MAX == CONNECTING_MAX - 1) turn(0);
    }
    int64_t begin = now_ns();
    while (now_ns() - begin < opt.warmup_ns)
        turn(10);
    struct cpu before = cpu_read();
    is_counting = true;
    begin = now_ns();
    while (now_ns() - begin < opt.seconds_ns && (!opt.requests || n_requests < opt.requests))
        turn(10);
    /* On a starved machine a short turn may pass without any progress: it lasts until there is some. */
    while (n_requests + n_events == 0 && now_ns() - begin < opt.seconds_ns + STARVED_NS)
        turn(10);
    is_counting = false;
    double seconds = (double)(now_ns() - begin) / NS_PER_S;
    struct cpu after = cpu_read();
    double ticks = (after.user_ticks - before.user_ticks) + (after.system_ticks - before.system_ticks);
    double user_share = ticks > 0 ? (after.user_ticks - before.user_ticks) / ticks : 0;
    printf("{\"connections\":%ld,\"body_kib\":%ld,\"requests\":%ld,\"events\":%ld,\"reads\":%ld,\"bytes\":%"
           "llu,\"errors\":%ld,"
           "\"reconnects\":%ld,\"seconds\":%.4f,\"p50_us\":%.2f,\"p90_us\":%.2f,\"p99_us\":%.2f,\"first_"
           "event_p50_us\":%.2f,"
           "\"cpu_ns\":%.0f,\"user_share\":%.4f,\"first_error\":\"%s\"}\n",
           opt.connections, opt.body_kib, n_requests, n_events, n_reads, (unsigned long long)n_bytes,
           n_errors, n_reconnects, seconds, histogram_us(&latency, 0.5), histogram_us(&latency, 0.9),
           histogram_us(&latency, 0.99), histogram_us(&first_byte, 0.5), after.total_ns - before.total_ns,
           user_share, first_error);
    return n_errors || !(n_requests + n_events) ? 1 : 0;
}

static void parse_options(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--idle") == 0) {
            opt.is_idle = true;
            continue;
        }
        if (i + 1 == argc)
            die("%s: unknown option, or one without its value; the head of bench_load.c lists them", name);
        char *value = argv[++i];
        if (strcmp(name, "--port") == 0)
            opt.port = parse_number(name, value, 65535);
        else if (strcmp(name, "--connections") == 0)
            opt.connections = parse_number(name, value, 100000);
        else if (strcmp(name, "--body") == 0)
            opt.body_kib = parse_number(name, value, 4096);
        else if (strcmp(name, "--answer") == 0)
            opt.answer_kib = parse_number(name, value, 1024);
        else if (strcmp(name, "--stream") == 0)
            opt.stream_events = parse_number(name, value, 999999);
        else if (strcmp(name, "--interval") == 0)
            opt.interval_us = parse_number(name, value, 60000000);
        else if (strcmp(name, "--requests") == 0)
            opt.requests = parse_number(name, value, 1000000000);
        else if (strcmp(name, "--seconds") == 0)
            opt.seconds_ns = (int64_t)(strtod(value, NULL) * (double)NS_PER_S);
        else if (strcmp(name, "--warmup") == 0)
            opt.warmup_ns = (int64_t)(strtod(value, NULL) * (double)NS_PER_S);
        else if (strcmp(name, "--key") == 0)
            opt.key = value;
        else if (strcmp(name, "--pids") == 0) {
            for (char *pid; (pid = strsep(&value, ",")) && opt.n_pids < PIDS_MAX;)
                opt.pids[opt.n_pids++] = (int)parse_number(name, pid, 1 << 22);
        } else {
            die("unknown option %s; the head of bench_load.c lists them", name);
        }
    }
    if (!opt.port || opt.connections < 1 || opt.body_kib < 1 || opt.answer_kib < 1)
        die("--port is needed; --connections, --body and --answer are at least 1");
}

int main(int argc, char **argv)
{
    parse_options(argc, argv);
    raise_open_files();
    request_init();
    conns = checked(calloc((size_t)opt.connections, sizeof *conns));
    for (long i = 0; i < opt.connections; i++)
        conns[i].fd = -1;
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (poll_fd < 0) die("epoll: %s", strerror(errno));
    return opt.is_idle ? run_idle() : run_load();
}
