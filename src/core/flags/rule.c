#include "core/flags/rule.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define DEPTH_MAX 24
#define STEPS_MAX 10000
#define TEXT_MAX 65536

struct run {
    struct arena *arena;
    const struct rule_context *context;
    unsigned steps;
    bool has_failed; /* an operator could not work: the whole rule gives nothing */
};

static const struct rule_value null_value;

static struct rule_value boolean(bool b) { return (struct rule_value){.type = RULE_BOOL, .boolean = b}; }
static struct rule_value text(str s) { return (struct rule_value){.type = RULE_TEXT, .text = s}; }

static struct rule_value failed(struct run *r)
{
    r->has_failed = true;
    return null_value;
}

/* --- values --- */

/* A whole text as a number: what JSON calls one, with spaces around it. */
static bool number_of(str s, double *out)
{
    char copy[64], *end;
    s = str_trim(s);
    if (s.len == 0 || s.len >= sizeof copy || !((s.p[0] >= '0' && s.p[0] <= '9') || s.p[0] == '-'))
        return false;
    if (str_chr(s, 'x') >= 0 || str_chr(s, 'X') >= 0 || str_chr(s, 'n') >= 0 || str_chr(s, 'N') >= 0)
        return false;
    memcpy(copy, s.p, s.len);
    copy[s.len] = '\0';
    *out = strtod(copy, &end);
    return *end == '\0' && isfinite(*out);
}

struct rule_value rule_value_of(const struct json *v)
{
    struct rule_value out = null_value;
    if (!v) return out;
    switch (v->type) {
    case JSON_TRUE:
    case JSON_FALSE: return boolean(v->type == JSON_TRUE);
    case JSON_STRING: return text(v->text);
    case JSON_NUMBER: out.type = number_of(v->text, &out.number) ? RULE_NUMBER : RULE_NULL; return out;
    case JSON_ARRAY: return (struct rule_value){.type = RULE_LIST, .node = v};
    case JSON_OBJECT: return (struct rule_value){.type = RULE_OBJECT, .node = v};
    case JSON_NONE:
    case JSON_NULL: break;
    }
    return out;
}

bool rule_is_true(const struct rule_value *v)
{
    switch (v->type) {
    case RULE_NULL: return false;
    case RULE_BOOL: return v->boolean;
    case RULE_NUMBER: return v->number != 0;
    case RULE_TEXT: return v->text.len > 0;
    case RULE_LIST: return v->node->n > 0;
    case RULE_OBJECT: return true;
    }
    return false;
}

static bool as_number(const struct rule_value *v, double *out)
{
    switch (v->type) {
    case RULE_NUMBER: *out = v->number; return true;
    case RULE_BOOL: *out = v->boolean; return true;
    case RULE_NULL: *out = 0; return true;
    case RULE_TEXT:
        if (v->text.len == 0) {
            *out = 0;
            return true;
        }
        return number_of(v->text, out);
    case RULE_LIST:
    case RULE_OBJECT: break;
    }
    return false;
}

static bool is_identical(const struct rule_value *a, const struct rule_value *b)
{
    if (a->type != b->type) return false;
    switch (a->type) {
    case RULE_NULL: return true;
    case RULE_BOOL: return a->boolean == b->boolean;
    case RULE_NUMBER: return a->number == b->number;
    case RULE_TEXT: return str_eq(a->text, b->text);
    case RULE_LIST:
    case RULE_OBJECT: break; /* never the same one */
    }
    return false;
}

/* As JavaScript's ==: null only equals null, numbers are read out of texts and booleans. */
static bool is_equal(const struct rule_value *a, const struct rule_value *b)
{
    double x, y;
    if (a->type == b->type) return is_identical(a, b);
    if (a->type == RULE_NULL || b->type == RULE_NULL) return false;
    return as_number(a, &x) && as_number(b, &y) && x == y;
}

static str as_text(struct run *r, const struct rule_value *v)
{
    switch (v->type) {
    case RULE_NULL: return S("");
    case RULE_BOOL: return v->boolean ? S("true") : S("false");
    case RULE_TEXT: return v->text;
    case RULE_NUMBER: {
        str out = fabs(v->number) < 1e15 && v->number == floor(v->number)
                      ? arena_printf(r->arena, "%.0f", v->number)
                      : arena_printf(r->arena, "%.15g", v->number);
        if (!out.p) r->has_failed = true;
        return out;
    }
    case RULE_LIST:
    case RULE_OBJECT: break;
    }
    r->has_failed = true;
    return S("");
}

/* --- evaluating --- */

static struct rule_value evaluate(struct run *r, const struct json *rule, unsigned depth);

