#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

#define FIRST_CAPACITY 256

void buf_init(struct buf *b, size_t max) { *b = (struct buf){.max = max}; }

void buf_fini(struct buf *b)
{
    free(b->p);
    b->p = NULL;
    b->len = b->cap = 0;
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = ERR_NONE;
}

static bool grow(struct buf *b, size_t need)
{
    size_t cap = b->cap ? b->cap : FIRST_CAPACITY;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    if (cap > b->max)
        cap = b->max;
    char *p = realloc(b->p, cap ? cap : 1);
    if (!p) {
        b->failed = ERR_NO_MEMORY;
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

char *buf_reserve(struct buf *b, size_t n)
{
    if (b->failed)
        return NULL;
    if (n > b->max - b->len) {
        b->failed = ERR_TOO_LARGE;
        return NULL;
    }
    if ((b->len + n > b->cap || !b->p) && !grow(b, b->len + n))
        return NULL;
    return b->p + b->len;
}

void buf_add(struct buf *b, str s)
{
    char *at = buf_reserve(b, s.len);
    if (!at || !s.len)
        return;
    memcpy(at, s.p, s.len);
    b->len += s.len;
}

void buf_add_char(struct buf *b, char c)
{
    char *at = buf_reserve(b, 1);
    if (!at)
        return;
    *at = c;
    b->len++;
}

void buf_add_u64(struct buf *b, uint64_t v)
{
    char digits[20];
    size_t n = sizeof digits;
    do {
        digits[--n] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    buf_add(b, str_of(digits + n, sizeof digits - n));
}

void buf_add_i64(struct buf *b, int64_t v)
{
    if (v < 0)
        buf_add_char(b, '-');
    buf_add_u64(b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    /* vsnprintf wants room for a NUL that the buffer does not keep; near the maximum it goes through a copy */
    if (n >= 0) {
        size_t len = (size_t)n;
        char *at = buf_reserve(b, len);
        if (at && b->cap - b->len > len) {
            vsnprintf(at, len + 1, fmt, again);
            b->len += len;
        } else if (at) {
            char *copy = malloc(len + 1);
            if (copy) {
                vsnprintf(copy, len + 1, fmt, again);
                buf_add(b, str_of(copy, len));
                free(copy);
            } else {
                b->failed = ERR_NO_MEMORY;
            }
        }
    }
    va_end(again);
}

void buf_consume(struct buf *b, size_t n)
{
    if (n >= b->len) {
        b->len = 0;
        return;
    }
    memmove(b->p, b->p + n, b->len - n);
    b->len -= n;
}
