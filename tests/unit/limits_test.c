/* Limits of tries: a hundred failures in a row, ceilings of workspaces and of all, what each kind allows. On both engines. */
#include "store_fixture.h"

#include "core/backend.h"
#include "core/identity/internal.h"

#define START_US (1795500000LL * USEC_PER_S)

SQL(test_user, DB_MAIN, SQL_INSTANCE, "uttttiiii",
    "INSERT INTO users (id, email, email_key, name, password, is_instance_admin, is_disabled, created_us, updated_us) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)");
SQL(test_workspace, DB_MAIN, SQL_INSTANCE, "uttiii", "INSERT INTO workspaces (id, name, settings, created_us, updated_us, version) VALUES ($1, $2, $3, $4, $5, $6)");
SQL(test_member, DB_MAIN, 0, "uuti", "INSERT INTO memberships (workspace_id, user_id, role, created_us) VALUES ($1, $2, $3, $4)");
SQL(test_alerts, DB_MAIN, SQL_INSTANCE, "t", "SELECT workspace_id FROM events WHERE type = $1 ORDER BY seq");

SQL(test_raise, DB_MAIN, SQL_INSTANCE, "iti", "UPDATE sign_in_counters SET n = $1 WHERE subject LIKE $2 AND n = $3");

static const uuid ada = {{1}}, eve = {{2}}, place = {{7}}, other = {{8}};

struct scene {
    struct store_fixture *f;
    struct events *log;
    struct db *db;
    struct arena a;
    err e;
    unsigned n_addresses, n_alerts;
};

static enum errc person(struct tx *tx, const uuid *id, const char *email, const uuid *workspace, err *e)
{
    str text = str_c(email);
    enum errc rc = tx_exec_unaudited(tx, &test_user, PARAMS(v_uuid(id), v_text(text), v_text(text), v_text(text), v_text(S("")), v_int(0), v_int(0), v_int(START_US), v_int(START_US)), NULL, e);
    if (rc == ERR_NONE) rc = tx_exec_unaudited(tx, &test_workspace, PARAMS(v_uuid(workspace), v_text(text), v_text(S("{}")), v_int(START_US), v_int(START_US), v_int(1)), NULL, e);
    return rc == ERR_NONE ? tx_exec_unaudited(tx, &test_member, PARAMS(v_uuid(workspace), v_uuid(id), v_text(S("owner")), v_int(START_US)), NULL, e) : rc;
}

static enum errc people_unit(struct tx *tx, void *ctx, err *e)
{
    (void)ctx;
    enum errc rc = person(tx, &ada, "ada@example.com", &place, e);
    return rc == ERR_NONE ? person(tx, &eve, "eve@example.com", &other, e) : rc;
}

SQL(test_clear, DB_MAIN, SQL_INSTANCE, "", "DELETE FROM sign_in_counters");

static enum errc clear_unit(struct tx *tx, void *ctx, err *e)
{
    (void)ctx;
    return tx_exec_unaudited(tx, &test_clear, NULL, 0, NULL, e);
}

/* One store for all tests of an engine: each begins without counters. */
static struct scene *shared;

static int set_up(void **state)
{
    static const uint8_t people[32];
    struct scene *s = shared;
    clock_freeze(START_US, START_US);
    if (s) {
        *state = s;
        return db_write(s->db, clear_unit, NULL, &s->e) == ERR_NONE ? 0 : -1;
    }
    if (fixture_set_up(state)) return -1;
    s = shared = calloc(1, sizeof *s);
    s->f = *state;
    *state = s;
    arena_init(&s->a, 16u << 20, 0);
    s->db = store_db(s->f->store, DB_MAIN);
    return events_new(&s->log, s->f->store, people, &s->e) || db_write(s->db, people_unit, NULL, &s->e);
}

static void close_shared(void)
{
    struct scene *s = shared;
    if (!s) return;
    void *fixture = s->f;
    events_free(s->log);
    arena_fini(&s->a);
    free(s);
    shared = NULL;
    clock_unfreeze();
    fixture_tear_down(&fixture);
}

#define T(test) cmocka_unit_test_setup(test, set_up)

