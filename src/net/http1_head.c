/* http1_head.c - message heads: start lines, fields, and what they say about the body.
 *
 * Every parsing function here relies on one fact that http_parse_* checks first: the head ends in CR LF CR
 * LF. Neither byte belongs to any class the scanning loops run over, so they stop inside the head without
 * comparing with its end.
 */
#include "net/http1.h"

#include "net/bytes.h"
#include "net/url.h"

/* --- lines --- */

/* The end of the line that p is in (its CR), or NULL when a control byte, a bare CR or a bare LF comes
 * first. */
static const char *line_end(const char *p, const char *end)
{
    p = bytes_text_end(p, end);
    return p[0] == '\r' && p[1] == '\n' ? p : NULL;
}

static enum errc control_byte(err *e)
{
    return err_set(e, ERR_INVALID, "the message head holds a control byte, a bare CR or a bare LF");
}

/* HTTP-version = "HTTP/" DIGIT "." DIGIT, case-sensitive (RFC 9112 2.3). */
static enum errc version(str text, int *minor, err *e)
{
    if (text.len != 8 || memcmp(text.p, "HTTP/", 5) != 0 || text.p[5] < '0' || text.p[5] > '9' ||
        text.p[6] != '.' || text.p[7] < '0' || text.p[7] > '9') {
        return err_set(e, ERR_INVALID, "the start line has no well-formed HTTP version");
    }
    if (text.p[5] != '1' || text.p[7] > '1') return err_code(e, ERR_HTTP_VERSION);
    *minor = text.p[7] - '0';
    return ERR_NONE;
}

static enum http_method method_of(str m)
{
    switch (m.len) {
    case 3:
        if (memcmp(m.p, "GET", 3) == 0) return HTTP_GET;
        if (memcmp(m.p, "PUT", 3) == 0) return HTTP_PUT;
        break;
    case 4:
        if (memcmp(m.p, "POST", 4) == 0) return HTTP_POST;
        if (memcmp(m.p, "HEAD", 4) == 0) return HTTP_HEAD;
        break;
    case 5:
        if (memcmp(m.p, "PATCH", 5) == 0) return HTTP_PATCH;
        break;
    case 6:
        if (memcmp(m.p, "DELETE", 6) == 0) return HTTP_DELETE;
        break;
    case 7:
        if (memcmp(m.p, "OPTIONS", 7) == 0) return HTTP_OPTIONS;
        break;
    default: break;
    }
    return HTTP_OTHER_METHOD;
}

/* request-line = method SP request-target SP HTTP-version (RFC 9112 3): single spaces, nothing before or
 * behind. */
static enum errc request_line(const char **at, const char *end, struct http_head *out, err *e)
{
    const char *start = *at, *p = start;
    while (byte_is(*p, BYTE_TOKEN))
        p++;
    if (p == start || *p != ' ')
        return err_set(e, ERR_INVALID, "the request line does not begin with a method");
    out->method_text = str_of(start, (size_t)(p - start));
    out->method = method_of(out->method_text);

    start = ++p;
    while (byte_is(*p, BYTE_TARGET))
        p++;
    if (p == start || *p != ' ') {
        return err_set(e, ERR_INVALID,
                       "the request target is empty, or holds a byte that no target may hold");
    }
    out->target = str_of(start, (size_t)(p - start));

    start = ++p;
    p = line_end(p, end);
    if (p == NULL) return control_byte(e);
    *at = p + 2;
    return version(str_of(start, (size_t)(p - start)), &out->minor_version, e);
}

/* status-line = HTTP-version SP status-code SP [ reason-phrase ] (RFC 9112 4). The second space is asked
 * for by the grammar even without a reason; some servers leave it out, and nothing can be misread by
 * accepting that. */
static enum errc status_line(const char **at, const char *end, struct http_head *out, err *e)
{
    const char *start = *at, *eol = line_end(start, end);
    if (eol == NULL) return control_byte(e);
    str line = str_of(start, (size_t)(eol - start));

