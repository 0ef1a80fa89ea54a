/* Reading: bodies, merge patches and query strings. The rest is in shape_encode.c, shape_diff.c and
 * shape_schema.c. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/money.h"
#include "base/utf8.h"
#include "core/shape/shape_internal.h"
#include "net/url.h"

#define ERRORS_MAX 100 /* more say nothing that these did not */
#define QUERY_PARAMS_MAX 100
#define SHOWN_MAX 60 /* bytes of what was sent that a message repeats */

struct decode {
    struct arena *a;
    struct field_errors *errors;
    bool is_query, is_full; /* is_full: the arena is exhausted */
};

/* Where in the document: a chain to the root on the stack. */
struct place {
    const struct place *up;
    str name, suffix; /* a member: "limit" and "_usd" */
    int index;        /* an element, when name has no pointer */
};

/* --- problems --- */

static void add_error(struct arena *a, struct field_errors *errors, str field, const char *code, str message)
{
    struct field_error *x = errors->n < ERRORS_MAX ? arena_new(a, struct field_error) : NULL;
    errors->n++;
    if (!x) return;
    *x = (struct field_error){.field = field, .code = code, .message = message};
    if (!errors->last) errors->last = &errors->first;
    *errors->last = x;
    errors->last = &x->next;
}

static str vprint(struct arena *a, const char *fmt, va_list args)
{
    char text[400];
    int n = vsnprintf(text, sizeof text, fmt, args);
    str all = str_of(text, n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
    str copy = str_dup(a, str_take(all, utf8_valid_prefix(all)));
    return copy.p ? copy : S("");
}

void field_error_add(struct arena *a, struct field_errors *errors, str field, const char *code,
                     const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    str kept = str_dup(a, field); /* callers make names as they go */
    add_error(a, errors, kept.p ? kept : S(""), code, vprint(a, fmt, args));
    va_end(args);
}

enum errc field_errors_sum(const struct field_errors *errors, err *e)
{
    const struct field_error *x = errors->first;
    if (!x) return err_code(e, ERR_INVALID);
    if (errors->n == 1) return err_set(e, ERR_INVALID, "%.*s %.*s", STR(x->field), STR(x->message));
    char names[160];
    size_t len = 0;
    unsigned shown = 0;
    for (; x && len + x->field.len + 2 < sizeof names; x = x->next, shown++)
        len += (size_t)snprintf(names + len, sizeof names - len, "%s%.*s", shown ? ", " : "", STR(x->field));
    return err_set(e, ERR_INVALID, "%u fields are wrong: %.*s%s", errors->n, (int)len, names,
                   shown < errors->n ? ", and more" : "");
}

static str place_text(struct arena *a, const struct place *p)
{
    if (!p) return S("");
    if (!p->name.p) {
        str up = place_text(a, p->up);
        return arena_printf(a, "%.*s[%d]", STR(up), p->index);
    }
    if (!p->up) return p->suffix.len ? arena_printf(a, "%.*s%.*s", STR(p->name), STR(p->suffix)) : p->name;
    str up = place_text(a, p->up);
    return arena_printf(a, "%.*s.%.*s%.*s", STR(up), STR(p->name), STR(p->suffix));
}

static void problem(struct decode *d, const struct place *at, const char *code, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
static void problem(struct decode *d, const struct place *at, const char *code, const char *fmt, ...)
{
    va_list args;
    str field = place_text(d->a, at);
    va_start(args, fmt);
    add_error(d->a, d->errors, field.p ? field : S(""), code, vprint(d->a, fmt, args));
    va_end(args);
}

/* What was sent, short enough for a message. */
static str shown(str s) { return utf8_take(s, SHOWN_MAX); }

static const char *type_name(const struct json *v)
{
    switch (v->type) {
    case JSON_NUMBER: return "a number";
    case JSON_STRING: return "a text";
    case JSON_ARRAY: return "a list";
    case JSON_OBJECT: return "an object";
    case JSON_TRUE:
    case JSON_FALSE: return "true or false";
    default: return "null";
    }
}

static void wrong_type(struct decode *d, const struct place *at, const struct json *v, const char *wanted)
{
    problem(d, at, "wrong_type", "must be %s, not %s", wanted, type_name(v));
}

/* --- texts --- */

static int64_t code_points(str s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return n;
}

/* C0 and DEL; with is_strict tab and newline too, and C1 (U+0080 to U+009F). */
static bool has_control(str s, bool is_strict)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == 0x7F || (c < 0x20 && (is_strict || (c != '\t' && c != '\n')))) return true;
        if (is_strict && c == 0xC2 && i + 1 < s.len && (unsigned char)s.p[i + 1] < 0xA0) return true;
    }
    return false;
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_name(str s)
{
    if (!s.len || !is_alnum(s.p[0])) return false;
    for (size_t i = 1; i < s.len; i++)
        if (!is_alnum(s.p[i]) && s.p[i] != '.' && s.p[i] != '_' && s.p[i] != '-') return false;
    return true;
}

