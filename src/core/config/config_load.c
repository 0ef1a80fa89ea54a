/* config_load.c - reads the file, lays the environment and the command line over it, checks every value. */
#include "core/config/config_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/utf8.h"
#include "json/yaml.h"

/* Sections that may be written as one value: `listen: X` is short for `listen: {address: X}`. */
static const struct {
    const char *section, *member;
} shorthands[] = {
    {"listen", "address"},
};

#define TREE_DEPTH_MAX 16 /* far more than any room reads, and less than the JSON writer can nest */

struct loader {
    struct config *c;
    struct arena *a;
    struct buf *problems;
    unsigned n_problems;
    bool holds_secrets; /* the file has a value of an OPTION_SECRET */
    bool is_out_of_memory;
    bool is_lenient; /* a problem is a warning, and the value is left out */
    bool was_wrong;  /* set by a problem while it is lenient */
};

/* --- problems --- */

static void problem(struct loader *l, str where, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void problem(struct loader *l, str where, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char text[1024];
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (l->is_lenient)
        l->was_wrong = true;
    else
        l->n_problems++;
    buf_add(l->problems, where);
    buf_add(l->problems, l->is_lenient ? S(": warning: left out: ") : S(": "));
    buf_add(l->problems, str_c(text));
    buf_add_char(l->problems, '\n');
}

static str where_of(struct loader *l, const struct json *v)
{
    str where = config_where(l->c, l->a, v);
    if (!where.p) l->is_out_of_memory = true;
    return where;
}

/* A value as a message shows it: 'abc', a list. Cut, without control characters, never a secret. */
#define SHOWN_MAX 64
static const char *shown(const struct option *o, const struct json *v, char out[SHOWN_MAX])
{
    str text;
    if (!config_scalar(v, &text))
        return v->type == JSON_ARRAY ? "a list" : v->type == JSON_OBJECT ? "a section" : "empty";
    if (text.len == 0) return "an empty text";
    if ((o && o->type == OPTION_SECRET) || config_looks_secret(text)) return "this text";
    size_t n = 0;
    out[n++] = '\'';
    for (size_t i = 0; i < text.len && n < SHOWN_MAX - 6; i++)
        out[n++] = (unsigned char)text.p[i] < 0x20 || text.p[i] == 0x7f ? '?' : text.p[i];
    const char *end = n == SHOWN_MAX - 6 ? "...'" : "'";
    memcpy(out + n, end, strlen(end) + 1);
    return out;
}

/* --- "did you mean" --- */

struct guess {
    str best; /* full path, in the arena or the tables */
    unsigned distance;
};

static str normal_name(struct loader *l, str name)
{
    char *p = arena_bytes(l->a, name.len + 1);
    if (!p) return name;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.p[i];
        p[i] = c == '-' ? '_' : c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    return str_of(p, name.len);
}

static void guess_try(struct guess *g, str typed, str known, str full)
{
    unsigned distance = str_distance(typed, known);
    if (distance <= 1 + known.len / 4 && distance < typed.len && distance < g->distance)
        *g = (struct guess){full, distance};
}

/* For a name that stands below `parent` ("" at the top): its neighbours, then the same name elsewhere. */
static str guess_member(struct loader *l, str parent, str name)
{
    const struct schema *s = &l->c->schema;
    const struct option *o;
    struct guess g = {.distance = 255};
    str typed = normal_name(l, name);
    for (unsigned i = 0; (o = schema_at(s, i)) != NULL; i++) {
        str segment = schema_segment(o->key, parent);
        if (segment.len && !str_eq(segment, S("*")))
            guess_try(&g, typed, segment, arena_printf(l->a, "%.*s%.*s", STR(parent), STR(segment)));
    }
    for (unsigned i = 0; g.distance > 1 && (o = schema_at(s, i)) != NULL; i++) {
        str last = str_c(o->key);
        for (ptrdiff_t dot; (dot = str_chr(last, '.')) >= 0;)
            last = str_skip(last, (size_t)dot + 1);
        if (str_eq(last, typed) && !str_eq(typed, S("*"))) return str_c(o->key);
    }
    return g.best;
}

/* For a whole key from the environment or the command line. */
static str guess_key(struct loader *l, str key)
{
    const struct option *o;
    struct guess g = {.distance = 255};
    str typed = normal_name(l, key);
    for (unsigned i = 0; (o = schema_at(&l->c->schema, i)) != NULL; i++)
        if (str_find(str_c(o->key), S("[]")) < 0) guess_try(&g, typed, str_c(o->key), str_c(o->key));
    return g.best;
}

static void unknown_key(struct loader *l, str where, str key, str guess, str parent)
{
    if (guess.len) {
        problem(l, where, "unknown key '%.*s'; did you mean '%.*s'?", STR(str_take(key, 100)), STR(guess));
        return;
    }
    /* the list of what there is, as far as it fits on a line */
    char known[400];
    size_t n = 0;
    const struct option *o;
    for (unsigned i = 0; (o = schema_at(&l->c->schema, i)) != NULL; i++) {
        str segment = schema_segment(o->key, parent);
        if (segment.len == 0 || str_eq(segment, S("*")) ||
            !schema_is_first(&l->c->schema, i, parent, segment))
            continue;
        if (n + segment.len + 8 > sizeof known) {
            n += (size_t)snprintf(known + n, sizeof known - n, ", ...");
            break;
        }
        n += (size_t)snprintf(known + n, sizeof known - n, "%s%.*s", n ? ", " : "", STR(segment));
    }
    problem(l, where, "unknown key '%.*s'; known here: %s", STR(str_take(key, 100)), n ? known : "nothing");
}

/* --- checking one value --- */

static void choices_text(const struct option *o, char *out, size_t size)
{
    size_t n = 0;
    for (str rest = str_c(o->choices); rest.len && n < size;) {
        str one = str_cut(&rest, '|');
        n += (size_t)snprintf(out + n, size - n, "%s%.*s", n ? ", " : "", STR(one));
    }
}

static bool is_choice(const struct option *o, str text)
{
    for (str rest = str_c(o->choices); rest.len;)
        if (str_eq(str_cut(&rest, '|'), text)) return true;
    return false;
}

static void check_choice(struct loader *l, str where, const char *key, const struct option *o,
                         const struct json *v, str text)
{
    if (is_choice(o, text)) return;
    char list[400] = "", value[SHOWN_MAX];
    choices_text(o, list, sizeof list);
    struct guess g = {.distance = 255};
    str typed = normal_name(l, text);
    for (str rest = str_c(o->choices); rest.len;) {
        str one = str_cut(&rest, '|');
        guess_try(&g, typed, one, one);
    }
    if (g.best.len)
        problem(l, where, "'%s' must be one of %s, not %s; did you mean '%.*s'?", key, list,
                shown(o, v, value), STR(g.best));
    else
        problem(l, where, "'%s' must be one of %s, not %s", key, list, shown(o, v, value));
}

static void check_number(struct loader *l, str where, const char *key, const struct option *o,
                         const struct json *v, str text)
{
    static const char *const wanted[] = {
        [OPTION_INT] = "a whole number",
        [OPTION_BYTES] = "a size such as 16KiB, 1MiB or a plain number of bytes",
        [OPTION_MS] = "a duration such as 500ms, 10s, 5m, 1h or a plain number of milliseconds",
    };
    char value[SHOWN_MAX];
    int64_t n;
    if (!config_number_parse(o->type, text, &n)) {
        problem(l, where, "'%s' must be %s, not %s", key, wanted[o->type], shown(o, v, value));
        return;
    }
    int64_t max = o->max ? o->max : INT64_MAX;
    if (n >= o->min && n <= max) return;
    char least[CONFIG_NUMBER_LEN], most[CONFIG_NUMBER_LEN];
    config_number_format(o->type, o->min, least);
    config_number_format(o->type, max, most);
    if (o->max)
        problem(l, where, "'%s' must be between %s and %s, not %s", key, least, most, shown(o, v, value));
    else
        problem(l, where, "'%s' must be at least %s, not %s", key, least, shown(o, v, value));
}

static void check_list(struct loader *l, str where, const char *key, const struct option *o,
                       const struct json *v)
{
    char value[SHOWN_MAX];
    if (v->type != JSON_ARRAY) {
        problem(l, where, "'%s' must be a list of texts such as [a, b], not %s", key, shown(o, v, value));
        return;
    }
    for (const struct json *it = v->child; it; it = it->next) {
        str text;
        str place = config_given_of(l->c, v) ? where : where_of(l, it);
        if (!config_scalar(it, &text) || text.len == 0)
            problem(l, place, "each entry of '%s' must be a text, not %s", key, shown(o, it, value));
        else if (o->choices)
            check_choice(l, place, key, o, it, text);
    }
}

static unsigned depth_of(const struct json *v)
{
    unsigned deepest = 0;
    for (const struct json *it = v->child; it; it = it->next) {
        unsigned depth = depth_of(it); /* the parser has bounded it */
        if (depth > deepest) deepest = depth;
    }
    return 1 + deepest;
}

/* A leaf of any type; null has been taken for absent before. */
static void check_leaf(struct loader *l, str where, const char *key, const struct option *o,
                       const struct json *v)
{
    char value[SHOWN_MAX];
    str text;
    if (o->type == OPTION_TREE) {
        if (depth_of(v) > TREE_DEPTH_MAX)
            problem(l, where, "'%s' is nested more than %d levels deep", key, TREE_DEPTH_MAX);
        return;
    }
    if (o->type == OPTION_TEXT_LIST) {
        check_list(l, where, key, o, v);
        return;
    }
    bool is_scalar = config_scalar(v, &text);
    switch (o->type) {
    case OPTION_TEXT:
    case OPTION_SECRET:
        if (!is_scalar)
            problem(l, where, "'%s' must be a text, not %s", key, shown(o, v, value));
        else if (v->type == JSON_TRUE || v->type == JSON_FALSE)
            problem(l, where, "'%s' must be a text, not the value %.*s; put it in quotes if it is one", key,
                    STR(text));
        else if (memchr(text.p ? text.p : "", '\0', text.len))
            problem(l, where, "'%s' must not contain a NUL character", key);
        break;
    case OPTION_BOOL:
        if (!is_scalar || (!str_eq(text, S("true")) && !str_eq(text, S("false"))))
            problem(l, where, "'%s' must be true or false, not %s", key, shown(o, v, value));
        break;
    case OPTION_INT:
    case OPTION_BYTES:
    case OPTION_MS: check_number(l, where, key, o, v, is_scalar ? text : (str){NULL, 0}); break;
    case OPTION_ONE_OF: check_choice(l, where, key, o, v, is_scalar ? text : (str){NULL, 0}); break;
    case OPTION_TEXT_LIST:
    case OPTION_TREE: break;
    }
}

/* --- checking the tree of the file --- */

static void check_section(struct loader *l, const struct json *v, str schema_path, str key);

static void required_members(struct loader *l, const struct json *entry, str prefix)
{
    const struct option *o;
    for (unsigned i = 0; (o = schema_at(&l->c->schema, i)) != NULL; i++) {
        str key = str_c(o->key);
        if (!o->is_required || !str_starts(key, prefix)) continue;
        str member = str_skip(key, prefix.len);
        if (str_chr(member, '[') >= 0 || str_chr(member, '*') >= 0) continue;
        const struct json *v = json_at(entry, member);
        if (v && v->type != JSON_NULL) continue;
        if (prefix.len)
            problem(l, where_of(l, entry), "'%s' is missing; every entry must have it", o->key);
        else
            problem(l, l->c->file.len ? l->c->file : S("configuration"), "'%s' is missing", o->key);
    }
}

/* schema_path is the path in the tables, key the one that people see: they differ below "*". */
static void check_value(struct loader *l, const struct json *v, str schema_path, str key)
{
    char value[SHOWN_MAX];
    if (!schema_path.p || !key.p) {
        l->is_out_of_memory = true;
        return;
    }
    if (v->type == JSON_NULL) return; /* as if it were not there */
    const struct option *leaf;
    switch (schema_shape_of(&l->c->schema, schema_path, &leaf)) {
    case SCHEMA_NOTHING: break;
    case SCHEMA_LEAF:
        if (leaf->type == OPTION_SECRET) l->holds_secrets = true;
        check_leaf(l, where_of(l, v), key.p, leaf, v);
        break;
    case SCHEMA_SECTION:
        if (v->type == JSON_OBJECT)
            check_section(l, v, arena_printf(l->a, "%.*s.", STR(schema_path)),
                          arena_printf(l->a, "%.*s.", STR(key)));
        else
            problem(l, where_of(l, v), "'%.*s' must be a section of keys with values, not %s", STR(key),
                    shown(NULL, v, value));
        break;
    case SCHEMA_LIST: {
        if (v->type != JSON_ARRAY) {
            problem(l, where_of(l, v), "'%.*s' must be a list (entries that start with '- '), not %s",
                    STR(key), shown(NULL, v, value));
            break;
        }
        str prefix = arena_printf(l->a, "%.*s[].", STR(schema_path));
        str shown_prefix = arena_printf(l->a, "%.*s[].", STR(key));
        for (const struct json *it = v->child; it; it = it->next) {
            if (it->type != JSON_OBJECT) {
                problem(l, where_of(l, it),
                        "each entry of '%.*s' must be a section of keys with values, not %s", STR(key),
                        shown(NULL, it, value));
                continue;
            }
            check_section(l, it, prefix, shown_prefix);
            required_members(l, it, prefix);
        }
        break;
    }
    }
}

/* Both paths end in '.' or are empty. */
static void check_section(struct loader *l, const struct json *v, str schema_path, str key)
{
    if (!schema_path.p || !key.p) {
        l->is_out_of_memory = true;
        return;
    }
    const struct schema *s = &l->c->schema;
    const struct option *leaf;
    str any = arena_printf(l->a, "%.*s*", STR(schema_path));
    bool has_any = schema_shape_of(s, any, &leaf) != SCHEMA_NOTHING;
    for (const struct json *it = v->child; it; it = it->next) {
        str path = arena_printf(l->a, "%.*s%.*s", STR(schema_path), STR(it->name));
        str full = arena_printf(l->a, "%.*s%.*s", STR(key), STR(it->name));
        if (!any.p || !path.p || !full.p) {
            l->is_out_of_memory = true;
            return;
        }
        /* A dot inside a name must not be taken for a path, nor the tables' own signs for a name. */
        bool is_plain = it->name.len && str_chr(it->name, '.') < 0 && str_chr(it->name, '[') < 0 &&
                        str_chr(it->name, '*') < 0;
        bool is_known = is_plain && schema_shape_of(s, path, &leaf) != SCHEMA_NOTHING;
        if (is_known)
            check_value(l, it, path, full);
        else if (has_any)
            check_value(l, it, any, full);
        else if (!is_plain && schema_shape_of(s, path, &leaf) == SCHEMA_LEAF)
            problem(l, where_of(l, it), "'%.*s' must be written as nested keys, without a dot in the name",
                    STR(full));
        else
            unknown_key(l, where_of(l, it), full, guess_member(l, schema_path, it->name), schema_path);
    }
}

static void expand_shorthands(struct loader *l)
{
    for (struct json *it = l->c->root->child; it; it = it->next) {
        str ignored;
        for (size_t i = 0; i < LENGTH_OF(shorthands); i++) {
            if (!str_eq(it->name, str_c(shorthands[i].section)) || !config_scalar(it, &ignored)) continue;
            struct json *member = arena_new(l->a, struct json);
            if (!member) {
                l->is_out_of_memory = true;
                return;
            }
            *member = *it;
            member->name = str_c(shorthands[i].member);
            member->next = NULL;
            it->type = JSON_OBJECT;
            it->text = (str){NULL, 0};
            it->child = member;
            it->n = 1;
        }
    }
}

/* --- the file --- */

static enum errc read_file(const char *path, struct buf *text, mode_t *mode, err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return err_errno(e, ERR_IO, errno, "cannot be read");
    enum errc code = ERR_NONE;
    struct stat st;
    if (fstat(fd, &st) != 0) code = err_errno(e, ERR_IO, errno, "cannot be read");
    while (!code) {
        const size_t step = 32 << 10;
        char *p = buf_reserve(text, step);
        if (!p) {
            code = buf_err(text) == ERR_TOO_LARGE ? err_set(e, ERR_TOO_LARGE, "is larger than 1 MiB")
                                                  : err_code(e, ERR_NO_MEMORY);
            break;
        }
        ssize_t n = read(fd, p, step);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) code = err_errno(e, ERR_IO, errno, "cannot be read");
        if (n <= 0) break;
        buf_added(text, (size_t)n);
    }
    close(fd);
    if (!code) *mode = st.st_mode;
    return code;
}

