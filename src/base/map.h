/* map.h - hash map from byte strings to pointers.
 *
 * Open addressing, SipHash-1-3 under a per-process random key, so that keys from outside cannot be chosen to collide.
 * The map does not own keys or values; keys must outlive their entries.
 * Threads: one writer and no readers, or any number of readers and no writer.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/err.h"

struct map_slot;
struct map {
    struct map_slot *slots;
    size_t n, cap;
};

void map_init(struct map *m);
void map_fini(struct map *m);
/* The value, or NULL. */
void *map_get(const struct map *m, str key);
/* Adds or replaces; ERR_NO_MEMORY. value must not be NULL. */
WARN_UNUSED enum errc map_put(struct map *m, str key, void *value);
/* Removes; the old value or NULL. */
void *map_del(struct map *m, str key);
/* Iteration in no order: `for (size_t it = 0; map_next(m, &it, &k, &v);)`; no change to the map meanwhile. */
bool map_next(const struct map *m, size_t *it, str *key, void **value);
/* The keyed hash itself. */
uint64_t hash_bytes(str s);

#endif
