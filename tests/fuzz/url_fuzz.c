/* URLs: what is accepted lies inside the input, holds no bytes that could end a header line or a host, and
 * means the same when it is written anew. */
#include <stdlib.h>

#include "base/buf.h"
#include "net/url.h"

#define REQUIRE(claim)                                                                                       \
    do {                                                                                                     \
        if (!(claim)) abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(str text, str part)
{
    if (part.len > 0) REQUIRE(part.p >= text.p && part.p + part.len <= text.p + text.len);
}

static void visible_without(str part, const char *refused)
{
    for (size_t i = 0; i < part.len; i++) {
        REQUIRE(part.p[i] > ' ' && part.p[i] < 0x7f && strchr(refused, part.p[i]) == NULL);
    }
}

static void check_url(str text)
{
    struct url u, again;
    err e = {0};
    enum errc rc = url_parse(text, &u, &e);
    REQUIRE(rc == e.code && (rc == ERR_NONE || rc == ERR_INVALID));
    if (rc != ERR_NONE) return;
    inside(text, u.host);
    inside(text, u.path);
    inside(text, u.query);
    REQUIRE(u.host.len > 0 && u.port > 0);
    REQUIRE(u.path.len == 0 || u.path.p[0] == '/');
    visible_without(u.host, u.is_ipv6 ? "@/?#\\[]%" : "@/?#\\[]%:");
    visible_without(u.path, "?#\\");
    visible_without(u.query, "#\\");

    struct buf b;
    buf_init(&b, text.len + 64);
    buf_addf(&b, "%s://%s%.*s%s:%u%.*s%s%.*s", u.is_tls ? "https" : "http", u.is_ipv6 ? "[" : "", STR(u.host),
             u.is_ipv6 ? "]" : "", (unsigned)u.port, STR(u.path), u.query.p ? "?" : "", STR(u.query));
    REQUIRE(buf_err(&b) == ERR_NONE);
    REQUIRE(url_parse(buf_str(&b), &again, NULL) == ERR_NONE);
    REQUIRE(again.is_tls == u.is_tls && again.is_ipv6 == u.is_ipv6 && again.port == u.port);
    REQUIRE(str_eq(again.host, u.host) && str_eq(again.path, u.path) && str_eq(again.query, u.query));
    url_host_is_loopback(u.host);
    buf_fini(&b);
}

static void check_authorities(str text)
{
    struct url_authority a;
    str host;
    uint16_t port;
    if (url_authority_parse(text, &a)) {
        inside(text, a.host);
        REQUIRE(a.host.len > 0 && a.host.len <= 255 && a.has_port == (a.port != 0));
        /* What Host may be is what a URL may name. */
        struct buf b;
        struct url u;
        buf_init(&b, text.len + 16);
        buf_add(&b, S("http://"));
        buf_add(&b, text);
        REQUIRE(url_parse(buf_str(&b), &u, NULL) == ERR_NONE && str_eq(u.host, a.host));
        buf_fini(&b);
    }
    if (url_parse_listen(text, &host, &port, NULL) == ERR_NONE) {
        inside(text, host);
        REQUIRE(text.len > host.len);
    }
    url_host_is_loopback(text);
}

static void check_decoding(str text)
{
    char *out = malloc(text.len > 0 ? text.len : 1);
    size_t len = 0;
    REQUIRE(out != NULL);
    if (url_decode(text, out, &len)) {
        REQUIRE(len <= text.len && (len == 0 || memchr(out, '\0', len) == NULL));
        if (text.len > 0 && memchr(text.p, '%', text.len) == NULL) REQUIRE(str_eq(str_of(out, len), text));
    }
    free(out);
    str rest = text, name = str_cut(&rest, '=');
    str value = url_query_get(text, name);
    inside(text, value);
    if (name.len < text.len && str_chr(name, '&') < 0) REQUIRE(value.p != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1);
    REQUIRE(copy != NULL);
    if (size > 0) memcpy(copy, data, size);
    check_url(str_of(copy, size));
    check_authorities(str_of(copy, size));
    check_decoding(str_of(copy, size));
    free(copy);
    return 0;
}
