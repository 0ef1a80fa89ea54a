/* str.h - slices: a pointer and a length, never assumed to end in NUL, may contain NULs.
 *
 * Parsers return slices into their input; copying is a decision (`str_dup`, arena.h). Empty slices may have p == NULL.
 * Threads: pure functions, any thread.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WARN_UNUSED __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define LENGTH_OF(array) (sizeof(array) / sizeof((array)[0]))

typedef struct {
    const char *p;
    size_t len;
} str;

#define S(lit) ((str){"" lit, sizeof(lit) - 1})
#define STR_LIT(lit) {"" lit, sizeof(lit) - 1} /* the same for static initialisers */
#define STR(s) ((int)(s).len), ((s).p ? (s).p : "")      /* for "%.*s" */

static inline str str_of(const char *p, size_t len) { return (str){p, len}; }
static inline str str_c(const char *c) { return (str){c, c ? strlen(c) : 0}; }

static inline bool str_eq(str a, str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}
static inline bool str_starts(str s, str prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.p, prefix.p, prefix.len) == 0);
}
static inline bool str_ends(str s, str suffix)
{
    return s.len >= suffix.len &&
           (suffix.len == 0 || memcmp(s.p + (s.len - suffix.len), suffix.p, suffix.len) == 0);
}
static inline str str_skip(str s, size_t n)
{
    return n >= s.len ? (str){s.p ? s.p + s.len : NULL, 0} : (str){s.p + n, s.len - n};
}
static inline str str_take(str s, size_t n) { return (str){s.p, n < s.len ? n : s.len}; }

/* Equal under ASCII case folding. */
bool str_ieq(str a, str b);
/* memcmp order, shorter first when one is a prefix of the other: <0, 0, >0. */
int str_cmp(str a, str b);
/* Index of the first c / of needle, or -1. */
ptrdiff_t str_chr(str s, char c);
ptrdiff_t str_find(str s, str needle);
/* Without leading and trailing space, tab, CR and LF. */
str str_trim(str s);
/* Cuts s at the first sep: returns what stands before it and moves *s behind it (to empty when there is none). */
str str_cut(str *s, char sep);

/* Decimal digits only (a '-' for the signed form): no sign '+', no spaces, no junk; false on overflow or junk. */
WARN_UNUSED bool str_to_u64(str s, uint64_t *out);
WARN_UNUSED bool str_to_i64(str s, int64_t *out);

/* Shell-like match of a whole name: '*' any run, '?' one byte; everything else is literal. O(len(pattern) x len(s)). */
bool str_glob(str pattern, str s);
/* Edit distance (Levenshtein) for "did you mean"; 255 when either is longer than 63 bytes. */
unsigned str_distance(str a, str b);

#endif