    ptrdiff_t space = str_chr(line, ' ');
    enum errc rc = version(space < 0 ? line : str_take(line, (size_t)space), &out->minor_version, e);
    if (rc != ERR_NONE) return rc;

    str rest = str_skip(line, 9);
    int status = 0;
    for (size_t i = 0; i < 3 && i < rest.len && rest.p[i] >= '0' && rest.p[i] <= '9'; i++) {
        status = status * 10 + (rest.p[i] - '0');
    }
    if (status < 100 || (rest.len > 3 && rest.p[3] != ' ')) {
        return err_set(e, ERR_INVALID, "the status line has no three-digit status from 100 to 999");
    }
    out->status = status;
    out->reason = str_skip(rest, 4);
    *at = eol + 2;
    return ERR_NONE;
}

/* The start line of either direction; http_head_find does not know which one it reads, and an error must
 * not depend on whether it was met there or in http_parse_*. '/' is no BYTE_TOKEN, so no request begins
 * with "HTTP/". */
static enum errc start_line(const char **at, const char *end, struct http_head *out, bool *is_response,
                            err *e)
{
    *is_response = end - *at >= 5 && memcmp(*at, "HTTP/", 5) == 0;
    return *is_response ? status_line(at, end, out, e) : request_line(at, end, out, e);
}

static enum errc bad_name(const char *start, const char *p, err *e)
{
    if (p == start && (*p == ' ' || *p == '\t')) {
        return err_set(e, ERR_INVALID, "a header line begins with a space or tab (obsolete line folding)");
    }
    if (p == start && *p == ':') return err_set(e, ERR_INVALID, "a header field has no name");
    if (*p == ' ' || *p == '\t')
        return err_set(e, ERR_INVALID, "a header field has a space or tab in its name");
    if (*p == '\r') return err_set(e, ERR_INVALID, "a header line has no colon");
    return err_set(e, ERR_INVALID, "a header field's name holds a byte that no name may hold");
}

/* field-line = field-name ":" OWS field-value OWS (RFC 9112 5). */
static enum errc field_line(const char **at, const char *end, struct http_field *f, err *e)
{
    const char *start = *at, *p = start;
    while (byte_is(*p, BYTE_TOKEN))
        p++;
    if (*p != ':' || p == start) return bad_name(start, p, e);
    f->name = str_of(start, (size_t)(p - start));

    p++;
    while (*p == ' ' || *p == '\t')
        p++;
    const char *eol = line_end(p, end), *last = eol;
    if (eol == NULL) return control_byte(e);
    while (last > p && (last[-1] == ' ' || last[-1] == '\t'))
        last--;
    f->value = str_of(p, (size_t)(last - p));
    *at = eol + 2;
    return ERR_NONE;
}

static unsigned fields_max(const struct http_limits *limits)
{
    return limits->headers < HTTP_HEADERS_MAX ? limits->headers : HTTP_HEADERS_MAX;
}

static enum errc too_many_fields(const struct http_limits *limits, err *e)
{
    return err_set(e, ERR_HEAD_TOO_LARGE, "the message head has more than %u header fields",
                   fields_max(limits));
}

/* --- finding the end --- */

/* Lines number n and on in [p, end), which holds complete lines free of control bytes: the first malformed
 * one. */
static enum errc check_lines(const char *p, const char *end, unsigned n, err *e)
{
    struct http_head scratch;
    bool is_response;
    while (p < end) {
        if (p[0] == '\r') { /* the empty line before a request */
            p += 2;
            continue;
        }
        enum errc rc = n++ > 0 ? field_line(&p, end, &scratch.fields[0], e)
                               : start_line(&p, end, &scratch, &is_response, e);
        if (rc != ERR_NONE) return rc;
    }
    return ERR_NONE;
}

