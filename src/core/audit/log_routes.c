/* log_routes.c - GET /api/audit/logs, the same for the instance, and one entry by its id. */
#include <stdlib.h>

#include "core/audit/log_internal.h"
#include "core/events.h"

struct logs_query {
    usec from, to;
    str action;
    uuid user_id;
    str resource_type;
    uuid resource_id;
    str status, ip_address, q, order;
};
static const struct field query_fields[] = {
    FIELD(struct logs_query, from, FIELD_TIME, .flags = FIELD_NULLABLE, .meaning = "Not before this moment."),
    FIELD(struct logs_query, to, FIELD_TIME, .flags = FIELD_NULLABLE, .meaning = "Before this moment."),
    FIELD(struct logs_query, action, FIELD_TEXT, .max = 100, .format = FORMAT_LINE, .flags = FIELD_NULLABLE,
          .meaning = "`project.created`, or all that begin so: `project.*`."),
    FIELD(struct logs_query, user_id, FIELD_UUID, .flags = FIELD_NULLABLE, .meaning = "Who acted."),
    FIELD(struct logs_query, resource_type, FIELD_TEXT, .max = 100, .format = FORMAT_LINE, .flags = FIELD_NULLABLE,
          .meaning = "What it happened to: `project`."),
    FIELD(struct logs_query, resource_id, FIELD_UUID, .flags = FIELD_NULLABLE, .meaning = "Its id."),
    FIELD(struct logs_query, status, FIELD_ONE_OF, .choices = "success|failure", .flags = FIELD_NULLABLE,
          .meaning = "How it ended."),
    FIELD(struct logs_query, ip_address, FIELD_TEXT, .max = 64, .format = FORMAT_LINE, .flags = FIELD_NULLABLE,
          .meaning = "Where the request came from, the whole address."),
    FIELD(struct logs_query, q, FIELD_TEXT, .max = 100, .format = FORMAT_LINE, .flags = FIELD_NULLABLE,
          .meaning = "Stands in the action, type of resource or error, whatever the case."),
    FIELD(struct logs_query, order, FIELD_ONE_OF, .choices = "newest|oldest", .flags = FIELD_NULLABLE,
          .meaning = "newest (the default) or oldest first."),
};
static const struct shape logs_query_shape = SHAPE("AuditQuery", struct logs_query, query_fields, "Which events.");

static enum errc filter_of(const struct api_request *r, struct log_filter *f, err *e)
{
    const struct logs_query *q = r->query;
    *f = (struct log_filter){
        .workspace_id = r->workspace_id,
        .from_us = q->from,
        .until_us = q->to,
        .action = q->action,
        .actor_id = q->user_id,
        .resource_type = q->resource_type,
        .resource_id = q->resource_id,
        .status = q->status,
        .text = q->q,
        .has_address = q->ip_address.len > 0,
        .is_oldest_first = str_eq(q->order, S("oldest")),
    };
    return f->has_address ? event_address_token(r->store, &r->workspace_id, q->ip_address, &f->address_token, e) : ERR_NONE;
}

struct page {
    struct arena *a;
    struct log_filter filter;
    int64_t behind, next;
    unsigned limit;
    struct log_row *rows;
    unsigned n;
};

static enum errc page_unit(struct tx *tx, void *ctx, err *e)
{
    struct page *p = ctx;
    return log_search(tx, p->a, &p->filter, p->behind, p->limit, &p->rows, &p->n, &p->next, e);
}

/* A cursor is the letter of the order and a number: it grants nothing, since the scope is always the request's own. */
static enum errc read_cursor(const struct api_request *r, struct page *p, err *e)
{
    str text = r->cursor;
    if (!text.len) return ERR_NONE;
    if (text.p[0] != (p->filter.is_oldest_first ? 'u' : 'd') || !str_to_i64(str_skip(text, 1), &p->behind) || p->behind < 1)
        return err_set(e, ERR_INVALID, "the cursor is not one of this list");
    return ERR_NONE;
}

static enum errc logs_prepare(struct api_request *r, err *e)
{
    struct page p = {.a = r->arena, .limit = r->limit};
    struct log_entry *entries = NULL;
    enum errc rc = filter_of(r, &p.filter, e);
    if (rc == ERR_NONE) rc = read_cursor(r, &p, e);
    if (rc == ERR_NONE) rc = db_read(store_db(r->store, DB_MAIN), page_unit, &p, e);
    if (rc == ERR_NONE) rc = log_entries(r->store, r->arena, p.rows, p.n, &entries, e);
    if (rc != ERR_NONE) return rc;
    r->items = (struct objects){entries, p.n};
    r->next_cursor = (str){0};
    if (!p.next) return ERR_NONE;
    r->next_cursor = arena_printf(r->arena, "%c%lld", p.filter.is_oldest_first ? 'u' : 'd', (long long)p.next);
    return r->next_cursor.p ? ERR_NONE : err_code(e, ERR_TOO_LARGE);
}

/* --- one entry --- */