/* Arguments: the elements of a list, or the one thing that stands without a list. */
static const struct json *first_arg(const struct json *args)
{
    return args->type == JSON_ARRAY ? args->child : args;
}
static const struct json *next_arg(const struct json *args, const struct json *arg)
{
    return args->type == JSON_ARRAY ? arg->next : NULL;
}
static unsigned n_args(const struct json *args) { return args->type == JSON_ARRAY ? args->n : 1; }

static struct rule_value nth(struct run *r, const struct json *args, unsigned i, unsigned depth)
{
    const struct json *arg = first_arg(args);
    while (arg && i-- > 0)
        arg = next_arg(args, arg);
    return arg ? evaluate(r, arg, depth) : null_value;
}

/* An element of a list value. */
static struct rule_value element(struct run *r, const struct rule_value *list, const struct json *it,
                                 unsigned depth)
{
    return list->is_rule ? evaluate(r, it, depth) : rule_value_of(it);
}

static struct rule_value member(struct rule_value from, str name)
{
    uint64_t index;
    if (from.type == RULE_OBJECT) return rule_value_of(json_get(from.node, name));
    if (from.type != RULE_LIST || !str_to_u64(name, &index)) return null_value;
    const struct json *it = from.node->child;
    while (it && index-- > 0)
        it = it->next;
    return rule_value_of(it);
}

static struct rule_value op_var(struct run *r, const struct json *args, unsigned depth)
{
    struct rule_value path = nth(r, args, 0, depth);
    str rest = as_text(r, &path);
    if (rest.len == 0) return null_value;
    struct rule_value v =
        r->context->lookup(r->context->ctx, rest); /* a name with dots may mean something as a whole */
    if (v.type == RULE_NULL) {
        v = r->context->lookup(r->context->ctx, str_cut(&rest, '.'));
        while (rest.len && v.type != RULE_NULL)
            v = member(v, str_cut(&rest, '.'));
    }
    return v.type == RULE_NULL && n_args(args) > 1 ? nth(r, args, 1, depth) : v;
}

static struct rule_value op_if(struct run *r, const struct json *args, unsigned depth)
{
    const struct json *arg = first_arg(args);
    while (arg) {
        struct rule_value v = evaluate(r, arg, depth);
        const struct json *then = next_arg(args, arg);
        if (r->has_failed || !then) return v; /* the last one alone is the else */
        if (rule_is_true(&v)) return evaluate(r, then, depth);
        arg = next_arg(args, then);
    }
    return null_value;
}

/* and: the first that is not true, or the last; or: the first that is. */
static struct rule_value op_logic(struct run *r, const struct json *args, unsigned depth, bool is_or)
{
    struct rule_value v = null_value;
    for (const struct json *arg = first_arg(args); arg && !r->has_failed; arg = next_arg(args, arg)) {
        v = evaluate(r, arg, depth);
        if (rule_is_true(&v) == is_or) break;
    }
    return v;
}

/* a < b, or a < b < c. */
static struct rule_value op_order(struct run *r, const struct json *args, unsigned depth, bool is_less,
                                  bool or_equal)
{
    double numbers[3] = {0};
    unsigned n = n_args(args);
    for (unsigned i = 0; i < n; i++) {
        struct rule_value v = nth(r, args, i, depth);
        if (!as_number(&v, &numbers[i])) return boolean(false);
    }
    for (unsigned i = 0; i + 1 < n; i++) {
        double low = is_less ? numbers[i] : numbers[i + 1], high = is_less ? numbers[i + 1] : numbers[i];
        if (!(or_equal ? low <= high : low < high)) return boolean(false);
    }
    return boolean(true);
}

static struct rule_value op_in(struct run *r, const struct json *args, unsigned depth)
{
    struct rule_value what = nth(r, args, 0, depth), where = nth(r, args, 1, depth);
    if (where.type == RULE_TEXT && what.type == RULE_TEXT)
        return boolean(str_find(where.text, what.text) >= 0);
    if (where.type != RULE_LIST) return boolean(false);
    for (const struct json *it = where.node->child; it && !r->has_failed; it = it->next) {
        struct rule_value v = element(r, &where, it, depth);
        if (is_identical(&what, &v)) return boolean(true);
    }
    return boolean(false);
}

static struct rule_value op_cat(struct run *r, const struct json *args, unsigned depth)
{
    struct buf out;
    buf_init(&out, TEXT_MAX);
    for (const struct json *arg = first_arg(args); arg && !r->has_failed; arg = next_arg(args, arg)) {
        struct rule_value v = evaluate(r, arg, depth);
        buf_add(&out, as_text(r, &v));
    }
    str kept = buf_err(&out) ? (str){NULL, 0} : str_dup(r->arena, buf_str(&out));
    buf_fini(&out);
    return kept.p ? text(kept) : failed(r);
}