static str dir_of(str file)
{
    size_t n = file.len;
    while (n && file.p[n - 1] != '/')
        n--;
    if (n == 0) return S(".");
    return n == 1 ? S("/") : str_take(file, n - 1);
}

/* The parser says "line L, column C: text"; here the line goes where an editor looks for it. */
static void syntax_problem(struct loader *l, const err *e)
{
    unsigned line = 0, column = 0;
    int at = 0;
    if (sscanf(e->msg, "line %u, column %u: %n", &line, &column, &at) == 2 && at > 0)
        problem(l, arena_printf(l->a, "%.*s:%u", STR(l->c->file), line), "%s (column %u)", e->msg + at,
                column);
    else
        problem(l, l->c->file, "%s", e->msg);
}

static void warn_if_readable(struct loader *l, mode_t mode)
{
    if (!l->holds_secrets || !S_ISREG(mode) || !(mode & (S_IRWXG | S_IRWXO))) return;
    str file = l->c->file;
    buf_addf(l->problems, "%.*s: warning: the file holds secrets and others than its owner may open it ",
             STR(file));
    buf_addf(l->problems, "(mode %04o); run: chmod 600 %.*s\n", (unsigned)(mode & 07777), STR(file));
}

static enum errc check_text(struct loader *l, str text, err *e)
{
    struct config *c = l->c;
    struct json *root = NULL;
    err why = {0};
    enum errc code = yaml_parse(l->a, text, &root, &why);
    if (code == ERR_SYNTAX || code == ERR_INVALID) {
        syntax_problem(l, &why);
        return ERR_NONE;
    }
    if (code) return err_set(e, code, "%.*s: %s", STR(c->file), why.msg);
    if (root->type == JSON_NULL) return ERR_NONE;
    if (root->type != JSON_OBJECT) {
        char value[SHOWN_MAX];
        problem(l, c->file, "the file must be a section of keys with values, not %s",
                shown(NULL, root, value));
        return ERR_NONE;
    }
    c->root = root;
    expand_shorthands(l);
    struct arena_mark mark = arena_mark(l->a); /* checking makes paths, and keeps nothing */
    check_section(l, root, S(""), S(""));
    arena_reset(l->a, mark);
    return ERR_NONE;
}

