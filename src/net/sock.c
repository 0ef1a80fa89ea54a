#include "net/sock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

/* TLS records carry at most 16 KiB: gathering slices up to that saves records. */
#define TLS_GATHER 16384

int sock_new_fd(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;
    if (fd >= 0)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void apply(struct sock *s);

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct sock *s = h->data;
    /* After an error (a reset, say) libuv has stopped watching and tells no direction: the owner's next read or write finds it. */
    if (status < 0)
        s->polled = 0;
    bool can_read = status < 0 || (events & (UV_READABLE | UV_DISCONNECT)), can_write = status < 0 || (events & UV_WRITABLE);
    if (s->read_wants_write && can_write)
        can_read = true;
    if (s->write_wants_read && can_read)
        can_write = true;
    bool is_gone = status < 0 || (events & UV_DISCONNECT);
    if (is_gone)
        s->is_gone_told = true;
    s->on_ready(s, can_read && (s->watched & SOCK_READ), can_write && (s->watched & SOCK_WRITE), is_gone);
    if (is_gone && s->is_open)
        apply(s);
}

static void apply(struct sock *s)
{
    unsigned want = s->is_gone_told ? 0 : UV_DISCONNECT; /* level-triggered: told once is enough */
    if ((s->watched & SOCK_READ) || ((s->watched & SOCK_WRITE) && s->write_wants_read))
        want |= UV_READABLE;
    if ((s->watched & SOCK_WRITE) || ((s->watched & SOCK_READ) && s->read_wants_write))
        want |= UV_WRITABLE;
    if (want == s->polled)
        return;
    s->polled = (uint8_t)want;
    uv_poll_start(&s->poll, (int)want, on_poll);
}

enum errc sock_open(struct sock *s, struct loop *l, int fd, SSL *ssl, err *e)
{
    s->loop = l;
    s->fd = fd;
    s->ssl = ssl;
    s->watched = s->polled = 0;
    s->read_wants_write = s->write_wants_read = s->is_gone_told = false;
    s->is_tls_ready = ssl == NULL;
    int rc = uv_poll_init(&l->uv, &s->poll, fd);
    if (rc < 0)
        return err_set(e, ERR_INTERNAL, "watching a socket: %s", uv_strerror(rc));
    s->poll.data = s;
    s->is_open = true;
    if (ssl)
        SSL_set_fd(ssl, fd);
    return ERR_NONE;
}

void sock_start_tls(struct sock *s, SSL *ssl)
{
    s->ssl = ssl;
    s->is_tls_ready = false;
    SSL_set_fd(ssl, s->fd);
}

static void on_poll_closed(uv_handle_t *h)
{
    struct sock *s = h->data;
    s->on_closed(s);
}

void sock_close(struct sock *s)
{
    if (!s->is_open)
        return;
    s->is_open = false;
    if (s->ssl) {
        if (s->is_tls_ready)
            SSL_shutdown(s->ssl); /* sends close_notify if it fits; nobody waits for the answer */
        ERR_clear_error();
        SSL_free(s->ssl);
        s->ssl = NULL;
    }
    uv_close((uv_handle_t *)&s->poll, on_poll_closed);
    close(s->fd);
    s->fd = -1;
}

void sock_watch(struct sock *s, unsigned what)
{
    s->watched = (uint8_t)what;
    apply(s);
}

/* Maps OpenSSL's answer; remembers when the other direction must become ready first. */
static ssize_t tls_result(struct sock *s, int rc, bool is_read)
{
    switch (SSL_get_error(s->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        if (!is_read) {
            s->write_wants_read = true;
            apply(s);
        }
        return SOCK_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        if (is_read) {
            s->read_wants_write = true;
            apply(s);
        }
        return SOCK_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return is_read ? 0 : SOCK_FAILED;
    default:
        return SOCK_FAILED;
    }
}

bool sock_handshake(struct sock *s, bool *failed)
{
    *failed = false;
    if (s->is_tls_ready)
        return true;
    s->read_wants_write = s->write_wants_read = false;
    ERR_clear_error();
    int rc = SSL_do_handshake(s->ssl);
    if (rc == 1) {
        s->is_tls_ready = true;
        apply(s);
        return true;
    }
    *failed = tls_result(s, rc, true) == SOCK_FAILED;
    if (!*failed)
        apply(s);
    return false;
}

ssize_t sock_read(struct sock *s, char *into, size_t len)
{
    if (!s->ssl) {
        ssize_t n;
        do
            n = recv(s->fd, into, len, 0);
        while (n < 0 && errno == EINTR);
        if (n >= 0)
            return n;
        return errno == EAGAIN || errno == EWOULDBLOCK ? SOCK_AGAIN : SOCK_FAILED;
    }
    s->read_wants_write = false;
    ERR_clear_error();
    size_t got = 0;
    /* one record a call: gather what is there, so that a large body does not take a turn per 16 KiB */
    while (got < len) {
        int n = SSL_read(s->ssl, into + got, len - got > INT32_MAX ? INT32_MAX : (int)(len - got));
        if (n <= 0) {
            ssize_t result = tls_result(s, n, true);
            return got ? (ssize_t)got : result;
        }
        got += (size_t)n;
    }
    return (ssize_t)got;
}

static ssize_t tls_writev(struct sock *s, const struct iovec *iov, unsigned n)
{
    char gather[TLS_GATHER];
    size_t total = 0;
    unsigned i = 0;
    size_t at = 0; /* in iov[i] */
    s->write_wants_read = false;
    ERR_clear_error();
    while (i < n) {
        const char *from = (const char *)iov[i].iov_base + at;
        size_t len = iov[i].iov_len - at;
        if (len < TLS_GATHER && i + 1 < n) {
            size_t filled = 0, skip = at;
            for (unsigned k = i; k < n && filled < TLS_GATHER; k++, skip = 0) {
                size_t part = iov[k].iov_len - skip;
                if (part > TLS_GATHER - filled)
                    part = TLS_GATHER - filled;
                if (part)
                    memcpy(gather + filled, (const char *)iov[k].iov_base + skip, part);
                filled += part;
            }
            from = gather;
            len = filled;
        }
        if (len == 0)
            break;
        int sent = SSL_write(s->ssl, from, len > INT32_MAX ? INT32_MAX : (int)len);
        if (sent <= 0) {
            ssize_t result = tls_result(s, sent, false);
            return total ? (ssize_t)total : result;
        }
        total += (size_t)sent;
        for (size_t left = (size_t)sent; left || (i < n && at == iov[i].iov_len);) {
            size_t step = iov[i].iov_len - at < left ? iov[i].iov_len - at : left;
            at += step;
            left -= step;
            if (at == iov[i].iov_len) {
                i++;
                at = 0;
                if (i == n)
                    break;
            }
        }
    }
    return (ssize_t)total;
}

ssize_t sock_writev(struct sock *s, const struct iovec *iov, unsigned n)
{
    if (s->ssl)
        return tls_writev(s, iov, n);
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = n};
    ssize_t sent;
    do
        sent = sendmsg(s->fd, &m, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return sent;
    return errno == EAGAIN || errno == EWOULDBLOCK ? SOCK_AGAIN : SOCK_FAILED;
}

bool sock_has_buffered(const struct sock *s) { return s->ssl && SSL_has_pending(s->ssl); }
