/* Aliases: names that calls can ask for instead of a model's. */
#include "gateway/admin/admin.h"

SQL(alias_list, DB_MAIN, 0, "u",
    "SELECT name, model, updated_us FROM gateway_aliases WHERE workspace_id = $1");
SQL(alias_get, DB_MAIN, 0, "ut",
    "SELECT name, model, updated_us FROM gateway_aliases WHERE workspace_id = $1 AND name = $2");
SQL(alias_put, DB_MAIN, 0, "utti",
    "INSERT INTO gateway_aliases (workspace_id, name, model, updated_us) VALUES ($1, $2, $3, $4) "
    "ON CONFLICT (workspace_id, name) DO UPDATE SET model = excluded.model, updated_us = "
    "excluded.updated_us");
SQL(alias_drop, DB_MAIN, 0, "ut", "DELETE FROM gateway_aliases WHERE workspace_id = $1 AND name = $2");

struct alias_entry {
    str name, model;
    str origin;
    usec updated_at;
};
static const struct field alias_fields[] = {
    FIELD(struct alias_entry, name, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "What calls ask for."),
    FIELD(struct alias_entry, model, FIELD_TEXT, .min = 1, .max = NAME_LEN_MAX, .format = FORMAT_LINE,
          .flags = FIELD_REQUIRED, .meaning = "What they get: MODEL, or PROVIDER/MODEL."),
    FIELD(struct alias_entry, origin, FIELD_ONE_OF, .choices = ORIGIN_CHOICES, .flags = FIELD_READONLY,
          .meaning = "Where it is kept; what is from the configuration file is changed there."),
    FIELD(struct alias_entry, updated_at, FIELD_TIME,
          .flags = FIELD_READONLY | FIELD_NULLABLE | FIELD_UNAUDITED, .meaning = "When it was changed last."),
};
static const struct shape alias_shape =
    SHAPE("Alias", struct alias_entry, alias_fields, "Another name for a model.");

static void read_row(const struct val *row, struct alias_entry *x)
{
    *x = (struct alias_entry){val_str(&row[0]), val_str(&row[1]), S("database"), val_int(&row[2])};
}

/* Aliases have names only; the log wants an id. */
static uuid id_of(const struct api_request *r, str name)
{
    uint8_t mac[SHA256_LEN];
    uuid id;
    hmac_sha256(str_of((const char *)r->workspace_id.b, sizeof r->workspace_id.b), name, mac);
    memcpy(id.b, mac, sizeof id.b);
    return id;
}

static struct event alias_event(const struct api_request *r, str type, const struct alias_entry *before,
                                const struct alias_entry *after)
{
    uuid id = id_of(r, before ? before->name : after->name);
    return admin_event(r, type, 0, S("alias"), &id, &alias_shape, before, after);
}

static str tag(struct api_request *r, const struct alias_entry *x) { return api_etag(r, x->updated_at); }

/* --- GET --- */

static enum errc aliases_list(struct api_request *r, struct tx *tx, err *e)
{
    struct snapshot *held;
    const struct snapshot_rows *file = admin_file(r, &held);
    struct alias_entry *list = arena_news(r->arena, struct alias_entry, r->limit);
    struct rows rows = {0};
    unsigned from = 0, to = 0, rest = 0, n = 0;
    str cursor = {NULL, 0};
    enum errc rc = list ? admin_page(r, file ? file->n_aliases : 0, &from, &to, &rest, &cursor, e)
                        : err_code(e, ERR_TOO_LARGE);
    for (unsigned i = from; rc == ERR_NONE && i < to; i++)
        list[n++] = (struct alias_entry){str_dup(r->arena, file->aliases[i].name),
                                         str_dup(r->arena, file->aliases[i].model), S("file"), NO_VALUE};
    snapshot_put(held);
    struct keyset key = {.column = "name", .param = 't', .cursor = cursor, .limit = rest};
    if (rc == ERR_NONE && rest)
        rc = tx_list(tx, r->arena, &alias_list, PARAMS(v_uuid(&r->workspace_id)), NULL, 0, &key, &rows,
                     &r->next_cursor, e);
    for (unsigned i = 0; rc == ERR_NONE && i < rows.n; i++)
        read_row(row_at(&rows, i), &list[n++]);
    r->items = (struct objects){list, n};
    return rc;
}

