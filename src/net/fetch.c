#include "net/fetch.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/random.h"
#include "base/version.h"
#include "net/loop.h"
#include "net/tls.h"

#define ANSWER_MAX_DEFAULT (8u << 20)
#define CONNECT_TIMEOUT_MS 10000
#define DEADLINE_MS 30000
#define FIELDS_MAX 256
#define FIELD_BYTES_MAX (64u << 10) /* of all answer fields together */
#define PAUSE_FIRST_MS 200
#define PAUSE_MAX_MS 10000
#define CANCEL_LOOK_MS 50

/* One fetch, over all its tries and redirects. */
struct fetching {
    struct outbound *outbound;
    struct arena *arena;
    const struct fetch_request *request;
    usec until_us; /* monotonic */
    /* of the request in progress */
    const char *url;
    str method, body;
    bool is_other_origin, allows_local;
    /* of the try in progress */
    struct outbound_route route;
    struct buf answer;
    size_t n_given; /* bytes to on_piece */
    struct fetch_field fields[FIELDS_MAX];
    unsigned n_fields;
    size_t field_bytes;
    int status;
    bool is_refused; /* an address was */
    char refused[64];
    err e; /* of a callback */
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static void curl_start(void) { curl_global_init(CURL_GLOBAL_DEFAULT); }

static bool is_cancelled(const struct fetching *f)
{
    return f->request->is_cancelled && atomic_load(f->request->is_cancelled);
}

static int64_t left_ms(const struct fetching *f) { return (f->until_us - clock_mono_us()) / USEC_PER_MS; }

/* --- libcurl's callbacks --- */

static curl_socket_t on_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct fetching *f = ctx;
    struct address address;
    bool is_known = address_of(&to->addr, &address);
    if (purpose != CURLSOCKTYPE_IPCXN || !is_known) return CURL_SOCKET_BAD;
    if (!f->route.proxy_host && !address_may_connect(&address, &f->route.allowed, f->route.allows_local)) {
        f->is_refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* Once a name has an address that may not be reached, no other of its addresses is tried either: what a name means must not
 * depend on the order in which they fail. libcurl asks here before each connection and after each failure. */
static int on_progress(void *ctx, curl_off_t down_all, curl_off_t down, curl_off_t up_all, curl_off_t up)
{
    struct fetching *f = ctx;
    (void)down_all, (void)down, (void)up_all, (void)up;
    return is_cancelled(f) || f->is_refused;
}

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
    struct fetching *f = ctx;
    str piece = str_of(p, size * n);
    if (f->request->on_piece && f->status >= 200 && f->status < 300) {
        f->n_given += piece.len;
        if (f->request->answer_max && f->n_given > f->request->answer_max) {
            err_set(&f->e, ERR_TOO_LARGE, "the answer is larger than %zu bytes", f->request->answer_max);
            return CURL_WRITEFUNC_ERROR;
        }
        f->e.code = f->request->on_piece(f->request->ctx, piece, &f->e);
        return f->e.code ? CURL_WRITEFUNC_ERROR : piece.len;
    }
    buf_add(&f->answer, piece);
    if (buf_err(&f->answer) == ERR_TOO_LARGE)
        err_set(&f->e, ERR_TOO_LARGE, "the answer is larger than %zu bytes", f->answer.max);
    else if (buf_err(&f->answer))
        err_code(&f->e, buf_err(&f->answer));
    return buf_err(&f->answer) ? CURL_WRITEFUNC_ERROR : piece.len;
}

static size_t on_field(char *p, size_t size, size_t n, void *ctx)
{
    struct fetching *f = ctx;
    str value = str_trim(str_of(p, size * n));
    if (str_starts(str_of(p, size * n), S("HTTP/"))) { /* the head of an answer, maybe after a 1xx */
        str_cut(&value, ' ');
        uint64_t status = 0;
        f->status = str_to_u64(str_take(value, 3), &status) ? (int)status : 0;
        f->n_fields = 0;
        return size * n;
    }
    if (!value.len || str_chr(value, ':') <= 0) return size * n;
    f->field_bytes += value.len;
    if (f->n_fields == FIELDS_MAX || f->field_bytes > FIELD_BYTES_MAX) {
        err_set(&f->e, ERR_TOO_LARGE, "the answer has more than %d fields or %u bytes of them", FIELDS_MAX,
                FIELD_BYTES_MAX);
        return CURL_WRITEFUNC_ERROR;
    }
    str name = str_dup(f->arena, str_cut(&value, ':'));
    value = str_dup(f->arena, str_trim(value));
    if (!name.p || !value.p) {
        err_code(&f->e, ERR_NO_MEMORY);
        return CURL_WRITEFUNC_ERROR;
    }
    f->fields[f->n_fields++] = (struct fetch_field){.name = name, .value = value};
    return size * n;
}

static CURLcode on_ssl_context(CURL *curl, void *ssl_ctx, void *ctx)
{
    struct fetching *f = ctx;
    (void)curl;
    if (!f->route.ca_file) return CURLE_OK;
    enum errc rc = tls_trust(ssl_ctx, f->route.ca_file, &f->e);
    if (rc) err_prefix(&f->e, "outbound.ca_file");
    return rc ? CURLE_SSL_CACERT_BADFILE : CURLE_OK;
}

/* --- one request --- */

static bool is_same_origin(const struct url *a, const struct url *b)
{
    return a->is_tls == b->is_tls && a->port == b->port && str_ieq(a->host, b->host);
}

static bool is_credential(const struct fetch_field *field)
{
    return field->is_secret || str_ieq(field->name, S("Authorization")) || str_ieq(field->name, S("Cookie"));
}

static bool is_field(const struct fetch_field *field)
{
    if (!field->name.len) return false;
    for (size_t i = 0; i < field->name.len; i++)
        if ((unsigned char)field->name.p[i] <= ' ' || field->name.p[i] == ':' ||
            (unsigned char)field->name.p[i] >= 0x7f)
            return false;
    for (size_t i = 0; i < field->value.len; i++)
        if (((unsigned char)field->value.p[i] < ' ' && field->value.p[i] != '\t') ||
            field->value.p[i] == 0x7f)
            return false;
    return true;
}

static struct curl_slist *fields_of(struct fetching *f, err *e)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    if (!f->body.len) list = curl_slist_append(list, "Content-Type:");
    for (unsigned i = 0; list && i < f->request->n_fields; i++) {
        const struct fetch_field *field = &f->request->fields[i];
        if (f->is_other_origin && is_credential(field)) continue;
        /* libcurl leaves out a field without a value unless it ends in a semicolon */
        const char *line = arena_printf(f->arena, "%.*s%s%.*s", STR(field->name),
                                        field->value.len ? ": " : ";", STR(field->value))
                               .p;
        struct curl_slist *longer = line ? curl_slist_append(list, line) : NULL;
        if (!longer) curl_slist_free_all(list);
        list = longer;
    }
    if (!list) err_code(e, ERR_NO_MEMORY);
    return list;
}