static struct rule_value op_ends(struct run *r, const struct json *args, unsigned depth, bool at_start)
{
    struct rule_value a = nth(r, args, 0, depth), b = nth(r, args, 1, depth);
    if (a.type != RULE_TEXT || b.type != RULE_TEXT) return failed(r);
    return boolean(at_start ? str_starts(a.text, b.text) : str_ends(a.text, b.text));
}

static struct rule_value op_sem_ver(struct run *r, const struct json *args, unsigned depth)
{
    struct rule_value a = nth(r, args, 0, depth), op = nth(r, args, 1, depth), b = nth(r, args, 2, depth);
    bool holds;
    if (a.type != RULE_TEXT || op.type != RULE_TEXT || b.type != RULE_TEXT ||
        !semver_compare(a.text, op.text, b.text, &holds))
        return failed(r);
    return boolean(holds);
}

/* The weight of a distribution [VARIANT] or [VARIANT, WEIGHT]; -1 when it is none. */
static int64_t weight_of(struct run *r, const struct json *share, unsigned depth)
{
    if (share->type != JSON_ARRAY || share->n == 0 || share->n > 2) return -1;
    if (share->n == 1) return 1;
    struct rule_value v = evaluate(r, share->child->next, depth);
    if (v.type == RULE_NULL) return 1;
    return v.type == RULE_NUMBER && v.number >= 0 && v.number <= INT32_MAX && v.number == floor(v.number)
               ? (int64_t)v.number
               : -1;
}

static struct rule_value op_fractional(struct run *r, const struct json *args, unsigned depth)
{
    const struct json *first = first_arg(args);
    struct rule_value key = null_value;
    if (args->type != JSON_ARRAY || !first) return failed(r);
    if (first->type != JSON_ARRAY) { /* what to distribute by */
        key = evaluate(r, first, depth);
        first = first->next;
    }
    str by = key.text;
    if (key.type == RULE_NULL && r->context->targeting_key.len)
        by = arena_printf(r->arena, "%.*s%.*s", STR(r->context->flag_key), STR(r->context->targeting_key));
    else if (key.type != RULE_TEXT)
        return failed(r);
    if (!by.p && key.type == RULE_NULL) return failed(r);
    int64_t total = 0;
    for (const struct json *share = first; share; share = share->next) {
        int64_t weight = weight_of(r, share, depth);
        if (weight < 0 || r->has_failed) return failed(r);
        total += weight;
    }
    if (total <= 0 || total > INT32_MAX) return failed(r);
    uint64_t bucket = ((uint64_t)murmur3_32(by) * (uint64_t)total) >> 32, end = 0;
    for (const struct json *share = first; share; share = share->next) {
        end += (uint64_t)weight_of(r, share, depth);
        if (bucket < end) return evaluate(r, share->child, depth);
    }
    return failed(r);
}

enum op {
    OP_VAR,
    OP_EQ,
    OP_IS,
    OP_NE,
    OP_ISNT,
    OP_LT,
    OP_LE,
    OP_GT,
    OP_GE,
    OP_NOT,
    OP_BOOL,
    OP_AND,
    OP_OR,
    OP_IF,
    OP_IN,
    OP_CAT,
    OP_STARTS,
    OP_ENDS,
    OP_SEM_VER,
    OP_FRACTIONAL,
    OPS
};

#define ANY 1000

static const struct {
    str name;
    unsigned min, max; /* arguments */
} ops[OPS] = {
    [OP_VAR] = {STR_LIT("var"), 1, 2},
    [OP_EQ] = {STR_LIT("=="), 2, 2},
    [OP_IS] = {STR_LIT("==="), 2, 2},
    [OP_NE] = {STR_LIT("!="), 2, 2},
    [OP_ISNT] = {STR_LIT("!=="), 2, 2},
    [OP_LT] = {STR_LIT("<"), 2, 3},
    [OP_LE] = {STR_LIT("<="), 2, 3},
    [OP_GT] = {STR_LIT(">"), 2, 3},
    [OP_GE] = {STR_LIT(">="), 2, 3},
    [OP_NOT] = {STR_LIT("!"), 1, 1},
    [OP_BOOL] = {STR_LIT("!!"), 1, 1},
    [OP_AND] = {STR_LIT("and"), 1, ANY},
    [OP_OR] = {STR_LIT("or"), 1, ANY},
    [OP_IF] = {STR_LIT("if"), 1, ANY},
    [OP_IN] = {STR_LIT("in"), 2, 2},
    [OP_CAT] = {STR_LIT("cat"), 1, ANY},
    [OP_STARTS] = {STR_LIT("starts_with"), 2, 2},
    [OP_ENDS] = {STR_LIT("ends_with"), 2, 2},
    [OP_SEM_VER] = {STR_LIT("sem_ver"), 3, 3},
    [OP_FRACTIONAL] = {STR_LIT("fractional"), 1, ANY},
};

