/* config_show.c - a configuration as people and scripts see it, and the reference of all keys. */
#include "core/config/config_internal.h"

#include <stdio.h>

#include "json/write.h"

#define MASK "****"

/* --- config show --- */

/* One walk over the schema writes both forms: `json` is NULL for YAML. */
struct view {
    const struct config *c;
    struct buf *out;
    struct json_writer *json;
    bool with_origin;
};

static const char *const origin_names[] = {[CONFIG_DEFAULT] = "default",
                                           [CONFIG_DATABASE] = "database",
                                           [CONFIG_FILE] = "file",
                                           [CONFIG_ENV] = "environment",
                                           [CONFIG_FLAG] = "flag"};

static enum config_origin node_origin(const struct config *c, const struct json *node)
{
    const struct config_given *given = node ? config_given_of(c, node) : NULL;
    return given ? given->origin : node ? CONFIG_FILE : CONFIG_DEFAULT;
}

/* JSON's strings may hold characters that YAML takes for line breaks or refuses: DEL, U+0080 to U+009F,
 * U+FEFF, U+FFFE, U+FFFF. They are escaped as both understand. */
static void yaml_json(struct buf *out, str json)
{
    for (size_t i = 0; i < json.len; i++) {
        const unsigned char *p = (const unsigned char *)json.p + i;
        size_t left = json.len - i;
        if (p[0] == 0x7F) {
            buf_add(out, S("\\u007f"));
        } else if (left > 1 && p[0] == 0xC2 && p[1] < 0xA0) {
            buf_addf(out, "\\u%04x", p[1]);
            i += 1;
        } else if (left > 2 && p[0] == 0xEF &&
                   ((p[1] == 0xBB && p[2] == 0xBF) || (p[1] == 0xBF && p[2] >= 0xBE))) {
            buf_addf(out, "\\u%04x", 0xF000u | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu));
            i += 2;
        } else {
            buf_add_char(out, json.p[i]);
        }
    }
}

/* Plain where YAML reads the same text back, quoted as in JSON otherwise. */
static void yaml_text(struct buf *out, str s)
{
    bool is_plain =
        s.len > 0 && ((s.p[0] >= 'a' && s.p[0] <= 'z') || (s.p[0] >= 'A' && s.p[0] <= 'Z') || s.p[0] == '/');
    for (size_t i = 0; is_plain && i < s.len; i++) {
        char c = s.p[i];
        is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                   c == '-' || c == '.' || c == '/' || (c == '*' && i > 0) ||
                   (c == ':' && i + 1 < s.len && s.p[i + 1] != ' ');
    }
    if (is_plain && !str_eq(s, S("true")) && !str_eq(s, S("false")) && !str_eq(s, S("null"))) {
        buf_add(out, s);
        return;
    }
    struct buf json;
    buf_init(&json, out->max);
    json_escape(&json, s);
    buf_add_char(out, '"');
    yaml_json(out, buf_str(&json));
    buf_add_char(out, '"');
    buf_fini(&json);
}

static str masked(str text) { return config_looks_secret(text) ? S(MASK) : text; }

/* Any tree as JSON, which is YAML too. */
static void write_tree(struct json_writer *w, const struct json *v)
{
    switch (v->type) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        if (v->type == JSON_OBJECT)
            json_object(w);
        else
            json_array(w);
        for (const struct json *it = v->child; it; it = it->next) {
            if (v->type == JSON_OBJECT) json_name(w, masked(it->name));
            write_tree(w, it);
        }
        json_end(w);
        break;
    case JSON_NUMBER: json_raw(w, v->text); break;
    case JSON_TRUE:
    case JSON_FALSE: json_boolean(w, v->type == JSON_TRUE); break;
    case JSON_NONE:
    case JSON_NULL: json_null(w); break;
    case JSON_STRING: json_str(w, masked(v->text)); break;
    }
}

static const struct json *effective_tree(const struct view *v, const struct option *o,
                                         const struct json *node)
{
    return node ? node : o->type == OPTION_TEXT_LIST ? config_list_default(v->c, o) : NULL;
}

static str effective_text(const struct option *o, const struct json *node)
{
    str text = {NULL, 0};
    return node && config_scalar(node, &text) ? text : str_c(o->fallback);
}

