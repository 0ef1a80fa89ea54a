#include "net/url.h"

#include <arpa/inet.h>

#include "net/bytes.h"

enum { HOST_BYTES_MAX = 255, IPV6_TEXT_MAX = 45 };

/* inet_pton wants a NUL behind the text. */
static bool parse_ip(int family, str text, void *out)
{
    char copy[IPV6_TEXT_MAX + 1];
    if (text.len == 0 || text.len > IPV6_TEXT_MAX || memchr(text.p, '\0', text.len) != NULL) return false;
    memcpy(copy, text.p, text.len);
    copy[text.len] = '\0';
    return inet_pton(family, copy, out) == 1;
}

static bool parse_host(str text, bool is_ipv6)
{
    struct in6_addr v6;
    if (is_ipv6) return parse_ip(AF_INET6, text, &v6);
    if (text.len == 0 || text.len > HOST_BYTES_MAX) return false;
    for (size_t i = 0; i < text.len; i++) {
        if (!byte_is(text.p[i], BYTE_HOST)) return false;
    }
    return true;
}

/* 1 to 5 digits. */
static bool parse_port(str text, uint16_t *out)
{
    uint64_t port;
    if (text.len > 5 || !str_to_u64(text, &port) || port > UINT16_MAX) return false;
    *out = (uint16_t)port;
    return true;
}

/* Cuts off the host; *rest is empty or begins with the byte behind it. */
static bool split_host(str text, str *host, bool *is_ipv6, str *rest)
{
    *is_ipv6 = text.len > 0 && text.p[0] == '[';
    ptrdiff_t end = str_chr(text, *is_ipv6 ? ']' : ':');
    if (*is_ipv6 && end < 0) return false;
    size_t n = end < 0 ? text.len : (size_t)end;
    *host = *is_ipv6 ? str_of(text.p + 1, n - 1) : str_take(text, n);
    *rest = str_skip(text, *is_ipv6 ? n + 1 : n);
    return true;
}

bool url_authority_parse(str text, struct url_authority *out)
{
    str rest;
    *out = (struct url_authority){.host = {NULL, 0}};
    if (!split_host(text, &out->host, &out->is_ipv6, &rest) || !parse_host(out->host, out->is_ipv6))
        return false;
    if (rest.len == 0) return true;
    out->has_port = true;
    return rest.p[0] == ':' && parse_port(str_skip(rest, 1), &out->port) && out->port != 0;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static bool is_escape(str s, size_t i)
{
    return s.len - i >= 3 && hex_value(s.p[i + 1]) >= 0 && hex_value(s.p[i + 2]) >= 0;
}

enum errc url_parse(str text, struct url *out, err *e)
{
    struct url_authority authority;
    *out = (struct url){.host = {NULL, 0}};
    size_t scheme = 0;
    if (str_ieq(str_take(text, 7), S("http://"))) scheme = 7;
    if (str_ieq(str_take(text, 8), S("https://"))) scheme = 8;
    if (scheme == 0) return err_set(e, ERR_INVALID, "the URL begins with neither http:// nor https://");

    str rest = str_skip(text, scheme);
    size_t n = 0;
    while (n < rest.len && rest.p[n] != '/' && rest.p[n] != '?' && rest.p[n] != '#')
        n++;
    if (str_chr(str_take(rest, n), '@') >= 0) {
        return err_set(e, ERR_INVALID, "the URL holds user information; credentials do not belong in URLs");
    }
    if (!url_authority_parse(str_take(rest, n), &authority)) {
        return err_set(e, ERR_INVALID, "the URL has no valid host with an optional port from 1 to 65535");
    }
    rest = str_skip(rest, n);
    for (size_t i = 0; i < rest.len; i++) {
        if (rest.p[i] == '#') return err_set(e, ERR_INVALID, "the URL has a fragment");
        /* What RFC 3986 lets stand in paths and queries; a backslash is a slash to some and none to
         * others. */
        if (!byte_is(rest.p[i], BYTE_TARGET) || strchr("\"<>\\^`{|}", rest.p[i]) != NULL) {
            return err_set(e, ERR_INVALID, "the URL holds a byte that has to be percent-encoded");
        }
        if (rest.p[i] == '%' && !is_escape(rest, i)) {
            return err_set(e, ERR_INVALID, "the URL has a '%%' that begins no escape");
        }
    }

    ptrdiff_t mark = str_chr(rest, '?');
    out->is_tls = scheme == 8;
    out->host = authority.host;
    out->is_ipv6 = authority.is_ipv6;
    out->has_port = authority.has_port;
    out->port = authority.has_port ? authority.port : out->is_tls ? 443 : 80;
    out->path = mark < 0 ? rest : str_take(rest, (size_t)mark);
    if (mark >= 0) out->query = str_skip(rest, (size_t)mark + 1);
    return ERR_NONE;
}

enum errc url_parse_listen(str text, str *host, uint16_t *port, err *e)
{
    bool is_ipv6;
    str rest;
    if (!split_host(text, host, &is_ipv6, &rest) ||
        ((host->len > 0 || is_ipv6) && !parse_host(*host, is_ipv6)) || rest.len == 0 || rest.p[0] != ':' ||
        !parse_port(str_skip(rest, 1), port)) {
        return err_set(
            e, ERR_INVALID,
            "the listening address is none of HOST:PORT, :PORT and [IPV6]:PORT with a port up to 65535");
    }
    return ERR_NONE;
}

bool url_host_is_loopback(str host)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}; /* ::ffff:0:0/96, RFC 4291 2.5.5.2 */
    struct in_addr v4;
    struct in6_addr v6;
    if (str_ieq(host, S("localhost"))) return true;
    if (parse_ip(AF_INET, host, &v4)) return ntohl(v4.s_addr) >> 24 == 127;
    if (!parse_ip(AF_INET6, host, &v6)) return false;
    return IN6_IS_ADDR_LOOPBACK(&v6) ||
           (memcmp(v6.s6_addr, mapped, sizeof mapped) == 0 && v6.s6_addr[12] == 127);
}

bool url_decode(str s, char *out, size_t *out_len)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];
        if (c == '%') {
            if (!is_escape(s, i)) return false;
            c = (char)(hex_value(s.p[i + 1]) << 4 | hex_value(s.p[i + 2]));
            i += 2;
        }
        if (c == '\0') return false;
        out[n++] = c;
    }
    *out_len = n;
    return true;
}

str url_query_get(str query, str name)
{
    while (query.len > 0) {
        str value = str_cut(&query, '&');
        str key = str_cut(&value, '=');
        if (str_eq(key, name)) return value;
    }
    return (str){NULL, 0};
}
