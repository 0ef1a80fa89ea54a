#include "core/identity/limits.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "base/crypto.h"
#include "core/events.h"

#define MINUTES_US(n) ((n)*60LL * USEC_PER_S)
#define CEILING_US MINUTES_US(10)
#define FORGET_ACCOUNT_US USEC_PER_DAY
#define FORGET_ROW_US (400 * USEC_PER_DAY)
#define SUBJECT_LEN 96
#define WORKSPACES_MAX 50 /* of a person, whose ceilings are looked at */
#define SCRATCH_LIMIT (256u << 10)

SQL(counter_get, DB_MAIN, SQL_INSTANCE, "t",
    "SELECT started_us, last_us, n FROM sign_in_counters WHERE subject = $1");
SQL(counter_put, DB_MAIN, SQL_INSTANCE, "tiii",
    "INSERT INTO sign_in_counters (subject, started_us, last_us, n) VALUES ($1, $2, $3, $4) "
    "ON CONFLICT (subject) DO UPDATE SET started_us = excluded.started_us, last_us = excluded.last_us, n = "
    "excluded.n");
/* By one, in a window that begins anew when it is over; $4: when one that is still going on began at the earliest. */
SQL(counter_raise, DB_MAIN, SQL_INSTANCE, "tiii",
    "INSERT INTO sign_in_counters (subject, started_us, last_us, n) VALUES ($1, $2, $3, 1) "
    "ON CONFLICT (subject) DO UPDATE SET "
    "n = CASE WHEN sign_in_counters.started_us > $4 THEN sign_in_counters.n + 1 ELSE 1 END, "
    "started_us = CASE WHEN sign_in_counters.started_us > $4 THEN sign_in_counters.started_us ELSE excluded.started_us END, "
    "last_us = excluded.last_us RETURNING n");
SQL(counter_drop, DB_MAIN, SQL_INSTANCE, "t", "DELETE FROM sign_in_counters WHERE subject = $1");
SQL(counter_purge, DB_MAIN, SQL_INSTANCE, "iti", "DELETE FROM sign_in_counters WHERE last_us < $1 AND (subject NOT LIKE $2 OR last_us < $3)");
SQL(workspaces_of, DB_MAIN, SQL_INSTANCE, "ui",
    "SELECT workspace_id FROM memberships WHERE user_id = $1 ORDER BY workspace_id LIMIT $2");

/* What a kind is limited by. Kinds that share the name of a counter share the counter. */
struct rule {
    const char *account; /* NULL: none */
    bool is_delayed;     /* the account waits longer and longer; else it has account_max in account_us */
    int64_t account_max;
    usec account_us;
    bool has_row; /* failures in a row count */
    const char *failures; /* of the address */
    int64_t failures_max;
    usec failures_us;
    int64_t tries_max; /* of the address in an hour; 0: as many as it likes */
    bool has_ceiling;
};
static const struct rule rules[LIMIT_KINDS] = {
    [LIMIT_PASSWORD] = {"account", true, 0, 0, true, "failures", LIMIT_FAILURES, MINUTES_US(10), LIMIT_TRIES, true},
    [LIMIT_FACTOR] = {"factor", true, 0, 0, true, "failures", LIMIT_FAILURES, MINUTES_US(10), LIMIT_TRIES, true},
    [LIMIT_RECOVERY] = {"recovery", true, 0, 0, true, "failures", LIMIT_FAILURES, MINUTES_US(10), LIMIT_TRIES, true},
    [LIMIT_PASSKEY] = {"passkey", true, 0, 0, false, "failures", LIMIT_FAILURES, MINUTES_US(10), LIMIT_TRIES, true},
    [LIMIT_REFRESH] = {NULL, false, 0, 0, false, "refresh", 60, MINUTES_US(10), 0, false},
    [LIMIT_DEVICE] = {"device", false, 10, MINUTES_US(10), false, "failures", LIMIT_FAILURES, MINUTES_US(10), 0, false},
    [LIMIT_INVITATION] = {NULL, false, 0, 0, false, "failures", LIMIT_FAILURES, MINUTES_US(10), LIMIT_TRIES, false},
    [LIMIT_RESET] = {"reset", false, 3, MINUTES_US(60), false, "resets", 20, MINUTES_US(60), 0, false},
};

