/* bytes.h - byte classes of HTTP and the two searches that heads and event streams spend their time in.
 * Private to net/.
 *
 * Sources: RFC 9110 5.6.2 (token), 5.5 (field values), RFC 3986 (targets and hosts).
 * Threads: pure.
 */
#ifndef NET_BYTES_H
#define NET_BYTES_H

#include "base/str.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum byte_class {
    BYTE_TOKEN = 1,  /* tchar: methods and field names */
    BYTE_TARGET = 2, /* visible ASCII but '#': request targets hold no fragment */
    BYTE_TEXT = 4,   /* field values and reasons: HTAB, space, visible ASCII and obs-text */
    BYTE_HOST = 8,   /* letters, digits, '-', '.', '_' */
};

static const uint8_t byte_classes[256] = {
     0,  0,  0,  0,  0,  0,  0,  0,  0,  4,  0,  0,  0,  0,  0,  0, /* 00 */
     0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0, /* 10 */
     4,  7,  6,  5,  7,  7,  7,  7,  6,  6,  7,  7,  6, 15, 15,  6, /* 20 */
    15, 15, 15, 15, 15, 15, 15, 15, 15, 15,  6,  6,  6,  6,  6,  6, /* 30 */
     6, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, /* 40 */
    15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15,  6,  6,  6,  7, 15, /* 50 */
     7, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, /* 60 */
    15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15,  6,  7,  6,  7,  0, /* 70 */
     4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4, /* 80 */
     4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4, /* 90 */
     4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4, /* a0 */
     4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4, /* b0 */
     4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4, /* c0 */
     4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4, /* d0 */
     4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4, /* e0 */
     4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4, /* f0 */
};

static inline bool byte_is(char c, enum byte_class class)
{
    return (byte_classes[(uint8_t)c] & (unsigned)class) != 0;
}

/* The first byte of [p, end) that is no BYTE_TEXT (a control byte, CR and LF included), or end. */
static inline const char *bytes_text_end(const char *p, const char *end)
{
#if defined(__SSE2__)
    const __m128i last_control = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8('\t'), del = _mm_set1_epi8(0x7f);
    for (; end - p >= 16; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, last_control), v);
        __m128i bad = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(v, tab), low), _mm_cmpeq_epi8(v, del));
        unsigned mask = (unsigned)_mm_movemask_epi8(bad);
        if (mask != 0) return p + __builtin_ctz(mask);
    }
#endif
    while (p < end && byte_is(*p, BYTE_TEXT)) p++;
    return p;
}

/* The first CR or LF of [p, end), or end. */
static inline const char *bytes_line_end(const char *p, const char *end)
{
#if defined(__SSE2__)
    const __m128i cr = _mm_set1_epi8('\r'), lf = _mm_set1_epi8('\n');
    for (; end - p >= 16; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i ends = _mm_or_si128(_mm_cmpeq_epi8(v, cr), _mm_cmpeq_epi8(v, lf));
        unsigned mask = (unsigned)_mm_movemask_epi8(ends);
        if (mask != 0) return p + __builtin_ctz(mask);
    }
#endif
    while (p < end && *p != '\r' && *p != '\n') p++;
    return p;
}

#endif
