/* The log: exact bytes, commitments and boxes, dense numbers under load, listeners. On both engines. */
#include "store_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crypto.h"
#include "base/log.h"
#include "base/stats.h"
#include "core/api.h"
#include "core/events.h"
#include "json/tree.h"

/* Listeners write what they heard here: a table that the log's migration makes and nothing else uses in
 * this test. */
SQL(test_note, DB_MAIN, SQL_INSTANCE, "uti",
    "INSERT INTO notification_preferences (user_id, kind, is_wanted) VALUES ($1, $2, $3)");
SQL(test_notes, DB_MAIN, SQL_INSTANCE, "t",
    "SELECT is_wanted FROM notification_preferences WHERE kind = $1 ORDER BY is_wanted");
SQL(test_erase, DB_PEOPLE, SQL_INSTANCE, "u", "DELETE FROM person_keys WHERE person_id = $1");

struct thing {
    uuid id;
    str name, email;
    int64_t count;
};
static const struct field thing_fields[] = {
    FIELD(struct thing, id, FIELD_UUID, .meaning = "i"),
    FIELD(struct thing, name, FIELD_TEXT, .meaning = "n"),
    FIELD(struct thing, email, FIELD_TEXT, .flags = FIELD_PERSONAL, .meaning = "e"),
    FIELD(struct thing, count, FIELD_INT, .meaning = "c"),
};
static const struct shape thing_shape = SHAPE("Thing", struct thing, thing_fields, "A thing.");

static const uuid alice = {{0xa1}}, bob = {{0xb0}}, workspace = {{0x77, 1}}, other_workspace = {{0x77, 2}};

struct state {
    struct store_fixture *f;
    struct store *store;
    struct events *log;
    struct arena a;
    err e;
};

static void pause_a_little(void) { usleep(2000); }

static uint8_t master[32] = {1, 2, 3};

static void open_log(struct state *s)
{
    assert_int_equal(events_new(&s->log, s->store, master, &s->e), ERR_NONE);
    assert_int_equal(person_key_ensure(s->store, &alice, 1, &s->e), ERR_NONE);
    assert_int_equal(person_key_ensure(s->store, &bob, 1, &s->e), ERR_NONE);
}

static int set_up(void **state)
{
    struct state *s = calloc(1, sizeof *s);
    void *fixture;
    if (fixture_set_up(&fixture) != 0) return -1;
    s->f = fixture;
    s->store = s->f->store;
    arena_init(&s->a, 64u << 20, 0);
    open_log(s);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct state *s = *state;
    void *fixture = s->f;
    events_free(s->log);
    arena_fini(&s->a);
    free(s);
    return fixture_tear_down(&fixture);
}

static struct event event_by_alice(unsigned n)
{
    return (struct event){
        .id = event_id_of(&workspace, n),
        .at_us = 1700000000123456,
        .type = S("thing.created"),
        .workspace_id = workspace,
        .actor = ACTOR_USER,
        .actor_id = alice,
        .resource_type = S("thing"),
        .resource_id = {{0x55}},
        .address = S("192.0.2.7"),
        .user_agent = S("tests/1 \x01\xff"),
        .status = S("success"),
    };
}

static enum errc add_unit(struct tx *tx, void *ctx, err *e) { return tx_event(tx, ctx, e); }

static enum errc add(struct state *s, const struct event *ev)
{
    return db_write(store_db(s->store, DB_MAIN), add_unit, (void *)(uintptr_t)ev, &s->e);
}

struct reading {
    struct arena *a;
    const uuid *workspace;
    int64_t after, head;
    unsigned limit, n;
    struct sealed_event *events;
};

static enum errc read_unit(struct tx *tx, void *ctx, err *e)
{
    struct reading *r = ctx;
    enum errc rc = events_head(tx, &r->head, e);
    return rc ? rc : events_after(tx, r->a, r->after, r->workspace, r->limit, &r->events, &r->n, e);
}