/* What went wrong, for people; and whether another try may help. */
static enum errc failure(struct fetching *f, CURLcode code, const char *detail, bool *may_help, err *e)
{
    const char *what = *detail ? detail : curl_easy_strerror(code);
    char host[256] = "";
    struct url url;
    if (!url_parse(str_c(f->url), &url, NULL)) snprintf(host, sizeof host, "%.*s", STR(url.host));
    *may_help = false;
    if (f->is_refused)
        return err_set(e, ERR_FORBIDDEN,
                       "%s leads to an address that may not be reached (see outbound.allow_addresses)", host);
    if (is_cancelled(f)) return err_code(e, ERR_CANCELLED);
    if (f->e.code) {
        if (e) *e = f->e;
        return f->e.code;
    }
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        *may_help = true;
        return err_set(e, ERR_UPSTREAM_TIMEOUT, "%s: %s", host, what);
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PROXY: *may_help = true; return err_set(e, ERR_UNREACHABLE, "%s: %s", host, what);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE: return err_set(e, ERR_UNREACHABLE, "%s: %s", host, what);
    case CURLE_OUT_OF_MEMORY: return err_code(e, ERR_NO_MEMORY);
    case CURLE_RECV_ERROR:
        /* what a proxy that refuses the tunnel looks like */
        *may_help = true;
        return err_set(e, f->route.proxy_host && !f->status ? ERR_UNREACHABLE : ERR_UPSTREAM, "%s: %s", host,
                       what);
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_SEND_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM: *may_help = true; return err_set(e, ERR_UPSTREAM, "%s: %s", host, what);
    default: return err_set(e, ERR_UPSTREAM, "%s: %s", host, what);
    }
}