static enum errc load_file(struct loader *l, const char *path, err *e)
{
    struct config *c = l->c;
    c->file = str_dup(l->a, str_c(path));
    if (!c->file.p) return err_code(e, ERR_NO_MEMORY);
    c->dir = dir_of(c->file);
    struct buf text;
    buf_init(&text, YAML_TEXT_MAX + (64 << 10)); /* the parser has the exact limit */
    mode_t mode = 0;
    err why = {0};
    enum errc code = read_file(path, &text, &mode, &why);
    if (code == ERR_NO_MEMORY) {
        err_set(e, code, "%s: %s", path, why.msg);
    } else if (code) {
        problem(l, c->file, "%s", why.msg);
        code = ERR_NONE;
    } else {
        code = check_text(l, buf_str(&text), e);
        warn_if_readable(l, mode);
    }
    if (text.p) explicit_bzero(text.p, text.cap);
    buf_fini(&text);
    return code;
}

/* --- the environment and the command line --- */

static struct json *member_of(struct json *o, str name)
{
    struct json *it = o->child;
    while (it && !str_eq(it->name, name))
        it = it->next;
    return it;
}

static void put_member(struct json *o, struct json *v)
{
    struct json **link = &o->child;
    while (*link && !str_eq((*link)->name, v->name))
        link = &(*link)->next;
    if (*link)
        v->next = (*link)->next;
    else
        o->n++;
    *link = v;
}

