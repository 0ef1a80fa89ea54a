/* cbor.h - reading CBOR in CTAP2's canonical form, and nothing else.
 *
 * Refused: indefinite lengths, integers and lengths that a shorter head could say, tags, floating point, undefined and
 * other simple values, texts that are not UTF-8, map keys that are no integers or texts, out of order or twice, more
 * than CBOR_DEPTH_MAX levels, anything that is cut short. One value has one encoding.
 * No allocation: items are slices of the input, checked to the bottom before they are given out.
 * Threads: pure. Source: RFC 8949 section 4.2; CTAP 2.1 section 8.
 */
#ifndef CORE_WEBAUTHN_CBOR_H
#define CORE_WEBAUTHN_CBOR_H

#include "base/err.h"

#define CBOR_DEPTH_MAX 4

enum cbor_type {
    CBOR_UINT,
    CBOR_NEGATIVE, /* -1 - n */
    CBOR_BYTES,
    CBOR_TEXT,
    CBOR_ARRAY,
    CBOR_MAP,
    CBOR_FALSE,
    CBOR_TRUE,
    CBOR_NULL
};

struct cbor {
    enum cbor_type type;
    uint64_t n; /* the number; elements of an array; pairs of a map */
    str bytes;  /* bytes and texts: the content; arrays and maps: the elements as they are encoded */
};

/* The first item of *rest, which moves behind it. ERR_INVALID. */
WARN_UNUSED enum errc cbor_read(str *rest, struct cbor *out, err *e);
/* The same of a whole text: nothing may follow. */
WARN_UNUSED enum errc cbor_parse(str text, struct cbor *out, err *e);

/* The next element of *elements (the bytes of an array, or of a map: key, value, key, …); false at the end. */
bool cbor_next(str *elements, struct cbor *out);
/* The value at a key; false when there is none or it is no map. */
WARN_UNUSED bool cbor_at(const struct cbor *map, int64_t key, struct cbor *out);
WARN_UNUSED bool cbor_named(const struct cbor *map, str key, struct cbor *out);
/* False when it is no integer or does not fit. */
WARN_UNUSED bool cbor_i64(const struct cbor *c, int64_t *out);

#endif