static enum errc set_proxy(struct fetching *f, CURL *curl, struct curl_slist **fields, err *e)
{
    curl_easy_setopt(curl, CURLOPT_NOPROXY, ""); /* nothing from the environment behind our back */
    if (!f->route.proxy_host) {
        curl_easy_setopt(curl, CURLOPT_PROXY, "");
        return ERR_NONE;
    }
    bool is_ipv6 = strchr(f->route.proxy_host, ':') != NULL;
    str proxy = arena_printf(f->arena, "http://%s%s%s:%u", is_ipv6 ? "[" : "", f->route.proxy_host,
                             is_ipv6 ? "]" : "", f->route.proxy_port);
    str line = arena_printf(f->arena, "Proxy-Authorization: %.*s", STR(f->route.proxy_authorization));
    if (!proxy.p || !line.p) return err_code(e, ERR_NO_MEMORY);
    curl_easy_setopt(curl, CURLOPT_PROXY, proxy.p);
    curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(curl, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE);
    if (!f->route.proxy_authorization.len) return ERR_NONE;
    *fields = curl_slist_append(NULL, line.p);
    if (!*fields) return err_code(e, ERR_NO_MEMORY);
    curl_easy_setopt(curl, CURLOPT_PROXYHEADER, *fields);
    return ERR_NONE;
}

static void set_limits(struct fetching *f, CURL *curl)
{
    int64_t left = left_ms(f);
    unsigned connect_ms =
        f->request->connect_timeout_ms ? f->request->connect_timeout_ms : CONNECT_TIMEOUT_MS;
    if (left < 1) left = 1;
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)left);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)(connect_ms < left ? connect_ms : left));
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_HTTP09_ALLOWED, 0L);
    curl_easy_setopt(curl, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "Catalyst/" CATALYST_VERSION);
}

static void set_callbacks(struct fetching *f, CURL *curl)
{
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, f);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, f);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_field);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, f);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, f);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, on_ssl_context);
    curl_easy_setopt(curl, CURLOPT_SSL_CTX_DATA, f);
}

/* The request once. ERR_NONE: there is an answer in f. */
static enum errc try_once(struct fetching *f, bool *may_help, err *e)
{
    char detail[CURL_ERROR_SIZE] = "";
    struct url url;
    struct curl_slist *fields = NULL, *proxy_fields = NULL;
    *may_help = false;
    f->status = 0;
    f->n_fields = 0;
    f->field_bytes = 0;
    f->is_refused = false;
    f->e = (err){0};
    buf_clear(&f->answer);
    enum errc rc = url_parse(str_c(f->url), &url, e);
    if (!rc) rc = outbound_route(f->outbound, f->arena, &url, f->allows_local, &f->route, e);
    if (rc) return rc;
    CURL *curl = curl_easy_init();
    const char *method = str_to_c(f->arena, f->method);
    if (!curl || !method || !(fields = fields_of(f, e))) {
        curl_easy_cleanup(curl);
        return err_code(e, ERR_NO_MEMORY);
    }
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
    curl_easy_setopt(curl, CURLOPT_URL, f->url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, fields);
    if (str_eq(f->method, S("HEAD"))) {
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    } else {
        if (f->body.len || str_eq(f->method, S("POST")) || str_eq(f->method, S("PUT")) ||
            str_eq(f->method, S("PATCH"))) {
            curl_easy_setopt(curl, CURLOPT_POSTFIELDS, f->body.p ? f->body.p : "");
            curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)f->body.len);
        }
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    }
    set_limits(f, curl);
    set_callbacks(f, curl);
    rc = set_proxy(f, curl, &proxy_fields, e);
    if (!rc) {
        CURLcode code = curl_easy_perform(curl);
        if (code != CURLE_OK || f->is_refused) rc = failure(f, code, detail, may_help, e);
    }
    curl_easy_cleanup(curl);
    curl_slist_free_all(fields);
    curl_slist_free_all(proxy_fields);
    return rc;
}

/* --- tries --- */

static bool is_repeatable(const struct fetching *f)
{
    static const str methods[] = {STR_LIT("GET"), STR_LIT("HEAD"), STR_LIT("PUT"), STR_LIT("DELETE"),
                                  STR_LIT("OPTIONS")};
    for (size_t i = 0; i < LENGTH_OF(methods); i++)
        if (str_eq(f->method, methods[i])) return true;
    return f->request->is_repeatable;
}

