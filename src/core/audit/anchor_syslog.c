/* anchor_syslog.c - heads as lines of a syslog server: RFC 5424 over UDP (RFC 5426), TCP (octet counting of RFC 6587), TLS (RFC 5425) or a local
 * datagram socket. The note stands in the structured data as base64, so that it can be taken out whole. Syslog confirms nothing: that a line was
 * sent is all that is known. */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/audit/anchor.h"
#include "net/tls.h"
#include "net/url.h"

#define PRIORITY (13 * 8 + 5) /* log audit, notice */
#define SEND_MS 10000

enum transport { OVER_UDP, OVER_TCP, OVER_TLS, OVER_UNIX };

struct syslog {
    enum transport over;
    char host[256], port[8], path[108]; /* path: of the local socket */
    SSL_CTX *tls;
};

static void close_syslog(struct anchor *a)
{
    struct syslog *s = a->state;
    SSL_CTX_free(s->tls);
    free(s);
    a->state = NULL;
}

static enum errc open_syslog(struct anchor *a, const struct config *c, const struct json *entry, err *e)
{
    static const struct {
        str scheme;
        enum transport over;
        const char *port;
    } kinds[] = {{STR_LIT("udp://"), OVER_UDP, "514"}, {STR_LIT("tcp://"), OVER_TCP, "601"}, {STR_LIT("tls://"), OVER_TLS, "6514"}};
    str url = config_entry_text(c, entry, "audit.anchors[].url");
    struct url_authority at;
    struct syslog *s = calloc(1, sizeof *s);
    if (!s) return err_code(e, ERR_NO_MEMORY);
    a->state = s;
    if (str_starts(url, S("unix:"))) {
        url = str_skip(url, 5);
        s->over = OVER_UNIX;
        if (!url.len || url.len >= sizeof s->path) return err_set(e, ERR_CONFIG, "the path of the local socket is empty or too long");
        memcpy(s->path, url.p, url.len);
        return ERR_NONE;
    }
    for (size_t i = 0; i < LENGTH_OF(kinds); i++) {
        if (!str_starts(url, kinds[i].scheme) || !url_authority_parse(str_skip(url, kinds[i].scheme.len), &at)) continue;
        s->over = kinds[i].over;
        snprintf(s->host, sizeof s->host, "%.*s", STR(at.host));
        if (at.has_port)
            snprintf(s->port, sizeof s->port, "%u", at.port);
        else
            snprintf(s->port, sizeof s->port, "%s", kinds[i].port);
        return s->over == OVER_TLS ? tls_client_new(&s->tls, NULL, e) : ERR_NONE;
    }
    return err_set(e, ERR_CONFIG, "a syslog anchor needs a url: udp://HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT or unix:PATH");
}

static enum errc connect_to(const struct syslog *s, int *fd, err *e)
{
    struct addrinfo hints = {.ai_socktype = s->over == OVER_UDP ? SOCK_DGRAM : SOCK_STREAM}, *list = NULL;
    struct timeval most = {.tv_sec = SEND_MS / 1000};
    *fd = -1;
    int number = getaddrinfo(s->host, s->port, &hints, &list);
    if (number != 0) return err_set(e, ERR_UNREACHABLE, "the syslog server %s: %s", s->host, gai_strerror(number));
    for (const struct addrinfo *i = list; i && *fd < 0; i = i->ai_next) {
        *fd = socket(i->ai_family, i->ai_socktype | SOCK_CLOEXEC, i->ai_protocol);
        if (*fd < 0) continue;
        setsockopt(*fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most); /* of connect, too */
        setsockopt(*fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
        if (connect(*fd, i->ai_addr, i->ai_addrlen) == 0) break;
        number = errno;
        close(*fd);
        *fd = -1;
    }
    freeaddrinfo(list);
    return *fd >= 0 ? ERR_NONE : err_errno(e, ERR_UNREACHABLE, number, "the syslog server %s:%s", s->host, s->port);
}

static enum errc connect_local(const struct syslog *s, int *fd, err *e)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    memcpy(to.sun_path, s->path, sizeof s->path);
    *fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (*fd >= 0 && connect(*fd, (const struct sockaddr *)&to, sizeof to) == 0) return ERR_NONE;
    int number = errno;
    if (*fd >= 0) close(*fd);
    *fd = -1;
    return err_errno(e, ERR_UNREACHABLE, number, "the local syslog socket %s", s->path);
}

