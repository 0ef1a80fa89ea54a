/* names.h - finding duplicate member names while an object's members arrive one by one. Private to src/json.
 *
 * Few members are compared with each other; from NAMES_LINEAR on a hash table in the arena keeps the work
 * linear. It is keyed (map.h), so a text cannot be made to collide.
 */
#ifndef JSON_NAMES_H
#define JSON_NAMES_H

#include "json/tree.h"

#define NAMES_LINEAR 16

struct names {
    const struct json **slots; /* NULL while the object is small */
    uint32_t cap;              /* a power of two */
};

/* Looks for the name of `member` among the members that `object` has so far (member not linked yet), and
 * remembers it. ERR_TOO_LARGE when the arena is full. */
WARN_UNUSED enum errc names_add(struct names *set, struct arena *a, const struct json *object,
                                const struct json *member, bool *is_duplicate);

#endif