/* --- PUT, DELETE --- */

static enum errc alias_check(struct api_request *r, err *e)
{
    struct snapshot *held;
    str name = r->path_text[0];
    if (!text_is_visible(name) || name.len > NAME_LEN_MAX)
        return api_field_error(r, e, "name", "bad_format", "must be 1 to %d visible ASCII characters",
                               NAME_LEN_MAX);
    const struct snapshot_rows *file = admin_file(r, &held);
    enum errc rc = ERR_NONE;
    for (unsigned i = 0; file && i < file->n_aliases; i++)
        if (str_eq(file->aliases[i].name, name)) rc = admin_is_from_file(e, "alias", name);
    snapshot_put(held);
    return rc;
}

static enum errc load(struct api_request *r, struct tx *tx, struct alias_entry *x, err *e)
{
    const struct val *row;
    enum errc rc = tx_query_row(tx, r->arena, &alias_get,
                                PARAMS(v_uuid(&r->workspace_id), v_text(r->path_text[0])), &row, e);
    if (rc == ERR_NONE) read_row(row, x);
    return rc == ERR_NOT_FOUND ? err_set(e, rc, "there is no such alias") : rc;
}

static enum errc alias_set(struct api_request *r, struct tx *tx, err *e)
{
    const struct alias_entry *body = r->body;
    struct alias_entry before, *after = arena_new(r->arena, struct alias_entry);
    if (!after) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = load(r, tx, &before, e);
    bool is_new = rc == ERR_NOT_FOUND;
    if (rc != ERR_NONE && !is_new) return rc;
    if ((rc = api_if_match(r, is_new ? S("") : tag(r, &before), e)) != ERR_NONE) return rc;
    *after = (struct alias_entry){r->path_text[0], body->model, S("database"), r->now_us};
    if (!is_new && !admin_differs(&alias_shape, &before, after)) after->updated_at = before.updated_at;
    r->answer = after;
    r->etag = tag(r, after);
    if (!is_new && after->updated_at == before.updated_at) return ERR_NONE;
    struct event ev =
        alias_event(r, is_new ? S("alias.created") : S("alias.updated"), is_new ? NULL : &before, after);
    rc =
        tx_exec(tx, &alias_put,
                PARAMS(v_uuid(&r->workspace_id), v_text(after->name), v_text(after->model), v_int(r->now_us)),
                NULL, e);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

static enum errc alias_delete(struct api_request *r, struct tx *tx, err *e)
{
    struct alias_entry before;
    enum errc rc = load(r, tx, &before, e);
    if (rc != ERR_NONE || (rc = api_if_match(r, tag(r, &before), e)) != ERR_NONE) return rc;
    struct event ev = alias_event(r, S("alias.deleted"), &before, NULL);
    rc = tx_exec(tx, &alias_drop, PARAMS(v_uuid(&r->workspace_id), v_text(before.name)), NULL, e);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

#define MANAGED .access = ACCESS_PERMISSION, .permission = PERMISSION_LLM_PROVIDERS, .scope = SCOPE_WORKSPACE

static const struct api_route routes[] = {
    {.method = HTTP_GET,
     .path = "/api/gateway/aliases",
     .name = "gateway_aliases_list",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_OPTIMIZER_READ,
     .scope = SCOPE_WORKSPACE,
     .answer = &alias_shape,
     .is_list = true,
     .summary = "Aliases of models by name",
     .text = "Those of the configuration file come first, with origin file: they are changed there.",
     .apply = aliases_list},
    {.method = HTTP_PUT,
     .path = "/api/gateway/aliases/:name",
     .name = "gateway_aliases_put",
     MANAGED,
     .effect = EFFECT_STATE,
     .body = &alias_shape,
     .answer = &alias_shape,
     .summary = "Makes an alias, or leads it elsewhere",
     .prepare = alias_check,
     .apply = alias_set,
     .after = admin_after},
    {.method = HTTP_DELETE,
     .path = "/api/gateway/aliases/:name",
     .name = "gateway_aliases_delete",
     MANAGED,
     .effect = EFFECT_STATE,
     .status = 204,
     .summary = "Removes an alias",
     .prepare = alias_check,
     .apply = alias_delete,
     .after = admin_after},
};
const struct api_table gateway_aliases_api = {"gateway", routes, LENGTH_OF(routes)};
