/* routes.c - the endpoints of feature flags. */
#include "core/events.h"
#include "core/flags/internal.h"

/* An event has room for both sides of a change. */
#define VARIANTS_MAX 1500
#define TARGETING_MAX 2000

static const struct field flag_fields[] = {
    FIELD(struct flag_row, name, FIELD_TEXT, .flags = FIELD_READONLY,
          .meaning = "Name of the flag, unique in the workspace."),
    FIELD(struct flag_row, state, FIELD_ONE_OF, .choices = "ENABLED|DISABLED", .flags = FIELD_REQUIRED,
          .meaning = "A disabled flag has no value: whoever asks takes one of its own."),
    FIELD(struct flag_row, variants, FIELD_JSON, .format = FORMAT_OBJECT, .max = VARIANTS_MAX,
          .flags = FIELD_REQUIRED, .meaning = "Names with values, all of one type."),
    {.name = "defaultVariant",
     .type = FIELD_TEXT,
     .offset = offsetof(struct flag_row, default_variant),
     .flags = FIELD_NULLABLE,
     .min = 1,
     .max = 100,
     .meaning = "The variant when targeting names none."},
    FIELD(struct flag_row, targeting, FIELD_JSON, .format = FORMAT_OBJECT, .max = TARGETING_MAX,
          .flags = FIELD_NULLABLE,
          .meaning = "A JsonLogic rule that names a variant, by targetingKey, workspace, user and role."),
    FIELD(struct flag_row, created_at, FIELD_TIME, .flags = FIELD_READONLY, .meaning = "When it was made."),
    FIELD(struct flag_row, updated_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_UNAUDITED,
          .meaning = "When it was changed last."),
    FIELD(struct flag_row, version, FIELD_INT, .flags = FIELD_READONLY | FIELD_UNAUDITED,
          .meaning = "Counts its changes."),
};
static const struct shape flag_shape =
    SHAPE("Flag", struct flag_row, flag_fields, "A feature flag, in flagd's form.");

struct flag_map {
    str flags;
};
static const struct field map_fields[] = {
    FIELD(struct flag_map, flags, FIELD_JSON, .flags = FIELD_READONLY,
          .meaning = "Names with definitions, as flagd reads them."),
};
static const struct shape map_shape =
    SHAPE("Flags", struct flag_map, map_fields, "All flags of a workspace: a flag source of flagd.");
static const struct field values_fields[] = {
    FIELD(struct flag_map, flags, FIELD_JSON, .flags = FIELD_READONLY,
          .meaning = "Names with the values that hold for the caller; null: none."),
};
static const struct shape values_shape =
    SHAPE("FlagValues", struct flag_map, values_fields, "What the flags are for the caller.");

void flag_write_definition(const struct flag_row *row, struct json_writer *w)
{
    json_object(w);
    json_put_str(w, "state", row->state);
    json_name(w, S("variants"));
    json_raw(w, row->variants);
    json_name(w, S("defaultVariant"));
    row->default_variant.p ? json_str(w, row->default_variant) : json_null(w);
    if (row->targeting.p) {
        json_name(w, S("targeting"));
        json_raw(w, row->targeting);
    }
    json_end(w);
}

static enum errc compact(struct arena *a, const struct json *v, str *out, err *e)
{
    struct buf text;
    struct json_writer w;
    buf_init(&text, 64 << 10);
    json_writer_init(&w, &text);
    json_put_tree(&w, v);
    *out = buf_err(&text) ? (str){NULL, 0} : str_dup(a, buf_str(&text));
    buf_fini(&text);
    return out->p ? ERR_NONE : err_code(e, ERR_TOO_LARGE);
}

enum errc flag_read_definition(struct arena *a, str definition, struct flag_row *row, err *e)
{
    struct json *v = NULL;
    enum errc rc = json_parse(a, definition, &v, e);
    const struct json *state = json_get(v, S("state")), *variants = json_get(v, S("variants")),
                      *fallback = json_get(v, S("defaultVariant")), *targeting = json_get(v, S("targeting"));
    if (rc || !state || !variants)
        return err_set(e, ERR_CORRUPT, "the flag '%.*s' is stored in a form that is not known",
                       STR(row->name));
    row->state = state->text;
    row->default_variant = fallback && fallback->type == JSON_STRING ? fallback->text : (str){NULL, 0};
    row->targeting = (str){NULL, 0};
    rc = compact(a, variants, &row->variants, e);
    return rc || !targeting ? rc : compact(a, targeting, &row->targeting, e);
}

