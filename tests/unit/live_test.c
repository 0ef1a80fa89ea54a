/* The live stream against clients that do not read, that come from far behind, that lose what let them in.
 * On both engines. */
#include "store_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "base/stats.h"
#include "core/api.h"
#include "core/config.h"
#include "core/events.h"
#include "core/live/internal.h"
#include "core/nodes.h"
#include "loopback.h"
#include "net/options.h"

static const uint8_t master[32] = {1};
static const uuid alice = {{0xa1}}, session = {{0x5e}}, w1 = {{1}}, w2 = {{2}};

struct state {
    struct store_fixture *f;
    struct events *log;
    struct live *live;
    struct nodes *nodes; /* of tests with other nodes */
    struct {             /* another node on the same database, without a server */
        struct store *store;
        struct events *log;
        struct nodes *nodes;
        struct live *live;
    } far;
    struct api *api;
    struct arena a;
    struct config *config;
    struct bench *b;
    struct server_shared shared;
    struct server server;
    struct router router;
    uint16_t port;
    unsigned n_idle, n_events;
    _Atomic enum errc still; /* what the recheck says */
    err e;
};

/* --- who may listen --- */

static enum errc authenticate(void *ctx, struct api_request *r, const struct http_head *h, err *e)
{
    (void)ctx;
    (void)h;
    (void)e;
    r->who = (struct principal){.kind = PRINCIPAL_SESSION,
                                .user_id = alice,
                                .credential_id = session,
                                .key_scopes = permission_set_all()};
    return ERR_NONE;
}

static enum errc authorize(void *ctx, struct api_request *r, struct tx *tx, err *e)
{
    (void)ctx;
    (void)tx;
    (void)e;
    r->may = *role_permissions(ROLE_VIEWER);
    r->role = S("viewer");
    return ERR_NONE;
}

static enum errc only_workspace(void *ctx, struct api_request *r, struct tx *tx, uuid *out, err *e)
{
    (void)ctx;
    (void)r;
    (void)tx;
    (void)e;
    *out = w1;
    return ERR_NONE;
}

static enum errc recheck(void *ctx, struct api_request *r, struct tx *tx, err *e)
{
    struct state *s = ctx;
    return s->still ? err_code(e, s->still) : authorize(NULL, r, tx, e);
}

/* --- set-up --- */

static void on_idle(struct server *server)
{
    ((struct state *)((char *)server - offsetof(struct state, server)))->n_idle++;
}

static void configure(struct state *s)
{
    static const struct option_table *const tables[] = {&net_options, &api_options, &live_options,
                                                        &nodes_options};
    const struct config_setting flags[] = {{S("live.recheck_ms"), S("50ms"), S("")},
                                           {S("live.heartbeat_ms"), S("50ms"), S("")},
                                           {S("node.heartbeat_ms"), S("50ms"), S("")},
                                           {S("live.connections_per_user"), S("1000"), S("")}};
    struct config_source source = {
        .flags = flags, .n_flags = LENGTH_OF(flags), .tables = tables, .n_tables = LENGTH_OF(tables)};
    struct buf problems;
    buf_init(&problems, 1 << 16);
    if (config_load(&s->a, &source, &s->config, &problems, &s->e) != ERR_NONE)
        fail_msg("%.*s", STR(buf_str(&problems)));
    buf_fini(&problems);
}

static struct nodes *start_node(struct state *s, struct store *store, uint8_t id)
{
    const uuid node = {{id}};
    struct nodes *n;
    assert_int_equal(nodes_new(&n, store, s->config, &node, S("here:1"), &s->e), ERR_NONE);
    if (nodes_start(n, &s->e) != ERR_NONE) fail_msg("%s", s->e.msg);
    return n;
}

