/* Requests: the calls that were made, as a list, one by one, as they end, and in sums. Who may not see others' has those of keys that are bound to them. */
#include <stdio.h>

#include "core/live.h"
#include "gateway/admin/admin.h"
#include "gateway/ledger/calls.h"

#define GROUPS_MAX 1000

struct tokens_view {
    int64_t input, cache_read, cache_write, cache_write_1h, output, reasoning, total;
};
static const struct field token_fields[] = {
    FIELD(struct tokens_view, input, FIELD_INT, .flags = FIELD_READONLY, .meaning = "Fresh input."),
    FIELD(struct tokens_view, cache_read, FIELD_INT, .flags = FIELD_READONLY, .meaning = "Input read from the provider's cache."),
    FIELD(struct tokens_view, cache_write, FIELD_INT, .flags = FIELD_READONLY, .meaning = "Input written to it for five minutes."),
    FIELD(struct tokens_view, cache_write_1h, FIELD_INT, .flags = FIELD_READONLY, .meaning = "The same for an hour."),
    FIELD(struct tokens_view, output, FIELD_INT, .flags = FIELD_READONLY, .meaning = "Output, reasoning included."),
    FIELD(struct tokens_view, reasoning, FIELD_INT, .flags = FIELD_READONLY, .meaning = "Of that: reasoning."),
    FIELD(struct tokens_view, total, FIELD_INT, .flags = FIELD_READONLY, .meaning = "Input and output of every kind."),
};
static const struct shape tokens_shape = SHAPE("Tokens", struct tokens_view, token_fields, "Tokens by kind.");

struct timing_view {
    int64_t connect_us, sent_us, head_us, first_us, total_us;
};
static const struct field timing_fields[] = {
    FIELD(struct timing_view, connect_us, FIELD_INT, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "Spent connecting to the provider; 0 on a kept connection."),
    FIELD(struct timing_view, sent_us, FIELD_INT, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "Until the request was written to it."),
    FIELD(struct timing_view, head_us, FIELD_INT, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "Until the head of its answer came."),
    FIELD(struct timing_view, first_us, FIELD_INT, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "Until the first byte of the answer."),
    FIELD(struct timing_view, total_us, FIELD_INT, .flags = FIELD_READONLY, .meaning = "Until the end."),
};
static const struct shape timing_shape = SHAPE("Timing", struct timing_view, timing_fields, "Microseconds since the request's head had arrived; null: not reached.");

