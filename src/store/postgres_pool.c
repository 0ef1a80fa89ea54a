/* postgres_pool.c - connections to PostgreSQL: opening, sharing, waiting for answers, errors.
 *
 * Every wait has a deadline of its own: a server that is frozen or cut off does not hold a thread longer than that.
 * The server ends long statements itself (statement_timeout), so what a dropped connection leaves behind is short.
 */
#include "store/postgres.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define SERVER_VERSION_MIN 130000
#define CONNECT_US (10 * USEC_PER_S)
#define GRACE_US (500 * USEC_PER_MS) /* for the server's own time-out to come first */
/* Units do no I/O, so one that is silent for so long is of a node that hangs or is cut off: the server ends it. */
#define IDLE_IN_UNIT_MS 4000

/* --- waiting --- */

static int ms_left(usec until_us)
{
    if (!until_us) return -1;
    usec left = until_us - store_mono_us();
    return left <= 0 ? 0 : left > INT32_MAX / 2 ? INT32_MAX / 2 : (int)(left / USEC_PER_MS) + 1;
}

static usec wait_until(const struct pg_conn *c) { return c->deadline_us ? c->deadline_us + GRACE_US : 0; }

static enum errc lost(struct pg_conn *c, const char *what, err *e)
{
    c->is_broken = c->runs_again = true;
    str text = str_trim(str_c(PQerrorMessage(c->pg)));
    return err_set(e, ERR_UNAVAILABLE, "%s: the connection to PostgreSQL broke: %.*s", what, STR(text));
}

/* Until one of the events; ERR_BUSY after the deadline. */
static enum errc wait_socket(struct pg_conn *c, short events, const char *what, err *e)
{
    for (;;) {
        struct pollfd p = {.fd = PQsocket(c->pg), .events = events};
        if (p.fd < 0) return lost(c, what, e);
        int n = poll(&p, 1, ms_left(wait_until(c)));
        if (n > 0) return ERR_NONE;
        if (n == 0) {
            c->is_broken = true;
            return err_set(e, ERR_BUSY, "%s: PostgreSQL did not answer before the deadline", what);
        }
        if (errno != EINTR) {
            c->is_broken = true;
            return err_errno(e, ERR_IO, errno, "%s: waiting for PostgreSQL", what);
        }
    }
}

enum errc pg_flush(struct pg_conn *c, const char *what, err *e)
{
    for (;;) {
        int left = PQflush(c->pg);
        if (left == 0) return ERR_NONE;
        if (left < 0) return lost(c, what, e);
        /* The server stops reading when nobody takes its answers. */
        enum errc rc = wait_socket(c, POLLIN | POLLOUT, what, e);
        if (rc) return rc;
        if (!PQconsumeInput(c->pg)) return lost(c, what, e);
    }
}

enum errc pg_next(struct pg_conn *c, const char *what, PGresult **out, err *e)
{
    *out = NULL;
    enum errc rc = pg_flush(c, what, e);
    while (!rc && PQisBusy(c->pg)) {
        rc = wait_socket(c, POLLIN, what, e);
        if (!rc && !PQconsumeInput(c->pg)) rc = lost(c, what, e);
    }
    if (!rc) *out = PQgetResult(c->pg);
    return rc;
}

enum errc pg_finish(struct pg_conn *c, const char *what, PGresult **out, err *e)
{
    enum errc first = ERR_NONE;
    PGresult *kept = NULL, *r;
    for (;;) {
        enum errc rc = pg_next(c, what, &r, first ? NULL : e);
        if (rc) {
            PQclear(kept);
            return first ? first : rc;
        }
        if (!r) break;
        ExecStatusType status = PQresultStatus(r);
        if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY) {
            PQclear(kept);
            kept = r;
            continue;
        }
        if (!first) first = pg_error(c, r, what, e);
        PQclear(r);
        if (c->is_broken) break;
    }
    if (out && !first)
        *out = kept;
    else
        PQclear(kept);
    return first;
}

enum errc pg_run(struct pg_conn *c, const char *text, const char *what, err *e)
{
    c->runs_again = false;
    if (!PQsendQuery(c->pg, text)) return lost(c, what, e);
    return pg_finish(c, what, NULL, e);
}

/* --- copying --- */

static enum errc copy_begin(struct pg_conn *c, const char *text, ExecStatusType wanted, const char *what, err *e)
{
    PGresult *r = NULL;
    c->runs_again = false;
    if (!PQsendQuery(c->pg, text)) return lost(c, what, e);
    enum errc rc = pg_next(c, what, &r, e);
    if (!rc && PQresultStatus(r) != wanted) {
        rc = pg_error(c, r, what, e);
        c->is_broken = true;
    }
    PQclear(r);
    return rc;
}

