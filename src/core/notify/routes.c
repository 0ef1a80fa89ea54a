/* routes.c - GET /api/notifications, …/count, POST …/read, GET and PUT …/preferences. */
#include <stdio.h>

#include "core/notify/internal.h"

static const struct field notification_fields[] = {
    FIELD(struct notification, id, FIELD_UUID, .meaning = "Its id."),
    FIELD(struct notification, workspace_id, FIELD_UUID, .flags = FIELD_NULLABLE,
          .meaning = "The workspace it is about; none: the instance."),
    FIELD(struct notification, kind, FIELD_TEXT, .meaning = "What it is about, as job.failed."),
    FIELD(struct notification, title, FIELD_TEXT, .meaning = "One line."),
    FIELD(struct notification, body, FIELD_TEXT, .meaning = "More about it; may be empty."),
    FIELD(struct notification, link, FIELD_TEXT, .flags = FIELD_NULLABLE,
          .meaning = "A path of the page where there is more to see."),
    FIELD(struct notification, is_read, FIELD_BOOL, .meaning = "Whether it has been read."),
    FIELD(struct notification, created_at, FIELD_TIME, .meaning = "When it happened."),
};
const struct shape notification_shape =
    SHAPE("Notification", struct notification, notification_fields, "Something a person is told.");

struct list_query {
    bool unread;
};
static const struct field list_query_fields[] = {
    FIELD(struct list_query, unread, FIELD_BOOL, .meaning = "Only those not read yet.")};
static const struct shape list_query_shape =
    SHAPE("NotificationQuery", struct list_query, list_query_fields, "Which notifications.");

struct count {
    int64_t unread;
};
static const struct field count_fields[] = {
    FIELD(struct count, unread, FIELD_INT, .meaning = "Notifications not read yet.")};
static const struct shape count_shape =
    SHAPE("NotificationCount", struct count, count_fields, "How much there is to read.");

struct read_body {
    struct texts ids;
    bool all;
};
static const struct field read_fields[] = {
    FIELD(struct read_body, ids, FIELD_TEXTS, .max = 36, .max_items = 200,
          .meaning = "Ids of notifications."),
    FIELD(struct read_body, all, FIELD_BOOL, .meaning = "All of them instead."),
};
static const struct shape read_shape =
    SHAPE("NotificationsRead", struct read_body, read_fields, "What has been read.");

struct preference {
    str kind, meaning;
    bool is_wanted;
};
static const struct field preference_fields[] = {
    FIELD(struct preference, kind, FIELD_TEXT, .min = 1, .max = 100, .flags = FIELD_REQUIRED,
          .meaning = "Kind of notification."),
    FIELD(struct preference, meaning, FIELD_TEXT,
          .meaning = "When it is sent; what is sent back is ignored."),
    FIELD(struct preference, is_wanted, FIELD_BOOL, .flags = FIELD_REQUIRED,
          .meaning = "Whether the person wants it."),
};
static const struct shape preference_shape =
    SHAPE("NotificationPreference", struct preference, preference_fields, "One kind of notification.");

struct preferences {
    struct objects preferences;
};
static const struct field preferences_fields[] = {
    FIELD(struct preferences, preferences, FIELD_OBJECTS, .flags = FIELD_REQUIRED, .max_items = 100,
          .shape = &preference_shape, .meaning = "Kinds; those that are left out stay as they are."),
};
static const struct shape preferences_shape =
    SHAPE("NotificationPreferences", struct preferences, preferences_fields,
          "Which kinds of notifications a person wants.");

