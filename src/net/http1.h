/* http1.h - strict HTTP/1.1 message heads and chunked bodies (RFC 9110, RFC 9112), for both sides. No I/O
 * here.
 *
 * What could be read in two ways is refused: CL+TE, two Content-Length (even equal ones), two
 * Content-Encoding, any transfer coding but a single final "chunked", TE in HTTP/1.0, bare CR or LF,
 * obs-fold, space before the colon, control bytes in names, values or the target, missing, double or
 * malformed Host, request targets that are neither origin-form nor "*" (for OPTIONS) (absolute-form is
 * accepted only when its authority equals Host), chunk sizes with sign, junk or more than 16 digits, chunk
 * extensions longer than 256 bytes.
 * Syntax comes before meaning: the first malformed line of a head decides the error, then Host, framing,
 * Expect. So the answer does not depend on how the bytes arrive.
 * Slices point into the input. Threads: pure.
 */
#ifndef NET_HTTP1_H
#define NET_HTTP1_H

#include "base/buf.h"
#include "base/err.h"

#define HTTP_HEADERS_MAX 128 /* capacity; the limit in force is http_limits.headers */

struct http_limits {
    size_t head_bytes; /* start line and headers together; default 16384 */
    unsigned headers;  /* number of fields; default 100, at most HTTP_HEADERS_MAX */
};

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_PATCH,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_OTHER_METHOD,
};

enum http_framing { HTTP_BODY_NONE, HTTP_BODY_LENGTH, HTTP_BODY_CHUNKED, HTTP_BODY_UNTIL_CLOSE };

struct http_field {
    str name;  /* as written */
    str value; /* without surrounding space and tab */
};

/* Everything before `fields` is set by parsing; of `fields` only the first n_fields. */
struct http_head {
    /* request */
    enum http_method method;
    str method_text;
    str target;            /* as written */
    str path, query;       /* of the target; query without '?' (p == NULL when there was no '?') */
    str host;              /* the Host field's value; p == NULL when absent (HTTP/1.0) */
    bool expects_continue; /* HTTP/1.1 and a body is announced, so the client may be waiting for 100 */
    bool asks_upgrade;     /* Connection: upgrade was sent; we never upgrade */
    /* response */
    int status;
    str reason;
    /* both */
    int minor_version; /* 0 or 1 */
    bool keeps_alive;  /* by version and Connection; a body until close overrules it */
    enum http_framing framing;
    uint64_t content_length;            /* of Content-Length, also where no body follows; 0 when absent */
    str content_type, content_encoding; /* empty when absent */
    unsigned connection_at;             /* index + 1 of the first Connection field, 0 when absent */
    unsigned n_fields;
    struct http_field fields[HTTP_HEADERS_MAX];
};

/* Where the search for the head's end stands between calls, so that a head arriving byte by byte costs
 * linear time. */
struct http_head_scan {
    size_t at;        /* bytes looked at */
    size_t line;      /* start of the line in progress */
    unsigned n_lines; /* complete lines before it, an empty first one not counted */
};
static inline void http_head_scan_init(struct http_head_scan *s) { *s = (struct http_head_scan){0, 0, 0}; }

enum http_progress { HTTP_MORE, HTTP_DONE, HTTP_BAD };

/* Finds the end of a head in `in` (all bytes of it so far, which may have moved in memory between calls).
 * HTTP_DONE: *head_len is its length with the final empty line. HTTP_BAD: e says why (ERR_INVALID bare
 * CR/LF, control byte or malformed line, ERR_HEAD_TOO_LARGE, ERR_HTTP_VERSION); refuses as soon as a
 * complete line is wrong in itself. At most one empty line before a request's start line is skipped (RFC
 * 9112 2.2); it is part of *head_len. */
enum http_progress http_head_find(struct http_head_scan *s, str in, const struct http_limits *limits,
                                  size_t *head_len, err *e);

/* Parses a complete head (as found). ERR_INVALID 400, ERR_NOT_IMPLEMENTED 501 (unknown transfer coding),
 * ERR_HTTP_VERSION 505, ERR_HEAD_TOO_LARGE 431, ERR_EXPECTATION 417. */
WARN_UNUSED enum errc http_parse_request(str head, const struct http_limits *limits, struct http_head *out,
                                         err *e);
/* request_was_head: no body follows whatever the fields say; also for 1xx, 204, 304. */
WARN_UNUSED enum errc http_parse_response(str head, const struct http_limits *limits, bool request_was_head,
                                          struct http_head *out, err *e);

/* The value of the first field of that name (ASCII case-insensitive), or NULL. */
const str *http_field(const struct http_head *h, str name);
/* Whether a comma-separated field value holds the token (case-insensitive). */
bool http_list_has(str value, str token);
/* Hop-by-hop fields (RFC 9110 7.6.1) that a proxy never passes on: Connection, Keep-Alive, Proxy-*, TE,
 * Trailer, Transfer-Encoding, Upgrade, and those that h's Connection names. */
bool http_field_is_hop(const struct http_head *h, str name);

/* --- chunked bodies --- */
struct http_chunked {
    enum {
        CHUNK_SIZE,
        CHUNK_EXT,
        CHUNK_SIZE_LF,
        CHUNK_DATA,
        CHUNK_DATA_CR,
        CHUNK_DATA_LF,
        CHUNK_TRAILER,
        CHUNK_END,
    } state;
    uint64_t left;         /* of the chunk in progress */
    unsigned n_digits;     /* of its size */
    unsigned n_ext;        /* bytes of its extension */
    unsigned n_trailer;    /* bytes of the trailer section */
    unsigned trailer_line; /* bytes of the trailer line in progress, its CR not counted */
    bool saw_cr;           /* the trailer line in progress has its CR */
    bool saw_colon;        /* the trailer line in progress has its field name */
};
void http_chunked_init(struct http_chunked *c);
/* Decodes a piece: consumes *in, and gives the next run of body bytes in *data (a slice of the input; may
 * be empty). Call again until HTTP_DONE (in then starts behind the body; trailers are checked and dropped,
 * at most 4 KiB) or HTTP_MORE with in->len == 0. HTTP_DONE and HTTP_BAD come with empty *data. HTTP_BAD:
 * ERR_INVALID. */
enum http_progress http_chunked_next(struct http_chunked *c, str *in, str *data, err *e);
/* "1f4\r\n" for a chunk of n > 0 bytes; returns its length. */
size_t http_chunk_head(uint64_t n, char out[20]);

/* The reason phrase of a status code (RFC 9110 15), "Unknown" for others. */
const char *http_reason(int status);

#endif
