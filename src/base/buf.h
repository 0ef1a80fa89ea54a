/* buf.h - growing bytes with a hard maximum from birth and a sticky error.
 *
 * Writers append without testing each step and look at `buf_err` once at the end. After an error nothing is appended.
 * Memory is malloc'ed, doubled on demand, and freed by buf_fini. Invariant: len <= cap <= max.
 * Threads: one owner at a time.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>

#include "base/err.h"

struct buf {
    char *p;
    size_t len, cap;
    size_t max;         /* bytes; appending past it is ERR_TOO_LARGE */
    enum errc failed;   /* sticky */
};

void buf_init(struct buf *b, size_t max);
void buf_fini(struct buf *b);
/* Empties it and clears the error; keeps the memory. */
void buf_clear(struct buf *b);
static inline str buf_str(const struct buf *b) { return (str){b->p, b->len}; }
WARN_UNUSED static inline enum errc buf_err(const struct buf *b) { return b->failed; }

/* Room for n more bytes at the returned place (then buf_added), or NULL with the sticky error set. */
char *buf_reserve(struct buf *b, size_t n);
static inline void buf_added(struct buf *b, size_t n) { b->len += n; }

void buf_add(struct buf *b, str s);
void buf_add_char(struct buf *b, char c);
void buf_add_u64(struct buf *b, uint64_t v);
void buf_add_i64(struct buf *b, int64_t v);
void buf_addf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Drops the first n bytes (moves the rest down). */
void buf_consume(struct buf *b, size_t n);

#endif
