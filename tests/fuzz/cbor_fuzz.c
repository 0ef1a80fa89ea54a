/* CBOR in its canonical form: one value has one encoding, so what is accepted is written anew to the same bytes; and what
 * is read as a public key lies inside the input. */
#include <stdlib.h>

#include "base/buf.h"
#include "core/webauthn/cbor.h"
#include "core/webauthn/cose.h"

#define REQUIRE(claim)                                                                                       \
    do {                                                                                                     \
        if (!(claim)) abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_head(struct buf *b, unsigned major, uint64_t n)
{
    unsigned more = n < 24 ? 0 : n < 0x100 ? 1 : n < 0x10000 ? 2 : n < 0x100000000 ? 4 : 8;
    unsigned code = more == 0 ? (unsigned)n : more == 1 ? 24 : more == 2 ? 25 : more == 4 ? 26 : 27;
    buf_add_char(b, (char)(major << 5 | code));
    while (more--)
        buf_add_char(b, (char)(n >> (8 * more)));
}

static void write_anew(struct buf *b, const struct cbor *c, unsigned depth)
{
    struct cbor item;
    uint64_t n = 0;
    REQUIRE(depth <= CBOR_DEPTH_MAX);
    switch (c->type) {
    case CBOR_UINT: put_head(b, 0, c->n); return;
    case CBOR_NEGATIVE: put_head(b, 1, c->n); return;
    case CBOR_BYTES:
    case CBOR_TEXT:
        REQUIRE(c->bytes.len == c->n);
        put_head(b, c->type == CBOR_BYTES ? 2 : 3, c->n);
        buf_add(b, c->bytes);
        return;
    case CBOR_ARRAY:
    case CBOR_MAP:
        put_head(b, c->type == CBOR_ARRAY ? 4 : 5, c->n);
        for (str rest = c->bytes; cbor_next(&rest, &item); n++)
            write_anew(b, &item, depth + 1);
        REQUIRE(n == c->n * (c->type == CBOR_MAP ? 2 : 1));
        return;
    case CBOR_FALSE: put_head(b, 7, 20); return;
    case CBOR_TRUE: put_head(b, 7, 21); return;
    case CBOR_NULL: put_head(b, 7, 22); return;
    }
    abort();
}

static void inside(str text, str part)
{
    REQUIRE(part.len == 0 || (part.p >= text.p && part.p + part.len <= text.p + text.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size ? size : 1);
    struct cbor c, value;
    struct cose_key key = {.algorithm = COSE_ES256};
    err e = {0};
    REQUIRE(copy != NULL);
    if (size) memcpy(copy, data, size);
    str text = str_of(copy, size);
    enum errc rc = cbor_parse(text, &c, &e);
    REQUIRE(rc == e.code && (rc == ERR_NONE || rc == ERR_INVALID));
    if (rc == ERR_NONE) {
        struct buf b;
        buf_init(&b, size + 16);
        write_anew(&b, &c, 0);
        REQUIRE(str_eq(buf_str(&b), text));
        buf_fini(&b);
        if (cbor_at(&c, 1, &value)) inside(text, value.bytes);
        if (cbor_named(&c, S("fmt"), &value)) inside(text, value.bytes);
    }
    if (cose_key_read(text, &key, NULL) == ERR_NONE) {
        REQUIRE(rc == ERR_NONE && c.type == CBOR_MAP);
        inside(text, key.x);
        inside(text, key.y);
        inside(text, key.n);
        inside(text, key.e);
        REQUIRE(!cose_verify(&key, S("data"), S("no signature")));
    }
    free(copy);
    return 0;
}
