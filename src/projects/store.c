#include "projects/internal.h"

#define COLUMNS "name, id, description, repository, settings, created_by, created_us, updated_us, version"

SQL(find, DB_MAIN, 0, "uu", "SELECT id FROM projects WHERE workspace_id = $1 AND id = $2");
SQL(ids, DB_MAIN, 0, "ui", "SELECT id FROM projects WHERE workspace_id = $1 ORDER BY id LIMIT $2");
SQL(get, DB_MAIN, 0, "uu", "SELECT " COLUMNS " FROM projects WHERE workspace_id = $1 AND id = $2");
SQL(get_by_name, DB_MAIN, 0, "ut",
    "SELECT " COLUMNS " FROM projects WHERE workspace_id = $1 AND name_key = $2");
SQL(list, DB_MAIN, 0, "u", "SELECT " COLUMNS " FROM projects WHERE workspace_id = $1");
SQL(insert, DB_MAIN, 0, "uutttttuiii",
    "INSERT INTO projects (workspace_id, id, name, name_key, description, repository, settings, created_by, "
    "created_us, updated_us, version) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)");
SQL(update, DB_MAIN, 0, "tttttiiuu",
    "UPDATE projects SET name = $1, name_key = $2, description = $3, repository = $4, settings = $5, "
    "updated_us = $6, version = $7 "
    "WHERE workspace_id = $8 AND id = $9");
SQL(delete, DB_MAIN, 0, "uu", "DELETE FROM projects WHERE workspace_id = $1 AND id = $2");

const struct sql *const project_ids = &ids;
const struct api_resource project_resource = {.param = ":id", .find = &find, .noun = "project"},
                          project_id_resource = {.param = ":project_id", .find = &find, .noun = "project"};

static void read_row(const struct val *row, struct project *p)
{
    *p = (struct project){
        .name = val_str(&row[0]),
        .id = val_uuid(&row[1]),
        .description = val_str(&row[2]),
        .repository = val_str(&row[3]),
        .settings = val_str(&row[4]),
        .created_by = val_uuid(&row[5]),
        .created_at = val_int(&row[6]),
        .updated_at = val_int(&row[7]),
        .version = val_int(&row[8]),
    };
}

static enum errc name_key(struct arena *a, str name, str *out, err *e)
{
    char *p = arena_bytes(a, name.len + 1);
    if (!p) return err_code(e, ERR_TOO_LARGE);
    for (size_t i = 0; i < name.len; i++)
        p[i] = name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] | 0x20) : name.p[i];
    *out = str_of(p, name.len);
    return ERR_NONE;
}

enum errc projects_get(struct tx *tx, struct arena *a, const uuid *workspace, const uuid *id,
                       struct project *out, err *e)
{
    const struct val *row;
    enum errc rc = tx_query_row(tx, a, &get, PARAMS(v_uuid(workspace), v_uuid(id)), &row, e);
    if (rc == ERR_NONE) read_row(row, out);
    return rc;
}

enum errc projects_get_by_name(struct tx *tx, struct arena *a, const uuid *workspace, str name,
                               struct project *out, err *e)
{
    const struct val *row;
    str key;
    enum errc rc = name_key(a, name, &key, e);
    if (rc == ERR_NONE)
        rc = tx_query_row(tx, a, &get_by_name, PARAMS(v_uuid(workspace), v_text(key)), &row, e);
    if (rc == ERR_NONE) read_row(row, out);
    return rc;
}

enum errc project_list(struct tx *tx, struct arena *a, const uuid *workspace, str name, str cursor,
                       unsigned limit, struct project **out, unsigned *n, str *next_cursor, err *e)
{
    struct keyset key = {
        .column = "name", .param = 't', .id_column = "id", .id_param = 'u', .cursor = cursor, .limit = limit};
    struct filter filter = {
        .column = "name", .op = FILTER_LIKE, .param = 't', .value = name.len ? v_text(name) : v_null()};
    struct rows rows;
    enum errc rc = tx_list(tx, a, &list, PARAMS(v_uuid(workspace)), &filter, 1, &key, &rows, next_cursor, e);
    if (rc != ERR_NONE) return rc;
    *out = arena_news(a, struct project, rows.n);
    if (!*out) return err_code(e, ERR_TOO_LARGE);
    *n = rows.n;
    for (unsigned i = 0; i < rows.n; i++)
        read_row(row_at(&rows, i), &(*out)[i]);
    return ERR_NONE;
}

/* Whether another project has the name. Asked before writing, since a unit whose statement failed ends
 * with the store's own words. */
static enum errc name_is_free(struct tx *tx, struct arena *a, const uuid *workspace, const struct project *p,
                              str *key, err *e)
{
    struct rows rows;
    enum errc rc = name_key(a, p->name, key, e);
    if (rc == ERR_NONE) rc = tx_query(tx, a, &get_by_name, PARAMS(v_uuid(workspace), v_text(*key)), &rows, e);
    if (rc != ERR_NONE || rows.n == 0) return rc;
    uuid found = val_uuid(&row_at(&rows, 0)[1]);
    return memcmp(&found, &p->id, sizeof found) == 0
               ? ERR_NONE
               : err_set(e, ERR_CONFLICT, "there is a project called '%.*s' already", STR(p->name));
}

enum errc project_insert(struct tx *tx, struct arena *a, const uuid *workspace, const struct project *p,
                         err *e)
{
    str key;
    enum errc rc = name_is_free(tx, a, workspace, p, &key, e);
    if (rc != ERR_NONE) return rc;
    return tx_exec(tx, &insert,
                   PARAMS(v_uuid(workspace), v_uuid(&p->id), v_text(p->name), v_text(key),
                          v_text(p->description), v_text_or_null(p->repository), v_text(p->settings),
                          v_uuid(&p->created_by), v_int(p->created_at), v_int(p->updated_at),
                          v_int(p->version)),
                   NULL, e);
}

enum errc project_update(struct tx *tx, struct arena *a, const uuid *workspace, const struct project *p,
                         err *e)
{
    str key;
    enum errc rc = name_is_free(tx, a, workspace, p, &key, e);
    if (rc != ERR_NONE) return rc;
    return tx_exec(tx, &update,
                   PARAMS(v_text(p->name), v_text(key), v_text(p->description), v_text_or_null(p->repository),
                          v_text(p->settings), v_int(p->updated_at), v_int(p->version), v_uuid(workspace),
                          v_uuid(&p->id)),
                   NULL, e);
}

enum errc project_delete(struct tx *tx, const uuid *workspace, const uuid *id, err *e)
{
    return tx_exec(tx, &delete, PARAMS(v_uuid(workspace), v_uuid(id)), NULL, e);
}

/* --- the export of a workspace --- */

SQL(export_page, DB_MAIN, 0, "uui",
    "SELECT id, name, description, repository, settings, created_by, created_us, updated_us FROM projects "
    "WHERE workspace_id = $1 AND id > $2 ORDER BY id LIMIT $3");
SQL(export_count, DB_MAIN, 0, "u", "SELECT COUNT(*) FROM projects WHERE workspace_id = $1");

static const struct export_source export_sources[] = {
    {"project", &export_page, &export_count,
     "id:u name:t description:t repository:t settings:j created_by:u created_at:T updated_at:T"},
};
const struct export_table projects_export = {export_sources, LENGTH_OF(export_sources)};