/* Puts the node where the key says: `path` are names of sections, `name` may contain dots. */
static void put_value(struct loader *l, str path, str name, struct json *v)
{
    struct json *at = l->c->root;
    while (path.len) {
        str section = str_cut(&path, '.');
        struct json *next = member_of(at, section);
        if (!next) {
            next = arena_new(l->a, struct json);
            if (!next) {
                l->is_out_of_memory = true;
                return;
            }
            next->name = section;
            put_member(at, next);
        } else if (next->type != JSON_NULL && next->type != JSON_OBJECT) {
            return; /* reported when the file was checked */
        }
        next->type = JSON_OBJECT;
        at = next;
    }
    v->name = name;
    put_member(at, v);
}

static struct json *text_node(struct loader *l, enum json_type type, str text)
{
    struct json *v = arena_new(l->a, struct json);
    if (v) {
        v->type = type;
        v->text = str_dup(l->a, text);
    }
    if (!v || !v->text.p) l->is_out_of_memory = true;
    return v;
}

static struct json *list_node(struct loader *l, str text)
{
    struct json *list = text_node(l, JSON_ARRAY, S(""));
    struct json **link = list ? &list->child : NULL;
    while (list && text.len) {
        struct json *one = text_node(l, JSON_STRING, str_trim(str_cut(&text, ',')));
        if (!one) return NULL;
        *link = one;
        link = &one->next;
        list->n++;
    }
    return list;
}

