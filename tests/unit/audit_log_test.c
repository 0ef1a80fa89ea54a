/* Searching the log: what filters, cursors and spans of time find is what a plain look at every event finds, in each scope and no
 * other; entries show what boxes hold, and say what was erased or exchanged. On both engines. */
#include "store_fixture.h"

#include <stdlib.h>

#include "core/audit/log_internal.h"
#include "core/events.h"

#define EVENTS 2600u /* more than two spans of time */
#define SCOPES 3u
#define BASE_US 1700000000000000

SQL(test_forget_person, DB_PEOPLE, SQL_INSTANCE, "u", "DELETE FROM person_keys WHERE person_id = $1");
SQL(test_put_box, DB_MAIN, SQL_INSTANCE, "bu", "UPDATE event_boxes SET box = $1 WHERE event_id = $2");
SQL(test_box, DB_MAIN, SQL_INSTANCE, "u", "SELECT box FROM event_boxes WHERE event_id = $1");
SQL(test_forget_columns, DB_MAIN, SQL_INSTANCE, "",
    "UPDATE events SET kind = NULL, error = NULL, credential_id = NULL WHERE number > 100 AND number < 800");

static const uuid scopes[SCOPES] = {{{0}}, {{0x77, 1}}, {{0x77, 2}}};
static const uuid people[] = {{{0xa1}}, {{0xb0}}, {{0xc0}}};
static const char *const types[] = {"project.created", "project.deleted", "auth.signed_in", "access.denied", "projects.moved"};
static const char *const resource_types[] = {"project", "session", "route"};
static const char *const errors[] = {NULL, NULL, NULL, "forbidden", "not_found"};
static const char *const addresses[] = {"192.0.2.1", "192.0.2.2", "2001:db8::1"};
static const uint8_t master[32] = {1, 2, 3};

struct model { /* what an event was made with */
    unsigned scope, person, type, resource_type, resource, error, address;
    usec at_us;
};

struct state {
    void *fixture;
    struct store *store;
    struct events *log;
    struct arena a;
    err e;
    struct model models[EVENTS]; /* by number - 1 */
    uint32_t seed;
};

static uint32_t next_random(struct state *s)
{
    s->seed = s->seed * 1664525 + 1013904223;
    return s->seed >> 8;
}

static uuid resource_id_of(unsigned n) { return (uuid){{0x55, (uint8_t)n}}; }

struct adding {
    struct state *s;
    unsigned from, to;
};

static struct event event_of_model(const struct model *m, const uuid *resource, unsigned n)
{
    struct event ev = {
        .id = event_id_of(&people[0], n),
        .at_us = m->at_us,
        .type = str_c(types[m->type]),
        .workspace_id = scopes[m->scope],
        .actor = ACTOR_USER,
        .actor_id = people[m->person],
        .actor_email = S("person@example.com"),
        .credential_id = {{0x99, 1}},
        .resource_type = str_c(resource_types[m->resource_type]),
        .resource_id = *resource,
        .address = str_c(addresses[m->address]),
        .status = errors[m->error] ? S("failure") : S("success"),
        .error = str_c(errors[m->error]),
        .message = errors[m->error] ? S("it was refused") : (str){0},
    };
    return ev;
}

static enum errc add_unit(struct tx *tx, void *ctx, err *e)
{
    const struct adding *a = ctx;
    enum errc rc = ERR_NONE;
    for (unsigned i = a->from; i < a->to && rc == ERR_NONE; i++) {
        uuid resource = resource_id_of(a->s->models[i].resource);
        struct event ev = event_of_model(&a->s->models[i], &resource, i);
        rc = tx_event(tx, &ev, e);
    }
    return rc;
}

static enum errc head_unit(struct tx *tx, void *ctx, err *e) { return events_head(tx, ctx, e); }

static void wait_for_seal(struct state *s, int64_t n)
{
    int64_t head = 0;
    for (usec end = clock_mono_us() + 30 * USEC_PER_S; head < n;) {
        assert_int_equal(db_read(store_db(s->store, DB_MAIN), head_unit, &head, &s->e), ERR_NONE);
        assert_true(clock_mono_us() < end);
    }
}