/* What mail can be sent to in practice: a local part of RFC 5321's plain characters (and beyond ASCII), a
 * dotted domain. */
static bool is_email(str s)
{
    str domain = s;
    str local = str_cut(&domain, '@');
    if (!local.len || local.len > 64 || !domain.len || s.len > 254 || local.p[0] == '.' ||
        local.p[local.len - 1] == '.' || str_find(local, S("..")) >= 0)
        return false;
    for (size_t i = 0; i < local.len; i++)
        if ((unsigned char)local.p[i] <= ' ' || strchr("()<>[]:;,\\\"", local.p[i])) return false;
    for (str rest = domain; rest.p;) {
        bool is_last = str_chr(rest, '.') < 0;
        str label = str_cut(&rest, '.');
        if (!label.len || label.len > 63 || label.p[0] == '-' || label.p[label.len - 1] == '-') return false;
        for (size_t i = 0; i < label.len; i++)
            if (!is_alnum(label.p[i]) && label.p[i] != '-' && (unsigned char)label.p[i] < 0x80) return false;
        if (is_last) break;
        if (!rest.len) return false;
    }
    return true;
}

static bool check_format(struct decode *d, const struct place *at, enum field_format format, str s)
{
    struct url url;
    switch (format) {
    case FORMAT_LINE:
        if (s.len && !str_trim(s).len) {
            problem(d, at, "bad_format", "must not be only spaces");
            return false;
        }
        break;
    case FORMAT_NAME:
        if (!is_name(s)) {
            problem(d, at, "bad_format",
                    "must be letters, digits, '.', '_' and '-', starting with a letter or digit");
            return false;
        }
        break;
    case FORMAT_EMAIL:
        if (!is_email(s)) {
            problem(d, at, "bad_format", "must be an e-mail address such as ada@example.com");
            return false;
        }
        break;
    case FORMAT_URL: {
        err why = {0};
        if (url_parse(s, &url, &why) != ERR_NONE) {
            problem(d, at, "bad_format", "must be an http or https URL: %s", why.msg);
            return false;
        }
        break;
    }
    case FORMAT_NONE:
    case FORMAT_ANY:
    case FORMAT_OBJECT: break;
    }
    return true;
}

static bool decode_text(struct decode *d, const struct field *f, const struct place *at, const struct json *v,
                        str *out)
{
    if (v->type != JSON_STRING) {
        wrong_type(d, at, v, "a text");
        return false;
    }
    str s = v->text.p ? v->text : S("");
    int64_t n = code_points(s);
    if (n < f->min && n == 0)
        problem(d, at, "too_short", "must not be empty");
    else if (n < f->min)
        problem(d, at, "too_short", "must have at least %lld characters, not %lld", (long long)f->min,
                (long long)n);
    else if (n > field_max_len(f))
        problem(d, at, "too_long", "must have at most %lld characters, not %lld", (long long)field_max_len(f),
                (long long)n);
    else if (f->format != FORMAT_ANY && has_control(s, f->format != FORMAT_NONE))
        problem(d, at, "bad_format", "must not contain control characters%s",
                f->format == FORMAT_NONE ? " other than tab and newline" : "");
    else if (check_format(d, at, f->format, s)) {
        *out = s;
        return true;
    }
    return false;
}