enum http_progress http_head_find(struct http_head_scan *s, str in, const struct http_limits *limits,
                                  size_t *head_len, err *e)
{
    const char *p = in.p;
    const size_t end = in.len < limits->head_bytes ? in.len : limits->head_bytes;
    const size_t first = s->line; /* lines from here on have not been checked */
    const unsigned n_first = s->n_lines;
    enum http_progress result = HTTP_MORE;
    enum errc rc = ERR_NONE;

    /* Complete heads are not checked here: http_parse_* does it in its one pass. Only what may stay
     * incomplete is. */
    while (s->at < end) {
        s->at = (size_t)(bytes_text_end(p + s->at, p + end) - p);
        if (s->at == end) break;
        if (p[s->at] == '\r' && s->at + 1 == end) break;
        if (p[s->at] != '\r' || p[s->at + 1] != '\n') {
            result = HTTP_BAD;
            break;
        }
        bool is_empty = s->at == s->line;
        if (is_empty && s->n_lines > 0) {
            *head_len = s->at + 2;
            return HTTP_DONE;
        }
        if (is_empty && s->line > 0) {
            result = HTTP_BAD; /* a second empty line before the start line */
            break;
        }
        s->line = s->at += 2;
        if (!is_empty && ++s->n_lines > fields_max(limits) + 1) {
            result = HTTP_BAD;
            break;
        }
    }

    if (first < s->line) rc = check_lines(p + first, p + s->line, n_first, e);
    if (rc != ERR_NONE) return HTTP_BAD;
    if (result == HTTP_BAD) {
        if (s->n_lines > fields_max(limits) + 1) {
            rc = too_many_fields(limits, e);
        } else {
            rc = control_byte(e);
        }
    } else if (end == limits->head_bytes) {
        rc = err_set(e, ERR_HEAD_TOO_LARGE, "the message head is larger than %zu bytes", limits->head_bytes);
    }
    return rc == ERR_NONE ? HTTP_MORE : HTTP_BAD;
}

/* --- meaning --- */

/* Fields that decide how the message is read: an index + 1 into fields, 0 when absent. */
struct known {
    unsigned host, length, coding, type, encoding;
    const char *twice; /* the name of one that must not be repeated and was */
    bool has_other_expectation;
};

/* name consists of token bytes and `lower` of lower-case letters and '-', so setting bit 5 folds exactly
 * the letters. */
static inline bool name_is(str name, const char *lower)
{
    for (size_t i = 0; i < name.len; i++) {
        if ((name.p[i] | 0x20) != lower[i]) return false;
    }
    return true;
}

/* The next element of a comma-separated list, without surrounding space and tab; false behind the last. */
static bool list_next(str *rest, str *element)
{
    if (rest->p == NULL) return false;
    const char *comma = rest->len > 0 ? memchr(rest->p, ',', rest->len) : NULL;
    str s = comma != NULL ? str_of(rest->p, (size_t)(comma - rest->p)) : *rest;
    *rest = comma != NULL ? str_skip(*rest, s.len + 1) : (str){NULL, 0};
    while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = str_skip(s, 1);
    while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
        s.len--;
    *element = s;
    return true;
}

bool http_list_has(str value, str token)
{
    str element;
    while (list_next(&value, &element)) {
        if (element.len == token.len && str_ieq(element, token)) return true;
    }
    return false;
}

struct connection_options {
    bool close, keep_alive, upgrade;
};

static void connection_options(struct connection_options *c, str value)
{
    str element;
    while (list_next(&value, &element)) {
        switch (element.len) {
        case 5: c->close |= str_ieq(element, S("close")); break;
        case 7: c->upgrade |= str_ieq(element, S("upgrade")); break;
        case 10: c->keep_alive |= str_ieq(element, S("keep-alive")); break;
        default: break;
        }
    }
}

static inline void once(unsigned *slot, unsigned at, struct known *k, const char *name)
{
    if (*slot != 0) {
        k->twice = name;
    } else {
        *slot = at;
    }
}

/* Takes note of the field at index at - 1 when it is one of those that framing, routing or persistence
 * hang on. */