struct counter {
    char subject[SUBJECT_LEN];
    usec started_us, last_us;
    int64_t n;
};

str limit_address(struct arena *a, str address)
{
    struct in6_addr v6;
    char text[INET6_ADDRSTRLEN];
    const char *c = str_to_c(a, address);
    if (!c || inet_pton(AF_INET6, c, &v6) != 1 || IN6_IS_ADDR_V4MAPPED(&v6)) return address;
    memset(v6.s6_addr + 8, 0, 8);
    inet_ntop(AF_INET6, &v6, text, sizeof text);
    return arena_printf(a, "%s/64", text);
}

/* --- counters --- */

/* Subjects are of bounded length and hold no address of a person. */
static void name_counter(struct counter *c, const char *kind, str what)
{
    uint8_t hash[SHA256_LEN];
    char hex[2 * SHA256_LEN + 1];
    sha256(what, hash);
    hex_encode(hash, 16, hex);
    snprintf(c->subject, sizeof c->subject, "%s:%s", kind, hex);
}

static str of_uuid(const uuid *id) { return str_of((const char *)id->b, sizeof id->b); }

static enum errc load(struct tx *tx, struct arena *a, struct counter *c, usec now, usec window_us, err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, a, &counter_get, PARAMS(v_text(str_c(c->subject))), &rows, e);
    if (rc != ERR_NONE) return rc;
    c->started_us = c->last_us = now;
    c->n = 0;
    if (rows.n) {
        const struct val *row = row_at(&rows, 0);
        if (val_int(&row[0]) + window_us > now) {
            c->started_us = val_int(&row[0]);
            c->last_us = val_int(&row[1]);
            c->n = val_int(&row[2]);
        }
    }
    return ERR_NONE;
}

static enum errc store(struct tx *tx, const struct counter *c, err *e)
{
    return tx_exec_unaudited(
        tx, &counter_put,
        PARAMS(v_text(str_c(c->subject)), v_int(c->started_us), v_int(c->last_us), v_int(c->n)), NULL, e);
}

static enum errc add(struct tx *tx, struct counter *c, usec now, err *e)
{
    c->last_us = now;
    c->n++;
    return store(tx, c, e);
}

static enum errc drop(struct tx *tx, const struct counter *c, err *e)
{
    return tx_exec_unaudited(tx, &counter_drop, PARAMS(v_text(str_c(c->subject))), NULL, e);
}

static unsigned seconds_up(usec us) { return us <= 0 ? 0 : (unsigned)((us + USEC_PER_S - 1) / USEC_PER_S); }

static unsigned delay_wait_s(const struct counter *c, usec now)
{
    if (c->n < LIMIT_ACCOUNT_FREE) return 0;
    int64_t doublings = c->n - LIMIT_ACCOUNT_FREE;
    int64_t delay_s = doublings >= 10 ? LIMIT_ACCOUNT_DELAY_MAX_S : (int64_t)1 << doublings;
    if (delay_s > LIMIT_ACCOUNT_DELAY_MAX_S) delay_s = LIMIT_ACCOUNT_DELAY_MAX_S;
    return seconds_up(c->last_us + delay_s * USEC_PER_S - now);
}

static unsigned window_wait_s(const struct counter *c, int64_t max, usec window_us, usec now)
{
    return c->n < max ? 0 : seconds_up(c->started_us + window_us - now);
}

struct counters {
    struct counter account, row, known_row, failures, tries, instance;
};

/* Who fails in a row is a person when there is one, so that another address forgets nothing; rows of nobody are forgotten like others. */
static void name_rows(struct counters *c, enum limit_kind kind, const uuid *user, str account)
{
    char name[32], known[32];
    bool is_person = !uuid_is_nil(user);
    snprintf(name, sizeof name, "%s:%s", is_person ? "row" : "nobody", rules[kind].account);
    snprintf(known, sizeof known, "%s:known:%s", is_person ? "row" : "nobody", rules[kind].account);
    name_counter(&c->row, name, is_person ? of_uuid(user) : account);
    name_counter(&c->known_row, known, is_person ? of_uuid(user) : account);
}

static void name_counters(struct counters *c, const struct limit_try *t, str address)
{
    const struct rule *rule = &rules[t->kind];
    if (rule->account) name_counter(&c->account, rule->account, t->account);
    if (rule->has_row) name_rows(c, t->kind, &t->user_id, t->account);
    name_counter(&c->failures, rule->failures, address);
    name_counter(&c->tries, "tries", address);
    name_counter(&c->instance, "ceiling", S("instance"));
}

