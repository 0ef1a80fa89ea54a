/* Identity on the database: sessions and keys over time, limits that grow, and what is decided anew on
 * every request. On both engines. */
#include "store_fixture.h"

#include "core/backend.h"
#include "core/identity/internal.h"
#include "core/workspaces.h"

#define START_US (1795500000LL * USEC_PER_S)
#define ORIGIN "http://127.0.0.1:8080"
#define PASSWORD "hollow turnip engraves cobalt"

SQL(test_sessions, DB_MAIN, SQL_INSTANCE, "", "SELECT COUNT(*) FROM sessions");
SQL(test_disable, DB_MAIN, SQL_INSTANCE, "iu", "UPDATE users SET is_disabled = $1 WHERE id = $2");
SQL(test_counters, DB_MAIN, SQL_INSTANCE, "", "SELECT COUNT(*) FROM sign_in_counters");

struct scene {
    struct store_fixture *f;
    struct config *config;
    struct secrets *secrets;
    struct events *log;
    struct identity *id;
    struct setup_result made;
    struct arena a;
    err e;
};

static const char *const no_environment[] = {NULL};

static int set_up(void **state)
{
    if (fixture_set_up(state)) return -1;
    struct scene *s = calloc(1, sizeof *s);
    static const struct option_table *const tables[] = {&secrets_options, &identity_options, &workspaces_options};
    static const struct config_setting flags[] = {
        {S("identity.argon2_memory"), S("8KiB"), S("")},
        {S("identity.argon2_passes"), S("1"), S("")},
    };
    struct config_source source = {.environ = no_environment,
                                   .flags = flags,
                                   .n_flags = LENGTH_OF(flags),
                                   .tables = tables,
                                   .n_tables = LENGTH_OF(tables)};
    struct buf problems;
    uint8_t people[32];
    s->f = *state;
    *state = s;
    buf_init(&problems, 1 << 16);
    arena_init(&s->a, 16u << 20, 0);
    clock_freeze(START_US, START_US);
    if (config_load(&s->a, &source, &s->config, &problems, &s->e) ||
        secrets_open(&s->secrets, s->config, s->f->dir, &s->e))
        return -1;
    secrets_derive(s->secrets, "people", people);
    struct identity_source identity = {
        .store = s->f->store, .secrets = s->secrets, .config = s->config, .public_url = S(ORIGIN)};
    struct setup_request wanted = {S("ada@example.com"), S("Ada"), S(PASSWORD), S("First")};
    buf_fini(&problems);
    return events_new(&s->log, s->f->store, people, &s->e) || identity_new(&s->id, &identity, &s->e) ||
           identity_setup(s->id, &s->a, &wanted, &s->made, &s->e);
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    clock_unfreeze();
    identity_free(s->id);
    events_free(s->log);
    secrets_free(s->secrets);
    arena_fini(&s->a);
    *state = s->f;
    free(s);
    return fixture_tear_down(state);
}

/* --- requests --- */

static const struct api_route open_route = {.access = ACCESS_PUBLIC},
                              closed_route = {.access = ACCESS_SIGNED_IN};

static struct api_request request(struct scene *s, usec now, enum http_method method)
{
    return (struct api_request){.arena = &s->a,
                                .route = &closed_route,
                                .store = s->f->store,
                                .service = s->id,
                                .now_us = now,
                                .request_id = uuid7_make(now),
                                .method = method,
                                .address = S("192.0.2.7"),
                                .user_agent = S("test")};
}

static void field(struct http_head *h, str name, str value)
{
    h->fields[h->n_fields++] = (struct http_field){name, value};
}

struct starting {
    struct api_request *r;
    struct fresh_session *fresh;
};

static enum errc start_unit(struct tx *tx, void *ctx, err *e)
{
    struct starting *x = ctx;
    return session_start(x->r, tx, x->fresh, e);
}

/* A session of Ada's that begins now; its cookie. */
static str sign_in(struct scene *s, usec now, struct fresh_session *fresh)
{
    struct api_request r = request(s, now, HTTP_POST);
    struct user ada = {
        .id = s->made.user_id, .email = S("ada@example.com"), .name = S("Ada"), .is_instance_admin = true};
    assert_int_equal(session_prepare(&r, &ada, fresh, &s->e), ERR_NONE);
    struct starting x = {&r, fresh};
    assert_int_equal(db_write(s->id->db, start_unit, &x, &s->e), ERR_NONE);
    return arena_printf(&s->a, "cat_session=%s", fresh->token.text);
}

