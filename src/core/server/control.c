#include "core/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

#define SOCKET_NAME "control.sock"
#define MESSAGE_MAX (64u << 10)
#define PEER_TIMEOUT_S 10
#define ANSWER_TIMEOUT_S 120 /* a command may wait for a lock or hash a password */
#define ARENA_LIMIT (4u << 20)

struct control {
    const struct control_command *commands;
    unsigned n;
    int dir_fd, listen_fd, stop_fd;
    pthread_t thread;
};

/* A path of DIR/control.sock that fits into a socket address however long DIR is. */
static void address_of(int dir_fd, struct sockaddr_un *out)
{
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(out->sun_path, sizeof out->sun_path, "/proc/self/fd/%d/%s", dir_fd, SOCKET_NAME);
}

static void set_timeout(int fd, int seconds)
{
    struct timeval t = {.tv_sec = seconds};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
}

static enum errc read_all(int fd, struct buf *out, err *e)
{
    for (;;) {
        char *at = buf_reserve(out, 4096);
        if (!at) return err_set(e, ERR_TOO_LARGE, "a message is longer than %u bytes", MESSAGE_MAX);
        ssize_t n = recv(fd, at, 4096, 0);
        if (n == 0) return ERR_NONE;
        if (n > 0)
            buf_added(out, (size_t)n);
        else if (errno != EINTR)
            return err_errno(e, ERR_IO, errno, "reading from " SOCKET_NAME);
    }
}

static enum errc write_all(int fd, str text, err *e)
{
    while (text.len) {
        ssize_t n = send(fd, text.p, text.len, MSG_NOSIGNAL);
        if (n > 0)
            text = str_skip(text, (size_t)n);
        else if (n < 0 && errno != EINTR)
            return err_errno(e, ERR_IO, errno, "writing to " SOCKET_NAME);
    }
    return ERR_NONE;
}

/* --- the server's side --- */

static enum errc run_command(struct control *c, struct arena *a, str text, struct json_writer *w, err *e)
{
    struct json *request;
    enum errc rc = json_parse(a, text, &request, e);
    if (rc != ERR_NONE) return rc;
    const struct json *name = json_get(request, S("command"));
    for (unsigned i = 0; name && i < c->n; i++)
        if (str_eq(name->text, str_c(c->commands[i].name)))
            return c->commands[i].run(c->commands[i].ctx, a, request, w, e);
    return err_set(e, ERR_INVALID, "the server that runs on this data folder does not know this command");
}

static void answer(struct control *c, int fd)
{
    struct buf in, result, out;
    struct json_writer w;
    struct arena a;
    err e = {0};
    arena_init(&a, ARENA_LIMIT, 0);
    buf_init(&in, MESSAGE_MAX);
    buf_init(&result, MESSAGE_MAX);
    buf_init(&out, 2 * MESSAGE_MAX);
    enum errc rc = read_all(fd, &in, &e);
    json_writer_init(&w, &result);
    if (rc == ERR_NONE) rc = run_command(c, &a, buf_str(&in), &w, &e);
    if (rc == ERR_NONE && (rc = buf_err(&result)) != ERR_NONE) err_code(&e, rc);
    json_writer_init(&w, &out);
    json_object(&w);
    json_put_bool(&w, "ok", rc == ERR_NONE);
    if (rc == ERR_NONE) {
        json_name(&w, S("result"));
        json_raw(&w, buf_str(&result));
    } else {
        json_name(&w, S("error"));
        json_object(&w);
        json_put_str(&w, "code", str_c(errc_name(rc)));
        json_put_str(&w, "message", str_c(e.msg));
        json_end(&w);
    }
    json_end(&w);
    if (buf_err(&out) == ERR_NONE && write_all(fd, buf_str(&out), &e) != ERR_NONE)
        log_error(LOG_WARN, "control_answer_lost", &e);
    if (in.p) explicit_bzero(in.p, in.len); /* may hold a password */
    if (result.p) explicit_bzero(result.p, result.len);
    if (out.p) explicit_bzero(out.p, out.len);
    buf_fini(&in);
    buf_fini(&result);
    buf_fini(&out);
    arena_fini(&a);
}

static bool is_owner(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == geteuid() || peer.uid == 0);
}

static void *control_main(void *arg)
{
    struct control *c = arg;
    struct pollfd fds[] = {{.fd = c->listen_fd, .events = POLLIN}, {.fd = c->stop_fd, .events = POLLIN}};
    for (;;) {
        if (poll(fds, LENGTH_OF(fds), -1) < 0 && errno != EINTR) break;
        if (fds[1].revents) break;
        int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) continue;
        set_timeout(fd, PEER_TIMEOUT_S);
        if (is_owner(fd)) answer(c, fd);
        close(fd);
    }
    return NULL;
}