static inline void note_field(struct http_head *out, unsigned at, struct known *k,
                              struct connection_options *c)
{
    const struct http_field *f = &out->fields[at - 1];
    switch (f->name.len) {
    case 4:
        if (name_is(f->name, "host")) once(&k->host, at, k, "Host");
        break;
    case 6:
        if (name_is(f->name, "expect")) {
            if (str_ieq(f->value, S("100-continue"))) {
                out->expects_continue = true;
            } else {
                k->has_other_expectation = true;
            }
        }
        break;
    case 10:
        if (name_is(f->name, "connection")) {
            if (out->connection_at == 0) out->connection_at = at;
            connection_options(c, f->value);
        }
        break;
    case 12:
        if (name_is(f->name, "content-type")) {
            /* Two types in a response harm nobody but its reader, and some gateways send them: the first
             * stands. */
            if (k->type == 0 || out->status == 0) once(&k->type, at, k, "Content-Type");
        }
        break;
    case 14:
        if (name_is(f->name, "content-length")) once(&k->length, at, k, "Content-Length");
        break;
    case 16:
        if (name_is(f->name, "content-encoding")) once(&k->encoding, at, k, "Content-Encoding");
        break;
    case 17:
        if (name_is(f->name, "transfer-encoding")) once(&k->coding, at, k, "Transfer-Encoding");
        break;
    default: break;
    }
}

/* Only "chunked" alone is read. RFC 9112 6.1: an unknown coding is answered 501; 6.3: chunked that is not
 * the last coding, or not once, is 400, as is what is no list of tokens. */
static enum errc transfer_coding(str value, err *e)
{
    str element;
    bool was_chunked = false;
    if (str_ieq(value, S("chunked"))) return ERR_NONE;
    while (list_next(&value, &element)) {
        bool is_token = element.len > 0;
        for (size_t i = 0; i < element.len; i++)
            is_token = is_token && byte_is(element.p[i], BYTE_TOKEN);
        if (!is_token) return err_set(e, ERR_INVALID, "Transfer-Encoding is malformed");
        if (was_chunked) return err_set(e, ERR_INVALID, "Transfer-Encoding names a coding behind chunked");
        was_chunked = str_ieq(element, S("chunked"));
    }
    return err_set(e, ERR_NOT_IMPLEMENTED, "no transfer coding but chunked is supported");
}

/* Content-Length = 1*DIGIT (RFC 9110 8.6): no sign, no list even of equal values, 19 digits at most. */
static enum errc content_length(str value, uint64_t *out, err *e)
{
    uint64_t n = 0;
    bool is_good = value.len >= 1 && value.len <= 19;
    for (size_t i = 0; is_good && i < value.len; i++) {
        is_good = value.p[i] >= '0' && value.p[i] <= '9';
        n = n * 10 + (uint64_t)(value.p[i] - '0');
    }
    if (!is_good) return err_set(e, ERR_INVALID, "Content-Length is not a number of 1 to 19 digits");
    *out = n;
    return ERR_NONE;
}

/* RFC 9112 6.3, less everything that is a guess. `otherwise` holds when neither field is there. */
static enum errc body_framing(struct http_head *out, const struct known *k, enum http_framing otherwise,
                              err *e)
{
    enum errc rc = ERR_NONE;
    out->framing = otherwise;
    if (k->coding != 0 && k->length != 0) {
        return err_set(e, ERR_INVALID, "the message has both Content-Length and Transfer-Encoding");
    }
    if (k->coding != 0) {
        if (out->minor_version == 0) return err_set(e, ERR_INVALID, "HTTP/1.0 knows no Transfer-Encoding");
        rc = transfer_coding(out->fields[k->coding - 1].value, e);
        out->framing = HTTP_BODY_CHUNKED;
    } else if (k->length != 0) {
        rc = content_length(out->fields[k->length - 1].value, &out->content_length, e);
        out->framing = HTTP_BODY_LENGTH;
    }
    return rc;
}