static enum errc ask(struct scene *s, usec now, str cookie, struct api_request *r)
{
    struct http_head h = {.n_fields = 0};
    *r = request(s, now, HTTP_GET);
    field(&h, S("Cookie"), cookie);
    return identity_authenticate(s->id, r, &h, &s->e);
}

static enum errc ask_by_key(struct scene *s, usec now, str key, struct api_request *r)
{
    struct http_head h = {.n_fields = 0};
    *r = request(s, now, HTTP_GET);
    field(&h, S("Authorization"), arena_printf(&s->a, "Bearer %.*s", STR(key)));
    return identity_authenticate(s->id, r, &h, &s->e);
}

struct counting {
    const struct sql *sql;
    int64_t n;
};

static enum errc count_unit(struct tx *tx, void *ctx, err *e)
{
    struct counting *c = ctx;
    struct arena a;
    const struct val *row;
    arena_init(&a, 1 << 16, 0);
    enum errc rc = tx_query_row(tx, &a, c->sql, NULL, 0, &row, e);
    c->n = rc == ERR_NONE ? val_int(&row[0]) : -1;
    arena_fini(&a);
    return rc;
}

static int64_t count(struct scene *s, const struct sql *sql)
{
    struct counting c = {.sql = sql};
    assert_int_equal(db_read(s->id->db, count_unit, &c, &s->e), ERR_NONE);
    return c.n;
}

/* --- sessions --- */

static void a_session_lives_as_long_as_it_is_used_and_no_longer_than_it_may(void **state)
{
    struct scene *s = *state;
    struct fresh_session fresh;
    struct api_request r;
    usec hour = 3600LL * USEC_PER_S, now = START_US;
    str cookie = sign_in(s, now, &fresh);
    assert_int_equal(ask(s, now + 12 * hour - 1, cookie, &r), ERR_NONE);
    assert_int_equal(r.who.kind, PRINCIPAL_SESSION);
    assert_memory_equal(&r.who.user_id, &s->made.user_id, sizeof(uuid));
    for (now += 12 * hour - 1; now < START_US + 720 * hour; now += 10 * hour)
        assert_int_equal(ask(s, now, cookie, &r), ERR_NONE);
    assert_int_equal(ask(s, START_US + 720 * hour - 1, cookie, &r), ERR_NONE);
    assert_int_equal(ask(s, START_US + 720 * hour, cookie, &r), ERR_UNAUTHENTICATED);
    str other = sign_in(s, START_US, &fresh);
    assert_int_equal(ask(s, START_US + 12 * hour, other, &r), ERR_UNAUTHENTICATED);
    assert_int_equal(r.who.kind, PRINCIPAL_NONE);
}

static void sessions_that_have_ended_are_forgotten(void **state)
{
    struct scene *s = *state;
    struct fresh_session fresh;
    sign_in(s, START_US, &fresh);
    sign_in(s, START_US + 1, &fresh);
    assert_int_equal(count(s, &test_sessions), 2);
    sign_in(s, START_US + USEC_PER_DAY, &fresh);
    assert_int_equal(count(s, &test_sessions), 1);
    clock_freeze(START_US + 3 * USEC_PER_DAY, START_US);
    assert_int_equal(db_write(s->id->db, identity_tidy, s->id, &s->e), ERR_NONE);
    assert_int_equal(count(s, &test_sessions), 0);
}

static void an_old_cookie_keeps_nobody_from_what_is_open_to_all(void **state)
{
    struct scene *s = *state;
    struct http_head h = {.n_fields = 0};
    struct api_request r = request(s, START_US, HTTP_GET);
    field(&h, S("Cookie"), arena_printf(&s->a, "a=b; cat_session=%064d; c", 7));
    assert_int_equal(identity_authenticate(s->id, &r, &h, &s->e), ERR_UNAUTHENTICATED);
    r.route = &open_route;
    assert_int_equal(identity_authenticate(s->id, &r, &h, &s->e), ERR_NONE);
    assert_int_equal(r.who.kind, PRINCIPAL_NONE);
}

