/* http_head_check.h - what must hold for every message head, shared by the fuzz targets of both directions.
 *
 * - However the bytes are cut, finding and parsing end the same.
 * - All slices lie inside the head; names are tokens and values hold no control bytes.
 * - A head written anew from its parts is read as the same message: what a proxy passes on is what it
 * understood.
 */
#ifndef FUZZ_HTTP_HEAD_CHECK_H
#define FUZZ_HTTP_HEAD_CHECK_H

#include <stdlib.h>

#include "net/http1.h"

#define REQUIRE(claim)                                                                                       \
    do {                                                                                                     \
        if (!(claim)) abort();                                                                               \
    } while (0)

enum head_kind { HEAD_REQUEST, HEAD_RESPONSE, HEAD_RESPONSE_TO_HEAD };

struct head_outcome {
    enum errc code;
    bool is_incomplete;
    char *base; /* exactly as long as what had arrived */
    size_t len; /* of the head */
    struct http_head head;
};

static enum errc head_parse(str text, enum head_kind kind, const struct http_limits *limits,
                            struct http_head *out)
{
    err e = {0};
    enum errc rc = kind == HEAD_REQUEST
                       ? http_parse_request(text, limits, out, &e)
                       : http_parse_response(text, limits, kind == HEAD_RESPONSE_TO_HEAD, out, &e);
    REQUIRE(rc == e.code);
    REQUIRE((rc == ERR_NONE) == (e.msg[0] == '\0'));
    return rc;
}

/* The text arrives up to `cut`, then as a whole in other memory. */
static struct head_outcome head_read(str text, size_t cut, enum head_kind kind,
                                     const struct http_limits *limits)
{
    struct head_outcome o = {.code = ERR_NONE, .is_incomplete = true};
    struct http_head_scan scan;
    http_head_scan_init(&scan);
    for (int i = cut < text.len ? 0 : 1; i < 2 && o.is_incomplete; i++) {
        size_t n = i == 0 ? cut : text.len;
        err e = {0};
        free(o.base);
        o.base = malloc(n > 0 ? n : 1);
        REQUIRE(o.base != NULL);
        if (n > 0) memcpy(o.base, text.p, n);
        enum http_progress progress = http_head_find(&scan, str_of(o.base, n), limits, &o.len, &e);
        REQUIRE((progress == HTTP_BAD) == (e.code != ERR_NONE));
        REQUIRE(scan.at <= n && scan.line <= scan.at);
        o.is_incomplete = progress == HTTP_MORE;
        o.code = e.code;
        if (progress == HTTP_DONE) {
            REQUIRE(o.len <= n && o.len <= limits->head_bytes);
            o.code = head_parse(str_of(o.base, o.len), kind, limits, &o.head);
        }
    }
    return o;
}

static void head_slice(const struct head_outcome *a, str x, const struct head_outcome *b, str y)
{
    REQUIRE(x.len == y.len && (x.p == NULL) == (y.p == NULL));
    if (x.p == NULL) {
        REQUIRE(x.len == 0);
        return;
    }
    REQUIRE(x.p >= a->base && x.len <= a->len && x.p + x.len <= a->base + a->len);
    REQUIRE(x.p - a->base == y.p - b->base);
}

static void head_same(const struct head_outcome *a, const struct head_outcome *b)
{
    const struct http_head *x = &a->head, *y = &b->head;
    REQUIRE(a->code == b->code && a->is_incomplete == b->is_incomplete);
    if (a->code != ERR_NONE || a->is_incomplete) return;
    REQUIRE(a->len == b->len);
    REQUIRE(x->method == y->method && x->status == y->status && x->minor_version == y->minor_version);
    REQUIRE(x->keeps_alive == y->keeps_alive && x->asks_upgrade == y->asks_upgrade);
    REQUIRE(x->expects_continue == y->expects_continue && x->connection_at == y->connection_at);
    REQUIRE(x->framing == y->framing && x->content_length == y->content_length && x->n_fields == y->n_fields);
    head_slice(a, x->method_text, b, y->method_text);
    head_slice(a, x->target, b, y->target);
    head_slice(a, x->path, b, y->path);
    head_slice(a, x->query, b, y->query);
    head_slice(a, x->host, b, y->host);
    head_slice(a, x->reason, b, y->reason);
    head_slice(a, x->content_type, b, y->content_type);
    head_slice(a, x->content_encoding, b, y->content_encoding);
    for (unsigned i = 0; i < x->n_fields; i++) {
        head_slice(a, x->fields[i].name, b, y->fields[i].name);
        head_slice(a, x->fields[i].value, b, y->fields[i].value);
    }
}

