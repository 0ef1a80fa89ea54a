#include "net/smtp.h"

#include <assert.h>
#include <curl/curl.h>
#include <openssl/ssl.h>
#include <pthread.h>

#include "base/clock.h"
#include "net/loop.h"
#include "net/tls.h"
#include "net/url.h"

#define CONNECT_TIMEOUT_MS 10000
#define CANCEL_LOOK_US (1LL * USEC_PER_S)

struct sending {
    const struct smtp_server *server;
    str rest; /* of the message */
    bool (*is_cancelled)(void *ctx);
    void *ctx;
    usec looked_us;
    err e; /* of a callback */
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static void curl_start(void) { curl_global_init(CURL_GLOBAL_DEFAULT); }

enum errc smtp_url_parse(str url, str *host, bool *is_tls, err *e)
{
    struct url_authority authority;
    str rest = url, scheme = str_cut(&rest, ':');
    *is_tls = str_ieq(scheme, S("smtps"));
    if ((*is_tls || str_ieq(scheme, S("smtp"))) && str_starts(rest, S("//"))) {
        rest = str_skip(rest, 2);
        if (rest.len && rest.p[rest.len - 1] == '/') rest.len--;
        if (url_authority_parse(rest, &authority)) {
            *host = authority.host;
            return ERR_NONE;
        }
    }
    return err_set(e, ERR_INVALID, "not a mail server such as smtp://mail.example.com:587 or smtps://mail.example.com");
}

static size_t on_read(char *to, size_t size, size_t n, void *ctx)
{
    struct sending *s = ctx;
    size_t len = size * n < s->rest.len ? size * n : s->rest.len;
    memcpy(to, s->rest.p, len);
    s->rest = str_skip(s->rest, len);
    return len;
}

static int on_progress(void *ctx, curl_off_t down_all, curl_off_t down, curl_off_t up_all, curl_off_t up)
{
    struct sending *s = ctx;
    usec now = clock_mono_us();
    (void)down_all, (void)down, (void)up_all, (void)up;
    if (!s->is_cancelled || now - s->looked_us < CANCEL_LOOK_US) return 0;
    s->looked_us = now;
    return s->is_cancelled(s->ctx);
}

static CURLcode on_ssl_context(CURL *curl, void *ssl_ctx, void *ctx)
{
    struct sending *s = ctx;
    (void)curl;
    if (!s->server->ca_file) return CURLE_OK;
    enum errc rc = tls_trust(ssl_ctx, s->server->ca_file, &s->e);
    if (rc) err_prefix(&s->e, "mail.ca_file");
    return rc ? CURLE_SSL_CACERT_BADFILE : CURLE_OK;
}

static enum errc failure(struct sending *s, CURL *curl, CURLcode code, err *e)
{
    long reply = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply);
    if (s->e.code) {
        if (e) *e = s->e;
        return s->e.code;
    }
    switch (code) {
    case CURLE_ABORTED_BY_CALLBACK: return err_code(e, ERR_CANCELLED);
    case CURLE_OPERATION_TIMEDOUT: return err_set(e, ERR_UPSTREAM_TIMEOUT, "the mail server did not answer in time");
    case CURLE_OUT_OF_MEMORY: return err_code(e, ERR_NO_MEMORY);
    case CURLE_LOGIN_DENIED: return err_set(e, ERR_UPSTREAM, "the mail server refuses mail.user and mail.password (%ld)", reply);
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT: return err_set(e, ERR_UNREACHABLE, "the mail server: %s", curl_easy_strerror(code));
    case CURLE_USE_SSL_FAILED: return err_set(e, ERR_UNREACHABLE, "the mail server offers no TLS (%ld), and mail is not sent without it", reply);
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE: return err_set(e, ERR_UNREACHABLE, "TLS with the mail server: %s", curl_easy_strerror(code));
    default: break;
    }
    if (reply >= 500 && reply < 600) return err_set(e, ERR_INVALID, "the mail server does not take this mail (%ld)", reply);
    if (reply >= 400) return err_set(e, ERR_UPSTREAM, "the mail server cannot take this mail now (%ld)", reply);
    return err_set(e, ERR_UPSTREAM, "the mail server: %s", curl_easy_strerror(code));
}

static bool is_plain(str address)
{
    for (size_t i = 0; i < address.len; i++)
        if ((unsigned char)address.p[i] <= ' ' || address.p[i] == '<' || address.p[i] == '>' || address.p[i] == 0x7f) return false;
    return address.len > 0;
}

enum errc smtp_send(const struct smtp_server *server, const struct smtp_letter *letter, bool (*is_cancelled)(void *ctx), void *ctx,
                    struct arena *a, err *e)
{
    struct sending s = {.server = server, .rest = letter->message, .is_cancelled = is_cancelled, .ctx = ctx, .looked_us = clock_mono_us()};
    struct curl_slist *to = NULL;
    str host, url = server->url;
    bool is_tls;
    assert(!loop_is_here() && "smtp_send blocks: it must not be called on an event loop");
    assert(is_plain(letter->from) && is_plain(letter->to));
    enum errc rc = smtp_url_parse(url, &host, &is_tls, e);
    if (rc != ERR_NONE) return rc;
    if (url.p[url.len - 1] == '/') url.len--;
    /* The path is what the client calls itself in EHLO. */
    str full = arena_printf(a, "%.*s/%.*s", STR(url), STR(str_skip(letter->from, (size_t)str_chr(letter->from, '@') + 1)));
    str from = arena_printf(a, "<%.*s>", STR(letter->from)), rcpt = arena_printf(a, "<%.*s>", STR(letter->to));
    const char *user = str_to_c(a, server->user), *password = str_to_c(a, server->password);
    if (!full.p || !from.p || !rcpt.p || !user || !password) return err_code(e, ERR_NO_MEMORY);
    pthread_once(&curl_once, curl_start);
    CURL *curl = curl_easy_init();
    if (!curl || !(to = curl_slist_append(NULL, rcpt.p))) {
        curl_easy_cleanup(curl);
        return err_code(e, ERR_NO_MEMORY);
    }
    curl_easy_setopt(curl, CURLOPT_URL, full.p);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)server->deadline_ms);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_USE_SSL, server->needs_tls ? (long)CURLUSESSL_ALL : (long)CURLUSESSL_NONE);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, on_ssl_context);
    curl_easy_setopt(curl, CURLOPT_SSL_CTX_DATA, &s);
    if (server->user.len) {
        curl_easy_setopt(curl, CURLOPT_USERNAME, user);
        curl_easy_setopt(curl, CURLOPT_PASSWORD, password);
    }
    curl_easy_setopt(curl, CURLOPT_MAIL_FROM, from.p);
    curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, to);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(curl, CURLOPT_READDATA, &s);
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &s);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    CURLcode code = curl_easy_perform(curl);
    if (code != CURLE_OK) rc = failure(&s, curl, code, e);
    curl_easy_cleanup(curl);
    curl_slist_free_all(to);
    return rc;
}