/* Times go up, but not with the numbers: clocks differ, and one event in fifty is a day late. */
static void add_events(struct state *s)
{
    for (unsigned i = 0; i < EVENTS; i++) {
        struct model *m = &s->models[i];
        *m = (struct model){.scope = next_random(s) % SCOPES,
                            .person = next_random(s) % LENGTH_OF(people),
                            .type = next_random(s) % LENGTH_OF(types),
                            .resource_type = next_random(s) % LENGTH_OF(resource_types),
                            .resource = next_random(s) % 40,
                            .error = next_random(s) % LENGTH_OF(errors),
                            .address = next_random(s) % LENGTH_OF(addresses)};
        m->at_us = BASE_US + (usec)i * USEC_PER_S + next_random(s) % (20 * USEC_PER_S);
        if (next_random(s) % 50 == 0) m->at_us -= USEC_PER_DAY;
    }
    for (unsigned i = 0; i < EVENTS; i += 200) {
        struct adding a = {s, i, i + 200 < EVENTS ? i + 200 : EVENTS};
        assert_int_equal(db_write(store_db(s->store, DB_MAIN), add_unit, &a, &s->e), ERR_NONE);
    }
    wait_for_seal(s, EVENTS);
}

static int set_up(void **state)
{
    struct state *s = calloc(1, sizeof *s);
    if (fixture_set_up(&s->fixture) != 0) return -1;
    s->store = ((struct store_fixture *)s->fixture)->store;
    s->seed = 7;
    arena_init(&s->a, 64u << 20, 0);
    if (events_new(&s->log, s->store, master, &s->e) != ERR_NONE) return -1;
    for (unsigned i = 0; i < LENGTH_OF(people); i++)
        if (person_key_ensure(s->store, &people[i], 1, &s->e) != ERR_NONE) return -1;
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct state *s = *state;
    void *fixture = s->fixture;
    events_free(s->log);
    arena_fini(&s->a);
    free(s);
    return fixture_tear_down(&fixture);
}

/* --- the plain look --- */

struct question {
    struct log_filter f;
    int address; /* -1: any */
};

static bool holds(str text, const char *part) { return str_find(text, str_c(part)) >= 0; }

static bool is_wanted(const struct model *m, unsigned scope, const struct question *q)
{
    const struct log_filter *f = &q->f;
    str type = str_c(types[m->type]), resource_type = str_c(resource_types[m->resource_type]), error = str_c(errors[m->error]);
    uuid resource = resource_id_of(m->resource);
    bool is_prefix = str_ends(f->action, S("*"));
    return m->scope == scope && (f->from_us == NO_VALUE || m->at_us >= f->from_us) &&
           (f->until_us == NO_VALUE || m->at_us < f->until_us) &&
           (!f->action.len || (is_prefix ? str_starts(type, str_take(f->action, f->action.len - 1)) : str_eq(type, f->action))) &&
           (uuid_is_nil(&f->actor_id) || memcmp(&f->actor_id, &people[m->person], sizeof(uuid)) == 0) &&
           (!f->resource_type.len || str_eq(f->resource_type, resource_type)) &&
           (uuid_is_nil(&f->resource_id) || memcmp(&f->resource_id, &resource, sizeof(uuid)) == 0) &&
           (!f->status.len || str_eq(f->status, S("failure")) == (errors[m->error] != NULL)) &&
           (q->address < 0 || (unsigned)q->address == m->address) &&
           (!f->text.len || holds(type, "proj") || holds(resource_type, "proj") || holds(error, "proj"));
}

/* --- asking --- */

struct asking {
    struct arena *a;
    const struct log_filter *f;
    int64_t behind, next;
    unsigned limit, n;
    struct log_row *rows;
};

static enum errc ask_unit(struct tx *tx, void *ctx, err *e)
{
    struct asking *k = ctx;
    return log_search(tx, k->a, k->f, k->behind, k->limit, &k->rows, &k->n, &k->next, e);
}

