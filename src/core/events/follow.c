/* follow.c - the thread that follows the log: tells the live stream how far it has come, and feeds the
 * listeners.
 *
 * One node at a time feeds a listener: its id stands in the cursor's row, and the row changes with every move and at
 * least every HOLD_US. Another one takes the cursor when it is given up, or when it has not seen the row change for
 * TAKE_US of its own clock. That only spares the others the work: what makes each event heard once is that the cursor is
 * compared and moved in the very unit that hears, so a holder that hung and wakes moves nothing.
 * With SQLite the only process takes what is there.
 */
#include <assert.h>

#include "base/log.h"
#include "core/events/internal.h"

#define FOLLOW_BATCH 256 /* events looked at in one read */
#define HEAR_BATCH 64    /* events heard in one unit */
#define HEAR_ARENA (16u << 20)
#define SCAN_STORE                                                                                           \
    4096 /* so far behind the scan may the stored cursor be of a listener that nothing concerned */
#define POLL_US (1 * USEC_PER_S) /* PostgreSQL: what other nodes sealed, should nobody have told */
#define RETRY_FIRST_US (50LL * USEC_PER_MS)
#define RETRY_MOST_US (30LL * USEC_PER_S)

#define HOLD_US (1 * USEC_PER_S)
#define TAKE_US (2900 * USEC_PER_MS)

SQL(find_cursor, DB_MAIN, SQL_INSTANCE, "t",
    "SELECT number, parked_us, holder_id FROM event_cursors WHERE name = $1");
SQL(list_cursors, DB_MAIN, SQL_INSTANCE, "", "SELECT name, number, holder_id, held_us FROM event_cursors");
SQL(take_cursor, DB_MAIN, SQL_INSTANCE, "uituii",
    "UPDATE event_cursors SET holder_id = $1, held_us = $2 WHERE name = $3 AND (holder_id IS NULL OR "
    "(holder_id = $4 AND held_us = $5 AND number = $6))");
SQL(renew_cursors, DB_MAIN, SQL_INSTANCE, "iu", "UPDATE event_cursors SET held_us = $1 WHERE holder_id = $2");
SQL(release_cursors, DB_MAIN, SQL_INSTANCE, "u", "UPDATE event_cursors SET holder_id = NULL WHERE holder_id = $1");
SQL(add_cursor, DB_MAIN, SQL_INSTANCE, "tii",
    "INSERT INTO event_cursors (name, number, moved_us) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING");
SQL(move_cursor, DB_MAIN, SQL_INSTANCE, "iiitiu",
    "UPDATE event_cursors SET number = $1, moved_us = $2, held_us = $3, parked_us = NULL, error = NULL WHERE name = $4 "
    "AND number = $5 AND holder_id = $6");
SQL(park_cursor, DB_MAIN, SQL_INSTANCE, "ittiu",
    "UPDATE event_cursors SET parked_us = $1, error = $2 WHERE name = $3 AND number = $4 AND holder_id = $5 AND "
    "parked_us IS NULL");

/* --- cursors --- */

static bool is_same(const uuid *a, const uuid *b) { return memcmp(a, b, sizeof *a) == 0; }

struct cursor {
    const char *name;
    int64_t number;
    bool from_the_start, is_parked;
    uuid holder;
};

static enum errc load_unit(struct tx *tx, void *ctx, err *e)
{
    struct cursor *c = ctx;
    struct arena a;
    struct rows rows;
    int64_t start = 0;
    arena_init(&a, 8192, 1024);
    enum errc rc = tx_query(tx, &a, &find_cursor, PARAMS(v_text(str_c(c->name))), &rows, e);
    if (rc == ERR_NONE && rows.n == 0) {
        if (!c->from_the_start) rc = events_head(tx, &start, e);
        if (rc == ERR_NONE)
            rc = tx_exec_unaudited(tx, &add_cursor, PARAMS(v_text(str_c(c->name)), v_int(start), v_int(0)),
                                   NULL, e);
        if (rc == ERR_NONE) rc = tx_query(tx, &a, &find_cursor, PARAMS(v_text(str_c(c->name))), &rows, e);
    }
    if (rc == ERR_NONE && rows.n) {
        c->number = val_int(&row_at(&rows, 0)[0]);
        c->is_parked = row_at(&rows, 0)[1].type != VAL_NULL;
        c->holder = val_uuid(&row_at(&rows, 0)[2]);
    }
    arena_fini(&a);
    return rc;
}