static struct limit_try a_try(struct scene *s, enum limit_kind kind, const uuid *user, bool is_known)
{
    unsigned n = s->n_addresses++;
    return (struct limit_try){.kind = kind,
                              .account = user ? str_of((const char *)user->b, sizeof user->b) : S("nobody@example.com"),
                              .user_id = user ? *user : (uuid){{0}},
                              .address = arena_printf(&s->a, "10.%u.%u.%u", n >> 16 & 255, n >> 8 & 255, n & 255),
                              .is_known_device = is_known};
}

static unsigned begin(struct scene *s, struct limit_try *t, usec now)
{
    unsigned wait_s = 0;
    enum errc rc = limit_begin(s->db, t, now, &wait_s, &s->e);
    assert_true(rc == ERR_NONE || (rc == ERR_RATE_LIMITED && wait_s > 0));
    return wait_s;
}

struct proof {
    const struct limit_try *t;
    bool is_reset;
};

static enum errc right_unit(struct tx *tx, void *ctx, err *e)
{
    struct proof *p = ctx;
    return p->is_reset ? limit_reset(tx, &p->t->user_id, p->t->account, e) : limit_succeeded(tx, p->t, e);
}

static void right(struct scene *s, const struct limit_try *t, bool is_reset)
{
    struct proof p = {t, is_reset};
    assert_int_equal(db_write(s->db, right_unit, &p, &s->e), ERR_NONE);
}

struct raising {
    str pattern;
    int64_t from, to;
};

static enum errc raise_unit(struct tx *tx, void *ctx, err *e)
{
    const struct raising *r = ctx;
    int64_t n = 0;
    enum errc rc = tx_exec_unaudited(tx, &test_raise, PARAMS(v_int(r->to), v_text(r->pattern), v_int(r->from)), &n, e);
    assert_true(n > 0);
    return rc;
}

/* As if it had happened so often. */
static void raise_to(struct scene *s, str pattern, int64_t from, int64_t to)
{
    struct raising r = {pattern, from, to};
    assert_int_equal(db_write(s->db, raise_unit, &r, &s->e), ERR_NONE);
}

/* Fails until a hundred have failed in a row; returns when the delay is over. */
static usec fail_a_hundred_times(struct scene *s, enum limit_kind kind, const uuid *user, bool is_known, usec now)
{
    for (unsigned i = 0; i < 2; i++) {
        struct limit_try t = a_try(s, kind, user, is_known);
        assert_int_equal(begin(s, &t, now), 0);
        assert_false(t.is_locked);
        if (i == 0) raise_to(s, is_known ? S("row:known:%") : kind == LIMIT_FACTOR ? S("row:factor:%") : S("row:account:%"), 1, LIMIT_IN_A_ROW - 1);
    }
    return now + USEC_PER_DAY;
}

static void after_a_hundred_failures_in_a_row_an_unknown_device_is_never_right(void **state)
{
    struct scene *s = *state;
    usec now = fail_a_hundred_times(s, LIMIT_PASSWORD, &ada, false, START_US);
    struct limit_try stranger = a_try(s, LIMIT_PASSWORD, &ada, false), known = a_try(s, LIMIT_PASSWORD, &ada, true), other_one = a_try(s, LIMIT_PASSWORD, &eve, false);
    assert_int_equal(begin(s, &stranger, now), 0);
    assert_true(stranger.is_locked);
    assert_int_equal(begin(s, &other_one, now), 0);
    assert_false(other_one.is_locked);
    now += 100 * USEC_PER_DAY; /* and time does not heal it */
    stranger.is_counted = false;
    assert_int_equal(begin(s, &stranger, now), 0);
    assert_true(stranger.is_locked);
    assert_int_equal(begin(s, &known, now), 0); /* the person themself gets in */
    assert_false(known.is_locked);
    right(s, &known, false);
    stranger = a_try(s, LIMIT_PASSWORD, &ada, false);
    assert_int_equal(begin(s, &stranger, now), 0);
    assert_false(stranger.is_locked);
}

