/* The path of a request under /api, on a real server, pool and store, with endpoints and people of the
 * test's own: what is refused where and how, what is committed, what is told. On both engines. */
#include "store_fixture.h"

#include "loopback.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/stats.h"
#include "core/api.h"
#include "core/config.h"
#include "core/events.h"
#include "net/options.h"

/* --- the service --- */

static const char tables_text[] =
    "-- database: main\n"
    "CREATE TABLE test_things (id {uuid} PRIMARY KEY, workspace_id {uuid} NOT NULL, name {text} NOT NULL,\n"
    "    note {text}, version {int} NOT NULL);\n";
static struct migration migrations[64];

static void add_tables(void)
{
    unsigned n = migrations_embedded_n;
    assert_true(n < LENGTH_OF(migrations));
    memcpy(migrations, migrations_embedded, n * sizeof migrations[0]);
    migrations[n] =
        (struct migration){"9000_tables", tables_text, tables_text + sizeof tables_text - 1, NULL, NULL};
    fixture_list = migrations;
    fixture_list_n = n + 1;
}

SQL(test_insert, DB_MAIN, 0, "uutti",
    "INSERT INTO test_things (id, workspace_id, name, note, version) VALUES ($1, $2, $3, $4, $5)");
SQL(test_update, DB_MAIN, 0, "ttiuu",
    "UPDATE test_things SET name = $1, note = $2, version = $3 WHERE workspace_id = $4 AND id = $5");
SQL(test_get, DB_MAIN, 0, "uu",
    "SELECT id, name, note, version FROM test_things WHERE workspace_id = $1 AND id = $2");
SQL(test_find, DB_MAIN, 0, "uu", "SELECT NULL FROM test_things WHERE workspace_id = $1 AND id = $2");
SQL(test_list, DB_MAIN, 0, "u", "SELECT id, name, note, version FROM test_things WHERE workspace_id = $1");
SQL(test_count, DB_MAIN, 0, "u", "SELECT COUNT(*) FROM test_things WHERE workspace_id = $1");
SQL(test_denied, DB_MAIN, SQL_INSTANCE, "t", "SELECT bytes FROM events WHERE type = $1 ORDER BY seq");