static enum errc load(struct events *log, struct follower *f, err *e)
{
    struct cursor c = {.name = f->listener.name, .from_the_start = f->listener.from_the_start};
    enum errc rc = db_write(store_db(log->store, DB_MAIN), load_unit, &c, e);
    if (rc == ERR_NONE) {
        f->stored = f->scanned = c.number;
        f->is_parked = c.is_parked;
        f->is_held = is_same(&c.holder, &log->holder);
        f->is_loaded = true;
    }
    return rc;
}

enum errc followers_load(struct events *log, err *e)
{
    static const char *const labels[] = {"listener", NULL};
    struct stat *parked =
        stats_declare(STAT_GAUGE, "catalyst_listener_parked",
                      "1 while an event keeps failing in this listener of the log.", labels, NULL, 0, 1);
    struct stat *behind =
        stats_declare(STAT_GAUGE, "catalyst_listener_behind",
                      "Events that this listener of the log has not heard yet; 0 where another node feeds it.", labels, NULL, 0, 1);
    for (unsigned i = 0; i < log->n_followers; i++) {
        struct follower *f = &log->followers[i];
        const str name[] = {str_c(f->listener.name)};
        f->parked = stats_series(parked, name);
        f->behind = stats_series(behind, name);
        enum errc rc = load(log, f, e);
        if (rc != ERR_NONE) return rc;
        f->is_parked = false; /* a start is a fresh attempt */
    }
    return ERR_NONE;
}

/* --- who holds them --- */

struct holding {
    struct events *log;
    struct follower *wanted[EVENT_LISTENERS_MAX];
    bool is_taken[EVENT_LISTENERS_MAX];
    unsigned n_wanted;
    bool renews;
};

/* By many nodes at once, and each row by itself: SERIALIZABLE would make units fail that hear. */
static enum errc hold_unit(struct tx *tx, void *ctx, err *e)
{
    struct holding *h = ctx;
    enum errc rc = tx_read_committed(tx, e);
    if (rc == ERR_NONE && h->renews)
        rc = tx_exec_unaudited(tx, &renew_cursors, PARAMS(v_int(h->log->held_us), v_uuid(&h->log->holder)), NULL, e);
    for (unsigned i = 0; i < h->n_wanted && rc == ERR_NONE; i++) {
        const struct follower *f = h->wanted[i];
        int64_t changed = 0;
        rc = tx_exec_unaudited(tx, &take_cursor,
                               PARAMS(v_uuid(&h->log->holder), v_int(h->log->held_us),
                                      v_text(str_c(f->listener.name)), v_uuid(&f->seen.holder),
                                      v_int(f->seen.held_us), v_int(f->seen.number)),
                               &changed, e);
        h->is_taken[i] = changed > 0;
    }
    return rc;
}

struct cursors {
    struct arena *a;
    struct rows rows;
};

static enum errc cursors_unit(struct tx *tx, void *ctx, err *e)
{
    struct cursors *c = ctx;
    return tx_query(tx, c->a, &list_cursors, NULL, 0, &c->rows, e);
}

/* Whether it may be taken. */
static bool see_cursor(const struct events *log, struct follower *f, const struct rows *rows, usec now)
{
    const struct val *row = NULL;
    for (unsigned i = 0; i < rows->n && !row; i++)
        if (str_eq(val_str(&row_at(rows, i)[0]), str_c(f->listener.name))) row = row_at(rows, i);
    if (!row) return false;
    int64_t number = val_int(&row[1]), held_us = val_int(&row[3]);
    uuid holder = val_uuid(&row[2]);
    if (!f->seen.since_us || !is_same(&holder, &f->seen.holder) || held_us != f->seen.held_us ||
        number != f->seen.number) {
        f->seen.holder = holder;
        f->seen.held_us = held_us;
        f->seen.number = number;
        f->seen.since_us = now;
    }
    f->is_held = is_same(&holder, &log->holder);
    return !f->is_held && (uuid_is_nil(&holder) || !log->seals_itself || now - f->seen.since_us >= TAKE_US);
}

/* What another node held until now: from where it stood. */
static void taken(struct events *log, struct follower *f)
{
    err e = {0};
    uuid before = f->seen.holder;
    if (load(log, f, &e) != ERR_NONE) {
        log_error(LOG_WARN, "log_not_readable", &e);
        f->is_held = false; /* it is seen the next time that it is ours */
        return;
    }
    f->tries = 0;
    f->retry_us = 0;
    stats_set(f->parked, 0, f->is_parked);
    if (!uuid_is_nil(&before)) log_event(LOG_INFO, "listener_taken", LOG_S("listener", str_c(f->listener.name)));
}

