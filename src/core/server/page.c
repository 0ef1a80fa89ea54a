#include "core/page.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/crypto.h"
#include "base/random.h"

#ifndef PAGE_PACK_PATH
#error "PAGE_PACK_PATH must be the absolute path of the packed page as a string"
#endif

__asm__(".section .rodata\n"
        ".hidden catalyst_page_pack\n"
        ".hidden catalyst_page_pack_end\n"
        ".globl catalyst_page_pack\n"
        ".globl catalyst_page_pack_end\n"
        "catalyst_page_pack:\n"
        ".incbin \"" PAGE_PACK_PATH "\"\n"
        "catalyst_page_pack_end:\n"
        ".byte 0\n"
        ".previous\n");
extern const char catalyst_page_pack[] __attribute__((visibility("hidden")));
extern const char catalyst_page_pack_end[] __attribute__((visibility("hidden")));

#define MAGIC S("catalyst-page 1\n")
#define TABLE_BYTES_MAX (1u << 20) /* of the names and routes that are kept */
#define PREFIX_MAX 200
#define NONCE_BYTES 16
#define NONCE_LEN (2 * NONCE_BYTES)
#define FIELDS_MAX 1400            /* of the header fields of one answer */

enum page_coding { PAGE_PLAIN, PAGE_GZIP, PAGE_BROTLI, PAGE_CODINGS };
static const str coding_names[PAGE_CODINGS] = {STR_LIT(""), STR_LIT("gzip"), STR_LIT("br")};

struct asset {
    str name, type, hash;
    str bytes[PAGE_CODINGS]; /* empty: not in this coding */
};

struct page {
    struct arena arena;
    str html_head, html_tail; /* the nonce stands between them */
    struct asset *assets;
    str *paths;
    unsigned n_assets, n_paths;
};

/* What no page of ours needs, whatever a script may think of; passkeys are for our own origin, in no frame. */
#define PERMISSIONS                                                                                                                                  \
    "accelerometer=(), autoplay=(), camera=(), display-capture=(), encrypted-media=(), fullscreen=(), geolocation=(), gyroscope=(), hid=(), "        \
    "idle-detection=(), magnetometer=(), microphone=(), midi=(), payment=(), picture-in-picture=(), publickey-credentials-get=(self), "                  \
    "screen-wake-lock=(), serial=(), usb=(), xr-spatial-tracking=()"

/* --- reading the pack --- */

static str field(str *line) { return str_cut(line, '\t'); }

static bool slice(str bytes, str *line, str *out)
{
    uint64_t at, len;
    if (!str_to_u64(field(line), &at) || !str_to_u64(field(line), &len) || at > bytes.len || len > bytes.len - at)
        return false;
    *out = str_of(bytes.p + at, (size_t)len);
    return true;
}

static bool read_asset(str bytes, str line, struct asset *out)
{
    out->name = field(&line);
    out->type = field(&line);
    out->hash = field(&line);
    return out->name.len && out->type.len && out->hash.len && slice(bytes, &line, &out->bytes[PAGE_PLAIN]) &&
           slice(bytes, &line, &out->bytes[PAGE_GZIP]) && slice(bytes, &line, &out->bytes[PAGE_BROTLI]) && line.len == 0;
}

/* The HTML with every @BASE@ replaced, in two parts around its one @NONCE@. */
static bool read_html(struct page *p, str html, str base)
{
    str mark = S("@BASE@"), nonce = S("@NONCE@"), out;
    struct buf text;
    ptrdiff_t at;
    buf_init(&text, html.len + 64 * (base.len + 1));
    while ((at = str_find(html, mark)) >= 0) {
        buf_add(&text, str_take(html, (size_t)at));
        buf_add(&text, base);
        html = str_skip(html, (size_t)at + mark.len);
    }
    buf_add(&text, html);
    out = text.failed ? S("") : str_dup(&p->arena, buf_str(&text));
    buf_fini(&text);
    if (!out.p || (at = str_find(out, nonce)) < 0)
        return false;
    p->html_head = str_take(out, (size_t)at);
    p->html_tail = str_skip(out, (size_t)at + nonce.len);
    return true;
}

static bool read_pack(struct page *p, str pack, str base)
{
    ptrdiff_t end = str_find(pack, S("\n\n"));
    unsigned n_lines = 0;
    bool has_html = false;
    if (!str_starts(pack, MAGIC) || end < 0)
        return false;
    str bytes = str_skip(pack, (size_t)end + 2), lines = str_skip(str_take(pack, (size_t)end + 1), MAGIC.len);
    for (size_t i = 0; i < lines.len; i++)
        n_lines += lines.p[i] == '\n';
    p->assets = arena_alloc(&p->arena, (n_lines + 1) * sizeof *p->assets);
    p->paths = arena_alloc(&p->arena, (n_lines + 1) * sizeof *p->paths);
    if (!p->assets || !p->paths)
        return false;
    while (lines.len) {
        str line = str_cut(&lines, '\n'), kind = field(&line), html;
        if (str_eq(kind, S("asset"))) {
            if (!read_asset(bytes, line, &p->assets[p->n_assets++]))
                return false;
        } else if (str_eq(kind, S("route"))) {
            p->paths[p->n_paths++] = line;
        } else if (str_eq(kind, S("html"))) {
            if (!slice(bytes, &line, &html) || !read_html(p, html, base))
                return false;
            has_html = true;
        } else {
            return false;
        }
    }
    return has_html || p->n_assets + p->n_paths == 0;
}