/* The option that a key sets. For an entry of a map ("aliases.fast" of "aliases.*") *path_len is the length
 * of what stands before the entry's name. */
static const struct option *option_for(const struct schema *s, str key, size_t *path_len)
{
    const struct option *o = str_chr(key, '*') < 0 ? schema_find(s, key) : NULL;
    if (o) {
        size_t n = key.len;
        while (n && key.p[n - 1] != '.')
            n--;
        *path_len = n;
        return str_chr(key, '[') < 0 ? o : NULL;
    }
    for (unsigned i = 0; (o = schema_at(s, i)) != NULL; i++) {
        str known = str_c(o->key);
        str prefix = str_take(known, known.len - 1);
        if (!str_ends(known, S(".*")) || str_chr(known, '[') >= 0 || !str_starts(key, prefix) ||
            key.len <= prefix.len)
            continue;
        *path_len = prefix.len;
        return o;
    }
    return NULL;
}

/* The length of the section that a key starts with, its dot included; 0 when there is no such section. */
static size_t section_len(const struct schema *s, str key)
{
    size_t len = 0;
    for (size_t i = 0; i < key.len; i++)
        if (key.p[i] == '.' && schema_has_below(s, str_take(key, i), ".")) len = i + 1;
    return len;
}

static bool is_in_list(const struct schema *s, str key)
{
    const struct option *o;
    for (unsigned i = 0; (o = schema_at(s, i)) != NULL; i++) {
        ptrdiff_t at = str_find(str_c(o->key), S("[]"));
        if (at < 0) continue;
        str base = str_take(str_c(o->key), (size_t)at);
        str rest = str_skip(key, base.len);
        if (str_starts(key, base) && (rest.len == 0 || rest.p[0] == '.' || rest.p[0] == '[')) return true;
    }
    return false;
}