/* Waits until so many events are sealed, and reads them. */
static struct reading sealed(struct state *s, int64_t n)
{
    struct reading r = {.a = &s->a, .limit = (unsigned)n + 1};
    for (usec end = clock_mono_us() + 20 * USEC_PER_S;;) {
        assert_int_equal(db_read(store_db(s->store, DB_MAIN), read_unit, &r, &s->e), ERR_NONE);
        if (r.head >= n) return r;
        assert_true(clock_mono_us() < end);
        pause_a_little();
    }
}

static void an_event_is_exact_bytes_with_a_leaf_hash(void **state)
{
    struct state *s = *state;
    struct event ev = event_by_alice(1);
    struct thing after = {.id = {{0x55}}, .name = S("x"), .email = S("a@b.example"), .count = 3};
    char leaf_text[EVENT_BYTES_MAX + 1] = "";
    uint8_t leaf[32];
    struct json *root;
    ev.shape = &thing_shape;
    ev.after = &after;
    ev.metadata = S("{\"why\":\"test\"}");
    assert_int_equal(add(s, &ev), ERR_NONE);
    struct reading r = sealed(s, 1);
    assert_int_equal(r.n, 1);
    assert_int_equal(r.events[0].number, 1);
    assert_int_equal(r.events[0].workspace_number, 1);
    assert_memory_equal(&r.events[0].id, &ev.id, sizeof ev.id);
    str bytes = r.events[0].bytes;
    memcpy(leaf_text + 1, bytes.p, bytes.len);
    sha256(str_of(leaf_text, bytes.len + 1), leaf);
    assert_memory_equal(leaf, r.events[0].leaf, 32);
    assert_int_equal(json_parse(&s->a, bytes, &root, &s->e), ERR_NONE);
    assert_true(str_eq(json_get(root, S("type"))->text, S("thing.created")));
    assert_true(str_eq(json_get(root, S("at"))->text, S("2023-11-14T22:13:20.123456Z")));
    assert_true(str_eq(json_at(root, S("actor.kind"))->text, S("user")));
    assert_true(str_eq(json_at(root, S("after.name"))->text, S("x")));
    assert_true(str_eq(json_at(root, S("after.count"))->text, S("3")));
    assert_int_equal(json_get(root, S("before"))->type, JSON_NULL);
    assert_true(str_eq(json_at(root, S("metadata.why"))->text, S("test")));
    assert_int_equal(json_at(root, S("after.email.commitment"))->text.len, 64);
    assert_int_equal(json_at(root, S("client.address.commitment"))->text.len, 64);
    assert_true(str_find(bytes, S("b.example")) < 0);
    assert_true(str_find(bytes, S("192.0.2.7")) < 0);
}

static void what_changes_nothing_is_no_event(void **state)
{
    struct state *s = *state;
    struct event ev = event_by_alice(1);
    struct thing before = {.name = S("x"), .count = 3}, after = before;
    ev.shape = &thing_shape;
    ev.before = &before;
    ev.after = &after;
    assert_int_equal(add(s, &ev), ERR_NONE);
    after.count = 4;
    ev.id = event_id_of(&workspace, 2);
    assert_int_equal(add(s, &ev), ERR_NONE);
    struct reading r = sealed(s, 1);
    assert_int_equal(r.n, 1);
    assert_true(str_find(r.events[0].bytes, S("\"before\":{\"count\":3},\"after\":{\"count\":4}")) > 0);
}

static void an_event_over_the_limit_undoes_its_unit(void **state)
{
    struct state *s = *state;
    struct event ev = event_by_alice(1);
    char *big = calloc(1, EVENT_BYTES_MAX + 1);
    memset(big, 'x', EVENT_BYTES_MAX);
    struct thing after = {.name = str_of(big, EVENT_BYTES_MAX)};
    ev.shape = &thing_shape;
    ev.after = &after;
    assert_int_equal(add(s, &ev), ERR_TOO_LARGE);
    assert_non_null(strstr(s->e.msg, "thing.created"));
    after.name.len = EVENT_BYTES_MAX - 300; /* fits by itself, not with the rest */
    assert_int_equal(add(s, &ev), ERR_TOO_LARGE);
    after.name.len = EVENT_BYTES_MAX - 1500;
    assert_int_equal(add(s, &ev), ERR_NONE);
    assert_int_equal(sealed(s, 1).n, 1);
    free(big);
}