/* "a", "b" or "c"; a choice close to what was sent goes into *close. */
static str choices_text(struct arena *a, const char *choices, str sent, str *close)
{
    char text[200];
    size_t len = 0;
    unsigned best = 3;
    *close = S("");
    for (str rest = str_c(choices); rest.len;) {
        str one = str_cut(&rest, '|');
        unsigned distance = str_distance(one, sent);
        if (distance < best) {
            best = distance;
            *close = one;
        }
        int n = snprintf(text + len, sizeof text - len, "%s%.*s",
                         len == 0   ? ""
                         : rest.len ? ", "
                                    : " or ",
                         STR(one));
        len = n < 0 || len + (size_t)n >= sizeof text ? sizeof text - 1 : len + (size_t)n;
    }
    str copy = str_dup(a, str_of(text, len));
    return copy.p ? copy : S("");
}

static bool is_choice(const char *choices, str s)
{
    for (str rest = str_c(choices); rest.len;)
        if (str_eq(str_cut(&rest, '|'), s)) return true;
    return false;
}

static bool decode_choice(struct decode *d, const struct field *f, const struct place *at,
                          const struct json *v, str *out)
{
    str close;
    if (v->type != JSON_STRING) {
        wrong_type(d, at, v, "a text");
        return false;
    }
    if (!is_choice(f->choices, v->text)) {
        str all = choices_text(d->a, f->choices, v->text, &close);
        if (close.len)
            problem(d, at, "not_one_of", "must be %.*s; did you mean '%.*s'?", STR(all), STR(close));
        else
            problem(d, at, "not_one_of", "must be %.*s", STR(all));
        return false;
    }
    *out = v->text;
    return true;
}

/* --- numbers and the like --- */

static bool in_range(struct decode *d, const struct field *f, const struct place *at, int64_t v,
                     const char *unit)
{
    if (v != NO_VALUE && (!field_has_range(f) || (v >= f->min && v <= f->max))) return true;
    if (!field_has_range(f))
        problem(d, at, "out_of_range", "is out of range");
    else if (f->max == INT64_MAX)
        problem(d, at, "out_of_range", "must be at least %lld%s", (long long)f->min, unit);
    else
        problem(d, at, "out_of_range", "must be from %lld to %lld%s", (long long)f->min, (long long)f->max,
                unit);
    return false;
}

static bool decode_int(struct decode *d, const struct field *f, const struct place *at, const struct json *v,
                       const char *unit, int64_t *out)
{
    int64_t i;
    if (d->is_query ? v->type != JSON_STRING || !str_to_i64(v->text, &i) : !json_i64(v, &i)) {
        if (d->is_query || v->type == JSON_NUMBER)
            problem(d, at, v->type == JSON_NUMBER && !d->is_query ? "out_of_range" : "wrong_type",
                    "must be a whole number of at most 63 bits, not '%.*s'", STR(shown(v->text)));
        else
            wrong_type(d, at, v, "a whole number");
        return false;
    }
    if (!in_range(d, f, at, i, unit)) return false;
    *out = i;
    return true;
}

static bool decode_bool(struct decode *d, const struct place *at, const struct json *v, bool *out)
{
    if (d->is_query && v->type == JSON_STRING) {
        *out = str_eq(v->text, S("true"));
        if (*out || str_eq(v->text, S("false"))) return true;
    } else if (json_bool(v, out)) {
        return true;
    }
    if (d->is_query)
        problem(d, at, "wrong_type", "must be true or false, not '%.*s'", STR(shown(v->text)));
    else
        wrong_type(d, at, v, "true or false");
    return false;
}