/* Renews what is held, and takes what nobody holds any more. */
static void hold(struct events *log)
{
    struct holding h = {.log = log};
    struct arena a;
    struct cursors c = {.a = &a};
    err e = {0};
    usec now = clock_mono_us();
    bool is_all = true;
    for (unsigned i = 0; i < log->n_followers; i++)
        is_all = is_all && log->followers[i].is_held;
    if (is_all && !log->seals_itself) return;
    if (log->looked_us && now - log->looked_us < HOLD_US) return;
    log->looked_us = now;
    arena_init(&a, 1u << 20, 4096);
    enum errc rc = db_read(store_db(log->store, DB_MAIN), cursors_unit, &c, &e);
    for (unsigned i = 0; rc == ERR_NONE && i < log->n_followers; i++) {
        struct follower *f = &log->followers[i];
        bool was_held = f->is_held;
        if (see_cursor(log, f, &c.rows, now)) h.wanted[h.n_wanted++] = f;
        if (f->is_held && !was_held) taken(log, f);
        h.renews = h.renews || f->is_held;
    }
    arena_fini(&a);
    int64_t mark = clock_now_us();
    log->held_us = mark > log->held_us ? mark : log->held_us + 1;
    if (rc == ERR_NONE && (h.renews || h.n_wanted)) rc = db_write(store_db(log->store, DB_MAIN), hold_unit, &h, &e);
    for (unsigned i = 0; rc == ERR_NONE && i < h.n_wanted; i++)
        if (h.is_taken[i]) taken(log, h.wanted[i]);
    if (rc != ERR_NONE && !log->is_cut_off) log_error(LOG_WARN, "listeners_not_held", &e);
    log->is_cut_off = rc != ERR_NONE;
}

static enum errc release_unit(struct tx *tx, void *ctx, err *e)
{
    return tx_exec_unaudited(tx, &release_cursors, PARAMS(v_uuid(ctx)), NULL, e);
}

void followers_release(struct events *log)
{
    err e = {0};
    bool has_any = false;
    for (unsigned i = 0; i < log->n_followers; i++) {
        has_any = has_any || log->followers[i].is_held;
        log->followers[i].is_held = false;
    }
    log->looked_us = 0;
    if (!has_any || log->is_cut_off) return; /* another node takes them soon */
    if (db_write(store_db(log->store, DB_MAIN), release_unit, &log->holder, &e) != ERR_NONE)
        log_error(LOG_WARN, "listeners_not_released", &e);
}

/* --- hearing --- */

bool event_is_of(const char *types, str type)
{
    if (!types) return true;
    for (str rest = str_c(types); rest.len;)
        if (str_glob(str_cut(&rest, '|'), type)) return true;
    return false;
}

struct hearing {
    struct follower *f;
    struct sealed_event **events; /* those that concern it, in order */
    unsigned n;
    int64_t to; /* where the cursor goes */
    usec now_us;
    const struct events *log;
    bool is_moved_by_another;
};

static enum errc hear_unit(struct tx *tx, void *ctx, err *e)
{
    struct hearing *h = ctx;
    int64_t changed = 0;
    enum errc rc = tx_exec_unaudited(
        tx, &move_cursor,
        PARAMS(v_int(h->to), v_int(h->now_us), v_int(h->log->held_us), v_text(str_c(h->f->listener.name)),
               v_int(h->f->stored), v_uuid(&h->log->holder)),
        &changed, e);
    h->is_moved_by_another = rc == ERR_NONE && changed == 0;
    if (h->is_moved_by_another) return ERR_NONE; /* another node has heard them, or will */
    for (unsigned i = 0; i < h->n && rc == ERR_NONE; i++)
        rc = h->f->listener.hear(h->f->listener.ctx, tx, h->events[i], e);
    return rc;
}

static bool is_weather(enum errc rc)
{
    return rc == ERR_BUSY || rc == ERR_UNAVAILABLE || rc == ERR_DISK_FULL || rc == ERR_NO_MEMORY;
}

struct parking {
    const struct events *log;
    const struct follower *f;
    const struct sealed_event *event;
    const err *why;
    uuid id;
    usec now_us;
};

