/* live.c - frames, what any thread may ask of the live stream, and its endpoint. */
#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "core/config.h"
#include "core/live/internal.h"

#define SEALED_BATCH 256
#define LINGER_US (30LL * USEC_PER_S)

/* --- frames --- */

struct live_frame *live_frame_new(const uuid *workspace, const uuid *user, enum permission needs,
                                  int64_t number, str text)
{
    struct live_frame *f = malloc(sizeof *f + text.len);
    if (!f) return NULL;
    *f = (struct live_frame){
        .refs = 1, .number = number, .workspace = *workspace, .user = *user, .needs = needs, .len = text.len};
    memcpy(f->text, text.p, text.len);
    return f;
}

struct live_frame *live_frame_ref(struct live_frame *f)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    return f;
}

void live_frame_unref(struct live_frame *f)
{
    if (f && atomic_fetch_sub(&f->refs, 1) == 1) free(f);
}

static bool is_same(const uuid *a, const uuid *b) { return memcmp(a, b, sizeof *a) == 0; }

bool live_is_visible(const struct live_viewer *v, const struct live_frame *f)
{
    bool is_here = is_same(&f->workspace, &v->workspace);
    if (!uuid_is_nil(&f->user) && is_same(&f->user, &v->user) && (is_here || uuid_is_nil(&f->workspace)))
        return true;
    return is_here &&
           (f->needs == PERMISSION_NONE ? uuid_is_nil(&f->user) : permission_set_has(&v->may, f->needs));
}

/* Who, besides the one who did it, may see that an event happened. What concerns sign-in, keys and refusals
 * is for those who read the audit log. */
static enum permission needed_for(str type)
{
    static const struct {
        const char *types;
        enum permission needs;
    } rules[] = {
        {"auth.*", PERMISSION_AUDIT_READ},
        {"session.*", PERMISSION_AUDIT_READ},
        {"user.*", PERMISSION_AUDIT_READ},
        {"api_key.*", PERMISSION_AUDIT_READ},
        {"access.*", PERMISSION_AUDIT_READ},
        {"workspace.export*", PERMISSION_AUDIT_READ},
        {"audit.*", PERMISSION_AUDIT_READ},
        {"hold.*", PERMISSION_AUDIT_READ},
        {"erasure.*", PERMISSION_AUDIT_READ},
        {"person.*", PERMISSION_AUDIT_READ},
        {"job.*", PERMISSION_AUDIT_READ},
        {"listener.*", PERMISSION_AUDIT_READ},
        {"invitation.*", PERMISSION_MEMBERS_INVITE},
        {"provider.*", PERMISSION_LLM_PROVIDERS},
        {"alias.*", PERMISSION_LLM_PROVIDERS},
        {"gateway_key.*", PERMISSION_GATEWAY_KEYS},
        {"setting.*", PERMISSION_SETTINGS_READ},
        {"flag.*", PERMISSION_SETTINGS_READ},
    };
    for (unsigned i = 0; i < LENGTH_OF(rules); i++)
        if (str_glob(str_c(rules[i].types), type)) return rules[i].needs;
    return PERMISSION_CHAT_READ;
}

static void put_members(struct json_writer *w, const struct json *of, const char *first, const char *second)
{
    const char *const names[] = {first, second};
    json_object(w);
    for (unsigned i = 0; i < LENGTH_OF(names); i++) {
        const struct json *v = json_get(of, str_c(names[i]));
        if (v && v->type == JSON_STRING)
            json_put_str(w, names[i], v->text);
        else
            json_put_null(w, names[i]);
    }
    json_end(w);
}

struct live_frame *live_frame_of_event(struct arena *a, const struct sealed_event *ev)
{
    char id[UUID_TEXT_LEN + 1], time[TIME_TEXT_LEN + 1];
    struct json *root = NULL;
    struct live_frame *f = NULL;
    struct buf text;
    struct json_writer w;
    uuid actor = {0};
    if (json_parse(a, ev->bytes, &root, NULL) != ERR_NONE) return NULL;
    const struct json *actor_id = json_at(root, S("actor.id"));
    if (actor_id && actor_id->type == JSON_STRING && !uuid_parse(actor_id->text, &actor)) actor = (uuid){0};
    buf_init(&text, LIVE_FRAME_MAX);
    buf_addf(&text, "id: %lld\nevent: %.*s\ndata: ", (long long)ev->number, STR(ev->type));
    json_writer_init(&w, &text);
    json_object(&w);
    json_put_int(&w, "number", ev->number);
    json_put_str(&w, "id", uuid_format(&ev->id, id));
    json_put_str(&w, "at", time_format(ev->at_us, time));
    json_put_str(&w, "type", ev->type);
    json_name(&w, S("actor"));
    put_members(&w, json_get(root, S("actor")), "kind", "id");
    json_name(&w, S("resource"));
    put_members(&w, json_get(root, S("resource")), "type", "id");
    const struct json *status = json_get(root, S("status"));
    json_put_str(&w, "status", status ? status->text : S(""));
    json_end(&w);
    buf_add(&text, S("\n\n"));
    if (!text.failed)
        f = live_frame_new(&ev->workspace_id, &actor, needed_for(ev->type), ev->number, buf_str(&text));
    buf_fini(&text);
    return f;
}