static void name_workspace(struct counter *c, const uuid *workspace) { name_counter(c, "ceiling", of_uuid(workspace)); }

/* --- a try --- */

struct beginning {
    struct limit_try *t;
    usec now;
    unsigned wait_s;
    bool is_locked;
};

/* The counter of an account has a window that moves with each failure: a day of silence ends it. */
static enum errc load_account(struct tx *tx, struct arena *a, const struct rule *rule, struct counter *c, usec now, err *e)
{
    if (!rule->is_delayed) return load(tx, a, c, now, rule->account_us, e);
    enum errc rc = load(tx, a, c, now, INT64_MAX / 4, e);
    if (rc == ERR_NONE && c->n && c->last_us + FORGET_ACCOUNT_US <= now) c->n = 0;
    return rc;
}

/* Whether tries on a person's account are wrong whatever they are, because a workspace of theirs is under attack. The same statements run
 * for nobody. */
static enum errc look_at_workspaces(struct tx *tx, struct arena *a, struct beginning *b, err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, a, &workspaces_of, PARAMS(v_uuid(&b->t->user_id), v_int(WORKSPACES_MAX)), &rows, e);
    for (unsigned i = 0; i < rows.n && rc == ERR_NONE; i++) {
        struct counter c;
        uuid workspace = val_uuid(&row_at(&rows, i)[0]);
        name_workspace(&c, &workspace);
        rc = load(tx, a, &c, b->now, CEILING_US, e);
        if (rc == ERR_NONE && c.n >= LIMIT_WORKSPACE) b->is_locked = true;
    }
    return rc;
}

static enum errc begin_in(struct tx *tx, struct arena *a, struct beginning *b, err *e)
{
    struct limit_try *t = b->t;
    const struct rule *rule = &rules[t->kind];
    struct counters c = {0};
    bool has_account = rule->account && t->account.len > 0, is_known = t->is_known_device;
    enum errc rc = ERR_NONE;
    name_counters(&c, t, limit_address(a, t->address));
    if (has_account) rc = load_account(tx, a, rule, &c.account, b->now, e);
    if (rc == ERR_NONE && has_account && rule->has_row) {
        if ((rc = load(tx, a, &c.row, b->now, INT64_MAX / 4, e)) == ERR_NONE)
            rc = load(tx, a, &c.known_row, b->now, INT64_MAX / 4, e);
        is_known = is_known && c.known_row.n < LIMIT_IN_A_ROW;
    }
    if (rc == ERR_NONE) rc = load(tx, a, &c.failures, b->now, rule->failures_us, e);
    if (rc == ERR_NONE) rc = load(tx, a, &c.tries, b->now, MINUTES_US(60), e);
    if (rc == ERR_NONE && rule->has_ceiling) rc = load(tx, a, &c.instance, b->now, CEILING_US, e);
    if (rc != ERR_NONE) return rc;
    unsigned account_s = rule->is_delayed ? delay_wait_s(&c.account, b->now) : window_wait_s(&c.account, rule->account_max, rule->account_us, b->now);
    unsigned waits[] = {has_account && !is_known ? account_s : 0,
                        window_wait_s(&c.failures, rule->failures_max, rule->failures_us, b->now),
                        rule->tries_max ? window_wait_s(&c.tries, rule->tries_max, MINUTES_US(60), b->now) : 0,
                        rule->has_ceiling && !is_known ? window_wait_s(&c.instance, LIMIT_INSTANCE, CEILING_US, b->now) : 0};
    for (size_t i = 0; i < LENGTH_OF(waits); i++)
        if (waits[i] > b->wait_s) b->wait_s = waits[i];
    if (b->wait_s) return ERR_NONE;
    if (has_account && rule->has_row && !is_known) {
        b->is_locked = c.row.n >= LIMIT_IN_A_ROW;
        if ((rc = look_at_workspaces(tx, a, b, e)) != ERR_NONE) return rc;
    }
    if (has_account && rule->has_row) rc = add(tx, t->is_known_device ? &c.known_row : &c.row, b->now, e);
    if (rc == ERR_NONE && has_account && !is_known) rc = add(tx, &c.account, b->now, e);
    if (rc == ERR_NONE) rc = add(tx, &c.failures, b->now, e);
    if (rc == ERR_NONE && rule->tries_max) rc = add(tx, &c.tries, b->now, e);
    return rc;
}

