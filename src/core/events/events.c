/* events.c - one event: its bytes, its row. And the log's life. */
#include <assert.h>

#include "core/events.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/api.h"
#include "core/events/internal.h"

#define MESSAGE_MAX 500

SQL(insert_event, DB_MAIN, 0, "uuittuubbitui",
    "INSERT INTO events (id, workspace_id, at_us, type, resource_type, resource_id, actor_id, bytes, leaf, kind, "
    "error, credential_id, address_token) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)");

uuid event_id_of(const uuid *cause, unsigned n)
{
    uint8_t text[sizeof cause->b + 4], hash[SHA256_LEN];
    uuid id;
    memcpy(text, cause->b, sizeof cause->b);
    for (unsigned i = 0; i < 4; i++)
        text[sizeof cause->b + i] = (uint8_t)(n >> 8 * i);
    sha256(str_of((const char *)text, sizeof text), hash);
    memcpy(id.b, hash, sizeof id.b);
    memcpy(id.b, cause->b, 6); /* the time of a version 7 */
    id.b[6] = (uint8_t)(0x70 | (id.b[6] & 0x0f));
    id.b[8] = (uint8_t)(0x80 | (id.b[8] & 0x3f));
    return id;
}

struct event event_of(const struct api_request *r, str type, unsigned n)
{
    return (struct event){
        .id = event_id_of(&r->request_id, n),
        .at_us = r->now_us,
        .type = type,
        .workspace_id = r->workspace_id,
        .actor = r->who.kind == PRINCIPAL_SESSION || r->who.kind == PRINCIPAL_BEARER ? ACTOR_USER
                 : r->who.kind == PRINCIPAL_API_KEY ? ACTOR_API_KEY
                                                    : ACTOR_SYSTEM,
        .actor_id = r->who.user_id,
        .actor_email = r->who.email,
        .credential_id = r->who.credential_id,
        .address = r->address,
        .user_agent = r->user_agent,
        .status = S("success"),
    };
}

/* --- bytes --- */

static void put_uuid(struct json_writer *w, const char *name, const uuid *id)
{
    char text[UUID_TEXT_LEN + 1];
    if (uuid_is_nil(id))
        json_put_null(w, name);
    else
        json_put_str(w, name, uuid_format(id, text));
}

static void put_boxed(struct json_writer *w, struct person_box *box, const char *name, const char *place,
                       str text)
{
    struct buf value;
    struct json_writer v;
    json_name(w, str_c(name));
    if (!text.len) {
        json_null(w);
        return;
    }
    buf_init(&value, EVENT_BYTES_MAX);
    json_writer_init(&v, &value);
    json_str(&v, str_take(text, 512));
    person_box_put(box, str_c(place), buf_str(&value), w);
    buf_fini(&value);
}

static bool has_failed(const struct event *ev) { return ev->error.len || str_eq(ev->status, S("failure")); }

static void write_bytes(const struct event *ev, struct person_box *actor, str before, str after,
                        struct json_writer *w)
{
    static const char *const kinds[] = {
        [ACTOR_SYSTEM] = "system", [ACTOR_USER] = "user", [ACTOR_API_KEY] = "api_key"};
    char time[TIME_TEXT_LEN + 1];
    json_object(w);
    put_uuid(w, "id", &ev->id);
    json_put_str(w, "type", ev->type);
    json_put_int(w, "version", ev->version ? ev->version : 1);
    json_put_str(w, "at", time_format(ev->at_us, time));
    put_uuid(w, "workspace", &ev->workspace_id);
    json_name(w, S("actor"));
    json_object(w);
    json_put_str(w, "kind", str_c(kinds[ev->actor]));
    put_uuid(w, "id", &ev->actor_id);
    put_uuid(w, "credential", &ev->credential_id);
    put_boxed(w, actor, "email", "actor.email", ev->actor_email);
    json_end(w);
    json_name(w, S("client"));
    json_object(w);
    put_boxed(w, actor, "address", "client.address", ev->address);
    put_boxed(w, actor, "user_agent", "client.user_agent", ev->user_agent);
    json_end(w);
    json_name(w, S("resource"));
    json_object(w);
    json_put_str(w, "type", ev->resource_type);
    put_uuid(w, "id", &ev->resource_id);
    json_end(w);
    json_put_str(w, "status", has_failed(ev) ? S("failure") : S("success"));
    json_name(w, S("error"));
    if (ev->error.len)
        json_str(w, ev->error);
    else
        json_null(w);
    json_name(w, S("error_message"));
    if (ev->error.len && ev->message.len)
        json_str(w, str_take(ev->message, MESSAGE_MAX));
    else
        json_null(w);
    json_name(w, S("before"));
    json_raw(w, before);
    json_name(w, S("after"));
    json_raw(w, after);
    json_name(w, S("metadata"));
    json_raw(w, ev->metadata.len ? ev->metadata : S("{}"));
    json_end(w);
}