enum errc pg_copy_in(struct pg_conn *c, const char *text, const char *what, err *e)
{
    return copy_begin(c, text, PGRES_COPY_IN, what, e);
}

enum errc pg_copy_out(struct pg_conn *c, const char *text, const char *what, err *e)
{
    return copy_begin(c, text, PGRES_COPY_OUT, what, e);
}

enum errc pg_copy_put(struct pg_conn *c, const char *what, str bytes, err *e)
{
    int done = 0;
    while (done == 0) {
        done = PQputCopyData(c->pg, bytes.p, (int)bytes.len);
        if (done < 0) return lost(c, what, e);
        enum errc rc = pg_flush(c, what, e);
        if (rc) return rc;
    }
    return ERR_NONE;
}

enum errc pg_copy_end(struct pg_conn *c, const char *what, err *e)
{
    int done = 0;
    while ((done = PQputCopyEnd(c->pg, NULL)) == 0) {
        enum errc rc = pg_flush(c, what, e);
        if (rc) return rc;
    }
    return done < 0 ? lost(c, what, e) : pg_finish(c, what, NULL, e);
}

enum errc pg_copy_next(struct pg_conn *c, const char *what, char **out, int *len, err *e)
{
    *out = NULL;
    while ((*len = PQgetCopyData(c->pg, out, 1)) == 0) {
        enum errc rc = wait_socket(c, POLLIN, what, e);
        if (rc) return rc;
        if (!PQconsumeInput(c->pg)) return lost(c, what, e);
    }
    if (*len > 0) return ERR_NONE;
    return *len == -1 ? pg_finish(c, what, NULL, e) : lost(c, what, e);
}

/* --- errors --- */

static bool is_class(const char *state, const char *class) { return strncmp(state, class, 2) == 0; }

enum errc pg_error(struct pg_conn *c, const PGresult *r, const char *what, err *e)
{
    const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
    if (!state || PQstatus(c->pg) == CONNECTION_BAD) {
        lost(c, what, e);
        return ERR_UNAVAILABLE;
    }
    if (!text) text = "";
    if (is_class(state, "23"))
        return err_set(e, ERR_CONFLICT, "%s: %s", what, text); /* it names the constraint */
    if (is_class(state, "40")) {                               /* serialization_failure, deadlock_detected */
        c->runs_again = true;
        return err_set(e, ERR_BUSY, "%s: other units kept changing the same rows", what);
    }
    if (strcmp(state, "57014") == 0) return err_set(e, ERR_BUSY, "%s: took longer than the deadline", what);
    if (strcmp(state, "55P03") == 0) return err_set(e, ERR_BUSY, "%s: the rows are locked", what);
    if (strcmp(state, "53100") == 0)
        return err_set(e, ERR_DISK_FULL, "%s: the disk of PostgreSQL is full", what);
    if (strcmp(state, "53200") == 0)
        return err_set(e, ERR_NO_MEMORY, "%s: PostgreSQL is out of memory", what);
    /* A plan or a prepared statement that another connection's change of the schema, or a pooler, took away. */
    if (strcmp(state, "0A000") == 0 || strcmp(state, "26000") == 0) {
        c->is_broken = true;
        c->runs_again = strstr(text, "cached plan") || state[0] == '2';
        return err_set(e, ERR_INTERNAL, "%s: %s", what, text);
    }
    bool is_standby = strcmp(state, "25006") == 0 && !c->is_reading;
    if (is_class(state, "08") || is_class(state, "57") || is_class(state, "53") ||
        strcmp(state, "25P03") == 0 || is_standby) {
        c->is_broken = true;
        c->runs_again = !is_standby;
        c->is_undone = strcmp(state, "25P03") == 0;
        return err_set(e, ERR_UNAVAILABLE, "%s: %s", what, text);
    }
    if (is_class(state, "22")) return err_set(e, ERR_INVALID, "%s: %s", what, text);
    if (is_class(state, "58")) return err_set(e, ERR_IO, "%s: %s", what, text);
    if (is_class(state, "XX")) return err_set(e, ERR_CORRUPT, "%s: %s", what, text);
    return err_set(e, ERR_INTERNAL, "%s: %s (%s)", what, text, state);
}

/* --- connections --- */

void pg_conn_close(struct pg_conn *c)
{
    str key;
    void *value;
    if (!c) return;
    for (size_t it = 0; map_next(&c->stmts, &it, &key, &value);)
        free(value);
    map_fini(&c->stmts);
    PQfinish(c->pg);
    free(c);
}