/* Claims about single fields, written without the parser's own tables. */
static void head_fields(const struct http_head *h, const struct http_limits *limits)
{
    unsigned n_length = 0, n_coding = 0;
    REQUIRE(h->n_fields <= limits->headers && h->n_fields <= HTTP_HEADERS_MAX);
    for (unsigned i = 0; i < h->n_fields; i++) {
        str name = h->fields[i].name, value = h->fields[i].value;
        REQUIRE(name.len > 0);
        for (size_t k = 0; k < name.len; k++) {
            REQUIRE(name.p[k] > ' ' && name.p[k] < 0x7f && strchr("\"(),/:;<=>?@[\\]{}", name.p[k]) == NULL);
        }
        for (size_t k = 0; k < value.len; k++) {
            uint8_t c = (uint8_t)value.p[k];
            REQUIRE((c >= ' ' && c != 0x7f) || c == '\t');
        }
        REQUIRE(value.len == 0 || (value.p[0] != ' ' && value.p[0] != '\t'));
        REQUIRE(value.len == 0 || (value.p[value.len - 1] != ' ' && value.p[value.len - 1] != '\t'));
        REQUIRE(http_field(h, name) != NULL);
        n_length += str_ieq(name, S("content-length"));
        n_coding += str_ieq(name, S("transfer-encoding"));
        if (str_ieq(name, S("connection"))) REQUIRE(http_field_is_hop(h, name) && h->connection_at > 0);
    }
    REQUIRE(n_length + n_coding <= 1);
    if (h->framing == HTTP_BODY_LENGTH) REQUIRE(n_length == 1);
    if (h->framing == HTTP_BODY_CHUNKED) REQUIRE(n_coding == 1 && h->minor_version == 1);
}

static void head_written_anew(const struct http_head *h, enum head_kind kind)
{
    const struct http_limits limits = {.head_bytes = 1 << 20, .headers = HTTP_HEADERS_MAX};
    struct http_head again;
    struct buf b;
    buf_init(&b, limits.head_bytes);
    if (kind == HEAD_REQUEST) {
        buf_addf(&b, "%.*s %.*s HTTP/1.%d\r\n", STR(h->method_text), STR(h->target), h->minor_version);
    } else {
        buf_addf(&b, "HTTP/1.%d %d %.*s\r\n", h->minor_version, h->status, STR(h->reason));
    }
    for (unsigned i = 0; i < h->n_fields; i++) {
        buf_addf(&b, "%.*s: %.*s\r\n", STR(h->fields[i].name), STR(h->fields[i].value));
    }
    buf_add(&b, S("\r\n"));
    REQUIRE(buf_err(&b) == ERR_NONE);
    REQUIRE(head_parse(buf_str(&b), kind, &limits, &again) == ERR_NONE);
    REQUIRE(again.framing == h->framing && again.content_length == h->content_length);
    REQUIRE(again.n_fields == h->n_fields && again.method == h->method && again.status == h->status);
    REQUIRE(again.keeps_alive == h->keeps_alive && again.expects_continue == h->expects_continue);
    REQUIRE(str_eq(again.host, h->host) && str_eq(again.path, h->path) && str_eq(again.query, h->query));
    REQUIRE(str_eq(again.content_type, h->content_type) &&
            str_eq(again.content_encoding, h->content_encoding));
    for (unsigned i = 0; i < h->n_fields; i++)
        REQUIRE(str_eq(again.fields[i].value, h->fields[i].value));
    buf_fini(&b);
}

static void head_check(str text, enum head_kind kind, const struct http_limits *limits)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < text.len; i++)
        hash = (hash ^ (uint8_t)text.p[i]) * 16777619u;

    struct head_outcome whole = head_read(text, text.len, kind, limits);
    /* Short heads are cut everywhere, long ones at eight places that the input decides. */
    size_t n_cuts = text.len <= 64 ? text.len : 8;
    for (size_t i = 0; i < n_cuts; i++, hash = hash * 1664525u + 1013904223u) {
        size_t cut = text.len <= 64 ? i : hash % text.len;
        struct head_outcome split = head_read(text, cut, kind, limits);
        head_same(&whole, &split);
        free(split.base);
    }
    if (whole.code == ERR_NONE && !whole.is_incomplete) {
        head_fields(&whole.head, limits);
        head_written_anew(&whole.head, kind);
    }
    free(whole.base);
}

#endif