static bool decode_time(struct decode *d, const struct place *at, const struct json *v, usec *out)
{
    if (v->type != JSON_STRING) {
        wrong_type(d, at, v, "a time as text");
        return false;
    }
    if (!time_parse(v->text, out) || *out == NO_VALUE) {
        problem(d, at, "bad_format",
                "must be a time such as 2026-11-24T06:50:00Z or a date such as 2026-11-24, not '%.*s'",
                STR(shown(v->text)));
        return false;
    }
    return true;
}

static bool decode_uuid(struct decode *d, const struct place *at, const struct json *v, uuid *out)
{
    uuid u;
    if (v->type != JSON_STRING) {
        wrong_type(d, at, v, "an id as text");
        return false;
    }
    if (!uuid_parse(v->text, &u) || uuid_is_nil(&u)) {
        problem(d, at, "bad_format", "must be an id such as 0199f3a2-7c1e-7bbb-8a6e-2f1d9c0b4e55, not '%.*s'",
                STR(shown(v->text)));
        return false;
    }
    *out = u;
    return true;
}

/* --- JSON values --- */

static bool compact(struct decode *d, const struct json *v, str *out)
{
    struct buf text;
    struct json_writer w;
    buf_init(&text, d->a->limit);
    json_writer_init(&w, &text);
    json_tree_write(v, &w);
    *out = buf_err(&text) == ERR_NONE ? str_dup(d->a, buf_str(&text)) : (str){NULL, 0};
    buf_fini(&text);
    d->is_full |= !out->p;
    return out->p != NULL;
}

static const struct json *find_member(const struct json *o, str name)
{
    return o->type == JSON_OBJECT ? json_get(o, name) : NULL;
}

/* RFC 7396 section 2; NULL when the arena is exhausted. */
static struct json *merge_patch(struct arena *a, const struct json *target, const struct json *patch)
{
    struct json *out = arena_new(a, struct json);
    if (!out) return NULL;
    *out = *patch;
    if (patch->type != JSON_OBJECT) return out;
    out->child = NULL;
    out->n = 0;
    struct json **last = &out->child;
    for (const struct json *m = target && target->type == JSON_OBJECT ? target->child : NULL; m;
         m = m->next) {
        const struct json *change = find_member(patch, m->name);
        if (change && change->type == JSON_NULL) continue;
        struct json *copy = change ? merge_patch(a, m, change) : arena_new(a, struct json);
        if (!copy) return NULL;
        if (!change) *copy = *m;
        copy->next = NULL;
        *last = copy;
        last = &copy->next;
        out->n++;
    }
    for (const struct json *m = patch->child; m; m = m->next) {
        if (m->type == JSON_NULL || (target && find_member(target, m->name))) continue;
        struct json *copy = merge_patch(a, NULL, m);
        if (!copy) return NULL;
        copy->next = NULL;
        *last = copy;
        last = &copy->next;
        out->n++;
    }
    return out;
}

static bool decode_json(struct decode *d, const struct field *f, const struct place *at, const struct json *v,
                        enum shape_mode mode, str *out)
{
    str text;
    struct json *old = NULL;
    if (f->format == FORMAT_OBJECT && v->type != JSON_OBJECT) {
        wrong_type(d, at, v, "an object");
        return false;
    }
    if (json_depth(v) > SHAPE_JSON_DEPTH) {
        problem(d, at, "too_long", "must not be nested deeper than %d levels", SHAPE_JSON_DEPTH);
        return false;
    }
    if (mode == SHAPE_MERGE && v->type == JSON_OBJECT) {
        if (out->len && json_parse(d->a, *out, &old, NULL) != ERR_NONE) old = NULL;
        v = merge_patch(d->a, old, v);
        if (!v) {
            d->is_full = true;
            return false;
        }
    }
    if (!compact(d, v, &text)) return false;
    if (text.len > (size_t)field_max_len(f)) {
        problem(d, at, "too_long", "must have at most %lld bytes as JSON, not %zu",
                (long long)field_max_len(f), text.len);
        return false;
    }
    *out = text;
    return true;
}

/* --- fields --- */

static void decode_object(struct decode *d, const struct shape *s, const struct place *at,
                          const struct json *object, enum shape_mode mode, void *out, uint64_t *present);