static enum errc park_unit(struct tx *tx, void *ctx, err *e)
{
    const struct parking *p = ctx;
    struct buf text;
    struct json_writer w;
    int64_t changed = 0;
    enum errc rc = tx_exec_unaudited(tx, &park_cursor,
                                     PARAMS(v_int(p->now_us), v_text(str_c(p->why->msg)),
                                            v_text(str_c(p->f->listener.name)), v_int(p->f->stored),
                                            v_uuid(&p->log->holder)),
                                     &changed, e);
    if (rc != ERR_NONE || changed == 0) return rc;
    buf_init(&text, EVENT_BYTES_MAX);
    json_writer_init(&w, &text);
    json_object(&w);
    json_put_str(&w, "listener", str_c(p->f->listener.name));
    json_put_int(&w, "number", p->event->number);
    json_put_str(&w, "type", p->event->type);
    json_put_str(&w, "reason", str_c(p->why->msg));
    json_end(&w);
    rc = text.failed ? err_code(e, text.failed)
                     : tx_event(tx,
                                &(struct event){
                                    .id = p->id,
                                    .at_us = p->now_us,
                                    .type = S("listener.parked"),
                                    .resource_type = S("listener"),
                                    .status = S("failure"),
                                    .error = str_c(errc_name(p->why->code)),
                                    .metadata = buf_str(&text),
                                },
                                e);
    buf_fini(&text);
    return rc;
}

static void park(struct events *log, struct follower *f, const struct sealed_event *event, const err *why)
{
    struct parking p = {.log = log, .f = f, .event = event, .why = why, .now_us = clock_now_us()};
    err e = {0};
    p.id = uuid7_make(p.now_us);
    log_event(LOG_ERROR, "listener_parked", LOG_S("listener", str_c(f->listener.name)),
              LOG_I("number", event->number), LOG_S("type", event->type), LOG_S("reason", str_c(why->msg)));
    if (db_write(store_db(log->store, DB_MAIN), park_unit, &p, &e) != ERR_NONE)
        log_error(LOG_WARN, "listener_park_not_stored", &e);
    f->is_parked = true;
    stats_set(f->parked, 0, 1);
}

static void failed(struct events *log, struct follower *f, const struct sealed_event *event, const err *why)
{
    usec now = clock_mono_us(), wait = RETRY_FIRST_US;
    if (!event || is_weather(why->code)) {
        f->retry_us = now + USEC_PER_S;
        if (!f->is_waiting) log_error(LOG_WARN, "listener_waits", why);
        f->is_waiting = true;
        return;
    }
    f->tries++;
    for (unsigned i = 1; i < f->tries && wait < RETRY_MOST_US; i++)
        wait *= 2;
    if (f->tries >= EVENT_TRIES) {
        if (!f->is_parked) park(log, f, event, why);
        wait = (usec)EVENT_PARKED_RETRY_S * USEC_PER_S;
    }
    f->retry_us = now + wait;
}

static void worked(struct follower *f)
{
    if (f->is_parked) log_event(LOG_INFO, "listener_unparked", LOG_S("listener", str_c(f->listener.name)));
    f->is_parked = false;
    f->is_waiting = false;
    f->tries = 0;
    f->retry_us = 0;
    stats_set(f->parked, 0, 0);
}

/* Hears events[0..n), which all concern it, and moves the cursor to `to`. */
static enum errc hear(struct events *log, struct follower *f, struct sealed_event **events, unsigned n,
                      int64_t to, err *e)
{
    struct hearing h = {.f = f, .events = events, .n = n, .to = to, .now_us = clock_now_us(), .log = log};
    log->held_us++;
    enum errc rc = db_write(store_db(log->store, DB_MAIN), hear_unit, &h, e);
    if (rc != ERR_NONE) return rc;
    if (h.is_moved_by_another) return load(log, f, e);
    f->stored = f->scanned = to;
    for (unsigned i = 0; i < n && f->listener.heard; i++)
        f->listener.heard(f->listener.ctx, events[i]);
    return ERR_NONE;
}

struct reading {
    struct arena *a;
    int64_t after;
    struct sealed_event *events;
    unsigned n;
};

static enum errc read_unit(struct tx *tx, void *ctx, err *e)
{
    struct reading *r = ctx;
    return events_after(tx, r->a, r->after, NULL, FOLLOW_BATCH, &r->events, &r->n, e);
}