static void check(struct state *s, struct question *q, unsigned scope, unsigned limit)
{
    struct asking k = {.a = &s->a, .f = &q->f, .limit = limit};
    unsigned pages = 0, at = q->f.is_oldest_first ? 0 : EVENTS;
    q->f.workspace_id = scopes[scope];
    q->f.has_address = q->address >= 0;
    if (q->f.has_address)
        assert_int_equal(
            event_address_token(s->store, &scopes[scope], str_c(addresses[q->address]), &q->f.address_token, &s->e), ERR_NONE);
    do {
        struct arena_mark mark = arena_mark(&s->a);
        k.behind = k.next;
        assert_int_equal(db_read(store_db(s->store, DB_MAIN), ask_unit, &k, &s->e), ERR_NONE);
        assert_true(k.n <= limit);
        for (unsigned i = 0; i < k.n; i++) {
            if (q->f.is_oldest_first)
                while (at < EVENTS && !is_wanted(&s->models[at], scope, q))
                    at++;
            else
                while (at > 0 && !is_wanted(&s->models[at - 1], scope, q))
                    at--;
            unsigned expected = q->f.is_oldest_first ? at++ : --at;
            assert_true(expected < EVENTS);
            assert_int_equal(k.rows[i].number, expected + 1);
            assert_memory_equal(&k.rows[i].workspace_id, &scopes[scope], sizeof(uuid));
        }
        arena_reset(&s->a, mark);
        assert_true(++pages < 2 * EVENTS);
    } while (k.next);
    while (q->f.is_oldest_first ? at < EVENTS : at > 0) /* nothing is left out */
        assert_false(is_wanted(&s->models[q->f.is_oldest_first ? at++ : --at], scope, q));
}

static struct question random_question(struct state *s)
{
    struct question q = {.f = {.from_us = NO_VALUE, .until_us = NO_VALUE}, .address = -1};
    uint32_t bits = next_random(s) & next_random(s);
    usec span = (usec)EVENTS * USEC_PER_S;
    if (bits & 1) q.f.from_us = BASE_US + next_random(s) % span;
    if (bits & 2) q.f.until_us = (bits & 1 ? q.f.from_us : BASE_US) + next_random(s) % span;
    if (bits & 4) q.f.action = next_random(s) % 2 ? S("project.*") : str_c(types[next_random(s) % LENGTH_OF(types)]);
    if (bits & 8) q.f.actor_id = people[next_random(s) % LENGTH_OF(people)];
    if (bits & 16) q.f.resource_type = str_c(resource_types[next_random(s) % LENGTH_OF(resource_types)]);
    if (bits & 32) q.f.resource_id = resource_id_of(next_random(s) % 41);
    if (bits & 64) q.f.status = next_random(s) % 2 ? S("failure") : S("success");
    if (bits & 128) q.address = (int)(next_random(s) % LENGTH_OF(addresses));
    if (bits & 256) q.f.text = S("PROJ");
    q.f.is_oldest_first = bits & 512;
    return q;
}

static void index_all(struct state *s)
{
    bool has_more = true;
    while (has_more)
        assert_int_equal(log_index_step(s->store, &has_more, &s->e), ERR_NONE);
}

static void any_filters_find_what_a_plain_look_finds(void **state)
{
    struct state *s = *state;
    add_events(s);
    for (unsigned i = 0; i < 60; i++) {
        struct question q = random_question(s);
        if (i == 20) index_all(s); /* without spans of time until here */
        check(s, &q, next_random(s) % SCOPES, next_random(s) % 3 ? 200 : 7);
    }
}

static enum errc forget_columns_unit(struct tx *tx, void *ctx, err *e)
{
    (void)ctx;
    return tx_exec_unaudited(tx, &test_forget_columns, NULL, 0, NULL, e);
}

static void what_a_release_before_wrote_is_found_too(void **state)
{
    struct state *s = *state;
    add_events(s);
    assert_int_equal(db_write(store_db(s->store, DB_MAIN), forget_columns_unit, NULL, &s->e), ERR_NONE);
    index_all(s);
    for (unsigned i = 0; i < 4; i++) {
        struct question q = {.f = {.from_us = NO_VALUE,
                                   .until_us = NO_VALUE,
                                   .status = i & 1 ? S("failure") : S("success"),
                                   .action = i & 2 ? S("access.*") : (str){0},
                                   .is_oldest_first = true},
                             .address = -1};
        check(s, &q, 1, 200);
    }
}

/* --- entries --- */

