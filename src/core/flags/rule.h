/* rule.h - the targeting rules of feature flags: JsonLogic as flagd has it, checked when a flag is stored and evaluated
 * with bounds.
 *
 * Operators: var, ==, ===, !=, !==, <, <=, >, >=, !, !!, and, or, if, in, cat, starts_with, ends_with, sem_ver, fractional.
 * A custom operator that gets what it cannot work with (a version that is none, a weight below 0) makes the whole rule
 * give nothing, so that the default variant holds.
 * Threads: pure.
 * Source: jsonlogic.com; flagd's specification of custom operations and its test bed; fractional distributes
 * MurmurHash3_x86_32 (seed 0) of the key as (hash * sum of weights) >> 32; Semantic Versioning 2.0.0.
 */
#ifndef CORE_FLAGS_RULE_H
#define CORE_FLAGS_RULE_H

#include "base/arena.h"
#include "json/tree.h"

enum rule_type { RULE_NULL, RULE_BOOL, RULE_NUMBER, RULE_TEXT, RULE_LIST, RULE_OBJECT };

struct rule_value {
    enum rule_type type;
    bool boolean;
    double number;
    str text;
    const struct json *node; /* lists and objects */
    bool is_rule;            /* of a list that stands in the rule: its elements are rules too */
};

struct rule_context {
    /* What a name of the outer level means; RULE_NULL when it means nothing. */
    struct rule_value (*lookup)(const void *ctx, str name);
    const void *ctx;
    str flag_key, targeting_key; /* the key by default of fractional */
};

/* ERR_INVALID: an unknown operator, a wrong number of arguments, a rule nested too deep. */
WARN_UNUSED enum errc rule_check(const struct json *rule, err *e);
/* False when the rule gives nothing because an operator could not work (or the bounds were reached). */
WARN_UNUSED bool rule_evaluate(struct arena *a, const struct json *rule, const struct rule_context *context,
                               struct rule_value *out);
/* A value of a tree as the value of a rule. */
struct rule_value rule_value_of(const struct json *v);
bool rule_is_true(const struct rule_value *v);

uint32_t murmur3_32(str data);
/* False when the text is no version (an optional "v", one to three numbers, pre-release, build) or the operator none. */
WARN_UNUSED bool semver_compare(str a, str op, str b, bool *holds);

#endif