static enum errc add_twice_unit(struct tx *tx, void *ctx, err *e)
{
    struct event *ev = ctx, second = *ev;
    enum errc rc = tx_event(tx, ev, e);
    second.id = event_id_of(&ev->id, 7);
    return rc ? rc : tx_event(tx, &second, e);
}

static void the_same_cause_gives_the_same_bytes_and_ids(void **state)
{
    struct state *s = *state;
    struct event ev = event_by_alice(1);
    uuid first = event_id_of(&workspace, 1), again = event_id_of(&workspace, 1),
         second = event_id_of(&workspace, 2);
    assert_memory_equal(&first, &again, sizeof first);
    assert_memory_not_equal(&first, &second, sizeof first);
    assert_memory_equal(first.b, workspace.b, 6);
    assert_int_equal(first.b[6] >> 4, 7);
    assert_int_equal(first.b[8] >> 6, 2);
    /* written, lost with the log's file, written again: the commitments are the same */
    assert_int_equal(db_write(store_db(s->store, DB_MAIN), add_twice_unit, &ev, &s->e), ERR_NONE);
    struct reading one = sealed(s, 2);
    assert_int_equal(add(s, &ev), ERR_CONFLICT);
    struct state other = {0};
    void *fixture;
    assert_int_equal(fixture_set_up(&fixture), 0);
    other.f = fixture;
    other.store = other.f->store;
    arena_init(&other.a, 1u << 20, 0);
    open_log(&other);
    assert_int_equal(add(&other, &ev), ERR_NONE);
    struct reading two = sealed(&other, 1);
    /* another key, other salts: nobody can tell from commitments that they hold the same value */
    assert_memory_equal(&one.events[0].id, &two.events[0].id, sizeof ev.id);
    assert_false(str_eq(one.events[0].bytes, two.events[0].bytes));
    events_free(other.log);
    arena_fini(&other.a);
    assert_int_equal(fixture_tear_down(&fixture), 0);
}

static enum errc erase_unit(struct tx *tx, void *ctx, err *e)
{
    return tx_exec(tx, &test_erase, PARAMS(v_uuid(ctx)), NULL, e);
}

static void commitments_open_with_the_persons_key_and_never_without(void **state)
{
    struct state *s = *state;
    struct event ev = event_by_alice(1);
    struct thing before = {.email = S("old@b.example")}, after = {.email = S("new@b.example")};
    str personal;
    struct json *root;
    ev.shape = &thing_shape;
    ev.before = &before;
    ev.after = &after;
    ev.person_id = bob;
    assert_int_equal(add(s, &ev), ERR_NONE);
    str bytes = sealed(s, 1).events[0].bytes;
    assert_int_equal(event_personal(s->store, &s->a, &ev.id, &personal, &s->e), ERR_NONE);
    assert_int_equal(json_parse(&s->a, personal, &root, &s->e), ERR_NONE);
    assert_int_equal(root->n, 4);
    assert_true(str_eq(json_get(root, S("client.address"))->text, S("192.0.2.7")));
    assert_true(str_eq(json_get(root, S("client.user_agent"))->text, S("tests/1 \x01\xef\xbf\xbd")));
    assert_true(str_eq(json_get(root, S("before.email"))->text, S("old@b.example")));
    assert_true(str_eq(json_get(root, S("after.email"))->text, S("new@b.example")));
    /* bob is erased: what is about him is gone, the bytes and what is about alice stay */
    assert_int_equal(db_write(store_db(s->store, DB_PEOPLE), erase_unit, (void *)(uintptr_t)&bob, &s->e),
                     ERR_NONE);
    assert_int_equal(event_personal(s->store, &s->a, &ev.id, &personal, &s->e), ERR_NONE);
    assert_int_equal(json_parse(&s->a, personal, &root, &s->e), ERR_NONE);
    assert_int_equal(root->n, 2);
    assert_null(json_get(root, S("after.email")));
    assert_true(str_eq(bytes, sealed(s, 1).events[0].bytes));
}