static void json_value(struct view *v, const struct option *o, const struct json *node)
{
    struct json_writer *w = v->json;
    if (o->type == OPTION_TREE || o->type == OPTION_TEXT_LIST) {
        const struct json *tree = effective_tree(v, o, node);
        if (tree)
            write_tree(w, tree);
        else
            json_null(w);
        return;
    }
    str text = effective_text(o, node);
    int64_t n = 0;
    if (text.len == 0 && !node)
        json_null(w);
    else if (o->type == OPTION_SECRET)
        json_str(w, S(MASK));
    else if (o->type == OPTION_BOOL)
        json_boolean(w, str_eq(text, S("true")));
    else if (o->type != OPTION_TEXT && o->type != OPTION_ONE_OF && config_number_parse(o->type, text, &n))
        json_int(w, n);
    else
        json_str(w, masked(text));
}

static void yaml_value(struct view *v, const struct option *o, const struct json *node)
{
    struct buf *out = v->out;
    if (o->type == OPTION_TREE || o->type == OPTION_TEXT_LIST) {
        const struct json *tree = effective_tree(v, o, node);
        if (!tree) return;
        struct json_writer w;
        struct buf json;
        buf_init(&json, out->max);
        json_writer_init(&w, &json);
        write_tree(&w, tree);
        buf_add_char(out, ' ');
        yaml_json(out, buf_str(&json));
        buf_fini(&json);
        return;
    }
    str text = effective_text(o, node);
    int64_t n = 0;
    if (text.len == 0 && !node) return;
    buf_add_char(out, ' ');
    if (o->type == OPTION_SECRET) {
        buf_add(out, S("\"" MASK "\""));
    } else if (o->type == OPTION_TEXT || o->type == OPTION_ONE_OF) {
        yaml_text(out, masked(text));
    } else if (o->type != OPTION_BOOL && config_number_parse(o->type, text, &n)) {
        char shown[CONFIG_NUMBER_LEN];
        buf_add(out, config_number_format(o->type, n, shown));
    } else {
        buf_add(out, text);
    }
}

/* "catalyst.yaml:3", "CATALYST_TLS__CERT"; nothing for a default. */
static void write_where(struct buf *out, const struct config *c, const struct json *node)
{
    const struct config_given *given = config_given_of(c, node);
    if (given)
        buf_add(out, given->where);
    else
        buf_addf(out, "%.*s:%u", STR(c->file), node->line);
}

static void indent(struct buf *out, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++)
        buf_add(out, S("  "));
}

/* The name of a member; is_first_of_entry puts the dash of a list before it. */
static void write_name(struct view *v, str name, unsigned depth, bool is_first_of_entry)
{
    if (v->json) {
        json_name(v->json, name);
        return;
    }
    indent(v->out, is_first_of_entry ? depth - 1 : depth);
    if (is_first_of_entry) buf_add(v->out, S("- "));
    yaml_text(v->out, name);
    buf_add_char(v->out, ':');
}

static void write_leaf(struct view *v, const struct option *o, str name, const struct json *node,
                       unsigned depth, bool is_first_of_entry)
{
    write_name(v, name, depth, is_first_of_entry);
    if (!v->json) {
        yaml_value(v, o, node);
        if (v->with_origin) {
            buf_add(v->out, S("  # "));
            if (node)
                write_where(v->out, v->c, node);
            else
                buf_add(v->out, o->fallback ? S("default") : S("not set"));
        }
        buf_add_char(v->out, '\n');
        return;
    }
    if (!v->with_origin) {
        json_value(v, o, node);
        return;
    }
    json_object(v->json);
    json_name(v->json, S("value"));
    json_value(v, o, node);
    json_put_str(v->json, "origin", str_c(origin_names[node_origin(v->c, node)]));
    if (node) {
        struct buf where;
        buf_init(&where, 8192);
        write_where(&where, v->c, node);
        json_put_str(v->json, "where", buf_str(&where));
        buf_fini(&where);
    }
    json_end(v->json);
}

static bool write_members(struct view *v, str prefix, const struct json *node, unsigned depth, bool is_entry);

static void write_list(struct view *v, str path, str name, const struct json *list, unsigned depth,
                       bool is_first)
{
    write_name(v, name, depth, is_first);
    char prefix[256];
    int len = snprintf(prefix, sizeof prefix, "%.*s[].", STR(path));
    if (len < 0 || (size_t)len >= sizeof prefix) len = 0;
    if (v->json)
        json_array(v->json);
    else
        buf_add(v->out, list && list->n ? S("\n") : S(" []\n"));
    for (const struct json *it = list ? list->child : NULL; it; it = it->next) {
        if (v->json) json_object(v->json);
        bool has_any = write_members(v, str_of(prefix, (size_t)len), it, depth + 2, true);
        if (v->json) {
            json_end(v->json);
        } else if (!has_any) {
            indent(v->out, depth + 1);
            buf_add(v->out, S("- {}\n"));
        }
    }
    if (v->json) json_end(v->json);
}

