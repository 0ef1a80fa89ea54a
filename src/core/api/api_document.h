/* api_document.h - what openapi.json and docs/api.md have in common: the tables, and the shapes that their
 * routes use. Private to src/core/api. */
#ifndef CORE_API_DOCUMENT_H
#define CORE_API_DOCUMENT_H

#include "core/api.h"

#define DOCUMENT_USES_MAX 512

struct shape_used {
    const struct shape *shape;
    enum shape_use use;
    bool as_list;          /* of answers */
};
struct document {
    const struct api_table *tables[API_TABLES_MAX + 1];
    unsigned n_tables;
    struct shape_used uses[DOCUMENT_USES_MAX];
    unsigned n_uses;
    bool has_clash, is_full; /* has_clash: two shapes have one name */
};
void document_init(struct document *d, const struct api_mount *mounts, unsigned n);
void document_use(struct document *d, const struct shape *s, enum shape_use use, bool as_list);

/* Whether Idempotency-Key is looked at. */
bool api_takes_key(const struct api_route *route);
bool api_lets_keys_in(const struct api_route *route);
/* The permission, or "(public)" and the like. */
const char *api_asks_for(const struct api_route *route);
int api_documented_status(const struct api_route *route);

#endif