/* --- messages to all hubs --- */

/* Gives every hub a message of this kind; frame may be NULL. */
static void tell_all(struct live *l, const struct live_message *what)
{
    for (unsigned i = 0; i < LIVE_LOOPS_MAX; i++) {
        struct live_hub *h = l->hubs[i];
        if (!h) continue;
        struct live_message *m = malloc(sizeof *m);
        if (!m) {
            if (what->kind != LIVE_FRAME)
                log_event(LOG_ERROR, "live_message_lost", LOG_I("kind", what->kind));
            continue;
        }
        *m = *what;
        if (m->frame) live_frame_ref(m->frame);
        if (!live_give(h, m)) {
            live_frame_unref(m->frame);
            free(m);
        }
    }
}

void live_tell_frame(struct live *l, struct live_frame *f)
{
    tell_all(l, &(struct live_message){.kind = LIVE_FRAME, .frame = f});
}

bool live_is_heard(const struct live *l) { return l->n_streams > 0 || live_bus_is_heard(l->bus); }

void live_publish(struct live *l, const uuid *workspace, const uuid *user, enum permission needs, str event,
                  str json)
{
    static const uuid nil;
    struct buf text;
    if (!live_is_heard(l)) return;
    buf_init(&text, LIVE_FRAME_MAX);
    buf_add(&text, S("event: "));
    buf_add(&text, event);
    for (str rest = json, line; rest.len;) {
        line = str_cut(&rest, '\n');
        buf_add(&text, S("\ndata: "));
        buf_add(&text, line);
    }
    buf_add(&text, S("\n\n"));
    struct live_frame *f = text.failed ? NULL
                                       : live_frame_new(workspace ? workspace : &nil, user ? user : &nil,
                                                        needs, 0, buf_str(&text));
    buf_fini(&text);
    if (!f) return;
    if (l->n_streams) live_tell_frame(l, f);
    if (live_bus_is_heard(l->bus)) live_bus_put(l->bus, f);
    live_frame_unref(f);
}

void live_revoke(struct live *l, const uuid *credential_id, const uuid *user_id, const uuid *workspace_id)
{
    static const uuid nil;
    if (l->n_streams)
        tell_all(l, &(struct live_message){
                        .kind = LIVE_REVOKED,
                        .credential = credential_id ? *credential_id : nil,
                        .user = user_id ? *user_id : nil,
                        .workspace = workspace_id ? *workspace_id : nil,
                    });
}

struct sealed_read {
    struct arena *a;
    int64_t after;
    struct sealed_event *events;
    unsigned n;
};

static enum errc read_sealed_unit(struct tx *tx, void *ctx, err *e)
{
    struct sealed_read *r = ctx;
    return events_after(tx, r->a, r->after, NULL, SEALED_BATCH, &r->events, &r->n, e);
}

/* One batch of the log to every hub; false when it cannot be read now. */
static bool tell_batch(struct live *l)
{
    struct arena a;
    err e = {0};
    arena_init(&a, 16u << 20, 64u << 10);
    struct sealed_read r = {.a = &a, .after = l->told};
    bool is_well =
        db_read(store_db(l->setup.store, DB_MAIN), read_sealed_unit, &r, &e) == ERR_NONE && r.n > 0;
    if (e.code != ERR_NONE) log_error(LOG_WARN, "live_not_readable", &e);
    for (unsigned i = 0; i < r.n && is_well; i++) {
        struct arena_mark mark = arena_mark(&a);
        struct live_frame *f = live_frame_of_event(&a, &r.events[i]);
        is_well = f != NULL;
        if (f) {
            tell_all(l, &(struct live_message){.kind = LIVE_LOG, .frame = f});
            live_frame_unref(f);
            l->told = r.events[i].number;
        }
        arena_reset(&a, mark);
    }
    arena_fini(&a);
    return is_well;
}

void live_sealed(void *live, int64_t number)
{
    struct live *l = live;
    if (l->n_streams ==
        0) { /* a stream counts before it reads the log, so what it does not find there is told here */
        l->told = number;
        return;
    }
    while (number - l->told <= LIVE_RING && l->told < number && tell_batch(l))
        ;
    if (l->told < number) {
        l->told = number;
        tell_all(l, &(struct live_message){.kind = LIVE_GAP, .number = number});
    }
}

