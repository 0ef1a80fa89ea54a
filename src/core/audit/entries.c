/* entries.c - an event as it is shown: its bytes taken apart, the commitments in them replaced by what the boxes hold. */
#include "core/audit_log.h"
#include "core/audit/log_internal.h"
#include "core/events.h"

static const struct field changes_fields[] = {
    FIELD(struct log_changes, before, FIELD_JSON, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "What was otherwise before; null: it did not exist, or nothing is known."),
    FIELD(struct log_changes, after, FIELD_JSON, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "The same afterwards; null: it does not exist any more."),
};
static const struct shape changes_shape = SHAPE("AuditChanges", struct log_changes, changes_fields, "What an event changed.");

static const struct field entry_fields[] = {
    FIELD(struct log_entry, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Id of the event."),
    FIELD(struct log_entry, number, FIELD_INT, .flags = FIELD_READONLY, .meaning = "In the log of the whole instance: 1, 2, 3 …"),
    FIELD(struct log_entry, workspace_number, FIELD_INT, .flags = FIELD_READONLY,
          .meaning = "In the log of its workspace: 1, 2, 3 …; 0 for an event of the instance."),
    FIELD(struct log_entry, timestamp, FIELD_TIME, .flags = FIELD_READONLY, .meaning = "When it happened."),
    FIELD(struct log_entry, actor, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "What acted: user, api_key, access_token, service_account or system."),
    FIELD(struct log_entry, user_id, FIELD_UUID, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "Who acted."),
    FIELD(struct log_entry, user_email, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE | FIELD_PERSONAL,
          .meaning = "Their address at that time; `" LOG_ERASED "` when they were forgotten since."),
    FIELD(struct log_entry, credential_id, FIELD_UUID, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "The session or API key that it was done with."),
    FIELD(struct log_entry, action, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "What happened: `project.created`."),
    FIELD(struct log_entry, resource_type, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "What it happened to: `project`."),
    FIELD(struct log_entry, resource_id, FIELD_UUID, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "Its id."),
    FIELD(struct log_entry, ip_address, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE | FIELD_PERSONAL,
          .meaning = "Where the request came from."),
    FIELD(struct log_entry, user_agent, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE | FIELD_PERSONAL,
          .meaning = "What the client said that it is."),
    FIELD(struct log_entry, changes, FIELD_OBJECT, .flags = FIELD_READONLY, .shape = &changes_shape, .meaning = "What it changed."),
    FIELD(struct log_entry, status, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "success or failure."),
    FIELD(struct log_entry, error, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "Machine name of the failure."),
    FIELD(struct log_entry, error_message, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "What went wrong."),
    FIELD(struct log_entry, metadata, FIELD_JSON, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "What else belongs to it."),
    FIELD(struct log_entry, leaf, FIELD_TEXT, .flags = FIELD_READONLY,
          .meaning = "Its leaf hash (RFC 6962), hexadecimal: SHA-256 of a zero byte and the stored bytes."),
    FIELD(struct log_entry, is_dropped, FIELD_BOOL, .flags = FIELD_READONLY,
          .meaning = "It has been kept for as long as the settings say: only number, time, action and leaf hash are left."),
};
const struct shape log_entry_shape = SHAPE("AuditEntry", struct log_entry, entry_fields, "An event of the audit log.");

#define ENTRY_MAX (256u << 10)
#define PLACE_MAX 512

struct writing {
    struct arena *a;
    const struct event_values *values;
    char place[PLACE_MAX];
};

static const struct event_value *value_at(const struct event_values *values, str place)
{
    for (unsigned i = 0; i < values->n; i++)
        if (str_eq(values->values[i].place, place)) return &values->values[i];
    return NULL;
}

/* What stands for a value that no box gave. */
static str missing(const struct event_values *values) { return values->is_altered ? S(LOG_ALTERED) : S(LOG_ERASED); }

/* The commitment that an object is; empty when it is something else. */
static str commitment_of(const struct json *v)
{
    const struct json *only = v && v->type == JSON_OBJECT && v->n == 1 ? v->child : NULL;
    return only && only->type == JSON_STRING && only->text.len == 64 && str_eq(only->name, S("commitment")) ? only->text
                                                                                                            : (str){0};
}

static void put_opened(const struct writing *w, str commitment, str place, struct json_writer *out)
{
    const struct event_value *value = value_at(w->values, place);
    if (!value)
        json_str(out, missing(w->values));
    else if (!str_eq(str_of(value->commitment, 64), commitment))
        json_str(out, S(LOG_ALTERED));
    else
        json_raw(out, value->json);
}

/* The tree with its commitments opened; len: of the place of v. */
static void put_tree(struct writing *w, const struct json *v, size_t len, struct json_writer *out)
{
    str commitment = commitment_of(v);
    unsigned i = 0;
    if (commitment.len) {
        put_opened(w, commitment, str_of(w->place, len), out);
        return;
    }
    if (v->type != JSON_OBJECT && v->type != JSON_ARRAY) {
        json_put_tree(out, v);
        return;
    }
    if (v->type == JSON_OBJECT)
        json_object(out);
    else
        json_array(out);
    for (const struct json *c = v->child; c; c = c->next) {
        int n = v->type == JSON_OBJECT ? snprintf(w->place + len, PLACE_MAX - len, ".%.*s", STR(c->name))
                                       : snprintf(w->place + len, PLACE_MAX - len, "[%u]", i++);
        if (v->type == JSON_OBJECT) json_name(out, c->name);
        put_tree(w, c, n > 0 && (size_t)n < PLACE_MAX - len ? len + (size_t)n : len, out);
    }
    json_end(out);
}

/* A member of the event as JSON text with its commitments opened; p NULL for null. */
static enum errc take_json(struct writing *w, const struct json *root, const char *name, str *out, err *e)
{
    struct buf text;
    struct json_writer j;
    const struct json *v = json_get(root, str_c(name));
    *out = (str){0};
    if (!v || v->type == JSON_NULL) return ERR_NONE;
    buf_init(&text, ENTRY_MAX);
    json_writer_init(&j, &text);
    snprintf(w->place, sizeof w->place, "%s", name);
    put_tree(w, v, strlen(name), &j);
    enum errc rc = text.failed ? err_code(e, text.failed) : ERR_NONE;
    if (rc == ERR_NONE && !(*out = str_dup(w->a, buf_str(&text))).p) rc = err_code(e, ERR_TOO_LARGE);
    buf_fini(&text);
    return rc;
}

/* A text that is a commitment in the event. */
static enum errc take_boxed(struct writing *w, const struct json *root, str place, str *out, err *e)
{
    str commitment = commitment_of(json_at(root, place));
    struct json *text;
    *out = (str){0};
    if (!commitment.len) return ERR_NONE;
    const struct event_value *value = value_at(w->values, place);
    if (!value || !str_eq(str_of(value->commitment, 64), commitment)) {
        *out = value ? S(LOG_ALTERED) : missing(w->values);
        return ERR_NONE;
    }
    enum errc rc = json_parse(w->a, value->json, &text, e);
    if (rc == ERR_NONE && text->type == JSON_STRING) *out = text->text;
    return rc;
}

static str take_text(const struct json *root, str dotted)
{
    const struct json *v = json_at(root, dotted);
    return v && v->type == JSON_STRING ? v->text : (str){0};
}

static enum errc read_bytes(struct writing *w, str bytes, struct log_entry *out, err *e)
{
    struct json *root;
    enum errc rc = json_parse(w->a, bytes, &root, e);
    if (rc != ERR_NONE) return err_set(e, ERR_CORRUPT, "event %lld of the log is not JSON", (long long)out->number);
    out->actor = take_text(root, S("actor.kind"));
    out->error_message = take_text(root, S("error_message"));
    if ((rc = take_boxed(w, root, S("actor.email"), &out->user_email, e)) == ERR_NONE &&
        (rc = take_boxed(w, root, S("client.address"), &out->ip_address, e)) == ERR_NONE &&
        (rc = take_boxed(w, root, S("client.user_agent"), &out->user_agent, e)) == ERR_NONE &&
        (rc = take_json(w, root, "before", &out->changes.before, e)) == ERR_NONE &&
        (rc = take_json(w, root, "after", &out->changes.after, e)) == ERR_NONE)
        rc = take_json(w, root, "metadata", &out->metadata, e);
    return rc;
}

static enum errc entry_of(struct arena *a, const struct log_row *row, const struct event_values *values, struct log_entry *out, err *e)
{
    struct writing w = {.a = a, .values = values};
    char *leaf = arena_bytes(a, 2 * row->leaf.len + 1);
    if (!leaf) return err_code(e, ERR_TOO_LARGE);
    *out = (struct log_entry){
        .id = row->id,
        .number = row->number,
        .workspace_number = row->workspace_number,
        .timestamp = row->at_us,
        .user_id = row->actor_id,
        .credential_id = row->credential_id,
        .action = row->type,
        .resource_type = row->resource_type,
        .resource_id = row->resource_id,
        .status = row->error.p ? S("failure") : S("success"),
        .error = row->error.len ? row->error : (str){0},
        .leaf = hex_encode(row->leaf.p, row->leaf.len, leaf),
        .is_dropped = row->dropped_us != NO_VALUE,
    };
    return row->bytes.len ? read_bytes(&w, row->bytes, out, e) : ERR_NONE;
}

enum errc log_entries(struct store *s, struct arena *a, const struct log_row *rows, unsigned n, struct log_entry **out, err *e)
{
    uuid *ids = arena_news(a, uuid, n);
    struct event_values *values = arena_news(a, struct event_values, n);
    *out = arena_news(a, struct log_entry, n);
    if (!ids || !values || !*out) return err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; i < n; i++)
        ids[i] = rows[i].id;
    enum errc rc = events_open(s, a, ids, n, values, e);
    for (unsigned i = 0; i < n && rc == ERR_NONE; i++)
        rc = entry_of(a, &rows[i], &values[i], &(*out)[i], e);
    return rc;
}