static enum op op_named(str name)
{
    unsigned i = 0;
    while (i < OPS && !str_eq(ops[i].name, name))
        i++;
    return (enum op)i;
}

static bool is_count_right(enum op op, const struct json *args)
{
    return n_args(args) >= ops[op].min && n_args(args) <= ops[op].max;
}

static struct rule_value apply(struct run *r, enum op op, const struct json *args, unsigned depth)
{
    if (!is_count_right(op, args)) return failed(r);
    struct rule_value a, b;
    switch (op) {
    case OP_VAR: return op_var(r, args, depth);
    case OP_EQ:
    case OP_IS:
    case OP_NE:
    case OP_ISNT:
        a = nth(r, args, 0, depth);
        b = nth(r, args, 1, depth);
        return boolean((op == OP_EQ || op == OP_NE ? is_equal(&a, &b) : is_identical(&a, &b)) ==
                       (op == OP_EQ || op == OP_IS));
    case OP_LT:
    case OP_LE: return op_order(r, args, depth, true, op == OP_LE);
    case OP_GT:
    case OP_GE: return op_order(r, args, depth, false, op == OP_GE);
    case OP_NOT:
    case OP_BOOL: a = nth(r, args, 0, depth); return boolean(rule_is_true(&a) == (op == OP_BOOL));
    case OP_AND: return op_logic(r, args, depth, false);
    case OP_OR: return op_logic(r, args, depth, true);
    case OP_IF: return op_if(r, args, depth);
    case OP_IN: return op_in(r, args, depth);
    case OP_CAT: return op_cat(r, args, depth);
    case OP_STARTS: return op_ends(r, args, depth, true);
    case OP_ENDS: return op_ends(r, args, depth, false);
    case OP_SEM_VER: return op_sem_ver(r, args, depth);
    case OP_FRACTIONAL: return op_fractional(r, args, depth);
    case OPS: break;
    }
    return failed(r);
}

static struct rule_value evaluate(struct run *r, const struct json *rule, unsigned depth)
{
    if (r->has_failed || depth == 0 || ++r->steps > STEPS_MAX) return failed(r);
    if (rule->type == JSON_ARRAY)
        return (struct rule_value){.type = RULE_LIST, .node = rule, .is_rule = true};
    if (rule->type != JSON_OBJECT) return rule_value_of(rule);
    if (rule->n != 1) return failed(r);
    enum op op = op_named(rule->child->name);
    return op == OPS ? failed(r) : apply(r, op, rule->child, depth - 1);
}

bool rule_evaluate(struct arena *a, const struct json *rule, const struct rule_context *context,
                   struct rule_value *out)
{
    struct run r = {.arena = a, .context = context};
    *out = evaluate(&r, rule, DEPTH_MAX);
    if (r.has_failed) *out = null_value;
    return !r.has_failed;
}

/* --- checking --- */

static enum errc check(const struct json *rule, unsigned depth, err *e)
{
    if (depth == 0) return err_set(e, ERR_INVALID, "a rule is nested more than %d levels deep", DEPTH_MAX);
    if (rule->type == JSON_ARRAY) {
        for (const struct json *it = rule->child; it; it = it->next) {
            enum errc rc = check(it, depth - 1, e);
            if (rc) return rc;
        }
        return ERR_NONE;
    }
    if (rule->type != JSON_OBJECT) return ERR_NONE;
    if (rule->n != 1)
        return err_set(e, ERR_INVALID, "a rule is an object with one member, its operator; this one has %u",
                       rule->n);
    const struct json *args = rule->child;
    enum op op = op_named(args->name);
    if (op == OPS)
        return err_set(e, ERR_INVALID, "'%.*s' is no operator that is known here",
                       STR(str_take(args->name, 40)));
    if (!is_count_right(op, args))
        return err_set(e, ERR_INVALID, "'%.*s' takes %u to %u arguments, not %u", STR(args->name),
                       ops[op].min, ops[op].max, n_args(args));
    return args->type == JSON_ARRAY || args->type == JSON_OBJECT ? check(args, depth - 1, e) : ERR_NONE;
}

enum errc rule_check(const struct json *rule, err *e) { return check(rule, DEPTH_MAX, e); }