/* --- GET /api/flags, GET /api/flags/evaluate --- */

static enum errc answer_map(struct api_request *r, struct buf *text, err *e)
{
    struct flag_map *map = arena_new(r->arena, struct flag_map);
    if (map) map->flags = buf_err(text) ? (str){NULL, 0} : str_dup(r->arena, buf_str(text));
    r->answer = map;
    return map && map->flags.p ? ERR_NONE : err_code(e, ERR_TOO_LARGE);
}

static enum errc list(struct api_request *r, struct tx *tx, err *e)
{
    struct flag_row *rows;
    struct buf text;
    struct json_writer w;
    unsigned n = 0;
    enum errc rc = flag_rows(tx, r->arena, &r->workspace_id, &rows, &n, e);
    if (rc) return rc;
    buf_init(&text, 4 << 20);
    json_writer_init(&w, &text);
    json_object(&w);
    for (unsigned i = 0; i < n; i++) {
        json_name(&w, rows[i].name);
        flag_write_definition(&rows[i], &w);
    }
    json_end(&w);
    rc = answer_map(r, &text, e);
    buf_fini(&text);
    return rc;
}

static enum errc evaluate(struct api_request *r, err *e)
{
    char user[UUID_TEXT_LEN + 1];
    struct buf text;
    struct json_writer w;
    struct flag_context c = {.workspace_id = r->workspace_id, .role = r->role, .now_us = r->now_us};
    c.user = c.targeting_key = uuid_format(&r->who.user_id, user);
    buf_init(&text, 4 << 20);
    json_writer_init(&w, &text);
    flags_write_values(r->service, r->arena, &c, &w);
    enum errc rc = answer_map(r, &text, e);
    buf_fini(&text);
    return rc;
}

/* --- PUT, DELETE /api/flags/:name --- */

static bool is_name(str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_letter && (i == 0 || (c != '-' && c != '_' && c != '.'))) return false;
    }
    return s.len > 0 && s.len <= FLAG_NAME_MAX;
}

static enum errc put_prepare(struct api_request *r, err *e)
{
    struct flag_row *row = r->body;
    struct json *definition = NULL;
    struct buf text;
    struct json_writer w;
    struct feature_flag parsed;
    err why = {0};
    row->name = r->path_text[0];
    if (!is_name(row->name))
        return api_field_error(
            r, e, "name", "bad_format",
            "must be 1 to %d letters, digits, '.', '_' and '-', and begin with a letter or digit",
            FLAG_NAME_MAX);
    buf_init(&text, 64 << 10);
    json_writer_init(&w, &text);
    flag_write_definition(row, &w);
    str copy = buf_err(&text) ? (str){NULL, 0} : str_dup(r->arena, buf_str(&text));
    buf_fini(&text);
    if (!copy.p) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = json_parse(r->arena, copy, &definition, e);
    if (rc) return rc;
    if (flag_parse(row->name, definition, &parsed, &why)) { /* its message begins with the member */
        str member = S("variants");
        if (strncmp(why.msg, "defaultVariant", 14) == 0) member = S("defaultVariant");
        if (!strstr(why.msg, "variant")) member = S("targeting");
        return api_field_error(r, e, member.p, "bad_format", "%s", why.msg);
    }
    row->id = uuid7_make(r->now_us);
    row->created_at = row->updated_at = r->now_us;
    row->version = 1;
    return ERR_NONE;
}

static struct event flag_event(const struct api_request *r, str type, const struct flag_row *before,
                               const struct flag_row *after)
{
    struct event ev = event_of(r, type, 0);
    ev.resource_type = S("flag");
    ev.resource_id = after ? after->id : before->id;
    ev.shape = &flag_shape;
    ev.before = before;
    ev.after = after;
    return ev;
}