static void a_person_without_a_key_at_hand_is_a_mistake_that_says_so(void **state)
{
    struct state *s = *state;
    struct event ev = event_by_alice(1);
    ev.actor_id = (uuid){{0xcc}};
    assert_int_equal(add(s, &ev), ERR_INTERNAL);
    assert_non_null(strstr(s->e.msg, "person_key_ensure"));
    ev.actor_id = (uuid){0}; /* nobody who is known */
    assert_int_equal(add(s, &ev), ERR_NONE);
}

static void keys_of_persons_survive_and_need_the_master_key(void **state)
{
    struct state *s = *state;
    struct event ev = event_by_alice(1);
    uint8_t other_master[32] = {9};
    str personal;
    assert_int_equal(add(s, &ev), ERR_NONE);
    sealed(s, 1);
    events_free(s->log);
    assert_int_equal(events_new(&s->log, s->store, other_master, &s->e), ERR_CORRUPT);
    assert_null(s->log);
    assert_int_equal(events_new(&s->log, s->store, master, &s->e), ERR_NONE);
    assert_int_equal(event_personal(s->store, &s->a, &ev.id, &personal, &s->e), ERR_NONE);
    assert_true(str_find(personal, S("192.0.2.7")) > 0);
}

/* --- under load --- */

#define WRITERS 32
#define EVENTS_EACH 40

struct load {
    struct state *s;
    atomic_uint next, n_done;
    _Atomic bool is_over;
    unsigned n_followed;
    int64_t last_followed;
};

static void *write_many(void *arg)
{
    struct load *l = arg;
    unsigned me = l->next++;
    err e;
    for (unsigned i = 0; i < EVENTS_EACH; i++) {
        struct event ev = event_by_alice(1000 + me * EVENTS_EACH + i);
        ev.workspace_id = me % 3 == 0 ? workspace : me % 3 == 1 ? other_workspace : (uuid){0};
        ev.resource_id.b[1] = (uint8_t)me;
        ev.resource_id.b[2] = (uint8_t)i;
        if (db_write(store_db(l->s->store, DB_MAIN), add_unit, &ev, &e) != ERR_NONE) {
            fprintf(stderr, "%s\n", e.msg);
            abort();
        }
    }
    l->n_done++;
    return NULL;
}

/* Follows the log as a listener does: never looks at or below what it has seen. */
static void *follow(void *arg)
{
    struct load *l = arg;
    err e;
    for (bool was_over = false;;) {
        struct arena a;
        struct reading r = {.a = &a, .after = l->last_followed, .limit = 100};
        bool is_over = l->is_over;
        arena_init(&a, 8u << 20, 0);
        if (db_read(store_db(l->s->store, DB_MAIN), read_unit, &r, &e) != ERR_NONE) {
            fprintf(stderr, "%s\n", e.msg);
            abort();
        }
        for (unsigned i = 0; i < r.n; i++) {
            if (r.events[i].number != l->last_followed + 1) {
                fprintf(stderr, "after %lld came %lld\n", (long long)l->last_followed,
                        (long long)r.events[i].number);
                abort();
            }
            l->last_followed++;
            l->n_followed++;
        }
        unsigned n = r.n;
        arena_fini(&a);
        if (was_over && n == 0) return NULL;
        was_over = is_over;
    }
}

