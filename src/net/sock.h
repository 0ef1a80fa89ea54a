/* sock.h - a non-blocking TCP socket on a loop, plain or TLS, read and written directly (no copies in between).
 *
 * Readiness comes from uv_poll (level-triggered epoll); reads and writes are the caller's own system calls, so a request costs one read and one writev.
 * Threads: one loop.
 */
#ifndef NET_SOCK_H
#define NET_SOCK_H

#include <sys/uio.h>

#include "net/loop.h"
#include "net/tls.h"

enum sock_watch { SOCK_READ = 1, SOCK_WRITE = 2 };

struct sock {
    uv_poll_t poll;
    struct loop *loop;
    SSL *ssl;            /* NULL = plain */
    int fd;
    uint8_t watched;     /* what the owner asked for */
    uint8_t polled;      /* what epoll was told */
    bool read_wants_write, write_wants_read; /* TLS: the direction it waits for is the other one */
    bool is_open, is_tls_ready, is_gone_told;
    /* What the owner watches became possible; is_gone: the peer closed its side or the connection broke (told even when only watching nothing). */
    void (*on_ready)(struct sock *s, bool can_read, bool can_write, bool is_gone);
    void (*on_closed)(struct sock *s); /* memory may be freed now */
};

enum { SOCK_AGAIN = -1, SOCK_FAILED = -2 };

/* Takes over fd (non-blocking). Watches nothing yet but the peer's going away. */
WARN_UNUSED enum errc sock_open(struct sock *s, struct loop *l, int fd, SSL *ssl, err *e);
/* TLS from here on, on a socket that was plain so far: the handshake comes next. Takes over ssl. */
void sock_start_tls(struct sock *s, SSL *ssl);
/* Closes; on_closed comes later in this turn. */
void sock_close(struct sock *s);
void sock_watch(struct sock *s, unsigned what);

/* > 0 bytes, 0 end of input, SOCK_AGAIN, SOCK_FAILED. */
ssize_t sock_read(struct sock *s, char *into, size_t len);
/* >= 0 bytes taken (maybe fewer than given), SOCK_AGAIN, SOCK_FAILED. */
ssize_t sock_writev(struct sock *s, const struct iovec *iov, unsigned n);
/* TLS handshake: true when done, false with *failed or not yet done. */
bool sock_handshake(struct sock *s, bool *failed);
/* Bytes that TLS has decrypted but not handed out: epoll does not tell of them. */
bool sock_has_buffered(const struct sock *s);

int sock_new_fd(int family); /* non-blocking, close-on-exec, TCP_NODELAY; -1 with errno */

#endif