/* One step of a listener; false when it has nothing to do for now. */
static bool step(struct events *log, struct follower *f)
{
    struct arena a;
    struct sealed_event *wanted[HEAR_BATCH];
    unsigned n_wanted = 0, i = 0;
    err e = {0};
    bool goes_on = true;
    if (f->retry_us && clock_mono_us() < f->retry_us) return false;
    arena_init(&a, HEAR_ARENA, 64u << 10);
    struct reading r = {.a = &a, .after = f->scanned};
    enum errc rc = db_read(store_db(log->store, DB_MAIN), read_unit, &r, &e);
    for (; rc == ERR_NONE && i < r.n && n_wanted < HEAR_BATCH; i++)
        if (event_is_of(f->listener.types, r.events[i].type)) wanted[n_wanted++] = &r.events[i];
    if (rc != ERR_NONE) {
        failed(log, f, NULL, &e);
        goes_on = false;
    } else if (r.n == 0) {
        goes_on = false;
    } else if (n_wanted == 0) {
        f->scanned = r.events[r.n - 1].number;
        if (f->scanned - f->stored >= SCAN_STORE) rc = hear(log, f, NULL, 0, f->scanned, &e);
    } else {
        /* Together while all is well; singly after a failure, so that the event at fault is found. */
        if (f->tries == 0)
            rc = hear(log, f, wanted, n_wanted, r.events[i - 1].number, &e);
        else
            rc = ERR_INTERNAL;
        if (rc != ERR_NONE && !is_weather(rc)) {
            e = (err){0};
            rc = hear(log, f, wanted, 1, wanted[0]->number, &e);
        }
        if (rc == ERR_NONE)
            worked(f);
        else
            failed(log, f, wanted[0], &e);
        goes_on = rc == ERR_NONE;
    }
    arena_fini(&a);
    return goes_on;
}

/* --- watchers --- */

static enum errc head_unit(struct tx *tx, void *ctx, err *e) { return events_head(tx, ctx, e); }

enum errc watchers_load(struct events *log, err *e)
{
    return db_read(store_db(log->store, DB_MAIN), head_unit, &log->watched, e);
}

static bool is_readable(struct events *log, enum errc rc, const err *e)
{
    if (rc != ERR_NONE && !log->is_blind) log_error(LOG_WARN, "log_not_readable", e);
    log->is_blind = rc != ERR_NONE;
    return rc == ERR_NONE;
}

/* Shows the watchers one batch; false when there is nothing more to see for now. */
static bool watch(struct events *log)
{
    struct arena a;
    err e = {0};
    if (log->watched >= log->head) return false;
    arena_init(&a, HEAR_ARENA, 64u << 10);
    struct reading r = {.a = &a, .after = log->watched};
    bool is_there = !log->n_watchers || is_readable(log, db_read(store_db(log->store, DB_MAIN), read_unit, &r, &e), &e);
    for (unsigned i = 0; is_there && i < r.n; i++)
        for (unsigned k = 0; k < log->n_watchers; k++)
            if (event_is_of(log->watchers[k].types, r.events[i].type)) log->watchers[k].see(log->watchers[k].ctx, &r.events[i]);
    if (is_there) log->watched = r.n ? r.events[r.n - 1].number : log->head;
    arena_fini(&a);
    return is_there && r.n > 0;
}

/* --- the thread --- */

static void look_at_head(struct events *log)
{
    int64_t head = 0;
    err e = {0};
    if (!is_readable(log, db_read(store_db(log->store, DB_MAIN), head_unit, &head, &e), &e)) return;
    if (head > log->head) {
        log->head = head;
        if (log->sealed) log->sealed(log->sealed_ctx, head);
    }
}

/* Until when the thread may sleep: the next retry, or the next look at what other nodes did. */
static usec sleep_of(const struct events *log)
{
    usec now = clock_mono_us(), most = log->seals_itself ? POLL_US : -1;
    for (unsigned i = 0; i < log->n_followers; i++) {
        const struct follower *f = &log->followers[i];
        if (f->is_held && !f->retry_us) continue;
        usec wait = !f->is_held ? POLL_US : f->retry_us > now ? f->retry_us - now : 1;
        if (most < 0 || wait < most) most = wait;
    }
    return most;
}

void *events_feeder_main(void *arg)
{
    struct events *log = arg;
    do {
        bool is_busy = true;
        look_at_head(log);
        while (watch(log) && !waker_is_stopping(&log->follow))
            ;
        while (is_busy && !waker_is_stopping(&log->follow)) {
            is_busy = false;
            hold(log);
            for (unsigned i = 0; i < log->n_followers; i++) {
                struct follower *f = &log->followers[i];
                if (f->is_held && f->scanned < log->head && step(log, f)) is_busy = true;
            }
            look_at_head(log);
            while (watch(log) && !waker_is_stopping(&log->follow))
                ;
        }
        for (unsigned i = 0; i < log->n_followers; i++) {
            const struct follower *f = &log->followers[i];
            stats_set(f->behind, 0, f->is_held ? log->head - f->scanned : 0);
        }
    } while (waker_wait(&log->follow, sleep_of(log)));
    return NULL;
}