/* What of a fixed number of bits tells things apart, as a positive integer of a column. */
static int64_t int_of_hash(const uint8_t hash[SHA256_LEN])
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 8; i++)
        v = v << 8 | hash[i];
    return (int64_t)(v >> 1);
}

int64_t event_kind(str type, str resource_type, str error)
{
    char text[512];
    uint8_t hash[SHA256_LEN];
    int n = snprintf(text, sizeof text, "%.*s\n%.*s\n%s%.*s", STR(str_take(type, 160)),
                     STR(str_take(resource_type, 160)), error.p ? "-" : "", STR(str_take(error, 160)));
    sha256(str_of(text, (size_t)n), hash);
    return int_of_hash(hash);
}

static int64_t token_of(struct events *log, const uuid *workspace, str address)
{
    uint8_t text[7 + sizeof workspace->b + 64], mac[SHA256_LEN];
    str taken = str_take(address, 64);
    memcpy(text, "address", 7);
    memcpy(text + 7, workspace->b, sizeof workspace->b);
    if (taken.len) memcpy(text + 7 + sizeof workspace->b, taken.p, taken.len);
    hmac_sha256(str_of((const char *)log->people.wrap, sizeof log->people.wrap),
                str_of((const char *)text, 7 + sizeof workspace->b + taken.len), mac);
    return int_of_hash(mac);
}

enum errc event_address_token(struct store *s, const uuid *workspace, str address, int64_t *out, err *e)
{
    struct events *log = db_noted_ctx(store_db(s, DB_MAIN));
    if (!log) return err_set(e, ERR_INTERNAL, "the log is not open");
    *out = token_of(log, workspace, address);
    return ERR_NONE;
}

static enum errc insert(struct tx *tx, struct events *log, const struct event *ev, str bytes, err *e)
{
    str error = !has_failed(ev) ? (str){NULL, 0} : ev->error.len ? ev->error : S("");
    /* RFC 6962 section 2.1: the zero keeps leaves apart from inner nodes */
    char leaf_text[1 + EVENT_BYTES_MAX];
    uint8_t leaf[SHA256_LEN];
    leaf_text[0] = 0;
    memcpy(leaf_text + 1, bytes.p, bytes.len);
    sha256(str_of(leaf_text, 1 + bytes.len), leaf);
    enum errc rc = tx_exec_unaudited(
        tx, &insert_event,
        PARAMS(v_uuid(&ev->id), v_uuid_or_null(&ev->workspace_id), v_int(ev->at_us), v_text(ev->type),
               v_text(ev->resource_type.p ? ev->resource_type : S("")), v_uuid_or_null(&ev->resource_id),
               v_uuid_or_null(&ev->actor_id), v_blob(bytes), v_blob(str_of((const char *)leaf, sizeof leaf)),
               v_int(event_kind(ev->type, ev->resource_type, error)), v_text_or_null(error),
               v_uuid_or_null(&ev->credential_id),
               ev->address.len ? v_int(token_of(log, &ev->workspace_id, ev->address)) : v_null()),
        NULL, e);
    if (rc == ERR_NONE) tx_note(tx);
    return rc;
}