static void control_free(struct control *c)
{
    if (c->listen_fd >= 0) close(c->listen_fd);
    if (c->stop_fd >= 0) close(c->stop_fd);
    if (c->dir_fd >= 0) close(c->dir_fd);
    free(c);
}

enum errc control_start(struct control **out, const char *data_dir, const struct control_command *commands,
                        unsigned n, err *e)
{
    struct sockaddr_un address;
    struct control *c = malloc(sizeof *c);
    if (!c) return err_code(e, ERR_NO_MEMORY);
    *c = (struct control){.commands = commands, .n = n, .listen_fd = -1, .stop_fd = -1};
    c->dir_fd = open(data_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (c->dir_fd < 0) goto failed;
    unlinkat(c->dir_fd, SOCKET_NAME, 0);
    address_of(c->dir_fd, &address);
    c->stop_fd = eventfd(0, EFD_CLOEXEC);
    /* Not blocking, so that a caller who gave up between poll and accept does not hold the thread. The
     * mode of a socket before bind is that of its file. */
    c->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->stop_fd < 0 || c->listen_fd < 0 || fchmod(c->listen_fd, 0600) < 0 ||
        bind(c->listen_fd, (const struct sockaddr *)&address, sizeof address) < 0 ||
        listen(c->listen_fd, 8) < 0)
        goto failed;
    int rc = pthread_create(&c->thread, NULL, control_main, c);
    if (rc != 0) {
        errno = rc;
        goto failed;
    }
    *out = c;
    return ERR_NONE;
failed:;
    enum errc code = err_errno(e, ERR_IO, errno, "opening %s/" SOCKET_NAME, data_dir);
    control_free(c);
    return code;
}

void control_stop(struct control *c)
{
    uint64_t one = 1;
    if (!c) return;
    if (write(c->stop_fd, &one, sizeof one) != sizeof one) abort();
    pthread_join(c->thread, NULL);
    unlinkat(c->dir_fd, SOCKET_NAME, 0);
    control_free(c);
}

/* --- the caller's side --- */

static enum errc code_of(str name)
{
    for (unsigned i = ERR_NONE + 1; i < ERR_CODES; i++)
        if (str_eq(name, str_c(errc_name((enum errc)i)))) return (enum errc)i;
    return ERR_INTERNAL;
}

static enum errc read_answer(struct arena *a, str text, const struct json **result, err *e)
{
    struct json *tree;
    bool is_ok = false;
    enum errc rc = json_parse(a, text, &tree, e);
    if (rc != ERR_NONE) return err_prefix(e, "the answer of the running server");
    const struct json *ok = json_get(tree, S("ok")), *code = json_at(tree, S("error.code")),
                      *message = json_at(tree, S("error.message"));
    *result = json_get(tree, S("result"));
    if (ok && json_bool(ok, &is_ok) && is_ok && *result) return ERR_NONE;
    if (!code || !message)
        return err_set(e, ERR_INTERNAL, "the running server gave an answer that makes no sense");
    return err_set(e, code_of(code->text), "%.*s", STR(message->text));
}

enum errc control_call(struct arena *a, const char *data_dir, str request, bool *is_running,
                       const struct json **result, err *e)
{
    struct sockaddr_un address;
    struct buf in;
    enum errc rc = ERR_NONE;
    int dir_fd = open(data_dir, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;
    *is_running = false;
    buf_init(&in, 2 * MESSAGE_MAX);
    if (dir_fd < 0) {
        if (errno != ENOENT) rc = err_errno(e, ERR_IO, errno, "opening %s", data_dir);
        goto out;
    }
    address_of(dir_fd, &address);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        if (errno != ENOENT && errno != ECONNREFUSED)
            rc = err_errno(e, ERR_UNREACHABLE, errno, "connecting to %s/" SOCKET_NAME, data_dir);
        goto out;
    }
    *is_running = true;
    set_timeout(fd, ANSWER_TIMEOUT_S);
    if ((rc = write_all(fd, request, e)) != ERR_NONE) goto out;
    shutdown(fd, SHUT_WR);
    if ((rc = read_all(fd, &in, e)) != ERR_NONE) goto out;
    str copy = str_dup(a, buf_str(&in));
    rc = copy.p ? read_answer(a, copy, result, e) : err_code(e, ERR_TOO_LARGE);
out:
    if (in.p) explicit_bzero(in.p, in.len);
    buf_fini(&in);
    if (fd >= 0) close(fd);
    if (dir_fd >= 0) close(dir_fd);
    return rc;
}
