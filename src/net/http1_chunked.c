/* http1_chunked.c - the chunked transfer coding (RFC 9112 7.1). */
#include "net/http1.h"

#include "net/bytes.h"

enum { SIZE_DIGITS_MAX = 16, EXT_BYTES_MAX = 256, TRAILER_BYTES_MAX = 4096 };

static const int8_t hex_values[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
}; /* digit + 1; 0 for what is no hexadecimal digit */

void http_chunked_init(struct http_chunked *c) { *c = (struct http_chunked){.state = CHUNK_SIZE}; }

/* One byte of the trailer section: true when it is right where it stands. The section is a run of field
 * lines and an empty line; they are dropped, but what is no field line must not pass, or it could be the
 * start of another message. */
static bool trailer_byte(struct http_chunked *c, char b)
{
    if (c->saw_cr) {
        if (b != '\n') return false;
        if (c->trailer_line == 0) {
            c->state = CHUNK_END;
        } else if (!c->saw_colon) {
            return false;
        }
        c->trailer_line = 0;
        c->saw_cr = c->saw_colon = false;
        return true;
    }
    if (b == '\r') {
        c->saw_cr = true;
        return true;
    }
    c->trailer_line++;
    if (c->saw_colon) return byte_is(b, BYTE_TEXT);
    if (b == ':') {
        c->saw_colon = true;
        return c->trailer_line > 1;
    }
    return byte_is(b, BYTE_TOKEN);
}

/* One byte outside the data: NULL, or what is wrong with it. */
static const char *frame_byte(struct http_chunked *c, char b)
{
    int digit;

    switch (c->state) {
    case CHUNK_SIZE:
        digit = hex_values[(uint8_t)b];
        if (digit > 0) {
            if (++c->n_digits > SIZE_DIGITS_MAX) return "a chunk size has more than 16 digits";
            c->left = c->left << 4 | (uint64_t)(digit - 1);
            return NULL;
        }
        if (c->n_digits == 0) return "a chunk does not begin with its size";
        if (b != '\r' && b != ';') return "a chunk size is followed by junk";
        c->state = b == ';' ? CHUNK_EXT : CHUNK_SIZE_LF;
        return NULL;
    case CHUNK_EXT:
        /* Extensions mean nothing to us; a bare LF in them is what parsers disagree about, and is no
         * BYTE_TEXT. */
        if (b == '\r') {
            c->state = CHUNK_SIZE_LF;
            return NULL;
        }
        if (!byte_is(b, BYTE_TEXT)) return "a chunk extension holds a control byte";
        return ++c->n_ext > EXT_BYTES_MAX ? "a chunk extension is longer than 256 bytes" : NULL;
    case CHUNK_SIZE_LF:
        if (b != '\n') return "a chunk size line does not end in CR LF";
        c->state = c->left > 0 ? CHUNK_DATA : CHUNK_TRAILER;
        return NULL;
    case CHUNK_DATA_CR:
        if (b != '\r') return "a chunk is longer than its size";
        c->state = CHUNK_DATA_LF;
        return NULL;
    case CHUNK_DATA_LF:
        if (b != '\n') return "a chunk does not end in CR LF";
        http_chunked_init(c);
        return NULL;
    case CHUNK_TRAILER:
        if (++c->n_trailer > TRAILER_BYTES_MAX)
            return "the trailers of a chunked body are longer than 4096 bytes";
        return trailer_byte(c, b) ? NULL : "the trailers of a chunked body are malformed";
    case CHUNK_DATA:
    case CHUNK_END: break;
    }
    return "the chunked decoder is in no state to read"; /* the caller handles data and end */
}

enum http_progress http_chunked_next(struct http_chunked *c, str *in, str *data, err *e)
{
    *data = (str){NULL, 0};
    for (;;) {
        if (c->state == CHUNK_END) return HTTP_DONE;
        if (in->len == 0) return HTTP_MORE;
        if (c->state == CHUNK_DATA) {
            *data = str_take(*in, c->left < in->len ? (size_t)c->left : in->len);
            *in = str_skip(*in, data->len);
            c->left -= data->len;
            if (c->left == 0) c->state = CHUNK_DATA_CR;
            return HTTP_MORE;
        }
        const char *wrong = frame_byte(c, *in->p);
        if (wrong != NULL) {
            err_set(e, ERR_INVALID, "%s", wrong);
            return HTTP_BAD;
        }
        *in = str_skip(*in, 1);
    }
}

size_t http_chunk_head(uint64_t n, char out[20])
{
    size_t len = 1;
    for (uint64_t rest = n >> 4; rest != 0; rest >>= 4)
        len++;
    for (size_t i = len; i-- > 0; n >>= 4)
        out[i] = "0123456789abcdef"[n & 15];
    out[len] = '\r';
    out[len + 1] = '\n';
    return len + 2;
}