static void over_tls_only_the_cookie_with_the_host_prefix_counts(void **state)
{
    struct scene *s = *state;
    struct fresh_session fresh;
    struct http_head h = {.n_fields = 0};
    str plain = sign_in(s, START_US, &fresh);
    struct api_request r = request(s, START_US, HTTP_GET);
    r.is_secure = true;
    field(&h, S("Cookie"), plain);
    assert_int_equal(identity_authenticate(s->id, &r, &h, &s->e), ERR_NONE);
    assert_int_equal(r.who.kind, PRINCIPAL_NONE);
    h.fields[0].value = arena_printf(&s->a, "__Host-%.*s", STR(plain));
    assert_int_equal(identity_authenticate(s->id, &r, &h, &s->e), ERR_NONE);
    assert_int_equal(r.who.kind, PRINCIPAL_SESSION);
    cookie_set(&r, session_cookie_name(&r), S("x"), 5);
    assert_true(
        str_eq(r.cookies[0], S("__Host-cat_session=x; Path=/; Max-Age=5; HttpOnly; SameSite=Lax; Secure")));
}

static void the_password_counts_as_given_for_ten_minutes(void **state)
{
    struct scene *s = *state;
    struct fresh_session fresh;
    struct api_request r;
    str cookie = sign_in(s, START_US, &fresh);
    assert_int_equal(ask(s, START_US + 600LL * USEC_PER_S - 1, cookie, &r), ERR_NONE);
    assert_int_equal(recently_authenticated(&r, &s->e), ERR_NONE);
    assert_int_equal(ask(s, START_US + 600LL * USEC_PER_S, cookie, &r), ERR_NONE);
    assert_int_equal(recently_authenticated(&r, &s->e), ERR_REAUTHENTICATE);
    assert_int_equal(ask_by_key(s, START_US, s->made.api_key, &r), ERR_NONE);
    assert_int_equal(recently_authenticated(&r, &s->e), ERR_FORBIDDEN);
}

static void a_forged_change_is_refused(void **state)
{
    struct scene *s = *state;
    struct fresh_session fresh, other;
    str cookie = sign_in(s, START_US, &fresh);
    sign_in(s, START_US, &other);
    str right = csrf_token(s->id, &s->a, &fresh.id), wrong = csrf_token(s->id, &s->a, &other.id);
    const struct {
        str origin, site, token;
        enum errc rc;
    } rows[] = {
        {S(ORIGIN), {NULL, 0}, right, ERR_NONE},
        {S("http://localhost:8080"), {NULL, 0}, right, ERR_NONE},
        {S("http://[::1]:8080"), {NULL, 0}, right, ERR_NONE},
        {S("https://127.0.0.1:8080"), {NULL, 0}, right, ERR_FORBIDDEN},
        {S("http://127.0.0.1:8081"), {NULL, 0}, right, ERR_FORBIDDEN},
        {S("http://localhost:8080.evil"), {NULL, 0}, right, ERR_FORBIDDEN},
        {S("http://localhost"), {NULL, 0}, right, ERR_FORBIDDEN},
        {S("null"), {NULL, 0}, right, ERR_FORBIDDEN},
        {{NULL, 0}, S("same-origin"), right, ERR_NONE},
        {S(ORIGIN), S("cross-site"), right, ERR_FORBIDDEN},
        {{NULL, 0}, {NULL, 0}, right, ERR_FORBIDDEN},
        {S(ORIGIN), {NULL, 0}, wrong, ERR_FORBIDDEN},
        {S(ORIGIN), {NULL, 0}, {NULL, 0}, ERR_FORBIDDEN},
    };
    for (size_t i = 0; i < LENGTH_OF(rows); i++) {
        struct http_head h = {.n_fields = 0};
        struct api_request r = request(s, START_US, HTTP_DELETE);
        field(&h, S("cookie"), cookie);
        if (rows[i].origin.p) field(&h, S("Origin"), rows[i].origin);
        if (rows[i].site.p) field(&h, S("Sec-Fetch-Site"), rows[i].site);
        if (rows[i].token.p) field(&h, S("X-CSRF-Token"), rows[i].token);
        enum errc rc = identity_authenticate(s->id, &r, &h, &s->e);
        if (rc != rows[i].rc) fail_msg("row %zu: %s instead of %s", i, errc_name(rc), errc_name(rows[i].rc));
    }
}

