#include "json/edit.h"

#include "json/write.h"

/* Invariants of ed->s: sorted by place, no overlap; insertions (remove == 0) at one place keep their order. A
 * splice with an empty insert is a removal and holds whole members with the commas between them, so what lies
 * outside of all removals is at every moment a well-formed list of members. */

void json_edit_init(struct json_edit *ed, str text)
{
    ed->text = text;
    ed->n = 0;
}

static size_t splice_end(const struct json_splice *s) { return s->at + s->remove; }

static bool is_removal(const struct json_splice *s) { return s->insert.len == 0; }

/* Puts a splice before those that start at its place or behind it; only insertions go before a removal. */
static enum errc put(struct json_edit *ed, struct json_splice s, err *e)
{
    unsigned i = 0;
    while (i < ed->n && (ed->s[i].at < s.at || (ed->s[i].at == s.at && ed->s[i].remove == 0 && s.remove > 0)))
        i++;
    /* An insertion may touch its neighbours but not stand inside one. */
    if ((i > 0 && splice_end(&ed->s[i - 1]) > s.at) || (i < ed->n && s.at + s.remove > ed->s[i].at))
        return err_set(e, ERR_INVALID, "two edits overlap at byte %zu", s.at);
    if (ed->n == JSON_EDITS_MAX)
        return err_set(e, ERR_TOO_LARGE, "more than %d edits of one text", JSON_EDITS_MAX);
    memmove(&ed->s[i + 1], &ed->s[i], (ed->n - i) * sizeof ed->s[0]);
    ed->s[i] = s;
    ed->n++;
    return ERR_NONE;
}

static bool is_of_text(const struct json_edit *ed, const struct json_value *v)
{
    return v->type != JSON_NONE && v->offset < ed->text.len && v->raw.len <= ed->text.len - v->offset &&
           v->raw.p == ed->text.p + v->offset;
}

