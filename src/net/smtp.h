/* smtp.h - one message to a mail server, blocking. On libcurl.
 *
 * smtp:// turns to TLS by STARTTLS before anything is said, smtps:// begins with it; certificates are always verified, TLS 1.2 at least.
 * Without TLS only where the caller says so, which is for a server on this machine.
 * Who sends and who receives must be checked by the caller: no control characters, spaces or brackets (asserted).
 * Errors: ERR_UNREACHABLE (name, connection, TLS), ERR_UPSTREAM_TIMEOUT, ERR_UPSTREAM (the server said "not now": 4xx, refused the
 * credentials, or broke off) may pass; ERR_INVALID (the server said "never": 5xx) does not; ERR_CANCELLED. Messages hold the server's
 * codes and never its words, since servers repeat addresses.
 * Threads: any but event loops (asserted).
 * Source: RFC 5321, 3207 (STARTTLS), 4954 (AUTH), 8314 (smtps).
 */
#ifndef NET_SMTP_H
#define NET_SMTP_H

#include "base/arena.h"

struct smtp_server {
    str url;            /* smtp://host[:port] or smtps://host[:port] */
    str user, password; /* empty: without AUTH */
    const char *ca_file; /* trusted besides the system's; NULL: only those */
    bool needs_tls;
    unsigned deadline_ms; /* of everything */
};
struct smtp_letter {
    str from, to; /* addresses */
    str message;  /* RFC 5322, lines end in CRLF */
};
/* Whether a URL is one that smtp_send takes, and its host. */
WARN_UNUSED enum errc smtp_url_parse(str url, str *host, bool *is_tls, err *e);
/* is_cancelled is asked about once a second; may be NULL. */
WARN_UNUSED enum errc smtp_send(const struct smtp_server *server, const struct smtp_letter *letter,
                                bool (*is_cancelled)(void *ctx), void *ctx, struct arena *a, err *e);

#endif