static int set_up_how(void **state, bool has_nodes)
{
    struct state *s = calloc(1, sizeof *s);
    void *fixture = NULL;
    struct http_handler handler = router_handler();
    assert_int_equal(fixture_set_up(&fixture), 0);
    s->f = fixture;
    arena_init(&s->a, 1 << 24, 0);
    assert_int_equal(stats_init(1), ERR_NONE);
    configure(s);
    assert_int_equal(events_new(&s->log, s->f->store, master, &s->e), ERR_NONE);
    assert_int_equal(person_key_ensure(s->f->store, &alice, 1, &s->e), ERR_NONE);
    if (has_nodes) s->nodes = start_node(s, s->f->store, 1);
    struct live_setup live = {
        .store = s->f->store, .config = s->config, .nodes = s->nodes, .recheck = recheck, .ctx = s};
    assert_int_equal(live_new(&s->live, &live, &s->e), ERR_NONE);
    events_on_sealed(s->log, live_sealed, s->live);
    assert_int_equal(events_start(s->log, &s->e), ERR_NONE);
    if (has_nodes) assert_int_equal(store_listen(s->f->store, &s->e), ERR_NONE);
    struct api_mount mount = {&live_api, s->live};
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
                                              .queue_bytes = 16 << 10,
                                              .connections = 100,
                                              .connections_per_address = 100};
    router_init(&s->router, 10000, 20);
    api_mount_on(s->api, &s->router);
    assert_int_equal(server_bind(&s->shared, S("127.0.0.1"), 0, &s->e), ERR_NONE);
    assert_int_equal(server_start(&s->server, &s->b->loop, &s->shared, &handler, &s->router, &s->e),
                     ERR_NONE);
    s->port = ntohs(((const struct sockaddr_in *)&s->shared.address)->sin_port);
    *state = s;
    return 0;
}

static int set_up(void **state) { return set_up_how(state, false); }
static int set_up_with_nodes(void **state) { return set_up_how(state, true); }

static void far_end(struct state *s)
{
    if (!s->far.store) return;
    store_deafen(s->far.store);
    live_free(s->far.live);
    nodes_free(s->far.nodes);
    events_free(s->far.log);
    store_close(s->far.store);
    s->far.store = NULL;
}

static void far_start(struct state *s)
{
    assert_int_equal(store_open(&s->far.store, &s->f->source, &s->e), ERR_NONE);
    assert_int_equal(events_new(&s->far.log, s->far.store, master, &s->e), ERR_NONE);
    s->far.nodes = start_node(s, s->far.store, 2);
    struct live_setup live = {
        .store = s->far.store, .config = s->config, .nodes = s->far.nodes, .recheck = recheck, .ctx = s};
    assert_int_equal(live_new(&s->far.live, &live, &s->e), ERR_NONE);
    assert_int_equal(store_listen(s->far.store, &s->e), ERR_NONE);
}

static int tear_down(void **state)
{
    struct state *s = *state;
    void *fixture = s->f;
    live_stop(s->live);
    server_stop(&s->server, on_idle);
    server_abort(&s->server);
    server_abort(&s->server);
    WAIT(s->b, s->n_idle == 1);
    api_free(s->api);
    events_stop(s->log);
    far_end(s);
    store_deafen(s->f->store);
    live_free(s->live);
    nodes_free(s->nodes);
    bench_free(s->b);
    server_fini(&s->server);
    server_shared_fini(&s->shared);
    events_free(s->log);
    stats_fini();
    arena_fini(&s->a);
    free(s);
    return fixture_tear_down(&fixture);
}

/* --- events --- */

struct batch {
    struct state *s;
    const uuid *workspace;
    unsigned n;
};

static enum errc batch_unit(struct tx *tx, void *ctx, err *e)
{
    const struct batch *b = ctx;
    enum errc rc = ERR_NONE;
    for (unsigned i = 0; i < b->n && rc == ERR_NONE; i++)
        rc = tx_event(tx,
                      &(struct event){
                          .id = event_id_of(&alice, b->s->n_events + i),
                          .at_us = 1700000000000000,
                          .type = S("thing.happened"),
                          .workspace_id = *b->workspace,
                          .actor = ACTOR_USER,
                          .actor_id = alice,
                          .resource_type = S("thing"),
                      },
                      e);
    return rc;
}