enum errc json_edit_replace(struct json_edit *ed, const struct json_value *value, str raw, err *e)
{
    if (!is_of_text(ed, value) || raw.len == 0)
        return err_set(e, ERR_INVALID, "a replacement needs a value of the text and new JSON");
    return put(ed, (struct json_splice){value->offset, value->raw.len, raw}, e);
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/* From `at` over spaces and removals to the next byte that stays. Bounded by the closing bracket of the
 * object. */
static size_t next_kept(const struct json_edit *ed, size_t at)
{
    for (unsigned i = 0; at < ed->text.len;) {
        while (i < ed->n && (!is_removal(&ed->s[i]) || ed->s[i].at < at))
            i++;
        if (i < ed->n && ed->s[i].at == at)
            at = splice_end(&ed->s[i]);
        else if (is_space(ed->text.p[at]))
            at++;
        else
            break;
    }
    return at;
}

/* The same backwards: the last byte before `at` that stays. Bounded by the opening bracket of the object. */
static size_t last_kept(const struct json_edit *ed, size_t at)
{
    for (unsigned i = ed->n; at > 0;) {
        while (i > 0 && (!is_removal(&ed->s[i - 1]) || splice_end(&ed->s[i - 1]) > at))
            i--;
        if (i > 0 && splice_end(&ed->s[i - 1]) == at)
            at = ed->s[i - 1].at;
        else if (is_space(ed->text.p[at - 1]))
            at--;
        else
            break;
    }
    return at ? at - 1 : 0;
}

enum errc json_edit_add(struct json_edit *ed, struct arena *a, const struct json_value *object, str name,
                        str raw, err *e)
{
    if (!is_of_text(ed, object) || object->type != JSON_OBJECT || raw.len == 0)
        return err_set(e, ERR_INVALID, "a new member needs an object of the text and JSON");
    const size_t at = object->offset + 1;
    bool is_alone = ed->text.p[next_kept(ed, at)] == '}';
    for (unsigned i = 0; i < ed->n; i++)
        if (ed->s[i].at == at && ed->s[i].remove == 0) is_alone = false; /* other new members stand there */

    struct buf b;
    buf_init(&b, 6 * name.len + raw.len + 4);
    buf_add_char(&b, '"');
    json_escape(&b, name);
    buf_add(&b, S("\":"));
    buf_add(&b, raw);
    if (!is_alone) buf_add_char(&b, ',');
    const enum errc failed = buf_err(&b);
    const str insert = failed ? (str){NULL, 0} : str_dup(a, buf_str(&b));
    buf_fini(&b);
    if (failed || !insert.p) return err_code(e, failed ? failed : ERR_TOO_LARGE);
    return put(ed, (struct json_splice){at, 0, insert}, e);
}

/* Offset of the opening quote of the name whose value starts at `at`; 0 when there is none (0 cannot be
 * one). */
static size_t name_start(str text, size_t at)
{
    while (at > 0 && is_space(text.p[at - 1]))
        at--;
    if (at == 0 || text.p[--at] != ':') return 0;
    while (at > 0 && is_space(text.p[at - 1]))
        at--;
    if (at == 0 || text.p[--at] != '"') return 0;
    while (at > 0) {
        if (text.p[--at] != '"') continue;
        /* Inside the name a quote has a backslash before it; the opening one has none. */
        if (at > 0 && text.p[at - 1] == '\\') continue;
        return at;
    }
    return 0;
}

/* The last of the new members of the object whose contents start at `at` ends in a comma; the object has
 * become empty behind it. */
static void drop_comma_of_added(struct json_edit *ed, size_t at)
{
    for (unsigned i = ed->n; i-- > 0;) {
        if (ed->s[i].at == at && ed->s[i].remove == 0) {
            ed->s[i].insert.len--;
            return;
        }
    }
}

enum errc json_edit_remove(struct json_edit *ed, const struct json_value *object,
                           const struct json_value *value, err *e)
{
    const str text = ed->text;
    if (!is_of_text(ed, object) || !is_of_text(ed, value) || object->type != JSON_OBJECT ||
        value->offset <= object->offset || value->offset + value->raw.len >= object->offset + object->raw.len)
        return err_set(e, ERR_INVALID, "a removal needs an object of the text and one of its members");
    size_t from = name_start(text, value->offset), to = value->offset + value->raw.len;
    const size_t before = last_kept(ed, from), behind = next_kept(ed, to);
    if (from <= object->offset || (text.p[before] != ',' && before != object->offset) ||
        (text.p[behind] != ',' && behind != object->offset + object->raw.len - 1))
        return err_set(e, ERR_INVALID, "the value at byte %zu is no member of the object", value->offset);

    const bool is_last = text.p[behind] != ',', is_first = text.p[before] != ',';
    if (!is_last)
        to = behind + 1;
    else if (!is_first)
        from = before;

    /* Removals that the new one reaches around are taken in; anything else in the way is an overlap. */
    struct json_edit next = {.text = text};
    for (unsigned i = 0; i < ed->n; i++) {
        const struct json_splice *s = &ed->s[i];
        const bool is_inside = s->at >= from && splice_end(s) <= to;
        const bool is_value = s->at <= value->offset && value->offset < splice_end(s);
        if (is_inside && is_removal(s) && !is_value) continue;
        next.s[next.n++] = *s;
    }
    const enum errc code = put(&next, (struct json_splice){from, to - from, {NULL, 0}}, e);
    if (code) return code;
    if (is_last && is_first) drop_comma_of_added(&next, object->offset + 1);
    *ed = next;
    return ERR_NONE;
}

size_t json_edit_len(const struct json_edit *ed)
{
    size_t len = ed->text.len;
    for (unsigned i = 0; i < ed->n; i++)
        len = len - ed->s[i].remove + ed->s[i].insert.len;
    return len;
}

unsigned json_edit_slices(const struct json_edit *ed, str out[2 * JSON_EDITS_MAX + 1])
{
    unsigned n = 0;
    size_t at = 0;
    for (unsigned i = 0; i < ed->n; i++) {
        const struct json_splice *s = &ed->s[i];
        if (s->at > at) out[n++] = (str){ed->text.p + at, s->at - at};
        if (s->insert.len) out[n++] = s->insert;
        at = splice_end(s);
    }
    if (at < ed->text.len) out[n++] = (str){ed->text.p + at, ed->text.len - at};
    return n;
}

void json_edit_write(const struct json_edit *ed, struct buf *out)
{
    str parts[2 * JSON_EDITS_MAX + 1];
    const unsigned n = json_edit_slices(ed, parts);
    for (unsigned i = 0; i < n; i++)
        buf_add(out, parts[i]);
}
