/* json_random.h - JSON texts from a fixed seed, for tests that compare implementations.
 *
 * Objects of up to eight members named a to h, so that paths such as "a.b[]" often lead somewhere; names and
 * strings are written with needless escapes now and then, and spaces stand wherever they may.
 */
#ifndef TESTS_JSON_RANDOM_H
#define TESTS_JSON_RANDOM_H

#include "base/buf.h"
#include "base/utf8.h"

struct rng {
    uint64_t s;
};

/* xorshift64* (Vigna 2016): small, and the same everywhere. */
static inline uint64_t rng_next(struct rng *r)
{
    r->s ^= r->s >> 12;
    r->s ^= r->s << 25;
    r->s ^= r->s >> 27;
    return r->s * 0x2545F4914F6CDD1Du;
}
static inline unsigned rng_below(struct rng *r, unsigned n) { return (unsigned)((rng_next(r) >> 33) % n); }
static inline bool rng_one_in(struct rng *r, unsigned n) { return rng_below(r, n) == 0; }

static inline void random_space(struct rng *r, struct buf *b)
{
    if (!rng_one_in(r, 3)) return;
    unsigned n = rng_one_in(r, 10) ? rng_below(r, 40) : rng_below(r, 3);
    while (n--)
        buf_add_char(b, " \n\t\r    "[rng_below(r, 8)]);
}

static inline uint32_t random_scalar_value(struct rng *r)
{
    for (;;) {
        const uint32_t limits[] = {0x80, 0x800, 0x10000, 0x110000};
        const uint32_t cp = rng_below(r, limits[rng_below(r, 4)]);
        if (cp < 0xD800 || cp > 0xDFFF) return cp;
    }
}

static inline void random_char(struct rng *r, struct buf *b)
{
    if (!rng_one_in(r, 4)) {
        const char c = "abcdefghij klmnopqrstuvwxyz"[rng_below(r, 27)];
        buf_add_char(b, c);
        return;
    }
    if (rng_one_in(r, 3)) {
        const char *escapes[] = {"\\\"", "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t"};
        buf_add(b, str_c(escapes[rng_below(r, 8)]));
        return;
    }
    const uint32_t cp = random_scalar_value(r);
    char utf8[4];
    if (rng_one_in(r, 2) || cp < 0x20 || cp == '"' || cp == '\\') {
        if (cp >= 0x10000)
            buf_addf(b, "\\u%04x\\u%04X", (0xD800 + ((cp - 0x10000) >> 10)) & 0xFFFF, 0xDC00 + (cp & 0x3FF));
        else
            buf_addf(b, "\\u%04x", cp ? cp : 1);
    } else {
        buf_add(b, str_of(utf8, utf8_encode(cp, utf8)));
    }
}

static inline void random_string(struct rng *r, struct buf *b)
{
    unsigned n = rng_one_in(r, 4) ? rng_below(r, 80) : rng_below(r, 10);
    buf_add_char(b, '"');
    while (n--)
        random_char(r, b);
    buf_add_char(b, '"');
}

static inline void random_number(struct rng *r, struct buf *b)
{
    switch (rng_below(r, 5)) {
    case 0: buf_addf(b, "%d", (int)rng_below(r, 2000) - 1000); break;
    case 1: buf_addf(b, "%lld", (long long)rng_next(r)); break;
    case 2: buf_addf(b, "%d.%03d", (int)rng_below(r, 200) - 100, (int)rng_below(r, 1000)); break;
    case 3: buf_addf(b, "%uE%+d", rng_below(r, 1000), (int)rng_below(r, 600) - 300); break;
    default: buf_add(b, rng_one_in(r, 2) ? S("-0") : S("0.0e1")); break;
    }
}

static inline void random_value(struct rng *r, struct buf *b, unsigned depth, bool is_top, bool unique_names)
{
    const unsigned kind = is_top && !rng_one_in(r, 20) ? 6 + rng_below(r, 4) : rng_below(r, depth ? 10 : 6);
    if (kind < 2) {
        random_string(r, b);
    } else if (kind < 4) {
        random_number(r, b);
    } else if (kind < 6) {
        const char *words[] = {"true", "false", "null"};
        buf_add(b, str_c(words[rng_below(r, 3)]));
    } else {
        const bool is_object = kind < 8;
        unsigned n = rng_below(r, is_top ? 8 : 5), letter = 0;
        buf_add_char(b, is_object ? '{' : '[');
        random_space(r, b);
        for (unsigned i = 0; i < n; i++) {
            if (i) buf_add_char(b, ',');
            random_space(r, b);
            if (is_object) {
                letter = unique_names ? letter + (i > 0) + rng_below(r, 2) : rng_below(r, 8);
                buf_addf(b, rng_one_in(r, 5) ? "\"\\u%04x\"" : "\"%c\"", 'a' + (int)letter % 26);
                random_space(r, b);
                buf_add_char(b, ':');
                random_space(r, b);
            }
            random_value(r, b, depth - 1, false, unique_names);
            random_space(r, b);
        }
        buf_add_char(b, is_object ? '}' : ']');
    }
}

/* A whole text into b, which is emptied first. */
static inline str random_document(struct rng *r, struct buf *b, bool unique_names)
{
    buf_clear(b);
    random_space(r, b);
    random_value(r, b, 1 + rng_below(r, 6), true, unique_names);
    random_space(r, b);
    return buf_str(b);
}

/* A few bytes changed, put in, taken out or doubled. */
static inline str random_mutation(struct rng *r, struct buf *b, str text)
{
    static const char interesting[] =
        "\"\\{}[],:0-9eE.+utfn \n\0\x1f\x7f\x80\xc0\xe2\xed\xa0\xf0\xf4\xff/d8c";
    buf_clear(b);
    buf_add(b, text);
    for (unsigned n = 1 + rng_below(r, 3); n > 0; n--) {
        const size_t at = rng_below(r, (unsigned)b->len + 1);
        const char c = interesting[rng_below(r, sizeof interesting - 1)];
        switch (rng_below(r, 4)) {
        case 0:
            if (at < b->len) b->p[at] = c;
            break;
        case 1:
            if (!buf_reserve(b, 1)) break;
            memmove(b->p + at + 1, b->p + at, b->len - at);
            b->p[at] = c;
            buf_added(b, 1);
            break;
        case 2:
            if (at < b->len) {
                memmove(b->p + at, b->p + at + 1, b->len - at - 1);
                b->len--;
            }
            break;
        default:
            if (rng_one_in(r, 3)) b->len = at;
            break;
        }
    }
    return buf_str(b);
}

#endif