static enum errc head_unit(struct tx *tx, void *ctx, err *e) { return events_head(tx, ctx, e); }

static void add_events(struct state *s, const uuid *workspace, unsigned n)
{
    struct batch b = {s, workspace, n};
    if (db_write(store_db(s->f->store, DB_MAIN), batch_unit, &b, &s->e) != ERR_NONE) fail_msg("%s", s->e.msg);
    s->n_events += n;
}

/* Until the log has numbered everything. */
static void wait_for_seal(struct state *s)
{
    for (unsigned i = 0; i < 10000; i++) {
        int64_t head = 0;
        assert_int_equal(db_read(store_db(s->f->store, DB_MAIN), head_unit, &head, &s->e), ERR_NONE);
        if (head == s->n_events) return;
        usleep(2000);
    }
    fail_msg("the log was not sealed");
}

/* --- clients --- */

static struct wire *listen_from(struct state *s, const char *version, const char *fields)
{
    char text[400];
    struct wire *w = wire_connect(s->b, s->port);
    int n = snprintf(text, sizeof text, "GET /api/events HTTP/%s\r\nHost: x\r\n%s\r\n", version, fields);
    wire_send(w, str_of(text, (size_t)n));
    return w;
}

/* The numbers that a client has got are all from first to last, in order. */
static void assert_dense(const struct wire *w, int64_t first, int64_t last)
{
    str rest = buf_str(&w->in);
    ptrdiff_t at;
    int64_t next = first;
    while ((at = str_find(rest, S("\nevent: thing.happened\n"))) >= 0) {
        str before = str_take(rest, (size_t)at);
        size_t from = before.len;
        while (from && before.p[from - 1] != ' ')
            from--;
        int64_t number = 0;
        assert_true(str_to_i64(str_skip(before, from), &number));
        assert_int_equal(number, next);
        next++;
        rest = str_skip(rest, (size_t)at + 10);
    }
    assert_int_equal(next, last + 1);
}

static bool has_last(const struct wire *w, unsigned n)
{
    char text[64];
    snprintf(text, sizeof text, "id: %u\nevent: thing.happened", n);
    return wire_has(w, text);
}