static bool is_prefix_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/' || c == '-' || c == '_' || c == '.' || c == '~';
}

enum errc page_of(struct page **out, str pack, str path_prefix, err *e)
{
    char base[PREFIX_MAX + 2];
    bool is_good = path_prefix.len == 0 || (path_prefix.len <= PREFIX_MAX && path_prefix.p[0] == '/' && !str_ends(path_prefix, S("/")));
    for (size_t i = 0; i < path_prefix.len; i++)
        is_good = is_good && is_prefix_char(path_prefix.p[i]);
    if (!is_good)
        return err_set(e, ERR_CONFIG, "listen.path_prefix '%.*s' must look like /catalyst: a slash, then letters, digits, '-', '_', '.', '~'",
                       STR(str_take(path_prefix, 60)));
    struct page *p = calloc(1, sizeof *p);
    if (!p)
        return err_code(e, ERR_NO_MEMORY);
    arena_init(&p->arena, TABLE_BYTES_MAX, 4096);
    int n = snprintf(base, sizeof base, "%.*s/", STR(path_prefix));
    if (!read_pack(p, pack, str_of(base, (size_t)n))) {
        page_free(p);
        return err_set(e, ERR_INTERNAL, "the embedded web page is damaged");
    }
    *out = p;
    return ERR_NONE;
}

enum errc page_new(struct page **out, str path_prefix, err *e)
{
    return page_of(out, str_of(catalyst_page_pack, (size_t)(catalyst_page_pack_end - catalyst_page_pack)), path_prefix, e);
}

void page_free(struct page *p)
{
    if (!p)
        return;
    arena_fini(&p->arena);
    free(p);
}

bool page_is_there(const struct page *p) { return p->html_head.len > 0; }

/* --- what a request asks for --- */

/* "q=0", "q=0.000": the client does not want it. */
static bool is_refused(str parameters)
{
    while (parameters.len) {
        str value = str_trim(str_cut(&parameters, ';'));
        if (!str_ieq(str_take(value, 2), S("q=")))
            continue;
        value = str_skip(value, 2);
        for (size_t i = 0; i < value.len; i++)
            if (value.p[i] != '0' && value.p[i] != '.')
                return false;
        return true;
    }
    return false;
}

/* Whether a list such as Accept or Accept-Encoding names it with a weight above 0. */
static bool accepts(const struct http_head *h, str field_name, str what)
{
    const str *value = http_field(h, field_name);
    str rest = value ? *value : S("");
    while (rest.len) {
        str parameters = str_cut(&rest, ','), name = str_trim(str_cut(&parameters, ';'));
        if (str_ieq(name, what))
            return !is_refused(parameters);
    }
    return false;
}

static bool has_etag(const struct http_head *h, str etag)
{
    const str *value = http_field(h, S("if-none-match"));
    str rest = value ? *value : S("");
    while (rest.len) {
        str tag = str_trim(str_cut(&rest, ','));
        if (str_starts(tag, S("W/")))
            tag = str_skip(tag, 2);
        if (str_eq(tag, etag) || str_eq(tag, S("*")))
            return true;
    }
    return false;
}

static bool path_fits(str pattern, str path)
{
    while (pattern.len && path.len) {
        str want = str_cut(&pattern, '/'), got;
        if (str_eq(want, S(":rest")) && pattern.len == 0)
            return path.len > 0;
        got = str_cut(&path, '/');
        if (str_starts(want, S(":")) ? got.len == 0 : !str_eq(want, got))
            return false;
    }
    return pattern.len == 0 && path.len == 0;
}

static bool is_page_path(const struct page *p, str path)
{
    if (path.len > 1 && str_ends(path, S("/")))
        path = str_take(path, path.len - 1);
    for (unsigned i = 0; i < p->n_paths; i++)
        if (str_eq(p->paths[i], path) || path_fits(str_skip(p->paths[i], 1), str_skip(path, 1)))
            return true;
    return str_eq(path, S("/"));
}

/* --- answers --- */

