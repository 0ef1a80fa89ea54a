/* arena.h - memory that dies together.
 *
 * A request, a job, a connection, a configuration generation owns one arena; everything computed for it is allocated there
 * and there are no frees. An arena has a hard limit from birth; reaching it makes arena_alloc return NULL, which callers turn into
 * ERR_TOO_LARGE. Blocks start small and double, so an idle owner costs little.
 * Threads: one owner at a time.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/err.h"

struct arena_block;
struct arena {
    struct arena_block *head;
    char *at, *end;      /* free space of the head block */
    size_t used;         /* bytes of all blocks, head included */
    size_t limit;        /* hard limit of `used` */
    size_t first;        /* size of the first block */
};
struct arena_mark {
    struct arena_block *head;
    char *at;
};

#define ARENA_REQUEST_LIMIT (8u << 20) /* default of a request */

/* No allocation happens before the first arena_alloc. first_block 0 means 1 KiB. */
void arena_init(struct arena *a, size_t limit_bytes, size_t first_block);
/* Frees everything; the arena can be used again. */
void arena_fini(struct arena *a);

/* 16-aligned, zeroed. NULL when the limit or memory is exhausted. n == 0 gives a valid pointer. */
WARN_UNUSED void *arena_alloc(struct arena *a, size_t n);
/* n * size with an overflow check. */
WARN_UNUSED void *arena_array(struct arena *a, size_t n, size_t size);
/* Not zeroed, unaligned: for text. */
WARN_UNUSED char *arena_bytes(struct arena *a, size_t n);
#define arena_new(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define arena_news(a, type, n) ((type *)arena_array((a), (n), sizeof(type)))

/* A copy; p == NULL when the arena is exhausted (never for a successful copy, even of an empty slice). */
str str_dup(struct arena *a, str s);
/* A copy that ends in NUL; NULL when exhausted. */
char *str_to_c(struct arena *a, str s);
str arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Scratch space: everything allocated since the mark is given back. */
struct arena_mark arena_mark(const struct arena *a);
void arena_reset(struct arena *a, struct arena_mark m);

#endif
