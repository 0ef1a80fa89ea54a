/* url.h - http and https URLs as configuration and redirects need them (RFC 3986 subset): scheme, host, port, path, query.
 *
 * No user information (refused: secrets do not belong in URLs), no fragments in base URLs, ports 1 to 65535, IPv6 in brackets, hosts of letters, digits, '-', '.', '_'.
 * Threads: pure; slices of the input.
 */
#ifndef NET_URL_H
#define NET_URL_H

#include "base/err.h"

struct url {
    bool is_tls;    /* https */
    str host;       /* without brackets */
    bool is_ipv6;
    uint16_t port;  /* the scheme's default when absent */
    bool has_port;
    str path;       /* starts with '/', or empty */
    str query;      /* without '?' */
};

WARN_UNUSED enum errc url_parse(str text, struct url *out, err *e);
/* "host:port", ":port" or "[v6]:port" for listening; *host is empty for all addresses. */
WARN_UNUSED enum errc url_parse_listen(str text, str *host, uint16_t *port, err *e);
/* Whether the host is 127.0.0.0/8, ::1 or "localhost". */
bool url_host_is_loopback(str host);
/* Percent-decodes into out (at least s.len bytes); false on a malformed escape or a decoded NUL. */
WARN_UNUSED bool url_decode(str s, char *out, size_t *out_len);
/* The still encoded value of a query parameter, p == NULL when absent. */
str url_query_get(str query, str name);

#endif