static str field_in(const struct fetch_field *fields, unsigned n, str name)
{
    for (unsigned i = 0; i < n; i++)
        if (str_ieq(fields[i].name, name)) return fields[i].value;
    return (str){NULL, 0};
}

/* How long the server asks to wait, -1 when it does not say. */
static int64_t retry_after_ms(const struct fetching *f)
{
    str text = field_in(f->fields, f->n_fields, S("Retry-After"));
    uint64_t seconds;
    char date[64];
    if (!text.len) return -1;
    if (str_to_u64(text, &seconds)) return seconds < 86400 ? (int64_t)seconds * 1000 : 86400 * 1000;
    if (text.len >= sizeof date) return -1;
    memcpy(date, text.p, text.len);
    date[text.len] = '\0';
    time_t at = curl_getdate(date, NULL);
    int64_t now_s = clock_now_us() / USEC_PER_S;
    if (at < 0) return -1;
    return at > now_s ? (at - now_s) * 1000 : 0;
}

/* A random part of a span that doubles with every try. */
static int64_t pause_ms(unsigned n_tries)
{
    uint32_t random;
    int64_t most = PAUSE_FIRST_MS << (n_tries < 8 ? n_tries : 8);
    if (most > PAUSE_MAX_MS) most = PAUSE_MAX_MS;
    random_bytes(&random, sizeof random);
    return most / 4 + random % (uint32_t)(most - most / 4);
}

/* False when it was cancelled meanwhile. */
static bool pause_for(const struct fetching *f, int64_t ms)
{
    for (usec end = clock_mono_us() + ms * USEC_PER_MS, now; (now = clock_mono_us()) < end;) {
        if (is_cancelled(f)) return false;
        int64_t step = (end - now) / USEC_PER_MS + 1;
        poll(NULL, 0, (int)(step < CANCEL_LOOK_MS ? step : CANCEL_LOOK_MS));
    }
    return true;
}

/* The request until it has an answer that is worth having. */
static enum errc try_all(struct fetching *f, unsigned *n_tries, err *e)
{
    unsigned tries =
        f->request->tries > 1 && is_repeatable(f) && !f->request->on_piece ? f->request->tries : 1;
    struct url url;
    enum errc rc = url_parse(str_c(f->url), &url, e);
    if (rc) return rc;
    outbound_tried(f->outbound, url.host);
    for (*n_tries = 1;; ++*n_tries) {
        bool may_help;
        rc = try_once(f, &may_help, e);
        bool is_busy = !rc && (f->status == 429 || (f->status >= 502 && f->status <= 504));
        if (!(may_help || is_busy) || *n_tries >= tries) return rc;
        int64_t wait = is_busy ? retry_after_ms(f) : -1;
        if (wait < 0) wait = pause_ms(*n_tries);
        if (wait >= left_ms(f) || !outbound_may_retry(f->outbound, url.host)) return rc;
        if (!pause_for(f, wait)) return err_code(e, ERR_CANCELLED);
    }
}

/* --- redirects --- */

/* The target of a redirect as a URL of its own, in the arena; NULL when it is none. */
static const char *resolve(struct fetching *f, const char *base, str location)
{
    CURLU *u = curl_url();
    char *text = NULL;
    const char *out = NULL, *relative = str_to_c(f->arena, location);
    if (u && relative && !curl_url_set(u, CURLUPART_URL, base, 0) &&
        !curl_url_set(u, CURLUPART_URL, relative, 0) && !curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0) &&
        !curl_url_get(u, CURLUPART_URL, &text, 0))
        out = str_to_c(f->arena, str_c(text));
    curl_free(text);
    curl_url_cleanup(u);
    return out;
}

static bool is_redirect(int status)
{
    return (status >= 301 && status <= 303) || status == 307 || status == 308;
}

