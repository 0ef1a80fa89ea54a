/* semver.c - comparing versions by Semantic Versioning 2.0.0, with the leniencies of flagd: a leading "v", and versions of one or
 * two numbers. */
#include "core/flags/rule.h"

struct version {
    str numbers[3]; /* digits without leading zeros */
    str pre;
};

static bool is_digits(str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] < '0' || s.p[i] > '9') return false;
    return s.len > 0;
}

static bool is_number(str s) { return is_digits(s) && (s.len == 1 || s.p[0] != '0'); }

/* Dotted identifiers of letters, digits and '-'; numbers without leading zeros where they are compared. */
static bool is_identifiers(str s, bool is_pre)
{
    while (s.p) {
        bool is_last = str_chr(s, '.') < 0;
        str one = str_cut(&s, '.');
        if (one.len == 0 || (is_pre && is_digits(one) && !is_number(one))) return false;
        for (size_t i = 0; i < one.len; i++) {
            char c = one.p[i];
            if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-'))
                return false;
        }
        if (is_last) break;
    }
    return true;
}

static bool parse(str s, struct version *out)
{
    *out = (struct version){.numbers = {STR_LIT("0"), STR_LIT("0"), STR_LIT("0")}};
    if (str_starts(s, S("v"))) s = str_skip(s, 1);
    ptrdiff_t plus = str_chr(s, '+');
    if (plus >= 0) {
        if (!is_identifiers(str_skip(s, (size_t)plus + 1), false)) return false;
        s = str_take(s, (size_t)plus);
    }
    ptrdiff_t dash = str_chr(s, '-');
    bool has_more = plus >= 0 || dash >= 0;
    if (dash >= 0) {
        out->pre = str_skip(s, (size_t)dash + 1);
        if (!is_identifiers(out->pre, true)) return false;
        s = str_take(s, (size_t)dash);
    }
    unsigned n = 0;
    for (bool is_last = false; !is_last; n++) {
        is_last = str_chr(s, '.') < 0;
        if (n == 3) return false;
        out->numbers[n] = str_cut(&s, '.');
        if (!is_number(out->numbers[n])) return false;
    }
    return n == 3 || !has_more;
}

static int compare_numbers(str a, str b)
{
    if (a.len != b.len) return a.len < b.len ? -1 : 1;
    return str_cmp(a, b);
}

static int compare_pre(str a, str b)
{
    if (!a.len || !b.len) return a.len ? -1 : b.len ? 1 : 0; /* a pre-release comes before its release */
    while (a.len && b.len) {
        str x = str_cut(&a, '.'), y = str_cut(&b, '.');
        bool x_is_number = is_digits(x), y_is_number = is_digits(y);
        int order = x_is_number && y_is_number   ? compare_numbers(x, y)
                    : x_is_number != y_is_number ? (x_is_number ? -1 : 1)
                                                 : str_cmp(x, y);
        if (order) return order;
    }
    return a.len ? 1 : b.len ? -1 : 0;
}

static int compare(const struct version *a, const struct version *b, unsigned n_numbers)
{
    for (unsigned i = 0; i < n_numbers; i++) {
        int order = compare_numbers(a->numbers[i], b->numbers[i]);
        if (order) return order;
    }
    return n_numbers == 3 ? compare_pre(a->pre, b->pre) : 0;
}

bool semver_compare(str a, str op, str b, bool *holds)
{
    struct version x, y;
    if (!parse(a, &x) || !parse(b, &y)) return false;
    int order = compare(&x, &y, 3);
    if (str_eq(op, S("=")))
        *holds = order == 0;
    else if (str_eq(op, S("!=")))
        *holds = order != 0;
    else if (str_eq(op, S("<")))
        *holds = order < 0;
    else if (str_eq(op, S("<=")))
        *holds = order <= 0;
    else if (str_eq(op, S(">")))
        *holds = order > 0;
    else if (str_eq(op, S(">=")))
        *holds = order >= 0;
    else if (str_eq(op, S("^")))
        *holds = compare(&x, &y, 1) == 0;
    else if (str_eq(op, S("~")))
        *holds = compare(&x, &y, 2) == 0;
    else
        return false;
    return true;
}