static void who_does_not_read_loses_live_frames_but_nothing_of_the_log(void **state)
{
    struct state *s = *state;
    const unsigned batches = 8,
                   each = 500; /* more than the ring of a loop, and more bytes than are in flight */
    int small = 64 << 10, fd;
    struct wire *w = listen_from(s, "1.1", "");
    WAIT(s->b, wire_has(w, "event: ready"));
    assert_int_equal(uv_fileno((uv_handle_t *)&w->tcp, &fd), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    assert_int_equal(setsockopt(s->server.first->sock.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    wire_unread(w);
    for (unsigned i = 0; i < batches; i++) {
        add_events(s, &w1, each);
        bench_turn(s->b);
    }
    struct buf metrics;
    buf_init(&metrics, 1 << 20);
    for (unsigned i = 0; i < 2000 && str_find(buf_str(&metrics), S("catalyst_live_dropped_total 1")) < 0;
         i++) {
        live_publish(s->live, &w1, NULL, PERMISSION_CHAT_READ, S("tick"), S("{}"));
        bench_turn(s->b);
        buf_clear(&metrics);
        stats_write(&metrics);
        usleep(1000);
    }
    assert_true(str_find(buf_str(&metrics), S("catalyst_live_dropped_total 1")) > 0);
    buf_fini(&metrics);
    wire_read(w);
    WAIT(s->b, has_last(w, batches * each));
    assert_dense(w, 1, batches * each);
}

static void who_comes_from_far_behind_reads_pages_and_then_goes_on_live(void **state)
{
    struct state *s = *state;
    for (unsigned i = 0; i < 6; i++) {
        add_events(s, &w1, 300);
        add_events(s, &w2, 1); /* another workspace's, which leave gaps in the numbers */
    }
    wait_for_seal(s);
    struct wire *all = listen_from(s, "1.1", "Last-Event-ID: 0\r\n"),
                *some = listen_from(s, "1.1", "Last-Event-ID: 1500\r\n");
    WAIT(s->b, has_last(all, 1805) && has_last(some, 1805));
    add_events(s, &w1, 5);
    WAIT(s->b, has_last(all, 1811) && has_last(some, 1811));
    assert_int_equal(wire_count(all, "event: thing.happened"), 1805);
    /* of the numbers 1501 to 1811 all but 1505 and 1806, which are the other workspace's */
    assert_int_equal(wire_count(some, "event: thing.happened"), 309);
    assert_false(has_last(some, 1505));
    assert_false(has_last(all, 1806));
}

static void a_position_beyond_the_log_begins_at_its_end(void **state)
{
    struct state *s = *state;
    add_events(s, &w1, 3);
    wait_for_seal(s);
    struct wire *w = listen_from(s, "1.1", "Last-Event-ID: 99\r\n");
    WAIT(s->b, wire_has(w, "event: ready"));
    add_events(s, &w1, 1);
    WAIT(s->b, has_last(w, s->n_events));
    assert_int_equal(wire_count(w, "event: thing.happened"), 1);
}

static void an_old_client_gets_the_stream_without_chunks(void **state)
{
    struct state *s = *state;
    struct wire *w = listen_from(s, "1.0", "Last-Event-ID: 0\r\n");
    WAIT(s->b, wire_has(w, "event: ready"));
    add_events(s, &w1, 2);
    WAIT(s->b, has_last(w, 2));
    assert_false(wire_has(w, "chunked"));
    assert_true(wire_has(w, "\n\nid: 1\nevent"));
    live_stop(s->live);
    WAIT(s->b, wire_ended(w));
}

static void a_frame_reaches_whom_it_is_for(void **state)
{
    struct state *s = *state;
    static const uuid bob = {{0xb0}}, nobody, everywhere;
    struct wire *w = listen_from(s, "1.1", "");
    WAIT(s->b, wire_has(w, "event: ready"));
    live_publish(s->live, &w2, &nobody, PERMISSION_NONE, S("other.workspace"), S("{}"));
    live_publish(s->live, &w1, &nobody, PERMISSION_AUDIT_READ, S("not.allowed"), S("{}"));
    live_publish(s->live, &w1, &bob, PERMISSION_NONE, S("bob.alone"), S("{}"));
    live_publish(s->live, &w2, &alice, PERMISSION_NONE, S("alice.elsewhere"), S("{}"));
    live_publish(s->live, &w1, &nobody, PERMISSION_CHAT_READ, S("everybody.with"), S("{\"a\":1}"));
    live_publish(s->live, &w1, &nobody, PERMISSION_NONE, S("everybody"), S("1\n2"));
    live_publish(s->live, &w1, &bob, PERMISSION_CHAT_READ, S("bob.and.others"), S("{}"));
    live_publish(s->live, &w1, &alice, PERMISSION_AUDIT_READ, S("alice.or.auditors"), S("{}"));
    live_publish(s->live, &everywhere, &alice, PERMISSION_NONE, S("alice.anywhere"), S("{}"));
    WAIT(s->b, wire_has(w, "event: alice.anywhere\ndata: {}\n\n"));
    assert_true(wire_has(w, "event: everybody.with\ndata: {\"a\":1}\n\n"));
    assert_true(wire_has(w, "event: everybody\ndata: 1\ndata: 2\n\n"));
    assert_true(wire_has(w, "event: bob.and.others"));
    assert_true(wire_has(w, "event: alice.or.auditors"));
    assert_false(wire_has(w, "other.workspace"));
    assert_false(wire_has(w, "not.allowed"));
    assert_false(wire_has(w, "bob.alone"));
    assert_false(wire_has(w, "alice.elsewhere"));
}

static void a_stream_ends_when_it_is_revoked_or_a_recheck_fails(void **state)
{
    struct state *s = *state;
    static const uuid other = {{9}};
    struct wire *first = listen_from(s, "1.1", ""), *second;
    WAIT(s->b, wire_has(first, "event: ready"));
    live_revoke(s->live, &other, NULL, NULL);
    live_revoke(s->live, &session, &other, NULL);
    s->still = ERR_UNAVAILABLE; /* nothing can be told from that */
    WAIT(s->b, wire_count(first, "\r\n:\n\n") >= 4);
    assert_false(wire_ended(first));
    live_revoke(s->live, NULL, &alice, &w1);
    WAIT(s->b, wire_ended(first));
    assert_true(wire_has(first, "\r\n0\r\n\r\n"));
    s->still = ERR_NONE;
    second = listen_from(s, "1.1", "");
    WAIT(s->b, wire_has(second, "event: ready"));
    s->still = ERR_UNAUTHENTICATED;
    WAIT(s->b, wire_ended(second));
}

static void many_come_and_go_while_events_are_written(void **state)
{
    struct state *s = *state;
    struct wire *w[12];
    for (unsigned round = 0; round < 15; round++) {
        for (unsigned i = 0; i < LENGTH_OF(w); i++)
            w[i] = listen_from(s, "1.1", i % 2 ? "Last-Event-ID: 0\r\n" : "");
        add_events(s, &w1, 50);
        for (unsigned i = 0; i < LENGTH_OF(w); i++)
            if (i % 3 == 0) WAIT(s->b, wire_has(w[i], "event: ready"));
        for (unsigned i = 0; i < LENGTH_OF(w);
             i++) /* some before their answer, some in the middle of a page */
            wire_reset(w[i]);
        bench_turn(s->b);
    }
    struct wire *last = listen_from(s, "1.1", "Last-Event-ID: 0\r\n");
    WAIT(s->b, has_last(last, s->n_events));
    assert_dense(last, 1, s->n_events);
}

/* --- other nodes --- */

/* For what no event of the loop tells. */
#define UNTIL(b, condition)                                                                                  \
    for (unsigned turns_ = 0; !(condition); turns_++) {                                                      \
        if (turns_ > BENCH_DEADLINE_MS) fail_msg("line %d: it never came that %s", __LINE__, #condition);    \
        bench_turn(b);                                                                                       \
        usleep(1000);                                                                                        \
    }

SQL(test_rows, DB_MAIN, SQL_INSTANCE, "", "SELECT COUNT(*) FROM live_frames");

static enum errc rows_unit(struct tx *tx, void *ctx, err *e)
{
    struct arena a;
    const struct val *row;
    arena_init(&a, 4096, 512);
    enum errc rc = tx_query_row(tx, &a, &test_rows, NULL, 0, &row, e);
    if (rc == ERR_NONE) *(int64_t *)ctx = val_int(row);
    arena_fini(&a);
    return rc;
}

static int64_t n_rows(struct state *s)
{
    int64_t n = -1;
    assert_int_equal(db_read(store_db(s->f->store, DB_MAIN), rows_unit, &n, &s->e), ERR_NONE);
    return n;
}

static void frames_of_another_node_arrive_once_and_in_order(void **state)
{
    struct state *s = *state;
    static const uuid bob = {{0xb0}};
    char text[80];
    if (!s->f->is_postgres) return;
    far_start(s);
    UNTIL(s->b, nodes_alive(s->nodes) == 2 && nodes_alive(s->far.nodes) == 2);
    assert_false(live_is_heard(s->far.live)); /* nobody listens: it costs nothing */
    live_publish(s->far.live, &w1, NULL, PERMISSION_NONE, S("too.early"), S("{}"));
    struct wire *w = listen_from(s, "1.1", "");
    WAIT(s->b, wire_has(w, "event: ready"));
    UNTIL(s->b, live_is_heard(s->far.live));
    usec before = clock_mono_us();
    live_publish(s->far.live, &w1, &bob, PERMISSION_NONE, S("bob.alone"), S("{}"));
    live_publish(s->far.live, &w2, NULL, PERMISSION_CHAT_READ, S("other.workspace"), S("{}"));
    live_publish(s->far.live, &w1, NULL, PERMISSION_AUDIT_READ, S("not.allowed"), S("{}"));
    live_publish(s->far.live, &w1, &alice, PERMISSION_AUDIT_READ, S("alice.or.auditors"), S("{}"));
    live_publish(s->far.live, &w1, NULL, PERMISSION_CHAT_READ, S("everybody.with"), S("1\n2"));
    WAIT(s->b, wire_has(w, "event: everybody.with\ndata: 1\ndata: 2\n\n"));
    assert_true(clock_mono_us() - before < 1 * USEC_PER_S);
    assert_true(wire_has(w, "alice.or.auditors"));
    for (unsigned i = 0; i < 500; i++) {
        int n = snprintf(text, sizeof text, "{\"n\":%u}", i);
        live_publish(s->far.live, &w1, NULL, PERMISSION_NONE, S("tick"), str_of(text, (size_t)n));
        if (i % 50 == 0) bench_turn(s->b);
    }
    WAIT(s->b, wire_has(w, "data: {\"n\":499}\n\n"));
    assert_int_equal(wire_count(w, "event: tick"), 500);
    ptrdiff_t at = 0;
    for (unsigned i = 0; i < 500; i++) {
        int n = snprintf(text, sizeof text, "data: {\"n\":%u}\n", i);
        ptrdiff_t found = str_find(str_skip(buf_str(&w->in), (size_t)at), str_of(text, (size_t)n));
        assert_true(found >= 0);
        at += found;
    }
    assert_false(wire_has(w, "too.early"));
    assert_false(wire_has(w, "bob.alone"));
    assert_false(wire_has(w, "other.workspace"));
    assert_false(wire_has(w, "not.allowed"));
}

static void a_node_that_starts_again_is_heard_again(void **state)
{
    struct state *s = *state;
    char event[32], last[32];
    if (!s->f->is_postgres) return;
    struct wire *w = listen_from(s, "1.1", "");
    WAIT(s->b, wire_has(w, "event: ready"));
    for (unsigned i = 0; i < 3; i++) {
        int n = snprintf(event, sizeof event, "round.%u", i),
            n_last = snprintf(last, sizeof last, "last.%u", i);
        far_start(s);
        UNTIL(s->b, live_is_heard(s->far.live) && nodes_alive(s->nodes) == 2);
        live_publish(s->far.live, &w1, NULL, PERMISSION_NONE, str_of(event, (size_t)n), S("{}"));
        WAIT(s->b, wire_has(w, event));
        live_publish(s->far.live, &w1, NULL, PERMISSION_NONE, str_of(last, (size_t)n_last), S("{}"));
        far_end(s); /* what waits goes out before it ends */
        UNTIL(s->b, wire_has(w, last) && nodes_alive(s->nodes) == 1);
    }
    for (unsigned i = 0; i < 3; i++) {
        snprintf(event, sizeof event, "round.%u", i);
        assert_int_equal(wire_count(w, event), 1);
    }
}

static int64_t metric(const char *name)
{
    struct buf text;
    char line[80];
    int64_t value = -1;
    int n = snprintf(line, sizeof line, "\n%s ", name);
    buf_init(&text, 1 << 20);
    stats_write(&text);
    ptrdiff_t at = str_find(buf_str(&text), str_of(line, (size_t)n));
    str rest = at < 0 ? S("") : str_skip(buf_str(&text), (size_t)at + (size_t)n);
    assert_true(str_to_i64(str_cut(&rest, '\n'), &value));
    buf_fini(&text);
    return value;
}

static void more_frames_than_wait_are_dropped_and_counted(void **state)
{
    struct state *s = *state;
    struct buf text;
    int64_t here = 0, on_the_way = 0;
    const int64_t all = 300;
    if (!s->f->is_postgres) return;
    far_start(s);
    struct wire *w = listen_from(s, "1.1", "");
    WAIT(s->b, wire_has(w, "event: ready"));
    UNTIL(s->b, live_is_heard(s->far.live));
    buf_init(&text, 1 << 20);
    for (unsigned i = 0; i < 100000; i++)
        buf_add_char(&text, 'x');
    for (int64_t i = 0; i < all; i++) /* 30 MB at once */
        live_publish(s->far.live, &w1, NULL, PERMISSION_NONE, S("big"), buf_str(&text));
    for (unsigned i = 0; i < 5000 && wire_count(w, "event: big") + here + on_the_way < all; i++) {
        bench_turn(s->b);
        usleep(1000);
        on_the_way = metric("catalyst_live_bus_dropped_total");
        here = metric("catalyst_live_dropped_total"); /* the client was slower than all that came */
    }
    assert_true(on_the_way > 0);
    assert_int_equal(wire_count(w, "event: big") + here + on_the_way, all);
    assert_true(n_rows(s) > 0);
    buf_fini(&text);
}

struct count {
    unsigned n;
    str last;
};

static void count_frame(void *ctx, struct live_frame *f)
{
    struct count *c = ctx;
    c->n++;
    assert_int_equal(f->len, c->last.len);
    assert_memory_equal(f->text, c->last.p, f->len);
}

static void a_row_that_is_cut_anywhere_is_damaged(void **state)
{
    (void)state;
    struct buf row;
    struct count c = {.last = S("event: a\ndata: {}\n\n")};
    struct live_frame *f = live_frame_new(&w1, &alice, PERMISSION_CHAT_READ, 0, c.last);
    live_frames_begin(&row);
    live_frames_add(&row, f);
    size_t first = row.len;
    live_frames_add(&row, f);
    for (size_t len = 0; len <= row.len; len++) {
        c.n = 0;
        bool is_whole = len == 1 || len == first || len == row.len;
        char *copy = malloc(len + 1); /* a byte too far is found by the sanitizer */
        memcpy(copy, row.p, len);
        char *exact = realloc(copy, len ? len : 1);
        assert_int_equal(live_frames_read(str_of(exact, len), count_frame, &c) == ERR_NONE, is_whole);
        assert_int_equal(c.n, len == row.len ? 2 : len >= first ? 1 : 0);
        free(exact);
    }
    live_frame_unref(f);
    buf_fini(&row);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define T_NODES(name) cmocka_unit_test_setup_teardown(name, set_up_with_nodes, tear_down)

int main(void)
{
    log_set_fd(-1);
    const struct CMUnitTest tests[] = {
        T(who_does_not_read_loses_live_frames_but_nothing_of_the_log),
        T(who_comes_from_far_behind_reads_pages_and_then_goes_on_live),
        T(a_position_beyond_the_log_begins_at_its_end),
        T(an_old_client_gets_the_stream_without_chunks),
        T(a_frame_reaches_whom_it_is_for),
        T(a_stream_ends_when_it_is_revoked_or_a_recheck_fails),
        T(many_come_and_go_while_events_are_written),
        T_NODES(frames_of_another_node_arrive_once_and_in_order),
        T_NODES(a_node_that_starts_again_is_heard_again),
        T_NODES(more_frames_than_wait_are_dropped_and_counted),
        T(a_row_that_is_cut_anywhere_is_damaged),
    };
    return RUN_ON_BOTH(tests);
}
