/* url.h - http and https URLs as configuration and redirects need them (RFC 3986 subset): scheme, host, port,
 * path, query.
 *
 * No user information (refused: secrets do not belong in URLs), no fragments, ports 1 to 65535, IPv6 in
 * brackets, hosts of letters, digits, '-', '.', '_'. Error messages never repeat the text, for it may hold a
 * secret after all. Threads: pure; slices of the input.
 */
#ifndef NET_URL_H
#define NET_URL_H

#include "base/err.h"

/* "host", "host:port", "[v6]" or "[v6]:port": the authority of a URL, and the value of a Host field. */
struct url_authority {
    str host; /* without brackets; 1 to 255 bytes */
    bool is_ipv6;
    bool has_port;
    uint16_t port; /* 0 when absent */
};

/* False when the text is none; port 0 is refused. */
WARN_UNUSED bool url_authority_parse(str text, struct url_authority *out);

struct url {
    bool is_tls; /* https */
    str host;    /* without brackets */
    bool is_ipv6;
    uint16_t port; /* the scheme's default when absent */
    bool has_port;
    str path;  /* starts with '/', or empty */
    str query; /* without '?'; p == NULL when there was no '?' */
};

/* ERR_INVALID. */
WARN_UNUSED enum errc url_parse(str text, struct url *out, err *e);
/* "host:port", ":port" or "[v6]:port" for listening; *host is empty for all addresses. Port 0 lets the
 * system choose. ERR_INVALID. */
WARN_UNUSED enum errc url_parse_listen(str text, str *host, uint16_t *port, err *e);
/* Whether the host (without brackets) is 127.0.0.0/8, also mapped into IPv6, ::1 or "localhost". */
bool url_host_is_loopback(str host);
/* Percent-decodes into out (at least s.len bytes); false on a malformed escape or a decoded NUL. '+'
 * stays. */
WARN_UNUSED bool url_decode(str s, char *out, size_t *out_len);
/* The still encoded value of the first query parameter of that name, p == NULL when absent. */
str url_query_get(str query, str name);

#endif
