#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct arena_block {
    struct arena_block *previous;
    size_t size; /* of the whole block, this header included */
    char bytes[] __attribute__((aligned(16)));
};

#define FIRST_BLOCK_DEFAULT 1024
#define BLOCK_GROWTH_MAX (256u << 10) /* blocks double up to this size */

void arena_init(struct arena *a, size_t limit_bytes, size_t first_block)
{
    *a = (struct arena){.limit = limit_bytes, .first = first_block ? first_block : FIRST_BLOCK_DEFAULT};
}

void arena_fini(struct arena *a)
{
    while (a->head) {
        struct arena_block *previous = a->head->previous;
        free(a->head);
        a->head = previous;
    }
    a->at = a->end = NULL;
    a->used = 0;
}

static bool add_block(struct arena *a, size_t need)
{
    size_t size = a->head ? a->head->size * 2 : a->first;
    if (size > BLOCK_GROWTH_MAX)
        size = BLOCK_GROWTH_MAX;
    size_t least;
    if (__builtin_add_overflow(need, sizeof(struct arena_block) + 16, &least))
        return false;
    if (size < least)
        size = least;
    if (size > a->limit - a->used)
        size = a->limit - a->used;
    if (size < least)
        return false;
    struct arena_block *block = malloc(size);
    if (!block)
        return false;
    block->previous = a->head;
    block->size = size;
    a->head = block;
    a->used += size;
    a->at = block->bytes;
    a->end = (char *)block + size;
    return true;
}

static char *take(struct arena *a, size_t n, size_t align)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        size_t pad = a->at ? (size_t)(-(uintptr_t)a->at) & (align - 1) : 0;
        if (a->at && pad <= (size_t)(a->end - a->at) && n <= (size_t)(a->end - a->at) - pad) {
            char *p = a->at + pad;
            a->at = p + n;
            return p;
        }
        if (attempt == 0 && !add_block(a, n))
            return NULL;
    }
    return NULL;
}

void *arena_alloc(struct arena *a, size_t n)
{
    char *p = take(a, n, 16);
    if (p && n)
        memset(p, 0, n);
    return p;
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
    size_t bytes;
    return __builtin_mul_overflow(n, size, &bytes) ? NULL : arena_alloc(a, bytes);
}

char *arena_bytes(struct arena *a, size_t n) { return take(a, n, 1); }

str str_dup(struct arena *a, str s)
{
    char *p = arena_bytes(a, s.len);
    if (p && s.len)
        memcpy(p, s.p, s.len);
    return (str){p, p ? s.len : 0};
}

char *str_to_c(struct arena *a, str s)
{
    char *p = s.len == SIZE_MAX ? NULL : arena_bytes(a, s.len + 1);
    if (!p)
        return NULL;
    if (s.len)
        memcpy(p, s.p, s.len);
    p[s.len] = '\0';
    return p;
}

str arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    char *p = n < 0 ? NULL : arena_bytes(a, (size_t)n + 1);
    if (p)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(args);
    return (str){p, p ? (size_t)n : 0};
}

struct arena_mark arena_mark(const struct arena *a) { return (struct arena_mark){a->head, a->at}; }

void arena_reset(struct arena *a, struct arena_mark m)
{
    while (a->head != m.head) {
        struct arena_block *previous = a->head->previous;
        a->used -= a->head->size;
        free(a->head);
        a->head = previous;
    }
    a->at = m.at;
    a->end = a->head ? (char *)a->head + a->head->size : NULL;
}