static bool is_same(const struct flag_row *a, const struct flag_row *b)
{
    return str_eq(a->state, b->state) && str_eq(a->variants, b->variants) &&
           str_eq(a->default_variant, b->default_variant) && str_eq(a->targeting, b->targeting);
}

static enum errc put(struct api_request *r, struct tx *tx, err *e)
{
    struct flag_row *after = arena_new(r->arena, struct flag_row), *rows;
    struct flag_row before;
    unsigned n;
    if (!after) return err_code(e, ERR_TOO_LARGE);
    *after = *(const struct flag_row *)r->body;
    enum errc rc = flag_row_get(tx, r->arena, &r->workspace_id, after->name, &before, e);
    bool is_new = rc == ERR_NOT_FOUND;
    if (rc && !is_new) return rc;
    r->answer = after;
    if (is_new) {
        rc = flag_rows(tx, r->arena, &r->workspace_id, &rows, &n, e);
        if (!rc && n >= FLAGS_MAX)
            rc = err_set(e, ERR_CONFLICT, "a workspace has %d flags at most", FLAGS_MAX);
        if (!rc && r->if_match.len) rc = api_if_match(r, S(""), e);
        r->status = 201;
        r->location = arena_printf(r->arena, "/api/flags/%.*s", STR(after->name));
    } else {
        after->id = before.id;
        after->created_at = before.created_at;
        after->version = before.version + 1;
        rc = api_if_match(r, api_etag(r, before.version), e);
        r->status = 200;
        if (!rc && is_same(&before, after)) {
            *after = before;
            r->etag = api_etag(r, before.version);
            return ERR_NONE;
        }
    }
    r->etag = api_etag(r, after->version);
    struct event ev =
        flag_event(r, is_new ? S("flag.created") : S("flag.changed"), is_new ? NULL : &before, after);
    if (!rc) rc = flag_row_put(tx, &r->workspace_id, after, is_new, e);
    return rc ? rc : tx_event(tx, &ev, e);
}

static enum errc drop(struct api_request *r, struct tx *tx, err *e)
{
    struct flag_row before;
    enum errc rc = flag_row_get(tx, r->arena, &r->workspace_id, r->path_text[0], &before, e);
    if (!rc) rc = api_if_match(r, api_etag(r, before.version), e);
    if (rc) return rc;
    struct event ev = flag_event(r, S("flag.deleted"), &before, NULL);
    rc = flag_row_delete(tx, &r->workspace_id, before.name, e);
    return rc ? rc : tx_event(tx, &ev, e);
}

static void refresh(struct api_request *r)
{
    err e = {0};
    if (flags_refresh(r->service, &e) != ERR_NONE) return; /* it grows old and is read again */
}

static const struct api_route routes[] = {
    {.method = HTTP_GET,
     .path = "/api/flags",
     .name = "flags_list",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_WORKSPACE_READ,
     .scope = SCOPE_WORKSPACE,
     .answer = &map_shape,
     .summary = "All feature flags, in flagd's form",
     .apply = list},
    {.method = HTTP_GET,
     .path = "/api/flags/evaluate",
     .name = "flags_evaluate",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_WORKSPACE_READ,
     .scope = SCOPE_WORKSPACE,
     .answer = &values_shape,
     .summary = "The value of each feature flag for the caller",
     .prepare = evaluate},
    {.method = HTTP_PUT,
     .path = "/api/flags/:name",
     .name = "flags_put",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_SETTINGS_UPDATE,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .body = &flag_shape,
     .answer = &flag_shape,
     .summary = "Makes or replaces a feature flag",
     .prepare = put_prepare,
     .apply = put,
     .after = refresh},
    {.method = HTTP_DELETE,
     .path = "/api/flags/:name",
     .name = "flags_delete",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_SETTINGS_UPDATE,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .status = 204,
     .summary = "Deletes a feature flag",
     .apply = drop,
     .after = refresh},
};
const struct api_table flags_api = {"flags", routes, LENGTH_OF(routes)};
