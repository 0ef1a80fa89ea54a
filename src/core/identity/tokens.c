/* E-mail addresses as keys, tokens and their hashes, cookies, and where a browser says that a request
 * comes from. */
#include <stdlib.h>
#include <utf8proc.h>

#include "base/utf8.h"
#include "core/identity/internal.h"

enum errc email_key(struct arena *a, str email, str *out, err *e)
{
    utf8proc_uint8_t *folded = NULL;
    if (!utf8_is_valid(email)) return err_set(e, ERR_INVALID, "an e-mail address must be UTF-8 text");
    utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)email.p, (utf8proc_ssize_t)email.len, &folded,
                                      UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD);
    if (n < 0) return err_code(e, ERR_NO_MEMORY);
    *out = str_dup(a, str_of((const char *)folded, (size_t)n));
    free(folded);
    return out->p ? ERR_NONE : err_code(e, ERR_TOO_LARGE);
}

str email_local(str email)
{
    ptrdiff_t at = str_chr(email, '@');
    return at < 0 ? email : str_take(email, (size_t)at);
}

void token_hash(str text, uint8_t hash[SHA256_LEN]) { sha256(text, hash); }

void token_make(struct token *t)
{
    uint8_t bits[TOKEN_LEN / 2];
    random_bytes(bits, sizeof bits);
    hex_encode(bits, sizeof bits, t->text);
    token_hash(str_of(t->text, TOKEN_LEN), t->hash);
    explicit_bzero(bits, sizeof bits);
}

void mac_of(const uint8_t key[32], str data, char out[MAC_LEN + 1])
{
    uint8_t mac[SHA256_LEN];
    hmac_sha256(str_of((const char *)key, 32), data, mac);
    hex_encode(mac, sizeof mac, out);
}

/* --- heads --- */

str header_get(const struct http_head *h, str name)
{
    for (unsigned i = 0; i < h->n_fields; i++)
        if (str_ieq(h->fields[i].name, name)) return h->fields[i].value;
    return (str){NULL, 0};
}

str cookie_get(const struct http_head *h, str name)
{
    for (unsigned i = 0; i < h->n_fields; i++) {
        if (!str_ieq(h->fields[i].name, S("cookie"))) continue;
        for (str rest = h->fields[i].value; rest.len;) {
            str value = str_trim(str_cut(&rest, ';')), key = str_cut(&value, '=');
            if (str_eq(key, name)) return value;
        }
    }
    return (str){NULL, 0};
}

void cookie_set(struct api_request *r, str name, str value, int64_t max_age_s)
{
    if (r->n_cookies == LENGTH_OF(r->cookies)) return;
    str line = arena_printf(r->arena, "%.*s=%.*s; Path=/; Max-Age=%lld; HttpOnly; SameSite=Lax%s", STR(name),
                            STR(value), (long long)max_age_s, r->is_secure ? "; Secure" : "");
    if (line.p) r->cookies[r->n_cookies++] = line;
}

static bool origin_is_ours(const struct identity *id, str origin)
{
    static const char *const loopback[] = {"localhost", "127.0.0.1", "[::1]"};
    if (str_eq(origin, id->origin)) return true;
    if (!id->is_loopback) return false;
    for (size_t i = 0; i < LENGTH_OF(loopback); i++) {
        str rest = origin, scheme = str_cut(&rest, ':');
        if (str_eq(scheme, id->scheme) && str_starts(rest, S("//")) &&
            str_starts(str_skip(rest, 2), str_c(loopback[i])) &&
            str_eq(str_skip(rest, 2 + strlen(loopback[i])), id->port))
            return true;
    }
    return false;
}

enum errc origin_check(const struct identity *id, const struct http_head *h, bool needs_proof, err *e)
{
    str site = header_get(h, S("sec-fetch-site")), origin = header_get(h, S("origin"));
    if (site.p) {
        if (str_eq(site, S("same-origin"))) return ERR_NONE;
        return err_set(e, ERR_FORBIDDEN,
                       "the browser says that another site made this request (Sec-Fetch-Site: %.*s)",
                       STR(str_take(site, 20)));
    }
    if (origin.p) {
        if (origin_is_ours(id, origin)) return ERR_NONE;
        return err_set(
            e, ERR_FORBIDDEN,
            "Origin is not %.*s; if browsers reach Catalyst by another address, set listen.public_url",
            STR(id->origin));
    }
    return needs_proof
               ? err_set(e, ERR_FORBIDDEN,
                         "a change with a session cookie must say where it comes from: Sec-Fetch-Site: "
                         "same-origin, or Origin: %.*s",
                         STR(id->origin))
               : ERR_NONE;
}
