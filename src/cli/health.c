/* health.c - `catalyst health`: asks a running server whether it is well, with one plain HTTP/1.1 request.
 *
 * It works without the server's loops and TLS, so that a container's health check stays cheap; https is not
 * supported.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "net/url.h"

#define HEALTH_TIMEOUT_US (5LL * USEC_PER_S)
#define CONFIG_ARENA_LIMIT (64u << 20)

struct target {
    char host[256], path[1024], shown[1400];
    bool is_ipv6;
    uint16_t port;
};

/* Waits for an event on fd until the deadline. */
static enum errc wait_for(int fd, short events, usec deadline, err *e)
{
    for (;;) {
        usec left = deadline - clock_mono_us();
        struct pollfd p = {.fd = fd, .events = events};
        int n = left > 0 ? poll(&p, 1, (int)(left / USEC_PER_MS) + 1) : 0;
        if (n > 0) return ERR_NONE;
        if (n == 0) return err_set(e, ERR_UNREACHABLE, "no answer within 5 s");
        if (errno != EINTR) return err_errno(e, ERR_UNREACHABLE, errno, "cannot wait");
    }
}

static enum errc connect_to(const struct addrinfo *address, usec deadline, int *out, err *e)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return err_errno(e, ERR_UNREACHABLE, errno, "cannot make a socket");
    enum errc code = ERR_NONE;
    if (connect(fd, address->ai_addr, address->ai_addrlen) != 0) {
        int failed = errno;
        if (failed == EINPROGRESS) {
            socklen_t len = sizeof failed;
            code = wait_for(fd, POLLOUT, deadline, e);
            if (!code && getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &len) != 0) failed = errno;
        }
        if (!code && failed) code = err_errno(e, ERR_UNREACHABLE, failed, "cannot connect");
    }
    if (code)
        close(fd);
    else
        *out = fd;
    return code;
}

static enum errc send_all(int fd, str text, usec deadline, err *e)
{
    while (text.len) {
        ssize_t n = send(fd, text.p, text.len, MSG_NOSIGNAL);
        if (n > 0) {
            text = str_skip(text, (size_t)n);
        } else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            enum errc code = wait_for(fd, POLLOUT, deadline, e);
            if (code) return code;
        } else {
            return err_errno(e, ERR_UNREACHABLE, errno, "cannot send");
        }
    }
    return ERR_NONE;
}

/* The status line is all that counts: "HTTP/1.1 200 ...". */
static enum errc read_status(int fd, usec deadline, unsigned *status, err *e)
{
    char text[512];
    size_t len = 0;
    while (len < sizeof text && !memchr(text, '\n', len)) {
        ssize_t n = recv(fd, text + len, sizeof text - len, 0);
        if (n > 0) {
            len += (size_t)n;
        } else if (n == 0) {
            break;
        } else if (errno == EAGAIN || errno == EINTR) {
            enum errc code = wait_for(fd, POLLIN, deadline, e);
            if (code) return code;
        } else {
            return err_errno(e, ERR_UNREACHABLE, errno, "cannot read");
        }
    }
    uint64_t n = 0;
    str line = str_of(text, len);
    if (len < 12 || !str_starts(line, S("HTTP/1.")) || text[8] != ' ' ||
        !str_to_u64(str_take(str_skip(line, 9), 3), &n))
        return err_set(e, ERR_UNREACHABLE, len ? "the answer is not HTTP" : "the connection was closed");
    *status = (unsigned)n;
    return ERR_NONE;
}