static enum errc follow(struct fetching *f, err *e)
{
    str location = field_in(f->fields, f->n_fields, S("Location"));
    struct url from, to;
    enum errc rc = url_parse(str_c(f->url), &from, e);
    const char *next = location.len ? resolve(f, f->url, location) : NULL;
    if (rc) return rc;
    if (!next || url_parse(str_c(next), &to, NULL))
        return err_set(e, ERR_UPSTREAM, "%.*s redirects to something that is no http or https URL",
                       STR(from.host));
    if (from.is_tls && !to.is_tls)
        return err_set(e, ERR_FORBIDDEN, "%.*s redirects from https to http", STR(from.host));
    if (!is_same_origin(&from, &to)) {
        f->is_other_origin = true;
        f->allows_local = false;
    }
    bool becomes_get =
        f->status == 303 || ((f->status == 301 || f->status == 302) && str_eq(f->method, S("POST")));
    if (becomes_get && !str_eq(f->method, S("HEAD"))) {
        f->method = S("GET");
        f->body = (str){NULL, 0};
    }
    f->url = next;
    return ERR_NONE;
}

/* --- the whole --- */

/* The form that decides: without tricks in the spelling of an address (0x7f.1, 2130706433). */
static const char *normal_url(struct fetching *f, str text, err *e)
{
    CURLU *u = curl_url();
    char *normal = NULL;
    struct url url;
    const char *out = NULL, *given = str_to_c(f->arena, text);
    if (url_parse(text, &url, e)) {
        curl_url_cleanup(u);
        return NULL;
    }
    if (u && given && !curl_url_set(u, CURLUPART_URL, given, 0) &&
        !curl_url_get(u, CURLUPART_URL, &normal, 0))
        out = str_to_c(f->arena, str_c(normal));
    if (!out) err_set(e, ERR_INVALID, "the URL is not valid");
    curl_free(normal);
    curl_url_cleanup(u);
    return out;
}

static enum errc start(struct fetching *f, err *e)
{
    const struct fetch_request *r = f->request;
    for (unsigned i = 0; i < r->n_fields; i++)
        if (!is_field(&r->fields[i]))
            return err_set(e, ERR_INVALID, "field %u of the request is malformed", i + 1);
    f->method = r->method.len ? r->method : r->body.len ? S("POST") : S("GET");
    for (size_t i = 0; i < f->method.len; i++)
        if (f->method.p[i] < 'A' || f->method.p[i] > 'Z')
            return err_set(e, ERR_INVALID, "the method is malformed");
    f->body = r->body;
    f->allows_local = r->allows_local;
    f->url = normal_url(f, r->url, e);
    return f->url ? ERR_NONE : ERR_INVALID;
}

static enum errc finish(struct fetching *f, struct fetch_answer *out, err *e)
{
    out->status = f->status;
    out->fields = arena_news(f->arena, struct fetch_field, f->n_fields);
    out->n_fields = f->n_fields;
    out->body = str_dup(f->arena, buf_str(&f->answer));
    out->url = str_c(f->url);
    if (!out->fields || !out->body.p) return err_code(e, ERR_NO_MEMORY);
    for (unsigned i = 0; i < f->n_fields; i++)
        out->fields[i] = f->fields[i];
    return ERR_NONE;
}

enum errc fetch(struct outbound *o, struct arena *a, const struct fetch_request *request,
                struct fetch_answer *out, err *e)
{
    assert(!loop_is_here() && "fetch blocks: it must not be called on an event loop");
    pthread_once(&curl_once, curl_start);
    struct fetching *f = arena_new(a, struct fetching);
    unsigned n_followed = 0;
    if (!f) return err_code(e, ERR_NO_MEMORY);
    *out = (struct fetch_answer){0};
    f->outbound = o;
    f->arena = a;
    f->request = request;
    f->until_us =
        clock_mono_us() + (request->deadline_ms ? request->deadline_ms : DEADLINE_MS) * (usec)USEC_PER_MS;
    buf_init(&f->answer, request->answer_max ? request->answer_max : ANSWER_MAX_DEFAULT);
    enum errc rc = start(f, e);
    while (!rc) {
        rc = try_all(f, &out->n_tries, e);
        if (rc || !is_redirect(f->status) || request->redirects == 0) break;
        if (n_followed++ == request->redirects)
            rc = err_set(e, ERR_UPSTREAM, "more than %u redirects", request->redirects);
        if (!rc) rc = follow(f, e);
    }
    if (!rc) rc = finish(f, out, e);
    buf_fini(&f->answer);
    return rc;
}

str fetch_answer_field(const struct fetch_answer *answer, str name)
{
    return field_in(answer->fields, answer->n_fields, name);
}