static void reply_html(const struct page *p, struct http_conn *c, int status)
{
    uint8_t random[NONCE_BYTES];
    char nonce[NONCE_LEN + 1], fields[FIELDS_MAX];
    struct buf body;
    random_bytes(random, sizeof random);
    hex_encode(random, sizeof random, nonce);
    int n = snprintf(fields, sizeof fields,
                     "Cache-Control: no-cache\r\n"
                     "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self' 'nonce-%s'; img-src 'self' data:; "
                     "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
                     "require-trusted-types-for 'script'; trusted-types 'none'\r\n"
                     "Strict-Transport-Security: max-age=63072000; includeSubDomains\r\n"
                     "X-Content-Type-Options: nosniff\r\n"
                     "Referrer-Policy: no-referrer\r\n"
                     "Cross-Origin-Opener-Policy: same-origin\r\n"
                     "Cross-Origin-Resource-Policy: same-origin\r\n"
                     "Permissions-Policy: " PERMISSIONS "\r\n",
                     nonce);
    buf_init(&body, p->html_head.len + NONCE_LEN + p->html_tail.len);
    buf_add(&body, p->html_head);
    buf_add(&body, str_of(nonce, NONCE_LEN));
    buf_add(&body, p->html_tail);
    if (body.failed) {
        err e;
        err_code(&e, ERR_NO_MEMORY);
        problem_reply(c, &e, S(""));
    } else {
        http_reply(c, status, S("text/html; charset=utf-8"), str_of(fields, (size_t)n), buf_str(&body));
    }
    buf_fini(&body);
}

static void handle_root(void *service, struct http_conn *c, const struct route *route, const struct http_request *r)
{
    const struct page *p = service;
    (void)route;
    if (page_is_there(p) && accepts(r->head, S("accept"), S("text/html"))) {
        reply_html(p, c, 200);
        return;
    }
    http_reply(c, 200, S("text/plain; charset=utf-8"), S("Vary: Accept\r\nX-Content-Type-Options: nosniff\r\n"),
               page_is_there(p) ? S("Catalyst is running. Open this address in a browser; point an OpenAI SDK at /v1 and an Anthropic SDK at this "
                                    "address, with a key of Catalyst's.\n")
                                : S("Catalyst is running. Point an OpenAI SDK at /v1 and an Anthropic SDK at this address, with a key of Catalyst's. "
                                    "This program was built without the web page.\n"));
}

static void handle_asset(void *service, struct http_conn *c, const struct route *route, const struct http_request *r)
{
    const struct page *p = service;
    const struct asset *asset = NULL;
    str name = route_rest(route, r->head->path);
    enum page_coding coding = PAGE_PLAIN;
    char etag[80], fields[FIELDS_MAX];
    for (unsigned i = 0; i < p->n_assets && !asset; i++)
        if (str_eq(p->assets[i].name, name))
            asset = &p->assets[i];
    if (!asset) {
        err e;
        err_set(&e, ERR_NOT_FOUND, "there is nothing at %.*s", STR(str_take(r->head->path, 120)));
        problem_reply(c, &e, S("Cache-Control: no-store\r\n"));
        return;
    }
    for (enum page_coding i = PAGE_CODINGS - 1; i > PAGE_PLAIN && coding == PAGE_PLAIN; i--)
        if (asset->bytes[i].len && accepts(r->head, S("accept-encoding"), coding_names[i]))
            coding = i;
    bool is_coded = coding != PAGE_PLAIN;
    int n = snprintf(etag, sizeof etag, "\"%.*s%s%.*s\"", STR(asset->hash), is_coded ? "-" : "", STR(coding_names[coding]));
    str tag = str_of(etag, (size_t)n);
    bool is_known = has_etag(r->head, tag);
    n = snprintf(fields, sizeof fields,
                 "Cache-Control: public, max-age=31536000, immutable\r\n"
                 "ETag: %s\r\n"
                 "%s%.*s%s"
                 "Vary: Accept-Encoding\r\n"
                 "X-Content-Type-Options: nosniff\r\n"
                 "Cross-Origin-Resource-Policy: same-origin\r\n",
                 etag, is_coded ? "Content-Encoding: " : "", STR(coding_names[coding]), is_coded ? "\r\n" : "");
    http_reply(c, is_known ? 304 : 200, is_known ? S("") : asset->type, str_of(fields, (size_t)n), is_known ? S("") : asset->bytes[coding]);
}

/* Any path that nobody else has. The page's own paths and a browser's mistakes get the page, which shows its own "not found". */
static void handle_rest(void *service, struct http_conn *c, const struct route *route, const struct http_request *r)
{
    const struct page *p = service;
    (void)route;
    if (page_is_there(p) && accepts(r->head, S("accept"), S("text/html"))) {
        reply_html(p, c, is_page_path(p, r->head->path) ? 200 : 404);
        return;
    }
    err e;
    err_set(&e, ERR_NOT_FOUND, "there is nothing at %.*s", STR(str_take(r->head->path, 120)));
    problem_reply(c, &e, S(""));
}

static const struct route routes[] = {
    {HTTP_GET, STR_LIT("/"), ROUTE_NO_BODY, 0, NULL, handle_root},
    {HTTP_GET, STR_LIT("/assets/:rest"), ROUTE_NO_BODY, 0, NULL, handle_asset},
    {HTTP_GET, STR_LIT("/:rest"), ROUTE_NO_BODY, 0, NULL, handle_rest},
};

const struct route_table page_routes = {STR_LIT(""), routes, LENGTH_OF(routes), NULL};
