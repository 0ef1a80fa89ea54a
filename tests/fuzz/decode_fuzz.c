/* Content codings: the first byte chooses the coding (i identity, g gzip, z zstd), the rest is the body.
 * The limit of the output holds, and a body that decodes to n bytes fits n and does not fit n - 1. */
#include <stdlib.h>

#include "net/decode.h"

#define REQUIRE(claim)                                                                                       \
    do {                                                                                                     \
        if (!(claim)) abort();                                                                               \
    } while (0)

#define OUTPUT_MAX (256u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum errc decode(enum http_coding coding, str in, size_t max, struct buf *out)
{
    err e = {0};
    buf_init(out, max);
    enum errc rc = coding_decode(coding, in, out, &e);
    REQUIRE(rc == e.code && out->len <= max && out->cap <= max);
    REQUIRE(rc == ERR_NONE || rc == ERR_INVALID || rc == ERR_TOO_LARGE || rc == ERR_NO_MEMORY);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    enum http_coding coding = (enum http_coding)(data[0] % 3); /* 'i' is 0, 'g' 1, 'z' 2 */
    str in = str_of((const char *)data + 1, size - 1);
    struct buf out, again;
    enum errc rc = decode(coding, in, OUTPUT_MAX, &out);
    if (rc == ERR_NONE) {
        REQUIRE(decode(coding, in, out.len, &again) == ERR_NONE);
        REQUIRE(str_eq(buf_str(&again), buf_str(&out)));
        buf_fini(&again);
        if (out.len > 0) {
            REQUIRE(decode(coding, in, out.len - 1, &again) == ERR_TOO_LARGE);
            REQUIRE(str_starts(buf_str(&out), buf_str(&again)));
            buf_fini(&again);
        }
    }
    buf_fini(&out);
    if (coding == CODING_IDENTITY) {
        enum http_coding named;
        enum errc code = coding_parse(in, &named, NULL);
        REQUIRE(code == ERR_NONE || code == ERR_MEDIA_TYPE);
    }
    return 0;
}