static struct log_entry only_entry(struct state *s)
{
    struct log_filter f = {.workspace_id = scopes[1], .from_us = NO_VALUE, .until_us = NO_VALUE};
    struct asking k = {.a = &s->a, .f = &f, .limit = 10};
    struct log_entry *entries;
    assert_int_equal(db_read(store_db(s->store, DB_MAIN), ask_unit, &k, &s->e), ERR_NONE);
    assert_int_equal(k.n, 1);
    assert_int_equal(log_entries(s->store, &s->a, k.rows, 1, &entries, &s->e), ERR_NONE);
    return entries[0];
}

static void add_one(struct state *s)
{
    struct adding a = {s, 0, 1};
    s->models[0] = (struct model){.scope = 1, .error = 3, .at_us = BASE_US};
    assert_int_equal(db_write(store_db(s->store, DB_MAIN), add_unit, &a, &s->e), ERR_NONE);
    wait_for_seal(s, 1);
}

#define IS(text, lit) assert_true(str_eq((text), S(lit)))

static enum errc forget_person_unit(struct tx *tx, void *ctx, err *e)
{
    (void)ctx;
    return tx_exec_unaudited(tx, &test_forget_person, PARAMS(v_uuid(&people[0])), NULL, e);
}

static void an_entry_shows_what_boxes_hold_until_the_key_is_gone(void **state)
{
    struct state *s = *state;
    add_one(s);
    struct log_entry x = only_entry(s);
    IS(x.user_email, "person@example.com");
    IS(x.ip_address, "192.0.2.1");
    assert_null(x.user_agent.p);
    IS(x.actor, "user");
    IS(x.status, "failure");
    IS(x.error, "forbidden");
    IS(x.error_message, "it was refused");
    IS(x.metadata, "{}");
    assert_int_equal(x.leaf.len, 64);
    assert_int_equal(db_write(store_db(s->store, DB_PEOPLE), forget_person_unit, NULL, &s->e), ERR_NONE);
    x = only_entry(s);
    IS(x.user_email, LOG_ERASED);
    IS(x.ip_address, LOG_ERASED);
    assert_memory_equal(&x.user_id, &people[0], sizeof(uuid));
}

struct exchange {
    uuid id;
    struct rows rows;
    struct arena *a;
};

static enum errc exchange_unit(struct tx *tx, void *ctx, err *e)
{
    struct exchange *x = ctx;
    enum errc rc = tx_query(tx, x->a, &test_box, PARAMS(v_uuid(&x->id)), &x->rows, e);
    if (rc != ERR_NONE || x->rows.n != 1) return rc;
    str box = str_dup(x->a, val_str(row_at(&x->rows, 0)));
    ((char *)(uintptr_t)box.p)[box.len / 2] ^= 1;
    return tx_exec_unaudited(tx, &test_put_box, PARAMS(v_blob(box), v_uuid(&x->id)), NULL, e);
}

static void a_box_that_somebody_changed_is_not_shown_as_true(void **state)
{
    struct state *s = *state;
    struct exchange x = {.a = &s->a};
    struct log_filter f = {.workspace_id = scopes[1], .from_us = NO_VALUE, .until_us = NO_VALUE};
    struct asking k = {.a = &s->a, .f = &f, .limit = 10};
    struct log_entry *entries;
    add_one(s);
    assert_int_equal(db_read(store_db(s->store, DB_MAIN), ask_unit, &k, &s->e), ERR_NONE);
    x.id = k.rows[0].id;
    assert_int_equal(db_write(store_db(s->store, DB_MAIN), exchange_unit, &x, &s->e), ERR_NONE);
    assert_int_equal(log_entries(s->store, &s->a, k.rows, 1, &entries, &s->e), ERR_NONE);
    IS(entries[0].user_email, LOG_ALTERED);
    IS(entries[0].ip_address, LOG_ALTERED);
    IS(entries[0].error, "forbidden");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(any_filters_find_what_a_plain_look_finds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_release_before_wrote_is_found_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_entry_shows_what_boxes_hold_until_the_key_is_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_box_that_somebody_changed_is_not_shown_as_true, set_up, tear_down),
    };
    return RUN_ON_BOTH(tests);
}