static void set_none(const struct field *f, void *out)
{
    switch (f->type) {
    case FIELD_TEXT:
    case FIELD_ONE_OF:
    case FIELD_JSON: *AT(str, out, f) = (str){NULL, 0}; return;
    case FIELD_INT:
    case FIELD_MONEY:
    case FIELD_TIME: *AT(int64_t, out, f) = NO_VALUE; return;
    case FIELD_BOOL: *AT(bool, out, f) = false; return;
    case FIELD_UUID: *AT(uuid, out, f) = (uuid){{0}}; return;
    case FIELD_TEXTS: *AT(struct texts, out, f) = (struct texts){NULL, 0}; return;
    case FIELD_OBJECTS: *AT(struct objects, out, f) = (struct objects){NULL, 0}; return;
    case FIELD_OBJECT: break;
    }
    if (f->flags & FIELD_NULLABLE) {
        *AT(void *, out, f) = NULL;
        return;
    }
    for (unsigned i = 0; i < f->shape->n; i++)
        set_none(&f->shape->fields[i], (char *)out + f->offset);
}

static bool count_is_fine(struct decode *d, const struct field *f, const struct place *at, unsigned n)
{
    if (n <= field_max_items(f)) return true;
    problem(d, at, "too_long", "must have at most %u entries, not %u", field_max_items(f), n);
    return false;
}

static void decode_texts(struct decode *d, const struct field *f, const struct place *at,
                         const struct json *v, struct texts *out)
{
    struct json split[SHAPE_ITEMS_DEFAULT];
    struct json list = {.type = JSON_ARRAY};
    if (d->is_query && v->type == JSON_STRING) { /* a,b */
        str rest = v->text;
        for (; rest.len && list.n < LENGTH_OF(split); list.n++) {
            split[list.n] = (struct json){.type = JSON_STRING, .text = str_cut(&rest, ',')};
            if (list.n) split[list.n - 1].next = &split[list.n];
        }
        if (rest.len) {
            problem(d, at, "too_long", "must have at most %zu entries", LENGTH_OF(split));
            return;
        }
        list.child = list.n ? split : NULL;
        v = &list;
    }
    if (v->type != JSON_ARRAY) {
        wrong_type(d, at, v, "a list of texts");
        return;
    }
    if (!count_is_fine(d, f, at, v->n)) return;
    str *items = arena_news(d->a, str, v->n);
    if (!items) {
        d->is_full = true;
        return;
    }
    unsigned i = 0;
    for (const struct json *item = v->child; item; item = item->next, i++) {
        struct place here = {.up = at, .index = (int)i};
        (void)(f->choices ? decode_choice(d, f, &here, item, &items[i])
                          : decode_text(d, f, &here, item, &items[i]));
    }
    *out = (struct texts){items, v->n};
}

static void decode_objects(struct decode *d, const struct field *f, const struct place *at,
                           const struct json *v, struct objects *out)
{
    if (v->type != JSON_ARRAY) {
        wrong_type(d, at, v, "a list of objects");
        return;
    }
    if (!count_is_fine(d, f, at, v->n)) return;
    char *items = arena_array(d->a, v->n, f->shape->size);
    if (!items) {
        d->is_full = true;
        return;
    }
    unsigned i = 0;
    for (const struct json *item = v->child; item; item = item->next, i++) {
        struct place here = {.up = at, .index = (int)i};
        decode_object(d, f->shape, &here, item, SHAPE_NEW, items + i * f->shape->size, NULL);
    }
    *out = (struct objects){items, v->n};
}

static void decode_nested(struct decode *d, const struct field *f, const struct place *at,
                          const struct json *v, enum shape_mode mode, void *out)
{
    if (!(f->flags & FIELD_NULLABLE)) {
        decode_object(d, f->shape, at, v, mode, (char *)out + f->offset, NULL);
        return;
    }
    void *old = *AT(void *, out, f);
    void *copy = arena_alloc(d->a, f->shape->size);
    if (!copy) {
        d->is_full = true;
        return;
    }
    if (mode == SHAPE_MERGE && old) /* the old struct may be shared with the state before */
        memcpy(copy, old, f->shape->size);
    decode_object(d, f->shape, at, v, old ? mode : SHAPE_NEW, copy, NULL);
    *AT(void *, out, f) = copy;
}