static void a_reset_by_mail_forgets_failures_of_password_and_codes(void **state)
{
    struct scene *s = *state;
    usec now = fail_a_hundred_times(s, LIMIT_FACTOR, &ada, false, START_US);
    struct limit_try t = a_try(s, LIMIT_FACTOR, &ada, false);
    assert_int_equal(begin(s, &t, now), 0);
    assert_true(t.is_locked);
    right(s, &t, true);
    t = a_try(s, LIMIT_FACTOR, &ada, false);
    assert_int_equal(begin(s, &t, now), 0);
    assert_false(t.is_locked);
}

static void a_stolen_known_device_has_a_hundred_failures_too(void **state)
{
    struct scene *s = *state;
    usec now = fail_a_hundred_times(s, LIMIT_PASSWORD, &ada, true, START_US);
    now = fail_a_hundred_times(s, LIMIT_PASSWORD, &ada, false, now);
    struct limit_try t = a_try(s, LIMIT_PASSWORD, &ada, true);
    assert_int_equal(begin(s, &t, now), 0);
    assert_true(t.is_locked);
}

static unsigned alerts(struct scene *s, uuid *last);

static void fail_with(struct scene *s, const uuid *user, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct limit_try t = a_try(s, LIMIT_PASSWORD, user, false);
        assert_int_equal(limit_failed(s->db, &t, START_US, &s->e), ERR_NONE);
    }
}

static void a_workspace_under_attack_is_closed_to_unknown_devices_and_tells_once(void **state)
{
    struct scene *s = *state;
    uuid where;
    fail_with(s, &ada, 1);
    raise_to(s, S("ceiling:%"), 1, LIMIT_WORKSPACE - 1);
    struct limit_try t = a_try(s, LIMIT_PASSWORD, &ada, false), known = a_try(s, LIMIT_PASSWORD, &ada, true), elsewhere = a_try(s, LIMIT_PASSWORD, &eve, false);
    assert_int_equal(begin(s, &t, START_US), 0);
    assert_false(t.is_locked);
    assert_int_equal(alerts(s, &where), 0);
    fail_with(s, &ada, 3);
    assert_int_equal(alerts(s, &where), 1); /* of the workspace; the instance is far from its own */
    assert_memory_equal(&where, &place, sizeof where);
    t = a_try(s, LIMIT_PASSWORD, &ada, false);
    assert_int_equal(begin(s, &t, START_US), 0); /* no other answer than a wrong password gets */
    assert_true(t.is_locked);
    assert_int_equal(begin(s, &known, START_US), 0);
    assert_false(known.is_locked);
    assert_int_equal(begin(s, &elsewhere, START_US), 0);
    assert_false(elsewhere.is_locked);
    t = a_try(s, LIMIT_PASSWORD, &ada, false);
    assert_int_equal(begin(s, &t, START_US + 600 * USEC_PER_S), 0);
    assert_false(t.is_locked);
}

static void an_instance_under_attack_lets_only_known_devices_try(void **state)
{
    struct scene *s = *state;
    uuid where;
    fail_with(s, NULL, 1);
    raise_to(s, S("ceiling:%"), 1, LIMIT_INSTANCE - 1);
    fail_with(s, NULL, 1);
    struct limit_try t = a_try(s, LIMIT_PASSWORD, &eve, false), known = a_try(s, LIMIT_PASSWORD, &eve, true), nobody = a_try(s, LIMIT_PASSWORD, NULL, false);
    assert_int_equal(alerts(s, &where), 1);
    assert_true(uuid_is_nil(&where));
    assert_int_equal(begin(s, &t, START_US + 60 * USEC_PER_S), 540);
    assert_int_equal(begin(s, &nobody, START_US + 60 * USEC_PER_S), 540);
    assert_int_equal(begin(s, &known, START_US + 60 * USEC_PER_S), 0);
    assert_int_equal(begin(s, &t, START_US + 600 * USEC_PER_S), 0);
}

struct alerts {
    struct arena *a;
    struct rows rows;
};

static enum errc alerts_unit(struct tx *tx, void *ctx, err *e)
{
    struct alerts *found = ctx;
    return tx_query(tx, found->a, &test_alerts, PARAMS(v_text(S("limit.ceiling_reached"))), &found->rows, e);
}