static enum errc begin_unit(struct tx *tx, void *ctx, err *e)
{
    struct beginning *b = ctx;
    struct arena a;
    arena_init(&a, SCRATCH_LIMIT, 0);
    b->wait_s = 0;
    b->is_locked = false;
    enum errc rc = begin_in(tx, &a, b, e);
    arena_fini(&a);
    return rc;
}

enum errc limit_begin(struct db *db, struct limit_try *t, usec now, unsigned *retry_after_s, err *e)
{
    struct beginning b = {.t = t, .now = now};
    enum errc rc = db_write(db, begin_unit, &b, e);
    if (rc != ERR_NONE) return rc;
    if (b.wait_s) {
        *retry_after_s = b.wait_s;
        return err_set(e, ERR_RATE_LIMITED, "too many failed tries; the next one is possible in %u s",
                       b.wait_s);
    }
    t->is_counted = true;
    t->is_locked = b.is_locked;
    return ERR_NONE;
}

/* Takes one failure back. */
static enum errc take_back(struct tx *tx, struct arena *a, struct counter *c, err *e)
{
    enum errc rc = load(tx, a, c, 0, INT64_MAX / 4, e);
    if (rc != ERR_NONE || c->n <= 0) return rc;
    c->n--;
    return store(tx, c, e);
}

static enum errc undo_in(struct tx *tx, struct arena *a, const struct limit_try *t, bool is_right, err *e)
{
    const struct rule *rule = &rules[t->kind];
    struct counters c = {0};
    bool has_account = rule->account && t->account.len > 0, has_row = has_account && rule->has_row;
    enum errc rc = ERR_NONE;
    name_counters(&c, t, limit_address(a, t->address));
    if (has_account && is_right)
        rc = drop(tx, &c.account, e);
    else if (has_account && !t->is_known_device)
        rc = take_back(tx, a, &c.account, e);
    if (rc == ERR_NONE && has_row && is_right && (rc = drop(tx, &c.row, e)) == ERR_NONE) rc = drop(tx, &c.known_row, e);
    if (rc == ERR_NONE && has_row && !is_right) rc = take_back(tx, a, t->is_known_device ? &c.known_row : &c.row, e);
    return rc == ERR_NONE ? take_back(tx, a, &c.failures, e) : rc;
}

static enum errc undo(struct tx *tx, const struct limit_try *t, bool is_right, err *e)
{
    struct arena a;
    if (!t->is_counted) return ERR_NONE;
    arena_init(&a, SCRATCH_LIMIT, 0);
    enum errc rc = undo_in(tx, &a, t, is_right, e);
    arena_fini(&a);
    return rc;
}

enum errc limit_succeeded(struct tx *tx, const struct limit_try *t, err *e) { return undo(tx, t, true, e); }

static enum errc forgive_unit(struct tx *tx, void *ctx, err *e)
{
    const struct limit_try *const *t = ctx;
    return undo(tx, *t, false, e);
}

enum errc limit_forgive(struct db *db, const struct limit_try *t, err *e)
{
    return db_write(db, forgive_unit, &t, e);
}

enum errc limit_reset(struct tx *tx, const uuid *user, str account, err *e)
{
    enum errc rc = ERR_NONE;
    for (enum limit_kind kind = 0; kind < LIMIT_KINDS && rc == ERR_NONE; kind++) {
        struct counters c = {0};
        if (!rules[kind].has_row) continue;
        name_counter(&c.account, rules[kind].account, kind == LIMIT_PASSWORD ? account : of_uuid(user));
        name_rows(&c, kind, user, account);
        if ((rc = drop(tx, &c.account, e)) == ERR_NONE && (rc = drop(tx, &c.row, e)) == ERR_NONE) rc = drop(tx, &c.known_row, e);
    }
    return rc;
}

/* --- ceilings --- */

struct failing {
    const struct limit_try *t;
    usec now;
    uuid id; /* of the events */
};