static void apply(struct loader *l, str key, str value, enum config_origin origin, str where)
{
    const struct schema *s = &l->c->schema;
    for (size_t i = 0; i < LENGTH_OF(shorthands); i++)
        if (str_eq(key, str_c(shorthands[i].section)))
            key = arena_printf(l->a, "%s.%s", shorthands[i].section, shorthands[i].member);
    if (!key.p || !where.p) {
        l->is_out_of_memory = true;
        return;
    }
    if (!utf8_is_valid(key) || !utf8_is_valid(value) || !utf8_is_valid(where)) {
        problem(l, utf8_is_valid(where) ? where : S("a setting"), "the key or its value is not valid UTF-8");
        return;
    }
    size_t path_len = 0;
    const struct option *o = option_for(s, key, &path_len);
    if (is_in_list(s, key) || (o && o->type == OPTION_TREE)) {
        problem(l, where, "'%.*s' can only be set in the configuration file", STR(str_take(key, 100)));
        return;
    }
    if (!o && schema_has_below(s, key, ".")) {
        problem(l, where, "'%.*s' is a section; name one of its keys", STR(key));
        return;
    }
    if (!o) {
        /* what is known where the key begins to be wrong: below its section when that exists */
        size_t n = section_len(s, key);
        str guess = guess_key(l, key);
        if (!guess.len) guess = guess_member(l, str_take(key, n), str_skip(key, n));
        unknown_key(l, where, key, guess, str_take(key, n));
        return;
    }
    struct config_given *given = arena_new(l->a, struct config_given);
    struct json *v = o->type == OPTION_TEXT_LIST ? list_node(l, value) : text_node(l, JSON_STRING, value);
    str kept = str_dup(l->a, key);
    str place = str_dup(l->a, where);
    if (!given || !v || !kept.p || !place.p) {
        l->is_out_of_memory = true;
        return;
    }
    *given = (struct config_given){v, origin, place, l->c->given};
    l->c->given = given;
    const char *key_text = str_to_c(l->a, kept);
    check_leaf(l, place, key_text ? key_text : o->key, o, v);
    if (l->was_wrong) return;
    put_value(l, str_take(kept, path_len ? path_len - 1 : 0), str_skip(kept, path_len), v);
}