static void decode_field(struct decode *d, const struct field *f, const struct place *at,
                         const struct json *v, enum shape_mode mode, void *out)
{
    if (v->type == JSON_NULL && (f->type != FIELD_JSON || f->flags & FIELD_NULLABLE)) {
        if (f->flags & FIELD_NULLABLE)
            set_none(f, out);
        else
            problem(d, at, "wrong_type", "must not be null%s",
                    mode == SHAPE_NEW && !(f->flags & FIELD_REQUIRED) ? "; leave it out instead" : "");
        return;
    }
    switch (f->type) {
    case FIELD_TEXT: (void)decode_text(d, f, at, v, AT(str, out, f)); return;
    case FIELD_ONE_OF: (void)decode_choice(d, f, at, v, AT(str, out, f)); return;
    case FIELD_INT: (void)decode_int(d, f, at, v, "", AT(int64_t, out, f)); return;
    case FIELD_MONEY: return; /* decode_money */
    case FIELD_BOOL: (void)decode_bool(d, at, v, AT(bool, out, f)); return;
    case FIELD_TIME: (void)decode_time(d, at, v, AT(usec, out, f)); return;
    case FIELD_UUID: (void)decode_uuid(d, at, v, AT(uuid, out, f)); return;
    case FIELD_TEXTS: decode_texts(d, f, at, v, AT(struct texts, out, f)); return;
    case FIELD_JSON: (void)decode_json(d, f, at, v, mode, AT(str, out, f)); return;
    case FIELD_OBJECT: decode_nested(d, f, at, v, mode, out); return;
    case FIELD_OBJECTS: decode_objects(d, f, at, v, AT(struct objects, out, f)); return;
    }
}

/* A decimal string or a number of US dollars. */
static bool decode_usd(struct decode *d, const struct field *f, const struct place *at, const struct json *v,
                       int64_t *out)
{
    char low[MONEY_TEXT_LEN], high[MONEY_TEXT_LEN];
    int64_t nano;
    if (v->type != JSON_STRING && v->type != JSON_NUMBER) {
        wrong_type(d, at, v, "an amount as text");
        return false;
    }
    if (!money_parse(v->text, 9, &nano) || nano == NO_VALUE) {
        problem(d, at, "bad_format",
                "must be US dollars as decimal text such as \"5.00\", with at most 9 decimal places");
        return false;
    }
    if (field_has_range(f) && (nano < f->min || nano > f->max)) {
        if (f->max == INT64_MAX)
            problem(d, at, "out_of_range", "must be at least %.*s US dollars",
                    STR(money_format(f->min, low)));
        else
            problem(d, at, "out_of_range", "must be from %.*s to %.*s US dollars",
                    STR(money_format(f->min, low)), STR(money_format(f->max, high)));
        return false;
    }
    *out = nano;
    return true;
}

static void decode_money(struct decode *d, const struct field *f, const struct place *up,
                         const struct json *usd, const struct json *nano, void *out)
{
    struct place at_usd = {.up = up, .name = str_c(f->name), .suffix = S("_usd")};
    struct place at_nano = {.up = up, .name = str_c(f->name), .suffix = S("_nanousd")};
    int64_t a = NO_VALUE, b = NO_VALUE;
    bool a_is_null = usd && usd->type == JSON_NULL, b_is_null = nano && nano->type == JSON_NULL;
    if ((a_is_null || b_is_null) && !(f->flags & FIELD_NULLABLE)) {
        problem(d, a_is_null ? &at_usd : &at_nano, "wrong_type", "must not be null");
        return;
    }
    if ((usd && !a_is_null && !decode_usd(d, f, &at_usd, usd, &a)) ||
        (nano && !b_is_null && !decode_int(d, f, &at_nano, nano, " nano-USD", &b)))
        return;
    if (usd && nano && a != b) {
        problem(d, &at_nano, "duplicate", "must be the same amount as %s_usd; send one of the two", f->name);
        return;
    }
    *AT(int64_t, out, f) = usd ? a : b;
}