SQL(list_all, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT " NOTIFICATION_COLUMNS " FROM notifications WHERE user_id = $1");
SQL(list_unread, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT " NOTIFICATION_COLUMNS " FROM notifications WHERE user_id = $1 AND is_read = 0");
SQL(count_unread, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT COUNT(*) FROM notifications WHERE user_id = $1 AND is_read = 0");
SQL(read_one, DB_MAIN, SQL_INSTANCE, "uu",
    "UPDATE notifications SET is_read = 1 WHERE user_id = $1 AND id = $2 AND is_read = 0");
SQL(read_all, DB_MAIN, SQL_INSTANCE, "u",
    "UPDATE notifications SET is_read = 1 WHERE user_id = $1 AND is_read = 0");
SQL(list_preferences, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT kind, is_wanted FROM notification_preferences WHERE user_id = $1");
SQL(set_preference, DB_MAIN, SQL_INSTANCE, "uti",
    "INSERT INTO notification_preferences (user_id, kind, is_wanted) VALUES ($1, $2, $3) "
    "ON CONFLICT (user_id, kind) DO UPDATE SET is_wanted = excluded.is_wanted");

static enum errc list_apply(struct api_request *r, struct tx *tx, err *e)
{
    const struct list_query *q = r->query;
    const struct keyset key = {"created_us", 'i', "id", 'u', true, r->cursor, r->limit};
    struct rows rows;
    enum errc rc = tx_list(tx, r->arena, q->unread ? &list_unread : &list_all,
                           PARAMS(v_uuid(&r->who.user_id)), NULL, 0, &key, &rows, &r->next_cursor, e);
    if (rc != ERR_NONE) return rc;
    struct notification *items = arena_news(r->arena, struct notification, rows.n);
    if (!items) return err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; i < rows.n; i++)
        notification_of_row(row_at(&rows, i), &items[i]);
    r->items = (struct objects){items, rows.n};
    return ERR_NONE;
}

static enum errc count_apply(struct api_request *r, struct tx *tx, err *e)
{
    const struct val *row;
    struct count *answer = arena_new(r->arena, struct count);
    if (!answer) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = tx_query_row(tx, r->arena, &count_unread, PARAMS(v_uuid(&r->who.user_id)), &row, e);
    if (rc == ERR_NONE) answer->unread = val_int(row);
    r->answer = answer;
    return rc;
}

static enum errc read_prepare(struct api_request *r, err *e)
{
    const struct read_body *b = r->body;
    uuid *ids = arena_news(r->arena, uuid, b->ids.n + 1);
    char field[32];
    if (!ids) return err_code(e, ERR_TOO_LARGE);
    if (!b->all && !b->ids.items)
        return api_field_error(r, e, "ids", "required", "is needed unless all is true");
    for (unsigned i = 0; i < b->ids.n; i++) {
        snprintf(field, sizeof field, "ids[%u]", i);
        if (!uuid_parse(b->ids.items[i], &ids[i]))
            (void)api_field_error(r, e, field, "bad_format", "must be the id of a notification");
    }
    r->state = ids;
    return r->errors.n ? ERR_INVALID : ERR_NONE;
}

static enum errc read_apply(struct api_request *r, struct tx *tx, err *e)
{
    const struct read_body *b = r->body;
    const uuid *ids = r->state;
    enum errc rc = b->all ? tx_exec(tx, &read_all, PARAMS(v_uuid(&r->who.user_id)), NULL, e) : ERR_NONE;
    for (unsigned i = 0; i < b->ids.n && rc == ERR_NONE && !b->all; i++)
        rc = tx_exec(tx, &read_one, PARAMS(v_uuid(&r->who.user_id), v_uuid(&ids[i])), NULL, e);
    return rc;
}

static enum errc preferences_apply(struct api_request *r, struct tx *tx, err *e)
{
    struct rows rows;
    struct preferences *answer = arena_new(r->arena, struct preferences);
    struct preference *items = arena_news(r->arena, struct preference, n_notification_kinds);
    if (!answer || !items) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = tx_query(tx, r->arena, &list_preferences, PARAMS(v_uuid(&r->who.user_id)), &rows, e);
    for (unsigned i = 0; i < n_notification_kinds && rc == ERR_NONE; i++) {
        const struct notification_kind *kind = &notification_kinds[i];
        items[i] = (struct preference){str_c(kind->name), str_c(kind->meaning), true};
        for (unsigned j = 0; j < rows.n; j++)
            if (str_eq(val_str(&row_at(&rows, j)[0]), items[i].kind))
                items[i].is_wanted = val_bool(&row_at(&rows, j)[1]);
    }
    answer->preferences = (struct objects){items, n_notification_kinds};
    r->answer = answer;
    return rc;
}

static bool is_kind(str name)
{
    for (unsigned i = 0; i < n_notification_kinds; i++)
        if (str_eq(str_c(notification_kinds[i].name), name)) return true;
    return false;
}

static enum errc set_prepare(struct api_request *r, err *e)
{
    const struct preferences *b = r->body;
    const struct preference *items = b->preferences.items;
    char field[48];
    for (unsigned i = 0; i < b->preferences.n; i++) {
        snprintf(field, sizeof field, "preferences[%u].kind", i);
        if (!is_kind(items[i].kind))
            (void)api_field_error(r, e, field, "not_one_of", "is no kind of notification; GET lists them");
    }
    return r->errors.n ? ERR_INVALID : ERR_NONE;
}

static enum errc set_apply(struct api_request *r, struct tx *tx, err *e)
{
    const struct preferences *b = r->body;
    const struct preference *items = b->preferences.items;
    enum errc rc = ERR_NONE;
    for (unsigned i = 0; i < b->preferences.n && rc == ERR_NONE; i++)
        rc = tx_exec(tx, &set_preference,
                     PARAMS(v_uuid(&r->who.user_id), v_text(items[i].kind), v_int(items[i].is_wanted)), NULL,
                     e);
    return rc == ERR_NONE ? preferences_apply(r, tx, e) : rc;
}

static const struct api_route routes[] = {
    {.method = HTTP_GET,
     .path = "/api/notifications",
     .name = "notifications_list",
     .access = ACCESS_SIGNED_IN,
     .scope = SCOPE_SELF,
     .query = &list_query_shape,
     .answer = &notification_shape,
     .is_list = true,
     .apply = list_apply,
     .summary = "The caller's notifications, newest first",
     .text =
         "Of all their workspaces. A new one also comes as a live frame `notification` of `/api/events`."},
    {.method = HTTP_GET,
     .path = "/api/notifications/count",
     .name = "notifications_count",
     .access = ACCESS_SIGNED_IN,
     .scope = SCOPE_SELF,
     .answer = &count_shape,
     .apply = count_apply,
     .summary = "How many notifications have not been read"},
    {.method = HTTP_POST,
     .path = "/api/notifications/read",
     .name = "notifications_read",
     .access = ACCESS_SIGNED_IN,
     .scope = SCOPE_SELF,
     .effect = EFFECT_TELEMETRY,
     .body = &read_shape,
     .status = 204,
     .prepare = read_prepare,
     .apply = read_apply,
     .summary = "Mark notifications as read",
     .text = "Ids that are not the caller's are passed over."},
    {.method = HTTP_GET,
     .path = "/api/notifications/preferences",
     .name = "notifications_preferences",
     .access = ACCESS_SIGNED_IN,
     .scope = SCOPE_SELF,
     .answer = &preferences_shape,
     .apply = preferences_apply,
     .summary = "Which kinds of notifications the caller wants"},
    {.method = HTTP_PUT,
     .path = "/api/notifications/preferences",
     .name = "notifications_preferences_set",
     .access = ACCESS_SIGNED_IN,
     .scope = SCOPE_SELF,
     .effect = EFFECT_TELEMETRY,
     .body = &preferences_shape,
     .answer = &preferences_shape,
     .prepare = set_prepare,
     .apply = set_apply,
     .summary = "Choose which kinds of notifications the caller wants"},
};

const struct api_table notify_api = {"notifications", routes, LENGTH_OF(routes)};
