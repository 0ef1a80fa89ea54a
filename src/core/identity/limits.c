#include "core/identity/limits.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "base/crypto.h"

#define WINDOW_FAILURES_US (600LL * USEC_PER_S)
#define WINDOW_TRIES_US (3600LL * USEC_PER_S)
#define FORGET_ACCOUNT_US USEC_PER_DAY
#define SUBJECT_LEN 96

SQL(counter_get, DB_MAIN, SQL_INSTANCE, "t",
    "SELECT started_us, last_us, n FROM sign_in_counters WHERE subject = $1");
SQL(counter_put, DB_MAIN, SQL_INSTANCE, "tiii",
    "INSERT INTO sign_in_counters (subject, started_us, last_us, n) VALUES ($1, $2, $3, $4) "
    "ON CONFLICT (subject) DO UPDATE SET started_us = excluded.started_us, last_us = excluded.last_us, n = "
    "excluded.n");
SQL(counter_drop, DB_MAIN, SQL_INSTANCE, "t", "DELETE FROM sign_in_counters WHERE subject = $1");
SQL(counter_purge, DB_MAIN, SQL_INSTANCE, "i", "DELETE FROM sign_in_counters WHERE last_us < $1");

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

/* Subjects are of bounded length and hold no address of a person. */
static void name_counter(struct counter *c, const char *kind, str what)
{
    uint8_t hash[SHA256_LEN];
    char hex[2 * SHA256_LEN + 1];
    sha256(what, hash);
    hex_encode(hash, 16, hex);
    snprintf(c->subject, sizeof c->subject, "%s:%s", kind, hex);
}

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

static unsigned seconds_up(usec us) { return us <= 0 ? 0 : (unsigned)((us + USEC_PER_S - 1) / USEC_PER_S); }

static unsigned account_wait_s(const struct counter *c, usec now)
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
    struct counter account, failures, tries;
};

static void name_counters(struct counters *c, const struct limit_try *t, str address)
{
    name_counter(&c->account, "account", t->account);
    name_counter(&c->failures, "failures", address);
    name_counter(&c->tries, "tries", address);
}

struct beginning {
    struct limit_try *t;
    usec now;
    unsigned wait_s;
};

/* The counter of an account has a window that moves with each failure: a day of silence ends it. */
static enum errc load_account(struct tx *tx, struct arena *a, struct counter *c, usec now, err *e)
{
    enum errc rc = load(tx, a, c, now, INT64_MAX / 4, e);
    if (rc == ERR_NONE && c->n && c->last_us + FORGET_ACCOUNT_US <= now) c->n = 0;
    return rc;
}

static enum errc begin_unit(struct tx *tx, void *ctx, err *e)
{
    struct beginning *b = ctx;
    struct limit_try *t = b->t;
    struct counters c;
    struct arena a;
    enum errc rc;
    arena_init(&a, 64u << 10, 0);
    name_counters(&c, t, limit_address(&a, t->address));
    b->wait_s = 0;
    if ((rc = load_account(tx, &a, &c.account, b->now, e)) != ERR_NONE ||
        (rc = load(tx, &a, &c.failures, b->now, WINDOW_FAILURES_US, e)) != ERR_NONE ||
        (rc = load(tx, &a, &c.tries, b->now, WINDOW_TRIES_US, e)) != ERR_NONE)
        goto out;
    bool has_account = t->account.len > 0 && !t->is_known_device;
    unsigned waits[] = {has_account ? account_wait_s(&c.account, b->now) : 0,
                        window_wait_s(&c.failures, LIMIT_FAILURES, WINDOW_FAILURES_US, b->now),
                        window_wait_s(&c.tries, LIMIT_TRIES, WINDOW_TRIES_US, b->now)};
    for (size_t i = 0; i < LENGTH_OF(waits); i++)
        if (waits[i] > b->wait_s) b->wait_s = waits[i];
    if (b->wait_s) goto out;
    if (has_account && (rc = add(tx, &c.account, b->now, e)) != ERR_NONE) goto out;
    if ((rc = add(tx, &c.failures, b->now, e)) == ERR_NONE) rc = add(tx, &c.tries, b->now, e);
out:
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

static enum errc undo(struct tx *tx, const struct limit_try *t, bool is_right, err *e)
{
    struct counters c;
    struct arena a;
    enum errc rc = ERR_NONE;
    if (!t->is_counted) return ERR_NONE;
    arena_init(&a, 64u << 10, 0);
    name_counters(&c, t, limit_address(&a, t->address));
    if (t->account.len && is_right)
        rc = tx_exec_unaudited(tx, &counter_drop, PARAMS(v_text(str_c(c.account.subject))), NULL, e);
    else if (t->account.len && !t->is_known_device)
        rc = take_back(tx, &a, &c.account, e);
    if (rc == ERR_NONE) rc = take_back(tx, &a, &c.failures, e);
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

/* --- API keys --- */

enum errc limit_key_check(struct tx *tx, struct arena *a, str address, usec now, unsigned *retry_after_s,
                          err *e)
{
    struct counter c;
    name_counter(&c, "keys", limit_address(a, address));
    enum errc rc = load(tx, a, &c, now, WINDOW_FAILURES_US, e);
    if (rc != ERR_NONE) return rc;
    unsigned wait_s = window_wait_s(&c, LIMIT_KEY_FAILURES, WINDOW_FAILURES_US, now);
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
    arena_init(&a, 64u << 10, 0);
    name_counter(&c, "keys", limit_address(&a, f->address));
    enum errc rc = load(tx, &a, &c, f->now, WINDOW_FAILURES_US, e);
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
    return tx_exec_unaudited(tx, &counter_purge, PARAMS(v_int(now - 2 * USEC_PER_DAY)), NULL, e);
}