/* --- counts --- */

struct live_count {
    uuid id;
    unsigned n;
};

static str id_str(const uuid *id) { return str_of((const char *)id->b, sizeof id->b); }

static bool count_up(struct map *m, const uuid *id, unsigned most)
{
    struct live_count *c = map_get(m, id_str(id));
    if (!c) {
        c = calloc(1, sizeof *c);
        if (!c) return false;
        c->id = *id;
        if (map_put(m, id_str(&c->id), c) != ERR_NONE) {
            free(c);
            return false;
        }
    }
    if (c->n >= most) return false;
    c->n++;
    return true;
}

static void count_down(struct map *m, const uuid *id)
{
    struct live_count *c = map_get(m, id_str(id));
    assert(c && c->n);
    if (--c->n == 0) {
        map_del(m, id_str(id));
        free(c);
    }
}

enum errc live_count_up(struct live *l, const uuid *user, const uuid *workspace, err *e)
{
    enum errc rc = ERR_NONE;
    pthread_mutex_lock(&l->lock);
    if (!count_up(&l->per_user, user, l->most_per_user)) {
        rc = err_set(e, ERR_RATE_LIMITED,
                     "you have %u event streams open already: close one, or share it between tabs",
                     l->most_per_user);
    } else if (!count_up(&l->per_workspace, workspace, l->most_per_workspace)) {
        count_down(&l->per_user, user);
        rc = err_set(e, ERR_RATE_LIMITED, "the workspace has %u event streams open already",
                     l->most_per_workspace);
    }
    pthread_mutex_unlock(&l->lock);
    if (rc == ERR_NONE && l->n_streams++ == 0 && l->bus) { /* the others send from now on */
        live_bus_wake(l->bus);
        nodes_wake(l->setup.nodes);
    }
    return rc;
}

void live_count_down(struct live *l, const uuid *user, const uuid *workspace)
{
    pthread_mutex_lock(&l->lock);
    count_down(&l->per_user, user);
    count_down(&l->per_workspace, workspace);
    pthread_mutex_unlock(&l->lock);
    l->n_streams--;
    l->listened_us = clock_mono_us();
}

/* What others are told: a stream that ends is mostly back at once. */
static void report(void *ctx, struct node_figures *f)
{
    const struct live *l = ctx;
    f->streams = l->n_streams;
    if (f->streams == 0 && l->listened_us && clock_mono_us() - l->listened_us < LINGER_US) f->streams = 1;
}

/* --- the endpoint --- */

struct live_query {
    int64_t last_event_id;
};
static const struct field query_fields[] = {
    FIELD(struct live_query, last_event_id, FIELD_INT, .min = 0, .max = INT64_MAX - 1,
          .meaning =
              "Go on behind this event; what the header Last-Event-ID says when a client cannot send it."),
};
static const struct shape query_shape =
    SHAPE("EventsQuery", struct live_query, query_fields, "Where the stream begins.");

static enum errc begin_apply(struct api_request *r, struct tx *tx, err *e)
{
    const struct live_query *q = r->query;
    int64_t *position = arena_new(r->arena, int64_t), head = 0;
    if (r->who.n_key_projects) /* frames do not tell of which project they are */
        return err_set(e, ERR_FORBIDDEN,
                       "this API key is for some projects only, and the stream tells of the whole workspace");
    enum errc rc = events_head(tx, &head, e);
    if (!position) return err_code(e, ERR_TOO_LARGE);
    *position = q->last_event_id;
    if (r->last_event_id.len && (!str_to_i64(r->last_event_id, position) || *position < 0))
        return err_set(e, ERR_INVALID, "Last-Event-ID must be the number of an event");
    if (*position == NO_VALUE || *position > head)
        *position = head; /* nothing to catch up with; or the log was restored from before it */
    r->state = position;
    return rc;
}

static struct live_hub *hub_of(struct live *l, struct loop *loop, err *e)
{
    struct live_hub *h = l->hubs[loop->index];
    if (h) return h;
    if (live_hub_new(&h, l, loop, e) != ERR_NONE) return NULL;
    l->hubs[loop->index] = h;
    return h;
}

static void begin_stream(struct api_request *r, struct http_conn *c, str fields)
{
    struct live *l = r->service;
    err e = {0};
    assert(c->server->loop->index < LIVE_LOOPS_MAX);
    struct live_hub *h = hub_of(l, c->server->loop, &e);
    if (h && l->is_stopping) err_set(&e, ERR_UNAVAILABLE, "the server is stopping");
    if (e.code == ERR_NONE && live_count_up(l, &r->who.user_id, &r->workspace_id, &e) == ERR_NONE)
        live_stream_begin(h, r, *(const int64_t *)r->state, c, fields);
    else
        problem_reply(c, &e, S("Retry-After: 5\r\n"));
}

