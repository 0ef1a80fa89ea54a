#include "json/names.h"

#include "base/map.h"

/* The slot where `name` stands or belongs; the table is never more than half full. */
static const struct json **slot_of(const struct names *set, str name)
{
    for (uint64_t i = hash_bytes(name);; i++) {
        const struct json **slot = &set->slots[i & (set->cap - 1)];
        if (!*slot || str_eq((*slot)->name, name)) return slot;
    }
}

enum errc names_add(struct names *set, struct arena *a, const struct json *object, const struct json *member,
                    bool *is_duplicate)
{
    *is_duplicate = false;
    if (object->n < NAMES_LINEAR) {
        for (const struct json *m = object->child; m && !*is_duplicate; m = m->next)
            *is_duplicate = str_eq(m->name, member->name);
        return ERR_NONE;
    }
    if (!set->slots || object->n >= set->cap / 2) {
        if (object->n > UINT32_MAX / 8) return ERR_TOO_LARGE;
        set->cap = set->cap ? set->cap * 4 : NAMES_LINEAR * 8;
        set->slots = arena_news(a, const struct json *, set->cap);
        if (!set->slots) return ERR_TOO_LARGE;
        for (const struct json *m = object->child; m; m = m->next)
            *slot_of(set, m->name) = m;
    }
    const struct json **slot = slot_of(set, member->name);
    *is_duplicate = *slot != NULL;
    if (!*slot) *slot = member;
    return ERR_NONE;
}