static enum errc send_plain(int fd, str text, err *e)
{
    while (text.len) {
        ssize_t n = send(fd, text.p, text.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return err_errno(e, ERR_UNREACHABLE, errno, "sending to the syslog server");
        text = str_skip(text, (size_t)n);
    }
    return ERR_NONE;
}

/* A stream's other end may be gone, which only reading tells. */
static enum errc still_there(int fd, err *e)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
    return n == 0 ? err_set(e, ERR_UNREACHABLE, "the syslog server closed the connection") : ERR_NONE;
}

static enum errc send_tls(const struct syslog *s, int fd, str text, err *e)
{
    char reason[128];
    SSL *ssl = tls_client_connection(s->tls, s->host);
    if (!ssl) return err_code(e, ERR_NO_MEMORY);
    enum errc rc = ERR_NONE;
    if (SSL_set_fd(ssl, fd) != 1 || SSL_connect(ssl) != 1 || SSL_write(ssl, text.p, (int)text.len) != (int)text.len) {
        tls_reason(ssl, reason, sizeof reason);
        rc = err_set(e, ERR_UNREACHABLE, "TLS with the syslog server %s: %s", s->host, reason);
    } else if (SSL_shutdown(ssl) < 0) {
        tls_reason(ssl, reason, sizeof reason); /* the line is there; nothing else to say */
    }
    SSL_free(ssl);
    return rc;
}

/* RFC 5424 section 6. */
static void write_line(const struct audit_head *h, const struct syslog *s, struct buf *out)
{
    char time[TIME_TEXT_LEN + 1], host[256] = "-", root[2 * SHA256_LEN + 1], note[BASE64_SIZE(NOTE_MAX)];
    struct buf line;
    if (gethostname(host, sizeof host - 1) != 0 || !*host) snprintf(host, sizeof host, "-");
    buf_init(&line, 16384);
    buf_addf(&line, "<%d>1 %s %s catalyst %d audit.head [head@32473 origin=\"%.*s\" size=\"%lld\" root=\"%s\" note=\"%s\"] head of %lld events",
             PRIORITY, time_format(h->signed_us, time).p, host, (int)getpid(), STR(h->origin), (long long)h->size,
             hex_encode(h->root.b, sizeof h->root.b, root).p, base64_encode(h->note.p, h->note.len, note).p, (long long)h->size);
    if (s->over == OVER_TCP || s->over == OVER_TLS) buf_addf(out, "%zu ", line.len);
    buf_add(out, buf_str(&line));
    if (line.failed && !out->failed) out->failed = line.failed;
    buf_fini(&line);
}

static enum errc put_head(struct anchor *a, struct arena *arena, const struct audit_head *h, err *e)
{
    struct syslog *s = a->state;
    struct buf text;
    int fd = -1;
    (void)arena;
    if (h->note.len > NOTE_MAX) return err_set(e, ERR_TOO_LARGE, "the head is too long for a line");
    buf_init(&text, 16384);
    write_line(h, s, &text);
    enum errc rc = text.failed ? err_code(e, text.failed) : s->over == OVER_UNIX ? connect_local(s, &fd, e) : connect_to(s, &fd, e);
    if (rc == ERR_NONE) rc = s->over == OVER_TLS ? send_tls(s, fd, buf_str(&text), e) : send_plain(fd, buf_str(&text), e);
    if (rc == ERR_NONE && s->over == OVER_TCP) rc = still_there(fd, e);
    if (fd >= 0) close(fd);
    buf_fini(&text);
    return rc;
}

const struct anchor_kind anchor_syslog = {"syslog", open_syslog, close_syslog, put_head, NULL, NULL};