static void write_section(struct view *v, str path, str name, const struct json *node, unsigned depth,
                          bool is_first)
{
    write_name(v, name, depth, is_first);
    char prefix[256];
    int len = snprintf(prefix, sizeof prefix, "%.*s.", STR(path));
    if (len < 0 || (size_t)len >= sizeof prefix) len = 0;
    size_t before = v->out->len;
    if (v->json)
        json_object(v->json);
    else
        buf_add_char(v->out, '\n');
    bool has_any = write_members(v, str_of(prefix, (size_t)len), node, depth + 1, false);
    if (v->json) {
        json_end(v->json);
    } else if (!has_any) {
        v->out->len = before;
        buf_add(v->out, S(" {}\n"));
    }
}

/* Everything below a prefix ("" at the top): what the schema names, then the entries of a free map. Of a
 * list's entry only what it has, and what has a default. True when anything was written. */
static bool write_members(struct view *v, str prefix, const struct json *node, unsigned depth, bool is_entry)
{
    const struct schema *s = &v->c->schema;
    const struct option *o, *leaf;
    bool has_any = false;
    for (unsigned i = 0; (o = schema_at(s, i)) != NULL; i++) {
        str segment = schema_segment(o->key, prefix);
        if (segment.len == 0 || !schema_is_first(s, i, prefix, segment)) continue;
        str path = str_take(str_c(o->key), prefix.len + segment.len);
        bool is_first = is_entry && !has_any;
        if (str_eq(segment, S("*"))) {
            leaf = schema_find(s, path);
            for (const struct json *it = node ? node->child : NULL; leaf && it; it = it->next) {
                if (it->type != JSON_NULL)
                    write_leaf(v, leaf, masked(it->name), it, depth, is_entry && !has_any);
                has_any = has_any || it->type != JSON_NULL;
            }
            continue;
        }
        const struct json *child = node ? json_get(node, segment) : NULL;
        if (child && child->type == JSON_NULL) child = NULL;
        enum schema_shape shape = schema_shape_of(s, path, &leaf);
        if (is_entry && !child && !(leaf && leaf->fallback)) continue;
        if (shape == SCHEMA_LEAF)
            write_leaf(v, leaf, segment, child, depth, is_first);
        else if (shape == SCHEMA_LIST)
            write_list(v, path, segment, child, depth, is_first);
        else
            write_section(v, path, segment, child, depth, is_first);
        has_any = true;
    }
    return has_any;
}

void config_show(const struct config *c, bool with_origin, bool as_json, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    struct view v = {.c = c, .out = out, .json = as_json ? &w : NULL, .with_origin = with_origin};
    if (as_json) json_object(&w);
    write_members(&v, S(""), c->root, 0, false);
    if (as_json) {
        json_end(&w);
        buf_add_char(out, '\n');
    }
}

/* --- the reference of all keys --- */

static void type_text(const struct option *o, struct buf *out)
{
    char least[CONFIG_NUMBER_LEN], most[CONFIG_NUMBER_LEN];
    switch (o->type) {
    case OPTION_TEXT: buf_add(out, S("text")); break;
    case OPTION_SECRET: buf_add(out, S("secret text")); break;
    case OPTION_BOOL: buf_add(out, S("true or false")); break;
    case OPTION_TEXT_LIST: buf_add(out, S("list of texts")); break;
    case OPTION_TREE: buf_add(out, S("section")); break;
    case OPTION_ONE_OF: buf_add(out, S("one of")); break;
    case OPTION_INT: buf_add(out, S("whole number")); break;
    case OPTION_BYTES: buf_add(out, S("size")); break;
    case OPTION_MS: buf_add(out, S("duration")); break;
    }
    if (o->choices) {
        buf_add(out, o->type == OPTION_TEXT_LIST ? S(" of ") : S(" "));
        bool is_first = true;
        for (str rest = str_c(o->choices); rest.len; is_first = false) {
            str one = str_cut(&rest, '|');
            buf_addf(out, "%s`%.*s`", is_first ? "" : ", ", STR(one));
        }
    }
    if (o->type != OPTION_INT && o->type != OPTION_BYTES && o->type != OPTION_MS) return;
    config_number_format(o->type, o->min, least);
    if (o->max)
        buf_addf(out, ", %s to %s", least, config_number_format(o->type, o->max, most).p);
    else
        buf_addf(out, ", at least %s", least);
}

/* Inside a Markdown table a bar would end the cell. */
static void cell(struct buf *out, str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '|') buf_add_char(out, '\\');
        buf_add_char(out, s.p[i]);
    }
}