static void numbers_are_dense_and_no_cursor_misses_one_while_many_write(void **state)
{
    struct state *s = *state;
    struct load l = {.s = s};
    pthread_t writers[WRITERS], follower;
    int64_t of_workspace[2] = {0}, n_each[WRITERS] = {0};
    assert_int_equal(pthread_create(&follower, NULL, follow, &l), 0);
    for (unsigned i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&writers[i], NULL, write_many, &l), 0);
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(writers[i], NULL);
    struct reading r = sealed(s, WRITERS * EVENTS_EACH);
    l.is_over = true;
    pthread_join(follower, NULL);
    assert_int_equal(l.n_followed, WRITERS * EVENTS_EACH);
    assert_int_equal(r.n, WRITERS * EVENTS_EACH);
    assert_int_equal(r.head, WRITERS * EVENTS_EACH);
    for (unsigned i = 0; i < r.n; i++) {
        const struct sealed_event *ev = &r.events[i];
        assert_int_equal(ev->number, i + 1);
        if (uuid_is_nil(&ev->workspace_id))
            assert_int_equal(ev->workspace_number, 0);
        else
            assert_int_equal(ev->workspace_number,
                             ++of_workspace[memcmp(&ev->workspace_id, &workspace, sizeof workspace) ? 1 : 0]);
        /* one after the other in the same thread: their numbers keep that order */
        assert_int_equal(ev->resource_id.b[2], n_each[ev->resource_id.b[1]]++);
    }
    struct reading mine = {.a = &s->a, .after = 3, .workspace = &workspace, .limit = 5000};
    assert_int_equal(db_read(store_db(s->store, DB_MAIN), read_unit, &mine, &s->e), ERR_NONE);
    assert_true(mine.n >= (unsigned)of_workspace[0] - 3);
    for (unsigned i = 0; i < mine.n; i++)
        assert_memory_equal(&mine.events[i].workspace_id, &workspace, sizeof workspace);
}

struct slow {
    struct event ev;
    _Atomic bool has_written, may_commit;
};

static enum errc slow_unit(struct tx *tx, void *ctx, err *e)
{
    struct slow *slow = ctx;
    enum errc rc = tx_event(tx, &slow->ev, e);
    slow->has_written = true;
    while (!slow->may_commit)
        pause_a_little();
    return rc;
}

struct slow_thread {
    struct state *s;
    struct slow slow;
    enum errc rc;
};

static void *write_slowly(void *arg)
{
    struct slow_thread *t = arg;
    err e;
    t->rc = db_write(store_db(t->s->store, DB_MAIN), slow_unit, &t->slow, &e);
    return NULL;
}

static void a_unit_that_commits_late_gets_a_later_number(void **state)
{
    struct state *s = *state;
    struct slow_thread t = {.s = s, .slow.ev = event_by_alice(1)};
    struct event quick = event_by_alice(2);
    pthread_t thread;
    if (!store_is_postgres(s->store)) skip(); /* one writer: units never overlap */
    assert_int_equal(pthread_create(&thread, NULL, write_slowly, &t), 0);
    while (!t.slow.has_written)
        pause_a_little();
    assert_int_equal(add(s, &quick), ERR_NONE);
    struct reading r = sealed(s, 1);
    assert_int_equal(r.n, 1);
    assert_memory_equal(&r.events[0].id, &quick.id, sizeof quick.id);
    t.slow.may_commit = true;
    pthread_join(thread, NULL);
    assert_int_equal(t.rc, ERR_NONE);
    r = sealed(s, 2);
    assert_int_equal(r.n, 2);
    assert_memory_equal(&r.events[1].id, &t.slow.ev.id, sizeof quick.id);
    assert_int_equal(r.events[1].workspace_number, 2);
}

/* --- listeners --- */

struct ear {
    const char *name;
    _Atomic int64_t fails_at; /* number of the event that fails; 0: none */
    _Atomic bool fails_for_weather;
    atomic_uint n_failed;
};

static enum errc hear(void *ctx, struct tx *tx, const struct sealed_event *ev, err *e)
{
    struct ear *ear = ctx;
    enum errc rc = tx_exec(tx, &test_note,
                           PARAMS(v_uuid(&ev->id), v_text(str_c(ear->name)), v_int(ev->number)), NULL, e);
    if (rc == ERR_NONE && ev->number == ear->fails_at) {
        ear->n_failed++;
        return err_set(e, ear->fails_for_weather ? ERR_UNAVAILABLE : ERR_INVALID, "cannot hear %lld",
                       (long long)ev->number);
    }
    return rc;
}

struct notes {
    struct arena *a;
    const char *name;
    struct rows rows;
};

static enum errc notes_unit(struct tx *tx, void *ctx, err *e)
{
    struct notes *n = ctx;
    return tx_query(tx, n->a, &test_notes, PARAMS(v_text(str_c(n->name))), &n->rows, e);
}