/* --- keys --- */

static void a_key_ends_with_its_day_and_with_its_user(void **state)
{
    struct scene *s = *state;
    struct api_request r;
    usec end = START_US + KEY_DAYS_MAX * USEC_PER_DAY;
    assert_int_equal(ask_by_key(s, end - 1, s->made.api_key, &r), ERR_NONE);
    assert_int_equal(r.who.kind, PRINCIPAL_API_KEY);
    assert_false(r.who.is_instance_admin);
    assert_int_equal(ask_by_key(s, end, s->made.api_key, &r), ERR_UNAUTHENTICATED);
}

struct disabling {
    const uuid *user;
    int64_t is_disabled;
};

static enum errc disable_unit(struct tx *tx, void *ctx, err *e)
{
    const struct disabling *d = ctx;
    return tx_exec_unaudited(tx, &test_disable, PARAMS(v_int(d->is_disabled), v_uuid(d->user)), NULL, e);
}

static void whoever_is_disabled_is_out_at_the_next_request(void **state)
{
    struct scene *s = *state;
    struct fresh_session fresh;
    struct api_request r;
    struct disabling d = {&s->made.user_id, 1};
    str cookie = sign_in(s, START_US, &fresh);
    assert_int_equal(ask(s, START_US, cookie, &r), ERR_NONE);
    assert_int_equal(db_write(s->id->db, disable_unit, &d, &s->e), ERR_NONE);
    assert_int_equal(ask(s, START_US, cookie, &r), ERR_UNAUTHENTICATED);
    assert_int_equal(ask_by_key(s, START_US, s->made.api_key, &r), ERR_UNAUTHENTICATED);
    d.is_disabled = 0;
    assert_int_equal(db_write(s->id->db, disable_unit, &d, &s->e), ERR_NONE);
    assert_int_equal(ask(s, START_US, cookie, &r), ERR_NONE);
}

/* --- limits --- */

static enum errc try_once(struct scene *s, str account, str address, bool is_known, usec now,
                          unsigned *wait_s)
{
    struct limit_try t = {.account = account, .address = address, .is_known_device = is_known};
    *wait_s = 0;
    return limit_begin(s->id->db, &t, now, wait_s, &s->e);
}

static void an_account_waits_twice_as_long_after_each_failure_up_to_a_quarter_of_an_hour(void **state)
{
    struct scene *s = *state;
    usec now = START_US;
    unsigned wait_s, expected_s = 1;
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(try_once(s, S("ada"), arena_printf(&s->a, "192.0.2.%u", i), false, now, &wait_s),
                         ERR_NONE);
    for (unsigned i = 5; i < 20; i++) {
        str address = arena_printf(&s->a, "192.0.2.%u", i);
        assert_int_equal(try_once(s, S("ada"), address, false, now, &wait_s), ERR_RATE_LIMITED);
        assert_int_equal(wait_s, expected_s);
        assert_int_equal(try_once(s, S("ada"), address, true, now, &wait_s), ERR_NONE); /* a known device */
        now += expected_s * USEC_PER_S;
        assert_int_equal(try_once(s, S("ada"), address, false, now - 1, &wait_s), ERR_RATE_LIMITED);
        assert_int_equal(try_once(s, S("ada"), address, false, now, &wait_s), ERR_NONE);
        expected_s = expected_s * 2 > LIMIT_ACCOUNT_DELAY_MAX_S ? LIMIT_ACCOUNT_DELAY_MAX_S : expected_s * 2;
    }
    assert_int_equal(expected_s, LIMIT_ACCOUNT_DELAY_MAX_S);
    now += USEC_PER_DAY;
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(try_once(s, S("ada"), S("192.0.2.99"), false, now, &wait_s), ERR_NONE);
}

struct undoing {
    struct limit_try *t;
};

static enum errc right_unit(struct tx *tx, void *ctx, err *e)
{
    return limit_succeeded(tx, ((struct undoing *)ctx)->t, e);
}