enum errc tx_event(struct tx *tx, const struct event *ev, err *e)
{
    struct events *log = db_noted_ctx(tx_db(tx));
    struct person_box actor = {.is_empty = true}, subject = {.is_empty = true};
    struct buf before, after, bytes;
    struct json_writer w, before_w, after_w;
    bool has_subject =
        !uuid_is_nil(&ev->person_id) && memcmp(&ev->person_id, &ev->actor_id, sizeof ev->actor_id) != 0;
    enum errc rc = ERR_NONE;
    if (!log) return err_set(e, ERR_INTERNAL, "the log is not open");
    if (log->is_shut)
        return err_set(e, ERR_UNAVAILABLE, "nothing is changed: the log in the database is older than what was given away of it");
    buf_init(&before, EVENT_BYTES_MAX);
    buf_init(&after, EVENT_BYTES_MAX);
    buf_init(&bytes, EVENT_BYTES_MAX);
    json_writer_init(&w, &bytes);
    json_writer_init(&before_w, &before);
    json_writer_init(&after_w, &after);
    if ((rc = person_box_init(&actor, &log->people, &ev->id, &ev->actor_id, e)) != ERR_NONE ||
        (has_subject &&
         (rc = person_box_init(&subject, &log->people, &ev->id, &ev->person_id, e)) != ERR_NONE))
        goto out;
    if (!ev->shape) {
        json_null(&before_w);
        json_null(&after_w);
    } else if (!shape_diff(ev->shape, ev->before, ev->after, has_subject ? &subject.boxes : &actor.boxes,
                           &before_w, &after_w)) {
        goto out; /* nothing changed */
    }
    if (!before.failed && !after.failed) write_bytes(ev, &actor, buf_str(&before), buf_str(&after), &w);
    rc = before.failed ? before.failed : after.failed ? after.failed : bytes.failed;
    if (rc == ERR_TOO_LARGE)
        err_set(e, rc,
                "the change (%.*s) is too large for the log: what it says before and after is at most %d "
                "bytes together",
                STR(ev->type), EVENT_BYTES_MAX);
    else if (rc != ERR_NONE)
        err_code(e, rc);
    else if ((rc = insert(tx, log, ev, buf_str(&bytes), e)) == ERR_NONE &&
             (rc = person_box_store(&actor, tx, e)) == ERR_NONE)
        rc = person_box_store(&subject, tx, e);
out:
    person_box_fini(&actor);
    person_box_fini(&subject);
    buf_fini(&before);
    buf_fini(&after);
    buf_fini(&bytes);
    return rc;
}

/* --- reading --- */

#define EVENT_COLUMNS                                                                                        \
    "number, workspace_number, id, workspace_id, resource_id, at_us, type, resource_type, bytes, leaf"

SQL(sealed_after, DB_MAIN, SQL_INSTANCE, "ii",
    "SELECT " EVENT_COLUMNS " FROM events WHERE number > $1 ORDER BY number LIMIT $2");
SQL(sealed_of_workspace_after, DB_MAIN, 0, "uii",
    "SELECT " EVENT_COLUMNS " FROM events WHERE workspace_id = $1 AND number > $2 ORDER BY number LIMIT $3");
SQL(sealed_head, DB_MAIN, SQL_INSTANCE, "",
    "SELECT number FROM events WHERE number IS NOT NULL ORDER BY number DESC LIMIT 1");

enum errc events_after(struct tx *tx, struct arena *a, int64_t number, const uuid *workspace, unsigned limit,
                       struct sealed_event **out, unsigned *n, err *e)
{
    struct rows rows;
    *n = 0;
    enum errc rc = workspace && !uuid_is_nil(workspace)
                       ? tx_query(tx, a, &sealed_of_workspace_after,
                                  PARAMS(v_uuid(workspace), v_int(number), v_int(limit)), &rows, e)
                       : tx_query(tx, a, &sealed_after, PARAMS(v_int(number), v_int(limit)), &rows, e);
    if (rc != ERR_NONE) return rc;
    *out = arena_news(a, struct sealed_event, rows.n);
    if (!*out) return err_set(e, ERR_TOO_LARGE, "%u events do not fit into memory", rows.n);
    for (unsigned i = 0; i < rows.n; i++) {
        const struct val *v = row_at(&rows, i);
        struct sealed_event *ev = &(*out)[i];
        *ev = (struct sealed_event){
            .number = val_int(&v[0]),
            .workspace_number = val_int(&v[1]),
            .id = val_uuid(&v[2]),
            .workspace_id = val_uuid(&v[3]),
            .resource_id = val_uuid(&v[4]),
            .at_us = val_int(&v[5]),
            .type = val_str(&v[6]),
            .resource_type = val_str(&v[7]),
            .bytes = val_str(&v[8]),
        };
        if (val_str(&v[9]).len != sizeof ev->leaf)
            return err_set(e, ERR_CORRUPT, "event %lld has no leaf hash", (long long)ev->number);
        memcpy(ev->leaf, val_str(&v[9]).p, sizeof ev->leaf);
    }
    *n = rows.n;
    return ERR_NONE;
}