/* Waits until the listener has heard so many; returns their numbers. */
static struct rows heard(struct state *s, const char *name, unsigned n)
{
    struct notes notes = {.a = &s->a, .name = name};
    for (usec end = clock_mono_us() + 60 * USEC_PER_S; clock_mono_us() < end; pause_a_little()) {
        assert_int_equal(db_read(store_db(s->store, DB_MAIN), notes_unit, &notes, &s->e), ERR_NONE);
        if (notes.rows.n >= n) break;
    }
    assert_int_equal(notes.rows.n, n);
    return notes.rows;
}

static void start_listening(struct state *s, struct ear *ear, const char *types, bool from_the_start)
{
    events_listen(
        s->log,
        &(struct listener){
            .name = ear->name, .types = types, .from_the_start = from_the_start, .hear = hear, .ctx = ear});
}

static void restart_log(struct state *s)
{
    events_free(s->log);
    open_log(s);
}

static void add_typed(struct state *s, unsigned n, const char *type)
{
    struct event ev = event_by_alice(n);
    ev.type = str_c(type);
    assert_int_equal(add(s, &ev), ERR_NONE);
}

static void a_listener_hears_each_event_of_its_types_once_and_goes_on_after_a_restart(void **state)
{
    struct state *s = *state;
    struct ear some = {.name = "some"}, late = {.name = "late"};
    add_typed(s, 1, "thing.created");
    add_typed(s, 2, "budget.alert");
    sealed(s, 2);
    start_listening(s, &some, "thing.*|other.made", true);
    start_listening(s, &late, NULL, false);
    assert_int_equal(events_start(s->log, &s->e), ERR_NONE);
    heard(s, "some", 1);
    add_typed(s, 3, "thing.changed");
    add_typed(s, 4, "thingy");
    add_typed(s, 5, "other.made");
    struct rows rows = heard(s, "some", 3);
    assert_int_equal(val_int(row_at(&rows, 0)), 1);
    assert_int_equal(val_int(row_at(&rows, 1)), 3);
    assert_int_equal(val_int(row_at(&rows, 2)), 5);
    rows = heard(s, "late", 3); /* it began with what came after it was first there */
    assert_int_equal(val_int(row_at(&rows, 0)), 3);
    events_free(s->log);
    s->log = NULL;
    struct events *quiet; /* something happens while nobody listens */
    assert_int_equal(events_new(&quiet, s->store, master, &s->e), ERR_NONE);
    assert_int_equal(person_key_ensure(s->store, &alice, 1, &s->e), ERR_NONE);
    add_typed(s, 6, "thing.deleted");
    sealed(s, 6);
    events_free(quiet);
    open_log(s);
    start_listening(s, &some, "thing.*|other.made", true);
    start_listening(s, &late, NULL, false);
    assert_int_equal(events_start(s->log, &s->e), ERR_NONE);
    heard(s, "some", 4);
    heard(s, "late", 4);
}

static void an_event_that_keeps_failing_parks_its_listener_alone_and_tells(void **state)
{
    struct state *s = *state;
    struct ear bad = {.name = "bad", .fails_at = 3}, good = {.name = "good"};
    start_listening(s, &bad, "thing.*", true);
    start_listening(s, &good, NULL, true);
    assert_int_equal(events_start(s->log, &s->e), ERR_NONE);
    for (unsigned i = 1; i <= 5; i++)
        add_typed(s, i, "thing.created");
    /* two before the bad one are kept, the one itself leaves nothing behind; the sixth event tells of it */
    struct rows rows = heard(s, "good", 6);
    assert_int_equal(val_int(row_at(&rows, 5)), 6);
    assert_true(bad.n_failed >= EVENT_TRIES);
    heard(s, "bad", 2);
    struct reading r = sealed(s, 6);
    assert_true(str_eq(r.events[5].type, S("listener.parked")));
    assert_true(str_find(r.events[5].bytes, S("\"listener\":\"bad\",\"number\":3")) > 0);
    struct buf metrics;
    buf_init(&metrics, 1 << 20);
    stats_write(&metrics);
    assert_true(str_find(buf_str(&metrics), S("catalyst_listener_parked{listener=\"bad\"} 1")) > 0);
    assert_true(str_find(buf_str(&metrics), S("catalyst_listener_parked{listener=\"good\"} 0")) > 0);
    buf_fini(&metrics);
    /* the cause is mended, the server started again */
    bad.fails_at = 0;
    restart_log(s);
    start_listening(s, &bad, "thing.*", true);
    start_listening(s, &good, NULL, true);
    assert_int_equal(events_start(s->log, &s->e), ERR_NONE);
    heard(s, "bad", 5);
}