/* The fields from *at on to the end of the head, which must be the first empty line. */
static enum errc fields(const char *p, const char *end, const struct http_limits *limits,
                        struct http_head *out, struct known *k, err *e)
{
    const unsigned max = fields_max(limits);
    struct connection_options c = {false, false, false};
    while (*p != '\r') {
        struct http_field surplus;
        struct http_field *f = out->n_fields < max ? &out->fields[out->n_fields] : &surplus;
        enum errc rc = field_line(&p, end, f, e);
        if (rc != ERR_NONE) return rc;
        if (f == &surplus) return too_many_fields(limits, e);
        note_field(out, ++out->n_fields, k, &c);
    }
    if (p[1] != '\n') return control_byte(e);
    if (p + 2 != end) return err_set(e, ERR_INVALID, "there are bytes behind the message head");
    if (k->twice != NULL) return err_set(e, ERR_INVALID, "the message has two %s fields", k->twice);

    out->keeps_alive = !c.close && (out->minor_version == 1 || c.keep_alive);
    out->asks_upgrade = c.upgrade;
    if (k->type != 0) out->content_type = out->fields[k->type - 1].value;
    if (k->encoding != 0) out->content_encoding = out->fields[k->encoding - 1].value;
    return ERR_NONE;
}

static enum errc begin(str head, const struct http_limits *limits, struct http_head *out, err *e)
{
    memset(out, 0, offsetof(struct http_head, fields));
    if (head.len > limits->head_bytes) {
        return err_set(e, ERR_HEAD_TOO_LARGE, "the message head is larger than %zu bytes",
                       limits->head_bytes);
    }
    if (head.len < 4 || memcmp(head.p + head.len - 4, "\r\n\r\n", 4) != 0) {
        return err_set(e, ERR_INVALID, "the message head does not end in an empty line");
    }
    return ERR_NONE;
}

/* Splits the target (RFC 9112 3.2). Authority-form is for CONNECT, which is not spoken here. */
static enum errc split_target(struct http_head *out, err *e)
{
    str rest = out->target;
    if (rest.p[0] != '/') {
        if (rest.len == 1 && rest.p[0] == '*' && out->method == HTTP_OPTIONS) {
            out->path = rest;
            return ERR_NONE;
        }
        size_t scheme = 0;
        if (rest.len > 7 && str_ieq(str_take(rest, 7), S("http://"))) scheme = 7;
        if (rest.len > 8 && str_ieq(str_take(rest, 8), S("https://"))) scheme = 8;
        if (scheme == 0) return err_set(e, ERR_INVALID, "the request target is not a path");
        str slash = str_of(rest.p + scheme - 1, 1);
        rest = str_skip(rest, scheme);
        size_t n = 0;
        while (n < rest.len && rest.p[n] != '/' && rest.p[n] != '?')
            n++;
        if (out->host.len == 0 || !str_ieq(str_take(rest, n), out->host)) {
            return err_set(e, ERR_INVALID, "the authority of the request target is not the one of Host");
        }
        rest = str_skip(rest, n);
        /* An empty path is "/" (RFC 9110 4.2.3); the scheme's last slash lends one that lies inside the
         * input. */
        if (rest.len == 0 || rest.p[0] == '?') {
            out->path = slash;
            if (rest.len > 0) out->query = str_skip(rest, 1);
            return ERR_NONE;
        }
    }
    ptrdiff_t mark = str_chr(rest, '?');
    out->path = mark < 0 ? rest : str_take(rest, (size_t)mark);
    if (mark >= 0) out->query = str_skip(rest, (size_t)mark + 1);
    return ERR_NONE;
}

static enum errc check_host(struct http_head *out, const struct known *k, err *e)
{
    if (k->host == 0) {
        return out->minor_version == 0 ? ERR_NONE : err_set(e, ERR_INVALID, "the request has no Host field");
    }
    struct url_authority authority;
    out->host = out->fields[k->host - 1].value;
    if (!url_authority_parse(out->host, &authority)) {
        return err_set(e, ERR_INVALID, "the Host field is not a host with an optional port");
    }
    return ERR_NONE;
}

enum errc http_parse_request(str head, const struct http_limits *limits, struct http_head *out, err *e)
{
    struct known k = {0};
    enum errc rc = begin(head, limits, out, e);
    if (rc != ERR_NONE) return rc;
    const char *p = head.p, *end = head.p + head.len;
    bool is_response;
    if (p[0] == '\r' && p[1] == '\n') p += 2; /* RFC 9112 2.2 */

