#include "net/sigv4.h"

#include <stdlib.h>

#include "base/crypto.h"
#include "net/url.h"

#define PAIRS_MAX 64         /* of a query */
#define CANONICAL_MAX 65536u /* bytes of a canonical request; AWS takes no larger head */
#define DATE_LEN 8           /* 20150830 */
#define STAMP_LEN 16         /* 20150830T123600Z */
#define ALGORITHM "AWS4-HMAC-SHA256"

static const char digits[] = "0123456789ABCDEF";

static bool is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

/* Every byte but RFC 3986's unreserved ones as %XX, capital digits; '/' stays in paths. */
static void add_encoded(struct buf *b, str s, bool keeps_slash)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (is_unreserved(s.p[i]) || (keeps_slash && c == '/')) {
            buf_add_char(b, s.p[i]);
        } else {
            buf_add_char(b, '%');
            buf_add_char(b, digits[c >> 4]);
            buf_add_char(b, digits[c & 15]);
        }
    }
}

/* What was percent-encoded somehow, encoded as AWS does. */
static enum errc add_encoded_anew(struct arena *a, struct buf *b, str s, bool keeps_slash, err *e)
{
    char *plain = arena_bytes(a, s.len + 1);
    size_t len = 0;
    if (!plain) return err_code(e, ERR_TOO_LARGE);
    if (!url_decode(s, plain, &len)) return err_set(e, ERR_INVALID, "the URL to sign has a malformed escape");
    add_encoded(b, str_of(plain, len), keeps_slash);
    return ERR_NONE;
}

static bool has_odd_segments(str path)
{
    str rest = str_skip(path, 1);
    while (rest.len) {
        bool is_last = str_chr(rest, '/') < 0;
        str segment = str_cut(&rest, '/');
        if (str_eq(segment, S(".")) || str_eq(segment, S("..")) || (!segment.len && !is_last)) return true;
    }
    return false;
}

static enum errc add_path(struct arena *a, struct buf *b, const struct sigv4_request *r, str path, err *e)
{
    if (!path.len) path = S("/");
    if (r->is_s3) return add_encoded_anew(a, b, path, true, e);
    if (has_odd_segments(path))
        return err_set(e, ERR_INVALID, "the path of a signed URL must not have empty or dot segments");
    add_encoded(b, path, true); /* it is encoded already: services other than S3 sign it encoded twice */
    return ERR_NONE;
}

struct pair {
    str name, value; /* encoded */
};

static int by_name_and_value(const void *x, const void *y)
{
    const struct pair *a = x, *b = y;
    int order = str_cmp(a->name, b->name);
    return order ? order : str_cmp(a->value, b->value);
}

static enum errc encode_part(struct arena *a, str s, str *out, err *e)
{
    struct buf b;
    buf_init(&b, 3 * s.len + 1);
    enum errc rc = add_encoded_anew(a, &b, s, false, e);
    *out = str_dup(a, buf_str(&b));
    if (rc == ERR_NONE && (buf_err(&b) != ERR_NONE || !out->p)) rc = err_code(e, ERR_TOO_LARGE);
    buf_fini(&b);
    return rc;
}

static enum errc add_query(struct arena *a, struct buf *b, str query, err *e)
{
    struct pair pairs[PAIRS_MAX];
    size_t n = 0;
    while (query.len) {
        str value = str_cut(&query, '&');
        if (!value.len) continue;
        if (n == PAIRS_MAX)
            return err_set(e, ERR_INVALID, "a signed URL has more than %d parameters", PAIRS_MAX);
        str name = str_cut(&value, '=');
        enum errc rc = encode_part(a, name, &pairs[n].name, e);
        if (rc == ERR_NONE) rc = encode_part(a, value, &pairs[n].value, e);
        if (rc != ERR_NONE) return rc;
        n++;
    }
    qsort(pairs, n, sizeof pairs[0], by_name_and_value);
    for (size_t i = 0; i < n; i++)
        buf_addf(b, "%s%.*s=%.*s", i ? "&" : "", STR(pairs[i].name), STR(pairs[i].value));
    return ERR_NONE;
}

/* --- fields --- */