struct thing {
    uuid id;
    str name, note, key;
    int64_t version;
};
static const struct field thing_fields[] = {
    FIELD(struct thing, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Its id."),
    FIELD(struct thing, name, FIELD_TEXT, .min = 1, .max = 20, .format = FORMAT_LINE, .flags = FIELD_REQUIRED,
          .meaning = "Its name."),
    FIELD(struct thing, note, FIELD_TEXT, .max = 100, .flags = FIELD_NULLABLE, .meaning = "A note."),
    FIELD(struct thing, version, FIELD_INT, .flags = FIELD_READONLY | FIELD_UNAUDITED,
          .meaning = "Counts changes."),
};
static const struct shape thing_shape = SHAPE("Thing", struct thing, thing_fields, "A thing of the test.");
static const struct field secret_fields[] = {
    FIELD(struct thing, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Its id."),
    FIELD(struct thing, name, FIELD_TEXT, .min = 1, .max = 20, .flags = FIELD_REQUIRED,
          .meaning = "Its name."),
    FIELD(struct thing, key, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_SECRET, .meaning = "Shown once."),
};
static const struct shape secret_shape =
    SHAPE("SecretThing", struct thing, secret_fields, "A thing with a secret.");
struct question {
    str name;
    int64_t least;
};
static const struct field question_fields[] = {
    FIELD(struct question, name, FIELD_TEXT, .flags = FIELD_NULLABLE, .meaning = "Part of the name."),
    FIELD(struct question, least, FIELD_INT, .min = 0, .max = 100, .flags = FIELD_NULLABLE,
          .meaning = "Least."),
};
static const struct shape question_shape = SHAPE("Question", struct question, question_fields, NULL);

static const uuid w1 = {{0x77, 1}}, w2 = {{0x77, 2}};
static atomic_int n_applied, n_after;

/* A door at which a handler waits. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_shut;
    int n_waiting;
} door = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void pass_door(void)
{
    pthread_mutex_lock(&door.lock);
    door.n_waiting++;
    while (door.is_shut)
        pthread_cond_wait(&door.changed, &door.lock);
    door.n_waiting--;
    pthread_mutex_unlock(&door.lock);
}

static int waiting_at_door(void)
{
    pthread_mutex_lock(&door.lock);
    int n = door.n_waiting;
    pthread_mutex_unlock(&door.lock);
    return n;
}

static void set_door(bool is_shut)
{
    pthread_mutex_lock(&door.lock);
    door.is_shut = is_shut;
    pthread_cond_broadcast(&door.changed);
    pthread_mutex_unlock(&door.lock);
}

static enum errc wait_at_door(struct api_request *r, err *e)
{
    (void)r;
    (void)e;
    pass_door();
    return ERR_NONE;
}

static enum errc prepare_new(struct api_request *r, err *e)
{
    struct thing *t = r->body;
    t->id = uuid7_make(r->now_us);
    t->version = 1;
    if (str_eq(t->name, S("wait"))) pass_door();
    if (str_eq(t->name, S("taken")))
        return api_field_error(r, e, "name", "duplicate", "is taken; choose another");
    return person_key_ensure(r->store, &r->who.user_id, r->now_us, e);
}

static enum errc add_event(struct api_request *r, struct tx *tx, const struct thing *before,
                           const struct thing *after, err *e)
{
    struct event ev = event_of(r, before ? S("thing.changed") : S("thing.created"), 0);
    ev.shape = &thing_shape;
    ev.before = before;
    ev.after = after;
    ev.resource_type = S("thing");
    ev.resource_id = after->id;
    return tx_event(tx, &ev, e);
}

static enum errc apply_new(struct api_request *r, struct tx *tx, err *e)
{
    struct thing *t = r->body;
    n_applied++;
    enum errc rc = tx_exec(
        tx, &test_insert,
        PARAMS(v_uuid(&t->id), v_uuid(&r->workspace_id), v_text(t->name), v_text_or_null(t->note), v_int(1)),
        NULL, e);
    if (rc != ERR_NONE) return rc;
    r->answer = t;
    r->location = api_location(r, "/api/projects", &t->id);
    r->etag = api_etag(r, 1);
    if (str_eq(t->name, S("silent"))) return ERR_NONE;
    return add_event(r, tx, NULL, t, e);
}

static enum errc apply_secret(struct api_request *r, struct tx *tx, err *e)
{
    struct thing *t = r->body;
    t->key = S("cvk_planted");
    r->has_secret = true;
    return apply_new(r, tx, e);
}

static enum errc load(struct api_request *r, struct tx *tx, struct thing *out, err *e)
{
    const struct val *row;
    enum errc rc = tx_query_row(tx, r->arena, &test_get,
                                PARAMS(v_uuid(&r->workspace_id), v_uuid(&r->path_id[0])), &row, e);
    if (rc == ERR_NONE)
        *out = (struct thing){.id = val_uuid(&row[0]),
                              .name = val_str(&row[1]),
                              .note = val_str(&row[2]),
                              .version = val_int(&row[3])};
    return rc;
}

static enum errc apply_get(struct api_request *r, struct tx *tx, err *e)
{
    struct thing *t = arena_new(r->arena, struct thing);
    enum errc rc = load(r, tx, t, e);
    r->answer = t;
    r->etag = api_etag(r, t->version);
    return rc;
}

static enum errc apply_patch(struct api_request *r, struct tx *tx, err *e)
{
    struct thing before = {0};
    struct thing *t = arena_new(r->arena, struct thing);
    enum errc rc = load(r, tx, &before, e);
    if (rc != ERR_NONE || (rc = api_if_match(r, api_etag(r, before.version), e)) != ERR_NONE) return rc;
    *t = before;
    if ((rc = api_merge(r, t, e)) != ERR_NONE) return rc;
    t->version++;
    r->answer = t;
    r->etag = api_etag(r, t->version);
    if ((rc = tx_exec(tx, &test_update,
                      PARAMS(v_text(t->name), v_text_or_null(t->note), v_int(t->version),
                             v_uuid(&r->workspace_id), v_uuid(&t->id)),
                      NULL, e)) != ERR_NONE)
        return rc;
    return add_event(r, tx, &before, t, e);
}

static enum errc apply_list(struct api_request *r, struct tx *tx, err *e)
{
    struct rows rows;
    struct keyset key = {.column = "id", .param = 'u', .cursor = r->cursor, .limit = r->limit};
    enum errc rc = tx_list(tx, r->arena, &test_list, PARAMS(v_uuid(&r->workspace_id)), NULL, 0, &key, &rows,
                           &r->next_cursor, e);
    if (rc != ERR_NONE) return rc;
    struct thing *items = arena_news(r->arena, struct thing, rows.n);
    for (unsigned i = 0; i < rows.n; i++) {
        const struct val *row = row_at(&rows, i);
        items[i] = (struct thing){.id = val_uuid(&row[0]),
                                  .name = val_str(&row[1]),
                                  .note = val_str(&row[2]),
                                  .version = val_int(&row[3])};
    }
    r->items = (struct objects){items, rows.n};
    return ERR_NONE;
}

static void after(struct api_request *r)
{
    (void)r;
    n_after++;
}

static enum errc leak(struct api_request *r, err *e)
{
    (void)r;
    return err_set(e, ERR_INTERNAL, "row 17 of /var/lib/secret is torn");
}

static enum errc no_content(struct api_request *r, err *e)
{
    (void)e;
    r->cookies[r->n_cookies++] = S("a=b; HttpOnly");
    return ERR_NONE;
}

static void stream(struct api_request *r, struct http_conn *c, str fields)
{
    char head[600];
    int n = snprintf(
        head, sizeof head,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n%.*sConnection: close\r\n\r\ndata: %.*s\n\n",
        STR(fields), STR(r->last_event_id));
    http_send(c, (str[]){str_of(head, (size_t)n)}, 1);
    http_finish(c, false);
}

static const struct api_resource thing_resource = {.param = ":id", .find = &test_find, .noun = "thing"};

static const struct api_route routes[] = {
    {.method = HTTP_GET,
     .path = "/api/projects",
     .name = "things_list",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_PROJECTS_READ,
     .scope = SCOPE_WORKSPACE,
     .query = &question_shape,
     .answer = &thing_shape,
     .is_list = true,
     .is_csv = true,
     .summary = "Things",
     .apply = apply_list},
    {.method = HTTP_POST,
     .path = "/api/projects",
     .name = "things_new",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_PROJECTS_CREATE,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .body = &thing_shape,
     .answer = &thing_shape,
     .status = 201,
     .body_max = 2000,
     .summary = "A new thing",
     .prepare = prepare_new,
     .apply = apply_new,
     .after = after},
    {.method = HTTP_GET,
     .path = "/api/projects/:id",
     .name = "things_get",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_PROJECTS_READ,
     .scope = SCOPE_WORKSPACE,
     .resource = &thing_resource,
     .answer = &thing_shape,
     .summary = "One thing",
     .apply = apply_get},
    {.method = HTTP_PATCH,
     .path = "/api/projects/:id",
     .name = "things_patch",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_PROJECTS_UPDATE,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .resource = &thing_resource,
     .body = &thing_shape,
     .answer = &thing_shape,
     .is_merge = true,
     .summary = "Changes a thing",
     .apply = apply_patch},
    {.method = HTTP_GET,
     .path = "/api/projects/templates",
     .name = "templates",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_TEMPLATES_READ,
     .scope = SCOPE_WORKSPACE,
     .summary = "Waits",
     .status = 204,
     .prepare = wait_at_door},
    {.method = HTTP_POST,
     .path = "/api/gateway/keys",
     .name = "secrets_new",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_GATEWAY_KEYS,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .body = &secret_shape,
     .answer = &secret_shape,
     .status = 201,
     .summary = "A thing with a secret",
     .prepare = prepare_new,
     .apply = apply_secret},
    {.method = HTTP_GET,
     .path = "/api/permissions",
     .name = "fails",
     .access = ACCESS_SIGNED_IN,
     .scope = SCOPE_SELF,
     .summary = "Fails",
     .prepare = leak},
    {.method = HTTP_POST,
     .path = "/api/auth/login",
     .name = "open",
     .access = ACCESS_PUBLIC,
     .scope = SCOPE_INSTANCE,
     .summary = "Open to all",
     .prepare = no_content},
    {.method = HTTP_GET,
     .path = "/api/auth/sessions",
     .name = "sessions",
     .access = ACCESS_SESSION,
     .scope = SCOPE_SELF,
     .summary = "Sessions",
     .prepare = no_content},
    {.method = HTTP_GET,
     .path = "/api/users",
     .name = "users",
     .access = ACCESS_INSTANCE_ADMIN,
     .scope = SCOPE_INSTANCE,
     .summary = "Users",
     .prepare = no_content},
    {.method = HTTP_GET,
     .path = "/api/events",
     .name = "stream",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_CHAT_READ,
     .scope = SCOPE_WORKSPACE,
     .summary = "A stream",
     .stream = stream},
};
static const struct api_table table = {"things", routes, LENGTH_OF(routes)};

/* --- the people: alice owns w1, bob may look at w1 and owns w2, the key is alice's --- */

static enum errc authenticate(void *ctx, struct api_request *r, const struct http_head *h, err *e)
{
    const str *v = http_field(h, S("authorization"));
    (void)ctx;
    if (!v || r->route->access == ACCESS_PUBLIC) return ERR_NONE;
    str name = str_skip(*v, sizeof "Bearer " - 1);
    r->who.kind = PRINCIPAL_SESSION;
    r->who.key_scopes = permission_set_all();
    if (str_eq(name, S("alice")) || str_eq(name, S("admin"))) {
        r->who.user_id = (uuid){{0xa1}};
        r->who.is_instance_admin = str_eq(name, S("admin"));
    } else if (str_eq(name, S("bob"))) {
        r->who.user_id = (uuid){{0xb0}};
    } else if (str_eq(name, S("key"))) {
        r->who.kind = PRINCIPAL_API_KEY;
        r->who.user_id = (uuid){{0xa1}};
        r->who.credential_id = (uuid){{0xcc}};
        r->who.key_workspace_id = w1;
    } else {
        r->who.kind = PRINCIPAL_NONE;
        return err_set(e, ERR_UNAUTHENTICATED, "this is no credential");
    }
    return ERR_NONE;
}

static enum errc authorize(void *ctx, struct api_request *r, struct tx *tx, err *e)
{
    bool is_alice = r->who.user_id.b[0] == 0xa1, is_w1 = memcmp(&r->workspace_id, &w1, sizeof w1) == 0,
         is_w2 = memcmp(&r->workspace_id, &w2, sizeof w2) == 0;
    (void)ctx;
    (void)tx;
    if (is_w1)
        r->may = *role_permissions(is_alice ? ROLE_OWNER : ROLE_VIEWER);
    else if (is_w2 && !is_alice)
        r->may = *role_permissions(ROLE_OWNER);
    else
        return err_code(e, ERR_NOT_FOUND);
    r->role = S("some");
    return ERR_NONE;
}

static enum errc only_workspace(void *ctx, struct api_request *r, struct tx *tx, uuid *out, err *e)
{
    (void)ctx;
    (void)tx;
    if (r->who.user_id.b[0] == 0xb0)
        return err_set(e, ERR_INVALID, "you are in several workspaces: name one in X-Catalyst-Workspace");
    *out = w1;
    return ERR_NONE;
}

/* --- the server --- */

struct state {
    struct store_fixture *f;
    struct events *log;
    struct arena a;
    struct config *config;
    struct api *api;
    struct bench *b;
    struct server_shared shared;
    struct server server;
    struct router router;
    uint16_t port;
    unsigned n_idle;
    struct wire *w;
    err e;
};

static uint8_t master[32] = {1, 2, 3};

static void load_config(struct state *s, const struct config_setting *settings, unsigned n)
{
    static const struct option_table *const tables[] = {&net_options, &api_options};
    struct config_source source = {
        .flags = settings, .n_flags = n, .tables = tables, .n_tables = LENGTH_OF(tables)};
    struct buf problems;
    buf_init(&problems, 1 << 16);
    if (config_load(&s->a, &source, &s->config, &problems, &s->e) != ERR_NONE)
        fail_msg("%.*s", STR(buf_str(&problems)));
    buf_fini(&problems);
}

static void on_idle(struct server *server)
{
    struct state *s = (struct state *)((char *)server - offsetof(struct state, server));
    s->n_idle++;
}

static struct state *open_with(const struct config_setting *settings, unsigned n)
{
    struct state *s = calloc(1, sizeof *s);
    void *fixture = NULL;
    struct http_handler handler = router_handler();
    n_applied = n_after = 0;
    set_door(false);
    assert_int_equal(fixture_set_up(&fixture), 0);
    s->f = fixture;
    assert_int_equal(stats_init(1), ERR_NONE);
    assert_int_equal(events_new(&s->log, s->f->store, master, &s->e), ERR_NONE);
    arena_init(&s->a, 1 << 24, 0);
    load_config(s, settings, n);
    struct api_mount mount = {&table, NULL};
    struct api_setup setup = {.store = s->f->store,
                              .config = s->config,
                              .mounts = &mount,
                              .n_mounts = 1,
                              .authenticate = authenticate,
                              .authorize = authorize,
                              .only_workspace = only_workspace};
    if (api_new(&s->api, &setup, &s->e) != ERR_NONE) fail_msg("%s", s->e.msg);
    s->b = bench_new();
    assert_int_equal(server_shared_init(&s->shared, &s->e), ERR_NONE);
    s->shared.limits = (struct server_limits){.http = {.head_bytes = 8192, .headers = 40},
                                              .head_timeout_ms = BENCH_DEADLINE_MS,
                                              .idle_timeout_ms = BENCH_DEADLINE_MS,
                                              .write_timeout_ms = BENCH_DEADLINE_MS,
                                              .body_grace_ms = BENCH_DEADLINE_MS,
                                              .queue_bytes = 64 << 10,
                                              .connections = 100,
                                              .connections_per_address = 100};
    router_init(&s->router, 10000, 20);
    api_mount_on(s->api, &s->router);
    assert_int_equal(server_bind(&s->shared, S("127.0.0.1"), 0, &s->e), ERR_NONE);
    assert_int_equal(server_start(&s->server, &s->b->loop, &s->shared, &handler, &s->router, &s->e),
                     ERR_NONE);
    s->port = ntohs(((const struct sockaddr_in *)&s->shared.address)->sin_port);
    return s;
}

static int set_up(void **state)
{
    *state = open_with(NULL, 0);
    return 0;
}

static int tear_down(void **state)
{
    struct state *s = *state;
    set_door(false);
    server_stop(&s->server, on_idle);
    server_abort(&s->server);
    server_abort(&s->server);
    WAIT(s->b, s->n_idle == 1);
    api_free(s->api);
    bench_free(s->b);
    server_fini(&s->server);
    server_shared_fini(&s->shared);
    events_free(s->log);
    arena_fini(&s->a);
    void *fixture = s->f;
    fixture_tear_down(&fixture);
    stats_fini();
    free(s);
    return 0;
}

/* For what another thread does: nothing of it wakes the loop. */
#define POLL(b, condition)                                                                                   \
    do {                                                                                                     \
        usec deadline = clock_mono_us() + BENCH_DEADLINE_MS * USEC_PER_MS;                                   \
        while (!(condition) && clock_mono_us() < deadline) {                                                 \
            bench_turn(b);                                                                                   \
            usleep(1000);                                                                                    \
        }                                                                                                    \
        if (!(condition)) fail_msg("line %d: it never came that %s", __LINE__, #condition);                  \
    } while (0)

/* --- asking --- */

static struct wire *begin(struct state *s, const char *who, const char *line, const char *fields,
                          const char *body)
{
    struct buf request;
    struct wire *w = wire_connect(s->b, s->port);
    buf_init(&request, 1 << 20);
    buf_addf(&request, "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s", line, fields);
    if (who) buf_addf(&request, "Authorization: Bearer %s\r\n", who);
    if (body) buf_addf(&request, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(body));
    buf_addf(&request, "\r\n%s", body ? body : "");
    wire_send(w, buf_str(&request));
    buf_fini(&request);
    return w;
}

static void ask(struct state *s, const char *who, const char *line, const char *fields, const char *body)
{
    s->w = begin(s, who, line, fields, body);
    WAIT(s->b, wire_ended(s->w));
}

static void assert_status(const struct wire *w, int status)
{
    char line[40];
    int n = snprintf(line, sizeof line, "HTTP/1.1 %d ", status);
    if (!str_starts(buf_str(&w->in), str_of(line, (size_t)n)))
        fail_msg("not %d: %.*s", status, STR(buf_str(&w->in)));
}

static void assert_has(const struct wire *w, const char *part)
{
    if (!wire_has(w, part)) fail_msg("no '%s' in: %.*s", part, STR(buf_str(&w->in)));
}

static void assert_has_not(const struct wire *w, const char *part)
{
    if (wire_has(w, part)) fail_msg("'%s' in: %.*s", part, STR(buf_str(&w->in)));
}

/* The value of a field of the answer, in text. */
static void header(const struct wire *w, const char *name, char out[200])
{
    ptrdiff_t at = str_find(buf_str(&w->in), str_c(name));
    assert_true(at >= 0);
    str rest = str_skip(buf_str(&w->in), (size_t)at + strlen(name));
    str value = str_trim(str_cut(&rest, '\r'));
    snprintf(out, 200, "%.*s", STR(value));
}

struct counting {
    struct state *s;
    int64_t n;
};

static enum errc count_unit(struct tx *tx, void *ctx, err *e)
{
    struct counting *c = ctx;
    const struct val *row;
    enum errc rc = tx_query_row(tx, &c->s->a, &test_count, PARAMS(v_uuid(&w1)), &row, e);
    c->n = rc == ERR_NONE ? val_int(&row[0]) : -1;
    return rc;
}

static int64_t count_things(struct state *s)
{
    struct counting c = {s, -1};
    assert_int_equal(db_read(store_db(s->f->store, DB_MAIN), count_unit, &c, &s->e), ERR_NONE);
    return c.n;
}

struct denials {
    struct state *s;
    struct rows rows;
};

static enum errc denied_unit(struct tx *tx, void *ctx, err *e)
{
    struct denials *d = ctx;
    return tx_query(tx, &d->s->a, &test_denied, PARAMS(v_text(S("access.denied"))), &d->rows, e);
}

static struct rows denials(struct state *s)
{
    struct denials d = {.s = s};
    assert_int_equal(db_read(store_db(s->f->store, DB_MAIN), denied_unit, &d, &s->e), ERR_NONE);
    return d.rows;
}

/* --- tests --- */

static void a_thing_is_made_read_and_listed(void **state)
{
    struct state *s = *state;
    char location[200], line[300];
    ask(s, "alice", "POST /api/projects", "", "{\"name\":\"first\"}");
    assert_status(s->w, 201);
    assert_has(s->w, "Content-Type: application/json\r\n");
    assert_has(s->w, "Cache-Control: no-store\r\n");
    assert_has(s->w, "X-Content-Type-Options: nosniff\r\n");
    assert_has(s->w, "X-Request-Id: ");
    assert_has(s->w,
               "RateLimit-Policy: \"principal\";q=6000;w=60\r\nRateLimit: \"principal\";r=5999;t=1\r\n");
    assert_has(s->w, "ETag: \"1\"\r\n");
    assert_has(s->w, "\"name\":\"first\",\"note\":null,\"version\":1}");
    assert_int_equal(n_after, 1);
    header(s->w, "Location: ", location);
    snprintf(line, sizeof line, "GET %s", location);
    ask(s, "alice", line, "", NULL);
    assert_status(s->w, 200);
    assert_has(s->w, "\"name\":\"first\"");
    snprintf(line, sizeof line, "HEAD %s", location);
    ask(s, "alice", line, "", NULL);
    assert_status(s->w, 200);
    assert_has(s->w, "ETag: \"1\"\r\n");
    assert_has_not(s->w, "\"name\"");
    snprintf(line, sizeof line, "GET %s", location);
    ask(s, "alice", line, "If-None-Match: W/\"0\", \"1\"\r\n", NULL);
    assert_status(s->w, 304);
    ask(s, "alice", "GET /api/projects", "", NULL);
    assert_status(s->w, 200);
    assert_has(s->w, "{\"items\":[{\"id\":\"");
    assert_has(s->w, "],\"next_cursor\":null}");
}

static void all_wrong_fields_are_told_at_once_as_a_problem(void **state)
{
    struct state *s = *state;
    ask(s, "alice", "POST /api/projects?x=1", "", "{\"nmae\":\"a\",\"note\":7,\"id\":null}");
    assert_status(s->w, 400);
    assert_has(s->w, "Content-Type: application/problem+json\r\n");
    assert_has(s->w,
               "{\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,\"detail\":\"5 fields are "
               "wrong: x, nmae, id, name, note\","
               "\"instance\":\"/api/projects\",\"code\":\"invalid_request\",\"errors\":["
               "{\"field\":\"x\",\"code\":\"unknown_field\",\"message\":\"is no query parameter here\"},"
               "{\"field\":\"nmae\",\"code\":\"unknown_field\",\"message\":\"is no field here; did you mean "
               "'name'?\"},");
    assert_has(s->w, "\"request_id\":\"");
    ask(s, "alice", "POST /api/projects", "", "{\"name\":\"taken\"}");
    assert_status(s->w, 400);
    assert_has(
        s->w,
        "\"errors\":[{\"field\":\"name\",\"code\":\"duplicate\",\"message\":\"is taken; choose another\"}]");
    ask(s, "alice", "POST /api/projects", "", "{\"name\":");
    assert_status(s->w, 400);
    assert_has(s->w, "\"code\":\"invalid_json\"");
    ask(s, "alice", "POST /api/projects", "", "[1]");
    assert_status(s->w, 400);
    assert_has(s->w, "must be a JSON object");
    ask(s, "alice", "GET /api/projects?limit=0&least=101&workspace=77010000-0000-0000-0000-000000000000", "",
        NULL);
    assert_status(s->w, 400);
    assert_has(s->w, "\"field\":\"limit\",\"code\":\"out_of_range\",\"message\":\"must be from 1 to 200\"");
    assert_has(s->w, "\"field\":\"least\"");
    ask(s, "alice", "GET /api/projects?cursor=nonsense", "", NULL);
    assert_status(s->w, 400);
    assert_int_equal(count_things(s), 0);
}

static void who_may_what_where(void **state)
{
    struct state *s = *state;
    static const struct {
        const char *who, *line, *fields, *body;
        int status;
        const char *part;
    } cases[] = {
        {NULL, "GET /api/projects", "", NULL, 401, "\"code\":\"unauthenticated\""},
        {"nobody", "GET /api/projects", "", NULL, 401, "WWW-Authenticate: Bearer\r\n"},
        {"bob", "GET /api/projects", "", NULL, 400, "name one in X-Catalyst-Workspace"},
        {"bob", "GET /api/projects", "X-Catalyst-Workspace: nonsense\r\n", NULL, 400,
         "X-Catalyst-Workspace must be the id of a workspace"},
        {"bob", "GET /api/projects", "X-Catalyst-Workspace: 77010000-0000-0000-0000-000000000000\r\n", NULL,
         200, "\"items\":[]"},
        {"bob", "GET /api/projects?workspace=77020000-0000-0000-0000-000000000000", "", NULL, 200,
         "\"items\":[]"},
        {"alice", "GET /api/projects?workspace=77020000-0000-0000-0000-000000000000", "", NULL, 404,
         "there is no such workspace"},
        {"bob", "POST /api/projects?workspace=77010000-0000-0000-0000-000000000000", "", "{\"name\":\"n\"}",
         403, "\"code\":\"forbidden\",\"permission\":\"projects.create\""},
        {"key", "GET /api/projects", "", NULL, 200, "\"items\":[]"},
        {"key", "GET /api/projects?workspace=77020000-0000-0000-0000-000000000000", "", NULL, 404,
         "there is no such workspace"},
        {"key", "GET /api/auth/sessions", "", NULL, 403, "API keys may not do this"},
        {"alice", "GET /api/auth/sessions", "", NULL, 204, "Set-Cookie: a=b; HttpOnly\r\n"},
        {"alice", "GET /api/users", "", NULL, 403, "only an administrator of this instance may do this"},
        {"admin", "GET /api/users", "", NULL, 204, ""},
        {"alice", "GET /api/projects/0199f3a2-7c1e-7bbb-8a6e-2f1d9c0b4e55", "", NULL, 404,
         "there is no such thing"},
        {"alice", "GET /api/projects/none", "", NULL, 404, "there is no such thing"},
        {"nobody", "POST /api/auth/login", "", NULL, 204, ""},
        {"alice", "GET /api/nothing", "", NULL, 404, "\"code\":\"not_found\""},
        {"alice", "DELETE /api/projects/none", "", NULL, 405, "Allow: GET, HEAD, PATCH\r\n"},
        {"alice", "PATCH /api/projects", "", NULL, 405, "Allow: GET, HEAD, POST\r\n"},
        {"alice", "GET /api/permissions", "", NULL, 500, "\"detail\":\"an internal error happened\""},
        {NULL, "GET /api/openapi.json", "", NULL, 200, "{\"openapi\":\"3.1.0\","},
    };
    for (size_t i = 0; i < LENGTH_OF(cases); i++) {
        ask(s, cases[i].who, cases[i].line, cases[i].fields, cases[i].body);
        assert_status(s->w, cases[i].status);
        assert_has(s->w, cases[i].part);
        assert_has(s->w, "X-Request-Id: ");
        assert_has_not(s->w, "/var/lib/secret");
    }
}

static void what_the_head_forbids_is_refused_before_the_pool(void **state)
{
    struct state *s = *state;
    char body[3000];
    ask(s, "alice", "POST /api/projects", "Content-Type: text/plain\r\nContent-Length: 2\r\n", NULL);
    assert_status(s->w, 415);
    assert_has(s->w, "\"code\":\"unsupported_media_type\"");
    assert_has(s->w, "\"instance\":\"/api/projects\"");
    memset(body, ' ', sizeof body - 1);
    body[sizeof body - 1] = '\0';
    ask(s, "alice", "POST /api/projects", "", body);
    assert_status(s->w, 413);
    assert_has(s->w, "Content-Type: application/problem+json\r\n");
    ask(s, "alice", "POST /api/projects",
        "Content-Type: application/merge-patch+json\r\nContent-Length: 2\r\n", NULL);
    assert_status(s->w, 415);
}

static void a_change_without_an_event_is_not_committed(void **state)
{
    struct state *s = *state;
    ask(s, "alice", "POST /api/projects", "", "{\"name\":\"silent\"}");
    assert_status(s->w, 500);
    assert_int_equal(n_applied, 1);
    assert_int_equal(n_after, 0);
    assert_int_equal(count_things(s), 0);
}

static void a_patch_merges_and_heeds_if_match(void **state)
{
    struct state *s = *state;
    char location[200], line[300];
    ask(s, "alice", "POST /api/projects", "", "{\"name\":\"a\",\"note\":\"b\"}");
    header(s->w, "Location: ", location);
    snprintf(line, sizeof line, "PATCH %s", location);
    ask(s, "alice", line, "If-Match: \"7\"\r\n", "{\"name\":\"c\"}");
    assert_status(s->w, 412);
    ask(s, "alice", line, "If-Match: \"1\"\r\n", "{\"name\":\"c\",\"note\":null}");
    assert_status(s->w, 200);
    assert_has(s->w, "ETag: \"2\"\r\n");
    assert_has(s->w, "\"name\":\"c\",\"note\":null,\"version\":2}");
    ask(s, "alice", line, "", "{\"name\":\"\",\"x\":1}");
    assert_status(s->w, 400);
    assert_has(s->w, "\"detail\":\"2 fields are wrong: x, name\"");
    ask(s, "alice", line, "", "[]");
    assert_status(s->w, 400);
}

static void lists_go_on_and_can_be_csv(void **state)
{
    struct state *s = *state;
    char cursor[200], line[400];
    for (int i = 0; i < 5; i++)
        ask(s, "alice", "POST /api/projects", "", i == 2 ? "{\"name\":\"=1+1\"}" : "{\"name\":\"a,b\"}");
    ask(s, "alice", "GET /api/projects?limit=3", "", NULL);
    assert_int_equal(wire_count(s->w, "\"name\""), 3);
    header(s->w, "\"next_cursor\":\"", cursor);
    *strchr(cursor, '"') = '\0';
    snprintf(line, sizeof line, "GET /api/projects?limit=3&cursor=%s", cursor);
    ask(s, "alice", line, "", NULL);
    assert_int_equal(wire_count(s->w, "\"name\""), 2);
    assert_has(s->w, "\"next_cursor\":null");
    ask(s, "alice", "GET /api/projects?limit=3", "Accept: text/csv\r\n", NULL);
    assert_status(s->w, 200);
    assert_has(s->w, "Content-Type: text/csv; charset=utf-8\r\n");
    assert_has(s->w, "Vary: Accept\r\n");
    assert_has(s->w, "Link: </api/projects?cursor=");
    assert_has(s->w, "&limit=3>; rel=\"next\"\r\n");
    assert_has(s->w, "\r\n\r\nid,name,note,version\r\n");
    assert_has(s->w, ",\"a,b\",,1\r\n");
    /* Two of one millisecond stand in any order. */
    ask(s, "alice", "GET /api/projects?limit=5", "Accept: text/csv\r\n", NULL);
    assert_has(s->w, ",'=1+1,,1\r\n");
}

static void a_repeated_key_gets_the_first_answer(void **state)
{
    struct state *s = *state;
    char first[200], again[200];
    ask(s, "alice", "POST /api/projects", "Idempotency-Key: k1\r\n", "{\"name\":\"once\"}");
    assert_status(s->w, 201);
    assert_has_not(s->w, "Idempotency-Replayed");
    header(s->w, "Location: ", first);
    ask(s, "alice", "POST /api/projects", "Idempotency-Key: \"k1\"\r\n", "{\"name\":\"once\"}");
    assert_status(s->w, 201);
    assert_has(s->w, "Idempotency-Replayed: true\r\n");
    assert_has(s->w, "ETag: \"1\"\r\n");
    assert_has(s->w, "\"name\":\"once\"");
    header(s->w, "Location: ", again);
    assert_string_equal(first, again);
    assert_int_equal(count_things(s), 1);
    assert_int_equal(n_after, 1);
    ask(s, "alice", "POST /api/projects", "Idempotency-Key: k1\r\n", "{\"name\":\"other\"}");
    assert_status(s->w, 422);
    assert_has(s->w, "\"code\":\"idempotency_key_reused\"");
    ask(s, "key", "POST /api/projects", "Idempotency-Key: k1\r\n", "{\"name\":\"other\"}");
    assert_status(s->w, 201);
    ask(s, "alice", "POST /api/projects", "Idempotency-Key: a b\r\n", "{\"name\":\"other\"}");
    assert_status(s->w, 400);
    ask(s, "alice", "POST /api/projects", "Idempotency-Key: k2\r\n", "{\"name\":\"taken\"}");
    assert_status(s->w, 400);
    ask(s, "alice", "POST /api/projects", "Idempotency-Key: k2\r\n", "{\"name\":\"free\"}");
    assert_status(s->w, 201);
    assert_int_equal(count_things(s), 3);
}

/* The connection is cut in the COMMIT, once. */
static void a_commit_whose_outcome_is_not_known_is_cleared_up_by_the_key(void **state)
{
    struct state *s = *state;
    if (!s->f->is_postgres) return;
    postgres_do(s->f->url,
                "CREATE SEQUENCE main.cuts; CREATE FUNCTION main.cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                "IF nextval('main.cuts') % 2 = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; "
                "RETURN NULL; END $$; CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON main.events DEFERRABLE INITIALLY "
                "DEFERRED FOR EACH ROW EXECUTE FUNCTION main.cut()");
    ask(s, "alice", "POST /api/projects", "Idempotency-Key: k1\r\n", "{\"name\":\"once\"}");
    assert_status(s->w, 201);
    ask(s, "alice", "POST /api/projects", "Idempotency-Key: k1\r\n", "{\"name\":\"once\"}");
    assert_status(s->w, 201);
    assert_int_equal(count_things(s), 1);
    ask(s, "alice", "POST /api/projects", "", "{\"name\":\"without a key\"}");
    assert_status(s->w, 503);
    assert_has(s->w, "not known");
    assert_int_equal(count_things(s), 1);
}

static void the_copy_of_an_answer_has_no_secret(void **state)
{
    struct state *s = *state;
    ask(s, "alice", "POST /api/gateway/keys", "Idempotency-Key: s\r\n", "{\"name\":\"key\"}");
    assert_status(s->w, 201);
    assert_has(s->w, "\"key\":\"cvk_planted\"");
    ask(s, "alice", "POST /api/gateway/keys", "Idempotency-Key: s\r\n", "{\"name\":\"key\"}");
    assert_status(s->w, 201);
    assert_has(s->w, "\"name\":\"key\"}");
    assert_has_not(s->w, "cvk_planted");
    assert_int_equal(count_things(s), 1);
}

static void two_requests_with_one_key_at_the_same_time_make_one_thing(void **state)
{
    struct state *s = *state;
    struct wire *w[8];
    set_door(true);
    for (unsigned i = 0; i < LENGTH_OF(w); i++)
        w[i] = begin(s, "alice", "POST /api/projects", "Idempotency-Key: both\r\n", "{\"name\":\"wait\"}");
    POLL(s->b, waiting_at_door() == (int)LENGTH_OF(w));
    set_door(false);
    unsigned n_replayed = 0;
    for (unsigned i = 0; i < LENGTH_OF(w); i++) {
        WAIT(s->b, wire_ended(w[i]));
        assert_status(w[i], 201);
        n_replayed += wire_count(w[i], "Idempotency-Replayed: true");
    }
    assert_int_equal(n_replayed, LENGTH_OF(w) - 1);
    assert_int_equal(count_things(s), 1);
}

static void refusals_are_events_and_a_flood_of_them_is_counted(void **state)
{
    struct state *s = *state;
    for (unsigned i = 0; i < 25; i++)
        ask(s, "bob", "POST /api/projects?workspace=77010000-0000-0000-0000-000000000000", "",
            "{\"name\":\"n\"}");
    unsigned n = denials(s).n; /* a minute may have ended meanwhile: then there are more of them */
    assert_in_range(n, 10, 21);
    api_free(s->api);
    s->api = NULL;
    struct rows rows = denials(s);
    assert_in_range(rows.n, n, n + 1);
    str first = val_str(&row_at(&rows, 0)[0]), last = val_str(&row_at(&rows, rows.n - 1)[0]);
    assert_true(str_find(first, S("\"permission\":\"projects.create\"")) > 0);
    assert_true(str_find(first, S("\"count\":1")) > 0);
    assert_true(str_find(first, S("\"status\":\"failure\"")) > 0);
    if (rows.n == 11) assert_true(str_find(last, S("\"count\":15")) > 0);
}

static void rates_are_kept_for_a_principal_and_for_an_address(void **state)
{
    struct state *s = *state;
    static const struct config_setting settings[] = {
        {STR_LIT("api.rate_per_minute"), STR_LIT("3"), STR_LIT("")},
        {STR_LIT("api.rate_per_address_per_minute"), STR_LIT("6"), STR_LIT("")}};
    tear_down(state);
    *state = s = open_with(settings, LENGTH_OF(settings));
    for (unsigned i = 0; i < 3; i++) {
        ask(s, "alice", "GET /api/projects", "", NULL);
        assert_status(s->w, 200);
    }
    assert_has(s->w, "RateLimit: \"principal\";r=0;");
    ask(s, "alice", "GET /api/projects", "", NULL);
    assert_status(s->w, 429);
    assert_has(s->w, "\"code\":\"rate_limited\"");
    assert_has(s->w, "Retry-After: ");
    ask(s, "key", "GET /api/projects", "", NULL);
    assert_status(s->w, 200);
    ask(s, NULL, "POST /api/auth/login", "", NULL);
    assert_status(s->w, 204);
    ask(s, "key", "GET /api/projects", "", NULL);
    assert_status(s->w, 429);
    assert_has(s->w, "more than 6 requests a minute from this address");
}

static void a_full_pool_answers_503(void **state)
{
    struct state *s = *state;
    static const struct config_setting settings[] = {{STR_LIT("api.threads"), STR_LIT("1"), STR_LIT("")},
                                                     {STR_LIT("api.queue"), STR_LIT("1"), STR_LIT("")}};
    tear_down(state);
    *state = s = open_with(settings, LENGTH_OF(settings));
    set_door(true);
    struct wire *first = begin(s, "alice", "GET /api/projects/templates", "", NULL);
    POLL(s->b, waiting_at_door() == 1);
    struct wire *second = begin(s, "alice", "GET /api/projects/templates", "", NULL);
    struct wire *third = begin(s, "alice", "GET /api/projects/templates", "", NULL);
    WAIT(s->b, wire_ended(second) || wire_ended(third));
    struct wire *refused = wire_ended(second) ? second : third, *queued = refused == second ? third : second;
    assert_status(refused, 503);
    assert_has(refused, "Retry-After: 1\r\n");
    assert_has(refused, "\"code\":\"busy\"");
    set_door(false);
    WAIT(s->b, wire_ended(first) && wire_ended(queued));
    assert_status(first, 204);
    assert_status(queued, 204);
}

static void a_client_that_goes_away_harms_nobody(void **state)
{
    struct state *s = *state;
    set_door(true);
    struct wire *gone = begin(s, "alice", "POST /api/projects", "", "{\"name\":\"wait\"}");
    POLL(s->b, waiting_at_door() == 1);
    wire_reset(gone);
    WAIT(s->b, s->server.first == NULL);
    set_door(false);
    POLL(s->b, n_after == 1);
    assert_int_equal(count_things(s), 1);
    ask(s, "alice", "GET /api/projects", "", NULL);
    assert_status(s->w, 200);
}

/* As a server that hung finds it: the client has given up, and perhaps asked another one. */
static void a_change_that_nobody_waits_for_any_more_is_not_begun(void **state)
{
    struct state *s = *state;
    wire_close(begin(s, "alice", "POST /api/projects", "", "{\"name\":\"late\"}"));
    WAIT(s->b, s->server.first != NULL);
    WAIT(s->b, s->server.first == NULL);
    ask(s, "alice", "POST /api/projects", "", "{\"name\":\"in time\"}");
    assert_status(s->w, 201);
    assert_int_equal(count_things(s), 1);
}

static void a_stop_beyond_its_deadline_tells_the_client(void **state)
{
    struct state *s = *state;
    set_door(true);
    struct wire *w = begin(s, "alice", "GET /api/projects/templates", "", NULL);
    POLL(s->b, waiting_at_door() == 1);
    server_stop(&s->server, NULL);
    server_abort(&s->server);
    WAIT(s->b, wire_ended(w));
    assert_status(w, 503);
    assert_has(w, "the server stops before this request could be answered");
}

static void a_stream_takes_the_connection_over(void **state)
{
    struct state *s = *state;
    ask(s, NULL, "GET /api/events", "", NULL);
    assert_status(s->w, 401);
    ask(s, "alice", "GET /api/events", "Last-Event-ID: 41\r\n", NULL);
    assert_status(s->w, 200);
    assert_has(s->w, "Cache-Control: no-store\r\n");
    assert_has(s->w, "X-Request-Id: ");
    assert_has(s->w, "\r\n\r\ndata: 41\n\n");
}

/* --- tables that do not fit rbac.json --- */

static void refuses_to_start(struct state *s, const struct api_route *route, const char *why)
{
    struct api *a;
    struct api_table wrong = {"wrong", route, 1};
    struct api_mount mount = {&wrong, NULL};
    struct api_setup setup = {.store = s->f->store,
                              .config = s->config,
                              .mounts = &mount,
                              .n_mounts = 1,
                              .authenticate = authenticate,
                              .authorize = authorize,
                              .only_workspace = only_workspace};
    assert_int_equal(api_new(&a, &setup, &s->e), ERR_INTERNAL);
    if (!strstr(s->e.msg, why)) fail_msg("not '%s': %s", why, s->e.msg);
}

static void a_route_that_its_row_does_not_agree_with_does_not_start(void **state)
{
    struct state *s = *state;
    struct api_route route = routes[0];
    route.path = "/api/unheard-of";
    refuses_to_start(s, &route, "GET /api/unheard-of has no row in rbac.json");
    route = routes[0];
    route.permission = PERMISSION_PROJECTS_CREATE;
    refuses_to_start(s, &route, "it asks for 'projects.create', its row in rbac.json for 'projects.read'");
    route = routes[0];
    route.access = ACCESS_PUBLIC;
    refuses_to_start(s, &route, "it asks for '(public)'");
    route = routes[6];
    route.access = ACCESS_SESSION;
    refuses_to_start(s, &route, "lets API keys in");
}

static void the_document_is_json_and_every_reference_in_it_leads_somewhere(void **state)
{
    struct state *s = *state;
    struct buf out;
    struct json *v;
    struct api_mount mount = {&table, NULL};
    buf_init(&out, 1 << 22);
    api_openapi(&mount, 1, &out);
    assert_int_equal(buf_err(&out), ERR_NONE);
    assert_int_equal(json_parse(&s->a, buf_str(&out), &v, &s->e), ERR_NONE);
    unsigned n = 0;
    ptrdiff_t at;
    for (str rest = buf_str(&out); (at = str_find(rest, S("\"#/"))) >= 0; n++) {
        rest = str_skip(rest, (size_t)at + 3);
        str ref = str_cut(&rest, '"');
        const struct json *o = v;
        for (str path = ref; path.len;)
            o = json_get(o, str_cut(&path, '/'));
        if (!o) fail_msg("%.*s leads nowhere", STR(ref));
    }
    assert_true(n > 20);
    const struct json *post = json_get(json_get(json_get(v, S("paths")), S("/api/projects")), S("post"));
    assert_true(str_eq(json_get(post, S("x-permission"))->text, S("projects.create")));
    assert_non_null(json_get(json_get(json_get(v, S("paths")), S("/api/projects/{id}")), S("patch")));
    buf_clear(&out);
    api_reference(&mount, 1, &out);
    assert_int_equal(buf_err(&out), ERR_NONE);
    assert_true(
        str_find(buf_str(&out), S("### POST /api/projects\n\nA new thing.\n\nAsks for `projects.create`; API "
                                  "keys: yes. Takes [ThingInput](#thinginput)")) > 0);
    buf_fini(&out);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_thing_is_made_read_and_listed),
        T(all_wrong_fields_are_told_at_once_as_a_problem),
        T(who_may_what_where),
        T(what_the_head_forbids_is_refused_before_the_pool),
        T(a_change_without_an_event_is_not_committed),
        T(a_patch_merges_and_heeds_if_match),
        T(lists_go_on_and_can_be_csv),
        T(a_repeated_key_gets_the_first_answer),
        T(a_commit_whose_outcome_is_not_known_is_cleared_up_by_the_key),
        T(the_copy_of_an_answer_has_no_secret),
        T(two_requests_with_one_key_at_the_same_time_make_one_thing),
        T(refusals_are_events_and_a_flood_of_them_is_counted),
        T(rates_are_kept_for_a_principal_and_for_an_address),
        T(a_full_pool_answers_503),
        T(a_client_that_goes_away_harms_nobody),
        T(a_change_that_nobody_waits_for_any_more_is_not_begun),
        T(a_stop_beyond_its_deadline_tells_the_client),
        T(a_stream_takes_the_connection_over),
        T(a_route_that_its_row_does_not_agree_with_does_not_start),
        T(the_document_is_json_and_every_reference_in_it_leads_somewhere),
    };
    add_tables();
    return RUN_ON_BOTH(tests);
}