/* --- objects --- */

/* The field of a member name; for money the name ends in _usd or _nanousd. */
static int field_of(const struct shape *s, str name, bool *is_nano)
{
    *is_nano = false;
    for (unsigned i = 0; i < s->n; i++) {
        str own = str_c(s->fields[i].name);
        if (s->fields[i].type != FIELD_MONEY) {
            if (str_eq(own, name)) return (int)i;
            continue;
        }
        if (!str_starts(name, own)) continue;
        str rest = str_skip(name, own.len);
        *is_nano = str_eq(rest, S("_nanousd"));
        if (*is_nano || str_eq(rest, S("_usd"))) return (int)i;
    }
    return -1;
}

static void unknown_field(struct decode *d, const struct shape *s, const struct place *up, str name)
{
    struct place at = {.up = up, .name = shown(name)};
    const char *best_name = NULL, *suffix = "";
    unsigned best = name.len < 4 ? 2 : 3; /* two letters changed places: a distance of 2 */
    for (unsigned i = 0; i < s->n; i++) {
        const struct field *f = &s->fields[i];
        if (f->flags & FIELD_READONLY) continue;
        const char *ends[2] = {f->type == FIELD_MONEY ? "_usd" : "",
                               f->type == FIELD_MONEY ? "_nanousd" : NULL};
        for (unsigned j = 0; j < 2 && ends[j]; j++) {
            str whole = arena_printf(d->a, "%s%s", f->name, ends[j]);
            unsigned distance = whole.p ? str_distance(whole, name) : 255;
            bool is_stem = f->type == FIELD_MONEY && j == 0 && str_eq(str_c(f->name), name);
            if (is_stem || distance < best) {
                best = is_stem ? 0 : distance;
                best_name = f->name;
                suffix = ends[j];
            }
        }
    }
    const char *what = d->is_query ? "query parameter" : "field";
    if (best_name)
        problem(d, &at, "unknown_field", "is no %s here; did you mean '%s%s'?", what, best_name, suffix);
    else
        problem(d, &at, "unknown_field", "is no %s here", what);
}

static void read_only(struct decode *d, const struct place *up, str name)
{
    struct place at = {.up = up, .name = name};
    problem(d, &at, "read_only", "is set by the server; leave it out");
}

/* What a field gets that the object does not have. */
static void absent(struct decode *d, const struct field *f, const struct place *up, void *out)
{
    struct place at = {
        .up = up, .name = str_c(f->name), .suffix = f->type == FIELD_MONEY ? S("_usd") : S("")};
    set_none(f, out);
    if (f->flags & FIELD_READONLY) return;
    if (f->fallback) {
        struct json *v;
        struct decode quiet = *d;
        quiet.is_query = false;
        if (json_parse(d->a, str_c(f->fallback), &v, NULL) != ERR_NONE) {
            d->is_full = true; /* a fallback is JSON: the program says so */
            return;
        }
        if (f->type == FIELD_MONEY)
            decode_money(&quiet, f, up, v, NULL, out);
        else
            decode_field(&quiet, f, &at, v, SHAPE_NEW, out);
        d->is_full |= quiet.is_full;
    } else if (f->flags & FIELD_REQUIRED) {
        problem(d, &at, "required", "is required%s%s", f->meaning ? ": " : "", f->meaning ? f->meaning : "");
    }
}