/* Since the last look. */
static unsigned alerts(struct scene *s, uuid *last)
{
    struct alerts found = {.a = &s->a};
    assert_int_equal(db_read(s->db, alerts_unit, &found, &s->e), ERR_NONE);
    unsigned n = found.rows.n - s->n_alerts;
    *last = n ? val_uuid(&row_at(&found.rows, found.rows.n - 1)[0]) : (uuid){{0}};
    s->n_alerts = found.rows.n;
    return n;
}

static void each_kind_has_its_own_counts_of_accounts(void **state)
{
    static const struct {
        enum limit_kind kind;
        unsigned n; /* tries of an account side by side */
    } kinds[] = {{LIMIT_PASSWORD, 5}, {LIMIT_FACTOR, 5}, {LIMIT_RECOVERY, 5}, {LIMIT_PASSKEY, 5}, {LIMIT_DEVICE, 10}, {LIMIT_RESET, 3}};
    struct scene *s = *state;
    for (size_t k = 0; k < LENGTH_OF(kinds); k++)
        for (unsigned i = 0; i <= kinds[k].n; i++) {
            struct limit_try t = a_try(s, kinds[k].kind, &ada, false);
            unsigned wait_s = begin(s, &t, START_US);
            assert_int_equal(wait_s > 0, i == kinds[k].n);
        }
}

static void each_kind_has_its_limit_of_an_address(void **state)
{
    static const struct {
        enum limit_kind kind;
        unsigned n;
    } kinds[] = {{LIMIT_PASSWORD, 20}, {LIMIT_INVITATION, 20}, {LIMIT_REFRESH, 60}, {LIMIT_RESET, 20}};
    struct scene *s = *state;
    for (size_t k = 0; k < LENGTH_OF(kinds); k++)
        for (unsigned i = 0; i <= kinds[k].n; i++) {
            str subnet = arena_printf(&s->a, "2001:db8:%zu:1:%x::1", k, i); /* one /64 */
            struct limit_try t = {.kind = kinds[k].kind, .address = subnet};
            assert_int_equal(begin(s, &t, START_US) > 0, i == kinds[k].n);
        }
    struct limit_try of_code = {.kind = LIMIT_FACTOR, .address = S("2001:db8:0:1::9")};
    assert_true(begin(s, &of_code, START_US) > 0); /* passwords and codes are failures of one address */
    struct limit_try next = {.kind = LIMIT_PASSWORD, .address = S("2001:db8:0:2::9")};
    assert_int_equal(begin(s, &next, START_US), 0);
}

static enum errc purge_unit(struct tx *tx, void *ctx, err *e) { return limit_purge(tx, *(usec *)ctx, e); }

static void what_a_person_failed_at_is_kept_for_a_year_and_that_of_nobody_for_two_days(void **state)
{
    struct scene *s = *state;
    usec now = fail_a_hundred_times(s, LIMIT_PASSWORD, &ada, false, START_US) + 30 * USEC_PER_DAY;
    assert_int_equal(db_write(s->db, purge_unit, &now, &s->e), ERR_NONE);
    struct limit_try t = a_try(s, LIMIT_PASSWORD, &ada, false);
    assert_int_equal(begin(s, &t, now), 0);
    assert_true(t.is_locked);
    now += 401 * USEC_PER_DAY;
    assert_int_equal(db_write(s->db, purge_unit, &now, &s->e), ERR_NONE);
    t = a_try(s, LIMIT_PASSWORD, &ada, false);
    assert_int_equal(begin(s, &t, now), 0);
    assert_false(t.is_locked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(after_a_hundred_failures_in_a_row_an_unknown_device_is_never_right),
        T(a_reset_by_mail_forgets_failures_of_password_and_codes),
        T(a_stolen_known_device_has_a_hundred_failures_too),
        T(a_workspace_under_attack_is_closed_to_unknown_devices_and_tells_once),
        T(an_instance_under_attack_lets_only_known_devices_try),
        T(each_kind_has_its_own_counts_of_accounts),
        T(each_kind_has_its_limit_of_an_address),
        T(what_a_person_failed_at_is_kept_for_a_year_and_that_of_nobody_for_two_days),
    };
    int failed = RUN_ON_SQLITE(tests);
    close_shared();
    failed += RUN_ON_POSTGRES(tests);
    close_shared();
    return failed;
}