enum errc events_head(struct tx *tx, int64_t *number, err *e)
{
    struct arena a;
    struct rows rows;
    arena_init(&a, 4096, 512);
    enum errc rc = tx_query(tx, &a, &sealed_head, NULL, 0, &rows, e);
    *number = rc == ERR_NONE && rows.n ? val_int(row_at(&rows, 0)) : 0;
    arena_fini(&a);
    return rc;
}

/* --- life --- */

static void on_committed(void *ctx)
{
    struct events *log = ctx;
    waker_wake(log->seals_itself ? &log->seal : &log->follow);
}

enum errc events_new(struct events **out, struct store *s, const uint8_t *master, err *e)
{
    struct events *log = calloc(1, sizeof *log);
    enum errc rc;
    *out = NULL;
    if (!log) return err_code(e, ERR_NO_MEMORY);
    log->store = s;
    log->seals_itself = store_is_postgres(s);
    log->holder = uuid7_make(clock_now_us());
    rc = people_init(&log->people, s, master, e);
    if (rc == ERR_NONE) rc = waker_init(&log->seal, e);
    if (rc == ERR_NONE) rc = waker_init(&log->follow, e);
    if (rc == ERR_NONE) rc = people_ensure(&log->people, &(uuid){0}, clock_now_us(), e);
    if (rc != ERR_NONE) {
        events_free(log);
        return rc;
    }
    store_on_noted(s, events_seal_unit, log);
    store_on_committed(s, on_committed, log);
    if (log->seals_itself) {
        int number = pthread_create(&log->sealer, NULL, events_sealer_main, log);
        log->has_sealer = number == 0;
        if (number != 0) {
            rc = err_errno(e, ERR_INTERNAL, number, "starting the sealer");
            events_free(log);
            return rc;
        }
    }
    *out = log;
    return ERR_NONE;
}

void events_shut(struct events *log, bool is_shut) { log->is_shut = is_shut; }

void events_listen(struct events *log, const struct listener *l)
{
    if (log->has_follower || log->n_followers == EVENT_LISTENERS_MAX) abort(); /* a constant of the program */
    log->followers[log->n_followers++].listener = *l;
}

void events_on_sealed(struct events *log, void (*sealed)(void *ctx, int64_t number), void *ctx)
{
    log->sealed = sealed;
    log->sealed_ctx = ctx;
}

void events_watch(struct events *log, const struct watcher *w)
{
    assert(!log->has_follower && log->n_watchers < EVENT_WATCHERS_MAX);
    log->watchers[log->n_watchers++] = *w;
}

static void on_told(void *ctx) { waker_wake(&((struct events *)ctx)->follow); }

enum errc events_start(struct events *log, err *e)
{
    enum errc rc = followers_load(log, e);
    if (rc == ERR_NONE) rc = watchers_load(log, e);
    if (rc != ERR_NONE) return rc;
    store_on_told(log->store, TOPIC_SEALED, on_told, log);
    int number = pthread_create(&log->feeder, NULL, events_feeder_main, log);
    if (number != 0) return err_errno(e, ERR_INTERNAL, number, "starting the log's thread");
    log->has_follower = true;
    return ERR_NONE;
}

void events_stop(struct events *log)
{
    if (!log) return;
    waker_stop(&log->follow);
    if (log->has_follower) {
        pthread_join(log->feeder, NULL);
        followers_release(log);
    }
    log->has_follower = false;
}

void events_free(struct events *log)
{
    if (!log) return;
    events_stop(log);
    waker_stop(&log->seal);
    if (log->has_sealer) pthread_join(log->sealer, NULL);
    store_on_noted(log->store, NULL, NULL);
    store_on_committed(log->store, NULL, NULL);
    waker_fini(&log->seal);
    waker_fini(&log->follow);
    people_fini(&log->people);
    free(log);
}