static void decode_object(struct decode *d, const struct shape *s, const struct place *up,
                          const struct json *object, enum shape_mode mode, void *out, uint64_t *present)
{
    const struct json *found[SHAPE_FIELDS_MAX] = {NULL}, *nano[SHAPE_FIELDS_MAX] = {NULL};
    assert(s->n <= SHAPE_FIELDS_MAX);
    if (object->type != JSON_OBJECT) {
        if (up)
            wrong_type(d, up, object, "an object");
        else
            add_error(d->a, d->errors, S("(body)"), "wrong_type", S("must be a JSON object"));
        return;
    }
    for (const struct json *m = object->child; m; m = m->next) {
        bool is_nano;
        int i = field_of(s, m->name, &is_nano);
        if (i < 0)
            unknown_field(d, s, up, m->name);
        else if (s->fields[i].flags & FIELD_READONLY)
            read_only(d, up, m->name);
        else if ((is_nano ? nano : found)[i])
            problem(d, &(struct place){.up = up, .name = m->name}, "duplicate", "is given twice");
        else
            (is_nano ? nano : found)[i] = m;
    }
    for (unsigned i = 0; i < s->n && !d->is_full; i++) {
        const struct field *f = &s->fields[i];
        if (!found[i] && !nano[i]) {
            if (mode == SHAPE_NEW) absent(d, f, up, out);
            continue;
        }
        if (present) *present |= 1ull << i;
        if (mode == SHAPE_NEW) set_none(f, out);
        struct place at = {.up = up, .name = str_c(f->name)};
        if (f->type == FIELD_MONEY)
            decode_money(d, f, up, found[i], nano[i], out);
        else
            decode_field(d, f, &at, found[i], mode, out);
    }
}

static enum errc end_of(const struct decode *d, err *e)
{
    if (d->is_full)
        return err_set(e, ERR_TOO_LARGE, "the request needs more memory than its limit of %zu bytes",
                       d->a->limit);
    return d->errors->n ? field_errors_sum(d->errors, e) : ERR_NONE;
}

enum errc shape_decode(struct arena *a, const struct shape *s, const struct json *object,
                       enum shape_mode mode, void *out, uint64_t *present, struct field_errors *errors,
                       err *e)
{
    struct decode d = {.a = a, .errors = errors};
    if (present) *present = 0;
    decode_object(&d, s, NULL, object, mode, out, present);
    return end_of(&d, e);
}

/* --- query strings --- */

/* Percent-decoded, '+' as a space; p == NULL when it is malformed or the arena exhausted. */
static str decode_part(struct decode *d, str part)
{
    char *out = arena_bytes(d->a, part.len + 1);
    size_t len;
    if (!out) {
        d->is_full = true;
        return (str){NULL, 0};
    }
    memcpy(out, part.len ? part.p : "", part.len);
    for (size_t i = 0; i < part.len; i++)
        if (out[i] == '+') out[i] = ' ';
    if (!url_decode(str_of(out, part.len), out, &len) || !utf8_is_valid(str_of(out, len)))
        return (str){NULL, 0};
    return str_of(out, len);
}

enum errc shape_decode_query(struct arena *a, const struct shape *s, str query, void *out,
                             struct field_errors *errors, err *e)
{
    struct decode d = {.a = a, .errors = errors, .is_query = true};
    struct json object = {.type = JSON_OBJECT}, **last = &object.child;
    while (query.len) {
        str value = str_cut(&query, '&');
        str name = str_cut(&value, '=');
        if (!name.len && !value.len) continue;
        if (object.n == QUERY_PARAMS_MAX)
            return err_set(e, ERR_INVALID, "the query has more than %d parameters", QUERY_PARAMS_MAX);
        struct json *m = arena_new(a, struct json);
        if (!m) {
            d.is_full = true;
            break;
        }
        *m =
            (struct json){.type = JSON_STRING, .name = decode_part(&d, name), .text = decode_part(&d, value)};
        if (!m->name.p || !m->text.p) {
            if (d.is_full) break;
            field_error_add(a, errors, m->name.p ? m->name : S("(query)"), "bad_format",
                            "is not well-formed percent-encoded UTF-8");
            continue;
        }
        *last = m;
        last = &m->next;
        object.n++;
    }
    if (!d.is_full) decode_object(&d, s, NULL, &object, SHAPE_NEW, out, NULL);
    return end_of(&d, e);
}
