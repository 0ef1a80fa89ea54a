/* Notifications from events: who is told what, once. On both engines. */
#include "store_fixture.h"

#include "base/stats.h"
#include "core/config.h"
#include "core/events.h"
#include "core/notify.h"

SQL(test_user, DB_MAIN, SQL_INSTANCE, "utti",
    "INSERT INTO users (id, email, email_key, name, is_instance_admin, is_disabled, created_us, updated_us) "
    "VALUES ($1, $2, $2, $3, $4, 0, 0, 0)");
SQL(test_told, DB_MAIN, SQL_INSTANCE, "",
    "SELECT user_id, kind, title, body FROM notifications ORDER BY kind, user_id");
SQL(test_refuse, DB_MAIN, SQL_INSTANCE, "ut",
    "INSERT INTO notification_preferences (user_id, kind, is_wanted) VALUES ($1, $2, 0)");

static const uuid root = {{0x01}}, second_root = {{0x02}}, ann = {{0x0a}}, cause = {{0xc0}},
                  workspace = {{5}};

struct state {
    struct store_fixture *f;
    struct events *log;
    struct notify *notify;
    struct config *config;
    struct arena a;
    err e;
};

static struct db *main_db(struct state *s) { return store_db(s->f->store, DB_MAIN); }

static enum errc people_unit(struct tx *tx, void *ctx, err *e)
{
    enum errc rc = tx_exec(tx, &test_user,
                           PARAMS(v_uuid(&root), v_text(S("r@x")), v_text(S("Root")), v_int(1)), NULL, e);
    (void)ctx;
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &test_user,
                     PARAMS(v_uuid(&second_root), v_text(S("s@x")), v_text(S("Second")), v_int(1)), NULL, e);
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &test_user, PARAMS(v_uuid(&ann), v_text(S("a@x")), v_text(S("Ann")), v_int(0)), NULL,
                     e);
    return rc;
}

static int set_up(void **state)
{
    static const uint8_t master[32] = {1};
    static const struct option_table *const tables[] = {&notify_options};
    struct config_source source = {.tables = tables, .n_tables = 1};
    struct state *s = calloc(1, sizeof *s);
    struct buf problems;
    void *fixture;
    assert_int_equal(fixture_set_up(&fixture), 0);
    s->f = fixture;
    arena_init(&s->a, 4u << 20, 0);
    buf_init(&problems, 10000);
    assert_int_equal(config_load(&s->a, &source, &s->config, &problems, &s->e), ERR_NONE);
    buf_fini(&problems);
    assert_int_equal(events_new(&s->log, s->f->store, master, &s->e), ERR_NONE);
    assert_int_equal(notify_new(&s->notify, s->f->store, s->log, NULL, NULL, s->config, &s->e), ERR_NONE);
    assert_int_equal(db_write(main_db(s), people_unit, NULL, &s->e), ERR_NONE);
    assert_int_equal(events_start(s->log, &s->e), ERR_NONE);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct state *s = *state;
    void *fixture = s->f;
    events_free(s->log);
    notify_free(s->notify);
    arena_fini(&s->a);
    free(s);
    return fixture_tear_down(&fixture);
}

struct looking {
    struct arena *a;
    struct rows rows;
};

static enum errc told_unit(struct tx *tx, void *ctx, err *e)
{
    struct looking *l = ctx;
    return tx_query(tx, l->a, &test_told, NULL, 0, &l->rows, e);
}

static struct rows told(struct state *s, unsigned n)
{
    struct looking l = {.a = &s->a};
    for (unsigned i = 0; i < 10000 && l.rows.n < n; i++) {
        assert_int_equal(db_read(main_db(s), told_unit, &l, &s->e), ERR_NONE);
        usleep(2000);
    }
    assert_int_equal(l.rows.n, n);
    return l.rows;
}

static enum errc event_unit(struct tx *tx, void *ctx, err *e) { return tx_event(tx, ctx, e); }

