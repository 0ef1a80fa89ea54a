/* lex.h - the lexical rules of JSON (RFC 8259 sections 2, 6 and 7), shared by scan, tree and yaml. Private to
 * src/json.
 *
 * Every function takes a range [p, end), never reads outside it, and returns where it stopped, or NULL after
 * noting in *fault which byte is wrong and why. Strings are checked 16 bytes at a time (SSE2, part of every
 * x86-64) or 8 at a time elsewhere; UTF-8 is checked only where a byte above 0x7F stands.
 * Threads: pure functions.
 */
#ifndef JSON_LEX_H
#define JSON_LEX_H

#include "base/err.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

struct lex_fault {
    const char *at;   /* the offending byte; `end` when the text stops too early */
    const char *what; /* a literal, what was wrong or expected */
};

static inline const char *lex_fail(struct lex_fault *fault, const char *at, const char *what)
{
    fault->at = at;
    fault->what = what;
    return NULL;
}

/* Bytes that stand for themselves inside a string: ASCII without controls, '"' and '\\'. */
static inline bool lex_is_plain(unsigned char c) { return c >= 0x20 && c < 0x80 && c != '"' && c != '\\'; }

/* The first byte of [p, end) that is not plain, or end. Eight at a time with ordinary integers: a zero byte
 * of `v ^ c` sets the top bit of its lane in (x - 1) & ~x; a lane may be set wrongly above a true one, which
 * costs nothing, as the bytes of such a group are looked at one by one. */
static inline const char *lex_plain_run_portable(const char *p, const char *end)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    while (end - p >= 8) {
        uint64_t v;
        memcpy(&v, p, 8);
        const uint64_t quote = v ^ (ones * '"'), back = v ^ (ones * '\\');
        const uint64_t hits =
            v | ((v - ones * 0x20) & ~v) | ((quote - ones) & ~quote) | ((back - ones) & ~back);
        if (hits & tops) break;
        p += 8;
    }
    while (p != end && lex_is_plain((unsigned char)*p))
        p++;
    return p;
}

#ifdef __SSE2__
static inline const char *lex_plain_run(const char *p, const char *end)
{
    const __m128i quote = _mm_set1_epi8('"'), back = _mm_set1_epi8('\\'), space = _mm_set1_epi8(0x20);
    while (end - p >= 16) {
        const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        /* The comparison is signed: below 0x20 are the controls and everything from 0x80 on. */
        const __m128i hit = _mm_or_si128(_mm_cmplt_epi8(v, space),
                                         _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, back)));
        const int mask = _mm_movemask_epi8(hit);
        if (mask) return p + __builtin_ctz((unsigned)mask);
        p += 16;
    }
    return lex_plain_run_portable(p, end);
}
#else
static inline const char *lex_plain_run(const char *p, const char *end)
{
    return lex_plain_run_portable(p, end);
}
#endif

static inline bool lex_is_tail(char c) { return ((unsigned char)c & 0xC0) == 0x80; }

/* One sequence of two to four bytes (RFC 3629 section 4): behind it, or NULL when it is not valid. */
static inline const char *lex_utf8(const char *p, const char *end)
{
    const unsigned char a = (unsigned char)p[0];
    const ptrdiff_t room = end - p;
    if (a < 0xC2 || room < 2 || !lex_is_tail(p[1])) return NULL;
    if (a < 0xE0) return p + 2;
    const unsigned char b = (unsigned char)p[1];
    if (room < 3 || !lex_is_tail(p[2])) return NULL;
    if (a < 0xF0) /* overlong below E0 A0, surrogates from ED A0 on */
        return (a == 0xE0 && b < 0xA0) || (a == 0xED && b > 0x9F) ? NULL : p + 3;
    if (room < 4 || !lex_is_tail(p[3]) || a > 0xF4 || (a == 0xF0 && b < 0x90) || (a == 0xF4 && b > 0x8F))
        return NULL;
    return p + 4;
}

/* p stands at a backslash; returns behind the escape (both halves of a surrogate pair). */
const char *lex_escape(const char *p, const char *end, struct lex_fault *fault);

/* p stands behind the opening quote; returns the closing one. Sets *has_escapes when there are any. */
static inline const char *lex_string(const char *p, const char *end, bool *has_escapes,
                                     struct lex_fault *fault)
{
    for (;;) {
        p = lex_plain_run(p, end);
        if (p == end) return lex_fail(fault, p, "unfinished string");
        const unsigned char c = (unsigned char)*p;
        if (c == '"') return p;
        if (c == '\\') {
            *has_escapes = true;
            p = lex_escape(p, end, fault);
            if (!p) return NULL;
        } else if (c < 0x20) {
            return lex_fail(fault, p, "control character in a string");
        } else {
            do {
                const char *next = lex_utf8(p, end);
                if (!next) return lex_fail(fault, p, "invalid UTF-8");
                p = next;
            } while (p != end && (unsigned char)*p >= 0x80);
        }
    }
}

/* Behind the run of spaces, for the cases that the inline part does not settle. */
const char *lex_space_run(const char *p, const char *end);

/* Behind spaces, tabs, LF and CR. Nothing or one space is what compact and usual writers put between
 * tokens. */
static inline const char *lex_space(const char *p, const char *end)
{
    if (p != end && *p == ' ') p++;
    if (p == end || (unsigned char)*p > ' ') return p;
    return lex_space_run(p, end);
}

/* p stands at '-' or a digit; returns behind the number. */
const char *lex_number(const char *p, const char *end, struct lex_fault *fault);
/* p stands at the first letter of word; returns behind it. */
const char *lex_word(const char *p, const char *end, str word, struct lex_fault *fault);

/* p stands at a byte with which no value starts: fails, with a word for the byte order mark, which RFC 8259
 * section 8.1 allows to refuse. */
const char *lex_no_value(const char *p, const char *end, struct lex_fault *fault);

/* --- contents of strings that were found valid, without quotes --- */

/* The next piece of the decoded text: a run without escapes, or one decoded escape in tmp. False at the
 * end. */
bool lex_piece(str *rest, char tmp[4], str *piece);
/* Decodes into out (at least s.len bytes); returns the number of bytes. */
size_t lex_unescape(str s, char *out);
/* Whether the decoded text equals t. */
bool lex_unescaped_is(str s, str t);

/* The value of a number that was found valid, when it is an integer in range ("1e3" and "12.0" are). */
WARN_UNUSED bool lex_to_i64(str number, int64_t *out);

/* ERR_SYNTAX with the fault's text and the offset of its byte in the text that starts at `text`. */
enum errc lex_error(const struct lex_fault *fault, const char *text, err *e);

#endif