/* CATALYST_LIMITS__HEAD_BYTES -> limits.head_bytes, CATALYST__LOOPS -> loops; empty when it is no
 * configuration. */
static str key_of_variable(struct loader *l, str name)
{
    str rest = str_skip(name, strlen("CATALYST"));
    if (!str_starts(name, S("CATALYST_"))) return (str){NULL, 0};
    if (str_starts(rest, S("__")))
        rest = str_skip(rest, 2);
    else if (str_find(str_skip(rest, 1), S("__")) > 0)
        rest = str_skip(rest, 1);
    else
        return (str){NULL, 0};
    char *out = arena_bytes(l->a, rest.len + 1);
    if (!out) {
        l->is_out_of_memory = true;
        return (str){NULL, 0};
    }
    size_t n = 0;
    for (size_t i = 0; i < rest.len; i++) {
        char c = rest.p[i];
        bool is_separator = c == '_' && i + 1 < rest.len && rest.p[i + 1] == '_';
        out[n++] = is_separator ? '.' : c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
        i += is_separator;
    }
    return str_of(out, n);
}

static void apply_environment(struct loader *l, const char *const *environment)
{
    for (; environment && *environment; environment++) {
        str value = str_c(*environment);
        str name = str_cut(&value, '=');
        str key = key_of_variable(l, name);
        if (key.len) apply(l, key, value, CONFIG_ENV, name);
    }
}

static void apply_flags(struct loader *l, const struct config_setting *flags, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        str where = flags[i].given_as;
        if (where.len == 0) where = arena_printf(l->a, "--set %.*s", STR(str_take(flags[i].key, 100)));
        apply(l, flags[i].key, flags[i].value, CONFIG_FLAG, where);
    }
}

/* Lies below everything else: a key that has a value already keeps it. */
static void apply_database(struct loader *l, const struct config_setting *settings, unsigned n)
{
    l->is_lenient = true;
    for (unsigned i = 0; i < n; i++) {
        size_t path_len;
        const struct json *v = json_at(l->c->root, settings[i].key);
        const struct option *o = option_for(&l->c->schema, settings[i].key, &path_len);
        if (v && v->type != JSON_NULL) continue;
        l->was_wrong = false;
        if (o && o->change != OPTION_SETTABLE)
            problem(l, S("database"), "'%.*s' is not settable there", STR(settings[i].key));
        else
            apply(l, settings[i].key, settings[i].value, CONFIG_DATABASE, S("database"));
    }
    l->is_lenient = l->was_wrong = false;
}