static str lower(struct arena *a, str s)
{
    char *out = arena_bytes(a, s.len);
    for (size_t i = 0; out && i < s.len; i++)
        out[i] = (char)(s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] + ('a' - 'A') : s.p[i]);
    return out ? str_of(out, s.len) : (str){0};
}

/* Without spaces at its ends, runs of them inside as one. */
static void add_value(struct buf *b, str value)
{
    value = str_trim(value);
    for (size_t i = 0; i < value.len; i++)
        if (value.p[i] != ' ' || value.p[i - 1] != ' ') buf_add_char(b, value.p[i]);
}

/* In the order of their names, in small letters; those that stand more than once are refused. */
static enum errc sort_fields(struct arena *a, struct fetch_field *signed_fields, unsigned n, err *e)
{
    for (unsigned i = 0; i < n; i++) {
        struct fetch_field it = signed_fields[i];
        unsigned at = i;
        it.name = lower(a, it.name);
        if (!it.name.p) return err_code(e, ERR_TOO_LARGE);
        for (; at > 0 && str_cmp(it.name, signed_fields[at - 1].name) < 0; at--)
            signed_fields[at] = signed_fields[at - 1];
        if (at > 0 && str_eq(it.name, signed_fields[at - 1].name))
            return err_set(e, ERR_INVALID, "the field %.*s of a signed request stands twice",
                           STR(str_take(it.name, 60)));
        signed_fields[at] = it;
    }
    return ERR_NONE;
}

static void add_names(struct buf *b, const struct fetch_field *fields, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        buf_addf(b, "%s%.*s", i ? ";" : "", STR(fields[i].name));
}

static str host_of(struct arena *a, const struct url *u)
{
    const char *open = u->is_ipv6 ? "[" : "", *close = u->is_ipv6 ? "]" : "";
    bool is_default = u->port == (u->is_tls ? 443 : 80);
    return is_default ? arena_printf(a, "%s%.*s%s", open, STR(u->host), close)
                      : arena_printf(a, "%s%.*s%s:%u", open, STR(u->host), close, u->port);
}

/* --- the signature --- */

static void stamp_of(usec now, char out[STAMP_LEN + 1])
{
    char text[TIME_TEXT_LEN + 1]; /* 2015-08-30T12:36:00.000000Z */
    size_t n = 0;
    time_format(now, text);
    for (size_t i = 0; i < 19; i++)
        if (text[i] != '-' && text[i] != ':') out[n++] = text[i];
    out[n++] = 'Z';
    out[n] = '\0';
}

static void sign(const struct sigv4_credentials *c, str date, const struct sigv4_request *r, str text,
                 char hex[2 * SHA256_LEN + 1], struct buf *scratch)
{
    uint8_t key[SHA256_LEN], next[SHA256_LEN];
    const str steps[] = {r->region, r->service, S("aws4_request"), text};
    buf_clear(scratch);
    buf_addf(scratch, "AWS4%.*s", STR(c->secret_key));
    hmac_sha256(buf_str(scratch), date, key);
    explicit_bzero(scratch->p, scratch->len);
    for (size_t i = 0; i < LENGTH_OF(steps); i++) {
        hmac_sha256(str_of((const char *)key, sizeof key), steps[i], next);
        memcpy(key, next, sizeof key);
    }
    hex_encode(key, sizeof key, hex);
    explicit_bzero(key, sizeof key);
    explicit_bzero(next, sizeof next);
}

static bool is_ours(str name)
{
    static const str ours[] = {STR_LIT("host"), STR_LIT("authorization"), STR_LIT("x-amz-date"),
                               STR_LIT("x-amz-security-token"), STR_LIT("x-amz-content-sha256")};
    for (size_t i = 0; i < LENGTH_OF(ours); i++)
        if (str_ieq(name, ours[i])) return true;
    return false;
}

