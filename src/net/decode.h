/* decode.h - content codings of bodies: identity, gzip (RFC 1952) and zstd (RFC 8878), under a bomb limit.
 *
 * The output buffer's hard maximum is the limit: a body that decodes to more is ERR_TOO_LARGE before it is
 * stored. Truncated input, trailing junk and wrong checksums are ERR_INVALID. Several gzip members or zstd
 * frames in a row are one body, as both RFCs have it. zstd windows over 8 MiB are refused (RFC 9659).
 * Threads: one owner.
 */
#ifndef NET_DECODE_H
#define NET_DECODE_H

#include "base/buf.h"

enum http_coding { CODING_IDENTITY, CODING_GZIP, CODING_ZSTD };

/* From a Content-Encoding value; ERR_MEDIA_TYPE for anything else, several codings included. Empty means
 * identity. */
WARN_UNUSED enum errc coding_parse(str content_encoding, enum http_coding *out, err *e);
/* Decodes a whole body and appends it to out. ERR_INVALID, ERR_TOO_LARGE, ERR_NO_MEMORY; what was decoded
 * until then stays in out. */
WARN_UNUSED enum errc coding_decode(enum http_coding coding, str in, struct buf *out, err *e);

#endif