static void add(struct state *s, const char *type, unsigned n, const char *metadata)
{
    struct event ev = {.id = event_id_of(&cause, n),
                       .at_us = 1700000000000000,
                       .type = str_c(type),
                       .workspace_id = workspace,
                       .resource_type = S("thing"),
                       .metadata = str_c(metadata)};
    assert_int_equal(db_write(main_db(s), event_unit, &ev, &s->e), ERR_NONE);
}

static void a_stuck_listener_is_told_to_every_administrator_of_the_instance(void **state)
{
    struct state *s = *state;
    add(s, "listener.parked", 1, "{\"listener\":\"webhooks\",\"reason\":\"no route\"}");
    struct rows rows = told(s, 2);
    uuid first = val_uuid(&row_at(&rows, 0)[0]), other = val_uuid(&row_at(&rows, 1)[0]);
    assert_memory_equal(&first, &root, sizeof root);
    assert_memory_equal(&other, &second_root, sizeof root);
    assert_true(str_eq(val_str(&row_at(&rows, 0)[2]), S("The listener webhooks of the event log is stuck")));
    assert_true(str_eq(val_str(&row_at(&rows, 0)[3]), S("no route")));
}

static void a_failed_job_is_told_to_who_started_it(void **state)
{
    struct state *s = *state;
    char metadata[200], id[UUID_TEXT_LEN + 1];
    snprintf(metadata, sizeof metadata,
             "{\"kind\":\"workspace.export\",\"user\":\"%s\",\"reason\":\"disk full\"}",
             uuid_format(&ann, id).p);
    add(s, "job.failed", 1, "{\"kind\":\"x\",\"user\":null,\"reason\":\"nobody asked for it\"}");
    add(s, "job.failed", 2, metadata);
    struct rows rows = told(s, 1);
    uuid who = val_uuid(&row_at(&rows, 0)[0]);
    assert_memory_equal(&who, &ann, sizeof ann);
    assert_true(str_eq(val_str(&row_at(&rows, 0)[2]), S("The job workspace.export has failed")));
}

static enum errc notify_unit(struct tx *tx, void *ctx, err *e) { return tx_notify(tx, ctx, e); }

static enum errc refuse_unit(struct tx *tx, void *ctx, err *e)
{
    (void)ctx;
    return tx_exec(tx, &test_refuse, PARAMS(v_uuid(&ann), v_text(S("job.failed"))), NULL, e);
}

static void a_notification_is_there_once_wanted_and_cut_between_characters(void **state)
{
    struct state *s = *state;
    char title[400];
    for (unsigned i = 0; i < 198; i++)
        title[i] = 'x';
    strcpy(title + 198, "\xe2\x82\xac\xe2\x82\xac"); /* the limit is in the middle of a euro sign */
    struct notice n = {
        .cause_id = cause, .user_id = ann, .kind = S("member.updated"), .title = str_c(title), .now_us = 1};
    assert_int_equal(db_write(main_db(s), notify_unit, &n, &s->e), ERR_NONE);
    assert_int_equal(db_write(main_db(s), notify_unit, &n, &s->e), ERR_NONE);
    struct rows rows = told(s, 1);
    assert_int_equal(val_str(&row_at(&rows, 0)[2]).len, 198);
    assert_int_equal(db_write(main_db(s), refuse_unit, NULL, &s->e), ERR_NONE);
    n.kind = S("job.failed");
    n.cause_id.b[1] = 1;
    assert_int_equal(db_write(main_db(s), notify_unit, &n, &s->e), ERR_NONE);
    n.user_id = root;
    assert_int_equal(db_write(main_db(s), notify_unit, &n, &s->e), ERR_NONE);
    rows = told(s, 2);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    log_set_fd(-1);
    if (stats_init(1) != ERR_NONE) return 1;
    const struct CMUnitTest tests[] = {
        T(a_stuck_listener_is_told_to_every_administrator_of_the_instance),
        T(a_failed_job_is_told_to_who_started_it),
        T(a_notification_is_there_once_wanted_and_cut_between_characters),
    };
    return RUN_ON_BOTH(tests);
}