static void a_right_password_ends_the_delay_and_its_own_try_counts_as_no_failure(void **state)
{
    struct scene *s = *state;
    unsigned wait_s;
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(try_once(s, S("ada"), S("192.0.2.1"), false, START_US, &wait_s), ERR_NONE);
    for (unsigned i = 0; i < 30; i++) {
        struct limit_try t = {.account = S("ada"), .address = S("192.0.2.1")};
        struct undoing u = {&t};
        assert_int_equal(limit_begin(s->id->db, &t, START_US, &wait_s, &s->e), ERR_NONE);
        assert_int_equal(db_write(s->id->db, right_unit, &u, &s->e), ERR_NONE);
    }
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(try_once(s, S("ada"), S("192.0.2.1"), false, START_US, &wait_s), ERR_NONE);
    assert_int_equal(try_once(s, S("ada"), S("192.0.2.1"), false, START_US, &wait_s), ERR_RATE_LIMITED);
}

static void what_could_not_be_looked_at_is_forgiven(void **state)
{
    struct scene *s = *state;
    unsigned wait_s;
    for (unsigned i = 0; i < 30; i++) {
        struct limit_try t = {.account = S("ada"), .address = S("192.0.2.1")};
        assert_int_equal(limit_begin(s->id->db, &t, START_US, &wait_s, &s->e), ERR_NONE);
        assert_int_equal(limit_forgive(s->id->db, &t, &s->e), ERR_NONE);
    }
}

static void an_address_has_twenty_failures_in_ten_minutes_and_a_hundred_tries_an_hour(void **state)
{
    struct scene *s = *state;
    unsigned wait_s;
    usec now = START_US;
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < LIMIT_FAILURES; i++)
            assert_int_equal(
                try_once(s, arena_printf(&s->a, "u%u-%u", round, i), S("192.0.2.1"), false, now, &wait_s),
                ERR_NONE);
        assert_int_equal(try_once(s, S("x"), S("192.0.2.1"), true, now, &wait_s), ERR_RATE_LIMITED);
        assert_int_equal(wait_s, round < 4 ? 600 : 3600 - 4 * 600);
        assert_int_equal(
            try_once(s, arena_printf(&s->a, "y%u", round), S("198.51.100.1"), false, now, &wait_s), ERR_NONE);
        now += 600LL * USEC_PER_S;
    }
    assert_int_equal(try_once(s, S("z"), S("192.0.2.1"), false, now, &wait_s), ERR_RATE_LIMITED);
    assert_int_equal(wait_s, 600);
    assert_int_equal(try_once(s, S("z"), S("192.0.2.1"), false, START_US + 3600LL * USEC_PER_S, &wait_s),
                     ERR_NONE);
}

static void addresses_of_one_ipv6_subscriber_count_as_one(void **state)
{
    struct scene *s = *state;
    assert_true(str_eq(limit_address(&s->a, S("2001:db8:1:2:3:4:5:6")), S("2001:db8:1:2::/64")));
    assert_true(str_eq(limit_address(&s->a, S("2001:db8:1:2:ffff::1")), S("2001:db8:1:2::/64")));
    assert_true(str_eq(limit_address(&s->a, S("192.0.2.1")), S("192.0.2.1")));
    assert_true(str_eq(limit_address(&s->a, S("::ffff:192.0.2.1")), S("::ffff:192.0.2.1")));
}

static void counters_are_forgotten_after_two_days(void **state)
{
    struct scene *s = *state;
    unsigned wait_s;
    assert_int_equal(try_once(s, S("ada"), S("192.0.2.1"), false, START_US, &wait_s), ERR_NONE);
    assert_int_equal(count(s, &test_counters), 4);
    clock_freeze(START_US + 2 * USEC_PER_DAY, START_US);
    assert_int_equal(db_write(s->id->db, identity_tidy, s->id, &s->e), ERR_NONE);
    assert_int_equal(count(s, &test_counters), 4);
    clock_freeze(START_US + 2 * USEC_PER_DAY + 1, START_US);
    assert_int_equal(db_write(s->id->db, identity_tidy, s->id, &s->e), ERR_NONE);
    assert_int_equal(count(s, &test_counters), 0);
}