static enum errc raise_ceiling(struct tx *tx, struct arena *a, const struct failing *f, const struct counter *c, const uuid *workspace,
                               int64_t max, unsigned n, err *e)
{
    const struct val *row;
    enum errc rc = tx_query_row(tx, a, &counter_raise,
                                PARAMS(v_text(str_c(c->subject)), v_int(f->now), v_int(f->now), v_int(f->now - CEILING_US)), &row, e);
    if (rc != ERR_NONE || val_int(&row[0]) != max) return rc;
    struct event ev = {.id = event_id_of(&f->id, n), .at_us = f->now, .type = S("limit.ceiling_reached"), .workspace_id = *workspace, .status = S("failure"), .error = str_c(errc_name(ERR_RATE_LIMITED))};
    ev.resource_type = uuid_is_nil(workspace) ? S("instance") : S("workspace");
    ev.resource_id = *workspace;
    ev.metadata = arena_printf(a, "{\"failures\":%lld,\"minutes\":10}", (long long)max);
    return tx_event(tx, &ev, e);
}

/* Statements that are each right by themselves, the instance's last: everybody takes the same rows in the same order. */
static enum errc failed_in(struct tx *tx, struct arena *a, const struct failing *f, err *e)
{
    static const uuid instance;
    struct counter c;
    struct rows rows;
    enum errc rc = tx_read_committed(tx, e);
    if (rc == ERR_NONE) rc = tx_query(tx, a, &workspaces_of, PARAMS(v_uuid(&f->t->user_id), v_int(WORKSPACES_MAX)), &rows, e);
    for (unsigned i = 0; rc == ERR_NONE && i < rows.n; i++) {
        uuid workspace = val_uuid(&row_at(&rows, i)[0]);
        name_workspace(&c, &workspace);
        rc = raise_ceiling(tx, a, f, &c, &workspace, LIMIT_WORKSPACE, i + 1, e);
    }
    name_counter(&c, "ceiling", S("instance"));
    return rc == ERR_NONE ? raise_ceiling(tx, a, f, &c, &instance, LIMIT_INSTANCE, 0, e) : rc;
}

static enum errc failed_unit(struct tx *tx, void *ctx, err *e)
{
    struct arena a;
    arena_init(&a, SCRATCH_LIMIT, 0);
    enum errc rc = failed_in(tx, &a, ctx, e);
    arena_fini(&a);
    return rc;
}

enum errc limit_failed(struct db *db, const struct limit_try *t, usec now, err *e)
{
    struct failing f = {.t = t, .now = now, .id = uuid7_make(now)};
    return rules[t->kind].has_ceiling ? db_write(db, failed_unit, &f, e) : ERR_NONE;
}

/* --- API keys --- */

enum errc limit_key_check(struct tx *tx, struct arena *a, str address, usec now, unsigned *retry_after_s,
                          err *e)
{
    struct counter c;
    name_counter(&c, "keys", limit_address(a, address));
    enum errc rc = load(tx, a, &c, now, MINUTES_US(10), e);
    if (rc != ERR_NONE) return rc;
    unsigned wait_s = window_wait_s(&c, LIMIT_KEY_FAILURES, MINUTES_US(10), now);
    if (!wait_s) return ERR_NONE;
    *retry_after_s = wait_s;
    return err_set(e, ERR_RATE_LIMITED,
                   "too many wrong API keys from this address; the next try is possible in %u s", wait_s);
}

struct key_failure {
    str address;
    usec now;
};

static enum errc key_failed_unit(struct tx *tx, void *ctx, err *e)
{
    const struct key_failure *f = ctx;
    struct counter c;
    struct arena a;
    arena_init(&a, SCRATCH_LIMIT, 0);
    name_counter(&c, "keys", limit_address(&a, f->address));
    enum errc rc = load(tx, &a, &c, f->now, MINUTES_US(10), e);
    if (rc == ERR_NONE) rc = add(tx, &c, f->now, e);
    arena_fini(&a);
    return rc;
}

enum errc limit_key_failed(struct db *db, str address, usec now, err *e)
{
    struct key_failure f = {address, now};
    return db_write(db, key_failed_unit, &f, e);
}

enum errc limit_purge(struct tx *tx, usec now, err *e)
{
    return tx_exec_unaudited(tx, &counter_purge, PARAMS(v_int(now - 2 * USEC_PER_DAY), v_text(S("row:%")), v_int(now - FORGET_ROW_US)), NULL, e);
}