static void reference_row(const struct option *o, struct buf *out)
{
    buf_addf(out, "| `%s` | ", o->key);
    type_text(o, out);
    buf_add(out, S(" | "));
    if (o->is_required) {
        buf_add(out, S("must be given"));
    } else if (o->fallback && *o->fallback) {
        buf_add_char(out, '`');
        cell(out, str_c(o->fallback));
        buf_add_char(out, '`');
    } else {
        buf_add(out, S("-"));
    }
    static const char *const changes[] = {
        [OPTION_AT_START] = "at start", [OPTION_ON_RELOAD] = "on reload", [OPTION_SETTABLE] = "on reload, settable"};
    buf_addf(out, " | %s | ", changes[o->change]);
    cell(out, str_c(o->meaning));
    buf_add(out, S(" |\n"));
}

static const char reference_head[] =
    "# Configuration\n"
    "\n"
    "This page is the output of `catalyst config reference`; `catalyst config show --origin` prints the\n"
    "values in force and where each came from, `catalyst config check` reports everything that is wrong\n"
    "with a file at once.\n"
    "\n"
    "Values come from, the first that has one wins:\n"
    "\n"
    "1. flags: `--set KEY=VALUE` for any key (`--set limits.head_bytes=32KiB`), and shorter ones such\n"
    "   as `--listen`;\n"
    "2. the environment: `CATALYST_SECTION__KEY`, with two underscores between the parts of a key\n"
    "   (`CATALYST_LIMITS__HEAD_BYTES`, `CATALYST_ALIASES__FAST`; a key without a section:\n"
    "   `CATALYST__LOOPS`); a variable without two underscores is not configuration;\n"
    "3. the file: `catalyst.yaml` in the data folder, or what `--config` names;\n"
    "4. the database: what an administrator of the instance has set there (`PUT /api/settings`), for keys\n"
    "   that are settable;\n"
    "5. the defaults below.\n"
    "\n"
    "On SIGHUP the server reads all of it again, the files of certificates and keys too, without dropping\n"
    "a stream. A configuration with an error is refused as a whole, with a line in the log, and the one in\n"
    "force stays. What takes effect only at start is named in the log; everything else holds at once.\n"
    "\n"
    "Unknown keys are errors everywhere. A key without a value (`tls:`) counts as not given. Entries of\n"
    "lists (`providers`, `keys`) stand in the file only. A list of texts is `[a, b]` in the file and\n"
    "`a,b` elsewhere. Sizes are bytes or `16KiB`, `1MiB`, `1GiB`; durations are milliseconds or\n"
    "`500ms`, `10s`, `5m`, `1h`. Relative paths are relative to the folder of the file, or to the\n"
    "current folder without a file. `listen: HOST:PORT` is short for `listen.address`. A file that\n"
    "holds secrets should be readable by its owner only (`chmod 600`); `catalyst config show` never\n"
    "prints secrets.\n";

void config_reference(const struct option_table *const *tables, unsigned n, struct buf *out)
{
    const struct schema s = {tables, n};
    const struct option *o, *other;
    static const char columns[] = "\n| key | value | default | takes effect | meaning |\n|---|---|---|---|---|\n";
    buf_add(out, str_c(reference_head));
    bool has_head = false;
    for (unsigned i = 0; (o = schema_at(&s, i)) != NULL; i++) {
        if (strpbrk(o->key, ".[")) continue;
        if (!has_head) buf_addf(out, "\n## Without a section\n%s", columns);
        has_head = true;
        reference_row(o, out);
    }
    for (unsigned i = 0; (o = schema_at(&s, i)) != NULL; i++) {
        str section = schema_segment(o->key, S(""));
        if (!strpbrk(o->key, ".[") || !schema_is_first(&s, i, S(""), section)) continue;
        buf_addf(out, "\n## %.*s\n%s", STR(section), columns);
        for (unsigned j = i; (other = schema_at(&s, j)) != NULL; j++)
            if (strpbrk(other->key, ".[") && str_eq(schema_segment(other->key, S("")), section))
                reference_row(other, out);
    }
}

void config_help(const struct option_table *const *tables, unsigned n, struct buf *out)
{
    const struct schema s = {tables, n};
    const struct option *o;
    for (unsigned i = 0; (o = schema_at(&s, i)) != NULL; i++) {
        buf_addf(out, "  %-34s %s", o->key, o->meaning);
        if (o->fallback && *o->fallback) buf_addf(out, " (default %s)", o->fallback);
        buf_add_char(out, '\n');
    }
}
