/* common.h - what the upstream double and the load generator of the gateway benchmark share.
 *
 * Nothing here comes from src/: the benchmark must not get faster or slower with the code that it measures.
 * Threads: one per program. Errors: a broken environment ends the program with a sentence and status 1.
 */
#ifndef BENCH_GATEWAY_COMMON_H
#define BENCH_GATEWAY_COMMON_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000LL
#define NS_PER_US 1000LL

__attribute__((format(printf, 1, 2), noreturn)) static inline void die(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(1);
}

static inline void *checked(void *p)
{
    if (!p) die("out of memory");
    return p;
}

static inline int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* A whole non-negative decimal number up to max, or an end with a message that names the option. */
static inline long parse_number(const char *option, const char *text, long max)
{
    char *end;
    errno = 0;
    long v = strtol(text, &end, 10);
    if (errno || end == text || *end || v < 0 || v > max)
        die("%s: expected a number from 0 to %ld, got '%s'", option, max, text);
    return v;
}

/* Thousands of sockets need more than the usual soft limit of 1,024 descriptors. */
static inline void raise_open_files(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &r) != 0) die("setrlimit: %s", strerror(errno));
    }
}

static inline struct sockaddr_in loopback(long port)
{
    struct sockaddr_in a;
    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_port = htons((uint16_t)port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static inline void set_nodelay(int fd)
{
    int on = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        die("TCP_NODELAY: %s", strerror(errno));
}

/* Growing text. */
struct text {
    char *p;
    size_t len, cap;
};

static inline void text_add(struct text *t, const char *s, size_t len)
{
    if (t->len + len + 1 > t->cap) {
        t->cap = (t->len + len + 1) * 2;
        t->p = checked(realloc(t->p, t->cap));
    }
    memcpy(t->p + t->len, s, len);
    t->len += len;
    t->p[t->len] = '\0';
}

__attribute__((format(printf, 2, 3))) static inline void text_printf(struct text *t, const char *format, ...)
{
    char line[2048];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof line) die("a line of the benchmark is too long");
    text_add(t, line, (size_t)n);
}

/* Exactly len bytes of JSON string content as models and coding agents exchange it: prose and code with escapes
 * and some multi-byte characters. The sequence is the same in every run; *seed carries it on. */
static inline void text_prose(struct text *t, size_t len, unsigned *seed)
{
    static const char *const words[] = {
        "the ",
        "request ",
        "returns ",
        "a ",
        "value ",
        "that ",
        "was ",
        "retried ",
        "twice ",
        "because ",
        "if (x != 0) ",
        "\\n    ",
        "return parse(a)",
        ";\\n",
        "const ",
        "\\\"quoted\\\" ",
        "na\xc3\xafve ",
        "await ",
        "fetch(url) ",
        "budget ",
        "exceeded, ",
        "so ",
        "error ",
        "path/to/file.c ",
        "should ",
        "be ",
        "answered ",
        "\\t",
        "\xe4\xbd\xa0\xe5\xa5\xbd ",
        "of ",
        "in ",
        "server. ",
    };
    size_t end = t->len + len;
    for (;;) {
        *seed = *seed * 1103515245u + 12345u;
        const char *w = words[(*seed >> 16) % (sizeof words / sizeof *words)];
        size_t n = strlen(w);
        if (t->len + n > end) break;
        text_add(t, w, n);
    }
    while (t->len < end)
        text_add(t, ".", 1);
}

#endif