#define ONE                                                                                                                      \
    "SELECT number, workspace_number, id, workspace_id, resource_id, actor_id, credential_id, at_us, dropped_us, type, "         \
    "resource_type, error, bytes, leaf FROM events WHERE number IS NOT NULL AND "
SQL(one_of_workspace, DB_MAIN, 0, "uu", ONE "workspace_id = $1 AND id = $2");
SQL(one_of_instance, DB_MAIN, SQL_INSTANCE, "u", ONE "workspace_id IS NULL AND id = $1");

SQL(find_event, DB_MAIN, 0, "uu", "SELECT NULLIF(id, id) FROM events WHERE workspace_id = $1 AND id = $2 AND number IS NOT NULL");
static const struct api_resource event_resource = {.param = ":id", .find = &find_event, .noun = "event"};

struct one {
    const struct api_request *r;
    const uuid *id;
    struct log_row row;
};

static enum errc one_unit(struct tx *tx, void *ctx, err *e)
{
    struct one *o = ctx;
    const struct val *v;
    const uuid *workspace = &o->r->workspace_id;
    enum errc rc = uuid_is_nil(workspace) ? tx_query_row(tx, o->r->arena, &one_of_instance, PARAMS(v_uuid(o->id)), &v, e)
                                          : tx_query_row(tx, o->r->arena, &one_of_workspace, PARAMS(v_uuid(workspace), v_uuid(o->id)), &v, e);
    if (rc == ERR_NOT_FOUND) return err_set(e, rc, "there is no such event");
    if (rc == ERR_NONE) o->row = log_row_of(v);
    return rc;
}

static enum errc one_prepare(struct api_request *r, err *e)
{
    struct one o = {.r = r, .id = &r->path_id[0]};
    struct log_entry *entry;
    enum errc rc = db_read(store_db(r->store, DB_MAIN), one_unit, &o, e);
    if (rc == ERR_NONE) rc = log_entries(r->store, r->arena, &o.row, 1, &entry, e);
    if (rc == ERR_NONE) r->answer = entry;
    return rc;
}

static const struct api_route routes[] = {
    {.method = HTTP_GET,
     .path = "/api/audit/logs",
     .name = "audit_logs",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_AUDIT_READ,
     .scope = SCOPE_WORKSPACE,
     .query = &logs_query_shape,
     .answer = &log_entry_shape,
     .is_list = true,
     .is_csv = true,
     .reads = "audit.read",
     .prepare = logs_prepare,
     .summary = "The audit log of the workspace",
     .text = "Newest first, or `order=oldest`: then the cursor can be kept, and asked again for what came since. Filters hold together. "
             "A page may hold fewer entries than `limit`, or none, and still have a `next_cursor`: much was looked through, and it goes "
             "on there. Personal values are shown as long as their person has not been forgotten. Reading is itself an event, "
             "`audit.read`."},
    {.method = HTTP_GET,
     .path = "/api/audit/logs/:id",
     .name = "audit_log",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_AUDIT_READ,
     .scope = SCOPE_WORKSPACE,
     .resource = &event_resource,
     .answer = &log_entry_shape,
     .reads = "audit.read",
     .prepare = one_prepare,
     .summary = "One event of the workspace's audit log"},
    {.method = HTTP_GET,
     .path = "/api/admin/audit/logs",
     .name = "admin_audit_logs",
     .access = ACCESS_INSTANCE_ADMIN,
     .scope = SCOPE_INSTANCE,
     .query = &logs_query_shape,
     .answer = &log_entry_shape,
     .is_list = true,
     .is_csv = true,
     .reads = "audit.read",
     .prepare = logs_prepare,
     .summary = "The audit log of the instance",
     .text = "What belongs to no workspace: accounts, sign-ins, settings, nodes. Nothing of any workspace is in it. Otherwise as "
             "`GET /api/audit/logs`."},
    {.method = HTTP_GET,
     .path = "/api/admin/audit/logs/:id",
     .name = "admin_audit_log",
     .access = ACCESS_INSTANCE_ADMIN,
     .scope = SCOPE_INSTANCE,
     .answer = &log_entry_shape,
     .reads = "audit.read",
     .prepare = one_prepare,
     .summary = "One event of the instance's audit log"},
};
const struct api_table audit_log_api = {"audit", routes, LENGTH_OF(routes)};

/* --- life --- */

enum errc audit_log_new(struct audit_log **out, const struct audit_log_setup *setup, err *e)
{
    struct audit_log *l = calloc(1, sizeof *l);
    *out = NULL;
    if (!l) return err_code(e, ERR_NO_MEMORY);
    l->setup = *setup;
    enum errc rc = waker_init(&l->wake, e);
    if (rc != ERR_NONE) {
        free(l);
        return rc;
    }
    *out = l;
    return ERR_NONE;
}

void audit_log_free(struct audit_log *l)
{
    if (!l) return;
    audit_log_stop(l);
    waker_fini(&l->wake);
    free(l);
}
