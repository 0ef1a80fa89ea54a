#include "core/flags.h"

#include "core/flags/rule.h"

#define FLAG_VARIANTS_MAX 50

const char *flag_reason_name(enum flag_reason r)
{
    static const char *const names[] = {[FLAG_STATIC] = "STATIC",
                                        [FLAG_DEFAULT] = "DEFAULT",
                                        [FLAG_TARGETING_MATCH] = "TARGETING_MATCH",
                                        [FLAG_DISABLED] = "DISABLED",
                                        [FLAG_ERROR] = "ERROR"};
    return names[r];
}

/* --- reading --- */

static bool is_number_or(enum json_type type, const struct json *v)
{
    return v->type == type || (type == JSON_TRUE && v->type == JSON_FALSE);
}

/* One type for all variants, so that whoever asks for a boolean gets one. */
static enum errc check_variants(const struct json *variants, err *e)
{
    if (!variants || variants->type != JSON_OBJECT || variants->n == 0)
        return err_set(e, ERR_INVALID, "variants must be an object of at least one name with its value");
    if (variants->n > FLAG_VARIANTS_MAX)
        return err_set(e, ERR_INVALID, "variants has more than %d names", FLAG_VARIANTS_MAX);
    enum json_type type = variants->child->type == JSON_FALSE ? JSON_TRUE : variants->child->type;
    for (const struct json *it = variants->child; it; it = it->next) {
        if (it->name.len == 0) return err_set(e, ERR_INVALID, "a variant has an empty name");
        if (it->type == JSON_NULL || it->type == JSON_ARRAY || !is_number_or(type, it))
            return err_set(e, ERR_INVALID,
                           "the values of variants must be all booleans, all texts, all numbers or all "
                           "objects; '%.*s' is not",
                           STR(str_take(it->name, 60)));
    }
    return ERR_NONE;
}

enum errc flag_parse(str name, const struct json *definition, struct feature_flag *out, err *e)
{
    *out = (struct feature_flag){.name = name};
    const struct json *state = json_get(definition, S("state")),
                      *fallback = json_get(definition, S("defaultVariant"));
    if (!state || state->type != JSON_STRING ||
        !(str_eq(state->text, S("ENABLED")) || str_eq(state->text, S("DISABLED"))))
        return err_set(e, ERR_INVALID, "state must be ENABLED or DISABLED");
    out->is_enabled = str_eq(state->text, S("ENABLED"));
    out->variants = json_get(definition, S("variants"));
    enum errc rc = check_variants(out->variants, e);
    if (rc) return rc;
    if (fallback && fallback->type != JSON_NULL) {
        if (fallback->type != JSON_STRING || !json_get(out->variants, fallback->text))
            return err_set(e, ERR_INVALID, "defaultVariant must be the name of one of the variants");
        out->default_variant = fallback->text;
    }
    const struct json *targeting = json_get(definition, S("targeting"));
    if (!targeting || targeting->type == JSON_NULL || (targeting->type == JSON_OBJECT && targeting->n == 0))
        return ERR_NONE;
    if (targeting->type != JSON_OBJECT)
        return err_set(e, ERR_INVALID, "targeting must be a rule (an object)");
    if ((rc = rule_check(targeting, e)) != ERR_NONE) return rc;
    out->targeting = targeting;
    return ERR_NONE;
}

/* --- evaluating --- */

struct asked {
    const struct feature_flag *flag;
    const struct flag_context *context;
    char workspace[UUID_TEXT_LEN + 1];
};

static struct rule_value text_or_null(str s)
{
    return s.len ? (struct rule_value){.type = RULE_TEXT, .text = s} : (struct rule_value){.type = RULE_NULL};
}

static struct rule_value lookup(const void *ctx, str name)
{
    const struct asked *asked = ctx;
    const struct flag_context *c = asked->context;
    if (str_eq(name, S("$flagd.flagKey"))) return text_or_null(asked->flag->name);
    if (str_eq(name, S("$flagd.timestamp")))
        return (struct rule_value){.type = RULE_NUMBER, .number = (double)(c->now_us / USEC_PER_S)};
    if (str_eq(name, S("targetingKey"))) return text_or_null(c->targeting_key);
    if (str_eq(name, S("workspace"))) return text_or_null(str_c(asked->workspace));
    if (str_eq(name, S("user")) && c->user.len) return text_or_null(c->user);
    if (str_eq(name, S("role"))) return text_or_null(c->role);
    return c->attributes ? rule_value_of(json_get(c->attributes, name))
                         : (struct rule_value){.type = RULE_NULL};
}

static struct flag_result chosen(const struct feature_flag *f, str variant, enum flag_reason reason)
{
    const struct json *value = variant.p ? json_get(f->variants, variant) : NULL;
    return (struct flag_result){.reason = reason, .variant = variant, .value = value};
}

struct flag_result flag_evaluate(struct arena *a, const struct feature_flag *f, const struct flag_context *c)
{
    struct asked asked = {.flag = f, .context = c};
    struct rule_value v;
    if (!f->is_enabled) return (struct flag_result){.reason = FLAG_DISABLED};
    if (!f->targeting)
        return chosen(f, f->default_variant, f->default_variant.p ? FLAG_STATIC : FLAG_DEFAULT);
    uuid_format(&c->workspace_id, asked.workspace);
    const struct rule_context context = {
        .lookup = lookup, .ctx = &asked, .flag_key = f->name, .targeting_key = c->targeting_key};
    if (!rule_evaluate(a, f->targeting, &context, &v) || v.type == RULE_NULL)
        return chosen(f, f->default_variant, FLAG_DEFAULT);
    str variant = v.type == RULE_TEXT   ? v.text
                  : v.type == RULE_BOOL ? (v.boolean ? S("true") : S("false"))
                                        : (str){NULL, 0};
    struct flag_result out = chosen(f, variant, FLAG_TARGETING_MATCH);
    if (!out.value) return (struct flag_result){.reason = FLAG_ERROR}; /* the rule named no variant */
    return out;
}