struct call_view {
    uuid id;
    usec started_at;
    int64_t status;
    str outcome, dialect, provider, model, model_asked;
    uuid key_id;
    str key_name, project;
    uuid project_id, user_id;
    str user, session, task;
    struct texts tags;
    bool is_streamed, is_estimated;
    struct tokens_view tokens;
    int64_t cost;
    int64_t duration_ms;
    struct timing_view timing;
    int64_t bytes_in, bytes_out;
    str error, trace_id;
};
#define LABEL_FIELD(member_, meaning_) FIELD(struct call_view, member_, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = meaning_)
static const struct field fields[] = {
    FIELD(struct call_view, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Id of the call: its x-catalyst-request-id."),
    FIELD(struct call_view, started_at, FIELD_TIME, .flags = FIELD_READONLY, .meaning = "When its request had arrived."),
    FIELD(struct call_view, status, FIELD_INT, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "HTTP status that the client got; null: it was gone before."),
    FIELD(struct call_view, outcome, FIELD_ONE_OF, .choices = "completed|cancelled|cut|upstream_failed|refused", .flags = FIELD_READONLY, .meaning = "How it ended."),
    FIELD(struct call_view, dialect, FIELD_ONE_OF, .choices = "chat|responses|messages|embeddings|count_tokens", .flags = FIELD_READONLY, .meaning = "Which endpoint it was made on."),
    LABEL_FIELD(provider, "Who served it."),
    LABEL_FIELD(model, "The model, as the provider knows it."),
    LABEL_FIELD(model_asked, "The model, as the client named it."),
    FIELD(struct call_view, key_id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "The virtual key."),
    LABEL_FIELD(key_name, "What that was called."),
    LABEL_FIELD(project, "Project that it was booked on: the key's, else the client's label."),
    FIELD(struct call_view, project_id, FIELD_UUID, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "The project that the key is bound to."),
    FIELD(struct call_view, user_id, FIELD_UUID, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "The member that the key is bound to."),
    LABEL_FIELD(user, "The client's label for its user, where the key is bound to none."),
    LABEL_FIELD(session, "One run of an agent."),
    LABEL_FIELD(task, "The client's label for its task."),
    FIELD(struct call_view, tags, FIELD_TEXTS, .flags = FIELD_READONLY, .meaning = "The client's tags."),
    FIELD(struct call_view, is_streamed, FIELD_BOOL, .flags = FIELD_READONLY, .meaning = "Whether the answer was a stream."),
    FIELD(struct call_view, is_estimated, FIELD_BOOL, .flags = FIELD_READONLY, .meaning = "Whether the provider reported no tokens, so that these are estimates."),
    FIELD(struct call_view, tokens, FIELD_OBJECT, .shape = &tokens_shape, .flags = FIELD_READONLY, .meaning = "Its tokens."),
    FIELD(struct call_view, cost, FIELD_MONEY, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "What it cost; null: the model's price is not known."),
    FIELD(struct call_view, duration_ms, FIELD_INT, .flags = FIELD_READONLY, .meaning = "How long it took."),
    FIELD(struct call_view, timing, FIELD_OBJECT, .shape = &timing_shape, .flags = FIELD_READONLY, .meaning = "When its phases were reached."),
    FIELD(struct call_view, bytes_in, FIELD_INT, .flags = FIELD_READONLY, .meaning = "Bytes of the request's body."),
    FIELD(struct call_view, bytes_out, FIELD_INT, .flags = FIELD_READONLY, .meaning = "Bytes of the answer's body."),
    LABEL_FIELD(error, "What failed, as a machine's name."),
    LABEL_FIELD(trace_id, "W3C trace id."),
};
static const struct shape call_shape = SHAPE("Request", struct call_view, fields, "A call that was made through the gateway.");

static str label(str s) { return s.len ? s : (str){NULL, 0}; }
static int64_t phase(int64_t us) { return us >= 0 ? us : NO_VALUE; }

static void add(int64_t *sum, int64_t v)
{
    if (__builtin_add_overflow(*sum, v, sum))
        *sum = INT64_MAX;
}

static struct tokens_view tokens_of(const struct token_usage *t)
{
    struct tokens_view v = {t->input, t->cache_read, t->cache_write, t->cache_write_1h, t->output, t->reasoning, 0};
    add(&v.total, v.input);
    add(&v.total, v.cache_read);
    add(&v.total, v.cache_write);
    add(&v.total, v.cache_write_1h);
    add(&v.total, v.output);
    return v;
}

/* tags has room for every tag of the record. */
static void view_of(const struct usage_record *r, str *tags, struct call_view *v)
{
    *v = (struct call_view){
        .id = r->request_id,
        .started_at = r->started_us,
        .status = r->status ? r->status : NO_VALUE,
        .outcome = str_c(outcome_name(r->outcome)),
        .dialect = str_c(dialect_name(r->dialect)),
        .provider = label(r->provider),
        .model = label(r->model),
        .model_asked = label(r->model_asked),
        .key_name = label(r->key),
        .project = label(r->project),
        .project_id = r->project_id,
        .user_id = r->user_id,
        .user = label(r->user),
        .session = label(r->session),
        .task = label(r->task),
        .tags = {tags, 0},
        .is_streamed = r->is_streamed,
        .is_estimated = r->is_estimated,
        .tokens = tokens_of(&r->tokens),
        .cost = r->cost_nanousd == COST_UNKNOWN ? NO_VALUE : r->cost_nanousd,
        .duration_ms = r->total_us / USEC_PER_MS,
        .timing = {phase(r->connect_us), phase(r->sent_us), phase(r->head_us), phase(r->first_us), r->total_us},
        .bytes_in = (int64_t)r->bytes_in,
        .bytes_out = (int64_t)r->bytes_out,
        .error = label(r->error),
        .trace_id = label(r->trace_id),
    };
    memcpy(v->key_id.b, r->key_id, sizeof v->key_id.b);
    for (str rest = r->tags; rest.len;) {
        str tag = str_trim(str_cut(&rest, ','));
        if (tag.len)
            tags[v->tags.n++] = tag;
    }
}

static unsigned n_tags(const struct usage_record *r)
{
    unsigned n = 1;
    for (size_t i = 0; i < r->tags.len; i++)
        n += r->tags.p[i] == ',';
    return n;
}

/* --- live --- */

void requests_publish(struct gateway *g, const struct snapshot *s, const struct usage_record *r)
{
    str tags[USAGE_TEXT_MAX + 1];
    struct call_view v;
    struct buf json;
    struct json_writer w;
    const uuid *workspace = uuid_is_nil(&r->workspace_id) ? &s->workspaces[0].id : &r->workspace_id;
    if (uuid_is_nil(workspace) || !live_is_heard(g->backend.live))
        return;
    view_of(r, tags, &v);
    buf_init(&json, 16 << 10);
    json_writer_init(&w, &json);
    shape_encode(&call_shape, &v, &w);
    if (buf_err(&json) == ERR_NONE)
        live_publish(g->backend.live, workspace, &r->user_id, PERMISSION_ANALYTICS_VIEW_OTHERS, S("call.finished"),
                     buf_str(&json));
    buf_fini(&json);
}

/* --- GET /api/gateway/requests --- */

SQL(requests_list, DB_USAGE, 0, "u", "SELECT " CALL_COLUMNS " FROM calls WHERE workspace_id = $1");
SQL(requests_get, DB_USAGE, 0, "uu", "SELECT " CALL_COLUMNS " FROM calls WHERE workspace_id = $1 AND request_id = $2");

struct call_query {
    usec since, until;
    str model, provider;
    uuid key_id, project_id;
    str project;
    int64_t status;
    str outcome, session, text;
};
static const struct field query_fields[] = {
    FIELD(struct call_query, since, FIELD_TIME, .flags = FIELD_NULLABLE, .meaning = "Only calls that began at this time or later."),
    FIELD(struct call_query, until, FIELD_TIME, .flags = FIELD_NULLABLE, .meaning = "Only calls that began before it."),
    FIELD(struct call_query, model, FIELD_TEXT, .max = 200, .flags = FIELD_NULLABLE, .meaning = "Only calls of this model."),
    FIELD(struct call_query, provider, FIELD_TEXT, .max = 64, .flags = FIELD_NULLABLE, .meaning = "Only calls to this provider."),
    FIELD(struct call_query, key_id, FIELD_UUID, .flags = FIELD_NULLABLE, .meaning = "Only calls of this key."),
    FIELD(struct call_query, project_id, FIELD_UUID, .flags = FIELD_NULLABLE, .meaning = "Only calls of keys that are bound to this project."),
    FIELD(struct call_query, project, FIELD_TEXT, .max = 128, .flags = FIELD_NULLABLE, .meaning = "Only calls that are booked on this project: its name or id."),
    FIELD(struct call_query, status, FIELD_INT, .min = 100, .max = 599, .flags = FIELD_NULLABLE, .meaning = "Only calls that were answered with this status."),
    FIELD(struct call_query, outcome, FIELD_ONE_OF, .choices = "completed|cancelled|cut|upstream_failed|refused", .flags = FIELD_NULLABLE,
          .meaning = "Only calls that ended in this way."),
    FIELD(struct call_query, session, FIELD_TEXT, .max = 128, .flags = FIELD_NULLABLE, .meaning = "Only calls of this session."),
    FIELD(struct call_query, text, FIELD_TEXT, .max = 100, .flags = FIELD_NULLABLE,
          .meaning = "Only calls whose model, key, project, session, task, tags or error contain this, whatever its case."),
};
static const struct shape query_shape = SHAPE("RequestQuery", struct call_query, query_fields, "Which calls to list.");

static bool outcome_parse(str name, int64_t *out)
{
    for (int64_t i = CALL_COMPLETED; i <= CALL_REFUSED; i++)
        if (str_eq(name, str_c(outcome_name((enum call_outcome)i)))) {
            *out = i;
            return true;
        }
    return false;
}

static struct val id_or_null(const uuid *id) { return v_uuid_or_null(id); }
static struct val text_or_null(str s) { return s.len ? v_text(s) : v_null(); }
static bool sees_others(const struct api_request *r) { return api_may(r, PERMISSION_ANALYTICS_VIEW_OTHERS); }

/* A project may be asked for by its id as well. */
static void project_of(struct call_query *q)
{
    uuid id;
    if (q->project.len && uuid_parse(q->project, &id)) {
        q->project_id = id;
        q->project = (str){NULL, 0};
    }
}

static enum errc list(struct api_request *r, struct tx *tx, err *e)
{
    struct call_query q = *(const struct call_query *)r->query;
    int64_t outcome = 0;
    uuid from = request_id_from(q.since == NO_VALUE ? 0 : q.since), to = request_id_from(q.until == NO_VALUE ? 0 : q.until + USEC_PER_MS);
    project_of(&q);
    const struct filter filters[] = {
        {"request_id", FILTER_GE, 'u', q.since == NO_VALUE ? v_null() : v_uuid(&from)},
        {"request_id", FILTER_LT, 'u', q.until == NO_VALUE ? v_null() : v_uuid(&to)},
        {"started_us", FILTER_GE, 'i', v_int_or_null(q.since)},
        {"started_us", FILTER_LT, 'i', v_int_or_null(q.until)},
        {"model", FILTER_EQ, 't', text_or_null(q.model)},
        {"provider", FILTER_EQ, 't', text_or_null(q.provider)},
        {"key_id", FILTER_EQ, 'u', id_or_null(&q.key_id)},
        {"project_id", FILTER_EQ, 'u', id_or_null(&q.project_id)},
        {"project", FILTER_EQ, 't', text_or_null(q.project)},
        {"status", FILTER_EQ, 'i', v_int_or_null(q.status)},
        {"outcome", FILTER_EQ, 'i', q.outcome.len && outcome_parse(q.outcome, &outcome) ? v_int(outcome) : v_null()},
        {"session", FILTER_EQ, 't', text_or_null(q.session)},
        {"user_id", FILTER_EQ, 'u', sees_others(r) ? v_null() : v_uuid(&r->who.user_id)},
        {"(model || ' ' || model_asked || ' ' || key_name || ' ' || project || ' ' || session || ' ' || task || ' ' || tags || ' ' || error)", FILTER_LIKE, 't',
         text_or_null(q.text)},
    };
    struct keyset key = {.column = "request_id", .param = 'u', .is_descending = true, .cursor = r->cursor, .limit = r->limit};
    struct rows rows;
    enum errc rc = tx_list(tx, r->arena, &requests_list, PARAMS(v_uuid(&r->workspace_id)), filters, LENGTH_OF(filters), &key, &rows, &r->next_cursor, e);
    struct call_view *all = rc == ERR_NONE ? arena_news(r->arena, struct call_view, rows.n + 1u) : NULL;
    if (rc != ERR_NONE || !all)
        return rc != ERR_NONE ? rc : err_code(e, ERR_TOO_LARGE);
    unsigned n = 0;
    for (unsigned i = 0; i < rows.n; i++) {
        struct usage_record record;
        call_from_row(row_at(&rows, i), &record);
        str *tags = arena_news(r->arena, str, n_tags(&record));
        if (!tags)
            return err_code(e, ERR_TOO_LARGE);
        if (api_sees_project(r, &record.project_id))
            view_of(&record, tags, &all[n++]);
    }
    r->items = (struct objects){all, n};
    return ERR_NONE;
}

static enum errc show(struct api_request *r, struct tx *tx, err *e)
{
    struct call_view *v = arena_new(r->arena, struct call_view);
    const struct val *row;
    struct usage_record record;
    if (!v)
        return err_code(e, ERR_TOO_LARGE);
    if (uuid_is_nil(&r->path_id[0]))
        return err_set(e, ERR_NOT_FOUND, "there is no such request");
    enum errc rc = tx_query_row(tx, r->arena, &requests_get, PARAMS(v_uuid(&r->workspace_id), v_uuid(&r->path_id[0])), &row, e);
    if (rc == ERR_NOT_FOUND)
        return err_set(e, ERR_NOT_FOUND, "there is no such request");
    if (rc != ERR_NONE)
        return rc;
    call_from_row(row, &record);
    bool is_own = memcmp(&record.user_id, &r->who.user_id, sizeof(uuid)) == 0;
    if ((!sees_others(r) && !is_own) || !api_sees_project(r, &record.project_id))
        return err_set(e, ERR_NOT_FOUND, "there is no such request");
    str *tags = arena_news(r->arena, str, n_tags(&record));
    if (!tags)
        return err_code(e, ERR_TOO_LARGE);
    view_of(&record, tags, v);
    r->answer = v;
    return ERR_NONE;
}

/* --- GET /api/gateway/usage --- */

#define SUMS                                                                                                                                    \
    "COUNT(*), CAST(SUM(CASE WHEN status >= 400 OR outcome IN (2, 3, 4) THEN 1 ELSE 0 END) AS BIGINT), CAST(SUM(input) AS BIGINT), "             \
    "CAST(SUM(cache_read) AS BIGINT), CAST(SUM(cache_write) AS BIGINT), CAST(SUM(cache_write_1h) AS BIGINT), CAST(SUM(output) AS BIGINT), "      \
    "CAST(SUM(reasoning) AS BIGINT), CAST(SUM(COALESCE(cost_nanousd, 0)) AS BIGINT), CAST(SUM(CASE WHEN cost_nanousd IS NULL THEN 1 ELSE 0 END) AS BIGINT)"
#define WHERE                                                                                                                                \
    " FROM calls WHERE workspace_id = $1 AND request_id >= $2 AND request_id < $3 AND started_us >= $4 AND started_us < $5 "                  \
    "AND ($6 = 1 OR user_id = $7) AND ($8 = 1 OR project_id = $9) AND ($10 = 1 OR project = $11) "
#define USAGE_SQL(name_, expression_)                                                                                                     \
    SQL(name_, DB_USAGE, 0, "uuuiiiuiuit", "SELECT " expression_ ", " SUMS WHERE "GROUP BY 1 ORDER BY 10 DESC, 2 DESC, 1 LIMIT 1000")
USAGE_SQL(usage_by_model, "model");
USAGE_SQL(usage_by_provider, "provider");
USAGE_SQL(usage_by_key, "key_name");
USAGE_SQL(usage_by_project, "project");
USAGE_SQL(usage_by_user, "CASE WHEN user_id IS NULL THEN user_label ELSE NULL END");
USAGE_SQL(usage_by_session, "session");
SQL(usage_by_day, DB_USAGE, 0, "uuuiiiuiuit", "SELECT started_us / 86400000000, " SUMS WHERE "GROUP BY 1 ORDER BY 1 LIMIT 1000");
SQL(usage_by_user_id, DB_USAGE, 0, "uuuiiiuiuit", "SELECT user_id, " SUMS WHERE "AND user_id IS NOT NULL GROUP BY 1 ORDER BY 10 DESC, 2 DESC, 1 LIMIT 1000");
SQL(usage_total, DB_USAGE, 0, "uuuiiiuiuit", "SELECT 0, " SUMS WHERE);

struct usage_query {
    str by;
    usec since, until;
    str project;
};
static const struct field usage_query_fields[] = {
    FIELD(struct usage_query, by, FIELD_ONE_OF, .choices = "model|provider|key|project|user|day|session", .fallback = "\"model\"", .meaning = "What to group by."),
    FIELD(struct usage_query, since, FIELD_TIME, .flags = FIELD_NULLABLE, .meaning = "Only calls that began at this time or later."),
    FIELD(struct usage_query, until, FIELD_TIME, .flags = FIELD_NULLABLE, .meaning = "Only calls that began before it."),
    FIELD(struct usage_query, project, FIELD_TEXT, .max = 128, .flags = FIELD_NULLABLE, .meaning = "Only calls that are booked on this project: its name or id."),
};
static const struct shape usage_query_shape = SHAPE("UsageQuery", struct usage_query, usage_query_fields, "What to sum up.");

struct sums_view {
    str group;
    int64_t calls, failed;
    struct tokens_view tokens;
    int64_t cost;
    int64_t unknown_cost_calls;
};
#define SUM_FIELDS                                                                                                                                \
    FIELD(struct sums_view, calls, FIELD_INT, .flags = FIELD_READONLY, .meaning = "Calls."),                                                      \
        FIELD(struct sums_view, failed, FIELD_INT, .flags = FIELD_READONLY, .meaning = "Of these: answered with an error, cut, refused."),        \
        FIELD(struct sums_view, tokens, FIELD_OBJECT, .shape = &tokens_shape, .flags = FIELD_READONLY, .meaning = "Their tokens."),               \
        FIELD(struct sums_view, cost, FIELD_MONEY, .flags = FIELD_READONLY, .meaning = "What they cost, as far as it is known."),                 \
        FIELD(struct sums_view, unknown_cost_calls, FIELD_INT, .flags = FIELD_READONLY, .meaning = "Calls whose model has no known price.")
static const struct field group_fields[] = {
    FIELD(struct sums_view, group, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "The model, provider, key, …; empty: none. A day as 2026-11-24."),
    SUM_FIELDS,
};
static const struct field total_fields[] = {SUM_FIELDS};
static const struct shape group_shape = SHAPE("UsageGroup", struct sums_view, group_fields, "Sums of a group of calls.");
static const struct shape total_shape = SHAPE("UsageTotal", struct sums_view, total_fields, "Sums of calls.");

struct usage_view {
    struct objects items;
    struct sums_view total;
};
static const struct field usage_fields[] = {
    FIELD(struct usage_view, items, FIELD_OBJECTS, .shape = &group_shape, .max_items = GROUPS_MAX, .flags = FIELD_READONLY, .meaning = "The groups, dearest first; days in order."),
    FIELD(struct usage_view, total, FIELD_OBJECT, .shape = &total_shape, .flags = FIELD_READONLY, .meaning = "All of them together."),
};
static const struct shape usage_shape = SHAPE("Usage", struct usage_view, usage_fields, "What was used, and what it cost.");

static int64_t sum_or_0(const struct val *v) { return v->type == VAL_NULL ? 0 : val_int(v); }

static void read_sums(const struct val *row, struct sums_view *v)
{
    struct token_usage t = {sum_or_0(&row[3]), sum_or_0(&row[4]), sum_or_0(&row[5]), sum_or_0(&row[6]), sum_or_0(&row[7]), sum_or_0(&row[8])};
    v->calls = sum_or_0(&row[1]);
    v->failed = sum_or_0(&row[2]);
    v->tokens = tokens_of(&t);
    v->cost = sum_or_0(&row[9]);
    v->unknown_cost_calls = sum_or_0(&row[10]);
}

static str group_name(struct api_request *r, const struct val *v, bool is_day)
{
    char text[UUID_TEXT_LEN + 1];
    if (is_day)
        return str_dup(r->arena, date_format(val_int(v) * USEC_PER_DAY, text));
    if (v->type == VAL_BLOB) {
        uuid id = val_uuid(v);
        return str_dup(r->arena, uuid_format(&id, text));
    }
    return v->type == VAL_TEXT ? v->s : S("");
}

static enum errc add_groups(struct api_request *r, struct tx *tx, const struct sql *sql, const struct val *params, unsigned n, struct usage_view *u, err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, r->arena, sql, params, n, &rows, e);
    struct sums_view *all = rc == ERR_NONE ? arena_news(r->arena, struct sums_view, rows.n + u->items.n + 1u) : NULL;
    if (rc != ERR_NONE || !all)
        return rc != ERR_NONE ? rc : err_code(e, ERR_TOO_LARGE);
    if (u->items.n)
        memcpy(all, u->items.items, u->items.n * sizeof *all);
    for (unsigned i = 0; i < rows.n; i++) {
        const struct val *row = row_at(&rows, i);
        /* Those of members are a list of their own. */
        if (sql == &usage_by_user && row[0].type == VAL_NULL)
            continue;
        struct sums_view *v = &all[u->items.n++];
        v->group = group_name(r, &row[0], sql == &usage_by_day);
        read_sums(row, v);
    }
    u->items.items = all;
    return ERR_NONE;
}

