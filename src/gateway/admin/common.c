/* What the endpoints share: lists with the file's entries in front, events, checks of what ids name. */
#include <stdio.h>

#include "base/utf8.h"
#include "core/nodes.h"
#include "gateway/admin/admin.h"
#include "projects/projects.h"

#define DIFF_MAX (256u << 10)
#define FILE_CURSOR "file."

SQL(member_of, DB_MAIN, 0, "uu", "SELECT user_id FROM memberships WHERE workspace_id = $1 AND user_id = $2");

/* --- lists of texts --- */

enum errc texts_read(struct arena *a, str json, struct texts *out, err *e)
{
    static const str nothing[1];
    enum errc rc = texts_from_json(a, json, &out->items, &out->n, e);
    if (rc == ERR_NONE && !out->items) *out = (struct texts){nothing, 0};
    return rc;
}

enum errc texts_write(struct arena *a, const struct texts *texts, str *json, err *e)
{
    *json = texts_to_json(a, texts->items, texts->n);
    return json->p ? ERR_NONE : err_code(e, ERR_TOO_LARGE);
}

enum errc texts_of_words(struct arena *a, str words, struct texts *out, err *e)
{
    str *items = arena_news(a, str, words.len / 2 + 1);
    if (!items) return err_code(e, ERR_TOO_LARGE);
    *out = (struct texts){items, 0};
    while (words.len)
        items[out->n++] = str_cut(&words, ' ');
    return ERR_NONE;
}

enum errc texts_of_dialects(struct arena *a, unsigned set, struct texts *out, err *e)
{
    str *items = arena_news(a, str, DIALECTS);
    if (!items) return err_code(e, ERR_TOO_LARGE);
    *out = (struct texts){items, 0};
    for (enum dialect d = 0; d < DIALECTS; d++)
        if (set & DIALECT_BIT(d) && d != DIALECT_COUNT_TOKENS) items[out->n++] = str_c(dialect_name(d));
    return ERR_NONE;
}

/* --- events and conflicts --- */

bool admin_differs(const struct shape *s, const void *before, const void *after)
{
    struct buf texts[2];
    struct json_writer w[2];
    for (unsigned i = 0; i < 2; i++) {
        buf_init(&texts[i], DIFF_MAX);
        json_writer_init(&w[i], &texts[i]);
    }
    bool differs = shape_diff(s, before, after, NULL, &w[0], &w[1]);
    for (unsigned i = 0; i < 2; i++)
        buf_fini(&texts[i]);
    return differs;
}

struct event admin_event(const struct api_request *r, str type, unsigned n, str resource, const uuid *id,
                         const struct shape *shape, const void *before, const void *after)
{
    struct event ev = event_of(r, type, n);
    ev.resource_type = resource;
    ev.resource_id = *id;
    ev.shape = shape;
    ev.before = before;
    ev.after = after;
    return ev;
}

enum errc admin_taken(struct api_request *r, err *e, const char *field, const char *fmt, ...)
{
    char text[300];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    r->errors = (struct field_errors){0};
    field_error_add(r->arena, &r->errors, str_c(field), "duplicate", "%s", text);
    return err_set(e, ERR_CONFLICT, "%s", text);
}

enum errc admin_is_from_file(err *e, const char *noun, str name)
{
    return err_set(e, ERR_CONFLICT, "the %s '%.*s' comes from the configuration file: change it there", noun,
                   STR(str_take(name, 80)));
}

const struct workspace_view *admin_view(const struct api_request *r, struct snapshot **held)
{
    struct snapshot *s = gateway_snapshot(gateway_of(r));
    const struct workspace_view *w = snapshot_workspace(s, &r->workspace_id);
    *held = w ? s : NULL;
    if (!w) snapshot_put(s);
    return w;
}

const struct snapshot_rows *admin_file(const struct api_request *r, struct snapshot **held)
{
    *held = gateway_snapshot(gateway_of(r));
    return uuid_eq(&(*held)->workspaces[0].id, &r->workspace_id) ? &(*held)->base->rows : NULL;
}

/* --- lists --- */