static enum errc connect_finish(struct pg_conn *c, err *e)
{
    PostgresPollingStatusType first =
        PQstatus(c->pg) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
    for (PostgresPollingStatusType want = first; want != PGRES_POLLING_OK;) {
        enum errc rc = ERR_NONE;
        if (want == PGRES_POLLING_FAILED) {
            str text = str_trim(str_c(PQerrorMessage(c->pg)));
            return err_set(e, ERR_UNAVAILABLE, "PostgreSQL: %.*s", STR(text));
        }
        rc = wait_socket(c, want == PGRES_POLLING_READING ? POLLIN : POLLOUT, "connecting", e);
        if (rc) return rc == ERR_BUSY ? err_set(e, ERR_UNAVAILABLE, "PostgreSQL did not answer in time") : rc;
        want = PQconnectPoll(c->pg);
    }
    return ERR_NONE;
}

static enum errc check_server(struct pg_conn *c, err *e)
{
    int version = PQserverVersion(c->pg);
    const char *encoding = PQparameterStatus(c->pg, "server_encoding");
    if (version < SERVER_VERSION_MIN)
        return err_set(e, ERR_CONFIG, "PostgreSQL %d is too old: 13 is the least", version / 10000);
    if (!encoding || strcmp(encoding, "UTF8") != 0)
        return err_set(e, ERR_CONFIG, "the PostgreSQL database has the encoding %s: it must be UTF8",
                       encoding ? encoding : "?");
    return ERR_NONE;
}

static enum errc look_into(struct pg_conn *c, enum db_id db, err *e)
{
    char text[64];
    snprintf(text, sizeof text, "SET search_path TO %s", db_names[db]);
    c->db = db;
    return pg_run(c, text, "choosing the schema", e);
}

/* What the server says beside its answers is not for standard error: what matters fails the next statement. */
static void pass_over(void *ctx, const PGresult *r)
{
    (void)ctx;
    (void)r;
}

static enum errc open_until(struct pg_pool *p, enum db_id db, usec until_us, struct pg_conn **out, err *e)
{
    /* What stands before dbname the URL can override. */
    static const char *const names[] = {"fallback_application_name", "keepalives_idle", "keepalives_interval",
                                        "keepalives_count",          "tcp_user_timeout", "dbname",
                                        "client_encoding",           NULL};
    const char *const values[] = {"catalyst", "5", "2", "3", "10000", p->url, "UTF8", NULL};
    char settings[384];
    struct pg_conn *c = calloc(1, sizeof *c);
    if (!c) return err_code(e, ERR_NO_MEMORY);
    map_init(&c->stmts);
    c->deadline_us = until_us - GRACE_US; /* which is for the server's own time-out: there is none here */
    c->pg = PQconnectStartParams(names, values, 1);
    if (c->pg) PQsetNoticeReceiver(c->pg, pass_over, NULL);
    enum errc rc = c->pg ? connect_finish(c, e) : err_code(e, ERR_NO_MEMORY);
    if (!rc) rc = check_server(c, e);
    if (!rc && PQsetnonblocking(c->pg, 1) != 0) rc = lost(c, "connecting", e);
    snprintf(settings, sizeof settings,
             "SET statement_timeout = %u; SET idle_in_transaction_session_timeout = %d; SET jit = off; "
             "SET client_min_messages = warning; SET standard_conforming_strings = on; "
             "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3; "
             "SET tcp_user_timeout = 10000", /* the server, too, notices that the link is cut */
             p->statement_timeout_ms, IDLE_IN_UNIT_MS);
    if (!rc) rc = pg_run(c, settings, "setting up a connection", e);
    if (!rc) rc = look_into(c, db, e);
    c->deadline_us = 0;
    if (rc) {
        pg_conn_close(c);
        return rc;
    }
    *out = c;
    return ERR_NONE;
}

enum errc pg_conn_open(struct pg_pool *p, enum db_id db, struct pg_conn **out, err *e)
{
    return open_until(p, db, store_mono_us() + CONNECT_US, out, e);
}

/* A server that ended an idle connection has said so, and what it said lies there unread. */
static bool is_alive(struct pg_conn *c)
{
    struct pollfd p = {.fd = PQsocket(c->pg), .events = POLLIN};
    while (p.fd >= 0 && poll(&p, 1, 0) > 0)
        if (!PQconsumeInput(c->pg)) return false;
    return p.fd >= 0 && PQstatus(c->pg) == CONNECTION_OK;
}