static enum errc usage(struct api_request *r, struct tx *tx, err *e)
{
    static const struct {
        const char *by;
        const struct sql *sql;
    } groups[] = {{"model", &usage_by_model},     {"provider", &usage_by_provider}, {"key", &usage_by_key}, {"project", &usage_by_project},
                  {"user", &usage_by_user},       {"session", &usage_by_session},   {"day", &usage_by_day}};
    const struct usage_query *q = r->query;
    struct usage_view *u = arena_new(r->arena, struct usage_view);
    struct call_query scope = {.project = q->project};
    usec since = q->since == NO_VALUE ? 0 : q->since, until = q->until == NO_VALUE ? INT64_MAX - USEC_PER_S : q->until;
    uuid from = request_id_from(since), to = request_id_from(until + USEC_PER_MS);
    if (q->until == NO_VALUE)
        memset(to.b, 0xff, sizeof to.b);
    if (!u)
        return err_code(e, ERR_TOO_LARGE);
    project_of(&scope);
    if (r->who.n_key_projects == 1)
        scope.project_id = r->who.key_projects[0];
    else if (!api_sees_project(r, &scope.project_id))
        return err_set(e, ERR_FORBIDDEN, "this API key is for some projects only: ask for one of them by its id, as project");
    const struct val params[] = {
        v_uuid(&r->workspace_id), v_uuid(&from), v_uuid(&to), v_int(since), v_int(until), v_int(sees_others(r)), v_uuid(&r->who.user_id),
        v_int(uuid_is_nil(&scope.project_id)), v_uuid(&scope.project_id), v_int(!scope.project.len), v_text(scope.project.len ? scope.project : S("")),
    };
    enum errc rc = ERR_NONE;
    for (size_t i = 0; i < LENGTH_OF(groups) && rc == ERR_NONE; i++)
        if (str_eq(q->by, str_c(groups[i].by)))
            rc = add_groups(r, tx, groups[i].sql, params, LENGTH_OF(params), u, e);
    if (rc == ERR_NONE && str_eq(q->by, S("user")))
        rc = add_groups(r, tx, &usage_by_user_id, params, LENGTH_OF(params), u, e);
    const struct val *row;
    if (rc == ERR_NONE && (rc = tx_query_row(tx, r->arena, &usage_total, params, LENGTH_OF(params), &row, e)) == ERR_NONE)
        read_sums(row, &u->total);
    r->answer = u;
    return rc;
}

#define REQUEST_ROUTE(path_, name_) \
    .method = HTTP_GET, .path = path_, .name = name_, .access = ACCESS_PERMISSION, .permission = PERMISSION_ANALYTICS_VIEW, .scope = SCOPE_WORKSPACE, .db = DB_USAGE
static const struct api_route routes[] = {
    {REQUEST_ROUTE("/api/gateway/requests", "gateway_requests_list"), .query = &query_shape, .answer = &call_shape, .is_list = true, .is_csv = true,
     .summary = "Calls, newest first", .text = "Without analytics.view_others those of keys that are bound to the caller. A call is here within a second of its end.",
     .apply = list},
    {REQUEST_ROUTE("/api/gateway/requests/:id", "gateway_requests_show"), .answer = &call_shape, .summary = "A call", .apply = show},
    {REQUEST_ROUTE("/api/gateway/usage", "gateway_usage"), .query = &usage_query_shape, .answer = &usage_shape,
     .summary = "Sums of calls, tokens and cost", .text = "At most 1,000 groups; the total has all calls.", .apply = usage},
};
const struct api_table gateway_requests_api = {"gateway", routes, LENGTH_OF(routes)};