enum errc admin_page(struct api_request *r, unsigned n, unsigned *from, unsigned *to, unsigned *rest,
                     str *cursor, err *e)
{
    uint64_t at = 0;
    bool is_file = !r->cursor.len || str_starts(r->cursor, S(FILE_CURSOR));
    if (r->cursor.len && is_file && !str_to_u64(str_skip(r->cursor, sizeof FILE_CURSOR - 1), &at))
        return err_set(e, ERR_INVALID, "the cursor is not of this list");
    *from = !is_file || at > n ? n : (unsigned)at;
    *to = n - *from < r->limit ? n : *from + r->limit;
    *rest = r->limit - (*to - *from);
    *cursor = is_file ? S("") : r->cursor;
    if (*rest) return ERR_NONE;
    r->next_cursor = arena_printf(r->arena, FILE_CURSOR "%u", *to);
    return r->next_cursor.p ? ERR_NONE : err_code(e, ERR_TOO_LARGE);
}

enum errc admin_slice(struct api_request *r, void *items, unsigned n, size_t size, err *e)
{
    uint64_t at = 0;
    if (r->cursor.len && (!str_to_u64(r->cursor, &at) || at > n))
        return err_set(e, ERR_INVALID, "the cursor is not of this list");
    unsigned from = (unsigned)at, left = n - from, taken = left < r->limit ? left : r->limit;
    r->items = (struct objects){(char *)items + from * size, taken};
    if (taken < left && !(r->next_cursor = arena_printf(r->arena, "%u", from + taken)).p)
        return err_code(e, ERR_TOO_LARGE);
    return ERR_NONE;
}

/* --- checks --- */

void admin_check_names(struct api_request *r, const char *field, const struct texts *names, err *e)
{
    size_t len = 0;
    for (unsigned i = 0; i < names->n; i++) {
        len += names->items[i].len + sizeof "\"\"," - 1;
        if (!text_is_visible(names->items[i]))
            (void)api_field_error(r, e, field, "bad_format",
                                  "must be names in ASCII without spaces: '%.*s' is none",
                                  STR(utf8_take(names->items[i], 60)));
    }
    if (len > LIST_BYTES_MAX)
        (void)api_field_error(r, e, field, "too_long",
                              "must have at most %d bytes together; patterns (*) are shorter",
                              LIST_BYTES_MAX);
}

static bool key_is_for(const struct api_request *r, const uuid *project)
{
    for (unsigned i = 0; i < r->who.n_key_projects; i++)
        if (uuid_eq(&r->who.key_projects[i], project)) return true;
    return r->who.n_key_projects == 0;
}

static enum errc check_row(struct api_request *r, struct tx *tx, const struct sql *find, const char *field,
                           const char *noun, const uuid *id, err *e)
{
    const struct val *row;
    enum errc rc = tx_query_row(tx, r->arena, find, PARAMS(v_uuid(&r->workspace_id), v_uuid(id)), &row, e);
    if (rc == ERR_NOT_FOUND)
        return api_field_error(r, e, field, "not_found", "names no %s of this workspace", noun);
    return rc;
}

enum errc admin_check_project(struct api_request *r, struct tx *tx, const char *field, const uuid *id, err *e)
{
    if (uuid_is_nil(id)) {
        if (r->who.n_key_projects)
            return api_field_error(r, e, field, "required",
                                   "must be named: this API key is for some projects only");
        return ERR_NONE;
    }
    if (!key_is_for(r, id))
        return api_field_error(r, e, field, "not_found", "names no project of this workspace");
    return check_row(r, tx, project_resource.find, field, "project", id, e);
}

enum errc admin_check_user(struct api_request *r, struct tx *tx, const char *field, const uuid *id, err *e)
{
    return uuid_is_nil(id) ? ERR_NONE : check_row(r, tx, &member_of, field, "member", id, e);
}

/* --- after a change --- */

void admin_after(struct api_request *r)
{
    struct gateway *g = gateway_of(r);
    gateway_changed(g);
    if (g->backend.nodes)
        nodes_await(g->backend.nodes); /* a budget that was just made is passed nowhere, a key that was just revoked opens nothing */
}
