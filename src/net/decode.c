#include "net/decode.h"

#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

/* Room offered to the decoders at a time. Less than any window that is refused: zstd skips its window
 * check for a frame that fits the offered room as a whole, and the answer must not hang on how much room
 * there happened to be. */
enum { STEP_BYTES = 65536, ZSTD_WINDOW_LOG_MAX = 23 };

enum errc coding_parse(str content_encoding, enum http_coding *out, err *e)
{
    static const struct {
        str name;
        enum http_coding coding;
    } codings[] = {
        {STR_LIT(""), CODING_IDENTITY}, {STR_LIT("identity"), CODING_IDENTITY},
        {STR_LIT("gzip"), CODING_GZIP}, {STR_LIT("x-gzip"), CODING_GZIP}, /* RFC 9110 8.4.1.3 */
        {STR_LIT("zstd"), CODING_ZSTD},
    };
    str name = str_trim(content_encoding);
    for (size_t i = 0; i < LENGTH_OF(codings); i++) {
        if (str_ieq(name, codings[i].name)) {
            *out = codings[i].coding;
            return ERR_NONE;
        }
    }
    return err_set(e, ERR_MEDIA_TYPE, "no content coding but identity, gzip and zstd alone is supported");
}

static enum errc too_large(struct buf *out, err *e)
{
    out->failed = ERR_TOO_LARGE;
    return err_set(e, ERR_TOO_LARGE, "the body decodes to more than %zu bytes", out->max);
}

/* Room in out for the next step. When out is at its maximum: one byte of `spare`, which shows whether more
 * comes. */
static char *next_room(struct buf *out, char *spare, size_t *room)
{
    size_t left = out->max - out->len;
    *room = left < STEP_BYTES ? left : STEP_BYTES;
    if (left > 0) return buf_reserve(out, *room);
    *room = 1;
    return spare;
}

/* Takes note of n bytes written to the room; false when they were written to the spare byte. */
static bool take_room(struct buf *out, const char *room, const char *spare, size_t n)
{
    if (n > 0 && room == spare) return false;
    if (n > 0) buf_added(out, n);
    return true;
}

static enum errc decode_gzip(str in, struct buf *out, err *e)
{
    z_stream z = {.next_in = NULL};
    char spare;
    int status = Z_OK;
    enum errc rc = ERR_NONE;
    if (inflateInit2(&z, 15 + 16) != Z_OK)
        return err_code(e, ERR_NO_MEMORY); /* 16: a gzip header, nothing else */

    /* Every round consumes input, or fills its room, or ends; the output has a maximum. */
    for (;;) {
        size_t room, offered = in.len < STEP_BYTES ? in.len : STEP_BYTES;
        char *at = next_room(out, &spare, &room);
        if (at == NULL) {
            rc = err_code(e, buf_err(out));
            break;
        }
        z.next_in = (const Bytef *)in.p;
        z.avail_in = (uInt)offered;
        z.next_out = (Bytef *)at;
        z.avail_out = (uInt)room;
        status = inflate(&z, Z_NO_FLUSH);
        in = str_skip(in, offered - z.avail_in);
        if (!take_room(out, at, &spare, room - z.avail_out)) {
            rc = too_large(out, e);
            break;
        }
        if (status == Z_STREAM_END && in.len > 0) {
            status =
                inflateReset(&z); /* RFC 1952 2.2: members follow each other with nothing between or behind */
        } else if (status == Z_STREAM_END) {
            break;
        }
        if (status == Z_MEM_ERROR) {
            rc = err_code(e, ERR_NO_MEMORY);
            break;
        }
        if (status != Z_OK) {
            rc = err_set(e, ERR_INVALID, "the body is damaged, truncated or not gzip at all");
            break;
        }
    }
    inflateEnd(&z);
    return rc;
}

static enum errc decode_zstd(str in, struct buf *out, err *e)
{
    ZSTD_DCtx *z = ZSTD_createDCtx();
    char spare;
    enum errc rc = ERR_NONE;
    if (z == NULL || ZSTD_isError(ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX))) {
        ZSTD_freeDCtx(z);
        return err_code(e, ERR_NO_MEMORY);
    }

    ZSTD_inBuffer from = {in.p, in.len, 0};
    for (;;) {
        size_t room, before = from.pos;
        char *at = next_room(out, &spare, &room);
        if (at == NULL) {
            rc = err_code(e, buf_err(out));
            break;
        }
        ZSTD_outBuffer to = {at, room, 0};
        size_t left = ZSTD_decompressStream(z, &to, &from);
        if (!take_room(out, at, &spare, to.pos)) {
            rc = too_large(out, e);
            break;
        }
        if (ZSTD_isError(left)) {
            rc = ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation
                     ? err_code(e, ERR_NO_MEMORY)
                     : err_set(e, ERR_INVALID, "the body is damaged, not zstd, or needs a window over 8 MiB");
            break;
        }
        if (left == 0 && from.pos == from.size) break; /* a frame ended with the input */
        if (from.pos == before && to.pos == 0) {
            rc = err_set(e, ERR_INVALID, "the body is truncated");
            break;
        }
    }
    ZSTD_freeDCtx(z);
    return rc;
}

enum errc coding_decode(enum http_coding coding, str in, struct buf *out, err *e)
{
    switch (coding) {
    case CODING_GZIP: return decode_gzip(in, out, e);
    case CODING_ZSTD: return decode_zstd(in, out, e);
    case CODING_IDENTITY: break;
    }
    if (in.len > out->max - out->len) return too_large(out, e);
    buf_add(out, in);
    return buf_err(out) == ERR_NONE ? ERR_NONE : err_code(e, buf_err(out));
}