    if ((rc = start_line(&p, end, out, &is_response, e)) != ERR_NONE) return rc;
    if (is_response) return err_set(e, ERR_INVALID, "a response came where a request belongs");
    if ((rc = fields(p, end, limits, out, &k, e)) != ERR_NONE) return rc;
    if ((rc = check_host(out, &k, e)) != ERR_NONE) return rc;
    if ((rc = split_target(out, e)) != ERR_NONE) return rc;
    if ((rc = body_framing(out, &k, HTTP_BODY_NONE, e)) != ERR_NONE) return rc;
    if (k.has_other_expectation)
        return err_set(e, ERR_EXPECTATION, "no expectation but 100-continue can be met");
    /* RFC 9110 10.1.1: to be ignored in HTTP/1.0, and needless without content. */
    if (out->minor_version == 0 || out->framing == HTTP_BODY_NONE ||
        (out->framing == HTTP_BODY_LENGTH && out->content_length == 0)) {
        out->expects_continue = false;
    }
    return ERR_NONE;
}

enum errc http_parse_response(str head, const struct http_limits *limits, bool request_was_head,
                              struct http_head *out, err *e)
{
    struct known k = {0};
    enum errc rc = begin(head, limits, out, e);
    if (rc != ERR_NONE) return rc;
    const char *p = head.p, *end = head.p + head.len;
    bool is_response, has_empty_line = p[0] == '\r' && p[1] == '\n';
    if (has_empty_line) p += 2;

    if ((rc = start_line(&p, end, out, &is_response, e)) != ERR_NONE) return rc;
    if (!is_response || has_empty_line) return err_set(e, ERR_INVALID, "no status line begins the response");
    if ((rc = fields(p, end, limits, out, &k, e)) != ERR_NONE) return rc;
    if ((rc = body_framing(out, &k, HTTP_BODY_UNTIL_CLOSE, e)) != ERR_NONE) return rc;
    out->expects_continue = false;
    if (request_was_head || out->status < 200 || out->status == 204 || out->status == 304) {
        out->framing = HTTP_BODY_NONE;
    }
    return ERR_NONE;
}

/* --- questions --- */

const str *http_field(const struct http_head *h, str name)
{
    for (unsigned i = 0; i < h->n_fields; i++) {
        if (h->fields[i].name.len == name.len && str_ieq(h->fields[i].name, name)) return &h->fields[i].value;
    }
    return NULL;
}

bool http_field_is_hop(const struct http_head *h, str name)
{
    static const str hops[] = {
        STR_LIT("te"),         STR_LIT("trailer"),    STR_LIT("upgrade"),
        STR_LIT("connection"), STR_LIT("keep-alive"), STR_LIT("transfer-encoding"),
    };
    for (size_t i = 0; i < LENGTH_OF(hops); i++) {
        if (name.len == hops[i].len && str_ieq(name, hops[i])) return true;
    }
    if (name.len > 6 && str_ieq(str_take(name, 6), S("proxy-"))) return true;
    if (h->connection_at == 0) return false;
    for (unsigned i = h->connection_at - 1; i < h->n_fields; i++) {
        const struct http_field *f = &h->fields[i];
        if (f->name.len == 10 && str_ieq(f->name, S("connection")) && http_list_has(f->value, name))
            return true;
    }
    return false;
}

const char *http_reason(int status)
{
    switch (status) {
    case 100: return "Continue";
    case 101: return "Switching Protocols";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 203: return "Non-Authoritative Information";
    case 204: return "No Content";
    case 205: return "Reset Content";
    case 206: return "Partial Content";
    case 300: return "Multiple Choices";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 402: return "Payment Required";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 407: return "Proxy Authentication Required";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 421: return "Misdirected Request";
    case 422: return "Unprocessable Content";
    case 425: return "Too Early";
    case 426: return "Upgrade Required";
    case 428: return "Precondition Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 451: return "Unavailable For Legal Reasons";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    case 507: return "Insufficient Storage";
    case 529: return "Overloaded";
    default: return "Unknown";
    }
}