/* --- one value --- */

const struct option *config_option(const struct option_table *const *tables, unsigned n, str key)
{
    const struct schema s = {tables, n};
    size_t path_len;
    return is_in_list(&s, key) ? NULL : option_for(&s, key, &path_len);
}

enum errc config_check_value(const struct option_table *const *tables, unsigned n, str key, str value, err *e)
{
    struct arena a;
    struct buf problems;
    struct json root = {.type = JSON_OBJECT};
    struct config c = {.schema = {tables, n}, .dir = S("."), .root = &root};
    arena_init(&a, 1 << 20, 0);
    buf_init(&problems, 64 << 10);
    struct loader l = {.c = &c, .a = &a, .problems = &problems};
    enum errc rc = ERR_NONE;
    apply(&l, key, value, CONFIG_DATABASE, S("value"));
    str text = str_trim(buf_str(&problems));
    if (l.is_out_of_memory)
        rc = err_set(e, ERR_TOO_LARGE, "the value is too large");
    else if (text.len)
        rc = err_set(e, ERR_INVALID, "%.*s", STR(str_skip(text, strlen("value: "))));
    buf_fini(&problems);
    arena_fini(&a);
    return rc;
}

/* --- defaults --- */

/* A default that is not of its own type is a mistake in the program. Those of text lists are parsed here,
 * once. */
static enum errc prepare_defaults(struct loader *l, err *e)
{
    const struct option *o;
    for (unsigned i = 0; (o = schema_at(&l->c->schema, i)) != NULL; i++) {
        if (!o->fallback) continue;
        str text = str_c(o->fallback);
        int64_t n = 0;
        bool is_number = o->type == OPTION_INT || o->type == OPTION_BYTES || o->type == OPTION_MS;
        assert(!is_number ||
               (config_number_parse(o->type, text, &n) && n >= o->min && (!o->max || n <= o->max)));
        assert(o->type != OPTION_BOOL || str_eq(text, S("true")) || str_eq(text, S("false")));
        assert(o->type != OPTION_ONE_OF || is_choice(o, text));
        if (o->type != OPTION_TEXT_LIST) continue;
        struct config_list_default *d = arena_new(l->a, struct config_list_default);
        struct json *list = NULL;
        if (!d) return err_code(e, ERR_NO_MEMORY);
        enum errc code = yaml_parse(l->a, text, &list, e);
        if (code) return code;
        assert(list->type == JSON_ARRAY);
        *d = (struct config_list_default){o, list, l->c->list_defaults};
        l->c->list_defaults = d;
    }
    return ERR_NONE;
}

enum errc config_load(struct arena *a, const struct config_source *source, struct config **out,
                      struct buf *problems, err *e)
{
    struct config *c = arena_new(a, struct config);
    const struct option_table **tables = arena_array(a, source->n_tables, sizeof *tables);
    struct json *root = arena_new(a, struct json);
    if (!c || !tables || !root) return err_code(e, ERR_NO_MEMORY);
    for (unsigned i = 0; i < source->n_tables; i++)
        tables[i] = source->tables[i];
    root->type = JSON_OBJECT;
    *c = (struct config){.schema = {tables, source->n_tables}, .dir = S("."), .root = root};

    struct loader l = {.c = c, .a = a, .problems = problems};
    enum errc code = prepare_defaults(&l, e);
    if (!code && source->file) code = load_file(&l, source->file, e);
    if (code) return code;
    apply_environment(&l, source->environ);
    apply_flags(&l, source->flags, source->n_flags);
    apply_database(&l, source->database, source->n_database);
    required_members(&l, c->root, S(""));
    if (l.is_out_of_memory)
        return err_set(e, ERR_NO_MEMORY, "the configuration needs more than %zu bytes of memory", a->limit);
    if (l.n_problems)
        return err_set(e, ERR_CONFIG, "%u problem%s in the configuration%s%s", l.n_problems,
                       l.n_problems == 1 ? "" : "s", source->file ? " of " : "",
                       source->file ? source->file : "");
    *out = c;
    return ERR_NONE;
}
