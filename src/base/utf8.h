/* utf8.h - UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. Threads: pure. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include "base/str.h"

/* Offset of the first byte that is not valid UTF-8, or s.len when all is. A sequence cut at the end counts as invalid. */
size_t utf8_valid_prefix(str s);
static inline bool utf8_is_valid(str s) { return utf8_valid_prefix(s) == s.len; }
/* The longest prefix of at most n bytes that does not cut a sequence. */
str utf8_take(str s, size_t n);
/* Writes 1 to 4 bytes of a scalar value; returns their number, 0 for surrogates and values above U+10FFFF. */
unsigned utf8_encode(uint32_t cp, char out[4]);

#endif
