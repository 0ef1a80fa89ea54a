/* flags.h - feature flags of a workspace, in flagd's JSON form.
 *
 * A flag has a state, variants (names with values), a default variant and a targeting rule (core/flags/rule.h) that
 * names a variant, by workspace, user and role of who asks:
 *
 *   {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
 *    "targeting": {"if": [{"in": [{"var": "role"}, ["owner", "admin"]]}, "on", null]}}
 *
 * Names in rules: targetingKey (the user's id, or the API key's), workspace, user, role, $flagd.flagKey,
 * $flagd.timestamp (seconds). A flag can hide a feature, it never gives a permission.
 * Threads: any. flag_bool reads a snapshot: on a loop it never waits, elsewhere it may read the database anew when the
 * snapshot is FLAGS_AGE_S old. What another node changes is read at once (flags_watch).
 * Source: flagd.dev, flag definitions; OpenFeature, resolution reasons.
 */
#ifndef CORE_FLAGS_H
#define CORE_FLAGS_H

#include "core/api.h"
#include "json/tree.h"
#include "json/write.h"

struct feature_flag {
    str name;
    bool is_enabled;
    const struct json *variants;  /* an object */
    str default_variant;          /* p == NULL: none */
    const struct json *targeting; /* NULL: none */
};

/* Slices of the definition. ERR_INVALID says which member is wrong and why. */
WARN_UNUSED enum errc flag_parse(str name, const struct json *definition, struct feature_flag *out, err *e);

struct flag_context {
    uuid workspace_id;
    str targeting_key, user, role; /* empty: none */
    usec now_us;
    const struct json *attributes; /* an object of more names, or NULL */
};

enum flag_reason { FLAG_STATIC, FLAG_DEFAULT, FLAG_TARGETING_MATCH, FLAG_DISABLED, FLAG_ERROR };
const char *flag_reason_name(enum flag_reason r); /* "TARGETING_MATCH" */

struct flag_result {
    enum flag_reason reason;
    str variant;
    const struct json *value; /* NULL: whoever asks takes a value of its own */
};
struct flag_result flag_evaluate(struct arena *a, const struct feature_flag *f, const struct flag_context *c);

/* --- the flags of the server --- */

#define FLAGS_AGE_S 5

struct flags;
struct store;
WARN_UNUSED enum errc flags_new(struct flags **out, struct store *store, err *e);
void flags_free(struct flags *f);
struct events;
/* Follows what any node changes. Before events_start. */
void flags_watch(struct flags *f, struct events *log);
/* Reads all flags anew. */
WARN_UNUSED enum errc flags_refresh(struct flags *f, err *e);
/* The value of a boolean flag; fallback when there is none, it is disabled, or it is no boolean. */
bool flag_bool(struct flags *f, const char *name, const struct flag_context *c, bool fallback);
/* Every flag of the workspace as {"NAME": value, …}; null for a flag without a value. */
void flags_write_values(struct flags *f, struct arena *a, const struct flag_context *c,
                        struct json_writer *w);

extern const struct api_table flags_api; /* mounted with struct flags */

#endif