static void weather_parks_nobody(void **state)
{
    struct state *s = *state;
    struct ear ear = {.name = "ear", .fails_at = 2, .fails_for_weather = true};
    start_listening(s, &ear, NULL, true);
    assert_int_equal(events_start(s->log, &s->e), ERR_NONE);
    add_typed(s, 1, "thing.created");
    add_typed(s, 2, "thing.created");
    for (usec end = clock_mono_us() + 20 * USEC_PER_S; ear.n_failed == 0 && clock_mono_us() < end;)
        pause_a_little();
    ear.fails_at = 0;
    heard(s, "ear", 2);
    assert_int_equal(sealed(s, 2).head, 2);
}

/* --- watchers --- */

struct seen {
    pthread_mutex_t lock;
    int64_t numbers[64];
    unsigned n;
};

static void see(void *ctx, const struct sealed_event *ev)
{
    struct seen *seen = ctx;
    pthread_mutex_lock(&seen->lock);
    if (seen->n < LENGTH_OF(seen->numbers)) seen->numbers[seen->n++] = ev->number;
    pthread_mutex_unlock(&seen->lock);
}

static unsigned wait_for_seen(struct seen *seen, unsigned n)
{
    unsigned has = 0;
    for (unsigned i = 0; i < 5000 && has < n; i++) {
        pthread_mutex_lock(&seen->lock);
        has = seen->n;
        pthread_mutex_unlock(&seen->lock);
        if (has < n) pause_a_little();
    }
    return has;
}

/* The second node is the first one itself with SQLite, where there is no other. */
static void a_watcher_sees_what_any_node_seals_from_its_start_on(void **state)
{
    struct state *s = *state;
    struct seen seen = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct store *store = s->store;
    struct events *log = s->log;
    add_typed(s, 1, "thing.created");
    sealed(s, 1);
    if (s->f->is_postgres) {
        assert_int_equal(store_open(&store, &s->f->source, &s->e), ERR_NONE);
        assert_int_equal(events_new(&log, store, master, &s->e), ERR_NONE);
    }
    events_watch(log, &(struct watcher){.types = "thing.*|budget.alert", .see = see, .ctx = &seen});
    assert_int_equal(events_start(log, &s->e), ERR_NONE);
    assert_int_equal(store_listen(store, &s->e), ERR_NONE);
    add_typed(s, 2, "thing.created");
    add_typed(s, 3, "other.made");
    add_typed(s, 4, "budget.alert");
    assert_int_equal(wait_for_seen(&seen, 2), 2);
    assert_int_equal(seen.numbers[0], 2);
    assert_int_equal(seen.numbers[1], 4);
    store_deafen(store);
    if (s->f->is_postgres) {
        events_free(log);
        store_close(store);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    log_set_fd(-1);
    if (stats_init(1) != ERR_NONE) return 1;
    const struct CMUnitTest tests[] = {
        T(an_event_is_exact_bytes_with_a_leaf_hash),
        T(what_changes_nothing_is_no_event),
        T(an_event_over_the_limit_undoes_its_unit),
        T(the_same_cause_gives_the_same_bytes_and_ids),
        T(commitments_open_with_the_persons_key_and_never_without),
        T(a_person_without_a_key_at_hand_is_a_mistake_that_says_so),
        T(keys_of_persons_survive_and_need_the_master_key),
        T(numbers_are_dense_and_no_cursor_misses_one_while_many_write),
        T(a_unit_that_commits_late_gets_a_later_number),
        T(a_listener_hears_each_event_of_its_types_once_and_goes_on_after_a_restart),
        T(an_event_that_keeps_failing_parks_its_listener_alone_and_tells),
        T(weather_parks_nobody),
        T(a_watcher_sees_what_any_node_seals_from_its_start_on),
    };
    return RUN_ON_BOTH(tests);
}