/* Takes an idle connection, one of this database if there is one. */
static struct pg_conn *take_idle(struct pg_pool *p, enum db_id db)
{
    struct pg_conn **at = &p->idle;
    while (*at && (*at)->db != db)
        at = &(*at)->next;
    /* Another database's would have to prepare everything again: better open a new one while there may be more. */
    if (!*at && p->n_open >= p->max) at = &p->idle;
    struct pg_conn *c = *at;
    if (c) *at = c->next;
    return c;
}

static enum errc wait_for_one(struct pg_pool *p, enum db_id db, usec deadline_us, struct pg_conn **out,
                              err *e)
{
    struct timespec until = {.tv_sec = (time_t)(deadline_us / USEC_PER_S),
                             .tv_nsec = (long)(deadline_us % USEC_PER_S) * 1000};
    bool is_late = false;
    pthread_mutex_lock(&p->lock);
    p->n_waiting++;
    while (!(*out = take_idle(p, db)) && p->n_open >= p->max && !is_late)
        is_late = pthread_cond_timedwait(&p->freed, &p->lock, &until) == ETIMEDOUT;
    bool may_open = !*out && p->n_open < p->max;
    if (may_open) p->n_open++;
    p->n_waiting--;
    pthread_mutex_unlock(&p->lock);
    if (*out || may_open) return ERR_NONE;
    return err_set(e, ERR_BUSY, "all %u connections to PostgreSQL are busy", p->max);
}

enum errc pg_conn_get(struct pg_pool *p, enum db_id db, usec deadline_us, struct pg_conn **out, err *e)
{
    for (;;) {
        enum errc rc = wait_for_one(p, db, deadline_us, out, e);
        if (rc) return rc;
        if (*out && !is_alive(*out)) {
            (*out)->is_broken = true;
            pg_conn_put(p, *out);
            *out = NULL;
            continue;
        }
        if (!*out) {
            usec until_us = store_mono_us() + CONNECT_US;
            rc = open_until(p, db, deadline_us < until_us ? deadline_us : until_us, out, e);
            if (rc) pg_conn_put(p, NULL);
            if (rc) return rc;
        }
        (*out)->deadline_us = deadline_us;
        (*out)->runs_again = (*out)->is_undone = false;
        if ((*out)->db == db) return ERR_NONE;
        rc = look_into(*out, db, e);
        if (!rc) return ERR_NONE;
        (*out)->is_broken = true;
        pg_conn_put(p, *out); /* with all idle ones, so that the next turn opens a new one or waits */
        *out = NULL;
    }
}

void pg_conn_put(struct pg_pool *p, struct pg_conn *c)
{
    struct pg_conn *closing = NULL;
    pthread_mutex_lock(&p->lock);
    if (!c) {
        p->n_open--;
    } else {
        c->next = p->idle;
        p->idle = c;
        if (c->is_broken) {
            closing = p->idle;
            p->idle = NULL;
        } else if (c->is_worn) {
            closing = c;
            p->idle = c->next;
            c->next = NULL;
        }
        for (struct pg_conn *at = closing; at; at = at->next)
            p->n_open--;
    }
    pthread_cond_broadcast(&p->freed);
    pthread_mutex_unlock(&p->lock);
    while (closing) {
        struct pg_conn *next = closing->next;
        pg_conn_close(closing);
        closing = next;
    }
}

enum errc pg_pool_new(struct pg_pool **out, const struct store_source *source, err *e)
{
    char *message = NULL;
    PQconninfoOption *parsed = PQconninfoParse(source->url.p, &message);
    /* libpq's own message would repeat the URL, password included. */
    PQfreemem(message);
    if (!parsed)
        return err_set(
            e, ERR_CONFIG,
            "database.url is not a connection URL of PostgreSQL (postgresql://user:password@host/name)");
    PQconninfoFree(parsed);
    struct pg_pool *p = calloc(1, sizeof *p);
    if (!p) return err_code(e, ERR_NO_MEMORY);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->freed, &attr);
    pthread_condattr_destroy(&attr);
    p->max = source->connections;
    p->statement_timeout_ms = source->write_deadline_ms;
    p->url = strdup(source->url.p);
    *out = p;
    if (p->url) return ERR_NONE;
    pg_pool_free(p);
    *out = NULL;
    return err_code(e, ERR_NO_MEMORY);
}

void pg_pool_free(struct pg_pool *p)
{
    if (!p) return;
    while (p->idle) {
        struct pg_conn *c = p->idle;
        p->idle = c->next;
        pg_conn_close(c);
    }
    if (p->url) explicit_bzero(p->url, strlen(p->url));
    free(p->url);
    pthread_cond_destroy(&p->freed);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