static enum errc ask(const struct target *t, unsigned *status, err *e)
{
    char port[8], request[1600];
    snprintf(port, sizeof port, "%u", t->port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *list = NULL;
    int failed = getaddrinfo(t->host, port, &hints, &list);
    if (failed) return err_set(e, ERR_UNREACHABLE, "cannot find the host: %s", gai_strerror(failed));
    usec deadline = clock_mono_us() + HEALTH_TIMEOUT_US;
    int fd = -1;
    enum errc code = ERR_UNREACHABLE;
    for (const struct addrinfo *it = list; it && code; it = it->ai_next)
        code = connect_to(it, deadline, &fd, e);
    freeaddrinfo(list);
    if (code) return code;
    int len = snprintf(
        request, sizeof request,
        "GET %s HTTP/1.1\r\nHost: %s%s%s:%u\r\nUser-Agent: catalyst-health\r\nConnection: close\r\n\r\n",
        t->path, t->is_ipv6 ? "[" : "", t->host, t->is_ipv6 ? "]" : "", t->port);
    code = send_all(fd, str_of(request, (size_t)len), deadline, e);
    if (!code) code = read_status(fd, deadline, status, e);
    close(fd);
    return code;
}

/* --- whom to ask --- */

static enum errc set_target(struct target *t, str host, bool is_ipv6, uint16_t port, str path, str query,
                            err *e)
{
    if (host.len >= sizeof t->host || path.len + query.len + 1 >= sizeof t->path)
        return err_set(e, ERR_USAGE, "the URL is too long");
    snprintf(t->host, sizeof t->host, "%.*s", STR(host));
    snprintf(t->path, sizeof t->path, "%.*s%s%.*s", STR(path), query.p ? "?" : "", STR(query));
    t->is_ipv6 = is_ipv6;
    t->port = port;
    snprintf(t->shown, sizeof t->shown, "http://%s%s%s:%u%s", is_ipv6 ? "[" : "", t->host, is_ipv6 ? "]" : "",
             port, t->path);
    return ERR_NONE;
}

static enum errc target_of_url(struct target *t, const char *text, err *e)
{
    struct url url;
    enum errc code = url_parse(str_c(text), &url, e);
    if (code) {
        err_prefix(e, "--url");
        return e->code = ERR_USAGE;
    }
    if (url.is_tls)
        return err_set(e, ERR_USAGE,
                       "health speaks plain http only; for https use another client, such as curl");
    str path = url.path.len > 1 || url.query.p ? url.path : S("/healthz");
    return set_target(t, url.host, url.is_ipv6, url.port, path.len ? path : S("/"), url.query, e);
}

static enum errc target_of_config(struct target *t, const struct config *c, err *e)
{
    str host;
    uint16_t port;
    enum errc code = url_parse_listen(config_text(c, "listen.address"), &host, &port, e);
    if (code) {
        err_prefix(e, "listen.address");
        return e->code = ERR_CONFIG;
    }
    if (port == 0)
        return err_set(e, ERR_USAGE, "the configured port is 0, chosen at start; name the server with --url");
    if (config_text(c, "tls.cert").len)
        return err_set(e, ERR_USAGE,
                       "the server speaks TLS, health plain http only; use another client, such as curl");
    bool is_ipv6 = str_chr(host, ':') >= 0;
    if (str_eq(host, S("::"))) host = S("::1");
    if (host.len == 0 || str_eq(host, S("0.0.0.0"))) host = S("127.0.0.1");
    return set_target(t, host, is_ipv6, port, S("/healthz"), (str){NULL, 0}, e);
}

static int run(const struct cli_app *app, const struct cli_args *args)
{
    err e = {0};
    struct target target;
    struct arena a;
    struct config *config = NULL;
    unsigned status = 0;
    arena_init(&a, CONFIG_ARENA_LIMIT, 0);
    const char *url = cli_flag(args, "--url");
    enum errc code = url ? target_of_url(&target, url, &e) : cli_config(app, args, &a, &config, &e);
    if (!code && !url) code = target_of_config(&target, config, &e);
    arena_fini(&a);
    if (code) return cli_fail(&e);
    if (ask(&target, &status, &e)) {
        err_prefix(&e, "%s", target.shown);
        e.code = ERR_UNREACHABLE;
        return cli_fail(&e);
    }
    if (status != 200) {
        err_set(&e, ERR_INTERNAL, "%s: not well, it answered %u", target.shown, status);
        return cli_fail(&e);
    }
    struct buf out;
    buf_init(&out, 4096);
    buf_addf(&out, "%s: ok\n", target.shown);
    int exit_code = cli_print(&out);
    buf_fini(&out);
    return exit_code;
}

static const struct flag flags[] = {
    CLI_CONFIG_FLAGS,
    {"--url", "URL", NULL, "the server to ask (default: the configured address)"},
};

const struct command cmd_health = {
    .name = "health",
    .arguments = "",
    .meaning = "asks a running server whether it is well",
    .flags = flags,
    .n_flags = LENGTH_OF(flags),
    .run = run,
};