static void wrong_keys_are_held_up_by_address_for_ten_minutes_and_right_ones_are_not(void **state)
{
    struct scene *s = *state;
    struct api_request r;
    char text[KEYTEXT_LEN + 1];
    for (unsigned i = 0; i < LIMIT_KEY_FAILURES; i++)
        assert_int_equal(ask_by_key(s, START_US, keytext_make("cat", text), &r), ERR_UNAUTHENTICATED);
    assert_int_equal(ask_by_key(s, START_US, keytext_make("cat", text), &r), ERR_RATE_LIMITED);
    assert_int_equal(r.retry_after_s, 600);
    assert_int_equal(ask_by_key(s, START_US, s->made.api_key, &r), ERR_NONE);
    assert_int_equal(ask_by_key(s, START_US + 600LL * USEC_PER_S, keytext_make("cat", text), &r),
                     ERR_UNAUTHENTICATED);
}

/* --- devices and links --- */

static void a_device_is_known_to_one_account_for_half_a_year_while_its_password_stays(void **state)
{
    struct scene *s = *state;
    struct api_request r = request(s, START_US, HTTP_POST);
    uuid other = uuid7_make(START_US);
    device_cookie_set(&r, &s->made.user_id, S("phc"));
    str rest = r.cookies[0], value;
    (void)str_cut(&rest, '=');
    value = str_cut(&rest, ';');
    assert_true(device_is_known(s->id, value, &s->made.user_id, S("phc"), START_US));
    assert_true(device_is_known(s->id, value, &s->made.user_id, S("phc"), START_US + 179 * USEC_PER_DAY));
    assert_false(device_is_known(s->id, value, &s->made.user_id, S("phc"), START_US + 181 * USEC_PER_DAY));
    assert_false(device_is_known(s->id, value, &s->made.user_id, S("another"), START_US));
    assert_false(device_is_known(s->id, value, &other, S("phc"), START_US));
    assert_false(device_is_known(s->id, S(""), &s->made.user_id, S("phc"), START_US));
    assert_false(device_is_known(s->id, S("99999999.abc"), &s->made.user_id, S("phc"), START_US));
}

static void there_is_no_link_once_there_is_an_owner(void **state)
{
    struct scene *s = *state;
    str link;
    struct setup_request wanted = {S("b@example.com"), S("B"), S("another hollow turnip"), S("W")};
    struct setup_result made;
    assert_int_equal(identity_setup_link(s->id, &s->a, &link, &s->e), ERR_NONE);
    assert_null(link.p);
    assert_int_equal(identity_setup(s->id, &s->a, &wanted, &made, &s->e), ERR_CONFLICT);
}

static void addresses_are_one_whatever_their_case_and_composition(void **state)
{
    struct scene *s = *state;
    str a, b;
    assert_int_equal(email_key(&s->a, S("Caf\xc3\x89@Example.COM"), &a, &s->e), ERR_NONE);
    assert_int_equal(email_key(&s->a, S("cafe\xcc\x81@example.com"), &b, &s->e), ERR_NONE);
    assert_true(str_eq(a, b));
    assert_int_equal(email_key(&s->a, S("\xff@example.com"), &a, &s->e), ERR_INVALID);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    log_set_fd(-1);
    const struct CMUnitTest tests[] = {
        T(a_session_lives_as_long_as_it_is_used_and_no_longer_than_it_may),
        T(sessions_that_have_ended_are_forgotten),
        T(an_old_cookie_keeps_nobody_from_what_is_open_to_all),
        T(over_tls_only_the_cookie_with_the_host_prefix_counts),
        T(the_password_counts_as_given_for_ten_minutes),
        T(a_forged_change_is_refused),
        T(a_key_ends_with_its_day_and_with_its_user),
        T(whoever_is_disabled_is_out_at_the_next_request),
        T(an_account_waits_twice_as_long_after_each_failure_up_to_a_quarter_of_an_hour),
        T(a_right_password_ends_the_delay_and_its_own_try_counts_as_no_failure),
        T(what_could_not_be_looked_at_is_forgiven),
        T(an_address_has_twenty_failures_in_ten_minutes_and_a_hundred_tries_an_hour),
        T(addresses_of_one_ipv6_subscriber_count_as_one),
        T(counters_are_forgotten_after_two_days),
        T(wrong_keys_are_held_up_by_address_for_ten_minutes_and_right_ones_are_not),
        T(a_device_is_known_to_one_account_for_half_a_year_while_its_password_stays),
        T(there_is_no_link_once_there_is_an_owner),
        T(addresses_are_one_whatever_their_case_and_composition),
    };
    return RUN_ON_BOTH(tests);
}