static const struct api_route routes[] = {
    {.method = HTTP_GET,
     .path = "/api/events",
     .name = "events_stream",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_CHAT_READ,
     .scope = SCOPE_WORKSPACE,
     .query = &query_shape,
     .apply = begin_apply,
     .stream = begin_stream,
     .summary = "What happens, as it happens",
     .text = "Server-sent events (`text/event-stream`). Frames with an `id` are events of the workspace's "
             "log that the caller may know of, in order; "
             "`Last-Event-ID` resumes behind one without a gap. Frames without an `id` (`job.progress`, "
             "`call.finished`, `notification`, …) are live only and may be "
             "lost. The first frame is `ready`, with the number where the stream stands; a comment comes "
             "every 15 seconds. An API key for some projects only gets 403."},
};

const struct api_table live_api = {"events", routes, LENGTH_OF(routes)};

/* --- life --- */

enum errc live_new(struct live **out, const struct live_setup *setup, err *e)
{
    struct live *l = calloc(1, sizeof *l);
    *out = NULL;
    if (!l) return err_code(e, ERR_NO_MEMORY);
    const struct pool_setup pool = {.name = "live", .threads = 2, .queue = 10000, .wait_ms = 10000};
    l->setup = *setup;
    l->heartbeat_ms = (uint64_t)config_int(setup->config, "live.heartbeat_ms");
    l->recheck_ms = (uint64_t)config_int(setup->config, "live.recheck_ms");
    l->most_per_user = (unsigned)config_int(setup->config, "live.connections_per_user");
    l->most_per_workspace = (unsigned)config_int(setup->config, "live.connections_per_workspace");
    pthread_mutex_init(&l->lock, NULL);
    map_init(&l->per_user);
    map_init(&l->per_workspace);
    l->streams = stats_series(
        stats_declare(STAT_GAUGE, "catalyst_live_streams", "Open event streams.", NULL, NULL, 0, 1), NULL);
    l->sent = stats_series(stats_declare(STAT_COUNTER, "catalyst_live_frames_total",
                                         "Frames sent to event streams.", NULL, NULL, 0, 1),
                           NULL);
    l->dropped =
        stats_series(stats_declare(STAT_COUNTER, "catalyst_live_dropped_total",
                                   "Live frames that slow event streams did not get.", NULL, NULL, 0, 1),
                     NULL);
    enum errc rc = pool_new(&l->pool, &pool, e);
    if (rc == ERR_NONE && setup->nodes && store_is_postgres(setup->store)) {
        rc = live_bus_new(&l->bus, l, setup->store, setup->nodes, e);
        if (rc == ERR_NONE) nodes_report(setup->nodes, report, l);
    }
    if (rc != ERR_NONE) {
        live_free(l);
        return rc;
    }
    *out = l;
    return ERR_NONE;
}

void live_stop(struct live *l)
{
    l->is_stopping = true;
    tell_all(l, &(struct live_message){.kind = LIVE_STOPPED});
}

void live_free(struct live *l)
{
    if (!l) return;
    if (l->setup.nodes) nodes_report_end(l->setup.nodes, l);
    live_bus_free(l->bus);
    if (l->pool) pool_free(l->pool);
    for (unsigned i = 0; i < LIVE_LOOPS_MAX; i++)
        live_hub_free(l->hubs[i]);
    map_fini(&l->per_user);
    map_fini(&l->per_workspace);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static const struct option options[] = {
    {.key = "live.heartbeat_ms",
     .type = OPTION_MS,
     .fallback = "15s",
     .min = 50,
     .max = 600000,
     .meaning = "Time between comments on an idle event stream, so that nothing on the way closes it."},
    {.key = "live.recheck_ms",
     .type = OPTION_MS,
     .fallback = "15s",
     .min = 50,
     .max = 600000,
     .meaning = "Time between looks whether an event stream's session and role still hold; what ends on this "
                "node closes streams at once."},
    {.key = "live.connections_per_user",
     .type = OPTION_INT,
     .fallback = "16",
     .min = 1,
     .max = 10000,
     .meaning = "Most event streams of one user."},
    {.key = "live.connections_per_workspace",
     .type = OPTION_INT,
     .fallback = "2000",
     .min = 1,
     .max = 1000000,
     .meaning = "Most event streams of one workspace."},
};

const struct option_table live_options = {options, LENGTH_OF(options)};