enum errc sigv4_sign(struct arena *a, const struct sigv4_credentials *c, const struct sigv4_request *r,
                     usec now, struct fetch_field **fields, unsigned *n_fields, err *e)
{
    struct url u;
    struct buf b, names;
    char stamp[STAMP_LEN + 1], digest[2 * SHA256_LEN + 1], signature[2 * SHA256_LEN + 1];
    uint8_t hash[SHA256_LEN];
    enum errc rc = url_parse(r->url, &u, e);
    if (rc != ERR_NONE) return rc;
    if (!c->access_key.len || !c->secret_key.len)
        return err_set(e, ERR_INVALID, "an access key and a secret key are needed to sign");
    for (unsigned i = 0; i < r->n_fields; i++)
        if (is_ours(r->fields[i].name))
            return err_set(e, ERR_INVALID, "the field %.*s is made by signing",
                           STR(str_take(r->fields[i].name, 60)));

    /* the caller's, the date, the token, the payload's hash, authorization; Host is signed in the last one's place */
    struct fetch_field *out = arena_news(a, struct fetch_field, r->n_fields + 4);
    struct fetch_field *signed_fields = arena_news(a, struct fetch_field, r->n_fields + 4);
    if (!out || !signed_fields) return err_code(e, ERR_TOO_LARGE);
    unsigned n = r->n_fields;
    if (n) memcpy(out, r->fields, n * sizeof *out);
    stamp_of(now, stamp);
    str date = str_of(stamp, DATE_LEN), payload = r->payload_hash;
    if (!payload.len) {
        sha256(r->body, hash);
        payload = str_dup(a, hex_encode(hash, sizeof hash, digest));
    }
    out[n++] = (struct fetch_field){.name = S("x-amz-date"), .value = str_dup(a, str_c(stamp))};
    if (c->session_token.len)
        out[n++] = (struct fetch_field){
            .name = S("x-amz-security-token"), .value = c->session_token, .is_secret = true};
    if (r->is_s3) out[n++] = (struct fetch_field){.name = S("x-amz-content-sha256"), .value = payload};
    memcpy(signed_fields, out, n * sizeof *out);
    signed_fields[n] = (struct fetch_field){.name = S("host"), .value = host_of(a, &u)};
    unsigned n_signed = n + 1;
    rc = sort_fields(a, signed_fields, n_signed, e);
    if (rc != ERR_NONE) return rc;

    buf_init(&b, CANONICAL_MAX);
    buf_init(&names, CANONICAL_MAX);
    add_names(&names, signed_fields, n_signed);
    buf_addf(&b, "%.*s\n", STR(r->method));
    rc = add_path(a, &b, r, u.path, e);
    buf_add_char(&b, '\n');
    if (rc == ERR_NONE) rc = add_query(a, &b, u.query, e);
    buf_add_char(&b, '\n');
    for (unsigned i = 0; i < n_signed; i++) {
        buf_addf(&b, "%.*s:", STR(signed_fields[i].name));
        add_value(&b, signed_fields[i].value);
        buf_add_char(&b, '\n');
    }
    buf_addf(&b, "\n%.*s\n%.*s", STR(buf_str(&names)), STR(payload));
    if (rc == ERR_NONE && (buf_err(&b) != ERR_NONE || buf_err(&names) != ERR_NONE))
        rc = err_set(e, ERR_TOO_LARGE, "a signed request's head is larger than %u bytes", CANONICAL_MAX);
    if (rc == ERR_NONE) {
        str scope =
            arena_printf(a, "%.*s/%.*s/%.*s/aws4_request", STR(date), STR(r->region), STR(r->service));
        sha256(buf_str(&b), hash);
        str text = arena_printf(a, ALGORITHM "\n%s\n%.*s\n%s", stamp, STR(scope),
                                hex_encode(hash, sizeof hash, digest).p);
        sign(c, date, r, text, signature, &b);
        str authorization =
            arena_printf(a, ALGORITHM " Credential=%.*s/%.*s, SignedHeaders=%.*s, Signature=%s",
                         STR(c->access_key), STR(scope), STR(buf_str(&names)), signature);
        out[n++] =
            (struct fetch_field){.name = S("authorization"), .value = authorization, .is_secret = true};
        if (!text.p || !authorization.p || !payload.p) rc = err_code(e, ERR_TOO_LARGE);
    }
    buf_fini(&b);
    buf_fini(&names);
    *fields = out;
    *n_fields = n;
    return rc;
}
